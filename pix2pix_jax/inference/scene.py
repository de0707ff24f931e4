"""A scene as `translate` reads it: any part as the network takes it, and where it has data."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from pix2pix_jax.data import augment
from pix2pix_jax.data.augment import CropWindow
from pix2pix_jax.data.formats import decode, metadata
from pix2pix_jax.data.formats.pixels import Box
from pix2pix_jax.errors import DataError
from pix2pix_jax.inference.inputs import Input

if TYPE_CHECKING:  # takes seconds
    from pix2pix_jax.inference.translator import Loaded, Translator

REACH = 512  # pixels around a window in which the nearest value for no-data is looked for
KERNEL = 2  # pixels on each side that a bicubic resize sums up, of the coarser image


@dataclasses.dataclass(frozen=True)
class Scene:
    """An input that is read by windows. Places are in pixels of its translation."""

    translator: 'Translator'
    one: Input
    about: metadata.Metadata  # of the first file
    size: tuple[int, int]  # (height, width) of the translation
    template: 'Loaded'  # the first pixel: type, extension, no-data

    @classmethod
    def open(cls, translator: 'Translator', one: Input) -> 'Scene':
        """Reads the headers; raises DataError, naming a file, for what cannot be translated."""
        about = metadata.read(one.files[0])
        sizes = {decode.size_of(file) for file in one.files}
        if len(sizes) > 1:
            found = ' and '.join(f'{width}x{height}' for height, width in sorted(sizes))
            raise DataError(f'{one.files[0]}: the images of one input have {found}: allowed is one')
        height, width = (max(1, round(side * translator.scale)) for side in about.size)
        template = translator.load_window(one.files, (0, 1, 0, 1), about)
        return cls(translator, one, about, (height, width), template)

    @functools.cached_property
    def windows(self) -> list[tuple[int, int]]:
        """Where the windows begin whose statistics the norms have; they are found once.

        To find those with data, that of the whole scene is read.
        """
        valid = self.valid if self.template.nodata else None
        return self.translator.scene_windows(self.size, valid)

    def read(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        """Returns a part of the values that `Translator.load` gives, (h,w,Ci).

        Args:
          top, bottom: rows, the second not included.
          left, right: columns, the second not included.
        """
        return self._part(self._filled, (top, bottom, left, right), self._resize).values

    def shown(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        """Returns what `read` does, but for what lies at no-data, which pictures do not show.

        Args:
          top, bottom: rows, the second not included.
          left, right: columns, the second not included.
        """
        return self._part(self._stored, (top, bottom, left, right), self._resize).values

    def valid(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        """Returns where there is data in a part, bool (h,w,1).

        Args:
          top, bottom: rows, the second not included.
          left, right: columns, the second not included.
        """
        missing = self._part(self._stored, (top, bottom, left, right), 'nearest').missing
        return np.ones((bottom - top, right - left, 1), bool) if missing is None else ~missing

    @property
    def _resize(self) -> str:
        d = self.translator.config.dataset
        return 'nearest' if d.input_classes else d.resize

    def _part(self, load: Callable[[Box], 'Loaded'], part: Box, resize: str) -> 'Loaded':
        """Returns a part, of the window that `load` loads, resized to where it goes."""
        if self.size == self.about.size:
            return load(part)
        top, bottom, left, right = part
        y, x = (new / old for new, old in zip(self.size, self.about.size))
        height, width = self.about.size
        up, down, before, after = (
            f(edge / scale + side * (KERNEL * max(1, 1 / scale) + 1))
            for f, edge, scale, side in (
                (math.floor, top, y, -1), (math.ceil, bottom, y, 1),
                (math.floor, left, x, -1), (math.ceil, right, x, 1),
            )
        )  # fmt: skip
        box = max(up, 0), min(down, height), max(before, 0), min(after, width)
        loaded = load(box)
        place = (left / x - box[2], top / y - box[0], right / x - box[2], bottom / y - box[0])
        window, size = CropWindow(place, False), (bottom - top, right - left)
        values = augment.crop_and_resize(loaded.values, window, size, resize)
        missing = loaded.missing
        if missing is not None:
            missing = augment.crop_and_resize(missing, window, size, 'nearest')
        return loaded._replace(values=values, missing=missing)

    def _stored(self, box: Box) -> 'Loaded':
        """Returns a window of the input; no-data has the nearest value of the window."""
        return self.translator.load_window(self.one.files, box, self.about)

    def _filled(self, box: Box) -> 'Loaded':
        """Returns a window of the input; no-data has the nearest value, which may lie around it."""
        loaded = self._stored(box)
        if loaded.missing is None:
            return loaded
        (top, bottom, left, right), (height, width) = box, self.about.size
        up, before = max(0, top - REACH), max(0, left - REACH)
        around = up, min(height, bottom + REACH), before, min(width, right + REACH)
        wider = self._stored(around).values
        values = wider[top - up : bottom - up, left - before : right - before]
        return loaded._replace(values=values)
