"""The pairs of a run that is there: those that it recorded when it started."""

import dataclasses

from etils import epath

from pix2pix_jax.config import Config
from pix2pix_jax.data import discover, hold_out
from pix2pix_jax.data.folders import examples
from pix2pix_jax.data.sources import Source
from pix2pix_jax.errors import UserError
from pix2pix_jax.workdir import data_json


def open_run_splits(
    workdir: epath.PathLike,
    config: Config,
    split: str,
    dataset: str = '',
    with_train: bool = False,
    hint: str = '--dataset=DIR measures those of a folder',
) -> dict[str, Source]:
    """Returns the splits of a run's pairs, by name, or those of another folder.

    Args:
      workdir: the folder of the run.
      config: that of the run, with the path of its data.
      split: the one that is used. Of the other splits, pairs may be gone.
      dataset: another folder than the run's, whose path `config` has; '': that of the run.
      with_train: whether pairs of the train split are needed, too.
      hint: what would take pairs that came since the run started.

    Returns:
      The pairs that the run uses; those that came later are left out, and that is printed.

    Raises:
      UserError: where the run names no pairs, or its data has no such split.
      DataError: for pairs that are not there.
    """
    if not _names_pairs(config):
        raise UserError(f'{workdir} names no pairs: {hint}')
    known = recorded = data_json.load_known(workdir)
    if dataset:
        known = data_json.elsewhere(known)
    if known.remark:
        print(known.remark)
    found = discover.find_splits(config, known)
    new = hold_out.came(known.splits, {name: source.names for name, source in found.items()})
    if split in known.splits:
        needed = {split, 'train'} if with_train else {split}
        known = known._replace(splits={k: v for k, v in known.splits.items() if k in needed})
        if split in new:
            names = new[split]
            print(
                f'{split}: {len(names):,} pairs came since the run started, and are left '
                f'out ({examples(names)}); {hint}'
            )
    if dataset and split != 'train' and _are_new(found, recorded):
        count = len(found['train'])
        print(f'{dataset} says no splits, and the run knows none of its {count:,} pairs: all count')
        return {split: dataclasses.replace(found['train'], undivided=False)}
    apart = dataset and split in found and split != 'train' and not with_train
    splits = found if apart else discover.divide(found, config, known)  # nothing is held out of it
    if split not in splits:
        raise UserError(f"--split={split}: the run's data has {' | '.join(splits)}")
    return splits


def whole_splits(workdir: epath.PathLike, config: Config) -> tuple[dict[str, Source], str]:
    """Returns the splits of a run's data that are whole and '', or none and why there is none."""
    if not _names_pairs(config):
        return {}, 'the run names no pairs'
    try:
        known = data_json.load_known(workdir)
        found = discover.find_splits(config, known)
        gone = hold_out.went(known.splits, {split: source.names for split, source in found.items()})
        whole = {split: pairs for split, pairs in known.splits.items() if split not in gone}
        splits = discover.divide(found, config, known._replace(splits=whole or known.splits))
    except UserError as error:
        return {}, str(error)
    return {split: source for split, source in splits.items() if split not in gone}, ''


def _names_pairs(config: Config) -> bool:
    """Whether a run's config says where its pairs are; an imported and a packed one may not."""
    return config.dataset.name != 'folder' or bool(config.dataset.path)


def _are_new(found: dict[str, Source], recorded: hold_out.Known) -> bool:
    """Whether all pairs of a folder without splits have names that the run does not know."""
    train = found.get('train')
    return train is not None and train.undivided and recorded.names.isdisjoint(train.names)
