"""From a config and a folder to a `Setup`: what a run is made of, resolved once, then unchanged.

And to the state that it starts or resumes from.
"""

import contextlib
import dataclasses
import itertools
import json
import os
from collections.abc import Mapping

import jax
import numpy as np
from etils import epath
from ml_collections import FrozenConfigDict

from pix2pix_jax.config import Config, augment_policies, flatten, from_fields, validate
from pix2pix_jax.data import (
    discover,
    file_checks,
    found_channels,
    nothing_to_learn,
    picture_values,
    preflight,
    scene_windows,
    sources,
    tasks,
    turned_pairs,
    value_checks,
)
from pix2pix_jax.data.hold_out import Known
from pix2pix_jax.distributed import feed, hosts, memory, parallel
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.evaluation import metric_titles, metrics, weights
from pix2pix_jax.inference.loaded_run import start_from
from pix2pix_jax.models import lpips
from pix2pix_jax.models.factory import (
    check_normed_maps,
    create_models,
    dropout_blocks,
    generator_depth,
)
from pix2pix_jax.optimizers import Optimizers, create_optimizers
from pix2pix_jax.reports import start
from pix2pix_jax.storage import atomic, user_paths
from pix2pix_jax.train_state import GanState, create_state
from pix2pix_jax.workdir import data_json, run_files
from pix2pix_jax.workdir.checkpoints import Checkpoints
from pix2pix_jax.workdir.config_json import (
    differences,
    fields_as_begun,
    load_config,
    places_of,
)
from pix2pix_jax.workdir.run_json import devices_of


@dataclasses.dataclass(frozen=True)
class Setup:
    """A run that can start: its config is whole and fits the data, the devices and the folder."""

    config: FrozenConfigDict  # with what was found in the data and of the machine
    workdir: epath.Path
    devices: list[jax.Device]  # of this process
    splits: Mapping[str, sources.Source]  # read once; train alone in processes that do not write
    total_steps: int
    command: str  # the one that resumes the run
    tracker: str  # of workdir/trackers.py
    frozen: dict[str, np.ndarray] | None = None  # weights of `loss.lpips_weight`, for the step

    def initial_state(self) -> tuple[GanState, Optimizers]:
        """Returns the state before the first step, and the optimizers."""
        with fits(first=True):
            return initial_state(self.config, self.devices, self.total_steps)


def resolve(
    config: Config, workdir: epath.PathLike, command: str = '', tracker: str = 'none'
) -> Setup:
    """Returns the `Setup` of a run of `config` in `workdir`; prints a report of the data.

    Args:
      config: the run's; found values are put into it.
      workdir: the run's folder.
      command: the one that resumes the run.
      tracker: 'none' or one of workdir/trackers.py.

    Raises:
      UserError, DataError: for all that can be known before the first step.
    """
    workdir = epath.Path(user_paths.given(workdir, '--workdir'))
    check_no_packed(workdir)
    config = validate(config)
    check_profile(config, workdir)
    begun = fields_as_begun(config, workdir) if hosts.is_writer() else {}
    for field, value in json.loads(hosts.broadcast_text(json.dumps(begun))).items():
        config.update_from_flattened_dict({field: value})
        print(f'config.{field}={value!r}, as the run began', flush=True)
    devices = parallel.choose_devices(
        config.num_devices, config.batch_size, config.grad_accumulation
    )
    parallel.check_dtype(config.dtype, devices[0])
    check_r1(config, parallel.device_count(devices))
    if config.optimizer.scale_with_devices and not config.optimizer.rate_devices:
        config.optimizer.rate_devices = parallel.device_count(devices)
    if config.image_size != (0, 0):  # a size that does not fit is said before data is read
        create_models(config, devices[0].platform)
    places = {place: _absolute(value, place) for place, value in places_of(config).items()}
    config.update_from_flattened_dict(places)
    splits, known = open_data(config, workdir)
    splits = found_channels.take_channels(splits, config)
    if not known.exists:  # one that is there goes on as it began
        found_channels.check_colours(splits['train'], config, augment_policies(config))
    config = validate(config)  # with what was found
    metric_titles.check_best(config, splits['train'].has_units)
    config.dataset.inputs = splits['train'].inputs
    config.dataset.windows = 'on' if splits['train'].boxes else 'off'
    config.dataset.palette = config.dataset.palette or splits['train'].found_palette()
    config.dataset.target_type = config.dataset.target_type or splits['train'].output_type
    scale = config.dataset.target_scale or known.target_scale
    config.dataset.target_scale = scale or preflight.found_target_scale(splits['train'])
    if config.image_size == (0, 0):
        config.image_size = known.image_size or preflight.found_image_size(splits['train'], config)
        create_models(config, devices[0].platform)
    if not known.exists:
        check_size(config, devices)
    if not hosts.is_writer():  # it alone measures
        splits = {'train': splits['train']}
    room, processes = feed.room(devices), hosts.processes_here()
    for line in preflight.report(splits, config, room, processes):
        print(line, flush=True)
    generator = config.generator
    if generator.dropout_blocks == 0:  # a run keeps the number itself, as older versions did
        generator.dropout_blocks = dropout_blocks(generator, generator_depth(config))
    for line in check_run(config, workdir):
        print(line, flush=True)
    frozen = frozen_weights(config, splits['train'])
    splits = preflight.decode_all(splits, config, room, processes)
    for line in data_json.left_out(splits) + preflight.not_on_device(splits, config, room):
        print(line, flush=True)
    nothing_to_learn.check_classes(splits['train'])
    for line in _doubts(splits):
        print(f'warning: {line}', flush=True)
    steps = count_steps(config, scene_windows.epoch(splits['train'], config))
    hosts.check_same(config, devices, splits['train'], steps)
    if known.steps and steps != known.steps:
        print(f'the length of the run was {known.steps:,} steps, and is {steps:,} now', flush=True)
    config = FrozenConfigDict(config)
    return Setup(config, workdir, devices, splits, steps, command, tracker, frozen)


def _doubts(splits: Mapping[str, sources.Source]) -> list[str]:
    """Returns lines about what looks wrong in the pairs, and is no error."""
    train = splits['train']
    values = {
        split: picture_values.summaries_of(source)
        for split, source in splits.items()
        if not source.held_out
    }
    return [
        *nothing_to_learn.warnings_for(train),
        *value_checks.warnings_for(train, values['train']),
        *itertools.chain(*value_checks.differences(values).values()),
        *turned_pairs.warnings_for(splits),
        *file_checks.copies(splits),
        *file_checks.shared_images(splits),
    ]


def check_size(config: Config, devices: list[jax.Device]) -> None:
    """Raises UserError where at `image_size` a task does nothing, or D sees nothing."""
    tasks.check_size(config)
    images = parallel.images_of_batch_norm(config, parallel.device_count(devices))
    check_normed_maps(config, images)


def check_r1(config: Config, devices: int) -> None:
    """Raises UserError where batch norm would mix the images whose gradients R1 takes.

    `devices` are those of all hosts.
    """
    images = parallel.images_of_batch_norm(config, devices)
    weight = config.loss.r1_weight
    if weight and config.discriminator.norm == 'batch' and images > 1:
        raise UserError(
            f'config.loss.r1_weight={weight}: its gradient is of each image alone, and batch norm '
            f'mixes the {images} that a device takes at once; allowed are discriminator.norm='
            'instance | none, or one image at once (batch_size / devices / grad_accumulation)'
        )


def frozen_weights(config: Config, source: sources.Source) -> dict[str, np.ndarray] | None:
    """Returns the weights of LPIPS where `config.loss` has it, else None.

    `source` has the training pairs. Raises UserError for images that LPIPS is not of, and where its
    weights are not there and cannot be downloaded; DataError for a file that has no such weights.
    """
    if not config.loss.lpips_weight:
        return None
    field = f'config.loss.lpips_weight={config.loss.lpips_weight}'
    channels, size = config.generator.output_channels, config.image_size
    if source.has_valid:
        raise UserError(f'{field}: {metrics.MASKED}; allowed is 0')
    if channels not in lpips.CHANNELS:
        raise UserError(f'{field}: outputs have {channels} channels; allowed are 1, 3 or 4')
    if min(size) < lpips.MIN_SIDE:
        raise UserError(
            f'{field}: images are of {size[0]}x{size[1]} pixels; allowed are {lpips.MIN_SIDE}x'
            f'{lpips.MIN_SIDE} or more'
        )
    try:
        return weights.load_lpips(config.loss.alexnet_file, config.loss.lpips_file)
    except weights.Unavailable as error:
        raise UserError(
            f'{field}: without its weights there is no training: {error}, or give files as '
            'config.loss.alexnet_file and config.loss.lpips_file'
        ) from error
    except DataError as error:
        raise DataError(f'{field}: {error}') from error


def _absolute(path: str, field: str) -> str:
    """Returns a path that holds from any folder: evaluate and translate may run elsewhere."""
    path = user_paths.given(path, f'config.{field}')
    return os.path.abspath(path) if path and atomic.is_local(path) else path


def open_data(config: Config, workdir: epath.Path) -> tuple[dict[str, sources.Source], Known]:
    """Returns the splits of the data, and its record: which pairs a resumed run has.

    Process 0 alone needs the folders of runs for that. Raises DataError where the data is not that
    of the run.
    """
    known = Known()
    if hosts.is_writer():
        known = data_json.add_earlier_splits(data_json.load_known(workdir), config)
    known = data_json.from_json(hosts.broadcast_text(data_json.to_json(known)))
    found = discover.find_splits(config, known)
    data_json.check_unchanged(found, config, known, workdir)
    splits = discover.divide(found, config, known)
    if known.splits:  # what came since is left out with on_error=skip, and refused without
        splits = {split: splits[split] for split in known.splits}
        if config.dataset.on_error == 'skip':
            path = workdir / data_json.FILE
            print(f'the pairs are those of {path}, whatever became of the others since')
    if known.remark and (known.exists or any(source.held_out for source in splits.values())):
        print(known.remark)
    if 'train' not in splits:
        raise DataError(
            f'config.dataset.path={config.dataset.path}: there is {" and ".join(splits)}, and no '
            'train: name what to train on train (train/, trainA/ and trainB/, or train.csv); '
            'without a val, a part of it is held out (config.dataset.val_fraction)'
        )
    return splits, known


def count_steps(config: Config, pairs: int) -> int:
    """Returns the length of the run: num_steps, or floor(pairs * epochs / batch)."""
    steps = config.num_steps or pairs * config.num_epochs // config.batch_size
    if steps < 1:
        raise UserError(
            f'config.batch_size={config.batch_size}: {pairs} pairs for {config.num_epochs} epochs '
            'are less than one step; allowed are a smaller batch or more epochs'
        )
    return steps


def check_no_packed(workdir: epath.Path) -> None:
    """Raises UserError for a packed run."""
    if workdir.exists() and run_files.is_packed(workdir):
        raise UserError(
            f'--workdir={workdir}: a packed run is not trained on; a new one starts from it: '
            f'--config.init_from={workdir} and another --workdir'
        )


def check_profile(config: Config, workdir: epath.PathLike) -> None:
    """Raises UserError for a trace of steps where `workdir` is in an object store."""
    if config.profile_steps and not atomic.is_local(workdir):
        raise UserError(
            f'config.profile_steps={config.profile_steps}: a trace is written to a disk of this '
            f'machine; allowed is 0 with --workdir={workdir}'
        )


def check_run(config: Config, workdir: epath.Path) -> list[str]:
    """Returns what there is to say about the run in `workdir`, as lines.

    Raises UserError if it holds anything but a run that this config can resume, or one that has
    saved nothing, nor was measured, which starts anew.
    """
    if not workdir.exists():
        return []
    if workdir.is_dir() and all(path.name.startswith('.') for path in workdir.iterdir()):
        return []
    if not workdir.is_dir() or not (workdir / 'config.json').exists():
        raise UserError(
            f'--workdir={workdir}: it is there and is not the folder of a run (no config.json); '
            'allowed are a new or empty folder, or that of a run to resume'
        )
    old = load_config(workdir)
    if old.optimizer.scale_with_devices and not old.optimizer.rate_devices:
        old = from_fields(flatten(old) | {'optimizer.rate_devices': devices_of(workdir)})
    changed = differences(old, config)
    if changed and not (run_files.has_checkpoints(workdir) or (workdir / 'evaluation').exists()):
        return [f'{workdir} has saved no checkpoint, the run starts anew: {"; ".join(changed)}']
    if changed:
        raise UserError(
            f'{workdir} holds a run with another config: {"; ".join(changed)}; '
            'give the old values to resume, or another --workdir to start anew'
        )
    if old.dataset.path != config.dataset.path:
        return [f'config.dataset.path was {old.dataset.path}']
    return []


def initial_state(
    config: Config, devices: list[jax.Device], total_steps: int
) -> tuple[GanState, Optimizers]:
    """Returns the state before the first step, and the optimizers."""
    axis_name = parallel.axis_of(devices) if config.sync_batch_norm else None
    models = create_models(config, devices[0].platform, axis_name)
    count = parallel.device_count(devices)
    optimizers = create_optimizers(config.optimizer, total_steps, count)
    return create_state(config, models, optimizers), optimizers


def fits(first: bool) -> contextlib.AbstractContextManager[None]:
    """Makes one line of a device that has no room for the state, the `first` one or a saved one."""
    device = 'a device that nothing else uses'
    smaller = 'allowed are a smaller --config.generator.width or --config.discriminator.width, or '
    return memory.one_line(
        'the state of the networks and their optimizers',
        f'{smaller}{device}' if first else f'needed is {device}',
    )


def starting_state(setup: Setup, state: GanState, checkpoints: Checkpoints | None) -> GanState:
    """Returns what the run trains on from, on one device, on all processes alike.

    That is the newest state of its folder, else `state`, with the networks of `init_from` if there
    is one. The process that writes has the `checkpoints`, the others None. Raises UserError where
    no checkpoint loads, and for a config with fewer steps than are done.
    """
    if checkpoints is not None:
        with fits(first=False):
            restored = checkpoints.restore_newest(jax.device_put(state, setup.devices[0]))
        if restored is not None:
            state = restored
        elif setup.config.init_from:
            state = start_from(state, setup.config.init_from)
    state = hosts.from_writer(state)
    done = int(state.step)
    if done > setup.total_steps:
        raise UserError(
            f'{setup.workdir}: {done:,} steps are done, and the config has {setup.total_steps:,} '
            f'(config.num_steps, or config.num_epochs): allowed is {done} or more'
        )
    return state


def say_what_starts(setup: Setup, state: GanState) -> None:
    """Prints the networks, the devices and the length of the run from `state`, and what to know."""
    config, devices, first = setup.config, setup.devices, int(state.step)
    start.describe(state, devices, first, setup.total_steps)
    for line in [
        *start.idle(config, devices),
        *(f'warning: {line}' for line in memory.too_little(state, config, devices)),
        *start.norm_statistics(config, devices),
        *(f'warning: {line}' for line in start.unlike_training(config, devices) if not first),
        *start.of_older_version(setup.workdir, first),
        *start.measured(len(setup.splits.get('val', ())), config),
        *start.compilation(devices),
    ]:
        print(line, flush=True)
