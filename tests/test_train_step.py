"""The step against a plain one, written out with one gradient a loss."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.networks import once
from ml_collections import ConfigDict, FrozenConfigDict

from pix2pix_jax.config import default_config, validate
from pix2pix_jax.critic import discriminate, example_keys, stream, view
from pix2pix_jax.diff_augment import diff_augment
from pix2pix_jax.gradients import discriminator_gradients
from pix2pix_jax.models.factory import create_models
from pix2pix_jax.optimizers import Optimizers
from pix2pix_jax.train_state import create_state, training_key
from pix2pix_jax.train_step import generate, train_step

METRICS = {'d_loss', 'd_real', 'd_fake', 'g_loss', 'g_gan', 'g_l1', 'g_l2'}
RATE = 0.1


def config_of(**fields):
    config = default_config()
    config.image_size, config.batch_size = (8, 8), 2
    config.generator.depth, config.generator.width, config.generator.dropout = 2, 2, 0.0
    config.discriminator.layers, config.discriminator.width = 1, 2
    config.init.scale = 0.3
    config.update_from_flattened_dict(fields)
    return validate(config)


def make_state(config, optimizer=None):
    models = create_models(config, 'gpu')
    # Gradient descent: the updates are the gradients, which Adam's first step would hide.
    optimizer = optimizer or optax.sgd(RATE)
    optimizers = Optimizers(optimizer, optimizer, optax.constant_schedule(RATE))
    return jax.jit(lambda: create_state(config, models, optimizers))()


state_of = once(make_state)


def batch_of(n=2, seed=0):
    rng = np.random.default_rng(seed)
    draw = functools.partial(rng.uniform, -1, 1, (n, 8, 8, 3))
    images = {name: jnp.array(draw(), jnp.float32) for name in ('input', 'target')}
    return {**images, 'index': jnp.arange(n)}


@once
def jitted(config):
    return jax.jit(functools.partial(train_step, config=config, axis_name=None))


def plain_step(state, batch, config):
    """Paper, section 3.3: two losses, two gradients, two updates; the losses are spelled out."""
    g, d = state.generator, state.discriminator
    x, y = batch['input'], batch['target']

    def translate(params):
        variables = {'params': params, 'batch_stats': g.batch_stats}
        return g.apply_fn(variables, x, train=True, mutable=['batch_stats'])

    def judge(params, stats, image):
        seen = jnp.concatenate([x, image], -1) if config.discriminator.conditional else image
        variables = {'params': params, 'batch_stats': stats}
        return d.apply_fn(variables, seen, mutable=['batch_stats'])

    def real_and_fake(params):
        fake, _ = translate(g.params)
        on_fake, stats = judge(params, d.batch_stats, fake)
        on_real, stats = judge(params, stats['batch_stats'], y)
        if config.loss.gan == 'vanilla':
            real = -jnp.log(jax.nn.sigmoid(on_real)).mean()
            fake = -jnp.log(1 - jax.nn.sigmoid(on_fake)).mean()
        elif config.loss.gan == 'hinge':
            real = jnp.maximum(0, 1 - on_real).mean()
            fake = jnp.maximum(0, 1 + on_fake).mean()
        else:
            real, fake = ((on_real - 1) ** 2).mean(), (on_fake**2).mean()
        return real, fake, stats['batch_stats']

    def d_loss(params):
        real, fake, _ = real_and_fake(params)
        return config.loss.d_weight * (real + fake)

    d_params = descend(d.params, jax.grad(d_loss)(d.params))
    alternating = config['update'] == 'alternating'
    critic = d_params if alternating else d.params
    critic_stats = real_and_fake(d.params)[2] if alternating else d.batch_stats

    def g_terms(params):
        fake, _ = translate(params)
        l1, l2 = jnp.abs(y - fake).mean(), ((y - fake) ** 2).mean()
        logits, _ = judge(critic, critic_stats, fake)
        gan = {
            'vanilla': -jnp.log(jax.nn.sigmoid(logits)).mean(),
            'lsgan': ((logits - 1) ** 2).mean(),
            'hinge': -logits.mean(),
        }[config.loss.gan]
        return gan, l1, l2

    def g_loss(params):
        gan, l1, l2 = g_terms(params)
        weights = config.loss
        return weights.gan_weight * gan + weights.l1_weight * l1 + weights.l2_weight * l2

    real, fake, d_stats = real_and_fake(d.params)
    gan, l1, l2 = g_terms(g.params)
    return {
        'g': descend(g.params, jax.grad(g_loss)(g.params)),
        'd': d_params,
        'g_stats': translate(g.params)[1]['batch_stats'],
        'd_stats': d_stats,
        'metrics': {'d_real': real, 'd_fake': fake, 'd_loss': d_loss(d.params), 'g_gan': gan,
                    'g_l1': l1, 'g_l2': l2, 'g_loss': g_loss(g.params)},
    }  # fmt: skip


def descend(params, gradient):
    return jax.tree.map(lambda p, g: p - RATE * g, params, gradient)


def as_plain(state, metrics):
    g, d = state.generator, state.discriminator
    return {
        'g': g.params,
        'd': d.params,
        'g_stats': g.batch_stats,
        'd_stats': d.batch_stats,
        'metrics': metrics,
    }


def assert_close(a, b, tolerance=1e-5):
    def check(a, b):
        a, b = np.asarray(a), np.asarray(b)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1, np.abs(b).max()))

    jax.tree.map(check, a, b)


def difference(a, b):
    """The largest difference between two trees."""
    return max(jax.tree.leaves(jax.tree.map(lambda a, b: float(np.abs(a - b).max()), a, b)))


@pytest.mark.parametrize('fields', [
    {},
    {'update': 'simultaneous', 'loss.l2_weight': 5.0},
    {'loss.gan': 'lsgan', 'loss.d_weight': 1.0, 'loss.gan_weight': 3.0, 'loss.l1_weight': 7.0},
    {'discriminator.conditional': False, 'generator.norm': 'none', 'discriminator.norm': 'none'},
    {'loss.gan': 'hinge', 'generator.name': 'encoder_decoder', 'generator.upsample': 'resize'},
    {'remat': True, 'generator.norm': 'instance'},
], ids=lambda fields: next(iter(fields.values()), 'paper'))  # fmt: skip
def test_a_step_is_the_plain_one(fields):
    config = config_of(**{'loss.l1_weight': 2.0} | fields)
    state, batch = state_of(config), batch_of()
    expected = jax.jit(functools.partial(plain_step, config=config))(state, batch)
    new, metrics = jitted(config)(state, batch, training_key(config))
    assert set(metrics) == METRICS
    assert_close(as_plain(new, metrics), expected)
    assert int(new.step) == int(new.discriminator.step) == 1
    # The comparison can fail: both networks moved, by more than the tolerance.
    assert difference(new.generator.params, state.generator.params) > 1e-2
    assert difference(new.discriminator.params, state.discriminator.params) > 1e-3


def test_the_orders_differ_in_what_g_sees():
    """G against the updated D or against the old one; D's own update is the same."""
    results = {}
    for order in ('alternating', 'simultaneous'):
        config = config_of(**{'update': order, 'loss.l1_weight': 0.0})
        results[order] = jitted(config)(state_of(config), batch_of(), training_key(config))
    (a, a_metrics), (s, s_metrics) = results.values()
    assert_close(a.discriminator.params, s.discriminator.params)
    assert difference(a.generator.params, s.generator.params) > 1e-4
    for name in ('d_loss', 'd_real', 'd_fake', 'g_l1'):
        np.testing.assert_allclose(a_metrics[name], s_metrics[name], rtol=1e-5)
    assert abs(a_metrics['g_gan'] - s_metrics['g_gan']) > 1e-4


def test_no_weight_of_the_others_loss_moves_a_network():
    """D's update does not depend on G's weights of the loss, nor G's on D's before its step."""
    base = config_of(update='simultaneous')
    other = config_of(**{'update': 'simultaneous', 'loss.gan_weight': 9.0, 'loss.l1_weight': 1.0})
    halved = config_of(**{'update': 'simultaneous', 'loss.d_weight': 0.25})
    state, batch, key = state_of(base), batch_of(), training_key(base)
    new, of_other, of_halved = (jitted(c)(state, batch, key)[0] for c in (base, other, halved))
    assert_close(new.discriminator.params, of_other.discriminator.params)
    assert difference(new.generator.params, of_other.generator.params) > 1e-3
    assert_close(new.generator.params, of_halved.generator.params)
    assert difference(new.discriminator.params, of_halved.discriminator.params) > 1e-3


def test_without_a_gan_there_is_no_discriminator():
    config = config_of(**{'loss.gan': 'none', 'loss.l1_weight': 10.0})
    state = state_of(config)
    assert state.discriminator is None
    new, metrics = jitted(config)(state, batch_of(), training_key(config))
    assert new.discriminator is None and int(new.step) == 1
    assert set(metrics) == {'g_loss', 'g_l1', 'g_l2'}
    np.testing.assert_allclose(metrics['g_loss'], 10 * metrics['g_l1'], rtol=1e-6)


def test_jit_changes_nothing_and_the_old_state_stays():
    fields = {'generator.norm': 'none', 'discriminator.norm': 'none', 'discriminator.layers': 0}
    config = config_of(**{'generator.dropout': 0.5} | fields)  # few operators: eager is slow
    state, batch, key = state_of(config), batch_of(), training_key(config)
    before = jax.tree.map(np.array, state)
    compiled = jitted(config)(state, batch, key)
    eager = train_step(state, batch, key, config=config, axis_name=None)
    assert_close(as_plain(*compiled), as_plain(*eager))
    jax.tree.map(np.testing.assert_array_equal, state, before)


@pytest.fixture(scope='module')
def noisy():
    """A step with dropout, its state, a batch of two equal pairs, and its key."""
    config = config_of(**{'generator.dropout': 0.5, 'loss.gan': 'none'})
    batch = batch_of()
    for name in ('input', 'target'):
        batch[name] = jnp.repeat(batch[name][:1], 2, axis=0)
    return jitted(config), state_of(config), batch, training_key(config)


def test_a_step_is_a_function_of_state_batch_and_key(noisy):
    step, state, batch, key = noisy
    a, b = step(state, batch, key), step(state, batch, key)
    jax.tree.map(np.testing.assert_array_equal, a, b)
    other = step(state, batch, jax.random.fold_in(key, 1))
    assert abs(a[1]['g_l1'] - other[1]['g_l1']) > 1e-5


def test_every_step_has_its_own_noise(noisy):
    """The same weights and key at another step number."""
    step, state, batch, key = noisy
    losses = []
    for number in range(3):
        at = state.replace(generator=state.generator.replace(step=jnp.int32(number)))
        losses.append(float(step(at, batch, key)[1]['g_l1']))
    assert len(set(losses)) == 3


def test_the_state_is_a_function_of_the_seed():
    config = config_of()
    a, b = state_of(config), make_state(config)
    jax.tree.map(np.testing.assert_array_equal, a.generator.params, b.generator.params)
    jax.tree.map(np.testing.assert_array_equal, a.discriminator.params, b.discriminator.params)
    other = state_of(config_of(seed=1))
    assert difference(a.generator.params, other.generator.params) > 0.1
    assert difference(a.discriminator.params, other.discriminator.params) > 0.1
    # No two networks, and no two steps, share a stream.
    keys = [jax.random.key_data(training_key(config_of(seed=seed))) for seed in (0, 1)]
    assert (keys[0] != keys[1]).any()


def test_twenty_steps_reduce_the_l1_loss():
    config = config_of(**{'loss.gan': 'none', 'loss.l1_weight': 100.0})
    state, batch, key = state_of(config, optax.adam(2e-2)), batch_of(1), training_key(config)
    batch['target'] = batch['input'] * 0.5
    step, losses = jitted(config), []
    for _ in range(20):
        state, metrics = step(state, batch, key)
        losses.append(float(metrics['g_l1']))
    assert losses[-1] < 0.5 * losses[0]
    assert int(state.step) == 20


def test_bfloat16_keeps_losses_and_weights_in_float32():
    features = {'loss.feature_weight': 10.0}
    full, low = config_of(**features), config_of(**features, dtype='bfloat16')
    state, batch, key = state_of(full), batch_of(), training_key(full)
    low_state = state_of(low)
    jax.tree.map(np.testing.assert_array_equal, state.generator.params, low_state.generator.params)
    expected = jitted(full)(state, batch, key)[1]
    new, metrics = jitted(low)(low_state, batch, key)
    floats = [v for v in jax.tree.leaves((new, metrics)) if v.dtype != jnp.int32]
    assert all(v.dtype == jnp.float32 for v in floats)
    for name in {*METRICS, 'g_features'}:
        np.testing.assert_allclose(metrics[name], expected[name], rtol=0.05, atol=0.01)


def test_wgan_gp_adds_the_penalty_to_the_discriminators_loss():
    fields = {'loss.gan': 'wgan-gp', 'discriminator.norm': 'instance', 'loss.d_weight': 0.7}
    config = config_of(**fields, **{'loss.gp_weight': 3.0})
    state, batch, key = state_of(config), batch_of(), training_key(config)
    new, metrics = jitted(config)(state, batch, key)
    expected = 0.7 * (metrics['d_real'] + metrics['d_fake'] + 3 * metrics['d_gp'])
    np.testing.assert_allclose(metrics['d_loss'], expected, rtol=1e-5)
    # Its gradient counts: by finite differences of the penalty alone, along D's update.
    alone = config_of(**fields, **{'loss.gp_weight': 1e4})
    new, _ = jitted(alone)(state, batch, key)
    direction = jax.tree.map(
        lambda a, b: (b - a) / RATE, state.discriminator.params, new.discriminator.params
    )

    @jax.jit
    def penalty_at(size):
        params = jax.tree.map(lambda p, v: p + size * v, state.discriminator.params, direction)
        d = state.discriminator.replace(params=params)
        fake, _ = generate(
            state.generator,
            state.generator.params,
            batch,
            jax.random.fold_in(key, 0),
            config,
        )
        step_key = jax.random.fold_in(key, 0)
        return discriminator_gradients(d, batch, fake, step_key, config)[1][1]['d_gp']

    squared = sum(float((v**2).sum()) for v in jax.tree.leaves(direction))
    size = 1e-2 / squared**0.5
    slope = (penalty_at(size) - penalty_at(-size)) / (2 * size)
    np.testing.assert_allclose(slope, -squared / (0.7 * 1e4), rtol=0.05)


def test_every_step_of_d_has_its_own_part_of_the_batch_and_g_the_last():
    """Two D steps on parts a, b are a D step on a, then a whole step on b."""
    two, one = (config_of(**{'optimizer.d_steps': n}) for n in (2, 1))
    state, parts = state_of(two), [batch_of(seed=seed) for seed in (0, 1)]
    batch = {k: jnp.concatenate([part[k] for part in parts]) for k in parts[0]}
    new, metrics = jitted(two)(state, batch, training_key(two))
    after_a, _ = jitted(one)(state, parts[0], training_key(one))
    # G as it was, with no statistics of part a; there is no dropout, so keys do not matter.
    between = state.replace(discriminator=after_a.discriminator)
    expected, expected_metrics = jitted(one)(between, parts[1], training_key(one))
    assert_close(as_plain(new, metrics), as_plain(expected, expected_metrics))
    assert int(new.discriminator.step) == 2 and int(new.step) == 1


@pytest.mark.parametrize('done', [0, 3, 1000])
def test_the_averages_follow_weights_and_statistics_the_faster_the_earlier(done):
    """Of step n from 1 they keep (1 + n) / (10 + n), and at most the decay."""
    config = config_of(ema_decay=0.75)
    state = state_of(config)
    state = state.replace(generator=state.generator.replace(step=jnp.int32(done)))
    new, _ = jitted(config)(state, batch_of(), training_key(config))
    n = done + 1
    keep = min(0.75, (1 + n) / (10 + n))
    old, after = state.generator, new.generator
    for average, before, now in (
        (new.ema, old.params, after.params),
        (new.ema_batch_stats, old.batch_stats, after.batch_stats),
    ):
        assert difference(average, before) > 1e-3
        expected = jax.tree.map(lambda a, b: keep * a + (1 - keep) * b, before, now)
        assert_close(average, expected, 1e-6)
    variables = new.generator_variables()
    assert variables == {'params': new.ema, 'batch_stats': new.ema_batch_stats}


def test_training_does_not_see_the_averages():
    config = config_of(ema_decay=0.75)
    new, _ = jitted(config)(state_of(config), batch_of(), training_key(config))
    plain, _ = jitted(config_of())(state_of(config_of()), batch_of(), training_key(config))
    assert plain.ema is None and plain.ema_batch_stats is None
    assert plain.generator_variables() == plain.generator.variables
    assert_close(new.generator.params, plain.generator.params)


def test_remat_keeps_less_for_the_backward_pass():
    fields = {'image_size': (64, 64), 'generator.depth': 4, 'generator.width': 16}
    sizes = []
    for remat in (False, True):
        config = config_of(**fields, remat=remat)
        g = jax.eval_shape(lambda config=config: make_state(config)).generator
        x = jax.ShapeDtypeStruct((2, 64, 64, 3), np.float32)

        def kept(g, x, config=config):
            def fake(params):
                batch = {'input': x, 'index': jnp.arange(2)}
                return generate(g, params, batch, jax.random.key(0), config)[0]

            return jax.vjp(fake, g.params)[1]

        leaves = jax.tree.leaves(jax.eval_shape(kept, g, x))
        sizes.append(sum(np.prod(leaf.shape) for leaf in leaves))
    assert sizes[1] < 0.8 * sizes[0]


@pytest.mark.parametrize('conditional', [True, False])
def test_d_sees_what_is_augmented(conditional):
    augment = ('color', 'translation', 'cutout')
    fields = {'discriminator.conditional': conditional, 'discriminator.norm': 'none'}
    config, plain = (
        config_of(**fields, **{'discriminator.augment': ','.join(augment)}),
        config_of(**fields),
    )
    state, batch, key = state_of(config), batch_of(), jax.random.key(3)
    d = state.discriminator

    def see(config, **images):
        seen = {**batch, **images}
        one = view(seen, seen['target'], 'view', key, config)
        return discriminate(d, d.variables, [one], config)[0].logits[0]

    keys = example_keys(stream(key, 'view'), batch)
    x, y = diff_augment(batch['input'], batch['target'], keys, augment)
    np.testing.assert_allclose(see(config), see(plain, input=x, target=y), rtol=1e-5, atol=1e-6)
    assert not np.allclose(see(config), see(plain))


def test_each_view_of_d_has_draws_of_its_own():
    """Real and generated images are augmented otherwise, and with another key otherwise again."""
    fields = {'loss.gan': 'hinge', 'discriminator.norm': 'none', 'init.scale': 0.02}
    plain = config_of(**fields)
    config = config_of(**fields, **{'discriminator.augment': 'color'})
    state, batch = state_of(config), batch_of()

    def terms(seed, config=config):
        step = functools.partial(discriminator_gradients, state.discriminator, batch)
        _, (_, metrics) = step(batch['target'], jax.random.key(seed), config)
        return metrics['d_real'], metrics['d_fake']  # 1 - and 1 + the mean of the small logits

    assert sum(terms(0, plain)) == pytest.approx(2, abs=1e-6)  # of one view
    (real, fake), again, (other, _) = terms(0), terms(0), terms(1)
    assert (real, fake) == again
    assert abs(real + fake - 2) > 1e-5 and abs(real - other) > 1e-5


@pytest.mark.parametrize('kind', [ConfigDict, FrozenConfigDict])
def test_the_update_order_is_the_fields_in_every_kind_of_config(kind):
    """`config.update` of a plain ConfigDict is its method, which is no order."""
    state, programs = state_of(config_of()), {}
    for order in ('alternating', 'simultaneous'):
        config = config_of(update=order)
        for given in (config, kind(config.to_dict())):
            step = functools.partial(train_step, config=given, axis_name=None)
            program = jax.make_jaxpr(step)(state, batch_of(), training_key(config))
            programs[order, type(given)] = re.sub('0x[0-9a-f]+', '', str(program))
        assert programs[order, type(config)] == programs[order, kind]
    assert len(set(programs.values())) == 2
