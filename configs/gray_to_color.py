"""Gray -> colour: photos from themselves in gray, RGB at once (bw2color.py keeps their lightness).

PHOTOS is any folder of plain photos: as it is (about a tenth is then held out for test), or with
train/ and, if there are any, val/ and test/. About a tenth of train is held out where there is no
val. A translation takes gray images, or makes them so.

python -m pix2pix_jax.main --config=configs/gray_to_color.py --config.dataset.path=PHOTOS

Time and results at full length are not measured yet.
"""

from pix2pix_jax.config import Config, default_config
from pix2pix_jax.presets import apply_arg


def get_config(arg: str = '') -> Config:
    """Returns the config; `arg` as in pix2pix_jax.presets.apply_arg."""
    config = default_config()
    config.dataset.task = 'gray_to_color'
    config.dataset.val_fraction = 0.1
    config.generator.input_channels = 1
    return apply_arg(config, arg)
