"""What scripts/benchmark.py times of exported models: the same translation, each by its runtime."""

import os
import time

from bench.ours import our_state, prepared_jax
from bench.tasks import Prepared, Setting, config_of, draw_batch, timed

FORMATS = ('onnx', 'stablehlo')
WEIGHTS = ('float32', 'float16')


def file_of(setting: Setting, name: str, weights: str) -> str:
    """Returns where an exported model lies."""
    return os.path.join(setting.folder, f'{weights}.{name}')


def write_all(setting: Setting) -> Prepared:
    """Exports freshly drawn weights in every format; the figures are megabytes and seconds."""
    jax = prepared_jax(setting)
    from pix2pix_jax.inference.loaded_run import Run
    from pix2pix_jax.interop import exportable

    config = config_of(setting)
    run = Run(config, 0, 'last', our_state(config, jax).generator_variables())
    figures = {}
    for name in FORMATS:
        for weights in WEIGHTS:
            begin, file = time.perf_counter(), file_of(setting, name, weights)
            exportable.export(run, name, file, weights=weights)
            figures[f'{name}_{weights}_export_s'] = time.perf_counter() - begin
            figures[f'{name}_{weights}_mb'] = os.path.getsize(file) / 1e6
    return (lambda: 0.0), figures


def translate(setting: Setting) -> Prepared:
    """Prepares the run itself, as `translate --nodropout` has it."""
    jax = prepared_jax(setting)
    from pix2pix_jax.inference.generator import Generator

    config, images = config_of(setting), draw_batch(setting)['input']
    variables = our_state(config, jax).generator_variables()
    run = Generator(config, variables, dropout=False, batch=setting.batch)
    return timed(lambda: run(images)), {}


def _stablehlo(setting: Setting, weights: str) -> Prepared:
    jax = prepared_jax(setting)
    from jax import export

    with open(file_of(setting, 'stablehlo', weights), 'rb') as file:
        exported = export.deserialize(bytearray(file.read()))
    images, call = draw_batch(setting)['input'], jax.jit(exported.call)
    return timed(lambda: call(images).block_until_ready()), {}


def _onnx(setting: Setting, weights: str) -> Prepared:
    import onnxruntime

    path = file_of(setting, 'onnx', weights)
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    images = draw_batch(setting)['input']
    return timed(lambda: session.run(None, {'input': images})), {}


def stablehlo_float32(setting: Setting) -> Prepared:
    """Prepares the StableHLO file, which needs jax alone."""
    return _stablehlo(setting, 'float32')


def stablehlo_float16(setting: Setting) -> Prepared:
    """Prepares the smaller StableHLO file."""
    return _stablehlo(setting, 'float16')


def onnx_float32(setting: Setting) -> Prepared:
    """Prepares the ONNX file, which needs onnxruntime alone."""
    return _onnx(setting, 'float32')


def onnx_float16(setting: Setting) -> Prepared:
    """Prepares the smaller ONNX file."""
    return _onnx(setting, 'float16')


WRITER = {'write_all': write_all}
RUNTIMES = {
    'translate': translate,
    'onnx_float32': onnx_float32,
    'onnx_float16': onnx_float16,
    'stablehlo_float32': stablehlo_float32,
    'stablehlo_float16': stablehlo_float16,
}
