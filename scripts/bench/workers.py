"""The processes of scripts/benchmark.py, and how they take turns."""

import multiprocessing
import resource
import statistics
import sys
import traceback
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from bench.tasks import Setting
from pix2pix_jax.errors import UserError

WARM_UP = 3  # calls; on a GPU each is of 20 steps


class Worker:
    """A process that does what it is asked for, and sleeps otherwise; use it in a `with`."""

    def __init__(self, tasks: dict, setting: Setting):
        """Starts it; `tasks` are functions, as in tasks.py."""
        context = multiprocessing.get_context('spawn')
        self._pipe, child = context.Pipe()
        # Not a daemon: those may not have worker processes of their own.
        self._process = context.Process(target=_serve, args=(tasks, setting, child))
        self._process.start()
        child.close()

    def __enter__(self) -> 'Worker':
        """Returns itself."""
        return self

    def __exit__(self, *error) -> None:
        """Ends the process."""
        self.close()

    def close(self) -> None:
        """Ends the process: it waits for nothing but the next question."""
        self._pipe.close()
        self._process.join(10)
        self._process.kill()

    def kill(self) -> None:
        """Ends the process at once, whatever it is doing."""
        self._process.kill()
        self.close()

    def _ask(self, *question) -> Any:
        try:
            self._pipe.send(question)
            good, answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise UserError('a benchmarked process failed, see above', status=1) from error
        if not good:
            raise UserError(answer, status=1)
        return answer

    def prepare(self, task: str) -> dict[str, float]:
        """Has `task` prepared and warmed up; returns the figures that this gave."""
        return self._ask('prepare', task)

    def run(self, task: str, times: int) -> list[float]:
        """Runs `task` `times` times in the worker; returns the seconds of each run."""
        return self._ask('run', task, times)

    def figures(self, name: str) -> dict[str, Any]:
        """Returns what the task `name` gives, which is figures alone."""
        return self._ask('figures', name)

    def peak_mb(self) -> float:
        """Returns the most memory that the process has had so far."""
        return self._ask('peak')


def in_turn(names: Iterable[str], rounds: int) -> Iterator[list[str]]:
    """Yields the names that are there in each round.

    Every other round goes backwards, so that no one always follows the same one.
    """
    for i in range(rounds):
        yield list(names)[:: -1 if i % 2 else 1]


def take_turns(
    tasks: dict[str, tuple[Worker, str]], rounds: int, times: int
) -> dict[str, list[list[float]]]:
    """Has each task done `times` times, in rounds; returns its seconds by round.

    The order of a round is that of `in_turn`.
    """
    rounds = min(rounds, times)
    taken: dict[str, list[list[float]]] = {name: [] for name in tasks}
    for i, names in enumerate(in_turn(tasks, rounds)):
        count = times * (i + 1) // rounds - times * i // rounds
        for name in names:
            worker, task = tasks[name]
            taken[name].append(worker.run(task, count))
    return taken


def median(rounds: list[list[float]]) -> float:
    """Returns the median of all rounds' times."""
    return statistics.median(t for taken in rounds for t in taken)


def ratio(times: dict[str, list[list[float]]]) -> float:
    """Returns the median over rounds of the peer's time by ours; above 1: ours is faster."""
    return statistics.median(
        statistics.median(theirs) / statistics.median(ours)
        for ours, theirs in zip(times[''], times['torch_'])
    )


def _serve(tasks: dict, setting: Setting, pipe: Connection) -> None:
    """Runs in the worker: answers until the pipe is closed, with (whether it went well, what)."""
    ready: dict = {}

    def answer(what: str, *arguments) -> Any:
        if what == 'prepare':
            (task,) = arguments
            ready[task], figures = tasks[task](setting)
            for _ in range(1 if task.startswith('pipeline') else WARM_UP):
                ready[task]()
            return figures
        if what == 'run':
            task, times = arguments
            return [ready[task]() for _ in range(times)]
        if what == 'figures':
            return tasks[arguments[0]](setting)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == 'darwin' else 2**10)

    while True:
        try:
            question = pipe.recv()
        except EOFError:
            ready.clear()  # ends the worker processes of its input pipelines
            return
        try:
            pipe.send((True, answer(*question)))
        except UserError as error:
            pipe.send((False, str(error)))
        except Exception as error:  # of a bug, or of a variant that this device cannot run
            traceback.print_exc()
            first = next(iter(str(error).strip().splitlines()), '')
            pipe.send((False, f'{type(error).__name__}: {first}'))
