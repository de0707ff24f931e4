"""Networks from PyTorch and back: the recorded ones, and, where torch is there, whole networks."""

import functools
import importlib
import re
import sys

import jax
import numpy as np
import pytest
from helpers.reference import Recording
from helpers.runs import error_of

from pix2pix_jax.config import default_config, validate
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.inference.generator import Generator
from pix2pix_jax.inference.loaded_run import Run, state_shapes
from pix2pix_jax.interop.torch import convert
from pix2pix_jax.interop.torch.names import generator_layers, to_state_dict
from pix2pix_jax.interop.torch.state_dict_files import read_state_dict, write_state_dict
from pix2pix_jax.models.factory import create_models, generator_depth

RECORDINGS = (
    'pytorch_unet256_patch70',
    'pytorch_unet128_patch70_lsgan_b2',
    'pytorch_resnet6_pixel_instance',
)


@pytest.fixture
def port():
    """The networks in PyTorch."""
    pytest.importorskip('torch', reason='compares with PyTorch')
    return importlib.import_module('helpers.port')


@functools.cache
def recorded(name):
    return Recording(name)


def saved(tensors, folder, name='net.safetensors'):
    write_state_dict(folder / name, tensors)
    return folder / name


def run_of(path, size=()):
    """The generator in a file as a run without dropout."""
    network = convert.read_generator(path)
    config = convert.imported_config(network, image_size=size)
    state = convert.imported_state(config, network)
    return Run(config, int(state.step), 'last', state.generator_variables())


def same(found, wanted):
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def logits_of(discriminator, seen):
    apply = functools.partial(discriminator.apply_fn, mutable=['batch_stats'])
    return jax.jit(apply)(discriminator.variables, seen)


def inputs(size, channels, number=2):
    rng = np.random.default_rng(1)
    return rng.uniform(-1, 1, (number, *size, channels)).astype(np.float32)


# ---------------------------------------------------------------- recordings


@pytest.mark.parametrize('name', RECORDINGS)
def test_a_recorded_generator_translates_as_it_did_and_comes_back_exactly(tmp_path, name):
    recording = recorded(name)
    tensors, size = recording.state_dict('G0'), recording.meta['size']
    run = run_of(saved(tensors, tmp_path), (size,))
    x = recording.batch(0)['input']
    if recording.meta['batch'] == 1:
        fake = Generator(run.config, run.variables, dropout=False)(x)
    else:  # its norms had the statistics of the batch
        run.config.generator.dropout = 0.0
        net = create_models(run.config, 'cpu').generator
        apply = functools.partial(net.apply, train=True, mutable=['batch_stats'])
        fake, _ = jax.jit(apply)(run.variables, x)
    np.testing.assert_allclose(fake, recording.arrays['out/fake'], atol=1e-4)
    convert.write_generator(run, tmp_path / 'back.safetensors')
    same(read_state_dict(tmp_path / 'back.safetensors'), tensors)


@pytest.mark.parametrize('name', RECORDINGS)
def test_a_recorded_discriminator_sees_as_it_did(tmp_path, name):
    recording = recorded(name)
    generator, path = (
        saved(recording.state_dict(f'{net}0'), tmp_path, f'{net}.safetensors') for net in 'GD'
    )
    generator = convert.read_generator(generator)
    discriminator = convert.read_discriminator(path, generator)
    size = (recording.meta['size'],)
    config = convert.imported_config(generator, discriminator, size, gan=recording.meta['gan'])
    assert config.loss.gan == recording.meta['gan']
    d = convert.imported_state(config, generator, discriminator).discriminator
    for key, image in (('d_fake', recording.arrays['out/fake']), ('d_real', None)):
        pair = recording.batch(0)
        seen = np.concatenate([pair['input'], pair['target'] if image is None else image], -1)
        logits, _ = logits_of(d, seen)
        np.testing.assert_allclose(logits, recording.arrays[f'out/{key}'], atol=1e-4)


# ---------------------------------------------------------------- with PyTorch


@pytest.mark.parametrize('kind, fields, size', [
    ('unet', dict(depth=5, width=3), (32, 64)),
    ('unet', dict(depth=6, width=2, norm='instance', channels=(1, 3)), (128, 64)),
    ('unet', dict(depth=7, width=2, channels=(4, 1)), (128, 128)),
    ('unet', dict(depth=2, width=5, norm='none'), (8, 8)),
    ('resnet', dict(blocks=6, width=3), (16, 24)),
    ('resnet', dict(blocks=9, width=2, norm='instance', channels=(1, 4)), (24, 16)),
    ('resnet', dict(blocks=1, width=2, dropout=True), (16, 16)),
])  # fmt: skip
def test_a_generator_gives_the_same_image_in_both(port, tmp_path, kind, fields, size):
    import torch

    net = port.trained(getattr(port, kind)(**fields))
    for ending in ('.zip.pth', '.legacy.pth'):
        is_zip = ending == '.zip.pth'
        torch.save(
            net.state_dict(), tmp_path / f'net{ending}', _use_new_zipfile_serialization=is_zip
        )
    run, of_legacy = (run_of(tmp_path / f'net{form}.pth', size) for form in ('.zip', '.legacy'))
    jax.tree.map(np.testing.assert_array_equal, run.variables, of_legacy.variables)
    assert run.step == (40 if fields.get('norm', 'batch') == 'batch' else 0)
    wanted = {k: v.numpy() for k, v in net.state_dict().items()}
    for ending in ('.safetensors', '.pth'):
        convert.write_generator(run, tmp_path / f'back{ending}')
        same(read_state_dict(tmp_path / f'back{ending}'), wanted)
    again = getattr(port, kind)(**fields).eval()
    again.load_state_dict(torch.load(tmp_path / 'back.pth', weights_only=True), strict=True)

    x = inputs(size, fields.get('channels', (3, 3))[0])
    images = []
    for norm in ('running', 'image'):
        if norm == 'image':
            port.with_own_statistics(again)
        images.append(Generator(run.config, run.variables, norm=norm, dropout=False)(x))
        for image, ours in zip(x, images[-1]):
            with torch.no_grad():
                there = again(torch.from_numpy(image.transpose(2, 0, 1)[None].copy()))
            np.testing.assert_allclose(there[0].permute(1, 2, 0), ours, atol=1e-4)
    assert np.std(images[0]) > 0.05  # they are no grey
    if fields.get('norm', 'batch') == 'batch':
        assert np.abs(images[0] - images[1]).max() > 0.05


@pytest.mark.parametrize('layers, norm', [
    (0, 'batch'), (0, 'none'), (1, 'batch'), (2, 'instance'), (3, 'none'), (5, 'batch')
])  # fmt: skip
def test_a_discriminator_gives_the_same_logits(port, tmp_path, layers, norm):
    import torch

    seen, size = (4, 96) if layers == 1 else (3, 96)
    channels = (1, 3)  # of the generator: with layers=1 D sees both, else the output alone
    torch.save(port.unet(5, 1, channels=channels).state_dict(), tmp_path / 'g.pth')
    net = port.with_own_statistics(port.trained(port.discriminator(layers, 3, norm, seen)))
    torch.save(net.state_dict(), tmp_path / 'd.pth')
    generator = convert.read_generator(tmp_path / 'g.pth')
    discriminator = convert.read_discriminator(tmp_path / 'd.pth', generator)
    config = convert.imported_config(generator, discriminator, (size,))
    d = convert.imported_state(config, generator, discriminator).discriminator
    x = inputs((size, size), seen, number=1)
    logits, _ = logits_of(d, x)
    with torch.no_grad():
        there = net(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))
    np.testing.assert_allclose(there.permute(0, 2, 3, 1), logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('kind, fields', [('unet', {'depth': 5}), ('resnet', {'blocks': 2})])
def test_what_instance_norms_once_kept_is_left_out(port, tmp_path, monkeypatch, kind, fields):
    import torch

    norm = functools.partial(torch.nn.InstanceNorm2d, track_running_stats=True)
    monkeypatch.setitem(port.NORMS, 'instance', norm)
    tensors = port.trained(getattr(port, kind)(width=2, norm='instance', **fields)).state_dict()
    parameters = {k: v.numpy() for k, v in tensors.items() if k.endswith(('weight', 'bias'))}
    torch.save(tensors, tmp_path / 'net.pth')
    convert.write_generator(run_of(tmp_path / 'net.pth'), tmp_path / 'back.safetensors')
    assert len(parameters) < len(tensors)
    same(read_state_dict(tmp_path / 'back.safetensors'), parameters)


def new_run(**fields):
    """A run of random weights, at step 3."""
    config = default_config()
    config.image_size, config.loss.gan = (32, 32), 'none'
    config.update_from_flattened_dict({'generator.width': 2, 'generator.depth': 3})
    config.update_from_flattened_dict({k.replace('__', '.'): v for k, v in fields.items()})
    config, rng = validate(config), np.random.default_rng(0)
    variables = jax.tree.map(
        lambda x: rng.uniform(0, 0.2, x.shape).astype(np.float32),
        state_shapes(config).generator.variables,
    )
    return Run(config, 3, 'last', variables)


def test_a_run_of_ours_loads_strictly_there(port, tmp_path):
    import torch

    run = new_run()
    lines = convert.write_generator(run, tmp_path / 'net.pth')
    assert 'U-Net of 3 halvings, width 2, batch norm, channels 3 to 3; 1,719 param' in lines[0]
    tensors = torch.load(tmp_path / 'net.pth', weights_only=True)
    assert all(v == 3 for k, v in tensors.items() if k.endswith('num_batches_tracked'))
    net = port.unet(3, 2).eval()
    net.load_state_dict(tensors, strict=True)
    x = inputs((32, 32), 3, number=1)
    ours = Generator(run.config, run.variables, dropout=False)(x)
    with torch.no_grad():
        there = port.with_own_statistics(net)(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))
    np.testing.assert_allclose(there.permute(0, 2, 3, 1), ours, atol=1e-4)


@pytest.mark.parametrize('fields, kind, there, count', [
    ({}, 'unet', dict(depth=8, width=64), 54_413_955),
    ({'generator.depth': 7, 'image_size': (128, 128)}, 'unet', dict(depth=7, width=64), 41_828_995),
    ({'generator.name': 'resnet', 'generator.dropout': 0.0}, 'resnet', dict(blocks=9, width=64),
     11_383_427),
])  # fmt: skip
def test_the_full_networks_have_the_shapes_of_those_there(port, fields, kind, there, count):
    import torch

    config = default_config()
    config.update_from_flattened_dict(fields | {'loss.gan': 'none'})
    config = validate(config)
    empty = jax.tree.map(
        lambda x: np.broadcast_to(np.float32(0), x.shape), state_shapes(config).generator.variables
    )
    tensors = to_state_dict(empty, generator_layers(config.generator, generator_depth(config)))
    with torch.device('meta'):
        net = getattr(port, kind)(**there)
    assert [(k, v.shape) for k, v in tensors.items()] == [
        (k, tuple(v.shape)) for k, v in net.state_dict().items()
    ]
    assert sum(p.numel() for p in net.parameters()) == count


# ---------------------------------------------------------------- what is assumed


def network(**fields):
    common = dict(name='unet', depth=8, width=2, input_channels=3, output_channels=3)
    return convert.Network('net.pth', common | dict(norm='batch', bias='auto') | fields, {}, 0)


@pytest.mark.parametrize('fields, size, dropout', [
    (dict(depth=8), (256, 256), (0.5, 1, 3)),
    (dict(depth=7), (128, 128), (0.5, 1, 2)),
    (dict(depth=9), (512, 512), (0.5, 1, 4)),
    (dict(depth=5), (32, 32), (0.0, 0, 3)),
    (dict(depth=3), (8, 8), (0.0, 0, 3)),
    (dict(name='resnet', depth=2, blocks=6, dropout=0.5), (256, 256), (0.5, 0, 3)),
    (dict(name='resnet', depth=2, blocks=6, dropout=0.0), (256, 256), (0.0, 0, 3)),
])  # fmt: skip
def test_the_config_of_a_generator(fields, size, dropout):
    config = convert.imported_config(network(**fields))
    g = config.generator
    assert config.image_size == size
    assert (g.dropout, g.dropout_from, g.dropout_blocks) == dropout
    assert (g.name, g.depth) == (fields.get('name', 'unet'), fields['depth'])
    assert config.loss.gan == 'none' and config.dataset.task == 'none'
    assert create_models(config, 'cpu').discriminator is None


def test_what_is_asked_for_is_taken():
    config = convert.imported_config(network(), image_size=(256, 512), dropout=False)
    assert config.image_size == (256, 512) and config.generator.dropout == 0
    d = {'layers': 2, 'width': 3, 'norm': 'instance', 'bias': 'auto', 'conditional': False}
    discriminator = convert.Network('d.pth', d, {}, 0)
    config = convert.imported_config(network(), discriminator, gan='wgan-gp')
    assert config.loss.gan == 'wgan-gp'
    assert {k: config.discriminator[k] for k in d} == d


def test_one_channel_to_two_is_colorization():
    fields = {'input_channels': 1, 'output_channels': 2}
    assert convert.imported_config(network(**fields)).dataset.task == 'colorize'
    config = convert.imported_config(network(**fields), dataset={'direction': 'BtoA'})
    assert config.dataset.task == 'none'  # of pairs: a photo has no direction


def test_what_does_not_fit_is_refused():
    resnet = dict(name='resnet', depth=2, blocks=6)
    make = convert.imported_config
    for call, words in [
        (lambda: make(network(depth=5), dropout=True), '--dropout: net.pth .* 5 halvings'),
        (lambda: make(network(**resnet, dropout=0.0), dropout=True), '--dropout: .* none with'),
        (lambda: make(network(**resnet, dropout=0.5), dropout=False), '--nodropout: net.pth'),
        (lambda: make(network(width=2**20)), 'config.generator.width=1048576: allowed is'),
        (lambda: make(network(), image_size=(100,)), 'is'),
    ]:
        with pytest.raises(UserError, match=words) as error:
            convert.imported_state(call(), network())
        assert '\n' not in str(error.value)


@pytest.mark.parametrize('change, message', [
    (lambda t: t | {'model.model.0.bias': np.ones(2, np.float32)},
     r'model.model.0.bias is \(2,\), and of that network no such tensor'),
    (lambda t: t | {'extra': np.ones(2, np.float32)}, 'extra is .* no such tensor'),
    (lambda t: {k: v for k, v in t.items() if k != 'model.model.3.bias'},
     r'model.model.3.bias is missing, and of that network \(3,\)'),
    (lambda t: t | {'model.model.1.model.2.bias': np.ones(5, np.float32)},
     r'model.model.1.model.2.bias is \(5,\), and of that network \(4,\)'),
])  # fmt: skip
def test_a_network_that_is_almost_one_is_refused(tmp_path, change, message):
    tensors = change(recorded(RECORDINGS[0]).state_dict('G0'))
    path = saved(tensors, tmp_path)
    with pytest.raises(DataError, match=f'{path}: no U-Net of 8 halvings, .*: {message}') as error:
        run_of(path)
    assert '\n' not in str(error.value)


# ---------------------------------------------------------------- out


@pytest.mark.parametrize('fields, words', [
    ({'generator__name': 'encoder_decoder'}, 'generator.name=encoder_decoder: .* unet | resnet'),
    ({'generator__upsample': 'resize'}, 'generator.upsample=resize: .* transpose'),
    ({'generator__bottleneck_norm': True}, 'generator.bottleneck_norm=True: .* False'),
    ({'generator__bias': 'all'}, 'generator.bias=all: .* auto with norm=batch'),
    ({'generator__bias': 'none'}, 'generator.bias=none: .* auto with norm=batch'),
    ({'generator__bias': 'none', 'generator__norm': 'none'}, 'bias=none: .* last with norm=none'),
    ({'generator__norm': 'none'}, 'generator.bias=auto: .* last with norm=none'),
    ({'generator__norm_epsilon': 1e-3}, 'generator.norm_epsilon=0.001: .* 1e-5'),
    ({'generator__leaky_slope': 0.3}, 'generator.leaky_slope=0.3: .* 0.2'),
    ({'generator__skip_relu': False}, 'generator.skip_relu=False: .* True'),
    ({'generator__depth': 1}, 'generator.depth=1: .* 2 or more'),
    ({'generator__name': 'resnet'}, 'generator.depth=3: .* 2, of a resnet'),
])  # fmt: skip
def test_a_generator_that_pytorchs_cannot_be_is_refused(tmp_path, fields, words):
    config = default_config()
    config.image_size = (32, 32)
    config.generator.depth = 3
    config.update_from_flattened_dict({k.replace('__', '.'): v for k, v in fields.items()})
    run = Run(validate(config), 3, 'last', {})
    message = error_of(convert.write_generator, run, tmp_path / 'net.safetensors')
    assert re.search(words, message), message
    assert not list(tmp_path.iterdir())


def test_biases_that_are_the_same_by_another_word_are_not_refused(tmp_path):
    for i, fields in enumerate((('batch', 'last'), ('instance', 'all'), ('none', 'last'))):
        run = new_run(**dict(zip(('generator__norm', 'generator__bias'), fields)))
        path = tmp_path / f'{i}.safetensors'
        convert.write_generator(run, path)
        again = convert.read_generator(path).fields
        assert (again['norm'], again['depth']) == (fields[0], 3)


def test_the_lines_say_how_it_is_loaded(tmp_path):
    def line(**fields):
        return convert.write_generator(new_run(**fields), tmp_path / 'net.safetensors')[1]

    big = {'image_size': (128, 128), 'generator__depth': 7}
    assert '--netG=unet_128 --ngf=2 --norm=batch --input_nc=3 --output_nc=3;' in line(**big)
    assert 'UnetGenerator(num_downs=5)' in line(generator__depth=5)
    assert '3 levels of UnetSkipConnectionBlock' in line()
    for blocks, others in ((2, False), (0, False), (3, True)):  # as there, and the paper's
        fields = {'generator__dropout_from': 1, 'generator__dropout_blocks': blocks}
        lines = convert.write_generator(new_run(**big, **fields), tmp_path / 'net.safetensors')
        assert any('dropout is another there' in line for line in lines) == others
    resnet = {'generator__name': 'resnet', 'generator__depth': 0, 'generator__norm': 'instance'}
    words = '--netG=resnet_9blocks --ngf=2 --norm=instance --input_nc=3 --output_nc=3 --no_dropout'
    assert words in line(**resnet, generator__dropout=0.0)
    assert 'ResnetGenerator(n_blocks=2)' in line(**resnet, generator__blocks=2)


def test_another_ending_or_no_torch_is_one_line(tmp_path, monkeypatch):
    run = Run(validate(default_config()), 3, 'last', {})
    assert 'allowed are files' in error_of(convert.write_generator, run, tmp_path / 'net.onnx')
    monkeypatch.setitem(sys.modules, 'torch', None)
    assert 'not installed' in error_of(convert.write_generator, run, tmp_path / 'net.pth')
