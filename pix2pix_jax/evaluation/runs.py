"""Measures a run on a split of its data, or one folder of images against another."""

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from pix2pix_jax.config import Config, flatten, from_fields
from pix2pix_jax.data import augment, image_spec, masks, picture_values, value_checks
from pix2pix_jax.data.folders import pair_files
from pix2pix_jax.data.formats.decode import as_channels, read_pixels
from pix2pix_jax.data.lists import read_outputs
from pix2pix_jax.data.sources import Source
from pix2pix_jax.distributed import memory
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.evaluation import image_metrics, metrics, report, translated
from pix2pix_jax.evaluation.options import Options
from pix2pix_jax.inference import generator
from pix2pix_jax.inference.run_splits import open_run_splits
from pix2pix_jax.models.factory import generator_depth
from pix2pix_jax.runtime import prepare_process
from pix2pix_jax.workdir import metrics_json, run_files


class RunImages(NamedTuple):
    """Which images of a run are measured."""

    split: str = 'test'
    checkpoint: str = ''  # that translates them: 'last', 'best', a step, or `several`; '': last
    scale: int = 1  # their size is this multiple of the size trained on
    dataset: str = ''  # the folder of their pairs; '': those of the run
    ema: bool = True  # with averaged weights, where the run has any
    steps: int = 0  # in which a flow translates them; 0: config.test.steps


class FolderImages(NamedTuple):
    """Which images are measured against which."""

    real: epath.PathLike  # the folder of the targets
    generated: epath.PathLike  # the folder of the images that are measured
    listed: epath.PathLike = ''  # a CSV file of columns real and generated; '': by their names
    ranges: tuple[image_spec.Range, ...] = ()  # of their values; (): that of their type
    nodata: str = ''  # the value of the targets that does not count, or nan; '': there is none


RANGE = '--range'
ALL = 'all'  # a table of all checkpoints (`evaluation.checkpoints`)
TEST = RunImages()


def several(checkpoint: str) -> bool:
    """Whether `checkpoint` asks for a table: ALL, or steps with commas, '800,900' or '900,'."""
    return checkpoint == ALL or ',' in checkpoint


def check_output(
    folder: epath.PathLike,
    overwrite: bool,
    is_report: Callable[[epath.PathLike], bool] = report.is_report,
) -> None:
    """Raises UserError where `folder` holds anything but an earlier report, unless `overwrite`."""
    path = epath.Path(folder)
    if path.exists() and not path.is_dir():
        raise UserError(f'--output={folder} is a file: allowed is a folder')
    if path.exists() and any(path.iterdir()) and not overwrite and not is_report(path):
        raise UserError(f'--output={folder} holds other files: give an empty folder or --overwrite')


def default_output(workdir: epath.PathLike, images: RunImages) -> epath.Path:
    """Returns the folder in `workdir` where a run keeps the evaluation of these images.

    Raises UserError for the zip of a packed run, and where the folder has the report of another
    `images.dataset` of the same name.
    """
    if run_files.is_zip(workdir):
        raise UserError(f'--output is missing: nothing is written into {workdir}; give a folder')
    name = os.path.basename(os.path.abspath(images.dataset)) if images.dataset else ''
    folder = metrics_json.result_folder(workdir, images.split, images.scale, name, images.steps)
    ending = ('' if images.ema else '_noema') + '_checkpoints' * several(images.checkpoint)
    folder = folder.parent / f'{folder.name}{ending}'
    _check_same_data(folder, images.dataset)
    return folder


def _check_same_data(folder: epath.Path, dataset: str) -> None:
    """Raises UserError where `folder` has the report of another folder of the same name."""
    for path in (folder / 'metrics.json', folder / 'checkpoints.json') if dataset else ():
        other = json.loads(path.read_text()).get('dataset') if path.exists() else ''
        if other and os.path.abspath(other) != os.path.abspath(dataset):
            raise UserError(
                f'--dataset={dataset}: {folder} has the report of {other}; give an --output'
            )


# ---------------------------------------------------------------- a run


def evaluate_run(
    workdir: epath.PathLike,
    output: epath.PathLike | None,
    images: RunImages = TEST,
    options: Options = metrics.PAIRS_ALONE,
) -> report.Summary:
    """Measures images of a run and writes the report.

    Args:
      workdir: the folder of the run.
      output: the folder for the report; None: there is no report.
      images: which images are measured, and which checkpoint translates them.
      options: what is measured beside L1, PSNR and SSIM.

    Returns:
      The summary, as `metrics.json` has it.

    Raises:
      UserError: for a run, checkpoint or split that is not there, and for label maps of other
        colours than the FCN-score is to count.
      DataError: for bad pairs.
      UserError of status 1: where the memory does not suffice.
    """
    prepare_process()
    run = generator.load_run(workdir, images.checkpoint, images.ema)
    config = config_of(run.config, images)
    with_train = metrics.trains(options, config)
    splits = open_run_splits(workdir, config, images.split, images.dataset, with_train)
    source = splits[images.split]
    for line in _doubts(source, images):
        print(f'warning: {line}', flush=True)
    about = {'split': images.split, 'step': run.step, 'checkpoint': run.checkpoint}
    about |= {'scale': images.scale} | translated.about_steps(config)
    about |= {'dataset': images.dataset} if images.dataset else {}
    about |= {} if images.ema else {'ema': False}
    allowed = (
        f'allowed is a smaller --scale (it is {images.scale})'
        if images.scale > 1
        else 'needed is a device with more memory'
    )
    with memory.one_line('an evaluation', allowed):
        summary, _ = report.measure(
            translated.batches(
                generator.Generator(config, run.variables).on_device, source, config
            ),
            len(source),
            output,
            about=about | {'measured': metrics.identity(options)},
            progress=True,
            accumulators=metrics.for_run(options, config, splits, images.split),
        )
    return summary


def _doubts(source: Source, images: RunImages) -> list[str]:
    """Returns what looks wrong with the pairs of a run, and is no error; a sample is read."""
    lines = []
    if images.dataset and any(spec.colours is not None for spec in source.specs):
        lines += value_checks.palettes(source)
    if source.specs[1].ranges:
        lines += [
            f'{summary.what}: {about}'
            for summary in picture_values.summaries_of(source)
            if summary.spec.name == 'target' and (about := value_checks.about_clipped(summary))
        ]
    return lines


def config_of(config: Config, images: RunImages) -> Config:
    """Returns the config of a run for the images that are measured: folder, size, a flow's steps.

    The network stays as deep as it was trained: it is fully convolutional (section 4.4 of the
    paper). Raises UserError where there is no such folder, size or number of steps, or no weights
    but the last ones, which need no --noema.
    """
    if not images.ema and not config.ema_decay:
        raise UserError(
            '--noema: the run has no averaged weights (config.ema_decay=0); leave it out'
        )
    config = generator.at_steps(config, images.steps)
    changed: dict[str, Any] = {}
    if images.dataset:
        if not epath.Path(images.dataset).is_dir():
            raise UserError(f'--dataset={images.dataset} is not a folder')
        changed['dataset.path'] = images.dataset
    if images.scale != 1:
        if config.dataset.preprocess == 'none':
            raise UserError(
                f"--scale={images.scale}: allowed is 1 where config.dataset.preprocess='none', "
                'whose images have the size of the training'
            )
        changed['generator.depth'] = generator_depth(config)
        changed['image_size'] = tuple(images.scale * side for side in config.image_size)
    return from_fields(flatten(config) | changed)


# ---------------------------------------------------------------- two folders


def evaluate_folders(
    images: FolderImages,
    output: epath.PathLike | None,
    options: Options = metrics.PAIRS_ALONE,
) -> report.Summary:
    """Measures the images in one folder against those of the same names in another, or of a list.

    RGB images are measured as RGB, those of other channels as they are. Names are relative paths
    without their extensions.

    Args:
      images: the two folders, and what their values mean.
      output: the folder for the report; None: there is no report.
      options: what is measured beside L1, PSNR and SSIM.

    Returns:
      The summary, as `metrics.json` has it.

    Raises:
      DataError: for a folder without images, a name that only one folder has, an unreadable image,
        or a pair of two sizes.
      UserError: for label maps of other colours than `options` say, and for a `nodata` that is no
        number.
    """
    masks.check_number(images.nodata, '--nodata')
    folders = epath.Path(images.real), epath.Path(images.generated)
    listed = images.listed
    pairs = read_outputs(epath.Path(listed), *folders) if listed else pair_files(folders)
    files = [real_file for real_file, _ in pairs.values()]
    for line in _doubts_of_files(files, images):
        print(f'warning: {line}', flush=True)
    first_type = read_pixels(files[0]).values.dtype
    units = bool(images.ranges) or first_type != np.uint8
    accumulators = metrics.for_folders(options, files, units, masked=bool(images.nodata))
    about = {'measured': metrics.identity(options)}
    one_type = first_type if units and not images.ranges else None
    read = ([example] for example in _read(pairs, images.ranges, images.nodata, one_type))
    return report.measure(
        read, len(pairs), output, about=about, progress=True, accumulators=accumulators
    )[0]


def _doubts_of_files(files: Sequence[epath.Path], images: FolderImages) -> list[str]:
    """Returns what looks wrong with the values of targets, and is no error; a sample is read."""
    step = math.ceil(len(files) / picture_values.SAMPLE)
    spec = image_spec.ImageSpec(
        'target', image_spec.DEFAULT_CHANNELS, images.ranges, nodata=images.nodata, range_flag=RANGE
    )
    summary = picture_values.summary_of(map(read_pixels, files[::step]), spec, None)
    lines = [value_checks.about_clipped(summary)]
    if sliver := value_checks.about_sliver(summary):
        lines.append(f'{sliver}: so are all errors small; {RANGE}=LOW:HIGH says what they fill')
    return [f'{images.real}: {line}' for line in lines if line]


def _read(
    pairs: Mapping[str, tuple[epath.Path, ...]],
    ranges: tuple[image_spec.Range, ...],
    nodata: str = '',
    one_type: np.dtype | None = None,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each pair measured in float64 on the host: of many sizes, each would be compiled.

    Targets must be of `one_type`, if it is given: their units are those of the type.
    """
    for name, files in pairs.items():
        target, output = map(read_pixels, files)
        if one_type not in (None, target.values.dtype):
            raise DataError(
                f'{files[0]} is of {target.values.dtype}, and others are of {one_type}: the errors '
                'have no common unit; measure them apart, or say one range of all with --range'
            )
        if output.values.shape[:2] != target.values.shape[:2]:
            a, b = ('{1}x{0}'.format(*image.values.shape) for image in (output, target))
            raise DataError(f'{files[1]} is {a} but {files[0]} is {b}: sizes must agree')
        channels = target.values.shape[-1]
        spec = image_spec.ImageSpec(
            'target',
            3 if target.opacity or channels == 1 else channels,
            ranges,
            range_flag=RANGE,
        )
        if channels == 4 and not (target.opacity and output.opacity):  # four bands: no RGBA
            target, output = (one._replace(opacity=False) for one in (target, output))
            spec = spec._replace(channels=channels if output.values.shape[-1] == 4 else 3)
        low, high = spec.range_of(target.values.dtype)
        valid, known = None, {}
        if nodata:
            valid = ~masks.missing(target, nodata, (low, high))
            output, target = (masks.filled(one, valid) for one in (output, target))
            known = {'valid': valid, 'valid_pixels': int(valid.sum())}
        images = {
            kind: augment.to_float(image_spec.combine(spec, [one], [file]))
            for kind, one, file in zip(('output', 'target'), (output, target), files[::-1])
        }
        found = image_metrics.of_pair(**images, valid=valid)
        if ranges:  # values of one unit, which the ends of the range do not cut off
            stored = (as_channels(one, spec.channels, high) for one in (output, target))
            found |= image_metrics.in_units(*stored, span=2.0, valid=valid)
        else:
            found |= image_metrics.in_units(**images, span=high - low, valid=valid)
        yield name, images | known | found
