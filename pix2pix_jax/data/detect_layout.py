"""Whether the files of a folder are A|B side by side, where nobody said so (layout=auto).

What tells otherwise: folders or names that come in two kinds, odd widths, and content that runs on
across the middle. A sample is read, so that the start stays quick.
"""

import bisect
import collections
import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from etils import epath

from pix2pix_jax.data import halves, name_families
from pix2pix_jax.data.augment import Size
from pix2pix_jax.data.folders import OTHER_NAMES
from pix2pix_jax.data.formats import decode, orientation
from pix2pix_jax.data.formats.pixels import EXTENSIONS, File
from pix2pix_jax.data.hold_out import Known
from pix2pix_jax.data.sources import Source
from pix2pix_jax.data.sources import sample as sample_of
from pix2pix_jax.errors import DataError

SAMPLE = 32  # files whose pixels are looked at
MAX_PIXELS = 2**26  # of all of these; 8 files in any case
MAX_LISTED = 20_000  # names of a folder beside
OF_SPLITS = {*OTHER_NAMES, *itertools.chain(*OTHER_NAMES.values())}
SQUARE = 1.4  # width by height of a file below which it is likely one image
MOST, MANY, SOME = 0.5, 0.4, 0.25  # shares of files


class Sample(NamedTuple):
    """The features of a sample of the files."""

    names: list[str]
    kinds: list[str]  # 'gray', 'palette' or 'colours'
    sizes: list[tuple[int, int]]  # (height, width)
    middles: list[str]  # as `halves.across_middle`
    resemblances: list[float]  # as `halves.resemblance`

    def share(self, middle: str) -> float:
        """Returns the share of files whose middle is `middle`, of 'runs on', 'breaks' and ''."""
        return self.middles.count(middle) / len(self.middles)

    @property
    def alike(self) -> bool:
        """Whether the halves of most files show one content, as those of aligned A|B may."""
        return float(np.median(self.resemblances)) > halves.ALIKE


def check_splits(
    root: epath.Path, splits: Mapping[str, Source], known: Known, proposed: Callable[[], str]
) -> None:
    """Raises DataError where the files of a split are not A|B side by side.

    Prints a warning instead, one for all splits, where that is not certain, or where there is a run
    on them or it measures them. Lists and plain photos are not looked at, and splits of several
    files a pair neither; but with the first split, whatever it is, the proportions of the others
    are compared. Of the data that a run began with only the first split is looked at again.

    Args:
      root: the folder of the data set.
      splits: its splits, by name.
      known: whether there is a run on them, or whose other data they are.
      proposed: says what would take all files as pairs; '' where nothing does.
    """
    first, *others = splits.values()
    warned = False
    for source in [first] if known.splits else [first, *others]:
        if source.listed or source.photos or len(source.files[0]) > 1:
            continue
        folder = epath.Path(source.folder)
        before = None if source is first else first
        finding, certain = look(root, folder, single_files(source), before)
        if certain and not known.exists:
            raise DataError(_refusal(root, folder, finding, before, proposed))
        if finding and not warned:
            warned = True
            print(
                f'warning: {folder}: {finding}; each file is taken as A|B side by side', flush=True
            )
            if not known.exists and source is first and (hint := proposed()):
                print(f'warning: if each file is one image, {hint}', flush=True)


def single_files(source: Source) -> dict[str, File]:
    """Returns the first file of each pair, by name."""
    return {name: files[0] for name, files in zip(source.names, source.files)}


def _refusal(
    root: epath.Path,
    folder: epath.Path,
    finding: str,
    before: Source | None,
    proposed: Callable[[], str],
) -> str:
    """Returns the line that refuses a folder.

    Args:
      root: the folder of the data set.
      folder: that of the split.
      finding: the reason.
      before: the first split, which is as it should be; None: it is this one.
      proposed: says what would take all files as pairs; '' where nothing does.
    """
    hint = f'put A into {folder}/A and B into {folder}/B under equal names'
    ending = 'for A|B in each file: --config.dataset.layout=side_by_side'
    if before is None:
        hint = proposed() or (
            f'{hint}, or list the pairs in {root}/{folder.name}.csv (columns input, target; '
            '--config.dataset.layout=list)'
        )
    else:
        hint = f'{hint}, or take the folder away: inputs alone are for translate --input=DIR'
        if before.listed or len(before.files[0]) > 1:  # which side_by_side would not take
            layout = 'list' if before.listed else 'two_folders'
            ending = f'--config.dataset.layout={layout} leaves it out'
    return f'{folder}: {finding}: not A|B side by side, it seems; {hint}; {ending}'


def check_said(source: Source) -> None:
    """Prints a warning where A/ and B/ hold files of equal names that are said to be A|B each.

    There is none where they break at the middle, as A|B does.
    """
    sides: dict[str, set[str]] = collections.defaultdict(set)
    for name in () if source.photos else source.names:
        side, _, rest = name.partition('/')
        sides[side].add(rest)
    pairs = next((two for two in (('A', 'B'), ('a', 'b')) if sides[two[0]] & sides[two[1]]), ())
    if pairs and read_sample(single_files(source)).share('breaks') < SOME:
        print(
            f'warning: {source.folder}: {pairs[0]}/ and {pairs[1]}/ hold files of equal names, and '
            'each file is cut into A and B, as config.dataset.layout=side_by_side says; '
            'two_folders takes them as pairs',
            flush=True,
        )


def common_size(source: Source) -> Size | None:
    """Returns the commonest (height, width) of a sample, where most have its proportions."""
    sizes = []
    for i in sample_of(source, SAMPLE):
        with contextlib.suppress(DataError):  # bad files are named later
            sizes.append(source.shapes(i)[1])
    if not sizes:
        return None
    (height, width), _ = collections.Counter(sizes).most_common(1)[0]
    near = sum(_has_proportion(size, width / height) for size in sizes)
    return (height, width) if near > MOST * len(sizes) else None


def _has_proportion(size: tuple[int, int], proportion: float) -> bool:
    """Whether (height, width) has this width by height, nearly."""
    ratio = size[1] / size[0] / proportion
    return max(ratio, 1 / ratio) <= 1 + decode.SAME_PROPORTIONS


def look(
    root: epath.Path, folder: epath.Path, files: Mapping[str, File], first: Source | None = None
) -> tuple[str, bool]:
    """Returns the reason against A|B side by side, '' for none, and whether it is certain.

    Args:
      root: the folder of the data set.
      folder: that of the split.
      files: those in `folder`, by name.
      first: another split. Files of the proportions of one image of its pairs are single images,
        and those of A|B of them need more than doubt.
    """
    sample = read_sample(files)
    if not sample.names:  # the files are bad, and named so later
        return '', False
    odd = [f'{n} ({w} pixels)' for n, (_, w) in zip(sample.names, sample.sizes) if w % 2]
    if len(odd) > max(1, SOME * len(sample.names)):
        count = f'{len(odd)} of the {len(sample.names)} files that were looked at'
        return f'{count} have an odd width, as {odd[0]}', True
    runs_on, breaks = sample.share('runs on'), sample.share('breaks')
    if breaks > runs_on and breaks >= SOME:  # two images in each file, whatever its name
        return '', False
    like = common_size(first) if first else None
    single, double = (
        like and all(_has_proportion(size, times * like[1] / like[0]) for size in sample.sizes)
        for times in (1, 2)
    )
    finding, certain = _against(root, folder, files, sample)
    if first and single and not certain:
        (height, width), *_ = sample.sizes
        one = f'files of {width}x{height} pixels have the proportions of one image of a pair in'
        return f'{one} {first.folder}', runs_on >= SOME or like in sample.sizes
    if double:  # the files of A|B of such pairs, some of which may run on by chance
        return (finding if certain else ''), False
    return finding, certain


def _against(
    root: epath.Path, folder: epath.Path, files: Mapping[str, File], sample: Sample
) -> tuple[str, bool]:
    """Returns what names, content and size say against A|B, '' for nothing, and if it is certain.

    Args:
      root: the folder of the data set.
      folder: that of the split.
      files: those in `folder`, by name.
      sample: of these files.
    """
    runs_on, breaks = sample.share('runs on'), sample.share('breaks')
    (height, width), _ = collections.Counter(sample.sizes).most_common(1)[0]
    structure = _sub_folders(files) or _families(files) or _beside(root, folder, files)
    structure = structure or _kinds(sample)
    if structure:
        return structure, runs_on > breaks and runs_on >= SOME and not sample.alike
    if runs_on >= MANY:
        count = f'{sample.middles.count("runs on")} of the {len(sample.names)} files that were'
        sure = runs_on > MOST and 4 * breaks <= runs_on and len(sample.names) > 1
        but = ', but both halves of most show one content, as those of A|B do' * sample.alike
        return (
            f'{count} looked at run on across the middle, as single images do{but}',
            sure and not sample.alike,
        )
    if width < SQUARE * height:
        return f'files of {width}x{height} pixels give halves of {width // 2}x{height}', False
    return '', False


def check_folders(folders: Sequence[epath.Path], pairs: Mapping[str, tuple[File, ...]]) -> None:
    """Prints a warning where the files of both A and B, in `folders`, break as A|B does.

    Two sequences a and b may each hold such files.
    """
    samples = [read_sample({name: files[i] for name, files in pairs.items()}) for i in (0, -1)]
    if all(sample.names and sample.share('breaks') > MOST for sample in samples):
        print(
            f'warning: {folders[0]} and {folders[-1]}: most files break at the middle, as A|B side '
            'by side does; they are taken as A and B (for A|B in each file: '
            '--config.dataset.layout=side_by_side)',
            flush=True,
        )


def read_sample(files: Mapping[str, File]) -> Sample:
    """Reads a random, always the same, sample of the files; those that are bad are left out.

    What they hold is looked at as it is stored, as the halves of A|B are read.
    """
    names = list(files)
    picks = sorted(np.random.default_rng(0).permutation(len(names))[:SAMPLE])
    sample, pixels = Sample([], [], [], [], []), 0
    for name in (names[i] for i in picks):
        with contextlib.suppress(DataError):
            kind = kind_of(files[name])
            values = orientation.as_stored(decode.read_pixels(files[name])).values
            sample.names.append(name)
            sample.kinds.append(kind)
            sample.sizes.append(values.shape[:2])
            sample.middles.append(halves.across_middle(values))
            sample.resemblances.append(halves.resemblance(values))
            pixels += values.shape[0] * values.shape[1]
        if pixels > MAX_PIXELS and len(sample.names) >= 8:
            break
    return sample


def kind_of(file: File) -> str:
    """Returns 'gray', 'palette' or 'colours'; raises DataError, naming the file."""
    words = decode.kind_of(file).split()
    if words[1] == 'P':
        return 'palette'
    return 'gray' if words[1].strip(',') in ('1', 'L', 'LA', 'I', 'I;16') else 'colours'


# ---------------------------------------------------------------- folders and names


def _sub_folders(files: Mapping[str, File]) -> str:
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


def _beside(root: epath.Path, folder: epath.Path, files: Mapping[str, File]) -> str:
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


def _families(files: Mapping[str, File]) -> str:
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


def _kinds(sample: Sample) -> str:
    """Says where gray or palette files lie among ones of colours."""
    colours = sample.kinds.count('colours')
    if not SOME <= colours / len(sample.kinds) <= 1 - SOME:
        return ''
    first = dict(zip(reversed(sample.kinds), reversed(sample.names)))  # of each kind
    return f'its files are of several kinds, as {" and ".join(f"{first[k]} ({k})" for k in first)}'
