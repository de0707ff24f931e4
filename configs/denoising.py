"""Denoising: photos from themselves with Gaussian noise.

PHOTOS is any folder of plain photos: as it is (about a tenth is then held out for test), or with
train/ and, if there are any, val/ and test/. About a tenth of train is held out where there is no
val.
--config.dataset.task_amount is the standard deviation of the noise on [-1, 1], 0.2.

python -m pix2pix_jax.main --config=configs/denoising.py --config.dataset.path=PHOTOS

Time and results at full length are not measured yet.
"""

from pix2pix_jax.config import Config, default_config
from pix2pix_jax.presets import apply_arg


def get_config(arg: str = '') -> Config:
    """Returns the config; `arg` as in pix2pix_jax.presets.apply_arg."""
    config = default_config()
    config.dataset.task = 'denoise'
    config.dataset.val_fraction = 0.1
    return apply_arg(config, arg)
