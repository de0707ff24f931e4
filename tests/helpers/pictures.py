"""Small pairs with known pixels, and what reading them gives or refuses."""

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from pix2pix_jax.config import default_config, validate
from pix2pix_jax.data import discover, preflight
from pix2pix_jax.errors import DataError

COLOURS = np.array([[0, 0, 170], [0, 85, 255], [255, 170, 0], [0, 170, 85]], np.uint8)


def picture(number, width=16, height=16, channels=3):
    """An image that knows its number: its first pixel, in the first channel."""
    image = np.random.default_rng(number).integers(0, 256, (height, width, channels), np.uint8)
    image[0, 0, 0] = number
    return image


def noise(height=20, width=30, channels=3):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def photo(seed, height=64, width=64, power=1.5):
    """A cloudy photo: noise whose amplitudes fall with the frequency, its borders not joined."""
    rng = np.random.default_rng(seed)
    y, x = np.fft.fftfreq(2 * height)[:, None], np.fft.rfftfreq(2 * width)
    fall = np.maximum(np.hypot(y, x), 1e-3) ** power
    shared, channels = rng.normal(size=(2 * height, 2 * width)), []
    for _ in range(3):
        noise = 0.8 * shared + 0.4 * rng.normal(size=shared.shape)
        values = np.fft.irfft2(np.fft.rfft2(noise) / fall, s=noise.shape)[:height, :width]
        channels.append((values - values.min()) / np.ptp(values) * 255)
    return np.stack(channels, -1).astype(np.uint8)


def classes(seed, height=64, width=64):
    """Indices of four classes, (H,W)."""
    return photo(seed, height, width, 1.8)[..., 0] // 64


def labels(image):
    """A label map of the same size in colours; another for each image."""
    return COLOURS[classes(int(image[0, 0].sum()), *image.shape[:2])]


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.squeeze()).save(path)


def write(file, image):
    """Writes (H,W,C) with the libraries themselves."""
    file.parent.mkdir(parents=True, exist_ok=True)
    flat = image[..., 0] if image.shape[-1] == 1 else image
    kind = file.suffix[1:]
    if kind == 'npy':
        np.save(file, flat)
    elif kind == 'tif':
        photometric = 'rgb' if image.shape[-1] in (3, 4) else 'minisblack'
        options = {} if flat.ndim == 2 else {'planarconfig': 'contig'}
        tifffile.imwrite(file, flat, photometric=photometric, **options)
    elif image.dtype == np.uint16:
        file.write_bytes(imagecodecs.png_encode(flat))
    else:
        lossless = {'quality': 95, 'subsampling': 0} if kind == 'jpg' else {'lossless': True}
        Image.fromarray(flat).save(file, **({} if kind == 'png' else lossless))


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
        preflight.decode_all(discover.open_splits(c), c)
    assert type(info.value) is kind
    message = str(info.value)
    assert '\n' not in message
    return message
