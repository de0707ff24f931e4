"""What a part of the report is told, and how it tells what it has found."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from bench.tasks import Setting
from bench.variants import OURS

ROOT = pathlib.Path(__file__).resolve().parents[2]
Result = dict[str, Any]
NO_TORCH = 'torch is missing'
Write = Callable[[Result], None]  # a part calls it whenever it has found more


class Missing(Exception):
    """What a part needs is not there: a package, a folder. The message says what."""


class PartContext(NamedTuple):
    """What every part of the report needs to know."""

    device: str  # 'cpu' | 'gpu'
    tiny: bool  # a rehearsal: tiny images and networks, few steps
    facades: str  # the folder of the pairs; '': there is none
    segmenter: str  # the file of the FCN-score's segmenter; '': there is none
    work: str  # the folder that the parts share; it is thrown away
    seconds: float  # what the part may take
    timed: Sequence[str] = ()  # the dtypes whose steps are timed; (): the device's
    variants: Sequence[str] = ()  # the ways to run a step that are compared; (): all

    def path(self, name: str) -> pathlib.Path:
        """Returns a path in the folder that the parts share."""
        return pathlib.Path(self.work) / name

    def setting(self, dtype: str = '', **more: Any) -> Setting:
        """Returns the benchmark's setting: the paper's networks, or tiny ones."""
        size, width, pairs = (32, 4, 8) if self.tiny else (256, 64, 100)
        dtype = dtype or self.dtypes()[0]
        folder = str(self.path(f'pairs_{size}'))
        setting = Setting(size, 1, width, dtype, folder, pairs, self.device, cached=True)
        return setting._replace(**more)

    def dtypes(self) -> Sequence[str]:
        """Returns what is timed: a CPU has neither TF32 nor is it faster in bfloat16."""
        if self.timed:
            return self.timed
        return ('float32',) if self.device == 'cpu' else ('tf32', 'bfloat16')


def write_context(context: PartContext, path: pathlib.Path) -> None:
    """Writes a context for the process of a part."""
    path.write_text(json.dumps(context._asdict()))


def read_context(path: pathlib.Path) -> PartContext:
    """Returns the context that `write_context` wrote when this process was started.

    What its start took, imports on a cold disk, is no longer there for the part.
    """
    context = PartContext(**json.loads(path.read_text()))
    return context._replace(seconds=context.seconds - (time.time() - path.stat().st_mtime))


def environment(context: PartContext, **more: str) -> dict[str, str]:
    """Returns the environment in which a command of this checkout runs on the report's device."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get('PYTHONPATH'))))
    platforms = 'cpu' if context.device == 'cpu' else 'cuda,cpu'
    fixed = {'PYTHONPATH': path, 'PYTHONUNBUFFERED': '1', 'JAX_PLATFORMS': platforms}
    return os.environ | fixed | {'XLA_PYTHON_CLIENT_PREALLOCATE': 'false'} | more


def untuned(context: PartContext) -> dict[str, str]:
    """Returns a variable of the environment that keeps XLA from choosing kernels by their times.

    On an H200 that took half a minute for a program that then ran for a second.
    """
    flags = OURS['layouts+untuned'] if context.device == 'gpu' else ''
    return {'XLA_FLAGS': f'{os.environ.get("XLA_FLAGS", "")} {flags}'.strip()}


def start(
    context: PartContext, module: str, words: list[str], log: str, **more: str
) -> subprocess.Popen:
    """Starts a module of the checkout as a command, and does not wait for it.

    Args:
      context: what all parts share.
      module: its name, as after `python -m`.
      words: of its command line.
      log: the name of the file to which what it prints is added.
      more: variables of its environment, beside those of the context.
    """
    with context.path(log).open('a') as file:
        return subprocess.Popen(
            [sys.executable, '-m', module, *words],
            cwd=ROOT,
            env=environment(context, **more),
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def finished(process: subprocess.Popen, context: PartContext, log: str) -> None:
    """Waits for a process; raises RuntimeError with its last line where it failed."""
    status = process.wait()
    if status:
        raise RuntimeError(f'status {status}: {last_line(context.path(log))}')


def last_line(path: pathlib.Path) -> str:
    """Returns the last line that says something, of a file that need not be there."""
    lines = path.read_text(errors='replace').split('\n') if path.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), '')


def stop(process: subprocess.Popen, patience: float) -> int:
    """Asks a process to save and end, waits for at most `patience` seconds; returns its status."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def wait_until(happened: Callable[[], object], process: subprocess.Popen, seconds: float) -> bool:
    """Waits until something `happened`, the process has ended, or `seconds` passed: False then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if happened():
            return True
        time.sleep(0.05)
    return bool(happened())


def fields(words: Mapping[str, Any]) -> list[str]:
    """Returns config fields as flags of the training command."""
    return [f'--config.{name}={value}' for name, value in words.items()]
