"""What scripts/benchmark.py times: the setting, and what ours.py and theirs.py share.

A contestant's tasks are a dict of functions of the Setting, by the name of the task. Each prepares
and returns (call, figures): `call()` does the task and returns the seconds that it took once, a
pair's where the task is the pipeline; `figures` are what preparing has measured. Some
return figures alone.
"""

import itertools
import math
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

Prepared = tuple[Callable[[], float], dict[str, float]]
DRAIN = 16  # batches taken before a measurement: those made while the other contestant was timed
# Steps from one wait for the device to the next. A CPU's results are there when a call returns.
TOGETHER = {'cpu': 1, 'gpu': 20}
DTYPES = {'cpu': ('float32', 'bfloat16'), 'gpu': ('float32', 'tf32', 'bfloat16')}


class Setting(NamedTuple):
    """What is timed; `folder` holds train/*.jpg, A|B side by side, of `pairs` pairs.

    'tf32' is float32 whose products may be rounded, as a GPU's libraries do it by default; with
    'float32' they may not.
    """

    size: int
    batch: int
    width: int
    dtype: str  # 'float32' | 'tf32' | 'bfloat16'
    folder: str
    pairs: int
    device: str = 'cpu'  # or 'gpu'
    variant: str = ''  # a name of variants.OURS, '': as in training; or of PEERS, '': eager
    cached: bool = False  # whether compiled programs are kept and found, as the commands do it


def cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()


def config_of(setting: Setting, **dataset: Any):
    """Returns the config of configs/default.py at the setting's size."""
    from pix2pix_jax.config import default_config, validate

    config = default_config()
    config.image_size = (setting.size, setting.size)
    config.batch_size = setting.batch
    config.dtype = setting.dtype.replace('tf32', 'float32')
    config.generator.width = config.discriminator.width = setting.width
    config.dataset.path = setting.folder
    config.dataset.update(dataset)
    return validate(config)


def draw_batch(setting: Setting) -> dict:
    """Returns a batch of noise, float32 (B,H,W,3) in [-1,1], numbered."""
    import numpy as np

    shape, draw = (setting.batch, setting.size, setting.size, 3), np.random.default_rng(0)
    images = {k: draw.uniform(-1, 1, shape).astype(np.float32) for k in ('input', 'target')}
    return {**images, 'index': np.arange(setting.batch, dtype=np.int32)}


def timed(
    call: Callable[[], Any], wait: Callable[[Any], Any] = lambda result: None, together: int = 1
) -> Callable[[], float]:
    """Returns `call`, `together` times and then `wait` for the last result, as its mean seconds."""

    def seconds() -> float:
        begin = time.perf_counter()
        for _ in range(together):
            result = call()
        wait(result)
        return (time.perf_counter() - begin) / together

    return seconds


def errors(found: list, expected: list) -> dict[str, float]:
    """Returns the distances of the first array, an image, and of the others, gradients, in float64.

    Each is in parts of the length of what is expected.
    """

    def distance(part: slice) -> float:
        pairs = list(zip(found[part], expected[part]))
        squares = sum(float(((a - b) ** 2).sum()) for a, b in pairs)
        return math.sqrt(squares / sum(float((b**2).sum()) for _, b in pairs))

    return {'error_output': distance(slice(1)), 'error_gradients': distance(slice(1, None))}


def pairs_of(batches: Iterator, setting: Setting) -> Prepared:
    """Returns a call that takes about `pairs` pairs and returns its own seconds a pair."""
    count = -(-setting.pairs // setting.batch)

    def take() -> float:
        for _ in itertools.islice(batches, DRAIN):
            pass
        begin = time.perf_counter()
        for _ in itertools.islice(batches, count):
            pass
        return (time.perf_counter() - begin) / (count * setting.batch)

    return take, {}
