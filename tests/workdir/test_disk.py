"""Disks that are full or read-only: what was good stays, and what is missing is said."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from helpers.runs import (
    SMALL,
    assert_equal_states,
    events,
    make_pairs,
    metrics,
    samples,
    stop_at,
    tiny_config,
)

from pix2pix_jax.errors import UserError
from pix2pix_jax.reports import progress
from pix2pix_jax.train import train_and_evaluate
from pix2pix_jax.workdir.checkpoints import Checkpoints

LIMIT = resource.RLIMIT_FSIZE
FULL = 'File too large'  # what the kernel says to whom it lets write no more


@pytest.fixture(scope='module')
def pairs(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp('pairs'), {'train': 8, 'val': 2, 'test': 2})


@pytest.fixture(scope='module')
def whole(pairs, tmp_path_factory):
    """An uninterrupted run: its folder and its final state."""
    workdir = tmp_path_factory.mktemp('whole')
    return workdir, train_and_evaluate(tiny_config(pairs), workdir)


@contextlib.contextmanager
def files_up_to(size):
    """The kernel refuses to write more bytes into a file."""
    soft, hard = resource.getrlimit(LIMIT)
    resource.setrlimit(LIMIT, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(LIMIT, (soft, hard))


@pytest.fixture
def train_on_full(monkeypatch, capsys):  # pytest's other capture writes files
    """Trains with a disk that is full from the step `first` on, until `until`."""
    soft, hard = resource.getrlimit(LIMIT)

    def train(config, workdir, first, until=None):
        def step(self, current):
            if current in (first, until):
                resource.setrlimit(LIMIT, (0 if current == first else soft, hard))

        try:
            with monkeypatch.context() as patch:
                patch.setattr(progress.Console, 'step', step)
                return train_and_evaluate(config, workdir, 'the command')
        finally:
            resource.setrlimit(LIMIT, (soft, hard))

    return train


def checkpoints_left(workdir):
    """What is in the folders of the checkpoints, pieces of failed saves included."""
    return {k: sorted(os.listdir(workdir / 'checkpoints' / k)) for k in ('last', 'best')}


def test_a_full_disk_stops_the_run_which_goes_on_later(pairs, whole, tmp_path, train_on_full):
    with pytest.raises(UserError, match=f'{FULL}; the last good checkpoint is step 2; resume') as e:
        train_on_full(tiny_config(pairs), tmp_path, 3)
    assert e.value.status == 1 and str(e.value).count('resume with') == 1
    assert checkpoints_left(tmp_path)['last'] == ['2']
    assert_equal_states(train_and_evaluate(tiny_config(pairs), tmp_path), whole[1])
    assert metrics(tmp_path) == metrics(whole[0]) and samples(tmp_path) == samples(whole[0])


def test_a_checkpoint_that_does_not_fit_is_one_error(tmp_path, caplog, capsys):
    """Orbax logs the tracebacks of its threads beside the error that it raises."""
    checkpoints = Checkpoints(tmp_path, writer=True)
    state = {'a': np.random.default_rng(0).random((500, 500)), 'b': np.ones(9)}
    checkpoints.save('last', 1, state, tiny_config(tmp_path))
    with files_up_to(100_000), pytest.raises(OSError, match=FULL):
        checkpoints.save('last', 2, state, tiny_config(tmp_path))
    assert not caplog.records and checkpoints.steps('last') == [1]
    checkpoints.close()


@pytest.mark.parametrize('failures', [1, 99])
def test_the_disks_error_is_raised_where_the_rest_cannot_be_removed(
    failures, tmp_path, monkeypatch
):
    """Threads of the save that failed may still remove files of theirs: rmtree misses them."""
    remove, left = shutil.rmtree, iter(range(failures))

    def rmtree(path, *args, **kwargs):
        if next(left, None) is not None:
            raise FileNotFoundError(2, 'No such file or directory', 'manifest.ocdbt.__lock')
        remove(path, *args, **kwargs)

    checkpoints = Checkpoints(tmp_path, writer=True)
    monkeypatch.setattr(shutil, 'rmtree', rmtree)
    state = {'a': np.random.default_rng(0).random((500, 500))}
    with files_up_to(100_000), pytest.raises(OSError, match=FULL):
        checkpoints.save('last', 1, state, tiny_config(tmp_path))
    checkpoints.close()
    assert bool(list(tmp_path.glob('checkpoints/last/*'))) == (failures == 99)


def test_a_run_may_go_on_while_the_disk_is_full(pairs, whole, tmp_path, train_on_full, capsys):
    """All is there at the end but the samples that could not be written."""
    config = tiny_config(pairs, checkpoint__on_error='continue')
    state = train_on_full(config, tmp_path, 3, 5)
    warnings = [line for line in capsys.readouterr().err.splitlines() if line[:7] == 'warning']
    assert warnings and all('step 4 is not all written: ' in line for line in warnings)
    assert all(f'{FULL}; the last good checkpoint is step 2' in line for line in warnings)
    assert_equal_states(state, whole[1])
    assert metrics(tmp_path) == metrics(whole[0])
    assert checkpoints_left(tmp_path)['last'] == ['6']
    missing = 'step_0000004.png'
    assert samples(tmp_path) == {k: v for k, v in samples(whole[0]).items() if k != missing}
    theirs, ours = (
        [value for value in events(folder) if value[0][:5] != 'perf/']
        for folder in (whole[0], tmp_path)
    )
    assert ours == [value for value in theirs if value != ('samples', 4)]


def test_the_best_is_the_best_of_those_saved(pairs, tmp_path, train_on_full, whole):
    values = {row['step']: row['eval/l1'] for row in metrics(whole[0]) if 'eval/l1' in row}
    train_on_full(tiny_config(pairs, checkpoint__on_error='continue'), tmp_path, 1, 3)
    saved = {step: value for step, value in values.items() if step > 2}
    assert Checkpoints(tmp_path).steps('best') == [min(saved, key=saved.get)]


def test_a_last_save_that_fails_is_never_silent(pairs, tmp_path, train_on_full):
    config = tiny_config(pairs, checkpoint__on_error='continue')
    with pytest.raises(UserError, match=f'step 6 .*{FULL}; the last good checkpoint is step 2'):
        train_on_full(config, tmp_path, 3)
    assert checkpoints_left(tmp_path)['last'] == ['2']


def test_nor_is_that_after_a_signal(pairs, tmp_path, monkeypatch):
    def save(*args):
        raise OSError(28, 'No space left on device', 'checkpoints')

    stop_at(3, signal.SIGTERM, monkeypatch)
    config = tiny_config(pairs, checkpoint__on_error='continue', eval_every=0)
    config.checkpoint.every_steps = 0
    monkeypatch.setattr(Checkpoints, 'save', save)
    with pytest.raises(UserError, match='step 3 .*No space left on device; .* is none; resume'):
        train_and_evaluate(config, tmp_path)


# ---------------------------------------------------------------- real file systems

FILL_AT_3 = """
import pathlib, sys
from pix2pix_jax import main
from pix2pix_jax.errors import run_command
from pix2pix_jax.reports import progress

def step(self, current):
    if current == 3:
        with open('mount/fill', 'wb', buffering=0) as file:
            while True:
                try:
                    file.write(bytes(4096))
                except OSError:
                    break

progress.Console.step = step
run_command(main.main, main.define_flags, check_argv=main.check_argv)
"""


def run_on_a_mount(pairs, tmp_path, options):
    """Runs the command in a file system of its own, and keeps a copy of what is left there."""
    (tmp_path / 'mount').mkdir()
    inside = ['unshare', '--user', '--map-root-user', '--mount', 'sh', '-c']
    mount = f'mount -t tmpfs -o {options} tmpfs mount'
    if not shutil.which('unshare') or subprocess.run([*inside, mount], cwd=tmp_path).returncode:
        pytest.skip('no file systems can be mounted here')
    script = f'{mount}; "$@"; status=$?; cp -r mount copy; exit $status'
    command = [sys.executable, '-c', FILL_AT_3, '--config=configs/folder.py:tiny', *SMALL]
    command += [f'--config.dataset.path={pairs}', '--workdir=mount/run']
    return subprocess.run(
        [*inside, script, 'sh', *command], cwd=tmp_path, capture_output=True, text=True
    )


@pytest.mark.e2e
def test_a_disk_that_is_really_full(pairs, tmp_path):
    done = run_on_a_mount(pairs, tmp_path, 'size=4m')
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith('error: step 4 is not all written: ')
    assert 'No space left on device; the last good checkpoint is step 2; resume' in done.stderr
    assert done.stderr.count('\n') == 1
    assert checkpoints_left(tmp_path / 'copy' / 'run')['last'] == ['2']


@pytest.mark.e2e
def test_a_read_only_folder(pairs, tmp_path):
    done = run_on_a_mount(pairs, tmp_path, 'ro')
    assert done.returncode == 1
    line = 'error: --workdir=mount/run: no folder can be made there: Read-only file system\n'
    assert done.stderr == line
