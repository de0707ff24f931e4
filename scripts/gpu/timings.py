"""Parts: how long steps take, compile, and how much memory they need, beside PyTorch."""

import concurrent.futures
import contextlib
import functools
import importlib.util
import itertools
import pathlib
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from bench import figures, ours, theirs
from bench.card import nvidia
from bench.start import start_figures
from bench.tasks import Setting
from bench.variants import OURS
from bench.workers import Worker, in_turn
from gpu.context import NO_TORCH, Missing, PartContext, Write
from pix2pix_jax.errors import UserError

TRAINED = 'layouts'  # as training has it on a GPU
# At batch 1 launching the kernels takes longer than they do, so that a CUDA graph is the strongest.
STRONGEST_PEERS = ('graph+channels_last', 'graph', 'eager')
COMPILED = ('reduce-overhead', 'compile')
TIMING_S = 15  # of the part's time, after all has been compiled
ROUNDS = 10
AHEAD = 4  # processes that start while one compiles
SHARE_S = 45  # what compiling one may take at least
LEAST_S = 2  # what 20 steps may
LATE = 'was not compiled in time'
HUNG = 'its step did not end in time'
BATCHES = (1, 4, 16, 64)
SIZES = (256, 512, 1024)
CARDS = (16, 40, 80)  # GB
Contestants = Iterator[tuple[str, dict, Setting]]  # name, tasks, setting of each that is timed
T = TypeVar('T')
USABLE = 0.9  # of a card's memory: the rest is the libraries', and what is lost between arrays


def has_torch() -> bool:
    """Whether the peer can run."""
    return importlib.util.find_spec('torch') is not None


def need_torch() -> None:
    """Raises Missing where the peer cannot run."""
    if not has_torch():
        raise Missing(NO_TORCH)


def step(context: PartContext, write: Write) -> None:
    """Times the step at batch 1 as training has it, and PyTorch's.

    PyTorch's are ready in seconds. Of the further dtypes they come first: on an H200 this project's
    step was not compiled in bfloat16 after 95 s.
    """
    peers = [('PyTorch', name) for name in STRONGEST_PEERS]
    first, *further = context.dtypes()
    time_contestants(
        context,
        write,
        itertools.chain(
            contestants(context, [('this', TRAINED), *peers], [first]),
            contestants(context, [*peers, ('this', TRAINED)], further),
        ),
    )
    need_torch()


def variants(context: PartContext, write: Write) -> None:
    """Times ways to run the step, as named, in turn.

    By default this project's, the one of training first, and PyTorch's compiled ones: the rest of
    PyTorch's is in `step`. Last comes what may fail or take long.
    """
    names = context.variants or [*OURS, *COMPILED]
    order = [('this' if name in OURS else 'PyTorch', name) for name in names]
    if context.variants and not set(context.variants) <= OURS.keys():
        need_torch()
    time_contestants(context, write, contestants(context, order, context.dtypes()))


def time_contestants(context: PartContext, write: Write, given: Contestants) -> None:
    """Times steps in turn; writes a row for each.

    They are compiled and warmed up in turn, the most important first, and then timed in turn: what
    chooses its kernels by timing them is alone on the device. The first may take all of the time,
    each later one its share; what is not ready then is left out.
    """
    over = time.monotonic() + context.seconds
    end = over - TIMING_S
    waiting, workers = list(given), {}
    rows: dict[str, dict] = {}
    pool = concurrent.futures.ThreadPoolExecutor(2 * AHEAD)
    begun: dict[str, concurrent.futures.Future] = {}
    for i, (name, _, _) in enumerate(waiting):
        left = end - time.monotonic()
        if left < 0:
            rows[name] = {'reason': LATE}
            continue
        for one, tasks, setting in waiting[len(workers) : i + AHEAD]:
            workers[one] = Worker(tasks, setting)
            begun[one] = pool.submit(workers[one].figures, 'device')
        share = left if i == 0 else max(SHARE_S, left / (len(waiting) - i))
        until = min(end, time.monotonic() + share)
        worker = workers[name]
        try:  # imports, and reaching the device, are done by some at once
            _answer(begun[name], worker, until, LATE)
            rows[name] = _answer(pool.submit(worker.prepare, 'step'), worker, until, LATE)
        except UserError as error:
            rows[name] = {'reason': str(error)}
        write({'steps': rows})
    ready = {name: worker for name, worker in workers.items() if 'reason' not in rows[name]}
    rounds = in_turn(ready, 2 if context.tiny else ROUNDS)
    in_time = itertools.takewhile(lambda _: time.monotonic() < over - LEAST_S, rounds)
    _time_in_turn(in_time, ready, rows, write, functools.partial(_soon, pool, over))
    if context.device == 'gpu':
        write({'card_after_the_timing': nvidia()})
    pool.shutdown(wait=False)
    for worker in workers.values():
        worker.kill()


def _answer(future: concurrent.futures.Future, worker: Worker, until: float, reason: str) -> Any:
    """Returns what a worker answers; if it does not, kills it and raises UserError(reason).

    `until` is the time of time.monotonic() by which it must.
    """
    try:
        return future.result(max(0.0, until - time.monotonic()))
    except TimeoutError as error:
        worker.kill()
        raise UserError(reason) from error


def _soon(
    pool: concurrent.futures.Executor, over: float, worker: Worker, ask: Callable[..., T], *words
) -> T:
    """Returns ask(*words), of a worker that may take half of the time until `over`.

    So one that hangs leaves time to the others. Raises UserError as `_answer` does.
    """
    now = time.monotonic()
    until = now + max(LEAST_S, (over - now) / 2)
    return _answer(pool.submit(ask, *words), worker, until, HUNG)


def contestants(
    context: PartContext, named: list[tuple[str, str]], dtypes: Iterable[str]
) -> Contestants:
    """Yields the name, tasks and setting of each that is timed, the most important first.

    Args:
      context: what all parts share.
      named: ('this' | 'PyTorch', the name of its variant), each in every dtype.
      dtypes: which, in this order.
    """
    for dtype, (whose, name) in itertools.product(dtypes, named):
        if whose == 'this' or has_torch():
            tasks = ours.TASKS if whose == 'this' else theirs.TASKS
            yield f'{dtype} {whose} {name}', tasks, context.setting(dtype, variant=name)


def _time_in_turn(
    rounds: Iterable[list[str]],
    workers: dict[str, Worker],
    rows: dict[str, dict],
    write: Write,
    soon: Callable[..., Any],
) -> None:
    """Puts the times of those that are ready into their rows, written after each round.

    `soon(worker, ask, *words)` returns what a worker answers, as `_soon` does.
    """
    times: dict[str, list[float]] = {name: [] for name in workers}
    for names in rounds:
        for name in filter(times.__contains__, names):
            try:
                times[name] += soon(workers[name], workers[name].run, 'step', 1)
                milliseconds = 1e3 * statistics.median(times[name])
                rows[name] |= {'step_ms': milliseconds, 'steps_per_s': 1e3 / milliseconds}
            except UserError as error:
                rows[name]['reason'] = str(error)
                del times[name]
        write({'steps': rows})
    for name in times:
        if 'PyTorch' in name:
            with contextlib.suppress(UserError):
                rows[name] |= soon(workers[name], workers[name].figures, 'memory')
    write({'steps': rows})


def profile(context: PartContext, write: Write) -> None:
    """Says which kernels take a step's time, and how much of it none runs."""
    with contextlib.ExitStack() as stack:
        workers = {
            dtype: stack.enter_context(Worker(ours.TASKS, context.setting(dtype, variant=TRAINED)))
            for dtype in context.dtypes()
        }
        for dtype, worker in workers.items():
            write({f'{dtype}_{name}': found for name, found in worker.figures('profile').items()})


def compile_times(context: PartContext, write: Write) -> None:
    """Times a start with an empty compile cache and with a full one, and torch.compile."""
    _make_pairs(context.setting())
    write({'this': start_figures(context.setting(), warm_runs=1)})
    rows: dict[str, dict] = {}
    order = [('PyTorch', name) for name in COMPILED]
    for name, tasks, setting in contestants(context, order, context.dtypes()):
        begin = time.monotonic()
        with Worker(tasks, setting) as worker:
            try:
                worker.prepare('step')
                rows[name] = {'start_and_compile_s': time.monotonic() - begin}
            except UserError as error:
                rows[name] = {'reason': str(error)}
        write({'torch': rows})
    need_torch()


def batch(context: PartContext, write: Write) -> None:
    """Times the step at several batches, beside the best of PyTorch's variants.

    All of one dtype, then of the next: one whose step compiles for long leaves the first's.
    """
    peers = ('fused', 'graph', 'graph+channels_last') if context.device == 'gpu' else ('eager',)
    timing = figures.Timing(2 if context.tiny else 5, 1, peers if has_torch() else ())
    rows = {}
    for dtype, size in itertools.product(context.dtypes(), (1, 2) if context.tiny else BATCHES):
        name = f'{dtype}, batch {size}'
        try:
            rows[name] = figures.step_figures(context.setting(dtype, batch=size), timing)
        except UserError as error:  # such as too little memory
            rows[name] = {'reason': str(error)}
        write({'batches': rows})
    need_torch()


def memory(context: PartContext, write: Write) -> None:
    """Says what a step needs by size, dtype and remat, and which batch fits which card.

    Compiled for this device and not run; the batch is a line through those of one and more.
    """
    sizes, more = ((32,), 2) if context.tiny else (SIZES, 4)
    rows: dict[str, dict] = {}
    dtypes = ('float32',) if context.tiny else ('float32', 'bfloat16')
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asked = {
            (size, dtype, remat): [
                pool.submit(_needed, context.setting(dtype, size=size, batch=n), remat)
                for n in (1, more)
            ]
            for size, dtype, remat in itertools.product(sizes, dtypes, (False, True))
        }
        for (size, dtype, remat), futures in asked.items():
            name = f'{size}x{size}, {dtype}' + (', remat' if remat else '')
            try:
                first, last = (future.result() for future in futures)
            except Exception as error:  # XLA raises many kinds
                rows[name] = {'reason': f'{type(error).__name__}: {str(error)[:200]}'}
                continue
            finally:
                write({'memory': rows})
            each = max((last - first) / (more - 1), 1.0)
            fits = {
                f'largest_batch_in_{card}_GB': max(
                    0, int((USABLE * card * 2**30 - first) // each) + 1
                )
                for card in CARDS
            }
            rows[name] = {'batch_1_mb': first / 2**20, 'each_more_mb': each / 2**20} | fits
            write({'memory': rows})


def _needed(setting: Setting, remat: bool) -> int:
    """Returns the bytes of the device's memory that a step takes, its state included."""
    import jax

    from bench.tasks import config_of, draw_batch
    from pix2pix_jax import train_setup
    from pix2pix_jax.config import flatten, from_fields
    from pix2pix_jax.distributed import parallel
    from pix2pix_jax.distributed.memory import of_program
    from pix2pix_jax.train_state import training_key
    from pix2pix_jax.train_step import train_step

    config = from_fields(flatten(config_of(setting)) | {'remat': remat})
    devices = jax.local_devices()[:1]
    create = functools.partial(train_setup.initial_state, config, devices, 1)
    state = jax.eval_shape(lambda: create()[0])
    key = jax.eval_shape(lambda: training_key(config))
    batch = jax.eval_shape(lambda: jax.tree.map(jax.numpy.asarray, draw_batch(setting)))
    options = {'xla_gpu_autotune_level': '0'} if setting.device == 'gpu' else None
    lowered = parallel.compile_step(train_step, config, devices).lower(state, batch, key, None)
    return of_program(lowered.compile(options))


def _make_pairs(setting: Setting) -> None:
    folder = pathlib.Path(setting.folder)
    if not (folder / 'train').exists():
        folder.mkdir(parents=True, exist_ok=True)
        figures.write_pairs(folder, setting.pairs, setting.size)
