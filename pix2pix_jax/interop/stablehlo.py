"""StableHLO: one file that jax alone runs, on CPUs, GPUs and TPUs, without this package.

    data = open('facades.stablehlo', 'rb').read()
    model = jax.export.deserialize(bytearray(data))
    outputs = model.call(inputs)  # float32 (N,H,W,C) on [-1, 1]; of a flow call(inputs, noise)
    metadata = json.loads(zipfile.ZipFile('facades.stablehlo').read('metadata.json'))

What jax.export serializes has no place for metadata, and a second file beside it would be lost, so
a zip archive follows it in the same file: neither reader minds the other's part.
"""

import contextlib
import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import jax
import jax.export

from pix2pix_jax.interop import exportable
from pix2pix_jax.interop.exportable import Exportable, Function

PLATFORMS = ('cpu', 'cuda', 'tpu')
METADATA = 'metadata.json'


def to_bytes(model: Exportable) -> bytes:
    """Returns the file."""
    function = exportable.function(model)
    with _without_locations():
        export = jax.export.export(jax.jit(function), platforms=PLATFORMS)
        exported = export(*exportable.input_shapes(model).values())
    file = io.BytesIO(exported.serialize())
    with zipfile.ZipFile(file, 'a') as archive:  # ZipInfo: the same bytes at any time
        archive.writestr(zipfile.ZipInfo(METADATA), json.dumps(model.metadata, indent=2) + '\n')
    return file.getvalue()


def load(data: bytes) -> tuple[Function, dict[str, Any]]:
    """Returns the function of the model's inputs -> (N,H,W,Co) in [-1,1], and the metadata."""
    exported = jax.export.deserialize(bytearray(data))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return jax.jit(exported.call), json.loads(archive.read(METADATA))


@contextlib.contextmanager
def _without_locations() -> Iterator[None]:
    """Leaves out of the program which lines it came from, in files of this machine."""
    wanted = {
        'jax_traceback_in_locations_limit': 0,
        'jax_hlo_source_file_canonicalization_regex': '.*',  # jax before 0.7.2 keeps one line
    }
    before = {name: getattr(jax.config, name) for name in wanted}
    for name, value in wanted.items():
        jax.config.update(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
