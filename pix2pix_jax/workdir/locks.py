"""One process trains in a run's folder: a lock that the kernel releases however it ends."""

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import IO

from etils import epath

from pix2pix_jax.errors import UserError
from pix2pix_jax.storage import atomic, file_lock

LOCK = '.lock'


@contextlib.contextmanager
def hold(workdir: epath.Path) -> Iterator[None]:
    """Locks `workdir`, which is created if need be, while entered; clears what a kill left there.

    Raises UserError where another process holds it. Where there are no locks (object stores, some
    network drives) it says so and continues.
    """
    if not atomic.is_local(workdir):
        _say_unlocked(workdir)
        yield
        return
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = 'it is a link to nothing' if os.path.islink(workdir) else error.strerror
        raise UserError(f'--workdir={workdir}: no folder can be made there: {why}', 1) from error
    with open(workdir / LOCK, 'a+') as file:
        if _lock(file, workdir):
            with contextlib.suppress(OSError):  # a full disk does not matter here
                file.truncate(0)
                file.write(f'process {os.getpid()} on {socket.gethostname()}')
                file.flush()
            atomic.remove_temporaries(workdir)  # of a process that was killed
        else:
            _say_unlocked(workdir)
        yield


def refuse_if_held(workdir: epath.Path) -> None:
    """Raises UserError where another process holds the lock of `workdir`; creates nothing."""
    if atomic.is_local(workdir) and (workdir / LOCK).exists():
        with open(workdir / LOCK) as file:
            _lock(file, workdir)


def _lock(file: IO[str], workdir: epath.Path) -> bool:
    """Returns whether `file` is locked now, until it is closed; UserError if another has it."""
    try:
        return file_lock.take(file)
    except BlockingIOError as error:
        file.seek(0)
        raise UserError(
            f'--workdir={workdir}: another process trains there ({file.read().strip()}); '
            'wait for it, stop it, or give another folder'
        ) from error


def _say_unlocked(workdir: epath.Path) -> None:
    print(f'{workdir} cannot be locked: start no second run there', flush=True)
