"""What importing the package costs, and that no private part of another package is imported."""

import ast
import subprocess
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
