"""run.json: what a run was started with, and when it went on."""

import contextlib
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess

import jax
from etils import epath

from pix2pix_jax import files

PACKAGES = ('pix2pix_jax', 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'grain', 'numpy')


def record_start(
    workdir: epath.PathLike, command: str, devices: list[jax.Device], step: int
) -> None:
    """Adds this start to `workdir`/run.json: command, versions, git commit, devices, time."""
    path = epath.Path(workdir) / 'run.json'
    starts = []
    if path.exists():
        with contextlib.suppress(ValueError, TypeError, KeyError):  # not ours: begin anew
            starts = list(json.loads(path.read_text())['starts'])
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
    record = {
        'command': command,
        'versions': {'python': platform.python_version()} | _versions(),
        'git_commit': _git_commit(),
        'devices': [f'{d.platform} {d.device_kind}' for d in devices],
        'hosts': jax.process_count(),
        'xla_flags': os.environ.get('XLA_FLAGS', ''),
        'starts': [*starts, {'time': now, 'step': step}],
    }
    files.write_text(path, json.dumps(record, indent=2) + '\n')


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def _git_commit() -> str:
    """Returns the commit of the code, with + if it was changed since; '' outside git."""
    folder = pathlib.Path(__file__).parent

    def git(*words):
        return subprocess.run(
            ['git', '-C', str(folder), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git('rev-parse', 'HEAD') + ('+' if git('status', '--porcelain', '-uno') else '')
    except (OSError, subprocess.CalledProcessError):
        return ''
