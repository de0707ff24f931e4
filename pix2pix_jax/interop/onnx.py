"""ONNX through jax2onnx, tidied up by onnxruntime: both must be installed.

jax2onnx makes dozens of dynamic slices of a reflected border: they go through it as borders of NaN,
whose nodes are then made to reflect. onnxruntime's basic optimisations, which keep to the
standard's operators, put the kernels in their final order and take the transposition of images out
of the middle.
"""

import json
import os
import tempfile
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
from flax.linen.module import InterceptorContext
from jax2onnx import to_onnx

from pix2pix_jax.interop import exportable
from pix2pix_jax.interop.exportable import Exportable, Function
from pix2pix_jax.models.layers import Reflect

OPSET = 18  # the first in which all that is used has its present form
OUTPUT = 'output'
AT, TIME = 'at', 'time'  # inputs of one step of a flow
ONE = jax.ShapeDtypeStruct((1,), jnp.float32)
LOG_ERRORS = 3  # of onnxruntime's levels: no warnings


def to_bytes(model: Exportable) -> bytes:
    """Returns the file: its inputs, output `output`, and the metadata as its properties.

    The inputs are `input` and, of a flow, `noise`.
    """
    shapes = exportable.input_shapes(model)
    if model.config.method == 'flow':
        shapes = {'input': shapes['input'], AT: shapes['noise'], TIME: ONE}
        file = _unrolled(_converted(exportable.step_function(model), shapes), model)
    else:
        file = _converted(exportable.function(model), shapes)
    if model.weights == 'float16':
        _halve_kernels(file)
    file.producer_name, file.producer_version = model.metadata['producer'].split()
    onnx.helper.set_model_props(file, {k: _as_text(v) for k, v in model.metadata.items()})
    onnx.checker.check_model(file)
    return file.SerializeToString()


def _converted(function: Function, shapes: dict[str, jax.ShapeDtypeStruct]) -> onnx.ModelProto:
    """Returns a function of inputs of these names and shapes as a model, tidied up."""

    def convertible(*inputs: jax.Array) -> jax.Array:
        with nn.intercept_methods(_nan_borders):
            return function(*inputs)

    converted = to_onnx(
        convertible,
        list(shapes.values()),
        model_name='generator',
        opset=OPSET,
        input_names=list(shapes),
        output_names=[OUTPUT],
    )
    _reflect_borders(converted)
    return _optimized(converted)


def _unrolled(step: onnx.ModelProto, model: Exportable) -> onnx.ModelProto:
    """Returns a flow's model of its `step`: all steps, one after the other, of the same weights.

    jax2onnx would convert each by itself, and onnxruntime copy the weights for each.
    """
    graph, steps = step.graph, model.config.test.steps
    shared = {'', 'input', *(tensor.name for tensor in graph.initializer)}
    once, at = list(graph.node), 'noise'
    del graph.node[:], graph.value_info[:]
    for i in range(steps):
        names = {AT: at, TIME: f'time{i}'} | {name: name for name in shared}
        for node in once:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name = f'step{i}/{node.name}'
            copy.input[:] = [names.get(name, f'step{i}/{name}') for name in node.input]
            copy.output[:] = [f'step{i}/{name}' for name in node.output]
            graph.node.append(copy)
        at = f'step{i}/{OUTPUT}'
        graph.initializer.append(_tensor(f'time{i}', [i / steps]))
    graph.node.append(onnx.helper.make_node('Clip', [at, 'low', 'high'], [OUTPUT]))
    graph.initializer.extend([_tensor('low', -1), _tensor('high', 1)])
    inputs = {one.name: one for one in graph.input}
    inputs[AT].name = 'noise'
    graph.input.remove(inputs[TIME])
    return step


def _tensor(name: str, value: Any) -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(np.array(value, np.float32), name)


def load(data: bytes) -> tuple[Function, dict[str, str]]:
    """Returns the function of the model's inputs -> (N,H,W,Co) in [-1,1], and the metadata.

    It runs on the CPU; all is float32, and the images (N,H,W,Ci) are the first input.
    """
    session = _session(data)
    names = [one.name for one in session.get_inputs()]
    return (
        lambda *inputs: session.run(None, dict(zip(names, map(np.asarray, inputs))))[0],
        session.get_modelmeta().custom_metadata_map,
    )


def _session(data: bytes, **options: Any) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    for name, value in {'log_severity_level': LOG_ERRORS, **options}.items():
        setattr(settings, name, value)
    return onnxruntime.InferenceSession(data, settings, providers=['CPUExecutionProvider'])


def _nan_borders(
    apply: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    context: InterceptorContext,
) -> Any:
    """Calls a method of a layer; a reflected border becomes one of NaN."""
    if not isinstance(context.module, Reflect) or context.method_name != '__call__':
        return apply(*args, **kwargs)
    return jnp.pad(args[0], context.module.padding, constant_values=np.nan)


def _reflect_borders(model: onnx.ModelProto) -> None:
    """Makes every padding reflect; convolutions have their zeros in themselves."""
    for node in model.graph.node:
        if node.op_type == 'Pad':
            del node.input[2:]  # the value
            del node.attribute[:]
            node.attribute.append(onnx.helper.make_attribute('mode', 'reflect'))


def _optimized(model: onnx.ModelProto) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'model.onnx')
        _session(
            model.SerializeToString(),
            graph_optimization_level=onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
            optimized_model_filepath=path,
        )
        model = onnx.load(path)
    standard = [opset for opset in model.opset_import if not opset.domain]
    del model.opset_import[:]  # onnxruntime names all that it knows
    model.opset_import.extend(standard)
    return model


def _halve_kernels(model: onnx.ModelProto) -> None:
    """Stores the kernels in half as many bytes; what is computed stays float32."""
    casts = []
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 4 and sum(side > 1 for side in tensor.dims) > 1:
            name, half = tensor.name, onnx.numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(onnx.numpy_helper.from_array(half, f'{name}_half'))
            casts.append(
                onnx.helper.make_node('Cast', [tensor.name], [name], to=onnx.TensorProto.FLOAT)
            )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
