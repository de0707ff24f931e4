"""The recipes of CONTRIBUTING.md, followed to the letter in a copy of the package."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from helpers import ROOT
from helpers.runs import make_pairs

RECIPE = re.compile(r'`(\S+\.py)`, an entry of `(\w+)`:\n\n```python\n(.*?)```', re.DOTALL)
# Two steps with the loss, on the task, with the norm; then the metric.
CODE = """
import sys
from helpers.runs import tiny_config
from pix2pix_jax.evaluation import metric_titles, metrics
from pix2pix_jax.evaluation.metrics import Options
from pix2pix_jax.evaluation.runs import evaluate_run
from pix2pix_jax.train import train_and_evaluate

pairs, workdir, output = sys.argv[1:]
config = tiny_config(
    pairs, num_steps=2, loss__gan='square-hinge', dataset__task='mirrored', generator__norm='soft'
)
train_and_evaluate(config, workdir)
evaluate_run(workdir, output, options=Options(('mse',)))
print(metric_titles.about())  # a part of --help
"""


@pytest.fixture(scope='module')
def package(tmp_path_factory):
    """A folder with the package, each entry of a recipe the first of its dict."""
    folder = tmp_path_factory.mktemp('package')
    shutil.copytree(ROOT / 'pix2pix_jax', folder / 'pix2pix_jax')
    recipes = RECIPE.findall((ROOT / 'CONTRIBUTING.md').read_text())
    assert {name for _, name, _ in recipes} == {'OBJECTIVES', 'METRICS', 'TASKS', 'NORMS'}
    for file, name, entry in recipes:
        head = re.compile(rf'^{name}\b.*= {{.*\n', re.MULTILINE)
        text, count = head.subn(
            lambda found, entry=entry: found[0] + entry, (folder / file).read_text()
        )
        assert count == 1
        (folder / file).write_text(text)
    return folder


@pytest.mark.parametrize('network', ['resnet', 'unet'])
def test_the_recipe_of_a_generator_names_what_the_factory_asks(network):
    recipe = (ROOT / 'CONTRIBUTING.md').read_text().split('### Add a generator')[1].split('###')[0]
    named = re.search(r'above its network \((.*?)\)', recipe, re.DOTALL)[1]
    source = (ROOT / f'pix2pix_jax/models/{network}.py').read_text()
    asked = re.split(r'^# -{10,}.*$', source, flags=re.MULTILINE)[1]
    assert re.findall(r'`(\w+)`', named) == re.findall(r'^def ([a-z]\w*)', asked, re.MULTILINE)


def python(package, *arguments):
    path = os.pathsep.join(map(str, (package, ROOT / 'tests')))
    environment = os.environ | {'PYTHONPATH': path}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=package)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.e2e
@pytest.mark.slow
def test_a_loss_a_task_a_norm_and_a_metric_by_their_recipes(package, tmp_path):
    pairs = make_pairs(tmp_path / 'pairs', {'train': 3, 'test': 2})
    workdir, output = tmp_path / 'run', tmp_path / 'evaluation'
    printed = python(package, '-c', CODE, pairs, workdir, output)
    assert 'mse: MSE (lower is better; needs a pair)' in printed
    rows = list(map(json.loads, (workdir / 'metrics.jsonl').read_text().splitlines()))
    # At the start D says about 0 of any image, and the squared hinge is 1 of both kinds.
    assert rows[0]['train/d_real'] == pytest.approx(1, abs=0.3)
    assert rows[0]['train/d_fake'] == pytest.approx(1, abs=0.3)
    assert rows[1]['step'] == 2 and rows[1]['train/d_loss'] is not None
    saved = json.loads((workdir / 'config.json').read_text())
    assert saved['loss']['gan'] == 'square-hinge' and saved['dataset']['task'] == 'mirrored'

    found = json.loads((output / 'metrics.json').read_text())['metrics']
    assert found['mse']['mean'] >= found['l1']['mean'] ** 2  # the mean of squares
    assert 'mse' in (output / 'per_image.csv').read_text().splitlines()[0]
    page = (output / 'index.html').read_text()
    assert '<td>mse</td><td>MSE ↓</td>' in page
