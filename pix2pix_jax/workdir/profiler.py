"""A trace of a few training steps, for TensorBoard's profiler and https://ui.perfetto.dev."""

import sys

import jax
from etils import epath

WARM_UP = 3  # steps: compilation, and the first allocations


class Profile:
    """Traces `steps` steps after the first three from `start`; 0: none.

    TensorBoard opens `folder` (with its profile plugin), Perfetto perfetto_trace.json.gz in it.
    """

    def __init__(self, folder: epath.Path, steps: int, start: int):
        """Plans the trace; nothing is written before its time."""
        self._folder, self._first, self._last = folder, start + WARM_UP, start + WARM_UP + steps
        self._steps, self._running = steps, False

    def step(self, step: int, done: jax.Array) -> None:
        """Begins or ends the trace after step number `step`, whose result is `done`."""
        if not self._steps or step not in (self._first, self._last):
            return
        jax.block_until_ready(done)
        if step == self._first:
            jax.profiler.start_trace(str(self._folder), create_perfetto_trace=True)
            self._running = True
        else:
            self.close()

    def close(self) -> None:
        """Ends a trace that is running, at the end of a run or where it failed."""
        if self._running:
            self._running, self._steps = False, 0
            try:
                jax.profiler.stop_trace()
            except (OSError, RuntimeError) as error:  # the profiler's own are RuntimeErrors
                print(f'warning: config.profile_steps: no whole trace: {error}', file=sys.stderr)
        elif self._steps:
            self._steps = 0
            print(f'config.profile_steps: no trace, the run ended before step {self._first + 1}')
