"""The recorder of the processes that write nothing."""

from collections.abc import Mapping

import numpy as np

from pix2pix_jax.errors import DataError, Stopped, UserError
from pix2pix_jax.intervals import NOTHING, Due
from pix2pix_jax.train_state import GanState


class NullRecorder:
    """Records nothing: the Recorder of all processes of a run but one."""

    has_val = False

    def __init__(self, command: str):
        """Takes the command that resumes this process."""
        self._command = command

    def missing(self, step: int) -> Due:
        """Returns that no work is missing."""
        return NOTHING

    def resume(self, state: GanState) -> None:
        """Does nothing."""

    def step(self, step: int) -> None:
        """Does nothing."""

    def log(self, step: int, metrics: Mapping[str, np.ndarray], images_per_s: float) -> None:
        """Does nothing."""

    def evaluate(self, step: int, state: GanState) -> bool:
        """Measures nothing; returns False."""
        return False

    def test(self, step: int, state: GanState) -> None:
        """Does nothing."""

    def sample(self, step: int, state: GanState) -> None:
        """Does nothing."""

    def save(self, step: int, state: GanState, improved: bool, must: bool = False) -> None:
        """Does nothing.

        Args:
          step, state, improved, must: as in `Recorder.save`.
        """

    def save_once(self, step: int, state: GanState) -> None:
        """Does nothing."""

    def stopped(self, step: int, signal_number: int) -> Stopped:
        """Returns the error that ends this process with the others after a signal at any."""
        return Stopped(
            signal_number, f'stopped with the others at step {step}; resume with: {self._command}'
        )

    def stopped_by(self, error: UserError) -> UserError:
        """Returns `error`, met in the middle of a run, with the command that resumes."""
        if not isinstance(error, DataError):
            return error
        return DataError(f'{error}; mend the file and resume with: {self._command}')

    def close(self) -> None:
        """Does nothing."""
