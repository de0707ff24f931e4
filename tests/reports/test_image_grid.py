import numpy as np
import pytest

from pix2pix_jax.reports import image_grid


@pytest.mark.parametrize(
    'image, rgb',
    [
        ([-1.0], (0, 0, 0)),
        ([1.0], (255, 255, 255)),
        ([-1.0, 1.0, 0.0], (0, 255, 128)),
        ([-1.0, -1.0, -1.0, 1.0], (0, 0, 0)),
        ([-1.0, -1.0, -1.0, -1.0], (255, 255, 255)),  # transparent: the paper's white
        ([3.0, -3.0, float('nan')], (255, 0, 128)),
    ],
)
def test_to_rgb(image, rgb):
    shown = image_grid.to_rgb(np.full((2, 3, len(image)), image))
    assert shown.dtype == np.uint8
    np.testing.assert_array_equal(shown, np.full((2, 3, 3), rgb))


@pytest.mark.parametrize('channels,shown', [(2, [0, 0, 0]), (5, [0, 1, 2]), (12, [0, 1, 2])])
def test_of_many_channels_some_are_shown(channels, shown):
    image = np.broadcast_to(np.linspace(-1, 1, channels), (2, 3, channels))
    np.testing.assert_array_equal(image_grid.to_rgb(image), image_grid.to_rgb(image[..., shown]))


@pytest.mark.parametrize('size, factor', [((256, 256), 1), ((128, 64), 1), ((32, 48), 3)])
def test_images_lie_in_their_rows_and_columns(size, factor):
    rng = np.random.default_rng(0)
    rows = [[rng.uniform(-1, 1, (*size, c)) for c in (1, 3, 4)] for _ in range(2)]
    picture = image_grid.make_grid(rows)
    height, width = size[0] * factor, size[1] * factor
    assert picture.dtype == np.uint8 and picture.ndim == 3
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            top = image_grid.HEADER + r * (height + image_grid.GUTTER)
            left = image_grid.GUTTER + c * (width + image_grid.GUTTER)
            tile = picture[top : top + height, left : left + width]
            np.testing.assert_array_equal(tile[::factor, ::factor], image_grid.to_rgb(image))
    assert (picture[image_grid.HEADER + height, :] == 255).all()


def test_a_long_title_stays_over_its_column():
    """Titles of neighbours do not touch: the gutter between them is white in the header."""
    image = np.ones((128, 128, 3))
    picture = image_grid.make_grid([[image, image]], ['encoder_decoder l1+cgan'] * 2)
    header = picture[: image_grid.HEADER]
    dark = (header < 200).any(axis=(0, 2))
    middle = 128 + image_grid.GUTTER
    assert dark[:middle].any() and dark[middle:].any()
    assert not dark[middle : middle + image_grid.GUTTER].any()


@pytest.mark.parametrize('channels', [1, 3])
def test_what_is_not_valid_has_no_say_in_stretching_and_is_white(channels):
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 0.2, (2, 9, 9, channels)).astype(np.float32)
    valid = (rng.random((2, 9, 9, 1)) < 0.6).astype(np.uint8)
    shown = image_grid.narrow(image, valid)
    assert shown == image_grid.narrow(image[valid[..., 0] > 0])
    assert shown == image_grid.narrow(np.where(valid, image, np.float32(-1)), valid)
    assert image_grid.narrow(image, np.zeros_like(valid)) is None
    white = image_grid.stretched(image_grid.white_elsewhere(image, valid), shown)
    expected = np.where(valid, image_grid.stretched(image, shown), np.float32(1))
    assert white.dtype == np.float32
    np.testing.assert_array_equal(white, expected)
