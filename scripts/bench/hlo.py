"""What the text of a compiled program says: its convolutions, its copies, and what it moves."""

import math
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

BYTES = {'pred': 1, 's8': 1, 'u8': 1, 'bf16': 2, 'f16': 2, 's64': 8, 'u64': 8, 'f64': 8}  # else 4
FREE = {'parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast', 'after-all'}
COPIES = {'copy', 'transpose', 'reverse'}

_BLOCK = re.compile(r'^(ENTRY )?%?([\w.\-]+) [^\n]*\{\n(.*?)^\}', re.M | re.S)
_LINE = re.compile(r'^\s*(?:ROOT )?%([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*?)\)(.*)$', re.M)


class Array(NamedTuple):
    """A buffer; on a TPU it may lie in the memory of the core (VMEM), not in the device's."""

    shape: tuple[int, ...]
    size: int  # bytes
    on_chip: bool

    @property
    def moved(self) -> int:
        """Bytes that the device's memory sees when the buffer is read or written."""
        return 0 if self.on_chip else self.size


class Instruction(NamedTuple):
    """A line of a computation: what it gives, by which operation, from which others."""

    name: str
    arrays: list[Array]
    opcode: str
    operands: list[str]
    calls: str | None


class Program(NamedTuple):
    """The instructions of each computation, by name, and the name of the outermost."""

    computations: dict[str, list[Instruction]]
    entry: str

    def kernels(self) -> Iterator[Instruction]:
        """Yields what runs one after the other: the entry's instructions, and those it calls."""
        pending = [self.entry]
        while pending:
            for instruction in self.computations[pending.pop()]:
                if instruction.opcode == 'call':
                    pending.append(instruction.calls)
                else:
                    yield instruction


def parse(text: str) -> Program:
    """Returns the program whose text is given, as `jax.stages.Compiled.as_text` prints it."""
    computations, entry = {}, ''
    for is_entry, name, body in _BLOCK.findall(text):
        computations[name] = [_instruction(*line) for line in _LINE.findall(body)]
        entry = name if is_entry else entry
    return Program(computations, entry)


def _instruction(name: str, shape: str, opcode: str, operands: str, rest: str) -> Instruction:
    called = re.search(r'(?:calls|to_apply)=%([\w.\-]+)', rest)
    names = re.findall(r'%([\w.\-]+)', operands)
    return Instruction(name, list(_arrays(shape)), opcode, names, called and called[1])


def _arrays(shape: str) -> Iterator[Array]:
    for dtype, dims, layout in re.findall(r'(\w+)\[([\d,]*)\](\{[^}]*\})?', shape):
        dims = tuple(int(dim) for dim in dims.split(',') if dim)
        yield Array(dims, math.prod(dims) * BYTES.get(dtype, 4), 'S(' in layout)


def count(program: Program) -> int:
    """Returns how many kernels the program runs one after the other."""
    return sum(not _is_free(i.opcode) for i in program.kernels())


def _is_free(opcode: str) -> bool:
    return opcode in FREE or opcode.endswith('-done')


def bytes_moved(program: Program) -> int:
    """Returns the bytes of the device's memory that the program's kernels read and write.

    Every kernel reads its operands and writes its results once, whole. What a TPU keeps on the
    chip is not counted, but for its transfers from and to the device's memory.
    """
    arrays = {i.name: i.arrays for i in program.kernels()}
    total = 0
    for instruction in program.kernels():
        results, opcode = instruction.arrays, instruction.opcode
        if _is_free(opcode):
            continue
        if opcode == 'copy-start':  # gives both ends of the transfer
            total += sum(a.moved for a in results)
        elif opcode == 'slice-start':  # gives its whole source and the slice
            source, piece = results[:2]
            total += piece.moved + (0 if source.on_chip else piece.size)
        else:
            operands = [a for name in instruction.operands for a in arrays.get(name, ())]
            total += sum(a.moved for a in [*results, *operands])
    return total


def copies(program: Program) -> list[Array]:
    """Returns the results of all kernels that only copy, transpose or reverse an array."""
    return [i.arrays[0] for i in program.kernels() if _only_copies(i, program)]


def _only_copies(instruction: Instruction, program: Program) -> bool:
    if instruction.opcode != 'fusion':
        return instruction.opcode in COPIES
    inside = {i.opcode for i in program.computations[instruction.calls]} - FREE - {'reshape'}
    return bool(inside) and inside <= COPIES


def of_kernels(arrays: list[Array], kernels: Iterable[tuple[int, ...]]) -> list[Array]:
    """Returns those of the arrays that have a shape of `kernels`, in whatever order of the axes."""
    known = {form for shape in kernels for form in _forms(shape)}
    return [a for a in arrays if _dims(a.shape) in known]


def _forms(kernel: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [_dims(kernel), _dims((math.prod(kernel[:2]), *kernel[2:]))]


def _dims(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(side for side in shape if side > 1))


def convolutions(text: str, gpu: bool) -> dict[str, int]:
    """Counts the convolutions of a compiled program by kind.

    For a GPU they are cuDNN's kernels, and one whose window is dilated, or that reads a map with
    zeros between its pixels, is 'dilated'; what is not cuDNN's is 'not of cuDNN'. A TPU's program
    writes the gradients of a strided convolution as windows with a dilation, on one side: only
    one on both dims is 'dilated'.
    """
    kinds: dict[str, int] = {}
    for line in text.splitlines():
        cudnn = re.search(r'custom_call_target="__cudnn\$(conv\w+)"', line)
        if not cudnn and ' convolution(' not in line:
            continue
        window = re.search(r'window=\{([^}]*)\}', line)
        dilations = re.findall('[lr]hs_dilate', window[1]) if window else []
        if len(dilations) == 2 or (gpu and dilations):
            kind = 'dilated'
        elif gpu:
            kind = cudnn[1] if cudnn else 'not of cuDNN'
        else:
            kind = {'lhs_dilate': 'input gradients', 'rhs_dilate': 'weight gradients'}.get(
                ''.join(dilations), 'forward'
            )
        kinds[kind] = kinds.get(kind, 0) + 1
    if gpu:
        stuffed = re.findall(r' pad\(.*padding=\S*?\d_\d+_[1-9]', text)
        kinds['dilated'] = kinds.get('dilated', 0) + len(stuffed)
    return kinds
