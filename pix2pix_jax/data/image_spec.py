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
from pix2pix_jax.data import augment, class_maps, label_colors, masks
from pix2pix_jax.data.formats import decode, windows
from pix2pix_jax.data.formats.pixels import Box, File, Pixels, Range
from pix2pix_jax.data.label_colors import Classes
from pix2pix_jax.errors import DataError, UserError

MAX_LEVELS = 65_536
DEFAULT_CHANNELS = 3  # of networks, for which those of classes or of the data are taken
CHANNELS = {'input': 'generator.input_channels', 'target': 'generator.output_channels'}  # fields


class ImageSpec(NamedTuple):
    """What the network takes as an input, or as a target."""

    name: str  # 'input' or 'target'
    channels: int
    ranges: tuple[Range, ...] = ()  # (low, high) for each file, or for all; (): as the type says
    classes: int = 0  # files are maps of classes 0 to classes - 1; 0: they are images
    field: str = ''  # where `channels` come from, for messages
    range_flag: str = ''  # the flag that takes other values, for messages; '': there is none
    nodata: str = ''  # the value that says that there is none; '': there is no such value
    void: int = class_maps.NO_VOID  # the value of no class in files of indices
    coding: Classes | None = None  # the colours of the classes in the files; None: indices
    palette: Classes | None = None  # the colours in which indices are shown; None: the file's own

    def range_of(self, dtype: np.dtype, place: int = 0) -> Range:
        """Returns the (low, high) that becomes [-1, 1]; of several pictures of number `place`."""
        if not self.ranges:
            return type_range(dtype)
        return self.ranges[place if len(self.ranges) > 1 else 0]

    @property
    def has_void(self) -> bool:
        """Whether pixels of the maps may be of no class."""
        return bool(self.coding.void) if self.coding else self.void != class_maps.NO_VOID

    @property
    def colours(self) -> np.ndarray | None:
        """The colours of `table`, uint8 (K,3)."""
        return np.array(list(self.table.colours.values()), np.uint8) if self.table else None

    @property
    def table(self) -> Classes | None:
        """The names and colours of the classes, where the config says them."""
        return self.coding or self.palette


def range_fields(config: Config) -> tuple[str, str]:
    """Returns the fields of `config.dataset` with the ranges of input and target.

    A task makes its inputs of photos, which have one range.
    """
    return 'input_range' if config.dataset.task == 'none' else 'target_range', 'target_range'


def of_config(config: Config) -> tuple[ImageSpec, ImageSpec]:
    """Returns the specs of input and target; of plain photos (dataset.task) the target is RGB."""
    d, g = config.dataset, config.generator
    fields = range_fields(config)
    ranges = [parse_ranges(field, d[field]) for field in fields]
    channels, field = g.output_channels, 'config.generator.output_channels'
    if d.task != 'none':
        channels, field = 3, 'config.dataset.task'
    specs = (
        ImageSpec(
            'input',
            g.input_channels,
            ranges[0],
            field='config.generator.input_channels',
            range_flag=f'--config.dataset.{fields[0]}',
            nodata=d.nodata,
        ),
        ImageSpec(
            'target',
            channels,
            ranges[1],
            field=field,
            range_flag=f'--config.dataset.{fields[1]}',
            nodata=d.nodata,
        ),
    )
    source, target = (_with_classes(spec, config) for spec in specs)
    return source, target


def of_run(config: Config) -> tuple[ImageSpec, ImageSpec]:
    """Returns those of a run that is there: messages name its fields, and no flags to set them."""
    source, target = (
        spec._replace(field=f"the run's {spec.field}", range_flag='') for spec in of_config(config)
    )
    return source, target


def _with_classes(spec: ImageSpec, config: Config) -> ImageSpec:
    d, count = config.dataset, class_maps.count(spec.name, config)
    if not count:
        return spec
    found = d.palette if spec.name == 'target' or not d.target_classes else ''
    return spec._replace(
        classes=count,
        void=class_maps.void_of(config),
        coding=label_colors.table(d.colors) if d.colors else None,
        palette=label_colors.table(found, 'config.dataset.palette') if found else None,
    )


def check(config: Config) -> None:
    """Raises UserError for fields about input and target that do not go together."""
    d = config.dataset
    _, target = of_config(config)
    if len(target.ranges) > 1:
        raise UserError(f'config.dataset.target_range={d.target_range!r}: allowed is one range')
    masks.check_number(d.nodata, 'config.dataset.nodata')
    if d.task != 'none' and (d.nodata or d.mask):
        raise UserError(
            f'config.dataset.nodata={d.nodata!r}, mask={d.mask!r}: config.dataset.task='
            f"'{d.task}' makes its pairs of whole photos; allowed are '' and ''"
        )
    if d.task != 'none' and (d.input_classes or d.target_classes or d.input_range):
        raise UserError(
            f'config.dataset.input_classes={d.input_classes}, target_classes={d.target_classes}, '
            f"input_range={d.input_range!r}: config.dataset.task='{d.task}' makes its inputs of "
            "photos; allowed are 0, 0 and ''"
        )
    _check_classes(config)
    _check_exif(config)
    if d.preprocess == 'none' and 0 in tuple(config.image_size):
        raise UserError(
            "config.dataset.preprocess='none': config.image_size must say the size of the images"
        )


def _check_exif(config: Config) -> None:
    d = config.dataset
    refused = {'mask': bool(d.mask), 'windows': d.windows == 'on', 'hold_out': d.hold_out != 'file'}
    for name in [name for name, is_refused in refused.items() if is_refused]:
        if d.exif == 'pair':
            raise UserError(
                "config.dataset.exif='pair': it turns whole images, and no masks; allowed is 'own' "
                f'where config.dataset.{name}={d[name]!r}'
            )


def _check_classes(config: Config) -> None:
    d = config.dataset
    class_maps.void_of(config)
    for name, channels in CHANNELS.items():
        count, shifted = class_maps.count(name, config), [d.color_jitter]
        if name == 'input':
            shifted.append(d.input_color_jitter)
        found = config.generator[channels.removeprefix('generator.')]
        if count and found != count:
            raise UserError(
                f'config.{channels}={found}: allowed is {count}, a channel for '
                f'each of config.dataset.{name}_classes'
            )
        if count and (d[f'{name}_range'] or any(shifted)):
            raise UserError(
                f'config.dataset.{name}_classes={count}: classes have no {name}_range, '
                'color_jitter or input_color_jitter'
            )
        table = label_colors.table(d.colors) if d.colors else None
        if count and table and len(table.colours) != count:
            raise UserError(
                f'config.dataset.{name}_classes={count}: allowed is {len(table.colours)}, the '
                'number of classes in config.dataset.colors'
            )
    if d.palette and (d.colors or not (d.input_classes or d.target_classes)):
        raise UserError(
            "config.dataset.palette: it shows class indices; allowed is '' where the config has no "
            'input_classes and target_classes, or has dataset.colors'
        )
    if d.colors:
        label_colors.check_distinct(label_colors.table(d.colors))
    if d.target_classes == 1:
        raise UserError('config.dataset.target_classes=1: allowed are 2 or more, or 0')


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


def read(spec: ImageSpec, file: File, box: Box | None = None) -> Pixels:
    """Returns the image of a file, or its class indices; raises DataError, naming it.

    With a `box` it is that window of the image.
    """
    return windows.read(file, box, indices=spec.classes > 0 and spec.coding is None)


def missing(spec: ImageSpec, picture: Pixels, place: int = 0) -> np.ndarray:
    """Returns bool (H,W,1): where a picture of these is no-data; it is no map of classes.

    Inputs of 8 bits have no no-data: 0 is black there. `place` is the number of the picture in its
    input.
    """
    value_range = spec.range_of(picture.values.dtype, place)
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
            if spec.coding:
                return class_maps.from_colours(pictures[0], spec.coding)
            return class_maps.from_indices(pictures[0], spec.classes, spec.void, spec.name)
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
                raise DataError(f'{error}{_taken_by(spec, channels_of(picture))}') from error
            _check_values(spec, values, value_range)
            parts.append(_in_range(values, value_range))
    if len(parts) == 1:
        return parts[0]
    if sum(part.shape[-1] for part in parts) != spec.channels:
        found = ', '.join(f'{part.shape[-1]} ({file})' for part, file in zip(parts, files))
        count = sum(part.shape[-1] for part in parts)
        raise DataError(
            f'the inputs have {count} channels in all, {found}: needed are {spec.channels}'
            + _taken_by(spec, count)
        )
    return np.concatenate([augment.to_float(part) for part in parts], axis=-1)


def _taken_by(spec: ImageSpec, count: int) -> str:
    """Says which field has the number of channels, and the flag that takes `count`."""
    if spec.field not in [f'config.{field}' for field in CHANNELS.values()]:
        return f' ({spec.field})' if spec.field else ''
    return f' ({spec.field}); --{spec.field}={count} takes these'


def channels_of(picture: Pixels) -> int:
    """Returns how many channels a picture gives to an input of several: all but opacity."""
    return picture.colours.shape[-1]


def _check_values(spec: ImageSpec, values: np.ndarray, value_range: Range | None) -> None:
    """Raises DataError for NaN, and without a range for values beyond that of their type."""
    if values.dtype.kind == 'f' and not np.isfinite(values).all():
        raise DataError('has values that are no finite numbers')
    if value_range is not None or values.dtype in (np.uint8, np.uint16):
        return
    low, high = values.min(), values.max()
    if low >= 0 and high <= 1:
        return
    ways = f'; or say what they are with {spec.range_flag}=LOW:HIGH' if spec.range_flag else ''
    indices = values.dtype.kind in 'ui' and 0 <= low <= high < class_maps.VOID
    if indices and spec.range_flag.startswith('--config.'):
        ways += f', or of classes --config.dataset.{spec.name}_classes={high + 1}'
    raise DataError(
        f'has values from {low:g} to {high:g}: of {values.dtype} allowed is 0 to 1{ways}'
    )


def _in_range(values: np.ndarray, value_range: Range | None) -> np.ndarray:
    """Returns values as uint8 or uint16, whose range is their type's, or as float32 on [-1, 1]."""
    if value_range is None:
        if values.dtype in (np.uint8, np.uint16):
            return values
        value_range = type_range(values.dtype)
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
    return augment.to_float(_in_range(values if value_range else values.astype(kind), value_range))
