"""Data sets as others publish them: each is proposed, then trained by one command as it lies."""

import importlib
import pathlib
import re
import shlex
import sys

import pytest
from helpers import ROOT
from helpers.pictures import classes, photo, save
from helpers.runs import SMALL

from pix2pix_jax import main, translate
from pix2pix_jax.errors import run_command
from pix2pix_jax.workdir import data_json

COUNT = 6
WORDS = ['--config=configs/folder.py:tiny', '--config.dataset.path=mine', '--workdir=run']
WORDS += [*SMALL, '--config.num_steps=1', '--config.image_size=32']


def write(*places, count=COUNT):
    """Writes photos to the first of each two places, and class maps to the second."""
    for number, (a, b) in enumerate(zip(places[::2], places[1::2])):
        for i in range(count):
            name = f'0001TP_{i:03}' if '{name}' in a else str(i)
            seed = 10 * number + i
            for place, image in ((a, photo(seed, 32, 32)), (b, classes(seed, 32, 32))):
                file = pathlib.Path('mine', place.format(i=i, name=name))
                save(file, image)


def camvid():
    write(*(f'{s}{a}/{{name}}.png' for s in ('train', 'val', 'test') for a in ('', 'annot')))


def camvid_of_its_authors():
    write('701_StillsRaw_full/{name}.png', 'LabeledApproved_full/{name}_L.png', count=12)


def labelme():
    folders = ('05june05', '10feb04/static', '10feb04/street')
    write(
        *(f'{a}/{f}/p{{i}}.{e}' for f in folders for a, e in (('images', 'jpg'), ('masks', 'png')))
    )


def prefixes():
    write('l_{i}.jpg', 'r_{i}.jpg', count=12)


def suffixes():
    write('{i}.png', '{i}_mask.png', count=12)


def microscopy():
    write('Training_source/cell {i}.tif', 'Training_target/cell {i}.tif')
    write('Test_source/cell {i}.tif', 'Test_target/cell {i}.tif')


LAYOUTS = {
    camvid: ('{split}/*.png', '{split}annot/*.png'),
    camvid_of_its_authors: ('701_StillsRaw_full/*.png', 'LabeledApproved_full/*_L.png'),
    labelme: ('images/**/*.jpg', 'masks/**/*.png'),
    prefixes: ('l_*.jpg', 'r_*.jpg'),
    suffixes: ('*.png', '*_mask.png'),
    microscopy: ('{split}_source/*.tif', '{split}_target/*.tif'),
}


def run(module, *words):
    sys.argv = [module.__name__, *words]
    check = {'check_argv': main.check_argv} if module is not translate else {}
    with pytest.raises(SystemExit) as stopped:
        run_command(module.main, module.define_flags, **check)
    return stopped.value.code


QUICK = (camvid, prefixes)  # the others take the same way


@pytest.mark.parametrize(
    'layout',
    [one if one in QUICK else pytest.param(one, marks=pytest.mark.slow) for one in LAYOUTS],
    ids=lambda layout: layout.__name__,
)
@pytest.mark.parametrize('command', ['train', 'inspect_data'])
def test_it_is_proposed_and_the_command_with_that_takes_it(
    layout, command, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(sys, 'argv', [])
    monkeypatch.chdir(tmp_path)
    layout()
    module, words = main, WORDS
    if command == 'inspect_data':
        monkeypatch.syspath_prepend(ROOT / 'scripts')
        module, words = (
            importlib.import_module('inspect_data'),
            [w for w in WORDS if w != '--workdir=run'],
        )
    assert run(module, *words) == 1, capsys.readouterr()
    line = capsys.readouterr().err
    assert line.count('\n') == 1 and line.startswith('error: ')
    flags = [w for w in shlex.split(line.replace('(', ' ')) if w.startswith('--config.dataset.')]
    found = [w.split('=', 1)[1] for w in flags if '_pattern=' in w]
    assert tuple(found) == LAYOUTS[layout], line
    said = int(re.search(r'takes (\d+) pairs', line)[1])
    if command == 'inspect_data':
        assert run(module, *words, *flags[:2]) == 0, capsys.readouterr().err
        return
    assert run(module, *words, *flags[:2]) == 0, capsys.readouterr().err
    splits = data_json.load_known('run').splits
    assert sum(len(pairs.used) for pairs in splits.values()) == said
    assert set(splits) == {'train', 'val', 'test'}
    assert run(translate, '--workdir=run', '--split=test', '--output=out') == 0
    written = {p.relative_to('out').with_suffix('') for p in pathlib.Path('out').rglob('*.*')}
    assert {pathlib.Path(name) for name in splits['test'].used} <= written
