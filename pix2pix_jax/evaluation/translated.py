"""The pairs of a split, translated and measured on the device batch by batch."""

import collections
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from pix2pix_jax.config import Config
from pix2pix_jax.data import pipeline
from pix2pix_jax.data.formats import encode
from pix2pix_jax.data.prefetch import Batch
from pix2pix_jax.data.sources import Source
from pix2pix_jax.evaluation import device_metrics

KINDS = ('input', 'output', 'target')
MAX_IMAGES, MAX_PIXELS = 16, 4 * 256 * 256  # in a batch
Images = Mapping[str, np.ndarray]
Examples = list[tuple[str, Mapping[str, Any]]]  # names and what is known of each pair


class Example(Mapping[str, Any]):
    """The values 'l1', 'psnr' and 'ssim' of a pair, and its images.

    'input', 'output' and 'target' are float32 (H,W,C) on [-1, 1]; the output is as a user gets it.
    Of class targets there is also 'confusion', int (C,C+1) as `labels.confusion` has it, and the
    images are in the classes' colours. The batch's images are fetched from the device when the
    first of them is asked for. Targets in units of their own have 'mae' and 'rmse' in these. Where
    pixels may be masked there are 'valid' (H,W,1), 1 where the target counts, and 'valid_pixels',
    how many these are.
    """

    def __init__(self, values: Mapping[str, Any], images: Callable[[], Images], index: int):
        """Takes the values, what returns the batch's images (N,H,W,C), and the pair's number."""
        self._values, self._images, self._index = values, images, index
        self._kinds = (*KINDS, *(['valid'] if 'valid_pixels' in values else []))

    def __getitem__(self, key: str) -> Any:
        """Returns a value or an image; raises KeyError."""
        if key in self._kinds:
            return self._images()[key][self._index]
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        """Yields the names."""
        return iter((*self._values, *self._kinds))

    def __len__(self) -> int:
        """Returns how many names there are."""
        return len(self._values) + len(self._kinds)


def about_steps(config: Config) -> dict[str, int]:
    """Returns {'steps': those of a flow}, for the report of what it translated; else {}."""
    return {'steps': config.test.steps} if config.method == 'flow' else {}


def batch_size(config: Config) -> int:
    """Returns how many images are translated and measured together.

    Four of 256x256, more smaller ones up to 16, one from 512x512 on. Without a backward pass, that
    many take less memory than a training step of one image.
    """
    height, width = config.image_size
    return max(1, min(MAX_IMAGES, MAX_PIXELS // (height * width)))


def batches(
    translate: Callable[[np.ndarray], jax.Array | np.ndarray], source: Source, config: Config
) -> Iterator[Examples]:
    """Yields name and `Example` of each pair of `source`, in order, in batches.

    `translate` maps float32 (N,H,W,Ci) to (N,H,W,Co), and may leave it on the device
    (`Generator.on_device`); N is always `batch_size(config)`. While the caller has a batch, the
    device works on the next one. Raises DataError for a pair that cannot be read.
    """
    started: collections.deque[Callable[[], Examples]] = collections.deque()
    for read in pipeline.eval_batches(source, config, batch_size(config)):
        started.append(_start(translate, source, read, batch_size(config)))
        if len(started) > 1:
            yield started.popleft()()
    for finish in started:
        yield finish()


def _start(
    translate: Callable[[np.ndarray], jax.Array | np.ndarray],
    source: Source,
    read: tuple[list[int], Batch, list[np.dtype]],
    size: int,
) -> Callable[[], Examples]:
    """Gives what was read to the device, filled up to `size`; returns what waits for the values."""
    indices, batch, types = read
    value_range = source.specs[1].ranges[0] if source.specs[1].ranges else None
    units = [value_range is not None or one == source.target_type for one in types]
    if value_range:  # they were scaled when they were read, and are written in a type that holds it
        channels = source.specs[1].channels
        written = encode.file_type('.npy', source.target_type, channels, value_range)[1]
        types = [written] * len(types)
    if source.specs[1].classes:  # nothing is rounded: the file that a user gets has the classes
        types = [np.dtype(np.float32)] * len(types)
    filled = np.minimum(np.arange(size), len(indices) - 1)
    inputs, targets = (
        batch[kind] if len(indices) == size else batch[kind][filled] for kind in ('input', 'target')
    )
    files = device_metrics.levels([types[i] for i in filled], value_range, source.specs[1].nodata)
    valid = batch['valid'][filled] if 'valid' in batch else None
    outputs, measured = device_metrics.measure(translate(inputs), targets, files, valid)
    matrices = device_metrics.confusion(outputs, targets) if source.specs[1].classes else None

    @functools.cache
    def images() -> Images:
        kinds = zip(KINDS, (batch['input'], np.asarray(outputs), batch['target']))
        shown = {k: source.shown(x, 'input' if k == 'input' else 'target') for k, x in kinds}
        return shown | ({'valid': batch['valid']} if 'valid' in batch else {})

    def finish() -> Examples:
        columns: dict[str, list] = dict(
            device_metrics.values(measured, files if source.has_units else None)
        )
        for name in {'mae', 'rmse'} & columns.keys():  # shades of 8 and of 16 bits do not add up
            columns[name] = [v if ok else math.nan for v, ok in zip(columns[name], units)]
        if valid is not None:
            columns['valid_pixels'] = valid.sum((1, 2, 3)).tolist()
        if matrices is not None:
            columns['confusion'] = list(np.asarray(matrices))
        rows = [dict(zip(columns, row)) for row in zip(*columns.values())]
        return [(source.names[i], Example(rows[k], images, k)) for k, i in enumerate(indices)]

    return finish
