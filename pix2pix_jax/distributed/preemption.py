"""Ctrl-C and SIGTERM, turned into a flag that the training loop reads between steps."""

import os
import signal
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """While entered, the first signal sets `signal_number`; a second one ends the process."""

    def __init__(self) -> None:
        """Starts without a request."""
        self.signal_number = 0

    def __enter__(self) -> 'StopRequest':
        """Installs the handlers."""
        self._previous = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Puts the previous handlers back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number:
            os._exit(128 + number)
        self.signal_number = number
