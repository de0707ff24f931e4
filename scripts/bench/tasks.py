"""What scripts/benchmark.py times, as functions by task: this project's, and the peer's in PyTorch.

A contestant's tasks are a dict of functions of the Setting, by the name of the task. Each prepares
and returns (call, figures): `call()` does the task once and returns the seconds that it took, a
pair's where the task is the pipeline; `figures` are what preparing has measured.
"""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

Prepared = tuple[Callable[[], float], dict[str, float]]
DRAIN = 16  # batches taken before a measurement: those made while the other contestant was timed


class Setting(NamedTuple):
    """What is timed; `folder` holds train/*.jpg, A|B side by side, of `pairs` pairs."""

    size: int
    batch: int
    width: int
    dtype: str
    folder: str
    pairs: int


def cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()


def config_of(setting: Setting, **dataset: Any):
    """Returns the config of configs/default.py at the setting's size."""
    from pix2pix_jax.config import default_config, validate

    config = default_config()
    config.image_size = (setting.size, setting.size)
    config.batch_size, config.dtype = setting.batch, setting.dtype
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


def timed(call: Callable[[], Any]) -> Callable[[], float]:
    """Returns `call` as a function that returns its seconds."""

    def seconds() -> float:
        begin = time.perf_counter()
        call()
        return time.perf_counter() - begin

    return seconds


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


# ---------------------------------------------------------------- this project


def ours():
    """Returns jax, the process set up as the commands do, but without the compile cache."""
    from pix2pix_jax.runtime import keep_freed_memory

    keep_freed_memory()
    import jax

    return jax


def our_step(setting: Setting) -> Prepared:
    """Prepares the training step as pix2pix_jax.train makes it."""
    jax = ours()
    from pix2pix_jax import train_setup
    from pix2pix_jax.distributed import parallel
    from pix2pix_jax.train_state import training_key
    from pix2pix_jax.train_step import train_step

    config, devices = config_of(setting), jax.local_devices()[:1]
    state, _ = train_setup.initial_state(config, devices, total_steps=1000)
    images = draw_batch(setting)
    box, key = [parallel.replicate(state, devices)], training_key(config)
    del state  # it is donated to the step
    step_fn = parallel.compile_step(train_step, config, devices)
    begin = time.perf_counter()
    step_fn = step_fn.lower(box[0], images, key).compile()
    seconds = time.perf_counter() - begin

    def step():
        box[0], metrics = step_fn(box[0], images, key)
        jax.block_until_ready((box[0], metrics))

    return timed(step), {'compile_s': seconds}


def our_state(config, jax):
    """Returns freshly drawn weights."""
    from pix2pix_jax import train_setup

    return train_setup.initial_state(config, jax.local_devices()[:1], total_steps=1000)[0]


def our_infer(setting: Setting) -> Prepared:
    """Prepares the translation of a batch, with freshly drawn weights."""
    jax = ours()
    from pix2pix_jax.inference.generator import Generator

    config, images = config_of(setting), draw_batch(setting)['input']
    variables = our_state(config, jax).generator_variables()
    translate = Generator(config, variables, batch=setting.batch)
    return timed(lambda: translate(images)), {}


def _our_pairs(setting: Setting, **dataset: Any) -> Prepared:
    ours()
    from pix2pix_jax.data import discover, pipeline, preflight

    config = config_of(setting, **dataset)
    source = discover.open_splits(config)['train']
    if dataset['cache'] == 'on':
        source = preflight.decode_all(source, config)
    return pairs_of(pipeline.train_batches(source, config), setting)


def our_pipeline(setting: Setting) -> Prepared:
    """Prepares the input pipeline from files, with default settings: threads."""
    return _our_pairs(setting, cache='off')


def our_pipeline_workers(setting: Setting) -> Prepared:
    """Prepares the input pipeline from files, with a worker process for each core."""
    return _our_pairs(setting, cache='off', workers=cores())


def our_pipeline_cached(setting: Setting) -> Prepared:
    """Prepares the input pipeline from decoded pairs in memory."""
    return _our_pairs(setting, cache='on')


OURS = {
    'step': our_step,
    'infer': our_infer,
    'pipeline': our_pipeline,
    'pipeline_workers': our_pipeline_workers,
    'pipeline_cached': our_pipeline_cached,
}

# ---------------------------------------------------------------- the peer


def _trainer(setting: Setting):
    import torch

    from bench.torch_pix2pix import Trainer

    torch.manual_seed(0)
    torch.set_num_threads(cores())
    x, target = torch.rand(2, setting.batch, 3, setting.size, setting.size) * 2 - 1
    trainer = Trainer(setting.size.bit_length() - 1, setting.width, getattr(torch, setting.dtype))
    return trainer, x, target


def their_step(setting: Setting) -> Prepared:
    """Prepares the peer's training step, on as many threads as there are cores."""
    trainer, x, target = _trainer(setting)
    return timed(lambda: trainer.step(x, target)), {}


def their_infer(setting: Setting) -> Prepared:
    """Prepares the peer's translation of a batch."""
    trainer, x, _ = _trainer(setting)
    return timed(lambda: trainer.infer(x)), {}


def _their_pairs(setting: Setting, workers: int) -> Prepared:
    import torch

    from bench.torch_pix2pix import batches

    torch.set_num_threads(cores())
    folder = os.path.join(setting.folder, 'train')
    return pairs_of(batches(folder, setting.size, setting.batch, workers), setting)


def their_pipeline(setting: Setting) -> Prepared:
    """Prepares the DataLoader without worker processes."""
    return _their_pairs(setting, 0)


def their_pipeline_workers(setting: Setting) -> Prepared:
    """Prepares the DataLoader with a worker process for each core."""
    return _their_pairs(setting, cores())


THEIRS = {
    'step': their_step,
    'infer': their_infer,
    'pipeline': their_pipeline,
    'pipeline_workers': their_pipeline_workers,
}
