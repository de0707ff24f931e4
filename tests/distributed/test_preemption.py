"""Signals: heard at once while the main thread is busy; no traceback on Ctrl-C from the start."""

import os
import signal
import subprocess
import sys
import time

import pytest
from helpers import ROOT

from pix2pix_jax.distributed.preemption import SIGNALS, StopRequest

# Busy for minutes in one call of C, without the GIL, as a compilation is.
BUSY = """
import hashlib
from pix2pix_jax.distributed.preemption import StopRequest
with StopRequest('stopping') as stop:
    print('busy', flush=True)
    hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)
"""
ENVIRONMENT = os.environ | {'PYTHONPATH': str(ROOT)}


@pytest.mark.parametrize('second', SIGNALS)
def test_a_signal_is_answered_and_a_second_ends_while_the_main_thread_is_in_c(second):
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    process = subprocess.Popen([sys.executable, '-c', BUSY], **pipes)
    assert process.stdout.readline() == 'busy\n'
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == 'stopping\n'
    assert process.poll() is None
    process.send_signal(second)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (128 + second, '')


def test_handlers_and_the_wakeup_descriptor_are_put_back():
    before = [signal.getsignal(number) for number in SIGNALS]
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    earlier = signal.set_wakeup_fd(writing)
    try:
        with StopRequest() as stop:
            assert signal.getsignal(signal.SIGTERM) != before[1]
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.signal_number == signal.SIGTERM
        assert signal.set_wakeup_fd(earlier) == writing
    finally:
        signal.set_wakeup_fd(earlier)
        os.close(reading), os.close(writing)
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert stop.signal_number == signal.SIGTERM


def interrupted(*command, after):
    """The status and what was printed of a command that gets Ctrl-C after so many seconds."""
    process = subprocess.Popen(
        [sys.executable, '-m', *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=ROOT, env=ENVIRONMENT,
    )  # fmt: skip
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    return process.returncode, stderr


@pytest.mark.e2e
@pytest.mark.parametrize('after', [0.2, 0.4, 0.8, 1.6])
def test_no_traceback_from_the_first_line_on(after):
    """While modules are imported nobody can catch an exception."""
    status, said = interrupted('pix2pix_jax.translate', '--help', after=after)
    if status != -signal.SIGINT:  # before Python itself was there
        assert (status, said) in ((130, 'stopped\n'), (0, ''))


def test_who_imports_the_package_keeps_their_own_ctrl_c(tmp_path):
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / '__init__.py').write_text('import pix2pix_jax')
    usual = '(signal.default_int_handler, signal.SIG_IGN)'  # ignored in the background of a shell
    text = f'import signal; assert signal.getsignal(signal.SIGINT) in {usual}'
    (tmp_path / 'mine' / 'command.py').write_text(text)
    path = {'PYTHONPATH': f'{tmp_path}{os.pathsep}{ROOT}'}
    command = [sys.executable, '-m', 'mine.command']
    subprocess.run(command, check=True, env=os.environ | path)


DROPPED = """
import gc, os, signal, time
from pix2pix_jax import interrupts
from pix2pix_jax.errors import run_command
from absl import flags

def interrupt_once(*args):
    gc.callbacks.clear()
    os.kill(os.getpid(), signal.SIGINT)
    sum(range(100))  # the KeyboardInterrupt comes here, and Python drops it

def main(values):
    gc.callbacks.append(interrupt_once)
    gc.collect()
    time.sleep(60)

interrupts.end_at_once()
run_command(main, flags.FlagValues, argv=['x'])
"""


def test_ctrl_c_within_a_callback_of_the_collector_is_not_lost():
    """Python prints what such a callback raises, and continues; jax registers one."""
    done = subprocess.run(
        [sys.executable, '-c', DROPPED], capture_output=True, text=True, env=ENVIRONMENT, timeout=60
    )
    assert (done.returncode, done.stderr) == (130, 'stopped\n')
