"""Inpainting: the paper's setting (Isola et al., 2017, section 6.2).

Photos with a hole in the middle, a quarter of the image, to the whole photos, on Paris StreetView:
14,900 photos, batch 4, 25 epochs, jitter and mirroring. Holes at random places are
--config.dataset.task=inpaint_anywhere. A translation takes photos whose holes are gray (127 or 128
of 255). PHOTOS is any folder of plain photos: as it is (about a tenth is then held
out for test), or with train/ and, if there are any, val/ and test/:

python -m pix2pix_jax.main --config=configs/inpainting.py --config.dataset.path=PHOTOS

Time and results at full length are not measured yet.
"""

from pix2pix_jax.config import Config, default_config
from pix2pix_jax.presets import apply_arg


def get_config(arg: str = '') -> Config:
    """Returns the config; `arg` as in pix2pix_jax.presets.apply_arg."""
    config = default_config()
    config.batch_size = 4
    config.num_epochs = 25
    config.dataset.task = 'inpaint'
    return apply_arg(config, arg)
