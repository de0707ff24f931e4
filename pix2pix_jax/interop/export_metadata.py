"""What an exported model says about itself: sizes, what its channels are, and where it is from."""

from typing import Any

from pix2pix_jax.config import Config
from pix2pix_jax.data import class_maps, image_spec, label_colors, tasks
from pix2pix_jax.inference.loaded_run import Run
from pix2pix_jax.models.factory import minimum_side, statistics, unit
from pix2pix_jax.version import version

CHANNELS = {1: 'gray', 3: 'RGB'}


def of_model(
    run: Run, config: Config, norm: str, size: tuple[int, int] | None, weights: str
) -> dict[str, Any]:
    """Returns the metadata of a run's generator as it is exported, as JSON has it.

    Args:
      run: the trained generator.
      config: the run's, for the exported model.
      norm: the statistics of its norms, 'image' | 'running' | 'mixed'.
      size: (height, width) of its images; None: they are open.
      weights: what its kernels are stored in, 'float32' | 'float16'.
    """
    g, d = config.generator, config.dataset
    ranges = [d[field] or 'of the type' for field in image_spec.range_fields(config)]
    return {
        'producer': f'pix2pix_jax {version()}',
        'layout': 'NHWC',
        'value_range': [-1, 1],
        **_meanings(config),
        'trained_size': list(run.config.image_size),
        'size': list(size) if size else 'any',
        'multiple_of': unit(g, g.depth),
        'least_size': minimum_side(g, g.depth),  # the key is in the files that were exported
        'direction': d.direction,
        'input_range': ranges[0],
        'target_range': ranges[1],
        **_of_files(config),
        'task': d.task,
        'task_amount': tasks.amount_of(d.task, d.task_amount),
        'preprocess': d.preprocess,
        'resize': d.resize,
        'generator': g.name,
        'norm': statistics(g, norm) or 'none',
        'weights': weights,
        **_of_flow(config),
        'averaged_weights': bool(config.ema_decay and run.ema),
        'step': run.step,
        'checkpoint': run.checkpoint,
    }


def _meanings(config: Config) -> dict[str, Any]:
    """What the channels of input and output are, and how many there are of each."""
    g = config.generator
    meanings = {'input': _channels(g.input_channels), 'output': _channels(g.output_channels)}
    if config.dataset.input_classes:
        meanings['input'] = f'{g.input_channels} classes, 1 for the one that a pixel is of, else -1'
    if config.dataset.target_classes:
        meanings['output'] = f'2p - 1 for the probability p of each of {g.output_channels} classes'
    meanings |= tasks.channel_meaning(config)
    return {
        **meanings,
        **_classes(config),
        'input_channels': g.input_channels,
        'output_channels': g.output_channels,
    }


def _channels(count: int) -> str:
    return CHANNELS.get(count, f'{count} channels')


def _classes(config: Config) -> dict[str, Any]:
    """Names and colours (R,G,B) of the classes, where input or output has any."""
    specs = image_spec.of_config(config)
    return {
        f'{spec.name}_classes': {
            'names': class_maps.names(spec.classes, spec.table),
            'colors': class_maps.colours(spec.classes, spec.colours).tolist(),
        }
        for spec in specs
        if spec.classes
    }


def _of_files(config: Config) -> dict[str, Any]:
    """Type and scale of outputs' files, and what in files stands for no data, classes, or none."""
    d = config.dataset
    colors: Any = 'none'
    if d.colors:
        table = label_colors.table(d.colors)
        found = {name: list(rgb) for name, rgb in table.colours.items()}
        colors = {'classes': found, 'void': [list(rgb) for rgb in table.void]}
    indices = (d.input_classes or d.target_classes) and not d.colors
    return {
        'target_type': d.target_type or ('uint8' if d.target_classes else 'of the input'),
        'target_scale': d.target_scale or 1.0,
        'nodata': d.nodata or 'none',
        'void': d.void if indices and d.void else 'none',
        'colors': colors,
    }


def _of_flow(config: Config) -> dict[str, Any]:
    """What is known of a flow's second input, and its steps; {} where there is none."""
    if config.method != 'flow':
        return {}
    return {'noise': 'standard normal', 'steps': config.test.steps}
