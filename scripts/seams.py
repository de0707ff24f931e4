"""Measures the seams of tiled translations of an image, and draws them.

python scripts/seams.py --workdir=runs/facades --input=scene.png --tile=256 --output=seams.jpg

Without --input the scene is generated, and so can be what a run is trained on (docs/seams.jpg):

python scripts/seams.py --pairs=terrain
python -m pix2pix_jax.main --config=configs/folder.py --config.dataset.path=terrain \
    --workdir=runs/terrain --config.image_size=64 --config.num_steps=4000 \
    --config.generator.depth=4 --config.generator.width=16 --config.discriminator.width=16
python scripts/seams.py --workdir=runs/terrain --output=docs/seams.jpg --overwrite
"""

import io
import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
from absl import flags
from etils import epath
from PIL import Image, ImageDraw, ImageFont

from pix2pix_jax import Translator
from pix2pix_jax.data import augment
from pix2pix_jax.errors import UserError, run_command
from pix2pix_jax.storage import atomic, user_paths

WAYS: dict[str, dict[str, Any]] = {  # titles, and options of the translator
    'tiles side by side, each with its own statistics': {'norm': 'image', 'overlap': 0},
    'tiles blended over a quarter, each with its own': {'norm': 'image'},
    'cores, statistics of the scene': {'norm': 'scene'},
    'cores, running statistics': {'norm': 'running'},
}
PAIRS, SIDE = 300, 64  # pairs to train on, and their side
SCENE = 384  # side of the scene
LAND = {  # colours by height: sea, shore, wood, rock, snow
    0.0: (20, 60, 120),
    0.4: (40, 90, 150),
    0.45: (220, 200, 140),
    0.6: (60, 120, 50),
    0.75: (110, 100, 95),
    1.0: (250, 250, 250),
}
SHORE = 0.42  # height of the water
REACH = 2  # pixels on both sides of a line, for edges; a quarter of a tile, for brightness
TITLE, GAP = 26, 8  # pixels


def define_flags() -> flags.FlagValues:
    """Returns the flags of this command."""
    values = flags.FlagValues()
    flags.DEFINE_string('workdir', '', 'Folder of the run.', flag_values=values)
    flags.DEFINE_string('input', '', 'The image; by default it is generated.', flag_values=values)
    flags.DEFINE_integer('tile', 96, 'Side of the tiles.', lower_bound=1, flag_values=values)
    flags.DEFINE_string(
        'pairs', '', 'In place of all else: write pairs to train on here.', flag_values=values
    )
    flags.DEFINE_string('output', '', 'The figure; by default there is none.', flag_values=values)
    about = 'Replace an --output that exists, and files in --pairs.'
    flags.DEFINE_bool('overwrite', False, about, flag_values=values)
    return values


def main(values: flags.FlagValues) -> int:
    """Prints the seams of each way, and draws all; returns the exit status."""
    output, pairs = (user_paths.of_flag(values, name) for name in ('output', 'pairs'))
    for name, place in (('output', output), ('pairs', pairs)):
        if place:
            user_paths.check_new(place, f'--{name}', values.overwrite)
    if pairs:
        write_pairs(epath.Path(pairs))
        return 0
    if not values.workdir:
        raise UserError('--workdir is missing: allowed is the folder of a run, or --pairs=FOLDER')
    if values.input:
        with Image.open(values.input) as image:
            scene = np.asarray(image.convert('RGB'))
    else:
        scene, _ = terrain(SCENE, np.random.default_rng(1))
    panels = [titled('input', scene)]
    print(f'{scene.shape[1]}x{scene.shape[0]}, tiles of {values.tile}: steps of 255')
    for title, options in WAYS.items():
        translator = Translator(values.workdir, tile=values.tile, **options)
        if translator.outputs.classes:
            raise UserError(f'--workdir={values.workdir}: its outputs are classes, without steps')
        made = np.atleast_3d(translator(scene))
        borders = translator.tile_borders(made.shape[:2])
        print(title)
        for reach in (REACH, values.tile // 4):
            across, elsewhere = steps(made, borders, reach)
            if not (len(across) and len(elsewhere)):
                raise UserError(f'--tile={values.tile}: allowed is a number well below the image')
            largest = f'largest {across.max():.0f} across borders, {elsewhere.max():.0f} elsewhere'
            mean = f'mean {across.mean():.1f}, {elsewhere.mean():.1f}'
            print(f'  over {reach} pixels: {largest}; {mean}', flush=True)
        shown = made[..., : 3 if made.shape[-1] >= 3 else 1]
        panels.append(titled(title, np.broadcast_to(shown, (*made.shape[:2], 3))))
    if output:
        gap = np.full((len(panels[0]), GAP, 3), 255, np.uint8)
        shown = [part for one in panels for part in (one, gap)][:-1]
        figure = io.BytesIO()
        Image.fromarray(np.concatenate(shown, axis=1)).save(figure, 'JPEG', quality=88)
        atomic.write_bytes(output, figure.getvalue())
    return 0


def steps(
    image: np.ndarray, borders: Iterable[Iterable[int]], reach: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the steps of an image (H,W,C) across the borders of tiles, and those elsewhere.

    A step is between the means of the `reach` pixels on both sides of a line, and along the whole
    side of a tile: so what the image shows has a small one, and another brightness of the next tile
    a large one; that of the channel with the largest counts. Elsewhere are the lines that are no
    nearer to a border than to a tile's middle; tiles that the image's edges cut are no measure.

    Args:
      image: of any type.
      borders: the rows and the columns between tiles.
      reach: pixels, at most a quarter of a tile.
    """
    across, elsewhere = [], []
    image = np.asarray(image, np.float64)
    rows, columns = ([0, *sorted(places)] for places in borders)
    for x, lines, sides in ((image, rows, columns), (image.swapaxes(0, 1), columns, rows)):
        here = np.arange(reach, len(x) - reach + 1)
        near = np.abs(here[:, None] - np.array([*lines, len(x)])).min(1)
        inner = near >= np.median(np.diff([*lines, len(x)])) // 4
        for begin, end in itertools.pairwise([*sides, x.shape[1]]):
            means = x[:, begin:end].mean(1)  # (H,C)
            sums = np.cumsum(np.concatenate([np.zeros((1, x.shape[2])), means]), axis=0)
            step = np.abs(sums[here + reach] - 2 * sums[here] + sums[here - reach]).max(1) / reach
            across.append(step[np.isin(here, lines)])
            elsewhere.append(step[inner])
    return np.concatenate(across), np.concatenate(elsewhere)


def terrain(side: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns a map of heights and how the land looks from above, both uint8 (side,side,3)."""
    height = np.zeros((side, side))
    for octave in range(6):
        cells = max(2, side * 2**octave // 96 + 1)
        grid = rng.uniform(-1, 1, (cells, cells, 1)).astype(np.float32)
        height += augment.resized(grid, (side, side))[..., 0] / 2**octave
    height = np.clip(height / 3 + 0.5, 0, 1)
    land = np.stack([np.interp(height, list(LAND), c) for c in zip(*LAND.values())], -1)
    down, right = np.gradient(height)
    light = np.where(height > SHORE, 1 + 8 * (down + right), 1)[..., None]
    gray = np.repeat(height[..., None] * 255, 3, axis=-1)
    return gray.astype(np.uint8), np.clip(land * light, 0, 255).astype(np.uint8)


def write_pairs(folder: epath.Path) -> None:
    """Writes pairs side by side, each a terrain of its own."""
    for i in range(PAIRS):
        large = terrain(4 * SIDE, np.random.default_rng((2, i)))
        pair = np.concatenate([image[:SIDE, :SIDE] for image in large], axis=1)
        atomic.write_bytes(folder / 'train' / f'{i:03}.png', atomic.encode_png(pair))


def titled(title: str, body: np.ndarray) -> np.ndarray:
    """Returns uint8 (H + TITLE,W,3): a picture (H,W,3) under a title."""
    head = Image.new('RGB', (body.shape[1], TITLE), 'white')
    ImageDraw.Draw(head).text((0, 4), title, 'black', ImageFont.load_default(14))
    return np.concatenate([np.asarray(head), body])


if __name__ == '__main__':
    run_command(main, define_flags)
