import numpy as np
import pytest
from scipy import linalg

from pix2pix_jax.evaluation import bootstrap, fid_kid

NEEDED = 'needs the extra bench'
# (N, M, D): fewer images than features, more, as many, and one feature
SIZES = [(7, 5, 20), (20, 30, 4), (12, 12, 12), (13, 12, 12), (2, 2, 5), (9, 4, 1), (5, 40, 12)]


def sets(n, m, d, seed=0):
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(d, d)) / np.sqrt(d)
    real = rng.normal(size=(n, d)) @ mixing + 1
    return real, rng.gamma(2, size=(m, d)) @ mixing.T


def by_the_formula(real, generated):
    """FID with the root of the covariances' product."""
    s1, s2 = (np.cov(x, rowvar=False).reshape(x.shape[1], -1) for x in (real, generated))
    root = np.trace(linalg.sqrtm(s1 @ s2)).real
    difference = real.mean(0) - generated.mean(0)
    return difference @ difference + np.trace(s1 + s2) - 2 * root


def kernel_brute_force(x, y):
    def k(a, b):
        return (a @ b / len(a) + 1) ** 3

    def within(x):
        n = len(x)
        return np.mean([k(x[i], x[j]) for i in range(n) for j in range(n) if i != j])

    return within(x) + within(y) - 2 * np.mean([k(a, b) for a in x for b in y])


@pytest.mark.parametrize('size', SIZES)
def test_fid_is_the_formula_for_any_numbers(size):
    real, generated = sets(*size)
    value = fid_kid.frechet_distance(real, generated)
    # Rounding: the root of a singular matrix is exact to the root of 1e-16 alone.
    assert value == pytest.approx(by_the_formula(real, generated), rel=1e-5)
    assert value == pytest.approx(fid_kid.frechet_distance(generated, real))


def test_fid_is_the_closed_form():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 6))
    shift = np.arange(6) / 3
    assert fid_kid.frechet_distance(x, x) == pytest.approx(0, abs=1e-12)
    assert fid_kid.frechet_distance(x, x + shift) == pytest.approx(shift @ shift)
    # Scaled features: the root of S and 9 S is 3 S.
    centred = x - x.mean(0)
    trace = np.trace(np.cov(x, rowvar=False))
    assert fid_kid.frechet_distance(centred, 3 * centred) == pytest.approx(4 * trace)
    one, two = rng.normal(1, 2, (400, 1)), rng.normal(0, 5, (300, 1))
    wanted = (one.mean() - two.mean()) ** 2 + (one.std(ddof=1) - two.std(ddof=1)) ** 2
    assert fid_kid.frechet_distance(one, two) == pytest.approx(wanted)


def test_fid_of_many_images_is_that_of_the_gaussians():
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(3, 3)) for _ in range(2))
    x, y = (rng.normal(size=(200_000, 3)) @ m for m in (a, b))
    root = np.trace(linalg.sqrtm(a.T @ a @ b.T @ b)).real
    wanted = np.trace(a.T @ a + b.T @ b) - 2 * root
    assert fid_kid.frechet_distance(x, y + 1) == pytest.approx(3 + wanted, rel=0.01)


@pytest.mark.parametrize('size', SIZES)
def test_kid_is_the_published_formula(size, monkeypatch):
    monkeypatch.setattr(fid_kid, 'BLOCK', 3)
    real, generated = sets(*size)
    wanted = kernel_brute_force(real, generated)
    assert fid_kid.kernel_distance(real, generated) == pytest.approx(wanted)


def test_kid_is_unbiased_and_falls_below_0():
    values = [fid_kid.kernel_distance(*sets_of_one_kind(seed)) for seed in range(300)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(300)
    assert min(values) < 0 < max(values)


def sets_of_one_kind(seed):
    return np.random.default_rng(seed).normal(size=(2, 12, 5))


def test_kid_of_many_images_is_of_subsets(monkeypatch):
    monkeypatch.setattr(fid_kid, 'SUBSET_SIZE', 10)
    real, generated = sets(30, 40, 6)
    rng = np.random.RandomState(2020)
    values = []
    for _ in range(100):
        chosen = rng.choice(30, 10, replace=False), rng.choice(40, 10, replace=False)
        values.append(kernel_brute_force(real[chosen[0]], generated[chosen[1]]))
    assert fid_kid.kernel_distance(real, generated) == pytest.approx(np.mean(values))
    few = fid_kid.kernel_distance(real, generated[:10])  # all of both
    assert few == pytest.approx(kernel_brute_force(real, generated[:10]))


@pytest.mark.parametrize('name', ['frechet', 'kernel'])
@pytest.mark.parametrize('size', [(20, 6), (8, 30)])
def test_a_pairs_influence_is_the_derivative_by_its_weight(name, size, monkeypatch):
    seen = []
    monkeypatch.setattr(
        bootstrap, 'summarize_influence', lambda value, influence: seen.append(influence)
    )
    real, generated = sets(size[0], *size)
    getattr(fid_kid, f'{name}_summary')(real, generated)
    influence = seen[0] - seen[0].mean()
    if name == 'frechet':  # all but the means' distance is of degree 1 in the covariances
        spread = seen[0].mean() * len(real) / (len(real) - 1)
        shift = ((real.mean(0) - generated.mean(0)) ** 2).sum()
        assert spread + shift == pytest.approx(fid_kid.frechet_distance(real, generated))
    # Leaving out a pair is a step of -1 / (N - 1) in its direction; for these N it is a rough one.
    f = getattr(fid_kid, f'{name}_distance')
    left_out = [f(np.delete(real, i, 0), np.delete(generated, i, 0)) for i in range(len(real))]
    steps = -(len(real) - 1) * (left_out - np.mean(left_out))
    assert np.corrcoef(steps, influence)[0, 1] > 0.97
    assert np.std(steps) == pytest.approx(np.std(influence), rel=0.3)


@pytest.mark.parametrize('name', ['frechet', 'kernel'])
def test_the_interval_covers_the_expected_value_about_as_often_as_it_says(name):
    def draw(seed):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(60, 8))
        return x, 0.6 * x + 0.5 * rng.normal(size=x.shape) + 0.2

    results = [getattr(fid_kid, f'{name}_summary')(*draw(seed)) for seed in range(60)]
    expected = np.mean([result['mean'] for result in results])
    covered = sum(low <= expected <= high for low, high in (r['ci95'] for r in results))
    assert 51 <= covered <= 60  # 57 expected
    assert all(r['ci95'][0] < r['mean'] < r['ci95'][1] for r in results)
    assert getattr(fid_kid, f'{name}_summary')(*draw(0)) == results[0]
    assert results[0]['mean'] == getattr(fid_kid, f'{name}_distance')(*draw(0))


def test_too_few_images_or_no_pairs():
    real, generated = sets(4, 3, 5)
    for f in (fid_kid.frechet_distance, fid_kid.kernel_distance):
        with pytest.raises(ValueError, match='two images or more'):
            f(real, generated[:1])
    for f in (fid_kid.frechet_summary, fid_kid.kernel_summary):
        with pytest.raises(ValueError, match='not features of pairs'):
            f(real, generated)


@pytest.mark.parametrize('size', [(30, 20, 8), (10, 12, 40)])
def test_fid_is_pytorch_fids(size):
    reference = pytest.importorskip('pytorch_fid.fid_score', reason=NEEDED)
    real, generated = sets(*size)
    statistics = [f(x) for x in (real, generated) for f in (lambda x: x.mean(0), covariance)]
    wanted = reference.calculate_frechet_distance(*statistics)
    assert fid_kid.frechet_distance(real, generated) == pytest.approx(wanted, rel=1e-4)


def covariance(features):
    return np.cov(features, rowvar=False)


def test_kid_is_torch_fidelitys(monkeypatch):
    torch = pytest.importorskip('torch', reason=NEEDED)
    reference = pytest.importorskip('torch_fidelity.metric_kid', reason=NEEDED)
    assert tuple(
        reference.get_kwarg(name, {}) for name in ('kid_subsets', 'kid_subset_size', 'rng_seed')
    ) == (fid_kid.SUBSETS, fid_kid.SUBSET_SIZE, fid_kid.SUBSET_SEED)
    monkeypatch.setattr(fid_kid, 'SUBSET_SIZE', 20)
    tensors = [torch.from_numpy(x) for x in sets(30, 25, 6)]
    wanted = reference.kid_features_to_metric(*tensors, kid_subset_size=20, verbose=False)
    value = fid_kid.kernel_distance(*(x.numpy() for x in tensors))
    assert value == pytest.approx(wanted['kernel_inception_distance_mean'])
