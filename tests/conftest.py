"""Shared settings: strict rank promotion, quick compiles, and one compile cache for all tests."""
# ruff: noqa: E402 - the flags come before jax

import os
import pathlib
import subprocess
import sys

# Compiling takes most of the tests' time: a tenth of it without the optimisations, which tiny
# networks do not need (a step: 25 s, 8.8 at level 0, 2.4 with all three). Subprocesses inherit the
# flags, and so share the cache. Before jax starts.
QUICK = (
    '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true '
    '--xla_cpu_use_fusion_emitters=false'
)
worker = os.environ.get('PYTEST_XDIST_WORKER', '').removeprefix('gw')
if worker and hasattr(os, 'sched_setaffinity'):  # a core each: 213 s become 181 on two cores
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker) % len(cores)]})
if 'XLA_FLAGS' not in os.environ:
    code, environment = 'import jax; jax.devices()', os.environ | {'XLA_FLAGS': QUICK}
    known = subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True)
    # A process ends at once with a flag that its XLA does not know.
    os.environ['XLA_FLAGS'] = QUICK if known.returncode == 0 else ''

# Programs that tests start find helpers/ too.
searched = (str(pathlib.Path(__file__).parent), os.environ.get('PYTHONPATH'))
os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, searched))

import jax
import pytest

from pix2pix_jax.reports import curves
from pix2pix_jax.runtime import use_compile_cache


@pytest.fixture(autouse=True, scope='session')
def strict_jax():
    """Sets jax up once; commands in subprocesses use the same cache."""
    jax.config.update('jax_numpy_rank_promotion', 'raise')
    use_compile_cache()


@pytest.fixture(autouse=True, scope='module')
def no_curves(request):
    """Draws no curves on the pages of this process's runs, which take a third of a tiny run."""
    with pytest.MonkeyPatch.context() as patch:
        if request.module.__name__ != 'test_run_page':
            patch.setattr(curves, 'all_curves', lambda *args: [])
        yield
