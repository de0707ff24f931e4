"""Which measures an evaluation makes, beside those of single pairs."""

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from pix2pix_jax.config import Config
from pix2pix_jax.data.sources import Source
from pix2pix_jax.errors import UserError
from pix2pix_jax.evaluation.labels import DATA_SETS, Classes
from pix2pix_jax.evaluation.measures import (
    FCN_NAMES,
    Checkerboards,
    LabelScores,
    LabHistograms,
    Measure,
    NotComputed,
    from_label_map,
)

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


def for_run(
    options: Options, config: Config, splits: Mapping[str, Source], split: str
) -> list[Measure]:
    """Returns the measures of a run's images of `split`; trains a segmenter where one is needed.

    Raises DataError for a bad training pair of it.
    """
    classes = DATA_SETS.get(options.classes or config.dataset.name)
    return _measures(options, lambda: _fcn(options, classes, config, splits, split))


def for_folders(options: Options) -> list[Measure]:
    """Returns the measures of a folder of images against another, of which no more is known."""
    return _measures(options, lambda: _label_maps(options))


def _measures(options: Options, fcn: Callable[[], Measure]) -> list[Measure]:
    measures = {'lab': LabHistograms, 'checkerboard': Checkerboards, 'fcn': fcn}
    found = [measures[name]() for name in measures if name in options.names]
    networks = [name for name in ('lpips', 'fid', 'kid') if name in options.names]
    if networks:
        from pix2pix_jax.evaluation.perceptual import Perceptual

        paths = dict(
            inception_path=options.inception_weights,
            alexnet_path=options.alexnet_weights,
            lpips_path=options.lpips_weights,
        )
        found.append(Perceptual(networks, **paths))
    return found


def _fcn(
    options: Options,
    classes: Classes | None,
    config: Config,
    splits: Mapping[str, Source],
    split: str,
) -> Measure:
    from pix2pix_jax.evaluation import segmenter

    if classes is None:
        known = ' | '.join(DATA_SETS)
        return NotComputed(
            FCN_NAMES,
            f'the label colours of config.dataset.name={config.dataset.name} are not known; '
            f'--classes gives those of {known}',
        )
    if config.generator.input_channels != 3 or config.generator.output_channels != 3:
        return NotComputed(FCN_NAMES, 'label maps and photos are RGB images, 3 channels each')
    size, source = tuple(config.image_size), splits[split]

    def true(i: int, images: Mapping[str, np.ndarray]) -> np.ndarray:
        return segmenter.label_map(source, i, size, classes)

    _, label = segmenter.photo_and_labels(source)
    if label == 'target':  # Table 6
        return LabelScores(classes, true, functools.partial(from_label_map, classes=classes), False)
    if options.segmenter:
        segment = import_segmenter(options.segmenter)
    elif 'train' in splits:
        segment = segmenter.load_or_train(splits['train'], size, classes)
    else:
        return NotComputed(FCN_NAMES, 'there is no train split to train a segmenter on')
    return LabelScores(classes, true, lambda image: np.asarray(segment(image[None]))[0], True)


def _label_maps(options: Options) -> Measure:
    """Both folders hold label maps, whose colours the user names."""
    classes = DATA_SETS.get(options.classes)
    if classes is None:
        reason = 'of two folders it scores label maps, whose colours --classes must name'
        return NotComputed(FCN_NAMES, reason)
    find = functools.partial(from_label_map, classes=classes)
    return LabelScores(classes, lambda i, images: find(images['target']), find, False)


def import_segmenter(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the function MODULE:FUNCTION; raises UserError where it is not there."""
    module, _, function = name.partition(':')
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f'--segmenter={name}: {error}; allowed is MODULE:FUNCTION') from error
    if not callable(found):
        raise UserError(f'--segmenter={name}: it is not a function')
    return found
