"""The canvas alone in a browser: what fingers draw."""

import contextlib

import numpy as np
import pytest
from helpers.browser import MISSING, REASON, canvas_pixels, chromium, serving

from pix2pix_jax.web import drawing, static_page

pytestmark = pytest.mark.skipif(bool(MISSING), reason=REASON)
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
SCALE = 5  # of the page's pixels to those of the canvas


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A page with nothing but a canvas of 64x64."""
    folder = tmp_path_factory.mktemp('canvas')
    (folder / 'canvas.js').write_bytes((static_page.HERE / 'canvas.js').read_bytes())
    board = drawing.canvas_html((64, 64), [('', WHITE), ('', BLACK)])
    paper = drawing.to_url(drawing.blank((64, 64), WHITE))
    (folder / 'index.html').write_text(f"""
<style>
body {{ margin: 0 }}
canvas {{ display: block; width: {64 * SCALE}px; touch-action: none }}
</style>
<div id="canvas">{board}</div>
<script type="module">
import {{ createCanvas }} from './canvas.js';
const canvas = document.querySelector('canvas');
canvas.addEventListener('drawn', () => (document.body.dataset.ready = 'true'));
const props = {{ value: '{paper}' }};
createCanvas(document.querySelector('#canvas'), props, (_, changed) => {{
  window.give = (url) => {{ props.value = url; changed(); }};
}});
</script>""")
    return folder


@contextlib.contextmanager
def fingers(folder):
    """Gives the page, and touches it: a kind of event, and what each finger is at (x, y)."""
    with serving(folder) as address, chromium() as browser:
        context = browser.new_context(has_touch=True)
        page = context.new_page()
        page.goto(address)
        page.locator('body[data-ready]').wait_for(state='attached')
        page.locator('input[type=range]').fill('1')
        session = context.new_cdp_session(page)

        def touch(kind, **places):
            points = [
                {'id': int(name[1:]), 'x': (x + 0.5) * SCALE, 'y': (y + 0.5) * SCALE}
                for name, (x, y) in places.items()
            ]
            session.send(
                'Input.dispatchTouchEvent', {'type': f'touch{kind}', 'touchPoints': points}
            )

        yield page, touch


def test_a_second_finger_neither_draws_nor_ends_the_stroke(folder):
    with fingers(folder) as (page, touch):
        touch('Start', f0=(10, 10))
        touch('Move', f0=(12, 10))
        touch('Start', f0=(12, 10), f1=(50, 50))
        touch('Move', f0=(12, 10), f1=(55, 50))
        touch('Move', f0=(14, 10), f1=(55, 50))
        touch('End', f1=(55, 50))  # this one is lifted
        touch('Move', f0=(20, 10))
        touch('End')
        touch('Start', f2=(30, 40))  # and another stroke is drawn
        touch('Move', f2=(33, 40))
        touch('End')
        expected = drawing.blank((64, 64), WHITE)
        expected[10, 10:21] = expected[40, 30:34] = BLACK
        np.testing.assert_array_equal(canvas_pixels(page, 'canvas'), expected)
        page.get_by_role('button', name='Undo').click()  # one stroke, one step
        expected[40, 30:34] = WHITE
        np.testing.assert_array_equal(canvas_pixels(page, 'canvas'), expected)


@pytest.mark.parametrize('tool', ['Pen', 'Box'])
def test_a_picture_that_comes_meanwhile_ends_what_is_drawn(folder, tool):
    """It is shown as it is; the finger that is still down draws no more, and the next one does."""
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    with fingers(folder) as (page, touch):
        page.get_by_role('button', name=tool).click()
        touch('Start', f0=(10, 10))
        touch('Move', f0=(20, 20))
        page.evaluate('(url) => give(url)', drawing.to_url(picture))
        page.wait_for_function(
            "document.querySelector('canvas').getContext('2d')"
            f'.getImageData(0, 0, 1, 1).data[0] === {picture[0, 0, 0]}'
        )
        touch('Move', f0=(30, 12))
        touch('End')
        np.testing.assert_array_equal(canvas_pixels(page, 'canvas'), picture)
        touch('Start', f1=(5, 5))
        touch('Move', f1=(6, 5))
        touch('End')
        picture[5, 5:7] = BLACK
        np.testing.assert_array_equal(canvas_pixels(page, 'canvas'), picture)
