"""Maps of classes: from files of indices and of colours to one-hot, and back to colours."""

import dataclasses
import re

import numpy as np
import pytest
from helpers.runs import changed, tiny_config
from PIL import Image

from pix2pix_jax import train_setup
from pix2pix_jax.config import validate
from pix2pix_jax.data import (
    class_maps,
    discover,
    image_spec,
    label_colors,
    nothing_to_learn,
    pipeline,
    preflight,
)
from pix2pix_jax.data.formats.pixels import Pixels
from pix2pix_jax.distributed import feed
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.web import class_brushes
from pix2pix_jax.workdir import config_json

SIZE = 32
TABLE = 'sky 0,0,255;car 255,0,0;tree 0,128,0;void 0,0,0;'
COLOURS = np.uint8([[0, 0, 255], [255, 0, 0], [0, 128, 0], [0, 0, 0]])
RNG = np.random.default_rng(0)
MAP = RNG.integers(0, 4, (4, 4)).repeat(8, 0).repeat(8, 1)  # the last is no class
MAP[:8, :8] = 3
PHOTO = RNG.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def config(folder, **more):
    fields = {'dataset__target_classes': 3, 'dataset__path': str(folder), 'dataset__jitter': 1.0}
    return validate(changed(**(fields | {'image_size': (SIZE, SIZE)} | more)))


def folder_of(folder, label, extension='.png', **options):
    """Writes a pair in two folders: photo, map."""
    for side, image in (('A', PHOTO), ('B', label)):
        path = folder / 'train' / side
        path.mkdir(parents=True)
        Image.fromarray(image).save(path / f'1{extension}', **options)
    return folder


def pair_of(folder, **more):
    some = config(folder, **more)
    return discover.open_splits(some)['train'][0], some


def error_of_pair(folder, **more):
    with pytest.raises(DataError) as raised:
        pair_of(folder, **more)
    assert '\n' not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ('extension', 'options'), [('.png', {}), ('.jpg', {'quality': 75}), ('.jpg', {'quality': 40})]
)
def test_colours_become_classes_also_after_jpeg(tmp_path, extension, options):
    folder_of(tmp_path, COLOURS[MAP], extension, **options)
    pair, some = pair_of(tmp_path, dataset__colors=TABLE)
    found, inside = pair['target'][..., 0], (np.indices((SIZE, SIZE)) % 8 // 2 % 3 != 0).all(0)
    expected = np.where(MAP == 3, class_maps.VOID, MAP)
    inside = inside if options else np.ones_like(inside)
    np.testing.assert_array_equal(found[inside], expected[inside])
    np.testing.assert_array_equal(pair['valid'], pair['target'] != class_maps.VOID)
    floats = pipeline.as_floats(pair, some)
    np.testing.assert_array_equal(class_maps.most_probable(floats['target']), pair['target'])
    assert set(np.unique(floats['target'])) == {-1, 1}


def test_both_halves_of_a_file_may_be_a_photo_and_a_map(tmp_path):
    (tmp_path / 'train').mkdir()
    both = np.concatenate([PHOTO, COLOURS[MAP]], axis=1)
    Image.fromarray(both).save(tmp_path / 'train' / '1.png')
    pair, _ = pair_of(tmp_path, dataset__colors=TABLE, dataset__layout='side_by_side')
    np.testing.assert_array_equal(pair['target'][..., 0], np.where(MAP == 3, 255, MAP))
    np.testing.assert_array_equal(pair['input'], PHOTO)
    with pytest.raises(UserError, match='allowed are two folders, a list, or colours'):
        pair_of(tmp_path, dataset__layout='side_by_side')


@pytest.mark.parametrize('colour', [(255, 255, 0), (30, 0, 255)])  # far off; near, in a PNG
def test_an_area_of_another_colour_is_refused_by_file_and_colour(tmp_path, colour):
    image = COLOURS[MAP]
    image[:8, :8] = colour
    message = error_of_pair(folder_of(tmp_path, image), dataset__colors=TABLE)
    assert f'train/B/1.png has the colour {",".join(map(str, colour))}, which is not' in message


def test_a_photo_is_no_map_in_colours(tmp_path):
    smooth = np.linspace(60, 200, SIZE).astype(np.uint8)[:, None, None].repeat(SIZE, 1).repeat(3, 2)
    message = error_of_pair(folder_of(tmp_path, smooth, '.jpg'), dataset__colors=TABLE)
    assert 'train/B/1.jpg has the colour' in message


def test_a_table_without_void_gives_batches_without_valid(tmp_path):
    folder_of(tmp_path, COLOURS[MAP % 3])
    pair, _ = pair_of(tmp_path, dataset__colors=TABLE.replace('void 0,0,0;', ''))
    assert 'valid' not in pair


@pytest.mark.parametrize('void', ['255', '0', ''])
def test_the_void_index_is_no_class(tmp_path, void):
    indices = MAP.astype(np.uint8) if void != '255' else np.where(MAP == 3, 255, MAP).astype('u1')
    if void == '':
        indices = indices % 3
    folder_of(tmp_path, indices)
    count = 4 if void == '0' else 3
    more = {'dataset__target_classes': count, 'generator__output_channels': count}
    pair, some = pair_of(tmp_path, dataset__void=void, **more)
    none = indices == int(void or 300)
    assert ('valid' in pair) == bool(void)
    if void:
        np.testing.assert_array_equal(pair['valid'][..., 0], ~none)
    one_hot = pipeline.as_floats(pair, some)['target']
    np.testing.assert_array_equal((one_hot == 1).sum(-1), ~none)
    np.testing.assert_array_equal(one_hot.argmax(-1)[~none], indices[~none])


def test_a_mask_leaves_no_class(tmp_path):
    folder_of(tmp_path, (MAP % 3).astype(np.uint8))
    (tmp_path / 'train' / 'mask').mkdir()
    mask = (np.arange(SIZE) < 9).astype(np.uint8)[:, None].repeat(SIZE, 1)
    Image.fromarray(mask).save(tmp_path / 'train' / 'mask' / '1.png')
    pair, _ = pair_of(tmp_path, dataset__mask='mask', dataset__void='')
    np.testing.assert_array_equal(pair['valid'][..., 0], mask)
    np.testing.assert_array_equal(pair['target'][..., 0] == class_maps.VOID, mask == 0)


def test_what_are_no_class_indices_is_named_for_what_it_is(tmp_path):
    gray = (MAP % 3).astype(np.uint8)
    assert '1.jpg is compressed with loss (JPEG, WebP), which turns class indices' in error_of_pair(
        folder_of(tmp_path / 'jpeg', gray, '.jpg')
    )
    tiff = folder_of(tmp_path / 'tiff', gray, '.tif', compression='jpeg')
    assert '1.tif is compressed with loss' in error_of_pair(tiff)
    whole = folder_of(tmp_path / 'whole', gray, '.tif', compression='tiff_lzw')
    pair_of(whole)
    deep = (MAP % 3 * 9000).astype(np.uint16)
    assert '1.png has the class 18000 in 16 bits, as depth or numbers of objects' in error_of_pair(
        folder_of(tmp_path / 'deep', deep)
    )
    message = error_of_pair(folder_of(tmp_path / 'rgb', COLOURS[MAP]))
    assert 'has 3 channels of uint8' in message and '--config.dataset.colors=FILE' in message
    pair, _ = pair_of(folder_of(tmp_path / 'good', deep // 9000))  # 16 bits are no harm
    np.testing.assert_array_equal(pair['target'][..., 0], MAP % 3)


@pytest.mark.parametrize(('name', 'channels'), [('input', 'input'), ('target', 'output')])
def test_the_number_of_classes_is_that_of_the_channels(name, channels, tmp_path):
    given = changed(**{f'dataset__{name}_classes': 4, 'dataset__path': str(tmp_path)})
    filled = validate(given)
    assert filled.generator[f'{channels}_channels'] == 4
    assert given.generator[f'{channels}_channels'] == 3
    (tmp_path / 'config.json').write_text(config_json.to_json(filled))
    kept = config_json.load_config(tmp_path)
    assert kept == filled and config_json.differences(kept, validate(given)) == []  # it resumes


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'generator__output_channels': 4}, 'config.generator.output_channels=4: allowed is 3'),
        ({'dataset__target_range': '0:9'}, 'target_classes=3: classes have no target_range'),
        ({'dataset__void': '-1'}, "config.dataset.void='-1': allowed is a class index"),
        ({'dataset__colors': 'a 0,0,0;b 1,1,1;'}, 'target_classes=3: allowed is 2, the number'),
        ({'dataset__colors': 'a 0,0,0;b 9,9,9;c 0,0,0'}, "'a' and 'c' have one colour, 0,0,0"),
        ({'dataset__colors': TABLE, 'dataset__palette': TABLE}, 'dataset.palette: it shows class'),
        ({'discriminator__augment': 'color'}, 'no color where config.dataset.target_classes=3'),
        ({'dataset__task': 'denoise'}, "config.dataset.task='denoise' makes its inputs of photos"),
        ({'dataset__target_classes': 0, 'loss__class_weight': 1.0}, 'class_weight=1.0: allowed is'),
    ],
)
def test_fields_that_do_not_go_together(tmp_path, fields, message):
    with pytest.raises(UserError) as raised:
        config(tmp_path, **fields)
    assert message in str(raised.value) and '\n' not in str(raised.value)


def test_classes_are_shown_in_their_palette_which_a_run_finds(tmp_path):
    folder_of(tmp_path, PHOTO)
    image = Image.fromarray(MAP.astype(np.uint8))
    image.putpalette([9, 8, 7, 255, 0, 0, 0, 255, 0, 1, 2, 3])
    image.save(tmp_path / 'train' / 'B' / '1.png')
    four = {'dataset__target_classes': 4, 'generator__output_channels': 4, 'dataset__void': ''}
    some = config(tmp_path, **four)
    source = discover.open_splits(some)['train']
    assert source.found_palette() == '0 9,8,7;1 255,0,0;2 0,255,0;3 1,2,3;'
    one_hot = pipeline.as_floats(source[0], some)['target']
    palette = np.uint8([[9, 8, 7], [255, 0, 0], [0, 255, 0], [1, 2, 3]])
    for spec in (
        source.specs[1],
        image_spec.of_config(config(tmp_path, dataset__palette=source.found_palette(), **four))[1],
    ):
        shown = dataclasses.replace(source, specs=(source.specs[0], spec))
        found = shown.shown(one_hot[None], 'target')[0]
        np.testing.assert_allclose(found, palette[MAP] / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize('listed', [(0, 1, 3), (1, 2, 3, 4), ('class 4', 4, 3)])
def test_a_palette_that_names_too_few_classes_makes_none_of_them_one(listed):
    """Each class has a name, and a brush with a colour, of its own."""
    palette = '; '.join(f'{name} {40 * i},{99 - i},7' for i, name in enumerate(listed))
    table = label_colors.table(palette, 'config.dataset.palette')
    spec = image_spec.ImageSpec('input', 5, classes=5, palette=table)
    names = class_maps.names(5, table)
    assert names[: len(listed)] == list(map(str, listed)) and len(set(names)) == 5
    indices = np.arange(5).reshape(1, 5, 1)
    picture = class_brushes.to_picture(class_maps.one_hot(indices, 5), spec)
    np.testing.assert_array_equal(class_brushes.to_indices(picture, spec), indices)


def test_one_hot_and_most_probable_are_inverse():
    indices = RNG.integers(0, 256, (5, 7, 1)).astype(np.uint8)
    found = class_maps.most_probable(class_maps.one_hot(indices, 255))
    np.testing.assert_array_equal(found, indices)  # 255, no class, too
    even = np.full((1, 1, 200), 2 / 200 - 1, np.float32)
    assert class_maps.most_probable(even) == 0  # all below 0, and yet a class


def test_a_map_of_one_channel_in_black_and_white():
    values = (MAP % 2 * 255).astype(np.uint8)[..., None]
    table = class_maps.Classes({'off': (0, 0, 0), 'on': (255, 255, 255)})
    found = class_maps.from_colours(Pixels(values), table)
    np.testing.assert_array_equal(found[..., 0], MAP % 2)


def masks_of(folder, maps):
    for side in ('A', 'B'):
        (folder / 'train' / side).mkdir(parents=True)
    for i, values in enumerate(maps):
        Image.fromarray(PHOTO).save(folder / 'train' / 'A' / f'{i}.png')
        Image.fromarray(values).save(folder / 'train' / 'B' / f'{i}.png')
    some = config(folder, dataset__target_classes=2, generator__output_channels=2)
    return some, discover.open_splits(some)['train']


def test_masks_of_0_and_255_are_no_indices_of_two_classes(tmp_path):
    """255 is void there, and one class is left, which is always right."""
    some, source = masks_of(tmp_path, [(MAP % 2 * 255).astype(np.uint8)] * 3)
    with pytest.raises(DataError, match='in its 3 targets there is only class 0 and') as raised:
        nothing_to_learn.check_classes(source)
    assert '\n' not in str(raised.value)
    given = re.search("colors='(.*?)'", str(raised.value))[1]  # the way out that it names is one
    some.dataset.colors = given
    source = discover.open_splits(validate(some))['train']
    nothing_to_learn.check_classes(source)
    np.testing.assert_array_equal(source[0]['target'][..., 0], MAP % 2)


@pytest.mark.parametrize(
    'palette,wanted',
    [
        ([(0, 0, 0), (255, 0, 0), (0, 255, 0)], None),
        ([(0, 0, 0), (0, 255, 0), (255, 0, 0)], (1, 2)),  # two are exchanged
        ([(0, 0, 0), (9, 9, 9), (8, 8, 8)], None),  # other colours say nothing
        ([(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 0)], None),  # of no class in the map
        ([(0, 0, 0)], None),
        ([(0, 0, 0), (0, 0, 1), (0, 0, 2), (128, 128, 0), (0, 128, 0)], None),  # of VOC's 2 and 3
    ],
)
def test_a_palette_in_another_order(palette, wanted):
    known = class_maps.colours(5, np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0)], np.uint8))
    indices = np.array([0, 1, 2, *([3, 4] if len(palette) == 5 else [])], np.uint8)
    assert class_maps.swapped(indices, np.array(palette, np.uint8), known) == wanted


def test_a_rare_class_that_the_sample_has_not_is_found(tmp_path):
    maps = [np.zeros((SIZE, SIZE), np.uint8)] * 41  # of which every third is looked at
    source = masks_of(tmp_path / 'rare', [*maps[1:], MAP.astype(np.uint8) % 2])[1]
    nothing_to_learn.check_classes(source)
    with pytest.raises(DataError, match='only class 0: needed'):
        nothing_to_learn.check_classes(masks_of(tmp_path / 'none', maps)[1])


def test_a_run_does_not_start_on_one_class(tmp_path):
    some, _ = masks_of(tmp_path / 'data', [(MAP % 2 * 255).astype(np.uint8)] * 3)
    with pytest.raises(DataError, match='there is only class 0 and no class'):
        train_setup.resolve(some, tmp_path / 'run')


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('channels', [1, 3, 4])
def test_indices_in_equal_channels_are_indices(dtype, channels):
    """As OpenCV writes a gray map, and others one with an opacity of which all is opaque."""
    indices = (MAP % 3).astype(dtype)
    image = indices[..., None].repeat(channels, -1)
    if channels == 4:
        image[..., 3] = np.iinfo(dtype).max
    picture = Pixels(image, opacity=channels == 4)
    found = class_maps.from_indices(picture, 3, class_maps.NO_VOID, 'target')
    np.testing.assert_array_equal(found[..., 0], indices)
    for place in [(0, 0, 1), (5, 5, 3)][: max(0, channels - 2)]:  # a colour; what is transparent
        other = image.copy()
        other[place] = 7
        with pytest.raises(DataError, match=f'(3|4) channels of {np.dtype(dtype)}: needed'):
            class_maps.from_indices(picture._replace(values=other), 3, class_maps.NO_VOID, 'target')


def test_floats_are_no_indices_with_opacity_either():
    picture = Pixels(np.ones((4, 4, 4), np.float32), opacity=True)
    with pytest.raises(DataError, match='4 channels of float32: needed'):
        class_maps.from_indices(picture, 3, class_maps.NO_VOID, 'target')


def test_what_the_start_advises_for_indices_in_rgb_is_taken(tmp_path, capsys):
    for i in range(3):
        label = np.roll(MAP % 3, i, 0).astype(np.uint8)[..., None].repeat(3, -1)
        for side, image in (('A', PHOTO), ('B', label)):
            path = tmp_path / 'data' / 'train' / side
            path.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path / f'{i}.png')
    some = tiny_config(tmp_path / 'data', dataset__val_fraction=0.0)
    train_setup.resolve(some, tmp_path / 'one')
    warned = [line for line in capsys.readouterr().out.splitlines() if 'class indices' in line]
    assert '--config.dataset.target_classes=3 takes them' in warned[0]
    some = tiny_config(
        tmp_path / 'data', dataset__val_fraction=0.0, dataset__target_classes=3,
        generator__output_channels=3,
    )  # fmt: skip
    train_setup.resolve(some, tmp_path / 'two')


@pytest.mark.parametrize('channels', [1, 3])
def test_indices_are_no_colours_near_black(tmp_path, channels):
    indices = np.where(MAP == 3, 255, MAP).astype(np.uint8)
    image = indices if channels == 1 else indices[..., None].repeat(3, -1)
    message = error_of_pair(folder_of(tmp_path, image), dataset__colors=TABLE)
    assert message.endswith('1.png is a map of indices: leave config.dataset.colors empty')


@pytest.mark.parametrize('value', [0, 2])
def test_one_gray_is_a_colour_of_no_class(tmp_path, value):
    """As a map of which nothing is labelled yet; whether it holds indices it does not say."""
    image = np.full((*MAP.shape, 3), value, np.uint8)
    table = TABLE.replace('void 0,0,0;', '')
    message = error_of_pair(folder_of(tmp_path, image), dataset__colors=table)
    assert 'leave config.dataset.colors empty' not in message
    assert f'{value},{value},{value}' in message


def test_grays_of_a_table_are_its_colours():
    table = class_maps.Classes({'a': (0, 0, 0), 'b': (1, 1, 1), 'c': (2, 2, 2)})
    values = (MAP % 3).astype(np.uint8)[..., None]
    np.testing.assert_array_equal(class_maps.from_colours(Pixels(values), table), values)


def test_a_broken_first_map_is_left_out_where_bad_pairs_are(tmp_path):
    some, source = masks_of(tmp_path / 'data', [MAP.astype(np.uint8) % 2] * 9)
    image = Image.fromarray(MAP.astype(np.uint8) % 2)
    image.putpalette([9, 8, 7, 255, 0, 0])
    for i in range(9):
        image.save(tmp_path / 'data' / 'train' / 'B' / f'{i}.png')
    first = tmp_path / 'data' / 'train' / 'B' / f'{source.names[0]}.png'
    first.write_bytes(first.read_bytes()[:60])
    some.dataset.on_error = 'skip'
    some.dataset.val_fraction = 0.0
    setup = train_setup.resolve(some, tmp_path / 'run')
    assert setup.config.dataset.palette == '0 9,8,7;1 255,0,0;'
    assert len(setup.splits['train']) == 8


def test_jitter_of_the_inputs_leaves_the_classes(tmp_path):
    folder_of(tmp_path, np.where(MAP == 3, 255, MAP).astype(np.uint8))
    plain, jittered = (config(tmp_path, dataset__input_color_jitter=j) for j in (0.0, 0.3))
    source = discover.open_splits(plain)['train']
    batches = [next(pipeline.train_batches(source, some)) for some in (plain, jittered)]
    made = [
        [pipeline.as_floats(batch, some) for batch, some in zip(batches, (plain, jittered))],
        [feed.finished(batch, some) for batch, some in zip(batches, (plain, jittered))],
        [pipeline.augmented(source[0], np.random.default_rng(0), c) for c in (plain, jittered)],
    ]
    for expected, found in made:
        assert not np.array_equal(expected['input'], found['input'])
        np.testing.assert_array_equal(expected['target'], found['target'])
        np.testing.assert_array_equal(expected['valid'], found['valid'])
        shares = (np.asarray(found['target']) == 1).mean((-3, -2)).ravel()
        assert (shares > 0).all() and shares.sum() < 1  # all classes, and the pixels of none


# ---------------------------------------------------------------- palettes that differ


RED, GREEN, BLUE, GRAY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 9, 9)


def write_palettes(folder, palettes, split='train', side='B'):
    """Writes maps of the classes 0 to 2, or of those that there are, and photos beside."""
    for i, (indices, palette) in enumerate(palettes):
        image = Image.fromarray(np.array(indices, np.uint8)[MAP % len(indices)])
        image.putpalette(np.array(palette, np.uint8).ravel().tolist())
        for name, one in ((side, image), ('AB'.replace(side, ''), Image.fromarray(PHOTO))):
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            one.save(folder / split / name / f'{i}.png')


def read_all(folder, **more):
    splits = discover.open_splits(config(folder, **more))
    return {split: [source[i] for i in range(len(source))] for split, source in splits.items()}


def test_palettes_of_which_a_class_has_two_colours_are_refused(tmp_path):
    """As of Pillow's Image.ADAPTIVE, which puts the commonest colour first; skipping is no help."""
    write_palettes(tmp_path, [([0, 1, 2], [RED, GREEN, BLUE]), ([0, 1, 2], [RED, BLUE, GREEN])])
    for on_error in ('raise', 'skip'):
        some = config(tmp_path, dataset__on_error=on_error)
        with pytest.raises(UserError) as raised:
            preflight.decode_all(discover.open_splits(some), some)
        message = str(raised.value)
        assert not isinstance(raised.value, DataError) and raised.value.status == 1
        assert re.search(r'index [12] is the colour \S+ in the palette of \S+/B/[01].png', message)
        assert 'B/0.png' in message and 'B/1.png' in message
        assert '--config.dataset.colors=FILE takes the colours' in message


def test_what_palettes_say_of_other_indices_does_not_count(tmp_path):
    write_palettes(
        tmp_path,
        [
            ([0, 1], [RED, GREEN, GRAY]),  # 2 is not there
            ([0, 2], [RED, GRAY, BLUE]),
            ([0, 1, 2], [RED, GREEN, BLUE, GRAY]),
            ([0, 255], [RED, *[BLUE] * 254, GRAY]),  # no class
            ([0, 255], [RED, *[BLUE] * 254, GREEN]),
        ],
    )
    assert len(read_all(tmp_path)['train']) == 5
    write_palettes(tmp_path / 'two', [([0, 1], [RED, GREEN]), ([0, 2], [RED, GRAY, BLUE])])
    write_palettes(tmp_path / 'two', [([1, 2], [RED, GREEN, GRAY])], split='val')
    with pytest.raises(UserError, match='index 2 is the colour 0,0,255 in .*train/B/1.png, and 9'):
        read_all(tmp_path / 'two')  # of the splits, and of no two in train


def test_palettes_of_inputs_are_compared_too(tmp_path):
    palettes = [([0, 1], [RED, GREEN]), ([0, 1], [GREEN, RED])]
    write_palettes(tmp_path, palettes, side='A')
    fields = {'dataset__target_classes': 0, 'dataset__input_classes': 3}
    with pytest.raises(UserError, match='config.dataset.input_classes takes indices'):
        read_all(tmp_path, **fields)
    red_and_green = {'dataset__colors': 'a 255,0,0;b 0,255,0;', 'dataset__input_classes': 2}
    one, other = read_all(tmp_path, **(fields | red_and_green))['train']  # the way out is one
    np.testing.assert_array_equal(one['input'], 1 - other['input'])


@pytest.mark.parametrize('dtype', ['int8', 'int16', 'int64'])
@pytest.mark.parametrize('void', [class_maps.NO_VOID, 0, 255])
def test_an_index_below_0_is_refused(dtype, void):
    for index in (-1, -2, np.iinfo(dtype).min):
        values = np.array([[[0], [1], [index]]], dtype)
        if index != void:
            with pytest.raises(DataError, match='allowed are 0 to 2'):
                class_maps.from_indices(Pixels(values), 3, void, 'target')
