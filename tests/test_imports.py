"""What importing the package costs, and that what is imported is there and not private."""

import ast
import functools
import subprocess
import symtable
import sys

import imagecodecs
import numpy as np
import pytest
from helpers import ROOT
from PIL import Image

# Imports every module of the package that reads data or trains, reads files, says what came along.
CODE = """
import sys
from pix2pix_jax import main, train, translate, evaluate
from etils import epath
from pix2pix_jax.data import pipeline, preflight
from pix2pix_jax.data.formats import decode, encode
for file in sys.argv[1:]:
    values = decode.read_pixels(epath.Path(file)).values
    print(values.dtype, values.shape, int(values.max()), 'imagecodecs' in sys.modules)
encode.encode(values.astype('uint8'), '.png')
print('imagecodecs' in sys.modules)
"""


def lines(*files):
    command = [sys.executable, '-c', CODE, *map(str, files)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def test_imagecodecs_is_imported_for_the_files_that_need_it_alone(tmp_path):
    picture = np.full((6, 10, 3), 200, np.uint8)
    for name in ('a.png', 'a.jpg'):
        Image.fromarray(picture).save(tmp_path / name)
    (tmp_path / 'deep.png').write_bytes(imagecodecs.png_encode(picture.astype(np.uint16) * 100))
    usual = [f'uint8 (6, 10, 3) 200 {False}'] * 2
    assert lines(tmp_path / 'a.png', tmp_path / 'a.jpg') == [*usual, 'False']
    assert lines(tmp_path / 'deep.png')[0] == 'uint16 (6, 10, 3) 20000 True'


def test_a_config_is_made_without_jax():
    code = """
import sys
from pix2pix_jax.config import checked_fields, default_config, flatten
checked_fields(flatten(default_config()))
print(sorted({'jax', 'flax', 'tensorflow'} & set(sys.modules)))
"""
    command = [sys.executable, '-c', code]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == '[]\n'


def test_grain_does_not_warn_of_a_profiler():
    code = """
from absl import logging
import pix2pix_jax.data.pipeline
logging.warning('Grain multiprocess worker profiling requires jaxlib %s', 1)  # as of an older one
logging.warning('another')
"""
    command = [sys.executable, '-c', code]
    errors = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    assert 'another' in errors and 'profiling' not in errors


def private_imports(code):
    """The imported names that have a private part, and those below tensorflow_datasets.core."""
    names = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f'{node.module}.{alias.name}' for alias in node.names]
    parts = [(name, name.split('.')) for name in names if not name.startswith('__future__')]
    return [
        name
        for name, words in parts
        if any(word.startswith('_') for word in words)
        or words[:2] == ['tensorflow_datasets', 'core']
    ]


@pytest.mark.parametrize('folder', ['pix2pix_jax', 'configs', 'scripts', 'tests'])
def test_no_private_part_of_a_package_is_imported(folder):
    files = sorted((ROOT / folder).rglob('*.py'))
    assert files
    found = {path: private_imports(path.read_text()) for path in files}
    assert not {name: names for name, names in found.items() if names}


def test_the_check_finds_what_it_is_for():
    code = 'from jax._src import a\nfrom jax import _src\nimport jax._src.b, os\n'
    code += 'from tensorflow_datasets.core.download.extractor import iter_archive\n'
    assert len(private_imports(code)) == 4
    assert private_imports('from __future__ import annotations\nimport os.path') == []


ROOTS = ROOT, ROOT / 'scripts', ROOT / 'tests'  # on sys.path where the files below are used


def find_module(name):
    """The file of one of this project's modules, or the folder of a package; None of others."""
    for root in ROOTS:
        path = root.joinpath(*name.split('.'))
        if path.with_suffix('.py').is_file():
            return path.with_suffix('.py')
        if any(path.glob('*.py')) and path not in ROOTS:
            return path
    return None


@functools.cache
def names_in(path):
    """The names that a module binds, those of the modules in a package's folder too."""
    names, file = set(), path
    if path.is_dir():
        names, file = {one.stem for one in path.iterdir()}, path / '__init__.py'
    source = file.read_text() if file.exists() else ''
    bound = symtable.symtable(source, str(file), 'exec').get_symbols()
    names |= {s.get_name() for s in bound if s.is_assigned() or s.is_imported() or s.is_namespace()}
    if '__getattr__' in names:  # of a lazy package: the strings that it has
        tree = ast.walk(ast.parse(source))
        names |= {node.value for node in tree if isinstance(node, ast.Constant)}
    return names


def missing_names(code):
    """What `code` imports of this project's modules, or takes of such a module, and is not there.

    Of a module whose name is also a variable's, what is taken is not looked at.
    """
    tree = ast.parse(code)
    missing, modules = [], {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            path = find_module(node.module)
            ours = path or node.module.split('.')[0] == 'pix2pix_jax'
            for alias in node.names if ours else ():
                if not path or alias.name not in names_in(path):
                    missing.append(f'{node.module}.{alias.name}')
                name = f'{node.module}.{alias.name}'
                modules[alias.asname or alias.name] = find_module(name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname:
                    modules[alias.asname] = find_module(alias.name)
                if alias.name.split('.')[0] == 'pix2pix_jax' and not find_module(alias.name):
                    missing.append(alias.name)
    bound = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and type(n.ctx) is ast.Store}
    bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            path = modules.get(node.value.id) if node.value.id not in bound else None
            if path and node.attr not in names_in(path) and not node.attr.startswith('__'):
                missing.append(f'{node.value.id}.{node.attr}')
    return missing


@pytest.mark.parametrize('folder', ['pix2pix_jax', 'configs', 'scripts', 'tests'])
def test_what_is_imported_is_there(folder):
    """No type checker reads scripts, configs and tests; some scripts run on rare machines alone."""
    files = sorted((ROOT / folder).rglob('*.py'))
    assert files
    found = {str(path): missing_names(path.read_text()) for path in files}
    assert not {path: names for path, names in found.items() if names}


def test_the_check_finds_what_is_not_there():
    good = 'from pix2pix_jax.interop import packing\nfrom pix2pix_jax import losses as l, main\n'
    good += 'from pix2pix_jax import Translator\nfrom ablation.jobs import Ablation\n'
    good += 'import os, pix2pix_jax.train\nl.l1, main.main, os.nothing\n'
    assert missing_names(good) == []
    bad = good + 'from pix2pix_jax.interop.packing import gone\nfrom pix2pix_jax import nothing\n'
    bad += 'import pix2pix_jax.gone\nfrom pix2pix_jax.lost import it\nl.l3\n'
    names = 'interop.packing.gone', 'nothing', 'gone', 'lost.it'
    assert missing_names(bad) == [*(f'pix2pix_jax.{name}' for name in names), 'l.l3']
    assert missing_names('from pix2pix_jax import losses\ndef f(losses): losses.gone') == []
