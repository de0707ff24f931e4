"""What an evaluation is asked for: the metrics that the user chose, and whose images."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pix2pix_jax.config import Config
from pix2pix_jax.data import label_colors
from pix2pix_jax.data.formats.pixels import File
from pix2pix_jax.data.label_colors import DATA_SETS, Classes
from pix2pix_jax.data.sources import Source
from pix2pix_jax.evaluation import label_maps
from pix2pix_jax.storage import downloads


class Options(NamedTuple):
    """What the user chose."""

    names: tuple[str, ...] = ()  # keys of metrics.METRICS, beside those that are always measured
    classes: str = ''  # as label_colors.table takes it; '': what the config says
    segmenter: str = ''  # MODULE:FUNCTION; '': one is trained
    segmenter_weights: str = ''  # a file of the trained one, written where there is none
    inception_weights: str = ''  # files; '': those in the cache folder, or a download
    alexnet_weights: str = ''
    lpips_weights: str = ''


def content(name: str) -> str:
    """Returns what tells a file from others, wherever it lies; `name` where it is no file."""
    if not os.path.isfile(name):
        return name
    status = os.stat(name)
    return _digest(name, status.st_mtime_ns, status.st_size)


@functools.lru_cache
def _digest(path: str, changed: int, size: int) -> str:
    """Returns the beginning of a file's SHA-256; `changed` and `size` tell when it is another."""
    return f'sha256 {downloads.digest(pathlib.Path(path))[:16]}'


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """Whose images are measured: those of a run's split, or, without a config, of two folders."""

    options: Options = Options()
    config: Config | None = None
    splits: Mapping[str, Source] = dataclasses.field(default_factory=dict)
    split: str = ''
    real: Sequence[File] = ()  # of the two folders, the targets
    masked: bool = False  # not all pixels of the targets count
    units: bool = False  # values of the targets mean more than shades

    @functools.cached_property
    def label_kind(self) -> str:
        """Which image of a run's pairs is the label map, as `label_maps.kind_of` finds it."""
        config, classes = self.config, label_classes(self.options, self.config)
        assert config is not None and classes is not None
        return label_maps.kind_of(self.splits[self.split], tuple(config.image_size), classes)


def label_classes(options: Options, config: Config | None) -> Classes | None:
    """Returns the classes and colours of label maps that --classes or a config says, or None.

    A config says them by dataset.colors or by its name; None is that of two folders. Raises
    UserError for a table that is none.
    """
    if options.classes:
        return label_colors.table(options.classes, '--classes')
    if config is None:
        return None
    if config.dataset.colors:
        return label_colors.table(config.dataset.colors)
    return DATA_SETS.get(config.dataset.name)
