"""train.csv and train.json: what they say, and what is refused, in one line that names the row."""

import json
import unicodedata

import pytest
from etils import epath
from helpers.pictures import config, error, picture, save

from pix2pix_jax.data import discover, list_files, lists
from pix2pix_jax.data.hold_out import Known, SplitPairs
from pix2pix_jax.errors import DataError


def read(folder, text, kind='csv'):
    path = epath.Path(folder) / f'train.{kind}'
    path.write_text(text)
    try:
        return lists.read_list(path)
    except DataError as error:
        assert str(error).startswith(str(path)) and '\n' not in str(error)
        return str(error).removeprefix(str(path))


def test_paths_are_relative_to_the_list(tmp_path):
    found = read(tmp_path, 'id,input,target\n7,"a b/é.png",b/1.png\n8,../c.png,/d/2.tif\n')
    assert found == {
        'b/1': (tmp_path / 'a b/é.png', tmp_path / 'b/1.png'),
        'd/2': (tmp_path / '../c.png', epath.Path('/d/2.tif')),
    }


def test_names_never_leave_a_folder(tmp_path):
    assert list(read(tmp_path, 'input,target\na.png,../../etc/x.png\n')) == ['etc/x']


@pytest.mark.parametrize(
    'kind,text,message',
    [
        ('csv', '', ': the first line is []: needed are the columns input'),
        ('csv', 'input,input,target\na,b,c\n', ": the first line is ['input', 'input', 'target']"),
        ('csv', 'input_note,target\na,b\n', ": the first line is ['input_note', 'target']"),
        ('csv', 'input,target\na,b,c.png\n', ', line 2: has more values than columns'),
        ('csv', '# pairs\n\ninput,target\na,b,c.png\n', ', line 4: has more values than columns'),
        ('csv', 'input,target\na,/\n', ", line 2: the target '/' is no file"),
        ('csv', 'a.png,b.png\n', ": the first line is ['a.png', 'b.png']: needed are the columns"),
        ('csv', 'input,target\n', ' lists no pairs'),
        ('csv', 'input,target\na.png,b.png\na.png\n', ', line 3: input or target is empty'),
        ('csv', 'input,target\na,b.png\nc,b.png\n', ', line 3: the target b.png is there already'),
        ('csv', 'input,target\na,b.png\nc,./b.png\n', ', line 3: the target ./b.png is there'),
        ('csv', 'input,target\na,b.png\nc,x/../b.png\n', ', line 3: the target x/../b.png is'),
        ('json', '{', ' is no JSON'),
        ('json', '[]', ' lists no pairs'),
        ('json', '{"input": "a"}', ', item 0: needed is {"input"'),
        ('json', '["a"]', ', item 0: needed is'),
        ('json', '[{"input": 3, "target": "b"}]', ', item 0: needed is'),
        ('json', '[{"input": [], "target": "b"}]', ', item 0: input or target is empty'),
    ],
)
def test_what_is_no_list(tmp_path, kind, text, message):
    assert read(tmp_path, text, kind).startswith(message)


def test_pairs_of_different_numbers_of_inputs(tmp_path):
    items = [{'input': ['a', 'b'], 'target': 'c'}, {'input': 'a', 'target': 'd'}]
    assert read(tmp_path, json.dumps(items), 'json').startswith(', item 1: has 1 inputs')


def test_two_lists_of_one_split(tmp_path):
    root = epath.Path(tmp_path)
    assert lists.list_of(root, 'train') is None
    (root / 'train.csv').write_text('')
    assert lists.list_of(root, 'train') == root / 'train.csv'
    (root / 'train.json').write_text('')
    with pytest.raises(DataError, match='allowed is one of them'):
        lists.list_of(root, 'train')


@pytest.mark.parametrize('end', ['\n', '\r\n', '\r'])
def test_line_ends_of_all_systems(tmp_path, end):
    path = epath.Path(tmp_path) / 'train.csv'
    path.write_bytes(end.join(['input,target', 'a.png,b.png', '']).encode())
    assert lists.read_list(path) == {'b': (tmp_path / 'a.png', tmp_path / 'b.png')}


def test_names_of_targets_that_differ_in_their_folder_or_kind(tmp_path):
    found = read(tmp_path, 'input,target\na.png,x/b.png\na.png,../x/b.png\na.png,x/b.jpg\n')
    assert len(found) == 3 and len(set(found.values())) == 3


@pytest.mark.parametrize('encoding', ['utf-16', 'utf-16-le', 'utf-16-be', 'utf-8-sig'])
@pytest.mark.parametrize('between', [',', ';', '\t'])
def test_what_spreadsheets_and_windows_write(tmp_path, encoding, between):
    text = f'input{between}target\r\na\\é.png{between}b\\1.png\r\n'
    (tmp_path / 'train.csv').write_bytes(text.encode(encoding))
    found = lists.read_list(epath.Path(tmp_path / 'train.csv'))
    assert found == {'b/1': (tmp_path / 'a/é.png', tmp_path / 'b/1.png')}


@pytest.mark.parametrize('between', [',', ';', '\t'])
def test_the_header_says_what_is_between_values(tmp_path, between):
    """Whatever names have more of."""
    others = ',;\t'.replace(between, '')
    one, other = f'a{3 * others}.png', f'b{others}.png'
    found = read(tmp_path, f'input{between}target\n{one}{between}{other}\n')
    assert found == {f'b{others}': (tmp_path / one, tmp_path / other)}


def test_a_backslash_in_a_name_stays(tmp_path):
    (tmp_path / 'a\\1.png').touch()
    found = read(tmp_path, 'input,target\na\\1.png,b.png\n')
    assert found == {'b': (tmp_path / 'a\\1.png', tmp_path / 'b.png')}


def test_a_nul_is_named(tmp_path):
    assert read(tmp_path, 'input,target\na\0.png,b.png\n').startswith(', line 2: ')
    assert read(tmp_path, '[{"input": "a\\u0000", "target": "b"}]', 'json') == (
        ', item 0: has a NUL character, which no name has'
    )


def test_lists_of_inputs_alone(tmp_path):
    path = epath.Path(tmp_path / 'test.csv')
    path.write_text('input,input2\na/1.png,2.png\nb/1.png,3.png\n')
    assert lists.read_inputs(path) == {
        'a/1': ((tmp_path / 'a/1.png', tmp_path / '2.png'), ()),
        'b/1': ((tmp_path / 'b/1.png', tmp_path / '3.png'), ()),
    }
    path.write_text('input,target\na/1.png,c/7.png\nb/1.png,\n')
    assert list(lists.read_inputs(path)) == ['c/7', 'b/1']
    path.write_text('input\na/1.png\na/1.jpg\n')
    with pytest.raises(DataError, match='line 3: a/1 is there already'):
        lists.read_inputs(path)


def test_what_lies_beside_the_inputs_of_a_list(tmp_path):
    """The target, and the mask in a column that is named, where a row has these."""
    path = epath.Path(tmp_path / 'test.csv')
    path.write_text('input,target,counts\na.png,b\\a.png,m/a.png\nc.png,,\nd.png,b/d.png,\n')
    for mask, masks in (('counts', [tmp_path / 'm/a.png']), ('', []), ('other', [])):
        found = [list(beside) for _, beside in lists.read_inputs(path, mask).values()]
        assert found == [[tmp_path / 'b/a.png', *masks], [], [tmp_path / 'b/d.png']]
    path = epath.Path(tmp_path / 'test.json')
    path.write_text('[{"input": "a.png", "counts": "m.png"}, {"input": "b.png", "counts": 3}]')
    found = [beside for _, beside in lists.read_inputs(path, 'counts').values()]
    assert found == [(tmp_path / 'm.png',), ()]


def test_a_list_that_is_not_there_is_said_to_be_so(tmp_path):
    with pytest.raises(DataError) as info:
        list_files.read_text(epath.Path(tmp_path) / 'pairs.csv')
    assert str(info.value) == f'{tmp_path}/pairs.csv is not there'


@pytest.mark.parametrize(
    'targets, names',
    [
        (['a_2.png', 'a.png', 'a.jpg'], ['a_2', 'a', 'a.jpg']),
        (['a.png', 'a.jpg', 'a.jpg.png', 'a_1.tif'], ['a', 'a.jpg', 'a.jpg.png', 'a_1']),
        (['a.png', '../a.png', '../../a.png'], ['a', 'a.png', 'a.png_2']),
    ],
)
def test_no_row_takes_the_place_of_another(tmp_path, targets, names):
    rows = [f'{i}.png,{target},m{i}.png' for i, target in enumerate(targets)]
    found = read(tmp_path, '\n'.join(['input,target,mask', *rows]))
    assert list(found) == names
    assert [files[-1] for files in found.values()] == [tmp_path / target for target in targets]
    masks, _ = lists.read_masks(epath.Path(tmp_path) / 'train.csv', 'mask', found, False)
    assert list(masks.values()) == [tmp_path / f'm{i}.png' for i in range(len(targets))]


def test_a_file_by_its_whole_path_is_the_same(tmp_path):
    text = f'input,target\na.png,b.png\nc.png,{tmp_path}/b.png\n'
    assert read(tmp_path, text).endswith('b.png is there already')


def test_a_field_of_some_items_is_a_column(tmp_path):
    items = [{'input': 'a', 'target': 'b'}, {'input': 'c', 'target': 'd', 'mask': 'm'}]
    path = epath.Path(tmp_path) / 'train.json'
    path.write_text(json.dumps(items))
    assert lists.has_column(path, 'mask') and not lists.has_column(path, 'm')


# ---------------------------------------------------------------- as other programs write them


@pytest.mark.parametrize(
    'text',
    [
        '\n \ninput,target\na.png,b.png\n',
        '# my pairs\ninput,target\na.png,b.png\n',
        'sep=;\ninput;target\na.png;b.png\n',
        '# the input is a map\ninput,target\na.png,b.png\n',
        'sep=,\n\n# of May, 2024;\ninput,target\na.png,b.png\n',
        'input , target\na.png ,b.png \n',
        'input,target\n"a.png ",b.png\n , \n,\n',
        'input,target\na.png,b.png,\n',
        'input,target,,\na.png,b.png,,\n',
    ],
)
def test_blanks_comments_and_rows_without_values_are_none(tmp_path, text):
    assert read(tmp_path, text) == {'b': (tmp_path / 'a.png', tmp_path / 'b.png')}
    assert lists.is_of_pairs(epath.Path(tmp_path / 'train.csv'))


def test_a_first_line_of_columns_may_begin_as_a_comment(tmp_path):
    found = read(tmp_path, '#id,input,target\n7,a.png,b.png\n')
    assert found == {'b': (tmp_path / 'a.png', tmp_path / 'b.png')}


@pytest.mark.parametrize('there,given', [('NFC', 'NFD'), ('NFD', 'NFC')])
def test_names_may_be_in_either_form_of_unicode(tmp_path, there, given):
    file = tmp_path / unicodedata.normalize(there, 'é/ü.png')
    save(file, picture(1))
    name = unicodedata.normalize(given, 'é/ü.png')
    path = epath.Path(tmp_path / 'train.csv')
    ((a, b),) = read(tmp_path, f'input,target,mask\na.png,{name},{name}\n').values()
    assert b == file and a == tmp_path / 'a.png'
    ((_, mask),) = lists.read_masks(path, 'mask', ['x'], False)[0].items()
    assert mask == file
    ((_, (a, b)),) = read(tmp_path, f'input,target\né.png,{tmp_path}/{name}\n').items()
    assert b == file and a == tmp_path / 'é.png'  # which is not there
    text = f'input,target\na,{name}\nb,{unicodedata.normalize(there, name)}\n'
    assert read(tmp_path, text).endswith('.png is there already')


# ---------------------------------------------------------------- splits


def write(root, **texts):
    for i in range(8):
        save(root / 'f' / f'{i}.png', picture(i))
    for split, text in texts.items():
        (root / f'{split}.csv').write_text(text)


NONE = {'dataset.val_fraction': 0.0, 'generator.input_channels': 6}


@pytest.mark.parametrize('train', ['input,input2,target', 'input2,input,target'])
@pytest.mark.parametrize('val', ['input2,target,input', 'target,input,input2'])
def test_inputs_are_in_the_order_of_the_columns_of_train(tmp_path, train, val):
    def text(header, **files):
        return f'{header}\n{",".join(files[name] for name in header.split(","))}\n'

    files = {'input': 'f/1.png', 'input2': 'f/2.png', 'target': 'f/3.png'}
    others = {'input': 'f/4.png', 'input2': 'f/5.png', 'target': 'f/6.png'}
    write(tmp_path, train=text(train, **files), val=text(val, **others))
    splits = discover.open_splits(config(tmp_path, **NONE))
    order = [int(file.stem) for file in splits['train'].files[0]]
    assert order == [int(files[name][2]) for name in train.split(',')]  # a run's, as it began
    assert [int(file.stem) for file in splits['val'].files[0]] == [i + 3 for i in order]


@pytest.mark.parametrize('column', ['split', 'Set', 'subset'])
@pytest.mark.parametrize('value,split', [('test', 'test'), ('Valid', 'val'), (' DEV ', 'val')])
def test_a_column_that_says_splits_is_refused(tmp_path, column, value, split):
    rows = f'input,target,{column}\nf/0.png,f/1.png,train\nf/2.png,f/3.png,{value}\n'
    write(tmp_path, train=rows)
    fields = {'dataset.val_fraction': 0.0}
    assert error(tmp_path, **fields) == (
        f'{tmp_path}/train.csv: its {column} says {value.strip()}, and all of its rows would be '
        f'trained on: move those rows to {split}.csv, or rename {column}'
    )
    found = discover.open_splits(config(tmp_path, **fields), Known(exists=True))
    assert len(found['train']) == 2  # a run goes on
    (tmp_path / 'train.csv').rename(tmp_path / 'test.csv')
    (tmp_path / 'train.csv').write_text(f'input,target,{column}\nf/4.png,f/5.png,train\n')
    assert len(discover.open_splits(config(tmp_path, **fields))['test']) == 2


def targets(root, *names):
    rows = [f'f/{i}.png,{name}' for i, name in enumerate(names)]
    (root / 'train.csv').write_text('\n'.join(['input,target', *rows]))
    return lists.read_list(epath.Path(root) / 'train.csv')


def test_new_rows_change_no_name(tmp_path):
    files = [f'f/{i}b.{kind}' for kind in ('png', 'jpg') for i in range(5)]
    before, after = targets(tmp_path, *files), targets(tmp_path, 'f/new.png', *files)
    assert [*before] == [*after][1:] and [*before][5] == 'f/0b.jpg'


def test_a_run_keeps_the_names_that_rows_gave(tmp_path):
    """As it began: a target of a name that another had got the number of its row."""
    write(tmp_path, train='input,target\nf/0.png,f/1.png\nf/2.png,f/3.png\nf/4.png,f/1.jpg\n')
    recorded = {'train': SplitPairs(('f/1', 'f/3', 'f/1_2'), {})}
    c = config(tmp_path, **{'dataset.val_fraction': 0.0})
    for known in (Known(exists=True, splits=recorded), Known(earlier={'f/1_2': 'train'})):
        assert discover.find_splits(c, known)['train'].names == ('f/1', 'f/3', 'f/1_2')
    assert discover.find_splits(c)['train'].names == ('f/1', 'f/3', 'f/1.jpg')
