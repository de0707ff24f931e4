"""Which pair becomes val: drawn by a hash of its name, or as older versions did."""

import hashlib

import numpy as np
import pytest
from helpers.pictures import config, side_by_side

from pix2pix_jax.data import discover, hold_out
from pix2pix_jax.data.hold_out import Known, SplitPairs


def number(seed, name):
    return int(hashlib.sha256(f'{seed}/{name}'.encode()).hexdigest(), 16) / 2**256


@pytest.mark.parametrize('seed', [0, 1])
@pytest.mark.parametrize('fraction', [0.05, 0.3, 0.9])
def test_val_is_where_the_hash_is_below_the_fraction(seed, fraction):
    names = [f'sub/é {i}' for i in range(300)]
    val = hold_out.by_hash(names, seed, fraction, {})
    assert val == {name for name in names if number(seed, name) < fraction}
    assert abs(len(val) / 300 - fraction) < 4 * np.sqrt(fraction * (1 - fraction) / 300)


@pytest.mark.parametrize('trial', range(20))
def test_new_names_move_no_old_one(trial):
    rng = np.random.default_rng(trial)
    names = [f'{i:x}' for i in rng.permutation(400)]
    old, fraction = names[:200], rng.uniform(0.05, 0.9)
    before = hold_out.by_hash(old, trial, fraction, {})
    after = hold_out.by_hash([names[i] for i in rng.permutation(400)], trial, fraction, {})
    assert after & set(old) == before and after - before


@pytest.mark.parametrize('count', [2, 3, 5])
def test_one_at_least_is_val_and_one_is_not(count):
    names = [str(i) for i in range(count)]
    lowest, *_, highest = sorted(names, key=lambda name: number(0, name))
    assert hold_out.by_hash(names, 0, 1e-9, {}) == {lowest}
    assert hold_out.by_hash(names, 0, 0.999999, {}) == set(names) - {highest}


@pytest.mark.parametrize('trial', range(10))
def test_names_that_an_earlier_run_knew_keep_their_split(trial):
    rng = np.random.default_rng(trial)
    names = [str(i) for i in range(60)]
    earlier = {name: rng.choice(['train', 'val']) for name in names[:30]} | {'gone': 'val'}
    val = hold_out.by_hash(names, 0, 0.2, earlier)
    assert {name for name in names[:30] if earlier[name] == 'val'} == val & set(names[:30])
    assert {name for name in names[30:] if number(0, name) < 0.2} == val - set(names[:30])


@pytest.mark.parametrize('split', ['val', 'test'])
def test_a_split_takes_no_names_of_another(split):
    names = [str(i) for i in range(60)]
    earlier = {name: ('train', 'val', 'test')[i % 3] for i, name in enumerate(names[:30])}
    held = hold_out.by_hash(names, 0, 0.2, earlier, split)
    assert {name for name in names[:30] if earlier[name] == split} == held & set(names[:30])


def test_pairs_elsewhere_of_an_older_run_keep_their_split(tmp_path):
    """New ones alone are drawn, and none that it trained on becomes val."""
    names = [f'{i:02}' for i in range(12)]
    side_by_side(tmp_path / 'train', [f'{name}.png' for name in names])
    earlier = {name: 'val' if i % 3 == 0 else 'train' for i, name in enumerate(names[:9])}
    known = Known(exists=True, old=True, earlier=earlier)
    splits = discover.open_splits(config(tmp_path, **{'dataset.val_fraction': 0.3}), known)
    found = {name: split for split, source in splits.items() for name in source.names}
    assert found.keys() == set(names) and {n: found[n] for n in earlier} == earlier


@pytest.mark.parametrize('trial', range(40))
def test_of_a_small_set_one_moves_at_most(trial):
    """The one that was taken because the hashes gave none."""
    rng = np.random.default_rng(trial)
    names, fraction = [f'{trial}-{i}' for i in range(12)], rng.choice([0.1, 0.9])
    old = names[: rng.integers(2, 6)]
    before = hold_out.by_hash(old, 0, fraction, {})
    moved = before ^ hold_out.by_hash(names, 0, fraction, {}) & set(old)
    below = {name for name in old if number(0, name) < fraction}
    assert len(moved) <= 1 and moved <= before ^ below
    assert before == below or len(before ^ below) == 1


def test_an_earlier_run_that_had_all_in_one_split():
    for split in ('train', 'val'):
        earlier = dict.fromkeys('abz', split)
        assert hold_out.all_in(['a', 'b'], earlier) == split
        assert hold_out.all_in(['a', 'b', 'new'], earlier) == ''
        assert len(hold_out.by_hash(['a', 'b', 'new'], 0, 0.5, earlier)) in (1, 2)
    assert hold_out.all_in('ab', {'a': 'train', 'b': 'val'}) == hold_out.all_in('ab', {}) == ''


@pytest.mark.parametrize('earlier, split, why', [
    ({}, 'val', ''), ({'a': 'train', 'b': 'val'}, 'val', ''), ({'a': 'train'}, 'val', ''),
    ({'a': 'train', 'b': 'test'}, 'val', 'had none of these names in val'),
    ({'a': 'train', 'b': 'val'}, 'test', 'had none of these names in test'),
    ({'a': 'train'}, 'test', 'had none of these names in test'),
    ({'a': 'val', 'b': 'val'}, 'val', 'had all of these names in val'),
])  # fmt: skip
def test_where_an_earlier_run_says_nothing_a_split_is_drawn_anew(earlier, split, why):
    assert hold_out.why_anew('ab', earlier, split) == why


@pytest.mark.parametrize('trial', range(30))
def test_no_split_is_empty_where_earlier_names_count(trial):
    rng = np.random.default_rng(trial)
    names = [str(i) for i in range(rng.integers(2, 9))]
    earlier = {n: str(rng.choice(['train', 'val', 'test'])) for n in names if rng.random() < 0.8}
    for split in ('val', 'test'):
        if not hold_out.why_anew(names, earlier, split):
            assert 0 < len(hold_out.by_hash(names, 0, 0.1, earlier, split)) < len(names)


@pytest.mark.parametrize('count,fraction', [(10, 0.3), (5, 0.1), (400, 0.1), (2, 0.9)])
def test_the_draw_of_older_versions(count, fraction):
    """As sources._hold_out of 0.1.0 drew."""
    names = [str(i) for i in range(count)]
    for seed in (0, 7):
        order = np.random.default_rng(seed).permutation(count)
        held = sorted(order[: max(1, min(count - 1, round(count * fraction)))])
        assert hold_out.by_number(names, seed, fraction) == {names[i] for i in held}


def test_what_came_and_what_went():
    kept = {
        'train': SplitPairs(tuple('abc'), {'bad': 'is cut off'}),
        'val': SplitPairs(('v', 'w'), {}, held_out=True),
        'test': SplitPairs(('a',), {}),
    }
    same = {'train': ['w', 'bad', *'cbav'], 'test': ['a']}
    assert hold_out.changes(kept, same) == []
    found = {'train': [*'avwxyz', '1', '2'], 'val': ['v']}
    assert hold_out.changes(kept, found) == [
        'train: 5 came (1, 2, x, …), 2 went (b, c)',
        'val: 1 came (v)',
        'test: 1 went (a)',
    ]
    kept['val'] = SplitPairs(('v', 'w'), {}, held_out=False)
    assert hold_out.changes(kept, same | {'val': ['v', 'w']}) == ['train: 2 came (v, w)']


def test_the_list_of_an_older_version_says_not_where_val_lies():
    kept = {'train': SplitPairs(('a',), {}, None), 'val': SplitPairs(('v',), {}, None)}
    assert hold_out.changes(kept, {'train': ['a', 'v']}) == []
    assert hold_out.changes(kept, {'train': ['a'], 'val': ['v']}) == []
