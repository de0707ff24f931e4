"""Translates images without targets, of any size, with a trained run.

python -m pix2pix_jax.translate --workdir=runs/facades --input=labels/ --output=photos/

Names, sizes, formats and bit depths stay; OUTPUT/index.html shows what went in and came out.
"""

import functools
import glob
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tqdm
from absl import flags
from etils import epath

from pix2pix_jax.config_fields import FIELDS
from pix2pix_jax.data import augment, image_spec
from pix2pix_jax.data.folders import examples, image_files
from pix2pix_jax.data.formats import encode
from pix2pix_jax.data.formats.decode import palette_of
from pix2pix_jax.data.formats.pixels import EXTENSIONS
from pix2pix_jax.errors import DATA_ERROR, DataError, UserError, run_command
from pix2pix_jax.inference import tiling
from pix2pix_jax.reports import translation_page
from pix2pix_jax.storage import atomic

Named = tuple[str, tuple[epath.Path, ...]]  # path relative to what was given, no extension; files

SHARED = {'allow_override': True}  # other commands have flags of these names
WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of the run.', **SHARED)
INPUT = flags.DEFINE_string(
    'input',
    '',
    'An image, a folder of images, or a pattern; several of them with commas between for a run '
    'with several inputs for one output.',
    **SHARED,
)
OUTPUT = flags.DEFINE_string('output', '', 'Folder for the translations.', **SHARED)
CHECKPOINT = flags.DEFINE_string('checkpoint', 'last', 'last, best or a step.', **SHARED)
FIT = flags.DEFINE_enum(
    'fit',
    'auto',
    ['auto', 'pad', 'resize'],
    "Other sizes than the training's: as config.dataset.preprocess had it (auto); reflect the "
    "borders and cut them off again; or resize to the training's size and back.",
    **SHARED,
)
TILE = flags.DEFINE_integer(
    'tile', 0, 'Side of overlapping tiles, for large images; 0: whole images.', **SHARED
)
OVERLAP = flags.DEFINE_integer('overlap', 64, 'Pixels by which tiles overlap, at least.', **SHARED)
NORMS = ['', *FIELDS['test.norm'].allowed.words]
NORM = flags.DEFINE_enum(
    'norm', '', NORMS, 'Statistics of the norms; by default config.test.norm.', **SHARED
)
DROPOUT = flags.DEFINE_bool('dropout', None, 'By default config.test.dropout.', **SHARED)
EMA = flags.DEFINE_bool('ema', True, 'Averaged weights, where the run has any.', **SHARED)
SEED = flags.DEFINE_integer(
    'seed', None, 'Of the dropout mask; by default config.test.seed.', lower_bound=0, **SHARED
)
SAMPLES = flags.DEFINE_integer(
    'samples', 1, 'Translations of each image, with different dropout.', lower_bound=1, **SHARED
)
BATCH = flags.DEFINE_integer('batch', 1, 'Images, or tiles, at a time.', lower_bound=1, **SHARED)
OVERWRITE = flags.DEFINE_bool(
    'overwrite', False, 'Write into an --output that holds files.', **SHARED
)


class Written(NamedTuple):
    """What was done: the rows of the gallery, how many images failed, and the time of the rest."""

    rows: list[tuple[str, list[translation_page.Item]]]
    failed: int
    images_per_s: float  # but for the first batch, which compiles


def main() -> int:
    """Runs the command that the flags give; returns the exit status."""
    for flag in (WORKDIR, INPUT, OUTPUT):
        if not flag.value:
            raise UserError(f'--{flag.name} is missing: --workdir, --input and --output are needed')
    workdir, output = (os.path.expanduser(flag.value) for flag in (WORKDIR, OUTPUT))
    places = split_inputs(INPUT.value)
    inputs = find_inputs(places)
    check_output(output, OVERWRITE.value, places, inputs)
    from pix2pix_jax.inference.translator import Translator
    from pix2pix_jax.runtime import prepare_process

    prepare_process()
    translator = Translator(
        workdir,
        CHECKPOINT.value,
        fit=FIT.value,
        tile=TILE.value,
        overlap=OVERLAP.value if OVERLAP.present else min(OVERLAP.value, TILE.value // 4),
        norm=NORM.value,
        dropout=DROPOUT.value,
        seed=SEED.value,
        ema=EMA.value,
        batch=BATCH.value,
    )
    config = translator.config
    if SAMPLES.value > 1 and not translator.has_dropout:
        raise UserError(
            f'--samples={SAMPLES.value}: allowed is 1 without dropout, which makes samples differ'
        )
    if OVERLAP.present and not TILE.value:
        raise UserError('--overlap is of tiles: it goes with --tile')
    if FIT.value == 'auto':
        print(f'--fit=auto: {translator.about_fit}', flush=True)
    norm = NORM.value or config.test.norm
    if TILE.value and norm == 'image' and config.generator.norm != 'none':
        print('each tile is normalised by its own statistics; --norm=running has one for all')
    written = translate(translator, inputs, output, SAMPLES.value, BATCH.value)
    title = f'{os.path.basename(os.path.abspath(workdir))}, step {translator.step:,}'
    if written.rows:
        translation_page.write_page(output, title, written.rows)
    rate = f', {written.images_per_s:.3g} images/s' if written.images_per_s else ''
    print(f'{len(written.rows)} of {len(inputs)} images translated into {output}{rate}')
    if written.rows:
        print(f'{output}/index.html')
    return DATA_ERROR if written.failed else 0


def translate(
    translator,
    inputs: Sequence[Named],
    output: epath.PathLike,
    samples: int = 1,
    batch: int = 1,
) -> Written:
    """Writes `output`/NAME.EXT for every input, of its size, and as far as can be of its format.

    With more `samples` they are NAME_sK.EXT, K from 0, and NAME_std.png is their standard
    deviation, the root of its mean square over channels: 0 is black, the whole range's half white.
    `translator` is a translator.Translator. Images that cannot be read are named on stderr.
    """
    output, rows, failed = epath.Path(output), [], 0
    write = functools.partial(_write, translator, output)
    done, seconds = 0, 0.0
    with tqdm.tqdm(total=len(inputs), disable=not sys.stderr.isatty(), unit='image') as bar:
        for group in tiling.groups(inputs, batch):
            begin, named = time.monotonic(), []
            for name, paths in group:
                try:
                    named.append((name, paths, translator.load(*paths)))
                except DataError as error:
                    tqdm.tqdm.write(f'error: {error}', file=sys.stderr)
                    failed += 1
            names, paths, loaded = zip(*named) if named else ((), (), ())
            outputs = [_Spread() for _ in names]
            cards = [[_shown_input(translator, output, *one)] for one in named]
            for sample in range(samples) if named else ():
                for i, image in enumerate(translator.translate(loaded, sample)):
                    suffix = f'_s{sample}' if samples > 1 else ''
                    cards[i].append(write(names[i], suffix, loaded[i], image))
                    if samples > 1:
                        outputs[i].add(image)
            for name, spread, card in zip(names, outputs, cards):
                if samples > 1:
                    card.append(_write_spread(output, name, spread))
                rows.append((name, card))
            if done or not rows:
                seconds += time.monotonic() - begin
            done += len(named)
            bar.update(len(group))
    first = min(batch, done)
    return Written(rows, failed, (done - first) / seconds if seconds else 0.0)


class _Spread:
    """The standard deviation of images that come one after the other, in memory for three."""

    def __init__(self):
        self._count, self._mean, self._squares = 0, 0.0, 0.0

    def add(self, image: np.ndarray) -> None:
        self._count += 1
        change = image - self._mean
        self._mean = self._mean + change / self._count
        self._squares = self._squares + change * (image - self._mean)

    def deviation(self) -> np.ndarray:
        """Returns (H,W,1), the root of the mean square over channels; at most 1 on [-1, 1]."""
        return np.sqrt((self._squares / self._count).mean(-1, keepdims=True))


def _write(translator, output, name, suffix, loaded, image) -> translation_page.Item:
    """Writes one translation; returns what the gallery shows of it."""
    _, spec = image_spec.of_config(translator.config)
    limits = spec.ranges[0] if spec.ranges else None
    height, width, channels = image.shape
    extension, dtype = encode.file_type(
        loaded.extension, loaded.dtype, channels, limits, max(height, width)
    )
    if extension == loaded.extension.lower():
        extension = loaded.extension  # .PNG stays .PNG
    file = f'{name}{suffix}{extension}'
    data = encode.encode(image_spec.to_type(image, dtype, limits), extension.lower())
    atomic.write_bytes(output / file, data)
    thumbnail = translation_page.write_thumbnail(output, f'{name}{suffix}_output', image)
    return translation_page.Item(suffix[1:] or 'output', file, thumbnail)


def _write_spread(output: epath.Path, name: str, spread: _Spread) -> translation_page.Item:
    shown = spread.deviation() * 2 - 1
    atomic.write_bytes(output / f'{name}_std.png', atomic.encode_png(augment.from_float(shown)))
    thumbnail = translation_page.write_thumbnail(output, f'{name}_std', shown)
    return translation_page.Item('standard deviation', f'{name}_std.png', thumbnail)


def _shown_input(translator, output, name, paths, loaded) -> translation_page.Item:
    values = augment.resized(loaded.values, _thumbnail_size(loaded.values), 'nearest')
    image = translator.floats(values)
    if translator.config.dataset.input_classes:
        image = image_spec.coloured(image, palette_of(paths[0]))
    elif len(paths) > 1:  # the first of them
        image = image[..., : loaded.shown]
    thumbnail = translation_page.write_thumbnail(output, f'{name}_input', image)
    return translation_page.Item('input', _link(paths[0], output), thumbnail)


def _thumbnail_size(values: np.ndarray) -> tuple[int, int]:
    """The size of a thumbnail, so that a large input is not scaled whole."""
    height, width = values.shape[:2]
    factor = min(1, translation_page.SIDE / max(height, width))
    return tuple(max(1, round(side * factor)) for side in (height, width))


def _link(path: epath.Path, output: epath.Path) -> str:
    """The way from the page to an input file; on another drive or in a bucket its address."""
    if not (atomic.is_local(path) and atomic.is_local(output)):
        return os.fspath(path)
    return os.path.relpath(path, output)


def split_inputs(text: str) -> list[str]:
    """Returns the parts of --input: one where it exists as it is, else what is between commas."""
    whole = os.path.expanduser(text)
    if epath.Path(whole).exists():
        return [whole]
    return [os.path.expanduser(part) for part in text.split(',')]


def find_inputs(places: Sequence[str]) -> list[Named]:
    """Returns the images of each place by name, those of one name from all places together.

    Raises as `find_images`, and DataError where a name is not in all of the places.
    """
    found = [dict(find_images(place)) for place in places]
    if len(found) > 1 and all(epath.Path(place).is_file() for place in places):  # of any names
        ((name, _),) = found[0].items()
        return [(name, tuple(file for one in found for file in one.values()))]
    for place, one in zip(places, found):
        unpaired = one.keys() ^ found[0].keys()
        if unpaired:
            raise DataError(
                f'--input={",".join(places)}: {len(unpaired)} names are not in both {places[0]} '
                f'and {place} ({examples(unpaired)})'
            )
    return [(name, tuple(one[name] for one in found)) for name in found[0]]


def find_images(pattern: str) -> list[tuple[str, epath.Path]]:
    """Returns the images of a file, a folder (those in its folders too) or a pattern, by name.

    Raises UserError where there are none, DataError where two would get one name.
    """
    path = epath.Path(pattern)
    if path.is_dir():
        return sorted(image_files(path).items())
    if path.exists():
        return [(path.stem, path)]
    fixed = next((i for i, part in enumerate(path.parts) if set(part) & set('*?[')), None)
    if fixed is None:
        raise UserError(f'--input={pattern} does not exist: give an image, a folder or a pattern')
    root = epath.Path(*path.parts[:fixed])
    found = {}
    for file in sorted(_matching(root, path, fixed)):
        name = str(file.relative_to(root).with_suffix(''))
        if file.is_dir() or file.name.startswith('.') or file.suffix.lower() not in EXTENSIONS:
            continue
        if name in found:
            raise DataError(f'{found[name]} and {file} have the same name: allowed is one file')
        found[name] = file
    if not found:
        raise UserError(f'--input={pattern} matches no image: allowed are {" ".join(EXTENSIONS)}')
    return list(found.items())


def _matching(root: epath.Path, pattern: epath.Path, fixed: int) -> Iterator[epath.Path]:
    """The files of a pattern, of which so many parts are `fixed`; ** is any folders."""
    if not atomic.is_local(pattern):
        return root.glob('/'.join(pattern.parts[fixed:]))
    return map(epath.Path, glob.glob(os.fspath(pattern), recursive=True))


def check_output(
    output: str, overwrite: bool, places: Sequence[str] = (), inputs: Iterable[Named] = ()
) -> None:
    """Raises UserError where writing to `output` would touch what is already there."""
    folder = atomic.resolved(output)
    if folder.exists() and not folder.is_dir():
        raise UserError(f'--output={output} is a file: allowed is a folder')
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise UserError(f'--output={output} holds files: give an empty folder or --overwrite')
    sources = [atomic.resolved(place) for place in places]
    inside = any(source.is_dir() and source in (folder, *folder.parents) for source in sources)
    # The files in folders where translations will lie, links followed or not.
    written = {(folder / name).parent for name, _ in inputs}
    there = {
        place.parent
        for _, paths in inputs
        for file in paths
        for place in (atomic.resolved(file), atomic.resolved(file.parent) / file.name)
    }
    if inside or written & there:
        raise UserError(f'--output={output} holds the inputs: give another folder')


if __name__ == '__main__':
    run_command(main)
