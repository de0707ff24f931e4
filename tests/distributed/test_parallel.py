"""One device and two: the rules of choosing them, and the same training on both.

The runs on two forced host devices are this file itself, started as a program by a fixture.
"""

import os
import pickle
import subprocess
import sys
import types

import jax
import numpy as np
import pytest
from helpers.device_runs import STEPS, compilations, relative, train

from pix2pix_jax.distributed import parallel
from pix2pix_jax.errors import UserError
from pix2pix_jax.runtime import use_compile_cache

# ---------------------------------------------------------------- the runs, in a process of theirs


def main(path):
    use_compile_cache()
    one, two = jax.local_devices()[:1], jax.local_devices()
    norm = {'generator.norm': 'batch', 'discriminator.norm': 'batch'}
    norm |= {'update': 'simultaneous', 'loss.l1_weight': 1.0}
    halves = [slice(0, 2), slice(2, 4)]
    results = {
        'devices': [len(parallel.choose_devices(n, b)) for n, b in ((0, 4), (0, 3), (1, 4))],
        'placed': placed(two),
        'one': train(one, STEPS),
        'two': train(two, STEPS),
        'norm': train(two, 1, adam=False, **norm),
        'halves': [train(one, 1, adam=False, rows=rows, **norm) for rows in halves],
        'sync': [train(d, 1, adam=False, **norm, sync_batch_norm=True) for d in (one, two)],
        'parts': [
            train(d, 1, adam=False, **{'grad_accumulation': 2, 'optimizer.d_steps': 2})
            for d in (one, two)
        ],
        'synced parts': [
            train(d, 1, adam=False, rows=rows, **norm, grad_accumulation=2, sync_batch_norm=True)
            for d, rows in ((one, [0, 2, 1, 3]), (two, slice(None)))
        ],
        'lpips': [
            train(d, 1, adam=False, **{'loss.lpips_weight': 10.0, 'image_size': (32, 32)})
            for d in (one, two)
        ],
        'flow': [
            train(d, 1, adam=False, method='flow', **{'generator.norm': 'instance'})
            for d in (one, two)
        ],
        'd_steps': [train(d, 1, adam=False, **{'optimizer.d_steps': 2}) for d in (one, two)],
    }
    with open(path, 'wb') as file:
        pickle.dump(results, file)


def placed(devices):
    """What became of a state on the first device, and how often something was compiled for it."""
    state = {'a': jax.numpy.arange(6.0).reshape(2, 3), 'step': jax.numpy.int32(4)}
    expected = jax.tree.map(np.array, state)
    with compilations() as compiled:
        everywhere = parallel.replicate(state, devices)
    equal = [
        np.array_equal(shard.data[0], expected[name])
        for name, array in everywhere.items()
        for shard in array.addressable_shards
    ]
    return {
        'equal': equal == [True] * 2 * len(devices),
        'compiled': len(compiled),
        'first gave up its own': all(x.is_deleted() for x in state.values()),
    }


# ---------------------------------------------------------------- the tests


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    path = tmp_path_factory.mktemp('parallel') / 'results.pickle'
    flags = os.environ['XLA_FLAGS'] + ' --xla_force_host_platform_device_count=2'
    subprocess.run(
        [sys.executable, __file__, str(path)],
        env=os.environ | {'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu'},
        check=True,
    )
    return pickle.loads(path.read_bytes())


def test_one_device_is_two_after_a_step(runs):
    one, two = runs['one']['first'], runs['two']['first']
    for network in ('generator', 'discriminator'):
        assert relative(one[network][0], two[network][0]) < 1e-5
        # Adam's first step hides the gradients' size, its moments do not.
        (one_adam, _), (two_adam, _) = one[network][1], two[network][1]
        assert relative(one_adam.mu, two_adam.mu) < 1e-5
        assert relative(one_adam.nu, two_adam.nu) < 1e-5


def test_one_device_is_two_over_twenty_losses(runs):
    assert runs['one']['step'] == runs['two']['step'] == STEPS
    for a, b in zip(runs['one']['metrics'], runs['two']['metrics'], strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_allclose(b[name], a[name], rtol=1e-3)


def test_the_devices_stay_equal(runs):
    for result in (runs['two'], runs['norm']):
        jax.tree.map(lambda x: np.testing.assert_array_equal(x[0], x[1]), result['all'])


def test_one_compilation_on_two_devices_too(runs):
    """pmap places what it gives as the state was placed: else the second step is compiled anew."""
    assert runs['one']['compiled'] == runs['two']['compiled'] == 1


def test_the_state_is_donated_from_the_first_step_on(runs):
    assert runs['one']['donated'] and runs['two']['donated']


def test_gradients_and_moving_statistics_are_the_mean_over_devices(runs):
    """With batch norm each device normalises its half alone; then both halves are averaged."""
    halves = [half['first'] for half in runs['halves']]
    expected = jax.tree.map(lambda a, b: (a + b) / 2, *halves)
    assert relative(runs['norm']['first'], expected) < 1e-5
    assert relative(*halves) > 1e-2
    assert set(expected['generator'][2]) == {'up1_norm'}
    assert set(expected['discriminator'][2]) == {'conv1_norm'}
    metrics = [half['metrics'][0] for half in runs['halves']]
    for name, value in runs['norm']['metrics'][0].items():
        np.testing.assert_allclose(value, np.mean([m[name] for m in metrics]), rtol=1e-5)


def test_synchronised_batch_norm_on_two_devices_is_that_of_one(runs):
    one, two = runs['sync']
    assert relative(two['first'], one['first']) < 1e-4
    assert relative(runs['norm']['first'], one['first']) > 1e-2  # not so without it


def test_more_steps_of_d_on_two_devices_are_those_of_one(runs):
    one, two = runs['d_steps']
    assert relative(two['first'], one['first']) < 1e-5


def test_parts_on_two_devices_are_those_of_one(runs):
    one, two = runs['parts']
    assert relative(two['first'], one['first']) < 1e-5
    assert relative(one['first'], runs['d_steps'][0]['first']) < 1e-5  # and the whole batch


def test_synchronised_batch_norm_goes_over_a_part_on_all_devices(runs):
    """The first of two parts has images 0 and 2 on two devices; on one too, in another order."""
    one, two = runs['synced parts']
    assert relative(two['first'], one['first']) < 1e-4
    assert relative(runs['sync'][0]['first'], one['first']) > 1e-2


def test_lpips_on_two_devices_is_that_of_one(runs):
    one, two = runs['lpips']
    assert relative(two['first'], one['first']) < 1e-4
    assert two['metrics'][0]['g_lpips'] > 0


def test_a_flow_is_the_same_on_one_device_and_two(runs):
    """Its noise and times follow the examples; of biases before a norm only rounding is learnt."""
    one, two = runs['flow']
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6), one['first'], two['first']
    )
    (a,), (b,) = one['metrics'], two['metrics']
    np.testing.assert_allclose(a['flow'], b['flow'], rtol=1e-5)
    assert set(one['first']) == {'generator'} and a.keys() == b.keys() == {'flow'}


def test_devices_are_chosen_on_the_machine(runs):
    assert runs['devices'] == [2, 1, 1]


@pytest.fixture
def machine(monkeypatch):
    """Sets how many devices and hosts there seem to be."""

    def pretend(devices, hosts=1):
        monkeypatch.setattr(jax, 'local_devices', lambda: list(range(devices)))
        monkeypatch.setattr(jax, 'process_count', lambda: hosts)

    return pretend


@pytest.mark.parametrize('devices, hosts, asked, batch, chosen', [
    (8, 1, 0, 8, 8), (8, 1, 0, 12, 6), (8, 1, 0, 7, 7), (8, 1, 0, 1, 1), (8, 1, 0, 9, 3),
    (8, 1, 4, 8, 4), (4, 2, 0, 8, 4), (4, 2, 0, 6, 3), (1, 1, 1, 5, 1),
])  # fmt: skip
def test_the_largest_number_that_divides_the_batch(machine, devices, hosts, asked, batch, chosen):
    machine(devices, hosts)
    assert parallel.choose_devices(asked, batch) == list(range(chosen))
    assert parallel.is_parallel([0] * chosen) == (chosen > 1 or hosts > 1)


@pytest.mark.parametrize('devices, hosts, asked, batch, message', [
    (2, 1, 3, 6, 'config.num_devices=3: allowed is 0 to 2 here'),
    (4, 1, 4, 6, 'config.batch_size=6: must be a multiple of the 4 devices'),
    (4, 3, 0, 8, 'config.batch_size=8: must be a multiple of 3 hosts'),
])  # fmt: skip
def test_a_number_that_does_not_fit_is_refused(machine, devices, hosts, asked, batch, message):
    machine(devices, hosts)
    with pytest.raises(UserError) as raised:
        parallel.choose_devices(asked, batch)
    assert str(raised.value) == message


def test_a_batch_is_split_in_order():
    batch = {'input': np.arange(4 * 2 * 2 * 3).reshape(4, 2, 2, 3)}
    assert parallel.shard(batch, [0])['input'] is batch['input']
    split = parallel.shard(batch, [0, 1])['input']
    assert split.shape == (2, 2, 2, 2, 3)
    np.testing.assert_array_equal(split.reshape(4, 2, 2, 3), batch['input'])


def test_each_part_of_a_batch_is_split():
    """Two parts of four pairs on two devices: each has the half of either part."""
    batch = {'input': np.arange(8).reshape(8, 1)}
    split = parallel.shard(batch, [0, 1], parts=2)['input']
    np.testing.assert_array_equal(split[..., 0], [[0, 1, 4, 5], [2, 3, 6, 7]])


def test_a_state_on_one_device_is_given_up_for_a_copy_on_each(runs):
    assert runs['placed'] == {'equal': True, 'compiled': 0, 'first gave up its own': True}


def test_one_device_has_no_leading_axis():
    devices = jax.local_devices()[:1]
    state = {'a': np.ones((2, 3)), 'step': np.int32(4)}
    placed = parallel.replicate(state, devices)
    assert placed['a'].shape == (2, 3) and placed['step'].shape == ()
    assert placed['a'].devices() == set(devices)
    assert parallel.unreplicate(placed, devices) is placed


if __name__ == '__main__':
    main(sys.argv[1])


def test_bfloat16_is_refused_where_a_gpu_has_no_units_for_it():
    device = types.SimpleNamespace(device_kind='Tesla T4', compute_capability='7.5')
    with pytest.raises(UserError, match='Tesla T4 .*allowed is float32'):
        parallel.check_dtype('bfloat16', device)
    parallel.check_dtype('float32', device)
    for newer in ('8.0', '9.0', '10.0', 'gfx90a'):
        device.compute_capability = newer
        parallel.check_dtype('bfloat16', device)
    parallel.check_dtype('bfloat16', jax.devices()[0])
