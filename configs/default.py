"""Every field with its default: the paper's setting. See pix2pix_jax/config.py."""

from pix2pix_jax.config import Config, apply_arg, default_config


def get_config(arg: str = '') -> Config:
    """Returns the config; `arg` as in pix2pix_jax.config.apply_arg."""
    return apply_arg(default_config(), arg)
