"""The errors that a user sees, and the one wrapper that every command runs in.

A user's mistake prints one line on stderr and ends with status 1 (bad data, or some files
failed) or 2 (a wrong command or config). Everything else is a bug and keeps its traceback.
"""

import re
import sys
from collections.abc import Callable
from typing import NoReturn

from absl import flags

from pix2pix_jax import interrupts

DATA_ERROR = 1
USAGE_ERROR = 2


class UserError(Exception):
    """A mistake of the user's: the message says what is wrong, where, and what is allowed."""

    def __init__(self, message: str, status: int = USAGE_ERROR):
        """Keeps the one-line `message` and the exit `status` (1: data, 2: command or config)."""
        super().__init__(' '.join(message.split()))
        self.status = status

    def _render_traceback_(self) -> list[str]:
        """Returns what IPython shows in a notebook, in place of a traceback."""
        return [f'error: {self}']


class DataError(UserError):
    """Bad data: a file that is missing, unreadable, or does not fit the others (status 1)."""

    def __init__(self, message: str):
        """Keeps the one-line `message`; the exit status is 1."""
        super().__init__(message, DATA_ERROR)


class Stopped(Exception):
    """The run was stopped by a signal; its state is saved. Ends with status 128 + signal."""

    def __init__(self, signal_number: int, message: str):
        """Keeps the number of the signal and the line that says how to resume."""
        super().__init__(message)
        self.status = 128 + signal_number


def run_command(
    main: Callable[[flags.FlagValues], int | None],
    define_flags: Callable[[], flags.FlagValues],
    argv: list[str] | None = None,
    check_argv: Callable[[list[str]], None] | None = None,
) -> None:
    """Parses a command's flags, calls `main` with them and exits with its status.

    Every command is entered here.

    Args:
      main: the command; what it returns is the exit status, None is 0.
      define_flags: returns the flags of this command alone, not yet parsed.
      argv: the words of the command line, sys.argv by default.
      check_argv: is called with `argv` before it is parsed; may change it or raise UserError.
    """
    is_process = interrupts.raise_again()
    try:
        _run(main, define_flags, sys.argv if argv is None else argv, check_argv)
    except KeyboardInterrupt:
        fail('stopped', interrupts.STATUS)
    finally:
        if is_process:
            interrupts.end_at_once()


def _run(
    main: Callable[[flags.FlagValues], int | None],
    define_flags: Callable[[], flags.FlagValues],
    argv: list[str],
    check_argv: Callable[[list[str]], None] | None,
) -> NoReturn:
    try:
        sys.exit(main(_parsed(define_flags, argv, check_argv)) or 0)
    except (UserError, Stopped) as error:
        fail(str(error), error.status)
    except OSError as error:  # a folder that cannot be read or written, a full disk
        fail(f'{error.filename or "input or output"}: {error.strerror or error}', DATA_ERROR)


def _parsed(
    define_flags: Callable[[], flags.FlagValues],
    argv: list[str],
    check_argv: Callable[[list[str]], None] | None,
) -> flags.FlagValues:
    """Returns the flags as `argv` says; prints them and ends where that asks for help."""
    try:
        values = define_flags()
        if '--help' in argv or '-h' in argv:
            modules = values.flags_by_module_dict()
            print(sys.modules['__main__'].__doc__, *map(values.module_help, modules), sep='\n')
            sys.exit(0)
        if check_argv is not None:
            check_argv(argv)
        extra = values(argv)[1:]
    except (flags.Error, ValueError) as error:  # absl's of --noNAME=VALUE is a ValueError
        missing = re.match(r'Missing value for flag (--[\w.]+)', str(error))
        hint = f': it is written {missing[1]}=VALUE' if missing else ''
        raise UserError(f'{error}{hint}') from error
    if extra:
        raise UserError(f'unexpected argument {extra[0]!r}: options are written --name=value')
    return values


def take_words(argv: list[str]) -> list[str]:
    """Takes the words of a command that are no flags from `argv`, which keeps its first."""
    words = [word for word in argv[1:] if not word.startswith('--')]
    argv[1:] = [word for word in argv[1:] if word.startswith('--')]
    return words


def fail(message: str, status: int) -> NoReturn:
    """Prints `message` as one line on stderr and exits with `status`."""
    line = ' '.join(message.split())
    print(line if status > USAGE_ERROR else f'error: {line}', file=sys.stderr)
    sys.exit(status)
