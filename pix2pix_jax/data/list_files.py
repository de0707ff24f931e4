"""The texts of lists, and the files that they name."""

import codecs
import csv
import functools
import io
import os
import re
import unicodedata
from collections.abc import Iterable

from etils import epath

from pix2pix_jax.errors import DataError
from pix2pix_jax.storage.atomic import is_local

HEADER = re.compile(r'(?<!\w)(input\d*|target|real|generated)(?!\w)')  # a word of a first line


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


def before_header(lines: Iterable[str]) -> int:
    """Returns how many lines are before the first of a list: blank ones, comments, sep=;."""
    count = 0
    for line in lines:
        cells = re.split(r'[,;\t]', line.strip().lower())
        is_comment = cells[0].startswith('#') and not any(map(HEADER.fullmatch, cells[1:]))
        if line.strip() and not line.startswith('sep=') and not is_comment:
            break
        count += 1
    return count


def read_csv(path: epath.Path, text: str) -> tuple[list[str], dict[str, dict[str, str]]]:
    """Returns the columns, and the rows with where each stands, of a CSV file with a header.

    Values have commas between, or what else spreadsheets write: semicolons or tabs; blanks around
    them are none of theirs, and rows without values none. Raises DataError, naming the file and the
    line, for a row that has more values than there are columns.
    """
    lines = text.replace('\r\n', '\n').replace('\r', '\n').split('\n')
    before = before_header(lines)
    lines = lines[before:]
    between = max(',;\t', key=lines[0].count) if lines else ','
    stream = io.StringIO('\n'.join(lines))
    reader = csv.DictReader(stream, delimiter=between, skipinitialspace=True)
    rows: dict[str, dict[str, str]] = {}
    try:
        columns = [name.strip() for name in reader.fieldnames or []]
        reader.fieldnames = columns
        for row in reader:
            where = f'line {reader.line_num + before}'
            if any(value.strip() for value in row.pop(None, ())):
                raise DataError(
                    f'{path}, {where}: has more values than columns; quote a name with a comma'
                )
            values = {name: (value or '').strip() for name, value in row.items()}
            if any('\0' in value for value in values.values()):
                raise DataError(f'{path}, {where}: has a NUL character, which no name has')
            if any(values.values()):
                rows[where] = values
    except csv.Error as error:
        raise DataError(f'{path}, line {reader.line_num + before}: {error}') from error
    return columns, rows


# ---------------------------------------------------------------- the files


def with_slashes(path: epath.Path, file: str) -> str:
    """Returns `file` with / for each backslash, as Windows writes it; but a file of that name."""
    return file if '\\' not in file or (path.parent / file).exists() else file.replace('\\', '/')


def file_of(path: epath.Path, file: str) -> epath.Path:
    """Returns the file that a list at `path` names.

    Where there is none, it is the one whose name is the same in another of Unicode's forms: an é is
    one or two characters, as systems write it.
    """
    found = path.parent / file
    if file.isascii() or not is_local(path) or found.exists():
        return found
    there = epath.Path('/') if os.path.isabs(file) else path.parent
    for part in file.split('/'):
        there = there / part if (there / part).exists() else there / _as_written(there, part)
    return there if there.exists() else found


def _as_written(folder: epath.Path, name: str) -> str:
    """Returns the name in a folder that is `name` in Unicode's composed form; else `name`."""
    if not folder.is_dir():
        return name
    names = _composed_names(os.fspath(folder), os.stat(folder).st_mtime_ns)
    return names.get(unicodedata.normalize('NFC', name), name)


@functools.lru_cache(16)  # the rows of a list name the same few folders
def _composed_names(folder: str, changed: int) -> dict[str, str]:
    """Returns the names in a folder by their composed form; `changed` says when it last was."""
    del changed
    return {unicodedata.normalize('NFC', name): name for name in os.listdir(folder)}
