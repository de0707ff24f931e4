"""Scores of classes as targets, or of targets in the colours of classes: accuracies and class IoU.

Of colours, as regression gives them, the nearest one counts. What scores is in set_metrics.
"""

import functools
from collections.abc import Mapping, Sequence

import numpy as np

from pix2pix_jax.data import augment, label_colors
from pix2pix_jax.data.label_colors import Classes
from pix2pix_jax.data.sources import Source
from pix2pix_jax.errors import UserError
from pix2pix_jax.evaluation import labels
from pix2pix_jax.evaluation.options import Subject, label_classes
from pix2pix_jax.evaluation.set_metrics import (
    ClassScores,
    LabelScores,
    MetricAccumulator,
    NotComputed,
    from_label_map,
)
from pix2pix_jax.reports import image_grid

CHECKED = 20  # label maps, at most, whose colours are looked at


def applies(subject: Subject) -> bool:
    """Whether the targets of a run are classes, or known to have the colours of classes."""
    config = subject.config
    if config is None:
        return False
    if config.dataset.target_classes:
        return True
    classes = label_classes(subject.options, config)
    if classes is None or not subject.splits or config.dataset.task != 'none':
        return False
    return bool(subject.options.classes) or not _unlike(subject.splits[subject.split], classes)


def create(names: Sequence[str], subject: Subject) -> MetricAccumulator:
    """Returns the accumulator of the scores; with a reason where targets have other colours."""
    assert subject.config is not None  # see `applies`
    classes = label_classes(subject.options, subject.config)
    if subject.config.dataset.target_classes or classes is None:
        return ClassScores()
    source, size = subject.splits[subject.split], tuple(subject.config.image_size)
    # Without --classes `applies` has looked at them.
    reason = _unlike(source, classes) if subject.options.classes else ''
    if reason:
        return NotComputed(labels.SCORES, reason)

    def true(i: int, images: Mapping[str, np.ndarray]) -> np.ndarray:
        image = augment.resized(source[i]['target'], size, 'nearest')
        found = label_colors.from_colours(image, classes)
        if 'valid_pixels' in images:
            found = np.where(images['valid'][..., 0] == 1, found, label_colors.VOID)
        return found

    find = functools.partial(from_label_map, classes=classes)
    return LabelScores(classes, true, find, prefix='')


def _unlike(source: Source, classes: Classes) -> str:
    """Returns why the targets are no maps in these colours; '' where they are."""
    for i in image_grid.evenly_spaced(len(source), CHECKED):
        try:
            label_colors.check(source[int(i)]['target'], classes, source.files[int(i)][-1])
        except UserError as error:
            return str(error).partition(';')[0]  # without all colours
    return ''
