"""The table of scripts/benchmark.py, for people."""

from bench.exports import RUNTIMES

# Figure, PyTorch's, ratio, in the order of the table.
ROWS = (
    ('error of a translation', 'error_output', ''),
    ("  of L1's gradients", 'error_gradients', ''),
    ('training step, ms', 'step_ms', 'ratio'),
    ('training, images/s', 'images_per_s', ''),
    ('peak memory of training, MB', 'peak_mb', 'peak_ratio'),
    ('memory of a step on the device, MB', 'device_mb', 'device_ratio'),
    ('compiling the step, s', 'compile_s', ''),
    ('translating a batch, ms', 'infer_ms', 'infer_ratio'),
    ('  on the device alone', 'infer_device_ms', 'infer_device_ratio'),
    ('the real command, ms a step', 'run_ms', ''),
    ('  images/s', 'run_images_per_s', ''),
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
# Of the machine, where it has a GPU.
CARD = (
    'device', 'compute_capability', 'driver', 'jax_platform', 'torch_cuda', 'torch_cudnn', 'clock',
    'maximum_clock', 'memory_clock', 'power', 'power_limit', 'temperature', 'performance_state',
)  # fmt: skip
EXPORTED = (('MB', 'mb'), ('export, s', 'export_s'), ('ms', 'ms'), ('ratio', 'ratio'),
            ('peak MB', 'peak_mb'))  # fmt: skip


def table(figures: dict) -> str:
    """Returns the figures as a table for people."""
    m = figures['machine']
    versions = ', '.join(f'{k} {m[k]}' for k in ('python', 'jax', 'torch') if k in m)
    cpu = ', '.join(filter(None, (m['cpu'], f'{m["cores"]} cores', m['instructions'])))
    card = [f'{name.replace("_", " ")} {m[name]}' for name in CARD if m.get(name)]
    lines = [
        f'pix2pix at {figures["size"]}x{figures["size"]}, batch {figures["batch"]}, '
        f'width {figures["width"]}, {figures["dtype"]}, {figures["steps"]} steps',
        f'{cpu}; {versions}',
        *([f'on a GPU: {", ".join(card)}'] if card else ()),
        f'{"":34s}{"this":>10s}{"PyTorch":>10s}{"ratio":>10s}',
    ]
    for name, key, quotient in ROWS:
        keys = (key, f'torch_{key}', quotient)
        if key in figures:
            cells = [_cell(figures[k], k == quotient) if k in figures else '' for k in keys]
            lines.append(f'{name:34s}' + ''.join(f'{cell:>10s}' for cell in cells))
    lines += _peers(figures)
    if 'translate_ms' in figures:
        lines.append(f'{"exported":20s}' + ''.join(f'{title:>12s}' for title, _ in EXPORTED))
    for task in RUNTIMES if 'translate_ms' in figures else ():
        cells = ((figures.get(f'{task}_{key}'), key == 'ratio') for _, key in EXPORTED)
        texts = ('' if value is None else _cell(value, quotient) for value, quotient in cells)
        lines.append(f'{task:20s}' + ''.join(f'{text:>12s}' for text in texts))
    if 'torch' in m:
        lines.append('ratio: above 1, this project is faster; of memory, above 1, it takes more')
    if 'error_output' in figures:
        lines.append("errors: against the implementation's own float64, in parts of the length")
    return '\n'.join(lines)


def _cell(value: float, is_ratio: bool) -> str:
    if value and abs(value) < 0.01:
        return f'{value:.1e}'
    return f'{value:.2f}' if is_ratio or value < 100 else f'{value:,.0f}'


def _peers(figures: dict) -> list[str]:
    """Returns lines that say which of the peer's variants was the best, and how the others did."""
    lines = []
    for task in ('step', 'infer', 'infer_device'):
        times = figures.get(f'torch_{task}_variants_ms', {})
        if times:
            order = sorted(times, key=lambda name: times[name])
            trials = ', '.join(f'{name} {times[name]:.2f}' for name in order)
            lines.append(
                f"PyTorch's best at {task}: {figures[f'torch_{task}_variant']} ({trials} ms)"
            )
        for name, reason in figures.get(f'torch_{task}_skipped', {}).items():
            lines.append(f'  {name} was skipped: {reason}')
    return lines
