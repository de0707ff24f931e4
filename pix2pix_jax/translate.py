"""Translates images without targets, of any size, with a trained run.

python -m pix2pix_jax.translate --workdir=runs/facades --input=labels/ --output=photos/

Names, sizes, formats and bit depths stay; OUTPUT/index.html shows what went in and came out.
"""

from absl import flags

from pix2pix_jax.errors import UserError, run_command
from pix2pix_jax.inference import files
from pix2pix_jax.inference.inputs import split_inputs
from pix2pix_jax.inference.options import FITS, NORMS, TranslateOptions, define_run, define_steps
from pix2pix_jax.storage import user_paths

DEFAULTS = TranslateOptions()


def define_flags() -> flags.FlagValues:
    """Returns the flags of this command."""
    values = flags.FlagValues()
    define_run(values)
    flags.DEFINE_string(
        'input',
        '',
        'An image, a folder of images, or a pattern; several of them with commas between for a run '
        'with several inputs for one output; or a list, as test.csv with a column input.',
        flag_values=values,
    )
    flags.DEFINE_enum(
        'split',
        None,
        ['train', 'val', 'test'],
        "In place of --input: the inputs of this split of the run's data.",
        flag_values=values,
    )
    flags.DEFINE_string('output', '', 'Folder for the translations.', flag_values=values)
    flags.DEFINE_integer(
        'samples',
        1,
        'Translations of each image, with different dropout, or noise of a flow.',
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_bool(
        'overwrite', False, 'Write into an --output that holds files.', flag_values=values
    )
    _define_sizes(values)
    _define_switches(values)
    return values


def _define_sizes(values: flags.FlagValues) -> None:
    """Defines how images are brought to sizes that the network takes."""
    flags.DEFINE_enum(
        'fit',
        DEFAULTS.fit,
        FITS,
        "Other sizes than the training's: as config.dataset.preprocess had it (auto); reflect the "
        "borders and cut them off again; or resize to the training's size and back.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        'tile',
        DEFAULTS.tile,
        'Side in pixels of what is kept of each tile, for large images: tiles see enough around it '
        'to equal the whole. 0: whole images; -1: the largest that fits --memory.',
        flag_values=values,
    )
    flags.DEFINE_float(
        'memory',
        DEFAULTS.memory,
        'GB that a window of --tile=-1 may take on each device, beside the images; 0: half of what '
        'is free.',
        flag_values=values,
    )
    flags.DEFINE_integer(
        'overlap',
        DEFAULTS.overlap,
        'With --norm=image, whose tiles have each its own statistics: pixels by which they overlap '
        'and are blended, by default 64, or a quarter of a smaller tile.',
        flag_values=values,
    )
    flags.DEFINE_integer(
        'batch',
        DEFAULTS.batch,
        'Images, or tiles, at a time.',
        lower_bound=1,
        flag_values=values,
    )


def _define_switches(values: flags.FlagValues) -> None:
    """Defines the switches of the network."""
    flags.DEFINE_enum(
        'norm',
        DEFAULTS.norm,
        ['', *NORMS],
        'Statistics of the norms; by default config.test.norm, with --tile scene in place of '
        "image. scene: means over windows of the training's size that cover the image.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        'dropout', DEFAULTS.dropout, 'By default config.test.dropout.', flag_values=values
    )
    flags.DEFINE_integer(
        'seed',
        DEFAULTS.seed,
        'Of the dropout mask, or the noise of a flow; by default config.test.seed.',
        lower_bound=0,
        flag_values=values,
    )
    define_steps(values)
    flags.DEFINE_bool(
        'ema', DEFAULTS.ema, 'Averaged weights, where the run has any.', flag_values=values
    )


def main(values: flags.FlagValues) -> int:
    """Translates as the flags say; returns the exit status."""
    if values.split and values.input:
        raise UserError('--input and --split exclude each other: allowed is one')
    for name in ('workdir', 'output') if values.split else ('workdir', 'input', 'output'):
        if not values[name].value:
            raise UserError(
                f'--{name} is missing: needed are --workdir, --output, and --input or --split'
            )
    options = TranslateOptions(
        fit=values.fit,
        tile=values.tile,
        memory=values.memory,
        overlap=values.overlap,
        norm=values.norm,
        dropout=values.dropout,
        seed=values.seed,
        steps=values.steps or 0,
        ema=values.ema,
        batch=values.batch,
    )
    places = split_inputs(values.input) if values.input else []
    output, split = user_paths.of_flag(values, 'output'), values.split or ''
    job = files.TranslationJob(places, output, values.samples, values.overwrite, split)
    return files.translate_files(
        user_paths.of_flag(values, 'workdir'), values.checkpoint, options, job
    )


if __name__ == '__main__':
    run_command(main, define_flags)
