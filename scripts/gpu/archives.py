"""What of the runs goes into the report's folder: few files, none of them large, no folders."""

import contextlib
import os
import pathlib
import zipfile
from collections.abc import Callable, Iterable
from typing import TypeVar

from pix2pix_jax.errors import UserError
from pix2pix_jax.reports.image_grid import evenly_spaced
from pix2pix_jax.runtime import programs_folder

MAX_BYTES = 16 * 2**20 - 2**16  # of an archive, with room for its table
IMAGES = ('images_1.zip', 'images_2.zip')
PROGRAMS = 'programs.zip'
NAMES = ('metrics.zip', 'sheets.zip', *IMAGES, PROGRAMS)
SMALL = (
    '*.json', 'metrics.jsonl', 'index.html', 'evaluation/*/*.json', 'evaluation/*/*.csv',
)  # fmt: skip
HEADER = 300  # bytes of an archive for each file in it, at most
T = TypeVar('T')


def write_archives(runs: list[pathlib.Path], output: pathlib.Path) -> list[str]:
    """Writes NAMES, as far as there is something for them; returns what was left out, in words."""
    there = [run for run in runs if run.is_dir()]
    small = [path for run in there for pattern in SMALL for path in sorted(run.glob(pattern))]
    images = [
        path for run in there for path in sorted(run.glob('evaluation/*/images/**/*_output.png'))
    ]
    every = [path for run in there for path in sorted(run.glob('samples/*.png'))]
    grids = _evenly_that_fit(every)
    left = {'files of runs': _pack(small, output / 'metrics.zip')}
    left['sample grids'] = [path for path in every if path not in grids]
    _pack(grids, output / 'sheets.zip')
    for name in IMAGES:
        images = _pack(images, output / name)
    left['test images'] = images
    return [f'{len(paths)} {what} did not fit' for what, paths in left.items() if paths]


def write_programs(
    work: pathlib.Path, cache: pathlib.Path, since: float, output: pathlib.Path
) -> list[str]:
    """Writes PROGRAMS: traces of profiles, and compiled programs for the next report to begin with.

    Args:
      work: the folder that the parts share, which holds the traces.
      cache: the folder of compiled programs.
      since: when the report began, in s since 1970: older programs are of other runs.
      output: the report's.

    Returns:
      What did not fit, in words.
    """
    traces = sorted(work.glob('trace_*/**/*.xplane.pb'))
    times = _times(cache)
    # First what XLA found by timing kernels, which is small, then the newest.
    programs = sorted(
        (path for path in times if times[path] >= since),
        key=lambda path: ('autotune' not in str(path), -times[path]),
    )
    roots = dict.fromkeys(programs, cache) | dict.fromkeys(traces, work)
    taken = that_fit(roots, _size, MAX_BYTES)
    _write({path: path.relative_to(roots[path]) for path in taken}, output / PROGRAMS)
    left = len(roots) - len(taken)
    return [f'{left} traces and programs did not fit'] if left else []


def read_programs(archive: pathlib.Path, cache: pathlib.Path) -> tuple[int, int]:
    """Puts the compiled programs of an earlier report's PROGRAMS into the cache.

    They are this report's, too: their time is now. What XLA found by timing kernels is of the card
    and goes to this processor's folder from those of others. Raises UserError where it is none.

    Returns:
      How many files there are, and how many of them this process will look at.
    """
    here = programs_folder().name
    count = of_here = 0
    try:
        with zipfile.ZipFile(archive) as file:
            for name in file.namelist():
                folder, _, inside = name.partition('/')
                target = f'{here}/{inside}' if 'autotune' in inside else name
                path = (cache / target).resolve()
                if not path.is_relative_to(cache.resolve()):
                    raise OSError(f'{name} lies elsewhere')
                if not folder.startswith('trace_'):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(file.read(name))
                    count, of_here = count + 1, of_here + target.startswith(f'{here}/')
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(
            f'--programs={archive}: it is no {PROGRAMS} of a report ({error})'
        ) from error
    return count, of_here


def that_fit(items: Iterable[T], size: Callable[[T], int], room: int) -> list[T]:
    """Returns those of the items that have room together, taken in their order."""
    taken = []
    for item in items:
        if size(item) <= room:
            room -= size(item)
            taken.append(item)
    return taken


def _evenly_that_fit(paths: list[pathlib.Path]) -> list[pathlib.Path]:
    """Returns as many of the files, evenly chosen, as fit one archive."""
    for count in range(len(paths), 0, -1):
        chosen = [paths[i] for i in evenly_spaced(len(paths), count)]
        if sum(_size(path) for path in chosen) <= MAX_BYTES:
            return chosen
    return []


def _times(cache: pathlib.Path) -> dict[pathlib.Path, float]:
    """Returns when each file below a folder was written.

    Others may write there: what vanishes meanwhile is left out, and what is not whole (tmp/).
    """
    times = {}
    for folder, inside, names in os.walk(cache):
        inside[:] = [name for name in inside if name != 'tmp']
        for path in (pathlib.Path(folder, name) for name in names):
            with contextlib.suppress(FileNotFoundError):
                times[path] = path.stat().st_mtime
    return times


def _size(path: pathlib.Path) -> int:
    """Returns what a file takes in an archive; of one that vanished the least."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size + HEADER
    return HEADER


def _pack(paths: list[pathlib.Path], archive: pathlib.Path) -> list[pathlib.Path]:
    """Writes the first files that fit, by their paths from the folder of all runs.

    Returns the others. There is no archive of no files.
    """
    taken, total = 0, 0
    while taken < len(paths) and total + _size(paths[taken]) <= MAX_BYTES:
        total += _size(paths[taken])
        taken += 1
    if taken:
        root = _root(paths[0])
        _write({path: path.relative_to(root) for path in paths[:taken]}, archive)
    return paths[taken:]


def _write(files: dict[pathlib.Path, pathlib.Path], archive: pathlib.Path) -> None:
    """Writes files by their names in the archive, but those that vanished; none of no files."""
    if files:
        with zipfile.ZipFile(archive, 'w') as zipped:
            for path, name in files.items():
                with contextlib.suppress(FileNotFoundError):
                    zipped.write(path, name)


def _root(path: pathlib.Path) -> pathlib.Path:
    """Returns the folder of the runs, one of which `path` lies in: the one above config.json's."""
    return next(p.parent for p in path.parents if (p / 'config.json').exists())
