"""The metrics: what each is called, which way is better, what it needs and how it is computed."""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pix2pix_jax.config import Config
from pix2pix_jax.data.formats.pixels import File
from pix2pix_jax.data.sources import Source
from pix2pix_jax.errors import UserError
from pix2pix_jax.evaluation import class_scores, fcn_score, perceptual
from pix2pix_jax.evaluation.checkerboard import PERIOD, checkerboard
from pix2pix_jax.evaluation.image_metrics import SSIM_WINDOW
from pix2pix_jax.evaluation.options import Options, Subject, content, label_classes
from pix2pix_jax.evaluation.set_metrics import (
    NO_PIXEL,
    LabHistograms,
    MetricAccumulator,
    NotComputed,
    PerImage,
)
from pix2pix_jax.workdir.metrics_json import SSIM_DEFINITION

LOWER, HIGHER = '↓', '↑'  # what is better
OF_IMAGES = 'it is of images, and the targets are maps of classes'
MASKED = 'it is of whole images, and here pixels are masked'
FINAL = OF_IMAGES, MASKED  # reasons that stay, whatever files are there
OF_NAN = 'without a value: their outputs have NaN'
NO_WINDOW = f'no window of {SSIM_WINDOW} pixels is wholly valid'
PAIRS_ALONE = Options()
FILES = ('classes', 'segmenter_weights', 'inception_weights', 'alexnet_weights', 'lpips_weights')
Create = Callable[[Sequence[str], Subject], MetricAccumulator]


class Value(NamedTuple):
    """A number that a metric gives, for people."""

    title: str
    better: str  # LOWER | HIGHER
    unit: str = ''


class Metric(NamedTuple):
    """One or several numbers that are computed together."""

    values: Mapping[str, Value]  # by their names in metrics.json; those of targets go without
    needs: str  # of the images, or beside them
    create: Create  # (names of the entries that share it, whose images) -> what sees every example
    always: bool = False  # of valid pixels alone; else where --metrics names it, and none is masked
    of_classes: bool = False  # class targets, too, and not of images alone
    applies: Callable[[Subject], bool] = lambda subject: True  # else it is not there at all
    measured_with: Callable[[Options], str] = lambda options: ''  # values of others do not compare
    trains: Callable[[Options, Config], bool] = lambda options, config: False  # on the train split


def of_pairs(
    function: Callable[[np.ndarray, np.ndarray], float], undefined: str = 'without such a value'
) -> Create:
    """Returns the `Create` of a metric: the mean over images of function(output, target).

    Output and target are float (H,W,C) on [-1, 1]. NaN says that an image has no such value, and
    `undefined` says which images these are.
    """

    def create(names: Sequence[str], subject: Subject) -> MetricAccumulator:
        def value(images: Mapping[str, np.ndarray]) -> float:
            return function(images['output'], images['target'])

        return PerImage({names[0]: value}, undefined)

    return create


def with_the_translation(
    name: str, undefined: str = OF_NAN, masked: str = NO_PIXEL, side: int = 1
) -> Create:
    """Returns the `Create` of a metric: the mean of a value in the examples (see `translated`).

    Args:
      name: of the value.
      undefined, masked, side: say of which images it is NaN (`PerImage`).
    """
    value = operator.itemgetter(name)
    return lambda names, subject: PerImage({name: value}, undefined, masked, side)


OTHER_UNIT = 'of another type than the first target, and so of another unit, or have NaN'

METRICS = {  # by their names for --metrics, in the order of metrics.json
    'l1': Metric(
        {'l1': Value('L1', LOWER)},
        'a pair',
        with_the_translation('l1'),
        always=True,
        of_classes=True,
    ),
    'psnr': Metric(
        {'psnr': Value('PSNR', HIGHER, 'dB')},
        'a pair',
        with_the_translation('psnr'),
        always=True,
    ),
    'ssim': Metric(
        {'ssim': Value('SSIM', HIGHER)},
        'sides of 11 pixels or more, where all of a window is valid',
        with_the_translation(
            'ssim', 'smaller than its window, or have NaN', NO_WINDOW, SSIM_WINDOW
        ),
        always=True,
        measured_with=lambda options: SSIM_DEFINITION,
    ),
    'classes': Metric(
        {
            'pixel_accuracy': Value('per-pixel acc.', HIGHER),
            'class_accuracy': Value('per-class acc.', HIGHER),
            'class_iou': Value('class IoU', HIGHER),
        },
        'classes as targets, or targets in known colours of classes',
        class_scores.create,
        always=True,
        of_classes=True,
        applies=class_scores.applies,
        measured_with=lambda options: options.classes,
    ),
    'mae': Metric(
        {'mae': Value('MAE in data units', LOWER)},
        'targets with a range, or of other types than 8 bits',
        with_the_translation('mae', OTHER_UNIT),
        always=True,
        applies=lambda subject: subject.units,
    ),
    'rmse': Metric(
        {'rmse': Value('RMSE in data units', LOWER)},
        'targets with a range, or of other types than 8 bits',
        with_the_translation('rmse', OTHER_UNIT),
        always=True,
        applies=lambda subject: subject.units,
    ),
    'lab': Metric(
        {
            'lab_l': Value('Lab histogram L', HIGHER),
            'lab_a': Value('Lab histogram a', HIGHER),
            'lab_b': Value('Lab histogram b', HIGHER),
        },
        'RGB images',
        lambda names, subject: LabHistograms(),
    ),
    'checkerboard': Metric(
        {'checkerboard': Value('checkerboard', LOWER, 'dB')},
        'sides that are multiples of 4, of 32 pixels or more',
        lambda names, subject: PerImage(
            {
                'checkerboard': lambda images: checkerboard(images['output']),
                'real_checkerboard': lambda images: checkerboard(images['target']),
            },
            f'flat, small, or of sides that are no multiples of {PERIOD}',
        ),
    ),
    'fcn': Metric(
        {
            'fcn_pixel_accuracy': Value('FCN per-pixel acc.', HIGHER),
            'fcn_class_accuracy': Value('FCN per-class acc.', HIGHER),
            'fcn_class_iou': Value('FCN class IoU', HIGHER),
        },
        'label maps whose colours are known',
        fcn_score.create,
        measured_with=fcn_score.measured_with,
        trains=fcn_score.trains,
    ),
    'lpips': Metric(
        {'lpips': Value('LPIPS', LOWER)},
        "AlexNet's weights and its own, images of 1, 3 or 4 channels",
        perceptual.create,
        measured_with=lambda options: ' '.join(
            filter(None, (options.alexnet_weights, options.lpips_weights))
        ),
    ),
    'fid': Metric(
        {'fid': Value('FID', LOWER)},
        "Inception's weights, 2 images or more of 1, 3 or 4 channels",
        perceptual.create,
        measured_with=lambda options: options.inception_weights,
    ),
    'kid': Metric(
        {'kid': Value('KID', LOWER)},
        "Inception's weights, 2 images or more of 1, 3 or 4 channels",
        perceptual.create,
        measured_with=lambda options: options.inception_weights,
    ),
}


# ---------------------------------------------------------------- which


def choices() -> tuple[str, ...]:
    """Returns the names that --metrics may have: those of all metrics that are not `always`."""
    return tuple(name for name, one in METRICS.items() if not one.always)


def check(options: Options) -> None:
    """Raises UserError for a name that is unknown, or a segmenter that cannot be imported."""
    for name in options.names:
        if name not in choices():
            raise UserError(f'--metrics: {name!r} is unknown, allowed are {", ".join(choices())}')
    label_classes(options, None)
    if options.segmenter:
        fcn_score.import_segmenter(options.segmenter)


def identity(options: Options) -> dict[str, str]:
    """Returns which weights or definition each metric uses: of files what they hold.

    Two reports are comparable only if these are equal.
    """
    held: dict[str, Any] = {name: content(getattr(options, name)) for name in FILES}
    return _identity(options._replace(**held))


def otherwise(measured: Mapping[str, str], options: Options) -> list[str]:
    """Returns the metrics of `options` that a report lacks, or that it measured otherwise.

    `measured` is the report's identity; those of earlier versions have the paths of files.
    """
    by_path = _identity(options)
    wanted = identity(options).items()
    return [name for name, what in wanted if measured.get(name) not in (what, by_path[name])]


def _identity(options: Options) -> dict[str, str]:
    measured = {name: metric.measured_with(options) for name, metric in METRICS.items()}
    always = {name: what for name, what in measured.items() if METRICS[name].always and what}
    return always | {name: measured[name] for name in options.names}


def trains(options: Options, config: Config) -> bool:
    """Whether a metric of `options` needs the training split of a run, to train on."""
    return any(METRICS[name].trains(options, config) for name in options.names)


# ---------------------------------------------------------------- how


def always(config: Config | None = None, units: bool = False) -> list[MetricAccumulator]:
    """Returns the accumulators of the metrics that every evaluation has, those of a run's.

    Args:
      config: of the run; None: of images that are no run's.
      units: whether the values of the targets are more than shades.
    """
    return _created(Subject(config=config, units=units))


def always_measured(config: Config, units: bool) -> list[str]:
    """Returns the names of the values that `always` measures of a run of `config`."""
    subject = Subject(config=config, units=units)
    return [
        value
        for metric in METRICS.values()
        if metric.always and metric.applies(subject)
        if metric.of_classes or not config.dataset.target_classes
        for value in metric.values
    ]


def for_run(
    options: Options, config: Config, splits: Mapping[str, Source], split: str
) -> list[MetricAccumulator]:
    """Returns the accumulators of the metrics of a run: always there, or chosen by the user.

    Trains a segmenter where one of them needs it.

    Args:
      options: which metrics, and the files that they need.
      config: of the run.
      splits: the run's pairs, those of 'train' where `trains` says so.
      split: which of them is measured.

    Raises:
      DataError: for a bad training pair of the segmenter.
      UserError: then or when an example is measured, for label maps of other colours than the
        options say.
    """
    source = splits[split]
    return _created(
        Subject(options, config, splits, split, masked=source.has_valid, units=source.has_units)
    )


def for_folders(
    options: Options, real: Sequence[File], units: bool = False, masked: bool = False
) -> list[MetricAccumulator]:
    """Returns the accumulators of the metrics of the images `real` and others, likewise.

    The accumulators raise UserError for label maps of other colours than the options say.

    Args:
      options: which metrics, and the files that they need.
      real: the targets.
      units: whether the values of the images are more than shades.
      masked: whether not all pixels count.
    """
    return _created(Subject(options, real=real, units=units, masked=masked))


def _created(subject: Subject) -> list[MetricAccumulator]:
    of_classes = subject.config is not None and subject.config.dataset.target_classes > 0
    groups: dict[Create, list[str]] = {}
    without: list[MetricAccumulator] = []
    for name, metric in METRICS.items():
        if not (name in subject.options.names or metric.always and metric.applies(subject)):
            continue
        if of_classes and not metric.of_classes:
            without.append(NotComputed(tuple(metric.values), OF_IMAGES))
        elif subject.masked and not metric.always:
            without.append(NotComputed(tuple(metric.values), MASKED))
        else:
            groups.setdefault(metric.create, []).append(name)

    def has_to_train(create: Create) -> bool:
        names, config = groups[create], subject.config
        return config is not None and any(
            METRICS[name].trains(subject.options, config) for name in names
        )

    # Last what trains: a file of other weights is said before.
    order = sorted(groups, key=has_to_train)
    created = {create: create(groups[create], subject) for create in order}
    return [created[create] for create in groups] + without
