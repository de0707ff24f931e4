import os
import pathlib

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import structural_similarity

from pix2pix_jax.data import augment
from pix2pix_jax.evaluation import bootstrap, image_metrics

# Wang et al., 2004, as scikit-image has it.
NAMES = ('l1', 'psnr', 'ssim')
WANG = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=-1)


def pair(seed=0, size=(16, 19, 3)):
    rng = np.random.default_rng(seed)
    target = rng.uniform(-1, 1, size)
    return np.clip(target + 0.3 * rng.normal(size=size), -1, 1), target


def brute_force_ssim(x, y):
    """Wang et al., 2004, eq. 13-16, window by window, of values on [0, 1]."""
    x, y = (x + 1) / 2, (y + 1) / 2
    offsets = np.arange(11) - 5
    g = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(g, g) / np.outer(g, g).sum()
    c1, c2 = 0.01**2, 0.03**2
    values = []
    for channel in range(x.shape[-1]):
        for i in range(x.shape[0] - 10):
            for j in range(x.shape[1] - 10):
                a, b = (v[i : i + 11, j : j + 11, channel] for v in (x, y))
                ma, mb = (window * a).sum(), (window * b).sum()
                va, vb = (window * (a - ma) ** 2).sum(), (window * (b - mb) ** 2).sum()
                cov = (window * (a - ma) * (b - mb)).sum()
                values.append(
                    (2 * ma * mb + c1) * (2 * cov + c2) / (ma**2 + mb**2 + c1) / (va + vb + c2)
                )
    return np.mean(values)


def test_constant_images_by_hand():
    output, target = np.full((12, 12, 3), 0.5), np.zeros((12, 12, 3))
    values = image_metrics.of_pair(output, target)
    assert values['l1'] == 0.5
    assert values['psnr'] == pytest.approx(20 * np.log10(4))
    # 0.75 and 0.5 of the range: (2 * 0.75 * 0.5 + c1) / (0.75**2 + 0.5**2 + c1)
    assert values['ssim'] == pytest.approx(0.7501 / 0.8126)


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_ssim_is_the_published_formula(channels):
    output, target = pair(size=(13, 14, channels))
    expected = brute_force_ssim(output, target)
    assert image_metrics.ssim(output, target) == pytest.approx(expected, abs=1e-9)
    single = image_metrics.ssim(output.astype(np.float32), target.astype(np.float32))
    assert single == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('channels', [1, 3, 5])
def test_ssim_is_scikit_images_on_the_values_of_the_files(dtype, channels):
    top = np.iinfo(dtype).max
    y, x = np.mgrid[0:1:40j, 0:1:50j]
    wave = (np.sin(9 * x + 4 * y) + np.cos(7 * y)) / 4 + 0.5  # smooth, as a photo
    rng = np.random.default_rng(channels)
    noise = rng.normal(size=(40, 50, channels))
    for target, strength in ((wave[..., None] * np.ones(channels), 0.05), (0.5 + noise / 5, 0.2)):
        output = target + strength * rng.normal(size=target.shape)
        files = [(np.clip(image, 0, 1) * top).astype(dtype) for image in (output, target)]
        expected = structural_similarity(*files, data_range=top, **WANG)
        assert image_metrics.ssim(*map(augment.to_float, files)) == pytest.approx(
            expected, abs=1e-6
        )


def test_ssim_of_a_range_is_scikit_images_from_its_lowest_value():
    """Depth from 500 to 4000 mm, as floats."""
    rng = np.random.default_rng(0)
    target = rng.uniform(500, 4000, (30, 30, 1)).astype(np.float32)
    output = np.clip(target + rng.normal(0, 300, target.shape), 500, 4000).astype(np.float32)
    expected = structural_similarity(output - 500, target - 500, data_range=3500, **WANG)
    pictures = ((image - 500) / 1750 - 1 for image in (output, target))
    assert image_metrics.ssim(*pictures) == pytest.approx(expected, abs=1e-6)


def test_ssim_of_two_grays_that_no_eye_tells_apart():
    a, b = (np.full((20, 20, 3), level, np.uint8) for level in (126, 129))
    assert image_metrics.ssim(*map(augment.to_float, (a, b))) == pytest.approx(0.9997, abs=5e-5)


def test_ssim_of_real_photos_is_scikit_images():
    folder = os.environ.get('PIX2PIX_FACADES')
    if not folder:
        pytest.skip('PIX2PIX_FACADES names no folder of the real facades')
    rng = np.random.default_rng(0)
    for path in sorted(pathlib.Path(folder, 'test').glob('*.jpg'))[:5]:
        photo = np.asarray(Image.open(path))[:, :256]
        noisy = np.clip(photo + rng.normal(0, 25, photo.shape), 0, 255).astype(np.uint8)
        expected = structural_similarity(noisy, photo, data_range=255, **WANG)
        found = image_metrics.ssim(*map(augment.to_float, (noisy, photo)))
        assert found == pytest.approx(expected, abs=1e-6)


def test_identical_images_have_finite_values():
    _, target = pair()
    assert image_metrics.of_pair(target, target) == {'l1': 0.0, 'psnr': 100.0, 'ssim': 1.0}


@pytest.mark.parametrize('name', NAMES)
def test_symmetric_and_worse_with_more_noise(name):
    output, target = pair()
    f = getattr(image_metrics, name)
    assert f(output, target) == pytest.approx(f(target, output))
    closer = f((output + target) / 2, target)
    assert closer < f(output, target) if name == 'l1' else closer > f(output, target)


def test_shapes_must_agree():
    for name in NAMES:
        with pytest.raises(ValueError, match=r'\(12, 12, 1\)'):
            getattr(image_metrics, name)(np.zeros((12, 12, 1)), np.zeros((12, 12, 3)))


def test_a_small_image_has_no_ssim_and_the_summary_says_why():
    values = image_metrics.of_pair(np.zeros((10, 12, 3)), np.zeros((10, 12, 3)))
    assert np.isnan(values['ssim']) and values['l1'] == 0
    summary = bootstrap.summarize({'l1': [0.0, 0.0], 'ssim': [0.5, values['ssim']]})
    assert summary['l1'] == {'mean': 0.0, 'ci95': [0.0, 0.0]}
    assert summary['ssim']['value'] is None and '1 of 2' in summary['ssim']['reason']


def test_the_interval_of_many_images_is_that_of_the_normal_distribution():
    """Also that of counts, whose score is a mean here."""
    values = np.random.default_rng(0).normal(3, 2, size=400)
    found = bootstrap.summarize({'x': values})
    assert found == bootstrap.summarize({'x': values})
    counts = np.stack([values, np.ones(400)], -1)
    of_counts = bootstrap.summarize_counts(counts, lambda c: {'x': c[..., 0] / c[..., 1]})
    for one in (found['x'], of_counts['x']):
        (low, high), half = one['ci95'], 1.96 * values.std() / np.sqrt(400)
        assert one['mean'] == pytest.approx(values.mean())
        assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.1 * half)
        assert high - low == pytest.approx(2 * half, rel=0.1)
