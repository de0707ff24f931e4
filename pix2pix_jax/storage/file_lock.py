"""A lock on an open file, which the kernel releases however the process ends.

Not filelock: where a file system has no locks, it makes one of a file's existence, which a killed
process leaves behind.
"""

from typing import IO

try:
    import fcntl
except ImportError:  # not a Unix
    fcntl = None  # type: ignore[assignment]


def take(file: IO) -> bool:
    """Returns whether `file` is locked now, until it is closed; False where there are no locks.

    Raises BlockingIOError where another process holds it.
    """
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # a file system without locks
        return False
    return True
