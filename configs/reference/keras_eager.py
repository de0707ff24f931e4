"""The R port of the Keras eager-execution tutorial, facades labels -> photo.

Keras U-Net and padded D; kernels N(0, 0.2), those of the seven inner up-convolutions and of D's
last two N(0, 0.05). D's objective is not halved, both gradients are of the parameters before the
step. 200 epochs, batch 1: 80,000 steps; every 10 epochs a checkpoint and a sample grid (it prints
epoch means of the losses, this logs those of single steps). As published, the encoder's batch
norm, that of D's strided layers, the dropout and the decoder's ReLU have no effect, since their
results are dropped; here they are built as they were meant. It crops from images that are resized
in floats, here they are rounded to 8 bits. Its remedy for checkerboards is
--config.generator.upsample=resize.

python -m pix2pix_jax.main --config=configs/reference/keras_eager.py --config.dataset.path=facades

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
    config.init.scale = 0.2
    config.loss.d_weight = 1.0
    config.eval_every = config.sample_every = 4000
    config.checkpoint.every_minutes = 0.0
    config.checkpoint.every_steps = 4000
    config.checkpoint.keep = 20
    config = apply_arg(config, arg)
    last_two = f'conv{max(1, config.discriminator.layers)}=0.05,logits=0.05'
    config.init.overrides = f'up[1-7]=0.05,{last_two}'
    return config
