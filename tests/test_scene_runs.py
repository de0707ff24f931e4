"""A run on a few large files: trained, resumed, evaluated, and translated back into files."""

import json
import signal

import numpy as np
import pytest
import tifffile
from helpers.runs import assert_equal_states, metrics, stop_at, tiny_config
from PIL import Image

from pix2pix_jax import evaluate, translate
from pix2pix_jax.data.formats import metadata
from pix2pix_jax.errors import DataError, Stopped, run_command
from pix2pix_jax.train import train_and_evaluate

GEO = [(33550, 'd', 3, (0.5, 0.5, 0), True), (33922, 'd', 6, (0, 0, 0, 9, 8, 0), True)]
SIDES = {'A': np.uint8, 'B': np.uint16}

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('scenes')
    for name, size in (('north', (130, 170)), ('south', (100, 110))):
        rng = np.random.default_rng(len(name))
        labels = np.kron(rng.integers(0, 3, [-(-side // 10) for side in size]), np.ones((10, 10)))
        image = np.stack([labels * 100 + k * 20 for k in range(3)], -1)[: size[0], : size[1]]
        for side, dtype in SIDES.items():
            (folder / 'train' / side).mkdir(parents=True, exist_ok=True)
            values = (image * (91 if side == 'B' else 1)).astype(dtype)
            tifffile.imwrite(
                folder / f'train/{side}/{name}.tif', values,
                photometric='rgb', tile=(64, 64), compression='zlib', extratags=GEO,
            )  # fmt: skip
    return folder


def config_of(path, **fields):
    fields = {
        'image_size': (16, 16), 'num_steps': 4, 'dataset__preprocess': 'crop',
        'dataset__hold_out': 'window', 'dataset__val_fraction': 0.1, 'eval_every': 2,
    } | fields  # fmt: skip
    return tiny_config(path, **fields)


@pytest.fixture(scope='module')
def whole(scenes, tmp_path_factory):
    """A run that was not interrupted, and its state."""
    workdir = tmp_path_factory.mktemp('runs') / 'whole'
    return workdir, train_and_evaluate(config_of(scenes), workdir)


def run(module, *flags):
    with pytest.raises(SystemExit) as stopped:
        run_command(module.main, module.define_flags, ['command', *flags])
    return stopped.value.code


def test_a_resumed_run_is_the_one_that_was_not_stopped(scenes, whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(2, signal.SIGTERM, patch)
        with pytest.raises(Stopped):
            train_and_evaluate(config_of(scenes), tmp_path / 'run')
    state = train_and_evaluate(config_of(scenes), tmp_path / 'run')
    assert_equal_states(state, whole[1])
    assert metrics(tmp_path / 'run') == metrics(whole[0])


def test_an_epoch_is_the_area_of_training(scenes, whole, tmp_path):
    data = json.loads((whole[0] / 'data.json').read_text())
    held = sum(len(data['splits'][split]['used']) for split in ('val', 'test'))
    windows = sum(h * w // 256 for h, w in ((130, 170), (100, 110))) - held
    config = config_of(scenes, num_steps=0, num_epochs=1, batch_size=16, eval_every=0)
    train_and_evaluate(config, tmp_path / 'run')
    assert metrics(tmp_path / 'run')[-1]['step'] == windows // 16
    assert json.loads((whole[0] / 'config.json').read_text())['dataset']['windows'] == 'on'


def test_other_scenes_are_other_data(scenes, whole, tmp_path):
    """One that grew has cells that the run does not know."""
    (tmp_path / 'data/train').mkdir(parents=True)
    for side in SIDES:
        (tmp_path / 'data/train' / side).mkdir()
        for path in (scenes / 'train' / side).iterdir():
            image = np.pad(tifffile.imread(path), ((0, 16), (0, 0), (0, 0)))
            tifffile.imwrite(tmp_path / f'data/train/{side}/{path.name}', image, photometric='rgb')
    with pytest.raises(DataError, match='came'):
        train_and_evaluate(config_of(tmp_path / 'data'), whole[0])


def test_windows_are_evaluated_and_translated(whole, tmp_path):
    assert run(evaluate, f'--workdir={whole[0]}') == 0
    report = json.loads((whole[0] / 'evaluation/test/metrics.json').read_text())
    data = json.loads((whole[0] / 'data.json').read_text())
    names = data['splits']['test']['used']
    assert report['images'] == len(names)
    flags = f'--workdir={whole[0]}', f'--output={tmp_path / "out"}'
    assert run(translate, *flags, '--split=test') == 0
    for name in names:
        assert tifffile.imread(tmp_path / f'out/{name}.tif').shape == (16, 16, 3)


def test_scenes_are_translated_back_into_files(scenes, whole, tmp_path):
    flags = f'--workdir={whole[0]}', f'--input={scenes}/train/A', f'--output={tmp_path / "out"}'
    assert run(translate, *flags, '--tile=32') == 0
    for name, size in (('north', (130, 170, 3)), ('south', (100, 110, 3))):
        image = tifffile.imread(tmp_path / f'out/{name}.tif')
        assert image.shape == size and image.dtype == np.uint16 and image.std() > 100
        found = metadata.read(tmp_path / f'out/{name}.tif')
        assert found.geo == {tag: values for tag, _, _, values, _ in GEO}
    with Image.open(tmp_path / 'out/gallery/north_output.jpg') as picture:
        assert picture.size == (170, 130)
