"""A|B given to translate, and values that the network hardly sees: warned of, and nothing else."""

import numpy as np
import pytest
from etils import epath
from helpers.pictures import labels, photo, save, write
from helpers.runs import changed
from PIL import Image

from pix2pix_jax.data import image_spec
from pix2pix_jax.inference import input_checks
from pix2pix_jax.inference.inputs import Input, find_inputs

OURS = {'size': [64, 64], 'side_by_side': True}


def lines(folder, found=OURS, **fields):
    config = changed(image_size=(64, 64), **fields)
    spec, _ = image_spec.of_config(config)
    return input_checks.warnings_for(find_inputs([str(folder)]), spec, config, found)


def folder_of(path, images):
    for i, image in enumerate(images):
        save(path / f'{i}.png', image)
    return path


PHOTOS = [photo(i) for i in range(4)]
PAIRS = [np.concatenate([image, labels(image)], axis=1) for image in PHOTOS]
WHITE = [np.full((64, 128, 3), 255, np.uint8)] * 4


def test_palettes_in_another_order(tmp_path):
    indices = np.tile(np.arange(4, dtype=np.uint8), (64, 16))
    colours = [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)]
    fields = {
        'dataset__input_classes': 4,
        'generator__input_channels': 4,
        'dataset__palette': ';'.join(
            f'{i} {",".join(map(str, colour))}' for i, colour in enumerate(colours)
        ),
    }
    for name, order in (('same', [0, 1, 2, 3]), ('other', [0, 2, 1, 3])):
        picture = Image.fromarray(np.argsort(order).astype(np.uint8)[indices], 'P')
        picture.putpalette([value for i in order for value in colours[i]])
        (tmp_path / name).mkdir()
        picture.save(tmp_path / name / 'a.png')
    assert lines(tmp_path / 'same', **fields) == []
    (line,) = lines(tmp_path / 'other', **fields)
    assert line == (
        f'{tmp_path}/other/a.png: index 1 has in its palette the colour that class 2 has in the '
        'run, and is taken for class 1: needed are the indices of the training'
    )


@pytest.mark.parametrize('found', [OURS, {'size': [64, 64], 'side_by_side': False}, {}])
@pytest.mark.parametrize('count', [1, 4])
def test_pairs_side_by_side_are_no_inputs(tmp_path, found, count):
    (line,) = lines(folder_of(tmp_path, PAIRS[:count]), found)
    assert line == (
        'the inputs are twice as wide as images of the run (64x64), as files of A|B side by side '
        'are, and each is taken as one input: give the input halves alone; of pairs --split=test '
        'translates the inputs of the run, evaluate --dataset=DIR those of a folder'
    )


def test_where_nothing_is_at_the_middle_the_pairs_of_the_run_say_it(tmp_path):
    folder_of(tmp_path, WHITE)
    assert len(lines(tmp_path)) == 1
    assert lines(tmp_path, OURS | {'side_by_side': False}) == lines(tmp_path, {}) == []


@pytest.mark.parametrize('images', [
    PHOTOS, [photo(i, 64, 128) for i in range(4)], [photo(i, 48, 64) for i in range(4)],
    [photo(i, 128, 64) for i in range(4)], [PAIRS[0], *PHOTOS],
], ids=['as trained', 'panoramas', 'wider', 'higher', 'one pair'])  # fmt: skip
def test_nothing_is_said_of_inputs(tmp_path, images):
    assert lines(folder_of(tmp_path, images)) == []


def test_nothing_is_said_of_pairs_where_they_are_photos_or_as_in_training(tmp_path):
    folder_of(tmp_path, PAIRS)
    assert lines(tmp_path, dataset__task='gray_to_color', generator__input_channels=1) == []
    assert lines(tmp_path, {'size': [64, 128], 'side_by_side': False}) == []  # stereo
    one = [Input('0', (epath.Path(tmp_path / '0.png'),), pair=(None, 0))]
    config = changed(image_size=(64, 64))
    assert input_checks.warnings_for(one, image_spec.of_config(config)[0], config, OURS) == []


def test_values_of_few_bits_are_said(tmp_path):
    for i, image in enumerate(PHOTOS):
        write(tmp_path / f'{i}.png', image[..., :1].astype(np.uint16) * 16)
    (line,) = lines(tmp_path)
    assert line.startswith('inputs: 99.8% of the values are ') and line.endswith(
        ', a sliver of 0:65535 (uint16), and become -1.00 to -0.88 of -1 to 1: needed are files '
        'like those of the training'
    )
    assert lines(tmp_path, dataset__input_range='0:4095') == []


def test_masks_of_0_and_1_are_said_and_classes_are_not(tmp_path):
    folder_of(tmp_path, [(image[..., 0] > 128).astype(np.uint8) for image in PHOTOS])
    (line,) = lines(tmp_path)
    assert line.startswith('inputs: all of the values are 0 to 1, a sliver of 0:255 (uint8)')
    assert lines(tmp_path, dataset__input_classes=2, generator__input_channels=2) == []


def test_bad_and_very_large_files_are_left_to_others(tmp_path, monkeypatch):
    folder_of(tmp_path, PAIRS)
    monkeypatch.setattr(input_checks, 'MAX_PIXELS', 100)
    assert lines(tmp_path) == []
    monkeypatch.undo()
    for path in tmp_path.iterdir():
        path.write_bytes(b'no image')
    assert lines(tmp_path) == []
