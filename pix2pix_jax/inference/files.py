"""Files in, files out: what the command translate does, once its flags are read."""

import dataclasses
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tqdm
from etils import epath

from pix2pix_jax.data import augment, class_maps, image_spec, patterns
from pix2pix_jax.data.formats import encode
from pix2pix_jax.data.formats.decode import palette_of
from pix2pix_jax.data.formats.pixels import File
from pix2pix_jax.errors import DATA_ERROR, DataError, UserError
from pix2pix_jax.inference import tiling
from pix2pix_jax.inference.inputs import Input, find_inputs, find_paths, is_list
from pix2pix_jax.inference.options import TranslateOptions
from pix2pix_jax.inference.pattern_inputs import by_patterns
from pix2pix_jax.inference.run_splits import open_run_splits
from pix2pix_jax.reports import image_grid, translation_page
from pix2pix_jax.reports.translation_page import Item
from pix2pix_jax.storage import atomic
from pix2pix_jax.workdir import run_files
from pix2pix_jax.workdir.config_json import load_config

if TYPE_CHECKING:  # takes seconds, which a mistake in the flags need not wait for
    from pix2pix_jax.inference.translator import Loaded, Translator


class TranslationJob(NamedTuple):
    """What is translated, and where to."""

    places: Sequence[str]  # images, folders or patterns: one for each input of the run
    output: str  # folder
    samples: int = 1  # translations of each image, with different dropout
    overwrite: bool = False  # write into a folder that holds files
    split: str = ''  # in place of images, the inputs of this split of the run's data


class Written(NamedTuple):
    """The rows of the gallery, the number of images that failed, and the rate of the others."""

    rows: list[tuple[str, list[Item]]]
    failed: int
    images_per_s: float  # but for the first batch, which compiles


def translate_files(
    workdir: str, checkpoint: str, options: TranslateOptions, job: TranslationJob
) -> int:
    """Translates files with a run, writes OUTPUT/index.html, and says on stdout what was done.

    Args:
      workdir: folder of the run.
      checkpoint: 'last', 'best' or a step.
      options: how the run translates.
      job: what is translated, and where to.

    Returns:
      The exit status: 1 where an image could not be read, whose line is on stderr, else 0.

    Raises:
      UserError: where there is no such run, a value is not allowed, or the output would touch what
        is there.
      DataError: where the inputs are not one for each name.
    """
    inputs = inputs_of(workdir, job)
    check_output(job, inputs)
    from pix2pix_jax.distributed import memory
    from pix2pix_jax.inference.translator import Translator
    from pix2pix_jax.runtime import prepare_process

    prepare_process()
    translator = Translator(workdir, checkpoint, **dataclasses.asdict(options))
    if job.samples > 1 and not translator.has_dropout:
        raise UserError(
            f'--samples={job.samples}: allowed is 1 without dropout, which makes samples differ'
        )
    _print_choices(translator)
    allowed = 'allowed are --tile=SIZE, which takes parts of large images, and a smaller --batch'
    with memory.one_line('a translation', allowed):
        written = translate_all(translator, inputs, job.output, job.samples)
    if written.rows:
        title = f'{os.path.basename(os.path.abspath(workdir))}, step {translator.step:,}'
        translation_page.write_page(job.output, title, written.rows)
    rate = f', {written.images_per_s:.3g} images/s' if written.images_per_s else ''
    print(f'{len(written.rows)} of {len(inputs)} images translated into {job.output}{rate}')
    if written.rows:
        print(f'{job.output}/index.html')
    return DATA_ERROR if written.failed else 0


def inputs_of(workdir: str, job: TranslationJob) -> list[Input]:
    """Returns what is translated; raises UserError or DataError as `translate_files`."""
    if job.split:
        hint = '--input=DIR translates those of a folder'
        splits = open_run_splits(workdir, load_config(workdir), job.split, hint=hint)
        source = splits[job.split]
        return [
            Input(name, source.input_files(i), (source, i)) for i, name in enumerate(source.names)
        ]
    config = load_config(workdir) if run_files.exists(workdir, 'config.json') else None
    wanted = patterns.of_config(config) if config else ()
    if config and wanted and not is_list(job.places[0]) and len(job.places) in (1, len(wanted) - 1):
        mask = patterns.mask_of_config(config)
        named = by_patterns(list(map(find_paths, job.places)), wanted, mask)
        if named:
            return named
        texts = config.dataset.input_pattern
        print(f'no image matches {texts}, as the inputs of the run do: all are taken', flush=True)
    return find_inputs(job.places)


def _print_choices(translator: 'Translator') -> None:
    """Says what the user left open, and what tiles do to the norms."""
    options, config = translator.options, translator.config
    if options.fit == 'auto':
        print(f'--fit=auto: {translator.about_fit}', flush=True)
    if translator.target_scale != 1:
        times = f'{translator.target_scale:.4g} times as wide and high as their inputs'
        print(f'translations are {times}, as the targets of the run (dataset.target_scale)')
    norm = options.norm or config.test.norm
    if options.tile and norm == 'image' and config.generator.norm != 'none':
        print('each tile is normalised by its own statistics; --norm=running has one for all')


def check_output(job: TranslationJob, inputs: Sequence[Input]) -> None:
    """Raises UserError where writing the translations of `inputs` would touch what is there."""
    output, folder = job.output, atomic.resolved(job.output)
    if folder.exists() and not folder.is_dir():
        raise UserError(f'--output={output} is a file: allowed is a folder')
    if folder.exists() and any(folder.iterdir()) and not job.overwrite:
        raise UserError(f'--output={output} holds files: give an empty folder or --overwrite')
    sources = [atomic.resolved(place) for place in job.places]
    inside = any(source.is_dir() and source in (folder, *folder.parents) for source in sources)
    # The files in folders where translations will lie, links followed or not.
    written = {(folder / one.name).parent for one in inputs}
    there = {
        place.parent
        for one in inputs
        for file in one.files
        if isinstance(file, epath.Path)
        for place in (atomic.resolved(file), atomic.resolved(file.parent) / file.name)
    }
    if inside or written & there:
        raise UserError(f'--output={output} holds the inputs: give another folder')


def translate_all(
    translator: 'Translator', inputs: Sequence[Input], output: epath.PathLike, samples: int = 1
) -> Written:
    """Writes `output`/NAME.EXT for every input, of its size, and as far as can be of its format.

    With more `samples` they are NAME_sK.EXT, K from 0, and NAME_std.png is their standard
    deviation, the root of its mean square over channels: 0 is black, the whole range's half white.

    Args:
      translator: the run; its option `batch` says how many images go through it together.
      inputs: the images. Those that cannot be read are named on stderr.
      output: the folder.
      samples: translations of each image, with different dropout.
    """
    output, batch = epath.Path(output), translator.options.batch
    rows: list[tuple[str, list[Item]]] = []
    done, failed, seconds = 0, 0, 0.0
    with tqdm.tqdm(total=len(inputs), disable=not sys.stderr.isatty(), unit='image') as bar:
        for group in tiling.groups(inputs, batch):
            begin = time.monotonic()
            images = _load(translator, group)
            failed += len(group) - len(images)
            if images:
                rows += _translate_group(translator, images, output, samples)
            if done or not rows:
                seconds += time.monotonic() - begin
            done += len(images)
            bar.update(len(group))
    first = min(batch, done)
    return Written(rows, failed, (done - first) / seconds if seconds else 0.0)


def _load(translator: 'Translator', group: Sequence[Input]) -> list[tuple[Input, 'Loaded']]:
    """The inputs that can be read, each with what was read; the others are named on stderr."""
    images = []
    for one in group:
        try:
            loaded = translator.load_pair(*one.pair) if one.pair else translator.load(*one.files)
            images.append((one, loaded))
        except DataError as error:
            tqdm.tqdm.write(f'error: {error}', file=sys.stderr)
    return images


def _translate_group(
    translator: 'Translator',
    images: Sequence[tuple[Input, 'Loaded']],
    output: epath.Path,
    samples: int,
) -> list[tuple[str, list[Item]]]:
    """Writes the translations of images that go through the network together; their rows."""
    rows = [(one.name, [_shown_input(translator, output, one, x)]) for one, x in images]
    spreads = [_Spread() for _ in images]
    for sample in range(samples):
        suffix = f'_s{sample}' if samples > 1 else ''
        translated = translator.translate([loaded for _, loaded in images], sample)
        for (one, loaded), (_, items), spread, image in zip(images, rows, spreads, translated):
            file = f'{one.name}{suffix}'
            items.append(_write(translator, output, file, suffix[1:] or 'output', loaded, image))
            if samples > 1:
                spread.add(image)
    if samples > 1:
        for (name, items), spread in zip(rows, spreads):
            items.append(_write_spread(output, name, spread))
    return rows


class _Spread:
    """The standard deviation of images that come one after the other, in memory for three."""

    def __init__(self) -> None:
        self._count = 0
        self._mean: np.ndarray | float = 0.0
        self._squares: np.ndarray | float = 0.0

    def add(self, image: np.ndarray) -> None:
        self._count += 1
        change = image - self._mean
        self._mean = self._mean + change / self._count
        self._squares = self._squares + change * (image - self._mean)

    def deviation(self) -> np.ndarray:
        """Returns (H,W,1), the root of the mean square over channels; at most 1 on [-1, 1]."""
        return np.sqrt(np.asarray(self._squares / self._count).mean(-1, keepdims=True))


def _write(
    translator: 'Translator',
    output: epath.Path,
    name: str,
    caption: str,
    loaded: 'Loaded',
    image: np.ndarray,
) -> Item:
    """Writes one translation as NAME.EXT; returns what the gallery shows of it."""
    extension, values = translator.to_file_values(loaded, image)
    _, target_spec = image_spec.of_config(translator.config)
    if target_spec.classes:
        palette = class_maps.colours(target_spec.classes, target_spec.colours)
        about = translator.metadata_of(loaded, values)
        data = encode.encode_indices(values[..., 0], palette, about)
        atomic.write_bytes(output / f'{name}{extension}', data)
        picture = image_grid.white_elsewhere(class_maps.coloured(image, palette), loaded.valid)
        thumbnail = translation_page.write_thumbnail(output, f'{name}_output', picture)
        return Item(caption, f'{name}{extension}', thumbnail)
    if extension == loaded.extension.lower():
        extension = loaded.extension  # .PNG stays .PNG
    file = f'{name}{extension}'
    data = encode.encode(values, extension.lower(), translator.metadata_of(loaded, values))
    atomic.write_bytes(output / file, data)
    shown = image_grid.narrow(image, loaded.valid, translator.has_units)
    shaded = image_grid.white_elsewhere(image_grid.stretched(image, shown), loaded.valid)
    thumbnail = translation_page.write_thumbnail(output, f'{name}_output', shaded)
    return Item(caption + image_grid.in_units(shown, translator.range_of(loaded)), file, thumbnail)


def _write_spread(output: epath.Path, name: str, spread: _Spread) -> Item:
    """Writes the standard deviation as NAME_std.png; returns what the gallery shows of it."""
    shown = spread.deviation() * 2 - 1
    atomic.write_bytes(output / f'{name}_std.png', atomic.encode_png(augment.from_float(shown)))
    thumbnail = translation_page.write_thumbnail(output, f'{name}_std', shown)
    return Item('standard deviation', f'{name}_std.png', thumbnail)


def _shown_input(
    translator: 'Translator', output: epath.Path, one: Input, loaded: 'Loaded'
) -> Item:
    """Writes the thumbnail of an input; returns what the gallery shows of it."""
    size = translation_page.size_within(loaded.values)  # a large input is not scaled whole
    values = augment.resized(loaded.values, size, 'nearest')
    image = translator.floats(values)
    if translator.config.dataset.input_classes:
        spec, _ = image_spec.of_config(translator.config)
        palette = palette_of(one.files[0]) if spec.colours is None else spec.colours
        image = class_maps.coloured(image, palette)
    elif len(one.files) > 1:  # the first of them
        image = image[..., : loaded.shown]
    caption, image = f'input{image_grid.about_itself(image)}', image_grid.by_itself(image)
    if loaded.valid is not None:
        valid = augment.resized(loaded.valid.astype(np.uint8), size, 'nearest')
        image = image_grid.white_elsewhere(image, valid)
    thumbnail = translation_page.write_thumbnail(output, f'{one.name}_input', image)
    return Item(caption, _link(one.files[0], output), thumbnail)


def _link(path: File, output: epath.Path) -> str:
    """The way from the page to an input file; on another drive or in a bucket its address."""
    if not isinstance(path, epath.Path):  # of an archive
        return str(path)
    if not (atomic.is_local(path) and atomic.is_local(output)):
        return os.fspath(path)
    return os.path.relpath(path, output)
