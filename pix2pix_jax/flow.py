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
from jaxtyping import Array, Float, Int, Key

from pix2pix_jax.models.dropout import keys_by_place

STEPS_IN_TRAINING = 4  # of Euler's, in the evaluations and sample grids of a run

Apply = Callable[..., Any]
Images = Float[Array, 'n h w c']
Corner = tuple[int, int] | Int[Array, ' 2']


def noise(
    key: Key[Array, ''], shape: tuple[int, int, int], corner: Corner = (0, 0)
) -> Float[Array, 'h w c']:
    """Returns an image (H,W,C) of standard normal noise, a function of `key` and of each place.

    A window of a larger image, which begins there at the row and column `corner`, has its part of
    the larger one's noise.
    """
    height, width, channels = shape
    draw = jax.vmap(lambda key: jax.random.normal(key, (channels,)))
    return jax.vmap(draw)(keys_by_place(key, (height, width), corner))


def between(noise: Images, target: Images, time: Float[Array, ' n']) -> Images:
    """Returns what is at `time` (N,) on the lines from noise to target."""
    t = time[:, None, None, None]
    return (1 - t) * noise + t * target


def velocity(
    apply: Apply,
    variables: dict[str, Any],
    x: Float[Array, 'n h w _'],
    at: Images,
    time: Float[Array, ' #n'],
    **switches: Any,
) -> Any:
    """Returns what a network says of the velocity at a point of the line.

    Args:
      apply: the network's.
      variables: its collections.
      x: the inputs (N,H,W,Ci) in [-1, 1].
      at: the points (N,H,W,Co).
      time: of each point, (N,) in [0, 1], or (1,), of all.
      switches: for `apply`.
    """
    return apply(variables, jnp.concatenate([x, at], axis=-1), time=time, **switches)


def translator(apply: Apply, steps: int) -> Callable[..., Images]:
    """Returns (variables, inputs (N,H,W,Ci), noise (N,H,W,Co)) -> images (N,H,W,Co) in [-1, 1].

    `apply` is the network's, its switches set; `steps` are Euler's.
    """

    def translate(variables: dict[str, Any], x: Float[Array, 'n h w _'], noise: Images) -> Images:
        def step(i: Any, at: Images) -> Images:
            return euler_step(apply, variables, x, at, jnp.float32(i)[None] / steps, 1 / steps)

        return jnp.clip(lax.fori_loop(0, steps, step, noise), -1, 1)

    return translate


def euler_step(
    apply: Apply,
    variables: dict[str, Any],
    x: Float[Array, 'n h w _'],
    at: Images,
    time: Float[Array, ' #n'],
    size: float,
) -> Images:
    """Returns where the velocity at a point leads within a time of `size`.

    Args:
      apply, variables, x, at, time: as in `velocity`.
      size: of the step.
    """
    return at + size * velocity(apply, variables, x, at, time)
