"""evaluate --checkpoint=all: each checkpoint is measured as evaluate measures it alone."""

import json

import pytest
from helpers.runs import error_of, make_pairs, tiny_config

from pix2pix_jax import evaluate
from pix2pix_jax.evaluation import checkpoints, runs
from pix2pix_jax.train import train_and_evaluate

FIELDS = {'checkpoint__every_steps': 2, 'checkpoint__keep': 3, 'eval_every': 0, 'num_steps': 4}


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    data = make_pairs(folder / 'data', {'train': 4, 'test': 3})
    train_and_evaluate(tiny_config(data, **FIELDS), folder / 'run')
    return folder / 'run'


def evaluated(*words):
    """The exit status of evaluate with these flags."""
    values = evaluate.define_flags()
    values(['evaluate', '--metrics=checkerboard', *map(str, words)])
    return evaluate.main(values)


def test_every_checkpoint_is_measured_as_it_is_alone(workdir, capsys):
    assert evaluated(f'--workdir={workdir}', '--checkpoint=all') == 0
    folder = workdir / 'evaluation' / 'test_checkpoints'
    printed = capsys.readouterr().out
    result = json.loads((folder / 'checkpoints.json').read_text())
    assert result['checkpoint'] == 'all' and result['split'] == 'test'
    assert [row['step'] for row in result['checkpoints']] == [2, 4]
    for row in result['checkpoints']:
        output = workdir.parent / f'alone_{row["step"]}'
        alone = [f'--workdir={workdir}', f'--checkpoint={row["step"]}', f'--output={output}']
        assert evaluated(*alone) == 0
        assert json.loads((output / 'metrics.json').read_text())['metrics'] == row['metrics']
    means = {row['step']: row['metrics']['l1']['mean'] for row in result['checkpoints']}
    best = min(means, key=means.get)
    (line,) = (line for line in printed.splitlines() if line.split()[0] == str(best))
    assert line.split()[1].endswith('*') and f'{folder}/index.html' in printed
    page = (folder / 'index.html').read_text()
    assert page.count('<svg') == 4 and 'targets' in page
    assert not (folder / 'images').exists()


def test_the_last_weights_are_those_of_a_run_without_averages(workdir, tmp_path):
    """In `evaluate --noema`, of the states that are asked for; averages change no training."""
    plain = tmp_path / 'plain'
    train_and_evaluate(tiny_config(workdir.parent / 'data', **FIELDS), plain)
    averaged = tmp_path / 'averaged'
    train_and_evaluate(tiny_config(workdir.parent / 'data', ema_decay=0.5, **FIELDS), averaged)
    assert evaluated(f'--workdir={averaged}', '--noema', '--checkpoint=4,2') == 0
    assert evaluated(f'--workdir={averaged}', '--checkpoint=4,') == 0
    last = checkpoints.read_checkpoints(averaged / 'evaluation/test_noema_checkpoints')
    means = checkpoints.read_checkpoints(averaged / 'evaluation/test_checkpoints')
    assert list(last) == [2, 4] and list(means) == [4]
    output = tmp_path / 'output'
    assert evaluated(f'--workdir={plain}', '--checkpoint=all', f'--output={output}') == 0
    assert checkpoints.read_checkpoints(output) == last
    assert last[4]['l1'] != means[4]['l1']
    assert evaluated(f'--workdir={averaged}', '--noema') == 0
    one = json.loads((averaged / 'evaluation/test_noema/metrics.json').read_text())
    assert one['metrics'] == last[4] and one['ema'] is False
    assert 'last weights' in (averaged / 'evaluation/test_noema/index.html').read_text()
    for checkpoint in ('', 'all'):
        words = f'--workdir={plain}', '--noema', f'--checkpoint={checkpoint}'
        assert 'the run has no averaged weights' in error_of(evaluated, *words)
    assert not (plain / 'evaluation/test_noema').exists()
    words = f'--workdir={averaged}', '--checkpoint=4,3'
    assert "no checkpoint '3', allowed are last | 2 | 4" in error_of(evaluated, *words)


def test_a_report_is_replaced_and_nothing_else(workdir, tmp_path):
    output = tmp_path / 'output'
    words = [f'--workdir={workdir}', '--checkpoint=all', f'--output={output}']
    assert evaluated(*words) == evaluated(*words) == 0
    (output / 'mine').write_text('')
    assert '--overwrite' in error_of(evaluated, *words)
    words = f'--workdir={workdir}', '--checkpoint=,', f'--output={tmp_path}/no'
    assert '--checkpoint=, names no checkpoint' in error_of(evaluated, *words)
    empty = tmp_path / 'none'
    assert 'no run there' in error_of(
        checkpoints.evaluate_checkpoints,
        empty,
        output,
        runs.RunImages(checkpoint='all'),
        evaluate.Options(),
    )
    assert not empty.exists()


def test_the_best_follows_each_metric_s_direction():
    def summary(l1, psnr):
        return {'l1': {'mean': l1}, 'psnr': {'mean': psnr}, 'lpips': {'value': None}}

    measured = {10: summary(0.3, 11.0), 20: summary(0.2, 12.0), 30: summary(0.2, 11.0)}
    assert checkpoints.best_steps(measured) == {'l1': 20, 'psnr': 20}
    assert checkpoints.table(measured)[2] == ('20', '0.2000*', '12.00*')
