"""Facades, labels -> photo, with what helped most at 64x64 of all that was tried beyond the paper.

To configs/facades.py it adds averaged weights of G, spectral norm in place of D's batch norm, and
upsampling by resizing in place of transposed convolutions. Feature matching adds nothing to these.

python scripts/prepare_data.py facades
python -m pix2pix_jax.main --config=configs/facades_plus.py

Measured at 64x64, width 16, 20,000 steps, paired with configs/facades.py over eight seeds, mean
and 95% interval of the difference (docs/ablations.md): class accuracy +0.023 ± 0.005 (to 0.282),
class IoU +0.018 ± 0.004 (to 0.195), L1 -0.018 ± 0.002 (to 0.321), checkerboards -4.9 ± 0.4 dB (to
-1.7), at 1.34 times the training time. At 128x128, width 32, and the paper's length (two seeds)
the scores of classes are no better than those of configs/facades.py (class IoU -0.003 ± 0.009, to
0.250), but L1 is lower (-0.016 ± 0.004, to 0.336), and the checkerboards are gone (-4.6 ± 2.1 dB,
to -0.2); the colours are a little further away.
"""

from pix2pix_jax.config import Config, default_config
from pix2pix_jax.presets import apply_arg


def get_config(arg: str = '') -> Config:
    """Returns the config; `arg` as in pix2pix_jax.presets.apply_arg."""
    config = default_config()
    config.dataset.name = 'facades'
    config.dataset.direction = 'BtoA'
    config.ema_decay = 0.999
    config.discriminator.norm = 'none'
    config.discriminator.spectral_norm = True
    config.generator.upsample = 'resize'
    return apply_arg(config, arg)
