"""What looks wrong with a user's images before they are translated; a sample of them is read."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pix2pix_jax.config import Config
from pix2pix_jax.data import halves, image_spec, picture_values, value_checks
from pix2pix_jax.data.formats import decode
from pix2pix_jax.data.formats.pixels import Pixels
from pix2pix_jax.data.image_spec import ImageSpec
from pix2pix_jax.errors import DataError
from pix2pix_jax.inference.inputs import Input

SAMPLE = 8  # translations whose inputs are looked at
MAX_PIXELS = 2**24  # of one file, and about of all
TWICE = (1.9, 2.1)  # times the width by height of the run's images, that of A|B side by side
MOST, SOME = 0.5, 0.25  # shares of files


def warnings_for(
    inputs: Sequence[Input], spec: ImageSpec, config: Config, found: dict[str, Any]
) -> list[str]:
    """Returns lines about inputs that look like A|B, or whose values or palettes look wrong.

    Inputs of the run's own pairs are not looked at; what is bad or very large neither.

    Args:
      inputs: what is translated.
      spec: how the run reads an input.
      config: of the run.
      found: what data.json says of the run's pairs; {} where nobody knows.
    """
    pictures = _read_sample(inputs)
    lines = [_as_pairs([one for one, *_ in pictures], config, found), _palettes(inputs, spec)]
    for place, some in enumerate(zip(*pictures)):
        number = place if len(pictures[0]) > 1 else None
        summary = picture_values.summary_of(some, spec, number)
        if about := value_checks.about_sliver(summary):
            lines.append(f'{summary.what}: {about}: needed are files like those of the training')
    return [line for line in lines if line]


def _read_sample(inputs: Sequence[Input]) -> list[tuple[Pixels, ...]]:
    """Returns the pictures of some of the inputs."""
    pictures = []
    for one in _sample(inputs):
        with contextlib.suppress(DataError):  # it is said where it is translated
            pictures.append(tuple(map(decode.read_pixels, one.files)))
    return pictures


def _sample(inputs: Sequence[Input]) -> Iterator[Input]:
    """Yields some of the inputs, none of them very large."""
    picks, pixels = np.linspace(0, len(inputs) - 1, min(SAMPLE, len(inputs))).astype(int), 0
    for one in (inputs[i] for i in picks.tolist() if not inputs[i].pair):
        with contextlib.suppress(DataError):
            size = max(math.prod(decode.size_of(file)) for file in one.files)
            if size + pixels <= MAX_PIXELS:
                pixels += size
                yield one


def _palettes(inputs: Sequence[Input], spec: ImageSpec) -> str:
    """Says of the first map whose palette names the run's classes in another order; or ''."""
    for one in _sample(inputs) if spec.colours is not None else ():
        file = one.files[0]
        with contextlib.suppress(DataError):
            if decode.palette_of(file) is None:
                continue
            if about := value_checks.about_palette(image_spec.read(spec, file), spec):
                return f'{file}: {about}'
    return ''


def _as_pairs(pictures: Sequence[Pixels], config: Config, found: dict[str, Any]) -> str:
    """Says where files are twice as wide as images of the run and break at the middle.

    Of a run whose own pairs lie side by side it is enough that they do not run on there.
    """
    height, width = found.get('size') or config.image_size
    if not height:
        return ''
    low, high = (times * width / height for times in TWICE)
    wide = [p.values for p in pictures if low <= p.values.shape[1] / p.values.shape[0] <= high]
    if (
        config.dataset.task != 'none'
        or config.dataset.input_pattern
        or not wide
        or len(wide) < len(pictures)
    ):
        return ''
    middles = [halves.across_middle(values) for values in wide]
    breaks, runs_on = (middles.count(word) / len(wide) for word in ('breaks', 'runs on'))
    if breaks <= MOST and not (found.get('side_by_side') and runs_on < SOME):
        return ''
    return (
        f'the inputs are twice as wide as images of the run ({width}x{height}), as files of A|B '
        'side by side are, and each is taken as one input: give the input halves alone; of pairs '
        '--split=test translates the inputs of the run, evaluate --dataset=DIR those of a folder'
    )
