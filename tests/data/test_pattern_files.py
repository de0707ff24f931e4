"""The pairs of a folder by patterns: their splits, drawn or listed, and what lacks a file."""

import hashlib
import re
import unicodedata

import pytest
from helpers.pictures import config, error, numbers, picture, save
from helpers.runs import tiny_config

from pix2pix_jax.data import discover, split_names
from pix2pix_jax.data.hold_out import Known
from pix2pix_jax.errors import DataError
from pix2pix_jax.inference.run_splits import open_run_splits
from pix2pix_jax.train_setup import open_data, resolve
from pix2pix_jax.workdir import data_json
from pix2pix_jax.workdir.config_json import to_json

TWO = {'dataset.input_pattern': 'images/*.png', 'dataset.target_pattern': 'masks/*_m.png'}
SPLITS = {
    'dataset.input_pattern': '{split}/*.png',
    'dataset.target_pattern': '{split}/masks/*.png',
}


def write(root, names, images='images/{}.png', masks='masks/{}_m.png'):
    for name in names:
        number = int(name.rpartition('/')[2]) if name.rpartition('/')[2].isdigit() else 7
        save(root / images.format(name), picture(number))
        save(root / masks.format(name), picture(number + 100))


def names_of(splits):
    return {split: source.names for split, source in splits.items()}


def below(text, fraction):
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) / 2**256 < fraction


# ---------------------------------------------------------------- splits


def test_splits_are_found_by_any_of_their_names(tmp_path, capsys):
    for split, some in (('train', '12'), ('valid', '3'), ('testing', '45')):
        write(tmp_path, [f'{split}/{i}' for i in some], '{}.png', '{}.jpg')
    save(tmp_path / 'logo.png', picture(0))
    fields = {'dataset.input_pattern': '{split}/*.png', 'dataset.target_pattern': '{split}/*.jpg'}
    splits = discover.open_splits(config(tmp_path, **fields))
    assert names_of(splits) == {'train': ('1', '2'), 'val': ('3',), 'test': ('4', '5')}
    assert [a for a, _ in numbers(splits['train'])] == [1, 2]
    said = capsys.readouterr().out.splitlines()
    assert said == [
        'valid is taken as val',
        'testing is taken as test',
        '1 image match no pattern: logo.png',
    ]


def test_without_split_test_and_val_are_drawn_by_the_names(tmp_path):
    names = [str(i) for i in range(60)]
    write(tmp_path, names)
    fields = TWO | {'dataset.val_fraction': 0.3, 'dataset.test_fraction': 0.2, 'seed': 3}
    found = names_of(discover.open_splits(config(tmp_path, **fields)))
    test = {name for name in names if below(f'test/{name}_m', 0.2)}
    val = {name for name in names if below(f'3/{name}_m', 0.3)} - test
    wanted = {'train': set(names) - test - val, 'val': val, 'test': test}
    assert {s: {n.removesuffix('_m') for n in some} for s, some in found.items()} == wanted
    assert all(wanted.values())
    other = names_of(discover.open_splits(config(tmp_path, **fields | {'seed': 4})))
    assert other['test'] == found['test'] and other['val'] != found['val']
    write(tmp_path, [str(i) for i in range(60, 75)])  # more files move no other
    more = names_of(discover.open_splits(config(tmp_path, **fields)))
    assert all(set(found[split]) <= set(more[split]) for split in found)


def test_at_least_one_pair_is_in_each_split(tmp_path):
    write(tmp_path, '123')
    fields = TWO | {'dataset.val_fraction': 1e-9, 'dataset.test_fraction': 1e-9}
    found = names_of(discover.open_splits(config(tmp_path, **fields)))
    assert [len(found[split]) for split in ('train', 'val', 'test')] == [1, 1, 1]
    fields |= {'dataset.val_fraction': 0.0, 'dataset.test_fraction': 0.0}
    assert set(discover.open_splits(config(tmp_path, **fields))) == {'train'}


def test_a_run_keeps_its_test_pairs_and_refuses_new_ones(tmp_path):
    write(tmp_path / 'pairs', [str(i) for i in range(12)])
    c = tiny_config(tmp_path / 'pairs', image_size=(16, 16), dataset__val_fraction=0.2)
    c.update_from_flattened_dict(TWO)
    setup = resolve(c, tmp_path / 'run')
    data_json.write_known(tmp_path / 'run', setup.splits, 6)
    recorded = data_json._read(tmp_path / 'run', 'data.json')
    assert recorded.splits['test'].held_out and recorded.splits['val'].held_out
    again = discover.open_splits(c, recorded._replace(exists=True))
    assert names_of(again) == names_of(setup.splits)
    data_json.check_unchanged(discover.find_splits(c), c, recorded, tmp_path / 'run')
    write(tmp_path / 'pairs', ['20'])
    with pytest.raises(DataError, match='train: 1 came'):
        data_json.check_unchanged(discover.find_splits(c), c, recorded, tmp_path / 'run')


def test_what_an_earlier_run_trained_on_is_not_drawn_for_test(tmp_path):
    names = [str(i) for i in range(40)]
    write(tmp_path, names[:20])
    fields = TWO | {'dataset.val_fraction': 0.2, 'dataset.test_fraction': 0.1}
    splits = discover.open_splits(config(tmp_path, **fields))
    earlier = {name: split for split, source in splits.items() for name in source.names}
    write(tmp_path, names)
    fields |= {'dataset.test_fraction': 0.6}
    more = names_of(discover.open_splits(config(tmp_path, **fields), Known(earlier=earlier)))
    for split, source in splits.items():
        assert set(source.names) <= set(more[split])
    assert len(more['test']) > 5


def test_val_is_drawn_anew_where_an_earlier_run_held_out_test_alone(tmp_path, capsys):
    write(tmp_path / 'pairs', [str(i) for i in range(20)])
    c = config(tmp_path / 'pairs', **TWO)
    assert set(trained(tmp_path / 'run', c)) == {'train', 'test'}
    fields = {'dataset.test_fraction': 0.0, 'dataset.val_fraction': 0.1}
    c = config(tmp_path / 'pairs', **TWO, **fields, init_from=str(tmp_path / 'run'))
    capsys.readouterr()
    splits, _ = open_data(c, tmp_path / 'new')
    assert len(splits['val']) and len(splits['train'])
    assert capsys.readouterr().out == (
        f'{tmp_path}/pairs (all): the earlier run had none of these names in val: val is drawn '
        'anew, and may hold pairs that it was trained on\n'
    )


def trained(workdir, c):
    """Writes what a run on the pairs of a config leaves; returns its splits."""
    splits, _ = open_data(c, workdir)
    data_json.write_known(workdir, splits, 1)
    (workdir / 'config.json').write_text(to_json(c))
    (workdir / 'run.json').write_text('{"starts": [{"step": 0, "version": "0.2.0"}]}')
    (workdir / 'checkpoints' / 'last' / '1').mkdir(parents=True)
    return splits


@pytest.mark.parametrize('val_fraction', [0.0, 0.2])
def test_a_run_that_starts_from_another_tests_on_none_of_its_pairs(tmp_path, val_fraction):
    """That one held test out, and no val."""
    names = [str(i) for i in range(40)]
    write(tmp_path / 'data', names[:30])
    fields = TWO | {'dataset.val_fraction': 0.0, 'dataset.test_fraction': 0.2}
    first, second = tmp_path / 'first', tmp_path / 'second'
    splits = trained(first, config(tmp_path / 'data', **fields))
    write(tmp_path / 'data', names)
    fields |= {'dataset.test_fraction': 0.5, 'dataset.val_fraction': val_fraction}
    more, _ = open_data(config(tmp_path / 'data', init_from=str(first), **fields), second)
    assert set(splits['test'].names) <= set(more['test'].names)
    assert set(more['test'].names).isdisjoint(splits['train'].names)
    assert len(more['test']) > len(splits['test'])


def test_all_pairs_of_another_folder_without_splits_are_measured(tmp_path, capsys):
    """Where the run knows none of their names; else those that it trained on are left out."""
    write(tmp_path / 'data', [str(i) for i in range(20)])
    fields = TWO | {'dataset.val_fraction': 0.0, 'dataset.test_fraction': 0.2}
    splits = trained(tmp_path / 'run', config(tmp_path / 'data', **fields))
    write(tmp_path / 'new', [str(i) for i in range(100, 108)])
    new, moved = (config(tmp_path / folder, **fields) for folder in ('new', 'data'))
    found = open_run_splits(tmp_path / 'run', new, 'test', dataset=str(tmp_path / 'new'))
    assert len(found['test']) == 8 and 'all count' in capsys.readouterr().out
    found = open_run_splits(tmp_path / 'run', moved, 'test', dataset=str(tmp_path / 'data'))
    assert found['test'].names == splits['test'].names


# ---------------------------------------------------------------- split files


def test_split_files_say_the_splits(tmp_path, capsys):
    write(tmp_path, [str(i) for i in range(10)])
    save(tmp_path / 'images' / 'lonely.png', picture(1))  # no file lists it
    lines = ['3', '1.png', '', 'masks/2_m.png', 'images\\4 -1', './images/5.png x.png']
    (tmp_path / 'train.txt').write_bytes('\r\n'.join(lines).encode('utf-16'))
    (tmp_path / 'validation.txt').write_text('6_m\n')
    splits = discover.open_splits(config(tmp_path, **TWO, **{'dataset.val_fraction': 0.5}))
    assert names_of(splits) == {'train': ('1_m', '2_m', '3_m', '4_m', '5_m'), 'val': ('6_m',)}
    assert capsys.readouterr().out.splitlines() == [
        f'{tmp_path}/train.txt: 5 pairs',
        f'{tmp_path}/validation.txt: 1 pairs',
        '5 names are in none of these, and left out: 0_m, 7_m, 8_m, …',
    ]


@pytest.mark.parametrize(
    'texts,message',
    [
        ({'train': '1\nx y\n'}, "/train.txt, line 2: 'x y' names no file"),
        ({'train': '1\nscene9/3\n'}, "/train.txt, line 2: 'scene9/3' names no file"),
        ({'train': 'images/1.png masks/2_m.png\n'}, "2_m.png' names files of several pairs"),
        ({'train': '1 2 3\n'}, "line 1: '1 2 3' names files of several pairs"),
        ({'train': 'masks/1.png\n2\n'}, "line 1: 'masks/1.png' names no file"),
        ({'train': '1\n9\n'}, '9_m is without masks/*_m.png'),
        ({'train': '1\n', 'test': '2\n1\n'}, "test.txt, line 2: '1' is in "),
        ({'test': '1\n'}, 'test.txt, and beside it no train.txt'),
        ({'train': '\0\1\n'}, 'train.txt cannot be read: '),
    ],
)
def test_bad_split_files_are_named(tmp_path, texts, message):
    write(tmp_path, '123')
    save(tmp_path / 'images' / '9.png', picture(1))
    for name, text in texts.items():
        (tmp_path / f'{name}.txt').write_text(text)
    assert message in error(tmp_path, **TWO)


@pytest.mark.parametrize(
    'line',
    ['/old/place/images/{}.png', 'D:\\old\\images\\{}.png', '/a b/{}.png', '../{} 1.0 cat'],
)
def test_folders_that_all_lines_begin_with_may_be_others(tmp_path, line):
    write(tmp_path, ['7', '8', '9'])
    (tmp_path / 'train.txt').write_text(f'{line.format(7)}\n{line.format(8)}\n')
    (tmp_path / 'test.txt').write_text(line.format(9) + '\n')
    fields = TWO | {'dataset.val_fraction': 0.0}
    found = names_of(discover.open_splits(config(tmp_path, **fields)))
    assert found == {'train': ('7_m', '8_m'), 'test': ('9_m',)}


def test_lines_may_be_in_either_form_of_unicode(tmp_path):
    write(tmp_path, ['é', '가'])
    (tmp_path / 'train.txt').write_text(unicodedata.normalize('NFD', 'é\n'))
    (tmp_path / 'test.txt').write_text(unicodedata.normalize('NFD', 'images/가.png\n'))
    fields = TWO | {'dataset.val_fraction': 0.0}
    found = names_of(discover.open_splits(config(tmp_path, **fields)))
    assert found == {'train': ('é_m',), 'test': ('가_m',)}


def test_the_fields_of_a_line_may_be_the_files_of_a_pair(tmp_path):
    write(tmp_path, ['7', '8', '9'])
    lines = [f'/x/images/{i}.png /y/masks/{i}_m.png' for i in (7, 8)]
    (tmp_path / 'train.txt').write_text('\n'.join(lines))
    fields = TWO | {'dataset.val_fraction': 0.0}
    assert names_of(discover.open_splits(config(tmp_path, **fields))) == {'train': ('7_m', '8_m')}
    (tmp_path / 'train.txt').write_text('\n'.join([*lines, '/x/images/9.png /y/masks/8_m.png']))
    assert 'line 3' in error(tmp_path, **fields)


def test_a_folder_that_other_files_have_is_not_left_out_of_a_line(tmp_path):
    write(tmp_path, ['a/1', 'a/2', 'b/3'])
    (tmp_path / 'train.txt').write_text('b/1\nb/2\n')
    texts = {'input': 'images/**/*.png', 'target': 'masks/**/*_m.png'}
    fields = {f'dataset.{side}_pattern': text for side, text in texts.items()}
    assert "line 1: 'b/1' names no file" in error(tmp_path, **fields)


def test_a_line_that_may_be_two_names_is_refused(tmp_path):
    write(tmp_path, ['a/1', 'b/1', 'b/2'])
    fields = {
        'dataset.input_pattern': 'images/**/*.png',
        'dataset.target_pattern': 'masks/**/*_m.png',
    }
    (tmp_path / 'train.txt').write_text('a/1\n2\n')
    splits = discover.open_splits(config(tmp_path, **fields))
    assert names_of(splits) == {'train': ('a/1_m', 'b/2_m')}
    (tmp_path / 'train.txt').write_text('1\n')
    assert "line 1: '1' may be images/a/1.png or images/b/1.png" in error(tmp_path, **fields)


DRAW_NONE = TWO | {'dataset.val_fraction': 0.0}


def listed(folder, **texts):
    folder.mkdir(parents=True, exist_ok=True)
    for split, text in texts.items():
        (folder / f'{split}.txt').write_text('\n'.join(text))


@pytest.mark.parametrize('place', ['ImageSets/Segmentation', 'ImageSets/Main', 'lists', 'images'])
def test_split_files_in_another_folder_are_found(tmp_path, capsys, place):
    write(tmp_path, ['7', '8', '9'])
    save(tmp_path / 'images' / 'unlabelled.png', picture(1))
    listed(tmp_path / place, train='79', val='8')
    assert names_of(discover.open_splits(config(tmp_path, **DRAW_NONE))) == {
        'train': ('7_m', '9_m'),
        'val': ('8_m',),
    }
    said = capsys.readouterr().out
    assert f'{tmp_path}/{place}/train.txt: 2 pairs\n' in said and 'not read' not in said
    listed(tmp_path, train='7')  # those of the folder itself come first
    assert names_of(discover.open_splits(config(tmp_path, **DRAW_NONE))) == {'train': ('7_m',)}
    assert place not in capsys.readouterr().out


def test_those_whose_names_are_pairs_are_taken_as_voc_has_them(tmp_path, capsys):
    """Main lists all photos, Segmentation those that have a map."""
    write(tmp_path, ['7', '8', '9'])
    for i in 'ab':
        save(tmp_path / 'images' / f'{i}.png', picture(1))
    sets = tmp_path / 'ImageSets'
    listed(sets / 'Main', train='7a9', val='8b', aeroplane_train=['7 -1', '9 1'])
    listed(sets / 'Action', train=['x 1', '7 2'])
    listed(sets / 'Segmentation', train='97', val='8', trainval='789')
    found = names_of(discover.open_splits(config(tmp_path, **DRAW_NONE)))
    assert found == {'train': ('7_m', '9_m'), 'val': ('8_m',)}
    said = capsys.readouterr().out
    assert f'{sets}/Segmentation/train.txt: 2 pairs' in said and 'Main' not in said


def test_what_is_not_read_is_said_with_the_reason(tmp_path, capsys):
    write(tmp_path, ['7', '8', '9'])
    listed(tmp_path / 'docs', train=['how to train', '7'])
    splits = discover.open_splits(config(tmp_path, **TWO))
    assert len(splits['train']) + len(splits['test']) == 3  # drawn
    line = f'{tmp_path}/docs/ has split files, which are not read, as {tmp_path}/docs/train.txt, '
    assert f"{line}line 1: 'how to train' names no file\n" in capsys.readouterr().out
    listed(tmp_path / 'one', train='78', val='9')
    listed(tmp_path / 'two', train='79', val='8')
    discover.open_splits(config(tmp_path, **TWO))
    line = f'{tmp_path}/one/, {tmp_path}/two/ have split files that differ: move those that count'
    assert line in capsys.readouterr().out
    listed(tmp_path / 'two', train='78', val='9')
    found = names_of(discover.open_splits(config(tmp_path, **TWO)))
    assert found == {'train': ('7_m', '8_m'), 'val': ('9_m',)}


@pytest.mark.parametrize('name', ['Train.txt', 'TRAINING.txt'])
@pytest.mark.parametrize('place', ['', 'lists'])
def test_split_files_may_have_capitals(tmp_path, name, place):
    write(tmp_path, ['7', '8', '9'])
    (tmp_path / place).mkdir(exist_ok=True)
    for file, text in ((name, '7'), ('Val.txt', '8'), ('Test.txt', '9')):
        (tmp_path / place / file).write_text(text)
    found = names_of(discover.open_splits(config(tmp_path, **TWO)))
    assert found == {'train': ('7_m',), 'val': ('8_m',), 'test': ('9_m',)}


# ---------------------------------------------------------------- stars over splits


@pytest.mark.parametrize(
    'place,inputs,target',
    [
        ('{split}/{kind}/{i}', '*/images/*.png', '*/masks/*.png'),
        ('{split}/{kind}/{i}', '**/images/*.png', '**/masks/*.png'),
        ('{kind}/{split}/a/{i}', 'images/**/*.png', 'masks/**/*.png'),
        ('{kind}/{split}/a/{i}', 'images/*/*/*.png', 'masks/*/*/*.png'),
        ('{kind}/x/{split}/{i}', 'images/**/*.png', 'masks/**/*.png'),
        ('{kind}/x/{split}/a/b/{i}', 'images/**/*', 'masks/**/*'),
        ('{split}_{kind}/{i}', '*_images/*.png', '*_masks/*.png'),
        ('{kind}/{split}/{i}', 'images/**/*.png', 'masks/*/*.png'),
    ],
)
@pytest.mark.parametrize('words', [('train', 'val'), ('Train', 'testing')])
def test_a_star_that_would_pool_splits_is_refused(tmp_path, place, inputs, target, words):
    """And the patterns that it names instead give the splits of the folders."""
    for i, word in enumerate(words):
        for kind in ('images', 'masks'):
            save(tmp_path / f'{place.format(split=word, kind=kind, i=i)}.png', picture(i))
    fields = {'dataset.input_pattern': inputs, 'dataset.target_pattern': target}
    message = error(tmp_path, **fields)
    assert f'a star stands for {", ".join(sorted(words))}, whose pairs would be' in message
    assert message.count('{split}') == 2
    better = dict(zip(fields, re.findall("'(.*?)'", message), strict=True))
    found = discover.open_splits(config(tmp_path, **better, **{'dataset.val_fraction': 0.0}))
    assert {split: numbers(one) for split, one in found.items()} == {
        'train': [(0, 0)],
        split_names.split_of(words[1]): [(1, 1)],
    }
    (tmp_path / 'train.txt').write_text('0\n')  # who says the splits may use any stars
    (tmp_path / 'test.txt').write_text('1\n')
    assert set(discover.open_splits(config(tmp_path, **fields))) >= {'train', 'test'}


@pytest.mark.parametrize('folders', [('train', 'car'), ('val', 'test'), ('trainer', 'val')])
def test_other_folders_are_what_a_star_stands_for(tmp_path, folders):
    for i, folder in enumerate(folders):
        write(tmp_path, [str(i)], f'{folder}/{{}}.png', f'{folder}/{{}}.jpg')
    fields = {'dataset.input_pattern': '*/*.png', 'dataset.target_pattern': '*/*.jpg'}
    found = discover.open_splits(config(tmp_path, **fields))
    assert sum(map(len, found.values())) == 2


def test_files_named_as_splits_are_no_splits(tmp_path):
    write(tmp_path, ['train', 'test'])
    assert sum(map(len, discover.open_splits(config(tmp_path, **TWO)).values())) == 2


# ---------------------------------------------------------------- what is no pair


def test_unpaired_names_are_refused_or_left_out_and_counted(tmp_path):
    write(tmp_path / 'pairs', [str(i) for i in range(8)])
    save(tmp_path / 'pairs' / 'images' / 'x.png', picture(1))
    save(tmp_path / 'pairs' / 'masks' / 'y_m.png', picture(1))
    message = error(tmp_path / 'pairs', **TWO)
    assert '1 without images/*.png (y_m), 1 without masks/*_m.png (x_m)' in message
    assert '--config.dataset.on_error=skip' in message
    c = tiny_config(tmp_path / 'pairs', image_size=(16, 16), dataset__on_error='skip')
    c.update_from_flattened_dict(TWO)
    setup = resolve(c, tmp_path / 'run')
    assert sum(map(len, setup.splits.values())) == 8
    left = {name: why for s in setup.splits.values() for name, why in s.skipped.items()}
    assert left == {
        'x_m': 'x_m is without masks/*_m.png',
        'y_m': 'y_m is without images/*.png',
    }
    data_json.write_known(tmp_path / 'run', setup.splits, 6)
    assert ('train', 'x_m', 'x_m is without masks/*_m.png') in data_json.skipped_pairs(
        tmp_path / 'run'
    )


def test_targets_of_no_split_are_counted(tmp_path, capsys):
    for i in range(8):
        save(tmp_path / 'gt' / f'{i}.png', picture(i))
    for i, split in enumerate(('train', 'val', 'test')):
        save(tmp_path / 'im' / split / f'{i}.png', picture(i))
    fields = {'dataset.input_pattern': 'im/{split}/*', 'dataset.target_pattern': 'gt/*'}
    splits = discover.open_splits(config(tmp_path, **fields, **{'dataset.on_error': 'skip'}))
    assert names_of(splits) == {'train': ('0',), 'val': ('1',), 'test': ('2',)}
    assert capsys.readouterr().out == '5 names are of no split, and left out: 3, 4, 5, …\n'


def test_unpaired_names_of_two_folders_are_left_out_too(tmp_path, capsys):
    for name in ['A1', 'A2', 'A3', 'A4', 'B2', 'B3', 'B5']:
        save(tmp_path / 'pairs' / f'train{name[0]}' / f'{name[1]}.png', picture(1))
    assert 'unpaired names' in error(tmp_path / 'pairs')
    c = tiny_config(tmp_path / 'pairs', image_size=(16, 16), dataset__on_error='skip')
    setup = resolve(c, tmp_path / 'run')
    assert setup.splits['train'].names == ('2', '3')
    assert set(setup.splits['train'].skipped) == {'1', '4', '5'}
    assert 'train: 3 bad pairs left out, 2 used' in capsys.readouterr().out


def test_folders_with_nothing_to_pair(tmp_path):
    save(tmp_path / 'other' / '1.jpg', picture(1))
    assert error(tmp_path, **TWO) == (
        f'{tmp_path}: no image matches images/*.png; there are other/1.jpg'
    )
    save(tmp_path / 'images' / '1.png', picture(1))
    save(tmp_path / 'masks' / '2_m.png', picture(1))
    message = error(tmp_path, **TWO, **{'dataset.on_error': 'skip'})
    assert message.startswith(f'{tmp_path} has no pairs: 1 without images/*.png (2_m)')


def test_several_inputs(tmp_path):
    for i in (1, 2):
        for number, name in enumerate(('rgb', 'near', 'seg')):
            save(tmp_path / 'train' / f'{i}_{name}.png', picture(10 * number + i))
    fields = {
        'dataset.input_pattern': '{split}/*_rgb.png, {split}/*_near.png',
        'dataset.target_pattern': '{split}/*_seg.png',
        'generator.input_channels': 6,
    }
    train = discover.open_splits(config(tmp_path, **fields))['train']
    assert train.inputs == 2 and train.names == ('1_seg', '2_seg')
    assert [file.name for file in train.files[1]] == ['2_rgb.png', '2_near.png', '2_seg.png']
    assert train[0]['input'].shape == (16, 16, 6)


# ---------------------------------------------------------------- plain photos


def test_a_folder_of_photos_is_taken_as_it_is(tmp_path):
    for i in range(30):
        save(tmp_path / 'trips' / f'{i}.jpg', picture(i))
    task = {'dataset.task': 'denoise', 'dataset.val_fraction': 0.2}
    splits = discover.open_splits(config(tmp_path, **task))
    test = {f'trips/{i}' for i in range(30) if below(f'test/trips/{i}', 0.1)}
    assert set(splits['test'].names) == test and test
    assert sum(map(len, splits.values())) == 30 and all(s.photos for s in splits.values())
    save(tmp_path / 'train' / 'a.jpg', picture(1))
    assert names_of(discover.open_splits(config(tmp_path, **{'dataset.task': 'denoise'}))) == {
        'train': ('a',)
    }


def test_without_photos_no_pairs_are_asked_for(tmp_path):
    (tmp_path / 'empty').mkdir()
    message = error(tmp_path, **{'dataset.task': 'denoise'})
    assert message.startswith(f'{tmp_path} has no photos: needed are images, or train/')
    assert 'pair' not in message.replace(str(tmp_path), '')
