"""A folder that any static host serves: a page to draw on, whose model runs in the browser.

The model is that of `--format=onnx`, of one image size, run by onnxruntime-web. What the page loads
lies in parts, named by their hash.
"""

import hashlib
import json
import re
import shlex
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from pix2pix_jax import flow
from pix2pix_jax.errors import UserError
from pix2pix_jax.evaluation import metric_titles
from pix2pix_jax.inference import generator, run_splits
from pix2pix_jax.inference.loaded_run import Run
from pix2pix_jax.interop import exportable, web_runtime
from pix2pix_jax.interop.exportable import TOLERANCES
from pix2pix_jax.interop.web_runtime import WASM, WEBGPU, Build
from pix2pix_jax.reports import page_card
from pix2pix_jax.storage import atomic
from pix2pix_jax.web import drawing, static_page
from pix2pix_jax.workdir import metrics_json, run_files

PART_BYTES = 20 * 2**20  # common hosts refuse files of 25 or of 100 MB
# What an export may have written that one of another model, or of fewer examples, has not. Such
# names are an export's where its page.json is.
OURS = r'model/[0-9a-f]{20}\.bin|examples/\d+\.png|runtime/ort[\w.-]+'
LAST = ('page.json', 'index.html')  # a page that is not whole has none


class PageOptions(NamedTuple):
    """How a page is exported."""

    norm: str = ''  # statistics of the norms; '': config.test.norm
    size: tuple[int, int] | None = None  # (height, width) of its images; None: of the training
    weights: str = 'float16'  # what the kernels are stored in
    runtime: str = ''  # the unpacked npm package; '': it is downloaded
    webgpu: bool = False
    examples: int = 12  # at most, of the run's inputs


def export(run: Run, workdir: str, output: epath.PathLike, options: PageOptions) -> list[str]:
    """Writes the page of a run into the folder `output`; returns what to say about it, as lines.

    Args:
      run: the trained generator.
      workdir: its folder.
      output: the folder; files of an earlier export are replaced, others stay.
      options: how it is exported.

    Raises:
      UserError: for a run whose inputs cannot be drawn, a size that the network cannot take, a
        runtime that is not there, a folder with other files of a page's names, and, with status 1
        and nothing written, where the exported model differs from the run.
    """
    drawing.check(run.config, {}, workdir)
    build = WEBGPU if options.webgpu else WASM
    runtime = web_runtime.read(build, options.runtime)
    size = options.size or tuple(run.config.image_size)
    model = exportable.create(run, options.norm, size, options.weights)
    splits, why = run_splits.whole_splits(workdir, run.config)
    drawing.check(run.config, splits, workdir)
    data, differs_by = exportable.checked(model, 'onnx', output)
    _, inputs = drawing.samples(model.config, splits)
    name, colours = run_files.run_name(workdir), drawing.palette(run.config, inputs, workdir)
    split, pictures = drawing.samples(model.config, splits, options.examples)
    measured = exportable.measured_model(run, options.norm)
    metrics = page_card.metrics_of(workdir, measured, metric_titles.heading)
    remark = exportable.about_metrics(run.config, measured, bool(metrics.rows))
    card = page_card.write(workdir, run.config, run.step, metrics, remark)
    page = static_page.Page(name, run.step, model.config, card, split, pictures, colours)
    files, about = _loaded_files(data, runtime, build, _noise(model))
    about['memory'] = memory(len(data), size, model.config.generator.width)
    files |= static_page.files(page, about)
    _write(files, epath.Path(output))
    return [
        *_describe(output, files, about, run.step),
        f'examples: {len(pictures)} inputs of the {split} split are in it: look at them and their '
        'licence before you publish them (--examples=0: none)'
        if pictures
        else f'examples: none ({why or "--examples=0, or no pair can be read"})',
        f'checked: on an image of {size[0]}x{size[1]} within {differs_by:.2g} of '
        f'{exportable.compared_with(run)} ({TOLERANCES[options.weights]:g} allowed)',
        f'see it: python -m http.server --directory {shlex.quote(str(output))} and open http://localhost:8000/',
    ]


def _noise(model: exportable.Exportable) -> bytes:
    """Returns what a flow begins with, that of `test.seed`: float32; b'' where it is no flow."""
    config = model.config
    if config.method != 'flow':
        return b''
    shape = (*config.image_size, config.generator.output_channels)
    noise = flow.noise(generator.sample_key(config.test.seed), shape)
    return np.asarray(noise, '<f4').tobytes()


def _loaded_files(
    model: bytes, runtime: dict[str, bytes], build: Build, noise: bytes
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Returns model, runtime and noise as files by name, and what the scripts are told of them."""
    licence = static_page.HERE / 'static' / 'onnxruntime-LICENSE.txt'
    files = {
        'runtime/LICENSE.txt': licence.read_bytes(),
        f'runtime/{build.module}': runtime[build.module],
        f'runtime/{build.loader}': runtime[build.loader],
    }
    about: dict[str, Any] = {}
    for key, data, name in (
        ('model', model, ''),
        ('wasm', runtime[build.wasm], f'runtime/{build.wasm}'),
        *([('noise', noise, '')] if noise else []),
    ):
        parts = _in_parts(data, name)
        files |= parts
        about[key] = {
            'bytes': len(data),
            'parts': [
                {'file': name, 'bytes': len(part), 'sha256': hashlib.sha256(part).hexdigest()}
                for name, part in parts.items()
            ],
        }
    about |= {
        'module': f'runtime/{build.module}',
        'loader': f'runtime/{build.loader}',
        'webgpu': build is WEBGPU,
    }
    return files, about


def _in_parts(data: bytes, name: str = '') -> dict[str, bytes]:
    """Returns data as files of at most PART_BYTES, called `name`, or by their hash."""
    parts = [data[at : at + PART_BYTES] for at in range(0, len(data), PART_BYTES)]
    if len(parts) == 1 and name:
        return {name: data}
    hashes = (hashlib.sha256(part).hexdigest()[:20] for part in parts)
    names = [f'{name}.{i}' if name else f'model/{key}.bin' for i, key in enumerate(hashes)]
    return dict(zip(names, parts))


def memory(model: int, size: tuple[int, int], width: int) -> int:
    """Returns about how many bytes of memory the page takes at most, to load or to translate.

    Fitted to what headless Chromium 156 took: 281 MB (13 MB, 64x64, width 32), 574 MB (103 MB,
    256x256, width 64), then 629 MB at 512x512 and 1,017 MB at 1024x1024. And the drawings that can
    be taken back.

    Args:
      model: bytes of its file.
      size: (height, width) of its images.
      width: config.generator.width.
    """
    pixels = size[0] * size[1]
    translating = 25 * model // 10 + 8 * pixels * width
    return 230_000_000 + max(33 * model // 10, translating) + 4 * pixels * drawing.UNDOS


def _write(files: dict[str, bytes], output: epath.Path) -> None:
    """Writes files, those without which there is no page last; removes those of earlier exports.

    Raises UserError where that would replace a file that no export wrote.
    """
    replaces = _is_page(output)
    if not replaces:
        _check_free(files, output)
    with atomic.writing(output) as write:
        for name, data in files.items():
            if name not in LAST:
                write(output / name, data)
    for name in LAST:
        atomic.write_bytes(output / name, files[name])
    atomic.remove_temporaries(output)
    for folder in ('model', 'examples', 'runtime') if replaces else ():
        for path in (output / folder).glob('*'):
            name = f'{folder}/{path.name}'
            if re.fullmatch(OURS, name) and name not in files:
                path.unlink()


def _is_page(folder: epath.Path) -> bool:
    """Whether a folder holds the page.json of an export."""
    path = folder / 'page.json'
    if not path.exists():
        return False
    try:
        told = json.loads(path.read_bytes())
        return bool(told['model']['parts']) and told['module'].startswith('runtime/')
    except (OSError, *metrics_json.DAMAGED):
        return False


def _check_free(files: dict[str, bytes], output: epath.Path) -> None:
    """Raises UserError where a file is there already, and not of an export that was stopped.

    What that wrote has the same content.
    """
    for name, data in files.items():
        path = output / name
        if path.exists() and (path.is_dir() or path.read_bytes() != data):
            raise UserError(
                f'--output={output} holds {name}, which is of no earlier export: give another '
                'folder, or move this file'
            )


def _describe(
    output: epath.PathLike, files: dict[str, bytes], about: dict[str, Any], step: int
) -> list[str]:
    total = sum(map(len, files.values()))
    return [
        f'{output}: {total / 1e6:.3g} MB in {len(files)} files, web, step {step}: model '
        f'{about["model"]["bytes"] / 1e6:.3g} MB, runtime {about["wasm"]["bytes"] / 1e6:.3g} MB, '
        f'about {about["memory"] / 1e6:.0f} MB of memory in a browser',
    ]
