"""Measures a run on a split of its data, or one folder of images against another.

python -m pix2pix_jax.evaluate --workdir=runs/facades --split=test
python -m pix2pix_jax.evaluate --real=targets --generated=outputs
"""

import os
from collections.abc import Iterator

import numpy as np
from absl import flags
from etils import epath

from pix2pix_jax.data import augment
from pix2pix_jax.data.folders import pair_files
from pix2pix_jax.data.images import read_image
from pix2pix_jax.errors import DataError, UserError, run_command
from pix2pix_jax.evaluation import report

SHARED = {'allow_override': True}  # other commands have flags of these names
WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of the run.', **SHARED)
SPLIT = flags.DEFINE_string(
    'split', 'test', "Split of the run's data: train, val or test.", **SHARED
)
CHECKPOINT = flags.DEFINE_string('checkpoint', 'last', 'last, best or a step.', **SHARED)
REAL = flags.DEFINE_string('real', '', 'Folder of target images; with --generated.', **SHARED)
GENERATED = flags.DEFINE_string('generated', '', 'Folder of images of the same names.', **SHARED)
OUTPUT = flags.DEFINE_string(
    'output', '', 'Folder for the report; of a run by default WORKDIR/evaluation/SPLIT.', **SHARED
)
OVERWRITE = flags.DEFINE_bool(
    'overwrite', False, 'Write into an --output that holds files.', **SHARED
)


def main() -> int:
    """Runs the command that the flags give; returns the exit status."""
    if bool(REAL.value) != bool(GENERATED.value):
        raise UserError('--real and --generated go together: one of them is missing')
    if bool(WORKDIR.value) == bool(REAL.value):
        raise UserError('give either --workdir=DIR, or --real=DIR and --generated=DIR')
    workdir, real, generated, output = (
        os.path.expanduser(flag.value) for flag in (WORKDIR, REAL, GENERATED, OUTPUT)
    )
    if output:
        check_output(output, OVERWRITE.value)
    if workdir:
        output = output or f'{workdir}/evaluation/{SPLIT.value}'
        summary = evaluate_run(workdir, SPLIT.value, CHECKPOINT.value, output)
    else:
        summary = evaluate_folders(real, generated, output or None)
    print(report.table(summary))
    if output:
        print(f'{output}/index.html')
    return 0


def evaluate_run(
    workdir: epath.PathLike, split: str, checkpoint: str, output: epath.PathLike
) -> report.Summary:
    """Measures the run's checkpoint on `split` and writes the report to `output`.

    Raises UserError for a run, checkpoint or split that is not there, DataError for bad pairs.
    """
    from pix2pix_jax import inference
    from pix2pix_jax.data import kept, sources
    from pix2pix_jax.runtime import prepare_process

    prepare_process()
    run = inference.load_run(workdir, checkpoint)
    splits = sources.open_splits(run.config, kept.load_kept(workdir))
    if split not in splits:
        raise UserError(f"--split={split}: the run's data has {' | '.join(splits)}")
    summary, _ = report.evaluate_source(
        inference.Translator(run.config, run.variables),
        splits[split],
        run.config,
        output,
        about={'split': split, 'step': run.step, 'checkpoint': run.checkpoint},
        progress=True,
    )
    return summary


def evaluate_folders(
    real: epath.PathLike, generated: epath.PathLike, output: epath.PathLike | None
) -> report.Summary:
    """Measures the images in `generated` against those of the same names in `real`, as RGB.

    Names are relative paths without their extensions. Raises DataError for a folder without
    images, a name that only one folder has, an unreadable image, or a pair of two sizes.
    """
    pairs = pair_files((epath.Path(real), epath.Path(generated)))
    return report.measure(_pairs(pairs), len(pairs), output, progress=True)[0]


def _pairs(
    pairs: dict[str, tuple[epath.Path, ...]],
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    for name, files in pairs.items():
        target, output = (read_image(file, 3) for file in files)
        if output.shape != target.shape:
            a, b = (f'{image.shape[1]}x{image.shape[0]}' for image in (output, target))
            raise DataError(f'{files[1]} is {a} but {files[0]} is {b}: sizes must agree')
        yield name, {'output': augment.to_float(output), 'target': augment.to_float(target)}


def check_output(folder: epath.PathLike, overwrite: bool) -> None:
    """Raises UserError where `folder` holds anything but an earlier report, unless `overwrite`."""
    path = epath.Path(folder)
    if path.exists() and not path.is_dir():
        raise UserError(f'--output={folder} is a file: allowed is a folder')
    if path.exists() and any(path.iterdir()) and not overwrite and not report.is_report(path):
        raise UserError(f'--output={folder} holds other files: give an empty folder or --overwrite')


if __name__ == '__main__':
    run_command(main)
