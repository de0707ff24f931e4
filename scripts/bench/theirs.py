"""What scripts/benchmark.py times of the peer in PyTorch, by task."""

import copy
import os
from typing import Any

from bench import variants
from bench.tasks import TOGETHER, Prepared, Setting, cores, draw_batch, errors, pairs_of, timed
from pix2pix_jax.errors import UserError


def _torch(setting: Setting):
    """Returns torch, set up for the setting; raises UserError where it has not the device."""
    import torch

    mode, _ = variants.split(setting.variant or variants.PEERS[0])
    if setting.device == 'gpu' and not torch.cuda.is_available():
        raise UserError('--device=gpu: torch finds none here (torch.cuda.is_available() is False)')
    if setting.device == 'cpu' and mode in variants.CUDA_ONLY:
        raise UserError(f'{mode} is of CUDA alone')
    torch.manual_seed(0)
    torch.set_num_threads(cores())
    rounded = setting.dtype != 'float32'
    torch.set_float32_matmul_precision('high' if rounded else 'highest')
    torch.backends.cudnn.allow_tf32 = rounded
    return torch


def _trainer(setting: Setting):
    torch = _torch(setting)
    from bench.torch_pix2pix import Trainer

    dtype = getattr(torch, setting.dtype.replace('tf32', 'float32'))
    device = {'cpu': 'cpu', 'gpu': 'cuda'}[setting.device]
    variant, depth = setting.variant or variants.PEERS[0], setting.size.bit_length() - 1
    trainer = Trainer(depth, setting.width, dtype, device, variant)
    batch = draw_batch(setting)
    return trainer, trainer.place(batch['input']), trainer.place(batch['target'])


def their_step(setting: Setting) -> Prepared:
    """Prepares the peer's training step; on a CPU on as many threads as there are cores."""
    trainer, x, target = _trainer(setting)
    step = trainer.prepared(lambda: trainer.step(x, target))
    return timed(step, lambda loss: trainer.wait(), TOGETHER[setting.device]), {}


def their_infer(setting: Setting) -> Prepared:
    """Prepares the peer's translation of a batch from and to the host."""
    trainer, x, _ = _trainer(setting)
    images = draw_batch(setting)['input']
    infer = trainer.prepared(lambda: trainer.infer(x))

    def translate():
        x.copy_(trainer.place(images))
        return infer().float().permute(0, 2, 3, 1).cpu().numpy()

    return timed(translate), {}


def their_infer_device(setting: Setting) -> Prepared:
    """Prepares the peer's translation of a batch that lies on the device, and stays there."""
    trainer, x, _ = _trainer(setting)
    infer = trainer.prepared(lambda: trainer.infer(x))
    return timed(infer, lambda image: trainer.wait(), TOGETHER[setting.device]), {}


def their_error(setting: Setting) -> dict[str, float]:
    """Returns how far a translation, and L1's gradients by G, are from the same in float64."""
    trainer, x, target = _trainer(setting)
    exact = copy.deepcopy(trainer)
    exact.g.double()
    exact.dtype = _torch(setting).float32  # without autocast
    found, expected = (
        [array.cpu().numpy() for array in one.l1_gradients(*images)]
        for one, images in ((trainer, (x, target)), (exact, (x.double(), target.double())))
    )
    return errors(found, expected)


def their_device(setting: Setting) -> dict[str, Any]:
    """Returns the versions of CUDA and cuDNN that torch uses."""
    torch = _torch(setting)
    return {'torch_cuda': torch.version.cuda, 'torch_cudnn': torch.backends.cudnn.version()}


def their_memory(setting: Setting) -> dict[str, float]:
    """Returns the most memory of the device that its tensors took, in MB; a GPU's alone.

    What only the first step took, such as cuDNN's trials, is not in it (`Trainer.prepared`).
    """
    if setting.device == 'cpu':
        return {}
    return {'device_mb': _torch(setting).cuda.max_memory_allocated() / 2**20}


def _their_pairs(setting: Setting, workers: int) -> Prepared:
    import torch

    from bench.torch_pix2pix import batches

    torch.set_num_threads(cores())
    folder = os.path.join(setting.folder, 'train')
    return pairs_of(batches(folder, setting.size, setting.batch, workers), setting)


def their_pipeline(setting: Setting) -> Prepared:
    """Prepares the DataLoader without worker processes."""
    return _their_pairs(setting, 0)


def their_pipeline_workers(setting: Setting) -> Prepared:
    """Prepares the DataLoader with a worker process for each core."""
    return _their_pairs(setting, cores())


TASKS = {
    'step': their_step,
    'infer': their_infer,
    'infer_device': their_infer_device,
    'pipeline': their_pipeline,
    'pipeline_workers': their_pipeline_workers,
    # Figures alone:
    'error': their_error,
    'device': their_device,
    'memory': their_memory,
}
