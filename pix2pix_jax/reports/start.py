"""What the console says when a run starts: its networks, devices, length, and what to know."""

import math

import jax
from etils import epath

from pix2pix_jax.config import Config
from pix2pix_jax.distributed import parallel
from pix2pix_jax.models import factory
from pix2pix_jax.train_state import GanState
from pix2pix_jax.workdir.run_json import steps_before


def describe(state: GanState, devices: list[jax.Device], start: int, total_steps: int) -> None:
    """Prints the networks, the devices and the length of the run.

    Args:
      state: that of the run, with its networks.
      devices: those of this process.
      start: how many steps are done.
      total_steps: the length of the run.
    """
    for name, shapes in arrays(state).items():
        count = sum(map(math.prod, shapes.values()))
        print(f'{name}: {count:,} parameters')
    resuming = f', resuming from step {start:,}' if start else ''
    if start >= total_steps:
        resuming = ': all done already'
    on = f' on each of {jax.process_count()} hosts' if jax.process_count() > 1 else ''
    used = f'{len(devices)} x {devices[0].device_kind}{on}'
    print(f'{used}, {total_steps:,} steps{resuming}', flush=True)


def arrays(state: GanState) -> dict[str, dict[str, tuple[int, ...]]]:
    """Returns the shape of each parameter array, by its name, of each network."""
    networks = {'generator': state.generator, 'discriminator': state.discriminator}
    return {
        name: {
            jax.tree_util.keystr(path, simple=True, separator='/'): tuple(leaf.shape)
            for path, leaf in jax.tree.leaves_with_path(network.params)
        }
        for name, network in networks.items()
        if network is not None
    }


def idle(config: Config, devices: list[jax.Device]) -> list[str]:
    """Returns a line that names the batch size that would use all devices, where some are idle.

    Not where `num_devices` says how many are used.
    """
    local = jax.local_device_count()
    if config.num_devices or len(devices) == local:
        return []
    parts = config.grad_accumulation
    unit = local * jax.process_count() * parts
    use_all = unit * max(1, round(config.batch_size / unit))
    times = f' ({unit // parts} times grad_accumulation={parts})' if parts > 1 else ''
    return [
        f'{local - len(devices)} of the {local} devices are idle: batch_size={config.batch_size} '
        f'is no multiple of {unit}{times}; --config.batch_size={use_all} uses all'
    ]


def compilation(devices: list[jax.Device]) -> list[str]:
    """Returns a line that says why nothing happens at first, on a GPU."""
    if devices[0].platform != 'gpu':
        return []
    return [
        'compiling the step, if it is not kept from an earlier start: on a GPU it takes about a '
        'minute, in bfloat16 longer, since XLA times kernels to choose them'
    ]


def norm_statistics(config: Config, devices: list[jax.Device]) -> list[str]:
    """Returns a line that says over how many images batch norm goes, where not over the batch."""
    count = 1 if config.sync_batch_norm else parallel.device_count(devices)
    parts = config.grad_accumulation
    there = ('generator', 'discriminator') if config.loss.gan != 'none' else ('generator',)
    networks = [name for name in there if config[name].norm == 'batch']
    if count * parts == 1 or not networks:
        return []
    unit, other = 'each device', 'devices'
    if parts > 1:
        unit = f'each of {parts} parts' + (' on each device' if count > 1 else '')
        other = 'devices or parts' if count > 1 else 'parts'
    all_devices = ' (--config.sync_batch_norm=True: over all devices)' if count > 1 else ''
    return [
        f'batch norm ({" and ".join(networks)}): in training over the '
        f'{parallel.images_of_batch_norm(config, count)} images of {unit}, not over the '
        f'{config.batch_size} of the batch: another number of {other} is another experiment'
        f'{all_devices}'
    ]


def unlike_training(config: Config, devices: list[jax.Device]) -> list[str]:
    """Returns a line where tests leave out a bottleneck that training uses.

    Batch norm over several images leaves their differences in a bottleneck of one pixel; over each
    image alone it makes that pixel its bias, whatever the image.
    """
    images = parallel.images_of_batch_norm(config, parallel.device_count(devices))
    if config.generator.norm != 'batch' or config.test.norm != 'image' or images == 1:
        return []
    if not factory.norms_one_pixel(config):
        return []
    return [
        f"config.test.norm='image': the bottleneck has one pixel, and its norm "
        f'(config.generator.bottleneck_norm=True), in training over {images} images, makes it a '
        'constant where it is over one image: evaluations, samples and tests go without the '
        'bottleneck; --config.test.norm=running goes with it'
    ]


def measured(val_pairs: int, config: Config) -> list[str]:
    """Returns a line that says how many of the val pairs an evaluation measures, where not all."""
    if not 0 < config.eval_images < val_pairs or not config.eval_every:
        return []
    return [
        f'an evaluation measures {config.eval_images:,} of the {val_pairs:,} val pairs, evenly '
        'spread (--config.eval_images=0: all); evaluate --split=val measures all'
    ]


def of_older_version(workdir: epath.Path, start: int) -> list[str]:
    """Returns a line that says what is new where a run of a version before 0.2.0 is resumed."""
    if not start or steps_before(workdir, (0, 2)) < math.inf:
        return []
    return [
        f'the run is of a version before 0.2.0: from step {start + 1} its random draws (dropout, '
        'discriminator.augment, gradient penalty) are others than that version would have made'
    ]
