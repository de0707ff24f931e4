"""What a process sets up, and which devices it takes."""

import os
import subprocess
import sys

import jax
import pytest

from pix2pix_jax import runtime

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


@pytest.fixture
def compiled_in():
    """Returns the folder of compiled programs; puts back the tests' own."""
    before = jax.config.jax_compilation_cache_dir

    def folder():
        runtime.use_compile_cache()
        return jax.config.jax_compilation_cache_dir

    yield folder
    jax.config.update('jax_compilation_cache_dir', before)


def test_programs_for_another_number_of_cores_are_kept_apart(compiled_in, monkeypatch):
    """They sum in another order: a resumed run would differ from itself in its last bits."""
    monkeypatch.setattr(runtime, 'cores', lambda: 1)
    one = compiled_in()
    monkeypatch.setattr(runtime, 'cores', lambda: 2)
    assert compiled_in() != one
    monkeypatch.setattr(runtime, 'cores', lambda: 1)
    assert compiled_in() == one


GROUP = '/slurm/job_1/step_0'


@pytest.mark.parametrize('groups, files, expected', [
    ('', {}, 8000),
    (f'0::{GROUP}', {'memory.max': 'max', 'slurm/job_1/memory.max': '3000'}, 3000),
    (f'0::{GROUP}', {f'{GROUP}/memory.max': '5000', 'slurm/memory.max': '4000'}, 4000),
    (f'0::{GROUP}', {'slurm/job_2/memory.max': '1000'}, 8000),  # another job's
    ('0::/', {'memory.max': '2000'}, 2000),  # in a container: its own group is the root
    ('0::/', {'memory.max': '9000'}, 8000),
    (f'5:cpu:/x\n4:memory:{GROUP}', {f'memory{GROUP}/memory.limit_in_bytes': '3000'}, 3000),
    ('4:memory:/docker/1', {'memory/memory.limit_in_bytes': '2500'}, 2500),
    ('4:memory:/docker/1', {'memory/memory.limit_in_bytes': str(2**63 - 4096)}, 8000),  # none
    ('5:cpu:/x', {'memory/x/memory.limit_in_bytes': '1'}, 8000),
])  # fmt: skip
def test_memory_is_what_the_control_groups_leave(tmp_path, monkeypatch, groups, files, expected):
    monkeypatch.setattr(runtime.os, 'sysconf', lambda name: 8000 if 'PHYS' in name else 1)
    (tmp_path / 'proc/self').mkdir(parents=True)
    if groups:
        (tmp_path / 'proc/self/cgroup').write_text(f'{groups}\n')
    for name, text in files.items():
        path = tmp_path / 'sys/fs/cgroup' / name.lstrip('/')
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{text}\n')
    assert runtime.memory(tmp_path) == expected
