"""An input of a run to try an exported model with, and what the values in its files are."""

import contextlib
from typing import NamedTuple

import numpy as np
from etils import epath

from pix2pix_jax.config import Config
from pix2pix_jax.data import augment, image_spec
from pix2pix_jax.data.formats.pixels import Range
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.inference import run_splits
from pix2pix_jax.inference.outputs import Loaded
from pix2pix_jax.inference.translator import Translator
from pix2pix_jax.workdir import data_json

TYPES = 'uint8', 'uint16', 'float32'
NO_DATA = "the run's data is not there: the test image is noise, and inputs are"


class Values(NamedTuple):
    """What an image's values in files are; the network has them on [-1, 1]."""

    dtype: np.dtype
    range: Range


def of_run(
    workdir: epath.PathLike, config: Config, size: tuple[int, int]
) -> tuple[np.ndarray, Values, list[str]]:
    """Returns an image (H,W,C) as values of a file, what these are, and remarks for a person.

    It is the first input of the run's test split, else of val or train, resized to `size`, (height,
    width); noise where the data is not there. Raises UserError where then nobody knows the type of
    inputs.
    """
    loaded, remarks = _first_input(workdir, config), []
    if loaded:
        dtype, values = loaded.dtype, augment.resized(loaded.values, size)
    else:
        dtype, remark = _type_without_data(workdir, config)
        remarks.append(remark)
        shape = (*size, config.generator.input_channels)
        values = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    source = Values(dtype, image_spec.of_config(config)[0].range_of(dtype))
    if values.dtype.kind == 'f':  # on [-1, 1], whatever the file's type
        values = image_spec.to_type(values, *source)
    return values, source, remarks


def _first_input(workdir: epath.PathLike, config: Config) -> Loaded | None:
    """Returns the first input of a run's data that can be read, of test, else val, else train."""
    splits, _ = run_splits.whole_splits(workdir, config)
    if not splits:
        return None
    translator = Translator(workdir)
    for split in ('test', 'val', 'train'):
        for i in range(len(splits.get(split, ()))):
            with contextlib.suppress(DataError):
                return translator.load_pair(splits[split], i)
    return None


def _type_without_data(workdir: epath.PathLike, config: Config) -> tuple[np.dtype, str]:
    """Returns the type of a run's inputs where its data is not there, and how it is known.

    Raises UserError where it is not, and may be another than 8 bits.
    """
    d = config.dataset
    recorded = data_json.recorded(workdir).get('input_type')
    if recorded in TYPES:
        return np.dtype(recorded), f'{NO_DATA} {recorded}, as data.json says'
    if d[image_spec.range_fields(config)[0]]:
        return np.dtype(np.float32), f'{NO_DATA} float32, which holds the values of the range'
    if d.target_type:
        raise UserError(
            "--format=bioimageio: the run's data is not there, which alone says the type of its "
            f'inputs (targets are {d.target_type}); allowed is --format=onnx'
        )
    return np.dtype(np.uint8), f'{NO_DATA} taken to be uint8'
