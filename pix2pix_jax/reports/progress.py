"""What a run prints: a progress bar on a terminal, plain lines elsewhere."""

import contextlib
import sys
from collections.abc import Mapping

import tqdm

SHOWN = ('d_loss', 'g_gan', 'g_l1')


class Console:
    """The progress of a run from `start` to `total` steps."""

    def __init__(self, start: int, total: int):
        """Opens the bar where stderr is a terminal."""
        self._total = total
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm.tqdm(initial=start, total=total, unit='step', dynamic_ncols=True)

    def step(self, step: int) -> None:
        """Moves the bar to `step`."""
        if self._bar is not None:
            self._bar.update(step - self._bar.n)

    def train(self, step: int, metrics: Mapping[str, float], rate: float, batch: int) -> None:
        """Shows a logged step: losses, rate, and the time left at that rate.

        Args:
          step: its number, from 1.
          metrics: the losses by name, of which those in `SHOWN` are printed.
          rate: images per second.
          batch: images per step.
        """
        text = '  '.join(f'{k} {metrics[k]:.4f}' for k in SHOWN if k in metrics)
        text += f'  {rate:.1f} images/s'
        if self._bar is not None:
            self._bar.set_postfix_str(text)
            return
        left = duration((self._total - step) * batch / max(rate, 1e-9))
        self.line(f'step {step}/{self._total}  {text}  {left} left')

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
