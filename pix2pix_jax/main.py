"""Trains a config: python -m pix2pix_jax.main --config=configs/facades.py [--config.a.b=v ...].

The same command resumes a run from its folder.
"""

import importlib.util
import os
import pathlib
import re
import shlex
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from absl import flags
from ml_collections import config_flags

from pix2pix_jax.config import Config, check_implied, checked_fields, flatten, unknown_field
from pix2pix_jax.config_fields import FIELDS
from pix2pix_jax.errors import UserError, run_command
from pix2pix_jax.presets import OF_GANS

PACKAGE = pathlib.Path(__file__).resolve().parent
# configs/ lies beside the package in a checkout, and in it where it was installed from a wheel.
CONFIG_ROOT = PACKAGE if (PACKAGE / 'configs').is_dir() else PACKAGE.parent
# What absl reads of the fields of these types, and what to call it.
PARSERS: dict[type, tuple[flags.ArgumentParser, str]] = {
    bool: (flags.BooleanParser(), ''),
    int: (flags.IntegerParser(), 'a whole number, '),
    float: (flags.FloatParser(), 'a number, '),
}
OVERRIDE = re.compile(r'--?(?:no)?config\.([^=]*)')  # one dash or two, as absl takes both


def define_flags() -> flags.FlagValues:
    """Returns the flags of this command."""
    values = define_config_flag()
    flags.DEFINE_string(
        'workdir', '', 'Folder of the run; by default runs/CONFIG[-ARG].', flag_values=values
    )
    flags.DEFINE_bool('dry_run', False, 'Say what would be trained, and end.', flag_values=values)
    flags.DEFINE_string(
        'coordinator', '', 'HOST:PORT of process 0, of several hosts.', flag_values=values
    )
    flags.DEFINE_integer('num_processes', 1, 'Number of processes, one a host.', flag_values=values)
    flags.DEFINE_integer('process_id', 0, 'Number of this process, from 0.', flag_values=values)
    about = (
        'auto: find --coordinator, --num_processes and --process_id in what SLURM, Open MPI, '
        'Kubernetes or a TPU pod sets.'
    )
    flags.DEFINE_enum('hosts', 'flags', ['flags', 'auto'], about, flag_values=values)
    about = 'A service that gets scalars, image grids and config, beside the files of the run.'
    flags.DEFINE_enum('tracker', 'none', ['none', 'wandb', 'mlflow'], about, flag_values=values)
    return values


def define_config_flag() -> flags.FlagValues:
    """Returns --config, and with it --config.FIELD, alone: for commands that take a config."""
    values = flags.FlagValues()
    config_flags.DEFINE_config_file(
        'config',
        None,
        'Config file, as configs/facades.py[:ARG].',
        lock_config=True,
        flag_values=values,
    )
    return values


def main(values: flags.FlagValues) -> int:
    """Trains as the flags say; returns the exit status."""
    from pix2pix_jax.distributed import hosts
    from pix2pix_jax.dry_run import dry_run
    from pix2pix_jax.runtime import local_devices, prepare_process, use_deterministic_kernels
    from pix2pix_jax.train import train_and_evaluate
    from pix2pix_jax.workdir.trackers import check_tracker

    check_tracker(values.tracker)
    check_method(values)
    prepare_process(find_devices=False)
    if values.config.deterministic:
        use_deterministic_kernels()
    workdir = values.workdir or default_workdir(config_flags.get_config_filename(values['config']))
    command = shlex.join(['python', '-m', 'pix2pix_jax.main', *sys.argv[1:]])
    found = values.hosts == 'auto'
    with hosts.join_processes(values.coordinator, values.num_processes, values.process_id, found):
        local_devices()
        if values.dry_run:
            dry_run(values.config, workdir)
            return 0
        train_and_evaluate(values.config, workdir, command, values.tracker)
        print(f'{workdir}/index.html')
    return 0


def check_method(values: flags.FlagValues) -> None:
    """Raises UserError for a flag, or a word of the config's ARG, that the method does not allow.

    Of a file's fields `validate` knows: those that have the default are no choice, as a flag is.
    """
    name = config_flags.get_config_filename(values['config'])
    check_chosen(values.config.method, config_flags.get_override_values(values['config']), name)


def check_chosen(method: str, overrides: Mapping[str, Any], config_file: str) -> None:
    """Raises UserError for an override, or a word of X.py[:ARG], that the method does not allow."""
    check_implied(overrides, method)
    for item in config_file.partition(':')[2].split(','):
        if method != 'gan' and item.partition('=')[0] in OF_GANS:
            raise UserError(f'config argument {item!r}: it goes with config.method=gan')


def default_workdir(config_file: str) -> str:
    """Returns runs/X or runs/X-ARG for the config file X.py[:ARG]."""
    path, _, arg = config_file.partition(':')
    return f'runs/{pathlib.Path(path).stem}' + (f'-{arg}' if arg else '')


def check_argv(argv: list[str]) -> None:
    """Finds the config file and checks the names of the fields, before absl parses the flags.

    A file that is not in the current folder is looked for among those that come with the package,
    so that the command runs from anywhere; its path in `argv` is replaced. Raises UserError.
    """
    join_values(argv)
    at = [i for i, word in enumerate(argv) if word.startswith('--config=')]
    if not at:
        raise UserError('--config is missing: give a config file, as --config=configs/facades.py')
    name, _, arg = argv[at[-1]].removeprefix('--config=').partition(':')
    path = find_config(name)
    argv[at[-1]] = f'--config={path}' + (f':{arg}' if arg else '')
    for earlier in reversed(at[:-1]):  # the last one counts, as of fields
        del argv[earlier]
    load_config(path, arg)  # so that what is wrong in it is said first
    keep_last_values(argv)
    check_types(argv)


def join_values(argv: list[str]) -> None:
    """Makes `--config=FILE` of `--config FILE`, and `--config.F=V` of `-config.F V`, in `argv`."""
    for i, word in enumerate(argv):
        override = OVERRIDE.match(word)
        if override:
            argv[i] = word = f'--{word.lstrip("-")}'
        field = override and '=' not in word and FIELDS.get(override[1])
        takes_value = word == '--config' or (field and not isinstance(field.default, bool))
        if takes_value and i + 1 < len(argv):
            argv[i : i + 2] = [f'{word}={argv[i + 1]}']


def keep_last_values(argv: list[str]) -> None:
    """Drops all values of a field but its last from `argv`: absl would append those of a tuple.

    Raises UserError for an unknown field.
    """
    fields = [override and override[1] for override in map(OVERRIDE.match, argv)]
    for field in fields:
        if field is not None and field not in FIELDS:
            raise unknown_field(field)
    last = {field: i for i, field in enumerate(fields)}
    argv[:] = [
        word
        for i, (word, field) in enumerate(zip(argv, fields))
        if field is None or i == last[field]
    ]


def check_types(argv: list[str]) -> None:
    """Raises UserError for a value that is not of its field's type: absl does not say that type."""
    for word in argv:
        override, text = OVERRIDE.match(word), word.partition('=')[2]
        field = FIELDS[override[1]] if override and '=' in word else None
        parser, kind = PARSERS.get(type(field.default), (None, '')) if field else (None, '')
        if field is None or parser is None:
            continue
        try:
            parser.parse(text)
        except (TypeError, ValueError) as error:
            raise UserError(
                f'config.{field.name}={text}: allowed is {kind}{field.allowed.text}'
            ) from error


def find_config(name: str) -> pathlib.Path:
    """Returns the path of a config file; raises UserError, with the files there are."""
    for path in (pathlib.Path(name), CONFIG_ROOT / name):
        if path.is_file():
            return path
    files = sorted(CONFIG_ROOT.glob('configs/**/*.py'))
    allowed = ', '.join(path.relative_to(CONFIG_ROOT).as_posix() for path in files)
    raise UserError(f'--config={name}: there is no such file; allowed are {allowed}')


def load_config(path: pathlib.Path, arg: str) -> Config:
    """Returns the config that the file's get_config gives for `arg`, names and types checked.

    Raises UserError, naming the file, if get_config fails or returns no whole config.
    """
    spec = importlib.util.spec_from_file_location('config', path)
    if spec is None or spec.loader is None:
        raise UserError(f'--config={path}: not a Python file')
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config(arg)
    except UserError:
        raise
    except Exception as error:  # whatever the user's file does
        lines = [
            f.lineno
            for f in traceback.extract_tb(error.__traceback__)
            if f.filename == os.path.abspath(path)
        ]
        line = f', line {lines[-1]}' if lines else ''
        raise UserError(f'--config={path}{line}: {type(error).__name__}: {error}') from error
    try:
        checked_fields(flatten(config))
    except UserError as error:
        raise UserError(f'--config={path}: {error}') from error
    return config


if __name__ == '__main__':
    run_command(main, define_flags, check_argv=check_argv)
