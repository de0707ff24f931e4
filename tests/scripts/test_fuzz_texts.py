"""A few hundred of the lists that scripts/fuzz_texts.py reads by the ten thousand."""

import importlib.util
import sys

import pytest
from helpers import ROOT

from pix2pix_jax.errors import DataError

SCRIPTS = ROOT / 'scripts'


@pytest.fixture
def fuzz_texts(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    spec = importlib.util.spec_from_file_location('fuzz_texts', SCRIPTS / 'fuzz_texts.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop('fuzz_images', None)


def test_no_mutated_list_ends_in_anything_but_pairs_or_one_line(fuzz_texts, tmp_path):
    outcomes = fuzz_texts.fuzz(tmp_path, files=400, seed=1, seconds=60)
    assert sum(outcomes.values()) == 400
    for name in fuzz_texts.TEXTS:
        found = {outcome for kind, _, outcome in outcomes if kind == name}
        assert {'refused', 'read, the same'} <= found, (name, found)
    assert {what for _, what, _ in outcomes} >= set(fuzz_texts.EDITS)


@pytest.mark.parametrize(
    'error', [ValueError('embedded null byte'), DataError('it does not say where')]
)
def test_an_error_of_another_kind_would_be_found(fuzz_texts, tmp_path, monkeypatch, error):
    read_list = fuzz_texts.read_list

    def fails(path):
        if b'\0' in path.read_bytes():
            raise error
        return read_list(path)

    monkeypatch.setattr(fuzz_texts, 'read_list', fails)
    with pytest.raises((ValueError, AssertionError)):
        fuzz_texts.fuzz(tmp_path, files=400, seed=1, seconds=60)
