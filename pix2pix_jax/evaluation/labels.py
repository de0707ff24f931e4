"""How labels are scored: per-pixel accuracy, per-class accuracy, class IoU.

Scores are those of the paper's FCN-score tables (Isola et al., 2017, section 4; Long et al., 2015).
"""

from collections.abc import Mapping

import numpy as np

from pix2pix_jax.data.label_colors import VOID

SCORES = ('pixel_accuracy', 'class_accuracy', 'class_iou')


def confusion(labels: np.ndarray, predicted: np.ndarray, count: int) -> np.ndarray:
    """Returns the numbers (count, count + 1) of pixels of true class i that are predicted as j.

    Pixels whose true label is VOID do not count. A VOID prediction is wrong for any class: it has
    the last column.
    """
    known = labels != VOID
    predicted = np.where(predicted == VOID, count, predicted)
    pairs = labels[known].astype(np.int64) * (count + 1) + predicted[known]
    return np.bincount(pairs, minlength=count * (count + 1)).reshape(count, count + 1)


def scores(matrix: np.ndarray) -> Mapping[str, np.ndarray]:
    """Returns the SCORES of confusion matrices (..., count, count + 1), each 0 to 1.

    Classes of which no pixel is true count in neither mean. NaN where no pixel is labelled.
    """
    matrix = np.asarray(matrix, np.float64)
    count = matrix.shape[-2]
    right = np.diagonal(matrix[..., :count], axis1=-2, axis2=-1)
    true, predicted = matrix.sum(-1), matrix[..., :count].sum(-2)
    there = true > 0
    number = there.sum(-1)
    with np.errstate(invalid='ignore', divide='ignore'):
        accuracy = np.where(there, right / true, 0).sum(-1) / number
        iou = np.where(there, right / (true + predicted - right), 0).sum(-1) / number
        return dict(zip(SCORES, (right.sum(-1) / true.sum(-1), accuracy, iou)))
