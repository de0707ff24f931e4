"""A local web page that translates what is drawn, uploaded or chosen there, with a trained run.

python -m pix2pix_jax.demo --workdir=runs/facades

It needs gradio (pip install gradio), and no internet.
"""

import functools
import importlib.util
import ipaddress
import os
import pathlib
import socket
import threading
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from pix2pix_jax.data.formats.pixels import EXTENSIONS, LazyFile
from pix2pix_jax.errors import DataError, UserError, run_command
from pix2pix_jax.reports import image_grid, run_page
from pix2pix_jax.web import drawing

if TYPE_CHECKING:
    import gradio

    from pix2pix_jax.inference.translator import Translator

SHARED = {'allow_override': True}  # other commands have flags of these names
WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of the run.', **SHARED)
CHECKPOINT = flags.DEFINE_string('checkpoint', 'last', 'last, best or a step.', **SHARED)
PORT = flags.DEFINE_integer(
    'port', 7860, 'Port of the page; 0: any that is free.', 0, 65535, **SHARED
)
HOST = flags.DEFINE_string(
    'host',
    '127.0.0.1',
    'Address to listen on; by default only this machine can open the page.',
    **SHARED,
)

HERE = pathlib.Path(__file__).parent / 'web'
MOST_BYTES = 20 * 2**20  # of an upload
SEEDS = 100
# Inside gradio's; the fonts are those of the system, since its own come from the internet.
CSS = """
.gradio-container { max-width: 1000px !important; margin: 0 auto !important; }
#translation { border: 0; background: none; }
#translation .image-container > button, #translation .image-frame { width: 100%; height: auto; }
#translation img { width: 100%; height: auto; object-fit: contain; image-rendering: pixelated;
  border: 1px solid var(--border-color-primary); }
#canvas .html-container { padding: 0; }
#samples { border: 0; }
#samples .grid-container { padding: 0;
  grid-template-columns: repeat(auto-fill, minmax(96px, 1fr)); }
"""


def main() -> int:
    """Serves the page until it is stopped; returns the exit status."""
    if not WORKDIR.value:
        raise UserError('--workdir is missing: give the folder of a run')
    if importlib.util.find_spec('gradio') is None:
        raise UserError('the demo needs gradio: pip install gradio')
    port = free_port(HOST.value, PORT.value)  # before what takes seconds
    workdir = os.path.expanduser(WORKDIR.value)
    from pix2pix_jax.inference.translator import Translator
    from pix2pix_jax.runtime import prepare_process

    prepare_process()
    translator = Translator(workdir, CHECKPOINT.value)
    splits, why = drawing.open_data(workdir, translator.config)
    drawing.check(translator.config, splits)
    split, pictures = drawing.samples(translator.config, splits)
    if not pictures:
        print(f'no samples to choose from: {why or "none of the pairs can be read"}', flush=True)
    name = os.path.basename(os.path.abspath(workdir))
    page = create_page(translator, name, split, pictures)
    serve(page, HOST.value, port)
    return 0


def free_port(host: str, port: int) -> int:
    """Returns `port`, or a free one for 0; raises UserError where it is taken or `host` is none."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return probe.getsockname()[1]
    except socket.gaierror as error:
        raise UserError(
            f'--host={host}: {error.strerror}; allowed is an address of this machine'
        ) from error
    except OSError as error:
        raise UserError(
            f'--host={host} --port={port}: {error.strerror}; give another, as --port=0 for any '
            'that is free'
        ) from error


def create_page(
    translator: 'Translator', name: str, split: str, pictures: list[np.ndarray]
) -> 'gradio.Blocks':
    """Returns the page of a run called `name`; `pictures` are inputs to choose from, of `split`.

    uint8 RGB (H,W,3), or none.
    """
    os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'  # it reports to its makers; before the import
    import gradio as gr

    config = translator.config
    size, colours = drawing.canvas_size(config), drawing.palette(config, pictures)
    first = pictures[0] if pictures else drawing.blank(size, colours[0][1])
    reason = no_seed(translator)

    def translate(url: str, seed: int) -> np.ndarray:
        return translated(translator, drawing.from_url(url, most_pixels(size)), seed)

    def upload(path: str) -> str:
        # By the name that the user knows.
        file = LazyFile(os.path.basename(path), pathlib.Path(path).read_bytes)
        return drawing.to_url(drawing.uploaded(file, config))

    def choose(event: gr.SelectData) -> str:
        return drawing.to_url(pictures[event.index])

    with gr.Blocks(
        title=f'{name} - pix2pix',
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(3600, 86400),  # seconds: files of the pictures that were shown
    ) as page:
        gr.Markdown(
            f'## {run_page.escape(name)}\nstep {translator.step:,} · {size[1]}x{size[0]}. '
            'Draw, upload a picture, or choose one below: its translation is on the right. '
            f'Other sizes: {translator.about_fit}.'
        )
        with gr.Row():
            with gr.Column():
                canvas = gr.HTML(
                    drawing.to_url(first),
                    html_template=drawing.canvas_html(size, colours),
                    css_template=(HERE / 'canvas.css').read_text(),
                    js_on_load=(HERE / 'canvas.js').read_text(),
                    apply_default_css=False,
                    elem_id='canvas',
                )
                button = gr.UploadButton(
                    'Upload a picture', file_types=list(EXTENSIONS), size='sm', elem_id='upload'
                )
            with gr.Column():
                output = gr.Image(
                    show_label=False,
                    format='png',
                    interactive=False,
                    buttons=['download'],
                    elem_id='translation',
                )
                seed = gr.Slider(
                    0,
                    SEEDS - 1,
                    step=1,
                    value=0,
                    label='Seed',
                    info=reason or 'Of the dropout: another seed, another translation.',
                    interactive=not reason,
                    elem_id='seed',
                )
        if pictures:
            gr.Markdown(f'Inputs of the {split} split to choose from:')
            gallery = gr.Gallery(
                pictures,
                show_label=False,
                height='auto',
                object_fit='contain',
                allow_preview=False,
                interactive=False,
                buttons=[],
                format='png',
                elem_id='samples',
            )
            gallery.select(shown(choose), None, canvas, show_progress='hidden')
        button.upload(shown(upload), button, canvas, show_progress='hidden')
        settings = dict(
            fn=shown(translate),
            inputs=[canvas, seed],
            outputs=output,
            show_progress='hidden',
            trigger_mode='always_last',  # what changes while one is computed counts once
        )
        page.load(**settings)
        canvas.change(**settings)
        seed.change(**settings)
    return page


def serve(page: 'gradio.Blocks', host: str, port: int) -> None:
    """Serves `page` until the process is stopped."""
    import gradio as gr

    fonts = dict(font=['system-ui', 'sans-serif'], font_mono=['monospace'])
    name = f'[{host}]' if ':' in host else host  # IPv6 in an address
    page.launch(
        server_name=name,
        server_port=port,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        show_error=True,
        max_file_size=MOST_BYTES,
        footer_links=[],
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        theme=gr.themes.Default(**fonts),
        css=CSS,
    )
    print(f'http://{name}:{port}', flush=True)
    if not is_loopback(host):
        print('others who reach this machine can use the page; stop it with Ctrl-C', flush=True)
    try:
        threading.Event().wait()
    finally:
        page.close(verbose=False)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a page at `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'


def translated(translator: 'Translator', picture: np.ndarray, seed: int) -> np.ndarray:
    """Returns the translation of a picture, uint8 RGB (H,W,3), as one."""
    loaded = translator.load(drawing.as_input(picture, translator.config))
    (output,) = translator.translate([loaded], int(seed))
    return image_grid.to_rgb(output)


def most_pixels(size: tuple[int, int]) -> int:
    """Returns how many pixels a drawing has at most: those of the longest upload."""
    return drawing.LONGEST * min(size) ** 2 + max(size) ** 2


def no_seed(translator: 'Translator') -> str:
    """Returns why the seed of a run's dropout changes nothing; '' where it does."""
    if not translator.config.test.dropout:
        return 'the run translates without dropout: config.test.dropout=False'
    return '' if translator.has_dropout else 'no block of the generator has dropout'


def shown(function):
    """Wraps a function of the page so that a user's mistake is shown there, in one line."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        import gradio as gr

        try:
            return function(*args, **kwargs)
        except DataError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return wrapped


if __name__ == '__main__':
    run_command(main)
