"""Facades, labels -> photo: the paper's setting (Isola et al., 2017, sections 4 and 6.2).

400 training pairs, batch 1, 200 epochs (80,000 steps), jitter and mirroring. None of train is
held out; where there is a val split (100 pairs in the published archive) it chooses the best
checkpoint, test never does.

python scripts/prepare_data.py facades
python -m pix2pix_jax.main --config=configs/facades.py

Time: 0.4 s a step on two idle cores of a server CPU, nine hours in all; 4.6 ms on one H200, and
two minutes of compilation. Test L1 is 0.356 after 10 epochs and 0.358 after 75 (200 are not
measured). At 128x128 and width 32 a step takes 0.056 s on one quiet core, 75 minutes in all: after
10 epochs expect a grey-brown texture, after 40 panes and sky, after 200 frames, balconies and
colours. L1 does not fall meanwhile (docs/results.md).
"""

from pix2pix_jax.config import Config, default_config
from pix2pix_jax.presets import apply_arg


def get_config(arg: str = '') -> Config:
    """Returns the config; `arg` as in pix2pix_jax.presets.apply_arg."""
    config = default_config()
    config.dataset.name = 'facades'
    config.dataset.direction = 'BtoA'
    return apply_arg(config, arg)
