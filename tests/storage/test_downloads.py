"""Downloads from a server in this process that breaks off, knows no ranges, or has other files."""

import hashlib

import pytest
from helpers.file_server import serving

from pix2pix_jax.storage import downloads

CONTENT = bytes(range(256)) * 20_000  # 5 MB: several chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    with serving(CONTENT, monkeypatch) as server:
        yield server


def seen(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith('.lock'))


@pytest.mark.parametrize('sha256', ['', SHA256])
@pytest.mark.parametrize('path', ['whole', 'breaks_off', 'no_ranges'])
def test_it_comes_whole(server, tmp_path, path, sha256):
    downloads.download([f'{server.url}/{path}'], tmp_path / 'folder/file', sha256)
    assert (tmp_path / 'folder/file').read_bytes() == CONTENT
    assert seen(tmp_path / 'folder') == ['file']
    ranges = [given for _, given in server.requests]
    third = len(CONTENT) // 3
    expected = [None, f'bytes={third}-', f'bytes={2 * third}-', f'bytes={3 * third}-']
    assert ranges == (expected if path == 'breaks_off' else [None])


@pytest.mark.parametrize(
    'path,there,answers',
    [
        ('whole', CONTENT[:1000], 1),
        ('no_ranges', b'x' * 1000, 1),  # sends all of it again
        ('whole_range', b'x' * 1000, 1),  # and calls it a range
        ('whole', CONTENT, 1),  # killed before the rename
        ('whole', CONTENT + b'x', 2),  # of another file
    ],
)
def test_it_goes_on_from_what_is_there(server, tmp_path, path, there, answers):
    url = f'{server.url}/{path}'
    downloads.part_of(tmp_path / 'file', url).write_bytes(there)
    downloads.download([url], tmp_path / 'file', SHA256)
    assert (tmp_path / 'file').read_bytes() == CONTENT
    assert seen(tmp_path) == ['file'] and len(server.requests) == answers
    assert server.requests[0] == (f'/{path}', f'bytes={len(there)}-')


def test_the_next_mirror_is_tried(server, tmp_path):
    urls = [f'{server.url}/missing', 'http://127.0.0.1:1/nobody', f'{server.url}/whole']
    downloads.part_of(tmp_path / 'file', urls[0]).write_bytes(b'half of another file')
    downloads.download(urls, tmp_path / 'file')
    assert (tmp_path / 'file').read_bytes() == CONTENT  # one mirror's, not a piece of each


def test_all_reasons_are_said(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, 'TIMEOUT', 0.2)
    urls = [f'{server.url}/{path}' for path in ('missing', 'slow', 'whole')]
    (tmp_path / 'file').write_bytes(b'old')
    with pytest.raises(downloads.Unavailable) as error:
        downloads.download(urls, tmp_path / 'file', '0' * 64)
    message = str(error.value)
    assert 'missing cannot be downloaded (Not Found)' in message and '\n' not in message
    assert 'slow cannot be downloaded (timed out)' in message
    assert f'another file: its SHA-256 is {SHA256[:8]}…, not 00000000…' in message
    assert (tmp_path / 'file').read_bytes() == b'old' and seen(tmp_path) == ['file']
