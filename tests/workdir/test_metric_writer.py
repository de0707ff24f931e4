import resource

import numpy as np
import pytest
from helpers.runs import events, lines
from PIL import Image

from pix2pix_jax.errors import DataError
from pix2pix_jax.workdir import metric_writer
from pix2pix_jax.workdir.metric_writer import RunWriter, read_metrics, sample_paths


def grid(value):
    return np.full((6, 8, 3), value, np.uint8)


def fill(workdir, steps, resume_step=0):
    writer = RunWriter(workdir, resume_step)
    for step in steps:
        writer.write_scalars(step, {'train/g_l1': 1 / step})
        if step % 2 == 0:
            writer.write_scalars(step, {'eval/l1': np.float32(step)})
            writer.write_images(step, grid(step))
    return writer


def test_one_object_a_step_with_all_its_keys(tmp_path):
    writer = fill(tmp_path, [1, 2])
    writer.flush()
    expected = [{'step': 1, 'train/g_l1': 1.0}, {'step': 2, 'train/g_l1': 0.5, 'eval/l1': 2.0}]
    assert lines(tmp_path) == expected
    writer.write_scalars(2, {'test/l1': 3})
    writer.write_scalars(2, {'test/psnr': np.array([4.0])})
    writer.close()
    assert lines(tmp_path) == [expected[0], expected[1] | {'test/l1': 3, 'test/psnr': 4.0}]


def test_a_row_is_in_the_file_once_a_later_step_comes(tmp_path):
    writer = fill(tmp_path, [1])
    assert lines(tmp_path) == []
    writer.write_scalars(2, {'a': 1})
    assert [row['step'] for row in lines(tmp_path)] == [1]
    assert [row['step'] for row in writer.rows()] == [1, 2]
    writer.close()


def test_steps_never_go_backwards(tmp_path):
    writer = fill(tmp_path, [3])
    with pytest.raises(ValueError, match='step 2 comes after step 3'):
        writer.write_scalars(2, {'a': 1})
    writer.close()


@pytest.mark.parametrize('value', [float('nan'), float('inf'), np.float32('-inf')])
def test_what_is_not_finite_is_null_in_valid_json(tmp_path, value):
    writer = RunWriter(tmp_path)
    writer.write_scalars(1, {'a': value, 'b': 1.0})
    writer.close()
    assert lines(tmp_path) == [{'step': 1, 'a': None, 'b': 1.0}]
    assert events(tmp_path) == [('b', 1)]
    RunWriter(tmp_path, 1).close()
    assert lines(tmp_path) == [{'step': 1, 'a': None, 'b': 1.0}]


@pytest.mark.parametrize('stop', [0, 1, 3, 4, 5, 7])
def test_a_resumed_run_leaves_what_an_uninterrupted_one_leaves(tmp_path, stop):
    """The first run got further than the step it resumes from, and died within a line."""
    fill(tmp_path / 'whole', range(1, 9)).close()
    first = fill(tmp_path / 'resumed', range(1, 8))
    first.close()
    for path in (tmp_path / 'resumed').glob('events.*'):  # as if written at another time
        path.rename(path.with_name('events.out.tfevents.1700000000.host'))
    with (tmp_path / 'resumed' / 'metrics.jsonl').open('a') as file:
        file.write('{"step": 8, "train/g_l')
    fill(tmp_path / 'resumed', range(stop + 1, 9), stop).close()

    whole, resumed = tmp_path / 'whole', tmp_path / 'resumed'
    assert lines(resumed) == lines(whole)
    assert events(resumed) == events(whole)
    names = [path.name for _, path in sample_paths(whole)]
    assert names == [f'step_{step:07d}.png' for step in (2, 4, 6, 8)]
    for name in names:
        a, b = ((folder / 'samples' / name).read_bytes() for folder in (whole, resumed))
        assert a == b


def test_an_object_store_gets_the_same_files(tmp_path, monkeypatch):
    """There files cannot be appended to, only replaced."""
    fill(tmp_path / 'local', range(1, 6)).close()
    monkeypatch.setattr(metric_writer.atomic, 'is_local', lambda path: False)
    fill(tmp_path / 'store', range(1, 4)).close()
    fill(tmp_path / 'store', range(3, 6), 2).close()
    local, store = tmp_path / 'local', tmp_path / 'store'
    assert lines(store) == lines(local) and events(store) == events(local)


def test_without_a_package_for_its_event_files_a_store_gets_the_rest(tmp_path, monkeypatch, capsys):
    def missing(path):
        raise ImportError('google-cloud-storage must be installed')

    monkeypatch.setattr(metric_writer, 'EventsWriter', missing)
    fill(tmp_path, [1, 2]).close()
    assert 'no TensorBoard events: google-cloud-storage must' in capsys.readouterr().out
    assert [row['step'] for row in lines(tmp_path)] == [1, 2]


def test_a_full_disk_tears_no_row_and_loses_none(tmp_path):
    """The limit cuts the third row in two; later all is there, in TensorBoard too."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = fill(tmp_path, [1, 2])
    writer.flush()
    size = (tmp_path / 'metrics.jsonl').stat().st_size
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 9, limits[1]))
        writer.write_scalars(3, {'train/g_l1': 1 / 3})
        for call in (lambda: writer.write_scalars(4, {'train/g_l1': 1 / 4}), writer.flush):
            with pytest.raises(OSError) as error:
                call()
            assert error.value.filename == str(tmp_path / 'metrics.jsonl')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / 'metrics.jsonl').stat().st_size == size + 9
    writer.write_scalars(4, {'eval/l1': np.float32(4)})
    writer.write_images(4, grid(4))
    writer.close()
    fill(tmp_path / 'whole', [1, 2, 3, 4]).close()
    assert lines(tmp_path) == lines(tmp_path / 'whole')
    assert events(tmp_path) == events(tmp_path / 'whole')


def test_more_keys_may_join_the_restored_step(tmp_path):
    fill(tmp_path, [1, 2]).close()
    writer = RunWriter(tmp_path, 2)
    writer.write_scalars(2, {'test/l1': 5})
    writer.close()
    assert lines(tmp_path)[-1] == {'step': 2, 'train/g_l1': 0.5, 'eval/l1': 2.0, 'test/l1': 5}
    fresh = RunWriter(tmp_path, 2)
    fresh.write_scalars(2, {'test/l1': 5})  # measured again, the same
    fresh.close()
    assert events(tmp_path).count(('test/l1', 2)) == 1


def test_samples_are_exact_and_in_tensorboard(tmp_path):
    writer = RunWriter(tmp_path)
    picture = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    writer.write_images(12, picture)
    writer.write_hparams({'seed': 0, 'loss': {'gan': 'vanilla'}})
    writer.close()
    with Image.open(tmp_path / 'samples' / 'step_0000012.png') as image:
        np.testing.assert_array_equal(np.asarray(image), picture)
    assert ('samples', 12) in events(tmp_path)
    assert any(tag.startswith('config') for tag, _ in events(tmp_path))


def test_files_of_others_are_left_alone(tmp_path):
    (tmp_path / 'samples').mkdir()
    for name in ('notes.txt', 'samples/step_x.png', 'samples/mine.png'):
        (tmp_path / name).write_text('mine')
    RunWriter(tmp_path).close()
    for name in ('notes.txt', 'samples/step_x.png', 'samples/mine.png'):
        assert (tmp_path / name).read_text() == 'mine'


def test_read_metrics(tmp_path):
    assert read_metrics(tmp_path) == []
    path = tmp_path / 'metrics.jsonl'
    row = '{"step": 1, "train/g_l1": 0.5}'
    for torn in ('', '{', '{"step": 2, "\xc3', '{"step": 2, "a": 1'):
        path.write_text(f'{row}\n{torn}', encoding='latin-1')
        assert read_metrics(tmp_path) == [{'step': 1, 'train/g_l1': 0.5}]
    path.write_text(f'{row}\nnonsense\n{row}\n')
    with pytest.raises(DataError, match=r'metrics\.jsonl, line 2'):
        read_metrics(tmp_path)
