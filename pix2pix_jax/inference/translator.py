"""`Translator`: a trained run as a function of images of any size, without targets."""

import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from etils import epath

from pix2pix_jax.data import augment, class_maps, image_spec, masks, tasks
from pix2pix_jax.data.formats import decode, encode
from pix2pix_jax.data.formats.pixels import File, LazyFile, Pixels, Range
from pix2pix_jax.data.image_spec import ImageSpec
from pix2pix_jax.data.sources import Source
from pix2pix_jax.distributed import memory
from pix2pix_jax.errors import DataError
from pix2pix_jax.inference import generator, scaling, tile_plan, tiling
from pix2pix_jax.inference.options import TranslateOptions, check_options
from pix2pix_jax.models.factory import generator_depth, has_dropout

Image: TypeAlias = np.ndarray | epath.PathLike | LazyFile
FILE = str | os.PathLike | LazyFile


class Loaded(NamedTuple):
    """A user's image as the generator takes it, before scaling to [-1, 1]."""

    values: np.ndarray  # (H,W,Ci); of class maps their indices (H,W,1)
    extension: str  # of its file; '' of an array
    dtype: np.dtype  # of its file, or of the array
    shown: int  # channels of the first of several inputs
    size: tuple[int, int]  # (height, width) of its translation
    missing: np.ndarray | None = None  # bool (*size, 1), where there is no data; None: there is all

    @property
    def valid(self) -> np.ndarray | None:
        """Where there is data, bool (*size, 1); None: everywhere."""
        return None if self.missing is None else ~self.missing


class Translator:
    """Translates images with a trained run: `Translator('runs/facades')(image)`.

    Everything about the network is read from the run's folder.
    """

    def __init__(self, workdir: epath.PathLike, checkpoint: str = '', **options: Any):
        """Loads `checkpoint` of a run: 'last', 'best' or a step; '' is last.

        `workdir` is the run's folder, or the zip of a packed run.

        `options` are fields of `TranslateOptions`: Translator('runs/facades', tile=512). Raises
        UserError where there is no such run, or a value is not allowed.
        """
        self.options = TranslateOptions(**options)
        check_options(self.options)
        o, run = self.options, generator.load_run(workdir, checkpoint, self.options.ema)
        self.config, self.step = generator.at_steps(run.config, o.steps), run.step
        self._fit = scaling.Fit.of(run.config, o)
        self.about_fit = self._fit.about
        _, target = image_spec.of_config(run.config)
        self._range = target.ranges[0] if target.ranges else None
        self._classes = target.classes
        self.target_scale = run.config.dataset.target_scale or 1.0
        self._channels, self._nodata = target.channels, target.nodata
        dropout = run.config.test.dropout if o.dropout is None else o.dropout
        depth = generator_depth(run.config)
        with_dropout = dropout and has_dropout(run.config.generator, depth)
        self.has_samples = with_dropout or run.config.method == 'flow'
        norm = tile_plan.norm_of(run.config, o)
        devices = jax.local_devices() if o.tile else [None]
        self._generator = generator.Generator(
            self.config,
            run.variables,
            norm=norm,
            dropout=o.dropout,
            seed=o.seed,
            batch=o.batch,
            devices=devices if len(devices) > 1 else [None],
        )
        self._plan = tile_plan.make_plan(run.config, o, norm, self._largest_window)
        self.about_tiles = self._plan.about

    def _largest_window(self, step: int) -> int:
        """Returns the largest side of a window, a multiple of `step`, that fits the memory."""
        budget = int(self.options.memory * 1e9) or memory.free(jax.local_devices()[0]) // 2
        return tile_plan.largest_window(
            lambda side: self._generator.memory((side, side)), budget, step
        )

    def __call__(self, *inputs: Image, sample: int = 0) -> np.ndarray:
        """Returns the translation of an image: (H,W) or (H,W,Co) of its size and type.

        Of class targets it is the indices of the classes, uint8 (H,W).

        An input is a file, or an array (H,W) or (H,W,C): uint8, uint16, or float on [0, 1], or in
        the range that the run's config says; several `inputs` are those of a run that has several
        for one output. With dropout, and of a flow, other `sample` numbers give others. A
        super-resolution run enlarges, and so does one whose targets are larger than its inputs
        (dataset.target_scale). Raises DataError for what is no such image.
        """
        loaded = self.load(*inputs)
        (output,) = self.translate([loaded], sample)
        _, result = self.to_file_values(loaded._replace(extension='.npy'), output)
        return result[..., 0] if result.shape[-1] == 1 else result

    def load(self, *inputs: Image, drawn: bool = False) -> Loaded:
        """Returns one image, or the inputs that belong together, as the generator takes them.

        One that was `drawn` has the size of its translation, and all of its pixels count, whatever
        the run's config.dataset.target_scale and nodata say.
        """
        task, expected = tasks.task(self.config.dataset.task), self.config.dataset.inputs
        if len(inputs) != expected > 0 or not inputs:
            raise DataError(
                f'{len(inputs)} images for one translation: the run takes {expected or 1}, as '
                'config.dataset.inputs says'
            )
        spec, target = image_spec.of_config(self.config)
        if task is not tasks.PAIRS:  # of the photo that was the target
            spec = spec._replace(ranges=target.ranges)
        if task.of_any_photo:
            spec = spec._replace(channels=3)
        if drawn:
            spec = spec._replace(nodata='')
        one = None if isinstance(inputs[0], FILE) else np.asarray(inputs[0])
        if spec.coding and one is not None and (one.ndim == 2 or one.shape[-1] == 1):
            spec = spec._replace(coding=None, void=class_maps.VOID)  # an array of class indices
        names = [str(x) if isinstance(x, FILE) else 'the array' for x in inputs]
        pictures = [
            image_spec.read(spec, _path(x)) if isinstance(x, FILE) else _pixels(np.asarray(x), spec)
            for x in inputs
        ]
        return self._loaded(spec, pictures, names, 1.0 if drawn else self.target_scale)

    def _loaded(
        self, spec: ImageSpec, pictures: Sequence[Pixels], names: list[str], scale: float = 1.0
    ) -> Loaded:
        """Returns the pictures of one input, as they were read; a super-resolution run enlarges.

        `names` are of their files; the translation is `scale` times as wide and high.
        """
        decode.check_one_size(pictures, names)
        gaps = []
        if not spec.classes:
            gaps = [image_spec.missing(spec, *one[::-1]) for one in enumerate(pictures)]
            pictures = [masks.filled(one, ~gap) for one, gap in zip(pictures, gaps)]
        values = image_spec.combine(spec, pictures, names)
        if tasks.task(self.config.dataset.task).enlarges:
            values = augment.resized(values, _times(values, tasks.factor(self.config)))
        extension, size = os.path.splitext(names[0])[1], _times(values, scale)
        shown = image_spec.channels_of(pictures[0])
        missing = np.logical_or.reduce(gaps) if gaps and spec.nodata else None
        if missing is not None:
            missing = augment.resized(missing, size, 'nearest') if missing.any() else None
        loaded = Loaded(values, extension, pictures[0].values.dtype, shown, size, missing)
        if missing is not None and not self._classes:
            with decode.naming(names[0]):
                masks.check_holds(self.file_type(loaded)[1], spec.nodata)
        return loaded

    def file_type(self, loaded: Loaded, side: int = 0) -> tuple[str, np.dtype]:
        """Returns extension and type for the translation, as `encode.file_type` does.

        The type is that of the targets' files, where it is not of 8 bits, else the input's.
        """
        d, channels = self.config.dataset, self._channels
        dtype = np.dtype(d.target_type) if d.target_type else loaded.dtype
        return encode.file_type(loaded.extension or '.npy', dtype, channels, self._range, side)

    @property
    def has_units(self) -> bool:
        """Whether the values of translations mean more than shades."""
        return bool(self._range or self.config.dataset.target_type)

    def range_of(self, loaded: Loaded) -> Range:
        """Returns the (low, high) of the translation's values in its file."""
        return self._range or image_spec.type_range(self.file_type(loaded)[1])

    def to_file_values(self, loaded: Loaded, image: np.ndarray) -> tuple[str, np.ndarray]:
        """Returns the extension of a translation's file, and its values (H,W,Co), of its type.

        `image` is a translation (H,W,Co) of `loaded` on [-1, 1]. There is no-data in the file where
        there is in `loaded`, and nowhere else. Of class targets they are indices, uint8 (H,W,1), in
        a .png.
        """
        if self._classes:
            indices = class_maps.most_probable(image)
            if loaded.missing is not None:
                indices[loaded.missing] = class_maps.VOID
            return '.png', indices
        extension, dtype = self.file_type(loaded, max(image.shape[:2]))
        values = image_spec.to_type(image, dtype, self._range)
        written = Pixels(values, opacity=values.shape[-1] == 4)
        values = masks.told_apart(written, self._nodata, self.range_of(loaded)).values
        if loaded.missing is not None:
            values = np.where(loaded.missing, dtype.type(float(self._nodata)), values)
        return extension, values

    def load_pair(self, source: Source, i: int) -> Loaded:
        """Returns the input of a pair of the run's data; of a task it is derived at its own size.

        Raises DataError for a pair that cannot be read.
        """
        d, files = self.config.dataset, source.input_files(i)
        if tasks.task(d.task).of_any_photo or files != source.files[i]:
            return self.load(*files)
        spec, target = image_spec.of_config(self.config)
        pictures, files = source.stored(i)
        names = list(map(str, files[:1]))
        if not source.photos:  # A|B
            return self._loaded(spec, pictures[:1], names)
        rng = np.random.default_rng(source.numbers[i] if source.numbers else i)
        photo = augment.to_float(image_spec.combine(target, pictures, files))
        values = tasks.derive(d.task, photo, rng, d.task_amount)['input']
        (stored,), extension = pictures, os.path.splitext(names[0])[1]
        shown, size = image_spec.channels_of(stored), _times(values, 1.0)
        return Loaded(values, extension, stored.values.dtype, shown, size)

    def floats(self, values: np.ndarray) -> np.ndarray:
        """Returns loaded values (...,H,W,C) as the network takes them: float32 on [-1, 1]."""
        d = self.config.dataset
        if d.input_classes:
            return class_maps.one_hot(values, d.input_classes)
        return tasks.as_input(d.task, augment.to_float(values))

    def translate(self, loaded: Sequence[Loaded], sample: int = 0) -> Iterator[np.ndarray]:
        """Yields the translation of each image, float32 (*size, Co) on [-1, 1].

        Of class targets it is 2p - 1 for the probability p of each class.
        """
        # Images of one size go through the network together.
        for size, group in itertools.groupby(loaded, lambda one: (one.size, one.values.shape)):
            yield from self._translate(list(group), size[0], sample)

    def _translate(
        self, group: list[Loaded], size: tuple[int, int], sample: int
    ) -> Iterator[np.ndarray]:
        d = self.config.dataset
        # As in training, an input goes straight to where its target goes, and never twice.
        scaled, padded = self._fit.sizes(size)
        resample = 'nearest' if d.input_classes else d.resize
        images = [augment.resized(one.values, scaled, resample) for one in group]
        if self._plan.is_whole:
            x = np.stack([self.floats(tiling.pad(image, padded)) for image in images])
            outputs = (tiling.crop(output, scaled) for output in self._generator(x, sample=sample))
        else:
            valid = (_by_parts(self._valid(one, scaled)) for one in group)
            rows = (self.rows(_by_parts(x), scaled, sample, v) for x, v in zip(images, valid))
            outputs = (tiling.collect(one, scaled) for one in rows)
        for one, output in zip(group, outputs):
            output = augment.resized(output, size, d.resize)
            if scaled != size:
                output = tasks.rescaled(d.task, self.floats(one.values), output)
            yield output

    def rows(
        self,
        read: tiling.Read,
        size: tuple[int, int],
        sample: int = 0,
        valid: tiling.Read | None = None,
    ) -> tiling.Rows:
        """Yields (top, rows) of the translation of an image that is read by parts, tile by tile.

        Args:
          read: gives parts of the image's values as `load` has them.
          size: (height, width) of the image, and of its translation.
          sample: the number of the sample.
          valid: gives parts of where there is data, bool (H,W,1); None: everywhere.
        """
        return tile_plan.translate_rows(
            self._generator, self._plan, self._canvas(read, size), sample, valid
        )

    def count_scene_windows(self, loaded: Loaded) -> int:
        """Returns how many windows give the statistics of an image; 0 where these are others."""
        if self._plan.scene is None:
            return 0
        size, _ = self._fit.sizes(loaded.size)
        canvas, valid = self._canvas(_by_parts(loaded.values), size), self._valid(loaded, size)
        return len(tile_plan.scene_corners(canvas, self._plan.scene, _by_parts(valid))[1])

    def _canvas(self, read: tiling.Read, size: tuple[int, int]) -> tiling.Canvas:
        return tiling.Canvas(lambda *box: self.floats(read(*box)), size, self._fit.sizes(size)[1])

    def _valid(self, loaded: Loaded, size: tuple[int, int]) -> np.ndarray | None:
        valid = loaded.valid
        return None if valid is None else augment.resized(valid.astype(np.uint8), size, 'nearest')


def _by_parts(image: Any) -> Any:
    """Returns what reads parts of an image (H,W,C), None of None."""
    if image is None:
        return None
    return lambda top, bottom, left, right: image[top:bottom, left:right]


def _times(image: np.ndarray, factor: float) -> tuple[int, int]:
    """Returns (height, width) of an image (H,W,C) that is `factor` times as large."""
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    return height, width


def _path(file: epath.PathLike | LazyFile) -> File:
    return file if isinstance(file, LazyFile) else epath.Path(file).expanduser()


def _pixels(array: np.ndarray, spec: ImageSpec) -> Pixels:
    """Returns an array (H,W) or (H,W,C) as if it had been read; RGBA where RGB is wanted, too."""
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise DataError(f'the array has the shape {array.shape}: allowed are (H,W) and (H,W,C)')
    values = array.reshape(*array.shape[:2], -1)
    return Pixels(values, opacity=values.shape[-1] == 4 and spec.channels in (1, 3))
