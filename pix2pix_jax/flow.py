"""Rectified flow (Liu et al., 2023): straight lines from noise to a target, and Euler along them.

At time t from 0 to 1 the line from a noise to a target is at (1 - t) noise + t target; its velocity
is target - noise at every time. A network that knows the input learns the mean velocity at a point,
and Euler's method follows it from other noise to an image. Images are float32 (N,H,W,C).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key

STEPS_IN_TRAINING = 4  # of Euler's, in the evaluations and sample grids of a run

Apply = Callable[..., Any]
Images = Float[Array, 'n h w c']


def noise(key: Key[Array, ''], shape: tuple[int, int, int]) -> Float[Array, 'h w c']:
    """Returns an image (H,W,C) of standard normal noise, a function of `key` and of each place.

    The noise of a smaller image is the upper left part of that of a larger one.
    """
    height, width, channels = shape
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(height))
    return jax.vmap(lambda row: jax.random.normal(row, (width, channels)))(keys)


def noises(keys: Key[Array, ' n'], like: Images) -> Images:
    """Returns the `noise` of each of the keys (N,), of the shape of images (N,H,W,C)."""
    return jax.vmap(lambda key, image: noise(key, image.shape))(keys, like)


def between(noise: Images, target: Images, time: Float[Array, ' n']) -> Images:
    """Returns what is at `time` (N,) on the lines from noise to target."""
    t = time[:, None, None, None]
    return (1 - t) * noise + t * target


def velocity(
    apply: Apply,
    variables: dict[str, Any],
    x: Float[Array, 'n h w _'],
    at: Images,
    time: Float[Array, ' n'],
    **switches: Any,
) -> Any:
    """Returns what a network says of the velocity at a point of the line.

    Args:
      apply: the network's.
      variables: its collections.
      x: the inputs (N,H,W,Ci) in [-1, 1].
      at: the points (N,H,W,Co).
      time: of each point, (N,) in [0, 1].
      **switches: for `apply`.
    """
    return apply(variables, jnp.concatenate([x, at], axis=-1), time=time, **switches)


def euler(
    velocity: Callable[[Images, jax.Array], Images], start: Images, steps: int, unrolled: bool
) -> Images:
    """Returns where equal steps through times 0 to 1 lead from `start`.

    Args:
      velocity: maps points (N,H,W,C) and a time () to the velocities there.
      start: the points at time 0.
      steps: their number.
      unrolled: whether the program has each step by itself, as converters want it, or a loop.
    """

    def step(i: Any, x: Images) -> Images:
        return x + velocity(x, jnp.float32(i) / steps) / steps

    if not unrolled:
        return lax.fori_loop(0, steps, step, start)
    for i in range(steps):
        start = step(i, start)
    return start


def translator(apply: Apply, steps: int, unrolled: bool = False) -> Callable[..., Images]:
    """Returns (variables, inputs (N,H,W,Ci), noise (N,H,W,Co)) -> images (N,H,W,Co) in [-1, 1].

    Args:
      apply: the network's, its switches set.
      steps: of Euler's.
      unrolled: as in `euler`.
    """

    def translate(variables: dict[str, Any], x: jax.Array, noise: Images) -> Images:
        def of_point(at: Images, time: jax.Array) -> Images:
            return velocity(apply, variables, x, at, jnp.broadcast_to(time, x.shape[:1]))

        return jnp.clip(euler(of_point, noise, steps, unrolled), -1, 1)

    return translate
