"""What a run prints: a progress bar on a terminal, plain lines elsewhere."""

import contextlib
import functools
import sys
import time
from collections.abc import Iterator, Mapping

import jax
import tqdm

from pix2pix_jax.intervals import Intervals

SHOWN = ('d_loss', 'g_gan', 'g_l1', 'g_class', 'flow')
BAR = '{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]'  # the time left is ours
COMPILED = '/jax/core/compile/backend_compile_duration'  # jax's event


@functools.cache
def _compilations() -> list[float]:
    """Returns the seconds of each compilation of this process, from the first call on."""
    seconds: list[float] = []

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event == COMPILED:
            seconds.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return seconds


class Durations:
    """How long what a run does beside training took when it was done last, in seconds.

    Without the compilation, which comes once: of the first grid it is nearly all.
    """

    def __init__(
        self, intervals: Intervals, val_images: int, test_images: int, test_cost: float = 1.0
    ):
        """Knows nothing yet.

        Args:
          intervals: those of the run.
          val_images: how many an evaluation measures.
          test_images: how many the test at the end measures.
          test_cost: how many times the time of an image of val one of test takes.
        """
        self._intervals, self._val, self._test = intervals, val_images, test_images * test_cost
        self._seconds = {'image': 0.0, 'grid': 0.0, 'save': 0.0}
        self._compilations = _compilations()

    @contextlib.contextmanager
    def of(self, what: str, count: int = 1) -> Iterator[None]:
        """Times `count` times 'image' (evaluated), 'grid' or 'save', while entered."""
        begin, known = time.monotonic(), len(self._compilations)
        yield
        seconds = time.monotonic() - begin - sum(self._compilations[known:])
        self._seconds[what] = max(0.0, seconds) / count

    def left(self, step: int, step_seconds: float) -> float:
        """Returns the seconds from `step` to the end, of which each step takes `step_seconds`."""
        evaluations, grids, saves = self._intervals.left(step)
        took = self._seconds
        seconds = step_seconds * (self._intervals.total_steps - step) + grids * took['grid']
        seconds += took['image'] * (evaluations * self._val + self._test)
        minutes = self._intervals.save_minutes
        return seconds + took['save'] * (saves + (seconds / 60 / minutes if minutes else 0))


class Console:
    """The progress of a run from `start` to `total` steps."""

    def __init__(self, start: int, total: int):
        """Opens the bar where stderr is a terminal."""
        self._total = total
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm.tqdm(
                initial=start, total=total, unit='step', dynamic_ncols=True, bar_format=BAR
            )

    def step(self, step: int) -> None:
        """Moves the bar to `step`."""
        if self._bar is not None:
            self._bar.update(step - self._bar.n)

    def train(self, step: int, metrics: Mapping[str, float], rate: float, left: float) -> None:
        """Shows a logged step: losses, rate, and the time left.

        Args:
          step: its number, from 1.
          metrics: the losses by name, of which those in `SHOWN` are printed.
          rate: images per second.
          left: seconds to the end of the run, with all that it does beside training.
        """
        text = '  '.join(f'{k} {metrics[k]:.4f}' for k in SHOWN if k in metrics)
        text += f'  {rate:.1f} images/s  {duration(left)} left'
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
        else:
            self.line(f'step {step}/{self._total}  {text}')

    def line(self, text: str) -> None:
        """Prints one line, above the bar."""
        if self._bar is not None:
            self._bar.write(text, file=sys.stdout)
            sys.stdout.flush()
        else:
            with contextlib.suppress(OSError):  # a log on a full disk: the run continues
                print(text, flush=True)

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.close()


def duration(seconds: float) -> str:
    """Returns `seconds` as '45 s', '12 min' or '3 h 20 min'."""
    if seconds < 90:
        return f'{seconds:.0f} s'
    minutes = round(seconds / 60)
    return f'{minutes} min' if minutes < 90 else f'{minutes // 60} h {minutes % 60} min'
