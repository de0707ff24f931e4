"""Windows of files: each equals its part of the whole, as the reader of whole files gives it."""

import concurrent.futures
import itertools
import os
import tracemalloc

import numpy as np
import pytest
import tifffile
from etils import epath
from PIL import Image

from pix2pix_jax.data.formats import decode, tiff_npy, windows
from pix2pix_jax.data.formats.pixels import LazyFile
from pix2pix_jax.errors import DataError


def values(rng, dtype, channels, height, width):
    image = rng.random((height, width, channels)) * (1 if np.dtype(dtype).kind == 'f' else 250)
    return image > 99 if dtype == 'bool' else image.astype(dtype)


def some_boxes(rng, height, width, count=6):
    """The whole, each corner pixel, and random windows."""
    yield 0, height, 0, width
    yield 0, 1, 0, 1
    yield height - 1, height, width - 1, width
    for _ in range(count):
        top, left = rng.integers(height), rng.integers(width)
        yield top, rng.integers(top, height) + 1, left, rng.integers(left, width) + 1


def check_windows(file, rng, by_windows=True, indices=False):
    raster = windows.open_raster(file, indices)
    whole = decode.read_pixels(file, indices)
    about = raster.height, raster.width, raster.channels
    assert about == whole.values.shape and raster.dtype == whole.values.dtype
    assert (raster.opacity, raster.lossy) == whole[1:3] and windows.are_cheap(file) == by_windows
    for top, bottom, left, right in some_boxes(rng, *about[:2]):
        found = raster.window(top, bottom, left, right)
        expected = whole.values[top:bottom, left:right]
        np.testing.assert_array_equal(found.values, expected, strict=True)
        assert found[1:3] == whole[1:3]


TILINGS = [{}, {'rowsperstrip': 7}, {'tile': (16, 32)}]


@pytest.mark.parametrize('tiling', TILINGS, ids=['strip', 'strips', 'tiles'])
@pytest.mark.parametrize('planar', ['contig', 'separate', 'pages'])
@pytest.mark.parametrize('compression', [None, 'zlib', 'lzw', 'zstd'])
def test_every_window_of_a_tiff(tmp_path, compression, planar, tiling):
    rng, kinds = np.random.default_rng(0), ['uint8', 'uint16', 'int16', 'float32', 'float64']
    for number, (byteorder, bigtiff) in enumerate(itertools.product('<>', (False, True))):
        dtype, channels = kinds[rng.integers(len(kinds))], int(rng.integers(2, 6))
        height, width = map(int, rng.integers(33, 90, 2))
        image = values(rng, dtype, channels, height, width)
        stored = image if planar == 'contig' else np.moveaxis(image, -1, 0)
        options = tiling | {'byteorder': byteorder, 'bigtiff': bigtiff}
        options |= {} if planar == 'pages' else {'planarconfig': planar}
        file = epath.Path(tmp_path) / f'{number}.tif'
        predictor = compression is not None and bool(rng.integers(2))
        with file.open('wb') as stream:
            tifffile.imwrite(
                stream, stored, photometric='minisblack', compression=compression,
                predictor=predictor, **options,
            )  # fmt: skip
        np.testing.assert_array_equal(decode.read_pixels(file).values, image)
        check_windows(file, rng)


@pytest.mark.parametrize('tiling', TILINGS, ids=['strip', 'strips', 'tiles'])
@pytest.mark.parametrize('photometric', ['minisblack', 'miniswhite'])
@pytest.mark.parametrize('dtype', ['bool', 'uint8', 'uint16'])
def test_gray_and_class_indices(tmp_path, dtype, photometric, tiling):
    rng, file = np.random.default_rng(1), epath.Path(tmp_path) / '1.tif'
    image = values(rng, dtype, 1, 51, 70)[..., 0]
    tifffile.imwrite(str(file), image, photometric=photometric, compression='zlib', **tiling)
    check_windows(file, rng)
    check_windows(file, rng, indices=True)


@pytest.mark.parametrize('options', [
    {'photometric': 'rgb', 'compression': 'jpeg'}, {'photometric': 'rgb', 'compression': 'webp'},
    {'photometric': 'rgb', 'compression': 'jpeg', 'compressionargs': {'lossless': True}},
    {'photometric': 'ycbcr', 'compression': 'jpeg', 'tile': (32, 32)},
])  # fmt: skip
def test_compressions_that_may_lose(tmp_path, options):
    rng, file = np.random.default_rng(2), epath.Path(tmp_path) / '1.tif'
    tifffile.imwrite(str(file), values(rng, 'uint8', 3, 60, 75), **options)
    check_windows(file, rng)


def test_opacity_of_gray_and_of_colours(tmp_path):
    rng = np.random.default_rng(3)
    for channels, photometric in ((2, 'minisblack'), (4, 'rgb')):
        file = epath.Path(tmp_path) / f'{channels}.tif'
        tifffile.imwrite(
            str(file), values(rng, 'uint8', channels, 40, 41), photometric=photometric,
            planarconfig='contig', extrasamples=['unassalpha'], tile=(16, 16),
        )  # fmt: skip
        check_windows(file, rng)
        assert windows.open_raster(file).opacity


@pytest.mark.parametrize('dtype', ['bool', 'uint8', '>u2', 'int16', 'float32', '>f8'])
def test_every_window_of_a_numpy_file(tmp_path, dtype):
    rng = np.random.default_rng(4)
    for order, channels in itertools.product('CF', (0, 1, 5)):
        image = values(rng, dtype, channels or 1, 30, 43)
        image = np.asarray(image if channels else image[..., 0], order=order)
        np.save(tmp_path / f'{order}{channels}.npy', image)
        check_windows(epath.Path(tmp_path) / f'{order}{channels}.npy', rng)


def test_other_files_are_read_whole(tmp_path):
    rng = np.random.default_rng(5)
    file, data = epath.Path(tmp_path) / '1.png', tmp_path / '1.tif'
    Image.fromarray(values(rng, 'uint8', 3, 30, 20)).save(file)
    check_windows(file, rng, by_windows=False)
    tifffile.imwrite(data, values(rng, 'uint16', 3, 30, 20), photometric='rgb')
    check_windows(LazyFile('of an archive', data.read_bytes), rng, by_windows=False)


def test_no_data_of_gdal(tmp_path):
    image = np.zeros((8, 8), np.uint16)
    for number, text in enumerate(('0', '-9999', 'nan')):
        file = epath.Path(tmp_path) / f'{number}.tif'
        tifffile.imwrite(str(file), image, extratags=[(42113, 's', 0, text + ' ', True)])
        assert windows.open_raster(file).nodata == text
    np.save(tmp_path / '1.npy', image)
    assert windows.open_raster(epath.Path(tmp_path) / '1.npy').nodata == ''


@pytest.mark.parametrize('compression', [None, 'zlib'])
def test_a_window_takes_memory_for_itself_alone(tmp_path, compression):
    """A file of 24 MB, whose header and a window take less than a twentieth."""
    file = epath.Path(tmp_path) / '1.tif'
    image = np.random.default_rng(6).integers(0, 9, (2000, 2000, 3), np.uint16)
    tifffile.imwrite(str(file), image, photometric='rgb', tile=(128, 128), compression=compression)
    np.save(tmp_path / '1.npy', image)
    windows.read(file, (0, 1, 0, 1))  # imports
    for path in (file, epath.Path(tmp_path) / '1.npy'):
        tracemalloc.start()
        found = windows.read(path, (1000, 1100, 900, 1000)).values
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        np.testing.assert_array_equal(found, image[1000:1100, 900:1000])
        assert peak < image.nbytes / 20, path


def test_what_is_kept_is_bounded_and_right_whatever_was_there(tmp_path, monkeypatch):
    monkeypatch.setattr(windows, 'KEPT_BYTES', 5000)
    rng, file = np.random.default_rng(7), epath.Path(tmp_path) / '1.tif'
    image = values(rng, 'uint8', 3, 100, 100)
    tifffile.imwrite(str(file), image, photometric='rgb', tile=(32, 32), compression='zlib')
    boxes = list(some_boxes(rng, 100, 100, 40))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda box: windows.read(file, box).values, boxes))
    for (top, bottom, left, right), window in zip(boxes, found):
        np.testing.assert_array_equal(window, image[top:bottom, left:right])
    assert sum(map(windows._size, windows._of_late.values())) == windows._bytes <= 5000
    changed = 255 - image  # of the same size on disk or not: what is kept is of the file before
    tifffile.imwrite(str(file), changed, photometric='rgb', tile=(32, 32), compression='zlib')
    np.testing.assert_array_equal(windows.read(file, (0, 9, 0, 9)).values, changed[:9, :9])


@pytest.mark.parametrize('extension', ['.tif', '.png'])
def test_a_file_that_was_written_anew_is_read_anew(tmp_path, extension):
    """With as many bytes, a second later."""
    file, sizes = epath.Path(tmp_path) / f'1{extension}', set()
    for seconds in range(2):
        image = values(np.random.default_rng(seconds), 'uint8', 1, 40, 30)[..., 0]
        if extension == '.png':
            Image.fromarray(image).save(file, compress_level=0)
        else:
            tifffile.imwrite(str(file), image, compression='zlib', compressionargs={'level': 0})
        os.utime(file, (seconds, seconds))
        sizes.add(os.path.getsize(file))
        found = windows.read(file, (3, 40, 2, 30)).values
        np.testing.assert_array_equal(found[..., 0], image[3:, 2:])
    assert len(sizes) == 1


def test_the_limit_is_of_a_window_not_of_the_file(tmp_path, monkeypatch):
    file = epath.Path(tmp_path) / '1.tif'
    image = np.zeros((60, 50), np.uint8)
    tifffile.imwrite(str(file), image, tile=(16, 16))
    monkeypatch.setattr(tiff_npy, 'MAX_VALUES', 500)
    with pytest.raises(DataError, match=r'1\.tif has 3,000 values: allowed are at most 500'):
        decode.read_pixels(file)
    assert decode.size_of(file) == (60, 50)
    assert windows.read(file, (40, 60, 30, 50)).values.shape == (20, 20, 1)
    with pytest.raises(DataError, match=r'1\.tif has a window of 525 values'):
        windows.read(file, (0, 25, 0, 21))
    tifffile.imwrite(str(file), image, compression='zlib', rowsperstrip=60)
    with pytest.raises(DataError, match=r'1\.tif has strips or tiles of 3,000 values'):
        windows.read(file, (0, 1, 0, 1))
    tifffile.imwrite(str(file), image, rowsperstrip=60)  # nothing of it is decoded
    assert windows.read(file, (0, 1, 0, 50)).values.shape == (1, 50, 1)


@pytest.mark.parametrize('part', [0.05, 0.5, 0.999])
def test_what_is_cut_off_is_said_in_one_line(tmp_path, part):
    rng = np.random.default_rng(8)
    image = values(rng, 'uint16', 3, 60, 70)
    tifffile.imwrite(tmp_path / '1.tif', image, photometric='rgb', tile=(16, 16))
    np.save(tmp_path / '1.npy', image)
    for path in (epath.Path(tmp_path) / '1.tif', epath.Path(tmp_path) / '1.npy'):
        data = path.read_bytes()
        path.write_bytes(data[: int(part * len(data))])
        with pytest.raises(DataError) as raised:
            windows.read(path, (0, 1, 0, 1))
        assert str(raised.value).startswith(f'{path} ') and '\n' not in str(raised.value)


@pytest.mark.parametrize('extension', ['.tif', '.npy'])
def test_a_file_that_declares_more_than_it_holds_is_cut_off(tmp_path, extension):
    """Uncompressed pixels are mapped, and what cannot be mapped is in no words of a user's."""
    file = epath.Path(tmp_path) / f'1{extension}'
    image = values(np.random.default_rng(8), 'uint8', 1, 40, 30)[..., 0]
    if extension == '.npy':
        np.save(str(file), image)
        file.write_bytes(file.read_bytes()[:-1])
    else:
        tifffile.imwrite(str(file), image)
        with tifffile.TiffFile(str(file), mode='r+') as tiff:
            tiff.pages[0].tags['ImageLength'].overwrite(200_000)
    with pytest.raises(DataError, match='pixels are missing'):
        windows.open_raster(file)


def test_a_damaged_tile_is_named_where_it_is_read(tmp_path):
    file = epath.Path(tmp_path) / '1.tif'
    image = values(np.random.default_rng(9), 'uint16', 1, 64, 64)[..., 0]
    tifffile.imwrite(str(file), image, tile=(32, 32), compression='zlib')
    with tifffile.TiffFile(str(file)) as tiff:
        start = tiff.pages[0].dataoffsets[3]
    data = bytearray(file.read_bytes())
    data[start : start + 9] = b'damaged!!'
    file.write_bytes(bytes(data))
    np.testing.assert_array_equal(windows.read(file, (0, 32, 0, 64)).values[..., 0], image[:32])
    with pytest.raises(DataError, match=r'1\.tif cannot be read'):
        windows.read(file, (30, 34, 30, 34))


def test_fewer_strips_than_rows_need_are_refused(tmp_path):
    """tifffile would fill up the rest with zeros."""
    file = epath.Path(tmp_path) / '1.tif'
    image = values(np.random.default_rng(10), 'uint8', 1, 40, 30)[..., 0]
    tifffile.imwrite(str(file), image, rowsperstrip=8, compression='zlib')
    with tifffile.TiffFile(str(file), mode='r+') as tiff:
        tiff.pages[0].tags['ImageLength'].overwrite(56)
    for read in (decode.read_pixels, windows.open_raster):
        with pytest.raises(DataError, match='pixels are missing'):
            read(file)
