"""Networks with weights drawn here: their images, outputs and sizes."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from pix2pix_jax.config import default_config, validate
from pix2pix_jax.models.factory import create_models
from pix2pix_jax.workdir.config_json import to_json


def initial(model, x, seed=0):
    """Random weights, large enough that every layer shows in the output."""
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False, noise=False))
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        noise = jnp.array(rng.normal(size=leaf.shape), jnp.float32)
        name = path[-1].key
        fan_in = np.sqrt(np.prod(leaf.shape[:2]) * max(leaf.shape[-2:])) if leaf.ndim == 4 else 1
        return {
            'kernel': 1.5 * noise / fan_in,
            'scale': 1 + 0.1 * noise,
            'var': 1 + np.abs(noise),
        }.get(name, 0.1 * noise)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def run(model, variables, x, **kwargs):
    """The output; moving statistics that change are dropped."""
    apply = functools.partial(model.apply, mutable=['batch_stats'], **kwargs)
    rngs = {'dropout': jax.random.key(7)}
    return jax.jit(lambda v, x: apply(v, x, rngs=rngs)[0])(variables, x)


def images(n=2, height=8, width=8, seed=0):
    x = np.random.default_rng(seed).uniform(-1, 1, (n, height, width, 3))
    return jnp.array(x, jnp.float32)


def model_of(**fields):
    config = default_config()
    config.update_from_flattened_dict({'loss.gan': 'none'} | fields)
    return create_models(validate(config), 'gpu').generator


def count(tree):
    return sum(np.prod(leaf.shape, dtype=int) for leaf in jax.tree.leaves(tree))


def intermediates(model, variables, x, **kwargs):
    """The outputs of all modules by name."""
    apply = functools.partial(
        model.apply, capture_intermediates=True, mutable=['intermediates', 'batch_stats'], **kwargs
    )
    rngs = {'dropout': jax.random.key(7)}
    captured = jax.jit(lambda v, x: apply(v, x, rngs=rngs)[1]['intermediates'])(variables, x)
    return {name: value['__call__'][0] for name, value in captured.items() if name != '__call__'}


def once(make: Callable) -> Callable:
    """Returns `make` as a function that is called once for each config, and keeps what it gave.

    To trace and compile takes most of a test's time; what is kept must not be changed.
    """
    made = {}

    @functools.wraps(make)
    def get(config, *args):
        key = (to_json(config), *args)
        if key not in made:
            made[key] = make(config, *args)
        return made[key]

    return get
