"""The metrics together; the networks are tiny stand-ins, theirs have their own tests."""

import numpy as np
import pytest

from pix2pix_jax.evaluation import bootstrap, fid_kid, inception, lpips, perceptual, weights
from pix2pix_jax.models import lpips as network


def features(variables, images):
    """Twelve features: the mean colours of quarters."""
    n = len(images)
    assert images.shape[1:] == (299, 299, 3) and images.dtype == np.float32
    assert n <= inception.BATCH
    return images[:, :298, :298].reshape(n, 2, 149, 2, 149, 3).mean((2, 4)).reshape(n, 12)


def distance(loaded, output, target):
    assert len(output) <= lpips.BATCH and output.shape[-1] == 3
    return np.abs(output - target).mean((1, 2, 3))


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch):
    loaded = []
    monkeypatch.setattr(weights, 'load', lambda kind, path: loaded.append((kind, path)) or {})
    monkeypatch.setattr(inception, 'variables', lambda tensors: {})
    monkeypatch.setattr(inception, 'features', features)
    monkeypatch.setattr(network, 'used', lambda tensors: {})
    monkeypatch.setattr(lpips, 'distance', distance)
    return loaded


def pairs(count, size=(40, 33), channels=3, seed=0):
    rng = np.random.default_rng(seed)
    target = rng.uniform(-1, 1, (count, *size, channels)).astype(np.float32)
    return np.clip(target + rng.normal(0, 0.3, target.shape), -1, 1).astype(np.float32), target


def measured(*batches, **arguments):
    measuring = perceptual.Perceptual(**arguments)
    for outputs, targets in batches:
        for output, target in zip(outputs, targets, strict=True):
            measuring.update({'output': output, 'target': target})
    summary, values = measuring.compute()
    if 'mean' in summary.get('lpips', {}):
        assert summary['lpips'] == bootstrap.summarize(values)['lpips']
    return summary | values


def test_values_are_those_of_all_images(stand_ins):
    outputs, targets = pairs(37)
    whole = measured((outputs, targets), inception_path='i', alexnet_path='a', lpips_path='l')
    assert stand_ins == [('alexnet', 'a'), ('lpips', 'l'), ('inception', 'i')]
    np.testing.assert_allclose(
        whole['lpips'],
        distance(None, outputs[:16], targets[:16]).tolist()
        + np.abs(outputs - targets).mean((1, 2, 3))[16:].tolist(),
    )
    assert list(whole) == ['lpips', 'fid', 'kid']
    both = [
        np.concatenate(
            [features(None, np.asarray(inception.resize(x[i : i + 1]))) for i in range(37)]
        )
        for x in (targets, outputs)
    ]
    assert whole['fid']['mean'] == pytest.approx(fid_kid.frechet_distance(*both))
    assert whole['kid']['mean'] == pytest.approx(fid_kid.kernel_distance(*both))
    assert whole['fid']['ci95'][0] < whole['fid']['mean'] < whole['fid']['ci95'][1]


def test_sizes_may_change():
    batches = [pairs(2, (40, 33)), pairs(3, (60, 50), seed=1), pairs(1, (40, 33), seed=2)]
    result = measured(*batches)
    wanted = np.concatenate([distance(None, *batch) for batch in batches])
    np.testing.assert_allclose(result['lpips'], wanted)
    assert 'mean' in result['fid']


def test_gray_counts_as_rgb_and_alpha_is_left_out():
    gray = pairs(3, channels=1)
    assert measured(gray) == measured([np.repeat(x, 3, axis=-1) for x in gray])
    color = pairs(3, channels=4)
    assert measured(color) == measured([x[..., :3] for x in color])


def test_only_the_metrics_that_are_asked_for(stand_ins):
    assert list(measured(pairs(3), names=('kid',))) == ['kid']
    assert [kind for kind, _ in stand_ins] == ['inception']
    assert list(measured(pairs(3), names=['lpips'])) == ['lpips']
    with pytest.raises(ValueError, match='allowed are'):
        measured(names=('fid', 'ssim'))
    with pytest.raises(ValueError, match='output is'):
        measured((pairs(2, (40, 33))[0], pairs(2, (40, 34))[1]))


def test_what_cannot_be_measured_has_a_reason():
    result = measured(pairs(2), pairs(1, channels=2), pairs(2))
    for name in perceptual.NAMES:
        assert result[name]['value'] is None and '4 channels, not 2' in result[name]['reason']
    result = measured(pairs(2), pairs(2, (40, 30)))
    assert '31x31' in result['lpips']['reason'] and 'mean' in result['fid']
    result = measured(pairs(1))
    assert len(result['lpips']) == 1
    assert all('2 images or more, not 1' in result[name]['reason'] for name in ('fid', 'kid'))
    outputs, targets = pairs(2)
    outputs[0, 0] = np.nan
    assert 'not finite' in measured((outputs, targets))['fid']['reason']
    result = measured()
    assert result['lpips'] == [] and 'not 0' in result['kid']['reason']


def test_weights_that_are_not_to_be_had_are_the_reason(monkeypatch):
    def load(kind, path):
        if kind == missing:
            raise weights.Unavailable(f'no {kind}')
        return {}

    monkeypatch.setattr(weights, 'load', load)
    for missing, names in (
        ('lpips', {'lpips'}),
        ('alexnet', {'lpips'}),
        ('inception', {'fid', 'kid'}),
    ):
        result = measured(pairs(3))
        reasons = {
            k: v['reason'] for k, v in result.items() if isinstance(v, dict) and 'reason' in v
        }
        assert reasons == dict.fromkeys(names, f'no {missing}')
