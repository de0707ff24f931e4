"""Trains a config: python -m pix2pix_jax.main --config=configs/facades.py [--config.a.b=v ...]."""

import pathlib
import shlex
import sys

from absl import flags
from ml_collections import config_flags

from pix2pix_jax.errors import UserError, run_command

CONFIG = config_flags.DEFINE_config_file(
    'config', None, 'Config file, as configs/facades.py[:ARG].', lock_config=True
)
WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of the run; by default runs/CONFIG[-ARG].')


def main() -> int:
    """Trains as the flags say; returns the exit status."""
    config = CONFIG.value
    if config is None:
        raise UserError('--config is missing: give a file, as --config=configs/facades.py')
    from pix2pix_jax.runtime import prepare_process
    from pix2pix_jax.train import train_and_evaluate

    prepare_process()
    workdir = WORKDIR.value or default_workdir(flags.FLAGS['config'].config_filename)
    command = shlex.join(['python', '-m', 'pix2pix_jax.main', *sys.argv[1:]])
    train_and_evaluate(config, workdir, command)
    print(f'{workdir}/index.html')
    return 0


def default_workdir(config_file: str) -> str:
    """Returns runs/X or runs/X-ARG for the config file X.py[:ARG]."""
    path, _, arg = config_file.partition(':')
    return f'runs/{pathlib.Path(path).stem}' + (f'-{arg}' if arg else '')


if __name__ == '__main__':
    run_command(main)
