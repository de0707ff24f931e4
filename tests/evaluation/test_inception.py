"""InceptionV3 of FID beside pytorch-fid's, with random weights of the published names."""

import numpy as np
import pytest

from pix2pix_jax.evaluation import inception
from pix2pix_jax.interop.torch.pth import read_tensors

NEEDED = 'needs the extra bench'
# Of pytorch-fid 0.3.0 with torch 2.13, for the weights and images here: mean and standard deviation
# of all features, and three of them.
RECORDED = (1.160597, 1.497866, 2.312812, 1.102859, 4.110562)


@pytest.fixture(scope='module')
def tensors():
    """Random weights that keep activations at their size."""
    rng = np.random.default_rng(0)
    found = {}
    for name, shape in inception.shapes().items():
        scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
        found[name] = (scale * rng.standard_normal(shape, np.float32)).astype(np.float32)
        if name.endswith(('bn.weight', 'running_var')):
            found[name] = 1 + np.abs(found[name])
    return found


@pytest.fixture(scope='module')
def variables(tensors):
    return inception.variables(tensors)


@pytest.fixture(scope='module')
def images():
    return np.random.default_rng(1).uniform(-1, 1, (3, 24, 36, 3)).astype(np.float32)


@pytest.fixture(scope='module')
def features(variables, images):
    return inception.features(variables, images, batch_size=2)


def close(actual, wanted):
    np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).mean())


def test_it_has_the_parameters_of_inception_v3():
    # torchvision's inception_v3 without its auxiliary and its last layer: 23,834,568 - 2,049,000
    shapes = inception.shapes()
    learned = [n for n in shapes if 'running' not in n and not n.startswith('fc.')]
    assert sum(np.prod(shapes[name]) for name in learned) == 21_785_568
    assert shapes['Mixed_6c.branch7x7_2.conv.weight'] == (160, 160, 1, 7)
    assert shapes['Conv2d_1a_3x3.bn.running_var'] == (32,)
    assert shapes['fc.weight'] == (1008, 2048)  # torchvision's has 1000 classes


def test_features_are_those_that_pytorch_fid_gave(features):
    actual = [features.mean(), features.std(), *features[[0, 1, 2], [0, 777, 2047]]]
    np.testing.assert_allclose(actual, RECORDED, rtol=1e-5)


def test_an_images_features_do_not_depend_on_the_others(variables, images, features):
    assert features.shape == (3, 2048) and features.dtype == np.float32
    close(inception.features(variables, images[[2, 0]], batch_size=2), features[[2, 0]])
    close(inception.features(variables, images[2:], batch_size=2), features[2:])
    assert np.abs(features[0] - features[1]).max() > 0.01


def test_resize_is_linear_between_pixel_centres():
    def linear(image):  # along the first axis
        places = np.clip((np.arange(299) + 0.5) * len(image) / 299 - 0.5, 0, len(image) - 1)
        low = np.minimum(places.astype(int), len(image) - 2)
        part = (places - low).reshape(-1, 1, 1)
        return (1 - part) * image[low] + part * image[low + 1]

    for size in ((7, 12), (700, 299), (299, 299)):
        image = np.random.default_rng(0).uniform(-1, 1, (*size, 3)).astype(np.float32)
        wanted = linear(linear(image).swapaxes(0, 1)).swapaxes(0, 1)
        np.testing.assert_allclose(
            inception.resize(image[None])[0], wanted, atol=2e-4
        )  # places in float32
    np.testing.assert_array_equal(inception.resize(image[None])[0], image)


def test_features_are_pytorch_fids(tensors, variables, images, features, tmp_path, monkeypatch):
    torch = pytest.importorskip('torch', reason=NEEDED)
    reference = pytest.importorskip('pytorch_fid.inception', reason=NEEDED)
    path = tmp_path / 'weights.pth'
    written = tensors | {'fc.bias': np.zeros(inception.CLASSES, np.float32)}  # beside what is read
    torch.save({name: torch.from_numpy(value) for name, value in written.items()}, path)
    monkeypatch.setattr(
        reference,
        'load_state_dict_from_url',
        lambda *args, **kwargs: torch.load(path, weights_only=True),
    )
    network = reference.InceptionV3().eval()  # checks all names and shapes

    def wanted(images):
        with torch.no_grad():
            batch = torch.from_numpy((images.transpose(0, 3, 1, 2) + 1) / 2)
            return network(batch)[0].numpy()[:, :, 0, 0]

    read = read_tensors(path)
    assert all((read[name] == tensors[name]).all() for name in inception.shapes())
    close(features, wanted(images))
    large = np.random.default_rng(2).uniform(-1, 1, (2, 400, 310, 3)).astype(np.float32)
    close(inception.features(variables, large, batch_size=2), wanted(large))
