"""What D sees, augmented: alike for a pair, of an image's own draws, with gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pix2pix_jax.config import default_config, validate
from pix2pix_jax.config_fields import FIELDS
from pix2pix_jax.diff_augment import diff_augment
from pix2pix_jax.errors import UserError

N, SIDE = 64, 16
POLICIES = FIELDS['discriminator.augment'].allowed.words
KEYS = jax.random.split(jax.random.key(0), N)


def images(seed, channels=3):
    draw = np.random.default_rng(seed).uniform(0.1, 1, (N, SIDE, SIDE, channels))
    return jnp.asarray(draw, jnp.float32)


def test_without_policies_nothing_changes():
    x, image = images(0), images(1)
    for old, new in zip((x, image), diff_augment(x, image, KEYS, ())):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize('policy', ['translation', 'cutout'])
def test_a_pair_moves_together(policy):
    image = images(0)
    x, y = diff_augment(image[..., :2], image, KEYS, (policy,))
    np.testing.assert_array_equal(x, y[..., :2])
    assert len({view.tobytes() for view in np.asarray(y > 0)}) > N / 4  # draws of its own


def test_translations():
    image = images(0)
    _, moved = diff_augment(image, image, KEYS, ('translation',))
    most, shifts = round(SIDE / 8), set()
    for before, after in zip(np.asarray(image), np.asarray(moved)):
        padded = np.pad(before, [(most, most)] * 2 + [(0, 0)])
        found = [
            (i, j)
            for i in range(2 * most + 1)
            for j in range(2 * most + 1)
            if np.array_equal(after, padded[i : i + SIDE, j : j + SIDE])
        ]
        assert len(found) == 1
        shifts |= set(found)
    assert len(shifts) > 15 and {s for pair in shifts for s in pair} == set(range(2 * most + 1))


def test_cutouts():
    image = images(0)
    _, cut = diff_augment(image, image, KEYS, ('cutout',))
    holes = np.asarray(cut == 0).all(-1)
    np.testing.assert_array_equal(np.where(holes[..., None], 0, image), cut)
    for hole in holes:
        rows, columns = hole.any(1), hole.any(0)
        np.testing.assert_array_equal(hole, rows[:, None] & columns)
        assert SIDE / 4 <= rows.sum() <= SIDE / 2 and SIDE / 4 <= columns.sum() <= SIDE / 2
    assert holes.sum((1, 2)).max() == (SIDE // 2) ** 2


def test_a_pair_has_the_draws_of_its_key_wherever_it_lies():
    x, image = images(0), images(1)
    order = np.random.default_rng(0).permutation(N)[:7]
    whole = diff_augment(x, image, KEYS, POLICIES)
    some = diff_augment(x[order], image[order], KEYS[order], POLICIES)
    for a, b in zip(whole, some):
        np.testing.assert_allclose(a[order], b, atol=1e-6)


def test_colours_of_the_image_alone():
    x, image = images(0), images(1)
    same, changed = diff_augment(x, image, KEYS, ('color',))
    np.testing.assert_array_equal(same, x)
    changed, image = np.asarray(changed), np.asarray(image)
    # Affine in the pixel's gray and its difference from it: twice the number of images of slopes.
    gray, new_gray = image.mean(-1), changed.mean(-1)
    contrast = (new_gray - new_gray.mean((1, 2), keepdims=True)).std((1, 2)) / gray.std((1, 2))
    assert contrast.min() > 0.5 and contrast.max() < 1.5 and contrast.std() > 0.2
    chroma = (changed - new_gray[..., None]).std((1, 2, 3)) / (image - gray[..., None]).std(
        (1, 2, 3)
    )
    saturation = chroma / contrast
    assert 0 <= saturation.min() < 0.3 and 1.7 < saturation.max() < 2
    brightness = changed.mean((1, 2, 3)) - image.mean((1, 2, 3))
    assert np.abs(brightness).max() < 0.5 and brightness.std() > 0.2


def test_alpha_keeps_its_values():
    """Its share of the gray and of the mean would change the colours, and D see through images."""
    x, image = images(0), images(1, channels=4)
    _, colored = diff_augment(x, image, KEYS, ('color',))
    np.testing.assert_array_equal(colored[..., 3], image[..., 3])
    _, alone = diff_augment(x, image[..., :3], KEYS, ('color',))
    np.testing.assert_array_equal(colored[..., :3], alone)


def test_gradients_pass_and_jit_is_no_jit():
    x, image, keys = images(0)[:2], images(1)[:2], KEYS[:2]

    def total(image):
        return jnp.square(diff_augment(x, image, keys, POLICIES)[1]).sum()

    value, gradient = jax.value_and_grad(total)(image)
    np.testing.assert_allclose(jax.jit(total)(image), value, rtol=1e-6)
    direction = images(2)[:2]
    slope = (total(image + 1e-2 * direction) - total(image - 1e-2 * direction)) / 2e-2
    np.testing.assert_allclose(slope, (gradient * direction).sum(), rtol=1e-3)


@pytest.mark.parametrize('value', ['colour', 'color,', 'color,translation,cutout'])
def test_words(value):
    config = default_config()
    config.discriminator.augment = value
    if value == 'colour':
        with pytest.raises(
            UserError, match='config.discriminator.augment=.*color, translation, cu'
        ):
            validate(config)
    else:
        validate(config)
        config.discriminator.norm = 'none'
        for gan in ('none', 'wgan-gp'):
            config.loss.gan = gan
            with pytest.raises(UserError, match=f"allowed is '' where config.loss.gan='{gan}'"):
                validate(config)
