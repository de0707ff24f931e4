"""Parts: a training of facades, its evaluation, rows of the paper's tables, and a kill."""

import pathlib
import statistics
import subprocess
import time
from typing import Any

import numpy as np
from PIL import Image

from ablation.tables import TABLES
from gpu.context import (
    Missing,
    PartContext,
    Result,
    Write,
    fields,
    finished,
    start,
    stop,
    untuned,
    wait_until,
)
from pix2pix_jax.data.label_colors import FACADES
from pix2pix_jax.evaluation.checkpoints import read_checkpoints
from pix2pix_jax.workdir.metric_writer import read_metrics
from pix2pix_jax.workdir.metrics_json import read_result

STEPS = 80_000  # the paper's: 200 epochs of 400 pairs. The rate is constant: fewer are a valid run
MAIN = 'facades'  # the run's folder
REHEARSED = 20  # steps of a rehearsal
STATES_S = 90  # of a row's time: for its last states
QUICK = 'lab,checkerboard'  # the metrics beside L1, PSNR and SSIM that need no other network
KEPT = 5  # states of a run: their mean says more than one of them (docs/results.md)
SAVE_S = 20  # for the last save, after the signal
ROWS = {  # of the paper's Tables 1 and 3
    **TABLES['losses'].rows,
    **TABLES['receptive_field'].rows,
}


def train(context: PartContext, write: Write) -> None:
    """Trains the paper's facades for as long as there is time."""
    write(trained(context, MAIN, '', context.seconds, write))


def evaluate(context: PartContext, write: Write) -> None:
    """Measures the run of `train` on test."""
    if not context.path(f'{MAIN}/checkpoints').exists():
        raise Missing('there is no trained run')
    evaluated(context, MAIN, write)


def states(context: PartContext, write: Write) -> None:
    """Measures the states that the run of `train` has kept, on test."""
    if not context.path(f'{MAIN}/checkpoints').exists():
        raise Missing('there is no trained run')
    measured_states(context, MAIN, write)


def measured_states(context: PartContext, run: str, write: Write) -> None:
    """Measures the states that a run has kept, on test; without images."""
    log = f'{run}_states.log'
    process = start_evaluation(context, run, log, segmenter_file(context), '--checkpoint=all')
    folder = context.path(run) / 'evaluation' / 'test_checkpoints'
    while process.poll() is None:
        time.sleep(1)
        write({'states': means(folder)})
    finished(process, context, log)
    write({'states': means(folder)})


def means(folder: pathlib.Path) -> dict[str, dict[str, float]]:
    """Returns the metrics of each state that a table of several has so far, by its step."""
    return {
        f'step {step:,}': {name: value['mean'] for name, value in found.items() if 'mean' in value}
        for step, found in read_checkpoints(folder).items()
    }


def row(context: PartContext, write: Write, name: str) -> None:
    """Trains and measures one row of the paper's Table 1 or 3, `name` of ROWS."""
    run = folder_of(name)
    seconds = context.seconds - STATES_S
    write({'row': name} | trained(context, run, ROWS[name].arg, seconds, write))
    measured_states(context, run, write)


def folder_of(row: str) -> str:
    """Returns the name of the folder of a row's run."""
    return 'row_' + row.replace('+', '_')


def trained(context: PartContext, run: str, arg: str, seconds: float, write: Write) -> Result:
    """Trains until the run is over, or the time; returns what it came to.

    When the time is over a signal stops it: it saves, and could resume.

    Args:
      context: what all parts share.
      run: the run's name, which its folder and its log have.
      arg: the words after the config's colon.
      seconds: the time, from now on.
      write: is given what there is so far, once a second.
    """
    begin = time.monotonic()
    end = begin + seconds
    words = command_words(context, arg)
    path = {'dataset.path': pairs_folder(context)}
    often = {'log_every': 5, 'eval_every': 10, 'sample_every': 10}
    # As many as the defaults are in the paper's length.
    seldom = {'log_every': 100, 'eval_every': 4000, 'sample_every': 2000}
    how_often = often if context.tiny else seldom
    saves = {'checkpoint.every_steps': how_often['eval_every'], 'checkpoint.keep': KEPT}
    words += fields(path | {'num_steps': STEPS} | saves | how_often)
    workdir, log = context.path(run), f'{run}.log'
    process = start(context, 'pix2pix_jax.main', [*words, f'--workdir={workdir}'], log)
    seen: list[tuple[float, int]] = []  # seconds, steps
    while process.poll() is None and time.monotonic() < end - SAVE_S:
        time.sleep(1)
        found = so_far(workdir)
        seen += [(time.monotonic() - begin, found['steps'])] if found['steps'] else []
        write(found | with_all(seen, how_often['sample_every']))
        if context.tiny and found['steps'] >= REHEARSED:
            break
    status = stop(process, SAVE_S) if process.poll() is None else process.returncode
    if status and not saved_steps(workdir):  # it may have saved and then been too slow to end
        finished(process, context, log)
    more = {'of_steps': STEPS, 'saved_at_step': max(saved_steps(workdir)), 'status': status}
    more |= with_all(seen, how_often['sample_every']) | {'command_s': time.monotonic() - begin}
    return so_far(workdir) | more | {'command': ' '.join(words)}


def with_all(seen: list[tuple[float, int]], first_grid: int) -> Result:
    """Returns the time of a step with evaluations, sample grids and saves.

    Args:
      seen: seconds, and the steps that were logged by then; looked at once a second.
      first_grid: the step of the first sample grid, whose program is compiled: the time begins
        after it.
    """
    changed = [(t, n) for (_, old), (t, n) in zip(seen, seen[1:]) if n > max(old, first_grid)]
    if len(changed) < 2:
        return {}
    (first_s, first), (last_s, last) = changed[0], changed[-1]
    return {'ms_a_step_with_all': 1e3 * (last_s - first_s) / (last - first)}


def saved_steps(workdir: pathlib.Path) -> list[int]:
    """Returns the steps whose states a run has saved."""
    paths = workdir.glob('checkpoints/last/*')
    return [int(path.name) for path in paths if path.name.isdecimal()]


def so_far(workdir: pathlib.Path) -> Result:
    """Returns the steps, the rate and the curves of a run that may still train."""
    rows = [row for row in read_metrics(workdir) if 'train/g_l1' in row]
    rates = [row['perf/images_per_s'] for row in rows if row.get('perf/images_per_s')]
    result: Result = {'steps': rows[-1]['step'] if rows else 0}
    if rates:
        result |= {'images_per_s': statistics.median(rates)}
        result['steps_in_9_minutes'] = round(540 * result['images_per_s'])
    stride = max(1, len(rows) // 200)
    chosen = [row for i, row in enumerate(rows) if i % stride == 0 or 'eval/l1' in row]
    names = ('step', 'train/g_l1', 'train/d_loss', 'train/g_gan', 'eval/l1')
    return result | {'rows': [{k: row[k] for k in names if k in row} for row in chosen]}


def evaluated(context: PartContext, run: str, write: Write) -> None:
    """Measures a run on test; with the FCN-score, and beside it without, which is there earlier."""
    file, quick = segmenter_file(context), context.path(f'{run}_quick')
    beside = None
    if file:
        beside = start_evaluation(context, run, f'{run}_quick.log', '', f'--output={quick}')
    else:
        write({'fcn': 'left out: no file of a segmenter, see --segmenter_weights'})
    log = f'{run}_evaluation.log'
    whole = start_evaluation(context, run, log, file)
    if beside is not None and not beside.wait():
        write(measured(quick))
    finished(whole, context, log)
    write(measured(context.path(run) / 'evaluation' / 'test'))


def start_evaluation(
    context: PartContext, run: str, log: str, segmenter: str, *more: str
) -> subprocess.Popen:
    """Starts measuring a run on test, with kernels that are not timed: each program runs once.

    Args:
      context: what all parts share.
      run: the run's name.
      log: the name of the file to which what it prints is added.
      segmenter: the file of the FCN-score's segmenter; '': without that score.
      more: further flags of the command.
    """
    words = [f'--workdir={context.path(run)}', f'--metrics={"fcn," if segmenter else ""}{QUICK}']
    if segmenter:
        words.append(f'--segmenter_weights={segmenter}')
    return start(context, 'pix2pix_jax.evaluate', [*words, *more], log, **untuned(context))


def measured(folder: pathlib.Path) -> Result:
    """Returns what an evaluation found."""
    found = read_result(folder)
    metrics = {
        name: value.get('mean', value.get('reason')) for name, value in found['metrics'].items()
    }
    return {'step': found['step'], 'images': found['images'], 'metrics': metrics}


def segmenter_file(context: PartContext) -> str:
    """Returns the file of the segmenter, '' without one; a rehearsal makes one in two steps."""
    if not context.tiny:
        return context.segmenter
    from pix2pix_jax.config import default_config
    from pix2pix_jax.data import discover
    from pix2pix_jax.evaluation import segmenter

    file = context.path('segmenter.npz')
    if not file.exists():
        config = default_config()
        config.dataset.path, config.dataset.direction = pairs_folder(context), 'BtoA'
        source = discover.open_splits(config)['train']
        segmenter.load_or_train(source, (32, 32), FACADES, steps=2, file=str(file))
    return str(file)


def command_words(context: PartContext, arg: str) -> list[str]:
    """Returns the training command's config: the paper's facades, or tiny."""
    arg = ','.join(filter(None, (arg, 'tiny' if context.tiny else '')))
    return ['--config=configs/facades.py' + (f':{arg}' if arg else '')]


def pairs_folder(context: PartContext) -> str:
    """Returns the folder of facades; a rehearsal without them makes pairs in their colours."""
    if context.facades and not context.tiny:
        return context.facades
    if not context.tiny:
        raise Missing('the pairs of facades are missing: --facades=DIR')
    return str(label_pairs(context.path('labels'), {'train': 8, 'test': 3}, 32))


def label_pairs(folder: pathlib.Path, counts: dict[str, int], size: int) -> pathlib.Path:
    """Writes FOLDER/SPLIT/*.png, photo | labels in facades' colours, unless they are there."""
    palette = np.array(list(FACADES.colours.values()), np.uint8)
    for number, (split, count) in enumerate(counts.items()):
        (folder / split).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            draw = np.random.default_rng((number, i))
            labels = (
                draw.integers(0, len(palette), (4, 4)).repeat(size // 4, 0).repeat(size // 4, 1)
            )
            photo = palette[labels] // 2 + draw.integers(0, 99, (size, size, 3), np.uint8)
            pair = np.concatenate([photo, palette[labels]], axis=1)
            Image.fromarray(pair).save(folder / split / f'{i}.png')
    return folder


# ---------------------------------------------------------------- a kill


def resume(context: PartContext, write: Write) -> None:
    """Kills a run, resumes it without its compiled programs, and compares it with one left alone.

    Both with `deterministic`; then two more without it say how far apart equal runs come to be.
    They train beside each other, so that their rates say nothing: `variants` times what it costs.
    """
    import kill_test

    size, (width, steps) = 32 if context.tiny else 256, (4, 24) if context.tiny else (64, 300)
    label_pairs(context.path('resumed'), {'train': 8, 'val': 2, 'test': 2}, size)
    settings = {
        'dataset.path': context.path('resumed'), 'image_size': size, 'batch_size': 1,
        'generator.width': width, 'discriminator.width': width, 'num_steps': steps,
        'log_every': steps // 12, 'eval_every': steps // 3, 'sample_every': 0,
        'checkpoint.every_steps': steps // 3,
    }  # fmt: skip

    def run(name: str, deterministic: bool, programs: str = 'compiled'):
        words = fields(settings | {'deterministic': deterministic})
        words = ['--config=configs/folder.py', *words, f'--workdir={context.path(name)}']
        cache = str(context.path(programs))
        return start(context, 'pix2pix_jax.main', words, f'{name}.log', XDG_CACHE_HOME=cache)

    others = {name: run(name, name == 'whole') for name in ('whole', 'usual')}
    process = run('killed', True)
    saved = context.path('killed') / 'checkpoints' / 'last'
    wait_until(lambda: saved.exists() and any(saved.glob('[0-9]*')), process, 600)
    process.kill()
    process.wait()
    rows = read_metrics(context.path('killed'))
    write({'killed_at_step': rows[-1]['step'] if rows else 0})
    finished(others['whole'], context, 'whole.log')
    begin = time.monotonic()
    finished(run('killed', True, 'compiled_anew'), context, 'killed.log')
    different = kill_test.compare(context.path('whole'), context.path('killed'))
    write({'resumed_in_s': time.monotonic() - begin, 'different': different})
    write({'verdict': 'DIFFERENT' if different else 'equal, bit for bit'})
    finished(others['usual'], context, 'usual.log')
    finished(run('again', False), context, 'again.log')  # with the programs of 'usual'
    write({'weights_apart_without': apart(context.path('usual'), context.path('again'))})


def _weights(state: Any) -> tuple[Any, Any]:
    return state.generator.params, state.discriminator.params


def apart(a: pathlib.Path, b: pathlib.Path) -> float:
    """Returns the distance of two runs' last weights, in parts of the first's length."""
    import jax

    import kill_test

    (_, _, one), (_, _, other) = (kill_test.load_state(run, 'last') for run in (a, b))
    pairs = [
        (np.asarray(x, np.float64), np.asarray(y, np.float64))
        for x, y in zip(*map(jax.tree.leaves, (_weights(one), _weights(other))))
    ]
    difference = sum(float(((x - y) ** 2).sum()) for x, y in pairs)
    return (difference / sum(float((x**2).sum()) for x, _ in pairs)) ** 0.5
