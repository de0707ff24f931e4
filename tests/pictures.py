"""Small pairs with known pixels, and what reading them gives or refuses."""

import numpy as np
import pytest
from PIL import Image

from pix2pix_jax.config import default_config, validate
from pix2pix_jax.data import preflight, sources
from pix2pix_jax.errors import DataError


def picture(number, width=16, height=16, channels=3):
    """An image that knows its number: its first pixel, in the first channel."""
    image = np.random.default_rng(number).integers(0, 256, (height, width, channels), np.uint8)
    image[0, 0, 0] = number
    return image


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.squeeze()).save(path)


def side_by_side(folder, names, **size):
    """Writes A|B pairs: pair i (of 1, 2, …) has pictures i and i + 100."""
    for i, name in enumerate(names, 1):
        halves = [picture(i, **size), picture(i + 100, **size)]
        save(folder / name, np.concatenate(halves, axis=1))


def config(path, **fields):
    c = default_config()
    c.image_size = (16, 16)
    c.dataset.path = str(path)
    c.update_from_flattened_dict(fields)
    return validate(c)


def numbers(source):
    return [(int(p['input'][0, 0, 0]), int(p['target'][0, 0, 0])) for p in map_items(source)]


def map_items(source):
    return [source[i] for i in range(len(source))]


def error(path, kind=DataError, **fields):
    """Returns the message of the error that opening and decoding gives: one line."""
    with pytest.raises(kind) as info:
        c = config(path, **fields)
        for source in sources.open_splits(c).values():
            preflight.decode_all(source, c)
    assert type(info.value) is kind
    message = str(info.value)
    assert '\n' not in message
    return message
