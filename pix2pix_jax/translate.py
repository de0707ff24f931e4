"""Translates images without targets, at the size that the run was trained at.

python -m pix2pix_jax.translate --workdir=runs/facades --input=labels/ --output=translated/
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import tqdm
from absl import flags
from etils import epath

from pix2pix_jax import files
from pix2pix_jax.config import CHOICES, Config
from pix2pix_jax.data import augment, pipeline, sides, tasks
from pix2pix_jax.data.folders import image_files
from pix2pix_jax.errors import DATA_ERROR, DataError, UserError, run_command

Named = tuple[str, epath.Path]  # path relative to what was given, without its extension, and file

SHARED = {'allow_override': True}  # other commands have flags of these names
WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of the run.', **SHARED)
INPUT = flags.DEFINE_string('input', '', 'An image, a folder of images, or a pattern.', **SHARED)
OUTPUT = flags.DEFINE_string('output', '', 'Folder for the translations (PNG).', **SHARED)
CHECKPOINT = flags.DEFINE_string('checkpoint', 'last', 'last, best or a step.', **SHARED)
NORMS = ['', *CHOICES['test.norm']]
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
BATCH = flags.DEFINE_integer('batch', 1, 'Images at a time.', lower_bound=1, **SHARED)
OVERWRITE = flags.DEFINE_bool(
    'overwrite', False, 'Write into an --output that holds files.', **SHARED
)


def main() -> int:
    """Runs the command that the flags give; returns the exit status."""
    for flag in (WORKDIR, INPUT, OUTPUT):
        if not flag.value:
            raise UserError(f'--{flag.name} is missing: --workdir, --input and --output are needed')
    workdir, source, output = (os.path.expanduser(flag.value) for flag in (WORKDIR, INPUT, OUTPUT))
    inputs = find_images(source)
    check_output(output, OVERWRITE.value, source, inputs)
    from pix2pix_jax import inference
    from pix2pix_jax.runtime import prepare_process

    prepare_process()
    run = inference.load_run(workdir, CHECKPOINT.value, EMA.value)
    translator = inference.Translator(
        run.config,
        run.variables,
        norm=NORM.value,
        dropout=DROPOUT.value,
        seed=SEED.value,
        batch=BATCH.value,
    )
    failed = translate(translator, run.config, inputs, output, SAMPLES.value, BATCH.value)
    print(f'{len(inputs) - failed} of {len(inputs)} images translated into {output}')
    return DATA_ERROR if failed else 0


def translate(
    translator: Callable[..., np.ndarray],
    config: Config,
    inputs: Sequence[Named],
    output: epath.PathLike,
    samples: int = 1,
    batch: int = 1,
) -> int:
    """Writes `output`/NAME.png for every input, NAME_sK.png with more `samples`, K from 0.

    `translator(images, sample=K)` maps float32 (N,H,W,C) on [-1, 1] to the like. Images are
    resized to `config.image_size`. Returns how many could not be read; each is named on
    stderr.
    """
    output, failed = epath.Path(output), 0
    with tqdm.tqdm(total=len(inputs), disable=not sys.stderr.isatty(), unit='image') as bar:
        for group in _groups(inputs, batch):
            names, images = [], []
            for name, path in group:
                try:
                    images.append(read_input(path, config))
                    names.append(name)
                except DataError as error:
                    tqdm.tqdm.write(f'error: {error}', file=sys.stderr)
                    failed += 1
            for sample in range(samples) if images else ():
                suffix = f'_s{sample}' if samples > 1 else ''
                for name, image in zip(names, translator(np.stack(images), sample=sample)):
                    png = files.encode_png(augment.from_float(image))
                    files.write_bytes(output / f'{name}{suffix}.png', png)
            bar.update(len(group))
    return failed


def read_input(path: epath.Path, config: Config) -> np.ndarray:
    """Returns the image as the generator takes it: float32 (H,W,C) on [-1, 1]; or DataError."""
    side, _ = sides.of_config(config)
    if config.dataset.task in tasks.FROM_COLOUR:
        side = side._replace(channels=3)
    image = sides.combine(side, [sides.read(side, path)], [path])
    return tasks.as_input(config.dataset.task, pipeline.whole(image, config))


def find_images(pattern: str) -> list[Named]:
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
    for file in sorted(root.glob('/'.join(path.parts[fixed:]))):
        name = str(file.relative_to(root).with_suffix(''))
        if file.is_dir() or file.name.startswith('.'):
            continue
        if name in found:
            raise DataError(f'{found[name]} and {file} have the same name: allowed is one file')
        found[name] = file
    if not found:
        raise UserError(f'--input={pattern} matches no file')
    return list(found.items())


def check_output(
    output: str, overwrite: bool, source: str = '', inputs: Iterable[Named] = ()
) -> None:
    """Raises UserError where writing to `output` would touch what is already there."""
    folder, source = epath.Path(output).resolve(), epath.Path(source).resolve()
    if folder.exists() and not folder.is_dir():
        raise UserError(f'--output={output} is a file: allowed is a folder')
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise UserError(f'--output={output} holds files: give an empty folder or --overwrite')
    inside = source.is_dir() and source in (folder, *folder.parents)
    if inside or any(file.resolve().parent == folder for _, file in inputs):
        raise UserError(f'--output={output} holds the inputs: give another folder')


def _groups(items: Sequence[Named], size: int) -> Iterator[Sequence[Named]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]


if __name__ == '__main__':
    run_command(main)
