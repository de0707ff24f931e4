"""What D makes of views: scales, features, spectral norm and R1, against their publications."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import TESTDATA
from helpers.pictures import noise
from helpers.runs import changed, error_of
from ml_collections import FrozenConfigDict

from pix2pix_jax import losses
from pix2pix_jax.config import validate
from pix2pix_jax.critic import discriminate, feature_distance, of_images, of_logits, view
from pix2pix_jax.gradients import discriminator_gradients, generator_gradient
from pix2pix_jax.models import patchgan, spectral
from pix2pix_jax.models.factory import create_models
from pix2pix_jax.optimizers import Optimizers
from pix2pix_jax.train_setup import check_r1
from pix2pix_jax.train_state import create_state
from pix2pix_jax.train_step import train_step

SIDE = 16
KEY = jax.random.key(3)


def config_of(**fields):
    return validate(changed(**{
        'image_size': (SIDE, SIDE), 'batch_size': 2, 'num_steps': 4, 'generator.width': 2,
        'generator.depth': 2, 'discriminator.width': 4, 'discriminator.layers': 1,
        'generator.dropout': 0.0, 'init.scale': 0.3,
    } | {k.replace('__', '.'): v for k, v in fields.items()}))  # fmt: skip


@functools.cache
def frozen_state(**fields):
    config = config_of(**fields)
    sgd = optax.sgd(0.1)
    optimizers = Optimizers(sgd, sgd, optax.constant_schedule(0.1))
    state = jax.jit(lambda: create_state(config, create_models(config, 'any'), optimizers))()
    return FrozenConfigDict(config), state


def batch_of(valid=None):
    rng = np.random.default_rng(0)
    draw = lambda: jnp.array(rng.uniform(-1, 1, (2, SIDE, SIDE, 3)), jnp.float32)  # noqa: E731
    batch = {'input': draw(), 'target': draw(), 'index': jnp.arange(2)}
    return batch if valid is None else batch | {'valid': valid}


FAKE = jnp.array(np.random.default_rng(5).uniform(-1, 1, (2, SIDE, SIDE, 3)), jnp.float32)


# ---------------------------------------------------------------- scales and features


@pytest.fixture(scope='module')
def recorded():
    """pix2pixHD's two-scale D: its config, D with the recorded weights, the batch, the numbers."""
    data = np.load(TESTDATA / 'pix2pixhd_multiscale_d.npz')
    config, state = frozen_state(
        image_size=(64, 64), discriminator__scales=2, discriminator__layers=3,
        discriminator__norm='instance', discriminator__padding='two', loss__gan='lsgan',
        loss__feature_weight=1.0, loss__l1_weight=0.0,
    )  # fmt: skip
    weights = {f'scale{i}': layers_of(data, f'D0/scale{1 - i}') for i in range(2)}
    d = state.discriminator.replace(params=jax.tree.map(jnp.asarray, weights))
    images = {k: jnp.asarray(data[k] / np.float32(127.5) - 1) for k in ('input', 'target', 'fake')}
    batch = {'index': jnp.arange(2), **images}
    return config, d, batch, batch.pop('fake'), data


def layers_of(data, prefix):
    return {
        name: {
            'kernel': data[f'{prefix}_layer{i}.0.weight'].transpose(2, 3, 1, 0),
            'bias': data[f'{prefix}_layer{i}.0.bias'],
        }
        for i, name in enumerate(('conv0', 'conv1', 'conv2', 'conv3', 'logits'))
    }


def test_each_layer_of_each_scale_is_pix2pixhds(recorded):
    config, d, batch, fake, data = recorded
    one = view(batch, fake, 'any', KEY, config)
    seen, _ = discriminate(d, d.variables, [one], config, features=True)
    for i in range(2):
        for j, found in enumerate([*seen.features[i], seen.logits[i]]):
            expected = data[f'fake/scale{i}/layer{j}']
            np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-5)


def test_losses_and_gradients_are_pix2pixhds(recorded):
    config, d, batch, fake, data = recorded
    d_gradients = jax.jit(functools.partial(discriminator_gradients, config=config))
    grads, (_, of_d) = d_gradients(d, batch, fake, KEY)
    g_gradient = jax.jit(functools.partial(generator_gradient, config=config))
    gradient, of_g = g_gradient(d, batch, fake, KEY)
    found = [of_d['d_loss'], of_g['g_gan'], of_g['g_features']]
    np.testing.assert_allclose(found, data['losses_d_gan_features'], rtol=1e-5)
    expected = data['grad_fake/gan'] + data['grad_fake/features']
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    for i in range(2):
        for name, layer in layers_of(data, f'gradD/scale{1 - i}').items():
            kernel, size = grads[f'scale{i}'][name]['kernel'], np.abs(layer['kernel']).max()
            np.testing.assert_allclose(kernel, layer['kernel'], rtol=0, atol=1e-4 * size)


def test_one_scale_has_the_parameters_that_it_always_had():
    _, state = frozen_state()
    assert set(state.discriminator.params) == {'conv0', 'conv1', 'conv1_norm', 'logits'}


@pytest.mark.parametrize('size', [(8, 8), (7, 10)])
def test_a_halved_image_is_the_mean_of_the_pixels_that_are_there(size):
    x = noise(*size, 3)[None].astype(np.float32)
    found = np.asarray(patchgan.halved(jnp.asarray(x)))[0]
    for i in range(found.shape[0]):
        for j in range(found.shape[1]):
            rows = slice(max(0, 2 * i - 1), 2 * i + 2)
            part = x[0, rows, max(0, 2 * j - 1) : 2 * j + 2]
            np.testing.assert_allclose(found[i, j], part.mean((0, 1)), rtol=1e-5)


def test_generated_and_real_features_are_of_one_augmentation():
    """Where both images are the same one, no augmentation comes between them."""
    config, state = frozen_state(
        discriminator__augment='color,translation,cutout',
        discriminator__norm='none',
        loss__feature_weight=10.0,
    )
    batch, gradient = batch_of(), functools.partial(generator_gradient, config=config)
    d = state.discriminator
    _, metrics = gradient(d, batch, batch['target'], KEY)
    np.testing.assert_allclose(metrics['g_features'], 0, atol=1e-7)
    _, metrics = gradient(d, batch, FAKE, KEY)
    assert metrics['g_features'] > 0.01
    total = metrics['g_gan'] + 100 * metrics['g_l1'] + 10 * metrics['g_features']
    np.testing.assert_allclose(metrics['g_loss'], total, rtol=1e-5)


@pytest.mark.parametrize('scales', [1, 2])
def test_what_is_masked_changes_neither_logits_nor_features_that_count(scales):
    valid = jnp.ones((2, SIDE, SIDE, 1)).at[:, :, SIDE // 2 :].set(0)
    config, state = frozen_state(
        discriminator__scales=scales, discriminator__norm='none', discriminator__padding='two'
    )
    batch, d = batch_of(valid), state.discriminator
    other = jnp.where(valid > 0, FAKE, -FAKE)
    found = []
    for image in (FAKE, other):
        views = [view(batch, x, 'a', KEY, config) for x in (image, batch['target'])]
        seen, _ = discriminate(d, d.variables, views, config, features=True)
        logits = of_logits(jnp.square, seen, 0, views[0], config)
        found.append((logits, feature_distance(seen, views[0], config)))
    np.testing.assert_array_equal(*found)


# ---------------------------------------------------------------- spectral norm


def test_spectral_norm_is_torchs():
    """Ten forwards of a convolution from the same u, each with an iteration before it."""
    torch = pytest.importorskip('torch')
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(4, 4, 3, 5)).astype(np.float32)
    net = torch.nn.Conv2d(3, 5, 4, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor(kernel.transpose(3, 2, 0, 1)))
    net = torch.nn.utils.spectral_norm(net)
    params, u = {'conv': {'kernel': jnp.asarray(kernel)}}, jnp.asarray(net.weight_u.numpy())
    vectors = {'conv': {'u': u, 'v': jnp.zeros(48)}}
    image = torch.tensor(rng.normal(size=(1, 3, 8, 8)).astype(np.float32))
    for _ in range(10):
        net(image)
        vectors = spectral.power_iteration(params, vectors)
        u, v = vectors['conv']['u'], vectors['conv']['v']
        np.testing.assert_allclose(u, net.weight_u.numpy(), atol=1e-5)
        divided = kernel / (u @ spectral.matrix(jnp.asarray(kernel)) @ v)
        expected = net.weight.detach().numpy().transpose(2, 3, 1, 0)
        np.testing.assert_allclose(divided, expected, rtol=1e-4, atol=1e-6)


def test_the_kernels_come_to_have_the_norm_1():
    config, state = frozen_state(discriminator__spectral_norm=True, discriminator__norm='none')
    d = state.discriminator
    vectors = d.spectral
    for _ in range(200):
        vectors = spectral.power_iteration(d.params, vectors)
    for name, layer in d.params.items():
        w = spectral.matrix(layer['kernel'])
        found = vectors[name]['u'] @ w @ vectors[name]['v']
        np.testing.assert_allclose(found, np.linalg.svd(w)[1][0], rtol=1e-3)
    one = view(batch_of(), FAKE, 'a', KEY, config)

    def logits(params):
        variables = {'params': params, spectral.COLLECTION: vectors}
        return discriminate(d, variables, [one], config)[0].logits[0]

    scaled = jax.tree.map(lambda x: 7 * x if x.ndim == 4 else x, d.params)
    np.testing.assert_allclose(logits(d.params), logits(scaled), rtol=1e-4, atol=1e-6)
    slopes = jax.grad(lambda params: logits(params).sum())(d.params)
    for name, layer in d.params.items():  # whatever the kernels' scale: none along them
        kernel, slope = layer['kernel'], slopes[name]['kernel']
        along = (slope * kernel).sum() / jnp.linalg.norm(slope) / jnp.linalg.norm(kernel)
        np.testing.assert_allclose(along, 0, atol=1e-4)


def test_every_update_of_d_moves_the_vectors_once_before_and_has_draws_of_its_own(monkeypatch):
    used = []

    def recorded(d, batch, fake, key, config):
        used.append((d.params, d.spectral, jax.random.key_data(key)))
        return discriminator_gradients(d, batch, fake, key, config)

    monkeypatch.setattr('pix2pix_jax.train_step.discriminator_gradients', recorded)
    config, state = frozen_state(
        discriminator__spectral_norm=True, discriminator__norm='none', optimizer__d_steps=3
    )
    step = functools.partial(train_step, config=config, axis_name=None)
    batch = {name: jnp.tile(x, (3,) + (1,) * (x.ndim - 1)) for name, x in batch_of().items()}
    after, of_updates = jax.jit(lambda *args: (step(*args)[0], used))(state, batch, KEY)
    vectors = state.discriminator.spectral
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    for params, moved, _ in of_updates:
        vectors = spectral.power_iteration(params, vectors)
        jax.tree.map(close, moved, vectors)
    jax.tree.map(np.testing.assert_array_equal, after.discriminator.spectral, moved)
    assert len({tuple(key.tolist()) for _, _, key in of_updates}) == 3


def test_simultaneous_updates_judge_by_one_discriminator():
    config, state = frozen_state(
        discriminator__spectral_norm=True, discriminator__norm='none', update='simultaneous',
        loss__gan='wgan-gp', loss__gp_weight=0.0,
    )  # fmt: skip
    _, metrics = train_step(state, batch_of(), KEY, config=config, axis_name=None)
    np.testing.assert_allclose(metrics['g_gan'], -metrics['d_fake'], rtol=1e-5)


# ---------------------------------------------------------------- R1


@pytest.mark.parametrize('gan', ['vanilla', 'hinge', 'lsgan'])
def test_r1_is_the_mean_squared_gradient_by_the_real_image(gan):
    fields = {'discriminator__norm': 'instance', 'loss__gan': gan, 'discriminator__scales': 2}
    config, state = frozen_state(**fields, loss__r1_weight=3.0, loss__r1_every=4)
    plain, _ = frozen_state(**fields)
    d, batch = state.discriminator, batch_of()
    grads, (_, metrics) = discriminator_gradients(d, batch, FAKE, KEY, config)
    before, (_, others) = discriminator_gradients(d, batch, FAKE, KEY, plain)

    def penalty(params):
        def logit(image, x):
            pair = jnp.concatenate([x, image], -1)[None]
            return sum(m.mean() for m in d.apply_fn({'params': params}, pair))

        gradients = jax.vmap(jax.grad(logit))(batch['target'], batch['input'])
        return (gradients**2).sum((1, 2, 3)).mean() / 2

    expected, added = jax.value_and_grad(penalty)(d.params)
    np.testing.assert_allclose(metrics['d_r1'], expected, rtol=1e-4)
    np.testing.assert_allclose(metrics['d_loss'], others['d_loss'] + 12 * expected, rtol=1e-5)
    jax.tree.map(
        lambda a, b, c: np.testing.assert_allclose(a, b + 12 * c, rtol=1e-3, atol=1e-5),
        grads,
        before,
        added,
    )


def test_r1_is_taken_at_every_so_manieth_step_of_d():
    config, state = frozen_state(discriminator__norm='none', loss__r1_weight=3.0, loss__r1_every=3)
    found = []
    for step in range(7):
        d = state.discriminator.replace(step=jnp.int32(step))
        found.append(discriminator_gradients(d, batch_of(), FAKE, KEY, config)[1][1]['d_r1'] > 0)
    assert found == [True, False, False] * 2 + [True]


def test_r1_is_known_until_the_next_and_counts_once():
    config, state = frozen_state(
        discriminator__norm='none', loss__r1_weight=3.0, loss__r1_every=3, optimizer__d_steps=2
    )
    plain, _ = frozen_state(discriminator__norm='none', optimizer__d_steps=2)
    batch = {name: jnp.tile(x, (2,) + (1,) * (x.ndim - 1)) for name, x in batch_of().items()}
    found = []
    for _ in range(4):  # D's steps 0 and 1, 2 and 3, 4 and 5, 6 and 7: taken at 0, 3, 6
        old = state
        state, metrics = train_step(state, batch, KEY, config=config, axis_name=None)
        found.append(float(metrics['d_r1']))
        assert state.discriminator.r1 == metrics['d_r1']
    assert found[0] != found[1] == found[2] != found[3] and 0 not in found
    step = old.discriminator.replace(step=jnp.int32(1))  # takes none
    _, (_, metrics) = discriminator_gradients(step, batch_of(), FAKE, KEY, config)
    _, (_, expected) = discriminator_gradients(step, batch_of(), FAKE, KEY, plain)
    assert metrics['d_loss'] == expected['d_loss'] and metrics['d_r1'] == old.discriminator.r1


def test_r1_sees_nothing_of_masked_pixels():
    valid = jnp.ones((2, SIDE, SIDE, 1)).at[1].set(0)
    config, state = frozen_state(discriminator__norm='none', loss__r1_weight=1.0)
    d, batch = state.discriminator, batch_of()
    whole = discriminator_gradients(d, batch, FAKE, KEY, config)[1][1]['d_r1']
    first = {k: v[:1] for k, v in batch.items()}
    alone = discriminator_gradients(d, first, FAKE[:1], KEY, config)[1][1]['d_r1']
    masked = discriminator_gradients(d, batch | {'valid': valid}, FAKE, KEY, config)[1][1]['d_r1']
    np.testing.assert_allclose(masked, alone / 2, rtol=1e-4)
    assert masked < whole


@pytest.mark.parametrize(('fields', 'message'), [
    ({'loss__r1_weight': 1.0, 'loss__gan': 'none'}, "config.loss.gan='none'"),
    ({'loss__feature_weight': 1.0, 'loss__gan': 'none'}, "config.loss.gan='none'"),
    ({'loss__r1_weight': 1.0, 'sync_batch_norm': True}, 'config.sync_batch_norm=True'),
    ({'discriminator__scales': 3, 'discriminator__layers': 2, 'image_size': (32, 32)}, 'scales=3'),
])  # fmt: skip
def test_what_does_not_go_together(fields, message):
    def build():
        create_models(config_of(**fields), 'any')

    assert message in error_of(build)


def test_r1_and_batch_norm_go_together_at_one_image_a_device():
    config = config_of(loss__r1_weight=1.0)
    check_r1(config, 2)
    assert 'instance | none' in error_of(check_r1, config, 1)


def test_the_value_of_an_image_is_its_mean_logit_summed_over_scales():
    config, state = frozen_state(discriminator__scales=2, discriminator__norm='instance')
    d, one = state.discriminator, view(batch_of(), FAKE, 'a', KEY, config)
    seen, _ = discriminate(d, d.variables, [one], config)
    expected = sum(logits[0].mean((1, 2, 3)) for logits in seen.logits)
    np.testing.assert_allclose(of_images(seen, one, config), expected, rtol=1e-5)
    total = of_logits(losses.OBJECTIVES['wgan-gp'].fake, seen, 0, one, config)
    np.testing.assert_allclose(total, expected.mean(), rtol=1e-5)
