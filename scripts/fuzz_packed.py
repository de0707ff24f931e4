"""Reads mutated packed runs (scripts/pack_run.py): no crash, no hang, no silent other run.

python scripts/fuzz_packed.py [--files=20000 --seed=0 --seconds=10]

Each zip had bytes changed as scripts/fuzz_images.py does it (zip), or one of its members had, which
was then zipped anew (member), or a value in one of its JSON files was replaced (value). Reading the
config, the pairs, the colours and the weights must end within --seconds, in an error of one line
that names the zip, or in a run; where the zip itself was changed, in the original run to the last
bit, since each member has a checksum.
"""

import collections
import faulthandler
import hashlib
import io
import json
import pathlib
import re
import tempfile
import zipfile
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from absl import flags
from etils import epath

from fuzz_images import fuzz_flags, mutate
from import_pytorch import write_run
from pix2pix_jax.config import default_config, validate
from pix2pix_jax.errors import UserError, run_command
from pix2pix_jax.inference.loaded_run import load_state
from pix2pix_jax.interop import packing
from pix2pix_jax.models.factory import create_models
from pix2pix_jax.optimizers import create_optimizers
from pix2pix_jax.presets import apply_arg
from pix2pix_jax.reports import page_card
from pix2pix_jax.storage import atomic
from pix2pix_jax.train_state import create_state
from pix2pix_jax.workdir import data_json, metric_writer, metrics_json, palette_json
from pix2pix_jax.workdir.config_json import to_json
from pix2pix_jax.workdir.metrics_json import Model

KINDS = 'zip', 'member', 'value'
VALUES = (
    None, True, -1, 0, 2**31, 2**63, 1e308, float('nan'), '', 'x' * 1000, '/etc/passwd', '../..',
    [], {}, [[]], ['\0'], {'a': {}}, [1] * 1000,
)  # fmt: skip


def original(folder: pathlib.Path) -> bytes:
    """Returns the zip of a run with tiny networks, averages, pairs and colours."""
    config = apply_arg(default_config(), 'tiny')
    config.generator.depth, config.generator.width = 2, 2
    config.discriminator.layers, config.discriminator.width = 1, 2
    config.ema_decay = 0.9
    config = validate(config)
    models, optimizers = create_models(config, 'cpu'), create_optimizers(config.optimizer, 1, 1)
    workdir = epath.Path(folder / 'run')
    write_run(workdir, config, create_state(config, models, optimizers), ['fuzz'])
    pairs = {'used': ['a/1', 'a/2'], 'skipped': {'a/3': 'damaged'}, 'held_out': False}
    known = {'steps': 4, 'found': {'size': [32, 32], 'inputs': 1}, 'splits': {'train': pairs}}
    (workdir / data_json.FILE).write_text(json.dumps(known))
    metrics = {'l1': {'mean': 0.1, 'ci95': [0.0, 0.2]}, 'fid': {'value': None, 'reason': 'few'}}
    result = {'split': 'test', 'step': 0, 'checkpoint': 'last', 'images': 2, 'metrics': metrics}
    atomic.write_text(workdir / metrics_json.name_of('test'), json.dumps(result))
    atomic.write_text(workdir / 'metrics.jsonl', '{"step": 1, "eval/l1": 0.5}\n' * 2)
    colours = [('wall', (0, 0, 255)), ('', (255, 0, 0))]
    packing.pack_run(workdir, folder / 'original.zip', packing.Choices(), colours)
    return (folder / 'original.zip').read_bytes()


def read(path: pathlib.Path) -> str:
    """Returns the digest of all that is read, or the error of one line; raises for anything else.

    All of it is read first, so that what is wrong with the weights hides no other fault.
    """
    parts = (
        lambda: repr(data_json.load_known(path)),
        lambda: repr(palette_json.load_palette(path)),
        lambda: _card(path),
        lambda: _described(path),
    )
    found, errors = hashlib.sha256(), []
    for part in parts:
        try:
            found.update(part().encode())
        except UserError as error:  # a DataError, too
            assert '\n' not in str(error) and str(path) in str(error), error
            errors.append(f'error: {error}')
    return errors[0] if errors else found.hexdigest()


def _card(path: pathlib.Path) -> str:
    """Returns what a page says of the run, and its results as another pack has them."""
    results = [metrics_json.of_run(path, split) for split in packing.SPLITS]
    rows = metric_writer.read_metrics(path)
    return f'{page_card.metrics_of(path, Model(0), str)} {results} {rows}'


def _described(path: pathlib.Path) -> str:
    config, step, state = load_state(path, '', ema=True)
    arrays = hashlib.sha256(b''.join(np.asarray(x).tobytes() for x in jax.tree.leaves(state)))
    return f'{to_json(config)} {step} {arrays.hexdigest()}'


def edit(data: bytes, kind: str, rng: np.random.Generator) -> tuple[str, bytes]:
    """Returns what was done, and the zip after it."""
    if kind == 'zip':
        return mutate(data, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    names = [name for name in members if kind == 'member' or name.endswith('.json')]
    name = str(rng.choice(names))
    if kind == 'member':
        what, members[name] = mutate(members[name], rng)
    else:
        what, members[name] = _replace_a_value(members[name], rng)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return f'{name}, {what}', buffer.getvalue()


def _replace_a_value(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Puts one of VALUES in place of a value anywhere in a JSON file."""
    tree = json.loads(data)
    places = list(_places(tree))
    parent, key = places[int(rng.integers(len(places)))]
    parent[key] = VALUES[int(rng.integers(len(VALUES)))]
    return f'{key}={parent[key]!r:.20}', json.dumps(tree).encode()


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yields (container, key) of all values in a tree of JSON."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)


def fuzz(folder: pathlib.Path, files: int, seed: int, seconds: float) -> collections.Counter:
    """Reads mutated zips; returns {(kind, outcome): count}.

    Ends the process for a zip that takes too long; one that fails stays in `folder`.

    Args:
      folder: where they are written.
      files: how many.
      seed: with its number it says what is done to a zip.
      seconds: time limit of a zip.
    """
    outcomes: collections.Counter = collections.Counter()
    data, path = original(folder), folder / 'x.zip'
    path.write_bytes(data)
    right = read(path)
    assert re.fullmatch('[0-9a-f]{64}', right), right
    for number in range(files):
        rng = np.random.default_rng((seed, number))
        kind = KINDS[number % len(KINDS)]
        what, changed = edit(data, kind, rng)
        path.write_bytes(changed)
        faulthandler.dump_traceback_later(seconds, exit=True)
        try:
            found = read(path)
            refused = found.startswith('error: ')
            assert kind != 'zip' or refused or found == right, 'another run'
        except Exception as error:
            error.add_note(f'file {number} of seed {seed}, {kind}: {what}; it is {path}')
            raise
        finally:
            faulthandler.cancel_dump_traceback_later()
        read_as = 'read, the same' if found == right else 'read, another run'
        outcomes[kind, 'refused' if refused else read_as] += 1
    return outcomes


def main(values: flags.FlagValues) -> None:
    """Reads them and prints the outcomes."""
    with tempfile.TemporaryDirectory(prefix='fuzz-') as folder:
        outcomes = fuzz(pathlib.Path(folder), values.files, values.seed, values.seconds)
    columns = 'refused', 'read, the same', 'read, another run'
    print(f'{"":<10}' + ''.join(f'{column:>20}' for column in columns))
    for kind in KINDS:
        print(f'{kind:<10}' + ''.join(f'{outcomes[kind, column]:>20,}' for column in columns))
    print(f'{values.files:,} files, no crash, no hang')


if __name__ == '__main__':
    run_command(main, fuzz_flags)
