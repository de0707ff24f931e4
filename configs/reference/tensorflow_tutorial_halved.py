r"""A TensorFlow 2 write-up: the tutorial with D's objective halved; facades, :maps for maps.

As tensorflow_tutorial.py, for 200 epochs (80,000 steps) with a snapshot every 10. With :maps it is
map -> aerial photo, 219,200 steps (the direction is inferred).

python -m pix2pix_jax.main --config=configs/reference/tensorflow_tutorial_halved.py \
    --config.dataset.path=facades

Time and results at full length are not measured yet.
"""

from pix2pix_jax.config import Config, default_config
from pix2pix_jax.presets import KERAS, apply_arg


def get_config(arg: str = '') -> Config:
    """Returns the config; `arg` as in pix2pix_jax.presets.apply_arg."""
    config = default_config()
    config.dataset.name = 'facades'
    config.dataset.direction = 'BtoA'
    config.update_from_flattened_dict(KERAS)
    config.dataset.resize = 'nearest'
    config.eval_every = config.sample_every = 4000
    config.checkpoint.every_minutes = 0.0
    config.checkpoint.every_steps = 4000
    config.checkpoint.keep = 20
    maps = {'dataset.name': 'maps', 'checkpoint.every_steps': 10960}
    maps |= {'eval_every': 10960, 'sample_every': 10960}
    return apply_arg(config, arg, words={'maps': maps})
