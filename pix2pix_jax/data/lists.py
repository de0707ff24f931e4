"""Lists of pairs: train.csv or train.json (also val, test), which name the files.

A CSV file has a header with the columns target and input; more inputs of one target are in more
columns whose names begin with input. A JSON file is a list of {"input": FILE or [FILE, ...],
"target": FILE}. Paths are relative to the list.
"""

import csv
import io
import json
import pathlib
import re

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


def read_list(path: epath.Path) -> dict[str, tuple[epath.Path, ...]]:
    """Returns the files of each pair, (input, ..., target), by name: the target's path.

    Raises DataError, naming the file and the row, for what is no such list, for two pairs with
    one target, and for pairs with different numbers of inputs.
    """
    text = _text(path)
    rows = _from_csv(path, text) if path.suffix == '.csv' else _from_json(path, text)
    if not rows:
        raise DataError(f'{path} lists no pairs')
    pairs: dict[str, tuple[epath.Path, ...]] = {}
    targets = set()
    for where, (inputs, target) in rows.items():
        if not target or not inputs or not all(inputs):
            raise DataError(f'{path}, {where}: input or target is empty')
        if len(inputs) != len(next(iter(rows.values()))[0]):
            raise DataError(f'{path}, {where}: has {len(inputs)} inputs, others have not so many')
        name = _name(target)
        if not name:
            raise DataError(f'{path}, {where}: the target {target!r} is no file')
        if target in targets:
            raise DataError(f'{path}, {where}: the target {target} is there already')
        targets.add(target)
        name = name if name not in pairs else f'{name}_{len(pairs)}'
        pairs[name] = tuple(path.parent / file for file in (*inputs, target))
    return pairs


def read_masks(path: epath.Path, column: str = '') -> tuple[epath.Path, ...]:
    """Returns the mask of each pair of a list, in its order; () where it has no such column.

    Args:
      path: a list that `read_list` can read; of JSON the column is a field of its items.
      column: its name; '': mask, if there is one.

    Raises:
      DataError: where a `column` that is asked for is not there, and for a pair without a mask.
    """
    name, text = column or 'mask', _text(path)
    if path.suffix == '.csv':
        lines = text.replace('\r\n', '\n').replace('\r', '\n')
        items = list(csv.DictReader(io.StringIO(lines), skipinitialspace=True))
    else:
        found = json.loads(text)
        items = found if isinstance(found, list) else [found]
    values = [item.get(name) for item in items]
    if not any(values) and not column:
        return ()
    for i, value in enumerate(values):
        if not (isinstance(value, str) and value):
            raise DataError(f'{path}, pair {i + 1}: there is no {name} (config.dataset.mask)')
    return tuple(path.parent / value for value in values)


def _text(path: epath.Path) -> str:
    try:
        return path.read_bytes().decode('utf-8-sig')
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'{path} cannot be read: {error}') from error


def _name(target: str) -> str:
    """The target's path without what would lead out of a folder, and without its extension."""
    *folders, file = pathlib.PurePath(target).parts or ('',)
    parts = [*folders, pathlib.PurePath(file).stem]
    return '/'.join(part for part in parts if part not in ('..', '.', '/'))


def _from_csv(path: epath.Path, text: str) -> dict[str, Row]:
    lines = text.replace('\r\n', '\n').replace('\r', '\n')
    reader, rows = csv.DictReader(io.StringIO(lines), skipinitialspace=True), {}
    try:
        names = reader.fieldnames or []
        columns = [name for name in names if re.fullmatch(r'input\d*', name or '')]
        if not columns or 'target' not in names or len(set(names)) < len(names):
            raise DataError(
                f'{path}: the first line is {names}: needed are the columns input (also input2, '
                '...) and target, each once'
            )
        for row in reader:
            where = f'line {reader.line_num}'
            if None in row:
                raise DataError(
                    f'{path}, {where}: has more values than columns; quote a name with a comma'
                )
            rows[where] = [row[name] or '' for name in columns], row['target'] or ''
    except csv.Error as error:
        raise DataError(f'{path}, line {reader.line_num}: {error}') from error
    return rows


def _from_json(path: epath.Path, text: str) -> dict[str, Row]:
    try:
        items = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f'{path} is no JSON: {error}') from error
    rows = {}
    for i, item in enumerate(items if isinstance(items, list) else [items]):
        fields = item if isinstance(item, dict) else {}
        inputs, target = fields.get('input'), fields.get('target')
        files = [inputs] if isinstance(inputs, str) else inputs
        if not (isinstance(files, list) and all(isinstance(f, str) for f in (*files, target))):
            raise DataError(
                f'{path}, item {i}: needed is {{"input": FILE or [FILE, ...], "target": FILE}}'
            )
        rows[f'item {i}'] = files, item['target']
    return rows
