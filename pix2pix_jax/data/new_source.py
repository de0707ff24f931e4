"""From the files of pairs to their `Source`: whether the config takes so many a pair."""

from pix2pix_jax.config_type import Config
from pix2pix_jax.data import class_maps, image_spec
from pix2pix_jax.data.formats.pixels import File
from pix2pix_jax.data.sources import Source
from pix2pix_jax.errors import DataError, UserError


def source_of(folder: str, files: dict[str, tuple[File, ...]], config: Config) -> Source:
    """Returns the pairs of these files as the config reads them.

    `files` are those of each pair by name: (A|B,), or (A, B), or (A, A2, ..., B). Raises UserError
    or DataError, naming `folder`, for what the config does not take so many files a pair with.
    """
    d = config.dataset
    count = len(next(iter(files.values())))
    sides = [name for name in ('input', 'target') if class_maps.count(name, config)]
    if sides and count == 1 and not d.colors:
        raise UserError(
            f'config.dataset.{sides[0]}_classes={class_maps.count(sides[0], config)}: {folder} has '
            'A and B in one file, and class indices are not of the kind of a photo; allowed are '
            'two folders, a list, or colours of the classes (--config.dataset.colors=FILE)'
        )
    inputs = max(1, count - 1)
    if d.inputs not in (0, inputs):
        raise DataError(
            f'{folder} has {inputs} images in an input: needed are config.dataset.inputs={d.inputs}'
        )
    if d.input_classes and inputs > 1:
        raise UserError(
            f'config.dataset.input_classes={d.input_classes}: {folder} has {inputs} images in an '
            'input; allowed is one map of classes'
        )
    ranges = image_spec.of_config(config)[0].ranges
    if len(ranges) > 1 and len(ranges) != inputs:
        raise UserError(
            f'config.dataset.input_range={d.input_range!r}: {folder} has {inputs} images in an '
            'input; allowed are one range, or one for each'
        )
    if d.direction == 'BtoA' and count > 2:
        raise UserError(
            f"config.dataset.direction='BtoA': {folder} has {count - 1} inputs a pair, and the "
            "generator one output; allowed is 'AtoB'"
        )
    return Source(
        folder=folder,
        names=tuple(files),
        files=tuple(files.values()),
        direction=d.direction,
        specs=image_spec.of_config(config),
        turns_alike=d.exif == 'pair',
        photos=d.task != 'none',
        size=tuple(config.image_size) if d.preprocess == 'none' else (0, 0),
        preprocess=d.preprocess,
    )
