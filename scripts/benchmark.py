"""Times training, translation, the input pipeline and the start, beside PyTorch on the same cores.

pip install -e '.[bench]'
python scripts/benchmark.py [--size=256 --batch=1 --width=64 --dtype=float32 --steps=20]
    [--parts=step,infer,pipeline,start,loop,export] [--json=FILE] [--no-torch]

Each contestant has a process of its own, and they take turns in rounds, the other one asleep.
Figures are medians of all that was timed, ratios medians of the rounds' ratios. The JPEG files of
the pipeline are made by the script.
"""

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import tempfile
from typing import NamedTuple

from absl import flags

from bench.exports import RUNTIMES, WRITER
from bench.loop import LOOP
from bench.start import start_figures
from bench.tasks import OURS, THEIRS, Setting, cores
from bench.workers import Worker, median, ratio, take_turns
from pix2pix_jax.errors import UserError, run_command

PARTS = ('step', 'infer', 'pipeline', 'start')
MORE = ('loop', 'export')  # export needs pip install -e '.[export]'
ROUNDS = 10
# Figure, PyTorch's, ratio, in the order of the table.
ROWS = (
    ('training step, ms', 'step_ms', 'ratio'),
    ('training, images/s', 'images_per_s', ''),
    ('peak memory of training, MB', 'peak_mb', 'peak_ratio'),
    ('compiling the step, s', 'compile_s', ''),
    ('translating a batch, ms', 'infer_ms', 'infer_ratio'),
    ('JPEG files to batches, pairs/s', 'pipeline_pairs_per_s', 'pipeline_ratio'),
    ('  with a process for each core', 'pipeline_workers_pairs_per_s', ''),
    ('  decoded before, in memory', 'pipeline_cached_pairs_per_s', ''),
    ('command to first step, cold, s', 'first_step_cold_s', ''),
    ('  with the compile cache, s', 'first_step_warm_s', ''),
    ('    imports, s', 'start_imports_s', ''),
    ('    data and initial state, s', 'start_state_s', ''),
    ('    loading and first step, s', 'start_step_s', ''),
    ('loop with an empty step, steps/s', 'loop_steps_per_s', ''),
    ('  its main thread, CPU ms a step', 'loop_main_ms', ''),
    ('  all its threads, CPU ms a step', 'loop_process_ms', ''),
    ('  without the pipeline, steps/s', 'loop_alone_steps_per_s', ''),
    ('    its main thread, CPU ms a step', 'loop_alone_main_ms', ''),
)
EXPORTED = (('MB', 'mb'), ('export, s', 'export_s'), ('ms', 'ms'), ('ratio', 'ratio'),
            ('peak MB', 'peak_mb'))  # fmt: skip


class Timing(NamedTuple):
    """How often the parts are timed, and beside what."""

    steps: int  # steps and translations
    starts: int  # with the compile cache
    torch: bool  # PyTorch as well


def define_flags() -> flags.FlagValues:
    """Returns the flags of this command."""
    values = flags.FlagValues()

    def count(name: str, default: int, about: str) -> None:
        flags.DEFINE_integer(name, default, about, lower_bound=1, flag_values=values)

    about = 'Side of the images: 32, 64, 128 or 256.'
    flags.DEFINE_integer('size', 256, about, flag_values=values)
    count('batch', 1, 'Batch size.')
    count('width', 64, 'Filters of the first layers.')
    names, about = ['float32', 'bfloat16'], 'Of the computation.'
    flags.DEFINE_enum('dtype', 'float32', names, about, flag_values=values)
    count('steps', 20, 'Steps and translations that are timed.')
    count('starts', 3, 'Starts with the compile cache.')
    count('pairs', 300, 'JPEG files that are made and read.')
    flags.DEFINE_list('parts', list(PARTS), 'What is timed.', flag_values=values)
    flags.DEFINE_string('json', '', 'A file for the figures.', flag_values=values)
    about = 'Time PyTorch as well; --no-torch: this project alone.'
    flags.DEFINE_bool('torch', True, about, flag_values=values)
    return values


def main(values: flags.FlagValues) -> None:
    """Prints the table, and writes the figures."""
    check_flags(values)
    timing = Timing(values.steps, values.starts, values.torch)
    figures = {name: values[name].value for name in ('size', 'batch', 'width', 'dtype', 'steps')}
    figures['machine'] = machine(timing.torch)
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(
            values.size, values.batch, values.width, values.dtype, folder, values.pairs
        )
        for part in values.parts:
            if part in ('pipeline', 'start', 'loop') and not os.path.exists(f'{folder}/train'):
                write_pairs(pathlib.Path(folder), setting.pairs, setting.size)
            figures |= {
                'step': step_figures,
                'infer': infer_figures,
                'pipeline': pipeline_figures,
                'start': lambda setting, timing: start_figures(setting, timing.starts),
                'loop': loop_figures,
                'export': export_figures,
            }[part](setting, timing)
    print(table(figures))
    if values.json:
        pathlib.Path(values.json).write_text(json.dumps(figures, indent=1) + '\n')


def check_flags(values: flags.FlagValues) -> None:
    """Raises UserError for a value that cannot be timed."""
    if values.size not in (32, 64, 128, 256):
        raise UserError(f'--size={values.size}: allowed are 32, 64, 128, 256')
    for part in values.parts:
        if part not in PARTS + MORE:
            raise UserError(f'--parts: {part!r} is unknown, allowed are {", ".join(PARTS + MORE)}')
    if 'export' in values.parts and importlib.util.find_spec('jax2onnx') is None:
        raise UserError("jax2onnx is missing: pip install -e '.[export]'")
    if values.torch and importlib.util.find_spec('torch') is None:
        raise UserError("torch is missing: pip install -e '.[bench]', or --no-torch")


def accept_no_torch(argv: list[str]) -> None:
    """Replaces --no-torch, as people write it, by absl's --notorch."""
    argv[:] = ['--notorch' if word == '--no-torch' else word for word in argv]


# ---------------------------------------------------------------- the parts


@contextlib.contextmanager
def both(setting: Setting, torch: bool):
    """Yields the processes, {'': this project's, 'torch_': the peer's, if wanted}."""
    contestants = {'': OURS} | ({'torch_': THEIRS} if torch else {})
    with contextlib.ExitStack() as stack:
        yield {p: stack.enter_context(Worker(tasks, setting)) for p, tasks in contestants.items()}


def step_figures(setting: Setting, timing: Timing) -> dict[str, float]:
    """Returns the figures of the training step: a process that does nothing else."""
    with both(setting, timing.torch) as workers:
        figures = {}
        for prefix, worker in workers.items():
            prepared = worker.prepare('step')
            figures |= {prefix + name: value for name, value in prepared.items()}
        times = take_turns({p: (w, 'step') for p, w in workers.items()}, ROUNDS, timing.steps)
        figures |= {f'{p}peak_mb': worker.peak_mb() for p, worker in workers.items()}
    figures |= milliseconds('step', times)
    for prefix in times:
        figures[f'{prefix}images_per_s'] = 1e3 * setting.batch / figures[f'{prefix}step_ms']
    if 'torch_' in times:
        figures['ratio'] = ratio(times)
        figures['peak_ratio'] = figures['peak_mb'] / figures['torch_peak_mb']
    return figures


def infer_figures(setting: Setting, timing: Timing) -> dict[str, float]:
    """Returns the figures of translating a batch."""
    with both(setting, timing.torch) as workers:
        for worker in workers.values():
            worker.prepare('infer')
        times = take_turns({p: (w, 'infer') for p, w in workers.items()}, ROUNDS, timing.steps)
    figures = milliseconds('infer', times)
    return figures | ({'infer_ratio': ratio(times)} if 'torch_' in times else {})


def pipeline_figures(setting: Setting, timing: Timing) -> dict[str, float]:
    """Returns pairs/s of the input pipelines; the peer's is its better one."""
    rounds = 3  # of `pairs` pairs each
    with contextlib.ExitStack() as stack:
        tasks = {
            prefix + task: (stack.enter_context(Worker(tasks, setting)), task)
            for prefix, tasks in (('', OURS), ('torch_', THEIRS if timing.torch else {}))
            for task in tasks
            if task.startswith('pipeline')
        }
        for worker, task in tasks.values():
            worker.prepare(task)
        times = take_turns(tasks, rounds, rounds)
    rates = {name: 1 / median(taken) for name, taken in times.items()}
    figures = {f'{name}_pairs_per_s': rate for name, rate in rates.items()}
    if timing.torch:
        best = max((name for name in rates if name.startswith('torch_')), key=rates.get)
        figures['torch_pipeline_threads_pairs_per_s'] = rates['torch_pipeline']
        figures['torch_pipeline_pairs_per_s'] = rates[best]
        figures['pipeline_ratio'] = ratio({'': times['pipeline'], 'torch_': times[best]})
    return figures


def loop_figures(setting: Setting, timing: Timing) -> dict[str, float]:
    """Returns the figures of the real loop around a step that does nothing."""
    with Worker(LOOP, setting) as worker:
        return worker.prepare('loop')


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


def milliseconds(task: str, times: dict[str, list[list[float]]]) -> dict[str, float]:
    """Returns the medians by their names in the file."""
    return {f'{prefix}{task}_ms': 1e3 * median(rounds) for prefix, rounds in times.items()}


# ---------------------------------------------------------------- the files, the machine, the table


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


def machine(torch: bool) -> dict[str, str | int]:
    """Returns what the figures depend on; the version of PyTorch where `torch` is timed."""
    cpu, instructions = platform.processor() or platform.machine(), ''
    with contextlib.suppress(OSError):
        lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
        known = dict(line.split('\t: ', 1) for line in lines if '\t: ' in line)
        known = {key.strip(): value for key, value in known.items()}
        cpu = known.get('model name', cpu)
        found = known.get('flags', '').split()
        names = {'avx512f': 'AVX-512', 'avx2': 'AVX2', 'avx': 'AVX'}
        instructions = next((name for flag, name in names.items() if flag in found), '')
    packages = ('jax', 'torch') if torch else ('jax',)
    versions = {name: importlib.metadata.version(name) for name in packages}
    about = {'cpu': cpu, 'cores': cores(), 'instructions': instructions}
    return about | {'python': platform.python_version()} | versions


def table(figures: dict) -> str:
    """Returns the figures as a table for people."""
    m = figures['machine']
    versions = ', '.join(f'{k} {m[k]}' for k in ('python', 'jax', 'torch') if k in m)
    cpu = ', '.join(filter(None, (m['cpu'], f'{m["cores"]} cores', m['instructions'])))
    lines = [
        f'pix2pix at {figures["size"]}x{figures["size"]}, batch {figures["batch"]}, '
        f'width {figures["width"]}, {figures["dtype"]}, {figures["steps"]} steps',
        f'{cpu}; {versions}',
        f'{"":34s}{"this":>10s}{"PyTorch":>10s}{"ratio":>10s}',
    ]
    for name, key, quotient in ROWS:
        keys = (key, f'torch_{key}', quotient)
        if key in figures:
            cells = (_cell(figures[k], k == quotient) if k in figures else '' for k in keys)
            lines.append(f'{name:34s}' + ''.join(f'{cell:>10s}' for cell in cells))
    if 'translate_ms' in figures:
        lines.append(f'{"exported":20s}' + ''.join(f'{title:>12s}' for title, _ in EXPORTED))
    for task in RUNTIMES if 'translate_ms' in figures else ():
        cells = ((figures.get(f'{task}_{key}'), key == 'ratio') for _, key in EXPORTED)
        texts = ('' if value is None else _cell(value, quotient) for value, quotient in cells)
        lines.append(f'{task:20s}' + ''.join(f'{text:>12s}' for text in texts))
    if 'torch' in m:
        lines.append('ratio: above 1, this project is faster; of memory, above 1, it takes more')
    return '\n'.join(lines)


def _cell(value: float, is_ratio: bool) -> str:
    return f'{value:.2f}' if is_ratio or value < 100 else f'{value:,.0f}'


if __name__ == '__main__':
    run_command(main, define_flags, check_argv=accept_no_torch)
