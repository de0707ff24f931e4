"""Ctrl-C ends a command with one line and status 130, never with a traceback.

It may come while modules are imported or while the interpreter ends, where nobody can catch an
exception; there it ends the process. In between it is a KeyboardInterrupt, so that what was begun
is tidied up.
"""

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

STATUS = 128 + signal.SIGINT
AGAIN_SECONDS = 0.05


def end_at_once() -> None:
    """Makes Ctrl-C end the process."""
    signal.signal(signal.SIGINT, _end)


def raise_again() -> bool:
    """Makes Ctrl-C a KeyboardInterrupt again; returns whether `end_at_once` was in force."""
    if signal.getsignal(signal.SIGINT) is not _end:
        return False
    sys.unraisablehook = _send_again
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return True


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, b'stopped\n')
    os._exit(STATUS)


def _send_again(unraisable: Any) -> None:
    """Sends the signal again where Python dropped its exception: jax has callbacks in each gc."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return
    timer = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), signal.SIGINT))
    timer.daemon = True
    timer.start()
