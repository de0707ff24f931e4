"""What is installed: packages and configs, extras; and files that repeat what others say."""

import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib

import pytest
from helpers import ROOT

from pix2pix_jax import main
from pix2pix_jax.errors import UserError

PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']


@pytest.fixture
def installed(monkeypatch):
    """The folders of the checkout that setup.py installs, by the name of their package."""
    setuptools = pytest.importorskip('setuptools', reason='needs setuptools')
    given = {}
    monkeypatch.setattr(setuptools, 'setup', lambda **keywords: given.update(keywords))
    monkeypatch.chdir(ROOT)
    runpy.run_path('setup.py')
    (package, folder), = given['package_dir'].items()  # fmt: skip
    places = (name.replace(package, folder).replace('.', '/') for name in given['packages'])
    return dict(zip(given['packages'], map(ROOT.joinpath, places)))


def test_every_folder_with_modules_is_installed(installed):
    for name in ('pix2pix_jax', 'configs'):
        modules = [p for p in (ROOT / name).rglob('*.py') if '__pycache__' not in p.parts]
        assert modules and {path.parent for path in modules} <= set(installed.values())
    assert {name.split('.')[0] for name in installed} == {'pix2pix_jax'}  # no top-level configs


def test_what_is_no_module_is_installed_too():
    package = ROOT / 'pix2pix_jax'
    found = {p for p in package.rglob('*') if p.is_file() and p.suffix not in ('.py', '.pyc')}
    patterns = tomllib.loads((ROOT / 'pyproject.toml').read_text())['tool']['setuptools']
    installed = {
        path
        for name, globs in patterns['package-data'].items()
        for pattern in globs
        for path in ROOT.joinpath(*name.split('.')).glob(pattern)
    }
    assert installed == found and package / 'web' / 'static' / 'index.html' in found


@pytest.mark.e2e
def test_installed_configs_are_found_from_an_empty_folder(installed, tmp_path):
    site, empty = tmp_path / 'site', tmp_path / 'empty'
    for name, folder in installed.items():
        (site / name.replace('.', '/')).mkdir(parents=True)
        for path in folder.glob('*.py'):
            shutil.copy(path, site / name.replace('.', '/'))
    for other in (site / 'configs', empty):  # of another package
        other.mkdir()
    shutil.copy(ROOT / 'configs' / 'test.py', site / 'configs' / 'other.py')
    code = (
        'from pix2pix_jax import main; import sys\n'
        'for name in sys.argv[1:]: print(main.find_config(name))'
    )
    names = ['configs/test.py', 'configs/reference/keras_eager.py']

    def find(*names):
        command = [sys.executable, '-c', code, *names]
        environment = os.environ | {'PYTHONPATH': str(site)}
        return subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True)

    assert find(*names).stdout.split() == [str(site / 'pix2pix_jax' / name) for name in names]
    error = find('configs/other.py').stderr
    assert 'there is no such file; allowed are configs/bw2color.py, ' in error
    (empty / 'configs').mkdir()
    shutil.copy(ROOT / 'configs' / 'test.py', empty / 'configs')
    assert find(names[0]).stdout == f'{names[0]}\n'  # the folder's own goes before


def test_a_checkouts_configs_are_found_from_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main.find_config('configs/test.py') == ROOT / 'configs' / 'test.py'
    with pytest.raises(UserError, match=r'configs/nope.py: there is no such file; .* configs/test'):
        main.find_config('configs/nope.py')


def test_extras_that_are_named_are_there():
    extras = set(PROJECT['optional-dependencies'])
    files = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md']
    for folder in ('docs', 'pix2pix_jax', 'scripts', 'tests', '.ci'):
        files += [p for p in (ROOT / folder).rglob('*') if p.suffix in ('', '.md', '.py', '.ipynb')]
    texts = [path.read_text() for path in files if path.is_file() and 'testdata' not in path.parts]
    named = {name for text in texts for name in re.findall(r"-e\s'\.\[(\w+)\]'", text)}
    assert named == extras
    assert not any('requirements' + '-' in text for text in texts)  # files that are no more


def test_pre_commit_checks_with_the_pinned_ruff():
    text = (ROOT / '.pre-commit-config.yaml').read_text()
    pin = re.search(r'^ruff==.*$', (ROOT / 'constraints.txt').read_text(), re.MULTILINE)[0]
    assert set(re.findall(r'ruff==[\d.]+', text)) == {pin}


def test_the_citation_has_the_projects_version_and_licence():
    lines = (ROOT / 'CITATION.cff').read_text().splitlines()
    assert f'version: {PROJECT["version"]}' in lines
    assert f'license: {PROJECT["license"]}' in lines
