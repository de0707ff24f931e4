"""scripts/pretrained.py with recorded networks, from a server in this process."""

import hashlib
import importlib
import shlex
import sys

import jax
import numpy as np
import pytest
from helpers import ROOT
from helpers.file_server import serving
from helpers.pth_files import state_dict_file
from helpers.reference import Recording
from helpers.runs import make_pairs
from PIL import Image

from pix2pix_jax.config import Config
from pix2pix_jax.data import label_colors
from pix2pix_jax.errors import run_command
from pix2pix_jax.inference.generator import Generator
from pix2pix_jax.inference.loaded_run import load_run
from pix2pix_jax.interop.torch import convert
from pix2pix_jax.storage import downloads
from pix2pix_jax.web import drawing
from pix2pix_jax.workdir.config_json import load_config

NAMES = ('edges2shoes', 'sat2map', 'map2sat', 'facades_label2photo', 'day2night')
UNET = 'pytorch_unet128_patch70_lsgan_b2'


@pytest.fixture(scope='module')
def weights():
    """The file of a recorded U-Net, as torch writes it."""
    tensors = Recording(UNET).state_dict('GN')
    return state_dict_file({k: np.array(v, np.float32, order='C') for k, v in tensors.items()})


@pytest.fixture
def script(monkeypatch, tmp_path):
    """The script in this process, in a folder of its own: returns its exit status."""
    monkeypatch.syspath_prepend(ROOT / 'scripts')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module('pretrained')

    def script(*words):
        names = [word for word in words if not word.startswith('--')]
        argv = ['pretrained', *(word for word in words if word.startswith('--'))]
        monkeypatch.setattr(sys, 'argv', argv)
        with pytest.raises(SystemExit) as stopped:
            run_command(lambda values: module.main(names, values), module.define_flags, argv)
        return stopped.value.code

    script.module = module
    return script


@pytest.fixture
def server(monkeypatch, script, weights):
    """A server of the file, whose every answer breaks off after a third of it."""
    with serving(weights, monkeypatch) as server:
        monkeypatch.setattr(script.module, 'URL', f'{server.url}/breaks_off/{{}}.pth')
        yield server


def test_from_the_server_to_a_translated_picture(script, server, weights, tmp_path, capsys):
    make_pairs(tmp_path / 'pairs', {'test': 1}, size=128)
    assert script('facades_label2photo') == 0
    printed, path = capsys.readouterr().out, '/breaks_off/facades_label2photo.pth'
    ranges = [given for _, given in server.requests]
    assert {path} == {requested for requested, _ in server.requests} and len(ranges) >= 3
    assert ranges[0] is None and all(given.startswith('bytes=') for given in ranges[1:])
    cache = tmp_path / 'cache/pix2pix_jax/pretrained'
    assert (cache / 'facades_label2photo.pth').read_bytes() == weights
    assert (
        f'SHA-256 {hashlib.sha256(weights).hexdigest()}, kept to compare with later downloads'
        in printed
    )
    assert 'no licence is published with these weights' in printed
    assert 'U-Net of 7 halvings, width 2, batch norm' in printed

    # The command that it prints.
    translate, demo = printed.splitlines()[-2:]
    assert demo == 'python -m pix2pix_jax.demo --workdir=runs/facades_label2photo'
    _, _, module, *words = shlex.split(translate)
    image = drawing.blank((128, 128), label_colors.FACADES.colours['window'])
    Image.fromarray(image).save(tmp_path / 'drawn.png')
    words = [word.replace('--input=DIR', '--input=drawn.png') for word in words]
    command = importlib.import_module(module)
    with pytest.raises(SystemExit) as stopped:
        words = [module, *words[:-1], '--output=out']
        run_command(command.main, command.define_flags, words)
    assert stopped.value.code == 0

    # As that implementation translates without --eval: norms of the image, with dropout.
    (tmp_path / 'net.pth').write_bytes(weights)
    network = convert.read_generator(tmp_path / 'net.pth')
    state = convert.imported_state(convert.imported_config(network), network)
    run = load_run('runs/facades_label2photo')
    jax.tree.map(np.testing.assert_array_equal, run.variables, state.generator.variables)
    assert (run.config.test.norm, run.config.test.dropout) == ('image', True)
    generate = Generator(run.config, run.variables, norm='image', dropout=True)
    wanted = generate(image[None].astype(np.float32) / 127.5 - 1)[0]
    found = np.asarray(Image.open('out/drawn.png')) / 127.5 - 1
    assert np.abs(found - wanted).max() <= 0.5 / 127.5 + 1e-5


def test_a_second_run_downloads_nothing(script, server, capsys):
    assert script('sat2map') == 0
    answered = len(server.requests)
    assert script('sat2map', '--workdir=again') == 0
    assert len(server.requests) == answered
    assert ', as at the first download' in capsys.readouterr().out
    assert (load_config('again').dataset.name, load_config('again').dataset.direction) == (
        'maps', 'AtoB',
    )  # fmt: skip


def test_another_file_than_the_first_is_refused(script, server, weights, tmp_path, capsys):
    assert script('map2sat') == 0
    cache = tmp_path / 'cache/pix2pix_jax/pretrained'
    first = (cache / 'map2sat.sha256').read_text()
    (cache / 'map2sat.pth').unlink()
    server.content = weights[:-1] + b'\1'
    capsys.readouterr()
    assert script('map2sat', '--workdir=again') == 1
    said = capsys.readouterr().err
    assert 'another file: its SHA-256 is' in said and said.count('\n') == 1
    assert not (tmp_path / 'again').exists()
    assert (cache / 'map2sat.sha256').read_text() == first
    server.content = weights
    assert script('map2sat', '--workdir=again') == 0


def test_a_file_that_was_damaged_since_is_downloaded_again(script, server, weights, tmp_path):
    assert script('map2sat') == 0
    path = tmp_path / 'cache/pix2pix_jax/pretrained/map2sat.pth'
    path.write_bytes(weights[: len(weights) // 2])
    assert script('map2sat', '--workdir=again') == 0
    assert path.read_bytes() == weights


def test_a_page_in_place_of_the_file_is_not_kept(script, server, weights, tmp_path, capsys):
    server.content = b'<html>please log in</html>' * 9
    assert script('map2sat') == 1
    said = capsys.readouterr().err
    assert 'map2sat.pth: damaged' in said and said.count('\n') == 1
    assert not (tmp_path / 'runs').exists()
    server.content = weights
    assert script('map2sat') == 0


def test_what_came_of_a_download_that_stopped_is_resumed(script, server, weights, tmp_path):
    path = tmp_path / 'cache/pix2pix_jax/pretrained/day2night.pth'
    path.parent.mkdir(parents=True)
    part = downloads.part_of(path, script.module.URL.format('day2night'))
    part.write_bytes(weights[:1000])
    assert script('day2night') == 0
    assert server.requests[0][1] == 'bytes=1000-' and path.read_bytes() == weights


def test_without_network_there_is_a_line(script, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(script.module, 'URL', 'http://127.0.0.1:1/{}.pth')
    assert script('edges2shoes') == 1
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and '--from=FILE takes a file that you have' in said
    assert not (tmp_path / 'runs').exists()


@pytest.mark.parametrize('name', NAMES)
def test_the_settings_of_each_and_its_colours(script, weights, tmp_path, name):
    (tmp_path / 'net.pth').write_bytes(weights)
    assert script(name, '--from=net.pth', f'--workdir={tmp_path}/{name}') == 0
    config = load_config(tmp_path / name)
    own = importlib.import_module('pix2pix_jax.main').load_config
    file = {'sat2map': 'maps', 'map2sat': 'maps', 'facades_label2photo': 'facades'}.get(name, name)
    paper: Config = own(ROOT / 'configs' / f'{file}.py', '')
    assert config.dataset.name == paper.dataset.name and config.dataset.path == ''
    direction = 'BtoA' if name == 'map2sat' else paper.dataset.direction
    assert config.dataset.direction == direction
    assert config.loss.gan == 'none' and config.generator.norm == 'batch'
    colours = drawing.palette(config, [])
    if name == 'facades_label2photo':
        assert colours == list(label_colors.FACADES.colours.items())
    elif name == 'edges2shoes':
        assert colours == [drawing.WHITE, drawing.BLACK]
    else:  # the page lets any be chosen
        assert colours == [('', (255,) * 3), ('', (0,) * 3)]


def test_the_list_and_the_published_addresses(script, capsys):
    assert script('--list') == 0
    assert tuple(line.split()[0] for line in capsys.readouterr().out.splitlines()) == NAMES
    assert script.module.URL.format('sat2map') == (
        'http://efrosgans.eecs.berkeley.edu/pix2pix/models-pytorch/sat2map.pth'
    )


@pytest.mark.parametrize('words, message', [
    ((), 'nothing has no published weights'), (('x',), 'allowed is one of edges2shoes, sat2map'),
    (('sat2map', 'map2sat'), 'sat2map map2sat has no'),
    (('sat2map', '--from=none.pth'), 'none.pth: No such file'),
    (('sat2map', '--workdir=taken'), 'holds files: allowed is a new or empty folder'),
])  # fmt: skip
def test_a_wrong_command_is_one_line(script, tmp_path, capsys, words, message):
    (tmp_path / 'taken').mkdir()
    (tmp_path / 'taken/mine.txt').write_text('mine')
    assert script(*words) in (1, 2)
    said = capsys.readouterr().err
    assert message in said and said.count('\n') == 1
