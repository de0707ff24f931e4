"""Paths as a user writes them, in a flag or a field: the one place that says which are allowed.

A path is on this machine, with ~ for the user's folder, or an address in an object store.
"""

import logging
import os
import pathlib

from absl import flags
from etils import epath

from pix2pix_jax.errors import UserError
from pix2pix_jax.storage import atomic


def given(path: epath.PathLike, name: str) -> str:
    """Returns a path that was written as `name`, as '--workdir', with ~ expanded; '' stays.

    Raises UserError, naming it, for an address of another kind than an object store's, and where
    such a store cannot be reached: no package for it, no network, no rights.
    """
    text = os.path.expanduser(check(path, name))
    if atomic.in_object_store(text):
        _reach(text, name)
    return text


def _reach(address: str, name: str) -> None:
    """Asks the store for an address once; raises UserError where it does not answer."""
    disabled = logging.root.manager.disable
    logging.disable()  # gcsfs logs a traceback before it raises what is said here
    try:
        epath.Path(address).exists()
    except Exception as error:  # each store's packages have their own, which may not be installed
        raise UserError(f'{name}={address}: {str(error) or type(error).__name__}') from error
    finally:
        logging.disable(disabled)


def of_flag(values: flags.FlagValues, name: str) -> str:
    """Returns the path that a flag has, as `given`."""
    return given(values[name].value, f'--{name}')


def local(path: epath.PathLike, name: str) -> pathlib.Path:
    """Returns a path of this machine, as `given`; raises UserError for any address."""
    if not atomic.is_local(path):
        raise UserError(f'{name}={os.fspath(path)}: allowed is a path on this machine')
    return pathlib.Path(path).expanduser()


def check_new(path: epath.PathLike, name: str, overwrite: bool) -> None:
    """Raises UserError, naming it, where `path` is there already, unless that may be replaced."""
    if epath.Path(path).exists() and not overwrite:
        raise UserError(f'{name}={path} exists: give another name or --overwrite')


def check(path: epath.PathLike, name: str) -> str:
    """Returns a path as it is written; raises UserError as `given`, and looks at no store."""
    text = os.fspath(path)
    if not is_allowed(text):
        raise UserError(
            f'{name}={text}: allowed are a path on this machine{_instead(text)}, and an address '
            f'that begins with {" or ".join(atomic.STORES)}'
        )
    return text


def is_allowed(text: str) -> bool:
    """Whether a text is no address, or one in an object store."""
    return atomic.is_local(text) or atomic.in_object_store(text)


def _instead(address: str) -> str:
    scheme, _, rest = address.partition('://')
    if scheme == 'file':
        return f' ({rest})'
    return ' (download it first)' if scheme in ('http', 'https', 'ftp') else ''
