"""The trace: which steps it covers, and that it is one."""

import gzip
import json

import jax
import jax.numpy as jnp
import pytest
from helpers.runs import changed, error_of

from pix2pix_jax import train_setup
from pix2pix_jax.workdir import profiler
from pix2pix_jax.workdir.profiler import Profile


@pytest.fixture
def calls(monkeypatch):
    """Records when the profiler starts and stops."""
    calls = []
    monkeypatch.setattr(jax.profiler, 'start_trace', lambda *a, **k: calls.append('start'))
    monkeypatch.setattr(jax.profiler, 'stop_trace', lambda: calls.append('stop'))
    return calls


@pytest.mark.parametrize('steps, start, expected', [
    (2, 0, {3: 'start', 5: 'stop'}), (1, 10, {13: 'start', 14: 'stop'}), (0, 0, {}),
])  # fmt: skip
def test_it_covers_these_steps(tmp_path, calls, steps, start, expected):
    profile, seen = Profile(tmp_path, steps, start), {}
    for step in range(start + 1, start + 10):
        profile.step(step, jnp.ones(()))
        if calls:
            seen[step] = calls.pop()
    profile.close()
    assert seen == expected and not calls


def test_a_run_too_short_for_a_trace_says_so(tmp_path, calls, capsys):
    profile = Profile(tmp_path, 5, 0)
    profile.step(1, jnp.ones(()))
    profile.close()
    assert 'config.profile_steps: no trace' in capsys.readouterr().out and not calls


@pytest.mark.parametrize('error', [
    OSError(28, 'No space left on device'), RuntimeError('NOT_FOUND: no such folder'),
])  # fmt: skip
def test_a_trace_that_cannot_be_written_does_not_end_the_run(
    tmp_path, calls, monkeypatch, capsys, error
):
    def stop_trace():
        raise error

    monkeypatch.setattr(jax.profiler, 'stop_trace', stop_trace)
    profile = Profile(tmp_path, 1, 0)
    for step in range(1, 6):
        profile.step(step, jnp.ones(()))
    warning = f'warning: config.profile_steps: no whole trace: {error}'
    assert capsys.readouterr().err.splitlines() == [warning]


def test_a_store_takes_no_trace():
    config = changed(profile_steps=2)
    message = error_of(train_setup.check_profile, config, 'gs://bucket/run')
    assert message.startswith(
        'config.profile_steps=2: a trace is written to a disk of this machine'
    )
    train_setup.check_profile(config, '/runs/a')
    train_setup.check_profile(changed(), 'gs://bucket/run')


def test_a_run_that_ends_early_ends_its_trace(tmp_path, calls):
    profile = Profile(tmp_path, 5, 0)
    for step in range(1, profiler.WARM_UP + 2):
        profile.step(step, jnp.ones(()))
    profile.close()
    profile.close()
    assert calls == ['start', 'stop']


def test_the_trace_is_what_perfetto_and_tensorboard_open(tmp_path):
    profile = Profile(tmp_path / 'profile', 1, 0)
    for step in range(1, 6):
        profile.step(step, jax.jit(lambda x: x @ x)(jnp.ones((50, 50))))
    (trace,) = (tmp_path / 'profile').rglob('perfetto_trace.json.gz')
    assert json.loads(gzip.decompress(trace.read_bytes()))['traceEvents']
    assert list((tmp_path / 'profile').glob('plugins/profile/*/*.xplane.pb'))
