"""What each run of an ablation came to: one JSON file a run, without images, which outlives it.

A result counts for a job where the experiment is the same: the config's fields, but those that may
change when a run resumes, and the names of the pairs. Where the files of the data lie, and on which
machine the run was trained, does not matter.
"""

import hashlib
import json
import pathlib
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from ablation.jobs import Ablation, TrainingJob, is_trained
from pix2pix_jax.config import default_config, flatten
from pix2pix_jax.data.sources import Source
from pix2pix_jax.evaluation import metrics
from pix2pix_jax.evaluation.checkpoints import read_checkpoints
from pix2pix_jax.storage import atomic
from pix2pix_jax.workdir.config_json import MAY_CHANGE
from pix2pix_jax.workdir.metrics_json import read_result

Result = Mapping[str, Any]
Results = dict[str, dict[int, Result]]  # by row and seed


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
    found = read_result(job.result)
    rows = map(json.loads, (job.workdir / 'metrics.jsonl').read_text().splitlines())
    rates = [row['perf/images_per_s'] for row in rows if 'perf/images_per_s' in row]
    run = json.loads((job.workdir / 'run.json').read_text())
    result = {
        'experiment': experiment(job),
        'data': ablation.data,
        'seed': job.seed,
        **{key: found[key] for key in ('split', 'scale', 'step', 'images', 'measured')},
        'metrics': found['metrics'],
        'checkpoints': [
            {'step': step, 'metrics': summary}
            for step, summary in (read_checkpoints(job.each) if job.each else {}).items()
        ],
        'versions': run['versions'],
        'git_commit': run['git_commit'],
        'devices': run['devices'],
        'images_per_s': statistics.median(rates) if rates else None,
    }
    atomic.write_text(path_of(job, ablation.results), json.dumps(result, indent=1) + '\n')


def read(job: TrainingJob, ablation: Ablation) -> Result:
    """Returns the result of a job; {} where there is none of this experiment on this data."""
    path = path_of(job, ablation.results)
    result = json.loads(path.read_text()) if path.exists() else {}
    same = result.get('experiment') == experiment(job) and result.get('data') == ablation.data
    return result if same and result['step'] == job.steps else {}


def measured(job: TrainingJob, ablation: Ablation) -> Result:
    """Returns the result of a job, if it was measured as the ablation's options say; else {}."""
    result = read(job, ablation)
    if not result or (job.each and not result['checkpoints']):
        return {}
    wanted = metrics.identity(ablation.options)
    same = all(result['measured'].get(name) == what for name, what in wanted.items())
    return result if same else {}


def is_done(job: TrainingJob, ablation: Ablation) -> bool:
    """Whether nothing is left to do for a job.

    What could not be computed, as without weights, is tried again where the run is there; no run is
    trained again for it.
    """
    result = measured(job, ablation)
    if not result:
        return False
    found = result['metrics']
    values = [next(iter(metrics.METRICS[name].values)) for name in ablation.options.names]
    whole = all('mean' in found[v] or found[v]['reason'] in metrics.FINAL for v in values)
    return whole or not is_trained(job)


def of_jobs(jobs: Iterable[TrainingJob], ablation: Ablation) -> Results:
    """Returns the results of the jobs that have one."""
    found: Results = {}
    for job in jobs:
        if result := measured(job, ablation):
            found.setdefault(job.row, {})[job.seed] = result
    return found
