"""The channels of networks as the data has them, where the config has those of RGB by default."""

import contextlib
import dataclasses
from collections.abc import Mapping

import numpy as np

from pix2pix_jax.config_type import Config
from pix2pix_jax.data import class_maps, image_spec
from pix2pix_jax.data.formats.pixels import Pixels
from pix2pix_jax.data.image_spec import CHANNELS, DEFAULT_CHANNELS
from pix2pix_jax.data.sources import FIRST, Source
from pix2pix_jax.errors import DataError


def take_channels(splits: Mapping[str, Source], config: Config) -> dict[str, Source]:
    """Returns the splits, read with as many channels as images have that are no colours.

    The first pair of the first split says how many these are: five of a TIFF, six of two RGB
    inputs, one of a map of depths (gray of other types than 8 bits). `config` gets them where it
    has 3, the default; and it is printed.
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
    specs = image_spec.of_config(config)
    return {split: dataclasses.replace(source, specs=specs) for split, source in splits.items()}


def _channels(source: Source) -> tuple[int, int]:
    """Returns the channels of input and target of the first pair that can be read."""
    for i in range(min(FIRST, len(source))):
        with contextlib.suppress(DataError):
            (*inputs, target), _ = source.stored(i)
            if len(inputs) > 1:
                return sum(map(image_spec.channels_of, inputs)), _of_one(target)
            return _of_one(*inputs) if inputs else DEFAULT_CHANNELS, _of_one(target)
    return DEFAULT_CHANNELS, DEFAULT_CHANNELS


def _of_one(picture: Pixels) -> int:
    """Returns the channels of one image: gray of 8 bits, a picture among others, becomes RGB."""
    channels = image_spec.channels_of(picture)
    return DEFAULT_CHANNELS if channels == 1 and picture.values.dtype == np.uint8 else channels
