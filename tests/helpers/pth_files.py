"""PyTorch files byte by byte."""

import io
import pickle
import struct
import zipfile

SIX = struct.pack('<6f', *range(6))  # a storage


def code(value):
    """The instructions that push `value`."""
    return pickle.dumps(value, 2)[2:-1]


def tensor(offset=0, shape=(2, 3), strides=(3, 1), count=6, view=None, kind='FloatStorage'):
    """The instructions that describe a tensor of storage '0'."""
    storage = b'(' + code('storage') + f'ctorch\n{kind}\n'.encode() + code('0') + code('cpu')
    storage += code(count) + code(view) + b'tQ'
    rest = b''.join(map(code, (offset, shape, strides, False, {})))
    return b'ctorch._utils\n_rebuild_tensor_v2\n(' + storage + rest + b'tR'


def mapping(value, name='a'):
    return b'\x80\x02}' + code(name) + value + b's.'


def file_of(pickled, form, data=SIX, count=6):
    if form == 'zip':
        pickled = pickled.replace(code(None) + b'tQ', b'tQ')  # there it has no view
        return zip_of({'x/data.pkl': pickled, 'x/data/0': data})
    head = [0x1950A86A20F9469CFC6C, 1001, {'little_endian': True}]
    head = b''.join(pickle.dumps(value, 2) for value in head)
    if b'Storage' not in pickled:
        return head + pickled + pickle.dumps([], 2)
    return head + pickled + pickle.dumps(['0'], 2) + struct.pack('<q', count) + data


def zip_of(files, method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def state_dict_file(tensors):
    """The file of float32 arrays by name: all of them lie in one storage."""
    total, offset, pieces = sum(value.size for value in tensors.values()), 0, []
    for name, value in tensors.items():
        strides = tuple(stride // 4 for stride in value.strides)
        pieces.append(code(name) + tensor(offset, value.shape, strides, total))
        offset += value.size
    data = b''.join(value.astype('<f4').tobytes() for value in tensors.values())
    return file_of(b'\x80\x02}(' + b''.join(pieces) + b'u.', 'zip', data)
