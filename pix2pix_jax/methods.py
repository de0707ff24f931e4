"""The ways to train a generator, by `config.method`."""

from collections.abc import Callable
from typing import Any, NamedTuple

from pix2pix_jax.flow_step import flow_step, velocities
from pix2pix_jax.train_step import generate, train_step


class Method(NamedTuple):
    """A way to train."""

    step: Callable
    """The pure step of a device, as `train_step`."""
    forward: Callable[..., tuple[Any, Any]]
    """G's part of it: (g, params, batch, key, config) -> what is differentiated, and statistics."""


METHODS = {'gan': Method(train_step, generate), 'flow': Method(flow_step, velocities)}
