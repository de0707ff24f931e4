"""What the parts of scripts/gpu_report.py find where something goes wrong in one of them."""

import functools
import json
import os
import pathlib
import subprocess
import threading
import time

import pytest
from helpers import ROOT


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'scripts')


@pytest.fixture
def context(tmp_path):
    from gpu.context import PartContext

    return PartContext('gpu', False, '', '', str(tmp_path), 60)


class FakeWorkers:
    """Stands for bench.workers.Worker; knows who prepared, and that nobody did beside another."""

    def __init__(self, prepare=None, run=None):
        self.prepare, self.run, self.names, self.busy = prepare or {}, run or {}, [], False

    def __call__(self, tasks, setting):
        from bench import ours

        whose = 'this' if tasks is ours.TASKS else 'PyTorch'
        return FakeWorker(self, f'{setting.dtype} {whose} {setting.variant}')


class FakeWorker:
    def __init__(self, group, name):
        self.group, self.name, self.killed = group, name, threading.Event()

    def figures(self, task):
        return {'device_mb': 7.0} if task == 'memory' else {}

    def prepare(self, task):
        assert not self.group.busy
        self.group.busy = True
        self.group.names.append(self.name)
        time.sleep(0.01)
        self.group.busy = False
        return self.group.prepare.get(self.name, lambda worker: {})(self)

    def run(self, task, times):
        return self.group.run.get(self.name, lambda: [0.002] * times)()

    def kill(self):
        self.killed.set()


def step_rows(context, monkeypatch, workers, part='step'):
    from gpu import timings

    written = {}
    monkeypatch.setattr(timings, 'Worker', workers)
    monkeypatch.setattr(timings, 'has_torch', lambda: True)
    monkeypatch.setattr(timings, 'nvidia', dict)
    getattr(timings, part)(context, written.update)
    return written['steps']


def test_steps_are_prepared_in_turn_beside_the_strongest_peers(context, monkeypatch):
    workers = FakeWorkers()
    rows = step_rows(context, monkeypatch, workers)
    assert workers.names == list(rows) and len(rows) == 8
    peers = ['PyTorch graph+channels_last', 'PyTorch graph', 'PyTorch eager']
    assert workers.names == [
        *(f'tf32 {one}' for one in ['this layouts', *peers]),
        *(f'bfloat16 {one}' for one in [*peers, 'this layouts']),
    ]
    assert all(row['step_ms'] == pytest.approx(2.0) for row in rows.values())
    assert [n for n, row in rows.items() if 'device_mb' in row] == [n for n in rows if 'PyT' in n]


def test_few_processes_start_ahead_of_their_turn(context, monkeypatch):
    from gpu import timings

    workers = FakeWorkers()
    started = []

    def begin(tasks, setting):
        started.append(len(workers.names))
        return workers(tasks, setting)

    step_rows(context, monkeypatch, begin, 'variants')
    ahead = [i - names for i, names in enumerate(started)]  # how many are not prepared yet
    assert ahead == [*range(timings.AHEAD)] + [timings.AHEAD - 1] * (len(started) - timings.AHEAD)


def test_over_patches_a_step_has_no_convolution(monkeypatch):
    import jax

    from bench import ours, tasks, variants
    from pix2pix_jax.models import factory

    monkeypatch.setattr(factory, 'CONV_FORMS', dict(factory.CONV_FORMS))
    setting = tasks.Setting(32, 1, 4, 'float32', '', 0, 'gpu')
    images, key = jax.ShapeDtypeStruct((1, 32, 32, 3), 'float32'), jax.random.key(0)

    def operations(variant):
        ours.use_form(setting._replace(variant=variant))
        generator = factory.create_models(tasks.config_of(setting), 'gpu').generator
        init = functools.partial(generator.init_with_output, key, train=False)
        return jax.jit(init).lower(images).as_text()

    assert 'stablehlo.convolution' in operations('layouts')
    assert 'stablehlo.convolution' not in operations('layouts+patches')
    assert set(variants.FORMS) < set(variants.OURS)


def test_a_variant_that_records_convolutions_has_its_kernels_loaded_before(monkeypatch):
    from bench import ours, tasks, variants

    monkeypatch.setattr('os.environ', dict(os.environ))
    setting = tasks.Setting(32, 1, 4, 'float32', '', 0, 'cpu')
    ours.prepared_jax(setting)
    assert 'CUDA_MODULE_LOADING' not in os.environ
    ours.prepared_jax(setting._replace(variant='layouts+command_buffers'))
    assert os.environ['CUDA_MODULE_LOADING'] == 'EAGER'
    assert '=+CONVOLUTION' in os.environ['XLA_FLAGS']
    assert set(variants.ENVIRONMENT) < set(variants.OURS)


def test_the_step_of_training_is_the_first_of_its_variants(context, monkeypatch):
    from bench import variants

    rows = step_rows(context, monkeypatch, FakeWorkers(), 'variants')
    names = [*variants.OURS, 'reduce-overhead', 'compile']
    assert names[0] == 'layouts' and names[-3] == 'layouts+command_buffers'
    assert [name.split()[0] for name in rows] == [
        dtype for dtype in ('tf32', 'bfloat16') for _ in names
    ]
    assert [name.split()[-1] for name in rows] == 2 * names
    rows = step_rows(context._replace(timed=('bfloat16',)), monkeypatch, FakeWorkers(), 'variants')
    assert {name.split()[0] for name in rows} == {'bfloat16'}
    named = context._replace(variants=('graph', 'plain'), timed=('tf32',))
    rows = step_rows(named, monkeypatch, FakeWorkers(), 'variants')
    assert list(rows) == ['tf32 PyTorch graph', 'tf32 this plain']


def test_the_deterministic_variant_is_that_of_the_config(monkeypatch):
    from bench import variants
    from pix2pix_jax import runtime

    monkeypatch.setattr('os.environ', {})
    runtime.use_deterministic_kernels()
    assert os.environ['XLA_FLAGS'] == variants.OURS['layouts+deterministic']


def test_one_that_fails_leaves_the_other_times(context, monkeypatch):
    from pix2pix_jax.errors import UserError

    count = iter(range(99))

    def fail(*_):
        raise UserError('no kernel')

    def fail_later():
        return [0.004] if next(count) < 3 else fail()

    prepare = {'bfloat16 this layouts': fail}
    run = {'tf32 PyTorch eager': fail, 'tf32 this layouts': fail_later}
    rows = step_rows(context, monkeypatch, FakeWorkers(prepare, run))
    assert rows.pop('bfloat16 this layouts') == {'reason': 'no kernel'}
    assert rows.pop('tf32 PyTorch eager') == {'reason': 'no kernel'}
    kept = rows.pop('tf32 this layouts')
    assert kept['step_ms'] == pytest.approx(4.0) and kept['reason'] == 'no kernel'
    assert len(rows) == 5 and all(row['step_ms'] > 0 for row in rows.values())


def test_what_was_ready_in_time_is_timed(context, monkeypatch):
    from gpu import timings
    from pix2pix_jax.errors import UserError

    def hang(worker):
        worker.killed.wait()
        raise UserError('killed')

    workers = FakeWorkers({'bfloat16 this layouts': hang})
    context = context._replace(seconds=timings.TIMING_S + 1.0)
    rows = step_rows(context, monkeypatch, workers)
    timed = [name for name, row in rows.items() if 'step_ms' in row]
    assert timed == list(rows)[:7]
    assert [row['reason'] for row in rows.values() if 'reason' in row] == [
        'was not compiled in time'
    ]


def test_one_that_hangs_leaves_time_to_the_others(context, monkeypatch):
    from gpu import timings

    ended = threading.Event()

    def hang(worker):
        worker.killed.wait()

    monkeypatch.setattr(timings, 'SHARE_S', 0.1)
    monkeypatch.setattr(timings, 'LEAST_S', 0.1)
    monkeypatch.setattr(timings, 'TIMING_S', 1.0)
    prepare = {'tf32 this plain': hang}
    run = {'tf32 PyTorch graph': ended.wait}
    names = ('layouts', 'plain', 'graph', 'layouts+patches', 'eager')
    context = context._replace(seconds=3.0, timed=('tf32',), variants=names)
    try:
        rows = step_rows(context, monkeypatch, FakeWorkers(prepare, run), 'variants')
    finally:
        ended.set()
    assert rows['tf32 this plain'] == {'reason': timings.LATE}
    assert rows['tf32 PyTorch graph'] == {'reason': timings.HUNG}
    assert len(rows) == 5 and sum('step_ms' in row for row in rows.values()) == 3


def test_a_check_writes_each_thing_as_it_comes(context, monkeypatch):
    from gpu import checks
    from pix2pix_jax.distributed import parallel

    def compile_step(*_):
        steps = iter([{'g_l1': 0.5}])
        return lambda state, *_: (state, next(steps))

    monkeypatch.setattr(parallel, 'compile_step', compile_step)
    monkeypatch.setattr(checks, 'start_accelerator_tests', lambda context: None)
    written = {}
    with pytest.raises(StopIteration):  # in the second step
        checks.check(context._replace(device='cpu', tiny=True), written.update)
    assert written.pop('sum_of_weights') > 0
    assert written.pop('steps_failed') == 'StopIteration: '
    assert written == {'losses': [{'g_l1': 0.5}], 'test_accelerator': 'pytest is missing'}


def test_a_check_that_fails_says_so_before_its_tests_are_over(context, monkeypatch):
    from gpu import checks

    def fail(*_):
        raise RuntimeError('no kernel')

    def start(context):
        context.path(checks.TESTS_LOG).write_text('..')
        return subprocess.Popen(['sleep', '600'])

    monkeypatch.setattr('os.environ', dict(os.environ))
    monkeypatch.setattr(checks, 'Steps', fail)
    monkeypatch.setattr(checks, 'start_accelerator_tests', start)
    written = []
    with pytest.raises(RuntimeError, match='no kernel'):
        checks.check(context._replace(seconds=1.0), written.append)
    assert written == [
        {'steps_failed': 'RuntimeError: no kernel'},
        {'test_accelerator': 'not finished in time: ..'},
    ]


def test_what_matters_most_of_a_part_comes_first(context, monkeypatch):
    from gpu import runs, timings

    def torch_compile(*_):
        order.append('torch.compile')
        raise ArithmeticError

    order = []
    monkeypatch.setattr(timings, 'has_torch', lambda: True)
    monkeypatch.setattr(timings, '_make_pairs', lambda setting: None)
    monkeypatch.setattr(timings, 'start_figures', lambda *_, **how: order.append('this') or {})
    monkeypatch.setattr(timings, 'Worker', torch_compile)
    with pytest.raises(ArithmeticError):
        timings.compile_times(context, lambda found: None)
    assert order == ['this', 'torch.compile']

    rows = {}
    monkeypatch.setattr(timings.figures, 'step_figures', lambda setting, timing: {})
    timings.batch(context, rows.update)
    sizes = [f', batch {n}' for n in timings.BATCHES]
    assert list(rows['batches']) == [f'{d}{n}' for d in ('tf32', 'bfloat16') for n in sizes]

    import kill_test

    def start(context, module, words, log, XDG_CACHE_HOME):
        programs[log] = programs.get(log, []) + [pathlib.Path(XDG_CACHE_HOME).name]
        return subprocess.Popen(['true'])

    programs, written = {}, {}
    monkeypatch.setattr(runs, 'start', start)
    monkeypatch.setattr(runs, 'finished', lambda *_: None)
    monkeypatch.setattr(kill_test, 'compare', lambda *_: [])
    monkeypatch.setattr(runs, 'apart', lambda *_: 0.5)
    runs.resume(context._replace(tiny=True), written.update)
    assert list(written)[-2:] == ['verdict', 'weights_apart_without']
    assert programs['killed.log'] == ['compiled', 'compiled_anew']
    assert programs['again.log'] == programs['usual.log'] == ['compiled']


def test_an_evaluation_that_fails_leaves_the_metrics_that_are_quick(context, monkeypatch):
    from gpu import runs

    def start(context, module, words, log, XLA_FLAGS):
        assert '--xla_gpu_autotune_level=0' in XLA_FLAGS  # each program runs once
        given = dict(word.split('=') for word in words)
        if 'fcn' in given['--metrics']:
            context.path(log).write_text('no such colour')
            return subprocess.Popen(['false'])
        folder = pathlib.Path(given['--output'])
        folder.mkdir()
        metrics = {'l1': {'mean': 0.25, 'ci95': [0.0, 1.0]}}
        found = {'split': 'test', 'step': 9, 'images': 2, 'metrics': metrics}
        (folder / 'metrics.json').write_text(json.dumps(found))
        return subprocess.Popen(['true'])

    monkeypatch.setattr(runs, 'start', start)
    written = {}
    with pytest.raises(RuntimeError, match='no such colour'):
        runs.evaluated(context._replace(segmenter='seg.npz'), 'facades', written.update)
    assert written == {'step': 9, 'images': 2, 'metrics': {'l1': 0.25}}


def test_curves_keep_every_evaluation(tmp_path):
    from gpu import runs

    rows = [{'step': i, 'train/g_l1': 0.5} for i in range(1, 801)]
    for i in (203, 401, 800):
        rows[i - 1]['eval/l1'] = 0.25
    (tmp_path / 'metrics.jsonl').write_text(''.join(f'{json.dumps(row)}\n' for row in rows))
    kept = runs.so_far(tmp_path)['rows']
    assert [row['step'] for row in kept if 'eval/l1' in row] == [203, 401, 800]
    assert len(kept) < 210


def test_the_time_with_all_is_between_the_first_and_the_last_logs_that_are_seen(context):
    from gpu import runs

    assert runs.with_all([(5.0, 100)], 50) == runs.with_all([], 50) == {}
    # The first log is seen at an unknown time after it; the pause at the end is no step's.
    seen = [(3.0, 100), (5.0, 100), (6.0, 300), (7.0, 300), (8.0, 1300), (30.0, 1300)]
    assert runs.with_all(seen, 50) == {'ms_a_step_with_all': pytest.approx(2.0)}
    # The first grid is compiled after step 200; steps 201 to 300 are seen after it.
    grid = [(6.0, 200), (36.0, 200), (37.0, 300), (39.0, 1300)]
    assert runs.with_all(grid, 200) == {'ms_a_step_with_all': pytest.approx(2.0)}


def test_runs_are_apart_by_their_weights_alone(tmp_path, monkeypatch):
    import types

    from gpu import runs

    def net(*values):
        return types.SimpleNamespace(params={'kernel': list(values)})

    states = {'a': (net(3.0, 0.0), net(4.0)), 'b': (net(3.0, 0.5), net(4.0))}
    import kill_test

    def load(run, kind):
        assert kind == 'last'
        generator, discriminator = states[run.name]
        return None, 0, types.SimpleNamespace(generator=generator, discriminator=discriminator)

    monkeypatch.setattr(kill_test, 'load_state', load)
    assert runs.apart(tmp_path / 'a', tmp_path / 'b') == pytest.approx(0.1)
    assert runs.apart(tmp_path / 'a', tmp_path / 'a') == 0


TRACE = """
planes {
  name: "/host:CPU"
  lines { name: "Stream" events { metadata_id: 1 duration_ps: 9000000 } }
  event_metadata { key: 1 value { id: 1 name: "Execute" } }
}
planes {
  name: "/device:GPU:0"
  lines { name: "XLA Ops" timestamp_ns: 10 events { metadata_id: 1 duration_ps: 9000000 } }
  lines {
    name: "Stream #1" timestamp_ns: 1000
    events { metadata_id: 1 offset_ps: 0 duration_ps: 4000000 }
    events { metadata_id: 2 offset_ps: 10000000 duration_ps: 2000000 }
    events { metadata_id: 1 offset_ps: 20000000 duration_ps: 4000000 }
  }
  lines {
    name: "Stream #2" timestamp_ns: 1000
    events { metadata_id: 3 offset_ps: 2000000 duration_ps: 4000000 }
  }
  event_metadata { key: 1 value { id: 1 name: "sm90_xmma_wgrad_implicit_gemm" } }
  event_metadata { key: 2 value { id: 2 name: "loop_add_fusion_3" } }
  event_metadata { key: 3 value { id: 3 name: "input_reduce_fusion" } }
}
"""


def test_a_trace_says_which_kernels_ran_and_how_long_none_did(tmp_path):
    from jax.profiler import ProfileData

    from bench import trace

    path = tmp_path / 'plugins/profile/today/host.xplane.pb'
    path.parent.mkdir(parents=True)
    path.write_bytes(ProfileData.text_proto_to_serialized_xspace(TRACE))
    found = trace.summary(tmp_path, 2)
    assert found['kernels_a_step'] == 2
    assert found['busy_ms'] == pytest.approx(0.006)  # 0 to 6, 10 to 12 and 20 to 24 us, of two
    assert found['span_ms'] == pytest.approx(0.012)
    kinds = {name: kind['us'] for name, kind in found['kinds'].items()}
    assert kinds == {'convolutions': 4.0, 'reductions': 2.0, 'other fusions': 1.0}
    assert list(found['kernels'])[0] == 'sm90_xmma_wgrad_implicit_gemm'
    assert found['kernels']['sm90_xmma_wgrad_implicit_gemm'] == {'us': 4.0, 'count': 1.0}
    assert found['host'] == {'Execute': {'us': 4.5, 'count': 0.5}}
    with pytest.raises(FileNotFoundError):
        trace.summary(tmp_path / 'plugins/other', 2)
