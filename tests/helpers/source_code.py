"""The package's own source: its modules and rooms, what they import, what executes data."""

import ast
import pathlib

from helpers import ROOT

PACKAGE = ROOT / 'pix2pix_jax'
MODULES = {
    '.'.join(path.relative_to(PACKAGE.parent).with_suffix('').parts).removesuffix('.__init__'): path
    for path in PACKAGE.rglob('*.py')
}
# Modules that execute what they load, or write where an archive says.
UNSAFE = {'pickle', 'cloudpickle', 'dill', 'marshal', 'shelve', 'joblib', 'yaml'}
UNSAFE |= {'tarfile', 'imp', 'code'}
CALLS = {'eval', 'exec', '__import__', 'unpack_archive', 'extract', 'extractall'}
# `load` of numpy or torch unpickles unless it is told not to.
RESTORES = {'StandardRestore', 'JsonRestore', 'Composite', 'StandardSave', 'JsonSave'}


def room(module: str) -> str:
    """The folder that a module lies in; of one at the root its own name."""
    path = MODULES[module].relative_to(PACKAGE)
    return path.stem if path.parent == pathlib.Path() else path.parent.as_posix()


def imported(module: str) -> set[str]:
    """The modules of the package that a module imports, in its functions too."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f'{node.module}.{alias.name}' for alias in node.names}
            found |= names & MODULES.keys() or {node.module}
    return found & MODULES.keys()


def unsafe(path: pathlib.Path) -> list[int]:
    """The lines of a file that may execute what they load."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name.split('.')[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(node.module or '').split('.')[0]]
        bad = bool(UNSAFE & set(names))
        if isinstance(node, ast.Call):
            name = getattr(node.func, 'attr', getattr(node.func, 'id', ''))
            owner = getattr(getattr(node.func, 'value', None), 'id', '')
            safe = {k.arg: getattr(k.value, 'value', None) for k in node.keywords}
            bad |= name in CALLS
            bad |= (
                owner in ('np', 'numpy', 'jnp')
                and name == 'load'
                and (safe.get('allow_pickle') is not False)
            )
            bad |= owner == 'torch' and name == 'load' and safe.get('weights_only') is not True
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
            bad |= node.value.attr == 'args' and node.attr not in RESTORES  # Orbax's
        if bad:
            found.append(node.lineno)
    return found
