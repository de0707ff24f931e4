"""Checkerboards: the pattern that transposed convolutions leave (Odena et al., 2016).

A layer of stride 2 treats even and odd pixels differently, and the layer before it those of every
second pair: what repeats every 4 pixels lies at multiples of a quarter of the sampling frequency.
"""

import numpy as np

PERIOD = 4  # pixels
AROUND = 3  # frequencies on each side of the grid's, with which its energy is compared


def checkerboard(image: np.ndarray) -> float:
    """Returns the energy at the frequencies of a grid of 4 pixels over that beside them, in dB.

    The mean over the grid's 15 frequencies, among them those of a grid of 2 pixels.

    `image` is float (H,W,C) on [-1, 1]; its channels are averaged, and its borders faded out, that
    their jumps do not count. About 0 for an image with no such grid; a photograph from a JPEG file
    has some of it, its blocks being 8 pixels. NaN where a side is no multiple of 4 or less than
    32, or where the image is flat.
    """
    height, width, _ = image.shape
    if height % PERIOD or width % PERIOD or min(height, width) < 8 * PERIOD:
        return float('nan')
    gray = np.asarray(image, np.float64).mean(-1)
    window = np.hanning(height)[:, None] * np.hanning(width)
    energy = np.abs(np.fft.fft2((gray - gray.mean()) * window)) ** 2
    ratios = []
    for a in range(PERIOD):
        for b in range(PERIOD):
            if (a, b) == (0, 0):
                continue
            rows = np.arange(-AROUND, AROUND + 1) + a * height // PERIOD
            columns = np.arange(-AROUND, AROUND + 1) + b * width // PERIOD
            block = energy[np.ix_(rows % height, columns % width)]
            # The window spreads a frequency over its neighbours at 1.
            inner = block[AROUND - 1 : AROUND + 2, AROUND - 1 : AROUND + 2]
            beside = (block.sum() - inner.sum()) / (block.size - inner.size)
            ratios.append(inner.mean() / beside if beside else np.nan)
    return float(np.mean(10 * np.log10(ratios)))
