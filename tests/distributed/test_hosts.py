"""Several processes as one run, on loopback: equal to one device, and one end for all.

The runs on up to four forced devices, and on two processes of two, are this file itself, started
as a program; the others are the command.
"""

import inspect
import json
import os
import pickle
import signal
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from helpers.device_runs import STEPS, relative, train
from helpers.pictures import write
from helpers.runs import SMALL, make_pairs, metrics, tiny_config

from pix2pix_jax import train as training
from pix2pix_jax.data import discover
from pix2pix_jax.distributed import hosts, parallel
from pix2pix_jax.distributed.preemption import StopRequest
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.null_recorder import NullRecorder
from pix2pix_jax.recorder import Recorder
from pix2pix_jax.runtime import use_compile_cache
from pix2pix_jax.train_setup import resolve
from pix2pix_jax.workdir.checkpoints import Checkpoints

RANDOM = {'generator.dropout': 0.5, 'discriminator.augment': 'color,translation,cutout'}
# All that is random in a step is on in each.
SETTINGS = {
    norm: {'generator.norm': norm, 'discriminator.norm': norm, **RANDOM}
    for norm in ('none', 'instance', 'batch')
}
SETTINGS['batch']['sync_batch_norm'] = True
SETTINGS['wgan-gp'] = {'loss.gan': 'wgan-gp', 'generator.dropout': 0.5}
SETTINGS['masks'] = {'dataset.nodata': '0', **RANDOM}
SETTINGS['classes'] = {
    'dataset.target_classes': 4,
    'generator.output_channels': 4,
    'loss.class_weight': 1.0,
    **RANDOM,
    'discriminator.augment': 'translation,cutout',
}
LIMIT = 300  # seconds, for a machine that does much else


def trained(devices, rows=slice(None)):
    """Twenty steps on the devices in each setting."""
    return {
        name: train(devices, STEPS, rows=rows, batch_size=8, **fields)
        for name, fields in SETTINGS.items()
    }


def main(path, coordinator='', number=1, i=0):
    use_compile_cache()
    with hosts.join_processes(coordinator, int(number), int(i)):
        devices = jax.local_devices()
        parallel.StopVote(StopRequest(), devices, 0)  # connects them
        if int(number) > 1:
            results = trained(devices, slice(int(i), None, int(number)))
        else:
            results = {n: trained(devices[:n]) for n in (1, 2, 4)}
    with open(path, 'wb') as file:
        pickle.dump(results, file)


def environment(devices):
    flags = f'{os.environ["XLA_FLAGS"]} --xla_force_host_platform_device_count={devices}'
    return os.environ | {'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu'}


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def start(*args, devices=2, **variables):
    return subprocess.Popen(
        [sys.executable, *map(str, args)],
        env=environment(devices) | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Command:
    """The command in two processes, with two devices each; `own` flags are one's of either."""

    def __init__(self, *args, own=((), ())):
        shared = [f'--coordinator=127.0.0.1:{free_port()}', '--num_processes=2']
        self.processes = [
            start('-m', 'pix2pix_jax.main', *args, *shared, f'--process_id={i}', *own[i])
            for i in (0, 1)
        ]

    def wait_for_step(self, step):
        for line in self.processes[0].stdout:
            if line.startswith(f'step {step}/'):
                return
        raise AssertionError(self.processes[0].stderr.read())

    def end(self):
        """The exit statuses, and what both printed."""
        said = [process.communicate(timeout=LIMIT) for process in self.processes]
        out, err = zip(*said)
        return [process.returncode for process in self.processes], out, err


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('hosts')
    coordinator = f'127.0.0.1:{free_port()}'
    processes = [start(__file__, folder / str(i), coordinator, 2, i) for i in (0, 1)] + [
        start(__file__, folder / 'here', devices=4)
    ]
    for process in processes:
        assert process.wait(LIMIT) == 0, process.stderr.read()
    results = pickle.loads((folder / 'here').read_bytes())
    both = {f'host {i}': pickle.loads((folder / str(i)).read_bytes()) for i in (0, 1)}
    return results | both


@pytest.mark.slow
@pytest.mark.parametrize('setting', SETTINGS)
@pytest.mark.parametrize('many', [2, 4, 'host 0', 'host 1'])
def test_several_devices_and_two_hosts_are_one_device(runs, many, setting):
    """With dropout, DiffAugment, the penalty's mixing: a function of the example alone."""
    one, many = runs[1][setting], runs[many][setting]
    for network in ('generator', 'discriminator'):
        (params, (adam, _), stats), (same_params, (same_adam, _), same_stats) = (
            run['first'][network] for run in (many, one)
        )
        for a, b in ((adam.mu, same_adam.mu), (adam.nu, same_adam.nu), (stats, same_stats)):
            assert difference(a, b) < 1e-5
        # Some tensors have no gradient in the others: Adam steps by its rounding.
        if setting in ('none', 'batch'):
            assert relative(params, same_params) < 1e-5
    for a, b in zip(many['metrics'], one['metrics'], strict=True):
        for name in b:
            np.testing.assert_allclose(a[name], b[name], rtol=1e-3)


def difference(a, b):
    """The largest difference, by the largest entry of the whole tree; 0 for empty ones."""
    largest = max((np.abs(x).max() for x in jax.tree.leaves(b)), default=1)
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max((np.abs(x - y).max() for x, y in pairs), default=0) / largest


@pytest.mark.slow
def test_one_compilation_on_several_devices_and_hosts(runs):
    for where, settings in runs.items():
        assert {run['compiled'] for run in settings.values()} == {1}, where


@pytest.mark.slow
def test_the_hosts_stay_equal(runs):
    for name in SETTINGS:
        first, second = (runs[f'host {i}'][name]['all'] for i in (0, 1))
        jax.tree.map(np.testing.assert_array_equal, first, second)


# ---------------------------------------------------------------- the command


@pytest.fixture(scope='module')
def pairs(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp('pairs'), {'train': 8, 'val': 2, 'test': 2})


FIELDS = {
    'num_steps': 60,
    'batch_size': 4,
    'image_size': (32, 32),
    'generator.dropout': 0.0,
    'dataset.val_fraction': 0.0,
    'generator.depth': 2,  # every start compiles again on all processes but one
    'generator.norm': 'none',
    'discriminator.layers': 1,
    'discriminator.norm': 'none',
    'init.scale': 0.3,
    'eval_every': 30,
    'sample_every': 60,
    'checkpoint.every_steps': 20,
}


def arguments(pairs, workdir):
    text = {k: ','.join(map(str, v)) if k == 'image_size' else v for k, v in FIELDS.items()}
    fields = [f'--config.{name}={value}' for name, value in text.items()]
    data = f'--config.dataset.path={pairs}'
    return ['--config=configs/folder.py:tiny', data, *fields, f'--workdir={workdir}']


@pytest.mark.e2e
@pytest.mark.slow
def test_two_hosts_stop_lose_one_and_go_on_to_what_one_device_does(pairs, tmp_path):
    parts = tmp_path / 'parts'
    args = arguments(pairs, parts)
    run = Command(*args)
    run.wait_for_step(13)
    run.processes[1].send_signal(signal.SIGTERM)
    statuses, out, err = run.end()
    assert statuses == [143, 143], err
    (stopped,) = Checkpoints(parts).steps('last')
    assert stopped > 13
    for i, text in enumerate(err):
        assert f'at step {stopped}; resume with: python -m pix2pix_jax.main' in text
        assert f'--process_id={i}' in text
    assert out[1] == ''  # one console

    run = Command(*args)
    run.wait_for_step(stopped + 3)
    run.processes[0].kill()
    statuses, _, _ = run.end()
    assert statuses[0] == -signal.SIGKILL and statuses[1] != 0

    run = Command(*args)
    statuses, out, err = run.end()
    assert statuses == [0, 0], err
    assert 'resuming from step ' in out[0] and '2 x cpu on each of 2 hosts' in out[0]
    assert len(list(parts.glob('events.out.tfevents.*'))) == 1
    assert (parts / 'evaluation/test/metrics.json').exists()

    # One device resumes what two hosts saved; and did the same from the start.
    fields = {name.replace('.', '__'): value for name, value in FIELDS.items()}
    more = fields | {'num_steps': 62}
    assert int(training.train_and_evaluate(tiny_config(pairs, **more), parts).step) == 62
    whole = tmp_path / 'whole'
    training.train_and_evaluate(tiny_config(pairs, **fields), whole)
    rows, expected = metrics(parts), metrics(whole)
    assert [row['step'] for row in rows] == list(range(1, 63))
    for row, same in zip(rows[:STEPS], expected):
        for name in same:
            if not name.startswith('eval/'):
                np.testing.assert_allclose(row[name], same[name], rtol=1e-3, err_msg=name)


def masked_pairs(folder):
    """Depth of 16 bits with holes, of which one target is all: its image counts as nothing."""
    for split, count in (('train', 8), ('val', 2), ('test', 2)):
        for i in range(count):
            rng = np.random.default_rng(len(split) + i)
            depth = rng.integers(1000, 60000, (32, 32, 1), np.uint16)
            write(folder / split / 'A' / f'{i}.png', (depth // 256).astype(np.uint8))
            depth[: 4 * i + 4 if split == 'train' else 9] = 0
            write(folder / split / 'B' / f'{i}.png', depth)
    one_channel = {'generator.input_channels': 1, 'generator.output_channels': 1}
    return folder, {'dataset.nodata': '0', **one_channel}


def class_pairs(folder):
    """Photos to the classes of labels, where green is none; of one map all is."""
    make_pairs(folder, {'train': 8, 'val': 2, 'test': 2})
    label = np.zeros((32, 64, 3), np.uint8)
    label[:, :32] = (0, 255, 0)
    write(folder / 'train' / '7.png', label)
    table = folder.parent / 'colours.txt'
    table.write_text('ground 0,0,255\nbox 255,0,0\nvoid 0,255,0\n')
    classes = {'dataset.colors': table, 'dataset.target_classes': 2, 'loss.class_weight': 1.0}
    return folder, {**classes, 'dataset.direction': 'BtoA'}


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize('make', [masked_pairs, class_pairs])
def test_losses_and_metrics_of_masked_pixels_and_of_classes_are_those_of_one_device(make, tmp_path):
    """Each host and device has another share of pixels that count."""
    folder, fields = make(tmp_path / 'pairs')
    fields |= {'num_steps': 6, 'eval_every': 3, 'sample_every': 6}
    own = [f'--config.{name}={value}' for name, value in fields.items()]
    statuses, _, err = Command(*arguments(folder, tmp_path / 'parts'), *own).end()
    assert statuses == [0, 0], err
    fields = {name.replace('.', '__'): value for name, value in (FIELDS | fields).items()}
    fields |= {'dataset__colors': str(fields.get('dataset__colors', ''))}
    training.train_and_evaluate(tiny_config(folder, **fields), tmp_path / 'whole')
    rows, expected = metrics(tmp_path / 'parts'), metrics(tmp_path / 'whole')
    assert [row['step'] for row in rows] == list(range(1, 7))
    for row, same in zip(rows, expected, strict=True):
        assert row.keys() == same.keys()
        for name in same:
            np.testing.assert_allclose(row[name], same[name], rtol=1e-3, err_msg=name)
    measured = {'test/class_iou'} if make is class_pairs else {'test/psnr', 'test/ssim'}
    assert measured | {'eval/l1', 'train/d_fake'} <= rows[-1].keys()


@pytest.mark.e2e
@pytest.mark.slow
def test_hosts_with_different_commands_or_data_are_refused(pairs, tmp_path):
    args = arguments(pairs, tmp_path / 'run')
    statuses, _, err = Command(*args, own=((), ['--config.seed=1'])).end()
    assert statuses == [2, 2]
    for text in err:
        assert 'process 1 differs from process 0: config.seed: 0 -> 1' in text
        assert 'Traceback' not in text
    statuses, _, err = Command(*args, own=((), ['--config.num_steps=4'])).end()  # else they hang
    assert statuses == [2, 2] and all('steps: 60 -> 4' in text for text in err)
    other = make_pairs(tmp_path / 'other', {'train': 9, 'val': 2})
    statuses, _, err = Command(*args, own=((), [f'--config.dataset.path={other}'])).end()
    assert statuses == [2, 2] and all('pairs: 8 -> 9' in text for text in err)
    assert not (tmp_path / 'run').exists()


OPEN = """
import json, sys
from etils import epath
from pix2pix_jax import train_setup
from pix2pix_jax.distributed import hosts
from pix2pix_jax.config import default_config
config = default_config()
config.dataset.path, workdir, config.init_from, address, i = sys.argv[1:]
config.dataset.val_fraction = 0.25
with hosts.join_processes(address, 2, int(i)):
    splits, _ = train_setup.open_data(config, epath.Path(workdir))
    print(json.dumps({name: source.names for name, source in splits.items()}), file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.parametrize('start_from_it', [False, True])
def test_process_0_alone_reads_which_pairs_a_run_has(tmp_path, start_from_it):
    """A run that resumes, and one that starts from its weights; the draw would be another."""
    folder = make_pairs(tmp_path / 'pairs', {'train': 8})
    names = {'train': ['0', '1', '2', '4', '5', '6'], 'val': ['3', '7']}
    kept = {name: {'used': used, 'skipped': {}} for name, used in names.items()}
    kept = {name: pairs | {'held_out': name == 'val'} for name, pairs in kept.items()}
    run = tmp_path / 'run'
    (run / 'checkpoints' / 'last' / '3').mkdir(parents=True)
    (run / 'config.json').write_text('{}')
    (run / 'data.json').write_text(json.dumps({'splits': kept}))
    drawn = discover.open_splits(tiny_config(folder, dataset__val_fraction=0.25))
    assert names['val'] != list(drawn['val'].names)
    here = (tmp_path / 'new', run) if start_from_it else (run, '')
    address = f'127.0.0.1:{free_port()}'
    processes = [
        start('-c', OPEN, folder, *folders, address, i)
        for i, folders in enumerate([here, (tmp_path / 'none', 'none' * start_from_it)])
    ]
    for process in processes:
        _, err = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, err
        assert json.loads(err.splitlines()[-1]) == names


FROM_WRITER = """
import sys
import jax, numpy as np
from pix2pix_jax.distributed import hosts
with hosts.join_processes(sys.argv[1], 2, int(sys.argv[2])):
    state = hosts.from_writer({'weights': np.full(2, 3 + jax.process_index(), np.float32)})
    assert state['weights'].devices() == {jax.local_devices()[0]}
    assert state['weights'].tolist() == [3, 3]
"""


@pytest.mark.slow
def test_the_first_state_lies_on_a_device_of_each_host():
    """An evaluation before the first step would else take it there with each of its batches."""
    address = f'127.0.0.1:{free_port()}'
    for process in [start('-c', FROM_WRITER, address, i) for i in (0, 1)]:
        _, err = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, err


@pytest.mark.e2e
def test_a_bad_file_on_one_host_ends_all(pairs, tmp_path):
    bad = make_pairs(tmp_path / 'bad', {'train': 8, 'val': 2})
    (bad / 'train/3.png').write_bytes((bad / 'train/3.png').read_bytes()[:60])
    args = arguments(pairs, tmp_path / 'run')
    statuses, _, err = Command(*args, own=((), [f'--config.dataset.path={bad}'])).end()
    assert statuses == [1, 1]
    assert all('3.png' in text and 'Traceback' not in text for text in err)
    assert 'process 1: ' in err[0]
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('machines, here', [('aab', [2, 2, 1]), ('abc', [1, 1, 1]), ('a', [1])])
def test_the_processes_of_a_machine_are_counted(monkeypatch, machines, here):
    kept = {}

    class Client:
        key_value_set = kept.__setitem__

        def blocking_key_value_get(self, key, limit):
            folder, _, i = key.rpartition('/')
            return kept.get(key, machines[int(i)])  # those that come later

    monkeypatch.setattr(hosts, '_client', Client)
    monkeypatch.setattr(jax, 'process_count', lambda: len(machines))
    for i, machine in enumerate(machines):
        monkeypatch.setattr(jax, 'process_index', lambda i=i: i)
        monkeypatch.setattr(socket, 'gethostname', lambda machine=machine: machine)
        assert hosts.processes_here() == here[i]
    assert sorted(kept.values()) == (sorted(machines) if len(machines) > 1 else [])


def test_processes_that_write_nothing_read_the_training_pairs_alone(tmp_path, monkeypatch):
    pairs = make_pairs(tmp_path / 'pairs', {'train': 2, 'val': 1, 'test': 1})
    config = tiny_config(pairs)
    assert set(resolve(config, tmp_path / 'run').splits) == {'train', 'val', 'test'}
    monkeypatch.setattr(hosts, 'is_writer', lambda: False)
    assert set(resolve(config, tmp_path / 'run').splits) == {'train'}


def test_a_null_recorder_has_the_recorders_methods():
    for name, method in vars(Recorder).items():
        if callable(method) and not name.startswith('_'):
            same = inspect.signature(getattr(NullRecorder, name))
            assert same == inspect.signature(method), name
    public = {name for name in vars(Recorder) if not name.startswith('_')}
    assert {name for name in vars(NullRecorder) if not name.startswith('_')} == public


def test_it_records_nothing_and_says_how_to_go_on():
    recorder = NullRecorder('python -m pix2pix_jax.main --process_id=1')
    assert not recorder.has_val and not recorder.evaluate(1, None)
    error = recorder.stopped_by(DataError('3.png is cut off'))
    assert isinstance(error, DataError) and str(error) == (
        '3.png is cut off; mend the file and resume with: python -m pix2pix_jax.main --process_id=1'
    )


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (('', 2, 0), '--num_processes=2 needs --coordinator=HOST:PORT'),
        (('h:1', 1, 0), '--coordinator=h:1: the run would be of this process alone'),
        (('', 0, 0), '--num_processes=0: allowed is 1 or more'),
        (('h:1', 2, 2), '--process_id=2: allowed is 0 to 1'),
        (('h:1', 2, -1), '--process_id=-1: allowed is 0 to 1'),
        (('h', 2, 0), '--coordinator=h: allowed is HOST:PORT'),
        (('h:70000', 2, 0), '--coordinator=h:70000: allowed is HOST:PORT'),
    ],
)
def test_wrong_flags(flags, message):
    with pytest.raises(UserError, match='^' + message.replace('(', r'\(')):
        hosts.check_flags(*flags)


def slurm(i, number=2):
    """What SLURM gives task i of a job on this machine whose port, made of its number, is free."""
    job = next(n for n in range(os.getpid() % 4000, 4096) if is_free(2**16 - 2**12 + n))
    names = {'JOB_ID': job, 'STEP_NODELIST': '127.0.0.1', 'STEP_NUM_NODES': 1, 'NTASKS': number}
    names |= {'PROCID': i, 'LOCALID': i}
    return {f'SLURM_{name}': str(value) for name, value in names.items()}


def is_free(port):
    with socket.socket() as s:
        return s.connect_ex(('127.0.0.1', port)) != 0


@pytest.mark.e2e
@pytest.mark.slow
def test_the_tasks_of_a_slurm_job_join_by_its_variables(pairs, tmp_path):
    args = ['-m', 'pix2pix_jax.main', *arguments(pairs, tmp_path / 'run'), '--hosts=auto']
    jobs = [slurm(i) for i in (0, 1)]
    processes = [start(*args, '--config.num_steps=2', **job) for job in jobs]
    said = [process.communicate(timeout=LIMIT) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert '2 x cpu on each of 2 hosts, 2 steps' in said[0][0] and said[1][0] == ''
    assert [row['step'] for row in metrics(tmp_path / 'run')] == [1, 2]
    alone = start(*args, '--config.num_steps=3', devices=1, **slurm(0, 1))  # a job of one task
    out, err = alone.communicate(timeout=LIMIT)
    assert alone.returncode == 0, err
    assert '1 x cpu, 3 steps, resuming from step 2' in out


@pytest.mark.e2e
@pytest.mark.parametrize(
    ('variables', 'flag', 'message'),
    [
        ({}, '', 'this is no job of SLURM, Open MPI or Kubernetes, and no TPU pod: start it with'),
        ({}, '--process_id=1', 'finds the processes itself: leave out --coordinator'),
        (slurm(2), '', 'process_id=2'),
        ({'KUBERNETES_SERVICE_HOST': '10.0.0.1'}, '', 'pip install jax[k8s]'),
        ({'OMPI_MCA_orte_hnp_uri': '4096.0;tcp://127.0.0.1:1'}, '', 'OMPI_COMM_WORLD_SIZE'),
    ],
)
def test_a_job_that_is_not_found_is_one_line(pairs, tmp_path, variables, flag, message):
    args = [*arguments(pairs, tmp_path / 'run'), '--hosts=auto', *filter(None, [flag])]
    process = start('-m', 'pix2pix_jax.main', *args, **variables)
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 2
    (line,) = err.splitlines()
    assert line.startswith('error: --hosts=auto') and message in line


@pytest.mark.e2e
def test_a_batch_that_the_hosts_do_not_divide(pairs, tmp_path):
    args = arguments(pairs, tmp_path / 'run')
    statuses, _, err = Command(*args, '--config.batch_size=3').end()
    assert statuses == [2, 2]
    assert all('config.batch_size=3: must be a multiple of 2 hosts' in text for text in err)


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'rate'), [('multi_gpu_pytorch', 2e-4), ('multi_gpu_tensorflow', 8e-4)]
)
def test_the_multi_gpu_configs_on_four_devices(pairs, tmp_path, name, rate):
    args = [f'--config=configs/reference/{name}.py:tiny', *SMALL, '--config.num_devices=4']
    data = f'--config.dataset.path={pairs}'
    run = start('-m', 'pix2pix_jax.main', *args, data, f'--workdir={tmp_path}', devices=4)
    out, err = run.communicate(timeout=LIMIT)
    assert run.returncode == 0, err
    assert '4 x cpu, 4 steps' in out
    rows = metrics(tmp_path)
    assert [row['step'] for row in rows] == [1, 2, 3, 4]
    for row in rows:
        assert row['train/learning_rate'] == pytest.approx(rate)
    assert Checkpoints(tmp_path).steps('last')[-1] == 4


@pytest.mark.e2e
@pytest.mark.slow
def test_the_rate_is_scaled_with_the_devices_of_all_hosts_and_kept(pairs, tmp_path):
    scaled = '--config.optimizer.scale_with_devices=True'
    few = [f'--config.{name}=0' for name in ('eval_every', 'sample_every')]
    args = [*arguments(pairs, tmp_path / 'run'), scaled, *few]
    statuses, _, err = Command(*args, '--config.num_steps=1').end()
    assert statuses == [0, 0], err
    config = json.loads((tmp_path / 'run/config.json').read_text())
    assert (config['optimizer']['rate_devices'], config['num_devices']) == (4, 0)
    for devices, status in ((2, 2), (4, 0)):
        one = start('-m', 'pix2pix_jax.main', *args, '--config.num_steps=2', devices=devices)
        _, err = one.communicate(timeout=LIMIT)
        assert one.returncode == status, err
        if status:
            assert 'config.optimizer.rate_devices: 4 -> 2; give the old values' in err
            assert err.count('\n') == 1
    rates = [row['train/learning_rate'] for row in metrics(tmp_path / 'run')]
    assert rates == pytest.approx([8e-4] * 2)


def test_nobody_at_the_coordinator():
    call = f"hosts.join_processes('127.0.0.1:{free_port()}', 2, 1).__enter__()"
    code = f'from pix2pix_jax.distributed import hosts; hosts.JOIN_SECONDS = 2; {call}'
    process = start('-c', code)
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 2
    assert err.count('\n') == 1 and 'process 1 waited 2 s for all of --num_processes=2' in err


if __name__ == '__main__':
    main(*sys.argv[1:])
