"""Draws docs/openmoji.png, the README's figure: held-out drawings, translated by three runs.

python -m pix2pix_jax.main --config=configs/openmoji.py
python -m pix2pix_jax.main --config=configs/openmoji_classes.py
python scripts/readme_figure.py --photos=drawings
python -m pix2pix_jax.main --config=configs/super_resolution.py --config.dataset.path=drawings \
    --workdir=runs/openmoji_super --config.image_size=64 --config.batch_size=4 \
    --config.num_steps=2500 --config.generator.width=32 --config.discriminator.width=16 \
    --config.optimizer.learning_rate=4e-4 --config.optimizer.d_learning_rate=2e-4 \
    --config.optimizer.schedule=linear --config.test.norm=running \
    --config.generator.norm_momentum=0.99 --config.dataset.val_fraction=0.05
python scripts/readme_figure.py --page=screenshot.png --output=docs/openmoji.png

The last is a screenshot of the page of `export --format=web`. Drawings: OpenMoji, CC BY-SA 4.0.
"""

import pathlib

import numpy as np
from absl import flags
from PIL import Image, ImageDraw, ImageFont

from pix2pix_jax.data.catalogue import openmoji
from pix2pix_jax.errors import UserError, run_command
from pix2pix_jax.storage import atomic

PANELS = {  # titles by runs
    'openmoji': 'line art to colour',
    'openmoji_classes': 'class map to drawing',
    'openmoji_super': 'super-resolution, 4 times',
}
ROWS = 6  # held-out drawings, evenly spaced over those that all runs have
SIDE, SCALE, GAP, TITLE = 64, 2, 12, 30  # pixels
KINDS = ('input', 'output', 'target')


def define_flags() -> flags.FlagValues:
    """Returns the flags of this command."""
    values = flags.FlagValues()
    flags.DEFINE_string(
        'photos', '', 'Write the drawings as plain photos here.', flag_values=values
    )
    flags.DEFINE_string('runs', 'runs', 'Folder of the runs.', flag_values=values)
    flags.DEFINE_string('page', '', 'Screenshot of the page.', flag_values=values)
    flags.DEFINE_string('output', '', 'The figure.', flag_values=values)
    return values


def main(values: flags.FlagValues) -> int:
    """Writes the photos or the figure; returns the exit status."""
    if values.photos:
        write_photos(pathlib.Path(values.photos))
        return 0
    if not values.page or not values.output:
        raise UserError('--page and --output are missing: both are needed, or --photos')
    runs = [pathlib.Path(values.runs) / name for name in PANELS]
    names = sorted(set.intersection(*map(drawings_of, runs)))
    chosen = [names[i] for i in np.linspace(0, len(names) - 1, ROWS).astype(int)]
    panels = [panel(run, title, chosen) for run, title in zip(runs, PANELS.values())]
    height = panels[0].shape[0] - TITLE
    with Image.open(values.page) as page:
        shot = page.convert('RGB')
    shot = shot.resize((round(shot.width * height / shot.height), height), Image.Resampling.LANCZOS)
    panels.append(titled('the exported page, drawn on', np.asarray(shot)))
    gap = np.full((height + TITLE, 2 * GAP, 3), 255, np.uint8)
    whole = [part for one in panels for part in (one, gap)][:-1]
    atomic.write_bytes(values.output, atomic.encode_png(np.concatenate(whole, axis=1)))
    return 0


def write_photos(folder: pathlib.Path) -> None:
    """Writes the drawings of the built-in data set, without the line art beside them."""
    source = openmoji.prepare(SIDE)
    for path in source.rglob('*.png'):
        with Image.open(path) as pair:
            drawing = np.asarray(pair)[:, SIDE:]
        atomic.write_bytes(folder / path.relative_to(source), atomic.encode_png(drawing))


def drawings_of(run: pathlib.Path) -> set[str]:
    """Returns the names of the test drawings that a run translated; raises UserError for none."""
    found = {path.stem.removesuffix('_output') for path in images_of(run).glob('*_output.png')}
    if not found:
        raise UserError(f'{images_of(run)} has no images: python -m pix2pix_jax.main makes them')
    return found


def images_of(run: pathlib.Path) -> pathlib.Path:
    """Returns where a run has the images of its evaluation on the test split."""
    return run / 'evaluation' / 'test' / 'images'


def panel(run: pathlib.Path, title: str, names: list[str]) -> np.ndarray:
    """Returns uint8 (H,W,3): under a title a row a drawing, its input, output and target."""
    rows = []
    for name in names:
        row = []
        for kind in KINDS:
            with Image.open(images_of(run) / f'{name}_{kind}.png') as image:
                row.append(np.asarray(image.convert('RGB')).repeat(SCALE, 0).repeat(SCALE, 1))
        rows.append(np.concatenate(row, axis=1))
    return titled(title, np.concatenate(rows))


def titled(title: str, body: np.ndarray) -> np.ndarray:
    """Returns uint8 (H + TITLE,W,3): a picture (H,W,3) under a title."""
    head = Image.new('RGB', (body.shape[1], TITLE), 'white')
    ImageDraw.Draw(head).text(
        (body.shape[1] / 2, TITLE / 2), title, 'black', ImageFont.load_default(16), anchor='mm'
    )
    return np.concatenate([np.asarray(head), body])


if __name__ == '__main__':
    run_command(main, define_flags)
