r"""The authors' own code (Lua Torch, 2016-2017), facades labels -> photo.

The paper's networks with a bias in every convolution. D's gradient is the sum of the real and the
generated term, not halved; G's adversarial gradient is the one through D as it was before the
step. 200 epochs at a constant rate: 80,000 steps.

python -m pix2pix_jax.main --config=configs/reference/torch_original.py \
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
    config.update = 'simultaneous'
    config.loss.d_weight = 1.0
    config.generator.bias = 'all'
    config.discriminator.bias = 'all'
    return apply_arg(config, arg)
