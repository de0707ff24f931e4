"""The channels of a run are those of its data, where nobody named them."""

import json

import numpy as np
import pytest
import tifffile
from helpers.pictures import config, error, noise, write
from helpers.runs import error_of, tiny_config

import pix2pix_jax
from pix2pix_jax import train, train_setup
from pix2pix_jax.config import augment_policies, validate
from pix2pix_jax.config_fields import FIELDS
from pix2pix_jax.data import discover, image_spec
from pix2pix_jax.data.found_channels import check_colours, take_channels
from pix2pix_jax.errors import UserError
from pix2pix_jax.workdir import data_json
from pix2pix_jax.workdir.config_json import to_json

SIDE = 32


def make(folder, count=3, **channels):
    """Two or more folders of TIFFs, of so many channels."""
    for n, (side, number) in enumerate(channels.items()):
        for i in range(count):
            rng = np.random.default_rng((n, i))
            image = rng.integers(0, 256, (SIDE, SIDE, number), np.uint8)
            write(folder / 'train' / side / f'{i}.tif', image)
    return folder


@pytest.mark.parametrize(
    'channels,found',
    [
        ({'A': 5, 'B': 3}, (5, 3)),
        ({'A': 3, 'B': 7}, (3, 7)),
        ({'A': 1, 'B': 1}, (3, 3)),  # gray becomes RGB
        ({'A': 2, 'B': 1}, (2, 3)),
        ({'A': 3, 'A2': 3, 'B': 3}, (6, 3)),
        ({'A': 3, 'A2': 1, 'B': 2}, (4, 2)),
    ],
)
def test_the_channels_are_found(tmp_path, channels, found, capsys):
    c = config(make(tmp_path, **channels))
    splits = take_channels(discover.open_splits(c), c)
    assert (c.generator.input_channels, c.generator.output_channels) == found
    pair = splits['train'][1]
    assert (pair['input'].shape[-1], pair['target'].shape[-1]) == found
    said = capsys.readouterr().out.splitlines()
    assert len(said) == (found[0] != 3) + (found[1] != 3)
    assert all('channels: config.generator.' in line for line in said)


@pytest.mark.parametrize('name,shape,warned', [
    ('{}.npy', (13, 48, 64), 'is read as 48x13 pixels of 64 channels: if it has 13 '),
    ('{}.tif', (64, 64, 13), 'is read as 13x64 pixels of 64 channels: if it has 13 '),
    ('{}.npy', (48, 64, 13), ''),
    ('{}.tif', (13, 48, 64), ''),  # pages, each a band
    ('{}.npy', (24, 32, 200), ''),
])  # fmt: skip
def test_channels_that_are_rather_a_side_are_warned_of(tmp_path, capsys, name, shape, warned):
    for side in 'AB':
        (tmp_path / 'train' / side).mkdir(parents=True)
        for i in range(3):
            image = np.random.default_rng(i).integers(0, 256, shape, np.uint8)
            file = tmp_path / 'train' / side / name.format(i)
            if name.endswith('npy'):
                np.save(file, image)
            else:
                tifffile.imwrite(file, image, photometric='minisblack')
    c = config(tmp_path)
    take_channels(discover.open_splits(c), c)
    said = [x for x in capsys.readouterr().out.splitlines() if x.startswith('warning: ')]
    assert len(said) == 2 * bool(warned)
    for side, line in zip('AB', said):
        assert line.startswith(f'warning: {tmp_path}/train/{side}/{name.format(0)} {warned}')


@pytest.mark.parametrize('kind', [np.uint16, np.float32])
def test_gray_that_is_no_picture_of_8_bits_stays_gray(tmp_path, kind, capsys):
    """Depth in mm: three equal channels would be three networks' work, and RGB in the outputs."""
    folder = make(tmp_path, A=3)
    for i in range(3):
        depth = np.random.default_rng(i).integers(0, 2, (SIDE, SIDE, 1)).astype(kind)
        write(folder / 'train' / 'B' / f'{i}.tif', depth)
    c = config(folder)
    take_channels(discover.open_splits(c), c)
    assert (c.generator.input_channels, c.generator.output_channels) == (3, 1)
    assert 'targets have 1 channels: config.generator.output_channels=1' in capsys.readouterr().out


@pytest.mark.parametrize('colours', [{0}, {21}, set(range(1, 40))])
@pytest.mark.parametrize('kind', [np.uint16, np.float32])
def test_gray_among_colours_becomes_rgb(tmp_path, kind, colours):
    folder = make(tmp_path, A=3, count=40)
    for i in range(40):
        channels = 3 if i in colours else 1
        image = np.random.default_rng(i).integers(0, 2, (SIDE, SIDE, channels)).astype(kind)
        write(folder / 'train' / 'B' / f'{i}.tif', image)
    c = config(folder, **{'dataset.val_fraction': 0.0})
    train = take_channels(discover.open_splits(c), c)['train']
    assert (c.generator.input_channels, c.generator.output_channels) == (3, 3)
    assert {i for i in range(40) if np.ptp(train[i]['target'], axis=-1).any()} == colours


def test_what_was_named_stays(tmp_path, capsys):
    c = config(make(tmp_path, A=5, B=3), **{'generator.input_channels': 4})
    take_channels(discover.open_splits(c), c)
    assert c.generator.input_channels == 4 and not capsys.readouterr().out
    message = error(tmp_path, **{'generator.input_channels': 4})
    assert '0.tif has 5 channels: needed are 4 (config.generator.input_channels); ' in message
    assert '--config.generator.input_channels=5 takes these' in message


JITTER, OF_INPUT = {'dataset.color_jitter': 0.2}, {'dataset.input_color_jitter': 0.2}
COLOR = {'discriminator.augment': 'color,cutout'}


@pytest.mark.parametrize('channels, fields, message', [
    ({'A': 3, 'B': 3}, JITTER | OF_INPUT | COLOR, ''),
    ({'A': 1, 'B': 3}, JITTER | OF_INPUT, ''),
    ({'A': 4, 'B': 3}, JITTER, 'color_jitter=0.2: inputs have 4 channels that are no colours'),
    ({'A': 3, 'B': 4}, JITTER, 'color_jitter=0.2: targets have 4 channels that are no colours'),
    ({'A': 5, 'B': 3}, OF_INPUT, 'input_color_jitter=0.2: inputs have 5 channels that are no'),
    ({'A': 3, 'A2': 3, 'B': 3}, JITTER, 'color_jitter=0.2: inputs have 2 images each; allowed'),
    ({'A': 3, 'A2': 1, 'B': 3}, OF_INPUT, 'input_color_jitter=0.2: inputs have 2 images each'),
    ({'A': 3, 'B': 5}, OF_INPUT | COLOR, ''),
    ({'A': 5, 'A2': 3, 'B': 3}, COLOR, ''),
    ({'A': 3, 'B': 4}, COLOR, "augment='color,cutout': targets have 4 channels that are no"),
])  # fmt: skip
def test_colours_change_of_images_that_have_them(tmp_path, channels, fields, message):
    for path in make(tmp_path, **channels).rglob('*.tif'):
        np.save(path.with_suffix('.npy'), np.zeros((SIDE, SIDE, channels[path.parent.name])))
        path.unlink()  # of four channels it has opacity
    c = config(tmp_path, **fields)
    train = take_channels(discover.open_splits(c), c)['train']
    if message:
        assert message in error_of(check_colours, train, c, augment_policies(c))
    else:
        check_colours(train, c, augment_policies(c))


def test_rgba_has_colours_and_a_run_that_is_there_goes_on(tmp_path):
    for side in 'AB':
        for i in range(3):
            write(tmp_path / f'pairs/train/{side}/{i}.png', noise(SIDE, SIDE, 4))
    c = config(tmp_path / 'pairs', **JITTER, **OF_INPUT, **COLOR)
    check_colours(take_channels(discover.open_splits(c), c)['train'], c, augment_policies(c))
    c = tiny_config(make(tmp_path / 'bands', A=5, B=3), dataset__color_jitter=0.2)
    assert 'inputs have 5 channels' in error_of(train_setup.resolve, c, tmp_path / 'run')
    splits, _ = train_setup.open_data(c, tmp_path / 'run')
    data_json.write_known(tmp_path / 'run', splits, 1)
    begun = validate(c)
    begun.image_size, begun.generator.input_channels = (32, 32), 5
    begun.dataset.windows, begun.dataset.inputs, begun.dataset.target_scale = 'off', 1, 1.0
    (tmp_path / 'run/config.json').write_text(to_json(begun))
    (tmp_path / 'run/checkpoints/last/1').mkdir(parents=True)
    assert train_setup.resolve(c, tmp_path / 'run').config.generator.input_channels == 5


@pytest.mark.parametrize('side,field', [('A', 'input'), ('B', 'output')])
def test_opacity_that_is_lost_is_said(tmp_path, side, field, capsys):
    make(tmp_path, A=3, B=3)
    for i in range(3):
        image = np.full((SIDE, SIDE, 4), 255, np.uint8)
        image[: 8 * (i > 0), :, 3] = 7  # not in the first
        (tmp_path / f'train/{side}/{i}.tif').unlink()
        write(tmp_path / f'train/{side}/{i}.png', image)
    name = {'input': 'inputs', 'output': 'targets'}[field]
    line = (
        f'{name} are transparent in parts, and lie over white there: '
        f'--config.generator.{field}_channels=4 keeps their opacity\n'
    )
    for channels, said in ((3, line), (1, line), (4, '')):
        c = config(tmp_path, **{f'generator.{field}_channels': channels})
        take_channels(discover.open_splits(c), c)
        assert c.generator[f'{field}_channels'] == channels and capsys.readouterr().out == said


def test_opacity_that_is_not_lost_is_not_said(tmp_path, capsys):
    """Where all is opaque, and of several inputs, which never keep it."""
    opaque = np.full((SIDE, SIDE, 4), 255, np.uint8)
    clear = opaque * np.uint8([1, 1, 1, 0])
    for side, image in (('A', clear), ('A2', clear), ('B', opaque)):
        write(tmp_path / f'train/{side}/1.png', image)
    c = config(tmp_path, **{'generator.input_channels': 6})
    take_channels(discover.open_splits(c), c)
    assert not capsys.readouterr().out


@pytest.mark.parametrize('fields', [{'dataset.input_classes': 4}, {'dataset.task': 'denoise'}])
def test_classes_and_tasks_have_their_own(tmp_path, fields):
    write(tmp_path / 'train/A/1.png', np.zeros((SIDE, SIDE, 1), np.uint8))
    write(tmp_path / 'train/B/1.png', np.zeros((SIDE, SIDE, 3), np.uint8))
    c = config(tmp_path, **fields)
    before = c.generator.to_dict()
    take_channels(discover.open_splits(c), c)
    assert c.generator.to_dict() == before


def test_the_number_that_stands_for_any_is_the_default():
    defaults = {FIELDS[field].default for field in image_spec.CHANNELS.values()}
    assert defaults == {image_spec.DEFAULT_CHANNELS}


def test_a_run_of_five_bands_trains_and_translates(tmp_path):
    make(tmp_path, A=5, B=3)
    c = tiny_config(tmp_path, num_steps=2, dataset__val_fraction=0.0)
    train.train_and_evaluate(c, tmp_path / 'run')
    kept = json.loads((tmp_path / 'run/config.json').read_text())
    assert kept['generator']['input_channels'] == 5
    assert kept['generator']['output_channels'] == 3
    assert train_setup.resolve(c, tmp_path / 'run').config.generator.input_channels == 5  # resumes
    image = np.zeros((SIDE, SIDE, 5), np.uint8)
    assert pix2pix_jax.Translator(tmp_path / 'run')(image).shape == (SIDE, SIDE, 3)


def test_more_channels_than_a_network_may_have_are_refused(tmp_path):
    """Or no command could read the run that was trained on them."""
    for side, channels in (('A', 1025), ('B', 3)):
        (tmp_path / 'train' / side).mkdir(parents=True)
        for i in range(3):
            image = np.random.default_rng(i).integers(0, 256, (SIDE, SIDE, channels), np.uint8)
            np.save(tmp_path / 'train' / side / f'{i}.npy', image)
    with pytest.raises(UserError, match=r'config.generator.input_channels=1025: allowed is 1 to'):
        train_setup.resolve(tiny_config(tmp_path), tmp_path / 'run')
