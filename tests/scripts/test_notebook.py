"""The notebook for Colab: every cell runs, on a tiny run of a user's zip, and its code is clean.

PIX2PIX_NOTEBOOK names a Python with IPython's kernel: the notebook runs with it, and installs the
code, from a zip, and what the export needs, as on Colab (.ci/versions notebook). Without, it runs
with the packages that are here.
"""

import base64
import functools
import importlib.util
import io
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
from helpers.file_server import serving
from helpers.pth_files import state_dict_file
from helpers.reference import Recording
from helpers.runs import make_pairs, metrics
from helpers.source_code import unsafe
from PIL import Image

import pix2pix_jax

NOTEBOOK = ROOT / 'scripts' / 'colab.ipynb'
CELLS = json.loads(NOTEBOOK.read_text())['cells']
PYTHON = os.environ.get('PIX2PIX_NOTEBOOK', '')
INSTALL = bool(PYTHON)
RUNTIME = os.environ.get('PIX2PIX_ORT_WEB', '')
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


def write_colab(folder):
    """Writes modules that stand for Colab's: they do what Colab does, as far as cells can tell."""
    for name, code in {
        'google/colab/__init__.py': '',
        'google/colab/output.py': '',  # jax looks for it
        'google/colab/drive.py': 'def mount(path): assert path == "/content/drive"',
        'google/colab/files.py': """
            import pathlib, shutil
            def upload(target_dir): shutil.copytree('images', target_dir)
            def download(name):
                pathlib.Path('downloaded').mkdir(exist_ok=True)
                shutil.copy(name, 'downloaded')""",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(code))


@pytest.fixture
def colab(tmp_path, monkeypatch):
    """A folder in which the notebook runs as in Colab; returns what executes some of its cells."""
    pytest.importorskip('nbclient', reason='needs nbclient and ipykernel')
    pytest.importorskip('ipykernel', reason='needs nbclient and ipykernel')
    write_colab(tmp_path / 'colab')
    monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
    monkeypatch.setenv('IPYTHONDIR', str(tmp_path / 'ipython'))
    kernel = tmp_path / 'jupyter' / 'kernels' / 'colab' / 'kernel.json'
    kernel.parent.mkdir(parents=True)
    argv = [PYTHON or sys.executable, '-m', 'ipykernel_launcher', '-f', '{connection_file}']
    about = {'argv': argv, 'display_name': 'Colab', 'language': 'python'}
    kernel.write_text(json.dumps(about))
    monkeypatch.setenv('JUPYTER_PATH', str(tmp_path / 'jupyter'))
    code = [] if INSTALL else [ROOT]
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(map(str, [*code, tmp_path / 'colab'])))
    # All names of servers are the local one's, or lead nowhere.
    monkeypatch.setenv('http_proxy', 'http://127.0.0.1:9')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return functools.partial(execute, tmp_path)


def execute(folder, cells, code='', **values):
    """Runs `cells` in `folder`, with CODE as `code` and other values of parameters; fills them."""
    import nbclient
    import nbformat

    for cell in cells:
        cell.source = cell.source.replace('/content/drive/MyDrive', f'{folder}/drive')
        cell.source = cell.source.replace("CODE = ''", f'CODE = {str(code)!r}')
        cell.source = cell.source.replace('INSTALL = True', f'INSTALL = {INSTALL}')
    given = '\n'.join(f'{name} = {value!r}' for name, value in values.items())
    at = [cell.id for cell in cells].index('code') + 1
    at = next((i + 1 for i, cell in enumerate(cells) if cell.id == 'parameters'), at)
    cells = [*cells[:at], new_cell(f'import google.colab\n{given}'), *cells[at:]]
    notebook = nbformat.v4.new_notebook(cells=cells)
    place = {'metadata': {'path': str(folder)}}
    client = nbclient.NotebookClient(notebook, timeout=900, kernel_name='colab', resources=place)
    client.execute()  # raises on an error in any cell


def cells_of(*names):
    """The cells of these names, all without."""
    import nbformat

    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    return [cell for cell in cells if not names or cell.id in names]


def said(cell):
    """What a cell printed, and the one line of its error."""
    texts = (o.get('text') or '\n'.join(o.get('traceback', ())) for o in cell.get('outputs', ()))
    return ''.join(texts).strip()


def shown(cell, kind):
    """What a cell displays of this MIME type."""
    return [o['data'][kind] for o in cell.outputs if kind in o.get('data', ())]


@pytest.mark.e2e
@pytest.mark.parametrize(
    'code,message',
    [
        ('', 'UsageError: CODE is empty: give the address of the repository, or a zip of the code'),
        ('data.zip', 'UsageError: CODE is data.zip, and the code of this project is not in it'),
        ('mine', 'UsageError: CODE is mine, and the code of this project is not in it'),
        ('no.git', 'UsageError: CODE is no.git, and the code of this project is not in it'),
    ],
)
def test_it_stops_with_one_line_without_the_code(colab, tmp_path, code, message):
    with zipfile.ZipFile(tmp_path / 'data.zip', 'w') as target:
        target.writestr('train/a.png', b'')
    (tmp_path / 'mine').mkdir()
    cells = cells_of('code', 'drive', 'fetch')
    with pytest.raises(Exception, match='CODE is'):
        colab(cells, code)
    failed = cells[2 if code else 0]
    lines = said(failed).splitlines()
    assert lines[-1] == message and len(lines) == 1 + (code == 'no.git')  # git says its own
    assert lines[0].startswith('fatal: ') or len(lines) == 1
    assert [cell.execution_count for cell in cells[cells.index(failed) + 1 :]] in ([], [None] * 2)


@pytest.mark.e2e
@pytest.mark.slow
def test_it_goes_on_where_no_weights_can_be_had(colab):
    cells = cells_of('code', 'drive', 'fetch', 'install', 'weights', 'try-imports', 'try')
    colab(cells, ROOT)
    weights, tried = cells[4], cells[-1]
    assert said(weights).startswith('error: http://efrosgans.eecs.berkeley.edu/')
    assert 'cannot be downloaded (' in said(weights) and '\n' not in said(weights)
    assert said(tried) == 'no weights are here: go on with part 5'


@pytest.mark.e2e
@pytest.mark.slow
def test_a_mistake_in_a_cell_is_one_line(colab):
    cells = cells_of('code', 'parameters', 'drive', 'fetch', 'install', 'config', 'data')
    with pytest.raises(Exception, match='zip is not there'):
        colab(cells, ROOT, DATA='no.zip')
    assert said(cells[-1]) == 'error: no.zip is not there: needed is an archive (.zip) of pairs'


@pytest.mark.e2e
@pytest.mark.slow
def test_all_cells_run(colab, tmp_path, monkeypatch):
    """As in Colab: from a zip of pairs to a zip of the run and a page; on after a disconnect."""
    pairs = make_pairs(tmp_path / 'pairs', {'train': 4, 'test': 2})
    with zipfile.ZipFile(tmp_path / 'mine.zip', 'w') as target:
        for path in pairs.rglob('*.png'):
            target.write(path, path.relative_to(tmp_path))
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    (tmp_path / 'images').mkdir()
    Image.fromarray(image).save(tmp_path / 'images' / 'a.png')
    cells = {cell.id: cell for cell in cells_of()}
    page = cells['page']
    if not INSTALL and not (RUNTIME and importlib.util.find_spec('jax2onnx')):
        cells['page'].source = 'PAGE = "none"'  # as where the export fails
    elif RUNTIME:
        flag = f"'--format=web', '--runtime={RUNTIME}'"
        page.source = page.source.replace("'--format=web'", flag)
    disconnect = 'import shutil\nshutil.rmtree("runs")\nconfig.num_steps = 3'
    again = cells_of('device', 'train')
    for cell in again:
        cell.id += '-again'
    with serving(recorded_weights(), monkeypatch) as server:
        monkeypatch.setenv('http_proxy', server.url)
        colab(
            [*cells.values(), new_cell(disconnect), *again],
            zip_of_code(tmp_path) if INSTALL else ROOT,
            DATA='mine.zip', DIRECTION='BtoA', STEPS=2, TINY=True,
        )  # fmt: skip
    save_executed(cells, tmp_path)

    assert 'runs/facades_label2photo: a run from a label map to a photo' in said(cells['weights'])
    assert size_of(shown(cells['try'], 'image/png')[-1]) == (512, 256)
    device = said(cells['device'])
    assert 'no TPU or GPU was found (in Colab: Runtime' in device and 'batch 1, as' in device
    assert 'a new run, no copy of it is in' in device
    view = shown(cells['train'], 'text/html')[-1]
    assert view.count('<svg') >= 3 and 'data:image/png;base64,' in view and 'step 2<' in view

    drive = tmp_path / 'drive' / 'pix2pix_jax'
    resumed, chosen = said(again[0]).splitlines()[-2:]
    assert resumed.endswith('it resumes from step 2')
    assert chosen == 'cpu: float32, batch 1, as the run began'
    assert 'resuming from step 2' in said(again[1])
    kept = [path.name for path in (drive / 'mine-tiny-copies').iterdir()]
    assert sorted(kept) == ['00001_step_0000002.zip', '00002_step_0000003.zip']
    run = tmp_path / 'runs' / 'mine-tiny'
    config = pix2pix_jax.Translator(run).config
    assert config.dataset.direction == 'BtoA'
    assert os.path.samefile(tmp_path / config.dataset.path, tmp_path / 'data' / 'mine' / 'pairs')
    assert [row['step'] for row in metrics(run)] == [1, 2, 3]

    packed = tmp_path / 'downloaded' / 'mine-tiny.zip'
    translated = pix2pix_jax.Translator(packed)(image)
    with Image.open(drive / 'translated' / 'a.png') as found:
        np.testing.assert_array_equal(np.asarray(found), translated)
    if said(cells['page']):
        assert 'checked: on an image of 32x32' in said(cells['page'])
        with zipfile.ZipFile(tmp_path / 'downloaded' / 'mine-tiny-page.zip') as archive:
            assert {'index.html', 'page.json', 'sw.js'} <= set(archive.namelist())


def new_cell(source):
    import nbformat

    return nbformat.v4.new_code_cell(source)


def recorded_weights():
    """The file of a recorded U-Net, as torch writes it."""
    tensors = Recording('pytorch_unet128_patch70_lsgan_b2').state_dict('GN')
    return state_dict_file({k: np.array(v, np.float32, order='C') for k, v in tensors.items()})


def size_of(png):
    return Image.open(io.BytesIO(base64.b64decode(png))).size


def zip_of_code(folder):
    """A zip of what git has of the code, in a folder as the hosts of repositories put it."""
    archive = folder / 'pix2pix_jax-main.zip'
    names = subprocess.check_output(['git', 'ls-files'], cwd=ROOT, text=True).splitlines()
    with zipfile.ZipFile(archive, 'w') as target:
        for name in names:
            target.write(ROOT / name, f'pix2pix_jax-main/{name}')
    return archive


def save_executed(cells, folder):
    """Writes the executed notebook, for whoever wants to look at it."""
    import nbformat

    nbformat.write(nbformat.v4.new_notebook(cells=list(cells.values())), folder / 'executed.ipynb')
