"""Means of metrics with their intervals: percentile bootstrap over images, with a fixed seed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

RESAMPLES = 1000
UNDEFINED = 'without a value'  # images of which a value is NaN


def summarize(
    per_image: Mapping[str, Sequence[float]], undefined: str = UNDEFINED
) -> dict[str, dict[str, Any]]:
    """Returns {name: {'mean', 'ci95': [lo, hi]}} of the values per image.

    The interval is the percentile bootstrap over images, with a fixed seed. A metric that is NaN
    for some image becomes {'value': None, 'reason': str}, so that no mean hides left-out images;
    `undefined` says of such images what they are.
    """
    return {name: _summary(np.asarray(v, float), undefined) for name, v in per_image.items()}


def summarize_counts(
    counts: np.ndarray, score: Callable[[np.ndarray], Mapping[str, np.ndarray]]
) -> dict[str, dict[str, Any]]:
    """Returns {name: {'mean', 'ci95': [lo, hi]}} of scores that are computed from counts.

    `counts` (N, ...) are those of each image; `score` maps their sums (..., of any leading axes) to
    values by name. The score is not a mean over images: it is the score of the whole set, and the
    interval (as in `summarize`) is that of resampled sets. NaN becomes {'value': None, 'reason'}.
    """
    n = len(counts)
    if not n:
        return {}
    rng = np.random.default_rng(0)
    weights = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(np.float64)
    values = score(counts.sum(0))
    resampled = score(np.tensordot(weights, counts.astype(np.float64), 1))
    summary: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        if np.isnan(value):
            summary[name] = {'value': None, 'reason': 'nothing was counted'}
            continue
        low, high = np.nanpercentile(resampled[name], [2.5, 97.5])
        summary[name] = {'mean': float(value), 'ci95': [float(low), float(high)]}
    return summary


def summarize_influence(value: float, influence: np.ndarray) -> dict[str, Any]:
    """Returns {'mean': value, 'ci95': [lo, hi]} of a `value` of the whole set.

    `influence` (N,) are its derivatives by the weight of each image: their bootstrap stands for
    that of the value, where resampling whole images would shift it (twice the same image makes two
    sets less alike).
    """
    values = value + influence - influence.mean()
    return summarize({'value': values})['value'] | {'mean': float(value)}


def _summary(values: np.ndarray, undefined: str) -> dict[str, Any]:
    count = int(np.isnan(values).sum())
    if count or not len(values):
        reason = f'{count} of {len(values)} images are {undefined}'
        return {'value': None, 'reason': reason if count else 'there are no images'}
    rng = np.random.default_rng(0)
    n = len(values)
    means = [values[rng.integers(n, size=n)].mean() for _ in range(RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return {'mean': float(values.mean()), 'ci95': [float(low), float(high)]}
