"""PyTorch files, written by torch 2.13 (tests/testdata) or here byte by byte; none needs torch."""

import importlib.util
import io
import os
import pickle
import zipfile

import numpy as np
import pytest
from helpers import TESTDATA
from helpers.pth_files import code, file_of, mapping, tensor, zip_of

from pix2pix_jax.errors import DataError
from pix2pix_jax.interop.torch.pth import read_tensors

FORMATS = ('zip', 'legacy')
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec('torch') is None, reason='needs the extra bench'
)


def expected():
    """What is in tests/testdata/pytorch_{zip,legacy}.pth."""
    a = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 8
    return {
        'plain': a,
        'turned': a.transpose(2, 0, 1),
        'part': a[1, 1:, 1:3],
        'half': a.astype(np.float16),
        'bfloat': a.transpose(2, 0, 1),  # in bfloat16: the values are exact in it
        'count': np.array(7),
        'empty': np.zeros((0, 3), np.float32),
        'mask': a[0] > 0.5,
        'parameter': a[0, 0],
    }


def equal(tensors, wanted):
    assert list(tensors) == list(wanted)
    for name, value in wanted.items():
        assert tensors[name].dtype == value.dtype, name
        np.testing.assert_array_equal(tensors[name], value, err_msg=name)


@pytest.fixture
def read(tmp_path):
    """Reads a file of the given bytes."""

    def read(data):
        (tmp_path / 'net.pth').write_bytes(data)
        return read_tensors(tmp_path / 'net.pth')

    return read


def refused(read, data, words):
    with pytest.raises(DataError, match=words) as error:
        read(data)
    assert 'net.pth: ' in str(error.value) and '\n' not in str(error.value)


@pytest.mark.parametrize('form', FORMATS)
def test_files_that_torch_wrote(form):
    equal(read_tensors(TESTDATA / f'pytorch_{form}.pth'), expected())


@needs_torch
@pytest.mark.parametrize('form', FORMATS)
@pytest.mark.parametrize('nested', [False, True])
@pytest.mark.parametrize('protocol', [2, 4])
def test_files_that_the_installed_torch_writes(tmp_path, form, nested, protocol):
    import torch

    tensors = {name: torch.from_numpy(value.copy()) for name, value in expected().items()}
    tensors['bfloat'] = torch.arange(24).reshape(2, 3, 4).bfloat16().permute(2, 0, 1) / 8
    tensors['turned'] = tensors['plain'].permute(2, 0, 1)  # one storage
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3)).state_dict()
    wanted = expected() | {name: value.numpy() for name, value in net.items()}
    net.update(tensors)
    wanted = {name: wanted[name] for name in net}
    torch.save(
        {'epoch': 3, 'state_dict': net, 'other': [torch.ones(2)]} if nested else net,
        tmp_path / 'a.pth',
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=form == 'zip',
    )
    equal(read_tensors(tmp_path / 'a.pth'), wanted)


@needs_torch
def test_a_whole_network_is_refused_by_name(tmp_path):
    import torch

    torch.save(torch.nn.Conv2d(1, 1, 1), tmp_path / 'net.pth')
    with pytest.raises(DataError, match=r"net\.pth: .* asks for 'torch\.nn\.modules\.conv\.Conv2d"):
        read_tensors(tmp_path / 'net.pth')


@pytest.mark.parametrize('form', FORMATS)
def test_views_of_a_storage(read, form):
    whole = np.arange(6, dtype=np.float32)
    for arguments, wanted in [
        ({}, whole.reshape(2, 3)),
        ({'shape': (3, 2), 'strides': (1, 3)}, whole.reshape(2, 3).T),
        ({'offset': 4, 'shape': (2,), 'strides': (1,)}, whole[4:]),
        ({'offset': 5, 'shape': (), 'strides': ()}, whole[5]),
        ({'offset': 2, 'shape': (3,), 'strides': (0,)}, whole[[2, 2, 2]]),
        ({'offset': 6, 'shape': (0, 9), 'strides': (9, 1)}, np.zeros((0, 9), np.float32)),
    ]:
        equal(read(file_of(mapping(tensor(**arguments)), form)), {'a': wanted})


def test_a_view_as_old_versions_wrote_it(read):
    pickled = mapping(tensor(1, (2,), (1,), view=('v', 2, 3)))
    equal(read(file_of(pickled, 'legacy')), {'a': np.array([3, 4], np.float32)})
    for view in (('v', 4, 3), ('v', -1, 3), ('v', 1, -1)):
        refused(read, file_of(mapping(tensor(view=view)), 'legacy'), 'view is out')


@pytest.mark.parametrize('form', FORMATS)
@pytest.mark.parametrize(
    'arguments',
    [
        {'offset': 1},
        {'offset': -1},
        {'offset': 2**62},
        {'shape': (2, 4)},
        {'shape': (-2, -3)},
        {'shape': (2, 3, 1)},
        {'shape': (1,) * 99, 'strides': (1,) * 99},
        {'shape': (2.0, 3), 'strides': (3, 1)},
        {'shape': (2**40, 2**40), 'strides': (0, 0)},  # of a few bytes
        {'shape': (2**20,), 'strides': (0,)},
        {'strides': (4, 1)},
        {'strides': (-3, 1)},
        {'count': 7},
        {'count': 2**60},
        {'count': -1},
        {'count': 'six'},
        {'kind': 'DoubleStorage'},
        {'kind': 'Size'},
    ],
)
def test_what_does_not_fit_its_storage_is_refused(read, form, arguments):
    refused(read, file_of(mapping(tensor(**arguments)), form), 'damaged, or no PyTorch file')


@pytest.mark.parametrize('form', FORMATS)
def test_nothing_is_executed(read, tmp_path, form):
    marker = tmp_path / 'executed'

    class Planted:
        def __reduce__(self):
            return os.system, (f'touch {marker}',)

    pickled = pickle.dumps({'a': Planted()}, 2)
    pickle.loads(pickled)  # it would work
    marker.unlink()
    refused(read, file_of(pickled, form), r"asks for '(posix|nt)\.system'")
    for protocol in range(6):
        data = pickle.dumps({'a': Planted()}, protocol)
        refused(read, file_of(data, form), 'system|instruction')
        refused(read, data, 'system|instruction|no PyTorch file')
    for name in (b'builtins\neval', b'torch\nload', b'os\nsystem', b'torch._utils\nx y'):
        refused(read, file_of(mapping(b'c' + name + b'\n(tR'), form), 'asks for')
    assert not marker.exists()


@pytest.mark.parametrize('form', FORMATS)
def test_other_contents_are_refused(read, form):
    refused(read, file_of(pickle.dumps([1], 2), form), 'no mapping of names')
    refused(read, file_of(pickle.dumps({}, 2), form), 'no mapping of names')
    refused(read, file_of(mapping(code(3), 'epoch'), form), "'epoch' is none")
    refused(read, file_of(mapping(tensor(), 3), form), "'3' is none")
    refused(read, file_of(mapping(b'ctorch\nSize\n(tR'), form), 'holds a torch.Size')
    refused(read, file_of(pickle.dumps({(1, 2): 3}, 2), form), 'keys of type tuple')
    refused(read, file_of(pickle.dumps({'a': 1j}, 2), form), "asks for '.*complex'")


@pytest.mark.parametrize('form', FORMATS)
def test_a_file_cut_short_or_damaged_is_refused(read, form):
    data = (TESTDATA / f'pytorch_{form}.pth').read_bytes()
    wanted = expected()
    for end in sorted({*range(0, len(data), 37), *range(len(data) - 40, len(data))}):
        refused(read, data[:end], 'PyTorch file|only the tensors')
    rng = np.random.default_rng(0)
    for _ in range(300):  # a flipped byte: refused, or what it may change is a value or a name
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] ^= 1 << rng.integers(8)
        try:
            tensors = read(bytes(damaged))
        except DataError as error:
            assert '\n' not in str(error)
        else:
            assert len(tensors) <= len(wanted)


def test_files_of_other_kinds_are_refused(read, tmp_path):
    refused(read, b'', 'no PyTorch file')
    refused(read, b'<html>' * 100, 'no PyTorch file')
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones(3))
    refused(read, buffer.getvalue(), 'without data.pkl')
    refused(read, file_of(mapping(tensor()), 'legacy', count=5), 'storage 0 is cut short')
    with pytest.raises(DataError, match='No such file'):
        read_tensors(tmp_path / 'none.pth')
    with pytest.raises(DataError, match='directory'):
        read_tensors(tmp_path)


def test_a_compressed_or_big_endian_archive_is_refused(read):
    files = {'x/data.pkl': mapping(tensor()).replace(code(None) + b'tQ', b'tQ')}
    files['x/data/0'] = bytes(24)
    assert read(zip_of(files | {'x/byteorder': b'little'}))['a'].shape == (2, 3)
    refused(read, zip_of(files | {'x/byteorder': b'big'}), 'big-endian')
    refused(read, zip_of(files, zipfile.ZIP_DEFLATED), 'compressed')
