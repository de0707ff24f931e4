"""The plan of the package: rooms are folders, and each module at the root; imports go one way."""

import ast
import graphlib
import pathlib

PACKAGE = pathlib.Path(__file__).parents[1] / 'pix2pix_jax'
MODULES = {
    '.'.join(path.relative_to(PACKAGE.parent).with_suffix('').parts).removesuffix('.__init__'): path
    for path in PACKAGE.rglob('*.py')
}


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


def test_no_room_is_reached_from_one_that_it_imports():
    """No circle among the rooms, so that they can be put on floors with all imports downwards."""
    arrows = {room(module): set() for module in MODULES}
    for module in MODULES:
        arrows[room(module)] |= {room(other) for other in imported(module)} - {room(module)}
    floors = list(
        graphlib.TopologicalSorter(arrows).static_order()
    )  # raises CycleError, naming one
    assert floors[-1] != 'errors' and floors.index('models') < floors.index('train_step')


def test_the_experiment_knows_nothing_of_files_or_devices():
    for module in ('train_step', 'train_state', 'losses', 'optimizers', 'diff_augment'):
        rooms = {room(other) for other in imported(f'pix2pix_jax.{module}')}
        assert not rooms & {'workdir', 'storage', 'distributed', 'reports', 'web'}, module
