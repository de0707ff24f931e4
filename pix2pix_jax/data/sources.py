"""The pairs of one split, as a sequence of `{'input', 'target'}` arrays."""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from pix2pix_jax.data import class_maps, image_spec, label_colors, masks
from pix2pix_jax.data.formats import orientation
from pix2pix_jax.data.formats.decode import (
    check_one_size,
    check_proportions,
    half_of,
    halves,
    naming,
    palette_of,
    placed,
    size_of,
    stored_size,
)
from pix2pix_jax.data.formats.pixels import Box, File, Pixels, Range
from pix2pix_jax.data.image_spec import ImageSpec
from pix2pix_jax.errors import DataError

FIRST = 16  # files that are tried where the first one must say something of all
Pair = dict[str, np.ndarray]
T = TypeVar('T')


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Source:
    """The pairs of one split: of folders in natural order of their names, of a list in its own.

    `source[i]` is {'input': (H, W, Ci), 'target': (H, W, Co)}: uint8 or uint16 as in the files, or
    float32 on [-1, 1]; of class maps it is their indices, uint8 (H,W,1). The input may have another
    size of the same proportions. Where targets have pixels
    that do not count (`has_valid`), there is 'valid': uint8 (H,W,1), 1 where they do. It raises
    DataError where the pair cannot be read or does not fit together, and UserError where palettes
    of class indices differ.
    """

    folder: str  # where it was found, for messages
    names: tuple[str, ...]  # relative path of each pair, without its extension
    files: tuple[tuple[File, ...], ...]  # (A|B,), or (A, B), or (A, A2, ..., B) of each pair
    direction: str  # 'AtoB': A is the input
    specs: tuple[ImageSpec, ImageSpec]  # of input and target
    boxes: tuple[Box, ...] = ()  # the window of its files that each pair is; (): all of them
    masks: tuple[File, ...] = ()  # of each pair, 0 where its target does not count; (): none
    listed: bool = False  # the files are those of a list
    turns_alike: bool = False  # a file that notes no orientation has that of its pair's others
    photos: bool = False  # plain photos: a pair is {'target'} alone, the input is derived from it
    size: tuple[int, int] = (0, 0)  # (height, width) that all images must have; 0: any
    preprocess: str = 'resize_and_crop'  # of the config: whether it resizes input and target to one
    decoded: tuple[Pair, ...] = ()  # all pairs, where they are kept in memory
    # All pairs as training cuts from them, where these are kept; it is emptied (`feed.batches`).
    loaded: list[Pair] = dataclasses.field(default_factory=list)
    digests: tuple[bytes, ...] = ()  # of each pair (`file_checks.digest`), where all were decoded
    on_device: bool = False  # these go to the devices, all at once, and not with each batch
    skipped: dict[str, str] | None = None  # why pairs are left out, by name; None: not yet known
    unpaired: tuple[tuple[str, str], ...] = ()  # names that are left out as no pair, and why
    held_out: bool = False  # of the training pairs, for val or test
    undivided: bool = False  # the folder says no splits: test is held out of it, too
    numbers: tuple[int, ...] = ()  # of the pairs in the whole split, of which these are some
    # What palettes of class indices were seen to say, in all splits of a data set.
    palettes_seen: class_maps.PalettesSeen = dataclasses.field(
        default_factory=class_maps.PalettesSeen
    )

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

    def window(self, i: int, box: Box) -> Pair:
        """Returns a window of the files of pair `i`, as if it were a pair."""
        alone = dataclasses.replace(subset(self, [i]), boxes=(box,), decoded=(), loaded=[])
        return alone._decode(0)

    def _decode(self, i: int) -> Pair:
        pictures, files = self.stored(i)
        input_spec, target_spec = self.specs
        pair = {}
        if not self.photos:
            inputs = [self._filled(input_spec, *one) for one in enumerate(pictures[:-1])]
            pair['input'] = self._combined(input_spec, inputs, files[:-1])
        target = pictures[-1]
        if target_spec.classes:
            pair |= self._classes(i, target, files[-1])
        else:
            if self.has_valid:
                with naming(files[-1]):
                    missing = image_spec.missing(target_spec, target)
                valid = ~missing & self._mask(i, target)
                pair['valid'] = valid.astype(np.uint8)
                target = masks.filled(target, valid)
            pair['target'] = self._combined(target_spec, [target], files[-1:])
        return self._fitting(pair, files)

    def _combined(
        self, spec: ImageSpec, pictures: Sequence[Pixels], files: Sequence[File]
    ) -> np.ndarray:
        found = image_spec.combine(spec, pictures, files)
        if spec.classes and (palette := pictures[0].palette) is not None:
            self.palettes_seen.check(found, palette, spec.name, str(files[0]))
        return found

    @property
    def has_valid(self) -> bool:
        """Whether pixels of targets may not count: by masks, as no-data, as of no class."""
        _, target = self.specs
        return bool(self.masks or (target.has_void if target.classes else target.nodata))

    @property
    def has_units(self) -> bool:
        """Whether values of targets mean more than shades: they have a range, or no 8 bits."""
        _, target = self.specs
        if target.classes:
            return False
        return bool(target.ranges) or self.target_type != np.uint8

    @property
    def target_range(self) -> Range:
        """The (low, high) of targets that becomes [-1, 1]."""
        return self.specs[1].range_of(self.target_type)

    def _mask(self, i: int, target: Pixels) -> np.ndarray:
        height, width = target.values.shape[:2]
        if not self.masks:
            return np.ones((height, width, 1), bool)
        return masks.read(self.masks[i], (height, width), self._box(i))

    def _classes(self, i: int, target: Pixels, file: File) -> Pair:
        """Returns the map of a target, with no class where a mask is 0, and what counts of it."""
        found = self._combined(self.specs[1], [target], [file])
        if not self.has_valid:
            return {'target': found}
        found = np.where(self._mask(i, target), found, np.uint8(class_maps.VOID))
        return {'target': found, 'valid': (found != class_maps.VOID).astype(np.uint8)}

    @staticmethod
    def _filled(spec: ImageSpec, place: int, picture: Pixels) -> Pixels:
        if spec.classes:
            return picture
        return masks.filled(picture, ~image_spec.missing(spec, picture, place))

    def stored(self, i: int) -> tuple[tuple[Pixels, ...], tuple[File, ...]]:
        """Returns the pictures of pair `i` as they are in their files, and the files.

        The target is the last. Raises DataError for a file that cannot be read, for inputs of
        several sizes, and for a target of other proportions.
        """
        files, box = self.files[i], self._box(i)
        if self.photos:
            return (image_spec.read(self.specs[1], files[0], box),), files
        input_spec, target_spec = self.specs
        swapped = self.direction == 'BtoA'
        pictures: tuple[Pixels, ...]
        if len(files) == 1:
            # One file: its palette, if it has one, is of both halves.
            pictures, files = self._halves(input_spec, files[0], box), files * 2
        else:
            read_as = (*[input_spec] * (len(files) - 1), target_spec)
            read_as = read_as[::-1] if swapped else read_as
            pictures = tuple(image_spec.read(*one, box) for one in zip(read_as, files))
        pictures = orientation.alike(pictures) if self.turns_alike else pictures
        pictures, files = (pictures[::-1], files[::-1]) if swapped else (pictures, files)
        check_one_size(pictures[:-1], files[:-1])
        check_proportions((pictures[0], pictures[-1]), (files[0], files[-1]), self.preprocess)
        return pictures, files

    def _box(self, i: int) -> Box | None:
        return self.boxes[i] if self.boxes else None

    @staticmethod
    def _halves(spec: ImageSpec, file: File, box: Box | None) -> tuple[Pixels, ...]:
        """Returns A and B of a file as it is stored: of two images none is turned by one EXIF."""
        if box is None:
            return halves(orientation.as_stored(image_spec.read(spec, file)), file)
        top, bottom, left, right = box
        (height, width), noted = placed(file)
        if noted > orientation.UPRIGHT:  # it is read whole in any case, and kept
            whole = image_spec.read(spec, file, (0, height, 0, width))
            both = halves(orientation.as_stored(whole), file)
            return tuple(p._replace(values=p.values[top:bottom, left:right]) for p in both)
        middle = half_of(width, file)
        boxes = box, (top, bottom, middle + left, middle + right)
        return tuple(image_spec.read(spec, file, one) for one in boxes)

    def number(self, i: int) -> int:
        """Returns the number of pair `i` in the whole split: by it a task derives the input."""
        return self.numbers[i] if self.numbers else i

    @property
    def is_halves(self) -> bool:
        """Whether input and target of a pair lie side by side in one file."""
        return len(self.files[0]) == 1 and not self.photos

    def input_files(self, i: int) -> tuple[File, ...]:
        """Returns the files that the input of pair `i` is read from."""
        files = self.files[i]
        if len(files) == 1:
            return files
        return files[1:] if self.direction == 'BtoA' else files[:-1]

    def file_of(self, i: int, kind: str) -> File:
        """Returns the file of the 'input' of pair `i`, of its first image, or of its 'target'."""
        first = (kind == 'target') == (self.direction == 'BtoA')
        return self.files[i][0 if first else -1]

    def _fitting(self, pair: Pair, files: tuple[File, ...]) -> Pair:
        height, width = pair['target'].shape[:2]
        if self.size not in ((0, 0), (height, width)):
            needed = '{1}x{0}'.format(*self.size)
            raise DataError(
                f"{files[0]} is {width}x{height}: config.dataset.preprocess='none' takes images "
                f'of config.image_size alone, {needed}'
            )
        return pair

    def shapes(self, i: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Returns (height, width) of input and target of pair `i`, from the headers of files.

        Raises DataError, naming the file, where it cannot be read or is A|B of an odd width.
        """
        first, *others = self.files[i]
        if self.boxes:
            top, bottom, left, right = self.boxes[i]
            return ((bottom - top, right - left),) * 2
        if others:
            sizes = self._sizes(i)
            return sizes[::-1] if self.direction == 'BtoA' else sizes
        if self.photos:
            return (size_of(first),) * 2
        height, width = stored_size(first)
        return ((height, half_of(width, first)),) * 2

    def _sizes(self, i: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Returns (height, width) of the first and the last file of pair `i`, as `shapes`."""
        files = self.files[i]
        if not self.turns_alike:
            return size_of(files[0]), size_of(files[-1])
        sizes, noted = zip(*map(placed, files))
        turns = orientation.still_to_turn(noted)
        first, *_, last = (
            size[::-1] if turn in orientation.ROTATED else size for size, turn in zip(sizes, turns)
        )
        return first, last

    def shown(self, images: np.ndarray, kind: str = 'input') -> np.ndarray:
        """Returns inputs (N,H,W,Ci) on [-1, 1] as pictures of them (N,H,W,C) to look at.

        Classes have their colours, see `palette`; of several images in one input it is the first.
        Of the `kind` 'target' they are targets or outputs.
        """
        if self.specs[kind == 'target'].classes:
            return class_maps.coloured(images, self.palette(kind))
        several = kind == 'input' and self.inputs > 1
        return images[..., : self._first_channels] if several else images

    def palette(self, kind: str) -> np.ndarray | None:
        """Returns the colours of the classes of 'input' or 'target', uint8 (K,3).

        They are the config's, else those of the first file's palette; None where it has none.
        """
        known = self.specs[kind == 'target'].colours
        return self._palettes[kind == 'target'] if known is None else known

    def found_palette(self) -> str:
        """Returns the palette of the classes in the first file as config.dataset.palette; or ''.

        It is that of the targets where they are classes, else of the inputs.
        """
        source, target = self.specs
        spec = target if target.classes else source
        colours = self.palette(spec.name) if spec.classes and not spec.coding else None
        if colours is None or spec.classes < 2:
            return ''
        colours = class_maps.colours(spec.classes, colours)
        return label_colors.to_text(label_colors.numbered(colours))

    @functools.cached_property
    def _palettes(self) -> tuple[np.ndarray | None, ...]:
        kinds = 'input', 'target'
        return tuple(self._of_first(lambda file, _: palette_of(file), kind) for kind in kinds)

    @functools.cached_property
    def _first_channels(self) -> int:
        box = self._box(0)
        return image_spec.channels_of(image_spec.read(self.specs[0], self.files[0][0], box))

    @functools.cached_property
    def target_type(self) -> np.dtype:
        """The type of the first target's file that can be read; uint8 if there is none."""
        read = functools.partial(image_spec.read, self.specs[1])
        found = self._of_first(read, 'target')
        return found.values.dtype if found else np.dtype(np.uint8)

    def _of_first(self, read: Callable[[File, Box | None], T], kind: str) -> T | None:
        """Returns what is read of the first 'input' or 'target' that can be read."""
        for i in range(min(FIRST, len(self))):
            with contextlib.suppress(DataError):
                return read(self.file_of(i, kind), self._box(i))
        return None

    @property
    def output_type(self) -> str:
        """The type of files of outputs where targets are not of 8 bits; '': these are."""
        kind = self.target_type
        if self.photos or self.specs[1].classes or kind.itemsize == 1:
            return ''
        return 'float32' if kind.kind == 'f' else 'uint16'


def subset(source: Source, indices: list[int]) -> Source:
    """Returns a split of the pairs of these numbers."""
    return dataclasses.replace(
        source,
        names=tuple(source.names[i] for i in indices),
        files=tuple(source.files[i] for i in indices),
        boxes=tuple(source.boxes[i] for i in indices) if source.boxes else (),
        masks=tuple(source.masks[i] for i in indices) if source.masks else (),
        decoded=tuple(source.decoded[i] for i in indices) if source.decoded else (),
        loaded=[source.loaded[i] for i in indices] if source.loaded else [],
        digests=tuple(source.digests[i] for i in indices) if source.digests else (),
    )


def sample(source: Source, maximum: int) -> range:
    """Returns the numbers of at most `maximum` pairs, equal steps apart, from the first on."""
    return range(0, len(source), math.ceil(len(source) / maximum))


def evenly(source: Source, maximum: int) -> Source:
    """Returns at most `maximum` pairs, evenly spread, the first and the last among them; 0: all.

    They stay pairs of their split: a task derives the same inputs.
    """
    if not 0 < maximum < len(source):
        return source
    indices = np.linspace(0, len(source) - 1, maximum).astype(int).tolist()
    return dataclasses.replace(subset(source, indices), numbers=tuple(indices))
