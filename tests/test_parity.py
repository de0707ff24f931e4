"""The recorded PyTorch runs: same weights and images, same outputs, gradients and updates."""

import jax
import numpy as np
import pytest
from reference import Recording

from pix2pix_jax import parallel
from pix2pix_jax.config import default_config, validate
from pix2pix_jax.models import create_models
from pix2pix_jax.optimizers import create_optimizer, create_schedule
from pix2pix_jax.train_state import create_state, training_key
from pix2pix_jax.train_step import discriminator_gradients, generator_gradient, train_step

RECORDINGS = ('pytorch_unet256_patch70', 'pytorch_unet128_patch70_lsgan_b2')


def setup(name, platform):
    recording = Recording(name)
    meta = recording.meta
    config = default_config()
    config.image_size = (meta['size'], meta['size'])
    config.batch_size = meta['batch']
    config.generator.width, config.discriminator.width = meta['ngf'], meta['ndf']
    config.generator.dropout = 0.0
    config.loss.gan = meta['gan']
    config = validate(config)
    schedule = create_schedule(config.optimizer, 10)
    models = create_models(config, platform)
    state = create_state(config, models, create_optimizer(config.optimizer, schedule))
    g, d = recording.tree('G0'), recording.tree('D0')
    assert_same_shapes(state.generator.params, g)
    assert_same_shapes(state.discriminator.params, d)
    state = state.replace(
        generator=state.generator.replace(params=g),
        discriminator=state.discriminator.replace(params=d),
    )
    return recording, config, jax.tree.map(jax.numpy.asarray, state)


def assert_same_shapes(ours, theirs):
    assert jax.tree.map(np.shape, ours) == jax.tree.map(np.shape, theirs)


def assert_gradients_close(ours, theirs):
    def check(a, b):
        assert np.abs(a - b).max() <= 1e-4 * np.abs(b).max()

    jax.tree.map(check, ours, theirs)


@pytest.mark.parametrize('platform', ['cpu', 'gpu'])  # both forms of the convolutions
@pytest.mark.parametrize('name', RECORDINGS)
def test_first_forward_and_gradients(name, platform):
    recording, config, state = setup(name, platform)
    g, d = state.generator, state.discriminator
    batch = recording.batch(0)
    x, target = batch['input'], batch['target']

    def generate(params):
        variables = {'params': params, 'batch_stats': g.batch_stats}
        return g.apply_fn(variables, x, train=True, mutable=['batch_stats'])

    fake, pull_back, _ = jax.vjp(generate, g.params, has_aux=True)
    np.testing.assert_allclose(fake, recording.arrays['out/fake'], atol=1e-4)
    seen = {'d_fake': fake, 'd_real': target}
    for key, image in seen.items():
        logits, _ = d.apply_fn(
            d.variables, np.concatenate([x, image], axis=-1), mutable=['batch_stats']
        )
        np.testing.assert_allclose(logits, recording.arrays[f'out/{key}'], atol=1e-4)

    d_grads, (d_stats, _) = discriminator_gradients(d, x, target, fake, config)
    assert_gradients_close(d_grads, recording.tree('gradD'))
    critic = d.apply_gradients(grads=d_grads, batch_stats=d_stats)
    (g_grads,) = pull_back(generator_gradient(critic, x, target, fake, config)[0])
    assert_gradients_close(g_grads, recording.tree('gradG'))


@pytest.mark.parametrize('platform', ['cpu', 'gpu'])
@pytest.mark.parametrize('name', RECORDINGS)
def test_three_steps(name, platform):
    recording, config, state = setup(name, platform)
    devices = parallel.choose_devices(1, config.batch_size)
    step = parallel.compile_step(train_step, config, devices)
    key = training_key(config)
    for i, (real, fake, gan, weighted_l1) in enumerate(recording.arrays['losses_real_fake_gan_l1']):
        state, metrics = step(state, recording.batch(i), key)
        np.testing.assert_allclose(metrics['d_real'], real, rtol=1e-4)
        np.testing.assert_allclose(metrics['d_fake'], fake, rtol=1e-4)
        np.testing.assert_allclose(metrics['g_gan'], gan, rtol=1e-4)
        np.testing.assert_allclose(100 * metrics['g_l1'], weighted_l1, rtol=1e-4)
    assert int(state.step) == 3
    for params, prefix in ((state.generator.params, 'GN'), (state.discriminator.params, 'DN')):
        pairs = zip(jax.tree.leaves(params), jax.tree.leaves(recording.tree(prefix)))
        difference = np.concatenate([np.abs(np.ravel(a - b)) for a, b in pairs])
        assert np.mean(difference <= 2e-5) >= 0.995
        assert difference.max() <= 1.2e-3
