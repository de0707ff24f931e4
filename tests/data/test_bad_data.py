"""A pair that breaks in the middle of a run: saved, named, resumed to the same end."""

import os
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from helpers.runs import make_pairs, metrics, tiny_config
from PIL import Image

from pix2pix_jax.config import validate
from pix2pix_jax.data import discover, preflight
from pix2pix_jax.errors import DataError
from pix2pix_jax.reports import progress
from pix2pix_jax.train import train_and_evaluate
from pix2pix_jax.workdir.checkpoints import Checkpoints

STEPS = 60  # more than are read ahead
FIELDS = {
    'dataset.cache': 'off', 'num_steps': STEPS, 'eval_every': 0, 'sample_every': 0, 'log_every': 7,
    'checkpoint.every_steps': 0, 'checkpoint.every_minutes': 0.0, 'image_size': (32, 32),
}  # fmt: skip


def damage(pairs):
    """Replaces every training pair by text; returns what they were."""
    files = sorted((pairs / 'train').iterdir())
    whole = {file: file.read_bytes() for file in files}
    mend(dict.fromkeys(files, b'broken'))
    return whole


def mend(whole):
    for file, data in whole.items():  # at once: the run may be reading it
        new = file.with_suffix('.new')
        new.write_bytes(data)
        new.replace(file)


@pytest.mark.parametrize('split', ['val', 'test'])
def test_an_evaluation_that_fails_loses_no_step(split, tmp_path, monkeypatch):
    """Saves come after evaluations: what is trained until there is kept."""
    pairs = make_pairs(tmp_path / 'pairs', {'train': 3, 'val': 2, 'test': 2})
    fields = {'num_steps': 4, 'eval_every': 4, 'sample_every': 0, 'checkpoint__every_steps': 4}
    config = tiny_config(pairs, **FIELDS | fields)
    expected = train_and_evaluate(config, tmp_path / 'whole')

    broken = {}

    def step(self, number):
        if number == 2:
            broken.update({f: f.read_bytes() for f in (pairs / split).iterdir()})
            mend(dict.fromkeys(broken, b'broken'))

    with monkeypatch.context() as patch:
        patch.setattr(progress.Console, 'step', step)
        with pytest.raises(DataError, match='saved is step 4: mend the file and resume with: the'):
            train_and_evaluate(config, tmp_path / 'run', 'the command')
    assert Checkpoints(tmp_path / 'run').steps('last') == [4]
    mend(broken)
    state = train_and_evaluate(config, tmp_path / 'run', 'the command')
    for leaf, other in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(leaf, other)
    assert metrics(tmp_path / 'run') == metrics(tmp_path / 'whole')


def test_a_pair_that_breaks_in_the_middle(tmp_path, monkeypatch):
    pairs = make_pairs(tmp_path / 'pairs', {'train': 8})
    config = tiny_config(pairs, **FIELDS)
    expected = train_and_evaluate(config, tmp_path / 'whole')

    broken = {}
    with monkeypatch.context() as patch:
        patch.setattr(
            progress.Console, 'step', lambda self, step: step == 5 and broken.update(damage(pairs))
        )
        with pytest.raises(DataError) as error:
            train_and_evaluate(config, tmp_path / 'run', 'the command')
    found = re.fullmatch(
        rf'{pairs}/train/\d\.png is no JPEG, PNG, WebP, TIFF or NumPy image; saved is step (\d+): '
        'mend the file and resume with: the command',
        str(error.value),
    )
    step = int(found[1])
    assert error.value.status == 1 and 5 <= step < STEPS
    assert Checkpoints(tmp_path / 'run').steps('last') == [step]

    # Still bad: nothing is trained, nothing lost.
    with pytest.raises(
        DataError, match='8 of 8 pairs in .* are bad|no JPEG, PNG, WebP, TIFF or NumPy image'
    ):
        train_and_evaluate(config, tmp_path / 'run', 'the command')
    assert Checkpoints(tmp_path / 'run').steps('last') == [step]

    mend(broken)
    state = train_and_evaluate(config, tmp_path / 'run', 'the command')
    for leaf, other in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(leaf, other)
    assert metrics(tmp_path / 'run') == metrics(tmp_path / 'whole')


@pytest.mark.parametrize('workers', [0, 1])
def test_a_palette_that_changes_in_the_middle_is_saved_too(tmp_path, monkeypatch, workers):
    """It is of no file alone, so it is no DataError where it is found."""
    make_maps(tmp_path / 'pairs', [255, 0, 0])
    fields = FIELDS | {'dataset.target_classes': 2, 'dataset.workers': workers}
    config = tiny_config(tmp_path / 'pairs', **fields)
    broken = []

    def change(self, step):
        if step == 5 and not broken:
            broken.append(make_maps(tmp_path / 'pairs', [0, 0, 255], count=1))

    monkeypatch.setattr(progress.Console, 'step', change)
    with pytest.raises(DataError, match='index 1 is the colour .* in the palette of ') as error:
        train_and_evaluate(config, tmp_path / 'run', 'the command')
    (step,) = Checkpoints(tmp_path / 'run').steps('last')
    assert 5 <= step < STEPS and str(error.value).endswith(
        f'; saved is step {step}: mend the file and resume with: the command'
    )


def make_maps(pairs, colour, count=8):
    """Writes maps of two classes, the second of this colour in their palettes, and photos."""
    for side in 'AB':
        (pairs / 'train' / side).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        image = Image.fromarray(np.eye(32, dtype=np.uint8))
        image.convert('RGB').save(pairs / f'train/A/{i}.png')
        image.putpalette([0, 0, 0, *colour])
        image.save(pairs / f'train/B/{i}.new', 'png')
        (pairs / f'train/B/{i}.new').replace(pairs / f'train/B/{i}.png')


@pytest.mark.parametrize('bad,hinted', [(1, True), (2, True), (4, False)])
def test_what_leaves_bad_pairs_out_is_said_where_others_are_good(tmp_path, bad, hinted):
    pairs = make_pairs(tmp_path / 'pairs', {'train': 4})
    for i in range(bad):
        (pairs / f'train/{i}.png').write_bytes(b'broken')
    config = validate(tiny_config(pairs, dataset__val_fraction=0.0))
    with pytest.raises(DataError, match='no JPEG, PNG, WebP') as error:
        preflight.decode_all(discover.open_splits(config), config)
    hint = '; --config.dataset.on_error=skip leaves them out'
    assert str(error.value).endswith(hint) == hinted


@pytest.mark.e2e
@pytest.mark.slow
def test_the_command_with_worker_processes_ends_with_one_line_and_status_1(tmp_path):
    pairs = make_pairs(tmp_path / 'pairs', {'train': 8})
    fields = FIELDS | {'num_steps': 10**6, 'image_size': 32, 'dataset.workers': 1}
    command = [sys.executable, '-m', 'pix2pix_jax.main', '--config=configs/folder.py:tiny']
    command += [
        f'--config.dataset.path={pairs}',
        '--workdir=run',
        '--config.dataset.val_fraction=0',
    ]
    command += ['--workdir=run', *(f'--config.{k}={v}' for k, v in fields.items())]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=os.environ | {'JAX_PLATFORMS': 'cpu'},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith('step 7/'):
            damage(pairs)
            break
    _, stderr = process.communicate(timeout=200)
    assert process.returncode == 1
    assert re.fullmatch(
        rf'error: {pairs}/train/\d\.png is no JPEG, PNG, WebP, TIFF or NumPy image; saved is '
        r'step \d+: mend the file and resume with: python -m pix2pix_jax\.main --config=.*'
        r'--workdir=run .*\n',
        stderr,
    ), stderr
