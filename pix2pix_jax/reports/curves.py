"""A run's metrics as curves: SVG text for its page."""

import io
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

# (title, {metric: label}), of metrics that only training has.
OF_LOSSES = (
    ('Adversarial losses', {'train/d_loss': 'discriminator', 'train/g_gan': 'generator'}),
    ('Squared error of the velocity', {'train/flow': ''}),
    ('Cross-entropy of the classes', {'train/g_class': ''}),
    ('LPIPS as a loss', {'train/g_lpips': ''}),
    ('Distance of features', {'train/g_features': ''}),
    ('Discriminator on real and generated', {'train/d_real': 'real', 'train/d_fake': 'generated'}),
    ('Gradient penalty', {'train/d_gp': ''}),
    ('R1', {'train/d_r1': ''}),
)
L1_OF_LAB = ('L1 of a and b in training', {'train/g_l1': ''})
OF_RATES = (('Learning rate', {'train/learning_rate': ''}),)
COLORS = ('#1f6feb', '#d1495b', '#2a9d3f', '#8250df', '#bf8700', '#0a8a8a', '#6e7781', '#e16f24')
Rows = Sequence[Mapping[str, Any]]  # of metrics.jsonl
POINTS = 400  # of one curve, at most


def all_curves(rows: Rows, heading: Callable[[str], str], lab: bool = False) -> list[str]:
    """Returns an SVG for each of `panels` that `rows`, those of metrics.jsonl, hold values for."""
    drawn = (curve(rows, title, labels) for title, labels in panels(rows, heading, lab))
    return list(filter(None, drawn))


def panels(
    rows: Rows, heading: Callable[[str], str], lab: bool = False
) -> list[tuple[str, dict[str, str]]]:
    """Returns (title, {metric: label}): losses, the metrics of val, the learning rate.

    Args:
      rows: those of metrics.jsonl.
      heading: says what a metric is called.
      lab: whether outputs are a and b of Lab: the L1 of training is of these, that of val of RGB,
        and so they are drawn apart.
    """
    names = dict.fromkeys(['l1', *(k[5:] for row in rows for k in row if k.startswith('eval/'))])
    train = {} if lab else {'l1': {'train/g_l1': 'train'}}
    of_metrics = [(heading(name), train.get(name, {}) | {f'eval/{name}': 'val'}) for name in names]
    return [*OF_LOSSES, *[L1_OF_LAB] * lab, *of_metrics, *OF_RATES]


def curve(rows: Rows, title: str, labels: Mapping[str, str]) -> str:
    """Returns an SVG of the metrics in `labels` over the steps; '' where there are no values.

    Long noisy curves are drawn light, with their moving average on top.
    """
    series = {name: _series(rows, name) for name in labels}
    drawn = {labels[n]: (p, _is_noisy(n)) for n, p in series.items() if len(p)}
    return _draw_all(drawn, title, legend=len(labels) > 1)


def comparison(runs: Mapping[str, Rows], metric: str, title: str) -> str:
    """Returns an SVG of one metric of several runs, by their names; '' where none has values."""
    series = {name: _series(rows, metric) for name, rows in runs.items()}
    drawn = {n: (p, _is_noisy(metric)) for n, p in series.items() if len(p)}
    return _draw_all(drawn, title, legend=True)


def _draw_all(series: Mapping[str, tuple[np.ndarray, bool]], title: str, legend: bool) -> str:
    """Draws the points (N,2) of each label, which may be noisy; '' where there are none."""
    if not series:
        return ''
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    # Text stays text: small files, sharp on every screen.
    with matplotlib.rc_context({'svg.fonttype': 'none', 'font.family': 'sans-serif'}):
        figure = Figure(figsize=(4.6, 2.8))
        axes = figure.add_axes((0.16, 0.16, 0.82, 0.74))
        for (label, (points, noisy)), color in zip(series.items(), itertools.cycle(COLORS)):
            _draw(axes, points, noisy, color=color, label=label)
        axes.set_title(title, fontsize=11)
        axes.tick_params(labelsize=8)
        axes.locator_params(nbins=6)
        axes.xaxis.set_major_formatter(EngFormatter(sep=''))
        axes.set_xlabel('step', fontsize=8)
        axes.grid(color='#e5e8ec', linewidth=0.6)
        axes.spines[['top', 'right']].set_visible(False)
        if legend:
            axes.legend(fontsize=8, frameon=False)
        text = io.StringIO()
        figure.savefig(text, format='svg', metadata={'Date': None})
    return re.sub(r'^.*?(?=<svg)', '', text.getvalue(), flags=re.DOTALL)


def smooth(values: np.ndarray, span: float) -> np.ndarray:
    """Returns the exponential moving average of `values` (N,) over about `span` of them."""
    keep = 1 - 2 / (span + 1)
    total, weight, result = 0.0, 0.0, np.empty(len(values))
    for i, value in enumerate(values):
        total, weight = keep * total + value, keep * weight + 1
        result[i] = total / weight
    return result


def _is_noisy(metric: str) -> bool:
    """Whether a value is of one batch: a loss."""
    return metric.startswith('train/') and metric != 'train/learning_rate'


def _series(rows: Rows, name: str) -> np.ndarray:
    """The (step, value) pairs (N,2) of one metric; those that were not finite are left out."""
    points = [(row['step'], row[name]) for row in rows if row.get(name) is not None]
    return np.array(points, float).reshape(-1, 2)


def _draw(axes: Any, points: np.ndarray, noisy: bool, color: str, label: str) -> None:
    steps, values = points.T
    pick = np.unique(np.linspace(0, len(steps) - 1, POINTS).astype(int))
    if noisy and len(steps) >= 40:
        axes.plot(steps[pick], values[pick], color=color, alpha=0.25, linewidth=0.8)
        values = smooth(values, span=len(values) / 20)
    marker = 'o' if len(steps) < 20 else ''
    style = {'color': color, 'linewidth': 1.6, 'marker': marker, 'markersize': 3}
    axes.plot(steps[pick], values[pick], label=label, **style)
