"""What tests share. Pytest puts tests/ on the path, conftest.py on that of programs it starts."""

import pathlib

ROOT = pathlib.Path(__file__).parents[2]  # of the repository
TESTDATA = ROOT / 'tests' / 'testdata'
OLD_RUN = TESTDATA / 'run_0.1.0'  # which version 0.1.0 made
