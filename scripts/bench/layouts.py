"""The training step compiled so that its state lies as the kernels want it."""

import functools
from typing import Any

import jax
from jax.experimental.layout import Format, Layout

from pix2pix_jax.config import Config
from pix2pix_jax.train_step import train_step


def compile_in_layouts(
    config: Config, device: jax.Device, state: Any, batch: Any, key: jax.Array
) -> tuple[jax.stages.Compiled, Any]:
    """Returns the step, compiled with layouts of the state that XLA chooses, and their formats.

    Args:
      config: a whole config.
      device: where it runs.
      state: a GanState, of which only the shapes matter.
      batch: as train_step takes it; only the shapes matter.
      key: as train_step takes it.

    Returns:
      The compiled step, which takes a state that `jax.device_put(state, formats)` gives and
      donates it, and the formats, a tree like the state.
    """
    sharding = jax.sharding.SingleDeviceSharding(device)
    chosen = Format(Layout.AUTO, sharding)  # on the input alone it is a ValueError
    step = jax.jit(
        functools.partial(train_step, config=config, axis_name=None),
        donate_argnums=0,
        in_shardings=(chosen, sharding, sharding),
        out_shardings=(chosen, sharding),
    )
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (state, batch, key))
    compiled = step.lower(*shapes).compile()
    return compiled, compiled.input_formats[0][0]
