"""Trained generators as functions of images.

The test-time switches exist here once (section 3.3 of the paper): the statistics of the norms,
dropout on or off, and the number of the sample, which with the seed fixes the dropout mask, or the
noise that a flow begins with.
"""

import collections
import functools
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from pix2pix_jax import flow
from pix2pix_jax.config import Config, flatten, from_fields
from pix2pix_jax.config_fields import FIELDS
from pix2pix_jax.data import tasks
from pix2pix_jax.errors import UserError
from pix2pix_jax.inference.tiling import Window, groups
from pix2pix_jax.models import factory
from pix2pix_jax.models.factory import create_models
from pix2pix_jax.models.norms import SCENE

WHOLE = np.zeros((1, 2), np.int32)  # where images begin that are no windows of larger ones
Statistics: TypeAlias = Any
"""By norm and 'mean' or 'var' an array (C,)."""


def at_steps(config: Config, steps: int) -> Config:
    """Returns the config of a flow that translates in this number of Euler's steps; 0: in its own.

    Raises UserError, naming the flag, where they are not allowed.
    """
    if not steps:
        return config
    if config.method != 'flow':
        raise UserError(
            f'--steps={steps}: they are of a flow; the run is of config.method={config.method!r}'
        )
    allowed = FIELDS['test.steps'].allowed
    if not allowed.holds(steps):
        raise UserError(f'--steps={steps}: allowed is {allowed.text}')
    return from_fields(flatten(config) | {'test.steps': steps})


def about_norm(config: Config, norm: str) -> list[str]:
    """Returns a line where the flag --norm=`norm` changes nothing, as the norms have no such ones.

    '' is no flag.
    """
    found = factory.statistics(config.generator, norm)
    if norm in ('', found):
        return []
    why = "norms of the run's generator have each image's own statistics"
    if not found:
        why = 'generator of the run has no norms'
    return [f'--norm={norm}: the {why}, so it changes nothing']


def network_function(
    config: Config, platform: str, norm: str = '', dropout: bool | None = None
) -> Callable[..., jax.Array]:
    """Returns the generator's network as a pure function, its test-time switches set.

    Args:
      config: of the run.
      platform: as in `create_models`.
      norm: 'image' | 'running' | 'mixed' | 'scene'; '': config.test.norm.
      dropout: whether there is dropout; None: config.test.dropout.
    """
    apply: Callable[..., Any] = create_models(config, platform).generator.apply
    return functools.partial(
        apply,
        train=False,
        norm_statistics=norm or config.test.norm,
        noise=config.test.dropout if dropout is None else dropout,
    )


def generator_function(
    config: Config, platform: str, norm: str = '', dropout: bool | None = None
) -> Callable[..., jax.Array]:
    """Returns the generator as a pure function of (variables, images), its test-time switches set.

    Images are float32 (N,H,W,Ci) in [-1, 1], the result is (N,H,W,Co) in [-1, 1]; with dropout it
    takes `rngs={'dropout': key}`. Of a flow it is a function of (variables, images, noise), which
    is (N,H,W,Co), and takes nothing else.

    Args:
      config, platform, norm, dropout: as in `network_function`.
    """
    apply = network_function(config, platform, norm, dropout)
    return flow.translator(apply, config.test.steps) if config.method == 'flow' else apply


def sampler(
    config: Config, platform: str, norm: str = '', dropout: bool | None = None
) -> Callable[[dict[str, Any], jax.Array, jax.Array, jax.Array], jax.Array]:
    """Returns the generator as a pure function of (variables, images, key, corners).

    All that is random in it is a function of the key and of the place, one for all images: dropout
    masks, or the noise of a flow. Images that are windows of larger ones begin there at `corners`,
    (N,2) rows and columns, or (1,2) of all.

    Args:
      config, platform, norm, dropout: as in `network_function`.
    """
    apply = generator_function(config, platform, norm, dropout)

    def of_flow(
        variables: dict[str, Any], x: jax.Array, key: jax.Array, corners: jax.Array
    ) -> jax.Array:
        shape = (*x.shape[1:3], config.generator.output_channels)
        noise = jax.vmap(lambda corner: flow.noise(key, shape, corner))(corners)
        return apply(variables, x, jnp.broadcast_to(noise, (len(x), *shape)))

    if config.method == 'flow':
        return of_flow
    return lambda variables, x, key, corners: apply(
        variables, x, rngs={'dropout': key}, corners=corners
    )


def sample_key(seed: int, sample: int = 0) -> jax.Array:
    """Returns the key of all that is random in a sample of translations."""
    return jax.random.fold_in(jax.random.key(seed), sample)


class Generator:
    """A generator as a function of images, with its test-time switches set."""

    def __init__(
        self,
        config: Config,
        variables: dict[str, Any],
        norm: str = '',
        dropout: bool | None = None,
        seed: int | None = None,
        batch: int = 1,
        devices: Sequence[jax.Device | None] = (None,),
    ):
        """Takes the run's config and the generator's variables.

        `norm` ('image' | 'running' | 'mixed' | 'scene'), `dropout` and `seed` replace config.test
        where given; `batch` images go through the network together, which does not change any of
        them. `devices` take such batches in turn; None is where the variables are.
        """
        self._variables = variables
        self._batch = batch
        self._devices = devices
        self._copies: dict[jax.Device, dict[str, Any]] = {}
        self._task = config.dataset.task
        self._channels = config.generator.input_channels
        self._takes_scene = norm == SCENE
        self._seed = config.test.seed if seed is None else seed
        platform = jax.default_backend()
        self._apply = jax.jit(sampler(config, platform, norm, dropout))
        own: Callable[..., Any] = network_function(config, platform, 'image', dropout)
        self._measure = jax.jit(
            lambda variables, x, key, corners: own(
                variables, x, rngs={'dropout': key}, corners=corners, mutable=[SCENE]
            )[1].get(SCENE, {})
        )

    def checksum(self) -> int:
        """Returns a number of the variables' values, which other values hardly have."""
        leaves = map(np.asarray, jax.tree.leaves(self._variables))
        return functools.reduce(lambda number, leaf: zlib.crc32(leaf.tobytes(), number), leaves, 0)

    def update(self, variables: dict[str, Any]) -> None:
        """Takes newer variables of the same generator, without compiling again."""
        self._variables = variables
        self._copies.clear()

    def __call__(self, inputs: np.ndarray, sample: int = 0) -> np.ndarray:
        """Translates float32 (N,H,W,Ci) in [-1,1] to (N,H,W,Co) in [-1,1], any N; of colorization
        to RGB.

        Images of one `sample` share a dropout mask, or a flow's noise, so a result depends on
        nothing but its input, the seed and the sample's number.
        """
        return np.stack(list(self.each(((x, (0, 0)) for x in inputs), sample)))

    def on_device(self, inputs: np.ndarray, sample: int = 0) -> jax.Array | np.ndarray:
        """Translates all inputs in one batch, compiled for its size, and fetches nothing.

        The result of colorization is on the host, where its colours are computed.
        """
        key = sample_key(self._seed, sample)
        outputs = self._apply(self._variables, inputs, key, WHOLE)
        return tasks.as_shown(self._task, inputs, outputs)

    def each(
        self, windows: Iterable[Window], sample: int = 0, scene: Statistics | None = None
    ) -> Iterator[np.ndarray]:
        """Yields the translation (h,w,Co) of each window, all of one shape, in their order.

        A window of a larger image has the part of its dropout mask that begins at its corner.
        `scene` are the statistics of the norms 'scene', as `scene` returns them.
        """
        constants = {SCENE: scene} if scene else {}
        for x, outputs in self._in_turn(self._apply, windows, sample, constants):
            yield from tasks.as_shown(self._task, x, outputs)

    def scene(self, windows: Iterable[Window], sample: int = 0) -> Statistics:
        """Returns the statistics of each norm: means over windows of their means and variances.

        Each window is normalised by its own, as in training. What norms add up over windows is not
        the pooled variance.
        """
        count, total = 0, None
        for x, found in self._in_turn(self._measure, windows, sample, {}):
            sums = jax.tree.map(lambda leaf: leaf.sum((0, 1, 2), np.float64), found)
            total = sums if total is None else jax.tree.map(np.add, total, sums)
            count += len(x)
        return jax.tree.map(lambda leaf: (leaf / count).astype(np.float32), total)

    def _in_turn(
        self,
        function: Callable[..., Any],
        windows: Iterable[Window],
        sample: int,
        constants: dict[str, Any],
    ) -> Iterator[tuple[np.ndarray, Any]]:
        """Yields batches of windows (n,h,w,C) and what `function` gives of them, on the host."""
        key = sample_key(self._seed, sample)
        started: collections.deque[tuple[np.ndarray, Any]] = collections.deque()

        def finished() -> tuple[np.ndarray, Any]:
            x, found = started.popleft()
            return x, jax.tree.map(lambda leaf: np.asarray(leaf)[: len(x)], found)

        for number, group in enumerate(groups(windows, self._batch)):
            x, corners = (np.stack(part) for part in zip(*group))
            device = self._devices[number % len(self._devices)]
            if len(started) == len(self._devices):  # each has one at a time
                yield finished()
            filled = np.minimum(np.arange(self._batch), len(x) - 1)  # compiled for one size
            variables = self._on(device) | constants
            # Of whole images, which all begin at 0, what is random is drawn once for all.
            places = corners[filled].astype(np.int32) if corners.any() else WHOLE
            given = x[filled], key, places
            given = given if device is None else jax.device_put(given, device)
            started.append((x, function(variables, *given)))
        while started:
            yield finished()

    def _on(self, device: jax.Device | None) -> dict[str, Any]:
        """Returns the variables on a device."""
        if device is None:
            return self._variables
        if device not in self._copies:
            self._copies[device] = jax.device_put(self._variables, device)
        return self._copies[device]

    def memory(self, size: tuple[int, int]) -> int:
        """Returns the bytes that a batch of images (height, width) takes beside the variables."""
        corners, key = np.zeros((self._batch, 2), np.int32), sample_key(self._seed)
        x = jax.ShapeDtypeStruct((self._batch, *size, self._channels), np.float32)
        variables = dict(self._variables)
        if self._takes_scene:
            scene = jax.eval_shape(self._measure, variables, x, key, corners)
            variables[SCENE] = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape[-1:], leaf.dtype), scene
            )
        compiled = self._apply.lower(variables, x, key, corners).compile()
        used: Any = compiled.memory_analysis()
        given = x.size * x.dtype.itemsize
        return used.temp_size_in_bytes + used.output_size_in_bytes + given
