"""SSIM of versions before 0.2.0, which was another quantity: no number of it is kept or shown."""

import json
import math
import pathlib
import shutil

import jax
import pytest
from helpers import OLD_RUN
from helpers.runs import events, lines, make_pairs

from pix2pix_jax import train
from pix2pix_jax.evaluation import metrics
from pix2pix_jax.workdir import metric_writer, metrics_json
from pix2pix_jax.workdir.config_json import load_config
from pix2pix_jax.workdir.run_json import record_start

SSIM = ('eval/ssim', 'test/ssim')


@pytest.fixture
def old_run(tmp_path):
    return pathlib.Path(shutil.copytree(OLD_RUN, tmp_path / 'run'))


def without_ssim(rows):
    return [row | {name: None for name in SSIM if name in row} for row in rows]


def resume(workdir, pairs, steps):
    config = load_config(workdir)
    config.dataset.path, config.num_steps = str(pairs), steps
    return train.train_and_evaluate(config, workdir)


def test_an_old_run_that_resumes_forgets_its_ssim_and_nothing_else(old_run, tmp_path, capsys):
    pairs = make_pairs(tmp_path / 'pairs', {'train': 10, 'test': 3})
    before = lines(old_run)
    resume(old_run, pairs, 8)
    printed = [line for line in capsys.readouterr().out.splitlines() if 'SSIM' in line]
    assert len(printed) == 1 and 'up to step 6' in printed[0] and '[-1, 1]' in printed[0]
    *after, _, last = lines(old_run)
    assert after == without_ssim(before) != before
    assert [list(row) for row in after] == [list(row) for row in before]
    assert -1 <= last['eval/ssim'] <= 1 and -1 <= last['test/ssim'] <= 1
    result = metrics_json.read_result(metrics_json.result_folder(old_run, 'test'))
    assert result['metrics']['ssim']['mean'] == last['test/ssim']
    assert [step for name, step in events(old_run) if name in SSIM] == [8, 8]
    assert [step for name, step in events(old_run) if name == 'eval/l1'] == [2, 4, 6, 8]

    resume(old_run, pairs, 8)  # all done: nothing more to forget
    assert 'SSIM' not in capsys.readouterr().out
    assert lines(old_run)[-1] == last


def test_a_kill_after_the_start_was_recorded_keeps_no_old_ssim(old_run, capsys):
    before = lines(old_run)
    record_start(old_run, 'command', jax.devices()[:1], 6, {})
    assert lines(old_run) == before  # killed here
    record_start(old_run, 'command', jax.devices()[:1], 6, {})
    for expected in (1, 0):
        metric_writer.RunWriter(old_run, 6).close()
        assert lines(old_run) == without_ssim(before)
        assert capsys.readouterr().out.count('SSIM') == expected


def test_whoever_reads_an_old_run_gets_no_ssim():
    rows = metric_writer.read_metrics(OLD_RUN)
    assert rows == without_ssim(lines(OLD_RUN)) and rows[5]['eval/ssim'] is None


def test_a_new_run_keeps_its_ssim(tmp_path):
    record_start(tmp_path, 'command', jax.devices()[:1], 0, {})
    for resumed in (0, 2):
        writer = metric_writer.RunWriter(tmp_path, resumed)
        writer.write_scalars(2, {'eval/ssim': 0.5, 'eval/l1': math.inf})
        writer.close()
        assert lines(tmp_path) == [{'step': 2, 'eval/ssim': 0.5, 'eval/l1': None}]


@pytest.mark.parametrize('measured', [{}, {'fid': ''}, {'ssim': 'otherwise'}])
def test_an_old_evaluation_has_no_ssim_and_says_so(tmp_path, measured):
    values = {name: {'mean': 0.25, 'ci95': [0.2, 0.3]} for name in ('l1', 'ssim')}
    result = {'split': 'test', 'step': 6, 'images': 2, 'metrics': values, 'measured': measured}
    (tmp_path / 'metrics.json').write_text(json.dumps(result))
    found = metrics_json.read_result(tmp_path)['metrics']
    assert found['l1'] == values['l1']
    assert found['ssim']['value'] is None and 'evaluate anew' in found['ssim']['reason']
    new = result | {'measured': metrics.identity(metrics.PAIRS_ALONE)}
    (tmp_path / 'metrics.json').write_text(json.dumps(new))
    assert metrics_json.read_result(tmp_path)['metrics'] == values
