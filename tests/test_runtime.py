"""What a process sets up, and which devices it takes."""

import os
import subprocess
import sys

import jax
import pytest

CODE = """
from absl import flags
from pix2pix_jax.errors import run_command
from pix2pix_jax.runtime import prepare_process

run_command(lambda values: prepare_process(), flags.FlagValues, [''])
"""


def run(platforms):
    environment = os.environ | {'JAX_PLATFORMS': platforms}
    words = [sys.executable, '-c', CODE]
    return subprocess.run(words, env=environment, capture_output=True, text=True)


@pytest.mark.skipif(jax.default_backend() != 'cpu', reason='there is another device')
@pytest.mark.parametrize('platforms', ['cuda', 'cuda,cpu', 'tpu', 'nonsense'])
def test_a_device_that_is_not_there_is_an_error_and_never_the_cpu(platforms):
    done = run(platforms)
    assert done.returncode == 2 and 'Traceback' not in done.stderr
    said = f'error: JAX_PLATFORMS={platforms}: jax finds no such device'
    assert done.stderr.splitlines()[-1].startswith(said)


@pytest.mark.parametrize('platforms', ['', 'cpu'])
def test_the_cpu_is_there(platforms):
    done = run(platforms)
    assert done.returncode == 0, done.stderr
