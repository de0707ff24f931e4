"""Scores of classes as targets, or of targets in the colours of classes: accuracies and class IoU.

Of colours, as regression gives them, the nearest one counts. What scores is in set_metrics.
"""

import functools
from collections.abc import Mapping, Sequence

import numpy as np

from pix2pix_jax.config import Config
from pix2pix_jax.data import augment, label_colors
from pix2pix_jax.data.label_colors import Classes
from pix2pix_jax.data.sources import Source
from pix2pix_jax.errors import UserError
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
    """Whether the targets are classes, or known to have the colours of classes."""
    config = subject.config
    if config is None:  # two folders: of label maps in colours that the user names
        return bool(subject.options.classes)
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
    classes = label_classes(subject.options, config)
    if config is None:
        assert classes is not None  # see `applies`
        return of_folders(subject, classes)
    if config.dataset.target_classes and subject.options.classes:
        raise UserError(
            f'--classes={subject.options.classes}: the targets of the run are classes already '
            f'(config.dataset.target_classes={config.dataset.target_classes}); leave it out'
        )
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


def of_folders(subject: Subject, classes: Classes, prefix: str = '') -> LabelScores:
    """Returns the accumulator of the scores of two folders of label maps in colours.

    It raises UserError for a target that has other colours; `prefix` begins the scores' names.
    """
    find = functools.partial(from_label_map, classes=classes)

    def true(i: int, images: Mapping[str, np.ndarray]) -> np.ndarray:
        label_colors.check(augment.from_float(images['target']), classes, subject.real[i])
        return _where_valid(find(images['target']), images)

    return LabelScores(classes, true, find, prefix=prefix)


def _where_valid(found: np.ndarray, images: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns classes (H,W), VOID where a pixel does not count."""
    if 'valid_pixels' not in images:
        return found
    return np.where(images['valid'][..., 0] == 1, found, label_colors.VOID)


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
        return _where_valid(label_maps.read(source, i, 'target', image_size, classes), images)

    find = functools.partial(from_label_map, classes=classes)
    return LabelScores(classes, true, find, prefix=prefix)
