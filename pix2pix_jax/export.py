"""Exports a run's generator as a portable model, with the output of `translate --nodropout`.

python -m pix2pix_jax.export --workdir=runs/facades --format=onnx --output=facades.onnx

ONNX (onnxruntime and others), StableHLO (jax alone, on CPUs, GPUs and TPUs), or the weights as
PyTorch takes them. Height and width stay open, any multiples that the network can halve, unless
--image_size fixes them. What is written was run, and compared with the run itself.

--format=web writes a folder: a page to draw on, whose model runs in the browser. Any static host
serves it. The runtime is downloaded once, or taken from --runtime=DIR.
"""

import importlib.metadata
import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from absl import flags
from etils import epath

from pix2pix_jax.config_fields import FIELDS
from pix2pix_jax.errors import UserError, run_command
from pix2pix_jax.inference.options import define_run, define_steps
from pix2pix_jax.storage import user_paths
from pix2pix_jax.version import numbers

if TYPE_CHECKING:
    from pix2pix_jax.inference.loaded_run import Run

MIN_JAX_FOR_ONNX = '0.8.1'  # the oldest that jax2onnx takes


class Format(NamedTuple):
    """What --format writes."""

    write: Callable[['Run', flags.FlagValues], list[str]]  # returns what to say about it, as lines
    extensions: tuple[str, ...] = ()  # of its file; (): it is a folder
    flags: tuple[str, ...] = ()  # that it has and others may not
    packages: tuple[str, ...] = ()  # beside what this package itself needs


def _write_program(run: 'Run', values: flags.FlagValues) -> list[str]:
    from pix2pix_jax.interop import exportable

    size = parse_size(values.image_size)
    output = user_paths.of_flag(values, 'output')
    return exportable.export(run, values.format, output, values.norm, size, values.dtype)


def _write_weights(run: 'Run', values: flags.FlagValues) -> list[str]:
    from pix2pix_jax.interop.torch import convert

    return convert.write_generator(run, user_paths.of_flag(values, 'output'))


def _write_zoo_model(run: 'Run', values: flags.FlagValues) -> list[str]:
    from pix2pix_jax.interop import bioimageio

    size = parse_size(values.image_size)
    workdir, output = user_paths.of_flag(values, 'workdir'), user_paths.of_flag(values, 'output')
    return bioimageio.export(run, workdir, output, values.norm, size, values.dtype)


def _write_page(run: 'Run', values: flags.FlagValues) -> list[str]:
    from pix2pix_jax.interop import web

    options = web.PageOptions(
        norm=values.norm,
        size=parse_size(values.image_size),
        weights=values.dtype if values['dtype'].present else 'float16',
        runtime=user_paths.of_flag(values, 'runtime'),
        webgpu=values.webgpu,
        examples=values.examples,
    )
    workdir, output = user_paths.of_flag(values, 'workdir'), user_paths.of_flag(values, 'output')
    return web.export(run, workdir, output, options)


OF_PROGRAMS = ('norm', 'dtype', 'image_size')
ONNX_PACKAGES = ('jax2onnx', 'onnxruntime')
FORMATS = {
    'onnx': Format(_write_program, ('.onnx',), (*OF_PROGRAMS, 'steps'), ONNX_PACKAGES),
    'stablehlo': Format(_write_program, ('.stablehlo',), (*OF_PROGRAMS, 'steps')),
    'pytorch': Format(_write_weights, ('.safetensors', '.pth', '.pt')),
    'bioimageio': Format(
        _write_zoo_model, ('.zip',), OF_PROGRAMS, (*ONNX_PACKAGES, 'bioimageio.core')
    ),
    'web': Format(
        _write_page,
        flags=(*OF_PROGRAMS, 'steps', 'runtime', 'webgpu', 'examples'),
        packages=ONNX_PACKAGES,
    ),
}


def define_flags() -> flags.FlagValues:
    """Returns the flags of this command."""
    values = flags.FlagValues()
    define_run(values)
    flags.DEFINE_enum('format', '', ['', *FORMATS], 'What to write.', flag_values=values)
    flags.DEFINE_string(
        'output',
        '',
        'The file: .onnx, .stablehlo; .safetensors, .pth or .pt for pytorch; .zip for bioimageio; '
        'a folder for web.',
        flag_values=values,
    )
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
        'What the kernels are stored in; float16, the default of web, is half the size. The '
        'computation is in float32.',
        flag_values=values,
    )
    define_steps(values)
    flags.DEFINE_list(
        'image_size',
        ['0'],
        'SIZE or HEIGHT,WIDTH of the images; 0: any the network takes, for web those of the '
        'training.',
        flag_values=values,
    )
    flags.DEFINE_string(
        'runtime',
        '',
        'Of web: the unpacked npm package onnxruntime-web; by default it is downloaded, once.',
        flag_values=values,
    )
    flags.DEFINE_bool(
        'webgpu', False, 'Of web: use WebGPU in browsers that have it.', flag_values=values
    )
    flags.DEFINE_integer(
        'examples',
        12,
        'Of web: most inputs of the run that are on the page.',
        0,
        flag_values=values,
    )
    flags.DEFINE_bool('overwrite', False, 'Replace an --output that exists.', flag_values=values)
    return values


def main(values: flags.FlagValues) -> int:
    """Exports as the flags say; returns the exit status."""
    for name in ('workdir', 'format', 'output'):
        if not values[name].value:
            raise UserError(f'--{name} is missing: --workdir, --format and --output are needed')
    parse_size(values.image_size)
    workdir = user_paths.of_flag(values, 'workdir')
    check_output(user_paths.of_flag(values, 'output'), values.format, values.overwrite)
    check_packages(values.format)
    check_flags(values)
    from pix2pix_jax.distributed import memory
    from pix2pix_jax.inference import generator, loaded_run
    from pix2pix_jax.runtime import prepare_process

    prepare_process()
    run = loaded_run.load_run(workdir, values.checkpoint, values.ema)
    check_method(run.config.method, values.format)
    run = run._replace(config=generator.at_steps(run.config, values.steps or 0))
    with memory.one_line('the export', 'allowed is a smaller --image_size'):
        lines = FORMATS[values.format].write(run, values)
    lines += generator.about_norm(run.config, values.norm)
    print('\n'.join(lines))
    return 0


def check_flags(values: flags.FlagValues) -> None:
    """Raises UserError for a flag that other formats have."""
    for name in dict.fromkeys(name for format in FORMATS.values() for name in format.flags):
        if values[name].present and name not in FORMATS[values.format].flags:
            others = [key for key, format in FORMATS.items() if name in format.flags]
            raise UserError(
                f'--{name} does nothing with --format={values.format}: it goes with --format='
                f'{" or ".join(others)}'
            )


def check_method(method: str, format: str) -> None:
    """Raises UserError where the format cannot hold what a method trains."""
    able = [key for key, one in FORMATS.items() if 'steps' in one.flags]
    if method == 'flow' and format not in able:
        raise UserError(
            f'--format={format}: it has no place for the noise and the steps of a run of '
            f"config.method='flow'; allowed are {' | '.join(able)}"
        )


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
    path, allowed = epath.Path(output), FORMATS[format].extensions
    if not allowed:
        return check_folder(path, overwrite)
    if path.suffix not in allowed:
        raise UserError(f'--output={output}: --format={format} writes {" or ".join(allowed)}')
    if path.is_dir():
        raise UserError(f'--output={output} is a folder: allowed is a file')
    user_paths.check_new(path, '--output', overwrite)


def check_folder(path: epath.Path, overwrite: bool) -> None:
    """Raises UserError where `path` is no folder, or one in which anything is already."""
    if path.exists() and not path.is_dir():
        raise UserError(f'--output={path} is a file: allowed is a folder')
    if path.exists() and any(path.iterdir()):
        user_paths.check_new(path, '--output', overwrite)


def check_packages(format: str) -> None:
    """Raises UserError where `format` needs other packages: how to install them, or a newer jax."""
    jax_version = importlib.metadata.version('jax')
    needed = FORMATS[format].packages
    if 'jax2onnx' in needed and numbers(jax_version) < numbers(MIN_JAX_FOR_ONNX):
        raise UserError(
            f'--format={format} needs jax {MIN_JAX_FOR_ONNX} or newer, this is jax {jax_version}: '
            'allowed are --format=stablehlo and pytorch'
        )
    missing = [name for name in needed if importlib.util.find_spec(name.partition('.')[0]) is None]
    if missing:
        extra = 'bioimageio' if 'bioimageio.core' in needed else 'export'
        raise UserError(
            f"--format={format} needs {' and '.join(missing)}: pip install -e '.[{extra}]'"
        )


if __name__ == '__main__':
    run_command(main, define_flags)
