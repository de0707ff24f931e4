"""Every field of the config does something: another value changes what can be observed of it.

What is observed is, for most fields, a program: how the state is made, a training step or a
translation as a jaxpr, in which every constant shows. Others show in the data, or in what a run
leaves in its folder.
"""

import contextlib
import copy
import functools
import itertools
import os
import re
import types

import jax
import numpy as np
import pytest
from helpers.runs import make_pairs, metrics
from PIL import Image

from pix2pix_jax import main, recorder, train, train_setup
from pix2pix_jax.config import Config, default_config, flatten, validate
from pix2pix_jax.data import discover, pipeline, preflight
from pix2pix_jax.data.formats import orientation
from pix2pix_jax.distributed import parallel
from pix2pix_jax.errors import UserError
from pix2pix_jax.evaluation import weights
from pix2pix_jax.inference import generator, loaded_run
from pix2pix_jax.inference.generator import Generator
from pix2pix_jax.inference.translator import Translator
from pix2pix_jax.methods import METHODS
from pix2pix_jax.models import lpips
from pix2pix_jax.models.factory import create_models
from pix2pix_jax.optimizers import create_optimizers
from pix2pix_jax.train import train_and_evaluate
from pix2pix_jax.train_setup import count_steps
from pix2pix_jax.train_state import create_state, training_key
from pix2pix_jax.workdir.checkpoints import Checkpoints

DEVICES = 2


def base(folder) -> Config:
    config = default_config()
    config.update_from_flattened_dict({
        'image_size': (32, 32), 'num_steps': 4, 'batch_size': 2, 'generator.width': 2,
        'generator.depth': 4, 'discriminator.width': 2, 'discriminator.layers': 1,
        'generator.blocks': 1, 'dataset.path': str(folder / 'pairs'),
        'log_every': 1, 'eval_every': 2, 'sample_every': 2, 'checkpoint.every_steps': 2,
    })  # fmt: skip
    return config


# ---------------------------------------------------------------- what is observed


def maker(config):
    """The function that makes the state."""
    models = create_models(config, 'gpu', parallel.AXIS if config.sync_batch_norm else None)
    optimizers = create_optimizers(config.optimizer, 4, DEVICES)
    return functools.partial(create_state, config, models, optimizers)


def shape(config, channels, pairs=1):
    return jax.ShapeDtypeStruct((pairs, *config.image_size, channels), np.float32)


def text(program):
    return re.sub(r'0x[0-9a-f]+', '', str(program))


def creation(config, folder):
    """How the state is made, as text."""
    return text(jax.make_jaxpr(maker(config))())


def step(config, folder):
    """A step with its axis of devices, as text."""
    state = jax.eval_shape(maker(config))
    g, pairs = config.generator, config.batch_size * config.optimizer.d_steps
    batch = {
        'input': shape(config, g.input_channels, pairs),
        'target': shape(config, g.output_channels, pairs),
        'index': jax.ShapeDtypeStruct((pairs,), np.int32),
    }
    step = functools.partial(METHODS[config.method].step, config=config, axis_name=parallel.AXIS)
    trace = jax.make_jaxpr(step, axis_env=[(parallel.AXIS, DEVICES)])
    frozen = lpips.shapes() if config.loss.lpips_weight else None
    return text(trace(state, batch, training_key(config), frozen))


def translation(config, folder):
    """The translation of an image, as text."""
    state = jax.eval_shape(maker(config))
    variables, x = state.generator_variables(), shape(config, config.generator.input_channels)
    program = jax.make_jaxpr(Generator(config, variables)._apply)
    return text(program(variables, x, training_key(config), generator.WHOLE))


def training_data(config, folder):
    """The splits, and the bytes of the first batches and of a test image."""
    splits = discover.open_splits(config)
    batches = itertools.islice(pipeline.train_batches(splits['train'], config), 4)
    example = pipeline.example(splits['train'], 0, config)
    return (
        {name: source.names for name, source in splits.items()},
        [(key, v.shape, v.tobytes()) for pair in (*batches, example) for key, v in pair.items()],
    )


def pictures(config, folder):
    """The input of a test image as it is shown."""
    source = discover.open_splits(config)['train']
    return source.shown(pipeline.example(source, 0, config)['input'][None]).tobytes()


def translator(config, folder):
    """What translates with the networks of a run and this config."""
    config = copy.deepcopy(config)
    config.generator.depth = 2  # the run's
    with pytest.MonkeyPatch.context() as patch:
        load = loaded_run.load_run
        patch.setattr(loaded_run, 'load_run', lambda *args: load(*args)._replace(config=config))
        return Translator(folder / 'trained0')


def output_type(config, folder):
    """The type in which an image of 8 bits is translated."""
    return translator(config, folder)(np.zeros((32, 32, 3), np.uint8)).dtype


def output_size(config, folder):
    """The size in which an image is translated."""
    return translator(config, folder)(np.zeros((32, 32, 3), np.uint8)).shape


def length(config, folder):
    return count_steps(config, 100)


def initial_weights(config, folder):
    return [leaf.tobytes() for leaf in map(np.asarray, jax.tree.leaves(maker(config)()))]


def noise(config, folder):
    """A translation with dropout."""
    state = maker(config)()
    return Generator(config, state.generator_variables())(np.ones((1, 32, 32, 3))).tobytes()


def devices(config, folder):
    return len(parallel.choose_devices(config.num_devices, config.batch_size))


def lpips_files(config, folder):
    """The files that are asked for the weights of LPIPS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, 'load_lpips', lambda *paths: paths)
        return train_setup.frozen_weights(config, discover.open_splits(config)['train'])


def in_memory(config, folder):
    splits = preflight.decode_all(discover.open_splits(config), config)
    return {name: bool(split.decoded or split.loaded) for name, split in splits.items()}


def good_pairs(config, folder):
    return preflight.decode_all(discover.open_splits(config), config)['train'].names


def processes(config, folder):
    """Who augments: the process of the first batch's draws."""
    pids, augment = folder / 'pids', pipeline._cut

    def recorded(*args, **kwargs):
        with pids.open('a') as file:
            file.write(f'{os.getpid()}\n')
        return augment(*args, **kwargs)

    pids.unlink(missing_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, '_cut', recorded)
        next(pipeline.train_batches(discover.open_splits(config)['train'], config))
    return set(map(int, pids.read_text().split())) == {os.getpid()}


def run_small(config, folder, name):
    """Trains the config with a small generator in a new folder; returns that and the state."""
    config = copy.deepcopy(config)
    config.generator.depth = 2
    workdir = folder / f'{name}{len(list(folder.glob(f"{name}*")))}'
    return workdir, train_and_evaluate(config, workdir)


def run_folder(config, folder):
    """What a run leaves: the steps in the metrics, the samples, the checkpoints, a profile."""
    workdir, _ = run_small(config, folder, 'run')
    return (
        [sorted(row) + [row['step']] for row in metrics(workdir)],
        sorted(path.name for path in (workdir / 'samples').glob('*')),
        sorted(path.name for path in (workdir / 'checkpoints' / 'last').iterdir()),
        (workdir / 'profile').exists(),
    )


def evaluations(config, folder):
    """The L1 on val of each evaluation."""
    workdir, _ = run_small(config, folder, 'run')
    return [row['eval/l1'] for row in metrics(workdir) if 'eval/l1' in row]


def start(config, folder):
    """The weights with which the first step begins: a run that learns nothing keeps them."""
    config = copy.deepcopy(config)
    config.update_from_flattened_dict({'optimizer.learning_rate': 0.0, 'num_steps': 1})
    config.update_from_flattened_dict({'eval_every': 0, 'sample_every': 0})
    _, state = run_small(config, folder, 'start')
    return [leaf.tobytes() for leaf in map(np.asarray, jax.tree.leaves(state.generator.params))]


def best_values(config, folder):
    """The values by which the best checkpoint is chosen."""
    found, score = [], recorder.Recorder._score

    def noted(self, row):
        found.append(score(self, row))
        return found[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder.Recorder, '_score', noted)
        run_small(config, folder, 'best')
    return found


def failed_saves(config, folder):
    """Which steps are taken where the first save fails."""
    steps = []

    def save(self, kind, step, *args):
        steps.append(step)
        if step == 2:
            raise OSError(28, 'No space left on device')

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, 'save', save)
        with contextlib.suppress(UserError):
            run_small(config, folder, 'full')
    return steps


def looks_for_nans(config, folder):
    """Whether jax looks at every result of the steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, 'run_steps', lambda *args: jax.config.jax_debug_nans)
        return run_small(config, folder, 'nan')[1]


def kernels(config, folder):
    """XLA's flags, as the command sets them before it starts to train."""
    flags = []
    values = types.SimpleNamespace(
        config=config,
        workdir='unused',
        tracker='none',
        dry_run=False,
        coordinator='',
        num_processes=1,
        process_id=0,
        hosts='flags',
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XLA_FLAGS', os.environ['XLA_FLAGS'])
        patch.setattr(main, 'check_method', lambda values: None)  # which asks for real flags
        patch.setattr(
            train, 'train_and_evaluate', lambda *args: flags.append(os.environ['XLA_FLAGS'])
        )
        main.main(values)
    return flags


# ---------------------------------------------------------------- fields

LINEAR = {'optimizer.schedule': 'linear'}
WGAN = {'loss.gan': 'wgan-gp', 'discriminator.norm': 'instance'}
INDICES = {'dataset.path': 'classes', 'dataset.input_classes': 3}
BACK = {'dataset.direction': 'BtoA'}
PATTERNS = {
    'dataset.path': 'named',
    'dataset.input_pattern': '{split}/a_*.png',
    'dataset.target_pattern': '{split}/b_*.png',
}
NO_SPLITS = {'dataset.path': 'other/train', 'dataset.task': 'denoise'}
CROPS = {'dataset.preprocess': 'crop', 'image_size': (16, 16)}
RESNET = {'generator.name': 'resnet', 'generator.depth': 0}
# Of these another value is refused here, or the base's: seen in what the error says.
REFUSED = {'dataset.name', 'dataset.path', 'dataset.layout', 'dataset.inputs', 'num_devices'}
PATHS = ('trained0', 'other', 'other/train', 'bad', 'classes', 'noise', 'named', 'turned')
# Of each field: another value, where it can be seen, and what else must hold there.
FIELDS = {
    'method': ('flow', step),
    'seed': (1, initial_weights),
    'image_size': ((64, 32), training_data),
    'batch_size': (4, length, {'num_steps': 0}),
    'num_steps': (3, length),
    'num_epochs': (7, length, {'num_steps': 0}),
    'dtype': ('bfloat16', translation),
    'update': ('simultaneous', step),
    'sync_batch_norm': (True, step),
    'ema_decay': (0.5, step, {'ema_decay': 0.9}),
    'init_from': ('trained0', start),
    'remat': (True, step),
    'grad_accumulation': (2, step),
    'num_devices': (2, devices),
    'deterministic': (True, kernels),
    'debug_nans': (True, looks_for_nans),
    'profile_steps': (1, run_folder),
    'log_every': (2, run_folder),
    'eval_every': (0, run_folder),
    'sample_every': (0, run_folder),
    'eval_images': (1, evaluations),
    'dataset.name': ('facades', training_data, {'dataset.path': ''}),
    'dataset.path': ('other', training_data),
    'dataset.layout': ('two_folders', training_data),
    'dataset.input_pattern': ('{split}/c_*.png', training_data, PATTERNS),
    'dataset.target_pattern': ('{split}/c_*.png', training_data, PATTERNS),
    'dataset.direction': ('BtoA', training_data),
    'dataset.task': ('denoise', training_data),
    'dataset.task_amount': (0.5, training_data, {'dataset.task': 'denoise'}),
    'dataset.exif': ('pair', training_data, {'dataset.path': 'turned'}),
    'dataset.inputs': (2, training_data),
    'dataset.input_range': ('0:200', training_data),
    'dataset.target_range': ('0:200', training_data),
    'dataset.input_classes': (3, training_data, {'dataset.path': 'classes'}),
    'dataset.target_type': ('uint16', output_type),
    'dataset.target_scale': (2.0, output_size),
    'dataset.nodata': ('0', training_data),
    'dataset.mask': ('mask', training_data, {'dataset.path': 'classes'}),
    'dataset.target_classes': (3, training_data, {**BACK, 'dataset.path': 'classes'}),
    'dataset.void': ('0', training_data, INDICES),
    'dataset.colors': ('c 2,2,2;b 1,1,1;a 0,0,0;', training_data, INDICES),
    'dataset.palette': ('a 1,2,3;b 4,5,6;c 7,8,9;', pictures, INDICES),
    'dataset.jitter': (1.5, training_data),
    'dataset.jitter_method': ('box', training_data, {'dataset.path': 'noise'}),
    'dataset.preprocess': ('crop', training_data),
    'dataset.windows': ('on', training_data, CROPS),
    'dataset.hold_out': ('window', training_data, CROPS | {'dataset.windows': 'on'}),
    'dataset.resize': ('nearest', training_data),
    'dataset.mirror': (False, training_data),
    'dataset.vertical_flip': (True, training_data),
    'dataset.rotate': (True, training_data),
    'dataset.color_jitter': (0.5, training_data),
    'dataset.input_color_jitter': (0.5, training_data),
    'dataset.val_fraction': (0.5, training_data, {'dataset.path': 'other'}),
    'dataset.test_fraction': (0.5, training_data, NO_SPLITS),
    'dataset.cache': ('off', in_memory),
    'dataset.workers': (1, processes),
    'dataset.on_error': ('skip', good_pairs, {'dataset.path': 'bad'}),
    'generator.name': ('encoder_decoder', translation),
    'generator.width': (3, translation),
    'generator.depth': (3, translation),
    'generator.blocks': (2, translation, RESNET),
    'generator.norm': ('instance', translation),
    'generator.norm_epsilon': (1e-3, translation),
    'generator.norm_momentum': (0.99, step),
    'generator.bottleneck_norm': (True, translation),
    'generator.upsample': ('resize', translation),
    'generator.dropout': (0.25, translation),
    'generator.dropout_from': (1, translation),
    'generator.dropout_blocks': (2, translation),
    'generator.leaky_slope': (0.3, translation),
    'generator.skip_relu': (False, translation),
    'generator.bias': ('all', translation),
    'generator.input_channels': (5, creation),
    'generator.output_channels': (2, creation),
    'discriminator.layers': (2, creation),
    'discriminator.width': (3, creation),
    'discriminator.norm': ('none', step),
    'discriminator.norm_epsilon': (1e-3, step),
    'discriminator.norm_momentum': (0.99, step),
    'discriminator.padding': ('same', step),
    'discriminator.scales': (2, step),
    'discriminator.spectral_norm': (True, step),
    'discriminator.leaky_slope': (0.3, step),
    'discriminator.bias': ('last', step),
    'discriminator.conditional': (False, creation),
    'discriminator.augment': ('color', step),
    'init.name': ('xavier', creation),
    'init.scale': (0.03, creation),
    'init.norm_scale': (0.03, creation),
    'init.overrides': ('up1=0.3', creation),
    'loss.gan': ('hinge', step),
    'loss.gan_weight': (2.0, step),
    'loss.l1_weight': (2.0, step),
    'loss.l2_weight': (2.0, step),
    'loss.class_weight': (2.0, step, {'dataset.target_classes': 3}),
    'loss.d_weight': (2.0, step),
    'loss.gp_weight': (2.0, step, WGAN),
    'loss.feature_weight': (2.0, step),
    'loss.lpips_weight': (2.0, step),
    'loss.alexnet_file': ('a.pth', lpips_files, {'loss.lpips_weight': 1.0}),
    'loss.lpips_file': ('a.pth', lpips_files, {'loss.lpips_weight': 1.0}),
    'loss.r1_weight': (2.0, step),
    'loss.r1_every': (3, step, {'loss.r1_weight': 1.0}),
    'optimizer.learning_rate': (0.3, step),
    'optimizer.d_learning_rate': (0.3, step),
    'optimizer.d_steps': (2, step),
    'optimizer.b1': (0.3, step),
    'optimizer.b2': (0.3, step),
    'optimizer.eps': (0.3, step),
    'optimizer.schedule': ('cosine', step),
    'optimizer.decay_start': (0.0, step, LINEAR),
    'optimizer.clip_norm': (0.3, step),
    'optimizer.scale_with_devices': (True, step),
    'optimizer.rate_devices': (3, step, {'optimizer.scale_with_devices': True}),
    'test.norm': ('mixed', translation),
    'test.dropout': (False, translation),
    'test.seed': (1, noise),
    'test.steps': (3, translation, {'method': 'flow'}),
    'checkpoint.every_steps': (1, run_folder, {'checkpoint.keep': 9}),
    'checkpoint.every_minutes': (1e-6, run_folder, {'checkpoint.keep': 9}),
    'checkpoint.keep': (2, run_folder),
    'checkpoint.best': ('eval/ssim', best_values),
    'checkpoint.on_error': ('continue', failed_saves),
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Sets of pairs, one with a bad one, of class maps, of noise; and a run to start from."""
    folder = tmp_path_factory.mktemp('fields')
    make_pairs(folder / 'pairs', {'train': 6, 'val': 2}, size=40)
    make_pairs(folder / 'other', {'test': 1, 'train': 8}, size=40)
    make_pairs(folder / 'bad', {'train': 2}, size=40)
    (folder / 'bad' / 'train' / '1.png').write_text('not an image')
    (folder / 'noise' / 'train').mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (40, 80, 3), np.uint8)
    Image.fromarray(noise).save(folder / 'noise' / 'train' / '1.png')
    (folder / 'named' / 'train').mkdir(parents=True)
    for i, name in enumerate('abc'):
        Image.fromarray(np.roll(noise, i, 1)).save(folder / 'named' / 'train' / f'{name}_1.png')
    indices = np.arange(40 * 40, dtype=np.uint8).reshape(40, 40) % 3
    for side, image in (('A', indices), ('B', indices * 50), ('mask', indices)):
        (folder / 'classes' / 'train' / side).mkdir(parents=True)
        Image.fromarray(image).save(folder / 'classes' / 'train' / side / '1.png')
    for side, exif in (('A', Image.Exif()), ('B', None)):
        (folder / 'turned' / 'train' / side).mkdir(parents=True)
        if exif is not None:
            exif[orientation.TAG] = 3
        Image.fromarray(noise).save(folder / 'turned' / 'train' / side / '1.png', exif=exif)
    config = base(folder)
    config.seed = 5
    run_small(config, folder, 'trained')
    return folder


@pytest.fixture(scope='module')
def observe(folder):
    """Returns what an observer sees of the base config with these fields; an error is seen, too."""

    @functools.cache
    def observe(observer, fields):
        config = base(folder)
        config.update_from_flattened_dict(
            {k: str(folder / v) if v in PATHS else v for k, v in fields}
        )
        try:
            return observer(validate(config), folder)
        except UserError as error:
            if not REFUSED & dict(fields).keys():
                raise
            return str(error)

    return observe


def test_every_field_is_listed():
    assert set(FIELDS) == set(flatten(default_config()))


@pytest.mark.parametrize('field', FIELDS)
def test_another_value_of_a_field_shows(field, observe):
    value, observer, *context = FIELDS[field]
    context = dict(*context)
    a, b = (tuple(fields.items()) for fields in (context, context | {field: value}))
    assert observe(observer, a) != observe(observer, b)


OBSERVERS = [creation, step, translation, training_data, run_folder, start]


@pytest.mark.parametrize('observer', OBSERVERS)
def test_what_is_observed_is_the_same_for_the_same_config(observer, folder):
    """Else everything would seem to change it."""
    first, second = (observer(validate(base(folder)), folder) for _ in range(2))
    assert first == second
