"""Types: what mypy is told to ignore, and shapes, which are checked in the tests alone."""

import ast
import pathlib
import re

import jax
import jax.numpy as jnp
import pytest
from jaxtyping import TypeCheckError

from pix2pix_jax import critic, losses
from pix2pix_jax.diff_augment import diff_augment
from pix2pix_jax.models import conv, dropout, norms, patchgan, resnet, unet

PACKAGE = pathlib.Path(__file__).parents[1] / 'pix2pix_jax'
IGNORES = 4  # lines that mypy leaves out; let it only fall
ROOT_MODULES = ('losses', 'train_step', 'flow', 'flow_step', 'diff_augment')
SHAPED = [
    *(PACKAGE / f'{name}.py' for name in ROOT_MODULES),
    *(PACKAGE / 'models').glob('*.py'),
]


def test_what_is_ignored_is_counted_and_named():
    lines = [line for path in PACKAGE.rglob('*.py') for line in path.read_text().splitlines()]
    ignored = [line for line in lines if re.search(r'# (type:|mypy:|pyright:)', line)]
    assert all(re.search(r'# type: ignore\[[a-z-]+\]', line) for line in ignored)
    assert len(ignored) == IGNORES
    assert not any('no_type_check' in line for line in lines)


def images(*shape):
    return jnp.zeros(shape)


KEY = jax.random.key(0)
KEYS = jax.random.split(KEY, 2)
NETWORK = unet.UNet(depth=1, width=1)


@pytest.mark.parametrize(
    'call',
    [
        # Would be broadcast: a number, of other pixels than meant.
        lambda: losses.l1(images(2, 4, 4, 3), images(2, 4, 4, 1)),
        lambda: losses.l2(images(2, 4, 4, 3), images(1, 4, 4, 3)),
        lambda: losses.gradient_penalty(jnp.sum, images(2, 4, 4, 3), images(2, 4, 4, 3), KEY),
        lambda: diff_augment(images(2, 4, 4, 3), images(2, 4, 4, 3), KEYS[:1], ('color',)),
        lambda: critic.stream(jax.random.PRNGKey(0), 'dropout'),  # no typed key
        lambda: critic.example_keys(KEYS, {'index': jnp.arange(2)}),
        lambda: conv.conv(images(1, 4, 4, 2), images(4, 4, 3, 1), 2, 1, 'native'),
        lambda: dropout.mask_numbers(images(2, 4, 4, 3), True, jnp.arange(3)),
        lambda: norms.NoNorm().apply({}, images(4, 4, 3), 'batch'),
        lambda: patchgan.PatchGAN().init(KEY, images(32, 32, 3)),
        lambda: resnet.ResNet().init(KEY, jnp.zeros((1, 8, 8, 3), jnp.uint8), False, noise=False),
        lambda: NETWORK.init(KEY, images(2, 4, 4, 3), True, examples=jnp.arange(3)),
    ],
)
def test_a_wrong_shape_or_type_is_an_error_in_the_tests(call):
    with pytest.raises(TypeCheckError, match='Type-check error'):
        call()


def test_a_wrong_shape_that_comes_out_is_an_error_in_the_tests():
    network = unet.UNet(depth=1, width=1, activation=lambda x: x[..., 0])
    with pytest.raises(TypeCheckError, match='return value'):
        network.init(KEY, images(2, 4, 4, 3), True)


def test_nothing_is_checked_in_production():
    text = '\n'.join(path.read_text() for path in PACKAGE.rglob('*.py'))
    assert not re.search(r'beartype|jaxtyped|import_hook', text)


def public(nodes):
    for node in nodes:
        if isinstance(node, ast.ClassDef):
            yield from public(node.body)
        elif isinstance(node, ast.FunctionDef) and (node.name == '__call__' or node.name[0] != '_'):
            yield node


def test_public_functions_say_the_shapes_of_their_arrays():
    """Of the modules that the tests check; functions that are passed in may be of any."""
    without = set()
    for path in SHAPED:
        for function in public(ast.parse(path.read_text()).body):
            arguments = function.args.args + function.args.kwonlyargs
            annotations = filter(None, (*(a.annotation for a in arguments), function.returns))
            text = ' '.join(map(ast.unparse, annotations))
            if 'jax.Array' in re.sub(r'Callable\[.*?\], \S+\]', '', text):
                without.add(f'{path.stem}.{function.name}')
    assert not without
