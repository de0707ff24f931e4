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


@pytest.mark.parametrize('size', [(32, 32), (40, 100), (5, 70)])
@pytest.mark.parametrize('batch', [1, 3])
@pytest.mark.parametrize('overlap', [0, 8, 24])
def test_what_is_done_pixel_by_pixel_is_done_to_the_whole(size, overlap, batch):
    seen = []

    def function(tiles):
        seen.append(tiles.shape)
        return 3 * tiles[..., :2] - 1

    x = image(*size)
    found = tiling.translate_in_tiles(function, x, 32, overlap, batch)
    np.testing.assert_allclose(found, 3 * x[..., :2] - 1, atol=1e-5)
    assert {shape[1:] for shape in seen} == {(32, 32, 3)} and max(s[0] for s in seen) <= batch


def test_seams_are_blended():
    """Tiles that differ in brightness join without a step larger than a ramp's."""
    values = iter(np.linspace(0, 1, 100))

    def function(tiles):
        return np.stack([np.full((32, 32, 1), next(values), np.float32) for _ in tiles])

    found = tiling.translate_in_tiles(function, image(32, 200), 32, 16)
    assert np.abs(np.diff(found[..., 0], axis=1)).max() < 0.002
    assert np.ptp(found) > 0.05
