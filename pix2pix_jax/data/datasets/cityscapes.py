"""Cityscapes' own archives as pairs A|B: photo and colours of the labels.

The published pix2pix archive, which its licence took offline, had both resized to 256x256.
"""

import concurrent.futures
import contextlib
import functools
import pathlib
import re
import sys
import zipfile

import numpy as np
import tqdm

from pix2pix_jax.data import augment
from pix2pix_jax.data.catalogue.published import PUBLISHED
from pix2pix_jax.data.formats.decode import read_image
from pix2pix_jax.data.formats.pixels import LazyFile
from pix2pix_jax.errors import DataError
from pix2pix_jax.storage import atomic

SIZE = (256, 256)
PHOTO = re.compile(r'(?:.*/)?leftImg8bit/(train|val)/(.+)_leftImg8bit\.png')
LABELS = re.compile(r'(?:.*/)?gtFine/(train|val)/(.+)_gtFine_color\.png')


def join_pairs(root: pathlib.Path, folder: pathlib.Path) -> int:
    """Writes the pairs in `root` as `folder`/SPLIT/CITY/NAME.png; returns their number.

    The pairs are read from Cityscapes' two archives, or from the unpacked folders. Raises DataError
    for photos without labels, and for files that cannot be read.
    """
    with contextlib.ExitStack() as stack:
        found: dict[str, pathlib.Path | LazyFile] = {
            p.relative_to(root).as_posix(): p for p in root.rglob('*.png')
        }
        for name in PUBLISHED['cityscapes'].archives:
            if (root / name).exists():
                found |= _members(stack, root / name)
        photos, labels = (
            {
                match.groups(): file
                for name, file in found.items()
                if (match := form.fullmatch(name))
            }
            for form in (PHOTO, LABELS)
        )
        missing = sorted(photos.keys() - labels.keys())
        if missing:
            split, name = missing[0]
            raise DataError(
                f'{root}: {len(missing)} of {len(photos)} photos have no labels, the first is '
                f'{split}/{name}: needed is gtFine/{split}/{name}_gtFine_color.png, or '
                f'{PUBLISHED["cityscapes"].archives[1]}'
            )

        def join(key: tuple[str, ...]) -> None:
            a, b = _resized(photos[key], 'bicubic'), _resized(labels[key], 'nearest')
            png = atomic.encode_png(np.concatenate([a, b], axis=1))
            atomic.write_bytes(folder / key[0] / f'{key[1]}.png', png)

        with concurrent.futures.ThreadPoolExecutor() as pool:
            quiet = not sys.stderr.isatty()
            jobs = pool.map(join, sorted(photos))
            for _ in tqdm.tqdm(jobs, 'resizing pairs', len(photos), disable=quiet):
                pass
    return len(photos)


def _members(stack: contextlib.ExitStack, archive: pathlib.Path) -> dict[str, LazyFile]:
    try:
        opened = stack.enter_context(zipfile.ZipFile(archive))
    except zipfile.BadZipFile as error:
        raise DataError(f'{archive} is no archive, or damaged ({error})') from error
    return {
        name: LazyFile(f'{archive}: {name}', functools.partial(opened.read, name))
        for name in opened.namelist()
    }


def _resized(file: pathlib.Path | LazyFile, resize: str) -> np.ndarray:
    return augment.resized(read_image(file, 3), SIZE, resize)
