"""Which pixels count: no-data and masks, from files to the batches of training."""

import dataclasses
import itertools
import json

import jax
import numpy as np
import pytest
import tifffile
from etils import epath
from helpers.runs import tiny_config
from PIL import Image

from pix2pix_jax.config import validate
from pix2pix_jax.data import augment, class_maps, discover, masks, pipeline, preflight
from pix2pix_jax.data.formats.pixels import Pixels
from pix2pix_jax.distributed import feed
from pix2pix_jax.errors import DataError
from pix2pix_jax.workdir import data_json

SIDE = 40
LOSSY = [{'format': 'JPEG'}, {'format': 'WEBP'}, {'format': 'TIFF', 'compression': 'jpeg'}]


def pixels(*rows, dtype=np.float32):
    return Pixels(np.array(rows, dtype)[..., None])


@pytest.mark.parametrize('values, nodata, expected', [
    ([[0, 1], [2, 0]], '0', [[1, 0], [0, 1]]),
    ([[np.nan, 1], [2, 0]], 'nan', [[1, 0], [0, 0]]),
    ([[-9999, 1], [2, -9999]], '-9999', [[1, 0], [0, 1]]),
    ([[0.1, 1], [2, 0]], '0.1', [[1, 0], [0, 0]]),  # which float32 rounds
    ([[0, 1], [2, 0]], '', [[0, 0], [0, 0]]),
])  # fmt: skip
def test_no_data_is_found(values, nodata, expected):
    found = masks.missing(pixels(*values), nodata, (0, 1))
    np.testing.assert_array_equal(found[..., 0], np.array(expected, bool))


def test_a_value_of_a_colour_is_no_data_in_all_channels_and_any_other_in_one():
    picture = Pixels(np.array([[[0, 5, 5], [0, 0, 0], [-1, 5, 5]]], np.int16))
    assert masks.missing(picture, '0', (0, 255)).ravel().tolist() == [False, True, False]
    assert masks.missing(picture, '-1', (0, 255)).ravel().tolist() == [False, False, True]
    assert not masks.missing(picture, 'nan', (0, 255)).any()


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize('channels', [1, 3, 4])
@pytest.mark.parametrize('nodata', ['', 'nan', '-9999', '0', '7', '255'])
def test_what_counts_is_told_apart_from_no_data(dtype, channels, nodata):
    value_range = (0, 255)
    values = np.random.default_rng(0).choice([0, 6, 7, 8, 254, 255], (40, 40, channels))
    picture = Pixels(values.astype(dtype), opacity=channels == 4)
    found = masks.told_apart(picture, nodata, value_range)
    assert found.values.dtype == dtype
    assert not masks.missing(found, nodata, value_range).any()
    gaps = masks.missing(picture, nodata, value_range)
    kept = np.where(gaps, 0, picture.values)
    np.testing.assert_array_equal(np.where(gaps, 0, found.values), kept)
    assert np.abs(found.values.astype(float) - picture.values).max() <= 1
    assert found.values.min() >= 0 and found.values.max() <= 255
    if nodata in ('0', '7', '255'):
        assert gaps.any()


def test_what_is_missing_gets_the_nearest_valid_value():
    values = np.array([[7, 0, 0, 3]], np.uint16)[..., None]
    assert masks.filled(Pixels(values), values > 0).values.ravel().tolist() == [7, 7, 3, 3]
    assert not masks.filled(Pixels(values), np.zeros(values.shape, bool)).values.any()
    assert masks.filled(Pixels(values), np.ones(values.shape, bool)).values is values


@pytest.mark.parametrize('shape, box, size', [
    ((40, 50), (0, 0, 50, 40), (13, 22)),
    ((20, 20), (0, 0, 20, 20), (33, 45)),
    ((31, 64), (0, 0, 64, 31), (31, 32)),  # one axis stays
    ((30, 30), (0, 0, 30, 30), (10, 10)),
    ((40, 40), (3.5, 2, 33, 31.25), (20, 20)),
    ((30, 30), (3, 3, 13, 13), (10, 10)),  # a crop of whole pixels
])  # fmt: skip
def test_a_resized_pixel_is_valid_where_no_other_value_changes_it(shape, box, size):
    rng = np.random.default_rng(0)
    valid = (rng.random((*shape, 1)) > 0.02).astype(np.uint8)
    image = rng.uniform(-0.1, 0.1, valid.shape).astype(np.float32)
    window = augment.CropWindow(box, flip=True)
    changed = np.zeros((*size, 1), bool)
    for _ in range(8):
        other = np.where(valid, image, rng.uniform(-0.1, 0.1, valid.shape)).astype(np.float32)
        changed |= np.not_equal(
            *(augment.crop_and_resize(one, window, size) for one in (image, other))
        )
    found = augment.crop_and_resize(valid, window, size, 'valid')
    assert found.dtype == np.uint8 and 0 < found.mean() < 1
    np.testing.assert_array_equal(found, ~changed)


# ---------------------------------------------------------------- files


def write(folder, garbage, split='train', count=3):
    """Pairs in two folders, with masks; under these the targets hold `garbage`."""
    for i in range(count):
        rng = np.random.default_rng(i)
        rows, columns = np.mgrid[:SIDE, :SIDE]
        target = (1000 + 30 * rows + 10 * columns + rng.integers(100)).astype(np.float32)
        mask = np.full((SIDE, SIDE), 255, np.uint8)
        mask[8 * i : 8 * i + 9, 5:17] = 0
        if i == 2:
            mask[:] = 0
        target = np.where(mask > 0, target, garbage)
        photo = np.stack([4 * rows, 4 * columns, rows + columns], -1).astype(np.uint8)
        for name in ('A', 'B', 'mask'):
            (folder / split / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(folder / split / 'A' / f'{i}.png')
        np.save(folder / split / 'B' / f'{i}.npy', target.astype(np.float32))
        Image.fromarray(mask).save(folder / split / 'mask' / f'{i}.png')
    return folder


def config_of(folder, **fields):
    fields = {
        'image_size': (32, 32), 'batch_size': 2, 'dataset.target_range': '0:4000',
        'generator.output_channels': 1, 'dataset.rotate': True, 'dataset.vertical_flip': True,
    } | fields  # fmt: skip
    config = tiny_config(folder)
    config.update_from_flattened_dict(fields)
    return validate(config)


def batches(config):
    train = preflight.decode_all(discover.open_splits(config), config)['train']
    return list(itertools.islice(pipeline.train_batches(train, config), 4)), train


@pytest.mark.parametrize('jitter', ['resize_then_crop', 'box'])
def test_no_batch_depends_on_what_is_not_valid(tmp_path, jitter):
    fields = {'dataset.jitter_method': jitter, 'dataset.color_jitter': 0.3}
    masked = {'dataset.mask': 'mask'} | fields
    a, _ = batches(config_of(write(tmp_path / 'a', 0), **masked))
    b, source = batches(config_of(write(tmp_path / 'b', np.nan), **masked))
    c, _ = batches(config_of(write(tmp_path / 'c', -9999), **fields, **{'dataset.nodata': '-9999'}))
    for same in (b, c):
        for one, other in zip(a, same, strict=True):
            assert one.keys() == other.keys() == {'input', 'target', 'valid', 'index'}
            for key in one:
                np.testing.assert_array_equal(one[key], other[key])
    assert {0.0, 1.0} == set(np.unique([batch['valid'] for batch in a]))
    assert source.has_valid and source.has_units


def test_the_valid_pixels_are_those_of_the_crop(tmp_path):
    """They are cut and flipped as the target: its garbage is a mark that travels with it."""
    config = config_of(write(tmp_path, 4000), **{'dataset.jitter': 1.25, 'dataset.mask': 'mask'})
    train = preflight.decode_all(discover.open_splits(config), config)['train']
    marked = tuple(pair | {'target': pair['valid']} for pair in train.loaded)
    for batch in itertools.islice(
        pipeline.train_batches(dataclasses.replace(train, loaded=marked), config), 4
    ):
        np.testing.assert_array_equal(batch['target'], batch['valid'])


def test_the_device_cuts_the_same(tmp_path):
    config = config_of(write(tmp_path, 0), **{'dataset.nodata': '0'})
    _, train = batches(config)
    devices = jax.devices()[:1]
    both = [
        next(feed.batches(dataclasses.replace(train, on_device=on), config, devices, 0))
        for on in (False, True)
    ]
    assert both[0]['valid'].dtype == np.float32 and 0 < both[0]['valid'].mean() < 1
    for key in both[0]:
        np.testing.assert_array_equal(both[0][key], both[1][key])


def test_without_masks_nothing_more_travels(tmp_path):
    made, source = batches(config_of(write(tmp_path, 0)))
    assert made[0].keys() == {'input', 'target', 'index'} and not source.has_valid


def error(config):
    with pytest.raises(DataError) as raised:
        batches(config)
    assert '\n' not in str(raised.value)
    return str(raised.value)


def test_bad_masks_are_named(tmp_path):
    config = config_of(write(tmp_path, 0), **{'dataset.mask': 'mask'})
    folder = tmp_path / 'train' / 'mask'
    good = (folder / '1.png').read_bytes()
    for lossy in LOSSY:
        Image.new('L', (SIDE, SIDE)).save(folder / '1.png', **lossy)
        assert 'mask/1.png is compressed with loss' in error(config)
    Image.new('L', (SIDE, SIDE)).save(folder / '1.png', 'WEBP', lossless=True)
    batches(config)
    Image.new('L', (SIDE, 8)).save(folder / '1.png')
    assert 'mask/1.png is 40x8, and its pair 40x40' in error(config)
    (folder / '1.png').unlink()
    assert 'mask has no mask of 1 pairs: 1' in error(config)
    (folder / '1.png').write_bytes(good)
    config.dataset.mask = 'masks'
    assert "config.dataset.mask='masks': there is no" in error(config)


@pytest.mark.parametrize('photometric', ['minisblack', 'miniswhite'])
@pytest.mark.parametrize('dtype', [bool, np.uint8, np.uint16])
@pytest.mark.parametrize('box', [None, (4, 20, 8, 40)])
def test_a_tiff_counts_where_it_is_not_shown_black(tmp_path, photometric, dtype, box):
    counts = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 7 > 1
    top = 1 if dtype is bool else np.iinfo(dtype).max
    values = np.where(counts == (photometric == 'minisblack'), top, 0).astype(dtype)
    file = epath.Path(tmp_path / '1.tif')
    tifffile.imwrite(file, values, photometric=photometric)
    top, bottom, left, right = box or (0, SIDE, 0, SIDE)
    found = masks.read(file, (bottom - top, right - left), box)
    np.testing.assert_array_equal(found[..., 0], counts[top:bottom, left:right])


def test_a_lossless_webp_with_a_profile_is_a_mask(tmp_path):
    counts = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 7 > 1
    file = epath.Path(tmp_path / '1.webp')
    Image.fromarray(counts).convert('RGB').save(file, lossless=True, icc_profile=b'x' * 501)
    assert (masks.read(file, (SIDE, SIDE))[..., 0] == counts).all()
    Image.fromarray(counts).convert('RGB').save(file, icc_profile=b'VP8L' * 9)
    with pytest.raises(DataError, match='is compressed with loss'):
        masks.read(file, (SIDE, SIDE))


def test_masks_lie_beside_pairs_in_one_file_and_in_a_column(tmp_path):
    pair = np.zeros((SIDE, 2 * SIDE, 3), np.uint8)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[10:] = 1
    (tmp_path / 'beside' / 'train' / 'mask').mkdir(parents=True)
    Image.fromarray(pair).save(tmp_path / 'beside' / 'train' / '0.png')
    Image.fromarray(mask).save(tmp_path / 'beside' / 'train' / 'mask' / '0.png')
    source = discover.open_splits(tiny_config(tmp_path / 'beside', dataset__mask='mask'))['train']
    assert source.names == ('0',)
    np.testing.assert_array_equal(source[0]['valid'][..., 0], mask)

    write(tmp_path / 'list', 0)
    rows = 'input,target,mask\ntrain/A/1.png,train/B/1.npy,train/mask/1.png\n'
    (tmp_path / 'list' / 'train.csv').write_text(rows)
    config = config_of(tmp_path / 'list', **{'dataset.layout': 'list'})
    assert 'valid' not in discover.open_splits(config)['train'][0]  # nobody asked for the column
    config.dataset.mask = 'mask'
    source = discover.open_splits(config)['train']
    assert source[0]['valid'].sum() == SIDE * SIDE - 9 * 12
    (tmp_path / 'list' / 'train.csv').write_text(rows.replace('train/mask/1.png', ''))
    assert 'train.csv, line 2: there is no mask' in error(config)


@pytest.mark.parametrize('layout', ['two_folders', 'csv', 'json'])
def test_masks_that_nobody_asked_for_are_said(tmp_path, layout, capsys):
    write(tmp_path, 1)
    place = tmp_path / 'train/mask'
    if layout != 'two_folders':
        place = tmp_path / f'train.{layout}'
        row = {'input': 'train/A/1.png', 'target': 'train/B/1.npy', 'mask': 'train/mask/1.png'}
        text = (
            json.dumps([row]) if layout == 'json' else f'{",".join(row)}\n{",".join(row.values())}'
        )
        place.write_text(text)
    what = place if layout == 'two_folders' else f'the column mask of {place}'
    line = f'{what} is not used: --config.dataset.mask=mask takes it\n'
    fields = {'dataset.layout': 'two_folders' if layout == 'two_folders' else 'list'}
    for mask, said in (('', True), ('mask', False)):
        source = discover.open_splits(config_of(tmp_path, **fields, **{'dataset.mask': mask}))
        assert ('valid' in source['train'][0]) != said
        assert (line in capsys.readouterr().out) == said


def test_inputs_that_are_no_photos_are_filled(tmp_path):
    folder = write(tmp_path, 0)
    depth = np.full((SIDE, SIDE), 500, np.float32)
    depth[3:6] = 0
    for i in range(3):
        (folder / 'train' / 'A' / f'{i}.png').unlink()
        np.save(folder / 'train' / 'A' / f'{i}.npy', depth)
    fields = {'dataset.nodata': '0', 'dataset.input_range': '0:1000'}
    config = config_of(folder, **fields, **{'generator.input_channels': 1})
    assert np.ptp(discover.open_splits(config)['train'][0]['input']) == 0


@pytest.mark.parametrize('lossy', LOSSY, ids=lambda lossy: lossy['format'])
def test_no_data_is_not_looked_for_after_a_lossy_compression(tmp_path, lossy):
    folder = write(tmp_path, 0)
    for i in range(3):
        (folder / 'train' / 'B' / f'{i}.npy').unlink()
        image = Image.fromarray(np.arange(SIDE * SIDE).reshape(SIDE, SIDE).astype(np.uint8))
        image.save(folder / 'train' / 'B' / f'{i}.png', **lossy)
    assert 'B/0.png is compressed with loss' in error(config_of(folder, **{'dataset.nodata': '0'}))
    batches(config_of(folder))


@pytest.mark.parametrize('kind', ['csv', 'json'])
def test_a_pair_of_a_list_without_a_mask_is_left_out_where_that_is_allowed(tmp_path, kind, capsys):
    write(tmp_path, 0, count=4)
    rows = [
        {'input': f'train/A/{i}.png', 'target': f'train/B/{i}.npy', 'mask': f'train/mask/{i}.png'}
        for i in range(4)
    ]
    rows[1]['mask'], rows[2]['mask'] = '', 'train/mask/nowhere.png'
    texts = {
        'json': json.dumps(rows),
        'csv': '\n'.join(
            ','.join(row)
            for row in ({k: k for k in rows[0]}.values(), *(row.values() for row in rows))
        ),
    }
    (tmp_path / f'train.{kind}').write_text(texts[kind])
    fields = {'dataset.layout': 'list', 'dataset.mask': 'mask'}
    where = 'line 3' if kind == 'csv' else 'item 1'
    assert f'train.{kind}, {where}: there is no mask' in error(config_of(tmp_path, **fields))
    config = config_of(tmp_path, **fields, **{'dataset.on_error': 'skip'})
    found = preflight.decode_all(discover.open_splits(config), config)
    (line,) = data_json.left_out(found)
    assert line.startswith('train: 2 bad pairs left out, 2 used')
    assert where in line and 'nowhere.png' in line
    kept = found['train']
    assert kept.names == ('train/B/0', 'train/B/3')
    assert [str(mask)[-5] for mask in kept.masks] == ['0', '3']


def test_held_out_pairs_keep_their_own_masks(tmp_path):
    write(tmp_path, 0, count=12)
    for i in range(12):
        mask = np.full((SIDE, SIDE), 255, np.uint8)
        mask[i] = 0
        Image.fromarray(mask).save(tmp_path / 'train' / 'mask' / f'{i}.png')
    fields = {'dataset.mask': 'mask', 'dataset.val_fraction': 0.3}
    splits = discover.open_splits(config_of(tmp_path, **fields))
    assert len(splits['train']) > 1 and len(splits['val']) > 1
    assert sum(map(len, splits.values())) == 12
    for source in (*splits.values(), *preflight.decode_all(splits, config_of(tmp_path)).values()):
        for i, name in enumerate(source.names):
            row = np.flatnonzero(~source[i]['valid'].any((1, 2)))
            assert row.tolist() == [int(name)]


# ---------------------------------------------------------------- palettes


def palette_file(path, indices, palette):
    image = Image.fromarray(np.array(indices, np.uint8))
    image.putpalette(np.ravel(palette).tolist())
    image.save(path)


INDICES = [[0, 1, 2], [2, 1, 0]]


@pytest.mark.parametrize(
    'palette, counts',
    [
        ([(0, 0, 0), (255, 255, 255), (128, 0, 0)], [0, 1, 1]),
        ([(255, 255, 255), (0, 0, 0), (0, 0, 9)], [1, 0, 1]),  # Pillow's quantize: white first
        ([(90, 90, 90), (0, 0, 0), (255, 0, 0)], [1, 0, 1]),
        (None, [0, 1, 1]),  # PASCAL VOC's
    ],
)
def test_of_a_palette_black_does_not_count(tmp_path, palette, counts):
    file = tmp_path / 'mask.png'
    palette_file(file, INDICES, class_maps.voc_palette(256) if palette is None else palette)
    found = masks.read(epath.Path(file), (2, 3))[..., 0]
    np.testing.assert_array_equal(found, np.array(counts, bool)[np.array(INDICES)])
    with Image.open(file) as image:  # the same as a file without a palette
        image.convert('RGB').save(file)
    np.testing.assert_array_equal(masks.read(epath.Path(file), (2, 3))[..., 0], found)


def test_a_colour_as_index_0_may_be_either_and_is_refused(tmp_path):
    file, colours = tmp_path / 'mask.png', [(128, 64, 128), (0, 0, 0), (9, 9, 9)]  # Cityscapes'
    palette_file(file, INDICES, colours)
    with pytest.raises(DataError, match='mask.png has the colour 128,64,128 as index 0 of its pal'):
        masks.read(epath.Path(file), (2, 3))
    palette_file(file, [[1, 2, 2]], colours)
    np.testing.assert_array_equal(masks.read(epath.Path(file), (1, 3)).ravel(), [0, 1, 1])


def test_bits_and_grays_are_masks_as_they_are(tmp_path):
    mask = np.array([[0, 255, 255], [255, 0, 0]], np.uint8)
    for mode in ('1', 'L', 'RGB', 'LA'):
        Image.fromarray(mask).convert(mode).save(tmp_path / 'mask.png')
        found = masks.read(epath.Path(tmp_path / 'mask.png'), (2, 3))
        np.testing.assert_array_equal(found[..., 0], mask > 0)
