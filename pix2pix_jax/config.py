"""The configuration: every field with its default, its meaning, its unit and its source.

`default_config()` is the paper's setting (Isola et al., 2017, sections 3 and 6.2); a file in
`configs/` changes what its experiment changes, presets.apply_arg what its `:ARG` names, and flags
`--config.a.b=v` come last. `validate` gives one clear error for the first name, type or value that
limits.py does not allow; saved_config.py is how a run keeps its config.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from pix2pix_jax import limits
from pix2pix_jax.data import image_spec, tasks
from pix2pix_jax.errors import UserError
from pix2pix_jax.limits import AUGMENTATIONS


class Config(ConfigDict):
    """A whole configuration, in which `update` is the field, not the method of ConfigDict."""

    update = property(lambda self: self['update'])


def default_config() -> Config:
    """Returns the paper's setting; no field is None: 0, '' or 'none' mean off."""
    c = Config()
    c.seed = 0  # of weights, dropout, shuffling, augmentation and the val split
    c.image_size = (256, 256)  # (height, width) in pixels; one value: square; 0: from the data
    c.batch_size = 1  # pairs a step over all devices (paper: 1 to 10)
    c.num_steps = 0  # wins over num_epochs if > 0
    c.num_epochs = 200  # floor(pairs * epochs / batch) steps
    c.dtype = 'float32'  # of the computation; parameters and losses stay float32
    c.update = 'alternating'  # 'alternating': G against the updated D; 'simultaneous'
    c.sync_batch_norm = False  # statistics of training over all devices, not of each alone
    c.ema_decay = 0.0  # a moving average of G's weights, used to evaluate; 0: off
    c.init_from = ''  # a run whose last weights this one starts from; its optimizers start anew
    c.remat = False  # the backward pass keeps convolutions' outputs alone: less memory on GPU, TPU
    c.num_devices = 0  # 0: the largest number of local devices that divides the batch
    c.deterministic = False  # main.py asks for deterministic kernels on a GPU; others have those
    c.debug_nans = False  # stop in the operation that makes a NaN; slow
    c.profile_steps = 0  # steps traced, after the first three, into WORKDIR/profile; 0: off
    c.log_every = 50  # steps
    c.eval_every = 2000  # steps between evaluations on the val split; 0: off
    c.sample_every = 1000  # steps between sample sheets; 0: off

    d = c.dataset = ConfigDict()
    d.name = 'folder'  # 'openmoji' is built in; any other name is read from `path`
    d.path = ''  # a folder with train/, val/, test/
    # 'side_by_side': A|B in one file; 'two_folders': A and B (also A2, ...: more inputs) by equal
    # names; 'list': train.csv or train.json.
    d.layout = 'auto'
    # 'none': pairs. Of plain photos, whose inputs are made: 'colorize' (L to ab of CIE Lab, 1
    # channel to 2), 'gray_to_color' (1 to 3), 'inpaint', 'inpaint_anywhere', 'edges' (1 to 3),
    # 'super_resolution', 'denoise'.
    d.task = 'none'
    # Side of the hole (0.5), sigma of the edges (2 pixels), factor of the size (4), noise on
    # [-1, 1] (0.2); 0: these.
    d.task_amount = 0.0
    d.direction = 'AtoB'  # which half is the input: 'AtoB' or 'BtoA'
    d.inputs = 0  # images that make one input (A, A2, ...); 0: as many as are found
    # Values that become [-1, 1], as '0:4095', those beyond it clipped; of several inputs
    # '0:255,0:10000'; '': those of the files' type: 0:255, 0:65535, of floats 0:1.
    d.input_range = ''
    d.target_range = ''
    # Inputs are maps of class indices 0, 1, ... (gray or palette; 255 is none): one-hot; 0: images.
    d.input_classes = 0
    d.jitter = 286 / 256  # resize by this factor, then crop back at random; 1: off (6.2)
    # How images become image_size: 'resize_and_crop' (6.2); 'scale_width_and_crop', 'scale_width'
    # (no jitter): the proportions kept, then cropped; 'crop': at their own scale; 'none': they have
    # that size. What is cropped is random in training, the middle at test time.
    d.preprocess = 'resize_and_crop'
    d.resize = 'bicubic'  # or 'nearest'
    d.mirror = True  # flip left-right with probability 1/2 (6.2)
    d.vertical_flip = False  # flip top-bottom with probability 1/2
    d.rotate = False  # by a quarter turn or more; where the image is not square by half turns
    d.color_jitter = 0.0  # greatest change of brightness, contrast, saturation: both images' alike
    d.input_color_jitter = 0.0  # the same of the input alone
    d.val_fraction = 0.0  # of the train split, held out where there is no val split
    d.cache = 'auto'  # decoded pairs in memory: 'auto' (where they fit), 'on', 'off'
    d.workers = 0  # processes that augment; 0: threads of this process
    d.on_error = 'raise'  # a bad pair ends the run | 'skip': those found at the start are left out

    g = c.generator = ConfigDict()
    g.name = 'unet'  # with skip connections (3.2.1) | 'encoder_decoder': without | 'resnet'
    g.width = 64  # filters of the first layer (6.1.1)
    g.depth = 0  # number of downsamplings; 0: from the image size, 8 at 256; of a resnet 2
    g.blocks = 9  # residual blocks of a resnet; 6 is usual for 128x128
    g.norm = 'batch'  # | 'instance' | 'none'
    g.norm_epsilon = 1e-5  # added to the variance; PyTorch's (Keras: 1e-3)
    g.norm_momentum = 0.9  # of the moving averages; 0.1 in PyTorch's sense (Keras: 0.99)
    # A resnet has no bottleneck_norm, dropout_from, dropout_blocks, leaky_slope and skip_relu.
    g.bottleneck_norm = False  # a norm on the innermost layer too: at 1x1, batch 1 it zeroes it
    g.upsample = 'transpose'  # | 'resize': nearest neighbour and a convolution
    g.dropout = 0.5  # rate in some decoder blocks (6.1.1), in every block of a resnet; 0: off
    g.dropout_from = 0  # the first of these (PyTorch's widely used port: 1)
    g.dropout_blocks = 3  # their number (6.1.1); 0: depth - 5, as in that port
    g.leaky_slope = 0.2  # of the encoder (6.1.1)
    g.skip_relu = True  # the decoder's ReLU covers the skips too; False: leaky, as they were
    g.bias = 'auto'  # in all convolutions but those before batch norm | 'all' | 'last' | 'none'
    # 1 gray, 3 RGB, 4 RGBA; of TIFF and NumPy files any number; a channel for each of the classes.
    g.input_channels = 3
    g.output_channels = 3

    d = c.discriminator = ConfigDict()
    d.layers = 3  # strided layers, 0 to 5: receptive field 1, 16, 34, 70, 142, 286 (6.1.2)
    d.width = 64  # filters of the first layer
    d.norm = 'batch'  # | 'instance' | 'none'
    d.norm_epsilon = 1e-5
    d.norm_momentum = 0.9
    d.padding = 'one'  # pixel around every convolution: 30x30 logits at 256 | 'same': 32x32
    d.leaky_slope = 0.2  # (6.1.2)
    # 'auto': first, last, and all that have no batch norm after them | 'all' | 'last' | 'ends':
    # first and last, of layers=0 the first | 'none'.
    d.bias = 'auto'
    d.conditional = True  # False: D sees the output alone (the paper's "GAN" rows)
    # Of what D sees, for small sets: any of 'color,translation,cutout' (DiffAugment, Zhao et al.,
    # 2020); '': none.
    d.augment = ''

    c.init = ConfigDict()
    c.init.name = 'normal'  # (6.2) | 'xavier' | 'kaiming' | 'orthogonal'
    c.init.scale = 0.02  # standard deviation of 'normal' (6.2), gain of the others; not of kaiming
    c.init.norm_scale = 0.02  # standard deviation of the norm scales about 1
    c.init.overrides = ''  # other scales for some layers, as 'up[1-7]=0.05,logits=0.05'

    loss = c.loss = ConfigDict()
    loss.gan = 'vanilla'  # (3.1) | 'lsgan' | 'hinge' | 'wgan-gp' | 'none': no discriminator
    loss.gan_weight = 1.0  # of the adversarial term (3.1)
    loss.l1_weight = 100.0  # lambda (6.2)
    loss.l2_weight = 0.0  # of the mean squared difference
    loss.d_weight = 0.5  # D's objective is halved (3.3)
    loss.gp_weight = 10.0  # of wgan-gp's gradient penalty (Gulrajani et al., 2017)

    o = c.optimizer = ConfigDict()
    o.learning_rate = 2e-4  # of Adam (3.3)
    o.d_learning_rate = 0.0  # of D's; 0: the same
    o.d_steps = 1  # steps of D, each on its own batch, for one of G
    o.b1 = 0.5  # (3.3)
    o.b2 = 0.999  # (3.3)
    o.eps = 1e-8  # PyTorch's
    o.schedule = 'constant'  # | 'linear' | 'cosine': to 0 over the steps after decay_start
    o.decay_start = 0.5  # fraction of the run
    o.clip_norm = 0.0  # greatest norm of a network's gradient, all tensors together; 0: off
    o.scale_with_devices = False  # learning rates times the number of devices of all hosts
    o.rate_devices = 0  # that number, which a run keeps; 0: as many as there are

    c.test = ConfigDict()
    # Statistics of each image alone (3.3: batch 1) | 'running': the moving averages of training,
    # whose variance is over n pixels, PyTorch's n / (n - 1) times that | 'mixed': running in the
    # encoder, of each image in the decoder.
    c.test.norm = 'image'
    c.test.dropout = True  # the paper's noise is there at test time too (2.1)
    c.test.seed = 0  # of the dropout mask, the same for all images

    c.checkpoint = ConfigDict()
    c.checkpoint.every_steps = 2000  # 0: off
    c.checkpoint.every_minutes = 10.0  # 0: off
    c.checkpoint.keep = 1  # newest checkpoints kept beside the best one
    # Where the disk is full or refuses: 'raise' stops the run; 'continue' warns, goes on and tries
    # again at the next save. A last save that fails is an error always.
    c.checkpoint.on_error = 'raise'
    return c


def validate(config: Config) -> Config:
    """Returns a copy of `config` with `image_size` as a (height, width) tuple.

    Raises UserError for the first field that is unknown or missing, of another type, or has a value
    that is not allowed. An int in a float's field becomes a float, a numpy scalar Python's.
    """
    return from_fields(flatten(config))


def from_fields(fields: Mapping[str, Any]) -> Config:
    """Returns the config of all fields, {'a.b': value}, validated as `validate` does."""
    fields = checked_fields(fields)
    fields['image_size'] = _image_size(fields['image_size'])
    limits.check_values(fields)
    config = default_config()
    config.update_from_flattened_dict(fields)
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
    if config.optimizer.rate_devices and not config.optimizer.scale_with_devices:
        raise UserError(
            f'config.optimizer.rate_devices={config.optimizer.rate_devices}: allowed is 0 where '
            'config.optimizer.scale_with_devices=False'
        )
    init_overrides(config)
    tasks.check(config)
    image_spec.check(config)
    return config


def checked_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `fields`, {'a.b': value}, numpy scalars as Python's, values unchecked.

    Raises UserError for the first field that is unknown or missing, or of another type.
    """
    fields = {field: _plain(value) for field, value in fields.items()}
    known = flatten(default_config())
    limits.check_names(fields, known)
    limits.check_types(fields, known)
    return fields


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
    size = tuple(map(_plain, value)) if isinstance(value, (tuple, list)) else (value,)
    size = size * 2 if len(size) == 1 else size
    if len(size) != 2 or not all(type(s) is int and 0 <= s <= 2**15 for s in size):
        raise UserError(f'config.image_size={value!r}: allowed are SIZE or HEIGHT,WIDTH in pixels')
    if 0 in size and size != (0, 0):
        raise UserError(f'config.image_size={value!r}: 0 (from the data) goes for both sides')
    return size


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def flatten(config: ConfigDict) -> dict[str, Any]:
    """Returns the fields as {'a.b': value}; a section without any counts as one.

    Raises UserError for what is no config.
    """
    if not isinstance(config, ConfigDict):
        raise UserError(
            f'the config is of type {type(config).__name__}: allowed is a whole config, as '
            'default_config() of pix2pix_jax.config returns it'
        )
    flat = {}
    for key, value in config.items():
        if isinstance(value, ConfigDict) and len(value):
            flat.update({f'{key}.{k}': v for k, v in flatten(value).items()})
        else:
            flat[key] = value
    return flat
