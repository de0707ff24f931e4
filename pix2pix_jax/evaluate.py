"""Measures a run on a split of its data, or one folder of images against another.

python -m pix2pix_jax.evaluate --workdir=runs/facades --split=test
python -m pix2pix_jax.evaluate --real=targets --generated=outputs

L1, PSNR and SSIM are always measured; --metrics chooses among the others. The FCN-score needs label
maps whose colours are known: config.dataset.name or --classes says which.
"""

import os
from collections.abc import Iterator

import numpy as np
from absl import flags
from etils import epath

from pix2pix_jax.data import augment, image_spec
from pix2pix_jax.data.folders import examples, pair_files
from pix2pix_jax.data.formats.decode import read_pixels
from pix2pix_jax.errors import DataError, UserError, run_command
from pix2pix_jax.evaluation import metrics, report
from pix2pix_jax.evaluation.metrics import Options
from pix2pix_jax.workdir import metric_writer

SHARED = {'allow_override': True}  # other commands have flags of these names
WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of the run.', **SHARED)
SPLIT = flags.DEFINE_string(
    'split', 'test', "Split of the run's data: train, val or test.", **SHARED
)
CHECKPOINT = flags.DEFINE_string('checkpoint', 'last', 'last, best or a step.', **SHARED)
DATASET = flags.DEFINE_string(
    'dataset', '', "Folder of pairs, in place of the run's config.dataset.path.", **SHARED
)
REAL = flags.DEFINE_string('real', '', 'Folder of target images; with --generated.', **SHARED)
GENERATED = flags.DEFINE_string('generated', '', 'Folder of images of the same names.', **SHARED)
RANGE = flags.DEFINE_string(
    'range',
    '',
    'LOW:HIGH of the values of --real and --generated; by default their type, of floats 0:1.',
    **SHARED,
)
OUTPUT = flags.DEFINE_string(
    'output',
    '',
    'Folder for the report; of a run by default WORKDIR/evaluation/SPLIT, or SPLIT_xSCALE.',
    **SHARED,
)
OVERWRITE = flags.DEFINE_bool(
    'overwrite', False, 'Write into an --output that holds files.', **SHARED
)
METRICS = flags.DEFINE_list('metrics', list(metrics.choices()), metrics.about(), **SHARED)
SCALE = flags.DEFINE_integer(
    'scale', 1, 'Translate at this multiple of the size trained on.', lower_bound=1, **SHARED
)
CLASSES = flags.DEFINE_string(
    'classes', '', 'Colours of the label maps: facades or cityscapes.', **SHARED
)
SEGMENTER = flags.DEFINE_string(
    'segmenter',
    '',
    'MODULE:FUNCTION that maps photos (N,H,W,3) in [-1,1] to classes (N,H,W), in place of the one '
    'that the FCN-score trains.',
    **SHARED,
)
WEIGHTS = {
    name: flags.DEFINE_string(
        f'{name}_weights', '', f'A file of {what}, in place of the published one.', **SHARED
    )
    for name, what in (
        ('inception', "FID's and KID's Inception network"),
        ('alexnet', "LPIPS's AlexNet"),
        ('lpips', "LPIPS's linear layers"),
    )
}


def main() -> int:
    """Runs the command that the flags give; returns the exit status."""
    if bool(REAL.value) != bool(GENERATED.value):
        raise UserError('--real and --generated go together: one of them is missing')
    if bool(WORKDIR.value) == bool(REAL.value):
        raise UserError('give either --workdir=DIR, or --real=DIR and --generated=DIR')
    if RANGE.value and not REAL.value:
        raise UserError("--range is of folders: a run's is its config.dataset.target_range")
    for name in ('split', 'checkpoint', 'dataset', 'scale', 'segmenter'):
        if REAL.value and flags.FLAGS[name].present:
            raise UserError(f'--{name} is of a run: it goes with --workdir, not with --real')
    workdir, real, generated, output = (
        os.path.expanduser(flag.value) for flag in (WORKDIR, REAL, GENERATED, OUTPUT)
    )
    if output:
        check_output(output, OVERWRITE.value)
    paths = {f'{name}_weights': os.path.expanduser(w.value) for name, w in WEIGHTS.items()}
    options = Options(tuple(METRICS.value), CLASSES.value, SEGMENTER.value, **paths)
    metrics.check(options)
    dataset = os.path.expanduser(DATASET.value)
    if workdir:
        name = os.path.basename(os.path.abspath(dataset)) if dataset else ''
        output = output or metric_writer.result_folder(workdir, SPLIT.value, SCALE.value, name)
        summary = evaluate_run(
            workdir, SPLIT.value, CHECKPOINT.value, output, options, SCALE.value, dataset
        )
    else:
        limits = image_spec.parse_ranges('range', RANGE.value, '--range')
        summary = evaluate_folders(real, generated, output or None, options, limits)
    print(report.table(summary))
    if output:
        print(f'{output}/index.html')
    return 0


def evaluate_run(
    workdir: epath.PathLike,
    split: str,
    checkpoint: str,
    output: epath.PathLike,
    options: Options = metrics.PAIRS_ALONE,
    scale: int = 1,
    dataset: str = '',
) -> report.Summary:
    """Measures the run's checkpoint on `split` and writes the report to `output`.

    L1, PSNR and SSIM, and what `options` name; of images `scale` times as large as the training's
    (section 6.1.1: the networks are fully convolutional); on the pairs in the folder `dataset`
    where it is given, which a run of imported weights may not name.

    Raises UserError for a run, checkpoint or split that is not there, and for label maps of other
    colours than the FCN-score is to count; DataError for bad pairs.
    """
    from pix2pix_jax.data import hold_out, sources
    from pix2pix_jax.inference import generator
    from pix2pix_jax.models.factory import generator_depth
    from pix2pix_jax.runtime import prepare_process
    from pix2pix_jax.workdir import data_json

    prepare_process()
    run = generator.load_run(workdir, checkpoint)
    if dataset:
        run.config.dataset.path = dataset
        if not epath.Path(dataset).is_dir():
            raise UserError(f'--dataset={dataset} is not a folder')
    if run.config.dataset.name == 'folder' and not run.config.dataset.path:
        raise UserError(f'{workdir} names no pairs: give their folder, --dataset=DIR')
    if scale != 1 and run.config.dataset.preprocess == 'none':
        raise UserError(
            f"--scale={scale}: allowed is 1 where config.dataset.preprocess='none', whose images "
            'have the size of the training'
        )
    if scale != 1:
        run.config.generator.depth = generator_depth(run.config)  # as trained
        run.config.image_size = tuple(scale * side for side in run.config.image_size)
    known = data_json.load_known(workdir)
    if dataset:
        known = data_json.elsewhere(known)
    if known.remark:
        print(known.remark)
    splits = sources.find_splits(run.config, known)
    new = hold_out.came(known.splits, {name: source.names for name, source in splits.items()})
    if split in known.splits:  # files of the others may be gone by now
        needed = {split, 'train'} if metrics.trains(options, run.config) else {split}
        known = known._replace(splits={k: v for k, v in known.splits.items() if k in needed})
        if split in new:
            print(
                f'{split}: {len(new[split]):,} pairs came since the run started, and are left out '
                f'({examples(new[split])}); --dataset=DIR measures those of a folder'
            )
    splits = sources.divide(splits, run.config, known)
    if split not in splits:
        raise UserError(f"--split={split}: the run's data has {' | '.join(splits)}")
    summary, _ = report.evaluate_source(
        generator.Generator(run.config, run.variables),
        splits[split],
        run.config,
        output,
        about={
            'split': split,
            'step': run.step,
            'checkpoint': run.checkpoint,
            'scale': scale,
            **({'dataset': dataset} if dataset else {}),
            'measured': metrics.identity(options),
        },
        progress=True,
        more=metrics.for_run(options, run.config, splits, split),
    )
    return summary


def evaluate_folders(
    real: epath.PathLike,
    generated: epath.PathLike,
    output: epath.PathLike | None,
    options: Options = metrics.PAIRS_ALONE,
    limits: tuple[image_spec.Range, ...] = (),
) -> report.Summary:
    """Measures the images in `generated` against those of the same names in `real`.

    L1, PSNR and SSIM, and what `options` name; as RGB, or those of other channels as they are.
    `limits` is the range of their values, (): that of their type.

    Names are relative paths without their extensions. Raises DataError for a folder without
    images, a name that only one folder has, an unreadable image, or a pair of two sizes; UserError
    for label maps of other colours than `options` say.
    """
    pairs = pair_files((epath.Path(real), epath.Path(generated)))
    more = metrics.for_folders(options, [real_file for real_file, _ in pairs.values()])
    about = {'measured': metrics.identity(options)}
    examples = _pairs(pairs, limits)
    return report.measure(examples, len(pairs), output, about=about, progress=True, more=more)[0]


def _pairs(
    pairs: dict[str, tuple[epath.Path, ...]], limits: tuple[image_spec.Range, ...]
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    for name, files in pairs.items():
        target, output = map(read_pixels, files)
        if output.values.shape[:2] != target.values.shape[:2]:
            a, b = ('{1}x{0}'.format(*image.values.shape) for image in (output, target))
            raise DataError(f'{files[1]} is {a} but {files[0]} is {b}: sizes must agree')
        channels = target.values.shape[-1]
        spec = image_spec.ImageSpec(
            'target', 3 if target.opacity or channels == 1 else channels, limits
        )
        if channels == 4 and not (target.opacity and output.opacity):  # four bands: no RGBA
            target, output = (one._replace(opacity=False) for one in (target, output))
            spec = spec._replace(channels=channels if output.values.shape[-1] == 4 else 3)
        images = (
            image_spec.combine(spec, [one], [file])
            for one, file in zip((output, target), files[::-1])
        )
        yield name, dict(zip(('output', 'target'), map(augment.to_float, images)))


def check_output(folder: epath.PathLike, overwrite: bool) -> None:
    """Raises UserError where `folder` holds anything but an earlier report, unless `overwrite`."""
    path = epath.Path(folder)
    if path.exists() and not path.is_dir():
        raise UserError(f'--output={folder} is a file: allowed is a folder')
    if path.exists() and any(path.iterdir()) and not overwrite and not report.is_report(path):
        raise UserError(f'--output={folder} holds other files: give an empty folder or --overwrite')


if __name__ == '__main__':
    run_command(main)
