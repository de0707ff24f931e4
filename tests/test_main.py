"""The command itself, most in processes of its own: statuses, one-line errors, kill and resume."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from helpers import ROOT
from helpers.runs import SMALL, make_pairs, metrics
from ml_collections import config_flags

from pix2pix_jax import main
from pix2pix_jax.errors import UserError, run_command

CONFIG = '--config=configs/folder.py:tiny'
ENVIRONMENT = os.environ | {'JAX_PLATFORMS': 'cpu'}


@pytest.fixture(scope='module')
def pairs(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp('pairs'), {'train': 8, 'val': 2, 'test': 2})


def command(*args):
    return [sys.executable, '-m', 'pix2pix_jax.main', *map(str, args)]


def run(*args, cwd, env=ENVIRONMENT):
    return subprocess.run(
        command(*args), cwd=cwd, env=env, capture_output=True, text=True, timeout=300
    )


def start(*args, cwd):
    return subprocess.Popen(
        command(*args),
        cwd=cwd,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_step(process, step):
    """Reads the process's lines up to that of `step`."""
    for line in process.stdout:
        if line.startswith(f'step {step}/'):
            return
    raise AssertionError(process.stderr.read())


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        ([], '--config is missing'),
        (['--config=configs/nope.py'], r'no such file; allowed are configs/bw2color.py, '),
        ([CONFIG + ',nope'], "config argument 'nope': allowed are loss=, "),
        ([CONFIG, '--config.loss.gam=lsgan'], 'loss.gam is unknown; did you mean config.loss.gan?'),
        ([CONFIG, '--config.zzz.y=1'], 'config.zzz.y is unknown; in config there are batch_size, '),
        ([CONFIG, '-config.sed=3'], 'config.sed is unknown; did you mean config.seed?'),
        ([CONFIG, '--config.batch_size=1e3'], 'batch_size=1e3: allowed is a whole number, 1 to '),
        ([CONFIG, '--config.loss.l1_weight='], 'loss.l1_weight=: allowed is a number, 0.0 to '),
        ([CONFIG, '--config.dataset.mirror', 'maybe'], "unexpected argument 'maybe'"),
        ([CONFIG, '--config.dataset.mirror=maybe'], 'mirror=maybe: allowed is True | False'),
        ([CONFIG, '--noconfig.dataset.mirror=1'], 'does not take an argument'),
        ([CONFIG, '--nodry_run=1'], 'does not take an argument'),
        ([CONFIG, '--workdir'], 'Missing value for flag --workdir: it is written --workdir=VALUE'),
        ([CONFIG, '--config.batch_size'], 'it is written --config.batch_size=VALUE'),
        ([CONFIG, '--flagfile=nowhere'], 'nowhere'),
        ([CONFIG + ',seed=-3'], "'seed=-3': allowed is a whole number, 0 to 2147483647"),
        ([CONFIG, '--config.batch_size=0'], 'config.batch_size=0: allowed is 1 to '),
        ([CONFIG, '--config.method=flo'], "config.method='flo': allowed are gan | flow"),
        ([CONFIG, '--config.loss.gan=nope'], "config.loss.gan='nope': allowed are vanilla | "),
        ([CONFIG, '--nope'], "Unknown command line flag 'nope'"),
        ([CONFIG, 'nope'], "unexpected argument 'nope'"),
        ([CONFIG], 'config.dataset.path is empty'),
        (['--config=configs/facades.py'], 'python scripts/prepare_data.py facades'),
        ([CONFIG, '--config.image_size=50'], 'the nearest is 48,48'),
    ],
)
def test_a_wrong_command_is_one_line_and_status_2(args, message, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['main', *args])
    with pytest.raises(SystemExit) as ended:
        run_command(main.main, main.define_flags, check_argv=main.check_argv)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.startswith('error: ') and said.count('\n') == 1
    assert message in said
    assert not os.listdir(tmp_path)


@pytest.mark.e2e
def test_bad_data_is_one_line_and_status_1(tmp_path):
    done = run(CONFIG, f'--config.dataset.path={tmp_path}/nope', cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith('error: ') and done.stderr.count('\n') == 1


@pytest.mark.e2e
def test_help_prints_the_flags(tmp_path):
    done = run('--help', cwd=tmp_path)
    assert done.returncode == 0
    assert '--workdir' in done.stdout and '--config' in done.stdout


@pytest.mark.parametrize(
    ('config', 'workdir'),
    [
        ('configs/facades.py', 'runs/facades'),
        ('/a/b/facades.py:loss=l1,tiny', 'runs/facades-loss=l1,tiny'),
    ],
)
def test_default_workdir(config, workdir):
    assert main.default_workdir(config) == workdir


@pytest.mark.e2e
@pytest.mark.slow
def test_a_stopped_run_says_how_it_goes_on_and_does(pairs, tmp_path):
    """That it ends as an uninterrupted one: test_train.py, and for SIGKILL test_kill_test.py."""
    data, length = f'--config.dataset.path={pairs}', '--config.num_steps=36'
    seldom = [f'--config.{field}=0' for field in ('eval_every', 'sample_every')]
    seldom.append('--config.checkpoint.every_steps=0')
    args = [CONFIG, *SMALL, data, length, *seldom, '--workdir=parts']
    for number, at in ((signal.SIGINT, 5), (signal.SIGTERM, 15)):
        process = start(*args, cwd=tmp_path)
        wait_for_step(process, at)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 128 + number
        command_line = stderr.rpartition('resume with: python -m ')[2].split()
        assert command_line[0] == 'pix2pix_jax.main' and set(args[1:]) < set(command_line)
    last = run(*command_line[1:], cwd=tmp_path)
    assert last.returncode == 0, last.stderr
    assert 'resuming from step ' in last.stdout
    assert last.stdout.splitlines()[-1] == 'parts/index.html'
    assert [row['step'] for row in metrics(tmp_path / 'parts')] == list(range(1, 37))


@pytest.mark.e2e
def test_bad_numbers_end_the_run_with_status_1(pairs, tmp_path):
    """Adam without eps divides by zero where a gradient is zero: a real NaN in the first step."""
    done = run(
        CONFIG, *SMALL, f'--config.dataset.path={pairs}', '--config.optimizer.eps=0',
        '--config.init.scale=0', '--workdir=run', cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert 'became NaN or infinite in steps 1 to' in done.stderr and done.stderr.count('\n') == 1
    assert 'the last good checkpoint is none' in done.stderr
    assert not list((tmp_path / 'run').glob('checkpoints/*/*'))


@pytest.mark.e2e
def test_a_second_signal_ends_at_once(pairs, tmp_path):
    process = start(
        CONFIG, *SMALL, f'--config.dataset.path={pairs}', '--config.num_steps=1000000',
        '--config.checkpoint.every_steps=0', '--config.eval_every=0', '--workdir=run',
        cwd=tmp_path,
    )  # fmt: skip
    wait_for_step(process, 3)
    process.send_signal(signal.SIGSTOP)  # both signals wait for the process, and come together
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode in (128 + signal.SIGINT, 128 + signal.SIGTERM)
    assert 'stopped and saved' not in stderr
    assert not (tmp_path / 'run/checkpoints').exists()


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('x = (', 'SyntaxError'),
        ('import nope', 'ModuleNotFoundError'),
        ('', "no attribute 'get_config'"),
        ('def get_config(arg): pass', 'is of type NoneType: allowed is a whole config'),
        ('def get_config(): pass', 'TypeError'),
    ],
)
def test_a_config_file_that_fails(text, message, tmp_path):
    (tmp_path / 'mine.py').write_text(text)
    with pytest.raises(UserError, match=message) as error:
        main.load_config(tmp_path / 'mine.py', '')
    assert 'mine.py' in str(error.value)


def test_a_space_before_the_config_file(tmp_path):
    argv = ['main', '--config', 'configs/test.py', '--config.seed=1']
    main.check_argv(argv)
    assert argv[1].endswith('configs/test.py') and argv[1].startswith('--config=')


@pytest.mark.parametrize(
    ('words', 'left', 'values'),
    [
        ('--config.image_size=256 --config.image_size=128', '--config.image_size=128', (128,)),
        ('--config.image_size 64 -config.image_size 32,48', '--config.image_size=32,48', (32, 48)),
        ('--config.seed=1 --dry_run --config.seed 2', '--dry_run --config.seed=2', 2),
        ('--noconfig.remat --config.remat --dry_run', '--config.remat --dry_run', True),
    ],
)
def test_of_several_values_of_a_field_the_last_counts(words, left, values, monkeypatch):
    argv = ['main', CONFIG, *words.split()]
    monkeypatch.setattr(sys, 'argv', argv)  # where ml_collections looks for the fields
    main.check_argv(argv)
    assert argv[2:] == left.split()
    parsed = main.define_flags()
    parsed(argv)
    assert list(config_flags.get_override_values(parsed['config']).values()) == [values]


def test_of_several_config_files_the_last_counts(monkeypatch):
    argv = ['main', '--config=configs/maps.py', CONFIG, '--config.seed=3']
    monkeypatch.setattr(sys, 'argv', argv)
    main.check_argv(argv)
    assert argv[1:] == [argv[1], '--config.seed=3'] and 'configs/folder.py' in argv[1]
    parsed = main.define_flags()
    parsed(argv)
    assert parsed.config.seed == 3


@pytest.mark.e2e
def test_a_workdir_that_cannot_be_made(pairs, tmp_path):
    done = run(CONFIG, f'--config.dataset.path={pairs}', '--workdir=/proc/x', cwd=tmp_path)
    assert done.returncode == 1
    line = 'error: --workdir=/proc/x: no folder can be made there: No such file or directory\n'
    assert done.stderr == line
    (tmp_path / 'link').symlink_to(tmp_path / 'nowhere')
    done = run(CONFIG, f'--config.dataset.path={pairs}', '--workdir=link', cwd=tmp_path)
    line = 'error: --workdir=link: no folder can be made there: it is a link to nothing\n'
    assert (done.returncode, done.stderr) == (1, line)


@pytest.mark.e2e
def test_a_store_without_its_package(pairs, tmp_path):
    for name in ('gcsfs', 'tensorflow'):  # which may be installed
        (tmp_path / f'{name}.py').write_text(f'raise ModuleNotFoundError("No module named {name}")')
    env = ENVIRONMENT | {'PYTHONPATH': f'{tmp_path}{os.pathsep}{ROOT}'}
    done = run(CONFIG, f'--config.dataset.path={pairs}', '--workdir=gs://b/run', cwd=ROOT, env=env)
    assert done.returncode == 2
    assert done.stderr.startswith('error: --workdir=gs://b/run: ') and done.stderr.count('\n') == 1


def test_the_package_is_light_to_import():
    code = (
        'import sys, pix2pix_jax; assert not {"jax", "tensorflow", "matplotlib"} & set(sys.modules)'
    )
    subprocess.run([sys.executable, '-c', code], check=True)


@pytest.mark.e2e
def test_a_dry_run_says_what_would_be_trained_and_writes_nothing(pairs, tmp_path):
    done = run(CONFIG, f'--config.dataset.path={pairs}', '--dry_run', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for said in (
        'train: 8 pairs of 32x32',
        '"learning_rate": 0.0002',
        'generator: 6,251 parameters',
        'discriminator: 11,765 parameters',
        '1 x cpu, 4 steps',
        'memory of a step on each device: ',
    ):
        assert said in done.stdout, said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.e2e
def test_a_dry_run_looks_at_the_run_to_start_from(pairs, tmp_path):
    wrong = '--config.init_from=nowhere'
    done = run(CONFIG, f'--config.dataset.path={pairs}', wrong, '--dry_run', cwd=tmp_path)
    assert done.returncode == 2 and 'nowhere' in done.stderr.splitlines()[-1]


@pytest.mark.e2e
def test_a_dry_run_refuses_what_a_run_refuses(pairs, tmp_path):
    wrong = '--config.loss.gan=wgan-gp'
    done = run(CONFIG, f'--config.dataset.path={pairs}', wrong, '--dry_run', cwd=tmp_path)
    assert done.returncode == 2
    assert (
        done.stderr.startswith('error: config.discriminator.norm=') and done.stderr.count('\n') == 1
    )


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists('/proc/self/task'), reason='reads /proc')
def test_workers_end_with_a_run_that_is_killed(pairs, tmp_path):
    process = start(
        CONFIG, *SMALL, f'--config.dataset.path={pairs}', '--config.num_steps=1000000',
        '--workdir=run', '--config.dataset.workers=2', '--config.eval_every=0',
        '--config.sample_every=0', cwd=tmp_path,
    )  # fmt: skip
    wait_for_step(process, 5)
    threads = pathlib.Path(f'/proc/{process.pid}/task').iterdir()
    children = [c for thread in threads for c in (thread / 'children').read_text().split()]
    assert len(children) >= 2
    process.kill()
    process.wait()  # not for its output: a worker that is left would hold it open
    deadline = time.monotonic() + 60
    while any(os.path.exists(f'/proc/{child}') for child in children):
        assert time.monotonic() < deadline, 'a worker is still there'
        time.sleep(0.1)
