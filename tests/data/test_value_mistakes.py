"""What a stranger's mistakes with the values of files come to: the lines of docs/data_mistakes.md.

The start of a run says each, as an error before anything is trained or as a warning.
"""

import numpy as np
import pytest
from helpers import ROOT
from helpers.pictures import write
from helpers.runs import error_of, tiny_config

from pix2pix_jax import main, train_setup
from pix2pix_jax.data import class_maps
from pix2pix_jax.errors import UserError

PAGE = ROOT / 'docs' / 'data_mistakes.md'


Y, X = np.mgrid[0:64, 0:64]
UNIT = ((X + Y) / 126)[..., None]  # from 0 to 1
PHOTO = np.concatenate([UNIT, UNIT**2, 1 - UNIT], axis=-1)
CLASSES = (UNIT * 11.99).astype(np.uint8)
HOLES = np.where(UNIT == 0.5, np.float32(np.nan), UNIT.astype(np.float32))


def scaled(image, low, high, dtype):
    return np.rint(low + image * (high - low)).astype(dtype)


RGB = scaled(PHOTO, 0, 255, np.uint8)
DEPTH = scaled(UNIT, 400, 3900, np.uint16)

# Of each: what is in A, (A2,) and B, and the fields that are given.
GRAY_OUT, GRAY_IN = {'generator__output_channels': 1}, {'generator__input_channels': 1}
FOUR = {'generator__input_channels': 4}
TWELVE = {'dataset__input_classes': 12, 'generator__input_channels': 12}
TEN = {'dataset__input_classes': 10, 'generator__input_channels': 10}
TWO_RANGES = {'dataset__input_range': '0:255,0:255'}
MISTAKES = {
    'depth in millimetres, uint16': ((RGB, DEPTH), GRAY_OUT),
    '12 bits in 16-bit files': ((scaled(UNIT, 0, 4095, np.uint16), RGB), GRAY_IN),
    'class indices read as images': ((CLASSES, RGB), {}),
    'class indices as targets': ((RGB, CLASSES), {}),
    'masks of 0 and 1': ((RGB, scaled(UNIT, 0, 1, np.uint8)), {}),
    'images that are nearly black': ((scaled(PHOTO, 0, 20, np.uint8), RGB), {}),
    'targets of one colour alone': ((RGB, np.zeros_like(RGB)), {}),
    'targets that are copies of the inputs': ((RGB, RGB), {}),
    'a range that the values do not have': (
        (PHOTO.astype(np.float32), RGB), {'dataset__input_range': '0:255'}),
    'floats from 0 to 255, no range': ((scaled(PHOTO, 0, 255, np.float32), RGB), {}),
    'Hounsfield units, no range': ((scaled(UNIT, -1000, 2000, np.int16), RGB), GRAY_IN),
    'a .npy of (channels, height, width)': ((np.moveaxis(PHOTO, -1, 0), RGB), {}),
    'NaN in a float image': ((RGB, HOLES), GRAY_OUT),
    'five bands for a network of four': ((np.concatenate([RGB, RGB[..., :2]], -1), RGB), FOUR),
    'several inputs, the channels of one': ((RGB, DEPTH, RGB), GRAY_IN),
    'class maps saved as RGB': ((class_maps.voc_palette(12)[CLASSES[..., 0]], RGB), TWELVE),
    'fewer classes than the maps have': ((CLASSES, RGB), TEN),
    'classes, and the channels of images': (
        (CLASSES, RGB), {'dataset__input_classes': 12, 'generator__input_channels': 4}
    ),  # fmt: skip
    'a range not written LOW:HIGH': ((RGB, DEPTH), GRAY_OUT | {'dataset__target_range': '0-4000'}),
    'more ranges than inputs': ((RGB, RGB), TWO_RANGES),
}  # fmt: skip


def line_of(tmp_path, capsys, pictures, fields):
    """What the start of the run says, with paths as the user gave them."""
    names = ['A', *(f'A{i}' for i in range(2, len(pictures))), 'B']
    for name, image in zip(names, pictures):
        kind = 'png' if image.dtype in (np.uint8, np.uint16) else 'npy'
        kind = kind if {1, 3, 4} & {image.shape[0], image.shape[-1]} else 'tif'
        write(tmp_path / 'my_pairs' / 'train' / name / f'0.{kind}', image)
    said = []
    try:
        train_setup.resolve(tiny_config(tmp_path / 'my_pairs', **fields), tmp_path / 'run')
    except UserError as error:
        said = [f'error: {error}']
    said += [x for x in capsys.readouterr().out.splitlines() if x.startswith('warning: ')]
    (line,) = said
    return line.replace(f'{tmp_path}/', '')


@pytest.mark.parametrize('name', MISTAKES)
def test_the_start_of_a_run_says_what_the_page_does(name, tmp_path, capsys):
    line = line_of(tmp_path, capsys, *MISTAKES[name])
    assert f'| {name} | `{line}` | `test_value_mistakes.py` |' in PAGE.read_text(), line


def test_a_misspelt_field_is_said_as_on_the_page():
    argv = ['main', '--config=configs/folder.py', '--config.dataset.target_rnage=0:4000']
    line = error_of(main.check_argv, argv)
    assert f'| a misspelt field | `error: {line}` | `test_value_mistakes.py` |' in PAGE.read_text()
