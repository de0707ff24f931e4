"""scripts/pack_run.py, and what the commands make of its zip."""

import getpass
import importlib
import json
import os
import pathlib
import shutil
import socket
import sys
import zipfile

import jax
import numpy as np
import pytest
import yaml
from helpers import OLD_RUN, ROOT
from helpers.runs import changed, make_pairs, tiny_config, untrained_run
from PIL import Image

from pix2pix_jax.data import discover
from pix2pix_jax.errors import UserError, run_command
from pix2pix_jax.evaluation.metric_titles import title
from pix2pix_jax.inference import run_splits
from pix2pix_jax.inference.loaded_run import load_run, load_state
from pix2pix_jax.interop import model_card, packing
from pix2pix_jax.reports import licences
from pix2pix_jax.reports.run_page import format_number
from pix2pix_jax.train import train_and_evaluate
from pix2pix_jax.web import page as web_page
from pix2pix_jax.web import server as web_server
from pix2pix_jax.workdir import data_json, packed, palette_json, run_json

SECRET = 'alice-secret'  # in all paths


def command(name, *words):
    """The exit status of a command in this process."""
    module = importlib.import_module(f'pix2pix_jax.{name}')
    check = getattr(module, 'check_argv', None)
    with pytest.raises(SystemExit) as stopped:
        run_command(module.main, module.define_flags, [name, *words], check)
    return stopped.value.code


@pytest.fixture
def pack(monkeypatch):
    """The script in this process: returns its exit status."""
    monkeypatch.syspath_prepend(ROOT / 'scripts')
    module = importlib.import_module('pack_run')

    def pack(*words):
        names = [str(word) for word in words if not str(word).startswith('--')]
        argv = ['pack_run', *(word for word in map(str, words) if word.startswith('--'))]
        with pytest.raises(SystemExit) as stopped:
            run_command(lambda values: module.main(names, values), module.define_flags, argv)
        return stopped.value.code

    return pack


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The folder of a run of four steps, which was evaluated, and of its pairs."""
    folder = tmp_path_factory.mktemp(SECRET)
    pairs = make_pairs(folder / 'pairs', {'train': 4, 'val': 1, 'test': 2})
    config = tiny_config(pairs, num_steps=4, ema_decay=0.9, checkpoint__every_steps=2)
    train_and_evaluate(config, folder / 'run', f'python -m pix2pix_jax.main --workdir={folder}')
    return folder


@pytest.fixture(scope='module')
def zips(trained, tmp_path_factory):
    """The run packed in both types, and its best checkpoint; in a folder of their own."""
    folder = tmp_path_factory.mktemp('zips')
    for name, choices in {
        'float32': packing.Choices(),
        'float16': packing.Choices(dtype='float16'),
        'best': packing.Choices('best'),
    }.items():
        packing.pack_run(trained / 'run', folder / f'{name}.zip', choices)
    return folder


def listing(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob('*'))}


# ---------------------------------------------------------------- the commands


def test_translate_gives_what_the_run_gives(trained, zips, tmp_path):
    images = {}
    before = listing(zips)
    for name in ('run', 'float32', 'float16'):
        workdir = trained / 'run' if name == 'run' else zips / f'{name}.zip'
        words = (f'--input={trained}/pairs/test', f'--output={tmp_path}/{name}')
        assert command('translate', f'--workdir={workdir}', *words) == 0
        images[name] = [
            np.asarray(Image.open(tmp_path / name / f'{i}.png')).astype(int) for i in range(2)
        ]
    np.testing.assert_array_equal(images['float32'], images['run'])
    distance = np.abs(np.array(images['float16']) - images['run'])
    assert 0 < distance.max() <= 2
    assert listing(zips) == before


def test_evaluate_needs_a_folder_for_its_report(trained, zips, tmp_path, capsys):
    before, words = listing(zips), (f'--workdir={zips}/float32.zip', '--metrics=')
    dataset = f'--dataset={trained}/pairs'
    assert command('evaluate', *words, dataset) == 2
    assert '--output is missing: nothing is written into' in capsys.readouterr().err
    assert command('evaluate', *words, f'--output={tmp_path}/a') == 2
    assert 'names no pairs: --dataset=DIR' in capsys.readouterr().err
    assert command('evaluate', *words, dataset, f'--output={tmp_path}/a') == 0
    found = json.loads((tmp_path / 'a/metrics.json').read_text())
    wanted = json.loads((trained / 'run/evaluation/test/metrics.json').read_text())
    for name, summary in wanted['metrics'].items():
        assert found['metrics'][name]['mean'] == pytest.approx(summary['mean'], rel=1e-6), name
    assert (found['step'], found['checkpoint']) == (4, 'last')
    every = (dataset, '--checkpoint=all', f'--output={tmp_path}/b')
    assert command('evaluate', *words, *every) == 0
    table = json.loads((tmp_path / 'b/checkpoints.json').read_text())
    assert [row['step'] for row in table['checkpoints']] == [4]
    assert listing(zips) == before


def test_export_gives_the_same_file(trained, zips, tmp_path):
    for name, workdir in {'run': trained / 'run', 'zip': zips / 'float32.zip'}.items():
        words = ('--format=pytorch', f'--output={tmp_path}/{name}.safetensors')
        assert command('export', f'--workdir={workdir}', *words) == 0
    run, packed_run = (tmp_path / f'{name}.safetensors' for name in ('run', 'zip'))
    assert run.read_bytes() == packed_run.read_bytes()


def test_the_demo_has_the_colours_of_the_run(trained, pack, tmp_path, monkeypatch):
    """The page is asked for, not served; the run's data is not named in a zip."""
    assert pack(trained / 'run', f'--output={tmp_path}/a.zip') == 0
    shown = {}

    def create_page(translator, name, split, pictures, colours):
        shown[name] = colours

    monkeypatch.setattr(web_server.page, 'create_page', create_page)
    monkeypatch.setattr(web_server, 'serve', lambda *args: None)
    for workdir in (trained / 'run', tmp_path / 'a.zip'):
        web_server.serve_run(str(workdir), '', '127.0.0.1', 0)
    assert shown['a'] == shown['run'] == [('', (0, 0, 255)), ('', (255, 0, 0))]
    palette = palette_json.load_palette(tmp_path / 'a.zip')
    assert '&lt;b&gt;' in web_page.drawing.canvas_html((8, 8), [('<b>', (1, 2, 3)), *palette])


def test_a_run_starts_from_it(trained, zips, tmp_path, capsys):
    _, _, old = load_state(trained / 'run', 'last')
    for name in ('float32', 'best'):
        fields = dict(init_from=str(zips / f'{name}.zip'), num_steps=1, ema_decay=0.9)
        config = tiny_config(trained / 'pairs', **fields, optimizer__learning_rate=0.0, seed=5)
        capsys.readouterr()
        new = train_and_evaluate(config, tmp_path / name)
        jax.tree.map(np.testing.assert_array_equal, new.generator.params, old.generator.params)
        anew = f'config.init_from={zips}/{name}.zip: it has no discriminator; D starts anew'
        kept = [
            np.array_equal(a, b)
            for a, b in zip(*map(jax.tree.leaves, (
                new.discriminator.params, old.discriminator.params,
            )))
        ]  # fmt: skip
        assert (anew in capsys.readouterr().out) == (name == 'best') == (not all(kept))


def test_it_is_not_trained_on(trained, zips, tmp_path):
    for workdir in (zips / 'float32.zip', unpacked(zips / 'float32.zip', tmp_path)):
        before = listing(workdir.parent)
        with pytest.raises(UserError, match='a packed run is not trained on; a new one starts'):
            train_and_evaluate(tiny_config(trained / 'pairs'), workdir)
        assert listing(workdir.parent) == before


@pytest.mark.parametrize('name', ['translate', 'export', 'demo', 'evaluate'])
def test_another_checkpoint_is_one_line(zips, tmp_path, capsys, name):
    if name == 'demo':
        pytest.importorskip('gradio', reason='needs gradio')
    words = {
        'translate': (f'--input={ROOT}/docs/openmoji.png', f'--output={tmp_path}/x'),
        'export': ('--format=stablehlo', f'--output={tmp_path}/x.stablehlo'),
        'evaluate': (f'--output={tmp_path}/x', '--metrics='),
    }.get(name, ('--port=0',))
    assert command(name, f'--workdir={zips}/best.zip', '--checkpoint=last', *words) == 2
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and 'allowed are best | 2' in said.replace('| 4', '| 2')


# ---------------------------------------------------------------- what is in it


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_nothing_in_it_is_of_this_machine(trained, pack, tmp_path):
    assert pack(trained / 'run', f'--output={tmp_path}/a.zip', '--license=mit') == 0
    assert SECRET in (trained / 'run/config.json').read_text() + str(trained)
    assert SECRET in (trained / 'run/run.json').read_text()
    words = {SECRET, str(pathlib.Path.home()), str(ROOT), socket.gethostname(), os.sep + 'tmp'}
    words |= {sys.prefix} | ({getpass.getuser()} - {'root'})
    for name, data in members(tmp_path / 'a.zip').items():
        assert not [word for word in words if word.encode() in data], name
    with zipfile.ZipFile(tmp_path / 'a.zip') as archive:
        assert {info.date_time for info in archive.infolist()} == {packing.TIME}
        assert archive.comment == b'' and not any(i.extra or i.comment for i in archive.infolist())


def test_reasons_and_whole_paths_in_data_json_stay_here(tmp_path):
    run = tmp_path / 'run'
    untrained_run(run, tiny_config(tmp_path))
    pairs = {'used': ['a/1'], 'skipped': {'a/2': f'{tmp_path}/a/2.png is damaged'}}
    pairs['held_out'] = False
    data = {'steps': 1, 'found': {}, 'splits': {'train': pairs}}
    (run / 'data.json').write_text(json.dumps(data))
    packing.pack_run(run, tmp_path / 'a.zip', packing.Choices())
    found = data_json.load_known(tmp_path / 'a.zip').splits['train']
    assert (found.used, found.skipped) == (('a/1',), {'a/2': 'left out'})
    pairs['used'] = [f'{tmp_path}/a/1'.lstrip('/')]  # as a list of whole paths gives it
    (tmp_path / 'a').mkdir()
    (run / 'data.json').write_text(json.dumps(data))
    lines = packing.pack_run(run, tmp_path / 'b.zip', packing.Choices())
    assert "the pairs' names are paths of this machine" in lines[0]
    assert data_json.load_known(tmp_path / 'b.zip').splits == {}


@pytest.mark.parametrize('split', ['train', 'test'])
@pytest.mark.parametrize('whole', [True, False])
def test_whole_paths_are_those_that_a_list_gave(whole, split, tmp_path):
    """Also where their folder is gone; a folder's own names may look like such paths."""
    pairs, folder = tmp_path / 'pairs', tmp_path / 'photos' / 'home'
    folder.mkdir(parents=True)
    pairs.mkdir()
    for name, first in (('train', 0), ('test', 3)):
        start = f'{folder}/../home/' if whole and name == split else '../photos/home/'
        lines = ['input,target']
        for i in range(first, first + 3):
            Image.new('RGB', (32, 32), (9 * i, i, 0)).save(folder / f'{i}.png')
            Image.new('RGB', (32, 32), (i, 9 * i, 0)).save(folder / f'{i}_in.png')
            lines.append(f'{start}{i}_in.png,{start}{i}.png')
        (pairs / f'{name}.csv').write_text('\n'.join(lines))
    config = tiny_config(pairs)
    splits = discover.open_splits(config)
    untrained_run(tmp_path / 'run', config)
    data_json.write_known(tmp_path / 'run', splits, 1)
    shutil.rmtree(tmp_path / 'photos')
    lines = packing.pack_run(tmp_path / 'run', tmp_path / 'a.zip', packing.Choices())
    assert any('are paths of this machine' in line for line in lines) == whole
    known = data_json.load_known(tmp_path / 'a.zip')
    assert bool(known.splits) != whole
    assert whole or known.splits['train'].used[0] == 'photos/home/0'


def test_it_keeps_what_the_run_knows(trained, zips):
    known, there = (data_json.load_known(p) for p in (trained / 'run', zips / 'float32.zip'))
    assert known.splits and there == known
    assert run_json.steps_before(zips / 'float32.zip', (0, 2)) == 0
    files = members(zips / 'float32.zip')
    assert files['metrics.jsonl'] == (trained / 'run/metrics.jsonl').read_bytes()
    assert files['sheet.png'] == (trained / 'run/samples/step_0000004.png').read_bytes()
    assert files['generator.safetensors'] != files['generator_averaged.safetensors']
    assert packed.DISCRIMINATOR in files and packed.DISCRIMINATOR not in members(zips / 'best.zip')
    assert 'sheet.png' not in members_without_sheet(trained)


def members_without_sheet(trained):
    path = trained / 'without.zip'
    packing.pack_run(trained / 'run', path, packing.Choices(sheet=False))
    return members(path)


def test_a_run_of_version_0_1_0(tmp_path):
    packing.pack_run(OLD_RUN, tmp_path / 'old.zip', packing.Choices())
    a, b = load_run(OLD_RUN), load_run(tmp_path / 'old.zip')
    jax.tree.map(np.testing.assert_array_equal, a.variables, b.variables)
    assert data_json.load_known(tmp_path / 'old.zip') == data_json.load_known(OLD_RUN)._replace(
        remark=data_json.load_known(tmp_path / 'old.zip').remark
    )


@pytest.mark.parametrize('fields', [
    {'dataset__input_pattern': 'a*', 'dataset__target_pattern': 'b*'},
    {
        'dataset__name': 'maps', 'dataset__task': 'super_resolution',
        'generator__output_channels': 3,
    },
])  # fmt: skip
def test_a_run_whose_data_must_have_a_folder(tmp_path, fields):
    """The zip names no folder: it is read, and its data is not there."""
    untrained_run(tmp_path / 'run', tiny_config(tmp_path, **fields))
    packing.pack_run(tmp_path / 'run', tmp_path / 'a.zip', packing.Choices())
    config = load_run(tmp_path / 'a.zip').config
    assert (
        config.dataset.path == '' and run_splits.whole_splits(tmp_path / 'a.zip', config)[0] == {}
    )


def test_texts_that_are_too_large_to_be_compressed_are_stored(tmp_path, monkeypatch):
    untrained_run(tmp_path / 'run', tiny_config(tmp_path))
    monkeypatch.setattr('pix2pix_jax.workdir.run_files.MAX_COMPRESSED', 2000)
    packing.pack_run(tmp_path / 'run', tmp_path / 'a.zip', packing.Choices())
    with zipfile.ZipFile(tmp_path / 'a.zip') as archive:
        kinds = {info.compress_type: info.filename for info in archive.infolist()}
        assert archive.getinfo('config.json').compress_type == zipfile.ZIP_STORED
    assert zipfile.ZIP_DEFLATED in kinds
    assert load_run(tmp_path / 'a.zip').step == 0


# ---------------------------------------------------------------- the model card


def unpacked(path, folder):
    for name, data in members(path).items():
        (folder / 'run' / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / 'run' / name).write_bytes(data)
    return folder / 'run'


def front(data):
    """The front matter of a README.md, as hubs read it."""
    start, matter, body = data.decode().split('---\n', 2)
    assert start == '' and body.startswith('\n# ')
    return yaml.safe_load(matter), body


def test_the_model_card(trained, zips):
    files = members(zips / 'float32.zip')
    matter, body = front(files['README.md'])
    assert matter['license'] == 'unknown' and matter['library_name'] == 'pix2pix_jax'
    assert matter['pipeline_tag'] == 'image-to-image' and 'pix2pix' in matter['tags']
    assert 'datasets' not in matter  # pairs of the user's own have no name on a hub
    assert '![Rows' in body and '(sheet.png)' in body and 'sheet.png' in files
    result = json.loads((trained / 'run/evaluation/test/metrics.json').read_text())
    for name, summary in result['metrics'].items():
        assert f'| {name} | {title(name)} | {format_number(summary["mean"])} |' in body
    assert 'step 4' in body and '32x32 pixels' in body


def test_the_card_of_named_data_has_it_and_its_results():
    config = changed(dataset__name='facades', dataset__direction='BtoA')
    result = {'split': 'test', 'images': 106, 'step': 9}
    result |= {'metrics': {'l1': {'mean': 0.35, 'ci95': [0.34, 0.36]}}}
    about = packed.About('last', 9, 'float16', ())
    card = model_card.Card('x: "y"', config, about, {'a': result}, 'other', False)
    matter, body = front(model_card.text(card).encode())
    assert matter['datasets'] == ['facades'] and matter['license'] == 'other'
    (index,) = matter['model-index']
    (found,) = index['results']
    assert index['name'] == 'x: "y"' and found['dataset']['type'] == 'facades'
    assert found['metrics'] == [{'type': 'l1', 'name': 'l1', 'value': 0.35}]
    assert 'CMP Facade Database' in body and 'sheet.png' not in body


def test_the_card_says_which_images_its_metrics_leave_out():
    """As a mean of 40 images of 100 it is not one of all."""
    summary = {'mean': 1.0, 'ci95': [0.9, 1.1], 'left_out': 60, 'reason': 'no | is <valid>'}
    result = {'split': 'test', 'images': 100, 'step': 9, 'metrics': {'mae': summary}}
    config = changed(dataset__name='facades')
    about = packed.About('last', 9, 'float16', ())
    card = model_card.Card('x', config, about, {'a': packing._portable(result)}, 'other', False)
    matter, body = front(model_card.text(card).encode())
    row = '| mae | MAE in data units | 1.000 | 0.9000 to 1.100; 60 images left out: no '
    assert '| name | metric | mean | 95% interval |\n|---|---|---|---|\n' + row in body
    assert 'no \\| is \\<valid\\> |\n' in body
    (found,) = matter['model-index'][0]['results'][0]['metrics']
    assert found == {'type': 'mae', 'name': 'mae, 60 images left out', 'value': 1.0}


def test_names_in_the_card_are_text_whatever_is_in_them():
    config = changed(dataset__name='\x1b[31m<b>a</b>\n# [x](y)', dataset__path='mine')
    about = packed.About('last', 9, 'float16', ())
    card = model_card.Card('\N{GRINNING FACE} a\n<i>', config, about, {}, 'other', False)
    text = model_card.text(card)
    matter, body = front(text.encode())
    assert matter['datasets'] == [config.dataset.name]
    assert '# \N{GRINNING FACE} a \\<i\\>\n' in body and r'\<b\>a\</b\> \# \[x\](y)' in body
    assert '\x1b' not in text and '<b>' not in body
    result = {'split': 'test', 'images': 1, 'step': 9, 'metrics': {}}
    (index,) = front(model_card.text(card._replace(results={'a': result})).encode())[0][
        'model-index'
    ]
    assert index['name'] == card.name


def test_the_licence_of_built_in_data_is_known():
    assert licences.of_weights(changed(dataset__name='openmoji')) == 'cc-by-sa-4.0'
    own = changed(dataset__name='openmoji', dataset__path='mine')
    assert licences.of_weights(own) == licences.of_weights(changed()) == 'unknown'


def test_own_data_of_that_name_has_no_licence(tmp_path):
    untrained_run(tmp_path / 'run', tiny_config(tmp_path, dataset__name='openmoji'))
    packing.pack_run(tmp_path / 'run', tmp_path / 'a.zip', packing.Choices())
    matter, body = front(members(tmp_path / 'a.zip')['README.md'])
    assert matter['license'] == 'unknown' and 'CC BY-SA' not in body and SECRET not in body


# ---------------------------------------------------------------- the command


def test_its_default_output_lies_beside_the_run_and_is_not_replaced(tmp_path, pack, capsys):
    untrained_run(tmp_path / 'run', tiny_config(tmp_path, loss__gan='none'))
    assert pack(tmp_path / 'run/') == 0
    assert str(tmp_path / 'run.zip') in capsys.readouterr().out
    first = (tmp_path / 'run.zip').read_bytes()
    assert pack(tmp_path / 'run', '--dtype=float16') == 2
    assert 'exists: give another name or --overwrite' in capsys.readouterr().err
    assert (tmp_path / 'run.zip').read_bytes() == first
    assert pack(tmp_path / 'run', '--dtype=float16', '--overwrite') == 0
    assert (tmp_path / 'run.zip').read_bytes() != first
    assert sorted(path.name for path in tmp_path.iterdir()) == ['run', 'run.zip']


def test_the_folder_that_one_is_in_has_a_name(tmp_path, pack, capsys, monkeypatch):
    untrained_run(tmp_path / 'a run', tiny_config(tmp_path, loss__gan='none'))
    monkeypatch.chdir(tmp_path / 'a run')
    assert pack('.') == 0
    assert f"--workdir='{tmp_path}/a run.zip'" in capsys.readouterr().out
    assert (tmp_path / 'a run.zip').exists()


@pytest.mark.parametrize('words, message', [
    ((), 'needed is the folder of one run'), (('a', 'b'), 'needed is the folder of one run'),
    (('none',), 'no run there'), (('run', '--output=x.tar'), 'a file that ends in .zip'),
    (('run', '--checkpoint=best'), "no checkpoint 'best'"),
    (('run', '--license=All rights'), 'allowed is the word that model hubs have for it'),
    (('run', '--dtype=int8'), 'dtype'), (('run', '--output=gs://x/a.zip'), 'on this machine'),
])  # fmt: skip
def test_a_wrong_command_is_one_line(tmp_path, pack, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    untrained_run(tmp_path / 'run', tiny_config(tmp_path))
    assert pack(*words) == 2
    said = capsys.readouterr().err
    assert message in said and said.count('\n') == 1
    assert [path.name for path in tmp_path.iterdir()] == ['run']
