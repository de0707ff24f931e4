"""A server in this process that breaks off, knows no ranges, or is slow, as its paths say."""

import contextlib
import http.server
import re
import threading
import time
from collections.abc import Iterator


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        given, content = self.headers.get('Range'), self.server.content
        self.server.requests.append((self.path, given))
        kind = self.path.split('/')[1]
        if kind == 'missing':
            return self.send_error(404)
        start = int(re.match(r'bytes=(\d+)-', given)[1]) if given else 0
        start = 0 if kind in ('no_ranges', 'whole_range') else start
        if start >= len(content):
            self.send_response(416)
            self.send_header('Content-Range', f'bytes */{len(content)}')
            self.end_headers()
            return
        is_part = start or kind == 'whole_range'
        self.send_response(206 if is_part else 200)
        if is_part:
            self.send_header('Content-Range', f'bytes {start}-/{len(content)}')
        self.send_header('Content-Length', str(len(content) - start))
        self.end_headers()
        if kind == 'slow':
            time.sleep(1)
        piece = content[start:]
        self.wfile.write(piece[: len(content) // 3] if kind == 'breaks_off' else piece)

    def log_message(self, *args):
        """Nothing is printed."""


@contextlib.contextmanager
def serving(content: bytes, monkeypatch) -> Iterator[http.server.ThreadingHTTPServer]:
    """Serves `content` at any path; the server has `url`, `requests` (path, range), `content`."""
    for name in ('http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY'):
        monkeypatch.delenv(name, raising=False)
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.requests, server.content = [], content
    server.url = f'http://127.0.0.1:{server.server_port}'
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
