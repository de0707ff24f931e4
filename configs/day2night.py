"""Day -> night: the paper's setting (Isola et al., 2017, section 6.2).

17,823 training pairs (night|day), batch 4, 17 epochs (75,747 steps), jitter and mirroring. Night ->
day with :direction=AtoB.

python scripts/prepare_data.py night2day
python -m pix2pix_jax.main --config=configs/day2night.py

Time and results at full length are not measured yet.
"""

from pix2pix_jax.config import Config, default_config
from pix2pix_jax.presets import apply_arg


def get_config(arg: str = '') -> Config:
    """Returns the config; `arg` as in pix2pix_jax.presets.apply_arg."""
    config = default_config()
    config.batch_size = 4
    config.num_epochs = 17
    config.dataset.name = 'night2day'
    config.dataset.direction = 'BtoA'
    return apply_arg(config, arg)
