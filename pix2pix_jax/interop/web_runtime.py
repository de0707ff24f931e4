"""onnxruntime-web, which runs a model in a browser: one version, whose files are known by hash.

They come from the unpacked npm package, or from the registry's archive, which is downloaded once
into the cache folder.
"""

import base64
import hashlib
import os
import pathlib
from typing import NamedTuple

from pix2pix_jax.errors import DATA_ERROR, UserError
from pix2pix_jax.storage import atomic, downloads

NAME, VERSION = 'onnxruntime-web', '1.30.0'
URL = f'https://registry.npmjs.org/{NAME}/-/{NAME}-{VERSION}.tgz'
# As the registry publishes it (npm view onnxruntime-web@1.30.0 dist.integrity).
INTEGRITY = (
    'sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZ'
    'ClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=='
)


class Build(NamedTuple):
    """A build of the runtime: its three files, and the SHA-256 of each in the archive."""

    module: str  # what the page imports
    loader: str  # what that imports, and threads run
    wasm: str
    hashes: tuple[str, str, str]


WASM = Build(
    'ort.wasm.min.mjs',
    'ort-wasm-simd-threaded.mjs',
    'ort-wasm-simd-threaded.wasm',
    (
        '219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b',
        'e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b',
        '3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2',
    ),
)
WEBGPU = Build(
    'ort.webgpu.min.mjs',
    'ort-wasm-simd-threaded.asyncify.mjs',
    'ort-wasm-simd-threaded.asyncify.wasm',
    (
        '3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0',
        '3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28',
        '39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da',
    ),
)


def read(build: Build, folder: str = '') -> dict[str, bytes]:
    """Returns the files of a build by their names.

    They are read from `folder`, the unpacked npm package, or without one from the archive, which is
    downloaded where the cache folder does not have it. Raises UserError for a folder without them,
    or with those of another version, and, with status 1, where the archive cannot be had.
    """
    names = (build.module, build.loader, build.wasm)
    found = _from_folder(names, pathlib.Path(folder)) if folder else _from_archive(names)
    for name, expected in zip(names, build.hashes):
        if hashlib.sha256(found[name]).hexdigest() != expected:
            raise UserError(
                f'--runtime={folder}: {name} is not that of {NAME} {VERSION}; allowed is this '
                f'version alone (npm pack {NAME}@{VERSION})'
            )
    return found


def _from_folder(names: tuple[str, ...], folder: pathlib.Path) -> dict[str, bytes]:
    places = [folder / 'dist', folder]
    place = next((p for p in places if all((p / name).is_file() for name in names)), None)
    if place is None:
        raise UserError(
            f'--runtime={folder}: {names[0]} is not there; allowed is the unpacked npm package '
            f'{NAME} {VERSION} (npm pack {NAME}@{VERSION})'
        )
    return {name: (place / name).read_bytes() for name in names}


def _from_archive(names: tuple[str, ...]) -> dict[str, bytes]:
    from pix2pix_jax.data.datasets import archives

    path = atomic.cache_folder() / NAME / os.path.basename(URL)
    algorithm, _, text = INTEGRITY.partition('-')
    expected = base64.b64decode(text).hex()
    if not path.exists() or downloads.digest(path, algorithm) != expected:
        try:
            downloads.download([URL], path, expected, algorithm)
        except downloads.Unavailable as error:
            raise UserError(
                f'{error}; or give the unpacked npm package with --runtime=DIR', DATA_ERROR
            ) from error
    members = archives.members(path, [f'package/dist/{name}' for name in names])
    return {os.path.basename(member): data for member, data in members.items()}
