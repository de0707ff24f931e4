"""Measures what a trained run costs: the memory of its compiled step, and the time of an image.

python scripts/ablation/measure_cost.py --workdir=RUN --output=FILE.json [flags of evaluate]
"""

import json
import time

import jax
import numpy as np
from absl import flags

from pix2pix_jax import evaluate
from pix2pix_jax.config import Config
from pix2pix_jax.dry_run import memory_of_step
from pix2pix_jax.errors import run_command
from pix2pix_jax.evaluation.runs import RunImages, config_of
from pix2pix_jax.inference import generator, loaded_run
from pix2pix_jax.runtime import prepare_process
from pix2pix_jax.storage import atomic
from pix2pix_jax.train_setup import resolve

IMAGES = 30  # that are timed, after one that compiles


def main(values: flags.FlagValues) -> int:
    """Writes {'image_ms', 'step_mib'}; returns the exit status."""
    prepare_process()
    given = {name: values[name].value for name in RunImages._fields}
    images = RunImages(**{name: value for name, value in given.items() if value is not None})
    run = loaded_run.load_run(values.workdir, images.checkpoint, images.ema)
    found = {'image_ms': image_ms(config_of(run.config, images), run)}
    setup = resolve(run.config, values.workdir)
    sizes = memory_of_step(setup, setup.initial_state()[0])
    if sizes:
        found['step_mib'] = sum(sizes.values()) / 2**20
    atomic.write_text(values.output, json.dumps(found) + '\n')
    return 0


def image_ms(config: Config, run: loaded_run.Run) -> float:
    """Returns the time in which one image is translated and fetched, in milliseconds.

    It is the shortest of all: on a machine that does other work the median was three times that.
    """
    translate = generator.Generator(config, run.variables).on_device
    shape = (1, *config.image_size, config.generator.input_channels)
    x = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    times = []
    for _ in range(1 + IMAGES):
        begin = time.perf_counter()
        jax.device_get(translate(x))
        times.append(time.perf_counter() - begin)
    return 1000 * min(times[1:])


if __name__ == '__main__':
    run_command(main, evaluate.define_flags)
