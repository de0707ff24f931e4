r"""The authors' own code (Lua Torch, 2016-2017), facades labels -> photo.

The paper's networks without a bias in any convolution: the code has them, but sets all to zero
before every gradient of D and of G, so that they never hold more than one step of Adam. D's
gradient is the sum of the real and the generated term, not halved. G's adversarial gradient goes
there through D's activations from before D's step and its weights from after it; here both are from
before. 200 epochs at a constant rate: 80,000 steps.

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
    config.generator.bias = 'none'
    config.discriminator.bias = 'none'
    return apply_arg(config, arg)
