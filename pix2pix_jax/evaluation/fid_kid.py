"""Distances between two sets of images by their features: FID and KID.

`real` and `generated` are arrays of features, (N,D) and (M,D), such as `inception.features` gives;
all is computed in float64. Both distances depend on the number of images, FID strongly (it grows
as there are fewer), so that only values of as many images can be compared.

The 95% intervals are for pairs (N = M, row i of one belongs to row i of the other). They say how
much the value would vary with other pairs of the same number, not how far it is from its limit for
many images. A plain bootstrap cannot say so: its resamples hold images twice, which are closer
together than any two, and so are off by about the bias of the value itself. Here the bootstrap is
of the value's linear approximation: value plus each pair's influence on it (its derivative by the
pair's weight; Efron, 1982, "The Jackknife, the Bootstrap and Other Resampling Plans", chapter 6),
averaged over resampled pairs as for any metric per image.
"""

from typing import Any

import numpy as np

from pix2pix_jax.evaluation import bootstrap

SUBSETS = 100  # of KID, as in its paper (Binkowski et al., 2018) and in torch-fidelity
SUBSET_SIZE = 1000
SUBSET_SEED = 2020  # torch-fidelity's
BLOCK = 1000  # rows of the kernel's matrix that are in memory at once


def frechet_distance(real: np.ndarray, generated: np.ndarray) -> float:
    """Returns the Frechet distance of Gaussians fitted to both sets: FID (Heusel et al., 2017).

    |mean difference|^2 + trace(S1 + S2 - 2 (S1 S2)^(1/2)), with the unbiased covariances. With
    S1 = A'A and S2 = B'B the trace of (S1 S2)^(1/2) is the sum of the singular values of A B': no
    root of a DxD matrix is needed, which has few eigenvalues but 0 where there are few images.
    Raises ValueError for fewer than two images in a set.
    """
    return _frechet(real, generated)[0]


def frechet_summary(real: np.ndarray, generated: np.ndarray) -> dict[str, Any]:
    """Returns FID of N pairs as {'mean': value, 'ci95': [lo, hi]}; see the module's docstring."""
    value, (q1, q2, u, values, v) = _frechet(real, generated)
    x, y = _centred(real), _centred(generated)
    n = _pairs(x, y)
    shift = np.mean(real, 0, np.float64) - np.mean(generated, 0, np.float64)
    influence = 2 * (x - y) @ shift + (x**2).sum(1) + (y**2).sum(1)
    influence -= (n - 1) * ((q1 @ u) ** 2 @ values + (q2 @ v) ** 2 @ values)
    return bootstrap.summarize_influence(value, influence)


def kernel_distance(real: np.ndarray, generated: np.ndarray) -> float:
    """Returns KID, the unbiased squared MMD with the kernel (x.y / D + 1)^3; may be below 0.

    Of all images where a set has no more than 1000. Where both have more, as in torch-fidelity, it
    is the mean over 100 subsets of 1000 of each, drawn with a fixed seed. As there, the mean over
    x.y has all N M terms: an output that resembles its own target lowers it by the order of 1/N.
    Raises ValueError for fewer than two images in a set.
    """
    real, generated = np.asarray(real, np.float64), np.asarray(generated, np.float64)
    if min(len(real), len(generated)) <= SUBSET_SIZE:
        return _mmd2(real, generated)
    rng = np.random.RandomState(SUBSET_SEED)
    values = []
    for _ in range(SUBSETS):
        chosen = [rng.choice(len(x), SUBSET_SIZE, replace=False) for x in (real, generated)]
        values.append(_mmd2(real[chosen[0]], generated[chosen[1]]))
    return float(np.mean(values))


def kernel_summary(real: np.ndarray, generated: np.ndarray) -> dict[str, Any]:
    """Returns KID of N pairs as {'mean': value, 'ci95': [lo, hi]}; see the module's docstring."""
    real, generated = np.asarray(real, np.float64), np.asarray(generated, np.float64)
    n = _pairs(real, generated)
    influence = np.zeros(n)
    for x in (real, generated):
        influence += 2 * (_kernel_sums(x, x)[0] - _kernel_diagonal(x)) / (n - 1)
    by_real, by_generated = _kernel_sums(real, generated)
    influence -= 2 * (by_real + by_generated) / n
    return bootstrap.summarize_influence(kernel_distance(real, generated), influence)


def _frechet(real: np.ndarray, generated: np.ndarray) -> tuple[float, tuple[np.ndarray, ...]]:
    """Returns FID, and (q1, q2, u, s, v) where A = q1 r1, B = q2 r2 and r1 r2' = u diag(s) v'."""
    difference = real.mean(0, np.float64) - generated.mean(0, np.float64)
    x, y = _centred(real), _centred(generated)
    # The QR decomposition keeps the matrix at DxD where there are more images than features.
    q1, r1 = np.linalg.qr(x / np.sqrt(len(x) - 1))
    q2, r2 = np.linalg.qr(y / np.sqrt(len(y) - 1))
    u, values, vt = np.linalg.svd(r1 @ r2.T, full_matrices=False)
    value = difference @ difference + (r1**2).sum() + (r2**2).sum() - 2 * values.sum()
    return float(value), (q1, q2, u, values, vt.T)


def _mmd2(x: np.ndarray, y: np.ndarray) -> float:
    within = 0.0
    for features in (x, y):
        _check(features)
        sums = _kernel_sums(features, features)[0] - _kernel_diagonal(features)
        within += sums.sum() / (len(features) * (len(features) - 1))
    return float(within - 2 * _kernel_sums(x, y)[0].sum() / (len(x) * len(y)))


def _kernel_sums(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sums of the kernel's matrix (N,M) over its columns (N,) and its rows (M,)."""
    rows, columns = [], np.zeros(len(y))
    for start in range(0, len(x), BLOCK):
        base = x[start : start + BLOCK] @ y.T / x.shape[1] + 1
        kernel = base * base * base  # many times faster than a power
        rows.append(kernel.sum(1))
        columns += kernel.sum(0)
    return np.concatenate(rows), columns


def _kernel_diagonal(x: np.ndarray) -> np.ndarray:
    return ((x**2).sum(1) / x.shape[1] + 1) ** 3


def _centred(features: np.ndarray) -> np.ndarray:
    _check(features)
    features = np.asarray(features, np.float64)
    return features - features.mean(0)


def _check(features: np.ndarray) -> None:
    if len(features) < 2:
        raise ValueError('a distance needs two images or more in each set')


def _pairs(real: np.ndarray, generated: np.ndarray) -> int:
    if real.shape != generated.shape:
        raise ValueError(f'{real.shape} and {generated.shape} are not features of pairs')
    return len(real)
