"""Copies of a run on a drive: a lost run resumes from one, and none that was cut is taken."""

import contextlib
import errno
import os
import pathlib
import shutil
import threading
import time
import zipfile

import pytest
from helpers.runs import assert_equal_states, make_pairs, metrics, tiny_config, untrained_run

from pix2pix_jax.data.datasets import archives
from pix2pix_jax.errors import DataError
from pix2pix_jax.train import train_and_evaluate
from pix2pix_jax.workdir import background, backups
from pix2pix_jax.workdir.checkpoints import Checkpoints


@pytest.fixture(scope='module')
def pairs(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp('data') / 'pairs', {'train': 4, 'val': 2, 'test': 2})


@pytest.fixture
def run(pairs, tmp_path):
    """The folder of a run at step 1, with its first weights."""
    untrained_run(tmp_path / 'run', tiny_config(pairs), step=1)
    return tmp_path / 'run'


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file()
    }


def names(folder):
    return sorted(os.listdir(folder)) if folder.exists() else []


def save(run, pairs, step):
    """The run goes on to `step`: its checkpoint replaces the one before."""
    untrained_run(run, tiny_config(pairs), step=step)


def test_a_lost_run_resumes_from_its_copy(pairs, tmp_path):
    config = tiny_config(pairs, num_steps=4, checkpoint__every_steps=1, checkpoint__keep=3)
    run, drive = tmp_path / 'run', tmp_path / 'drive/run'
    with backups.kept(run, drive):
        train_and_evaluate(config, run)
    assert {path.name for path in (run / 'checkpoints/last').iterdir()} == {'2', '3', '4'}
    whole = files(run)
    assert names(drive) == ['00001_step_0000004.zip'] and names(tmp_path) == ['drive', 'run']

    shutil.rmtree(run)  # the machine is gone
    line = backups.restore(drive, run)
    assert line.endswith('it resumes from step 4') and str(run) in line and '\n' not in line
    old = {name for name in whole if name.startswith(('checkpoints/last/2', 'checkpoints/last/3'))}
    found = files(run)
    assert old and set(whole) - set(found) == old | {'.lock'}
    assert all(whole[name] == data for name, data in found.items())

    train_and_evaluate(tiny_config(pairs, num_steps=5), run)
    assert [row['step'] for row in metrics(run)] == [1, 2, 3, 4, 5]


def test_two_copies_are_kept_and_what_is_removed_is_empty(run, pairs, tmp_path, monkeypatch):
    drive, removed, unlink = tmp_path / 'drive', [], pathlib.Path.unlink

    def record(path, **options):
        if path.parent == drive and path.exists():
            removed.append((path.name, path.stat().st_size))
        unlink(path, **options)

    monkeypatch.setattr(pathlib.Path, 'unlink', record)
    (drive / 'notes').mkdir(parents=True)
    (drive / 'mine.zip').write_bytes(b'a file of the user')
    backup = backups.Backup(run, drive)
    for step in (1, 2, 3, 4):
        save(run, pairs, step)
        backup.copy()
        backup.copy()  # nothing new: nothing is written
    kept = ['00003_step_0000003.zip', '00004_step_0000004.zip']
    assert names(drive) == [*kept, 'mine.zip', 'notes']
    assert removed == [('00001_step_0000001.zip', 0), ('00002_step_0000002.zip', 0)]
    # Another session numbers on; a run that went back has the newest copy all the same.
    save(run, pairs, 2)
    backups.Backup(run, drive).copy()
    assert [path.name for path in backups.copies(drive)] == [kept[1], '00005_step_0000002.zip']


def test_the_newest_is_that_of_the_highest_number(pairs, tmp_path):
    run, drive = tmp_path / 'run', tmp_path / 'drive'
    state = untrained_run(run, tiny_config(pairs), step=9)
    checkpoints = Checkpoints(run, keep=2, writer=True)
    checkpoints.save('last', 10, state, tiny_config(pairs))
    checkpoints.close()
    drive.mkdir()
    (drive / '99999_step_0000008.zip').touch()
    for _ in range(2):
        backups.Backup(run, drive).copy()
    found = [path.name for path in backups.copies(drive)]
    assert found == ['100000_step_0000010.zip', '100001_step_0000010.zip']
    backups.restore(drive, tmp_path / 'restored')
    assert names(tmp_path / 'restored/checkpoints/last') == ['10']


def test_the_page_of_the_end_is_copied_though_the_step_is_the_same(run, tmp_path):
    backup = backups.Backup(run, tmp_path / 'drive')
    backup.copy()
    (run / 'index.html').write_text('the curves')
    backup.copy()
    with zipfile.ZipFile(backups.copies(tmp_path / 'drive')[-1]) as archive:
        assert archive.read('index.html') == b'the curves'


def test_copies_keep_their_distance_but_for_the_last(run, pairs, tmp_path, monkeypatch):
    drive, looks = tmp_path / 'drive', []
    monkeypatch.setattr(background, 'repeated', lambda work, seconds: given(work, looks))
    with backups.kept(run, drive, minutes=60):
        for step in (2, 3):
            looks[0]()
            save(run, pairs, step)
        looks[0]()
        assert names(drive) == ['00001_step_0000001.zip']
        later = time.monotonic() + 3600
        monkeypatch.setattr(time, 'monotonic', lambda: later)
        looks[0]()
        assert names(drive)[1:] == ['00002_step_0000003.zip']
        save(run, pairs, 4)
    assert names(drive)[1:] == ['00003_step_0000004.zip']


@contextlib.contextmanager
def given(work, looks):
    """Gives the work to the test in place of a thread; does it at the end."""
    looks.append(work)
    try:
        yield
    finally:
        work()


@pytest.mark.parametrize('cut', ['half', 'empty', 'a byte'])
def test_a_copy_that_was_cut_is_not_taken(run, pairs, tmp_path, cut):
    drive, backup = tmp_path / 'drive', backups.Backup(run, tmp_path / 'drive')
    backup.copy()
    first = files(run)
    save(run, pairs, 2)
    backup.copy()
    newest = backups.copies(drive)[-1]
    data = bytearray(newest.read_bytes())
    if cut == 'a byte':  # of the weights
        data[len(data) // 2] ^= 1
    newest.write_bytes({'half': data[: len(data) // 2], 'empty': b'', 'a byte': data}[cut])
    shutil.rmtree(run)
    line = backups.restore(drive, run)
    assert f'{newest} is not whole; ' in line and line.endswith('it resumes from step 1')
    assert files(run) == first and names(tmp_path) == ['drive', 'run']

    shutil.rmtree(run)
    for path in backups.copies(drive):
        path.write_bytes(b'')
    with pytest.raises(DataError, match='is not whole; .*to start anew, remove '):
        backups.restore(drive, run)
    assert not run.exists()


def test_a_run_that_is_there_stays(run, pairs, tmp_path):
    backups.Backup(run, tmp_path / 'drive').copy()
    save(run, pairs, 2)
    before = files(run)
    assert backups.restore(tmp_path / 'drive', run) == f'{run} is there: its run is resumed'
    assert files(run) == before
    shutil.rmtree(run)
    run.mkdir()
    (run / '.lock').touch()  # of a start that found no data
    assert backups.restore(tmp_path / 'drive', run).endswith('step 1')
    assert 'a new run' in backups.restore(tmp_path / 'nothing', tmp_path / 'other')
    assert not (tmp_path / 'other').exists() and not (tmp_path / 'nothing').exists()


def test_nothing_is_copied_before_the_first_save(tmp_path):
    (tmp_path / 'run').mkdir()
    backups.Backup(tmp_path / 'run', tmp_path / 'drive').copy()
    with backups.kept(tmp_path / 'not there', tmp_path / 'drive'):
        pass
    assert names(tmp_path) == ['run']


def test_copies_are_whole_while_the_run_saves(run, pairs, tmp_path):
    """A thread copies as fast as it can; each copy is one checkpoint, which loads."""
    drive, seen, failures, ended = tmp_path / 'drive', tmp_path / 'seen', [], threading.Event()
    config = tiny_config(pairs)
    state = untrained_run(run, config, step=1)
    checkpoints = Checkpoints(run, writer=True)
    backup = backups.Backup(run, drive)
    seen.mkdir()

    def copy():
        while not ended.is_set():
            try:
                backup.copy()
            except FileNotFoundError:
                failures.append('saved faster than copied')
            for path in backups.copies(drive):
                shutil.copy(path, seen)

    thread = threading.Thread(target=copy)
    thread.start()
    for step in range(2, 12):
        checkpoints.save('last', step, state, config)
    ended.set()
    thread.join()
    checkpoints.close()
    backup.copy()
    shutil.copy(backups.copies(drive)[-1], seen)
    assert len(backups.copies(seen)) + len(failures) > 2
    for path in backups.copies(seen):
        step, folder = int(path.stem.split('_')[2]), tmp_path / 'there' / path.stem
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
        found = Checkpoints(folder)
        assert found.steps('last') == [step]
        assert_equal_states(found.restore('last', step, state), state)
        found.close()
    assert step == 11


def test_a_drive_that_refuses_is_a_warning(run, tmp_path, capsys):
    (tmp_path / 'drive').write_bytes(b'a file in place of the folder')
    with backups.kept(run, tmp_path / 'drive'):
        pass
    said = capsys.readouterr().err
    assert said.startswith('warning: ') and said.count('\n') == 1 and 'the training goes on' in said
    assert names(tmp_path) == ['drive', 'run']


def test_a_drive_that_refuses_is_not_asked_at_every_look(run, tmp_path, monkeypatch):
    """Each attempt packs the whole run."""
    looks, packed = [], []
    monkeypatch.setattr(background, 'repeated', lambda work, seconds: given(work, looks))

    def refuse(*paths):
        packed.append(paths)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(backups, '_pack', refuse)
    with pytest.raises(OSError), backups.kept(run, tmp_path / 'drive'):
        with pytest.raises(OSError):
            looks[0]()
        looks[0]()
        assert len(packed) == 1
    assert len(packed) == 2  # once more at the end


def test_a_disk_without_room_says_nothing_of_the_copy(run, tmp_path, monkeypatch):
    backups.Backup(run, tmp_path / 'drive').copy()
    shutil.rmtree(run)

    def refuse(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(archives, 'unpack', refuse)
    with pytest.raises(DataError, match=r'cannot be unpacked to .*run: .* No space left') as raised:
        backups.restore(tmp_path / 'drive', run)
    assert 'remove' not in str(raised.value) and not run.exists()


def test_work_is_repeated_beside_and_done_at_the_end():
    threads, twice = [], threading.Event()

    def work():
        threads.append(threading.current_thread())
        if len(threads) == 2:
            twice.set()
        raise OSError('refused')  # a warning: it is called again

    with pytest.raises(KeyError), background.repeated(work, 0.01):
        assert twice.wait(60)
        raise KeyError  # as the block does
    done = len(threads)
    assert threads[-1] is threading.main_thread() and threads[0] is not threads[-1]
    time.sleep(0.05)
    assert len(threads) == done
