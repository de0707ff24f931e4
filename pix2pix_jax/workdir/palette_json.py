"""palette.json of a packed run: the colours to draw its inputs with, where its data is not."""

import json
from collections.abc import Sequence

from etils import epath

from pix2pix_jax.errors import DataError
from pix2pix_jax.workdir import run_files

FILE = 'palette.json'
Colour = tuple[str, tuple[int, int, int]]  # its name, '' for none; RGB
MAX_COLOURS = 256  # a class each, and none


def load_palette(workdir: epath.PathLike) -> list[Colour]:
    """Returns the colours that a run keeps, [] where it has no such file; raises DataError."""
    data = run_files.read(workdir, FILE)
    if data is None:
        return []
    try:
        colours = [(name, tuple(rgb)) for name, rgb in json.loads(data)]
        if not 2 <= len(colours) <= MAX_COLOURS or not all(map(_is_colour, colours)):
            raise ValueError(f'needed are 2 to {MAX_COLOURS} of [name, [red, green, blue]]')
    except (ValueError, TypeError, RecursionError) as error:
        path = epath.Path(workdir) / FILE
        raise DataError(f'{path} is damaged ({error!r:.200})') from error
    return colours


def _is_colour(colour: tuple) -> bool:
    name, rgb = colour
    levels = all(type(level) is int and 0 <= level <= 255 for level in rgb)
    return isinstance(name, str) and len(name) <= 99 and len(rgb) == 3 and levels


def to_json(colours: Sequence[Colour]) -> str:
    """Returns palette.json, which `load_palette` reads."""
    return json.dumps([[name, list(rgb)] for name, rgb in colours]) + '\n'
