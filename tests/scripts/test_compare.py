"""scripts/compare.py as a user runs it, on folders as runs leave them."""

import json
import subprocess
import sys

import numpy as np
import pytest
from helpers import ROOT

from pix2pix_jax.config import default_config
from pix2pix_jax.evaluation import metric_titles, metrics
from pix2pix_jax.storage import atomic
from pix2pix_jax.workdir.config_json import to_json

SCRIPT = ROOT / 'scripts' / 'compare.py'


def run(*arguments, cwd):
    command = [sys.executable, SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


@pytest.fixture
def runs(tmp_path):
    """Two runs of different losses; the second has no test metrics yet."""
    for name, loss in (('a', 'vanilla'), ('b<c', 'lsgan')):
        folder, c = tmp_path / 'runs' / name, default_config()
        c.loss.gan = loss
        atomic.write_text(folder / 'config.json', to_json(c))
        rows = [{'step': i, 'train/g_l1': 1 / i, 'train/d_loss': 0.5} for i in range(1, 90)]
        atomic.write_text(folder / 'metrics.jsonl', ''.join(f'{json.dumps(r)}\n' for r in rows))
        picture = np.full((8, 24, 3), len(name), np.uint8)
        atomic.write_bytes(folder / 'samples/step_0000050.png', atomic.encode_png(picture))
    metrics = {'l1': {'mean': 0.25, 'ci95': [0.2, 0.3]}, 'fid': {'value': None, 'reason': 'none'}}
    metrics['ssim'] = {'mean': 0.125, 'ci95': [0.1, 0.2]}  # by a version that said no definition
    result = {'split': 'test', 'images': 1, 'metrics': metrics}
    atomic.write_text(tmp_path / 'runs/a/evaluation/test/metrics.json', json.dumps(result))
    return tmp_path / 'runs'


@pytest.mark.e2e
def test_a_page_with_all_that_there_is(runs):
    done = run('a', 'b<c', cwd=runs)
    assert done.returncode == 0, done.stderr
    page = (runs / 'comparison.html').read_text()
    assert done.stdout == 'comparison.html\n'
    assert page.count('<svg') == 2 and 'L1 ↓: train' in page
    assert page.count('data:image/png;base64,') == 2 and 'b&lt;c, step 50' in page
    assert '0.2500 (0.2000 to 0.3000)' in page
    assert '0.1250' not in page and 'measured SSIM on [-1, 1]' in page
    assert '<td>loss.gan</td><td>vanilla</td><td>lsgan</td>' in page
    assert 'loss.l1_weight' not in page and 'b<c' not in page
    assert run('a', 'b<c', cwd=runs).returncode == 0  # replaces its own page


@pytest.mark.e2e
def test_it_says_which_state_was_measured(runs):
    for name, step, decay in (('a', 80, 0.0), ('b<c', 1200, 0.5)):
        c = default_config()
        c.ema_decay = decay
        atomic.write_text(runs / name / 'config.json', to_json(c))
        metrics = {'l1': {'mean': 0.25, 'ci95': [0.2, 0.3]}}
        about = {'split': 'test', 'step': step, 'checkpoint': 'last', 'images': step // 10}
        about['measured'] = {'ssim': 'on values from 0', 'fcn': f'sha256 {step}'}
        result = json.dumps(about | {'metrics': metrics})
        atomic.write_text(runs / name / 'evaluation/test/metrics.json', result)
    assert run('a', 'b<c', cwd=runs).returncode == 0
    page = (runs / 'comparison.html').read_text()
    assert '<td>step</td><td>measured state</td><td>80</td><td>1,200</td>' in page
    assert '<td>checkpoint</td><td>measured state</td><td>last</td><td>last</td>' in page
    assert '<td>weights</td><td>measured state</td><td>last</td><td>averaged</td>' in page
    assert '<td>images</td><td>measured state</td><td>8</td><td>120</td>' in page
    assert '<td>fcn</td><td>measured with</td><td>sha256 80</td><td>sha256 1200</td>' in page
    assert '<td>ssim</td><td>measured with' not in page  # where they are equal


@pytest.mark.e2e
def test_every_metric_has_its_title(runs):
    names = [name for metric in metrics.METRICS.values() for name in metric.values]
    result = {
        'split': 'test',
        'images': 1,
        'measured': metrics.identity(metrics.PAIRS_ALONE),
        'metrics': {name: {'mean': 0.5, 'ci95': [0.25, 0.75]} for name in names},
    }
    atomic.write_text(runs / 'a/evaluation/test/metrics.json', json.dumps(result))
    done = run('a', 'b<c', cwd=runs)
    assert done.returncode == 0, done.stderr
    page = (runs / 'comparison.html').read_text()
    for name in names:
        assert f'<td>{name}</td><td>{metric_titles.heading(name)}</td><td>0.5000' in page


@pytest.mark.e2e
def test_mistakes_are_one_line(runs):
    atomic.write_text(runs / 'mine.html', 'mine')
    for arguments, message in (
        (('a',), 'give two runs or more'),
        (('a', 'c'), 'c: no run there'),
        (('a', './a'), 'a run is given twice'),
        (('a', 'c.zip'), 'c.zip: allowed are folders of runs; unpack the zip of one'),
        (('a', 'b<c', '--output', 'o.html'), 'flag --output: it is written --output=VALUE'),
        (('a', 'b<c', '--output=mine.html'), '--output=mine.html is another file'),
        (('a', 'b<c', '--colour=1'), 'colour'),
    ):
        done = run(*arguments, cwd=runs)
        assert done.returncode == 2 and message in done.stderr
        assert done.stderr.count('\n') == 1
    assert (runs / 'mine.html').read_text() == 'mine'
