"""run.json: what a run was started with, and when it resumed."""

import contextlib
import datetime
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import subprocess
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from etils import epath

from pix2pix_jax.storage import atomic
from pix2pix_jax.version import is_checkout, numbers, version
from pix2pix_jax.workdir import run_files

if TYPE_CHECKING:  # who reads a run need not start it
    import jax

# Of run.json what a packed run keeps, and of each of its starts.
PORTABLE = ('versions', 'git_commit', 'devices', 'hosts', 'parameters', 'starts')
START = ('time', 'step', 'version')
PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'grain', 'numpy')


def record_start(
    workdir: epath.PathLike,
    command: str,
    devices: 'list[jax.Device]',
    step: int,
    arrays: Mapping[str, Mapping[str, Sequence[int]]],
) -> None:
    """Adds this start to `workdir`/run.json: command, versions, commit, devices, networks, time.

    Args:
      workdir: the folder of the run.
      command: the one that resumes the run.
      devices: those of this process.
      step: how many steps are done.
      arrays: the shapes of each network's parameters, by their names.
    """
    import jax

    from pix2pix_jax.runtime import cores, cpu_name

    now = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
    versions = _versions()
    start = {'time': now, 'step': step, 'version': versions['pix2pix_jax']}
    record = {
        'command': command,
        'versions': {'python': platform.python_version()} | versions,
        'git_commit': git_commit(),
        'devices': [f'{d.platform} {d.device_kind}' for d in devices],
        'cpu': cpu_name(),
        'cores': cores(),
        'hosts': jax.process_count(),
        'parameters': {network: _table(shapes) for network, shapes in arrays.items()},
        'xla_flags': os.environ.get('XLA_FLAGS', ''),
        'starts': [*_record(workdir).get('starts', []), start],
    }
    atomic.write_text(epath.Path(workdir) / 'run.json', json.dumps(record, indent=2) + '\n')


def _table(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    total = sum(map(math.prod, shapes.values()))
    return {'total': total, 'arrays': {name: list(shape) for name, shape in shapes.items()}}


def steps_before(workdir: epath.PathLike, version: tuple[int, ...]) -> float:
    """Returns how many steps of the run in `workdir` were taken by versions before `version`.

    That is the earliest step from which `version` or a later one resumed it: 0 for a new run,
    infinity where none has resumed it yet. Versions before 0.2.0 did not write their number down.
    A run without run.json, of which someone copied config and checkpoints alone, is one of these
    unless it has data.json, which they did not write either.
    """
    starts = _record(workdir).get('starts', [])
    newer = [s['step'] for s in starts if numbers(s.get('version', '')) >= version]
    trained = run_files.has_checkpoints(workdir) and not run_files.exists(workdir, 'data.json')
    return min(newer, default=math.inf) if starts or trained else 0


def devices_of(workdir: epath.PathLike) -> int:
    """Returns the number of devices of all hosts that the run in `workdir` last started with.

    That is 0 where it is not known.
    """
    with contextlib.suppress(ValueError, TypeError, KeyError):
        record = _record(workdir)
        return len(record['devices']) * int(record['hosts'])
    return 0


def _record(workdir: epath.PathLike) -> dict[str, Any]:
    """Returns what is in run.json; {} where there is none, or another file of that name."""
    data = run_files.read(workdir, 'run.json')
    if data is not None:
        with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):  # not ours
            record = json.loads(data)
            if all(map(_is_start, record['starts'])):
                return record
    return {}


def portable(workdir: epath.PathLike) -> str:
    """Returns run.json without what tells of this machine: its command and its XLA flags."""
    record = {name: value for name, value in _record(workdir).items() if name in PORTABLE}
    starts = [{k: v for k, v in s.items() if k in START} for s in record.get('starts', [])]
    return json.dumps(record | {'starts': starts}, indent=2) + '\n'


def _is_start(start: Any) -> bool:
    return (
        isinstance(start, dict)
        and isinstance(start.get('step'), int)
        and isinstance(start.get('version', ''), str)
    )


def _versions() -> dict[str, str]:
    packages = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {'pix2pix_jax': version()} | packages


def git_commit() -> str:
    """Returns the commit of the code, with + if it was changed since.

    '' outside git, and of an installed package, which may lie in the repository of something else.
    """
    if not is_checkout():
        return ''
    folder = pathlib.Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(
            ['git', '-C', str(folder), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git('rev-parse', 'HEAD') + ('+' if git('status', '--porcelain', '-uno') else '')
    except (OSError, subprocess.CalledProcessError):
        return ''
