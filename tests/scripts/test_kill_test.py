"""The short version of scripts/kill_test.py: a run killed three times ends as one left alone."""

import subprocess
import sys

import pytest
from helpers import ROOT

SCRIPT = ROOT / 'scripts' / 'kill_test.py'


@pytest.mark.e2e
@pytest.mark.slow
def test_a_killed_run_ends_as_one_left_alone(tmp_path):
    command = [sys.executable, SCRIPT, '--kills=3', '--seed=2', f'--folder={tmp_path}']
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count('kill ') == 3
    assert done.stdout.endswith('3 kills survived: equal, bit for bit\n')
