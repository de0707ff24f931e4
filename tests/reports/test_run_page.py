import html.parser
import json
import re
import urllib.parse

import numpy as np
import pytest
from helpers import ROOT

from pix2pix_jax import config
from pix2pix_jax.evaluation import metric_titles
from pix2pix_jax.reports import curves, run_page
from pix2pix_jax.storage import atomic

VOID = {'meta', 'img', 'br', 'path', 'use', 'rect', 'circle', 'line', 'link'}
HOSTILE = '<script>alert("&")</script>'


class Page(html.parser.HTMLParser):
    """Reads a page: its tags, links, text; fails on tags that do not close in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.text, self.open = [], [], '', []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [v for k, v in attributes if k in ('src', 'href')]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def page_of(workdir, rows, command='main --config=configs/test.py'):
    run_page.write_run_page(workdir, config.default_config(), rows, command, metric_titles.heading)
    return Page((workdir / 'index.html').read_text())


def make_rows(count):
    rng = np.random.default_rng(0)
    rows = [{'step': 10 * i + 10, 'train/g_l1': float(rng.random())} for i in range(count)]
    return [row | {'train/g_gan': None} for row in rows]


def test_a_run_that_has_just_started_has_a_page(tmp_path):
    page = page_of(tmp_path, [])
    assert 'svg' not in page.tags and 'img' not in page.tags
    assert 'optimizer.learning_rate' in page.text and 'main --config' in page.text


def test_only_what_has_data_is_drawn(tmp_path):
    assert page_of(tmp_path, make_rows(3)).tags.count('svg') == 1
    rows = make_rows(50)
    rows[-1] |= {'eval/l1': 0.1, 'eval/psnr': 20.0, 'eval/ssim': 0.5, 'train/d_loss': 1.0}
    page = page_of(tmp_path, rows)
    assert page.tags.count('svg') == 4
    assert all(title in page.text for title in ('L1', 'PSNR (dB)', 'SSIM', 'discriminator'))


def test_nothing_is_fetched_and_every_link_is_there(tmp_path):
    for step in range(0, 3000, 100):
        atomic.write_bytes(tmp_path / 'samples' / f'step_{step:07d}.png', b'')
    atomic.write_text(tmp_path / 'evaluation' / 'a b' / 'index.html', '')
    page = page_of(tmp_path, make_rows(5))
    shown = [link for link in page.links if link.startswith('samples/')]
    assert len(set(shown)) == run_page.SAMPLES
    assert shown[0] == 'samples/step_0002900.png' and shown[-1] == 'samples/step_0000000.png'
    targets = [urllib.parse.unquote(link) for link in page.links if not link.startswith('#')]
    assert 'evaluation/a b/index.html' in targets
    assert all((tmp_path / target).exists() for target in targets)
    assert 'script' not in page.tags and 'link' not in page.tags


def test_everything_is_escaped(tmp_path):
    workdir = tmp_path / HOSTILE.replace('/', '')
    atomic.write_text(workdir / 'run.json', json.dumps({'command': HOSTILE}))
    page = page_of(workdir, make_rows(2), command=HOSTILE)
    assert 'script' not in page.tags
    assert HOSTILE in page.text


def test_test_metrics_have_intervals_where_the_evaluation_of_that_step_is_there(tmp_path):
    rows = [{'step': 7, 'test/l1': 0.25, 'test/ssim': None}]
    assert '0.2500' in page_of(tmp_path, rows).text
    result = {'step': 7, 'images': 1, 'metrics': {'l1': {'mean': 0.25, 'ci95': [0.125, 0.5]}}}
    atomic.write_text(tmp_path / 'evaluation' / 'test' / 'metrics.json', json.dumps(result))
    assert '0.1250 to 0.5000' in page_of(tmp_path, rows).text
    assert '0.1250 to 0.5000' not in page_of(tmp_path, [rows[0] | {'step': 8}]).text


@pytest.mark.parametrize('count', [1, 3, 30])
def test_evaluation_page_shows_all_images_and_the_extremes(tmp_path, count):
    rng = np.random.default_rng(count)
    names = [f'x/{i} <b>&' for i in range(count)]
    per_image = {'l1': list(rng.permutation(count) / 100), 'ssim': [float('nan')] * count}
    summary = {'l1': {'mean': 0.1, 'ci95': [0.0, 0.2]}, 'ssim': {'value': None, 'reason': 'small'}}
    result = {'split': 'val', 'step': 5, 'checkpoint': 'best', 'images': count, 'metrics': summary}
    kinds = ('input', 'output')
    run_page.write_evaluation_page(tmp_path, result, names, per_image, kinds, metric_titles.heading)
    page = Page((tmp_path / 'index.html').read_text())
    expected = [f'images/{name}_{kind}.png' for name in names for kind in kinds]
    shown = [urllib.parse.unquote(link) for link in page.links]
    assert shown[-len(expected) :] == expected
    assert 'small' in page.text and 'Evaluation: val' in page.text
    if count > 2 * run_page.EXTREMES:
        order = np.argsort(per_image['l1'])
        assert shown[0] == f'images/{names[order[0]]}_input.png'
        assert shown[2 * run_page.EXTREMES] == f'images/{names[order[-1]]}_input.png'
    else:
        assert shown == expected


@pytest.mark.parametrize('task', ['none', 'colorize'])
def test_two_kinds_of_l1_are_drawn_apart(tmp_path, task):
    """That of a and b in training is no gap to that of RGB on val."""
    rows = [{'step': i, 'train/g_l1': 0.1 * i, 'eval/l1': 0.2 * i} for i in (1, 2)]
    fields = config.default_config()
    fields.dataset.task = task
    run_page.write_run_page(tmp_path, fields, rows, '', metric_titles.heading)
    page = Page((tmp_path / 'index.html').read_text()).text
    apart = task == 'colorize'
    assert ('L1 of a and b in training' in page) == apart
    titles = dict(curves.panels(rows, str, apart))
    assert ('train/g_l1' in titles['l1'], 'eval/l1' in titles['l1']) == (not apart, True)


def test_each_loss_of_a_step_is_drawn():
    """But the weighted sum of all, and the squared error that is 0 unless it is asked for."""
    drawn = {name for _, labels in curves.panels([], str) for name in labels}
    text = (ROOT / 'pix2pix_jax/gradients.py').read_text()
    logged = {f'train/{name}' for name in re.findall(r"'([dg]_[a-z0-9]+)'", text)}
    assert logged - drawn == {'train/g_loss', 'train/g_l2'} and len(logged) > 8


def test_smooth_keeps_constants_and_follows_the_mean():
    np.testing.assert_allclose(curves.smooth(np.full(9, 3.0), 4), 3)
    np.testing.assert_array_equal(curves.smooth(np.arange(4.0), 1), np.arange(4.0))
    noisy = np.random.default_rng(0).normal(5, 1, 4000)
    assert abs(curves.smooth(noisy, 200)[-1] - 5) < 0.3
