"""The demo: what the command refuses, and the page itself in a browser."""

import builtins
import contextlib
import importlib.util
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import types

import jax
import numpy as np
import pytest
from helpers.browser import CHROMIUM, WAIT, canvas_pixels, drag
from helpers.pictures import noise
from helpers.runs import changed, make_pairs, tiny_config
from PIL import Image

import pix2pix_jax
from pix2pix_jax import demo
from pix2pix_jax.data import discover
from pix2pix_jax.errors import UserError, run_command
from pix2pix_jax.inference import generator, loaded_run
from pix2pix_jax.train import train_and_evaluate
from pix2pix_jax.web import drawing
from pix2pix_jax.web import page as web_page
from pix2pix_jax.web import server as web_server
from pix2pix_jax.workdir import palette_json

COLOURS = [drawing.WHITE, drawing.BLACK]

# ---------------------------------------------------------------- the command


def test_the_seed_is_of_no_use_without_dropout():
    def why(has_samples, **fields):
        return web_page.no_seed(
            types.SimpleNamespace(config=changed(**fields), has_samples=has_samples)
        )

    assert why(True) == ''
    assert 'no block of the generator' in why(False)
    assert 'test.dropout=False' in why(False, test__dropout=False)


def test_ports():
    assert web_server.free_port('127.0.0.1', 0) > 0
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f'--port={port}: Address already in use; give another'):
            web_server.free_port('127.0.0.1', port)
    assert web_server.free_port('127.0.0.1', port) == port
    with pytest.raises(UserError, match=r'--host=no\.such\.host\.invalid'):
        web_server.free_port('no.such.host.invalid', 0)


@pytest.mark.parametrize(
    ('host', 'expected'),
    [('127.0.0.1', True), ('::1', True), ('localhost', True), ('0.0.0.0', False), ('me', False)],
)
def test_who_reaches_a_host(host, expected):
    assert web_server.is_loopback(host) == expected


@pytest.mark.parametrize(
    ('args', 'gradio', 'message'),
    [
        ([], True, '--workdir is missing'),
        (['--workdir=none'], False, "the demo needs gradio: pip install -e '.[demo]'"),
        (['--workdir=none', '--port=0'], True, '--workdir=none: no run there'),
        (['--workdir=none', '--port=65536'], True, '--port=65536'),
    ],
)
def test_a_wrong_command_is_one_line_and_status_2(args, gradio, message, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        'find_spec',
        lambda name: (gradio or None) if name == 'gradio' else find(name),
    )
    monkeypatch.setattr('pix2pix_jax.runtime.prepare_process', lambda: None)
    with pytest.raises(SystemExit) as stopped:
        run_command(demo.main, demo.define_flags, ['demo', *args])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and error.count('\n') == 1
    assert message in error and error.startswith('error: ')


def stand_in(monkeypatch, config):
    """A Translator of a run that is not there, whose generator negates."""
    config.image_size = (32, 32)
    run = loaded_run.Run(config, 1, 'last', {})
    monkeypatch.setattr(loaded_run, 'load_run', lambda *args: run)
    monkeypatch.setattr(generator, 'Generator', lambda *args, **kwargs: lambda x, sample: -x)
    return pix2pix_jax.Translator('run')


@pytest.mark.parametrize('value_range', ['', '0:4095'])
@pytest.mark.parametrize('channels', [1, 3, 4])
def test_a_translation_is_shown_as_rgb(monkeypatch, channels, value_range):
    fields = {'input_channels': channels, 'output_channels': channels}
    config = changed(**{f'generator__{k}': v for k, v in fields.items()})
    config.dataset.input_range = config.dataset.target_range = value_range
    picture = noise(32, 32, 3 if channels == 3 else 1)
    picture = picture if channels == 3 else picture.repeat(3, -1)
    found = web_page.translated(stand_in(monkeypatch, config), picture, 0)
    # Of RGBA the opacity is negated, too: all is transparent, and lies over white.
    np.testing.assert_array_equal(found, 255 if channels == 4 else 255 - picture)


@pytest.mark.parametrize('value_range', ['', '0:4095'])
@pytest.mark.parametrize('target_scale', [0.0, 2.0])
def test_a_drawing_is_of_its_translations_size_without_gaps(monkeypatch, value_range, target_scale):
    config = changed(dataset__nodata='0', dataset__target_scale=target_scale)
    config.dataset.input_range = config.dataset.target_range = value_range
    picture = noise(32, 32)
    picture[4:20, 4:20] = 0  # black, and no-data in a file
    found = web_page.translated(stand_in(monkeypatch, config), picture, 0)
    np.testing.assert_array_equal(found, 255 - picture)


def test_the_page_without_samples_and_dropout(monkeypatch):
    pytest.importorskip('gradio', reason='needs gradio')
    translator = stand_in(monkeypatch, changed(generator__dropout=0.0))
    colours = [('${a}`', (255, 255, 255)), ('{{b}}\\', (0, 0, 0))]
    components = web_page.create_page(translator, 'run', '', [], colours).get_config_file()[
        'components'
    ]
    assert not [c for c in components if c['type'] == 'gallery']
    (slider,) = (c['props'] for c in components if c['type'] == 'slider')
    assert not slider['interactive'] and 'no block of the generator' in slider['info']
    (canvas,) = (c['props'] for c in components if c['props'].get('elem_id') == 'canvas')
    assert not set('`${}\\') & set(canvas['html_template'])  # which would begin code in it
    drawn = drawing.from_url(canvas['value'], 32 * 32)
    np.testing.assert_array_equal(drawn, drawing.blank((32, 32), drawing.WHITE[1]))


# ---------------------------------------------------------------- what clients may ask for


@pytest.fixture
def page_client(monkeypatch):
    """Asks the page of a stand-in run, with two pictures, as any program can."""
    pytest.importorskip('gradio', reason='needs gradio')
    import httpx

    translator = stand_in(monkeypatch, changed())
    pictures = [noise(32, 32, 3) for _ in range(2)]
    page = web_page.create_page(translator, 'run', 'test', pictures, COLOURS)
    port = web_server.free_port('127.0.0.1', 0)
    web_server.launch(page, '127.0.0.1', port)
    with httpx.Client(base_url=f'http://127.0.0.1:{port}', timeout=60) as client:
        yield client
    page.close(verbose=False)


def called(client, name, data, event=None, session='s'):
    """What the page answers to one of its own events, asked for as the browser does."""
    functions = {d['api_name']: d['id'] for d in client.get('/config').json()['dependencies']}
    body = {
        'fn_index': functions[name],
        'data': data,
        'event_data': event,
        'session_hash': session,
    }
    assert client.post('/gradio_api/queue/join', json=body).is_success
    query = {'session_hash': session}
    with client.stream('GET', '/gradio_api/queue/data', params=query) as answers:
        for line in answers.iter_lines():
            answer = json.loads(line.removeprefix('data: ') or '{}')
            if answer.get('msg') == 'process_completed':
                return answer['output']
    raise AssertionError('the events ended')


def test_a_client_has_no_file_of_the_machine_opened(page_client, tmp_path, monkeypatch):
    secret = tmp_path / 'secret.png'
    Image.fromarray(noise(32, 32, 3)).save(secret)
    monkeypatch.chdir(tmp_path)  # Gradio takes more from the current folder
    opened = []
    real_open = builtins.open
    monkeypatch.setattr(
        builtins, 'open', lambda file, *a, **k: opened.append(str(file)) or real_open(file, *a, **k)
    )
    named = {'path': str(secret), 'orig_name': 'a.png', 'meta': {'_type': 'gradio.FileData'}}
    good = called(page_client, 'choose', [], {'index': 1, 'value': None})
    assert good['data'][0].startswith(drawing.URL)
    wrong = [
        *(('choose', [], {'index': i, 'value': named}) for i in (named, str(secret), 0)),
        *(('choose', [], {'index': i, 'value': None}) for i in (named, str(secret), -1, 2, 1.0)),
        ('choose', [], None),
        *(('upload', [data], None) for data in (named, str(secret), named | {'is_stream': True})),
        *(('translate', [data, 0], None) for data in (named, str(secret), f'file://{secret}')),
    ]
    for number, call in enumerate(wrong):
        answer = called(page_client, *call, session=f's{number}')
        assert 'error' in answer and drawing.URL not in json.dumps(answer), call
    for path in (
        *(f'/gradio_api/{kind}{secret}' for kind in ('file=', 'file/', 'proxy=file://')),
        '/gradio_api/file=secret.png',
        f'/static/..{secret}',
        f'/assets/%2e%2e/%2e%2e{secret}',
    ):
        answer = page_client.get(path)
        assert answer.status_code in (400, 403, 404) and secret.read_bytes() not in answer.content
    assert str(secret) not in opened


@pytest.mark.parametrize('error', [MemoryError('std::bad_alloc'), jax.errors.JaxRuntimeError(
    'RESOURCE_EXHAUSTED: Out of memory allocating 34359738368 bytes.\nTraceback: many lines'
)])  # fmt: skip
def test_running_out_of_memory_is_one_line_on_the_page(page_client, monkeypatch, capfd, error):
    def translate(*args):
        raise error

    monkeypatch.setattr(pix2pix_jax.Translator, 'translate', translate)
    url = drawing.to_url(noise(32, 32, 3))
    message = called(page_client, 'translate', [url, 0])['error']
    assert message.startswith('out of memory: the picture does not fit') and '\n' not in message
    assert message.endswith('; allowed is a smaller one')
    assert 'Traceback' not in capfd.readouterr().err
    monkeypatch.undo()  # and the page goes on
    assert 'error' not in called(page_client, 'choose', [], {'index': 1, 'value': None}, 'other')


def test_a_run_that_does_not_fit_is_one_line(monkeypatch):
    def load(*args):
        raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: no room')

    monkeypatch.setattr('pix2pix_jax.runtime.prepare_process', lambda: None)
    monkeypatch.setattr(loaded_run, 'load_run', load)
    with pytest.raises(UserError, match='out of memory: the run does not fit; .*JAX_PLATFORMS=cpu'):
        web_server.serve_run('run', 'last', '127.0.0.1', 0)


def test_gradio_answers_only_what_the_page_asks_for(page_client):
    calls = ['run/choose', 'run/upload', 'call/choose', 'api/choose', 'component_server']
    others = ['stream/a', 'proxy=http://127.0.0.1/', 'process_recording', 'info', 'runs', 'login']
    for path in calls + others:
        for address in (f'/gradio_api/{path}', f'/{path}', f'/gradio_api/queue/../{path}'):
            for method in ('GET', 'POST'):
                answer = page_client.request(method, address, json={'data': []})
                assert (answer.status_code, answer.text) == (404, 'there is no such page'), address


# ---------------------------------------------------------------- the page

DRAWING = '#canvas canvas'
MISSING = [name for name in ('gradio', 'playwright') if importlib.util.find_spec(name) is None]
MISSING += [] if CHROMIUM else ['chromium']


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp('demo')
    pairs = make_pairs(folder / 'pairs', {'train': 2, 'test': 3})
    train_and_evaluate(tiny_config(pairs, num_steps=1), folder / 'run')
    return folder / 'run'


@pytest.fixture(scope='module')
def server(run):
    """The command in a process of its own; yields (process, address)."""
    process = subprocess.Popen(
        [sys.executable, '-m', 'pix2pix_jax.demo', f'--workdir={run}', '--port=0'],
        env=os.environ | {'JAX_PLATFORMS': 'cpu'},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line.startswith('http://127.0.0.1:'), process.stderr.read()
        yield process, line.strip()
    finally:
        process.kill()
        process.communicate()


def canvas(page):
    return canvas_pixels(page, DRAWING)


def translation(page):
    """The picture that is shown on the right."""
    address = page.locator('#translation img').get_attribute('src')
    with Image.open(io.BytesIO(page.request.get(address).body())) as image:
        return np.asarray(image)


def wait_for(read, page, expected):
    """Waits until `read` of the page is this picture; else shows where it differs."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        with contextlib.suppress(Exception):  # a picture that goes as it is read
            if np.array_equal(read(page), expected):
                return
        time.sleep(0.1)
    np.testing.assert_array_equal(read(page), expected)


needs_browser = pytest.mark.skipif(
    bool(MISSING),
    reason=f"needs {' '.join(MISSING)}: pip install -e '.[demo]' playwright, and "
    'apt-get install chromium',
)


@needs_browser
def test_names_of_a_strangers_palette_are_shown_and_never_executed(tmp_path, monkeypatch):
    from playwright.sync_api import sync_playwright

    names = ['${(window.hacked=location.href)}', 'a`b', 'sky {{x}}', '\\u0041 {{{y}}}', '<b>&amp;']
    colours = [(name, (i, 0, 0)) for i, name in enumerate(names)]
    (tmp_path / palette_json.FILE).write_text(palette_json.to_json(colours))
    translator = stand_in(monkeypatch, changed())
    page = web_page.create_page(translator, 'run', '', [], palette_json.load_palette(tmp_path))
    port = web_server.free_port('127.0.0.1', 0)
    web_server.launch(page, '127.0.0.1', port)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        shown, errors = browser.new_page(), []
        shown.on('pageerror', lambda error: errors.append(str(error)))
        shown.goto(f'http://127.0.0.1:{port}')
        shown.locator('#canvas [data-colour]').nth(len(names) - 1).wait_for()
        swatches = shown.locator('#canvas [data-colour]')
        assert swatches.all_text_contents() == names
        titles = [swatches.nth(i).get_attribute('title') for i in range(len(names))]
        assert titles == names
        wait_for(canvas, shown, drawing.blank((32, 32), (0, 0, 0)))
        assert shown.evaluate('window.hacked') is None and errors == []
        browser.close()
    page.close(verbose=False)


@pytest.mark.e2e
@pytest.mark.slow
@needs_browser
def test_the_page_in_a_browser(run, server, tmp_path):
    from playwright.sync_api import sync_playwright

    process, address = server
    translate = pix2pix_jax.Translator(run)
    config = translate.config
    _, samples = drawing.samples(config, discover.open_splits(config))
    blue, red = (np.array(rgb) for rgb in ((0, 0, 255), (255, 0, 0)))
    asked = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        page = browser.new_page(viewport={'width': 1100, 'height': 1000})
        page.set_default_timeout(1000 * WAIT)
        page.on('request', lambda request: asked.append(request.url))
        page.goto(address)

        # The first sample is there, and translated.
        wait_for(canvas, page, samples[0])
        page.locator('#translation img').wait_for()
        wait_for(translation, page, translate(samples[0]))

        # A line: one pixel wide it is what was drawn over, in one colour, with hard edges.
        page.get_by_role('button', name='Clear').click()
        blank = drawing.blank((32, 32), tuple(blue))
        wait_for(canvas, page, blank)
        page.locator('#canvas input[type=range]').fill('1')
        drag(page, DRAWING, (4, 10), (20, 10))
        drawn = blank.copy()
        drawn[10, 4:21] = red
        wait_for(canvas, page, drawn)
        wait_for(translation, page, translate(drawn))

        # A dot is a disc.
        page.locator('#canvas input[type=range]').fill('4')
        drag(page, DRAWING, (26, 6), (26, 6))
        drawn[4:8, 25:27] = drawn[5:7, 24:28] = red
        wait_for(canvas, page, drawn)

        # A box of the other colour.
        page.locator(f'[data-colour="{drawing.hexadecimal(red)}"]').click()
        page.get_by_role('button', name='Box').click()
        drag(page, DRAWING, (12, 25), (6, 15))
        boxed = drawn.copy()
        boxed[15:26, 6:13] = red
        wait_for(canvas, page, boxed)
        wait_for(translation, page, translate(boxed))

        # The seed.
        other = translate(boxed, sample=7)
        assert not np.array_equal(other, translate(boxed))
        page.locator('#seed input[type=number]').fill('7')
        page.locator('#seed input[type=number]').press('Enter')
        wait_for(translation, page, other)

        # A sample, and back.
        page.locator('#samples button').nth(2).click()
        wait_for(canvas, page, samples[2])
        wait_for(translation, page, translate(samples[2], sample=7))
        page.get_by_role('button', name='Undo').click()
        wait_for(canvas, page, boxed)

        # Uploads: of another size, and what is no image.
        image = noise()
        Image.fromarray(image).save(tmp_path / 'mine.png')
        with page.expect_file_chooser() as chooser:
            page.locator('#upload').click()
        chooser.value.set_files(tmp_path / 'mine.png')
        wait_for(canvas, page, image)
        wait_for(translation, page, translate(image, sample=7))
        (tmp_path / 'bad.png').write_text('no image')
        with page.expect_file_chooser() as chooser:
            page.locator('#upload').click()
        chooser.value.set_files(tmp_path / 'bad.png')
        page.get_by_text('bad.png is no JPEG, PNG, WebP, TIFF or NumPy image').wait_for()
        np.testing.assert_array_equal(canvas(page), image)
        large = {
            'name': 'a.png',
            'mimeType': 'image/png',
            'buffer': bytes(web_server.MAX_UPLOAD_BYTES + 1),
        }
        answer = page.request.post(f'{address}/gradio_api/upload', multipart={'files': large})
        assert answer.status == 413
        browser.close()

    elsewhere = [url for url in asked if not url.startswith((address, 'data:', 'blob:'))]
    assert asked and not elsewhere
    process.send_signal(signal.SIGINT)
    assert process.wait(WAIT) == 130
