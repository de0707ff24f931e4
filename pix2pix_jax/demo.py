"""A local web page that translates what is drawn, uploaded or chosen there, with a trained run.

python -m pix2pix_jax.demo --workdir=runs/facades

It needs gradio (pip install -e '.[demo]'), and no internet.
"""

import importlib.util

from absl import flags

from pix2pix_jax.errors import UserError, run_command
from pix2pix_jax.inference.options import define_run
from pix2pix_jax.storage import user_paths


def define_flags() -> flags.FlagValues:
    """Returns the flags of this command."""
    values = flags.FlagValues()
    define_run(values)
    flags.DEFINE_integer(
        'port', 7860, 'Port of the page; 0: any that is free.', 0, 65535, flag_values=values
    )
    flags.DEFINE_string(
        'host',
        '127.0.0.1',
        'Address to listen on; by default only this machine can open the page.',
        flag_values=values,
    )
    return values


def main(values: flags.FlagValues) -> int:
    """Serves the page until it is stopped; returns the exit status."""
    if not values.workdir:
        raise UserError('--workdir is missing: give the folder or the zip of a run')
    workdir = user_paths.of_flag(values, 'workdir')
    if importlib.util.find_spec('gradio') is None:
        raise UserError("the demo needs gradio: pip install -e '.[demo]'")
    from pix2pix_jax.web import server

    server.serve_run(workdir, values.checkpoint, values.host, values.port)
    return 0


if __name__ == '__main__':
    run_command(main, define_flags)
