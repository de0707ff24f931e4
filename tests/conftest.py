"""Shared settings: strict rank promotion, quick compiles, and one compile cache for all tests."""

import os

# Compiling takes most of the tests' time: half of it without LLVM's optimisations, which tiny
# networks do not need. Subprocesses inherit it, and so share the cache. Before jax starts.
os.environ.setdefault('XLA_FLAGS', '--xla_backend_optimization_level=0')

import jax
import pytest

from pix2pix_jax.runtime import use_compile_cache


@pytest.fixture(autouse=True, scope='session')
def strict_jax():
    """Sets jax up once; commands in subprocesses use the same cache."""
    jax.config.update('jax_numpy_rank_promotion', 'raise')
    use_compile_cache()
