"""Finds the published weights of the networks that LPIPS, FID and KID measure with.

A file that the user gives, else the one in the cache folder, else a download into that folder,
checked against the hash that belongs to its name. Nothing in a file is executed.
"""

import contextlib
import hashlib
import http.client
import os
import pathlib
import sys
import time
import urllib.request
from typing import NamedTuple

import numpy as np
import tqdm

from pix2pix_jax import files
from pix2pix_jax.errors import DataError
from pix2pix_jax.evaluation import inception, lpips
from pix2pix_jax.interop.pth import read_tensors

TIMEOUT = 30  # seconds without an answer
CHUNK = 1 << 20  # bytes
STALE = 24 * 3600  # seconds after which nobody downloads any more into a temporary file


class Unavailable(Exception):
    """Published weights are neither here nor can be downloaded; the message is one line."""


class Published(NamedTuple):
    """A published file: its name in the cache folder, its address, and its SHA-256."""

    name: str
    url: str
    sha256: str  # begins as the name says, where it has a hash


PUBLISHED = {
    'inception': Published(
        'pt_inception-2015-12-05-6726825d.pth',
        'https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/'
        'pt_inception-2015-12-05-6726825d.pth',
        '6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2',
    ),
    'alexnet': Published(
        'alexnet-owt-7be5be79.pth',
        'https://download.pytorch.org/models/alexnet-owt-7be5be79.pth',
        '7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02',
    ),
    'lpips': Published(
        'lpips-v0.1-alex.pth',
        'https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/'
        'lpips/weights/v0.1/alex.pth',
        'df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0',
    ),
}
SHAPES = {
    'inception': inception.shapes,
    'alexnet': lpips.backbone_shapes,
    'lpips': lpips.head_shapes,
}


def load(kind: str, path: str | os.PathLike = '') -> dict[str, np.ndarray]:
    """Returns {name: array} of the weights of 'inception', 'alexnet' or 'lpips' (LPIPS's heads).

    Reads `path` if it is given, which may be any file with tensors of the right names and shapes.
    Raises DataError where `path` is not one, and Unavailable where there is no `path` and no file
    in the cache folder and it cannot be downloaded, or has another hash.
    """
    found = path or find(PUBLISHED[kind])
    tensors = read_tensors(found)
    for name, shape in SHAPES[kind]().items():
        if name not in tensors:
            raise DataError(f'{found}: no weights of {kind}: {name} is missing')
        if tensors[name].shape != shape:
            raise DataError(
                f'{found}: no weights of {kind}: {name} is {tensors[name].shape}, not {shape}'
            )
    return tensors


def find(published: Published) -> pathlib.Path:
    """Returns the file in the cache folder, after downloading it if it is not there or damaged.

    Raises Unavailable, with the reason.
    """
    path = files.cache_folder() / 'weights' / published.name
    try:
        with open(path, 'rb') as file:
            if hashlib.file_digest(file, 'sha256').hexdigest() == published.sha256:
                return path
    except FileNotFoundError:
        pass
    except OSError as error:
        raise Unavailable(f'{path} cannot be read ({error.strerror})') from error
    try:
        _download(published, path)
    except (OSError, http.client.HTTPException) as error:
        reason = ' '.join(str(getattr(error, 'reason', '') or error).split())
        raise Unavailable(
            f'{published.url} cannot be downloaded ({reason}); save it as {path}'
        ) from error
    return path


def _download(published: Published, path: pathlib.Path) -> None:
    """Downloads to a temporary name, checks the hash, and renames: `path` is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path.parent)
    temporary = path.parent / f'.{path.name}.{os.getpid()}.tmp'
    digest = hashlib.sha256()
    try:
        with (
            urllib.request.urlopen(published.url, timeout=TIMEOUT) as response,
            temporary.open('wb') as file,
            tqdm.tqdm(
                desc=f'downloading {published.name}, once',
                total=response.length,
                unit='B',
                unit_scale=True,
                disable=not sys.stderr.isatty(),
            ) as bar,
        ):
            while chunk := response.read(CHUNK):
                file.write(chunk)
                digest.update(chunk)
                bar.update(len(chunk))
            files.sync(file)
        if digest.hexdigest() != published.sha256:
            raise Unavailable(
                f'{published.url} gave another file: its SHA-256 is {digest.hexdigest()[:8]}…, '
                f'not {published.sha256[:8]}…'
            )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    files.sync_folder(path.parent)


def _remove_stale(folder: pathlib.Path) -> None:
    for left in folder.glob('.*.tmp'):  # of downloads that were killed
        with contextlib.suppress(OSError):  # another process may be removing it
            if time.time() - left.stat().st_mtime > STALE:
                left.unlink()
