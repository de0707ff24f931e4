"""Downloads files with a progress bar, on from where one was interrupted, whole or not at all."""

import functools
import hashlib
import http.client
import pathlib
import sys
import urllib.error
import urllib.request
import zlib
from collections.abc import Sequence

import filelock
import tqdm

from pix2pix_jax.storage import atomic

TIMEOUT = 30  # seconds without an answer
CHUNK = 1 << 20  # bytes


class Unavailable(Exception):
    """None of the addresses gave the file; the message is one line."""


def download(
    urls: Sequence[str], path: pathlib.Path, expected: str = '', algorithm: str = 'sha256'
) -> None:
    """Downloads `path` from the first of `urls` that gives it, with that digest if one is known.

    It appears whole or not at all. What came of an interrupted download stays beside it and is
    resumed, where the server can; of several processes one downloads. Raises Unavailable,
    with the reason of each address.

    Args:
      urls: addresses, in the order in which they are tried.
      path: the file.
      expected: its digest in hexadecimal; '': it is not known.
      algorithm: of hashlib, as 'sha256'.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    with filelock.FileLock(path.with_name(f'.{path.name}.lock')):
        if path.exists() and expected and digest(path, algorithm) == expected:
            return  # another process was faster
        for url in urls:
            part = part_of(path, url)
            try:
                _fetch(url, part, path.name)
                _check(part, expected, algorithm)
            except (OSError, http.client.HTTPException, ValueError) as error:
                reason = ' '.join(str(getattr(error, 'reason', '') or error).split())
                reasons.append(f'{url} cannot be downloaded ({reason or type(error).__name__})')
                if part.exists() and not part.stat().st_size:
                    part.unlink()
                continue
            with part.open('rb') as file:
                atomic.sync(file)
            part.replace(path)
            atomic.sync_folder(path.parent)
            return
    raise Unavailable('; '.join(reasons))


def part_of(path: pathlib.Path, url: str) -> pathlib.Path:
    """Returns where a download of `path` lies while it is not whole: each address has its own."""
    return path.with_name(f'.{path.name}.{zlib.crc32(url.encode()):08x}.part')


def digest(path: pathlib.Path, algorithm: str = 'sha256') -> str:
    """Returns the digest of a file, its SHA-256 or another of hashlib's, in hexadecimal."""
    # Not for security: else a Python that keeps to FIPS 140 has no MD5.
    new = functools.partial(hashlib.new, algorithm, usedforsecurity=False)
    with path.open('rb') as file:
        return hashlib.file_digest(file, new).hexdigest()


def _check(part: pathlib.Path, expected: str, algorithm: str) -> None:
    """Removes what is another file, and raises ValueError."""
    found = digest(part, algorithm) if expected else ''
    if found != expected:
        part.unlink()
        name = algorithm.upper().replace('SHA', 'SHA-')
        raise ValueError(f'another file: its {name} is {found[:8]}…, not {expected[:8]}…')


def _fetch(url: str, part: pathlib.Path, name: str) -> None:
    """Completes `part` from `url`, again and again as long as something comes."""
    while True:
        start = part.stat().st_size if part.exists() else 0
        try:
            return _fetch_rest(url, part, start, name)
        except (ConnectionError, TimeoutError, http.client.HTTPException):
            if not part.exists() or part.stat().st_size <= start:
                raise


def _fetch_rest(url: str, part: pathlib.Path, start: int, name: str) -> None:
    """Appends to `part`, which has `start` bytes, what is missing; raises OSError."""
    request = urllib.request.Request(url, headers={'Range': f'bytes={start}-'} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not start:
            raise
        if error.headers.get('Content-Range') == f'bytes */{start}':
            return  # it was whole already
        part.unlink()  # of another file
        return _fetch_rest(url, part, 0, name)
    with response:
        given = response.headers.get('Content-Range', '').startswith(f'bytes {start}-')
        start = start if response.status == http.HTTPStatus.PARTIAL_CONTENT and given else 0
        total = None if response.length is None else start + response.length
        with (
            part.open('ab' if start else 'wb') as file,
            tqdm.tqdm(
                desc=f'downloading {name}',
                initial=start,
                total=total,
                unit='B',
                unit_scale=True,
                disable=not sys.stderr.isatty(),
            ) as bar,
        ):
            while chunk := response.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
            if total is not None and file.tell() != total:
                raise ConnectionError(f'cut off after {file.tell():,} of {total:,} bytes')
