"""Black and white -> colour: the paper's setting (Isola et al., 2017, sections 4.2 and 6.2).

L of CIE Lab to a and b, on ImageNet: 1.2 million photos, batch 4, 6 epochs, mirroring, no jitter.
PHOTOS is any folder of plain photos in colour: as it is (about a tenth is then held out for test),
or with train/ and, if there are any, val/ and test/:

python -m pix2pix_jax.main --config=configs/bw2color.py --config.dataset.path=PHOTOS

Samples, metrics and translations are RGB. Time and results at full length are not measured yet.
"""

from pix2pix_jax.config import Config, default_config
from pix2pix_jax.presets import apply_arg


def get_config(arg: str = '') -> Config:
    """Returns the config; `arg` as in pix2pix_jax.presets.apply_arg."""
    config = default_config()
    config.batch_size = 4
    config.num_epochs = 6
    config.dataset.task = 'colorize'
    config.dataset.jitter = 1.0
    config.generator.input_channels = 1
    config.generator.output_channels = 2
    return apply_arg(config, arg)
