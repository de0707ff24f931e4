"""The model card of a packed run: README.md with the front matter that model hubs read.

The front matter is YAML of the kind that is JSON, too: https://hf.co/docs/hub/model-cards.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pix2pix_jax.config import Config
from pix2pix_jax.data import tasks
from pix2pix_jax.errors import UserError
from pix2pix_jax.evaluation import metric_titles
from pix2pix_jax.models.factory import generator_depth
from pix2pix_jax.reports import licences, markdown, run_page
from pix2pix_jax.version import version
from pix2pix_jax.workdir.packed import DISCRIMINATOR, About


class Card(NamedTuple):
    """What a card says."""

    name: str
    config: Config
    about: About
    results: Mapping[str, Mapping[str, Any]]  # of metrics.json, by file
    licence: str
    has_sheet: bool


def check_licence(licence: str) -> None:
    """Raises UserError for what is no word that hubs have for a licence; '' is not given."""
    if not re.fullmatch(r'[a-z0-9][a-z0-9.-]*|', licence):
        raise UserError(
            f'--license={licence}: allowed is the word that model hubs have for it, as mit, '
            f'apache-2.0, cc-by-4.0, other or {licences.UNKNOWN}'
        )


def text(card: Card) -> str:
    """Returns the text of README.md."""
    front = ''.join(
        f'{key}: {json.dumps(value, ensure_ascii=False)}\n' for key, value in _front(card).items()
    )
    return f'---\n{front}---\n\n' + '\n'.join(_body(card)) + '\n'


def _front(card: Card) -> dict[str, Any]:
    """The front matter, in the order of the hubs' documentation."""
    named = card.config.dataset.name
    data = {} if named == 'folder' else {'datasets': [named]}
    tags = ['pix2pix', 'image-to-image', 'jax', 'flax', card.config.generator.name]
    tags += [] if card.config.dataset.task == 'none' else [card.config.dataset.task]
    return {
        'license': card.licence,
        'library_name': 'pix2pix_jax',
        'pipeline_tag': 'image-to-image',
        'tags': tags,
        **data,
        **_model_index(card, named),
    }


def _model_index(card: Card, named: str) -> dict[str, Any]:
    """The results on test in the form that hubs show beside the card; {} without any."""
    results = [result for result in card.results.values() if result['split'] == 'test']
    if not results or named == 'folder':  # hubs want the name of the data
        return {}
    metrics = [
        {'type': name, 'name': name + _left_out(summary), 'value': summary['mean']}
        for name, summary in results[0]['metrics'].items()
    ]
    of_what = {'type': named, 'name': f'{named}, test', 'split': 'test'}
    task = {'type': 'image-to-image'}
    return {
        'model-index': [
            {
                'name': card.name,
                'results': [{'task': task, 'dataset': of_what, 'metrics': metrics}],
            }
        ]
    }


def _left_out(summary: Mapping[str, Any]) -> str:
    """Returns of how many images a mean is not; '' where it is of all."""
    return f', {summary["left_out"]} images left out' if summary.get('left_out') else ''


def _body(card: Card) -> Iterator[str]:
    """The lines below the front matter."""
    c, about = card.config, card.about
    yield f'# {markdown.plain(card.name)}\n'
    yield (
        'A pix2pix generator ([Isola et al., 2017](https://arxiv.org/abs/1611.07004)) of '
        f'pix2pix_jax {version()}: {_task(c)}. It is the `{about.checkpoint}` checkpoint, step '
        f'{about.step:,}.\n'
    )
    if card.has_sheet:
        yield '![Rows of an input, its translation and its target](sheet.png)\n'
    yield '## Use\n'
    yield (
        'This folder, or the zip that it came in, is the `--workdir` of pix2pix_jax, and starts '
        'new runs with `--config.init_from=`:\n'
    )
    yield '```bash'
    yield 'python -m pix2pix_jax.translate --workdir=FOLDER --input=images/ --output=translated/'
    yield 'python -m pix2pix_jax.demo --workdir=FOLDER'
    yield '```\n'
    yield '## Model\n'
    yield from (f'- {line}' for line in _model(card))
    yield ''
    yield '## Results\n'
    yield from _results(card)
    yield '## Data and licence\n'
    yield f'{_data(c)}. Licence of the weights: {card.licence}.\n'
    yield '## Limits\n'
    yield (
        'The model translates images like those that it was trained on, and invents what an input '
        'does not show: its outputs are no evidence. It was trained on the data named above; what '
        'is wrong or one-sided there is so in its outputs.'
    )


def _task(config: Config) -> str:
    d = config.dataset
    if d.task != 'none':
        return f'trained for {d.task} of photos'
    name = "its author's own pairs" if d.name == 'folder' else markdown.plain(d.name)
    return f'trained on {name}, {d.direction}'


def _model(card: Card) -> Iterator[str]:
    c, g, d, about = card.config, card.config.generator, card.config.discriminator, card.about
    size = '{1}x{0}'.format(*c.image_size)
    yield f'images: {size} pixels in training, channels {g.input_channels} to {g.output_channels}'
    depth = f'{generator_depth(c)} halvings'
    yield f'generator: {g.name}, {depth}, width {g.width}, {g.norm} norm, dropout {g.dropout}'
    yield (
        f'at test time: statistics of the norms: {c.test.norm}; dropout '
        f'{"on" if c.test.dropout else "off"}'
    )
    if c.ema_decay:
        yield f'averaged weights (decay {c.ema_decay}) beside the last ones'
    if DISCRIMINATOR in about.files:
        kind = f'PatchGAN of {d.layers} strided layers' if d.layers else 'PixelGAN'
        scales = f' at {d.scales} scales' if d.scales > 1 else ''
        sees = 'conditional' if d.conditional else 'of the output alone'
        yield f'discriminator: {kind}{scales}, width {d.width}, {sees}'
    else:
        yield 'no discriminator: training that starts from it makes a new one'
    loss = c.loss
    if c.method == 'flow':
        yield f'objective: a rectified flow; {c.test.steps} steps from noise to an image'
    else:
        yield f'loss: gan {loss.gan}, weights {loss.gan_weight:g} (GAN) and {loss.l1_weight:g} (L1)'
    yield f'kernels: {about.dtype}; batch {c.batch_size}, seed {c.seed}; all in `config.json`'


def _results(card: Card) -> Iterator[str]:
    if not card.results:
        yield 'None are in this pack.\n'
        return
    for result in card.results.values():
        yield f'{result["split"]}, {result["images"]:,} images, step {result["step"]:,}:\n'
        rows = run_page.metrics_table(result['metrics'], metric_titles.title)
        yield f'{markdown.table(rows)}\n'
    yield 'L1 is on [-1, 1], PSNR in dB, SSIM on values from 0.\n'


def _data(config: Config) -> str:
    d = config.dataset
    known = licences.of_data(config)
    if known:
        return known[0].upper() + known[1:]
    name = '' if d.name == 'folder' else f', called {markdown.plain(d.name)}'
    made = '' if d.task == 'none' else f'; of each photo the input is {tasks.TASKS[d.task].about}'
    return f"The author's own data{name}{made}"
