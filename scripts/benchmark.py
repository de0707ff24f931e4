"""Times the training step, and translation, beside the same in PyTorch on the same cores.

pip install -r requirements-bench.txt
python scripts/benchmark.py [--size=256 --batch=1 --width=64 --dtype=float32 --steps=20]
    [--json=FILE] [--notorch]

Each side has a process of its own, and they take turns in rounds, the other one asleep; the
figures are medians over all steps.
"""

import json
import multiprocessing
import os
import resource
import statistics
import time
from multiprocessing.connection import Connection
from typing import Any

from absl import flags

from pix2pix_jax.errors import UserError, run_command

SIZE = flags.DEFINE_integer('size', 256, 'Side of the images: 32, 64, 128 or 256.')
BATCH = flags.DEFINE_integer('batch', 1, 'Batch size.', lower_bound=1)
WIDTH = flags.DEFINE_integer('width', 64, 'Filters of the first layers.', lower_bound=1)
DTYPE = flags.DEFINE_enum('dtype', 'float32', ['float32', 'bfloat16'], 'Of the computation.')
STEPS = flags.DEFINE_integer('steps', 20, 'Steps that are timed.', lower_bound=1)
JSON = flags.DEFINE_string('json', '', 'A file for the figures.')
TORCH = flags.DEFINE_bool('torch', True, 'Time PyTorch as well.')

ROUNDS = 5
WARM_UP = 3


def main() -> None:
    """Prints the table."""
    if SIZE.value not in (32, 64, 128, 256):
        raise UserError(f'--size={SIZE.value}: allowed are 32, 64, 128, 256')
    setting = (SIZE.value, BATCH.value, WIDTH.value, DTYPE.value)
    workers = {'ours': Worker(ours, setting)}
    if TORCH.value:
        workers['torch'] = Worker(theirs, setting)
    results: dict[str, dict[str, Any]] = {
        name: worker.receive() for name, worker in workers.items()
    }
    times = {(name, task): [] for name in workers for task in ('step', 'infer')}
    per_round = -(-STEPS.value // ROUNDS)
    for _ in range(ROUNDS):
        for (name, task), taken in times.items():
            taken += workers[name].ask(task, per_round)
    for name, worker in workers.items():
        results[name] |= {'peak_mb': worker.ask('peak', 0)}
        worker.process.join()
        for task in ('step', 'infer'):
            results[name][f'{task}_ms'] = 1e3 * statistics.median(times[name, task])
    figures = figures_of(results)
    figures |= dict(zip(('size', 'batch', 'width', 'dtype'), setting), steps=STEPS.value)
    print(f'{"":12s}' + ''.join(f'{name:>12s}' for name in results))
    for row in ('step_ms', 'infer_ms', 'peak_mb', 'compile_s'):
        cells = (f'{r[row]:12.1f}' if row in r else f'{"":12s}' for r in results.values())
        print(f'{row:12s}' + ''.join(cells))
    for row in ('ratio', 'infer_ratio', 'images_per_s'):
        if row in figures:
            print(f'{row:12s}{figures[row]:12.2f}')
    if JSON.value:
        with open(JSON.value, 'w') as file:
            json.dump(figures, file, indent=1)


def figures_of(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Returns the figures by their names in the file; a ratio above 1 says that ours is faster."""
    figures = dict(results['ours'])
    figures['images_per_s'] = 1e3 * BATCH.value / figures['step_ms']
    if 'torch' in results:
        figures |= {f'torch_{key}': value for key, value in results['torch'].items()}
        figures['ratio'] = figures['torch_step_ms'] / figures['step_ms']
        figures['infer_ratio'] = figures['torch_infer_ms'] / figures['infer_ms']
    return figures


class Worker:
    """A process that does what it is asked for, and sleeps otherwise."""

    def __init__(self, target, setting: tuple):
        """Starts it; its first message are figures of its start."""
        self._pipe, child = multiprocessing.get_context('spawn').Pipe()
        self.process = multiprocessing.get_context('spawn').Process(
            target=serve, args=(target, setting, child), daemon=True
        )
        self.process.start()
        child.close()

    def receive(self) -> Any:
        """Returns the next message; raises UserError if the process ended without one."""
        try:
            return self._pipe.recv()
        except EOFError as error:
            raise UserError('a benchmarked process failed, see above', status=1) from error

    def ask(self, task: str, times: int) -> Any:
        """Has `task` done; returns the seconds that each time took, or the peak memory in MB."""
        self._pipe.send((task, times))
        return self.receive()


def serve(prepare, setting: tuple, pipe: Connection) -> None:
    """Runs in the worker: prepares, warms up, then answers until it was asked for the peak."""
    step, infer, start = prepare(*setting)
    for _ in range(WARM_UP):
        step()
        infer()
    pipe.send(start)
    while True:
        task, times = pipe.recv()
        if task == 'peak':
            pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
            return
        taken = []
        for _ in range(times):
            begin = time.perf_counter()
            {'step': step, 'infer': infer}[task]()
            taken.append(time.perf_counter() - begin)
        pipe.send(taken)


def ours(size: int, batch: int, width: int, dtype: str):
    """Returns a step, a translation, and the seconds that compiling took, without a cache."""
    from pix2pix_jax.runtime import keep_freed_memory

    keep_freed_memory()
    import jax
    import numpy as np

    from pix2pix_jax import parallel, train
    from pix2pix_jax.config import default_config, validate
    from pix2pix_jax.inference import Translator
    from pix2pix_jax.train_state import training_key
    from pix2pix_jax.train_step import train_step

    config = default_config()
    config.image_size, config.batch_size, config.dtype = (size, size), batch, dtype
    config.generator.width = config.discriminator.width = width
    config = validate(config)
    devices = jax.local_devices()[:1]
    state, _ = train.initial_state(config, devices, total_steps=1000)
    draw = np.random.default_rng(0)
    images = {
        name: draw.uniform(-1, 1, (batch, size, size, 3)).astype(np.float32)
        for name in ('input', 'target')
    }
    state, key = parallel.replicate(state, devices), training_key(config)
    step_fn = parallel.compile_step(train_step, config, devices)
    begin = time.perf_counter()
    step_fn = step_fn.lower(state, images, key).compile()
    seconds = time.perf_counter() - begin
    translate = Translator(config, jax.tree.map(np.array, state.generator_variables()), batch=batch)
    box = [state]

    def step():
        box[0], metrics = step_fn(box[0], images, key)
        jax.block_until_ready((box[0], metrics))

    return step, lambda: translate(images['input']), {'compile_s': seconds}


def theirs(size: int, batch: int, width: int, dtype: str):
    """Returns a step and a translation of the peer, on as many threads as there are cores."""
    try:
        import torch
    except ImportError:
        raise SystemExit('torch is missing: pip install -r requirements-bench.txt') from None
    from torch_pix2pix import Trainer

    torch.manual_seed(0)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    trainer = Trainer(size.bit_length() - 1, width, getattr(torch, dtype))
    x, target = torch.rand(2, batch, 3, size, size) * 2 - 1
    return lambda: trainer.step(x, target), lambda: trainer.infer(x), {}


if __name__ == '__main__':
    run_command(main)
