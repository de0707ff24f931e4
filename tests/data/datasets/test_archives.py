"""Archives: pairs that a user brings."""

import io
import os
import tarfile
import zipfile

import pytest
from helpers.runs import make_pairs

from pix2pix_jax.data.datasets import archives
from pix2pix_jax.errors import DataError


def zip_of(folder, archive, prefix=''):
    with zipfile.ZipFile(archive, 'w') as target:
        for path in folder.rglob('*.png'):
            target.write(path, prefix + str(path.relative_to(folder)))
    return archive


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob('*') if p.is_file()}


@pytest.fixture
def pairs(tmp_path):
    return make_pairs(tmp_path / 'pairs', {'train': 2, 'test': 1})


@pytest.mark.parametrize('prefix', ['', 'my pairs/'])
def test_a_zip_of_pairs_or_of_their_folder(pairs, tmp_path, prefix):
    archive = zip_of(pairs, tmp_path / 'a.zip', prefix)
    found = archives.unpack_pairs(archive, tmp_path / 'data' / 'a')
    assert found == tmp_path / 'data' / 'a' / prefix.rstrip('/')
    assert contents(found) == contents(pairs)
    assert os.listdir(tmp_path / 'data') == ['a']  # nothing half done
    archive.unlink()
    assert archives.unpack_pairs(archive, tmp_path / 'data' / 'a') == found  # it stays


def test_two_folders_of_a_mac(pairs, tmp_path):
    """A/train and B/train, and what a Mac puts beside them."""
    archive = tmp_path / 'a.zip'
    with zipfile.ZipFile(archive, 'w') as target:
        for name in ('A/train/1.png', 'B/train/1.png', '__MACOSX/A/train/._1.png', '.DS_Store'):
            target.writestr(f'mine/{name}', b'x')
            target.writestr(f'__MACOSX/mine/{name}', b'x')
    assert archives.unpack_pairs(archive, tmp_path / 'out') == tmp_path / 'out' / 'mine'


def test_nothing_is_written_outside(pairs, tmp_path):
    archive = zip_of(pairs, tmp_path / 'a.zip')
    with zipfile.ZipFile(archive, 'a') as target:
        for name in ('../out.txt', 'train/../../out.txt', f'{tmp_path}/out.txt'):
            target.writestr(name, b'x')
    found = archives.unpack_pairs(archive, tmp_path / 'deep' / 'data')
    assert contents(found) == contents(pairs)
    assert not list(tmp_path.rglob('out.txt'))


def test_links_of_a_tar_are_not_made(pairs, tmp_path):
    secret = tmp_path / 'secret.png'
    secret.write_bytes(b'secret')
    with tarfile.open(tmp_path / 'a.tar.gz', 'w:gz') as target:
        target.add(pairs, '.')
        link = tarfile.TarInfo('train/link.png')
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        target.addfile(link)
    found = archives.unpack_pairs(tmp_path / 'a.tar.gz', tmp_path / 'data')
    assert contents(found) == contents(pairs)


@pytest.mark.parametrize(
    ('data', 'message'),
    [(None, 'is not there'), (b'no archive', 'is no archive'), ('notes.txt', 'holds no pairs')],
)
def test_what_is_no_archive_of_pairs(tmp_path, data, message):
    archive = tmp_path / 'a.zip'
    if isinstance(data, str):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, 'w') as target:
            target.writestr(data, b'x')
        data = stream.getvalue()
    if data is not None:
        archive.write_bytes(data)
    with pytest.raises(DataError, match=message):
        archives.unpack_pairs(archive, tmp_path / 'data' / 'a')
    assert not (tmp_path / 'data').exists() or not os.listdir(tmp_path / 'data')
