"""Which measures an evaluation makes, beside those of single pairs."""

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pix2pix_jax.config import Config
from pix2pix_jax.data import augment
from pix2pix_jax.data.formats.pixels import File
from pix2pix_jax.data.sources import Source
from pix2pix_jax.errors import UserError
from pix2pix_jax.evaluation import labels
from pix2pix_jax.evaluation.labels import DATA_SETS, VOID
from pix2pix_jax.evaluation.set_metrics import (
    FCN_NAMES,
    Checkerboards,
    LabelScores,
    LabHistograms,
    Measure,
    NotComputed,
    from_label_map,
)
from pix2pix_jax.workdir.metric_writer import SSIM_DEFINITION

# The first that each gives, by its name in metrics.json.
FIRST = {'lab': 'lab_l', 'checkerboard': 'checkerboard', 'fcn': 'fcn_pixel_accuracy'}
FIRST |= {name: name for name in ('lpips', 'fid', 'kid')}
NAMES = tuple(FIRST)


class Options(NamedTuple):
    """What the user chose."""

    names: tuple[str, ...] = NAMES
    classes: str = ''  # a key of labels.DATA_SETS; '': config.dataset.name
    segmenter: str = ''  # MODULE:FUNCTION; '': one is trained
    inception_weights: str = ''  # files; '': those in the cache folder, or a download
    alexnet_weights: str = ''
    lpips_weights: str = ''


PAIRS_ALONE = Options(())


def check(options: Options) -> None:
    """Raises UserError for a name that is unknown, or a segmenter that cannot be imported."""
    for name in options.names:
        if name not in NAMES:
            raise UserError(f'--metrics: {name!r} is unknown, allowed are {", ".join(NAMES)}')
    if options.classes and options.classes not in DATA_SETS:
        raise UserError(f'--classes={options.classes}: allowed are {", ".join(DATA_SETS)}')
    if options.segmenter:
        import_segmenter(options.segmenter)


def identity(options: Options) -> dict[str, str]:
    """Returns what the metrics of `options`, and SSIM, are measured with.

    Those of others are not comparable.
    """
    from pix2pix_jax.evaluation import segmenter

    own = f'the own segmenter, version {segmenter.VERSION}'
    measured = {'ssim': SSIM_DEFINITION} | dict.fromkeys(options.names, '')
    for name, what in (
        ('fcn', ' '.join(filter(None, (options.segmenter or own, options.classes)))),
        ('lpips', ' '.join(filter(None, (options.alexnet_weights, options.lpips_weights)))),
        ('fid', options.inception_weights),
        ('kid', options.inception_weights),
    ):
        if name in measured:
            measured[name] = what
    return measured


def trains(options: Options, config: Config) -> bool:
    """Whether the FCN-score of a run needs the training split, to train a segmenter on."""
    from pix2pix_jax.evaluation import segmenter

    _, label = segmenter.photo_and_labels(config.dataset.direction)
    own = 'fcn' in options.names and not options.segmenter and label == 'input'
    return own and not _uncountable(options, config)


def for_run(
    options: Options, config: Config, splits: Mapping[str, Source], split: str
) -> list[Measure]:
    """Returns the measures of a run's images of `split`; trains a segmenter where one is needed.

    Raises DataError for a bad training pair of it, and UserError, then or when an example is
    measured, for label maps of other colours than the options or the config say.
    """
    return _measures(options, lambda: _fcn(options, config, splits, split))


def for_folders(options: Options, real: Sequence[File]) -> list[Measure]:
    """Returns the measures of the images `real` against others, of which no more is known.

    They raise UserError for label maps of other colours than the options say.
    """
    return _measures(options, lambda: _label_maps(options, real))


def _measures(options: Options, fcn: Callable[[], Measure]) -> list[Measure]:
    measures = {'lab': LabHistograms, 'checkerboard': Checkerboards, 'fcn': fcn}
    networks, perceptual = [name for name in ('lpips', 'fid', 'kid') if name in options.names], []
    if networks:  # first: a file of other weights is said before a segmenter is trained
        from pix2pix_jax.evaluation.perceptual import Perceptual

        paths = dict(
            inception_path=options.inception_weights,
            alexnet_path=options.alexnet_weights,
            lpips_path=options.lpips_weights,
        )
        perceptual = [Perceptual(networks, **paths)]
    return [measures[name]() for name in measures if name in options.names] + perceptual


def _uncountable(options: Options, config: Config) -> str:
    """Returns why a run can have no FCN-score; '' where it can."""
    if config.dataset.task != 'none':
        return 'the pairs are made from photos: there are no label maps'
    if (options.classes or config.dataset.name) not in DATA_SETS:
        known = ' | '.join(DATA_SETS)
        return (
            f'the label colours of config.dataset.name={config.dataset.name} are not known; '
            f'--classes gives those of {known}'
        )
    if config.generator.input_channels != 3 or config.generator.output_channels != 3:
        return 'label maps and photos are RGB images, 3 channels each'
    return ''


def _fcn(options: Options, config: Config, splits: Mapping[str, Source], split: str) -> Measure:
    from pix2pix_jax.evaluation import segmenter

    reason = _uncountable(options, config)
    if reason:
        return NotComputed(FCN_NAMES, reason)
    classes = DATA_SETS[options.classes or config.dataset.name]
    size, source = tuple(config.image_size), splits[split]

    def true(i: int, images: Mapping[str, np.ndarray]) -> np.ndarray:
        return segmenter.label_map(source, i, size, classes)

    if not options.classes:  # a config's name alone says so, of pairs that may be a user's own
        try:
            segmenter.check_labels(source, size, classes)
        except UserError as error:
            return NotComputed(FCN_NAMES, str(error).partition(';')[0])  # without all colours
    _, label = segmenter.photo_and_labels(source.direction)
    if label == 'target':  # Table 6
        return LabelScores(classes, true, functools.partial(from_label_map, classes=classes), False)
    if options.segmenter:
        segment = checked_segmenter(options.segmenter, len(classes.colours))
    elif 'train' in splits:
        segment = segmenter.load_or_train(splits['train'], size, classes)
    else:
        return NotComputed(FCN_NAMES, 'there is no train split to train a segmenter on')
    return LabelScores(classes, true, lambda image: np.asarray(segment(image[None]))[0], True)


def _label_maps(options: Options, real: Sequence[File]) -> Measure:
    """Both folders hold label maps, whose colours the user names."""
    classes = DATA_SETS.get(options.classes)
    if classes is None:
        reason = 'of two folders it scores label maps, whose colours --classes must name'
        return NotComputed(FCN_NAMES, reason)
    find = functools.partial(from_label_map, classes=classes)

    def true(i: int, images: Mapping[str, np.ndarray]) -> np.ndarray:
        labels.check(augment.from_float(images['target']), classes, real[i])
        return find(images['target'])

    return LabelScores(classes, true, find, False)


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
