"""The channels of networks as the data has them, where the config has those of RGB by default."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pix2pix_jax.config_type import Config
from pix2pix_jax.data import class_maps, image_spec
from pix2pix_jax.data.formats import axes
from pix2pix_jax.data.formats.pixels import File, Pixels
from pix2pix_jax.data.image_spec import CHANNELS, DEFAULT_CHANNELS
from pix2pix_jax.data.sources import FIRST, Source, sample
from pix2pix_jax.errors import DataError, UserError

RGBA = 4
Images = Sequence[Pixels]


def take_channels(splits: Mapping[str, Source], config: Config) -> dict[str, Source]:
    """Returns the splits, read with as many channels as images have that are no colours.

    The first pair of the first split says how many these are: five of a TIFF, six of two RGB
    inputs, one of a map of depths (gray of other types than 8 bits), if others of a sample have no
    colours. `config` gets them where it has 3, the default; and it is printed, with a warning where
    they are rather a side of the images. So is
    which channels would keep the opacity of a sample that is transparent in parts.
    """
    first = next(iter(splits.values()))
    found = dict(zip(CHANNELS, _channels(first)))
    for name, field in CHANNELS.items():
        section, _, key = field.partition('.')
        given = config[section][key]
        images = not (first.photos or class_maps.count(name, config))
        if images and given == DEFAULT_CHANNELS != found[name]:
            config[section][key] = found[name]
            print(f'{name}s have {found[name]} channels: config.{field}={found[name]}', flush=True)
            for line in _unlikely(first, name):
                print(f'warning: {line}', flush=True)
        elif images and given != RGBA and _is_transparent(first, name):
            print(
                f'{name}s are transparent in parts, and lie over white there: '
                f'--config.{field}={RGBA} keeps their opacity',
                flush=True,
            )
    specs = image_spec.of_config(config)
    return {split: dataclasses.replace(source, specs=specs) for split, source in splits.items()}


def check_colours(train: Source, config: Config, augments: Sequence[str]) -> None:
    """Raises UserError where colours are to change that the images of the first pair do not have.

    Brightness, contrast and saturation are those of one gray, RGB or RGBA image: of bands, or of
    several images in an input, other channels would change than of the target. `augments` are the
    words of config.discriminator.augment.
    """
    jitter, of_input = config.dataset.color_jitter, config.dataset.input_color_jitter
    color = 'color' in augments
    first = next(_images_of_sample(train), None) if jitter or of_input or color else None
    if first is None:
        return
    wrong = {name: _no_colours(images) for name, images in zip(('inputs', 'targets'), first)}
    for field, value, names in (
        ('color_jitter', jitter, ('inputs', 'targets')),
        ('input_color_jitter', of_input, ('inputs',)),
    ):
        for name in names:
            if value and wrong[name]:
                raise UserError(
                    f'config.dataset.{field}={value}: {name} have {wrong[name]}; allowed is 0 '
                    'where they are not one gray, RGB or RGBA image'
                )
    (target,) = first[1]
    if color and wrong['targets'] and target.values.shape[-1] == RGBA:
        raise UserError(
            f'config.discriminator.augment={config.discriminator.augment!r}: targets have '
            f'{wrong["targets"]}; allowed is no color where they are not RGBA'
        )


def _no_colours(images: Images) -> str:
    """Returns what an input or a target has in place of the colours of one image; '': it has these.

    No `images` are the input of a plain photo.
    """
    if len(images) > 1:
        return f'{len(images)} images each'
    for image in images:
        count = image.values.shape[-1]
        if count not in (1, 3) and not image.opacity:
            return f'{count} channels that are no colours'
    return ''


def _channels(source: Source) -> tuple[int, int]:
    """Returns the channels of input and target of the first pair that can be read.

    Gray has those of colours where another pair of a sample has these: it becomes RGB, and RGB
    would lose its colours.
    """
    pairs = _images_of_sample(source)
    first = next(pairs, None)
    if first is None:
        return DEFAULT_CHANNELS, DEFAULT_CHANNELS
    of_input, of_target = map(_of_first, first)
    if 1 in (of_input, of_target):
        others = [(_count(inputs), _count(target)) for inputs, target in pairs]
        of_input = _with_colours(of_input, [count for count, _ in others])
        of_target = _with_colours(of_target, [count for _, count in others])
    return of_input, of_target


def _images_of_sample(source: Source) -> Iterator[tuple[Images, Images]]:
    """Yields the images of input and target of a sample; plain photos are targets alone."""
    for i in sample(source, FIRST):
        with contextlib.suppress(DataError):
            (*inputs, target), _ = source.stored(i)
            yield inputs, [target]


def _unlikely(source: Source, name: str) -> list[str]:
    """Returns a line where an image of the first pair has channels that are rather a side of it."""
    if source.is_halves or source.boxes:
        return []
    for i in sample(source, FIRST):
        with contextlib.suppress(DataError):
            pictures, files = source.stored(i)
            images = [*zip(pictures, files)]
            images = images[-1:] if name == 'target' else images[:-1]
            return [
                _as_unlikely(image.values.shape, file)
                for image, file in images
                if axes.are_unlikely(image.values.shape)
            ][:1]
    return []


def _as_unlikely(shape: tuple[int, ...], file: File) -> str:
    height, width, channels = shape
    return (
        f'{file} is read as {width}x{height} pixels of {channels} channels: if it has '
        f'{min(height, width)} channels, write it as (height, width, channels)'
    )


def _is_transparent(source: Source, name: str) -> bool:
    """Whether inputs of one image, or targets, are transparent in parts, of a sample.

    No more is read than the first pair where that has no opacity at all.
    """
    for inputs, target in _images_of_sample(source):
        image, *others = inputs if name == 'input' else target
        if others or not image.opacity:
            return False
        opacity = image.values[..., -1]
        if opacity.min() < (1 if opacity.dtype.kind == 'f' else np.iinfo(opacity.dtype).max):
            return True
    return False


def _with_colours(count: int, others: Sequence[int]) -> int:
    return DEFAULT_CHANNELS if count == 1 and DEFAULT_CHANNELS in others else count


def _count(images: Images) -> int:
    return sum(map(image_spec.channels_of, images))


def _of_first(images: Images) -> int:
    """Returns their channels; gray of 8 bits alone, a picture among others, becomes RGB."""
    count = _count(images)
    of_8_bits = all(image.values.dtype == np.uint8 for image in images)
    return DEFAULT_CHANNELS if not count or count == 1 and of_8_bits else count
