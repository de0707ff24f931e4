"""Paired window and value ranges: pure functions on H,W,C arrays.

A pair shares one window (crop box and flip), so input and target stay aligned (paper, 6.2).
"""

from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image

from pix2pix_jax.data import masks
from pix2pix_jax.data.formats.pixels import LUMA


class CropWindow(NamedTuple):
    """The part of an image that is cut out.

    `box` is (left, top, right, bottom) in pixels of the image. The part is flipped left-right, then
    top-bottom, then turned by `turns` quarters.
    """

    box: tuple[float, float, float, float]
    flip: bool
    vertical: bool = False
    turns: int = 0


class Crop(NamedTuple):
    """The part that is cut out of an image at its loaded size, in whole pixels from `top`, `left`.

    The part is then flipped and turned as a CropWindow is.
    """

    top: int
    left: int
    flip: bool
    vertical: bool = False
    turns: int = 0


Place = TypeVar('Place', Crop, CropWindow)
Size = tuple[int, int]  # (height, width)


def whole_image(height: int, width: int) -> CropWindow:
    """Returns the window of testing: all of the image, not flipped."""
    return CropWindow((0.0, 0.0, float(width), float(height)), False)


def loaded_size(
    height: int, width: int, image_size: tuple[int, int], jitter: float, preprocess: str
) -> tuple[int, int]:
    """Returns the (height, width) to which an image is resized before image_size is cropped.

    Where the crop would not fit, it is enlarged until it does, proportions kept.

    Args:
      height, width: of the image, in pixels.
      image_size: (height, width) of the crop, in pixels.
      jitter: how many times larger than the crop the resized image is, 1 or more.
      preprocess: 'resize_and_crop': to image_size times `jitter`; 'scale_width_and_crop': to that
        width, proportions kept; 'scale_width': the same without jitter; 'crop' or 'none': its own.
    """
    if preprocess == 'resize_and_crop':
        return round(image_size[0] * jitter), round(image_size[1] * jitter)
    scale = 1.0
    if preprocess.startswith('scale_width'):
        factor = jitter if preprocess == 'scale_width_and_crop' else 1.0
        scale = round(image_size[1] * factor) / width
    scale = max(scale, image_size[0] / height, image_size[1] / width)
    return max(image_size[0], round(height * scale)), max(image_size[1], round(width * scale))


def random_crop(
    rng: np.random.Generator, loaded: tuple[int, int], image_size: tuple[int, int], mirror: bool
) -> Crop:
    """Draws the paper's jitter for a resized image: a crop and a left-right flip (6.2).

    The three draws are always made, so that switching one off leaves the others as they were.

    Args:
      rng: makes all draws.
      loaded: (height, width) of the image, in pixels.
      image_size: (height, width) of the crop.
      mirror: whether it is flipped, with probability 1/2.
    """
    top, left = (
        int(rng.integers(0, load - size, endpoint=True)) for load, size in zip(loaded, image_size)
    )
    flip = bool(rng.random() < 0.5)
    return Crop(top, left, flip and mirror)


def window_of(
    crop: Crop, shape: tuple[int, int], loaded: tuple[int, int], image_size: tuple[int, int]
) -> CropWindow:
    """Returns the crop of a resized image as a window of the image before.

    Args:
      crop: in pixels of the resized image.
      shape: (height, width) of the image before.
      loaded: (height, width) to which it would be resized.
      image_size: (height, width) of the crop.
    """
    (top, bottom), (left, right) = (
        _span(offset, *sizes) for offset, *sizes in zip(crop[:2], shape, image_size, loaded)
    )
    return CropWindow((left, top, right, bottom), *crop[2:])


def random_window(
    rng: np.random.Generator,
    shape: tuple[int, int],
    image_size: tuple[int, int],
    jitter: float,
    mirror: bool,
    preprocess: str = 'resize_and_crop',
) -> CropWindow:
    """Draws as `random_crop` does, for an image that is not resized yet.

    What is cut equals a resize to `loaded_size` and a crop, but for rounding: by up to 1 of 255.

    Args:
      rng: makes all draws.
      shape: (height, width) of the image, in pixels.
      image_size: (height, width) of the crop, in pixels of the resized image.
      jitter: as in `loaded_size`.
      mirror: whether it is flipped, with probability 1/2.
      preprocess: as in `loaded_size`.
    """
    loaded = loaded_size(*shape, image_size, jitter, preprocess)
    return window_of(random_crop(rng, loaded, image_size, mirror), shape, loaded, image_size)


def centre_window(
    shape: tuple[int, int], image_size: tuple[int, int], preprocess: str = 'resize_and_crop'
) -> CropWindow:
    """Returns the window of testing: without jitter, the crop in the middle, not flipped."""
    loaded = loaded_size(*shape, image_size, 1.0, preprocess)
    (top, bottom), (left, right) = (
        _span((load - size) // 2, source, size, load)
        for source, size, load in zip(shape, image_size, loaded)
    )
    return CropWindow((left, top, right, bottom), False)


def rescaled(window: CropWindow, shape: Size, own: Size) -> CropWindow:
    """Returns a window of an image of `shape` as that of the same picture with the size `own`."""
    scales = (own[1], shape[1]), (own[0], shape[0])
    left, top, right, bottom = (
        side * new / old for side, (new, old) in zip(window.box, (*scales, *scales))
    )
    return window._replace(box=(left, top, right, bottom))


def random_pose(
    rng: np.random.Generator, place: Place, size: tuple[int, int], vertical: bool, turn: bool
) -> Place:
    """Returns `place` with a random top-bottom flip and random quarter turns.

    Both draws are always made.

    Args:
      rng: makes both draws.
      place: what is cut from the image.
      size: (height, width) of the result; what is not square is turned by halves.
      vertical: whether it is flipped, with probability 1/2.
      turn: whether it is turned.
    """
    flip, turns = bool(rng.random() < 0.5), int(rng.integers(4))
    turns = turns if size[0] == size[1] else 2 * (turns % 2)
    return place._replace(vertical=flip and vertical, turns=turns if turn else 0)


class Tint(NamedTuple):
    """Factors of brightness, contrast and saturation; 1 changes nothing."""

    brightness: float
    contrast: float
    saturation: float


def random_tint(rng: np.random.Generator, strength: float) -> Tint:
    """Draws each factor from [1 - strength, 1 + strength]."""
    return Tint(*(1 + strength * rng.uniform(-1, 1, 3)))


def apply_tint(image: np.ndarray, tint: Tint) -> np.ndarray:
    """Changes the colours of an image (H,W,C), float32 on [-1, 1]; the result is clipped to it.

    Brightness scales from black, contrast from the image's mean, saturation (of RGB alone) from
    the gray of each pixel, in this order. The alpha of RGBA stays.
    """
    if image.shape[-1] == 4:
        return np.concatenate([apply_tint(image[..., :3], tint), image[..., 3:]], axis=-1)
    image = (image + 1) * np.float32(tint.brightness)
    mean = image.mean()
    image = (image - mean) * np.float32(tint.contrast) + mean
    if image.shape[-1] == 3:
        gray = image @ np.array(LUMA, np.float32)[:, None]
        image = (image - gray) * np.float32(tint.saturation) + gray
    return np.clip(image - 1, -1, 1)


def _span(offset: int, source: int, size: int, load: int) -> tuple[float, float]:
    return offset * source / load, (offset + size) * source / load


def crop_and_resize(
    image: np.ndarray, window: CropWindow, image_size: tuple[int, int], resize: str = 'bicubic'
) -> np.ndarray:
    """Cuts and resizes an image to (*image_size, C), in its own dtype.

    The box is resampled with the pixels around it in reach, as if all of the image had been
    resized and then cropped.

    Args:
      image: (H,W,C), integers, or floats in [-1, 1].
      window: what is cut from the image, and how it lies.
      image_size: (height, width) of the result, in pixels.
      resize: 'bicubic' (antialiased where it shrinks), 'nearest', or 'valid': of 0 and 1, 1 where
        'bicubic' sums up nothing but 1.
    """
    height, width, _ = image.shape
    if window.box != (0, 0, width, height) or (height, width) != tuple(image_size):
        resample = {'nearest': _nearest, 'valid': masks.resampled}.get(resize, _bicubic)
        image = resample(image, window.box, image_size)
    return _posed(image, window)


def cut_as_target(
    image: np.ndarray,
    window: CropWindow,
    shape: Size,
    image_size: tuple[int, int],
    resize: str = 'bicubic',
) -> np.ndarray:
    """Cuts from an image of a pair what a window of its target shows, as `crop_and_resize` does.

    Args:
      image: (H,W,C), of the target's proportions.
      window: of the target.
      shape: (height, width) of the target.
      image_size, resize: as in `crop_and_resize`.
    """
    return crop_and_resize(image, rescaled(window, shape, image.shape[:2]), image_size, resize)


def resized(image: np.ndarray, size: tuple[int, int], resize: str = 'bicubic') -> np.ndarray:
    """Returns all of an (H, W, C) image at (height, width) `size`, as `crop_and_resize` does."""
    return crop_and_resize(image, whole_image(*image.shape[:2]), size, resize)


def cut(image: np.ndarray, crop: Crop, image_size: tuple[int, int]) -> np.ndarray:
    """Cuts (*image_size, C) from an (H, W, C) image at its loaded size, in its own dtype."""
    rows, columns = (slice(at, at + size) for at, size in zip(crop[:2], image_size))
    return _posed(image[rows, columns], crop)


def _posed(image: np.ndarray, place: Crop | CropWindow) -> np.ndarray:
    image = _flip(image) if place.flip else image
    image = image[::-1] if place.vertical else image
    return np.rot90(image, place.turns) if place.turns else image


def _flip(image: np.ndarray) -> np.ndarray:
    if image.shape[-1] > 4:
        return image[:, ::-1]
    flipped = np.empty(image.shape, image.dtype)
    for channel in range(image.shape[-1]):  # of RGB of 256x256 0.14 ms, not 0.20 all at once
        flipped[..., channel] = image[:, ::-1, channel]
    return flipped


def _nearest(image: np.ndarray, box: tuple, image_size: tuple[int, int]) -> np.ndarray:
    # Not Pillow's, which sums up float32 steps: where a centre falls on the border of two pixels,
    # the crop would differ from that of the resized image.
    left, top, right, bottom = box
    rows, columns = (
        (start + (np.arange(size) + 0.5) * (stop - start) / size + 1e-6).astype(int)
        for start, stop, size in zip((top, left), (bottom, right), image_size)
    )
    return image[rows[:, None], columns]


def _bicubic(image: np.ndarray, box: tuple, image_size: tuple[int, int]) -> np.ndarray:
    size = image_size[::-1]
    if image.dtype == np.uint8 and image.shape[-1] == 3:
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC, box))
    # Plane by plane: Pillow has no other n-channel images, and it would weigh RGB by alpha.
    mode = np.uint8 if image.dtype == np.uint8 else np.float32
    planes = [
        np.asarray(Image.fromarray(plane.astype(mode)).resize(size, Image.Resampling.BICUBIC, box))
        for plane in np.moveaxis(image, -1, 0)
    ]
    resized = np.stack(planes, axis=-1)
    if image.dtype.kind == 'f':
        resized = np.clip(resized, -1, 1)  # bicubic swings beyond
    elif mode != np.uint8:
        limits = np.iinfo(image.dtype)
        resized = np.clip(np.rint(resized), limits.min, limits.max)
    return resized.astype(image.dtype)


def to_float(image: np.ndarray) -> np.ndarray:
    """Scales uint8 or uint16 to float32 in [-1, 1]; a float image is in [-1, 1] already."""
    image = np.asarray(image)
    if np.issubdtype(image.dtype, np.integer):
        scaled = image.astype(np.float32)
        scaled /= np.float32(np.iinfo(image.dtype).max / 2)  # in place: no more arrays
        scaled -= np.float32(1)
        return scaled
    return image.astype(np.float32)


def from_float(image: np.ndarray) -> np.ndarray:
    """Scales float [-1, 1] to uint8: the inverse of `to_float`, clipped and rounded."""
    image = np.asarray(image, np.float32)
    return np.rint((np.clip(image, -1, 1) + 1) * np.float32(127.5)).astype(np.uint8)
