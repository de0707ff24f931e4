"""The public Translator on tiny runs: arrays and files of any size, type and number."""

import numpy as np
import pytest
from helpers import pictures
from helpers.runs import changed, make_pairs, tiny_config, untrained_run
from PIL import Image, ImageCms
from skimage.color import rgb2lab

import pix2pix_jax
from pix2pix_jax import translate
from pix2pix_jax.config_fields import FIELDS
from pix2pix_jax.data import augment, discover, pipeline
from pix2pix_jax.data.formats import encode, metadata
from pix2pix_jax.errors import DataError, UserError, run_command
from pix2pix_jax.inference import generator, loaded_run, outputs, scaling
from pix2pix_jax.inference.options import TranslateOptions
from pix2pix_jax.train import train_and_evaluate
from pix2pix_jax.web import drawing
from pix2pix_jax.workdir.config_json import load_config


def train(folder, **fields):
    pairs = folder / 'pairs'
    if not pairs.exists():
        make_pairs(pairs, {'train': 3})
    train_and_evaluate(tiny_config(pairs, num_steps=1, **fields), folder / 'run')
    return folder / 'run'


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp('plain'))


@pytest.mark.parametrize('preprocess', ['crop', 'none'])
def test_of_crops_smaller_images_alone_are_enlarged(preprocess):
    """As training enlarges an image that its crop does not fit into; --fit=pad leaves the scale."""
    config = changed(generator__depth=2, dataset__preprocess=preprocess)
    config.image_size = 32, 32
    auto, pad = (scaling.Fit.of(config, TranslateOptions(fit=fit)) for fit in ('auto', 'pad'))
    for size in ((50, 70), (32, 33), (32, 32)):
        assert auto.sizes(size) == pad.sizes(size) and auto.sizes(size)[0] == size
    assert auto.sizes((20, 30))[0] == augment.loaded_size(20, 30, (32, 32), 1.0, 'crop') == (32, 48)
    assert pad.sizes((20, 30))[0] == (20, 30)


def picture(height=32, width=32, channels=3, dtype=np.uint8):
    unit = np.random.default_rng(0).random((height, width, channels))
    return (unit * (1 if dtype == np.float32 else np.iinfo(dtype).max)).astype(dtype)


def test_it_is_the_generator(run):
    """At the training's size it is what the run's evaluation has."""
    image = picture()
    loaded = loaded_run.load_run(run)
    expected = generator.Generator(loaded.config, loaded.variables)(augment.to_float(image)[None])
    found = pix2pix_jax.Translator(run)(image)
    np.testing.assert_array_equal(found, augment.from_float(expected[0]))


@pytest.mark.parametrize('name', ['unet', 'resnet'])
def test_at_the_trainings_size_it_is_the_evaluation(tmp_path, monkeypatch, name):
    """However images were scaled; 36 is no multiple of what a ResNet's borders are made for."""
    pairs = make_pairs(tmp_path / 'pairs', {'train': 3}, size=36)
    fields = {'generator__name': name, 'generator__blocks': 1, 'image_size': (36, 36)}
    train(tmp_path, **fields)
    run = loaded_run.load_run(tmp_path / 'run')
    monkeypatch.setattr(loaded_run, 'load_run', lambda *args: run)
    evaluated = generator.Generator(run.config, run.variables)
    with Image.open(pairs / 'train' / '0.png') as picture:
        image = np.asarray(picture)[:, :36]
    for preprocess in FIELDS['dataset.preprocess'].allowed.words:
        run.config.dataset.preprocess = preprocess
        source = discover.open_splits(run.config)['train']
        expected = evaluated(pipeline.example(source, 0, run.config)['input'][None])[0]
        for fit in ('auto', 'pad', 'resize'):
            translator = pix2pix_jax.Translator(tmp_path / 'run', fit=fit)
            (found,) = translator.translate([translator.load(image)])
            np.testing.assert_array_equal(found, expected, err_msg=f'{preprocess}, {fit}')


def test_smaller_images_are_enlarged_as_the_evaluation_does(tmp_path, monkeypatch):
    pairs = make_pairs(tmp_path / 'pairs', {'train': 3}, size=24)
    train(tmp_path)
    run = loaded_run.load_run(tmp_path / 'run')
    monkeypatch.setattr(loaded_run, 'load_run', lambda *args: run)
    evaluated = generator.Generator(run.config, run.variables)
    with Image.open(pairs / 'train' / '0.png') as picture:
        image = np.asarray(picture)[:, :24]
    for preprocess in set(FIELDS['dataset.preprocess'].allowed.words) - {'none'}:
        run.config.dataset.preprocess = preprocess
        source = discover.open_splits(run.config)['train']
        (expected,) = evaluated(pipeline.example(source, 0, run.config)['input'][None])
        translator = pix2pix_jax.Translator(tmp_path / 'run')
        (found,) = translator.translate([translator.load(image)])
        expected = augment.resized(expected, (24, 24))
        np.testing.assert_array_equal(found, expected, err_msg=preprocess)


def test_the_way_back_has_the_runs_resize(tmp_path, monkeypatch):
    """Nearest neighbour mixes no values of a label map."""
    train(tmp_path, dataset__resize='nearest')
    translator = pix2pix_jax.Translator(tmp_path / 'run')
    monkeypatch.setattr(translator, '_generator', lambda x, sample: np.sign(x))
    (found,) = translator.translate([translator.load(picture(48, 80))])
    assert set(np.unique(found)) == {-1, 1}


def test_a_colorized_photo_keeps_its_own_lightness(tmp_path):
    """At any size: only a and b are scaled back."""
    fields = {'generator__input_channels': 1, 'generator__output_channels': 2}
    train(tmp_path, dataset__task='colorize', **fields)
    photo = picture(48, 80)
    (photo,) = augment.to_float(photo[None])
    gray = photo.mean(-1, keepdims=True).repeat(3, -1) * 0.2  # within what any a and b can have
    translator = pix2pix_jax.Translator(tmp_path / 'run')
    loaded = translator.load(augment.from_float(gray))
    (found,) = translator.translate([loaded])
    before, after = (rgb2lab((image + 1) / 2)[..., 0] for image in (gray, found))
    assert np.abs(before - after).mean() < 0.5 and before.std() > 1  # of 100


@pytest.mark.parametrize(('task', 'channels'), [('edges', 1), ('inpaint', 3)])
def test_an_input_is_made_of_a_photo_at_the_size_of_the_network(tmp_path, task, channels):
    """Lines of a larger photo, made smaller, are gray: no input that the run has seen."""
    for i in range(2):
        pictures.save(tmp_path / 'photos' / 'train' / f'{i}.png', pictures.photo(i, 96, 128))
    fields = {'dataset__task': task, 'generator__input_channels': channels}
    untrained_run(tmp_path / 'run', tiny_config(tmp_path / 'photos', **fields))
    translator = pix2pix_jax.Translator(tmp_path / 'run')
    source = discover.open_splits(translator.config)['train']
    loaded, pair = translator.load_pair(source, 0), pipeline.example(source, 0, translator.config)
    np.testing.assert_allclose(loaded.values, pair['input'], atol=0.02)
    (found,) = translator.translate([loaded])
    assert loaded.size == found.shape[:2] == (96, 128)


def test_samples_differ_where_a_block_has_samples(tmp_path, run):
    assert pix2pix_jax.Translator(run).has_samples
    assert not pix2pix_jax.Translator(run, dropout=False).has_samples
    none = train(tmp_path, generator__dropout_blocks=0)  # depth - 5: none of two
    assert not pix2pix_jax.Translator(none).has_samples


@pytest.mark.parametrize('size', [32, 48])
def test_the_command_gives_what_the_evaluation_wrote(tmp_path, size):
    """Its own test inputs, up to the way back to their size."""
    make_pairs(tmp_path / 'pairs', {'train': 3, 'test': 2}, size=size)
    run = train(tmp_path)
    (tmp_path / 'in').mkdir()
    for name in ('0.png', '1.png'):
        with Image.open(tmp_path / 'pairs' / 'test' / name) as pair:
            pair.crop((0, 0, size, size)).save(tmp_path / 'in' / name)
    words = ['translate', f'--workdir={run}', f'--input={tmp_path}/in', f'--output={tmp_path}/out']
    with pytest.raises(SystemExit) as stopped:
        run_command(translate.main, translate.define_flags, words)
    assert stopped.value.code == 0
    for name in ('0', '1'):
        with Image.open(run / f'evaluation/test/images/{name}_output.png') as picture:
            expected = augment.to_float(np.asarray(picture))
        with Image.open(tmp_path / f'out/{name}.png') as picture:
            found = np.asarray(picture)
        if size == 32:
            np.testing.assert_array_equal(found, augment.from_float(expected))
        else:
            expected = augment.from_float(augment.resized(expected, (size, size)))
            assert np.abs(found.astype(int) - expected).max() <= 2  # of 255: rounded twice


@pytest.mark.parametrize('target_range', ['', '0:4095'])
def test_values_in_units_have_no_colour_profile(target_range):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    about, image = metadata.Metadata((8, 6), 3, icc=profile), np.zeros((8, 6, 3), np.uint16)
    loaded = outputs.Loaded(image, '.png', image.dtype, 3, (8, 6), about=about)
    found = outputs.Outputs.of(changed(dataset__target_range=target_range))
    assert found.metadata_of(loaded, image).icc == (b'' if target_range else profile)


def test_a_file_and_an_array_are_one(run, tmp_path):
    image = picture(20, 45)
    Image.fromarray(image).save(tmp_path / 'a.png')
    translate = pix2pix_jax.Translator(run)
    found = translate(image)
    assert found.shape == (20, 45, 3) and found.dtype == np.uint8
    for path in (tmp_path / 'a.png', str(tmp_path / 'a.png')):
        np.testing.assert_array_equal(translate(path), found)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
def test_the_type_stays(run, dtype):
    translate = pix2pix_jax.Translator(run)
    found = translate(picture(dtype=dtype))
    assert found.dtype == dtype
    top = 1 if dtype == np.float32 else np.iinfo(dtype).max
    eight = translate(picture())
    np.testing.assert_allclose(found / top, eight / 255, atol=0.02)  # inputs differ in their depth


def test_switches(run):
    image = picture()
    one = pix2pix_jax.Translator(run)
    assert not np.array_equal(one(image), one(image, sample=1))
    np.testing.assert_array_equal(one(image, sample=1), one(image, sample=1))
    assert not np.array_equal(one(image), pix2pix_jax.Translator(run, seed=1)(image))
    still = pix2pix_jax.Translator(run, dropout=False)
    np.testing.assert_array_equal(still(image), still(image, sample=1))
    resized = pix2pix_jax.Translator(run, fit='resize')
    assert resized(picture(50, 20)).shape == (50, 20, 3)
    np.testing.assert_array_equal(resized(image), one(image))


def test_a_tile_alone_is_the_whole(run):
    image = picture(40, 70)
    tiled = pix2pix_jax.Translator(run, tile=96, dropout=False, batch=2)(image)
    whole = pix2pix_jax.Translator(run, fit='pad', dropout=False)(image)
    assert tiled.shape == whole.shape
    # One tile of 96 holds what 64 x 96 does, with a larger border.
    assert np.abs(tiled.astype(int) - whole).mean() < 20


def test_a_resnet_takes_every_size(tmp_path):
    run = train(tmp_path, generator__name='resnet', generator__blocks=1)
    for size in ((1, 1), (33, 17)):
        assert pix2pix_jax.Translator(run)(picture(*size)).shape == (*size, 3)


@pytest.mark.parametrize('resize', ['bicubic', 'nearest'])
def test_super_resolution_enlarges_as_in_training(tmp_path, resize):
    fields = {'dataset__task': 'super_resolution', 'dataset__task_amount': 2.0}
    run = train(tmp_path, **fields, dataset__resize=resize)
    assert pix2pix_jax.Translator(run)(picture(10, 20)).shape == (20, 40, 3)
    small = picture(10, 20)
    enlarged = pix2pix_jax.Translator(run).load(small).values
    np.testing.assert_array_equal(enlarged, augment.resized(small, (20, 40), 'bicubic'))


def test_colorization_takes_and_gives_rgb(tmp_path):
    fields = {'generator__input_channels': 1, 'generator__output_channels': 2}
    run = train(tmp_path, dataset__task='colorize', **fields)
    assert pix2pix_jax.Translator(run)(picture(33, 40)).shape == (33, 40, 3)
    assert pix2pix_jax.Translator(run)(picture(33, 40, 1)[..., 0]).shape == (33, 40, 3)


def test_several_inputs_classes_and_ranges(tmp_path, capsys):
    """16-bit depth and RGB to 12 bits in 16, and class maps to photos."""
    write = {'A': picture(), 'A2': picture(channels=1, dtype=np.uint16), 'B': picture(channels=1)}
    for side, image in write.items():
        file = tmp_path / 'pairs' / 'train' / side / '1.png'
        file.parent.mkdir(parents=True)
        file.write_bytes(encode.encode(image, '.png'))
    fields = {'generator__input_channels': 4, 'generator__output_channels': 1}
    run = train(tmp_path, dataset__target_range='0:4095', **fields)
    found = pix2pix_jax.Translator(run)(write['A'], write['A2'])
    assert found.shape == (32, 32) and found.dtype == np.uint16 and 255 < found.max() <= 4095
    for given in ((), (write['A'],), (write['A'],) * 3):
        with pytest.raises(DataError, match=f'{len(given)} images? for one .* the run takes 2'):
            pix2pix_jax.Translator(run)(*given)
    with pytest.raises(DataError, match='the array has 1 channel: input 1 of the run has 3; are '):
        pix2pix_jax.Translator(run)(write['A2'], write['A'])
    with pytest.raises(DataError, match='the images of one input have one size'):
        pix2pix_jax.Translator(run)(write['A'], write['A2'][:5])
    given = str(tmp_path / 'pairs' / 'train' / 'A')
    words = ['translate', f'--workdir={run}', f'--input={given}', f'--output={tmp_path}/out']
    with pytest.raises(SystemExit):
        run_command(translate.main, translate.define_flags, words)
    assert capsys.readouterr().err == (
        f'error: --input={given}: 1 image for one translation: the run takes 2, as '
        'config.dataset.inputs says; give a folder for each, with commas between\n'
    )
    config = load_config(run)
    with pytest.raises(UserError, match='has several inputs for one output: allowed is one; pyth'):
        drawing.check(config, {}, run)


def test_class_maps(tmp_path):
    indices = (np.arange(32 * 32).reshape(32, 32) % 3).astype(np.uint8)
    for side, image in (('A', indices), ('B', picture())):
        (tmp_path / 'pairs' / 'train' / side).mkdir(parents=True)
        Image.fromarray(image).save(tmp_path / 'pairs' / 'train' / side / '1.png')
    run = train(tmp_path, dataset__input_classes=3)
    translate = pix2pix_jax.Translator(run)
    assert translate(indices[:20]).shape == (20, 32, 3)
    assert pix2pix_jax.Translator(run, fit='resize')(indices[:20]).shape == (20, 32, 3)
    with pytest.raises(DataError, match='the array has the class 9'):
        translate(np.full((8, 8), 9, np.uint8))


def test_what_is_no_image(run, tmp_path):
    translate = pix2pix_jax.Translator(run)
    for array in (np.zeros(3, np.uint8), np.zeros((2, 3, 4, 3), np.uint8)):
        with pytest.raises(DataError, match='the array has the shape'):
            translate(array)
    with pytest.raises(DataError, match='of bool: allowed are whole numbers and floats, as uint8'):
        translate(np.zeros((8, 8), bool))
    with pytest.raises(UserError, match='--seed=-1: allowed is 0 or more'):
        pix2pix_jax.Translator(run, seed=-1)
    with pytest.raises(DataError) as raised:
        translate(np.zeros((8, 8, 5), np.uint8))
    needed = "needed are 3 (the run's config.generator.input_channels)"
    assert str(raised.value) == f'the array has 5 channels: {needed}'
    with pytest.raises(DataError, match='has values from 0 to 9: of float64 allowed is 0 to 1$'):
        translate(np.linspace(0, 9, 12).reshape(2, 2, 3))
    with pytest.raises(DataError, match=r'x\.png cannot be read: No such file'):
        translate(tmp_path / 'x.png')
    with pytest.raises(UserError, match='no run there'):
        pix2pix_jax.Translator(tmp_path)
