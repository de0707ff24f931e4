"""The configuration: every field with its default, its meaning, its unit and its source.

`default_config()` is the paper's setting (Isola et al., 2017, sections 3 and 6.2); a file in
`configs/` changes what its experiment changes, `apply_arg` what its `:ARG` names, and flags
`--config.a.b=v` come last. `validate` gives one clear error for the first wrong value.
"""

import copy
import json
import math
from typing import Any

from etils import epath
from ml_collections import ConfigDict

from pix2pix_jax.errors import UserError


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
    c.num_devices = 0  # 0: the largest number of local devices that divides the batch
    c.log_every = 50  # steps
    c.eval_every = 2000  # steps between evaluations on the val split; 0: off
    c.sample_every = 1000  # steps between sample sheets; 0: off

    d = c.dataset = ConfigDict()
    d.name = 'folder'  # 'openmoji' is built in; any other name is read from `path`
    d.path = ''  # a folder with train/, val/, test/
    d.layout = 'auto'  # 'side_by_side': A|B in one file; 'two_folders': A and B by equal names
    d.direction = 'AtoB'  # which half is the input: 'AtoB' or 'BtoA'
    d.jitter = 286 / 256  # resize by this factor, then crop back at random; 1: off (6.2)
    d.resize = 'bicubic'  # or 'nearest'
    d.mirror = True  # flip left-right with probability 1/2 (6.2)
    d.val_fraction = 0.0  # of the train split, held out where there is no val split
    d.cache = 'auto'  # decoded pairs in memory: 'auto' (where they fit), 'on', 'off'
    d.workers = 0  # processes that augment; 0: threads of this process

    g = c.generator = ConfigDict()
    g.name = 'unet'  # with skip connections (3.2.1)
    g.width = 64  # filters of the first layer (6.1.1)
    g.depth = 0  # number of downsamplings; 0: from the image size, 8 at 256
    g.norm = 'batch'  # or 'none'
    g.dropout = 0.5  # rate in the first three decoder blocks (6.1.1)
    g.input_channels = 3  # 1 gray, 3 RGB, 4 RGBA
    g.output_channels = 3

    d = c.discriminator = ConfigDict()
    d.layers = 3  # strided layers, 0 to 5: receptive field 1, 16, 34, 70, 142, 286 (6.1.2)
    d.width = 64  # filters of the first layer
    d.norm = 'batch'  # or 'none'
    d.conditional = True  # False: D sees the output alone (the paper's "GAN" rows)

    c.init = ConfigDict()
    c.init.scale = 0.02  # standard deviation of the normal kernels (6.2)
    c.init.norm_scale = 0.02  # standard deviation of the norm scales about 1

    loss = c.loss = ConfigDict()
    loss.gan = 'vanilla'  # 'vanilla' (3.1) | 'lsgan' | 'none': no discriminator
    loss.gan_weight = 1.0  # of the adversarial term (3.1)
    loss.l1_weight = 100.0  # lambda (6.2)
    loss.l2_weight = 0.0  # of the mean squared difference
    loss.d_weight = 0.5  # D's objective is halved (3.3)

    o = c.optimizer = ConfigDict()
    o.learning_rate = 2e-4  # of Adam (3.3)
    o.b1 = 0.5  # (3.3)
    o.b2 = 0.999  # (3.3)
    o.eps = 1e-8  # PyTorch's
    o.schedule = 'constant'  # or 'linear': to 0 over the steps after decay_start
    o.decay_start = 0.5  # fraction of the run

    c.test = ConfigDict()
    c.test.norm = 'image'  # statistics of each image alone (3.3: batch 1) | 'running'
    c.test.dropout = True  # the paper's noise is there at test time too (2.1)
    c.test.seed = 0  # of the dropout mask, the same for all images

    c.checkpoint = ConfigDict()
    c.checkpoint.every_steps = 2000  # 0: off
    c.checkpoint.every_minutes = 10.0  # 0: off
    c.checkpoint.keep = 1  # newest checkpoints kept beside the best one
    return c


CHOICES = {
    'dtype': ('float32', 'bfloat16'),
    'update': ('alternating', 'simultaneous'),
    'dataset.layout': ('auto', 'side_by_side', 'two_folders'),
    'dataset.direction': ('AtoB', 'BtoA'),
    'dataset.resize': ('bicubic', 'nearest'),
    'dataset.cache': ('auto', 'on', 'off'),
    'generator.name': ('unet',),
    'generator.norm': ('batch', 'none'),
    'generator.input_channels': (1, 3, 4),
    'generator.output_channels': (1, 3, 4),
    'discriminator.norm': ('batch', 'none'),
    'loss.gan': ('vanilla', 'lsgan', 'none'),
    'optimizer.schedule': ('constant', 'linear'),
    'test.norm': ('image', 'running'),
}

# (least, greatest), both allowed.
RANGES = {
    'seed': (0, 2**31 - 1),
    'batch_size': (1, 2**20),
    'num_steps': (0, 2**31 - 1),
    'num_epochs': (0, 2**31 - 1),
    'num_devices': (0, 2**20),
    'log_every': (1, 2**31 - 1),
    'eval_every': (0, 2**31 - 1),
    'sample_every': (0, 2**31 - 1),
    'dataset.jitter': (1.0, 4.0),
    'dataset.val_fraction': (0.0, 0.9),
    'dataset.workers': (0, 1024),
    'generator.width': (1, 2**16),
    'generator.depth': (0, 12),
    'generator.dropout': (0.0, 0.99),
    'discriminator.layers': (0, 5),
    'discriminator.width': (1, 2**16),
    'init.scale': (0.0, 10.0),
    'init.norm_scale': (0.0, 10.0),
    'loss.gan_weight': (0.0, 1e6),
    'loss.l1_weight': (0.0, 1e6),
    'loss.l2_weight': (0.0, 1e6),
    'loss.d_weight': (0.0, 1e6),
    'optimizer.learning_rate': (0.0, 10.0),
    'optimizer.b1': (0.0, 1.0 - 1e-9),
    'optimizer.b2': (0.0, 1.0 - 1e-9),
    'optimizer.eps': (0.0, 1.0),
    'optimizer.decay_start': (0.0, 1.0),
    'test.seed': (0, 2**31 - 1),
    'checkpoint.every_steps': (0, 2**31 - 1),
    'checkpoint.every_minutes': (0.0, 1e6),
    'checkpoint.keep': (1, 10_000),
}

# What may differ when a run goes on; its length too, where the schedule is constant.
MAY_CHANGE = (
    'log_every',
    'eval_every',
    'sample_every',
    'num_devices',
    'dataset.path',
    'dataset.cache',
    'dataset.workers',
    'checkpoint.',
)
LENGTH = ('num_steps', 'num_epochs')


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
    return config


def _image_size(value: Any) -> tuple[int, int]:
    size = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    size = size * 2 if len(size) == 1 else size
    if len(size) != 2 or not all(type(s) is int and 0 <= s <= 2**15 for s in size):
        raise UserError(f'config.image_size={value!r}: allowed are SIZE or HEIGHT,WIDTH in pixels')
    if 0 in size and size != (0, 0):
        raise UserError(f'config.image_size={value!r}: 0 (from the data) goes for both sides')
    return size


# ---------------------------------------------------------------- :ARG of a config file

# Weights of the paper's Table 1 rows, relative to the full objective.
LOSSES = {
    'l1': {'loss.gan': 'none'},
    'gan': {'loss.l1_weight': 0.0, 'discriminator.conditional': False},
    'cgan': {'loss.l1_weight': 0.0, 'discriminator.conditional': True},
    'l1+gan': {'discriminator.conditional': False},
    'l1+cgan': {'discriminator.conditional': True},
}
RECEPTIVE_FIELDS = {'1': 0, '16': 1, '34': 2, '70': 3, '142': 4, '286': 5}
TINY = {
    'num_steps': 4,
    'log_every': 1,
    'eval_every': 2,
    'sample_every': 2,
    'checkpoint.every_steps': 2,
    'generator.width': 4,
    'generator.depth': 0,
    'discriminator.width': 4,
}
ARG_KEYS = 'loss=, discriminator=, seed=, direction=, tiny'


def apply_arg(config: Config, arg: str) -> Config:
    """Applies a comma-separated list of `key=value` and words to `config`, in place.

    Keys: loss=l1|gan|cgan|l1+gan|l1+cgan (Table 1), discriminator=1|16|34|70|142|286 (the
    receptive field, Table 3), seed=, direction=, and `tiny` (seconds on a CPU).
    """
    tiny = False
    for item in filter(None, arg.split(',')):
        key, _, value = item.partition('=')
        if key == 'loss':
            config.update_from_flattened_dict(_choose(item, LOSSES, value))
        elif key == 'discriminator':
            config.discriminator.layers = _choose(item, RECEPTIVE_FIELDS, value)
        elif key == 'direction':
            config.dataset.direction = value
        elif key == 'seed' and value.isdecimal():
            config.seed = int(value)
        elif item == 'tiny':
            tiny = True
            config.update_from_flattened_dict(TINY)
        else:
            raise UserError(f'config argument {item!r}: allowed are {ARG_KEYS}')
    if tiny:  # as small as the discriminator allows
        side = {4: 64, 5: 96}.get(config.discriminator.layers, 32)
        config.image_size = (side, side)
    return config


def _choose(item: str, table: dict, value: str) -> Any:
    if value not in table:
        raise UserError(f'config argument {item!r}: allowed are {" | ".join(table)}')
    return table[value]


# ---------------------------------------------------------------- files and comparison


def flatten(config: ConfigDict) -> dict[str, Any]:
    """Returns the fields as {'a.b': value}."""
    flat = {}
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            flat.update({f'{key}.{k}': v for k, v in flatten(value).items()})
        else:
            flat[key] = value
    return flat


def to_json(config: Config) -> str:
    """Returns the config as indented JSON, the form in which configs are kept and compared."""
    return json.dumps(config.to_dict(), indent=2, sort_keys=True) + '\n'


def from_json(text: str) -> Config:
    """Returns the config that `to_json` wrote, validated; raises UserError for anything else."""
    config = default_config()
    try:
        data = json.loads(text)
        if not isinstance(data, dict):
            raise TypeError('no JSON object')
        fields = flatten(ConfigDict(data))
        unknown = sorted(set(fields) - set(flatten(config)))
        if unknown:
            raise UserError(f'the run has the field config.{unknown[0]}, unknown to this version')
        config.update_from_flattened_dict({k: _as_tuple(v) for k, v in fields.items()})
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f'not the config of a run: {error}') from error
    return validate(config)


def load_config(workdir: epath.PathLike) -> Config:
    """Returns the config of the run in `workdir`; raises UserError, naming the file."""
    path = epath.Path(workdir) / 'config.json'
    try:
        return from_json(path.read_text())
    except UserError as error:
        raise UserError(f'{path}: {error}', status=1) from error


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def differences(old: Config, new: Config) -> list[str]:
    """Returns a line 'field: old -> new' for each difference that a run may not go on with."""
    free = MAY_CHANGE + (LENGTH if new.optimizer.schedule == 'constant' else ())
    old, new = flatten(old), flatten(from_json(to_json(new)))
    return [
        f'config.{k}: {old[k]!r} -> {new[k]!r}'
        for k in sorted(new)
        if old[k] != new[k] and not k.startswith(free)
    ]
