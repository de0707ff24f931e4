"""Maps, aerial photo -> map: the paper's setting (Isola et al., 2017, section 6.2).

1,096 training pairs, batch 1, 200 epochs (219,200 steps), jitter and mirroring. The pairs are
600x600 and resized to 256; trained at 256, the generator can run at 512 (section 4). Map -> aerial
with :direction=BtoA.

python scripts/prepare_data.py maps
python -m pix2pix_jax.main --config=configs/maps.py

Time and results at full length are not measured yet.
"""

from pix2pix_jax.config import Config, default_config
from pix2pix_jax.presets import apply_arg


def get_config(arg: str = '') -> Config:
    """Returns the config; `arg` as in pix2pix_jax.presets.apply_arg."""
    config = default_config()
    config.dataset.name = 'maps'
    return apply_arg(config, arg)
