import os
import pathlib
import unicodedata

import numpy as np
import pytest
from etils import epath
from helpers.pictures import config, error, numbers, picture, save, side_by_side

from pix2pix_jax.data import discover, preflight
from pix2pix_jax.data.folders import split_folders


@pytest.mark.parametrize('layout', ['auto', 'two_folders'])
@pytest.mark.parametrize(
    'a,b', [('A/train', 'B/train'), ('trainA', 'trainB'), ('train/A', 'train/B')]
)
def test_two_folders(tmp_path, layout, a, b):
    for i, name in enumerate(['1', '2', '10'], 1):
        save(tmp_path / a / f'{name}.png', picture(i))
        save(tmp_path / b / f'{name}.webp', picture(i + 100))
    train = discover.open_splits(config(tmp_path, **{'dataset.layout': layout}))['train']
    assert train.names == ('1', '2', '10')
    np.testing.assert_array_equal(train[2]['input'], picture(3))
    assert train[2]['target'].shape == (16, 16, 3)


@pytest.mark.parametrize('a,b', ['AB', 'ab'])
@pytest.mark.parametrize('place', ['{}/train', 'train{}', 'train/{}'])
def test_up_to_nine_inputs(tmp_path, place, a, b):
    root, inputs = epath.Path(tmp_path), []
    (root / place.format(b)).mkdir(parents=True)
    for number in range(1, 10):
        inputs.append(f'{a}{number}' if number > 1 else a)
        (root / place.format(inputs[-1])).mkdir(parents=True)
        found = split_folders(root, 'train', 'auto')
        assert found == tuple(root / place.format(name) for name in (*inputs, b))


def test_nested_folders_and_odd_names(tmp_path):
    names = ['b 1.png', 'sub.1/é ü/2.png', 'sub.1/10.a.png', 'sub.1/9.png', '図.png']
    side_by_side(tmp_path / 'train', names)
    side_by_side(tmp_path / 'train', ['.hidden.png', '.DS/1.png'])
    (tmp_path / 'train' / 'notes.txt').write_text('not an image')
    train = discover.open_splits(config(tmp_path))['train']
    assert train.names == ('b 1', 'sub.1/9', 'sub.1/10.a', 'sub.1/é ü/2', '図')
    assert numbers(train) == [(1, 101), (4, 104), (3, 103), (2, 102), (5, 105)]


def test_home_and_relative_paths(tmp_path, monkeypatch):
    side_by_side(tmp_path / 'data' / 'train', ['1.png'])
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for path in ('~/data', 'data', pathlib.Path('.', 'data')):
        assert len(discover.open_splits(config(path))['train']) == 1


def test_no_splits(tmp_path):
    side_by_side(tmp_path, ['1.png'])
    assert f'{tmp_path} has no pairs: needed is train/' in error(tmp_path)


def test_layout_that_is_not_there(tmp_path):
    side_by_side(tmp_path / 'train', ['1.png'])
    assert 'layout=two_folders' in error(tmp_path, **{'dataset.layout': 'two_folders'})


ALLOWED = '.jpg .jpeg .png .webp .tif .tiff .npy'


def test_empty_split(tmp_path):
    (tmp_path / 'train').mkdir()
    (tmp_path / 'train' / 'notes.txt').write_text('')
    assert error(tmp_path) == f'{tmp_path}/train holds no images: allowed are {ALLOWED}'


def test_unpaired_names(tmp_path):
    for name in (
        'trainA/1',
        'trainA/2',
        'trainA/3',
        'trainB/3',
        *(f'trainB/{i}' for i in range(20, 26)),
    ):
        save(tmp_path / f'{name}.png', picture(1))
    assert error(tmp_path) == (
        f'unpaired names: 2 only in {tmp_path}/trainA (1, 2), '
        f'6 only in {tmp_path}/trainB (20, 21, 22, …)'
    )


def test_missing_half(tmp_path):
    save(tmp_path / 'train' / 'A' / '1.png', picture(1))
    assert f'{tmp_path}/train/B is missing' in error(tmp_path)
    splits = discover.open_splits(config(tmp_path, **{'dataset.layout': 'side_by_side'}))
    assert splits['train'].names == ('A/1',)


def test_two_files_of_one_name(tmp_path):
    side_by_side(tmp_path / 'train', ['1.png', '1.jpg'])
    assert 'have the same name' in error(tmp_path)


@pytest.mark.parametrize('forms', [('NFC', 'NFD'), ('NFD', 'NFC')])
def test_composed_and_decomposed_names_are_one(tmp_path, forms):
    """As on a system that writes é as e and an accent, and one that does not."""
    for number, form in enumerate(forms):
        for i, name in enumerate(['é', 'sub é/ḍ̇', '가']):
            name = unicodedata.normalize(form, name)
            save(tmp_path / f'train{"AB"[number]}' / f'{name}.png', picture(i + 100 * number))
    train = discover.open_splits(config(tmp_path))['train']
    assert train.names == tuple(unicodedata.normalize('NFC', n) for n in ('sub é/ḍ̇', 'é', '가'))
    assert numbers(train) == [(1, 101), (0, 100), (2, 102)]


def test_both_forms_of_a_name_in_one_folder_are_named(tmp_path):
    side_by_side(tmp_path / 'train', [unicodedata.normalize(f, 'é.png') for f in ('NFC', 'NFD')])
    assert 'have the same name' in error(tmp_path)


def test_a_name_that_is_no_unicode_is_named(tmp_path):
    side_by_side(tmp_path / 'train', ['1.png'])
    os.rename(tmp_path / 'train' / '1.png', os.fsencode(tmp_path) + b'/train/\xff.png')
    message = error(tmp_path)
    assert 'the name is not Unicode' in message and '\\udcff.png' in message
    assert message.isascii()


def test_links_to_files_and_folders_are_followed(tmp_path):
    side_by_side(tmp_path / 'there' / 'more', ['2.png', '3.png'])
    side_by_side(tmp_path / 'train', ['1.png'])
    (tmp_path / 'train' / '4.png').symlink_to(tmp_path / 'there' / 'more' / '3.png')
    (tmp_path / 'train' / 'linked').symlink_to(tmp_path / 'there' / 'more')
    side_by_side(tmp_path / 'other' / 'more', ['2.png', '3.png'], height=20)
    (tmp_path / 'test').symlink_to('other')
    splits = discover.open_splits(config(tmp_path))
    assert splits['train'].names == ('1', '4', 'linked/2', 'linked/3')
    assert numbers(splits['train']) == [(1, 101), (2, 102), (1, 101), (2, 102)]
    assert splits['test'].names == ('more/2', 'more/3')


@pytest.mark.parametrize('layers', [0, 1, 2])
def test_a_link_in_a_circle_is_named(tmp_path, layers):
    side_by_side(tmp_path / 'train' / 'a' / 'b', ['1.png'])
    link = pathlib.Path(tmp_path / 'train', *['a', 'b'][:layers], 'link')
    link.symlink_to(tmp_path / 'train')
    assert error(tmp_path) == f'{link} is a link to a folder that it lies in: take it away'


def test_two_folders_that_link_to_each_other_are_named(tmp_path):
    for a, b in (('train/a', 'train/b'), ('train/b', 'train/a')):
        side_by_side(tmp_path / a, ['1.png'])
        (tmp_path / a / 'other').symlink_to(tmp_path / b)
    assert 'is a link to a folder that it lies in' in error(tmp_path)


@pytest.mark.parametrize('target', ['nowhere', 'sub'])
def test_a_broken_link_to_a_folder_is_named(tmp_path, target):
    side_by_side(tmp_path / 'train', ['1.png'])
    (tmp_path / 'train' / 'sub').symlink_to(target)  # the second one to itself
    assert error(tmp_path).startswith(f'{tmp_path}/train/sub is a link to what is not there')


def test_a_folder_without_permission_is_named(tmp_path):
    if os.geteuid() == 0:
        pytest.skip('root may read everything')
    side_by_side(tmp_path / 'train', ['1.png'])
    side_by_side(tmp_path / 'train' / 'sub', ['2.png'])
    (tmp_path / 'train' / 'sub').chmod(0)
    message = error(tmp_path)
    (tmp_path / 'train' / 'sub').chmod(0o700)
    assert message == f'{tmp_path}/train/sub cannot be read: Permission denied'


# ---------------------------------------------------------------- what is no data


def test_folders_of_runs_are_left_out_and_said(tmp_path):
    """A run in the folder of its photos neither trains on its own pictures nor ends by them."""
    for name in ('1', '2', 'more/3', 'run/samples/7', 'more/run/evaluation/test/images/8'):
        save(tmp_path / f'{name}.png', picture(1))
    for run in ('run', 'more/run'):
        for file in ('config.json', 'run.json'):
            (tmp_path / run / file).write_text('{}')
    c = config(tmp_path, **{'dataset.task': 'denoise', 'dataset.test_fraction': 0.0})
    splits = discover.open_splits(c)
    assert {split: source.names for split, source in splits.items()} == {
        'train': ('1', '2', 'more/3')
    }
    (line,) = [line for line in preflight.report(splits, c) if 'left out' in line]
    both = f'{tmp_path}/more/run, {tmp_path}/run'
    assert line == f'the folders of runs are left out: {both}'


def test_a_folder_that_has_one_of_the_files_is_no_run(tmp_path):
    side_by_side(tmp_path / 'train' / 'sub', ['1.png'])
    (tmp_path / 'train' / 'sub' / 'config.json').write_text('{}')
    assert discover.open_splits(config(tmp_path))['train'].names == ('sub/1',)


def test_images_in_the_folder_of_a_run_are_taken_where_it_is_named(tmp_path):
    side_by_side(tmp_path / 'train', ['1.png'])
    for file in ('config.json', 'run.json'):
        (tmp_path / 'train' / file).write_text('{}')
    assert discover.open_splits(config(tmp_path))['train'].names == ('1',)


@pytest.mark.parametrize('place', ['train', 'train/a'])
def test_thumbnails_of_a_synology_are_left_out(tmp_path, place):
    folders = ('train/a', 'train/b') if place.endswith('a') else ('train',)
    for folder in folders:
        save(tmp_path / folder / '1.png', picture(1, width=32))
    for folder in {place, 'train'}:
        save(tmp_path / folder / '@eaDir' / '1.png' / 'SYNOPHOTO_THUMB_M.jpg', picture(1))
    splits = discover.open_splits(config(tmp_path))
    assert splits['train'].names == ('1',) and len(splits['train'].files[0]) == len(folders)


def test_a_folder_may_be_named_as_an_image_is(tmp_path):
    side_by_side(tmp_path / 'train' / '3.png', ['1.png'])
    side_by_side(tmp_path / 'linked.jpg', ['2.png'])
    (tmp_path / 'train' / 'link.jpg').symlink_to(tmp_path / 'linked.jpg')
    train = discover.open_splits(config(tmp_path))['train']
    assert train.names == ('3.png/1', 'link.jpg/2') and numbers(train) == [(1, 101), (1, 101)]
