"""A run as one zip, to pass on: its weights without optimizers, and what says what they are.

Nothing in it tells of this machine. Two packs of one run are the same file.
"""

import json
import os
import posixpath
import re
import zipfile
from collections.abc import Sequence
from typing import Any, NamedTuple

from etils import epath

from pix2pix_jax.config import Config
from pix2pix_jax.errors import UserError
from pix2pix_jax.inference.loaded_run import load_state
from pix2pix_jax.interop import model_card
from pix2pix_jax.reports import licences
from pix2pix_jax.storage import atomic, user_paths
from pix2pix_jax.train_state import GanState
from pix2pix_jax.workdir import (
    config_json,
    data_json,
    metrics_json,
    packed,
    palette_json,
    run_files,
    run_json,
)
from pix2pix_jax.workdir.metric_writer import sample_paths

SPLITS = ('test', 'val', 'train')
SHEET = 'sheet.png'
OF_RESULT = ('split', 'step', 'checkpoint', 'images', 'scale', 'steps')  # and measured, metrics
TIME = (1980, 1, 1, 0, 0, 0)  # the first that a zip can have


class Choices(NamedTuple):
    """What a user chooses of a pack."""

    checkpoint: str = ''  # 'last', 'best' or a step; '': last
    dtype: str = 'float32'  # of the kernels
    licence: str = ''  # as model hubs name it; '': that of the data, where it is known
    sheet: bool = True  # the newest grid of samples is in it, which shows pairs of the data


def pack_run(
    workdir: epath.PathLike,
    output: epath.PathLike,
    choices: Choices,
    palette: Sequence[palette_json.Colour] = (),
) -> list[str]:
    """Writes a run as the zip `output`, replacing what is there; returns lines for a person.

    Args:
      workdir: the folder of the run, or a packed run.
      output: the file.
      choices: what is in it.
      palette: the colours to draw inputs with; (): what the config says, or a packed run has.

    Raises:
      UserError: for a run or checkpoint that is not there, kernels that the dtype cannot hold, and
        a licence that is no word.
    """
    model_card.check_licence(choices.licence)
    checkpoints = packed.open_checkpoints(workdir)
    kind, step = checkpoints.find(choices.checkpoint)
    checkpoints.close()
    config, _, state = load_state(workdir, choices.checkpoint or kind, ema=True)
    results, lines = _results(workdir, step)
    texts, remarks = _texts(workdir, config, results)
    colours = list(palette) or palette_json.load_palette(workdir)
    if colours:
        texts[palette_json.FILE] = palette_json.to_json(colours)
    networks, sheet = _networks(state), _sheet(workdir, step) if choices.sheet else None
    about = packed.About(kind, step, choices.dtype, (*texts, *networks))
    licence = choices.licence or licences.of_weights(config)
    shown = sheet is not None
    card = model_card.Card(epath.Path(output).stem, config, about, results, licence, shown)
    texts |= {run_files.PACKED: packed.to_json(about), 'README.md': model_card.text(card)}
    with atomic.replacing(output) as file, zipfile.ZipFile(file, 'w') as archive:
        for name, text in texts.items():
            archive.writestr(*_member(name, text.encode(), compressed=True))
        if sheet is not None:
            archive.writestr(*_member(SHEET, sheet))
        for name, variables in networks.items():
            data = packed.to_safetensors(variables, choices.dtype)
            archive.writestr(*_member(name, data))
        names = archive.namelist()
    size = f'{epath.Path(output).stat().length / 2**20:.3g} MiB'
    return [*lines, *remarks, f'{output}: {size}, {kind}, step {step:,}: {", ".join(names)}']


def _member(name: str, data: bytes, compressed: bool = False) -> tuple[zipfile.ZipInfo, bytes]:
    """Returns a member of a zip, which says nothing of this machine and this hour, and its data.

    What is too large to be read `compressed` is stored.
    """
    info = zipfile.ZipInfo(name, TIME)
    info.create_system, info.external_attr = 3, 0o644 << 16
    if compressed and len(data) <= run_files.MAX_COMPRESSED:
        info.compress_type = zipfile.ZIP_DEFLATED
    return info, data


def _networks(state: GanState) -> dict[str, dict[str, Any]]:
    """Returns the variables of each network that `state` has, by their file."""
    networks = {packed.GENERATOR: state.generator.variables}
    if state.ema is not None:
        networks[packed.AVERAGED] = state.generator_variables()
    if state.discriminator is not None:
        networks[packed.DISCRIMINATOR] = state.discriminator.variables
    return networks


def _texts(
    workdir: epath.PathLike, config: Config, results: dict[str, dict]
) -> tuple[dict[str, str], list[str]]:
    """Returns the texts that are of the run, by their file, and lines about them."""
    texts, remarks = _pairs(workdir)
    text = config_json.to_json(config_json.without_places(config))
    texts |= {'config.json': text, 'run.json': run_json.portable(workdir)}
    texts |= {name: json.dumps(result, indent=2) + '\n' for name, result in results.items()}
    rows = run_files.read(workdir, 'metrics.jsonl') or b''
    return texts | ({'metrics.jsonl': rows.decode(errors='replace')} if rows else {}), remarks


def _results(workdir: epath.PathLike, step: int) -> tuple[dict[str, dict], list[str]]:
    """Returns the evaluations of this step by file, and a line for each that is of another step."""
    found, lines = {}, []
    for split in SPLITS:
        name, result = metrics_json.name_of(split), metrics_json.of_run(workdir, split)
        if result.get('step') == step:
            found[name] = _portable(result)
        elif result:
            lines.append(f'{name} is of step {result.get("step")}, not {step}: it is left out')
    return found, lines


def _portable(result: dict[str, Any]) -> dict[str, Any]:
    """Returns an evaluation's result without what may name files of this machine."""
    kept = {key: result[key] for key in OF_RESULT if key in result}
    measured = {k: v for k, v in result.get('measured', {}).items() if k == 'ssim'}
    metrics = {name: summary for name, summary in result['metrics'].items() if 'mean' in summary}
    return kept | {'measured': measured, 'metrics': metrics}


def _sheet(workdir: epath.PathLike, step: int) -> bytes | None:
    """Returns the newest grid of samples up to `step`, a PNG; None where there is none."""
    if run_files.is_zip(workdir):
        return run_files.read(workdir, SHEET)
    paths = [path for at, path in sample_paths(epath.Path(workdir)) if at <= step]
    return paths[-1].read_bytes() if paths else None


def _pairs(workdir: epath.PathLike) -> tuple[dict[str, str], list[str]]:
    """Returns the list of the run's pairs as a text by its file, and lines about it.

    Without names that are whole paths of this machine, as a list of the data may have them.
    """
    name, text = data_json.portable(workdir)
    if not name:
        return {}, []
    known = data_json.load_known(workdir)
    names = [name for pairs in known.splits.values() for name in (*pairs.used, *pairs.skipped)]
    local = next(filter(_is_whole_path, names), None)
    if not known.found.get('whole_paths', local):  # older runs do not say it
        return {name: text}, []
    remark = f"the pairs' names are paths of this machine: {name} is left empty"
    return {data_json.FILE: data_json.EMPTY}, [remark]


def _is_whole_path(name: str) -> bool:
    """Whether the name of a pair seems to be a whole path here, without its first /."""
    folder = posixpath.dirname(name)
    return bool(re.match('[A-Za-z]:', name)) or (bool(folder) and os.path.isdir(f'/{folder}'))


def check_output(output: epath.PathLike, overwrite: bool) -> None:
    """Raises UserError where `output` cannot become a packed run."""
    path = epath.Path(output)
    if path.suffix.lower() != run_files.ENDING:
        raise UserError(f'--output={output}: allowed is a file that ends in {run_files.ENDING}')
    if not atomic.is_local(path):
        raise UserError(f'--output={output}: allowed is a file on this machine')
    if path.is_dir():
        raise UserError(f'--output={output} is a folder: allowed is a file')
    user_paths.check_new(path, '--output', overwrite)
