"""Reads the tensors of a PyTorch file (.pth, .pt) without PyTorch, and without executing anything.

Both formats of `torch.save`: the zip archive (since PyTorch 1.6), which holds data.pkl and a file
for each storage, and the one before it, which is a row of pickles followed by the storages. Only
what describes tensors is allowed in a pickle; anything else is refused by name. See torch/
serialization.py and torch/_utils.py of PyTorch for the formats.
"""

import functools
import io
import math
import os
import zipfile
from collections.abc import Callable, Mapping
from typing import IO, Any

import numpy as np

from pix2pix_jax.errors import DataError
from pix2pix_jax.interop.torch import pickle_reader

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
BFLOAT16 = np.dtype('V2')  # numpy has none: two bytes, made float32 at the end
DTYPES: dict[str, np.dtype] = {
    'DoubleStorage': np.dtype('<f8'),
    'FloatStorage': np.dtype('<f4'),
    'HalfStorage': np.dtype('<f2'),
    'BFloat16Storage': BFLOAT16,
    'LongStorage': np.dtype('<i8'),
    'IntStorage': np.dtype('<i4'),
    'ShortStorage': np.dtype('<i2'),
    'CharStorage': np.dtype('i1'),
    'ByteStorage': np.dtype('u1'),
    'BoolStorage': np.dtype('?'),
}
TENSORS = ('torch._utils._rebuild_tensor_v2', 'torch._utils._rebuild_tensor')
PARAMETERS = ('torch._utils._rebuild_parameter', 'torch._utils._rebuild_parameter_with_state')
OTHERS = 'float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool Size device'
ALLOWED = frozenset(
    [pickle_reader.MAPPING, *TENSORS, *PARAMETERS]
    + [f'torch.{name}' for name in (*DTYPES, *OTHERS.split())]
)
# What reading a damaged file may raise: it is of no use to tell these apart.
DAMAGED = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, EOFError, RuntimeError,
    MemoryError, zipfile.BadZipFile,
)  # fmt: skip

Storages = Callable[[tuple], np.ndarray]  # from a persistent id to the elements


def read_tensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Returns {name: array} of the state dict in the PyTorch file `path`.

    That is the file's own mapping, or the one under its key 'state_dict'; all values must be
    tensors. Arrays have the tensors' shapes and dtypes, except that bfloat16 becomes float32 (which
    holds it exactly); they may be read-only. Raises DataError, in one line that names the file, for
    one that cannot be read, is no PyTorch file, is cut short, or asks for anything but tensors.
    """
    try:
        with open(path, 'rb') as file:
            return _read(file)
    except OSError as error:
        raise DataError(f'{path}: {error.strerror or error}') from error
    except pickle_reader.Refused as error:
        raise DataError(
            f'{path}: only the tensors of a state dict are read, but {error}'
        ) from error
    except DAMAGED as error:
        reason = str(error) or type(error).__name__
        raise DataError(f'{path}: damaged, or no PyTorch file ({reason[:200]})') from error


def _read(file: IO[bytes]) -> dict[str, np.ndarray]:
    file_size = file.seek(0, os.SEEK_END)
    file.seek(0)
    is_zip = file.read(4) == b'PK\3\4'
    file.seek(0)
    tree, storages = _open_zip(file) if is_zip else _open_legacy(file, file_size)
    if isinstance(tree, Mapping) and isinstance(tree.get('state_dict'), Mapping):
        tree = tree['state_dict']
    if not isinstance(tree, Mapping) or not tree:
        raise pickle_reader.Refused('it holds no mapping of names to them')
    tensors = {}
    for name, value in tree.items():
        if not isinstance(name, str) or not isinstance(value, pickle_reader.Call):
            raise pickle_reader.Refused(f'its {str(name)[:100]!r} is none')
        tensors[name] = _tensor(value, storages, file_size)
    return tensors


def _open_zip(file: IO[bytes]) -> tuple[Any, Storages]:
    archive = zipfile.ZipFile(file)
    pickled = [name for name in archive.namelist() if name.endswith('/data.pkl')]
    if len(pickled) != 1:
        raise ValueError('a zip archive without data.pkl')
    folder = pickled[0].removesuffix('data.pkl')

    @functools.cache
    def read(name: str) -> bytes:
        if archive.getinfo(folder + name).compress_type != zipfile.ZIP_STORED:
            raise ValueError(
                'compressed'
            )  # torch never does, and a few bytes could fill the memory
        return archive.read(folder + name)

    if f'{folder}byteorder' in archive.namelist():
        _check_little_endian(read('byteorder') == b'little')

    def storages(persistent_id: tuple) -> np.ndarray:
        key, dtype, count = _storage(persistent_id)
        data = read(f'data/{key}')
        if len(data) != count * dtype.itemsize:
            raise ValueError(f'storage {key} has {len(data)} bytes')
        return np.frombuffer(data, dtype)

    return pickle_reader.read(io.BytesIO(read('data.pkl')), ALLOWED), storages


def _open_legacy(file: IO[bytes], file_size: int) -> tuple[Any, Storages]:
    for expected in (LEGACY_MAGIC, LEGACY_PROTOCOL):
        if pickle_reader.read(file, ALLOWED) != expected:
            raise ValueError('it begins otherwise')
    _check_little_endian(pickle_reader.read(file, ALLOWED)['little_endian'])
    references: list[tuple] = []
    tree = pickle_reader.read(file, ALLOWED, references)
    kinds: dict[str, tuple[np.dtype, int]] = {}
    for key, dtype, count in map(_storage, references):
        if kinds.setdefault(key, (dtype, count)) != (dtype, count):
            raise ValueError(f'storage {key} is of two kinds')
    contents = {}
    for key in pickle_reader.read(file, ALLOWED):
        dtype, count = kinds[key]
        size = count * dtype.itemsize
        if int.from_bytes(file.read(8), 'little') != count or size > file_size - file.tell():
            raise ValueError(f'storage {key} is cut short')
        contents[key] = np.frombuffer(file.read(size), dtype)

    def storages(persistent_id: tuple) -> np.ndarray:
        view = persistent_id[5]
        elements = contents[persistent_id[2]]
        if view is None:
            return elements
        _, start, count = view  # a part of the storage, in files of PyTorch before 0.4
        if not 0 <= start <= start + count <= len(elements):
            raise ValueError('a view is out of its storage')
        return elements[start : start + count]

    return tree, storages


def _storage(persistent_id: tuple) -> tuple[str, np.dtype, int]:
    kind, name, key, _, count = persistent_id[:5]
    dtype = DTYPES.get(name.name.removeprefix('torch.'))
    if kind != 'storage' or not isinstance(key, str) or dtype is None or not _is_count(count):
        raise ValueError('a reference to no storage')
    return key, dtype, count


def _tensor(call: pickle_reader.Call, storages: Storages, file_size: int) -> np.ndarray:
    """Returns the array that `call` describes, as a view of its storage."""
    while call.name in PARAMETERS:
        call = call.args[0]
    if call.name not in TENSORS:
        raise pickle_reader.Refused(f'it holds a {call.name}')
    reference, offset, shape, strides = call.args[:4]
    if not all(map(_is_count, (offset, *shape, *strides))) or len(shape) != len(strides):
        raise ValueError('a tensor of a wrong shape')
    elements = storages(reference.id)
    size = elements.itemsize
    if math.prod(shape) * size > file_size:  # strides of 0 could make an array of any size
        raise ValueError(f'a tensor of shape {shape} is larger than the file')
    # numpy checks that all of the array lies in the storage.
    array = np.ndarray(
        shape, elements.dtype, elements, offset * size, [stride * size for stride in strides]
    )
    if array.dtype == BFLOAT16:
        bits = np.ascontiguousarray(array).view('<u2').reshape(shape)
        return (bits.astype('<u4') << 16).view('<f4')
    return array


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _check_little_endian(is_little: bool) -> None:
    if is_little is not True:
        raise ValueError('of a big-endian machine')
