"""Images of five and two channels, which no screen shows: each can be looked at, on all pages."""

import re
import subprocess
import sys

import numpy as np
import pytest
from helpers import ROOT
from helpers.pictures import write
from helpers.runs import tiny_config
from PIL import Image

from pix2pix_jax.data.formats.decode import read_pixels
from pix2pix_jax.inference.files import TranslationJob, translate_files
from pix2pix_jax.inference.options import TranslateOptions
from pix2pix_jax.inference.translator import Translator
from pix2pix_jax.reports.image_grid import GUTTER, HEADER
from pix2pix_jax.train import train_and_evaluate
from pix2pix_jax.web import page

SIDE, SHOWN = 64, 128  # pixels, of a file and on a sheet
CHANNELS = {'A': 5, 'B': 2}
BESIDE = {'A': 3, 'B': 2}  # channels in a row


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A run on narrow 16-bit data: each channel has another range, all of them slivers."""
    folder = tmp_path_factory.mktemp('many')
    for split in ('train', 'test'):
        for side, count in CHANNELS.items():
            low = 1000 + 2000 * np.arange(count)
            for i in range(2):
                rng = np.random.default_rng((i, count))
                values = rng.integers(low, low + 500, (SIDE, SIDE, count)).astype(np.uint16)
                write(folder / 'data' / split / side / f'{i}.tif', values)
    channels = {'generator__input_channels': 5, 'generator__output_channels': 2}
    config = tiny_config(folder / 'data', image_size=(SIDE, SIDE), num_steps=1, **channels)
    train_and_evaluate(config, folder / 'run')
    return folder


def expected(folder, side, i=0, split='test'):
    """The channels of a file as NumPy stretches them, gray (C,H,W) of 0 to 255."""
    values = read_pixels(folder / 'data' / split / side / f'{i}.tif').values.astype(float)
    low, high = np.percentile(values, (0.1, 99.9), axis=(0, 1))
    return np.clip((values - low) / (high - low), 0, 1).transpose(2, 0, 1) * 255


def tiles(picture, count, across, side=SHOWN):
    """The channels in a picture of them, which begins at its top left; gray (C,H,W)."""
    picture = np.asarray(picture.convert('L') if isinstance(picture, Image.Image) else picture)
    for i in range(count):
        top = HEADER + i // across * (HEADER + side + GUTTER)
        left = i % across * (side + GUTTER)
        yield picture[top : top + side : side // SIDE, left : left + side : side // SIDE]


@pytest.mark.parametrize(('kind', 'side'), [('input', 'A'), ('target', 'B')])
def test_a_report_shows_each_channel(folder, kind, side):
    picture = Image.open(folder / 'run' / 'evaluation' / 'test' / 'images' / f'0_{kind}.png')
    seen = list(tiles(picture, CHANNELS[side], BESIDE[side]))
    np.testing.assert_allclose(np.array(seen, float), expected(folder, side), atol=1.5)


def test_a_sheet_shows_each_channel_of_inputs_and_targets(folder):
    (path,) = (folder / 'run' / 'samples').glob('*.png')
    sheet = np.asarray(Image.open(path).convert('L'))[HEADER:, GUTTER:]
    seen = list(tiles(sheet, 5, 3))
    np.testing.assert_allclose(np.array(seen, float), expected(folder, 'A'), atol=1.5)
    assert sheet.shape[1] == 7 * (SHOWN + GUTTER)  # 3 of the input, 2 and 2


def test_the_gallery_and_the_demo_show_each_channel(folder):
    job = TranslationJob([str(folder / 'data' / 'test' / 'A')], str(folder / 'out'))
    assert translate_files(str(folder / 'run'), 'last', TranslateOptions(), job) == 0
    text = (folder / 'out' / 'index.html').read_text()
    assert 'input (each channel stretched) | output (1: ' in text
    assert re.search(r'output \(1: \S+ to \S+, 2: \S+ to \S+\)', text)
    gallery = folder / 'out' / 'gallery'
    for kind, (rows, columns) in {'input': (2, 3), 'output': (1, 2)}.items():
        picture = Image.open(gallery / f'0_{kind}.jpg')
        size = columns * (SHOWN + GUTTER) - GUTTER, rows * (HEADER + SHOWN + GUTTER) - GUTTER
        assert picture.size == size
    seen = list(tiles(Image.open(gallery / '0_input.jpg'), 5, 3))
    assert np.abs(np.array(seen, float) - expected(folder, 'A')).mean() < 12  # a JPEG of noise
    translator = Translator(folder / 'run')
    (output,) = translator.translate([translator.load(folder / 'data' / 'test' / 'A' / '0.tif')])
    assert len(np.unique(page.image_grid.to_rgb(page.image_grid.by_itself(output)))) > 100


@pytest.mark.e2e
def test_the_inspection_shows_each_channel(folder):
    fields = {'dataset.path': folder / 'data', 'dataset.val_fraction': 0.0, 'image_size': SIDE}
    fields |= {'generator.input_channels': 5, 'generator.output_channels': 2}
    words = [f'--config.{name}={value}' for name, value in fields.items()]
    output = folder / 'inspection' / 'grid.png'
    script = [sys.executable, ROOT / 'scripts' / 'inspect_data.py', '--config=configs/folder.py']
    subprocess.run([*script, *words, f'--output={output}'], check=True, cwd=folder)
    picture = np.asarray(Image.open(output).convert('L'))[HEADER:, GUTTER:]
    assert picture.shape[1] == 3 * (3 + 2) * (SHOWN + GUTTER)  # as at test time, twice augmented
    seen = np.array(list(tiles(picture, 5, 3)), float)
    np.testing.assert_allclose(seen, expected(folder, 'A', 0, 'train'), atol=1.5)
    beside = picture[:, 3 * (SHOWN + GUTTER) :]
    seen = np.array(list(tiles(beside, 2, 2)), float)
    np.testing.assert_allclose(seen, expected(folder, 'B', 0, 'train'), atol=1.5)
