"""Too little memory: estimated before the step is compiled, and one line where it runs out."""

import types

import jax
import jax.numpy as jnp
import pytest
from helpers.runs import make_pairs, tiny_config

from pix2pix_jax import export, train, train_setup
from pix2pix_jax.config import default_config
from pix2pix_jax.distributed import memory, parallel
from pix2pix_jax.dry_run import dry_run
from pix2pix_jax.errors import UserError
from pix2pix_jax.evaluation import report, runs
from pix2pix_jax.interop import exportable
from pix2pix_jax.models import lpips
from pix2pix_jax.models.factory import create_models
from pix2pix_jax.optimizers import create_optimizers
from pix2pix_jax.presets import apply_arg
from pix2pix_jax.train_setup import initial_state
from pix2pix_jax.train_state import create_state, training_key
from pix2pix_jax.train_step import train_step
from pix2pix_jax.workdir.checkpoints import Checkpoints

EXHAUSTED = jax.errors.JaxRuntimeError(
    'RESOURCE_EXHAUSTED: Out of memory allocating 34359738368 bytes.\nTraceback: many lines'
)


def config_of(size, batch, **fields):
    config = apply_arg(default_config(), 'tiny')
    config.update_from_flattened_dict(
        {
            'image_size': (size, size),
            'batch_size': batch,
            'generator.depth': 2,
            'generator.width': 16,
            'discriminator.layers': 1,
        }
        | {key.replace('__', '.'): value for key, value in fields.items()}
    )
    return config


def compiled_bytes(state, config, devices):
    """What XLA says of the step."""
    pairs = config.batch_size * config.optimizer.d_steps
    shape = (pairs, *config.image_size, 3)
    batch = {name: jnp.zeros(shape) for name in ('input', 'target')}
    batch['target'] = batch['target'][..., : config.generator.output_channels]
    batch['index'] = jnp.zeros(pairs, jnp.int32)
    frozen = lpips.shapes() if config.loss.lpips_weight else None
    step = parallel.compile_step(train_step, config, devices)
    return memory.of_program(step.lower(state, batch, training_key(config), frozen).compile())


@pytest.mark.parametrize('fields', [
    {}, {'generator__output_channels': 2}, {'generator__name': 'resnet'}, {'optimizer__d_steps': 4},
    {'grad_accumulation': 4}, {'loss__lpips_weight': 1.0},
])  # fmt: skip
def test_the_estimate_is_near_what_the_compiler_says(fields):
    devices = jax.local_devices()[:1]
    config = config_of(64, 8, **fields)
    state, _ = initial_state(config, devices, 10)
    found = memory.needed(state, config, devices) / compiled_bytes(state, config, devices)
    assert 0.5 < found < 2


def test_it_grows_with_the_images_and_is_less_with_recomputation():
    devices = jax.local_devices()[:1]

    def needed(size, batch, **fields):
        config = config_of(size, batch, **fields)
        return memory.needed(initial_state(config, devices, 10)[0], config, devices)

    assert needed(128, 4) == pytest.approx(needed(64, 16), rel=0.1)
    assert 3.5 < needed(128, 8) / needed(64, 8) < 4.1
    assert needed(128, 4, remat=True) < 0.7 * needed(128, 4)


def test_it_is_the_same_where_batch_norm_goes_over_the_devices():
    """Its means are over an axis that only the step has: the estimate ended in a traceback."""
    devices, config = jax.local_devices()[:1], config_of(64, 8)
    models = create_models(config, 'cpu', parallel.AXIS)
    synced = create_state(config, models, create_optimizers(config.optimizer, 10, 2))
    alone, _ = initial_state(config, devices, 10)
    assert memory.needed(synced, config, devices) == memory.needed(alone, config, devices)


def test_parts_of_a_batch_take_room_for_one_sum_of_gradients():
    devices = jax.local_devices()[:1]

    def needed(parts):
        config = config_of(64, 2 * parts, grad_accumulation=parts)
        state, _ = initial_state(config, devices, 10)
        networks = state.generator.params, state.discriminator.params
        sizes = [leaf.nbytes for leaf in jax.tree.leaves(networks)]
        return memory.needed(state, config, devices), sum(sizes)

    (one, gradients), (two, _), (three, _) = map(needed, (1, 2, 3))
    pairs = 2 * (64 * 64 * (3 + 3) + 1) * 4  # bytes of float32, and of an index
    assert (two - one, three - two) == (pairs + gradients, pairs)


def test_what_is_free_is_what_nothing_takes_yet():
    stats = {'bytes_limit': 1000, 'bytes_in_use': 300}
    device = types.SimpleNamespace(memory_stats=lambda: stats)
    assert (memory.of_device(device), memory.free(device)) == (1000, 700)
    del stats['bytes_in_use']
    assert memory.free(device) == 1000


def test_a_step_that_does_not_fit_is_said_before_it_is_compiled(tmp_path, monkeypatch, capsys):
    pairs = make_pairs(tmp_path / 'pairs', {'train': 2})
    config = tiny_config(pairs, num_steps=1, dataset__cache='off')
    dry_run(config, tmp_path / 'run')
    assert 'a step takes about' not in capsys.readouterr().out
    monkeypatch.setattr(memory, 'of_device', lambda device: 50_000)
    dry_run(config, tmp_path / 'run')
    out = capsys.readouterr().out
    (line,) = (line for line in out.splitlines() if 'a step takes about' in line)
    assert line.startswith('warning: ') and out.index(line) < out.index('memory of a step')
    for words in ('--config.image_size (it is 32,32)', '--config.batch_size (it is ', 'remat=True'):
        assert words in line


@pytest.mark.parametrize('error', [EXHAUSTED, MemoryError(), MemoryError('std::bad_alloc')])
def test_running_out_of_memory_in_training_is_one_line(tmp_path, monkeypatch, capsys, error):
    pairs = make_pairs(tmp_path / 'pairs', {'train': 2})

    def step(*args):
        raise error

    monkeypatch.setattr(parallel, 'compile_step', lambda *args: step)
    with pytest.raises(UserError) as raised:
        train.train_and_evaluate(tiny_config(pairs, num_steps=1, remat=True), tmp_path / 'run')
    message = str(raised.value)
    assert raised.value.status == 1 and '\n' not in message
    assert message.startswith('out of memory: a training step does not fit')
    assert '--config.image_size (it is 32,32)' in message and 'remat' not in message
    assert ('(34 GB more' in message) == (error is EXHAUSTED)

    # Nothing is saved: the advice is taken without another folder.
    monkeypatch.undo()
    smaller = tiny_config(pairs, num_steps=1, image_size=(16, 16))
    assert int(train.train_and_evaluate(smaller, tmp_path / 'run').step) == 1
    out = capsys.readouterr().out
    begins = f'{tmp_path}/run has saved no checkpoint, the run starts anew: '
    assert sum(line.startswith(begins) for line in out.splitlines()) == 1
    with pytest.raises(UserError, match='holds a run with another config'):
        train.train_and_evaluate(tiny_config(pairs, num_steps=1), tmp_path / 'run')


@pytest.mark.parametrize('command', [train.train_and_evaluate, dry_run])
def test_a_state_that_does_not_fit_is_one_line(tmp_path, monkeypatch, command):
    def create_state(*args):
        raise EXHAUSTED

    pairs = make_pairs(tmp_path / 'pairs', {'train': 2})
    monkeypatch.setattr(train_setup, 'create_state', create_state)
    with pytest.raises(UserError, match='out of memory: the state .* does not fit') as raised:
        command(tiny_config(pairs, num_steps=1), tmp_path / 'run')
    assert raised.value.status == 1 and '--config.generator.width' in str(raised.value)


@pytest.mark.parametrize('split', ['val', 'test'])
def test_running_out_of_memory_in_an_evaluation_keeps_the_steps(tmp_path, monkeypatch, split):
    pairs = make_pairs(tmp_path / 'pairs', {'train': 2, 'val': 1, 'test': 1})

    def measure(*args):
        raise EXHAUSTED

    name = {'val': 'evaluate', 'test': 'test'}[split]
    monkeypatch.setattr(f'pix2pix_jax.recorder.Recorder.{name}', measure)
    about = {
        'val': r'an evaluation does not fit .*; allowed are --config.eval_every=0 and',
        'test': r'the last evaluation, on test, does not fit .*; python -m pix2pix_jax.evaluate',
    }[split]
    with pytest.raises(UserError, match=rf'{about} .*; the last good checkpoint is step 2$'):
        train.train_and_evaluate(tiny_config(pairs, num_steps=2, eval_every=2), tmp_path / 'run')
    assert Checkpoints(tmp_path / 'run').steps('last') == [2]


@pytest.mark.parametrize(
    'text', ['RESOURCE_EXHAUSTED: no room', 'INTERNAL: YNNPACK operation failed: error 1']
)
def test_running_out_of_memory_in_an_evaluation_or_export_is_one_line(text, tmp_path, monkeypatch):
    pairs = make_pairs(tmp_path / 'pairs', {'train': 1, 'test': 1})
    config = tiny_config(pairs, num_steps=1, eval_every=0, sample_every=0)
    train.train_and_evaluate(config, tmp_path / 'run')

    def fail(*args, **kwargs):
        raise jax.errors.JaxRuntimeError(text)

    monkeypatch.setattr(report, 'measure', fail)
    monkeypatch.setattr(exportable, 'export', fail)
    with pytest.raises(UserError, match=r'an evaluation does not fit.*--scale \(it is 2\)'):
        runs.evaluate_run(tmp_path / 'run', None, runs.RunImages(scale=2))
    values = export.define_flags()
    flags = ['--format=stablehlo', f'--output={tmp_path / "a.stablehlo"}', '--image_size=32']
    values(['export', f'--workdir={tmp_path / "run"}', *flags])
    with pytest.raises(UserError, match='the export does not fit; allowed is a smaller --image_s'):
        export.main(values)


def test_other_errors_of_the_device_pass():
    internal = jax.errors.JaxRuntimeError('INTERNAL: a bug')
    with pytest.raises(type(internal), match='INTERNAL'), memory.one_line('a step', 'be patient'):
        raise internal


def test_what_runs_out_really_is_recognized():
    what = 'out of memory: a step does not fit'
    with pytest.raises(UserError, match=what), memory.one_line('a step', 'allowed is less'):
        jnp.zeros((2**50,), jnp.uint8).block_until_ready()
