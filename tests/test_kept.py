"""dataset.on_error=skip: found at the start, kept with the run, the same when it goes on."""

import json
import shutil

import pytest
from PIL import Image
from runs import make_pairs, metrics, tiny_config

from pix2pix_jax import evaluate
from pix2pix_jax.data import sources, survey
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.train import train_and_evaluate

SKIP = {'dataset__on_error': 'skip', 'dataset__val_fraction': 0.3}


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


def kept(workdir):
    return json.loads((workdir / 'pairs.json').read_text())


def test_bad_pairs_are_left_out_counted_and_kept(whole, tmp_path, capsys):
    pairs, workdir = whole
    train_and_evaluate(tiny_config(pairs, num_steps=1, **SKIP), tmp_path)
    out = capsys.readouterr().out
    found = kept(tmp_path)
    assert found == kept(workdir)
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
    }
    assert f'test: 1 bad pairs left out, 2 used (config.dataset.on_error=skip): {pairs}' in out
    page = (workdir / 'index.html').read_text()
    assert f'<td>4</td><td>{pairs}/train/4.png is cut off' in page


def test_a_run_goes_on_with_its_pairs_whatever_became_of_the_files(whole, tmp_path, capsys):
    pairs = bad_pairs(tmp_path / 'pairs')
    config = tiny_config(pairs, num_steps=4, **SKIP)
    train_and_evaluate(config, tmp_path / 'run')
    before = kept(tmp_path / 'run')
    (pairs / 'train' / '4.png').write_bytes((pairs / 'train' / '5.png').read_bytes())  # mended
    (pairs / 'train' / '7.png').unlink()
    (pairs / 'train' / '99.png').write_bytes((pairs / 'train' / '5.png').read_bytes())  # new
    capsys.readouterr()
    config.num_steps = 6
    train_and_evaluate(config, tmp_path / 'run')
    assert 'run/pairs.json, whatever became of the others since' in capsys.readouterr().out
    assert kept(tmp_path / 'run') == before
    # Step 4 was a last one once, and evaluated: else the rows are those of one run.
    rows, expected = metrics(tmp_path / 'run'), metrics(whole[1])
    for row, other in zip(rows, expected, strict=True):
        assert {k: v for k, v in row.items() if k in other} == other
    summary = evaluate.evaluate_run(tmp_path / 'run', 'train', 'last', tmp_path / 'out')
    assert 'l1' in summary
    result = json.loads((tmp_path / 'out' / 'metrics.json').read_text())
    assert result['images'] == len(before['train']['used'])

    good = before['train']['used'][0]
    config.num_steps = 8
    whole_file = (pairs / 'train' / f'{good}.png').read_bytes()
    (pairs / 'train' / f'{good}.png').write_bytes(whole_file[:50])  # broke since
    with pytest.raises(DataError, match=rf'{good}\.png is cut off.*\(good when the run started'):
        train_and_evaluate(config, tmp_path / 'run')
    (pairs / 'train' / f'{good}.png').unlink()
    with pytest.raises(DataError, match=rf'1 of the .* pairs of train .* not there \({good}\)'):
        train_and_evaluate(config, tmp_path / 'run')
    # Test is there, and evaluated without train.
    assert 'l1' in evaluate.evaluate_run(tmp_path / 'run', 'test', 'last', tmp_path / 'test')


def test_on_error_does_not_change_when_a_run_goes_on(whole, tmp_path):
    pairs, workdir = whole
    with pytest.raises(UserError, match=r"config.dataset.on_error: 'skip' -> 'raise'"):
        train_and_evaluate(tiny_config(pairs, **SKIP | {'dataset__on_error': 'raise'}), workdir)
    good = make_pairs(tmp_path / 'pairs', {'train': 3})
    train_and_evaluate(tiny_config(good, num_steps=1), tmp_path / 'run')
    with pytest.raises(UserError, match=r"config.dataset.on_error: 'raise' -> 'skip'"):
        train_and_evaluate(tiny_config(good, dataset__on_error='skip'), tmp_path / 'run')
    assert not (tmp_path / 'run' / 'pairs.json').exists()


@pytest.mark.parametrize('text', ['', '[]', '{"train": {}}', '{"train": {"used": 3}}'])
def test_a_list_that_no_run_wrote_is_named(whole, tmp_path, text):
    pairs, workdir = whole
    shutil.copytree(workdir, tmp_path / 'run')
    (tmp_path / 'run' / 'pairs.json').write_text(text)
    with pytest.raises(DataError, match=r'run/pairs\.json is damaged'):
        train_and_evaluate(tiny_config(pairs, **SKIP), tmp_path / 'run')
    (tmp_path / 'run' / 'pairs.json').unlink()
    with pytest.raises(DataError, match=r'run/pairs\.json is missing'):
        train_and_evaluate(tiny_config(pairs, **SKIP), tmp_path / 'run')


def test_sets_of_any_size_are_read(tmp_path, monkeypatch):
    pairs = bad_pairs(tmp_path / 'pairs')
    config = tiny_config(pairs, dataset__on_error='skip')
    monkeypatch.setattr(survey, 'DECODE_FIRST', 5)
    splits = sources.open_splits(config)
    assert 'train: all pairs are read once to find the bad ones' in survey.report(splits, config)
    found = survey.decode_all(splits['train'], config)
    assert set(found.skipped) == {'4', '7'} and len(found) == 9 and not found.decoded


def test_no_good_pair_at_all(tmp_path):
    (tmp_path / 'train').mkdir()
    for name in '123':
        (tmp_path / 'train' / f'{name}.png').write_bytes(b'')
    with pytest.raises(DataError, match=r'\.png is empty'):
        train_and_evaluate(tiny_config(tmp_path, dataset__on_error='skip'), tmp_path / 'run')
