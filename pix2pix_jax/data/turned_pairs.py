"""Pairs of which EXIF turns one image alone: whether the other lies as that is shown, or stored.

Tools that heed EXIF draw labels on the photo as it is shown, others on what is stored. Where a
photo is turned by a quarter and not square, sizes tell; else nobody but the user can.

Of A|B in one file EXIF says nothing: tools that join two images copy what one of them notes.
"""

import concurrent.futures
from collections.abc import Mapping, Sequence

from pix2pix_jax.data.formats import decode, orientation
from pix2pix_jax.data.formats.pixels import File
from pix2pix_jax.data.sources import Source, sample
from pix2pix_jax.errors import DataError
from pix2pix_jax.runtime import cores

SAMPLE = 64  # pairs of a split whose headers are looked at


def warnings_for(splits: Mapping[str, Source]) -> list[str]:
    """Returns a line where nothing tells whether targets lie as their inputs are shown.

    Of a pair one image is turned by EXIF and another notes no orientation, and the sizes of no pair
    say which labels these are: of a quarter turn of what is not square they do. And a line where
    files of A|B note that they are turned. A sample of the headers is read; bad files are left out.
    """
    return [*_of_two_files(splits), *_of_one_file(splits)]


def _of_one_file(splits: Mapping[str, Source]) -> list[str]:
    """Returns a line where EXIF would turn files of A|B, which are read as they are stored."""
    some = [
        source.files[i][0]
        for source in splits.values()
        if source.is_halves
        for i in sample(source, SAMPLE)
    ]
    with concurrent.futures.ThreadPoolExecutor(cores()) as pool:
        turned = [file for file, is_turned in zip(some, pool.map(_is_turned, some)) if is_turned]
    if not turned:
        return []
    return [
        f'EXIF turns {len(turned)} of the {len(some)} files of A|B that were looked at (as '
        f'{turned[0]}), and they are read as they are stored: where A is not on the left so, save '
        'them upright'
    ]


def _is_turned(file: File) -> bool:
    try:
        return decode.placed(file)[1] > orientation.UPRIGHT
    except DataError:
        return False


def _of_two_files(splits: Mapping[str, Source]) -> list[str]:
    """Returns a line where nothing tells how a target lies beside an input that EXIF turns."""
    looks = [look for source in splits.values() for look in _looks(source)]
    if not looks or any(told for _, told in looks):
        return []
    ((a, *_, b), _), *_ = looks
    count = f'{len(looks)} pair' + 's' * (len(looks) > 1)
    return [
        f'EXIF turns one image of a pair, and the other notes no orientation, in {count} (as {a} '
        f'and {b}): the other is taken to lie as the first is shown; if it lies as the first is '
        'stored: --config.dataset.exif=pair'
    ]


def _looks(source: Source) -> list[tuple[tuple[File, ...], bool]]:
    """Returns the files of each pair of which EXIF turns some only, and whether sizes tell."""
    if source.turns_alike or source.boxes or len(source.files[0]) == 1:
        return []
    some = [source.files[i] for i in sample(source, SAMPLE)]
    with concurrent.futures.ThreadPoolExecutor(cores()) as pool:
        looks = zip(some, pool.map(_told, some))
        return [(files, told) for files, told in looks if told is not None]


def _told(files: Sequence[File]) -> bool | None:
    """Whether sizes tell that the images of a pair lie alike as they are shown.

    None where EXIF turns none or all of them, and of a bad pair.
    """
    try:
        sizes, noted = zip(*map(decode.placed, files))
    except DataError:
        return None
    turns = orientation.still_to_turn(noted)
    if set(turns) == {orientation.UPRIGHT} or not decode.have_one_proportion(sizes):
        return None
    square = decode.have_one_proportion([sizes[0], sizes[0][::-1]])
    return not square and not set(turns).isdisjoint(orientation.ROTATED)
