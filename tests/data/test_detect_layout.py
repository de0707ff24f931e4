"""What lies under train/ is taken as A|B side by side only where it can be that.

Sets of many kinds, made from 1/f noise, landscapes of it, drawings of OpenMoji and, where they are
there, the facades.
"""

import os
import re
import shlex

import numpy as np
import pytest
from helpers.pictures import COLOURS, classes, config, labels, photo, picture, save
from helpers.runs import make_pairs
from PIL import Image, ImageFilter

from pix2pix_jax.data import detect_layout, discover, folders, halves, layout_names
from pix2pix_jax.data.catalogue import openmoji
from pix2pix_jax.data.hold_out import Known, SplitPairs
from pix2pix_jax.errors import DataError
from pix2pix_jax.inference.run_splits import open_run_splits

COUNT = 12

# ---------------------------------------------------------------- images


def landscape(seed, height=64, width=64):
    """A bright sky over dark ground: the left border is like the right one."""
    ramp = np.linspace(230, 40, height)[:, None, None]
    return (0.35 * photo(seed, height, width) + 0.65 * ramp).astype(np.uint8)


def filtered(image, kind):
    return np.asarray(Image.fromarray(image).filter(kind))


def gray(image):
    return np.asarray(Image.fromarray(image).convert('L').convert('RGB'))


def blurred(image):
    return filtered(image, ImageFilter.GaussianBlur(2))


def small(image):
    height, width = image.shape[:2]
    there = Image.fromarray(image).resize((width // 4, height // 4), Image.Resampling.BICUBIC)
    return np.asarray(there.resize((width, height), Image.Resampling.BICUBIC))


def noisy(image):
    noise = np.random.default_rng(0).normal(0, 25, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def night(image):
    return (0.35 * image).astype(np.uint8)


def depth(image):
    far = np.linspace(20, 230, image.shape[0])[:, None, None]
    return np.broadcast_to(far, image.shape).astype(np.uint8)


def edges(image):
    found = np.asarray(Image.fromarray(image).convert('L').filter(ImageFilter.FIND_EDGES))
    return np.where(found[..., None] < 40, 255, 0).repeat(3, -1).astype(np.uint8)


OTHERS = (gray, blurred, small, noisy, night, depth, edges, labels)


@pytest.fixture(scope='module')
def drawings():
    """Line art and drawings of OpenMoji, (64,64,3) on white."""
    found = (openmoji.render_pair(f.read_text(), 64) for f in openmoji.drawings()[::90])
    return [pair for pair in found if pair]


@pytest.fixture(scope='module')
def facades():
    """Photos and label maps of facades."""
    folder = os.environ.get('PIX2PIX_FACADES')
    if not folder:
        pytest.skip('PIX2PIX_FACADES is not set to the folder of the facades archive')
    found = [np.asarray(Image.open(f'{folder}/train/{i}.jpg')) for i in range(1, 41)]
    return [(image[:, :256], image[:, 256:]) for image in found]


# ---------------------------------------------------------------- what is said


def said(root, capsys, known=None, **fields):
    """Returns 'refused: …' or 'warning: …' as opening the set says it; '' where it passes."""
    capsys.readouterr()
    try:
        discover.open_splits(config(root, **fields), known or Known())
    except DataError as error:
        assert '\n' not in str(error)
        return f'refused: {error}'
    return capsys.readouterr().out.strip()


def write(folder, images, name='{}.png'):
    for i, image in enumerate(images):
        save(folder / name.format(i), image)


def beside(pairs):
    return [np.concatenate(pair, axis=1) for pair in pairs]


# ---------------------------------------------------------------- A|B passes


@pytest.mark.parametrize('turned', [False, True])
@pytest.mark.parametrize('other', OTHERS, ids=lambda f: f.__name__)
@pytest.mark.parametrize('make', [photo, landscape])
@pytest.mark.parametrize('size', [(64, 64), (64, 96), (64, 48)])
def test_pairs_pass(tmp_path, capsys, make, other, turned, size):
    pairs = [(image := make(i, *size), other(image)) for i in range(COUNT)]
    pairs = [pair[::-1] for pair in pairs] if turned else pairs
    write(tmp_path / 'train', beside(pairs))
    write(tmp_path / 'test', beside(pairs[:3]))
    assert said(tmp_path, capsys) == ''


@pytest.mark.parametrize('extension', ['jpg', 'webp'])
@pytest.mark.parametrize('other', [gray, labels], ids=lambda f: f.__name__)
def test_pairs_of_lossy_files_pass(tmp_path, capsys, other, extension):
    pairs = [(image := photo(i, 60, 90), other(image)) for i in range(COUNT)]
    write(tmp_path / 'train', beside(pairs), f'{{}}.{extension}')
    assert said(tmp_path, capsys) == ''


@pytest.mark.parametrize('cut', [False, True])
@pytest.mark.parametrize('other', ['line', 'edges', 'gray', 'equal'])
@pytest.mark.parametrize('turned', [False, True])
def test_drawings_on_white_pass(tmp_path, capsys, drawings, other, turned, cut):
    """Where nothing is at the middle, and, cut to what is drawn, where both sides are alike."""
    pairs = []
    for line, drawing in drawings:
        if cut:
            (top, left), (bottom, right) = (
                f(np.argwhere(line.min(-1) < 230), 0) for f in (np.min, np.max)
            )
            box = slice(top, bottom + 1), slice(left, right + 1)
            line, drawing = (
                np.asarray(Image.fromarray(np.ascontiguousarray(x[box])).resize((64, 64)))
                for x in (line, drawing)
            )
        made = {'line': line, 'edges': edges(drawing), 'gray': gray(drawing), 'equal': drawing}
        pairs.append((made[other], drawing)[:: -1 if turned else 1])
    write(tmp_path / 'train', beside(pairs))
    assert said(tmp_path, capsys) == ''


def test_facades_pass_both_ways_and_their_photos_alone_do_not(tmp_path, capsys, facades):
    root = os.environ['PIX2PIX_FACADES']
    for direction in ('AtoB', 'BtoA'):
        assert said(root, capsys, **{'dataset.direction': direction}) == ''
    write(tmp_path / 'turned' / 'train', beside(pair[::-1] for pair in facades))
    assert said(tmp_path / 'turned', capsys) == ''
    for other in OTHERS:
        write(tmp_path / other.__name__ / 'train', beside((a, other(a)) for a, _ in facades[::4]))
        assert said(tmp_path / other.__name__, capsys) == '', other
    for number, name in enumerate(('photos', 'labels')):
        write(tmp_path / name / 'train', [pair[number] for pair in facades])
        assert 'run on across the middle' in said(tmp_path / name, capsys)


def test_the_published_layouts_and_those_of_the_tests_pass(tmp_path, capsys):
    make_pairs(tmp_path / 'boxes', {'train': 9, 'val': 2, 'test': 3})
    assert said(tmp_path / 'boxes', capsys) == ''
    for split in ('train', 'val'):  # maps, edges2shoes: names of numbers and of letters
        write(tmp_path / 'maps' / split, beside((photo(i), labels(photo(i))) for i in range(COUNT)))
    assert said(tmp_path / 'maps', capsys) == ''
    write(tmp_path / 'noise' / 'train', [picture(i, 32, 16) for i in range(COUNT)])
    assert said(tmp_path / 'noise', capsys) == ''
    write(tmp_path / 'one' / 'train', beside([(photo(0), gray(photo(0)))]))
    assert said(tmp_path / 'one', capsys) == ''


def test_pairs_in_folders_of_equal_names_pass(tmp_path, capsys):
    """As frames of several films, or beside what they were made from."""
    for film in range(3):
        pairs = [(photo(9 * film + i), labels(photo(9 * film + i))) for i in range(6)]
        write(tmp_path / 'train' / f'film{film}', beside(pairs), 'frame_{:04}.png')
    write(tmp_path / 'raw', [photo(i) for i in range(6)], 'frame_{:04}.png')
    assert said(tmp_path, capsys) == ''


@pytest.mark.parametrize('split', ['val', 'Test', 'VALIDATION'])
def test_splits_may_have_equal_names(tmp_path, capsys, split):
    """Also where nothing at the middle says what files are."""
    for folder in ('train', split):
        write(tmp_path / folder, [np.full((32, 96, 3), i, np.uint8) for i in range(COUNT)])
    assert 'holds files of the same names' not in said(tmp_path, capsys)


def test_where_pairs_are_likely_names_are_warned_of(tmp_path, capsys):
    for film in 'xy':
        pairs = [(landscape(i), gray(landscape(i))) for i in range(6)]
        write(tmp_path / 'train' / film, beside(pairs))
    warning, hint = said(tmp_path, capsys).splitlines()
    assert warning == (
        f'warning: {tmp_path}/train: x/ and y/ hold files of equal names; each file is taken as '
        'A|B side by side'
    )
    assert hint.startswith('warning: if each file is one image, the command takes 6 pairs with ')


@pytest.mark.parametrize('size', [(64, 48), (64, 64), (48, 64)])
@pytest.mark.parametrize('place', ['vol{}/{{}}.png', '{{}}_{}.png'])
def test_drawings_of_any_proportions_are_not_refused_for_their_names(
    tmp_path, capsys, drawings, size, place
):
    """Nothing is at their middle that could tell: doubt warns."""
    pairs = [np.concatenate(pair, axis=1) for pair in drawings]
    pairs = [np.asarray(Image.fromarray(x).resize((2 * size[1], size[0]))) for x in pairs]
    for word in ('front', 'back', 'side')[: 2 if place[0] == '{' else 3]:
        write(tmp_path / 'train', pairs, place.format(word))
    for folder in ('lines', 'colour'):
        write(tmp_path / folder, pairs, '{}.png')
    assert said(tmp_path, capsys).startswith(f'warning: {tmp_path}/train: ')


def layers(seed):
    """Layers of tissue that run through the whole image, (96,128), 0 to 255."""
    rng, y = np.random.default_rng(seed), np.arange(96)[:, None]
    wave = np.sin(2 * np.pi * (np.arange(128) / 128 * rng.uniform(0.5, 2) + rng.uniform()))
    surface, image = 30 + rng.uniform(0.5, 3) * wave, np.zeros((96, 128))
    for number, value in enumerate((120, 60, 160, 80, 30)):
        image = np.where(y > surface + 8 * number, value, image)
    return image[..., None].repeat(3, -1).astype(np.uint8)


def symmetric(seed):
    half = photo(seed, 64, 32)
    return np.concatenate([half, half[:, ::-1]], axis=1)


@pytest.mark.parametrize('other', ['darker', 'noisy', 'inverted and darker'])
@pytest.mark.parametrize('make', [layers, symmetric])
def test_aligned_pairs_that_run_on_across_the_middle_are_not_refused(tmp_path, capsys, make, other):
    images = [make(i) for i in range(24)]
    changed = {
        'darker': lambda x: (0.9 * x).astype(np.uint8),
        'noisy': lambda x: noisy(x),
        'inverted and darker': lambda x: (128 - 0.5 * x).astype(np.uint8),
    }[other]
    write(tmp_path / 'train', beside((image, changed(image)) for image in images))
    assert not said(tmp_path, capsys).startswith('refused')
    write(tmp_path / 'single' / 'train', images)
    assert said(tmp_path / 'single', capsys).startswith('refused')


@pytest.mark.parametrize('place', ['x/{}.png', '{}_x.png'])
def test_aligned_pairs_that_run_on_are_not_refused_for_their_names(tmp_path, capsys, place):
    pairs = [(image := symmetric(i), (0.9 * image).astype(np.uint8)) for i in range(COUNT)]
    for kind in 'xy':
        write(tmp_path / 'train', beside(pairs), place.replace('x', kind))
    assert said(tmp_path, capsys).startswith(f'warning: {tmp_path}/train: ')


def test_of_aligned_pairs_that_run_on_the_warning_says_both(tmp_path, capsys):
    images = [symmetric(i) for i in range(12)]
    write(tmp_path / 'train', beside((x, (0.95 * x).astype(np.uint8)) for x in images))
    text = said(tmp_path, capsys)
    assert text.startswith(f'warning: {tmp_path}/train: ') and (
        ' run on across the middle, as single images do, but both halves of most show one '
        'content, as those of A|B do; each file is taken as A|B side by side' in text
    )


def binary(image):
    return ((gray(image) > 128) * 255).astype(np.uint8)


@pytest.mark.parametrize('folder,name,image,expected', [
    ('mask', '{}.png', binary, 'refused'),  # whatever a threshold of a photo does at the middle
    ('mask', '{}.png', lambda image: np.zeros_like(image), 'refused'),
    ('photos', '{}.png', lambda image: image, 'refused'),
    ('extra', 'x{}.png', lambda image: image, 'refused'),
    ('.', '{}_photo.png', lambda image: image, 'refused'),
    ('extra', 'x{}.png', lambda image: image[::2, ::2], 'refused'),
    ('blank', 'x{}.png', lambda image: np.full_like(image, 255), 'warning'),  # nothing is seen
    ('thumbs', '{}.png', None, 'warning'),
])  # fmt: skip
def test_files_among_pairs_are_not_cut_in_silence(tmp_path, capsys, folder, name, image, expected):
    pairs = [np.concatenate([IMAGES[i], labels(IMAGES[i])], axis=1) for i in range(COUNT)]
    write(tmp_path / 'train', pairs)
    others = [image(one) for one in IMAGES] if image else [pair[::2, ::2] for pair in pairs]
    write(tmp_path / 'train' / folder, others, name)
    text = said(tmp_path, capsys)
    assert text.startswith(f'{expected}: ') and 'command takes' not in text
    if image:
        assert f'{COUNT} of the {2 * COUNT} files that were looked at have the proportions ' in text
        assert 'of one half of the others (128x48), as ' in text
    are_twins = folder in ('mask', 'photos')
    flag = f'; --config.dataset.mask={folder} takes {folder}/ as masks of the targets'
    assert (flag in text) == are_twins
    assert said(tmp_path, capsys, **{'dataset.layout': 'side_by_side'}) == ''
    assert said(tmp_path, capsys, Known(exists=True)).startswith('warning: ')
    if are_twins:
        assert said(tmp_path, capsys, **{'dataset.mask': folder}) == ''


def test_pairs_of_several_proportions_pass(tmp_path, capsys):
    """Folders of scenes with equal names, and sizes of which one is half of another."""
    for place, size in (('a', (64, 64)), ('b', (64, 32)), ('c', (64, 96))):
        images = [photo(i, *size) for i in range(COUNT)]
        write(tmp_path / 'train' / place, beside([(image, labels(image)) for image in images]))
    assert said(tmp_path, capsys) == ''


def test_the_names_of_many_cities_are_no_two_families(tmp_path, capsys):
    """As in Cityscapes, of which each file begins with its folder's name."""
    for city in ('aachen', 'bochum', 'zurich'):
        write(tmp_path / 'train' / city, IMAGES[:5], f'{city}_{{:06}}_000019_leftImg8bit.png')
    files = folders.image_files(tmp_path / 'train')
    assert layout_names.families(files) == ''
    assert 'run on across the middle' in said(tmp_path, capsys)
    two = {name: file for name, file in files.items() if 'zurich' not in name}
    assert 'two families' in layout_names.families(two)
    each = {f'{city}/{i}_{side}': '' for city in 'abc' for i in range(3) for side in 'AB'}
    assert layout_names.families(each) == 'its names are in two families, as a/0_A and a/0_B'


# ---------------------------------------------------------------- what is no A|B is refused


SEEMS = ': not A|B side by side, it seems; '


def refused(root, capsys):
    """The reason; with it there is a way out, by patterns where there are any."""
    text = said(root, capsys)
    reason, _, hint = text.partition(SEEMS)
    assert text.startswith(f'refused: {root}/train: '), text
    ending = '; for A|B in each file: --config.dataset.layout=side_by_side'
    assert hint.removesuffix(ending) == (
        f'put A into {root}/train/A and B into {root}/train/B under equal names, or list the pairs '
        f'in {root}/train.csv (columns input, target; --config.dataset.layout=list)'
    ) or _takes_them(root, hint.removesuffix(ending))
    fields = {'dataset.layout': 'side_by_side'}
    assert said(root, capsys, **fields) == ''  # never where it is said
    assert said(root, capsys, Known(exists=True)) == (
        f'warning: {reason.removeprefix("refused: ")}; each file is taken as A|B side by side'
    )
    assert (
        said(root, capsys, **{'dataset.task': 'gray_to_color', 'generator.input_channels': 1}) == ''
    )
    return reason.removeprefix(f'refused: {root}/train: ')


def _takes_them(root, hint):
    """Whether the command with the flags of the hint takes as many pairs as it says."""
    count = int(re.match(r'the command takes (\d+) pairs', hint)[1])
    words = dict(
        word[9:].split('=', 1) for word in shlex.split(hint) if word.startswith('--config')
    )
    splits = discover.open_splits(config(root, **words))
    assert sum(map(len, splits.values())) == count >= COUNT
    return all(len(files) == 2 for source in splits.values() for files in source.files)


IMAGES = [photo(i, 48, 64) for i in range(COUNT)]
MASKS = [classes(i, 48, 64) for i in range(COUNT)]
PAIRS = {
    'images and masks': (IMAGES, MASKS),
    'left and right': (IMAGES, [np.roll(image, 3, axis=1) for image in IMAGES]),
    'masks and images': ([COLOURS[mask] for mask in MASKS], IMAGES),
    'wide': ([photo(i, 32, 64) for i in range(COUNT)], [classes(i, 32, 64) for i in range(COUNT)]),
}


@pytest.fixture(params=PAIRS)
def two(request):
    return PAIRS[request.param]


@pytest.mark.parametrize('a,b', [('images', 'masks'), ('left', 'right'), ('x/rgb', 'x/depth')])
def test_folders_of_equal_names(tmp_path, capsys, two, a, b):
    write(tmp_path / 'train' / a, two[0], '{}.jpg')
    write(tmp_path / 'train' / b, two[1])
    first, second = sorted((a, b))
    assert refused(tmp_path, capsys) in (
        f'{first}/ and {second}/ hold files of equal names',
        f'{second}/ and {first}/ hold files of equal names',
    )


@pytest.mark.parametrize(
    'folder,name,but',
    [
        ('trainannot', '{}.png', ''),
        ('masks', '{}.png', ''),
        ('labels/train', '{}.png', ''),
        ('train_labels', '{}_L.png', ", but for '' and '_L'"),
        ('annotations', '{}_mask.png', ", but for '' and '_mask'"),
    ],
)
def test_a_folder_beside(tmp_path, capsys, two, folder, name, but):
    """As CamVid has them."""
    write(tmp_path / 'train', two[0], '0001TP_{}.png')
    write(tmp_path / 'test', two[0][:3], '0001TP_{}.png')
    write(tmp_path / folder, two[1], f'0001TP_{name}')
    found = refused(tmp_path, capsys)
    assert found == f'{tmp_path}/{folder} holds files of the same names{but}'


@pytest.mark.parametrize(
    'a,b',
    [
        ('l_{}', 'r_{}'),
        ('{}_photo', '{}_label'),
        ('{}_A', '{}_B'),
        ('{:03}', '{:03}_mask'),
        ('photo{}', 'label{}'),
        ('x_{}_leftImg8bit', 'x_{}_gtFine_color'),
    ],
)
def test_names_in_two_families(tmp_path, capsys, two, a, b):
    write(tmp_path / 'train', two[0], f'{a}.png')
    write(tmp_path / 'train', two[1], f'{b}.png')
    assert 'its names are in two families, as ' in refused(tmp_path, capsys)


def test_gray_files_among_ones_of_colours(tmp_path, capsys):
    rng = np.random.default_rng(0)
    names = [f'{n:08x}' for n in rng.integers(0, 2**31, 2 * COUNT)]
    for i in range(COUNT):
        save(tmp_path / 'train' / f'{names[2 * i]}.png', IMAGES[i])
        save(tmp_path / 'train' / f'{names[2 * i + 1]}.png', MASKS[i])
    found = refused(tmp_path, capsys)
    assert found.startswith('its files are of several kinds, as ')
    assert '(gray)' in found and '(colours)' in found


def test_palette_files_among_ones_of_colours(tmp_path, capsys):
    write(tmp_path / 'train', IMAGES[:6], 'a{}.png')
    for i in range(6):
        image = Image.fromarray(MASKS[i], mode='P')
        image.putpalette(COLOURS.ravel().tolist())
        image.save(tmp_path / 'train' / f'{chr(ord("p") + i)}.png')
    assert '(palette)' in refused(tmp_path, capsys)


@pytest.mark.parametrize('make', [photo, landscape])
@pytest.mark.parametrize('size', [(64, 64), (48, 64), (64, 48), (32, 64)])
def test_single_photos(tmp_path, capsys, make, size):
    write(tmp_path / 'train', [make(i, *size) for i in range(40)], '{}.jpg')
    found = refused(tmp_path, capsys)
    assert found.endswith(
        ' of the 32 files that were looked at run on across the middle, as single images do'
    )


def test_single_drawings(tmp_path, capsys, drawings):
    write(tmp_path / 'train', [drawing for _, drawing in drawings])
    assert 'run on across the middle' in refused(tmp_path, capsys)


def test_photos_of_odd_widths(tmp_path, capsys):
    sizes = np.random.default_rng(0).integers(40, 60, COUNT)
    write(tmp_path / 'train', [photo(i, 48, width) for i, width in enumerate(sizes)])
    odd = [width for width in sizes if width % 2]
    assert said(tmp_path, capsys).startswith(
        f'refused: {tmp_path}/train: {len(odd)} of the {COUNT} files that were looked at have an '
        'odd width, as '
    )


def test_files_about_as_wide_as_high_are_warned_of(tmp_path, capsys):
    write(tmp_path / 'train', [picture(i, 64, 64) for i in range(COUNT)])  # noise says nothing
    assert said(tmp_path, capsys) == (
        f'warning: {tmp_path}/train: files of 64x64 pixels give halves of 32x64; each file is '
        'taken as A|B side by side'
    )


# ---------------------------------------------------------------- A and B in small letters


@pytest.mark.parametrize(
    'a,b', [('a/train', 'b/train'), ('traina', 'trainb'), ('train/a', 'train/b')]
)
@pytest.mark.parametrize('capital', [False, True])
def test_small_letters_are_found(tmp_path, capsys, a, b, capital):
    a = a.replace('a', 'A', 1) if capital and a[0] == 'a' else a
    write(tmp_path / a, IMAGES)
    write(tmp_path / b, IMAGES[::-1])
    write(tmp_path / a.replace('a', 'a2') if a[0] == 'a' else tmp_path / f'{a}2', IMAGES)
    train = discover.open_splits(config(tmp_path))['train']
    assert len(train) == COUNT and train.files[0][0].parent.name in ('a', 'A', 'traina', 'train')


def test_small_letters_of_sequences_of_pairs_are_warned_of(tmp_path, capsys):
    for i, name in enumerate('ab'):
        images = [photo(9 * i + k, 48, 64) for k in range(6)]
        write(tmp_path / 'train' / name, beside((image, labels(image)) for image in images))
    assert said(tmp_path, capsys) == (
        f'warning: {tmp_path}/train/a and {tmp_path}/train/b: most files break at the middle, as '
        'A|B side by side does; they are taken as A and B (for A|B in each file: '
        '--config.dataset.layout=side_by_side)'
    )
    assert said(tmp_path, capsys, **{'dataset.layout': 'side_by_side'}) == ''
    write(tmp_path / 'others' / 'train' / 'a', IMAGES)
    write(tmp_path / 'others' / 'train' / 'b', [labels(image) for image in IMAGES])
    assert said(tmp_path / 'others', capsys) == ''
    for one, other in ('ab', 'ba'):  # two views in each input, or in each target
        root = tmp_path / f'views in {one}'
        write(root / 'train' / one, beside((image, labels(image)) for image in IMAGES))
        write(root / 'train' / other, [photo(i, 48, 128) for i in range(COUNT)])
        assert said(root, capsys) == ''


@pytest.mark.parametrize('place', ['{}', 'A/{}', '{}A', '{}.csv'])
@pytest.mark.parametrize('name', ['valid', 'validation', 'testing', 'training'])
def test_a_split_under_another_name_is_taken_and_that_is_said(tmp_path, capsys, name, place):
    usual = {'val': 'val', 'tes': 'test', 'tra': 'train'}[name[:3]]
    for split in {'train', 'test', 'val'} - {usual}:
        write(tmp_path / split, beside((photo(i), labels(photo(i))) for i in range(4)))
    folder = tmp_path / place.format(name)
    if place == '{}.csv':
        folder.write_text(f'input,target\n{folder.parent}/in.png,out.png\n')
        write(tmp_path, IMAGES[:1], 'in.png')
        write(tmp_path, IMAGES[:1], 'out.png')
    else:
        folder.mkdir(parents=True)  # without images it is none
        assert said(tmp_path, capsys).startswith('refused' if place != '{}' else '')
        write(folder, IMAGES[:1] if 'A' in place else beside([(IMAGES[0], IMAGES[1])]))
        if 'A' in place:
            write(tmp_path / place.replace('A', 'B').format(name), IMAGES[:1])
    splits = discover.open_splits(config(tmp_path, **{'dataset.val_fraction': 0.3}))
    assert len(splits[usual]) == 1 and not splits[usual].held_out
    assert capsys.readouterr().out.strip().endswith(f' is taken as {usual}')
    write(tmp_path / usual, beside((photo(i), labels(photo(i))) for i in range(2)))
    splits = discover.open_splits(config(tmp_path))
    assert len(splits[usual]) == 2
    left = f'{folder} is left out: {usual} is {tmp_path / usual}\n'
    assert left in capsys.readouterr().out


@pytest.mark.parametrize('held_out', [True, None])
def test_a_run_that_did_not_read_another_name_goes_on_without_it(tmp_path, capsys, held_out):
    write(tmp_path / 'train', beside((photo(i), labels(photo(i))) for i in range(4)))
    write(tmp_path / 'valid', beside((photo(i), labels(photo(i))) for i in range(5, 7)))
    recorded = {'train': SplitPairs(('0', '1', '2'), {}), 'val': SplitPairs(('3',), {}, held_out)}
    known = Known(exists=True, splits=recorded)
    splits = discover.open_splits(config(tmp_path), known)
    assert splits['val'].names == ('3',) and splits['val'].held_out
    assert said(tmp_path, capsys, Known(exists=True, old=True)) == ''
    assert set(discover.open_splits(config(tmp_path), Known(exists=True, old=True))) == {'train'}
    recorded['val'] = SplitPairs(('0', '1'), {})
    assert len(discover.open_splits(config(tmp_path), known)['val']) == 2


def test_one_small_letter_is_a_folder_as_any_other(tmp_path, capsys):
    pairs = beside((photo(i), labels(photo(i))) for i in range(9))
    for i, name in enumerate('abc'):
        write(tmp_path / 'train' / name, pairs[3 * i : 3 * i + 3])
    assert said(tmp_path, capsys) == ''
    assert len(discover.open_splits(config(tmp_path))['train']) == 9


def test_capital_and_small_are_one_too_many(tmp_path, capsys):
    for name in 'AaB':
        write(tmp_path / 'train' / name, IMAGES[:2])
    if len(list((tmp_path / 'train').iterdir())) < 3:
        pytest.skip('the file system does not tell them apart')
    assert said(tmp_path, capsys) == (
        f'refused: there are {tmp_path}/train/A and {tmp_path}/train/a: allowed is one of them'
    )


# ---------------------------------------------------------------- the sample


def test_a_sample_is_read_of_many(tmp_path, monkeypatch):
    write(tmp_path, [photo(i, 16, 32) for i in range(40)])
    files = folders.image_files(tmp_path)
    sample = detect_layout.read_sample(files)
    assert len(sample.names) == detect_layout.SAMPLE and sample == detect_layout.read_sample(files)
    assert sample.names != list(files)[: detect_layout.SAMPLE]
    monkeypatch.setattr(detect_layout, 'MAX_PIXELS', 100)
    assert len(detect_layout.read_sample(files).names) == 8
    (tmp_path / f'{sample.names[0]}.png').write_bytes(b'')
    assert len(detect_layout.read_sample(files).names) == 8


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'float32'])
def test_any_range_of_values(dtype):
    scale = {'uint8': 1, 'uint16': 7, 'float32': 1e-3}[dtype]
    image = photo(1)
    for values, expected in (
        (image, 'runs on'),
        (np.concatenate([image, 255 - image], axis=1), 'breaks'),
        (np.full_like(image, 9), ''),
        (picture(1, 64, 64), ''),
    ):
        values = values.astype(dtype) * np.array(scale, dtype)
        assert halves.across_middle(values) == expected


# ---------------------------------------------------------------- splits that train is not like


SIDE_BY_SIDE = [(image, labels(image)) for image in IMAGES]


def of_other_kind(kind, folder, flat):
    """Writes what is no A|B: inputs alone, or images and masks in folders or in one folder."""
    images = [np.full((48, 64, 3), 9 * i, np.uint8) for i in range(4)] if flat else IMAGES[:4]
    if kind == 'inputs alone':
        write(folder, images)
    elif kind == 'two folders':
        write(folder / 'images', images)
        write(folder / 'masks', MASKS[:4])
    else:
        write(folder, images)
        write(folder, MASKS[:4], '{}_mask.png')


@pytest.mark.parametrize('flat', [False, True], ids=['photos', 'nothing at the middle'])
@pytest.mark.parametrize('train', ['side by side', 'two folders'])
@pytest.mark.parametrize(
    'kind,split', [('inputs alone', 'test'), ('two folders', 'val'), ('one folder', 'Validation')]
)
def test_each_split_is_looked_at(tmp_path, capsys, kind, split, train, flat):
    """Whatever train is, what is refused there is refused in val and test."""
    if train == 'side by side':
        write(tmp_path / 'train', beside(SIDE_BY_SIDE))
    else:
        for name, images in zip('AB', zip(*SIDE_BY_SIDE)):
            write(tmp_path / 'train' / name, images)
    of_other_kind(kind, tmp_path / split, flat)
    folder = tmp_path / split
    ending = (
        f'put A into {folder}/A and B into {folder}/B under equal names, or take the folder away: '
        'inputs alone are for translate --input=DIR'
    )
    flag = '; for A|B in each file: --config.dataset.layout=side_by_side'
    if train == 'two folders':
        flag = '; --config.dataset.layout=two_folders leaves it out'
    text = said(tmp_path, capsys)
    assert text.startswith(f'refused: {folder}: ') and text.endswith(f'{SEEMS}{ending}{flag}')
    way_out = {'dataset.layout': train.replace(' ', '_')}
    assert 'warning' not in said(tmp_path, capsys, **way_out)
    if train == 'two folders':
        assert list(discover.open_splits(config(tmp_path, **way_out))) == ['train']
    resumed = said(tmp_path, capsys, Known(exists=True))
    assert resumed.startswith(f'warning: {folder}: ') and '\n' not in resumed
    assert resumed.endswith('; each file is taken as A|B side by side')


def test_the_ways_out_of_a_split_that_train_is_not_like_help(tmp_path, capsys):
    write(tmp_path / 'train', beside(SIDE_BY_SIDE))
    for name, images in zip('AB', zip(*SIDE_BY_SIDE[:3])):
        write(tmp_path / 'test' / name, images)
    assert said(tmp_path, capsys) == ''
    assert len(discover.open_splits(config(tmp_path))['test']) == 3


def test_a_folder_that_a_run_measures_is_warned_of(tmp_path, capsys):
    write(tmp_path / 'test', IMAGES)
    splits = open_run_splits(tmp_path / 'run', config(tmp_path), 'test', dataset=str(tmp_path))
    assert list(splits) == ['test']
    text = capsys.readouterr().out
    assert f'warning: {tmp_path}/test: ' in text and 'each file is taken as A|B' in text


def test_whole_scenes_beside_crops_are_not_refused_for_their_proportions_alone(tmp_path, capsys):
    """A|B of 100x200 each are square files, as the crops of train are images."""
    white = np.full((64, 64, 3), 255, np.uint8)
    write(tmp_path / 'train', beside([(white, white)] * 6))
    write(tmp_path / 'test', [np.full((200, 200, 3), 255, np.uint8)] * 4)
    text = said(tmp_path, capsys)
    assert text.startswith(
        f'warning: {tmp_path}/test: files of 200x200 pixels have the proportions'
    )


def test_few_files_of_the_size_of_pairs_are_not_refused(tmp_path, capsys):
    """Two that run on across the middle by chance are enough where nothing else is known."""
    write(tmp_path / 'train', beside(SIDE_BY_SIDE))
    wide = [np.asarray(Image.fromarray(image).resize((128, 48))) for image in IMAGES[:2]]
    write(tmp_path / 'test', wide)
    text = said(tmp_path, capsys)
    assert text.startswith(f'warning: {tmp_path}/test: 2 of the 2 files') and 'refused' not in text


@pytest.mark.parametrize('size', [(48, 64), (64, 48), (100, 62), (24, 32)])
@pytest.mark.parametrize('make', [photo, lambda *_: np.full((48, 64, 3), 200, np.uint8)])
def test_pairs_of_other_sizes_than_those_of_train_pass(tmp_path, capsys, make, size):
    """Portraits beside landscapes, and smaller ones; few of them, and nothing at the middle."""
    write(tmp_path / 'train', beside(SIDE_BY_SIDE))
    scaled = [np.asarray(Image.fromarray(make(i, 48, 64)).resize(size)) for i in range(3)]
    write(tmp_path / 'test', beside((image, gray(image)) for image in scaled))
    text = said(tmp_path, capsys)
    assert 'refused' not in text
    assert text == '' or size[0] < size[1] * 0.7  # narrow halves without any texture


def test_one_warning_is_enough_for_all_splits(tmp_path, capsys, drawings):
    for split in ('train', 'val', 'test'):
        write(tmp_path / split, [np.full((64, 64, 3), 200, np.uint8)] * 4)
    text = said(tmp_path, capsys)
    assert text.startswith(f'warning: {tmp_path}/train: files of 64x64 pixels give halves of 32x64')
    assert text.count('warning: ') == 1


def test_names_of_files_beside_a_split_that_is_as_train_is_say_nothing(tmp_path, capsys):
    """As predictions of an earlier run of the test set alone, of drawings."""
    white = np.full((64, 64, 3), 255, np.uint8)
    write(tmp_path / 'train', beside([(white, white)] * 6), 't{}.png')
    write(tmp_path / 'test', beside([(white, white)] * 6))
    write(tmp_path / 'predictions', [white] * 6)
    assert said(tmp_path, capsys) == ''


# ---------------------------------------------------------------- what is said and not so


@pytest.mark.parametrize('names', ['AB', 'ab'])
def test_a_and_b_that_are_said_to_be_side_by_side_are_warned_of(tmp_path, capsys, names):
    for name, images in zip(names, zip(*SIDE_BY_SIDE)):
        write(tmp_path / 'train' / name, images)
    write(tmp_path / 'test' / names[0], IMAGES[:3])
    fields = {'dataset.layout': 'side_by_side'}
    a, b = names
    assert said(tmp_path, capsys, **fields) == (
        f'warning: {tmp_path}/train: {a}/ and {b}/ hold files of equal names, and each file is cut '
        'into A and B, as config.dataset.layout=side_by_side says; two_folders takes them as pairs'
    )
    assert said(tmp_path, capsys, Known(exists=True), **fields) == ''
    films = tmp_path / 'films'
    for name in names:
        write(films / 'train' / name, beside(SIDE_BY_SIDE))
    assert said(films, capsys, **fields) == ''
    assert 'warning' not in said(tmp_path, capsys, **fields | {
        'dataset.task': 'gray_to_color', 'generator.input_channels': 1})  # fmt: skip


def test_images_beside_a_and_b_are_not_left_out_in_silence(tmp_path, capsys):
    for name, images in zip('AB', zip(*SIDE_BY_SIDE)):
        write(tmp_path / 'train' / name, images)
    (tmp_path / 'train' / '._0.png').write_bytes(b'of a Mac')
    assert said(tmp_path, capsys) == ''
    write(tmp_path / 'train', beside(SIDE_BY_SIDE[:5]))
    folder = tmp_path / 'train'
    assert said(tmp_path, capsys) == (
        f'warning: 5 images in {folder} itself are left out: the pairs are those of {folder}/A + '
        f'{folder}/B; for A|B in each file take A and B away from there'
    )
    assert said(tmp_path, capsys, Known(exists=True)) == ''
    assert said(tmp_path, capsys, **{'dataset.layout': 'two_folders'}) == ''
