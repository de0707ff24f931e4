"""scripts/inspect_data.py as a user runs it."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from helpers import ROOT
from PIL import Image

from pix2pix_jax.data.formats import orientation
from pix2pix_jax.data.label_colors import FACADES

SCRIPT = ROOT / 'scripts' / 'inspect_data.py'


def run(*arguments, cwd, config='folder'):
    words = [sys.executable, SCRIPT, f'--config=configs/{config}.py', '--config.image_size=16']
    words += ['--config.dataset.val_fraction=0.0']
    return subprocess.run([*words, *arguments], capture_output=True, text=True, cwd=cwd)


@pytest.fixture
def folder(tmp_path):
    """Four pairs of train, three of test: label maps (B) of two classes, and noise (A)."""
    rng = np.random.default_rng(0)
    colours = np.uint8([FACADES.colours['facade'], FACADES.colours['window']])
    for split, count in (('train', 4), ('test', 3)):
        (tmp_path / 'pairs' / split).mkdir(parents=True)
        for n in range(count):
            classes = rng.permutation(np.arange(16 * 16) < 64).reshape(16, 16)  # a quarter window
            photo = rng.integers(0, 256, (16, 16, 3), np.uint8)
            pair = np.concatenate([photo, colours[classes.astype(int)]], axis=1)
            Image.fromarray(pair).save(tmp_path / 'pairs' / split / f'{n}.png')
    return tmp_path


@pytest.mark.e2e
def test_good_data(folder):
    done = run('--config.dataset.path=pairs', '--config.dataset.direction=BtoA', cwd=folder)
    assert (done.returncode, done.stderr) == (0, '')
    for line in (
        'train: 4 pairs',
        'test: 3 pairs',
        '  sizes (width x height): 16x16 (4)',
        '  nothing suspicious in single pairs',
        '    a label map: 0/48/255 75.0%, 0/128/255 25.0%',
        'no image is there twice',
    ):
        assert line in done.stdout.splitlines()
    assert '  input: PNG RGB (4); values 0 to 255, mean ' in done.stdout
    assert done.stdout.count('a label map') == 2  # the photos are none
    picture = pathlib.Path(done.stdout.splitlines()[-1].split(': ')[0])
    assert picture.with_name('report.txt').read_text() == done.stdout.rsplit('\n\n', 1)[0] + '\n'
    assert os.listdir(folder) == ['pairs']
    with Image.open(picture) as grid:
        assert grid.width > 6 * 128 and grid.height > 3 * 128
    for _ in range(2):  # its own is replaced
        assert run('--config.dataset.path=pairs', '--output=my.png', cwd=folder).returncode == 0
    assert sorted(os.listdir(folder)) == ['my.png', 'pairs']


@pytest.mark.e2e
def test_known_classes_have_names(folder):
    fields = '--config.dataset.path=pairs', '--config.dataset.direction=BtoA'
    done = run(*fields, '--config.dataset.name=facades', cwd=folder)
    assert '    a label map: facade 75.0%, window 25.0%' in done.stdout.splitlines()


@pytest.mark.e2e
def test_what_is_suspicious_is_said(folder):
    train, test = folder / 'pairs/train', folder / 'pairs/test'
    shutil.copy(train / '0.png', test / 'same.png')
    shutil.copy(train / '1.png', train / 'twin.png')
    noise = np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(np.concatenate([noise, noise], axis=1)).save(train / 'equal.png')
    gray = np.full((16, 16, 3), 128, np.uint8)
    Image.fromarray(np.concatenate([noise // 2, gray], axis=1)).save(test / 'flat.png')
    Image.fromarray(np.tile(noise[..., 0], (2, 3))[:30, :40]).save(test / 'odd.jpg')
    (train / 'broken.png').write_bytes((train / '0.png').read_bytes()[:100])
    done = run('--config.dataset.path=pairs', cwd=folder)
    assert (done.returncode, done.stderr) == (0, '')
    for words in (
        'bad: pairs/train/broken.png is cut off',
        'suspicious: input equal to target in 1: equal',
        'suspicious: target of one colour in 1: flat',
        'suspicious: 1 times the same input in both train and test: train/0 = test/same',
        'suspicious: 1 times the same target within train: 1 = twin',
        'sizes (width x height): 16x16 (5), 20x30 (1)',
        'PNG RGB (5), JPEG L (1)',
    ):
        assert words in done.stdout.replace(f'{folder}/', ''), words


@pytest.mark.e2e
@pytest.mark.parametrize(
    'arguments,status,words',
    [
        ((), 2, 'config.dataset.path is empty'),
        (('--config.dataset.path=nowhere',), 1, 'nowhere: does not exist'),
        (('--config.dataset.path=pairs', '--output=mine.png'), 2, 'mine.png is another file'),
        (('--config.dataset.path=pairs', '--config.batch_size=0'), 2, 'config.batch_size=0'),
        (('--config.dataset.path=pairs', '--dry_run'), 2, "flag 'dry_run'"),
    ],
)
def test_a_users_mistake_is_one_line(folder, arguments, status, words):
    Image.new('L', (3, 3)).save(folder / 'mine.png')
    before = (folder / 'mine.png').read_bytes()
    done = run(*arguments, cwd=folder)
    assert done.returncode == status and words in done.stderr and done.stderr.count('\n') == 1
    assert (folder / 'mine.png').read_bytes() == before


@pytest.mark.e2e
def test_plain_photos(folder):
    done = run('--config.dataset.path=pairs', cwd=folder, config='bw2color')
    assert (done.returncode, done.stderr) == (0, '')
    assert "input = the photo's lightness" in done.stdout and '  target: PNG RGB (4)' in done.stdout
    assert '  sizes (width x height): 32x16 (4)' in done.stdout.splitlines()
    with Image.open(done.stdout.splitlines()[-1].split(': ')[0]) as grid:
        colours = np.asarray(grid)[22:, 132:260].reshape(-1, 3)
    assert np.ptp(colours, axis=1).max() > 50  # the target is shown in RGB


@pytest.mark.e2e
def test_values_are_those_of_the_files(tmp_path):
    """Not what a range makes of them: a wrong one is seen, and said."""
    for side, values in (('A', [0, 5000]), ('A2', [7, 9]), ('B', [100, 300])):
        (tmp_path / 'pairs' / 'train' / side).mkdir(parents=True)
        image = np.resize(np.array(values, np.uint16), (16, 16))
        np.save(tmp_path / 'pairs' / 'train' / side / '1.npy', image)
    words = ['--config.generator.input_channels=2', '--config.generator.output_channels=1']
    words += ['--config.dataset.input_range=0:4095,0:65535', '--config.dataset.target_range=0:4095']
    done = run('--config.dataset.path=pairs', *words, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, '')
    assert 'input: NumPy 1 x uint16 + NumPy 1 x uint16 (1); values 0 to 5000,' in done.stdout
    assert 'target: NumPy 1 x uint16 (1); values 100 to 300, mean 200' in done.stdout
    beyond = [line for line in done.stdout.splitlines() if 'beyond' in line]
    assert beyond == ['  suspicious: input with values beyond config.dataset.input_range in 1: 1']
    assert 'nothing suspicious' not in done.stdout


@pytest.mark.e2e
def test_a_sliver_of_the_range_and_class_indices(tmp_path):
    y, x = np.mgrid[0:16, 0:16]
    for side, image in (('A', (x + y) // 4), ('B', (x + y) * 130)):
        (tmp_path / 'pairs' / 'train' / side).mkdir(parents=True)
        image = image.astype(np.uint8 if side == 'A' else np.uint16)
        Image.fromarray(image).save(tmp_path / 'pairs' / 'train' / side / '1.png')
    done = run('--config.dataset.path=pairs', '--config.generator.output_channels=1', cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, '')
    assert 'nothing suspicious' not in done.stdout
    said = [line for line in done.stdout.splitlines() if line.startswith('  suspicious: ')]
    assert len(said) == 2
    assert 'inputs: gray values 0 to 7 look like class indices; ' in said[0]
    assert 'input_classes=8 takes' in said[0]
    assert 'targets: 99.8% of the values are 0 to 3900, a sliver of 0:65535 (uint16)' in said[1]
    assert '--config.dataset.target_range=0:4000 would fill it' in said[1]
    fields = ['--config.dataset.input_classes=8', '--config.generator.input_channels=8']
    fields += ['--config.generator.output_channels=1', '--config.dataset.target_range=0:4000']
    done = run('--config.dataset.path=pairs', *fields, cwd=tmp_path)
    assert '  nothing suspicious in single pairs' in done.stdout.splitlines()


@pytest.mark.e2e
def test_the_values_of_halves_are_those_of_each(tmp_path):
    """Where a range is given, they are read anew: A's are not B's."""
    (tmp_path / 'pairs' / 'train').mkdir(parents=True)
    pair = np.concatenate([np.full((16, 16, 3), 10, np.uint8), np.full((16, 16, 3), 200, np.uint8)])
    pair = np.concatenate(np.split(pair, 2), axis=1)
    pair[0, 0], pair[0, -1] = 20, 190
    Image.fromarray(pair).save(tmp_path / 'pairs' / 'train' / '1.png')
    ranges = ['--config.dataset.input_range=0:25', '--config.dataset.target_range=150:200']
    done = run('--config.dataset.path=pairs', *ranges, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, '')
    assert '  input: PNG RGB (1); values 10 to 20, mean 10' in done.stdout
    assert '  target: PNG RGB (1); values 190 to 200, mean 200' in done.stdout


@pytest.mark.e2e
def test_soft_edges_are_no_label_map(tmp_path):
    """Each drawing has few shades, all of them together have many."""
    for n in range(8):
        (tmp_path / 'pairs' / 'train').mkdir(parents=True, exist_ok=True)
        shades = np.append(np.arange(n, 250, 16), [0, 255]).astype(np.uint8)
        drawing = shades[np.arange(16 * 16).reshape(16, 16) % len(shades)]
        noise = np.random.default_rng(n).integers(0, 256, (16, 16), np.uint8)
        pair = np.concatenate([drawing, noise], axis=1)
        Image.fromarray(pair).save(tmp_path / 'pairs' / 'train' / f'{n}.png')
    done = run('--config.dataset.path=pairs', cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, '')
    assert 'a label map' not in done.stdout


@pytest.mark.e2e
def test_no_data_and_masked_values_are_no_values(tmp_path):
    y, x = np.mgrid[0:16, 0:16]
    for folder in ('in', 'out', 'mask'):
        (tmp_path / 'pairs' / folder).mkdir(parents=True)
    for i in range(4):
        depth = (100 * y + x + i).astype(np.float32)
        np.save(tmp_path / 'pairs' / 'in' / f'{i}.npy', np.where(x < 3, -9999, depth))
        target = np.where(x < 3, -9999, np.where(x > 12, 1e6, depth))
        np.save(tmp_path / 'pairs' / 'out' / f'{i}.npy', np.where(i == 2, -9999, target))
        mask = (x <= 12).astype(np.uint8)
        Image.fromarray(mask).save(tmp_path / 'pairs' / 'mask' / f'{i}.png')
    words = ['input_pattern=in/*.npy', 'target_pattern=out/*.npy', 'mask=mask/*.png']
    words += ['nodata=-9999', 'input_range=0:1600', 'target_range=0:1600']
    words = [f'--config.dataset.{word}' for word in words]
    words += ['--config.generator.input_channels=1', '--config.generator.output_channels=1']
    done = run('--config.dataset.path=pairs', *words, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, '')
    pairing = 'pairs by patterns: input = in/*.npy, target = out/*.npy, mask = mask/*.png'
    assert pairing in done.stdout.splitlines()
    assert 'beyond' not in done.stdout and '-9999' not in done.stdout and 'nan' not in done.stdout
    lows = re.findall(r'(input|target): NumPy .*; values (\d+) to (\d+)', done.stdout)
    assert {name for name, _, _ in lows} == {'input', 'target'}
    assert all(int(low) >= 3 and int(high) <= 1518 for _, low, high in lows)


@pytest.mark.e2e
def test_pairs_of_which_exif_turns_one_image(tmp_path):
    exif = Image.Exif()
    exif[orientation.TAG] = 6
    for side, options in (('A', {'exif': exif}), ('B', {})):
        (tmp_path / 'pairs/train' / side).mkdir(parents=True)
        noise = np.random.default_rng(len(options)).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / 'pairs/train' / side / '1.png', **options)
    done = run('--config.dataset.path=pairs', cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, '')
    assert 'in 1 pair (as pairs/train/A/1.png and ' in done.stdout


@pytest.mark.e2e
def test_what_is_left_out_and_two_sizes_are_listed(tmp_path):
    rng = np.random.default_rng(0)
    for side, size, names in (('A', (16, 20), range(60)), ('B', (32, 40), [0, 1, 2, 77])):
        (tmp_path / 'pairs' / 'train' / side).mkdir(parents=True)
        for i in names:
            image = Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8))
            image.save(tmp_path / 'pairs' / 'train' / side / f'{i}.png')
    done = run('--config.dataset.path=pairs', '--config.dataset.on_error=skip', cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, '')
    lines = done.stdout.splitlines()
    assert 'inputs are 20x16, targets 40x32: both are resized to 16x16; translations have' in (
        done.stdout
    )
    assert '  sizes (width x height): 20x16 and 40x32 (3)' in lines
    assert '  left out (config.dataset.on_error=skip): 58 names' in lines
    assert f'    3 is not in {tmp_path}/pairs/train/B' in done.stdout or (
        '    3 is not in pairs/train/B' in lines
    )
    assert '    and 8 others' in lines
    assert sum(' is not in ' in line for line in lines) == 50
