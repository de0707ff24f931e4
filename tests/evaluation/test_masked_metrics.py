"""Metrics of valid pixels alone: on the device, on the host, and of selected pixels."""

import numpy as np
import pytest

from pix2pix_jax.evaluation import device_metrics, image_metrics, metrics, report
from pix2pix_jax.evaluation.options import Options, Subject

SIDE = 32


def images(count=4, channels=3):
    rng = np.random.default_rng(0)
    target = rng.uniform(-1, 1, (count, SIDE, SIDE, channels)).astype(np.float32)
    output = np.clip(target + rng.normal(0, 0.2, target.shape), -1, 1).astype(np.float32)
    valid = np.ones((count, SIDE, SIDE, 1), np.float32)
    valid[0, :14] = 0
    valid[1, 20:, 20:] = 0
    valid[2] = rng.random((SIDE, SIDE, 1)) < 0.5  # without a whole window
    valid[3] = 0
    return output, target, valid


def test_they_are_those_of_the_valid_part():
    output, target, valid = images()
    alone = image_metrics.of_pair(output[0, 14:], target[0, 14:])
    assert image_metrics.of_pair(output[0], target[0], valid[0]) == pytest.approx(alone, abs=1e-9)
    chosen = output[2][valid[2, ..., 0] > 0], target[2][valid[2, ..., 0] > 0]
    found = image_metrics.of_pair(output[2], target[2], valid[2])
    assert found['l1'] == pytest.approx(np.abs(chosen[0].astype(float) - chosen[1]).mean())
    assert np.isnan(found['ssim'])
    assert all(map(np.isnan, image_metrics.of_pair(output[3], target[3], valid[3]).values()))


@pytest.mark.parametrize('channels', [1, 3])
def test_the_device_finds_the_same(channels):
    output, target, valid = images(channels=channels)
    files = device_metrics.levels([np.dtype(np.float32)] * 4, (0, 4000))
    rounded, measured = device_metrics.measure(output, target, files, valid)
    found = device_metrics.values(measured, files)
    for i, image in enumerate(np.asarray(rounded)):
        for name, value in image_metrics.of_pair(image, target[i], valid[i]).items():
            np.testing.assert_allclose(found[name][i], value, atol=1e-5, err_msg=name)
        difference = (image - target[i])[valid[i, ..., 0] > 0].astype(np.float64) * 2000
        if difference.size:
            np.testing.assert_allclose(found['mae'][i], np.abs(difference).mean(), rtol=1e-5)
            rmse = np.sqrt((difference**2).mean())
            np.testing.assert_allclose(found['rmse'][i], rmse, rtol=1e-5)


def test_what_is_masked_changes_nothing():
    output, target, valid = images()
    files = device_metrics.levels([np.dtype(np.uint8)] * 4)
    other = np.where(valid > 0, output, np.float32(0.3)), np.where(valid > 0, target, 1)
    a, b = (
        device_metrics.values(device_metrics.measure(*pair, files, valid)[1])
        for pair in ((output, target), other)
    )
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


def test_images_without_valid_pixels_are_counted():
    output, target, valid = images()
    examples = [
        (
            str(i),
            image_metrics.of_pair(*parts) | {'valid': parts[2], 'valid_pixels': parts[2].sum()},
        )
        for i, parts in enumerate(zip(output, target, valid))
    ]
    summary, values = report.measure([examples], 4)
    assert summary['l1']['left_out'] == 1 and summary['ssim']['left_out'] == 2
    assert summary['l1']['mean'] == pytest.approx(np.mean(values['l1'][:3]))
    said = {row.split()[0]: row for row in report.table(summary).splitlines()}
    assert said['l1'].endswith('; 1 images left out: no pixel is valid')
    assert said['ssim'].endswith('; 2 images left out: no window of 11 pixels is wholly valid')
    summary, _ = report.measure([examples[3:]], 1)
    assert summary['l1'] == {
        'value': None, 'reason': '1 of 1 images left out: no pixel is valid'
    }  # fmt: skip
    summary, _ = report.measure([examples[2:3]], 1)
    assert summary['l1']['mean'] and summary['ssim'] == {
        'value': None, 'reason': f'1 of 1 images left out: {metrics.NO_WINDOW}'
    }  # fmt: skip


@pytest.mark.parametrize('kind', [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize('masked', [False, True])
def test_outputs_of_nan_are_never_hidden(kind, masked):
    """Whatever the type of the targets' files, and whatever images are rightly left out beside."""
    output, target, valid = images()
    valid[2] = 1  # a whole image with one bad pixel
    output[2, 5, 5] = np.nan
    files = device_metrics.levels([np.dtype(kind)] * 4)
    _, measured = device_metrics.measure(output, target, files, valid if masked else None)
    columns = device_metrics.values(measured)
    assert all(np.isnan(values[2]) for values in columns.values())
    rows = [dict(zip(columns, row)) for row in zip(*columns.values())]
    if masked:
        rows = [row | {'valid': v, 'valid_pixels': v.sum()} for row, v in zip(rows, valid)]
    summary, _ = report.measure([[(str(i), row) for i, row in enumerate(rows)]], 4)
    count = 3 if masked else 4
    for name, are in (('l1', metrics.OF_NAN), ('psnr', metrics.OF_NAN), ('ssim', 'smaller than')):
        assert summary[name]['value'] is None and 'left_out' not in summary[name]
        assert summary[name]['reason'].startswith(f'1 of {count} images are {are}')


@pytest.mark.parametrize('kind', [np.uint8, np.float32])
def test_nan_where_nothing_counts_changes_nothing(kind):
    output, target, valid = images()
    files = device_metrics.levels([np.dtype(kind)] * 4)
    bad = np.where(valid > 0, output, np.float32(np.nan))
    a, b = (
        device_metrics.values(device_metrics.measure(one, target, files, valid)[1])
        for one in (output, bad)
    )
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])
        assert not np.isnan(a[name][:2]).any()


def test_metrics_of_whole_images_say_that_pixels_are_masked():
    names = metrics.choices()
    summary = {}
    for one in metrics._created(Subject(Options(names), masked=True)):
        summary |= one.compute()[0]
    for name in ('l1', 'psnr', 'ssim'):  # of valid pixels
        assert summary.pop(name)['reason'] != metrics.MASKED
    assert {'lpips', 'fid', 'kid', 'fcn_class_iou', 'lab_l', 'checkerboard'} <= summary.keys()
    assert {entry['reason'] for entry in summary.values()} == {metrics.MASKED}
