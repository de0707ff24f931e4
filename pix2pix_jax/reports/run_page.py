"""The HTML pages of a run: one file each, opened from disk, nothing fetched, no scripts."""

import contextlib
import html
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
from etils import epath

from pix2pix_jax.config import Config, flatten
from pix2pix_jax.data import tasks
from pix2pix_jax.errors import DataError
from pix2pix_jax.reports import curves
from pix2pix_jax.storage import atomic
from pix2pix_jax.workdir import data_json, metric_writer, metrics_json

SAMPLES = 12  # shown on a run's page, evenly spaced over the run
EXTREMES = 4  # best and worst images on top of an evaluation's page
Heading = Callable[[str], str]  # what a metric is called, by its name in metrics.json
STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1c2128; background: #f6f7f9; margin: 0 auto;
  max-width: 1100px; padding: 1rem; }
h1 { font-size: 1.5rem; margin: .5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .6rem; }
.muted { color: #59636e; font-size: .9rem; }
.grid { display: grid; gap: .8rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, var(--minimum)), 1fr)); }
.card { background: #fff; border: 1px solid #d9dee4; border-radius: 8px; padding: .7rem; margin: 0;
  min-width: 0; }
.card svg, .card img { display: block; width: 100%; height: auto; }
.row { display: grid; gap: 4px; grid-template-columns: repeat(var(--columns), 1fr); }
figcaption { font-size: .85rem; color: #59636e; margin-bottom: .4rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; background: #fff; font-size: .9rem; }
th, td { text-align: left; padding: .25rem .8rem; border: 1px solid #d9dee4; }
pre { background: #fff; border: 1px solid #d9dee4; border-radius: 8px; padding: .7rem; margin: 0;
  white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem; }
details > summary { cursor: pointer; margin: 2rem 0 .6rem; font-size: 1.1rem; font-weight: bold; }
"""


def write_run_page(
    workdir: epath.PathLike,
    config: Config,
    rows: Sequence[Mapping[str, Any]],
    command: str,
    heading: Heading,
    title: str = '',
) -> None:
    """Writes `workdir`/index.html: curves, sample grids, test metrics, command, config, versions.

    What has no data yet is left out.

    Args:
      workdir: the folder of the run.
      config: of the run.
      rows: those of `metrics.jsonl`.
      command: the one that resumes the run; '': none is shown.
      heading: says what a metric is called.
      title: by default the folder's name.
    """
    workdir = epath.Path(workdir)
    title = title or workdir.name
    step = rows[-1]['step'] if rows else 0
    lab = tasks.task(config.dataset.task).lab
    samples = _spread(metric_writer.sample_paths(workdir), SAMPLES)[::-1]
    body = [
        f'<h1>{escape(title)}</h1><p class="muted">step {step:,}</p>',
        section('Test', table(_test_metrics(workdir, rows, heading))),
        section('Evaluations', _evaluation_links(workdir)),
        section(
            'Curves',
            grid(f'<div class="card">{svg}</div>' for svg in curves.all_curves(rows, heading, lab)),
        ),
        section('Samples', grid(_sample_card(step, path.name) for step, path in samples)),
        section('Command', f'<pre>{escape(command)}</pre>' if command else ''),
        details('Pairs left out', table(_left_out(workdir))),
        details('Config', table([('field', 'value'), *sorted(flatten(config).items())])),
        details('Run', _run_facts(workdir)),
    ]
    atomic.write_text(workdir / 'index.html', document(title, body))


def write_evaluation_page(
    folder: epath.PathLike,
    result: Mapping[str, Any],
    names: Sequence[str],
    per_image: Mapping[str, Sequence[float]],
    kinds: Sequence[str],
    heading: Heading,
) -> None:
    """Writes `folder`/index.html: the metrics, the best and worst images by L1, then all.

    Args:
      folder: that of the evaluation.
      result: what metrics.json holds.
      names: one for each image, which is shown as `images/NAME_KIND.png`.
      per_image: the values of each metric, in the order of `names`; 'l1' is among them.
      kinds: what is shown side by side, as ('input', 'output', 'target').
      heading: says what a metric is called.
    """
    order = np.argsort(per_image['l1'], kind='stable')
    order = order[: len(order) - np.isnan(per_image['l1']).sum()]  # those without come last

    def cards(indices: Iterable[int]) -> str:
        return grid((_pair_card(i, names, per_image, kinds) for i in indices), minimum=480)

    title = f'Evaluation: {result["split"]}' if result['split'] else 'Evaluation'
    facts = {key: result[key] for key in ('step', 'checkpoint', 'images')}
    known = [f'{key} {value}' for key, value in facts.items() if value is not None]
    known += [f'{result["steps"]} steps of the flow'] if 'steps' in result else []
    known += [] if result.get('ema', True) else ['last weights']
    about = ', '.join(known) + ': ' + ' | '.join(kinds)
    if 'mae' in result['metrics']:
        about += (
            '; where a target fills less than a quarter of its range, or its channels are shown'
        )
        about += ' apart, its values are stretched from black to white, and those of its output by'
        about += ' as much'
    body = [
        f'<h1>{escape(title)}</h1><p class="muted">{escape(about)}</p>',
        section('Metrics', table(metrics_table(result['metrics'], heading))),
    ]
    if len(names) > 2 * EXTREMES:
        body.append(section('Best by L1', cards(order[:EXTREMES])))
        body.append(section('Worst by L1', cards(order[: -EXTREMES - 1 : -1])))
    body.append(section('All images', cards(range(len(names)))))
    atomic.write_text(epath.Path(folder) / 'index.html', document(title, body))


def metrics_table(
    metrics: Mapping[str, Mapping[str, Any]], heading: Heading
) -> list[tuple[str, ...]]:
    """Returns the rows (name, metric, mean, 95% interval) of a summary as text, their head first.

    The name is that in metrics.json and per_image.csv.
    """
    table: list[tuple[str, ...]] = [('name', 'metric', 'mean', '95% interval')]
    for name, summary in metrics.items():
        if 'mean' in summary:
            low, high = (format_number(v) for v in summary['ci95'])
            row = (format_number(summary['mean']), f'{low} to {high}')
            if summary.get('left_out'):
                out = f'{summary["left_out"]} images left out: {summary["reason"]}'
                row = (row[0], f'{row[1]}; {out}')
        else:
            row = ('none', summary['reason'])
        table.append((name, heading(name), *row))
    return table


def format_number(value: float | None) -> str:
    """Returns `value` with four significant digits, 'none' for what is not finite."""
    return 'none' if value is None or not math.isfinite(value) else f'{value:#.4g}'


# ---------------------------------------------------------------- pieces of HTML


def document(title: str, body: Iterable[str]) -> str:
    """Returns a whole page with the style of all; empty pieces of `body` are left out."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n'
        + '\n'.join(filter(None, body))
        + '\n</body></html>\n'
    )


def section(heading: str, content: str) -> str:
    """Returns `content` under a heading; '' without content."""
    return f'<h2>{escape(heading)}</h2>\n{content}' if content else ''


def details(heading: str, content: str) -> str:
    """Returns `content` to be unfolded; '' without content."""
    heading = escape(heading)
    return f'<details><summary>{heading}</summary>\n{content}</details>' if content else ''


def grid(cards: Iterable[str], minimum: int = 320) -> str:
    """Returns cards in as many columns as fit, each `minimum` pixels wide or more; '' without."""
    content = '\n'.join(cards)
    return f'<div class="grid" style="--minimum:{minimum}px">\n{content}\n</div>' if content else ''


def table(rows: Sequence[Sequence[Any]]) -> str:
    """Returns a table, the first of `rows` its heading; cells are escaped, '' without rows."""
    if not rows:
        return ''
    lines = [[escape(cell) for cell in row] for row in rows]
    head = ''.join(f'<th>{cell}</th>' for cell in lines[0])
    body = '\n'.join(
        '<tr>' + ''.join(f'<td>{cell}</td>' for cell in line) + '</tr>' for line in lines[1:]
    )
    return f'<div class="scroll"><table><tr>{head}</tr>\n{body}</table></div>'


def _sample_card(step: int, name: str) -> str:
    source = f'samples/{escape(name)}'
    return (
        f'<figure class="card"><figcaption>step {step:,}</figcaption>'
        f'<a href="{source}"><img src="{source}" alt="samples at step {step}" loading="lazy"></a>'
        '</figure>'
    )


def _pair_card(
    i: int, names: Sequence[str], per_image: Mapping[str, Sequence[float]], kinds: Sequence[str]
) -> str:
    name = escape(names[i])
    values = ', '.join(f'{key} {format_number(v[i])}' for key, v in per_image.items())
    images = ''.join(
        f'<img src="images/{escape(quote(names[i]))}_{kind}.png" title="{kind}" '
        f'alt="{name}, {kind}" loading="lazy">'
        for kind in kinds
    )
    return (
        f'<figure class="card"><figcaption><b>{name}</b> {escape(values)}</figcaption>'
        f'<div class="row" style="--columns:{len(kinds)}">{images}</div></figure>'
    )


# ---------------------------------------------------------------- facts about a run


def _test_metrics(
    workdir: epath.Path, rows: Sequence[Mapping[str, Any]], heading: Heading
) -> list[tuple[str, ...]]:
    """The last test row; with intervals where the evaluation of that step is there."""
    row = next((r for r in reversed(rows) if any(k.startswith('test/') for k in r)), None)
    if row is None:
        return []
    result = {}
    with contextlib.suppress(DataError):  # a damaged report: the row has the means
        result = metrics_json.read_result(metrics_json.result_folder(workdir, 'test'))
    if result.get('step') == row['step']:
        return metrics_table(result['metrics'], heading)
    names = [key.removeprefix('test/') for key in row if key.startswith('test/')]
    values = [(name, heading(name), format_number(row[f'test/{name}'])) for name in names]
    return [('name', 'metric', 'mean'), *values]


def _evaluation_links(workdir: epath.Path) -> str:
    found = sorted((workdir / 'evaluation').glob('*/index.html'))
    links = [(quote(page.parent.name), escape(page.parent.name)) for page in found]
    return ', '.join(f'<a href="evaluation/{url}/index.html">{name}</a>' for url, name in links)


def _left_out(workdir: epath.Path) -> list[tuple[str, ...]]:
    rows = data_json.skipped_pairs(workdir)
    return [('split', 'pair', 'why'), *rows] if rows else []


def _run_facts(workdir: epath.Path) -> str:
    path = workdir / 'run.json'
    return f'<pre>{escape(path.read_text())}</pre>' if path.exists() else ''


def _spread(items: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of `items`, evenly spaced, with the first and the last."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def escape(text: Any) -> str:
    """Returns `text` as it can stand in HTML."""
    return html.escape(str(text))
