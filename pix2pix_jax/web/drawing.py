"""What the demo draws with and on: the colours of a run's inputs, its samples, pictures as text.

A picture here is uint8 RGB (H,W,3), as a browser's canvas holds it, whatever the run's inputs are.
"""

import base64
import binascii
import html
from collections.abc import Iterable, Sequence

import numpy as np
from etils import epath

from pix2pix_jax.config import Config
from pix2pix_jax.data import (
    augment,
    image_spec,
    label_colors,
    pipeline,
    tasks,
)
from pix2pix_jax.data.formats import decode
from pix2pix_jax.data.formats.pixels import File, LazyFile
from pix2pix_jax.data.sources import Source
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.evaluation import label_maps
from pix2pix_jax.inference import tiling
from pix2pix_jax.reports import image_grid
from pix2pix_jax.storage import atomic
from pix2pix_jax.web import class_brushes
from pix2pix_jax.workdir import data_json, palette_json
from pix2pix_jax.workdir.palette_json import Colour

WHITE, BLACK, GRAY = ('white', (255,) * 3), ('black', (0,) * 3), ('hole', (128,) * 3)
EDGES = ('edges2shoes', 'edges2handbags')  # published inputs that are black on white
MAX_COLOURS = 12
UNDOS = 30  # as MAX_UNDOS of canvas.js
MIN_COLOUR_DISTANCE = 40  # in RGB, of two colours on the palette
MIN_COLOUR_SHARE = 0.002  # of the pixels, of a colour on the palette

MAX_PIXELS = 2**25  # of an uploaded file: a phone's photo has 2**24
MAX_ASPECT_RATIO = 4  # times the shorter side of an upload
URL = 'data:image/png;base64,'
MAX_URL_LENGTH = 2**26  # characters of a picture as text: more than a canvas can have


def check(config: Config, splits: dict[str, Source], workdir: epath.PathLike) -> None:
    """Raises UserError for a run whose inputs cannot be drawn in colours.

    Four channels are RGBA where they have no range, and the run in `workdir` recorded nothing else.
    """
    d, channels = config.dataset, config.generator.input_channels
    several = d.inputs > 1 or any(source.inputs > 1 for source in splits.values())
    allowed = 'allowed are gray, RGB and RGBA'
    if several or len(image_spec.parse_ranges('input_range', d.input_range)) > 1:
        what, allowed = 'several inputs for one output', 'allowed is one'
    elif not d.input_classes and channels not in (1, 3, 4):
        what = f'config.generator.input_channels={channels}'
    elif not d.input_classes and channels == 4 and not _is_rgba(config, workdir):
        what = 'inputs of four channels that are not RGBA of 8 bits'
    else:
        return
    raise UserError(
        f'the run has {what}: {allowed}; python -m pix2pix_jax.translate translates files of any '
        'kind'
    )


def _is_rgba(config: Config, workdir: epath.PathLike) -> bool:
    found = data_json.recorded(workdir)
    of_8_bits = found.get('input_type', 'uint8') == 'uint8' and not config.dataset.input_range
    return of_8_bits and found.get('input_opacity', True)


def canvas_size(config: Config) -> tuple[int, int]:
    """Returns (height, width) of a drawing: the training's, of super-resolution before it."""
    factor = tasks.factor(config)
    return tuple(max(1, round(side / factor)) for side in config.image_size)


def samples(
    config: Config, splits: dict[str, Source], maximum: int = 12
) -> tuple[str, list[np.ndarray]]:
    """Returns a split, test, val or train, and at most `maximum` of its inputs as pictures.

    They have the size of the training, as in an evaluation. Pairs that cannot be read are left
    out; without any the split is ''.
    """
    for split in ('test', 'val', 'train'):
        source, found = splits.get(split), []
        if not source:  # none, or one without pairs
            continue
        for i in image_grid.evenly_spaced(len(source), maximum):
            try:
                found.append(_sample(source, int(i), config))
            except DataError:
                continue
        if found:
            return split, found
    return '', []


def _sample(source: Source, i: int, config: Config) -> np.ndarray:
    pair, task = pipeline.example(source, i, config), tasks.task(config.dataset.task)
    if task.of_any_photo:  # the translator takes the photo itself
        return image_grid.to_rgb(pair['target'])
    if task.enlarges:
        return image_grid.to_rgb(augment.resized(pair['target'], canvas_size(config)))
    spec = image_spec.of_config(config)[0]
    if spec.classes:
        return class_brushes.to_picture(pair['input'], spec)
    return image_grid.to_rgb(pair['input'])


# ---------------------------------------------------------------- colours


def palette(
    config: Config, pictures: Sequence[np.ndarray], workdir: epath.PathLike = ''
) -> list[Colour]:
    """Returns the colours to draw with: the first is the paper's, the second the brush's at first.

    Of label maps they are the classes with their names, where the config says them (facades and
    Cityscapes by the name of the data set), of edges black on white, of inpainting the hole's gray,
    else the commonest of `pictures`, inputs of the run. Without any they are those that the run in
    `workdir` keeps, if it was packed, or white and black.
    """
    kept = [] if len(pictures) or not workdir else palette_json.load_palette(workdir)
    if kept:
        return kept
    d, task = config.dataset, tasks.task(config.dataset.task)
    spec = image_spec.of_config(config)[0]
    if spec.classes:
        return class_brushes.brushes(spec)
    if d.colors:
        classes = label_colors.table(d.colors)
        if all(label_colors.matching(p, classes) >= label_colors.MIN_MATCHING for p in pictures):
            return list(classes.colours.items())
    labelled = label_maps.of_published(d.direction) == 'input'
    if d.name in label_colors.DATA_SETS and labelled and task is tasks.PAIRS:
        classes = label_colors.DATA_SETS[d.name]
        void = [('void', colour) for colour in classes.void[:1]]
        return [*void, *classes.colours.items()]
    if task.lines or (d.name in EDGES and not len(pictures)):
        return [WHITE, BLACK]
    if not len(pictures):  # without names: any other colour may be chosen
        return [('', WHITE[1]), ('', BLACK[1])]
    found = commonest_colours(pictures)
    if task.holes:
        return [found[0], GRAY, *found[1 : MAX_COLOURS - 1]]
    return found


def commonest_colours(pictures: Sequence[np.ndarray], maximum: int = MAX_COLOURS) -> list[Colour]:
    """Returns at least two and at most `maximum` colours of `pictures`, unlike, commonest first.

    Of line art, which has white paper or black and no colours, they are the two.
    """
    pixels = np.concatenate([picture.reshape(-1, 3) for picture in pictures])
    bins, index, counts = np.unique(
        pixels // 8, axis=0, return_inverse=True, return_counts=True
    )  # JPEG and resizing leave neighbours of each colour
    index = index.reshape(-1)
    gray = np.ptp(pixels.astype(np.int32), axis=-1) <= 8
    common = bins[counts.argmax()]
    if gray.mean() > 0.99 and counts.max() > len(pixels) / 2:
        if common.min() >= 30:
            return [WHITE, BLACK]
        if common.max() <= 1:
            return [BLACK, WHITE]
    found: list[tuple[int, int, int]] = []
    for i in np.argsort(-counts, kind='stable'):
        if len(found) == maximum or (counts[i] < MIN_COLOUR_SHARE * len(pixels) and len(found) > 1):
            break
        middle = np.minimum(bins[i] * 8 + 4, 255)
        if all(np.linalg.norm(middle - np.array(other)) >= MIN_COLOUR_DISTANCE for other in found):
            found.append(_commonest(pixels[index == i]))
    if len(found) == 1:  # pictures of one colour
        found.append(BLACK[1] if sum(found[0]) > 384 else WHITE[1])
    return [('', colour) for colour in found]


def _commonest(pixels: np.ndarray) -> tuple[int, int, int]:
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    red, green, blue = map(int, colours[counts.argmax()])
    return red, green, blue


def hexadecimal(rgb: Iterable[int]) -> str:
    """Returns '#rrggbb'."""
    return '#' + ''.join(f'{value:02x}' for value in rgb)


def blank(size: tuple[int, int], rgb: tuple[int, int, int]) -> np.ndarray:
    """Returns a picture (height, width, 3) of one colour."""
    return np.full((*size, 3), rgb, np.uint8)


# ---------------------------------------------------------------- the canvas


def brush_size(size: tuple[int, int], colours: list[Colour]) -> int:
    """Returns the diameter of the brush at first, in pixels: thin for line art."""
    is_line_art = {WHITE, BLACK} == set(colours)
    return max(1, min(size) // (32 if is_line_art else 16))


def canvas_html(size: tuple[int, int], colours: list[Colour]) -> str:
    """Returns the HTML of the canvas, its tools and colours; canvas.js makes them work."""
    (_, paper), (_, ink), *_ = colours
    height, width = size
    swatches = ''.join(_swatch(*colour, pressed=colour[1] == ink) for colour in colours)
    named = all(name for name, _ in colours)
    brush = brush_size(size, colours)
    picker = '' if named else '<input type="color" title="another colour">'
    return f"""
<div class="board">
<canvas width="{width}" height="{height}" data-width="{width}" data-height="{height}"
 data-paper="{hexadecimal(paper)}" data-brush="{hexadecimal(ink)}" tabindex="0" role="application"
 aria-label="drawing: arrow keys move, Space puts the brush down and up, Ctrl+Z undoes"></canvas>
<span class="cursor" hidden></span>
</div>
<div class="tools">
<button data-tool="pen" aria-pressed="true">Pen</button>
<button data-tool="box" aria-pressed="false">Box</button>
<label>size <input type="range" min="1" max="{max(8, min(size) // 4)}" value="{brush}"></label>
<button data-do="undo">Undo</button>
<button data-do="clear">Clear</button>
</div>
<div class="tools">{swatches}{picker}</div>
"""


def _swatch(name: str, rgb: tuple[int, int, int], pressed: bool) -> str:
    code, is_pressed, name = hexadecimal(rgb), str(pressed).lower(), html.escape(name)
    return (
        f'<button data-colour="{code}" aria-pressed="{is_pressed}" title="{name or code}" '
        f'aria-label="{name or code}"><span class="swatch"></span>{name}</button>'
    )


# ---------------------------------------------------------------- pictures in and out


def to_url(picture: np.ndarray) -> str:
    """Returns a picture as text, the address of an image that a browser shows: a PNG in base64."""
    return URL + base64.b64encode(atomic.encode_png(picture)).decode()


def from_url(url: str, max_pixels: int) -> np.ndarray:
    """Returns the picture of what a browser's canvas gives; the inverse of `to_url`.

    Raises DataError for any other text, and for more pixels than allowed.
    """
    if not isinstance(url, str) or not url.startswith(URL) or len(url) > MAX_URL_LENGTH:
        raise DataError('the drawing is no PNG of a canvas')
    try:
        data = base64.b64decode(url[len(URL) :], validate=True)
    except binascii.Error as error:
        raise DataError('the drawing is no PNG of a canvas') from error
    return read_picture(LazyFile('the drawing', lambda: data), max_pixels=max_pixels)


def read_picture(file: File, ranges: Sequence = (), max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Returns the image of a file as a picture: any that a run's data may have, of any depth.

    `ranges` are those of the run's inputs. Raises DataError, naming the file, for what is none, or
    has more pixels than allowed; only its header is read to know.
    """
    check_pixels(file, max_pixels)
    spec = image_spec.ImageSpec('input', 3, tuple(ranges))
    values = image_spec.combine(spec, [decode.read_pixels(file)], [file])
    return augment.from_float(augment.to_float(values))


def check_pixels(file: File, maximum: int) -> None:
    """Raises DataError, naming the file, where it has more pixels; only its header is read."""
    height, width = decode.size_of(file)
    if height * width > maximum:
        raise DataError(
            f'{file} has {width}x{height} pixels: allowed are at most {maximum:,} in all here; '
            'python -m pix2pix_jax.translate --tile=-1 takes larger ones'
        )


def fitted(picture: np.ndarray, size: tuple[int, int], resample: str = 'bicubic') -> np.ndarray:
    """Returns an upload as large as it is, or scaled down to the training's scale.

    Its proportions stay: the shorter side becomes the shorter one of `size`, (height, width), if it
    is larger. Raises DataError for one that is still too long.
    """
    height, width = picture.shape[:2]
    factor = min(1, min(size) / min(height, width))
    if max(height, width) > MAX_ASPECT_RATIO * max(min(height, width), min(size)):
        raise DataError(
            f'the picture is {width}x{height}: allowed here is a longer side of at most '
            f'{MAX_ASPECT_RATIO} times the shorter'
        )
    if factor == 1:
        return picture
    target = (round(height * factor), round(width * factor))
    return image_grid.to_rgb(augment.resized(augment.to_float(picture), target, resample))


def uploaded(file: File, config: Config) -> np.ndarray:
    """Returns the image of a user's file as a picture for the canvas; raises DataError.

    It is scaled down where it is larger; where images keep their scale its middle is cut out.
    """
    size, spec = canvas_size(config), image_spec.of_config(config)[0]
    if spec.classes:
        check_pixels(file, MAX_PIXELS)
        picture = class_brushes.read(file, spec)
    else:
        picture = read_picture(file, spec.ranges)
    if keeps_scale(config):
        return tiling.crop(picture, tuple(map(min, picture.shape[:2], size)))
    return fitted(picture, size, resize_of(config))


def keeps_scale(config: Config) -> bool:
    """Whether the images of a run are not scaled, but cut out: as in training, or for its task."""
    return tasks.scaled_as(config) in ('', *decode.OWN_SIZE)


def resize_of(config: Config) -> str:
    """Returns how inputs are resized: 'bicubic' or 'nearest', as those of classes are."""
    return 'nearest' if image_spec.of_config(config)[0].classes else config.dataset.resize


def as_input(picture: np.ndarray, config: Config) -> np.ndarray:
    """Returns a picture as an image of the run's inputs, in their value range."""
    spec = image_spec.of_config(config)[0]
    if spec.classes:
        return class_brushes.to_indices(picture, spec)
    ranges = spec.ranges
    if not ranges:
        return picture
    return image_spec.to_type(augment.to_float(picture), np.dtype(np.float32), ranges[0])
