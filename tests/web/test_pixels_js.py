"""The page's arithmetic in a browser, against the package's own in Python."""

import numpy as np
import pytest
from helpers.browser import MISSING, REASON, chromium, serving
from helpers.pictures import noise
from helpers.runs import changed

from pix2pix_jax.data import augment, class_maps, image_spec, tasks
from pix2pix_jax.data.formats import decode
from pix2pix_jax.data.formats.pixels import Pixels
from pix2pix_jax.inference import tiling
from pix2pix_jax.reports import image_grid
from pix2pix_jax.web import class_brushes, drawing, static_page

pytestmark = pytest.mark.skipif(bool(MISSING), reason=REASON)
STATIC = static_page.HERE / 'static'


@pytest.fixture(scope='module')
def call():
    """Calls a function of a module of the page with arguments that JSON can hold."""
    with serving(STATIC) as address, chromium() as browser:
        page = browser.new_page()
        page.goto(f'{address}color.js')  # any file of this origin

        def call(module, name, *args):
            return page.evaluate(
                """async ([module, name, args]) => {
                    const given = args.map((arg) => arg?.data
                        ? {...arg, data: Uint8ClampedArray.from(arg.data)}
                        : arg?.floats ? Float32Array.from(arg.floats) : arg);
                    const found = (await import(`/${module}.js`))[name](...given);
                    const plain = (x) => ArrayBuffer.isView(x) ? Array.from(x) : x;
                    if (Array.isArray(found) || ArrayBuffer.isView(found)) return plain(found);
                    return Object.fromEntries(Object.entries(found).map(([k, v]) => [k, plain(v)]));
                }""",
                [module, name, args],
            )

        yield call


def picture(rgb):
    """A picture (H,W,3) as the scripts have it."""
    rgba = np.concatenate([rgb, np.full_like(rgb[..., :1], 255)], axis=-1)
    return {'width': rgb.shape[1], 'height': rgb.shape[0], 'data': rgba.ravel().tolist()}


def rgb_of(found):
    return np.array(found['data'], np.uint8).reshape(found['height'], found['width'], 4)[..., :3]


@pytest.mark.parametrize('sizes', [((20, 31), (8, 8)), ((5, 9), (16, 12)), ((40, 7), (10, 20))])
@pytest.mark.parametrize('kind', ['bicubic', 'nearest'])
def test_sizes_are_changed_as_training_changes_them(call, kind, sizes):
    (height, width), (rows, columns) = sizes
    given = noise(height, width)
    found = rgb_of(call('resize', kind, picture(given), columns, rows))
    expected = augment.resized(given, (rows, columns), kind)
    most = 1 if kind == 'bicubic' else 0  # Pillow's whole numbers
    assert np.abs(found.astype(int) - expected).max() <= most


@pytest.mark.parametrize('preprocess', ['resize_and_crop', 'scale_width', 'crop'])
def test_pictures_are_scaled_to_the_training_size(call, preprocess):
    for height, width in ((50, 70), (8, 90), (64, 16)):
        size = {'height': height, 'width': width}
        expected = augment.loaded_size(height, width, (32, 48), 1.0, preprocess)
        assert tuple(call('resize', 'loadedSize', size, [32, 48], preprocess)) == expected
    given = noise(21, 34)
    found = rgb_of(call('resize', 'middle', picture(given), [10, 13]))
    np.testing.assert_array_equal(found, tiling.crop(given, (10, 13)))


def given_to_network(picture_rgb, config):
    """The network's input of a drawing, as the translator makes it."""
    spec, values = image_spec.of_config(config)[0], drawing.as_input(picture_rgb, config)
    task = tasks.task(config.dataset.task)
    if spec.classes:
        read = spec._replace(coding=None, void=class_maps.VOID) if spec.coding else spec
        return class_maps.one_hot(image_spec.combine(read, [Pixels(values)], ['it']), spec.classes)
    if task.of_any_photo:
        return tasks.as_input(config.dataset.task, augment.to_float(values))
    if spec.ranges:
        return image_spec.combine(spec, [Pixels(values)], ['it'])
    return augment.to_float(decode.as_channels(Pixels(values), spec.channels))


CLASSES = {'dataset__input_classes': 4, 'generator__input_channels': 4}
COLOURED = CLASSES | {'dataset__colors': 'a 9,0,0;b 0,9,0;c 200,0,9;d 9,99,9;void 1,2,3;'}
INPUTS = [
    {},
    {'generator__input_channels': 1},
    {'generator__input_channels': 4},
    {'generator__input_channels': 1, 'dataset__input_range': '0:4095'},
    {'dataset__task': 'gray_to_color', 'generator__input_channels': 1},
    {'dataset__task': 'colorize', 'generator__input_channels': 1, 'generator__output_channels': 2},
    CLASSES,
    CLASSES | {'dataset__void': ''},
    CLASSES | {'dataset__palette': 'a 9,0,0;b 0,9,0;c 200,0,9;d 9,99,9;'},
    COLOURED,
    COLOURED | {'dataset__void': '0'},  # which is of files of indices
]


@pytest.mark.parametrize('fields', INPUTS, ids=lambda f: ' '.join(f'{v}' for v in f.values()))
def test_the_network_is_given_what_the_translator_gives_it(call, fields):
    config = changed(**fields)
    config.image_size = (16, 24)
    drawn = noise(16, 24)
    found = call('pixels', 'toInput', picture(drawn), static_page.input_spec(config))
    expected = given_to_network(drawn, config)
    actual = np.array(found['values'], np.float32).reshape(16, 24, found['channels'])
    np.testing.assert_allclose(actual, expected, atol=2e-5)
    if config.dataset.input_classes:
        assert len(np.unique(actual.argmax(-1))) == 4


def test_super_resolution_is_given_the_enlarged_drawing(call):
    config = changed(dataset__task='super_resolution', dataset__task_amount=2.0)
    config.image_size = (16, 24)
    spec = static_page.input_spec(config)
    assert spec['size'] == [8, 12] and spec['fit'] == 'crop'
    drawn = noise(8, 12)
    found = call('pixels', 'toInput', picture(drawn), spec)
    expected = augment.to_float(augment.resized(drawn, (16, 24)))
    actual = np.array(found['values'], np.float32).reshape(16, 24, 3)
    assert np.abs(actual - expected).max() < 1.01 / 127.5


@pytest.mark.parametrize('channels', [1, 2, 3, 4, 6])
def test_an_output_is_shown_as_on_a_screen(call, channels):
    config = changed(generator__output_channels=channels)
    values = np.random.default_rng(0).uniform(-1.2, 1.2, (6, 5, channels)).astype(np.float32)
    values[0, 0] = np.nan
    spec = static_page.output_spec(config)
    alone = channels not in (1, 3, 4)
    assert [view['name'] for view in spec['views']] == (
        [f'channel {i + 1}' for i in range(channels)] if alone else ['all']
    )
    for view in range(len(spec['views'])):
        found = call('pixels', 'toPicture', {'floats': values.ravel().tolist()}, None, spec, view)
        actual = np.array(found, np.uint8).reshape(6, 5, 4)
        shown = values[..., view : view + 1] if alone else values
        assert (actual[..., 3] == 255).all()
        assert np.abs(actual[..., :3].astype(int) - image_grid.to_rgb(shown)).max() <= 1


def test_classes_are_shown_in_their_colours(call):
    config = changed(dataset__target_classes=3, generator__output_channels=3)
    values = np.random.default_rng(0).uniform(-1, 1, (6, 5, 3)).astype(np.float32)
    values[0], values[1, :, :2] = -1, 0.99  # of no class, and of two equally
    spec = static_page.output_spec(config)
    found = call('pixels', 'toPicture', {'floats': values.ravel().tolist()}, None, spec, 0)
    target = image_spec.of_config(config)[1]
    actual = np.array(found, np.uint8).reshape(6, 5, 4)[..., :3]
    np.testing.assert_array_equal(actual, class_brushes.to_picture(values, target))


def test_colorization_is_shown_in_colour(call):
    config = changed(
        dataset__task='colorize', generator__input_channels=1, generator__output_channels=2
    )
    rng = np.random.default_rng(0)
    light = rng.uniform(-1, 1, (40, 50, 1)).astype(np.float32)
    values = rng.uniform(-1, 1, (40, 50, 2)).astype(np.float32)
    spec = static_page.output_spec(config)
    floats = [{'floats': x.ravel().tolist()} for x in (values, light)]
    found = call('pixels', 'toPicture', *floats, spec, 0)
    expected = image_grid.to_rgb(tasks.as_shown('colorize', light[None], values[None])[0])
    actual = np.array(found, np.uint8).reshape(40, 50, 4)[..., :3]
    assert np.abs(actual.astype(int) - expected).max() <= 1


def test_noise_is_standard_normal(call):
    """By its mean, variance and fourth moment; a normal number lies within 1 of 0 in 68.3%."""
    drawn = np.array(call('noise', 'normal', 20_000))
    assert np.isfinite(drawn).all() and abs(drawn.mean()) < 0.03 and abs(drawn.std() - 1) < 0.03
    assert abs((drawn**4).mean() - 3) < 0.3 and abs((np.abs(drawn) < 1).mean() - 0.683) < 0.02
    assert np.abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.03
