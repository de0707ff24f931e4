"""The networks of the widely used PyTorch implementation, written from their description.

Their tensors have the names of its state dicts; nothing here knows of ours. Needs torch.
"""

import torch
from torch import nn

NORMS = {'batch': nn.BatchNorm2d, 'instance': nn.InstanceNorm2d, 'none': nn.Identity}


class Level(nn.Module):
    """A level of the U-Net: the layers, beside them the skip; the outermost level has none."""

    def __init__(self, layers: list[nn.Module], skip: bool):
        super().__init__()
        self.model, self.skip = nn.Sequential(*layers), skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.model(x)  # a skip is x after it: the leaky ReLU is in place
        return torch.cat([x, y], 1) if self.skip else y


class Net(nn.Module):
    """A network under the name `model`, or `net`."""

    def __init__(self, inner: nn.Module, name: str = 'model'):
        super().__init__()
        self.name = name
        setattr(self, name, inner)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return getattr(self, self.name)(x)


def unet(
    depth: int, width: int, norm: str = 'batch', channels: tuple[int, int] = (3, 3)
) -> nn.Module:
    """Returns the U-Net of `depth` halvings, without dropout, as it has no tensors."""
    make, bias = NORMS[norm], norm == 'instance'
    filters = [width * min(2**i, 8) for i in range(depth)]
    level = None
    for i in reversed(range(1, depth)):
        inner, outer = filters[i], filters[i - 1]
        layers = [nn.LeakyReLU(0.2, True), nn.Conv2d(outer, inner, 4, 2, 1, bias=bias)]
        if level is not None:
            layers += [make(inner), level]
        coming = inner if level is None else 2 * inner
        layers += [nn.ReLU(True), nn.ConvTranspose2d(coming, outer, 4, 2, 1, bias=bias)]
        level = Level([*layers, make(outer)], skip=True)
    first = nn.Conv2d(channels[0], width, 4, 2, 1, bias=bias)
    last = nn.ConvTranspose2d(2 * width, channels[1], 4, 2, 1)
    return Net(Level([first, level, nn.ReLU(True), last, nn.Tanh()], skip=False))


class Block(nn.Module):
    """A residual block."""

    def __init__(self, width: int, norm: str, dropout: bool):
        super().__init__()
        layers = []
        for last in (False, True):
            conv = nn.Conv2d(width, width, 3, bias=norm == 'instance')
            layers += [nn.ReflectionPad2d(1), conv, NORMS[norm](width)]
            layers += [] if last else [nn.ReLU(True)] + [nn.Dropout(0.5)] * dropout
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv_block(x)


def resnet(
    blocks: int,
    width: int,
    norm: str = 'batch',
    channels: tuple[int, int] = (3, 3),
    dropout: bool = False,
) -> nn.Module:
    """Returns the ResNet of two halvings."""
    make, bias = NORMS[norm], norm == 'instance'
    layers = [nn.ReflectionPad2d(3), nn.Conv2d(channels[0], width, 7, bias=bias)]
    layers += [make(width), nn.ReLU(True)]
    for k in (width, 2 * width):
        layers += [nn.Conv2d(k, 2 * k, 3, 2, 1, bias=bias), make(2 * k), nn.ReLU(True)]
    layers += [Block(4 * width, norm, dropout) for _ in range(blocks)]
    for k in (2 * width, width):
        layers += [nn.ConvTranspose2d(2 * k, k, 3, 2, 1, 1, bias=bias), make(k), nn.ReLU(True)]
    return Net(
        nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, channels[1], 7), nn.Tanh())
    )


def discriminator(layers: int, width: int, norm: str = 'batch', channels: int = 6) -> nn.Module:
    """Returns the PatchGAN of so many strided convolutions; of none: the PixelGAN."""
    bias, (kernel, pad) = norm == 'instance', (4, 1) if layers else (1, 0)
    filters = [width * min(2**i, 8) for i in range(max(layers, 1) + 1)]
    net = [nn.Conv2d(channels, width, kernel, 2 if layers else 1, pad), nn.LeakyReLU(0.2, True)]
    for i, (k, n) in enumerate(zip(filters, filters[1:]), 1):
        stride = 2 if i < layers else 1
        net += [nn.Conv2d(k, n, kernel, stride, pad, bias=bias), NORMS[norm](n)]
        net += [nn.LeakyReLU(0.2, True)]
    net += [nn.Conv2d(filters[-1], 1, kernel, 1, pad, bias=bias or layers > 0)]
    return Net(nn.Sequential(*net), 'model' if layers else 'net')


def trained(net: nn.Module, seed: int = 0) -> nn.Module:
    """Returns `net` with random weights, and random statistics where it keeps any, in eval()."""
    draws = torch.Generator().manual_seed(seed)
    for name, value in net.state_dict().items():
        if name.endswith('num_batches_tracked'):
            value.fill_(40)
        elif name.endswith('running_var'):
            value.uniform_(0.5, 2, generator=draws)
        else:
            size = 0.15 if value.ndim == 4 else 0.5
            value.normal_(1.0 if value.ndim == 1 and name.endswith('weight') else 0.0, size,
                          generator=draws)  # fmt: skip
    return net.eval()


def with_own_statistics(net: nn.Module) -> nn.Module:
    """Returns `net` with its batch norms as in training, their statistics left as they are."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
            module.momentum = 0.0
    return net
