"""Measures generated images against their targets and writes what an evaluation's folder holds.

`OUTPUT/{metrics.json, per_image.csv, index.html, images/NAME_{input,output,target}.png}`
"""

import csv
import io
import itertools
import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tqdm
from etils import epath

from pix2pix_jax.data import augment
from pix2pix_jax.evaluation import metric_titles, metrics
from pix2pix_jax.evaluation.set_metrics import MetricAccumulator
from pix2pix_jax.evaluation.translated import KINDS
from pix2pix_jax.reports import image_grid, run_page
from pix2pix_jax.storage import atomic
from pix2pix_jax.workdir.metrics_json import SSIM_DEFINITION

IMAGE = re.compile(r'.*_(input|output|target)\.png')
TEMPORARY = re.compile(r'\..*\.tmp')  # of a kill
Summary = dict[str, dict[str, Any]]
PerImage = dict[str, list[float]]


def measure(
    batches: Iterable[Sequence[tuple[str, Mapping[str, Any]]]],
    count: int,
    output_dir: epath.PathLike | None = None,
    *,
    about: Mapping[str, Any] | None = None,
    progress: bool = False,
    accumulators: Sequence[MetricAccumulator] | None = None,
) -> tuple[Summary, PerImage]:
    """Measures images against their targets and, where there is an `output_dir`, writes the report.

    Args:
      batches: of (name, example). An example maps 'output', 'target'[, 'input'] to its images,
        float (H,W,C) on [-1, 1], and 'l1', 'psnr', 'ssim' to values that are known already. Who has
        to stop between two batches gives an iterator that raises.
      count: how many examples there are.
      output_dir: the report's folder; None: there is no report.
      about: {'split', 'step', 'checkpoint'[, 'measured']}, for the report.
      progress: whether a terminal shows a bar.
      accumulators: what sees every example; None: those of the metrics of every evaluation.

    Returns:
      The summary, as `metrics.json` has it, and the values of each image in the order of the
      examples.
    """
    names: list[str] = []
    kinds: tuple[str, ...] = ()
    accumulators = metrics.always() if accumulators is None else accumulators
    shown = progress and sys.stderr.isatty()
    examples = itertools.chain.from_iterable(batches)
    with atomic.writing(output_dir or '') as write:
        for name, example in tqdm.tqdm(examples, total=count, disable=not shown, unit='image'):
            for one in accumulators:
                one.update(example)
            names.append(name)
            if output_dir is not None:
                kinds = tuple(kind for kind in KINDS if kind in example)
                for kind, png in _pngs(_as_shown(example, kinds)).items():
                    write(_image_path(epath.Path(output_dir), name, kind), png)
    summary: Summary = {}
    per_image: dict[str, list[float]] = {}
    for one in accumulators:
        part, columns = one.compute()
        summary |= part
        per_image |= columns
    if output_dir is not None:
        unknown = dict.fromkeys(('split', 'step', 'checkpoint'))
        about = unknown | {'measured': {'ssim': SSIM_DEFINITION}} | dict(about or {})
        result = about | {'images': len(names), 'metrics': summary}
        _write_report(epath.Path(output_dir), result, names, per_image, kinds)
    return summary, per_image


def is_report(folder: epath.PathLike) -> bool:
    """Whether `folder` holds a report, whole or interrupted, and nothing else."""
    folder = epath.Path(folder)
    entries = {path.name for path in folder.iterdir() if not TEMPORARY.fullmatch(path.name)}
    ours = {'metrics.json', 'per_image.csv', 'index.html', 'images'}
    if 'images' not in entries or entries - ours:
        return False
    return entries == ours or _are_images(folder / 'images')


def _are_images(folder: epath.Path) -> bool:
    """Whether `folder` holds nothing but NAME_{input,output,target}.png, in folders or not."""
    for path in folder.iterdir():
        good = _are_images(path) if path.is_dir() else IMAGE.fullmatch(path.name)
        if not good and not TEMPORARY.fullmatch(path.name):
            return False
    return True


def table(summary: Summary) -> str:
    """Returns `summary` as text for the console, a line a metric."""
    rows = run_page.metrics_table(summary, metric_titles.title)  # a console may have no arrows
    widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
    return '\n'.join(
        f'{name:<{widths[0]}}  {title:<{widths[1]}}{mean:>10}   {rest}'
        for name, title, mean, rest in rows
    )


def _as_shown(example: Mapping[str, Any], kinds: Sequence[str]) -> dict[str, np.ndarray]:
    """Returns the images of an example, to look at: the target is white where it does not count."""
    images, valid = {kind: example[kind] for kind in kinds}, example.get('valid')
    # Data in units may be too narrow to be seen.
    shown = image_grid.narrow(images['target'], valid, units='mae' in example)
    images['target'] = image_grid.white_elsewhere(images['target'], valid)
    for kind in ('output', 'target'):
        images[kind] = image_grid.stretched(images[kind], shown)
    if 'input' in images:
        images['input'] = image_grid.by_itself(images['input'])
    return images


def _pngs(images: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """Returns the images of an example as PNG files; NaN is black."""

    def values(image: np.ndarray) -> np.ndarray:
        image = np.nan_to_num(image, nan=-1)
        picture = image_grid.is_picture(image)
        return augment.from_float(image) if picture else image_grid.to_rgb(image)

    return {kind: atomic.encode_png(values(image)) for kind, image in images.items()}


def _image_path(folder: epath.Path, name: str, kind: str) -> epath.Path:
    return folder / 'images' / f'{name}_{kind}.png'


def _write_report(
    folder: epath.Path,
    result: Mapping[str, Any],
    names: Sequence[str],
    per_image: PerImage,
    kinds: Sequence[str],
) -> None:
    for name in set(_earlier_names(folder)) - set(names):
        for kind in KINDS:
            _image_path(folder, name, kind).unlink(missing_ok=True)
    atomic.write_text(folder / 'per_image.csv', _csv(names, per_image))
    run_page.write_evaluation_page(folder, result, names, per_image, kinds, metric_titles.heading)
    atomic.write_text(folder / 'metrics.json', json.dumps(result, indent=2) + '\n')


def _earlier_names(folder: epath.Path) -> list[str]:
    """The names in the report that is there already; only their images are ours to delete."""
    path = folder / 'per_image.csv'
    if not path.exists():
        return []
    return [row['name'] for row in csv.DictReader(io.StringIO(path.read_text())) if row.get('name')]


def _csv(names: Sequence[str], per_image: PerImage) -> str:
    """A row an image; what is not defined for an image stays empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['name', *per_image])
    for name, *values in zip(names, *per_image.values()):
        writer.writerow([name, *('' if math.isnan(v) else repr(v) for v in values)])
    return text.getvalue()
