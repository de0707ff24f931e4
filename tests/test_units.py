"""Depth in mm, 0 where nothing was measured: from files to RMSE in mm, as NumPy has it of files."""

import json

import imagecodecs
import numpy as np
import pytest
from helpers.runs import tiny_config
from PIL import Image

from pix2pix_jax import evaluate, train
from pix2pix_jax.data.formats.decode import read_pixels
from pix2pix_jax.errors import DataError
from pix2pix_jax.evaluation import runs
from pix2pix_jax.inference.files import TranslationJob, translate_files
from pix2pix_jax.inference.options import TranslateOptions
from pix2pix_jax.inference.translator import Translator

SIDE, GAP = 32, 9


def write(folder, split, count):
    for name in 'AB':
        (folder / split / name).mkdir(parents=True)
    for i in range(count):
        rows, columns = np.mgrid[:SIDE, :SIDE]
        depth = (900 + 40 * rows + 5 * columns + 60 * i).astype(np.uint16)
        photo = np.stack([6 * rows, 6 * columns, 20 * i + rows], -1).astype(np.uint8)
        depth[3 : 3 + GAP, 4 * i : 4 * i + GAP] = 0
        if i == 2:
            depth[:] = 0
        Image.fromarray(photo).save(folder / split / 'A' / f'{i}.png')
        (folder / split / 'B' / f'{i}.png').write_bytes(imagecodecs.png_encode(depth))


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp('depth')
    write(folder / 'data', 'train', 3)
    write(folder / 'data', 'test', 3)
    config = tiny_config(
        folder / 'data',
        image_size=(SIDE, SIDE),
        num_steps=2,
        dataset__nodata='0',
        generator__output_channels=1,
        test__dropout=False,
    )
    train.train_and_evaluate(config, folder / 'run')
    return folder


def test_rmse_in_mm_is_that_of_the_files(run):
    runs.evaluate_run(run / 'run', run / 'report')
    places = [str(run / 'data' / 'test' / 'A')]
    job = TranslationJob(places, str(run / 'out'))
    assert translate_files(str(run / 'run'), 'last', TranslateOptions(), job) == 0
    errors = []
    for i in range(2):
        output = read_pixels(run / 'out' / f'{i}.png').values.astype(np.float64)
        target = read_pixels(run / 'data' / 'test' / 'B' / f'{i}.png').values.astype(np.float64)
        assert output.max() > 255  # mm in 16 bits, whatever the photo has
        errors.append((output - target)[target > 0])
    found = json.loads((run / 'report' / 'metrics.json').read_text())['metrics']
    rmse = np.mean([np.sqrt((error**2).mean()) for error in errors])
    assert found['rmse']['mean'] == pytest.approx(rmse, rel=1e-5)
    mae = np.mean([np.abs(error).mean() for error in errors])
    assert found['mae']['mean'] == pytest.approx(mae, rel=1e-5)
    assert found['rmse']['left_out'] == 1
    assert 'stretched' in (run / 'report' / 'index.html').read_text()


def test_no_data_of_an_input_is_that_of_the_output(run):
    translator = Translator(run / 'run')
    rng = np.random.default_rng(0)
    depth = rng.integers(1, 60_000, (SIDE, SIDE, 3), np.uint16)
    holes, other = depth.copy(), depth.copy()
    holes[4:9, 5:8] = 0
    output = translator(holes)
    assert output.dtype == np.uint16 and not output[4:9, 5:8].any()
    assert (output[:4] > 0).any()
    other[0, 0, 0] = 0  # in one channel: a colour
    assert translator.load(other).missing is None
    assert translator.load(np.zeros((SIDE, SIDE, 3), np.uint8)).missing is None  # black


def test_an_output_that_cannot_hold_no_data_is_refused(run):
    translator = Translator(run / 'run')
    translator.config.dataset.nodata = '-9999'
    image = np.full((SIDE, SIDE, 3), 0.5, np.float32)
    image[3, 3] = -9999
    with pytest.raises(DataError, match='its output is of uint16, which cannot hold -9999'):
        translator.load(image)


@pytest.mark.parametrize('nodata', ['0', 'nan', '-9999'])
def test_no_data_of_two_folders_is_not_measured(tmp_path, nodata):
    rng, errors, holes = np.random.default_rng(0), [], float(nodata)
    for i in range(3):
        depth = rng.uniform(100, 4000, (SIDE, SIDE)).astype(np.float32)
        output = depth + rng.normal(0, 50, depth.shape).astype(np.float32)
        missing = rng.random(depth.shape) < (0.3, 0.6, 1)[i]
        depth[missing], output[missing] = holes, rng.choice([holes, 3000])
        if nodata == '0':
            depth, output = (np.rint(image).astype(np.uint16) for image in (depth, output))
            output[~missing & (rng.random(depth.shape) < 0.1)] = 0  # a value
        errors.append((output.astype(np.float64) - depth)[~missing])
        for name, image in (('real', depth), ('generated', output)):
            (tmp_path / name).mkdir(exist_ok=True)
            np.save(tmp_path / name / f'{i}.npy', image)
    values = evaluate.define_flags()
    folders = [f'--{name}={tmp_path / name}' for name in ('real', 'generated', 'output')]
    values(['evaluate', *folders, '--range=-1000:5000', f'--nodata={nodata}'])
    assert evaluate.main(values) == 0
    found = json.loads((tmp_path / 'output' / 'metrics.json').read_text())['metrics']
    rmse = np.mean([np.sqrt((error**2).mean()) for error in errors[:2]])
    assert found['rmse']['mean'] == pytest.approx(rmse, rel=1e-5)
    mae = np.mean([np.abs(error).mean() for error in errors[:2]])
    assert found['mae']['mean'] == pytest.approx(mae, rel=1e-5)
    assert found['rmse']['left_out'] == 1 and 'pixels are masked' in found['lab_l']['reason']
