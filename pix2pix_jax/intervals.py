"""After which steps a run evaluates, draws samples and saves: by its config and length alone.

So a run that was stopped and one that was not do the same after the same steps. Saves by the clock
are the exception: a save changes nothing that a run computes.
"""

from typing import NamedTuple

from pix2pix_jax.config import Config

# How often a whole run does it where the interval is -1, and the minimum of steps between two.
EVALUATIONS, STEPS_BETWEEN_EVALUATIONS = 20, 500
SAMPLES, STEPS_BETWEEN_SAMPLES = 40, 250


class Due(NamedTuple):
    """The work that is done after a step, beside training."""

    evaluate: bool  # on val
    sample: bool
    test: bool  # evaluate on test
    save: bool


NOTHING = Due(False, False, False, False)


class Intervals(NamedTuple):
    """The numbers of steps between two evaluations, sample grids and saves; 0: never."""

    evaluate: int
    sample: int
    save: int
    save_minutes: float  # since the last save; 0: any
    total_steps: int

    def due_at(self, step: int, minutes: float = 0.0) -> Due:
        """Returns the work that is due after `step` (>= 1), `minutes` after the last save.

        After the last step all work is due that is not off; the state is saved in any case.
        """
        last = step == self.total_steps
        return Due(
            self.evaluate > 0 and (last or step % self.evaluate == 0),
            self.sample > 0 and (last or step % self.sample == 0),
            last,
            last or (self.save > 0 and step % self.save == 0) or 0 < self.save_minutes <= minutes,
        )

    def left(self, step: int) -> tuple[int, int, int]:
        """Returns how many evaluations, grids and saves by steps there are after `step`."""

        def of(interval: int) -> int:
            later = self.total_steps - step
            return -(-self.total_steps // interval) - step // interval if interval and later else 0

        return of(self.evaluate), of(self.sample), of(self.save)


def intervals(config: Config, total_steps: int, has_val: bool = True) -> Intervals:
    """Returns the intervals of a run of `total_steps` steps; without val it evaluates never.

    A run that is made longer has the intervals of its new length from where it resumes.
    """

    def steps(every: int, times: int, minimum: int) -> int:
        return max(-(-total_steps // times), minimum) if every == -1 else every

    return Intervals(
        steps(config.eval_every, EVALUATIONS, STEPS_BETWEEN_EVALUATIONS) if has_val else 0,
        steps(config.sample_every, SAMPLES, STEPS_BETWEEN_SAMPLES),
        config.checkpoint.every_steps,
        config.checkpoint.every_minutes,
        total_steps,
    )
