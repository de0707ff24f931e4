import os
import subprocess
import sys

import pytest

import pix2pix_jax


@pytest.mark.parametrize('before,imports', [('', 0), ('import torch', 1)])
def test_tensorboardx_does_not_import_torch_where_it_is_installed(tmp_path, before, imports):
    (tmp_path / 'torch.py').write_text('print("imported")\nTensor = object\n')
    path = [str(tmp_path), os.path.dirname(os.path.dirname(pix2pix_jax.__file__))]
    code = f'{before}\nfrom pix2pix_jax.workdir.tensorboard import Event\nprint("between")\n'
    code += 'import torch\nprint(Event.__name__, torch.Tensor.__name__)'
    environment = os.environ | {'PYTHONPATH': os.pathsep.join(path)}
    command = [sys.executable, '-c', code]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    counts = [part.count('imported') for part in output.stdout.split('between')]
    assert counts == [imports, 1 - imports]  # and the user's own import works afterwards
    assert output.stdout.endswith('Event object\n')


def test_events_are_not_summed_up_in_python():
    """A sample grid of 1.2 MB takes 0.2 s there, of the thread that gives steps to the device."""
    from tensorboardX import crc32c, record_writer

    assert record_writer.crc32c is crc32c._crc32c_native is not None
    assert crc32c._crc32c_native(b'123456789') == crc32c._crc32c(b'123456789') == 0xE3069283
