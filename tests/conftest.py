"""Shared settings: strict rank promotion, and one compile cache for all tests."""

import jax
import pytest

from pix2pix_jax.runtime import use_compile_cache


@pytest.fixture(autouse=True, scope='session')
def strict_jax():
    """Sets jax up once; subprocesses that call `use_compile_cache` share the cache."""
    jax.config.update('jax_numpy_rank_promotion', 'raise')
    use_compile_cache()
