"""scripts/aot.py: what it refuses, and where the plugins are there, real compiles."""

import importlib.util
import subprocess
import sys

import pytest
from helpers import ROOT

from pix2pix_jax.errors import UserError

SCRIPT = ROOT / 'scripts' / 'aot.py'
sys.path.insert(0, str(SCRIPT.parent))  # it imports bench


@pytest.fixture(scope='module')
def aot():
    spec = importlib.util.spec_from_file_location('aot', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)


@pytest.mark.e2e
def test_a_missing_or_unknown_target_is_one_line():
    for arguments in ((), ('--target=gtx',)):
        result = run(*arguments)
        assert result.returncode == 2
        assert result.stderr.startswith('error: ') and 'h100' in result.stderr
        assert result.stderr.count('\n') == 1


@pytest.mark.e2e
def test_without_a_plugin_one_line_says_what_to_install():
    missing = {'v5e-1': 'libtpu', 'h100': 'jax_cuda12_plugin'}
    missing = [t for t, plugin in missing.items() if importlib.util.find_spec(plugin) is None]
    if not missing:
        pytest.skip('both plugins are installed')
    result = run(f'--target={missing[0]}')
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith(f'error: --target={missing[0]}: ')
    assert '.[aot]' in result.stderr


def test_every_device_gets_the_configs_batch_or_its_share_of_the_given_one(aot):
    assert aot.batch_size(1, 8, 'v5e-8', given=False) == 8
    assert aot.batch_size(64, 8, 'v5e-8', given=True) == 64
    with pytest.raises(UserError, match='batch_size=4.* multiple of the 8 devices of v5e-8'):
        aot.batch_size(4, 8, 'v5e-8', given=True)


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize(('plugin', 'target'), [('jax_cuda12_plugin', 'h100'), ('libtpu', 'v5e-8')])
def test_a_step_compiles_without_a_dilated_convolution(plugin, target):
    if importlib.util.find_spec(plugin) is None:
        pytest.skip('needs the extra aot')
    result = run(f'--target={target}', '--config=configs/facades.py:tiny')
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith(target) and lines[-1] == 'dilated convolutions: 0'
    assert 'not of cuDNN' not in result.stdout
