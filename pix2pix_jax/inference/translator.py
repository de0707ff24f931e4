"""`Translator`: a trained run as a function of images of any size, without targets."""

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from etils import epath

from pix2pix_jax.config import Config
from pix2pix_jax.data import augment, class_maps, image_spec, masks, tasks
from pix2pix_jax.data.formats import decode, metadata
from pix2pix_jax.data.formats.metadata import Metadata
from pix2pix_jax.data.formats.pixels import Box, File, LazyFile, Pixels
from pix2pix_jax.data.image_spec import ImageSpec
from pix2pix_jax.data.sources import Source
from pix2pix_jax.errors import DataError
from pix2pix_jax.inference import generator, tiling
from pix2pix_jax.inference.options import TranslateOptions, check_options
from pix2pix_jax.inference.outputs import Loaded, Outputs
from pix2pix_jax.models.factory import generator_depth, has_dropout, minimum_side, padding_unit
from pix2pix_jax.storage import atomic

Image: TypeAlias = np.ndarray | epath.PathLike | LazyFile
FILE = str | os.PathLike | LazyFile


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
        o, run = self.options, generator.load_run(workdir, checkpoint, self.options.ema)
        self.config, self.step, self._workdir = run.config, run.step, atomic.resolved(workdir)
        depth = generator_depth(run.config)  # which says what sizes the network takes
        self._unit = padding_unit(run.config.generator, depth)
        self._minimum = minimum_side(run.config.generator, depth)
        check_options(o, self._unit, self._minimum)
        self._scaled_as, why = _scaling(run.config, o.fit, o.tile)
        self.about_fit = f'{_about(self._scaled_as, run.config.image_size)}, as {why}'
        self.target_scale = run.config.dataset.target_scale or 1.0
        # How many times as wide and high as its input a translation is, whoever enlarges.
        self.scale = self.target_scale * tasks.factor(run.config)
        noise = run.config.test.dropout if o.dropout is None else o.dropout
        self.has_dropout = noise and has_dropout(run.config.generator, depth)
        self._generator = generator.Generator(
            run.config, run.variables, norm=o.norm, dropout=o.dropout, seed=o.seed, batch=o.batch
        )

    def __call__(self, *inputs: Image, sample: int = 0) -> np.ndarray:
        """Returns the translation of an image: (H,W) or (H,W,Co) of its size and type.

        Of class targets it is the indices of the classes, uint8 (H,W).

        An input is a file, or an array (H,W) or (H,W,C): uint8, uint16, or float on [0, 1], or in
        the range that the run's config says; several `inputs` are those of a run that has several
        for one output. With dropout other `sample` numbers give other translations. A
        super-resolution run enlarges, and so does one whose targets are larger than its inputs
        (dataset.target_scale). Raises DataError for what is no such image.
        """
        loaded = self.load(*inputs)
        (output,) = self.translate([loaded], sample)
        _, result = self.outputs.to_values(loaded._replace(extension='.npy'), output)
        return result[..., 0] if result.shape[-1] == 1 else result

    def load(self, *inputs: Image, drawn: bool = False) -> Loaded:
        """Returns one image, or the inputs that belong together, as the generator takes them.

        One that was `drawn` has the size of its translation, and all of its pixels count, whatever
        the run's config.dataset.target_scale and nodata say.
        """
        spec = self.input_spec(inputs)
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
        about = metadata.read(_path(inputs[0])) if isinstance(inputs[0], FILE) else None
        loaded = self._loaded(spec, pictures, names, 1.0 if drawn else self.target_scale, about)
        return self._enlarged(loaded)

    def input_spec(self, inputs: Sequence) -> ImageSpec:
        """Returns how a user's `inputs` are read; raises DataError where the run takes others."""
        task, expected = tasks.task(self.config.dataset.task), self.config.dataset.inputs
        if len(inputs) != expected > 0 or not inputs:
            raise DataError(
                f'{len(inputs)} images for one translation: the run takes {expected or 1}, as '
                'config.dataset.inputs says'
            )
        spec, target = image_spec.of_config(self.config)
        if task is not tasks.PAIRS:  # of the photo that was the target
            spec = spec._replace(ranges=target.ranges)
        return spec._replace(channels=3) if task.of_any_photo else spec

    def load_window(self, files: Sequence[File], box: Box, about: Metadata) -> Loaded:
        """Returns what `load` does of a window of its files, which is not enlarged or resized.

        Args:
          files: of one input.
          box: the window.
          about: what the first file says beside its pixels.
        """
        spec = self.input_spec(files)
        pictures = [image_spec.read(spec, file, box) for file in files]
        return self._loaded(spec, pictures, list(map(str, files)), 1.0, about)

    def _enlarged(self, loaded: Loaded) -> Loaded:
        """Returns an image as a super-resolution run takes it; of others what it is."""
        if not tasks.task(self.config.dataset.task).enlarges:
            return loaded
        size, missing = _times(loaded.values, tasks.factor(self.config)), loaded.missing
        if missing is not None:
            missing = augment.resized(missing, size, 'nearest')
        values = augment.resized(loaded.values, size)
        return loaded._replace(values=values, size=size, missing=missing)

    def _loaded(
        self,
        spec: ImageSpec,
        pictures: Sequence[Pixels],
        names: list[str],
        scale: float = 1.0,
        about: Metadata | None = None,
    ) -> Loaded:
        """Returns the pictures of one input, as they were read.

        `names` are of their files; the translation is `scale` times as wide and high.
        """
        decode.check_one_size(pictures, names)
        extension, dtype = os.path.splitext(names[0])[1], pictures[0].values.dtype
        noted = self.outputs.noted(pictures[0], extension, about)
        gaps = []
        if noted:
            value_range = spec.ranges[0] if spec.ranges else image_spec.type_range(dtype)
            gaps = [masks.missing(pictures[0], noted, value_range)]
        elif not spec.classes:
            gaps = [image_spec.missing(spec, *one[::-1]) for one in enumerate(pictures)]
            pictures = [masks.filled(one, ~gap) for one, gap in zip(pictures, gaps)]
        values = image_spec.combine(spec, pictures, names)
        shown, size = image_spec.channels_of(pictures[0]), _times(values, scale)
        nodata = self.outputs.nodata or noted
        missing = np.logical_or.reduce(gaps) if gaps and nodata else None
        if missing is not None:
            missing = augment.resized(missing, size, 'nearest') if missing.any() else None
        loaded = Loaded(values, extension, dtype, shown, size, missing, nodata, about)
        if missing is not None and not self.outputs.classes:
            with decode.naming(names[0]):
                masks.check_holds(self.outputs.type_of(loaded)[1], nodata)
        return loaded

    @property
    def outputs(self) -> Outputs:
        """How the translations are written."""
        return Outputs.of(self.config)

    @property
    def made_of(self) -> dict[str, Any]:
        """What a translation is made of beside its input, as JSON has it."""
        return {
            'run': str(self._workdir),
            'checkpoint': f'step {self.step}',
            'flags': dataclasses.asdict(self.options),
        }

    def load_pair(self, source: Source, i: int) -> Loaded:
        """Returns the input of a pair of the run's data; of a task it is derived at its own size.

        Raises DataError for a pair that cannot be read.
        """
        d, files = self.config.dataset, source.input_files(i)
        if tasks.task(d.task).of_any_photo or files != source.files[i]:
            return self._of_window(source, i) if source.boxes else self.load(*files)
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

    def _of_window(self, source: Source, i: int) -> Loaded:
        """Returns the input of a pair that is a window of its files."""
        pictures, files = source.stored(i)
        pictures = pictures if source.photos else pictures[:-1]
        names = list(map(str, files[: len(pictures)]))
        spec = self.input_spec(pictures)
        return self._enlarged(self._loaded(spec, pictures, names, self.target_scale))

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
            yield from self._translate([one.values for one in group], size[0], sample)

    def _translate(
        self, group: list[np.ndarray], size: tuple[int, int], sample: int
    ) -> Iterator[np.ndarray]:
        def generate(x: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
            return self._generator(np.stack(list(map(self.floats, x))), sample=sample)

        d, o = self.config.dataset, self.options
        # As in training, an input goes straight to where its target goes, and never twice.
        scaled, padded = (size, size) if o.tile else self._sizes(size)
        resample = 'nearest' if d.input_classes else d.resize
        images = [augment.resized(image, scaled, resample) for image in group]
        if o.tile:
            for image in images:
                yield tiling.translate_in_tiles(generate, image, o.tile, o.overlap, o.batch)
            return
        outputs = generate([tiling.pad(image, padded) for image in images])
        for image, output in zip(group, outputs):
            output = augment.resized(tiling.crop(output, scaled), size, d.resize)
            yield output if scaled == size else tasks.rescaled(d.task, self.floats(image), output)

    def rows(
        self,
        read: Callable[[int, int, int, int], np.ndarray],
        size: tuple[int, int],
        sample: int = 0,
        valid: Callable[[int, int, int, int], np.ndarray] | None = None,
        start: int = 0,
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (top, rows (h,W,Co)) of the translation of an image that is read by parts.

        Args:
          read: (top, bottom, left, right) -> that part of the image's values as `load` has them.
          size: (height, width) of the image, and of its translation.
          sample: the number of the sample.
          valid: the same of where there is data, bool (h,w,1); None: everywhere.
          start: the first row that is needed; rows before it may be left out.
        """
        del valid
        o, (height, width) = self.options, size

        def generate(x: np.ndarray) -> np.ndarray:
            return self._generator(np.stack(list(map(self.floats, x))), sample=sample)

        image = read(0, height, 0, width)
        found = tiling.translate_in_tiles(generate, image, o.tile, o.overlap, o.batch)
        for top in range(start // o.tile * o.tile, height, o.tile):
            yield top, found[top : top + o.tile]

    def _sizes(self, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Returns what an image of `size` is scaled to, and what borders then make of it."""
        trained, scaled = tuple(self.config.image_size), size
        if self._scaled_as:
            scaled = augment.loaded_size(*size, trained, 1.0, self._scaled_as)
        if scaled == trained:  # the network takes it as it is
            return scaled, scaled
        height, width = (max(side, self._minimum) for side in scaled)
        return scaled, tiling.padded_size((height, width), self._unit)


def _times(image: np.ndarray, factor: float) -> tuple[int, int]:
    """Returns (height, width) of an image (H,W,C) that is `factor` times as large."""
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    return height, width


def _scaling(config: Config, fit: str, tile: int) -> tuple[str, str]:
    """Returns the dataset.preprocess as which images are scaled, '' for not at all, and why."""
    d = config.dataset
    if fit == 'resize':
        return 'resize_and_crop', '--fit=resize says'
    if fit == 'pad':
        return '', '--fit=pad says'
    if tile:
        return '', '--tile has it'
    if tasks.in_pixels(d.task):  # made after scaling: the user's image has it at its own scale
        return '', f"config.dataset.task='{d.task}' is trained on"
    return d.preprocess, f"config.dataset.preprocess='{d.preprocess}' had it in training"


def _about(scaled_as: str, image_size: tuple[int, int]) -> str:
    height, width = image_size
    if scaled_as == 'resize_and_crop':
        return f'images are resized to {width}x{height} and back'
    if scaled_as.startswith('scale_width'):
        return (
            f'images are scaled to a width of {width} (to a height of {height}, where it would be '
            'less), with reflected borders, and back'
        )
    smaller = f' (those below {width}x{height} are enlarged)' if scaled_as else ''
    return f'images keep their scale{smaller}, with reflected borders'


def _path(file: epath.PathLike | LazyFile) -> File:
    return file if isinstance(file, LazyFile) else epath.Path(file).expanduser()


def _pixels(array: np.ndarray, spec: ImageSpec) -> Pixels:
    """Returns an array (H,W) or (H,W,C) as if it had been read; RGBA where RGB is wanted, too."""
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise DataError(f'the array has the shape {array.shape}: allowed are (H,W) and (H,W,C)')
    values = array.reshape(*array.shape[:2], -1)
    return Pixels(values, opacity=values.shape[-1] == 4 and spec.channels in (1, 3))
