"""What a run writes while it trains: metrics.jsonl, TensorBoard events, sample sheets.

The methods are named as in clu.metric_writers, which needs TensorFlow; this does not. Whatever
happens to the process, `metrics.jsonl` holds one JSON object a step in rising order, and at most
its last line is torn.
"""

import io
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorboardX
from etils import epath
from PIL import Image
from tensorboardX.proto.summary_pb2 import Summary

from pix2pix_jax import files
from pix2pix_jax.errors import DataError

METRICS = 'metrics.jsonl'
EVENTS = 'events.out.tfevents.*'


class RunWriter:
    """Writes the metrics and sample sheets of one run; one process of the run holds one."""

    def __init__(self, workdir: epath.PathLike, resume_step: int = 0):
        """Takes `workdir` back to `resume_step`: later rows and sheets go.

        The event files are replaced by one that replays what is kept, so that TensorBoard shows
        every step once. Raises DataError where `metrics.jsonl` is not what a run wrote.
        """
        self._workdir = epath.Path(workdir)
        self._workdir.mkdir(parents=True, exist_ok=True)
        rows = [row for row in read_metrics(workdir) if row['step'] <= resume_step]
        files.write_text(self._workdir / METRICS, ''.join(map(_line, rows)))
        # The newest row, which keys may still join, and whether the file holds it as it is now.
        self._row = dict(rows[-1]) if rows else {}
        self._in_file = self._saved = bool(rows)

        for path in self._workdir.glob(EVENTS):
            path.unlink()
        self._events = tensorboardX.SummaryWriter(str(self._workdir))
        for row in rows:
            self._add_scalars(row['step'], row)
        for step, path in sheet_paths(workdir):
            if step > resume_step:
                path.unlink()
            else:
                self._add_sheet(step, path.read_bytes())

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Adds `scalars` (any number type, arrays of one value too) to the row of `step` (>= 1).

        The row is put into the file when a later step comes or on `flush`. What is not finite
        becomes null. Raises ValueError if `step` is before the last one.
        """
        last = self._row.get('step', -1)
        if step < last:
            raise ValueError(f'step {step} comes after step {last}')
        if step > last:
            self._put_row()
            self._row, self._in_file, self._saved = {'step': int(step)}, False, False
        values = {name: _number(value) for name, value in scalars.items()}
        new = {k: v for k, v in values.items() if k not in self._row or self._row[k] != v}
        if new:
            self._row.update(new)
            self._saved = False
            self._add_scalars(step, new)

    def write_images(self, step: int, sheet: np.ndarray) -> None:
        """Writes `sheet` (uint8, H,W,3) as `samples/step_XXXXXXX.png` and to TensorBoard."""
        png = files.encode_png(sheet)
        files.write_bytes(self._workdir / 'samples' / f'step_{step:07d}.png', png)
        self._add_sheet(step, png)

    def write_hparams(self, config: Mapping[str, Any]) -> None:
        """Shows the nested dict `config` as text in TensorBoard."""
        text = json.dumps(config, indent=2, sort_keys=True)
        self._events.add_text('config', '\n'.join('    ' + line for line in text.splitlines()), 0)

    def rows(self) -> list[dict[str, Any]]:
        """Returns all rows so far, the current one included, as `read_metrics` does."""
        self._put_row()
        return read_metrics(self._workdir)

    def flush(self) -> None:
        """Puts everything given so far on the disk."""
        self._put_row()
        if files.is_local(self._workdir):
            with (self._workdir / METRICS).open('a') as file:
                files.sync(file)
        self._events.flush()

    def close(self) -> None:
        """Flushes and ends; nothing may be written afterwards."""
        self.flush()
        self._events.close()

    def _put_row(self) -> None:
        if self._saved or not self._row:
            return
        path, line = self._workdir / METRICS, _line(self._row)
        if self._in_file or not files.is_local(path):
            lines = path.read_text().splitlines(keepends=True)
            kept = lines[:-1] if self._in_file else lines
            files.write_text(path, ''.join([*kept, line]))
        else:
            with path.open('a') as file:
                file.write(line)
        self._in_file = self._saved = True

    def _add_scalars(self, step: int, scalars: Mapping[str, float | None]) -> None:
        for name, value in scalars.items():
            if name != 'step' and value is not None:
                self._events.add_scalar(name, value, step)

    def _add_sheet(self, step: int, png: bytes) -> None:
        width, height = Image.open(io.BytesIO(png)).size
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
        summary = Summary(value=[Summary.Value(tag='samples', image=image)])
        self._events.file_writer.add_summary(summary, step)


def read_metrics(workdir: epath.PathLike) -> list[dict[str, Any]]:
    """Returns the rows of `workdir`/metrics.jsonl, [] where there is none.

    Values that were not finite are None. A torn last line (the process was killed) is left out.
    Raises DataError for any other line that is not a row.
    """
    path = epath.Path(workdir) / METRICS
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines()
    rows = []
    for number, line in enumerate(lines, start=1):
        row = _parse(line)
        if row is not None:
            rows.append(row)
        elif number < len(lines):
            raise DataError(f'{path}, line {number}: not a JSON object with a step')
    return rows


def sheet_paths(workdir: epath.PathLike) -> list[tuple[int, epath.Path]]:
    """Returns (step, path) of the run's sample sheets, in the order of the steps."""
    found = []
    for path in (epath.Path(workdir) / 'samples').glob('step_*.png'):
        digits = path.stem.removeprefix('step_')
        if digits.isdecimal():
            found.append((int(digits), path))
    return sorted(found)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get('step'), int) else None


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + '\n'


def _number(value: Any) -> float | None:
    value = np.asarray(value).item()
    return value if math.isfinite(value) else None
