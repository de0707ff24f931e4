"""What names of files, and of folders beside them, say against A|B: that each is one image."""

import bisect
import collections
import itertools
import os
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from etils import epath

from pix2pix_jax.data import name_families
from pix2pix_jax.data.folders import OTHER_NAMES
from pix2pix_jax.data.formats.pixels import EXTENSIONS, File

SAMPLE = 32  # names that are compared with those of a folder beside
MAX_LISTED = 20_000  # names of a folder beside
MOST = 0.5  # share of files
OF_SPLITS = {*OTHER_NAMES, *itertools.chain(*OTHER_NAMES.values())}


def sub_folders(files: Mapping[str, File]) -> str:
    """Says which folders within the folder hold files of equal names."""
    folders_of = collections.defaultdict(list)
    for name in files:
        folder, _, stem = name.rpartition('/')
        folders_of[stem].append(folder)
    twins = {stem: folders for stem, folders in folders_of.items() if len(folders) > 1}
    if sum(map(len, twins.values())) <= MOST * len(files):
        return ''
    (folders, _), *_ = collections.Counter(tuple(f[:3]) for f in twins.values()).most_common(1)
    return f'{" and ".join(f"{f}/" if f else "it" for f in folders)} hold files of equal names'


def twins_of_above(files: Mapping[str, File]) -> set[str]:
    """Returns the folders whose files mostly have names of files in a folder that they lie in."""
    count, twins = collections.Counter[str](), collections.Counter[str]()
    for name in files:
        folder, _, stem = name.rpartition('/')
        count[folder] += 1
        parts = folder.split('/')
        above = ('/'.join((*parts[:i], stem)) for i in range(len(parts)))
        twins[folder] += folder != '' and any(one in files for one in above)
    return {folder for folder, number in twins.items() if number > MOST * count[folder]}


def beside(root: epath.Path, folder: epath.Path, files: Mapping[str, File]) -> str:
    """Says which folder in `root` holds files of the names of those in `folder`."""
    stems = sorted({name.rpartition('/')[2] for name in files})
    stems = [stems[i] for i in sorted(np.random.default_rng(0).permutation(len(stems))[:SAMPLE])]
    for other in _folders_beside(root, folder):
        endings, share = _endings(stems, _stems_in(other))
        if share > MOST:
            but = '' if endings == ('', '') else f', but for {" and ".join(map(repr, endings))}'
            return f'{other} holds files of the same names{but}'
    return ''


def _folders_beside(root: epath.Path, folder: epath.Path) -> Iterable[epath.Path]:
    for path in sorted(root.iterdir()):
        if path.name.startswith('.') or path.name.lower() in OF_SPLITS or not path.is_dir():
            continue
        yield path
        if (path / folder.name).is_dir():
            yield path / folder.name


def _stems_in(folder: epath.Path) -> list[str]:
    paths = itertools.islice(folder.iterdir(), MAX_LISTED)
    return sorted({path.stem for path in paths if path.suffix.lower() in EXTENSIONS})


def families(files: Mapping[str, File]) -> str:
    """Says where names differ by one word alone, at the end or at the beginning.

    Two folders may be two families; of more each is looked at alone, as one may be of each city.
    """
    folders = collections.defaultdict(list)
    for name in sorted(files):
        folders[name.rpartition('/')[0]].append(name)
    groups = folders.values() if len(folders) > 2 else [sorted(files)]
    kinds = name_families.find_kinds(name_families.files_of(list(files)))
    if kinds:
        return f'its names are of {len(kinds)} kinds, {", ".join(one.pattern() for one in kinds)}'
    for turned in (False, True):
        turn = (lambda text: text[::-1]) if turned else str
        found = [_family(sorted(map(turn, names))) for names in groups]
        count = sum(len(names) for names, two in zip(groups, found) if two)
        if count > MOST * len(files):
            a, b = next(filter(None, found))
            return f'its names are in two families, as {turn(a)} and {turn(b)}'
    return ''


def _family(names: list[str]) -> tuple[str, ...]:
    """Returns the first two of the sorted `names` that differ as most do; () for none."""
    endings, share = _endings(names, names)
    if share <= MOST or len(names) < 4:
        return ()
    return next(two for two in itertools.pairwise(names) if _rest(*two) == endings)


def _endings(names: Sequence[str], others: Sequence[str]) -> tuple[tuple[str, str], float]:
    """Returns by which endings most names differ from the most similar of the sorted `others`.

    And the share of names of which that is so. Endings of digits alone are numbers, no families.
    """
    count: collections.Counter[tuple[str, str]] = collections.Counter()
    for name in names:
        i = bisect.bisect_left(others, name)
        if names is not others and i < len(others) and others[i] == name:
            count['', ''] += 1
            continue
        near = [others[j] for j in (i - 1, i, i + 1) if 0 <= j < len(others) and others[j] != name]
        rests = [_rest(*sorted((name, other))) for other in near if other[0] == name[0]]
        if rests:
            count[min(rests, key=lambda endings: len(''.join(endings)))] += 1
    for endings, times in count.most_common(3):
        if endings == ('', '') or not ''.join(endings).isdigit():
            return endings, times / len(names)
    return ('', ''), 0.0


def _rest(a: str, b: str) -> tuple[str, str]:
    common = len(os.path.commonprefix((a, b)))
    return a[common:], b[common:]
