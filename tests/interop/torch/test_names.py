"""The names of the PyTorch networks' tensors: both ways exact, and those of the recordings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.reference import Recording

from pix2pix_jax.interop.torch.names import (
    discriminator_layers,
    from_state_dict,
    resnet_layers,
    to_state_dict,
    unet_layers,
)
from pix2pix_jax.models.norms import InstanceNorm, NoNorm
from pix2pix_jax.models.patchgan import PatchGAN
from pix2pix_jax.models.resnet import ResNet
from pix2pix_jax.models.unet import UNet

RECORDINGS = (
    'pytorch_unet256_patch70',
    'pytorch_unet128_patch70_lsgan_b2',
    'pytorch_resnet6_pixel_instance',
)
NORMS = {
    'batch': {},
    'instance': dict(norm=InstanceNorm, use_bias=True),
    'none': dict(norm=NoNorm, use_bias=False),
}


def variables_of(model, size=64, **call):
    """The shapes of a network's variables, computing nothing."""
    x = jnp.zeros((1, size, size, 3))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x, **call))
    return {'params': {}, 'batch_stats': {}} | shapes


def filled(variables):
    """Random numbers of these shapes."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), variables)


def networks():
    for norm, fields in NORMS.items():
        for depth in (2, 3, 6):
            net = UNet(depth=depth, width=2, dropout=0.0, **fields)
            yield pytest.param(net, unet_layers(depth), id=f'unet{depth}-{norm}')
        for blocks in (0, 6):
            net = ResNet(blocks=blocks, width=2, dropout=0.0, **fields)
            yield pytest.param(net, resnet_layers(blocks, blocks > 0), id=f'resnet{blocks}-{norm}')
        for layers in range(6):
            biases = {'bias': 'all' if fields.get('use_bias') else 'ends'}
            norms = {k: v for k, v in fields.items() if k == 'norm'}
            net = PatchGAN(layers=layers, width=2, **norms, **biases)
            yield pytest.param(net, discriminator_layers(layers), id=f'patchgan{layers}-{norm}')


@pytest.mark.parametrize('network, layers', networks())
def test_there_and_back_is_exact(network, layers):
    call = {} if isinstance(network, PatchGAN) else {'train': False, 'noise': False}
    variables = filled(variables_of(network, 96 if isinstance(network, PatchGAN) else 64, **call))
    tensors = to_state_dict(variables, layers, batches=7)
    back = from_state_dict(tensors, layers)
    assert jax.tree.structure(back) == jax.tree.structure(variables)
    jax.tree.map(np.testing.assert_array_equal, back, variables)
    again = to_state_dict(back, layers, batches=7)
    assert list(again) == list(tensors)
    for name, value in tensors.items():
        np.testing.assert_array_equal(again[name], value)
        assert again[name].dtype == value.dtype
    assert len(set(layers.values())) == len(layers)
    counts = [name for name in tensors if name.endswith('num_batches_tracked')]
    assert all(tensors[name].dtype == np.int64 and tensors[name] == 7 for name in counts)
    assert len(counts) == len(variables['batch_stats'])
    assert len(tensors) == len(jax.tree.leaves(variables)) + len(counts)


@pytest.mark.parametrize('prefix', ['G0', 'D0'])
@pytest.mark.parametrize('name', RECORDINGS)
def test_the_recorded_state_dicts_come_back_in_their_order(name, prefix):
    recording = Recording(name)
    tensors, layers = recording.state_dict(prefix), recording.layers(prefix)
    back = to_state_dict(from_state_dict(tensors, layers), layers, batches=0)
    assert list(back) == list(tensors)
    for key, value in tensors.items():
        np.testing.assert_array_equal(back[key], value)
        assert back[key].dtype == value.dtype


def test_kernels_are_turned_as_the_convolutions_read_them():
    kernel = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    variables = {'params': {'down0': {'kernel': kernel}, 'up0': {'kernel': kernel}}}
    tensors = to_state_dict(variables, unet_layers(2))
    assert set(tensors) == {'model.model.0.weight', 'model.model.3.weight'}
    for tensor in tensors.values():
        assert tensor.shape == (5, 4, 2, 3) and tensor[4, 3, 1, 2] == kernel[1, 2, 3, 4]


def test_a_dropout_takes_a_number_of_a_block():
    without, having = (resnet_layers(2, dropout)['block1_conv1'] for dropout in (False, True))
    assert (without, having) == ('model.11.conv_block.5', 'model.11.conv_block.6')


def test_a_variable_without_a_name_is_an_error():
    with pytest.raises(ValueError, match='no name for params/down2/kernel'):
        to_state_dict({'params': {'down2': {'kernel': np.zeros((1,) * 4)}}}, unet_layers(2))
    with pytest.raises(ValueError, match='no name for params/up1_norm/kernel'):
        to_state_dict({'params': {'up1_norm': {'kernel': np.zeros((1,) * 4)}}}, unet_layers(2))
