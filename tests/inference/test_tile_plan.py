"""Tiles of real networks against the whole image, and what a plan of tiles says and refuses."""

import jax
import numpy as np
import pytest
from helpers.runs import error_of, random_run

from pix2pix_jax import Translator
from pix2pix_jax.errors import UserError
from pix2pix_jax.inference import generator, loaded_run, tile_plan, tiling
from pix2pix_jax.inference.tile_plan import TilePlan

UNET = {'generator__depth': 3, 'image_size': (32, 32)}
RESNET = {'generator__name': 'resnet', 'generator__blocks': 1, 'generator__depth': 1}
INSTANCE = {'generator__norm': 'instance'}


@pytest.fixture
def make(monkeypatch):
    """Makes translators of a run of these fields, in no folder."""

    def create(fields, **options):
        run = random_run(**fields)
        monkeypatch.setattr(loaded_run, 'load_run', lambda *args: run)
        return Translator('run', **options)

    return create


def picture(height, width):
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).integers(0, 60, (height, width, 3))
    return (noise + np.stack([2 * y % 190, x % 190, (x + y) % 190], -1)).astype(np.uint8)


def canvas_of(image):
    def read(top, bottom, left, right):
        return image[top:bottom, left:right]

    return tiling.Canvas(read, image.shape[:2], image.shape[:2])


def outputs(translator, image, samples=(0,)):
    loaded = translator.load(image)
    return np.stack([next(iter(translator.translate([loaded], s))) for s in samples])


@pytest.mark.parametrize('norm', ['running', 'scene', 'none', 'instance'])
@pytest.mark.parametrize('network', [UNET, RESNET, UNET | {'generator__upsample': 'resize'}])
def test_tiles_equal_the_whole(make, network, norm):
    """At an odd size, with dropout, for two samples."""
    fields = network | ({'generator__norm': norm} if norm in ('none', 'instance') else {})
    norms = {'norm': 'scene' if norm == 'instance' else norm} if norm != 'none' else {}
    image = picture(61, 83)
    whole = outputs(make(fields, fit='pad', **norms), image, (0, 1))
    tiled = make(fields, tile=16, batch=2, **norms)
    assert tiled.has_samples and 'a window of' in tiled.about_tiles[-1]
    found = outputs(tiled, image, (0, 1))
    assert found.shape == whole.shape and np.abs(whole[0] - whole[1]).max() > 0.02 < whole.std()
    difference = np.abs(found - whole).max()
    print(f'{network}, {norm}: {difference:.2g}')
    assert difference < 2e-5


def test_tiles_of_their_own_statistics_differ_from_the_whole(make):
    image = picture(61, 83)
    whole = outputs(make(UNET, fit='pad'), image)
    blended = make(UNET, tile=32, norm='image')
    assert 'blended over 8 pixels: seams are possible; without them' in blended.about_tiles[0]
    assert np.abs(outputs(blended, image) - whole).max() > 0.05


@pytest.mark.parametrize('fields', [UNET, RESNET, UNET | {'generator__norm': 'instance'}])
def test_a_scene_of_one_window_is_an_image(make, fields):
    """Its statistics are its own."""
    side = fields.get('image_size', (16, 16))[0]
    image = picture(side, side)
    expected = outputs(make(fields, norm='image'), image, (0, 1))
    for options in ({}, {'tile': 8}):
        found = outputs(make(fields, norm='scene', **options), image, (0, 1))
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_scene_has_the_means_of_its_windows_statistics():
    """Of a norm behind the first two convolutions, computed here in float64."""
    run = random_run(generator__depth=2, image_size=(16, 16))
    made = generator.Generator(run.config, run.variables, norm='scene', dropout=False, batch=2)
    windows = np.random.default_rng(1).uniform(-1, 1, (3, 16, 16, 3)).astype(np.float32)
    windows *= np.array([0.1, 1, 0.5], np.float32)[:, None, None, None]  # unlike each other
    found = made.scene((x, (0, 0)) for x in windows)
    assert sorted(found) == sorted(name for name in run.variables['params'] if 'norm' in name)
    apply = generator.generator_function(run.config, 'cpu', 'image', dropout=False)
    kept = dict(capture_intermediates=True, mutable=['intermediates'])
    capture = jax.jit(lambda v, x: apply(v, x, **kept)[1]['intermediates'])
    captured = capture(run.variables, windows)
    maps = np.asarray(captured['up1']['__call__'][0], np.float64)
    np.testing.assert_allclose(found['up1_norm']['mean'], maps.mean((0, 1, 2)), atol=1e-6)
    var = maps.var((1, 2)).mean(0)
    np.testing.assert_allclose(found['up1_norm']['var'], var, rtol=1e-5)
    assert (np.abs(maps.var((0, 1, 2)) / var - 1) > 1e-3).any()  # not the pooled variance


@pytest.mark.parametrize('size', [(20, 64), (33, 100), (16, 16), (5, 40)])
def test_windows_of_a_scene_cover_it(size):
    canvas, corners = tile_plan.scene_corners(canvas_of(np.zeros((*size, 1))), (16, 16))
    covered = np.zeros(canvas.padded)
    for top, left in corners:
        covered[top : top + 16, left : left + 16] += 1
        assert canvas.window((top, left), (16, 16)).shape == (16, 16, 1)
    assert covered.min() == 1 and covered.shape == tuple(max(s, 16) for s in size)


def test_windows_without_data_do_not_count(make):
    size = (32, 64)
    valid = np.ones((*size, 1), bool)
    valid[:, 20:] = False
    canvas = canvas_of(valid)
    assert len(tile_plan.scene_corners(canvas, (16, 16))[1]) == 8
    assert tile_plan.scene_corners(canvas, (16, 16), canvas.read)[1] == [(0, 0), (16, 0)]
    valid[:, 20:24] = True  # half of a window will do
    found = tile_plan.scene_corners(canvas, (16, 16), canvas.read)[1]
    assert found == [(0, 0), (0, 16), (16, 0), (16, 16)]
    valid[:] = False
    assert len(tile_plan.scene_corners(canvas, (16, 16), canvas.read)[1]) == 8  # rather than none
    translator = make(UNET | {'dataset__nodata': '0'}, norm='scene', fit='pad')
    image = np.maximum(picture(64, 96), 1).astype(np.uint16)
    image[:, 40:] = 0
    assert translator.count_scene_windows(translator.load(image)) == 2


@pytest.mark.parametrize('fixed', [0, 10**6])
@pytest.mark.parametrize('budget', [10**6, 10**8, 3 * 10**10])
@pytest.mark.parametrize('step', [4, 256])
def test_the_largest_window_fits_and_the_next_does_not(fixed, budget, step):
    def takes(side):
        return fixed + 400 * side**2

    side = tile_plan.largest_window(takes, budget, step)
    assert side % step == 0 and takes(side + step) > budget
    assert side == 0 or takes(side) <= budget


def test_the_largest_tile_takes_the_memory_that_it_may(make):
    translator = make(UNET, tile=-1, memory=0.02)
    side = translator._plan.cores.side
    window = side + 2 * translator._plan.cores.halo
    takes = [translator._generator.memory((s, s)) for s in (window, window + 8)]
    assert takes[0] <= 0.02e9 < takes[1]
    assert translator.about_tiles[0] == f'--tile=-1: {side} pixels are the largest that fit'
    larger = make(UNET, tile=-1, memory=0.08)._plan.cores.side
    np.testing.assert_allclose((larger + 32) / window, 2, rtol=0.1)  # four times the pixels
    with pytest.raises(UserError, match='--tile=-1: no tile fits; allowed is --memory=GB that'):
        make(UNET, tile=-1, memory=1e-6)


@pytest.mark.parametrize('fields, options, norm', [
    ({}, {}, 'image'),
    ({}, {'tile': 8}, 'scene'),
    ({}, {'tile': 8, 'norm': 'image'}, 'image'),
    ({'test__norm': 'running'}, {'tile': 8}, 'running'),
    ({'test__norm': 'mixed'}, {'tile': 8}, 'mixed'),
    ({'test__norm': 'running', 'generator__norm': 'instance'}, {'tile': 8}, 'scene'),
    ({'generator__norm': 'none'}, {'tile': 8}, 'image'),
])  # fmt: skip
def test_the_statistics_of_tiles(fields, options, norm):
    config = random_run(**fields).config
    found = tile_plan.norm_of(config, tile_plan.TranslateOptions(**options))
    assert found == norm
    with config.unlocked():
        config.method = 'flow'
    assert tile_plan.norm_of(config, tile_plan.TranslateOptions(**options)) != 'scene'
    scene = tile_plan.TranslateOptions(norm='scene')
    assert "--norm=scene: the run has config.method='flow'" in error_of(
        tile_plan.norm_of, config, scene
    )


class Numbered:
    """In place of a generator: the translation of a window has 1 in the channel of its number."""

    @staticmethod
    def each(windows, **_):
        for i, (window, _) in enumerate(windows):
            yield np.broadcast_to(np.eye(64, dtype=np.float32)[i], (*window.shape[:2], 64))


@pytest.mark.parametrize('size', [(64, 96), (70, 81), (30, 61), (16, 17)])
@pytest.mark.parametrize(('plan', 'unit'), [
    (TilePlan(tiling.Cores(16, 16)), 8),
    (TilePlan(tiling.Cores(24, 8)), 8),
    (TilePlan(None, 24, 0), 4),
    (TilePlan(None, 24, 6), 4),
])  # fmt: skip
def test_borders_are_where_the_next_tile_is_seen(plan, unit, size):
    canvas = tiling.Canvas(lambda *_: np.zeros((*size, 3)), size, tiling.padded_size(size, unit))
    image = tiling.collect(tile_plan.translate_rows(Numbered, plan, canvas, 0, None), size)
    for axis, lines in enumerate(tile_plan.borders(plan, canvas)):
        one = image.swapaxes(0, axis)[:, 0]
        # Where two tiles count alike, the first or the second.
        most = one.argmax(-1), 63 - one[:, ::-1].argmax(-1)
        ends, begins = (np.flatnonzero(np.diff(numbers)) + 1 for numbers in most)
        assert len(lines) == len(ends) == len(begins)
        assert np.abs((begins + ends) / 2 - lines).max(initial=0) <= bool(plan.tile)


@pytest.mark.parametrize('fields, options, line', [
    (UNET, {'tile': 13}, '--tile=13: rounded up to 16, a multiple of 8'),
    (UNET, {'tile': 16}, 'each core of 16 pixels takes a window of 48: 9 times the work of the '
                         'whole; --tile=64: 2.25 times'),
    (RESNET, {'tile': 16, 'norm': 'image'}, 'blended over 4 pixels'),
    (RESNET, {'tile': 6, 'norm': 'image'}, '--tile=6: rounded up to 8, a multiple of 2'),
    (UNET | {'generator__norm': 'none'}, {'norm': 'scene'}, 'has no norms, so it changes nothing'),
    (UNET | INSTANCE, {'norm': 'running'}, "each image's own statistics, so it changes nothing"),
    (UNET | INSTANCE, {'norm': 'mixed', 'tile': 16}, 'own statistics (--norm=image), blended over'),
])  # fmt: skip
def test_what_is_said(make, fields, options, line):
    assert any(line in said for said in make(fields, **options).about_tiles)
