"""run.json."""

import json
import math
import pathlib

import jax

from pix2pix_jax.provenance import devices_of, record_start, steps_before

OLD_RUN = pathlib.Path(__file__).parent / 'testdata' / 'run_0.1.0'


def test_the_steps_of_older_versions(tmp_path):
    assert steps_before(tmp_path, (0, 2)) == 0  # a new run
    assert steps_before(OLD_RUN, (0, 2)) == math.inf
    (tmp_path / 'run.json').write_text((OLD_RUN / 'run.json').read_text())
    for step in (6, 8):
        record_start(tmp_path, 'command', jax.devices()[:1], step)
    assert steps_before(tmp_path, (0, 2)) == 6
    assert steps_before(tmp_path, (99,)) == math.inf
    starts = json.loads((tmp_path / 'run.json').read_text())['starts']
    assert [start['step'] for start in starts] == [0, 6, 8]


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
