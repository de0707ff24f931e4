"""LPIPS, FID and KID, as one accumulator of an evaluation (see set_metrics.py).

What cannot be measured has a reason in place of its value, and is never replaced by anything else.
"""

import os
from collections.abc import Sequence

import jax
import numpy as np

from pix2pix_jax.evaluation import bootstrap, fid_kid, inception, lpips, weights
from pix2pix_jax.evaluation.options import Subject
from pix2pix_jax.evaluation.set_metrics import Images, Result
from pix2pix_jax.models.lpips import CHANNELS, MIN_SIDE, as_rgb

NAMES = ('lpips', 'fid', 'kid')
SETS = ('fid', 'kid')  # metrics of all images together


def create(names: Sequence[str], subject: Subject) -> 'Perceptual':
    """Returns the accumulator of the metrics `names`; FID and KID share their features."""
    options = subject.options
    return Perceptual(
        names,
        inception_path=options.inception_weights,
        alexnet_path=options.alexnet_weights,
        lpips_path=options.lpips_weights,
    )


class Perceptual:
    """Accumulates LPIPS, FID and KID over pairs of images; see the module's docstring.

    It holds two vectors of 2048 features a pair, and at most a batch of images.
    """

    def __init__(
        self,
        names: Sequence[str] = NAMES,
        *,
        inception_path: str | os.PathLike = '',
        alexnet_path: str | os.PathLike = '',
        lpips_path: str | os.PathLike = '',
    ):
        """Loads the weights for the metrics `names`, by download where no path is given.

        Weights that are not to be had become the reasons of their metrics. Raises DataError for a
        path without such weights, ValueError for an unknown name.
        """
        if set(names) - set(NAMES):
            raise ValueError(f'metrics {names}: allowed are {NAMES}')
        self._reasons: dict[str, str | None] = {name: None for name in NAMES if name in names}
        self._pairs: list[tuple[np.ndarray, np.ndarray]] = []  # of one size, for LPIPS
        self._resized: list[tuple[np.ndarray, np.ndarray]] = []  # for the features
        self._distances: list[float] = []
        self._features: list[tuple[np.ndarray, np.ndarray]] = []
        # On the device, once.
        if self._wants('lpips'):
            try:
                tensors = weights.load_lpips(alexnet_path, lpips_path)
                self._lpips_weights = jax.device_put(tensors)
            except weights.Unavailable as error:
                self._give_up(str(error), 'lpips')
        if self._wants(*SETS):
            try:
                tensors = weights.load('inception', inception_path)
                self._variables = jax.device_put(inception.variables(tensors))
            except weights.Unavailable as error:
                self._give_up(str(error), *SETS)

    def update(self, images: Images) -> None:
        """Adds a pair of images as a user gets them.

        One channel counts as gray; of four the last, alpha, is left out. Sizes may differ from
        pair to pair. Raises ValueError for output and target of different shapes.
        """
        output, target = images['output'], images['target']
        if output.shape != target.shape:
            raise ValueError(f'output is {output.shape} but target is {target.shape}')
        height, width, channels = output.shape
        if channels not in CHANNELS:
            self._give_up(f'it needs images of 1, 3 or 4 channels, not {channels}', *NAMES)
        if min(height, width) < MIN_SIDE:
            smallest = f'{MIN_SIDE}x{MIN_SIDE}'
            self._give_up(f'it needs images of {smallest} pixels or more', 'lpips')
        if not self._wants(*NAMES):
            return
        output, target = (np.asarray(image, np.float32) for image in (output, target))
        pair = as_rgb(output), as_rgb(target)
        if self._wants('lpips'):
            if self._pairs and self._pairs[0][0].shape != pair[0].shape:
                self._measure_pairs()
            self._pairs.append(pair)
            if len(self._pairs) == lpips.BATCH:
                self._measure_pairs()
        if self._wants(*SETS):
            self._resized.append(tuple(np.asarray(inception.resize(np.stack(pair)))))
            if len(self._resized) == inception.BATCH:
                self._measure_features()

    def compute(self) -> Result:
        """Returns (summary, values per image); 'fid' and 'kid' are as in `fid_kid`."""
        summary, values = {}, {}
        if self._wants('lpips'):
            self._measure_pairs()
            values['lpips'] = self._distances
            summary = bootstrap.summarize(values)
        if self._wants(*SETS):
            self._measure_features()
            count = len(self._features)
            if count < 2:
                self._give_up(f'it needs 2 images or more, not {count}', *SETS)
            elif not np.isfinite(self._features).all():
                self._give_up('the features of some image are not finite', *SETS)
        if self._wants(*SETS):
            generated, real = np.stack(self._features, axis=1)
            if self._wants('fid'):
                summary['fid'] = fid_kid.frechet_summary(real, generated)
            if self._wants('kid'):
                summary['kid'] = fid_kid.kernel_summary(real, generated)
        missing = {name: reason for name, reason in self._reasons.items() if reason is not None}
        summary |= {name: {'value': None, 'reason': reason} for name, reason in missing.items()}
        return {name: summary[name] for name in self._reasons}, values

    def _wants(self, *names: str) -> bool:
        return any(self._reasons.get(name, '') is None for name in names)

    def _give_up(self, reason: str, *names: str) -> None:
        for name in names:
            if self._wants(name):
                self._reasons[name] = reason

    def _measure_pairs(self) -> None:
        if self._pairs:
            outputs, targets = (np.stack(images) for images in zip(*self._pairs))
            distances = lpips.distance(self._lpips_weights, outputs, targets)
            self._distances.extend(map(float, distances))
            self._pairs = []

    def _measure_features(self) -> None:
        if self._resized:
            pairs = (np.stack(images) for images in zip(*self._resized))
            features = [inception.features(self._variables, images) for images in pairs]
            self._features.extend(zip(*features))
            self._resized = []
