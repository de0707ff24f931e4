"""Exports a run's generator as a portable model, with the output of `translate --nodropout`.

python -m pix2pix_jax.export --workdir=runs/facades --format=onnx --output=facades.onnx

ONNX (onnxruntime and others), StableHLO (jax alone, on CPUs, GPUs and TPUs), or the weights as
PyTorch takes them. Height and width stay open, any multiples that the network can halve, unless
--image_size fixes them. What is written was run, and compared with the run itself.
"""

import importlib.metadata
import importlib.util
import os
from typing import TYPE_CHECKING

from absl import flags
from etils import epath

from pix2pix_jax.config_fields import FIELDS
from pix2pix_jax.errors import DATA_ERROR, UserError, run_command
from pix2pix_jax.storage import atomic
from pix2pix_jax.version import numbers

if TYPE_CHECKING:  # starts jax, which a mistake in the flags need not wait for
    from pix2pix_jax.inference.generator import Run

EXTENSIONS = {
    'onnx': ('.onnx',), 'stablehlo': ('.stablehlo',), 'pytorch': ('.safetensors', '.pth', '.pt')
}  # fmt: skip
NEEDED = {'onnx': ('jax2onnx', 'onnxruntime')}  # beside what the package itself needs
ONNX_JAX = '0.8.1'  # the oldest that jax2onnx takes

SHARED = {'allow_override': True}  # other commands have flags of these names
WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of the run.', **SHARED)
FORMAT = flags.DEFINE_enum('format', '', ['', *EXTENSIONS], 'What to write.', **SHARED)
OUTPUT = flags.DEFINE_string(
    'output', '', 'The file: .onnx, .stablehlo; .safetensors, .pth or .pt for pytorch.', **SHARED
)
CHECKPOINT = flags.DEFINE_string('checkpoint', 'last', 'last, best or a step.', **SHARED)
EMA = flags.DEFINE_bool('ema', True, 'Averaged weights, where the run has any.', **SHARED)
NORMS = ['', *FIELDS['test.norm'].allowed.words]
NORM = flags.DEFINE_enum(
    'norm', '', NORMS, 'Statistics of the norms; by default config.test.norm.', **SHARED
)
DTYPE = flags.DEFINE_enum(
    'dtype',
    'float32',
    ['float32', 'float16'],
    'What the kernels are stored in; float16 is half the size. The computation is in float32.',
    **SHARED,
)
IMAGE_SIZE = flags.DEFINE_list(
    'image_size', ['0'], 'SIZE or HEIGHT,WIDTH of the images; 0: any the network takes.', **SHARED
)
OVERWRITE = flags.DEFINE_bool('overwrite', False, 'Replace an --output that exists.', **SHARED)


def main() -> int:
    """Runs the command that the flags give; returns the exit status."""
    for flag in (WORKDIR, FORMAT, OUTPUT):
        if not flag.value:
            raise UserError(
                f'--{flag.name} is missing: --workdir, --format and --output are needed'
            )
    workdir, output = (os.path.expanduser(flag.value) for flag in (WORKDIR, OUTPUT))
    size = parse_size(IMAGE_SIZE.value)
    check_output(output, FORMAT.value, OVERWRITE.value)
    check_packages(FORMAT.value)
    for name in ('norm', 'dtype', 'image_size'):
        if FORMAT.value == 'pytorch' and flags.FLAGS[name].present:
            raise UserError(f'--{name} is of a program: it goes with --format=onnx or stablehlo')
    from pix2pix_jax.inference import generator
    from pix2pix_jax.runtime import prepare_process

    prepare_process()
    run = generator.load_run(workdir, CHECKPOINT.value, EMA.value)
    if FORMAT.value == 'pytorch':
        from pix2pix_jax.interop.torch import convert

        lines = convert.write_generator(run, output)
    else:
        lines = export(run, FORMAT.value, output, NORM.value, size, DTYPE.value, EMA.value)
    print('\n'.join(lines))
    return 0


def export(
    run: 'Run',
    format: str,
    output: epath.PathLike,
    norm: str = '',
    size: tuple[int, int] | None = None,
    weights: str = 'float32',
    averaged: bool = True,
) -> list[str]:
    """Writes `run` to `output` as `format` ('onnx' | 'stablehlo'), once it has been tried.

    The other arguments are those of `exportable.create`. Returns what to say about it, as lines.
    Raises UserError for a size that the network cannot take, and, with status 1 and nothing
    written, where the exported model differs from the run.
    """
    from pix2pix_jax.interop import exportable

    if format == 'onnx':
        from pix2pix_jax.interop import onnx as interop
    else:
        from pix2pix_jax.interop import stablehlo as interop
    model = exportable.create(run, norm, size, weights, averaged)
    data = interop.to_bytes(model)
    allowed = exportable.TOLERANCES[weights]
    difference = exportable.difference(model, interop.load(data)[0])
    if not difference <= allowed:  # NaN is not
        raise UserError(
            f'--output={output}: nothing written, the exported model differs from the run by '
            f'{difference:.2g}; allowed is {allowed:g}',
            DATA_ERROR,
        )
    atomic.write_bytes(output, data)
    about, sides = model.metadata, 'x'.join(map(str, model.check_size))
    if model.size:
        taken = f'H, W = {", ".join(map(str, model.size))}'
    else:
        taken = f'H and W multiples of {about["multiple_of"]} from {about["least_size"]} on'
    shapes = {
        name: f'{name}: float32 (N, H, W, {about[f"{name}_channels"]}) on [-1, 1], {about[name]}'
        for name in ('input', 'output')
    }
    return [
        f'{output}: {len(data) / 1e6:.3g} MB, {format}, weights {weights}, step {run.step}',
        f'{shapes["input"]}; any N, {taken}',
        f'{shapes["output"]}; norms {about["norm"]}, no dropout',
        f'checked: on an image of {sides} within {difference:.2g} of the run ({allowed:g} allowed)',
    ]


def parse_size(words: list[str]) -> tuple[int, int] | None:
    """Returns (height, width) of a flag's words, None for 0; or UserError."""
    sides = [int(word) if word.isdecimal() else -1 for word in words]
    if sides == [0]:
        return None
    if len(sides) not in (1, 2) or min(sides) <= 0:
        raise UserError(
            f'--image_size={",".join(words)}: allowed are SIZE or HEIGHT,WIDTH in pixels, or 0'
        )
    return sides[0], sides[-1]


def check_output(output: str, format: str, overwrite: bool) -> None:
    """Raises UserError where `output` is not a file of this format, or is there already."""
    path, allowed = epath.Path(output), EXTENSIONS[format]
    if path.suffix not in allowed:
        raise UserError(f'--output={output}: --format={format} writes {" or ".join(allowed)}')
    if path.is_dir():
        raise UserError(f'--output={output} is a folder: allowed is a file')
    if path.exists() and not overwrite:
        raise UserError(f'--output={output} exists: give another name or --overwrite')


def check_packages(format: str) -> None:
    """Raises UserError where `format` needs other packages: how to install them, or a newer jax."""
    jax_version = importlib.metadata.version('jax')
    if format == 'onnx' and numbers(jax_version) < numbers(ONNX_JAX):
        raise UserError(
            f'--format=onnx needs jax {ONNX_JAX} or newer, this is jax {jax_version}: '
            'allowed are --format=stablehlo and pytorch'
        )
    missing = [name for name in NEEDED.get(format, ()) if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f'--format={format} needs {" and ".join(missing)}: pip install {" ".join(missing)}'
        )


if __name__ == '__main__':
    run_command(main)
