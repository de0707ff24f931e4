"""No-data and units: what translate writes and shows, however it reads, and what is measured."""

import filecmp

import numpy as np
import pytest
from helpers import pictures
from helpers.runs import metrics, tiny_config
from PIL import Image

from pix2pix_jax.config import default_config
from pix2pix_jax.data import discover, image_spec
from pix2pix_jax.data.formats import decode
from pix2pix_jax.data.formats.pixels import Pixels
from pix2pix_jax.errors import UserError
from pix2pix_jax.evaluation.metric_titles import check_best
from pix2pix_jax.evaluation.runs import RunImages, evaluate_run
from pix2pix_jax.inference.files import TranslationJob, translate_files
from pix2pix_jax.inference.options import TranslateOptions
from pix2pix_jax.inference.translator import Translator
from pix2pix_jax.reports import image_grid
from pix2pix_jax.train import train_and_evaluate
from pix2pix_jax.web import page

SIDE, GAP = 32, (slice(8, 20), slice(4, 16))


def depth(number):
    rows, columns = np.mgrid[:SIDE, :SIDE]
    values = (1500 + 20 * rows + 9 * columns + 50 * number).astype(np.uint16)[..., None]
    values[GAP] = 0
    return values


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A run on depth with gaps, to deeper depth; the same pairs in two folders and in one file."""
    folder = tmp_path_factory.mktemp('no_data')
    for split in ('train', 'test'):
        for i in range(2):
            both = [depth(i), depth(i) * 2]
            for name, image in zip('AB', both):
                pictures.write(folder / 'two' / split / name / f'{i}.png', image)
            pictures.write(folder / 'one' / split / f'{i}.png', np.concatenate(both, axis=1))
    for name in ('one', 'two'):
        config = tiny_config(
            folder / name,
            image_size=(SIDE, SIDE),
            num_steps=1,
            dataset__nodata='0',
            dataset__input_range='0:10000',
            dataset__target_range='0:10000',
            generator__input_channels=1,
            generator__output_channels=1,
            test__dropout=False,
        )
        train_and_evaluate(config, folder / f'run_{name}')
    return folder


def test_training_measures_in_units_what_evaluate_does(folder):
    last = metrics(folder / 'run_two')[-1]
    measured = evaluate_run(folder / 'run_two', None, RunImages('test'))
    for name in ('mae', 'rmse'):
        np.testing.assert_allclose(last[f'test/{name}'], measured[name]['mean'], rtol=1e-5)
        assert last[f'test/{name}'] > 100  # no part of [-1, 1]


def test_an_error_in_units_chooses_the_best_where_there_are_units():
    config = default_config()
    config.checkpoint.best = 'eval/rmse'
    check_best(config, units=True)
    with pytest.raises(UserError, match=r'allowed are eval/l1 \| eval/psnr \| eval/ssim$'):
        check_best(config, units=False)


def picture_of(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert('RGB')).astype(int)


def test_sheets_and_pages_stretch_by_what_counts(folder, tmp_path, monkeypatch):
    found, narrow = set(), image_grid.narrow

    def noted(*args, **kwargs):
        shown = narrow(*args, **kwargs)
        found.update(ends for ends in shown if ends)
        return shown

    monkeypatch.setattr(image_grid, 'narrow', noted)
    train_and_evaluate(Translator(folder / 'run_two').config, tmp_path / 'run')
    test = [(depth(i)[depth(i) > 0] * 2) / np.float32(5000) - 1 for i in range(2)]
    expected = [np.percentile(x, (0.1, 99.9)) for x in (test[0], test[1], np.concatenate(test))]
    np.testing.assert_allclose(sorted(found), sorted(map(tuple, expected)), rtol=1e-5)


def test_a_report_shows_targets_white_where_they_do_not_count(folder):
    images = folder / 'run_two' / 'evaluation' / 'test' / 'images'
    for i in range(2):
        target = picture_of(images / f'{i}_target.png')
        assert (target[GAP] == 255).all() and target.mean() < 200


def test_the_gallery_is_white_where_there_is_no_data(folder):
    gallery = translated(folder, 'two_gallery', [str(folder / 'two' / 'test' / 'A')]) / 'gallery'
    for kind in ('input', 'output'):
        shown = picture_of(gallery / f'0_{kind}.jpg')
        assert (shown[10:18, 6:14] > 240).all() and shown.mean() < 225


def translated(folder, name, places, split=''):
    job = TranslationJob(places, str(folder / name), split=split)
    run = 'run_one' if 'one' in name else 'run_two'
    assert translate_files(str(folder / run), 'last', TranslateOptions(), job) == 0
    return folder / name


def test_a_split_is_translated_as_its_files(folder):
    given = translated(folder, 'two_given', [str(folder / 'two' / 'test' / 'A')])
    split = translated(folder, 'two_split', [], split='test')
    halves = translated(folder, 'one_split', [], split='test')
    for i in range(2):
        values = decode.read_pixels(given / f'{i}.png').values
        assert not values[GAP].any() and values.any()
        for other in (split, halves):
            assert filecmp.cmp(given / f'{i}.png', other / f'{i}.png', shallow=False)


@pytest.mark.parametrize('name', ['one', 'two'])
def test_a_pair_of_a_split_is_read_once(folder, name, monkeypatch):
    translator = Translator(folder / f'run_{name}')
    source = discover.open_splits(translator.config)['test']
    read, read_pixels = [], decode.read_pixels

    def counted(file, **options):
        read.append(file)
        return read_pixels(file, **options)

    monkeypatch.setattr(decode, 'read_pixels', counted)
    loaded = translator.load_pair(source, 1)
    np.testing.assert_array_equal(loaded.missing, depth(1) == 0)
    assert read == list(source.input_files(1))


@pytest.mark.parametrize('dtype, expected', [(np.uint16, 1), (np.float32, 0)])
def test_a_translation_of_no_datas_value_is_data(folder, dtype, expected):
    translator = Translator(folder / 'run_one')
    translator.config.dataset.target_type = np.dtype(dtype).name
    _, spec = image_spec.of_config(translator.config)
    loaded = translator.load(depth(0))
    image = np.full((SIDE, SIDE, 1), -1, np.float32)
    image[0, 0] = 0.5
    extension, values = translator.outputs.to_values(loaded._replace(extension='.tif'), image)
    assert values.dtype == dtype and values[0, 0] == 7500
    assert values[0, 1] == pytest.approx(expected, abs=1e-30)
    found = image_spec.missing(spec, Pixels(values))
    np.testing.assert_array_equal(found, depth(0) == 0)


def test_a_drawing_has_no_gaps(folder, monkeypatch):
    translator = Translator(folder / 'run_one')
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    picture[:, SIDE // 2 :] = 255
    drawn, translate = [], translator.translate
    monkeypatch.setattr(
        translator, 'translate', lambda x, *a: [drawn.extend(x), *translate(x, *a)][1:]
    )
    assert page.translated(translator, picture, 0).shape == picture.shape
    assert drawn[0].missing is None
    np.testing.assert_array_equal(drawn[0].values, picture[..., :1] / np.float32(127.5) - 1)
