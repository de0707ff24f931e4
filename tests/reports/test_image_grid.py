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


def tiles(picture, size, columns, count):
    """The parts of a picture of channels, read by the layout alone: rows of a band and an image."""
    height, width = size
    band = max(image_grid.HEADER, height // 6)
    rows = -(-count // columns)
    gutter = image_grid.GUTTER
    assert picture.shape[:2] == (
        rows * (band + height + gutter) - gutter,
        columns * (width + gutter) - gutter,
    )
    for i in range(count):
        top, left = i // columns * (band + height + gutter), i % columns * (width + gutter)
        image = picture[top + band : top + band + height, left : left + width]
        yield picture[top : top + band, left : left + width], image


@pytest.mark.parametrize(
    'channels, columns, shown',
    [
        (2, 2, [0, 1]),
        (5, 3, [0, 1, 2, 3, 4]),
        (9, 3, range(9)),
        (12, 3, [0, 1, 3, 4, 6, 7, 8, 10, 11]),
    ],
)
@pytest.mark.parametrize('factor', [1, 2])
def test_other_channels_are_shown_apart_each_under_its_number(channels, columns, shown, factor):
    size = 64 // factor, 96 // factor
    image = np.random.default_rng(channels).uniform(-1, 1, (*size, channels))
    factor = -(-image_grid.MIN_SIDE // size[1])
    seen = tiles(image_grid.to_rgb(image), np.multiply(size, factor), columns, len(shown))
    bands = set()
    for channel, (band, tile) in zip(shown, seen, strict=True):
        gray = image_grid.to_rgb(image[..., [channel]])
        np.testing.assert_array_equal(tile, gray.repeat(factor, 0).repeat(factor, 1))
        assert (band < 128).any()
        bands.add(band.tobytes())
    assert len(bands) == len(shown)  # each has a number of its own


def test_of_many_channels_it_is_said_how_many_are_shown(monkeypatch):
    said, write = [], image_grid._write
    monkeypatch.setattr(image_grid, '_write', lambda *a: said.append(a[1]) or write(*a))
    image_grid.to_rgb(np.zeros((64, 64, 12)))
    assert said == ['1', '2', '4', '5', '7', '8', '9', '11', '12 (9 shown)']
    image_grid.to_rgb(np.zeros((64, 64, 9)))
    assert said[9:] == list('123456789')


def test_each_channel_that_is_shown_apart_is_stretched_by_its_own_values():
    rng = np.random.default_rng(0)
    low, high = np.array([[-1, 0.1, 0.5, -1, 0.25], [-0.9, 0.12, 0.9, 1, 0.25]])
    image = rng.uniform(low, high, (200, 200, 5)).astype(np.float32)
    shown = image_grid.narrow(image, units=False)
    assert shown[4] is None  # one value
    np.testing.assert_allclose(shown[:4], np.stack([low, high], 1)[:4], atol=0.01)
    seen = image_grid.stretched(image, shown)
    assert seen.dtype == np.float32 and (seen[..., :4].min((0, 1)) == -1).all()
    assert (seen[..., :4].max((0, 1)) == 1).all() and (seen[..., 4] == 0.25).all()
    np.testing.assert_array_equal(image_grid.by_itself(image), seen)
    assert image_grid.in_units(shown[:3], (0, 200)).startswith(' (1: 0.')
    words = image_grid.in_units(((-1.0, 0.0), None, (0.5, 1.0), *[None] * 9), (0, 200))
    assert words == ' (1: 0 to 100)'  # of those that are shown


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_a_picture_is_stretched_as_one_where_it_has_units(channels):
    image = np.random.default_rng(0).uniform(0, 0.2, (9, 9, channels)).astype(np.float32)
    assert image_grid.narrow(image, units=False) == (None,)
    np.testing.assert_array_equal(image_grid.by_itself(image), image)
    ((low, high),) = image_grid.narrow(image)
    assert image_grid.in_units(((low, high),), (-1, 1)) == f' ({low:.5g} to {high:.5g})'


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


def test_columns_of_other_numbers_of_channels_lie_side_by_side():
    images = [np.random.default_rng(c).uniform(-1, 1, (32, 40, c)) for c in (1, 5)]
    seen = [image_grid.enlarged(image_grid.to_rgb(x), image_grid.MIN_SIDE) for x in images]
    picture = image_grid.make_grid([images, images], ('input', 'target'))
    left = image_grid.GUTTER
    for one in seen:
        top = image_grid.HEADER
        for _ in range(2):
            tile = picture[top : top + one.shape[0], left : left + one.shape[1]]
            np.testing.assert_array_equal(tile, one)
            top += max(x.shape[0] for x in seen) + image_grid.GUTTER
        left += one.shape[1] + image_grid.GUTTER
    assert picture.shape == (top, left, 3)


def test_a_title_that_is_too_long_has_several_lines_and_a_word_is_cut():
    black = -np.ones((128, 128, 3))
    for title, lines in (('a title', 1), ('wide ' * 20, 7), ('x' * 99, 1), ('', 1)):
        picture = image_grid.make_grid([[black, black]], [title, ''])
        header = image_grid.HEADER + (lines - 1) * image_grid.LINE
        assert picture.shape[0] == header + 128 + image_grid.GUTTER
        first, second = (picture[:, at : at + 128] for at in (4, 4 + 128 + 4))
        assert (first[header : header + 128] == 0).all() and (second[:header] == 255).all()
        assert (first[header - 15 : header] < 128).any() == bool(title)  # the last line


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
    assert image_grid.narrow(image, np.zeros_like(valid)) == (None,)
    white = image_grid.stretched(image_grid.white_elsewhere(image, valid), shown)
    expected = np.where(valid, image_grid.stretched(image, shown), np.float32(1))
    assert white.dtype == np.float32
    np.testing.assert_array_equal(white, expected)
