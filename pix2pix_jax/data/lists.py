"""Lists of pairs: train.csv or train.json (also val, test), which name the files.

A CSV file has a header with the columns target and input; more inputs of one target are in more
columns whose names begin with input. A JSON file is a list of {"input": FILE or [FILE, ...],
"target": FILE}. Paths are relative to the list.
"""

import itertools
import json
import os
import pathlib
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from etils import epath

from pix2pix_jax.data.list_files import before_header, file_of, read_csv, read_text, with_slashes
from pix2pix_jax.data.split_names import HELD, split_of
from pix2pix_jax.errors import DataError

OF_SPLITS = ('split', 'set', 'subset', 'partition')  # columns that may say the split of a row
Row = tuple[list[str], str]  # the inputs, and the target


def list_of(root: epath.Path, split: str) -> epath.Path | None:
    """Returns the list of a split, if there is one; raises DataError if there are two."""
    found = [root / f'{split}{ext}' for ext in ('.csv', '.json')]
    found = [path for path in found if path.exists()]
    if len(found) == 2:
        raise DataError(f'there are {found[0]} and {found[1]}: allowed is one of them')
    return found[0] if found else None


def is_of_pairs(path: epath.Path) -> bool:
    """Whether a list says of a pair, rightly or not, what its input or its target is.

    A test.csv of another purpose has other columns. What cannot be read may be one of pairs.
    """
    try:
        text = read_text(path)
    except DataError:
        return True
    if path.suffix.lower() != '.csv':
        return re.search(r'"(input|target)"\s*:', text) is not None
    lines = text.splitlines()
    header = next(iter(lines[before_header(lines) :]), '')
    return re.search(r'(?<!\w)(input\d*|target)(?!\w)', header.lower()) is not None


def read_list(
    path: epath.Path, like: Sequence[str] = (), kept: Collection[str] = ()
) -> dict[str, tuple[epath.Path, ...]]:
    """Returns the files of each pair, (input, ..., target), by name: the target's path.

    It is without its extension, but for a target whose name another has without it.

    Args:
      path: the list.
      like: the columns of the inputs, in the order of train; () for that of the list.
      kept: names of a run, which keeps them: some began when such names had the number of the row.

    Raises:
      DataError: naming the file and the row, for what is no such list, for two pairs with one
        target, and for pairs with different numbers of inputs.
    """
    pairs: dict[str, tuple[epath.Path, ...]] = {}
    targets = set()
    for where, (inputs, target) in _rows(path, True, like).items():
        plain = _name(target)
        if not plain:
            raise DataError(f'{path}, {where}: the target {target!r} is no file')
        file = file_of(path, target)
        if os.path.normpath(file) in targets:
            raise DataError(f'{path}, {where}: the target {target} is there already')
        targets.add(os.path.normpath(file))
        name = _free(plain, f'{plain}{pathlib.PurePath(target).suffix}', pairs, kept)
        pairs[name] = (*(file_of(path, one) for one in inputs), file)
    return pairs


def _free(plain: str, whole: str, taken: Collection[str], kept: Collection[str]) -> str:
    """Returns the name of a row: one of a run, the plain one, the whole one, or with a number."""
    if plain not in taken:
        return plain
    by_row = (f'{plain}_{number}' for number in itertools.count(len(taken)))
    before = next(name for name in by_row if name not in taken)
    by_name = (f'{whole}_{number}' for number in itertools.count(2))
    after = next(name for name in itertools.chain([whole], by_name) if name not in taken)
    return before if before in kept and after not in kept else after


def read_masks(
    path: epath.Path, column: str, names: Iterable[str], leave: bool
) -> tuple[dict[str, epath.Path], tuple[tuple[str, str], ...]]:
    """Returns the mask of each pair of a list, as `folders.mask_files` does of folders.

    Args:
      path: a list that `read_list` can read; of JSON the column is a field of its items.
      column: its name.
      names: those that `read_list` gives to its rows.
      leave: whether pairs without a mask are left out.

    Raises:
      DataError: for a pair without a mask that is not left out, and where no pair has one.
    """
    rows = _all_columns(path)
    masks, without = {}, []
    for name, (where, row) in zip(names, rows.items()):
        value = row.get(column)
        if isinstance(value, str) and value:
            masks[name] = file_of(path, with_slashes(path, value))
        else:
            without.append((name, f'{path}, {where}: there is no {column} (config.dataset.mask)'))
    if without and not (leave and masks):
        raise DataError(without[0][1])
    return masks, tuple(without)


def input_columns(path: epath.Path) -> list[str]:
    """Returns the columns of the inputs of a list that `read_list` can read; [] of a JSON file."""
    return _of_inputs(read_csv(path, read_text(path))[0]) if path.suffix.lower() == '.csv' else []


def _of_inputs(columns: Iterable[str]) -> list[str]:
    return [name for name in columns if re.fullmatch(r'input\d*', name)]


def check_of_train(path: epath.Path) -> None:
    """Raises DataError where a column of the list of train says that rows are val or test."""
    for row in _all_columns(path).values():
        texts = {name: value.strip() for name, value in row.items() if isinstance(value, str)}
        for column, word in texts.items():
            if column.lower() in OF_SPLITS and split_of(word) in HELD:
                raise DataError(
                    f'{path}: its {column} says {word}, and all of its rows would be trained on: '
                    f'move those rows to {split_of(word)}{path.suffix}, or rename {column}'
                )


def has_column(path: epath.Path, column: str) -> bool:
    """Whether a list that `read_list` can read has a column, of JSON a field, of this name."""
    return any(column in row for row in _all_columns(path).values())


def _all_columns(path: epath.Path) -> dict[str, Any]:
    """Returns all that a list, which `read_list` can read, says of each pair, by its place."""
    text = read_text(path)
    if path.suffix.lower() == '.csv':
        return dict(read_csv(path, text)[1])
    found = json.loads(text)
    items = found if isinstance(found, list) else [found]
    return {f'item {i}': item for i, item in enumerate(items)}


def read_inputs(
    path: epath.Path, mask: str = ''
) -> dict[str, tuple[tuple[epath.Path, ...], tuple[epath.Path, ...]]]:
    """Returns (input files, files beside them) of each row, by name.

    The name is the path of the target, or of the first input: the column target may be missing.
    Beside the inputs are the target, and the mask in the column `mask`, where a row has these.
    Raises DataError as `read_list` does, and for two rows of one name.
    """
    found: dict[str, tuple[tuple[epath.Path, ...], tuple[epath.Path, ...]]] = {}
    rows = _rows(path, False)
    columns = _all_columns(path) if mask else {}
    for where, (inputs, target) in rows.items():
        name = _name(target or inputs[0])
        if not name:
            raise DataError(f'{path}, {where}: {target or inputs[0]!r} is no file')
        if name in found:
            raise DataError(f'{path}, {where}: {name} is there already: allowed is one of a name')
        masked = columns.get(where, {}).get(mask)
        beside = [target, with_slashes(path, masked) if isinstance(masked, str) else '']
        found[name] = (
            tuple(file_of(path, file) for file in inputs),
            tuple(file_of(path, file) for file in beside if file),
        )
    return found


def read_outputs(
    path: epath.Path, real: epath.Path, generated: epath.Path
) -> dict[str, tuple[epath.Path, epath.Path]]:
    """Returns (real file, generated file) of each row of a CSV file, by the name of the second.

    Args:
      path: the CSV file, with the columns real and generated.
      real: the folder that the first are relative to.
      generated: the folder that the second are relative to.

    Raises:
      DataError: for what is no such list, and for two rows of one generated file.
    """
    columns, rows = read_csv(path, read_text(path))
    if sorted(set(columns) & {'real', 'generated'}) != ['generated', 'real']:
        raise DataError(
            f'{path}: the first line is {columns}: needed are the columns real and generated'
        )
    found: dict[str, tuple[epath.Path, epath.Path]] = {}
    for where, row in rows.items():
        first, second = (with_slashes(path, row[name]) for name in ('real', 'generated'))
        if not first or not _name(second):
            raise DataError(f'{path}, {where}: real or generated is no file')
        if _name(second) in found:
            raise DataError(f'{path}, {where}: {second} is there already: allowed is one of a name')
        found[_name(second)] = real / first, generated / second
    if not found:
        raise DataError(f'{path} lists no pairs')
    return found


def _rows(path: epath.Path, with_target: bool, like: Sequence[str] = ()) -> dict[str, Row]:
    """Returns the rows, where each stands first; without targets these may be empty."""
    rows: dict[str, Row] = {}
    text = read_text(path)
    if path.suffix.lower() == '.csv':
        found = _from_csv(path, text, with_target, like)
    else:
        found = _from_json(path, text, with_target)
    for where, (given, of_target) in found.items():
        if any('\0' in file for file in (*given, of_target)):
            raise DataError(f'{path}, {where}: has a NUL character, which no name has')
        *inputs, target = (with_slashes(path, file) for file in (*given, of_target))
        if not (target or not with_target) or not inputs or not all(inputs):
            empty = 'input or target is' if with_target else 'an input is'
            raise DataError(f'{path}, {where}: {empty} empty')
        rows[where] = inputs, target
        if len(inputs) != len(next(iter(rows.values()))[0]):
            raise DataError(f'{path}, {where}: has {len(inputs)} inputs, others have not so many')
    if not rows:
        raise DataError(f'{path} lists no pairs')
    return rows


def _name(target: str) -> str:
    """The target's path without what would lead out of a folder, and without its extension."""
    *folders, file = pathlib.PurePath(target).parts or ('',)
    parts = [*folders, pathlib.PurePath(file).stem]
    return '/'.join(part for part in parts if part not in ('..', '.', '/'))


def _from_csv(
    path: epath.Path, text: str, with_target: bool, like: Sequence[str]
) -> dict[str, Row]:
    names, rows = read_csv(path, text)
    columns = _of_inputs(names)
    missing = not columns or with_target and 'target' not in names
    named = list(filter(None, names))  # spreadsheets write columns without names
    if missing or len(set(named)) < len(named):
        raise DataError(
            f'{path}: the first line is {names}: needed are the columns input (also input2, '
            '...) and target, each once'
        )
    columns = list(like) if sorted(like) == sorted(columns) else columns
    return {
        where: ([row[name] for name in columns], row.get('target', ''))
        for where, row in rows.items()
    }


def _from_json(path: epath.Path, text: str, with_target: bool) -> dict[str, Row]:
    try:
        items = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f'{path} is no JSON: {error}') from error
    rows = {}
    for i, item in enumerate(items if isinstance(items, list) else [items]):
        fields = item if isinstance(item, dict) else {}
        inputs, target = fields.get('input'), fields.get('target', None if with_target else '')
        files = [inputs] if isinstance(inputs, str) else inputs
        if not (isinstance(files, list) and all(isinstance(f, str) for f in (*files, target))):
            raise DataError(
                f'{path}, item {i}: needed is {{"input": FILE or [FILE, ...], "target": FILE}}'
            )
        rows[f'item {i}'] = files, str(target)
    return rows
