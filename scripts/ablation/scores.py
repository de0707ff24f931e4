"""What a run is worth: its mean over several states, and how far it is from another's.

A GAN's metrics differ from one state to the next as much as many an addition changes them, so that
a run is the mean over five states of its last fifth.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import scipy.stats

from pix2pix_jax.evaluation.metric_titles import sign
from pix2pix_jax.evaluation.report import Summary

STATES = 5
CONFIDENCE = 0.95
TRAINED_ON = {'loss.lpips_weight': 'lpips'}  # the weight of a loss -> the metric that it is
Seeds = Mapping[int, float]  # a number of each seed


def interval(steps: int) -> int:
    """Returns after how many steps a run of `steps` steps saves, for its states."""
    return -(-steps // (5 * STATES))


def states(steps: int) -> list[int]:
    """Returns the steps of the states by which a run of `steps` steps is scored, in order.

    They are the last step and the four multiples of a 25th of the run before it: 84, 88, 92, 96 and
    100%. In a run of fewer than 100 steps only those that lie in its last fifth count.
    """
    every = interval(steps)
    before = list(range(every, steps, every))[1 - STATES :]
    return [step for step in (*before, steps) if in_last_fifth(step, steps)]


def in_last_fifth(step: int, steps: int) -> bool:
    """Whether the state after `step` is of the last fifth of a run of `steps` steps."""
    return 5 * step > 4 * steps


def score(points: Sequence[Mapping[str, Any]], steps: int, trained_on: Sequence[str]) -> Summary:
    """Returns the mean of each metric over the states in the last fifth that were measured.

    Args:
      points: {'step', 'metrics'} of each state, in order, its metrics as in metrics.json.
      steps: of the run.
      trained_on: the metrics that the run was trained on, which are left out.

    Returns:
      {'mean'} of each metric; {'value': None, 'reason'} of one that a state lacks.
    """
    last = [point['metrics'] for point in points if in_last_fifth(point['step'], steps)]
    scores: Summary = {}
    for metric in last[-1] if last else ():
        if metric in trained_on:
            continue
        lacking = next((one[metric] for one in last if 'mean' not in one.get(metric, {})), None)
        scores[metric] = lacking or {'mean': statistics.fmean(one[metric]['mean'] for one in last)}
    return scores


def judges_of(experiment: Mapping[str, str]) -> list[str]:
    """Returns the metrics that a run of these fields was trained on."""
    return [name for field, name in TRAINED_ON.items() if float(experiment.get(field, 0)) > 0]


# ---------------------------------------------------------------- two rows


class Difference(NamedTuple):
    """The mean over seeds of a difference, and its 95% interval: NaN of less than two seeds."""

    mean: float
    low: float
    high: float

    def is_told(self) -> bool:
        """Whether the seeds tell the two apart: the interval is there and excludes 0."""
        return self.low > 0 or self.high < 0


def difference(values: Seeds, others: Seeds) -> Difference | None:
    """Returns values - others, paired by seed, with Student's interval; None without a pair."""
    pairs = [value - others[seed] for seed, value in values.items() if seed in others]
    if not pairs:
        return None
    mean = statistics.fmean(pairs)
    if len(pairs) < 2:
        return Difference(mean, math.nan, math.nan)
    quantile = scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(pairs) - 1)
    half = float(quantile) * statistics.stdev(pairs) / math.sqrt(len(pairs))
    return Difference(mean, mean - half, mean + half)


def verdict(
    metrics: Sequence[str], rows: Mapping[str, Mapping[str, Seeds]], title: Callable[[str], str]
) -> str:
    """Returns one sentence: which row these data prefer by which metric, or that seeds do not tell.

    A row is preferred by a metric where it is the best, and its paired difference to each other row
    has an interval without 0.

    Args:
      metrics: that are shown; those without a better direction are left out.
      rows: the values of each row, by metric and seed.
      title: gives a metric's name for people.
    """
    found: dict[str, list[str]] = {}  # what is said -> by which metrics
    for metric in filter(sign, metrics):
        best, level = best_of(metric, {row: of[metric] for row, of in rows.items() if metric in of})
        others = ' or '.join(f'"{row}"' for row in level)
        words = (
            f'the seeds do not tell "{best}" from {others}'
            if level
            else f'these data prefer "{best}"'
        )
        if best:
            found.setdefault(words, []).append(title(metric))
    text = '; '.join(f'by {", ".join(names)} {words}' for words, names in found.items())
    return f'{text[0].upper()}{text[1:]}.' if text else ''


def best_of(metric: str, rows: Mapping[str, Seeds]) -> tuple[str, list[str]]:
    """Returns the best row by a metric, '' of less than two rows, and those not told from it."""
    if len(rows) < 2:
        return '', []
    best = max(rows, key=lambda row: sign(metric) * statistics.fmean(rows[row].values()))
    apart = {row: difference(rows[best], seeds) for row, seeds in rows.items() if row != best}

    def is_worse(found: Difference | None) -> bool:  # by the seeds of both, which may be few of all
        return found is not None and found.is_told() and found.mean * sign(metric) > 0

    return best, [row for row, found in apart.items() if not is_worse(found)]
