r"""The widely used PyTorch port of pix2pix, facades labels -> photo.

D halved and stepped first, G against the updated D with the same generated image. Dropout is in
depth - 5 decoder blocks from the second on: three at 256x256, two at 128x128. 100 epochs at a
constant rate, 100 with linear decay: 80,000 steps; the port lowers the rate once an epoch, this at
every step.

python -m pix2pix_jax.main --config=configs/reference/pytorch_reference.py \
    --config.dataset.path=facades

Time and results at full length are not measured yet.
"""

from pix2pix_jax.config import Config, default_config
from pix2pix_jax.presets import apply_arg


def get_config(arg: str = '') -> Config:
    """Returns the config; `arg` as in pix2pix_jax.presets.apply_arg."""
    config = default_config()
    config.dataset.name = 'facades'
    config.dataset.direction = 'BtoA'
    config.generator.dropout_from = 1
    config.generator.dropout_blocks = 0
    config.optimizer.schedule = 'linear'
    config.optimizer.decay_start = 0.5
    return apply_arg(config, arg)
