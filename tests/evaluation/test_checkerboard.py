"""The measure of checkerboards."""

import itertools

import numpy as np
import pytest

from pix2pix_jax.evaluation.checkerboard import checkerboard


def smooth(seed, size=64):
    """Noise with the spectrum of a photograph, about 1/f."""
    rng = np.random.default_rng(seed)
    f = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size))
    spectrum = np.fft.fft2(rng.normal(size=(size, size))) / np.maximum(f, 1 / size)
    image = np.fft.ifft2(spectrum).real
    return (image / np.abs(image).max())[..., None].repeat(3, -1)


def test_it_is_the_definition_written_out():
    """15 frequencies of the grid, each with those at 1 from it, over the rest of those up to 3."""
    height, width = 64, 96
    image = np.random.default_rng(0).normal(size=(height, width, 3)).cumsum(0).cumsum(1)
    gray = image.mean(-1) - image.mean()
    energy = np.abs(np.fft.fft2(gray * np.outer(np.hanning(height), np.hanning(width)))) ** 2
    decibels = []
    for a, b in list(itertools.product(range(0, height, 16), range(0, width, 24)))[1:]:
        near, far = [], []
        for i, j in itertools.product(range(-3, 4), repeat=2):
            beside = near if max(abs(i), abs(j)) < 2 else far
            beside.append(energy[(a + i) % height, (b + j) % width])
        decibels.append(10 * np.log10(np.mean(near) / np.mean(far)))
    assert len(decibels) == 15
    assert checkerboard(image) == pytest.approx(np.mean(decibels), abs=1e-9)


def test_an_image_without_a_grid_has_about_none():
    values = [checkerboard(smooth(seed)) for seed in range(20)]
    assert abs(np.mean(values)) < 1


@pytest.mark.parametrize('period', [2, 4])
def test_a_grid_is_found_and_a_stronger_one_is_more(period):
    rows, columns = np.indices((64, 64))
    grid = ((rows % period == 0) * (columns % period == 0))[..., None]
    values = [checkerboard(smooth(0) + strength * grid) for strength in (0, 0.1, 0.2, 0.4)]
    assert values == sorted(values)
    assert values[2] > values[0] + 3


def test_another_period_is_no_checkerboard():
    rows, columns = np.indices((60, 60))
    grid = (rows % 5 == 0) * (columns % 5 == 0) * 0.05
    image = smooth(0, 60)
    assert abs(checkerboard(image + grid[..., None]) - checkerboard(image)) < 1


def test_brightness_and_contrast_do_not_matter():
    image = smooth(1)
    assert checkerboard(0.5 * image + 0.3) == pytest.approx(checkerboard(image))


@pytest.mark.parametrize('image', [np.zeros((64, 64, 3)), np.ones((30, 64, 3)), smooth(0, 16)])
def test_where_it_is_not_defined(image):
    assert np.isnan(checkerboard(image))
