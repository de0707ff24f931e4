"""Grids of images to look at: a row an example, a column a kind of image."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pix2pix_jax.data.formats.pixels import Range

GUTTER = 4  # pixels of white between images
HEADER = 22  # pixels of the band with the titles
SLIVER = 1 / 4  # of the range: data in units that fills less is stretched, to be seen
MIN_SIDE = 128  # pixels; smaller images are shown enlarged


def evenly_spaced(count: int, maximum: int) -> np.ndarray:
    """Returns the indices of `maximum` of `count` examples, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, maximum).round().astype(int))


def to_rgb(image: np.ndarray) -> np.ndarray:
    """Returns float `image` (H,W,C) on [-1, 1] as uint8 (H,W,3), as a screen shows it.

    C as `some_channels` says; what is transparent lies over white.
    """
    unit = (np.clip(np.nan_to_num(some_channels(image)), -1, 1) + 1) / 2
    channels = unit.shape[-1]
    if channels == 1:
        unit = np.repeat(unit, 3, axis=-1)
    elif channels == 4:
        unit = unit[..., :3] * unit[..., 3:] + 1 - unit[..., 3:]
    return np.rint(unit * 255).astype(np.uint8)


def some_channels(image: np.ndarray) -> np.ndarray:
    """Returns what of an image (H,W,C) can be shown: 1 (gray), 3 (RGB) or 4 (RGBA) channels.

    Of two channels it is the first, of more than four the first three.
    """
    channels = image.shape[-1]
    return image if channels in (1, 3, 4) else image[..., : 1 if channels == 2 else 3]


def narrow(image: np.ndarray, valid: np.ndarray | None = None) -> Range | None:
    """Returns the (low, high) on [-1, 1] in which an image's values lie, where that is a sliver.

    They are percentiles, 0.1 and 99.9, of what is `valid`, (...,1). None: it is a quarter of the
    range or more, or one value.
    """
    values = image if valid is None else image[valid[..., 0].astype(bool)]
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, (0.1, 99.9)) if values.size else (-1, 1)
    return (float(low), float(high)) if 0 < high - low < 2 * SLIVER else None


def stretched(image: np.ndarray, shown: Range | None) -> np.ndarray:
    """Returns an image whose values `shown` fill [-1, 1]; None: as it is."""
    if shown is None:
        return image
    low, high = shown
    return np.clip((image - low) / (high - low) * 2 - 1, -1, 1)


def white_elsewhere(image: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """Returns an image (...,C) on [-1, 1], white where not `valid`, (...,1); None: as it is."""
    return image if valid is None else np.where(valid, image, np.float32(1))


def in_units(shown: Range | None, value_range: Range) -> str:
    """Returns ' (LOW to HIGH)' in data units, of which `value_range` is [-1, 1]; '' for None."""
    if shown is None:
        return ''
    low, high = value_range
    ends = (low + (x + 1) / 2 * (high - low) for x in shown)
    return ' ({:.4g} to {:.4g})'.format(*ends)


def make_grid(
    rows: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str] = ('input', 'output', 'target'),
) -> np.ndarray:
    """Returns `rows` of images as one picture (H,W,3), uint8, with `titles` over the columns.

    The images are float (H,W,C) on [-1, 1], all of one height and width. Those
    smaller than `MIN_SIDE` are enlarged by a whole factor, pixel by pixel.
    """
    height, width = rows[0][0].shape[:2]
    factor = -(-MIN_SIDE // max(height, width))
    height, width = height * factor, width * factor
    across = max(map(len, rows))
    shape = (HEADER + len(rows) * (height + GUTTER), across * (width + GUTTER) + GUTTER, 3)
    canvas = np.full(shape, 255, np.uint8)
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            top, left = HEADER + r * (height + GUTTER), GUTTER + c * (width + GUTTER)
            shown = to_rgb(image).repeat(factor, axis=0).repeat(factor, axis=1)
            canvas[top : top + height, left : left + width] = shown
    return _with_titles(canvas, titles[:across], width)


def _with_titles(canvas: np.ndarray, titles: Sequence[str], width: int) -> np.ndarray:
    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    for c, title in enumerate(titles):
        center = GUTTER + c * (width + GUTTER) + width // 2
        font = _font(draw, title, width + GUTTER)
        draw.text((center, HEADER // 2), title, fill=(70, 70, 70), anchor='mm', font=font)
    return np.asarray(picture)


def _font(
    draw: ImageDraw.ImageDraw, title: str, width: int
) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Returns the largest font, of 14 pixels or less, in which a title stays over its column."""
    fonts = (ImageFont.load_default(size=size) for size in range(14, 7, -1))
    return next((f for f in fonts if draw.textlength(title, f) <= width), ImageFont.load_default(7))
