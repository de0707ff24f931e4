"""The exported page in a browser, with the runtime itself: what it shows is what translate gives.

PIX2PIX_ORT_WEB names the unpacked npm package (npm pack onnxruntime-web@VERSION).
"""

import base64
import contextlib
import io
import itertools
import os
import re
import shutil
import time

import numpy as np
import pytest
from helpers.browser import (
    ARGS,
    CHROMIUM,
    MISSING,
    REASON,
    WAIT,
    canvas_pixels,
    chromium,
    drag,
    serving,
)
from helpers.pictures import noise
from helpers.runs import make_pairs, random_run, tiny_config
from PIL import Image

import pix2pix_jax
from pix2pix_jax.data import augment, class_maps, image_spec
from pix2pix_jax.inference import loaded_run, run_splits
from pix2pix_jax.reports import image_grid
from pix2pix_jax.storage import atomic
from pix2pix_jax.train import train_and_evaluate
from pix2pix_jax.web import class_brushes, drawing
from pix2pix_jax.web.page import translated

RUNTIME = os.environ.get('PIX2PIX_ORT_WEB', '')
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=REASON),
    pytest.mark.skipif(
        not RUNTIME, reason='needs PIX2PIX_ORT_WEB, the npm package onnxruntime-web'
    ),
]
for package in ('jax2onnx', 'onnxruntime'):
    pytest.importorskip(package, reason='needs the extra export')

from pix2pix_jax.interop import web  # noqa: E402

OURS = 'Canvas2D: Multiple readback'  # of this test, which reads canvases
DRAWING, OUTPUT = '#canvas canvas', '#output'
MOST = 2  # of 255: kernels are float16, and pictures of 8 bits
NO_WORKERS = "Object.defineProperty(Navigator.prototype, 'serviceWorker', {value: undefined})"


@pytest.fixture(scope='module')
def browser():
    with chromium() as browser:
        yield browser


@contextlib.contextmanager
def opened(browser, folder, init='', **options):
    """Gives the page of a folder, and what it asked for; nothing may stand in its console."""
    options = {'viewport': {'width': 1100, 'height': 1000}} | options
    with serving(folder) as address:
        context = browser.new_context(**options)
        context.set_default_timeout(1000 * WAIT)
        if init:
            context.add_init_script(init)
        asked, said = [], []
        context.on('request', lambda request: asked.append(request.url))
        page = context.new_page()
        page.on('console', lambda message: said.append(message.text))
        page.on('pageerror', lambda error: said.append(str(error)))
        page.goto(address)
        yield page, asked
        context.close()
    assert [text for text in said if not text.startswith(OURS)] == []
    assert all(url.startswith((address, 'data:', 'blob:')) for url in asked)


def ready(page):
    """Waits for the first translation."""
    page.locator('body[data-ready]').wait_for(state='attached')


def wait_until(condition):
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError('it did not come')


def show(page, picture):
    """Puts a picture on the canvas, as a file that is chosen; waits for its translation."""
    count = int(page.locator(OUTPUT).get_attribute('data-count'))
    file = {'name': 'a.png', 'mimeType': 'image/png', 'buffer': atomic.encode_png(picture)}
    page.locator('#upload').set_input_files(file)
    page.locator(f'{OUTPUT}[data-count="{count + 1}"]').wait_for()


def assert_shows(page, expected):
    """The translation becomes this picture, but for MOST of 255."""

    def differs_by():
        found = canvas_pixels(page, OUTPUT).astype(int)
        return np.abs(found - expected).max() if found.shape == expected.shape else 255

    with contextlib.suppress(AssertionError):
        wait_until(lambda: differs_by() <= MOST)
    assert differs_by() <= MOST


# ---------------------------------------------------------------- every kind of run

CLASSES = {'dataset__input_classes': 4, 'generator__input_channels': 4}
TARGET = {'dataset__target_classes': 3, 'generator__output_channels': 3}
FLOW = {'method': 'flow', 'loss__l1_weight': 0.0, 'test__steps': 3, 'test__seed': 5}
KINDS = {
    'rgb': {},
    'gray': {'generator__input_channels': 1, 'generator__output_channels': 1},
    'rgba': {'generator__input_channels': 4, 'generator__output_channels': 4},
    'resnet': {'generator__name': 'resnet', 'generator__blocks': 6},
    'class input': CLASSES,
    'class target': TARGET,
    'classes of both': CLASSES | TARGET | {'generator__norm': 'instance'},
    'colorize': {
        'dataset__task': 'colorize', 'generator__input_channels': 1,
        'generator__output_channels': 2, 'dataset__path': 'photos',
    },
    'six channels': {'generator__output_channels': 6},
    'flow': FLOW,
    'flow, gray to six channels': FLOW
    | {'generator__input_channels': 1, 'generator__output_channels': 6},
}  # fmt: skip


@pytest.mark.parametrize('kind', KINDS)
def test_what_is_shown_is_what_translate_gives(kind, browser, tmp_path, monkeypatch):
    run = random_run(image_size=(16, 32), test__dropout=False, **KINDS[kind])
    monkeypatch.setattr(loaded_run, 'load_run', lambda *args: run)
    web.export(run, str(tmp_path / 'run'), tmp_path / 'page', web.PageOptions(runtime=RUNTIME))
    translator = pix2pix_jax.Translator('run')
    source, target = image_spec.of_config(run.config)
    picture = noise(16, 32)
    if source.classes:
        picture = class_brushes.to_picture(class_maps.one_hot(
            np.random.default_rng(2).integers(0, 4, (16, 32, 1)), 4), source)  # fmt: skip
    with opened(browser, tmp_path / 'page') as (page, _):
        ready(page)
        if source.classes:  # a file of indices
            indices = np.arange(16 * 32).reshape(16, 32, 1) % 4
            show(page, indices.astype(np.uint8))
            expected = class_brushes.to_picture(class_maps.one_hot(indices, 4), source)
            np.testing.assert_array_equal(canvas_pixels(page, DRAWING), expected)
        show(page, picture)
        np.testing.assert_array_equal(canvas_pixels(page, DRAWING), picture)
        (values,) = translator.translate([translator.load(drawing.as_input(picture, run.config))])
        if not image_grid.is_picture(values):  # its channels are shown one at a time
            for i in range(values.shape[-1]):
                page.locator('#views select').select_option(f'channel {i + 1}')
                assert_shows(page, image_grid.to_rgb(values[..., [i]]))
            assert len({values[..., i].tobytes() for i in range(values.shape[-1])}) > 1
            return
        expected = translated(translator, picture, 0)
        if not target.classes:
            assert expected.std() > 5
            assert_shows(page, expected)
            return
        # Where two classes are alike, float16 may choose the other.
        highest = np.sort(values, axis=-1)
        clear = highest[..., -1] - highest[..., -2] > 0.02
        found = canvas_pixels(page, OUTPUT)
        assert clear.mean() > 0.8 and len(np.unique(found.reshape(-1, 3), axis=0)) > 1
        np.testing.assert_array_equal(found[clear], expected[clear])


def test_a_flow_is_drawn_again_from_other_noise(browser, tmp_path, monkeypatch):
    """It begins with that of `test.seed`; each click draws another, of the same picture."""
    run = random_run(image_size=(16, 32), **FLOW)
    monkeypatch.setattr(loaded_run, 'load_run', lambda *args: run)
    web.export(run, str(tmp_path / 'run'), tmp_path / 'page', web.PageOptions(runtime=RUNTIME))
    picture = noise(16, 32)
    with opened(browser, tmp_path / 'page') as (page, _):
        ready(page)
        show(page, picture)
        assert_shows(page, translated(pix2pix_jax.Translator('run'), picture, 0))
        shown = [canvas_pixels(page, OUTPUT).astype(int)]
        for _ in range(2):
            count = int(page.locator(OUTPUT).get_attribute('data-count'))
            page.get_by_role('button', name='Again').click()
            page.locator(f'{OUTPUT}[data-count="{count + 1}"]').wait_for()
            shown.append(canvas_pixels(page, OUTPUT).astype(int))
        assert all(np.abs(a - b).mean() > 5 for a, b in itertools.combinations(shown, 2))
        np.testing.assert_array_equal(canvas_pixels(page, DRAWING), picture)


# ---------------------------------------------------------------- the page


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp('exported')
    pairs = make_pairs(folder / 'pairs', {'train': 2, 'test': 3})
    train_and_evaluate(tiny_config(pairs, num_steps=2), folder / 'run')
    return folder / 'run'


@pytest.fixture(scope='module')
def folder(workdir):
    options = web.PageOptions(runtime=RUNTIME)
    web.export(loaded_run.load_run(workdir), str(workdir), workdir.parent / 'page', options)
    return workdir.parent / 'page'


@pytest.fixture(scope='module')
def translate(workdir):
    return pix2pix_jax.Translator(workdir, dropout=False)


@pytest.fixture(scope='module')
def samples(translate, workdir):
    config = translate.config
    return drawing.samples(config, run_splits.whole_splits(workdir, config)[0])[1]


def test_a_gan_is_not_drawn_again(browser, folder):
    with opened(browser, folder) as (page, _):
        ready(page)
        assert not page.locator('#again').is_visible()


def test_drawing(browser, folder, translate, samples):
    blue, red = (np.array(rgb) for rgb in ((0, 0, 255), (255, 0, 0)))
    with opened(browser, folder) as (page, asked):
        ready(page)
        assert page.evaluate('crossOriginIsolated')
        assert re.fullmatch(r'\d+\.\d\d s, \d threads?', page.locator('#latency').inner_text())
        before = len(asked)
        np.testing.assert_array_equal(canvas_pixels(page, DRAWING), samples[0])
        assert_shows(page, translate(samples[0]))

        page.get_by_role('button', name='Clear').click()
        drawn = drawing.blank((32, 32), tuple(blue))
        wait_until(lambda: np.array_equal(canvas_pixels(page, DRAWING), drawn))
        page.locator('#canvas input[type=range]').fill('1')
        drag(page, DRAWING, (4, 10), (20, 10))
        drawn[10, 4:21] = red
        np.testing.assert_array_equal(canvas_pixels(page, DRAWING), drawn)
        assert_shows(page, translate(drawn))

        page.get_by_role('button', name='Box').click()
        drag(page, DRAWING, (12, 25), (6, 15))
        boxed = drawn.copy()
        boxed[15:26, 6:13] = red
        np.testing.assert_array_equal(canvas_pixels(page, DRAWING), boxed)
        assert_shows(page, translate(boxed))

        page.get_by_role('button', name='Undo').click()
        np.testing.assert_array_equal(canvas_pixels(page, DRAWING), drawn)
        assert_shows(page, translate(drawn))

        page.get_by_role('button', name='example 3').click()
        wait_until(lambda: np.array_equal(canvas_pixels(page, DRAWING), samples[2]))
        assert_shows(page, translate(samples[2]))

        with page.expect_download() as download:
            page.get_by_role('button', name='Save picture').click()
        with Image.open(download.value.path()) as image:
            saved = np.asarray(image.convert('RGB'))
        np.testing.assert_array_equal(saved, canvas_pixels(page, OUTPUT))
        assert [url for url in asked[before:] if not url.startswith('blob:')] == []


def test_the_keyboard_draws(browser, folder, translate):
    with opened(browser, folder) as (page, _):
        ready(page)
        page.get_by_role('button', name='Clear').press('Enter')
        page.locator('#canvas input[type=range]').fill('1')
        page.locator(DRAWING).focus()
        for key in (
            'ArrowUp',
            'Space',
            'ArrowRight',
            'ArrowRight',
            'ArrowDown',
            'Space',
            'ArrowDown',
        ):
            page.keyboard.press(key)
        drawn = drawing.blank((32, 32), (0, 0, 255))
        drawn[15, 16:19] = drawn[16, 18] = (255, 0, 0)
        np.testing.assert_array_equal(canvas_pixels(page, DRAWING), drawn)
        assert_shows(page, translate(drawn))
        page.keyboard.press('Control+z')
        drawn[:] = (0, 0, 255)
        np.testing.assert_array_equal(canvas_pixels(page, DRAWING), drawn)
        # Every control is reached by Tab.
        page.locator('body').evaluate('() => document.activeElement.blur()')
        reached = set()
        for _ in range(40):
            page.keyboard.press('Tab')
            reached.add(page.evaluate('() => document.activeElement.id || '
                                      'document.activeElement.textContent.trim()'))  # fmt: skip
        assert {'Pen', 'Box', 'Undo', 'Clear', 'upload', 'camera', 'save'} <= reached


KEEP_STREAMS = """() => {
  window.streams = [];
  const devices = navigator.mediaDevices;
  const open = devices.getUserMedia.bind(devices);
  devices.getUserMedia = async (wanted) => {
    const stream = await open(wanted);
    streams.push(stream);
    return stream;
  };
}"""


def test_pictures_come_by_file_paste_drop_and_camera(browser, folder, translate):
    photo, flat = noise(50, 80), drawing.blank((32, 32), (9, 200, 30))
    with opened(browser, folder) as (page, _):
        ready(page)
        show(page, photo)
        fitted = canvas_pixels(page, DRAWING)
        assert np.abs(fitted.astype(int) - augment.resized(photo, (32, 32))).max() <= 1
        assert_shows(page, translate(fitted))
        for kind in ('paste', 'drop'):
            give(page, kind, photo if kind == 'drop' else flat)
            expected = fitted if kind == 'drop' else flat
            wait_until(lambda e=expected: np.array_equal(canvas_pixels(page, DRAWING), e))
            assert_shows(page, translate(expected))

        page.locator('#upload').set_input_files(
            {'name': 'bad.png', 'mimeType': 'image/png', 'buffer': b'no image'}
        )
        page.get_by_text('bad.png is no picture that this browser can read').wait_for()

        page.evaluate(KEEP_STREAMS)
        # Twice, before the camera is there.
        page.locator('#camera').evaluate('(button) => { button.click(); button.click() }')
        page.locator('video').wait_for()
        wait_until(lambda: page.locator('video').evaluate('(video) => video.videoWidth') > 0)
        page.get_by_role('button', name='Take the picture').click()
        page.locator('#shot').wait_for(state='hidden')
        wait_until(lambda: not np.array_equal(canvas_pixels(page, DRAWING), fitted))
        assert page.locator('video').evaluate('(video) => video.srcObject') is None
        assert page.evaluate('streams.map((one) => one.active)') == [False]
        assert_shows(page, translate(canvas_pixels(page, DRAWING)))


@pytest.mark.parametrize('resize', ['bicubic', 'nearest'])
def test_pictures_are_resized_as_in_training(resize, browser, tmp_path):
    run = random_run(image_size=(16, 32), dataset__resize=resize)
    web.export(run, str(tmp_path / 'run'), tmp_path / 'page', web.PageOptions(runtime=RUNTIME))
    picture = noise(40, 50)
    with opened(browser, tmp_path / 'page') as (page, _):
        ready(page)
        show(page, picture)
        drawn = canvas_pixels(page, DRAWING).astype(int)
    assert np.abs(drawn - augment.resized(picture, (16, 32), resize)).max() <= 1


def give(page, kind, picture):
    """Pastes or drops a picture."""
    page.evaluate(
        """([kind, text]) => {
            const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], 'a.png', { type: 'image/png' }));
            document.body.dispatchEvent(kind === 'paste'
                ? new ClipboardEvent(kind, { clipboardData: data, bubbles: true })
                : new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
        }""",
        [kind, base64.b64encode(atomic.encode_png(picture)).decode()],
    )


def test_a_label_map_comes_as_indices_or_colours_and_a_photo_is_refused(
    browser, tmp_path, monkeypatch
):
    run = random_run(**CLASSES)
    web.export(run, str(tmp_path / 'run'), tmp_path / 'page', web.PageOptions(runtime=RUNTIME))
    indices = np.random.default_rng(0).integers(0, 4, (16, 16, 1)).astype(np.uint8)
    spec = image_spec.of_config(run.config)[0]
    expected = class_brushes.to_picture(class_maps.one_hot(indices, 4), spec)
    with opened(browser, tmp_path / 'page') as (page, _):
        ready(page)
        assert page.locator('[data-colour]').count() == 5  # with 'no class'
        show(page, indices)
        np.testing.assert_array_equal(canvas_pixels(page, DRAWING), expected)
        near = np.clip(expected.astype(int) + 7, 0, 255).astype(np.uint8)
        show(page, near[:, ::-1])
        np.testing.assert_array_equal(canvas_pixels(page, DRAWING), expected[:, ::-1])
        file = {'name': 'a.png', 'mimeType': 'image/png', 'buffer': atomic.encode_png(noise())}
        page.locator('#upload').set_input_files(file)
        page.get_by_text('The picture is no map of this model’s classes').wait_for()


# ---------------------------------------------------------------- how it is loaded


def test_a_second_visit_loads_no_model_and_others_are_forgotten(browser, folder):
    with opened(browser, folder) as (page, asked):
        ready(page)
        assert any('/model/' in url for url in asked)
        before = len(asked)
        page.evaluate("""async () => {
            const cache = await caches.open(new URL('.', location.href).pathname);
            await cache.put('model/older.bin', new Response('of an older page'));
        }""")
        page.reload()
        ready(page)
        again = asked[before:]
        assert again and not any('/model/' in url or '.wasm?' in url for url in again)
        kept = page.evaluate("""async () => {
            const cache = await caches.open(new URL('.', location.href).pathname);
            return (await cache.keys()).map((request) => request.url);
        }""")
        assert len(kept) == 2 and not any('older' in url for url in kept)


def test_without_workers_that_isolate_it_there_is_one_thread(browser, folder, translate, samples):
    with opened(browser, folder, init=NO_WORKERS) as (page, _):
        ready(page)
        assert not page.evaluate('crossOriginIsolated')
        assert page.locator('#latency').inner_text().endswith(' s, 1 thread')
        assert_shows(page, translate(samples[0]))


def test_other_pages_below_it_stay_as_they_are(browser, folder, tmp_path):
    """The service worker gives them no policy: their own scripts and workers run."""
    shutil.copytree(folder, tmp_path / 'page')
    (tmp_path / 'page' / 'blog').mkdir()
    icon, script = '<link rel="icon" href="data:,">', '<script>document.title = "it runs"</script>'
    text = f'{icon}<title>no</title>{script}'
    (tmp_path / 'page' / 'blog' / 'index.html').write_text(text)
    (tmp_path / 'page' / 'blog' / 'sum.js').write_text('postMessage(eval("1 + 1"))')
    with opened(browser, tmp_path / 'page') as (page, _):
        ready(page)
        address = page.url
        page.goto(f'{address}blog/')
        assert page.evaluate('Boolean(navigator.serviceWorker.controller)')
        assert page.title() == 'it runs'
        answer = '() => new Promise((resolve) => {'
        answer += 'new Worker("sum.js").onmessage = (event) => resolve(event.data) })'
        assert page.evaluate(answer) == 2
        page.goto(f'{address}index.html')
        ready(page)
        assert page.evaluate('crossOriginIsolated')


def test_a_page_that_was_exported_anew_is_not_the_one_that_the_browser_keeps(
    browser, folder, workdir, tmp_path
):
    page_folder = shutil.copytree(folder, tmp_path / 'page')
    os.utime(page_folder / 'page.json', (0, 0))  # browsers keep old files for long
    with opened(browser, page_folder) as (page, _):
        ready(page)
        before = page.evaluate("fetch('page.json').then((found) => found.json())")
        options = web.PageOptions(runtime=RUNTIME, weights='float32')
        web.export(loaded_run.load_run(workdir), str(workdir), page_folder, options)
        page.goto(page.url)
        ready(page)
        after = page.evaluate("fetch('page.json').then((found) => found.json())")
        assert after['model']['bytes'] > before['model']['bytes']


def test_what_is_drawn_while_a_translation_fails_is_translated(browser, folder, translate, samples):
    fails = """const post = Worker.prototype.postMessage;
        Worker.prototype.postMessage = function (message) {
            if (!message.picture || !window.fails) return post.call(this, message);
            window.fails = false;
            setTimeout(() => this.onmessage({ data: { error: 'no memory' } }), 1000);
        }"""
    with opened(browser, folder, init=fails) as (page, _):
        ready(page)
        page.evaluate('window.fails = true')
        page.get_by_role('button', name='example 2').click()
        wait_until(lambda: not page.evaluate('window.fails'))
        page.get_by_role('button', name='example 3').click()
        assert_shows(page, translate(samples[2]))
        assert page.locator('#error').is_hidden()


def test_a_host_that_does_not_know_the_type_of_modules_will_do(browser, folder):
    with serving(folder, mjs='application/octet-stream') as address:
        context = browser.new_context()
        page = context.new_page()
        page.goto(address)
        ready(page)
        context.close()


def test_a_large_model_waits_for_the_button(browser, workdir, tmp_path, monkeypatch):
    monkeypatch.setattr('pix2pix_jax.web.static_page.LOADS_ITSELF', 1)
    options = web.PageOptions(runtime=RUNTIME, examples=0)
    web.export(loaded_run.load_run(workdir), str(workdir), tmp_path / 'page', options)
    with opened(browser, tmp_path / 'page') as (page, asked):
        page.locator('#load').wait_for()
        text = page.locator('#about-memory').inner_text()
        assert re.fullmatch(r'The model is not loaded yet: .* \d+ MB of memory\.', text)
        assert not any('/model/' in url or '.wasm?' in url for url in asked)
        page.locator('#load').click()
        ready(page)


def test_a_damaged_model_is_said_and_tried_again(browser, folder, workdir, tmp_path):
    options = web.PageOptions(runtime=RUNTIME)
    web.export(loaded_run.load_run(workdir), str(workdir), tmp_path / 'page', options)
    (part,) = (tmp_path / 'page' / 'model').iterdir()
    whole = part.read_bytes()
    part.write_bytes(b'\0' + whole[1:])
    with opened(browser, tmp_path / 'page') as (page, _):
        page.locator('#error').wait_for()
        assert f'{part.name} is damaged' in page.locator('#error').inner_text()
        part.write_bytes(whole)
        page.locator('#load').click()
        ready(page)


def test_the_page_lets_nothing_out(browser, folder):
    """Its policy stops a request elsewhere, on the page and in its workers."""
    with serving(folder) as address, serving(folder) as elsewhere:
        context = browser.new_context()
        page = context.new_page()
        page.goto(address)
        ready(page)
        reach = """(url) => fetch(url, { mode: 'no-cors' }).then(() => 'out', () => 'stopped')"""
        assert page.evaluate(reach, elsewhere) == 'stopped'
        assert page.evaluate(reach, address) == 'out'
        # Threads wait, and answer nothing.
        (worker,) = (worker for worker in page.workers if worker.url.endswith('/worker.js'))
        assert worker.evaluate(reach, elsewhere) == 'stopped'
        assert worker.evaluate(reach, address) == 'out'
        context.close()


def test_opened_as_a_file_it_says_how_to_serve_it(browser, folder):
    context = browser.new_context()
    page = context.new_page()
    page.goto((folder / 'index.html').as_uri())
    page.get_by_text('python -m http.server').wait_for()
    assert page.locator('#unserved').is_visible()
    context.close()


def test_on_a_phone_nothing_is_wider_than_the_screen(browser, folder):
    phone = {'viewport': {'width': 360, 'height': 740}, 'has_touch': True, 'is_mobile': True}
    with opened(browser, folder, **phone) as (page, _):
        ready(page)
        assert page.evaluate('document.documentElement.scrollWidth') <= 360
        boxes = [page.locator(selector).bounding_box() for selector in (DRAWING, OUTPUT)]
        assert boxes[1]['y'] > boxes[0]['y'] + boxes[0]['height']
        assert all(box['width'] > 300 for box in boxes)
        before = canvas_pixels(page, DRAWING)
        page.touchscreen.tap(boxes[0]['x'] + 50, boxes[0]['y'] + 50)
        wait_until(lambda: not np.array_equal(canvas_pixels(page, DRAWING), before))


SIMULATED = (
    '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--enable-features=Vulkan'
)  # fmt: skip


@pytest.fixture(scope='module')
def webgpu(workdir):
    """The folder of the page for WebGPU."""
    options = web.PageOptions(runtime=RUNTIME, webgpu=True)
    web.export(loaded_run.load_run(workdir), str(workdir), workdir.parent / 'gpu', options)
    return workdir.parent / 'gpu'


def test_on_a_simulated_gpu(browser, webgpu, translate, samples):
    """The policy, which lets no function be made of text, is enough for it."""
    args = [*ARGS, *SIMULATED]
    other = browser.browser_type.launch(executable_path=CHROMIUM, args=args)
    with opened(other, webgpu) as (page, _):
        ready(page)
        if page.evaluate('() => navigator.gpu?.requestAdapter().then(Boolean)'):
            assert page.locator('#latency').inner_text().endswith('WebGPU')
        assert_shows(page, translate(samples[0]))
    other.close()


def test_webgpus_build_translates_where_there_is_no_webgpu(browser, webgpu, translate, samples):
    sizes = [path.stat().st_size for path in (webgpu / 'runtime').iterdir()]
    assert max(sizes) <= web.PART_BYTES < sum(sizes)
    gone = "Object.defineProperty(Navigator.prototype, 'gpu', {value: undefined})"
    with opened(browser, webgpu, init=gone) as (page, _):
        ready(page)
        assert_shows(page, translate(samples[0]))


def test_examples_and_saved_pictures_are_png(folder):
    for path in (folder / 'examples').iterdir():
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            assert image.format == 'PNG' and image.size == (32, 32)
