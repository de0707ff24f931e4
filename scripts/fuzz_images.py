"""Reads mutated JPEG, PNG, WebP, TIFF and NumPy pairs: no crash, no hang, no silent wrong pair.

python scripts/fuzz_images.py [--files=20000 --seed=0 --seconds=10 --folder=DIR]

Each file is a pair that was cut, or had bytes flipped, inserted, deleted, copied or its header
edited. Reading it must end within --seconds, in a DataError of one line that names the file, or
in a pair of two images of one size, three channels and a type that is allowed, the same when it is
read again. Where what was done can be noticed, the pair must be the original one to the last bit:
any cut, and anything done to a PNG without making its checksums anew.

Runs in a process of its own, so that a crash is seen; its last file is kept and named.
"""

import collections
import faulthandler
import io
import pathlib
import resource
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Mapping

import numpy as np
from absl import flags
from etils import epath
from PIL import Image

from pix2pix_jax.data.formats import encode
from pix2pix_jax.data.image_spec import ImageSpec
from pix2pix_jax.data.sources import Source
from pix2pix_jax.errors import DataError, run_command

WIDTH, HEIGHT = 48, 24  # of A|B
FORMATS = {  # name: Pillow's format and options
    'jpeg': ('JPEG', {}),
    'progressive': ('JPEG', {'progressive': True}),
    'png': ('PNG', {}),
    'png-palette': ('PNG', {}),
    'webp': ('WEBP', {}),
    'webp-lossless': ('WEBP', {'lossless': True}),
}
DEEP = {'png-16': '.png', 'tiff': '.tif', 'numpy': '.npy'}  # 16 bits; TIFF's are compressed
EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF)
BATCH = 2000  # files, in a process
MAX_MEMORY = 3 * 2**30  # of the whole process: a file of MAX_PIXELS is decoded, turned and blended


def fuzz_flags() -> flags.FlagValues:
    """Returns the flags of all commands that read mutated files."""
    values = flags.FlagValues()
    flags.DEFINE_integer('files', 20_000, 'How many.', lower_bound=1, flag_values=values)
    flags.DEFINE_integer('seed', 0, 'Of what is done to them.', flag_values=values)
    about = 'Time limit of a file.'
    flags.DEFINE_float('seconds', 10, about, lower_bound=0.1, flag_values=values)
    return values


def define_flags() -> flags.FlagValues:
    """Returns the flags of this command."""
    values = fuzz_flags()
    about = 'Where mutated files lie; by default a temporary folder.'
    flags.DEFINE_string('folder', '', about, flag_values=values)
    about = 'Number of the first file of a batch: the command gives it to its own processes.'
    flags.DEFINE_integer('child', None, about, flag_values=values)
    return values


def originals() -> dict[str, bytes]:
    """Returns a pair in each of the formats, smooth with some noise, with EXIF in it."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    image = np.stack([5 * x, 10 * y, 3 * (x + y)], axis=-1) + rng.integers(0, 9, (HEIGHT, WIDTH, 3))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 3, 'a pair'
    files = {}
    for name, (kind, options) in FORMATS.items():
        picture = Image.fromarray(image.astype(np.uint8))
        picture = picture.quantize(32) if name == 'png-palette' else picture
        stream = io.BytesIO()
        picture.save(stream, kind, exif=exif, **options)
        files[name] = stream.getvalue()
    for name, extension in DEEP.items():
        files[name] = encode.encode(image.astype(np.uint16) * 200, extension)
    return files


def mutate(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Returns what was done, and `data` after it."""
    at, length = int(rng.integers(len(data))), int(rng.integers(1, 33))
    out = bytearray(data)
    kind = str(rng.choice(['cut', 'flip', 'insert', 'delete', 'copy', 'header', 'chunk']))
    if kind == 'chunk' and data[:4] != b'\x89PNG':
        kind = 'header'
    if kind == 'cut':
        return kind, data[:at]
    if kind == 'flip':
        for i in rng.integers(len(data), size=int(rng.integers(1, 9))):
            out[i] ^= 1 << int(rng.integers(8))
    elif kind == 'insert':
        out[at:at] = rng.bytes(length)
    elif kind == 'delete':
        del out[at : at + length]
    elif kind == 'copy':
        source = int(rng.integers(len(data)))
        out[at : at + length] = data[source : source + length]
    elif kind == 'header':
        for i in rng.integers(min(len(data), 256), size=int(rng.integers(1, 5))):
            out[i] = int(rng.choice(EXTREMES))
    else:
        return kind, _edit_chunk(data, rng)
    return kind, bytes(out)


def _edit_chunk(data: bytes, rng: np.random.Generator) -> bytes:
    """Edits a byte of a PNG's chunk and makes its checksum anew, as a wrong encoder would."""
    chunks, at = [], 8
    while at < len(data):
        (length,) = struct.unpack_from('>I', data, at)
        chunks.append((at, length))
        at += length + 12
    at, length = chunks[int(rng.integers(len(chunks)))]
    body = bytearray(data[at + 4 : at + 8 + length])
    if length:
        body[4 + int(rng.integers(length))] = int(rng.choice(EXTREMES))
    return data[: at + 4] + body + struct.pack('>I', zlib.crc32(body)) + data[at + 12 + length :]


def read(file: pathlib.Path) -> dict[str, np.ndarray] | str:
    """Returns the pair, or the error of one line that names the file; raises for anything else."""
    specs = ImageSpec('input', 3), ImageSpec('target', 3)
    source = Source(str(file.parent), (file.stem,), ((epath.Path(file),),), 'AtoB', specs)
    try:
        pair = source[0]
    except DataError as error:
        assert str(file) in str(error) and '\n' not in str(error), error
        return str(error)
    for image in pair.values():
        assert image.dtype in (np.uint8, np.uint16, np.float32), image.dtype
        assert image.shape == pair['input'].shape, image.shape
        assert image.ndim == 3 and image.shape[2] == 3 and image.size, image.shape
    return pair


def same(a: dict | str, b: dict | str) -> bool:
    """Whether two results of `read` are the same pair, or the same error."""
    if isinstance(a, str) or isinstance(b, str):
        return a == b
    return all(np.array_equal(a[key], b[key]) for key in a)


def fuzz(folder: pathlib.Path, first: int, count: int, seed: int, seconds: float) -> dict:
    """Reads mutated files; returns {(format, what was done, outcome): count}.

    Ends the process for a file that takes too long.

    Args:
      folder: where the files are written, each in place of the last of its format.
      first: the number of the first file.
      count: how many files.
      seed: with its number it says what is done to a file.
      seconds: time limit of a file.

    Raises:
      AssertionError: for a silent wrong pair; the file stays in `folder`.
    """
    outcomes = collections.Counter()
    files = originals()
    right = {}
    for name, data in files.items():
        file = folder / f'{name}.png'
        file.write_bytes(data)
        right[name] = read(file)
        assert not isinstance(right[name], str), right[name]
    for number in range(first, first + count):
        rng = np.random.default_rng((seed, number))
        name = list(files)[number % len(files)]
        what, data = mutate(files[name], rng)
        file = folder / f'mutated-{name}.png'
        file.write_bytes(data)
        faulthandler.dump_traceback_later(seconds, exit=True)
        try:
            result = read(file)
            assert same(result, read(file)), f'{file}: two reads differ'
        finally:
            faulthandler.cancel_dump_traceback_later()
        if isinstance(result, str):
            outcome = 'refused'
        elif same(result, right[name]):
            outcome = 'read, the same'
        else:
            outcome = 'read, other pixels'
            noticed = what == 'cut' or (name.startswith('png') and what != 'chunk')
            assert not noticed, f'{file}: a silent wrong pair after {what}'
        outcomes[name, what, outcome] += 1
    return outcomes


# ---------------------------------------------------------------- the command


def main(values: flags.FlagValues) -> int:
    """Runs batches of files in processes of their own and prints the outcomes."""
    if values.child is not None:
        print_batch(values)
        return 0
    folder = values.folder or tempfile.mkdtemp(prefix='fuzz-')
    outcomes, peak = collections.Counter(), 0
    for first in range(0, values.files, BATCH):
        words = [f'--files={min(BATCH, values.files - first)}', f'--seed={values.seed}']
        words += [f'--seconds={values.seconds}', f'--folder={folder}', f'--child={first}']
        done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True)
        if done.returncode:
            print(f'{done.stderr}\nfailed in files {first} and on; the file is in {folder}')
            return 1
        *lines, memory = done.stdout.splitlines()
        peak = max(peak, int(memory))
        for name, what, outcome, n in (line.split('\t') for line in lines):
            outcomes[name, outcome] += int(n)
            outcomes[what, outcome] += int(n)
            outcomes['all', outcome] += int(n)
    print('\n'.join(table(outcomes)))
    print(
        f'{values.files:,} files, no crash, no hang, no silent wrong pair; {peak / 2**20:,.0f} MiB'
    )
    return int(peak > MAX_MEMORY)


def print_batch(values: flags.FlagValues) -> None:
    """Reads one batch, in this process; prints a line for each outcome, then the most memory."""
    faulthandler.enable()
    folder = pathlib.Path(values.folder)
    folder.mkdir(parents=True, exist_ok=True)
    found = fuzz(folder, values.child, values.files, values.seed, values.seconds)
    for key, n in found.items():
        print(*key, n, sep='\t')
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def table(outcomes: Mapping[tuple[str, str], int]) -> list[str]:
    """Returns the lines of a table: a row for each format and each thing done, then all."""
    kinds = ('refused', 'read, the same', 'read, other pixels')
    lines = [f'{"":<16}' + ''.join(f'{kind:>20}' for kind in kinds)]
    done = sorted({row for row, _ in outcomes} - {'all', *FORMATS, *DEEP})
    for row in (*FORMATS, *DEEP, *done, 'all'):
        lines.append(f'{row:<16}' + ''.join(f'{outcomes[row, kind]:>20,}' for kind in kinds))
    return lines


if __name__ == '__main__':
    run_command(main, define_flags)
