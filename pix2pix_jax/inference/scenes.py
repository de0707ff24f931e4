"""Scenes: images that are read, translated and written by windows, with little of them in memory.

What is finished lies in a scratch file beside the output, so that a kill costs one row of tiles.
"""

import contextlib
import functools
import math
import os
import pathlib
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tqdm
from etils import epath
from flax.serialization import msgpack_restore, msgpack_serialize

from pix2pix_jax.data import augment
from pix2pix_jax.data.formats import decode, encode, metadata, windows
from pix2pix_jax.data.formats.pixels import File
from pix2pix_jax.errors import DataError
from pix2pix_jax.inference import gallery
from pix2pix_jax.inference.inputs import Input
from pix2pix_jax.inference.scene import Scene
from pix2pix_jax.inference.spread import Spread
from pix2pix_jax.reports import translation_page
from pix2pix_jax.reports.progress import duration
from pix2pix_jax.reports.translation_page import Item
from pix2pix_jax.storage import atomic
from pix2pix_jax.storage.scratch import Scratch, is_scratch

if TYPE_CHECKING:  # takes seconds
    from pix2pix_jax.inference import generator
    from pix2pix_jax.inference.translator import Loaded, Translator

SCRATCH = '.rows'  # the ending of scratch files, whose names begin with a dot
ROWS = 16  # that become values of a file at once: floats take several times as much
SAID = 60  # seconds between two lines about progress where there is no terminal


def is_scene(translator: 'Translator', one: Input) -> bool:
    """Whether an input is translated by windows: in tiles, of files that can be read so.

    Class indices stay PNGs with their palette, as long as these can hold them.
    """
    if not translator.options.tile or one.pair:
        return False
    has_classes = gallery.output_palette(translator) is not None
    try:
        cheap = all(map(windows.are_cheap, one.files))
        return cheap and not (has_classes and _fits_png(one.files[0]))
    except DataError:  # it is said where it is read
        return False


def _fits_png(file: File) -> bool:
    return math.prod(decode.size_of(file)) <= decode.MAX_PIXELS


def translate(
    translator: 'Translator', one: Input, output: epath.Path, samples: int
) -> tuple[str, list[Item]]:
    """Translates a scene from file to file; returns its row of the page.

    It continues where the same command stopped. Raises DataError for what cannot be read.

    Args:
      translator: the run.
      one: the scene.
      output: the folder of the translations.
      samples: translations of it, with different dropout.
    """
    scene = Scene.open(translator, one)
    files = [
        _translate_sample(scene, output, f'{one.name}{suffix}', sample)
        for sample, suffix in enumerate(suffixes(samples))
    ]
    small = _small(scene)
    items = [gallery.of_input(translator, output, one, small)]
    for suffix, file in zip(suffixes(samples), files):
        shown = f'{one.name}{suffix}_output'
        item = Item(suffix[1:] or 'output', os.path.relpath(file, output), shown)
        image = _sampled(scene, functools.partial(_to_floats, scene, file))
        items.append(gallery.of_output(translator, output, item, small, image))
    if samples > 1:
        items.append(_write_spread(scene, output, files))
    return one.name, items


def say_windows(translator: 'Translator', name: str, count: int) -> None:
    """Says of how many windows the statistics of the norms are, where there are any."""
    if count:
        height, width = translator.config.image_size
        said = f'statistics of the norms from {count:,} windows of {width}x{height}'
        tqdm.tqdm.write(f'{name}: {said}')


def suffixes(samples: int) -> list[str]:
    """Returns what the names of an input's translations have after its own, sample by sample."""
    return [f'_s{sample}' for sample in range(samples)] if samples > 1 else ['']


def has_scratch(folder: epath.PathLike, inputs: Iterable[Input], samples: int) -> bool:
    """Whether a folder holds what was begun of translations of these inputs."""
    return any(True for _ in _scratch_files(folder, inputs, samples))


def remove_scratch(folder: epath.PathLike, inputs: Iterable[Input], samples: int) -> None:
    """Removes the scratch files of these inputs in a folder, once all of a command is done."""
    for path in _scratch_files(folder, inputs, samples):
        path.unlink(missing_ok=True)


def _scratch_files(
    folder: epath.PathLike, inputs: Iterable[Input], samples: int
) -> Iterator[pathlib.Path]:
    if not atomic.is_local(folder):
        return
    names = (f'{one.name}{suffix}' for one in inputs for suffix in suffixes(samples))
    wanted = {pathlib.Path(folder, name) for name in names}
    for path in pathlib.Path(folder).rglob(f'.*{SCRATCH}'):
        file = path.with_name(path.name.removeprefix('.').removesuffix(SCRATCH))
        if file.with_suffix('') in wanted and is_scratch(path):
            yield path


# ---------------------------------------------------------------- one sample


def _translate_sample(scene: Scene, output: epath.Path, name: str, sample: int) -> pathlib.Path:
    """Writes one translation; returns its file."""
    translator = scene.translator
    extension, dtype = translator.outputs.type_of(scene.template)
    channels = translator.outputs.channels
    if gallery.output_palette(translator) is not None:
        extension, dtype, channels = '.tif', np.dtype(np.uint8), 1
    if extension == scene.template.extension.lower():
        extension = scene.template.extension  # .TIF stays .TIF
    file = pathlib.Path(output) / f'{name}{extension}'
    shape = (*scene.size, channels)
    with contextlib.closing(
        Scratch(file.with_name(f'.{file.name}{SCRATCH}'), shape, dtype)
    ) as scratch:
        made_of = {'input': _versions(scene.one.files), **translator.made_of, 'sample': sample}
        remark = scratch.start(made_of, file)
        if remark:
            print(f'{file}: {remark}: it starts anew', flush=True)
        if scratch.rows and not scratch.used:
            print(f'{file}: continues after {scratch.rows:,} of {shape[0]:,} rows', flush=True)
        if not scratch.used:
            _compute(scene, scratch, sample, name)
            _write(scene, scratch, file)
            scratch.finish()
    return file


def _write(scene: Scene, scratch: Scratch, file: pathlib.Path) -> None:
    """Writes a translation of which all rows are finished."""
    image = np.broadcast_to(np.zeros((), scratch.dtype), scratch.shape)
    known = scene.translator.outputs.metadata_of(scene.template, image)
    with (
        _progress(f'writing {file.name}', 0, scratch.shape[0]) as advance,
        atomic.replacing(file) as stream,
    ):

        def read(top: int, bottom: int) -> np.ndarray:
            advance(top)
            return scratch.read(top, bottom)

        extension = file.suffix.lower()
        encode.write_by_rows(stream, extension, read, scratch.shape, scratch.dtype, known)


def _versions(files: Sequence[File]) -> list[list]:
    """Returns name, length and time of change of files."""
    stats = ((os.path.abspath(file), os.stat(file)) for file in map(os.fspath, files))
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]


def _compute(scene: Scene, scratch: Scratch, sample: int, name: str) -> None:
    """Adds the rows that are not finished."""
    if scratch.rows == scene.size[0]:
        return
    given = scene.read, scene.size, sample, _statistics(scene, scratch, sample, name)
    with _progress(name, scratch.rows, scene.size[0]) as advance:
        for top, rows in scene.translator.rows(*given, scratch.rows):
            _append(scene, scratch, top, rows)
            advance(scratch.rows)
            del rows  # half a gigabyte, before the next are made


def _statistics(
    scene: Scene, scratch: Scratch, sample: int, name: str
) -> 'generator.Statistics | None':
    """Returns the statistics of the norms, if any; once found they lie in the scratch file."""
    if not scratch.constants and scene.windows:
        say_windows(scene.translator, name, len(scene.windows))
        with _progress(f'statistics of {name}', 0, len(scene.windows), 'window') as advance:
            given = scene.read, scene.size, sample, _counted(scene.windows, advance)
            scratch.keep(msgpack_serialize(scene.translator.scene_statistics(*given)))
    return msgpack_restore(scratch.constants) if scratch.constants else None


def _counted(items: Iterable, advance: Any) -> Iterator:
    """Yields the items, and shows how many were taken before."""
    for number, item in enumerate(items):
        advance(number)
        yield item


def _append(scene: Scene, scratch: Scratch, top: int, rows: np.ndarray) -> None:
    """Adds what is new of finished rows, from `top` on."""
    for begin in range(max(top, scratch.rows), top + len(rows), ROWS):
        part = rows[begin - top : begin - top + ROWS]
        scratch.append(_file_values(scene, begin, part))


def _file_values(scene: Scene, top: int, image: np.ndarray) -> np.ndarray:
    """Returns rows of the translation, from `top` on, as they are in its file."""
    loaded = scene.template
    missing = None
    if loaded.nodata:
        missing = ~scene.valid(top, top + len(image), 0, scene.size[1])
    return scene.translator.outputs.to_values(loaded._replace(missing=missing), image)[1]


@contextlib.contextmanager
def _progress(name: str, start: int, total: int, unit: str = 'row') -> Iterator[Any]:
    """Gives what shows how many rows, or another unit, are finished, and the time left."""
    begin = said = time.monotonic()
    bar = tqdm.tqdm(
        desc=name, initial=start, total=total, unit=unit, leave=False,
        disable=not sys.stderr.isatty(),
    )  # fmt: skip

    def advance(done: int) -> None:
        nonlocal said
        now = time.monotonic()
        bar.update(done - bar.n)
        if bar.disable and done < total and now - said > SAID:
            left = duration((now - begin) / max(done - start, 1) * (total - done))
            print(f'{name}: {done:,} of {total:,} {unit}s, {left} left', flush=True)
            said = now

    with bar:
        yield advance


# ---------------------------------------------------------------- what the page shows


def _small(scene: Scene) -> 'Loaded':
    """Returns a small version of the input."""
    values = _sampled(scene, scene.shown)
    missing = ~_sampled(scene, scene.valid) if scene.template.nodata else None
    return scene.template._replace(values=values, size=values.shape[:2], missing=missing)


def _sampled(scene: Scene, read: Any) -> np.ndarray:
    """Returns some pixels of what is read by parts, evenly spaced, as large as a thumbnail."""
    height, width = scene.size
    factor = min(1.0, 2 * translation_page.SIDE / max(height, width))
    rows, columns = (
        (
            (np.arange(max(1, round(side * factor))) + 0.5) * side / max(1, round(side * factor))
        ).astype(int)
        for side in (height, width)
    )
    return np.concatenate([read(row, row + 1, 0, width)[:, columns] for row in map(int, rows)])


def _to_floats(scene: Scene, file: pathlib.Path, *box: int) -> np.ndarray:
    """Returns a part of a translation in its file as the network gave it, rounded."""
    top, bottom, left, right = box
    values = windows.read(epath.Path(file), (top, bottom, left, right), indices=True).values
    return scene.translator.outputs.from_values(scene.template, values)


def _write_spread(scene: Scene, output: epath.Path, files: Sequence[pathlib.Path]) -> Item:
    """Writes the standard deviation of samples, as their files have them, as NAME_std.tif."""

    def deviation(top: int, bottom: int, left: int = 0, right: int = scene.size[1]) -> np.ndarray:
        spread = Spread()
        for file in files:
            spread.add(_to_floats(scene, file, top, bottom, left, right))
        return spread.deviation() * 2 - 1

    name, shape = f'{scene.one.name}_std', (*scene.size, 1)
    file = pathlib.Path(output) / f'{name}.tif'

    def read(top: int, bottom: int) -> np.ndarray:
        return augment.from_float(deviation(top, bottom))

    about = metadata.of_translation(scene.about, scene.size, 1, '')
    with atomic.replacing(file) as stream:
        encode.write_by_rows(stream, '.tif', read, shape, np.dtype(np.uint8), about)
    thumbnail = translation_page.write_thumbnail(output, name, _sampled(scene, deviation))
    return Item('standard deviation', f'{name}.tif', thumbnail)
