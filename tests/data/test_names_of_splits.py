"""Folders of splits under their many names: which is taken, and what is said of the others."""

import pytest
from helpers.pictures import config, error, picture, save, side_by_side

from pix2pix_jax.data import discover, pattern_pairs, patterns, split_names
from pix2pix_jax.data.hold_out import Known


def names_of(root, **fields):
    return {s: source.names for s, source in discover.open_splits(config(root, **fields)).items()}


@pytest.mark.parametrize(
    'train,val,test', [('Train', 'Valid', 'Test'), ('train', 'VAL', 'Testing')]
)
@pytest.mark.parametrize('place', ['{}', '{}A {}B', 'A/{} B/{}', '{}/a {}/b'])
def test_names_may_have_capitals(tmp_path, train, val, test, place):
    for i, word in enumerate((train, val, test)):
        for folder in place.split():
            save(tmp_path / folder.format(word) / f'{i}.png', picture(i, width=32))
    fields = {'dataset.val_fraction': 0.5}
    assert names_of(tmp_path, **fields) == {'train': ('0',), 'val': ('1',), 'test': ('2',)}


@pytest.mark.parametrize('place', ['{}', '{}A {}B', 'A/{} B/{}'])
def test_a_second_name_of_a_split_is_said_to_be_left_out(tmp_path, capsys, place):
    for i, word in enumerate(('train', 'valid', 'validation')):
        for folder in place.split():
            save(tmp_path / folder.format(word) / f'{i}.png', picture(i, width=32))
    assert names_of(tmp_path)['val'] == ('1',)
    taken, left = capsys.readouterr().out.splitlines()
    folder, *_ = place.split()
    assert taken.endswith('is taken as val')
    assert left.startswith(
        f'{tmp_path}/{folder.format("validation")} is left out: val is {tmp_path}'
    )


def test_a_second_name_by_patterns_is_said_to_be_left_out(tmp_path, capsys):
    for split in ('train', 'val', 'validation'):
        for name in ('1', '2'):
            for extension in ('png', 'jpg'):
                save(tmp_path / split / f'{name}.{extension}', picture(1))
    fields = {'dataset.input_pattern': '{split}/*.png', 'dataset.target_pattern': '{split}/*.jpg'}
    assert set(names_of(tmp_path, **fields)) == {'train', 'val'}
    assert capsys.readouterr().out.splitlines() == [
        '4 images of validation are left out, beside another name of the split: '
        'validation/1.jpg, validation/1.png, validation/2.jpg, …'
    ]
    parsed = patterns.parse_patterns('{split}/*.png', '{split}/*.jpg')
    matches = pattern_pairs.match(parsed, ['val/1.png', 'valid/1.png', 'x.png'])
    assert matches.others == ['x.png'] and matches.beside == {'valid': ['valid/1.png']}


# ---------------------------------------------------------------- photos


@pytest.mark.parametrize('word,split', [('test', 'test'), ('eval', 'val'), ('Dev', 'val')])
def test_photos_beside_a_folder_of_a_split_are_train(tmp_path, capsys, word, split):
    for i in range(30):
        save(tmp_path / f'{i}.png', picture(i))
    for i in range(3):
        save(tmp_path / word / f'{i}.png', picture(100 + i))
    found = names_of(tmp_path, **{'dataset.task': 'denoise', 'dataset.val_fraction': 0.1})
    assert found[split] == ('0', '1', '2')
    other = {name for some in ('train', 'val', 'test') if some != split for name in found[some]}
    assert other == {str(i) for i in range(30)} and len(found) == 3
    said = capsys.readouterr().out
    assert f'the 30 images of {tmp_path} in no folder of a split are train\n' in said


def test_a_second_folder_of_a_split_is_not_trained_on(tmp_path):
    save(tmp_path / '1.png', picture(1))
    for word in ('val', 'eval'):
        save(tmp_path / word / f'{word}.png', picture(2))
    fields = {'dataset.task': 'denoise', 'dataset.test_fraction': 0.0}
    assert names_of(tmp_path, **fields) == {'train': ('1',), 'val': ('val',)}


TASK = {'dataset.task': 'denoise', 'dataset.test_fraction': 0.0, 'dataset.val_fraction': 0.0}


@pytest.mark.parametrize('above', ['photos', 'my/photos'])
@pytest.mark.parametrize('word', ['val', 'Test', 'eval'])
def test_the_folder_above_that_of_the_splits_is_refused(tmp_path, above, word):
    for split in ('train', word):
        save(tmp_path / above / split / 'x' / f'{split}.png', picture(1))
    held, folder = split_names.split_of(word), tmp_path / above
    assert error(tmp_path, **TASK) == (
        f'{folder}/{word} would be trained on: set config.dataset.path={folder} if it is {held}, '
        'else give it another name'
    )
    found = names_of(folder, **TASK)  # the way out is one
    assert found == {'train': ('x/train',), held: (f'x/{word}',)}


def test_a_run_that_took_such_a_folder_goes_on(tmp_path):
    for split in ('train', 'test'):
        save(tmp_path / 'photos' / split / f'{split}.png', picture(1))
    found = discover.open_splits(config(tmp_path, **TASK), Known(exists=True))
    assert found['train'].names == ('photos/test/test', 'photos/train/train')


def test_deeper_folders_of_train_alone_are_train(tmp_path):
    for name in ('a/train/1', 'a/2', 'b/3'):
        save(tmp_path / f'{name}.png', picture(1))
    assert names_of(tmp_path, **TASK) == {'train': ('a/2', 'a/train/1', 'b/3')}


# ---------------------------------------------------------------- masks


def test_masks_beside_a_and_b_are_no_third_kind(tmp_path):
    for kind in 'a', 'b', 'mask':
        image = picture(3)
        save(tmp_path / 'train' / kind / '1.png', image[..., 0] if kind == 'mask' else image)
    train = discover.open_splits(config(tmp_path, **{'dataset.mask': 'mask'}))['train']
    assert train.names == ('1',) and len(train.files[0]) == 2
    assert train.masks == (tmp_path / 'train' / 'mask' / '1.png',)


def test_pairs_without_a_mask_are_left_out_and_counted(tmp_path):
    side_by_side(tmp_path / 'train', ['1.png', '2.png', '3.png'])
    save(tmp_path / 'trainmask' / '2.png', picture(3)[..., 0])
    fields = {'dataset.mask': 'mask', 'dataset.on_error': 'skip'}
    train = discover.open_splits(config(tmp_path, **fields))['train']
    assert train.names == ('2',) and len(train.masks) == 1
    assert dict(train.unpaired) == {
        name: f'{name} is not in {tmp_path}/trainmask' for name in ('1', '3')
    }
