"""Writes docs/configuration.md: a table of the fields of every section, from their rows.

python scripts/list_fields.py
"""

import pathlib

from absl import flags

from pix2pix_jax.config_fields import ROWS, SECTIONS, Field
from pix2pix_jax.errors import run_command

ROOT = pathlib.Path(__file__).resolve().parents[1]
HEADER = """# The fields of a config

Made by `python scripts/list_fields.py` from the rows of `pix2pix_jax/config_fields.py`. The
defaults are the paper's setting (Isola et al., 2017). A file in `configs/` sets what its experiment
changes; a flag comes last, as `--config.generator.dropout=0`. A number in the column "source" is a
section of the paper. Fields marked **reference** have other values to reproduce another
implementation (`configs/reference/`), and seldom need one elsewhere.
"""
COLUMNS = ('field', 'default', 'allowed', 'meaning', 'unit', 'source')


def main(_: flags.FlagValues) -> None:
    """Writes the page."""
    (ROOT / 'docs' / 'configuration.md').write_text(page())


def page() -> str:
    """Returns the page."""
    return HEADER + ''.join(section(name) for name in SECTIONS)


def section(name: str) -> str:
    """Returns a section's heading, sentence and table."""
    rows = [row for row in ROWS if row.name.rpartition('.')[0] == name]
    lines = [COLUMNS, ['---'] * len(COLUMNS), *map(cells, rows)]
    table = ''.join(f'| {" | ".join(line)} |\n' for line in lines)
    return f'\n## {name or "The run"}\n\n{SECTIONS[name]}\n\n{table}'


def cells(field: Field) -> list[str]:
    """Returns the cells of a field's line."""
    meaning = field.meaning + (' (**reference**)' if field.reference else '')
    texts = [f'`{field.name}`', f'`{field.default!r}`', field.allowed.text, meaning]
    return [text.replace('|', r'\|') for text in (*texts, field.unit, field.source)]


if __name__ == '__main__':
    run_command(main, flags.FlagValues)
