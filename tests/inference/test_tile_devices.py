"""Tiles on two virtual devices: this file runs itself where there are two."""

import os
import pickle
import subprocess
import sys

import jax
import numpy as np
from helpers.runs import random_run

from pix2pix_jax.inference import generator, tile_plan, tiling


def made(devices):
    """A scene's translation in an odd number of batches, and the devices that had variables."""
    run = random_run(generator__depth=2)
    norm = {'norm': 'scene', 'batch': 2, 'seed': 3}
    network = generator.Generator(run.config, run.variables, **norm, devices=devices)
    image = np.random.default_rng(0).uniform(-1, 1, (36, 52, 3)).astype(np.float32)

    def read(top, bottom, left, right):
        return image[top:bottom, left:right]

    options = tile_plan.TranslateOptions(tile=8)
    plan = tile_plan.make_plan(run.config, options, 'scene', lambda step: 0)
    canvas = tiling.Canvas(read, (36, 52), (36, 52))
    corners = tile_plan.scene_corners(canvas, plan.scene)[1]
    scene = tile_plan.scene_statistics(network, plan, canvas, 1, corners)
    rows = tile_plan.translate_rows(network, plan, canvas, 1, scene)
    return tiling.collect(rows, (36, 52)), [str(device) for device in network._copies]


def test_devices_take_tiles_in_turn(tmp_path):
    """The result is that of one, bit for bit: all tiles have one compiled program."""
    flags = f'{os.environ["XLA_FLAGS"]} --xla_force_host_platform_device_count=2'
    subprocess.run(
        [sys.executable, __file__, str(tmp_path / 'results')],
        env=os.environ | {'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu'},
        check=True,
    )
    (one, _), (two, copies) = pickle.loads((tmp_path / 'results').read_bytes())
    assert len(set(copies)) == 2 and one.std() > 0.1
    np.testing.assert_array_equal(two, one)


if __name__ == '__main__':
    with open(sys.argv[1], 'wb') as file:
        pickle.dump([made([None]), made(jax.local_devices())], file)
