"""Facades, photo -> labels as twelve classes: the reverse of configs/facades.py, with a softmax.

The label maps are in colours, as JPEG left them; dataset.colors makes classes of them. The losses
are :loss=l1, gan, cgan, l1+cgan (the default) as in Table 6 of the paper, whose networks gave
colours; --config.loss.class_weight=1 adds the cross-entropy. Colours by regression, to compare:
--config=configs/facades.py:direction=AtoB, whose evaluation has the same scores by the nearest one.

python scripts/prepare_data.py facades
python -m pix2pix_jax.main --config=configs/facades_classes.py

Of classes the cross-entropy is best: class IoU 0.205 after 4,000 steps at 128x128 and width 32, of
L1+cGAN 0.168 (docs/ablations.md). Time and results at full length are not measured yet.
"""

from pix2pix_jax.config import Config, default_config
from pix2pix_jax.presets import apply_arg


def get_config(arg: str = '') -> Config:
    """Returns the config; `arg` as in pix2pix_jax.presets.apply_arg."""
    config = default_config()
    config.dataset.name = 'facades'
    config.dataset.direction = 'AtoB'
    config.dataset.colors = 'facades'
    config.dataset.target_classes = 12
    return apply_arg(config, arg)
