"""How a trained run translates: the flags of translate, and the keywords of `Translator`."""

import dataclasses

from pix2pix_jax.config_fields import FIELDS
from pix2pix_jax.errors import UserError

FITS = ('auto', 'pad', 'resize')
NORMS = FIELDS['test.norm'].allowed


@dataclasses.dataclass(frozen=True)
class TranslateOptions:
    """How images are brought to sizes that the network takes, and the switches of the network."""

    # 'auto': as config.dataset.preprocess had it in training; 'pad': at its own scale, borders
    # reflected up to a size that the network takes, and cut off again; 'resize': resized to the
    # training's size and back.
    fit: str = 'auto'
    tile: int = 0  # side in pixels of overlapping tiles, blended, for large images; 0: whole images
    overlap: int = 64  # pixels by which tiles lie over their neighbours, at least
    norm: str = ''  # statistics of the norms; '': config.test.norm
    dropout: bool | None = None  # None: config.test.dropout
    seed: int | None = None  # of the dropout mask, or a flow's noise; None: config.test.seed
    steps: int = 0  # of a flow, from noise to an image; 0: config.test.steps
    ema: bool = True  # the averaged weights, where the run has any
    batch: int = 1  # images, or tiles, that go through the network together


def check_options(options: TranslateOptions, unit: int, minimum: int) -> None:
    """Raises UserError for a value that is not allowed, naming it as a flag of the command.

    The network takes sides that are multiples of `unit` and at least `minimum`.
    """
    fit, tile, overlap = options.fit, options.tile, options.overlap
    if options.norm not in ('', *NORMS.words):
        raise UserError(f'--norm={options.norm}: allowed are {NORMS.text}')
    if options.batch < 1:
        raise UserError(f'--batch={options.batch}: allowed is 1 or more')
    if tile and fit == 'resize':
        raise UserError('--tile works with --fit=pad only: tiled images keep their size')
    if fit not in FITS:
        raise UserError(f'--fit={fit}: allowed are {" | ".join(FITS)}')
    if tile and (tile % unit or tile < minimum):
        raise UserError(
            f'--tile={tile}: allowed are 0 (whole images) and multiples of {unit}, at least '
            f"{minimum}: the run's generator halves an image so often"
        )
    if tile and not 0 <= overlap < tile:
        raise UserError(f'--overlap={overlap}: allowed is 0 to {tile - 1}, below --tile={tile}')
