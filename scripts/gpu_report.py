"""Says what a GPU does with this code, for whoever has one for nine minutes.

python scripts/gpu_report.py --output=DIR [--minutes=9 --facades=DIR --segmenter_weights=FILE]
    [--parts=card,check,step,train,evaluate,states,variants,...,row=l1] [--dtypes=bfloat16]
    [--variants=layouts,graph,...] [--programs=EARLIER/programs.zip]
python scripts/gpu_report.py --device=cpu --tiny --output=DIR     (rehearses all parts)

The parts run one after the other, each in processes of its own and with a limit, so that one that
crashes or hangs leaves the others. By default: what the card is; whether a step is right on it;
the step's time, beside PyTorch's; the paper's facades for as long as there is time; their metrics
on test. What is found is written at once: results.json and index.html; then the logs and archives
of metrics, test images, sample grids and compiled programs, with which a later report on the same
kind of machine begins. DIR gets at most 8 files, none larger than 16 MiB.

The facades are also found in $PIX2PIX_FACADES. The FCN-score needs the file that
`python -m pix2pix_jax.evaluate --metrics=fcn --segmenter_weights=FILE` wrote, elsewhere and before.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from absl import flags

from bench.tasks import DTYPES
from bench.variants import OURS, PEERS, given_flags
from gpu import archives, runs
from gpu.context import NO_TORCH, ROOT, PartContext, environment, last_line, write_context
from gpu.page import page
from gpu.parts import DEFAULTS, REHEARSED, ROW, check_needs, checked, seconds_of_next
from pix2pix_jax.errors import Stopped, UserError, run_command
from pix2pix_jax.storage import atomic
from pix2pix_jax.storage.atomic import cache_folder

FILES = ('results.json', 'index.html', 'log.txt', *archives.NAMES)
RESERVE_S = 15  # for the archives and the last page
MINIMUM_S = 5  # a part that has less is not started
END_S = 3  # of a part's time: for it to end by itself
KILL_S = 10  # for a process to end that was killed
PAGE_S = 15  # from one page to the next while a part runs: drawing it takes a core
# What of the environment changes the code that is measured, or on which card it runs.
VARIABLES = (
    'XLA_FLAGS', 'CUDA_MODULE_LOADING', 'CUDA_VISIBLE_DEVICES', 'NVIDIA_TF32_OVERRIDE',
    'JAX_DEFAULT_MATMUL_PRECISION', 'TF_CUDNN_DETERMINISTIC',
)  # fmt: skip
LOG_BYTES = 2**19  # of each process's log, its end


def define_flags() -> flags.FlagValues:
    """Returns the flags of this command."""
    values = flags.FlagValues()
    own = {'flag_values': values}
    flags.DEFINE_float('minutes', 9.0, 'Never more than this.', lower_bound=0.5, **own)
    flags.DEFINE_string('output', '', 'Folder for the report.', **own)
    flags.DEFINE_string('facades', '', 'Folder of facades: train, test.', **own)
    flags.DEFINE_string('segmenter_weights', '', 'File of a trained segmenter.', **own)
    flags.DEFINE_list('parts', [], 'Which, in this order; by default the first five.', **own)
    flags.DEFINE_list('dtypes', [], 'Whose steps are timed: tf32, bfloat16, float32.', **own)
    about = 'Which ways to run a step the part variants compares, in this order.'
    flags.DEFINE_list('variants', [], about, **own)
    about = "Your own earlier report's programs.zip: what is in it is executed."
    flags.DEFINE_string('programs', '', about, **own)
    flags.DEFINE_enum('device', 'gpu', ['cpu', 'gpu'], 'Where it runs.', **own)
    flags.DEFINE_bool('tiny', False, 'Rehearse: tiny networks and images, few steps.', **own)
    flags.DEFINE_bool('overwrite', False, 'Write into an --output that holds files.', **own)
    return values


def main(values: flags.FlagValues) -> int:
    """Runs the parts; returns 1 where one failed, or lacked time or more than torch."""
    end, begun = time.monotonic() + 60 * values.minutes, time.time()
    parts = checked(values.parts or list(REHEARSED if values.tiny else DEFAULTS))
    output = checked_output(values.output, values.overwrite)  # all is checked before it is changed
    facades = values.facades or os.environ.get('PIX2PIX_FACADES', '')
    known = {'dtypes': DTYPES[values.device], 'variants': (*OURS, *PEERS)}
    named = {flag: list(dict.fromkeys(values[flag].value)) for flag in known}
    for flag, allowed in known.items():
        if unknown := [name for name in named[flag] if name not in allowed]:
            raise UserError(f'--{flag}={unknown[0]}: allowed are {", ".join(allowed)}')
    inputs = {name: values[name].value for name in ('segmenter_weights', 'programs')}
    for name, path in ({'facades': facades} | inputs).items():
        if path and not os.path.exists(path):
            raise UserError(f'--{name}={path}: it is not there')
    for split in ('train', 'test') if facades else ():
        if not os.path.isdir(os.path.join(facades, split)):
            raise UserError(f'--facades={facades}: it has no {split}/')
    check_needs(parts, has_pairs=bool(facades or values.tiny))
    check_flags(parts)
    about = {'device': values.device, 'tiny': values.tiny, 'minutes': values.minutes}
    about['environment'] = {name: os.environ[name] for name in VARIABLES if os.environ.get(name)}
    if values.programs:  # it may lie in the folder that is emptied now
        count, of_here = archives.read_programs(pathlib.Path(values.programs), compiled())
        about['programs'] = f'{count}, {of_here} of them for this processor and cores'
        print(f'programs: {about["programs"]}', flush=True)
    output.mkdir(parents=True, exist_ok=True)
    for file in FILES:  # of an earlier report, with --overwrite
        (output / file).unlink(missing_ok=True)
    signal.signal(signal.SIGTERM, stop)
    report: dict = {'about': about, 'parts': {}}
    scratch = tempfile.TemporaryDirectory(prefix='gpu_report_', ignore_cleanup_errors=True)
    with scratch as work:
        files = [os.path.abspath(p) if p else '' for p in (facades, values.segmenter_weights)]
        context = PartContext(values.device, values.tiny, *files, work, 0)
        context = context._replace(timed=named['dtypes'], variants=named['variants'])
        for i, name in enumerate(parts):
            left = end - time.monotonic() - RESERVE_S
            limit = left if values.tiny else seconds_of_next(parts[i:], left)
            run_part(name, context._replace(seconds=limit - END_S), limit, report, output)
            part = report['parts'][name]
            print(
                f'{name}: {part["state"]} in {part["seconds"]:.0f} s. {part["reason"]}', flush=True
            )
            finish(report, context, begun, output)
    print(f'{output}/index.html')
    found = report['parts'].values()
    return int(any(p['state'] != 'done' and p['reason'] != NO_TORCH for p in found))


def run_part(
    name: str, context: PartContext, limit: float, report: dict, output: pathlib.Path
) -> None:
    """Runs one part; what it finds is in `report` and written.

    Args:
      name: the part's.
      context: what all parts share.
      limit: the seconds after which it is ended.
      report: gets an entry of the part.
      output: the folder for results.json, written whenever the part found more, and index.html.
    """
    part = {'state': 'no time', 'seconds': 0.0, 'limit_s': limit, 'reason': '', 'results': {}}
    report['parts'][name] = part
    if limit < MINIMUM_S:
        part['reason'] = 'the other parts left too little'
        return
    part['state'], begin, seen, gone = 'running', time.monotonic(), 0, True
    drawn, shown = begin, 0  # when the page was, and what of it
    result, context_file = context.path(f'{name}.result'), context.path(f'{name}.plan')
    write_context(context, context_file)
    log = context.path(f'{name}.part.log')
    path = os.pathsep.join([str(ROOT / 'scripts'), environment(context)['PYTHONPATH']])
    with log.open('w') as file:
        process = subprocess.Popen(
            [sys.executable, '-m', 'gpu', name, context_file, result],
            env=environment(context) | {'PYTHONPATH': path},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        while (ended := process.poll()) is None and time.monotonic() - begin < limit:
            time.sleep(0.2)
            part['seconds'] = time.monotonic() - begin
            if result.exists() and result.stat().st_mtime_ns != seen:
                seen = result.stat().st_mtime_ns
                part |= json.loads(result.read_text())
                guarded('results.json', lambda: write_results(report, output))
            if seen != shown and time.monotonic() - drawn > PAGE_S:
                guarded('index.html', lambda: draw_page(report, context, output))
                drawn, shown = time.monotonic(), seen
    finally:
        gone = kill_group(process)
    part['seconds'] = time.monotonic() - begin
    found = json.loads(result.read_text()) if result.exists() else {}
    part['results'] = found.get('results', {})
    if ended is None:
        part['state'], part['reason'] = 'timed out', f'it was killed after {limit:.0f} s'
        part['reason'] += '' if gone else f', and had not ended {KILL_S} s later'
    elif 'missing' in found:
        part['state'], part['reason'] = 'incomplete', found['missing']
    elif ended:
        part['state'], part['reason'] = 'failed', found.get('failed') or last_line(log)
    else:
        part['state'] = 'done'


def kill_group(process: subprocess.Popen) -> bool:
    """Kills the process and all that it has started; returns whether it has ended.

    One that waits inside a driver outlives that: then the parts to come do not wait for it.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(KILL_S)
    return process.returncode is not None


def kept(report: dict) -> dict:
    """Returns what is written of a report."""
    keys = ('state', 'seconds', 'limit_s', 'reason', 'results')
    parts = {name: {key: part[key] for key in keys} for name, part in report['parts'].items()}
    return {'about': report['about'], 'parts': parts}


def write_results(report: dict, output: pathlib.Path) -> None:
    """Writes results.json."""
    atomic.write_text(output / 'results.json', json.dumps(kept(report), indent=1) + '\n')


def draw_page(report: dict, context: PartContext, output: pathlib.Path) -> None:
    """Writes index.html."""
    atomic.write_text(output / 'index.html', page(kept(report), folders(report, context)))


def folders(report: dict, context: PartContext) -> dict[str, pathlib.Path]:
    """Returns the folders of the runs that were trained, by the part that did."""
    names = {
        name: runs.MAIN if name == 'train' else runs.folder_of(name.removeprefix(ROW))
        for name in report['parts']
        if name == 'train' or name.startswith(ROW)
    }
    return {name: context.path(run) for name, run in names.items() if context.path(run).is_dir()}


def finish(report: dict, context: PartContext, begun: float, output: pathlib.Path) -> None:
    """Writes all of the report: results, page, logs, archives.

    Args:
      report: what was found so far.
      context: what all parts share.
      begun: when the report began, in s since 1970.
      output: its folder.
    """
    trained = list(folders(report, context).values())
    work = pathlib.Path(context.work)
    left = report['about']['left_out'] = []
    for what, write in {
        'archives of runs': lambda: archives.write_archives(trained, output),
        'programs': lambda: archives.write_programs(work, compiled(), begun, output),
        'log.txt': lambda: write_log(work, output),
        'index.html': lambda: draw_page(report, context, output),
    }.items():
        left += guarded(what, write)
    for line in guarded('results.json', lambda: write_results(report, output)):
        print(line, flush=True)


def guarded(what: str, write: Callable[[], list[str] | None]) -> list[str]:
    """Returns what `write` leaves out, or why it failed: the parts to come still run."""
    try:
        return write() or []
    except Exception as error:  # whatever it is
        return [f'{what}: {type(error).__name__}: {error}']


def write_log(work: pathlib.Path, output: pathlib.Path) -> None:
    """Writes log.txt: the end of each process's log, in the order of their last lines."""
    logs = []
    for path in sorted(work.glob('*.log'), key=lambda p: p.stat().st_mtime):
        text = path.read_bytes()[-LOG_BYTES:].decode(errors='replace')
        logs.append(f'==== {path.stem}\n{text}')
    atomic.write_text(output / 'log.txt', '\n'.join(logs))


def check_flags(parts: list[str]) -> None:
    """Raises UserError where XLA_FLAGS holds what a part compares: its rows would be of others."""
    for part in parts:
        if part in ('step', 'variants') and (given := given_flags(os.environ.get('XLA_FLAGS', ''))):
            raise UserError(f'XLA_FLAGS has {given[0]}, which --parts={part} sets: leave it out')


def compiled() -> pathlib.Path:
    """Returns the folder of programs that the commands have compiled."""
    return cache_folder() / 'compiled'


def checked_output(name: str, overwrite: bool) -> pathlib.Path:
    """Returns the folder for the report, as it is; raises UserError where it holds files."""
    if not name:
        raise UserError('--output is missing: give a folder for the report')
    output = pathlib.Path(name).expanduser().absolute()
    if output.exists() and not output.is_dir():
        raise UserError(f'--output={name} is a file: allowed is a folder')
    found = sorted(path.name for path in output.iterdir()) if output.exists() else []
    if found and not overwrite:
        raise UserError(
            f'--output={name} holds {found[0]}: give another folder, or --overwrite, which deletes '
            'an earlier report'
        )
    return output


def stop(number: int, frame: object) -> None:
    """Takes a signal: the part that runs is killed, what was found is on the disk."""
    raise Stopped(number, 'stopped: what was found so far is in --output')


if __name__ == '__main__':
    run_command(main, define_flags)
