"""Ctrl-C and SIGTERM end a command with one line and status 130 or 143, never with a traceback.

They may come while modules are imported or while the interpreter ends, where nobody can catch an
exception; there they end the process. In between they are a KeyboardInterrupt, so that what was
begun is tidied up. While a run takes its steps, `distributed.preemption` has them.
"""

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, NoReturn

AGAIN_SECONDS = 0.05


class Terminated(KeyboardInterrupt):
    """SIGTERM: what tidies up after Ctrl-C does so after this."""


def end_at_once() -> None:
    """Makes both signals end the process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)


def raise_again() -> bool:
    """Makes both a KeyboardInterrupt; returns whether `end_at_once` was in force."""
    if signal.getsignal(signal.SIGINT) is not _end:
        return False
    sys.unraisablehook = _send_again
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _terminate)
    return True


def status_of(error: KeyboardInterrupt) -> int:
    """Returns the status of a command that a signal ended."""
    return 128 + _number(type(error))


def _number(kind: type) -> int:
    return signal.SIGTERM if issubclass(kind, Terminated) else signal.SIGINT


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, b'stopped\n')
    os._exit(128 + number)


def _send_again(unraisable: Any) -> None:
    """Sends the signal again where Python dropped its exception: jax has callbacks in each gc."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return
    timer = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), _number(unraisable.exc_type)))
    timer.daemon = True
    timer.start()
