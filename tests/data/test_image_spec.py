"""Channels, value ranges and classes of inputs and targets."""

import json

import numpy as np
import pytest
from helpers.pictures import config, error, write
from PIL import Image

from pix2pix_jax.data import augment, discover, image_spec, pipeline
from pix2pix_jax.errors import DataError, UserError

SIZE = (16, 16)
# format: types x channels that it keeps as they are
MODES = {
    'png': [('uint8', 1), ('uint8', 3), ('uint8', 4), ('uint16', 1), ('uint16', 3), ('uint16', 4)],
    'jpg': [('uint8', 1), ('uint8', 3)],
    'webp': [('uint8', 3), ('uint8', 4)],
    'tif': [(dtype, n) for dtype in ('uint8', 'uint16', 'float32') for n in (1, 2, 3, 4, 7)],
    'npy': [(dtype, n) for dtype in ('uint8', 'uint16', 'float32') for n in (1, 2, 3, 4, 7)],
}


def smooth(dtype, channels, number=0):
    """An image on [0, 1] or of all of the type's range, of which a JPEG keeps nearly all."""
    y, x = np.mgrid[0:1:16j, 0:1:16j]
    unit = np.stack([(x * (k + 1) + y + number) / (k + 2 + number) for k in range(channels)], -1)
    top = 1 if dtype == 'float32' else np.iinfo(dtype).max
    return (unit * top).astype(dtype)


def fields(channels_in=3, channels_out=3, **more):
    return {
        'generator.input_channels': channels_in,
        'generator.output_channels': channels_out,
        'dataset.jitter': 1.0,
        'dataset.mirror': False,
    } | {f'dataset.{key}': value for key, value in more.items()}


def first_pair(folder, **some):
    c = config(folder, **some)
    source = discover.open_splits(c)['train']
    return source[0], pipeline.example(source, 0, c), source


@pytest.mark.parametrize(
    'kind,dtype,channels', [(kind, *mode) for kind, modes in MODES.items() for mode in modes]
)
def test_every_format_is_trained_on_as_it_is(tmp_path, kind, dtype, channels):
    """What the network sees is the file's values on [-1, 1], of its own depth and channels."""
    shown, other = smooth(dtype, channels), smooth(dtype, channels, 1)
    write(tmp_path / 'train' / 'A' / f'1.{kind}', shown)
    write(tmp_path / 'train' / 'B' / f'1.{kind}', other)
    _, pair, _ = first_pair(tmp_path, **fields(channels, channels))
    top = 1 if dtype == 'float32' else np.iinfo(dtype).max
    for key, image in (('input', shown), ('target', other)):
        expected = image.astype(np.float64) / top * 2 - 1
        np.testing.assert_allclose(pair[key], expected, atol=0.05 if kind == 'jpg' else 1e-6)
        assert pair[key].dtype == np.float32


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'int16', 'float32'])
def test_a_range_maps_to_the_networks_and_back(tmp_path, dtype):
    image = (np.arange(256).reshape(16, 16, 1) % 120).astype(dtype)
    write(tmp_path / 'train' / 'A' / '1.npy', image)
    write(tmp_path / 'train' / 'B' / '1.npy', image)
    some = fields(1, 1, input_range='-50:150', target_range='0:100')
    _, pair, source = first_pair(tmp_path, **some)
    np.testing.assert_allclose(pair['input'], (image + 50.0) / 100 - 1, atol=1e-6)
    np.testing.assert_allclose(pair['target'], np.clip(image / 50.0 - 1, -1, 1), atol=1e-6)
    back = image_spec.to_type(pair['input'], dtype, source.specs[0].ranges[0])
    assert back.dtype == dtype
    np.testing.assert_allclose(back, image, atol=1e-4)


def test_floats_and_integers_without_a_range(tmp_path):
    for name, image, message in (
        ('float', np.full((16, 16), 1.5), 'has values from 1.5 to 1.5: of float64 allowed is 0 to'),
        ('int', np.full((16, 16), 7, np.int32), 'has values from 7 to 7: of int32 allowed is 0'),
        ('nan', np.full((16, 16), np.nan), 'has values that are no finite numbers'),
        ('inf', np.tile([150.0, np.inf], (16, 8)), 'has values that are no finite numbers'),
    ):
        folder = tmp_path / name
        write(folder / 'train' / 'A' / '1.npy', image[..., None])
        write(folder / 'train' / 'B' / '1.npy', np.zeros((16, 16, 1)))
        assert error(folder, **fields(1, 1)).startswith(f'{folder}/train/A/1.npy {message}')


def test_other_channels_than_the_networks(tmp_path):
    write(tmp_path / 'train' / 'A' / '1.tif', smooth('uint8', 5))
    write(tmp_path / 'train' / 'B' / '1.png', smooth('uint8', 3))
    message = f'{tmp_path}/train/A/1.tif has 5 channels: needed are 3 (config.%s)'
    for direction, field in (('AtoB', 'input_channels'), ('BtoA', 'output_channels')):
        taken = f'; --config.generator.{field}=5 takes these'
        assert error(tmp_path, **fields(direction=direction)) == (
            message % f'generator.{field}' + taken
        )
    (tmp_path / 'train' / 'B' / '1.png').rename(tmp_path / 'train' / 'A' / '2.png')
    photos = fields(1, 3, task='gray_to_color', path=f'{tmp_path}')
    skip = '; --config.dataset.on_error=skip leaves them out'  # as one of two is good
    assert error(tmp_path, **photos) == message % 'dataset.task' + skip


def test_several_inputs(tmp_path):
    """RGB, 16-bit depth and a mask are five channels, each with its own range."""
    rgb, depth = smooth('uint8', 3), smooth('uint16', 1)
    mask = (smooth('uint8', 1) > 99) * np.uint8(255)
    write(tmp_path / 'train' / 'A' / '1.png', rgb)
    write(tmp_path / 'train' / 'A2' / '1.png', depth)
    write(tmp_path / 'train' / 'A3' / '1.png', mask)
    write(tmp_path / 'train' / 'B' / '1.png', rgb)
    some = fields(5, 3, input_range='0:255,0:10000,0:255')
    _, pair, source = first_pair(tmp_path, **some)
    np.testing.assert_allclose(pair['input'][..., :3], rgb / 127.5 - 1, atol=1e-6)
    expected = np.clip(depth / 5000.0 - 1, -1, 1)
    np.testing.assert_allclose(pair['input'][..., 3:4], expected, atol=1e-6)
    np.testing.assert_allclose(pair['input'][..., 4:], mask / 127.5 - 1, atol=1e-6)
    shown = source.shown(pair['input'][None])[0]
    np.testing.assert_array_equal(shown, pair['input'][..., :3])
    message = error(tmp_path, **fields(4, 3))
    assert message.startswith(f'the inputs have 5 channels in all, 3 ({tmp_path}/train/A/1.png), 1')
    assert 'allowed are one range, or one for each' in error(
        tmp_path, UserError, **fields(5, 3, input_range='0:255,0:10000')
    )
    assert 'has 3 inputs a pair' in error(tmp_path, UserError, **fields(3, 5, direction='BtoA'))
    assert 'needed are config.dataset.inputs=1' in error(tmp_path, **fields(5, 3, inputs=1))
    assert 'allowed is one map of classes' in error(
        tmp_path, UserError, **fields(3, input_classes=3)
    )
    write(tmp_path / 'test' / 'A' / '1.png', rgb)
    write(tmp_path / 'test' / 'B' / '1.png', rgb)
    assert 'the splits have different numbers of inputs for one target: 3 in' in error(
        tmp_path, **fields(5, 3)
    )
    (tmp_path / 'train' / 'A2').rename(tmp_path / 'train' / 'A4')
    assert error(tmp_path, **fields(5, 3)).endswith(
        f'A3 is there, and {tmp_path}/train/A2 is missing'
    )


def test_more_than_nine_inputs(tmp_path):
    """A10 and A11 were left out, and nothing said so."""
    for name in ['A', *(f'A{n}' for n in range(2, 12)), 'B']:
        write(tmp_path / 'train' / name / '1.png', smooth('uint8', 1))
    _, pair, source = first_pair(tmp_path, **fields(11, 1))
    assert source.inputs == 11 and pair['input'].shape[-1] == 11


def test_lists(tmp_path):
    """The same pairs by a CSV file, a JSON file, and two folders."""
    for i in range(3):
        write(tmp_path / 'x' / f'{i}.png', smooth('uint8', 3, i))
        write(tmp_path / 'y' / 'deep' / f'{i}.jpg', smooth('uint8', 3, i + 5))
        write(tmp_path / 'z' / f'{i}.png', smooth('uint8', 1, i))
    rows = [(f'x/{i}.png', f'z/{i}.png', f'y/deep/{i}.jpg') for i in range(3)]
    for name, text in (
        ('csv', 'input,input2,target\n' + ''.join(','.join(row) + '\n' for row in rows)),
        ('json', json.dumps([{'input': row[:2], 'target': row[2]} for row in rows])),
    ):
        (tmp_path / f'train.{name}').write_text(text, 'utf-8-sig')
        pair, _, source = first_pair(tmp_path, **fields(4, 3, layout='list'))
        assert source.names == ('y/deep/0', 'y/deep/1', 'y/deep/2')
        expected = augment.to_float(smooth('uint8', 1, 0))
        np.testing.assert_allclose(pair['input'][..., 3:], expected, atol=1e-6)
        (tmp_path / f'train.{name}').unlink()


# ---------------------------------------------------------------- classes


def classes_folder(folder, palette=None, dtype=np.uint8):
    indices = np.arange(256, dtype=dtype).reshape(SIZE) % 4
    indices[0, :3] = 255  # void
    image = Image.fromarray(indices.astype(np.uint8), 'P' if palette else 'L')
    if palette:
        image.putpalette(palette + [0] * (768 - len(palette)))  # else PNG would pack to 2 bits
    (folder / 'train' / 'A').mkdir(parents=True)
    image.save(folder / 'train' / 'A' / '1.png')
    write(folder / 'train' / 'B' / '1.png', smooth('uint8', 3))
    return indices


@pytest.mark.parametrize('palette', [None, [9, 8, 7, 255, 0, 0, 0, 255, 0, 0, 0, 255]])
def test_class_indices_are_one_hot(tmp_path, palette):
    indices = classes_folder(tmp_path, palette)
    some = fields(4, 3, input_classes=4)
    _, pair, source = first_pair(tmp_path, **some)
    for k in range(4):
        np.testing.assert_array_equal(pair['input'][..., k], np.where(indices == k, 1, -1))
    shown = source.shown(pair['input'][None])[0]
    colours = np.reshape(palette or [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0], (4, 3))
    np.testing.assert_allclose(shown[1, :4], colours / 127.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(shown[0, :3], np.ones((3, 3)))


def test_augmented_classes_stay_classes(tmp_path):
    """Jitter and mirroring never mix classes, and move them with the photo."""
    classes_folder(tmp_path)
    c = config(tmp_path, **fields(4, 3, input_classes=4, jitter=1.5, mirror=True))
    source = discover.open_splits(c)['train']
    for seed in range(5):
        pair = pipeline.augmented(source[0], np.random.default_rng(seed), c)
        assert set(np.unique(pair['input'])) == {-1, 1}
        assert (pair['input'] == 1).sum(-1).max() == 1


def test_classes_that_there_are_not(tmp_path):
    classes_folder(tmp_path)
    message = error(tmp_path, **fields(3, 3, input_classes=3))
    assert message.startswith(f'{tmp_path}/train/A/1.png has the class 3: allowed are 0 to 2')
    write(tmp_path / 'train' / 'A' / '1.png', smooth('uint8', 3))
    message = error(tmp_path, **fields(4, 3, input_classes=4))
    assert 'has 3 channels of uint8: needed is a map of class indices' in message


# ---------------------------------------------------------------- fields


@pytest.mark.parametrize(
    'some,message',
    [
        ({'input_range': '5:5'}, "config.dataset.input_range='5:5': allowed is LOW:HIGH"),
        ({'input_range': '0-255'}, "config.dataset.input_range='0-255': allowed is LOW:HIGH"),
        ({'input_range': '0:inf'}, "config.dataset.input_range='0:inf'"),
        ({'target_range': '0:1,0:2'}, "config.dataset.target_range='0:1,0:2': allowed is one"),
        ({'input_classes': 4, 'channels_in': 5}, 'config.generator.input_channels=5: allowed is 4'),
        ({'input_classes': 3, 'input_range': '0:3'}, 'config.dataset.input_classes=3: classes'),
        ({'input_range': '0:3', 'task': 'denoise'}, "config.dataset.task='denoise' makes its"),
        (
            {'nodata': 'inf'},
            "config.dataset.nodata='inf': allowed are a number as -9999, nan, and ''",
        ),
        ({'nodata': '1_0'}, "config.dataset.nodata='1_0': allowed"),
        ({'nodata': 'none'}, "config.dataset.nodata='none': allowed"),
        ({'preprocess': 'none', 'image': 0}, "config.dataset.preprocess='none': config.image_size"),
    ],
)
def test_fields_that_do_not_fit(tmp_path, some, message):
    size = {'image_size': (0, 0)} if some.pop('image', 1) == 0 else {}
    with pytest.raises(UserError, match='(?s).*') as info:
        config(tmp_path, **fields(**some), **size)
    assert message in str(info.value) and '\n' not in str(info.value)


@pytest.mark.parametrize('nodata', ['', '0', '-9999', 'nan', 'NaN', '.5', '-3.4028235e+38'])
def test_values_that_say_that_there_is_none(tmp_path, nodata):
    config(tmp_path, **fields(nodata=nodata))


def test_classes_in_half_a_file(tmp_path):
    write(tmp_path / 'train' / '1.png', np.tile(smooth('uint8', 3), (1, 2, 1)))
    assert 'allowed are two folders, a list, or colours of the classes' in error(
        tmp_path, UserError, **fields(4, 3, input_classes=4)
    )


def test_integers_that_have_no_range_are_0_to_1_both_ways():
    for dtype in ('int16', 'int32', 'uint32'):
        image = np.float32([[[-1], [1]]])
        assert image_spec.to_type(image, dtype).ravel().tolist() == [0, 1]
        assert image_spec.levels(np.dtype(dtype)).tolist() == [-1, 1]


def test_type_of_a_file_back():
    x = np.linspace(-1.2, 1.2, 50)
    assert image_spec.to_type(x, np.uint8).tolist() == augment.from_float(x).tolist()
    assert image_spec.to_type(x, np.uint16).max() == 65535
    assert image_spec.to_type(x, np.float32, (-3, 5)).min() == -3
    with pytest.raises(DataError):
        image_spec.combine(image_spec.ImageSpec('input', 3), [_pixels(2)], ['a.npy'])


def _pixels(channels):
    from pix2pix_jax.data.formats.pixels import Pixels

    return Pixels(np.zeros((4, 4, channels), np.uint8))


def test_images_as_they_are(tmp_path):
    write(tmp_path / 'train' / '1.png', np.tile(smooth('uint8', 3), (1, 2, 1)))
    some = fields(preprocess='none', jitter=1.5)
    pair, seen, _ = first_pair(tmp_path, **some)
    np.testing.assert_array_equal(augment.to_float(pair['target']), seen['target'])
    c = config(tmp_path, **some)
    augmented = pipeline.augmented(pair, np.random.default_rng(0), c)
    np.testing.assert_array_equal(augmented['target'], seen['target'])
    message = error(tmp_path, **some, image_size=(32, 16))
    assert message.startswith(f'{tmp_path}/train/1.png is 16x16: config.dataset.preprocess=')
    assert message.endswith('16x32')


def test_opacity_that_floats_have_not_is_full(tmp_path):
    write(tmp_path / 'train' / 'A' / '1.npy', smooth('float32', 3) * 100)
    write(tmp_path / 'train' / 'B' / '1.npy', smooth('float32', 3))
    _, pair, _ = first_pair(tmp_path, **fields(4, 3, input_range='0:100'))
    assert (pair['input'][..., 3] == 1).all()


@pytest.mark.parametrize(
    ('dtype', 'value_range', 'count'),
    [
        ('uint8', None, 256),
        ('uint16', None, 65536),
        ('uint8', (0, 100), 101),
        ('int32', (-5, 5), 11),
        ('uint16', (0.5, 3.5), 5),
        ('float32', None, 0),
        ('float32', (0, 100), 0),
        ('uint32', (0, 70000), 0),
    ],
)
def test_levels_are_what_the_values_of_a_file_become(dtype, value_range, count):
    levels = image_spec.levels(np.dtype(dtype), value_range)
    assert len(levels) == count and (np.diff(levels) > 0).all()
    if count:
        assert (levels[0], levels[-1]) == (-1, 1)
        values = image_spec.to_type(levels, dtype, value_range)
        assert (np.diff(values.astype(int)) == 1).all()
