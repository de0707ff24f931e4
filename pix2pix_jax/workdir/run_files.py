"""The files of a run by name: in its folder, or in the zip of a packed run.

This is the one place that tells the two apart for whoever reads a run. Nothing of a zip is
extracted: a member is read by its name, into memory. What is compressed has a limit, and what is
not has its size on the disk, so that no zip takes more memory than it seems to.
"""

import os
import re
import struct
import zipfile
import zlib

from etils import epath

from pix2pix_jax.errors import DataError

ENDING = '.zip'
PACKED = 'packed.json'  # a run without the folder checkpoints has it: scripts/pack_run.py
MAX_COMPRESSED = 2**26  # bytes of a compressed member, as it is read
DAMAGED = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, OSError,
    OverflowError, RuntimeError, ValueError,
)  # fmt: skip


def is_zip(workdir: epath.PathLike) -> bool:
    """Whether `workdir` names a zip, there or not, in place of a run's folder."""
    path = epath.Path(workdir)
    return path.suffix.lower() == ENDING and not path.is_dir()


def is_packed(workdir: epath.PathLike) -> bool:
    """Whether `workdir` names a packed run: a zip, or the folder that it was unpacked into."""
    path = epath.Path(workdir)
    return is_zip(path) or ((path / PACKED).exists() and not (path / 'checkpoints').exists())


def has_checkpoints(workdir: epath.PathLike) -> bool:
    """Whether the run in `workdir` holds trained weights."""
    return is_packed(workdir) or any((epath.Path(workdir) / 'checkpoints').glob('*/*'))


def run_name(workdir: epath.PathLike) -> str:
    """Returns the name of a run: its folder's, or that of a packed run's zip without the ending."""
    path = epath.Path(os.path.abspath(workdir))
    return path.stem if is_zip(path) else path.name


def exists(workdir: epath.PathLike, name: str) -> bool:
    """Whether the run has the file `name`; raises DataError as `read`."""
    if is_zip(workdir):
        return _read_member(epath.Path(workdir), name, content=False) is not None
    return (epath.Path(workdir) / name).exists()


def read(workdir: epath.PathLike, name: str) -> bytes | None:
    """Returns the file `name` of the run in `workdir`, None where it has none.

    Raises DataError, naming the zip and the member, for a zip that is damaged, or too large.
    """
    if is_zip(workdir):
        return _read_member(epath.Path(workdir), name)
    path = epath.Path(workdir) / name
    return path.read_bytes() if path.exists() else None


def read_text(workdir: epath.PathLike, name: str) -> str | None:
    """Returns the text of a file in UTF-8, as `read`; raises UnicodeDecodeError, a ValueError."""
    data = read(workdir, name)
    return None if data is None else data.decode()


def _read_member(path: epath.Path, name: str, content: bool = True) -> bytes | None:
    """Returns a member of a zip, b'' where its `content` is not asked for, None without it."""
    if not path.exists():
        return None
    try:
        with path.open('rb') as file, zipfile.ZipFile(file) as archive:
            found = [info for info in archive.infolist() if info.filename == name]
            if len(found) > 1:
                raise ValueError('it is there twice')
            if not found or not content:
                return b'' if found else None
            info = found[0]
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError('it is compressed in a way that no packed run is')
            if info.compress_type != zipfile.ZIP_STORED and info.file_size > MAX_COMPRESSED:
                limit = f'allowed are {MAX_COMPRESSED:,} where they are compressed'
                raise ValueError(f'it has {info.file_size:,} bytes: {limit}')
            with archive.open(info) as member:
                data = member.read(info.file_size + 1)  # past its end, where its CRC is compared
            if len(data) != info.file_size:
                raise EOFError('it is cut short')
            return data
    except DAMAGED as error:
        # zipfile's messages may hold names of members with any characters.
        reason = re.sub(r'[^ -~]+', '?', str(error)) or type(error).__name__
        raise DataError(
            f'{path}: damaged, or no packed run, at its member {name} ({reason[:200]})'
        ) from error
