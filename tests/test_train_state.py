"""The initial state: how kernels and norms start, the overrides, the average, the seed."""

import jax
import numpy as np
import pytest

from pix2pix_jax.config import default_config, validate
from pix2pix_jax.errors import UserError
from pix2pix_jax.models.factory import create_models
from pix2pix_jax.optimizers import create_optimizers
from pix2pix_jax.train_state import create_state


def state_of(**fields):
    config = default_config()
    config.image_size = (32, 32)
    config.generator.width = config.discriminator.width = 8
    config.update_from_flattened_dict(fields)
    config = validate(config)
    return create_state(
        config, create_models(config, 'gpu'), create_optimizers(config.optimizer, 10, 1)
    )


def deviations(state):
    """The standard deviation of every kernel and norm scale, by layer."""
    params = state.generator.params | state.discriminator.params
    leaves = {name: leaf.get('kernel', leaf.get('scale')) for name, leaf in params.items()}
    return {name: float(np.std(leaf)) for name, leaf in leaves.items() if leaf.size > 300}


def test_kernels_start_at_their_scale_and_the_named_ones_at_theirs():
    plain = deviations(state_of())
    assert len(plain) > 10
    np.testing.assert_allclose(list(plain.values()), 0.02, rtol=0.15)
    other = deviations(
        state_of(**{'init.scale': 0.2, 'init.overrides': 'up[1-7]=0.05,logits=0.1,conv3=0.3'})
    )
    named = {'logits': 0.1, 'conv3': 0.3} | {f'up{i}': 0.05 for i in range(1, 8)}
    for name, deviation in other.items():
        np.testing.assert_allclose(deviation, named.get(name, 0.2), rtol=0.15, err_msg=name)
        # The same draw, scaled.
        np.testing.assert_allclose(deviation / plain[name], named.get(name, 0.2) / 0.02, rtol=1e-4)


def test_an_override_of_no_layer_is_refused_with_the_layers():
    with pytest.raises(UserError, match='no layer is named up9; there are conv0.*up1'):
        state_of(**{'init.overrides': 'up9=0.1'})
    # Without a discriminator its layers may still be named, as a config of both does.
    state_of(**{'init.overrides': 'up1=0.1,logits=0.1', 'loss.gan': 'none'})


def test_norm_scales_start_about_one():
    for deviation in (0.0, 0.3):
        state = state_of(**{'init.norm_scale': deviation})
        scales = [v['scale'] for v in state.generator.params.values() if 'scale' in v]
        scales = np.concatenate(scales)
        assert abs(scales.mean() - 1) < 0.1
        np.testing.assert_allclose(scales.std(), deviation, rtol=0.2, atol=1e-7)


def test_the_average_starts_at_the_weights_in_buffers_of_its_own():
    assert state_of().ema is None
    state = state_of(ema_decay=0.9)
    jax.tree.map(np.testing.assert_array_equal, state.ema, state.generator.params)
    for a, b in zip(jax.tree.leaves(state.ema), jax.tree.leaves(state.generator.params)):
        assert a.unsafe_buffer_pointer() != b.unsafe_buffer_pointer()


def test_variables_are_the_averages_where_there_are_any():
    state = state_of(ema_decay=0.9)
    state = state.replace(ema=jax.tree.map(lambda p: p + 1, state.ema))
    assert state.generator_variables()['params'] is state.ema
    assert state.generator_variables(ema=False)['params'] is state.generator.params
    assert state.replace(ema=None).generator_variables()['params'] is state.generator.params
