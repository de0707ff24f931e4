"""Trackers get what a run writes, once, and cannot harm it; the services' own offline modes."""

import collections
import importlib.util
import json
import struct
import sys
import threading
import time

import numpy as np
import pytest
from helpers.runs import error_of, lines, make_pairs, metrics, samples, tiny_config

from pix2pix_jax import main
from pix2pix_jax.train import train_and_evaluate
from pix2pix_jax.workdir import trackers
from pix2pix_jax.workdir.metric_writer import RunWriter
from pix2pix_jax.workdir.trackers import Service, Tracker, start_tracker

BLOCK = 32768  # bytes, of the LevelDB log that wandb writes
CONFIG = tiny_config('')


def needs(name):
    found = importlib.util.find_spec(name)
    return pytest.mark.skipif(found is None, reason=f'{name} is not installed')


class Recorded:
    """A service that keeps what it is given."""

    def __init__(self):
        self.scalars, self.images, self.closed = collections.defaultdict(dict), {}, 0

    def begin(self, workdir=None, config=None):
        def close():
            self.closed += 1

        return Service(
            lambda step, values: self.scalars[step].update(values), self.images.__setitem__, close
        )


def write(workdir, tracker, steps, resume_step=0):
    """Writes rows of `steps`, as runs do, and a sample grid at every second step."""
    writer = RunWriter(workdir, resume_step, tracker)
    for step in steps:
        writer.write_scalars(step, {'train/g_l1': 1 / step, 'train/bad': float('nan')})
        if step % 2 == 0:
            writer.write_scalars(step, {'eval/l1': np.float32(step)})
            writer.write_images(step, np.full((6, 8, 3), step, np.uint8))
    writer.close()


def rows(steps):
    return {
        step: {'train/g_l1': 1 / step} | ({'eval/l1': float(step)} if step % 2 == 0 else {})
        for step in steps
    }


def test_a_service_gets_the_rows_and_sheets_of_a_run(tmp_path, monkeypatch):
    recorded = Recorded()
    monkeypatch.setitem(trackers.SERVICES, 'wandb', recorded.begin)
    data = make_pairs(tmp_path / 'data', {'train': 4, 'val': 1, 'test': 1})
    train_and_evaluate(tiny_config(data), tmp_path / 'run', tracker='wandb')
    assert recorded.scalars == {
        row['step']: {k: v for k, v in row.items() if k != 'step'}
        for row in lines(tmp_path / 'run')
    }
    assert 'test/l1' in recorded.scalars[6]
    names = {f'step_{step:07d}.png' for step in recorded.images}
    assert names == samples(tmp_path / 'run').keys() and recorded.closed == 1


def test_a_resumed_run_gives_it_what_it_may_have_missed(tmp_path):
    """Earlier rows and sheets come first, in order; what a service has already it leaves out."""
    write(tmp_path, trackers.NullTracker(), range(1, 6))
    recorded = Recorded()
    write(tmp_path, Tracker('x', recorded.begin), range(5, 7), resume_step=4)
    assert recorded.scalars == rows(range(1, 7))
    assert [(step, image[0, 0, 0]) for step, image in recorded.images.items()] == [
        (2, 2), (4, 4), (6, 6)
    ]  # fmt: skip


def fail(*args):
    raise ConnectionError('no route\nto host')


def end(*args):
    raise SystemExit(1)


@pytest.mark.parametrize('wrong', [fail, end])
@pytest.mark.parametrize('where', ['begin', *Service._fields])
def test_what_fails_is_said_once_and_stops_nothing(tmp_path, capfd, wrong, where):
    recorded = Recorded()
    begin = wrong if where == 'begin' else lambda: recorded.begin()._replace(**{where: wrong})
    write(tmp_path / 'with', Tracker('x', begin), range(1, 9))
    write(tmp_path / 'without', trackers.NullTracker(), range(1, 9))
    assert metrics(tmp_path / 'with') == metrics(tmp_path / 'without')
    first, last = capfd.readouterr().err.splitlines()
    about = 'ConnectionError: no route to host' if wrong is fail else 'SystemExit: 1'
    assert first == f'warning: --tracker=x: {about}'
    assert last.endswith("something did not reach it; the run's folder holds all of it")
    if where == 'write_image':
        assert recorded.scalars == rows(range(1, 9))  # the rest comes through
    if where == 'write_scalars':
        assert recorded.images.keys() == {2, 4, 6, 8}


def test_one_that_begins_late_gets_all(tmp_path, capfd):
    recorded, tries = Recorded(), []

    def begin():
        tries.append(1)
        return recorded.begin() if len(tries) > 1 else fail()

    write(tmp_path, Tracker('x', begin), [1, 2, 3])
    assert set(recorded.scalars) == {1, 2, 3} and recorded.closed == 1
    warnings = capfd.readouterr().err
    assert warnings.count('warning: --tracker=x') == 1 and 'did not reach' not in warnings


def test_rows_of_a_resumed_run_are_not_lost_however_many_they_are(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(trackers, 'MAX_WAITING', 3)
    write(tmp_path, trackers.NullTracker(), range(1, 20))
    recorded, resumed = Recorded(), threading.Event()

    def begin():
        resumed.wait()
        return recorded.begin()

    writer = RunWriter(tmp_path, 19, Tracker('x', begin))
    writer.write_scalars(20, {'train/g_l1': 1 / 20})
    resumed.set()
    writer.close()
    assert recorded.scalars.keys() == set(range(1, 21)) and recorded.closed == 1
    assert recorded.images.keys() == set(range(2, 20, 2))
    assert not capfd.readouterr().err


def test_one_that_never_answers_is_not_waited_for(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(trackers, 'CLOSE_SECONDS', 0.05)
    monkeypatch.setattr(trackers, 'MAX_WAITING', 2)
    answer = threading.Event()
    write(tmp_path, Tracker('x', answer.wait), range(1, 9))
    answer.set()
    assert lines(tmp_path)[-1]['step'] == 8
    assert 'no answer in 0.05 s' in capfd.readouterr().err


def test_all_services_can_be_chosen():
    assert main.define_flags()['tracker'].parser.enum_values == ['none', *trackers.SERVICES]


def test_without_its_package_the_command_ends_in_one_line(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    values = main.define_flags()
    values(['main', '--tracker=mlflow'])
    assert error_of(main.main, values) == (
        "--tracker=mlflow needs mlflow: pip install -e '.[mlflow]'"
    )


def write_what_a_signal_prevented(workdir, name, step):
    """Stops a run whose last step is logged, and resumes it: it is evaluated and drawn."""
    writer = RunWriter(workdir, step, start_tracker(name, workdir, CONFIG))
    writer.write_scalars(step, {'train/g_l1': 1 / step})
    writer.close()
    writer = RunWriter(workdir, step, start_tracker(name, workdir, CONFIG))
    writer.write_scalars(step, {'eval/l1': float(step)})
    writer.write_images(step, np.full((6, 8, 3), step, np.uint8))
    writer.close()


class Wandb:
    """The part of wandb that is used: whatever a run's steps, each call makes a row of its own."""

    Image, Settings = staticmethod(np.copy), dict

    def __init__(self):
        self.rows, self.summary, self.id = [], {}, 'x'

    def init(self, **about):
        return self

    def define_metric(self, name, step_metric=None, hidden=None):
        assert (name, step_metric) in (('step', None), ('*', 'step'))

    def log(self, values):
        self.rows.append(values)
        self.summary |= values

    def finish(self):
        pass


def test_wandb_gets_what_a_signal_prevented(tmp_path, monkeypatch):
    service = Wandb()
    monkeypatch.setitem(sys.modules, 'wandb', service)
    write(tmp_path, start_tracker('wandb', tmp_path, CONFIG), range(1, 3))
    write_what_a_signal_prevented(tmp_path, 'wandb', 4)
    known = [row['step'] for row in service.rows if 'train/g_l1' in row]
    assert known == [1, 2, 2, 4, 4]  # of each start the newest again
    assert [row['step'] for row in service.rows if 'eval/l1' in row] == [2, 2, 4]
    assert service.rows[-1]['step'] == 4 and service.rows[-1]['samples'].max() == 4


@needs('wandb')
def test_wandb_offline_keeps_the_name_and_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv('WANDB_MODE', 'offline')
    monkeypatch.setenv('WANDB_SILENT', 'true')
    run = tmp_path / 'facades'
    write(run, start_tracker('wandb', run, CONFIG), range(1, 5))
    write(run, start_tracker('wandb', run, CONFIG), range(3, 7), resume_step=2)
    begun = [whole_log(path) for path in sorted(run.glob('wandb/offline-run-*/*.wandb'))]
    assert [known for known, _ in begun] == [('facades', wandb_id(run))] * 2
    for (_, history), last in zip(begun, (4, 6)):  # the newest folder holds the whole run
        assert scalars(history) == rows(range(1, last + 1))
        assert [s for s, row in history.items() if 'samples/path' in row] == [2, 4, 6][: last // 2]


def wandb_id(workdir):
    return json.loads((workdir / trackers.TRACKER).read_text())['wandb']


def scalars(history):
    return {
        s: {k: row[k] for k in ('train/g_l1', 'eval/l1') if k in row} for s, row in history.items()
    }


def whole_log(path):
    """Returns (name, id) and the rows by step of a .wandb file, once its last record is there."""
    for _ in range(100):  # wandb's own process may write it after the run's end
        records = wandb_records(path)
        if records and records[-1].HasField('exit'):
            break
        time.sleep(0.1)
    (run,) = (record.run for record in records if record.HasField('run'))
    items = [record.history.item for record in records if record.HasField('history')]
    found = [{x.key or '/'.join(x.nested_key): json.loads(x.value_json) for x in i} for i in items]
    merged = collections.defaultdict(dict)
    for row in found:
        merged[row['step']] |= row
    return (run.display_name, run.run_id), merged


def wandb_records(path):
    """Returns the records of a .wandb file: LevelDB's log format, after seven bytes."""
    from wandb.proto import wandb_internal_pb2

    data, at, payload, found = path.read_bytes(), 7, b'', []
    while at + 7 <= len(data):
        if BLOCK - at % BLOCK < 7:
            at += BLOCK - at % BLOCK
            continue
        length, kind = struct.unpack('<4xHB', data[at : at + 7])
        payload += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # else the record goes on
            found.append(wandb_internal_pb2.Record.FromString(payload))
            payload = b''
    return found


@needs('mlflow')
def test_mlflow_in_a_local_folder_has_every_value_once(tmp_path, monkeypatch):
    import mlflow

    uri = f'sqlite:///{tmp_path}/mlflow.db'
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, '_tracking_uri', None)
    monkeypatch.setenv('MLFLOW_TRACKING_URI', uri)
    monkeypatch.chdir(tmp_path)
    run = tmp_path / 'facades'
    write(run, start_tracker('mlflow', run, CONFIG), range(1, 5))
    write(run, start_tracker('mlflow', run, CONFIG), range(3, 7), resume_step=2)
    write_what_a_signal_prevented(run, 'mlflow', 8)

    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name(trackers.PROJECT)
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_name == 'facades' and found.info.status == 'FINISHED'
    assert found.data.params['loss.l1_weight'] == str(CONFIG.loss.l1_weight)
    history = collections.defaultdict(list)
    for key in found.data.metrics:
        for metric in client.get_metric_history(found.info.run_id, key):
            history[metric.step].append((key, metric.value))
    assert {s: dict(values) for s, values in history.items()} == rows([*range(1, 7), 8])
    assert sum(map(len, history.values())) == 7 + 4
    images = [image.path for image in client.list_artifacts(found.info.run_id, 'images')]
    assert len([path for path in images if path.endswith('.png')]) == 4
