"""Ctrl-C ends a command with one line and status 130, never with a traceback.

It may come while modules are imported or while the interpreter ends, where nobody can catch an
exception; there it ends the process. In between it is a KeyboardInterrupt, so that what was begun
is tidied up.
"""

import os
import signal
from types import FrameType

STATUS = 128 + signal.SIGINT


def end_at_once() -> None:
    """Makes Ctrl-C end the process."""
    signal.signal(signal.SIGINT, _end)


def raise_again() -> bool:
    """Makes Ctrl-C a KeyboardInterrupt again; returns whether `end_at_once` was in force."""
    if signal.getsignal(signal.SIGINT) is not _end:
        return False
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return True


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, b'stopped\n')
    os._exit(STATUS)
