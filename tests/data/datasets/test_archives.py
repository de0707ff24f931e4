"""Archives: pairs that a user brings, and a run that is taken away."""

import io
import os
import tarfile
import zipfile

import numpy as np
import pytest
from helpers.runs import make_pairs, tiny_config
from PIL import Image

import pix2pix_jax
from pix2pix_jax.data.datasets import archives
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.train import train_and_evaluate


def zip_of(folder, archive, prefix=''):
    with zipfile.ZipFile(archive, 'w') as target:
        for path in folder.rglob('*.png'):
            target.write(path, prefix + str(path.relative_to(folder)))
    return archive


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob('*') if p.is_file()}


@pytest.fixture
def pairs(tmp_path):
    return make_pairs(tmp_path / 'pairs', {'train': 2, 'test': 1})


@pytest.mark.parametrize('prefix', ['', 'my pairs/'])
def test_a_zip_of_pairs_or_of_their_folder(pairs, tmp_path, prefix):
    archive = zip_of(pairs, tmp_path / 'a.zip', prefix)
    found = archives.unpack_pairs(archive, tmp_path / 'data' / 'a')
    assert found == tmp_path / 'data' / 'a' / prefix.rstrip('/')
    assert contents(found) == contents(pairs)
    assert os.listdir(tmp_path / 'data') == ['a']  # nothing half done
    archive.unlink()
    assert archives.unpack_pairs(archive, tmp_path / 'data' / 'a') == found  # it stays


def test_two_folders_of_a_mac(pairs, tmp_path):
    """A/train and B/train, and what a Mac puts beside them."""
    archive = tmp_path / 'a.zip'
    with zipfile.ZipFile(archive, 'w') as target:
        for name in ('A/train/1.png', 'B/train/1.png', '__MACOSX/A/train/._1.png', '.DS_Store'):
            target.writestr(f'mine/{name}', b'x')
            target.writestr(f'__MACOSX/mine/{name}', b'x')
    assert archives.unpack_pairs(archive, tmp_path / 'out') == tmp_path / 'out' / 'mine'


def test_nothing_is_written_outside(pairs, tmp_path):
    archive = zip_of(pairs, tmp_path / 'a.zip')
    with zipfile.ZipFile(archive, 'a') as target:
        for name in ('../out.txt', 'train/../../out.txt', f'{tmp_path}/out.txt'):
            target.writestr(name, b'x')
    found = archives.unpack_pairs(archive, tmp_path / 'deep' / 'data')
    assert contents(found) == contents(pairs)
    assert not list(tmp_path.rglob('out.txt'))


def test_links_of_a_tar_are_not_made(pairs, tmp_path):
    secret = tmp_path / 'secret.png'
    secret.write_bytes(b'secret')
    with tarfile.open(tmp_path / 'a.tar.gz', 'w:gz') as target:
        target.add(pairs, '.')
        link = tarfile.TarInfo('train/link.png')
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        target.addfile(link)
    found = archives.unpack_pairs(tmp_path / 'a.tar.gz', tmp_path / 'data')
    assert contents(found) == contents(pairs)


@pytest.mark.parametrize(
    ('data', 'message'),
    [(None, 'is not there'), (b'no archive', 'is no archive'), ('notes.txt', 'holds no pairs')],
)
def test_what_is_no_archive_of_pairs(tmp_path, data, message):
    archive = tmp_path / 'a.zip'
    if isinstance(data, str):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, 'w') as target:
            target.writestr(data, b'x')
        data = stream.getvalue()
    if data is not None:
        archive.write_bytes(data)
    with pytest.raises(DataError, match=message):
        archives.unpack_pairs(archive, tmp_path / 'data' / 'a')
    assert not (tmp_path / 'data').exists() or not os.listdir(tmp_path / 'data')


def test_a_packed_run_translates_elsewhere(pairs, tmp_path):
    config = tiny_config(pairs, num_steps=4, checkpoint__every_steps=1, checkpoint__keep=3)
    train_and_evaluate(config, tmp_path / 'run')
    last = tmp_path / 'run' / 'checkpoints' / 'last'
    assert {path.name for path in last.iterdir()} == {'2', '3', '4'}
    archive = archives.pack_run(tmp_path / 'run', tmp_path / 'out' / 'run.zip')
    assert os.listdir(tmp_path / 'out') == ['run.zip']
    archives.unpack(archive, tmp_path / 'there')
    found, run = contents(tmp_path / 'there' / 'run'), contents(tmp_path / 'run')
    old = {name for name in run if name.startswith(('checkpoints/last/2', 'checkpoints/last/3'))}
    assert old and set(run) - set(found) == old | {'.lock'}
    assert all(run[name] == data for name, data in found.items())
    image = np.asarray(Image.open(next((pairs / 'test').iterdir())))[:, :32]
    np.testing.assert_array_equal(
        pix2pix_jax.Translator(tmp_path / 'there' / 'run')(image),
        pix2pix_jax.Translator(tmp_path / 'run')(image),
    )


def test_no_run_is_packed(tmp_path):
    with pytest.raises(UserError, match='no run there'):
        archives.pack_run(tmp_path, tmp_path / 'a.zip')
