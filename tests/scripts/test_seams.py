"""The measure of seams, on images whose steps are known."""

import importlib.util

import numpy as np
import pytest
from helpers import ROOT
from helpers.runs import make_pairs, tiny_config, untrained_run
from PIL import Image

from pix2pix_jax.errors import run_command

SPEC = importlib.util.spec_from_file_location('seams', ROOT / 'scripts' / 'seams.py')
seams = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(seams)


def largest(image, borders, reach):
    return tuple(part.max() for part in seams.steps(image, borders, reach))


def smooth(height=96, width=128):
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, (x + y) / 2], -1).astype(float)  # 1 a pixel at most


@pytest.mark.parametrize('axis', [0, 1])
def test_a_tile_of_another_brightness_is_a_step(axis):
    image, borders = smooth(), [range(32, 96, 32), range(32, 128, 32)]
    across, elsewhere = largest(image, borders, reach=8)
    np.testing.assert_allclose((across, elsewhere), 8)  # of the ramp: 8 pixels from mean to mean
    image[32:64, 64:96] += 20
    assert largest(image, borders, reach=8) == pytest.approx((28, 8))
    other = (image.swapaxes(0, 1), borders[::-1]) if axis else (image, borders)
    assert largest(*other, reach=8) == pytest.approx((28, 8))


def test_what_is_within_tiles_is_elsewhere():
    image = np.zeros((64, 64, 1), np.uint8)
    image[:, 16:] = 100
    assert largest(image, [[32], [32]], reach=4) == (0, 100)


def test_detail_is_no_step():
    """Noise of 60 levels on both sides of all borders, along sides of 64 pixels."""
    noise = np.random.default_rng(0).integers(0, 60, (128, 128, 3))
    across, elsewhere = largest(noise, [[64], [64]], reach=16)
    assert max(across, elsewhere) < 4


def test_a_thin_tile_at_the_edge_makes_no_border_elsewhere():
    image = np.zeros((66, 66, 1), np.uint8)
    image[:, 32:] = 100
    assert largest(image, [[32, 64], [32, 64]], reach=1) == (100, 0)


def test_without_seams_borders_are_as_all_else():
    noise = np.random.default_rng(0).normal(size=(256, 256, 1))
    across, elsewhere = seams.steps(noise, [range(32, 256, 32)] * 2, reach=8)
    assert len(across) == 2 * 7 * 8
    np.testing.assert_allclose(across.mean() / elsewhere.mean(), 1, atol=0.15)


@pytest.mark.parametrize('channels', [1, 3])
def test_nothing_is_overwritten_unasked(channels, tmp_path, capsys):
    make_pairs(tmp_path / 'pairs', {'train': 1})
    config = tiny_config(tmp_path / 'pairs', generator__output_channels=channels)
    untrained_run(tmp_path / 'run', config)
    (tmp_path / 'seams.jpg').write_text('mine')
    words = [f'--workdir={tmp_path}/run', f'--output={tmp_path}/seams.jpg', '--tile=32']

    def run(*words):
        with pytest.raises(SystemExit) as ended:
            run_command(seams.main, seams.define_flags, ['seams', *words])
        return ended.value.code

    assert run(*words) == 2 and (tmp_path / 'seams.jpg').read_text() == 'mine'
    assert 'seams.jpg exists: give another name or --overwrite' in capsys.readouterr().err
    assert run(*words, '--overwrite') == 0
    with Image.open(tmp_path / 'seams.jpg') as figure:
        assert figure.mode == 'RGB' and figure.width > 5 * seams.SCENE
    assert run(f'--pairs={tmp_path}/pairs') == 2
    assert len(list((tmp_path / 'pairs' / 'train').iterdir())) == 1
