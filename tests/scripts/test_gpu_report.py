"""scripts/gpu_report.py, rehearsed on a CPU, and what it does with parts that go wrong."""

import importlib.util
import json
import os
import subprocess
import sys
import types
import zipfile

import pytest
from helpers import ROOT
from helpers.runs import error_of

from pix2pix_jax import runtime
from pix2pix_jax.errors import UserError

SCRIPTS = ROOT / 'scripts'
FILES = {
    'results.json', 'index.html', 'log.txt',
    'metrics.zip', 'sheets.zip', 'images_1.zip', 'programs.zip',
}  # fmt: skip
HAS_TORCH = importlib.util.find_spec('torch') is not None


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)


@pytest.mark.e2e
@pytest.mark.slow
def test_the_rehearsal_has_a_result_of_every_part(tmp_path):
    """Within 25 minutes on a machine that is busy: alone it takes less than five."""
    output = tmp_path / 'report'
    words = ['--device=cpu', '--tiny', '--minutes=25', f'--output={output}']
    command = [sys.executable, SCRIPTS / 'gpu_report.py', *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    log = (output / 'log.txt').read_text()
    assert done.returncode == 0, (done.stdout, done.stderr, log[-3000:])
    parts = json.loads((output / 'results.json').read_text())['parts']
    found = {name: part['results'] for name, part in parts.items()}
    assert all(found.values())
    lacking = {'card', 'step', 'compile', 'batch'}  # without PyTorch
    for name, part in parts.items():
        incomplete = name in lacking and not HAS_TORCH
        expected = ('incomplete', 'torch is missing') if incomplete else ('done', '')
        assert (part['state'], part['reason']) == expected, name
    assert found['check']['recorded'] == 'equal'
    assert found['check']['arrays'] == found['check']['arrays_equal_after_restore'] > 100
    rows = found['step']['steps']
    assert rows['float32 this layouts']['step_ms'] > 0
    if HAS_TORCH:
        assert rows['float32 PyTorch eager']['step_ms'] > 0
        assert rows['float32 PyTorch graph'] == {'reason': 'graph is of CUDA alone'}
    trained = found['train']  # it was stopped
    assert 20 <= trained['steps'] <= trained['saved_at_step'] == found['evaluate']['step'] < 80_000
    assert found['evaluate']['images'] == 3
    for metrics in (
        found['evaluate']['metrics'], *found['states']['states'].values(),
        *found['row=l1']['states'].values(),
    ):  # fmt: skip
        assert 0 < metrics['fcn_pixel_accuracy'] < 1
    assert len(found['states']['states']) > 1 and found['row=l1']['states']
    assert found['resume']['verdict'] == 'equal, bit for bit'
    assert found['resume']['killed_at_step'] >= 8
    assert found['resume']['weights_apart_without'] == 0  # on a CPU
    rows = found['variants']['steps']
    assert all(row['step_ms'] > 0 for name, row in rows.items() if 'reduce-overhead' not in name)
    assert found['profile']['float32_traced_step_ms'] > 0
    assert found['compile']['this']['first_step_cold_s'] > 0
    assert min(row['step_ms'] for row in found['batch']['batches'].values()) > 0
    memory = found['memory']['memory']['32x32, float32']
    assert memory['largest_batch_in_16_GB'] < memory['largest_batch_in_80_GB']

    assert {path.name for path in output.iterdir()} == FILES
    page = (output / 'index.html').read_text()
    assert 'Killed and resumed' in page and 'data:image/png;base64' in page
    with zipfile.ZipFile(output / 'metrics.zip') as archive:
        assert {'facades/metrics.jsonl', 'row_l1/config.json'} <= set(archive.namelist())
    with zipfile.ZipFile(output / 'images_1.zip') as archive:
        assert 'facades/evaluation/test/images/0_output.png' in archive.namelist()


def run_part(tmp_path, monkeypatch, body, limit=20.0):
    """Runs a part whose process is this Python code, with `result` the file of what it finds."""
    import gpu_report
    from gpu.context import PartContext

    script, python = tmp_path / 'part.py', tmp_path / 'python'
    script.write_text(f'import json, sys, time\nresult = open(sys.argv[5], "w")\n{body}')
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n')
    python.chmod(0o755)
    report = {'about': {'device': 'cpu', 'tiny': True, 'minutes': 1}, 'parts': {}}
    context = PartContext('cpu', True, '', '', str(tmp_path), limit)
    with monkeypatch.context() as patch:
        patch.setattr(gpu_report.sys, 'executable', str(python))
        gpu_report.run_part('step', context, limit, report, tmp_path)
    return report['parts']['step']


WRITES = 'result.write(json.dumps({"results": {"steps": 3}})); result.close()\n'


def test_a_part_that_hangs_is_killed_and_what_it_found_is_kept(tmp_path, monkeypatch):
    part = run_part(tmp_path, monkeypatch, f'{WRITES}time.sleep(600)', limit=5.0)
    assert (part['state'], part['reason']) == ('timed out', 'it was killed after 5 s')
    assert part['results'] == {'steps': 3} and 5 <= part['seconds'] < 60
    written = json.loads((tmp_path / 'results.json').read_text())
    assert written['parts']['step']['results'] == {'steps': 3}


def test_what_outlives_its_kill_is_not_waited_for(tmp_path, monkeypatch):
    import gpu_report

    class Stuck(subprocess.Popen):
        def wait(self, timeout=None):
            assert timeout == gpu_report.KILL_S
            raise subprocess.TimeoutExpired('part', timeout)

    monkeypatch.setattr(gpu_report.subprocess, 'Popen', Stuck)
    part = run_part(tmp_path, monkeypatch, f'{WRITES}time.sleep(600)', limit=5.0)
    assert part['reason'] == 'it was killed after 5 s, and had not ended 10 s later'


def test_while_a_part_runs_the_page_is_seldom_drawn(tmp_path, monkeypatch):
    import gpu_report

    drawn, written, write = [], [], gpu_report.write_results
    monkeypatch.setattr(gpu_report, 'draw_page', lambda *_: drawn.append(1))
    monkeypatch.setattr(gpu_report, 'write_results', lambda *a: written.append(write(*a)))
    often = """
for i in range(8):
    pathlib.Path(sys.argv[5]).write_text(json.dumps({"results": {"steps": i}}))
    time.sleep(0.5)
"""
    run_part(tmp_path, monkeypatch, f'import pathlib{often}')
    assert len(written) > 2 and not drawn
    monkeypatch.setattr(gpu_report, 'PAGE_S', 1)
    run_part(tmp_path, monkeypatch, f'import pathlib{often}')
    assert 1 <= len(drawn) <= 6

    def fail(*_):
        raise OSError('no space left')

    monkeypatch.setattr(gpu_report, 'draw_page', fail)
    monkeypatch.setattr(gpu_report, 'write_results', fail)
    part = run_part(tmp_path, monkeypatch, f'import pathlib{often}')
    assert (part['state'], part['results']) == ('done', {'steps': 7})  # it goes on


def test_a_part_that_crashes_says_so(tmp_path, monkeypatch):
    part = run_part(tmp_path, monkeypatch, f'{WRITES}sys.exit("no such device")')
    assert (part['state'], part['reason']) == ('failed', 'no such device')
    assert part['results'] == {'steps': 3}
    found = '{"results": {}, "missing": "torch is missing"}'
    part = run_part(tmp_path, monkeypatch, f"result.write('{found}')")
    assert (part['state'], part['reason']) == ('incomplete', 'torch is missing')


def test_without_time_a_part_is_not_started(tmp_path, monkeypatch):
    part = run_part(tmp_path, monkeypatch, WRITES, limit=1.0)
    assert part['state'] == 'no time' and part['results'] == {}


def test_the_parts_share_the_time():
    from gpu.parts import seconds_of_next

    names = ['card', 'check', 'step', 'train', 'evaluate']
    assert seconds_of_next(names, 525.0) == 30
    assert seconds_of_next(names, 12.0) == 12
    assert seconds_of_next(names[3:], 400.0) == 400 - 60  # what evaluate needs is left to it
    assert seconds_of_next(['row=l1', 'row=16x16'], 400.0) == 200
    assert seconds_of_next(['train', 'evaluate', 'states', 'resume'], 525.0) == 525 - 60 - 90 - 180
    assert seconds_of_next(['train', 'evaluate'], 30.0) == 0
    # Without a training nothing stays unused.
    assert seconds_of_next(['variants'], 545.0) == 545
    assert seconds_of_next(['profile', 'variants'], 465.0) == 465 - 240
    assert seconds_of_next(['profile', 'variants'], 100.0) == 60


def test_archives_are_small_and_nothing_is_left_out_in_silence(tmp_path, monkeypatch):
    from gpu import archives

    monkeypatch.setattr(archives, 'MAX_BYTES', 3 * (1000 + archives.HEADER))
    run, output = tmp_path / 'runs/facades', tmp_path / 'report'
    output.mkdir()
    for name in ('samples/step_{}.png', 'evaluation/test/images/{}_output.png'):
        for i in range(10):
            path = run / name.format(i)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(1000))
    (run / 'config.json').write_text('{}')
    left = archives.write_archives([run, tmp_path / 'not there'], output)
    assert left == ['7 sample grids did not fit', '4 test images did not fit']
    assert {path.name for path in output.iterdir()} == {*archives.NAMES} - {archives.PROGRAMS}
    names = {}
    for path in output.iterdir():
        assert path.stat().st_size <= archives.MAX_BYTES
        with zipfile.ZipFile(path) as archive:
            names[path.name] = archive.namelist()
    assert names['sheets.zip'] == [f'facades/samples/step_{i}.png' for i in (0, 4, 9)]
    assert len(names['images_2.zip']) == 3 and names['metrics.zip'] == ['facades/config.json']


def test_programs_go_from_one_report_to_the_next_as_far_as_they_fit(tmp_path, monkeypatch):
    from gpu import archives

    monkeypatch.setattr(archives, 'MAX_BYTES', 4 * (1000 + archives.HEADER))
    work, cache, output = (tmp_path / name for name in ('work', 'cache', 'report'))
    for path in (
        work / 'trace_tf32/plugins/profile/today/host.xplane.pb',
        *(cache / f'cpu/{i}-cache' for i in range(4)),
        cache / 'cpu/autotune/0',
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode().ljust(1000))
    for i in range(4):
        os.utime(cache / f'cpu/{i}-cache', (10**9 + i,) * 2)
    os.utime(cache / 'cpu/autotune/0', (10**9,) * 2)
    output.mkdir()
    fits = archives.write_programs(work, cache, 10**9, output)
    assert fits == ['2 traces and programs did not fit']
    assert archives.read_programs(output / archives.PROGRAMS, tmp_path / 'next') == (4, 1)
    here = runtime.programs_folder().name  # to which what is of the card goes
    found = {
        str(path.relative_to(tmp_path / 'next')): path for path in (tmp_path / 'next').rglob('*')
    }
    assert {name for name, path in found.items() if path.is_file()} == {
        f'{here}/autotune/0', 'cpu/3-cache', 'cpu/2-cache', 'cpu/1-cache',
    }  # fmt: skip
    assert found['cpu/3-cache'].read_bytes() == (cache / 'cpu/3-cache').read_bytes()
    monkeypatch.setattr(archives, 'MAX_BYTES', 10 * (1000 + archives.HEADER))
    assert archives.write_programs(work, cache, 10**9 + 2, output) == []  # older ones are others'
    archives.read_programs(output / archives.PROGRAMS, tmp_path / 'all')
    found = sorted(str(p.relative_to(tmp_path / 'all')) for p in (tmp_path / 'all').rglob('*'))
    assert found == ['cpu', 'cpu/2-cache', 'cpu/3-cache']  # and no trace


def test_what_vanishes_or_is_not_whole_is_left_out(tmp_path):
    from gpu import archives

    cache = tmp_path / 'cache'
    for name in ('cpu/1-cache', 'cpu/autotune/tmp/2'):
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).write_bytes(b'compiled')
    (cache / 'cpu/gone').symlink_to('nowhere')  # listed, but there is none when it is looked at
    assert archives.write_programs(tmp_path, cache, 0, tmp_path) == []
    with zipfile.ZipFile(tmp_path / archives.PROGRAMS) as archive:
        assert archive.namelist() == ['cpu/1-cache']
    (tmp_path / 'config.json').write_text('{}')
    there, gone = tmp_path / 'config.json', tmp_path / 'samples/gone.png'
    assert archives._pack([there, gone], tmp_path / 'files.zip') == []
    with zipfile.ZipFile(tmp_path / 'files.zip') as archive:
        assert archive.namelist() == [f'{tmp_path.name}/config.json']


def test_what_cannot_be_archived_does_not_end_the_report(tmp_path, monkeypatch):
    import gpu_report
    from gpu import archives
    from gpu.context import PartContext

    def fail(*_):
        raise OSError('no space')

    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setattr(archives, 'write_archives', fail)
    monkeypatch.setattr(gpu_report, 'draw_page', fail)
    report = {'about': {'device': 'cpu'}, 'parts': {}}
    context = PartContext('cpu', True, '', '', str(tmp_path), 1)
    gpu_report.finish(report, context, 0.0, tmp_path)
    assert json.loads((tmp_path / 'results.json').read_text())['about']['left_out'] == [
        'archives of runs: OSError: no space', 'index.html: OSError: no space',
    ]  # fmt: skip


def test_the_page_has_a_limit_and_says_what_it_lacks(tmp_path, monkeypatch):
    from gpu import page

    monkeypatch.setattr(page, 'TEXT_BYTES', 5000)
    monkeypatch.setattr(page, 'MAX_BYTES', 5000 + 2 * 5 * 1000)
    part = {'state': 'done', 'seconds': 1.0, 'limit_s': 1.0, 'reason': '', 'results': {}}
    about = {'device': 'cpu', 'tiny': True, 'minutes': 1, 'left_out': []}
    about |= {'environment': {'XLA_FLAGS': '--xla_one'}, 'programs': '3, none of them'}
    runs = {name: tmp_path / name for name in ('train', 'row=l1')}
    for i, run in enumerate(runs.values()):
        (run / 'samples').mkdir(parents=True)
        for step in range(4):
            (run / f'samples/step_{step}.png').write_bytes(bytes(400 * (1 + 3 * i)))
    text = page.page({'about': about, 'parts': dict.fromkeys(runs, part)}, runs)
    assert len(text) < page.MAX_BYTES and text.count('data:image/png') == 4 + 3
    assert '1 sample grids of row=l1 did not fit this page' in text and 'of train' not in text
    assert 'XLA_FLAGS=--xla_one' in text and 'programs: 3, none of them' in text


def test_an_accelerators_steps_are_compared_with_recorded_ones():
    from gpu import checks

    kept = json.loads(checks.RECORDED.read_text())
    assert kept['full']['losses'][0].keys() == kept['tiny']['losses'][1].keys()

    def compared(weights=1.0, **changed):
        found = [dict(losses) for losses in kept['full']['losses']]
        found[1] |= changed
        sums = weights * kept['full']['weights']
        return checks.compared(types.SimpleNamespace(weights=sums, losses=found), kept['full'])

    assert compared()['recorded'] == 'equal'
    wrong = compared(g_l1=1.01 * kept['full']['losses'][1]['g_l1'])
    assert wrong['recorded'] == 'DIFFERENT'
    assert wrong['recorded_largest_difference'] == pytest.approx(0.01)
    assert 'not comparable: the initial weights' in compared(weights=1.1)['recorded']


def begin(*words):
    """Has the report begin with flags, as `main` does; returns its status."""
    import gpu_report

    values = gpu_report.define_flags()
    values(['gpu_report', *words])
    return gpu_report.main(values)


def test_wrong_flags_are_one_line(tmp_path, monkeypatch):
    import gpu_report
    from gpu.parts import checked

    assert checked(['row=16x16', 'step', 'step']) == ['row=16x16', 'step']
    assert "'row=l2' is unknown, allowed are card, " in error_of(checked, ['row=l2'])
    assert '--output is missing' in error_of(gpu_report.checked_output, '', False)
    (tmp_path / 'results.json').write_text('{}')
    assert 'holds results.json' in error_of(gpu_report.checked_output, str(tmp_path), False)
    assert gpu_report.checked_output(str(tmp_path), True) == tmp_path
    monkeypatch.delenv('PIX2PIX_FACADES', raising=False)
    monkeypatch.delenv('XLA_FLAGS', raising=False)
    output, pairs = f'--output={tmp_path / "new"}', f'--facades={tmp_path}'
    assert error_of(begin, output) == (
        '--facades is missing: the part train trains on them; --parts=card,check,step needs none'
    )
    assert 'the part row=l1 trains' in error_of(begin, output, '--parts=card,row=l1')
    (tmp_path / 'train').mkdir()
    assert error_of(begin, output, pairs) == f'{pairs}: it has no test/'
    (tmp_path / 'test').mkdir()
    for part in ('evaluate', 'states'):
        assert error_of(begin, output, pairs, f'--parts=card,{part},train') == (
            f'--parts: {part} measures the run of train: give train before it'
        )
    monkeypatch.setenv('XLA_FLAGS', '--xla_one=1 --xla_gpu_enable_command_buffer=')
    assert error_of(begin, output, '--parts=check,variants') == (
        'XLA_FLAGS has --xla_gpu_enable_command_buffer, which --parts=variants sets: leave it out'
    )
    assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize(
    ('state', 'reason', 'status'),
    [
        ('done', '', 0),
        ('incomplete', 'torch is missing', 0),
        ('incomplete', 'there is no trained run', 1),
        ('timed out', 'it was killed', 1),
    ],
)
def test_the_status_says_whether_something_is_missing(tmp_path, monkeypatch, state, reason, status):
    import gpu_report

    def run_part(name, context, limit, report, output):
        report['parts'][name] = {
            'state': state, 'reason': reason, 'seconds': 1.0, 'limit_s': limit, 'results': {},
        }  # fmt: skip

    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('XLA_FLAGS', '--xla_one')
    monkeypatch.delenv('CUDA_MODULE_LOADING', raising=False)
    monkeypatch.setattr(gpu_report, 'run_part', run_part)
    assert begin(f'--output={tmp_path / "report"}', '--parts=card') == status
    about = json.loads((tmp_path / 'report/results.json').read_text())['about']
    assert about['environment']['XLA_FLAGS'] == '--xla_one'
    assert 'CUDA_MODULE_LOADING' not in about['environment']


def test_programs_are_read_before_the_folder_is_emptied(tmp_path, monkeypatch, capsys):
    import gpu_report
    from gpu import archives

    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setattr(gpu_report, 'run_part', lambda *_: sys.exit('began'))
    report = tmp_path / 'report'
    report.mkdir()
    programs = report / archives.PROGRAMS

    words = ['--parts=card', '--overwrite', f'--output={report}', f'--programs={programs}']
    programs.write_bytes(b'no zip')
    with pytest.raises(UserError, match='it is no programs.zip of a report'):
        begin(*words)
    with zipfile.ZipFile(programs, 'w') as file:
        file.writestr('../../elsewhere', b'')
    with pytest.raises(UserError, match='lies elsewhere'):
        begin(*words)
    assert programs.exists() and not (tmp_path / 'elsewhere').exists()
    with zipfile.ZipFile(programs, 'w') as file:
        file.writestr('cpu/1-cache', b'compiled')
    with pytest.raises(SystemExit, match='began'):
        begin(*words)
    assert (gpu_report.compiled() / 'cpu/1-cache').read_bytes() == b'compiled'
    said = 'programs: 1, 0 of them for this processor and cores'
    assert said in capsys.readouterr().out
    assert not programs.exists()  # until the first part has ended


def test_an_earlier_report_is_there_until_all_flags_are_known_to_be_right(tmp_path):
    (tmp_path / 'results.json').write_text('{}')
    for wrong in (
        '--facades=/not/there', '--segmenter_weights=/not/there', '--programs=/not/there',
        '--parts=steps', '--dtypes=float16', '--variants=graph,layout',
    ):  # fmt: skip
        error = error_of(begin, f'--output={tmp_path}', '--overwrite', wrong)
        assert wrong.partition('=')[0] in error
        assert (tmp_path / 'results.json').read_text() == '{}'
