"""Measures a run on a split of its data."""

import json
import os
from collections.abc import Callable
from typing import Any, NamedTuple

from etils import epath

from pix2pix_jax.config import Config, flatten, from_fields
from pix2pix_jax.data import picture_values, value_checks
from pix2pix_jax.data.sources import Source
from pix2pix_jax.distributed import memory
from pix2pix_jax.errors import UserError
from pix2pix_jax.evaluation import metrics, report, translated
from pix2pix_jax.evaluation.options import Options
from pix2pix_jax.inference import generator, loaded_run
from pix2pix_jax.inference.run_splits import open_run_splits
from pix2pix_jax.models.factory import generator_depth
from pix2pix_jax.runtime import prepare_process
from pix2pix_jax.storage import atomic
from pix2pix_jax.workdir import metrics_json, run_files


class RunImages(NamedTuple):
    """Which images of a run are measured."""

    split: str = 'test'
    checkpoint: str = ''  # that translates them: 'last', 'best', a step, or `several`; '': last
    scale: int = 1  # their size is this multiple of the size trained on
    dataset: str = ''  # the folder of their pairs; '': those of the run
    ema: bool = True  # with averaged weights, where the run has any
    steps: int = 0  # in which a flow translates them; 0: config.test.steps


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

    Raises UserError for the zip of a packed run.
    """
    if run_files.is_zip(workdir):
        raise UserError(f'--output is missing: nothing is written into {workdir}; give a folder')
    name = os.path.basename(os.path.abspath(images.dataset)) if images.dataset else ''
    folder = metrics_json.result_folder(workdir, images.split, images.scale, name, images.steps)
    ending = ('' if images.ema else '_noema') + '_checkpoints' * several(images.checkpoint)
    return folder.parent / f'{folder.name}{ending}'


def place_of(dataset: str) -> str:
    """Returns the folder of other pairs as reports have it: absolute, links followed; or ''."""
    return os.fspath(atomic.resolved(dataset)) if dataset else ''


def check_same_data(folder: epath.PathLike, dataset: str) -> None:
    """Raises UserError where `folder` has the report of another dataset of the same name."""
    for name in ('metrics.json', 'checkpoints.json') if dataset else ():
        path = epath.Path(folder) / name
        other = json.loads(path.read_text()).get('dataset') if path.exists() else ''
        if other and os.path.isabs(other) and other != place_of(dataset):
            raise UserError(
                f'--dataset={dataset}: {folder} has the report of {other}: give an --output, or '
                '--overwrite'
            )


def evaluate_run(
    workdir: epath.PathLike,
    output: epath.PathLike | None,
    images: RunImages = TEST,
    options: Options = metrics.PAIRS_ALONE,
    warn: bool = True,
) -> report.Summary:
    """Measures images of a run and writes the report.

    Args:
      workdir: the folder of the run.
      output: the folder for the report; None: there is no report.
      images: which images are measured, and which checkpoint translates them.
      options: what is measured beside L1, PSNR and SSIM.
      warn: whether to print what looks wrong with the pairs.

    Returns:
      The summary, as `metrics.json` has it.

    Raises:
      UserError: for a run, checkpoint or split that is not there, and for label maps of other
        colours than the FCN-score is to count.
      DataError: for bad pairs.
      UserError of status 1: where the memory does not suffice.
    """
    prepare_process()
    run = loaded_run.load_run(workdir, images.checkpoint, images.ema)
    config = config_of(run.config, images)
    with_train = metrics.trains(options, config)
    splits = open_run_splits(workdir, config, images.split, images.dataset, with_train)
    source = splits[images.split]
    for line in _doubts(source, images) if warn else ():
        print(f'warning: {line}', flush=True)
    about = {'split': images.split, 'step': run.step, 'checkpoint': run.checkpoint}
    about |= {'scale': images.scale} | translated.about_steps(config)
    about |= {'dataset': place_of(images.dataset)} if images.dataset else {}
    about |= {} if images.ema else {'ema': False}
    allowed = (
        f'allowed is a smaller --scale (it is {images.scale})'
        if images.scale > 1
        else 'needed is a device with more memory'
    )
    accumulators = metrics.for_run(options, config, splits, images.split)
    about['measured'] = metrics.identity(options)  # now the files of weights are there
    with memory.one_line('an evaluation', allowed):
        summary, _ = report.measure(
            translated.batches(
                generator.Generator(config, run.variables).on_device, source, config
            ),
            len(source),
            output,
            about=about,
            progress=True,
            accumulators=accumulators,
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
        if config.dataset.windows == 'on':
            raise UserError(
                f'--scale={images.scale}: allowed is 1 for a run of scenes, whose windows have the '
                'size of the training'
            )
        changed['generator.depth'] = generator_depth(config)
        changed['image_size'] = tuple(images.scale * side for side in config.image_size)
    return from_fields(flatten(config) | changed)
