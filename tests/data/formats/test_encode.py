"""Images as files."""

import io

import numpy as np
from PIL import Image

from pix2pix_jax.data.formats import encode


def test_a_jpeg_keeps_the_colours_of_single_pixels():
    """Of columns in red and blue, which would be one violet at half the resolution."""
    image = np.zeros((16, 16, 3), np.uint8)
    image[:, ::2, 0] = image[:, 1::2, 2] = 255
    found = np.asarray(Image.open(io.BytesIO(encode.encode(image, '.jpg')))).astype(int)
    assert np.abs(found - image).mean() < 10
