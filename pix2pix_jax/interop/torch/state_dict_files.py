"""Reads and writes state dicts, {name: array}, in the formats that PyTorch users have them in."""

import io
import os
import pathlib
import tokenize
import zlib
from collections.abc import Mapping

import ml_dtypes  # noqa: F401 - with it numpy knows bfloat16
import numpy as np
import safetensors
import safetensors.numpy
from etils import epath

from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.interop.torch import pth
from pix2pix_jax.storage import atomic

PTH = ('.pth', '.pt')
SAFETENSORS = '.safetensors'
NPZ = '.npz'
# The last three are what numpy lets through of a damaged .npz.
DAMAGED = (
    *pth.DAMAGED, safetensors.SafetensorError, zlib.error, tokenize.TokenError, SyntaxError,
)  # fmt: skip


def read_state_dict(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Returns the tensors of a local .pth, .pt, .safetensors or .npz file, executing nothing of it.

    Dtypes are the file's; bfloat16 becomes float32, which holds it. Raises UserError for another
    ending, and DataError, in one line that names the file, for one that is missing or damaged.
    """
    ending = pathlib.Path(path).suffix.lower()
    if ending in PTH:
        return pth.read_tensors(path)
    if ending not in (SAFETENSORS, NPZ):
        raise UserError(f'{path}: allowed are files that end in .pth, .pt, .safetensors or .npz')
    try:
        with open(path, 'rb'):  # its errors say more than those of safetensors
            tensors = _read_safetensors(path) if ending == SAFETENSORS else _read_npz(path)
    except OSError as error:
        raise DataError(f'{path}: {error.strerror or error}') from error
    except DAMAGED as error:
        reason = str(error) or type(error).__name__
        raise DataError(f'{path}: damaged, or no {ending} file ({reason[:200]})') from error
    if not tensors:
        raise DataError(f'{path}: it holds no tensors')
    return tensors


def _read_safetensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    with safetensors.safe_open(path, 'np') as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return {
        name: tensor.astype(np.float32) if tensor.dtype.name == 'bfloat16' else tensor
        for name, tensor in tensors.items()
    }


def _read_npz(path: str | os.PathLike) -> dict[str, np.ndarray]:
    archive = np.load(path, allow_pickle=False)
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise ValueError('a single array')
    with archive:
        return dict(archive)


def check_writable(path: epath.PathLike) -> None:
    """Raises UserError where `write_state_dict` cannot write the format that `path` asks for."""
    ending = epath.Path(path).suffix.lower()
    if ending not in (*PTH, SAFETENSORS):
        raise UserError(f'{path}: allowed are files that end in .safetensors, .pth or .pt')
    if ending in PTH:
        try:
            import torch  # noqa: F401
        except ImportError as error:
            raise UserError(
                f'{path}: a {ending} file is written by PyTorch, which is not installed (pip '
                'install torch); allowed without it is .safetensors'
            ) from error


def write_state_dict(path: epath.PathLike, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes `tensors` to `path`, atomically: .safetensors, or .pth and .pt where torch is there.

    What is at `path` is replaced. Raises UserError as `check_writable`, and OSError.
    """
    check_writable(path)
    arrays = {name: np.array(value, order='C') for name, value in tensors.items()}
    if epath.Path(path).suffix.lower() == SAFETENSORS:
        data = safetensors.numpy.save(arrays, metadata={'format': 'pt'})
    else:
        import torch

        buffer = io.BytesIO()
        torch.save({name: torch.from_numpy(value) for name, value in arrays.items()}, buffer)
        data = buffer.getvalue()
    atomic.write_bytes(path, data)
