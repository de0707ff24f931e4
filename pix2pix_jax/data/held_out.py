"""The pairs that are held out of train, for val or test; or that a run's data.json names."""

import dataclasses

from pix2pix_jax.config_type import Config
from pix2pix_jax.data import hold_out
from pix2pix_jax.data.catalogue import openmoji
from pix2pix_jax.data.folders import examples
from pix2pix_jax.data.hold_out import Known, SplitPairs
from pix2pix_jax.data.sources import Source, subset
from pix2pix_jax.errors import DataError


def hold_out_of(train: Source, config: Config, known: Known, split: str) -> tuple[Source, Source]:
    """Divides train into what stays and what becomes `split`, by names and seed alone.

    The drawings of one base emoji are near-duplicates and stay together, and so do the windows of a
    scene, but with config.dataset.hold_out='window'. Raises DataError where there are too few.

    Args:
      train: the pairs that are divided.
      config: its seed, and the fraction of the split.
      known: which pairs an earlier run had in which split.
      split: 'test', which is the same for all seeds, or 'val'.
    """
    d = config.dataset
    built_in = d.name in openmoji.NAMES and not d.path
    of_file = bool(train.boxes) and d.hold_out == 'file'
    group_of = {name: _group(name, built_in, of_file) for name in train.names}
    groups = list(dict.fromkeys(group_of.values()))
    if len(groups) < 2:
        raise DataError(_too_few(train, len(groups), split, of_file, known))
    earlier = {group_of[n]: where for n, where in known.earlier.items() if n in group_of}
    why = hold_out.why_anew(groups, earlier, split)
    if known.earlier and not (earlier or known.exists):
        why = 'had none of these names'
    if why:
        print(
            f'{train.folder}: the earlier run {why}: {split} is drawn anew, and may hold pairs '
            'that it was trained on',
            flush=True,
        )
        earlier = {}
    if split == 'test':
        held = hold_out.by_hash(groups, 'test', d.test_fraction, earlier, 'test')
    elif known.old and not known.earlier:
        held = hold_out.by_number(groups, config.seed, d.val_fraction)
    else:
        held = hold_out.by_hash(groups, config.seed, d.val_fraction, earlier)
    picked = [i for i, name in enumerate(train.names) if group_of[name] in held]
    stays = [i for i, name in enumerate(train.names) if group_of[name] not in held]
    return subset(train, stays), _held_out(subset(train, picked))


def _too_few(train: Source, groups: int, split: str, of_file: bool, known: Known) -> str:
    kind = 'pair' if not train.boxes else 'scene' if of_file else 'window'
    count = len(train) if kind == 'pair' else groups
    ways = ['config.dataset.hold_out=window holds out parts of it'] if of_file else []
    if not known.exists:
        ways.append(f'--config.dataset.{split}_fraction=0 holds out none')
    return (
        f'{train.folder} has {count} {kind}{"s" * (count > 1)}: too few to hold some out for '
        f'{split}{"; " * bool(ways)}{", ".join(ways)}'
    )


def _group(name: str, built_in: bool, of_file: bool) -> str:
    """Returns the name of what stays together with the pair `name`."""
    if of_file:
        return name.rpartition('/')[0]
    return openmoji.base_emoji(name) if built_in else name


def _held_out(val: Source) -> Source:
    folder = f'held out of {val.folder}'
    return dataclasses.replace(val, folder=folder, held_out=True, unpaired=())


def pick(splits: dict[str, Source], split: str, recorded: SplitPairs) -> Source:
    """Returns the recorded pairs of a split; those that were held out lie in train.

    Raises DataError where some of them are not there.
    """
    where = hold_out.place(split, recorded, splits)
    source = splits.get(where)
    index = {name: i for i, name in enumerate(source.names)} if source else {}
    missing = [name for name in recorded.used if name not in index]
    if source is None or missing:
        raise DataError(
            f'{len(missing)} of the {len(recorded.used)} pairs of {split} that the run uses are '
            f'not there ({examples(missing)}): put them back, or start anew with another --workdir'
        )
    source = subset(source, [index[name] for name in recorded.used])
    source = dataclasses.replace(source, skipped=recorded.skipped)
    return _held_out(source) if where != split else source
