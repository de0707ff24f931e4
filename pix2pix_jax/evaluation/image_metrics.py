"""Image metrics: how far a generated image is from the target.

All functions take one pair of float arrays (H,W,C) on [-1, 1] and of one shape, C any, and work
in float64; `valid`, bool or 0 and 1 (H,W,1), says which pixels are measured, None: all. Of no pixel
the result is NaN. `device_metrics` computes the same of whole batches; what it finds is tested
against these.
"""

import numpy as np

PSNR_MAX = 100.0  # dB; the formula is infinite for identical images, and a mean must not be
SSIM_WINDOW, SSIM_SIGMA = 11, 1.5  # pixels, of the Gaussian window
SSIM_K1, SSIM_K2 = 0.01, 0.03


def of_pair(
    output: np.ndarray, target: np.ndarray, valid: np.ndarray | None = None
) -> dict[str, float]:
    """Returns {'l1', 'psnr', 'ssim'} of a pair."""
    return {f.__name__: f(output, target, valid) for f in (l1, psnr, ssim)}


def in_units(
    output: np.ndarray, target: np.ndarray, span: float, valid: np.ndarray | None = None
) -> dict[str, float]:
    """Returns {'mae', 'rmse'} of a pair in the units of the data.

    Args:
      output, target: float (H,W,C) on [-1, 1].
      span: how many units there are from -1 to 1.
      valid: (H,W,1), 1 where a pixel counts, else 0; None: all do.
    """
    difference = _difference(output, target) * span / 2
    mse = _mean(difference**2, valid)
    return {'mae': _mean(np.abs(difference), valid), 'rmse': float(np.sqrt(mse))}


def l1(output: np.ndarray, target: np.ndarray, valid: np.ndarray | None = None) -> float:
    """Returns the mean |difference| over pixels and channels, in units of [-1, 1]; 0 to 2."""
    return _mean(np.abs(_difference(output, target)), valid)


def psnr(output: np.ndarray, target: np.ndarray, valid: np.ndarray | None = None) -> float:
    """Returns 20 log10(2 / rmse) in dB, at most `PSNR_MAX` (where rmse is below 2e-5)."""
    return float(decibels(_mean(_difference(output, target) ** 2, valid)))


def decibels(mse: np.ndarray | float) -> np.ndarray:
    """Returns the PSNR of mean squared differences on [-1, 1], of any shape, in float64."""
    rmse = np.sqrt(np.asarray(mse, np.float64))
    return 20 * np.log10(2 / np.maximum(rmse, 2 * 10 ** (-PSNR_MAX / 20)))


def ssim(output: np.ndarray, target: np.ndarray, valid: np.ndarray | None = None) -> float:
    """Returns the structural similarity, -1 to 1; NaN for images smaller than its window.

    Wang et al., 2004: Gaussian window of 11x11 pixels with sigma 1.5, population covariance,
    K1 = 0.01, K2 = 0.03; the mean over all places where the window fits, then over channels. Its
    luminance term compares means as ratios, so values count from 0, the lowest of their range: the
    result is that of 0..255 in a file of 8 bits. With `valid` only places count where all of the
    window is; NaN where there is none.
    """
    from skimage.metrics import structural_similarity

    _difference(output, target)
    if min(output.shape[:2]) < SSIM_WINDOW:
        return float('nan')
    mean, everywhere = structural_similarity(
        (np.asarray(output, np.float64) + 1) / 2,
        (np.asarray(target, np.float64) + 1) / 2,
        gaussian_weights=True,
        sigma=SSIM_SIGMA,
        K1=SSIM_K1,
        K2=SSIM_K2,
        use_sample_covariance=False,
        data_range=1,
        channel_axis=-1,
        full=True,
    )
    if valid is None:
        return float(mean)
    windows = np.lib.stride_tricks.sliding_window_view(valid[..., 0], (SSIM_WINDOW,) * 2)
    border = slice(SSIM_WINDOW // 2, -(SSIM_WINDOW // 2))
    return _mean(everywhere[border, border], np.all(windows, (2, 3))[..., None])


def _mean(values: np.ndarray, valid: np.ndarray | None) -> float:
    if valid is None:
        return float(np.mean(values))
    of_valid = values[np.asarray(valid, bool)[..., 0]]
    return float(of_valid.mean()) if of_valid.size else float('nan')


def _difference(output: np.ndarray, target: np.ndarray) -> np.ndarray:
    if output.shape != target.shape:
        raise ValueError(f'output is {output.shape} but target is {target.shape}')
    return np.asarray(output, np.float64) - np.asarray(target, np.float64)
