"""Kills a run at random moments, starts it again until it is done, and compares it with one left
alone, bit for bit.

python scripts/kill_test.py [--kills=20 --seed=0 --folder=DIR]

The runs are the real command on tiny settings, killed with SIGKILL while they start, step, log,
evaluate, draw and save. Compared are the states (both networks and optimizers, statistics, moving
average, step) of the last and the best checkpoint, metrics.jsonl, the sample grids, TensorBoard's
values, config.json and the evaluation on test. Ends with status 1 where anything differs.
"""

import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import jax
import numpy as np
from absl import flags
from PIL import Image
from tensorboardX.proto.event_pb2 import Event

from pix2pix_jax.errors import run_command
from pix2pix_jax.inference.loaded_run import load_state
from pix2pix_jax.workdir.checkpoints import KINDS, Checkpoints
from pix2pix_jax.workdir.metric_writer import read_metrics

STEPS_A_KILL = 16  # steps of the run for each kill: so many are seldom done between two
SETTINGS = {
    'generator.depth': 2,  # every start traces the networks again
    'discriminator.layers': 1,
    'ema_decay': 0.9,
    'optimizer.schedule': 'linear',
    'log_every': 1,
    'sample_every': 5,
    'checkpoint.every_steps': 7,
    'eval_every': 11,
}
TIMEOUT = 1800  # seconds
Watch = Callable[[pathlib.Path], object]


def define_flags() -> flags.FlagValues:
    """Returns the flags of this command."""
    values = flags.FlagValues()
    about = 'How often the run is killed.'
    flags.DEFINE_integer('kills', 20, about, lower_bound=1, flag_values=values)
    flags.DEFINE_integer('seed', 0, 'Of the moments.', flag_values=values)
    about = 'Where the runs are kept; by default they are not.'
    flags.DEFINE_string('folder', '', about, flag_values=values)
    return values


def main(values: flags.FlagValues) -> int:
    """Makes both runs; prints what the kills met, and the differences."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(values.folder or temporary)
        differences = kill_and_compare(folder, values.kills, values.seed)
    print(
        '\n'.join(differences) or f'{values.kills} kills survived: equal, bit for bit', flush=True
    )
    return 1 if differences else 0


def kill_and_compare(folder: pathlib.Path, kills: int, seed: int) -> list[str]:
    """Returns what differs between a run killed `kills` times and one left alone, in `folder`."""
    make_pairs(folder / 'pairs')
    whole, killed = folder / 'whole', folder / 'killed'
    begin = time.monotonic()
    process = start(folder, whole, kills)
    wait(process, lambda: read_metrics(whole))
    start_up = time.monotonic() - begin
    finish(process, whole)
    rng = random.Random(seed)
    moments = [*MOMENTS] * (kills // len(MOMENTS) + 1)
    rng.shuffle(moments)
    for number, moment in enumerate(moments[:kills], start=1):
        process = start(folder, killed, kills)
        if moment == 'start-up':
            time.sleep(rng.uniform(0, start_up))
        else:
            before = MOMENTS[moment](killed)
            wait(process, lambda: MOMENTS[moment](killed) != before)  # noqa: B023
            time.sleep(rng.choice((0, rng.uniform(0, 0.1))))
        process.send_signal(signal.SIGKILL)
        ended = process.wait(TIMEOUT)
        assert ended == -signal.SIGKILL, f'the run ended with {ended} before kill {number}'
        print(f'kill {number} ({moment}): {found(killed)}', flush=True)
    finish(start(folder, killed, kills), killed)
    return compare(whole, killed)


def make_pairs(folder: pathlib.Path) -> None:
    """Writes a few side-by-side pairs of noise and the same noise in other colours, 36x36."""
    for split, count in {'train': 12, 'val': 3, 'test': 3}.items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            image = np.random.default_rng(i).integers(0, 256, (6, 6, 3), np.uint8)
            image = image.repeat(6, axis=0).repeat(6, axis=1)
            Image.fromarray(np.hstack([image, 255 - image])).save(folder / split / f'{i}.png')


def start(folder: pathlib.Path, workdir: pathlib.Path, kills: int) -> subprocess.Popen:
    """Starts or resumes the run; what it says is added to WORKDIR.log."""
    settings = SETTINGS | {'dataset.path': folder / 'pairs', 'num_steps': STEPS_A_KILL * kills}
    command = [sys.executable, '-m', 'pix2pix_jax.main', '--config=configs/folder.py:tiny']
    command += [f'--config.{k}={v}' for k, v in settings.items()]
    with open(f'{workdir}.log', 'a') as log:
        return subprocess.Popen([*command, f'--workdir={workdir}'], stdout=log, stderr=log)


def wait(process: subprocess.Popen, happened: Callable[[], object]) -> None:
    """Returns as soon as something `happened`; raises AssertionError if the run ends before."""
    begin = time.monotonic()
    while not happened():
        assert process.poll() is None, f'the run ended with {process.returncode}'
        assert time.monotonic() - begin < TIMEOUT, 'waited too long'
        time.sleep(0.001)


def finish(process: subprocess.Popen, workdir: pathlib.Path) -> None:
    """Waits for the end of the run, which must be a good one."""
    log = pathlib.Path(f'{workdir}.log')
    assert process.wait(TIMEOUT) == 0, log.read_text()[-2000:]


# ---------------------------------------------------------------- moments


def names(folder: pathlib.Path, pattern: str) -> list[str]:
    """Returns the names of the files in `folder` that fit `pattern`."""
    return sorted(path.name for path in folder.glob(pattern))


def size(path: pathlib.Path) -> int:
    """Returns the size of a file in bytes, 0 if it is not there."""
    return path.stat().st_size if path.exists() else 0


# The run is killed when what these see changes, at once or up to 0.1 s later.
MOMENTS: dict[str, Watch] = {
    'start-up': lambda run: None,
    'a row is written': lambda run: size(run / 'metrics.jsonl'),
    'an evaluation is done': lambda run: pathlib.Path(f'{run}.log').read_text().count(': eval'),
    'samples are written': lambda run: names(run / 'samples', '*'),
    'a save begins': lambda run: names(run / 'checkpoints/last', '*tmp*'),
    'a save ends': lambda run: names(run / 'checkpoints/last', '[0-9]*[0-9]'),
    'a save of the best begins': lambda run: names(run / 'checkpoints/best', '*tmp*'),
    'the page is written': lambda run: (
        (run / 'index.html').exists() and (run / 'index.html').stat().st_mtime_ns
    ),
}


def found(run: pathlib.Path) -> str:
    """Says in which state a kill left a run's folder."""
    if not (run / 'config.json').exists():
        return 'nothing there yet'
    saved = {kind: Checkpoints(run).steps(kind) for kind in KINDS}
    rows = read_metrics(run)
    values = {row['step']: row['eval/l1'] for row in rows if 'eval/l1' in row}
    states = [f'at step {rows[-1]["step"] if rows else 0}, saved {saved["last"]}']
    for kind in KINDS:
        if names(run / 'checkpoints' / kind, '*tmp*'):
            states.append(f'inside a save of {kind}')
        if len(saved[kind]) > 1:
            states.append(f'before the older {kind} was gone')
    last = saved['last'][-1] if saved['last'] else 0
    best = min((values.get(step, 1e9) for step in saved['best']), default=1e9)
    if values.get(last, 1e9) < best:
        states.append('between the saves of last and best')
    if rows and not (run / 'metrics.jsonl').read_bytes().endswith(b'\n'):
        states.append('inside a row')
    states += [f'inside the write of {path.name.split(".")[1]}' for path in run.rglob('.*.tmp')]
    return ', '.join(states)


# ---------------------------------------------------------------- comparison


def compare(a: pathlib.Path, b: pathlib.Path) -> list[str]:
    """Returns a line for all that differs between two runs and does not depend on the clock."""
    differences = []
    for kind in KINDS:
        (config, step, state), (other, other_step, other_state) = (
            load_state(run, kind) for run in (a, b)
        )
        if (config, step) != (other, other_step):
            differences.append(f'{kind}: step {step} and {other_step}, or their configs')
        leaves, others = (dict(jax.tree.leaves_with_path(s)) for s in (state, other_state))
        for path in leaves.keys() | others.keys():
            x, y = (None if path not in d else np.asarray(d[path]) for d in (leaves, others))
            if x is None or y is None or x.dtype != y.dtype or x.tobytes() != y.tobytes():
                differences.append(f'{kind}: {jax.tree_util.keystr(path)}')
    steps = [row['step'] for row in read_metrics(b)]
    every = steps[0] if steps else 1  # log_every
    if steps != list(range(every, every * len(steps) + 1, every)):
        differences.append(f'metrics.jsonl has gaps or doubled lines: {steps}')
    for name, read in (('metrics.jsonl', metrics), ('TensorBoard', events), ('files', contents)):
        if read(a) != read(b):
            differences.append(f'{name}: {set(map(str, read(a))) ^ set(map(str, read(b)))}')
    if len(set(events(b))) != len(events(b)):
        differences.append('TensorBoard has doubled steps')
    return differences


def metrics(run: pathlib.Path) -> list[dict]:
    """Returns the rows of metrics.jsonl without what depends on the clock."""
    return [{k: v for k, v in row.items() if k[:5] != 'perf/'} for row in read_metrics(run)]


def events(run: pathlib.Path) -> list[tuple[str, int, bytes]]:
    """Returns (tag, step, value) of TensorBoard's values that do not depend on the clock.

    A record of the file is its length (8 bytes), a checksum (4), the event, a checksum (4).
    """
    values = []
    for path in run.glob('events.out.tfevents.*'):
        data = path.read_bytes()
        while data:
            length = int.from_bytes(data[:8], 'little')
            event = Event.FromString(data[12 : 12 + length])
            values += [(v.tag, event.step, v.SerializeToString()) for v in event.summary.value]
            data = data[16 + length :]
    return sorted(value for value in values if value[0][:5] != 'perf/')


def contents(run: pathlib.Path) -> dict[str, bytes | None]:
    """Returns the files by their path in the folder, with the bytes of those that must agree."""
    agree = ('config.json', 'samples', 'evaluation')
    found = {}
    for path in run.rglob('*'):
        parts = path.relative_to(run).parts
        if path.is_file() and parts[0] != 'checkpoints' and not parts[0].startswith('events.'):
            found['/'.join(parts)] = path.read_bytes() if parts[0] in agree else None
        elif parts[0] == 'checkpoints' and len(parts) <= 3:
            found['/'.join(parts)] = None
    return found


if __name__ == '__main__':
    run_command(main, define_flags)
