"""Exports a run's generator as a portable model, with the output of `translate --nodropout`.

python -m pix2pix_jax.export --workdir=runs/facades --format=onnx --output=facades.onnx

ONNX (onnxruntime and others), StableHLO (jax alone, on CPUs, GPUs and TPUs), or the weights as
PyTorch takes them. Height and width stay open, any multiples that the network can halve, unless
--image_size fixes them. What is written was run, and compared with the run itself.
"""

import importlib.metadata
import importlib.util
import os

from absl import flags
from etils import epath

from pix2pix_jax.config_fields import FIELDS
from pix2pix_jax.errors import UserError, run_command
from pix2pix_jax.version import numbers

EXTENSIONS = {
    'onnx': ('.onnx',),
    'stablehlo': ('.stablehlo',),
    'pytorch': ('.safetensors', '.pth', '.pt'),
    'bioimageio': ('.zip',),
}
ONNX = ('jax2onnx', 'onnxruntime')
EXTRA_PACKAGES = {
    'onnx': ONNX,
    'bioimageio': (*ONNX, 'bioimageio.core'),
}  # beside what the package itself needs
MIN_JAX_FOR_ONNX = '0.8.1'  # the oldest that jax2onnx takes


def define_flags() -> flags.FlagValues:
    """Returns the flags of this command."""
    values = flags.FlagValues()
    flags.DEFINE_string(
        'workdir', '', 'Folder of the run, or the zip of a packed one.', flag_values=values
    )
    flags.DEFINE_enum('format', '', ['', *EXTENSIONS], 'What to write.', flag_values=values)
    flags.DEFINE_string(
        'output',
        '',
        'The file: .onnx, .stablehlo; .safetensors, .pth or .pt for pytorch.',
        flag_values=values,
    )
    flags.DEFINE_string('checkpoint', '', 'last (the default), best or a step.', flag_values=values)
    flags.DEFINE_bool('ema', True, 'Averaged weights, where the run has any.', flag_values=values)
    flags.DEFINE_enum(
        'norm',
        '',
        ['', *FIELDS['test.norm'].allowed.words],
        'Statistics of the norms; by default config.test.norm.',
        flag_values=values,
    )
    flags.DEFINE_enum(
        'dtype',
        'float32',
        ['float32', 'float16'],
        'What the kernels are stored in; float16 is half the size. The computation is in float32.',
        flag_values=values,
    )
    flags.DEFINE_list(
        'image_size',
        ['0'],
        'SIZE or HEIGHT,WIDTH of the images; 0: any the network takes.',
        flag_values=values,
    )
    flags.DEFINE_bool('overwrite', False, 'Replace an --output that exists.', flag_values=values)
    return values


def main(values: flags.FlagValues) -> int:
    """Exports as the flags say; returns the exit status."""
    for name in ('workdir', 'format', 'output'):
        if not values[name].value:
            raise UserError(f'--{name} is missing: --workdir, --format and --output are needed')
    workdir, output = map(os.path.expanduser, (values.workdir, values.output))
    size = parse_size(values.image_size)
    check_output(output, values.format, values.overwrite)
    check_packages(values.format)
    for name in ('norm', 'dtype', 'image_size'):
        if values.format == 'pytorch' and values[name].present:
            raise UserError(f'--{name} is of a program: it goes with --format=onnx or stablehlo')
    from pix2pix_jax.distributed import memory
    from pix2pix_jax.inference import generator
    from pix2pix_jax.runtime import prepare_process

    prepare_process()
    run = generator.load_run(workdir, values.checkpoint, values.ema)
    if values.format == 'pytorch':
        from pix2pix_jax.interop.torch import convert

        lines = convert.write_generator(run, output)
    elif values.format == 'bioimageio':
        from pix2pix_jax.interop import bioimageio

        with memory.one_line('the export', 'allowed is a smaller --image_size'):
            lines = bioimageio.export(run, workdir, output, values.norm, size, values.dtype)
    else:
        from pix2pix_jax.interop import exportable

        with memory.one_line('the export', 'allowed is a smaller --image_size'):
            lines = exportable.export(run, values.format, output, values.norm, size, values.dtype)
    print('\n'.join(lines))
    return 0


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
    if format in EXTRA_PACKAGES and numbers(jax_version) < numbers(MIN_JAX_FOR_ONNX):
        raise UserError(
            f'--format={format} needs jax {MIN_JAX_FOR_ONNX} or newer, this is jax {jax_version}: '
            'allowed are --format=stablehlo and pytorch'
        )
    missing = [
        name
        for name in EXTRA_PACKAGES.get(format, ())
        if importlib.util.find_spec(name.partition('.')[0]) is None
    ]
    if missing:
        raise UserError(
            f'--format={format} needs {" and ".join(missing)}: pip install {" ".join(missing)}'
        )


if __name__ == '__main__':
    run_command(main, define_flags)
