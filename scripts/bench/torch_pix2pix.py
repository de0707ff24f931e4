"""pix2pix in PyTorch, written from the paper: the peer of scripts/benchmark.py.

The same networks, step and input as configs/facades.py: U-Net and 70x70 PatchGAN, one update of
each in turn, L1 weighted by 100, Adam; pairs from JPEG files, jittered and mirrored.
"""

import pathlib
import random
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import nn


class TorchUNet(nn.Module):
    """The U-Net (sections 3.2.1 and 6.1.1) for sides of 2**depth; maps (N,3,H,W) to the same."""

    def __init__(self, depth: int, width: int):
        """Makes the layers; dropout is in the first three decoder blocks."""
        super().__init__()
        filters = [width * min(2**i, 8) for i in range(depth)]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for i, features in enumerate(filters):
            conv = nn.Conv2d(filters[i - 1] if i else 3, features, 4, 2, 1, bias=False)
            norm = nn.BatchNorm2d(features) if 0 < i < depth - 1 else nn.Identity()
            self.down.append(nn.Sequential(conv, norm))
        for block, i in enumerate(reversed(range(1, depth))):
            channels = filters[i] * (1 if block == 0 else 2)
            conv = nn.ConvTranspose2d(channels, filters[i - 1], 4, 2, 1, bias=False)
            drop = nn.Dropout(0.5) if block < 3 else nn.Identity()
            self.up.append(nn.Sequential(conv, nn.BatchNorm2d(filters[i - 1]), drop))
        self.last = nn.ConvTranspose2d(2 * filters[0], 3, 4, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Translates x in [-1,1] to an image in [-1,1]."""
        encoded = []
        for i, layer in enumerate(self.down):
            # In place, skips too: the decoder's ReLU gives the same of what it leaves.
            x = layer(nn.functional.leaky_relu_(x, 0.2) if i else x)
            encoded.append(x)
        x = encoded.pop()
        for layer in self.up:
            x = torch.cat([encoded.pop(), layer(torch.relu_(x))], 1)
        return torch.tanh(self.last(torch.relu_(x)))


def patchgan(width: int) -> nn.Sequential:
    """Returns the 70x70 PatchGAN (section 6.1.2) of input and output stacked, (N,6,H,W)."""
    filters = [6, width, 2 * width, 4 * width, 8 * width]
    layers: list[nn.Module] = []
    for i in range(4):
        layers.append(nn.Conv2d(filters[i], filters[i + 1], 4, 2 if i < 3 else 1, 1, bias=i == 0))
        layers += [nn.BatchNorm2d(filters[i + 1])] if i else []
        layers.append(nn.LeakyReLU(0.2, inplace=True))
    return nn.Sequential(*layers, nn.Conv2d(filters[-1], 1, 4, 1, 1))


class Trainer:
    """Both networks with their optimizers."""

    def __init__(self, depth: int, width: int, dtype: torch.dtype = torch.float32):
        """Starts the networks as section 6.2 has it."""
        self.g, self.d, self.dtype = TorchUNet(depth, width), patchgan(width), dtype
        for module in (*self.g.modules(), *self.d.modules()):
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.normal_(module.weight, 0, 0.02)
        adam = dict(lr=2e-4, betas=(0.5, 0.999))
        self.g_optimizer = torch.optim.Adam(self.g.parameters(), **adam)
        self.d_optimizer = torch.optim.Adam(self.d.parameters(), **adam)

    def step(self, x: torch.Tensor, target: torch.Tensor) -> float:
        """Updates D, then G, on images (N,3,H,W) in [-1,1]; returns the L1 loss."""
        bce = nn.functional.binary_cross_entropy_with_logits
        with torch.autocast('cpu', self.dtype, enabled=self.dtype != torch.float32):
            fake = self.g(x)
            self.d.requires_grad_(True)
            fake_logits = self.d(torch.cat([x, fake.detach()], 1)).float()
            real_logits = self.d(torch.cat([x, target], 1)).float()
            d_loss = (
                bce(fake_logits, torch.zeros_like(fake_logits))
                + bce(real_logits, torch.ones_like(real_logits))
            ) / 2
        self.d_optimizer.zero_grad()
        d_loss.backward()
        self.d_optimizer.step()
        self.d.requires_grad_(False)
        with torch.autocast('cpu', self.dtype, enabled=self.dtype != torch.float32):
            logits = self.d(torch.cat([x, fake], 1)).float()
            l1 = (fake.float() - target).abs().mean()
            g_loss = bce(logits, torch.ones_like(logits)) + 100 * l1
        self.g_optimizer.zero_grad()
        g_loss.backward()
        self.g_optimizer.step()
        return float(l1.detach())

    def infer(self, x: torch.Tensor) -> torch.Tensor:
        """Translates x (N,3,H,W) in [-1,1], dropout on and batch statistics, as in the paper."""
        enabled = self.dtype != torch.float32
        with torch.inference_mode(), torch.autocast('cpu', self.dtype, enabled=enabled):
            return self.g(x)


class Pairs(torch.utils.data.Dataset):
    """Side-by-side JPEG pairs with the jitter of section 6.2, done by Pillow."""

    def __init__(self, folder: str, size: int):
        """Finds the files; images become (3,size,size)."""
        self.files = sorted(pathlib.Path(folder).glob('*.jpg'))
        self.size, self.load = size, round(size * 286 / 256)

    def __len__(self) -> int:
        """Returns the number of pairs."""
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns A and B in [-1,1], resized, cropped at one place, and flipped or not."""
        pair = Image.open(self.files[i]).convert('RGB')
        middle, height = pair.width // 2, pair.height
        left, top = (random.randint(0, self.load - self.size) for _ in 'xy')
        flip, images = random.random() < 0.5, []
        for half in ((0, 0, middle, height), (middle, 0, pair.width, height)):
            image = pair.crop(half).resize((self.load, self.load), Image.Resampling.BICUBIC)
            image = image.crop((left, top, left + self.size, top + self.size))
            if flip:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            planes = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
            images.append(planes.float().div_(127.5).sub_(1))
        return tuple(images)


def batches(folder: str, size: int, batch: int, workers: int) -> Iterator[list[torch.Tensor]]:
    """Yields shuffled batches [A, B] of (N,3,size,size) without end, made by a DataLoader."""
    loader = torch.utils.data.DataLoader(
        Pairs(folder, size),
        batch,
        shuffle=True,
        num_workers=workers,
        drop_last=True,
        persistent_workers=workers > 0,  # not started anew in every epoch
    )
    while True:
        yield from loader
