"""Every kind of image file is read rightly, or named in one error."""

import io
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from etils import epath
from helpers.pictures import config, map_items, picture, save, side_by_side
from PIL import Image, ImageFile

from pix2pix_jax.data import discover
from pix2pix_jax.data.formats import decode
from pix2pix_jax.data.formats.orientation import as_stored
from pix2pix_jax.errors import DataError

ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
ADAM7 += [(0, 1, 1, 2)]  # (x, y, step in x, step in y)
COLORS = {1: 0, 2: 4, 3: 2, 4: 6}  # a PNG's colour type by channels


def ramps(height=24, width=32, channels=3):
    """A smooth image, of which a JPEG keeps nearly all."""
    y, x = np.mgrid[:height, :width]
    return np.stack([7 * x, 9 * y, 4 * (x + y), 255 - 8 * x], axis=-1)[..., :channels].astype('u1')


def chunk(kind, body):
    checksum = zlib.crc32(kind + body)
    return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', checksum)


def png(array, extra=b'', interlaced=False, height=None, keep=None):
    """A PNG of uint8 or uint16 (H,W,C), written by hand; `height` is what its header claims.

    `extra` chunks come before the pixels, of whose bytes the first `keep` are written.
    """
    rows, width, channels = array.shape
    array = array.astype(array.dtype.newbyteorder('>'))
    header = struct.pack(
        '>IIBBBBB', width, height or rows, 8 * array.itemsize, COLORS[channels], 0, 0, interlaced
    )
    parts = [array[y::dy, x::dx] for x, y, dx, dy in ADAM7] if interlaced else [array]
    pixels = b''.join(b'\0' + row.tobytes() for part in parts if part.size for row in part)
    body = chunk(b'IDAT', zlib.compress(pixels[:keep]))
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + extra + body + chunk(b'IEND', b'')


def encoded(image, kind, **options):
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(
        stream, kind, **options
    )
    return stream.getvalue()


def read(folder, data, channels=3, name='1.png', dtype=np.uint8):
    """What the file gives, or the message without the file's name, which must begin it."""
    file = epath.Path(folder) / name
    file.write_bytes(data)
    return read_file(file, channels, dtype)


def read_file(file, channels=3, dtype=np.uint8):
    try:
        image = decode.read_image(file, channels)
    except DataError as error:
        assert str(error).startswith(f'{file} ') and '\n' not in str(error)
        return str(error).removeprefix(f'{file} ')
    assert image.dtype == dtype and image.ndim == 3 and image.shape[2] == channels
    return image


def over_white(color, alpha, top=255):
    return np.rint(color * (alpha / top) + top * (1 - alpha / top))


# ---------------------------------------------------------------- what is read


@pytest.mark.parametrize('n_in,n_out', [(1, 3), (3, 1), (4, 3), (1, 4)])
def test_channels(tmp_path, n_in, n_out):
    side_by_side(tmp_path / 'train', ['1.png'], channels=4)
    fields = {'generator.input_channels': n_in, 'generator.output_channels': n_out}
    pair = discover.open_splits(config(tmp_path, **fields))['train'][0]
    for key, n, number in (('input', n_in, 1), ('target', n_out, 101)):
        image = Image.fromarray(picture(number, channels=4))
        if n < 4:  # transparent parts lie over white
            image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
            image = image.convert({1: 'L', 3: 'RGB'}[n])
        expected = np.asarray(image).reshape(16, 16, n)
        np.testing.assert_allclose(pair[key].astype(int), expected, atol=1)  # rounded otherwise


def test_gray_palette_and_16_bit_files(tmp_path):
    grey = picture(1, 32, 16, 1)
    save(tmp_path / 'train' / '1.png', grey)
    Image.fromarray(grey.squeeze()).convert('P').save(tmp_path / 'train' / '2.png')
    Image.fromarray(grey.squeeze().astype(np.uint16) * 257).save(tmp_path / 'train' / '3.png')
    expected = np.repeat(grey[:, :16], 3, axis=-1)
    *eight, sixteen = map_items(discover.open_splits(config(tmp_path))['train'])
    for pair in eight:
        np.testing.assert_array_equal(pair['input'], expected)
    np.testing.assert_array_equal(sixteen['input'], expected.astype(np.uint16) * 257)


@pytest.mark.parametrize('n', [1, 2, 3, 4])
@pytest.mark.parametrize('interlaced', [False, True])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_png_of_all_depths(tmp_path, n, interlaced, dtype):
    array = ramps(channels=n)
    low = np.random.default_rng(0).integers(0, 256, array.shape)  # the lower eight bits
    stored = array if dtype == np.uint8 else (array.astype(dtype) << 8) + low.astype(dtype)
    found = read(tmp_path, png(stored, interlaced=interlaced), dtype=dtype)
    top = np.iinfo(dtype).max
    expected = over_white(stored[..., :-1], stored[..., -1:], top) if n in (2, 4) else stored
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1)


@pytest.mark.parametrize('kind', ['PNG', 'WEBP'])
def test_transparent_images_lie_over_white(tmp_path, kind):
    rgba = ramps(channels=4)
    found = read(tmp_path, encoded(rgba, kind, **({'lossless': True} if kind == 'WEBP' else {})))
    np.testing.assert_allclose(found, over_white(rgba[..., :3], rgba[..., 3:]), atol=1)


def test_transparent_palettes_and_colours(tmp_path):
    palette = Image.fromarray(np.array([[0, 1, 2]], np.uint8), 'P')
    palette.putpalette([200, 0, 0, 0, 100, 0, 0, 0, 50])
    one = read(tmp_path, encoded(palette, 'PNG', transparency=1))
    assert one.tolist() == [[[200, 0, 0], [255, 255, 255], [0, 0, 50]]]
    each = read(tmp_path, encoded(palette, 'PNG', transparency=bytes([0, 255, 51])), channels=4)
    assert each[0, :, 3].tolist() == [0, 255, 51]
    colour = np.array([[[9, 8, 7], [1, 2, 3]]], np.uint8)
    found = read(tmp_path, png(colour, chunk(b'tRNS', struct.pack('>3H', 9, 8, 7))))
    assert found.tolist() == [[[255, 255, 255], [1, 2, 3]]]


def test_black_and_white(tmp_path):
    bits = np.random.default_rng(0).integers(0, 2, (9, 13)).astype(bool)
    found = read(tmp_path, encoded(Image.fromarray(bits), 'PNG'))
    np.testing.assert_array_equal(found, np.repeat(bits[..., None], 3, axis=-1) * 255)


def test_cmyk_jpeg(tmp_path):
    rgb = ramps()
    cmyk = Image.fromarray(np.dstack([255 - rgb, np.zeros_like(rgb[..., 0])]), 'CMYK')
    found = read(tmp_path, encoded(cmyk, 'JPEG', quality=95), name='1.jpg')
    np.testing.assert_allclose(found, rgb.astype(int), atol=12)


def test_progressive_and_phone_jpegs(tmp_path):
    rgb = ramps()
    np.testing.assert_allclose(
        read(tmp_path, encoded(rgb, 'JPEG', progressive=True, quality=95)), rgb, atol=16
    )
    # A phone's JPEG with a depth map behind it: the first picture is the photo.
    second = Image.new('RGB', (32, 24))
    mpo = encoded(rgb, 'MPO', save_all=True, append_images=[second], quality=95)
    np.testing.assert_allclose(read(tmp_path, mpo), rgb, atol=16)


@pytest.mark.parametrize('kind,name', [('PNG', '1.jpg'), ('JPEG', '1.png'), ('WEBP', '1.jpeg')])
def test_a_wrong_extension_is_no_matter(tmp_path, kind, name):
    np.testing.assert_allclose(read(tmp_path, encoded(ramps(), kind), name=name), ramps(), atol=24)


# By EXIF: where the first row and the first column that are stored belong.
STORED = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],  # top, right
    3: lambda image: image[::-1, ::-1],  # bottom, right
    4: lambda image: image[::-1],  # bottom, left
    5: lambda image: image.transpose(1, 0, 2),  # left, top
    6: lambda image: image[:, ::-1].transpose(1, 0, 2),  # right, top
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
    8: lambda image: image[::-1].transpose(1, 0, 2),  # left, bottom
}


@pytest.mark.parametrize('orientation', STORED)
@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP'])
def test_exif_orientation_is_applied_and_can_be_taken_back(tmp_path, orientation, kind):
    """A|B in one file is read as it is stored (`test_turned_pairs.py`), any other file as shown."""
    image = np.concatenate([ramps(16, 16), 255 - ramps(16, 16)[::-1]], axis=1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED[orientation](image))
    options = {'quality': 95} if kind == 'JPEG' else {} if kind == 'PNG' else {'lossless': True}
    file = epath.Path(tmp_path / '1.jpg')
    file.write_bytes(encoded(stored, kind, exif=exif, **options))
    assert decode.size_of(file) == (16, 32) and decode.stored_size(file) == stored.shape[:2]
    tolerance, found = 40 if kind == 'JPEG' else 0, decode.read_pixels(file)
    np.testing.assert_allclose(found.values.astype(int), image, atol=tolerance)
    back = as_stored(found)
    np.testing.assert_allclose(back.values.astype(int), stored, atol=tolerance)
    assert (found.orientation, back.orientation) == (orientation, 0)


# ---------------------------------------------------------------- what is named

ANIMATION = {'save_all': True, 'append_images': [Image.new('RGB', (8, 8), 'red')]}
FILES = {
    'empty': (b'', 'is empty'),
    'text': (b'not an image', 'is no JPEG, PNG, WebP, TIFF or NumPy image'),
    'another format': (encoded(ramps(), 'GIF'), 'is no JPEG, PNG, WebP, TIFF or NumPy image'),
    'PostScript': (encoded(ramps(), 'EPS'), 'is no JPEG, PNG, WebP, TIFF or NumPy image'),
    'animated PNG': (encoded(Image.new('RGB', (8, 8)), 'PNG', **ANIMATION), 'is animated (2 '),
    'animated WebP': (encoded(Image.new('RGB', (8, 8)), 'WEBP', **ANIMATION), 'is animated (2 '),
    'large': (
        png(ramps(8, 10_000), height=10_000),
        'has 10000x10000 pixels: allowed are at most 89,478,485 in all; scale it down, or save it '
        'as TIFF or .npy, of which windows are read',
    ),
    'huge': (png(ramps(8, 8), height=2**31 - 1), 'has more than 178,956,970 pixels: allowed are'),
    'missing rows': (png(ramps(), keep=10 * 97), 'is cut off: rows of pixels are missing'),
    'too few rows': (png(ramps(), height=25), 'is cut off: rows of pixels are missing'),
    'missing passes': (png(ramps(), interlaced=True, keep=1185), 'is cut off: rows of pixels'),
    '16 bits and a key': (
        png(ramps().astype(np.uint16), chunk(b'tRNS', bytes(6))),
        'has 16 bits and a transparent colour',
    ),
    'text bomb': (
        png(ramps(), chunk(b'zTXt', b'a\0\0' + zlib.compress(bytes(2**27)))),
        'cannot be read: ',
    ),
}


@pytest.mark.parametrize('case', FILES)
def test_what_is_no_good_image_is_named(tmp_path, case):
    data, message = FILES[case]
    assert read(tmp_path, data).startswith(message)


@pytest.mark.parametrize('height,width', [(2, 9), (13, 5), (300, 7), (300, 40)])
@pytest.mark.parametrize('interlaced', [False, True])
def test_a_png_without_its_last_row_is_named(tmp_path, height, width, interlaced):
    """However small a part of the file that is."""
    image = ramps(height, width)
    np.testing.assert_array_equal(read(tmp_path, png(image, interlaced=interlaced)), image)
    found = read(tmp_path, png(image, interlaced=interlaced, keep=-(1 + 3 * width)))
    assert found == 'is cut off: rows of pixels are missing'


def test_an_image_whose_last_rows_are_black_is_whole(tmp_path):
    image = ramps()
    image[10:] = 0
    np.testing.assert_array_equal(read(tmp_path, png(image)), image)


def test_a_jpeg_of_too_many_scans_is_named(tmp_path, monkeypatch):
    data = encoded(ramps(), 'JPEG', progressive=True)
    monkeypatch.setattr(decode, 'MAX_SCANS', 3)
    assert read(tmp_path, data).startswith('has more than 3 scans')


def test_a_file_of_too_many_bytes_is_not_read(tmp_path):
    file = epath.Path(tmp_path / '1.png')
    with file.open('wb') as stream:
        stream.truncate(decode.MAX_BYTES + 1)  # takes no room
    assert read_file(file).startswith('has 1,073,741,825 bytes: allowed are at most ')


@pytest.mark.parametrize(
    'make,message',
    [
        (os.mkfifo, 'is empty, or no ordinary file'),
        (lambda path: os.symlink('/dev/zero', path), 'is empty, or no ordinary file'),
        (lambda path: os.symlink('nowhere', path), 'cannot be read: No such file or directory'),
        (lambda path: os.symlink(path, path), 'cannot be read: Too many levels of symbolic links'),
        (os.mkdir, 'cannot be read: Is a directory'),
    ],
)
def test_what_is_no_file_is_named(tmp_path, make, message):
    file = epath.Path(tmp_path / '1.png')
    make(file)
    assert read_file(file) == message
    with pytest.raises(DataError, match=message):
        decode.size_of(file)


def test_a_file_without_permission_is_named(tmp_path):
    if os.geteuid() == 0:
        pytest.skip('root may read everything')
    file = epath.Path(tmp_path / '1.png')
    file.write_bytes(png(ramps()))
    os.chmod(file, 0)
    assert read_file(file) == 'cannot be read: Permission denied'


WHOLE = {
    'jpeg': encoded(ramps(), 'JPEG'),
    'progressive': encoded(ramps(), 'JPEG', progressive=True),
    'png': encoded(picture(0), 'PNG'),
    'interlaced': png(picture(0), interlaced=True),
    'webp': encoded(ramps(), 'WEBP'),
    'lossless': encoded(picture(0), 'WEBP', lossless=True),
}


@pytest.mark.parametrize('kind', WHOLE)
def test_a_file_cut_anywhere_is_named_never_padded(tmp_path, kind):
    data, named = WHOLE[kind], 0
    whole = read(tmp_path, data)
    for length in range(len(data)):
        found = read(tmp_path, data[:length])
        named += isinstance(found, str)
        if not isinstance(found, str):
            np.testing.assert_array_equal(found, whole)
    assert named > 0.9 * len(data)
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize('kind', ['png', 'interlaced'])
def test_a_png_with_any_byte_changed_is_named(tmp_path, kind):
    for i in range(8, len(WHOLE[kind])):
        data = bytearray(WHOLE[kind])
        data[i] ^= 1 << i % 8
        assert isinstance(read(tmp_path, bytes(data)), str), i


def test_one_line_and_no_warning_on_the_console(tmp_path):
    """Pillow's own warning of a bomb would be a second line."""
    (tmp_path / '1.png').write_bytes(FILES['large'][0])
    program = (
        'import pathlib; from absl import flags; from pix2pix_jax import errors; '
        'from pix2pix_jax.data.formats import decode; '
        'read = lambda values: decode.read_image(pathlib.Path("1.png"), 3); '
        'errors.run_command(read, flags.FlagValues, [""])'
    )
    command = [sys.executable, '-c', program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert done.stderr.startswith('error: 1.png has 10000x10000 pixels')
    assert done.stderr.count('\n') == 1
