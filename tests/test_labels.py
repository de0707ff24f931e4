"""Label maps in colours, and the scores of labels."""

import io
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from pix2pix_jax.evaluation import labels
from pix2pix_jax.evaluation.labels import CITYSCAPES, FACADES, VOID


@pytest.mark.parametrize('classes', [FACADES, CITYSCAPES])
def test_every_colour_is_its_class_also_after_jpeg(classes):
    count = len(classes.colours)
    true = np.arange(count).reshape(1, -1).repeat(16, 0).repeat(16, 1)
    image = np.array(list(classes.colours.values()), np.uint8)[true]
    np.testing.assert_array_equal(labels.from_colours(image, classes), true)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, 'JPEG', quality=75)
    found = labels.from_colours(np.asarray(Image.open(buffer)), classes)
    inner = np.s_[4:12, np.arange(count * 16) % 16 // 4 % 3 != 0]  # away from the borders
    assert (found[inner] == true[inner]).mean() > 0.95


def test_what_has_no_class_is_void():
    image = np.array([[CITYSCAPES.void[0], CITYSCAPES.colours['sky']]], np.uint8)
    sky = list(CITYSCAPES.colours).index('sky')
    np.testing.assert_array_equal(labels.from_colours(image, CITYSCAPES), [[VOID, sky]])


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


def test_the_colours_are_those_of_real_facades():
    """Where a label map is flat, it has one of the twelve colours, up to JPEG's noise."""
    folder = os.environ.get('PIX2PIX_FACADES')
    if not folder:
        pytest.skip('PIX2PIX_FACADES names no folder of the real facades')
    palette = np.array(list(FACADES.colours.values()))
    found = []
    for path in sorted(pathlib.Path(folder, 'test').glob('*.jpg'))[:10]:
        image = np.asarray(Image.open(path))[:, 256:].astype(int)
        blocks = image.reshape(64, 4, 64, 4, 3).swapaxes(1, 2).reshape(-1, 16, 3)
        flat = blocks[np.ptp(blocks, axis=1).max(-1) <= 6].mean(1)
        found.extend(np.abs(flat[:, None] - palette).max(-1).min(-1))
    assert len(found) > 5000 and max(found) < 16
