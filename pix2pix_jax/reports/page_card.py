"""What a published model says about itself, as HTML: step, metrics, data, licence, config.

Strangers read it: nothing in it names a place on the machine that trained the model.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from etils import epath

from pix2pix_jax import flow
from pix2pix_jax.config import PLACES, Config, flatten
from pix2pix_jax.errors import UserError
from pix2pix_jax.reports import licences, run_page
from pix2pix_jax.reports.run_page import Heading
from pix2pix_jax.version import version
from pix2pix_jax.workdir import config_json, data_json, metric_writer, metrics_json
from pix2pix_jax.workdir.metrics_json import Model

PATHS = ('/', '\\', '~')  # in the text of a field: it may be one
NAMES = {'gan': 'pix2pix', 'flow': 'rectified flow'}  # of models, by config.method
UNKNOWN = 'not recorded: whoever publishes this page says them'


class MetricsTable(NamedTuple):
    """What is known of how good a model is."""

    split: str  # 'test' or 'val'
    rows: Sequence[tuple[str, ...]]  # of a table; none where it was not measured


def write(
    workdir: epath.PathLike, config: Config, step: int, metrics: MetricsTable, remark: str
) -> str:
    """Returns the card of a run's model, as HTML.

    Args:
      workdir: the folder of the run.
      config: of the run.
      step: of the model's checkpoint.
      metrics: of the model.
      remark: what is to be known of them, or why there are none; '': nothing.
    """
    d, g = config.dataset, config.generator
    facts: list[tuple[str, str]] = [
        ('about', 'this model'),
        ('model', f'{NAMES[config.method]}, {g.name} of width {g.width}, step {step:,}'),
        ('made with', f'pix2pix_jax {version()}'),
        ('data', f'{d.name}, {d.direction}{_counts(workdir)}'),
        ('data and licence', licences.of_data(config) or UNKNOWN),
        *([('metrics', remark)] if remark else []),
    ]
    title = f'Metrics ({metrics.split} split, step {step:,})'
    parts = [
        run_page.table(facts),
        run_page.section(title, run_page.table(metrics.rows)),
        run_page.details('Config', run_page.table([('field', 'value'), *public_fields(config)])),
    ]
    return '\n'.join(filter(None, parts))


def public_fields(config: Config) -> list[tuple[str, Any]]:
    """Returns the fields of a config by name, without those that may say a place on a machine."""
    fields = sorted(flatten(config).items())
    return [(k, v) for k, v in fields if k not in PLACES and not _may_be_a_path(v)]


def _may_be_a_path(value: Any) -> bool:
    return isinstance(value, str) and any(mark in value for mark in PATHS)


def metrics_of(workdir: epath.PathLike, model: Model, heading: Heading) -> MetricsTable:
    """Returns a model's metrics, `heading` saying what each is called.

    They are those of `evaluate`, else those that training logged of the weights that it measures.
    """
    result = {}
    try:
        result = metrics_json.of_model(workdir, 'test', model)
    except UserError as error:  # damaged: the page has none
        print(error, flush=True)
    if result:
        return MetricsTable('test', run_page.metrics_table(result['metrics'], heading))
    rows = [row for row in metric_writer.read_metrics(workdir) if row.get('step') == model.step]
    if not rows or not model.ema or model.norm:  # training measures no others
        return MetricsTable('test', [])
    own_steps = config_json.load_config(workdir).test.steps
    for split, start, steps in (
        ('test', 'test/', own_steps),
        ('val', 'eval/', flow.STEPS_IN_TRAINING),
    ):
        if model.steps not in (0, steps):  # of a flow
            continue
        found = {
            key.removeprefix(start): value
            for row in rows
            for key, value in row.items()
            if key.startswith(start)
        }
        if found:
            lines = [(k, heading(k), run_page.format_number(v)) for k, v in found.items()]
            return MetricsTable(split, [('name', 'metric', 'mean'), *lines])
    return MetricsTable('test', [])


def _counts(workdir: epath.PathLike) -> str:
    """How many pairs each split has, as ': 10 train, 2 test'; '' where it is not known."""
    try:
        splits = data_json.load_known(workdir).splits
    except UserError:
        return ''
    counts = ', '.join(f'{len(pairs.used):,} {split}' for split, pairs in splits.items())
    return f': {counts}' if counts else ''
