"""A browser for tests of pages, and a folder served to it."""

import contextlib
import functools
import http.server
import importlib.util
import pathlib
import shutil
import threading
from collections.abc import Iterator

import numpy as np

CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome')
MISSING = [name for name in ('playwright',) if importlib.util.find_spec(name) is None]
MISSING += [] if CHROMIUM else ['chromium']
REASON = f'needs {" ".join(MISSING)}: pip install playwright, and apt-get install chromium'
WAIT = 60  # seconds: the cores may be busy
ARGS = ('--no-sandbox', '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream')


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, *args: object) -> None:
        """Says nothing."""


@contextlib.contextmanager
def serving(folder: pathlib.Path, **types: str) -> Iterator[str]:
    """Serves a folder on loopback as `python -m http.server` does; gives its address.

    `types` are those of other extensions than Python's, as mjs='text/plain'.
    """
    known = Quiet.extensions_map | {f'.{name}': kind for name, kind in types.items()}
    handler = functools.partial(
        type('Typed', (Quiet,), {'extensions_map': known}), directory=str(folder)
    )
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}/'
    server.shutdown()
    server.server_close()


@contextlib.contextmanager
def chromium() -> Iterator:
    """Gives a headless Chromium with a camera that shows a test picture."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGS))
        yield browser
        browser.close()


def canvas_pixels(page, selector: str) -> np.ndarray:
    """The pixels of a canvas of a page, uint8 (H,W,3); none may be transparent."""
    height, width, values = page.evaluate(
        """(selector) => {
            const canvas = document.querySelector(selector);
            const all = [0, 0, canvas.width, canvas.height];
            const image = canvas.getContext('2d').getImageData(...all);
            return [canvas.height, canvas.width, Array.from(image.data)];
        }""",
        selector,
    )
    rgba = np.array(values, np.uint8).reshape(height, width, 4)
    assert (rgba[..., 3] == 255).all()
    return rgba[..., :3]


def drag(page, selector: str, start: tuple[int, int], stop: tuple[int, int]) -> None:
    """Moves the pressed mouse between two pixels (x, y) of a canvas."""
    box, (height, width, _) = (
        page.locator(selector).bounding_box(),
        canvas_pixels(page, selector).shape,
    )
    (x0, y0), (x1, y1) = (
        (box['x'] + (x + 0.5) * box['width'] / width, box['y'] + (y + 0.5) * box['height'] / height)
        for x, y in (start, stop)
    )
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move(x1, y1, steps=5)
    page.mouse.up()
