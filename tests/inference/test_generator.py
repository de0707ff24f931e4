import shutil

import jax
import numpy as np
import pytest
from helpers.runs import make_pairs, tiny_config

from pix2pix_jax.errors import UserError
from pix2pix_jax.inference.generator import Generator
from pix2pix_jax.inference.loaded_run import load_run, load_state, start_from
from pix2pix_jax.train import train_and_evaluate
from pix2pix_jax.workdir.config_json import load_config, to_json


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A run of four steps and its final state."""
    folder = tmp_path_factory.mktemp('run')
    pairs = make_pairs(folder / 'pairs', {'train': 4, 'val': 1, 'test': 2})
    config = tiny_config(pairs, num_steps=4, checkpoint__keep=2, checkpoint__every_steps=2)
    return folder / 'run', train_and_evaluate(config, folder / 'run')


@pytest.fixture(scope='module')
def run(trained):
    return load_run(trained[0])


@pytest.fixture(scope='module')
def images():
    return np.random.default_rng(0).uniform(-1, 1, (5, 32, 32, 3)).astype(np.float32)


def test_load_run_gives_the_trained_variables(trained, run):
    assert run.step == 4 and run.config.num_steps == 4
    jax.tree.map(np.testing.assert_array_equal, run.variables, trained[1].generator.variables)


def test_load_run_of_a_step_and_of_the_best(trained):
    assert load_run(trained[0], '2').step == 2
    assert load_run(trained[0], 'best').step in (2, 4)


@pytest.mark.parametrize(
    ('checkpoint', 'message'),
    [('3', r"no checkpoint '3', allowed are last \| best \| 2 \| 4"), ('x', "no checkpoint 'x'")],
)
def test_load_run_says_which_checkpoints_there_are(trained, checkpoint, message):
    with pytest.raises(UserError, match=message):
        load_run(trained[0], checkpoint)


def test_load_run_of_no_run(tmp_path):
    with pytest.raises(UserError, match='no run there'):
        load_run(tmp_path)


def test_data_that_moved_is_found_again(trained, tmp_path):
    workdir = shutil.copytree(trained[0], tmp_path / 'run')
    config = load_config(workdir)
    config.dataset.path = str(tmp_path / 'moved')
    (workdir / 'config.json').write_text(to_json(config))
    assert load_run(workdir).config.dataset.path == str(tmp_path / 'moved')


def test_a_damaged_checkpoint_is_one_line(trained, tmp_path):
    workdir = shutil.copytree(trained[0], tmp_path / 'run')
    for file in (workdir / 'checkpoints/last/4/state').rglob('*'):
        if file.is_file():
            file.write_bytes(b'')
    with pytest.raises(UserError, match='last/4 does not load, it is damaged'):
        load_run(workdir)


def test_an_image_does_not_depend_on_its_neighbours(run, images):
    alone = [Generator(run.config, run.variables)(image[None])[0] for image in images]
    together = Generator(run.config, run.variables, batch=3)(images)
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_the_output_is_on_the_range(run, images):
    output = Generator(run.config, run.variables)(images)
    assert output.shape == images.shape and output.dtype == np.float32
    assert np.abs(output).max() <= 1


def test_seed_and_sample_choose_the_dropout_mask(run, images):
    image = images[:1]
    translate = Generator(run.config, run.variables)
    first = translate(image, sample=0)
    np.testing.assert_array_equal(first, translate(image, sample=0))
    assert not np.array_equal(first, translate(image, sample=1))
    other = Generator(run.config, run.variables, seed=1)
    assert not np.array_equal(first, other(image, sample=0))


def test_without_dropout_samples_are_equal(run, images):
    translate = Generator(run.config, run.variables, dropout=False)
    np.testing.assert_array_equal(translate(images[:1], sample=0), translate(images[:1], sample=1))


def test_norm_switch(run, images):
    image, running = (
        Generator(run.config, run.variables, norm=norm, dropout=False)(images[:1])
        for norm in ('image', 'running')
    )
    assert not np.allclose(image, running, atol=1e-3)


def test_config_test_gives_the_defaults(run, images):
    config = run.config.copy_and_resolve_references()
    config.unlock()
    config.test.dropout, config.test.norm, config.test.seed = False, 'running', 3
    given = Generator(run.config, run.variables, norm='running', dropout=False)
    np.testing.assert_array_equal(Generator(config, run.variables)(images[:1]), given(images[:1]))


def test_update_takes_newer_variables(run, images):
    translate = Generator(run.config, jax.tree.map(np.zeros_like, run.variables))
    assert not translate(images[:1]).any()
    translate.update(run.variables)
    np.testing.assert_array_equal(
        translate(images[:1]), Generator(run.config, run.variables)(images[:1])
    )


@pytest.fixture(scope='module')
def averaged(tmp_path_factory):
    """A run with an average of the weights, from the same kind of data."""
    folder = tmp_path_factory.mktemp('averaged')
    pairs = make_pairs(folder / 'pairs', {'train': 4, 'test': 1})
    fields = dict(num_steps=4, ema_decay=0.9, seed=1, sample_every=0)
    return folder / 'run', train_and_evaluate(tiny_config(pairs, **fields), folder / 'run')


def test_the_averages_are_loaded_unless_the_weights_are_asked_for(averaged):
    workdir, state = averaged
    for ema, params in ((True, state.ema), (False, state.generator.params)):
        jax.tree.map(
            np.testing.assert_array_equal, load_run(workdir, ema=ema).variables['params'], params
        )
    a, b = (
        load_run(workdir, ema=ema).variables['params']['down0']['kernel'] for ema in (True, False)
    )
    assert np.abs(a - b).max() > 1e-5


def test_a_run_without_averages_is_one_model(trained, averaged):
    """So an export of it with --noema has the metrics of its evaluation."""
    for (workdir, _), same in ((trained, True), (averaged, False)):
        of_weights, of_averages = (load_run(workdir, ema=ema).model for ema in (False, True))
        assert (of_weights == of_averages) == same and of_averages.ema


def test_a_run_may_start_from_the_networks_of_another(trained, averaged):
    old = trained[1]
    _, _, state = load_state(averaged[0], 'last')
    new = start_from(state, trained[0])
    for network in ('generator', 'discriminator'):
        a, b, c = (getattr(s, network) for s in (new, old, state))
        jax.tree.map(np.testing.assert_array_equal, a.variables, b.variables)
        jax.tree.map(np.testing.assert_array_equal, a.opt_state, c.opt_state)
    jax.tree.map(np.testing.assert_array_equal, new.ema, old.generator.params)


@pytest.mark.parametrize('fields, message', [
    ({'generator__width': 5}, r'down0/kernel is \(4, 4, 3, 4\) there and \(4, 4, 3, 5\) here'),
    ({'generator__name': 'encoder_decoder'}, r'up\d/kernel'),
    ({'discriminator__layers': 2}, 'conv|logits'),
])  # fmt: skip
def test_a_run_does_not_start_from_other_networks(trained, tmp_path, fields, message):
    config = tiny_config(trained[0].parent / 'pairs', init_from=str(trained[0]), **fields)
    with pytest.raises(UserError, match=f'config.init_from={trained[0]}.*{message}'):
        train_and_evaluate(config, tmp_path / 'run')
    assert not (tmp_path / 'run' / 'config.json').exists()


def test_a_run_does_not_start_from_none(trained, tmp_path):
    config = tiny_config(trained[0].parent / 'pairs', init_from=str(tmp_path / 'none'))
    with pytest.raises(UserError, match='config.init_from=.*none.*no run there'):
        train_and_evaluate(config, tmp_path / 'run')
