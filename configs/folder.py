"""Your own pairs: PATH/{train,test}/*.jpg side by side (A|B), or two folders of the same names.

python -m pix2pix_jax.main --config=configs/folder.py --config.dataset.path=PATH --workdir=runs/mine

The size is found in the data (the most common one, at most 512 on the longer side, rounded to what
the U-Net can take; --config.image_size=HEIGHT,WIDTH sets another); about a tenth of train, at least
one pair, is held out to choose the best checkpoint where there is no val
split. A is translated to B; the other way with --config.dataset.direction=BtoA. It trains the
paper's 200 epochs, one image a step; --config.num_epochs= sets another length.
"""

from pix2pix_jax.config import Config, default_config
from pix2pix_jax.presets import apply_arg


def get_config(arg: str = '') -> Config:
    """Returns the config; `arg` as in pix2pix_jax.presets.apply_arg."""
    config = default_config()
    config.image_size = (0, 0)
    config.dataset.val_fraction = 0.1
    return apply_arg(config, arg)
