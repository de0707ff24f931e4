"""Cityscapes, labels -> photo: the paper's setting (Isola et al., 2017, sections 4.1, 6.2).

2,975 training pairs (photo|labels), batch 1, 200 epochs (595,000 steps), jitter and mirroring; the
losses of Table 1 are :loss=..., the discriminators of Table 3 :discriminator=..., and the
generators of Table 2, at batch 10, :generator=... with --config.batch_size=10. Photo -> labels
(Table 6) with :direction=AtoB. leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip must be
obtained from https://www.cityscapes-dataset.com; from the folder that holds them:

python scripts/prepare_data.py cityscapes --from=FOLDER
python -m pix2pix_jax.main --config=configs/cityscapes.py

Time and results at full length are not measured yet.
"""

from pix2pix_jax.config import Config, default_config
from pix2pix_jax.presets import apply_arg


def get_config(arg: str = '') -> Config:
    """Returns the config; `arg` as in pix2pix_jax.presets.apply_arg."""
    config = default_config()
    config.dataset.name = 'cityscapes'
    config.dataset.direction = 'BtoA'
    return apply_arg(config, arg)
