"""The FCN-score of a run's images, or of two folders: who finds the classes, and in which colours.

What scores them is set_metrics.LabelScores.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pix2pix_jax.config import Config
from pix2pix_jax.data.label_colors import DATA_SETS, VOID
from pix2pix_jax.errors import UserError
from pix2pix_jax.evaluation import class_scores, label_maps, segmenter
from pix2pix_jax.evaluation.options import Options, Subject, label_classes
from pix2pix_jax.evaluation.set_metrics import (
    FCN_NAMES,
    LabelScores,
    MetricAccumulator,
    NotComputed,
    Unasked,
)


def create(names: Sequence[str], subject: Subject) -> MetricAccumulator:
    """Returns the accumulator of the scores; trains a segmenter where one is needed.

    Raises DataError for a bad training pair of it, and UserError, then or when an example is
    measured, for label maps of other colours than the options say.
    """
    if subject.config is None:
        return _label_maps(subject)
    scores = _of_run(subject, subject.config)
    return scores if subject.options.classes else Unasked(FCN_NAMES, scores)


def measured_with(options: Options) -> str:
    """Returns the segmenter and the colours, as far as they are not the run's own."""
    own = f'the own segmenter, version {segmenter.VERSION}'
    used = options.segmenter or options.segmenter_weights or own
    return ' '.join(filter(None, (used, options.classes)))


def trains(options: Options, config: Config) -> bool:
    """Whether a run's score may need the training split, to train a segmenter on.

    Which image is the label map may be known only once pairs are read.
    """
    own = not options.segmenter and not segmenter.is_file(options.segmenter_weights)
    return own and not config.dataset.target_classes and not _uncountable(options, config)


def _uncountable(options: Options, config: Config) -> str:
    """Returns why a run can have no FCN-score; '' where it can."""
    if config.dataset.task != 'none':
        return 'the pairs are made from photos: there are no label maps'
    if label_classes(options, config) is None:
        known = ' | '.join(DATA_SETS)
        return (
            f'the label colours of config.dataset.name={config.dataset.name} are not known; '
            f'--classes gives those of {known}, or of a FILE'
        )
    indices = config.dataset.input_classes  # of colours, by dataset.colors
    channels = config.generator.input_channels, config.generator.output_channels
    if channels != (indices or 3, 3):
        return 'label maps and photos are RGB images, 3 channels each'
    return ''


def _of_run(subject: Subject, config: Config) -> MetricAccumulator:
    options, splits = subject.options, subject.splits
    reason = _uncountable(options, config)
    if reason:
        return NotComputed(FCN_NAMES, reason)
    classes = label_classes(options, config)
    assert classes is not None  # else it is uncountable
    size, source = tuple(config.image_size), splits[subject.split]
    label = subject.label_kind
    if not options.classes:  # a config's name alone says so, of pairs that may be a user's own
        reason = label_maps.why_not(source, label, size, classes)
        if reason:
            return NotComputed(FCN_NAMES, reason)
    if label == 'target':  # Table 6
        return class_scores.of_colours(source, size, classes, 'fcn_')
    if options.segmenter:
        segment = checked_segmenter(options.segmenter, len(classes.colours))
    elif segmenter.is_file(options.segmenter_weights):
        segment = segmenter.load(options.segmenter_weights, size, classes, source.preprocess)
    elif 'train' in splits:
        file = options.segmenter_weights
        segment = segmenter.load_or_train(splits['train'], size, classes, file=file)
    else:
        return NotComputed(FCN_NAMES, 'there is no train split to train a segmenter on')

    def true(i: int, images: Mapping[str, np.ndarray]) -> np.ndarray:
        return label_maps.read(source, i, label, size, classes)

    return LabelScores(classes, true, lambda image: np.asarray(segment(image[None]))[0], True)


def _label_maps(subject: Subject) -> MetricAccumulator:
    """Both folders hold label maps, whose colours the user names."""
    classes = label_classes(subject.options, None)
    if classes is None:
        reason = 'of two folders it scores label maps, whose colours --classes must name'
        return NotComputed(FCN_NAMES, reason)
    return class_scores.of_folders(subject, classes, 'fcn_')


def import_segmenter(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the function MODULE:FUNCTION; raises UserError where it is not there."""
    module, _, function = name.partition(':')
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as error:  # whatever the user's module does
        reason = f'{type(error).__name__}: {error}'
        raise UserError(f'--segmenter={name}: {reason}; allowed is MODULE:FUNCTION') from error
    if not callable(found):
        raise UserError(f'--segmenter={name}: it is not a function')
    return found


def checked_segmenter(name: str, count: int) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the function MODULE:FUNCTION, which is to give a whole number for every pixel.

    Any but 0 to count - 1 is VOID, which is wrong for any class. Raises UserError.
    """
    segment = import_segmenter(name)

    def checked(photos: np.ndarray) -> np.ndarray:
        found = np.asarray(segment(photos))
        if found.shape != photos.shape[:3] or not np.issubdtype(found.dtype, np.integer):
            raise UserError(
                f'--segmenter={name} gave {found.dtype} {found.shape} for photos {photos.shape}: '
                f'needed are whole numbers {photos.shape[:3]}'
            )
        return np.where((found >= 0) & (found < count), found, VOID)

    return checked
