"""Super-resolution: photos from themselves at a quarter of their sides.

PHOTOS is any folder of plain photos: as it is (about a tenth is then held out for test), or with
train/ and, if there are any, val/ and test/. About a tenth of train is held out where there is no
val.
--config.dataset.task_amount is the factor, 4. A translation takes small images and enlarges them.

python -m pix2pix_jax.main --config=configs/super_resolution.py --config.dataset.path=PHOTOS

Time and results at full length are not measured yet.
"""

from pix2pix_jax.config import Config, default_config
from pix2pix_jax.presets import apply_arg


def get_config(arg: str = '') -> Config:
    """Returns the config; `arg` as in pix2pix_jax.presets.apply_arg."""
    config = default_config()
    config.dataset.task = 'super_resolution'
    config.dataset.val_fraction = 0.1
    return apply_arg(config, arg)
