"""Entries of the dicts that a researcher adds to: each shows wherever it has to."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from helpers import ROOT
from helpers.runs import changed, error_of

from pix2pix_jax import losses
from pix2pix_jax.config import validate
from pix2pix_jax.evaluation import metric_titles, metrics, report
from pix2pix_jax.models import factory
from pix2pix_jax.models.factory import GENERATORS, NORMS

ALONE = {'loss.gan': 'none'}  # no discriminator, whose sizes are others
BETTER = {  # as the papers of the metrics have it
    metrics.LOWER: {'l1', 'mae', 'rmse', 'checkerboard', 'lpips', 'fid', 'kid'},
    metrics.HIGHER: {
        'psnr', 'ssim', 'lab_l', 'lab_a', 'lab_b', 'pixel_accuracy', 'class_accuracy', 'class_iou',
        'fcn_pixel_accuracy', 'fcn_class_accuracy', 'fcn_class_iou',
    },
}  # fmt: skip
VALUES = [name for metric in metrics.METRICS.values() for name in metric.values]


def summary_of(names):
    return {name: {'mean': 0.5, 'ci95': [0.25, 0.75]} for name in names}


@pytest.fixture(scope='module')
def usage():
    command = [sys.executable, '-m', 'pix2pix_jax.evaluate', '--help']
    done = subprocess.run(command, capture_output=True, text=True)
    return ''.join(done.stdout.split())  # lines are broken anywhere, in words with hyphens too


@pytest.mark.e2e
def test_every_metric_is_in_the_help(usage):
    for name, metric in metrics.METRICS.items():
        for value in metric.values.values():
            assert ''.join(value.title.split()) in usage, name
        if not metric.always:
            assert ''.join(f'is better; needs {metric.needs})'.split()) in usage, name


def test_every_metric_is_on_the_page_and_in_the_report(tmp_path):
    result = {'split': 'test', 'step': 1, 'checkpoint': 'last', 'images': 1}
    result['metrics'] = summary_of(VALUES)
    per_image = {name: [0.5] for name in VALUES}
    page = report.run_page.write_evaluation_page
    page(tmp_path, result, ['a'], per_image, ('output',), metric_titles.heading)
    text, table = (tmp_path / 'index.html').read_text(), report.table(result['metrics'])
    for name in VALUES:
        title = metric_titles.heading(name)
        assert title != name and title[-1] in (metrics.LOWER, metrics.HIGHER)
        assert f'<td>{name}</td><td>{title}</td><td>0.5000</td>' in text
        (line,) = (line for line in table.splitlines() if line.startswith(f'{name} '))
        assert metric_titles.title(name) in line and '0.5000' in line


def test_which_way_every_metric_is_better():
    for sign, names in ((-1, BETTER[metrics.LOWER]), (1, BETTER[metrics.HIGHER])):
        assert {name for name in VALUES if metric_titles.sign(name) == sign} == names


def test_a_metric_of_pairs_has_the_name_of_its_value():
    for name, metric in metrics.METRICS.items():
        if metric.needs == 'a pair':
            assert list(metric.values) == [name]


def test_the_documents_name_every_metric_and_objective():
    evaluation = (ROOT / 'docs' / 'evaluation.md').read_text()
    assert all(f'`{name}`' in evaluation for name in VALUES)
    training = (ROOT / 'docs' / 'training.md').read_text()
    assert rf'`loss.gan={"|".join(losses.CHOICES)}`'.replace('|', r'\|') in training


def test_titles_of_real_and_of_unknown_values():
    assert metric_titles.heading('psnr') == 'PSNR (dB) ↑'
    titles = [metric_titles.title(name) for one in metrics.METRICS.values() for name in one.values]
    assert len(set(titles)) == len(titles) and 'FCN class IoU' in titles
    assert metric_titles.heading('real_checkerboard') == 'checkerboard (dB), targets'
    assert metric_titles.heading('of_another_version') == 'of_another_version'


@pytest.mark.parametrize('name', list(GENERATORS))
def test_a_generator_takes_the_sizes_that_it_says(name):
    fields = {'generator.name': name, 'generator.width': 2, 'generator.blocks': 1}
    depth, network = 2, GENERATORS[name]
    fields['generator.depth'] = depth
    side, unit = network.minimum_side(depth), network.unit(depth)
    assert side % unit == network.padding_unit(depth) % unit == 0
    for size in ((side, side), (side + unit, 2 * side)):
        config = validate(changed(**fields, image_size=size))
        model = factory.create_models(changed(**fields, **ALONE, image_size=size), 'cpu').generator
        assert factory.generator_depth(config) == depth
        x = np.zeros((1, *size, 3), np.float32)
        keys = {'params': jax.random.key(0), 'dropout': jax.random.key(1)}
        output, _ = jax.eval_shape(lambda x, m=model, k=keys: m.init_with_output(k, x, True), x)
        assert output.shape == x.shape
    for size in ((side + 1, side), (side, side - unit)):
        if min(size) > 0:
            assert 'config.image_size' in error_of(
                factory.generator_depth, changed(**fields, image_size=size)
            )


@pytest.mark.parametrize(
    ('field', 'names'),
    [
        ('generator.name', GENERATORS),
        ('generator.norm', NORMS),
        ('discriminator.norm', NORMS),
        ('loss.gan', losses.OBJECTIVES),
    ],
)
def test_an_unknown_name_is_told_the_valid_ones(field, names):
    message = error_of(validate, changed(**{field: 'nonsense'}))
    assert ' | '.join(names) in message
