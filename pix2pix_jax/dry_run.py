"""What a training would do, said without doing it."""

from etils import epath

from pix2pix_jax.config import Config
from pix2pix_jax.distributed import feed, hosts, memory, parallel
from pix2pix_jax.methods import METHODS
from pix2pix_jax.storage import user_paths
from pix2pix_jax.train_setup import Setup, resolve, say_what_starts, starting_state
from pix2pix_jax.train_state import GanState, training_key
from pix2pix_jax.workdir import locks
from pix2pix_jax.workdir.checkpoints import Checkpoints
from pix2pix_jax.workdir.config_json import to_json


def dry_run(config: Config, workdir: epath.PathLike) -> None:
    """Prints what `train_and_evaluate` would do: config, data, networks, memory; writes nothing.

    Raises the errors that `train_and_evaluate` would raise before the first step.
    """
    workdir = epath.Path(user_paths.given(workdir, '--workdir'))
    if hosts.is_writer():
        locks.refuse_if_held(workdir)
    setup = resolve(config, workdir)
    print(to_json(setup.config), end='')
    state, _ = setup.initial_state()
    checkpoints = Checkpoints(workdir) if hosts.is_writer() else None
    state = starting_state(setup, state, checkpoints)
    if checkpoints is not None:
        checkpoints.close()
    say_what_starts(setup, state)
    parts = memory_of_step(setup, state)
    if not parts:
        print('memory of a step on each device: not known here')
        return
    text = ', '.join(f'{name} {size / 2**20:,.0f} MiB' for name, size in parts.items())
    print(f'memory of a step on each device: {sum(parts.values()) / 2**20:,.0f} MiB ({text})')


def memory_of_step(setup: Setup, state: GanState) -> dict[str, int]:
    """Returns the bytes that the compiled step takes on each device, by what they are for.

    {} where the backend does not count them. `state` is that of the run before it is replicated.
    """
    config, devices = setup.config, setup.devices
    batch = next(feed.batches(setup.splits['train'], config, devices, 0))
    step_fn = parallel.compile_step(METHODS[config.method].step, config, devices)
    state, frozen = parallel.replicate((state, setup.frozen), devices)
    with memory.one_line('a training step', memory.less(config)):
        compiled = step_fn.lower(state, batch, training_key(config), frozen).compile()
    return memory.parts_of_program(compiled)
