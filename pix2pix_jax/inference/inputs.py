"""The images that a user names: a file, a folder, a pattern, or several of them."""

import glob
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from etils import epath

from pix2pix_jax.data.folders import examples, image_files, image_paths, natural
from pix2pix_jax.data.formats.pixels import EXTENSIONS, File
from pix2pix_jax.data.lists import input_columns, read_inputs
from pix2pix_jax.data.sources import Source
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.storage import atomic, user_paths


class Input(NamedTuple):
    """The files of one translation: several for a run with several inputs for one output."""

    name: str  # path relative to what was given, without extension
    files: tuple[File, ...]
    pair: tuple[Source, int] | None = None  # of a run's own data: the input of this pair
    beside: tuple[File, ...] = ()  # its target and its mask, where they are known


def split_inputs(text: str) -> list[str]:
    """Splits --input at commas, unless a file or folder of the whole name exists."""
    parts = [user_paths.given(part, '--input') for part in text.split(',')]
    whole = os.path.expanduser(text)
    if len(parts) > 1 and user_paths.is_allowed(whole) and epath.Path(whole).exists():
        return [whole]
    return parts


def find_inputs(places: Sequence[str], mask: str = '') -> list[Input]:
    """Returns the images of each place by name, those of one name from all places together.

    The only place may be a list, test.csv or test.json, whose masks are in the column `mask`.

    Raises as `find_images`, and DataError where a name is not in all of the places.
    """
    if len(places) == 1 and is_list(places[0]):
        path = epath.Path(places[0])
        listed = read_inputs(path, mask)
        if (columns := input_columns(path)) != sorted(columns, key=natural):
            print(
                f'warning: {path}: the inputs are those of its columns as they stand, '
                f'{", ".join(columns)}: let these be in the order of the train.csv of the run',
                flush=True,
            )
        return [Input(name, files, beside=beside) for name, (files, beside) in listed.items()]
    found = [dict(find_images(place)) for place in places]
    if len(found) > 1 and all(epath.Path(place).is_file() for place in places):  # of any names
        ((name, _),) = found[0].items()
        return [Input(name, tuple(file for one in found for file in one.values()))]
    for place, one in zip(places, found):
        unpaired = one.keys() ^ found[0].keys()
        if unpaired:
            raise DataError(
                f'--input={",".join(places)}: {len(unpaired)} names are not in both {places[0]} '
                f'and {place} ({examples(unpaired)})'
            )
    return [Input(name, tuple(one[name] for one in found)) for name in found[0]]


def of_split(source: Source) -> list[Input]:
    """Returns the inputs of the pairs of a split."""
    return [
        Input(
            name,
            source.input_files(i),
            (source, i),
            (source.file_of(i, 'target'), *source.masks[i : i + 1]),
        )
        for i, name in enumerate(source.names)
    ]


def is_list(place: str) -> bool:
    """Whether `place` is a file that lists images."""
    return place.lower().endswith(('.csv', '.json')) and epath.Path(place).is_file()


def find_paths(place: str) -> dict[str, epath.Path]:
    """Returns the images of a place as `find_images`, by their paths, with extensions."""
    if epath.Path(place).is_dir():
        return image_paths(epath.Path(place))
    return {f'{name}{path.suffix}': path for name, path in find_images(place)}


def find_images(pattern: str) -> list[tuple[str, epath.Path]]:
    """Returns the images of a file, a folder (those in its folders too) or a pattern, by name.

    Raises UserError where there are none, DataError where two would get one name.
    """
    path = epath.Path(pattern)
    if path.is_dir():
        return sorted(image_files(path).items())
    if path.exists():
        return [(path.stem, path)]
    wild = (i for i, part in enumerate(path.parts) if set(part) & set('*?['))
    fixed = next((i for i in wild if not epath.Path(*path.parts[: i + 1]).exists()), None)
    if fixed is None:
        raise UserError(f'--input={pattern} does not exist: give an image, a folder or a pattern')
    root = epath.Path(*path.parts[:fixed])
    found: dict[str, epath.Path] = {}
    for file in sorted(_matching(root, path, fixed)):
        name = str(file.relative_to(root).with_suffix(''))
        if file.is_dir() or file.name.startswith('.') or file.suffix.lower() not in EXTENSIONS:
            continue
        if name in found:
            raise DataError(f'{found[name]} and {file} have the same name: allowed is one file')
        found[name] = file
    if not found:
        raise UserError(f'--input={pattern} matches no image: allowed are {" ".join(EXTENSIONS)}')
    return list(found.items())


def _matching(root: epath.Path, pattern: epath.Path, fixed: int) -> Iterator[epath.Path]:
    """The files of a pattern, of which so many parts are `fixed`; ** is any folders."""
    if not atomic.is_local(pattern):
        return root.glob('/'.join(pattern.parts[fixed:]))
    literal = glob.escape(os.fspath(root))
    return map(epath.Path, glob.glob(os.path.join(literal, *pattern.parts[fixed:]), recursive=True))
