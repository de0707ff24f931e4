"""Reads mutated lists, split files and tables of colours: no crash, no hang.

python scripts/fuzz_texts.py [--files=20000 --seed=0 --seconds=10]

Each file is a text that a user writes for a data set (TEXTS), of which bytes were changed as
scripts/fuzz_images.py does it, or that was written as other programs write it: with backslashes,
as UTF-16, with NUL characters, quotes, and other ends of lines. Reading it, and the images that it
names, must end within --seconds, in the same way when it is read again: in an error of one line
that names the file or an image, or in what was read, each pair with as many images as the others.
"""

import collections
import faulthandler
import functools
import pathlib
import re
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from absl import flags
from etils import epath
from PIL import Image

from fuzz_images import fuzz_flags, mutate
from pix2pix_jax.data import label_colors, pattern_files, patterns
from pix2pix_jax.data.image_spec import ImageSpec
from pix2pix_jax.data.lists import read_list, read_masks, read_outputs
from pix2pix_jax.data.sources import Source
from pix2pix_jax.errors import UserError, run_command

# Images that are there: inputs, targets, inputs of the targets' names, masks.
NAMES = (
    *('a/1.png', 'a/2.png', 'b/1 é.png', 'b/2.png'),
    *('c/1 é.png', 'c/2.png', 'm/1.png', 'm/2.png'),
)
PATTERNS = patterns.parse_patterns('c/*.png', 'b/*.png')
SIDE = 16


class Text(NamedTuple):
    """A kind of text file: its name, what is in it, and what reads it."""

    file: str
    text: str
    read: Callable[[epath.Path], Any]  # a value that says what was read


def read_pairs(path: epath.Path, column: str = '') -> list:
    """Returns the names of a list's pairs, their files and all their pixels; raises DataError.

    `column` is that of their masks; '': there are none.
    """
    pairs = read_list(path)
    masks = tuple(read_masks(path, column, pairs, False)[0].values()) if column else ()
    assert len({len(files) for files in pairs.values()}) == 1, pairs
    assert all(name and '..' not in name.split('/') for name in pairs), pairs
    specs = ImageSpec('input', 3), ImageSpec('target', 3)
    source = Source(str(path), tuple(pairs), tuple(pairs.values()), 'AtoB', specs, masks=masks)
    pixels = [[image.tobytes() for image in source[i].values()] for i in range(len(source))]
    return [list(pairs), [list(map(str, files)) for files in pairs.values()], pixels]


def read_split_file(path: epath.Path) -> list:
    """Returns the pairs of each split, and the names that are no pair; raises DataError."""
    found = pattern_files.find_pairs(path.parent, PATTERNS, skip=True)
    assert all(len(files) == 2 for pairs in found.splits.values() for files in pairs.values())
    splits = {
        split: {name: list(map(str, files)) for name, files in pairs.items()}
        for split, pairs in found.splits.items()
    }
    return [splits, found.unpaired]


def read_table(path: epath.Path) -> list:
    """Returns a table of colours, as text; raises UserError."""
    table = label_colors.table(str(path))
    text = label_colors.to_text(table)
    assert label_colors.table(text) == table
    return [text]


def read_paired(path: epath.Path) -> list:
    """Returns the names and files of a list of real and generated images; raises DataError."""
    return [
        (name, *map(str, files)) for name, files in read_outputs(path, *[path.parent] * 2).items()
    ]


# A row for each kind of file that is read.
TEXTS = {
    'csv': Text('train.csv', 'input,target\na/1.png,b/1 é.png\na/2.png,b/2.png\n', read_pairs),
    'csv-quoted': Text(
        'train.csv', '"target","input"\n"b/1 é.png","a/1.png"\n"b/2.png","a/2.png"\n', read_pairs
    ),
    'json': Text(
        'train.json',
        '[{"input": "a/1.png", "target": "b/1 é.png"},\n'
        ' {"input": ["a/2.png"], "target": "b/2.png"}]',
        read_pairs,
    ),
    'csv-masks': Text(
        'train.csv',
        'input,target,mask\na/1.png,b/1 é.png,m/1.png\na/2.png,b/2.png,m/2.png\n',
        functools.partial(read_pairs, column='mask'),
    ),
    'outputs': Text(
        'pairs.csv', 'real,generated\na/1.png,b/1 é.png\na/2.png,b/2.png\n', read_paired
    ),
    'split file': Text('train.txt', '1 é\nb/2.png\n', read_split_file),
    'colours': Text('colours.txt', 'sky 0,100,200\nwall 1,100,200\nvoid 9,9,9\n', read_table),
}
# What is done to the text, beside `mutate` to its bytes.
EDITS: dict[str, Callable[[str, int], bytes]] = {
    'backslashes': lambda text, at: text.replace('/', '\\').encode(),
    'utf-16': lambda text, at: text.encode('utf-16'),
    'utf-16 without its mark': lambda text, at: text.encode('utf-16-le'),
    'latin-1': lambda text, at: text.encode('latin-1'),
    'mark': lambda text, at: text.encode('utf-8-sig'),
    'nul': lambda text, at: (text[:at] + '\0' + text[at:]).encode(),
    'quote': lambda text, at: (text[:at] + '"' + text[at:]).encode(),
    'ends of lines': lambda text, at: text.replace('\n', '\r' if at % 2 else '\r\n').encode(),
    'up': lambda text, at: text.replace('a/', '../' * (1 + at % 3) + 'a/').encode(),
    'long': lambda text, at: (text[:at] + 'x' * 200_000 + text[at:]).encode(),
    'a line twice': lambda text, at: (text + text.splitlines()[-1]).encode(),
    'surrogate': lambda text, at: (text[:at] + '\udc80' + text[at:]).encode(
        'utf-8', 'surrogatepass'
    ),
}


def write_images(folder: pathlib.Path) -> None:
    """Writes the images that the texts name, each of another colour."""
    for number, name in enumerate(NAMES):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new('RGB', (SIDE, SIDE), (number, 100, 200)).save(folder / name)


def edit(text: str, rng: np.random.Generator) -> tuple[str, bytes]:
    """Returns what was done, and the bytes of the file after it."""
    if rng.random() < 0.5:
        return mutate(text.encode(), rng)
    name = str(rng.choice(list(EDITS)))
    return name, EDITS[name](text, int(rng.integers(len(text))))


def read(kind: Text, path: pathlib.Path) -> Any:
    """Returns what was read, or the error of one line; raises for anything else."""
    try:
        return kind.read(epath.Path(path))
    except UserError as error:  # a DataError, too
        message = str(error)
        named = str(path.parent) in message or message.startswith('/')  # a list may have any path
        assert '\n' not in message and named, error
        return re.sub(r'0x[0-9a-f]+', '', message)


def fuzz(folder: pathlib.Path, files: int, seed: int, seconds: float) -> collections.Counter:
    """Reads mutated files; returns {(kind, what was done, outcome): count}.

    Ends the process for a file that takes too long; a file that fails stays in `folder`.

    Args:
      folder: where they are written, with the images that they name.
      files: how many.
      seed: with its number it says what is done to a file.
      seconds: time limit of a file.
    """
    write_images(folder)
    outcomes: collections.Counter = collections.Counter()
    right = {}
    for name, kind in TEXTS.items():
        (folder / kind.file).write_bytes(kind.text.encode())
        right[name] = read(kind, folder / kind.file)
        assert not isinstance(right[name], str), right[name]
    for number in range(files):
        rng = np.random.default_rng((seed, number))
        name = list(TEXTS)[number % len(TEXTS)]
        kind = TEXTS[name]
        what, data = edit(kind.text, rng)
        (folder / kind.file).write_bytes(data)
        faulthandler.dump_traceback_later(seconds, exit=True)
        try:
            found = read(kind, folder / kind.file)
            assert found == read(kind, folder / kind.file), 'two reads differ'
        except Exception as error:
            error.add_note(f'file {number}, {name} after {what}: {data[:300]!r}')
            raise
        finally:
            faulthandler.cancel_dump_traceback_later()
        same = 'read, the same' if found == right[name] else 'read, other pairs'
        outcomes[name, what, 'refused' if isinstance(found, str) else same] += 1
    return outcomes


def main(values: flags.FlagValues) -> None:
    """Reads them and prints the outcomes."""
    with tempfile.TemporaryDirectory(prefix='fuzz-') as folder:
        outcomes = fuzz(pathlib.Path(folder), values.files, values.seed, values.seconds)
    rows: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    for (name, what, outcome), count in outcomes.items():
        rows[name][outcome] += count
        rows[what][outcome] += count
    columns = 'refused', 'read, the same', 'read, other pairs'
    print(f'{"":<24}' + ''.join(f'{column:>20}' for column in columns))
    for row, counts in rows.items():
        print(f'{row:<24}' + ''.join(f'{counts[column]:>20,}' for column in columns))
    print(f'{values.files:,} files, no crash, no hang')


if __name__ == '__main__':
    run_command(main, fuzz_flags)
