"""What scripts/ablations.py reports: a table (Markdown, CSV), plots, and a grid of samples."""

import collections
import csv
import io
import math
import pathlib
import statistics
from collections.abc import Mapping

from ablation import costs, plots
from ablation.plots import Values
from ablation.results import Results
from ablation.scores import CONFIDENCE, Difference, Seeds, difference, verdict
from ablation.tables import Table
from pix2pix_jax.errors import UserError
from pix2pix_jax.evaluation.metric_titles import heading, sign, title
from pix2pix_jax.storage import atomic

TRUTH = 'ground truth'
SAME = 1e-3  # in parts: within it two values of the ground truth are one, of two machines
MARK = '<!-- scripts/ablations.py -->'
Folders = Mapping[str, pathlib.Path | None]  # of one evaluation of a row, where it is there


def check_report(output: pathlib.Path, name: str) -> None:
    """Raises UserError where a report would replace files that are no earlier one."""
    text = output / f'{name}.md'
    mine = text.exists() and text.read_text(errors='replace').endswith(f'{MARK}\n')
    for ending in ('.md', '.csv', '.png', '_steps.png', '_sheet.png'):
        if (output / f'{name}{ending}').exists() and not mine:
            raise UserError(
                f'--output={output} holds a file {name}{ending} that is not of this command: '
                'give another folder or --overwrite'
            )


def write_report(
    output: pathlib.Path,
    name: str,
    table: Table,
    results: Results,
    folders: Folders,
    command: str,
) -> str:
    """Writes OUTPUT/NAME.{md,csv,png}, NAME_steps.png, NAME_sheet.png; returns the table as text.

    Args:
      output: the folder.
      name: of the table, which the files have.
      table: its rows and metrics.
      results: by row and seed.
      folders: those with the images of a run of each row; where there are none, the grid lacks it.
      command: the one that made them, for the page.
    """
    values, reasons = read_values(results)
    metrics = [m for m in table.metrics if any(row.get(m) for row in values.values())]
    values = {
        row: found for row, found in values.items() if row in results or found.keys() & set(metrics)
    }
    trained = {row: found for row, found in values.items() if row in results}
    text = markdown(table, metrics, values, relative_times(results))
    lacking = [metric for metric in table.metrics if metric in reasons]
    for reason in dict.fromkeys(reasons[metric] for metric in lacking):
        names = [title(metric) for metric in lacking if reasons[metric] == reason]
        text += f'\n{", ".join(names)}: {reason}\n'
    text += f'\n{sentence(metrics, trained, values.get(TRUTH, {}))}\n'
    machines = {one.machine for of_seeds in results.values() for one in of_seeds.values()}
    note = table.on_cpu if any(one.startswith('cpu') for one in machines) else ''
    about = f'{table.title}. {explanation(results)} {note}'.rstrip()
    about += f'\n\n```\n{command}\n```\n'
    atomic.write_text(output / f'{name}.md', f'{about}\n{text}\n{MARK}\n')
    atomic.write_text(output / f'{name}.csv', as_csv([*metrics, *costs.TITLES], values))
    if metrics:
        atomic.write_bytes(output / f'{name}.png', plots.plot(table.title, metrics, values))
    over_steps = {metric: plots.curves_of(results, metric) for metric in metrics}
    if any(over_steps.values()):
        image = plots.plot_steps(f'{table.title} over the steps', over_steps)
        atomic.write_bytes(output / f'{name}_steps.png', image)
    there = {row: folder for row, folder in folders.items() if folder}
    if there:
        grid = atomic.encode_png(plots.sample_grid(there))
        atomic.write_bytes(output / f'{name}_sheet.png', grid)
    return f'{text}\n{output / name}.md'


def read_values(results: Results) -> tuple[Values, dict[str, str]]:
    """Returns the measured values and costs, and the reason for each metric that is missing.

    The last rows are those of the real photos. The rows of one size share a ground truth. Costs are
    those of one machine.
    """
    values, truths, reasons = {}, {}, {}
    timed = timed_machine(results)
    for row, of_seeds in results.items():
        for seed, result in of_seeds.items():
            for metric, summary in result.metrics.items():
                if 'mean' not in summary:
                    reasons[metric] = summary['reason']
                    continue
                real = metric.startswith('real_')
                here = (truths if real else values).setdefault(row, {})
                here.setdefault(metric.removeprefix('real_'), {})[seed] = summary['mean']
            for cost, number in result.costs.items() if result.machine == timed else ():
                values.setdefault(row, {}).setdefault(cost, {})[seed] = number
    alike = {}
    for row, truth in truths.items():  # the same of every seed
        first = {metric: {0: next(iter(found.values()))} for metric, found in truth.items()}
        if not any(same_truth(first, other) for other in alike.values()):
            alike[f'{TRUTH}, {row}' if alike else TRUTH] = first
    return values | alike, reasons


def same_truth(a: Mapping[str, Seeds], b: Mapping[str, Seeds]) -> bool:
    """Whether two rows' metrics of the real photos are of the same ones: machines round otherwise.

    At another size or crop they differ in the second digit.
    """
    return a.keys() == b.keys() and all(
        math.isclose(a[metric][0], b[metric][0], rel_tol=SAME) for metric in a
    )


def timed_machine(results: Results) -> str:
    """Returns the machine whose times the table shows: the one that trained the most runs."""
    runs = (one.machine for of_seeds in results.values() for one in of_seeds.values())
    return collections.Counter(runs).most_common(1)[0][0]


# ---------------------------------------------------------------- in words


def explanation(results: Results) -> str:
    """Returns what the numbers of the table are."""
    seeds, first = len(set().union(*results.values())), next(iter(results))
    counts = {result.states for of_seeds in results.values() for result in of_seeds.values()}
    states = ' to '.join(map(str, sorted({min(counts), max(counts)})))
    text = (
        f'A run counts as its mean over {states} states of the last fifth of its steps. The table '
        f'has mean ± standard deviation over seeds, of which there are {seeds}. Times and memory '
        f'are those of the runs on this machine: {timed_machine(results)}.'
    )
    if len(results) < 2 or seeds < 2:
        return text
    return text + (
        f' In parentheses: the difference to the row "{first}" of the same seed, its mean over the '
        f"seeds, and the {CONFIDENCE:.0%} interval of that mean (Student's t). Where the interval "
        'includes 0, the seeds do not tell the two rows apart; where it does not, the difference '
        'is bold. Of 20 such intervals of rows that are level about one excludes 0 by chance.'
    )


def sentence(metrics: list[str], values: Values, truth: Mapping[str, Mapping[int, float]]) -> str:
    """Returns the sentence that says which row these data prefer, as far as the seeds tell.

    An error that the targets have, too, is not less than theirs: noise has less of a checkerboard.
    """
    if len(values) < 2:
        return 'One row alone: there is nothing to compare.'
    seeds = set().union(*(found for row in values.values() for found in row.values()))
    if len(seeds) < 2:
        return 'One seed alone tells no row from another: give --seeds=5.'

    def bounded(metric: str, found: Seeds) -> Seeds:
        if metric not in truth or sign(metric) > 0:
            return found
        return {seed: max(value, *truth[metric].values()) for seed, value in found.items()}

    rows = {
        row: {metric: bounded(metric, found) for metric, found in of_row.items()}
        for row, of_row in values.items()
    }
    return verdict(metrics, rows, title)


def relative_times(results: Results) -> dict[str, float]:
    """Returns the training time of each row over that of the first, on the same machine.

    It is the median over seeds of the ratio: what else the machine did is in some of them. A row
    without a seed of both on one machine is left out.
    """
    base = next(iter(results.values()))
    times = {}
    for row, of_seeds in results.items():
        ratios = [
            one.costs['training_min'] / base[seed].costs['training_min']
            for seed, one in of_seeds.items()
            if seed in base and base[seed].machine == one.machine
            if 'training_min' in one.costs and 'training_min' in base[seed].costs
        ]
        if ratios:
            times[row] = statistics.median(ratios)
    return times


# ---------------------------------------------------------------- as a table


def spread(found: Seeds) -> str:
    """Returns 'mean ± standard deviation' of one value a seed, of which one alone has none."""
    mean = statistics.fmean(found.values())
    text = f'{mean:.{_decimals(mean)}f}'
    if len(found) < 2:
        return text
    return f'{text} ± {statistics.stdev(found.values()):.{_decimals(mean)}f}'


def _decimals(value: float) -> int:
    return 3 if abs(value) < 1 else 2 if abs(value) < 100 else 1


def beside(found: Difference | None, value: float) -> str:
    """Returns a difference with its interval, bold where that excludes 0; '' of a single seed."""
    if found is None or found.low != found.low:
        return ''
    decimals = _decimals(value)
    mean = f'{found.mean:+.{decimals}f}'
    interval = f'{found.low:+.{decimals}f} to {found.high:+.{decimals}f}'
    return f' ({f"**{mean}**" if found.is_told() else mean}, {interval})'


def markdown(table: Table, metrics: list[str], values: Values, times: Mapping[str, float]) -> str:
    """Returns the table, the paper's numbers in the last column.

    Args:
      table: its rows and the paper's numbers.
      metrics: the columns.
      values: of each row, the first one's being what others are compared with.
      times: of training, relative to the first row's.
    """
    shown = [name for name in costs.TITLES if any(name in found for found in values.values())]
    head = ['', *map(heading, metrics), *(costs.TITLES[name] for name in shown)]
    head += ['training time / first row'] if times else []
    if table.paper:
        names = ' / '.join(map(title, table.paper_metrics))
        head.append(f"paper's {names} ({table.source})")
    lines = [head, ['---'] * len(head)]
    first = next(iter(values), '')
    seeds = max((len(v) for found in values.values() for v in found.values()), default=0)
    for row, found in values.items():
        count = max(map(len, found.values()), default=0)
        fewer = '' if count == seeds or row.startswith(TRUTH) else f' ({count} of {seeds} seeds)'
        cells = []
        for metric in metrics:
            cells.append(spread(found[metric]) if metric in found else '')
            if row != first and metric in found and not row.startswith(TRUTH):
                paired = difference(found[metric], values[first].get(metric, {}))
                cells[-1] += beside(paired, statistics.fmean(found[metric].values()))
        cells += [f'{statistics.fmean(found[n].values()):.3g}' if n in found else '' for n in shown]
        cells += [f'{times[row]:.2f}' if row in times else ''] if times else []
        if table.paper:
            numbers = table.paper.get(row)
            cells.append(' / '.join(f'{n:.2f}' for n in numbers) if numbers else '')
        lines.append([row + fewer, *cells])
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines) + '\n'


def as_csv(metrics: list[str], values: Values) -> str:
    """Returns a line for every row, metric and seed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['row', 'metric', 'seed', 'value'])
    for row, found in values.items():
        for metric in metrics:
            for seed, value in found.get(metric, {}).items():
                writer.writerow([row, metric, seed, repr(value)])
    return text.getvalue()
