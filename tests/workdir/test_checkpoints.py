import errno
import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pix2pix_jax.config import default_config, validate
from pix2pix_jax.errors import UserError
from pix2pix_jax.storage import atomic
from pix2pix_jax.workdir.checkpoints import Checkpoints

CONFIG = validate(default_config())


def state(value):
    return {'a': jnp.full((2, 3), value), 'b': [jnp.int32(value), jnp.zeros((), jnp.bfloat16)]}


def test_round_trip_keeps_values_and_dtypes(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save('last', 3, state(3.0), CONFIG)
    restored = Checkpoints(tmp_path).restore_newest(state(0.0))
    jax.tree.map(np.testing.assert_array_equal, restored, state(3.0))
    assert jax.tree.map(jnp.dtype, restored) == jax.tree.map(jnp.dtype, state(3.0))
    assert checkpoints.config('last', 3) == CONFIG


def test_what_a_checkpoint_holds_beside_the_state_is_left_out(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save('last', 1, state(3.0) | {'later': jnp.ones(7)}, CONFIG)
    restored = checkpoints.restore('last', 1, state(0.0))
    jax.tree.map(np.testing.assert_array_equal, restored, state(3.0))


def test_what_it_lacks_is_named_unless_it_started_from_another_array(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    old = {'generator': {'batch_stats': jnp.arange(4.0)}, 'ema': jnp.ones(3)}
    checkpoints.save('last', 1, old, CONFIG)
    with pytest.raises(UserError, match='last/1 holds no array extra, which'):
        checkpoints.restore('last', 1, old | {'extra': jnp.zeros(2)})
    new = old | {'ema_batch_stats': jnp.zeros(4)}
    # A function of nothing else of the template: not of its values, and not the same buffer.
    restored = checkpoints.restore('last', 1, new | {'ema_batch_stats': jnp.zeros(4)})
    np.testing.assert_array_equal(restored['ema_batch_stats'], jnp.arange(4.0))
    jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)(restored)


def test_last_and_best_do_not_delete_each_other(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 2, 3, 4):
        checkpoints.save('last', step, state(step), CONFIG)
        if step in (1, 2):
            checkpoints.save('best', step, state(step), CONFIG)
    assert checkpoints.steps('last') == [3, 4] and checkpoints.steps('best') == [2]
    assert checkpoints.find('2') == ('best', 2) and checkpoints.find('4') == ('last', 4)


def test_a_save_replaces_what_could_not_be_gone_on_from(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=5)
    for step in (1, 2, 3):
        checkpoints.save('last', step, state(step), CONFIG)
    checkpoints.save('last', 2, state(7.0), CONFIG)
    assert Checkpoints(tmp_path).steps('last') == [1, 2]
    assert checkpoints.restore('last', 2, state(0.0))['a'][0, 0] == 7


def test_a_writer_removes_what_a_killed_save_left(tmp_path):
    Checkpoints(tmp_path).save('last', 1, state(1.0), CONFIG)
    left = tmp_path / 'checkpoints/last/2.orbax-checkpoint-tmp'
    left.mkdir()
    assert Checkpoints(tmp_path).steps('last') == [1] and left.exists()
    assert Checkpoints(tmp_path, writer=True).steps('last') == [1] and not left.exists()


def test_nothing_there(tmp_path):
    checkpoints = Checkpoints(tmp_path / 'new')
    assert checkpoints.restore_newest(state(0.0)) is None
    with pytest.raises(UserError, match="no checkpoint 'last', there is none yet"):
        checkpoints.find('last')
    assert not (tmp_path / 'new').exists()


def test_best_alone_is_nothing_to_train_on_from(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save('best', 1, state(1.0), CONFIG)
    lacks = 'best translates, and has no discriminator and no optimizers'
    with pytest.raises(UserError, match=f'last is missing: {lacks}'):  # to resume
        checkpoints.restore_newest(state(0.0))
    with pytest.raises(UserError, match=f"'last', allowed are best . 1: {lacks}"):  # init_from
        checkpoints.find('last')


def test_all_damaged_is_said(tmp_path):
    Checkpoints(tmp_path).save('last', 1, state(1.0), CONFIG)
    for file in (tmp_path / 'checkpoints/last/1').rglob('*'):
        if file.is_file():
            file.write_bytes(b'')
    with pytest.raises(UserError, match='none of the checkpoints loads'):
        Checkpoints(tmp_path).restore_newest(state(0.0))
    with pytest.raises(UserError, match='last/1 does not load, it is damaged'):
        Checkpoints(tmp_path).config('last', 1)


@pytest.mark.parametrize('error, number', [
    (OSError(errno.EIO, 'Input/output error'), errno.EIO),
    (ValueError("reading: Input/output error [os_error_code='5']"), errno.EIO),
    (ValueError('PERMISSION_DENIED: no access to the bucket'), errno.EACCES),
    (ValueError('DEADLINE_EXCEEDED: the store does not answer'), errno.ETIMEDOUT),
    (RuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes'), errno.ENOMEM),
])  # fmt: skip
def test_what_cannot_be_read_now_is_not_damaged(tmp_path, monkeypatch, error, number):
    """No older one takes its place, which would delete it at the next save."""
    checkpoints = Checkpoints(tmp_path, keep=3)
    for step in (1, 2):
        checkpoints.save('last', step, state(float(step)), CONFIG)

    def restore(*args, **kwargs):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints._managers['last'], 'restore', restore)
        with pytest.raises(OSError) as raised:
            checkpoints.restore_newest(state(0.0))
    assert raised.value.errno == number
    restored = checkpoints.restore_newest(state(0.0))
    jax.tree.map(np.testing.assert_array_equal, restored, state(2.0))


def test_a_part_that_is_missing_is_damage(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=3)
    for step in (1, 2):
        checkpoints.save('last', step, state(float(step)), CONFIG)
    shutil.rmtree(tmp_path / 'checkpoints/last/2/state')
    restored = Checkpoints(tmp_path, keep=3).restore_newest(state(0.0))
    jax.tree.map(np.testing.assert_array_equal, restored, state(1.0))


def test_the_saved_copy_is_not_changed_by_donation(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    step = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
    current = state(1.0)
    checkpoints.save('last', 1, current, CONFIG)
    for _ in range(3):
        current = step(current)
    assert checkpoints.restore('last', 1, state(0.0))['a'][0, 0] == 1


def test_a_save_is_on_the_disk_before_the_one_before_goes(tmp_path, monkeypatch):
    if not os.path.exists('/proc/self/fd'):
        pytest.skip('needs /proc')
    synced, seen = set(), {}

    def fsync(descriptor):
        synced.add(os.readlink(f'/proc/self/fd/{descriptor}'))

    monkeypatch.setattr(atomic.os, 'fsync', fsync)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save('last', 1, state(1.0), CONFIG)
    monkeypatch.setattr(
        checkpoints._managers['last'], 'delete', lambda step: seen.update({step: set(synced)})
    )
    checkpoints.save('last', 2, state(2.0), CONFIG)
    folder = tmp_path / 'checkpoints' / 'last'
    new = {str(path) for path in (folder / '2').rglob('*')} | {str(folder), str(folder / '2')}
    assert list(seen) == [1] and len(new) > 8 and new <= seen[1]
