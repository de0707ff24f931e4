"""Some of the packed runs that scripts/fuzz_packed.py reads by the thousand."""

import importlib

import pytest
from helpers import ROOT

from pix2pix_jax.errors import DataError
from pix2pix_jax.workdir import palette_json


@pytest.fixture
def fuzz_packed(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'scripts'))
    return importlib.import_module('fuzz_packed')


def test_no_mutated_zip_ends_in_anything_but_a_run_or_one_line(fuzz_packed, tmp_path):
    outcomes = fuzz_packed.fuzz(tmp_path, files=90, seed=1, seconds=60)
    assert sum(outcomes.values()) == 90
    for kind in fuzz_packed.KINDS:
        assert outcomes[kind, 'refused'] > 5, kind
    assert outcomes['zip', 'read, another run'] == 0
    assert outcomes['member', 'read, the same'] and outcomes['value', 'read, another run']


@pytest.mark.parametrize('error', [RecursionError('deep'), DataError('it does not say where')])
def test_an_error_of_another_kind_would_be_found(fuzz_packed, tmp_path, monkeypatch, error):
    def fails(path):
        raise error

    fuzz_packed.original(tmp_path)
    monkeypatch.setattr(palette_json, 'load_palette', fails)
    with pytest.raises((RecursionError, AssertionError)):
        fuzz_packed.read(tmp_path / 'original.zip')


def test_another_run_would_be_found(fuzz_packed, tmp_path, monkeypatch):
    """Where a changed member has the checksum that it needs, as an edit of a member has it."""
    edit = fuzz_packed.edit
    monkeypatch.setattr(fuzz_packed, 'edit', lambda data, kind, rng: edit(data, 'value', rng))
    monkeypatch.setattr(fuzz_packed, 'KINDS', ('zip',))
    with pytest.raises(AssertionError, match='another run'):
        fuzz_packed.fuzz(tmp_path, files=200, seed=1, seconds=60)
