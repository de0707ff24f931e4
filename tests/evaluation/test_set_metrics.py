"""What is measured over a set of images."""

import numpy as np
import pytest

from pix2pix_jax.data import augment
from pix2pix_jax.data.label_colors import FACADES
from pix2pix_jax.evaluation import (
    bootstrap,
    image_metrics,
    lab_histograms,
    labels,
    metrics,
    set_metrics,
)  # fmt: skip
from pix2pix_jax.evaluation.options import Options

NAMES = list(FACADES.colours)
PALETTE = np.array(list(FACADES.colours.values()), np.uint8)


def pairs(count=5, seed=0, channels=3):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (2, count, 32, 32, channels), dtype=np.uint8)
    return [dict(zip(('output', 'target'), map(augment.to_float, pair))) for pair in zip(*images)]


def measured(accumulator, examples):
    for images in examples:
        accumulator.update(images)
    return accumulator.compute()


def test_values_that_pairs_bring_along_are_kept():
    examples = [pair | image_metrics.of_pair(**pair) for pair in pairs()]
    for accumulator, name in zip(metrics.always(), ('l1', 'psnr', 'ssim'), strict=True):
        summary, values = measured(accumulator, examples)
        assert list(summary) == list(values) == [name]
        assert values[name] == [example[name] for example in examples]
        assert summary[name]['mean'] == pytest.approx(np.mean(values[name]))


def test_lab_counts_all_images_together():
    """Two outputs that have each other's colours: each is wrong alone, both together are right."""
    first, second = (images['output'] / 4 + shift for images, shift in zip(pairs(2), (-0.7, 0.7)))
    swapped = [{'output': first, 'target': second}, {'output': second, 'target': first}]
    summary, values = measured(set_metrics.LabHistograms(), swapped)
    assert list(summary) == list(values) == list(lab_histograms.CHANNELS)
    assert summary['lab_l']['mean'] == pytest.approx(1)
    assert max(values['lab_l']) < 0.1


def test_the_interval_of_lab_holds_its_value():
    """Twice the same image in a resampled set would make outputs and targets less alike."""
    examples = [
        {'output': a['target'] / 2 + shift, 'target': b['target'] / 2 + shift}
        for a, b, shift in zip(pairs(8), pairs(8)[::-1], np.linspace(-0.4, 0.4, 8))
    ]
    summary, _ = measured(set_metrics.LabHistograms(), examples)
    for found in summary.values():
        low, high = found['ci95']
        assert low < found['mean'] < high and high - low < 0.5


@pytest.mark.parametrize('channels', [(1, 1), (5, 3, 3), (3, 5, 3), (3, 3, 5), (3, 1, 5)])
def test_lab_of_other_images_says_why_there_is_none(channels):
    """Of a set in which some image is no RGB, it is of a part in silence nowhere."""
    examples = [pairs(1, channels=count)[0] for count in channels]
    summary, values = measured(set_metrics.LabHistograms(), examples)
    other = next(count for count in channels if count != 3)
    reason = f'it is of RGB images, not of {other} channels'
    assert values == {} and list(summary) == list(lab_histograms.CHANNELS)
    assert all(s == {'value': None, 'reason': reason} for s in summary.values())


def test_lab_of_nan_says_why_there_is_none():
    examples = pairs()
    examples[2]['output'][3, 4] = np.nan
    summary, values = measured(set_metrics.LabHistograms(), examples)
    assert values == {}
    assert all(s == {'value': None, 'reason': 'an output has NaN'} for s in summary.values())


def test_checkerboards_are_of_outputs_and_targets():
    examples = pairs()
    rows, columns = np.indices((32, 32))
    for images in examples:
        images['output'] = images['output'] / 2 + ((rows + columns) % 2)[..., None] / 2
    summary, values = measured(metrics.for_folders(Options(('checkerboard',)), [])[-1], examples)
    assert summary['checkerboard']['mean'] > summary['real_checkerboard']['mean'] + 0.5
    assert len(values['checkerboard']) == 5
    flat = {kind: np.zeros((32, 32, 3), np.float32) for kind in ('output', 'target')}
    summary, _ = measured(metrics.for_folders(Options(('checkerboard',)), [])[-1], [flat])
    assert '1 of 1 images are flat' in summary['checkerboard']['reason']


def test_label_scores():
    """A finder that sees the colours of label maps, where the outputs are a little wrong."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, 12, (4, 8, 8))
    wrong = true.copy()
    wrong[:, :2] = 11 - wrong[:, :2]
    examples = [
        {'output': augment.to_float(PALETTE[w]), 'target': augment.to_float(PALETTE[t])}
        for t, w in zip(true, wrong)
    ]

    def find(image):
        return set_metrics.from_label_map(image, FACADES)

    accumulator = set_metrics.LabelScores(
        FACADES, lambda i, images: true[i], find, ground_truth=True
    )
    summary, values = measured(accumulator, examples)
    assert summary['fcn_pixel_accuracy']['mean'] == pytest.approx((wrong == true).mean())
    assert values['fcn_pixel_accuracy'] == pytest.approx((wrong == true).mean((1, 2)))
    matrix = sum(labels.confusion(t, w, 12) for t, w in zip(true, wrong))
    assert summary['fcn_class_iou']['mean'] == pytest.approx(labels.scores(matrix)['class_iou'])
    assert all(summary[f'real_fcn_{name}']['mean'] == 1 for name in labels.SCORES)
    low, high = summary['fcn_pixel_accuracy']['ci95']
    assert low <= summary['fcn_pixel_accuracy']['mean'] <= high

    accumulator = set_metrics.LabelScores(
        FACADES, lambda i, images: true[i], find, ground_truth=False
    )
    summary, _ = measured(accumulator, examples)
    assert list(summary) == list(set_metrics.FCN_NAMES)


def test_a_value_that_is_nan_says_nothing_of_ssims_window():
    """As LPIPS of an output with NaN."""
    found = bootstrap.summarize({'lpips': [0.5, float('nan')]})
    reason = '1 of 2 images are without a value'
    assert found == {'lpips': {'value': None, 'reason': reason}}


def test_what_is_not_computed_has_its_reason():
    summary, values = measured(set_metrics.NotComputed(('a', 'b'), 'it rains'), pairs())
    assert values == {} and summary == dict.fromkeys('ab', {'value': None, 'reason': 'it rains'})
