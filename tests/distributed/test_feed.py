"""Batches made on the devices are those of the host, bit for bit.

Those on one, two and four forced host devices are made by this file, started as a program by a
fixture.
"""

import dataclasses
import gc
import itertools
import os
import pickle
import subprocess
import sys
import weakref

import jax
import numpy as np
import pytest
from helpers.pictures import write

from pix2pix_jax.config import default_config, validate
from pix2pix_jax.data import augment, discover, pipeline, preflight
from pix2pix_jax.distributed import feed, parallel
from pix2pix_jax.errors import UserError
from pix2pix_jax.runtime import use_compile_cache
from pix2pix_jax.train_setup import resolve

FOUR = {'generator.input_channels': 4, 'dataset.path': 'classes', 'dataset.input_classes': 4}
MANY = {'generator.input_channels': 5, 'generator.output_channels': 2, 'dataset.path': 'many'}
POSES = {'dataset.vertical_flip': True, 'dataset.rotate': True, 'image_size': (16, 24)}
MAPS = {
    'dataset.path': 'maps',
    'dataset.target_classes': 4,
    'generator.output_channels': 4,
}
CASES = {
    'as in the paper': {},
    'poses': {'dataset.vertical_flip': True, 'dataset.rotate': True},
    'not square': POSES,
    'two steps of D': {'optimizer.d_steps': 2, 'dataset.jitter': 1.0},
    'classes': FOUR,
    'floats and 16 bits': MANY,
    'no-data': MANY | POSES | {'dataset.path': 'holes', 'dataset.nodata': '0'},
    'masks': FOUR | {'dataset.path': 'masked', 'dataset.mask': 'mask'},
    'classes as targets': MAPS | POSES,
}
MASKED = ('no-data', 'masks', 'classes as targets')
PAIRS, BATCH, STEPS, START = 7, 4, 5, 3


def config_of(folder, **fields):
    config = default_config()
    config.image_size, config.batch_size, config.dataset.path = (16, 16), BATCH, 'colours'
    config.discriminator.layers = 1
    config.update_from_flattened_dict(fields)
    config.dataset.path = os.path.join(folder, config.dataset.path)
    return validate(config)


def decoded(config, **fields):
    splits = discover.open_splits(config)
    return dataclasses.replace(preflight.decode_all(splits, config)['train'], **fields)


# ---------------------------------------------------------------- in a process of its own


def main(folder, path):
    use_compile_cache()
    devices, results, reported = jax.local_devices(), {}, feed.memory.reported
    for (name, fields), count in itertools.product(CASES.items(), (1, 2, 4)):
        config = config_of(folder, **fields)
        for place in ('host', 'device', 'parts') if count > 1 else ('host', 'device'):
            source = decoded(config, on_device=place != 'host')
            feed.memory.reported = (lambda device: 4) if place == 'parts' else reported
            made = feed.batches(source, config, devices[:count], START)
            results[name, count, place] = jax.device_get(list(itertools.islice(made, STEPS)))
            assert next(made)['target'].devices() == set(devices[:count])
    with open(path, 'wb') as file:
        pickle.dump(results, file)


# ---------------------------------------------------------------- the tests


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('feed')
    for i in range(PAIRS):
        noise = np.random.default_rng(i).integers(0, 256, (20, 18, 7), np.uint8)
        write(
            folder / 'colours' / 'train' / f'{i}.png', np.hstack([noise[..., :3], noise[..., 4:]])
        )
        hole = np.zeros((20, 18, 1), bool)
        hole[i : i + 6, 2 * i : 2 * i + 5] = True
        for name in ('classes', 'masked'):
            write(folder / name / 'train' / 'A' / f'{i}.png', noise[..., :1] % 4)
            write(folder / name / 'train' / 'B' / f'{i}.png', noise[..., 4:])
        write(folder / 'masked' / 'train' / 'mask' / f'{i}.png', np.where(hole, 0, noise[..., 1:2]))
        write(folder / 'maps' / 'train' / 'A' / f'{i}.png', noise[..., 4:])
        write(folder / 'maps' / 'train' / 'B' / f'{i}.png', np.where(hole, 255, noise[..., :1] % 4))
        for many, gone in ((folder / 'many', False), (folder / 'holes', hole)):
            floats = noise[..., 3:5] / np.float32(255)
            deep = noise[..., 5:].astype(np.uint16) * 257 + noise[..., :2]
            write(many / 'train' / 'A' / f'{i}.png', noise[..., :3])
            write(many / 'train' / 'A2' / f'{i}.tif', np.where(gone, np.float32(0), floats))
            write(many / 'train' / 'B' / f'{i}.tif', np.where(gone, np.uint16(0), deep))
    return folder


@pytest.fixture(scope='module')
def made(folder):
    flags = os.environ['XLA_FLAGS'] + ' --xla_force_host_platform_device_count=4'
    subprocess.run(
        [sys.executable, __file__, str(folder), str(folder / 'results')],
        env=os.environ | {'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu'},
        check=True,
    )
    return pickle.loads((folder / 'results').read_bytes())


@pytest.mark.parametrize('place', ['host', 'device', 'parts'])
@pytest.mark.parametrize('case', CASES)
def test_devices_make_the_batches_of_the_host(made, folder, case, place):
    config = config_of(folder, **CASES[case])
    batches = list(itertools.islice(pipeline.train_batches(decoded(config), config, START), STEPS))
    assert len({batch['target'].tobytes() for batch in batches}) == STEPS
    masked = [batch['valid'] for batch in batches if 'valid' in batch]
    assert len(masked) == STEPS * (case in MASKED) and all(0 < x.mean() < 1 for x in masked)
    for count in (1, 2, 4)[place == 'parts' :]:
        for batch, found in zip(batches, made[case, count, place], strict=True):
            batch = pipeline.as_floats(batch, config)
            batch = parallel.shard(batch, [None] * count, config.optimizer.d_steps)
            assert found.keys() == batch.keys()
            for key in batch:
                assert found[key].dtype == batch[key].dtype
                np.testing.assert_array_equal(found[key].view('u4'), batch[key].view('u4'))


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_every_value_becomes_the_hosts_float(dtype):
    values = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    found = np.asarray(jax.jit(feed.to_float)(values))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.view('u4'), augment.to_float(values).view('u4'))


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_no_rounding_is_left_to_the_compiler(dtype):
    """Of the floating point operations two: by a power of two, which is exact, and the rounding."""
    program = jax.make_jaxpr(feed.to_float)(np.zeros(3, dtype))
    floating = [str(e.primitive) for e in program.eqns if e.outvars[0].aval.dtype == np.float32]
    assert sorted(floating) == ['bitcast_convert_type', 'convert_element_type', 'mul', 'sub']


# ---------------------------------------------------------------- where the pairs lie


def test_a_quarter_of_the_memory_has_room(monkeypatch):
    assert feed.room(jax.local_devices()[:1]) == 0  # a CPU says nothing
    monkeypatch.setattr(feed.memory, 'reported', lambda device: 4000)
    assert [feed.room([None] * n) for n in (1, 2, 8)] == [1000, 2000, 8000]
    monkeypatch.setattr(jax, 'process_count', lambda: 2)
    assert feed.room([None] * 8) == 1000


def test_pairs_are_divided_where_one_device_has_no_room_for_all(folder, monkeypatch):
    source = decoded(config_of(folder))
    size = PAIRS * 18 * 18 * 6
    for memory, count, expected in (
        (4 * size, 2, False), (4 * size - 4, 2, True), (4, 1, False), (0, 2, False),
    ):  # fmt: skip
        monkeypatch.setattr(feed.memory, 'reported', lambda device, m=memory: m)
        assert feed._divided(source, [None] * count) == expected


@pytest.mark.parametrize('cache, room, place', [
    ('auto', 1, 'on the device'), ('auto', -1, 'in memory'), ('auto', None, 'in memory'),
    ('on', 1, 'in memory'), ('off', 1, 'read from disk'), ('device', -1, 'on the device'),
    ('device', None, 'on the device'),
])  # fmt: skip
def test_auto_takes_the_device_where_there_is_room(folder, cache, room, place, capsys, monkeypatch):
    """`room` is too little by one pair's pixel, or enough; None: it is a CPU."""
    config = config_of(folder, **{'dataset.cache': cache})
    needed = PAIRS * 18 * 18 * 6
    if room is not None:
        monkeypatch.setattr(feed, 'room', lambda devices: needed + min(room, 0))
    setup = resolve(config, folder / 'run')
    said = capsys.readouterr().out
    assert 'train takes about 0 MiB resized for training: ' in said
    assert place in said.split('resized for training: ')[1].split('\n')[0]
    assert setup.splits['train'].on_device == (place == 'on the device')
    assert 'not kept on the device' not in said


def test_pairs_that_the_device_cannot_hold_are_refused(folder, monkeypatch):
    config = config_of(folder, **{'dataset.cache': 'device'})
    monkeypatch.setattr(feed, 'room', lambda devices: PAIRS * 18 * 18 * 6 // 4 - 1)
    with pytest.raises(UserError, match="cache='device': the training pairs take .* GB"):
        resolve(config, folder / 'run')


@pytest.mark.parametrize('fields, why', [
    ({'dataset.jitter_method': 'box'}, "dataset.jitter_method='box'"),
    ({'dataset.color_jitter': 0.5}, 'dataset.color_jitter=0.5'),
    ({'dataset.preprocess': 'crop', 'dataset.path': 'sizes'}, 'its pairs have several sizes'),
    ({'dataset.path': 'types'}, 'its pairs have several types'),
])  # fmt: skip
def test_what_a_device_cannot_do_is_said_and_done_by_the_host(folder, fields, why, capsys):
    for i, (side, top) in enumerate([(20, np.uint8(255)), (24, np.uint16(65535))]):
        noise = np.random.default_rng(i).integers(0, 255, (side, 48, 3), np.uint8)
        write(folder / 'sizes' / 'train' / f'{i}.png', noise)
        write(folder / 'types' / 'train' / f'{i}.png', noise.astype(top.dtype))
    config = config_of(folder, **fields, **{'dataset.cache': 'device'})
    setup = resolve(config, folder / 'run')
    lines = [line for line in capsys.readouterr().out.split('\n') if 'not kept on' in line]
    assert lines == [f'train is not kept on the device, since {why}: the host makes its batches']
    source, devices = setup.splits['train'], setup.devices
    assert not source.on_device and (source.loaded or source.decoded)
    batch = next(feed.batches(source, config, devices, 0))
    expected = pipeline.as_floats(next(pipeline.train_batches(source, config)), config)
    for key in expected:
        np.testing.assert_array_equal(batch[key], expected[key])


if __name__ == '__main__':
    main(*sys.argv[1:])


@pytest.mark.parametrize('name', ['as in the paper', 'masks'])
def test_the_host_frees_pairs_that_lie_on_the_device(folder, name):
    """And where they are asked for once more, they are read from their files."""
    config = config_of(folder, **CASES[name])
    source = decoded(config, on_device=True)
    arrays = [weakref.ref(image) for pair in source.loaded for image in pair.values()]
    assert len(arrays) == PAIRS * (3 if name in MASKED else 2)
    first, again = (feed.batches(source, config, jax.local_devices()[:1], 0) for _ in range(2))
    assert not source.loaded
    gc.collect()
    assert not any(array() is not None for array in arrays)
    for batch, same in itertools.islice(zip(first, again), STEPS):
        jax.tree.map(np.testing.assert_array_equal, batch, same)
