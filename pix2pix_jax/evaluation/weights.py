"""Finds the published weights of the networks that LPIPS, FID and KID measure with.

A file that the user gives, else the one in the cache folder, else a download into that folder,
checked against the hash that belongs to its name. Nothing in a file is executed.
"""

import os
import pathlib
from typing import NamedTuple

import numpy as np

from pix2pix_jax.errors import DataError
from pix2pix_jax.evaluation import inception
from pix2pix_jax.interop.torch.pth import read_tensors
from pix2pix_jax.models import lpips
from pix2pix_jax.storage import atomic, downloads
from pix2pix_jax.storage.downloads import Unavailable


class PublishedFile(NamedTuple):
    """A published file: its name in the cache folder, its address, and its SHA-256."""

    name: str
    url: str
    sha256: str  # begins as the name says, where it has a hash


PUBLISHED = {
    'inception': PublishedFile(
        'pt_inception-2015-12-05-6726825d.pth',
        'https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/'
        'pt_inception-2015-12-05-6726825d.pth',
        '6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2',
    ),
    'alexnet': PublishedFile(
        'alexnet-owt-7be5be79.pth',
        'https://download.pytorch.org/models/alexnet-owt-7be5be79.pth',
        '7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02',
    ),
    'lpips': PublishedFile(
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


def load_lpips(alexnet: str | os.PathLike, heads: str | os.PathLike) -> dict[str, np.ndarray]:
    """Returns the float32 weights of LPIPS, of AlexNet's file and of that of its heads.

    Raises as `load` does.
    """
    return lpips.used(load('alexnet', alexnet) | load('lpips', heads))


def find(published: PublishedFile) -> pathlib.Path:
    """Returns the file in the cache folder, after downloading it if it is not there or damaged.

    Raises Unavailable, with the reason.
    """
    path = atomic.cache_folder() / 'weights' / published.name
    try:
        if downloads.digest(path) == published.sha256:
            return path
    except FileNotFoundError:
        pass
    except OSError as error:
        raise Unavailable(f'{path} cannot be read ({error.strerror})') from error
    try:
        downloads.download([published.url], path, published.sha256)
    except downloads.Unavailable as error:
        raise Unavailable(f'{error}; save it as {path}') from error
    except OSError as error:
        raise Unavailable(f'{path} cannot be written ({error.strerror})') from error
    return path
