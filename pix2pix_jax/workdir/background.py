"""Work beside a training, which never waits for it and never fails by it."""

import contextlib
import contextvars
import sys
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def repeated(work: Callable[[], None], seconds: float) -> Iterator[None]:
    """Calls `work` in a thread, with `seconds` between two calls; and in this one at the end.

    The end comes also where the block raises. An OSError of `work` is a warning.
    """
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(seconds):
            _attempt(work)

    # In the caller's context: what is printed belongs to its cell of a notebook.
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(repeat,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        _attempt(work)


def _attempt(work: Callable[[], None]) -> None:
    try:
        work()
    except OSError as error:
        what = f'{error.filename or "input or output"}: {error.strerror or error}'
        print(f'warning: {what}; the training goes on', file=sys.stderr, flush=True)
