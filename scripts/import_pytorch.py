"""Makes a run of weights that the widely used PyTorch implementation of pix2pix has trained.

python scripts/import_pytorch.py --generator=latest_net_G.pth --workdir=runs/imported \\
    [--discriminator=latest_net_D.pth] [--dataset=facades --direction=BtoA]

Reads .pth (both formats; neither needs PyTorch, and nothing in them is executed), .safetensors and
.npz. What the networks are is found in the files; other flags say what files do not. The run
translates, evaluates, exports, and starts new runs (--config.init_from=DIR) as any other.
"""

import os
import shlex
import sys

import jax
from absl import flags
from clu import parameter_overview
from etils import epath

from pix2pix_jax.config import Config, default_config, flatten
from pix2pix_jax.config_fields import FIELDS
from pix2pix_jax.errors import UserError, run_command
from pix2pix_jax.interop.torch import convert
from pix2pix_jax.interop.torch.convert import Network
from pix2pix_jax.reports import start
from pix2pix_jax.storage import atomic, user_paths
from pix2pix_jax.train_state import GanState
from pix2pix_jax.workdir import data_json, locks
from pix2pix_jax.workdir.checkpoints import Checkpoints
from pix2pix_jax.workdir.config_json import to_json
from pix2pix_jax.workdir.run_json import record_start


def define_flags() -> flags.FlagValues:
    """Returns the flags of this command."""
    values = flags.FlagValues()

    def text(name: str, about: str) -> None:
        flags.DEFINE_string(name, '', about, flag_values=values)

    text('generator', 'File of the generator.')
    text('discriminator', 'File of its discriminator, for a run that trains on.')
    text('workdir', 'Folder of the run, new or empty.')
    about = 'SIZE or HEIGHT,WIDTH; by default from the depth, of a ResNet 256.'
    flags.DEFINE_list('image_size', [], about, flag_values=values)
    about = 'Of a U-Net, by default on (a ResNet shows it).'
    flags.DEFINE_bool('dropout', None, about, flag_values=values)
    names = [name for name in FIELDS['loss.gan'].allowed.words if name != 'none']
    about = 'The loss of the discriminator.'
    flags.DEFINE_enum('gan', 'vanilla', names, about, flag_values=values)
    text('dataset', 'Folder of pairs to evaluate on.')
    names = FIELDS['dataset.direction'].allowed.words
    flags.DEFINE_enum('direction', 'AtoB', names, 'Which half is the input.', flag_values=values)
    return values


def main(values: flags.FlagValues) -> None:
    """Writes the run and says what it is."""
    for name in ('generator', 'workdir'):
        if not values[name].value:
            raise UserError(f'--{name} is missing: --generator and --workdir are needed')
    if values['gan'].present and not values.discriminator:
        raise UserError('--gan is the loss of a discriminator: give --discriminator, too')
    workdir = epath.Path(user_paths.of_flag(values, 'workdir'))
    check_new(workdir)
    generator = convert.read_generator(user_paths.of_flag(values, 'generator'))
    discriminator = None
    if values.discriminator:
        path = user_paths.of_flag(values, 'discriminator')
        discriminator = convert.read_discriminator(path, generator)
    config = convert.imported_config(
        generator,
        discriminator,
        image_size(values.image_size),
        values.dropout,
        values.gan,
        {'path': folder_of_pairs(values.dataset), 'direction': values.direction},
    )
    state = convert.imported_state(config, generator, discriminator)
    write_run(workdir, config, state, ['scripts/import_pytorch.py', *sys.argv[1:]])
    for line in describe(config, state, generator, discriminator):
        print(line)
    print(f'{workdir}: a run at step {int(state.step):,}; a new run starts from it with')
    print(command_of_a_new_run(workdir, config))


def folder_of_pairs(given: str) -> str:
    """Returns the absolute path of the folder that is `given`, '' for none.

    Raises UserError where there is no such folder.
    """
    path = user_paths.given(given, '--dataset')
    if path and not epath.Path(path).is_dir():
        raise UserError(f'--dataset={given} is not a folder')
    return os.path.abspath(path) if path and '://' not in path else path


def check_new(workdir: epath.Path) -> None:
    """Raises UserError where `workdir` holds anything."""
    if workdir.exists() and not workdir.is_dir():
        raise UserError(f'--workdir={workdir} is a file: allowed is a new or empty folder')
    if workdir.exists() and not all(path.name.startswith('.') for path in workdir.iterdir()):
        raise UserError(f'--workdir={workdir} holds files: allowed is a new or empty folder')


def image_size(words: list[str]) -> tuple[int, ...]:
    """Returns the sides that --image_size gives, () where it is not given; or UserError."""
    if not (len(words) <= 2 and all(word.isdecimal() and int(word) for word in words)):
        raise UserError(
            f'--image_size={",".join(words)}: allowed is SIZE or HEIGHT,WIDTH in pixels'
        )
    return tuple(map(int, words))


def write_run(workdir: epath.Path, config: Config, state: GanState, words: list[str]) -> None:
    """Writes the folder of a run, its config last: without one it is no run yet.

    Args:
      workdir: the folder, new or empty.
      config: of the run.
      state: of the run.
      words: the command that makes it, without python.

    Raises:
      UserError: where the folder holds anything, or another process is writing there.
    """
    step, command = int(state.step), shlex.join(['python', *words])
    with locks.hold(workdir):
        check_new(workdir)  # again: another process may have been there meanwhile
        checkpoints = Checkpoints(workdir, writer=True)
        checkpoints.save('last', step, state, config)
        checkpoints.close()
        data_json.write_known(workdir, {}, 0)  # none: they are drawn where the run is resumed
        record_start(workdir, command, jax.local_devices()[:1], step, start.arrays(state))
        atomic.write_text(workdir / 'config.json', to_json(config))


def describe(
    config: Config, state: GanState, generator: Network, discriminator: Network | None = None
) -> list[str]:
    """Returns lines that say what was found, and what was assumed.

    Args:
      config: of the run that was written.
      state: of that run.
      generator, discriminator: what was read; None where no file was given.
    """
    lines = []
    for network, part in ((generator, state.generator), (discriminator, state.discriminator)):
        if network is not None:
            about = convert.describe(network.fields)
            count = parameter_overview.count_parameters(part.params)
            lines.append(f'{network.path}: {about}; {count:,} parameters')
    g = config.generator
    dropout = f'dropout {g.dropout}' if g.dropout else 'no dropout'
    if g.dropout and g.name == 'unet':
        dropout += f' in decoder blocks {g.dropout_from + 1} to {g.dropout_from + g.dropout_blocks}'
    size = '{1}x{0}'.format(*config.image_size)
    task = '' if config.dataset.task == 'none' else f', dataset.task {config.dataset.task}'
    lines.append(f'images of {size} pixels, {dropout}, loss.gan {config.loss.gan}{task}')
    return lines


def command_of_a_new_run(workdir: epath.Path, config: Config) -> str:
    """Returns the command that trains networks like these, from these weights."""
    words = ['--config=configs/folder.py', f'--config.init_from={workdir}']
    parts = ('image_size', 'dataset.', 'generator.', 'discriminator.', 'loss.g')
    default = flatten(default_config()) | {'image_size': (0, 0)}  # configs/folder.py's
    for field, value in flatten(config).items():
        if not field.startswith(parts) or value == default[field]:
            continue
        if (field, value) == ('loss.gan', 'none'):  # the new run has a discriminator of its own
            continue
        value = ','.join(map(str, value)) if isinstance(value, tuple) else value
        words.append(f'--config.{field}={value}')
    return shlex.join(['python', '-m', 'pix2pix_jax.main', *words])


if __name__ == '__main__':
    run_command(main, define_flags)
