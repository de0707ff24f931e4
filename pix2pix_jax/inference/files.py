"""Files in, files out: what the command translate does, once its flags are read."""

import dataclasses
import functools
import itertools
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tqdm
from etils import epath

from pix2pix_jax.data import augment, patterns
from pix2pix_jax.data.formats import encode
from pix2pix_jax.data.formats.pixels import File
from pix2pix_jax.data.image_spec import ImageSpec
from pix2pix_jax.errors import DATA_ERROR, DataError, UserError
from pix2pix_jax.inference import gallery, input_checks, scenes, tiling
from pix2pix_jax.inference.inputs import Input, find_inputs, find_paths, is_list, of_split
from pix2pix_jax.inference.options import TranslateOptions
from pix2pix_jax.inference.pattern_inputs import by_patterns
from pix2pix_jax.inference.run_splits import open_run_splits
from pix2pix_jax.inference.spread import Spread
from pix2pix_jax.reports import translation_page
from pix2pix_jax.reports.translation_page import Item
from pix2pix_jax.storage import atomic
from pix2pix_jax.workdir import data_json, run_files
from pix2pix_jax.workdir.config_json import load_config

if TYPE_CHECKING:  # takes seconds, which a mistake in the flags need not wait for
    from pix2pix_jax.inference.translator import Loaded, Translator


class TranslationJob(NamedTuple):
    """What is translated, and where to."""

    places: Sequence[str]  # images, folders or patterns: one for each input of the run
    output: str  # folder
    samples: int = 1  # translations of each image, of different dropout or noise
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
    atomic.remove_temporaries(job.output)  # of a command that was killed
    translator = Translator(workdir, checkpoint, **dataclasses.asdict(options))
    if job.samples > 1 and not translator.has_samples:
        raise UserError(
            f'--samples={job.samples}: allowed is 1 without dropout, which makes samples differ'
        )
    spec = _spec_of(translator, job, inputs)
    _print_choices(translator)
    found = data_json.recorded(workdir)
    for line in input_checks.warnings_for(inputs, spec, translator.config, found):
        print(f'warning: {line}', flush=True)
    allowed = 'allowed are --tile=-1, which takes parts of large images, and a smaller --batch'
    with memory.one_line('a translation', allowed):
        written = translate_all(translator, inputs, job.output, job.samples)
    if written.rows:
        title = f'{os.path.basename(os.path.abspath(workdir))}, step {translator.step:,}'
        translation_page.write_page(job.output, title, written.rows)
    scenes.remove_scratch(job.output, inputs, job.samples)
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
        return of_split(splits[job.split])
    config = load_config(workdir) if run_files.exists(workdir, 'config.json') else None
    wanted = patterns.of_config(config) if config else ()
    if config and wanted and not is_list(job.places[0]) and len(job.places) in (1, len(wanted) - 1):
        mask = patterns.mask_of_config(config)
        named = by_patterns(list(map(find_paths, job.places)), wanted, mask)
        if named:
            return named
        texts = config.dataset.input_pattern
        print(f'no image matches {texts}, as the inputs of the run do: all are taken', flush=True)
    return find_inputs(job.places, config.dataset.mask if config else '')


def _print_choices(translator: 'Translator') -> None:
    """Says what the user left open, and what tiles cost."""
    if translator.options.fit == 'auto':
        print(f'--fit=auto: {translator.about_fit}', flush=True)
    if translator.target_scale != 1:
        times = f'{translator.target_scale:.4g} times as wide and high as their inputs'
        print(f'translations are {times}, as the targets of the run (dataset.target_scale)')
    for line in translator.about_tiles:
        print(line, flush=True)


def _spec_of(translator: 'Translator', job: TranslationJob, inputs: Sequence[Input]) -> ImageSpec:
    """Returns how the inputs are read; raises UserError where a translation takes more, or less."""
    try:
        return translator.input_spec(inputs[0].files)
    except DataError as error:
        several = '; give a folder for each, with commas between'
        several *= translator.config.dataset.inputs > 1
        raise UserError(f'--input={",".join(job.places)}: {error}{several}') from error


def check_output(job: TranslationJob, inputs: Sequence[Input]) -> None:
    """Raises UserError where writing the translations of `inputs` would touch what is there."""
    output, folder = job.output, atomic.resolved(job.output)
    if folder.exists() and not folder.is_dir():
        raise UserError(f'--output={output} is a file: allowed is a folder')
    if (
        folder.exists()
        and any(folder.iterdir())
        and not (job.overwrite or scenes.has_scratch(folder, inputs, job.samples))
    ):
        raise UserError(f'--output={output} holds files: give an empty folder or --overwrite')
    sources = [atomic.resolved(place) for place in job.places]
    inside = any(source.is_dir() and source in (folder, *folder.parents) for source in sources)
    written = {(folder / one.name).parent for one in inputs}
    resolved = functools.cache(atomic.resolved)

    def is_written(file: File) -> bool:
        """Whether translations come into the folder of a file, links followed or not."""
        if not isinstance(file, epath.Path):
            return False
        is_link = os.path.islink(file)
        return resolved(file.parent) in written or is_link and resolved(file).parent in written

    if inside or any(is_written(file) for one in inputs for file in one.files):
        raise UserError(f'--output={output} holds the inputs: give another folder')
    touched = (file for one in inputs for file in one.beside if is_written(file))
    if any(file.exists() for file in touched):  # no mere names
        raise UserError(
            f'--output={output} holds targets or masks of the inputs: give another folder'
        )


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
      samples: translations of each image, of different dropout or noise.
    """
    output, batch = epath.Path(output), translator.options.batch
    rows: list[tuple[str, list[Item]]] = []
    done, failed, seconds = 0, 0, 0.0
    local = atomic.is_local(output)  # rows are added to files there
    by_windows = itertools.groupby(inputs, lambda one: local and scenes.is_scene(translator, one))
    parts = ((kind, part) for kind, some in by_windows for part in tiling.groups(some, batch))
    with tqdm.tqdm(total=len(inputs), disable=not sys.stderr.isatty(), unit='image') as bar:
        for are_scenes, group in parts:
            begin, translate = time.monotonic(), _translate_scenes if are_scenes else _translate
            found = translate(translator, group, output, samples)
            rows += found
            failed += len(group) - len(found)
            if done or not rows:
                seconds += time.monotonic() - begin
            done += len(found)
            bar.update(len(group))
    first = min(batch, done)
    return Written(rows, failed, (done - first) / seconds if seconds else 0.0)


def _translate_scenes(
    translator: 'Translator', group: Sequence[Input], output: epath.Path, samples: int
) -> list[tuple[str, list[Item]]]:
    """The rows of the scenes that can be read; the others are named on stderr."""
    rows = []
    for one in group:
        try:
            rows.append(scenes.translate(translator, one, output, samples))
        except DataError as error:
            tqdm.tqdm.write(f'error: {error}', file=sys.stderr)
    return rows


def _translate(
    translator: 'Translator', group: Sequence[Input], output: epath.Path, samples: int
) -> list[tuple[str, list[Item]]]:
    """The rows of the images that can be read; the others are named on stderr."""
    images = _load(translator, group)
    return _translate_group(translator, images, output, samples) if images else []


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
    rows = [(one.name, [gallery.of_input(translator, output, one, x)]) for one, x in images]
    for one, loaded in images:
        scenes.say_windows(translator, one.name, translator.count_scene_windows(loaded))
    spreads = [Spread() for _ in images]
    for sample, suffix in enumerate(scenes.suffixes(samples)):
        translated = translator.translate([loaded for _, loaded in images], sample)
        for (one, loaded), (_, items), spread, image in zip(images, rows, spreads, translated):
            file = f'{one.name}{suffix}'
            items.append(_write(translator, output, file, suffix[1:] or 'output', loaded, image))
            if samples > 1:
                spread.add(image)
    if samples > 1:
        for (name, items), (_, loaded), spread in zip(rows, images, spreads):
            items.append(_write_spread(output, name, loaded, spread))
    return rows


def _write(
    translator: 'Translator',
    output: epath.Path,
    name: str,
    caption: str,
    loaded: 'Loaded',
    image: np.ndarray,
) -> Item:
    """Writes one translation as NAME.EXT; returns what the gallery shows of it."""
    extension, values = translator.outputs.to_values(loaded, image)
    about, palette = (
        translator.outputs.metadata_of(loaded, values),
        gallery.output_palette(translator),
    )
    if palette is not None:
        data = encode.encode_indices(values[..., 0], palette, about)
    else:
        data = encode.encode(values, extension, about)
        if extension == loaded.extension.lower():
            extension = loaded.extension  # .PNG stays .PNG
    atomic.write_bytes(output / f'{name}{extension}', data)
    item = Item(caption, f'{name}{extension}', f'{name}_output')
    return gallery.of_output(translator, output, item, loaded, image)


def _write_spread(output: epath.Path, name: str, loaded: 'Loaded', spread: Spread) -> Item:
    """Writes the standard deviation as NAME_std.png; returns what the gallery shows of it.

    It is 0 where there is no data: the files of the samples are equal there.
    """
    deviation = spread.deviation()
    if loaded.missing is not None:
        deviation = np.where(loaded.missing, 0, deviation)
    shown = deviation * 2 - 1
    atomic.write_bytes(output / f'{name}_std.png', atomic.encode_png(augment.from_float(shown)))
    thumbnail = translation_page.write_thumbnail(output, f'{name}_std', shown)
    return Item('standard deviation', f'{name}_std.png', thumbnail)
