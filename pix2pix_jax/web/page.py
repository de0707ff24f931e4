"""The page to draw on: the canvas, what is set beside it, and what happens when they change."""

import functools
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pix2pix_jax.config import Config
from pix2pix_jax.data import image_spec
from pix2pix_jax.data.formats.pixels import EXTENSIONS, LazyFile
from pix2pix_jax.distributed import memory
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.reports import image_grid, run_page
from pix2pix_jax.web import class_brushes, drawing
from pix2pix_jax.workdir.palette_json import Colour

if TYPE_CHECKING:
    import gradio

    from pix2pix_jax.inference.translator import Translator

HERE = pathlib.Path(__file__).parent
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


def create_page(
    translator: 'Translator',
    name: str,
    split: str,
    pictures: list[np.ndarray],
    colours: Sequence[Colour],
) -> 'gradio.Blocks':
    """Returns the page of a run.

    Args:
      translator: the run.
      name: of the run, for the heading.
      split: of the run's data, whose inputs the pictures are.
      pictures: uint8 RGB (H,W,3) to choose from; may be empty.
      colours: to draw with.
    """
    os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'  # it reports to its makers; before the import
    import gradio as gr

    config = translator.config
    with gr.Blocks(
        title=f'{name} - pix2pix',
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(3600, 86400),  # seconds: files of the pictures that were shown
    ) as page:
        height, width = drawing.canvas_size(config)
        gr.Markdown(
            f'## {run_page.escape(name)}\nstep {translator.step:,} · {width}x{height}. '
            'Draw, upload a picture, or choose one below: its translation is on the right. '
            f'Other sizes: {translator.about_fit}.'
        )
        with gr.Row():
            with gr.Column():
                canvas = _add_canvas(config, pictures, list(colours))
                _add_upload(config, canvas)
            with gr.Column():
                output, seed = _add_output(), _add_seed(no_seed(translator))
        if pictures:
            gr.Markdown(f'Inputs of the {split} split to choose from:')
            _add_samples(pictures, canvas)
        _translate_changes(page, translator, canvas, seed, output)
    return page


def _add_canvas(config: Config, pictures: list[np.ndarray], colours: list[Colour]) -> 'gradio.HTML':
    """Adds the canvas; the first picture is on it, or else it is blank."""
    import gradio as gr

    size = drawing.canvas_size(config)
    return gr.HTML(
        drawing.to_url(pictures[0] if pictures else drawing.blank(size, colours[0][1])),
        html_template=_without_code(drawing.canvas_html(size, colours)),
        css_template=(HERE / 'canvas.css').read_text(),
        js_on_load=_in_a_function((HERE / 'canvas.js').read_text()),
        apply_default_css=False,
        elem_id='canvas',
    )


def _without_code(text: str) -> str:
    """Returns HTML as gr.HTML takes it, which executes a template: no sign begins code in it."""
    return text.translate({ord(sign): f'&#{ord(sign)};' for sign in '`${}\\'})


def _in_a_function(module: str) -> str:
    """Returns canvas.js as gr.HTML takes it: the body of a function of element, props and watch."""
    return (
        f'{module.replace("export function", "function")}\ncreateCanvas(element, props, watch);\n'
    )


def _add_upload(config: Config, canvas: 'gradio.HTML') -> None:
    """Adds the button that puts a file of the user on the canvas."""
    import gradio as gr

    def upload(path: str) -> str:
        # By the name that the user knows.
        file = LazyFile(os.path.basename(path), pathlib.Path(path).read_bytes)
        return drawing.to_url(drawing.uploaded(file, config))

    button = gr.UploadButton(
        'Upload a picture', file_types=list(EXTENSIONS), size='sm', elem_id='upload'
    )
    button.upload(shown(upload), button, canvas, show_progress='hidden')


def _add_output() -> 'gradio.Image':
    """Adds the place of the translation."""
    import gradio as gr

    return gr.Image(
        show_label=False,
        format='png',
        interactive=False,
        buttons=['download'],
        elem_id='translation',
    )


def _add_seed(reason: str) -> 'gradio.Slider':
    """Adds the slider of the seed; `reason` says why it is of no use, '' where it is."""
    import gradio as gr

    return gr.Slider(
        0,
        SEEDS - 1,
        step=1,
        value=0,
        label='Seed',
        info=reason or 'Another seed, another translation.',
        interactive=not reason,
        elem_id='seed',
    )


def _add_samples(pictures: list[np.ndarray], canvas: 'gradio.HTML') -> None:
    """Adds the pictures; a click puts one on the canvas."""
    import gradio as gr

    def choose(event: gr.SelectData) -> str:
        index = getattr(event, 'index', None)  # whatever a client sends
        if type(index) is not int or index not in range(len(pictures)):
            raise DataError(f'there is no such picture: allowed are 0 to {len(pictures) - 1}')
        return drawing.to_url(pictures[index])

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


def _translate_changes(
    page: 'gradio.Blocks',
    translator: 'Translator',
    canvas: 'gradio.HTML',
    slider: 'gradio.Slider',
    output: 'gradio.Image',
) -> None:
    """Shows the translation of the canvas, at first and whenever the canvas or the seed changes."""
    pixels = max_pixels(drawing.canvas_size(translator.config))

    def translate(url: str, seed: int) -> np.ndarray:
        return translated(translator, drawing.from_url(url, pixels), seed)

    function = shown(translate)
    for event in (page.load, canvas.change, slider.change):
        event(
            fn=function,
            inputs=[canvas, slider],
            outputs=output,
            show_progress='hidden',
            trigger_mode='always_last',  # what changes while one is computed counts once
        )


def translated(translator: 'Translator', picture: np.ndarray, seed: int) -> np.ndarray:
    """Returns the translation of a picture, uint8 RGB (H,W,3), as one."""
    loaded = translator.load(drawing.as_input(picture, translator.config), drawn=True)  # 0: black
    (output,) = translator.translate([loaded], int(seed))
    spec = image_spec.of_config(translator.config)[1]
    if spec.classes:
        return class_brushes.to_picture(output, spec)
    return image_grid.to_rgb(image_grid.by_itself(output))


def max_pixels(size: tuple[int, int]) -> int:
    """Returns how many pixels a drawing has at most: those of the longest upload."""
    return drawing.MAX_ASPECT_RATIO * min(size) ** 2 + max(size) ** 2


def no_seed(translator: 'Translator') -> str:
    """Returns why the seed changes nothing; '' where it does."""
    if translator.has_samples:
        return ''
    if not translator.config.test.dropout:
        return 'the run translates without dropout: config.test.dropout=False'
    return 'no block of the generator has dropout'


def shown(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a function of the page so that what a user can mend is shown there, in one line."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        import gradio as gr

        try:
            with memory.one_line('the picture', 'allowed is a smaller one'):
                return function(*args, **kwargs)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return wrapped
