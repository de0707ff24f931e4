"""How a trained run translates: the flags of translate, and the keywords of `Translator`."""

import dataclasses

from absl import flags

from pix2pix_jax.config_fields import FIELDS
from pix2pix_jax.errors import UserError

FITS = ('auto', 'pad', 'resize')
NORMS = (*FIELDS['test.norm'].allowed.words, 'scene')
LARGEST = -1  # as the side of tiles: the largest that fits


@dataclasses.dataclass(frozen=True)
class TranslateOptions:
    """How images are brought to sizes that the network takes, and the switches of the network."""

    # 'auto': as config.dataset.preprocess had it in training; 'pad': at its own scale, borders
    # reflected up to a size that the network takes, and cut off again; 'resize': resized to the
    # training's size and back.
    fit: str = 'auto'
    # The side in pixels of what is kept of each tile, for large images; 0: whole images; -1: the
    # largest that fits `memory`. Other numbers are rounded up to what the network takes.
    tile: int = 0
    memory: float = 0.0  # GB that tile=-1 may take on each device; 0: half of what is free
    # Pixels by which tiles lie over their neighbours, at least, where each has its own statistics
    # and they are blended; None: 64, or a quarter of a smaller tile.
    overlap: int | None = None
    # Statistics of the norms; '': config.test.norm, with tiles 'scene' in place of 'image'. Those
    # of a 'scene' are means over windows of the training's size, each normalised by its own.
    norm: str = ''
    dropout: bool | None = None  # None: config.test.dropout
    seed: int | None = None  # of the dropout mask, or a flow's noise; None: config.test.seed
    steps: int = 0  # of a flow, from noise to an image; 0: config.test.steps
    ema: bool = True  # the averaged weights, where the run has any
    batch: int = 1  # images, or tiles, that go through the network together


def check_options(options: TranslateOptions) -> None:
    """Raises UserError for a value that no run allows, naming it as a flag of the command."""
    fit, tile = options.fit, options.tile
    if options.norm not in ('', *NORMS):
        raise UserError(f'--norm={options.norm}: allowed are {" | ".join(NORMS)}')
    if options.seed is not None and options.seed < 0:
        raise UserError(f'--seed={options.seed}: allowed is 0 or more')
    if options.batch < 1:
        raise UserError(f'--batch={options.batch}: allowed is 1 or more')
    if tile and fit == 'resize':
        raise UserError('--fit=resize: with --tile, which keeps sizes, allowed are auto | pad')
    if fit not in FITS:
        raise UserError(f'--fit={fit}: allowed are {" | ".join(FITS)}')
    if tile < LARGEST:
        raise UserError(
            f'--tile={tile}: allowed are 0 (whole images), -1 (the largest that fits --memory) and '
            'a number of pixels'
        )
    if options.memory and tile != LARGEST:
        raise UserError(f'--memory={options.memory:g} goes with --tile=-1')
    if not 0 <= options.memory < float('inf'):
        raise UserError(f'--memory={options.memory:g}: allowed is a number of GB above 0')
    if options.overlap is not None and not tile:
        raise UserError('--overlap is of tiles: it goes with --tile')


def define_run(values: flags.FlagValues) -> None:
    """Defines the flags of the commands that use one trained run: --workdir and --checkpoint."""
    flags.DEFINE_string(
        'workdir', '', 'Folder of the run, or the zip of a packed one.', flag_values=values
    )
    flags.DEFINE_string('checkpoint', '', 'last (the default), best or a step.', flag_values=values)


def define_steps(values: flags.FlagValues) -> None:
    """Defines the flag --steps of the commands that translate."""
    flags.DEFINE_integer(
        'steps',
        None,
        'Steps of a flow from noise to an image; by default config.test.steps.',
        lower_bound=1,
        flag_values=values,
    )
