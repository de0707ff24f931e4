"""Whether an image runs on across its middle, as a photo does, or breaks there, as A|B does."""

import numpy as np
from PIL import Image

WINDOW = 20  # columns on each side of the middle that are looked at
BLOCK = 8  # columns of a JPEG's blocks, whose borders show
SHIFTS = (2, 3, 4, 5, 6)  # eighths of the height by which a column is moved to be another's
TEXTURE = 0.02  # of the range: a smaller difference says nothing

# Of 200 facades, photo | labels, both ways, the columns at the middle differ as unrelated ones do
# (0.9 to 1.03 of their difference for nine in ten), and those of photo | the same photo, gray,
# blurred or darkened, nearly so (0.4 to 1.2); of the photos alone by 0.05 to 0.34 of it.
RELATED = 0.35  # of the difference of unrelated columns: at most this much within an image
UNRELATED = 0.45  # at least this much between two
USUAL = 1.3  # of the difference that nine in ten of the neighbouring columns stay below


# Halves of single images resemble each other by 0.1 to 0.25 in the median of a set (photos of
# facades, their label maps, landscapes; layers of tissue 0.5); A|B of one content by 0.9 and more.
CELLS = 32  # a half is compared as that many rows and columns
ALIKE = 0.7


def across_middle(values: np.ndarray) -> str:
    """Returns 'runs on' or 'breaks' for an image (H,W,C) or (H,W) of any range; '' in doubt.

    In doubt is what has no texture at the middle, as drawings on white, or none that is smooth, as
    noise, of which one column says nothing about the next.
    """
    height, width = values.shape[:2]
    reach, middle = min(WINDOW, width // 4), width // 2
    if reach < BLOCK or height < BLOCK:
        return ''
    columns = values.reshape(height, width, -1)[:, middle - reach : middle + reach]
    columns = np.nan_to_num(columns.astype(np.float32))
    scale = _range(values)
    steps = np.abs(np.diff(columns, axis=1)).mean((0, 2)) / scale
    here, beside = steps[reach - 1], np.delete(steps, reach - 1)
    borders = steps[(reach - 1) % BLOCK :: BLOCK]  # of blocks, if the middle is one
    borders = np.delete(borders, (reach - 1) // BLOCK)
    left, right = columns[:, reach - 1], columns[:, reach]
    moved = [np.roll(right, height * shift // 8, axis=0) for shift in SHIFTS]
    unrelated = np.mean([np.abs(left - other).mean() for other in moved]) / scale
    usual = USUAL * max(np.quantile(beside, 0.9), borders.max(initial=0))
    if unrelated < TEXTURE or np.median(beside) > unrelated / 2:
        return ''
    if here <= min(RELATED * unrelated, usual):
        return 'runs on'
    return 'breaks' if here >= max(UNRELATED * unrelated, usual) else ''


def resemblance(values: np.ndarray) -> float:
    """Returns how alike the halves of an image (H,W,C) or (H,W) are at equal places, 0 to 1.

    It is the size of their correlation: of A|B a copy, darker, turned in tone or cleaned of noise,
    is alike. What is the same in a whole row or column is left out, as the sky over the ground is
    alike within one image too.
    """
    height, width = values.shape[:2]
    gray = np.nan_to_num(values.reshape(height, width, -1).astype(np.float32)).mean(-1)
    halves = np.ascontiguousarray(gray[:, : width // 2 * 2].reshape(height, 2, -1).swapaxes(0, 1))
    box = Image.Resampling.BOX
    left, right = (np.asarray(Image.fromarray(x).resize((CELLS, CELLS), box)) for x in halves)
    left, right = (x - x.mean(0) - x.mean(1, keepdims=True) + x.mean() for x in (left, right))
    size = float(np.sqrt((left**2).sum() * (right**2).sum()))
    return float(abs((left * right).sum())) / size if size else 0.0


def _range(values: np.ndarray) -> float:
    """Returns the range of 8-bit values; of others what all but the outermost hundredths span."""
    if values.dtype == np.uint8:
        return 255.0
    low, high = np.nanpercentile(values[::4, ::4].astype(np.float32), (1, 99))
    return float(high - low) or 1.0
