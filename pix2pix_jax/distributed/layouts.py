"""The state of a step in the memory layouts that XLA chooses for it.

Kernels of convolutions are HWIO in the checkpoints and in the networks. cuDNN wants another order
of axes in memory, so that a step with its state in plain order turns each kernel, its gradient and
its moments, there and back. XLA may choose the layouts of the donated state instead, of its input
and its output alike; then a step turns nothing, and the numbers are the same. jax gives such
layouts to `jit` alone, not to `pmap`.

The arrays look the same from outside (shape, indices); another jitted function that takes them is
compiled for their layouts. The API has these names from jax 0.7 on; before, there are no layouts
to choose here.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.experimental import layout

# Where it helps. On a CPU XLA chooses the plain order for all; compiled for a TPU v5e the step has
# as many bytes with it as without, for an H100 2.98 in place of 4.44 GB.
PLATFORMS = ('gpu',)


def available() -> bool:
    """Whether the installed jax lets XLA choose layouts (0.7 or newer)."""
    return hasattr(layout, 'Format') and hasattr(layout.Layout, 'AUTO')


class StepInLayouts:
    """A step (state, batch, key, frozen) -> (state, metrics), compiled when it is first called.

    The state that is given first, in whatever layouts, is moved into the chosen ones; then each
    call takes the state that the last one gave. Its buffers are donated.
    """

    def __init__(
        self, step: Callable, device: jax.Device, compiler_options: dict[str, bool] | None
    ):
        """Takes the pure `step` and the one device that runs it."""
        self._step, self._options = step, compiler_options
        self._place = jax.sharding.SingleDeviceSharding(device)
        self._compiled: jax.stages.Compiled | None = None

    def lower(self, state: Any, batch: Any, key: Any, frozen: Any = None) -> jax.stages.Lowered:
        """Returns the step lowered for arguments of these shapes.

        Args:
          state, batch, key, frozen: as the step takes them.
        """
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state)
        formats = jax.tree.map(lambda x: request_auto_layout(x, self._place), shapes)
        jitted = jax.jit(
            self._step,
            in_shardings=(formats, None, None, None),
            out_shardings=(formats, None),  # on one side alone jax refuses it
            donate_argnums=0,
            compiler_options=self._options,
        )
        return jitted.lower(shapes, batch, key, frozen)

    def __call__(self, state: Any, batch: Any, key: Any, frozen: Any = None) -> tuple[Any, Any]:
        """Returns the state after the step, in the chosen layouts, and the metrics."""
        if self._compiled is None:
            self._compiled = self.lower(state, batch, key, frozen).compile()
            state = move_to_layouts(state, input_formats(self._compiled))
        return self._compiled(state, batch, key, frozen)


def request_auto_layout(array: jax.ShapeDtypeStruct, place: jax.sharding.Sharding) -> Any:
    """Returns the request that XLA choose this array's layout itself (`Layout.AUTO`)."""
    return layout.Format(layout.Layout.AUTO, place)


def input_formats(compiled: jax.stages.Compiled) -> Any:
    """Returns the layouts and devices of a compiled step's state, as a tree of its form."""
    return compiled.input_formats[0][0]


def move_to_layouts(state: Any, formats: Any) -> Any:
    """Returns the state in the layouts `formats`; its arrays in other layouts are deleted.

    One program moves all of them: `device_put` would compile one for each shape.
    """
    leaves, structure = jax.tree.flatten(state)
    wanted = jax.tree.leaves(formats)
    others = [i for i, leaf in enumerate(leaves) if leaf.format != wanted[i]]
    if not others:
        return state
    given = [leaves[i] for i in others]
    move = jax.jit(_unchanged, out_shardings=[wanted[i] for i in others])
    for i, array in zip(others, move(given)):
        leaves[i] = array
    jax.block_until_ready(leaves)
    for array in given:
        array.delete()
    return jax.tree.unflatten(structure, leaves)


def _unchanged(arrays: list[jax.Array]) -> list[jax.Array]:
    return arrays
