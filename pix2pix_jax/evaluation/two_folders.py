"""Measures one folder of images against another, or the pairs of a list."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from pix2pix_jax.data import augment, image_spec, masks, picture_values, value_checks
from pix2pix_jax.data.folders import pair_files
from pix2pix_jax.data.formats.decode import as_channels, read_pixels
from pix2pix_jax.data.lists import read_outputs
from pix2pix_jax.errors import DataError
from pix2pix_jax.evaluation import image_metrics, metrics, report
from pix2pix_jax.evaluation.options import Options

RANGE = '--range'


class FolderImages(NamedTuple):
    """Which images are measured against which."""

    real: epath.PathLike  # the folder of the targets
    generated: epath.PathLike  # the folder of the images that are measured
    listed: epath.PathLike = ''  # a CSV file of columns real and generated; '': by their names
    ranges: tuple[image_spec.Range, ...] = ()  # of their values; (): that of their type
    nodata: str = ''  # the value of the targets that does not count, or nan; '': there is none


def evaluate_folders(
    images: FolderImages,
    output: epath.PathLike | None,
    options: Options = metrics.PAIRS_ALONE,
) -> report.Summary:
    """Measures the images in one folder against those of the same names in another, or of a list.

    RGB images are measured as RGB, those of other channels as they are. Names are relative paths
    without their extensions.

    Args:
      images: the two folders, and what their values mean.
      output: the folder for the report; None: there is no report.
      options: what is measured beside L1, PSNR and SSIM.

    Returns:
      The summary, as `metrics.json` has it.

    Raises:
      DataError: for a folder without images, a name that only one folder has, an unreadable image,
        or a pair of two sizes.
      UserError: for label maps of other colours than `options` say, and for a `nodata` that is no
        number.
    """
    masks.check_number(images.nodata, '--nodata')
    folders = epath.Path(images.real), epath.Path(images.generated)
    listed = images.listed
    pairs = read_outputs(epath.Path(listed), *folders) if listed else pair_files(folders)
    files = [real_file for real_file, _ in pairs.values()]
    for line in _doubts_of_files(files, images):
        print(f'warning: {line}', flush=True)
    first_type = read_pixels(files[0]).values.dtype
    units = bool(images.ranges) or first_type != np.uint8
    accumulators = metrics.for_folders(options, files, units, masked=bool(images.nodata))
    about = {'measured': metrics.identity(options)}
    unit = image_spec.type_range(first_type) if units and not images.ranges else None
    read = ([example] for example in _read(pairs, images.ranges, images.nodata, unit))
    return report.measure(
        read, len(pairs), output, about=about, progress=True, accumulators=accumulators
    )[0]


def _doubts_of_files(files: Sequence[epath.Path], images: FolderImages) -> list[str]:
    """Returns what looks wrong with the values of targets, and is no error; a sample is read."""
    step = math.ceil(len(files) / picture_values.SAMPLE)
    spec = image_spec.ImageSpec(
        'target', image_spec.DEFAULT_CHANNELS, images.ranges, nodata=images.nodata, range_flag=RANGE
    )
    summary = picture_values.summary_of(map(read_pixels, files[::step]), spec, None)
    lines = []
    if clipped := value_checks.about_clipped(summary):
        lines.append(f'{clipped} in all but mae and rmse')
    if sliver := value_checks.about_sliver(summary):
        lines.append(f'{sliver}: so all errors look small; {RANGE}=LOW:HIGH says what they fill')
    return [f'{images.real}: {line}' for line in lines]


def _read(
    pairs: Mapping[str, tuple[epath.Path, ...]],
    ranges: tuple[image_spec.Range, ...],
    nodata: str = '',
    unit: image_spec.Range | None = None,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each pair measured in float64 on the host: of many sizes, each would be compiled.

    `unit` is the range of the type that all targets must have; None: any.
    """
    for name, files in pairs.items():
        target, output = map(read_pixels, files)
        if unit not in (None, image_spec.type_range(target.values.dtype)):
            raise DataError(
                f'{files[0]} is of {target.values.dtype}, and the first is of another type: errors '
                f'have no common unit; measure them apart, or say one range of all with {RANGE}'
            )
        if output.values.shape[:2] != target.values.shape[:2]:
            a, b = ('{1}x{0}'.format(*image.values.shape) for image in (output, target))
            raise DataError(f'{files[1]} is {a} but {files[0]} is {b}: sizes must agree')
        channels, of_output = (one.values.shape[-1] for one in (target, output))
        bands = channels == 4 and not (target.opacity and (output.opacity or of_output != 4))
        if bands:
            target, output = (one._replace(opacity=False) for one in (target, output))
            channels = 4 if of_output == 4 else 3
        elif target.opacity or channels == 1:  # what is transparent lies over white
            channels = 3
        spec = image_spec.ImageSpec('target', channels, ranges, range_flag=RANGE)
        low, high = spec.range_of(target.values.dtype)
        valid, known = None, {}
        if nodata:
            valid = ~masks.missing(target, nodata, (low, high))
            output, target = (masks.filled(one, valid) for one in (output, target))
            known = {'valid': valid, 'valid_pixels': int(valid.sum())}
        images = {
            kind: augment.to_float(image_spec.combine(spec, [one], [file]))
            for kind, one, file in zip(('output', 'target'), (output, target), files[::-1])
        }
        found = image_metrics.of_pair(**images, valid=valid)
        if ranges:  # values of one unit, which the ends of the range do not cut off
            stored = {
                kind: as_channels(one, spec.channels, high)
                for kind, one in (('output', output), ('target', target))
            }
            found |= image_metrics.in_units(**stored, span=2.0, valid=valid)
        else:
            found |= image_metrics.in_units(**images, span=high - low, valid=valid)
        yield name, images | known | found
