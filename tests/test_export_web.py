"""The exported page as a folder: what is in it, what it says, what is refused."""

import base64
import contextlib
import hashlib
import html
import io
import json
import re
import shutil
import socket
import tarfile

import numpy as np
import pytest
from helpers.runs import make_pairs, random_run, tiny_config
from PIL import Image

from pix2pix_jax import export, flow
from pix2pix_jax.config import Config
from pix2pix_jax.errors import UserError, run_command
from pix2pix_jax.inference import generator, loaded_run, run_splits
from pix2pix_jax.reports import licences, page_card
from pix2pix_jax.storage import downloads
from pix2pix_jax.train import train_and_evaluate
from pix2pix_jax.web import drawing, static_page

for package in ('jax2onnx', 'onnxruntime'):
    pytest.importorskip(package, reason='needs the extra export')

from pix2pix_jax.interop import onnx, web, web_runtime  # noqa: E402

NAMES = ('ort.mjs', 'loader.mjs', 'ort.wasm')
CONTENT = {name: name.encode() * 100 for name in NAMES}


def build_of(content):
    hashes = (hashlib.sha256(content[name]).hexdigest() for name in NAMES)
    return web_runtime.Build(*NAMES, tuple(hashes))


@pytest.fixture(scope='module')
def npm(tmp_path_factory):
    """A small package in place of the runtime's; gives its folder."""
    folder = tmp_path_factory.mktemp('npm')
    write_package(folder)
    with pytest.MonkeyPatch.context() as patch:
        for name in ('WASM', 'WEBGPU'):
            patch.setattr(web, name, build_of(CONTENT)._replace())
        yield folder


def write_package(folder):
    (folder / 'dist').mkdir()
    for name, data in CONTENT.items():
        (folder / 'dist' / name).write_bytes(data)


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
    """A run whose name and data must be escaped."""
    folder = tmp_path_factory.mktemp('secret-place')
    pairs = make_pairs(folder / 'pairs', {'train': 2, 'test': 3})
    config = tiny_config(pairs, num_steps=1, dataset__name='<i>&"data\'')
    train_and_evaluate(config, folder / 'a<b>&"c')
    return folder / 'a<b>&"c'


def command(*args):
    with pytest.raises(SystemExit) as stopped:
        run_command(export.main, export.define_flags, ['export', *map(str, args)])
    return stopped.value.code


def contents(folder):
    return {str(p.relative_to(folder)): p for p in folder.rglob('*') if not p.is_dir()}


# ---------------------------------------------------------------- the folder


@pytest.fixture(scope='module')
def page(workdir, npm, tmp_path_factory):
    """The folder that the command writes; no test changes it."""
    folder = tmp_path_factory.mktemp('exported') / 'page'
    args = (f'--workdir={workdir}', '--format=web', f'--output={folder}', f'--runtime={npm}')
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert command(*args) == 0
    for word in ('MB', 'step 1', 'http.server', '3 inputs of the test split', 'within'):
        assert word in printed.getvalue()
    return folder


def test_the_folder_holds_all_and_nothing_of_the_machine(page, workdir):
    files = contents(page)
    assert not any(path.is_symlink() for path in files.values())
    for name in (
        'index.html',
        'page.json',
        'sw.js',
        'canvas.js',
        'canvas.css',
        'runtime/LICENSE.txt',
    ):
        assert name in files
    assert 'Microsoft' in files['runtime/LICENSE.txt'].read_text()
    assert files['canvas.js'].read_bytes() == (static_page.HERE / 'canvas.js').read_bytes()
    everything = b''.join(path.read_bytes() for path in files.values())
    for local in (str(workdir.parent), 'secret-place', str(page), socket.gethostname()):
        assert local.encode() not in everything, local


def test_model_and_runtime_lie_in_parts_of_known_hash(page, monkeypatch, workdir, npm, tmp_path):
    told = json.loads((page / 'page.json').read_text())
    whole = {key: joined(page, told[key]) for key in ('model', 'wasm')}
    assert whole['wasm'] == CONTENT['ort.wasm']
    monkeypatch.setattr(web, 'PART_BYTES', 999)
    other = tmp_path / 'other'
    args = (f'--workdir={workdir}', '--format=web', f'--runtime={npm}', '--examples=0')
    assert command(*args, f'--output={other}') == 0
    again = json.loads((other / 'page.json').read_text())
    assert {key: joined(other, again[key]) for key in whole} == whole
    sizes = [part['bytes'] for part in again['model']['parts']]
    assert len(sizes) > 1 and max(sizes) == 999
    without, text = ((folder / 'index.html').read_text() for folder in (other, page))
    assert not (other / 'examples').exists() and 'Examples' not in without
    colours = [re.findall('data-colour="(.+?)"', found) for found in (without, text)]
    assert colours[0] == colours[1] == ['#0000ff', '#ff0000']  # those of the inputs


def joined(folder, file):
    """The bytes of a file in parts, as the page puts them together."""
    parts = [(folder / part['file']).read_bytes() for part in file['parts']]
    for part, data in zip(file['parts'], parts):
        assert (len(data), hashlib.sha256(data).hexdigest()) == (part['bytes'], part['sha256'])
    assert sum(map(len, parts)) == file['bytes']
    return b''.join(parts)


def test_the_noise_of_a_flows_seed_lies_in_it(npm, tmp_path):
    fields = {'method': 'flow', 'loss__l1_weight': 0.0, 'test__steps': 2, 'test__seed': 5}
    run = random_run(generator__output_channels=2, **fields)
    web.export(run, str(tmp_path / 'run'), tmp_path / 'page', web.PageOptions(runtime=str(npm)))
    told = json.loads((tmp_path / 'page' / 'page.json').read_text())
    found = np.frombuffer(joined(tmp_path / 'page', told['noise']), '<f4').reshape(16, 16, 2)
    np.testing.assert_array_equal(found, flow.noise(generator.sample_key(5), (16, 16, 2)))
    exported, about = onnx.load(joined(tmp_path / 'page', told['model']))
    x = np.random.default_rng(0).uniform(-1, 1, (1, 16, 16, 3)).astype(np.float32)
    expected = generator.Generator(run.config, run.variables)(x)
    np.testing.assert_allclose(exported(x, found[None]), expected, atol=2e-2)
    assert about['steps'] == '2'


def test_the_model_is_the_runs_in_half_the_bytes_and_of_one_size(page, workdir):
    data = joined(page, json.loads((page / 'page.json').read_text())['model'])
    apply, metadata = onnx.load(data)
    run = loaded_run.load_run(workdir)
    x = np.random.default_rng(1).uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32)
    expected = generator.Generator(run.config, run.variables, dropout=False)(x)
    np.testing.assert_allclose(apply(x), expected, atol=1e-2)
    assert metadata['weights'] == 'float16' and json.loads(metadata['size']) == [32, 32]


def test_the_examples_are_the_runs_inputs(page, workdir):
    config = loaded_run.load_run(workdir).config
    _, pictures = drawing.samples(config, run_splits.whole_splits(workdir, config)[0])
    for i, picture in enumerate(pictures):
        with Image.open(page / 'examples' / f'{i}.png') as image:
            np.testing.assert_array_equal(np.asarray(image), picture)
    assert len(list((page / 'examples').iterdir())) == len(pictures) == 3


def test_the_policy_and_no_script_or_style_in_the_page(page):
    text = (page / 'index.html').read_text()
    expected = (
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob: data:"
    )
    assert f'http-equiv="Content-Security-Policy" content="{expected}"' in text
    assert f'"{expected}"' in (page / 'sw.js').read_text()
    assert not re.search(r'<style|style=|<script(?![^>]* src=)|\son\w+=|javascript:', text)
    assert not re.search(r'(?:src|href)="(?:https?:)?//(?!localhost)', text)


def test_names_are_escaped_and_the_card_says_what_is_known(page, workdir):
    text = (page / 'index.html').read_text()
    for name in (workdir.name, '<i>&"data\''):
        assert name not in text and html.escape(name) in text
    for words in (
        'step 1',
        '2 train, 3 test',
        'not recorded',
        'Metrics (test split, step 1)',
        'L1',
    ):
        assert words in text
    assert 'dataset.path' not in text and 'generator.width' in text and '$' not in text
    assert re.search(r'loads \d+ MB, once, and takes about \d+ MB of memory', text)


def test_the_memory_that_it_says_is_near_what_was_measured():
    """Bytes of the model, size and width -> MB that Chromium took beside what can be undone."""
    for model, side, width, measured in (
        (13_093_814, 64, 32, 281), (102_600_365, 256, 64, 574),
        (108_891_730, 512, 64, 629), (108_891_770, 1024, 64, 1017),
    ):  # fmt: skip
        found = web.memory(model, (side, side), width) - 4 * side**2 * drawing.UNDOS
        assert found / 1e6 == pytest.approx(measured, rel=0.04)
    script = (static_page.HERE / 'canvas.js').read_text()
    assert f'const MAX_UNDOS = {drawing.UNDOS};' in script


def test_a_page_with_other_norms_has_no_metrics_and_says_why(workdir, npm, tmp_path):
    args = (f'--workdir={workdir}', '--format=web', f'--output={tmp_path}', f'--runtime={npm}')
    assert command(*args, '--norm=running') == 0
    text = (tmp_path / 'index.html').read_text()
    assert 'Metrics (' not in text
    assert 'no evaluation is of this model: its norms are running, and theirs image' in text


def test_a_page_is_replaced_only_if_asked_and_what_is_beside_it_stays(
    page, workdir, npm, tmp_path, capsys
):
    page = shutil.copytree(page, tmp_path / 'page')
    (page / 'CNAME').write_text('mine')
    (page / 'model' / 'mine.txt').write_text('mine')
    (page / 'examples' / 'mine.png').write_text('mine')
    (page / 'model' / f'{"0" * 20}.bin').write_text('of an earlier model')
    (page / 'runtime' / 'ort-wasm.asyncify.wasm.1').write_text('of an earlier runtime')
    (page / 'model' / f'.{"1" * 20}.bin.{2**22 + 1}.tmp').write_text('of one that was killed')
    args = (f'--workdir={workdir}', '--format=web', f'--output={page}', f'--runtime={npm}')
    before = {name: path.read_bytes() for name, path in contents(page).items()}
    assert command(*args) == 2 and 'exists' in capsys.readouterr().err
    assert {name: path.read_bytes() for name, path in contents(page).items()} == before
    assert command(*args, '--overwrite', '--dtype=float32', '--examples=1') == 0
    after = contents(page)
    assert after['CNAME'].read_text() == after['model/mine.txt'].read_text() == 'mine'
    examples = {name for name in after if name.startswith('examples/')}
    assert examples == {'examples/0.png', 'examples/mine.png'}
    assert {name for name in after if name.startswith('runtime/')} == {
        'runtime/LICENSE.txt', *(f'runtime/{name}' for name in NAMES)
    }  # fmt: skip
    assert not any(name.endswith('.tmp') for name in after)
    told = json.loads((page / 'page.json').read_text())
    models = {name for name in after if name.endswith('.bin')}
    assert models == {part['file'] for part in told['model']['parts']}
    assert told['model']['bytes'] > sum(len(v) for k, v in before.items() if k in models)


PAGES = {'index.html': b'mine', 'examples/0.png': b'mine', 'page.json': b'[1]', 'sw.js': b'mine'}


@pytest.mark.parametrize('name', PAGES)
def test_a_file_that_no_export_wrote_is_never_replaced(workdir, npm, tmp_path, capsys, name):
    """Whatever --overwrite says: the folder is no page, but has files of a page's names."""
    write_tree(tmp_path, {name: PAGES[name]})
    args = (f'--workdir={workdir}', '--format=web', f'--output={tmp_path}', f'--runtime={npm}')
    assert command(*args, '--overwrite') == 2
    line = f'--output={tmp_path} holds {name}, which is of no earlier export: give another folder'
    assert line in capsys.readouterr().err
    assert {k: path.read_bytes() for k, path in contents(tmp_path).items()} == {name: PAGES[name]}


def test_nothing_is_deleted_in_a_folder_that_is_no_page(page, workdir, npm, tmp_path):
    """But what an export that was stopped left there is taken as its own."""
    mine = {'examples/7.png': b'mine', f'model/{"0" * 20}.bin': b'mine', 'runtime/ort.js': b'mine'}
    left = {name: (page / name).read_bytes() for name in ('sw.js', 'examples/0.png', 'page.js')}
    write_tree(tmp_path, mine | left)
    args = (f'--workdir={workdir}', '--format=web', f'--output={tmp_path}', f'--runtime={npm}')
    assert command(*args, '--overwrite') == 0
    assert contents(tmp_path).keys() == contents(page).keys() | mine.keys()
    assert all((tmp_path / name).read_bytes() == data for name, data in mine.items())


def write_tree(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)


def test_webgpu_takes_the_other_build(workdir, npm, tmp_path):
    out = tmp_path / 'gpu'
    args = (f'--workdir={workdir}', '--format=web', f'--output={out}', f'--runtime={npm}')
    assert command(*args, '--webgpu', '--image_size=16,32') == 0
    told = json.loads((out / 'page.json').read_text())
    assert told['webgpu'] and told['input']['scaled'] == [16, 32]
    assert "'unsafe-eval'" not in (out / 'index.html').read_text()
    assert web_runtime.WEBGPU.wasm != web_runtime.WASM.wasm


# ---------------------------------------------------------------- refused


def test_a_wrong_output_is_one_line(workdir, npm, tmp_path, capsys):
    (tmp_path / 'file').write_text('mine')
    args = (f'--workdir={workdir}', '--format=web', f'--runtime={npm}')
    for more, message in (
        ((f'--output={tmp_path}/file',), 'is a file: allowed is a folder'),
        ((f'--output={tmp_path}/a', '--image_size=9'), 'multiples of 4'),
        ((f'--output={tmp_path}/a', f'--runtime={tmp_path}'), 'ort.mjs is not there; allowed is'),
        ((f'--output={tmp_path}/a', '--examples=-1'), 'examples'),
    ):
        assert command(*args, *more) == 2
        error = capsys.readouterr().err
        assert message in error and error.count('\n') == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ['file']


@pytest.mark.parametrize('fields, allowed', [
    ({'dataset__inputs': 2, 'generator__input_channels': 2}, 'allowed is one'),
    ({'generator__input_channels': 5}, 'allowed are gray, RGB and RGBA'),
])  # fmt: skip
def test_what_cannot_be_drawn_is_refused_before_anything_is_read(tmp_path, fields, allowed):
    run = random_run(**fields)
    with pytest.raises(UserError, match=allowed):
        web.export(run, 'run', tmp_path / 'a', web.PageOptions(runtime='none'))
    assert not list(tmp_path.iterdir())


def test_a_model_that_differs_is_not_written(tmp_path, npm, monkeypatch):
    monkeypatch.setattr(onnx, 'load', lambda data: (lambda x: x * np.nan, {}))
    options = web.PageOptions(runtime=str(npm))
    with pytest.raises(UserError, match='nothing written, the exported model differs'):
        web.export(random_run(), 'run', tmp_path / 'a', options)
    assert not (tmp_path / 'a').exists()


# ---------------------------------------------------------------- the runtime


def test_a_runtime_of_another_version_is_refused(tmp_path):
    write_package(tmp_path)
    build = build_of(CONTENT)
    assert web_runtime.read(build, str(tmp_path)) == CONTENT
    assert web_runtime.read(build, str(tmp_path / 'dist')) == CONTENT
    (tmp_path / 'dist' / 'loader.mjs').write_bytes(b'of another version')
    with pytest.raises(UserError, match=r'loader\.mjs is not that of onnxruntime-web 1') as raised:
        web_runtime.read(build, str(tmp_path))
    assert raised.value.status == 2 and '\n' not in str(raised.value)


def archive_of(content):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode='w:gz') as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(f'package/dist/{name}')
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A registry that gives `given[0]`, and counts; the archive of CONTENT is the published one."""
    data = archive_of(CONTENT)
    given, asked = [data], []

    def fetch(url, part, name):
        asked.append(url)
        part.write_bytes(given[0])

    digest = base64.b64encode(hashlib.sha512(data).digest()).decode()
    monkeypatch.setattr(web_runtime, 'INTEGRITY', f'sha512-{digest}')
    monkeypatch.setattr(downloads, '_fetch', fetch)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return given, asked


def test_the_runtime_is_downloaded_once_and_checked(registry, tmp_path):
    given, asked = registry
    build = build_of(CONTENT)
    assert web_runtime.read(build) == web_runtime.read(build) == CONTENT
    assert asked == [web_runtime.URL]
    (kept,) = (tmp_path / 'cache').rglob('*.tgz')
    kept.write_bytes(b'damaged')
    assert web_runtime.read(build) == CONTENT and len(asked) == 2

    kept.unlink()
    given[0] = archive_of(dict.fromkeys(NAMES, b'planted'))
    with pytest.raises(UserError, match=r'another file: its SHA-512.*--runtime=DIR') as raised:
        web_runtime.read(build)
    assert raised.value.status == 1 and not list((tmp_path / 'cache').rglob('*.tgz'))


def test_the_published_hashes_are_whole():
    algorithm, _, text = web_runtime.INTEGRITY.partition('-')
    assert algorithm == 'sha512' and len(base64.b64decode(text)) == 64
    for build in (web_runtime.WASM, web_runtime.WEBGPU):
        assert [len(bytes.fromhex(value)) for value in build.hashes] == [32] * 3


# ---------------------------------------------------------------- the card


@pytest.mark.parametrize(
    'field', ['dataset.path', 'init_from', 'dataset.input_pattern', 'dataset.colors']
)
def test_no_place_of_a_machine_is_on_the_card(field):
    config: Config = random_run().config
    config.update_from_flattened_dict({field: '/home/me/it'})
    fields = dict(page_card.public_fields(config))
    assert '/home/me' not in str(fields) and fields['dataset.direction'] == 'AtoB'


def test_licences():
    config = random_run(dataset__name='openmoji').config
    assert 'CC BY-SA 4.0' in licences.of_data(config)
    config.dataset.path = 'mine'
    assert licences.of_data(config) == ''
    config.dataset.name = 'edges2shoes'
    assert 'non-commercial' in licences.of_data(config)
