"""The sizes of images on their way through a network: how they are scaled, and their borders."""

from typing import NamedTuple

from pix2pix_jax.config import Config
from pix2pix_jax.data import augment, tasks
from pix2pix_jax.inference import tiling
from pix2pix_jax.inference.options import TranslateOptions
from pix2pix_jax.models.factory import generator_depth, minimum_side, padding_unit


class Fit(NamedTuple):
    """How images of any size are brought to sizes that a network takes."""

    scaled_as: str  # the dataset.preprocess as which they are scaled; '': not at all
    about: str  # what it does, and why
    trained: tuple[int, int]  # (height, width)
    unit: int  # pixels of whose multiples images are, with their borders
    minimum: int  # pixels of the shorter side

    @classmethod
    def of(cls, config: Config, options: TranslateOptions) -> 'Fit':
        """Returns how the images of a run are scaled."""
        scaled_as, why = _scaling(config, options)
        height, width = config.image_size
        g, depth = config.generator, generator_depth(config)
        about = f'{_about(scaled_as, (height, width))}, as {why}'
        units = padding_unit(g, depth), minimum_side(g, depth)
        return cls(scaled_as, about, (height, width), *units)

    def sizes(self, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Returns what an image of `size` is scaled to, and what borders then make of it."""
        scaled = size
        if self.scaled_as:
            scaled = augment.loaded_size(*size, self.trained, 1.0, self.scaled_as)
        if scaled == self.trained:  # the network takes it as it is
            return scaled, scaled
        height, width = (max(side, self.minimum) for side in scaled)
        return scaled, tiling.padded_size((height, width), self.unit)


def _scaling(config: Config, options: TranslateOptions) -> tuple[str, str]:
    """Returns the dataset.preprocess as which images are scaled, '' for not at all, and why."""
    d, fit, tile = config.dataset, options.fit, options.tile
    if fit == 'resize':
        return 'resize_and_crop', '--fit=resize says'
    if fit == 'pad':
        return '', '--fit=pad says'
    if tile:
        return '', '--tile has it'
    scaled_as = tasks.scaled_as(config)
    if not scaled_as:  # made after scaling: the user's image has it at its own scale
        return '', f"config.dataset.task='{d.task}' is trained on"
    return scaled_as, f"config.dataset.preprocess='{scaled_as}' had it in training"


def _about(scaled_as: str, image_size: tuple[int, int]) -> str:
    height, width = image_size
    if scaled_as == 'resize_and_crop':
        return f'images are resized to {width}x{height} and back'
    if scaled_as.startswith('scale_width'):
        return (
            f'images are scaled to a width of {width} (to a height of {height}, where it would be '
            'less), with reflected borders, and back'
        )
    smaller = f' (those below {width}x{height} are enlarged)' if scaled_as else ''
    return f'images keep their scale{smaller}, with reflected borders'
