"""Pairs of images as array_record files, written and read through tensorflow-datasets.

A record is the bytes of an image file, A|B side by side, in the natural order of the names, which
are in the metadata: what is read are the pairs of the folder that was prepared, bit for bit.
"""

import contextlib
import functools
import os
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds

from pix2pix_jax.data.catalogue.published import PUBLISHED
from pix2pix_jax.data.formats.pixels import LazyFile
from pix2pix_jax.errors import DataError

VERSION = '1.0.0'


def data_dir() -> pathlib.Path:
    """Returns the folder of tensorflow-datasets' data sets; TFDS_DATA_DIR moves it."""
    return pathlib.Path(os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets').expanduser()


def folder_of(name: str) -> pathlib.Path:
    """Returns the folder of a prepared data set, which may not be there."""
    return data_dir() / 'pix2pix' / name / VERSION


def is_prepared(name: str) -> bool:
    """Whether the data set is there, whole."""
    return (folder_of(name) / 'dataset_info.json').exists()


class Pix2pix(tfds.core.GeneratorBasedBuilder):
    """The data sets of Isola et al., 2017, a config each."""

    VERSION = tfds.core.Version(VERSION)
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=name, description=published.title)
        for name, published in PUBLISHED.items()
    ]

    def __init__(self, *, splits: Mapping[str, Mapping[str, pathlib.Path]], **kwargs: Any):
        """Takes the files of each split, by name and in their order."""
        self._splits = splits
        super().__init__(file_format='array_record', **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        published = PUBLISHED[self.builder_config.name]
        return tfds.core.DatasetInfo(
            builder=self,
            description=published.title,
            features=tfds.features.FeaturesDict({'pair': tfds.features.Image()}),
            homepage=published.homepage,
            license=published.licence,
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        del dl_manager  # the files are there
        self.info.metadata['names'] = {name: list(files) for name, files in self._splits.items()}
        return {name: self._generate_examples(files) for name, files in self._splits.items()}

    def _generate_examples(self, files: Mapping[str, pathlib.Path]) -> Iterator:
        for i, file in enumerate(files.values()):
            yield i, {'pair': file}  # of a path the bytes are kept as they are


def build(name: str, splits: Mapping[str, Mapping[str, pathlib.Path]]) -> None:
    """Writes the files of each split, by name, as the data set `name`, into `folder_of` it.

    It appears there complete or not at all.
    """
    builder = Pix2pix(splits=splits, config=name, data_dir=data_dir())
    print(f'writing {sum(map(len, splits.values())):,} pairs to {builder.data_path}', flush=True)
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    with contextlib.redirect_stdout(None):  # it speaks of downloads of unknown size
        builder.download_and_prepare()


def open_prepared(name: str) -> dict[str, dict[str, tuple[LazyFile]]]:
    """Returns the pairs of each split by name, in order; nothing where it is not prepared.

    Raises DataError where it is damaged.
    """
    if not is_prepared(name):
        return {}
    try:
        builder = tfds.builder_from_directory(folder_of(name))
        found = builder.info.metadata['names']
    except Exception as error:  # tensorflow-datasets raises many kinds
        raise DataError(f'{folder_of(name)} is damaged: remove it and prepare it anew') from error
    splits = {}
    for split, names in found.items():
        records = builder.as_data_source(split, decoders={'pair': tfds.decode.SkipDecoding()})
        splits[split] = {
            pair: (LazyFile(f'{name}: {split}/{pair}', functools.partial(_read, records, i)),)
            for i, pair in enumerate(names)
        }
    return splits


def _read(records: Sequence[Mapping[str, bytes]], i: int) -> bytes:
    return records[i]['pair']
