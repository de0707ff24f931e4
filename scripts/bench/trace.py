"""What a profile of a GPU says: which kernels ran, for how long, and how long none did."""

import collections
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from jax.profiler import ProfileData

SHOWN = 40  # kernels
# What a kernel is, by the first of these that its name holds; else a fusion that XLA made.
KINDS = {
    'copies and fills': r'memcpy|memset',
    'turning of axes': r'nchwtonhwc|nhwctonchw|transpose',
    'convolutions': r'cudnn|xmma|cutlass|convol|wgrad|dgrad|fprop',
    'matrix products': r'gemm|nvjet|cublas',
    'reductions': r'reduce',
}
FUSIONS = 'other fusions'


def summary(folder: pathlib.Path, steps: int) -> dict[str, Any]:
    """Returns what the newest trace in `folder`, of `steps` steps, says of one of them.

    `busy_ms` is the time in which a kernel runs, `span_ms` that from the first one's begin to the
    last one's end; the times of `kinds` and `kernels` add up where kernels run side by side.
    Without a GPU all of these are empty or 0. `host` is what the processor did, in threads side by
    side and one thing within another.
    """
    paths = sorted(folder.rglob('*.xplane.pb'))
    if not paths:
        raise FileNotFoundError(f'{folder}: no trace')
    planes = list(ProfileData.from_file(str(paths[-1])).planes)
    events = list(_events(planes, '/device:GPU', 'Stream'))
    ends = [(begin, begin + length) for _, begin, length in events]
    span = max((end for _, end in ends), default=0) - min((begin for begin, _ in ends), default=0)
    return {
        'kernels_a_step': len(events) / steps,
        'busy_ms': _covered(ends) / steps / 1e6,
        'span_ms': span / steps / 1e6,
        'kinds': _times([(_kind(name), length) for name, _, length in events], steps),
        'kernels': _times([(name, length) for name, _, length in events], steps),
        'host': _times([(name, length) for name, _, length in _events(planes, '/host:')], steps),
    }


def _events(planes: list, plane: str, line: str = '') -> Iterator[tuple[str, float, float]]:
    """Yields (name, begin, length), in ns, of what planes and lines of these beginnings hold."""
    for one in planes:
        if one.name.startswith(plane):
            for row in one.lines:
                if row.name.startswith(line):
                    for event in row.events:
                        yield event.name, event.start_ns, event.duration_ns


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
