"""Where the published weights are found; downloads are from a server in this process."""

import hashlib
import http.server
import pathlib
import threading

import numpy as np
import pytest
from helpers.pth_files import code, file_of, tensor

from pix2pix_jax.errors import DataError
from pix2pix_jax.evaluation import weights

CONTENT = b'weights' * 400_000  # more than one chunk


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        content = self.server.content
        if self.path == '/moved.pth':
            self.send_response(302)
            self.send_header('Location', '/whole.pth')
            self.end_headers()
            return
        self.send_response(200)
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.requests, server.content = [], CONTENT
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    for name in ('http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY'):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / 'cache' / 'pix2pix_jax' / 'weights'


def seen(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith('.lock'))


def published(server, path='whole.pth', content=CONTENT):
    url = f'http://127.0.0.1:{server.server_port}/{path}'
    return weights.PublishedFile('net.pth', url, hashlib.sha256(content).hexdigest())


def test_the_hashes_are_those_of_the_published_names():
    for kind, file in weights.PUBLISHED.items():
        assert len(file.sha256) == 64 and file.url.startswith('https://')
        if kind != 'lpips':
            assert file.url.endswith(file.name) and file.name.endswith(f'-{file.sha256[:8]}.pth')


def test_lpips_heads_are_those_of_its_package(cache):
    package = pytest.importorskip('lpips', reason='needs the extra bench')
    content = (pathlib.Path(package.__file__).parent / 'weights/v0.1/alex.pth').read_bytes()
    assert hashlib.sha256(content).hexdigest() == weights.PUBLISHED['lpips'].sha256
    cache.mkdir(parents=True)
    (cache / 'lpips-v0.1-alex.pth').write_bytes(content)
    found = weights.load('lpips')  # from the cache folder
    assert found['lin0.model.1.weight'].shape == (1, 64, 1, 1)
    assert all((value >= 0).all() for value in found.values())


@pytest.mark.parametrize('path', ['whole.pth', 'moved.pth'])
def test_it_is_downloaded_once(server, cache, path, capfd):
    file = published(server, path)
    for _ in range(2):
        assert weights.find(file) == cache / 'net.pth'
        assert (cache / 'net.pth').read_bytes() == CONTENT
    assert server.requests.count(f'/{path}') == 1 and seen(cache) == ['net.pth']
    assert capfd.readouterr().err == ''  # the bar is for terminals


def test_a_damaged_file_in_the_cache_is_downloaded_again(server, cache):
    cache.mkdir(parents=True)
    (cache / 'net.pth').write_bytes(CONTENT[:-1])
    weights.find(published(server))
    assert (cache / 'net.pth').read_bytes() == CONTENT


def test_another_file_is_refused(server, cache):
    words = 'whole.pth cannot be downloaded .another file.* save it as .*net.pth'
    with pytest.raises(weights.Unavailable, match=words):
        weights.find(published(server, content=b'other'))
    assert seen(cache) == []


def test_a_cache_folder_that_cannot_be_written(server, cache):
    cache.parent.mkdir(parents=True)
    cache.write_text('a file')
    with pytest.raises(weights.Unavailable, match='net.pth'):
        weights.find(published(server))


def heads(**changed):
    """A file with LPIPS's heads, of zeros; `changed` has other shapes, or None for left out."""
    shapes = {name.split('.')[0]: shape for name, shape in weights.SHAPES['lpips']().items()}
    pickled = b'\x80\x02}'
    for name, shape in (shapes | changed).items():
        if shape is not None:
            zeros = tensor(0, shape, (1,) * len(shape), 1000)
            pickled += code(f'{name}.model.1.weight') + zeros + b's'
    return file_of(pickled + b'.', 'zip', bytes(4 * 1000))


def test_a_given_file_is_read_whatever_its_hash(tmp_path, cache):
    (tmp_path / 'mine.pth').write_bytes(heads())
    assert len(weights.load('lpips', tmp_path / 'mine.pth')) == 5
    assert not cache.exists()


@pytest.mark.parametrize(
    'changed,words',
    [
        ({'lin3': None}, r'no weights of lpips: lin3\.model\.1\.weight is missing'),
        ({'lin3': (1, 257, 1, 1)}, r'lin3\.model\.1\.weight is \(1, 257, 1, 1\), not \(1, 256, 1'),
    ],
)
def test_a_given_file_of_another_network_is_named(tmp_path, changed, words):
    (tmp_path / 'mine.pth').write_bytes(heads(**changed))
    with pytest.raises(DataError, match=rf'mine\.pth: .*{words}'):
        weights.load('lpips', tmp_path / 'mine.pth')
    for kind in ('alexnet', 'inception'):
        with pytest.raises(DataError, match=f'mine.pth: no weights of {kind}: .* is missing'):
            weights.load(kind, tmp_path / 'mine.pth')


def test_a_given_file_that_is_none(tmp_path):
    np.save(tmp_path / 'mine.npy', np.ones(3))
    with pytest.raises(DataError, match=r'mine\.npy: damaged, or no PyTorch file'):
        weights.load('lpips', tmp_path / 'mine.npy')
    with pytest.raises(DataError, match='No such file'):
        weights.load('lpips', tmp_path / 'none.pth')
