"""The training loop around an empty step: what everything beside the step takes.

The loop, the recorder and the input pipeline are the real ones, on decoded pairs in memory; the
step takes a state of as many arrays as the paper's and its batch, and changes its counter alone.
"""

import contextlib
import io
import itertools
import pathlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from unittest import mock

from bench.ours import prepared_jax
from bench.tasks import Prepared, Setting, config_of

WIDTH = 2  # of the networks: only the number of their arrays matters here
WARM_UP = 50  # steps before the clock starts
STEPS = 1000  # that are timed
RUNS = 3


class Clocks(NamedTuple):
    """What three clocks show, in seconds."""

    wall: float
    main: float  # of the main thread on a core
    process: float  # of all threads on the cores


def clocks() -> Clocks:
    """Returns what they show now; in the main thread."""
    return Clocks(time.perf_counter(), time.thread_time(), time.process_time())


def empty_step(
    state: Any, batch: dict, key: Any, frozen: Any, config: Any, axis_name: str | None
) -> tuple:
    """Returns the state with one step more, and metrics by the names of the real ones.

    Args:
      state: the run's.
      batch: of the input pipeline; a pixel of each image is read, so that all travel.
      key, frozen, config, axis_name: unused, as `train_step` takes them.
    """
    import jax.numpy as jnp

    generator = state.generator.replace(step=state.generator.step + 1)
    names = ('d_loss', 'd_real', 'd_fake', 'g_loss', 'g_gan', 'g_l1', 'g_l2')
    seen = sum(x.reshape(-1)[0].astype(jnp.float32) for x in batch.values())  # so that all travels
    return state.replace(generator=generator), dict.fromkeys(names, seen)


def run_loop(setting: Setting, again: bool = False) -> Clocks:
    """Takes the steps in a run's folder; returns the seconds that one of them took.

    `again` gives the step one batch again and again, without the input pipeline.
    """
    from pix2pix_jax import train, train_setup
    from pix2pix_jax.methods import METHODS

    config = config_of(setting, cache='on')
    config.generator.width = config.discriminator.width = WIDTH
    config.eval_every = config.sample_every = 0
    config.checkpoint.every_steps = config.checkpoint.every_minutes = 0
    config.num_steps = WARM_UP + STEPS + 1
    marks = []
    batches_of = train.feed.batches

    def marked(*args: Any) -> Iterator[dict]:
        batches = batches_of(*args)
        if again:
            batches = itertools.repeat(next(batches))
        for number, batch in zip(itertools.count(1), batches):
            if number in (WARM_UP, WARM_UP + STEPS):
                marks.append(clocks())
            yield batch

    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(io.StringIO()),
        mock.patch.object(train.feed, 'batches', marked),
        mock.patch.dict(METHODS, gan=METHODS['gan']._replace(step=empty_step)),
    ):
        train.train(train_setup.resolve(config, pathlib.Path(folder) / 'run'))
    begin, end = marks
    return Clocks(*((b - a) / STEPS for a, b in zip(begin, end)))


def our_loop(setting: Setting) -> Prepared:
    """Runs the loop a few times; the figures are medians, and there is nothing to call."""
    prepared_jax(setting)
    figures = {}
    for prefix, again in (('loop', False), ('loop_alone', True)):
        runs = [run_loop(setting, again) for _ in range(RUNS)]
        wall, main, process = (statistics.median(taken) for taken in zip(*runs))
        figures |= {f'{prefix}_steps_per_s': 1 / wall, f'{prefix}_main_ms': main * 1e3}
        figures[f'{prefix}_process_ms'] = process * 1e3
    return lambda: 0.0, figures


LOOP = {'loop': our_loop}
