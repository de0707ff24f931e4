"""TIFF and NumPy files: every number of channels and type, and what is refused."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from etils import epath

from pix2pix_jax.data.formats import decode
from pix2pix_jax.errors import DataError

TYPES = ['bool', 'uint8', 'uint16', 'int16', 'float32', 'float64']


def values(dtype='uint8', channels=3, height=9, width=14):
    rng = np.random.default_rng(channels)
    image = rng.random((height, width, channels)) * (1 if dtype[0] == 'f' else 250)
    return image > 99 if dtype == 'bool' else image.astype(dtype)


def tiff(image, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, image, **options)
    return stream.getvalue()


def npy(image):
    stream = io.BytesIO()
    np.save(stream, image, allow_pickle=True)
    return stream.getvalue()


def pixels(folder, data, name='1.png'):
    """What is in the file: its name says nothing. Or the message, without the file's name."""
    file = epath.Path(folder) / name
    file.write_bytes(data)
    try:
        found = decode.read_pixels(file)
    except DataError as error:
        assert str(error).startswith(f'{file} ') and '\n' not in str(error)
        return str(error).removeprefix(f'{file} ')
    assert decode.size_of(file) == found.values.shape[:2]
    return found


@pytest.mark.parametrize('channels', [1, 2, 3, 4, 7])
@pytest.mark.parametrize('dtype', TYPES)
def test_numpy_files(tmp_path, dtype, channels):
    image = values(dtype, channels)
    for order in 'CF':
        found = pixels(tmp_path, npy(np.asarray(image, order=order)))
        expected = image * np.uint8(255) if dtype == 'bool' else image
        np.testing.assert_array_equal(found.values, expected, strict=True)
        assert not found.opacity


def test_numpy_file_of_two_axes(tmp_path):
    np.testing.assert_array_equal(pixels(tmp_path, npy(np.eye(5))).values, np.eye(5)[..., None])


@pytest.mark.parametrize('planar', ['contig', 'separate'])
@pytest.mark.parametrize('compression', [None, 'zlib', 'lzw'])
@pytest.mark.parametrize('channels', [1, 2, 3, 4, 7])
@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'float32'])
def test_tiff_files(tmp_path, dtype, channels, compression, planar):
    image = values(dtype, channels)
    options = {'photometric': 'rgb' if channels in (3, 4) else 'minisblack'}
    options |= {'compression': compression, 'predictor': compression is not None}
    if channels == 1:
        stored = image[..., 0]
    else:
        stored = np.moveaxis(image, -1, 0) if planar == 'separate' else image
        options['planarconfig'] = planar
    found = pixels(tmp_path, tiff(stored, **options))
    np.testing.assert_array_equal(found.values, image, strict=True)
    assert found.opacity == (channels == 4)


def test_pages_and_tiles_of_a_tiff(tmp_path):
    image = values('uint16', 5, 40, 50)
    pages = np.moveaxis(image, -1, 0)
    for options in ({}, {'tile': (16, 16)}, {'bigtiff': True}, {'byteorder': '>'}):
        found = pixels(tmp_path, tiff(pages, photometric='minisblack', **options))
        np.testing.assert_array_equal(found.values, image)


def test_white_is_zero(tmp_path):
    image = values('uint8', 1)[..., 0]
    found = pixels(tmp_path, tiff(image, photometric='miniswhite'))
    np.testing.assert_array_equal(found.values[..., 0], 255 - image)


@pytest.mark.parametrize('kind', ['tiff', 'npy', 'png'])
@pytest.mark.parametrize('bits', [1, 2, 4, 8])
def test_class_indices_are_those_of_the_file(tmp_path, kind, bits):
    """Not what a picture of them would show: 0 may be white, 2 and 4 bits stay as they are."""
    classes = (np.arange(64).reshape(8, 8) % min(2**bits, 12)).astype(np.uint8)
    stored = classes.astype(bool) if bits == 1 and kind != 'png' else classes
    if kind == 'png':
        data = gray_png(classes, bits)
    else:
        data = tiff(stored, photometric='miniswhite') if kind == 'tiff' else npy(stored)
    file = epath.Path(tmp_path) / '1'
    file.write_bytes(data)
    np.testing.assert_array_equal(decode.read_pixels(file, indices=True).values[..., 0], classes)


def gray_png(image, bits):
    rows = np.unpackbits(image[..., None], axis=-1)[..., 8 - bits :].reshape(len(image), -1)
    raw = b''.join(b'\0' + np.packbits(row).tobytes() for row in rows)

    def chunk(kind, body):
        body = kind + body
        return struct.pack('>I', len(body) - 4) + body + struct.pack('>I', zlib.crc32(body))

    header = struct.pack('>IIBBBBB', image.shape[1], image.shape[0], bits, 0, 0, 0, 0)
    parts = [chunk(b'IHDR', header), chunk(b'IDAT', zlib.compress(raw)), chunk(b'IEND', b'')]
    return b'\x89PNG\r\n\x1a\n' + b''.join(parts)


def test_gray_with_opacity(tmp_path):
    image = values('uint8', 2)
    data = tiff(image, photometric='minisblack', planarconfig='contig', extrasamples=['unassalpha'])
    found = pixels(tmp_path, data)
    assert found.opacity
    np.testing.assert_array_equal(found.values, image[..., [0, 0, 0, 1]])


@pytest.mark.parametrize('part', [0.05, 0.3, 0.9, 0.999])
@pytest.mark.parametrize('compression', [None, 'zlib', 'lzw'])
def test_what_is_cut_off_is_never_filled_up(tmp_path, part, compression):
    image = values('uint16', 3, 60, 70)
    for data in (tiff(image, compression=compression, rowsperstrip=8), npy(image)):
        assert isinstance(pixels(tmp_path, data[: int(part * len(data))]), str)


def film(image):
    return tiff(np.stack([image] * 3), photometric='rgb')


def with_tag(data, tag, value):
    stream = io.BytesIO(data)
    with tifffile.TiffFile(stream) as file:
        file.pages[0].tags[tag].overwrite(value)
    return stream.getvalue()


def two_sizes(image):
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        writer.write(image, photometric='rgb')
        writer.write(image[:5], photometric='rgb')
    return stream.getvalue()


@pytest.mark.parametrize(
    'data,message',
    [
        (film(values()), 'has the axes QYXS: allowed are height, width and channels'),
        (two_sizes(values()), 'holds 2 images of several sizes: allowed is one'),
        (
            tiff(values(channels=4), photometric='separated'),
            'has colours of the kind SEPARATED: allowed are gray and RGB',
        ),
        (
            with_tag(tiff(values(), photometric='rgb'), 262, 12345),
            'has colours of the kind 12345: allowed are gray and RGB',
        ),
        (
            tiff(values(), photometric='rgb', extratags=[(274, 3, 1, 6, True)]),
            'is stored turned',
        ),
        (
            tiff(values(channels=4), photometric='rgb', extrasamples=['assocalpha']),
            'has colours times opacity',
        ),
        (tiff(values(), photometric='ycbcr'), 'has the colours YCbCr'),
        (
            tiff(values('int16', 1)[..., 0], photometric='miniswhite'),
            'has int16 values of which 0 is white',
        ),
        (npy(np.zeros((3, 4), complex)), 'holds values of type complex128: allowed are numbers'),
        (npy(np.array([['a']])), 'holds values of type <U1'),
        (npy(np.array([{}], object)), 'holds values of type object'),
        (npy(np.zeros((2, 3, 4, 3))), r'has the shape \(2, 3, 4, 3\)'),
        (npy(np.zeros((3, 64, 48))), r'has the shape \(3, 64, 48\), which is that of \(channels, '),
        (npy(np.zeros((13, 64, 64))), r'has the shape \(13, 64, 64\), which is that of \(channels'),
        (npy(np.zeros((32, 64, 64))), r'has the shape \(32, 64, 64\), which is that of \(channels'),
        (npy(np.zeros((1, 32, 32))), r'has the shape \(1, 32, 32\), which is'),
        (npy(np.zeros((4, 32, 32))), r'has the shape \(4, 32, 32\), which is'),
        (npy(np.zeros(7)), r'has the shape \(7,\)'),
        (npy(np.zeros((0, 3))), r'has the shape \(0, 3\)'),
    ],
)
def test_what_is_refused(tmp_path, data, message):
    import re

    assert re.match(message, pixels(tmp_path, data))


@pytest.mark.parametrize(
    'shape',
    [(4, 64, 3), (9, 9, 200), (11, 16, 224), (32, 64, 65), (33, 64, 64), (6, 12, 12), (3, 3, 3)],
)
def test_many_channels_and_low_images_are_no_channels_first(tmp_path, shape):
    (tmp_path / '1.npy').write_bytes(npy(np.zeros(shape, np.uint8)))
    assert decode.read_pixels(epath.Path(tmp_path / '1.npy')).values.shape == shape


@pytest.mark.parametrize('to', [0, 1])
def test_pages_that_lead_back(tmp_path, to):
    """As in a file with a damaged offset: a reader that follows them never ends."""
    data = tiff(np.stack([values(channels=1)[..., 0]] * 3), photometric='minisblack')
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        offsets = [page.offset for page in file.pages]
    (tags,) = struct.unpack_from('<H', data, offsets[2])
    data = bytearray(data)
    struct.pack_into('<I', data, offsets[2] + 2 + 12 * tags, offsets[to])
    assert pixels(tmp_path, bytes(data)) == 'is damaged: its pages lead back to one before'


def test_a_header_that_promises_too_much(tmp_path):
    header = io.BytesIO()
    description = {'descr': '<f4', 'fortran_order': False, 'shape': (2**20, 2**20)}
    np.lib.format.write_array_header_1_0(header, description)
    assert 'allowed are at most' in pixels(tmp_path, header.getvalue())


def test_damaged_files_raise_data_errors_alone(tmp_path):
    """Mutated bytes give an image or a DataError that names the file."""
    rng = np.random.default_rng(0)
    image = values('uint16', 3, 20, 20)
    whole = [tiff(image), tiff(image, compression='zlib'), tiff(image, compression='lzw')]
    refused = 0
    for data in [*whole, npy(image)]:
        for _ in range(60):
            bad = bytearray(data)
            for at in rng.integers(0, min(len(bad), 400), 3):
                bad[at] = rng.integers(256)
            refused += isinstance(pixels(tmp_path, bytes(bad)), str)
    assert refused > 40


@pytest.mark.parametrize(
    'compression,options,channels,lossy',
    [
        (None, {}, 1, False),
        ('deflate', {}, 3, False),
        ('jpeg', {'level': 95}, 1, True),
        ('jpeg', {'level': 30}, 3, True),
        ('jpeg', {'lossless': True}, 1, False),
        ('webp', {'level': 80, 'lossless': False}, 3, True),
        ('webp', {'lossless': True}, 3, False),
    ],
)
@pytest.mark.parametrize('tile', [None, (16, 16)])
def test_whether_the_compression_of_a_tiff_changes_values(
    tmp_path, compression, options, channels, lossy, tile
):
    image = np.random.default_rng(0).integers(0, 256, (32, 48, channels), np.uint8).squeeze()
    photometric = 'rgb' if channels == 3 else 'minisblack'
    data = tiff(
        image,
        compression=compression,
        compressionargs=options,
        photometric=photometric,
        tile=tile,
    )
    found = pixels(tmp_path, data, '1.tif')
    assert found.lossy == lossy
    assert np.array_equal(found.values.squeeze(), image) != lossy
    kind = decode.kind_of(epath.Path(tmp_path) / '1.tif')
    assert kind == f'TIFF {channels} x uint8' + ', compressed with loss' * lossy
