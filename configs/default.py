"""Every field with its default: the paper's setting. See docs/configuration.md."""

from pix2pix_jax.config import Config, default_config
from pix2pix_jax.presets import apply_arg


def get_config(arg: str = '') -> Config:
    """Returns the config; `arg` as in pix2pix_jax.presets.apply_arg."""
    return apply_arg(default_config(), arg)
