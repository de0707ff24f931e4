"""What is val or test by its name is never trained on without a word."""

import pytest
from helpers.pictures import config, error, picture, save

from pix2pix_jax.data import discover, split_names
from pix2pix_jax.data.hold_out import Known, SplitPairs
from pix2pix_jax.data.propose import advice

PHOTOS = {'dataset.task': 'denoise', 'dataset.val_fraction': 0.0, 'dataset.test_fraction': 0.0}
DRAWN = {'dataset.val_fraction': 0.0, 'dataset.test_fraction': 0.0}


def names_of(root, known=None, **fields):
    opened = discover.open_splits(config(root, **fields), known or Known())
    return {split: source.names for split, source in opened.items()}


def photos(root, *names, width=16):
    for i, name in enumerate(names):
        save(root / f'{name}.png', picture(i, width=width))


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    'name,said',
    [
        ('train', ('train', '', '')),
        ('train2017', ('train', '', '2017')),
        ('trainA', ('train', '', 'A')),
        ('DIV2K_valid_HR', ('val', 'DIV2K_', '_HR')),
        ('eval15', ('val', '', '15')),
        ('myTest', ('test', 'my', '')),
        ('TESTSET', ('test', '', 'SET')),
        ('TestDataset', ('test', '', 'Dataset')),
        ('1_test_2', ('test', '1_', '_2')),
        *((name, None) for name in ('our485', 'latest', 'contest_1', 'VALUES', 'ävalä', 'Trainer')),
        *((name, None) for name in ('trainval', 'train_test', 'trainannot')),
    ],
)
def test_a_word_in_a_name_says_the_split(name, said):
    assert split_names.said_in(name) == said


@pytest.mark.parametrize(
    'names,are',
    [
        ('train val', True),
        ('train test_a test_b', True),
        ('train2014 val2017', True),
        ('trainA trainB testA', True),
        ('rain_data_train_Heavy rain_data_test_Heavy', True),
        ('trainlabels testlabels', True),
        ('train', False),
        ('val test', False),
        ('our485 eval15', False),
        ('train_to_paris val_thorens', False),
        ('trainlabels latest', False),
    ],
)
def test_names_that_differ_in_the_word_alone_are_splits(names, are):
    assert split_names.are_splits(names.split()) == are


@pytest.mark.parametrize(
    'names,moves',
    [
        ('train val', ''),
        ('Train val1 other', 'rename Train/ to train/, val1/ to val/'),
        ('train test_a test_b', 'move test_a/, test_b/ into test/'),
    ],
)
def test_what_makes_folders_splits_is_said(names, moves):
    assert split_names.moves(names.split()) == moves


# ---------------------------------------------------------------- photos


@pytest.mark.parametrize(
    'folders,held,way',
    [
        (
            'train2017 val2017 test2017',
            'test2017/, val2017/',
            'rename train2017/ to train/, val2017/ to val/, test2017/ to test/',
        ),
        (
            'DIV2K_train_HR DIV2K_valid_HR',
            'DIV2K_valid_HR/',
            'rename DIV2K_train_HR/ to train/, DIV2K_valid_HR/ to val/',
        ),
        (
            'trainA trainB testA testB',
            'testA/, testB/',
            'move trainA/, trainB/ into train/, testA/, testB/ into test/',
        ),
        ('trainimg testimg', 'testimg/', 'rename trainimg/ to train/, testimg/ to test/'),
    ],
)
@pytest.mark.parametrize('above', ['', 'a/b'])
def test_photos_in_folders_that_say_splits_are_refused(tmp_path, folders, held, way, above):
    """And what the line says to do gives these splits."""
    root = tmp_path / above
    for folder in folders.split():
        photos(root / folder, f'x/{folder}')
    path = f', and set config.dataset.path={root}' * bool(above)
    assert error(tmp_path, **PHOTOS) == (
        f'{root}: {held} would be trained on: {way}{path}; or give them names without these words'
    )
    assert names_of(tmp_path, Known(exists=True), **PHOTOS).keys() == {'train'}  # a run goes on
    for folder in folders.split():
        place = root / split_names.all_said(folders.split())[folder].split
        place.mkdir(exist_ok=True)
        (root / folder).rename(place / folder if way.startswith('move') else place / 'x')
    found = names_of(root, **PHOTOS)
    for split, names in found.items():
        assert all(split in name or (split, 'valid') == ('val', 'valid') for name in names)
    assert len(found) == len({*way.replace(',', ' ').split()} & {'train/', 'val/', 'test/'})


@pytest.mark.parametrize(
    'names', ['train_1 train_2 test_1', 'x_train_7 x_test_8', 'a/1train b/2val']
)
def test_photos_whose_names_say_splits_are_refused(tmp_path, names):
    photos(tmp_path / 'images', *names.split())
    message = error(tmp_path, **PHOTOS)
    assert 'would be trained on: names of files say splits: move what is of each into' in message


@pytest.mark.parametrize(
    'names,said',
    [
        ('my/1 eval15/2', '{}: folders are named val (eval15/), and they are trained on: if'),
        (
            'a/1 a/test_1 a/test_2 a/3',
            '{}: files are named test (test_1, test_2), and they are trained on',
        ),
        ('train_to_paris/1 val_thorens/2', '{}: folders are named val (val_thorens/), and'),
    ],
)
def test_what_may_be_held_out_is_a_warning(tmp_path, capsys, names, said):
    photos(tmp_path, *names.split())
    assert len(names_of(tmp_path, **PHOTOS)['train']) == len(names.split())
    assert capsys.readouterr().out.startswith(f'warning: {said.format(tmp_path)}')


@pytest.mark.parametrize(
    'names',
    ['a/1 b/2', 'crash_test_1 crash_test_2', 'latest/1 contest/2', 'train_1 plane_2', 'x test']
    + ['train_station test_tube beach'],
)
def test_of_other_names_nothing_is_said(tmp_path, capsys, names):
    photos(tmp_path, *names.split())
    assert len(names_of(tmp_path, **PHOTOS)['train']) == len(names.split())
    assert not capsys.readouterr().out


def test_photos_named_as_a_split_are_photos(tmp_path):
    """A run that began without them, as versions before took them for splits, goes on so."""
    photos(tmp_path, 'a', 'test', 'dev', 'Training')
    assert names_of(tmp_path, **PHOTOS) == {'train': ('Training', 'a', 'dev', 'test')}
    before = Known(exists=True, splits={'train': SplitPairs(('a',), {})})
    found = discover.find_splits(config(tmp_path, **PHOTOS), before)
    assert found['train'].names == ('a',)


# ---------------------------------------------------------------- split files of photos


def listed(folder, **texts):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / f'{name}.txt').write_text('\n'.join(text.split(' ')))


@pytest.mark.parametrize('place', ['', 'lists', 'images'])
@pytest.mark.parametrize('train', ['train', 'Training', 'trainval'])
def test_split_files_say_the_splits_of_photos(tmp_path, capsys, place, train):
    photos(tmp_path / 'images', *'12345')
    listed(tmp_path / place, **{train: '1 images/2.png', 'test': '3.png 4'})
    found = {'train': ('images/1', 'images/2'), 'test': ('images/3', 'images/4')}
    assert names_of(tmp_path, **PHOTOS) == found
    assert capsys.readouterr().out.splitlines() == [
        f'{tmp_path / place}/{train}.txt: 2 images',
        f'{tmp_path / place}/test.txt: 2 images',
        f'1 images of {tmp_path} are in none of these, and left out: images/5',
    ]
    recorded = {split: SplitPairs(names, {}) for split, names in found.items()}
    assert names_of(tmp_path, Known(exists=True, splits=recorded), **PHOTOS) == found
    drawn = {
        'train': SplitPairs(tuple(f'images/{i}' for i in '1345'), {}),
        'test': SplitPairs(('images/2',), {}, True),
    }
    before = names_of(tmp_path, Known(exists=True, splits=drawn), **PHOTOS)
    assert before == {split: pairs.used for split, pairs in drawn.items()}


@pytest.mark.parametrize(
    'texts,message',
    [
        ({'test': '3 4'}, 'test.txt, and beside it no train.txt: needed is one'),
        ({'train': '1', 'test': '3 9'}, "test.txt, line 2: '9' names no file (--config.dataset.on"),
        ({'train': '1 3', 'test': '3'}, "test.txt, line 1: '3' is in "),
    ],
)
def test_split_files_of_photos_with_a_mistake_are_refused(tmp_path, texts, message):
    photos(tmp_path / 'images', *'1234')
    listed(tmp_path, **texts)
    assert message in error(tmp_path, **PHOTOS)
    assert len(names_of(tmp_path, Known(exists=True), **PHOTOS)['train']) in (1, 4)
    if '9' in texts['test']:
        found = discover.find_splits(config(tmp_path, **PHOTOS, **{'dataset.on_error': 'skip'}))
        assert found['test'].names == ('images/3',) and len(found['test'].unpaired) == 1


@pytest.mark.parametrize('text', ['this is a test', 'took 5 min'])
def test_split_files_of_photos_that_speak_of_something_else_are_not_read(tmp_path, capsys, text):
    photos(tmp_path / 'images', *'125')
    (tmp_path / 'test.txt').write_text(text)
    assert len(names_of(tmp_path, **PHOTOS)['train']) == 3
    assert capsys.readouterr().out == f'{tmp_path}/test.txt names no image, and is not read\n'


def test_a_class_or_a_caption_beside_a_photo_is_no_photo(tmp_path):
    photos(tmp_path, *'0123')
    (tmp_path / 'train.txt').write_text('0.png 0\n1.png 1\n3.png 0\n')
    (tmp_path / 'test.txt').write_text('2.png A photo of 1\n')
    assert names_of(tmp_path, **PHOTOS) == {'train': ('0', '1', '3'), 'test': ('2',)}


def test_a_run_whose_photos_are_in_no_list_goes_on(tmp_path):
    photos(tmp_path, *'01234')
    (tmp_path / 'train.txt').write_text('0\n1\n2\n')
    splits = {'train': SplitPairs(tuple('0124'), {}), 'val': SplitPairs(('3',), {}, True)}
    found = names_of(tmp_path, Known(exists=True, splits=splits), **PHOTOS)
    assert found == {split: pairs.used for split, pairs in splits.items()}


def test_trainval_is_not_train_where_val_lies_beside_it(tmp_path):
    photos(tmp_path, *'1234')
    listed(tmp_path, trainval='1 2', val='2', test='3')
    assert 'no train.txt: needed is one' in error(tmp_path, **PHOTOS)


def test_split_files_beside_folders_of_splits_are_refused(tmp_path):
    photos(tmp_path, '1', '2', 'val/3')
    listed(tmp_path, train='1', test='2')
    assert error(tmp_path, **PHOTOS) == (
        f'there are {tmp_path}/train.txt and {tmp_path}/val: allowed is one way to say splits'
    )


# ---------------------------------------------------------------- inside the folders of train


NESTED = {
    'train/{s}': 'set config.dataset.path={root}/train',
    'train/x/{s}': 'set config.dataset.path={root}/train/x',
    'train/A/{s} train/B/{s}': 'move what is {s} to {root}/{s}/A + {root}/{s}/B',
    'trainA/{s} trainB/{s}': 'move what is {s} to {root}/{s}A + {root}/{s}B',
    'A/Train/{s} B/Train/{s}': 'move what is {s} to {root}/A/{s} + {root}/B/{s}',
}


@pytest.mark.parametrize('places', NESTED)
@pytest.mark.parametrize('split', ['val', 'test'])
@pytest.mark.parametrize('fields', [DRAWN, PHOTOS], ids=['pairs', 'photos'])
def test_splits_in_the_folder_of_train_are_refused(tmp_path, places, split, fields):
    if fields is PHOTOS and ' ' in places:
        return
    for number, folder in enumerate(places.split()):
        for i, word in enumerate(('train', split)):
            save(tmp_path / folder.format(s=word) / f'{i}.png', picture(9 * number + i, width=32))
    way = NESTED[places].format(root=tmp_path, s=split)
    message = error(tmp_path, **fields)
    assert f'{split}/ would be trained on, beside ' in message and message.endswith(f': {way}')
    assert len(names_of(tmp_path, Known(exists=True), **fields)['train']) == 2
    if way.startswith('set'):
        found = names_of(way.removeprefix('set config.dataset.path='), **fields)
        assert found == {'train': ('0',), split: ('1',)}


@pytest.mark.parametrize(
    'places,said',
    [
        (
            'train/1 train/test/2',
            '{}/train: folders are named test (test/), and they are trained on',
        ),
        ('train/a/1 train/a/eval15/2', '{}/train: folders are named val (a/eval15/), and they are'),
        ('train/1 train/test_1 train/test_2', '{}/train: files are named test (test_1, test_2)'),
    ],
)
def test_what_may_be_held_out_in_train_is_a_warning(tmp_path, capsys, places, said):
    photos(tmp_path, *places.split(), width=32)
    assert len(names_of(tmp_path, **DRAWN)['train']) == len(places.split())
    assert capsys.readouterr().out.startswith(f'warning: {said.format(tmp_path)}')


def test_a_list_says_itself_what_is_train(tmp_path, capsys):
    photos(tmp_path, 'train/1', 'test/1')
    (tmp_path / 'train.csv').write_text('input,target\ntrain/1.png,test/1.png\n')
    assert len(names_of(tmp_path, **DRAWN, **{'dataset.layout': 'list'})['train']) == 1
    assert not capsys.readouterr().out


# ---------------------------------------------------------------- stars of patterns


POOLED = {
    'rain_train_Heavy/{k}/1 rain_test_Heavy/{k}/2': (
        '*/{k}/*.png',
        'rain_{{split}}_Heavy/{k}/*.png',
    ),
    'train/{k}/1 test_a/{k}/2 test_b/{k}/3': ('*/{k}/*.png', '{{split}}*/{k}/*.png'),
    '{k}/train_01 {k}/train_02 {k}/test_3': ('{k}/*.png', '{k}/{{split}}_*.png'),
    '{k}/a_train_1 {k}/a_test_2': ('{k}/*.png', '{k}/a_{{split}}_*.png'),
    '{k}/1-train {k}/2-val': ('{k}/*.png', '{k}/*-{{split}}.png'),
    'train2017/x/{k}/1 val2017/x/{k}/2': ('**/{k}/*.png', '{{split}}2017/**/{k}/*.png'),
}


@pytest.mark.parametrize('places', POOLED)
def test_a_star_for_names_that_say_splits_is_refused(tmp_path, places):
    """And what is proposed for folders without train/ keeps them."""
    for kind in ('img', 'mask'):
        photos(tmp_path, *places.format(k=kind).split())
    given, kept = (
        {f'dataset.{side}_pattern': text.format(k=kind)
         for side, kind in (('input', 'img'), ('target', 'mask'))}
        for text in POOLED[places]
    )  # fmt: skip
    message = error(tmp_path, **given, **DRAWN)
    assert message.endswith(
        ': the patterns that keep these splits are {!r} and {!r}'.format(*kept.values())
    )
    found = names_of(tmp_path, **kept, **DRAWN)
    assert 'train' in found and len(found) == 2
    assert sum(map(len, found.values())) == len(places.split())
    known = Known(exists=True, splits={})
    assert names_of(tmp_path, known, **given, **DRAWN).keys() == {'train'}  # a run goes on


def test_lines_are_short_where_many_names_say_splits(tmp_path, capsys):
    many = [f'{s}_{i:02}' for s in ('train', 'test') for i in range(30)]
    photos(
        tmp_path / 'scenes', *(f'{scene}/{kind}/1' for scene in many for kind in ('img', 'mask'))
    )
    fields = {'dataset.input_pattern': '*/img/*.png', 'dataset.target_pattern': '*/mask/*.png'}
    message = error(tmp_path / 'scenes', **fields, **DRAWN)
    assert 'a star stands for train_00 and test_00, whose pairs' in message
    assert "'{split}_*/img/*.png'" in message
    assert 'into train/, test_00/, test_01/, test_02/, … into test/' in error(tmp_path, **PHOTOS)
    photos(tmp_path / 'set' / 'train', *(f'a{i}/test/{i}' for i in range(30)))
    names_of(tmp_path / 'set', **PHOTOS)
    assert capsys.readouterr().out.startswith(
        f'warning: {tmp_path}/set/train: folders are named test (a0/test/, a1/test/, a2/test/, …), '
    )


@pytest.mark.parametrize('places', POOLED)
def test_no_pattern_is_proposed_that_would_be_refused(tmp_path, places):
    names = [f'{n}{i}.png' for n in places.split() for i in range(4)]
    line = advice([name.format(k=kind) for name in names for kind in ('img', 'mask')], config('x'))
    assert 'takes' in line and '{split}' in line


@pytest.mark.parametrize(
    'places,said',
    [
        (
            'our485/{k}/1 eval15/{k}/2',
            'a star stands for folders that are named eval15 as val, and',
        ),
        ('val/{k}/1 test/{k}/2', 'a star stands for folders that are named val as val and test as'),
    ],
)
def test_a_star_for_what_may_be_held_out_is_a_warning(tmp_path, capsys, places, said):
    for kind in ('img', 'mask'):
        photos(tmp_path, *places.format(k=kind).split())
    fields = {'dataset.input_pattern': '*/img/*.png', 'dataset.target_pattern': '*/mask/*.png'}
    assert len(names_of(tmp_path, **fields, **DRAWN)['train']) == 2
    assert f'warning: {tmp_path}: {said}' in capsys.readouterr().out
    names = [f'{n}{i}.png' for n in places.split() for i in range(4)]
    line = advice([name.format(k=kind) for name in names for kind in ('img', 'mask')], config('x'))
    assert f'; but {said}' in line


@pytest.mark.parametrize('place', ['lists', 'images'])
def test_split_files_of_test_alone_in_another_folder_are_refused(tmp_path, place):
    photos(tmp_path, *(f'{kind}/{i}' for kind in ('images', 'masks') for i in '123'))
    fields = {'dataset.input_pattern': 'images/*.png', 'dataset.target_pattern': 'masks/*.png'}
    listed(tmp_path / place, test='3')
    message = error(tmp_path, **fields, **DRAWN)
    assert (
        message
        == f'there is {tmp_path / place}/test.txt, and beside it no train.txt: needed is one'
    )
    assert names_of(tmp_path, Known(exists=True), **fields, **DRAWN).keys() == {'train'}
    listed(tmp_path / place, trainval='1 2')
    assert names_of(tmp_path, **fields, **DRAWN) == {'train': ('1', '2'), 'test': ('3',)}
    drawn = {'train': SplitPairs(('1', '3'), {}), 'test': SplitPairs(('2',), {}, True)}
    found = names_of(tmp_path, Known(exists=True, splits=drawn), **fields, **DRAWN)
    assert found == {'train': ('1', '3'), 'test': ('2',)}  # which began without trainval.txt
    (tmp_path / place / 'trainval.txt').unlink()
    listed(tmp_path / place, test='how to test')
    assert names_of(tmp_path, **fields, **DRAWN).keys() == {'train'}
