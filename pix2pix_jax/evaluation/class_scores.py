"""Scores of classes as targets, or of targets in the colours of classes: accuracies and class IoU.

Of colours, as regression gives them, the nearest one counts. What scores is in set_metrics.
"""

import functools
from collections.abc import Mapping, Sequence

import numpy as np

from pix2pix_jax.config import Config
from pix2pix_jax.data import label_colors
from pix2pix_jax.data.label_colors import Classes
from pix2pix_jax.data.sources import Source
from pix2pix_jax.evaluation import label_maps, labels
from pix2pix_jax.evaluation.options import Subject, label_classes
from pix2pix_jax.evaluation.set_metrics import (
    ClassScores,
    LabelScores,
    MetricAccumulator,
    NotComputed,
    Unasked,
    from_label_map,
)


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
    if subject.label_kind == 'input':
        return False
    return bool(subject.options.classes) or not _why_not(subject, config, classes)


def create(names: Sequence[str], subject: Subject) -> MetricAccumulator:
    """Returns the accumulator of the scores; with a reason where targets have other colours."""
    config = subject.config
    assert config is not None  # see `applies`
    classes = label_classes(subject.options, config)
    if config.dataset.target_classes or classes is None:
        return ClassScores()
    # Without --classes `applies` has looked at them.
    reason = _why_not(subject, config, classes) if subject.options.classes else ''
    if reason:
        return NotComputed(labels.SCORES, reason)
    scores = of_colours(subject.splits[subject.split], tuple(config.image_size), classes)
    return scores if subject.options.classes else Unasked(labels.SCORES, scores)


def _why_not(subject: Subject, config: Config, classes: Classes) -> str:
    source, size = subject.splits[subject.split], tuple(config.image_size)
    return label_maps.why_not(source, 'target', size, classes)


def of_colours(
    source: Source, image_size: tuple[int, int], classes: Classes, prefix: str = ''
) -> LabelScores:
    """Returns the accumulator of the scores of targets and outputs in the colours of classes.

    It raises UserError for a target that has other colours.

    Args:
      source: the pairs that are measured, in their order.
      image_size: (height, width) of the examples.
      classes: those of the targets, and their colours.
      prefix: begins the names of the scores.
    """

    def true(i: int, images: Mapping[str, np.ndarray]) -> np.ndarray:
        found = label_maps.read(source, i, 'target', image_size, classes)
        if 'valid_pixels' in images:
            found = np.where(images['valid'][..., 0] == 1, found, label_colors.VOID)
        return found

    find = functools.partial(from_label_map, classes=classes)
    return LabelScores(classes, true, find, prefix=prefix)
