"""What the values of the metrics are called, for people, and which way is better."""

from pix2pix_jax.config import Config
from pix2pix_jax.errors import UserError
from pix2pix_jax.evaluation.metrics import (
    HIGHER,
    LOWER,
    METRICS,
    Metric,
    Value,
    always_measured,
)

REAL = 'real_'  # begins the name of a value that is of the targets: the best to be reached


def title(name: str) -> str:
    """Returns the title of the value `name` of metrics.json, with its unit.

    A value without an entry, as another version may have written it, has its name as title.
    """
    found = _value(name.removeprefix(REAL))
    if found is None:
        return name
    words = f'{found.title} ({found.unit})' if found.unit else found.title
    return f'{words}, targets' if name.startswith(REAL) else words


def heading(name: str) -> str:
    """Returns `title` and, for pages, an arrow: up where higher is better, down where lower is."""
    found = _value(name)
    return f'{title(name)} {found.better}' if found else title(name)


def sign(name: str) -> int:
    """Returns 1 where a higher `name` is better, -1 where a lower one is, 0 where neither is."""
    found = _value(name)
    return {HIGHER: 1, LOWER: -1}[found.better] if found else 0


def check_best(config: Config, units: bool) -> None:
    """Raises UserError where `checkpoint.best` is nothing that training measures on val.

    Args:
      config: of the run.
      units: whether the values of its targets are more than shades.
    """
    allowed = [f'eval/{name}' for name in always_measured(config, units) if sign(name)]
    if config.checkpoint.best not in allowed:
        raise UserError(
            f'config.checkpoint.best={config.checkpoint.best!r}: allowed are {" | ".join(allowed)}'
        )


def about() -> str:
    """Returns the text of --help about metrics: which there are, and what each needs."""
    fixed = ', '.join(
        value.title for one in METRICS.values() if one.always for value in one.values.values()
    )
    names = [name for name, one in METRICS.items() if not one.always]  # those of units unasked
    chosen = (f'{name}: {_about(METRICS[name])}' for name in names)
    return f'What is measured beside {fixed}. ' + '; '.join(chosen) + '.'


def _about(metric: Metric) -> str:
    titles = ', '.join(map(title, metric.values))
    lower = next(iter(metric.values.values())).better == LOWER
    return f'{titles} ({"lower" if lower else "higher"} is better; needs {metric.needs})'


def _value(name: str) -> Value | None:
    return next((one.values[name] for one in METRICS.values() if name in one.values), None)
