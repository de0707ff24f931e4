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

from absl import flags

from bench.tasks import DTYPES
from bench.variants import OURS, PEERS
from gpu import archives, runs
from gpu.context import ROOT, PartContext, environment, last_line, write_context
from gpu.page import page
from gpu.parts import DEFAULTS, REHEARSED, ROW, checked, seconds_of_next
from pix2pix_jax.errors import Stopped, UserError, run_command
from pix2pix_jax.storage import atomic
from pix2pix_jax.storage.atomic import cache_folder

FILES = ('results.json', 'index.html', 'log.txt', *archives.NAMES)
RESERVE_S = 15  # for the archives and the last page
MINIMUM_S = 5  # a part that has less is not started
START_S = 5  # of a part's time: its process starts
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
    """Runs the parts; returns 1 where one failed or had too little time."""
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
    if values.programs:  # it may lie in the folder that is emptied now
        archives.read_programs(pathlib.Path(values.programs), compiled())
    output.mkdir(parents=True, exist_ok=True)
    for file in FILES:  # of an earlier report, with --overwrite
        (output / file).unlink(missing_ok=True)
    signal.signal(signal.SIGTERM, stop)
    about = {'device': values.device, 'tiny': values.tiny, 'minutes': values.minutes}
    report: dict = {'about': about, 'parts': {}}
    with tempfile.TemporaryDirectory(prefix='gpu_report_') as work:
        files = [os.path.abspath(p) if p else '' for p in (facades, values.segmenter_weights)]
        context = PartContext(values.device, values.tiny, *files, work, 0)
        context = context._replace(timed=named['dtypes'], variants=named['variants'])
        for i, name in enumerate(parts):
            left = end - time.monotonic() - RESERVE_S
            limit = left if values.tiny else seconds_of_next(parts[i:], left)
            run_part(name, context._replace(seconds=limit - START_S), limit, report, output)
            part = report['parts'][name]
            print(
                f'{name}: {part["state"]} in {part["seconds"]:.0f} s. {part["reason"]}', flush=True
            )
            finish(report, context, begun, output)
    print(f'{output}/index.html')
    states = {part['state'] for part in report['parts'].values()}
    return int(bool(states & {'failed', 'timed out', 'no time'}))


def run_part(
    name: str, context: PartContext, limit: float, report: dict, output: pathlib.Path
) -> None:
    """Runs one part; what it finds is in `report` and written.

    Args:
      name: the part's.
      context: what all parts share.
      limit: the seconds after which it is ended.
      report: gets an entry of the part.
      output: the folder for results.json and index.html, written whenever the part found more.
    """
    part = {'state': 'no time', 'seconds': 0.0, 'limit_s': limit, 'reason': '', 'results': {}}
    report['parts'][name] = part
    if limit < MINIMUM_S:
        part['reason'] = 'the other parts left too little'
        return
    part['state'], begin, seen = 'running', time.monotonic(), 0
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
                write_results(report, context, output)
    finally:
        kill_group(process)
    part['seconds'] = time.monotonic() - begin
    found = json.loads(result.read_text()) if result.exists() else {}
    part['results'] = found.get('results', {})
    if ended is None:
        part['state'], part['reason'] = 'timed out', f'it was killed after {limit:.0f} s'
    elif 'missing' in found:
        part['state'], part['reason'] = 'incomplete', found['missing']
    elif ended:
        part['state'], part['reason'] = 'failed', found.get('failed') or last_line(log)
    else:
        part['state'] = 'done'


def kill_group(process: subprocess.Popen) -> None:
    """Kills the process and all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def write_results(report: dict, context: PartContext, output: pathlib.Path) -> None:
    """Writes results.json and the page."""
    keys = ('state', 'seconds', 'limit_s', 'reason', 'results')
    kept = {name: {key: part[key] for key in keys} for name, part in report['parts'].items()}
    report = {'about': report['about'], 'parts': kept}
    atomic.write_text(output / 'results.json', json.dumps(report, indent=1) + '\n')
    atomic.write_text(output / 'index.html', page(report, folders(report, context)))


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
    left = archives.write_archives(trained, output)
    left += archives.write_programs(pathlib.Path(context.work), compiled(), begun, output)
    report['about']['left_out'] = left
    logs = []
    for path in sorted(pathlib.Path(context.work).glob('*.log'), key=lambda p: p.stat().st_mtime):
        text = path.read_bytes()[-LOG_BYTES:].decode(errors='replace')
        logs.append(f'==== {path.stem}\n{text}')
    atomic.write_text(output / 'log.txt', '\n'.join(logs))
    write_results(report, context, output)


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
