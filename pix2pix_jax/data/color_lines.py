"""The lines of a colour table: 'NAME R,G,B' or 'NAME,R,G,B', or the numbers first, as CamVid's."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from pix2pix_jax.errors import UserError

FIRST, LAST = 'name first', 'name last'
LARGEST = 255
RGB = r'(?P<r>[0-9]{1,3})%s(?P<g>[0-9]{1,3})%s(?P<b>[0-9]{1,3})'
WITH_COMMAS, ANY = (RGB.replace('%s', between) for between in (r'\s*,\s*', r'[\s,]+'))
# Commas between the numbers alone say which the name is, though it be a number.
CLEAR = {
    FIRST: re.compile(rf'(?P<name>.+?)(?<![\s,])\s+{WITH_COMMAS}'),
    LAST: re.compile(rf'{WITH_COMMAS}\s+(?![\s,])(?P<name>.+)'),
}
OTHERS = {
    FIRST: re.compile(rf'(?P<name>.+?)[\s,]+{ANY}'),
    LAST: re.compile(rf'{ANY}[\s,]+(?P<name>.+)'),
}
NAME, LETTERS = r'(?:[\w ]*name\w*|class|label)', r'r\w*\W+g\w*\W+b\w*'
HEADERS = {
    FIRST: re.compile(rf'\W*{NAME}\W+{LETTERS}\W*', re.IGNORECASE),
    LAST: re.compile(rf'\W*{LETTERS}\W+{NAME}\W*', re.IGNORECASE),
}


class Entry(NamedTuple):
    """A name and its colour."""

    name: str
    colour: tuple[int, int, int]


def entries(lines: Iterable[str], where: str, unit: str) -> dict[int, Entry]:
    """Returns the entries of a table by the numbers of their lines.

    Whether a name that is a number is the first or the last, a header or the other lines say.
    Raises UserError, naming `where`, the `unit` (line) and its number, for what is no entry, and
    where nothing says that.
    """
    found: dict[int, dict[str, Entry]] = {}
    header = ''
    for number, line in enumerate(map(str.strip, lines), start=1):
        order = next((order for order in HEADERS if HEADERS[order].fullmatch(line)), '')
        header = header or order
        if not line or line.startswith('#') or order:
            continue
        found[number] = _readings(line)
        if not found[number]:
            raise UserError(
                f'{where}, {unit} {number}: {line[:60]!r} is no NAME R,G,B with numbers of 0 to '
                f'{LARGEST}'
            )
    orders = {order for both in found.values() if len(both) == 1 for order in both}
    order = header or (orders.pop() if len(orders) == 1 else '')
    for number, readings in found.items():
        if len(set(readings.values())) > 1 and not order:
            either, other = (f'{entry.name!r} {entry.colour}' for entry in readings.values())
            raise UserError(
                f'{where}, {unit} {number}: is it {either} or {other}? Allowed are a header, '
                'name,r,g,b or r,g,b,name, or lines NAME R,G,B with commas between numbers alone'
            )
    return {n: both.get(order) or next(iter(both.values())) for n, both in found.items()}


def _readings(line: str) -> dict[str, Entry]:
    """Returns the entries that a line may be, by their order."""
    for order, pattern in CLEAR.items():
        if clear := _entry(pattern.fullmatch(line)):
            return {order: clear}
    both = {order: _entry(pattern.fullmatch(line)) for order, pattern in OTHERS.items()}
    return {order: entry for order, entry in both.items() if entry}


def _entry(match: re.Match[str] | None) -> Entry | None:
    if not match:
        return None
    name = match['name'].strip().strip('"')
    red, green, blue = (int(match[letter]) for letter in 'rgb')
    if not name or ';' in name or max(red, green, blue) > LARGEST:
        return None
    return Entry(name, (red, green, blue))
