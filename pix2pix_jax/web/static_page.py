"""The exported page: what is on it, and what its scripts are told of the run.

Its scripts and styles are files, since its policy forbids all that stands in the page itself.
"""

import html
import json
import math
import pathlib
import string
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from pix2pix_jax.config import Config
from pix2pix_jax.data import class_maps, image_spec, tasks
from pix2pix_jax.data.label_colors import Classes
from pix2pix_jax.storage import atomic
from pix2pix_jax.web import class_brushes, drawing
from pix2pix_jax.workdir.palette_json import Colour

HERE = pathlib.Path(__file__).parent
SCRIPTS = (
    'page.js', 'model.js', 'worker.js', 'loading.js', 'pictures.js', 'maps.js', 'png.js',
    'pixels.js', 'resize.js', 'color.js', 'noise.js', 'isolate.js',
)  # fmt: skip
MAX_THREADS = 4
LOADS_ITSELF, TAKES_ITSELF = 64, 600  # MB to load, and of memory: more waits for a button
# Also for WebGPU: what of its runtime makes functions of text is not reached by a generator.
POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob: data:"


class Page(NamedTuple):
    """What is on the page beside the model."""

    name: str  # of the run, the heading
    step: int
    config: Config  # of images of the model's size
    card: str  # HTML
    split: str  # of the run's data, whose inputs the pictures are; '': there are none
    pictures: Sequence[np.ndarray]  # uint8 RGB (H,W,3)
    colours: list[Colour]  # to draw with


def files(page: Page, about: dict[str, Any]) -> dict[str, bytes]:
    """Returns the files of the page by name, all but the model and the runtime.

    `about` is what its scripts are told of these: `model` and `wasm` with their parts, of a flow
    `noise`, too, `module` and `loader` of the runtime, `memory` in bytes, and others.
    """
    found = {name: (HERE / 'static' / name).read_bytes() for name in (*SCRIPTS, 'page.css')}
    worker = string.Template((HERE / 'static' / 'sw.js').read_text())
    scripts = json.dumps([*SCRIPTS, 'canvas.js', about['module'], about['loader']])
    css = (HERE / 'canvas.css').read_text()
    examples = [f'examples/{i}.png' for i in range(len(page.pictures))]
    found |= {
        'canvas.js': (HERE / 'canvas.js').read_bytes(),
        'canvas.css': f'#canvas {{\n{css}}}\n'.encode(),
        'sw.js': worker.safe_substitute(policy=POLICY, scripts=scripts).encode(),
        **{name: atomic.encode_png(p) for name, p in zip(examples, page.pictures)},
    }
    loads = sum(about[key]['bytes'] for key in ('model', 'wasm', 'noise') if key in about) / 1e6
    told = {
        'input': input_spec(page.config),
        'output': output_spec(page.config),
        'max_threads': MAX_THREADS,
        'loads_itself': loads <= LOADS_ITSELF and about['memory'] / 1e6 <= TAKES_ITSELF,
        **about,
    }
    found['page.json'] = (json.dumps(told, indent=1) + '\n').encode()
    about_memory = _about_memory(loads, about['memory'] / 1e6, told['loads_itself'])
    found['index.html'] = _html(page, about_memory, examples).encode()
    return found


def input_spec(config: Config) -> dict[str, Any]:
    """Returns what the scripts must know to make the network's input of a drawing."""
    d, spec = config.dataset, image_spec.of_config(config)[0]
    task = tasks.task(d.task)
    found: dict[str, Any] = {
        'size': list(drawing.canvas_size(config)),
        'scaled': list(config.image_size),
        'fit': _fit(config),
        'resize': drawing.resize_of(config),
    }
    if spec.classes:
        return found | {
            'kind': 'classes',
            **_colours(class_brushes.table(spec)),
            'tables': [_colours(table) for table in class_brushes.tables(spec)],
            'indices': spec.coding is None,
            'none_index': -1 if spec.void == class_maps.NO_VOID else spec.void,
        }
    if task.lab:
        return found | {'kind': 'lightness'}
    kind = {1: 'gray', 3: 'rgb', 4: 'rgba'}[spec.channels]
    return found | {'kind': kind, 'rounded': not (task.of_any_photo or spec.ranges)}


def _colours(table: Classes) -> dict[str, Any]:
    return {'classes': list(map(list, table.colours.values())), 'none': list(map(list, table.void))}


def output_spec(config: Config) -> dict[str, Any]:
    """Returns what the scripts must know to show the network's output."""
    channels, spec = config.generator.output_channels, image_spec.of_config(config)[1]
    found: dict[str, Any] = {'kind': 'image', 'channels': channels, 'views': _views(channels)}
    if tasks.task(config.dataset.task).lab:
        return found | {'kind': 'lab', 'views': _views(3)}
    if spec.classes:
        colours = [list(colour) for colour in class_brushes.table(spec).colours.values()]
        return found | {'kind': 'classes', 'classes': colours, 'views': _views(3)}
    return found


def _views(channels: int) -> list[dict[str, Any]]:
    """Which channels of an output can be shown together: gray, RGB and RGBA, else each alone."""
    if channels in (1, 3, 4):
        return [{'name': 'all', 'channels': list(range(channels))}]
    return [{'name': f'channel {i + 1}', 'channels': [i]} for i in range(channels)]


def _fit(config: Config) -> str:
    """As which config.dataset.preprocess a picture of another size becomes a drawing."""
    return 'crop' if drawing.keeps_scale(config) else config.dataset.preprocess


def _about_fit(config: Config) -> str:
    height, width = drawing.canvas_size(config)
    return {
        'resize_and_crop': f'Pictures of other sizes are resized to {width}x{height}.',
        'crop': f'Of larger pictures the middle {width}x{height} pixels are taken.',
    }.get(_fit(config), f'Pictures are scaled to cover {width}x{height}; the middle is taken.')


def _about_memory(loads: float, memory: float, by_itself: bool) -> str:
    rounded = round(memory, -1) if memory < 1000 else round(memory, -2)
    start = 'This page loads' if by_itself else 'The model is not loaded yet: it is'
    return f'{start} {math.ceil(loads)} MB, once, and takes about {rounded:,.0f} MB of memory.'


def _html(page: Page, about_memory: str, examples: list[str]) -> str:
    height, width = drawing.canvas_size(page.config)
    template = string.Template((HERE / 'static' / 'index.html').read_text())
    return template.substitute(
        policy=html.escape(POLICY, quote=False),
        title=html.escape(page.name),
        step=f'{page.step:,}',
        size=f'{width}x{height}',
        fit=_about_fit(page.config),
        about_memory=about_memory,
        canvas=drawing.canvas_html((height, width), page.colours),
        width=page.config.image_size[1],
        height=page.config.image_size[0],
        examples=_examples_html(page.split, examples),
        card=page.card,
    )


def _examples_html(split: str, names: list[str]) -> str:
    if not names:
        return ''
    buttons = ''.join(
        f'<button aria-label="example {i}"><img src="{name}" alt=""></button>\n'
        for i, name in enumerate(names, start=1)
    )
    return (
        f'<h2>Examples</h2>\n<p class="muted">Inputs of the {html.escape(split)} split.</p>\n'
        f'<div id="examples">\n{buttons}</div>'
    )
