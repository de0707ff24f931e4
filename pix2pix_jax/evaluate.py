"""Measures a run on a split of its data, or one folder of images against another.

python -m pix2pix_jax.evaluate --workdir=runs/facades --split=test
python -m pix2pix_jax.evaluate --real=targets --generated=outputs [--pairs=FILE.csv]

L1, PSNR and SSIM are always measured; --metrics chooses among the others. The FCN-score needs label
maps whose colours are known: config.dataset.name or --classes says which.
"""

import os

from absl import flags

from pix2pix_jax.errors import UserError, run_command
from pix2pix_jax.evaluation import metric_titles, metrics
from pix2pix_jax.evaluation.options import Options
from pix2pix_jax.inference.options import define_steps
from pix2pix_jax.storage import user_paths

# No flags of two folders.
OF_A_RUN = (
    *('split', 'checkpoint', 'ema', 'dataset', 'scale', 'steps'),
    *('segmenter', 'segmenter_weights'),
)
OF_FOLDERS = {'range': 'target_range', 'nodata': 'nodata'}  # and what says so of a run
WEIGHTS = {
    'inception_weights': "FID's and KID's Inception network",
    'alexnet_weights': "LPIPS's AlexNet",
    'lpips_weights': "LPIPS's linear layers",
}


def define_flags() -> flags.FlagValues:
    """Returns the flags of this command."""
    values = flags.FlagValues()

    def text(name: str, about: str, default: str = '') -> None:
        flags.DEFINE_string(name, default, about, flag_values=values)

    text('workdir', 'Folder of the run, or the zip of a packed one.')
    text('split', "Split of the run's data: train, val or test.", 'test')
    text(
        'checkpoint',
        'last (the default), best or a step; or, for a table of several, the word all (those that '
        'are kept) or '
        'STEP,STEP,...',
    )
    flags.DEFINE_bool('ema', True, 'Averaged weights, where the run has any.', flag_values=values)
    text('dataset', "Folder of pairs, in place of the run's config.dataset.path.")
    text('real', 'Folder of target images; with --generated.')
    text('generated', 'Folder of images of the same names.')
    text(
        'pairs',
        'CSV file with the columns real and generated, for other names: paths in the folders '
        '--real and --generated, by default in its own.',
    )
    text(
        'range',
        'LOW:HIGH of the values of --real and --generated; by default their type, of floats 0:1.',
    )
    text(
        'nodata',
        'Value of --real, or nan, that says that there is none: such pixels are not measured.',
    )
    text(
        'output',
        'Folder for the report; of a run by default WORKDIR/evaluation/SPLIT, after which come '
        '_of_DIR (--dataset), _xSCALE, _stepsSTEPS, _noema or _checkpoints.',
    )
    flags.DEFINE_bool(
        'overwrite', False, 'Write into an --output that holds files.', flag_values=values
    )
    flags.DEFINE_list('metrics', list(metrics.choices()), metric_titles.about(), flag_values=values)
    flags.DEFINE_integer(
        'scale',
        1,
        'Translate at this multiple of the size trained on.',
        lower_bound=1,
        flag_values=values,
    )
    define_steps(values)
    text('classes', 'Colours of the label maps: facades, cityscapes, openmoji_classes, or a FILE.')
    text(
        'segmenter',
        'MODULE:FUNCTION that maps photos (N,H,W,3) in [-1,1] to classes (N,H,W), in place of the '
        'one that the FCN-score trains.',
    )
    text(
        'segmenter_weights',
        "A file of the FCN-score's segmenter: read where it is there, else trained and written.",
    )
    for name, what in WEIGHTS.items():
        text(name, f'A file of {what}, in place of the published one.')
    return values


def main(values: flags.FlagValues) -> int:
    """Measures what the flags say; returns the exit status."""
    check_together(values)
    from pix2pix_jax.data import image_spec
    from pix2pix_jax.evaluation import checkpoints, report, runs, two_folders

    workdir, real, generated, output, dataset, pairs = (
        user_paths.of_flag(values, name)
        for name in ('workdir', 'real', 'generated', 'output', 'dataset', 'pairs')
    )
    table = runs.several(values.checkpoint)
    if output:
        is_report = checkpoints.is_report if table else report.is_report
        runs.check_output(output, values.overwrite, is_report)
    files = (*WEIGHTS, 'segmenter_weights')
    paths = {name: user_paths.of_flag(values, name) for name in files}
    options = Options(tuple(values.metrics), values.classes, values.segmenter, **paths)
    metrics.check(options)
    if workdir:
        images = runs.RunImages(
            values.split, values.checkpoint, values.scale, dataset, values.ema, values.steps or 0
        )
        if not output:
            output = runs.default_output(workdir, images)
            if not values.overwrite:
                runs.check_same_data(output, dataset)
        if table:
            measured = checkpoints.evaluate_checkpoints(workdir, output, images, options)
            found = checkpoints.text(measured)
        else:
            found = report.table(runs.evaluate_run(workdir, output, images, options))
    else:
        ranges = image_spec.parse_ranges('range', values.range, '--range')
        if len(ranges) > 1:
            raise UserError(f'--range={values.range!r}: allowed is one range')
        real, generated = (folder or os.path.dirname(pairs) for folder in (real, generated))
        both = two_folders.FolderImages(real, generated, pairs, ranges, values.nodata)
        found = report.table(two_folders.evaluate_folders(both, output or None, options))
    print(found)
    if output:
        print(f'{output}/index.html')
    return 0


def check_together(values: flags.FlagValues) -> None:
    """Raises UserError for flags that do not go together: those of a run and of two folders."""
    folders = bool(values.real or values.pairs)
    if bool(values.real) != bool(values.generated):
        raise UserError('--real and --generated go together: one of them is missing')
    if bool(values.workdir) == folders:
        raise UserError(
            'give either --workdir=DIR, or --real=DIR and --generated=DIR, or --pairs=FILE.csv'
        )
    for name, field in OF_FOLDERS.items():
        if values[name].value and not folders:
            raise UserError(
                f"--{name} goes with --real and --generated only; a run's {name} is "
                f'config.dataset.{field}'
            )
    for name in OF_A_RUN:
        if folders and values[name].present:
            raise UserError(f'--{name} is of a run: it goes with --workdir alone')
    if values.segmenter and values.segmenter_weights:
        raise UserError('--segmenter and --segmenter_weights exclude each other: allowed is one')


if __name__ == '__main__':
    run_command(main, define_flags)
