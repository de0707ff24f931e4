"""Edges -> shoes: the paper's setting (Isola et al., 2017, section 6.2).

49,825 training pairs, batch 4, 15 epochs (186,843 steps), no jitter, no mirroring. The 200 pairs of
its val split are what is reported on.

python scripts/prepare_data.py edges2shoes
python -m pix2pix_jax.main --config=configs/edges2shoes.py

Time and results at full length are not measured yet.
"""

from pix2pix_jax.config import Config, default_config
from pix2pix_jax.presets import apply_arg


def get_config(arg: str = '') -> Config:
    """Returns the config; `arg` as in pix2pix_jax.presets.apply_arg."""
    config = default_config()
    config.batch_size = 4
    config.num_epochs = 15
    config.dataset.name = 'edges2shoes'
    config.dataset.jitter = 1.0
    config.dataset.mirror = False
    return apply_arg(config, arg)
