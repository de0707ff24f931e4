"""Translations as files have them: their type, their values, and what files say beside these."""

from typing import NamedTuple

import numpy as np

from pix2pix_jax.config import Config
from pix2pix_jax.data import class_maps, image_spec, masks
from pix2pix_jax.data.formats import encode, metadata
from pix2pix_jax.data.formats.metadata import Metadata
from pix2pix_jax.data.formats.pixels import Pixels, Range


class Loaded(NamedTuple):
    """A user's image as the generator takes it, before scaling to [-1, 1]."""

    values: np.ndarray  # (H,W,Ci); of class maps their indices (H,W,1)
    extension: str  # of its file; '' of an array
    dtype: np.dtype  # of its file, or of the array
    shown: int  # channels of the first of several inputs
    size: tuple[int, int]  # (height, width) of its translation
    missing: np.ndarray | None = None  # bool (*size, 1), where there is no data; None: there is all
    nodata: str = ''  # the value of that in the file of its translation; '': there is none
    about: Metadata | None = None  # what its file says beside the pixels; None: there is no file

    @property
    def valid(self) -> np.ndarray | None:
        """Where there is data, bool (*size, 1); None: everywhere."""
        return None if self.missing is None else ~self.missing


class Outputs(NamedTuple):
    """How the translations of a run are written."""

    channels: int
    value_range: Range | None  # of the values that become [-1, 1]; None: the type's
    classes: int  # of which translations are maps; 0: they are images
    nodata: str  # the value of pixels without data; '': the run knows none
    target_type: str  # the type of the targets' files where it is not of 8 bits; '': it is

    @classmethod
    def of(cls, config: Config) -> 'Outputs':
        """Returns those of a run."""
        _, target = image_spec.of_config(config)
        value_range = target.ranges[0] if target.ranges else None
        found = config.dataset.target_type
        return cls(target.channels, value_range, target.classes, target.nodata, found)

    def noted(self, picture: Pixels, extension: str, about: Metadata | None) -> str:
        """Returns the no-data that a file notes and the run does not know; '': none.

        So is one that the file of the translation cannot hold.
        """
        if self.nodata or about is None or picture.lossy or not masks.is_number(about.nodata):
            return ''
        _, dtype = self._type_for(extension, picture.values.dtype)
        return about.nodata if self.classes or masks.holds(dtype, about.nodata) else ''

    def type_of(self, loaded: Loaded, side: int = 0) -> tuple[str, np.dtype]:
        """Returns extension and type for the translation, as `encode.file_type` does.

        The type is that of the targets' files, where it is not of 8 bits, else the input's.
        """
        return self._type_for(loaded.extension, loaded.dtype, side)

    def _type_for(self, extension: str, dtype: np.dtype, side: int = 0) -> tuple[str, np.dtype]:
        found = self.target_type
        dtype = np.dtype(found) if found else dtype
        return encode.file_type(extension or '.npy', dtype, self.channels, self.value_range, side)

    def metadata_of(self, loaded: Loaded, image: np.ndarray) -> Metadata | None:
        """Returns what the input's file says that is true of `image`, the translation in its file.

        None where the input is no file.
        """
        if loaded.about is None:
            return None
        (height, width), channels = image.shape[:2], image.shape[-1]
        has_nodata = loaded.nodata and not self.classes and masks.holds(image.dtype, loaded.nodata)
        found = metadata.of_translation(
            loaded.about,
            (height, width),
            channels,
            loaded.nodata if has_nodata else '',
            has_classes=bool(self.classes),
        )
        return found._replace(icc=b'') if self.value_range else found

    @property
    def has_units(self) -> bool:
        """Whether the values of translations mean more than shades."""
        return bool(self.value_range or self.target_type)

    def range_of(self, loaded: Loaded) -> Range:
        """Returns the (low, high) of the translation's values in its file."""
        return self.value_range or image_spec.type_range(self.type_of(loaded)[1])

    def to_values(self, loaded: Loaded, image: np.ndarray) -> tuple[str, np.ndarray]:
        """Returns the extension of a translation's file, and its values (H,W,Co), of its type.

        `image` is a translation (H,W,Co) of `loaded` on [-1, 1]. There is no-data in the file where
        there is in `loaded`, and nowhere else. Of class targets they are indices, uint8 (H,W,1), in
        a .png.
        """
        if self.classes:
            indices = class_maps.most_probable(image)
            if loaded.missing is not None:
                indices[loaded.missing] = class_maps.VOID
            return '.png', indices
        extension, dtype = self.type_of(loaded, max(image.shape[:2]))
        values = image_spec.to_type(image, dtype, self.value_range)
        written = Pixels(values, opacity=values.shape[-1] == 4)
        values = masks.told_apart(written, loaded.nodata, self.range_of(loaded)).values
        if loaded.missing is not None:
            values = np.where(loaded.missing, dtype.type(float(loaded.nodata)), values)
        return extension, values

    def from_values(self, loaded: Loaded, values: np.ndarray) -> np.ndarray:
        """Returns what `to_values` gave (H,W,C) as a translation again, but for rounding."""
        if self.classes:
            return class_maps.one_hot(values, self.classes)
        low, high = self.range_of(loaded)
        return ((values.astype(np.float32) - low) * (2 / (high - low)) - 1).astype(np.float32)
