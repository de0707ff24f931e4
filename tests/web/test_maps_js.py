"""Label maps given to the exported page, in a browser, against those that Python reads."""

import base64
import io
import json
import struct
import zlib

import numpy as np
import pytest
from helpers.browser import MISSING, REASON, chromium, serving
from helpers.runs import changed
from PIL import Image

from pix2pix_jax.data import class_maps
from pix2pix_jax.data.formats import decode
from pix2pix_jax.data.formats.pixels import LazyFile
from pix2pix_jax.web import drawing, static_page

pytestmark = pytest.mark.skipif(bool(MISSING), reason=REASON)
GRAY, PALETTE, RGB = 0, 3, 2  # kinds of a PNG
SIZE = 16
VOC = class_maps.voc_palette(256)
BLACK_WHITE = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
PADDED = np.concatenate([BLACK_WHITE, np.zeros((254, 3), np.uint8)])  # 255 is black, as 0


@pytest.fixture(scope='module')
def call():
    """Calls a function of a module of the page with a file, or says why it failed."""
    with serving(static_page.HERE / 'static') as address, chromium() as browser:
        page = browser.new_page()
        page.goto(f'{address}color.js')  # any file of this origin

        def call(module, name, data, *args):
            return page.evaluate(
                """async ([module, name, data, args]) => {
                    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
                    const file = new File([bytes], 'a.png');
                    try {
                        const found = await (await import(`/${module}.js`))[name](file, ...args);
                        for (const [key, value] of Object.entries(found ?? {})) {
                            if (ArrayBuffer.isView(value)) found[key] = Array.from(value);
                        }
                        return found;
                    } catch (error) {
                        return error.message;
                    }
                }""",
                [module, name, base64.b64encode(data).decode(), args],
            )

        yield call


def chunk(name, data):
    return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))


def as_png(values, kind=GRAY, depth=8, palette=None, **chunks):
    """A PNG (H,W[,3]) of `depth` bits, the filter of each row another one in turn."""
    height, width = values.shape[:2]
    bits = (values.reshape(height, -1, 1) >> np.arange(depth - 1, -1, -1)) & 1
    rows = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1).astype(int)
    pixel, text = max(1, depth // 8) * (3 if kind == RGB else 1), b''
    padded = np.pad(rows, ((1, 0), (pixel, 0)))
    for y, row in enumerate(rows, start=1):
        left, above, corner = padded[y, :-pixel], padded[y - 1, pixel:], padded[y - 1, :-pixel]
        guess = left + above - corner
        near = np.abs(np.stack([guess - left, guess - above, guess - corner])).argmin(0)
        paeth = np.choose(near, (left, above, corner))
        less = (0, left, above, (left + above) // 2, paeth)[y % 5]
        text += bytes([y % 5]) + ((row - less) % 256).astype(np.uint8).tobytes()
    packed = zlib.compress(text)
    head = struct.pack('>IIBBBBB', width, height, depth, kind, 0, 0, 0)
    middle = [(b'IHDR', head), *((name.encode(), data) for name, data in chunks.items())]
    middle += [(b'PLTE', palette.tobytes())] if palette is not None else []
    middle += [(b'tRNS', bytes(len(palette)))] if palette is not None else []  # all transparent
    middle += [(b'IDAT', packed[:9]), (b'IDAT', packed[9:]), (b'IEND', b'')]
    return b'\x89PNG\r\n\x1a\n' + b''.join(chunk(*one) for one in middle)


@pytest.mark.parametrize('kind, depth', [
    *((GRAY, depth) for depth in (1, 2, 4, 8, 16)), *((PALETTE, depth) for depth in (1, 2, 4, 8))
])  # fmt: skip
def test_the_numbers_of_a_png_are_those_that_python_reads(call, kind, depth):
    values = np.random.default_rng(depth).integers(0, 2**depth, (13, 11))
    data = as_png(values, kind, depth, VOC[: 2**depth] if kind == PALETTE else None)
    found = call('png', 'readIndices', data)
    assert (found['height'], found['width']) == values.shape
    expected = decode.read_pixels(LazyFile('a.png', lambda: data), indices=True).values[..., 0]
    np.testing.assert_array_equal(expected, values)
    np.testing.assert_array_equal(np.reshape(found['values'], values.shape), values)


def test_colours_have_no_numbers_and_interlaced_files_are_refused(call):
    stream, picture = io.BytesIO(), np.zeros((4, 4, 3), np.uint8)
    Image.fromarray(picture).save(stream, 'JPEG')
    for data in (as_png(picture, RGB), stream.getvalue()):
        assert call('png', 'readIndices', data) is None
    data = bytearray(as_png(picture[..., 0]))
    data[28] = 1
    assert call('png', 'readIndices', bytes(data)) == (
        'a.png is interlaced: allowed is a PNG that is not'
    )


def classes(count, **fields):
    config = changed(dataset__input_classes=count, generator__input_channels=count, **fields)
    config.image_size = (SIZE, SIZE)
    return config


def table(colours, *void):
    entries = [*enumerate(colours), *(('void', colour) for colour in void)]
    return ''.join(f'{name} {",".join(map(str, colour))};' for name, colour in entries)


def drawn(call, data, config):
    found = call('pictures', 'asDrawing', data, 'a.png', static_page.input_spec(config))
    assert isinstance(found, dict), found
    return np.reshape(found['data'], (SIZE, SIZE, 4))[..., :3].astype(np.uint8)


def of_python(data, config):
    return drawing.uploaded(LazyFile('a.png', lambda: data), config)


TWO = (classes(2), classes(2, dataset__palette=table(BLACK_WHITE)), classes(2, dataset__void=''))
VOC_RUN = classes(21, dataset__palette=table(VOC[:21]))
# Files of class indices: config, values, bits, palette.
FILES = {
    '1-bit gray': (TWO, (0, 1), 1, None),
    'gray': (TWO, (0, 1), 8, None),
    'gray 0/255': (TWO[:2], (0, 255), 8, None),
    'gray of 16 bits': (TWO, (0, 1), 16, None),
    'none is 0': ((classes(3, dataset__void='0'),), (0, 1, 2), 8, None),
    'black/white palette': (TWO, (0, 1), 1, BLACK_WHITE),
    'padded palette': (TWO[:2], (0, 1, 255), 8, PADDED),
    "VOC's, none 224,224,192": ((VOC_RUN, classes(21)), (*range(21), 255), 8, VOC),
}


@pytest.mark.parametrize('size', [SIZE, 3 * SIZE])
@pytest.mark.parametrize('name', FILES)
def test_files_of_indices_become_what_python_makes_of_them(call, name, size):
    configs, numbers, depth, palette = FILES[name]
    values = np.random.default_rng(0).choice(numbers, (size, size))
    gamma = {'gAMA': struct.pack('>I', 100_000)}  # which browsers apply to colours
    data = as_png(values, GRAY if palette is None else PALETTE, depth, palette, **gamma)
    for config in configs:
        found = drawn(call, data, config)
        np.testing.assert_array_equal(found, of_python(data, config))
        assert len(np.unique(found.reshape(-1, 3), axis=0)) == len(numbers)


OWN = table([(255, 255, 255), (0, 0, 0), (0, 200, 0)], (9, 99, 200))
COLOURED = {'colors': classes(3, dataset__colors=OWN), 'palette': classes(3, dataset__palette=OWN)}


@pytest.mark.parametrize('kind', COLOURED)
def test_maps_in_the_runs_own_colours_keep_their_white_class(call, kind):
    """On the page white is no class, and the classes have other colours."""
    config, spec = COLOURED[kind], static_page.input_spec(COLOURED[kind])
    shown = np.array([*spec['classes'], *spec['none']], np.uint8)
    own = np.array([(255, 255, 255), (0, 0, 0), (0, 200, 0), (9, 99, 200)], np.uint8)
    assert (shown[3] == 255).all() and not (shown[:3] == own[:3]).all()
    values = np.arange(SIZE)[:, None] // 4 + np.zeros((1, SIZE), int)  # areas of each, and of none
    for colours in (own, shown):
        data = as_png(colours[values], RGB)
        found = drawn(call, data, config)
        np.testing.assert_array_equal(found, shown[values])
        np.testing.assert_array_equal(of_python(data, config), shown[values])
    data = as_png(np.full((SIZE, SIZE, 3), (120, 120, 0)), RGB)
    message = call('pictures', 'asDrawing', data, 'a.png', json.loads(json.dumps(spec)))
    assert 'is no map of this model' in message


def test_pasted_gray_pixels_are_indices(call):
    """The clipboard makes RGB of every picture."""
    values = np.random.default_rng(0).choice((0, 1, 2, 255), (SIZE, SIZE))
    indices = as_png(values)
    found = drawn(call, as_png(np.repeat(values[..., None], 3, -1), RGB), classes(3))
    np.testing.assert_array_equal(found, of_python(indices, classes(3)))
