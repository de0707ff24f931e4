"""The splits of plain photos that lie in no train/: all are train, or split files say which."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

from etils import epath

from pix2pix_jax.config_type import Config
from pix2pix_jax.data import split_files, trained_on
from pix2pix_jax.data.folders import examples, has_images, pair_files
from pix2pix_jax.data.hold_out import Known
from pix2pix_jax.data.new_source import source_of
from pix2pix_jax.data.pattern_pairs import PatternPairs
from pix2pix_jax.data.patterns import Key
from pix2pix_jax.data.sources import Source
from pix2pix_jax.data.split_names import HELD, split_of
from pix2pix_jax.errors import DataError

Photos = dict[str, tuple[epath.Path, ...]]  # (photo,), by its path in the folder, no extension


class Listed(NamedTuple):
    """What a split file says."""

    path: epath.Path
    names: list[str]  # of photos
    unknown: list[str]  # lines that name none, and why


def find_rest(
    root: epath.Path, config: Config, splits: Mapping[str, Source], known: Known
) -> tuple[dict[str, Source], list[str]]:
    """Returns the photos in no folder of a split, as train or as split files say; {} for none.

    And lines for a person. Raises DataError where they would be trained on, and are val or test by
    their names.

    Args:
      root: the folder of the data set.
      config: what reads the photos.
      splits: those that have folders.
      known: what a run knows of them; one that is there goes on with what it took.
    """
    rest = _rest(root, splits, known)
    if not rest:
        return {}, []
    said, lines = _said(root, rest, known)
    if said and not (known.exists and splits):
        strict = not known.exists and config.dataset.on_error != 'skip'
        return _of_files(root, rest, said, splits, config, strict)
    if not known.exists:
        lines += trained_on.check_rest(root, rest)
    if splits:
        lines.append(f'the {len(rest):,} images of {root} in no folder of a split are train')
    source = source_of(str(root), rest, config)
    return {'train': dataclasses.replace(source, undivided='test' not in splits)}, lines


def _rest(root: epath.Path, splits: Mapping[str, Source], known: Known) -> Photos:
    """Returns the photos in `root` that are in no folder named as a split; {} for none."""
    if not has_images(root):
        return {}
    listed = {file for source in splits.values() for files in source.files for file in files}
    recorded, rest = known.names, {}
    for name, found in pair_files((root,)).items():
        folder, slash, _ = name.partition('/')
        # Runs began without test.png when such files were taken for splits.
        is_left = (
            split_of(folder) if slash else recorded and name not in recorded and split_of(name)
        )
        if found[0] not in listed and not is_left:
            rest[name] = found
    return rest


def _said(root: epath.Path, rest: Photos, known: Known) -> tuple[dict[str, Listed], list[str]]:
    """Returns what split files say of each split, and lines about others.

    Nothing where no line names a photo, and for a run that began without them.
    """
    paths = {name: f'{name}{file.suffix}' for name, (file,) in rest.items()}
    pairs = PatternPairs({Key('', (name,)): (path,) for name, path in paths.items()}, {})
    texts = split_files.find_split_files(root)
    lines: list[str] = []
    try:
        if not texts:
            texts, lines = split_files.find_fitting(root, paths.values(), (), pairs)
        if not texts:
            return {}, lines
        division = split_files.divide(texts, (), pairs.names)
        if not any(division.splits.values()):  # notes, or of something else
            lines += [f'{path} names no image, and is not read' for path in texts.values()]
            return {}, lines
        split_files.check_train(texts)
    except DataError:
        if known.exists:
            return {}, []
        raise
    said = {
        split: Listed(texts[split], [key.stars[0] for key in keys], division.unknown[split])
        for split, keys in division.splits.items()
        if keys
    }
    return (said, lines) if _is_of(known, said) else ({}, [])


def _is_of(known: Known, said: Mapping[str, Listed]) -> bool:
    """Whether a run, if there is one, has these splits and has drawn none of them."""
    listed = {name for one in said.values() for name in one.names}
    if not listed.issuperset(name for pairs in known.splits.values() for name in pairs.used):
        return False
    recorded = {split: pairs.held_out is False for split, pairs in known.splits.items()}
    return not recorded or (
        recorded.get('test', True) and all(recorded.get(s, False) for s in said if s in HELD)
    )


def _of_files(
    root: epath.Path,
    rest: Photos,
    said: Mapping[str, Listed],
    splits: Mapping[str, Source],
    config: Config,
    strict: bool,
) -> tuple[dict[str, Source], list[str]]:
    """Returns the photos that split files list, and lines that count them.

    Raises DataError where there are folders of splits, too, and, if it is `strict`, for a line that
    names no photo.
    """
    if splits:
        one, other = next(iter(said.values())).path, next(iter(splits.values())).folder
        raise DataError(f'there are {one} and {other}: allowed is one way to say splits')
    found, lines = {}, []
    for split, (path, names, unknown) in said.items():
        if unknown and strict:
            raise DataError(f'{unknown[0]} (--config.dataset.on_error=skip leaves it out)')
        source = source_of(str(path), {name: rest[name] for name in names}, config)
        unpaired = tuple((line, line) for line in unknown)
        found[split] = dataclasses.replace(source, unpaired=unpaired)
        lines.append(f'{path}: {len(names):,} images')
    left = rest.keys() - {name for listed in said.values() for name in listed.names}
    if left:
        lines.append(
            f'{len(left):,} images of {root} are in none of these, and left out: {examples(left)}'
        )
    return found, lines
