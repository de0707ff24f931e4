"""The parts of scripts/gpu_report.py, and their limits."""

import functools
from collections.abc import Callable
from typing import NamedTuple

from gpu import checks, runs, timings
from gpu.context import PartContext, Write
from pix2pix_jax.errors import UserError


class Part(NamedTuple):
    """What runs, and for how many s at most, if others need the rest; 0: what others leave."""

    function: Callable[[PartContext, Write], None]
    limit: float
    title: str


PARTS = {
    'card': Part(checks.card, 30, 'The card'),
    'check': Part(checks.check, 75, 'Is a step right on it?'),
    'step': Part(timings.step, 120, 'A step at batch 1'),
    'train': Part(runs.train, 0, 'The facades of the paper'),
    'evaluate': Part(runs.evaluate, 60, 'Measured on test'),
    'states': Part(runs.states, runs.STATES_S, 'Its last states, measured'),
    'variants': Part(timings.variants, 240, 'Ways to run the step'),
    # After what times the step: by then the kernels are chosen, which takes longer than this.
    'profile': Part(timings.profile, 60, 'Where the time of a step goes'),
    'compile': Part(timings.compile_times, 180, 'Starts and compilation'),
    'resume': Part(runs.resume, 180, 'Killed and resumed'),
    'batch': Part(timings.batch, 240, 'Larger batches'),
    'memory': Part(timings.memory, 120, 'What fits'),
}
DEFAULTS = ('card', 'check', 'step', 'train', 'evaluate')
ROW = 'row='  # begins the name of a part of its own for each row of the paper's tables
REHEARSED = (*PARTS, f'{ROW}l1')


def checked(names: list[str]) -> list[str]:
    """Returns the names of parts, each once; raises UserError for one that is unknown."""
    for name in names:
        if name not in PARTS and name.removeprefix(ROW) not in runs.ROWS:
            rows = ', '.join(ROW + row for row in runs.ROWS)
            raise UserError(f'--parts: {name!r} is unknown, allowed are {", ".join(PARTS)}, {rows}')
    return list(dict.fromkeys(names))


def check_needs(names: list[str], has_pairs: bool) -> None:
    """Raises UserError for a part that would find nothing: without pairs, or a trained run.

    Args:
      names: the parts, in the order in which they run.
      has_pairs: whether there are facades to train on.
    """
    for i, name in enumerate(names):
        if not (has_pairs or part_of(name).limit):
            raise UserError(
                f'--facades is missing: the part {name} trains on them; --parts=card,check,step '
                'needs none'
            )
        if name in ('evaluate', 'states') and 'train' not in names[:i]:
            raise UserError(f'--parts: {name} measures the run of train: give train before it')


def part_of(name: str) -> Part:
    """Returns a part by its name."""
    if name in PARTS:
        return PARTS[name]
    row = name.removeprefix(ROW)
    return Part(functools.partial(runs.row, name=row), 0, f'Row {row} of the paper')


def function_of(name: str) -> Callable[[PartContext, Write], None]:
    """Returns what a part runs."""
    return part_of(name).function


def seconds_of_next(names: list[str], left: float) -> float:
    """Returns the seconds of the first of the parts that are still to come, of those `left`.

    A training has no limit: it shares with the others what is left by the parts that have one.
    Where none is to come, a part may also take what those to come do not need.
    """
    first, *later = (part_of(name).limit for name in names)
    spare = max(0.0, left - sum(later))
    if not first:
        return spare / (1 + later.count(0))
    return min(first, left) if 0 in later else max(min(first, left), spare)
