"""The report as one page, which opens from disk."""

import base64
import pathlib
from collections.abc import Mapping
from typing import Any

from gpu.archives import that_fit
from gpu.parts import part_of
from pix2pix_jax.evaluation.metric_titles import heading, title
from pix2pix_jax.reports import curves, run_page
from pix2pix_jax.reports.image_grid import evenly_spaced

GRIDS = 4  # of a run, shown
MAX_BYTES = 16 * 2**20  # of the page
TEXT_BYTES = 2**18  # of it, for what is neither a result nor an image grid
STYLE = '<style>.part { margin-bottom: .8rem; }</style>'


def page(report: Mapping[str, Any], runs: Mapping[str, pathlib.Path]) -> str:
    """Returns the page of `results.json`; `runs` are the folders of runs, by the part of each."""
    about, parts = report['about'], report['parts']
    card = parts.get('card', {}).get('results', {}).get('device') or about['device']
    rows = [('part', 'state', 's', 'of at most', 'reason')]
    rows += [
        (name, part['state'], f'{part["seconds"]:.0f}', f'{part["limit_s"]:.0f}', part['reason'])
        for name, part in parts.items()
    ]
    words = 'a rehearsal with tiny networks' if about['tiny'] else 'the networks of the paper'
    body = [
        f'<h1>pix2pix on {run_page.escape(card)}</h1>',
        f'<p class="muted">{run_page.escape(words)}; at most {about["minutes"]:g} minutes</p>',
        run_page.section('Parts', run_page.table(rows)),
    ]
    contents = {name: _content(part['results']) for name, part in parts.items()}
    variables = about.get('environment', {})
    body += [
        f'<p class="muted">{run_page.escape(name)}={run_page.escape(value)}</p>'
        for name, value in variables.items()
    ]
    if 'programs' in about:
        body.append(f'<p class="muted">programs: {run_page.escape(about["programs"])}</p>')
    left_out = list(about.get('left_out', ()))
    room = MAX_BYTES - TEXT_BYTES - sum(map(len, contents.values()))
    for i, name in enumerate(runs):  # each has its part of the room that is left
        figures = _grids(runs[name])
        shown = that_fit(figures, len, room // (len(runs) - i))
        room -= sum(map(len, shown))
        contents[name] += run_page.grid(shown, 220)
        if shown != figures:
            count = len(figures) - len(shown)
            left_out.append(f'{count} sample grids of {name} did not fit this page')
    body += [run_page.section(part_of(name).title, contents[name]) for name in parts]
    body += [f'<p class="muted">{run_page.escape(line)}</p>' for line in left_out]
    return run_page.document(f'pix2pix on {card}', [STYLE, *body])


def _content(results: Mapping[str, Any]) -> str:
    """Returns what a part found: a table of its values, and one of each group of rows."""
    single = {name: value for name, value in results.items() if not isinstance(value, dict | list)}
    pieces = [_table('', single)] if single else []
    for name, value in results.items():
        if name == 'rows':
            drawn = curves.all_curves(value, heading)
            pieces.append(run_page.grid(f'<div class="card">{svg}</div>' for svg in drawn))
        elif isinstance(value, list) and value:
            pieces.append(run_page.table([(name,), *((_text(item),) for item in value)]))
        elif isinstance(value, dict) and value:
            pieces.append(_table(name, value))
    return '\n'.join(f'<div class="part">{piece}</div>' for piece in pieces if piece)


def _table(name: str, values: Mapping[str, Any]) -> str:
    """Returns a table of a row for each name: of its values, or of its one value."""
    groups = {k: v if isinstance(v, dict) else {'value': v} for k, v in values.items()}
    columns = list(dict.fromkeys(column for group in groups.values() for column in group))
    rows = [
        [_name(key), *(_text(group.get(c, '')) for c in columns)] for key, group in groups.items()
    ]
    return run_page.table([[name, *map(_name, columns)], *rows])


def _name(key: str) -> str:
    """Returns what a value is called: a metric by its title."""
    return title(key).replace('_', ' ')


def _text(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f'{value:,}'
    if isinstance(value, float):
        return run_page.format_number(value)
    if isinstance(value, dict):
        return ', '.join(f'{k} {_text(v)}' for k, v in value.items())
    return str(value)


def _grids(run: pathlib.Path) -> list[str]:
    """Returns figures of some of a run's sample grids, evenly spaced, inside the page."""
    paths = sorted(run.glob('samples/*.png'))
    chosen = [paths[i] for i in evenly_spaced(len(paths), GRIDS)] if paths else []
    return [
        f'<figure class="card"><figcaption>{path.stem}</figcaption>'
        f'<img alt="" src="data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}">'
        '</figure>'
        for path in chosen
    ]
