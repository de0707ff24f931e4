"""Translation and measurement of a split, batch by batch on the device."""

import jax
import numpy as np
import pytest
from helpers import pictures
from helpers.runs import changed, make_pairs, tiny_config

from pix2pix_jax.config import validate
from pix2pix_jax.data import discover, pipeline
from pix2pix_jax.data.formats import encode
from pix2pix_jax.evaluation import device_metrics, image_metrics, metrics, report, translated
from pix2pix_jax.inference.generator import Generator
from pix2pix_jax.train_setup import initial_state

COUNT, TOGETHER = 7, 3


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    return validate(tiny_config(make_pairs(folder / 'pairs', {'train': 1, 'test': COUNT})))


@pytest.fixture(scope='module')
def source(config):
    return discover.open_splits(config)['test']


@pytest.fixture
def in_threes(monkeypatch):
    monkeypatch.setattr(translated, 'MAX_IMAGES', TOGETHER)


def darker(inputs):
    return jax.numpy.asarray(inputs) * 0.7 - 0.1


def all_of(batches):
    return [example for batch in batches for example in batch]


def test_pairs_come_in_order_with_images_and_values(config, source, in_threes):
    sizes = []

    def translate(inputs):
        sizes.append(len(inputs))
        return darker(inputs)

    batches = list(translated.batches(translate, source, config))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert sizes == [3, 3, 3]  # one shape, so one compilation
    assert [name for name, _ in all_of(batches)] == list(source.names)
    for i, (_, example) in enumerate(all_of(batches)):
        pair = pipeline.example(source, i, config)
        np.testing.assert_array_equal(example['input'], pair['input'])
        np.testing.assert_array_equal(example['target'], pair['target'])
        np.testing.assert_allclose(example['output'], darker(pair['input']), atol=1 / 255 + 1e-6)
        levels = (example['output'] + 1) * 127.5
        np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)
        ours = {name: example[name] for name in ('l1', 'psnr', 'ssim')}
        expected = image_metrics.of_pair(example['output'], example['target'])
        assert ours == pytest.approx(expected, abs=1e-5)
        assert set(example) == {*translated.KINDS, *ours} and 'mse' not in example


def test_an_evaluation_is_compiled_once(config, source, in_threes):
    state, _ = initial_state(config, jax.devices()[:1], total_steps=1)
    generator = Generator(config, state.generator_variables(), batch=TOGETHER)
    programs = (device_metrics._paired, device_metrics._columns, device_metrics._similarity)
    for program in programs:
        program.clear_cache()
    first = all_of(translated.batches(generator.on_device, source, config))
    generator(first[0][1]['input'][None])  # a sample grid
    again = all_of(translated.batches(generator.on_device, source, config))
    assert [e['l1'] for _, e in first] == [e['l1'] for _, e in again]
    assert generator._apply._cache_size() == 1
    assert [program._cache_size() for program in programs] == [1, 1, 1]


def test_a_translation_does_not_depend_on_its_neighbours(config, source, monkeypatch):
    """Dropout is on, and each image has its own statistics."""
    state, _ = initial_state(config, jax.devices()[:1], total_steps=1)
    generator, found = Generator(config, state.generator_variables()), []
    for size in (1, 3, 16):
        monkeypatch.setattr(translated, 'MAX_IMAGES', size)
        examples = all_of(translated.batches(generator.on_device, source, config))
        found.append([example['l1'] for _, example in examples])
    assert found[1] == pytest.approx(found[0], abs=1e-5)
    assert found[2] == pytest.approx(found[0], abs=1e-5)


class Kept:
    """Images on the device that nobody may fetch."""

    def __array__(self, *args, **kwargs):
        raise AssertionError('images are fetched')


def test_no_image_is_fetched_unless_it_is_asked_for(config, source, tmp_path, monkeypatch):
    measure = device_metrics.measure
    monkeypatch.setattr(device_metrics, 'measure', lambda *args: (Kept(), measure(*args)[1]))
    summary, values = report.measure(translated.batches(darker, source, config), COUNT)
    assert list(summary) == list(values) == ['l1', 'psnr', 'ssim']
    assert all(len(column) == COUNT for column in values.values())
    more = metrics.for_folders(metrics.Options(('lab',)), [])
    for arguments in ({'output_dir': tmp_path}, {'accumulators': more}):
        with pytest.raises(AssertionError, match='are fetched'):
            report.measure(translated.batches(darker, source, config), COUNT, **arguments)


def test_an_evaluation_may_be_stopped_between_two_batches(config, source, tmp_path, in_threes):
    read = []

    def stopped(batches):
        for batch in batches:
            read.append(len(batch))
            yield batch
            raise InterruptedError

    with pytest.raises(InterruptedError):
        report.measure(stopped(translated.batches(darker, source, config)), COUNT, tmp_path)
    assert read == [3] and not (tmp_path / 'metrics.json').exists()


@pytest.mark.parametrize(
    ('size', 'count'),
    [
        ((256, 256), 4),
        ((32, 32), 16),
        ((128, 128), 16),
        ((512, 512), 1),
        ((256, 512), 2),
        ((300, 300), 2),
        ((4096, 4096), 1),
    ],
)
def test_a_batch_is_as_large_as_its_pixels_allow(size, count):
    assert translated.batch_size(changed(image_size=size)) == count


def test_files_of_several_types_in_one_batch(tmp_path, in_threes):
    """Each output is rounded to the levels of its own target's file."""
    for i, extension in enumerate(('png', 'tif', 'npy')):
        wide = pictures.photo(i, 20, 40)
        image = {'png': wide, 'tif': wide.astype(np.uint16) * 257, 'npy': wide / np.float32(255)}
        pictures.write(tmp_path / 'test' / f'{i}.{extension}', image[extension])
    config = validate(
        changed(dataset__path=str(tmp_path), dataset__layout='side_by_side', image_size=(16, 16))
    )
    source = discover.open_splits(config)['test']
    ((*examples,),) = translated.batches(lambda x: np.float32(0.7) * x, source, config)
    for (_, example), top in zip(examples, (255, 65535, None)):
        output = 0.7 * example['input']
        if top:
            output = np.rint((output + 1) * (top / 2)) / (top / 2) - 1
        np.testing.assert_allclose(example['output'], output, atol=1e-6)


def test_targets_that_have_a_range(tmp_path):
    """0 to 1023 in files of 16 bits: outputs have 1,024 levels."""
    photo = pictures.photo(0, 20, 40)[..., :1].astype(np.uint16) * 4
    pictures.write(tmp_path / 'test' / '0.tif', photo)
    fields = {'dataset__target_range': '0:1023', 'dataset__input_range': '0:1023'}
    channels = {'generator__input_channels': 1, 'generator__output_channels': 1}
    config = validate(
        changed(dataset__path=str(tmp_path), image_size=(20, 20), **fields, **channels)
    )
    source = discover.open_splits(config)['test']
    (((_, example),),) = translated.batches(lambda x: np.float32(0.7) * x, source, config)
    levels = (example['output'] + 1) / 2 * 1023
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-3)
    np.testing.assert_allclose(example['output'], 0.7 * example['input'], atol=1.1 / 1023)


def test_a_range_that_no_type_of_whole_numbers_holds_is_not_rounded(tmp_path):
    """Targets of -5 to 5 become floats in the translation's file."""
    photo = pictures.photo(0, 20, 40)[..., :1].astype(np.int16) % 11 - 5
    pictures.write(tmp_path / 'test' / '0.tif', photo)
    channels = {'generator__input_channels': 1, 'generator__output_channels': 1}
    ranges = {'dataset__target_range': '-5:5', 'dataset__input_range': '-5:5'}
    config = validate(
        changed(dataset__path=str(tmp_path), image_size=(20, 20), **ranges, **channels)
    )
    source = discover.open_splits(config)['test']
    assert encode.file_type('.tif', source.target_type, 1, (-5, 5))[1] == np.float32
    (((_, example),),) = translated.batches(lambda x: np.float32(0.7) * x, source, config)
    np.testing.assert_allclose(example['output'], 0.7 * example['input'], atol=1e-6)


def test_errors_of_several_units_are_not_averaged(tmp_path, in_threes):
    """Shades of 8 bits beside those of 16."""
    for i, kind in enumerate((np.uint16, np.uint8, np.uint16)):
        values = pictures.photo(i, 20, 40).astype(kind) * (257 if kind == np.uint16 else 1)
        pictures.write(tmp_path / 'test' / f'{i}.tif', values)
    config = validate(
        changed(dataset__path=str(tmp_path), dataset__layout='side_by_side', image_size=(20, 20))
    )
    source = discover.open_splits(config)['test']
    batches = translated.batches(lambda x: np.float32(0.7) * x, source, config)
    summary, _ = report.measure(batches, 3, None, accumulators=metrics.always(config, units=True))
    for name in ('mae', 'rmse'):
        assert summary[name]['value'] is None
        assert '1 of 3 images are of another type than the first' in summary[name]['reason']
    assert summary['l1']['mean'] > 0


def test_colorization_is_measured_in_rgb(tmp_path):
    """Its colours are computed on the host, between translation and measurement."""
    for i in range(2):
        pictures.save(tmp_path / 'test' / f'{i}.png', pictures.photo(i, 32, 32))
    pictures.save(tmp_path / 'train' / '0.png', pictures.photo(9, 32, 32))
    channels = {'generator__input_channels': 1, 'generator__output_channels': 2}
    config = validate(tiny_config(tmp_path, dataset__task='colorize', **channels))
    source = discover.open_splits(config)['test']
    state, _ = initial_state(config, jax.devices()[:1], total_steps=1)
    generator = Generator(config, state.generator_variables())
    for _, example in all_of(translated.batches(generator.on_device, source, config)):
        assert example['output'].shape == example['target'].shape == (32, 32, 3)
        expected = image_metrics.of_pair(example['output'], example['target'])
        assert {name: example[name] for name in expected} == pytest.approx(expected, abs=1e-5)
