"""On a GPU or TPU, where there is one: the step gives what it gives on the CPU."""

import dataclasses
import functools
import itertools

import jax
import numpy as np
import pytest
from helpers.runs import make_pairs

from pix2pix_jax import train_setup
from pix2pix_jax.config import default_config, validate
from pix2pix_jax.data import augment, discover, pipeline, preflight
from pix2pix_jax.distributed import feed
from pix2pix_jax.presets import apply_arg
from pix2pix_jax.train_state import training_key
from pix2pix_jax.train_step import train_step


@pytest.fixture(scope='module')
def accelerator():
    if jax.default_backend() == 'cpu':
        pytest.skip('needs a GPU or a TPU')
    return jax.devices()[0]


def losses_on(device, dtype):
    """Returns the losses of two steps: the second's depend on the first's gradients."""
    config = apply_arg(default_config(), 'tiny')
    config.dtype, config.batch_size = dtype, 2
    config = validate(config)
    rng = np.random.default_rng(0)
    shape = (2, *config.image_size, 3)
    batch = {k: rng.uniform(-1, 1, shape).astype(np.float32) for k in ('input', 'target')}
    batch['index'] = np.arange(2, dtype=np.int32)
    with jax.default_device(device), jax.default_matmul_precision('highest'):
        state, _ = train_setup.initial_state(config, [device], total_steps=2)
        step = jax.jit(functools.partial(train_step, config=config, axis_name=None))
        found = []
        for _ in range(2):
            state, metrics = step(state, batch, training_key(config))
            found.append({name: float(value) for name, value in metrics.items()})
    assert all(leaf.devices() == {device} for leaf in jax.tree.leaves(state))
    return found


@pytest.mark.parametrize(('dtype', 'tolerance'), [('float32', 1e-3), ('bfloat16', 5e-2)])
def test_two_steps_have_the_losses_of_the_cpu(accelerator, dtype, tolerance):
    expected = losses_on(jax.devices('cpu')[0], 'float32')
    for theirs, ours in zip(expected, losses_on(accelerator, dtype)):
        for name, value in theirs.items():
            assert ours[name] == pytest.approx(value, rel=tolerance, abs=tolerance), name


def test_pairs_on_the_device_make_the_batches_of_the_host(accelerator, tmp_path):
    """And every value of 8 and 16 bits becomes the host's float, bit for bit."""
    make_pairs(tmp_path, {'train': 7}, size=40)
    config = apply_arg(default_config(), 'tiny')
    config.dataset.path, config.batch_size = str(tmp_path), 4
    config = validate(config)
    source = preflight.decode_all(discover.open_splits(config), config)['train']
    batches = pipeline.train_batches(source, config)
    on_device = dataclasses.replace(source, on_device=True)
    made = [feed.batches(each, config, [accelerator], 0) for each in (source, on_device)]
    for batch, *found in itertools.islice(zip(batches, *made), 5):
        expected = pipeline.as_floats(batch, config)
        for each in found:
            for key, images in expected.items():
                np.testing.assert_array_equal(np.asarray(each[key]).view('u4'), images.view('u4'))
    for dtype in (np.uint8, np.uint16):
        values = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
        floats = np.asarray(jax.jit(feed.to_float)(values))
        np.testing.assert_array_equal(floats.view('u4'), augment.to_float(values).view('u4'))
