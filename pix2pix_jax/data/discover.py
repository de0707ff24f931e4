"""Finds the splits of a data set: in folders, in lists, or prepared; and holds val out of train."""

import dataclasses

from etils import epath

from pix2pix_jax.config_type import Config
from pix2pix_jax.data import class_maps, detect_layout, hold_out, image_spec
from pix2pix_jax.data.catalogue import openmoji
from pix2pix_jax.data.catalogue.published import PUBLISHED
from pix2pix_jax.data.folders import (
    examples,
    mask_files,
    pair_files,
    split_folders,
    unread,
    what_is_there,
)
from pix2pix_jax.data.formats.pixels import File
from pix2pix_jax.data.hold_out import NEW_RUN, SPLITS, Known, SplitPairs
from pix2pix_jax.data.lists import list_of, read_list, read_masks
from pix2pix_jax.data.sources import Source, subset
from pix2pix_jax.errors import DataError, UserError

POINT = 'point at the folder of the pairs with --config.dataset.path=DIR (train/, val/, test/)'


def open_splits(config: Config, known: Known = NEW_RUN) -> dict[str, Source]:
    """Returns the sources of the splits that there are, among 'train', 'val' and 'test'.

    Of a run that is there already they are the pairs of its data.json. Else `val_fraction` of train
    is held out where there is no val split. Raises UserError for a data set that is not named well
    enough to find, and DataError for folders without pairs, with pairs that do not fit together,
    that are no pairs side by side, or without those of the run.
    """
    return divide(find_splits(config, known), config, known)


def find_splits(config: Config, known: Known = NEW_RUN) -> dict[str, Source]:
    """Returns the splits as they lie in their folders; reads some images where A

    B is a guess.

    A reason against A

    B is an error, as in `open_splits`, or a warning where the reason is not certain or where there
    is a run on the folder already.
    """
    if _is_published(config):
        splits = _prepared(config)
    else:
        root = _root(config)
        splits = _in_folders(root, config, known)
        first = next(iter(splits.values()))
        guessed = config.dataset.layout == 'auto' and config.dataset.path
        if guessed and not (first.listed or first.photos) and len(first.files[0]) == 1:
            files = {name: file for name, (file,) in zip(first.names, first.files)}
            detect_layout.check(root, epath.Path(first.folder), files, known.exists)
    _check_one_kind(splits)
    return splits


def divide(splits: dict[str, Source], config: Config, known: Known) -> dict[str, Source]:
    """Returns the splits with val held out where there is none, or as data.json of a run says."""
    splits = dict(splits)
    if known.splits:
        splits |= {split: _pick(splits, split, pairs) for split, pairs in known.splits.items()}
    elif config.dataset.val_fraction and 'val' not in splits and 'train' in splits:
        splits['train'], splits['val'] = _hold_out(splits['train'], config, known)
    return {split: splits[split] for split in SPLITS if split in splits}


def _check_one_kind(splits: dict[str, Source]) -> None:
    """Raises DataError where splits have different numbers of inputs."""
    counts = {source.folder: source.inputs for source in splits.values()}
    if len(set(counts.values())) > 1:
        found = ', '.join(f'{count} in {folder}' for folder, count in counts.items())
        raise DataError(f'the splits have different numbers of inputs for one target: {found}')
    without = [source.folder for source in splits.values() if not source.masks]
    if 0 < len(without) < len(splits):
        raise DataError(f'{", ".join(without)} has no masks, and other splits have them')


def _is_published(config: Config) -> bool:
    return config.dataset.name in PUBLISHED and not config.dataset.path


def _prepared(config: Config) -> dict[str, Source]:
    """Returns the splits of a published data set, of which a path was not given."""
    from pix2pix_jax.data.catalogue import builder  # tensorflow-datasets takes 2 s to import

    name = config.dataset.name
    if config.dataset.layout in ('two_folders', 'list'):
        raise UserError(
            f"config.dataset.layout='{config.dataset.layout}': {name} is prepared side by side; "
            'allowed are auto | side_by_side'
        )
    splits = builder.open_prepared(name)
    if not splits:
        raise UserError(
            f'{name} is not in {builder.folder_of(name)}: python scripts/prepare_data.py {name} '
            f'puts it there; or {POINT}'
        )
    folder = str(builder.folder_of(name))
    return {split: _source(folder, files, config) for split, files in splits.items()}


def _root(config: Config) -> epath.Path:
    name, path = config.dataset.name, config.dataset.path
    if name == 'openmoji' and not path:
        return epath.Path(openmoji.prepare(max(config.image_size) or 256))
    if not path:
        raise UserError(
            f'config.dataset.path is empty, and {name!r} is neither built in (openmoji) nor '
            f'published ({", ".join(PUBLISHED)}): {POINT}'
        )
    root = epath.Path(path).expanduser()
    if not root.is_dir():
        what = 'is not a folder' if root.exists() else 'does not exist'
        raise DataError(f'config.dataset.path={path}: {what}; needed is a folder with train/')
    return root


def _in_folders(root: epath.Path, config: Config, known: Known) -> dict[str, Source]:
    splits: dict[str, Source] = {}
    layout, mask = config.dataset.layout, config.dataset.mask
    if config.dataset.task != 'none':
        layout = 'side_by_side'  # a folder a split, whatever folders are in it
    for split in SPLITS:
        folders = split_folders(root, split, layout, known.old) if layout != 'list' else ()
        listed = list_of(root, split) if layout in ('auto', 'list') else None
        if folders and listed:
            raise DataError(
                f'there are {listed} and {folders[0]}: say which has the pairs with '
                '--config.dataset.layout=list | side_by_side | two_folders'
            )
        if folders:
            pairs = pair_files(folders)
            if mask and len(folders) == 1:  # masks beside A|B are no pairs
                pairs = {n: file for n, file in pairs.items() if not n.startswith(f'{mask}/')}
            if layout == 'auto' and len(folders) == 2 and folders[0].name == 'a' and not splits:
                detect_layout.check_folders(folders, pairs)
            splits[split] = _source(' + '.join(map(str, folders)), pairs, config)
            if mask:
                files = mask_files(root, split, mask, pairs)
                splits[split] = dataclasses.replace(splits[split], masks=files)
        elif listed:
            source = _source(str(listed), read_list(listed), config)
            found = () if known.old else read_masks(listed, mask)
            splits[split] = dataclasses.replace(source, listed=True, masks=found)
    if not splits:
        raise DataError(
            f'{root} has no pairs: needed is train/ (also val/, test/) with A|B side by side, '
            'or A/train and B/train, trainA and trainB, or train/A and train/B, or train.csv or '
            f'train.json (config.dataset.layout={config.dataset.layout}); '
            f'{what_is_there(root, layout == "auto")}'
        )
    if not known.exists:
        for line in unread(root, splits, config.dataset.val_fraction > 0):
            print(f'warning: {line}', flush=True)
    return splits


def _source(folder: str, files: dict[str, tuple[File, ...]], config: Config) -> Source:
    d = config.dataset
    count = len(next(iter(files.values())))
    sides = [name for name in ('input', 'target') if class_maps.count(name, config)]
    if sides and count == 1 and not d.colors:
        raise UserError(
            f'config.dataset.{sides[0]}_classes={class_maps.count(sides[0], config)}: {folder} has '
            'A and B in one file, and class indices are not of the kind of a photo; allowed are '
            'two folders, a list, or colours of the classes (--config.dataset.colors=FILE)'
        )
    inputs = max(1, count - 1)
    if d.inputs not in (0, inputs):
        raise DataError(
            f'{folder} has {inputs} images in an input: needed are config.dataset.inputs={d.inputs}'
        )
    if d.input_classes and inputs > 1:
        raise UserError(
            f'config.dataset.input_classes={d.input_classes}: {folder} has {inputs} images in an '
            'input; allowed is one map of classes'
        )
    ranges = image_spec.of_config(config)[0].ranges
    if len(ranges) > 1 and len(ranges) != inputs:
        raise UserError(
            f'config.dataset.input_range={d.input_range!r}: {folder} has {inputs} images in an '
            'input; allowed are one range, or one for each'
        )
    if d.direction == 'BtoA' and count > 2:
        raise UserError(
            f"config.dataset.direction='BtoA': {folder} has {count - 1} inputs a pair, and the "
            "generator one output; allowed is 'AtoB'"
        )
    return Source(
        folder=folder,
        names=tuple(files),
        files=tuple(files.values()),
        direction=d.direction,
        specs=image_spec.of_config(config),
        photos=d.task != 'none',
        size=tuple(config.image_size) if d.preprocess == 'none' else (0, 0),
    )


def _hold_out(train: Source, config: Config, known: Known) -> tuple[Source, Source]:
    """Splits train into what stays and what becomes val, by names and seed alone.

    The drawings of one base emoji are near-duplicates and stay together.
    """
    built_in = config.dataset.name == 'openmoji' and not config.dataset.path
    group_of = {name: openmoji.base_emoji(name) if built_in else name for name in train.names}
    groups = list(dict.fromkeys(group_of.values()))
    if len(groups) < 2:
        raise DataError(f'{train.folder} has {len(train)} pairs: too few to hold some out for val')
    earlier = {group_of[n]: split for n, split in known.earlier.items() if n in group_of}
    if full := hold_out.all_in(groups, earlier):
        print(
            f'{train.folder}: the earlier run had all of these names in {full}: val is drawn anew, '
            'and may hold pairs that it was trained on',
            flush=True,
        )
        earlier = {}
    if known.old and not known.earlier:
        val = hold_out.by_number(groups, config.seed, config.dataset.val_fraction)
    else:
        val = hold_out.by_hash(groups, config.seed, config.dataset.val_fraction, earlier)
    held = [i for i, name in enumerate(train.names) if group_of[name] in val]
    stays = [i for i, name in enumerate(train.names) if group_of[name] not in val]
    return subset(train, stays), _held_out(subset(train, held))


def _held_out(val: Source) -> Source:
    return dataclasses.replace(val, folder=f'held out of {val.folder}', held_out=True)


def _pick(splits: dict[str, Source], split: str, recorded: SplitPairs) -> Source:
    """Returns the recorded pairs of a split; those of a val split may lie in train."""
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
