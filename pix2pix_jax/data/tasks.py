"""Pairs made from plain photos: the photo is the target, the input is derived from it.

A task's functions take and give float32 images (H,W,C) on [-1, 1]; `amount` is
`dataset.task_amount`, 0 for the task's own.
"""

import warnings
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from pix2pix_jax.config_type import Config
from pix2pix_jax.data import augment
from pix2pix_jax.data.formats.pixels import LUMA
from pix2pix_jax.errors import UserError

Derive = Callable[[np.ndarray, np.random.Generator, float], np.ndarray]
LAB_MIDDLE, LAB_RANGE = (50, 0, 0), (50, 110, 110)  # CIE Lab onto [-1, 1]


class Task(NamedTuple):
    """How the input is derived, and what the network takes and gives."""

    derive: Derive
    channels: tuple[int, int]  # of the generator's input and output
    about: str
    amount: float = 0.0  # where dataset.task_amount is 0; 0: there is no amount
    in_pixels: bool = False  # what is to be undone, noise or blur, has a size in pixels
    of_any_photo: bool = False  # a user's photo, in colours, becomes the input as in training
    enlarges: bool = False  # `amount` is a factor: a user's image is as much smaller
    holes: bool = False  # of a value of their own, `amount` of each side
    lines: bool = False  # black on white
    lab: bool = False  # a and b of CIE Lab are the target, the input is L
    input: str = ''  # what an export says that it is, with its `factor`; '': gray or RGB


def unchanged(photo: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Returns the photo."""
    return photo


def lightness(photo: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Returns L of CIE Lab, (H,W,1)."""
    return _to_lab(photo)[..., :1]


def gray(photo: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Returns the gray image, (H,W,1)."""
    return photo @ np.array(LUMA, np.float32)[:, None]


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
    return np.clip(augment.resized(augment.resized(photo, _smaller(size, amount)), size), -1, 1)


def noisy(photo: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Returns the photo with Gaussian noise of standard deviation `amount`."""
    noise = rng.normal(0, amount, photo.shape).astype(np.float32)
    return np.clip(photo + noise, -1, 1)


HOLE = 'RGB, 0 (gray) in the hole'
TASKS = {
    'colorize': Task(
        lightness,
        channels=(1, 2),
        about="the photo's lightness (L of CIE Lab); a and b are generated",
        input='L of CIE Lab as L / 50 - 1',
        of_any_photo=True,
        lab=True,
    ),
    'gray_to_color': Task(gray, (1, 3), 'the photo in gray', of_any_photo=True),
    'inpaint': Task(
        hole_in_the_middle,
        (3, 3),
        'the photo with a hole in the middle',
        0.5,
        holes=True,
        input=HOLE,
    ),
    'inpaint_anywhere': Task(
        hole_anywhere, (3, 3), 'the photo with a hole anywhere', 0.5, holes=True, input=HOLE
    ),
    'edges': Task(
        edges,
        (1, 3),
        "the photo's edges (Canny)",
        2.0,
        lines=True,
        input='gray, black edges on white',
    ),
    'super_resolution': Task(
        coarse,
        channels=(3, 3),
        about='the photo made smaller and enlarged again',
        amount=4.0,
        in_pixels=True,
        enlarges=True,
        input='RGB, enlarged {factor:g} times (bicubic)',
    ),
    'denoise': Task(noisy, (3, 3), 'the photo with noise', 0.2, in_pixels=True),
}
PAIRS = Task(unchanged, (3, 3), 'pairs')  # no task: inputs are files, of any channels
LAB_OUTPUT = 'a and b of CIE Lab, over 110'


def task(name: str) -> Task:
    """Returns the task `name`, one of `TASKS`, or for 'none' `PAIRS`, which needs nothing."""
    return PAIRS if name == 'none' else TASKS[name]


def check(config: Config) -> None:
    """Raises UserError where `dataset.task` and other fields do not go together."""
    d, g = config.dataset, config.generator
    if d.task == 'none':
        if d.task_amount:
            raise UserError(f'config.dataset.task_amount={d.task_amount}: there is no dataset.task')
        return
    made, channels = task(d.task), (g.input_channels, g.output_channels)
    if channels != made.channels:
        raise UserError(
            f'config.generator.input_channels, output_channels={channels}: '
            f"config.dataset.task='{d.task}' has {made.channels}"
        )
    if d.direction != 'AtoB' or d.layout not in ('auto', 'side_by_side') or d.input_pattern:
        raise UserError(
            f"config.dataset.task='{d.task}' is of single photos: allowed are direction='AtoB' and "
            "layout='auto', without patterns"
        )
    if made.holes and d.task_amount >= 1:
        raise UserError(f'config.dataset.task_amount={d.task_amount}: a hole is smaller than 1')
    if d.task_amount and not made.amount:
        raise UserError(f"config.dataset.task_amount={d.task_amount}: '{d.task}' has none")
    if made.enlarges and 0 < d.task_amount < 1:
        raise UserError(f'config.dataset.task_amount={d.task_amount}: a factor is 1 or more')
    if d.input_color_jitter and (made.holes or made.lines):
        raise UserError(
            f'config.dataset.input_color_jitter={d.input_color_jitter}: allowed is 0 where '
            f"config.dataset.task='{d.task}', whose holes and edges have their own value"
        )


def check_size(config: Config) -> None:
    """Raises UserError where `dataset.task_amount` does nothing at `config.image_size`.

    So does a hole of no pixels, or of all, and a factor that leaves the size as it is.
    """
    made, size = task(config.dataset.task), tuple(config.image_size)
    amount = amount_of(config.dataset.task, config.dataset.task_amount)
    if made.holes:
        part, what = [round(side * amount) for side in size], 'the hole has'
        wrong = any(not 0 < one < side for one, side in zip(part, size))
    else:
        part, what = list(size), 'the smaller photo has'
        wrong = made.enlarges and _smaller(size, amount) == size
    if wrong:
        raise UserError(
            f'config.dataset.task_amount={amount:g}: {what} {part[0]}x{part[1]} of the '
            f'{size[0]}x{size[1]} pixels of config.image_size; allowed is what leaves some and '
            'takes some'
        )


def _smaller(size: augment.Size, amount: float) -> augment.Size:
    """Returns the (height, width) of a photo `amount` times smaller than `size`."""
    return max(1, round(size[0] / amount)), max(1, round(size[1] / amount))


def amount_of(name: str, amount: float) -> float:
    """Returns `amount`, dataset.task_amount, or for 0 the task's own."""
    return amount or task(name).amount


def factor(config: Config) -> float:
    """Returns how many times smaller than its output a user's image is: 1 but for enlargements."""
    d = config.dataset
    return amount_of(d.task, d.task_amount) if task(d.task).enlarges else 1.0


def channel_meaning(config: Config) -> dict[str, str]:
    """Returns the meaning of the channels of {'input', 'output'}; {} for a photo's or any."""
    made = task(config.dataset.task)
    meanings = {'input': made.input.format(factor=factor(config))}
    return {k: v for k, v in (meanings | {'output': LAB_OUTPUT * made.lab}).items() if v}


def scaled_as(config: Config) -> str:
    """Returns the dataset.preprocess as which a user's images are scaled; '': not at all.

    That is where a scaled image is another task's: less noise than there was, or more blur. L1 of
    photos at twice the training's size, after 500 steps: denoised at their own scale 0.113, resized
    there and back 0.148; enlarged 0.163 and 0.191.
    """
    d = config.dataset
    return '' if task(d.task).in_pixels else d.preprocess


def derive(
    name: str, photo: np.ndarray, rng: np.random.Generator, amount: float
) -> dict[str, np.ndarray]:
    """Returns {'input', 'target'}, float32 (H,W,C), of a photo, as the networks train on them.

    Args:
      name: config.dataset.task.
      photo: RGB (H,W,3), float32 in [-1, 1].
      rng: draws what is random, as noise or the place of a hole.
      amount: config.dataset.task_amount; 0: the task's own.
    """
    inputs = TASKS[name].derive(photo, rng, amount_of(name, amount)).astype(np.float32)
    return {'input': inputs, 'target': _to_lab(photo)[..., 1:] if task(name).lab else photo}


def as_input(name: str, image: np.ndarray) -> np.ndarray:
    """Returns the generator's input for a user's image, which has no target."""
    if not task(name).of_any_photo:
        return image
    return TASKS[name].derive(image, np.random.default_rng(0), 0.0).astype(np.float32)


def as_shown(name: str, inputs: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Returns the images of a generator's outputs (N,H,W,Co), of inputs (N,H,W,Ci).

    Of colorization they are RGB: the lightness that went in, and the a and b that came out.
    """
    if not task(name).lab:
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
    if not task(name).lab:
        return output
    return as_shown(name, inputs[None], _to_lab(output)[None, ..., 1:])[0]


def _to_lab(photo: np.ndarray) -> np.ndarray:
    from skimage.color import rgb2lab

    lab = (rgb2lab((photo + 1) / 2) - LAB_MIDDLE) / LAB_RANGE
    return lab.astype(np.float32)


def _with_hole(photo: np.ndarray, place: Iterable[float], amount: float) -> np.ndarray:
    height, width, _ = photo.shape
    rows, columns = (
        slice(start := round(where * (side - round(side * amount))), start + round(side * amount))
        for where, side in zip(place, (height, width))
    )
    photo = photo.copy()
    photo[rows, columns] = 0
    return photo
