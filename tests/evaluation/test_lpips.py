"""LPIPS beside the package lpips, with its heads and a random AlexNet."""

import pathlib

import numpy as np
import pytest
from helpers.lpips_weights import drawn

from pix2pix_jax.evaluation import lpips
from pix2pix_jax.interop.torch.pth import read_tensors
from pix2pix_jax.models.lpips import SCALE, SHIFT, backbone_shapes, head_shapes

NEEDED = 'needs the extra bench'


@pytest.fixture(scope='module')
def weights():
    return drawn()


def images(count=3, size=(40, 52), seed=1):
    rng = np.random.default_rng(seed)
    target = rng.uniform(-1, 1, (count, *size, 3))
    return np.clip(target + 0.5 * rng.normal(size=target.shape), -1, 1), target


def distance(*arguments):
    return lpips.distance(*arguments, batch_size=2)


def brute_force(weights, output, target):
    """The distance of two images (H,W,3), in numpy and float64, place by place."""

    def conv(x, kernel, bias, stride):
        out, _, k, _ = kernel.shape
        pad = 2 if k == 11 else k // 2
        x = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), (0, 1))[::stride, ::stride]
        return np.maximum(np.einsum('hwikl,oikl->hwo', windows, kernel) + bias, 0)

    def pool(x):
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (0, 1))[::2, ::2]
        return windows.max((-2, -1))

    total = 0
    a, b = ((x - SHIFT) / SCALE for x in (output, target))
    for i, number in enumerate((0, 3, 6, 8, 10)):
        layer = [weights[f'features.{number}.{part}'] for part in ('weight', 'bias')]
        if number in (3, 6):
            a, b = pool(a), pool(b)
        a, b = (conv(x, *layer, 4 if number == 0 else 1) for x in (a, b))
        unit = [x / (np.sqrt((x**2).sum(-1, keepdims=True)) + 1e-10) for x in (a, b)]
        square = (unit[0] - unit[1]) ** 2
        total += (square @ weights[f'lin{i}.model.1.weight'].reshape(-1)).mean()
    return total


def test_it_is_the_published_formula(weights):
    output, target = images(2, (35, 48))
    wanted = [brute_force(weights, *pair) for pair in zip(output, target)]
    np.testing.assert_allclose(distance(weights, output, target), wanted, rtol=1e-5)


def test_equal_images_are_at_0_and_closer_ones_closer(weights):
    output, target = images()
    np.testing.assert_array_equal(distance(weights, target, target), [0, 0, 0])
    far = distance(weights, output, target)
    near = distance(weights, 0.1 * output + 0.9 * target, target)
    assert far.shape == (3,) and far.dtype == np.float32 and (near > 0).all() and (near < far).all()
    np.testing.assert_allclose(distance(weights, target, output), far, rtol=1e-5)


def test_a_pairs_distance_does_not_depend_on_the_others(weights):
    output, target = images(5)
    together = distance(weights, output, target)
    alone = distance(weights, output[4:], target[4:])
    np.testing.assert_allclose(together[4:], alone, rtol=1e-5)


def test_images_that_it_cannot_compare(weights):
    distance(weights, *images(1, (31, 31)))
    for size in ((30, 40), (40, 30)):
        with pytest.raises(ValueError, match='31x31'):
            lpips.distance(weights, *images(1, size))
    with pytest.raises(ValueError, match='output is .* but target'):
        lpips.distance(weights, images(1)[0], images(2)[0])


def test_distances_are_the_packages(tmp_path, monkeypatch):
    torch = pytest.importorskip('torch', reason=NEEDED)
    reference = pytest.importorskip('lpips', reason=NEEDED)
    alexnet = reference.pretrained_networks.tv.alexnet(weights=None)
    monkeypatch.setattr(reference.pretrained_networks.tv, 'alexnet', lambda **kwargs: alexnet)
    network = reference.LPIPS(net='alex', verbose=False)
    kept = {k: v for k, v in alexnet.state_dict().items() if k.startswith('features')}
    torch.save(kept, tmp_path / 'alexnet.pth')
    heads = pathlib.Path(reference.__file__).parent / 'weights' / 'v0.1' / 'alex.pth'
    weights = read_tensors(tmp_path / 'alexnet.pth') | read_tensors(heads)
    shapes = backbone_shapes() | head_shapes()
    assert {name: value.shape for name, value in weights.items()} == shapes
    for size in ((64, 64), (97, 130)):
        pair = [x.astype(np.float32) for x in images(3, size)]
        with torch.no_grad():
            wanted = network(*(torch.from_numpy(x.transpose(0, 3, 1, 2)) for x in pair))
        np.testing.assert_allclose(
            distance(weights, *pair), wanted.numpy()[:, 0, 0, 0], rtol=1e-5, atol=1e-8
        )
