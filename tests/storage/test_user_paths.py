"""Paths as a user writes them: what is no path and no object store's address is one line."""

import logging
import os
import pathlib
import runpy

import numpy as np
import pytest
from helpers import ROOT
from helpers.runs import changed

from pix2pix_jax import Translator, demo, evaluate, export, translate
from pix2pix_jax.config import PLACES, default_config, validate
from pix2pix_jax.data.label_colors import table
from pix2pix_jax.dry_run import dry_run
from pix2pix_jax.errors import UserError, run_command
from pix2pix_jax.inference import inputs, translator
from pix2pix_jax.storage import user_paths
from pix2pix_jax.train import train_and_evaluate

URL = 'https://example.com/a'
ALLOWED = (
    'allowed are a path on this machine (download it first), and an address that begins with '
    'gs:// or s3:// or az:// or hf://'
)
FLAGS = [
    (translate, '--workdir', '--input=a --output=out'),
    (translate, '--input', '--workdir=run --output=out'),
    (translate, '--output', '--workdir=run --input=a'),
    (evaluate, '--workdir', ''),
    (evaluate, '--output', '--workdir=run'),
    (evaluate, '--dataset', '--workdir=run'),
    (evaluate, '--real', '--generated=a'),
    (evaluate, '--generated', '--real=a'),
    (evaluate, '--pairs', ''),
    (evaluate, '--segmenter_weights', '--workdir=run'),
    (evaluate, '--inception_weights', '--workdir=run'),
    (evaluate, '--alexnet_weights', '--workdir=run'),
    (evaluate, '--lpips_weights', '--workdir=run'),
    (export, '--workdir', '--format=web --output=out'),
    (export, '--output', '--format=web --workdir=run'),
    (demo, '--workdir', ''),
]


def one_line(capsys):
    out, err = capsys.readouterr()
    assert not out and err.count('\n') == 1
    return err


@pytest.mark.parametrize('command,flag,others', FLAGS)
def test_flags(command, flag, others, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    argv = ['command', f'{flag}={URL}', *others.split()]
    with pytest.raises(SystemExit) as done:
        run_command(command.main, command.define_flags, argv)
    assert done.value.code == 2
    assert one_line(capsys) == f'error: {flag}={URL}: {ALLOWED}\n'
    assert os.listdir() == []


@pytest.mark.parametrize('flag', ['workdir', 'generator', 'dataset'])
def test_flags_of_imported_weights(flag, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    script = runpy.run_path(str(ROOT / 'scripts/import_pytorch.py'))
    given = {'workdir': 'run', 'generator': 'g.pth'} | {flag: URL}
    if flag == 'dataset':
        with pytest.raises(UserError, match=f'--dataset={URL}: allowed are '):
            script['folder_of_pairs'](URL)
        return
    argv = ['import_pytorch.py', *(f'--{name}={value}' for name, value in given.items())]
    with pytest.raises(SystemExit):
        run_command(script['main'], script['define_flags'], argv)
    assert one_line(capsys) == f'error: --{flag}={URL}: {ALLOWED}\n'


@pytest.mark.parametrize('field', PLACES)
def test_fields(field):
    fields = {'loss.lpips_weight': 1.0, field: URL}
    with pytest.raises(UserError) as error:
        validate(changed(**fields))
    assert str(error.value) == f'config.{field}={URL}: {ALLOWED}'


def test_a_translator():
    for name, make in (('the run', Translator), ('the image', translator._path)):
        with pytest.raises(UserError, match=f'^{name}={URL}: allowed are '):
            make(URL)


def test_tables_of_colours():
    with pytest.raises(UserError) as error:
        table(URL)
    assert str(error.value) == f'config.dataset.colors={URL}: {ALLOWED}'


@pytest.mark.parametrize('train', [dry_run, train_and_evaluate])
def test_the_folder_of_a_run(train):
    with pytest.raises(UserError) as error:
        train(default_config(), URL)
    assert str(error.value) == f'--workdir={URL}: {ALLOWED}'


@pytest.mark.parametrize(
    'address,instead',
    [
        ('file:///tmp/pairs', 'allowed are a path on this machine (/tmp/pairs), and '),
        ('hdfs://host/pairs', 'allowed are a path on this machine, and '),
    ],
)
def test_what_to_write_instead(address, instead):
    with pytest.raises(UserError, match='^--input=') as error:
        user_paths.given(address, '--input')
    assert instead in str(error.value)


def test_paths_and_addresses_that_are_allowed(monkeypatch):
    monkeypatch.setenv('HOME', '/home/me')
    assert user_paths.given('~/pairs', '--input') == '/home/me/pairs'
    assert user_paths.given('', '--input') == ''
    assert user_paths.check('s3://bucket/a', '--input') == 's3://bucket/a'
    assert user_paths.local('~/a.png', '--output') == pathlib.Path('/home/me/a.png')
    with pytest.raises(UserError, match='--output=gs://bucket/a.png: allowed is a path on this'):
        user_paths.local('gs://bucket/a.png', '--output')


class ClientError(Exception):
    """As a store's package has its own."""


@pytest.mark.parametrize('error, said', [
    (ImportError('Install gcsfs'), 'Install gcsfs'),
    (OSError(5, 'no answer'), r'\[Errno 5\] no answer'),
    (ClientError('Cannot connect to host'), 'Cannot connect to host'),
    (ClientError(), 'ClientError'),
])  # fmt: skip
def test_a_store_that_does_not_answer_is_one_line(error, said, monkeypatch, caplog):
    def exists(path):
        logging.getLogger('gcsfs').error('a traceback')
        raise error

    monkeypatch.setattr(user_paths.epath.Path, 'exists', exists)
    monkeypatch.setattr(type(user_paths.epath.Path('gs://bucket')), 'exists', exists)
    with pytest.raises(UserError, match=f'^config.dataset.path=gs://bucket/a: {said}$'):
        user_paths.given('gs://bucket/a', 'config.dataset.path')
    assert not caplog.records
    logging.getLogger('gcsfs').error('later')
    assert [record.message for record in caplog.records] == ['later']


def test_an_input_with_a_comma_in_its_name(tmp_path):
    np.save(tmp_path / 'a,b.npy', 1)
    whole = str(tmp_path / 'a,b.npy')
    assert inputs.split_inputs(whole) == [whole]
    assert inputs.split_inputs(f'{whole},c.png') == [f'{tmp_path}/a', 'b.npy', 'c.png']
    with pytest.raises(UserError, match=f'--input={URL}: '):
        inputs.split_inputs(f'a.png,{URL}')
