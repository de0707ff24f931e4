"""The accumulators of metrics: each sees all examples of a set and then computes its values.

What cannot be computed stays in the summary with the reason.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from pix2pix_jax.data import augment, label_colors
from pix2pix_jax.data.label_colors import Classes
from pix2pix_jax.errors import UserError
from pix2pix_jax.evaluation import bootstrap, lab_histograms, labels

Images = Mapping[str, Any]  # 'output', 'target'[, 'input'], float (H,W,C) on [-1, 1]; values
Result = tuple[dict[str, dict[str, Any]], dict[str, list[float]]]


NO_PIXEL = 'no pixel is valid'


class MetricAccumulator(Protocol):
    """One or more metrics of a set of images: `update` for each in order, then `compute`."""

    def update(self, images: Images) -> None:
        """Takes the next example."""

    def compute(self) -> Result:
        """Returns (summary, values per image) of all examples, as report.measure describes."""


class PerImage:
    """Values of every example alone; means over images.

    Where pixels are masked, images without enough valid ones are left out of its mean, and counted.
    """

    def __init__(
        self,
        functions: Mapping[str, Callable[[Images], float]],
        undefined: str = bootstrap.UNDEFINED,
        masked: str = NO_PIXEL,
        side: int = 1,
    ):
        """Takes what measures an image, and the words for images of which a value is NaN.

        Args:
          functions: one by the name of each value.
          undefined: what those images are; there is no mean then.
          masked: why images are left out.
          side: of the square that must be wholly valid in an image that is not.
        """
        self._functions, self._undefined = functions, undefined
        self._reason, self._side = masked, side
        self._values: dict[str, list[float]] = {name: [] for name in functions}
        self._left_out: dict[str, int] = dict.fromkeys(functions, 0)
        self._known: dict[str, list[float]] = {name: [] for name in functions}

    def update(self, images: Images) -> None:
        """Measures one example."""
        for name, function in self._functions.items():
            value = function(images)
            self._values[name].append(value)
            if np.isnan(value) and not _has_valid(images, self._side):
                self._left_out[name] += 1
            else:
                self._known[name].append(value)

    def compute(self) -> Result:
        """Returns the means and the values."""
        summary: dict[str, dict[str, Any]] = {}
        for name, known in self._known.items():
            out = self._left_out[name]
            if out and not known:
                reason = f'{out} of {out} images left out: {self._reason}'
                summary[name] = {'value': None, 'reason': reason}
                continue
            summary |= bootstrap.summarize({name: known}, self._undefined)
            if out and 'mean' in summary[name]:
                summary[name] |= {'left_out': out, 'reason': self._reason}
        return summary, self._values


def _has_valid(images: Images, side: int) -> bool:
    """Whether a square of valid pixels lies in an example; where none are masked it may be less."""
    if 'valid_pixels' not in images:
        return True
    if side == 1 or not images['valid_pixels']:
        return bool(images['valid_pixels'])
    valid = np.asarray(images['valid'][..., 0], bool)
    if min(valid.shape) < side:
        return False
    return bool(np.lib.stride_tricks.sliding_window_view(valid, (side, side)).all((2, 3)).any())


class NotComputed:
    """Stands for metrics that cannot be computed, and says why."""

    def __init__(self, names: tuple[str, ...], reason: str):
        """Takes their names and the reason, a line."""
        self._result: Result = ({name: {'value': None, 'reason': reason} for name in names}, {})

    def update(self, images: Images) -> None:
        """Ignores the example."""

    def compute(self) -> Result:
        """Returns the reasons."""
        return self._result


class Unasked:
    """Scores of label maps that nobody asked for: where one is refused the rest is measured."""

    def __init__(self, names: tuple[str, ...], scores: MetricAccumulator):
        """Takes the names of the `scores`, and what computes them."""
        self._names, self._scores = names, scores

    def update(self, images: Images) -> None:
        """Scores one example, if no map was refused so far."""
        try:
            self._scores.update(images)
        except UserError as error:  # without all colours
            self._scores = NotComputed(self._names, str(error).partition(';')[0])

    def compute(self) -> Result:
        """Returns the scores, or why there are none."""
        return self._scores.compute()


class LabHistograms:
    """The intersections of the Lab histograms of all outputs and all targets (Figure 7)."""

    def __init__(self) -> None:
        """Starts with no images."""
        self._counts: list[list[np.ndarray]] = []
        self._reason = ''  # why there are no intersections

    def update(self, images: Images) -> None:
        """Counts the colours of one pair, if all could be counted so far."""
        channels = images['output'].shape[-1]
        if not self._reason and channels != 3:
            self._reason = f'it is of RGB images, not of {channels} channels'
        if not self._reason and np.isnan(images['output']).any():
            self._reason = 'an output has NaN'
        if not self._reason:
            self._counts.append(
                [lab_histograms.histograms(images[k]) for k in ('output', 'target')]
            )

    def compute(self) -> Result:
        """Returns the intersections, of the set and of every image alone."""
        if self._reason:
            return NotComputed(lab_histograms.CHANNELS, self._reason).compute()
        counts = np.array(self._counts)
        values = {k: v.tolist() for k, v in lab_histograms.intersections(counts).items()}
        whole, influences = (
            lab_histograms.intersections(counts.sum(0)),
            lab_histograms.influences(counts),
        )
        summary = {k: bootstrap.summarize_influence(float(whole[k]), influences[k]) for k in whole}
        return summary, values


class LabelScores:
    """Per-pixel accuracy, per-class accuracy and class IoU of labels (the paper's FCN-score).

    `true` are the classes (H,W) of example number i; `found` gives those of an image (H,W,3): a
    segmenter of photos, or the nearest colours of a label map. Where the images are photos,
    `ground_truth` also scores the real ones, the best that a generator could come to.
    """

    def __init__(
        self,
        classes: Classes,
        true: Callable[[int, Images], np.ndarray],
        found: Callable[[np.ndarray], np.ndarray],
        ground_truth: bool = False,
        prefix: str = 'fcn_',
    ):
        """Starts with no images; `prefix` begins the names of the scores."""
        self._count, self._true, self._found = len(classes.colours), true, found
        self._kinds = {prefix: 'output'} | ({f'real_{prefix}': 'target'} if ground_truth else {})
        self._matrices: dict[str, list[np.ndarray]] = {prefix: [] for prefix in self._kinds}

    def update(self, images: Images) -> None:
        """Scores one example."""
        true = self._true(len(next(iter(self._matrices.values()))), images)
        for prefix, kind in self._kinds.items():
            found = self._found(images[kind])
            self._matrices[prefix].append(labels.confusion(true, found, self._count))

    def compute(self) -> Result:
        """Returns the scores of all pixels together, and every image's accuracy."""
        summary: dict[str, dict[str, Any]] = {}
        values: dict[str, list[float]] = {}
        for prefix, matrices in self._matrices.items():
            part, columns = _scored(matrices, prefix)
            summary |= part
            values |= columns
        return summary, values


class ClassScores:
    """The same scores of class targets, from the 'confusion' of each example."""

    def __init__(self) -> None:
        """Starts with no images."""
        self._matrices: list[np.ndarray] = []

    def update(self, images: Images) -> None:
        """Takes the matrix of one example."""
        self._matrices.append(images['confusion'])

    def compute(self) -> Result:
        """Returns the scores of all pixels together, and every image's accuracy."""
        return _scored(self._matrices, '')


def _scored(of_images: Sequence[np.ndarray], prefix: str) -> Result:
    matrices = np.array(of_images)
    found = bootstrap.summarize_counts(matrices, labels.scores)
    accuracy = labels.scores(matrices)['pixel_accuracy'] if len(matrices) else np.zeros(0)
    summary = {f'{prefix}{name}': value for name, value in found.items()}
    return summary, {f'{prefix}pixel_accuracy': accuracy.tolist()}


FCN_NAMES = tuple(f'fcn_{name}' for name in labels.SCORES)


def from_label_map(image: np.ndarray, classes: Classes) -> np.ndarray:
    """Returns the classes int32 (H,W) of a label map in colours, float (H,W,3) on [-1, 1]."""
    return label_colors.from_colours(augment.from_float(image), classes)
