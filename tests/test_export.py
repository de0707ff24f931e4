"""Exported models against the translator: every kind of network, open sizes, the command."""

import json
import pathlib
import zipfile

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.pictures import noise
from helpers.runs import make_pairs, random_run, tiny_config, untrained_run

import pix2pix_jax
from pix2pix_jax import export
from pix2pix_jax.data import augment, tasks
from pix2pix_jax.errors import UserError, run_command
from pix2pix_jax.inference import generator, loaded_run
from pix2pix_jax.interop import exportable, stablehlo
from pix2pix_jax.train import train_and_evaluate
from pix2pix_jax.version import numbers

NEEDED = 'needs the extra export'
COLOURS = 'sky 0,0,255;wall 255,0,0;door 0,9,0;void 0,0,0;void 1,1,1'
TABLE = {
    'classes': {'sky': [0, 0, 255], 'wall': [255, 0, 0], 'door': [0, 9, 0]},
    'void': [[0, 0, 0], [1, 1, 1]],
}


def onnx():
    if numbers(jax.__version__) < numbers(export.MIN_JAX_FOR_ONNX):
        pytest.skip(f'ONNX needs jax {export.MIN_JAX_FOR_ONNX}')
    for package in ('jax2onnx', 'onnxruntime'):
        pytest.importorskip(package, reason=NEEDED)
    from pix2pix_jax.interop import onnx as interop

    return interop


@pytest.fixture(params=['stablehlo', 'onnx'])
def interop(request):
    """The module of each format."""
    return stablehlo if request.param == 'stablehlo' else onnx()


def images(run, count=1, size=None):
    shape = (count, *(size or run.config.image_size), run.config.generator.input_channels)
    return np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)


def check(run, exported, x, tolerance=1e-5, **switches):
    """What is exported gives what `translate --nodropout` does."""
    expected = generator.Generator(run.config, run.variables, dropout=False, **switches)(x)
    actual = np.asarray(exported(x))
    assert actual.dtype == np.float32 and np.abs(expected).max() > 0.1
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


RESNET = {'generator__name': 'resnet', 'generator__blocks': 6}


@pytest.mark.parametrize('fields', [
    {},
    {'generator__name': 'encoder_decoder', 'generator__norm': 'instance'},
    {'generator__norm': 'none', 'generator__upsample': 'resize'},
    {'generator__bottleneck_norm': True, 'generator__skip_relu': False, 'generator__bias': 'all'},
    {'test__norm': 'running', 'generator__input_channels': 1, 'generator__output_channels': 4},
    {'test__norm': 'mixed', 'generator__input_channels': 4, 'generator__output_channels': 1},
    {'image_size': (8, 32), 'generator__depth': 3, 'generator__bias': 'none'},
    RESNET,
    RESNET | {'generator__norm': 'instance', 'generator__upsample': 'resize'},
], ids=lambda f: ' '.join(f'{k.split("__")[-1]}={v}' for k, v in f.items()) or 'unet')  # fmt: skip
def test_open_batch_and_size_give_the_translators_output(interop, fields):
    run = random_run(**fields)
    exported, _ = interop.load(interop.to_bytes(exportable.create(run)))
    height, width = run.config.image_size
    check(run, exported, images(run))
    check(run, exported, images(run, 2, (2 * height, height + width)))


def test_a_size_may_be_fixed(interop):
    run = random_run()
    exported, _ = interop.load(interop.to_bytes(exportable.create(run, size=(8, 4))))
    check(run, exported, images(run, 3, (8, 4)))
    with pytest.raises(Exception, match='(?i)shape|dimension'):
        exported(images(run, 1, (16, 16)))


def test_the_norm_switch(interop):
    run = random_run()
    exported, metadata = interop.load(interop.to_bytes(exportable.create(run, norm='running')))
    check(run, exported, images(run), norm='running')
    assert metadata['norm'] == 'running'


@pytest.mark.parametrize(('norm', 'recorded'), [('instance', 'image'), ('none', 'none')])
def test_norms_that_know_no_moving_statistics_are_recorded_as_they_are(
    tmp_path, capsys, norm, recorded
):
    untrained_run(tmp_path / 'run', tiny_config('', generator__norm=norm))
    output = tmp_path / 'a.stablehlo'
    words = f'--workdir={tmp_path / "run"}', '--format=stablehlo', f'--output={output}'
    assert command(*words, '--norm=running') == 0
    printed = capsys.readouterr().out
    assert '--norm=running: the ' in printed and ', so it changes nothing' in printed
    assert f'norms {recorded}, no dropout' in printed
    assert stablehlo.load(output.read_bytes())[1]['norm'] == recorded
    assert command(*words, '--overwrite') == 0
    assert 'changes nothing' not in capsys.readouterr().out


def test_float16_is_half_the_size_and_close(interop):
    run = random_run(generator__width=32, generator__depth=3)
    full, half = (
        interop.to_bytes(exportable.create(run, weights=dtype)) for dtype in ('float32', 'float16')
    )
    assert len(half) < 0.55 * len(full)
    exported, metadata = interop.load(half)
    check(run, exported, images(run), tolerance=1e-2)
    check(run, exported, images(run, 2, (32, 8)), tolerance=1e-2)
    difference = exportable.difference(exportable.create(run), exported)
    assert 1e-5 < difference < 1e-2 and metadata['weights'] == 'float16'


def test_the_runs_own_config_stays():
    run = random_run(dtype='bfloat16')
    before = run.config.to_json()
    model = exportable.create(run, size=(32, 64))
    assert model.config.image_size == (32, 64) and model.config.dtype == 'float32'
    assert run.config.to_json() == before


def test_a_run_in_bfloat16_is_exported_in_float32(interop):
    assert exportable.compared_with(random_run()) == 'the run'
    run = random_run(dtype='bfloat16')
    assert exportable.compared_with(run) == 'the run in float32'
    exported, _ = interop.load(interop.to_bytes(exportable.create(run)))
    run.config.dtype = 'float32'
    check(run, exported, images(run))


def test_colorization_gives_the_networks_own_output(interop):
    run = random_run(
        dataset__task='colorize', generator__input_channels=1, generator__output_channels=2,
        dataset__path='photos',
    )  # fmt: skip
    exported, metadata = interop.load(interop.to_bytes(exportable.create(run)))
    x = images(run)
    shown = generator.Generator(run.config, run.variables, dropout=False)(x)
    np.testing.assert_allclose(tasks.as_shown('colorize', x, exported(x)), shown, atol=1e-3)
    assert 'L / 50 - 1' in metadata['input'] and 'a and b' in metadata['output']


def test_metadata():
    run = random_run(
        dataset__direction='BtoA',
        ema_decay=0.5,
        image_size=(16, 32),
        dataset__target_range='0:4095',
        dataset__target_type='float32',
        dataset__target_scale=2.0,
        dataset__nodata='-9999',
    )
    expected = {
        'layout': 'NHWC', 'value_range': [-1, 1], 'input': 'RGB', 'output': 'RGB',
        'input_channels': 3, 'output_channels': 3, 'trained_size': [16, 32], 'size': 'any',
        'multiple_of': 4, 'least_size': 4, 'direction': 'BtoA', 'task': 'none',
        'task_amount': 0.0, 'preprocess': 'resize_and_crop', 'resize': 'bicubic',
        'generator': 'unet', 'norm': 'image', 'weights': 'float32', 'averaged_weights': True,
        'step': 7, 'checkpoint': 'last', 'input_range': 'of the type',
        'target_range': '0:4095', 'target_type': 'float32', 'nodata': '-9999', 'void': 'none',
        'colors': 'none', 'target_scale': 2.0,
    }  # fmt: skip
    model = exportable.create(run)
    _, metadata = stablehlo.load(stablehlo.to_bytes(model))
    assert metadata == expected | {'producer': metadata['producer']}
    assert metadata['producer'].startswith('pix2pix_jax ')
    interop = onnx()
    _, texts = interop.load(interop.to_bytes(model))
    assert {k: v if v == metadata[k] else json.loads(v) for k, v in texts.items()} == metadata


@pytest.mark.parametrize('fields, expected', [
    ({}, {'target_type': 'of the input', 'nodata': 'none', 'void': 'none', 'colors': 'none'}),
    ({'dataset__target_classes': 3}, {'target_type': 'uint8', 'void': '255', 'colors': 'none'}),
    (
        {'dataset__target_classes': 3, 'dataset__void': '7'},
        {'target_type': 'uint8', 'nodata': 'none', 'void': '7', 'colors': 'none'},
    ),
    (
        {'dataset__target_classes': 3, 'dataset__colors': COLOURS},
        {'void': 'none', 'colors': TABLE},
    ),
    ({'dataset__colors': COLOURS}, {'target_type': 'of the input', 'colors': TABLE}),
])  # fmt: skip
def test_metadata_says_what_files_hold(fields, expected):
    metadata = exportable.create(random_run(**fields)).metadata
    assert {key: metadata[key] for key in expected} == expected
    assert json.loads(json.dumps(metadata)) == metadata


@pytest.mark.parametrize('task, amount, expected, words', [
    ('super_resolution', 0.0, 4.0, 'RGB, enlarged 4 times (bicubic)'),
    ('super_resolution', 2.5, 2.5, 'RGB, enlarged 2.5 times (bicubic)'),
    ('inpaint', 0.0, 0.5, 'RGB, 0 (gray) in the hole'),
    ('edges', 0.0, 2.0, 'gray, black edges on white'),
    ('denoise', 0.3, 0.3, 'RGB'),
    ('gray_to_color', 0.0, 0.0, 'gray'),
])  # fmt: skip
def test_metadata_says_what_a_task_has_made_of_photos(task, amount, expected, words):
    run = random_run(
        dataset__task=task, dataset__task_amount=amount, dataset__path='photos',
        generator__input_channels=tasks.task(task).channels[0],
    )  # fmt: skip
    model = exportable.create(run)
    assert model.metadata['task_amount'] == expected and model.metadata['input'] == words
    assert f'on [-1, 1], {words};' in exportable.describe(model)[0]


def test_an_exported_super_resolution_takes_the_enlarged_image(monkeypatch):
    run = random_run(
        dataset__task='super_resolution', dataset__task_amount=2.0, dataset__path='photos'
    )
    monkeypatch.setattr(loaded_run, 'load_run', lambda *args: run)
    photo = noise(16, 20, 3)
    expected = pix2pix_jax.Translator('run', dropout=False)(photo)
    x = augment.to_float(augment.resized(photo, (32, 40)))  # as its metadata say
    found = exportable.function(exportable.create(run))(jnp.asarray(x[None]))[0]
    assert np.abs(augment.from_float(np.asarray(found)).astype(int) - expected).max() <= 1


def test_onnx_keeps_to_the_standards_operators_and_its_names():
    interop = onnx()
    import onnx as standard

    model = standard.load_from_string(interop.to_bytes(exportable.create(random_run(**RESNET))))
    standard.checker.check_model(model, full_check=True)
    assert [o.domain for o in model.opset_import] == ['']
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == [
        'input',
        'output',
    ]
    dimensions = [
        d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim
    ]
    assert dimensions == ['batch', '4*h', '4*w', 3]
    operators = [node.op_type for node in model.graph.node]
    assert operators.count('Pad') == 2 + 2 * 6 and operators.count('ConvTranspose') == 2
    assert operators.count('Transpose') == 2 and not {'Slice', 'Gather'} & set(operators)


def test_stablehlo_is_loaded_with_jax_alone_and_for_three_platforms(tmp_path):
    run, path = random_run(), tmp_path / 'a.stablehlo'
    path.write_bytes(stablehlo.to_bytes(exportable.create(run)))
    model = jax.export.deserialize(bytearray(path.read_bytes()))
    assert model.platforms == ('cpu', 'cuda', 'tpu')
    assert model.in_avals[0].str_short() == 'float32[batch,4*h,4*w,3]'
    check(run, model.call, images(run, 2))
    assert json.loads(zipfile.ZipFile(path).read('metadata.json'))['step'] == 7


@pytest.mark.parametrize('fields', [{}, {'method': 'flow', 'loss__l1_weight': 0.0}])
def test_kernels_are_stored_as_they_are_used(fields):
    """Whoever compiles the program has no kernel to turn: that takes seconds a layer."""
    model = exportable.create(random_run(**fields), weights='float32')
    shapes = exportable.input_shapes(model).values()
    program = jax.export.export(jax.jit(exportable.function(model)))(*shapes)
    assert 'stablehlo.convolution' in program.mlir_module()
    assert 'stablehlo.reverse' not in program.mlir_module()


def test_the_same_run_gives_the_same_file_without_paths_of_this_machine(interop):
    model = exportable.create(random_run())
    data = interop.to_bytes(model)
    assert data == interop.to_bytes(model)
    assert str(pathlib.Path(export.__file__).parent).encode() not in data


@pytest.mark.parametrize('fields, size, message', [
    ({}, (6, 8), r'--image_size=6,8: .*multiples of 4 from 4 on'),
    (RESNET, (8, 16), r'--image_size=8,16: .*multiples of 4 from 16 on'),
])  # fmt: skip
def test_a_size_that_the_network_cannot_take(fields, size, message):
    with pytest.raises(UserError, match=message):
        exportable.create(random_run(**fields), size=size)


# ---------------------------------------------------------------- the command


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
    """A run of four steps with averaged weights."""
    folder = tmp_path_factory.mktemp('run')
    pairs = make_pairs(folder / 'pairs', {'train': 4, 'test': 1})
    fields = dict(num_steps=4, checkpoint__every_steps=2, checkpoint__keep=2, ema_decay=0.9)
    fields |= dict(sample_every=0, generator__depth=3)
    train_and_evaluate(tiny_config(pairs, **fields), folder / 'run')
    return folder / 'run'


def command(*args):
    """The exit status of the command with these flags."""
    with pytest.raises(SystemExit) as stopped:
        run_command(export.main, export.define_flags, ['export', *args])
    return stopped.value.code


@pytest.mark.parametrize('format', ['stablehlo', 'onnx'])
@pytest.mark.parametrize('ema', [True, False])
def test_the_command(workdir, tmp_path, capsys, format, ema):
    interop = stablehlo if format == 'stablehlo' else onnx()
    path = tmp_path / f'model.{format}'
    args = (f'--workdir={workdir}', f'--format={format}', f'--output={path}', '--checkpoint=2')
    assert command(*args, f'--ema={ema}') == 0
    printed = capsys.readouterr().out
    for word in (str(path), 'MB', 'step 2', '(N, H, W, 3) on [-1, 1]', 'multiples of', 'within'):
        assert word in printed
    exported, metadata = interop.load(path.read_bytes())
    check(loaded_run.load_run(workdir, '2', ema), exported, images(loaded_run.load_run(workdir)))
    assert str(metadata['averaged_weights']).lower() == str(ema).lower()

    whole = path.read_bytes()
    assert command(*args) == 2 and 'exists' in capsys.readouterr().err
    assert path.read_bytes() == whole
    size = '--image_size=32,64'
    assert command(*args, '--overwrite', size, '--dtype=float16', '--norm=running') == 0
    assert 'H, W = 32, 64' in capsys.readouterr().out
    assert path.read_bytes() != whole


@pytest.mark.parametrize('args, message', [
    (('--format=onnx', '--output={0}/a.onnx'), '--workdir is missing'),
    (('--workdir={1}', '--output={0}/a.onnx'), '--format is missing'),
    (('--workdir={1}', '--format=onnx'), '--output is missing'),
    (('--workdir={1}', '--format=tflite', '--output={0}/a'), 'onnx'),
    (('--workdir={1}', '--format=onnx', '--output={0}/a.pb'), '--format=onnx writes .onnx'),
    (('--workdir={1}', '--format=pytorch', '--output={0}/a.bin'), '.safetensors or .pth or .pt'),
    (('--workdir={1}', '--format=stablehlo', '--output={0}'), 'writes .stablehlo'),
    (('--workdir={1}', '--format=stablehlo', '--output={0}/b.stablehlo'), 'is a folder'),
    (('--workdir={0}', '--format=stablehlo', '--output={0}/a.stablehlo'), 'no run there'),
    (('--workdir={1}', '--format=stablehlo', '--output={0}/a.stablehlo', '--checkpoint=3'),
     "no checkpoint '3'"),
    (('--workdir={1}', '--format=stablehlo', '--output={0}/a.stablehlo', '--image_size=9'),
     'multiples of 8'),
    (('--workdir={1}', '--format=stablehlo', '--output={0}/a.stablehlo', '--image_size=8,x'),
     'HEIGHT,WIDTH'),
    (('--workdir={1}', '--format=stablehlo', '--output={0}/a.stablehlo', '--norm=batch'), 'norm'),
    (('--workdir={1}', '--format=stablehlo', '--output={0}/a.stablehlo', '--dtype=int8'), 'dtype'),
    (('--workdir={1}', '--format=pytorch', '--output={0}/a.pth', '--dtype=float16'),
     '--dtype does nothing with --format=pytorch: it goes with --format=onnx or stablehlo or '
     'bioimageio or web'),
    (('--workdir={1}', '--format=onnx', '--output={0}/a.onnx', '--webgpu'),
     '--webgpu does nothing with --format=onnx: it goes with --format=web'),
])  # fmt: skip
def test_mistakes_are_one_line(workdir, tmp_path, capsys, monkeypatch, args, message):
    monkeypatch.setattr(export, 'check_packages', lambda format: None)
    (tmp_path / 'b.stablehlo').mkdir()
    assert command(*(arg.format(tmp_path, workdir) for arg in args)) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ['b.stablehlo']


def test_missing_packages_are_named(workdir, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export.importlib.util, 'find_spec', lambda name: None)
    monkeypatch.setattr(export.importlib.metadata, 'version', lambda name: export.MIN_JAX_FOR_ONNX)
    assert command(f'--workdir={workdir}', '--format=onnx', f'--output={tmp_path}/a.onnx') == 2
    error = capsys.readouterr().err
    assert "needs jax2onnx and onnxruntime: pip install -e '.[export]'" in error


@pytest.mark.parametrize('version', ['0.7.2', '0.8.0'])
def test_an_old_jax_writes_no_onnx_and_all_else(tmp_path, capsys, monkeypatch, version):
    monkeypatch.setattr(export.importlib.metadata, 'version', lambda name: version)
    assert command('--workdir=run', '--format=onnx', f'--output={tmp_path}/a.onnx') == 2
    assert capsys.readouterr().err == (
        f'error: --format=onnx needs jax 0.8.1 or newer, this is jax {version}: '
        'allowed are --format=stablehlo and pytorch\n'
    )
    for format in ('stablehlo', 'pytorch'):
        export.check_packages(format)


@pytest.mark.parametrize('wrong', [lambda x: x * 0 + 0.5, lambda x: x * np.nan])
def test_a_model_that_differs_is_not_written(workdir, tmp_path, capsys, monkeypatch, wrong):
    path = tmp_path / 'a.stablehlo'
    path.write_bytes(b'an older one')
    monkeypatch.setattr(stablehlo, 'load', lambda data: (wrong, {}))
    args = (f'--workdir={workdir}', '--format=stablehlo', f'--output={path}', '--overwrite')
    assert command(*args) == 1
    error = capsys.readouterr().err
    assert 'differs from the run' in error and len(error.splitlines()) == 1
    assert path.read_bytes() == b'an older one'
