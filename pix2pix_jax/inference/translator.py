"""`Translator`: a trained run as a function of images of any size, without targets."""

import dataclasses
import functools
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import jax
import numpy as np
from etils import epath

from pix2pix_jax.data import augment, class_maps, image_spec, masks, tasks
from pix2pix_jax.data.formats import decode, metadata
from pix2pix_jax.data.formats.metadata import Metadata
from pix2pix_jax.data.formats.pixels import Box, File, LazyFile, Pixels
from pix2pix_jax.data.image_spec import ImageSpec
from pix2pix_jax.data.sources import Source
from pix2pix_jax.distributed import memory
from pix2pix_jax.errors import DataError
from pix2pix_jax.inference import generator, loaded_run, scaling, tile_plan, tiling
from pix2pix_jax.inference.options import TranslateOptions, check_options
from pix2pix_jax.inference.outputs import Loaded, Outputs
from pix2pix_jax.models.factory import generator_depth, has_dropout
from pix2pix_jax.storage import atomic, user_paths
from pix2pix_jax.workdir import data_json

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
        check_options(self.options)
        workdir = user_paths.given(workdir, 'the run')
        o, run = self.options, loaded_run.load_run(workdir, checkpoint, self.options.ema)
        self.config, self.step = generator.at_steps(run.config, o.steps), run.step
        self._workdir = atomic.resolved(workdir)
        # Of several inputs how many channels each has; (): nobody knows, or there is one.
        self._channels = tuple(data_json.recorded(workdir).get('input_channels', ()))
        self._fit = scaling.Fit.of(run.config, o)
        self.about_fit = self._fit.about
        self.target_scale = run.config.dataset.target_scale or 1.0
        # How many times as wide and high as its input a translation is, whoever enlarges.
        self.scale = self.target_scale * tasks.factor(run.config)
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
            count = f'{len(inputs)} image{"s" * (len(inputs) != 1)}'
            raise DataError(
                f'{count} for one translation: the run takes {expected or 1}, as '
                'config.dataset.inputs says'
            )
        spec, _ = image_spec.of_run(self.config)
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

    def _check_order(self, pictures: Sequence[Pixels], names: Sequence[str]) -> None:
        """Raises DataError where several inputs have not the channels of their places."""
        for i, (picture, name, needed) in enumerate(zip(pictures, names, self._channels)):
            count = image_spec.channels_of(picture)
            if count != needed:
                raise DataError(
                    f'{name} has {count} channel{"s" * (count > 1)}: input {i + 1} of the run has '
                    f'{needed}; are the inputs in another order?'
                )

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
        self._check_order(pictures, names)
        extension, dtype = os.path.splitext(names[0])[1], pictures[0].values.dtype
        noted = self.outputs.noted(pictures[0], extension, about)
        gaps = []
        if noted:
            gaps = [masks.missing(pictures[0], noted, spec.range_of(dtype))]
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

    @functools.cached_property
    def made_of(self) -> dict[str, Any]:
        """What a translation is made of beside its input, as JSON has it."""
        return {
            'run': str(self._workdir),
            'checkpoint': f'step {self.step}, weights {self._generator.checksum():08x}',
            'flags': dataclasses.asdict(self.options),
            'side of blended tiles': self._plan.tile,  # of --tile=-1 it is what fitted then
        }

    def load_pair(self, source: Source, i: int) -> Loaded:
        """Returns the input of a pair of the run's data.

        That of a task is made of the photo at the size of the network, as in training.

        Raises DataError for a pair that cannot be read.
        """
        d, files = self.config.dataset, source.input_files(i)
        if tasks.task(d.task).of_any_photo or files != source.files[i]:
            changed = source.boxes or source.turns_alike
            return self._of_pair(source, i) if changed else self.load(*files)
        spec, target = image_spec.of_run(self.config)
        pictures, files = source.stored(i)
        names = list(map(str, files[:1]))
        if not source.photos:  # A|B
            return self._loaded(spec, pictures[:1], names)
        rng = np.random.default_rng(source.number(i))
        photo = augment.to_float(image_spec.combine(target, pictures, files))
        size, (stored,) = _times(photo, 1.0), pictures
        photo = augment.resized(photo, self._fit.sizes(size)[0], d.resize)
        values = tasks.derive(d.task, photo, rng, d.task_amount)['input']
        shown, extension = image_spec.channels_of(stored), os.path.splitext(names[0])[1]
        return Loaded(values, extension, stored.values.dtype, shown, size)

    def _of_pair(self, source: Source, i: int) -> Loaded:
        """Returns the input of a pair that is not its files as they are: a window, or turned."""
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
            outputs = (
                self._in_tiles(_by_parts(x), scaled, sample, v) for x, v in zip(images, valid)
            )
        for one, output in zip(group, outputs):
            output = augment.resized(output, size, d.resize)
            if scaled != size:
                output = tasks.rescaled(d.task, self.floats(one.values), output)
            yield output

    def _in_tiles(
        self, read: tiling.Read, size: tuple[int, int], sample: int, valid: tiling.Read | None
    ) -> np.ndarray:
        windows = self.scene_windows(size, valid)
        scene = self.scene_statistics(read, size, sample, windows)
        return tiling.collect(self.rows(read, size, sample, scene), size)

    def rows(
        self,
        read: tiling.Read,
        size: tuple[int, int],
        sample: int,
        scene: generator.Statistics | None,
        start: int = 0,
    ) -> tiling.Rows:
        """Yields (top, rows) of the translation of an image that is read by parts, tile by tile.

        Args:
          read: gives parts of the image's values as `load` has them.
          size: (height, width) of the image, and of its translation.
          sample: the number of the sample.
          scene: the statistics of the norms, as `scene_statistics` returns them, if any.
          start: the first row that is needed: tiles that end before it are left out.
        """
        canvas = self._canvas(read, size)._replace(start=start)
        return tile_plan.translate_rows(self._generator, self._plan, canvas, sample, scene)

    def scene_statistics(
        self,
        read: tiling.Read,
        size: tuple[int, int],
        sample: int,
        windows: Iterable[tuple[int, int]],
    ) -> generator.Statistics | None:
        """Returns the statistics that the norms have for an image; None where each has its own.

        Args:
          read, size, sample: as in `rows`.
          windows: where those begin whose statistics these are, as `scene_windows` returns them.
        """
        canvas = self._canvas(read, size)
        return tile_plan.scene_statistics(self._generator, self._plan, canvas, sample, windows)

    def count_scene_windows(self, loaded: Loaded) -> int:
        """Returns how many windows give the statistics of an image; 0 where these are others."""
        size, _ = self._fit.sizes(loaded.size)
        return len(self.scene_windows(size, _by_parts(self._valid(loaded, size))))

    def scene_windows(
        self, size: tuple[int, int], valid: tiling.Read | None = None
    ) -> list[tuple[int, int]]:
        """Returns where the windows begin whose statistics an image has; [] where it has others.

        Args:
          size: (height, width) of its translation.
          valid: gives parts of where there is data, bool (H,W,1); None: everywhere.
        """
        if self._plan.scene is None:
            return []
        canvas = self._canvas(lambda *box: np.zeros(0), size)
        return tile_plan.scene_corners(canvas, self._plan.scene, valid)[1]

    def tile_borders(self, size: tuple[int, int]) -> tuple[list[int], list[int]]:
        """Returns the rows and the columns where tiles begin in a translation of this size."""
        return tile_plan.borders(self._plan, self._canvas(lambda *_: np.empty(0), size))

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
    if isinstance(file, LazyFile):
        return file
    return epath.Path(user_paths.check(file, 'the image')).expanduser()


def _pixels(array: np.ndarray, spec: ImageSpec) -> Pixels:
    """Returns an array (H,W) or (H,W,C) as if it had been read; RGBA where RGB is wanted, too."""
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise DataError(f'the array has the shape {array.shape}: allowed are (H,W) and (H,W,C)')
    if array.dtype.kind not in 'uif':
        raise DataError(
            f'the array is of {array.dtype}: allowed are whole numbers and floats, as uint8'
        )
    values = array.reshape(*array.shape[:2], -1)
    return Pixels(values, opacity=values.shape[-1] == 4 and spec.channels in (1, 3))
