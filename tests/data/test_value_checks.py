"""Values that fill a sliver of their range, and class indices as images: said, and with no alarm
where nothing is wrong."""

import os
import re

import numpy as np
import pytest
from helpers.pictures import config, write
from helpers.runs import changed, make_pairs, tiny_config
from PIL import Image

from pix2pix_jax.config import validate
from pix2pix_jax.config_fields import FIELDS
from pix2pix_jax.data import (
    class_maps,
    discover,
    image_spec,
    nothing_to_learn,
    picture_values,
    value_checks,
)
from pix2pix_jax.data.formats.pixels import Pixels
from pix2pix_jax.dry_run import dry_run
from pix2pix_jax.errors import DataError

PAIRS = 3


def smooth(rng, size=64, channels=1):
    """A field from 0 to 1: coarse things as in a photo, and some noise."""
    at = np.linspace(0, 7.99, size)
    weights = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(9)))  # linear between 9 points
    field = np.einsum('ya,xb,abc->yxc', weights, weights, rng.normal(size=(9, 9, channels)))
    field += rng.normal(0, 0.1, field.shape)
    return (field - field.min()) / np.ptp(field)


def photo(rng, dtype=np.uint8, channels=3):
    top = 1 if np.dtype(dtype).kind == 'f' else np.iinfo(dtype).max
    return (smooth(rng, channels=channels) * top).astype(dtype)


def night(rng, channels=3):
    """Dark, with some lamps."""
    image = smooth(rng, channels=channels) ** 3 * 120
    y, x = rng.integers(0, 60, 2)
    image[y : y + 4, x : x + 4] = 250
    return image.astype(np.uint8)


def regions(rng, count, size=64):
    """A map of `count` classes in a few regions each."""
    return (smooth(rng, size) * (count - 1e-6)).astype(np.uint8)


def many(rng, count, size=64):
    """A map of regions around points, each of one of 12 of `count` classes."""
    points, classes = rng.uniform(0, size, (24, 2)), rng.choice(count, 12)
    at = np.stack(np.mgrid[0:size, 0:size], -1)[:, :, None]
    nearest = ((at - points) ** 2).sum(-1).argmin(-1)
    return classes[nearest % 12, None].astype(np.uint8)


def quantised(levels, top):
    def image(rng):
        return (np.floor(smooth(rng, 256) ** 2 * (levels - 0.01)) * top // (levels - 1)).astype(
            'u1'
        )

    return image


def thin_lines(rng):
    """Soft, dark lines on black."""
    image = np.zeros((64, 64, 1), np.uint8)
    for x in rng.integers(2, 61, 4):
        image[:, x - 1 : x + 2, 0] = rng.integers(20, 200, (64, 1)) * [0.3, 1, 0.5]
    return image


def coloured(rng):
    return class_maps.voc_palette(12)[regions(rng, 12)[..., 0]]


def bands(rng, count, size=64):
    """A map in which each of `count` classes has a row or more."""
    rows = rng.permutation(count)[np.arange(size) * count // size]
    return rows[:, None, None].repeat(size, 1).astype(np.uint8)


def sparse(dtype):
    def image(rng):
        image = np.zeros((64, 64, 1), dtype)
        image[3, rng.integers(0, 64, 3)] = np.iinfo(dtype).max
        return image

    return image


GOOD = {
    'photos': photo,
    'gray': lambda rng: photo(rng, channels=1),
    '16 bits': lambda rng: photo(rng, np.uint16),
    'floats': lambda rng: photo(rng, np.float32, 1),
    'night': night,
    'gray night': lambda rng: night(rng, 1),
    'edges': lambda rng: (np.abs(smooth(rng) - 0.5) > 0.05).astype(np.uint8) * 255,
    'masks': lambda rng: (smooth(rng) > 0.5).astype(np.uint16) * np.uint16(65535),
    'three shades': lambda rng: np.uint8([0, 128, 255])[regions(rng, 3)],
    'dark': lambda rng: (smooth(rng) * 56).astype(np.uint8),
    'darker than half': lambda rng: (smooth(rng) * 120).astype(np.uint8),
    'quantised': quantised(16, 200),
    'quantised and dark': quantised(32, 124),
    'quantised, few': quantised(5, 160),
    'thin lines': thin_lines,
    'masks of 128': lambda rng: (smooth(rng) > 0.5).astype(np.uint8) * 128,
    'dark shades': lambda rng: np.uint8([0, 50, 255])[regions(rng, 3)],
    'colours of classes': coloured,
    'a few points': sparse(np.uint8),
    'a few points of 16 bits': sparse(np.uint16),
    'black': lambda rng: np.zeros((64, 64, 1), np.uint8),
    'white': lambda rng: np.full((64, 64, 1), 255, np.uint8),
    'RGBA': lambda rng: np.concatenate([photo(rng), np.full((64, 64, 1), 255, np.uint8)], -1),
}


def folder_of(path, *makers, seed=0, split='train'):
    """Pairs of pictures: each maker's in a folder A, A2, ..., the last one's in B."""
    names = ['A', *(f'A{i}' for i in range(2, len(makers))), 'B']
    for i in range(PAIRS):
        rng = np.random.default_rng((seed, i))
        for name, make in zip(names, makers):
            image = make(rng)
            kind = 'npy' if image.dtype.kind == 'f' else 'png'
            write(path / split / name / f'{i}.{kind}', image)
    return path


def remarks(path, channels=(3, 3), **fields):
    fields = {f'dataset.{name}': value for name, value in fields.items()}
    given = {'generator.input_channels': channels[0], 'generator.output_channels': channels[1]}
    return remarks_of(discover.open_splits(config(path, **given | fields))['train'])


def remarks_of(source):
    return value_checks.warnings_for(source, picture_values.summaries_of(source))


def differences(splits):
    return value_checks.differences({s: picture_values.summaries_of(splits[s]) for s in splits})


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('name', GOOD)
def test_nothing_is_said_of_what_is_right(tmp_path, name, seed):
    path = folder_of(tmp_path, GOOD[name], GOOD[name], seed=seed)
    assert remarks(path) == [] and remarks(path, direction='BtoA') == []


def test_nothing_is_said_of_known_data(tmp_path):
    assert remarks(make_pairs(tmp_path, {'train': 3})) == []
    openmoji = changed(**{'dataset.name': 'openmoji', 'image_size': (64, 64)})
    splits = discover.open_splits(validate(openmoji))
    assert [remarks_of(source) for source in splits.values()] == [[]] * len(splits)


def test_nothing_is_said_of_any_split_of_known_data(tmp_path):
    """By the start of a run."""
    openmoji = changed(**{'dataset.name': 'openmoji', 'image_size': (64, 64)})
    boxes = make_pairs(tmp_path, {'train': 3, 'val': 2, 'test': 2})
    found = [discover.open_splits(validate(one)) for one in (openmoji, tiny_config(boxes))]
    if folder := os.environ.get('PIX2PIX_FACADES'):
        found += [discover.open_splits(config(folder, **{'dataset.direction': direction}))
                  for direction in ('AtoB', 'BtoA')]  # fmt: skip
    for splits in found:
        assert nothing_to_learn.warnings_for(splits['train']) == []
        assert not any(differences(splits).values())


@pytest.mark.parametrize('fields', [{}, {'task': 'colorize'}])
def test_nothing_is_said_of_facades(fields):
    folder = os.environ.get('PIX2PIX_FACADES')
    if not folder:
        pytest.skip('PIX2PIX_FACADES names no folder of the real facades')
    assert remarks(folder, (1, 2) if fields else (3, 3), **fields) == []


# ---------------------------------------------------------------- nothing to learn


def nothing(path, **fields):
    fields = {f'dataset.{name}': value for name, value in fields.items()}
    return nothing_to_learn.warnings_for(discover.open_splits(config(path, **fields))['train'])


def of_one(*colour):
    return lambda rng: np.full((64, 64, 3), colour, np.uint8)


@pytest.mark.parametrize('colour', [(0, 0, 0), (255, 255, 255), (255, 0, 90)])
def test_images_of_one_colour(tmp_path, colour):
    path = folder_of(tmp_path, of_one(*colour), photo)
    assert nothing(path) == [
        'inputs are of one colour, the same in all of the 3 pairs looked at: they say nothing'
    ]
    assert nothing(path, direction='BtoA') == [
        'targets are of one colour, the same in all of the 3 pairs looked at: there is nothing to '
        'learn'
    ]


def test_one_other_image_is_enough_wherever_it_is(tmp_path):
    """Of masks most may be empty."""
    for i in range(40):
        write(tmp_path / 'train/A' / f'{i}.png', photo(np.random.default_rng(i)))
        write(tmp_path / 'train/B' / f'{i}.png', np.zeros((64, 64, 1), np.uint8))
    assert len(nothing(tmp_path)) == 1
    mask = np.zeros((64, 64, 1), np.uint8)
    mask[5, 7] = 255
    write(tmp_path / 'train/B' / '38.png', mask)
    assert nothing(tmp_path) == []
    write(tmp_path / 'train/B' / '38.png', np.full((64, 64, 1), 255, np.uint8))
    assert nothing(tmp_path) == []  # one colour, but not the same


def test_drawings_that_are_opacity_alone_are_seen(tmp_path):
    """They lie over white."""

    def drawn(rng, colour):
        opacity = photo(rng, channels=1)
        return np.concatenate([np.full((64, 64, 3), colour, np.uint8), opacity], -1)

    assert nothing(folder_of(tmp_path / 'black', lambda rng: drawn(rng, 0), photo)) == []
    (line,) = nothing(folder_of(tmp_path / 'white', lambda rng: drawn(rng, 255), photo))
    assert line.startswith('inputs are of one colour, the same')


def test_targets_that_are_copies_of_their_inputs(tmp_path):
    path = folder_of(
        tmp_path,
        lambda rng: photo(np.random.default_rng(1)),
        lambda rng: photo(np.random.default_rng(1)),
    )
    assert nothing(path) == [
        'inputs and targets are equal in all of the 3 pairs looked at: is one a copy of the other?'
    ]
    write(path / 'train/B/1.png', photo(np.random.default_rng(9)))
    assert nothing(path) == []


def test_bad_pairs_are_nothing_that_is_said(tmp_path):
    path = folder_of(tmp_path, photo, photo)
    for i in range(PAIRS):
        (path / 'train/A' / f'{i}.png').write_bytes(b'no image')
    assert nothing(path) == []


@pytest.mark.parametrize('name', sorted(GOOD.keys() - {'black', 'white'}))
def test_nothing_is_said_of_pairs_to_learn_from(tmp_path, name):
    path = folder_of(tmp_path, GOOD[name], GOOD[name])
    assert nothing(path) == []


# ---------------------------------------------------------------- other splits than train


def unlike(path, channels=(3, 3), **fields):
    fields = {f'dataset.{name}': value for name, value in fields.items()}
    given = {'generator.input_channels': channels[0], 'generator.output_channels': channels[1]}
    return differences(discover.open_splits(config(path, **given | fields)))


def mask(top, dtype=np.uint8):
    return lambda rng: ((smooth(rng) > 0.5) * top).astype(dtype)


def of_bits(bits):
    return lambda rng: (smooth(rng) * (2**bits - 1)).astype(np.uint16)


@pytest.mark.parametrize('name', GOOD)
def test_nothing_is_said_of_splits_that_are_alike(tmp_path, name):
    folder_of(tmp_path, GOOD[name], GOOD[name])
    for seed, split in enumerate(('val', 'test'), 1):
        folder_of(tmp_path, GOOD[name], GOOD[name], seed=seed, split=split)
    assert unlike(tmp_path) == {'val': [], 'test': []}


def test_nothing_is_said_of_splits_that_differ_as_they_may(tmp_path):
    """Nights beside days, other types that fill their range, masks that are empty."""
    folder_of(tmp_path, photo, mask(255))
    folder_of(tmp_path, night, lambda rng: np.zeros((64, 64, 1), np.uint8), split='val')
    folder_of(tmp_path, lambda rng: photo(rng, np.uint16), mask(65535, np.uint16), split='test')
    assert unlike(tmp_path) == {'val': [], 'test': []}


@pytest.mark.parametrize('train,test,here,there', [
    (mask(255), mask(1), '0 to 1 (uint8) and become -1.00 to -0.99',
     '0 to 255 (uint8) and become -1.00 to 1.00'),
    (mask(1), mask(255), '0 to 255 (uint8) and become -1.00 to 1.00',
     '0 to 1 (uint8) and become -1.00 to -0.99'),
])  # fmt: skip
def test_masks_of_other_values_than_those_of_train(tmp_path, train, test, here, there):
    folder_of(tmp_path, photo, train)
    folder_of(tmp_path, photo, train, seed=1, split='val')
    folder_of(tmp_path, photo, test, seed=2, split='test')
    line = (
        f'test: targets: the values are {here}, and those of train {there} of -1 to 1: '
        'if they are not of one unit, make the files alike'
    )
    assert unlike(tmp_path) == {'val': [], 'test': [line]}
    assert unlike(tmp_path, direction='BtoA')['test'] == [line.replace('targets', 'inputs')]


@pytest.mark.parametrize('train', [of_bits(16), lambda rng: photo(rng, channels=1)])
def test_few_bits_in_test_alone(tmp_path, train):
    folder_of(tmp_path, train, photo)
    folder_of(tmp_path, of_bits(12), photo, split='test')
    (line,) = unlike(tmp_path)['test']
    assert line.startswith('test: inputs: the values are ') and '(uint16) and become -0.99' in line
    folder_of(tmp_path, train, train, photo)
    folder_of(tmp_path, of_bits(16), of_bits(12), photo, split='test')
    (line,) = unlike(tmp_path, (6, 3))['test']
    assert line.startswith('test: input 2: the values are ')


# ---------------------------------------------------------------- slivers


@pytest.mark.parametrize('top, value_range', [
    (1023, '0:1023'), (4095, '0:4095'), (16383, '0:16383'), (3990, '0:4000'), (4000, '0:4000'),
    (210, '0:250'), (9100, '0:10000'), (12200, '0:15000'),
])  # fmt: skip
@pytest.mark.parametrize('side', ['input', 'target'])
def test_few_bits_of_16_and_the_range_to_set(tmp_path, side, top, value_range):
    def few(rng):
        return np.rint(smooth(rng) * top).astype(np.uint16)

    path = folder_of(tmp_path, *((few, photo) if side == 'input' else (photo, few)))
    (line,) = remarks(path)
    field = f'config.dataset.{side}_range'
    assert line.startswith(f'{side}s: 99.8% of the values are ')
    assert re.search(r'a sliver of 0:65535 \(uint16\), and become -(1.00|0.9.) to -0', line)
    assert line.endswith(f' of -1 to 1: --{field}={value_range} would fill it')
    assert remarks(path, **{f'{side}_range': value_range}) == []


@pytest.mark.parametrize('number', range(PAIRS))
def test_few_bits_of_16_beside_a_file_of_8(tmp_path, number):
    """Their values lie in the wider type's range."""
    path = folder_of(tmp_path, photo, lambda rng: (smooth(rng) * 4095).astype(np.uint16))
    write(path / 'train' / 'B' / f'{number}.png', photo(np.random.default_rng(0), channels=1))
    (line,) = remarks(path)
    assert 'a sliver of 0:65535 (uint16)' in line and 'target_range=0:4095 would' in line


@pytest.mark.parametrize('seed', range(20))
def test_what_the_line_says_fills_the_range_and_ends_the_line(tmp_path, seed):
    """Whatever the values are, from 0 on or from elsewhere, of whichever type."""
    rng = np.random.default_rng(seed)
    dtype = rng.choice(['uint16', 'float32'])
    whole = 65535 if dtype == 'uint16' else 1.0
    length = whole * 10 ** rng.uniform(-2.5, -0.62)
    start = rng.choice([0, rng.uniform(0, whole - length)])

    def sliver(rng):
        return (start + smooth(rng) * length).astype(dtype)

    path = folder_of(tmp_path, photo, sliver, seed=seed)
    (line,) = remarks(path, (3, 1))
    text = re.search(r'target_range=(\S+) would', line)[1]
    assert remarks(path, (3, 1), target_range=text) == []
    source = discover.open_splits(config(path, **{
        'generator.output_channels': 1, 'dataset.target_range': text}))['train']  # fmt: skip
    found = np.stack([source[i]['target'] for i in range(PAIRS)])
    assert np.ptp(found) > 1
    assert (np.abs(found) == 1).mean() < 0.01  # next to nothing is cut off


def test_a_range_that_does_not_fit_the_values(tmp_path):
    path = folder_of(tmp_path, lambda rng: photo(rng, np.float32, 1), photo)
    for value_range, become in (('0:255', '-1.00 to -0.99'), ('2:3', '-1.00 to -1.00')):
        (line,) = remarks(path, (1, 3), input_range=value_range)
        assert f'{value_range} (config.dataset.input_range), and become {become} of -1 to 1' in line
        assert '--config.dataset.input_range=0:1 would fill it' in line


@pytest.mark.parametrize('dtype', [np.int16, np.int32, np.float32, np.float64])
def test_a_range_longer_than_the_type_can_count(tmp_path, dtype):
    """20,000 - (-20,000) is no int16."""
    full = lambda rng: (smooth(rng) * 40000 - 20000).astype(dtype)  # noqa: E731
    for i in range(PAIRS):
        rng = np.random.default_rng(i)
        write(tmp_path / 'train' / 'A' / f'{i}.npy', full(rng))
        write(tmp_path / 'train' / 'B' / f'{i}.png', photo(rng))
    (line,) = remarks(tmp_path, (1, 3), input_range='-1000000:1000000')
    assert '--config.dataset.input_range=-20000:20000 would fill it' in line


@pytest.mark.parametrize('wrong', [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_left_out(tmp_path, wrong):
    def holes(rng):
        image = (smooth(rng) * 0.01).astype(np.float32)
        image[5:9] = wrong
        return image

    (line,) = remarks(folder_of(tmp_path / 'some', holes, photo))
    assert '--config.dataset.input_range=0:0.01 would fill it' in line
    none = lambda rng: np.full((64, 64, 1), wrong, np.float32)  # noqa: E731
    assert remarks(folder_of(tmp_path / 'all', none, photo)) == []


def test_some_wrong_pixels_do_not_hide_it(tmp_path):
    def depth(rng):
        image = (smooth(rng) * 3900).astype(np.uint16)
        image[0, 0] = 65535
        return image

    (line,) = remarks(folder_of(tmp_path, photo, depth))
    assert '--config.dataset.target_range=0:4000 ' in line


def test_nearly_black_images(tmp_path):
    dark = lambda rng: (smooth(rng, channels=3) * 20).astype(np.uint8)  # noqa: E731
    lines = remarks(folder_of(tmp_path, dark, dark))
    assert lines == [
        f'{side}s: all of the values are 0 to 20, a sliver of 0:255 (uint8), and become -1.00 to '
        f'-0.84 of -1 to 1: --config.dataset.{side}_range=0:20 would fill it'
        for side in ('input', 'target')
    ]
    opaque = lambda rng: np.concatenate([dark(rng), np.full((64, 64, 1), 255, np.uint8)], -1)  # noqa: E731
    assert len(remarks(folder_of(tmp_path / 'rgba', opaque, photo))) == 1


def test_of_several_inputs_each_has_its_own(tmp_path):
    depth = lambda rng: (smooth(rng) * 3900).astype(np.uint16)  # noqa: E731
    path = folder_of(tmp_path, photo, depth, lambda rng: regions(rng, 12), photo)
    end = '--config.dataset.input_range=0:255,0:4000,0:12 would fill it'
    lines = remarks(path, (5, 3))
    assert [line.partition(':')[0] for line in lines] == ['input 2', 'input 3']
    assert all(line.endswith(end) for line in lines)
    assert remarks(path, (5, 3), input_range='0:255,0:4000,0:12') == []


def test_a_bad_pair_is_left_to_others(tmp_path):
    path = folder_of(tmp_path, photo, lambda rng: (smooth(rng) * 900).astype(np.uint16))
    for i in range(PAIRS):
        assert len(remarks(path)) == (1 if i < PAIRS else 0)
        (path / 'train/A' / f'{i}.png').write_bytes(b'no image')
    assert remarks(path) == []


# ---------------------------------------------------------------- class indices


@pytest.mark.parametrize('count', [66, 151, 182])
def test_the_indices_of_many_classes(tmp_path, count):
    """Of Mapillary, ADE20K and COCO-Stuff; few of them are in one image."""
    path = folder_of(tmp_path, lambda rng: many(rng, count), photo)
    (line,) = remarks(path)
    assert re.match(r'inputs: gray values \d+ to (6|1[0-9])\d look like class indices; ', line)
    (line,) = remarks(path, direction='BtoA')
    assert line.startswith('targets: gray values ')


def test_dark_photos_are_no_classes_but_a_sliver(tmp_path):
    path = folder_of(tmp_path, lambda rng: (smooth(rng) * 24).astype(np.uint8), photo)
    (line,) = remarks(path)
    assert line.startswith('inputs: all of the values are 0 to 24, a sliver of 0:255 (uint8)')


@pytest.mark.parametrize('count', [2, 3, 12, 19, 34, 64])
@pytest.mark.parametrize('void', [False, True])
def test_class_indices_as_images(tmp_path, count, void):
    def indices(rng):
        image = regions(rng, count) if count <= 12 else bands(rng, count)
        image[:5] = 255 if void else image[:5]
        return image

    path = folder_of(tmp_path, indices, photo)
    (line,) = remarks(path)
    classes = f'--config.dataset.input_classes={count} '  # the channels follow
    what = f'gray values 0 to {count - 1}{" and 255" if void else ""}'
    assert line == (
        f'inputs: {what} look like class indices; {classes}takes them one-hot '
        f'(if they are none: --config.dataset.input_range=0:{count - 1})'
    )
    assert remarks(path, (count, 3), input_classes=count) == []
    assert remarks(path, input_range=f'0:{count - 1}') == []
    (line,) = remarks(path, (1, 3))
    assert f'{classes}--config.generator.input_channels={count} takes them' in line
    (line,) = remarks(path, direction='BtoA')
    classes = f'--config.dataset.target_classes={count} '
    assert line == (
        f'targets: {what} look like class indices; {classes}takes them one-hot '
        f'(if they are none: --config.dataset.target_range=0:{count - 1})'
    )


def test_the_channels_that_follow_the_classes_are_the_default():
    assert {FIELDS[field].default for field in image_spec.CHANNELS.values()} == {
        image_spec.DEFAULT_CHANNELS
    }


def test_class_indices_in_half_a_file_and_of_16_bits(tmp_path):
    for i in range(PAIRS):
        rng = np.random.default_rng(i)
        labels = regions(rng, 5).repeat(3, axis=-1)
        write(tmp_path / 'half' / 'train' / f'{i}.png', np.concatenate([photo(rng), labels], 1))
    (line,) = remarks(tmp_path / 'half', direction='BtoA')
    assert 'input_classes=5' in line and 'takes them one-hot, from a folder of their own' in line
    deep = lambda rng: regions(rng, 5).astype(np.uint16)  # noqa: E731
    (line,) = remarks(folder_of(tmp_path / 'deep', deep, photo))
    assert 'input_classes=5' in line


def test_class_indices_of_other_integers_are_an_error_that_says_how(tmp_path):
    for i in range(PAIRS):
        rng = np.random.default_rng(i)
        write(tmp_path / 'train' / 'A' / f'{i}.npy', regions(rng, 5).astype(np.int32))
        write(tmp_path / 'train' / 'B' / f'{i}.png', photo(rng))
    with pytest.raises(DataError, match='or of classes --config.dataset.input_classes=5$'):
        _ = discover.open_splits(config(tmp_path))['train'][0]


# ---------------------------------------------------------------- where it is said


def test_the_start_of_a_run_says_it(tmp_path, capsys):
    path = folder_of(tmp_path / 'data', lambda rng: regions(rng, 12), photo)
    dry_run(tiny_config(path), tmp_path / 'run')
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith('warning: ')]
    assert line.startswith('warning: inputs: gray values 0 to 11 look like class indices; ')


def test_the_start_of_a_run_says_what_is_wrong_with_each_split(tmp_path, capsys):
    path = folder_of(tmp_path / 'data', of_one(0, 0, 0), mask(255))
    folder_of(path, photo, mask(1), split='test')
    dry_run(tiny_config(path), tmp_path / 'run')
    lines = [x for x in capsys.readouterr().out.splitlines() if x.startswith('warning: ')]
    starts = ('warning: inputs are of one colour', 'warning: test: targets: the values are ')
    assert len(lines) == 2 and all(map(str.startswith, lines, starts)), lines


def test_a_palette_of_colours_is_no_map_of_indices(tmp_path):
    for i in range(PAIRS):
        rng = np.random.default_rng(i)
        image = Image.fromarray(regions(rng, 12)[..., 0], 'P')
        image.putpalette(class_maps.voc_palette(12).ravel().tolist())
        (tmp_path / 'train/A').mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / f'train/A/{i}.png')
        write(tmp_path / 'train' / 'B' / f'{i}.png', photo(rng))
    assert remarks(tmp_path) == []


@pytest.mark.parametrize('values,ends,said', [
    (np.linspace(0, 0.1, 64, dtype=np.float32), (0, 0.1), ''),  # 0.1 is rounded in the file
    (np.linspace(-0.1, 2.4, 64, dtype=np.float32), (-0.1, 2.4), ''),
    (np.linspace(0, 0.2, 64, dtype=np.float32), (0, 0.1), 'values from 0 to 0.2 lie beyond 0:0.1'),
    (np.arange(64, dtype=np.int16) - 9, (0, 63), 'values from -9 to 54 lie beyond 0:63'),
    (np.full(64, np.nan), (0, 1), ''),
    (np.full(64, -9999, np.int16), (0, 1), ''),  # all of it is no-data
])  # fmt: skip
def test_values_beyond_a_range(values, ends, said):
    spec = image_spec.ImageSpec('target', 1, (ends,), nodata='-9999')
    picture = Pixels(values.reshape(8, 8, 1))
    line = value_checks.about_clipped(picture_values.summary_of([picture], spec, None))
    assert line.startswith(said) and bool(line) == bool(said)
