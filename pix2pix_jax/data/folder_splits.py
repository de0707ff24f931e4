"""The splits of a data set in folders or lists that are named after them."""

import dataclasses
from collections.abc import Mapping

from etils import epath

from pix2pix_jax.config_type import Config
from pix2pix_jax.data import (
    detect_layout,
    lists,
    no_pairs,
    photo_splits,
    propose,
    split_names,
    trained_on,
)
from pix2pix_jax.data.folders import (
    has_images,
    image_paths,
    is_empty,
    mask_files,
    mask_folder,
    pair_or_leave,
    split_folders,
)
from pix2pix_jax.data.formats.pixels import EXTENSIONS
from pix2pix_jax.data.hold_out import SPLITS, Known
from pix2pix_jax.data.new_source import source_of
from pix2pix_jax.data.sources import Source
from pix2pix_jax.data.split_names import HELD
from pix2pix_jax.errors import DataError

MASK = 'mask'  # the name that masks usually have


def find(root: epath.Path, config: Config, known: Known) -> dict[str, Source]:
    """Returns the splits in `root`, by name; of plain photos what is in none of them is train.

    Prints which other names are taken as splits. Raises DataError where there is no split, with
    what would help, and for folders and lists that hold no pairs.
    """
    d = config.dataset
    splits: dict[str, Source] = {}
    lines = []
    for split in SPLITS:
        for word in _words(root, split, known):
            if split in splits:
                left = split_names.places_of(root, word)
                lines += [f'{path} is left out: {split} is {splits[split].folder}' for path in left]
                continue
            source, about = _of_word(root, word, config, known, splits)
            lines += about
            if source:
                splits[split] = source
                if not d.mask and d.task == 'none':
                    lines += _unused_masks(root, word, source)
                if d.layout == 'auto' and d.task == 'none':
                    lines += _loose_images(root / word, source)
                if word != split:
                    lines.append(f'{source.folder} is taken as {split}')
    if d.task != 'none' and 'train' not in splits:
        of_rest, about = photo_splits.find_rest(root, config, splits, known)
        splits = {**of_rest, **splits}
        lines += about
    elif 'train' in splits and not known.exists:
        lines += trained_on.check_folders(root, splits['train'])
    if not known.exists:
        for line in lines:
            print(line, flush=True)
    if not splits:
        hints = filter(None, (proposed(root, config), no_pairs.above(root)))
        hint = '; '.join(hints) or no_pairs.advice(root, d.layout == 'auto')
        raise DataError(f'{root} has {_needed(d)}; {hint}')
    return splits


def _unused_masks(root: epath.Path, word: str, source: Source) -> list[str]:
    """Says where a split without masks has something of the name that masks usually have."""
    found = None
    if source.listed and lists.has_column(epath.Path(source.folder), MASK):
        found = f'the column {MASK} of {source.folder}'
    elif not source.listed and len(source.files[0]) > 1:
        found = mask_folder(root, word, MASK)
    return [f'{found} is not used: --config.dataset.mask={MASK} takes it'] if found else []


def _loose_images(folder: epath.Path, source: Source) -> list[str]:
    """Says where images lie beside the folders A and B of a split, in `folder` itself."""
    places = {file.parent.parent for file in source.files[0] if isinstance(file, epath.Path)}
    if source.listed or len(source.files[0]) < 2 or folder not in places:
        return []
    names = [path.name for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS]
    count = sum(not name.startswith('.') for name in names)
    line = (
        f'warning: {count:,} images in {folder} itself are left out: the pairs are those of '
        f'{source.folder}; for A|B in each file take A and B away from there'
    )
    return [line] if count else []


def proposed(root: epath.Path, config: Config) -> str:
    """Says with which patterns the command would take the pairs in `root`; '' for none."""
    if config.dataset.task != 'none':
        return ''
    return propose.advice(image_paths(root), config)


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


def _listed(path: epath.Path, config: Config, before: Mapping[str, Source], known: Known) -> Source:
    """Returns the pairs of a list; `before` are the splits that were found before."""
    d = config.dataset
    train = before.get('train')
    like = lists.input_columns(epath.Path(train.folder)) if train and train.listed else []
    files = lists.read_list(path, like, known.names | known.earlier.keys())
    if not before and split_names.split_of(path.stem) == 'train' and not known.exists:
        lists.check_of_train(path)
    unpaired: tuple[tuple[str, str], ...] = ()
    masks: dict[str, epath.Path] = {}
    if d.mask:
        masks, unpaired = lists.read_masks(path, d.mask, files, d.on_error == 'skip')
        files = {name: files[name] for name in masks}
    source = source_of(str(path), files, config)
    masked = tuple(masks.values())
    return dataclasses.replace(source, listed=True, unpaired=unpaired, masks=masked)


def _of_word(
    root: epath.Path, word: str, config: Config, known: Known, before: Mapping[str, Source]
) -> tuple[Source | None, list[str]]:
    """Returns the pairs of a split's folders or list of this name, None where there are none.

    And lines about what is left out; `before` are the splits that were found before.
    """
    d = config.dataset
    # Of a task it is a folder a split, whatever folders are in it.
    layout = 'side_by_side' if d.task != 'none' else d.layout
    folders = _folders(root, word, layout, known.old, d.mask) if layout != 'list' else ()
    listed = lists.list_of(root, word) if layout in ('auto', 'list') else None
    lines = []
    of_folders = before and not any(source.listed for source in before.values())
    if listed and layout == 'auto' and of_folders and not lists.is_of_pairs(listed):
        lines.append(f'{listed} is left out: it has no columns input and target')
        listed = None
    if folders and listed:
        raise DataError(
            f'there are {listed} and {folders[0]}: say which has the pairs with '
            '--config.dataset.layout=list | side_by_side | two_folders'
        )
    if listed:
        return _listed(listed, config, before, known), lines
    if not any(map(has_images, folders)):
        if folders and split_names.split_of(word) in HELD and all(map(is_empty, folders)):
            lines.append(f'there are no files in {" + ".join(map(str, folders))}')
            folders = ()
        if not folders or word not in SPLITS:
            return None, lines
    try:
        files, unpaired = pair_or_leave(folders, d.on_error == 'skip')
    except DataError as error:
        hint = proposed(root, config) if layout == 'auto' else ''
        raise DataError(f'{error}; {hint}' if hint else str(error)) from error
    if d.mask and len(folders) == 1:  # masks beside A|B are no pairs
        files = {name: found for name, found in files.items() if not name.startswith(f'{d.mask}/')}
    if layout == 'auto' and len(folders) == 2 and folders[0].name == 'a' and not before:
        detect_layout.check_folders(folders, files)
    masks: dict[str, epath.Path] = {}
    if d.mask:
        masks, without = mask_files(root, word, d.mask, files, d.on_error == 'skip')
        files, unpaired = {name: files[name] for name in masks}, (*unpaired, *without)
    source = source_of(' + '.join(map(str, folders)), files, config)
    source = dataclasses.replace(source, unpaired=unpaired, masks=tuple(masks.values()))
    return source, lines


def _folders(
    root: epath.Path, word: str, layout: str, capitals: bool, mask: str
) -> tuple[epath.Path, ...]:
    """Returns what `split_folders` does; its error says what training does not need."""
    try:
        return split_folders(root, word, layout, capitals, mask)
    except DataError as error:
        if split_names.split_of(word) not in HELD:
            raise
        raise DataError(
            f'{error}; or move what is of {word} elsewhere: training needs none, and translate '
            '--input=FOLDER takes inputs without targets'
        ) from error
