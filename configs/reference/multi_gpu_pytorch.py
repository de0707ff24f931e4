r"""A PyTorch multi-GPU tutorial, edges -> shoes.

The PyTorch port's networks without dropout, images resized by nearest neighbour, 64 pairs on each
of 4 GPUs with batch norm on each device alone. D first, on half of real + generated, then G
through the updated D; the rate is not scaled. 200 epochs: 38,925 steps; the val split is evaluated
and a grid of samples written after every epoch (194 steps).

That is --config.num_devices=4; other numbers of devices divide the batch otherwise.

python -m pix2pix_jax.main --config=configs/reference/multi_gpu_pytorch.py \
    --config.dataset.path=edges2shoes

Time and results at full length are not measured yet.
"""

from pix2pix_jax.config import Config, default_config
from pix2pix_jax.presets import apply_arg


def get_config(arg: str = '') -> Config:
    """Returns the config; `arg` as in pix2pix_jax.presets.apply_arg."""
    config = default_config()
    config.batch_size = 256
    config.eval_every = 194
    config.sample_every = 194
    config.dataset.name = 'edges2shoes'
    config.dataset.resize = 'nearest'
    config.generator.dropout = 0.0
    return apply_arg(config, arg)
