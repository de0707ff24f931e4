"""State dicts in files: there and back, what PyTorch itself reads of them, and bad ones."""

import io
import os
import pickle
import sys

import numpy as np
import pytest
import safetensors.numpy

from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.interop.torch.state_dict_files import (
    check_writable,
    read_state_dict,
    write_state_dict,
)

ENDINGS = ('.safetensors', '.pth', '.pt')


def some_tensors():
    """A kernel that is a turned view, vectors, and a count without sides."""
    rng = np.random.default_rng(0)
    return {
        'b.weight': rng.normal(size=(4, 3, 2, 5)).astype(np.float32).transpose(3, 2, 0, 1),
        'a.bias': rng.normal(size=7).astype(np.float32),
        'a.num_batches_tracked': np.array(2**40, np.int64),
    }


def equal(found, wanted):
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype and found[name].shape == value.shape
        np.testing.assert_array_equal(found[name], value)


def written(path, tensors):
    if path.suffix == '.npz':
        np.savez(path, **tensors)
    else:
        write_state_dict(path, tensors)


@pytest.mark.parametrize('ending', [*ENDINGS, '.npz', '.SAFETENSORS'])
def test_there_and_back(tmp_path, ending):
    if ending in ENDINGS[1:]:
        pytest.importorskip('torch', reason='torch writes this format')
    written(tmp_path / f'net{ending}', some_tensors())
    equal(read_state_dict(tmp_path / f'net{ending}'), some_tensors())
    assert [path.name for path in tmp_path.iterdir()] == [f'net{ending}']


def test_what_is_there_is_replaced(tmp_path):
    path = tmp_path / 'new' / 'net.safetensors'
    for scale in (1, 2):
        write_state_dict(path, {'a': np.full(3, scale, np.float32)})
    assert (read_state_dict(path)['a'] == 2).all()


@pytest.mark.parametrize('ending', ENDINGS)
def test_torch_reads_what_is_written(tmp_path, ending):
    torch = pytest.importorskip('torch')
    import safetensors.torch

    path = tmp_path / f'net{ending}'
    write_state_dict(path, some_tensors())
    if ending == '.safetensors':
        tensors = safetensors.torch.load_file(path)
    else:
        tensors = torch.load(path, weights_only=True)
    equal({name: tensor.numpy() for name, tensor in tensors.items()}, some_tensors())


def test_bfloat16_becomes_float32(tmp_path):
    torch = pytest.importorskip('torch')
    import safetensors.torch

    tensor = torch.arange(6).reshape(2, 3).bfloat16() / 8
    safetensors.torch.save_file({'a': tensor}, tmp_path / 'net.safetensors')
    torch.save({'a': tensor}, tmp_path / 'net.pth')
    for ending in ('.safetensors', '.pth'):
        wanted = {'a': np.arange(6, dtype=np.float32).reshape(2, 3) / 8}
        equal(read_state_dict(tmp_path / f'net{ending}'), wanted)


def refused(call, *args, words):
    with pytest.raises(UserError, match=words) as error:
        call(*args)
    assert '\n' not in str(error.value) and str(args[0]) in str(error.value)
    return error.value


@pytest.mark.parametrize('ending', ['.safetensors', '.npz', '.pth'])
def test_a_damaged_or_missing_file_is_named(tmp_path, ending):
    if ending == '.pth':
        pytest.importorskip('torch', reason='torch writes this format')
    path = tmp_path / f'net{ending}'
    assert refused(read_state_dict, path, words='No such file').status == 1
    written(path, some_tensors())
    whole = path.read_bytes()
    for data in (b'', b'x', b'<html>' * 40, *(whole[:n] for n in range(1, len(whole), 97))):
        path.write_bytes(data)
        assert refused(read_state_dict, path, words='damaged, or no|only the tensors').status == 1
    path.unlink()
    path.mkdir()
    assert refused(read_state_dict, path, words='directory').status == 1


def test_a_compressed_npz_is_read_and_a_damaged_one_is_named(tmp_path):
    path = tmp_path / 'net.npz'
    np.savez_compressed(path, a=np.arange(1000.0))
    equal(read_state_dict(path), {'a': np.arange(1000.0)})
    whole, reasons = path.read_bytes(), set()
    for i in range(0, len(whole), 17):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 0xFF]) + whole[i + 1 :])
        try:
            read_state_dict(path)
        except DataError as error:
            reasons.add(str(error))
    assert any('decompressing' in reason for reason in reasons)


def test_a_file_without_tensors_is_refused(tmp_path):
    (tmp_path / 'net.safetensors').write_bytes(safetensors.numpy.save({}))
    np.savez(tmp_path / 'net.npz')
    buffer = io.BytesIO()
    np.save(buffer, np.ones(3))
    (tmp_path / 'one.npz').write_bytes(buffer.getvalue())
    refused(read_state_dict, tmp_path / 'net.safetensors', words='no tensors')
    refused(read_state_dict, tmp_path / 'net.npz', words='no tensors')
    refused(read_state_dict, tmp_path / 'one.npz', words='a single array')


class Planted:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def test_planted_code_is_not_executed(tmp_path):
    marker = tmp_path / 'executed'
    np.savez(tmp_path / 'net.npz', a=np.array([Planted(marker)], object))
    (tmp_path / 'net.pth').write_bytes(pickle.dumps({'a': Planted(marker)}, 2))
    (tmp_path / 'net.safetensors').write_bytes(pickle.dumps({'a': Planted(marker)}, 2))
    np.load(tmp_path / 'net.npz', allow_pickle=True)['a']  # it would work
    marker.rmdir()
    refused(read_state_dict, tmp_path / 'net.npz', words='Object arrays cannot be loaded')
    refused(read_state_dict, tmp_path / 'net.pth', words='mkdir|no PyTorch file')
    refused(read_state_dict, tmp_path / 'net.safetensors', words='damaged')
    assert not marker.exists()


def test_other_endings_are_refused(tmp_path):
    for name in ('net.bin', 'net', 'net.onnx'):
        assert (
            refused(read_state_dict, tmp_path / name, words=r'\.safetensors or \.npz').status == 2
        )
        assert (
            refused(check_writable, tmp_path / name, words=r'allowed are .*\.safetensors').status
            == 2
        )
    refused(check_writable, tmp_path / 'net.npz', words='allowed are')
    with pytest.raises(UserError):
        write_state_dict(tmp_path / 'net.bin', some_tensors())
    assert not list(tmp_path.iterdir())


def test_without_torch_pth_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'torch', None)  # as if it was not installed
    refused(check_writable, tmp_path / 'net.pth', words='not installed.*allowed.*safetensors')
    check_writable(tmp_path / 'net.safetensors')


def test_errors_of_the_data_are_data_errors(tmp_path):
    with pytest.raises(DataError):
        read_state_dict(tmp_path / 'none.safetensors')
