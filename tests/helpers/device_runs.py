"""Trainings of a few steps on given devices, and how far their results are apart."""

import contextlib
import functools
from collections.abc import Iterator

import jax
import numpy as np
import optax

from helpers.lpips_weights import drawn
from pix2pix_jax.config import default_config, validate
from pix2pix_jax.distributed import parallel
from pix2pix_jax.methods import METHODS
from pix2pix_jax.models.factory import create_models
from pix2pix_jax.optimizers import Optimizers, create_optimizers
from pix2pix_jax.train_state import create_state, training_key

STEPS = 20
SGD = Optimizers(optax.sgd(0.1), optax.sgd(0.1), optax.constant_schedule(0.1))


def config_of(**fields):
    config = default_config()
    config.image_size, config.batch_size = (8, 8), 4
    config.generator.depth, config.generator.width, config.generator.dropout = 2, 2, 0.0
    config.discriminator.layers, config.discriminator.width = 1, 2
    config.generator.norm = config.discriminator.norm = 'none'
    config.init.scale = 0.3  # gradients that are not all rounding
    config.update_from_flattened_dict(fields)
    return validate(config)


def batches(config):
    """Batches of noise, with class targets and masked pixels where the config has such.

    Masked are none to all pixels of an image, so that neighbours and devices have other shares.
    """
    rng, classes = np.random.default_rng(0), config.dataset.target_classes
    shape = (config.batch_size * config.optimizer.d_steps, *config.image_size, 3)
    while True:
        images = {k: rng.uniform(-1, 1, shape).astype(np.float32) for k in ('input', 'target')}
        if classes:
            true = rng.integers(0, classes, shape[:3])
            images['target'] = (2 * np.eye(classes, dtype=np.float32) - 1)[true]
        if config.dataset.nodata or classes:
            share = np.linspace(0, 1, shape[0])[:, None, None, None]
            images['valid'] = (rng.random((*shape[:3], 1)) < share).astype(np.float32)
        yield {**images, 'index': np.arange(len(images['input']), dtype=np.int32)}


@functools.cache
def initial(config_json, adam, axis_name):
    config = config_of(**dict(config_json))
    models = create_models(config, 'gpu', axis_name)
    optimizers = create_optimizers(config.optimizer, STEPS, 1) if adam else SGD
    return jax.device_get(jax.jit(lambda: create_state(config, models, optimizers))())


def plain(state):
    """The state as numpy arrays alone, which travel between processes."""
    g, d = state.generator, state.discriminator
    nets = {
        name: (net.params, net.opt_state, net.batch_stats)
        for name, net in (('generator', g), ('discriminator', d))
        if net is not None
    }
    return jax.tree.map(np.asarray, nets)


@contextlib.contextmanager
def compilations() -> Iterator[list[str]]:
    """Gives a list to which the name is added of each program that XLA gets to compile.

    Those that come out of the compile cache count, too.
    """
    found, event = [], '/jax/core/compile/backend_compile_duration'
    listening = [True]  # listeners have no public way out

    def listen(name: str, seconds: float, fun_name: str = '', **_: object) -> None:
        if name == event and listening:
            found.append(fun_name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield found
    finally:
        listening.clear()


def train(devices, steps, adam=True, rows=slice(None), choose_layouts=None, **fields):
    """Trains on the devices: the first step's state, every step's metrics, what was donated.

    And how many programs were compiled in the first two steps.
    """
    config = config_of(**fields)
    axis_name = parallel.axis_of(devices) if config.sync_batch_norm else None
    state = parallel.replicate(initial(tuple(fields.items()), adam, axis_name), devices)
    frozen = parallel.replicate(drawn(), devices) if config.loss.lpips_weight else None
    step = parallel.compile_step(METHODS[config.method].step, config, devices, choose_layouts)
    key = training_key(config)
    result = {'metrics': [], 'compiled': 0}
    for i, batch in zip(range(steps), batches(config)):
        old, batch = state, {k: v[rows] for k, v in batch.items()}
        batch = parallel.shard(batch, devices, config.optimizer.d_steps)
        with compilations() as compiled:
            state, metrics = step(state, batch, key, frozen)
        result['compiled'] += len(compiled) if i < 2 else 0
        result['metrics'].append(jax.device_get(parallel.unreplicate(metrics, devices)))
        if i == 0:
            result['donated'] = all(leaf.is_deleted() for leaf in jax.tree.leaves(old))
            result['first'] = plain(parallel.unreplicate(state, devices))
            result['all'] = plain(state)
    result['step'] = int(parallel.unreplicate(state, devices).step)
    return result


def relative(a, b):
    """The largest difference of a tensor's entries, by the tensor's largest entry."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(np.abs(a - b).max() / np.abs(b).max() for a, b in pairs)
