"""The pairs of one split, as a sequence of `{'input', 'target'}` arrays."""

import dataclasses
import functools

import numpy as np

from pix2pix_jax.data import image_spec
from pix2pix_jax.data.formats.decode import check_one_size, halves, palette_of, size_of
from pix2pix_jax.data.formats.pixels import File, Pixels
from pix2pix_jax.data.image_spec import ImageSpec
from pix2pix_jax.errors import DataError

Pair = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Source:
    """The pairs of one split: of folders in natural order of their names, of a list in its own.

    `source[i]` is {'input': (H, W, Ci), 'target': (H, W, Co)}: uint8 or uint16 as in the files, or
    float32 on [-1, 1]; of class maps the input is their indices, uint8 (H,W,1). It raises
    DataError where the pair cannot be read or does not fit together.
    """

    folder: str  # where it was found, for messages
    names: tuple[str, ...]  # relative path of each pair, without its extension
    files: tuple[tuple[File, ...], ...]  # (A|B,), or (A, B), or (A, A2, ..., B) of each pair
    direction: str  # 'AtoB': A is the input
    specs: tuple[ImageSpec, ImageSpec]  # of input and target
    listed: bool = False  # the files are those of a list
    photos: bool = False  # plain photos: a pair is {'target'} alone, the input is derived from it
    size: tuple[int, int] = (0, 0)  # (height, width) that all images must have; 0: any
    decoded: tuple[Pair, ...] = ()  # all pairs, where they are kept in memory
    loaded: tuple[Pair, ...] = ()  # all pairs as training cuts from them, where these are kept
    on_device: bool = False  # these go to the devices, all at once, and not with each batch
    skipped: dict[str, str] | None = None  # why pairs are left out, by name; None: not yet known
    unpaired: tuple[tuple[str, str], ...] = ()  # names that are left out as no pair, and why
    held_out: bool = False  # of the training pairs, for val or test
    undivided: bool = False  # the folder says no splits: test is held out of it, too
    numbers: tuple[int, ...] = ()  # of the pairs in the whole split, of which these are some

    def __len__(self) -> int:
        """Returns the number of pairs."""
        return len(self.names)

    @property
    def inputs(self) -> int:
        """The number of images that make one input."""
        return max(1, len(self.files[0]) - 1)

    def __repr__(self) -> str:
        """Names the folder and the number of pairs."""
        return f'Source({self.folder!r}, {len(self)} pairs)'

    def __getitem__(self, i: int) -> Pair:
        """Returns pair `i`."""
        return self.decoded[i] if self.decoded else self._decode(i)

    def _decode(self, i: int) -> Pair:
        pictures, files = self.stored(i)
        input_spec, target_spec = self.specs
        pair = {}
        if not self.photos:
            pair['input'] = image_spec.combine(input_spec, pictures[:-1], files[:-1])
        pair['target'] = image_spec.combine(target_spec, pictures[-1:], files[-1:])
        return self._fitting(pair, files)

    def stored(self, i: int) -> tuple[tuple[Pixels, ...], tuple[File, ...]]:
        """Returns the pictures of pair `i` as they are in their files, and the files.

        The target is the last. Raises DataError for a file that cannot be read, and for pictures of
        several sizes.
        """
        files = self.files[i]
        if self.photos:
            return (image_spec.read(self.specs[1], files[0]),), files
        input_spec, target_spec = self.specs
        turned = self.direction == 'BtoA'
        pictures: tuple[Pixels, ...]
        if len(files) == 1:
            # One file: its palette, if it has one, is of both halves.
            pictures, files = halves(image_spec.read(input_spec, files[0]), files[0]), files * 2
        else:
            read_as = (*[input_spec] * (len(files) - 1), target_spec)
            read_as = read_as[::-1] if turned else read_as
            pictures = tuple(map(image_spec.read, read_as, files))
        check_one_size(pictures, files)
        return (pictures[::-1], files[::-1]) if turned else (pictures, files)

    def input_files(self, i: int) -> tuple[File, ...]:
        """Returns the files that the input of pair `i` is read from."""
        files = self.files[i]
        if len(files) == 1:
            return files
        return files[1:] if self.direction == 'BtoA' else files[:-1]

    def _fitting(self, pair: Pair, files: tuple[File, ...]) -> Pair:
        height, width = pair['target'].shape[:2]
        if self.size not in ((0, 0), (height, width)):
            raise DataError(
                f"{files[0]} is {width}x{height}: config.dataset.preprocess='none' takes images "
                'of config.image_size alone, {1}x{0}'.format(*self.size)
            )
        return pair

    def shape(self, i: int) -> tuple[int, int]:
        """Returns (height, width) of each image of pair `i`, from the header of its file."""
        height, width = size_of(self.files[i][0])
        halves = len(self.files[i]) == 1 and not self.photos
        return height, width // 2 if halves else width

    def shown(self, inputs: np.ndarray) -> np.ndarray:
        """Returns inputs (N,H,W,Ci) on [-1, 1] as pictures of them (N,H,W,C) to look at.

        Classes have the colours of the first file's palette, or some; of several images in one
        input it is the first.
        """
        if self.specs[0].classes:
            return image_spec.coloured(inputs, self._palette)
        return inputs[..., : self._first_channels] if self.inputs > 1 else inputs

    @functools.cached_property
    def _palette(self) -> np.ndarray | None:
        return palette_of(self.files[0][-1 if self.direction == 'BtoA' else 0])

    @functools.cached_property
    def _first_channels(self) -> int:
        return image_spec.channels_of(image_spec.read(self.specs[0], self.files[0][0]))

    @functools.cached_property
    def target_type(self) -> np.dtype:
        """The type of the first target's file."""
        file = self.files[0][0 if self.direction == 'BtoA' else -1]
        return image_spec.read(self.specs[1], file).values.dtype


def subset(source: Source, indices: list[int]) -> Source:
    """Returns a split of the pairs of these numbers."""
    return dataclasses.replace(
        source,
        names=tuple(source.names[i] for i in indices),
        files=tuple(source.files[i] for i in indices),
        decoded=tuple(source.decoded[i] for i in indices) if source.decoded else (),
        loaded=tuple(source.loaded[i] for i in indices) if source.loaded else (),
    )


def evenly(source: Source, maximum: int) -> Source:
    """Returns at most `maximum` pairs, evenly spread, the first and the last among them; 0: all.

    They stay pairs of their split: a task derives the same inputs.
    """
    if not 0 < maximum < len(source):
        return source
    indices = np.linspace(0, len(source) - 1, maximum).astype(int).tolist()
    return dataclasses.replace(subset(source, indices), numbers=tuple(indices))
