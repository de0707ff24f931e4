"""The notebook for Colab: every cell runs, on a tiny run of a user's zip, and its code is clean."""

import json
import os
import re
import subprocess
import sys
import textwrap
import zipfile

import numpy as np
import pytest
from helpers import ROOT
from helpers.runs import make_pairs, metrics
from helpers.source_code import unsafe
from PIL import Image

import pix2pix_jax
from pix2pix_jax.data.datasets import archives

NOTEBOOK = ROOT / 'scripts' / 'colab.ipynb'
CELLS = json.loads(NOTEBOOK.read_text())['cells']
CODE = [cell for cell in CELLS if cell['cell_type'] == 'code']


def test_no_outputs_are_saved():
    assert CODE and all(c['outputs'] == [] and c['execution_count'] is None for c in CODE)


def test_cells_are_short_and_explained():
    assert max(len(cell['source']) for cell in CODE) <= 12
    assert CELLS[0]['cell_type'] == 'markdown' and len(CELLS) - len(CODE) >= 6


@pytest.mark.parametrize('command', [['check'], ['format', '--check']])
def test_its_code_is_clean(command):
    pytest.importorskip('ruff')
    subprocess.run([sys.executable, '-m', 'ruff', *command, NOTEBOOK], check=True)


def test_it_executes_nothing_that_it_loads(tmp_path):
    lines = ''.join(''.join(cell['source']) + '\n' for cell in CODE).splitlines()
    commands = re.compile(r'( *)[%!].*')  # IPython's, not Python
    (tmp_path / 'code.py').write_text('\n'.join(commands.sub(r'\1pass', line) for line in lines))
    assert unsafe(tmp_path / 'code.py') == []


def parameters(**values):
    return '\n'.join(f'{name} = {value!r}' for name, value in values.items())


def write_colab(folder):
    """Writes modules that stand for Colab's: they do what Colab does, as far as cells can tell."""
    for name, code in {
        'google/colab/__init__.py': '',
        'google/colab/output.py': '',  # jax looks for it
        'google/colab/drive.py': 'def mount(path): assert path == "/content/drive"',
        'google/colab/files.py': """
            import pathlib, shutil
            def upload(target_dir): shutil.copytree('images', target_dir)
            def download(name): shutil.copy(name, 'downloaded.zip')""",
        'tensorboard.py': """
            def load_ipython_extension(ipython):
                ipython.register_magic_function(print, 'line', 'tensorboard')""",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(code))


@pytest.mark.e2e
@pytest.mark.slow
def test_all_cells_run(tmp_path, monkeypatch):
    """As in Colab: from a zip of pairs to a zip of the run, and on with more steps."""
    nbclient = pytest.importorskip('nbclient', reason='needs nbclient and ipykernel')
    pytest.importorskip('ipykernel', reason='needs nbclient and ipykernel')
    nbformat = pytest.importorskip('nbformat')
    pairs = make_pairs(tmp_path / 'pairs', {'train': 4, 'test': 2})
    with zipfile.ZipFile(tmp_path / 'mine.zip', 'w') as target:
        for path in pairs.rglob('*.png'):
            target.write(path, path.relative_to(tmp_path))
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    (tmp_path / 'images').mkdir()
    Image.fromarray(image).save(tmp_path / 'images' / 'a.png')
    write_colab(tmp_path / 'colab')

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    at = next(i for i, c in enumerate(notebook.cells) if 'parameters' in c.metadata.get('tags', []))
    given = parameters(DATA='mine.zip', DIRECTION='BtoA', STEPS=2, TINY=True, INSTALL=False)
    new_cell = nbformat.v4.new_code_cell
    notebook.cells.insert(at + 1, new_cell(f'import google.colab\n{given}'))
    training = next(c for c in notebook.cells if 'train_and_evaluate(' in c.source)
    notebook.cells += [new_cell('config.num_steps = 3'), new_cell(training.source)]
    for cell in notebook.cells:
        cell.source = cell.source.replace('/content/drive/MyDrive', f'{tmp_path}/drive')
    monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
    monkeypatch.setenv('IPYTHONDIR', str(tmp_path / 'ipython'))
    path = os.pathsep.join(map(str, (NOTEBOOK.parents[1], tmp_path / 'colab')))
    monkeypatch.setenv('PYTHONPATH', path)
    nbclient.NotebookClient(
        notebook,
        timeout=300,
        kernel_name='python3',
        resources={'metadata': {'path': str(tmp_path)}},
    ).execute()  # raises on an error in any cell

    run = tmp_path / 'drive' / 'pix2pix_jax' / 'mine-tiny'
    config = pix2pix_jax.Translator(run).config
    assert config.dataset.direction == 'BtoA'
    assert os.path.samefile(tmp_path / config.dataset.path, tmp_path / 'data' / 'mine' / 'pairs')
    assert [row['step'] for row in metrics(run)] == [1, 2, 3]
    kinds = [set(o.get('data', ())) for c in notebook.cells for o in c.get('outputs', ())]
    assert {'image/png', 'image/jpeg'} <= set.union(*kinds)  # the samples, and the translation
    archives.unpack(tmp_path / 'downloaded.zip', tmp_path / 'there')
    translated = pix2pix_jax.Translator(tmp_path / 'there' / 'mine-tiny')(image)
    with Image.open(run.parent / 'translated' / 'a.png') as found:
        np.testing.assert_array_equal(np.asarray(found), translated)
