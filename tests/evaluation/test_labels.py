"""The scores of labels."""

import numpy as np
import pytest

from pix2pix_jax.data.label_colors import VOID
from pix2pix_jax.evaluation import labels


def test_confusion_counts_pixels_by_true_and_found_class():
    true = np.array([[0, 0, 1], [1, VOID, 2]])
    found = np.array([[0, 1, 1], [VOID, 0, 0]])
    expected = [[1, 1, 0, 0], [0, 1, 0, 1], [1, 0, 0, 0]]
    np.testing.assert_array_equal(labels.confusion(true, found, 3), expected)


def test_scores_by_hand():
    """Two classes, the third absent: 3 of 4 and 1 of 2 are right, one 0 is taken for a 1."""
    matrix = np.array([[3, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]])
    scores = labels.scores(matrix)
    assert scores['pixel_accuracy'] == pytest.approx(4 / 6)
    assert scores['class_accuracy'] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert scores['class_iou'] == pytest.approx((3 / 4 + 1 / 3) / 2)


def test_scores_are_sums_over_pixels():
    rng = np.random.default_rng(0)
    true, found = rng.integers(0, 5, (2, 3, 400))
    matrices = np.stack([labels.confusion(t, f, 5) for t, f in zip(true, found)])
    scores = labels.scores(matrices)
    for i, (t, f) in enumerate(zip(true, found)):
        inter = [np.sum((t == c) & (f == c)) for c in range(5)]
        union = [np.sum((t == c) | (f == c)) for c in range(5)]
        assert scores['pixel_accuracy'][i] == pytest.approx(np.mean(t == f))
        recalls = [np.mean(f[t == c] == c) for c in range(5)]
        assert scores['class_accuracy'][i] == pytest.approx(np.mean(recalls))
        assert scores['class_iou'][i] == pytest.approx(np.mean(np.divide(inter, union)))


def test_nothing_labelled_has_no_score():
    scores = labels.scores(labels.confusion(np.full((2, 2), VOID), np.zeros((2, 2), int), 2))
    assert all(np.isnan(value) for value in scores.values())
