"""Lists of pairs: train.csv or train.json (also val, test), which name the files.

A CSV file has a header with the columns target and input; more inputs of one target are in more
columns whose names begin with input. A JSON file is a list of {"input": FILE or [FILE, ...],
"target": FILE}. Paths are relative to the list.
"""

import codecs
import csv
import io
import itertools
import json
import os
import pathlib
import re
from collections.abc import Iterable
from typing import Any

from etils import epath

from pix2pix_jax.errors import DataError

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
    lines = (line for line in text.splitlines() if line.strip() and not line.startswith('sep='))
    return re.search(r'(?<!\w)(input\d*|target)(?!\w)', next(lines, '').lower()) is not None


def read_list(path: epath.Path) -> dict[str, tuple[epath.Path, ...]]:
    """Returns the files of each pair, (input, ..., target), by name: the target's path.

    Raises DataError, naming the file and the row, for what is no such list, for two pairs with
    one target, and for pairs with different numbers of inputs.
    """
    pairs: dict[str, tuple[epath.Path, ...]] = {}
    targets = set()
    for where, (inputs, target) in _rows(path, True).items():
        name = _name(target)
        if not name:
            raise DataError(f'{path}, {where}: the target {target!r} is no file')
        file = os.path.normpath(path.parent / target)
        if file in targets:
            raise DataError(f'{path}, {where}: the target {target} is there already')
        targets.add(file)
        numbered = (f'{name}_{number}' for number in itertools.count(len(pairs)))
        name = next(free for free in itertools.chain([name], numbered) if free not in pairs)
        pairs[name] = tuple(path.parent / file for file in (*inputs, target))
    return pairs


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
            masks[name] = path.parent / _with_slashes(path, value)
        else:
            without.append((name, f'{path}, {where}: there is no {column} (config.dataset.mask)'))
    if without and not (leave and masks):
        raise DataError(without[0][1])
    return masks, tuple(without)


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
        beside = [target, _with_slashes(path, masked) if isinstance(masked, str) else '']
        found[name] = (
            tuple(path.parent / file for file in inputs),
            tuple(path.parent / file for file in beside if file),
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
        first, second = (_with_slashes(path, row[name]) for name in ('real', 'generated'))
        if not first or not _name(second):
            raise DataError(f'{path}, {where}: real or generated is no file')
        if _name(second) in found:
            raise DataError(f'{path}, {where}: {second} is there already: allowed is one of a name')
        found[_name(second)] = real / first, generated / second
    if not found:
        raise DataError(f'{path} lists no pairs')
    return found


def _rows(path: epath.Path, with_target: bool) -> dict[str, Row]:
    """Returns the rows, where each stands first; without targets these may be empty."""
    rows: dict[str, Row] = {}
    found = _from_csv if path.suffix.lower() == '.csv' else _from_json
    for where, (given, of_target) in found(path, read_text(path), with_target).items():
        if any('\0' in file for file in (*given, of_target)):
            raise DataError(f'{path}, {where}: has a NUL character, which no name has')
        *inputs, target = (_with_slashes(path, file) for file in (*given, of_target))
        if not (target or not with_target) or not inputs or not all(inputs):
            empty = 'input or target is' if with_target else 'an input is'
            raise DataError(f'{path}, {where}: {empty} empty')
        rows[where] = inputs, target
        if len(inputs) != len(next(iter(rows.values()))[0]):
            raise DataError(f'{path}, {where}: has {len(inputs)} inputs, others have not so many')
    if not rows:
        raise DataError(f'{path} lists no pairs')
    return rows


def read_text(path: epath.Path) -> str:
    """Returns the text of a file in UTF-8 or UTF-16; raises DataError for what is neither.

    And for a file that is not there.
    """
    try:
        return decoded(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f'{path} is not there') from error
    except OSError as error:
        raise DataError(f'{path} cannot be read: {error.strerror or error}') from error
    except UnicodeDecodeError as error:
        raise DataError(f'{path} cannot be read: {error}; allowed are UTF-8 and UTF-16') from error


def decoded(data: bytes) -> str:
    """Returns text in UTF-8 or UTF-16; raises UnicodeDecodeError for what is neither."""
    return data.decode(_encoding(data))


def _encoding(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return 'utf-16'
    if data[:1] and data[1:2] == b'\0':  # a Latin letter without its mark
        return 'utf-16-le'
    return 'utf-16-be' if data[:1] == b'\0' else 'utf-8-sig'


def _with_slashes(path: epath.Path, file: str) -> str:
    """Returns `file` with / for each backslash, as Windows writes it; but a file of that name."""
    return file if '\\' not in file or (path.parent / file).exists() else file.replace('\\', '/')


def _name(target: str) -> str:
    """The target's path without what would lead out of a folder, and without its extension."""
    *folders, file = pathlib.PurePath(target).parts or ('',)
    parts = [*folders, pathlib.PurePath(file).stem]
    return '/'.join(part for part in parts if part not in ('..', '.', '/'))


def read_csv(path: epath.Path, text: str) -> tuple[list[str], dict[str, dict[str, str]]]:
    """Returns the columns, and the rows with where each stands, of a CSV file with a header.

    Values have commas between, or what else spreadsheets write: semicolons or tabs. Raises
    DataError, naming the file and the line, for a row that has more values than there are columns.
    """
    lines = text.replace('\r\n', '\n').replace('\r', '\n')
    header = lines.partition('\n')[0]
    between = max(',;\t', key=header.count)
    stream = io.StringIO(lines)
    reader = csv.DictReader(stream, delimiter=between, skipinitialspace=True)
    rows: dict[str, dict[str, str]] = {}
    try:
        columns = list(reader.fieldnames or [])
        for row in reader:
            where = f'line {reader.line_num}'
            if None in row:
                raise DataError(
                    f'{path}, {where}: has more values than columns; quote a name with a comma'
                )
            rows[where] = {name: value or '' for name, value in row.items()}
            if any('\0' in value for value in rows[where].values()):
                raise DataError(f'{path}, {where}: has a NUL character, which no name has')
    except csv.Error as error:
        raise DataError(f'{path}, line {reader.line_num}: {error}') from error
    return columns, rows


def _from_csv(path: epath.Path, text: str, with_target: bool) -> dict[str, Row]:
    names, rows = read_csv(path, text)
    columns = [name for name in names if re.fullmatch(r'input\d*', name or '')]
    missing = not columns or with_target and 'target' not in names
    if missing or len(set(names)) < len(names):
        raise DataError(
            f'{path}: the first line is {names}: needed are the columns input (also input2, '
            '...) and target, each once'
        )
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
