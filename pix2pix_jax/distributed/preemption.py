"""Ctrl-C and SIGTERM, turned into a flag that the training loop reads between steps."""

import os
import signal
import socket
import sys
import threading
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """While entered, the first signal sets `signal_number`; a second one ends the process.

    A thread hears of both at once. Python's own handlers wait until the main thread is back in
    Python, which takes half a minute where that compiles.
    """

    def __init__(self, answer: str = ''):
        """Starts without a request; `answer` is printed on stderr when one comes."""
        self.signal_number = 0
        self._answer = answer

    def __enter__(self) -> 'StopRequest':
        """Installs the handlers; in the main thread."""
        self._previous = {number: signal.signal(number, self._handle) for number in SIGNALS}
        self._heard, self._wakeup = socket.socketpair()
        self._wakeup.setblocking(False)
        self._earlier = signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Puts the previous handlers back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._earlier)
        self._wakeup.close()  # ends the thread
        self._thread.join()
        self._heard.close()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.signal_number = self.signal_number or number

    def _listen(self) -> None:
        """Answers the first signal, ends the process at the second; a byte is a signal's number."""
        requests = 0
        while numbers := self._heard.recv(1):
            if numbers[0] not in SIGNALS:
                continue
            requests += 1
            if requests > 1:
                os._exit(128 + numbers[0])
            self.signal_number = self.signal_number or numbers[0]
            if self._answer:
                start = '\n' if sys.stderr.isatty() else ''  # after the ^C, on the bar's line
                print(start + self._answer, file=sys.stderr, flush=True)
