"""No-data that TIFFs note (GDAL_NODATA) and the config does not say."""

import contextlib
from collections.abc import Iterator

import numpy as np

from pix2pix_jax.config_type import Config
from pix2pix_jax.data import masks
from pix2pix_jax.data.formats import windows
from pix2pix_jax.data.formats.pixels import File
from pix2pix_jax.data.sources import FIRST, Source, sample
from pix2pix_jax.errors import DataError


def about(source: Source, config: Config) -> list[str]:
    """Returns a line for each value that files of a sample note as no-data, and that is not said.

    It is of the files that `dataset.nodata` is of: inputs of 8 bits, maps of classes and the photos
    of a task have none. Bad files are named later, and headers alone are read, of local files.
    """
    if config.dataset.nodata or source.photos:
        return []
    found = {
        value
        for i in sample(source, FIRST)
        for kind, file in _files_with_kind(source, i)
        if (value := _noted(file, kind))
    }
    return [
        f'files note the value {value} as no-data (GDAL_NODATA), and it is read as any other: '
        f'--config.dataset.nodata={value} leaves it out'
        for value in sorted(found)
    ]


def _files_with_kind(source: Source, i: int) -> Iterator[tuple[str, File]]:
    """Yields ('input' or 'target', file) of the images of pair `i` that are no maps of classes."""
    inputs, target = source.specs
    if not inputs.classes:
        yield from (('input', file) for file in source.input_files(i))
    if not target.classes:
        yield 'target', source.file_of(i, 'target')


def _noted(file: File, kind: str) -> str:
    """Returns the number that a local TIFF notes; '' for none, and where it would not be heeded."""
    with contextlib.suppress(DataError):
        if windows.are_cheap(file):
            raster = windows.open_raster(file)
            heeded = not raster.lossy and (kind == 'target' or raster.dtype != np.uint8)
            return raster.nodata if heeded and masks.is_number(raster.nodata) else ''
    return ''
