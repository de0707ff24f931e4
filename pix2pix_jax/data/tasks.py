"""Pairs made from plain photos: the photo is the target, the input is derived from it.

A task's functions take and give float32 images (H,W,C) on [-1, 1]; `amount` is
`dataset.task_amount`, 0 for the task's own.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from pix2pix_jax.data import augment
from pix2pix_jax.data.catalogue.published import PUBLISHED
from pix2pix_jax.data.formats.pixels import LUMA
from pix2pix_jax.errors import UserError

Derive = Callable[[np.ndarray, np.random.Generator, float], np.ndarray]
LAB_MIDDLE, LAB_RANGE = (50, 0, 0), (50, 110, 110)  # CIE Lab onto [-1, 1]


class Task(NamedTuple):
    """How the input is derived, and what the network takes and gives."""

    derive: Derive
    channels: tuple[int, int]  # of the generator's input and output
    amount: float  # where dataset.task_amount is 0
    about: str
    in_pixels: bool = False  # what is to be undone, noise or blur, has a size in pixels


def lightness(photo: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Returns L of CIE Lab, (H,W,1)."""
    return _to_lab(photo)[..., :1]


def gray(photo: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Returns the gray image, (H,W,1)."""
    return photo @ np.float32(LUMA)[:, None]


def hole_in_the_middle(photo: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Returns the photo with 0 in a box of `amount` of each side."""
    return _with_hole(photo, (0.5, 0.5), amount)


def hole_anywhere(photo: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Returns the photo with 0 in such a box at a random place."""
    return _with_hole(photo, rng.random(2), amount)


def edges(photo: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Returns Canny's edges, -1 on 1, (H,W,1); `amount` is sigma in pixels."""
    from skimage.feature import canny

    found = canny((gray(photo, rng, amount)[..., 0] + 1) / 2, sigma=amount)
    return np.where(found, np.float32(-1), np.float32(1))[..., None]


def coarse(photo: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Returns the photo as a bicubic enlargement of one `amount` times smaller."""
    size = photo.shape[:2]
    small = tuple(max(1, round(side / amount)) for side in size)
    return np.clip(augment.resized(augment.resized(photo, small), size), -1, 1)


def noisy(photo: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Returns the photo with Gaussian noise of standard deviation `amount`."""
    noise = rng.normal(0, amount, photo.shape).astype(np.float32)
    return np.clip(photo + noise, -1, 1)


TASKS = {
    'colorize': Task(lightness, (1, 2), 0.0, 'its lightness (L of CIE Lab); a and b are generated'),
    'gray_to_color': Task(gray, (1, 3), 0.0, 'it in gray'),
    'inpaint': Task(hole_in_the_middle, (3, 3), 0.5, 'it with a hole in the middle'),
    'inpaint_anywhere': Task(hole_anywhere, (3, 3), 0.5, 'it with a hole anywhere'),
    'edges': Task(edges, (1, 3), 2.0, "its edges (Canny's)"),
    'super_resolution': Task(coarse, (3, 3), 4.0, 'it smaller, enlarged again', True),
    'denoise': Task(noisy, (3, 3), 0.2, 'it with noise', True),
}
FROM_COLOUR = ('colorize', 'gray_to_color')  # whose inputs a photo in colours can stand for


def check(config: ConfigDict) -> None:
    """Raises UserError where `dataset.task` and other fields do not go together."""
    d, g = config.dataset, config.generator
    if d.task == 'none':
        if d.task_amount:
            raise UserError(f'config.dataset.task_amount={d.task_amount}: there is no dataset.task')
        return
    task, channels = TASKS[d.task], (g.input_channels, g.output_channels)
    if channels != task.channels:
        raise UserError(
            f'config.generator.input_channels, output_channels={channels}: '
            f"config.dataset.task='{d.task}' has {task.channels}"
        )
    if not d.path and d.name in ('openmoji', *PUBLISHED):
        raise UserError(f"config.dataset.task='{d.task}' needs a folder of photos: dataset.path")
    if d.direction != 'AtoB' or d.layout in ('two_folders', 'list'):
        raise UserError(
            f"config.dataset.task='{d.task}' is of single photos: allowed are direction='AtoB' and "
            "layout='auto'"
        )
    if d.task.startswith('inpaint') and d.task_amount >= 1:
        raise UserError(f'config.dataset.task_amount={d.task_amount}: a hole is smaller than 1')
    if d.task_amount and not task.amount:
        raise UserError(f"config.dataset.task_amount={d.task_amount}: '{d.task}' has none")
    if d.task == 'super_resolution' and 0 < d.task_amount < 1:
        raise UserError(f'config.dataset.task_amount={d.task_amount}: a factor is 1 or more')
    if d.input_color_jitter and d.task in ('inpaint', 'inpaint_anywhere', 'edges'):
        raise UserError(
            f'config.dataset.input_color_jitter={d.input_color_jitter}: allowed is 0 where '
            f"config.dataset.task='{d.task}', whose holes and edges have their own value"
        )
    if d.task == 'colorize' and 'color' in config.discriminator.augment.split(','):
        raise UserError(
            f'config.discriminator.augment={config.discriminator.augment!r}: no color where '
            "config.dataset.task='colorize', whose outputs are a and b of CIE Lab"
        )


def amount_of(name: str, amount: float) -> float:
    """Returns `amount`, dataset.task_amount, or for 0 the task's own."""
    return amount or TASKS[name].amount


def in_pixels(name: str) -> bool:
    """Whether a scaled image is another task's: less noise than there was, or more blur.

    L1 of photos at twice the training's size, after 500 steps: denoised at their own scale 0.113,
    resized there and back 0.148; enlarged 0.163 and 0.191.
    """
    return name in TASKS and TASKS[name].in_pixels


def derive(
    name: str, photo: np.ndarray, rng: np.random.Generator, amount: float
) -> dict[str, np.ndarray]:
    """Returns {'input', 'target'} of an RGB photo (H,W,3), as the networks train on them."""
    task = TASKS[name]
    made = task.derive(photo, rng, amount_of(name, amount)).astype(np.float32)
    return {'input': made, 'target': _to_lab(photo)[..., 1:] if name == 'colorize' else photo}


def as_input(name: str, image: np.ndarray) -> np.ndarray:
    """Returns what a generator of this task takes of a user's image, which has no target."""
    if name not in FROM_COLOUR:
        return image
    return TASKS[name].derive(image, np.random.default_rng(0), 0.0).astype(np.float32)


def as_shown(name: str, inputs: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Returns the images of a generator's outputs (N,H,W,Co), of inputs (N,H,W,Ci).

    Of colorization they are RGB: the lightness that went in, and the a and b that came out.
    """
    if name != 'colorize':
        return outputs
    from skimage.color import lab2rgb

    lab = np.concatenate([inputs, outputs], axis=-1) * LAB_RANGE + LAB_MIDDLE
    with warnings.catch_warnings():  # of colours that sRGB has not, which are clipped
        warnings.simplefilter('ignore')
        return (lab2rgb(lab) * 2 - 1).astype(np.float32)


def rescaled(name: str, inputs: np.ndarray, output: np.ndarray) -> np.ndarray:
    """Returns what `as_shown` gave at another size, scaled (H,W,C), for the inputs (H,W,Ci).

    Of colorization it has their lightness, which scaling would blur: its a and b alone are scaled.
    """
    if name != 'colorize':
        return output
    return as_shown(name, inputs[None], _to_lab(output)[None, ..., 1:])[0]


def _to_lab(photo: np.ndarray) -> np.ndarray:
    from skimage.color import rgb2lab

    lab = (rgb2lab((photo + 1) / 2) - LAB_MIDDLE) / LAB_RANGE
    return lab.astype(np.float32)


def _with_hole(photo: np.ndarray, place: tuple[float, float], amount: float) -> np.ndarray:
    height, width, _ = photo.shape
    rows, columns = (
        slice(start := round(where * (side - round(side * amount))), start + round(side * amount))
        for where, side in zip(place, (height, width))
    )
    photo = photo.copy()
    photo[rows, columns] = 0
    return photo
