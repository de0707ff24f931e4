"""Patterns of names: what they read in a name, and which files they make pairs of."""

import itertools
import re

import numpy as np
import pytest
from helpers.pictures import config
from helpers.runs import changed, error_of

from pix2pix_jax.config import validate
from pix2pix_jax.data import discover, pattern_pairs, patterns, propose
from pix2pix_jax.data.patterns import WORDS, Key
from pix2pix_jax.errors import DataError


def keys(text, path):
    return [
        (key.split, *key.stars) for key, _ in patterns.readings(patterns.parse(text, 'field'), path)
    ]


@pytest.mark.parametrize(
    'text,path,found',
    [
        ('*.jpg', '1.jpg', ['1']),
        ('*.jpg', 'IMG_1.JPG', ['IMG_1']),  # extensions in any case
        ('*.JPG', 'img_1.jpg', ['img_1']),
        ('*.jpg', '1.png', None),
        ('*.jpg', 'a/1.jpg', None),
        ('images/*', 'images/1.tif', ['1']),  # of any image
        ('images/*.*', 'images/1.b.tif', ['1.b']),
        ('*.ome.tif', '7.ome.tif', ['7']),
        ('l_*.png', 'l_.png', ['']),
        ('*_mask.png', '_mask_mask.png', ['_mask']),
        ('*/x_*_y.png', 'a/x_1_y.png', ['a', '1']),
        ('**/*.png', '1.png', ['', '1']),
        ('**/*.png', 'a/b/1.png', ['a/b', '1']),
        ('a/**/m/*.png', 'a/b/m/1.png', ['b', '1']),
        ('**/m/**/*.png', 'a/m/b/1.png', ['a', 'b', '1']),
        ('a*b*c.png', 'a1b2c.png', ['1', '2']),
        ('[x]+(?)/*.png', '[x]+(?)/1.png', ['1']),
    ],
)
def test_what_stars_stand_for(text, path, found):
    assert keys(text, path) == ([] if found is None else [('', *found)])


@pytest.mark.parametrize(
    'text,path,found',
    [
        ('{split}/*.png', 'train/1.png', ('train', '1')),
        ('{split}annot/*.png', 'validationannot/1.png', ('val', '1')),
        ('{split}_source/*.tif', 'Training_source/1.tif', ('train', '1')),
        ('images/{split}/**/*.png', 'images/TEST/a/1.png', ('test', 'a', '1')),
        ('{split}/{split}_*.png', 'val/val_1.png', ('val', '1')),
        ('{split}/{split}_*.png', 'val/test_1.png', None),
        ('{split}_*.png', 'testing_train.png', ('test', 'train')),
        ('{split}/*.png', 'other/1.png', None),
    ],
)
def test_the_names_of_splits(text, path, found):
    assert keys(text, path) == ([] if found is None else [found])


@pytest.mark.parametrize(
    'text,path',
    [
        ('*_*.png', 'a_b_c.png'),
        ('**/m/**/*.png', 'm/m/1.png'),
        ('{split}*.png', 'training.png'),
    ],
)
def test_two_readings(text, path):
    assert len(keys(text, path)) == 2
    pattern = patterns.parse(text, 'field')
    with pytest.raises(DataError, match='can be read in two ways') as info:
        pattern_pairs.match([pattern], [path])
    assert path in str(info.value) and '\n' not in str(info.value)


# ---------------------------------------------------------------- against a search of all ways


def ways(text, path):
    """All keys of a pattern in a path, by trying each length of each star."""
    stem, dot, extension = path.rpartition('.')
    ending = re.search(r'\.(jpg|png)$', text)
    if (ending and ending[0][1:] != extension) or not dot:
        return set()
    parts = (text[: ending.start()] if ending else text).split('/')

    def of_parts(parts, names):
        if not parts:
            return {()} if not names else set()
        found = set()
        if parts[0] == '**':
            for n in range(len(names) + 1):
                found |= {('/'.join(names[:n]), *k) for k in of_parts(parts[1:], names[n:])}
        elif names:
            for k in of_text(parts[0], names[0]):
                found |= {(*k, *more) for more in of_parts(parts[1:], names[1:])}
        return found

    def of_text(part, name):
        if not part:
            return {()} if not name else set()
        if part[0] != '*':
            return of_text(part[1:], name[1:]) if name[:1] == part[0] else set()
        found = set()
        for n in range(len(name) + 1):
            found |= {(name[:n], *k) for k in of_text(part[1:], name[n:])}
        return found

    if '{split}' not in text:
        return {('', k) for k in of_parts(parts, stem.split('/'))}
    return {
        (split, k)
        for split, words in WORDS.items()
        for word in words
        for k in of_parts([p.replace('{split}', word) for p in parts], stem.split('/'))
    }


def literal(text):
    """The number of characters that a pattern says itself."""
    return len(re.sub(r'[*/]', '', text.replace('{split}', 'train')))


def brute_force(texts, paths):
    """The pairs of all paths, one of each pattern, whose keys agree; or what is refused."""
    of_each = [{} for _ in texts]
    for path in paths:
        found = {i: ways(text, path) for i, text in enumerate(texts)}
        found = {i: some for i, some in found.items() if some}
        if not found:
            continue
        most = max(literal(texts[i]) for i in found)
        claimed = [i for i in found if literal(texts[i]) == most]
        if len(claimed) > 1 or len(found[claimed[0]]) > 1:
            return 'refused'
        (key,) = found[claimed[0]]
        if key in of_each[claimed[0]]:
            return 'refused'
        of_each[claimed[0]][key] = path
    pairs = set()
    for files in itertools.product(*(found.items() for found in of_each)):
        stars = {key[1] for key, _ in files}
        splits = {key[0] for key, _ in files if key[0]}
        if len(stars) == 1 and len(splits) <= 1:
            pairs.add((splits.pop() if splits else '', stars.pop(), tuple(p for _, p in files)))
    used = [path for _, _, files in pairs for path in files]
    return 'refused' if len(used) != len(set(used)) else pairs


NAMES = ('a', 'b', 'ab', 'a_b', 'a_m', 'm', 'a_m_m')
FOLDERS = ('', 'a/', 'm/', 'train/', 'test/', 'train/m/', 'm/test/', 'm/a/b/', 'trainm/')
TEXTS = (
    '*.png', '*_m.png', '*.jpg', '*', 'a*.png', '*_*.png', '**/*.png', '**/*_m.png', '**/*.jpg',
    'm/**/*.png', '{split}/*.png', '{split}/*_m.png', '{split}m/*.png', '{split}/*', 'm/*.png',
    '{split}/m/*.png', '**/{split}/*.png', '*/*.png', 'm/*.jpg',
)  # fmt: skip


def test_the_pairs_of_random_trees_are_those_of_a_search():
    rng = np.random.default_rng(0)
    every = [f'{f}{n}.{e}' for f in FOLDERS for n in NAMES for e in ('png', 'jpg')]
    choices = [two for two in itertools.permutations(TEXTS, 2) if stars(two[0]) == stars(two[1])]
    outcomes = {'refused': 0, 'pairs': 0, 'none': 0}
    for _ in range(600):
        texts = choices[rng.integers(len(choices))]
        paths = [p for p in every if rng.random() < rng.choice([0.05, 0.2, 0.5])]
        wanted = brute_force(texts, paths)
        parsed = patterns.parse_patterns(*texts)
        try:
            found = pattern_pairs.pair(parsed, pattern_pairs.match(parsed, paths)).files
            found = {(key.split, key.stars, files) for key, files in found.items()}
        except DataError:
            found = 'refused'
        assert found == wanted, (texts, paths)
        outcomes['refused' if found == 'refused' else 'pairs' if found else 'none'] += 1
    assert min(outcomes.values()) > 25, outcomes


def stars(text):
    return patterns.parse(text, 'field').stars


def test_three_patterns_agree():
    parsed = patterns.parse_patterns('*_rgb.png,*_d.png', '*_seg.png')
    paths = ['1_rgb.png', '1_d.png', '1_seg.png', '2_rgb.png', '2_seg.png', 'other.png']
    matches = pattern_pairs.match(parsed, paths)
    pairs = pattern_pairs.pair(parsed, matches)
    assert pairs.files == {Key('', ('1',)): ('1_rgb.png', '1_d.png', '1_seg.png')}
    assert pairs.unpaired == {Key('', ('2',)): ('2_rgb.png', None, '2_seg.png')}
    assert matches.others == ['other.png']
    assert pattern_pairs.about_unpaired(parsed, pairs) == '1 without *_d.png (2_seg)'


@pytest.mark.parametrize(
    'texts,paths,named',
    [
        (('a/*', 'b/*.png'), ['a/1.jpg', 'a/1.png'], ['a/1.jpg', 'a/1.png', 'a/*']),
        (('{split}/*.png', 'b/*.png'), ['Train/1.png', 'train/1.png'], ['Train', 'train']),
        (('x*.png', '*x.png'), ['x1x.png'], ['x1x.png', 'x*.png', '*x.png']),
        (
            ('{split}/*.png', 'b/*.png'),
            ['train/1.png', 'test/1.png', 'b/1.png'],
            ['train/1.png', 'test/1.png', 'b/1.png'],
        ),
    ],
)
def test_what_cannot_be_told_apart_is_refused_by_name(texts, paths, named):
    parsed = patterns.parse_patterns(*texts)
    with pytest.raises(DataError) as info:
        pattern_pairs.pair(parsed, pattern_pairs.match(parsed, paths))
    assert all(text in str(info.value) for text in named) and '\n' not in str(info.value)


def test_the_usual_name_of_a_split_counts_before_others():
    parsed = patterns.parse_patterns('{split}/*.jpg', '{split}/*.png')
    paths = [f'{s}/1.{e}' for s in ('train', 'val', 'valid', 'testing') for e in ('jpg', 'png')]
    matches = pattern_pairs.match(parsed, paths)
    assert {key.split for key in pattern_pairs.pair(parsed, matches).files} == set(WORDS)
    assert matches.beside == {'valid': ['valid/1.jpg', 'valid/1.png']} and not matches.others
    assert matches.words == {'train': {'train'}, 'val': {'val'}, 'test': {'testing'}}


@pytest.mark.parametrize(
    'text,path,stars,filled',
    [
        ('{split}annot/*_L.png', 'testannot/7_L.png', ('7',), '7_L'),
        ('masks/**/*.png', 'masks/a/b/7.png', ('a/b', '7'), 'a/b/7'),
        ('masks/**/*.png', 'masks/7.png', ('', '7'), '7'),
        ('*/{split}/m_*', 'x/test/m_1.jpg', ('x', '1'), 'x/test/m_1'),
    ],
)
def test_a_pattern_is_filled_with_what_was_read(text, path, stars, filled):
    pattern = patterns.parse(text, 'field')
    ((key, word),) = patterns.readings(pattern, path)
    assert key.stars == stars and patterns.fill(pattern, word, stars) == filled
    assert path.rpartition('.')[0].endswith(filled)


# ---------------------------------------------------------------- what is no pattern


@pytest.mark.parametrize(
    'text,why',
    [
        ('images/1.png', 'it has no \\*'),
        ('/images/*.png', 'it is the path of files below'),
        ('../*.png', 'it is the path of files below .* list the pairs in train.csv, which takes'),
        ('a//*.png', 'it is the path of files below'),
        ('images\\*.png', 'no backslash'),
        ('*.bmp', '.bmp is none of'),
        ('{name}/*.png', 'of brackets there is only'),
        ('a**/*.png', '\\*\\* stands for folders'),
        ('images/**', 'its last part is the name of a file'),
        ('**/**/**/*.png', 'at most 2 times'),
        ('', 'target_pattern is empty'),
    ],
)
def test_what_is_no_pattern(text, why):
    fields = {'dataset.path': 'here', 'dataset.input_pattern': 'x/*.jpg'}
    message = error_of(validate, changed(**fields, **{'dataset.target_pattern': text}))
    assert message.startswith('config.dataset.target_pattern') and re.search(why, message)


@pytest.mark.parametrize(
    'fields,message',
    [
        ({'input_pattern': '*.jpg', 'target_pattern': '*/*.png'}, 'different numbers of stars: 1'),
        ({'input_pattern': '*.png', 'target_pattern': '*.png'}, 'two patterns are equal'),
        ({'target_pattern': '*.png'}, 'config.dataset.input_pattern is empty'),
        ({'layout': 'patterns'}, "config.dataset.layout='patterns': needed are"),
        ({'layout': 'list', 'input_pattern': 'a*', 'target_pattern': 'b*'}, "layout='list'"),
        ({'direction': 'BtoA', 'input_pattern': 'a*', 'target_pattern': 'b*'}, "direction='BtoA'"),
        ({'task': 'inpaint', 'input_pattern': 'a*', 'target_pattern': 'b*'}, 'without patterns'),
    ],
)
def test_fields_that_do_not_go_together(fields, message):
    fields = {'path': 'here'} | fields
    assert message in error_of(
        validate, changed(**{f'dataset.{name}': value for name, value in fields.items()})
    )


@pytest.mark.parametrize('name', ['folder', 'openmoji', 'maps'])
def test_patterns_are_of_files_in_a_folder(name):
    patterned = {'dataset.input_pattern': 'a*', 'dataset.target_pattern': 'b*'}
    config = validate(changed(**patterned, **{'dataset.name': name}))
    assert 'input_pattern is of files in it' in error_of(discover.find_splits, config)


# ---------------------------------------------------------------- proposals


@pytest.mark.parametrize('scenes', [('kitchen', 'bath'), ('scene0', 'scene1', 'scene2')])
@pytest.mark.parametrize('kinds', [('rgb', 'depth'), ('rgb', 'depth', 'normal'), ('x', 'y', 'z')])
@pytest.mark.parametrize(
    'place,pattern',
    [('{s}/{k}/{i}.png', '*/{k}/*.png'), ('{s}/{i}_{k}.png', '*/*_{k}.png')],
)
def test_kinds_are_proposed_and_not_scenes(scenes, kinds, place, pattern):
    """Where all scenes have the same names, so that each would pair with another as well."""
    paths = [place.format(s=s, k=k, i=i) for s in scenes for k in kinds for i in range(6)]
    found = propose.propose(paths)
    texts = [pattern.format(k=k) for k in kinds]
    assert found.inputs in texts and found.target in texts, found
    assert (found.pairs, found.unpaired) == (6 * len(scenes), 0)
    assert found.inputs == texts[0]  # and what is made of it is the target


def test_a_proposal_by_numbers_alone_is_doubted():
    """Two scenes of three bands are no pairs of scenes, which names cannot say."""
    paths = [f'LC08_{s}_2020_B{b}.tif' for s in ('224077', '224078') for b in (2, 3, 4)]
    doubt = "these differ in a number alone: if it is the scene's"
    assert doubt in propose.advice(paths, config('x'))
    kinds = [f'{k}/{i}.png' for k in ('rgb', 'depth') for i in range(6)]
    assert doubt not in propose.advice(kinds, config('x'))


@pytest.mark.parametrize('scene', ['rgb_{}', 'trip{}', 'day 0{}'])
def test_kinds_that_hold_scenes_are_proposed(scene):
    kinds = ('photo', 'depth') if scene == 'rgb_{}' else ('photo', 'sketch')
    paths = [f'{k}/{scene.format(s)}/{i}.png' for k in kinds for s in (1, 2) for i in range(6)]
    assert propose.propose(paths)[:3] == (f'{kinds[0]}/*/*.png', f'{kinds[1]}/*/*.png', 12)


def test_kinds_differ_in_their_files_extensions_and_scenes_do_not():
    """Of folders in folders, where no name says which are the kinds."""
    for place in ('{k}/{s}/{i}.{e}', '{s}/{k}/{i}.{e}'):
        kinds = [{'k': 'p', 'e': 'jpg'}, {'k': 'q', 'e': 'png'}]
        paths = [place.format(**k, s=s, i=i) for k in kinds for s in 'xy' for i in range(6)]
        texts = (place.format(**k, s='*', i='*') for k in kinds)
        assert propose.propose(paths)[:3] == (*texts, 12)


def test_photos_in_jpeg_are_the_inputs_of_lossless_files():
    for extension in ('jpg', 'JPG', 'jpeg'):
        paths = [f'p/{i}.png' for i in range(6)] + [f'q/{i}.{extension}' for i in range(6)]
        assert propose.propose(paths)[:3] == (f'q/*.{extension.lower()}', 'p/*.png', 6)


@pytest.mark.parametrize('lone', range(6))
def test_patterns_that_leave_out_more_names_than_they_pair_are_not_proposed(lone):
    paths = [f'{k}/{i}.png' for k in ('rgb', 'depth') for i in range(3)]
    paths += [f'rgb/{i}.png' for i in range(10, 10 + lone)]
    found = propose.propose(paths)
    assert (found and (found.pairs, found.unpaired)) == ((3, lone) if lone <= 3 else None)


@pytest.mark.parametrize(
    'place,texts',
    [
        ('{i}.{e}', ('*.jpg', '*.png')),
        ('base/cmp_b{i}.{e}', ('base/*.jpg', 'base/*.png')),
        ('nyu2_train/scene{s}/{i}.{e}', ('nyu2_{split}/*/*.jpg', 'nyu2_{split}/*/*.png')),
    ],
)
def test_files_of_one_name_are_told_apart_by_their_extensions(place, texts):
    paths = {place.format(i=i, s=i % 2, e=e) for i in range(8) for e in ('jpg', 'png')}
    found = propose.propose([*paths, 'about.tif'])
    assert found[:5] == (*texts, 8, 0, 1) and not found.by_number
    few = [f'{i}.jpg' for i in range(20)] + ['1.png', '2.png']
    assert propose.propose(few) is None
