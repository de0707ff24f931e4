r"""A Keras tutorial, facades photo -> labels, with a discriminator of 16x16 logits.

D has four strided layers and SAME padding (receptive field 142). Biases everywhere; the decoder's
ReLU covers the skips. No jitter, no mirroring. D's loss is halved and D stepped first. 100 epochs,
batch 1: 40,000 steps, evaluated every 10 epochs, the best kept (on the val split; a tenth of train
where there is none). At test the encoder's norms use moving averages, the decoder's each image's
own statistics, and dropout stays on.

What differs: copies of the tutorial's code take two steps of D for one of G, on the real pair and
then on the generated one, which G makes as at test. Here D takes one step on both; Adam does not
see that its loss is halved, so D moves up to twice as far there.

python -m pix2pix_jax.main --config=configs/reference/keras_patch16.py \
    --config.dataset.path=facades

Time and results at full length are not measured yet.
"""

from pix2pix_jax.config import Config, default_config
from pix2pix_jax.presets import apply_arg


def get_config(arg: str = '') -> Config:
    """Returns the config; `arg` as in pix2pix_jax.presets.apply_arg."""
    config = default_config()
    config.dataset.name = 'facades'
    config.num_epochs = 100
    config.eval_every = 4000
    config.dataset.val_fraction = 0.1
    config.dataset.jitter = 1.0
    config.dataset.mirror = False
    config.discriminator.layers = 4
    config.discriminator.padding = 'same'
    config.test.norm = 'mixed'
    config.init.norm_scale = 0.0
    config.optimizer.eps = 1e-7
    for network in (config.generator, config.discriminator):
        network.bias = 'all'
        network.norm_epsilon = 1e-3
        network.norm_momentum = 0.99
    return apply_arg(config, arg)
