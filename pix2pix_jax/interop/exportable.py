"""What is exported: a trained generator as a pure function of images.

The function computes what `translate --nodropout` does, in float32 whatever the training's dtype,
with the weights as constants. Of a flow it takes the noise, too. What comes out is the network's
own output: of colorization that is a and b of CIE Lab, as `input` and `output` of the metadata say.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from etils import epath
from flax.linen.module import InterceptorContext

from pix2pix_jax import flow
from pix2pix_jax.config import Config, flatten, from_fields
from pix2pix_jax.errors import DATA_ERROR, UserError
from pix2pix_jax.inference.generator import generator_function, network_function
from pix2pix_jax.inference.loaded_run import Run
from pix2pix_jax.interop import export_metadata
from pix2pix_jax.models.conv_forms import DIMENSIONS
from pix2pix_jax.models.factory import (
    generator_depth,
    has_dropout,
    minimum_side,
    statistics,
    unit,
)
from pix2pix_jax.models.layers import ConvTranspose
from pix2pix_jax.storage import atomic
from pix2pix_jax.workdir.metrics_json import Model

TOLERANCES = {'float32': 1e-3, 'float16': 1e-2}  # of outputs in [-1, 1], by the weights' dtype

Function = Callable[..., jax.Array]  # of arrays in the order of `input_shapes`


class Exportable(NamedTuple):
    """A generator to export; `size` is None where any multiple of `multiple` will do."""

    config: Config
    variables: dict[str, Any]
    norm: str
    size: tuple[int, int] | None
    weights: str  # 'float32' | 'float16': what the kernels are stored in
    metadata: dict[str, Any]

    @property
    def multiple(self) -> int:
        """What height and width are multiples of."""
        return unit(self.config.generator, self.config.generator.depth)

    @property
    def check_size(self) -> tuple[int, int]:
        """Height and width of an image to try it with."""
        return self.size or tuple(self.metadata['trained_size'])


def measured_model(run: Run, norm: str) -> Model:
    """Returns what an evaluation of a run calls the model that is exported with these norms."""
    g, own = run.config.generator, run.config.test.norm
    same = norm == '' or statistics(g, norm) == statistics(g, own)
    return run.model._replace(norm='' if same else norm)


def about_metrics(config: Config, model: Model, there: bool) -> str:
    """Returns in what evaluations of a run differ from the exported model; '' where they do not.

    `there` says whether there is an evaluation of it.
    """
    if model.norm:
        own = config.test.norm
        return f'no evaluation is of this model: its norms are {model.norm}, and theirs {own}'
    on = config.test.dropout and has_dropout(config.generator, generator_depth(config))
    return 'measured with dropout, which this model is without' if on and there else ''


def export(
    run: Run,
    format: str,
    output: epath.PathLike,
    norm: str = '',
    size: tuple[int, int] | None = None,
    weights: str = 'float32',
) -> list[str]:
    """Writes a run to a file, once it has been tried; returns what to say about it, as lines.

    Args:
      run: the trained generator.
      format: 'onnx' | 'stablehlo'.
      output: the file.
      norm, size, weights: as in `create`.

    Raises:
      UserError: for a size that the network cannot take, and, with status 1 and nothing written,
        where the exported model differs from the run.
    """
    model = create(run, norm, size, weights)
    data, differs_by = checked(model, format, output)
    atomic.write_bytes(output, data)
    height, width = model.check_size
    return [
        f'{output}: {len(data) / 1e6:.3g} MB, {format}, weights {weights}, step {run.step}',
        *describe(model),
        f'checked: on an image of {height}x{width} within {differs_by:.2g} of '
        f'{compared_with(run)} ({TOLERANCES[weights]:g} allowed)',
    ]


def compared_with(run: Run) -> str:
    """Returns what an exported model, which computes in float32, was compared with, in words."""
    return 'the run' if run.config.dtype == 'float32' else 'the run in float32'


def checked(model: Exportable, format: str, output: epath.PathLike) -> tuple[bytes, float]:
    """Returns a model as the bytes of a file, once tried, and by how much it differs from the run.

    Raises UserError, with status 1, where that is too much; `output` is named.
    """
    if format == 'onnx':
        from pix2pix_jax.interop.onnx import load, to_bytes
    else:
        from pix2pix_jax.interop.stablehlo import load, to_bytes
    data = to_bytes(model)
    allowed = TOLERANCES[model.weights]
    differs_by = difference(model, load(data)[0])
    if not differs_by <= allowed:  # NaN is not
        raise UserError(
            f'--output={output}: nothing written, the exported model differs from the run by '
            f'{differs_by:.2g}; allowed is {allowed:g}',
            DATA_ERROR,
        )
    return data, differs_by


def describe(model: Exportable) -> list[str]:
    """Returns what the model takes and gives, as lines."""
    about = model.metadata
    if model.size:
        sizes = f'H, W = {", ".join(map(str, model.size))}'
    else:
        sizes = f'H and W multiples of {about["multiple_of"]} from {about["least_size"]} on'
    shapes = {
        name: f'{name}: float32 (N, H, W, {about[f"{name}_channels"]}) on [-1, 1], {about[name]}'
        for name in ('input', 'output')
    }
    lines = [
        f'{shapes["input"]}; any N, {sizes}',
        f'{shapes["output"]}; norms {about["norm"]}, no dropout',
    ]
    if 'noise' in about:
        shape = f'float32 (N, H, W, {about["output_channels"]})'
        lines.insert(1, f'noise: {shape}, {about["noise"]}; {about["steps"]} steps to an image')
    return lines


def create(
    run: Run,
    norm: str = '',
    size: tuple[int, int] | None = None,
    weights: str = 'float32',
) -> Exportable:
    """Returns what is to be exported of a run.

    Args:
      run: the trained generator.
      norm: 'image' | 'running' | 'mixed'; '': config.test.norm.
      size: (height, width) of the images; None leaves it open.
      weights: what the kernels are stored in, 'float32' | 'float16'.

    Raises:
      UserError: where the network cannot take the size.
    """
    config, norm = config_to_export(run.config, size), norm or run.config.test.norm
    metadata = export_metadata.of_model(run, config, norm, size, weights)
    return Exportable(config, run.variables, norm, size, weights, metadata)


def config_to_export(config: Config, size: tuple[int, int] | None) -> Config:
    """Returns a run's config for images of `size`, as deep as trained, in float32.

    Raises UserError where the network cannot take the size, (height, width); None: the training's.
    """
    depth = generator_depth(config)
    multiple, minimum = unit(config.generator, depth), minimum_side(config.generator, depth)
    if size and any(side % multiple or side < minimum for side in size):
        raise UserError(
            f'--image_size={size[0]},{size[1]}: the generator halves an image {depth} times; '
            f'allowed are multiples of {multiple} from {minimum} on'
        )
    changed = {'generator.depth': depth, 'dtype': 'float32'}  # the depth: whatever the size
    return from_fields(flatten(config) | changed | ({'image_size': size} if size else {}))


def function(model: Exportable) -> Function:
    """Returns float32 (N,H,W,Ci) in [-1,1] -> float32 (N,H,W,Co) in [-1,1], without dropout.

    Of a flow it takes the noise (N,H,W,Co), too. The weights are its constants. Convolutions are
    XLA's own, in the form that converters know: kernels of transposed ones are turned here, once,
    and not by whoever compiles the result.
    """
    return _with_weights(model, generator_function(model.config, 'any', model.norm, dropout=False))


def step_function(model: Exportable) -> Function:
    """Returns one step of a flow: (N,H,W,Ci), a point (N,H,W,Co), its time (1,) -> the next point.

    As `function` otherwise.
    """
    apply = network_function(model.config, 'any', model.norm, dropout=False)
    step = functools.partial(flow.euler_step, apply, size=1 / model.config.test.steps)
    return _with_weights(model, step)


def _with_weights(model: Exportable, apply: Callable[..., jax.Array]) -> Function:
    """Returns `apply`, a function of the variables and others, of the others alone."""
    variables = jax.tree.map(jnp.asarray, model.variables)
    if model.weights == 'float16':  # kernels, which are most of it: the layers compute in float32
        variables = jax.tree.map(lambda a: a.astype(jnp.float16) if a.ndim == 4 else a, variables)

    def translate(*inputs: jax.Array) -> jax.Array:
        with nn.intercept_methods(_with_turned_kernels):
            return apply(variables, *inputs)

    return translate


def _with_turned_kernels(
    apply: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    context: InterceptorContext,
) -> Any:
    """Calls a method of a layer; a transposed convolution as XLA's own, its kernel turned."""
    layer = context.module
    if not isinstance(layer, ConvTranspose) or context.method_name != '__call__':
        return apply(*args, **kwargs)
    kernel: np.ndarray = np.asarray(layer.get_variable('params', 'kernel'))
    turned = np.flip(kernel, (0, 1)).swapaxes(2, 3)
    low = layer.kernel_size - 1 - layer.padding
    y = jax.lax.conv_general_dilated(
        args[0],
        jnp.asarray(turned).astype(layer.dtype),
        window_strides=(1, 1),
        padding=((low, low + layer.output_padding),) * 2,
        lhs_dilation=(layer.stride,) * 2,
        dimension_numbers=DIMENSIONS,
    )
    return y + layer.get_variable('params', 'bias').reshape(1, 1, 1, -1) if layer.use_bias else y


def input_shapes(model: Exportable) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes of the images, 'input', and of a flow's 'noise'.

    The batch is symbolic, and the sides where they are open.
    """
    multiple, constraints = model.multiple, []
    sides = ','.join(map(str, model.size or (f'{multiple}*h', f'{multiple}*w')))
    if not model.size:
        minimum = model.metadata['least_size'] // multiple
        constraints = [f'{side}>={minimum}' for side in 'hw']
    images = jax.export.symbolic_shape(f'batch,{sides}', constraints=constraints)
    return {
        name: jax.ShapeDtypeStruct((*images, channels), jnp.float32)
        for name, channels in _input_channels(model).items()
    }


def _input_channels(model: Exportable) -> dict[str, int]:
    """The channels of each of the model's inputs."""
    g = model.config.generator
    noise = {'noise': g.output_channels} if model.config.method == 'flow' else {}
    return {'input': g.input_channels} | noise


def difference(model: Exportable, exported: Function) -> float:
    """Returns the largest difference of `exported` from the run's own output, of a fixed image."""
    rng, draw = np.random.default_rng(0), {'input': _uniform, 'noise': _normal}
    inputs = [
        draw[name](rng, (1, *model.check_size, channels))
        for name, channels in _input_channels(model).items()
    ]
    apply = generator_function(model.config, jax.default_backend(), model.norm, dropout=False)
    expected = jax.jit(apply)(model.variables, *inputs)
    # Not a number where either is: that is no small difference.
    found = exported(*map(jnp.asarray, inputs))
    return float(np.abs(np.asarray(found) - np.asarray(expected)).max())


def _uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(-1, 1, shape).astype(np.float32)


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape, np.float32)
