"""Nothing that is loaded is executed: no pickle, and what lies in a checkpoint's folder is data."""

import contextlib
import os
import pickle

import jax.numpy as jnp
import pytest
from helpers import ROOT
from helpers.source_code import unsafe

from pix2pix_jax.config import default_config, validate
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.inference.loaded_run import load_run
from pix2pix_jax.workdir import data_json
from pix2pix_jax.workdir.checkpoints import Checkpoints
from pix2pix_jax.workdir.config_json import to_json

CONFIG = validate(default_config())


@pytest.mark.parametrize('folder', ['pix2pix_jax', 'configs', 'scripts'])
def test_no_module_executes_what_it_loads(folder):
    files = sorted((ROOT / folder).rglob('*.py'))
    assert files
    assert [f'{file}:{line}' for file in files for line in unsafe(file)] == []


@pytest.mark.parametrize(
    'line',
    ['import pickle', 'from pickle import loads', 'eval("1")', 'np.load("x")', 'torch.load("x")',
     'ocp.args.PyTreeRestore()', 'shutil.unpack_archive("x")', 'archive.extractall()',
     'archive.extract("x")'],
)  # fmt: skip
def test_the_check_finds_what_it_is_for(tmp_path, line):
    (tmp_path / 'x.py').write_text(line)
    assert unsafe(tmp_path / 'x.py') == [1]


class Planted:
    """Makes a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def test_a_pickle_planted_in_a_checkpoint_is_not_unpickled(tmp_path):
    marker = tmp_path / 'executed'
    payload = pickle.dumps(Planted(marker))
    pickle.loads(payload)  # it would work
    marker.rmdir()

    state = {'a': jnp.ones((3, 4))}
    Checkpoints(tmp_path).save('last', 1, state, CONFIG)
    folder = tmp_path / 'checkpoints' / 'last' / '1'
    files = [path for path in folder.rglob('*') if path.is_file()]
    assert len(files) > 5
    for name in ('state.pkl', 'checkpoint', 'state/a', 'default/x.pickle'):  # beside the files
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(payload)
    assert (Checkpoints(tmp_path).restore('last', 1, state)['a'] == 1).all()

    files.append(folder / 'state' / 'checkpoint')  # the name of an older format
    files[-1].write_bytes(payload)
    for file in files:  # in place of each
        whole = file.read_bytes()
        file.write_bytes(payload)
        checkpoints = Checkpoints(tmp_path)
        with contextlib.suppress(UserError):
            checkpoints.restore('last', 1, state)
        with contextlib.suppress(Exception):  # whatever Orbax says of a damaged file
            checkpoints.config('last', 1)
        checkpoints.close()
        file.write_bytes(whole)
    assert not marker.exists()


def test_a_pickle_in_place_of_a_runs_json_is_named(tmp_path):
    marker = tmp_path / 'executed'
    (tmp_path / 'config.json').write_bytes(pickle.dumps(Planted(marker), protocol=0))
    with pytest.raises(UserError, match=r'config\.json: not the config of a run'):
        load_run(tmp_path)
    config = default_config()
    config.dataset.on_error = 'skip'
    (tmp_path / 'config.json').write_text(to_json(config))
    (tmp_path / 'data.json').write_bytes(pickle.dumps(Planted(marker), protocol=0))
    with pytest.raises(DataError, match=r'data\.json is damaged'):
        data_json.load_known(tmp_path)
    assert not marker.exists()
