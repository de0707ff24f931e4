"""scripts/import_pytorch.py as a user runs it, and what the commands make of its run."""

import importlib
import json
import pathlib
import pickle
import shlex
import subprocess
import sys

import numpy as np
import pytest
from helpers import ROOT
from helpers.reference import Recording
from helpers.runs import make_pairs
from PIL import Image

from pix2pix_jax import main
from pix2pix_jax.config import default_config, flatten
from pix2pix_jax.errors import run_command
from pix2pix_jax.inference import generator, loaded_run
from pix2pix_jax.interop.torch import convert
from pix2pix_jax.interop.torch.state_dict_files import read_state_dict, write_state_dict
from pix2pix_jax.workdir import config_json

SCRIPTS = ROOT / 'scripts'
RESNET, UNET = 'pytorch_resnet6_pixel_instance', 'pytorch_unet128_patch70_lsgan_b2'


def run(*words, cwd):
    """A command as a user gives it; it must succeed."""
    command = [sys.executable, *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """The recorded networks as files, and pairs."""
    folder = tmp_path_factory.mktemp('files')
    for name in (RESNET, UNET):
        recording = Recording(name)
        for net in 'GD':
            tensors = recording.state_dict(f'{net}N')
            write_state_dict(folder / f'{name}_{net}.safetensors', tensors)
            np.savez(folder / f'{name}_{net}.npz', **tensors)
    make_pairs(folder / 'pairs', {'train': 2, 'test': 2}, size=64)
    return folder


@pytest.fixture
def script(monkeypatch):
    """The script in this process: returns the exit status of it with these flags."""
    monkeypatch.syspath_prepend(SCRIPTS)
    module = importlib.import_module('import_pytorch')

    def script(*words):
        with pytest.raises(SystemExit) as stopped:
            run_command(module.main, module.define_flags, ['import_pytorch', *words])
        return stopped.value.code

    return script


@pytest.mark.e2e
@pytest.mark.slow
def test_imported_networks_translate_evaluate_and_start_a_run(folder, tmp_path):
    words = [f'--generator={RESNET}_G.safetensors', f'--discriminator={RESNET}_D.npz']
    words += ['--gan=lsgan', '--image_size=64', '--dataset=pairs', '--direction=BtoA']
    workdir = tmp_path / 'run'
    printed = run(SCRIPTS / 'import_pytorch.py', *words, f'--workdir={workdir}', cwd=folder)
    assert 'ResNet of 6 blocks, width 4, instance norm, channels 3 to 3; 31,939 param' in printed
    assert 'PixelGAN, width 8, instance norm; 217 parameters' in printed
    assert 'images of 64x64 pixels, no dropout, loss.gan lsgan' in printed
    record = json.loads((workdir / 'run.json').read_text())
    assert record['command'].startswith('python scripts/import_pytorch.py --generator=')

    # Of another folder: what the config says of the pairs does not depend on the first one.
    images = f'--input={folder}/pairs/test'
    module = ('-m', 'pix2pix_jax.translate', f'--workdir={workdir}')
    run(*module, images, f'--output={tmp_path}/out', '--fit=pad', cwd=tmp_path)
    loaded = loaded_run.load_run(workdir)
    assert (loaded.step, loaded.config.dataset.direction) == (0, 'BtoA')
    with Image.open(folder / 'pairs/test/0.png') as file:  # 128x64, which the network takes
        image = np.asarray(file)
    x = image[None].astype(np.float32) / 127.5 - 1
    wanted = generator.Generator(loaded.config, loaded.variables)(x)[0]
    with Image.open(tmp_path / 'out/0.png') as file:
        assert np.abs(np.asarray(file) / 127.5 - 1 - wanted).max() < 0.03

    run('-m', 'pix2pix_jax.evaluate', f'--workdir={workdir}', '--metrics=', cwd=tmp_path)
    result = json.loads((workdir / 'evaluation/test/metrics.json').read_text())
    assert (result['images'], result['step']) == (2, 0) and 0 < result['metrics']['l1']['mean'] < 2

    _, *words = shlex.split(printed.splitlines()[-1])  # the command that it prints
    assert f'--config.init_from={workdir}' in words
    words += ['--config.num_steps=1', '--config.optimizer.learning_rate=0.0', '--workdir=new']
    run(*words, '--config.dataset.val_fraction=0.0', cwd=tmp_path)
    _, _, old = loaded_run.load_state(workdir, 'last')
    config, step, new = loaded_run.load_state(tmp_path / 'new', 'last')
    assert step == 1 and config.loss.gan == 'lsgan'
    for network in ('generator', 'discriminator'):  # a rate of 0 keeps them
        for module, leaves in getattr(old, network).params.items():
            for leaf, value in leaves.items():
                there = getattr(new, network).params[module][leaf]
                np.testing.assert_array_equal(value, there, err_msg=f'{module}/{leaf}')


def test_a_generator_alone_is_a_run_without_a_discriminator(folder, tmp_path, script, capsys):
    workdir = tmp_path / 'run'
    assert script(f'--generator={folder}/{UNET}_G.npz', f'--workdir={workdir}') == 0
    printed = capsys.readouterr().out
    assert 'U-Net of 7 halvings, width 2, batch norm, channels 3 to 3; 41,367 param' in printed
    assert (
        'images of 128x128 pixels, dropout 0.5 in decoder blocks 2 to 3, loss.gan none' in printed
    )
    config, _, state = loaded_run.load_state(workdir, 'last')
    assert state.discriminator is None and config.dataset.path == ''
    convert.write_generator(loaded_run.load_run(workdir), tmp_path / 'back.safetensors')
    back, wanted = (
        read_state_dict(path)
        for path in (tmp_path / 'back.safetensors', folder / f'{UNET}_G.safetensors')
    )
    counts = {name for name in back if name.endswith('num_batches_tracked')}  # not recorded
    assert set(back) - counts == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_array_equal(back[name], value)

    # Its pairs may be named later.
    evaluate = importlib.import_module('pix2pix_jax.evaluate')
    for words, status in (((), 2), ((f'--dataset={folder}/pairs',), 0)):
        with pytest.raises(SystemExit) as stopped:
            command = ['evaluate', f'--workdir={workdir}', '--metrics=', *words]
            run_command(evaluate.main, evaluate.define_flags, command)
        assert stopped.value.code == status
    assert 'names no pairs: --dataset=DIR measures' in capsys.readouterr().err
    assert (workdir / 'evaluation/test_of_pairs/metrics.json').exists()

    # A run is never written over.
    before = {path: path.read_bytes() for path in workdir.rglob('*') if path.is_file()}
    assert script(f'--generator={folder}/{RESNET}_G.npz', f'--workdir={workdir}') == 2
    assert 'holds files: allowed is a new or empty folder' in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in workdir.rglob('*') if path.is_file()}


def test_the_step_is_what_the_norms_have_seen(tmp_path, script):
    tensors = Recording(UNET).state_dict('G0')
    for name, value in tensors.items():
        if name.endswith('num_batches_tracked'):
            tensors[name] = np.full_like(value, 80_000)
    write_state_dict(tmp_path / 'net.safetensors', tensors)
    assert script(f'--generator={tmp_path}/net.safetensors', f'--workdir={tmp_path}/run') == 0
    assert loaded_run.load_run(tmp_path / 'run', '80000').step == 80_000
    convert.write_generator(loaded_run.load_run(tmp_path / 'run'), tmp_path / 'back.safetensors')
    back = read_state_dict(tmp_path / 'back.safetensors')
    assert set(back) == set(tensors)
    for name, value in tensors.items():
        np.testing.assert_array_equal(back[name], value)


def test_wgan_gp_has_no_penalty_as_there(folder, tmp_path, script, capsys):
    """So D may have batch norm."""
    files = [f'{folder}/{UNET}_{net}.safetensors' for net in 'GD']
    networks = (f'--generator={files[0]}', f'--discriminator={files[1]}')
    assert script(*networks, '--gan=wgan-gp', f'--workdir={tmp_path}/run') == 0
    config = config_json.load_config(tmp_path / 'run')
    assert (config.discriminator.norm, config.loss.gp_weight) == ('batch', 0)
    words = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert {'--config.loss.gan=wgan-gp', '--config.loss.gp_weight=0.0'} <= set(words)


def test_the_command_of_a_new_run_says_what_differs_from_the_defaults(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    module, config = importlib.import_module('import_pytorch'), default_config()
    start = 'python -m pix2pix_jax.main --config=configs/folder.py --config.init_from=runs/a'
    config.loss.gan = 'none'
    assert module.command_of_a_new_run('runs/a', config) == f'{start} --config.image_size=256,256'
    config.image_size, config.generator.norm = (128, 64), 'none'
    assert module.command_of_a_new_run('runs/a', config) == (
        f'{start} --config.generator.norm=none --config.image_size=128,64'
    )


def test_the_command_of_a_new_run_makes_the_same_networks_and_images(monkeypatch):
    """Whatever its pairs are: configs/folder.py finds in them what the command does not say."""
    monkeypatch.syspath_prepend(SCRIPTS)
    module, config = importlib.import_module('import_pytorch'), default_config()
    config.dataset.direction, config.generator.width = 'BtoA', 8
    argv = shlex.split(module.command_of_a_new_run('runs/a', config))[2:]
    main.check_argv(argv)
    monkeypatch.setattr(sys, 'argv', argv)  # where a config's flags look
    values = main.define_flags()
    values(argv)
    given, new = flatten(config), flatten(values.config)
    unlike = {name for name in given if given[name] != new[name]}
    assert unlike == {'init_from', 'dataset.val_fraction'}


@pytest.fixture(scope='module')
def bad(folder):
    """Files that are no networks of these."""
    whole = (folder / f'{UNET}_G.safetensors').read_bytes()
    (folder / 'cut.safetensors').write_bytes(whole[:-9])
    (folder / 'planted.pth').write_bytes(pickle.dumps({'a': pathlib.PurePosixPath('x')}, 2))
    foreign = {'conv1.weight': np.ones((4, 3, 7, 7), np.float32)}
    write_state_dict(folder / 'foreign.safetensors', foreign)
    return folder


@pytest.mark.parametrize('words, status, message', [
    ((), 2, '--generator is missing: --generator and --workdir are needed'),
    (('--generator=G',), 2, '--workdir is missing'),
    (('--generator=none.npz',), 1, 'none.npz: No such file'),
    (('--generator=G.bin',), 2, r'G.bin: allowed are files that end in .pth, .pt, .safetensors'),
    (('--generator=cut.safetensors',), 1, 'cut.safetensors: damaged, or no .safetensors file'),
    (('--generator=planted.pth',), 1, "planted.pth: "),
    (('--generator=foreign.safetensors',), 1, "foreign.safetensors: no generator: 'conv1.weight'"),
    (('--generator=D',), 1, 'it looks like a discriminator: give it as --discriminator'),
    (('--generator=G', '--discriminator=G'), 1, 'it looks like a generator: give it as'),
    (('--generator=G', '--discriminator=none.npz'), 1, 'none.npz: No such file'),
    (('--generator=G', '--gan=lsgan'), 2, '--gan is the loss of a discriminator: give'),
    (('--generator=G', '--gan=none'), 2, 'gan'),
    (('--generator=G', '--image_size=a'), 2, '--image_size=a: allowed is SIZE or HEIGHT,WIDTH'),
    (('--generator=G', '--image_size=1,2,3'), 2, '--image_size=1,2,3: allowed is'),
    (('--generator=G', '--image_size=100'), 2, 'both sides must be multiples of 128'),
    (('--generator=G', '--direction=left'), 2, 'direction'),
    (('--generator=G', '--workdir={0}/pairs'), 2, 'holds files: allowed is a new or empty'),
    (('--generator=G', '--workdir={0}/foreign.safetensors'), 2, 'is a file: allowed is'),
    (('nope',), 2, "unexpected argument 'nope'"),
])  # fmt: skip
def test_mistakes_are_one_line(bad, tmp_path, script, capsys, monkeypatch, words, status, message):
    monkeypatch.chdir(bad)
    names = {'=G': f'={UNET}_G.safetensors', '=D': f'={UNET}_D.safetensors'}
    words = [word[:-2] + names.get(word[-2:], word[-2:]) for word in words]
    if words and words != [f'--generator={UNET}_G.safetensors']:
        words = [f'--workdir={tmp_path}/run', *words]
    assert script(*(word.format(bad) for word in words)) == status
    error = capsys.readouterr().err
    assert message in error and error.startswith('error: ') and error.count('\n') == 1
    assert not (tmp_path / 'run').exists()
