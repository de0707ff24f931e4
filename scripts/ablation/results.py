"""What each run of an ablation came to: one JSON file a run, without images, which outlives it.

`checkpoints` has the metrics of its states as `evaluate` gives them, and `checkpoints_noema` those
of the last weights where the run has averaged ones, too. A result counts for a job where the
experiment is the same: the config's fields, but those that may change when a run resumes, and the
names of the pairs. Where the files of the data lie, and on which machine the run was trained, does
not matter. Nor does it whether the run averages its weights, where a job is of the last ones:
averaging changes nothing of the training.
"""

import hashlib
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ablation import costs, scores
from ablation.jobs import NOEMA, STATES, Ablation, TrainingJob, folder_of, is_trained, kept
from ablation.scores import score
from pix2pix_jax.config import default_config, flatten
from pix2pix_jax.data.sources import Source
from pix2pix_jax.errors import UserError
from pix2pix_jax.evaluation import metrics
from pix2pix_jax.evaluation.checkpoints import read_checkpoints
from pix2pix_jax.evaluation.report import Summary
from pix2pix_jax.storage import atomic
from pix2pix_jax.workdir.config_json import MAY_CHANGE

Result = Mapping[str, Any]
Results = dict[str, dict[int, 'Scored']]  # by row and seed


def fingerprint(splits: Mapping[str, Source]) -> str:
    """Returns what tells the pairs of one data set from those of another: a hash of all names.

    The names of test count apart; which of the others are val depends on the seed.
    """
    names = {'test': set(splits['test'].names if 'test' in splits else ()), 'other': set()}
    for split, source in splits.items():
        names['test' if split == 'test' else 'other'] |= set(source.names)
    text = json.dumps({split: sorted(found) for split, found in names.items()})
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def experiment(job: TrainingJob) -> dict[str, str]:
    """Returns the fields, as text, in which a job's config differs from the default one."""
    defaults = flatten(default_config())
    fields = {name: str(value) for name, value in job.config.items()}
    return {
        name: value
        for name, value in sorted(fields.items())
        if value != str(defaults.get(name)) and not name.startswith(MAY_CHANGE)
    }


def path_of(job: TrainingJob, folder: pathlib.Path) -> pathlib.Path:
    """Returns the file of a job's result."""
    return folder / f'{job.name}.json'


def write(job: TrainingJob, ablation: Ablation) -> None:
    """Writes the result of a job that was trained and measured."""
    states = {f'checkpoints{w}': read_checkpoints(folder_of(job, w, STATES)) for w in job.weights}
    found = json.loads((folder_of(job, '', STATES) / 'checkpoints.json').read_text())
    run = json.loads((job.workdir / 'run.json').read_text())
    result = {
        'experiment': experiment(job),
        'data': ablation.data,
        'seed': job.seed,
        'split': job.evaluation,
        'step': job.steps,
        'measured': found['measured'],
        **{
            key: [{'step': step, 'metrics': summary} for step, summary in points.items()]
            for key, points in states.items()
        },
        'versions': run['versions'],
        'git_commit': run['git_commit'],
        'devices': run['devices'],
        'machine': costs.machine(run),
        **costs.read(job),
    }
    atomic.write_text(path_of(job, ablation.results), json.dumps(result, indent=1) + '\n')


def read(job: TrainingJob, ablation: Ablation) -> Result:
    """Returns the result of a job; {} where there is none of this experiment on this data."""
    result = _stored(job, ablation)
    found = (one for one in (result, _of_last_weights(result)) if _is_of(one, job, ablation))
    return next(found, {})


def _stored(job: TrainingJob, ablation: Ablation) -> Result:
    path = path_of(job, ablation.results)
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise UserError(f'{path} is damaged ({error}): remove it, or give another --results') from (
            error
        )


def _of_last_weights(result: Result) -> Result:
    """Returns the result of a run with averages as that of the same run without; {} of another.

    Time and memory of its training are left out: averages cost some.
    """
    last = f'checkpoints{NOEMA}'
    if last not in result:
        return {}
    fields = {name: value for name, value in result['experiment'].items() if name != 'ema_decay'}
    dropped = (last, 'images_per_s', 'step_mib')
    kept = {name: value for name, value in result.items() if name not in dropped}
    return kept | {'experiment': fields, 'checkpoints': result[last]}


def _is_of(result: Result, job: TrainingJob, ablation: Ablation) -> bool:
    same = result.get('experiment') == experiment(job) and result.get('data') == ablation.data
    return same and result['step'] == job.steps


def check_results(jobs: Iterable[TrainingJob], ablation: Ablation) -> None:
    """Raises UserError for a job whose result would replace that of another experiment."""
    for job in jobs:
        path = path_of(job, ablation.results)
        if path.exists() and not _is_of(_stored(job, ablation), job, ablation):
            raise UserError(
                f'{path} has the result of another experiment, of other data, or none: give '
                'another --results'
            )


def with_earlier(job: TrainingJob, ablation: Ablation) -> TrainingJob:
    """Returns a job that measures all that its result has, too, which it is to replace.

    Raises UserError where its run is not there, which would be trained again for a metric, and
    where the result has a metric that the options measure otherwise.
    """
    result = read(job, ablation)
    earlier = result.get('measured', {})
    names = tuple(name for name in metrics.choices() if name in earlier)
    lacking = metrics.otherwise(earlier, ablation.options)
    path = path_of(job, ablation.results)
    if earlier and lacking and not is_trained(job):
        raise UserError(
            f'{path} has {", ".join(names)}, not {", ".join(lacking)} as it is asked for, and its '
            f'run is not in {job.workdir}: it would be trained again; '
            + 'ask for what it has, or ' * (set(lacking) <= set(metrics.choices()))
            + 'give another --results'
        )
    every = dict.fromkeys((*names, *ablation.options.names))
    both = ablation.options._replace(names=tuple(every))
    for name in metrics.otherwise(earlier, both):
        if name in names and name not in ablation.options.names:
            raise UserError(
                f'{path} has {name}, measured with {earlier[name]}: give the flags of that, too, '
                'or another --results'
            )
    return job._replace(
        evaluate=[_with_metrics(word, every) for word in job.evaluate],
        each=job.each or len(result.get('checkpoints', ())) > len(scores.states(job.steps)),
    )


def _with_metrics(word: str, names: Iterable[str]) -> str:
    return f'--metrics={",".join(names)}' if word.startswith('--metrics=') else word


def measured(job: TrainingJob, ablation: Ablation) -> Result:
    """Returns the result of a job, if it was measured as the ablation's options say; else {}.

    It has a score: the weights of the row were measured in the last fifth of the run.
    """
    result = read(job, ablation)
    if metrics.otherwise(result.get('measured', {}), ablation.options):
        return {}
    return result if score(_points(result, job.shown), job.steps, ()) else {}


def is_done(job: TrainingJob, ablation: Ablation) -> bool:
    """Whether nothing is left to do for a job.

    A state that was not measured, and what could not be computed, as without weights, is tried
    again where the run is there; no run is trained again for it.
    """
    result = measured(job, ablation)
    if not result or not is_trained(job):
        return bool(result)
    steps = set(kept(job) if job.each else scores.states(job.steps))
    values = [next(iter(metrics.METRICS[name].values)) for name in ablation.options.names]
    return all(
        steps <= {point['step'] for point in _points(result, weights)}
        and all(
            'mean' in point['metrics'][value] or point['metrics'][value]['reason'] in metrics.FINAL
            for point in _points(result, weights)
            for value in values
        )
        for weights in job.weights
    )


def _points(result: Result, weights: str) -> list[Result]:
    return result.get(f'checkpoints{weights}', [])


class Scored(NamedTuple):
    """What a table shows of a run."""

    metrics: Summary  # the means over its states
    costs: Mapping[str, float]  # by the names in costs.TITLES
    machine: str  # that trained it
    points: list[Result] = []  # the states that were measured: {'step', 'metrics'}, in order
    states: int = 0  # how many of them the means are of


def of_jobs(jobs: Sequence[TrainingJob], ablation: Ablation) -> Results:
    """Returns the results of the jobs that have one, by row, in the order of the jobs, and seed."""
    found: Results = {job.row: {} for job in jobs}
    for job in jobs:
        if result := measured(job, ablation):
            points = _points(result, job.shown)
            count = sum(scores.in_last_fifth(point['step'], job.steps) for point in points)
            found[job.row][job.seed] = Scored(
                score(points, job.steps, scores.judges_of(result['experiment'])),
                costs.of_result(result),
                ' '.join((*result['devices'], *filter(None, [result.get('machine')]))),
                points,
                count,
            )
    return {row: of_seeds for row, of_seeds in found.items() if of_seeds}
