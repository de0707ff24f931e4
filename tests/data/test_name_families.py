"""Folders in which each scene has three files or more: they are never read as something unsaid."""

import itertools

import numpy as np
import pytest
from helpers.pictures import config, error, photo, save

from pix2pix_jax.data import discover, patterns
from pix2pix_jax.data.name_families import files_of, find_kinds
from pix2pix_jax.data.propose import advice

KINDS = {
    'abc': ('a', 'b', 'c'),
    'four': ('image', 'labels', 'nir', 'swir'),
    'five': ('left', 'right', 'up', 'down', 'flow'),
}
PLACES = (
    '{s}_{k}.png',
    'mine/{s}-{k}.png',
    '{k}_{s}.png',
    '{k}/{s}.png',
    '{s}/{k}.png',
    'x/{s}/{k}/3.png',
)


def paths_of(kinds, scenes, place):
    return [place.format(s=s, k=k) for s, k in itertools.product(scenes, kinds)]


@pytest.mark.parametrize('scenes', [[f'scene{i}' for i in range(9)], list('pqrstuvwxyz')])
@pytest.mark.parametrize('place', PLACES)
@pytest.mark.parametrize('kinds', KINDS.values(), ids=KINDS)
def test_all_kinds_are_found_wherever_names_have_them(kinds, place, scenes):
    paths = paths_of(kinds, scenes, place)
    by_kind = [paths_of([k], scenes, place) for k in sorted(kinds)]
    texts = [one.pattern() for one in find_kinds(files_of(paths))]
    taken = [[p for p in paths if patterns.readings(patterns.parse(t, ''), p)] for t in texts]
    assert taken == by_kind
    some_are_missing = [path for i, path in enumerate(paths) if i % 7]
    assert [one.pattern() for one in find_kinds(files_of(some_are_missing))] == texts
    line = advice(paths, config('mine'))
    if 'a' in kinds:
        assert ', '.join(texts) in line and '--config.dataset.input_pattern=' in line


@pytest.mark.parametrize(
    'paths',
    [
        [f'{i}.png' for i in range(20)],
        [f'scene{i}_{k}.png' for i in range(5) for k in range(4)],  # numbers
        [f'{i}_{k}.png' for i in range(9) for k in ('left', 'right')],  # two
        [f'{s}_{k}.png' for s in ('kitchen', 'hall', 'bath') for k in ('rgb', 'depth')],
        [f'scene{i}_{k}.png' for i in range(3) for k in 'abcdefghijkl'],  # scenes of many
        [f'img_{k}.png' for k in 'abcdefgh'],
        [f'cmp_b{i:04}.jpg' for i in range(30)],
    ],
)
def test_what_are_no_three_kinds(paths):
    assert find_kinds(files_of(paths)) == []


def test_one_that_is_named_as_the_target_is_proposed_and_the_rest_counted():
    paths = paths_of(('rgb', 'normal', 'albedo'), range(5), '{s}_{k}.png')
    line = advice(paths, config('mine'))
    assert 'takes 5 pairs, and none of 5 other images, with' in line
    assert "target_pattern='*_normal.png'" in line


@pytest.mark.parametrize('place', ['{s}_{k}.png', 'train/{s}_{k}.png', 'train/{k}/{s}.png'])
def test_of_two_that_are_named_as_targets_none_is_guessed(place):
    paths = paths_of(('rgb', 'depth', 'seg'), range(5), place)
    paths += [path.replace('train/', 'val/') for path in paths if 'train/' in path]
    assert 'there are files of 3 kinds, ' in advice(paths, config('mine'))


def images(folder, kinds, picture, scenes=6):
    for i, (scene, kind) in enumerate(itertools.product(range(scenes), kinds)):
        save(folder / f'train/scene{scene}_{kind}.png', picture(i))


@pytest.mark.parametrize('kinds', KINDS.values(), ids=KINDS)
def test_single_images_of_many_kinds_are_refused(tmp_path, kinds):
    images(tmp_path, kinds, lambda i: photo(i, 48, 96))
    message = error(tmp_path)
    assert f'its names are of {len(kinds)} kinds, *_{min(kinds)}, ' in message
    assert f'there are files of {len(kinds)} kinds, {{split}}/*_{min(kinds)}.png, ' in message


@pytest.mark.parametrize('kinds', KINDS.values(), ids=KINDS)
def test_where_pixels_say_nothing_it_is_said(tmp_path, kinds, capsys):
    images(tmp_path, kinds, lambda i: np.full((32, 96, 3), i, np.uint8))
    discover.open_splits(config(tmp_path))
    text = capsys.readouterr().out
    assert f'its names are of {len(kinds)} kinds' in text and 'if each file is one image' in text
    discover.open_splits(config(tmp_path, **{'dataset.layout': 'side_by_side'}))
    assert not capsys.readouterr().out


def test_pairs_side_by_side_of_any_names_are_taken(tmp_path, capsys):
    images(tmp_path, 'abcd', lambda i: np.hstack([photo(i, 48, 48), 255 - photo(99 - i, 48, 48)]))
    assert len(discover.open_splits(config(tmp_path))['train']) == 24
    assert not capsys.readouterr().out
