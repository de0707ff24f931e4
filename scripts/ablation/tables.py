"""The ablations of scripts/ablations.py: their variants, and what the paper reports of them."""

from typing import NamedTuple

LAB = ('lab_l', 'lab_a', 'lab_b')
CLASSES = ('pixel_accuracy', 'class_accuracy', 'class_iou')
FCN = ('fcn_pixel_accuracy', 'fcn_class_accuracy', 'fcn_class_iou')
QUALITY = ('l1', 'psnr', 'ssim', 'lpips', 'fid', 'kid')


class Variant(NamedTuple):
    """How a row's runs differ from the config that was given, and how they are evaluated."""

    arg: str = ''  # words of the config's :ARG
    fields: tuple[tuple[str, object], ...] = ()
    batch: int = 0  # batch size; steps are divided by it, so that as many images are seen
    ema: bool = False  # measured with averaged weights, not with the last ones
    evaluate: tuple[str, ...] = ()  # further flags of evaluate


class Table(NamedTuple):
    """An ablation: its rows, the metrics that are shown, and the paper's numbers for FCN or LAB."""

    title: str
    rows: dict[str, Variant]
    metrics: tuple[str, ...] = FCN + QUALITY
    paper: dict[str, tuple[float, ...]] = {}
    paper_metrics: tuple[str, ...] = FCN
    source: str = ''
    on_cpu: str = ''  # what the page says of a table whose runs were trained on a CPU


def _loss(name: str, **fields: object) -> Variant:
    return Variant(f'loss={name}', tuple(fields.items()))


def _fields(*fields: tuple[str, object], ema: bool = False) -> Variant:
    return Variant(fields=fields, ema=ema)


AUGMENT = ('discriminator.augment', 'color,translation,cutout')
FEATURES = ('loss.feature_weight', 10.0)
SCALES = ('discriminator.scales', 2)
NO_NORM = ('discriminator.norm', 'none')
EMA_DECAY = 0.999  # of tables with averaged weights, where the user does not say it

SPECTRAL = ('discriminator.spectral_norm', True)
RESIZED = ('generator.upsample', 'resize')

# What the rows of 'objectives' have shown (seeds 0 to 4 at 64x64): BEST is the row of one addition
# with the highest FCN-scores, beside averaged weights, HELPED are all that raise them, and PLUS is
# what configs/facades_plus.py has: of what is level the least.
BEST = (NO_NORM, SPECTRAL)
HELPED = (*BEST, FEATURES)
PLUS = (*BEST, RESIZED)


TABLES = {
    'losses': Table(
        'Losses',
        {name: _loss(name) for name in ('l1', 'gan', 'cgan', 'l1+gan', 'l1+cgan')},
        paper={
            'l1': (0.42, 0.15, 0.11),
            'gan': (0.22, 0.05, 0.01),
            'cgan': (0.57, 0.22, 0.16),
            'l1+gan': (0.64, 0.20, 0.15),
            'l1+cgan': (0.66, 0.23, 0.17),
            'ground truth': (0.80, 0.26, 0.21),
        },
        source='Table 1, Cityscapes labels to photo',
    ),
    'generators': Table(
        'Generators',
        {
            f'{generator} {loss}': Variant(f'generator={generator},loss={loss}')
            for generator in ('encoder_decoder', 'unet')
            for loss in ('l1', 'l1+cgan')
        },
        paper={
            'encoder_decoder l1': (0.35, 0.12, 0.08),
            'encoder_decoder l1+cgan': (0.29, 0.09, 0.05),
            'unet l1': (0.48, 0.18, 0.13),
            'unet l1+cgan': (0.55, 0.20, 0.14),
        },
        source='Table 2, Cityscapes labels to photo, batch 10',
    ),
    'receptive_field': Table(
        'Receptive field of the discriminator',
        {f'{n}x{n}': Variant(f'discriminator={n}') for n in (1, 16, 70, 286)},
        paper={
            '1x1': (0.39, 0.15, 0.10),
            '16x16': (0.65, 0.21, 0.17),
            '70x70': (0.66, 0.23, 0.17),
            '286x286': (0.42, 0.16, 0.11),
        },
        source='Table 3, Cityscapes labels to photo',
    ),
    'color': Table(
        'Colours',
        {
            **{name: _loss(name) for name in ('l1', 'cgan', 'l1+cgan')},
            'pixelgan': Variant('discriminator=1'),
        },
        metrics=LAB,
        paper={
            'l1': (0.81, 0.69, 0.70),
            'cgan': (0.87, 0.74, 0.84),
            'l1+cgan': (0.86, 0.84, 0.82),
            'pixelgan': (0.83, 0.68, 0.78),
        },
        paper_metrics=LAB,
        source='Figure 7, Cityscapes labels to photo',
    ),
    'segmentation': Table(
        'Photo to labels',
        {name: Variant(f'direction=AtoB,loss={name}') for name in ('l1', 'cgan', 'l1+cgan')},
        metrics=(*CLASSES, 'l1'),
        paper={
            'l1': (0.86, 0.42, 0.35),
            'cgan': (0.74, 0.28, 0.22),
            'l1+cgan': (0.83, 0.36, 0.29),
        },
        source='Table 6, Cityscapes photo to labels',
    ),
    'batch_size': Table(
        'Batch size, as many images in all',
        {str(n): Variant(batch=n) for n in (1, 4, 10)},
    ),
    'upsampling': Table(
        'Upsampling',
        {
            'transposed': Variant(fields=(('generator.upsample', 'transpose'),)),
            'resize': Variant(fields=(('generator.upsample', 'resize'),)),
        },
        metrics=('checkerboard', *FCN, *QUALITY),
    ),
    'update_order': Table(
        'Order of the updates',
        {order: Variant(fields=(('update', order),)) for order in ('alternating', 'simultaneous')},
    ),
    'objectives': Table(
        "Beyond the paper's objective",
        {
            'paper': Variant(),
            '+ EMA': Variant(ema=True),
            '+ DiffAugment': _fields(AUGMENT),
            '+ feature matching': _fields(FEATURES),
            '+ two scales': _fields(SCALES),
            '+ feature matching and two scales': _fields(FEATURES, SCALES),
            'D without norm': _fields(NO_NORM),
            'D with spectral norm alone': _fields(*BEST),
            '+ R1': _fields(('loss.r1_weight', 10.0), ('loss.r1_every', 16)),
            '+ resize': _fields(RESIZED),
            'the best + EMA': _fields(*BEST, ema=True),
            'the best + EMA with lsgan': _fields(('loss.gan', 'lsgan'), *BEST, ema=True),
            'the best + EMA with hinge': _fields(('loss.gan', 'hinge'), *BEST, ema=True),
            'the best + EMA with resize': _fields(*PLUS, ema=True),
            'all that helped + EMA': _fields(*HELPED, ema=True),
            'all that helped + EMA with resize': _fields(*HELPED, RESIZED, ema=True),
        },
        metrics=(*FCN, 'l1', 'ssim', 'lpips', 'checkerboard', *LAB),
    ),
    'methods': Table(
        'Methods',
        {
            'L1': _loss('l1'),
            'pix2pix': Variant(),
            'best pix2pix': _fields(*PLUS, ema=True),
            **{
                f'flow {steps} step{"s" * (steps > 1)}': Variant(
                    fields=(('method', 'flow'),), ema=True, evaluate=(f'--steps={steps}',)
                )
                for steps in (1, 4, 20)
            },
        },
        metrics=(*FCN, 'l1', 'ssim', 'lpips', 'checkerboard', *LAB),
        on_cpu='The rows of the flow are indicative: flows are usually trained for longer.',
    ),
    'augmentation': Table(
        'Augmentation of what D sees',
        {
            'none': Variant(),
            'DiffAugment': _fields(AUGMENT),
        },
    ),
    'image_size': Table(
        'Larger than trained, fully convolutional',
        {
            'as trained': Variant(),
            'twice the size': Variant(evaluate=('--scale=2',)),
        },
    ),
}
