"""The plan of the package: rooms are folders, and each module at the root; imports go one way.

What is public and takes many arguments says what each of them is.
"""

import ast
import collections
import graphlib
import re
from collections.abc import Iterator

import pytest
from helpers import ROOT
from helpers.source_code import MODULES, imported, room

MANY = 4  # arguments of a function, of which its docstring has a section


def floors(imports: dict[str, set[str]]) -> list[str]:
    """The rooms, each after those that its modules import; raises CycleError for a circle."""
    arrows = {room(module): set() for module in imports}
    for module, others in imports.items():
        arrows[room(module)] |= {room(other) for other in others} - {room(module)}
    return list(graphlib.TopologicalSorter(arrows).static_order())


def test_no_room_is_reached_from_one_that_it_imports():
    """No circle among the rooms, so that they can be put on floors with all imports downwards."""
    imports = {module: imported(module) for module in MODULES}
    order = floors(imports)
    assert order.index('errors') < order.index('models') < order.index('train_step')
    imports['pix2pix_jax.models.unet'] |= {'pix2pix_jax.train_step'}
    with pytest.raises(graphlib.CycleError):
        floors(imports)


def test_the_experiment_knows_nothing_of_files_or_devices():
    modules = ('train_step', 'flow_step', 'flow', 'methods', 'train_state', 'losses', 'optimizers')
    steps = [f'pix2pix_jax.{name}' for name in (*modules, 'gradients', 'critic', 'diff_augment')]
    networks = [module for module in MODULES if room(module) == 'models']
    assert 'pix2pix_jax.models.unet' in networks
    for module in steps + networks:
        rooms = {room(other) for other in imported(module)}
        assert not rooms & {'workdir', 'storage', 'distributed', 'reports', 'web'}, module


def public_functions(node: ast.AST) -> Iterator[tuple[ast.FunctionDef, list[str]]]:
    """The public functions and methods in `node`, none that are nested, and their arguments."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from public_functions(child)
        elif not child.name.startswith('_'):
            a = child.args
            every = [*a.posonlyargs, *a.args, a.vararg, *a.kwonlyargs, a.kwarg]
            names = [arg.arg for arg in every if arg is not None]
            bound = isinstance(node, ast.ClassDef) and names[:1] in (['self'], ['cls'])
            yield child, names[bound:]


def described(docstring: str) -> list[str]:
    """The arguments in the section Args, in its order; a line may be on several: `a, b: ...`."""
    section = re.search(r'^Args:\n((?: .*\n?)+)', docstring, re.MULTILINE)
    entries = re.findall(r'^  (\w[\w, ]*): ', section[1], re.MULTILINE) if section else []
    return [name for entry in entries for name in entry.split(', ')]


def undescribed(source: str) -> list[str]:
    """The public functions of four or more arguments whose docstring does not have just these."""
    return [
        function.name
        for function, arguments in public_functions(ast.parse(source))
        if len(arguments) >= MANY and described(ast.get_docstring(function) or '') != arguments
    ]


def test_public_functions_of_many_arguments_describe_each():
    files = [*MODULES.values(), *(ROOT / 'scripts').rglob('*.py')]
    assert len(files) > len(MODULES) + 20
    found = {str(path): undescribed(path.read_text()) for path in files}
    assert not {path: names for path, names in found.items() if names}
    arguments = 'Args:\n      a, b: numbers.\n      c: one.\n      d: one.\n'
    good = f"def f(a, b, c, d):\n    '''Adds.\n\n    {arguments}    '''\n"
    assert undescribed(good) == []
    assert undescribed(good.replace('d: one', 'e: one')) == ['f']
    assert undescribed(good.replace('Args:', 'Takes:')) == ['f']


def test_no_two_classes_share_a_name():
    folders = (ROOT / name for name in ('pix2pix_jax', 'scripts', 'configs'))
    paths = (path for folder in folders for path in folder.rglob('*.py'))
    nodes = (node for path in paths for node in ast.walk(ast.parse(path.read_text())))
    names = collections.Counter(node.name for node in nodes if isinstance(node, ast.ClassDef))
    assert [name for name, count in names.items() if count > 1] == []


def test_no_folder_of_tests_hides_a_package():
    """pytest puts folders with tests on sys.path: a folder torch there is torch without PyTorch."""
    tests = ROOT / 'tests'
    word = re.compile(r'^ *(?:from|import) (\w+)', re.MULTILINE)
    files = [*tests.rglob('*.py'), *(ROOT / 'pix2pix_jax').rglob('*.py')]
    own = {path.stem for path in (ROOT / 'scripts').iterdir()}
    others = {name for path in files for name in word.findall(path.read_text())} - own
    assert {'torch', 'numpy'} <= others
    for folder in {path.parent for path in tests.rglob('test_*.py')} - {tests}:
        assert not others & {path.name for path in folder.iterdir() if path.is_dir()}, folder
