"""The smallest run of everything, in seconds on a CPU: OpenMoji at 32x32, four steps.

The first time the drawings are rendered, a few seconds more.

python -m pix2pix_jax.main --config=configs/test.py
"""

from pix2pix_jax.config import Config, default_config
from pix2pix_jax.presets import apply_arg


def get_config(arg: str = '') -> Config:
    """Returns the config; `arg` as in pix2pix_jax.presets.apply_arg."""
    config = default_config()
    config.dataset.name = 'openmoji'
    config.dataset.val_fraction = 0.05
    return apply_arg(config, ','.join(filter(None, ('tiny', arg))))
