"""Whether the files of a folder are A|B side by side, where nobody said so (layout=auto).

What tells otherwise: folders or names that come in two kinds, odd widths, and content that runs on
across the middle. A sample is read, so that the start stays quick.
"""

import collections
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from etils import epath

from pix2pix_jax.data import halves, layout_names
from pix2pix_jax.data.augment import Size
from pix2pix_jax.data.formats import decode, orientation
from pix2pix_jax.data.formats.pixels import File
from pix2pix_jax.data.hold_out import Known
from pix2pix_jax.data.sources import Source
from pix2pix_jax.data.sources import sample as sample_of
from pix2pix_jax.errors import DataError

SAMPLE = 32  # files whose pixels are looked at
MAX_PIXELS = 2**26  # of all of these; 8 files in any case
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


class Finding(NamedTuple):
    """What speaks against A|B side by side in each file."""

    text: str = ''  # '': nothing
    certain: bool = False
    some: bool = False  # it is of some of the files, and the others are A|B
    masks: str = ''  # a folder of these files, which may be masks


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
        finding = look(root, folder, single_files(source), before)
        if finding.certain and not known.exists:
            raise DataError(_refusal(root, folder, finding, before, proposed))
        if finding.text and not warned:
            warned = True
            print(
                f'warning: {folder}: {finding.text}; each file is taken as A|B side by side'
                f'{_as_masks(finding)}',
                flush=True,
            )
            whole = source is first and not (known.exists or finding.some)
            if whole and (hint := proposed()):
                print(f'warning: if each file is one image, {hint}', flush=True)


def single_files(source: Source) -> dict[str, File]:
    """Returns the first file of each pair, by name."""
    return {name: files[0] for name, files in zip(source.names, source.files)}


def _refusal(
    root: epath.Path,
    folder: epath.Path,
    finding: Finding,
    before: Source | None,
    proposed: Callable[[], str],
) -> str:
    """Returns the line that refuses a folder.

    Args:
      root: the folder of the data set.
      folder: that of the split.
      finding: the reason; of some files it is not asked what would take all.
      before: the first split, which is as it should be; None: it is this one.
      proposed: says what would take all files as pairs; '' where nothing does.
    """
    if finding.some:
        return (
            f'{folder}: {finding.text}: each would be cut in half; move them out of {folder}'
            f'{_as_masks(finding)}; for A|B in each file: --config.dataset.layout=side_by_side'
        )
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
    return f'{folder}: {finding.text}: not A|B side by side, it seems; {hint}; {ending}'


def _as_masks(finding: Finding) -> str:
    """Says what takes a folder of files that may be masks; '' where there is none."""
    if not finding.masks:
        return ''
    return f'; --config.dataset.mask={finding.masks} takes {finding.masks}/ as masks of the targets'


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
) -> Finding:
    """Returns the reason against A|B side by side.

    Args:
      root: the folder of the data set.
      folder: that of the split.
      files: those in `folder`, by name.
      first: another split. Files of the proportions of one image of its pairs are single images,
        and those of A|B of them need more than doubt.
    """
    sample = read_sample(files)
    if not sample.names:  # the files are bad, and named so later
        return Finding()
    among = _singles_among(files, sample)
    if among.text:
        return among
    odd = [f'{n} ({w} pixels)' for n, (_, w) in zip(sample.names, sample.sizes) if w % 2]
    if len(odd) > max(1, SOME * len(sample.names)):
        count = f'{len(odd)} of the {len(sample.names)} files that were looked at'
        return Finding(f'{count} have an odd width, as {odd[0]}', True)
    runs_on, breaks = sample.share('runs on'), sample.share('breaks')
    if breaks > runs_on and breaks >= SOME:  # two images in each file, whatever its name
        return _copies_among(files)
    like = common_size(first) if first else None
    single, double = (
        like and all(_has_proportion(size, times * like[1] / like[0]) for size in sample.sizes)
        for times in (1, 2)
    )
    finding = _against(root, folder, files, sample)
    if first and single and not finding.certain:
        (height, width), *_ = sample.sizes
        one = f'files of {width}x{height} pixels have the proportions of one image of a pair in'
        certain = runs_on >= SOME or like in sample.sizes
        return Finding(f'{one} {first.folder}', certain)
    if double:  # the files of A|B of such pairs, some of which may run on by chance
        return finding._replace(certain=False) if finding.certain else Finding()
    return finding


def _singles_among(files: Mapping[str, File], sample: Sample) -> Finding:
    """Finds files of the proportions of one half of the others, which break at the middle as A|B.

    They are single images for certain where they run on there, or where each has the name of one of
    the others that lies above it, as a mask in a folder of masks.
    """
    sizes = collections.Counter(
        size for size, middle in zip(sample.sizes, sample.middles) if middle == 'breaks'
    )
    if not sizes or sizes.total() < SOME * len(sample.names):
        return Finding()
    ((height, width), count), *_ = sizes.most_common(1)
    near = [i for i, size in enumerate(sample.sizes) if _has_proportion(size, width / 2 / height)]
    middles = [sample.middles[i] for i in near]
    breaks, runs_on = middles.count('breaks'), middles.count('runs on')
    if count <= MOST * sizes.total() or len(near) < 2 or breaks > MOST * len(near):
        return Finding()
    places = {sample.names[i].rpartition('/')[0] for i in near}
    are_twins = places <= layout_names.twins_of_above(files)
    if breaks and not are_twins:
        return Finding()
    name, (high, wide) = sample.names[near[0]], sample.sizes[near[0]]
    text = (
        f'{len(near)} of the {len(sample.names)} files that were looked at have the proportions of '
        f'one half of the others ({width}x{height}), as {name} ({wide}x{high})'
    )
    masks = min(places) if are_twins and len(places) == 1 else ''
    certain = are_twins or runs_on >= SOME * len(near)
    return Finding(text, certain, some=True, masks='' if '/' in masks else masks)


def _copies_among(files: Mapping[str, File]) -> Finding:
    """Finds folders of A|B whose names are those of the folder that they lie in, as thumbnails."""
    found = sorted(layout_names.twins_of_above(files))
    if not found:
        return Finding()
    text = f'{found[0]}/ holds files of the names of those that it lies among'
    return Finding(text, some=True)


def _against(
    root: epath.Path, folder: epath.Path, files: Mapping[str, File], sample: Sample
) -> Finding:
    """Returns what names, content and size say against A|B.

    Args:
      root: the folder of the data set.
      folder: that of the split.
      files: those in `folder`, by name.
      sample: of these files.
    """
    runs_on, breaks = sample.share('runs on'), sample.share('breaks')
    (height, width), _ = collections.Counter(sample.sizes).most_common(1)[0]
    structure = layout_names.sub_folders(files) or layout_names.families(files)
    structure = structure or layout_names.beside(root, folder, files) or _kinds(sample)
    if structure:
        certain = runs_on > breaks and runs_on >= SOME and not sample.alike
        return Finding(structure, certain)
    if runs_on >= MANY:
        count = f'{sample.middles.count("runs on")} of the {len(sample.names)} files that were'
        sure = runs_on > MOST and 4 * breaks <= runs_on and len(sample.names) > 1
        but = ', but both halves of most show one content, as those of A|B do' * sample.alike
        return Finding(
            f'{count} looked at run on across the middle, as single images do{but}',
            sure and not sample.alike,
        )
    if width < SQUARE * height:
        return Finding(f'files of {width}x{height} pixels give halves of {width // 2}x{height}')
    return Finding()


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


def _kinds(sample: Sample) -> str:
    """Says where gray or palette files lie among ones of colours."""
    colours = sample.kinds.count('colours')
    if not SOME <= colours / len(sample.kinds) <= 1 - SOME:
        return ''
    first = dict(zip(reversed(sample.kinds), reversed(sample.names)))  # of each kind
    return f'its files are of several kinds, as {" and ".join(f"{first[k]} ({k})" for k in first)}'
