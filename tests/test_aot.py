"""What scripts/aot.py reads out of compiled programs; with the CUDA plugin, a real one."""

import importlib.util
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

SCRIPT = pathlib.Path(__file__).parents[1] / 'scripts' / 'aot.py'


@pytest.fixture(scope='module')
def aot():
    spec = importlib.util.spec_from_file_location('aot', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CALL = '%c = (f32[1], u8[0]) custom-call(%x, %k), window={{{}}}, custom_call_target="__cudnn${}"'


@pytest.mark.parametrize(
    ('line', 'kind'),
    [
        (CALL.format('size=4x4 stride=2x2 pad=1_1x1_1', 'convForward'), 'convForward'),
        (CALL.format('size=4x4 stride=2x2', 'convBackwardFilter'), 'convBackwardFilter'),
        (CALL.format('size=4x4 pad=2_2x2_2 lhs_dilate=2x2', 'convForward'), 'dilated'),
        (CALL.format('size=2x2 rhs_dilate=2x2', 'convForward'), 'dilated'),
        ('%c = f32[1] convolution(%x, %k), window={size=4x4 stride=2x2}', 'forward'),
        ('%c = f32[1] convolution(%x, %k), window={size=4x4 lhs_dilate=2x2}', 'input gradients'),
        ('%c = f32[1] convolution(%x, %k), window={size=8x8 rhs_dilate=2x2}', 'weight gradients'),
        ('%c = f32[1] convolution(%x, %k), window={lhs_dilate=2x2 rhs_dilate=2x2}', 'dilated'),
    ],
)
def test_convolutions_are_counted_by_kind(aot, line, kind):
    assert aot.convolutions(line).get(kind) == 1


def test_a_map_with_zeros_between_its_pixels_is_dilated(aot):
    pad = '%p = f32[1,7] pad(%x, %zero), padding=0_0x1_1_1\n'
    call = CALL.format('size=4x4', 'convForward')
    assert aot.convolutions(pad + call)['dilated'] == 1
    assert aot.convolutions(pad.replace('1_1_1', '1_1') + call)['dilated'] == 0


def test_the_bytes_of_a_matrix_product_are_its_operands_and_result(aot):
    a, b = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((64, 32), (32, 16)))
    text = jax.jit(jnp.matmul).lower(a, b).compile().as_text()
    assert aot.bytes_moved(text) == 4 * (64 * 32 + 32 * 16 + 64 * 16)


def run(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)


def test_a_missing_or_unknown_target_is_one_line():
    for arguments in ((), ('--target=gtx',)):
        result = run(*arguments)
        assert result.returncode == 2
        assert result.stderr.startswith('error: ') and 'h100' in result.stderr
        assert result.stderr.count('\n') == 1


def test_the_step_on_an_h100_has_no_dilated_convolution():
    if importlib.util.find_spec('jax_cuda12_plugin') is None:
        pytest.skip('needs the packages of requirements-aot.txt')
    result = run('--target=h100', '--config.dtype=bfloat16')
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == 'dilated convolutions: 0'
