"""The mistakes with one's own data that docs/data_mistakes.md lists, each with its one line."""

import pathlib
import re
import shutil
import sys

import numpy as np
import pytest
from helpers import ROOT
from helpers.pictures import classes, labels, photo
from helpers.runs import changed
from PIL import Image

from pix2pix_jax import main
from pix2pix_jax.config import default_config, validate
from pix2pix_jax.data import discover
from pix2pix_jax.errors import UserError, run_command
from pix2pix_jax.storage import atomic
from pix2pix_jax.workdir import data_json
from pix2pix_jax.workdir.config_json import to_json

DOCUMENT = ROOT / 'docs' / 'data_mistakes.md'
PHOTOS = [photo(i, 48, 64) for i in range(12)]
MASKS = [classes(i, 48, 64) for i in range(12)]
PAIRS = [np.concatenate([image, labels(image)], axis=1) for image in PHOTOS]


def write(folder, images, name='{}.png'):
    folder = pathlib.Path('my_pairs', folder)
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images, 1):
        Image.fromarray(image).save(folder / name.format(i))


def trained(count=12):
    """A run on pairs, as it lies there when it was stopped."""
    write('train', PAIRS[:count])
    config = default_config()
    config.image_size, config.dataset.path, config.dataset.val_fraction = (64, 64), 'my_pairs', 0.1
    atomic.write_text('runs/mine/config.json', to_json(config))
    data_json.write_known('runs/mine', discover.open_splits(validate(config)), 2400)
    pathlib.Path('runs/mine/checkpoints/last/100').mkdir(parents=True)


# Each makes its mistake in the current folder.


def photos_and_masks():
    write('train/images', PHOTOS)
    write('train/masks', MASKS)


def masks_beside():
    write('train', PHOTOS, '0001TP_{}.png')
    write('trainannot', MASKS, '0001TP_{}.png')


def left_and_right():
    write('train', PHOTOS, 'l_{}.jpg')
    write('train', [np.roll(image, 4, axis=1) for image in PHOTOS], 'r_{}.jpg')


def masks_among_photos():
    write('train', PHOTOS, 'DSC{}7.png')
    write('train', MASKS, 'segment{}3.png')


def masks_in_a_folder_among_pairs():
    write('train', PAIRS)
    write('train/mask', MASKS)


def photos_in_a_folder_among_pairs():
    write('train', PAIRS)
    write('train/new', PHOTOS, 'DSC{}.png')


def photos_alone():
    write('train', PHOTOS)


def odd_widths():
    write('train', [image[:, : 64 - i] for i, image in enumerate(PHOTOS)])


def inputs_alone_in_test():
    write('train', PAIRS)
    write('test', PHOTOS[:4])


def no_train():
    write('', PAIRS)


def folders_of_kinds():
    write('images/train', PHOTOS)
    write('masks/train', MASKS)


def sides_without_train():
    write('A', PHOTOS)
    write('B', MASKS)


def folder_above():
    write('mine/train', PAIRS)


def one_side_alone():
    write('train/A', PHOTOS)
    write('train/C', MASKS)


def unpaired_names():
    write('trainA', PHOTOS, '{}.jpg')
    write('trainB', MASKS, '{}_mask.png')


def numbers_of_two_widths():
    write('trainA', PHOTOS, '{}.jpg')
    write('trainB', MASKS, '{:04}.png')


def one_counts_from_zero():
    write('trainA', PHOTOS)
    write('trainB', MASKS)
    pathlib.Path('my_pairs/trainA/12.png').rename('my_pairs/trainA/0.png')


def some_of_another_kind():
    write('trainA', PHOTOS)
    write('trainB', MASKS[:10])
    write('trainB', MASKS, '{}.bmp')


def targets_of_test_missing():
    write('train/A', PHOTOS)
    write('train/B', MASKS)
    write('test/A', PHOTOS)


def val_alone():
    write('val', PAIRS)


def still_packed():
    write('other', PAIRS)
    shutil.make_archive('my_pairs/pairs', 'zip', 'my_pairs/other')
    shutil.rmtree('my_pairs/other')


def splits_with_a_year():
    write('train2017', PAIRS)
    write('val2017', PAIRS)


def splits_in_train():
    for side, images in (('A', PHOTOS), ('B', MASKS)):
        write(f'train/{side}/train', images[:8])
        write(f'train/{side}/test', images[8:])


def splits_in_the_names_of_files():
    for folder, images in (('images', PHOTOS), ('masks', MASKS)):
        write(folder, images[:8], 'train_{}.png')
        write(folder, images[8:], 'test_{}.png')


def sizes_differ():
    write('train/A', PHOTOS)
    write('train/B', [mask[:24, :24] for mask in MASKS])


def one_name_twice():
    write('train', PAIRS)
    write('train', PAIRS[:1], '{}.jpg')


def one_name_each():
    write('train', PHOTOS, '{}.jpg')
    write('train', MASKS, '{}.png')


def other_files():
    write('train', PAIRS, '{}.bmp')


def list_without_a_header():
    write('files', PHOTOS)
    pathlib.Path('my_pairs/train.csv').write_text('files/1.png,files/2.png\n')


def list_of_what_is_not_there():
    write('files', PHOTOS)
    rows = ['input,target', *(f'files/{i}.png,files/{i}_mask.png' for i in range(1, 4))]
    pathlib.Path('my_pairs/train.csv').write_text('\n'.join(rows))


def list_beside_pairs():
    write('train', PAIRS)
    pathlib.Path('my_pairs/train.csv').write_text('input,target\ntrain/1.png,train/2.png\n')


def one_list_for_all():
    write('files', PHOTOS)
    for split in ('train', 'val'):
        rows = ['input,target', *(f'files/{i}.png,files/{i + 6}.png' for i in range(1, 7))]
        pathlib.Path(f'my_pairs/{split}.csv').write_text('\n'.join(rows))


def one_pair():
    write('train', PAIRS[:1])


def files_came():
    trained()
    write('train', PAIRS[:10], 'new{}.png')


def files_went():
    trained()
    for i in (1, 2, 3, 4):
        pathlib.Path(f'my_pairs/train/{i}.png').unlink()


def other_data():
    trained()
    shutil.rmtree('my_pairs')
    write('train', PAIRS, 'facade{}.png')


def other_sizes():
    trained()
    write('train', [pair.repeat(4, 0).repeat(4, 1) for pair in PAIRS])


def list_is_missing():
    trained()
    pathlib.Path('runs/mine/data.json').unlink()
    atomic.write_text('runs/mine/run.json', '{"starts": [{"step": 0, "version": "0.2.0"}]}')


MISTAKES = (
    photos_and_masks,
    masks_beside,
    left_and_right,
    masks_among_photos,
    masks_in_a_folder_among_pairs,
    photos_in_a_folder_among_pairs,
    photos_alone,
    odd_widths,
    inputs_alone_in_test,
    no_train,
    folders_of_kinds,
    sides_without_train,
    folder_above,
    one_side_alone,
    unpaired_names,
    numbers_of_two_widths,
    one_counts_from_zero,
    some_of_another_kind,
    targets_of_test_missing,
    val_alone,
    still_packed,
    splits_with_a_year,
    splits_in_train,
    splits_in_the_names_of_files,
    sizes_differ,
    one_name_twice,
    one_name_each,
    other_files,
    list_without_a_header,
    list_of_what_is_not_there,
    list_beside_pairs,
    one_list_for_all,
    one_pair,
    files_came,
    files_went,
    other_data,
    other_sizes,
    list_is_missing,
)


def said(mistake, folder, monkeypatch, capsys):
    """Returns the one line that the command prints."""
    monkeypatch.chdir(folder)
    mistake()
    words = ['--config=configs/folder.py', '--config.dataset.path=my_pairs', '--workdir=runs/mine']
    monkeypatch.setattr(sys, 'argv', ['main', *words])
    capsys.readouterr()
    with pytest.raises(SystemExit) as info:
        run_command(main.main, main.define_flags, check_argv=main.check_argv)
    line = capsys.readouterr().err
    assert info.value.code == 1, line
    assert line.count('\n') == 1
    return line.strip().replace(f'{folder}/', '')


@pytest.mark.parametrize('mistake', MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_mistake_is_one_line_that_the_document_has(mistake, tmp_path, monkeypatch, capsys):
    line = said(mistake, tmp_path, monkeypatch, capsys)
    line = line.replace('|', r'\|')
    cell = f'| `{line}` | `test_data_mistakes.py`, {mistake.__name__} |'
    assert cell in DOCUMENT.read_text(), cell


def test_the_document_has_no_other():
    named = re.findall(r'\| `test_data_mistakes.py`, (\w+) \|', DOCUMENT.read_text())
    assert sorted(named) == sorted(mistake.__name__ for mistake in MISTAKES)


def test_masks_of_a_published_set_are_refused():
    with pytest.raises(UserError, match="config.dataset.mask='mask': facades has no masks"):
        discover.open_splits(changed(dataset__name='facades', dataset__mask='mask'))
