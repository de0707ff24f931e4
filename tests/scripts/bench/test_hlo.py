"""What scripts/bench/hlo.py reads out of the texts of compiled programs."""

import importlib
import sys

import jax
import jax.numpy as jnp
import pytest
from helpers import ROOT

sys.path.insert(0, str(ROOT / 'scripts'))
hlo = importlib.import_module('bench.hlo')

CALL = '%c = (f32[1], u8[0]) custom-call(%x, %k), window={{{}}}, custom_call_target="__cudnn${}"'


@pytest.mark.parametrize(
    ('line', 'kind'),
    [
        (CALL.format('size=4x4 stride=2x2 pad=1_1x1_1', 'convForward'), 'convForward'),
        (CALL.format('size=4x4 stride=2x2', 'convBackwardFilter'), 'convBackwardFilter'),
        (CALL.format('size=4x4 pad=2_2x2_2 lhs_dilate=2x2', 'convForward'), 'dilated'),
        (CALL.format('size=2x2 rhs_dilate=2x2', 'convForward'), 'dilated'),
        ('%c = f32[1] convolution(%x, %k), window={size=4x4 stride=2x2}', 'not of cuDNN'),
        ('%c = f32[1] convolution(%x, %k), window={size=4x4 rhs_dilate=2x2}', 'dilated'),
    ],
)
def test_convolutions_of_a_gpu_are_counted_by_kind(line, kind):
    assert hlo.convolutions(line, gpu=True) == {'dilated': 0} | {kind: 1}


@pytest.mark.parametrize(
    ('window', 'kind'),
    [
        ('size=4x4 stride=2x2', 'forward'),
        ('size=4x4 lhs_dilate=2x2', 'input gradients'),
        ('size=8x8 rhs_dilate=2x2', 'weight gradients'),
        ('lhs_dilate=2x2 rhs_dilate=2x2', 'dilated'),
    ],
)
def test_convolutions_of_a_tpu_are_counted_by_kind(window, kind):
    line = f'%c = f32[1] convolution(%x, %k), window={{{window}}}'
    assert hlo.convolutions(line, gpu=False) == {kind: 1}


def test_a_map_with_zeros_between_its_pixels_is_dilated():
    pad = '%p = f32[1,7] pad(%x, %zero), padding=0_0x1_1_1\n'
    call = CALL.format('size=4x4', 'convForward')
    assert hlo.convolutions(pad + call, gpu=True)['dilated'] == 1
    assert hlo.convolutions(pad.replace('1_1_1', '1_1') + call, gpu=True)['dilated'] == 0


def test_the_bytes_of_a_matrix_product_are_its_operands_and_result():
    a, b = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((64, 32), (32, 16)))
    program = hlo.parse(jax.jit(jnp.matmul).lower(a, b).compile().as_text())
    assert hlo.bytes_moved(program) == 4 * (64 * 32 + 32 * 16 + 64 * 16)
    assert hlo.count(program) == 1
    assert not hlo.copies(program)


# As a TPU's compiler prints it: S(1) is the core's own memory.
TPU = """HloModule step

%mixed (p: bf16[4,4,8,2]) -> bf16[4,4,8,2] {
  %p = bf16[4,4,8,2]{3,2,1,0:T(8,128)(2,1)S(1)} parameter(0)
  %t = bf16[4,4,8,2]{3,2,1,0:T(8,128)(2,1)S(1)} copy(%p)
  ROOT %n = bf16[4,4,8,2]{3,2,1,0:T(8,128)(2,1)S(1)} negate(%t)
}

%moves (q: bf16[4,4,8,2]) -> bf16[8,4,4,2] {
  %q = bf16[4,4,8,2]{3,2,1,0:T(8,128)(2,1)S(1)} parameter(0)
  ROOT %r = bf16[8,4,4,2]{3,2,1,0:T(8,128)(2,1)S(1)} transpose(%q), dimensions={2,0,1,3}
}

ENTRY %main (k: f32[4,4,8,2], x: f32[10]) -> bf16[4,4,8,2] {
  %k = f32[4,4,8,2]{3,2,1,0:T(8,128)} parameter(0)
  %x = f32[10]{0:T(256)} parameter(1)
  %s = ((f32[4,4,8,2]{3,2,1,0:T(8,128)}), f32[1,4,8,2]{3,2,1,0:T(8,128)S(1)}, s32[]{:S(2)}) slice-start(%k), slice={[0:1], [0:4], [0:8], [0:2]}
  %d = f32[1,4,8,2]{3,2,1,0:T(8,128)S(1)} slice-done(%s)
  %b = (f32[10]{0:T(256)S(1)}, f32[10]{0:T(256)}, u32[]{:S(2)}) copy-start(%x)
  %e = f32[10]{0:T(256)S(1)} copy-done(%b)
  %c = bf16[4,4,8,2]{3,2,1,0:T(8,128)(2,1)S(1)} convert(%k)
  %f = bf16[4,4,8,2]{3,2,1,0:T(8,128)(2,1)S(1)} fusion(%c), kind=kLoop, calls=%mixed
  %g = bf16[8,4,4,2]{3,2,1,0:T(8,128)(2,1)S(1)} fusion(%f), kind=kLoop, calls=%moves
  %h = f32[10]{0:T(256)S(1)} copy(%e)
  ROOT %v = bf16[4,4,8,2]{3,2,1,0:T(8,128)(2,1)} reverse(%g), dimensions={0,1}
}
"""  # noqa: E501


def test_bytes_on_a_tpu_are_those_of_its_memory_not_of_the_cores():
    sliced, prefetched, converted, written = 4 * 4 * 8 * 2, 4 * 10, 4 * 256, 2 * 256
    assert hlo.bytes_moved(hlo.parse(TPU)) == sliced + prefetched + converted + written


def test_copies_are_kernels_that_do_nothing_else_and_known_by_their_sides():
    found = hlo.copies(hlo.parse(TPU))
    assert [a.shape for a in found] == [(8, 4, 4, 2), (10,), (4, 4, 8, 2)]
    assert [a.size for a in hlo.of_kernels(found, [(4, 4, 8, 2)])] == [512, 512]
    assert not hlo.of_kernels(found, [(4, 4, 8, 3)])


def test_kernels_in_command_buffers_are_indented():
    thunks = """000: kCommandBuffer [source        | next=006 (1) ]
    001: kCopy         [source       | next=002 (1)] kCopy
    002: kCustomKernel [prev=001 (1) | sink        ] loop_add_fusion_50 grid: [1, 1, 1]
006: kConvolution   [prev=000 (1)  | next=007 (1) ] kConvolution
000: kCommandBuffer [prev=009 (1)  | next=015 (1) ]
    010: kCustomKernel [source       | next=011 (1)] input_reduce_fusion_65 grid: [2, 1, 1]
"""
    assert hlo.command_buffers(thunks) == (2, 3)
    assert hlo.command_buffers('') == (0, 0)
