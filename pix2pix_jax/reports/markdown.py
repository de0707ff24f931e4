"""Pieces of Markdown, as model hubs and zoos show it."""

import re
from collections.abc import Sequence


def plain(text: str) -> str:
    """Returns a text as Markdown of one line that shows it, whatever is in it."""
    line = ' '.join(''.join(c if c.isprintable() else ' ' for c in text).split())
    return re.sub(r'([\\`*\[\]<>&|#!])', r'\\\1', line)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Returns a table without an end of line, the first of `rows` its heading; '' without rows."""
    if not rows:
        return ''
    head, *body = (f'| {" | ".join(map(plain, row))} |' for row in rows)
    return '\n'.join([head, '|' + '---|' * len(rows[0]), *body])
