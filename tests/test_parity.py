"""The recorded PyTorch runs: same weights and images, same outputs, gradients and updates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.reference import Recording

from pix2pix_jax.config import default_config, validate
from pix2pix_jax.gradients import discriminator_gradients, generator_gradient
from pix2pix_jax.models.factory import create_models
from pix2pix_jax.optimizers import create_optimizers
from pix2pix_jax.train_state import create_state, training_key
from pix2pix_jax.train_step import train_step

RECORDINGS = (
    'pytorch_unet256_patch70',
    'pytorch_unet128_patch70_lsgan_b2',
    'pytorch_resnet6_pixel_instance',
)
# An activation of its first step is so near 0 that rounding decides on which side of the ReLU it
# falls, and with it 1% of the gradients: float32 on some CPUs, float64 on none.
IN_FLOAT64 = ('pytorch_resnet6_pixel_instance',)


def setup(name, platform):
    recording = Recording(name)
    meta = recording.meta
    config = default_config()
    config.image_size = (meta['size'], meta['size'])
    config.batch_size = meta['batch']
    config.generator.width, config.discriminator.width = meta['ngf'], meta['ndf']
    config.generator.dropout = 0.0
    config.loss.gan = meta['gan']
    config.generator.norm = config.discriminator.norm = meta['norm']
    if meta['netG'] == 'resnet_6blocks':
        config.generator.name, config.generator.blocks = 'resnet', 6
    config.discriminator.layers = 0 if meta['netD'] == 'pixel' else meta['n_layers']
    config = validate(config)
    if name in IN_FLOAT64:
        config.dtype = 'float64'
    optimizers = create_optimizers(config.optimizer, 10, 1)
    models = create_models(config, platform)
    # The recorded weights take the place of the initial ones, of which only the shapes matter.
    shapes = jax.eval_shape(lambda: create_state(config, models, optimizers))
    state = shapes.replace(
        generator=loaded(shapes.generator, recording.tree('G0'), config.dtype),
        discriminator=loaded(shapes.discriminator, recording.tree('D0'), config.dtype),
    )
    return recording, config, state


def loaded(shapes, params, dtype):
    """The state of a network before its first step, with these weights."""
    assert jax.tree.map(np.shape, shapes.params) == jax.tree.map(np.shape, params)
    stats = {
        module: {'mean': jnp.zeros(s['mean'].shape), 'var': jnp.ones(s['var'].shape)}
        for module, s in shapes.batch_stats.items()
    }
    params = jax.tree.map(lambda x: jnp.asarray(x, dtype), params)
    return shapes.replace(
        step=jnp.int32(0), params=params, batch_stats=stats, opt_state=shapes.tx.init(params)
    )


def first_step(state, batch, key, config):
    """The outputs and gradients of step 0: D's, and G's against the updated D."""
    g, d = state.generator, state.discriminator
    x, target = batch['input'], batch['target']

    def generate(params):
        variables = {'params': params, 'batch_stats': g.batch_stats}
        return g.apply_fn(variables, x, train=True, mutable=['batch_stats'])

    def logits(image):
        seen = jnp.concatenate([x, image], axis=-1)
        return d.apply_fn(d.variables, seen, mutable=['batch_stats'])[0]

    fake, pull_back, _ = jax.vjp(generate, g.params, has_aux=True)
    outputs = {'fake': fake, 'd_fake': logits(fake), 'd_real': logits(target)}
    d_grads, (d_stats, _) = discriminator_gradients(d, batch, fake, key, config)
    critic = d.apply_gradients(grads=d_grads, batch_stats=d_stats)
    (g_grads,) = pull_back(generator_gradient(critic, batch, fake, key, config)[0])
    return outputs, {'gradD': d_grads, 'gradG': g_grads}


@pytest.fixture(
    scope='module',
    params=[
        pytest.param((name, platform), marks=marks)
        for name in RECORDINGS
        for platform, marks in (('cpu', ()), ('gpu', pytest.mark.slow))
    ],
)
def results(request):
    """The recording, what step 0 computes, and every step's losses and last state.

    On both platforms: in several forms of the convolutions. One program, since compiling is what
    takes the time.
    """
    with jax.enable_x64(request.param[0] in IN_FLOAT64):
        return run_recording(*setup(*request.param))


def run_recording(recording, config, state):
    @jax.jit
    def run(state, batch, key):
        parts = first_step(state, batch, key, config)
        return parts, train_step(state, batch, key, config=config, axis_name=None)

    first, losses = None, []
    for step in range(len(recording.arrays['losses_real_fake_gan_l1'])):
        batch = recording.batch(step)
        batch |= {k: batch[k].astype(config.dtype) for k in ('input', 'target')}
        parts, (state, metrics) = run(state, batch, training_key(config))
        first = first or parts
        losses.append(metrics)
    return recording, *jax.device_get((first, losses, state))


def without_idle_biases(tree, recording):
    """The tree without the biases before an instance norm: their gradients are rounding alone."""
    if recording.meta['norm'] != 'instance':
        return tree
    ends = ('output', 'conv0', 'logits')
    return {
        module: {k: v for k, v in leaves.items() if k != 'bias' or module in ends}
        for module, leaves in tree.items()
    }


def test_first_forward_and_gradients(results):
    recording, (outputs, gradients), _, _ = results
    for key, value in outputs.items():
        np.testing.assert_allclose(value, recording.arrays[f'out/{key}'], atol=1e-4)

    def check(ours, theirs):
        assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max()

    for key, tree in gradients.items():
        ours, theirs = (without_idle_biases(t, recording) for t in (tree, recording.tree(key)))
        jax.tree.map(check, ours, theirs)


def test_three_steps(results):
    recording, _, losses, state = results
    recorded = recording.arrays['losses_real_fake_gan_l1']
    assert len(recorded) == int(state.step) == 3
    for metrics, (real, fake, gan, weighted_l1) in zip(losses, recorded, strict=True):
        np.testing.assert_allclose(metrics['d_real'], real, rtol=1e-4)
        np.testing.assert_allclose(metrics['d_fake'], fake, rtol=1e-4)
        np.testing.assert_allclose(metrics['g_gan'], gan, rtol=1e-4)
        np.testing.assert_allclose(100 * metrics['g_l1'], weighted_l1, rtol=1e-4)
    for params, prefix in ((state.generator.params, 'GN'), (state.discriminator.params, 'DN')):
        ours, theirs = (without_idle_biases(t, recording) for t in (params, recording.tree(prefix)))
        differences = jax.tree.map(lambda a, b: np.abs(a - b).ravel(), ours, theirs)
        difference = np.concatenate(jax.tree.leaves(differences))
        assert np.mean(difference <= 2e-5) >= 0.995
        assert difference.max() <= 1.2e-3
