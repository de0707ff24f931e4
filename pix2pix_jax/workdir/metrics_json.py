"""The metrics.json of an evaluation: where a run keeps it, and what it holds."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from etils import epath

from pix2pix_jax.errors import DataError
from pix2pix_jax.workdir import run_files
from pix2pix_jax.workdir.metric_writer import OLD_SSIM

# What a report keeps beside its numbers: those of another definition are not comparable.
SSIM_DEFINITION = 'on values from 0'
DAMAGED = ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError


class Model(NamedTuple):
    """What an evaluation of a run is of."""

    step: int
    ema: bool = True  # the averaged weights, where the run has any
    steps: int = 0  # in which a flow translates; 0: it is none
    norm: str = ''  # statistics of the norms; '': those that evaluations have, of config.test.norm


def result_folder(
    workdir: epath.PathLike, split: str, scale: int = 1, dataset: str = '', steps: int = 0
) -> epath.Path:
    """Returns where a run keeps the evaluation of a split.

    Args:
      workdir: the folder of the run.
      split: 'train', 'val' or 'test'.
      scale: how many times larger than the trained size the images are.
      dataset: the name of the pairs where they are not the run's own; '': they are.
      steps: in which a flow translates, where they are not the run's own; 0: they are.
    """
    name = '_of_'.join(filter(None, (split, dataset)))
    name += f'_x{scale}' if scale != 1 else ''
    return epath.Path(workdir) / 'evaluation' / (f'{name}_steps{steps}' if steps else name)


def read_result(folder: epath.PathLike) -> dict[str, Any]:
    """Returns what the metrics.json of an evaluation's `folder` holds, {} where there is none.

    An SSIM of another definition than this version's has no value, and says so. Raises DataError,
    naming the file, where it is not such a file.
    """
    path = epath.Path(folder) / 'metrics.json'
    return parsed(path.read_bytes(), path) if path.exists() else {}


def name_of(split: str) -> str:
    """Returns the name of the metrics.json that an evaluation of a split leaves in a run."""
    return f'evaluation/{split}/metrics.json'


def of_run(workdir: epath.PathLike, split: str) -> dict[str, Any]:
    """Returns what a run's evaluation of a split found, as `read_result`; packed runs have it."""
    data = run_files.read(workdir, name_of(split))
    return {} if data is None else parsed(data, epath.Path(workdir) / name_of(split))


def of_model(workdir: epath.PathLike, split: str, model: Model) -> dict[str, Any]:
    """Returns what evaluations of a split found of this very model, as `of_run`; {} where none is.

    `evaluate --noema` and `--steps` keep theirs in folders of their own; none is of other norms.
    """
    steps = f'{split}_steps{model.steps}'
    for name in (split, steps, f'{split}_noema', f'{steps}_noema'):
        result = of_run(workdir, name)
        if result and model == Model(
            result.get('step', 0), result.get('ema', True), result.get('steps', 0)
        ):
            return result
    return {}


def parsed(data: bytes, path: epath.PathLike) -> dict[str, Any]:
    """Returns what the `data` of a metrics.json says, as `read_result`; `path` is for its error."""
    try:
        result = json.loads(data)
        _check(result)
        comparable = result.get('measured', {}).get('ssim') == SSIM_DEFINITION
        if 'mean' in result['metrics'].get('ssim', {}) and not comparable:
            reason = f'{OLD_SSIM}: evaluate anew'
            result['metrics']['ssim'] = {'value': None, 'reason': reason}
    except DAMAGED as error:
        raise DataError(f'{path} is damaged: evaluate anew, or take it away') from error
    return result


def _check(result: Mapping[str, Any]) -> None:
    """Raises an error of Python's for what no evaluation wrote: strangers' packed runs are read."""
    told = {'split': '', 'step': 0, **result}  # of two folders there are neither
    if [type(told[key]) for key in ('split', 'step', 'images')] != [str, int, int]:
        raise TypeError('split, step, images')
    for name, summary in result['metrics'].items():
        if not re.fullmatch(r'[\w.-]{1,99}', name):
            raise ValueError(name)
        if 'mean' not in summary or summary.get('left_out'):
            summary['reason'].strip()
        if 'mean' not in summary:
            continue
        low, high = summary['ci95']
        for value in (summary['mean'], low, high):
            math.isfinite(0 if value is None else value)
