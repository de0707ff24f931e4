"""The state in layouts that are not the plain ones: the same numbers, one compilation of each.

On a CPU XLA chooses the plain order, so the tests ask for another.
"""

import functools
import signal

import jax
import numpy as np
import pytest
from helpers.device_runs import STEPS, batches, compilations, config_of, initial, train
from helpers.runs import assert_equal_states, make_pairs, metrics, samples, stop_at, tiny_config
from jax.experimental import layout

from pix2pix_jax.distributed import layouts, parallel
from pix2pix_jax.errors import Stopped
from pix2pix_jax.train import train_and_evaluate
from pix2pix_jax.train_state import training_key
from pix2pix_jax.train_step import train_step
from pix2pix_jax.workdir.checkpoints import Checkpoints

pytestmark = pytest.mark.skipif(not layouts.available(), reason='this jax has no such API')
DEVICES = jax.local_devices()[:1]
PLACE = jax.sharding.SingleDeviceSharding(DEVICES[0])


def as_cudnn_has_them(array, place):
    """Kernels (kh, kw, in, out) lie as (out, in, kh, kw), the rest in plain order."""
    order = (3, 2, 0, 1) if array.ndim == 4 else tuple(range(array.ndim))
    return layout.Format(layout.Layout(order, tiling=()), place)


@pytest.fixture
def turned(monkeypatch):
    """Runs on a CPU have their kernels in another order."""
    monkeypatch.setattr(layouts, 'request_auto_layout', as_cudnn_has_them)
    monkeypatch.setattr(layouts, 'PLATFORMS', ('cpu',))


def orders(tree):
    return {x.format.layout.major_to_minor for x in jax.tree.leaves(tree) if x.ndim == 4}


def test_the_same_twenty_steps_as_in_plain_order(turned):
    plain, other = (train(DEVICES, STEPS, choose_layouts=choose) for choose in (False, True))
    for ours, theirs in zip(other['metrics'], plain['metrics'], strict=True):
        for name, value in theirs.items():  # sums may be in another order
            np.testing.assert_allclose(ours[name], value, rtol=1e-4, err_msg=name)
    assert other['donated'] and plain['donated']
    assert (other['compiled'], plain['compiled']) == (2, 1)  # the step; what moves the first state


def test_what_xla_chooses_on_a_cpu_gives_the_same_bits():
    plain, chosen = (train(DEVICES, STEPS, choose_layouts=choose) for choose in (False, True))
    jax.tree.map(np.testing.assert_array_equal, chosen['all'], plain['all'])


def test_a_step_gives_its_state_as_it_takes_it(turned):
    config = config_of()
    step = parallel.compile_step(train_step, config, DEVICES)
    state = parallel.replicate(initial((), True, None), DEVICES)
    assert orders(state) == {(0, 1, 2, 3)}
    for batch, _ in zip(batches(config), range(2)):
        state, _ = step(state, batch, training_key(config))
        assert orders(state) == {(3, 2, 0, 1)}


def test_saved_and_restored_it_is_equal_bit_for_bit_and_plain(turned, tmp_path):
    rng = np.random.default_rng(0)
    values = {'kernel': rng.normal(size=(4, 4, 8, 16)).astype(np.float32), 'step': np.int32(3)}
    plain = jax.device_put(values, DEVICES[0])
    state = layouts.move_to_layouts(
        plain, {k: as_cudnn_has_them(x, PLACE) for k, x in plain.items()}
    )
    assert plain['kernel'].is_deleted() and not plain['step'].is_deleted()
    assert orders(state) == {(3, 2, 0, 1)}
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save('last', 3, state, config_of())
    target = {k: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=PLACE) for k, x in values.items()}
    restored = checkpoints.restore('last', 3, target)
    assert orders(restored) == {(0, 1, 2, 3)}
    jax.tree.map(np.testing.assert_array_equal, restored, values)


def test_a_whole_run_stopped_and_resumed_compiles_nothing_twice(turned, tmp_path, monkeypatch):
    """Evaluation, samples and the check for finite values see the state in one layout alone."""
    pairs = make_pairs(tmp_path / 'pairs', {'train': 4, 'val': 2, 'test': 2})
    config = tiny_config(pairs)
    parallel.compile_step(train_step, config, DEVICES)  # asks once what XLA knows
    jax.clear_caches()
    with compilations() as ours:
        state = train_and_evaluate(config, tmp_path / 'turned')
    assert orders(state) == {(3, 2, 0, 1)}
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_at(3, signal.SIGTERM, patch)
        train_and_evaluate(config, tmp_path / 'parts')
    resumed = train_and_evaluate(config, tmp_path / 'parts')
    assert orders(resumed) == {(3, 2, 0, 1)}

    monkeypatch.setattr(layouts, 'PLATFORMS', ())
    jax.clear_caches()
    with compilations() as plain:
        expected = train_and_evaluate(config, tmp_path / 'plain')
    assert orders(expected) == {(0, 1, 2, 3)}
    assert len(ours) == len(plain) + 1, (ours, plain)  # what moves the first state
    assert_equal_states(resumed, state)
    assert metrics(tmp_path / 'parts') == metrics(tmp_path / 'turned')
    assert samples(tmp_path / 'parts') == samples(tmp_path / 'turned')
    for ours, theirs in zip(metrics(tmp_path / 'turned'), metrics(tmp_path / 'plain'), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_plain_order_for_pmap_for_debug_nans_and_without_the_api(turned, monkeypatch):
    choose = functools.partial(parallel.compile_step, train_step)
    assert isinstance(choose(config_of(), DEVICES), layouts.StepInLayouts)
    others = [choose(config_of(), DEVICES * 2), choose(config_of(debug_nans=True), DEVICES)]
    monkeypatch.setattr(layouts, 'available', lambda: False)
    others.append(choose(config_of(), DEVICES, choose_layouts=True))
    assert not any(isinstance(step, layouts.StepInLayouts) for step in others)
