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
from scipy import stats

from pix2pix_jax.config import default_config, flatten
from pix2pix_jax.errors import UserError, run_command
from pix2pix_jax.evaluation import metrics
from pix2pix_jax.main import check_argv, load_config
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
    words = arguments(pairs, '--table=update_order', '--seeds=1', '--jobs=2', '--steps=7')
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
        assert [json.loads(row)['step'] for row in rows][-1] == 7

    with open(tmp_path / 'out/update_order.csv') as file:
        rows = list(csv.DictReader(file))
    (l1,) = (float(r['value']) for r in rows if (r['row'], r['metric']) == ('simultaneous', 'l1'))
    states = folder / names[1] / 'evaluation/test_checkpoints/checkpoints.json'
    measured = json.loads(states.read_text())['checkpoints']
    assert [state['step'] for state in measured] == [6, 7]  # of the last fifth
    assert l1 == sum(state['metrics']['l1']['mean'] for state in measured) / 2
    text = (tmp_path / 'out/update_order.md').read_text()
    assert f'| simultaneous | {l1:.3f} |' in text
    table = text.split('```')[2].partition('<!--')[0].strip()
    assert '--table=update_order' in text and table in done.stdout
    grid = Image.open(tmp_path / 'out/update_order_sheet.png')
    assert grid.width > 4 * 128 and grid.height > 3 * 128  # input, two rows, target
    assert Image.open(tmp_path / 'out/update_order.png').width > 300

    assert Image.open(tmp_path / 'out/update_order_steps.png').width > 300
    kept = json.loads((tmp_path / 'out/results/update=simultaneous-0_test.json').read_text())
    assert kept['checkpoints'] == measured and 'checkpoints_noema' not in kept
    assert kept['step_mib'] > 0 and kept['image_ms'] > 0 and kept['images_per_s'] > 0
    last = json.loads((folder / names[1] / 'evaluation/test/metrics.json').read_text())
    assert last['metrics'] == measured[-1]['metrics']
    (folder / names[1]).rename(tmp_path / 'elsewhere')  # the results are enough
    done = run(*words, cwd=tmp_path)
    assert done.stdout.startswith('2 runs, 2 of them done') and table in done.stdout

    # Another table takes the run that it shares, and evaluates it otherwise.
    log = tmp_path / 'out/logs/base-0.log'
    trained = log.read_text().count('discriminator: ')
    assert trained
    words = arguments(pairs, '--table=image_size', '--seeds=1', '--steps=7')
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith('2 runs, 1 of them done')
    assert is_measured(folder / 'base-0')
    assert log.read_text().count('discriminator: ') == trained  # not once more
    assert (folder / 'base-0/evaluation/test_scale=2/metrics.json').exists()
    assert [path.name for path in folder.iterdir()] == ['base-0']


def test_the_paper_is_beside(scripts):
    report, tables = scripts('ablation.report'), scripts('ablation.tables').TABLES
    values = {
        'l1': {'fcn_class_iou': {0: 0.5, 1: 0.75}},
        'gan': {'fcn_class_iou': {1: 0.25}},
        'ground truth': {'fcn_class_iou': {0: 0.9}},
    }
    text = report.markdown(tables['losses'], ['fcn_class_iou'], values, {})
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
        (('--table=update_order', '--rows=alternating', '--config.update=simultaneous'), 'varies'),
        (('--table=losses', '--config.loss.gun=1'), 'is unknown'),
        (('--table=losses', '--metrics=is'), "'is' is unknown"),
        (('--table=batch_size', '--config.batch_size=4'), 'varies it'),
        (
            ('--table=methods', '--config.generator.dropout=0.3'),
            "row 'flow 1 step' of --table=methods: config.generator.dropout=0.3: allowed is 0.0",
        ),
        (
            ('--table=methods', '--config.generator.norm=batch'),  # the default, and a choice
            "row 'flow 1 step' of --table=methods: config.generator.norm='batch': allowed is",
        ),
        (('--table=losses', '--seeds=0'), '--seeds=0: give how many, as 5 for 0 to 4, or which'),
        (('--table=losses', '--seeds=5,six'), '--seeds=5,six: give how many'),
        (('--table=losses', '--split=dev'), '--split=dev: the data has train | val | test'),
        (('--table=losses', '--dry_run'), "flag 'dry_run'"),
        (('--table=losses', '--segmenter=nowhere:f'), '--segmenter=nowhere:f: ModuleNotFound'),
    ],
)
def test_mistakes_are_one_line(more, message, pairs, scripts, tmp_path, monkeypatch, capsys):
    ablations, words = scripts('ablations'), ['ablations.py', *arguments(pairs, *more)]
    monkeypatch.setattr(sys, 'argv', words)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        run_command(ablations.main, ablations.define_flags, words, check_argv)
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


def summary_of(**values):
    """The metrics of a state, as metrics.json has them; text says why there is no value."""
    return {
        name: {'value': None, 'reason': value}
        if isinstance(value, str)
        else {'mean': value, 'ci95': [value, value]}
        for name, value in values.items()
    }


def write_images(folder, size=16):
    """What the sheet needs of an evaluation of one image."""
    for kind in ('input', 'output', 'target'):
        atomic.write_bytes(
            folder / f'images/1_{kind}.png', atomic.encode_png(np.zeros((size, size, 3), np.uint8))
        )
    atomic.write_text(folder / 'per_image.csv', 'name,l1\n1,0.5\n')
    return folder


def scored(scripts, *states, minutes=1.0, machine='here', **values):
    """A run of these means, its states (step, values) for the curves."""
    points = [{'step': step, 'metrics': summary_of(**found)} for step, found in states]
    costs = {'training_min': minutes}
    return scripts('ablation.results').Scored(summary_of(**values), costs, machine, points, 5)


def test_a_report_of_what_is_there(scripts, tmp_path):
    """A seed and a metric are missing, one could not be computed, sizes and truths differ."""
    report, table = scripts('ablation.report'), scripts('ablation.tables').TABLES['image_size']
    curve = (4, {'l1': 0.75}), (8, {'l1': 0.5})
    trained = scored(scripts, *curve, l1=0.5, real_fcn_class_iou=0.4, fid='no network')
    other = scored(
        scripts, *curve, (9, {'l1': 0.25}), l1=0.7, real_fcn_class_iou=0.4, ssim=0.9, minutes=2.0
    )
    results = {
        'as trained': {0: trained, 2: other},
        'twice the size': {2: scored(scripts, l1=0.6, real_fcn_class_iou=0.3)},
    }
    folders = {
        'as trained': write_images(tmp_path / 'a'),
        'twice the size': write_images(tmp_path / 'b', 24),
    }
    plots = scripts('ablation.plots')
    assert plots.curves_of(results, 'l1')['as trained'] == {4: 0.75, 8: 0.5}
    text = report.write_report(tmp_path, 'image_size', table, results, folders, 'the command')
    assert Image.open(tmp_path / 'image_size_steps.png').width > 300
    assert '| as trained |  | 0.600 ± 0.141 | 0.900 | 1.5 | 1.00 |' in text
    assert '| twice the size (1 of 2 seeds) |  | 0.600 |  | 1 | 0.50 |' in text
    assert '| ground truth | 0.400 |' in text and '| ground truth, twice the size | 0.300 |' in text
    page = (tmp_path / 'image_size.md').read_text()
    assert 'FID: no network' in text and 'of which there are 2' in page and 'over 5 states' in page
    rows = (tmp_path / 'image_size.csv').read_text().splitlines()
    assert 'as trained,ssim,2,0.9' in rows and 'as trained,l1,2,0.7' in rows
    assert 'as trained,training_min,2,2.0' in rows
    assert Image.open(tmp_path / 'image_size_sheet.png').width > 4 * 128
    report.check_report(tmp_path, 'image_size')  # its own is replaced


def test_differences_are_paired_by_seed_and_the_interval_is_student_s(scripts):
    scores = scripts('ablation.scores')
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 6))
    values, others = dict(enumerate(a)), dict(enumerate(b))
    found = scores.difference(values | {9: 5.0}, others | {8: 5.0})
    expected = stats.ttest_rel(a, b)
    interval = expected.confidence_interval(0.95)
    np.testing.assert_allclose(found, [np.mean(a - b), interval.low, interval.high])
    assert found.is_told() == (expected.pvalue < 0.05)
    # By hand: differences 1, 2, 3 have mean 2, deviation 1; the quantile of 2 degrees is 4.303.
    by_hand = scores.difference({0: 2, 1: 4, 2: 6}, {0: 1, 1: 2, 2: 3})
    np.testing.assert_allclose(by_hand, [2, 2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5], atol=1e-3)
    assert scores.difference({0: 1}, {1: 1}) is None
    assert not scores.difference({0: 3}, {0: 1}).is_told()  # one seed


def test_the_states_of_a_run_are_saved_and_lie_in_its_last_fifth(scripts):
    scores, jobs = scripts('ablation.scores'), scripts('ablation.jobs')
    assert scores.states(20_000) == [16_800, 17_600, 18_400, 19_200, 20_000]
    assert scores.states(1) == [1] and scores.states(7) == [6, 7]
    for steps in (*range(25, 400), 80_003):
        states = scores.states(steps)
        assert len(states) == 5 or steps < 100
        assert states[-1] == steps and all(0.8 * steps < state for state in states)
        saves = jobs.keeping(steps, {})
        assert not [s for s in states[:-1] if s % saves['checkpoint.every_steps']]
    given = {'checkpoint.every_steps': '400', 'checkpoint.keep': '3'}
    assert jobs.keeping(20_000, given)['checkpoint.keep'] == 3


@pytest.mark.parametrize('given', [{}, {'eval_every': '500'}, {'eval_every': '0'}])
@pytest.mark.parametrize('steps', [100, 6_000, 20_000])
def test_a_run_whose_best_states_are_saved_keeps_those_of_its_score(scripts, given, steps):
    """Of data with val: each evaluation may be the best so far. It is stopped twice, too."""
    scores, jobs = scripts('ablation.scores'), scripts('ablation.jobs')
    saves = jobs.keeping(steps, given)
    every, evaluated = saves['checkpoint.every_steps'], saves['eval_every']
    saved = {*range(every, steps, every), steps, int(0.9 * steps) - 3, int(0.99 * steps) - 1}
    saved |= {*range(evaluated, steps, evaluated)} if evaluated else set()
    there = sorted(saved)[-saves['checkpoint.keep'] :]
    assert {*scores.states(steps)} <= {*there}


def test_a_score_is_the_mean_over_the_states_of_the_last_fifth(scripts):
    scores = scripts('ablation.scores')
    points = [
        {'step': step, 'metrics': summary_of(l1=step / 100, lpips=1.0, fid='no network')}
        for step in (60, 80, 84, 92, 100)
    ]
    found = scores.score(points, 100, scores.judges_of({'loss.lpips_weight': '0.5'}))
    assert found['l1']['mean'] == pytest.approx((0.84 + 0.92 + 1) / 3)
    assert 'lpips' not in found and found['fid']['reason'] == 'no network'
    found = scores.score(points, 100, scores.judges_of({'loss.lpips_weight': '0'}))
    assert found['lpips']['mean'] == 1
    assert scores.score(points, 1000, ()) == {}  # of another run


def test_the_verdict_says_what_the_seeds_tell(scripts):
    verdict = scripts('ablation.scores').verdict
    rows = {
        'a': {'l1': {0: 0.30, 1: 0.31, 2: 0.32}, 'ssim': {0: 0.5, 1: 0.6, 2: 0.7}},
        'b': {'l1': {0: 0.40, 1: 0.42, 2: 0.43}, 'ssim': {0: 0.6, 1: 0.5, 2: 0.71}},
        'c': {'l1': {0: 0.50, 1: 0.51, 2: 0.55}},
    }
    rows['a']['psnr'] = {seed: -value for seed, value in rows['a']['l1'].items()}
    rows['b']['psnr'] = {seed: -value for seed, value in rows['b']['l1'].items()}
    text = verdict(['l1', 'ssim', 'psnr', 'lpips', 'images_per_s'], rows, str.upper)
    expected = 'By L1, PSNR these data prefer "a"; by SSIM the seeds do not tell "b" from "a".'
    assert text == expected
    assert verdict(['l1'], {'a': rows['a']}, str) == ''
    # Of all its seeds "a" is the best, but of those that both have "b" is: no row is preferred.
    few = {'a': {'l1': {0: 0.5, 1: 0.5, 2: 0.1, 3: 0.1}}, 'b': {'l1': {0: 0.4, 1: 0.401}}}
    assert verdict(['l1'], few, str) == 'By l1 the seeds do not tell "a" from "b".'
    report = scripts('ablation.report')
    one = {'a': {'l1': {0: 1}}, 'b': {'l1': {0: 2}}}
    assert 'One seed alone' in report.sentence(['l1'], one, {})
    noise = {
        'noise': {'checkerboard': {0: -0.6, 1: -0.7, 2: -0.6}},
        'images': {'checkerboard': {0: 0.1, 1: 0.2, 2: 0.25}},
    }
    assert 'prefer "noise"' in report.sentence(['checkerboard'], noise, {})
    truth = {'checkerboard': {0: 0.3}}
    assert 'do not tell "noise" from "images"' in report.sentence(['checkerboard'], noise, truth)


def test_one_ground_truth_that_two_machines_round_otherwise_is_one(scripts):
    report = scripts('ablation.report')
    results = {
        'a': {0: scored(scripts, real_checkerboard=0.25, real_fcn_class_iou=0.4)},
        'b': {0: scored(scripts, real_checkerboard=0.25001, real_fcn_class_iou=0.4)},
        'larger': {0: scored(scripts, real_checkerboard=0.26, real_fcn_class_iou=0.4)},
    }
    values, _ = report.read_values(results)
    assert [row for row in values if 'truth' in row] == ['ground truth', 'ground truth, larger']


def test_times_compare_on_one_machine(scripts):
    report = scripts('ablation.report')
    results = {
        'a': {seed: scored(scripts, minutes=2.0 + 2 * (seed == 1)) for seed in range(4)},
        'b': {
            0: scored(scripts, minutes=3.0),
            1: scored(scripts, minutes=9.0, machine='there'),
            2: scored(scripts, minutes=3.2),
            3: scored(scripts, minutes=20.0),  # beside much else
        },
        'c': {1: scored(scripts, minutes=9.0, machine='there')},
    }
    assert report.relative_times(results) == {'a': 1, 'b': 1.6}
    values, _ = report.read_values(results)  # of the machine that trained the most runs
    times = {row: of['training_min'] for row, of in values.items() if 'training_min' in of}
    assert times == {'a': {0: 2.0, 1: 4.0, 2: 2.0, 3: 2.0}, 'b': {0: 3.0, 2: 3.2, 3: 20.0}}
    assert 'on this machine: here.' in report.explanation(results)


def test_times_are_of_the_machine_that_trained(scripts):
    costs = scripts('ablation.costs')
    assert costs.machine({'cpu': 'another CPU', 'cores': 1}) == 'another CPU, 1 cores'
    assert costs.machine({'cpu': 'another CPU', 'cores': 2}) == 'another CPU, 2 cores'
    assert costs.machine({'cores': 2}) == '2 cores'  # of earlier versions
    assert costs.machine({}) == ''


@pytest.fixture
def make_ablation(scripts, tmp_path):
    """Returns an ablation of 100 steps of the facades config with these changes."""

    def make(**changes):
        config, results = f'{SCRIPTS.parent}/configs/facades.py', tmp_path / 'results'
        fields = ('--config.image_size=128', '--config.dataset.path=here', '--config.remat')
        ablation = scripts('ablation.jobs').Ablation(
            'update_order', config, fields, tmp_path, 100, 'test', metrics.PAIRS_ALONE, results
        )
        return ablation._replace(**{'data': 'names', **changes})

    return make


def write_run(job, weights=('',), kept=(84, 88, 92, 96, 100), **values):
    """What a run and the evaluations of its states leave in its folder."""
    for step in kept:
        (job.workdir / f'checkpoints/last/{step}').mkdir(parents=True)
    run = {'command': 'python -m pix2pix_jax.main ' + ' '.join(job.train)}
    run |= {'versions': {}, 'git_commit': '', 'devices': []}
    (job.workdir / 'run.json').write_text(json.dumps(run))
    (job.workdir / 'metrics.jsonl').write_text('{"step": 100, "perf/images_per_s": 3}\n')
    for number, ending in enumerate(weights):
        shifted = {name: value + number for name, value in values.items()}
        rows = [{'step': step, 'metrics': summary_of(**shifted)} for step in kept]
        file = job.workdir / f'evaluation/test{ending}_checkpoints/checkpoints.json'
        measured = metrics.identity(metrics.PAIRS_ALONE)
        atomic.write_text(file, json.dumps({'measured': measured, 'checkpoints': rows}))


def test_a_result_counts_for_the_same_experiment_measured_alike(scripts, tmp_path, make_ablation):
    """Elsewhere, with data elsewhere; SSIM has another definition since 0.2.0."""
    jobs, results = scripts('ablation.jobs'), scripts('ablation.results')
    ablation = make_ablation()
    fields = ablation.fields
    job, _ = jobs.jobs_of(ablation)
    assert not results.is_done(job, ablation)
    write_run(job, l1=0.5)
    results.write(job, ablation)

    def is_done(**changes):
        other = ablation._replace(output=tmp_path / 'other', **changes)
        return results.is_done(jobs.jobs_of(other)[0], other)

    elsewhere = ('--config.image_size=128', '--config.dataset.path=there', '--config.remat=True')
    elsewhere += ('--config.loss.alexnet_file=there.pth',)
    assert is_done() and is_done(fields=elsewhere) and is_done(each=True)
    assert results.is_done(job, ablation) and results.is_done(job._replace(each=True), ablation)
    assert not is_done(fields=fields[:2]) and not is_done(fields=('--config.image_size=64',))
    assert not is_done(data='other names') and not is_done(steps=90)
    assert not is_done(options=metrics.PAIRS_ALONE._replace(names=('lab',)))
    assert not is_done(split='val')  # whose result has a name of its own

    # A metric that cannot be computed is tried again where the run is, which is not trained for it.
    path = results.path_of(job, ablation.results)
    result = json.loads(path.read_text())
    options = metrics.PAIRS_ALONE._replace(names=('lpips',))

    def write(reason):
        for state in result['checkpoints']:
            state['metrics']['lpips'] = {'value': None, 'reason': reason}
        path.write_text(json.dumps(result))

    result['measured'] |= metrics.identity(options)
    write('no weights')
    assert is_done(options=options)
    assert not results.is_done(job, ablation._replace(options=options))
    write(metrics.MASKED)
    assert results.is_done(job, ablation._replace(options=options))

    # Nor is a state that was not measured.
    del result['checkpoints'][1:4]
    path.write_text(json.dumps(result))
    assert is_done() and not results.is_done(job, ablation)
    assert results.of_jobs([job], ablation)['alternating'][0].states == 2
    del result['checkpoints'][:]
    path.write_text(json.dumps(result))
    assert not is_done()

    path.write_text(path.read_text().replace('on values from 0', 'of another kind'))
    assert not is_done() and jobs.is_trained(job)


def test_one_more_metric_neither_trains_again_nor_loses_the_earlier(scripts, make_ablation):
    jobs, results = scripts('ablation.jobs'), scripts('ablation.results')
    ablation = make_ablation()
    job, other = jobs.jobs_of(ablation)
    assert results.with_earlier(job, ablation) == job  # nothing of it is there
    write_run(job, l1=0.5)
    results.write(job, ablation)
    path = results.path_of(job, ablation.results)

    def measured_with(**measured):
        result = json.loads(path.read_text())
        result['measured'] |= measured
        path.write_text(json.dumps(result))

    def asked(*names):
        more = ablation._replace(options=metrics.PAIRS_ALONE._replace(names=names))
        job = results.with_earlier(jobs.jobs_of(more)[0], more)
        return next(word for word in job.evaluate if word.startswith('--metrics='))

    measured_with(lab='')
    assert asked('lpips') == '--metrics=lab,lpips' and asked('lab') == '--metrics=lab'
    measured_with(fcn='the own segmenter, version 1')
    assert 'fcn' in asked('fcn')  # asked for as it is now
    with pytest.raises(UserError, match='has fcn, measured with the own segmenter, version 1:'):
        asked('lpips')
    measured_with(fcn=metrics.METRICS['fcn'].measured_with(metrics.PAIRS_ALONE))
    job.workdir.rename(job.workdir.with_name('elsewhere'))
    kept = path.read_bytes()
    assert asked('lab') == '--metrics=lab,fcn'  # a result is there: nothing is trained for it
    with pytest.raises(UserError, match='has lab, fcn, not lpips as it is asked for, and its run'):
        asked('lpips', 'lab')
    assert path.read_bytes() == kept


def test_a_run_of_other_data_is_not_taken_for_one_of_these(scripts, make_ablation):
    """It would be evaluated on its own data, and its result be kept as of these."""
    jobs = scripts('ablation.jobs')
    ablation = make_ablation()
    job, _ = jobs.jobs_of(ablation)
    write_run(job, l1=0.5)
    assert jobs.is_trained(job)
    fields = [word.replace('dataset.path=here', 'dataset.path=there') for word in ablation.fields]
    other = jobs.jobs_of(ablation._replace(fields=tuple(fields)))
    assert not jobs.is_trained(other[0])
    with pytest.raises(UserError, match='by another command, which differs in .*dataset.path=her'):
        jobs.check_runs(other)


def test_a_result_of_another_experiment_is_not_replaced(scripts, make_ablation):
    jobs, results = scripts('ablation.jobs'), scripts('ablation.results')
    ablation = make_ablation()
    job, other = jobs.jobs_of(ablation)
    results.check_results([job, other], ablation)
    write_run(job, l1=0.5)
    results.write(job, ablation)
    results.check_results([job, other], ablation)
    for changes in ({'steps': 90}, {'data': 'other names'}, {'fields': ablation.fields[:2]}):
        changed = ablation._replace(**changes)
        with pytest.raises(UserError, match='base-0_test.json has the result of another'):
            results.check_results(jobs.jobs_of(changed), changed)
    results.path_of(job, ablation.results).write_text('{"exp')
    with pytest.raises(UserError, match='base-0_test.json is damaged'):
        results.is_done(job, ablation)


def test_rows_stand_in_the_order_of_the_table(scripts, make_ablation):
    """The first one is what the others are compared with: also where it lacks the first seed."""
    jobs, results = scripts('ablation.jobs'), scripts('ablation.results')
    ablation = make_ablation(seeds=(0, 1))
    all_jobs = jobs.jobs_of(ablation)
    for job in all_jobs[1:]:
        write_run(job, l1=0.5)
        results.write(job, ablation)
    found = results.of_jobs(all_jobs, ablation)
    assert {row: list(of_seeds) for row, of_seeds in found.items()} == {
        'alternating': [1], 'simultaneous': [0, 1]
    }  # fmt: skip
    assert list(found) == ['alternating', 'simultaneous']


def test_averaged_and_last_weights_are_of_one_run(scripts, make_ablation):
    jobs, results = scripts('ablation.jobs'), scripts('ablation.results')
    plain = make_ablation(table='objectives', rows=('paper', '+ EMA'))
    with pytest.raises(UserError, match="row '\\+ EMA' .* give --config.ema_decay=0.999"):
        jobs.jobs_of(plain)
    ablation = plain._replace(fields=(*plain.fields, '--config.ema_decay=0.999'))
    paper, averaged = jobs.jobs_of(ablation)
    assert paper.name == averaged.name and paper.train == averaged.train
    assert [('--noema' in words) for words in jobs.commands_of(paper)].count(True) == 2
    assert jobs.commands_of(paper) == jobs.commands_of(averaged)
    write_run(paper, paper.weights, l1=0.25)
    results.write(paper, ablation)
    assert results.is_done(paper, ablation) and results.is_done(averaged, ablation)
    found = results.of_jobs([paper, averaged], ablation)
    assert {row: seeds[0].metrics['l1']['mean'] for row, seeds in found.items()} == {
        'paper': 1.25, '+ EMA': 0.25
    }  # fmt: skip
    # A result of a version that measured the averages alone.
    path = results.path_of(paper, ablation.results)
    result = json.loads(path.read_text())
    del result['checkpoints_noema']
    path.write_text(json.dumps(result))
    assert not results.is_done(paper, ablation) and not results.is_done(averaged, ablation)
    assert list(results.of_jobs([paper, averaged], ablation)) == ['+ EMA']


def test_a_run_with_averages_is_one_without_for_rows_of_the_last_weights(scripts, make_ablation):
    jobs, results = scripts('ablation.jobs'), scripts('ablation.results')
    plain = make_ablation(rows=('alternating',), seeds=(5, 6))
    averaged = plain._replace(fields=(*plain.fields, '--config.ema_decay=0.999'))
    (job, _), (other, other_seed) = jobs.jobs_of(plain), jobs.jobs_of(averaged)
    write_run(other, other.weights, l1=0.25)
    results.write(other, averaged)
    here = plain._replace(output=plain.output / 'elsewhere')  # which has results alone
    (job, missing) = jobs.jobs_of(here)
    assert results.is_done(job, here) and not results.is_done(missing, here)
    found = results.of_jobs([job, missing], here)['alternating']
    assert {seed: one.metrics['l1']['mean'] for seed, one in found.items()} == {5: 1.25}
    assert not found[5].costs  # averages cost time and memory
    with pytest.raises(UserError, match='base-5_test.json has the result of another experiment'):
        results.check_results([job], here)  # where it would be trained, for more metrics
    # Averages are not made of a run without.
    write_run(missing, l1=0.25)
    results.write(missing, here)
    assert results.is_done(missing, here) and not results.is_done(other_seed, averaged)
    assert [words[-1].rpartition('/')[2] for words in jobs.commands_of(missing)] == [
        'test_checkpoints'
    ]
    assert [words[-1].rpartition('/')[2] for words in jobs.commands_of(job)[1:]] == [
        'test_checkpoints', 'test', 'test_cost.json'
    ]  # fmt: skip


@pytest.mark.parametrize(
    ('given', 'seeds'), [('5', (0, 1, 2, 3, 4)), ('1', (0,)), ('5,6', (5, 6)), ('5,', (5,)),
                         ('0,', (0,)), ('0,5,5,6', (0, 5, 6))],
)  # fmt: skip
def test_seeds_are_a_number_or_a_list(scripts, given, seeds):
    ablations = scripts('ablations')
    values = ablations.define_flags()
    values(['ablations.py', f'--seeds={given}'])
    assert ablations.seeds_of(values.seeds) == seeds


def test_runs_have_the_averages_that_a_row_is_measured_with(scripts, make_ablation):
    jobs, default = scripts('ablation.jobs'), default_config()
    methods = make_ablation(table='methods')
    found = jobs.jobs_of(jobs.with_averages(methods, default, {}))
    assert all('--config.ema_decay=0.999' in job.train for job in found)
    assert [job.row for job in found if job.shown == jobs.NOEMA] == ['L1', 'pix2pix']
    assert jobs.with_averages(methods, default, {'ema_decay': 0.0}) is methods  # refused
    without = make_ablation(table='methods', rows=('L1', 'pix2pix'))
    assert jobs.with_averages(without, default, {}) is without
    default.ema_decay = 0.9
    assert jobs.with_averages(methods, default, {}) is methods


def test_facades_plus_is_the_row_that_was_measured(scripts):
    tables = scripts('ablation.tables')
    row = tables.TABLES['objectives'].rows['the best + EMA with resize']
    assert row == tables.TABLES['methods'].rows['best pix2pix']
    paper, plus = (
        flatten(load_config(pathlib.Path(f'{SCRIPTS.parent}/configs/{name}.py'), ''))
        for name in ('facades', 'facades_plus')
    )
    expected = dict(row.fields) | {'ema_decay': tables.EMA_DECAY}
    assert {name: plus[name] for name in plus if plus[name] != paper[name]} == expected


def test_a_run_that_keeps_too_few_states_is_named(scripts, make_ablation):
    jobs = scripts('ablation.jobs')
    (job, other) = jobs.jobs_of(make_ablation())
    jobs.check_states([job, other])
    write_run(job, kept=(92, 100))
    with pytest.raises(UserError, match='base-0 does not keep the states 84, 88, 96, by which'):
        jobs.check_states([other, job])
    jobs.check_states([job._replace(each=True)])  # by those that there are
    few = ('--config.checkpoint.every_steps=50', '--config.checkpoint.keep=9')
    with pytest.raises(UserError, match="'alternating' would not keep the states 84, 88, 92, 96"):
        jobs.check_states(jobs.jobs_of(make_ablation(fields=few, seeds=(1,))))


def test_however_a_field_is_written_the_runs_get_it(pairs, scripts, monkeypatch):
    """As one word or two, with one dash or two."""
    more = ('--table=losses', '--config.num_devices', '1', '-config.log_every=7')
    ablations, words = scripts('ablations'), ['ablations.py', *arguments(pairs, *more)]
    monkeypatch.setattr(sys, 'argv', words)
    check_argv(words)
    values = ablations.define_flags()
    values(words)
    fields = ablations.ablation_of(values).fields
    assert fields[-2:] == ('--config.num_devices=1', '--config.log_every=7')
    assert values.config.num_devices == 1 and values.config.log_every == 7


def test_rows_can_be_chosen(scripts, make_ablation):
    jobs = scripts('ablation.jobs')
    found = jobs.jobs_of(make_ablation(table='losses', rows=('cgan', 'l1'), seeds=(3,)))
    assert [job.row for job in found] == ['l1', 'cgan']
    with pytest.raises(UserError, match="--rows: 'gun' is unknown, allowed are l1, gan"):
        jobs.jobs_of(make_ablation(table='losses', rows=('gun',)))


@pytest.mark.parametrize(
    ('table', 'row', 'field'),
    [
        ('update_order', 'alternating', 'update=simultaneous'),
        ('upsampling', 'transposed', 'generator.upsample=resize'),
        ('losses', 'l1+cgan', 'loss.gan=none'),
        ('receptive_field', '70x70', 'discriminator.layers=1'),
        ('batch_size', '1', 'batch_size=4'),
    ],
)
def test_a_row_that_is_alone_is_what_it_is_called(scripts, make_ablation, table, row, field):
    jobs = scripts('ablation.jobs')
    fields = (f'--config.{field}',)
    with pytest.raises(UserError, match=f'--table={table} varies it; leave it out'):
        jobs.jobs_of(make_ablation(table=table, rows=(row,), fields=fields))


@pytest.mark.parametrize(
    ('config', 'table', 'rows', 'warned'),
    [
        ('facades', 'objectives', (), []),
        ('facades', 'losses', (), []),
        ('facades_plus', 'upsampling', (), []),
        ('facades_plus', 'objectives', ('paper', '+ resize', '+ two scales'), ["'+ resize'"]),
        ('facades_plus', 'objectives', ('+ resize', '+ two scales'), []),
        ('facades:loss=l1', 'methods', ('L1', 'pix2pix'), ["'L1'"]),
    ],
)
def test_a_row_that_the_config_has_already_is_warned_of(
    scripts, make_ablation, capsys, config, table, rows, warned
):
    file, colon, arg = config.partition(':')
    config = f'{SCRIPTS.parent}/configs/{file}.py{colon}{arg}'
    ablation = make_ablation(table=table, rows=rows, config=config)
    jobs = scripts('ablation.jobs')
    jobs.check_rows(ablation, load_config(pathlib.Path(config.partition(':')[0]), arg), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(' row ')[1].split(' of ')[0] for line in lines] == warned
    assert all(line.startswith('warning: ') for line in lines)


def test_the_name_of_every_row_can_be_given(scripts):
    """In --rows, where commas divide them."""
    ablations, tables = scripts('ablations'), scripts('ablation.tables')
    rows = {row for table in tables.TABLES.values() for row in table.rows}
    values = ablations.define_flags()
    values(['ablations.py', f'--rows={",".join(sorted(rows))}'])
    assert values.rows == sorted(rows)


def test_the_published_results_are_read(scripts):
    """Of runs at the paper's length, of which other states were measured; some have averages."""
    jobs, results = scripts('ablation.jobs'), scripts('ablation.results')
    folder = ROOT / 'docs/data/facades_128'
    widths = ('--config.generator.width=32', '--config.discriminator.width=32')
    options = metrics.PAIRS_ALONE._replace(names=('lab', 'checkerboard', 'fcn'))
    ablation = jobs.Ablation(
        'losses', f'{ROOT}/configs/facades.py', ('--config.image_size=128', *widths),
        pathlib.Path('nowhere'), 80_000, 'test', options, folder, data='4824ed9a97d4dfa0',
        seeds=(0, 5, 6),
    )  # fmt: skip
    found = results.of_jobs(jobs.jobs_of(ablation), ablation)
    seeds = {row: list(of_seeds) for row, of_seeds in found.items()}
    assert seeds == {'l1': [0], 'gan': [0], 'cgan': [0], 'l1+cgan': [0, 5, 6]}
    for run in (run for of_seeds in found.values() for run in of_seeds.values()):
        states = [p['metrics'] for p in run.points if p['step'] > 64_000]
        mean = pytest.approx(sum(state['fcn_class_iou']['mean'] for state in states) / 4)
        assert run.states == 4 and run.metrics['fcn_class_iou']['mean'] == mean
    averaged = json.loads((folder / 'base-5_test.json').read_text())['checkpoints']
    assert found['l1+cgan'][5].points[-1]['metrics'] != averaged[-1]['metrics']


FLOWS = ('flow 1 step', 'flow 4 steps', 'flow 20 steps')
PUBLISHED = [
    ('objectives', (), 'objectives', 20_000, 5),
    ('methods', (), 'objectives', 20_000, 5),
    ('methods', FLOWS, 'flow_long', 200_000, 2),
]


@pytest.mark.parametrize('table, rows, folder, steps, seeds', PUBLISHED)
def test_with_the_published_results_nothing_is_trained(scripts, table, rows, folder, steps, seeds):
    jobs, results = scripts('ablation.jobs'), scripts('ablation.results')
    fields = ('--config.image_size=64', '--config.generator.width=16')
    fields += ('--config.discriminator.width=16', '--config.ema_decay=0.999')
    options = metrics.PAIRS_ALONE._replace(names=('lab', 'checkerboard', 'fcn'))
    ablation = jobs.Ablation(
        table, f'{ROOT}/configs/facades.py', fields, pathlib.Path('nowhere'), steps, 'test',
        options, ROOT / 'docs/data' / folder, data='4824ed9a97d4dfa0', seeds=tuple(range(seeds)),
        rows=rows,
    )  # fmt: skip
    assert all(results.is_done(job, ablation) for job in jobs.jobs_of(ablation))


def test_a_data_set_is_known_by_its_names(scripts):
    fingerprint = scripts('ablation.results').fingerprint

    def of(**splits):
        named = {k: types.SimpleNamespace(names=list(v)) for k, v in splits.items()}
        return fingerprint(named)

    assert of(train='ab', val='c', test='de') == of(train='cb', val='a', test='ed')
    assert of(train='ab', val='c', test='de') != of(train='abd', val='c', test='e')


def test_nothing_of_a_table_was_measured(scripts, tmp_path):
    report, table = scripts('ablation.report'), scripts('ablation.tables').TABLES['color']
    results = {'l1': {0: scored(scripts, l1=0.5, lab_l='gray images')}}
    folders = {'l1': write_images(tmp_path / 'a')}
    text = report.write_report(tmp_path, 'color', table, results, folders, 'command')
    assert 'L: gray images' in text
    assert not (tmp_path / 'color.png').exists()


def test_every_row_of_every_table_resolves_and_equal_settings_share_a_run(scripts):
    jobs, tables = scripts('ablation.jobs'), scripts('ablation.tables').TABLES
    fields = flatten(default_config())
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
    for name, table in tables.items():
        known = [row for row, one in table.rows.items() if fields.keys() >= dict(one.fields).keys()]
        shown = ablation._replace(table=name, rows=tuple(known))
        for job in jobs.jobs_of(jobs.with_averages(shown, default_config(), {})):
            names[name, job.row] = job.workdir.name
    assert len({run for (name, _), run in names.items() if name != 'methods'}) == 29
    for shared in (('losses', 'l1+cgan'), ('receptive_field', '70x70'), ('color', 'l1+cgan'),
                   ('generators', 'unet l1+cgan'), ('batch_size', '1'),
                   ('upsampling', 'transposed'),
                   ('update_order', 'alternating'), ('augmentation', 'none'),
                   ('image_size', 'twice the size'), ('objectives', '+ EMA'),
                   ('methods', 'pix2pix')):  # fmt: skip
        assert names[shared] == 'base-0'
    assert names['methods', 'L1'] == names['losses', 'l1']
    assert names['methods', 'best pix2pix'] == names['objectives', 'the best + EMA with resize']
    assert (
        names['objectives', 'the best + EMA'] == names['objectives', 'D with spectral norm alone']
    )
    assert names['color', 'pixelgan'] == names['receptive_field', '1x1'] != 'base-0'
    (job, _) = jobs.jobs_of(ablation._replace(table='update_order', steps=9, seeds=(1,)))
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
            job('row', i, f'{i}', {}, 1, tmp_path / f'{i}', [*train], [], '', ('',), '')
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
