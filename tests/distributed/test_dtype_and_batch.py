"""Which dtype and batch Colab's devices get, and that a run keeps its own."""

import types

import jax
import pytest
from helpers.runs import changed, error_of

from pix2pix_jax.distributed import parallel
from pix2pix_jax.distributed.dtype_and_batch import BASE, BY_MEMORY, choose
from pix2pix_jax.presets import apply_arg

GIB = 2**30
PAPER = changed(image_size=(256, 256))


def device(kind, gib, platform='gpu', capability=None):
    """A device as jax gives it; `gib` is what jax may use: of a GPU three quarters, by default."""
    stats = {'bytes_limit': int(gib * GIB)} if gib else None
    found = types.SimpleNamespace(device_kind=kind, platform=platform, memory_stats=lambda: stats)
    if capability:
        found.compute_capability = capability
    return found


V5E = device('TPU v5 lite', 15.75, 'tpu')
V6E = device('TPU v6 lite', 31.25, 'tpu')
T4 = device('Tesla T4', 11, capability='7.5')
L4 = device('NVIDIA L4', 16.5, capability='8.9')
A100 = device('NVIDIA A100-SXM4-40GB', 29.6, capability='8.0')
NONE = device('cpu', 0, 'cpu')


@pytest.mark.parametrize(
    'found,dtype,by_memory',
    [
        (V5E, 'bfloat16', 16),
        (V6E, 'bfloat16', 16),
        (A100, 'float32', 16),
        (L4, 'float32', 16),
        (T4, 'float32', 16),
        (NONE, 'float32', 1),
    ],
    ids=lambda value: getattr(value, 'device_kind', None),
)
def test_of_each_device(found, dtype, by_memory):
    usual, most = choose([found], PAPER), choose([found], PAPER, BY_MEMORY)
    assert (usual.dtype, usual.batch_size) == (dtype, 1)  # the paper's batch
    assert (most.dtype, most.batch_size) == (dtype, by_memory)
    parallel.check_dtype(dtype, found)  # what a run says to it
    for choice in (usual, most):
        assert '\n' not in choice.line and (found is NONE or found.device_kind in choice.line)
        assert f'{choice.dtype}, ' in choice.line and f'batch {choice.batch_size}, ' in choice.line


def test_this_machine():
    choice = choose(jax.local_devices(), apply_arg(changed(), 'tiny'))
    assert choice.dtype == 'float32' and 'Runtime → Change runtime type' in choice.line


@pytest.mark.parametrize(
    'found,fields,batch',
    [
        (T4, {'image_size': (0, 0)}, 16),  # not known yet: as 256x256
        (T4, {'image_size': (512, 512)}, 8),
        (T4, {'image_size': (1024, 1024)}, 2),
        (T4, {'image_size': (1024, 1024), 'generator.width': 128}, 1),
        (T4, {'image_size': (512, 512), 'generator.width': 32, 'discriminator.width': 32}, 16),
        (V5E, {'image_size': (512, 512)}, 16),
        (V5E, {'image_size': (1024, 1024)}, 4),
        (device('small', BASE / GIB, capability='9.0'), {}, 1),
    ],
)
def test_larger_images_leave_room_for_fewer(found, fields, batch):
    assert choose([found], changed(**fields), BY_MEMORY).batch_size == batch


def test_each_of_several_devices_has_as_many():
    assert choose([V5E] * 8, PAPER, BY_MEMORY).batch_size == 8 * 16
    assert choose([V5E] * 8, PAPER, BY_MEMORY).line.startswith('8 x TPU v5 lite')


def test_the_batch_that_is_asked_for():
    choice = choose([V5E], PAPER, 4)
    assert choice.batch_size == 4 and 'batch 4, as asked for' in choice.line
    assert 'allowed are 0' in error_of(choose, [V5E], PAPER, -2)


def test_a_run_keeps_its_dtype_and_batch_on_another_device():
    begun = changed(batch_size=8)  # on a T4
    assert choose([V5E], PAPER, BY_MEMORY, begun)[:2] == ('float32', 8)
    assert choose([V5E], PAPER, 0, begun)[:2] == ('float32', 8)
    assert choose([V5E], PAPER, 2, begun)[:2] == ('float32', 2)  # which the run then refuses
    begun.dtype = 'bfloat16'
    assert choose([L4], PAPER, 0, begun)[:2] == ('bfloat16', 8)
    assert 'began in bfloat16, in which a Tesla T4' in error_of(choose, [T4], PAPER, 0, begun)
