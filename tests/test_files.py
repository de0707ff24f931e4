import os

import numpy as np
import pytest
from PIL import Image

from pix2pix_jax import files


def test_creates_folders_replaces_and_leaves_nothing_else(tmp_path):
    path = tmp_path / 'a' / 'b' / 'f.txt'
    files.write_text(path, 'old')
    files.write_text(path, 'né\n')
    assert path.read_bytes() == 'né\n'.encode()
    assert os.listdir(path.parent) == ['f.txt']


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'f'
    files.write_bytes(path, b'old')

    def full(file):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(files, 'sync', full)
    with pytest.raises(OSError):
        files.write_bytes(path, b'new')
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['f']


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_png_keeps_every_value(tmp_path, channels):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    files.write_bytes(tmp_path / 'i.png', files.encode_png(image))
    with Image.open(tmp_path / 'i.png') as opened:
        read = np.asarray(opened)
    np.testing.assert_array_equal(read.reshape(image.shape), image)
