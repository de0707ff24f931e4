"""Pairs of which EXIF turns one image alone."""

import numpy as np
import pytest
from helpers.pictures import config, error, labels, photo, picture
from helpers.runs import tiny_config, untrained_run
from PIL import Image, ImageOps, PngImagePlugin

import pix2pix_jax
from pix2pix_jax import train_setup
from pix2pix_jax.config import validate
from pix2pix_jax.data import discover, turned_pairs
from pix2pix_jax.data.formats import decode, orientation
from pix2pix_jax.data.formats.decode import read_pixels
from pix2pix_jax.errors import UserError

PAIR = {'dataset.exif': 'pair'}
SIZE = {'width': 20, 'height': 16}  # as stored


def save(path, image, noted=orientation.NONE):
    """Writes a PNG that notes an EXIF orientation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if noted:
        exif[orientation.TAG] = noted
    Image.fromarray(image).save(path, exif=exif)


def make(folder, *orientations, upright=False, **size):
    """Pairs whose inputs note these orientations, and whose targets, which note none, lie as the
    inputs are stored, or are `upright`."""
    for i, noted in enumerate(orientations):
        a, b = (picture(number, **(size or SIZE)) for number in (i, i + 100))
        save(folder / f'train/A/{i}.png', a, noted)
        target = folder / f'train/B/{i}.png'
        save(target, b, noted if upright else orientation.NONE)
        if upright:
            save(target, read_pixels(target).values)
    return folder


def source_of(folder, **fields):
    return discover.open_splits(config(folder, **fields))['train']


def warnings_of(folder, **fields):
    return turned_pairs.warnings_for({'train': source_of(folder, **fields)})


@pytest.mark.parametrize('direction', ['AtoB', 'BtoA'])
@pytest.mark.parametrize('noted', range(1, 9))
def test_a_target_is_turned_as_its_input(tmp_path, noted, direction):
    stored = source_of(make(tmp_path / 'stored', noted), **PAIR, **{'dataset.direction': direction})
    make(tmp_path / 'upright', noted, upright=True)
    shown = source_of(tmp_path / 'upright', **{'dataset.direction': direction})
    assert stored.shapes(0) == shown.shapes(0)
    for name, image in shown[0].items():
        np.testing.assert_array_equal(stored[0][name], image)


def test_a_file_that_notes_its_own_orientation_is_turned_by_that(tmp_path):
    make(tmp_path, 6, width=16, height=16)
    save(tmp_path / 'train/B/0.png', picture(100), orientation.UPRIGHT)
    np.testing.assert_array_equal(source_of(tmp_path, **PAIR)[0]['target'], picture(100))
    assert warnings_of(tmp_path) == []  # who notes one knows of it


@pytest.mark.parametrize(
    'orientations,size,warned',
    [
        ((6,), {'width': 16, 'height': 16}, 'in 1 pair (as '),
        ((1, 3, 3), SIZE, 'in 2 pairs (as '),
        ((0, 2), SIZE, 'in 1 pair (as '),
        ((0, 1), SIZE, ''),
        ((6, 8), SIZE, ''),  # the sizes of targets are those of photos as they are shown
        ((3, 6), SIZE, ''),  # and what one tool did to one of them, it did to all
    ],
)
def test_what_nothing_tells_is_said(tmp_path, orientations, size, warned):
    (found,) = warnings_of(make(tmp_path, *orientations, upright=True, **size)) or ['']
    assert warned in found and bool(found) == bool(warned)
    assert not warned or found.endswith('--config.dataset.exif=pair')
    assert warnings_of(tmp_path, **PAIR) == []


def test_a_bad_pair_tells_nothing(tmp_path):
    save(make(tmp_path, 3, 6) / 'train/B/0.png', picture(100, **SIZE))  # and B/1.png as stored
    assert len(warnings_of(tmp_path)) == 1


def both(folder, noted, split='train', number=1):
    """A|B that notes an orientation, as a tool writes it that keeps what A noted."""
    a, b = (picture(n, width=20, height=24) for n in (number, number + 100))
    save(folder / split / f'{number}.png', np.concatenate([a, b], axis=1), noted)
    return a, b


@pytest.mark.parametrize('direction', ['AtoB', 'BtoA'])
@pytest.mark.parametrize('noted', range(9))
def test_one_file_of_both_is_read_as_it_is_stored(tmp_path, noted, direction):
    a, b = both(tmp_path, noted)
    source = source_of(tmp_path, **{'dataset.direction': direction})
    pair = source[0]
    names = ('input', 'target') if direction == 'AtoB' else ('target', 'input')
    for name, image in zip(names, (a, b)):
        np.testing.assert_array_equal(pair[name], image)
    assert source.shapes(0) == ((24, 20), (24, 20))
    found = turned_pairs.warnings_for({'train': source})
    assert found == [
        f'EXIF turns 1 of the 1 files of A|B that were looked at (as {tmp_path}/train/1.png), and '
        'they are read as they are stored: where A is not on the left so, save them upright'
    ] * (noted > orientation.UPRIGHT)


@pytest.mark.parametrize('noted', range(1, 9))
def test_windows_of_one_file_of_both_are_of_what_is_stored(tmp_path, noted):
    a, b = both(tmp_path, noted)
    fields = {'dataset.windows': 'on', 'dataset.preprocess': 'crop', 'image_size': (8, 10)}
    source = source_of(tmp_path, **fields)
    assert len(source) == 3 * 2
    for i, (top, bottom, left, right) in enumerate(source.boxes):
        np.testing.assert_array_equal(source[i]['input'], a[top:bottom, left:right])
        np.testing.assert_array_equal(source[i]['target'], b[top:bottom, left:right])


@pytest.mark.parametrize('noted', [3, 6])
def test_a_layout_is_found_in_what_is_stored(tmp_path, capsys, noted):
    """Turned by a quarter the halves would lie above each other."""
    for i in range(12):
        image = photo(i)
        save(tmp_path / f'train/{i}.png', np.concatenate([image, labels(image)], axis=1), noted)
    source_of(tmp_path)
    assert capsys.readouterr().out == ''


def test_a_photo_of_a_task_is_turned(tmp_path):
    save(tmp_path / 'train/1.png', picture(1, 32, 16), 6)
    source = source_of(tmp_path, **{'dataset.task': 'denoise'})
    assert source.shapes(0) == ((32, 16), (32, 16)) and source[0]['target'].shape == (32, 16, 3)
    assert turned_pairs.warnings_for({'train': source}) == []


@pytest.mark.parametrize('noted', [3, 6])
def test_a_translation_of_one_file_of_both_sees_what_is_stored(tmp_path, noted):
    a, _ = both(tmp_path, noted)
    untrained_run(tmp_path / 'run', validate(tiny_config(tmp_path)))
    loaded = pix2pix_jax.Translator(tmp_path / 'run').load_pair(source_of(tmp_path), 0)
    np.testing.assert_array_equal(loaded.values, a)


def test_a_target_as_its_input_is_stored_is_refused_with_the_field_that_takes_it(tmp_path):
    message = error(make(tmp_path, 6))
    assert 'A/0.png is 16x20 (turned by EXIF) and ' in message and 'B/0.png is 20x16: ' in message
    assert '--config.dataset.exif=pair' in message
    assert source_of(tmp_path, **PAIR)[0]['target'].shape == (20, 16, 3)


def test_the_field_is_not_named_where_it_does_not_help(tmp_path):
    save(make(tmp_path, 6) / 'train/B/0.png', picture(1, 50, 16))
    assert 'exif=pair' not in error(tmp_path)


@pytest.mark.parametrize(
    'field,value', [('mask', 'mask'), ('windows', 'on'), ('hold_out', 'window')]
)
def test_what_is_not_turned_is_refused(field, value):
    crop = {'dataset.preprocess': 'crop'}
    with pytest.raises(UserError, match=f"exif='pair': .* 'own' where .*{field}='{value}'"):
        config('pairs', **PAIR, **crop, **{f'dataset.{field}': value})


def test_the_start_of_a_run_says_it(tmp_path, capsys):
    make(tmp_path, 3, 3)
    c = tiny_config(tmp_path, dataset__val_fraction=0.0)
    train_setup.resolve(c, tmp_path / 'run')
    out = capsys.readouterr().out
    assert out.count('warning: ') == out.count('warning: EXIF turns one image of a pair, ') == 1


def test_a_translation_of_the_runs_own_input_sees_it_turned(tmp_path):
    """Of BtoA the inputs are the files that are turned as their pair."""
    c = tiny_config(make(tmp_path, 6), dataset__direction='BtoA', dataset__exif='pair')
    untrained_run(tmp_path / 'run', validate(c))
    source = source_of(tmp_path, **PAIR, **{'dataset.direction': 'BtoA'})
    loaded = pix2pix_jax.Translator(tmp_path / 'run').load_pair(source, 0)
    np.testing.assert_array_equal(loaded.values, source[0]['input'])


@pytest.mark.parametrize('noted', range(1, 9))
@pytest.mark.parametrize('written', ['itself', 'ImageMagick', 'XMP'])
def test_a_png_is_turned_as_pillow_turns_it(tmp_path, noted, written):
    """Whoever wrote where it notes its orientation."""
    file, info = tmp_path / '1.png', PngImagePlugin.PngInfo()
    exif = Image.Exif()
    exif[orientation.TAG] = noted
    if written == 'ImageMagick':
        profile = exif.tobytes()
        info.add_text('Raw profile type exif', f'\nexif\n{len(profile):8}\n{profile.hex()}\n')
    elif written == 'XMP':
        xmp = f'<x:xmpmeta><rdf:RDF tiff:Orientation="{noted}"></rdf:RDF></x:xmpmeta>'
        info.add_itxt('XML:com.adobe.xmp', xmp)
    image = Image.fromarray(picture(1, **SIZE))
    image.save(file, pnginfo=info, exif=exif if written == 'itself' else b'')
    with Image.open(file) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    assert (expected.shape[:2] == (20, 16)) == (noted in orientation.ROTATED)
    np.testing.assert_array_equal(read_pixels(file).values, expected)
    assert decode.size_of(file) == expected.shape[:2]
