"""The segmentation network of the FCN-score, on photos of two colours."""

import contextlib
import dataclasses
import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.runs import tiny_config
from PIL import Image

from pix2pix_jax.config import default_config
from pix2pix_jax.data import augment, discover, label_colors, pipeline
from pix2pix_jax.data.formats.pixels import LazyFile
from pix2pix_jax.data.label_colors import FACADES
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.evaluation import class_scores, fcn_score, label_maps, labels, segmenter
from pix2pix_jax.evaluation.options import Options, Subject
from pix2pix_jax.evaluation.segmenter import RESIZED
from pix2pix_jax.train_state import TrainState

SIZE = (32, 32)
STEPS = 200


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(segmenter.atomic, 'cache_folder', lambda: tmp_path / 'cache')
    monkeypatch.setattr(segmenter, 'WIDTH', 8)
    monkeypatch.setattr(segmenter, 'DEPTH', 2)
    return tmp_path / 'cache'


@pytest.fixture
def source(tmp_path):
    """Windows and doors on a facade, A a photo in other colours, B the label map."""
    rng = np.random.default_rng(0)
    palette = np.array([FACADES.colours[name] for name in ('facade', 'window', 'door')])
    paints = np.array([[200, 180, 160], [60, 70, 110], [90, 40, 20]])
    for i in range(6):
        classes = np.zeros(SIZE, int)
        for kind in (1, 2):
            top, left = rng.integers(0, 20, 2)
            classes[top : top + 12, left : left + 12] = kind
        photo = np.clip(paints[classes] + rng.normal(0, 5, (*SIZE, 3)), 0, 255)
        pair = np.concatenate([photo, palette[classes]], axis=1).astype(np.uint8)
        (tmp_path / 'pairs/train').mkdir(parents=True, exist_ok=True)
        Image.fromarray(pair).save(tmp_path / f'pairs/train/{i}.png')
    config = default_config()
    config.dataset.path = str(tmp_path / 'pairs')
    config.dataset.direction = 'BtoA'
    return discover.open_splits(config)['train']


def test_it_learns_and_is_kept(source, cache, monkeypatch, capsys):
    segment = segmenter.load_or_train(source, SIZE, FACADES, STEPS)
    photos = np.stack([source[i]['target'] for i in range(6)]) / 127.5 - 1
    true = np.stack([label_maps.read(source, i, 'input', SIZE, FACADES) for i in range(6)])
    found = segment(photos.astype(np.float32))
    assert found.dtype == np.int32 and found.shape == (6, *SIZE)
    assert (found == true).mean() > 0.9
    other = photos.astype(np.float32)
    other[:, 24:, 24:] = 30  # which would be in an image's own statistics
    np.testing.assert_array_equal(segment(other)[:, :12, :12], found[:, :12, :12])
    (path,) = (cache / 'segmenters').glob('*.npz')

    assert f'training the segmenter of {source.folder}, once: ' in capsys.readouterr().out
    monkeypatch.setattr(segmenter, '_train', None)  # not needed any more
    again = segmenter.load_or_train(source, SIZE, FACADES, STEPS)
    np.testing.assert_array_equal(again(photos.astype(np.float32)), found)
    assert not capsys.readouterr().out
    monkeypatch.undo()


def test_void_does_not_count():
    """Half of it, and half of other pixels, are as these pixels twice, to a network of a matrix."""
    rng = np.random.default_rng(0)
    photos = jnp.asarray(rng.normal(size=(2, 4, 6, 3)), jnp.float32)
    classes = jnp.asarray(rng.integers(0, 3, (2, 4, 6)))

    def network(variables, x, **switches):
        return x @ variables['params']['kernel'], {'batch_stats': {}}

    params = {'kernel': jnp.eye(3)}
    state = TrainState.create(apply_fn=network, params=params, tx=optax.sgd(1.0))
    step = functools.partial(jax.jit(segmenter._step), state, key=jax.random.key(0))
    after, loss = step(photos, classes.at[:, :, 3:].set(label_colors.VOID))
    twice, expected = step(*(jnp.concatenate([x[:, :, :3]] * 2, 2) for x in (photos, classes)))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_allclose(after.params['kernel'], twice.params['kernel'], rtol=1e-5)


def test_a_file_is_written_and_read_elsewhere(source, cache, tmp_path, monkeypatch):
    file = str(tmp_path / 'travels.npz')
    assert not segmenter.is_file('') and not segmenter.is_file(file)
    photos = np.stack([source[i]['target'] for i in range(6)]).astype(np.float32) / 127.5 - 1
    expected = segmenter.load_or_train(source, SIZE, FACADES, 20, file)(photos)
    monkeypatch.setattr(segmenter, '_train', None)
    monkeypatch.setattr(segmenter.atomic, 'cache_folder', lambda: tmp_path / 'another')
    assert segmenter.is_file(file)
    np.testing.assert_array_equal(segmenter.load(file, SIZE, FACADES, RESIZED)(photos), expected)
    monkeypatch.setattr(segmenter.atomic, 'cache_folder', lambda: cache)
    again = str(tmp_path / 'again.npz')  # of what is in the cache folder already
    segmenter.load_or_train(source, SIZE, FACADES, 20, again)
    np.testing.assert_array_equal(segmenter.load(again, SIZE, FACADES, RESIZED)(photos), expected)


def test_a_file_of_another_segmenter_is_refused_in_one_line(source, cache, tmp_path, monkeypatch):
    file = tmp_path / 'travels.npz'
    segmenter.load_or_train(source, SIZE, FACADES, 1, str(file))
    with pytest.raises(UserError, match='is of size 32x32, these images need 64x64: give'):
        segmenter.load(str(file), (64, 64), FACADES, RESIZED)
    with pytest.raises(UserError, match='is of classes background, facade, .* need road, sidewalk'):
        segmenter.load(str(file), SIZE, label_colors.CITYSCAPES, RESIZED)
    with pytest.raises(UserError, match='of preprocess resize_and_crop, these images need crop'):
        segmenter.load(str(file), SIZE, FACADES, 'crop')
    with pytest.raises(UserError, match=f'--segmenter_weights={tmp_path} is a folder'):
        segmenter.is_file(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(segmenter, 'WIDTH', 4)
        with pytest.raises(DataError, match='its arrays are not those'):
            segmenter.load(str(file), SIZE, FACADES, RESIZED)
    (kept,) = (cache / 'segmenters').glob('*.npz')  # those of the cache folder do not say for what
    for damaged in (b'', file.read_bytes()[:9000], kept.read_bytes()):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match='holds no segmenter, or is damaged'):
            segmenter.load(str(file), SIZE, FACADES, RESIZED)
        assert file.read_bytes() == damaged


def test_other_data_sizes_or_steps_are_another_one(source, tmp_path):
    paths = {segmenter._path(source, SIZE, FACADES, STEPS)}
    paths.add(segmenter._path(source, (64, 64), FACADES, STEPS))
    paths.add(segmenter._path(source, SIZE, label_colors.CITYSCAPES, STEPS))
    paths.add(segmenter._path(source, SIZE, FACADES, STEPS + 1))
    for field in ({'direction': 'AtoB'}, {'preprocess': 'crop'}, {'preprocess': RESIZED}):
        paths.add(segmenter._path(dataclasses.replace(source, **field), SIZE, FACADES, STEPS))
    file = source.files[0][0]
    pair = np.asarray(Image.open(file)).copy()
    pair[0, 0] ^= 1
    Image.fromarray(pair).save(file)
    paths.add(segmenter._path(source, SIZE, FACADES, STEPS))
    assert len(paths) == 7


def test_the_names_in_the_cache_folder_stay(source, monkeypatch):
    """Of a split of known content: who has trained one for half an hour keeps it."""
    monkeypatch.undo()
    files = tuple((LazyFile(str(i), functools.partial(bytes, [i])),) for i in range(2))
    known = dataclasses.replace(source, names=('a', 'b'), files=files)
    maps, photos = (spec._replace(classes=12) for spec in source.specs)
    for specs in (source.specs, (maps, photos)):
        one = dataclasses.replace(known, specs=specs)
        path = segmenter._path(one, (256, 256), FACADES, 2000)
        assert path.stem == '763931b65d2272fbf004d2a9f1ec4a7d'


def test_maps_of_another_void_are_another_one(source):
    maps, photos = source.specs
    maps = maps._replace(classes=12)
    paths = {
        segmenter._path(dataclasses.replace(source, specs=(one, photos)), SIZE, FACADES, STEPS)
        for one in (maps, maps._replace(void=0), maps._replace(void=255))
    }
    assert len(paths) == 3
    coded = (maps._replace(coding=FACADES), maps._replace(coding=FACADES, void=255))
    assert (
        len(
            {
                segmenter._path(
                    dataclasses.replace(source, specs=(one, photos)), SIZE, FACADES, STEPS
                )
                for one in coded
            }
        )
        == 1
    )  # of colours it is in the table


def test_the_file_of_many_windows_is_read_once(source):
    read = []

    def content(i):
        read.append(i)
        return b'scene'

    scenes = [LazyFile(str(i), functools.partial(content, i)) for i in range(3)]
    files = tuple((scene,) for scene in scenes for _ in range(100))
    names = tuple(f'{i // 100}/{i % 100}' for i in range(300))
    cells = dataclasses.replace(source, names=names, files=files)
    again = dataclasses.replace(cells, files=tuple((scenes[0],) for _ in range(300)))
    assert segmenter._path(cells, SIZE, FACADES, 1) == segmenter._path(again, SIZE, FACADES, 1)
    assert read == [0, 1, 2, 0]


def test_a_damaged_file_is_made_anew(source, cache):
    segmenter.load_or_train(source, SIZE, FACADES, 1)
    (path,) = (cache / 'segmenters').glob('*.npz')
    whole = path.read_bytes()
    for damaged in (b'', whole[: len(whole) // 2], b'PK' + whole[5:]):
        path.write_bytes(damaged)
        segmenter.load_or_train(source, SIZE, FACADES, 1)
        assert path.read_bytes() == whole


def test_labels_of_other_colours_are_refused_before_the_training(source, tmp_path, capsys):
    file = source.files[4][0]
    Image.fromarray(np.roll(np.asarray(Image.open(file)), SIZE[1], axis=1)).save(file)  # B|A
    with pytest.raises(UserError, match=r'4\.png is not such a label map .*: 0\.0% of its pixels'):
        segmenter.load_or_train(source, SIZE, FACADES, STEPS)
    assert 'training' not in capsys.readouterr().out


def test_the_label_map_is_the_image_in_the_colours_of_the_classes(source):
    turned = dataclasses.replace(source, direction='AtoB')
    kinds = [label_maps.kind_of(one, SIZE, FACADES) for one in (source, turned)]
    assert kinds == ['input', 'target']
    maps = [
        label_maps.read(one, 0, kind, SIZE, FACADES) for one, kind in zip((source, turned), kinds)
    ]
    np.testing.assert_array_equal(*maps)
    # Neither has any of these: as in the archives.
    gray = label_colors.table('a 1,1,1;b 2,2,2')
    assert [label_maps.kind_of(one, SIZE, gray) for one in (source, turned)] == kinds


def of_pairs(folder, inputs, targets, **fields):
    """The test split of pairs (H,W,C), A to B, and its config."""
    for name, images in (('A', inputs), ('B', targets)):
        (folder / name / 'test').mkdir(parents=True)
        for i, image in enumerate(images):
            Image.fromarray(image).save(folder / name / 'test' / f'{i}.png')
    config = tiny_config(folder, image_size=SIZE, **fields)
    return discover.open_splits(config)['test'], config


def test_masked_pixels_have_no_class(tmp_path):
    labels = np.uint8(list(FACADES.colours.values()))[np.arange(32 * 32).reshape(32, 32) // 128]
    source, _ = of_pairs(tmp_path, [labels], [labels])
    scores, valid = class_scores.of_colours(source, SIZE, FACADES), np.ones((*SIZE, 1), np.float32)
    valid[:8] = 0
    output = np.where(valid, *map(augment.to_float, (labels, labels[::-1])))
    scores.update({'output': output, 'valid': valid, 'valid_pixels': valid.sum()})
    assert scores.compute()[0]['pixel_accuracy']['mean'] == 1


@pytest.mark.parametrize('indices', [True, False])
def test_photos_that_have_the_colours_are_no_label_maps(tmp_path, indices):
    """Black and white masks to photos that are half white: the targets have no class scores."""
    rng = np.random.default_rng(0)
    masks = [np.uint8(255) * rng.integers(0, 2, (4, 4, 1), np.uint8) for _ in range(3)]
    masks = [mask.repeat(8, 0).repeat(8, 1).repeat(3, 2) for mask in masks]
    photos = [np.where(rng.random((*SIZE, 1)) < 0.5, np.uint8(250), m // 2 + 40) for m in masks]
    fields = {'dataset__input_classes': 2, 'generator__input_channels': 2} if indices else {}
    source, config = of_pairs(
        tmp_path, masks, photos, dataset__colors='wall 0,0,0;window 255,255,255;', **fields
    )
    classes = label_colors.table(config.dataset.colors)
    assert min(label_colors.matching(photo, classes) for photo in photos) > 0.4
    subject = Subject(Options(('fcn',)), config, {'test': source}, 'test')
    assert not class_scores.applies(subject)
    found, _ = fcn_score.create((), subject).compute()
    assert {one['reason'] for one in found.values()} == {
        'there is no train split to train a segmenter on'
    }
    assert fcn_score.trains(subject.options, config)


@pytest.mark.parametrize('channels', [1, 3])
def test_gray_targets_are_no_label_maps(tmp_path, channels):
    """Not where the user names the classes, and not where the inputs are gray, too."""
    rng = np.random.default_rng(0)
    grays = [rng.integers(0, 256, SIZE, np.uint8) for _ in range(2)]
    inputs = grays if channels == 1 else [np.stack([gray] * 3, -1) for gray in grays]
    fields = {'generator__input_channels': channels, 'generator__output_channels': 1}
    source, config = of_pairs(tmp_path, inputs, grays, dataset__name='facades', **fields)
    for classes in ('', 'facades'):
        subject = Subject(Options((), classes), config, {'test': source}, 'test')
        assert class_scores.applies(subject) == (channels == 1 and classes != '')
    values = class_scores.create((), subject).compute()[0].values()
    assert all('0.0% of its pixels' in value['reason'] for value in values)
    with pytest.raises(UserError, match=r'0\.0% of its pixels have label colours'):
        label_maps.read(source, 0, 'target', SIZE, FACADES)


PREPROCESS = ('resize_and_crop', 'scale_width_and_crop', 'scale_width', 'crop')


@pytest.mark.parametrize('preprocess', PREPROCESS)
@pytest.mark.parametrize('kind', ['input', 'target'])
def test_classes_are_those_of_the_pixels_that_are_measured(tmp_path, preprocess, kind):
    """An example, of images that are resized by nearest neighbour, has their colours."""
    palette = np.uint8(list(FACADES.colours.values()))
    maps = [
        palette[np.random.default_rng(i).integers(0, 12, (11, 17)).repeat(6, 0).repeat(5, 1)]
        for i in range(2)
    ]
    fields = {'dataset__preprocess': preprocess, 'dataset__resize': 'nearest'}
    source, config = of_pairs(tmp_path, maps, maps, **fields)
    for i in range(2):
        example = augment.from_float(pipeline.example(source, i, config)[kind])
        expected = label_colors.from_colours(example, FACADES)
        np.testing.assert_array_equal(
            label_maps.read(source, i, kind, SIZE, FACADES), expected, preprocess
        )


@pytest.mark.parametrize(
    ('preprocess', 'scale'),  # how many times larger than its map a photo is
    [*((preprocess, 1) for preprocess in PREPROCESS), (PREPROCESS[0], 2), (PREPROCESS[1], 2)],
)
def test_the_segmenter_sees_photos_as_they_are_measured(tmp_path, preprocess, scale):
    """A pixel of the photos says where it is; of it and its neighbour the step in the photo."""
    height, width = 64, 96
    y, x = np.mgrid[:height, :width].astype(np.uint8)
    photo = np.stack([2 * x, 2 * y, np.zeros_like(x)], -1)
    palette = np.uint8(list(FACADES.colours.values()))
    labels = palette[(y // 32) * 3 + x // 32]
    labels = labels[::scale, ::scale]
    source, config = of_pairs(tmp_path, [labels], [photo], dataset__preprocess=preprocess)
    photos, classes = next(segmenter._batches(source, SIZE, FACADES))
    values = (photos + 1) * 127.5 / 2
    steps = np.abs(np.diff(values[..., 1], axis=1)).mean(), np.abs(np.diff(values[..., 0])).mean()
    loaded = augment.loaded_size(height, width, SIZE, segmenter.JITTER, preprocess)
    np.testing.assert_allclose(steps, (height / loaded[0], width / loaded[1]), rtol=0.03)
    columns, rows = (np.rint(values[..., i]).astype(int) // 32 for i in (0, 1))
    assert (classes == rows * 3 + columns).mean() > 0.9


@pytest.mark.parametrize('classes', ['', 'facades'])
def test_of_photos_to_labels_it_is_the_scores_of_the_classes(source, classes):
    """Both read the same targets, and refuse the same maps."""
    source = dataclasses.replace(source, direction='AtoB')
    config = default_config()
    config.image_size, config.dataset.name = SIZE, 'facades'
    subject = Subject(Options(('fcn',), classes), config, {'test': source}, 'test')
    assert class_scores.applies(subject)
    found = [part.create((), subject) for part in (class_scores, fcn_score)]
    for i in range(len(source)):
        images = {'output': source[(i + 1) % len(source)]['target'] / np.float32(127.5) - 1}
        for one in found:
            one.update(images)
    (scores, values), (fcn, fcn_values) = (one.compute() for one in found)
    assert 0 < scores['class_iou']['mean'] < 1
    assert fcn == {f'fcn_{name}': value for name, value in scores.items()}
    assert fcn_values == {f'fcn_{name}': value for name, value in values.items()}

    file = source.files[4][0]
    Image.fromarray(np.roll(np.asarray(Image.open(file)), SIZE[1], axis=1)).save(file)  # B|A
    if not classes:  # said by the name alone, which may be wrong
        assert not class_scores.applies(subject)
        reasons = {value['reason'] for value in fcn_score.create((), subject).compute()[0].values()}
        assert len(reasons) == 1 and '4.png is not such a label map' in reasons.pop()


@pytest.mark.parametrize('classes', ['', 'facades'])
def test_a_map_that_the_sample_missed_ends_scores_that_nobody_asked_for(
    source, classes, monkeypatch
):
    monkeypatch.setattr(label_maps, 'CHECKED', 1)
    source = dataclasses.replace(source, direction='AtoB')
    file = source.files[4][0]
    Image.fromarray(np.roll(np.asarray(Image.open(file)), SIZE[1], axis=1)).save(file)  # B|A
    config = default_config()
    config.image_size, config.dataset.name = SIZE, 'facades'
    subject = Subject(Options(('fcn',), classes), config, {'test': source}, 'test')
    for part in (class_scores, fcn_score):
        scores = part.create((), subject)
        for i in range(5):
            refuses = classes and i == 4
            with pytest.raises(UserError) if refuses else contextlib.nullcontext():
                scores.update({'output': np.zeros((*SIZE, 3), np.float32)})
        if not classes:
            found, values = scores.compute()
            assert len(found) == 3 and not values
            assert all('4.png is not such' in value['reason'] for value in found.values())


def test_label_maps_keep_their_classes_at_another_size(source):
    small = label_maps.read(source, 0, 'input', (20, 20), FACADES)
    assert set(np.unique(small)) <= {1, 2, 3}


def test_real_facades():
    folder = os.environ.get('PIX2PIX_FACADES')
    if not folder:
        pytest.skip('PIX2PIX_FACADES names no folder of the real facades')
    config = default_config()
    config.dataset.path, config.dataset.direction = folder, 'BtoA'
    splits = discover.open_splits(config)
    count = len(FACADES.colours)
    total = np.zeros((count, count + 1))
    for i in range(20):
        true = label_maps.read(splits['test'], i, 'input', SIZE, FACADES)
        total += labels.confusion(true, true, count)
    assert (total.sum(1) > 0).sum() >= 10  # nearly all classes occur
    share = dict(zip(FACADES.colours, total.sum(1) / total.sum()))
    assert 0.25 < share['facade'] < 0.45 and 0.05 < share['window'] < 0.25 > share['shop']
