"""Finds the splits of a data set: in folders, in lists, or prepared; and holds val out of train."""

import dataclasses
import functools

from etils import epath

from pix2pix_jax.config_type import Config
from pix2pix_jax.data import (
    class_maps,
    detect_layout,
    image_spec,
    pattern_files,
    patterns,
    propose,
    split_names,
)
from pix2pix_jax.data.catalogue import openmoji
from pix2pix_jax.data.catalogue.published import PUBLISHED
from pix2pix_jax.data.folders import (
    OTHER_NAMES,
    has_images,
    image_paths,
    mask_files,
    pair_files,
    pair_or_leave,
    split_folders,
    what_is_there,
)
from pix2pix_jax.data.formats.pixels import File
from pix2pix_jax.data.held_out import hold_out_of, pick
from pix2pix_jax.data.hold_out import NEW_RUN, SPLITS, Known
from pix2pix_jax.data.lists import list_of, read_list, read_masks
from pix2pix_jax.data.sources import Source
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
        guessed = guessed and not config.dataset.input_pattern
        if guessed and not (first.listed or first.photos) and len(first.files[0]) == 1:
            files = {name: file for name, (file,) in zip(first.names, first.files)}
            folder, ask = epath.Path(first.folder), functools.partial(_proposed, root, config)
            detect_layout.check(root, folder, files, known.exists, ask)
    _check_one_kind(splits)
    return splits


def divide(splits: dict[str, Source], config: Config, known: Known) -> dict[str, Source]:
    """Returns the splits with what is held out, or as data.json of a run says.

    Where nothing says splits, test is held out of all pairs; where there is no val, it is held out
    of train.
    """
    splits, d = dict(splits), config.dataset
    if known.splits:
        splits |= {split: pick(splits, split, pairs) for split, pairs in known.splits.items()}
        return _in_order(splits)
    if d.test_fraction and 'train' in splits and splits['train'].undivided:
        splits['train'], splits['test'] = hold_out_of(splits['train'], config, known, 'test')
    if d.val_fraction and 'val' not in splits and 'train' in splits:
        splits['train'], splits['val'] = hold_out_of(splits['train'], config, known, 'val')
    return _in_order(splits)


def _in_order(splits: dict[str, Source]) -> dict[str, Source]:
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
    if config.dataset.layout not in ('auto', 'side_by_side'):
        raise UserError(
            f"config.dataset.layout='{config.dataset.layout}': {name} is prepared side by side; "
            'allowed are auto | side_by_side'
        )
    if config.dataset.mask:
        raise UserError(
            f"config.dataset.mask={config.dataset.mask!r}: {name} has no masks; allowed is ''"
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
    d = config.dataset
    wanted = patterns.of_config(config)
    if wanted:
        return _by_patterns(root, wanted, config, known)
    splits: dict[str, Source] = {}
    lines = []
    for split in SPLITS:
        for word in _words(root, split, known):
            if split in splits:
                left = split_names.places_of(root, word)
                lines += [f'{path} is left out: {split} is {splits[split].folder}' for path in left]
            elif source := _of_word(root, word, config, known.old, first=not splits):
                splits[split] = source
                if word != split:
                    lines.append(f'{source.folder} is taken as {split}')
    if d.task != 'none' and 'train' not in splits and (rest := _rest(root, config, splits)):
        if splits:
            lines.append(f'the {len(rest):,} images of {root} in no folder of a split are train')
        splits = {'train': rest, **splits}
    if not known.exists:
        for line in lines:
            print(line, flush=True)
    if not splits:
        hint = _proposed(root, config) or what_is_there(root, d.layout == 'auto')
        raise DataError(f'{root} has {_needed(d)}; {hint}')
    return splits


def _rest(root: epath.Path, config: Config, splits: dict[str, Source]) -> Source | None:
    """Returns the photos in `root` that are in no folder named as a split; None for none."""
    if not has_images(root):
        return None
    photos = pair_files((root,))
    of_splits = [[word] for split in SPLITS for word in (split, *OTHER_NAMES[split])]
    listed = {file for source in splits.values() for files in source.files for file in files}
    rest = {
        name: found
        for name, found in photos.items()
        if found[0] not in listed and name.lower().split('/')[:-1][:1] not in of_splits
    }
    if not rest:
        return None
    return dataclasses.replace(_source(str(root), rest, config), undivided='test' not in splits)


def _proposed(root: epath.Path, config: Config) -> str:
    """Says with which patterns the command would take the pairs in `root`; '' for none."""
    if config.dataset.task != 'none':
        return ''
    proposal = propose.propose(image_paths(root))
    return proposal.about(config) if proposal else ''


def _needed(d: Config) -> str:
    if d.task != 'none':
        return 'no photos: needed are images, or train/ (also val/, test/) with images'
    return (
        'no pairs: needed is train/ (also val/, test/) with A|B side by side, or A/train and '
        'B/train, trainA and trainB, or train/A and train/B, or train.csv or train.json '
        f'(config.dataset.layout={d.layout})'
    )


def _words(root: epath.Path, split: str, known: Known) -> list[str]:
    """Returns the names under which a split is looked for in `root`, the usual one first.

    A run that did not read the others, as versions before 0.2.0 did not, goes on without them.
    """
    own = known.splits.get(split)
    only_usual = known.old or (known.splits and (own is None or own.held_out is not False))
    return [split] if only_usual else split_names.words_in(root, split)


def _of_word(
    root: epath.Path, word: str, config: Config, capitals: bool, first: bool
) -> Source | None:
    """Returns the pairs of a split's folders or list of this name, None where there are none."""
    d = config.dataset
    # Of a task it is a folder a split, whatever folders are in it.
    layout = 'side_by_side' if d.task != 'none' else d.layout
    folders = split_folders(root, word, layout, capitals, d.mask) if layout != 'list' else ()
    listed = list_of(root, word) if layout in ('auto', 'list') else None
    if folders and listed:
        raise DataError(
            f'there are {listed} and {folders[0]}: say which has the pairs with '
            '--config.dataset.layout=list | side_by_side | two_folders'
        )
    if listed:
        source = _source(str(listed), read_list(listed), config)
        listed_masks = read_masks(listed, d.mask) if d.mask else ()
        return dataclasses.replace(source, listed=True, masks=listed_masks)
    if not folders or (word not in SPLITS and not any(map(has_images, folders))):
        return None
    try:
        files, unpaired = pair_or_leave(folders, d.on_error == 'skip')
    except DataError as error:
        hint = _proposed(root, config) if layout == 'auto' else ''
        raise DataError(f'{error}; {hint}' if hint else str(error)) from error
    if d.mask and len(folders) == 1:  # masks beside A|B are no pairs
        files = {name: found for name, found in files.items() if not name.startswith(f'{d.mask}/')}
    if layout == 'auto' and len(folders) == 2 and folders[0].name == 'a' and first:
        detect_layout.check_folders(folders, files)
    masks: dict[str, epath.Path] = {}
    if d.mask:
        masks, without = mask_files(root, word, d.mask, files, d.on_error == 'skip')
        files, unpaired = {name: files[name] for name in masks}, (*unpaired, *without)
    source = _source(' + '.join(map(str, folders)), files, config)
    return dataclasses.replace(source, unpaired=unpaired, masks=tuple(masks.values()))


def _by_patterns(
    root: epath.Path, wanted: tuple[patterns.Pattern, ...], config: Config, known: Known
) -> dict[str, Source]:
    mask = patterns.mask_of_config(config)
    if mask:
        wanted = (*wanted[:-1], mask, wanted[-1])
    found = pattern_files.find_pairs(root, wanted, config.dataset.on_error == 'skip')
    if not known.exists:
        for line in found.lines:
            print(line, flush=True)
    sources = {}
    for split, files in found.splits.items():
        folder, masks = f'{root} ({split or "all"})', ()
        if mask:
            masks = tuple(one[-2] for one in files.values())
            files = {name: (*one[:-2], one[-1]) for name, one in files.items()}
        sources[split or 'train'] = dataclasses.replace(
            _source(folder, files, config),
            masks=masks,
            unpaired=tuple(found.unpaired.get(split, {}).items()),
            undivided=split == pattern_files.ALL,
        )
    return sources


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
        preprocess=d.preprocess,
    )
