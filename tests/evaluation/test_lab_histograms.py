"""Lab histograms and their intersections."""

import numpy as np
import pytest
from skimage.color import rgb2lab

from pix2pix_jax.data import augment
from pix2pix_jax.evaluation import lab_histograms


def noise(seed):
    return np.random.default_rng(seed).integers(0, 256, (24, 20, 3), dtype=np.uint8)


def test_histograms_are_numpys_of_scikit_images_lab():
    image = noise(0)
    lab = rgb2lab(image).reshape(-1, 3)
    parts = np.split(lab_histograms.histograms(image), np.cumsum(lab_histograms.BINS)[:-1])
    for values, part, (low, high) in zip(lab.T, parts, lab_histograms.LIMITS):
        expected, _ = np.histogram(values, np.arange(low, high + 1, 1.0))
        np.testing.assert_array_equal(part, expected)
        assert part.sum() == 24 * 20


def test_float_images_are_as_their_8_bit_files():
    image = noise(1)
    as_float = lab_histograms.histograms(augment.to_float(image))
    assert (
        np.abs(as_float - lab_histograms.histograms(image)).sum() <= 4
    )  # values on a bin's border


def test_all_of_srgb_is_within_the_limits():
    corners = np.stack(np.meshgrid(*[np.arange(0, 256, 15, dtype=np.uint8)] * 3), -1)
    lab = rgb2lab(corners)
    for channel, (low, high) in enumerate(lab_histograms.LIMITS):
        assert low <= lab[..., channel].min() and lab[..., channel].max() <= high + 1e-6


def test_an_image_meets_itself_and_not_its_opposite():
    white, black = np.full((4, 4, 3), 255, np.uint8), np.zeros((4, 4, 3), np.uint8)
    same = lab_histograms.intersections(np.stack([lab_histograms.histograms(noise(2))] * 2))
    assert same == pytest.approx({'lab_l': 1, 'lab_a': 1, 'lab_b': 1})
    other = lab_histograms.intersections(
        np.stack([lab_histograms.histograms(white), lab_histograms.histograms(black)])
    )
    assert other['lab_l'] == 0 and other['lab_a'] == other['lab_b'] == 1  # both are gray


def test_the_number_of_pixels_does_not_matter():
    counts = [lab_histograms.histograms(noise(3)), 7 * lab_histograms.histograms(noise(4))]
    expected = lab_histograms.intersections(np.stack([counts[0], counts[1] // 7]))
    assert lab_histograms.intersections(np.stack(counts)) == pytest.approx(expected)


def test_gray_images_have_no_lab():
    with pytest.raises(ValueError, match='not 1 channels'):
        lab_histograms.histograms(np.zeros((4, 4, 1)))


def test_influences_are_derivatives_by_an_images_weight():
    counts = np.random.default_rng(0).random(
        (4, 2, sum(lab_histograms.BINS))
    )  # no two shares are equal
    counts *= np.arange(1, 9).reshape(4, 2, 1)  # images of other sizes
    influences, n = lab_histograms.influences(counts), len(counts)
    for i in range(n):
        weights = np.ones(n)
        values = []
        for step in (1e-6, -1e-6):
            weights[i] = 1 + step
            values.append(lab_histograms.intersections(np.tensordot(weights, counts, 1)))
        for name in lab_histograms.CHANNELS:
            slope = n * (values[0][name] - values[1][name]) / 2e-6
            assert influences[name][i] == pytest.approx(slope, abs=1e-4)
