"""What a config may hold: one clear error for the first wrong value."""

import copy
import math
import re
from typing import Any

from ml_collections import ConfigDict

from pix2pix_jax.config import Config, flatten
from pix2pix_jax.data import sides, tasks
from pix2pix_jax.errors import UserError

CHOICES = {
    'dtype': ('float32', 'bfloat16'),
    'update': ('alternating', 'simultaneous'),
    'dataset.layout': ('auto', 'side_by_side', 'two_folders', 'list'),
    'dataset.preprocess': (
        'resize_and_crop',
        'scale_width_and_crop',
        'scale_width',
        'crop',
        'none',
    ),
    'dataset.direction': ('AtoB', 'BtoA'),
    'dataset.task': ('none', *tasks.TASKS),
    'dataset.resize': ('bicubic', 'nearest'),
    'dataset.cache': ('auto', 'on', 'off'),
    'dataset.on_error': ('raise', 'skip'),
    'generator.name': ('unet', 'encoder_decoder', 'resnet'),
    'generator.norm': ('batch', 'instance', 'none'),
    'generator.upsample': ('transpose', 'resize'),
    'generator.bias': ('auto', 'all', 'last'),
    'discriminator.norm': ('batch', 'instance', 'none'),
    'discriminator.padding': ('one', 'same'),
    'discriminator.bias': ('auto', 'all', 'last', 'ends'),
    'init.name': ('normal', 'xavier', 'kaiming', 'orthogonal'),
    'loss.gan': ('vanilla', 'lsgan', 'hinge', 'wgan-gp', 'none'),
    'optimizer.schedule': ('constant', 'linear', 'cosine'),
    'test.norm': ('image', 'running', 'mixed'),
    'checkpoint.on_error': ('raise', 'continue'),
}

AUGMENTATIONS = ('color', 'translation', 'cutout')  # of discriminator.augment

# (least, greatest), both allowed.
RANGES = {
    'seed': (0, 2**31 - 1),
    'batch_size': (1, 2**20),
    'num_steps': (0, 2**31 - 1),
    'num_epochs': (0, 2**31 - 1),
    'ema_decay': (0.0, 1.0 - 1e-9),
    'num_devices': (0, 2**20),
    'profile_steps': (0, 1000),
    'log_every': (1, 2**31 - 1),
    'eval_every': (0, 2**31 - 1),
    'sample_every': (0, 2**31 - 1),
    'dataset.jitter': (1.0, 4.0),
    'dataset.task_amount': (0.0, 64.0),
    'dataset.inputs': (0, 1024),
    'dataset.input_classes': (0, 255),
    'dataset.color_jitter': (0.0, 1.0),
    'dataset.input_color_jitter': (0.0, 1.0),
    'dataset.val_fraction': (0.0, 0.9),
    'dataset.workers': (0, 1024),
    'generator.width': (1, 2**16),
    'generator.depth': (0, 12),
    'generator.blocks': (0, 100),
    'generator.norm_epsilon': (1e-12, 1.0),
    'generator.norm_momentum': (0.0, 1.0),
    'generator.dropout': (0.0, 0.99),
    'generator.dropout_from': (0, 12),
    'generator.dropout_blocks': (1, 12),
    'generator.leaky_slope': (0.0, 1.0),
    'generator.input_channels': (1, 2**10),
    'generator.output_channels': (1, 2**10),
    'discriminator.layers': (0, 5),
    'discriminator.width': (1, 2**16),
    'discriminator.norm_epsilon': (1e-12, 1.0),
    'discriminator.norm_momentum': (0.0, 1.0),
    'discriminator.leaky_slope': (0.0, 1.0),
    'init.scale': (0.0, 10.0),
    'init.norm_scale': (0.0, 10.0),
    'loss.gan_weight': (0.0, 1e6),
    'loss.l1_weight': (0.0, 1e6),
    'loss.l2_weight': (0.0, 1e6),
    'loss.d_weight': (0.0, 1e6),
    'loss.gp_weight': (0.0, 1e6),
    'optimizer.learning_rate': (0.0, 10.0),
    'optimizer.d_learning_rate': (0.0, 10.0),
    'optimizer.d_steps': (1, 100),
    'optimizer.b1': (0.0, 1.0 - 1e-9),
    'optimizer.b2': (0.0, 1.0 - 1e-9),
    'optimizer.eps': (0.0, 1.0),
    'optimizer.decay_start': (0.0, 1.0),
    'optimizer.clip_norm': (0.0, 1e6),
    'test.seed': (0, 2**31 - 1),
    'checkpoint.every_steps': (0, 2**31 - 1),
    'checkpoint.every_minutes': (0.0, 1e6),
    'checkpoint.keep': (1, 10_000),
}


def validate(config: Config) -> Config:
    """Returns `config` with `image_size` as a (height, width) tuple; raises UserError if wrong."""
    config = copy.deepcopy(config)
    with config.unlocked():
        config.image_size = _image_size(config.image_size)
    fields = flatten(config)
    for field, allowed in CHOICES.items():
        if fields[field] not in allowed:
            names = ' | '.join(map(str, allowed))
            raise UserError(f'config.{field}={fields[field]!r}: allowed are {names}')
    for field, (least, greatest) in RANGES.items():
        value = fields[field]
        if not (math.isfinite(value) and least <= value <= greatest):
            raise UserError(f'config.{field}={value}: allowed is {least} to {greatest}')
    if config.num_steps == 0 and config.num_epochs == 0:
        raise UserError('config.num_steps and config.num_epochs are both 0: one must be positive')
    loss = config.loss
    adversarial = loss.gan != 'none' and loss.gan_weight
    if not (loss.l1_weight or loss.l2_weight or adversarial):
        raise UserError('config.loss: with no GAN, l1_weight and l2_weight there is no objective')
    if loss.gan == 'wgan-gp' and config.discriminator.norm == 'batch':
        raise UserError(
            "config.discriminator.norm='batch': the gradient penalty of wgan-gp is of each image "
            'alone, and batch norm mixes them; allowed are instance | none'
        )
    if augment_policies(config) and loss.gan in ('none', 'wgan-gp'):
        why = 'has no discriminator' if loss.gan == 'none' else 'is of D at the images as they are'
        raise UserError(
            f"config.discriminator.augment={config.discriminator.augment!r}: allowed is '' where "
            f"config.loss.gan='{loss.gan}', which {why}"
        )
    if config.optimizer.d_steps > 1 and loss.gan == 'none':
        raise UserError(
            f'config.optimizer.d_steps={config.optimizer.d_steps}: allowed is 1 where '
            "config.loss.gan='none', which has no discriminator"
        )
    if config.optimizer.d_steps > 1 and config.update == 'simultaneous':
        raise UserError(
            f'config.optimizer.d_steps={config.optimizer.d_steps}: allowed is 1 where '
            "config.update='simultaneous', which takes G's gradient before D's step"
        )
    init_overrides(config)
    tasks.check(config)
    sides.check(config)
    return config


def augment_policies(config: ConfigDict) -> tuple[str, ...]:
    """Returns the words of `discriminator.augment`; raises UserError for unknown ones."""
    words = tuple(filter(None, config.discriminator.augment.split(',')))
    for word in words:
        if word not in AUGMENTATIONS:
            raise UserError(
                f'config.discriminator.augment={config.discriminator.augment!r}: allowed are '
                f"{', '.join(AUGMENTATIONS)}, several of them with commas between, or '' for none"
            )
    return words


def init_overrides(config: ConfigDict) -> list[tuple[re.Pattern, float]]:
    """Returns `init.overrides` as (pattern of layer names, standard deviation) pairs.

    Raises UserError for anything but 'PATTERN=SCALE,...', a regular expression and a number.
    """
    overrides = []
    for item in filter(None, config.init.overrides.split(',')):
        pattern, _, scale = item.rpartition('=')
        try:
            overrides.append((re.compile(pattern), float(scale)))
            right = 0 < float(scale) < math.inf and pattern
        except (ValueError, re.error):
            right = False
        if not right:
            raise UserError(
                f'config.init.overrides: {item!r} is not PATTERN=SCALE, as up[1-7]=0.05: a regular '
                'expression of layer names and a positive number'
            )
    if overrides and (config.init.name != 'normal' or not config.init.scale):
        raise UserError(
            'config.init.overrides: they are standard deviations; allowed is config.init.name='
            'normal with a positive config.init.scale'
        )
    return overrides


def _image_size(value: Any) -> tuple[int, int]:
    size = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    size = size * 2 if len(size) == 1 else size
    if len(size) != 2 or not all(type(s) is int and 0 <= s <= 2**15 for s in size):
        raise UserError(f'config.image_size={value!r}: allowed are SIZE or HEIGHT,WIDTH in pixels')
    if 0 in size and size != (0, 0):
        raise UserError(f'config.image_size={value!r}: 0 (from the data) goes for both sides')
    return size
