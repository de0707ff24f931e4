"""The version of the code, in a checkout that is installed and in one that is not."""

import importlib.metadata
import json
import pathlib
import tomllib

import jax
import pytest

from pix2pix_jax import version
from pix2pix_jax.errors import UserError
from pix2pix_jax.workdir import config_json, run_json

CHECKOUT = pathlib.Path(version.__file__).parents[1]
VERSION = tomllib.loads((CHECKOUT / 'pyproject.toml').read_text())['project']['version']


@pytest.fixture
def not_installed(monkeypatch):
    """Takes this package, and no other, from those that are installed."""
    distribution = importlib.metadata.distribution

    def find(name):
        if name == 'pix2pix_jax':
            raise importlib.metadata.PackageNotFoundError(name)
        return distribution(name)

    monkeypatch.setattr(importlib.metadata, 'distribution', find)
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version('pix2pix_jax')


def test_a_checkout_that_is_not_installed_writes_its_version_down(not_installed, tmp_path):
    assert version.version() == VERSION
    run_json.record_start(tmp_path, 'command', jax.devices()[:1], 0, {})
    record = json.loads((tmp_path / 'run.json').read_text())
    assert record['versions']['pix2pix_jax'] == record['starts'][0]['version'] == VERSION
    assert record['versions']['jax'] == jax.__version__
    (tmp_path / 'config.json').write_text('{"new": 1}')
    with pytest.raises(UserError, match=f'this is {VERSION}\\)'):
        config_json.load_config(tmp_path)


@pytest.mark.parametrize('project, expected', [
    ('[project]\nname = "pix2pix_jax"\nversion = "7.8.9"', '7.8.9'),  # newer than its metadata
    ('[project]\nname = "another"\nversion = "7.8.9"', '1.2.3'),
    ('[tool.ruff]', '1.2.3'),
    (None, '1.2.3'),
])  # fmt: skip
def test_a_checkout_goes_before_what_is_installed(monkeypatch, tmp_path, project, expected):
    if project:
        (tmp_path / 'pyproject.toml').write_text(project)
    monkeypatch.setattr(version, '__file__', str(tmp_path / 'pix2pix_jax' / 'version.py'))
    monkeypatch.setattr(importlib.metadata, 'version', lambda name: '1.2.3')
    assert version.version() == expected
