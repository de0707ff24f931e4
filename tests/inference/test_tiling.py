import numpy as np
import pytest

from pix2pix_jax.inference import tiling


def image(height, width, channels=3):
    return np.random.default_rng(0).uniform(-1, 1, (height, width, channels)).astype(np.float32)


@pytest.mark.parametrize('size', [(1, 1), (1, 9), (5, 5), (64, 64), (65, 127)])
@pytest.mark.parametrize('unit', [4, 64])
def test_a_border_is_reflected_and_cut_off_again(size, unit):
    x = image(*size)
    large = tiling.padded_size(size, unit)
    assert all(side % unit == 0 and 0 <= side - have < unit for side, have in zip(large, size))
    padded = tiling.pad(x, large)
    assert padded.shape == (*large, 3)
    np.testing.assert_array_equal(tiling.crop(padded, size), x)


def test_the_border_mirrors_the_image():
    x = image(6, 4, 1)
    padded = tiling.pad(x, (8, 8))
    np.testing.assert_array_equal(padded[1:-1, :2], x[:, 1:3][:, ::-1])
    np.testing.assert_array_equal(padded[0], padded[2])


@pytest.mark.parametrize('side', [32, 33, 48, 100, 1000])
@pytest.mark.parametrize('overlap', [0, 8, 31])
def test_tiles_cover_all_and_overlap_enough(side, overlap):
    starts = tiling.tile_starts(side, 32, overlap)
    assert starts[0] == 0 and starts[-1] == side - 32
    assert all(0 < b - a <= 32 - overlap for a, b in zip(starts, starts[1:]))


def canvas_of(x, padded=None):
    """A canvas that reads an array, and never more of it than there is."""

    def read(top, bottom, left, right):
        assert 0 <= top < bottom <= len(x) and 0 <= left < right <= x.shape[1]
        return x[top:bottom, left:right]

    return tiling.Canvas(read, x.shape[:2], padded or x.shape[:2])


@pytest.mark.parametrize('size', [(1, 1), (1, 9), (5, 5), (3, 17), (30, 40)])
@pytest.mark.parametrize('padded', [(32, 40), (45, 64)])
def test_a_window_is_that_of_the_padded_image(size, padded):
    """Borders may be many times as wide as the image."""
    x = image(*size)
    whole, canvas = tiling.pad(x, padded), canvas_of(x, padded)
    rng = np.random.default_rng(0)
    for _ in range(10):
        shape = [int(rng.integers(1, side + 1)) for side in padded]
        corner = [int(rng.integers(0, side - h + 1)) for side, h in zip(padded, shape)]
        (top, left), (height, width) = corner, shape
        expected = whole[top : top + height, left : left + width]
        np.testing.assert_array_equal(canvas.window((top, left), (height, width)), expected)
    np.testing.assert_array_equal(canvas.window((0, 0), padded), whole)
    ((top, rows),) = canvas.inside(0, whole)
    assert top == 0
    np.testing.assert_array_equal(rows, x)


def smear(unit, halo):
    """A network of this unit: each block of `unit` pixels is its mean of `halo` pixels around it.

    At the border of what it gets it counts zeros, as a zero-padded convolution does.
    """

    def one(x):
        height, width = x.shape[:2]
        padded = np.pad(x, ((halo, halo), (halo, halo), (0, 0)))
        side = 2 * halo + unit
        blocks = [
            [padded[t : t + side, s : s + side].mean((0, 1)) for s in range(0, width, unit)]
            for t in range(0, height, unit)
        ]
        return np.asarray(blocks, np.float32).repeat(unit, 0).repeat(unit, 1)

    return one


@pytest.mark.parametrize('side, halo', [(4, 4), (8, 4), (12, 8), (64, 4)])
@pytest.mark.parametrize('size', [(9, 30), (41, 23), (4, 4), (1, 50)])
def test_cores_equal_the_whole(size, side, halo):
    """At the border of the image and inside, whatever is left for the last core."""
    x, network = image(*size), smear(4, halo)
    canvas = canvas_of(x, tiling.padded_size(size, 4))
    shapes = []

    def translate(windows):
        for window, (top, left) in windows:
            assert top % 4 == left % 4 == 0
            shapes.append(window.shape)
            yield network(window)

    rows = list(tiling.translate_in_cores(translate, canvas, tiling.Cores(side, halo)))
    tops = [top for top, _ in rows]
    assert tops == list(np.cumsum([0, *(len(part) for _, part in rows)])[:-1])  # without a gap
    expected = tiling.crop(network(tiling.pad(x, canvas.padded)), size)
    np.testing.assert_allclose(tiling.collect(iter(rows), size), expected, atol=1e-6)
    assert len(set(shapes)) == 1  # compiled once
    too_near = tiling.translate_in_cores(translate, canvas, tiling.Cores(side, halo - 4))
    if max(canvas.padded) > side + 2 * halo:
        assert np.abs(tiling.collect(too_near, size) - expected).max() > 1e-3


def test_one_row_of_cores_is_computed_at_a_time():
    """Whoever takes finished rows may keep each before the next is begun."""
    seen = []

    def translate(windows):
        for window, corner in windows:
            seen.append(corner)
            yield window

    rows = tiling.translate_in_cores(translate, canvas_of(image(32, 24)), tiling.Cores(8, 0))
    assert [(top, len(seen)) for top, _ in rows] == [(0, 3), (8, 6), (16, 9), (24, 12)]


def test_the_work_of_cores():
    """Of a U-Net of depth 8 and a ResNet of 9 blocks, as in the documentation."""
    found = [[tiling.Cores(s, h).work for s in (256, 1024, 2048)] for h in (512, 84)]
    np.testing.assert_allclose(found, [[25, 4, 2.25], [2.74, 1.36, 1.17]], atol=0.01)


@pytest.mark.parametrize('size', [(32, 32), (40, 100), (5, 70)])
@pytest.mark.parametrize('overlap', [0, 8, 24])
def test_what_is_done_pixel_by_pixel_is_done_to_the_whole(size, overlap):
    x = image(*size)

    def translate(windows):
        for tile, _ in windows:
            assert tile.shape == (32, 32, 3)
            yield 3 * tile[..., :2] - 1

    rows = tiling.translate_blended(translate, canvas_of(x).at_least((32, 32)), 32, overlap)
    np.testing.assert_allclose(tiling.collect(rows, size), 3 * x[..., :2] - 1, atol=1e-5)


def test_seams_are_blended():
    """Tiles that differ in brightness join without a step larger than a ramp's."""
    values = iter(np.linspace(0, 1, 100))

    def translate(windows):
        return (np.full((32, 32, 1), next(values), np.float32) for _ in windows)

    rows = tiling.translate_blended(translate, canvas_of(image(32, 200)), 32, 16)
    found = tiling.collect(rows, (32, 200))
    assert np.abs(np.diff(found[..., 0], axis=1)).max() < 0.002
    assert np.ptp(found) > 0.05


@pytest.mark.parametrize('start', [0, 1, 8, 39, 40, 69])
def test_from_any_row_on_the_rest_is_what_it_is_in_all(start):
    """As after a kill; of tiles that end before it none is computed."""
    x, seen = image(70, 50), []

    def translate(windows):
        for window, (top, _) in windows:
            seen.append(top)
            yield window * np.float32(1 + top / 7)

    canvas = canvas_of(x, (72, 56))
    ways = (
        lambda canvas: tiling.translate_in_cores(translate, canvas, tiling.Cores(8, 0)),
        lambda canvas: tiling.translate_blended(translate, canvas, 16, 5),
    )
    for side, way in zip((8, 16), ways):
        expected = tiling.collect(way(canvas), (70, 50))
        seen.clear()
        found = np.full_like(expected, np.nan)
        for top, part in way(canvas._replace(start=start)):
            found[top : top + len(part)] = part
        np.testing.assert_array_equal(found[start:], expected[start:])
        assert min(seen) + side > start + canvas.offset[0]
