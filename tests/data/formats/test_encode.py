"""Images as files."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from pix2pix_jax.data import class_maps
from pix2pix_jax.data.formats import decode, encode, metadata, pixels


@pytest.mark.parametrize(
    'found,fields,expected',  # extension and type
    [
        (('.png', 'uint8'), {}, ('.png', 'uint8')),
        (('.JPG', 'uint8'), {}, ('.jpg', 'uint8')),
        (('.bmp', 'uint8'), {}, ('.png', 'uint8')),
        (('.npy', 'bool'), {}, ('.npy', 'uint8')),
        (('.tif', 'int16'), {}, ('.tif', 'uint16')),
        (('.npy', 'float64'), {}, ('.npy', 'float32')),
        (('.png', 'float32'), {}, ('.tif', 'float32')),
        (('.jpg', 'uint16'), {}, ('.png', 'uint16')),
        (('.jpg', 'uint8'), {'channels': 4}, ('.png', 'uint8')),
        (('.webp', 'uint8'), {'channels': 4}, ('.webp', 'uint8')),
        (('.png', 'uint8'), {'channels': 2}, ('.tif', 'uint8')),
        (('.jpg', 'uint8'), {'side': 65_500}, ('.jpg', 'uint8')),
        (('.jpg', 'uint8'), {'side': 65_501}, ('.png', 'uint8')),
        (('.webp', 'uint8'), {'side': 16_383}, ('.webp', 'uint8')),
        (('.webp', 'uint8'), {'side': 16_384}, ('.png', 'uint8')),
        (('.png', 'uint8'), {'value_range': (0, 255)}, ('.png', 'uint8')),
        (('.jpg', 'uint8'), {'value_range': (0, 256)}, ('.png', 'uint16')),
        (('.png', 'uint16'), {'value_range': (0, 1)}, ('.png', 'uint16')),
        (('.png', 'uint8'), {'value_range': (0, 65_535)}, ('.png', 'uint16')),
        (('.png', 'uint8'), {'value_range': (0, 65_536)}, ('.tif', 'float32')),
        (('.tif', 'uint16'), {'value_range': (-1, 255)}, ('.tif', 'float32')),
    ],
)
def test_an_output_is_as_near_to_the_input_as_can_be(found, fields, expected):
    assert encode.file_type(*found, **({'channels': 3} | fields)) == expected


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('fourth', ['unassalpha', 'unspecified'])
def test_a_fourth_channel_is_what_it_is_in_the_inputs_file(dtype, fourth):
    """Near infrared of 8 bits was written as opacity."""
    image, written = np.full((20, 20, 4), 9, dtype), io.BytesIO()
    tifffile.imwrite(written, image, photometric='rgb', extrasamples=[fourth])
    about = metadata.read(pixels.LazyFile('a.tif', written.getvalue))
    about = metadata.of_translation(about, (20, 20), 4, '')
    found = decode.read_pixels(
        pixels.LazyFile('b.tif', lambda: encode.encode(image, '.tif', about=about))
    )
    assert found.opacity == (fourth == 'unassalpha')


@pytest.mark.parametrize('count', [1, 7, 254, 255, 256])
def test_indices_have_their_colours_and_those_beyond_are_white(count):
    palette = class_maps.voc_palette(count)
    colours = np.full((256, 3), 255, np.uint8)
    colours[:count] = palette
    for top in {count - 1, min(count, 255), 255}:
        indices = np.arange(256, dtype=np.uint8).clip(max=top).reshape(16, 16)
        found = Image.open(io.BytesIO(encode.encode_indices(indices, palette)))
        np.testing.assert_array_equal(np.asarray(found), indices)
        np.testing.assert_array_equal(np.asarray(found.convert('RGB')), colours[indices])


def test_a_jpeg_keeps_the_colours_of_single_pixels():
    """Of columns in red and blue, which would be one violet at half the resolution."""
    image = np.zeros((16, 16, 3), np.uint8)
    image[:, ::2, 0] = image[:, 1::2, 2] = 255
    found = np.asarray(Image.open(io.BytesIO(encode.encode(image, '.jpg')))).astype(int)
    assert np.abs(found - image).mean() < 10
