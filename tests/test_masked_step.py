"""A step with masked pixels: losses of the valid part alone, of which nothing else is seen."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.runs import changed

from pix2pix_jax import gradients, losses, train_step
from pix2pix_jax.config import validate
from pix2pix_jax.diff_augment import diff_augment
from pix2pix_jax.models import patchgan
from pix2pix_jax.train_setup import initial_state
from pix2pix_jax.train_state import training_key

SIDE = 32
AUGMENT = 'color,translation,cutout'


def noise(*shape, seed=0):
    return jnp.array(np.random.default_rng(seed).uniform(-1, 1, shape), jnp.float32)


def some(shape, seed=0, share=0.6):
    return jnp.array(np.random.default_rng(seed).random(shape) < share, jnp.float32)


# ---------------------------------------------------------------- losses


def test_losses_are_those_of_the_valid_part_alone():
    """A mean over the valid elements of each image, then over images: parts of other sizes."""
    output, target = noise(2, 6, 8, 3), noise(2, 6, 8, 3, seed=1)
    valid = jnp.ones((2, 6, 8, 1)).at[0, :, 5:].set(0).at[1, 2:].set(0)
    parts = (slice(0, 1), slice(None), slice(0, 5)), (slice(1, 2), slice(0, 2), slice(None))
    for loss in (losses.l1, losses.l2):
        alone = [loss(output[part], target[part]) for part in parts]
        np.testing.assert_allclose(loss(output, target, valid), np.mean(alone), rtol=1e-6)


@pytest.mark.parametrize('name', losses.OBJECTIVES)
def test_terms_of_logits_are_those_of_the_valid_ones_alone(name):
    logits = 2 * noise(1, 4, 5, 1)
    valid = some((1, 4, 5, 1)).at[0, 0, 0, 0].set(1)
    chosen = logits[valid > 0].reshape(1, -1, 1, 1)
    gan = losses.objective(name)
    for function in (gan.real, gan.fake, gan.generator):
        expected = losses.mean(function(chosen))
        np.testing.assert_allclose(losses.mean(function(logits), valid), expected, rtol=1e-6)


def test_an_image_without_valid_pixels_adds_nothing():
    """So that another device, which has it alone, changes nothing."""
    output, target = noise(2, 4, 4, 1), noise(2, 4, 4, 1, seed=1)
    valid = jnp.ones((2, 4, 4, 1)).at[1].set(0)
    of_each = [losses.l1(*(x[i : i + 1] for x in (output, target, valid))) for i in (0, 1)]
    assert of_each[1] == 0
    np.testing.assert_allclose(losses.l1(output, target, valid), np.mean(of_each), rtol=1e-6)


@pytest.mark.parametrize(
    'layers, padding', [(0, 1), (1, 1), (2, 1), (2, 2), (1, 'SAME'), (2, 'SAME')]
)
def test_a_logit_counts_that_sees_a_valid_pixel(layers, padding):
    """Against the convolutions themselves, with kernels of ones."""
    valid = jnp.zeros((3, 68, 64, 1)).at[0, 3, 57].set(1).at[1, 60:, :2].set(1)
    seen, found = valid, patchgan.seen(valid, layers, padding)
    for (kernel, stride, pad), layer in zip(patchgan.convolutions(layers, padding), found):
        pads = pad if isinstance(pad, str) else [(pad, pad)] * 2
        seen = jax.lax.conv_general_dilated(
            seen, jnp.ones((kernel, kernel, 1, 1)), (stride, stride), pads,
            dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
        )  # fmt: skip
        np.testing.assert_array_equal(layer, (seen > 0.5).astype(np.float32))
    logits = found[-1]
    assert logits[2].sum() == 0 < logits[0].sum() < logits[0].size


# ---------------------------------------------------------------- a step


def config_of(**fields):
    return validate(changed(**{
        'image_size': (SIDE, SIDE), 'batch_size': 2, 'num_steps': 4, 'generator.width': 2,
        'generator.depth': 2, 'discriminator.width': 4, 'discriminator.layers': 1,
        'generator.dropout': 0.0, 'loss.l2_weight': 1.0,
    } | fields))  # fmt: skip


def batch_of(valid=None):
    batch = {
        'input': noise(2, SIDE, SIDE, 3),
        'target': noise(2, SIDE, SIDE, 3, seed=1),
        'index': jnp.arange(2),
    }
    return batch if valid is None else batch | {'valid': valid}


@functools.cache
def stepper(**fields):
    config = config_of(**fields)
    state, _ = initial_state(config, jax.devices()[:1], total_steps=4)
    step = functools.partial(train_step.train_step, config=config, axis_name=None)
    return config, state, jax.jit(step)


def leaves(state):
    return jax.tree.leaves((state.generator.params, state.discriminator.params))


VALID = jnp.ones((2, SIDE, SIDE, 1)).at[0, :20].set(0).at[1, 5:30, 3:].set(0)


@pytest.mark.parametrize('fields', [
    {'discriminator.augment': AUGMENT},
    {'loss.gan': 'wgan-gp', 'discriminator.norm': 'instance'},
])  # fmt: skip
def test_a_step_sees_nothing_of_what_is_masked_and_all_of_the_rest(fields):
    config, state, step = stepper(**fields)
    key = training_key(config)
    batch = batch_of(VALID)
    other = batch | {'target': jnp.where(VALID > 0, batch['target'], 7.0)}
    (a, first), (b, second) = (step(state, one, key) for one in (batch, other))
    assert first == second
    for x, y in zip(leaves(a), leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)

    fake = noise(2, SIDE, SIDE, 3, seed=2)
    of_fake = jax.jit(functools.partial(gradients.generator_gradient, config=config))
    gradient, _ = of_fake(state.discriminator, batch, fake, key)
    assert not (gradient * (1 - VALID)).any() and (gradient * VALID).any()

    whole, plain = batch_of(jnp.ones_like(VALID)), batch_of()
    _, found = step(state, whole, key)
    _, expected = step(state, plain, key)
    for name in expected:  # those of G are against a D that Adam's first step has moved: by signs
        atol = 1e-3 if name in ('g_gan', 'g_loss') else 0
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=atol, err_msg=name)

    after, metrics = step(state, batch_of(jnp.zeros_like(VALID)), key)
    assert {float(value) for value in metrics.values()} == {0}
    assert all(np.isfinite(leaf).all() for leaf in leaves(after))


def test_colours_change_before_the_mask_and_places_after_it():
    """All that is left of a masked image moves with it, whatever its colours."""
    keys = jax.random.split(jax.random.key(0), 2)
    image, valid = noise(2, 16, 16, 3), some((2, 16, 16, 1))
    x, changed_image = diff_augment(valid, image, keys, tuple(AUGMENT.split(',')), valid)
    assert not (changed_image * (1 - x)).any()
    _, garbage = diff_augment(
        valid, jnp.where(valid > 0, image, 9), keys, tuple(AUGMENT.split(',')), valid
    )
    np.testing.assert_array_equal(changed_image, garbage)


def test_without_masks_the_program_has_nothing_of_them():
    config, state, _ = stepper()
    trace = jax.make_jaxpr(functools.partial(train_step.train_step, config=config, axis_name=None))
    with_valid, without = (
        str(trace(state, batch, training_key(config))) for batch in (batch_of(VALID), batch_of())
    )
    assert 'reduce_window' in with_valid and 'reduce_window' not in without
