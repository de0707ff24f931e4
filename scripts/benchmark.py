"""Times training, translation, the input pipeline and the start, beside PyTorch on the same device.

pip install -e '.[bench]'
python scripts/benchmark.py [--device=cpu|gpu --size=256 --batch=1 --width=64 --dtype=float32
    --steps=20] [--parts=step,infer,pipeline,start,error,run,loop,export] [--peers=eager,graph,...]
    [--json=FILE [--overwrite]] [--no-torch]

Each contestant has a process of its own, and they take turns in rounds, the other one asleep.
Figures are medians of all that was timed, ratios medians of the rounds' ratios. The JPEG files of
the pipeline are made by the script.

On a GPU 20 steps are taken from one wait for it to the next, on the same random images that lie on
it; losses stay there. --dtype is float32 (strictly), tf32 or bfloat16 (PyTorch's autocast), and
the errors against float64 prove it. The peer is the best of PyTorch's variants (--peers; on a CPU
eager alone). --batch and --dtype take lists: --batch=1,4,16,64 --dtype=tf32,float32,bfloat16.
"""

import importlib.util
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from absl import flags

from bench import variants
from bench.card import nvidia, processor, versions
from bench.figures import DEFAULTS, PARTS, WITH_FILES, Timing, about_figures, write_pairs
from bench.table import table
from bench.tasks import DTYPES, Setting
from pix2pix_jax.errors import UserError, run_command
from pix2pix_jax.storage import user_paths


def define_flags() -> flags.FlagValues:
    """Returns the flags of this command."""
    values = flags.FlagValues()

    def count(name: str, default: int, about: str) -> None:
        flags.DEFINE_integer(name, default, about, lower_bound=1, flag_values=values)

    def names(name: str, about: str, default: tuple[str, ...] = ()) -> None:
        flags.DEFINE_list(name, list(default), about, flag_values=values)

    about = 'cpu or gpu; by default what jax finds.'
    flags.DEFINE_enum('device', None, ['cpu', 'gpu'], about, flag_values=values)
    about = 'Side of the images: 32, 64, 128 or 256.'
    flags.DEFINE_integer('size', 256, about, flag_values=values)
    names('batch', 'Batch sizes.', ('1',))
    count('width', 64, 'Filters of the first layers.')
    names('dtype', 'Of the computation: float32, tf32 (a GPU), bfloat16.', ('float32',))
    count('steps', 20, 'Times that steps (of a GPU: 20 together) and translations are timed.')
    count('starts', 3, 'Starts with the compile cache.')
    count('pairs', 300, 'JPEG files that are made and read.')
    names('parts', f'What is timed, of {", ".join(PARTS)}; by default it depends on the device.')
    names('peers', f"PyTorch's variants, of {', '.join(variants.PEERS)}.")
    flags.DEFINE_string('json', '', 'A file for the figures.', flag_values=values)
    flags.DEFINE_bool('overwrite', False, 'Replace a --json that exists.', flag_values=values)
    about = 'Time PyTorch as well; --no-torch: this project alone.'
    flags.DEFINE_bool('torch', True, about, flag_values=values)
    return values


def main(values: flags.FlagValues) -> None:
    """Prints a table for each batch and dtype, and writes the figures."""
    device = values.device or found_device()
    for dtype in values.dtype:
        if dtype not in DTYPES[device]:
            allowed = ', '.join(DTYPES[device])
            raise UserError(f'--device={device} --dtype={dtype}: allowed are {allowed}')
    check_flags(values, device)
    peers = tuple(values.peers) or variants.default_peers(device)
    timing = Timing(values.steps, values.starts, peers if values.torch else ())
    packages = ('jax', 'torch') if timing.peers else ('jax',)
    machine = processor() | versions(*packages)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        settings = [
            Setting(values.size, int(batch), values.width, dtype, folder, values.pairs, device)
            for dtype, batch in itertools.product(values.dtype, values.batch)
        ]
        if device == 'gpu':
            machine |= about_figures(settings[0], bool(timing.peers))
        for setting in settings:
            results.append(measured(setting, timing, values.parts or DEFAULTS[device]))
            # Clocks and power are asked for at the end, when the card has worked.
            results[-1]['machine'] = machine | (nvidia() if device == 'gpu' else {})
            print(table(results[-1]), flush=True)
            if values.json:  # of one setting an object, of several a list
                text = json.dumps(results[0] if len(settings) == 1 else results, indent=1)
                pathlib.Path(values.json).write_text(text + '\n')


def measured(setting: Setting, timing: Timing, parts: tuple[str, ...]) -> dict:
    """Returns the figures of the parts, and what they are of."""
    figures = {
        name: getattr(setting, name) for name in ('size', 'batch', 'width', 'dtype', 'device')
    }
    figures['steps'] = timing.steps
    for part in parts:
        if part in WITH_FILES and not os.path.exists(f'{setting.folder}/train'):
            write_pairs(pathlib.Path(setting.folder), setting.pairs, setting.size)
        figures |= PARTS[part](setting, timing)
    return figures


def found_device() -> str:
    """Returns the device that jax finds, 'cpu' or 'gpu', without taking it for this process."""
    if not shutil.which('nvidia-smi'):
        return 'cpu'
    code = 'import jax; print(jax.default_backend())'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    return 'gpu' if done.stdout.strip() == 'gpu' else 'cpu'


def check_flags(values: flags.FlagValues, device: str) -> None:
    """Raises UserError for a value that cannot be timed on the device."""
    if values.size not in (32, 64, 128, 256):
        raise UserError(f'--size={values.size}: allowed are 32, 64, 128, 256')
    for batch in values.batch:
        if not batch.isdecimal() or int(batch) < 1:
            raise UserError(f'--batch={batch}: allowed are whole numbers from 1, as 1,4,16')
    for name, allowed in (('parts', tuple(PARTS)), ('peers', variants.PEERS)):
        for value in values[name].value:
            if value not in allowed:
                raise UserError(f'--{name}: {value!r} is unknown, allowed are {", ".join(allowed)}')
    if values.json:
        user_paths.check_new(values.json, '--json', values.overwrite)
    if 'export' in values.parts and device == 'gpu':
        raise UserError('--parts=export is timed on a CPU, as its runtimes are: --device=cpu')
    if 'export' in values.parts and importlib.util.find_spec('jax2onnx') is None:
        raise UserError("jax2onnx is missing: pip install -e '.[export]'")
    if values.torch and importlib.util.find_spec('torch') is None:
        raise UserError("torch is missing: pip install -e '.[bench]', or --no-torch")


def accept_no_torch(argv: list[str]) -> None:
    """Replaces --no-torch, as people write it, by absl's --notorch."""
    argv[:] = ['--notorch' if word == '--no-torch' else word for word in argv]


if __name__ == '__main__':
    run_command(main, define_flags, check_argv=accept_no_torch)
