"""What scripts/benchmark.py measures, part by part: functions of a Setting and a Timing."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

from bench import ours, theirs
from bench.exports import RUNTIMES, WRITER
from bench.loop import LOOP
from bench.real_run import run_figures
from bench.start import start_figures
from bench.tasks import Setting
from bench.workers import Worker, median, ratio, take_turns
from pix2pix_jax.errors import UserError

ROUNDS = 10
TRIAL = 3  # calls by which the best of the peer's variants is found


class Timing(NamedTuple):
    """How often the parts are timed, and beside what."""

    steps: int  # calls: steps and translations, of a GPU 20 together
    starts: int  # with the compile cache
    peers: tuple[str, ...]  # the peer's variants, of which the best is timed; (): no peer


def about_figures(setting: Setting, torch: bool) -> dict[str, str]:
    """Returns the device's name and the versions that reach it.

    Raises UserError where an implementation does not find it.
    """
    with contextlib.ExitStack() as stack:
        implementations = (ours.TASKS, theirs.TASKS) if torch else (ours.TASKS,)
        workers = [stack.enter_context(Worker(tasks, setting)) for tasks in implementations]
        return {name: what for w in workers for name, what in w.figures('device').items()}


@contextlib.contextmanager
def both(setting: Setting, timing: Timing, task: str) -> Iterator[tuple[dict, dict]]:
    """Yields the processes, ready to do `task`, and the figures of preparing them.

    They are {'': this project's, 'torch_': the peer's best}, the second where it is wanted.
    """
    with contextlib.ExitStack() as stack:
        worker = stack.enter_context(Worker(ours.TASKS, setting))
        workers, figures = {'': worker}, worker.prepare(task)
        if timing.peers:
            workers['torch_'], found = _best_peer(stack, setting, timing.peers, task)
            figures |= found
        yield workers, figures


def _best_peer(
    stack: contextlib.ExitStack, setting: Setting, peers: tuple[str, ...], task: str
) -> tuple[Worker, dict]:
    """Returns the peer's fastest variant, ready, and what was found of all of them.

    Those that the device or the installed PyTorch cannot run are named in `skipped`.
    """
    times: dict[str, float] = {}
    skipped: dict[str, str] = {}
    best: Worker | None = None
    for name in peers:
        worker = Worker(theirs.TASKS, setting._replace(variant=name))
        kept = False
        try:
            worker.prepare(task)
            seconds = median([worker.run(task, TRIAL)]) if len(peers) > 1 else 0.0
            kept = not times or seconds < min(times.values())
            times[name] = seconds
        except UserError as error:
            skipped[name] = str(error)
        finally:
            if not kept:
                worker.close()
        if kept:
            if best is not None:
                best.close()
            best = worker
    if best is None:
        raise UserError(f'no variant of the peer runs: {skipped}', status=1)
    stack.callback(best.close)
    figures: dict = {f'torch_{task}_variant': min(times, key=lambda name: times[name])}
    if len(peers) > 1:
        figures[f'torch_{task}_variants_ms'] = {name: 1e3 * s for name, s in times.items()}
        figures[f'torch_{task}_skipped'] = skipped
    return best, figures


def step_figures(setting: Setting, timing: Timing) -> dict:
    """Returns the figures of the training step: a process that does nothing else."""
    with both(setting, timing, 'step') as (workers, figures):
        times = take_turns({p: (w, 'step') for p, w in workers.items()}, ROUNDS, timing.steps)
        for prefix, worker in workers.items():
            if setting.device == 'cpu':
                figures[f'{prefix}peak_mb'] = worker.peak_mb()
        if 'torch_' in workers:
            found = workers['torch_'].figures('memory')
            figures |= {f'torch_{name}': mb for name, mb in found.items()}
    figures |= milliseconds('step', times)
    for prefix in times:
        figures[f'{prefix}images_per_s'] = 1e3 * setting.batch / figures[f'{prefix}step_ms']
    if 'torch_' in times:
        figures['ratio'] = ratio(times)
        for name in ('peak', 'device'):
            if f'{name}_mb' in figures:
                figures[f'{name}_ratio'] = figures[f'{name}_mb'] / figures[f'torch_{name}_mb']
    return figures


def infer_figures(setting: Setting, timing: Timing) -> dict:
    """Returns the figures of translating a batch, from host to host and on the device alone."""
    figures: dict = {}
    for task in ('infer', 'infer_device'):
        with both(setting, timing, task) as (workers, found):
            times = take_turns({p: (w, task) for p, w in workers.items()}, ROUNDS, timing.steps)
        figures |= found | milliseconds(task, times)
        if 'torch_' in times:
            figures[f'{task}_ratio'] = ratio(times)
    return figures


def error_figures(setting: Setting, timing: Timing) -> dict[str, float]:
    """Returns each implementation's errors against float64, which show its products' precision."""
    with Worker(ours.TASKS, setting) as worker:
        figures = worker.figures('error')
    if timing.peers:
        with Worker(theirs.TASKS, setting) as worker:
            figures |= {f'torch_{name}': error for name, error in worker.figures('error').items()}
    return figures


def pipeline_figures(setting: Setting, timing: Timing) -> dict[str, float]:
    """Returns pairs/s of the input pipelines; the peer's is its better one."""
    rounds = 3  # of `pairs` pairs each
    with contextlib.ExitStack() as stack:
        tasks = {
            prefix + task: (stack.enter_context(Worker(tasks, setting)), task)
            for prefix, tasks in (('', ours.TASKS), ('torch_', theirs.TASKS))
            for task in tasks
            if task.startswith('pipeline') and (timing.peers or not prefix)
        }
        for worker, task in tasks.values():
            worker.prepare(task)
        times = take_turns(tasks, rounds, rounds)
    rates = {name: 1 / median(taken) for name, taken in times.items()}
    figures = {f'{name}_pairs_per_s': rate for name, rate in rates.items()}
    if timing.peers:
        best = max((name for name in rates if name.startswith('torch_')), key=rates.get)
        figures['torch_pipeline_threads_pairs_per_s'] = rates['torch_pipeline']
        figures['torch_pipeline_pairs_per_s'] = rates[best]
        figures['pipeline_ratio'] = ratio({'': times['pipeline'], 'torch_': times[best]})
    return figures


def export_figures(setting: Setting, timing: Timing) -> dict[str, float]:
    """Returns the figures of exported models, each run in a process of its own."""
    with Worker(WRITER, setting) as writer:
        figures = writer.prepare('write_all')
    with contextlib.ExitStack() as stack:
        workers = {task: stack.enter_context(Worker(RUNTIMES, setting)) for task in RUNTIMES}
        for task, worker in workers.items():
            worker.prepare(task)
        times = take_turns({t: (w, t) for t, w in workers.items()}, ROUNDS, timing.steps)
        figures |= {f'{task}_peak_mb': worker.peak_mb() for task, worker in workers.items()}
    for task, taken in times.items():
        figures[f'{task}_ms'] = 1e3 * median(taken)
        figures[f'{task}_ratio'] = ratio({'': taken, 'torch_': times['translate']})
    return figures


def loop_figures(setting: Setting, timing: Timing) -> dict[str, float]:
    """Returns the figures of the real loop around a step that does nothing."""
    with Worker(LOOP, setting) as worker:
        return worker.prepare('loop')


def milliseconds(task: str, times: dict[str, list[list[float]]]) -> dict[str, float]:
    """Returns the medians by their names in the file."""
    return {f'{prefix}{task}_ms': 1e3 * median(rounds) for prefix, rounds in times.items()}


PARTS = {
    'error': error_figures,
    'step': step_figures,
    'infer': infer_figures,
    'run': lambda setting, timing: run_figures(setting, timing.steps),
    'loop': loop_figures,
    'pipeline': pipeline_figures,
    'start': lambda setting, timing: start_figures(setting, timing.starts),
    'export': export_figures,  # it needs pip install -e '.[export]'
}
DEFAULTS = {
    'cpu': ('step', 'infer', 'pipeline', 'start'),
    'gpu': ('error', 'step', 'infer', 'run'),
}
WITH_FILES = ('run', 'loop', 'pipeline', 'start')


def write_pairs(root: pathlib.Path, count: int, size: int) -> None:
    """Writes root/train/*.jpg, (size, 2 size): noise of all scales like a photo's | flat boxes.

    At 256 a file has about 50 kB, as in facades.
    """
    import numpy as np
    from PIL import Image

    (root / 'train').mkdir()
    bicubic = Image.Resampling.BICUBIC
    for i in range(count):
        draw = np.random.default_rng(i)
        photo = 128 + draw.normal(0, 3, (size, size, 3))
        for cells, contrast in ((2, 60), (8, 40), (32, 24), (128, 12)):
            for c, plane in enumerate(draw.normal(0, contrast, (3, cells, cells))):
                image = Image.fromarray(plane.astype(np.float32))
                photo[..., c] += np.asarray(image.resize((size, size), bicubic))
        boxes = np.full((size, size, 3), (0, 0, 170), np.uint8)
        for _ in range(40):
            top, left = draw.integers(0, size, 2)
            height, width = draw.integers(1, size // 4, 2)
            boxes[top : top + height, left : left + width] = draw.integers(0, 256, 3)
        pair = np.concatenate([np.clip(photo, 0, 255).astype(np.uint8), boxes], axis=1)
        Image.fromarray(pair).save(root / 'train' / f'{i}.jpg', quality=95)
