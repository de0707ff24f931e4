"""scripts/benchmark.py as a user runs it; how fast it is, no test says."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
from helpers import ROOT

SCRIPTS = ROOT / 'scripts'
PIPELINES = ('pipeline', 'pipeline_workers', 'pipeline_cached')
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec('torch') is None, reason='needs the extra bench'
)


@pytest.fixture
def scripts(monkeypatch):
    """The folder of the scripts, from which they can be imported."""
    monkeypatch.syspath_prepend(SCRIPTS)


def run(*arguments):
    small = ['--size=32', '--width=4', '--steps=2', '--pairs=5', '--starts=1']
    command = [sys.executable, SCRIPTS / 'benchmark.py', *small, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def benchmark(tmp_path, *arguments):
    path = tmp_path / 'figures.json'
    done = run(f'--json={path}', *arguments)
    assert done.returncode == 0, done.stderr
    figures = json.loads(path.read_text())
    header = done.stdout.splitlines()[1]
    assert figures['machine']['cpu'] in header and figures['machine']['jax'] in header
    return figures, done.stdout


@pytest.mark.e2e
@pytest.mark.slow
def test_ours_alone(tmp_path):
    figures, table = benchmark(tmp_path, '--no-torch')
    phases = [f'start_{p}{cold}_s' for p in ('imports', 'state', 'step') for cold in ('', '_cold')]
    names = ['step_ms', 'infer_ms', 'peak_mb', 'compile_s', *phases]
    assert min(figures[name] for name in names) > 0
    assert min(figures[f'{name}_pairs_per_s'] for name in PIPELINES) > 0
    assert figures['images_per_s'] == pytest.approx(1e3 / figures['step_ms'])
    for suffix, total in (('', 'first_step_warm_s'), ('_cold', 'first_step_cold_s')):
        parts = (figures[f'start_{phase}{suffix}_s'] for phase in ('imports', 'state', 'step'))
        assert sum(parts) == pytest.approx(figures[total])
    assert not any('torch' in key or 'ratio' in key for key in figures)
    assert 'torch' not in figures['machine'] and 'first step' in table


@pytest.mark.e2e
@pytest.mark.slow
def test_the_loop_around_an_empty_step(tmp_path):
    figures, table = benchmark(tmp_path, '--no-torch', '--parts=loop')
    step_s = 1 / figures['loop_steps_per_s']
    assert 0 < figures['loop_main_ms'] < 1e3 * step_s
    assert figures['loop_main_ms'] < figures['loop_process_ms']
    assert 'loop with an empty step' in table


@pytest.mark.e2e
@pytest.mark.slow
@needs_torch
def test_beside_torch(tmp_path):
    figures, table = benchmark(tmp_path, '--parts=step,infer,pipeline')
    assert min(figures[f'torch_{name}'] for name in ('step_ms', 'infer_ms', 'peak_mb')) > 0
    assert figures['peak_ratio'] == pytest.approx(figures['peak_mb'] / figures['torch_peak_mb'])
    assert figures['ratio'] > 0 and figures['infer_ratio'] > 0 and figures['pipeline_ratio'] > 0
    rates = [figures[f'torch_{n}_pairs_per_s'] for n in ('pipeline_threads', 'pipeline_workers')]
    assert figures['torch_pipeline_pairs_per_s'] == max(rates)
    assert 'first_step_cold_s' not in figures and figures['machine']['torch'] in table


@pytest.mark.e2e
@pytest.mark.parametrize(
    'flag,words', [('--size=48', '32, 64, 128, 256'), ('--parts=step,speed', "'speed'")]
)
def test_wrong_flags_are_one_line(flag, words):
    done = run(flag)
    assert done.returncode == 2 and words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_ratios_are_medians_over_rounds(scripts):
    from bench.workers import ratio

    ours = [[1.0, 1.0], [2.0, 2.0, 90.0], [4.0]]
    theirs = [[2.0, 2.0], [3.0, 3.0, 3.0], [40.0]]  # 2, 1.5 and 10 times ours
    assert ratio({'': ours, 'torch_': theirs}) == 2.0


def test_tasks_take_turns(scripts):
    from bench.workers import take_turns

    calls = []

    class Recorded:
        def run(self, task, times):
            calls.append((task, times))
            return [0.5] * times

    tasks = {'a': (Recorded(), 'x'), 'b': (Recorded(), 'y')}
    times = take_turns(tasks, rounds=2, times=3)
    assert calls == [('x', 1), ('y', 1), ('y', 2), ('x', 2)]
    assert times == {'a': [[0.5], [0.5] * 2], 'b': [[0.5], [0.5] * 2]}


@needs_torch
def test_the_peer_has_the_papers_networks(scripts):
    import torch

    from bench.torch_pix2pix import TorchUNet, patchgan

    networks = {'G': TorchUNet(8, 64), 'D': patchgan(64)}
    counts = {k: sum(p.numel() for p in n.parameters()) for k, n in networks.items()}
    # As this project's own: the ones of the paper's Lua code are these and biases without effect.
    assert counts == {'G': 54_413_955, 'D': 2_768_705}
    assert networks['D'](torch.zeros(1, 6, 256, 256)).shape == (1, 1, 30, 30)


@needs_torch
def test_the_peers_pairs_are_this_projects(scripts, tmp_path):
    import torch
    from PIL import Image

    from bench.torch_pix2pix import batches

    photo = np.random.default_rng(0).integers(0, 256, (36, 36, 3), np.uint8)
    photo = np.asarray(Image.fromarray(photo).resize((64, 64)))
    for i in range(4):  # B is A's negative: it stays so under the same crop and flip alone
        pair = np.concatenate([photo, 255 - photo], axis=1)
        Image.fromarray(pair).save(tmp_path / f'{i}.jpg', quality=100, subsampling=0)
    a, b = next(batches(str(tmp_path), 64, 4, 0))
    assert a.shape == b.shape == (4, 3, 64, 64) and a.dtype == torch.float32
    assert a.min() >= -1 and a.max() <= 1
    torch.testing.assert_close(a, -b, atol=0.1, rtol=0)
    assert len({image.numpy().tobytes() for image in a}) > 1
