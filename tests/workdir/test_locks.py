import errno
import subprocess
import sys

import pytest
from etils import epath

from pix2pix_jax.errors import UserError
from pix2pix_jax.workdir import locks

HOLD = """
import sys, time
from etils import epath
from pix2pix_jax.workdir import locks
with locks.hold(epath.Path(sys.argv[1])):
    print('held', flush=True)
    time.sleep(600)
"""


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path):
    workdir = epath.Path(tmp_path / 'runs' / 'a')
    locks.refuse_if_held(workdir)
    assert not workdir.parent.exists()
    process = subprocess.Popen([sys.executable, '-c', HOLD, workdir], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b'held\n'
    for take in (locks.refuse_if_held, lambda path: locks.hold(path).__enter__()):
        with pytest.raises(UserError, match=f'another process trains there .*{process.pid}') as e:
            take(workdir)
        assert e.value.status == 2
    process.kill()
    process.wait()
    for _ in range(2):  # it is released on leaving, too
        with locks.hold(workdir):
            pass
    locks.refuse_if_held(workdir)


def test_where_there_are_no_locks_it_says_so_and_goes_on(tmp_path, monkeypatch, capsys):
    def flock(file, operation):
        raise OSError(errno.ENOSYS, 'Function not implemented')

    monkeypatch.setattr(locks.file_lock.fcntl, 'flock', flock)
    for path in (tmp_path, 'gs://bucket/run'):
        with locks.hold(epath.Path(path)):
            pass
        assert f'{path} cannot be locked: start no second run there' in capsys.readouterr().out
