"""Training on scenes: windows at random places, and a grid of them for val and test."""

import collections
import contextlib
import itertools
import pathlib
import re

import numpy as np
import pytest
import tifffile
from helpers.runs import changed, error_of
from PIL import Image

from pix2pix_jax.config import validate
from pix2pix_jax.data import discover, pipeline, preflight, scene_windows
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.train_setup import open_data
from pix2pix_jax.workdir import data_json
from pix2pix_jax.workdir.config_json import load_config, to_json


def coordinates(height, width, number=0):
    """A scene in which every pixel says where it is: row, column, and the number of the scene."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, number)], -1).astype(np.uint16)


@pytest.fixture
def scenes(tmp_path):
    """Writes scenes of these sizes, in two folders: targets are the inputs plus 1,000."""

    def write(*sizes, split='train', **options):
        for number, (height, width) in enumerate(sizes):
            image = coordinates(height, width, number)
            for side, add in (('A', 0), ('B', 1000)):
                folder = tmp_path / 'data' / split / side
                folder.mkdir(parents=True, exist_ok=True)
                tifffile.imwrite(
                    folder / f'{number}.tif', image + np.uint16(add), photometric='rgb',
                    tile=(32, 32), compression='zlib', **options,
                )  # fmt: skip
        return tmp_path / 'data'

    return write


def config_of(path, **fields):
    fields = {'dataset__mirror': False, 'dataset__preprocess': 'crop'} | fields
    fields = {'image_size': (16, 24), 'dataset__path': str(path)} | fields
    return validate(changed(**fields))


def batches(source, config, count, start=0, **options):
    return list(itertools.islice(pipeline.train_batches(source, config, start, **options), count))


def boxes_of(batch):
    """Where the windows of a batch lie: (scene, top, left)."""
    return [tuple(int(x) for x in image[0, 0, [2, 0, 1]]) for image in batch['input']]


@pytest.mark.parametrize('sizes', [[(90, 130)], [(64, 96), (50, 200), (17, 25)]], ids=str)
def test_no_training_window_touches_a_cell_of_another_split(scenes, sizes):
    path = scenes(*sizes)
    config = config_of(path, dataset__hold_out='window', dataset__val_fraction=0.2, batch_size=8)
    splits = discover.open_splits(config)
    assert set(splits) == {'train', 'val', 'test'}
    held = np.zeros((len(sizes), 200, 200), bool)
    for split in ('val', 'test'):
        for i in range(len(splits[split])):
            cell = splits[split][i]['input']
            held[cell[..., 2], cell[..., 0], cell[..., 1]] = True
    size, seen = config.image_size, collections.Counter()
    for batch in batches(splits['train'], config, 60):
        rows, columns, numbers = (batch['input'][..., c] for c in range(3))
        assert not held[numbers, rows, columns].any()
        np.testing.assert_array_equal(batch['target'], batch['input'] + 1000)
        for number, top, left in boxes_of(batch):  # one piece of one scene
            assert top + size[0] <= sizes[number][0] and left + size[1] <= sizes[number][1]
            seen[number] += 1
        assert (np.ptp(rows, (1, 2)) == size[0] - 1).all()
        assert (np.ptp(columns, (1, 2)) == size[1] - 1).all()
    area = [h * w - held[n].sum() for n, (h, w) in enumerate(sizes)]
    expected = [a // (size[0] * size[1]) for a in area]
    assert scene_windows.epoch(splits['train'], config) == sum(expected)


@pytest.mark.parametrize('size, cell, share', [
    ((16, 24), (16, 24), 0), ((40, 51), (8, 8), 0.3), ((64, 64), (16, 16), 0.5),
    ((33, 70), (16, 8), 0.2), ((48, 48), (16, 16), 0.8),
])  # fmt: skip
def test_all_places_that_are_allowed_are_equally_likely(size, cell, share):
    """Compared with a list of all places, made by looking at every one."""
    rng = np.random.default_rng(0)
    held = rng.random([side // one for side, one in zip(size, cell)]) < share
    held.flat[0] = False
    closed = np.zeros(size, bool)
    for row, column in np.argwhere(held):
        closed[row * cell[0] : (row + 1) * cell[0], column * cell[1] : (column + 1) * cell[1]] = 1
    allowed = [
        (top, left) for top in range(size[0] - cell[0] + 1) for left in range(size[1] - cell[1] + 1)
        if not closed[top : top + cell[0], left : left + cell[1]].any()
    ]  # fmt: skip
    places = scene_windows.Places(size, cell, held)

    class Every:
        """Draws each number once."""

        def __init__(self):
            self.number = -1

        def integers(self, end):
            self.end, self.number = end, self.number + 1
            return self.number

    every = Every()
    found = [places.draw(every)]
    found += [places.draw(every) for _ in range(int(every.end) - 1)]
    assert sorted(found) == allowed


def test_windows_lie_anywhere_and_differ_from_epoch_to_epoch(scenes):
    config = config_of(scenes((64, 96), (128, 96)), batch_size=4, dataset__windows='on')
    train = discover.open_splits(config)['train']
    assert scene_windows.epoch(train, config) == 16 + 32
    epochs = [sum(map(boxes_of, batches(train, config, 12, start)), []) for start in (0, 12)]
    for epoch in epochs:  # of each scene as many windows as fit, whatever the order
        assert collections.Counter(number for number, *_ in epoch) == {0: 16, 1: 32}
    assert not set(epochs[0]) & set(epochs[1])
    tops = {top for epoch in epochs for _, top, _ in epoch}
    assert len(tops) > 40 and any(top % 16 for top in tops)


def test_a_batch_is_a_function_of_seed_and_step(scenes):
    """Resumed, on two hosts, with worker processes: the same windows."""
    config = config_of(scenes((64, 96)), batch_size=4, dataset__windows='on')
    train = discover.open_splits(config)['train']
    whole = batches(train, config, 6)
    resumed = batches(discover.open_splits(config)['train'], config, 2, start=4)
    hosts = [batches(train, config, 6, 0, process_index=i, process_count=2) for i in range(2)]
    for number, batch in enumerate(whole):
        for i, host in enumerate(hosts):
            np.testing.assert_array_equal(host[number]['input'], batch['input'][i::2])
        if number >= 4:
            np.testing.assert_array_equal(resumed[number - 4]['input'], batch['input'])
    config.seed = 1
    assert boxes_of(batches(train, config, 1)[0]) != boxes_of(whole[0])


@pytest.mark.slow
def test_workers_make_the_same_batches_and_name_bad_files(scenes):
    path = scenes((64, 96))
    config = config_of(path, batch_size=4, dataset__windows='on')
    expected = batches(discover.open_splits(config)['train'], config, 3)
    config.dataset.workers = 1
    train = discover.open_splits(config)['train']
    with contextlib.closing(pipeline.train_batches(train, config)) as made:
        for batch, found in zip(expected, made):
            np.testing.assert_array_equal(found['input'], batch['input'])
    (path / 'train/B/0.tif').write_bytes(b'II*\0')
    with (
        pytest.raises(DataError, match='0.tif'),
        contextlib.closing(pipeline.train_batches(train, config)) as made,
    ):
        next(made)


def test_val_and_test_are_the_cells_of_their_files(scenes):
    scenes((64, 96))
    path = scenes((40, 50), split='test')
    config = config_of(path, dataset__windows='on')
    splits = discover.open_splits(config)
    assert set(splits) == {'train', 'test'}
    assert splits['test'].names == ('0/0_0', '0/0_24', '0/16_0', '0/16_24')
    for i, (top, left) in enumerate(itertools.product((0, 16), (0, 24))):
        pair = splits['test'][i]
        expected = coordinates(40, 50)[top : top + 16, left : left + 24]
        np.testing.assert_array_equal(pair['input'], expected)
        np.testing.assert_array_equal(pair['target'], expected + 1000)
        example = pipeline.example(splits['test'], i, config)
        assert example['input'].shape == (16, 24, 3)


def test_files_are_held_out_whole_by_default(scenes):
    path = scenes(*[(48, 72)] * 8)
    config = config_of(path, dataset__windows='on', dataset__val_fraction=0.3)
    splits = discover.open_splits(config)
    assert set(splits) == {'train', 'val'}
    files = {split: {name.split('/')[0] for name in x.names} for split, x in splits.items()}
    assert not files['train'] & files['val'] and files['train'] | files['val'] == set('01234567')
    assert len(splits['train']) == 9 * len(files['train'])


def test_what_is_held_out_is_what_data_json_says(scenes):
    """Also with another seed; and another size of windows is other data."""
    from pix2pix_jax.data.hold_out import Known, SplitPairs

    path = scenes((96, 120))
    config = config_of(path, dataset__hold_out='window', dataset__val_fraction=0.2)
    splits = discover.open_splits(config)
    known = Known(True, {s: SplitPairs(x.names, {}, x.held_out) for s, x in splits.items()})
    config.seed = 9
    again = discover.open_splits(config, known)
    assert {s: x.names for s, x in again.items()} == {s: x.names for s, x in splits.items()}
    assert discover.open_splits(config)['test'].names == splits['test'].names
    assert discover.open_splits(config)['val'].names != splits['val'].names
    config.image_size = (16, 16)
    with pytest.raises(DataError, match='are not there'):
        discover.open_splits(config, known)


@pytest.mark.parametrize('how', ['nodata', 'mask'])
def test_half_of_a_window_counts(scenes, tmp_path, how):
    """Of a scene of which a third has data; where nowhere enough does, the best is taken."""
    path = scenes((96, 144))
    image = coordinates(96, 144) + 1000
    image[:, 48:] = 7
    if how == 'mask':
        (path / 'train/mask').mkdir()
        tifffile.imwrite(path / 'train/mask/0.tif', (image[..., 0] != 7).astype(np.uint8))
    else:
        tifffile.imwrite(path / 'train/B/0.tif', image, photometric='rgb', tile=(32, 32))
    field = {'dataset__nodata': '7'} if how == 'nodata' else {'dataset__mask': 'mask'}
    config = config_of(path, dataset__windows='on', batch_size=8, **field)
    train = discover.open_splits(config)['train']
    shares = np.concatenate([b['valid'].mean((1, 2, 3)) for b in batches(train, config, 20)])
    assert (shares >= 0.5).mean() > 0.9  # ten draws of which about a fifth are good
    plain = config_of(path, dataset__windows='on', batch_size=8)
    for a, b in zip(batches(train, config, 3), batches(train, plain, 3)):
        assert all(x >= y for x, y in zip(a['valid'].mean((1, 2, 3)), b['valid'].mean((1, 2, 3))))


def test_halves_of_one_file(tmp_path):
    (tmp_path / 'train').mkdir()
    image = coordinates(48, 72)
    both = np.concatenate([image, image + 1000], axis=1)
    tifffile.imwrite(tmp_path / 'train/0.tif', both, photometric='rgb', tile=(32, 32))
    fields = {'dataset__layout': 'side_by_side', 'dataset__hold_out': 'window', 'batch_size': 4}
    config = config_of(tmp_path, **fields)
    splits = discover.open_splits(config)
    assert len(splits['train']) + len(splits['test']) == 9
    for batch in batches(splits['train'], config, 5):
        np.testing.assert_array_equal(batch['target'], batch['input'] + 1000)


def test_photos_make_their_own_inputs(tmp_path):
    (tmp_path / 'train').mkdir()
    photo = coordinates(64, 96).astype(np.uint8)
    tifffile.imwrite(tmp_path / 'train/0.tif', photo, photometric='rgb', tile=(32, 32))
    config = config_of(tmp_path, dataset__windows='on', dataset__task='denoise', batch_size=4)
    train = discover.open_splits(config)['train']
    (batch,) = batches(train, config, 1)
    assert batch['input'].shape == batch['target'].shape == (4, 16, 24, 3)


@pytest.mark.parametrize('fields, boxes', [
    ({}, True), ({'dataset__windows': 'off'}, False), ({'image_size': (32, 32)}, False),
    ({'dataset__cache': 'on'}, False), ({'dataset__preprocess': 'resize_and_crop'}, False),
    ({'image_size': (32, 32), 'dataset__hold_out': 'window'}, True),
    ({'image_size': (32, 32), 'dataset__windows': 'on'}, True),
])  # fmt: skip
def test_which_pairs_are_scenes(scenes, fields, boxes):
    """By themselves those of 16 windows or more: 64 x 96 has 16 of 16 x 24, and 6 of 32 x 32."""
    config = config_of(scenes((64, 96)), **fields)
    assert bool(discover.open_splits(config)['train'].boxes) == boxes


@pytest.mark.parametrize('began, then, size, windows', [
    ('auto', 'auto', (16, 24), True), ('auto', 'off', (16, 24), True),
    ('auto', 'auto', (0, 0), True), ('on', 'auto', (16, 24), False),
    ('device', 'off', (16, 24), False), ('auto', 'on', (16, 24), None),
    ('auto', 'device', (16, 24), None),
])  # fmt: skip
def test_the_cache_may_change_when_a_run_resumes(scenes, tmp_path, began, then, size, windows):
    """Pairs stay what they were to the run, or one line says which caches go with windows."""
    config = config_of(scenes((64, 96), (70, 100)), dataset__cache=began)
    workdir = tmp_path / 'run'
    splits, _ = open_data(config, workdir)
    config.dataset.windows = 'on' if splits['train'].boxes else 'off'
    data_json.write_known(workdir, splits, 1)
    (workdir / 'config.json').write_text(to_json(config))
    (workdir / 'checkpoints/last/1').mkdir(parents=True)
    assert load_config(workdir).dataset.cache == began
    resumed = config_of(tmp_path / 'data', dataset__cache=then, image_size=size)
    if windows is None:
        assert error_of(open_data, resumed, workdir) == (
            f'config.dataset.cache={then!r}: the run reads windows of scenes; allowed are auto and '
            'off'
        )
        return
    again, _ = open_data(resumed, workdir)
    assert bool(again['train'].boxes) == windows
    assert {k: (x.names, x.boxes) for k, x in again.items()} == {
        k: (x.names, x.boxes) for k, x in splits.items()
    }


def test_pictures_are_scenes_only_where_it_is_said(tmp_path):
    for side in 'AB':
        (tmp_path / 'train' / side).mkdir(parents=True)
        Image.fromarray(np.zeros((160, 240, 3), np.uint8)).save(tmp_path / f'train/{side}/1.png')
    assert not discover.open_splits(config_of(tmp_path))['train'].boxes
    config = config_of(tmp_path, dataset__hold_out='window')
    assert len(discover.open_splits(config)['train'].boxes) > 80
    assert batches(discover.open_splits(config)['train'], config, 1)[0]['input'].shape[1:3] == (
        16,
        24,
    )


@pytest.mark.parametrize('fields, what', [
    ({'dataset__hold_out': 'window', 'dataset__preprocess': 'none'}, "hold_out='window'"),
    ({'dataset__windows': 'on', 'dataset__preprocess': 'resize_and_crop'}, "windows='on'"),
    ({'dataset__hold_out': 'window', 'dataset__windows': 'off'}, "windows='auto' or 'on'"),
    ({'dataset__windows': 'on', 'dataset__cache': 'device'}, "cache='device'"),
    ({'dataset__windows': 'on', 'image_size': (0, 0)}, 'config.image_size'),
])  # fmt: skip
def test_what_does_not_go_together_is_one_line(tmp_path, fields, what):
    assert what in error_of(lambda: config_of(tmp_path, **fields))


def test_scenes_that_do_not_fit_are_one_line(scenes):
    path = scenes((64, 96), (15, 96))
    with pytest.raises(DataError, match=r'1\.tif is 96x15: no window of 24x16'):
        discover.open_splits(config_of(path, dataset__windows='on'))
    tifffile.imwrite(path / 'train/B/1.tif', coordinates(16, 96), photometric='rgb')
    with pytest.raises(DataError, match=r'1\.tif is 96x15 and .*1\.tif is 96x16: windows are of'):
        discover.open_splits(config_of(path, dataset__windows='on'))
    for side in 'AB':
        (path / f'train/{side}/1.tif').unlink()
    config = config_of(path, dataset__windows='on', dataset__val_fraction=0.1)
    with pytest.raises(DataError, match='has 1 scene: .*hold_out=window'):
        discover.open_splits(config)


def too_small(file):
    for place in (file, pathlib.Path(str(file).replace('/B/', '/A/'))):
        tifffile.imwrite(place, coordinates(15, 96), photometric='rgb')


BAD_SCENES = {
    'of another size than its input': (
        lambda file: tifffile.imwrite(file, coordinates(96, 90), photometric='rgb'),
        r'A/1.tif is 96x96 and .*B/1.tif is 90x96: windows are of files of one size',
    ),
    'empty': (lambda file: file.write_bytes(b''), r'B/1.tif is empty, or no ordinary file'),
    'damaged': (lambda file: file.write_bytes(b'II*'), r'B/1.tif is no JPEG, .* or NumPy image'),
    'too small': (too_small, r'A/1.tif is 96x15: no window of 24x16 .* fits in it'),
}


@pytest.mark.parametrize('windows', ['auto', 'on'])
@pytest.mark.parametrize('bad', BAD_SCENES)
def test_a_bad_scene_leaves_the_others_scenes(scenes, bad, windows):
    """Though it is among the first, of which it is found out whether they are."""
    path = scenes(*[(96, 96)] * 4)
    spoil, line = BAD_SCENES[bad]
    spoil(path / 'train/B/1.tif')
    config = config_of(path, dataset__windows=windows, dataset__on_error='skip')
    train = preflight.decode_all(discover.open_splits(config), config)['train']
    assert list(train.skipped) == ['1'] and re.search(line, train.skipped['1'])
    assert len(train.boxes) == 3 * 24 and '1' not in str(train.names).split('/')
    config.dataset.on_error = 'raise'
    with pytest.raises(DataError, match=f'{line}; --config.dataset.on_error=skip leaves it out$'):
        discover.open_splits(config)
    for number in (0, 2, 3):
        spoil(path / f'train/B/{number}.tif')
    config.dataset.on_error, config.dataset.windows = 'skip', 'on'
    with pytest.raises(DataError, match=r' \(and 3 more\)$'):
        discover.open_splits(config)


def test_the_report_says_how_many_windows(scenes):
    path = scenes((64, 96), (70, 100))
    config = config_of(path, dataset__hold_out='window', dataset__val_fraction=0.1)
    splits = discover.open_splits(config)
    lines = preflight.report(splits, config)
    count = scene_windows.epoch(splits['train'], config)
    assert (
        f'train: {count:,} windows of 24x16 in 2 scenes in an epoch, at random places' in lines[0]
    )
    assert lines[1].startswith(f'val: {len(splits["val"])} windows of 24x16 in ')
    assert 'train is read from its scenes, window by window' in lines
    decoded = preflight.decode_all(splits, config)
    assert decoded['val'].decoded and not decoded['train'].decoded and not decoded['train'].loaded


def test_a_scene_of_which_a_window_is_bad(scenes):
    """It is left out, and no training window touches it."""
    path = scenes((64, 96))
    place = path / 'train/B/0.tif'
    data = bytearray(place.read_bytes())
    with tifffile.TiffFile(place) as tiff:
        start = tiff.pages[0].dataoffsets[-1]  # rows 32 to 64, columns 64 to 96
    data[start : start + 9] = b'damaged!!'
    place.write_bytes(bytes(data))
    config = config_of(path, dataset__windows='on', batch_size=4, dataset__on_error='skip')
    train = preflight.decode_all(discover.open_splits(config), config)['train']
    assert set(train.skipped) == {'0/32_48', '0/32_72', '0/48_48', '0/48_72'}
    assert scene_windows.epoch(train, config) == 12
    assert len(batches(train, config, 10)) == 10
    config.dataset.on_error = 'raise'
    with pytest.raises(UserError, match='4 of 16 pairs'):
        preflight.decode_all(discover.open_splits(config), config)


def write_masks(path, *sizes):
    (path / 'train' / 'mask').mkdir(exist_ok=True)
    for number, size in enumerate(sizes):
        mask = np.zeros(size, np.uint8)
        mask[: size[0] // 2] = 255
        tifffile.imwrite(path / 'train' / 'mask' / f'{number}.tif', mask)


@pytest.mark.parametrize('fields', [{'windows': 'on'}, {'hold_out': 'window'}, {'windows': 'auto'}])
def test_a_mask_of_another_size_is_refused(scenes, fields):
    """Its windows would be those of other places."""
    path = scenes((128, 96), (96, 120))
    write_masks(path, (128, 96), (192, 240))
    fields = {f'dataset__{name}': value for name, value in fields.items()}
    config = config_of(path, dataset__mask='mask', **fields)
    with pytest.raises(DataError) as raised:
        discover.open_splits(config)
    assert str(raised.value) == (
        f'{path}/train/mask/1.tif is 240x192, and its pair 120x96: a mask must have that size'
        '; --config.dataset.on_error=skip leaves it out'
    )
    write_masks(path, (128, 96), (96, 120))
    train = discover.open_splits(config)['train']
    for i, name in enumerate(train.names):
        half = 64 if name.startswith('0/') else 48
        assert train[i]['valid'].mean() == (train.boxes[i][0] < half)


@pytest.mark.parametrize('width, even', [(193, False), (194, True)])
@pytest.mark.parametrize('windows', ['on', 'auto', 'off'])
def test_scenes_side_by_side_of_an_odd_width_are_refused(tmp_path, width, even, windows):
    """Else B would be cut half a pixel off."""
    (tmp_path / 'train').mkdir()
    for i in range(2):
        image = np.zeros((64, width), np.uint8)
        image[:, :96] = image[:, -96:] = np.arange(96)
        tifffile.imwrite(tmp_path / 'train' / f'{i}.tif', image)
    fields = {'dataset__layout': 'side_by_side', 'dataset__val_fraction': 0.0}
    config = config_of(tmp_path, dataset__windows=windows, **fields)
    if even:
        train = discover.open_splits(config)['train']
        assert bool(train.boxes) == (windows != 'off')
        np.testing.assert_array_equal(train[0]['input'][:, :-1], train[0]['target'][:, 1:])
        return
    with pytest.raises(DataError, match='0.tif is 193 pixels wide: side by side, A.B, the width'):
        preflight.decode_all(discover.open_splits(config), config)
