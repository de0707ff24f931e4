"""Folders of image pairs: where the splits are, and what lies in them.

A pair is one file with A on the left half and B on the right, as the published archives have
them, or two files of the same name in two folders; or more where there are A2, A3, ... beside A.
"""

import collections
import itertools
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from etils import epath

from pix2pix_jax.data.formats.pixels import EXTENSIONS
from pix2pix_jax.errors import DataError
from pix2pix_jax.storage.atomic import is_local

# Extensions of images that are not read.
OTHERS = frozenset([
    '.arw', '.avif', '.bmp', '.cr2', '.dcm', '.dng', '.exr', '.gif', '.hdr', '.heic', '.heif',
    '.jfif', '.jp2', '.jxl', '.nef', '.pbm', '.pgm', '.ppm', '.tga',
])  # fmt: skip
RUN = frozenset(['config.json', 'run.json'])  # the files by which a run's folder is known
THUMBNAILS = '@eaDir'  # the folder in which a Synology keeps those of images beside it
GALLERY = 'gallery'  # in a folder that `translate` wrote: the thumbnails of its page
# Of each split the names that others give it.
OTHER_NAMES = {
    'train': ('training',),
    'val': ('valid', 'validation', 'dev', 'eval'),
    'test': ('testing',),
}


def split_folders(
    root: epath.Path, split: str, layout: str, capitals: bool = False, mask: str = ''
) -> tuple[epath.Path, ...]:
    """Returns the folder of A|B, or those of A, A2, ... and B, or () where the split is not there.

    Args:
      root: the folder of the data set.
      split: 'train', 'val' or 'test'.
      layout: 'side_by_side' looks for A|B alone, 'two_folders' for A and B alone, 'auto' for A and
        B, then for A|B.
      capitals: whether only A and B count, as before version 0.2.0; by default a and b do, too.
      mask: the name of the folder of masks, which may be beside A and B.

    Raises:
      DataError: if one of A and B is missing, or A2 where there is A3.
    """
    if layout != 'side_by_side':
        for place in ('{}/' + split, split + '{}', split + '/{}'):
            folders = _pair_folders(root, place, mask)
            if folders and not (capitals and folders[0] != root / place.format('A')):
                return folders
    if layout != 'two_folders' and (root / split).is_dir():
        return (root / split,)
    return ()


def _places(root: epath.Path, split: str, name: str) -> list[epath.Path]:
    return [root / place.format(name) for place in ('{}/' + split, split + '{}', split + '/{}')]


def mask_folder(root: epath.Path, split: str, mask: str) -> epath.Path | None:
    """Returns the folder `mask` of a split in the place of A or B; None where there is none."""
    return next((folder for folder in _places(root, split, mask) if folder.is_dir()), None)


def mask_files(
    root: epath.Path, split: str, mask: str, names: Iterable[str], leave: bool
) -> tuple[dict[str, epath.Path], tuple[tuple[str, str], ...]]:
    """Returns the mask of each pair, a file of its name in the folder of masks of its split.

    And the names that have none, and why; there are such names only with `leave`.

    Args:
      root: the folder of the data set.
      split: 'train', 'val' or 'test', or another name of one.
      mask: the folder's name, in the place of A or B: train/mask, mask/train or trainmask.
      names: those of the pairs.
      leave: whether pairs without a mask are left out.

    Raises:
      DataError: where there is no such folder, or no mask of a pair that is not left out, or none.
    """
    folder = mask_folder(root, split, mask)
    if folder is None:
        places = ' or '.join(map(str, _places(root, split, mask)))
        raise DataError(f'config.dataset.mask={mask!r}: there is no {places}')
    files = image_files(folder)
    missing = [name for name in names if name not in files]
    masks = {name: files[name] for name in names if name in files}
    if missing and not (leave and masks):
        raise DataError(f'{folder} has no mask of {len(missing)} pairs: {examples(missing)}')
    return masks, tuple((name, f'{name} is not in {folder}') for name in missing)


def _pair_folders(root: epath.Path, place: str, mask: str) -> tuple[epath.Path, ...]:
    """Returns the folders of A, A2, ... and B, where `place` has the letter in it."""
    a, b = (_either_case(root, place, letter) for letter in 'AB')
    if a is None and b is None:
        return ()
    if a is None or b is None:
        there, letter = (a, 'A') if a else (b, 'B')
        if there != root / place.format(letter):  # a or b alone: any folder
            return ()
        raise DataError(
            f'{root / place.format("B" if a else "A")} is missing: there is {there}, and a pair '
            'needs both (for A|B in one file: --config.dataset.layout=side_by_side)'
        )
    if place.endswith('/{}') and a.name == 'a' and _is_one_of_many(a, mask):
        return ()
    more = (_either_case(root, place, f'A{n}') for n in itertools.count(2))
    there = list(itertools.takewhile(lambda folder: folder is not None, more))
    late = next(filter(None, itertools.islice(more, 8)), None)  # looks beyond a gap
    if late:
        missing = root / place.format(f'A{len(there) + 2}')
        raise DataError(f'{late} is there, and {missing} is missing')
    return a, *there, b


def _either_case(root: epath.Path, place: str, letter: str) -> epath.Path | None:
    """Returns the folder of a letter, A or a, if there is one; raises DataError for two."""
    names = [place.format(name) for name in (letter, letter.lower())]
    found = [root / name for name in names if (root / name).is_dir()]
    if len(found) == 2 and not (is_local(root) and os.path.samefile(*found)):
        raise DataError(f'there are {found[0]} and {found[1]}: allowed is one of them')
    return found[0] if found else None


def _is_one_of_many(folder: epath.Path, mask: str) -> bool:
    """Whether a folder beside `folder` is neither A nor B nor masks, as train/c beside train/a."""
    return any(
        not re.fullmatch(rf'\..*|{THUMBNAILS}|[aA]\d*|[bB]', path.name)
        and path.name != mask
        and path.is_dir()
        for path in folder.parent.iterdir()
    )


def pair_files(folders: tuple[epath.Path, ...]) -> dict[str, tuple[epath.Path, ...]]:
    """Returns the files of each pair, (A|B,) or (A, ..., B), by name, in natural order.

    Raises DataError if there are none, or if a name is not in all of the folders.
    """
    return pair_or_leave(folders, False)[0]


def pair_or_leave(
    folders: tuple[epath.Path, ...], leave: bool
) -> tuple[dict[str, tuple[epath.Path, ...]], tuple[tuple[str, str], ...]]:
    """Returns the pairs as `pair_files`, and the names that are not in all folders, and why.

    There are such names only with `leave`.
    """
    files = [image_files(folder) for folder in folders]
    first = files[0].keys()
    for folder, others in zip(folders[1:], files[1:]):
        if first != others.keys() and not leave:
            only_a, only_b = examples(first - others.keys()), examples(others.keys() - first)
            raise DataError(
                f'unpaired names: {len(first - others.keys())} only in {folders[0]} ({only_a}), '
                f'{len(others.keys() - first)} only in {folder} ({only_b})'
                + ''.join(f'; {line}' for line in _about((folders[0], folder), (first, others)))
            )
    every, shared = set().union(*files), set(first).intersection(*files)
    if not shared:
        raise DataError(f'no name is in both {folders[0]} and {folders[-1]}')
    unpaired = []
    for name in sorted(every - shared, key=natural):
        lacking = [str(folder) for folder, found in zip(folders, files) if name not in found]
        unpaired.append((name, f'{name} is not in {", ".join(lacking)}'))
    pairs = {name: tuple(found[name] for found in files) for name in sorted(shared, key=natural)}
    return pairs, tuple(unpaired)


def _about(folders: Sequence[epath.Path], names: Sequence[Iterable[str]]) -> list[str]:
    """Returns what may be why names in one of two folders are not in the other."""
    lines = []
    for folder in folders:
        if kinds := other_images(folder):
            lines.append(f'{folder} has {kinds}, which are not read: convert them')
    a, b = (sorted(some, key=natural) for some in names)
    alone = set(a) - set(b), set(b) - set(a)
    numbers = [{tuple(natural(name)[0]) for name in some} for some in alone]
    if same := len(numbers[0] & numbers[1]):
        lines.append(
            f'{same} of these differ in zeros before a number alone: give both folders one width '
            'of numbers, or list the pairs in train.csv (columns input, target)'
        )
    elif alone in (({a[0]}, {b[-1]}), ({a[-1]}, {b[0]})) and _is_numbered(a[0], b[0]):
        lines.append(
            'one is the first and one the last name: if the folders count from different numbers, '
            'equal names are no pairs: rename the files of one'
        )
    return lines


def _is_numbered(name: str, other: str) -> bool:
    """Whether two names differ in a number alone."""
    a, b = (re.sub(r'\d+', '0', one) for one in (name, other))
    return a == b and name != other


def _is_gallery(folder: epath.Path) -> bool:
    """Whether `folder` has the thumbnails of a page that `translate` wrote beside it."""
    page = folder.parent / 'index.html'
    if folder.name != GALLERY or not page.is_file():
        return False
    return f'src="{GALLERY}/'.encode() in page.read_bytes()


def image_files(folder: epath.Path) -> dict[str, epath.Path]:
    """Returns the images of `folder` and the folders in it by relative name, no extension.

    Names are in Unicode's composed form (NFC), so that an é is one however a system writes it.
    Links are followed. Left out are the folders of runs, the thumbnails of what `translate` wrote,
    and those of a Synology. Raises DataError for a name that two files have or that is no Unicode,
    a folder that cannot be read, and a link that leads nowhere or to a folder that it lies in.
    """
    if not folder.is_dir():
        raise DataError(f'{folder} is not a folder')
    found: dict[str, epath.Path] = {}
    twice: dict[str, tuple[epath.Path, ...]] = {}
    for name, path in image_paths(folder).items():
        stem = name.rpartition('.')[0]
        if stem in found:
            twice[stem] = found[stem], path
        found[stem] = path
    if twice:
        one, other = sorted(twice[min(twice, key=natural)])
        raise DataError(f'{one} and {other} have the same name: allowed is one file')
    if not found:
        kinds = other_images(folder)
        there = f'; there are {kinds}: convert them' if kinds else ''
        raise DataError(f'{folder} holds no images: allowed are {" ".join(EXTENSIONS)}{there}')
    return found


def image_paths(folder: epath.Path) -> dict[str, epath.Path]:
    """Returns the images of `folder` and the folders in it by relative path, as `image_files`."""
    found: dict[str, epath.Path] = {}
    for name, path in _walk(folder, '', ()):
        if name in found:  # written in two of Unicode's forms
            one, other = sorted((found[name], path))
            raise DataError(f'{one} and {other} have the same name: allowed is one file')
        found[name] = path
    return found


def has_images(folder: epath.Path) -> bool:
    """Whether there are images in `folder` or the folders in it."""
    return folder.is_dir() and any(True for _ in _walk(folder, '', ()))


def is_empty(folder: epath.Path) -> bool:
    """Whether there are no files in `folder` or the folders in it, but for hidden ones."""
    entries = {name: it for name, it in _entries(folder).items() if not name.startswith('.')}
    return all(is_folder and is_empty(folder / name) for name, is_folder in entries.items())


def other_kinds(names: Iterable[str]) -> collections.Counter[str]:
    """Returns how many of these files are images that are not read, by extension."""
    kinds = (os.path.splitext(name)[1].lower() for name in names if not name.startswith('.'))
    return collections.Counter(kind for kind in kinds if kind in OTHERS)


def kinds_text(kinds: Mapping[str, int]) -> str:
    """Returns kinds of files and how many there are, as .bmp (4), .gif (2)."""
    return ', '.join(f'{kind} ({count:,})' for kind, count in sorted(kinds.items()))


def other_images(folder: epath.Path) -> str:
    """Returns which images below a folder are not read, as `kinds_text`; '' in an object store."""
    walk = os.walk(folder) if is_local(folder) else ()
    return kinds_text(other_kinds(name for _, _, names in walk for name in names))


def _walk(
    folder: epath.Path, prefix: str, parents: tuple[str, ...]
) -> Iterable[tuple[str, epath.Path]]:
    """Yields (path, file); `parents` are the folders that it lies in, their links resolved."""
    if is_local(folder):
        real = os.path.realpath(folder)
        if real in parents:
            raise DataError(f'{folder} is a link to a folder that it lies in: take it away')
        parents = (*parents, real)
    entries = _entries(folder)
    if prefix and entries.keys() >= RUN:
        return
    for name, is_folder in entries.items():
        if name.startswith('.') or name == THUMBNAILS:
            continue
        path = folder / name
        if is_folder:
            if not _is_gallery(path):
                yield from _walk(path, f'{prefix}{_composed(name, path)}/', parents)
        elif os.path.splitext(name)[1].lower() in EXTENSIONS:
            yield prefix + _composed(name, path), path
        elif os.path.islink(path) and not path.exists():  # of a folder, perhaps
            raise DataError(f'{path} is a link to what is not there: mend it, or take it away')


def _entries(folder: epath.Path) -> dict[str, bool]:
    """Returns the names in a folder, each with whether it is that of a folder, or a link to one.

    In an object store, where each question has its price, what is named as an image is none.
    """
    try:
        if is_local(folder):  # with many files a tenth of the time that a look at each takes
            with os.scandir(folder) as entries:
                return {
                    entry.name: entry.is_dir(follow_symlinks=False)
                    or (entry.is_symlink() and os.path.isdir(entry))
                    for entry in entries
                }
        paths = list(folder.iterdir())
    except OSError as error:
        raise DataError(f'{folder} cannot be read: {error.strerror or error}') from error
    return {path.name: path.suffix.lower() not in EXTENSIONS and path.is_dir() for path in paths}


def _composed(name: str, path: epath.Path) -> str:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError(f'{str(path)!a}: the name is not Unicode (UTF-8); rename it') from error
    return unicodedata.normalize('NFC', name)


def natural(name: str) -> tuple:
    """Returns the key by which names are sorted: a2 before a10."""
    parts = re.split(r'([0-9]+)', name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def examples(names: Iterable[str]) -> str:
    """Returns the first three names, for a message."""
    names = sorted(names, key=natural)
    return ', '.join(names[:3]) + (', …' if len(names) > 3 else '') or 'none'
