"""scripts/ablations.py: a tiny ablation for real, and what it reports."""

import csv
import importlib
import json
import pathlib
import signal
import subprocess
import sys
import time
import types

import jax
import numpy as np
import pytest
from helpers import ROOT
from helpers.runs import SMALL, make_pairs
from PIL import Image

from pix2pix_jax.errors import UserError, run_command
from pix2pix_jax.evaluation import metrics
from pix2pix_jax.storage import atomic

SCRIPTS = ROOT / 'scripts'


def command(*arguments):
    return [sys.executable, SCRIPTS / 'ablations.py', *arguments]


def run(*arguments, cwd):
    return subprocess.run(command(*arguments), capture_output=True, text=True, cwd=cwd)


@pytest.fixture(scope='module')
def pairs(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp('pairs'), {'train': 6, 'test': 3})


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module


def arguments(pairs, *more):
    data = f'--config.dataset.path={pairs}'
    return ['--config=configs/folder.py:tiny', *SMALL, data, '--metrics=lab', '--output=out', *more]


def is_measured(run):
    path = run / 'evaluation/test/metrics.json'  # training writes one, too
    return path.exists() and 'lab_l' in json.loads(path.read_text())['metrics']


@pytest.mark.e2e
@pytest.mark.slow
def test_an_ablation_is_trained_measured_and_reported_and_goes_on(pairs, tmp_path):
    words = arguments(pairs, '--table=update_order', '--seeds=1', '--jobs=2', '--steps=2')
    words += [
        '--each_checkpoint',
        '--config.checkpoint.every_steps=1',
        '--config.checkpoint.keep=2',
    ]
    folder = tmp_path / 'out/runs'
    process = subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    results = tmp_path / 'out/results'
    while not any(results.glob('*.json')):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 143 and 'resume with: python scripts/ablations.py' in error
    names = [path.stem.removesuffix('_test') for path in results.glob('*.json')]
    kept = {p: p.stat().st_mtime_ns for p in (folder / name / 'run.json' for name in names)}

    done = run(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert kept == {p: p.stat().st_mtime_ns for p in kept}  # not trained again
    assert done.stdout.startswith(f'2 runs, {len(kept)} of them done')
    names = ['base-0', 'update=simultaneous-0']
    assert sorted(p.name for p in folder.iterdir()) == names
    for name in names:
        rows = (folder / name / 'metrics.jsonl').read_text().splitlines()
        assert [json.loads(row)['step'] for row in rows] == [1, 2]

    with open(tmp_path / 'out/update_order.csv') as file:
        rows = list(csv.DictReader(file))
    (l1,) = (float(r['value']) for r in rows if (r['row'], r['metric']) == ('simultaneous', 'l1'))
    result = json.loads((folder / names[1] / 'evaluation/test/metrics.json').read_text())
    assert l1 == result['metrics']['l1']['mean']
    text = (tmp_path / 'out/update_order.md').read_text()
    assert f'| simultaneous | {l1:.3f} |' in text
    table = text.split('```')[2].partition('<!--')[0].strip()
    assert '--table=update_order' in text and table in done.stdout
    grid = Image.open(tmp_path / 'out/update_order_sheet.png')
    assert grid.width > 4 * 128 and grid.height > 3 * 128  # input, two rows, target
    assert Image.open(tmp_path / 'out/update_order.png').width > 300

    assert Image.open(tmp_path / 'out/update_order_steps.png').width > 300
    kept = json.loads((tmp_path / 'out/results/update=simultaneous-0_test.json').read_text())
    assert kept['metrics']['l1']['mean'] == l1
    assert [point['step'] for point in kept['checkpoints']] == [1, 2]
    assert kept['checkpoints'][1]['metrics'] == kept['metrics']
    (folder / names[1]).rename(tmp_path / 'elsewhere')  # the results are enough
    done = run(*words, cwd=tmp_path)
    assert done.stdout.startswith('2 runs, 2 of them done') and table in done.stdout

    # Another table takes the run that it shares, and evaluates it otherwise.
    log = tmp_path / 'out/logs/base-0.log'
    trained = log.read_text().count('discriminator: ')
    assert trained
    more = [word for word in words if 'checkpoint' in word and '=' in word]
    words = arguments(pairs, '--table=image_size', '--seeds=1', '--steps=2', *more)
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith('2 runs, 1 of them done')
    assert is_measured(folder / 'base-0')
    assert log.read_text().count('discriminator: ') == trained  # not once more
    assert (folder / 'base-0/evaluation/test_x2/metrics.json').exists()
    assert [path.name for path in folder.iterdir()] == ['base-0']


def test_the_paper_is_beside(scripts):
    report, tables = scripts('ablation.report'), scripts('ablation.tables').TABLES
    values = {
        'l1': {'fcn_class_iou': {0: 0.5, 1: 0.75}},
        'gan': {'fcn_class_iou': {1: 0.25}},
        'ground truth': {'fcn_class_iou': {0: 0.9}},
    }
    text = report.markdown(tables['losses'], ['fcn_class_iou'], values)
    assert '| l1 | 0.625 ± 0.177 | 0.42 / 0.15 / 0.11 |' in text
    assert '| gan (1 of 2 seeds) | 0.250 | 0.22 / 0.05 / 0.01 |' in text
    assert '| ground truth | 0.900 | 0.80 / 0.26 / 0.21 |' in text


@pytest.mark.e2e
@pytest.mark.slow
def test_a_run_that_fails_is_named_and_the_others_are_done(pairs, tmp_path):
    mine = tmp_path / 'out/runs/update=simultaneous-0/notes.txt'
    mine.parent.mkdir(parents=True)
    mine.write_text('mine')
    words = arguments(pairs, '--table=update_order', '--seeds=1', '--steps=1', '--jobs=2')
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert 'simultaneous, seed 0 failed: see ' in done.stdout
    assert '| alternating |' in done.stdout and '| simultaneous |' not in done.stdout
    log = tmp_path / 'out/logs/update=simultaneous-0.log'
    assert 'not the folder of a run' in log.read_text() and mine.read_text() == 'mine'


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        ((), '--table is missing'),
        (('--table=colours',), 'table'),
        (('--table=losses', '--config.loss.gan=lsgan'), 'varies it'),
        (('--table=losses', '--config.seed=3'), 'varies it'),
        (('--table=losses', '--config.loss.gun=1'), 'is unknown'),
        (('--table=losses', '--metrics=is'), "'is' is unknown"),
        (('--table=batch_size', '--config.batch_size=4'), 'varies it'),
        (('--table=losses', '--split=dev'), '--split=dev: the data has train | val | test'),
        (('--table=losses', '--dry_run'), "flag 'dry_run'"),
        (('--table=losses', '--config.num_devices', '1'), 'write --config.num_devices=1'),
        (('--table=losses', '--segmenter=nowhere:f'), '--segmenter=nowhere:f: ModuleNotFound'),
    ],
)
def test_mistakes_are_one_line(more, message, pairs, scripts, tmp_path, monkeypatch, capsys):
    ablations, words = scripts('ablations'), ['ablations.py', *arguments(pairs, *more)]
    monkeypatch.setattr(sys, 'argv', words)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        run_command(ablations.main, ablations.define_flags, words, ablations.check_argv)
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and message in error and error.count('\n') == 1
    assert not (tmp_path / 'out').exists()


@pytest.mark.e2e
def test_other_runs_and_files_are_left_alone(pairs, tmp_path):
    words = arguments(pairs, '--table=update_order', '--seeds=1', '--steps=1')
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/update_order.md').write_text('mine\n')
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 2 and 'a file update_order.md that is not of this' in done.stderr
    record = tmp_path / 'out/runs/base-0/run.json'
    record.parent.mkdir(parents=True)
    words.append('--overwrite')
    other = f'python -m pix2pix_jax.main --config=other.py --workdir={record.parent}'
    record.write_text(json.dumps({'command': other}))
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 2 and 'base-0 was trained by another command' in done.stderr
    assert '--config=other.py' in done.stderr and done.stderr.count('\n') == 1
    assert (tmp_path / 'out/update_order.md').read_text() == 'mine\n'


def write_result(folder, size=16, **values):
    """An evaluation of one image, as evaluate writes it."""
    for kind in ('input', 'output', 'target'):
        atomic.write_bytes(
            folder / f'images/1_{kind}.png', atomic.encode_png(np.zeros((size, size, 3), np.uint8))
        )
    atomic.write_text(folder / 'per_image.csv', 'name,l1\n1,0.5\n')
    summaries = {
        name: {'value': None, 'reason': value}
        if isinstance(value, str)
        else {'mean': value, 'ci95': [value, value]}
        for name, value in values.items()
    }
    same = metrics.identity(metrics.PAIRS_ALONE)
    result = {'images': 1, 'metrics': summaries, 'measured': same}
    atomic.write_text(folder / 'metrics.json', json.dumps(result))
    return folder


def result_of(folder, *checkpoints):
    """What the JSON of a run says that was measured so, its checkpoints (step, values)."""
    found = json.loads((folder / 'metrics.json').read_text())
    points = [
        {'step': step, 'metrics': {name: {'mean': value} for name, value in values.items()}}
        for step, values in checkpoints
    ]
    return found | {'checkpoints': points}


def test_a_report_of_what_is_there(scripts, tmp_path):
    """A seed and a metric are missing, one could not be computed, sizes and truths differ."""
    report, table = scripts('ablation.report'), scripts('ablation.tables').TABLES['image_size']
    folders = {
        'as trained': write_result(
            tmp_path / 'a0', l1=0.5, real_fcn_class_iou=0.4, fid='no network'
        ),
        'twice the size': write_result(tmp_path / 'b', 24, l1=0.6, real_fcn_class_iou=0.3),
    }
    other = write_result(tmp_path / 'a2', l1=0.7, real_fcn_class_iou=0.4, ssim=0.9)
    curve = (4, {'l1': 0.75}), (8, {'l1': 0.5})
    results = {
        'as trained': {
            0: result_of(folders['as trained'], *curve),
            2: result_of(other, *curve, (9, {'l1': 0.25})),
        },
        'twice the size': {2: result_of(folders['twice the size'])},
    }
    assert report.curves_of(results, 'l1') == {'as trained': {4: 0.75, 8: 0.5}}
    text = report.write_report(tmp_path, 'image_size', table, results, folders, 'the command')
    assert Image.open(tmp_path / 'image_size_steps.png').width > 300
    assert '| as trained |  | 0.600 ± 0.141 | 0.900 |' in text
    assert '| twice the size (1 of 2 seeds) |  | 0.600 |  |' in text
    assert '| ground truth | 0.400 |' in text and '| ground truth, twice the size | 0.300 |' in text
    assert 'FID: no network' in text and 'over 2 seeds' in (tmp_path / 'image_size.md').read_text()
    rows = (tmp_path / 'image_size.csv').read_text().splitlines()
    assert 'as trained,ssim,2,0.9' in rows and 'as trained,l1,2,0.7' in rows
    assert Image.open(tmp_path / 'image_size_sheet.png').width > 4 * 128
    report.check_report(tmp_path, 'image_size')  # its own is replaced


def test_a_result_counts_for_the_same_experiment_measured_alike(scripts, tmp_path):
    """Elsewhere, with data elsewhere; SSIM has another definition since 0.2.0."""
    jobs, results = scripts('ablation.jobs'), scripts('ablation.results')
    config = f'{SCRIPTS.parent}/configs/facades.py'
    fields = ('--config.image_size=128', '--config.dataset.path=here', '--config.remat')
    ablation = jobs.Ablation(
        'update_order', config, fields, tmp_path, 8, 'test', metrics.PAIRS_ALONE,
        tmp_path / 'results', 'names',
    )  # fmt: skip
    job, _ = jobs.jobs_of(ablation, 0)
    assert not results.is_done(job, ablation)
    (job.workdir / 'checkpoints/last/8').mkdir(parents=True)
    run = {'command': 'python -m pix2pix_jax.main ' + ' '.join(job.train)}
    run |= {'versions': {}, 'git_commit': '', 'devices': []}
    (job.workdir / 'run.json').write_text(json.dumps(run))
    (job.workdir / 'metrics.jsonl').write_text('{"step": 8, "perf/images_per_s": 3}\n')
    write_result(job.result, l1=0.5)
    found = json.loads((job.result / 'metrics.json').read_text())
    found |= {'split': 'test', 'scale': 1, 'step': 8, 'images': 1}
    (job.result / 'metrics.json').write_text(json.dumps(found))
    results.write(job, ablation)

    def is_done(**changes):
        other = ablation._replace(output=tmp_path / 'other', **changes)
        return results.is_done(jobs.jobs_of(other, 0)[0], other)

    elsewhere = ('--config.image_size=128', '--config.dataset.path=there', '--config.remat=True')
    assert is_done() and is_done(fields=elsewhere)
    assert not is_done(fields=fields[:2]) and not is_done(fields=('--config.image_size=64',))
    assert not is_done(data='other names') and not is_done(steps=9) and not is_done(each=True)
    assert not is_done(options=metrics.PAIRS_ALONE._replace(names=('lab',)))
    assert not is_done(split='val')  # whose result has a name of its own

    # A metric that cannot be computed is tried again where the run is, which is not trained for it.
    path = results.path_of(job, ablation.results)
    result = json.loads(path.read_text())
    options = metrics.PAIRS_ALONE._replace(names=('lpips',))
    reason = {'value': None, 'reason': 'no weights'}
    result['metrics'] |= {'lpips': reason}
    result['measured'] |= metrics.identity(options)
    path.write_text(json.dumps(result))
    assert is_done(options=options)
    assert not results.is_done(job, ablation._replace(options=options))
    result['metrics'] |= {'lpips': reason | {'reason': metrics.MASKED}}
    path.write_text(json.dumps(result))
    assert results.is_done(job, ablation._replace(options=options))

    path.write_text(path.read_text().replace('on values from 0', 'of another kind'))
    assert not is_done() and jobs.is_trained(job)


def test_a_data_set_is_known_by_its_names(scripts):
    fingerprint = scripts('ablation.results').fingerprint

    def of(**splits):
        named = {k: types.SimpleNamespace(names=list(v)) for k, v in splits.items()}
        return fingerprint(named)

    assert of(train='ab', val='c', test='de') == of(train='cb', val='a', test='ed')
    assert of(train='ab', val='c', test='de') != of(train='abd', val='c', test='e')


def test_nothing_of_a_table_was_measured(scripts, tmp_path):
    report, table = scripts('ablation.report'), scripts('ablation.tables').TABLES['color']
    folder = write_result(tmp_path / 'a', l1=0.5, lab_l='gray images')
    results = {'l1': {0: result_of(folder)}}
    text = report.write_report(tmp_path, 'color', table, results, {'l1': folder}, 'command')
    assert 'L: gray images' in text
    assert not (tmp_path / 'color.png').exists()


def test_every_row_of_every_table_resolves_and_equal_settings_share_a_run(scripts):
    jobs, tables = scripts('ablation.jobs'), scripts('ablation.tables').TABLES
    config = f'{SCRIPTS.parent}/configs/facades.py'
    ablation = jobs.Ablation(
        '',
        config,
        (),
        pathlib.Path('out'),
        80_000,
        'test',
        metrics.PAIRS_ALONE,
        pathlib.Path('results'),
    )
    names = {}
    for name in tables:
        for job in jobs.jobs_of(ablation._replace(table=name), 0):
            names[name, job.row] = job.workdir.name
    assert len(set(names.values())) == 18
    for shared in (('losses', 'l1+cgan'), ('receptive_field', '70x70'), ('color', 'l1+cgan'),
                   ('generators', 'unet l1+cgan'), ('batch_size', '1'),
                   ('upsampling', 'transposed'),
                   ('update_order', 'alternating'), ('augmentation', 'none'),
                   ('image_size', 'twice the size')):  # fmt: skip
        assert names[shared] == 'base-0'
    assert names['color', 'pixelgan'] == names['receptive_field', '1x1'] != 'base-0'
    (job, _) = jobs.jobs_of(ablation._replace(table='update_order', steps=9), 1)
    assert job.workdir.name == 'base-1' and '--config.seed=1' in job.train


@pytest.mark.parametrize(
    ('found', 'visible', 'jobs', 'expected'),
    [
        (('cuda', 2), '', 4, ['0', '1']),
        (('cuda', 2), '4,6', 3, ['4', '6']),
        (('cuda', 1), '4,6', 3, ['4']),  # there is no GPU 6
        (('cuda', 8), '', 3, ['0', '1', '2']),
        (('cuda', 1), '', 2, ['0']),
        (('tpu', 4), '', 8, ['0', '1', '2', '3']),
    ],
)
def test_each_job_has_a_device_that_is_there(scripts, monkeypatch, found, visible, jobs, expected):
    devices = scripts('ablation.devices')
    monkeypatch.setattr(devices, 'find_devices', lambda: found)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
    places = devices.environments(jobs)
    name = 'TPU_VISIBLE_CHIPS' if found[0] == 'tpu' else 'CUDA_VISIBLE_DEVICES'
    assert [place[name] for place in places] == expected
    assert {place['JAX_PLATFORMS'] for place in places} == {f'{found[0]},cpu'}


def test_jobs_on_a_cpu_share_its_cores(scripts, monkeypatch):
    devices, processes = scripts('ablation.devices'), scripts('ablation.processes')
    monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
    places = devices.environments(2)
    assert devices.find_devices() == ('cpu', 1) and places == [{}, {}]
    monkeypatch.setattr(processes.os, 'sched_getaffinity', lambda pid: {0, 1, 2, 3, 5})
    cores = []
    monkeypatch.setattr(processes.os, 'sched_setaffinity', lambda pid, share: cores.append(share))
    for slot in range(2):
        processes.take_place(slot, places)
    assert cores == [[0, 2, 5], [1, 3]]
    monkeypatch.setattr(devices, 'find_devices', None)  # not asked for
    assert devices.environments(1) == [{}]


def test_no_device_is_one_line(scripts, monkeypatch):
    monkeypatch.setenv('JAX_PLATFORMS', 'rocm')
    with pytest.raises(
        UserError, match='--jobs: jax finds no device here, with JAX_PLATFORMS=rocm'
    ):
        scripts('ablation.devices').find_devices()


@pytest.fixture
def run_all(scripts, tmp_path, monkeypatch):
    """Does so many jobs of other runs at once; returns those that failed."""
    job, processes = scripts('ablation.jobs').TrainingJob, scripts('ablation.processes')
    monkeypatch.setattr(processes.signal, 'signal', lambda *args: None)

    def call(count, at_once, train=()):
        jobs = [
            job('row', i, f'{i}', {}, 1, tmp_path / f'{i}', [*train], [], tmp_path / f'{i}/e')
            for i in range(count)
        ]
        return processes.run_all(jobs, tmp_path / 'logs', at_once, lambda job: None)

    return call


def test_more_jobs_than_gpus_wait_for_one(scripts, run_all, monkeypatch, capsys):
    processes, busy, most, used = scripts('ablation.processes'), set(), [], []
    monkeypatch.setattr(scripts('ablation.devices'), 'find_devices', lambda: ('cuda', 2))

    def run_job(job, log):
        gpu = processes.LOCAL.environment['CUDA_VISIBLE_DEVICES']
        assert gpu not in busy
        busy.add(gpu)
        most.append(len(busy))
        used.append(gpu)
        time.sleep(0.05)
        busy.remove(gpu)
        return True

    monkeypatch.setattr(processes, 'run_job', run_job)
    assert run_all(7, at_once=5) == []
    assert len(used) == 7 and set(used) == {'0', '1'} and max(most) == 2
    assert '2 at a time, each on one of 2 cuda devices' in capsys.readouterr().out


@pytest.mark.parametrize('platform', ['cuda', 'rocm'])
def test_a_device_that_is_gone_fails_the_run_and_no_cpu_takes_it(
    scripts, run_all, monkeypatch, tmp_path, pairs, platform
):
    if any(device.platform == 'gpu' for device in jax.devices()):
        pytest.skip('there is a GPU')
    monkeypatch.setattr(scripts('ablation.devices'), 'find_devices', lambda: (platform, 2))
    words = ['--config=configs/folder.py:tiny', *SMALL, f'--config.dataset.path={pairs}']
    failed = run_all(2, 2, train=[*words, f'--workdir={tmp_path}/run'])
    assert len(failed) == 2 and not (tmp_path / 'run').exists()
    for log in (tmp_path / 'logs').iterdir():
        (line,) = log.read_text().splitlines()[-1:]
        assert line.startswith(f'error: JAX_PLATFORMS={platform},cpu: jax finds no such device')
        assert 'Traceback' not in log.read_text()
