"""pix2pix in PyTorch, written from the paper: the peer of scripts/benchmark.py.

The same networks, step and input as configs/facades.py: U-Net and 70x70 PatchGAN, one update of
each in turn, L1 weighted by 100, Adam; pairs from JPEG files, jittered and mirrored.
"""

import pathlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from bench.variants import split


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
    """Both networks with their optimizers, on a device, run as a variant of variants.py says."""

    def __init__(
        self,
        depth: int,
        width: int,
        dtype: torch.dtype = torch.float32,
        device: str = 'cpu',
        variant: str = 'eager',
    ):
        """Starts the networks as section 6.2 has it; with bfloat16 they compute under autocast."""
        mode, channels_last = split(variant)
        self.device, self.dtype = torch.device(device), dtype
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        torch.backends.cudnn.benchmark = mode != 'eager'
        self.g, self.d = TorchUNet(depth, width), patchgan(width)
        for network in (self.g, self.d):
            for module in network.modules():
                if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                    nn.init.normal_(module.weight, 0, 0.02)
            network.to(self.device, memory_format=self.format)
        adam: dict[str, Any] = dict(lr=2e-4, betas=(0.5, 0.999), fused=mode != 'eager' or None)
        adam['capturable'] = mode != 'eager' and self.device.type == 'cuda'
        self.g_optimizer = torch.optim.Adam(self.g.parameters(), **adam)
        self.d_optimizer = torch.optim.Adam(self.d.parameters(), **adam)
        self.generate, self.judge, self._mode = self.g, self.d, mode
        if mode in ('compile', 'reduce-overhead'):
            how = 'default' if mode == 'compile' else mode
            self.generate, self.judge = (torch.compile(n, mode=how) for n in (self.g, self.d))

    def place(self, images: np.ndarray) -> torch.Tensor:
        """Returns float32 images (N,H,W,3) on the device, as (N,3,H,W)."""
        planes = torch.from_numpy(images).permute(0, 3, 1, 2)
        return planes.to(self.device).contiguous(memory_format=self.format)

    def autocast(self) -> torch.autocast:
        """Returns the context in which the networks compute."""
        enabled = self.dtype != torch.float32
        return torch.autocast(self.device.type, self.dtype, enabled=enabled)

    def wait(self) -> None:
        """Returns when the device has done all that it was given."""
        if self.device.type == 'cuda':
            torch.cuda.synchronize()

    def step(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Updates D, then G, on images (N,3,H,W) in [-1,1]; returns the L1 loss, on the device."""
        bce = nn.functional.binary_cross_entropy_with_logits
        if self._mode == 'reduce-overhead':
            torch.compiler.cudagraph_mark_step_begin()
        with self.autocast():
            fake = self.generate(x)
            self.d.requires_grad_(True)
            fake_logits = self.judge(torch.cat([x, fake.detach()], 1)).float()
            real_logits = self.judge(torch.cat([x, target], 1)).float()
            d_loss = (
                bce(fake_logits, torch.zeros_like(fake_logits))
                + bce(real_logits, torch.ones_like(real_logits))
            ) / 2
        self.d_optimizer.zero_grad()
        d_loss.backward()
        self.d_optimizer.step()
        self.d.requires_grad_(False)
        with self.autocast():
            logits = self.judge(torch.cat([x, fake], 1)).float()
            l1 = (fake.float() - target).abs().mean()
            g_loss = bce(logits, torch.ones_like(logits)) + 100 * l1
        self.g_optimizer.zero_grad()
        g_loss.backward()
        self.g_optimizer.step()
        return l1.detach()

    def infer(self, x: torch.Tensor) -> torch.Tensor:
        """Translates x (N,3,H,W) in [-1,1], dropout on and batch statistics, as in the paper."""
        if self._mode == 'reduce-overhead':
            torch.compiler.cudagraph_mark_step_begin()
        with torch.inference_mode(), self.autocast():
            return self.generate(x)

    def prepared(self, call: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
        """Returns `call`, or what replays it as one CUDA graph: on the same images every time.

        It is called once. The most memory is counted from there on, with the capture of a graph,
        whose replays take what the capture did and are not counted.
        """
        call()
        self.wait()
        if self.device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats()
        if self._mode != 'graph':
            return call
        stream = torch.cuda.Stream()  # what is captured must have run on a stream of its own
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                call()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = call()

        def replay() -> torch.Tensor:
            graph.replay()
            return result

        return replay

    def l1_gradients(self, x: torch.Tensor, target: torch.Tensor) -> list[torch.Tensor]:
        """Returns, in float64, the translation of x without dropout, and L1's gradients by G."""
        for module in self.g.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        with self.autocast():
            fake = self.g(x)
        (fake.to(target.dtype) - target).abs().mean().backward()
        return [t.detach().double() for t in (fake, *(p.grad for p in self.g.parameters()))]


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
    """Yields shuffled batches [A, B] of (N,3,size,size) without end, made by a DataLoader.

    Args:
      folder: of the pairs, A|B side by side.
      size: height and width of the images, in pixels.
      batch: pairs in a batch.
      workers: processes that read; 0: this one does.
    """
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
