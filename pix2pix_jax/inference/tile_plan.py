"""How the images of a run are cut into tiles, and what that costs."""

import functools
import itertools
import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from pix2pix_jax.config import Config
from pix2pix_jax.errors import UserError
from pix2pix_jax.inference import tiling
from pix2pix_jax.inference.generator import Generator, Statistics, about_norm
from pix2pix_jax.inference.options import LARGEST, TranslateOptions
from pix2pix_jax.models import factory

OVERLAP = 64  # pixels of blended tiles
FIRST = 512  # pixels of the first window whose memory is asked for, at least
ENOUGH = 0.5  # share of a window's pixels that have data, for it to count in a scene's statistics


class TilePlan(NamedTuple):
    """How images are cut into tiles."""

    cores: tiling.Cores | None  # None: whole images, or tiles that are blended
    tile: int = 0  # side of blended tiles
    overlap: int = 0  # of blended tiles
    about: tuple[str, ...] = ()  # what to say about it, as lines
    scene: tuple[int, int] | None = None  # size of the windows whose statistics a scene has, if any

    @property
    def is_whole(self) -> bool:
        """Whether an image goes through the network once, at once."""
        return not (self.cores or self.tile or self.scene)


def norm_of(config: Config, options: TranslateOptions) -> str:
    """Returns the statistics of the norms that translate: 'image', 'running', 'mixed' or 'scene'.

    Raises UserError for 'scene' where the method has statistics of its own in each step.
    """
    if options.norm == 'scene' and config.method == 'flow':
        raise UserError(
            "--norm=scene: the run has config.method='flow', whose norms have other statistics in "
            'each step; allowed are image | running | mixed'
        )
    norm = options.norm or config.test.norm
    own = factory.statistics(config.generator, norm) == 'image'
    by_default = options.tile and not options.norm and config.method != 'flow'
    return 'scene' if own and by_default else norm


def are_constant(config: Config, norm: str) -> bool:
    """Whether the norms of a run have statistics that are the same for all tiles of an image."""
    return factory.statistics(config.generator, norm) in ('', 'running', 'scene')


def make_plan(
    config: Config,
    options: TranslateOptions,
    norm: str,
    fits: Callable[[int], int],
) -> TilePlan:
    """Returns how images are cut, with the side that the network takes.

    Args:
      config: of the run.
      options: whose `tile`, `overlap` and `memory` it follows.
      norm: statistics of the norms, as `norm_of` says.
      fits: step -> the largest side of a window that fits the memory, a multiple of `step`.

    Raises:
      UserError: for an overlap where nothing is blended or that is no less than a tile, and where
        no tile fits.
    """
    g, depth = config.generator, factory.generator_depth(config)
    unit, constant = factory.unit(g, depth), are_constant(config, norm)
    if options.overlap is not None and constant:
        raise UserError(
            f'--overlap={options.overlap}: nothing is blended where tiles equal the whole, as with '
            '--norm=scene; allowed is --norm=image, or no --overlap'
        )
    about = about_norm(config, options.norm)
    window = tuple(config.image_size)
    scene = window if factory.statistics(g, norm) == 'scene' else None
    if not options.tile:
        return TilePlan(None, about=tuple(about), scene=scene)
    halo = -(-factory.halo(g, depth) // unit) * unit if constant else 0
    least = unit if constant else -(-factory.minimum_side(g, depth) // unit) * unit
    side = options.tile
    if side == LARGEST:
        side = fits(unit) - 2 * halo
        if side < least:
            raise UserError(
                f'--tile=-1: no tile fits; allowed is --memory=GB that holds a window of '
                f'{least + 2 * halo} pixels'
            )
        about.append(f'--tile=-1: {side} pixels are the largest that fit')
    elif side % unit or side < least:
        side = max(least, -(-side // unit) * unit)
        about.append(f'--tile={options.tile}: rounded up to {side}, a multiple of {unit}')
    if constant:
        cores = tiling.Cores(side, halo)
        return TilePlan(cores, about=(*about, _work(cores)), scene=scene)
    overlap = min(OVERLAP, side // 4) if options.overlap is None else options.overlap
    if not 0 <= overlap < side:
        raise UserError(f'--overlap={overlap}: allowed is 0 to {side - 1}, below --tile={side}')
    others = [n for n in ('running', 'scene') if are_constant(config, n)]
    others = [f'--norm={n}' for n in others if n != 'scene' or config.method != 'flow']
    without = f'; without them {" or ".join(others)}' if others else ''
    about.append(
        f'each tile is normalised by its own statistics (--norm={factory.statistics(g, norm)}), '
        f'blended over {overlap} pixels: seams are possible{without}'
    )
    return TilePlan(None, side, overlap, tuple(about))


def _work(cores: tiling.Cores) -> str:
    """Returns a line on how much more is computed than for the whole."""
    larger = cores._replace(side=4 * cores.side)
    return (
        f'each core of {cores.side} pixels takes a window of {cores.side + 2 * cores.halo}: '
        f'{cores.work:.3g} times the work of the whole; '
        f'--tile={larger.side}: {larger.work:.3g} times'
    )


def largest_window(bytes_of: Callable[[int], int], budget: int, step: int) -> int:
    """Returns the largest side of a window, a multiple of `step`, whose translation fits.

    Args:
      bytes_of: side -> the bytes that a translation of a window takes; about proportional to its
        pixels.
      budget: the bytes that there are.
      step: what the side is a multiple of.

    Returns:
      0 where nothing fits.
    """
    side = -(-FIRST // step) * step
    taken = bytes_of(side)
    tried = {side: taken}
    while True:
        guess = int(side * math.sqrt(budget / taken)) // step * step
        fitting = [s for s, bytes in tried.items() if bytes <= budget]
        if guess in tried or guess < step:
            return max(fitting, default=0)
        side, taken = guess, bytes_of(guess)
        tried[side] = taken


def translate_rows(
    generator: Generator,
    plan: TilePlan,
    canvas: tiling.Canvas,
    sample: int,
    scene: Statistics | None,
) -> tiling.Rows:
    """Yields the rows of an image's translation, as many at a time as a tile has.

    Args:
      generator: of the run.
      plan: how the image is cut.
      canvas: the image as the network takes it, with borders up to a size that it takes.
      sample: the number of the sample.
      scene: the statistics that the norms have, as `scene_statistics` returns them, if any.
    """
    translate = functools.partial(generator.each, sample=sample, scene=scene)
    if plan.tile:
        tiled = canvas.at_least((plan.tile, plan.tile))
        return tiling.translate_blended(translate, tiled, plan.tile, plan.overlap)
    return tiling.translate_in_cores(
        translate, canvas, plan.cores or tiling.Cores(max(canvas.padded), 0)
    )


def borders(plan: TilePlan, canvas: tiling.Canvas) -> tuple[list[int], list[int]]:
    """Returns the rows and the columns of an image where tiles begin, in the middle of overlaps."""
    tile, cores = plan.tile, plan.cores
    canvas = canvas.at_least((tile, tile)) if tile else canvas

    def on_axis(axis: int) -> list[int]:
        lines: list[int] = []
        if tile:
            starts = tiling.tile_starts(canvas.padded[axis], tile, plan.overlap)
            lines = [(a + tile + b) // 2 for a, b in itertools.pairwise(starts)]
        elif cores:
            lines = list(cores.starts(canvas.padded[axis]))
        inside = (line - canvas.offset[axis] for line in lines)
        return [line for line in inside if 0 < line < canvas.size[axis]]

    return on_axis(0), on_axis(1)


def scene_statistics(
    generator: Generator,
    plan: TilePlan,
    canvas: tiling.Canvas,
    sample: int,
    corners: Iterable[tuple[int, int]],
) -> Statistics | None:
    """Returns the statistics that the norms have for an image; None where each has its own.

    Args:
      generator, plan, canvas, sample: as in `translate_rows`.
      corners: where the windows begin whose statistics these are, as `scene_corners` returns them.
    """
    if plan.scene is None:
        return None
    whole = canvas.at_least(plan.scene)
    return generator.scene(
        ((whole.window(corner, plan.scene), corner) for corner in corners), sample
    )


def scene_corners(
    canvas: tiling.Canvas, shape: tuple[int, int], valid: tiling.Read | None = None
) -> tuple[tiling.Canvas, list[tuple[int, int]]]:
    """Returns a canvas and where windows of this shape begin there that cover it, evenly spread.

    Args:
      canvas: of the image. The one that is returned has borders only where it takes them.
      shape: (height, width) of a window.
      valid: reads where there is data, bool (H,W,1). Windows with less than half of it are left
        out, unless all are.
    """
    canvas = canvas.at_least(shape)
    tops, lefts = (tiling.tile_starts(*sides, 0) for sides in zip(canvas.padded, shape))
    corners = list(itertools.product(tops, lefts))
    if valid is None:
        return canvas, corners
    known = canvas._replace(read=valid)
    counted = [corner for corner in corners if known.window(corner, shape).mean() >= ENOUGH]
    return canvas, counted or corners
