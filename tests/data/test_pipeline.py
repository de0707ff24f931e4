import dataclasses
import itertools

import numpy as np
import pytest
from etils import epath
from helpers.pictures import noise, write
from PIL import Image

from pix2pix_jax.config import default_config, validate
from pix2pix_jax.data import augment, discover, pipeline, preflight
from pix2pix_jax.errors import DataError

PAIRS = 7


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Pairs i of 18x20 pixels: A has the value 10 i, B a gradient; B is A's geometry in red."""
    folder = tmp_path_factory.mktemp('pairs')
    (folder / 'train').mkdir()
    for i in range(PAIRS):
        image = np.random.default_rng(i).integers(0, 256, (20, 18, 3), np.uint8)
        pair = np.concatenate([image, 255 - image], axis=1)
        Image.fromarray(pair).save(folder / 'train' / f'{i}.png')
    return folder


def config(folder, **fields):
    c = default_config()
    c.image_size, c.batch_size, c.dataset.path = (16, 16), 4, str(folder)
    c.update_from_flattened_dict(fields)
    return validate(c)


def train(folder):
    return discover.open_splits(config(folder))['train']


def take(n, *args, **kwargs):
    """The first batches, as floats; `args` are those of train_batches, the second is the config."""
    batches = itertools.islice(pipeline.train_batches(*args, **kwargs), n)
    return [pipeline.as_floats(batch, args[1]) for batch in batches]


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key])


def test_shapes_and_ranges(folder):
    c = config(folder, **{'generator.input_channels': 1, 'generator.output_channels': 4})
    c.image_size = (16, 32)
    (batch,) = take(1, discover.open_splits(c)['train'], c)
    assert batch['input'].shape == (4, 16, 32, 1) and batch['target'].shape == (4, 16, 32, 4)
    np.testing.assert_array_equal(batch.pop('index'), np.arange(4))
    for image in batch.values():
        assert image.dtype == np.float32 and image.min() >= -1 and image.max() <= 1


@pytest.mark.parametrize('resize', ['bicubic', 'nearest'])
def test_one_geometry_for_both_images_of_a_pair(folder, resize):
    # B is A's negative: it stays so under the same crop and flip, and under no other.
    for batch in take(10, train(folder), config(folder, **{'dataset.resize': resize})):
        np.testing.assert_allclose(batch['input'], -batch['target'], atol=2.1 / 127.5)


def test_one_tint_for_both_images_of_a_pair_and_another_for_the_input(tmp_path):
    for i in range(4):
        write(tmp_path / 'train' / f'{i}.png', np.tile(noise(16, 16), (1, 2, 1)))
    c = config(tmp_path, **{'dataset.color_jitter': 0.5})
    (both,) = take(1, train(tmp_path), c)
    np.testing.assert_array_equal(both['input'], both['target'])
    c.dataset.input_color_jitter = 0.5
    (batch,) = take(1, train(tmp_path), c)
    np.testing.assert_array_equal(batch['target'], both['target'])
    assert all(np.abs(a - b).max() > 0.05 for a, b in zip(batch['input'], both['input']))


def test_a_batch_depends_on_seed_and_step_alone(folder):
    source, c = train(folder), config(folder)
    whole = take(9, source, c)
    for start in (0, 1, 5, 8):
        for batch, expected in zip(take(9 - start, source, c, start=start), whole[start:]):
            assert_equal(batch, expected)
    for batch, expected in zip(
        take(9, preflight.decode_all({'train': source}, c)['train'], c), whole
    ):
        assert_equal(batch, expected)
    (other,) = take(1, source, config(folder, seed=1))
    assert not np.array_equal(other['input'], whole[0]['input'])
    (late,) = take(1, source, c, start=10**9)
    assert late['input'].shape == (4, 16, 16, 3)


GEOMETRIES = [
    {},
    {'dataset.jitter': 1.0},
    {'dataset.vertical_flip': True, 'dataset.rotate': True},
    {'dataset.color_jitter': 0.3, 'dataset.input_color_jitter': 0.3},
    *({'dataset.preprocess': p} for p in ('scale_width_and_crop', 'scale_width', 'crop')),
    {'image_size': (16, 24), 'dataset.rotate': True},
    {'dataset.resize': 'nearest'},
    {'dataset.task': 'inpaint_anywhere', 'dataset.path': 'photos'},
    {'dataset.task': 'super_resolution', 'dataset.path': 'photos'},
    {'dataset.path': 'many', 'generator.input_channels': 5, 'generator.output_channels': 2},
    {'dataset.path': 'classes', 'dataset.input_classes': 4, 'generator.input_channels': 4},
]


@pytest.fixture(scope='module')
def sets(tmp_path_factory, folder):
    """Photos, class maps, and pairs of two inputs and 16 bits, each of two sizes."""
    root = tmp_path_factory.mktemp('sets')
    for i, (height, width) in enumerate([(20, 18), (30, 26), (16, 40)] * 2):
        rng = np.random.default_rng(i)
        noise = rng.integers(0, 256, (height, width, 7), np.uint8)
        write(root / 'photos' / 'train' / f'{i}.png', noise[..., :3])
        write(root / 'classes' / 'train' / 'A' / f'{i}.png', noise[..., :1] % 4)
        write(root / 'classes' / 'train' / 'B' / f'{i}.png', noise[..., 4:])
        write(root / 'many' / 'train' / 'A' / f'{i}.png', noise[..., :3])
        write(root / 'many' / 'train' / 'A2' / f'{i}.tif', noise[..., 3:5] / np.float32(255))
        write(root / 'many' / 'train' / 'B' / f'{i}.tif', noise[..., 5:] * np.uint16(257))
    return lambda name: root / name if name else folder


@pytest.mark.parametrize('fields', GEOMETRIES)
def test_resize_then_crop_draws_what_box_draws(sets, fields):
    """The same pairs, crops and flips, but for the rounding of the resize: 1 of 255."""
    path = sets(fields.get('dataset.path', ''))
    box, resized = (
        config(path, **(fields | {'dataset.jitter_method': m, 'dataset.path': str(path)}))
        for m in ('box', 'resize_then_crop')
    )
    source = discover.open_splits(box)['train']
    for batch, expected in zip(take(6, source, resized), take(6, source, box)):
        assert batch.keys() == expected.keys()
        tinted = 3 if box.dataset.color_jitter else 1
        for key in batch:
            difference = np.abs(batch[key] - expected[key])
            assert difference.max() <= tinted * 2.001 / 255
        if fields.get('dataset.resize') == 'nearest' or 'dataset.input_classes' in fields:
            np.testing.assert_array_equal(batch['input'], expected['input'])


def test_hosts_share_the_global_batch(folder):
    source, c = train(folder), config(folder)
    whole = take(5, source, c, start=3)
    shares = [take(5, source, c, start=3, process_index=i, process_count=2) for i in (0, 1)]
    for step, batch in enumerate(whole):
        for key in batch:
            assert shares[0][step][key].shape[0] == 2
            woven = np.stack([share[step][key] for share in shares], axis=1)
            np.testing.assert_array_equal(woven.reshape(batch[key].shape), batch[key])


def test_workers_change_nothing(folder):
    source, c = train(folder), config(folder)
    with_workers = take(4, source, config(folder, **{'dataset.workers': 2}), start=2)
    for batch, expected in zip(with_workers, take(4, source, c, start=2)):
        assert type(batch['input']) is np.ndarray
        assert_equal(batch, expected)


def test_the_files_type_travels(sets):
    fields = {'generator.input_channels': 5, 'generator.output_channels': 2}
    for path, classes, types in (('', 0, 'BB'), ('many', 0, 'fH'), ('classes', 4, 'BB')):
        some = {'dataset.input_classes': classes}
        some |= fields if path == 'many' else {'generator.input_channels': classes or 3}
        c = config(sets(path), **some)
        batch = next(pipeline.train_batches(discover.open_splits(c)['train'], c))
        assert batch['input'].dtype.char + batch['target'].dtype.char == types
        assert batch['input'].shape[-1] == (1 if classes else c.generator.input_channels)
        assert pipeline.as_floats(batch, c)['input'].shape[-1] == c.generator.input_channels
    for task, value in (('denoise', 0.0), ('none', 0.1)):
        c = config(sets('photos' if task != 'none' else ''), **{'dataset.task': task})
        c.dataset.color_jitter = value
        batch = next(pipeline.train_batches(discover.open_splits(c)['train'], c))
        assert batch['input'].dtype == batch['target'].dtype == np.float32


def test_pairs_of_several_types_are_of_one_in_a_batch(tmp_path):
    """As floats: 16 bits do not become 8, nor 8 a dark 16."""
    for i, top in enumerate((np.uint8(255), np.uint16(65535)) * 2):
        write(tmp_path / 'train' / f'{i}.png', np.full((16, 32, 3), top))
    c = config(tmp_path)
    batch = next(pipeline.train_batches(discover.open_splits(c)['train'], c))
    np.testing.assert_array_equal(batch['input'], np.ones((4, 16, 16, 3), np.float32))


def test_draws_are_those_of_the_batches(folder):
    """Cut by hand at what is drawn, the loaded pairs are the batches; so on every host."""
    fields = {'dataset.vertical_flip': True, 'dataset.rotate': True, 'optimizer.d_steps': 2}
    c = config(folder, **fields)
    source = preflight.decode_all({'train': train(folder)}, c)['train']
    for hosts in ((0, 1), (1, 2)):
        draws = itertools.islice(pipeline.train_draws(source, c, 3, *hosts), 4)
        batches = itertools.islice(pipeline.train_batches(source, c, 3, *hosts), 4)
        for drawn, batch in zip(draws, batches, strict=True):
            np.testing.assert_array_equal(drawn['index'], batch['index'])
            assert drawn['draws'].dtype == np.int32
            for row, image in zip(drawn['draws'].tolist(), batch['target'], strict=True):
                pair, top, left, flip, vertical, turns = row
                cut = source.loaded[pair]['target'][top : top + 16, left : left + 16]
                cut = cut[:, ::-1] if flip else cut
                cut = cut[::-1] if vertical else cut
                np.testing.assert_array_equal(np.rot90(cut, turns), image)


def test_an_epoch_visits_every_pair_once(folder):
    source = train(folder)
    fields = {'batch_size': 1, 'dataset.jitter': 1.0, 'dataset.mirror': False}
    c = config(folder, **fields)
    known = [pipeline.example(source, i, c)['input'] for i in range(PAIRS)]
    batches = take(4 * PAIRS, source, c)
    seen = [
        next(i for i, image in enumerate(known) if np.array_equal(image, batch['input'][0]))
        for batch in batches
    ]
    epochs = [seen[i : i + PAIRS] for i in range(0, len(seen), PAIRS)]
    assert all(sorted(epoch) == list(range(PAIRS)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) > 1  # a new order


def test_jitter_is_new_in_every_epoch_and_mirroring_is_fair(folder):
    source = train(folder)
    source = dataclasses.replace(source, names=source.names[:1], files=source.files[:1])
    c = config(folder, batch_size=1, **{'dataset.jitter': 1.0})
    image = pipeline.example(source, 0, c)['input']
    flips = [not np.array_equal(batch['input'][0], image) for batch in take(200, source, c)]
    assert 70 < sum(flips) < 130
    jittered = take(30, source, config(folder, batch_size=1, **{'dataset.jitter': 1.5}))
    assert len({batch['input'].tobytes() for batch in jittered}) > 25


@pytest.mark.parametrize('workers', [0, 2])
def test_an_unreadable_pair_reaches_the_caller(folder, tmp_path, workers):
    source, c = train(folder), config(folder, **{'dataset.workers': workers})
    missing = (epath.Path(tmp_path / 'gone.png'),)
    source = dataclasses.replace(source, files=(missing,) * PAIRS)
    with pytest.raises(DataError, match='gone.png cannot be read'):
        next(pipeline.train_batches(source, c))


def test_example_is_the_whole_image_resized(folder):
    source = train(folder)
    pair = pipeline.example(source, 3, config(folder))
    for key, image in source[3].items():
        expected = Image.fromarray(image).resize((16, 16), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(augment.from_float(pair[key]), np.asarray(expected))
    same_size = pipeline.example(source, 3, config(folder, image_size=(20, 18)))
    np.testing.assert_array_equal(same_size['input'], augment.to_float(source[3]['input']))


def test_eval_batches_are_in_order_and_complete(folder):
    source, c = train(folder), config(folder)
    batches = list(pipeline.eval_batches(source, c, 3))
    assert [indices for indices, _, _ in batches] == [[0, 1, 2], [3, 4, 5], [6]]
    assert batches[2][1]['input'].shape == (1, 16, 16, 3)
    for indices, batch, types in batches:
        assert types == [np.uint8] * len(indices)
        for k, i in enumerate(indices):
            assert_equal({key: batch[key][k] for key in batch}, pipeline.example(source, i, c))
