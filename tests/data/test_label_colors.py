"""Label maps in colours, and tables of colours."""

import io
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from pix2pix_jax.data import class_maps, label_colors
from pix2pix_jax.data.catalogue import openmoji
from pix2pix_jax.data.formats.pixels import Pixels
from pix2pix_jax.data.label_colors import CITYSCAPES, FACADES, VOID
from pix2pix_jax.errors import DataError, UserError


def test_the_colours_of_cityscapes_are_the_published_ones():
    """In the order of trainId in cityscapesScripts' labels.py."""
    table = (
        'road 128,64,128;sidewalk 244,35,232;building 70,70,70;wall 102,102,156;fence 190,153,153;'
        'pole 153,153,153;traffic light 250,170,30;traffic sign 220,220,0;vegetation 107,142,35;'
        'terrain 152,251,152;sky 70,130,180;person 220,20,60;rider 255,0,0;car 0,0,142;'
        'truck 0,0,70;bus 0,60,100;train 0,80,100;motorcycle 0,0,230;bicycle 119,11,32'
    )
    assert list(CITYSCAPES.colours.items()) == list(label_colors.table(table).colours.items())


@pytest.mark.parametrize('classes', [FACADES, CITYSCAPES])
def test_every_colour_is_its_class_also_after_jpeg(classes):
    count = len(classes.colours)
    true = np.arange(count).reshape(1, -1).repeat(16, 0).repeat(16, 1)
    image = np.array(list(classes.colours.values()), np.uint8)[true]
    np.testing.assert_array_equal(label_colors.from_colours(image, classes), true)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, 'JPEG', quality=75)
    found = label_colors.from_colours(np.asarray(Image.open(buffer)), classes)
    inner = np.s_[4:12, np.arange(count * 16) % 16 // 4 % 3 != 0]  # away from the borders
    assert (found[inner] == true[inner]).mean() > 0.95


def test_what_has_no_class_is_void():
    image = np.array([[CITYSCAPES.void[0], CITYSCAPES.colours['sky']]], np.uint8)
    sky = list(CITYSCAPES.colours).index('sky')
    np.testing.assert_array_equal(label_colors.from_colours(image, CITYSCAPES), [[VOID, sky]])


def jpeg(image, quality=75):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, 'JPEG', quality=quality)
    return np.asarray(Image.open(buffer))


@pytest.mark.parametrize('classes', [FACADES, CITYSCAPES])
def test_label_maps_have_label_colours_also_after_jpeg(classes):
    """Areas with thin parts, of which JPEG leaves little."""
    colours = np.array([*classes.colours.values(), *classes.void], np.uint8)
    rng = np.random.default_rng(0)
    areas = rng.integers(0, len(colours), (8, 8)).repeat(16, 0).repeat(16, 1)
    areas[::8] = rng.integers(0, len(colours))
    image = colours[areas]
    assert label_colors.matching(image, classes) == 1
    assert label_colors.matching(jpeg(image), classes) > 0.5
    label_colors.check(jpeg(image), classes, 'a.jpg')


def test_a_border_of_no_colour_does_not_decide():
    """A label map with a white border is nearer to its colours than a dull photo."""
    colours = np.array(list(CITYSCAPES.colours.values()), np.uint8)
    label = colours[np.random.default_rng(0).integers(0, len(colours), (64, 64))]
    label[:8] = 255
    photo = np.random.default_rng(1).integers(90, 130, (64, 64, 3)).astype(np.uint8)
    photo[..., 2] //= 2
    near, far = (label_colors.distance(one, CITYSCAPES) for one in (label, photo))
    nearest = np.abs(255 - np.array([*colours, *CITYSCAPES.void], int)).sum(-1).min()
    assert near == pytest.approx(nearest / 8) and near < far / 1.5


def test_black_is_no_label():
    """It is Cityscapes' void, and what many images are black in."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    image[:40] = 0
    assert label_colors.matching(image, CITYSCAPES) < 0.1
    assert label_colors.matching(np.zeros_like(image), CITYSCAPES) == 0
    masks = label_colors.table('no 0,0,0;yes 255,255,255')
    assert label_colors.matching(np.zeros_like(image), masks) == 1  # a mask of nothing
    image[40:] = CITYSCAPES.colours['sky']
    assert label_colors.matching(image, CITYSCAPES) == 1


@pytest.mark.parametrize('classes', [FACADES, CITYSCAPES])
def test_other_images_have_no_label_colours(classes):
    other = CITYSCAPES if classes is FACADES else FACADES
    colours = np.array(list(other.colours.values()), np.uint8)
    maps = colours[np.random.default_rng(0).integers(0, len(colours), (64, 64))]
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    white = np.full((64, 64, 3), 255, np.uint8)
    for image in (maps, noise, white, maps[..., :1], maps.astype(np.uint16) * 257):
        with pytest.raises(UserError, match=r'a\.png is not such a label map') as raised:
            label_colors.check(image, classes, 'a.png')
        assert '\n' not in str(raised.value)


def test_drawings_have_no_label_colours_of_facades():
    for file in openmoji.drawings()[::100]:
        for image in openmoji.render_pair(file.read_text(), 64) or ():
            assert label_colors.matching(image, FACADES) < label_colors.MIN_MATCHING / 2, file


def test_real_facades_have_label_colours_and_their_photos_have_none():
    folder = os.environ.get('PIX2PIX_FACADES')
    if not folder:
        pytest.skip('PIX2PIX_FACADES names no folder of the real facades')
    for i, path in enumerate(sorted(pathlib.Path(folder).rglob('*.jpg'))):
        photo, label = np.split(np.asarray(Image.open(path)), 2, axis=1)
        assert label_colors.matching(label, FACADES) > 1.5 * label_colors.MIN_MATCHING, path
        if i % 5 == 0:
            assert label_colors.matching(photo, FACADES) < label_colors.MIN_MATCHING / 10, path


def test_the_colours_are_those_of_real_facades():
    """Where a label map is flat, it has one of the twelve colours, up to JPEG's noise."""
    folder = os.environ.get('PIX2PIX_FACADES')
    if not folder:
        pytest.skip('PIX2PIX_FACADES names no folder of the real facades')
    palette = np.array(list(FACADES.colours.values()))
    found = []
    for path in sorted(pathlib.Path(folder, 'test').glob('*.jpg'))[:10]:
        image = np.asarray(Image.open(path))[:, 256:].astype(int)
        blocks = image.reshape(64, 4, 64, 4, 3).swapaxes(1, 2).reshape(-1, 16, 3)
        flat = blocks[np.ptp(blocks, axis=1).max(-1) <= 6].mean(1)
        found.extend(np.abs(flat[:, None] - palette).max(-1).min(-1))
    assert len(found) > 5000 and max(found) < 16


# ---------------------------------------------------------------- tables

CAMVID = '64 128 64\tAnimal\n192 0 128\tArchway\n0 0 0\t\tVoid\n'
FORMS = {
    'NAME R,G,B': 'Animal 64,128,64\nArchway 192,0,128\n\n# none\nvoid 0,0,0\n',
    'CamVid': CAMVID,
    'CSV with a header': 'name,r,g,b\nAnimal,64,128,64\nArchway,192,0,128\nvoid,0,0,0\n',
    'a byte order mark': '\ufeff' + CAMVID,
    'a header of numbers first': 'r,g,b,name\n64,128,64,Animal\n192,0,128,Archway\n0,0,0,void\n',
    'a header of class names': '"class_name","r","g","b"\n' + CAMVID,
    'Windows': CAMVID.replace('\n', '\r\n'),
}


@pytest.mark.parametrize('form', FORMS)
def test_tables_in_many_forms(tmp_path, form):
    path = tmp_path / 'colours.txt'
    path.write_bytes(FORMS[form].encode())
    expected = label_colors.Classes(
        {'Animal': (64, 128, 64), 'Archway': (192, 0, 128)}, ((0, 0, 0),)
    )
    assert label_colors.table(str(path)) == expected
    path.write_bytes(FORMS[form].removeprefix('\ufeff').encode('utf-16'))  # as spreadsheets write
    assert label_colors.table(str(path)) == expected
    assert label_colors.table(label_colors.to_text(expected)) == expected


NUMBERS_FIRST, NAME_FIRST = {'1': (64, 128, 64), '2': (9, 8, 7)}, {'64': (128, 64, 1)}
NAME_FIRST |= {'9': (8, 7, 2)}


@pytest.mark.parametrize(('text', 'expected'), [
    ('64 128 64 1\n9 8 7 2\n', None),
    ('64,128,64,1\n9,8,7,2\n', None),
    ('64, 128, 64, 1\n9, 8, 7, 2\n', None),
    ('road 1 2 3\n5 5 6 sky\n64 128 64 1\n9 8 7 2\n', None),  # lines that say both
    ('r g b name\n64 128 64 1\n9 8 7 2\n', NUMBERS_FIRST),
    ('name,r,g,b\n64,128,64,1\n9,8,7,2\n', NAME_FIRST),
    ('64 128 64 1\n9 8 7 2\n0 0 0 Void\n', NUMBERS_FIRST),
    ('64 128 64 1\n9 8 7 2\nvoid 0 0 0\n', NAME_FIRST),
    ('64,128,64 1\n9, 8, 7 2\n', NUMBERS_FIRST),
    ('64 128,64,1\n9 8, 7, 2\n', NAME_FIRST),
    ('1 1 1 1\n2 2 2 2\n', {'1': (1, 1, 1), '2': (2, 2, 2)}),
])  # fmt: skip
def test_names_that_are_numbers_are_not_guessed(tmp_path, text, expected):
    path = tmp_path / 'colours.txt'
    path.write_text(text)
    if expected:
        assert label_colors.table(str(path)).colours == expected
        return
    with pytest.raises(
        UserError, match=r'line \d: is it .* or .*\? Allowed are a header'
    ) as raised:
        label_colors.table(str(path))
    assert '\n' not in str(raised.value)


@pytest.mark.parametrize('classes', [FACADES, CITYSCAPES])
def test_the_known_tables_come_back_from_their_text(classes):
    assert label_colors.table(label_colors.to_text(classes)) == classes


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('a 0,0,0\nb 0,0\n', "line 2: 'b 0,0' is no NAME R,G,B"),
        ('a 0,0,0\nb 0,0,256\n', 'line 2: '),
        ('a 0,0,0\na 0,0,9\n', "line 2: 'a' is there twice"),
        ('a 0,0,0\n', 'has 1 classes: allowed are 2 to 255'),
        ('', 'has 0 classes'),
        ('a;b 0,0,0\nc 0,0,1\n', 'line 1: '),
        (b'\xff\xfe\x00\xd8', 'is no text'),
        (b'a 0,0,0\x00', 'line 1: '),
    ],
)
def test_what_is_no_table_is_said_with_its_line(tmp_path, text, message):
    path = tmp_path / 'colours.txt'
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UserError) as raised:
        label_colors.table(str(path))
    found = str(raised.value)
    assert str(path) in found and message in found and '\n' not in found
    for missing in (tmp_path / 'missing', tmp_path):
        with pytest.raises(UserError, match='cityscapes . openmoji_classes, or a text file'):
            label_colors.table(str(missing))


def test_a_map_has_the_classes_of_its_colours():
    rng = np.random.default_rng(0)
    for classes in (FACADES, CITYSCAPES):
        colours = np.array(list(classes.colours.values()), np.uint8)
        true = rng.integers(0, len(colours), (8, 8)).repeat(8, 0).repeat(8, 1)
        for lossy in (False, True):
            np.testing.assert_array_equal(label_colors.of_map(colours[true], classes, lossy), true)


def test_a_window_of_a_map_is_a_map():
    """Few colours in it do not say that nothing blurred them, nor gray that they are indices."""
    rng, written = np.random.default_rng(0), io.BytesIO()
    colours = np.array(list(FACADES.colours.values()), np.uint8)
    label = colours[rng.integers(0, len(colours), (16, 16)).repeat(16, 0).repeat(16, 1)]
    Image.fromarray(label).save(written, 'jpeg', quality=80)
    image = np.asarray(Image.open(written))  # then written as a TIFF: nothing says that it was JPEG
    whole = class_maps.from_colours(Pixels(image), FACADES)
    for side in (1, 4, 16, 64):
        for top, left in rng.integers(0, 256 - side, (20, 2)):
            box = slice(top, top + side), slice(left, left + side)
            found = class_maps.from_colours(Pixels(image[box], part=True), FACADES)
            np.testing.assert_array_equal(found, whole[box])
    black = np.zeros((8, 8, 3), np.uint8)
    table = label_colors.Classes({'sky': (0, 0, 255), 'car': (255, 0, 0)}, ((1, 1, 1),))
    assert (class_maps.from_colours(Pixels(black, part=True), table) == class_maps.VOID).all()


def test_real_facades_are_maps_and_none_of_their_photos():
    folder = os.environ.get('PIX2PIX_FACADES')
    if not folder:
        pytest.skip('PIX2PIX_FACADES names no folder of the real facades')
    for i, path in enumerate(sorted(pathlib.Path(folder).rglob('*.jpg'))):
        photo, label = np.split(np.asarray(Image.open(path)), 2, axis=1)
        if i % 4 == 0 or path.name == '22.jpg':  # the one that JPEG moved farthest
            label_colors.of_map(label, FACADES)
        if i % 20 == 0:
            with pytest.raises(DataError, match='has the colour'):
                label_colors.of_map(photo, FACADES)


@pytest.mark.parametrize('width', [1, 4])
def test_a_thin_area_of_another_colour_is_refused_where_nothing_blurs_it(width):
    classes = label_colors.Classes({'sky': (0, 0, 255), 'car': (255, 0, 0)})
    image = np.full((64, 64, 3), (0, 0, 255), np.uint8)
    image[:, 10 : 10 + width] = (255, 255, 0)
    with pytest.raises(DataError, match=r'has the colour 255,255,0, which is not in'):
        label_colors.of_map(image, classes, lossy=False)
    label_colors.of_map(image, classes, lossy=True)  # it may be what JPEG made of a border
