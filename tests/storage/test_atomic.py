import os

import numpy as np
import pytest
from PIL import Image

from pix2pix_jax.storage import atomic


def test_creates_folders_replaces_and_leaves_nothing_else(tmp_path):
    path = tmp_path / 'a' / 'b' / 'f.txt'
    atomic.write_text(path, 'old')
    atomic.write_text(path, 'né\n')
    assert path.read_bytes() == 'né\n'.encode()
    assert os.listdir(path.parent) == ['f.txt']


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'f'
    atomic.write_bytes(path, b'old')

    def full(file):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(atomic, 'sync', full)
    with pytest.raises(OSError):
        atomic.write_bytes(path, b'new')
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['f']


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_png_keeps_every_value(tmp_path, channels):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    atomic.write_bytes(tmp_path / 'i.png', atomic.encode_png(image))
    with Image.open(tmp_path / 'i.png') as opened:
        read = np.asarray(opened)
    np.testing.assert_array_equal(read.reshape(image.shape), image)


def test_what_a_kill_left_is_removed_and_nothing_else(tmp_path):
    gone, runs = 2**30, os.getppid()  # no process has so high a number
    left = [f'.f.txt.{gone}.tmp', f'a/.g.png.{gone}.tmp', f'.h.{os.getpid()}.tmp']
    others = ['.mine.tmp', f'a/.w.{runs}.tmp', 'a/.x.1.tmpl', 'a/mine.tmp']
    for name in (*left, *others):
        atomic.write_text(tmp_path / name, '')
    atomic.remove_temporaries(tmp_path)
    found = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob('*') if p.is_file())
    assert found == others


def test_a_full_disk_is_said_with_the_name_of_the_file(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(atomic.os, 'fsync', full)
    with pytest.raises(OSError) as error:
        atomic.write_bytes(tmp_path / 'f', b'new')
    assert error.value.filename == str(tmp_path / 'f')


def test_a_drive_that_cannot_sync_is_no_error(tmp_path, monkeypatch):
    def unknown(descriptor):
        raise OSError(22, 'Invalid argument')

    monkeypatch.setattr(atomic.os, 'fsync', unknown)
    atomic.write_bytes(tmp_path / 'f', b'new')
    assert (tmp_path / 'f').read_bytes() == b'new'


def test_an_address_is_no_path_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'link').symlink_to(tmp_path / 'there')
    assert os.fspath(atomic.resolved('link/x')) == f'{tmp_path.resolve()}/there/x'
    assert os.fspath(atomic.resolved('gs://bucket/run')) == 'gs://bucket/run'
