"""What a profile of a GPU says: which kernels ran, for how long, and how long none did."""

import collections
import pathlib
import re
from typing import Any

from jax.profiler import ProfileData

SHOWN = 40  # kernels
# What a kernel is, by the first of these that its name holds; else a fusion that XLA made.
KINDS = {
    'copies and fills': r'memcpy|memset',
    'turning of axes': r'nchw|nhwc|transpose',
    'convolutions': r'cudnn|xmma|cutlass|conv|wgrad|dgrad|fprop|implicit|nvjet|gemm|cublas',
    'reductions': r'reduce',
}
FUSIONS = 'other fusions'


def summary(folder: pathlib.Path, steps: int) -> dict[str, Any]:
    """Returns what the trace of `steps` steps in `folder` says of one of them.

    `busy_ms` is the time in which a kernel runs, `span_ms` that from the first one's begin to the
    last one's end; the times of `kinds` and `kernels` add up where kernels run side by side.
    Without a GPU all are empty or 0.
    """
    paths = sorted(folder.rglob('*.xplane.pb'))
    if not paths:
        raise FileNotFoundError(f'{folder}: no trace')
    events = [
        (event.name, event.start_ns, event.duration_ns)
        for plane in ProfileData.from_file(str(paths[-1])).planes
        if plane.name.startswith('/device:GPU')
        for line in plane.lines
        if line.name.startswith('Stream')
        for event in line.events
    ]
    ends = [(begin, begin + length) for _, begin, length in events]
    span = max((end for _, end in ends), default=0) - min((begin for begin, _ in ends), default=0)
    return {
        'kernels_a_step': len(events) / steps,
        'busy_ms': _covered(ends) / steps / 1e6,
        'span_ms': span / steps / 1e6,
        'kinds': _times([(_kind(name), length) for name, _, length in events], steps),
        'kernels': _times([(name, length) for name, _, length in events], steps),
    }


def _times(found: list[tuple[str, float]], steps: int) -> dict[str, dict[str, float]]:
    """Returns the time of each name, and how often it is there, in a step; the longest first."""
    times: dict[str, float] = collections.Counter()
    counts: dict[str, int] = collections.Counter()
    for name, length in found:
        times[name] += length
        counts[name] += 1
    longest = sorted(times, key=lambda name: -times[name])[:SHOWN]
    return {n: {'us': times[n] / steps / 1e3, 'count': counts[n] / steps} for n in longest}


def _kind(name: str) -> str:
    found = (kind for kind, pattern in KINDS.items() if re.search(pattern, name.lower()))
    return next(found, FUSIONS)


def _covered(intervals: list[tuple[float, float]]) -> float:
    """Returns how much the intervals (begin, end) cover together."""
    total, until = 0.0, float('-inf')
    for begin, end in sorted(intervals):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total
