"""Prepares one of the paper's data sets, so that its config needs no path.

python scripts/prepare_data.py facades|maps|edges2shoes|edges2handbags|night2day|cityscapes \\
    [--from=ARCHIVE|FOLDER]

Without --from the published archive is downloaded, which resumes where it was interrupted. --from
takes that archive, or a folder that holds the same; for cityscapes one with its own two archives.
The data set is kept as array_record files in ~/tensorflow_datasets, or in TFDS_DATA_DIR.
"""

from absl import flags

from pix2pix_jax.data.catalogue.published import PUBLISHED
from pix2pix_jax.errors import UserError, run_command, take_words

FROM = flags.DEFINE_string('from', '', 'An archive or a folder that is there already.')
NAMES: list[str] = []  # the words of the command that are no flags


def main() -> None:
    """Prepares the data set that the command names."""
    if len(NAMES) != 1 or NAMES[0] not in PUBLISHED:
        given = ' '.join(NAMES) or 'nothing'
        raise UserError(f'{given} is no data set: allowed is one of {", ".join(PUBLISHED)}')
    from pix2pix_jax.data.catalogue import builder
    from pix2pix_jax.data.datasets import prepare  # tensorflow-datasets takes 2 s

    name = NAMES[0]
    print(f'{PUBLISHED[name].title} ({PUBLISHED[name].licence})')
    folder = prepare.prepare(name, FROM.value)
    splits = {split: len(pairs) for split, pairs in builder.open_prepared(name).items()}
    counts = ', '.join(f'{split} {count:,} pairs' for split, count in splits.items())
    print(f'{folder}: {counts}')
    for line in prepare.counts_differ(name, splits):
        print(f'note: {line}')
    config = {'night2day': 'day2night'}.get(name, name)
    print(f'train: python -m pix2pix_jax.main --config=configs/{config}.py')


def take_names(argv: list[str]) -> None:
    """Takes the words that are no flags from `argv`."""
    NAMES[:] = take_words(argv)


if __name__ == '__main__':
    run_command(main, check_argv=take_names)
