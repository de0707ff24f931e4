"""No-data that TIFFs note and the config does not say: the start of a run says it."""

import numpy as np
import pytest
import tifffile
from helpers.runs import changed

from pix2pix_jax.config import validate
from pix2pix_jax.data import discover, preflight

SCENE = {'dataset__windows': 'on', 'dataset__preprocess': 'crop'}


def make(folder, noted, kinds=('uint16', 'uint16'), count=3, folders=('A', 'B')):
    """Pairs of one channel, whose files in each of the folders note these values."""
    for side, value, kind in zip(folders, noted, kinds):
        (folder / 'train' / side).mkdir(parents=True)
        for i in range(count):
            tags = [(42113, 's', 0, value, True)] if value else []
            image = (np.arange(32 * 32).reshape(32, 32) % 200).astype(kind)
            file = folder / 'train' / side / f'{i}.tif'
            tifffile.imwrite(file, image, photometric='minisblack', extratags=tags)
    return folder


def said(folder, **fields):
    fields = {'dataset__path': str(folder), 'image_size': (16, 16)} | fields
    config = validate(changed(**fields))
    lines = preflight.report(discover.open_splits(config), config)
    return [line.split()[4] for line in lines if 'GDAL_NODATA' in line]


@pytest.mark.parametrize('fields', [{}, SCENE], ids=['tiles', 'scenes'])
@pytest.mark.parametrize('noted,kinds,expected', [
    (('7', ''), ('uint16', 'uint16'), ['7']),
    (('', '7'), ('uint16', 'uint16'), ['7']),
    (('-9999', '-9999'), ('float32', 'float32'), ['-9999']),
    (('0', '255'), ('uint16', 'uint16'), ['0', '255']),
    (('', '0'), ('uint8', 'uint8'), ['0']),
    (('0', ''), ('uint8', 'uint8'), []),  # 0 is black in photos, whatever the config says
    (('none', 'none'), ('uint16', 'uint16'), []),  # the field takes numbers
    (('', ''), ('uint16', 'uint16'), []),
])  # fmt: skip
def test_no_data_that_files_note_is_said(tmp_path, noted, kinds, expected, fields):
    assert said(make(tmp_path, noted, kinds), **fields) == expected


def test_nothing_is_said_that_would_be_refused(tmp_path):
    """No-data cannot be told in what is compressed with loss."""
    folder = make(tmp_path, ('', ''), ('uint8', 'uint8'))
    for i in range(3):
        tifffile.imwrite(
            folder / 'train' / 'B' / f'{i}.tif', np.full((32, 32), 9, np.uint8),
            photometric='minisblack', compression='jpeg', extratags=[(42113, 's', 0, '0', True)],
        )  # fmt: skip
    assert said(folder) == []


@pytest.mark.parametrize('direction', ['AtoB', 'BtoA'])
def test_it_is_of_the_side_that_is_the_target(tmp_path, direction):
    folder = make(tmp_path, ('', '7'), ('uint8', 'uint8'))
    assert said(folder, dataset__direction=direction) == ['7'] * (direction == 'AtoB')


def test_what_is_said_or_has_no_field_is_not_said(tmp_path):
    folder = make(tmp_path, ('7', '7'))
    assert said(folder, dataset__nodata='7') == []
    classes = {'dataset__target_classes': 200, 'generator__output_channels': 200}
    assert said(make(tmp_path / 'maps', ('', '255')), **classes) == []
    assert said(folder, dataset__task='denoise') == []


def test_any_of_the_first_pairs_may_note_it_and_bad_ones_note_none(tmp_path):
    folder = make(tmp_path, ('', '7'))
    (folder / 'train/B/0.tif').write_bytes(b'II*')
    assert said(folder) == ['7']


def test_of_several_inputs_each_is_looked_at(tmp_path):
    folder = make(tmp_path, ('', '7', ''), ['uint16'] * 3, folders=('A', 'A2', 'B'))
    assert said(folder) == ['7']
