"""The plan of the package: rooms are folders, and each module at the root; imports go one way."""

import graphlib

import pytest
from helpers.source_code import MODULES, imported, room


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
    for module in ('train_step', 'train_state', 'losses', 'optimizers', 'diff_augment'):
        rooms = {room(other) for other in imported(f'pix2pix_jax.{module}')}
        assert not rooms & {'workdir', 'storage', 'distributed', 'reports', 'web'}, module
