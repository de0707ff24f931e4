r"""The TensorFlow twin of the multi-GPU tutorial, edges -> shoes.

Keras U-Net and padded D, 64 pairs on each of 4 GPUs with batch norm on each device alone, the rate
2e-4 times the number of devices. D halved, both gradients of the parameters before the step. 200
epochs: 38,925 steps, a checkpoint, of which the newest is kept, after every one of 194 steps. It
tests in training mode on batches of 64, whose images share their statistics; here the moving
averages stand for these, since statistics of each image alone would make its bottleneck, of one
pixel, a constant.

That is --config.num_devices=4; other numbers of devices divide the batch otherwise.

python -m pix2pix_jax.main --config=configs/reference/multi_gpu_tensorflow.py \
    --config.dataset.path=edges2shoes

Time and results at full length are not measured yet.
"""

from pix2pix_jax.config import Config, default_config
from pix2pix_jax.presets import KERAS, apply_arg


def get_config(arg: str = '') -> Config:
    """Returns the config; `arg` as in pix2pix_jax.presets.apply_arg."""
    config = default_config()
    config.batch_size = 256
    config.eval_every = 194
    config.sample_every = 194
    config.dataset.name = 'edges2shoes'
    config.dataset.resize = 'nearest'
    config.update_from_flattened_dict(KERAS)
    config.checkpoint.every_steps = 194
    config.optimizer.scale_with_devices = True
    config.test.norm = 'running'
    return apply_arg(config, arg)
