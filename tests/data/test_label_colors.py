"""Label maps in colours, and tables of colours."""

import io
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from pix2pix_jax.data import label_colors
from pix2pix_jax.data.catalogue import openmoji
from pix2pix_jax.data.label_colors import CITYSCAPES, FACADES, VOID
from pix2pix_jax.errors import UserError


@pytest.mark.parametrize('classes', [FACADES, CITYSCAPES])
def test_every_colour_is_its_class_also_after_jpeg(classes):
    count = len(classes.colours)
    true = np.arange(count).reshape(1, -1).repeat(16, 0).repeat(16, 1)
    image = np.array(list(classes.colours.values()), np.uint8)[true]
    np.testing.assert_array_equal(label_colors.from_colours(image, classes), true)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, 'JPEG', quality=75)
    found = label_colors.from_colours(np.asarray(Image.open(buffer)), classes)
    inner = np.s_[4:12, np.arange(count * 16) % 16 // 4 % 3 != 0]  # away from the borders
    assert (found[inner] == true[inner]).mean() > 0.95


def test_what_has_no_class_is_void():
    image = np.array([[CITYSCAPES.void[0], CITYSCAPES.colours['sky']]], np.uint8)
    sky = list(CITYSCAPES.colours).index('sky')
    np.testing.assert_array_equal(label_colors.from_colours(image, CITYSCAPES), [[VOID, sky]])


def jpeg(image, quality=75):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, 'JPEG', quality=quality)
    return np.asarray(Image.open(buffer))


@pytest.mark.parametrize('classes', [FACADES, CITYSCAPES])
def test_label_maps_have_label_colours_also_after_jpeg(classes):
    """Areas with thin parts, of which JPEG leaves little."""
    colours = np.array([*classes.colours.values(), *classes.void], np.uint8)
    rng = np.random.default_rng(0)
    areas = rng.integers(0, len(colours), (8, 8)).repeat(16, 0).repeat(16, 1)
    areas[::8] = rng.integers(0, len(colours))
    image = colours[areas]
    assert label_colors.matching(image, classes) == 1
    assert label_colors.matching(jpeg(image), classes) > 0.5
    label_colors.check(jpeg(image), classes, 'a.jpg')


def test_black_is_no_label():
    """It is Cityscapes' void, and what many images are black in."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    image[:40] = 0
    assert label_colors.matching(image, CITYSCAPES) < 0.1
    assert label_colors.matching(np.zeros_like(image), CITYSCAPES) == 0
    image[40:] = CITYSCAPES.colours['sky']
    assert label_colors.matching(image, CITYSCAPES) == 1


@pytest.mark.parametrize('classes', [FACADES, CITYSCAPES])
def test_other_images_have_no_label_colours(classes):
    other = CITYSCAPES if classes is FACADES else FACADES
    colours = np.array(list(other.colours.values()), np.uint8)
    maps = colours[np.random.default_rng(0).integers(0, len(colours), (64, 64))]
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    white = np.full((64, 64, 3), 255, np.uint8)
    for image in (maps, noise, white, maps[..., :1], maps.astype(np.uint16) * 257):
        with pytest.raises(UserError, match=r'a\.png is not such a label map') as raised:
            label_colors.check(image, classes, 'a.png')
        assert '\n' not in str(raised.value)


def test_drawings_have_no_label_colours_of_facades():
    for file in openmoji.drawings()[::100]:
        for image in openmoji.render_pair(file.read_text(), 64) or ():
            assert label_colors.matching(image, FACADES) < label_colors.MIN_MATCHING / 2, file


def test_real_facades_have_label_colours_and_their_photos_have_none():
    folder = os.environ.get('PIX2PIX_FACADES')
    if not folder:
        pytest.skip('PIX2PIX_FACADES names no folder of the real facades')
    for i, path in enumerate(sorted(pathlib.Path(folder).rglob('*.jpg'))):
        photo, label = np.split(np.asarray(Image.open(path)), 2, axis=1)
        assert label_colors.matching(label, FACADES) > 1.5 * label_colors.MIN_MATCHING, path
        if i % 5 == 0:
            assert label_colors.matching(photo, FACADES) < label_colors.MIN_MATCHING / 10, path


def test_the_colours_are_those_of_real_facades():
    """Where a label map is flat, it has one of the twelve colours, up to JPEG's noise."""
    folder = os.environ.get('PIX2PIX_FACADES')
    if not folder:
        pytest.skip('PIX2PIX_FACADES names no folder of the real facades')
    palette = np.array(list(FACADES.colours.values()))
    found = []
    for path in sorted(pathlib.Path(folder, 'test').glob('*.jpg'))[:10]:
        image = np.asarray(Image.open(path))[:, 256:].astype(int)
        blocks = image.reshape(64, 4, 64, 4, 3).swapaxes(1, 2).reshape(-1, 16, 3)
        flat = blocks[np.ptp(blocks, axis=1).max(-1) <= 6].mean(1)
        found.extend(np.abs(flat[:, None] - palette).max(-1).min(-1))
    assert len(found) > 5000 and max(found) < 16
