"""Packs a run as one zip to pass on: it translates, evaluates, exports and is drawn with.

python scripts/pack_run.py runs/facades [--output=facades.zip --checkpoint=best --dtype=float16]

translate, evaluate, export and demo take --workdir=facades.zip, and new runs start from it with
--config.init_from=facades.zip. The optimizers are not in it: to resume a run elsewhere, copy its
folder. README.md in it is a model card; unpacked, the folder can be uploaded to a model hub as it
is. Nothing in it names this machine. It shows pairs of the data (--nosheet: it does not) and holds
their names (data.json).
"""

import functools
import os
import shlex
import sys

from absl import flags

from pix2pix_jax.errors import UserError, run_command, take_words
from pix2pix_jax.inference import run_splits
from pix2pix_jax.storage import user_paths
from pix2pix_jax.workdir.palette_json import Colour


def define_flags() -> flags.FlagValues:
    """Returns the flags of this command."""
    values = flags.FlagValues()

    def text(name: str, about: str) -> None:
        flags.DEFINE_string(name, '', about, flag_values=values)

    text('output', 'The zip; by default beside the run, RUN.zip.')
    text('checkpoint', 'last (the default), best or a step.')
    about = 'Of the kernels: float16 is half the size, and moves an output by 1 or 2 of 255.'
    flags.DEFINE_enum('dtype', 'float32', ['float32', 'float16'], about, flag_values=values)
    text('license', "Of the weights, in the hubs' words, as cc-by-4.0; by default unknown.")
    about = 'Put the newest grid of samples into it.'
    flags.DEFINE_bool('sheet', True, about, flag_values=values)
    about = 'Replace an --output that exists.'
    flags.DEFINE_bool('overwrite', False, about, flag_values=values)
    return values


def main(words: list[str], values: flags.FlagValues) -> None:
    """Packs the run that `words` has, and says how it is used."""
    if len(words) != 1:
        raise UserError(f'{" ".join(words) or "nothing"}: needed is the folder of one run')
    from pix2pix_jax.interop import packing
    from pix2pix_jax.runtime import prepare_process

    workdir = user_paths.given(words[0], 'folder')
    beside = f'{os.path.abspath(workdir).removesuffix(".zip")}.zip'
    output = os.fspath(user_paths.local(values.output or beside, '--output'))
    packing.check_output(output, values.overwrite)
    prepare_process()
    choices = packing.Choices(values.checkpoint, values.dtype, values.license, values.sheet)
    for line in packing.pack_run(workdir, output, choices, palette(workdir)):
        print(line)
    if not values.license:
        print('--license= puts the licence of the weights on the model card')
    print(
        f'python -m pix2pix_jax.translate --workdir={shlex.quote(output)} --input=DIR --output=DIR'
    )


def palette(workdir: str) -> list[Colour]:
    """Returns the colours that the demo takes from the run's data, [] where that is not there."""
    from pix2pix_jax.web import drawing
    from pix2pix_jax.workdir.config_json import load_config

    config = load_config(workdir)
    splits, _ = run_splits.whole_splits(workdir, config)
    try:
        drawing.check(config, splits, workdir)
    except UserError:  # its inputs cannot be drawn
        return []
    _, pictures = drawing.samples(config, splits)
    return drawing.palette(config, pictures) if pictures else []


if __name__ == '__main__':
    run_command(functools.partial(main, take_words(sys.argv)), define_flags)
