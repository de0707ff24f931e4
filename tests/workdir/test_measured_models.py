"""Which evaluation in a run's folder is of which model: step, weights, steps of a flow."""

import itertools
import json
import shutil

import pytest
from helpers.runs import random_run, tiny_config

from pix2pix_jax.evaluation.runs import RunImages, default_output
from pix2pix_jax.interop import exportable
from pix2pix_jax.reports import page_card
from pix2pix_jax.workdir import metrics_json
from pix2pix_jax.workdir.config_json import to_json
from pix2pix_jax.workdir.metrics_json import Model

FLOWS = [Model(*one) for one in itertools.product((4, 6), (True, False), (4, 20))]
GANS = [Model(*one) for one in itertools.product((4, 6), (True, False))]


def write_result(workdir, model, own):
    """Writes what `evaluate` finds of a model of a run with `own` steps of a flow, else 0."""
    result = {'split': 'test', 'step': model.step, 'images': 1} | (
        {} if model.ema else {'ema': False}
    )
    result |= {'steps': model.steps} if model.steps else {}
    score = {'mean': float(hash(model) % 997), 'ci95': [0, 1]}
    images = RunImages(ema=model.ema, steps=0 if model.steps == own else model.steps)
    folder = default_output(workdir, images)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'metrics.json').write_text(json.dumps(result | {'metrics': {'l1': score}}))
    return score['mean']


@pytest.mark.parametrize('models', [FLOWS, GANS])
def test_a_models_result_is_of_no_other(tmp_path, models):
    for model in models:
        workdir = tmp_path / str(models.index(model))
        expected = write_result(workdir, model, own=20 if model.steps else 0)
        for other in models:
            found = metrics_json.of_model(workdir, 'test', other)
            assert bool(found) == (other == model)
        assert metrics_json.of_model(workdir, 'test', model)['metrics']['l1']['mean'] == expected


def test_all_of_one_step_lie_beside_each_other(tmp_path):
    models = [model for model in FLOWS if model.step == 4]
    expected = {model: write_result(tmp_path, model, own=20) for model in models}
    for model, value in expected.items():
        result = metrics_json.of_model(tmp_path, 'test', model)
        assert result['metrics']['l1']['mean'] == value
        _, rows = page_card.metrics_of(tmp_path, model, str)
        assert len(rows) == 2 and rows[1][0] == 'l1'


@pytest.mark.parametrize('norm', ['', 'image', 'running', 'mixed'])
@pytest.mark.parametrize('kind', ['batch', 'instance', 'none'])
def test_no_evaluation_is_of_a_model_with_other_norms(tmp_path, kind, norm):
    run = random_run(generator__norm=kind, test__norm='image', test__dropout=False)
    write_result(tmp_path, run.model, own=0)
    model = exportable.measured_model(run, norm)
    created = exportable.create(run, norm).metadata['norm']
    measured = created == exportable.create(run).metadata['norm']
    assert measured == (kind != 'batch' or norm in ('', 'image'))
    assert bool(metrics_json.of_model(tmp_path, 'test', model)) == measured
    (tmp_path / 'metrics.jsonl').write_text(json.dumps({'step': run.step, 'eval/l1': 0.5}) + '\n')
    (tmp_path / 'config.json').write_text(to_json(run.config))
    for _ in range(2):  # with and without the evaluation
        assert bool(page_card.metrics_of(tmp_path, model, str)[1]) == measured
        shutil.rmtree(tmp_path / 'evaluation', ignore_errors=True)
    remark = exportable.about_metrics(run.config, model, measured)
    assert (remark == '') == measured and (measured or f'{norm}, and theirs image' in remark)


def test_it_is_said_where_evaluations_are_with_dropout():
    for dropout in (True, False):
        run = random_run(generator__dropout_blocks=1, test__dropout=dropout)
        model = exportable.measured_model(run, '')
        assert ('with dropout' in exportable.about_metrics(run.config, model, True)) == dropout
        assert exportable.about_metrics(run.config, model, False) == ''  # nothing was measured
    run = random_run(generator__dropout=0.0)
    assert exportable.about_metrics(run.config, exportable.measured_model(run, ''), True) == ''


def test_what_training_measured_is_of_the_averages_and_its_own_steps(tmp_path):
    (tmp_path / 'config.json').write_text(to_json(tiny_config('', method='flow', test__steps=20)))
    for name, steps in (('eval/l1', 4), ('test/l1', 20)):  # val is measured in fewer
        (tmp_path / 'metrics.jsonl').write_text(json.dumps({'step': 4, name: 0.5}) + '\n')
        shown = [model for model in FLOWS if page_card.metrics_of(tmp_path, model, str)[1]]
        assert shown == [Model(4, True, steps)]
