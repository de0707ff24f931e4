"""Rows that outlive a kill."""

import numpy as np
import pytest

from pix2pix_jax.errors import UserError
from pix2pix_jax.storage.scratch import MAGIC, Scratch, is_scratch

SHAPE = (20, 7, 3)
OPENED: list[Scratch] = []
ABOUT = {'input': ['a.tif', 12, 34], 'checkpoint': 'step 5', 'flags': {'tile': 8}}


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 65536, SHAPE, np.uint16)


def begun(folder, about=ABOUT, dtype=np.uint16):
    """What the next process finds, after a kill of the one before."""
    while OPENED:
        OPENED.pop().close()
    scratch = Scratch(folder / '.out.rows', SHAPE, dtype)
    OPENED.append(scratch)
    return scratch, scratch.start(about, folder / 'out.tif')


def test_two_processes_do_not_add_to_the_same_rows(tmp_path):
    """Each would go on where it believes that the rows end."""
    first = Scratch(tmp_path / '.out.rows', SHAPE, np.uint16)
    first.start(ABOUT, tmp_path / 'out.tif')
    with pytest.raises(UserError, match='out.tif: another process translates into it'):
        begun(tmp_path)
    first.close()
    assert begun(tmp_path)[1] == ''


def test_rows_come_back_as_they_were(tmp_path, image):
    again, remark = begun(tmp_path)
    assert (remark, again.rows) == ('', 0)
    for top, bottom in ((0, 8), (8, 9), (9, 20)):
        again.append(image[top:bottom])
        again, remark = begun(tmp_path)  # as after a kill
        assert (remark, again.rows, again.used) == ('', bottom, False)
        np.testing.assert_array_equal(again.read(0, bottom), image[:bottom], strict=True)
    np.testing.assert_array_equal(again.read(5, 11), image[5:11])


def test_what_is_computed_before_all_rows_comes_back(tmp_path, image):
    scratch = Scratch(tmp_path / '.out.rows', SHAPE, np.uint16)
    scratch.start(ABOUT, tmp_path / 'out.tif')
    scratch.keep(b'of all rows')
    with pytest.raises(UserError, match='another process translates into it'):
        begun(tmp_path)
    scratch.close()
    for rows in (0, 8):  # as after a kill
        again, remark = begun(tmp_path)
        assert (remark, again.rows, again.constants) == ('', rows, b'of all rows')
        again.append(image[rows : rows + 8])
    np.testing.assert_array_equal(again.read(0, 16), image[:16])
    assert begun(tmp_path, about=ABOUT | {'seed': 3})[0].constants == b''


def test_half_written_rows_are_written_again(tmp_path, image):
    scratch, _ = begun(tmp_path)
    scratch.append(image[:8])
    with scratch.path.open('ab') as file:
        file.write(b'the kill came in the middle of the next rows')
    again, _ = begun(tmp_path)
    assert again.rows == 8
    again.append(image[8:])
    np.testing.assert_array_equal(again.read(0, 20), image)


@pytest.mark.parametrize('about, remark', [
    ({'input': ['a.tif', 12, 35]}, "input: ['a.tif', 12, 34] -> ['a.tif', 12, 35]"),
    ({'checkpoint': 5.0}, 'checkpoint: step 5 -> 5.0'),
    ({'checkpoint': 'step 6'}, 'checkpoint: step 5 -> step 6'),
    ({'flags': {'tile': 16}}, "flags: {'tile': 8} -> {'tile': 16}"),
    ({'seed': 3}, 'seed: None -> 3'),
])  # fmt: skip
def test_what_differs_starts_anew_and_is_said(tmp_path, image, about, remark):
    scratch, _ = begun(tmp_path)
    scratch.append(image[:8])
    again, found = begun(tmp_path, about=ABOUT | about)
    assert (found, again.rows) == (f'begun with another {remark}', 0)
    third, found = begun(tmp_path, about=ABOUT | about)
    assert (found, third.rows) == ('', 0)


def test_another_type_starts_anew(tmp_path, image):
    begun(tmp_path)[0].append(image[:8])
    assert begun(tmp_path, dtype=np.uint8)[1] == 'begun with another type: uint16 -> uint8'


@pytest.mark.parametrize('length', [0, 5, 30, 200, 400])
def test_a_damaged_file_starts_anew(tmp_path, image, length):
    scratch, _ = begun(tmp_path)
    scratch.append(image[:16])
    data = scratch.path.read_bytes()
    scratch.path.write_bytes(data[:length])
    damaged = 'what was begun is damaged' if length else ''
    assert begun(tmp_path)[1] == damaged
    for other in (b'something else', MAGIC, MAGIC[:-1] + b's'):  # the last is of before
        scratch.path.write_bytes(other + b'\xff' * 50)
        assert begun(tmp_path)[1] == 'what was begun is damaged'
    assert is_scratch(scratch.path)


@pytest.mark.parametrize('theirs', [ABOUT | {'more': 1}, dict(reversed(ABOUT.items()))])
def test_what_other_versions_began_is_not_taken(tmp_path, image, theirs):
    """Their text may be as long as another, so that all values would be shifted."""
    begun(tmp_path, about=theirs)
    again, remark = begun(tmp_path)
    assert remark in ('begun with another more: 1 -> None', 'what was begun is of another version')
    assert again.rows == 0


def test_rows_that_are_used_are_gone(tmp_path, image):
    scratch, _ = begun(tmp_path)
    scratch.append(image)
    size = scratch.path.stat().st_size
    scratch.finish()
    assert scratch.path.stat().st_size == size - image.nbytes
    (tmp_path / 'out.tif').touch()
    again, remark = begun(tmp_path)
    assert (remark, again.used) == ('', True)
    (tmp_path / 'out.tif').unlink()  # without what was made of them they are computed anew
    again, remark = begun(tmp_path)
    assert (remark, again.used, again.rows) == ('', False, 0)


def test_a_full_disk_is_an_error_with_the_name(tmp_path, image, monkeypatch):
    scratch, _ = begun(tmp_path)
    scratch.append(image[:8])

    def full(file):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('pix2pix_jax.storage.atomic.sync', full)
    with pytest.raises(OSError) as raised:
        scratch.append(image[8:])
    assert raised.value.filename == str(scratch.path)
    monkeypatch.undo()
    assert begun(tmp_path)[0].rows == 8
