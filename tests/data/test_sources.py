import hashlib
import os

import numpy as np
import pytest
from helpers.pictures import config, error, numbers, picture, save, side_by_side
from PIL import Image

from pix2pix_jax.data import discover, file_checks, held_out, hold_out, pipeline, preflight
from pix2pix_jax.errors import DataError, UserError

# ---------------------------------------------------------------- what is read


@pytest.mark.parametrize('extension', ['png', 'PNG', 'webp', 'jpg', 'jpeg', 'JPG'])
def test_side_by_side(tmp_path, extension):
    side_by_side(tmp_path / 'train', [f'{i}.{extension}' for i in (1, 2, 10)])
    side_by_side(tmp_path / 'test', [f'{i}.{extension}' for i in (7,)])
    splits = discover.open_splits(config(tmp_path))
    assert list(splits) == ['train', 'test']
    train = splits['train']
    assert train.names == ('1', '2', '10')
    assert len(train) == 3 and 'train' in repr(train)
    pair = train[0]
    assert set(pair) == {'input', 'target'}
    assert pair['input'].shape == pair['target'].shape == (16, 16, 3)
    assert pair['input'].dtype == np.uint8
    if extension.lower() == 'png':  # the others lose a little
        assert numbers(train) == [(1, 101), (2, 102), (3, 103)]
        np.testing.assert_array_equal(pair['target'], picture(101))


def test_direction(tmp_path):
    side_by_side(tmp_path / 'train', ['1.png'])
    a_to_b = discover.open_splits(config(tmp_path))['train'][0]
    b_to_a = discover.open_splits(config(tmp_path, **{'dataset.direction': 'BtoA'}))['train'][0]
    np.testing.assert_array_equal(a_to_b['input'], b_to_a['target'])
    np.testing.assert_array_equal(a_to_b['target'], b_to_a['input'])
    assert a_to_b['input'][0, 0, 0] == 1


# ---------------------------------------------------------------- val


def test_val_is_held_out_of_train_alone(tmp_path):
    side_by_side(tmp_path / 'train', [f'{i}.png' for i in range(20)])
    side_by_side(tmp_path / 'test', ['t.png'])
    assert 'val' not in discover.open_splits(config(tmp_path))
    held = []
    for seed in (0, 0, 1):
        splits = discover.open_splits(
            config(tmp_path, **{'dataset.val_fraction': 0.2, 'seed': seed})
        )
        assert list(splits) == ['train', 'val', 'test']
        train, val = set(splits['train'].names), set(splits['val'].names)
        assert train | val == {str(i) for i in range(20)} and not train & val
        assert val == {n for n in train | val if below(f'{seed}/{n}', 0.2)} and len(val) > 1
        assert splits['test'].names == ('t',)
        held.append(val)
    assert held[0] == held[1] != held[2]
    splits = discover.open_splits(config(tmp_path, **{'dataset.val_fraction': 0.001}))
    assert len(splits['val']) == 1


def test_drawings_of_one_emoji_are_held_out_together(tmp_path):
    """A man, a woman and a person of each profession: all of one is in train, or none."""
    things = {f'{i:X}' for i in range(0x1F33E, 0x1F352)}
    names = [f'{person}-200D-{thing}' for person in ('1F468', '1F469', '1F9D1') for thing in things]
    side_by_side(tmp_path / 'train', [f'{name}.png' for name in names])
    train = discover.open_splits(config(tmp_path))['train']
    built_in = config('', **{'dataset.name': 'openmoji', 'dataset.val_fraction': 0.3})
    parts = held_out.hold_out_of(train, built_in, hold_out.NEW_RUN, 'val')
    train, val = ({name.split('-')[-1] for name in part.names} for part in parts)
    assert train | val == things and val and not train & val


def list_of_three_each(root, inputs=6):
    """Writes train.csv: three targets of each input."""
    rows = []
    for i in range(inputs):
        save(root / 'in' / f'{i}.png', picture(i))
        for n in range(3):
            save(root / 'out' / f'{i}_{n}.png', picture(100 + i + n))
            rows.append(f'in/{i}.png,out/{i}_{n}.png')
    (root / 'train.csv').write_text('\n'.join(['input,target', *rows]))


def test_held_out_pairs_whose_input_train_has_are_warned_of(tmp_path):
    list_of_three_each(tmp_path)
    splits = discover.open_splits(config(tmp_path, **{'dataset.val_fraction': 0.3}))
    shared = [name for name in splits['val'].names if name[:6] in str(splits['train'].names)]
    (line,) = file_checks.shared_images(splits)
    assert line == (
        f'{len(shared)} of the {len(splits["val"])} pairs of val, which was held out of train, '
        'have an input that train has, too; a list of your own, val.csv, can keep inputs apart'
    )


@pytest.mark.parametrize('direction', ['AtoB', 'BtoA'])
@pytest.mark.parametrize('column', ['input', 'target'])
@pytest.mark.parametrize('split', ['val', 'test'])
def test_a_list_of_ones_own_that_has_images_of_train_is_warned_of(
    tmp_path, split, column, direction
):
    """Whatever leads to them: equal paths, others, or links."""
    for i in range(12):
        save(tmp_path / f'{i}.png', picture(i))
    os.symlink('2.png', tmp_path / 'link.png')
    rows = {'train': ['0.png,6.png', '1.png,7.png', '2.png,8.png']}
    rows[split] = ['./0.png,9.png', 'link.png,10.png', '3.png,11.png']
    if column == 'target':
        rows = {s: [','.join(row.split(',')[::-1]) for row in found] for s, found in rows.items()}
    for name, found in rows.items():
        (tmp_path / f'{name}.csv').write_text('\n'.join(['input,target', *found]))
    splits = discover.open_splits(config(tmp_path, **{'dataset.direction': direction}))
    kind = column if direction == 'AtoB' else {'input': 'target', 'target': 'input'}[column]
    assert file_checks.shared_images(splits) == [
        f'2 of the 3 pairs of {split} have {"an" if kind == "input" else "a"} {kind} that train '
        'has, too: what is measured on these says little of new images'
    ]


def test_held_out_targets_that_links_of_train_lead_to_are_warned_of(tmp_path):
    for i in range(12):
        save(tmp_path / 'train' / 'A' / f'{i}.png', picture(i))
        save(tmp_path / 'clean' / f'{i}.png', picture(100 + i))
    (tmp_path / 'train' / 'B').mkdir()
    for i in range(12):
        os.symlink(f'../../clean/{i % 3}.png', tmp_path / 'train' / 'B' / f'{i}.png')
    splits = discover.open_splits(config(tmp_path, **{'dataset.val_fraction': 0.2}))
    (line,) = file_checks.shared_images(splits)
    assert 'pairs of val, which was held out of train, have a target that train has, too' in line


def test_images_of_their_own_are_not_warned_of(tmp_path):
    for i in range(18):
        save(tmp_path / f'{i}.png', picture(i))
    rows = [f'{i}.png,{9 + i}.png' for i in range(9)]
    (tmp_path / 'train.csv').write_text('\n'.join(['input,target', *rows]))
    splits = discover.open_splits(config(tmp_path, **{'dataset.val_fraction': 0.3}))
    assert file_checks.shared_images(splits) == []
    side_by_side(tmp_path / 'both' / 'train', [f'{i}.png' for i in range(9)])
    splits = discover.open_splits(config(tmp_path / 'both', **{'dataset.val_fraction': 0.3}))
    assert 'val' in splits and file_checks.shared_images(splits) == []


def below(text, fraction):
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) / 2**256 < fraction


def test_val_folder_wins_over_val_fraction(tmp_path):
    side_by_side(tmp_path / 'train', ['1.png', '2.png'])
    side_by_side(tmp_path / 'val', ['v.png'])
    splits = discover.open_splits(config(tmp_path, **{'dataset.val_fraction': 0.5}))
    assert splits['val'].names == ('v',) and len(splits['train']) == 2


def test_only_test(tmp_path):
    side_by_side(tmp_path / 'test', ['1.png'])
    assert list(discover.open_splits(config(tmp_path, **{'dataset.val_fraction': 0.5}))) == ['test']


# ---------------------------------------------------------------- memory, sizes, report


@pytest.mark.parametrize('method', ['resize_then_crop', 'box'])
def test_decode_all_keeps_pairs_in_memory(tmp_path, monkeypatch, method):
    for split in ('train', 'val'):
        side_by_side(tmp_path / split, [f'{i}.png' for i in range(7)])
    fields = {'dataset.jitter_method': method}
    c, on, off = (
        config(tmp_path, **fields, **{'dataset.cache': cache}) for cache in ('auto', 'on', 'off')
    )
    splits = discover.open_splits(c)
    expected = numbers(splits['val'])
    batch = next(pipeline.train_batches(splits['train'], c))
    kept = [preflight.decode_all(splits, c), preflight.decode_all(splits, on)]
    lost = [preflight.decode_all(splits, off)]
    monkeypatch.setattr(preflight, 'DECODE_FIRST', 6)
    lost.append(preflight.decode_all(splits, c))
    kept.append(preflight.decode_all(splits, on))
    for path in tmp_path.glob('*/*'):
        path.unlink()
    for splits in kept:
        assert numbers(splits['val']) == expected
        found = next(pipeline.train_batches(splits['train'], c))
        np.testing.assert_array_equal(found['input'], batch['input'])
    for splits in lost:
        with pytest.raises(DataError, match='cannot be read'):
            splits['val'][0]
        with pytest.raises(DataError, match='cannot be read'):
            next(pipeline.train_batches(splits['train'], c))


def test_training_pairs_are_kept_at_their_loaded_size(tmp_path):
    side_by_side(tmp_path / 'train', ['1.png'])
    c = config(tmp_path, **{'dataset.jitter': 1.5})
    source = preflight.decode_all(discover.open_splits(c), c)['train']
    assert source.loaded[0]['input'].shape == (24, 24, 3) and not source.decoded
    assert source.loaded[0]['input'].dtype == np.uint8
    assert source[0]['input'].shape == (16, 16, 3)  # as test images are made of it


def test_auto_cache_needs_a_quarter_of_memory(tmp_path, monkeypatch):
    """For all splits together, those at the loaded size that are loaded."""
    for split in ('train', 'val', 'test'):
        side_by_side(tmp_path / split, ['1.png', '2.png'])
    c = config(tmp_path, **{'dataset.jitter': 1.5})
    splits = discover.open_splits(c)
    train, val = 2 * 24 * 24 * 6, 2 * 16 * 16 * 6
    for room, kept in (
        (train + 2 * val, {'train', 'val', 'test'}),
        (train + 2 * val - 1, {'train', 'val'}),
        (train + val - 1, {'train'}),
        (train - 1, {'val', 'test'}),
        (val - 1, set()),
    ):
        monkeypatch.setattr(os, 'sysconf', lambda name: 4 * room if 'PHYS' in name else 1)  # noqa: B023
        found = preflight.decode_all(splits, c)
        assert {name for name, s in found.items() if s.decoded or s.loaded} == kept
        lines = [line for line in preflight.report(splits, c) if 'takes about' in line]
        assert {line.split()[0] for line in lines if line.endswith('kept in memory')} == kept
        assert sum('read from disk' in line for line in lines) == 3 - len(kept)
        monkeypatch.setattr(os, 'sysconf', lambda name: 12 * room if 'PHYS' in name else 1)  # noqa: B023
        shared = preflight.decode_all(splits, c, processes=3)
        assert {name for name, s in shared.items() if s.decoded or s.loaded} == kept
        assert lines == [x for x in preflight.report(splits, c, 0, 3) if 'takes about' in x]


@pytest.mark.parametrize('cache', ['auto', 'on'])
def test_pairs_that_processes_read_are_not_kept_beside_them(tmp_path, cache):
    """They took memory, and nobody used them."""
    for split in ('train', 'val'):
        side_by_side(tmp_path / split, ['1.png', '2.png'])
    c = config(tmp_path, **{'dataset.workers': 2, 'dataset.cache': cache})
    splits = discover.open_splits(c)
    found = preflight.decode_all(splits, c)
    assert {name for name, s in found.items() if s.decoded or s.loaded} == {'val'}
    places = {line.split()[0]: line for line in preflight.report(splits, c) if 'MiB' in line}
    assert places['train'].endswith(': read from disk at every use')
    assert places['val'].endswith(': kept in memory')
    c.dataset.cache = 'device'  # they have nothing to read there
    assert preflight.decode_all(splits, c)['train'].on_device


def test_report(tmp_path):
    side_by_side(tmp_path / 'train', ['1.png', '2.png'], width=20)
    side_by_side(tmp_path / 'train', ['3.png'], width=30)
    side_by_side(tmp_path / 'test', ['1.png'])
    c = config(tmp_path, **{'dataset.direction': 'BtoA'})
    lines = preflight.report(discover.open_splits(c), c)
    assert lines[:3] == [
        f'train: 3 pairs of 20x16 to 30x16 pixels (width x height), {tmp_path}/train',
        f'test: 1 pairs of 16x16 pixels (width x height), {tmp_path}/test',
        'pairs side by side: input = B (right half), target = A (left half)',
    ]


# ---------------------------------------------------------------- errors


def test_no_path(tmp_path, monkeypatch):
    monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
    assert '--config.dataset.path=DIR' in error('', UserError)
    message = error('', UserError, **{'dataset.name': 'maps'})
    assert 'python scripts/prepare_data.py maps' in message
    assert '--config.dataset.path=DIR' in message


def test_wrong_path(tmp_path):
    assert 'nowhere: does not exist' in error(tmp_path / 'nowhere')
    (tmp_path / 'file').write_text('')
    assert 'file: is not a folder' in error(tmp_path / 'file')


def test_odd_width_names_the_file(tmp_path):
    side_by_side(tmp_path / 'train', ['1.png', '2.png'])
    save(tmp_path / 'train' / '3.png', picture(3, 33))
    message = error(tmp_path)
    assert message.startswith(f'{tmp_path}/train/3.png is 33 pixels wide') and 'even' in message


def test_a_pair_one_pixel_wide_is_named_too(tmp_path):
    side_by_side(tmp_path / 'train', [f'{i}.png' for i in range(3)])
    Image.fromarray(picture(1, width=1)).save(tmp_path / 'train' / 'narrow.png')
    assert 'narrow.png is 1 pixels wide: side by side' in error(tmp_path)
    splits = discover.open_splits(config(tmp_path))
    assert preflight.report(splits, config(tmp_path))[0].startswith('train: 4 pairs of 16x16 ')


def test_a_size_that_is_not_taken_names_files_with_braces_too(tmp_path):
    save(tmp_path / 'train' / 'A' / '{id}.png', picture(1, width=24))
    save(tmp_path / 'train' / 'B' / '{id}.png', picture(2, width=24))
    message = error(tmp_path, **{'dataset.preprocess': 'none', 'dataset.jitter': 1.0})
    assert "{id}.png is 24x16: config.dataset.preprocess='none' takes images" in message
    assert message.endswith('of config.image_size alone, 16x16')


def test_sizes_of_a_pair_differ(tmp_path):
    save(tmp_path / 'trainA' / '1.png', picture(1, 16, 20))
    save(tmp_path / 'trainB' / '1.png', picture(1, 16, 16))
    assert error(tmp_path) == (
        f'{tmp_path}/trainA/1.png is 16x20 and {tmp_path}/trainB/1.png is 16x16: '
        'input and target have one size, or one proportion (within 1%)'
    )


def test_too_few_to_hold_out(tmp_path):
    side_by_side(tmp_path / 'train', ['1.png'])
    assert 'too few to hold some out' in error(tmp_path, **{'dataset.val_fraction': 0.1})


@pytest.mark.parametrize('cache', ['auto', 'on', 'off'])
def test_bad_files_are_all_named(tmp_path, cache):
    names = [f'{i}.png' for i in range(6)]
    side_by_side(tmp_path / 'train', names)
    train = tmp_path / 'train'
    whole = (train / '0.png').read_bytes()
    fields = {'dataset.cache': cache}

    (train / '1.png').write_bytes(whole[: len(whole) // 2])  # truncated
    assert error(tmp_path, **fields).startswith(f'{train}/1.png is cut off: ')
    (train / '3.png').write_bytes(b'')
    (train / '4.png').write_text('not an image')
    message = error(tmp_path, **fields)
    assert message.startswith(f'3 of 6 pairs in {train} are bad: {train}/1.png is cut off')
    assert f'{train}/3.png is empty' in message
    assert f'{train}/4.png is no JPEG, PNG, WebP, TIFF or NumPy image' in message
    (train / '5.png').write_text('not an image')
    message = error(tmp_path, **fields)
    assert message.startswith('4 of 6 pairs') and message.endswith(
        '; …; --config.dataset.on_error=skip leaves them out'
    )


# ---------------------------------------------------------------- real pairs


def test_facades():
    folder = os.environ.get('PIX2PIX_FACADES')
    if not folder:
        pytest.skip('PIX2PIX_FACADES is not set to the folder of the facades archive')
    c = config(folder, **{'dataset.direction': 'BtoA'})
    splits = discover.open_splits(c)
    assert {split: len(source) for split, source in splits.items()} == {'train': 400, 'test': 106}
    assert splits['train'].names == tuple(str(i) for i in range(1, 401))
    assert preflight.found_image_size(splits['train'], c) == (256, 256)
    test = preflight.decode_all({'test': splits['test']}, c)['test']
    saturation = {
        key: np.mean([np.ptp(pair[key].astype(int), axis=-1).mean() for pair in test.decoded])
        for key in ('input', 'target')
    }
    assert saturation['input'] > 100 > 50 > saturation['target']  # labels in, photos out
