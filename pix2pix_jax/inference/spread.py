"""How much the samples of one translation differ."""

import numpy as np


class Spread:
    """The standard deviation of images that come one after the other, in memory for three."""

    def __init__(self) -> None:
        """Knows no image yet."""
        self._count = 0
        self._mean: np.ndarray | float = 0.0
        self._squares: np.ndarray | float = 0.0

    def add(self, image: np.ndarray) -> None:
        """Takes one more image (H,W,C)."""
        self._count += 1
        change = image - self._mean
        self._mean = self._mean + change / self._count
        self._squares = self._squares + change * (image - self._mean)

    def deviation(self) -> np.ndarray:
        """Returns (H,W,1), the root of the mean square over channels; at most 1 on [-1, 1]."""
        return np.sqrt(np.asarray(self._squares / self._count).mean(-1, keepdims=True))
