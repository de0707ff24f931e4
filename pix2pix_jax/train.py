"""The training loop.

Within a step the order is: train, log, evaluate, sample, save. Metrics are fetched one log late,
and whatever is saved has all of its metrics on disk before it, so that a run killed at any moment
resumes without a gap.
"""

import collections
import contextlib
import time

import jax
from etils import epath

from pix2pix_jax.config import Config
from pix2pix_jax.distributed import feed, hosts, memory, parallel
from pix2pix_jax.distributed.preemption import StopRequest
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.gradients import Metrics
from pix2pix_jax.intervals import Due, intervals
from pix2pix_jax.methods import METHODS
from pix2pix_jax.null_recorder import NullRecorder
from pix2pix_jax.recorder import Interrupted, NotWritten, Recorder
from pix2pix_jax.reports import start
from pix2pix_jax.storage import atomic, user_paths
from pix2pix_jax.train_setup import Setup, check_run, resolve, say_what_starts, starting_state
from pix2pix_jax.train_state import GanState, training_key
from pix2pix_jax.workdir import data_json, locks
from pix2pix_jax.workdir.checkpoints import Checkpoints
from pix2pix_jax.workdir.config_json import to_json
from pix2pix_jax.workdir.profiler import Profile
from pix2pix_jax.workdir.run_json import record_start

STOPPING = (
    'the run stops after this step, and saves; a second signal stops it at once, without saving'
)
EVALUATE_LESS = 'allowed are --config.eval_every=0 and --config.sample_every=0'
MEASURE_ELSEWHERE = 'python -m pix2pix_jax.evaluate measures it on a device with more memory'
STEPS_IN_FLIGHT = 2  # dispatched, not finished: enough to keep a device busy, few to wait for


def train_and_evaluate(
    config: Config, workdir: epath.PathLike, command: str = '', tracker: str = 'none'
) -> GanState:
    """Trains as `config` says, resumes the run in `workdir`, and evaluates on test at the end.

    Args:
      config: the run's.
      workdir: its folder.
      command: the one that resumes the run.
      tracker: 'none' or one of workdir/trackers.py.

    Returns:
      The final state, on one device.

    Raises:
      UserError: for a config that does not fit the data, the devices or the run in `workdir`, where
        another process trains there, or for a disk that refuses.
      DataError: for bad data, saying which step is saved if it is met later.
      Stopped: after a signal, when the state has been saved.
    """
    workdir = epath.Path(user_paths.given(workdir, '--workdir'))
    if hosts.is_writer():
        locks.refuse_if_held(workdir)  # before reading all images, which may take minutes
    setup = resolve(config, workdir, command, tracker)
    with locks.hold(workdir) if hosts.is_writer() else contextlib.nullcontext():
        check_run(setup.config, workdir)  # again: another process may have been there meanwhile
        return train(setup)


def train(setup: Setup) -> GanState:
    """Trains in the run's folder, which is this process's; see `train_and_evaluate`."""
    config, workdir, devices = setup.config, setup.workdir, setup.devices
    state, optimizers = setup.initial_state()
    recorder: Recorder | NullRecorder = NullRecorder(setup.command)
    checkpoints = None
    if hosts.is_writer():
        checkpoints = Checkpoints(workdir, config.checkpoint.keep, writer=True)
    state = starting_state(setup, state, checkpoints)
    say_what_starts(setup, state)

    first = int(state.step)
    stop = StopRequest(STOPPING if first < setup.total_steps else '')
    if checkpoints is not None:
        atomic.write_text(workdir / 'config.json', to_json(config))
        data_json.write_known(workdir, setup.splits, setup.total_steps)
        record_start(workdir, setup.command, devices, first, start.arrays(state))
        recorder = Recorder(
            setup, checkpoints, state, optimizers.schedule, lambda: stop_requested_alone(stop)
        )
    profile = Profile(workdir / 'profile', config.profile_steps * hosts.is_writer(), first)
    try:
        debug_nans = config.debug_nans or jax.config.jax_debug_nans  # type: ignore[attr-defined]
        fits = memory.one_line('a training step', memory.less(config))
        with stop, fits, jax.debug_nans(debug_nans):
            catch_up(state, recorder, stop)
            return run_steps(setup, state, recorder, profile, stop)
    except (DataError, NotWritten, memory.OutOfMemory) as error:
        raise recorder.stopped_by(error) from error
    finally:
        profile.close()
        recorder.close()


def stop_requested_alone(stop: StopRequest) -> bool:
    """Whether a signal has come to a run of one process, which need not wait for others."""
    return stop.signal_number > 0 and jax.process_count() == 1


def catch_up(state: GanState, recorder: Recorder | NullRecorder, stop: StopRequest) -> None:
    """Does the work of the resumed step that a signal or a kill prevented, before the next step.

    Raises Stopped at another signal: the state is saved already.
    """
    step = int(state.step)
    try:
        record(step, state, recorder.missing(step), recorder)
    except Interrupted as error:
        raise recorder.stopped(step, stop.signal_number) from error
    recorder.resume(state)


def run_steps(
    setup: Setup,
    state: GanState,
    recorder: Recorder | NullRecorder,
    profile: Profile,
    stop: StopRequest,
) -> GanState:
    """Takes the steps from `state` to the last; returns the state, on one device.

    Args:
      setup: the run.
      state: where it starts, on one device.
      recorder: that of this process.
      profile: traces the steps that it was made for.
      stop: knows whether a signal came.

    Raises:
      Stopped: at the first step after a signal, when the state has been saved.
      DataError: for a training pair that cannot be read, or does not fit the others, when the state
        has been saved.
    """
    config, devices, first = setup.config, setup.devices, int(state.step)
    step_fn = parallel.compile_step(METHODS[config.method].step, config, devices)
    state, key = parallel.replicate(state, devices), training_key(config)
    frozen = parallel.replicate(setup.frozen, devices)
    batches = feed.batches(setup.splits['train'], config, devices, first)
    vote = parallel.StopVote(stop, devices, STEPS_IN_FLIGHT)
    in_flight: collections.deque[Metrics] = collections.deque()
    log, last_save = LateLog(recorder, config.batch_size, first), time.monotonic()
    # Read once: a field of a frozen config takes microseconds.
    plan = intervals(config, setup.total_steps, recorder.has_val)
    log_every = config.log_every

    with contextlib.closing(batches):  # or its workers would wait for an error's traceback to go
        for step in range(first + 1, setup.total_steps + 1):
            try:
                batch = next(batches)
            except UserError as error:  # the state is that of the step before, with its metrics
                log.flush()
                recorder.save_once(step - 1, parallel.unreplicate(state, devices))
                raise DataError(str(error)) from error
            state, metrics = step_fn(state, batch, key, frozen)
            vote.cast()
            recorder.step(step)
            profile.step(step, metrics)
            in_flight.append(metrics)
            if len(in_flight) > STEPS_IN_FLIGHT:
                wait_for(in_flight.popleft())
                log.in_flight(step)

            if step % log_every == 0 or step == setup.total_steps:
                log.add(step, parallel.unreplicate(metrics, devices))
            due = plan.due_at(step, minutes=(time.monotonic() - last_save) / 60)
            if not (any(due) or vote.signal_number):
                continue
            log.flush()
            if finish(step, state, devices, due, recorder, vote):
                last_save = time.monotonic()
            in_flight.clear()
            log.restart_clock(step)
    return parallel.unreplicate(state, devices)


def wait_for(metrics: Metrics) -> None:
    """Waits until the step that gave `metrics` is done: all results of a step come together."""
    next(iter(metrics.values())).block_until_ready()


def finish(
    step: int,
    state: GanState,
    devices: list[jax.Device],
    due: Due,
    recorder: Recorder | NullRecorder,
    vote: parallel.StopVote,
) -> bool:
    """Does the work that is due after a step; returns whether the state was saved.

    Work that a signal interrupts is done first when the run is resumed (`catch_up`).

    Args:
      step: how many steps are done.
      state: after them, on the devices.
      devices: those of this process.
      due: what is done now.
      recorder: that of this process.
      vote: knows whether a signal came to any process.

    Raises:
      Stopped: after a signal, when the state is saved.
    """
    whole = True
    try:
        improved = record(step, parallel.unreplicate(state.translating(), devices), due, recorder)
    except Interrupted:
        improved, whole = False, False
    except UserError:  # the steps until here are good
        recorder.save_once(step, parallel.unreplicate(state, devices))
        raise
    signal_number = vote.signal_number  # read once, after all that takes time
    last, saves = due.test, due.save or improved or signal_number > 0
    if saves:
        must = last or signal_number > 0
        recorder.save(step, parallel.unreplicate(state, devices), improved, must)
    if signal_number and not (last and whole):
        raise recorder.stopped(step, signal_number)
    return saves


def record(step: int, state: GanState, due: Due, recorder: Recorder | NullRecorder) -> bool:
    """Evaluates, draws samples and tests as is due; returns whether `state` is the best so far.

    Args:
      step: how many steps are done.
      state: what translates of the one after them, on one device.
      due: what is done now.
      recorder: that of this process.

    Raises:
      Interrupted: where a signal comes within an evaluation.
      UserError: for data that cannot be read, a disk that refuses, and a lack of memory.
    """
    with memory.one_line('an evaluation', EVALUATE_LESS):
        improved = due.evaluate and recorder.evaluate(step, state)
        if due.sample:
            recorder.sample(step, state)
    with memory.one_line('the last evaluation, on test,', MEASURE_ELSEWHERE):
        if due.test:
            recorder.test(step, state)
    return improved


class LateLog:
    """Logs metrics one log late, so that no step waits for the metrics of the one before.

    The rate is that at which steps are given to the devices while enough of them are in flight:
    then it is that of the devices, or of the input where that is slower. So the first step, which
    compiles, is not in it, nor the first ones after other work. Until there is such a rate, it is
    that since the start or since other work.
    """

    def __init__(self, recorder: Recorder | NullRecorder, batch_size: int, step: int):
        """Starts the clock at `step`."""
        self._recorder, self._batch_size = recorder, batch_size
        self._pending: tuple[int, Metrics, float] | None = None
        self._images_per_s = 0.0  # the newest that is known
        self.restart_clock(step)

    def restart_clock(self, step: int) -> None:
        """Starts the clock again when `step` is done, and what came after it."""
        self._begin = step, time.monotonic()
        self._full: tuple[int, float] | None = None

    def in_flight(self, step: int) -> None:
        """Starts the clock of the rate at `step`, the first with enough steps in flight."""
        self._full = self._full or (step, time.monotonic())

    def add(self, step: int, metrics: Metrics) -> None:
        """Logs what was added last, and keeps the metrics of `step` for the next call."""
        measured = 0.0
        if self._full and step > self._full[0]:
            measured = self._images_per_s = self._rate(step, self._full)
            self._full = step, time.monotonic()
        self.flush()
        self._pending = step, metrics, measured

    def _rate(self, step: int, begin: tuple[int, float]) -> float:
        seconds = max(time.monotonic() - begin[1], 1e-9)
        return (step - begin[0]) / seconds * self._batch_size

    def flush(self) -> None:
        """Logs what was added last, if it is not logged yet; waits for it."""
        if self._pending is not None:
            step, metrics, measured = self._pending
            values = jax.device_get(metrics)
            rate = measured or self._images_per_s or self._rate(step, self._begin)
            self._recorder.log(step, values, rate)
            self._pending = None
