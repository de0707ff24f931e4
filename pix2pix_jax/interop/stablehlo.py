"""StableHLO: one file that jax alone runs, on CPUs, GPUs and TPUs, without this package.

    archive = zipfile.ZipFile('facades.stablehlo')
    model = jax.export.deserialize(archive.read('model'))
    outputs = model.call(inputs)  # float32 (N,H,W,C) on [-1, 1]
    metadata = json.loads(archive.read('metadata.json'))

It is a zip archive of two members, uncompressed, so that one file is one model: what jax.export
serializes has no place for metadata, and a second file beside it would be lost.
"""

import io
import json
import zipfile
from typing import Any

import jax
import jax.export
import numpy as np

from pix2pix_jax.interop import portable
from pix2pix_jax.interop.portable import Function, Portable

PLATFORMS = ('cpu', 'cuda', 'tpu')
MODEL, METADATA = 'model', 'metadata.json'


def to_bytes(model: Portable) -> bytes:
    """Returns the file."""
    function = portable.function(model, 'any')
    if model.weights == 'float16':
        function = _with_half_kernels(model)
    exported = jax.export.export(jax.jit(function), platforms=PLATFORMS)(
        portable.input_shape(model)
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:  # ZipInfo: the same bytes at any time
        archive.writestr(zipfile.ZipInfo(MODEL), bytes(exported.serialize()))
        archive.writestr(zipfile.ZipInfo(METADATA), json.dumps(model.metadata, indent=2) + '\n')
    return file.getvalue()


def load(data: bytes) -> tuple[Function, dict[str, Any]]:
    """Returns the function, float32 (N,H,W,Ci) -> (N,H,W,Co) in [-1,1], and the metadata."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        exported = jax.export.deserialize(bytearray(archive.read(MODEL)))
        return jax.jit(exported.call), json.loads(archive.read(METADATA))


def _with_half_kernels(model: Portable) -> Function:
    """Stores the kernels in half as many bytes; what is computed stays float32."""

    def is_kernel(leaf):
        return leaf.ndim == 4

    variables = jax.tree.map(
        lambda leaf: np.asarray(leaf, np.float16 if is_kernel(leaf) else None), model.variables
    )

    def function(x):
        full = jax.tree.map(lambda leaf: jax.numpy.asarray(leaf).astype(np.float32), variables)
        return portable.function(model._replace(variables=full), 'any')(x)

    return function
