"""What the command says of a folder without pairs, and what it leaves out to find them."""

import pytest
from helpers.pictures import config, error, picture, save, side_by_side

from pix2pix_jax.data import discover, folders, no_pairs


def two_folders(root, *places):
    for place in places:
        for side in 'AB':
            save(root / place.format(side) / '1.png', picture(1))


@pytest.mark.parametrize(
    'places,given',
    [
        (('train/{}', 'test/{}'), 'train'),
        (('train/{}', 'test/{}'), 'test/A'),
        (('train{}', 'val{}'), 'trainA'),
        (('train{}', 'val{}'), 'valB'),
        (('{}/train', '{}/test'), 'A/test'),
        (('Train/{}',), 'Train'),
    ],
)
def test_the_folder_of_a_split_is_known(tmp_path, places, given, monkeypatch):
    two_folders(tmp_path, *places)
    for path in (tmp_path / given, given):
        monkeypatch.chdir(tmp_path)
        assert error(path).endswith(f'it seems: set config.dataset.path={tmp_path}')
    monkeypatch.chdir(tmp_path / given)
    assert error('.').endswith(f'it seems: set config.dataset.path={tmp_path}')
    assert len(discover.open_splits(config(tmp_path))['train']) == 1  # the way out is one


@pytest.mark.parametrize('name', ['test', 'dev', 'B', 'data'])
def test_a_folder_that_is_called_so_by_chance_is_none(tmp_path, name):
    side_by_side(tmp_path / name, ['1.png'])
    message = error(tmp_path / name)
    assert message.endswith(f'found: 1 images: move them into {tmp_path}/{name}/train')


def test_a_folder_named_as_an_image_is_no_image(tmp_path):
    (tmp_path / '1.png').mkdir()
    assert error(tmp_path).endswith('found: 1.png/')


def test_images_of_other_kinds_are_named(tmp_path):
    (tmp_path / '1.bmp').touch()
    assert '; found: .bmp (1), which are not read: allowed are .jpg' in error(tmp_path)
    (tmp_path / 'train').mkdir()
    (tmp_path / 'train' / '1.JFIF').touch()
    assert error(tmp_path).endswith('; there are .jfif (1): convert them')


# ---------------------------------------------------------------- what is left out


@pytest.mark.parametrize('split', ['val', 'test'])
@pytest.mark.parametrize('places', ['{}/A {}/B', '{}', '{}A {}B', 'A/{} B/{}'])
def test_an_empty_folder_of_a_split_is_none(tmp_path, capsys, split, places):
    for place in places.split():
        save(tmp_path / place.format('train') / '1.png', picture(1, width=32))
        (tmp_path / place.format(split) / 'sub').mkdir(parents=True)
        (tmp_path / place.format(split) / '.gitkeep').touch()
    assert list(discover.open_splits(config(tmp_path))) == ['train']
    where = ' + '.join(f'{tmp_path}/{place.format(split)}' for place in places.split())
    assert capsys.readouterr().out == f'there are no files in {where}\n'
    (tmp_path / places.split()[0].format(split) / '1.bmp').touch()
    assert 'holds no images' in error(tmp_path)


@pytest.mark.parametrize(
    'file,text',
    [
        ('test.csv', 'id,rle\n1,2 3\n'),
        ('val.csv', 'ImageId\n7\n'),
        ('test.json', '{"images": [], "annotations": []}'),
        ('test.json', '[]'),
    ],
)
def test_a_list_of_other_things_is_left_out(tmp_path, capsys, file, text):
    two_folders(tmp_path, 'train/{}')
    (tmp_path / file).write_text(text)
    assert list(discover.open_splits(config(tmp_path))) == ['train']
    said = capsys.readouterr().out
    assert said == f'{tmp_path}/{file} is left out: it has no columns input and target\n'
    assert error(tmp_path, **{'dataset.layout': 'list'}).startswith(f'{tmp_path}/{file}')


@pytest.mark.parametrize('text', ['input\na.png\n', 'Input,Target\na,b\n', 'input,target\na,\n'])
def test_a_list_of_pairs_with_a_mistake_is_refused(tmp_path, text):
    two_folders(tmp_path, 'train/{}')
    (tmp_path / 'test.csv').write_text(text)
    assert error(tmp_path).startswith(f'{tmp_path}/test.csv')


def test_beside_a_list_of_train_any_other_is_one_of_pairs(tmp_path):
    two_folders(tmp_path, '{}')
    (tmp_path / 'train.csv').write_text('input,target\nA/1.png,B/1.png\n')
    (tmp_path / 'test.csv').write_text('A/1.png,B/1.png\n')
    assert error(tmp_path).startswith(f'{tmp_path}/test.csv: the first line is')


def test_targets_are_needed_to_train_alone(tmp_path):
    two_folders(tmp_path, 'train/{}')
    save(tmp_path / 'test' / 'A' / '1.png', picture(1))
    assert error(tmp_path).endswith(
        'or move what is of test elsewhere: training needs none, and translate --input=FOLDER '
        'takes inputs without targets'
    )


# ---------------------------------------------------------------- names without a partner


def unpaired(root, a, b):
    for side, names in (('A', a), ('B', b)):
        for name in names.split():
            save(root / 'train' / side / f'{name}.png', picture(1))
    return error(root)


@pytest.mark.parametrize(
    'a,b,count', [('1 2 10', '0001 0002 0010', 3), ('x/1 x/2 3', 'x/01 x/02 4', 2)]
)
def test_numbers_of_several_widths_are_seen(tmp_path, a, b, count):
    text = f'; {count} of these differ in zeros before a number alone: give both'
    assert text in unpaired(tmp_path, a, b)


@pytest.mark.parametrize('a,b', [('0 1 2', '1 2 3'), ('f_8 f_9 f_10', 'f_7 f_8 f_9')])
def test_numbers_that_begin_elsewhere_are_seen(tmp_path, a, b):
    assert 'if the folders count from different numbers' in unpaired(tmp_path, a, b)


@pytest.mark.parametrize('a,b', [('0 1 2', '1 2'), ('0 2 3', '1 2 3'), ('a b c', 'b c d')])
def test_other_names_without_a_partner_are_no_such_numbers(tmp_path, a, b):
    message = unpaired(tmp_path, a, b)
    assert 'unpaired names' in message and 'numbers' not in message


def test_what_is_empty_and_what_is_not(tmp_path):
    (tmp_path / 'a' / 'b').mkdir(parents=True)
    (tmp_path / 'a' / '.hidden').touch()
    assert folders.is_empty(tmp_path)
    (tmp_path / 'a' / 'b' / 'notes.txt').touch()
    assert not folders.is_empty(tmp_path)


def test_what_works_here_is_said_before_the_folder_above(tmp_path):
    """A folder named train, which has no train/ itself, with pairs of other names in it."""
    for i in range(4):
        save(tmp_path / 'train' / 'images' / f'{i}.png', picture(i))
        save(tmp_path / 'train' / 'masks' / f'{i}.png', picture(9 + i))
    message = error(tmp_path / 'train')
    assert "--config.dataset.input_pattern='images/*.png'" in message
    assert message.endswith(f'it seems: set config.dataset.path={tmp_path}')
    assert no_pairs.above('/train') == ''  # where a disk is mounted: not all of the machine


@pytest.mark.parametrize('name,content', [
    ('val.csv', 'input,target\nA/1.png,\u00fc.png\n'.encode('cp1252')),
    ('val.csv', b'sep=;\ninput;target\nA/1.png;\n'),
    ('val.csv', b'\ninput,target\nA/1.png,\n'),
    ('val.json', b'[{"input": "A/1.png", "target": "B/1.png"},]'),
    ('val.json', b'{"pairs": [{"input": "A/1.png", "target": "B/1.png"}]}'),
])  # fmt: skip
def test_a_list_of_pairs_with_a_mistake_is_not_left_out(tmp_path, name, content):
    two_folders(tmp_path, 'train/{}')
    (tmp_path / name).write_bytes(content)
    assert name in error(tmp_path)
