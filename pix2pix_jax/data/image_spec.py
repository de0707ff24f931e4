"""What the files of an input or a target become: channels, value range, classes.

An image keeps its type up to `augment.to_float` where that says its range (uint8, uint16); any
other becomes float32 on [-1, 1] when it is read.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from pix2pix_jax.config_type import Config
from pix2pix_jax.data import augment, masks
from pix2pix_jax.data.formats import decode
from pix2pix_jax.data.formats.pixels import File, Pixels, Range
from pix2pix_jax.errors import DataError, UserError

MAX_LEVELS = 65_536
VOID = 255  # in a class-index map: no class


class ImageSpec(NamedTuple):
    """What the network takes as an input, or as a target."""

    name: str  # 'input' or 'target'
    channels: int
    ranges: tuple[Range, ...] = ()  # (low, high) for each file, or for all; (): as the type says
    classes: int = 0  # files are maps of class indices 0 to classes - 1; 0: they are images
    field: str = ''  # where `channels` come from, for messages
    nodata: str = ''  # the value that says that there is none; '': there is no such value


def of_config(config: Config) -> tuple[ImageSpec, ImageSpec]:
    """Returns the specs of input and target; of plain photos (dataset.task) the target is RGB."""
    d, g = config.dataset, config.generator
    ranges = [parse_ranges(f'{name}_range', d[f'{name}_range']) for name in ('input', 'target')]
    channels, field = g.output_channels, 'config.generator.output_channels'
    if d.task != 'none':
        channels, field = 3, 'config.dataset.task'
    return (
        ImageSpec(
            'input',
            g.input_channels,
            ranges[0],
            d.input_classes,
            field='config.generator.input_channels',
            nodata=d.nodata,
        ),
        ImageSpec('target', channels, ranges[1], field=field, nodata=d.nodata),
    )


def check(config: Config) -> None:
    """Raises UserError for fields about input and target that do not go together."""
    d, g = config.dataset, config.generator
    _, target = of_config(config)
    if len(target.ranges) > 1:
        raise UserError(f'config.dataset.target_range={d.target_range!r}: allowed is one range')
    try:
        float(d.nodata or 0)
    except ValueError:
        raise UserError(
            f"config.dataset.nodata={d.nodata!r}: allowed are a number, nan or '', none"
        ) from None
    if d.task != 'none' and (d.nodata or d.mask):
        raise UserError(
            f'config.dataset.nodata={d.nodata!r}, mask={d.mask!r}: config.dataset.task='
            f"'{d.task}' makes its pairs of whole photos; allowed are '' and ''"
        )
    if d.task != 'none' and (d.input_classes or d.input_range):
        raise UserError(
            f'config.dataset.input_classes={d.input_classes}, input_range={d.input_range!r}: '
            f"config.dataset.task='{d.task}' makes its inputs; allowed are 0 and ''"
        )
    if d.input_classes and g.input_channels != d.input_classes:
        raise UserError(
            f'config.generator.input_channels={g.input_channels}: allowed is '
            f'{d.input_classes}, a channel for each of config.dataset.input_classes'
        )
    if d.input_classes and (d.input_range or d.input_color_jitter or d.color_jitter):
        raise UserError(
            f'config.dataset.input_classes={d.input_classes}: classes have no input_range, '
            'color_jitter or input_color_jitter'
        )
    if d.preprocess == 'none' and 0 in tuple(config.image_size):
        raise UserError(
            "config.dataset.preprocess='none': config.image_size must say the size of the images"
        )


def parse_ranges(field: str, text: str, name: str = '') -> tuple[Range, ...]:
    """Returns the (low, high) of 'LOW:HIGH[,LOW:HIGH...]'; raises UserError.

    It names config.dataset.`field`, or the `name` that is given.
    """
    name = name or f'config.dataset.{field}'
    found = []
    for part in filter(None, text.split(',')):
        try:
            low, high = map(float, part.split(':'))
            right = np.isfinite([low, high]).all() and low < high
        except ValueError:
            right = False
        if not right:
            raise UserError(
                f'{name}={text!r}: allowed is LOW:HIGH, as 0:4095; of several '
                "inputs one for each, with commas between; or '' for that of the files' type"
            )
        found.append((low, high))
    if text and not found:
        raise UserError(f'{name}={text!r}: there is no range in it')
    return tuple(found)


def read(spec: ImageSpec, file: File) -> Pixels:
    """Returns the image of a file, or its class indices; raises DataError, naming it."""
    return decode.read_pixels(file, indices=spec.classes > 0)


def missing(spec: ImageSpec, picture: Pixels, place: int = 0) -> np.ndarray:
    """Returns bool (H,W,1): where a picture of these is no-data, or of no class.

    Inputs of 8 bits have no no-data: 0 is black there. `place` is the number of the picture in its
    input.
    """
    if spec.classes:
        return (picture.values == VOID).any(-1, keepdims=True)
    ranges = spec.ranges
    value_range = type_range(picture.values.dtype)
    if ranges:
        value_range = ranges[place if len(ranges) > 1 else 0]
    photo = spec.name == 'input' and picture.values.dtype == np.uint8
    return masks.missing(picture, '' if photo else spec.nodata, value_range)


def combine(spec: ImageSpec, pictures: Sequence[Pixels], files: Sequence[File]) -> np.ndarray:
    """Returns an input or a target (H,W,C), made of the `pictures` of `files`.

    The result is uint8, uint16, or float32 on [-1, 1]; of class maps it is uint8 (H,W,1). The
    channels of several pictures follow each other, each picture with its own number of channels.
    Raises DataError, naming a file, for another number of channels, for values outside the range of
    a type, and for classes that do not exist.
    """
    if spec.classes:
        with decode.naming(files[0]):
            return _indices(pictures[0].values, spec.classes)
    ranges = spec.ranges * len(files) if len(spec.ranges) == 1 else spec.ranges
    parts = []
    for i, (picture, file) in enumerate(zip(pictures, files)):
        with decode.naming(file):
            channels = spec.channels
            if len(files) > 1:
                channels = channels_of(picture)
            value_range = ranges[i] if ranges else None
            try:
                values = decode.as_channels(
                    picture, channels, value_range[1] if value_range else 1.0
                )
            except DataError as error:
                field = f' ({spec.field})' if spec.field else ''
                raise DataError(f'{error}{field}') from error
            parts.append(_in_range(values, value_range, spec.name))
    if len(parts) == 1:
        return parts[0]
    if sum(part.shape[-1] for part in parts) != spec.channels:
        found = ', '.join(f'{part.shape[-1]} ({file})' for part, file in zip(parts, files))
        raise DataError(
            f'the inputs have {sum(part.shape[-1] for part in parts)} channels in all, {found}: '
            f'needed are config.generator.input_channels={spec.channels}'
        )
    return np.concatenate([augment.to_float(part) for part in parts], axis=-1)


def channels_of(picture: Pixels) -> int:
    """Returns how many channels a picture gives to an input of several: all but opacity."""
    return 3 if picture.opacity else picture.values.shape[-1]


def _indices(values: np.ndarray, classes: int) -> np.ndarray:
    if values.shape[-1] != 1 or values.dtype.kind not in 'ui':
        raise DataError(
            f'has {values.shape[-1]} channels of {values.dtype}: needed is a map of class indices '
            '(gray or a palette; config.dataset.input_classes)'
        )
    wrong = values[((values < 0) | (values >= classes)) & (values != VOID)]
    if wrong.size:
        raise DataError(
            f'has the class {wrong.max()}: allowed are 0 to {classes - 1} '
            f'(config.dataset.input_classes={classes}) and {VOID}, no class'
        )
    return values.astype(np.uint8)


def one_hot(indices: np.ndarray, classes: int) -> np.ndarray:
    """Returns class indices (H,W,1) as float32 (H,W,classes): 1 for the class, -1 for others."""
    return np.where(indices == np.arange(classes), np.float32(1), np.float32(-1))


def coloured(one_hots: np.ndarray, palette: np.ndarray | None = None) -> np.ndarray:
    """Returns one-hot classes (...,C) as colours (...,3) on [-1, 1], white where there is none.

    `palette` is uint8 (K,3), of which K - 1 is the last class that has a colour; by default and
    beyond it they are those of PASCAL VOC.
    """
    count = one_hots.shape[-1]
    colours = voc_palette(count)
    known = np.zeros((0, 3), np.uint8) if palette is None else palette[:count]
    colours[: len(known)] = known
    indices = np.where(one_hots.max(-1) > 0, one_hots.argmax(-1), count)
    return augment.to_float(np.concatenate([colours, np.full((1, 3), 255, np.uint8)])[indices])


def voc_palette(count: int) -> np.ndarray:
    """Returns uint8 (count,3), the colours of PASCAL VOC's classes: the bits of their numbers."""
    index = np.arange(count)
    colours = np.zeros((count, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (((index >> (3 * bit + channel)) & 1) << (7 - bit)).astype('u1')
    return colours


def _in_range(values: np.ndarray, value_range: Range | None, name: str) -> np.ndarray:
    """Returns values as uint8 or uint16, whose range is their type's, or as float32 on [-1, 1]."""
    if values.dtype.kind == 'f' and not np.isfinite(values).all():
        raise DataError('has values that are no finite numbers')
    if value_range is None:
        if values.dtype in (np.uint8, np.uint16):
            return values
        value_range = type_range(values.dtype)
        low, high = values.min(), values.max()
        if low < 0 or high > 1:
            classes = name == 'input' and values.dtype.kind in 'ui' and 0 <= low <= high < VOID
            raise DataError(
                f'has values from {low:g} to {high:g}: of {values.dtype} allowed is 0 to 1; '
                f'or say what they are with --config.dataset.{name}_range=LOW:HIGH'
                + (f', or of classes --config.dataset.input_classes={high + 1}' if classes else '')
            )
    low, high = value_range
    unit = values.astype(np.float32)  # then in place: a large image is there once more, not ten
    unit -= np.float32(low)
    unit *= np.float32(2 / (high - low))
    unit -= np.float32(1)
    return np.clip(unit, -1, 1, out=unit)


def type_range(dtype: np.dtype) -> Range:
    """Returns the (low, high) that become [-1, 1] where the config says nothing else."""
    return (0, np.iinfo(dtype).max) if dtype in (np.uint8, np.uint16) else (0, 1)


def to_type(image: np.ndarray, dtype: DTypeLike, value_range: Range | None = None) -> np.ndarray:
    """Returns float [-1, 1] as values of a file: the inverse of what reading does, rounded."""
    unit = (np.clip(np.asarray(image, np.float32), -1, 1) + 1) / 2
    kind = np.dtype(dtype)
    low, high = value_range or type_range(kind)
    values = low + unit * (high - low)
    return values.astype(kind) if kind.kind == 'f' else np.rint(values).astype(kind)


@functools.lru_cache(maxsize=16)
def levels(kind: np.dtype, value_range: Range | None = None) -> np.ndarray:
    """Returns the values that a file of type `kind` can hold, as they are read: float32 (K,).

    The values ascend on [-1, 1], the ends of `value_range`. K is 0 for floats, and for a range of
    more than 65,536 whole numbers, which `encode.file_type` writes as floats.
    """
    low, high = np.rint(value_range or type_range(kind))
    if kind.kind not in 'ui' or high - low >= MAX_LEVELS:
        return np.zeros(0, np.float32)
    values = np.arange(low, high + 1)
    return augment.to_float(
        _in_range(values if value_range else values.astype(kind), value_range, 'target')
    )
