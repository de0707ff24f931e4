import functools
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import time
import types

import jax
import numpy as np
import pytest
from helpers.runs import (
    assert_equal_states,
    changed,
    make_pairs,
    metrics,
    samples,
    stop_at,
    tiny_config,
)
from PIL import Image

from pix2pix_jax import intervals, recorder, train
from pix2pix_jax.config import default_config
from pix2pix_jax.distributed import parallel
from pix2pix_jax.distributed.preemption import StopRequest
from pix2pix_jax.dry_run import dry_run
from pix2pix_jax.errors import DataError, Stopped, UserError
from pix2pix_jax.inference.generator import Generator
from pix2pix_jax.inference.loaded_run import load_run, load_state
from pix2pix_jax.models import spectral
from pix2pix_jax.null_recorder import NullRecorder
from pix2pix_jax.reports import progress, start
from pix2pix_jax.reports.start import norm_statistics
from pix2pix_jax.train import train_and_evaluate
from pix2pix_jax.train_setup import count_steps, initial_state
from pix2pix_jax.workdir import locks
from pix2pix_jax.workdir.checkpoints import KINDS, Checkpoints
from pix2pix_jax.workdir.metric_writer import sample_paths


@pytest.fixture(scope='module')
def pairs(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp('pairs'), {'train': 8, 'val': 2, 'test': 3})


@pytest.fixture(scope='module')
def whole(pairs, tmp_path_factory):
    """An uninterrupted run: its folder and its final state."""
    workdir = tmp_path_factory.mktemp('whole')
    return workdir, train_and_evaluate(tiny_config(pairs), workdir, 'the command')


def starts(workdir):
    """The steps from which the run was started and resumed."""
    return [start['step'] for start in json.loads((workdir / 'run.json').read_text())['starts']]


def nan_at(step, monkeypatch):
    """Makes the batch of `step` NaN."""
    batches = train.feed.batches

    def with_nan(*args):
        for i, batch in enumerate(batches(*args), start=1):
            images = batch.keys() - {'index'} if i == step else ()
            yield {k: v * np.nan if k in images else v for k, v in batch.items()}

    monkeypatch.setattr(train.feed, 'batches', with_nan)


def test_a_run_leaves_the_files_of_the_contract(whole):
    workdir, state = whole
    assert int(state.step) == 6
    for name in ('config.json', 'run.json', 'index.html', 'evaluation/test/metrics.json'):
        assert (workdir / name).stat().st_size > 0, name
    assert len(list(workdir.glob('events.out.tfevents.*'))) == 1
    assert sorted(samples(workdir)) == [f'step_{s:07d}.png' for s in (2, 4, 6)]
    assert sorted(os.listdir(workdir / 'checkpoints')) == ['best', 'last']
    run = json.loads((workdir / 'run.json').read_text())
    assert run['command'] == 'the command' and run['versions']['jax'] == jax.__version__
    assert not list(workdir.rglob('*.tmp'))


def test_metrics_of_every_step_in_one_row(whole):
    rows = metrics(whole[0])
    assert [row['step'] for row in rows] == [1, 2, 3, 4, 5, 6]
    names = ('d_loss', 'd_real', 'd_fake', 'g_loss', 'g_gan', 'g_l1', 'g_l2', 'learning_rate')
    for row in rows:
        assert {f'train/{name}' for name in names} <= set(row)
        assert row['train/learning_rate'] == pytest.approx(2e-4)
    evaluated = [row['step'] for row in rows if {'eval/l1', 'eval/psnr', 'eval/ssim'} <= set(row)]
    assert evaluated == [2, 4, 6]
    assert [row['step'] for row in rows if 'test/l1' in row] == [6]


def test_best_is_the_lowest_l1_on_val(whole):
    workdir, _ = whole
    values = {row['eval/l1']: row['step'] for row in metrics(workdir) if 'eval/l1' in row}
    checkpoints = Checkpoints(workdir)
    assert checkpoints.find('best') == ('best', values[min(values)])
    assert checkpoints.find('last') == ('last', 6)


@pytest.mark.parametrize(('step', 'number'), [(1, signal.SIGINT), (4, signal.SIGTERM)])
def test_stopped_and_gone_on_equals_uninterrupted(
    pairs, whole, tmp_path, monkeypatch, step, number
):
    with monkeypatch.context() as patch:
        stop_at(step, number, patch)
        with pytest.raises(Stopped, match=f'step {step}; resume with: the command') as stopped:
            train_and_evaluate(tiny_config(pairs), tmp_path, 'the command')
    assert stopped.value.status == 128 + number
    assert Checkpoints(tmp_path).steps('last') == [step]
    state = train_and_evaluate(tiny_config(pairs), tmp_path, 'the command')
    assert starts(tmp_path) == [0, step]
    assert_equal_states(state, whole[1])
    assert metrics(tmp_path) == metrics(whole[0])
    assert samples(tmp_path) == samples(whole[0])


def test_what_d_has_beside_its_weights_resumes_and_starts_others(pairs, tmp_path, monkeypatch):
    """Two scales, spectral norm, R1 at every second step, feature matching."""
    fields = dict(
        discriminator__scales=2, discriminator__spectral_norm=True, discriminator__norm='none',
        loss__r1_weight=1.0, loss__r1_every=2, loss__feature_weight=1.0,
    )  # fmt: skip
    config = functools.partial(tiny_config, pairs, eval_every=0, sample_every=0, **fields)
    whole = train_and_evaluate(config(), tmp_path / 'whole')
    rows = metrics(tmp_path / 'whole')
    assert all(row['train/g_features'] > 0 for row in rows)
    r1 = [row['train/d_r1'] for row in rows]  # that of the newest step that took it
    assert r1[::2] == r1[1::2] and len({*r1, 0.0}) == 4
    with monkeypatch.context() as patch:
        stop_at(3, signal.SIGTERM, patch)
        with pytest.raises(Stopped):
            train_and_evaluate(config(), tmp_path / 'stopped')
    assert_equal_states(train_and_evaluate(config(), tmp_path / 'stopped'), whole)
    assert metrics(tmp_path / 'stopped') == rows
    other = config(
        init_from=str(tmp_path / 'whole'), num_steps=1,
        optimizer__learning_rate=0.0, optimizer__d_learning_rate=1e-9,
    )  # fmt: skip
    started = train_and_evaluate(other, tmp_path / 'other').discriminator
    moved = spectral.power_iteration(whole.discriminator.params, whole.discriminator.spectral)
    same = functools.partial(np.testing.assert_allclose, rtol=1e-5)
    jax.tree.map(same, started.spectral, moved)


def test_a_run_cannot_be_made_shorter_than_it_is(whole, pairs, tmp_path):
    workdir = shutil.copytree(whole[0], tmp_path / 'run')
    for begin in (train_and_evaluate, dry_run):
        with pytest.raises(UserError, match=r'6 steps are done, .* config has 5 .* is 6 or more'):
            begin(tiny_config(pairs, num_steps=5), workdir)
    assert json.loads((workdir / 'config.json').read_text())['num_steps'] == 6


def test_a_dry_run_says_from_where_a_run_resumes(whole, pairs, capsys):
    before = {path: path.stat().st_mtime_ns for path in whole[0].rglob('*')}
    dry_run(tiny_config(pairs, num_steps=8), whole[0])
    assert '1 x cpu, 8 steps, resuming from step 6\n' in capsys.readouterr().out
    dry_run(tiny_config(pairs), whole[0])
    assert '1 x cpu, 6 steps: all done already\n' in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in whole[0].rglob('*')}


def test_no_worker_is_left_by_a_run_that_fails(pairs, tmp_path, monkeypatch):
    def fail(self, current):
        assert multiprocessing.active_children()
        raise RuntimeError

    monkeypatch.setattr(progress.Console, 'step', fail)
    with pytest.raises(RuntimeError) as error:
        train_and_evaluate(tiny_config(pairs, dataset__workers=1), tmp_path)
    assert not multiprocessing.active_children() and error  # whose traceback holds the batches


def test_a_metric_that_images_do_not_have_is_no_nan_of_training_and_chooses_no_best(
    pairs, tmp_path, capsys
):
    """SSIM takes windows of 11 x 11 pixels."""
    config = tiny_config(
        pairs, image_size=(8, 8), num_steps=4, debug_nans=True, checkpoint__best='eval/ssim'
    )
    train_and_evaluate(config, tmp_path)
    assert 'eval/l1' in metrics(tmp_path)[-1] and 'eval/ssim' not in metrics(tmp_path)[-1]
    (line,) = [line for line in capsys.readouterr().out.splitlines() if 'warning' in line]
    assert 'no best is saved: config.checkpoint.best=eval/ssim: 2 of 2 images' in line
    with pytest.raises(UserError, match='that has checkpoint.best'):
        Checkpoints(tmp_path).find('best')


def test_a_signal_in_the_middle_of_samples_is_saved_too(pairs, tmp_path, monkeypatch):
    def send(*args):
        os.kill(os.getpid(), signal.SIGTERM)

    config = tiny_config(pairs, checkpoint__every_steps=0, eval_every=0)
    with monkeypatch.context() as patch:
        patch.setattr(recorder.Recorder, 'sample', send)
        with pytest.raises(Stopped, match='stopped and saved at step 2'):
            train_and_evaluate(config, tmp_path)
    assert Checkpoints(tmp_path).steps('last') == [2]


def test_the_page_has_the_last_step_however_seldom_it_is_drawn(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, 'PAGE_SHARE', 1e9)
    train_and_evaluate(tiny_config(pairs, num_steps=3, checkpoint__every_steps=1), tmp_path)
    assert '<p class="muted">step 3</p>' in (tmp_path / 'index.html').read_text()


def test_saves_by_the_clock(pairs, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(recorder.Recorder, 'save', lambda self, step, *_, **__: saved.append(step))
    config = tiny_config(
        pairs, checkpoint__every_steps=0, checkpoint__every_minutes=1e-9, eval_every=0
    )
    train_and_evaluate(config, tmp_path)
    assert saved == [1, 2, 3, 4, 5, 6]


def test_a_crash_goes_on_from_the_last_save(pairs, whole, tmp_path, monkeypatch):
    def crash(self, current):
        if current == 4:  # steps 2 and 3 are done, step 2 is saved
            raise RuntimeError('power cut')

    with monkeypatch.context() as patch:
        patch.setattr(progress.Console, 'step', crash)
        with pytest.raises(RuntimeError):
            train_and_evaluate(tiny_config(pairs), tmp_path)
    assert Checkpoints(tmp_path).steps('last') == [2]
    assert_equal_states(train_and_evaluate(tiny_config(pairs), tmp_path), whole[1])
    assert starts(tmp_path) == [0, 2]
    assert metrics(tmp_path) == metrics(whole[0])
    assert samples(tmp_path) == samples(whole[0])


def test_a_kill_between_the_two_saves_of_an_improvement(pairs, tmp_path, monkeypatch):
    config = tiny_config(pairs, num_steps=2)
    save = Checkpoints.save

    def save_last_only(self, kind, *args):
        if kind == 'best':
            raise RuntimeError('power cut')
        save(self, kind, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, 'save', save_last_only)
        with pytest.raises(RuntimeError):
            train_and_evaluate(config, tmp_path)
    assert Checkpoints(tmp_path).steps('best') == []
    train_and_evaluate(config, tmp_path)
    assert Checkpoints(tmp_path).steps('best') == [2]


def test_a_damaged_checkpoint_is_passed_over(pairs, whole, tmp_path):
    config = tiny_config(pairs, checkpoint__keep=3)
    train_and_evaluate(config, tmp_path)
    for file in (tmp_path / 'checkpoints/last/6/state').rglob('*'):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert_equal_states(train_and_evaluate(config, tmp_path), whole[1])
    assert starts(tmp_path) == [0, 4]
    assert Checkpoints(tmp_path).steps('last') == [2, 4, 6]
    assert metrics(tmp_path) == metrics(whole[0])


def test_a_finished_run_stays_as_it_is_and_can_be_made_longer(pairs, tmp_path):
    train_and_evaluate(tiny_config(pairs, num_steps=2), tmp_path)
    before = metrics(tmp_path)
    (tmp_path / 'index.html').unlink()  # as after a kill just before it was written
    assert int(train_and_evaluate(tiny_config(pairs, num_steps=2), tmp_path).step) == 2
    assert metrics(tmp_path) == before
    assert (tmp_path / 'index.html').exists()
    assert int(train_and_evaluate(tiny_config(pairs, num_steps=4), tmp_path).step) == 4
    assert metrics(tmp_path)[:2] == before


def test_another_config_is_refused_with_its_differences(pairs, whole):
    workdir, _ = whole
    before = (workdir / 'config.json').read_bytes()
    with pytest.raises(UserError, match=r'config.generator.width: 4 -> 8; config.seed: 0 -> 1'):
        train_and_evaluate(tiny_config(pairs, generator__width=8, seed=1), workdir)
    assert (workdir / 'config.json').read_bytes() == before


def without_defaults(fields, defaults):
    """Returns what a version would have written from before every field that has its default."""
    del fields['dataset']['inputs']  # found in the data since there is the field
    return {
        name: {k: v for k, v in value.items() if v != defaults[name][k]}
        if isinstance(value, dict)
        else value
        for name, value in fields.items()
        if value != defaults[name]
    }


def forget_version(workdir):
    """Makes run.json one of 0.1.0, which did not write its number down."""
    record = json.loads((workdir / 'run.json').read_text())
    del record['starts'][0]['version']
    (workdir / 'run.json').write_text(json.dumps(record))


def test_a_run_of_an_older_version_resumes_with_defaults(pairs, tmp_path):
    train_and_evaluate(tiny_config(pairs, num_steps=2), tmp_path)
    for path in (tmp_path / 'config.json', *tmp_path.glob('checkpoints/*/2/config/metadata')):
        fields = without_defaults(json.loads(path.read_text()), default_config().to_dict())
        path.write_text(json.dumps(fields))
    forget_version(tmp_path)
    assert load_run(tmp_path).config == load_run(tmp_path, 'best').config
    assert int(train_and_evaluate(tiny_config(pairs, num_steps=3), tmp_path).step) == 3
    config = json.loads((tmp_path / 'config.json').read_text())
    assert config['checkpoint']['on_error'] == 'raise' and config['remat'] is False
    assert config['dataset']['inputs'] == 1


def test_a_run_keeps_the_number_of_devices_that_its_rate_is_scaled_with(pairs, tmp_path):
    fields = {'optimizer__scale_with_devices': True, 'num_steps': 1}
    config = tiny_config(pairs, **fields)
    train_and_evaluate(config, tmp_path)
    path, record = tmp_path / 'config.json', json.loads((tmp_path / 'run.json').read_text())
    kept = json.loads(path.read_text())
    assert (kept['optimizer'].pop('rate_devices'), kept['num_devices']) == (1, 0)
    # Older versions kept the devices of each host alone; run.json says how many there were.
    path.write_text(json.dumps(kept | {'num_devices': 2}))
    (tmp_path / 'run.json').write_text(json.dumps(record | {'devices': ['a', 'b'], 'hosts': 2}))
    refused = r'config\.optimizer\.rate_devices: 4 -> 1; give the old values to resume'
    with pytest.raises(UserError, match=refused):
        train_and_evaluate(config, tmp_path)
    longer = tiny_config(pairs, **fields | {'num_steps': 2, 'optimizer__rate_devices': 4})
    train_and_evaluate(longer, tmp_path)
    assert [row['train/learning_rate'] for row in metrics(tmp_path)] == pytest.approx([2e-4, 8e-4])
    (tmp_path / 'run.json').write_text(json.dumps(record))
    path.write_text(json.dumps(kept | {'num_devices': 1}))
    longer = tiny_config(pairs, **fields | {'num_steps': 3})
    assert int(train_and_evaluate(longer, tmp_path).step) == 3


def test_a_run_keeps_the_number_of_blocks_with_dropout(pairs, tmp_path):
    """So that one that was told it, as by older versions, resumes where it is found."""
    fields = {'generator__depth': 6, 'image_size': (64, 64), 'generator__dropout_from': 1}
    told = tiny_config(pairs, **fields, generator__dropout_blocks=1, num_steps=1)
    train_and_evaluate(told, tmp_path)
    found = tiny_config(pairs, **fields, generator__dropout_blocks=0, num_steps=2)
    assert int(train_and_evaluate(found, tmp_path).step) == 2
    assert load_run(tmp_path).config.generator.dropout_blocks == 1


def test_a_run_of_a_newer_version_is_refused_with_its_version(pairs, tmp_path):
    train_and_evaluate(tiny_config(pairs, num_steps=1), tmp_path)
    fields = json.loads((tmp_path / 'config.json').read_text())
    (tmp_path / 'config.json').write_text(json.dumps(fields | {'colour': 'red'}))
    run = json.loads((tmp_path / 'run.json').read_text())
    run['versions']['pix2pix_jax'] = '9.8'
    (tmp_path / 'run.json').write_text(json.dumps(run))
    for read in (load_run, lambda path: train_and_evaluate(tiny_config(pairs), path)):
        with pytest.raises(UserError, match=r'config\.colour.*of pix2pix_jax 9\.8, this is \d'):
            read(tmp_path)


def test_a_run_that_is_under_way_is_left_alone_but_can_be_read(pairs, tmp_path):
    train_and_evaluate(tiny_config(pairs, num_steps=1), tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file() and p.name[0] != '.'}
    with locks.hold(tmp_path):
        for begin in (train_and_evaluate, dry_run):
            with pytest.raises(UserError, match='another process trains there'):
                begin(tiny_config(pairs), tmp_path)
        assert load_run(tmp_path).step == 1
    assert before == {p: p.read_bytes() for p in before}


@pytest.mark.parametrize('text', ['{', '[]', '{"seed": "x"}', '{"nope": 1}'])
def test_a_config_json_that_no_run_wrote(pairs, tmp_path, text):
    (tmp_path / 'config.json').write_text(text)
    with pytest.raises(UserError, match='config.json: '):
        train_and_evaluate(tiny_config(pairs), tmp_path)


def test_a_folder_of_other_things_is_left_alone(pairs, tmp_path):
    (tmp_path / 'index.html').write_text('mine')
    with pytest.raises(UserError, match='not the folder of a run'):
        train_and_evaluate(tiny_config(pairs), tmp_path)
    with pytest.raises(UserError, match='not the folder of a run'):
        train_and_evaluate(tiny_config(pairs), tmp_path / 'index.html')
    assert os.listdir(tmp_path) == ['index.html']
    assert (tmp_path / 'index.html').read_text() == 'mine'


def test_epochs_give_the_steps():
    config = default_config()
    assert count_steps(config, 400) == 80_000
    config.num_epochs, config.batch_size = 15, 4
    assert count_steps(config, 49_825) == 186_843
    config.num_steps = 7
    assert count_steps(config, 400) == 7


def test_nan_stops_the_run_and_is_not_saved(pairs, tmp_path, monkeypatch):
    nan_at(5, monkeypatch)
    with pytest.raises(UserError, match=r'steps 5 to 5.*last good checkpoint is step 4') as error:
        train_and_evaluate(tiny_config(pairs), tmp_path)
    assert error.value.status == 1
    assert Checkpoints(tmp_path).steps('last') == [4]


def test_a_state_that_is_not_finite_is_not_saved(pairs, tmp_path, monkeypatch):
    # Losses are logged at steps 3 and 6 alone; step 4 must not be saved.
    nan_at(4, monkeypatch)
    with pytest.raises(UserError, match=r'the state .* steps 4 to 4.*step 2'):
        train_and_evaluate(tiny_config(pairs, log_every=3, eval_every=0), tmp_path)
    assert Checkpoints(tmp_path).steps('last') == [2]


def test_without_a_discriminator(pairs, tmp_path):
    state = train_and_evaluate(tiny_config(pairs, loss__gan='none', num_steps=2), tmp_path)
    assert state.discriminator is None
    assert set(metrics(tmp_path)[0]) == {'step'} | {
        f'train/{k}' for k in ('g_loss', 'g_l1', 'g_l2', 'learning_rate')
    }


def test_a_bad_file_is_named_before_anything_is_written(tmp_path):
    pairs = make_pairs(tmp_path / 'pairs', {'train': 3})
    Image.new('RGB', (33, 16)).save(pairs / 'train' / 'odd.png')
    with pytest.raises(DataError, match=r'odd\.png is 33 pixels wide'):
        train_and_evaluate(tiny_config(pairs), tmp_path / 'run')
    assert not (tmp_path / 'run').exists()


def test_fewer_pairs_than_a_batch(tmp_path):
    pairs = make_pairs(tmp_path / 'pairs', {'train': 3})
    config = tiny_config(pairs, num_steps=0, num_epochs=1, batch_size=4)
    with pytest.raises(UserError, match='3 pairs for 1 epochs are less than one step'):
        train_and_evaluate(config, tmp_path / 'run')


def test_the_size_is_found_in_the_data(tmp_path):
    pairs = make_pairs(tmp_path / 'pairs', {'train': 2}, size=36)
    config = tiny_config(pairs, image_size=(0, 0), num_steps=1)
    train_and_evaluate(config, tmp_path / 'run')
    assert json.loads((tmp_path / 'run/config.json').read_text())['image_size'] == [36, 36]
    train_and_evaluate(config, tmp_path / 'run')  # resumes: the same size is found


@pytest.mark.parametrize(
    'devices, fields, said',
    [
        (1, {}, ''),
        (2, {}, 'batch norm (generator and discriminator): in training over the 2 images of each'),
        (2, {'sync_batch_norm': True}, ''),
        (2, {'generator.norm': 'instance'}, 'batch norm (discriminator): in training over the 2'),
        (2, {'generator.norm': 'none', 'discriminator.norm': 'instance'}, ''),
        (2, {'loss.gan': 'none'}, 'batch norm (generator): in training over the 2'),
        (2, {'loss.gan': 'none', 'generator.norm': 'instance'}, ''),
    ],
)
def test_the_start_says_over_how_many_images_batch_norm_goes(devices, fields, said):
    config = changed(batch_size=4, **fields)
    lines = norm_statistics(config, jax.devices()[:1] * devices)
    assert [line[: len(said)] for line in lines] == ([said] if said else [])


@pytest.mark.parametrize('fields, warned', [
    ({}, True), ({'generator.name': 'encoder_decoder'}, True), ({'test.norm': 'running'}, False),
    ({'test.norm': 'mixed'}, False), ({'generator.bottleneck_norm': False}, False),
    ({'image_size': (256, 512)}, False), ({'generator.depth': 7}, False),
    ({'batch_size': 2}, False), ({'batch_size': 2, 'sync_batch_norm': True}, True),
    ({'grad_accumulation': 2}, False), ({'generator.norm': 'none'}, False),
    ({'generator.name': 'resnet'}, False),
])  # fmt: skip
def test_tests_without_the_bottleneck_are_warned_of(fields, warned):
    fields = {'batch_size': 4, 'generator.bottleneck_norm': True} | fields
    lines = start.unlike_training(changed(**fields), jax.devices()[:1] * 2)
    assert len(lines) == warned and all('--config.test.norm=running' in line for line in lines)


def test_idle_devices_are_said_with_the_batch_size_that_uses_them(monkeypatch):
    monkeypatch.setattr(jax, 'local_device_count', lambda: 4)
    device = jax.devices()[:1]
    (line,) = start.idle(changed(batch_size=6), device * 3)
    assert line == (
        '1 of the 4 devices are idle: batch_size=6 is no multiple of 4; --config.batch_size=8 uses '
        'all'
    )
    assert '--config.batch_size=4 uses' in start.idle(changed(batch_size=1), device)[0]
    (line,) = start.idle(changed(batch_size=4, grad_accumulation=4), device)
    assert line.endswith(
        'batch_size=4 is no multiple of 16 (4 times grad_accumulation=4); --config.batch_size=16 '
        'uses all'
    )
    assert start.idle(changed(batch_size=8), device * 4) == []
    assert start.idle(changed(batch_size=6, num_devices=3), device * 3) == []  # as was asked for


def test_a_start_on_a_gpu_says_that_it_compiles():
    gpu, cpu = (types.SimpleNamespace(platform=name) for name in ('gpu', 'cpu'))
    (line,) = start.compilation([gpu])
    assert line.startswith('compiling the step, ') and 'about a minute' in line
    assert start.compilation([cpu]) == []


def test_the_console_has_a_line_a_network_and_run_json_the_table(pairs, tmp_path, capsys):
    state = train_and_evaluate(tiny_config(pairs, num_steps=1), tmp_path / 'run')
    out = capsys.readouterr().out
    table = json.loads((tmp_path / 'run' / 'run.json').read_text())['parameters']
    for name, network in (('generator', state.generator), ('discriminator', state.discriminator)):
        leaves = jax.tree.leaves(network.params)
        count = sum(leaf.size for leaf in leaves)
        assert out.count(f'{name}: {count:,} parameters\n') == 1 == out.count(name)
        assert table[name]['total'] == count and len(table[name]['arrays']) == len(leaves)
    assert table['generator']['arrays']['down0/kernel'] == [4, 4, 3, 4]
    assert 'kernel' not in out


# ---------------------------------------------------------------- a signal within an evaluation


def stop_within(split, monkeypatch, number=signal.SIGTERM):
    """Sends a signal when the first batch of an evaluation of `split` is asked for."""
    batches = recorder.translated.batches

    def send(translate, source, config):
        for i, batch in enumerate(batches(translate, source, config)):
            if i == 0 and source.folder.endswith(split):
                os.kill(os.getpid(), number)
            yield batch

    monkeypatch.setattr(recorder.translated, 'batches', send)


@pytest.mark.parametrize(('split', 'step'), [('val', 2), ('test', 6)])
def test_an_evaluation_that_a_signal_ends_is_done_first_on_resume(
    pairs, whole, tmp_path, monkeypatch, split, step
):
    """Evaluated, sampled, saved as best and tested as without the signal, bit for bit."""
    with monkeypatch.context() as patch:
        stop_within(split, patch)
        with pytest.raises(Stopped, match=f'saved at step {step};'):
            train_and_evaluate(tiny_config(pairs), tmp_path, 'the command')
    assert Checkpoints(tmp_path).steps('last') == [step]
    assert {'val': 'eval/l1', 'test': 'test/l1'}[split] not in metrics(tmp_path)[-1]
    with monkeypatch.context() as patch:  # another one, before anything else is done
        stop_within(split, patch)
        with pytest.raises(Stopped, match=f'saved at step {step};'):
            train_and_evaluate(tiny_config(pairs), tmp_path, 'the command')
    state = train_and_evaluate(tiny_config(pairs), tmp_path, 'the command')
    assert_equal_states(state, whole[1])
    assert metrics(tmp_path) == metrics(whole[0])
    assert [list(row) for row in metrics(tmp_path)] == [list(row) for row in metrics(whole[0])]
    assert samples(tmp_path) == samples(whole[0])
    assert Checkpoints(tmp_path).steps('best') == Checkpoints(whole[0]).steps('best')
    table = 'evaluation/test/per_image.csv'
    assert (tmp_path / table).read_bytes() == (whole[0] / table).read_bytes()


def test_several_hosts_finish_an_evaluation(monkeypatch):
    stop = StopRequest()
    assert not train.stop_requested_alone(stop)
    stop.signal_number = signal.SIGTERM
    assert train.stop_requested_alone(stop)
    monkeypatch.setattr(jax, 'process_count', lambda: 2)
    assert not train.stop_requested_alone(stop)


# ---------------------------------------------------------------- how often


def test_an_evaluation_takes_nothing_from_the_devices_but_what_translates(monkeypatch):
    """D and the optimizers' moments stay there, of which on several devices all is copied."""
    config = tiny_config('unused', image_size=(32, 32), ema_decay=0.9)
    devices = jax.local_devices()[:1]
    state, _ = initial_state(config, devices, total_steps=2)
    taken = []
    monkeypatch.setattr(parallel, 'unreplicate', lambda tree, devices: taken.append(tree) or tree)
    vote = parallel.StopVote(StopRequest(), devices, 0)
    quiet = NullRecorder('')
    train.finish(1, state, devices, intervals.Due(True, True, True, False), quiet, vote)
    (of_generator,) = taken
    leaves = sum(len(jax.tree.leaves(part)) for part in (state.generator.variables, state.ema))
    statistics = len(jax.tree.leaves(state.ema_batch_stats))
    assert len(jax.tree.leaves(of_generator)) == leaves + statistics + 1  # the step
    train.finish(2, state, devices, intervals.Due(False, False, False, True), quiet, vote)
    assert taken[-1] is state


def test_a_run_that_is_made_longer_takes_the_intervals_of_its_length(pairs, tmp_path, monkeypatch):
    """config.json keeps -1; where the run has been, nothing is evaluated or drawn again."""
    monkeypatch.setattr(intervals, 'STEPS_BETWEEN_EVALUATIONS', 1)
    monkeypatch.setattr(intervals, 'STEPS_BETWEEN_SAMPLES', 1)
    monkeypatch.setattr(intervals, 'EVALUATIONS', 2)
    monkeypatch.setattr(intervals, 'SAMPLES', 3)
    fields = {'eval_every': -1, 'sample_every': -1, 'checkpoint__every_steps': 0}
    train_and_evaluate(tiny_config(pairs, **fields, num_steps=3), tmp_path)
    first = metrics(tmp_path)
    config = json.loads((tmp_path / 'config.json').read_text())
    assert config['eval_every'] == config['sample_every'] == -1
    train_and_evaluate(tiny_config(pairs, **fields, num_steps=8), tmp_path)
    rows = metrics(tmp_path)
    assert rows[:3] == first
    assert [row['step'] for row in rows if 'eval/l1' in row] == [2, 3, 4, 8]
    assert [step for step, _ in sample_paths(tmp_path)] == [1, 2, 3, 6, 8]
    assert [row['step'] for row in rows if 'test/l1' in row] == [3, 8]


def test_an_evaluation_measures_some_val_pairs_evenly_spread(tmp_path, monkeypatch, capsys):
    data = make_pairs(tmp_path / 'pairs', {'train': 4, 'val': 7})
    config = tiny_config(data, num_steps=2, eval_images=3)
    seen = []
    batches = recorder.translated.batches

    def watched(translate, source, config):
        seen.append(source.names)
        return batches(translate, source, config)

    monkeypatch.setattr(recorder.translated, 'batches', watched)
    train_and_evaluate(config, tmp_path / 'run')
    assert seen == [('0', '3', '6')]
    said = 'an evaluation measures 3 of the 7 val pairs, evenly spread'
    assert said in capsys.readouterr().out
    config.eval_images = 5
    with pytest.raises(UserError, match=r'config\.eval_images: 3 -> 5'):
        train_and_evaluate(config, tmp_path / 'run')


def test_an_older_run_measures_all_of_val(pairs, tmp_path, capsys):
    """Also the second time; how often it evaluates and saves may change, as the contract says."""
    older = {'eval_every': 2000, 'sample_every': 1000, 'checkpoint__every_steps': 2000}
    train_and_evaluate(tiny_config(pairs, **older, num_steps=1), tmp_path)
    fields = json.loads((tmp_path / 'config.json').read_text())
    del fields['eval_images']
    (tmp_path / 'config.json').write_text(json.dumps(fields))
    forget_version(tmp_path)
    today = {'eval_every': -1, 'sample_every': -1, 'checkpoint__every_steps': 0}
    for steps in (2, 3):
        train_and_evaluate(tiny_config(pairs, **today, num_steps=steps), tmp_path)
        assert 'config.eval_images=0, as the run began' in capsys.readouterr().out
        config = load_run(tmp_path).config
        assert (config.eval_images, config.eval_every, config.sample_every) == (0, -1, -1)
        assert config.checkpoint.every_steps == 0
    with pytest.raises(UserError, match=r'config\.eval_images: 0 -> 50'):
        train_and_evaluate(tiny_config(pairs, eval_images=50), tmp_path)


def test_a_run_of_this_version_is_not_resumed_with_other_draws(pairs, tmp_path):
    train_and_evaluate(tiny_config(pairs, dataset__jitter_method='box', num_steps=1), tmp_path)
    with pytest.raises(UserError, match=r"jitter_method: 'box' -> 'resize_then_crop'"):
        train_and_evaluate(tiny_config(pairs, num_steps=2), tmp_path)


# ---------------------------------------------------------------- best


@pytest.mark.parametrize(('best', 'better'), [('eval/l1', min), ('eval/psnr', max)])
def test_best_is_by_the_metric_that_is_named(pairs, tmp_path, monkeypatch, best, better):
    """Also of a run that was stopped, and that has another metric from there."""
    config = functools.partial(tiny_config, pairs, eval_every=1, sample_every=0)
    with monkeypatch.context() as patch:
        stop_at(3, signal.SIGTERM, patch)
        with pytest.raises(Stopped):
            train_and_evaluate(config(), tmp_path)
    kept = Checkpoints(tmp_path).steps('best')
    train_and_evaluate(config(checkpoint__best=best), tmp_path)
    values = {row['step']: row[best] for row in metrics(tmp_path)}
    found = Checkpoints(tmp_path).steps('best')
    later = {step: value for step, value in values.items() if step in kept or step > 3}
    assert [values[step] for step in found] == [better(later.values())]


# ---------------------------------------------------------------- averages, and a rate that falls


@pytest.fixture(scope='module')
def averaged(pairs, tmp_path_factory):
    """A run with both: its folder, its state and the rows of its last grid."""
    fields = {'optimizer__schedule': 'linear', 'optimizer__decay_start': 0.0}
    config = tiny_config(pairs, num_steps=2, ema_decay=0.9, optimizer__learning_rate=0.04, **fields)
    workdir, grids = tmp_path_factory.mktemp('averaged'), []
    make_grid = recorder.image_grid.make_grid
    keep = lambda rows, *args: grids.append(rows) or make_grid(rows, *args)  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder.image_grid, 'make_grid', keep)
        state = train_and_evaluate(config, workdir)
    return workdir, state, grids[-1]


def test_the_rate_that_is_logged_is_that_of_the_step(averaged):
    """It falls to 0 after the last one."""
    rates = [row['train/learning_rate'] for row in metrics(averaged[0])]
    assert rates == pytest.approx([0.04, 0.02])


def test_samples_are_of_the_averages(averaged):
    workdir, state, rows = averaged
    inputs, shown, _ = map(np.stack, zip(*rows))
    config = load_run(workdir).config
    found, other = (Generator(config, state.generator_variables(e))(inputs) for e in (True, False))
    np.testing.assert_allclose(shown, found, atol=1e-5)
    assert np.abs(found - other).max() > 0.01


def test_best_holds_what_translates(averaged, tmp_path):
    """Raw and averaged weights with their statistics; a whole one, as of before, loads the same."""
    shutil.copytree(averaged[0], tmp_path, dirs_exist_ok=True)
    state = averaged[1]
    kinds = {
        kind: {name.split('/')[0] + '/' + name.split('/')[1] for name in held}
        for kind, held in ((k, Checkpoints(tmp_path)._held(k, 2)) for k in KINDS)
    }
    parts = {name for name in kinds['best'] if not name.startswith('ema')}
    assert parts == {'generator/params', 'generator/batch_stats', 'generator/step'}
    assert any(name.startswith('ema/') for name in kinds['best'])
    assert any(name.startswith('ema_batch_stats/') for name in kinds['best'])
    assert kinds['last'] > kinds['best']
    for ema in (True, False):
        runs = [load_run(tmp_path, kind, ema) for kind in KINDS]
        jax.tree.map(np.testing.assert_array_equal, *(run.variables for run in runs))
    alone = load_state(tmp_path, 'best')[2]
    Checkpoints(tmp_path).save('best', 2, state, load_run(tmp_path).config)
    assert_equal_states(load_state(tmp_path, 'best')[2], alone)
    assert_equal_states(alone, state.translating())


# ---------------------------------------------------------------- the rate


class Clock:
    """A device, with the clock: a step, and a batch, take so many s; a minute more the first."""

    def __init__(self, step, batch):
        self.seconds, self.batch = step, batch
        self.clock, self.free, self.rates = 0.0, 0.0, {}

    def batches(self, *args):
        for i in itertools.count():
            self.clock += self.batch
            yield i

    def step(self, state, batch, key, frozen):
        self.clock += 60 * (state.step == 0)
        self.free = max(self.clock, self.free) + self.seconds
        return types.SimpleNamespace(step=state.step + 1), {'d_loss': Loss(self, self.free)}

    def finish(self, *args):
        self.clock = max(self.clock, self.free) + 100
        return False

    def log(self, step, metrics, images_per_s):
        self.rates[step] = images_per_s


class Loss:
    """A number that its device has at a time."""

    def __init__(self, device, at):
        self.device, self.at = device, at

    def block_until_ready(self):
        self.device.clock = max(self.device.clock, self.at)

    def __array__(self, *args, **kwargs):
        self.block_until_ready()
        return np.zeros(())


@pytest.mark.parametrize('eval_every', [15, 20])
@pytest.mark.parametrize('log_every', [1, 2, 3, 10])
@pytest.mark.parametrize('slow', ['device', 'input'])
def test_the_rate_is_that_of_the_slower_part(slow, log_every, eval_every, monkeypatch):
    """Four images a second, whatever comes between the steps; and that part never waits."""
    device = Clock(1, 0) if slow == 'device' else Clock(0.125, 1)
    monkeypatch.setattr(time, 'monotonic', lambda: device.clock)
    monkeypatch.setattr(train.parallel, 'compile_step', lambda *_: device.step)
    monkeypatch.setattr(train.parallel, 'replicate', lambda tree, _: tree)
    monkeypatch.setattr(train.feed, 'batches', device.batches)
    monkeypatch.setattr(train, 'finish', device.finish)
    config = tiny_config(
        '', batch_size=4, log_every=log_every, eval_every=eval_every, sample_every=0
    )
    config.checkpoint.every_steps = 0
    setup = types.SimpleNamespace(
        config=config,
        devices=jax.devices()[:1],
        splits={'train': None},
        frozen=None,
        total_steps=60,
    )
    nothing = types.SimpleNamespace(step=lambda *_: None)
    recorder = types.SimpleNamespace(log=device.log, step=nothing.step, has_val=True)
    train.run_steps(setup, types.SimpleNamespace(step=0), recorder, nothing, StopRequest())
    assert list(device.rates) == list(range(log_every, 61, log_every))
    if log_every == 1:  # there is no other rate yet: these have the minute in it
        assert device.rates.pop(1) < 0.1 and device.rates.pop(2) < 0.2
    assert list(device.rates.values()) == pytest.approx([4] * len(device.rates))
    last_step = 0.125 if slow == 'input' else 0  # that an evaluation waits for
    assert device.clock == 60 + 60 + 60 // eval_every * (last_step + 100)
