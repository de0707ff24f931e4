"""What a run writes while it trains: metrics.jsonl, TensorBoard events, sample grids.

The methods are named as in clu.metric_writers, which needs TensorFlow; this does not. Whatever
happens to the process, `metrics.jsonl` holds one JSON object a step in rising order, and at most
its last line is torn.
"""

import contextlib
import errno
import io
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath
from PIL import Image

from pix2pix_jax.errors import DataError
from pix2pix_jax.storage import atomic
from pix2pix_jax.workdir import run_files
from pix2pix_jax.workdir.run_json import steps_before
from pix2pix_jax.workdir.tensorboard import Event, EventsWriter, Summary, summary
from pix2pix_jax.workdir.trackers import NullTracker, Tracker

METRICS = 'metrics.jsonl'
STORE_SECONDS = 30  # between two writes of rows to an object store, where each is a whole new file
EVENTS = 'events.out.tfevents.*'
SSIM = ('eval/ssim', 'test/ssim')
OLD_SSIM = 'versions before 0.2.0 measured SSIM on [-1, 1], where it is another quantity'


class RunWriter:
    """Writes the metrics and sample grids of one run; one process of the run holds one.

    Where the disk refuses, methods raise OSError and lose nothing: rows and events are put into
    their files by a later call, once it does not. After `flush` all that was given is on the disk.
    """

    def __init__(
        self,
        workdir: epath.PathLike,
        resume_step: int = 0,
        tracker: Tracker | NullTracker | None = None,
    ):
        """Takes `workdir` back to `resume_step`: later rows and samples are removed.

        The event files are replaced by one that replays what is kept, so that TensorBoard shows
        every step once; `tracker`, which takes a step once, gets all that is kept, too. Raises
        DataError where `metrics.jsonl` is not what a run wrote.
        """
        self._workdir, self._tracker = epath.Path(workdir), tracker or NullTracker()
        self._path = self._workdir / METRICS
        self._workdir.mkdir(parents=True, exist_ok=True)
        rows = [row for row in read_metrics(workdir) if row['step'] <= resume_step]
        if rows != [row for row in _read_rows(workdir) if row['step'] <= resume_step]:
            names, last = ' and '.join(SSIM), rows[-1]['step']
            print(f'{self._path}: {names} up to step {last} are null now: {OLD_SSIM}', flush=True)
        atomic.write_bytes(self._path, _lines(rows))
        # Rows that may not be in the file yet, the newest (which keys may still join) last; where
        # in the file they begin; and what is there of them, in bytes.
        self._rows, self._written = [dict(row) for row in rows[-1:]], _lines(rows[-1:])
        self._before = _lines(rows[:-1])  # of an object store's file; else a disk's need not stay
        self._start = len(self._before)
        self._next_put = time.monotonic() + STORE_SECONDS
        for step, path in sample_paths(workdir):
            if step > resume_step:
                path.unlink()
        self._hparams: Summary | None = None
        self._events: EventsWriter | None = None
        self._replay()
        self._tracker.replay(rows, sample_paths(workdir))

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Adds `scalars` (any number type, arrays of one value too) to the row of `step` (>= 1).

        The row is put into the file when a later step comes or on `flush`; into an object store
        after STORE_SECONDS. What is not finite becomes null. Raises ValueError if `step` is before
        the last one.
        """
        last = self._rows[-1]['step'] if self._rows else -1
        if step < last:
            raise ValueError(f'step {step} comes after step {last}')
        if step > last:
            self._rows.append({'step': int(step)})
        row, values = self._rows[-1], {name: _number(value) for name, value in scalars.items()}
        new = {k: v for k, v in values.items() if k not in row or row[k] != v}
        row.update(new)
        self._add_scalars(step, new)
        self._tracker.write_scalars(step, new)
        if atomic.is_local(self._path) or time.monotonic() >= self._next_put:
            self._settle()

    def write_images(self, step: int, grid: np.ndarray) -> None:
        """Writes `grid` (uint8, H,W,3) as `samples/step_XXXXXXX.png` and to TensorBoard."""
        png = atomic.encode_png(grid)
        atomic.write_bytes(self._workdir / 'samples' / f'step_{step:07d}.png', png)
        self._add_samples(step, png)
        self._tracker.write_image(step, grid)

    def write_hparams(self, config: Mapping[str, Any]) -> None:
        """Shows the nested dict `config` as text in TensorBoard."""
        text = json.dumps(config, indent=2, sort_keys=True)
        self._hparams = summary.text('config', '\n'.join('    ' + x for x in text.splitlines()))
        self._add(0, self._hparams)

    def rows(self) -> list[dict[str, Any]]:
        """Returns all rows so far, the current one included, as `read_metrics` does."""
        self._put(self._rows)
        return read_metrics(self._workdir)

    def flush(self) -> None:
        """Puts everything given so far on the disk."""
        if atomic.is_local(self._path):  # else it is one new file: written once
            self._settle()
        self._put(self._rows)
        self._forget()
        if atomic.is_local(self._workdir):
            with atomic.naming(self._path), open(self._path, 'r+b') as file:
                atomic.sync(file)
        if self._events is None:
            self._replay()
        if self._events is None:  # the disk took the rows, and not the samples
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._workdir))
        with atomic.naming(self._workdir):
            self._events.flush()

    def close(self) -> None:
        """Flushes, as far as the disk allows, and ends; nothing may be written afterwards."""
        with contextlib.suppress(OSError):  # of what was saved all is there: nothing to say
            self.flush()
        with contextlib.suppress(OSError):
            if self._events is not None:
                self._events.close()
                self._events = NoEvents()  # tensorboardX's for gs:// closes when it is collected
        self._tracker.close()

    def _settle(self) -> None:
        """Puts all rows but the newest into the file, for good."""
        if len(self._rows) > 1:
            self._put(self._rows[:-1])
            self._forget()

    def _forget(self) -> None:
        """Keeps the newest row alone: the others, which are in the file, do not change."""
        done = _lines(self._rows[:-1])
        self._start += len(done)
        if not atomic.is_local(self._path):
            self._before += done
        self._rows, self._written = self._rows[-1:], self._written[len(done) :]

    def _put(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Puts `rows`, the first of self._rows, into the file."""
        data = _lines(rows)
        if data == self._written:
            return
        if not atomic.is_local(self._path):  # object stores cannot append
            atomic.write_bytes(self._path, self._before + data)
            self._next_put = time.monotonic() + STORE_SECONDS
        elif self._written:  # keys join a row that is there: it must not be torn
            kept = self._path.read_bytes()[: self._start]
            atomic.write_bytes(self._path, kept + data)
        else:
            with atomic.naming(self._path), open(self._path, 'r+b') as file:
                file.seek(self._start)
                file.truncate()  # of what a full disk tore
                file.write(data)
        self._written = data

    # ------------------------------------------------------------ TensorBoard

    def _replay(self) -> None:
        """Replaces the event files by one with all that `metrics.jsonl` and samples/ hold."""
        for path in self._workdir.glob(EVENTS):
            path.unlink()
        try:
            # Not SummaryWriter: a full disk ends its thread, and then its full queue stops the run.
            with atomic.naming(self._workdir):
                self._events = EventsWriter(str(self._workdir / 'events'))
        except ImportError as error:  # tensorboardX's, for object stores
            print(f'{self._workdir}: no TensorBoard events: {error}', flush=True)
            self._events = NoEvents()
        if self._hparams is not None:
            self._add(0, self._hparams)
        for row in read_metrics(self._workdir):
            self._add_scalars(row['step'], row)
        for step, path in sample_paths(self._workdir):
            self._add_samples(step, path.read_bytes())

    def _add_scalars(self, step: int, scalars: Mapping[str, float | None]) -> None:
        for name, value in scalars.items():
            if name != 'step' and value is not None:
                self._add(step, Summary(value=[Summary.Value(tag=name, simple_value=value)]))

    def _add_samples(self, step: int, png: bytes) -> None:
        width, height = Image.open(io.BytesIO(png)).size
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
        self._add(step, Summary(value=[Summary.Value(tag='samples', image=image)]))

    def _add(self, step: int, values: Summary) -> None:
        if self._events is None:  # torn by a full disk: `flush` makes it anew
            return
        try:
            self._events.write_event(Event(wall_time=time.time(), step=step, summary=values))
        except OSError:
            self._events = None


class NoEvents:
    """Stands for the event file where there is none."""

    def write_event(self, event: Event) -> None:
        """Drops `event`."""

    def flush(self) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


def read_metrics(workdir: epath.PathLike) -> list[dict[str, Any]]:
    """Returns the rows of `workdir`/metrics.jsonl, [] where there is none.

    Values that were not finite are None, and so is the SSIM of steps that versions before 0.2.0
    took. A torn last line (the process was killed) is left out. Raises DataError for any other line
    that is not a row.
    """
    rows, old = _read_rows(workdir), steps_before(workdir, (0, 2))
    return [
        row | dict.fromkeys(row.keys() & set(SSIM)) if row['step'] <= old else row for row in rows
    ]


def _read_rows(workdir: epath.PathLike) -> list[dict[str, Any]]:
    """Returns the rows as they are in the file; see `read_metrics`."""
    path, data = epath.Path(workdir) / METRICS, run_files.read(workdir, METRICS)
    lines = (data or b'').splitlines()
    rows = []
    for number, line in enumerate(lines, start=1):
        row = _parse(line)
        if row is not None:
            rows.append(row)
        elif number < len(lines):
            raise DataError(f'{path}, line {number}: not a JSON object with a step')
    return rows


def sample_paths(workdir: epath.PathLike) -> list[tuple[int, epath.Path]]:
    """Returns (step, path) of the run's sample grids, in the order of the steps."""
    found = []
    for path in (epath.Path(workdir) / 'samples').glob('step_*.png'):
        digits = path.stem.removeprefix('step_')
        if digits.isdecimal():
            found.append((int(digits), path))
    return sorted(found)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
        is_row = isinstance(row['step'], int)
        for value in row.values():
            math.isfinite(0 if value is None else value)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return None
    return row if is_row else None


def _lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    return ''.join(json.dumps(row, allow_nan=False) + '\n' for row in rows).encode()


def _number(value: Any) -> float | None:
    value = np.asarray(value).item()
    return value if math.isfinite(value) else None
