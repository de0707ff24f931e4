"""What the demo draws with and on: colours, pictures from and to a browser, a run's samples."""

import os
from contextlib import nullcontext

import numpy as np
import pytest
import tifffile
from helpers.pictures import noise
from helpers.runs import changed, make_pairs, tiny_config
from PIL import Image

from pix2pix_jax.data import augment, discover, image_spec, label_colors, pipeline, tasks
from pix2pix_jax.data.formats import encode
from pix2pix_jax.data.formats.pixels import LazyFile, Pixels
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.inference import run_splits, scaling, tiling
from pix2pix_jax.inference.options import TranslateOptions
from pix2pix_jax.web import drawing, page, static_page
from pix2pix_jax.workdir import data_json


def as_file(image, name='a.png'):
    return LazyFile(name, lambda: encode.encode(image, os.path.splitext(name)[1]))


# ---------------------------------------------------------------- colours


def test_facades_have_their_twelve_classes():
    config = changed(dataset__name='facades', dataset__direction='BtoA')
    colours = drawing.palette(config, [noise()])
    assert dict(colours) == label_colors.FACADES.colours and len(colours) == 12
    assert colours[0][0] == 'background'


def test_cityscapes_begin_with_no_class():
    config = changed(dataset__name='cityscapes', dataset__direction='BtoA')
    colours = drawing.palette(config, [])
    assert (
        colours[0] == ('void', (0, 0, 0)) and dict(colours[1:]) == label_colors.CITYSCAPES.colours
    )


def test_photos_of_facades_have_no_classes():
    config = changed(dataset__name='facades', dataset__direction='AtoB')
    assert not any(name for name, _ in drawing.palette(config, [noise()]))


def test_the_commonest_colours_come_in_their_order_without_their_neighbours():
    true = [(10, 20, 200), (250, 60, 5), (90, 200, 90)]
    areas = [900, 500, 200]
    pixels = np.concatenate([np.full((n, 3), c, np.uint8) for n, c in zip(areas, true)])
    pixels[::7] += 3  # JPEG's
    pixels[-1] = (255, 255, 255)  # rare
    found = drawing.commonest_colours([pixels.reshape(40, 40, 3)])
    assert [rgb for _, rgb in found] == true


def test_a_palette_is_not_too_long_and_has_no_two_alike():
    found = drawing.commonest_colours([noise(64, 64)])
    assert 2 <= len(found) <= drawing.MAX_COLOURS
    rgb = np.array([rgb for _, rgb in found], float)
    distances = np.linalg.norm(rgb[:, None] - rgb, axis=-1)[~np.eye(len(rgb), dtype=bool)]
    assert distances.min() > drawing.MIN_COLOUR_DISTANCE - 8


@pytest.mark.parametrize('value', [0, 100, 255])
def test_one_colour_has_another_to_draw_with(value):
    found = drawing.commonest_colours([np.full((4, 4, 3), value, np.uint8)])
    assert len(found) == 2 and found[0][1] != found[1][1]


def test_line_art_is_black_on_white_or_white_on_black():
    art = np.full((32, 32, 1), 255, np.uint8)
    art[10:12], art[12] = 0, 128  # a line and its soft edge
    art = art.repeat(3, axis=-1)
    assert drawing.commonest_colours([art]) == [drawing.WHITE, drawing.BLACK]
    assert drawing.commonest_colours([255 - art]) == [drawing.BLACK, drawing.WHITE]
    assert drawing.palette(changed(dataset__task='edges'), [noise()])[1] == drawing.BLACK


def test_inpainting_draws_holes():
    assert drawing.palette(changed(dataset__task='inpaint'), [noise()])[1] == drawing.GRAY


def test_the_canvas_has_a_button_for_each_colour():
    html = drawing.canvas_html((16, 64), list(label_colors.FACADES.colours.items()))
    for name, rgb in label_colors.FACADES.colours.items():
        assert f'data-colour="{drawing.hexadecimal(rgb)}"' in html and f'</span>{name}<' in html
    assert 'width="64" height="16"' in html and html.count('aria-pressed="true"') == 2
    assert 'data-paper="#0000df"' in html and 'data-brush="#0030ff"' in html
    assert 'type="color"' not in html  # of a label map no others mean anything
    assert 'type="color"' in drawing.canvas_html((16, 64), drawing.commonest_colours([noise()]))


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize('size', [(1, 1), (7, 40), (64, 64)])
def test_a_picture_comes_back_from_the_browser_as_it_was(size):
    picture = noise(*size)
    np.testing.assert_array_equal(drawing.from_url(drawing.to_url(picture), 4096), picture)


@pytest.mark.parametrize(
    ('url', 'message'),
    [
        (None, 'no PNG of a canvas'),
        ('https://example.org/a.png', 'no PNG of a canvas'),
        (drawing.URL + 'ab!', 'no PNG of a canvas'),
        (drawing.URL + 'abcd', 'the drawing is no JPEG, PNG'),
        (drawing.to_url(noise()), 'the drawing has 30x20 pixels: allowed are at most 599'),
    ],
)
def test_what_is_no_drawing(url, message):
    with pytest.raises(DataError, match=message):
        drawing.from_url(url, 599)


def test_files_of_every_kind_become_pictures():
    image = noise()
    np.testing.assert_array_equal(drawing.read_picture(as_file(image)), image)
    deep = image.astype(np.uint16) * 257
    np.testing.assert_array_equal(drawing.read_picture(as_file(deep)), image)
    unit = (image / 255).astype(np.float32)
    np.testing.assert_array_equal(drawing.read_picture(as_file(unit, 'a.tif')), image)
    gray = image[..., :1]
    np.testing.assert_array_equal(drawing.read_picture(as_file(gray)), gray.repeat(3, -1))
    clear = np.concatenate([image, np.zeros_like(gray)], axis=-1)
    assert (drawing.read_picture(as_file(clear)) == 255).all()
    twelve_bits = image.astype(np.uint16) * 16
    picture = drawing.read_picture(as_file(twelve_bits), ranges=[(0, 4080)])
    np.testing.assert_array_equal(picture, image)


def test_too_many_pixels_are_refused_before_they_are_decoded(monkeypatch):
    monkeypatch.setattr(drawing.decode, 'read_pixels', None)
    with pytest.raises(DataError, match=r'a\.png has 30x20 pixels: allowed are at most 599'):
        drawing.read_picture(as_file(noise()), max_pixels=599)


@pytest.mark.parametrize(
    ('size', 'expected'),
    [
        ((20, 30), (20, 30)),
        ((32, 128), (32, 128)),
        ((10, 128), (10, 128)),  # four times as long as the canvas, if not as itself
        ((64, 64), (32, 32)),
        ((100, 50), (64, 32)),
    ],
)
def test_uploads_keep_their_proportions(size, expected):
    picture = noise(*size)
    found = drawing.fitted(picture, (32, 32))
    assert found.shape == (*expected, 3) and found.dtype == np.uint8
    if size == expected:
        np.testing.assert_array_equal(found, picture)
    assert found.shape[0] * found.shape[1] <= page.max_pixels((32, 32))


@pytest.mark.parametrize('size', [(32, 32), (20, 70), (512, 64)])
def test_the_canvas_and_the_longest_upload_come_back_from_the_browser(size):
    for picture in (noise(*size), drawing.fitted(noise(1200, 300), size)):
        found = drawing.from_url(drawing.to_url(picture), page.max_pixels(size))
        np.testing.assert_array_equal(found, picture)


@pytest.mark.parametrize('task', tasks.TASKS)
def test_uploads_keep_their_scale_where_translate_and_the_exported_page_keep_it(task):
    config = changed(dataset__task=task)
    config.image_size, picture = (32, 32), noise(80, 120)
    scaled = scaling.Fit.of(config, TranslateOptions()).sizes((80, 120))[0] != (80, 120)
    size, found = drawing.canvas_size(config), drawing.uploaded(as_file(picture), config)
    assert (static_page.input_spec(config)['fit'] != 'crop') == scaled
    if scaled:
        assert found.shape == (32, 48, 3)
    else:
        np.testing.assert_array_equal(found, tiling.crop(picture, size))


@pytest.mark.parametrize('preprocess', ['crop', 'none'])
def test_of_uploads_at_their_own_scale_the_middle_is_taken(preprocess):
    config = changed(dataset__preprocess=preprocess)
    config.image_size, picture = (32, 32), noise(64, 30)
    found = drawing.uploaded(as_file(picture), config)
    np.testing.assert_array_equal(found, picture[16:48])
    config.dataset.preprocess = 'resize_and_crop'
    assert drawing.uploaded(as_file(picture), config).shape == (64, 30, 3)


@pytest.mark.parametrize('resize', ['bicubic', 'nearest'])
def test_uploads_are_resized_as_in_training(resize):
    config = changed(dataset__resize=resize)
    config.image_size, picture = (20, 20), noise(50, 50)
    found = drawing.uploaded(as_file(picture), config).astype(int)
    assert np.abs(found - augment.resized(picture, (20, 20), resize)).max() <= 1


@pytest.mark.parametrize('size', [(10, 129), (500, 100)])
def test_an_upload_is_not_too_long(size):
    with pytest.raises(DataError, match='times the shorter'):
        drawing.fitted(noise(*size), (32, 32))


@pytest.mark.parametrize('task', ['none', 'denoise'])
@pytest.mark.parametrize('value_range', ['', '0:4095', '-1:1'])
def test_a_drawing_fills_the_range_of_the_inputs(value_range, task):
    """A task makes its inputs of the photos that are its targets."""
    picture, side = noise(), 'target' if task == 'denoise' else 'input'
    fields = {f'dataset.{side}_range': value_range, 'dataset.task': task}
    given = drawing.as_input(picture, changed(**fields))
    spec = image_spec.ImageSpec('input', 3, image_spec.parse_ranges('input_range', value_range))
    found = image_spec.combine(spec, [Pixels(given)], ['it'])
    np.testing.assert_allclose(augment.to_float(found), augment.to_float(picture), atol=1e-6)


# ---------------------------------------------------------------- samples


def test_samples_are_the_inputs_of_the_first_split_that_there_is(tmp_path):
    config = tiny_config(make_pairs(tmp_path / 'pairs', {'train': 3, 'test': 20}, size=48))
    splits = discover.open_splits(config)
    split, found = drawing.samples(config, splits, maximum=4)
    assert split == 'test' and len(found) == 4
    for i, picture in zip((0, 6, 13, 19), found):
        expected = pipeline.example(splits['test'], i, config)['input']
        np.testing.assert_array_equal(picture, augment.from_float(expected))
    assert drawing.samples(config, {'train': splits['train']})[0] == 'train'
    assert drawing.samples(config, {}) == ('', [])


def test_a_pair_that_cannot_be_read_is_left_out(tmp_path):
    config = tiny_config(make_pairs(tmp_path / 'pairs', {'train': 3, 'test': 2}))
    for name in ('0', '1'):
        assert len(drawing.samples(config, discover.open_splits(config))[1]) == 2 - int(name)
        (tmp_path / 'pairs' / 'test' / f'{name}.png').write_bytes(b'no image')
    assert drawing.samples(config, discover.open_splits(config))[0] == 'train'


@pytest.mark.parametrize(
    ('task', 'channels'),
    [('colorize', (1, 2)), ('gray_to_color', (1, 3)), ('edges', (1, 3)), ('denoise', (3, 3)),
     ('super_resolution', (3, 3))],
)  # fmt: skip
def test_samples_of_photos_are_what_the_translator_takes(tmp_path, task, channels):
    (tmp_path / 'train').mkdir()
    Image.fromarray(noise(32, 32)).save(tmp_path / 'train' / 'a.png')
    config = tiny_config(tmp_path, dataset__task=task)
    config.generator.input_channels, config.generator.output_channels = channels
    splits = discover.open_splits(config)
    _, (found,) = drawing.samples(config, splits)
    assert found.shape == (*drawing.canvas_size(config), 3)
    given = pipeline.example(splits['train'], 0, config)
    if task == 'super_resolution':
        assert found.shape == (8, 8, 3)
    elif task in ('colorize', 'gray_to_color'):
        np.testing.assert_array_equal(found, noise(32, 32))
    else:
        np.testing.assert_array_equal(augment.from_float(given['input']) - found, 0)


def test_without_its_data_a_run_has_no_samples(tmp_path):
    config = tiny_config(tmp_path / 'gone')
    splits, why = run_splits.whole_splits(tmp_path, config)
    assert splits == {} and 'does not exist' in why


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'dataset__input_range': '0:1,0:9'}, 'several inputs'),
        ({'generator__input_channels': 5}, r'input_channels=5'),
    ],
)
def test_inputs_that_cannot_be_drawn_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        drawing.check(changed(**fields), {}, 'none')


@pytest.mark.parametrize(
    ('kind', 'name', 'extra', 'fields', 'right'),
    [
        (np.uint8, 'png', 'unassalpha', {}, True),
        (np.uint8, 'tif', 'unassalpha', {}, True),
        (np.uint8, 'tif', 'unspecified', {}, False),  # near infrared
        (np.uint16, 'tif', 'unspecified', {}, False),
        (np.uint16, 'tif', 'unassalpha', {}, False),
        (np.uint8, 'npy', '', {}, False),
        (np.uint8, 'png', 'unassalpha', {'dataset__input_range': '0:200'}, False),
    ],
)
def test_four_channels_are_drawn_where_they_are_rgba_of_8_bits(
    tmp_path, monkeypatch, kind, name, extra, fields, right
):
    for side in 'AB':
        (tmp_path / side / 'train').mkdir(parents=True)
        image, path = noise(16, 16, 4).astype(kind), tmp_path / side / 'train' / f'a.{name}'
        if name == 'tif':
            tifffile.imwrite(path, image, photometric='rgb', extrasamples=[extra])
        else:
            np.save(path, image) if name == 'npy' else Image.fromarray(image).save(path)
    channels = {'generator__input_channels': 4, 'generator__output_channels': 4}
    config = tiny_config(tmp_path, **channels, **fields)
    splits = discover.open_splits(config)
    found = data_json.found_in(splits['train'])
    monkeypatch.setattr(data_json, 'recorded', lambda workdir: found)
    with nullcontext() if right else pytest.raises(UserError, match='not RGBA of 8 bits: allowed'):
        drawing.check(config, splits, 'run')
    three = changed(generator__input_channels=3, **fields)
    drawing.check(three, splits, 'run')


def test_several_inputs_in_the_data_are_refused(tmp_path):
    for side in ('A', 'A2', 'B'):
        (tmp_path / 'train' / side).mkdir(parents=True)
        Image.fromarray(noise()).save(tmp_path / 'train' / side / 'a.png')
    config = tiny_config(tmp_path, generator__input_channels=4)
    with pytest.raises(UserError, match='several inputs'):
        drawing.check(config, discover.open_splits(config), 'none')
    drawing.check(changed(generator__input_channels=1), {}, 'none')
