"""What reading and writing share: an image as it is in its file, and where the file lies."""

import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from etils import epath

EXTENSIONS = ('.jpg', '.jpeg', '.png', '.webp', '.tif', '.tiff', '.npy')
LUMA = (0.299, 0.587, 0.114)  # of RGB in gray (ITU-R BT.601)

Range = tuple[float, float]  # the lowest and the highest value
Box = tuple[int, int, int, int]  # of an image: top, bottom, left, right, in pixels


class Pixels(NamedTuple):
    """An image as it is in its file."""

    values: np.ndarray  # (H,W,C): uint8, uint16, or another type of a TIFF or a NumPy file
    opacity: bool = False  # the last of four channels is it: RGBA
    lossy: bool = False  # its compression changes values: JPEG, most WebP
    palette: np.ndarray | None = None  # where values are indices of one: its colours, uint8 (K,3)
    part: bool = False  # a window of its file's image
    orientation: int = 0  # of EXIF, by which it was turned upright: 1 to 8; 0: the file notes none

    @property
    def colours(self) -> np.ndarray:
        """The values (H,W,C) without opacity."""
        return self.values[..., :-1] if self.opacity else self.values


def with_gray_opacity(pixels: Pixels) -> Pixels:
    """Returns gray and opacity as RGBA."""
    if pixels.opacity and pixels.values.shape[-1] == 2:
        return pixels._replace(values=pixels.values[..., [0, 0, 0, 1]])
    return pixels


class LazyFile:
    """An image whose bytes come from elsewhere than a file of its own: an archive, records."""

    def __init__(self, name: str, read: Callable[[], bytes]):
        """Takes a `name` for messages, and what gives the bytes."""
        self._name, self.read_bytes = name, read

    def __str__(self) -> str:
        """Returns the name."""
        return self._name

    def open(self, mode: str) -> io.BytesIO:
        """Returns the bytes as an open file."""
        del mode
        return io.BytesIO(self.read_bytes())


File = epath.Path | LazyFile
