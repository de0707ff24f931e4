"""Pairs made from plain photos."""

import json

import numpy as np
import pytest
from helpers.pictures import noise
from helpers.runs import changed, error_of
from PIL import Image
from skimage.color import rgb2lab
from skimage.feature import canny

from pix2pix_jax import Translator
from pix2pix_jax.config import default_config, validate
from pix2pix_jax.data import augment, discover, pipeline, sources, tasks
from pix2pix_jax.errors import UserError
from pix2pix_jax.inference import files, inputs
from pix2pix_jax.presets import apply_arg
from pix2pix_jax.train import train_and_evaluate

SIZE = 32


def photo(seed=0, size=SIZE):
    """Smooth colours with a bright square."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC)).copy()
    image[size // 4 : size // 2, size // 4 : size // 2] = 255
    return image


def made(name, amount=0.0, seed=0, image=None):
    image = augment.to_float(photo()) if image is None else image
    return tasks.derive(name, image, np.random.default_rng(seed), amount)


def config_of(name, path=''):
    config = default_config()
    config.image_size, config.dataset.path, config.dataset.task = (SIZE, SIZE), str(path), name
    channels = tasks.TASKS[name].channels
    config.generator.input_channels, config.generator.output_channels = channels
    return config


@pytest.fixture
def folder(tmp_path):
    for split, count in (('train', 4), ('test', 2)):
        (tmp_path / 'photos' / split).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(photo(i)).save(tmp_path / 'photos' / split / f'{i}.png')
    return tmp_path / 'photos'


@pytest.mark.parametrize('name', tasks.TASKS)
def test_shapes_ranges_and_draws(name):
    pair, again, other = made(name), made(name), made(name, seed=1)
    for side, channels in zip(('input', 'target'), tasks.TASKS[name].channels):
        assert pair[side].shape == (SIZE, SIZE, channels) and pair[side].dtype == np.float32
        assert pair[side].min() >= -1 and pair[side].max() <= 1
        np.testing.assert_array_equal(pair[side], again[side])
    changes = not np.array_equal(pair['input'], other['input'])
    assert changes == (name in ('inpaint_anywhere', 'denoise'))
    if name != 'colorize':
        np.testing.assert_array_equal(pair['target'], augment.to_float(photo()))


def test_colorization_is_scikit_images_lab_over_50_and_110():
    pair, lab = made('colorize'), rgb2lab(photo())
    np.testing.assert_allclose(pair['input'], lab[..., :1] / 50 - 1, atol=1e-5)
    np.testing.assert_allclose(pair['target'], lab[..., 1:] / 110, atol=1e-5)


def test_gray_is_pillows():
    found = augment.from_float(made('gray_to_color')['input'][..., 0])
    expected = np.asarray(Image.fromarray(photo()).convert('L')).astype(int)
    assert np.abs(found - expected).max() <= 1


def test_colorization_goes_back_to_rgb():
    pair = made('colorize')
    shown = tasks.as_shown('colorize', pair['input'][None], pair['target'][None])
    np.testing.assert_allclose(shown[0], augment.to_float(photo()), atol=0.02)
    gray = tasks.as_shown('colorize', pair['input'][None], 0 * pair['target'][None])[0]
    np.testing.assert_allclose(gray, gray[..., :1].repeat(3, -1), atol=0.01)
    white = made('colorize', image=np.ones((2, 2, 3), np.float32))
    np.testing.assert_allclose(white['input'], 1, atol=1e-3)


@pytest.mark.parametrize('amount', [0.0, 0.25])
@pytest.mark.parametrize('name', ['inpaint', 'inpaint_anywhere'])
def test_holes(name, amount):
    side, seen = round(SIZE * (amount or 0.5)), set()
    image = augment.to_float(photo())
    image[image == 0] = 0.1
    for seed in range(40):
        pair = made(name, amount, seed, image)
        hole = (pair['input'] == 0).all(-1)
        np.testing.assert_array_equal(np.where(hole[..., None], image, pair['input']), image)
        rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
        assert len(rows) == len(columns) == side and hole.sum() == side**2
        seen.add((rows[0], columns[0]))
    assert seen == {((SIZE - side) // 2,) * 2} if name == 'inpaint' else len(seen) > 20


def test_colours_that_srgb_has_not_are_clipped_without_a_word(recwarn):
    lab = np.random.default_rng(0).uniform(-1, 1, (1, 16, 16, 3))
    shown = tasks.as_shown('colorize', lab[..., :1], lab[..., 1:])
    assert not recwarn.list and shown.min() >= -1 and shown.max() <= 1


def test_edges_are_those_of_the_square():
    image = np.full((SIZE, SIZE, 3), -1, np.float32)
    image[8:24, 8:24] = 1
    drawn = made('edges', 1.0, image=image)['input'][..., 0]
    assert set(np.unique(drawn)) == {-1, 1}
    rows, columns = np.nonzero(drawn == -1)
    nearest = np.minimum.reduce([abs(v - b) for v in (rows, columns) for b in (7.5, 23.5)])
    assert len(rows) > 4 * 12 and nearest.max() < 2


@pytest.mark.parametrize(('amount', 'sigma'), [(0.0, 2.0), (1.0, 1.0)])
def test_edges_are_scikit_images(amount, sigma):
    image = np.random.default_rng(0).uniform(-1, 1, (64, 64, 3)).astype(np.float32)
    expected = canny((image @ np.float32([0.299, 0.587, 0.114]) + 1) / 2, sigma=sigma)
    found = made('edges', amount, image=image)['input'][..., 0] < 0
    assert (found == expected).mean() > 0.99


def test_super_resolution_is_pillows_resize_there_and_back():
    image = noise(32, 48)
    small = Image.fromarray(image).resize((12, 8), Image.Resampling.BICUBIC)
    expected = np.asarray(small.resize((48, 32), Image.Resampling.BICUBIC))
    found = made('super_resolution', image=augment.to_float(image))['input']
    assert np.abs(augment.from_float(found).astype(int) - expected).max() <= 2


def test_super_resolution_loses_what_is_fine():
    image = augment.to_float(photo())
    flat = np.full_like(image, 0.3)
    np.testing.assert_allclose(made('super_resolution', image=flat)['input'], flat, atol=1e-5)
    lost = [np.abs(made('super_resolution', n)['input'] - image).mean() for n in (1.0, 2.0, 8.0)]
    assert lost[0] < 1e-5 < lost[1] < lost[2]


def test_noise_has_its_deviation():
    flat = np.zeros((64, 64, 3), np.float32)
    assert made('denoise', 0.1, image=flat)['input'].std() == pytest.approx(0.1, rel=0.05)


# ---------------------------------------------------------------- through the pipeline


def test_test_time_inputs_are_always_the_same_ones(folder):
    config = config_of('denoise', folder)
    source = discover.open_splits(config)['test']
    a, b, other = (pipeline.example(source, i, config) for i in (0, 0, 1))
    np.testing.assert_array_equal(a['input'], b['input'])
    noise = [pair['input'] - pair['target'] for pair in (a, other)]
    assert not np.allclose(*noise)
    train = discover.open_splits(config)['train']
    some = sources.evenly(train, 2)  # what an evaluation measures: as in the whole split
    np.testing.assert_array_equal(
        pipeline.example(some, 1, config)['input'], pipeline.example(train, 3, config)['input']
    )
    batches = pipeline.train_batches(train, config)
    seen = [next(batches) for _ in range(8)]  # two epochs: new noise in the second
    noise = {np.round(pair['input'] - pair['target'], 4).tobytes() for pair in seen}
    assert len(noise) == 8


def test_a_run_is_rgb_for_whoever_looks_at_it(folder, tmp_path):
    config = apply_arg(config_of('colorize', folder), 'tiny')
    config.num_steps = config.sample_every = 2
    train_and_evaluate(config, tmp_path / 'run')
    result = json.loads((tmp_path / 'run/evaluation/test/metrics.json').read_text())
    assert result['images'] == 2 and result['metrics']['l1']['mean'] > 0
    for kind, mode in (('input', 'L'), ('output', 'RGB'), ('target', 'RGB')):
        assert Image.open(tmp_path / f'run/evaluation/test/images/0_{kind}.png').mode == mode
    target = np.asarray(Image.open(tmp_path / 'run/evaluation/test/images/0_target.png'))
    np.testing.assert_array_equal(target, photo(0))
    found = inputs.find_inputs([str(folder / 'test')])
    files.translate_all(Translator(tmp_path / 'run'), found, tmp_path / 'out')
    for name in ('0', '1'):  # of a photo in colours its lightness is taken, as in the evaluation
        found = np.asarray(Image.open(tmp_path / f'out/{name}.png'))
        expected = Image.open(tmp_path / f'run/evaluation/test/images/{name}_output.png')
        np.testing.assert_array_equal(found, np.asarray(expected))


PHOTOS = {'generator.input_channels': 3}
COLORIZE = {'dataset.task': 'colorize', 'generator.output_channels': 2}


@pytest.mark.parametrize(
    'fields,message',
    [
        ({'generator.input_channels': 3}, r"dataset.task='edges' has \(1, 3\)"),
        ({'dataset.direction': 'BtoA'}, 'is of single photos'),
        ({'dataset.layout': 'two_folders'}, 'is of single photos'),
        ({'dataset.input_color_jitter': 0.1}, 'whose holes and edges have their own value'),
        ({**COLORIZE, 'dataset.task_amount': 5.0}, "'colorize' has none"),
        ({**COLORIZE, 'discriminator.augment': 'cutout,color'}, 'a and b of CIE Lab'),
        (
            {**PHOTOS, 'dataset.task': 'super_resolution', 'dataset.task_amount': 0.25},
            'a factor is 1 or more',
        ),
        ({'dataset.task': 'none', 'dataset.task_amount': 1.0}, 'there is no dataset.task'),
        (
            {**PHOTOS, 'dataset.task': 'inpaint', 'dataset.task_amount': 1.0},
            'a hole is smaller than 1',
        ),
    ],
)
def test_mistakes_are_one_line(fields, message):
    config = config_of('edges', 'photos')
    config.update_from_flattened_dict(fields)
    with pytest.raises(UserError, match=message):
        validate(config)


@pytest.mark.parametrize('task, amount, size, wrong', [
    ('inpaint', 0.003, (128, 128), 'the hole has 0x0 of the 128x128 pixels'),
    ('inpaint', 0.003, (128, 256), 'the hole has 0x1 of the 128x256 pixels'),
    ('inpaint_anywhere', 0.997, (128, 128), 'the hole has 128x128 of the 128x128 pixels'),
    ('inpaint', 0.005, (128, 128), ''),
    ('inpaint_anywhere', 0.99, (128, 128), ''),
    ('super_resolution', 1.001, (128, 128), 'the smaller photo has 128x128 of the 128x128 pixels'),
    ('super_resolution', 1.0, (128, 128), 'the smaller photo has 128x128 of the 128x128 pixels'),
    ('super_resolution', 1.01, (128, 128), ''),
    ('denoise', 0.003, (128, 128), ''),
    ('none', 0.0, (128, 128), ''),
])  # fmt: skip
def test_an_amount_that_does_nothing_is_refused(task, amount, size, wrong):
    config = changed(image_size=size, dataset__task=task, dataset__task_amount=amount)
    if task != 'none':
        image = augment.to_float(photo(size=size[0])[:, :1].repeat(size[1], axis=1))
        inputs = made(task, amount, image=image)['input']
        assert (np.array_equal(inputs, image) or not inputs.any()) == bool(wrong)
    if wrong:
        assert wrong in error_of(tasks.check_size, config)
    else:
        tasks.check_size(config)


@pytest.mark.parametrize('name', ['openmoji', 'maps'])
def test_data_of_pairs_has_no_photos(name):
    config = config_of('edges', '')
    config.dataset.name = name
    with pytest.raises(UserError, match="task='edges' needs a folder of photos"):
        discover.find_splits(validate(config))
