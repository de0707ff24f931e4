"""What Pillow lets pass in a PNG, looked at: checksums, and rows that are missing."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from pix2pix_jax.errors import DataError


def check(data: bytes, image: Image.Image) -> None:
    """Raises DataError for what Pillow lets pass: a wrong checksum of the pixels, missing rows."""
    pixels = b''.join(body for kind, body in _chunks(data) if kind == b'IDAT')
    width, height, depth, color, _, _, interlaced = _header(data)
    if depth == 16 and 'transparency' in image.info:
        raise DataError('has 16 bits and a transparent colour: allowed is an alpha channel')
    image.load()
    last_row = np.asarray(image.crop((0, height - 1, width, height)))
    if interlaced or not last_row.any():  # what is missing is left 0: only then look closer
        bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
        expected = sum(h * (1 + (w * bits + 7) // 8) for w, h in _passes(width, height, interlaced))
        if not _inflates_to(pixels, expected):
            raise DataError('is cut off: rows of pixels are missing')


def depth(data: bytes) -> int:
    """Returns how many bits a value has in a PNG: 1, 2, 4, 8 or 16."""
    return _header(data)[2]


def with_metadata(data: bytes, icc: bytes, dpi: tuple[float, float] | None) -> bytes:
    """Returns a PNG with an ICC profile and a number of pixels per inch, where these are given."""
    chunks = []
    if icc:
        chunks.append((b'iCCP', b'ICC profile\0\0' + zlib.compress(icc)))
    if dpi:
        x, y = (round(number / 0.0254) for number in dpi)  # per metre
        chunks.append((b'pHYs', struct.pack('>IIB', x, y, 1)))
    added = b''.join(
        struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
        for kind, body in chunks
    )
    end = 33  # of the header
    return data[:end] + added + data[end:]


def _header(data: bytes) -> tuple[int, ...]:
    return struct.unpack_from('>IIBBBBB', data, 16)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields the (kind, body) of a PNG's chunks, their checksums compared."""
    at, kind = 8, b''
    while kind != b'IEND':
        try:
            length, kind = struct.unpack_from('>I4s', data, at)
            (checksum,) = struct.unpack_from('>I', data, at + 8 + length)
        except struct.error as error:
            raise DataError('is cut off: its end is missing') from error
        body = data[at + 8 : at + 8 + length]
        if checksum != zlib.crc32(kind + body):
            raise DataError('is damaged: a checksum is wrong')
        yield kind, body
        at += length + 12


def _passes(width: int, height: int, interlaced: int) -> list[tuple[int, int]]:
    """Returns the (width, height) of the images that a PNG is stored as: one, or Adam7's."""
    if not interlaced:
        return [(width, height)]
    starts = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
    sizes = [
        (-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in (*starts, (0, 1, 1, 2))
    ]
    return [(w, h) for w, h in sizes if w > 0 and h > 0]


def _inflates_to(data: bytes, expected: int) -> bool:
    """Whether zlib data holds `expected` bytes or more, found in little memory."""
    stream, length = zlib.decompressobj(), 0
    while data and length < expected:
        length += len(stream.decompress(data, 2**20))
        data = stream.unconsumed_tail
    return length >= expected
