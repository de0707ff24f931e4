"""The fields of a config: a row for each, with all that there is to say about it.

The rows are data: config.py makes the default config and the checks from them, and
scripts/list_fields.py makes docs/configuration.md. To add a field is to add its row.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from pix2pix_jax.config_values import Allowed, Entries, between, choices, free, some_of
from pix2pix_jax.data.tasks import TASKS


class Field(NamedTuple):
    """One field of a config."""

    name: str  # 'section.name', or the name alone at the top
    default: Any  # the paper's value, where it has one; its type is the field's
    allowed: Allowed | Entries
    meaning: str
    unit: str = ''
    source: str = ''  # a section of the paper (Isola et al., 2017), or another work
    reference: bool = False  # another value is there to reproduce another implementation


def _losses() -> Iterable[str]:
    from pix2pix_jax import losses

    return losses.CHOICES


def _generators() -> Iterable[str]:
    from pix2pix_jax.models import factory

    return factory.GENERATORS


def _norms() -> Iterable[str]:
    from pix2pix_jax.models import factory

    return factory.NORMS


ON_OFF = free('True | False')
ANY_INT = between(0, 2**31 - 1)
INTERVAL = between(-1, 2**31 - 1)
NORMS = Entries(_norms)
EPSILON, FRACTION, WEIGHT = between(1e-12, 1.0), between(0.0, 1.0), between(0.0, 1e6)
BELOW_1 = between(0.0, 1.0 - 1e-9)
PYTORCH = 'the widely used PyTorch port'
TASK_MEANINGS = ''.join(
    f". '{name}': {task.about} (channels: {task.channels[0]} in, {task.channels[1]} out)"
    for name, task in TASKS.items()
)

# A section, what it is of.
SECTIONS = {
    '': 'What concerns the whole run.',
    'dataset': 'The pairs: where they are, how they are read and how they are augmented.',
    'generator': 'The generator, G. A resnet has no `bottleneck_norm`, `dropout_from`, '
                 '`dropout_blocks`, `leaky_slope` and `skip_relu`.',
    'discriminator': 'The discriminator, D.',
    'init': 'The first weights of both networks.',
    'loss': 'The objectives of both networks.',
    'optimizer': 'Adam, for both networks.',
    'test': 'What differs between training and the use of a trained generator.',
    'checkpoint': 'What a run saves.',
}  # fmt: skip

ROWS = (
    Field('method', 'gan', choices('gan', 'flow'),
          "'gan': the paper's; 'flow': a rectified flow, on the same pairs, of the same generator. "
          'It implies instance norm, no dropout, no discriminator and no other loss',
          source='Liu et al., 2023'),
    Field('seed', 0, ANY_INT,
          'seed of the weights, the dropout, the order of the pairs, the augmentation and the val '
          'split'),
    Field('image_size', (256, 256), free('SIZE or HEIGHT,WIDTH'),
          'height and width; one value: both; 0: the size is found in the data', 'pixels', '6.2'),
    Field('batch_size', 1, between(1, 2**20),
          'pairs in a step, over all devices (in the paper 1 to 10)', 'pairs', '3.3'),
    Field('num_steps', 0, ANY_INT,
          'length of the run; 0: num_epochs says it', 'steps'),
    Field('num_epochs', 200, ANY_INT,
          'length of the run: floor(pairs * num_epochs / batch_size) steps', 'epochs', '6.2'),
    Field('dtype', 'float32', choices('float32', 'bfloat16'),
          'number type of the computation; parameters and losses stay float32'),
    Field('update', 'alternating', choices('alternating', 'simultaneous'),
          "'alternating': D is updated first, then G against the updated D; 'simultaneous': both "
          'gradients are taken before either update', source='3.3'),
    Field('sync_batch_norm', False, ON_OFF,
          'in training, batch norm takes its statistics over all devices, not over each alone'),
    Field('ema_decay', 0.0, BELOW_1,
          "decay of a moving average of G's weights, which is then evaluated in G's place; 0: off"),
    Field('init_from', '', free("a run's folder, or the zip of a packed run"),
          'the weights of both networks start from the last ones of this run (its best has no '
          'discriminator, nor have some packed runs), the optimizers anew'),
    Field('remat', False, ON_OFF,
          'keep only the outputs of convolutions for the backward pass, and recompute the rest: '
          'less memory on GPU and TPU'),
    Field('grad_accumulation', 1, between(1, 2**20),
          'a device takes its part of the batch in so many parts, one after the other, so that '
          'large images fit; the result is that of the batch as a whole, but batch norm takes its '
          'statistics over a part', 'parts'),
    Field('num_devices', 0, between(0, 2**20),
          '0: the largest number of local devices that divides the batch', 'devices'),
    Field('deterministic', False, ON_OFF,
          'main.py asks for deterministic kernels on a GPU; other devices always have those'),
    Field('debug_nans', False, ON_OFF,
          'stop in the operation that makes a NaN; slow'),
    Field('profile_steps', 0, between(0, 1000),
          'number of steps traced, after the first three, into WORKDIR/profile; 0: off', 'steps'),
    Field('log_every', 50, between(1, 2**31 - 1),
          'interval between the rows of losses', 'steps'),
    Field('eval_every', -1, INTERVAL,
          'interval between the evaluations on the val split, the last is at the end; -1: 20 '
          'evaluations a run, every 500 steps or more; 0: off', 'steps'),
    Field('sample_every', -1, INTERVAL,
          'interval between the grids of sample images, the last is at the end; -1: 40 grids a '
          'run, every 250 steps or more; 0: off', 'steps'),
    Field('eval_images', 200, ANY_INT,
          'maximum number of val pairs that an evaluation during training measures, evenly spread '
          'over the split; 0: all', 'pairs'),

    Field('dataset.name', 'folder', free('any name'),
          "built in are 'openmoji' and 'openmoji_classes'; 'facades', 'maps', 'edges2shoes', "
          "'edges2handbags', 'night2day' and 'cityscapes' are, without a path, those that "
          'scripts/prepare_data.py prepared; any other name is read from `dataset.path`'),
    Field('dataset.path', '', free('a folder'),
          'the folder of the data: train/ and, if there are any, val/ and test/; or files that '
          'patterns name; or plain photos'),
    Field('dataset.layout', 'auto',
          choices('auto', 'side_by_side', 'two_folders', 'list', 'patterns'),
          "'side_by_side': A and B are the halves of one file; 'two_folders': A and B (also A2, "
          "..., more inputs) are folders of files with equal names; 'list': pairs are listed in "
          "train.csv or train.json; 'patterns': `input_pattern` and `target_pattern` say it; "
          "'auto': patterns where they are given, else what is found"),
    Field('dataset.input_pattern', '', free("a pattern, several with commas between, or ''"),
          "the input files below `dataset.path`, as '{split}/images/*.jpg': `*` is any part of one "
          "name, `**` any number of folders, {split} train, val or test (and other usual names of "
          'these). Pairs agree in what the stars stand for, in their order. Without {split}, '
          'train.txt, val.txt and test.txt say the splits, or val and test are held out'),
    Field('dataset.target_pattern', '', free("a pattern or ''"),
          "the same of the target files, as '{split}/masks/*.png'"),
    Field('dataset.task', 'none', choices('none', *TASKS),
          "'none': the data are pairs. Others make pairs of plain photos: the photo is the target, "
          f'and the input is made of it{TASK_MEANINGS}'),
    Field('dataset.task_amount', 0.0, between(0.0, 64.0),
          'how much a task changes: side of the hole as a fraction of the image (0.5), sigma of '
          'the edges in pixels (2), factor of the size (4), standard deviation of the noise on '
          '[-1, 1] (0.2); 0: the values in brackets', "the task's"),
    Field('dataset.direction', 'AtoB', choices('AtoB', 'BtoA'),
          "which half is the input: 'AtoB': A; 'BtoA': B"),
    Field('dataset.exif', 'own', choices('own', 'pair'),
          "'own': each file is turned upright as its own EXIF orientation says; 'pair': one that "
          'notes no orientation is turned as the other of its pair, for labels that were drawn on '
          'photos as they are stored'),
    Field('dataset.inputs', 0, between(0, 1024),
          'number of images that make one input (A, A2, ...); 0: as many as are found', 'images'),
    Field('dataset.input_range', '', free("LOW:HIGH, of several inputs LOW:HIGH,LOW:HIGH, or ''"),
          'values of the input files that become [-1, 1], those beyond are clipped (0:4095, of two '
          "inputs 0:255,0:10000); '': by the type of the files: uint8 0:255, uint16 0:65535, other "
          'types 0:1',
          "the files'"),
    Field('dataset.target_range', '', free("LOW:HIGH or ''"),
          'the same of the target files', "the files'"),
    Field('dataset.input_classes', 0, between(0, 255),
          'the inputs are maps of this number of classes (indices 0, 1, ..., gray or palette; or '
          '`dataset.colors`), and become one-hot; 0: they are images', 'classes'),
    Field('dataset.target_classes', 0, between(0, 255),
          'the targets are such maps, and the generator gives the probability p of each class as '
          '2p - 1; 0: they are images', 'classes'),
    Field('dataset.void', '255', free("a class index, or ''"),
          "the index of what has no class: it counts nowhere; '': every index is a class",
          'class index'),
    Field('dataset.colors', '', free("a file, facades | cityscapes | openmoji_classes, or ''"),
          'the colours of label maps, a class a line: NAME R,G,B (void: no class). Maps of '
          '`input_classes` and `target_classes` are read by the nearest colour; where these are 0, '
          "evaluate and demo know the classes by it; a run keeps the table; '': maps are indices"),
    Field('dataset.palette', '', free("a file, facades | cityscapes | openmoji_classes, or ''"),
          'a table like `dataset.colors`, in which class indices are shown; a run keeps the one '
          "that it finds; '': the palette of the files, else that of PASCAL VOC"),
    Field('dataset.target_type', '', choices('', 'uint16', 'float32'),
          'the type of outputs where targets are not of 8 bits; empty: as inputs, or not found'),
    Field('dataset.target_scale', 0.0, between(0.0, 2.0**15),
          'targets, and so translations, are this many times as wide and high as inputs; 0: as '
          'large, or not found', 'times'),
    Field('dataset.nodata', '', free("a number, nan or ''"),
          'the value of pixels without data (0, -9999, nan). In targets these do not count; inputs '
          'that are not of 8 bits get the nearest value there, and the output has this one; '
          'empty: there is no such value', "the files'"),
    Field('dataset.mask', '', free("a folder's name or ''"),
          'the folder of masks beside those of A and B (mask: train/mask, mask/train, trainmask); '
          'where a mask is 0 (of a palette: black) the target does not count. Of a list it is a '
          'column; empty: there are no masks'),
    Field('dataset.jitter', 286 / 256, between(1.0, 4.0),
          'in training, images are enlarged by this factor, then cropped back at a random place; '
          '1: off', source='6.2'),
    Field('dataset.jitter_method', 'resize_then_crop', choices('resize_then_crop', 'box'),
          "'resize_then_crop': an image is resized as a whole, rounded to its own type, and cut in "
          "whole pixels, so that it can be kept resized; 'box': the part that is cut is resampled "
          'alone, as before there was this field (up to 1 of 255 apart)', source='6.2'),
    Field('dataset.preprocess', 'resize_and_crop',
          choices('resize_and_crop', 'scale_width_and_crop', 'scale_width', 'crop', 'none'),
          "how images become `image_size`: 'resize_and_crop': resized, proportions not kept; "
          "'scale_width_and_crop' and 'scale_width' (which has no jitter): scaled with their "
          "proportions kept, then cropped; 'crop': cropped at their own scale; 'none': they have "
          'that size. A crop is at a random place in training, in the middle at test time',
          source='6.2'),
    Field('dataset.windows', 'auto', choices('auto', 'on', 'off'),
          "'on': pairs are scenes (with preprocess='crop'): training reads windows of them at "
          'random places, and an epoch has as many as fit: training area over area of '
          "`image_size`; val and test are grids of windows. 'auto': where TIFF or NumPy files hold "
          '16 windows or more on average; a run keeps what was found'),
    Field('dataset.hold_out', 'file', choices('file', 'window'),
          "what is held out for val and test: 'file': whole files; 'window': cells of a grid over "
          'scenes, which no training window touches'),
    Field('dataset.resize', 'bicubic', choices('bicubic', 'nearest'),
          'interpolation where images are resized'),
    Field('dataset.mirror', True, ON_OFF,
          'in training, flip left-right with probability 1/2', source='6.2'),
    Field('dataset.vertical_flip', False, ON_OFF,
          'in training, flip top-bottom with probability 1/2'),
    Field('dataset.rotate', False, ON_OFF,
          'in training, rotate by a random number of quarter turns; where the image is not square, '
          'of half turns'),
    Field('dataset.color_jitter', 0.0, FRACTION,
          'in training, maximum change of brightness, contrast and saturation, the same for input '
          'and target, each one gray, RGB or RGBA image; 0: off'),
    Field('dataset.input_color_jitter', 0.0, FRACTION,
          'the same for the input alone'),
    Field('dataset.val_fraction', 0.0, between(0.0, 0.9),
          'part of the train split that is held out for validation where there is no val split'),
    Field('dataset.test_fraction', 0.1, between(0.0, 0.9),
          'part of the pairs that is held out for test where nothing says splits: of patterns '
          'without {split}, of plain photos without train/, and of windows with hold_out=window. '
          'It is the same whatever the seed'),
    Field('dataset.cache', 'auto', choices('auto', 'device', 'on', 'off'),
          "keep decoded pairs: 'on': in memory; 'device': those of training on the device, where "
          "batches are made of them; 'auto': on a GPU or TPU where they take at most a quarter of "
          "its memory, else in memory while all splits take at most a quarter of it, and none of a "
          "split of more than 5,000 pairs; 'off': none"),
    Field('dataset.workers', 0, between(0, 1024),
          'processes that read and augment the pairs of training, which are not kept in memory '
          'then; they have no work where pairs lie on the device; 0: threads of this process',
          'processes'),
    Field('dataset.on_error', 'raise', choices('raise', 'skip'),
          "'raise': a pair that cannot be read ends the run; 'skip': those found at the start are "
          'left out'),

    Field('generator.name', 'unet', Entries(_generators),
          "'unet': with skip connections; 'encoder_decoder': without; 'resnet': residual blocks",
          source='3.2.1'),
    Field('generator.width', 64, between(1, 2**16),
          'filters of the first layer', 'filters', '6.1.1'),
    Field('generator.depth', 0, between(0, 12),
          'number of downsamplings; 0: from the image size (8 at 256x256), of a resnet 2', '',
          '6.1.1'),
    Field('generator.blocks', 9, between(0, 100),
          'residual blocks of a resnet; 6 is usual for 128x128', 'blocks'),
    Field('generator.norm', 'batch', NORMS, 'norm after the convolutions', source='3.2'),
    Field('generator.norm_epsilon', 1e-5, EPSILON,
          'added to the variance', source='PyTorch (Keras: 1e-3)', reference=True),
    Field('generator.norm_momentum', 0.9, FRACTION,
          "kept of the moving averages at each step; in PyTorch's sense it is 1 minus this, 0.1",
          source='PyTorch (Keras: 0.99)'),
    Field('generator.bottleneck_norm', False, ON_OFF,
          'a norm on the innermost layer too, whose output it makes 0 where that has one pixel and '
          "the batch one image, as each has at test time where `test.norm` is 'image'",
          source=f'{PYTORCH} (Keras: True)', reference=True),
    Field('generator.upsample', 'transpose', choices('transpose', 'resize'),
          "how the decoder enlarges: 'transpose': transposed convolution; 'resize': nearest "
          'neighbour and a convolution', source='6.1.1'),
    Field('generator.dropout', 0.5, between(0.0, 0.99),
          'rate of dropout in some decoder blocks, in every block of a resnet; 0: off',
          source='6.1.1'),
    Field('generator.dropout_from', 0, between(0, 12),
          'the first decoder block that has dropout, from 0', source=f'6.1.1 ({PYTORCH}: 1)',
          reference=True),
    Field('generator.dropout_blocks', 3, between(0, 12),
          'number of decoder blocks that have dropout; 0: depth - 5', 'blocks',
          f'6.1.1 ({PYTORCH}: 0)', reference=True),
    Field('generator.leaky_slope', 0.2, FRACTION,
          "slope of the encoder's leaky ReLU below 0", source='6.1.1', reference=True),
    Field('generator.skip_relu', True, ON_OFF,
          "the decoder's ReLU is applied to the skips too; False: they stay as the encoder's leaky "
          'ReLU made them', source=PYTORCH, reference=True),
    Field('generator.bias', 'auto', choices('auto', 'all', 'last', 'none'),
          "which convolutions have a bias: 'auto': with batch norm the last alone, else all",
          source=PYTORCH, reference=True),
    Field('generator.input_channels', 3, between(1, 2**10),
          'channels of the input: 1 gray, 3 RGB, 4 RGBA; of TIFF and NumPy files any number; of '
          'classes one for each class. 3 also stands for the number of classes, and for what the '
          'files have where that is neither RGB nor gray of 8 bits', 'channels'),
    Field('generator.output_channels', 3, between(1, 2**10),
          'channels of the output, likewise', 'channels'),

    Field('discriminator.layers', 3, between(0, 5),
          'strided layers; with 0 to 5 a logit sees 1, 16, 34, 70, 142, 286 pixels', 'layers',
          '6.1.2'),
    Field('discriminator.width', 64, between(1, 2**16),
          'filters of the first layer', 'filters', '6.1.2'),
    Field('discriminator.norm', 'batch', NORMS, 'norm after the convolutions', source='3.2'),
    Field('discriminator.norm_epsilon', 1e-5, EPSILON,
          'added to the variance', source='PyTorch (Keras: 1e-3)', reference=True),
    Field('discriminator.norm_momentum', 0.9, FRACTION,
          "kept of the moving averages at each step; in PyTorch's sense it is 1 minus this, 0.1",
          source='PyTorch (Keras: 0.99)', reference=True),
    Field('discriminator.padding', 'one', choices('one', 'two', 'same'),
          "'one': one pixel around every convolution, 30x30 logits at 256x256; 'two': two, 35x35 "
          "(pix2pixHD); 'same': the output is the input divided by the stride, 32x32 logits",
          source=PYTORCH, reference=True),
    Field('discriminator.scales', 1, between(1, 3),
          'discriminators, each with weights of its own: on the images, on them halved, and so on; '
          'losses are summed', 'scales', 'pix2pixHD (Wang et al., 2018, 3.2)'),
    Field('discriminator.spectral_norm', False, ON_OFF,
          'kernels are divided by their largest singular value, of which a power iteration a step '
          'is an estimate; batch norm undoes it', source='Miyato et al., 2018'),
    Field('discriminator.leaky_slope', 0.2, FRACTION,
          'slope of the leaky ReLU below 0', source='6.1.2', reference=True),
    Field('discriminator.bias', 'auto', choices('auto', 'all', 'last', 'ends', 'none'),
          "which convolutions have a bias: 'ends': the first and the last, of layers=0 the first; "
          "'auto': with batch norm as 'ends', else all", source=PYTORCH, reference=True),
    Field('discriminator.conditional', True, ON_OFF,
          'D sees the input beside the output; False: the output alone (the rows "GAN" of the '
          "paper's Table 1)", source='3.1'),
    Field('discriminator.augment', '', some_of('color', 'translation', 'cutout'),
          "augmentation of what D sees, for small data sets; '': none",
          source='DiffAugment (Zhao et al., 2020)'),

    Field('init.name', 'normal', choices('normal', 'xavier', 'kaiming', 'orthogonal'),
          'distribution of the kernels', source='6.2'),
    Field('init.scale', 0.02, between(0.0, 10.0),
          "standard deviation of 'normal', gain of 'xavier' and 'orthogonal'; 'kaiming' has none",
          source='6.2'),
    Field('init.norm_scale', 0.02, between(0.0, 10.0),
          'standard deviation of the scales of the norms, about 1', source=PYTORCH, reference=True),
    Field('init.overrides', '', free("PATTERN=SCALE,PATTERN=SCALE,... or ''"),
          'other standard deviations for the layers whose names match a regular expression, as '
          "'up[1-7]=0.05,logits=0.05'", reference=True),

    Field('loss.gan', 'vanilla', Entries(_losses),
          "the adversarial loss; 'none': there is no discriminator", source='3.1'),
    Field('loss.gan_weight', 1.0, WEIGHT, 'weight of the adversarial loss of G', source='3.1'),
    Field('loss.l1_weight', 100.0, WEIGHT, "weight of the mean absolute difference, the paper's "
          'lambda', source='6.2'),
    Field('loss.l2_weight', 0.0, WEIGHT, 'weight of the mean squared difference'),
    Field('loss.class_weight', 0.0, WEIGHT,
          'weight of the cross-entropy of `dataset.target_classes`'),
    Field('loss.d_weight', 0.5, WEIGHT,
          'D minimises so many times the sum of its terms: of real images, of generated ones, and '
          'the gradient penalty of wgan-gp; '
          "0.5 is the paper's halving", source='3.3'),
    Field('loss.feature_weight', 0.0, WEIGHT,
          "weight of the L1 distance between D's features of generated and real images; 10 in "
          'pix2pixHD, which has no L1 between the images themselves',
          source='pix2pixHD (Wang et al., 2018, 3.3)'),
    Field('loss.lpips_weight', 0.0, WEIGHT,
          'weight of LPIPS 0.1 (AlexNet) between generated and real image, of 1, 3 or 4 channels '
          'and none of them masked; what is trained on it is not judged by it',
          source='Zhang et al., 2018'),
    Field('loss.alexnet_file', '', free("a file or ''"),
          "AlexNet's weights for `loss.lpips_weight`, torchvision's alexnet-owt-7be5be79.pth; '': "
          'the one in the cache folder, or a download'),
    Field('loss.lpips_file', '', free("a file or ''"),
          "LPIPS's own weights, weights/v0.1/alex.pth of the package lpips; '': likewise"),
    Field('loss.r1_weight', 0.0, WEIGHT,
          "weight of half the squared gradient of D's mean logit by the real image, in D's loss",
          source='Mescheder et al., 2018'),
    Field('loss.r1_every', 16, between(1, 10_000),
          'R1 is computed at one of so many steps of D, and weighs so many times there; between '
          'them `train/d_r1` is the newest value', 'steps', 'StyleGAN2 (Karras et al., 2020)'),
    Field('loss.gp_weight', 10.0, WEIGHT, 'weight of the gradient penalty of wgan-gp',
          source='Gulrajani et al., 2017'),

    Field('optimizer.learning_rate', 2e-4, between(0.0, 10.0), 'learning rate', source='3.3'),
    Field('optimizer.d_learning_rate', 0.0, between(0.0, 10.0),
          'learning rate of D; 0: the same as of G'),
    Field('optimizer.d_steps', 1, between(1, 100),
          'steps of D for one step of G, each on a batch of its own', 'steps'),
    Field('optimizer.b1', 0.5, BELOW_1, 'decay of the first moment', source='3.3'),
    Field('optimizer.b2', 0.999, BELOW_1, 'decay of the second moment', source='3.3'),
    Field('optimizer.eps', 1e-8, between(0.0, 1.0),
          'added to the root of the second moment', source='PyTorch (Keras: 1e-7)', reference=True),
    Field('optimizer.schedule', 'constant', choices('constant', 'linear', 'cosine'),
          "'linear', 'cosine': the learning rate falls to 0 over the steps after `decay_start`"),
    Field('optimizer.decay_start', 0.5, FRACTION,
          'where the learning rate begins to fall, as a fraction of the run'),
    Field('optimizer.clip_norm', 0.0, between(0.0, 1e6),
          "maximum norm of a network's gradient, all tensors together; 0: off"),
    Field('optimizer.scale_with_devices', False, ON_OFF,
          'multiply the learning rates by the number of devices of all hosts'),
    Field('optimizer.rate_devices', 0, between(0, 2**20),
          'that number, which a run keeps; 0: as many as there are', 'devices'),

    Field('test.norm', 'image', choices('image', 'running', 'mixed'),
          "statistics of batch norm: 'image': of each image alone, as in training with batch 1; "
          "'running': moving averages of training, whose variance is over n pixels (PyTorch's is "
          "n / (n - 1) times that); 'mixed': 'running' in the encoder, 'image' in the decoder",
          source='3.3'),
    Field('test.dropout', True, ON_OFF,
          "dropout, the paper's noise, is there at test time too", source='3.1'),
    Field('test.seed', 0, ANY_INT,
          'seed of the dropout, of a flow that of the noise, which is the same for all images'),
    Field('test.steps', 20, between(1, 50),
          "Euler's steps from noise to an image, of a flow; evaluations in training take 4",
          'steps'),

    Field('checkpoint.every_steps', 0, ANY_INT, 'interval between saves; 0: off', 'steps'),
    Field('checkpoint.every_minutes', 10.0, between(0.0, 1e6), 'interval between saves; 0: off',
          'minutes'),
    Field('checkpoint.keep', 1, between(1, 10_000),
          'number of newest checkpoints kept beside the best one', 'checkpoints'),
    Field('checkpoint.best', 'eval/l1', free('eval/METRIC, one that training measures'),
          'the value on val by which the best checkpoint is chosen, the lowest, or the highest '
          'where that is better; L1 prefers blurred images'),
    Field('checkpoint.on_error', 'raise', choices('raise', 'continue'),
          "where the disk is full or refuses: 'raise': the run stops; 'continue': it warns, "
          'continues and tries again at the next save. A last save that fails is always an error'),
)  # fmt: skip

FIELDS = {row.name: row for row in ROWS}
