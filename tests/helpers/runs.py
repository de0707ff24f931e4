"""Tiny data sets and configs for tests of whole runs, and what they leave or refuse."""

import json
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import Event

from pix2pix_jax.config import IMPLIED, Config, default_config, validate
from pix2pix_jax.errors import UserError
from pix2pix_jax.inference import loaded_run
from pix2pix_jax.models.factory import create_models, generator_inputs
from pix2pix_jax.optimizers import create_optimizers
from pix2pix_jax.presets import apply_arg
from pix2pix_jax.reports import progress
from pix2pix_jax.train_state import GanState, create_state
from pix2pix_jax.workdir import data_json, run_json
from pix2pix_jax.workdir.checkpoints import Checkpoints
from pix2pix_jax.workdir.config_json import to_json

# Of a command on the networks of `tiny_config`.
SMALL = ('--config.generator.depth=2', '--config.discriminator.layers=1')
# What else must hold for any value of a field but the default.
CONTEXT = {
    'dataset.windows': {'dataset.preprocess': 'crop'},
    'dataset.hold_out': {'dataset.preprocess': 'crop'},
    'dataset.task_amount': {'dataset.task': 'super_resolution'},
    'grad_accumulation': {'batch_size': 2**20},
    'method': IMPLIED['flow'],
    'test.steps': IMPLIED['flow'] | {'method': 'flow'},
    'loss.alexnet_file': {'loss.lpips_weight': 1.0},
    'loss.lpips_file': {'loss.lpips_weight': 1.0},
    'loss.class_weight': {'dataset.target_classes': 3},
    'optimizer.rate_devices': {'optimizer.scale_with_devices': True},
}


def changed(**fields: object) -> Config:
    """Returns the default config with these fields, by whole names; a `__` is a dot."""
    config = default_config()
    config.update_from_flattened_dict({k.replace('__', '.'): v for k, v in fields.items()})
    return config


def make_pairs(folder: pathlib.Path, counts: dict[str, int], size: int = 32) -> pathlib.Path:
    """Writes side-by-side pairs: coloured boxes, and the same boxes in other colours."""
    for number, (split, count) in enumerate(counts.items()):
        (folder / split).mkdir(parents=True)
        for i in range(count):
            rng = np.random.default_rng((number, i))
            labels = np.zeros((size, size), np.uint8)
            top, left = rng.integers(0, size // 2, 2)
            labels[top : top + size // 2, left : left + size // 2] = 1
            colours = np.array(
                [[[0, 0, 255], [255, 0, 0]], [[200, 180, 90], [40, 90, 60]]], np.uint8
            )
            pair = np.concatenate([colours[0][labels], colours[1][labels]], axis=1)
            Image.fromarray(pair).save(folder / split / f'{i}.png')
    return folder


def tiny_config(path: pathlib.Path, **fields) -> Config:
    """Returns a config of six steps in which everything happens at least twice.

    Its networks are smaller than those of `tiny`: tracing them takes most of such a run.
    """
    config = apply_arg(default_config(), 'tiny')
    config.generator.depth, config.discriminator.layers = 2, 1
    config.dataset.path = str(path)
    config.num_steps = 6
    config.update_from_flattened_dict({k.replace('__', '.'): v for k, v in fields.items()})
    return config


def untrained_run(workdir: pathlib.Path, config: Config, step: int = 0) -> GanState:
    """Writes the folder of a run at `step` whose weights are the first ones; returns its state."""
    config = validate(config)
    state = create_state(
        config, create_models(config, 'cpu'), create_optimizers(config.optimizer, 1, 1)
    )
    state = jax.tree.map(lambda x: jnp.int32(step) if x.dtype == jnp.int32 else x, state)
    checkpoints = Checkpoints(workdir, writer=True)
    checkpoints.save('last', step, state, config)
    checkpoints.close()
    data_json.write_known(workdir, {}, 0)
    run_json.record_start(workdir, '', jax.local_devices()[:1], step, {})
    (workdir / 'config.json').write_text(to_json(config))
    return state


def error_of(call, *args):
    """The message of the UserError, which must be one line and end with status 2."""
    with pytest.raises(UserError) as raised:
        call(*args)
    message = str(raised.value)
    assert message and '\n' not in message and raised.value.status == 2
    return message


def lines(workdir):
    return [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]


def metrics(workdir: pathlib.Path) -> list[dict]:
    """Returns the rows of metrics.jsonl without what depends on the clock."""
    return [{k: v for k, v in row.items() if not k.startswith('perf/')} for row in lines(workdir)]


def events(workdir):
    """The (tag, step) of every value in the one event file; records: length, crc, data, crc."""
    (path,) = workdir.glob('events.out.tfevents.*')
    data, found = path.read_bytes(), []
    while data:
        size = int.from_bytes(data[:8], 'little')
        event = Event.FromString(data[12 : 12 + size])
        found += [(value.tag, event.step) for value in event.summary.value]
        data = data[16 + size :]
    return sorted(found)


def samples(workdir: pathlib.Path) -> dict[str, bytes]:
    """Returns the sample grids by name."""
    return {path.name: path.read_bytes() for path in (workdir / 'samples').iterdir()}


def stop_at(step: int, signal_number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends this process a signal when the loop comes to `step`."""

    def send(self, current):
        if current == step:
            os.kill(os.getpid(), signal_number)

    monkeypatch.setattr(progress.Console, 'step', send)


def assert_equal_states(a: GanState, b: GanState) -> None:
    """Bit for bit."""
    a, b = (dict(jax.tree.leaves_with_path(state)) for state in (a, b))
    assert a.keys() == b.keys()
    for path, leaf in a.items():
        np.testing.assert_array_equal(leaf, b[path], err_msg=jax.tree_util.keystr(path))


def random_run(**fields: object) -> loaded_run.Run:
    """Returns a run, in no folder, whose every variable shows in the output."""
    config = default_config()
    fields = {k.replace('__', '.'): v for k, v in fields.items()}
    small = {'image_size': (16, 16), 'generator.width': 4, 'generator.depth': 2, 'loss.gan': 'none'}
    config.update_from_flattened_dict(small | fields)
    config = validate(config)
    init, inputs = create_models(config, 'any').generator.init, generator_inputs(config)
    shapes = jax.eval_shape(lambda: init(jax.random.key(0), **inputs, train=False, noise=False))
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        noise = rng.normal(size=leaf.shape).astype(np.float32)
        fan_in = leaf.shape[0]
        if leaf.ndim == 4:
            fan_in = np.prod(leaf.shape[:2]) * max(leaf.shape[-2:])
        kernel = noise / np.sqrt(fan_in)
        scaled = {'kernel': kernel, 'scale': 1 + 0.1 * noise, 'var': 1 + np.abs(noise)}
        return scaled.get(path[-1].key, 0.1 * noise)

    variables = jax.tree_util.tree_map_with_path(draw, shapes)
    return loaded_run.Run(config, 7, 'last', variables)
