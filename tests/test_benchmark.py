"""scripts/benchmark.py as a user runs it; how fast it is, no test says."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).parents[1] / 'scripts' / 'benchmark.py'


def benchmark(tmp_path, *arguments):
    path = tmp_path / 'figures.json'
    small = ['--size=32', '--width=4', '--steps=2', f'--json={path}']
    subprocess.run([sys.executable, SCRIPT, *small, *arguments], check=True, timeout=300)
    return json.loads(path.read_text())


def test_ours_alone(tmp_path):
    figures = benchmark(tmp_path, '--notorch')
    assert min(figures[k] for k in ('step_ms', 'infer_ms', 'peak_mb', 'compile_s')) > 0
    assert figures['images_per_s'] == pytest.approx(1e3 / figures['step_ms'])
    assert not any('torch' in key for key in figures)


def test_beside_torch(tmp_path):
    if importlib.util.find_spec('torch') is None:
        pytest.skip('needs the packages of requirements-bench.txt')
    figures = benchmark(tmp_path)
    assert figures['ratio'] == pytest.approx(figures['torch_step_ms'] / figures['step_ms'])
    assert figures['torch_peak_mb'] > 0
