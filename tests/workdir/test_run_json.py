"""run.json."""

import json
import math
import shutil

import jax
import pytest
from helpers import OLD_RUN

from pix2pix_jax import version
from pix2pix_jax.runtime import cpu_name
from pix2pix_jax.workdir.run_json import devices_of, git_commit, record_start, steps_before


def test_the_steps_of_older_versions(tmp_path):
    assert steps_before(tmp_path, (0, 2)) == 0  # a new run
    assert steps_before(OLD_RUN, (0, 2)) == math.inf
    (tmp_path / 'run.json').write_text((OLD_RUN / 'run.json').read_text())
    for step in (6, 8):
        record_start(tmp_path, 'command', jax.devices()[:1], step, {})
    assert steps_before(tmp_path, (0, 2)) == 6
    assert steps_before(tmp_path, (99,)) == math.inf
    record = json.loads((tmp_path / 'run.json').read_text())
    assert [start['step'] for start in record['starts']] == [0, 6, 8]
    assert record['cpu'] == cpu_name() != ''


@pytest.mark.parametrize('text', [
    '', '[]', '{}', '{"starts": 3}', '{"starts": ["x"]}', '{"starts": [{"version": "0.2.0"}]}',
    '{"starts": [{"step": 1, "version": 2}]}', '{"starts": [{"step": "1", "version": "0.2.0"}]}',
    '{"starts": [{"step": 1, "version": "dev"}]}',
])  # fmt: skip
def test_a_file_of_another_kind_is_tolerated(tmp_path, text):
    (tmp_path / 'run.json').write_text(text)
    assert steps_before(tmp_path, (0, 2)) == (math.inf if 'dev' in text else 0)
    record_start(tmp_path, 'command', jax.devices()[:1], 3, {})
    assert steps_before(tmp_path, (0, 2)) == 3


def test_a_run_without_run_json_is_of_the_version_that_its_files_tell(tmp_path):
    shutil.copytree(OLD_RUN / 'checkpoints', tmp_path / 'checkpoints')
    assert steps_before(tmp_path, (0, 2)) == math.inf
    (tmp_path / 'data.json').write_text('{}')
    assert steps_before(tmp_path, (0, 2)) == 0


def test_versions_compare_by_their_numbers(tmp_path):
    starts = [{'step': 0, 'version': '0.9.0'}, {'step': 5, 'version': '0.10.0rc1'}]
    (tmp_path / 'run.json').write_text(json.dumps({'starts': starts}))
    assert steps_before(tmp_path, (0, 10)) == 5
    assert steps_before(tmp_path, (0, 9)) == 0


def test_the_earliest_step_counts_where_a_damaged_checkpoint_led_back(tmp_path):
    starts = [{'step': 0}, {'step': 100, 'version': '0.2.0'}, {'step': 50, 'version': '0.2.0'}]
    (tmp_path / 'run.json').write_text(json.dumps({'starts': starts}))
    assert steps_before(tmp_path, (0, 2)) == 50


def test_the_devices_of_all_hosts(tmp_path):
    assert devices_of(tmp_path) == 0 and devices_of(OLD_RUN) == 1
    record = json.loads((OLD_RUN / 'run.json').read_text())
    for fields, count in (({'devices': ['cpu'] * 3, 'hosts': 2}, 6), ({'hosts': 'x'}, 0)):
        (tmp_path / 'run.json').write_text(json.dumps(record | fields))
        assert devices_of(tmp_path) == count


def test_what_is_installed_within_another_repository_has_no_commit(tmp_path, monkeypatch):
    """As in a virtual environment that lies in the repository of something else."""
    (tmp_path / 'pyproject.toml').write_text('[project]\nname = "another"')
    monkeypatch.setattr(version, '__file__', str(tmp_path / 'pix2pix_jax/version.py'))
    assert not version.is_checkout() and git_commit() == ''


def test_without_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path))
    assert git_commit() == ''
