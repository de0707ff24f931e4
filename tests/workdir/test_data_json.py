"""data.json: the pairs of a run are found at the start, kept, and the same when it resumes."""

import json
import shutil

import numpy as np
import pytest
from helpers import OLD_RUN
from helpers.runs import make_pairs, metrics, tiny_config
from PIL import Image

from pix2pix_jax.data import discover, preflight
from pix2pix_jax.dry_run import dry_run
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.evaluation.runs import RunImages, evaluate_run
from pix2pix_jax.inference import run_splits
from pix2pix_jax.train import train_and_evaluate
from pix2pix_jax.train_setup import open_data
from pix2pix_jax.workdir import data_json
from pix2pix_jax.workdir.config_json import to_json
from pix2pix_jax.workdir.run_json import steps_before

SKIP = {'dataset__on_error': 'skip', 'dataset__val_fraction': 0.3}
HELD = {'dataset__val_fraction': 0.3}


def bad_pairs(folder):
    """Nine good training pairs and two bad ones; three test pairs, one of them bad."""
    pairs = make_pairs(folder, {'train': 11, 'test': 3})
    (pairs / 'train' / '4.png').write_bytes((pairs / 'train' / '5.png').read_bytes()[:60])
    Image.new('RGB', (33, 16)).save(pairs / 'train' / '7.png')
    (pairs / 'test' / '1.png').write_bytes(b'')
    return pairs


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """An uninterrupted run on the good pairs alone, its pairs and its folder."""
    folder = tmp_path_factory.mktemp('whole')
    pairs = bad_pairs(folder / 'pairs')
    train_and_evaluate(tiny_config(pairs, **SKIP), folder / 'run')
    return pairs, folder / 'run'


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A run of two steps on eight good pairs, of which val is held out."""
    folder = tmp_path_factory.mktemp('trained')
    pairs = make_pairs(folder / 'pairs', {'train': 8, 'test': 2})
    train_and_evaluate(tiny_config(pairs, num_steps=0, num_epochs=1, **HELD), folder / 'run')
    return pairs, folder / 'run'


@pytest.fixture
def copied(trained, tmp_path):
    """The same, to change: its config, its pairs and its folder."""
    for name, folder in zip(('pairs', 'run'), trained):
        shutil.copytree(folder, tmp_path / name)
    set_path(tmp_path / 'run', tmp_path / 'pairs')
    config = tiny_config(tmp_path / 'pairs', num_steps=0, num_epochs=1, **HELD)
    return config, tmp_path / 'pairs', tmp_path / 'run'


def read(workdir):
    return json.loads((workdir / 'data.json').read_text())


def set_path(workdir, pairs):
    saved = json.loads((workdir / 'config.json').read_text())
    saved['dataset']['path'] = str(pairs)
    (workdir / 'config.json').write_text(json.dumps(saved))


def add(pairs, *names):
    for name in names:
        shutil.copy(pairs / 'test' / '0.png', pairs / f'{name}.png')


def refused(config, workdir):
    """The one line that refuses to resume; the run stays as it is."""
    before = {path: path.read_bytes() for path in workdir.rglob('*') if path.is_file()}
    with pytest.raises(DataError) as info:
        train_and_evaluate(config, workdir)
    assert before == {path: path.read_bytes() for path in workdir.rglob('*') if path.is_file()}
    assert '\n' not in str(info.value)
    return str(info.value)


# ---------------------------------------------------------------- what a run keeps


def test_a_run_keeps_the_names_its_length_and_what_it_found(trained):
    pairs, workdir = trained
    found = read(workdir)
    train, val = (found['splits'][split] for split in ('train', 'val'))
    assert set(train['used']) | set(val['used']) == {str(i) for i in range(8)}
    assert train['held_out'] is False and val['held_out'] is True
    assert train['skipped'] == val['skipped'] == {}
    assert found['splits']['test'] == {'used': ['0', '1'], 'skipped': {}, 'held_out': False}
    assert found['steps'] == len(train['used'])
    about = {'size': [32, 32], 'inputs': 1, 'side_by_side': True, 'input_type': 'uint8'}
    about['whole_paths'] = False
    assert found['found'] == about
    assert not (workdir / 'pairs.json').exists()


def test_the_same_data_in_another_folder_resumes(copied):
    config, pairs, workdir = copied
    before = read(workdir)
    config.dataset.path = str(shutil.move(pairs, pairs.with_name('elsewhere')))
    config.num_epochs = 2
    state = train_and_evaluate(config, workdir)
    assert int(state.step) == 2 * before['steps']
    assert read(workdir) == before | {'steps': 2 * before['steps']}


def test_a_list_in_another_order_is_the_same_data(tmp_path, capsys):
    pairs = make_pairs(tmp_path / 'pairs', {'files': 5})
    for name in '01234':
        image = np.asarray(Image.open(pairs / 'files' / f'{name}.png'))
        Image.fromarray(image[:, :32]).save(pairs / f'{name}a.png')
        Image.fromarray(image[:, 32:]).save(pairs / f'{name}b.png')
    lines = [f'{name}a.png,{name}b.png' for name in '01234']
    (pairs / 'train.csv').write_text('\n'.join(['input,target', *lines]))
    config = tiny_config(pairs, num_steps=1, **HELD)
    train_and_evaluate(config, tmp_path / 'run')
    before = read(tmp_path / 'run')
    (pairs / 'train.csv').write_text('\n'.join(['input,target', *lines[::-1]]))
    config.num_steps = 2
    train_and_evaluate(config, tmp_path / 'run')
    assert read(tmp_path / 'run') == before | {'steps': 2}
    assert 'the length of the run was 1 steps, and is 2 now' in capsys.readouterr().out


# ---------------------------------------------------------------- data that changed


def test_new_files_are_refused_and_the_way_to_use_them_is_named(copied):
    config, pairs, workdir = copied
    add(pairs, *(f'train/{i}' for i in range(10, 20)), 'test/5')
    assert refused(config, workdir) == (
        f'the data is not what {workdir}/data.json says: train: 10 came (10, 11, 12, …); test: 1 '
        'came (5); take away what came to resume the run, or start a new one on it, from these '
        f'weights: --config.init_from={workdir} and another --workdir'
    )
    with pytest.raises(DataError, match='the data is not what'):
        dry_run(config, workdir)


def test_files_that_went_are_refused_by_their_split(copied):
    config, pairs, workdir = copied
    (train, *_), (val, *_) = (read(workdir)['splits'][s]['used'] for s in ('train', 'val'))
    for name in (train, val):
        (pairs / 'train' / f'{name}.png').rename(pairs / 'train' / f'new{name}.png')
    message = refused(config, workdir)
    new = ', '.join(f'new{name}' for name in sorted((train, val)))
    assert f'says: train: 2 came ({new}), 1 went ({train}); val: 1 went ({val}); ' in message
    assert '; take away what came and put back what went to resume the run' in message


def test_a_split_that_came_or_went_is_refused(copied):
    config, pairs, workdir = copied
    val = read(workdir)['splits']['val']['used']
    (pairs / 'val').mkdir()
    for name in val:
        (pairs / 'train' / f'{name}.png').rename(pairs / 'val' / f'{name}.png')
    message = refused(config, workdir)
    assert f'val: {len(val)} came (' in message and f'{len(val)} went (' in message
    shutil.rmtree(pairs / 'train')
    assert 'train: ' in refused(config, workdir)


def test_images_of_another_size_are_refused(copied):
    config, pairs, workdir = copied
    for path in (pairs / 'train').iterdir():
        Image.open(path).resize((128, 64)).save(path)
    assert ' size: [32, 32] -> [64, 64]' in refused(config, workdir)


def test_a_schedule_keeps_the_length_that_it_began_with(tmp_path):
    """New files made a linear schedule longer: the rate went up again."""
    pairs = make_pairs(tmp_path / 'pairs', {'train': 2})
    config = tiny_config(pairs, num_steps=0, num_epochs=1)
    config.optimizer.schedule = 'linear'
    train_and_evaluate(config, tmp_path / 'run')
    add_one = pairs / 'train' / 'new.png'
    shutil.copy(pairs / 'train' / '0.png', add_one)
    assert 'train: 1 came (new)' in refused(config, tmp_path / 'run')
    add_one.unlink()
    assert int(train_and_evaluate(config, tmp_path / 'run').step) == 2


def test_before_anything_is_trained_the_data_may_change(copied):
    config, pairs, workdir = copied
    shutil.rmtree(workdir / 'checkpoints')
    add(pairs, 'train/new')
    splits, _ = open_data(config, workdir)
    assert 'new' in splits['train'].names + splits['val'].names


@pytest.mark.parametrize(
    'text',
    [
        '',
        '[]',
        '{"steps": 3}',
        '{"splits": {"train": {}}}',
        '{"splits": {"train": {"used": 3, "skipped": {}}}}',
        '{"splits": {"test": {"used": ["1"], "skipped": {}}}}',
    ],
)
def test_a_file_that_no_run_wrote_is_named(copied, text):
    config, _, workdir = copied
    (workdir / 'data.json').write_text(text)
    assert f'{workdir}/data.json is damaged' in refused(config, workdir)


def test_a_file_that_is_missing_is_named(copied):
    config, pairs, workdir = copied
    (workdir / 'data.json').unlink()
    assert refused(config, workdir) == (
        f'{workdir}/data.json is missing: it says which pairs the run uses; put it back'
    )
    with pytest.raises(DataError, match='data.json is missing'):
        evaluate_run(workdir, workdir / 'out')
    assert run_splits.whole_splits(workdir, config)[1].startswith(f'{workdir}/data.json is missing')


# ---------------------------------------------------------------- evaluate, demo


def test_evaluate_measures_the_pairs_of_the_run(copied, capsys):
    config, pairs, workdir = copied
    val = read(workdir)['splits']['val']['used']
    add(pairs, 'train/new', 'test/new')
    for split, count in (('val', len(val)), ('test', 2)):
        evaluate_run(workdir, workdir / split, RunImages(split))
        assert json.loads((workdir / split / 'metrics.json').read_text())['images'] == count
    assert 'test: 1 pairs came since the run started, and are left out (new)' in (
        capsys.readouterr().out
    )
    evaluate_run(workdir, workdir / 'all', RunImages(dataset=str(pairs)))
    assert json.loads((workdir / 'all' / 'metrics.json').read_text())['images'] == 3
    shutil.rmtree(pairs / 'train')
    evaluate_run(workdir, workdir / 'test')
    with pytest.raises(DataError, match='pairs of val that the run uses are not there'):
        evaluate_run(workdir, workdir / 'val', RunImages(split='val'))
    assert list(run_splits.whole_splits(workdir, config)[0]) == ['test']


def test_a_split_that_the_run_did_not_have_can_be_evaluated(copied):
    config, pairs, workdir = copied
    data = read(workdir)
    del data['splits']['test']
    (workdir / 'data.json').write_text(json.dumps(data))
    evaluate_run(workdir, workdir / 'out')
    assert json.loads((workdir / 'out' / 'metrics.json').read_text())['images'] == 2


# ---------------------------------------------------------------- runs of 0.1.0


@pytest.fixture
def old_run(tmp_path):
    """The kept run of 0.1.0, with its data: its config, its pairs and its folder."""
    pairs = make_pairs(tmp_path / 'pairs', {'train': 10, 'test': 3})
    shutil.copytree(OLD_RUN, tmp_path / 'run')
    return tiny_config(pairs, ema_decay=0.9, **HELD), pairs, tmp_path / 'run'


def drawn_by_number(config, count):
    held = np.random.default_rng(config.seed).permutation(count)[: round(0.3 * count)]
    return {str(i) for i in held}


def test_an_old_run_keeps_its_draw(old_run, capsys):
    config, pairs, workdir = old_run
    splits, _ = open_data(config, workdir)
    val = drawn_by_number(config, 10)
    assert set(splits['val'].names) == val and set(splits['train'].names).isdisjoint(val)
    assert 'run has no data.json yet: the pairs are taken to be those it began with' in (
        capsys.readouterr().out
    )
    splits, _ = run_splits.whole_splits(workdir, config)
    assert set(splits['val'].names) == val
    new_run = discover.open_splits(config)
    assert set(new_run['val'].names) != val  # so that it tells them apart


def test_an_old_run_is_evaluated_on_the_val_that_it_held_out(old_run, tmp_path):
    """Its own last value is found again, and it resumes on these pairs."""
    config, pairs, workdir = old_run
    set_path(workdir, pairs)
    evaluate_run(workdir, tmp_path / 'out', RunImages(split='val'))
    found = json.loads((tmp_path / 'out' / 'metrics.json').read_text())
    assert found['images'] == 3
    before = metrics(OLD_RUN)[-1]
    # Its dropout masks, drawn as in 0.1.0, were others.
    assert found['metrics']['l1']['mean'] == pytest.approx(before['eval/l1'], rel=3e-3)
    config.num_steps = 7
    train_and_evaluate(config, workdir)
    assert set(read(workdir)['splits']['val']['used']) == drawn_by_number(config, 10)
    add(pairs, 'train/new')
    assert 'train: 1 came (new)' in refused(config, workdir)


def test_an_old_run_of_which_config_and_checkpoints_were_copied(old_run, tmp_path, capsys):
    """It resumes on its own val, as its files tell that it is old."""
    config, pairs, workdir = old_run
    for name in ('run.json', 'metrics.jsonl'):
        (workdir / name).unlink()
    set_path(workdir, pairs)
    words = 'run has no data.json yet: the pairs are taken to be those it began with, divided as'
    evaluate_run(workdir, tmp_path / 'out', RunImages(split='val'))
    assert capsys.readouterr().out.count(words) == 1
    found = json.loads((tmp_path / 'out' / 'metrics.json').read_text())
    expected = metrics(OLD_RUN)[-1]['eval/l1']
    assert found['metrics']['l1']['mean'] == pytest.approx(expected, rel=3e-3)
    config.num_steps = 7
    train_and_evaluate(config, workdir)
    out = capsys.readouterr().out
    assert out.count(words) == 1 and 'from step 7 its random draws' in out
    assert set(read(workdir)['splits']['val']['used']) == drawn_by_number(config, 10)


def measured(workdir, split, dataset, folder):
    """The names that `evaluate --dataset` measures."""
    evaluate_run(workdir, folder, RunImages(split, dataset=str(dataset)))
    rows = (folder / 'per_image.csv').read_text().splitlines()[1:]
    return {row.split(',')[0] for row in rows}


def test_an_old_run_on_moved_data_is_evaluated_on_the_val_that_it_held_out(old_run, tmp_path):
    config, pairs, workdir = old_run
    moved = pairs.rename(tmp_path / 'moved')
    assert measured(workdir, 'val', moved, tmp_path / 'out') == drawn_by_number(config, 10)


def test_the_val_of_moved_data_is_that_of_the_run(copied, tmp_path):
    """Whatever the hashes say, as with init_from; new names are drawn beside it."""
    config, pairs, workdir = copied
    data = read(workdir)
    train, val = (data['splits'][split] for split in ('train', 'val'))
    train['used'], val['used'] = sorted([*val['used'], *train['used'][2:]]), train['used'][:2]
    (workdir / 'data.json').write_text(json.dumps(data))
    add(pairs, *(f'train/new{i}' for i in range(9)))
    moved = pairs.rename(tmp_path / 'moved')
    found = measured(workdir, 'val', moved, tmp_path / 'out')
    assert {name for name in found if 'new' not in name} == set(val['used'])
    assert 0 < len(found) - len(val['used']) < 9
    (moved / 'train').rename(moved / 'val')  # a val split: nothing is drawn
    assert len(measured(workdir, 'val', moved, tmp_path / 'out')) == 17


def test_an_old_list_of_pairs_is_read(whole, tmp_path, capsys):
    pairs, workdir = whole
    shutil.copytree(workdir, tmp_path / 'run')
    data = read(workdir)
    (tmp_path / 'run' / 'data.json').unlink()
    old = {
        split: {'used': list(found['used']), 'skipped': found['skipped']}
        for split, found in data['splits'].items()
    }
    (tmp_path / 'run' / 'pairs.json').write_text(json.dumps(old))
    run = json.loads((workdir / 'run.json').read_text())
    run['starts'] = [{'time': start['time'], 'step': start['step']} for start in run['starts']]
    (tmp_path / 'run' / 'run.json').write_text(json.dumps(run))
    assert steps_before(tmp_path / 'run', (0, 2)) == float('inf')
    assert data_json.skipped_pairs(tmp_path / 'run') == data_json.skipped_pairs(workdir)
    train_and_evaluate(tiny_config(pairs, **SKIP), tmp_path / 'run')
    assert read(tmp_path / 'run') == data
    (tmp_path / 'run' / 'data.json').unlink()
    (tmp_path / 'run' / 'pairs.json').unlink()
    (tmp_path / 'run' / 'run.json').write_text(json.dumps(run))
    with pytest.raises(DataError, match=r'run/pairs\.json is missing'):
        train_and_evaluate(tiny_config(pairs, **SKIP), tmp_path / 'run')


def test_an_old_run_on_small_letters_stays_as_it_was(tmp_path):
    """Which 0.1.0 took for A|B in nested folders; new ones take them for two folders."""
    for side in 'ab':
        make_pairs(tmp_path / 'pairs' / 'train' / side, {'more': 3})
    config = tiny_config(tmp_path / 'pairs')
    assert discover.open_splits(config)['train'].names == ('more/0', 'more/1', 'more/2')
    known = data_json.Known(exists=True, old=True)
    assert len(discover.open_splits(config, known)['train']) == 6


# ---------------------------------------------------------------- init_from


def test_names_that_an_earlier_run_knew_keep_their_split(copied):
    config, pairs, workdir = copied
    before = {split: set(read(workdir)['splits'][split]['used']) for split in ('train', 'val')}
    new = [f'new{i}' for i in range(20)]
    add(pairs, *(f'train/{name}' for name in new))
    for seed in (0, 1):  # another seed draws the new names otherwise, and those alone
        config.init_from, config.seed = str(workdir), seed
        splits, _ = open_data(config, workdir.with_name('new'))
        found = {split: set(splits[split].names) for split in ('train', 'val')}
        assert all(found[split] - set(new) == before[split] for split in found)
        assert found['val'] & set(new) and found['train'] & set(new)


def test_init_from_of_an_old_run_takes_its_draw(old_run, tmp_path, capsys):
    config, pairs, workdir = old_run
    set_path(workdir, pairs)
    config.init_from = str(workdir)
    splits, _ = open_data(config, tmp_path / 'new')
    assert set(splits['val'].names) == drawn_by_number(config, 10)
    pairs.rename(tmp_path / 'moved')
    config.dataset.path = str(tmp_path / 'moved')
    capsys.readouterr()
    open_data(config, tmp_path / 'new')
    remarks = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith('config.init')
    ]
    assert len(remarks) == 1 and 'pairs does not exist' in remarks[0].replace(':', '')


def test_names_that_are_those_of_other_data_by_chance(copied, capsys):
    """All of them were in train: val is drawn anew, and one line says so."""
    config, pairs, workdir = copied
    val = read(workdir)['splits']['val']['used']
    for name in val:
        (pairs / 'train' / f'{name}.png').unlink()
    config.init_from = str(workdir)
    capsys.readouterr()
    splits, _ = open_data(config, workdir.with_name('new'))
    assert len(splits['val']) and len(splits['train']) and len(splits['train'].names) < 8 - len(val)
    lines = [x for x in capsys.readouterr().out.splitlines() if 'earlier run' in x]
    assert lines == [
        f'{pairs}/train: the earlier run had all of these names in train: val is drawn anew, and '
        'may hold pairs that it was trained on'
    ]


def test_an_earlier_run_that_had_none_of_the_names_is_said(copied, capsys):
    config, pairs, workdir = copied
    for path in list((pairs / 'train').iterdir()):
        path.rename(path.with_stem(f'new{path.stem}'))
    config.init_from = str(workdir)
    capsys.readouterr()
    open_data(config, workdir.with_name('new'))
    assert capsys.readouterr().out == (
        f'{pairs}/train: the earlier run had none of these names: val is drawn anew, and may hold '
        'pairs that it was trained on\n'
    )


@pytest.mark.parametrize('fields, line', [
    ({}, ''),
    ({'image_size': (32, 32)}, 'windows of 16x16'),
    ({'hold_out': 'file'}, 'windows of 16x16'),
    ({'hold_out': 'file', 'began': 'file'}, ''),
    ({'hold_out': 'file', 'began': 'file', 'image_size': (32, 32)}, ''),
    ({'began': 'file'}, 'whole scenes'),
])  # fmt: skip
def test_other_windows_than_those_of_an_earlier_run_are_said(tmp_path, fields, line, capsys):
    """Equal names are other places; of scenes that are held out whole the name alone counts."""
    for name in [f'{side}/{i}' for side in 'AB' for i in range(6)]:
        (tmp_path / 'pairs/train' / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / f'pairs/train/{name}.npy', np.zeros((96, 96, 3), np.uint8))
    held = {'dataset__preprocess': 'crop', 'dataset__windows': 'on', 'dataset__val_fraction': 0.3}

    def config_of(size, hold_out):
        return tiny_config(tmp_path / 'pairs', image_size=size, dataset__hold_out=hold_out, **held)

    begun = config_of((16, 16), fields.get('began', 'window'))
    before, _ = open_data(begun, tmp_path / 'run')
    data_json.write_known(tmp_path / 'run', before, 1)
    (tmp_path / 'run/config.json').write_text(to_json(begun))
    (tmp_path / 'run/checkpoints/last/1').mkdir(parents=True)
    config = config_of(fields.get('image_size', (16, 16)), fields.get('hold_out', 'window'))
    config.init_from, config.seed = str(tmp_path / 'run'), 1
    capsys.readouterr()
    splits, _ = open_data(config, tmp_path / 'new')
    said = f'config.init_from={tmp_path}/run: it held out {line}, which are not those of this run'
    said += ': those held out now may be ones it was trained on\n'
    assert capsys.readouterr().out == (said if line else '')
    scenes = [{name.split('/')[0] for name in x['val'].names} for x in (before, splits)]
    assert line or scenes[0] == scenes[1]


@pytest.mark.parametrize('splits', [{}, {'train': ['0', '1']}, {'train': ['0'], 'val': ['1']}])
def test_init_from_of_a_run_that_held_nothing_out_is_said(copied, splits, capsys):
    config, pairs, workdir = copied
    data = read(workdir)
    data['splits'] = {
        split: {'used': names, 'skipped': {}, 'held_out': False} for split, names in splits.items()
    }
    (workdir / 'data.json').write_text(json.dumps(data))
    config.init_from = str(workdir)
    open_data(config, workdir.with_name('new'))
    words = 'held no pairs out' if splits else 'its pairs are not known'
    out = capsys.readouterr().out
    assert f'config.init_from={workdir}: ' in out and words in out
    assert 'those held out now may be ones it was trained on' in out
    config.dataset.val_fraction = 0.0
    open_data(config, workdir.with_name('new'))
    assert 'config.init_from' not in capsys.readouterr().out


# ---------------------------------------------------------------- bad pairs left out


def test_bad_pairs_are_left_out_counted_and_kept(whole, tmp_path, capsys):
    pairs, workdir = whole
    train_and_evaluate(tiny_config(pairs, num_steps=1, **SKIP), tmp_path)
    out = capsys.readouterr().out
    found = read(tmp_path)['splits']
    assert found == read(workdir)['splits']
    assert list(found) == ['train', 'val', 'test']
    skipped = found['train']['skipped'] | found['val']['skipped']
    assert skipped == {
        '4': f'{pairs}/train/4.png is cut off: its end is missing',
        '7': f'{pairs}/train/7.png is 33 pixels wide: side by side, A|B, the width must be even '
        '(for A and B in two folders: --config.dataset.layout=two_folders)',
    }
    used = set(found['train']['used'] + found['val']['used'])
    assert used == {str(i) for i in range(11)} - {'4', '7'}
    assert found['test'] == {
        'used': ['0', '2'],
        'skipped': {'1': f'{pairs}/test/1.png is empty, or no ordinary file'},
        'held_out': False,
    }
    assert f'test: 1 bad pairs left out, 2 used (config.dataset.on_error=skip): {pairs}' in out
    page = (workdir / 'index.html').read_text()
    assert f'<td>4</td><td>{pairs}/train/4.png is cut off' in page


def test_a_run_resumes_with_its_pairs_whatever_became_of_the_files(whole, tmp_path, capsys):
    pairs = bad_pairs(tmp_path / 'pairs')
    config = tiny_config(pairs, num_steps=4, **SKIP)
    train_and_evaluate(config, tmp_path / 'run')
    before = read(tmp_path / 'run')
    (pairs / 'train' / '4.png').write_bytes((pairs / 'train' / '5.png').read_bytes())  # mended
    (pairs / 'train' / '7.png').unlink()
    (pairs / 'train' / '99.png').write_bytes((pairs / 'train' / '5.png').read_bytes())  # new
    capsys.readouterr()
    config.num_steps = 6
    train_and_evaluate(config, tmp_path / 'run')
    assert 'run/data.json, whatever became of the others since' in capsys.readouterr().out
    assert read(tmp_path / 'run') == before | {'steps': 6}
    # Step 4 was a last one once, and evaluated: else the rows are those of one run.
    rows, expected = metrics(tmp_path / 'run'), metrics(whole[1])
    for row, other in zip(rows, expected, strict=True):
        assert {k: v for k, v in row.items() if k in other} == other
    summary = evaluate_run(tmp_path / 'run', tmp_path / 'out', RunImages(split='train'))
    assert 'l1' in summary
    result = json.loads((tmp_path / 'out' / 'metrics.json').read_text())
    assert result['images'] == len(before['splits']['train']['used'])

    good = before['splits']['train']['used'][0]
    config.num_steps = 8
    whole_file = (pairs / 'train' / f'{good}.png').read_bytes()
    (pairs / 'train' / f'{good}.png').write_bytes(whole_file[:50])  # broke since
    with pytest.raises(DataError, match=rf'{good}\.png is cut off.*\(good when the run started'):
        train_and_evaluate(config, tmp_path / 'run')
    (pairs / 'train' / f'{good}.png').unlink()
    with pytest.raises(DataError, match=rf'1 of the .* pairs of train .* not there \({good}\)'):
        train_and_evaluate(config, tmp_path / 'run')
    # Test is there, and evaluated without train.
    assert 'l1' in evaluate_run(tmp_path / 'run', tmp_path / 'test')


def test_on_error_does_not_change_when_a_run_resumes(whole, trained):
    pairs, workdir = trained
    skip = tiny_config(pairs, num_steps=9, dataset__on_error='skip', **HELD)
    with pytest.raises(UserError, match=r"config.dataset.on_error: 'raise' -> 'skip'"):
        train_and_evaluate(skip, workdir)


def test_sets_of_any_size_are_read(tmp_path, monkeypatch):
    pairs = bad_pairs(tmp_path / 'pairs')
    config = tiny_config(pairs, dataset__on_error='skip')
    monkeypatch.setattr(preflight, 'DECODE_FIRST', 5)
    splits = discover.open_splits(config)
    assert 'train: all pairs are read once to find the bad ones' in preflight.report(splits, config)
    found = preflight.decode_all(splits, config)['train']
    assert set(found.skipped) == {'4', '7'} and len(found) == 9 and not found.loaded


def test_no_good_pair_at_all(tmp_path):
    (tmp_path / 'train').mkdir()
    for name in '123':
        (tmp_path / 'train' / f'{name}.png').write_bytes(b'')
    with pytest.raises(DataError, match=r'\.png is empty'):
        train_and_evaluate(tiny_config(tmp_path, dataset__on_error='skip'), tmp_path / 'run')
