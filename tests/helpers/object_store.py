"""A Google Cloud Storage in memory: what gcsfs, tensorstore and orbax use of its JSON protocol.

`python tests/helpers/object_store.py` serves gs://bucket until it is ended, and prints the
environment in which it is found.
"""

import contextlib
import email
import http.server
import itertools
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from urllib.parse import parse_qsl, unquote, urlsplit

Answer = tuple[int, bytes, dict[str, str]]
API = '/storage/v1/b/bucket'
# gcsfs is not to ask Google itself for the kind of the bucket.
GCSFS = {'GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT': 'false'}
NOT_FOUND = (404, b'{"error": {"code": 404, "message": "not found"}}', {})


class Store:
    """The objects of a bucket, each with its generation."""

    def __init__(self) -> None:
        self.requests: list[str] = []  # each with its method and path
        self.at_once = 0  # the most requests that were under way together
        self.delay = 0.0  # seconds before an answer
        self._under_way = 0
        self._objects: dict[str, tuple[str, bytes]] = {}
        self._uploads: dict[str, tuple[str, bytes, dict]] = {}  # the name, what came, the query
        self._numbers = map(str, itertools.count(1))
        self._lock = threading.Lock()

    def answer(self, method: str, target: str, headers, body: bytes) -> Answer:
        """Returns the status, the body and the headers of the answer to a request."""
        with self._lock:
            self.requests.append(f'{method} {target}')
            self._under_way += 1
            self.at_once = max(self.at_once, self._under_way)
        time.sleep(self.delay)
        with self._lock:
            self._under_way -= 1
            return self._answer(method, target, headers, body)

    def _answer(self, method: str, target: str, headers, body: bytes) -> Answer:
        url = urlsplit(target)
        query, path = dict(parse_qsl(url.query)), url.path.removeprefix('/download')
        if path.startswith('/batch/'):
            return self._batch(headers, body)
        if path == f'/upload{API}/o':
            return self._upload(query, headers, body)
        name = path.removeprefix(f'{API}/o/')
        if path == f'{API}/o':
            return self._list(query)
        if name == path:
            return _json({'name': 'bucket'}) if path == API else NOT_FOUND
        moved = re.fullmatch('(.+)/(moveTo|copyTo|rewriteTo)(?:/b/bucket)?/o/(.+)', name)
        if moved:
            return self._copy(unquote(moved[1]), moved[2], unquote(moved[3]))
        return self._object(method, unquote(name), query, headers)

    def _describe(self, name: str) -> dict:
        generation, data = self._objects[name]
        time = '2026-01-01T00:00:00.000Z'
        fields = {'name': name, 'generation': generation, 'size': str(len(data))}
        return fields | {'timeCreated': time, 'updated': time, 'bucket': 'bucket'}

    def _put(self, name: str, data: bytes, query: dict | None = None) -> Answer:
        generation = self._objects.get(name, ('0', b''))[0]
        if (query or {}).get('ifGenerationMatch', generation) != generation:
            return 412, b'', {}
        self._objects[name] = next(self._numbers), data
        return _json(self._describe(name))

    def _object(self, method: str, name: str, query: dict, headers) -> Answer:
        generation, data = self._objects.get(name, ('0', b''))
        if query.get('ifGenerationMatch', generation) != generation:
            return 412, b'', {}
        if generation == '0':
            return NOT_FOUND
        if method == 'DELETE':
            del self._objects[name]
            return 204, b'', {}
        if query.get('alt') != 'media':
            return _json(self._describe(name))
        if query.get('ifGenerationNotMatch') == generation:
            return 304, b'', {}
        stored = {'x-goog-generation': generation}
        part = re.fullmatch(r'bytes=(\d+)-(\d*)', headers.get('Range') or '')
        if not part:
            return 200, data, stored
        start, end = int(part[1]), min(int(part[2] or len(data)) + 1, len(data))
        place = {'Content-Range': f'bytes {start}-{end - 1}/{len(data)}'}
        return (206, data[start:end], stored | place) if start < end else (416, b'', {})

    def _list(self, query: dict) -> Answer:
        prefix, delimiter = query.get('prefix', ''), query.get('delimiter')
        found, folders = [], set()
        for name in sorted(self._objects):
            start, end = query.get('startOffset', ''), query.get('endOffset')
            if not name.startswith(prefix) or name < start or (end and name >= end):
                continue
            rest = name[len(prefix) :]
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.split(delimiter)[0] + delimiter)
            else:
                found.append(self._describe(name))
        return _json({'items': found, 'prefixes': sorted(folders)})

    def _upload(self, query: dict, headers, body: bytes) -> Answer:
        name = query.get('name', '')
        if 'upload_id' in query:
            name, data, first = self._uploads[query['upload_id']]
            place = re.fullmatch(r'bytes (?:\*|(\d+)-\d+)/(\d+|\*)', headers['Content-Range'])
            data = data[: int(place[1] or len(data))] + body
            if place[2] == '*' or int(place[2]) > len(data):
                self._uploads[query['upload_id']] = name, data, first
                return 308, b'', {'Range': f'bytes=0-{len(data) - 1}'}
            return self._put(name, data, first)
        if query['uploadType'] == 'resumable':
            number = next(self._numbers)
            self._uploads[number] = name or json.loads(body)['name'], b'', query
            host = headers['Host']
            place = f'http://{host}/upload{API}/o?uploadType=resumable&upload_id={number}'
            return 200, b'{}', {'Location': place}
        if query['uploadType'] == 'multipart':
            fields, content = _parts(headers, body)
            return self._put(name or json.loads(fields)['name'], content, query)
        return self._put(name, body, query)

    def _copy(self, source: str, how: str, target: str) -> Answer:
        if source not in self._objects:
            return NOT_FOUND
        answer = self._put(target, self._objects[source][1])
        if how == 'moveTo':
            del self._objects[source]
        done = {'done': True, 'resource': self._describe(target)}
        return _json(done) if how == 'rewriteTo' else answer

    def _batch(self, headers, body: bytes) -> Answer:
        answers = b''
        for i, part in enumerate(_parts(headers, body), start=1):
            method, target, *_ = part.split(None, 2)
            assert method == b'DELETE', part
            name = unquote(target.decode().partition(f'{API}/o/')[2].partition('?')[0])
            there = self._objects.pop(name, None)
            status = b'204 No Content' if there else b'404 Not Found'
            answers += b'--b\r\nContent-Type: application/http\r\nContent-ID: <response-%d>\r\n' % i
            answers += b'\r\nHTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n\r\n' % status
        return 200, answers + b'--b--\r\n', {'Content-Type': 'multipart/mixed; boundary=b'}


def _json(value: object) -> Answer:
    return 200, json.dumps(value).encode(), {'Content-Type': 'application/json'}


def _parts(headers, body: bytes) -> list[bytes]:
    """Returns the parts of a multipart body."""
    boundary = email.message_from_string(f'Content-Type: {headers["Content-Type"]}').get_boundary()
    parts = re.split(rb'(?:^|\r?\n)--' + re.escape(boundary.encode()) + rb'(?:--)?\r?\n?', body)
    return [re.split(rb'\r?\n\r?\n', part, maxsplit=1)[1] for part in parts if part.strip()]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers for the server's store."""

    protocol_version = 'HTTP/1.1'
    wbufsize = -1  # an answer in one piece: else each waits 40 ms for the other's acknowledgement

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        status, content, headers = self.server.store.answer(
            self.command, self.path, self.headers, body
        )
        self.send_response(status)
        for name, value in ({'Content-Length': str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # of requests that the client gave up
            self.wfile.write(content)
            self.wfile.flush()

    do_GET = do_POST = do_PUT = do_DELETE = _answer

    def log_message(self, *args) -> None:
        """Nothing is printed."""


class Server(http.server.ThreadingHTTPServer):
    """Says nothing of connections that a client dropped."""

    daemon_threads = True

    def handle_error(self, *args) -> None:
        """Prints the others."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*args)


@contextlib.contextmanager
def serve() -> Iterator[dict[str, str]]:
    """Gives the environment in which gs://bucket is a new store."""
    with serve_store() as (environment, _):
        yield environment


@contextlib.contextmanager
def serve_store() -> Iterator[tuple[dict[str, str], Store]]:
    """Gives the environment in which gs://bucket is a new store, and the store itself."""
    with Server(('127.0.0.1', 0), Handler) as server:
        server.store = Store()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f'http://127.0.0.1:{server.server_port}'
        variables = {'STORAGE_EMULATOR_HOST': url, 'TENSORSTORE_GCS_HTTP_URL': url}
        try:
            yield GCSFS | variables, server.store
        finally:
            server.shutdown()


if __name__ == '__main__':
    with serve() as environment:
        print(' '.join(f'{name}={value}' for name, value in environment.items()), flush=True)
        threading.Event().wait()
