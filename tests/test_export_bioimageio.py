"""Models for the BioImage Model Zoo: what its own packages predict is what `translate` writes."""

import importlib.util
import json
import shutil
import zipfile

import numpy as np
import pytest
import tifffile
from helpers import pictures
from helpers.runs import error_of, make_pairs, tiny_config
from PIL import Image

from pix2pix_jax import export, translate
from pix2pix_jax.errors import run_command
from pix2pix_jax.reports.run_page import format_number
from pix2pix_jax.train import train_and_evaluate

pytest.importorskip('bioimageio.core', reason='needs the extra bioimageio')
pytest.importorskip('jax2onnx', reason='needs the extra bioimageio')
SIZE = 32
# What each kind of run has in its files: type, input channels, output channels, fields.
KINDS = {
    'rgb': (np.uint8, 3, 3, {}),
    'gray 16 bits to gray': (np.uint16, 1, 1, {}),
    'five floats to 12 bits': (np.float32, 5, 1, {'dataset__input_range': '-2:2'}),
    'gray to classes': (np.uint8, 1, 3, {'dataset__target_classes': 3}),
}


def write_pairs(folder, dtype, channels, outputs, classes):
    """Writes two-folder pairs as TIFF."""
    rng = np.random.default_rng(0)
    for split in ('train', 'test'):
        for i in range(2):
            shape = (SIZE, SIZE, channels)
            image = rng.normal(size=shape) if dtype == np.float32 else rng.integers(0, 255, shape)
            image = image * 257 if dtype == np.uint16 else image
            if classes:
                target = rng.integers(0, classes, (SIZE, SIZE, 1)).astype(np.uint8)
            else:
                target = rng.integers(
                    0, 4096 if dtype == np.float32 else 255, (SIZE, SIZE, outputs)
                )
                target = target.astype(np.uint8 if dtype == np.uint8 else np.uint16)
            for name, values in (('A', image.astype(dtype)), ('B', target)):
                (folder / name / split).mkdir(parents=True, exist_ok=True)
                pictures.write(folder / name / split / f'{i}.tif', values)
    return folder


@pytest.fixture(scope='module', params=KINDS)
def trained(request, tmp_path_factory):
    """A run of each kind, a test input of it, and its zip."""
    folder = tmp_path_factory.mktemp('zoo')
    dtype, channels, outputs, fields = KINDS[request.param]
    write_pairs(folder / 'data', dtype, channels, outputs, fields.get('dataset__target_classes', 0))
    if dtype == np.float32:
        fields = fields | {'dataset__target_range': '0:4095'}
    config = tiny_config(
        folder / 'data',
        num_steps=1,
        image_size=(SIZE, SIZE),
        generator__input_channels=channels,
        generator__output_channels=outputs,
        **fields,
    )
    train_and_evaluate(config, folder / 'my run')
    assert command(folder / 'my run', folder / 'model.zip') == 0
    return folder, fields


def load(path):
    """The values (H,W,C) of a file."""
    image = tifffile.imread(path) if path.suffix == '.tif' else np.asarray(Image.open(path))
    return image.reshape(*image.shape[:2], -1)


def command(workdir, output, *args):
    words = ['x', f'--workdir={workdir}', '--format=bioimageio', f'--output={output}', *args]
    with pytest.raises(SystemExit) as ended:
        run_command(export.main, export.define_flags, words)
    return ended.value.code


def predicted(folder, image):
    """What the zoo's own package makes of a file's values (H,W,C)."""
    from bioimageio.core import Tensor, predict

    names = ('batch', 'y', 'x', 'channel')
    sample = predict(model=folder / 'model.zip', inputs={'input': Tensor(image[None], names)})
    return np.asarray(sample.members['output'].data)[0]


def test_the_zoo_predicts_what_translate_writes(trained, tmp_path):
    folder, fields = trained
    source = folder / 'data' / 'A' / 'test' / '1.tif'
    words = ['x', f'--workdir={folder / "my run"}', f'--input={source}', f'--output={tmp_path}']
    with pytest.raises(SystemExit) as ended:
        run_command(translate.main, translate.define_flags, [*words, '--nodropout'])
    assert ended.value.code in (0, None)
    (written,) = [path for path in tmp_path.iterdir() if path.stem == '1']
    expected, made = load(written), predicted(folder, load(source))
    if 'dataset__target_classes' in fields:
        assert made.dtype == np.float32 and np.allclose(made.sum(-1), 1, atol=1e-5)
        made = made.argmax(-1)[..., None].astype(np.uint8)
    assert made.dtype == expected.dtype and made.shape == expected.shape
    difference = np.abs(made.astype(float) - expected.astype(float))
    assert difference.max() <= (1 if made.dtype == np.uint8 else 30)  # of 65,535
    assert np.ptp(expected) > 0


def test_other_sizes_in_steps_of_the_network(trained):
    folder, _ = trained
    image = load(folder / 'data' / 'A' / 'test' / '1.tif')
    assert predicted(folder, np.concatenate([image, image[:8]])).shape[:2] == (SIZE + 8, SIZE)


def test_the_zip_says_what_is_in_it_and_nothing_of_this_machine(trained):
    folder, _ = trained
    with zipfile.ZipFile(folder / 'model.zip') as packed:
        names = set(packed.namelist())
        texts = [packed.read(name) for name in names]
    assert {'rdf.yaml', 'generator.onnx', 'cover.png', 'README.md'} <= names
    assert not any(str(folder).encode() in text for text in texts)
    text = packed_text(folder, 'README.md')
    result = json.loads((folder / 'my run/evaluation/test/metrics.json').read_text())
    assert f'| l1 | L1 | {format_number(result["metrics"]["l1"]["mean"])} |' in text
    assert 'name: pix2pix my run' in packed_text(folder, 'rdf.yaml')


def packed_text(folder, name):
    with zipfile.ZipFile(folder / 'model.zip') as packed:
        return packed.read(name).decode()


def test_without_the_data_the_test_image_is_noise_and_it_is_said(tmp_path, capfd):
    data = make_pairs(tmp_path / 'data', {'train': 2, 'test': 1})
    train_and_evaluate(tiny_config(data, num_steps=1), tmp_path / 'run')
    shutil.rmtree(data)
    assert command(tmp_path / 'run', tmp_path / 'model.zip', '--norm=running') == 0
    assert 'not measured (no evaluation is of this' in packed_text(tmp_path, 'README.md')
    (tmp_path / 'model.zip').unlink()
    path = tmp_path / 'run/evaluation/test/metrics.json'
    path.write_text(path.read_text().replace('"step": 1', '"step": 7'))
    assert command(tmp_path / 'run', tmp_path / 'model.zip') == 0
    assert "the run's data is not there" in capfd.readouterr().out
    assert 'not measured. Compare' in packed_text(tmp_path, 'README.md')  # but step 7 was


@pytest.mark.parametrize(('fields', 'message'), [
    ({'dataset.task': 'inpaint'}, "config.dataset.task='inpaint'"),
    ({'dataset.input_classes': 3}, 'config.dataset.input_classes=3'),
    ({'dataset.nodata': '0'}, "config.dataset.nodata='0'"),
    ({'dataset.inputs': 2}, '2 files for an input'),
    ({'dataset.target_scale': 2.0}, 'targets of the run are 2 times as large'),
])  # fmt: skip
def test_what_the_format_has_no_words_for(fields, message):
    from pix2pix_jax.inference.loaded_run import Run
    from pix2pix_jax.interop import bioimageio

    config = tiny_config('')
    config.update_from_flattened_dict(fields)
    assert message in error_of(bioimageio.check, Run(config, 1, 'last', {}))


def test_the_text_says_which_images_its_metrics_leave_out():
    from pix2pix_jax.interop import bioimageio

    mean = {'mean': 1.0, 'ci95': [0.9, 1.1]}
    left_out = {'left_out': 60, 'reason': 'dark'}
    metrics = {'l1': mean, 'mae': mean | left_out, 'fid': {'value': None, 'reason': 'no /file'}}
    text = bioimageio._validation({'images': 100, 'metrics': metrics}, '')
    assert text.splitlines() == [
        'Of 100 test images:',
        '',
        '| name | metric | mean | 95% interval |',
        '|---|---|---|---|',
        '| l1 | L1 | 1.000 | 0.9000 to 1.100 |',
        '| mae | MAE in data units | 1.000 | 0.9000 to 1.100; 60 images left out: dark |',
    ]


def test_a_model_that_fails_the_zoos_test_is_not_written(tmp_path, capfd, monkeypatch):
    from pix2pix_jax.interop import bioimageio

    data = make_pairs(tmp_path / 'data', {'train': 2, 'test': 1})
    train_and_evaluate(tiny_config(data, num_steps=1), tmp_path / 'run')
    right = bioimageio._translation

    def wrong(*args):
        result, target = right(*args)
        return result ^ 64, target

    monkeypatch.setattr(bioimageio, '_translation', wrong)
    assert command(tmp_path / 'run', tmp_path / 'model.zip') == 1
    assert not (tmp_path / 'model.zip').exists()
    message = capfd.readouterr().err.splitlines()[-1]
    assert "the zoo's own test failed: " in message and 'isagree' in message


def test_without_the_packages_the_command_ends_in_one_line(tmp_path, capfd, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda name: None if name == 'bioimageio' else found(name)
    )
    assert command(tmp_path, tmp_path / 'model.zip') == 2
    error = capfd.readouterr().err
    assert "needs bioimageio.core: pip install -e '.[bioimageio]'" in error
