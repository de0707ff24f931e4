"""What a run of an ablation costs: time and memory, beside what it is worth."""

import json
import statistics
from collections.abc import Mapping
from typing import Any

from ablation.jobs import COST, TrainingJob, folder_of
from pix2pix_jax.config import default_config

TITLES = {  # by the names in results and tables
    'images_per_s': 'training (images/s)',
    'training_min': 'training (min)',
    'step_mib': 'memory of a step (MiB)',
    'image_ms': 'translation (ms an image)',
}


def read(job: TrainingJob) -> dict[str, float | None]:
    """Returns what was measured of a run: images/s in training, and what measure_cost.py found."""
    rows = map(json.loads, (job.workdir / 'metrics.jsonl').read_text().splitlines())
    rates = [row['perf/images_per_s'] for row in rows if 'perf/images_per_s' in row]
    file = folder_of(job, '', COST)
    found = json.loads(file.read_text()) if file.exists() else {}
    return {'images_per_s': statistics.median(rates) if rates else None} | found


def of_result(result: Mapping[str, Any]) -> dict[str, float]:
    """Returns the costs that the result of a run has, by the names in TITLES."""
    found = {name: result[name] for name in TITLES if result.get(name)}
    if 'images_per_s' in found:
        batch = int(result['experiment'].get('batch_size', default_config().batch_size))
        found['training_min'] = result['step'] * batch / found['images_per_s'] / 60
    return found


def machine(run: Mapping[str, Any]) -> str:
    """Returns what tells whether times compare: the CPU, and how many of its cores a run had.

    `run` is its run.json, of earlier versions without the CPU, or without both ('' then). Runs that
    train at once share the cores.
    """
    cores = f'{run["cores"]} cores' if 'cores' in run else ''
    return ', '.join(filter(None, (run.get('cpu', ''), cores)))
