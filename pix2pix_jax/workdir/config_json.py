"""The config of a run as it is kept, read and compared: config.json."""

import json
from collections.abc import Mapping
from typing import Any

from etils import epath
from ml_collections import ConfigDict

from pix2pix_jax.config import PLACES, TABLES, Config, default_config, flatten, from_fields
from pix2pix_jax.errors import UserError
from pix2pix_jax.version import version
from pix2pix_jax.workdir import run_files
from pix2pix_jax.workdir.run_json import steps_before

# What may differ when a run resumes; its length too, where the schedule is constant.
MAY_CHANGE = (
    'log_every',
    'eval_every',
    'sample_every',
    'num_devices',
    'dataset.path',
    'dataset.cache',
    'dataset.workers',
    'loss.alexnet_file',
    'loss.lpips_file',
    'checkpoint.',
)
LENGTH = ('num_steps', 'num_epochs')
# What a run finds in its data and on its machines; 0 or '' where it was not yet known, as in an
# imported run, or was not yet written down, as by older versions.
FOUND = (
    'dataset.inputs',
    'dataset.palette',
    'dataset.target_type',
    'dataset.target_scale',
    'optimizer.rate_devices',
)
# Fields that may not change and whose default is not what runs did before there was the field, with
# what they did.
BEFORE = {'eval_images': 0, 'dataset.jitter_method': 'box', 'dataset.windows': 'off'}
FIRST = (0, 2)  # the version that has them


def to_json(config: Config) -> str:
    """Returns the config as indented JSON, the form in which configs are kept and compared."""
    return json.dumps(config.to_dict(), indent=2, sort_keys=True) + '\n'


def from_json(text: str) -> Config:
    """Returns the config that `to_json` wrote, validated; raises UserError for anything else.

    Fields that the text lacks, since an older version wrote it, have their defaults, or the values
    of `BEFORE`.
    """
    return from_fields(_fields(text))


def _fields(text: str) -> dict[str, Any]:
    """Returns all fields of a config's text, their values unchecked."""
    try:
        data = json.loads(text)
        if not isinstance(data, dict):
            raise TypeError('no JSON object')
        fields = flatten(ConfigDict(data))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f'not the config of a run: {error}') from error
    defaults = flatten(default_config())
    unknown = sorted(set(fields) - set(defaults))
    if unknown:
        raise UserError(f'the run has the field config.{unknown[0]}, unknown to this version')
    return defaults | BEFORE | fields


def load_config(workdir: epath.PathLike) -> Config:
    """Returns the config of the run in `workdir`, as `from_json` does.

    Raises UserError where there is none, and, naming the file and the versions, where it is not a
    config of this version.
    """
    path = epath.Path(workdir) / 'config.json'
    data = run_files.read(workdir, path.name)
    if data is None:
        raise UserError(f'--workdir={workdir}: no run there (config.json is missing)')
    try:
        fields = _fields(data.decode(errors='replace'))
        if run_files.is_packed(workdir):
            _check_places(fields)
        return from_fields(fields)
    except UserError as error:
        raise UserError(f'{path}: {error}{_versions(path.parent)}', status=1) from error


def places_of(config: Config) -> dict[str, str]:
    """Returns the fields that name places on a machine, {'a.b': value}."""
    fields = flatten(config)
    return {place: fields[place] for place in PLACES}


def without_places(config: Config) -> Config:
    """Returns a copy of `config` that names no place on this machine, as a packed run has it."""
    return from_fields(flatten(config) | dict.fromkeys(PLACES, ''))


def _check_places(fields: Mapping[str, Any]) -> None:
    """Raises UserError for a field that names a file or a folder: whoever packed it had others.

    In a packed run places are '', and tables are texts.
    """
    for field in PLACES + TABLES:
        value = fields[field]
        if value and not (field in TABLES and isinstance(value, str) and ';' in value):
            raise UserError(f'config.{field}={str(value)[:99]!r}: a packed run names no files')


def fields_as_begun(config: Config, workdir: epath.PathLike) -> dict[str, Any]:
    """Returns the fields of `BEFORE` whose value there is that of the run in `workdir`.

    Only of a run that an older version began, and only fields that have their default in `config`:
    its command never named them, so it resumes without them.
    """
    if not run_files.exists(workdir, 'config.json') or not steps_before(workdir, FIRST):
        return {}
    old, new, defaults = map(flatten, (load_config(workdir), config, default_config()))
    return {k: v for k, v in BEFORE.items() if old[k] == v and new[k] == defaults[k]}


def _versions(workdir: epath.Path) -> str:
    """' (the run is of pix2pix_jax X, this is Y)' where the run's run.json tells."""
    try:
        text = run_files.read(workdir, 'run.json')
        theirs = json.loads(text or '')['versions']['pix2pix_jax']
    except (OSError, ValueError, TypeError, KeyError, RecursionError, UserError):
        return ''
    return f' (the run is of pix2pix_jax {theirs}, this is {version()})'


def differences(old: Config, new: Config) -> list[str]:
    """Returns a line 'field: old -> new' for each difference that a run may not resume with."""
    free = MAY_CHANGE + (LENGTH if new.optimizer.schedule == 'constant' else ())
    before, after = flatten(old), flatten(from_json(to_json(new)))
    return [
        f'config.{k}: {before[k]!r} -> {after[k]!r}'
        for k in sorted(after)
        if before[k] != after[k] and not k.startswith(free) and not (k in FOUND and not before[k])
    ]
