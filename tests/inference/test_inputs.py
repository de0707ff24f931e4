"""The images that translate takes: by a run's patterns, of a list, of a split of its data."""

import json
import pathlib

import numpy as np
import pytest
from etils import epath
from helpers.pictures import save
from helpers.runs import changed, make_pairs
from PIL import Image

from pix2pix_jax.config import validate
from pix2pix_jax.data import discover, patterns, pipeline
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.inference import files, generator, loaded_run, translator
from pix2pix_jax.inference.inputs import find_images, find_inputs, find_paths
from pix2pix_jax.inference.pattern_inputs import by_patterns
from pix2pix_jax.storage import atomic
from pix2pix_jax.workdir import data_json
from pix2pix_jax.workdir.config_json import to_json

SIZE = 16


def found(root, texts, *places, mask=None):
    images = [find_paths(str(root / place)) for place in places]
    mask = patterns.parse(mask, 'mask') if mask else None
    inputs = by_patterns(images, patterns.parse_patterns(*texts), mask)
    return {one.name: [str(file.relative_to(root)) for file in one.files] for one in inputs}


def touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


@pytest.mark.parametrize(
    'texts,paths,place,wanted',
    [
        (('l_*.jpg', 'r_*.jpg'), ['l_1.jpg', 'r_1.jpg'], '.', {'r_1': ['l_1.jpg']}),
        (('*.png', '*_m.png'), ['1.png', '1_m.png'], '.', {'1_m': ['1.png']}),
        (('images/*.jpg', 'masks/*_m.png'), ['new/1.jpg'], 'new', {'1_m': ['new/1.jpg']}),
        (('images/*.jpg', 'masks/*_m.png'), ['new/1.jpg'], 'new/1.jpg', {'1_m': ['new/1.jpg']}),
        (
            ('{split}/*_a.jpg', '{split}/*_b.jpg'),
            ['train/1_a.jpg', 'testing/1_a.jpg'],
            '.',
            {'train/1_b': ['train/1_a.jpg'], 'test/1_b': ['testing/1_a.jpg']},
        ),
        (('{split}/*_a.jpg', '{split}/*_b.jpg'), ['x/1_a.jpg'], 'x', {'1_b': ['x/1_a.jpg']}),
        (('i/**/*.jpg', 'm/**/*.png'), ['x/a/b/1.jpg'], 'x', {'a/b/1': ['x/a/b/1.jpg']}),
        (('*.jpg', '*.png'), ['x/1.jpg', 'x/1.png'], 'x', {'1': ['x/1.jpg']}),
        (('l_*.jpg', 'r_*.jpg'), ['x/1.jpg'], 'x', {}),  # of other names: as they are
    ],
)
def test_outputs_are_named_as_targets_are(tmp_path, texts, paths, place, wanted):
    touch(tmp_path, *paths)
    assert found(tmp_path, texts, place) == wanted


@pytest.mark.parametrize('place', ['data', 'data/valid', 'data/valid/im'])
def test_a_folder_at_any_depth_of_the_patterns_gives_its_inputs_alone(tmp_path, place):
    touch(tmp_path, *(f'data/valid/{kind}/{i}.png' for kind in ('im', 'gt', 'ok') for i in (1, 2)))
    texts = '{split}/im/*.png', '{split}/gt/*.png'
    names = {name.rpartition('/')[2] for name in found(tmp_path, texts, place)}
    files = found(tmp_path, texts, place, mask='{split}/ok/*.png').values()
    assert names == {'1', '2'}
    assert list(files) == [[f'data/valid/im/{i}.png'] for i in (1, 2)]


def test_masks_are_no_inputs(tmp_path):
    touch(tmp_path, *(f'{i}{kind}.png' for kind in ('', '_gt', '_ok') for i in (1, 2)))
    texts = '*.png', '*_gt.png'
    assert found(tmp_path, texts, '.', mask='*_ok.png') == {'1_gt': ['1.png'], '2_gt': ['2.png']}
    assert found(tmp_path, ('*.png', '*_gt.png'), '1_ok.png', mask='*_ok.png') == {}
    touch(tmp_path, 'x/im/1.png', 'x/ok/1.png')
    texts = 'im/*.png', 'gt/*.jpg'
    assert found(tmp_path, texts, 'x', mask='ok/*.png') == {'1': ['x/im/1.png']}


def test_several_inputs_are_found_in_one_folder_or_in_several(tmp_path, capsys):
    touch(tmp_path, *(f'x/{i}_{name}.png' for i in (1, 2) for name in ('rgb', 'ir')))
    touch(tmp_path, 'x/3_rgb.png')
    texts = '*_rgb.png,*_ir.png', '*_seg.png'
    wanted = {f'{i}_seg': [f'x/{i}_rgb.png', f'x/{i}_ir.png'] for i in (1, 2)}
    assert found(tmp_path, texts, 'x') == wanted
    assert '1 images match no input pattern, and are left out: 3_rgb.png' in capsys.readouterr().out
    touch(tmp_path, 'y/1_ir.png')
    assert found(tmp_path, texts, 'x', 'y') == {'1_seg': ['x/1_rgb.png', 'y/1_ir.png']}


def test_names_that_two_would_get_are_refused(tmp_path):
    touch(tmp_path, 'a/1.jpg', 'a/1.png')
    with pytest.raises(DataError, match='are one name to'):
        found(tmp_path, ('a/*', 'b/*_m.png'), 'a')


# ---------------------------------------------------------------- the run's own data


@pytest.fixture
def negating(monkeypatch):
    """Makes a run whose generator negates, of a config and its data."""

    def make(workdir, **fields):
        config = validate(changed(**{'image_size': (SIZE, SIZE)} | fields))
        atomic.write_text(workdir / 'config.json', to_json(config))
        splits = discover.open_splits(config)
        data_json.write_known(workdir, splits, 1)
        (workdir / 'checkpoints' / 'last' / '1').mkdir(parents=True)
        run = loaded_run.Run(config, 1, 'last', {})
        monkeypatch.setattr(loaded_run, 'load_run', lambda *args: run)
        monkeypatch.setattr(
            generator, 'Generator', lambda *args, **switches: lambda x, sample=0: -x[..., :3]
        )
        return config, splits

    return make


def translate(workdir, output, places=(), split=''):
    job = files.TranslationJob(list(map(str, places)), str(output), split=split)
    return files.translate_files(str(workdir), 'last', translator.TranslateOptions(), job)


@pytest.mark.parametrize('direction', ['AtoB', 'BtoA'])
def test_a_split_that_was_held_out_is_translated(tmp_path, negating, direction):
    """Of A|B in one file, whose other half is the target."""
    make_pairs(tmp_path / 'pairs', {'train': 9}, size=SIZE)
    fields = {'dataset__direction': direction, 'dataset__val_fraction': 0.3}
    config, splits = negating(tmp_path / 'run', dataset__path=str(tmp_path / 'pairs'), **fields)
    assert translate(tmp_path / 'run', tmp_path / 'out', split='val') == 0
    for i, name in enumerate(splits['val'].names):
        written = np.asarray(Image.open(tmp_path / 'out' / f'{name}.png'))
        np.testing.assert_array_equal(written, 255 - splits['val'][i]['input'])
    assert len(list((tmp_path / 'out').glob('*.png'))) == len(splits['val']) > 0


def test_the_test_split_of_patterns_is_translated(tmp_path, negating, capsys):
    rng = np.random.default_rng(0)
    for i in range(30):
        for place in (f'images/{i}.png', f'masks/{i}_m.png'):
            save(tmp_path / 'pairs' / place, rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8))
    fields = {'input_pattern': 'images/*.png', 'target_pattern': 'masks/*_m.png'}
    fields = {f'dataset__{name}': text for name, text in fields.items()}
    _, splits = negating(tmp_path / 'run', dataset__path=str(tmp_path / 'pairs'), **fields)
    assert translate(tmp_path / 'run', tmp_path / 'out', split='test') == 0
    written = {path.stem for path in (tmp_path / 'out').glob('*.png')}
    assert written == set(splits['test'].names) and all(name.endswith('_m') for name in written)
    assert translate(tmp_path / 'run', tmp_path / 'all', [tmp_path / 'pairs' / 'images']) == 0
    assert len(list((tmp_path / 'all').glob('*_m.png'))) == 30
    save(tmp_path / 'new' / 'a' / 'x.png', np.zeros((SIZE, SIZE, 3), np.uint8))
    assert translate(tmp_path / 'run', tmp_path / 'other', [tmp_path / 'new']) == 0
    said = 'no image matches images/*.png, as the inputs of the run do: all are taken\n'
    assert said in capsys.readouterr().out and (tmp_path / 'other' / 'a' / 'x.png').exists()


def test_the_masks_of_a_run_are_not_translated(tmp_path, negating):
    rng = np.random.default_rng(0)
    fields = {'input_pattern': '*.png', 'target_pattern': '*_m.png', 'mask': '*_ok.png'}
    for i in range(6):
        for kind in ('', '_m', '_ok'):
            image = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
            save(tmp_path / 'pairs' / f'{i}{kind}.png', image[..., 0] if kind == '_ok' else image)
    fields = {f'dataset__{name}': text for name, text in fields.items()}
    negating(tmp_path / 'run', dataset__path=str(tmp_path / 'pairs'), **fields)
    assert translate(tmp_path / 'run', tmp_path / 'out', [tmp_path / 'pairs']) == 0
    assert {path.stem for path in (tmp_path / 'out').glob('*.png')} == {f'{i}_m' for i in range(6)}


@pytest.mark.parametrize('task', ['denoise', 'inpaint_anywhere', 'super_resolution'])
def test_the_inputs_of_a_task_are_those_that_are_measured(tmp_path, negating, task):
    for i in range(20):
        image = np.random.default_rng(i).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
        save(tmp_path / 'photos' / f'{i}.png', image)
    fields = {'dataset__task': task, 'dataset__test_fraction': 0.3}
    config, splits = negating(tmp_path / 'run', dataset__path=str(tmp_path / 'photos'), **fields)
    assert len(splits['test']) > 1  # each has draws of its own
    assert translate(tmp_path / 'run', tmp_path / 'out', split='test') == 0
    for i, name in enumerate(splits['test'].names):
        written = np.asarray(Image.open(tmp_path / 'out' / f'{name}.png')).astype(int)
        measured = pipeline.example(splits['test'], i, config)['input']
        assert np.abs(written - (1 - measured) * 127.5).max() <= 1


def test_pairs_that_came_are_translated_as_the_line_says(tmp_path, negating, capsys):
    make_pairs(tmp_path / 'pairs', {'train': 3, 'test': 2}, size=SIZE)
    negating(tmp_path / 'run', dataset__path=str(tmp_path / 'pairs'))
    save(tmp_path / 'pairs' / 'test' / 'new.png', np.zeros((SIZE, 2 * SIZE, 3), np.uint8))
    assert translate(tmp_path / 'run', tmp_path / 'out', split='test') == 0
    said = capsys.readouterr().out
    assert '--input=DIR translates those of a folder' in said and '--dataset' not in said
    with pytest.raises(UserError, match='--workdir=.*none: no run there'):
        translate(tmp_path / 'none', tmp_path / 'o', split='test')


def test_a_list_of_inputs_is_translated(tmp_path, negating):
    make_pairs(tmp_path / 'pairs', {'train': 3}, size=SIZE)
    negating(tmp_path / 'run', dataset__path=str(tmp_path / 'pairs'))
    save(tmp_path / 'new' / 'x.png', np.full((SIZE, SIZE, 3), 7, np.uint8))
    (tmp_path / 'test.csv').write_text('input,target\nnew\\x.png,answers\\y.png\n')
    assert translate(tmp_path / 'run', tmp_path / 'out', [tmp_path / 'test.csv']) == 0
    assert np.asarray(Image.open(tmp_path / 'out' / 'answers' / 'y.png')).max() == 248
    link = (pathlib.Path(tmp_path) / 'out' / 'index.html').read_text()
    assert '../new/x.png' in link and epath.Path(tmp_path / 'out').exists()


@pytest.mark.parametrize('columns,order', [('input2,input', True), ('input,input2,input10', False)])
def test_columns_that_stand_in_another_order_are_said(tmp_path, capsys, columns, order):
    file = tmp_path / 'test.csv'
    file.write_text(f'{columns}\n{",".join("abc"[: columns.count(",") + 1])}\n')
    (one,) = find_inputs([str(file)])
    assert [path.name for path in one.files] == [*'abc'][: columns.count(',') + 1]
    line = f'warning: {file}: the inputs are those of its columns as they stand, input2, input: let'
    assert capsys.readouterr().out.startswith(line) == order


@pytest.mark.parametrize('kind', ['csv', 'json', 'split'])
def test_targets_and_masks_are_never_overwritten(tmp_path, negating, kind):
    """Whatever --overwrite says, of a list and of a split of the run's data."""
    rows = [
        {'input': f'in/{i}.png', 'target': f'out/{i}.png', 'counts': f'masks/out/{i}.png'}
        for i in range(4)
    ]
    for i, row in enumerate(rows):
        for name, file in row.items():
            image = np.full((SIZE, SIZE, 3), i, np.uint8)
            save(tmp_path / file, image[..., 0] + 1 if name == 'counts' else image)
    for split, some in (('train', rows[:2]), ('test', rows[2:])):
        atomic.write_text(tmp_path / f'{split}.json', json.dumps(some))
    lines = [','.join(words) for words in (rows[0], *(row.values() for row in rows))]
    atomic.write_text(tmp_path / 'new.csv', '\n'.join(lines))
    fields = {'path': str(tmp_path), 'layout': 'list', 'mask': 'counts'}
    negating(tmp_path / 'run', **{f'dataset__{name}': value for name, value in fields.items()})
    places = {'csv': [tmp_path / 'new.csv'], 'json': [tmp_path / 'test.json'], 'split': []}[kind]
    job = files.TranslationJob(
        list(map(str, places)), '', overwrite=True, split='' if places else 'test'
    )
    inputs = files.inputs_of(str(tmp_path / 'run'), job)
    (tmp_path / 'link').symlink_to(tmp_path / 'masks')
    for output in ('.', 'masks', 'link'):
        with pytest.raises(UserError) as info:
            files.check_output(job._replace(output=str(tmp_path / output)), inputs)
        line = f'--output={tmp_path / output} holds targets or masks of the inputs: give another'
        assert str(info.value) == f'{line} folder'
    files.check_output(job._replace(output=str(tmp_path / 'other')), inputs)
    for row in rows:  # of which the list says the names of translations alone
        (tmp_path / row['target']).unlink()
    files.check_output(job._replace(output=str(tmp_path)), inputs)


@pytest.mark.parametrize('folder', ['d_[1]', 'what?', 'a*b'])
def test_a_pattern_below_a_folder_whose_name_looks_like_one(tmp_path, monkeypatch, folder):
    touch(tmp_path, f'{folder}/1.png', f'{folder}/2/3.png', 'd_1/4.png')
    monkeypatch.chdir(tmp_path)
    for root in (folder, str(tmp_path / folder)):
        assert find_images(f'{root}/*.png') == [('1', epath.Path(f'{root}/1.png'))]
        assert [name for name, _ in find_images(f'{root}/**/*.png')] == ['1', '2/3']
    assert [name for name, _ in find_images('d_[12]/*.png')] == ['d_1/4']
