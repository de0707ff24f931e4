"""Images to look at: of any number of channels, stretched, and in grids, a row an example."""

import math
import textwrap
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pix2pix_jax.data.formats.pixels import Range

GUTTER = 4  # pixels of white between images
HEADER = 22  # pixels of the band with the titles
LINE = 15  # pixels, of each further line of a title
SLIVER = 1 / 4  # of the range: data in units that fills less is stretched, to be seen
MIN_SIDE = 128  # pixels; smaller images, and channels that are shown apart, are enlarged
CHANNELS = 9  # of one image, at most, that are shown apart
Stretch: TypeAlias = tuple[Range | None, ...]  # of all channels together, or of each


def evenly_spaced(count: int, maximum: int) -> np.ndarray:
    """Returns the indices of `maximum` of `count` examples, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, maximum).round().astype(int))


def is_picture(image: np.ndarray) -> bool:
    """Whether an image (...,C) is gray, RGB or RGBA; of any other its channels are shown apart."""
    return image.shape[-1] in (1, 3, 4)


def channels_apart(image: np.ndarray) -> list[int]:
    """Returns the numbers, from 0, of the channels of (...,C) that are shown apart, few of many."""
    return evenly_spaced(image.shape[-1], min(image.shape[-1], CHANNELS)).tolist()


def across(image: np.ndarray) -> int:
    """Returns how many images lie side by side in what `to_rgb` makes of (...,C)."""
    return 1 if is_picture(image) else math.ceil(math.sqrt(len(channels_apart(image))))


def to_rgb(image: np.ndarray) -> np.ndarray:
    """Returns float `image` (H,W,C) on [-1, 1] as uint8 (H,W,3), as a screen shows it.

    What is transparent lies over white. Where C is not 1, 3 or 4 the channels are shown as gray
    images in rows, each under its number from 1: a larger picture.
    """
    if not is_picture(image):
        return _apart(image)
    unit = (np.clip(np.nan_to_num(image), -1, 1) + 1) / 2
    channels = unit.shape[-1]
    if channels == 1:
        unit = np.repeat(unit, 3, axis=-1)
    elif channels == 4:
        unit = unit[..., :3] * unit[..., 3:] + 1 - unit[..., 3:]
    return np.rint(unit * 255).astype(np.uint8)


def _apart(image: np.ndarray) -> np.ndarray:
    """Returns the channels of an image (H,W,C) as one picture; see `to_rgb`."""
    shown, total = channels_apart(image), image.shape[-1]
    tiles = [enlarged(to_rgb(image[..., [channel]]), MIN_SIDE) for channel in shown]
    height, width = tiles[0].shape[:2]
    labels = [f'{channel + 1}' for channel in shown]
    if len(shown) < total:
        labels[-1] += f' ({len(shown)} shown)'
    band, columns = max(HEADER, height // 6), across(image)  # read on pages, scaled down
    rows = -(-len(tiles) // columns)
    size = columns * (width + GUTTER) - GUTTER, rows * (band + height + GUTTER) - GUTTER
    picture = Image.new('RGB', size, 'white')
    draw = ImageDraw.Draw(picture)
    for i, (tile, label) in enumerate(zip(tiles, labels)):
        top, left = i // columns * (band + height + GUTTER), i % columns * (width + GUTTER)
        picture.paste(Image.fromarray(tile), (left, top + band))
        _write(draw, label, (left + width // 2, top + band // 2), width, band * 2 // 3)
    return np.asarray(picture)


def enlarged(picture: np.ndarray, side: int) -> np.ndarray:
    """Returns (H,W,3) by a whole factor, pixel by pixel, so that a side is at least `side`."""
    factor = -(-side // max(picture.shape[:2]))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def narrow(image: np.ndarray, valid: np.ndarray | None = None, units: bool = True) -> Stretch:
    """Returns the (low, high) on [-1, 1] which `stretched` makes all of it, and None for as it is.

    They are percentiles, 0.1 and 99.9, of what is `valid`, (...,1). A picture has one for all its
    channels, where its values are in `units` and fill less than a quarter of the range; of other
    images each channel has its own. None: it is more, or one value.
    """
    if is_picture(image) and not units:  # percentiles of a large image take a second
        return (None,)
    values = image if valid is None else image[valid[..., 0].astype(bool)]
    if is_picture(image):
        return (_ends(values, SLIVER),)
    return tuple(_ends(values[..., channel], 1) for channel in range(image.shape[-1]))


def _ends(values: np.ndarray, share: float) -> Range | None:
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, (0.1, 99.9)) if values.size else (-1, 1)
    return (float(low), float(high)) if 0 < high - low < 2 * share else None


def stretched(image: np.ndarray, shown: Stretch) -> np.ndarray:
    """Returns an image (...,C) whose values `shown`, as `narrow` gives them, fill [-1, 1]."""
    if not any(shown):
        return image
    low, high = np.array([ends or (-1, 1) for ends in shown], image.dtype).T
    return np.clip((image - low) / (high - low) * 2 - 1, -1, 1)


def by_itself(image: np.ndarray) -> np.ndarray:
    """Returns an image (...,C) of which each channel that is shown apart fills [-1, 1]."""
    return stretched(image, narrow(image, units=False))


def about_itself(image: np.ndarray) -> str:
    """Returns what `by_itself` does to an image (...,C), for its title; '' where it is nothing."""
    return '' if is_picture(image) else ' (each channel stretched)'


def white_elsewhere(image: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """Returns an image (...,C) on [-1, 1], white where not `valid`, (...,1); None: as it is."""
    return image if valid is None else np.where(valid, image, np.float32(1))


def in_units(shown: Stretch, value_range: Range) -> str:
    """Returns ' (LOW to HIGH)' in data units, of which `value_range` is [-1, 1]; '' for none.

    Of channels that are shown apart it is ' (1: LOW to HIGH, 2: ...)'.
    """
    low, high = value_range

    def text(channel: int, ends: Range) -> str:
        number = f'{channel + 1}: ' if len(shown) > 1 else ''
        return number + '{:.5g} to {:.5g}'.format(*(low + (x + 1) / 2 * (high - low) for x in ends))

    apart = channels_apart(np.empty((0, len(shown))))
    said = [text(channel, ends) for channel in apart if (ends := shown[channel])]
    return f' ({", ".join(said)})' if said else ''


def make_grid(
    rows: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str] = ('input', 'output', 'target'),
) -> np.ndarray:
    """Returns `rows` of images as one picture (H,W,3), uint8, with `titles` over the columns.

    The images are float (H,W,C) on [-1, 1], those of a column of one size and number of channels.
    Those smaller than `MIN_SIDE` are enlarged by a whole factor, pixel by pixel.
    """
    pictures = [[enlarged(to_rgb(image), MIN_SIDE) for image in row] for row in rows]
    widths = [picture.shape[1] for picture in max(pictures, key=len)]
    heights = [max(picture.shape[0] for picture in row) for row in pictures]
    lefts = GUTTER + np.cumsum([0, *(width + GUTTER for width in widths)])
    wrapped = [_wrapped(title, width) for title, width in zip(titles, widths)]
    header = HEADER + LINE * (max(map(len, wrapped), default=1) - 1)
    tops = header + np.cumsum([0, *(height + GUTTER for height in heights)])
    canvas = Image.new('RGB', (int(lefts[-1]), int(tops[-1])), 'white')
    for top, row in zip(tops, pictures):
        for left, picture in zip(lefts, row):
            canvas.paste(Image.fromarray(picture), (int(left), int(top)))
    draw = ImageDraw.Draw(canvas)
    for left, width, lines in zip(lefts, widths, wrapped):
        for i, line in enumerate(lines):
            _write(draw, line, (int(left) + width // 2, HEADER // 2 + i * LINE), width + GUTTER)
    return np.asarray(canvas)


def _wrapped(title: str, width: int) -> list[str]:
    """Returns a title as lines that can be read over `width` pixels: one where it fits."""
    per_line = width // 7  # characters of the font of 14
    if len(title) <= 2 * per_line:  # in a smaller font
        return [title]
    return textwrap.wrap(title, per_line, break_long_words=False, break_on_hyphens=False)


def _write(
    draw: ImageDraw.ImageDraw, text: str, center: tuple[int, int], width: int, size: int = 14
) -> None:
    """Writes a text of the largest font up to `size` in which it is no wider; cut if none is."""
    fonts = [ImageFont.load_default(size=size) for size in range(size, 6, -1)]
    font = next((font for font in fonts if draw.textlength(text, font) <= width), fonts[-1])
    while draw.textlength(text, font) > width and len(text) > 1:
        text = text.removesuffix('…')[:-1] + '…'
    draw.text(center, text, fill=(70, 70, 70), anchor='mm', font=font)
