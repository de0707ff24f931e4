r"""The TensorFlow 2 tutorial, facades labels -> photo.

Keras U-Net and padded D, images resized by nearest neighbour. D's objective is not halved, both
gradients are of the parameters before the step. 30 epochs, batch 1: 12,000 steps; a sample grid
after every epoch (it has one before), with dropout and each image's statistics, and a checkpoint
every 10 epochs.

python -m pix2pix_jax.main --config=configs/reference/tensorflow_tutorial.py \
    --config.dataset.path=facades

Time and results at full length are not measured yet.
"""

from pix2pix_jax.config import Config, default_config
from pix2pix_jax.presets import KERAS, apply_arg


def get_config(arg: str = '') -> Config:
    """Returns the config; `arg` as in pix2pix_jax.presets.apply_arg."""
    config = default_config()
    config.dataset.name = 'facades'
    config.dataset.direction = 'BtoA'
    config.update_from_flattened_dict(KERAS)
    config.num_epochs = 30
    config.dataset.resize = 'nearest'
    config.loss.d_weight = 1.0
    config.eval_every = 4000
    config.sample_every = 400
    config.checkpoint.every_minutes = 0.0
    config.checkpoint.every_steps = 4000
    config.checkpoint.keep = 3
    return apply_arg(config, arg)
