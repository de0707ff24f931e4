"""Axes of an image that a file has in another order: channels first, or rows as pages.

What is stored says nothing of it: sizes do, where one is far smaller than the others.
"""

from pix2pix_jax.data.formats.pixels import File

MANY = 16  # channels: more are rarely meant where a side is short
FEW = 4  # channels that files of colours have
Shape = tuple[int, ...]


def are_channels_first(shape: Shape) -> bool:
    """Whether the shape of an array of three axes is, for sure, (channels, height, width).

    The first axis is that of colours, or at most half as long as the sides of a square.
    """
    first, height, width = shape
    return first <= FEW < min(height, width) or (2 * first <= height == width > MANY)


def are_unlikely(shape: Shape) -> bool:
    """Whether an image (H,W,C) has a side that is far shorter than the other and than C."""
    height, width, channels = shape
    short, long = sorted((height, width))
    return channels > MANY and 2 * short <= min(long, channels)


def about_moved(shape: Shape, size: Shape, file: File) -> str:
    """Says in which order axes of an image (H,W,C) would be those of an image of `size`; or ''."""
    height, width, channels = shape
    if channels > FEW and (width, channels) == size:
        return (
            f'; the axes of {file} are (channels, height, width), it seems: needed is (height, '
            'width, channels), as numpy.moveaxis(image, 0, -1) gives it'
        )
    if channels > FEW and (channels, height) == size:
        return (
            f'; the {channels} pages of {file} are the rows of an image, it seems: needed are its '
            f"{width} channels as pages, or in one page (tifffile's planarconfig='contig')"
        )
    return ''
