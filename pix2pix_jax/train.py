"""The training loop.

Within a step the order is: train, log, evaluate, sample, save. Metrics are fetched one log late,
and whatever is saved has all of its metrics on disk before it, so that a run killed at any moment
goes on without a gap.
"""

import collections
import contextlib
import math
import os
import time
from typing import Any

import jax
from clu import parameter_overview
from etils import epath

from pix2pix_jax.config import Config, validate
from pix2pix_jax.data import pipeline, preflight, sources, value_checks
from pix2pix_jax.data.hold_out import Known
from pix2pix_jax.distributed import hosts, parallel
from pix2pix_jax.distributed.preemption import StopRequest
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.inference.generator import start_from
from pix2pix_jax.models.factory import create_models, dropout_blocks, generator_depth
from pix2pix_jax.optimizers import Optimizers, create_optimizers
from pix2pix_jax.recorder import Bystander, Recorder
from pix2pix_jax.storage import atomic
from pix2pix_jax.train_state import GanState, create_state, training_key
from pix2pix_jax.train_step import train_step
from pix2pix_jax.workdir import data_json, locks
from pix2pix_jax.workdir.checkpoints import Checkpoints
from pix2pix_jax.workdir.config_json import differences, load_config, to_json
from pix2pix_jax.workdir.profiler import Profile
from pix2pix_jax.workdir.run_json import devices_of, record_start, steps_before

STEPS_IN_FLIGHT = 2  # dispatched, not finished: enough to keep a device busy, few to wait for


def train_and_evaluate(config: Config, workdir: epath.PathLike, command: str = '') -> GanState:
    """Trains as `config` says, goes on where `workdir` stopped, and evaluates on test at the end.

    Returns the final state, on one device. `command` is the one that resumes the run. Raises
    UserError for a config that does not fit the data, the devices or the run in `workdir`, where
    another process trains there, or for a disk that refuses; DataError for bad data, saying which
    step is saved if it is met later; and Stopped after a signal, when the state has been saved.
    """
    workdir = epath.Path(workdir).expanduser()
    if hosts.is_writer():
        locks.refuse_if_held(workdir)  # before reading all images, which may take minutes
    config, devices, splits, total_steps = prepare(config, workdir)
    with locks.hold(workdir) if hosts.is_writer() else contextlib.nullcontext():
        check_run(config, workdir)  # again: another process may have been there meanwhile
        return train(config, workdir, command, devices, splits, total_steps)


def train(
    config: Config,
    workdir: epath.Path,
    command: str,
    devices: list[jax.Device],
    splits: dict[str, sources.Source],
    total_steps: int,
) -> GanState:
    """Trains in `workdir`, which is this process's; see `train_and_evaluate`."""
    state, optimizers = initial_state(config, devices, total_steps)
    if hosts.is_writer():
        checkpoints = Checkpoints(workdir, config.checkpoint.keep, writer=True)
        restored = checkpoints.restore_newest(jax.device_put(state, devices[0]))
        if restored is not None:
            state = restored
        elif config.init_from:
            state = start_from(state, config.init_from)
    state = hosts.from_writer(state)
    start = int(state.step)
    describe(state, devices, start, total_steps)
    for line in (*norm_statistics(config, devices), *of_older_version(workdir, start)):
        print(line, flush=True)

    if hosts.is_writer():
        atomic.write_text(workdir / 'config.json', to_json(config))
        data_json.write_known(workdir, splits, total_steps)
        record_start(workdir, command, devices, start)
        recorder = Recorder(
            config, workdir, splits, checkpoints, state, optimizers.schedule, total_steps, command
        )
    else:
        recorder = Bystander(command)
    profile = Profile(workdir / 'profile', config.profile_steps * hosts.is_writer(), start)
    try:
        recorder.resume(state)
        with StopRequest() as stop, jax.debug_nans(config.debug_nans or jax.config.jax_debug_nans):
            return run_steps(
                config, state, splits['train'], devices, total_steps, recorder, profile, stop
            )
    except DataError as error:
        raise recorder.stopped_by(error) from error
    finally:
        profile.close()
        recorder.close()


def dry_run(config: Config, workdir: epath.PathLike) -> None:
    """Prints what `train_and_evaluate` would do: config, data, networks, memory; writes nothing.

    Raises what it would raise before the first step.
    """
    workdir = epath.Path(workdir).expanduser()
    config, devices, splits, total_steps = prepare(config, workdir)
    print(to_json(config), end='')
    state, _ = initial_state(config, devices, total_steps)
    if config.init_from and not (workdir / 'checkpoints').exists():
        state = start_from(state, config.init_from)
    describe(state, devices, 0, total_steps)
    for line in norm_statistics(config, devices):
        print(line)
    processes = jax.process_index(), jax.process_count()
    batch = next(pipeline.train_batches(splits['train'], config, 0, *processes))
    step_fn = parallel.compile_step(train_step, config, devices)
    batch = parallel.shard(batch, devices, config.optimizer.d_steps)
    state = parallel.replicate(state, devices)
    memory = step_fn.lower(state, batch, training_key(config)).compile().memory_analysis()
    parts = {
        'state and batch': memory.argument_size_in_bytes,
        'activations and gradients': memory.temp_size_in_bytes,
        'results beside the state': memory.output_size_in_bytes - memory.alias_size_in_bytes,
    }
    text = ', '.join(f'{name} {size / 2**20:,.0f} MiB' for name, size in parts.items())
    print(f'memory of a step on each device: {sum(parts.values()) / 2**20:,.0f} MiB ({text})')


def prepare(
    config: Config, workdir: epath.Path
) -> tuple[Config, list[jax.Device], dict[str, sources.Source], int]:
    """Returns the resolved config, the devices, the splits, read once, and the length of the run.

    Raises UserError or DataError for all that can be known before the first step.
    """
    check_reachable(workdir)
    config = validate(config)
    devices = parallel.choose_devices(config.num_devices, config.batch_size)
    parallel.check_dtype(config.dtype, devices[0])
    if config.optimizer.scale_with_devices and not config.optimizer.rate_devices:
        config.optimizer.rate_devices = len(devices) * jax.process_count()
    if config.image_size != (0, 0):  # a size that does not fit is said before data is read
        create_models(config, devices[0].platform)
    if config.init_from and '://' not in config.init_from:
        config.init_from = os.path.abspath(os.path.expanduser(config.init_from))
    config, splits, known = open_data(config, workdir)
    generator = config.generator
    if generator.dropout_blocks == 0:  # a run keeps the number itself, as older versions did
        generator.dropout_blocks = dropout_blocks(generator, generator_depth(config))
    check_run(config, workdir)
    splits = {name: preflight.decode_all(source, config) for name, source in splits.items()}
    for line in data_json.left_out(splits):
        print(line, flush=True)
    for line in value_checks.remarks(splits['train']):
        print(f'warning: {line}', flush=True)
    hosts.check_same(config, devices, splits['train'])
    steps = count_steps(config, len(splits['train']))
    if known.steps and steps != known.steps:
        print(f'the length of the run was {known.steps:,} steps, and is {steps:,} now', flush=True)
    return config, devices, splits, steps


def initial_state(
    config: Config, devices: list[jax.Device], total_steps: int
) -> tuple[GanState, Optimizers]:
    """Returns the state before the first step, and the optimizers."""
    axis_name = parallel.axis_of(devices) if config.sync_batch_norm else None
    models = create_models(config, devices[0].platform, axis_name)
    count = len(devices) * jax.process_count()
    optimizers = create_optimizers(config.optimizer, total_steps, count)
    return create_state(config, models, optimizers), optimizers


def run_steps(
    config: Config,
    state: GanState,
    train: sources.Source,
    devices: list[jax.Device],
    total_steps: int,
    recorder: Recorder | Bystander,
    profile: Profile,
    stop: StopRequest,
) -> GanState:
    """Takes the steps from `state` to `total_steps`; returns the state, on one device.

    Raises Stopped at the first step after a signal, and DataError for a training pair that cannot
    be read, when the state has been saved.
    """
    start = int(state.step)
    step_fn = parallel.compile_step(train_step, config, devices)
    state, key = parallel.replicate(state, devices), training_key(config)
    batches = pipeline.train_batches(train, config, start, jax.process_index(), jax.process_count())
    vote = parallel.StopVote(stop, devices, STEPS_IN_FLIGHT)
    in_flight, pending = collections.deque(), []
    clock, last_save = Clock(start), time.monotonic()

    def log_pending() -> None:
        for step, metrics, images_per_s in pending:
            recorder.log(step, jax.device_get(metrics), images_per_s)
        pending.clear()

    for step in range(start + 1, total_steps + 1):
        try:
            batch = next(batches)
        except DataError:  # the state is that of the step before, with its metrics
            log_pending()
            recorder.save_once(step - 1, parallel.unreplicate(state, devices))
            raise
        batch = parallel.shard(batch, devices, config.optimizer.d_steps)
        state, metrics = step_fn(state, batch, key)
        vote.cast()
        recorder.step(step)
        profile.step(step, metrics)
        in_flight.append(metrics)
        if len(in_flight) > STEPS_IN_FLIGHT:
            jax.block_until_ready(in_flight.popleft())

        last = step == total_steps
        if step % config.log_every == 0 or last:
            log_pending()
            images_per_s = clock.steps_per_s(step) * config.batch_size
            pending.append((step, parallel.unreplicate(metrics, devices), images_per_s))
        evaluate = recorder.has_val and due(step, config.eval_every, last)
        sample = due(step, config.sample_every, last)
        minutes = (time.monotonic() - last_save) / 60
        save = (
            last
            or due(step, config.checkpoint.every_steps)
            or 0 < config.checkpoint.every_minutes <= minutes
        )
        if not (evaluate or sample or save or vote.signal_number):
            continue

        log_pending()
        single = parallel.unreplicate(state, devices)
        improved = evaluate and recorder.evaluate(step, single)
        if sample:
            recorder.sample(step, single)
        if last:
            recorder.test(step, single)
        signal_number = vote.signal_number  # read once, after all that takes time
        if save or improved or signal_number:
            recorder.save(step, single, improved, must=last or signal_number > 0)
            last_save = time.monotonic()
        clock.restart(step)
        if signal_number and not last:
            raise recorder.stopped(step, signal_number)
    return parallel.unreplicate(state, devices)


def due(step: int, every: int, last: bool = False) -> bool:
    """Tells whether something done `every` steps (0: never), and at the last, is due now."""
    return every > 0 and (last or step % every == 0)


class Clock:
    """Measures the rate of training between two logs, other work left out."""

    def __init__(self, step: int):
        """Starts at `step`."""
        self.restart(step)

    def restart(self, step: int) -> None:
        """Starts again, after an evaluation or a save."""
        self._step, self._time = step, time.monotonic()

    def steps_per_s(self, step: int) -> float:
        """Returns the rate since the last call or restart."""
        now = time.monotonic()
        rate = (step - self._step) / max(now - self._time, 1e-9)
        self._step, self._time = step, now
        return rate


def open_data(
    config: Config, workdir: epath.Path
) -> tuple[Config, dict[str, sources.Source], Known]:
    """Opens the data, prints a short report, and fills in a size found in it.

    Returns also what was known of it: which pairs a run that resumes has. Process 0 alone needs the
    folders of runs to know. Raises DataError where the data is not that of the run.
    """
    path = config.dataset.path
    if path and '://' not in path:  # evaluate and translate may run from another folder
        config.dataset.path = os.path.abspath(os.path.expanduser(path))
    known = Known()
    if hosts.is_writer():
        known = data_json.with_earlier(data_json.load_known(workdir), config)
    known = data_json.from_json(hosts.told(data_json.to_json(known)))
    found = sources.find_splits(config, known)
    data_json.check_unchanged(found, config, known, workdir)
    splits = sources.divide(found, config, known)
    if known.kept:  # what came since is left out with on_error=skip, and refused without
        splits = {split: splits[split] for split in known.kept}
        if config.dataset.on_error == 'skip':
            path = workdir / data_json.FILE
            print(f'the pairs are those of {path}, whatever became of the others since')
    if known.remark and (known.exists or 'val' in splits and splits['val'].held_out):
        print(known.remark)
    if 'train' not in splits:
        raise DataError(f'config.dataset.path={config.dataset.path}: there is no folder train')
    config.dataset.inputs = splits['train'].inputs
    if config.image_size == (0, 0):
        config.image_size = known.image_size or preflight.found_image_size(splits['train'])
    for line in preflight.report(splits, config):
        print(line, flush=True)
    return config, splits, known


def count_steps(config: Config, pairs: int) -> int:
    """Returns the length of the run: num_steps, or floor(pairs * epochs / batch)."""
    steps = config.num_steps or pairs * config.num_epochs // config.batch_size
    if steps < 1:
        raise UserError(
            f'config.batch_size={config.batch_size}: {pairs} pairs for {config.num_epochs} epochs '
            'are less than one step; allowed are a smaller batch or more epochs'
        )
    return steps


def check_reachable(workdir: epath.Path) -> None:
    """Raises UserError where the package for a workdir on gs:// or its like is missing."""
    try:
        workdir.exists()
    except ImportError as error:
        raise UserError(f'--workdir={workdir}: {error}') from error


def check_run(config: Config, workdir: epath.Path) -> None:
    """Raises UserError if `workdir` holds anything but a run that this config can go on from."""
    if not workdir.exists():
        return
    if workdir.is_dir() and all(path.name.startswith('.') for path in workdir.iterdir()):
        return
    if not workdir.is_dir() or not (workdir / 'config.json').exists():
        raise UserError(
            f'--workdir={workdir}: it is there and is not the folder of a run (no config.json); '
            'allowed are a new or empty folder, or that of a run to go on with'
        )
    old = load_config(workdir)
    if old.optimizer.scale_with_devices and not old.optimizer.rate_devices:
        old.optimizer.rate_devices = devices_of(workdir)
    changed = differences(old, config)
    if changed:
        raise UserError(
            f'{workdir} holds a run with another config: {"; ".join(changed)}; '
            'give the old values to go on, or another --workdir to start anew'
        )
    if old.dataset.path != config.dataset.path:
        print(f'config.dataset.path was {old.dataset.path}', flush=True)


def describe(state: GanState, devices: list[jax.Device], start: int, total_steps: int) -> None:
    """Prints the networks, the devices and the length of the run."""
    networks: dict[str, Any] = {'generator': state.generator, 'discriminator': state.discriminator}
    for name, network in networks.items():
        if network is None:
            continue
        if start == 0:
            print(parameter_overview.get_parameter_overview(network.params, include_stats=False))
        count = parameter_overview.count_parameters(network.params)
        print(f'{name}: {count:,} parameters')
    going_on = f', going on from step {start:,}' if start else ''
    if start >= total_steps:
        going_on = ': all done already'
    on = f' on each of {jax.process_count()} hosts' if jax.process_count() > 1 else ''
    used = f'{len(devices)} x {devices[0].device_kind}{on}'
    print(f'{used}, {total_steps:,} steps{going_on}', flush=True)


def norm_statistics(config: Config, devices: list[jax.Device]) -> list[str]:
    """Returns a line that says over how many images batch norm goes, where not over the batch."""
    count = len(devices) * jax.process_count()
    networks = [n for n in ('generator', 'discriminator') if config[n].norm == 'batch']
    if count == 1 or config.sync_batch_norm or not networks:
        return []
    return [
        f'batch norm ({" and ".join(networks)}): in training over the {config.batch_size // count} '
        f'images of each device, not over the {config.batch_size} of the batch: another number of '
        'devices is another experiment (--config.sync_batch_norm=True: over all)'
    ]


def of_older_version(workdir: epath.Path, start: int) -> list[str]:
    """Returns a line that says what is new where a run of a version before 0.2.0 is resumed."""
    if not start or steps_before(workdir, (0, 2)) < math.inf:
        return []
    return [
        f'the run is of a version before 0.2.0: from step {start + 1} its random draws (dropout, '
        'discriminator.augment, gradient penalty) are others than that version would have made'
    ]
