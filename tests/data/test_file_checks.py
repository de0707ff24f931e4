"""One pair in two splits, and images of kinds that are not read: both are found, and said."""

import dataclasses
import itertools
import shutil

import numpy as np
import pytest
from etils import epath
from helpers.pictures import config, error, picture, save, side_by_side
from helpers.runs import make_pairs, tiny_config

from pix2pix_jax import train_setup
from pix2pix_jax.data import discover, file_checks, preflight
from pix2pix_jax.data.hold_out import Known


def pairs(folder, names):
    for name, (side, add) in itertools.product(names, (('A', 0), ('B', 100))):
        save(folder / side / f'{name}.png', picture(int(name) + add))


def write_list(root, split, numbers, text='{}'):
    rows = [f'{text.format(f"A/{i}.png")},{text.format(f"B/{i}.png")}' for i in numbers]
    (root / f'{split}.csv').write_text('\n'.join(['input,target', *rows]))


# ---------------------------------------------------------------- a pair in two splits


@pytest.mark.parametrize('text', ['{}', './{}', 'A/../{}', '{root}/{{}}', 'link/{}'])
@pytest.mark.parametrize('split', ['val', 'test'])
def test_a_pair_in_two_lists_is_refused(tmp_path, split, text):
    pairs(tmp_path, '123')
    (tmp_path / 'link').symlink_to(tmp_path)
    write_list(tmp_path, 'train', '12')
    write_list(tmp_path, split, '3')
    assert set(discover.open_splits(config(tmp_path))) >= {'train', split}
    write_list(tmp_path, split, '32', text.replace('{root}', str(tmp_path)).replace('{{}}', '{}'))
    message = error(tmp_path)
    assert message.startswith(f'train and {split} have a pair in common, {tmp_path}/B/2.png')
    assert message.endswith('allowed is a pair in one split')


def test_one_input_may_have_targets_in_two_splits(tmp_path):
    pairs(tmp_path, '123')
    for split, row in (('train', 'A/1.png,B/1.png'), ('val', 'A/1.png,B/2.png')):
        (tmp_path / f'{split}.csv').write_text(f'input,target\n{row}\n')
    assert set(discover.open_splits(config(tmp_path))) == {'train', 'val'}


def link(root, split, kind):
    """Links of `split` to pair 2 of train, or to all; returns the name of the pair."""
    if kind == 'split':
        (root / split).symlink_to('train')
        return '1'
    for side in 'AB':
        here = root / split / side
        here.parent.mkdir(exist_ok=True)
        if kind == 'folders':
            here.symlink_to(f'../train/{side}')
            continue
        here.mkdir()
        aim = root / 'train' / side / '2.png' if kind == 'absolute' else f'../../train/{side}/2.png'
        if kind == 'chains':
            (here / '.hop').symlink_to(aim)
            aim = '.hop'
        (here / '7.png').symlink_to(aim)
    return '1' if kind == 'folders' else '7'


@pytest.mark.parametrize('kind', ['files', 'chains', 'absolute', 'folders', 'split'])
def test_links_to_files_of_another_split_are_refused(tmp_path, kind):
    pairs(tmp_path / 'train', '12')
    name = link(tmp_path, 'val', kind)
    both = f'{tmp_path}/train/B/{"2" if name == "7" else "1"}.png and {tmp_path}/val/B/{name}.png'
    assert error(tmp_path) == (
        f'train and val have a pair in common, {both}: allowed is a pair in one split'
    )
    splits = discover.find_splits(config(tmp_path), Known(exists=True))  # a run on it goes on
    assert set(splits) == {'train', 'val'}


def test_links_to_other_files_and_in_one_split_are_no_matter(tmp_path):
    pairs(tmp_path / 'all', '1234')
    for (*split, number), side in itertools.product(('train1', 'train2', 'val3'), 'AB'):
        path = tmp_path / ''.join(split) / side / f'{number}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(f'../../all/{side}/{number}.png')
    for side in 'AB':
        (tmp_path / 'train' / side / '9.png').symlink_to('1.png')
    assert len(discover.open_splits(config(tmp_path))['train']) == 3


def test_links_in_a_circle_have_an_end(tmp_path):
    (tmp_path / 'a.png').symlink_to('b.png')
    (tmp_path / 'b.png').symlink_to('a.png')
    found = file_checks._real_path(epath.Path(tmp_path / 'a.png'), file_checks._look_into)
    assert found.startswith(str(tmp_path))


# ---------------------------------------------------------------- copies of pairs


def two_splits(root):
    pairs(root / 'train', '1')
    pairs(root / 'val', '2')
    return root


def copies(root, **fields):
    c = config(root, **fields)
    return file_checks.copies(preflight.decode_all(discover.open_splits(c), c))


@pytest.mark.parametrize('cache', ['on', 'off'])
def test_held_out_pairs_that_are_in_train_too_are_named(tmp_path, cache):
    pairs(tmp_path / 'train', '123456')
    pairs(tmp_path / 'val', '78')
    pairs(tmp_path / 'test', '9')
    assert copies(tmp_path) == []
    for split, (number, name) in (('val', '27'), ('val', '30'), ('test', '59')):
        for side in 'AB':
            save(
                tmp_path / split / side / f'{name}.png', picture(int(number) + 100 * (side == 'B'))
            )
    assert copies(tmp_path, **{'dataset.cache': cache}) == [
        '2 of the 3 pairs of val and 1 of the 1 pairs of test are in train, too, pixel by pixel '
        '(val/0 = train/3, val/7 = train/2, test/9 = train/5): what is measured on these says '
        'nothing of new images; remove one of each two'
    ]


def test_the_start_of_a_run_warns_of_copies(tmp_path, capsys):
    folder = make_pairs(tmp_path / 'pairs', {'train': 3, 'val': 2})
    shutil.copyfile(folder / 'train' / '1.png', folder / 'val' / 'same.png')
    train_setup.resolve(tiny_config(folder), tmp_path / 'run')
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith('warning: ')]
    assert line.startswith('warning: 1 of the 3 pairs of val are in train, too')


@pytest.mark.parametrize('side,number', [('A', 101), ('B', 1)])
def test_pairs_that_share_one_image_are_no_copies(tmp_path, side, number):
    """One photo with two label maps, or an empty mask of two photos, is no mistake."""
    save(two_splits(tmp_path) / 'val' / side / '2.png', picture(number))
    assert copies(tmp_path) == []


def test_inputs_of_one_colour_are_no_copies(tmp_path):
    for split, name in itertools.product(('train', 'val'), '12'):
        for side in 'AB':
            save(tmp_path / split / side / f'{name}.png', np.full((16, 16, 3), 7, np.uint8))
    assert copies(tmp_path) == []


@pytest.mark.parametrize('count,said', [(9, True), (10, False)])
def test_a_copy_among_many_pairs_changes_no_measure(tmp_path, count, said):
    digests = {'train': (b'a', b'b'), 'val': (b'a', *(bytes([i]) for i in range(count - 1)))}
    splits = discover.open_splits(config(two_splits(tmp_path)))
    for split, some in digests.items():
        names = tuple(map(str, range(len(some))))
        splits[split] = dataclasses.replace(splits[split], names=names, digests=some)
    assert bool(file_checks.copies(splits)) == said


def test_copies_of_photos_are_named(tmp_path):
    for split, number in (('train', 1), ('train', 2), ('val', 2)):
        save(tmp_path / split / f'{split}{number}.png', picture(number))
    (line,) = copies(tmp_path, **{'dataset.task': 'denoise'})
    assert line.startswith('1 of the 1 pairs of val are in train, too') and 'train/train2' in line


# ---------------------------------------------------------------- images left out


def left_out(root, **fields):
    c = config(root, **fields)
    lines = preflight.report(discover.open_splits(c), c)
    return [line for line in lines if 'left out' in line]


ALLOWED = '; allowed are .jpg .jpeg .png .webp .tif .tiff .npy'


def test_images_of_other_kinds_are_counted(tmp_path):
    pairs(tmp_path / 'train', '123')
    for side, name in itertools.product(
        ('train/A', 'train/B', 'other'), ('x.bmp', 'd/y.BMP', 'z.gif', '.z.gif', 'bmp', 'n.txt')
    ):
        path = tmp_path / side / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert left_out(tmp_path) == [f'6 image files are left out: .bmp (4), .gif (2){ALLOWED}']


def test_by_patterns_and_side_by_side_too(tmp_path):
    line = f'1 image file is left out: .heic (1){ALLOWED}'
    side_by_side(tmp_path / 'one' / 'train', ['1.png', '2.png'])
    assert left_out(tmp_path / 'one') == []
    (tmp_path / 'one' / 'train' / '3.heic').touch()
    assert left_out(tmp_path / 'one') == [line]
    pairs(tmp_path / 'two', '12')
    (tmp_path / 'two' / 'A' / '3.heic').touch()
    fields = {'dataset.input_pattern': 'A/*', 'dataset.target_pattern': 'B/*'}
    assert left_out(tmp_path / 'two', **fields) == [line]


def test_a_list_says_which_files_it_means(tmp_path):
    pairs(tmp_path, '12')
    (tmp_path / 'A' / '3.bmp').touch()
    write_list(tmp_path, 'train', '12')
    assert left_out(tmp_path, **{'dataset.layout': 'list'}) == []


def test_a_folder_in_another_is_counted_once(tmp_path):
    names = [str(tmp_path / name) for name in ('a/b', 'a', 'ab', 'a/b/c')]
    assert file_checks._outermost(names) == [names[1], names[2]]
