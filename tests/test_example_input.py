"""The input of a run that an exported model is tried with, and what is said of its files."""

import shutil

import numpy as np
import pytest
from helpers import pictures
from helpers.runs import error_of, tiny_config, untrained_run

from pix2pix_jax.config import validate
from pix2pix_jax.data import discover
from pix2pix_jax.interop import example_input
from pix2pix_jax.workdir import data_json

SIZE = (16, 16)
IMAGES = {
    'uint8': np.arange(256).reshape(16, 16, 1).astype(np.uint8),
    'uint16': np.arange(256).reshape(16, 16, 1).astype(np.uint16) * 257,
    'float32': np.linspace(0, 4095, 256, dtype=np.float32).reshape(16, 16, 1),
}
RANGES = {'dataset__input_range': '0:4095', 'dataset__target_range': '0:4095'}


def run_of(folder, dtype, splits, **fields):
    """A run of pairs (H,W,1) in files of this type, and its config."""
    for split in splits:
        for name in 'AB':
            (folder / 'data' / name / split).mkdir(parents=True)
            pictures.write(folder / 'data' / name / split / '0.tif', IMAGES[dtype])
    config = tiny_config(
        folder / 'data',
        image_size=SIZE,
        generator__input_channels=1,
        generator__output_channels=1,
        dataset__val_fraction=0.0,
        **fields,
    )
    untrained_run(folder / 'run', config)
    data_json.write_known(folder / 'run', discover.open_splits(validate(config)), 0)
    return folder / 'run', config


@pytest.mark.parametrize(('dtype', 'splits', 'high'), [
    ('float32', ('train', 'test'), 4095),
    ('uint16', ('train', 'val'), 4095),
    ('uint16', ('train',), 65535),
    ('uint8', ('train', 'test'), 255),
])  # fmt: skip
def test_it_is_an_input_as_its_file_has_it(tmp_path, dtype, splits, high):
    fields = RANGES if high == 4095 else {}
    image, source, remarks = example_input.of_run(*run_of(tmp_path, dtype, splits, **fields), SIZE)
    assert image.dtype == source.dtype == dtype and source.range == (0, high) and not remarks
    np.testing.assert_allclose(image, np.minimum(IMAGES[dtype], high), rtol=1e-4, atol=1e-3)


def test_it_is_of_no_training_pair_where_there_are_others(tmp_path):
    workdir, config = run_of(tmp_path, 'uint8', ('train', 'val', 'test'))
    for i, split in enumerate(('train', 'val', 'test')):
        pictures.write(tmp_path / 'data/A' / split / '0.tif', np.full((16, 16, 1), i, np.uint8))
    for expected, split in ((2, 'test'), (1, 'val'), (0, 'train')):
        assert (example_input.of_run(workdir, config, SIZE)[0] == expected).all()
        (tmp_path / 'data/A' / split / '0.tif').write_bytes(b'')


@pytest.mark.parametrize('dtype', IMAGES)
def test_without_the_data_it_is_noise_of_the_recorded_type(tmp_path, dtype):
    workdir, config = run_of(tmp_path, dtype, ('train',), **RANGES if dtype == 'float32' else {})
    shutil.rmtree(tmp_path / 'data')
    image, source, (remark,) = example_input.of_run(workdir, config, SIZE)
    assert remark.endswith(f'inputs are {dtype}, as data.json says')
    low, high = source.range
    assert image.dtype == dtype and low <= image.min() < image.max() <= high
    assert image.max() > 0.9 * high


@pytest.mark.parametrize(('fields', 'dtype', 'remark'), [
    (RANGES | {'dataset__target_type': 'uint16'}, 'float32', 'which holds'),
    ({}, 'uint8', 'taken to be uint8'),
    ({'dataset__target_type': 'uint16'}, '', "data is not there, which alone says the type"),
])  # fmt: skip
def test_where_nothing_is_recorded_the_type_is_never_guessed_below_the_targets(
    tmp_path, fields, dtype, remark
):
    workdir, config = run_of(tmp_path, 'uint8', ('train',), **fields)
    data_json.write_known(workdir, {}, 0)
    shutil.rmtree(tmp_path / 'data')
    if dtype:
        image, source, (found,) = example_input.of_run(workdir, config, SIZE)
        assert image.dtype == source.dtype == dtype
    else:
        found = error_of(example_input.of_run, workdir, config, SIZE)
    assert remark in found
