"""The files in configs/: each loads, is listed, does what its source says, and trains."""

import ast
import functools
import importlib.util
import pathlib

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.networks import count
from helpers.runs import make_pairs, metrics
from PIL import Image

from pix2pix_jax import config as config_lib
from pix2pix_jax.config import default_config, flatten, validate
from pix2pix_jax.data import label_colors
from pix2pix_jax.errors import UserError
from pix2pix_jax.inference.loaded_run import state_shapes
from pix2pix_jax.models.dropout import Dropout
from pix2pix_jax.models.factory import create_models
from pix2pix_jax.optimizers import create_optimizers
from pix2pix_jax.storage import atomic
from pix2pix_jax.train import train_and_evaluate
from pix2pix_jax.train_setup import count_steps
from pix2pix_jax.train_state import create_state
from pix2pix_jax.workdir.config_json import to_json

ROOT = pathlib.Path(config_lib.__file__).parents[1]
CONFIGS = {
    str(path.relative_to(ROOT / 'configs').with_suffix('')): path
    for path in sorted((ROOT / 'configs').rglob('*.py'))
}


def load_module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load(name, arg=''):
    return validate(load_module(CONFIGS[name]).get_config(arg))


LISTING = load_module(ROOT / 'scripts' / 'list_configs.py')


# ---------------------------------------------------------------- every config


@pytest.mark.parametrize('name', CONFIGS)
def test_every_file_loads_with_and_without_tiny(name):
    module = load_module(CONFIGS[name])
    assert module.__doc__ and f'--config=configs/{name}.py' in module.__doc__ or name == 'default'
    config = validate(module.get_config())
    tiny = validate(module.get_config('tiny'))
    assert max(tiny.image_size) <= 96 and 0 < tiny.num_steps <= 10 and tiny.batch_size <= 4
    assert tiny.generator.width <= 8 and tiny.discriminator.width <= 8
    assert tiny.dataset == config.dataset and tiny.loss == config.loss
    with pytest.raises(UserError, match='nonsense'):
        module.get_config('nonsense')
    # One experiment a file: imports are the package's alone.
    for node in ast.walk(ast.parse(CONFIGS[name].read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.module.startswith('pix2pix_jax')
        assert not isinstance(node, ast.Import)


@pytest.mark.parametrize('name', CONFIGS)
def test_every_arg_goes_with_every_config_alone_and_combined(name):
    plain = load(name)
    for arg, changed in {
        'loss=l1': {'loss.gan': 'none', 'loss.feature_weight': 0.0},
        'loss=cgan': {'loss.l1_weight': 0.0, 'discriminator.conditional': True},
        'generator=resnet': {'generator.name': 'resnet'},
        'generator=encoder_decoder': {'generator.name': 'encoder_decoder'},
        'discriminator=16': {'discriminator.layers': 1},
        'seed=5': {'seed': 5},
        'direction=AtoB': {'dataset.direction': 'AtoB'},
        'loss=gan,generator=resnet,discriminator=286,seed=5,direction=BtoA': {
            'loss.l1_weight': 0.0, 'discriminator.conditional': False, 'generator.name': 'resnet',
            'discriminator.layers': 5, 'seed': 5, 'dataset.direction': 'BtoA',
        },
    }.items():  # fmt: skip
        if plain.dataset.task != 'none' and 'direction=BtoA' in arg:
            with pytest.raises(UserError, match='is of single photos'):
                load(name, arg)
            continue
        config = load(name, arg)
        if config.discriminator.layers == 5 and 0 < max(plain.image_size) < 96:
            changed = changed | {'image_size': (96, 96)}  # what it needs
        if name == 'reference/keras_eager':  # the last but one convolution is another
            changed = changed | {'init.overrides': config.init.overrides}
            assert f'conv{config.discriminator.layers}=0.05' in config.init.overrides
        assert flatten(config) == flatten(plain) | changed
        small = load(name, f'tiny,{arg}')
        assert (state_shapes(small).discriminator is None) == (arg == 'loss=l1')
        if config.image_size != (0, 0):
            create_models(config, 'cpu')


def test_default_py_is_the_default():
    assert load('default') == default_config()


def test_the_table_is_up_to_date():
    assert (ROOT / 'docs' / 'experiments.md').read_text() == LISTING.table()


@pytest.fixture(scope='module')
def pairs(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp('pairs'), {'train': 5}, size=64)


def tiny(name):
    """The tiny config, without what is of a long run, and where its data is."""
    config = load(name, 'tiny')
    config.checkpoint, config.dataset.name = default_config().checkpoint, 'folder'
    config.dataset.val_fraction = config.sample_every = config.eval_every = 0
    config.num_steps, config.num_epochs = 2, 1
    return config


def in_colours(table, left, pairs, folder):
    """Writes the pairs with labels in colours of the table, on the `left` or the right."""
    blue, red = list(label_colors.table(table).colours.values())[4:6]
    for path in pairs.rglob('*.png'):
        labels, photo = np.split(np.asarray(Image.open(path)), 2, axis=1)
        labels = np.where(labels[..., :1] == 0, np.uint8(blue), np.uint8(red))
        pair = [labels, photo] if left else [photo, labels]
        atomic.write_bytes(folder / path.relative_to(pairs), atomic.encode_png(np.hstack(pair)))
    return folder


# The same tiny run stands for all configs that come to it.
RUNS = {to_json(tiny(name)): name for name in reversed(CONFIGS)}


@pytest.mark.parametrize('name', RUNS.values())
def test_every_config_trains_with_tiny(name, pairs, tmp_path):
    config = tiny(name)
    config.dataset.path = str(pairs)
    d = config.dataset
    if d.colors:
        d.path = str(in_colours(d.colors, bool(d.input_classes), pairs, tmp_path / 'pairs'))
    state = train_and_evaluate(config, tmp_path / 'run')
    assert int(state.step) == 2
    rows = metrics(tmp_path / 'run')
    assert [row['step'] for row in rows] == [1, 2]
    assert all(np.isfinite(list(row.values())).all() for row in rows)


# ---------------------------------------------------------------- the paper's tasks

TASKS = {  # direction, batch, pairs, steps, jitter and mirroring (the paper, section 6.2)
    'facades': ('BtoA', 1, 400, 80_000, True),
    'maps': ('AtoB', 1, 1_096, 219_200, True),
    'cityscapes': ('BtoA', 1, 2_975, 595_000, True),
    'edges2shoes': ('AtoB', 4, 49_825, 186_843, False),
    'edges2handbags': ('AtoB', 4, 138_567, 519_626, False),
    'day2night': ('BtoA', 4, 17_823, 75_747, True),
}


@pytest.mark.parametrize('name', TASKS)
def test_a_task_has_the_papers_setting_and_nothing_else(name):
    direction, batch, pairs, steps, augmented = TASKS[name]
    config = load(name)
    assert count_steps(config, pairs) == steps
    expected = {
        'dataset.name': 'night2day' if name == 'day2night' else name,
        'dataset.direction': direction,
        'batch_size': batch,
        'num_epochs': config.num_epochs,
        'dataset.jitter': 286 / 256 if augmented else 1.0,
        'dataset.mirror': augmented,
    }
    assert flatten(config) == flatten(default_config()) | expected


# ---------------------------------------------------------------- published implementations

# Of each: parameters that are trained and all (with moving statistics) of G and of D, side of the
# logits, pairs of its data set, steps, and the fields in which it differs from the paper.
KERAS = {
    'update': 'simultaneous', 'generator.skip_relu': False, 'generator.bottleneck_norm': True,
    'generator.leaky_slope': 0.3, 'generator.norm_epsilon': 1e-3, 'generator.norm_momentum': 0.99,
    'discriminator.leaky_slope': 0.3, 'discriminator.bias': 'last',
    'discriminator.norm_epsilon': 1e-3, 'discriminator.norm_momentum': 0.99,
    'init.norm_scale': 0.0, 'optimizer.eps': 1e-7,
}  # fmt: skip
TEN_EPOCHS = {
    'eval_every': 4000, 'sample_every': 4000, 'checkpoint.every_steps': 4000,
    'checkpoint.every_minutes': 0.0, 'checkpoint.keep': 20,
}  # fmt: skip
EPOCH = {'eval_every': 194, 'sample_every': 194}
KERAS_G, PADDED_D = (54_414_979, 54_425_859), (2_768_641, 2_770_433)
PORT_G, PORT_D = (54_413_955, None), (2_768_705, None)
FACADES = {'dataset.name': 'facades', 'dataset.direction': 'BtoA'}
SHOES = {'dataset.name': 'edges2shoes', 'dataset.resize': 'nearest', 'batch_size': 256}
REFERENCES = {
    # The port's networks less their biases: 3 in G, 64 + 1 in D.
    'torch_original': ((54_413_952, None), (2_768_640, None), 30, 400, 80_000, FACADES | {
        'update': 'simultaneous', 'loss.d_weight': 1.0, 'generator.bias': 'none',
        'discriminator.bias': 'none'}),
    'pytorch_reference': (PORT_G, PORT_D, 30, 400, 80_000, FACADES | {
        'generator.dropout_from': 1, 'generator.dropout_blocks': 0,
        'optimizer.schedule': 'linear'}),
    'keras_eager': (KERAS_G, PADDED_D, 30, 400, 80_000, FACADES | KERAS | TEN_EPOCHS | {
        'loss.d_weight': 1.0, 'init.scale': 0.2,
        'init.overrides': 'up[1-7]=0.05,conv3=0.05,logits=0.05'}),
    'tensorflow_tutorial': (KERAS_G, PADDED_D, 30, 400, 12_000, FACADES | KERAS | {
        'loss.d_weight': 1.0, 'num_epochs': 30, 'dataset.resize': 'nearest',
        **TEN_EPOCHS, 'sample_every': 400, 'checkpoint.keep': 3}),
    'tensorflow_tutorial_halved': (KERAS_G, PADDED_D, 30, 400, 80_000, FACADES | KERAS | {
        'dataset.resize': 'nearest', **TEN_EPOCHS}),
    'multi_gpu_pytorch': (PORT_G, PORT_D, 30, 49_825, 38_925, SHOES | EPOCH | {
        'generator.dropout': 0.0}),
    'multi_gpu_tensorflow': (KERAS_G, PADDED_D, 30, 49_825, 38_925, SHOES | KERAS | EPOCH | {
        'optimizer.scale_with_devices': True, 'checkpoint.every_steps': 194,
        'test.norm': 'running'}),
    'keras_patch16': ((54_419_459, 54_429_315), (6_965_441, 6_968_257), 16, 400, 40_000, {
        'dataset.name': 'facades', 'dataset.jitter': 1.0, 'dataset.mirror': False,
        'dataset.val_fraction': 0.1, 'num_epochs': 100, 'discriminator.layers': 4,
        'discriminator.padding': 'same', 'discriminator.bias': 'all', 'generator.bias': 'all',
        'generator.norm_epsilon': 1e-3, 'discriminator.norm_epsilon': 1e-3,
        'generator.norm_momentum': 0.99, 'discriminator.norm_momentum': 0.99,
        'init.norm_scale': 0.0, 'optimizer.eps': 1e-7, 'test.norm': 'mixed', 'eval_every': 4000}),
}  # fmt: skip


def test_there_are_eight_of_them():
    assert {f'reference/{name}' for name in REFERENCES} == {
        name for name in CONFIGS if name.startswith('reference/')
    }
    assert len(REFERENCES) == 8


@pytest.mark.parametrize('name', REFERENCES)
def test_a_reference_is_what_was_published(name):
    generator, discriminator, side, pairs, steps, fields = REFERENCES[name]
    config = load(f'reference/{name}')
    state = state_shapes(config)
    for network, (trained, total) in (
        (state.generator, generator),
        (state.discriminator, discriminator),
    ):
        assert count(network.params) == trained
        if total:
            assert count(network.params) + count(network.batch_stats) == total
    d = state.discriminator
    logits, _ = jax.eval_shape(
        functools.partial(d.apply_fn, mutable=['batch_stats']),
        d.variables,
        jax.ShapeDtypeStruct((1, 256, 256, 6), jnp.float32),
    )
    assert logits.shape == (1, side, side, 1)
    assert count_steps(config, pairs) == steps
    assert flatten(config) == flatten(default_config()) | fields
    assert config.dataset.jitter_method == 'resize_then_crop'  # each resizes, then crops


def test_the_original_has_no_bias_but_those_of_its_norms():
    state = state_shapes(load('reference/torch_original'))
    for network in (state.generator, state.discriminator):
        for name, leaves in network.params.items():
            assert ('bias' in leaves) == name.endswith('_norm')


@pytest.mark.parametrize('size, blocks', [
    ((256, 256), 3), ((128, 128), 2), ((512, 128), 2), ((64, 64), 1), ((32, 32), 0),
])  # fmt: skip
def test_the_ports_dropout_follows_the_size(size, blocks):
    """Also where a flag changes the size after the file was read: depth - 5 blocks there."""
    config = load_module(CONFIGS['reference/pytorch_reference']).get_config()
    config.image_size = size
    generator = create_models(validate(config), 'cpu').generator
    assert (generator.dropout_from, generator.dropout_blocks) == (1, blocks)
    x = jnp.zeros((1, *size, 3))
    drawn = []
    with flax.linen.intercept_methods(
        lambda call, args, kwargs, context: (
            drawn.append(isinstance(context.module, Dropout)) or call(*args, **kwargs)
        )
    ):
        keys = dict.fromkeys(('params', 'dropout'), jax.random.key(0))
        jax.eval_shape(lambda: generator.init(keys, x, train=True))
    assert sum(drawn) == blocks


def test_the_keras_generator_has_a_norm_on_its_bottleneck_alone_of_all():
    for name in REFERENCES:
        norms = state_shapes(load(f'reference/{name}')).generator.params
        assert ('down7_norm' in norms) == (REFERENCES[name][0] == KERAS_G)
        assert 'down0_norm' not in norms


def test_the_rates_of_a_reference():
    config = load('reference/pytorch_reference')
    schedule = create_optimizers(config.optimizer, 80_000, 1).schedule
    rates = [float(schedule(step)) for step in (0, 40_000, 60_000, 80_000)]
    np.testing.assert_allclose(rates, [2e-4, 2e-4, 1e-4, 0], atol=1e-9)
    config = load('reference/multi_gpu_tensorflow')
    schedule = create_optimizers(config.optimizer, 38_925, 4).schedule
    np.testing.assert_allclose([schedule(0), schedule(38_924)], 8e-4, rtol=1e-6)
    for name in set(REFERENCES) - {'pytorch_reference', 'multi_gpu_tensorflow'}:
        schedule = create_optimizers(load(f'reference/{name}').optimizer, 10, 4).schedule
        np.testing.assert_allclose([schedule(0), schedule(9)], 2e-4, rtol=1e-6)


def test_the_write_up_also_has_maps_to_aerial_photos():
    config = load('reference/tensorflow_tutorial_halved', 'maps')
    assert (config.dataset.name, config.dataset.direction) == ('maps', 'BtoA')
    assert count_steps(config, 1_096) == 219_200
    for arg in ('maps,tiny', 'tiny,maps'):
        assert load('reference/tensorflow_tutorial_halved', arg).sample_every == 2


def test_the_eager_ports_kernels_start_at_two_scales():
    config = load('reference/keras_eager', 'tiny')
    config.image_size, config.generator.depth = (256, 256), 0  # all eight levels
    state = create_state(
        config, create_models(config, 'cpu'), create_optimizers(config.optimizer, 1, 1)
    )
    params = state.generator.params | state.discriminator.params
    kernels = {name: leaf['kernel'] for name, leaf in params.items() if 'kernel' in leaf}
    small = {f'up{i}' for i in range(1, 8)} | {'conv3', 'logits'}
    assert len(kernels) == 16 + 5 and small < set(kernels)
    for name, kernel in kernels.items():
        np.testing.assert_allclose(kernel.std(), 0.05 if name in small else 0.2, rtol=0.2)
