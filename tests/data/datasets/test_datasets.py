"""The paper's data sets through tensorflow-datasets, from archives of the published layout."""

import hashlib
import io
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest
from helpers import ROOT
from PIL import Image

from pix2pix_jax.config import default_config
from pix2pix_jax.data import discover, pipeline, preflight
from pix2pix_jax.data.catalogue import builder
from pix2pix_jax.data.catalogue.published import PUBLISHED
from pix2pix_jax.data.datasets import cityscapes, prepare
from pix2pix_jax.errors import DataError, UserError

COUNTS = {'train': 11, 'val': 2, 'test': 3}


@pytest.fixture(autouse=True)
def data_dir(tmp_path, monkeypatch):
    monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'tfds'))
    return tmp_path / 'tfds'


@pytest.fixture
def folder(tmp_path):
    """Pairs in the published layout, facades/SPLIT/N.jpg from 1."""
    rng = np.random.default_rng(0)
    for split, count in COUNTS.items():
        (tmp_path / 'facades' / split).mkdir(parents=True)
        for n in range(1, count + 1):
            image = Image.fromarray(rng.integers(0, 256, (16, 32, 3), np.uint8))
            image.save(tmp_path / 'facades' / split / f'{n}.jpg')
    return tmp_path / 'facades'


def archive(folder, kind):
    return pathlib.Path(shutil.make_archive(str(folder), kind, folder.parent, folder.name))


def config(path=''):
    config = default_config()
    config.dataset.name, config.dataset.path = 'facades', str(path)
    config.image_size = (16, 16)
    return config


@pytest.mark.parametrize('kind', ['gztar', 'tar', 'zip', 'folder', 'inner folder'])
def test_the_pairs_are_those_of_the_folder(folder, kind):
    source = {'folder': folder, 'inner folder': folder.parent}.get(kind) or archive(folder, kind)
    assert prepare.prepare('facades', str(source)) == builder.folder_of('facades')
    here, there = discover.open_splits(config()), discover.open_splits(config(folder))
    assert list(here) == list(COUNTS)
    for split, count in COUNTS.items():
        assert here[split].names == there[split].names == tuple(str(n + 1) for n in range(count))
        assert here[split].shapes(0) == ((16, 16), (16, 16))
        for i in range(count):
            for key in ('input', 'target'):
                np.testing.assert_array_equal(here[split][i][key], there[split][i][key])
    assert not list(builder.data_dir().glob('downloads/pix2pix/.facades-*'))  # unpacked


@pytest.mark.parametrize('workers', [0, 1])
def test_the_batches_are_those_of_the_folder(folder, workers):
    prepare.prepare('facades', str(folder))
    batches = []
    for path, count in (('', workers), (folder, 0)):
        c = config(path)
        c.dataset.workers = count
        batches.append(next(pipeline.train_batches(discover.open_splits(c)['train'], c, 3)))
    for key in ('input', 'target'):
        np.testing.assert_array_equal(batches[0][key], batches[1][key])


def test_what_is_prepared_stays(folder, data_dir):
    prepare.prepare('facades', str(folder))
    (left,) = data_dir.glob('downloads/pix2pix/.facades.lock')
    (left.parent / '.facades-killed').mkdir()
    before = {path: path.stat().st_mtime_ns for path in builder.folder_of('facades').iterdir()}
    prepare.prepare('facades')
    with pytest.raises(UserError, match='is there already: remove it to prepare facades anew'):
        prepare.prepare('facades', str(folder))
    assert before == {p: p.stat().st_mtime_ns for p in builder.folder_of('facades').iterdir()}
    incomplete = builder.folder_of('facades').parent / 'incomplete.ABCDEF_1.0.0'
    incomplete.mkdir()
    (builder.folder_of('facades') / 'dataset_info.json').unlink()
    prepare.prepare('facades', str(folder))
    assert not (left.parent / '.facades-killed').exists() and not incomplete.exists()
    assert builder.open_prepared('facades')


def test_a_damaged_data_set_is_one_line(folder):
    prepare.prepare('facades', str(folder))
    (builder.folder_of('facades') / 'dataset_info.json').write_text('{')
    with pytest.raises(DataError, match='is damaged: remove it and prepare it anew'):
        discover.open_splits(config())


def test_two_at_once_both_succeed(folder):
    code = (
        'import sys, pathlib; from pix2pix_jax.data.datasets import prepare; '
        "prepare._download = lambda *_: pathlib.Path(sys.argv[1]); prepare.prepare('facades')"
    )
    command = [sys.executable, '-c', code, str(archive(folder, 'gztar'))]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [one.communicate()[1] for one in both] == ['', '']
    assert len(discover.open_splits(config())['train']) == COUNTS['train']


def test_a_folder_of_several_data_sets(folder, tmp_path):
    (tmp_path / 'maps/train').mkdir(parents=True)
    shutil.copy(folder / 'train/1.jpg', tmp_path / 'maps/train/only.jpg')
    prepare.prepare('maps', str(tmp_path))
    assert list(builder.open_prepared('maps')['train']) == ['only']
    for name in ('edges2shoes', 'cityscapes'):
        with pytest.raises(DataError, match=f'holds no folder train .* no {name}/train'):
            prepare.prepare(name, str(tmp_path))


@pytest.mark.parametrize('kind', ['folder', 'zip'])
@pytest.mark.parametrize('split', ['train', 'val'])
@pytest.mark.parametrize('sides', [('{}/A', '{}/B'), ('{}/a', '{}/b'), ('A/{}', 'B/{}')])
def test_images_in_two_folders_are_not_cut(folder, split, sides, kind):
    for side in sides:
        shutil.copytree(folder / 'test', folder / side.format(split))
    source = folder if kind == 'folder' else archive(folder, kind)
    with pytest.raises(DataError) as raised:
        prepare.prepare('facades', str(source))
    a, b = (side.format(split) for side in sides)
    assert str(raised.value) == (
        f'{source} has A and B in folders of their own, {a}/ and {b}/: facades is prepared of '
        'files A|B side by side; such a folder needs no preparation: --config.dataset.path=FOLDER'
    )
    shutil.rmtree(folder / b)  # a folder called A may be any
    prepare.prepare('facades', str(folder))


def test_what_is_no_file_is_named(folder):
    (folder / 'train/link.jpg').symlink_to('nowhere.jpg')
    with pytest.raises(DataError, match='link.jpg is no file: take it away'):
        prepare.prepare('facades', str(folder))


def test_a_data_set_that_is_not_prepared_is_one_line():
    with pytest.raises(UserError, match=r'python scripts/prepare_data.py facades puts it there; '):
        discover.open_splits(config())


def test_a_bad_record_is_named(folder):
    (folder / 'train' / '3.jpg').write_bytes(b'no image')
    prepare.prepare('facades', str(folder))
    with pytest.raises(
        DataError, match='facades: train/3 is no JPEG, PNG, WebP, TIFF or NumPy image'
    ):
        preflight.decode_all(discover.open_splits(config()), config())


def test_other_counts_than_published_are_noted():
    assert prepare.counts_differ('facades', {'train': 400, 'val': 100, 'test': 106}) == []
    assert prepare.counts_differ('maps', {'train': 1, 'val': 1098}) == [
        'train has 1 pairs; published are 1,096'
    ]


def tar_of(path, name):
    with tarfile.open(path, 'w:gz') as opened:
        member = tarfile.TarInfo(name)
        member.size = 4
        opened.addfile(member, io.BytesIO(b'evil'))
    return path


@pytest.mark.parametrize('name', ['../evil', '/evil', 'facades/../../../evil'])
def test_no_member_leaves_its_folder(tmp_path, name):
    inner = tmp_path / 'a/b/c'
    inner.mkdir(parents=True)
    path = tar_of(tmp_path / 'facades.tar.gz', name)
    with pytest.raises(DataError):  # refused, or without its root no pairs
        prepare.prepare('facades', str(path))
    assert not list(tmp_path.parent.rglob('evil')) and not pathlib.Path('/evil').exists()


def test_a_zip_cannot_leave_its_folder_either(tmp_path):
    with zipfile.ZipFile(tmp_path / 'facades.zip', 'w') as opened:
        opened.writestr('../../../../evil', b'evil')
    with pytest.raises(DataError, match='holds no folder train'):
        prepare.prepare('facades', str(tmp_path / 'facades.zip'))
    assert not list(tmp_path.parent.rglob('evil'))


@pytest.mark.parametrize('kind', ['gztar', 'xztar', 'zip'])
@pytest.mark.parametrize('damage', ['empty', 'text', 'cut', 'flipped'])
def test_a_damaged_archive_is_one_line(folder, kind, damage):
    """A byte in the middle of a member shows in a checksum alone, at the end of the archive."""
    path = archive(folder, kind)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(
        {'empty': b'', 'text': b'text', 'cut': data[:3000], 'flipped': bytes(data)}[damage]
    )
    with pytest.raises(DataError, match='is no archive, or damaged'):
        prepare.prepare('facades', str(path))
    assert not builder.folder_of('facades').exists()


# ---------------------------------------------------------------- cityscapes


@pytest.fixture
def cities(tmp_path):
    """Cityscapes' two archives with four pairs: photos gray by number, labels of two classes."""
    names = [
        ('train', 'aachen', 0),
        ('train', 'aachen', 1),
        ('train', 'bonn', 0),
        ('val', 'ulm', 0),
    ]
    folder = tmp_path / 'cities'
    for i, (split, city, n) in enumerate(names):
        photo = np.full((32, 64, 3), 40 * i, np.uint8)
        labels = np.zeros((32, 64, 4), np.uint8) + np.uint8([128, 64, 128, 255])
        labels[:, 32:, :3] = (70, 130, 180)
        for root, kind, image in (
            ('leftImg8bit', 'leftImg8bit', photo),
            ('gtFine', 'gtFine_color', labels),
        ):
            path = folder / root / split / city / f'{city}_{n}_{kind}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    return folder


@pytest.mark.parametrize('zipped', [True, False])
def test_cityscapes_from_its_own_archives(cities, zipped):
    if zipped:
        for name, root in zip(PUBLISHED['cityscapes'].archives, ('leftImg8bit', 'gtFine')):
            shutil.make_archive(str(cities / name.removesuffix('.zip')), 'zip', cities, root)
            shutil.rmtree(cities / root)
    prepare.prepare('cityscapes', str(cities))
    c = config()
    c.dataset.name, c.dataset.direction = 'cityscapes', 'BtoA'
    splits = discover.open_splits(c)
    assert {split: source.names for split, source in splits.items()} == {
        'train': ('aachen/aachen_0', 'aachen/aachen_1', 'bonn/bonn_0'),
        'val': ('ulm/ulm_0',),
    }
    pair = splits['train'][2]
    assert pair['input'].shape == pair['target'].shape == (*cityscapes.SIZE, 3)
    assert (pair['target'] == 80).all()
    assert (pair['input'][:, :128] == (128, 64, 128)).all()
    assert (pair['input'][:, 128:] == (70, 130, 180)).all()


def test_a_photo_without_labels_is_named(cities):
    (cities / 'gtFine/val/ulm/ulm_0_gtFine_color.png').unlink()
    with pytest.raises(DataError, match='1 of 4 photos have no labels, the first is val/ulm/ulm_0'):
        prepare.prepare('cityscapes', str(cities))


def test_cityscapes_is_not_downloaded():
    with pytest.raises(UserError, match='leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip'):
        prepare.prepare('cityscapes')


# ---------------------------------------------------------------- downloads and the command


def test_the_published_archive_is_downloaded_once(folder, data_dir, monkeypatch):
    path, asked = archive(folder, 'gztar'), []

    def download(urls, target, sha256):
        asked.append((urls, sha256))
        shutil.copy(path, target)

    monkeypatch.setattr(prepare.downloads, 'download', download)
    prepare.prepare('facades')
    assert [url.rpartition('/')[2] for url in asked[0][0]] == ['facades.tar.gz'] * 2
    shutil.rmtree(data_dir / 'pix2pix')
    prepare.prepare('facades')
    assert len(asked) == 1
    kept = data_dir / 'downloads/pix2pix/facades.tar.gz'
    assert kept.with_name('facades.tar.gz.sha256').read_text().split()[1] == kept.name
    digest = prepare.downloads.digest(path)
    kept.write_bytes(b'damaged')
    shutil.rmtree(data_dir / 'pix2pix')
    prepare.prepare('facades')  # again, and it must be the same
    assert len(asked) == 2 and asked[1][1] == digest


def test_another_archive_than_the_recorded_is_noted(folder, monkeypatch, capsys):
    path = archive(folder, 'gztar')
    monkeypatch.setattr(prepare.downloads, 'download', lambda _, to, known: shutil.copy(path, to))
    md5, published = hashlib.md5(path.read_bytes()).hexdigest(), PUBLISHED['facades']
    prepare.prepare('facades')
    note = f'note: facades.tar.gz has the MD5 {md5}; recorded is {published.md5}\n'
    assert note in capsys.readouterr().out
    (kept,) = builder.data_dir().glob('downloads/pix2pix/facades.tar.gz.sha256')
    kept.unlink()  # as after a kill before it was prepared
    shutil.rmtree(builder.data_dir() / 'pix2pix')
    prepare.prepare('facades')
    assert note in capsys.readouterr().out
    shutil.rmtree(builder.data_dir())
    monkeypatch.setitem(prepare.PUBLISHED, 'facades', published._replace(md5=md5))
    prepare.prepare('facades')
    assert 'note:' not in capsys.readouterr().out


def test_every_archive_that_is_downloaded_has_a_record():
    for data in PUBLISHED.values():
        assert len(data.md5) == (0 if data.archives else 32)


def test_a_page_in_place_of_the_archive_is_not_kept(folder, data_dir, monkeypatch):
    kept = data_dir / 'downloads/pix2pix/facades.tar.gz'
    answers = [b'<html>log in</html>', archive(folder, 'gztar').read_bytes()]
    monkeypatch.setattr(
        prepare.downloads, 'download', lambda urls, path, known: path.write_bytes(answers.pop(0))
    )
    with pytest.raises(DataError, match='is no archive, or damaged'):
        prepare.prepare('facades')
    assert not kept.exists() and not kept.with_name('facades.tar.gz.sha256').exists()
    prepare.prepare('facades')
    shutil.rmtree(data_dir / 'pix2pix')
    prepare.prepare('facades')  # nothing is asked for again
    assert not answers


def run(*words):
    return subprocess.run(
        [sys.executable, ROOT / 'scripts/prepare_data.py', *words],
        capture_output=True,
        text=True,
        env=os.environ,
    )


@pytest.mark.e2e
def test_the_command(folder):
    done = run('facades', f'--from={archive(folder, "gztar")}')
    assert (done.returncode, done.stderr) == (0, '')
    assert 'train 11 pairs, val 2 pairs, test 3 pairs' in done.stdout
    assert 'note: train has 11 pairs; published are 400' in done.stdout
    config = done.stdout.rpartition('--config=')[2].strip()
    assert (ROOT / config).exists()
    for words, status in ((('lsun',), 2), ((), 2), (('maps', '--from=/nowhere'), 1)):
        done = run(*words)
        assert done.returncode == status and done.stderr.count('\n') == 1
