"""OpenMoji, class map -> drawing: the second built-in data set, flat colours to lines and shades.

The map has twelve classes, one for each colour, without lines and shades. Setting and length are
those of configs/openmoji.py.

python -m pix2pix_jax.main --config=configs/openmoji_classes.py
"""

from pix2pix_jax.config import Config, default_config
from pix2pix_jax.presets import apply_arg


def get_config(arg: str = '') -> Config:
    """Returns the config; `arg` as in pix2pix_jax.presets.apply_arg."""
    config = default_config()
    config.image_size = (64, 64)
    config.batch_size = 4
    config.num_steps = 2500
    config.eval_every = 1000
    config.sample_every = 250
    config.checkpoint.every_steps = 1000
    config.dataset.name = 'openmoji_classes'
    config.dataset.colors = 'openmoji_classes'
    config.dataset.input_classes = 12
    config.dataset.val_fraction = 0.05
    config.generator.width = 32
    config.discriminator.width = 16
    config.optimizer.learning_rate = 4e-4
    config.optimizer.d_learning_rate = 2e-4
    config.optimizer.schedule = 'linear'
    config.test.norm = 'running'
    config.generator.norm_momentum = 0.99
    config = apply_arg(config, arg)
    if config.discriminator.layers == 5:  # the minimum that it takes
        config.image_size = (96, 96)
    return config
