"""Pairs whose input and target have two sizes of one proportion."""

import json

import numpy as np
import pytest
import tifffile
from helpers.pictures import config, error, photo, picture, write
from helpers.runs import lines, tiny_config
from PIL import Image

import pix2pix_jax
from pix2pix_jax import train, train_setup
from pix2pix_jax.data import discover, image_size, pipeline, preflight
from pix2pix_jax.errors import DataError
from pix2pix_jax.inference.files import TranslationJob, translate_files
from pix2pix_jax.inference.options import TranslateOptions


def make(folder, count=3, split='train', scale=2, height=16, width=20, suffix='.png'):
    """Inputs of this size, and targets `scale` times as large."""
    for i in range(count):
        write(folder / split / 'A' / f'{i}{suffix}', picture(i, width, height))
        target = photo(i, int(height * scale), int(width * scale))
        write(folder / split / 'B' / f'{i}{suffix}', target)
    return folder


def source_of(path, **fields):
    c = config(path, **{'dataset.val_fraction': 0.0, **fields})
    return discover.open_splits(c)['train'], c


@pytest.mark.parametrize('method', ['resize_then_crop', 'box'])
@pytest.mark.parametrize('preprocess', ['resize_and_crop', 'scale_width_and_crop', 'scale_width'])
def test_a_small_input_is_as_one_enlarged_to_its_target(tmp_path, preprocess, method):
    """Where nearest neighbours are taken, an image twice as large shows the same pixels."""
    make(tmp_path / 'two')
    for i in range(3):
        small = picture(i, 20, 16)
        write(tmp_path / 'one/train/A' / f'{i}.png', small.repeat(2, 0).repeat(2, 1))
        write(tmp_path / 'one/train/B' / f'{i}.png', photo(i, 32, 40))
    fields = {'dataset.preprocess': preprocess, 'dataset.jitter_method': method}
    (two, c), (one, _) = (
        source_of(tmp_path / name, **fields, **{'dataset.resize': 'nearest'})
        for name in ('two', 'one')
    )
    for i in range(3):
        for seed in range(5):
            a, b = (
                pipeline.augmented(source[i], np.random.default_rng(seed), c)
                for source in (two, one)
            )
            for key in ('input', 'target'):
                np.testing.assert_array_equal(a[key], b[key])
        for key, image in pipeline.example(one, i, c).items():
            np.testing.assert_array_equal(pipeline.example(two, i, c)[key], image)


def test_each_is_resized_from_its_own_file(tmp_path):
    source, c = source_of(make(tmp_path), **{'dataset.jitter': 1.0, 'dataset.mirror': False})
    found = pipeline.loaded(source[1], c)
    for key, side in (('input', 'A'), ('target', 'B')):
        with Image.open(tmp_path / f'train/{side}/1.png') as file:
            wanted = np.asarray(file.resize((16, 16), Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(found[key], wanted)


def test_masks_are_as_large_as_targets(tmp_path):
    make(tmp_path)
    for i in range(3):
        mask = np.full((32, 40, 1), 255, np.uint8)
        mask[:, :20] = 0
        write(tmp_path / f'train/mask/{i}.png', mask)
    source, c = source_of(tmp_path, **{'dataset.mask': 'mask'})
    assert source[0]['valid'].shape == (32, 40, 1) and source[0]['input'].shape == (16, 20, 3)
    valid = pipeline.example(source, 0, c)['valid']
    assert valid[:, 10:].all() and not valid[:, :8].any()


@pytest.mark.parametrize('direction,size', [('AtoB', (32, 40)), ('BtoA', (16, 20))])
def test_the_size_of_a_run_is_that_of_its_targets(tmp_path, direction, size):
    make(tmp_path)
    fields = {'dataset.direction': direction, 'image_size': (0, 0)}
    source, c = source_of(tmp_path, **fields)
    assert preflight.common_size(source) == size
    assert preflight.found_target_scale(source) == (2.0 if direction == 'AtoB' else 0.5)
    c.image_size = (16, 16)
    one, other = ('20x16', '40x32') if direction == 'AtoB' else ('40x32', '20x16')
    line = f'inputs are {one}, targets {other}: both are resized to 16x16; translations have '
    (found,) = [text for text in preflight.report({'train': source}, c) if 'inputs are' in text]
    assert found.startswith(line)


@pytest.mark.parametrize(
    'pairs,scale',
    [
        ([((16, 20), (16, 20))], 0),
        ([((16, 20), (32, 40)), ((8, 10), (16, 20))], 2),
        ([((160, 240), (321, 481)), ((160, 240), (320, 480))], 2.0028),
        ([((100, 100), (100, 100)), *[((100, 100), (101, 101))] * 2], 1.01),
        ([((16, 20), (32, 40)), ((8, 10), (32, 40))], 0),  # no one scale
        ([((16, 20), (32, 40)), ((16, 20), (16, 20))], 0),
    ],
)
def test_how_much_larger_targets_are(pairs, scale):
    assert image_size.scale_of(pairs) == pytest.approx(scale, abs=2e-3)
    text = image_size.about_two(pairs, config('unused'))
    assert len(text) == any(a != b for a, b in pairs)
    assert all(('as targets have' in line) == (scale > 0) for line in text)


@pytest.mark.parametrize('height', [16, 17])
def test_other_proportions_are_refused(tmp_path, height):
    write(tmp_path / 'trainA' / '1.png', picture(1, 16, 16))
    write(tmp_path / 'trainB' / '1.png', picture(1, 32, 2 * height))
    if height == 16:
        source_of(tmp_path)[0][0]
    else:
        assert error(tmp_path) == (
            f'{tmp_path}/trainA/1.png is 16x16 and {tmp_path}/trainB/1.png is 32x34: input and '
            'target have one size, or one proportion (within 1%)'
        )


@pytest.mark.parametrize('preprocess', ['crop', 'none'])
def test_what_is_not_resized_has_one_size(tmp_path, preprocess):
    make(tmp_path, 1)
    message = error(tmp_path, **{'dataset.preprocess': preprocess})
    assert message.endswith(
        f"input and target have one size where config.dataset.preprocess='{preprocess}' does not "
        'resize them; resize_and_crop and scale_width do'
    )


def test_the_inputs_of_a_pair_have_one_size(tmp_path):
    make(tmp_path, 1)
    write(tmp_path / 'train/A2/0.png', picture(1, 40, 32))
    message = error(tmp_path, **{'generator.input_channels': 6})
    assert message.endswith('the images of one input have one size')


# ---------------------------------------------------------------- a run


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    folder = make(tmp_path_factory.mktemp('two'), 4)
    make(folder, 2, 'test')
    c = tiny_config(folder, num_steps=2, dataset__val_fraction=0.0)
    train.train_and_evaluate(c, folder / 'run')
    return folder


def test_a_run_keeps_the_scale_and_measures(run):
    kept = json.loads((run / 'run/config.json').read_text())
    assert kept['dataset']['target_scale'] == 2.0
    assert any('test/l1' in row for row in lines(run / 'run'))


def test_a_scale_and_a_type_that_are_named_are_kept(run, tmp_path, capsys):
    fields = {'dataset__target_scale': 3.0, 'dataset__target_type': 'uint16'}
    found = train_setup.resolve(tiny_config(run, num_steps=2, **fields), tmp_path / 'new').config
    assert (found.dataset.target_scale, found.dataset.target_type) == (3.0, 'uint16')
    assert 'translations have 3 times the width and height' in capsys.readouterr().out


def test_a_run_keeps_its_scale_whatever_pairs_it_left_out(tmp_path):
    make(tmp_path, 5, height=160, width=240)
    for i in (3, 4):  # half of 481x321, as a camera's software makes it
        write(tmp_path / f'train/B/{i}.png', picture(i, 481, 321))
    for i in (0, 1):
        path = tmp_path / f'train/B/{i}.png'
        path.write_bytes(path.read_bytes()[:500])
    fields = {'dataset__val_fraction': 0.0, 'dataset__on_error': 'skip', 'num_steps': 1}
    for _ in range(2):
        train.train_and_evaluate(tiny_config(tmp_path, **fields), tmp_path / 'run')
    kept = json.loads((tmp_path / 'run/config.json').read_text())
    assert kept['dataset']['target_scale'] == 2.0


def test_translations_are_as_large_as_targets(run, capsys):
    job = TranslationJob((str(run / 'test/A'),), str(run / 'out'))
    assert translate_files(str(run / 'run'), 'last', TranslateOptions(dropout=False), job) == 0
    assert 'translations are 2 times as wide and high' in capsys.readouterr().out
    with Image.open(run / 'out/0.png') as image:
        assert image.size == (40, 32)
    translator = pix2pix_jax.Translator(run / 'run', dropout=False)
    assert translator(np.zeros((10, 7, 3), np.uint8)).shape == (20, 14, 3)
    drawn = translator.load(np.zeros((10, 7, 3), np.uint8), drawn=True)
    assert drawn.values.shape[:2] == drawn.size == (10, 7)


def test_a_translation_sees_what_an_evaluation_sees(run):
    translator = pix2pix_jax.Translator(run / 'run', dropout=False)
    c, generate, seen = translator.config, translator._generator, []
    c.image_size = (32, 32)  # no multiple of the inputs' size: resampled twice they would differ
    source = discover.open_splits(c)['test']

    def generator(inputs, sample):
        seen.append(inputs)
        return generate(inputs, sample=sample)

    translator._generator = generator
    for i in range(len(source)):
        (image,) = translator.translate([loaded := translator.load_pair(source, i)])
        assert image.shape[:2] == loaded.size == source[i]['target'].shape[:2]
        np.testing.assert_array_equal(seen[i][0], pipeline.example(source, i, c)['input'])


def test_no_data_is_as_large_as_the_translation(run):
    translator = pix2pix_jax.Translator(run / 'run', dropout=False)
    translator.config.dataset.nodata = '0'
    depth = np.full((10, 8), 9, np.uint16)
    depth[:5] = 0
    (found,) = translator.translate([loaded := translator.load(depth)])
    _, values = translator.outputs.to_values(loaded, found)
    assert (values[:10] == 0).all() and (values[10:] > 0).all() and values.shape == (20, 16, 3)


def test_inputs_that_differ_from_each_other_are_still_refused(run):
    with pytest.raises(DataError):
        pix2pix_jax.Translator(run / 'run')(np.zeros((4, 4, 3)), np.zeros((4, 4, 3)))


@pytest.mark.parametrize('name,shape,said', [
    ('1.npy', (13, 48, 64), 'the axes of {} are (channels, height, width), it seems: needed'),
    ('1.tif', (48, 64, 13), 'the 48 pages of {} are the rows of an image, it seems: needed'),
    ('1.tif', (5, 48, 32), ''),  # bands of another image
])  # fmt: skip
def test_axes_in_another_order_are_said_where_sizes_tell(tmp_path, name, shape, said):
    file = tmp_path / 'train' / 'A' / name
    file.parent.mkdir(parents=True)
    if name.endswith('npy'):
        np.save(file, np.zeros(shape, np.uint8))
    else:
        tifffile.imwrite(file, np.zeros(shape, np.uint8), photometric='minisblack')
    write(tmp_path / 'train' / 'B' / '1.png', photo(1, 48, 64))
    message = error(tmp_path, **{'generator.input_channels': 13})
    assert said.format(file) in message
    assert ('it seems' in message) == bool(said)
