"""What is read of a packed run, and what of a zip that no pack_run.py wrote."""

import json
import pathlib
import re
import tracemalloc
import zipfile

import jax
import numpy as np
import pytest
import safetensors.numpy
from helpers.pth_files import zip_of
from helpers.runs import tiny_config, untrained_run

from pix2pix_jax.config import PLACES, TABLES, default_config, flatten
from pix2pix_jax.config_fields import FIELDS
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.inference.loaded_run import load_run, load_state
from pix2pix_jax.interop import packing
from pix2pix_jax.workdir import config_json, data_json, packed, palette_json, run_files

PARTS = 'generator', 'discriminator', 'ema', 'ema_batch_stats'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A run with averages and a discriminator, packed in two types."""
    folder = tmp_path_factory.mktemp('packed')
    untrained_run(folder / 'run', tiny_config(folder, ema_decay=0.9), step=7)
    for dtype in packed.DTYPES:
        choices = packing.Choices(dtype=dtype)
        packing.pack_run(folder / 'run', folder / f'{dtype}.zip', choices)
    return folder


@pytest.fixture(scope='module')
def members(folder):
    with zipfile.ZipFile(folder / 'float32.zip') as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def arrays(state):
    """All arrays but those of the optimizers, by name."""
    kept = state.replace(
        generator=state.generator.replace(opt_state=()),
        discriminator=state.discriminator.replace(opt_state=()),
    )
    return {jax.tree_util.keystr(k): np.asarray(v) for k, v in jax.tree.leaves_with_path(kept)}


def test_the_weights_are_those_of_the_run(folder):
    config, step, state = load_state(folder / 'run', 'last')
    own = arrays(state)
    assert any('ema_batch_stats' in name for name in own) and len(own) > 20
    for name in ('float32', 'float16'):
        config_there, step_there, packed_state = load_state(folder / f'{name}.zip', '')
        found = arrays(packed_state)
        assert packed_state.generator.opt_state == packed_state.discriminator.opt_state == ()
        assert step_there == step == 7 and found.keys() == own.keys()
        for key, value in own.items():
            kernel = name == 'float16' and key.endswith("['kernel']")
            wanted = value.astype(np.float16).astype(np.float32) if kernel else value
            np.testing.assert_array_equal(found[key], wanted, err_msg=key)
        changed = {
            field
            for field, value in flatten(config).items()
            if flatten(config_there)[field] != value
        }
        assert changed == {'dataset.path'}
    sizes = [(folder / f'{name}.zip').stat().st_size for name in ('float16', 'float32')]
    assert sizes[0] < sizes[1]


def test_the_unpacked_folder_is_read_as_the_zip_is(folder, members, tmp_path):
    for name, data in members.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(data)
    for ema in (True, False):
        a, b = (load_run(place, ema=ema) for place in (folder / 'float32.zip', tmp_path))
        assert (a.step, a.checkpoint) == (b.step, b.checkpoint) == (7, 'last')
        jax.tree.map(np.testing.assert_array_equal, a.variables, b.variables)


@pytest.mark.parametrize('name', ['a folder', 'a file', 'another run'])
def test_an_unpacked_folder_names_no_files_either(members, name, tmp_path):
    change, message = HOSTILE[name]
    for file, data in (members | change(members)).items():
        (tmp_path / file).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / file).write_bytes(data)
    with pytest.raises(UserError, match=message):
        config_json.load_config(tmp_path)


@pytest.mark.parametrize('name', ['', 'last', '7'])
def test_the_checkpoint_that_it_holds(folder, name):
    assert load_run(folder / 'float32.zip', name).step == 7


@pytest.mark.parametrize('name', ['best', '8', 'all'])
def test_another_checkpoint_is_refused(folder, name):
    message = rf"no checkpoint '{name}', a packed run holds one: allowed are last \| 7"
    with pytest.raises(UserError, match=message):
        load_run(folder / 'float32.zip', name)


def test_the_same_run_makes_the_same_zip(folder, tmp_path):
    packing.pack_run(folder / 'run', tmp_path / 'float32.zip', packing.Choices())
    assert (tmp_path / 'float32.zip').read_bytes() == (folder / 'float32.zip').read_bytes()
    packing.pack_run(folder / 'float32.zip', tmp_path / 'again/float32.zip', packing.Choices())
    assert (tmp_path / 'again/float32.zip').read_bytes() == (folder / 'float32.zip').read_bytes()


def test_reading_writes_nothing(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob('*')}
    load_run(folder / 'float32.zip')
    data_json.load_known(folder / 'float32.zip')
    assert {path: path.stat().st_mtime_ns for path in folder.rglob('*')} == before


def test_all_fields_that_name_places_are_known():
    """A field whose values are files or folders is emptied, or is a table that becomes text."""
    places = {
        name
        for name, row in FIELDS.items()
        if re.search(r"\ba (file|folder|run's folder)\b(?!')", row.allowed.text)
    }
    assert places == {*PLACES, *TABLES}


def test_there_is_no_zip(tmp_path):
    with pytest.raises(UserError, match='no run there'):
        load_run(tmp_path / 'none.zip')
    assert data_json.load_known(tmp_path / 'none.zip').exists is False


# ---------------------------------------------------------------- what others wrote


def config_of(members, **fields):
    fields = json.loads(members['config.json']) | fields
    return {'config.json': json.dumps(fields).encode()}


def about(**fields):
    known = {'format': 1, 'checkpoint': 'last', 'step': 7, 'dtype': 'float32', 'files': []}
    return {'packed.json': json.dumps(known | fields).encode()}


def weights(members, change, file=packed.GENERATOR):
    tensors = safetensors.numpy.load(members[file])
    change(tensors)
    return {file: safetensors.numpy.save(tensors)}


def dataset(members, **fields):
    return config_of(members, dataset=json.loads(members['config.json'])['dataset'] | fields)


def put(name, value):
    return lambda tensors: tensors.update({name: value})


BIAS, SHAPE = 'params/up0/bias', (3,)
HOSTILE = {
    'no config': (lambda m: {'config.json': None}, 'no run there'),
    'no weights': (lambda m: {packed.GENERATOR: None}, 'generator.safetensors: it is missing'),
    'no averages': (lambda m: {packed.AVERAGED: None}, 'averaged.safetensors: it is missing'),
    'no weights, not named': (
        lambda m: {packed.GENERATOR: None} | about(), 'generator.safetensors: it is missing'),
    'no D': (lambda m: {packed.DISCRIMINATOR: None}, 'discriminator.safetensors: it is missing'),
    'no list of pairs': (lambda m: {'data.json': None}, 'data.json: it is missing'),
    'no packed.json': (lambda m: {'packed.json': None}, 'no packed run there'),
    'a config of no JSON': (lambda m: {'config.json': b'x'}, 'not the config of a run'),
    'a deep config': (lambda m: {'config.json': b'[' * 200_000}, 'not the config of a run'),
    'bytes as config': (lambda m: {'config.json': b'\xff\xfe{'}, 'not the config of a run'),
    'an unknown field': (lambda m: config_of(m, x=1), 'config.x, unknown'),
    'a wrong value': (lambda m: config_of(m, batch_size=-1), 'config.batch_size=-1: allowed'),
    'a folder': (lambda m: dataset(m, path='/etc'), 'a packed run names no files'),
    'a file': (lambda m: dataset(m, colors='/etc/hostname'), 'a packed run names no files'),
    'another run': (lambda m: config_of(m, init_from='/x'), 'a packed run names no files'),
    'a newer format': (lambda m: about(format=2), 'of format 2, and this version reads 1'),
    'a wrong step': (lambda m: about(step=-1), 'packed.json is damaged'),
    'a wrong kind': (lambda m: about(checkpoint='all'), 'packed.json is damaged'),
    'a list': (lambda m: {'packed.json': b'[]'}, 'packed.json is damaged'),
    'a wrong list of files': (lambda m: about(files=[1]), 'packed.json is damaged'),
    'files elsewhere': (lambda m: about(files=['/etc/x.json']), 'packed.json is damaged'),
    'a deep list': (lambda m: {'packed.json': b'[' * 200_000}, 'packed.json is damaged'),
    'no safetensors': (lambda m: {packed.GENERATOR: b'x' * 99}, 'safetensors: damaged'),
    'an array less': (
        lambda m: weights(m, lambda t: t.pop(BIAS)), f'{BIAS} is missing, and of its config'),
    'an array more': (
        lambda m: weights(m, put('params/x', np.zeros(3, np.float32))), 'config no such array'),
    'another shape': (
        lambda m: weights(m, put(BIAS, np.zeros(4, np.float32))), r'is \(4,\), and of its config'),
    'integers': (lambda m: weights(m, put(BIAS, np.zeros(3, np.int32))), 'is of int32: allowed'),
    'not finite': (
        lambda m: weights(m, put(BIAS, np.full(3, np.nan, np.float32))), 'not finite'),
    'D of no loss': (
        lambda m: config_of(m, loss=json.loads(m['config.json'])['loss'] | {'gan': 'none'}),
        "it is there, and config.loss.gan='none'"),
}  # fmt: skip


@pytest.mark.parametrize('name', HOSTILE)
def test_a_foreign_zip_is_one_line(members, tmp_path, name):
    change, message = HOSTILE[name]
    files = {k: v for k, v in (members | change(members)).items() if v is not None}
    path = tmp_path / 'x.zip'
    path.write_bytes(zip_of(files))
    with pytest.raises(UserError, match=message) as raised:
        load_state(path, '')
    assert '\n' not in str(raised.value) and str(path) in str(raised.value)


def test_a_table_that_is_a_file_is_not_opened(members, tmp_path, monkeypatch):
    path, opened = tmp_path / 'x.zip', []
    path.write_bytes(zip_of(members | dataset(members, palette='/etc/hostname')))
    monkeypatch.setattr('pix2pix_jax.config.label_colors.table', lambda *args: opened.append(args))
    with pytest.raises(UserError, match='names no files'):
        config_json.load_config(path)
    assert opened == []


def test_members_with_other_names_are_not_touched(members, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    others = {'../up.txt': b'x', '/tmp/absolute.txt': b'x', 'checkpoints/last/7/state': b'x'}
    pathlib.Path('x.zip').write_bytes(zip_of(members | others))
    assert load_run('x.zip').step == 7
    assert [path.name for path in tmp_path.iterdir()] == ['x.zip']


# ---------------------------------------------------------------- sizes


def test_a_bomb_is_refused_before_it_is_read(members, tmp_path):
    bomb = members | {'config.json': bytes(run_files.MAX_COMPRESSED + 1)}
    path = tmp_path / 'x.zip'
    path.write_bytes(zip_of(bomb, zipfile.ZIP_DEFLATED))
    assert path.stat().st_size < 2**18
    del bomb
    tracemalloc.start()
    with pytest.raises(DataError, match='it has 67,108,865 bytes: allowed are 67,108,864'):
        config_json.load_config(path)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize('method', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize('size', [0, 10, 2**31 - 1])
def test_a_size_that_is_not_the_real_one_is_refused(members, tmp_path, method, size):
    """Both sizes of the first member, in the directory and before it, are changed."""
    data = bytearray(zip_of({'config.json': members['config.json']} | members, method))
    at = data.index(b'PK\x01\x02')
    for start in (22, at + 24):  # uncompressed
        data[start : start + 4] = size.to_bytes(4, 'little')
    path = tmp_path / 'x.zip'
    path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(DataError, match='damaged, or no packed run, at its member config.json'):
        config_json.load_config(path)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize('method', [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(members, tmp_path, method):
    (tmp_path / 'x.zip').write_bytes(zip_of(members, method))
    with pytest.raises(DataError, match='compressed in a way'):
        config_json.load_config(tmp_path / 'x.zip')


@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_a_name_that_is_there_twice_is_refused(members, tmp_path):
    with zipfile.ZipFile(tmp_path / 'x.zip', 'w') as archive:
        for name in (*members, 'config.json'):
            archive.writestr(name, members[name])
    with pytest.raises(DataError, match='config.json .it is there twice'):
        config_json.load_config(tmp_path / 'x.zip')


def test_an_encrypted_member_is_refused(members, tmp_path):
    data = bytearray(zip_of({'config.json': members['config.json']}))
    data[6] |= 1
    data[data.index(b'PK\x01\x02') + 8] |= 1
    (tmp_path / 'x.zip').write_bytes(data)
    with pytest.raises(DataError, match='encrypted'):
        config_json.load_config(tmp_path / 'x.zip')


@pytest.mark.parametrize('data', [b'', b'no zip', b'PK\x05\x06'])
def test_what_is_no_zip_is_named(tmp_path, data):
    (tmp_path / 'x.zip').write_bytes(data)
    with pytest.raises(DataError, match='x.zip: damaged, or no packed run'):
        load_run(tmp_path / 'x.zip')


# ---------------------------------------------------------------- colours, types


def test_colours_come_back(tmp_path):
    colours = [('wall', (1, 2, 3)), ('', (255, 0, 0))]
    (tmp_path / 'x.zip').write_bytes(zip_of({'palette.json': palette_json.to_json(colours)}))
    assert palette_json.load_palette(tmp_path / 'x.zip') == colours
    assert palette_json.load_palette(tmp_path) == []


@pytest.mark.parametrize('text', [
    '', '[]', '{}', '[["a", [0, 0, 0]]]', '[["a", [0, 0]], ["b", [0, 0, 0]]]',
    '[["a", [0, 0, 256]], ["b", [0, 0, 0]]]', '[[1, [0, 0, 0]], ["b", [0, 0, 0]]]', '[[', '[1, 2]',
    '[["a", 5], ["b", [0, 0, 0]]]', '[["a", "bcd"], ["b", [0, 0, 0]]]', '[' * 200_000,
])  # fmt: skip
def test_colours_that_are_none(tmp_path, text):
    (tmp_path / 'palette.json').write_text(text)
    with pytest.raises(DataError, match='palette.json is damaged') as raised:
        palette_json.load_palette(tmp_path)
    assert len(str(raised.value)) < 500


def test_a_kernel_that_float16_cannot_hold():
    kernel = np.full((1, 1, 1, 1), 1e5, np.float32)
    with pytest.raises(UserError, match='params/a/kernel has larger values; allowed is float32'):
        packed.to_safetensors({'params': {'a': {'kernel': kernel}}}, 'float16')
    variance = {'batch_stats': {'a': {'var': np.array([1e-9], np.float32)}}}
    found = safetensors.numpy.load(packed.to_safetensors(variance, 'float16'))
    assert found['batch_stats/a/var'][0] == np.float32(1e-9)


def test_the_default_config_names_no_place():
    config = config_json.without_places(default_config())
    assert not any(flatten(config)[field] for field in PLACES)
