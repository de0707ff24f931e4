import html
import re
from urllib.parse import unquote

import jax
import numpy as np
import pytest
from etils import epath
from helpers.pictures import photo
from PIL import Image

from pix2pix_jax import config, translate
from pix2pix_jax.data.folders import pair_files
from pix2pix_jax.data.formats import decode, encode
from pix2pix_jax.errors import DataError, run_command
from pix2pix_jax.inference import generator, loaded_run
from pix2pix_jax.reports import translation_page
from pix2pix_jax.storage import atomic

SIZE = 16


def write_image(path, value, size=(SIZE, SIZE)):
    image = np.random.default_rng(value).integers(0, 256, (*size, 3), dtype=np.uint8)
    atomic.write_bytes(path, atomic.encode_png(image))
    return image


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def names(folder):
    """The translations in a folder, without the page and its thumbnails."""
    found = (str(p.relative_to(folder)) for p in folder.rglob('*') if p.is_file())
    return sorted(n for n in found if n != 'index.html' and not n.startswith('gallery/'))


def run(*args):
    """The exit status of the command with these flags."""
    with pytest.raises(SystemExit) as stopped:
        run_command(translate.main, translate.define_flags, ['translate', '--workdir=run', *args])
    return stopped.value.code


@pytest.fixture
def trained():
    """The config of the run."""
    c = config.default_config()
    c.image_size = (SIZE, SIZE)
    return c


@pytest.fixture
def sizes():
    """Gets the (height, width) of all that goes through the network."""
    return []


@pytest.fixture(autouse=True)
def translators(monkeypatch, trained, sizes):
    """A run whose generator negates; returns the switches of each translator made."""
    made = []

    def create(config, variables, **switches):
        made.append(switches)

        def negate(images, sample=0):
            sizes.append(images.shape[1:3])
            assert images.dtype == np.float32 and images.shape[3] == 3
            assert images.shape[1] % SIZE == images.shape[2] % SIZE == 0
            assert len(images) <= switches['batch'] and np.abs(images).max() <= 1
            return -images * (1 if sample == 0 else 0)

        def each(windows, sample, scene):
            assert scene == ('of this many', 1) or switches['norm'] != 'scene'
            return (negate(x[None], sample)[0] for x, _ in windows)

        def scene(windows, sample):
            return 'of this many', len({x.shape for x, _ in windows})

        negate.each, negate.scene = each, scene
        return negate

    monkeypatch.setattr(
        loaded_run, 'load_run', lambda *args: loaded_run.Run(trained, 1, args[1], {})
    )
    monkeypatch.setattr(generator, 'Generator', create)
    return made


@pytest.mark.parametrize('batch', [1, 2, 7])
def test_a_folder_keeps_its_names(tmp_path, batch):
    images = {f'{n}.png': write_image(tmp_path / 'in' / f'{n}.png', i)
              for i, n in enumerate(('a', 'b.c', 'sub/d'))}  # fmt: skip
    (tmp_path / 'in' / 'readme.txt').write_text('not an image')
    assert run(f'--input={tmp_path}/in', f'--output={tmp_path}/out', f'--batch={batch}') == 0
    assert names(tmp_path / 'out') == sorted(images)
    for name, image in images.items():
        np.testing.assert_array_equal(read(tmp_path / 'out' / name), 255 - image)


@pytest.mark.parametrize(
    'flags',
    [
        ['--fit=pad'],
        ['--tile=16'],
        ['--tile=10'],
        ['--tile=16', '--norm=image', '--overlap=5'],
        ['--norm=scene', '--fit=pad'],
    ],
)
@pytest.mark.parametrize('size', [(1, 1), (7, 40), (16, 16), (33, 100)])
def test_any_size_comes_out_as_it_went_in(tmp_path, size, flags):
    image = write_image(tmp_path / 'a.png', 0, size)
    assert run(f'--input={tmp_path}/a.png', f'--output={tmp_path}/out', *flags) == 0
    np.testing.assert_array_equal(read(tmp_path / 'out' / 'a.png'), 255 - image)


def test_resize_there_and_back(tmp_path):
    y, x = np.mgrid[:40, :60]
    image = np.stack([6 * y, 4 * x, 2 * (x + y)], -1).astype(np.uint8)
    atomic.write_bytes(tmp_path / 'a.png', atomic.encode_png(image))
    assert run(f'--input={tmp_path}/a.png', f'--output={tmp_path}/out', '--fit=resize') == 0
    np.testing.assert_allclose(read(tmp_path / 'out' / 'a.png'), 255.0 - image, atol=12)


@pytest.mark.parametrize(
    ('fields', 'flags', 'size', 'expected', 'line'),
    [
        ({}, (), (40, 60), (16, 16), "resized to 16x16 and back, as config.dataset.preprocess='r"),
        ({'preprocess': 'scale_width'}, (), (40, 20), (32, 16), 'scaled to a width of 16'),
        ({'preprocess': 'scale_width_and_crop'}, (), (50, 20), (48, 16), "='scale_width_and_crop'"),
        ({'preprocess': 'scale_width'}, (), (20, 40), (16, 32), 'scaled to a width of 16'),
        ({'preprocess': 'crop'}, (), (20, 40), (32, 48), 'images keep their scale'),
        ({'preprocess': 'none'}, (), (20, 40), (32, 48), "as config.dataset.preprocess='none'"),
        ({'task': 'denoise'}, (), (20, 40), (32, 48), "as config.dataset.task='denoise'"),
        ({'task': 'inpaint'}, (), (20, 40), (16, 16), 'images are resized to 16x16 and back'),
        ({}, ('--tile=16',), (20, 40), (32, 48), 'images keep their scale, with reflected borders'),
        ({}, ('--tile=16', '--norm=image'), (20, 40), (16, 16), 'images keep their scale'),
        ({'preprocess': 'crop'}, ('--fit=resize',), (20, 40), (16, 16), None),
        ({}, ('--fit=pad',), (20, 40), (32, 48), None),
    ],
)
def test_images_are_scaled_as_in_training(
    tmp_path, capsys, trained, sizes, fields, flags, size, expected, line
):
    trained.dataset.update(fields)
    y, x = np.mgrid[0 : 1 : size[0] * 1j, 0 : 1 : size[1] * 1j]
    image = np.rint(255 * np.stack([x, y, (x + y) / 2], -1)).astype(np.uint8)
    atomic.write_bytes(tmp_path / 'a.png', atomic.encode_png(image))
    assert run(f'--input={tmp_path}/a.png', f'--output={tmp_path}/out', *flags) == 0
    assert set(sizes) == {expected}
    found = read(tmp_path / 'out' / 'a.png')
    np.testing.assert_allclose(found, 255.0 - image, atol=16)  # straight to the borders
    printed = [text for text in capsys.readouterr().out.splitlines() if 'fit=auto' in text]
    assert len(printed) == (line is not None) and (not line or line in printed[0])


def test_every_mode_is_taken(tmp_path):
    for i, mode in enumerate(('L', 'RGBA', 'P', '1', 'I;16')):
        path = tmp_path / 'in' / f'{i}.png'
        path.parent.mkdir(exist_ok=True)
        Image.new(mode, (30 + i, 9)).save(path)
    assert run(f'--input={tmp_path}/in', f'--output={tmp_path}/out') == 0
    for i, name in enumerate(names(tmp_path / 'out')):
        assert decode.read_pixels(tmp_path / 'out' / name).values.shape == (9, 30 + i, 3)


@pytest.mark.parametrize(
    'name,dtype', [('a.tif', 'u1'), ('a.tif', 'u2'), ('a.tif', 'f4'), ('a.npy', 'u1'),
                   ('a.npy', 'f4'), ('a.png', 'u1'), ('a.png', 'u2'), ('a.jpg', 'u1'),
                   ('a.jpeg', 'u1'), ('a.webp', 'u1')],
)  # fmt: skip
def test_format_and_depth_stay(tmp_path, name, dtype):
    top = 1 if dtype == 'f4' else np.iinfo(dtype).max
    y, x = np.mgrid[0:1:20j, 0:1:30j]
    image = (np.stack([x, y, (x + y) / 2], -1) * top).astype(dtype)
    atomic.write_bytes(tmp_path / name, encode.encode(image, f'.{name.split(".")[1]}'))
    assert run(f'--input={tmp_path}/{name}', f'--output={tmp_path}/out', '--fit=pad') == 0
    assert names(tmp_path / 'out') == [name]
    found = decode.read_pixels(tmp_path / 'out' / name).values
    assert found.dtype == dtype
    lossy = name.endswith(('.jpg', '.jpeg', '.webp'))
    np.testing.assert_allclose(found, top - image.astype('f4'), atol=top * (0.1 if lossy else 1e-6))


def test_files_and_patterns(tmp_path):
    for name in ('x/a.png', 'x/b.png', 'y/a.png', 'y/[1].png'):
        write_image(tmp_path / name, 0)
    for given, expected in (
        ('x/a.png', ['a.png']),
        ('y/[1].png', ['[1].png']),
        ('x/*.png', ['a.png', 'b.png']),
        ('*/a.png', ['x/a.png', 'y/a.png']),
        ('[x]/**/[ab].png', ['x/a.png', 'x/b.png']),
    ):
        output = tmp_path / 'out' / str(abs(hash(given)))
        assert run(f'--input={tmp_path}/{given}', f'--output={output}') == 0
        assert names(output) == expected


def test_samples(tmp_path):
    image = write_image(tmp_path / 'a.png', 0)
    assert run(f'--input={tmp_path}/a.png', f'--output={tmp_path}/out', '--samples=2') == 0
    assert names(tmp_path / 'out') == ['a_s0.png', 'a_s1.png', 'a_std.png']
    np.testing.assert_array_equal(read(tmp_path / 'out' / 'a_s0.png'), 255 - image)
    assert (read(tmp_path / 'out' / 'a_s1.png') == 128).all()
    half = np.sqrt(np.mean((image / 255.0 - 0.5) ** 2, axis=-1))  # of two: half the difference
    np.testing.assert_allclose(read(tmp_path / 'out' / 'a_std.png') / 255, half, atol=0.003)


def test_switches_reach_the_translator(tmp_path, translators):
    write_image(tmp_path / 'a.png', 0)
    args = (f'--input={tmp_path}/a.png', '--overwrite', f'--output={tmp_path}/out')
    run(*args)
    run(*args, '--nodropout', '--seed=3', '--norm=running', '--batch=4')
    assert translators == [
        {'norm': 'image', 'dropout': None, 'seed': None, 'batch': 1, 'devices': [None]},
        {'norm': 'running', 'dropout': False, 'seed': 3, 'batch': 4, 'devices': [None]},
    ]


def test_a_bad_file_is_named_and_the_others_are_done(tmp_path, capsys):
    for name in ('a', 'c'):
        write_image(tmp_path / 'in' / f'{name}.png', 0)
    whole = (tmp_path / 'in' / 'a.png').read_bytes()
    (tmp_path / 'in' / 'b.jpg').write_bytes(b'nonsense')
    (tmp_path / 'in' / 'd.png').write_bytes(whole[: len(whole) // 2])
    assert run(f'--input={tmp_path}/in', f'--output={tmp_path}/out', '--batch=2') == 1
    assert names(tmp_path / 'out') == ['a.png', 'c.png']
    printed = capsys.readouterr()
    errors = printed.err.splitlines()
    assert len(errors) == 2 and 'b.jpg' in errors[0] and 'd.png' in errors[1]
    assert '2 of 4 images' in printed.out


def test_a_folder_of_pairs_is_translated_with_a_warning(tmp_path, capsys):
    for i in range(3):
        halves = (photo(2 * i + k, SIZE, SIZE) for k in (0, 1))
        pair = np.concatenate([*halves], axis=1).repeat(4, 0).repeat(4, 1)
        atomic.write_bytes(tmp_path / 'in' / f'{i}.png', atomic.encode_png(pair))
        write_image(tmp_path / 'single' / f'{i}.png', i)
    assert run(f'--input={tmp_path}/in', f'--output={tmp_path}/out') == 0
    assert 'warning: the inputs are twice as wide as images of the run' in capsys.readouterr().out
    assert run(f'--input={tmp_path}/single', f'--output={tmp_path}/other') == 0
    assert 'warning' not in capsys.readouterr().out


def test_nothing_of_the_user_is_overwritten(tmp_path, capsys):
    write_image(tmp_path / 'in' / 'a.png', 0)
    atomic.write_text(tmp_path / 'out' / 'notes.txt', 'mine')
    atomic.write_text(tmp_path / 'file', 'mine')
    before = {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}
    for given, output in (
        ('in', 'out'),
        ('in', 'file'),
        ('in', 'in --overwrite'),
        ('in', 'in/out --overwrite'),
        ('in/a.png', 'in --overwrite'),
        ('in/*.png', 'in --overwrite'),
        ('*/a.png', '. --overwrite'),
        ('**/a.png', '. --overwrite'),
    ):
        assert run(f'--input={tmp_path}/{given}', *f'--output={tmp_path}/{output}'.split()) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert before == {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}
    assert run(f'--input={tmp_path}/in', f'--output={tmp_path}/out', '--overwrite') == 0
    assert names(tmp_path / 'out') == ['a.png', 'notes.txt']


def test_what_was_written_is_images_again(tmp_path):
    """The thumbnails of the page are none: evaluate pairs the outputs, and translate takes them."""
    for i, name in enumerate(('a', 'sub/b')):
        write_image(tmp_path / 'in' / f'{name}.png', i)
    assert run(f'--input={tmp_path}/in', f'--output={tmp_path}/out') == 0
    assert list((tmp_path / 'out' / 'gallery').rglob('*.jpg'))
    folders = epath.Path(tmp_path / 'in'), epath.Path(tmp_path / 'out')
    assert list(pair_files(folders)) == ['a', 'sub/b']
    (tmp_path / 'out' / 'index.html').write_text('of another gallery')
    with pytest.raises(DataError, match='unpaired names: 0 only in'):
        pair_files(folders)


def test_running_out_of_memory_is_one_line(tmp_path, monkeypatch, capsys):
    def create(*args, **switches):
        def fails(images, sample=0):
            raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory')

        return fails

    monkeypatch.setattr(generator, 'Generator', create)
    write_image(tmp_path / 'in' / 'a.png', 1)
    assert run(f'--input={tmp_path}/in', f'--output={tmp_path}/out') == 1
    error = capsys.readouterr().err
    assert error.startswith('error: out of memory: a translation does not fit; allowed are --tile=')
    assert error.count('\n') == 1


def test_the_page_shows_all_and_leads_to_the_files(tmp_path):
    for name in ('a b.png', 'sub/é&".png'):
        write_image(tmp_path / 'in' / name, 0, (400, 900))
    assert run(f'--input={tmp_path}/in', f'--output={tmp_path}/out', '--samples=2') == 0
    page = tmp_path / 'out' / 'index.html'
    links = re.findall(r'(?:href|src)="([^"]*)"', page.read_text())
    assert len(links) == 2 * 2 * 4
    for link in links:
        file = page.parent / unquote(html.unescape(link))
        assert file.is_file(), file
        if 'gallery' in link:
            assert max(decode.size_of(file)) == translation_page.SIDE


@pytest.mark.parametrize(
    'args, status, message',
    [
        ((), 2, '--input is missing'),
        (('--input=a', '--split=test', '--output=b'), 2, '--input and --split exclude'),
        (('--input={0}/no.png', '--output={0}/o'), 2, 'does not exist'),
        (('--input={0}/*.no', '--output={0}/o'), 2, 'matches no image'),
        (('--input={0}/same', '--output={0}/o'), 1, 'same name'),
        (('--input={0}/same/*', '--output={0}/o'), 1, 'same name'),
        (('--input={0}/empty', '--output={0}/o'), 1, 'no images'),
        (('--input={0}/same/a.png', '--output={0}/o', '--samples=0'), 2, 'samples'),
        (('--input={0}/same/a.png', '--output={0}/o', '--norm=none'), 2, 'norm'),
        (('--input={0}/same/a.png', '--output={0}/o', '--tile=-2'), 2, '--tile=-2: allowed are 0'),
        (('--input={0}/same/a.png', '--output={0}/o', '--memory=2'), 2, 'goes with --tile=-1'),
        (
            ('--input={0}/same/a.png', '--output={0}/o', '--tile=-1', '--memory=-2'),
            2,
            'above 0',
        ),
        (
            ('--input={0}/same/a.png', '--output={0}/o', '--tile=16', '--overlap=64'),
            2,
            '--overlap=64: nothing is blended where tiles equal the whole, as with --norm=scene',
        ),
        (
            (
                '--input={0}/same/a.png',
                '--output={0}/o',
                '--tile=9',
                '--norm=image',
                '--overlap=16',
            ),
            2,
            '--overlap=16: allowed is 0 to 15',
        ),
        (('--input={0}/same/a.png', '--output={0}/o', '--overlap=6'), 2, 'goes with --tile'),
        (
            ('--input={0}/same/a.png', '--output={0}/o', '--samples=2', '--nodropout'),
            2,
            '--samples=2: allowed is 1 without dropout',
        ),
        (
            ('--input={0}/same/a.png', '--output={0}/o', '--tile=16', '--fit=resize'),
            2,
            '--fit=resize: with --tile, which keeps sizes, allowed are auto | pad',
        ),
        (('--input={0}/same/a.png', '--output={0}/o', '--fit=crop'), 2, 'fit'),
        (('--input={0}/empty,{0}/same/a.png', '--output={0}/o'), 1, 'no images'),
        (('--input={0}/one,{0}/other', '--output={0}/o'), 1, '2 names are not in both'),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, args, status, message):
    for name in ('a.png', 'a.jpg'):
        write_image(tmp_path / 'same' / name, 0)
    (tmp_path / 'empty').mkdir()
    write_image(tmp_path / 'one' / '1.png', 0)
    write_image(tmp_path / 'other' / '2.png', 0)
    assert run(*(arg.format(tmp_path) for arg in args)) == status
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
    assert not (tmp_path / 'o').exists()


def test_checkpoint_and_weights_are_those_that_are_asked_for(tmp_path, monkeypatch):
    asked, load = [], loaded_run.load_run
    monkeypatch.setattr(loaded_run, 'load_run', lambda *args: asked.append(args) or load(*args))
    write_image(tmp_path / 'a.png', 0)
    args = (f'--input={tmp_path}/a.png', f'--output={tmp_path}/out', '--overwrite')
    assert run(*args) == run(*args, '--checkpoint=best', '--noema') == 0
    assert asked == [('run', '', True), ('run', 'best', False)]
