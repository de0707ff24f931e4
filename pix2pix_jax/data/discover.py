"""Finds the splits of a data set: in folders, in lists, or prepared; and holds val out of train."""

import dataclasses
import functools

from etils import epath

from pix2pix_jax.config_type import Config
from pix2pix_jax.data import (
    class_maps,
    detect_layout,
    file_checks,
    folder_splits,
    pattern_files,
    patterns,
    scene_windows,
)
from pix2pix_jax.data.catalogue import openmoji
from pix2pix_jax.data.catalogue.published import PUBLISHED
from pix2pix_jax.data.held_out import hold_out_of, pick
from pix2pix_jax.data.hold_out import NEW_RUN, SPLITS, Known
from pix2pix_jax.data.new_source import source_of
from pix2pix_jax.data.sources import Source
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.storage import user_paths

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
    """Returns the splits as they lie; reads some images of each that is A|B by a guess.

    A reason against that is an error, as in `open_splits`, or a warning where the reason is not
    certain or where there is a run on the folder already.
    """
    _check_path(config)
    if _is_published(config):
        splits = _prepared(config)
    else:
        root, wanted = _root(config), patterns.of_config(config)
        if wanted:
            splits = _by_patterns(root, wanted, config, known)
        else:
            splits = folder_splits.find(root, config, known)
        if config.dataset.layout == 'auto' and config.dataset.path and not wanted:
            ask = functools.partial(folder_splits.proposed, root, config)
            detect_layout.check_splits(root, splits, known, ask)
        if config.dataset.layout == 'side_by_side' and not known.exists:
            for source in splits.values():
                detect_layout.check_said(source)
    _check_one_kind(splits)
    if not known.exists:
        file_checks.check_apart(splits)
    seen = class_maps.PalettesSeen()
    splits = {name: dataclasses.replace(one, palettes_seen=seen) for name, one in splits.items()}
    return scene_windows.of_splits(splits, config, known)


def divide(splits: dict[str, Source], config: Config, known: Known) -> dict[str, Source]:
    """Returns the splits with what is held out, or as data.json of a run says.

    Where nothing says splits, test is held out of all pairs; where there is no val, it is held out
    of train.
    """
    splits, d = dict(splits), config.dataset
    if known.splits:
        splits |= {split: pick(splits, split, pairs) for split, pairs in known.splits.items()}
        return _in_order(splits)
    if d.test_fraction and 'test' not in splits and _divides_off_test(splits, config):
        splits['train'], splits['test'] = hold_out_of(splits['train'], config, known, 'test')
    if d.val_fraction and 'val' not in splits and 'train' in splits:
        splits['train'], splits['val'] = hold_out_of(splits['train'], config, known, 'val')
    return _in_order(splits)


def _divides_off_test(splits: dict[str, Source], config: Config) -> bool:
    """Whether test is held out of train: where nothing says splits, or as windows of scenes."""
    return 'train' in splits and (splits['train'].undivided or config.dataset.hold_out == 'window')


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


def _check_path(config: Config) -> None:
    """Raises UserError where data must lie in a folder of the user's and none is named.

    The config of a packed run names none: it is valid, and has no data.
    """
    d = config.dataset
    if d.path:
        return
    if d.input_pattern:
        raise UserError(
            'config.dataset.path is empty: config.dataset.input_pattern is of files in it'
        )
    if d.task != 'none' and d.name in (*openmoji.NAMES, *PUBLISHED):
        raise UserError(f"config.dataset.task='{d.task}' needs a folder of photos: dataset.path")


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
    return {split: source_of(folder, files, config) for split, files in splits.items()}


def _root(config: Config) -> epath.Path:
    name, path = config.dataset.name, config.dataset.path
    if name in openmoji.NAMES and not path:
        return epath.Path(openmoji.prepare(max(config.image_size) or 256, name))
    if not path:
        raise UserError(
            f'config.dataset.path is empty, and {name!r} is neither built in '
            f'({", ".join(openmoji.NAMES)}) nor published ({", ".join(PUBLISHED)}): {POINT}'
        )
    root = epath.Path(user_paths.given(path, 'config.dataset.path'))
    if not root.is_dir():
        what = 'is not a folder' if root.exists() else 'does not exist'
        raise DataError(f'config.dataset.path={path}: {what}; needed is a folder with train/')
    return root


def _by_patterns(
    root: epath.Path, wanted: tuple[patterns.Pattern, ...], config: Config, known: Known
) -> dict[str, Source]:
    mask = patterns.mask_of_config(config)
    if mask:
        wanted = (*wanted[:-1], mask, wanted[-1])
    found = pattern_files.find_pairs(root, wanted, config.dataset.on_error == 'skip', known)
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
            source_of(folder, files, config),
            masks=masks,
            unpaired=tuple(found.unpaired.get(split, {}).items()),
            undivided=split == pattern_files.ALL,
        )
    return sources
