"""A few hundred of the files that scripts/fuzz_images.py reads by the ten thousand."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from helpers import ROOT

SCRIPT = ROOT / 'scripts' / 'fuzz_images.py'
spec = importlib.util.spec_from_file_location('fuzz_images', SCRIPT)
fuzz_images = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fuzz_images)


@pytest.mark.filterwarnings('ignore')  # Pillow's, of damaged EXIF
def test_no_mutated_file_is_a_silent_wrong_pair(tmp_path):
    outcomes = fuzz_images.fuzz(tmp_path, first=10**6, count=600, seed=0, seconds=60)
    assert sum(outcomes.values()) == 600
    for name in (*fuzz_images.FORMATS, *fuzz_images.DEEP):
        found = {outcome for kind, _, outcome in outcomes if kind == name}
        assert {'refused', 'read, the same'} & found and len(found) > 1, (name, found)


def test_a_silent_wrong_pair_would_be_found(tmp_path, monkeypatch):
    """The check is one: with a reader that pads what is cut off, it fails."""

    black = dict.fromkeys(('input', 'target'), np.zeros((24, 24, 3), np.uint8))
    read = fuzz_images.read
    monkeypatch.setattr(
        fuzz_images, 'read', lambda file: black if 'mutated' in file.name else read(file)
    )
    with pytest.raises(AssertionError, match='a silent wrong pair after'):
        fuzz_images.fuzz(tmp_path, first=0, count=100, seed=0, seconds=60)


@pytest.mark.e2e
def test_the_command_counts_what_its_own_processes_read(tmp_path):
    command = [sys.executable, SCRIPT, '--files=18', f'--folder={tmp_path}']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *_, last_row, summary = done.stdout.splitlines()
    name, *counts = last_row.split()
    assert name == 'all' and sum(map(int, counts)) == 18
    assert summary.startswith('18 files, no crash, no hang, no silent wrong pair')
    assert len(list(tmp_path.glob('mutated-*'))) == 9  # the last of each format
