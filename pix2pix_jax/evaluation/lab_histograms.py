"""How far the colours of generated images are distributed as those of the targets (Figure 7).

The score is the intersection of two histograms of CIE Lab values, sum of min(p, q) over bins,
0 to 1, for each channel alone and over all pixels of all images (Isola et al., 2017, section 4.2).
The paper names no bins: here they are one unit wide, about the whole numbers, so that grays, whose
a and b are 0 but for rounding, fall into one.
"""

from collections.abc import Mapping

import numpy as np

CHANNELS = ('lab_l', 'lab_a', 'lab_b')
LIMITS = ((-0.5, 100.5), (-110.5, 110.5), (-110.5, 110.5))  # all that sRGB reaches
BINS = tuple(int(high - low) for low, high in LIMITS)


def histograms(image: np.ndarray) -> np.ndarray:
    """Returns the numbers of pixels by bin of L, then a, then b: int64 (sum(BINS),).

    `image` is sRGB, float (H,W,3) on [-1, 1] or uint8; white is D65.
    """
    from skimage.color import rgb2lab

    if image.shape[-1] != 3:
        raise ValueError(f'Lab needs RGB images, not {image.shape[-1]} channels')
    if image.dtype != np.uint8:
        image = np.clip((np.asarray(image, np.float64) + 1) / 2, 0, 1)
    lab = rgb2lab(image).reshape(-1, 3)
    return np.concatenate(
        [
            np.histogram(np.clip(values, *limits), bins, limits)[0]
            for values, bins, limits in zip(lab.T, BINS, LIMITS)
        ]
    )


def intersections(counts: np.ndarray) -> Mapping[str, np.ndarray]:
    """Returns the intersections by channel of counts (..., 2, sum(BINS)): output's and target's."""
    shares = [part / part.sum(-1, keepdims=True) for part in _by_channel(counts)]
    return {name: share.min(-2).sum(-1) for name, share in zip(CHANNELS, shares)}


def influences(counts: np.ndarray) -> Mapping[str, np.ndarray]:
    """Returns each image's influence (N,) on the intersections of all counts (N, 2, sum(BINS)).

    It is the derivative by the image's weight, times N: that of the smaller share in each bin.
    """
    found = {}
    for name, part in zip(CHANNELS, _by_channel(counts)):
        pixels = part.sum(-1, keepdims=True)  # (N,2,1)
        share = part.sum(0) / pixels.sum(0)  # (2,bins)
        excess = (part - pixels * share) / pixels.mean(0)  # (N,2,bins)
        output_is_less = share[0] < share[1]
        found[name] = np.where(output_is_less, excess[:, 0], excess[:, 1]).sum(-1)
    return found


def _by_channel(counts: np.ndarray) -> list[np.ndarray]:
    return np.split(np.asarray(counts, np.float64), np.cumsum(BINS)[:-1], axis=-1)
