"""scripts/benchmark.py as a user runs it; how fast it is, no test says."""

import contextlib
import functools
import importlib.util
import json
import runpy
import subprocess
import sys

import jax
import numpy as np
import pytest
from helpers import ROOT
from helpers.runs import make_pairs

from pix2pix_jax.errors import UserError

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


def test_figures_that_are_there_are_kept(tmp_path):
    path = tmp_path / 'figures.json'
    path.write_text('of yesterday')
    done = run('--no-torch', '--parts=step', f'--json={path}')
    said = f'error: --json={path} exists: give another name or --overwrite'
    assert done.returncode == 2 and done.stderr.splitlines() == [said]
    assert path.read_text() == 'of yesterday'


@pytest.mark.e2e
@pytest.mark.slow
def test_ours_alone(tmp_path):
    figures, table = benchmark(tmp_path, '--no-torch')
    phases = [f'start_{p}{cold}_s' for p in ('imports', 'state', 'step') for cold in ('', '_cold')]
    names = ['step_ms', 'infer_ms', 'infer_device_ms', 'peak_mb', 'compile_s', *phases]
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
    figures, table = benchmark(tmp_path, '--parts=error,step,infer,run,pipeline')
    assert min(figures[f'torch_{name}'] for name in ('step_ms', 'infer_ms', 'peak_mb')) > 0
    assert figures['peak_ratio'] == pytest.approx(figures['peak_mb'] / figures['torch_peak_mb'])
    assert figures['ratio'] > 0 and figures['infer_ratio'] > 0 and figures['pipeline_ratio'] > 0
    rates = [figures[f'torch_{n}_pairs_per_s'] for n in ('pipeline_threads', 'pipeline_workers')]
    assert figures['torch_pipeline_pairs_per_s'] == max(rates)
    assert 'first_step_cold_s' not in figures and figures['machine']['torch'] in table
    assert figures['torch_step_variant'] == 'eager' and 'torch_step_variants_ms' not in figures
    for side in ('', 'torch_'):  # both compute in float32
        assert 1e-8 < figures[f'{side}error_output'] < 1e-5
        assert 1e-8 < figures[f'{side}error_gradients'] < 1e-3
    assert figures['run_images_per_s'] == pytest.approx(1e3 / figures['run_ms'])


@pytest.mark.e2e
@pytest.mark.parametrize(
    'flag,words',
    [
        ('--size=48', '32, 64, 128, 256'),
        ('--parts=step,speed', "'speed'"),
        ('--peers=eager,fast', "'fast'"),
        ('--batch=1,0', '--batch=0'),
        ('--dtype=tf32', '--device=cpu --dtype=tf32: allowed are float32, bfloat16'),
        ('--parts=export --device=gpu', '--parts=export is timed on a CPU'),
    ],
)
def test_wrong_flags_are_one_line(flag, words):
    done = run('--device=cpu', *flag.split())
    assert done.returncode == 2 and words in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.e2e
def test_a_gpu_that_is_not_there_is_one_line():
    if jax.default_backend() == 'gpu':
        pytest.skip('there is a GPU')
    done = run('--device=gpu', '--no-torch', '--parts=step')
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert '--device=gpu: jax finds none here, but a cpu' in done.stderr


def test_steps_are_timed_together_up_to_one_wait(scripts):
    from bench.tasks import timed

    calls = []
    call = timed(lambda: calls.append('step') or len(calls), lambda n: calls.append(n), 3)
    assert call() > 0 and calls == ['step', 'step', 'step', 3]


def test_errors_are_in_parts_of_what_is_expected(scripts):
    from bench.tasks import errors

    found = errors(
        [np.ones(4), np.full(4, 3.0), np.zeros(9)], [np.full(4, 2.0), np.full(4, 4.0), np.ones(9)]
    )
    assert found == {'error_output': 0.5, 'error_gradients': np.sqrt((4 + 9) / (64 + 9))}


def test_the_best_of_the_peers_variants_is_the_peer(scripts, monkeypatch):
    from bench import figures

    closed = []

    class Fake:
        def __init__(self, tasks, setting):
            self.name = setting.variant

        def prepare(self, task):
            if self.name == 'graph':
                raise UserError('graph is of CUDA alone')

        def run(self, task, times):
            return [{'eager': 3.0, 'fused': 1.0, 'compile': 2.0}[self.name]] * times

        def close(self):
            closed.append(self.name)

    monkeypatch.setattr(figures, 'Worker', Fake)
    setting = figures.Setting(32, 1, 4, 'float32', '', 5)
    with contextlib.ExitStack() as stack:
        names = ('eager', 'graph', 'fused', 'compile')
        worker, found = figures._best_peer(stack, setting, names, 'step')
        assert worker.name == found['torch_step_variant'] == 'fused'
        assert closed == ['graph', 'eager', 'compile']
    assert closed[-1] == 'fused'
    assert found['torch_step_variants_ms'] == {'eager': 3e3, 'fused': 1e3, 'compile': 2e3}
    assert found['torch_step_skipped'] == {'graph': 'graph is of CUDA alone'}


def test_the_step_is_the_program_of_a_training_of_facades_on_a_gpu(scripts, monkeypatch, tmp_path):
    """So that gpu_report.py finds it compiled. There the pairs lie on the device."""
    from bench import ours
    from bench.tasks import Setting
    from pix2pix_jax import train
    from pix2pix_jax.distributed import memory, parallel

    compile_step, programs = parallel.compile_step, []

    class Lowered(Exception):
        """The step has been lowered; nothing more is needed of who asked for it."""

    def lower(step, *arguments):
        programs.append(step.lower(*arguments).as_text())
        raise Lowered

    def compiled(*arguments):
        step = compile_step(*arguments)
        call = functools.partial(lower, step)
        return type('Step', (), {'lower': staticmethod(call), '__call__': staticmethod(call)})()

    monkeypatch.setattr(parallel, 'compile_step', compiled)
    monkeypatch.setattr(memory, 'reported', lambda device: 2**34)
    make_pairs(tmp_path / 'pairs', {'train': 3}, size=32)
    config = runpy.run_path(str(ROOT / 'configs/facades.py'))['get_config']()
    changed = {'dataset.path': str(tmp_path / 'pairs'), 'image_size': (32, 32), 'num_steps': 9}
    changed |= {'generator.width': 4, 'discriminator.width': 4}
    config.update_from_flattened_dict(changed)
    with pytest.raises(Lowered):
        train.train_and_evaluate(config, tmp_path / 'run')
    with pytest.raises(Lowered):
        ours.our_step(Setting(32, 1, 4, 'tf32', str(tmp_path), 3, variant='plain'))
    assert programs[0] == programs[1]


def test_memory_of_the_device_is_a_steps(scripts, monkeypatch):
    """Ours is what XLA planned, known when the step is compiled; the peer's what its steps took."""
    from bench import figures, ours

    class Fake:
        def __init__(self, tasks, setting):
            self.found = {'device_mb': 10.0} if tasks is ours.TASKS else {}

        def prepare(self, task):
            return self.found

        def run(self, task, times):
            return [0.5] * times

        def figures(self, name):
            assert name == 'memory' and not self.found
            return {'device_mb': 5.0}

        def close(self):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

    monkeypatch.setattr(figures, 'Worker', Fake)
    setting = figures.Setting(32, 1, 4, 'float32', '', 5, 'gpu')
    found = figures.step_figures(setting, figures.Timing(2, 1, ('eager',)))
    assert (found['device_mb'], found['torch_device_mb'], found['device_ratio']) == (10, 5, 2)


@needs_torch
def test_the_peers_memory_is_counted_after_its_first_step(scripts, monkeypatch):
    import torch

    from bench.torch_pix2pix import Trainer

    order = []
    monkeypatch.setattr(torch.cuda, 'reset_peak_memory_stats', lambda: order.append('reset'))
    monkeypatch.setattr(torch.cuda, 'synchronize', lambda: order.append('wait'))
    trainer = Trainer(5, 4)
    trainer.device = torch.device('cuda')
    call = trainer.prepared(lambda: order.append('step'))
    call()
    assert order == ['step', 'wait', 'reset', 'step']


def test_a_training_that_prints_many_errors_is_timed(scripts, monkeypatch, tmp_path):
    from bench import start
    from bench.tasks import Setting

    lines = ['train: 4 pairs', '1 x cpu, 1 steps', 'step 1/1  g_l1 0.5']
    code = 'import sys; sys.stderr.write("x" * 2**18)\nfor line in {}: print(line, flush=True)'
    setting = Setting(32, 1, 4, 'float32', str(tmp_path), 5)

    def first_step(lines):
        command = [sys.executable, '-c', code.format(lines)]
        monkeypatch.setattr(start, 'command_of', lambda *_: command)
        return start._first_step(setting, str(tmp_path))

    assert list(first_step(lines)) == ['imports', 'state', 'step']
    with pytest.raises(UserError, match='x' * 2**18):
        first_step(lines[:2])


def test_exported_models_are_timed_on_the_device_that_is_asked_for(scripts, monkeypatch):
    from bench import exports
    from bench.tasks import Setting

    def refuse(setting):
        raise UserError(f'jax on {setting.device}')

    monkeypatch.setattr(exports, 'prepared_jax', refuse)
    setting = Setting(32, 1, 4, 'float32', '/not/there', 5)
    for name, task in (exports.WRITER | exports.RUNTIMES).items():
        if not name.startswith('onnx'):
            with pytest.raises(UserError, match='jax on cpu'):
                task(setting)


@needs_torch
def test_the_peers_variants_compute_the_same(scripts):
    import torch

    from bench.torch_pix2pix import Trainer

    images = np.random.default_rng(0).uniform(-1, 1, (2, 2, 32, 32, 3)).astype(np.float32)
    losses = {}
    for variant in ('eager', 'eager+channels_last', 'fused', 'fused+channels_last'):
        torch.manual_seed(0)
        trainer = Trainer(5, 4, variant=variant)
        for module in trainer.g.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0  # its mask follows the order in memory
        x, target = map(trainer.place, images)
        assert x.is_contiguous(memory_format=trainer.format)
        losses[variant] = [float(trainer.step(x, target)) for _ in range(3)]
    for found in losses.values():
        assert found == pytest.approx(losses['eager'], rel=1e-4)


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
