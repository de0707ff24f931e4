"""Prepares one of the paper's data sets, so that its config needs no path.

python scripts/prepare_data.py facades|maps|edges2shoes|edges2handbags|night2day|cityscapes \\
    [--from=ARCHIVE|FOLDER]

Without --from the published archive is downloaded, which resumes where it was interrupted. --from
takes that archive, or a folder that holds the same; for cityscapes one with its own two archives.
The data set is kept as array_record files in ~/tensorflow_datasets, or in TFDS_DATA_DIR.
"""

import functools
import sys

from absl import flags

from pix2pix_jax.data.catalogue.published import PUBLISHED
from pix2pix_jax.errors import UserError, run_command, take_words


def define_flags() -> flags.FlagValues:
    """Returns the flags of this command."""
    values = flags.FlagValues()
    about = 'An archive or a folder that is there already.'
    flags.DEFINE_string('from', '', about, flag_values=values)
    return values


def main(names: list[str], values: flags.FlagValues) -> None:
    """Prepares the data set that `names` has, which must be one."""
    if len(names) != 1 or names[0] not in PUBLISHED:
        given = ' '.join(names) or 'nothing'
        raise UserError(f'{given} is no data set: allowed is one of {", ".join(PUBLISHED)}')
    from pix2pix_jax.data.catalogue import builder
    from pix2pix_jax.data.datasets import prepare  # tensorflow-datasets takes 2 s

    name = names[0]
    print(f'{PUBLISHED[name].title} ({PUBLISHED[name].licence})')
    folder = prepare.prepare(name, values['from'].value)
    splits = {split: len(pairs) for split, pairs in builder.open_prepared(name).items()}
    counts = ', '.join(f'{split} {count:,} pairs' for split, count in splits.items())
    print(f'{folder}: {counts}')
    for line in prepare.counts_differ(name, splits):
        print(f'note: {line}')
    config = {'night2day': 'day2night'}.get(name, name)
    print(f'train: python -m pix2pix_jax.main --config=configs/{config}.py')


if __name__ == '__main__':
    run_command(functools.partial(main, take_words(sys.argv)), define_flags)
