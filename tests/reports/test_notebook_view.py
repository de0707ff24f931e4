"""What a notebook shows of a run while it trains, and the commands that it runs."""

import base64
import io
import sys
import types

import numpy as np
import pytest
from PIL import Image

from pix2pix_jax.errors import Stopped
from pix2pix_jax.reports import notebook
from pix2pix_jax.storage import atomic

SVG = '<svg viewBox="0 0 1 1">\n<g>{}</g></svg>'


def write_grid(run, step, value):
    grid = np.full((4, 6, 3), value, np.uint8)
    atomic.write_bytes(run / 'samples' / f'step_{step:07d}.png', atomic.encode_png(grid))


def shown_value(html):
    """The value of all pixels of the one grid in `html`."""
    _, _, rest = html.partition('data:image/png;base64,')
    return np.unique(Image.open(io.BytesIO(base64.b64decode(rest.partition('"')[0]))))


def test_the_newest_grid_and_the_curves_of_the_page(tmp_path):
    assert notebook.view(tmp_path) == '' == notebook.view(tmp_path / 'not there')
    write_grid(tmp_path, 5, 10)
    write_grid(tmp_path, 1000, 20)
    assert '<p>step 1,000</p>' in notebook.view(tmp_path)
    assert list(shown_value(notebook.view(tmp_path))) == [20]
    page = f'<h2>Curves</h2>{SVG.format("a")}<p>{SVG.format("b")}<h2>Samples</h2>'
    (tmp_path / 'index.html').write_text(page)
    view = notebook.view(tmp_path)
    assert SVG.format('a') + SVG.format('b') in view and 'Samples' not in view


def test_it_is_shown_anew_where_it_changed(tmp_path, monkeypatch):
    """Until the end, though the block raises."""
    shown = []
    place = types.SimpleNamespace(update=shown.append)
    display = types.SimpleNamespace(
        HTML=lambda html: html, display=lambda html, display_id: shown.append(html) or place
    )
    monkeypatch.setitem(sys.modules, 'IPython.display', display)
    with pytest.raises(Stopped), notebook.shown(tmp_path, seconds=3600):
        write_grid(tmp_path, 1, 7)
        raise Stopped(2, 'stopped')
    assert shown[0] == 'image grids and curves come here'
    assert [list(shown_value(html)) for html in shown[1:]] == [[7]]
    with notebook.shown(tmp_path, seconds=3600):
        pass
    assert len(shown) == 3  # of the run as it was; nothing new


def test_a_command_runs_on_the_cpu_and_its_words_are_kept(monkeypatch, capsys):
    monkeypatch.setenv('JAX_PLATFORMS', 'tpu')
    code = (
        'import os, sys; print(os.environ["JAX_PLATFORMS"], file=sys.stderr); print(sys.argv[1:])'
    )
    notebook.run(sys.executable, '-c', code, 'my pairs', '$HOME')
    assert sorted(capsys.readouterr().out.splitlines()) == ["['my pairs', '$HOME']", 'cpu']
