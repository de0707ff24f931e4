"""Whole runs of a flow: what they imply and refuse, write, resume, translate and export."""

import importlib.util
import json
import shutil
import signal
import sys
import zipfile

import jax
import numpy as np
import pytest
from helpers import ROOT
from helpers.networks import count
from helpers.runs import (
    assert_equal_states,
    error_of,
    lines,
    make_pairs,
    metrics,
    random_run,
    samples,
    stop_at,
    tiny_config,
)
from PIL import Image

import pix2pix_jax
from pix2pix_jax import dry_run, evaluate, export, flow, main, recorder, translate
from pix2pix_jax.config import IMPLIED, default_config, flatten, from_fields, validate
from pix2pix_jax.config_fields import FIELDS
from pix2pix_jax.errors import Stopped, UserError, run_command
from pix2pix_jax.evaluation.runs import RunImages, evaluate_run
from pix2pix_jax.inference import generator, loaded_run
from pix2pix_jax.interop import exportable, packing, stablehlo
from pix2pix_jax.models.factory import create_models
from pix2pix_jax.reports import curves
from pix2pix_jax.reports.progress import Durations
from pix2pix_jax.train import train_and_evaluate
from pix2pix_jax.workdir.config_json import from_json, load_config, to_json

CONFIGS = sorted(path.stem for path in (ROOT / 'configs').glob('*.py'))
CONFIGS.remove('facades_classes')  # its outputs are classes


def flow_config(path, **fields):
    config = tiny_config(path, method='flow', ema_decay=0.5, test__steps=3)
    config.update_from_flattened_dict({k.replace('__', '.'): v for k, v in fields.items()})
    return config


@pytest.fixture(scope='module')
def pairs(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp('pairs'), {'train': 8, 'val': 3, 'test': 2})


@pytest.fixture(scope='module')
def whole(pairs, tmp_path_factory):
    workdir = tmp_path_factory.mktemp('runs') / 'whole'
    return workdir, train_and_evaluate(flow_config(pairs), workdir)


def status(capsys, module, *words):
    """The exit status of a command, and what it says of an error."""
    words = ['command', *map(str, words)]
    with pytest.raises(SystemExit) as stopped, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', words)  # where ml_collections looks for --config.FIELD
        run_command(module.main, module.define_flags, words)
    return stopped.value.code, capsys.readouterr().err


def test_the_time_left_counts_the_steps_of_the_last_test(whole, pairs, tmp_path, monkeypatch):
    """Three for each image of test; those of an evaluation, which was timed, took four."""
    costs = []

    def noted(*args):
        costs.append(args[-1])
        return Durations(*args)

    monkeypatch.setattr(recorder, 'Durations', noted)
    train_and_evaluate(flow_config(pairs), shutil.copytree(whole[0], tmp_path / 'run'))
    assert costs == [3 / 4]


# ---------------------------------------------------------------- the config


def test_what_it_implies_stands_in_config_json(whole):
    fields = json.loads((whole[0] / 'config.json').read_text())
    assert fields['generator']['norm'] == 'instance' and fields['generator']['dropout'] == 0
    assert fields['loss']['gan'] == 'none' and fields['loss']['l1_weight'] == 0
    config = load_config(whole[0])
    assert config.method == 'flow' and validate(config) == config


@pytest.mark.parametrize('name', CONFIGS)
def test_the_configs_take_it_by_itself(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / 'configs' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config('tiny')
    before = flatten(validate(config))
    config.method = 'flow'
    after = flatten(validate(config))
    changed = {name for name in after if after[name] != before[name]}
    assert changed <= {'method', *IMPLIED['flow']}
    assert create_models(validate(config), 'cpu').discriminator is None


@pytest.mark.parametrize('field, value', [
    ('generator.norm', 'none'), ('generator.dropout', 0.2), ('loss.gan', 'hinge'),
    ('loss.l1_weight', 10.0), ('loss.l2_weight', 1.0), ('dataset.target_classes', 3),
    ('loss.r1_weight', 1.0), ('loss.feature_weight', 10.0), ('optimizer.d_steps', 2),
    ('discriminator.augment', 'color'),
])  # fmt: skip
def test_what_it_does_not_have_is_refused(field, value):
    fields = flatten(default_config()) | {'method': 'flow', field: value}
    message = error_of(from_fields, fields)
    assert f'config.{field}' in message and str(value) in message and 'allowed is' in message


def test_steps_are_of_a_flow():
    message = error_of(from_fields, flatten(default_config()) | {'test.steps': 4})
    assert message == "config.test.steps=4: allowed is 20 where config.method='gan'"


def test_a_flag_is_a_choice_that_a_default_is_not(tmp_path, capsys, monkeypatch):
    """Of a file's 100 nobody can tell whether it was meant; of a flag's everybody can."""
    monkeypatch.chdir(ROOT)
    for flags, said in [
        ({'loss.l1_weight': 100.0}, 'config.loss.l1_weight=100.0: allowed is 0.0'),
        ({'generator.norm': 'batch'}, "config.generator.norm='batch': allowed is 'instance'"),
    ]:
        words = [f'--config.{name}={value}' for name, value in flags.items()]
        code, error = status(
            capsys, main, '--config=configs/test.py', '--config.method=flow', *words,
            f'--workdir={tmp_path}/run',
        )  # fmt: skip
        assert code == 2 and said in error and error.count('\n') == 1
    for arg in ('loss=l1', 'discriminator=16'):
        code, error = status(
            capsys, main, f'--config=configs/test.py:{arg}', '--config.method=flow',
            f'--workdir={tmp_path}/run',
        )  # fmt: skip
        assert code == 2 and f"config argument '{arg}': it goes with config.method=gan" in error
    assert not (tmp_path / 'run').exists()


def test_a_config_of_an_older_version_is_a_gans():
    fields = json.loads(to_json(validate(default_config())))
    del fields['method'], fields['test']['steps']
    assert from_json(json.dumps(fields)) == validate(default_config())


@pytest.mark.parametrize('fields', [{}, {'generator.name': 'resnet', 'generator.blocks': 2}])
def test_the_network_is_the_gans_with_a_noisy_target_and_layers_of_the_time(fields):
    def shapes(method):
        config = default_config()
        config.update_from_flattened_dict({
            'method': method, 'image_size': (32, 32), 'generator.norm': 'instance',
            'generator.dropout': 0.0, 'loss.gan': 'none', 'loss.l1_weight': 0.0 if method == 'flow'
            else 1.0, 'generator.input_channels': 4, 'generator.output_channels': 2, **fields,
        })  # fmt: skip
        return loaded_run.state_shapes(validate(config)).generator.params

    gan, with_time = shapes('gan'), shapes('flow')
    of_time = {name for name in with_time if name not in gan}
    assert 'time' in of_time and all(name == 'time' or name.endswith('_time') for name in of_time)
    norms = {name for name in gan if name.endswith('_norm')}  # instance norm has no parameters
    assert norms == set()
    changed = [name for name in gan if count(gan[name]) != count(with_time[name])]
    first = 'stem' if fields else 'down0'
    assert changed == [first]
    assert with_time[first]['kernel'].shape[2] == 6 and gan[first]['kernel'].shape[2] == 4


# ---------------------------------------------------------------- the run


def test_it_leaves_what_a_run_leaves(whole):
    workdir, state = whole
    rows = metrics(workdir)
    assert [row['step'] for row in rows] == list(range(1, 7))
    assert all({'train/flow', 'train/learning_rate'} == {k for k in row if k[:6] == 'train/'}
               for row in rows)  # fmt: skip
    assert all(np.isfinite(row['train/flow']) for row in rows)
    assert {'eval/l1', 'eval/psnr', 'eval/ssim'} <= rows[-1].keys()
    assert state.discriminator is None and state.ema is not None
    assert len(samples(workdir)) == 3 and (workdir / 'checkpoints' / 'best').exists()
    panels = dict(curves.panels(rows, str))
    assert 'train/flow' in panels['Squared error of the velocity']


def test_evaluations_in_training_take_four_steps_and_the_last_test_its_own(whole):
    workdir, state = whole
    config = load_config(workdir)
    last = metrics(workdir)[-1]

    def l1(split, steps):
        return evaluate_run(workdir, None, RunImages(split, steps=steps))['l1']['mean']

    np.testing.assert_allclose(last['eval/l1'], l1('val', flow.STEPS_IN_TRAINING), rtol=1e-5)
    np.testing.assert_allclose(last['test/l1'], l1('test', 0), rtol=1e-5)
    assert l1('test', 0) == l1('test', config.test.steps) != l1('test', 1)
    result = json.loads((workdir / 'evaluation' / 'test' / 'metrics.json').read_text())
    assert result['steps'] == config.test.steps == 3


def test_an_interrupted_run_equals_the_uninterrupted_one(pairs, whole, tmp_path, monkeypatch):
    workdir = tmp_path / 'run'
    stop_at(3, signal.SIGTERM, monkeypatch)
    with pytest.raises(Stopped):
        train_and_evaluate(flow_config(pairs), workdir)
    monkeypatch.undo()
    assert metrics(workdir)[-1]['step'] == 3
    assert_equal_states(train_and_evaluate(flow_config(pairs), workdir), whole[1])
    assert metrics(workdir) == metrics(whole[0]) and samples(workdir) == samples(whole[0])


def test_a_run_starts_from_another_flow_and_from_no_gan(pairs, whole, tmp_path):
    fields = {'optimizer__learning_rate': 0.0, 'num_steps': 1, 'init_from': str(whole[0])}
    state = train_and_evaluate(flow_config(pairs, **fields), tmp_path / 'next')
    assert_equal_states(state.generator.params, whole[1].generator.params)
    fields = {'loss__gan': 'none', 'generator__norm': 'instance', 'num_steps': 1, 'eval_every': 0}
    train_and_evaluate(tiny_config(pairs, **fields), tmp_path / 'gan')
    config = flow_config(pairs, init_from=str(tmp_path / 'gan'))
    with pytest.raises(UserError, match='its networks differ from these: params/'):
        train_and_evaluate(config, tmp_path / 'refused')


def test_a_dry_run_says_what_it_takes(pairs, tmp_path, capsys):
    dry_run.dry_run(flow_config(pairs), tmp_path / 'run')
    said = capsys.readouterr().out
    assert '"method": "flow"' in said and 'generator: ' in said and 'discriminator: ' not in said
    assert 'memory of a step on each device' in said


@pytest.mark.parametrize('fields', [
    {'dataset__task': 'colorize', 'generator__input_channels': 1, 'generator__output_channels': 2},
    {'dataset__task': 'super_resolution'},
    {'generator__input_channels': 1, 'generator__output_channels': 1},
    {'generator__name': 'resnet', 'generator__blocks': 1, 'dataset__target_range': '0:200'},
], ids=['colorize', 'super_resolution', 'gray', 'resnet, units'])  # fmt: skip
def test_other_data_and_networks(fields, pairs, tmp_path):
    config = flow_config(pairs, num_steps=1, sample_every=1, test__steps=1, **fields)
    train_and_evaluate(config, tmp_path / 'run')
    (row,) = lines(tmp_path / 'run')
    assert row.keys() >= {'train/flow', 'eval/l1', 'test/l1'}
    translated = pix2pix_jax.Translator(tmp_path / 'run')(np.zeros((32, 32, 3), np.uint8))
    assert translated.shape[:2] in ((32, 32), (128, 128)) and np.ptp(translated) > 10


def test_masks_and_sixteen_bits(tmp_path):
    rng = np.random.default_rng(0)
    for side, levels in (('A', 256), ('B', 65536), ('mask', 2)):
        (tmp_path / 'pairs' / 'train' / side).mkdir(parents=True)
        for i in range(3):
            image = rng.integers(0, levels, (32, 32), np.uint16)
            image = image if side == 'B' else image.astype(np.uint8)
            Image.fromarray(image).save(tmp_path / 'pairs' / 'train' / side / f'{i}.png')
    config = flow_config(
        tmp_path / 'pairs', dataset__mask='mask', num_steps=2, test__steps=1,
        generator__input_channels=1, generator__output_channels=1,
    )  # fmt: skip
    train_and_evaluate(config, tmp_path / 'run')
    assert all(np.isfinite(row['train/flow']) for row in metrics(tmp_path / 'run'))
    output = pix2pix_jax.Translator(tmp_path / 'run')(np.zeros((32, 32), np.uint8))
    assert output.dtype == np.uint16


# ---------------------------------------------------------------- what it translates


@pytest.fixture(scope='module')
def translated(whole):
    """Translates an image with these options."""
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)

    def translated(sample=0, **options):
        return pix2pix_jax.Translator(whole[0], **options)(image, sample=sample)

    return translated


def test_seed_sample_and_steps_change_a_translation_and_nothing_else(translated):
    first = translated()
    for options in ({'seed': 1}, {'sample': 1}, {'steps': 1}):
        assert (translated(**options) != first).any(), options
    for options in ({'dropout': False}, {'batch': 3}, {'norm': 'running'}, {'steps': 3}):
        np.testing.assert_array_equal(translated(**options), first)


def test_an_image_does_not_depend_on_its_neighbours(whole):
    """Up to rounding: all have one noise."""
    run = loaded_run.load_run(whole[0])
    x = np.random.default_rng(0).uniform(-1, 1, (3, 32, 32, 3)).astype(np.float32)
    together = generator.Generator(run.config, run.variables, batch=3)(x)
    alone = generator.Generator(run.config, run.variables)(x[1:2])
    np.testing.assert_allclose(together[1:2], alone, atol=1e-5)


def test_samples_of_translate_differ(whole, pairs, tmp_path, capsys):
    words = [f'--workdir={whole[0]}', f'--output={tmp_path}/out', '--split=test', '--nodropout']
    assert status(capsys, translate, *words, '--samples=2', '--steps=2')[0] == 0
    a, b = (np.asarray(Image.open(tmp_path / 'out' / f'0_s{i}.png')).astype(int) for i in (0, 1))
    assert a.shape == (32, 32, 3) and np.abs(a - b).max() > 10
    assert (tmp_path / 'out' / '0_std.png').exists()


def test_evaluate_with_other_steps_has_a_folder_of_its_own(whole, capsys):
    assert status(capsys, evaluate, f'--workdir={whole[0]}', '--metrics=', '--steps=1')[0] == 0
    folder = whole[0] / 'evaluation'
    ours = json.loads((folder / 'test_steps1' / 'metrics.json').read_text())
    own = json.loads((folder / 'test' / 'metrics.json').read_text())
    assert (ours['steps'], own['steps']) == (1, 3)
    assert ours['metrics']['l1'] != own['metrics']['l1']
    assert '1 steps of the flow' in (folder / 'test_steps1' / 'index.html').read_text()


@pytest.fixture(scope='module')
def gan(pairs, tmp_path_factory):
    workdir = tmp_path_factory.mktemp('runs') / 'gan'
    train_and_evaluate(tiny_config(pairs, num_steps=1, eval_every=0, sample_every=0), workdir)
    return workdir


@pytest.mark.parametrize('module, words', [
    (translate, ['--split=test', '--output=out']), (evaluate, ['--output=out', '--metrics=']),
    (export, ['--format=stablehlo', '--output=out.stablehlo']),
])  # fmt: skip
def test_steps_are_refused_of_a_gan_and_beyond_fifty(
    module, words, whole, gan, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code, error = status(capsys, module, f'--workdir={gan}', '--steps=4', *words)
    assert code == 2 and error.count('\n') == 1
    assert "--steps=4: they are of a flow; the run is of config.method='gan'" in error
    code, error = status(capsys, module, f'--workdir={whole[0]}', '--steps=51', *words)
    assert code == 2 and '--steps=51: allowed is 1 to 50' in error
    assert not list(tmp_path.iterdir())


def test_a_packed_run_translates_as_the_run(whole, tmp_path, translated):
    packing.pack_run(whole[0], tmp_path / 'run.zip', packing.Choices())
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    found = pix2pix_jax.Translator(tmp_path / 'run.zip')(image)
    np.testing.assert_array_equal(found, translated())


def test_the_card_says_the_method(whole, tmp_path):
    packing.pack_run(whole[0], tmp_path / 'run.zip', packing.Choices())
    card = zipfile.ZipFile(tmp_path / 'run.zip').read('README.md').decode()
    assert 'rectified flow' in card and '3 steps' in card and 'GAN' not in card


# ---------------------------------------------------------------- exports


def interops():
    yield stablehlo
    if all(importlib.util.find_spec(name) for name in ('jax2onnx', 'onnxruntime')):
        from pix2pix_jax.interop import onnx

        yield onnx


@pytest.mark.parametrize('name', ['stablehlo', 'onnx'])
@pytest.mark.parametrize(
    'fields', [{}, {'generator__name': 'resnet', 'generator__blocks': 1}], ids=['unet', 'resnet']
)
def test_exports_take_the_noise_and_any_batch_and_size(name, fields):
    interop = next((one for one in interops() if one.__name__.endswith(name)), None)
    if interop is None:
        pytest.skip('needs the extra export')
    channels = {'generator__input_channels': 2, 'generator__output_channels': 1}
    run = random_run(method='flow', loss__l1_weight=0.0, test__steps=4, **channels, **fields)
    exported, about = interop.load(interop.to_bytes(exportable.create(run)))
    assert about['noise'] == 'standard normal' and int(about['steps']) == 4
    rng, apply = np.random.default_rng(0), generator.generator_function(run.config, 'cpu')
    for shape in ((1, 16, 16), (2, 32, 24)):
        x = rng.uniform(-1, 1, (*shape, 2)).astype(np.float32)
        noise = rng.standard_normal((*shape, 1), np.float32)
        expected = np.asarray(jax.jit(apply)(run.variables, x, noise))
        assert 0.1 < np.abs(expected).mean() < 0.99
        np.testing.assert_allclose(exported(x, noise), expected, atol=1e-4)
        assert np.abs(np.asarray(exported(x, -noise)) - expected).max() > 0.1


@pytest.mark.parametrize('interop', interops(), ids=lambda one: one.__name__.split('.')[-1])
def test_a_file_has_the_weights_once_whatever_the_steps(interop):
    sizes = []
    for steps in (1, 10):
        run = random_run(method='flow', loss__l1_weight=0.0, test__steps=steps, generator__width=16)
        sizes.append(len(interop.to_bytes(exportable.create(run))))
    assert sizes[1] < 1.5 * sizes[0]


@pytest.mark.parametrize('format', ['pytorch', 'bioimageio'])
def test_other_formats_have_no_place_for_it(format, whole, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export, 'check_packages', lambda format: None)
    output = tmp_path / ('a.zip' if format == 'bioimageio' else 'a.pth')
    words = [f'--workdir={whole[0]}', f'--format={format}', f'--output={output}']
    code, error = status(capsys, export, *words)
    assert code == 2 and 'allowed are onnx | stablehlo | web' in error and not output.exists()


def test_the_demo_has_a_seed(whole):
    pytest.importorskip('gradio', reason='needs the extra demo')
    from pix2pix_jax.web.page import no_seed

    assert no_seed(pix2pix_jax.Translator(whole[0])) == ''


def test_the_steps_are_those_of_the_field():
    assert FIELDS['test.steps'].allowed.ends == (1, 50) and FIELDS['test.steps'].default == 20
