"""The segmentation network of the FCN-score: a U-Net trained on real photos of a training split.

The photos are the targets, and the inputs their label maps.

The paper's is an FCN-8s in Caffe, trained on Cityscapes (Isola et al., 2017, section 4). This one
is trained where it is needed and kept in the user's cache folder, one for each content of the
split, image size, way to it (dataset.preprocess), class that is none (dataset.void) and number of
steps. A file that the user names
travels to another machine.
"""

import functools
import hashlib
import io
import itertools
import json
import os
import pathlib
import sys
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, cast

import filelock
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tqdm
from flax.traverse_util import flatten_dict, unflatten_dict

from pix2pix_jax.data import augment, label_colors
from pix2pix_jax.data.formats.pixels import File
from pix2pix_jax.data.label_colors import Classes
from pix2pix_jax.data.sources import Source
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.evaluation import label_maps
from pix2pix_jax.models import layers, norms, unet
from pix2pix_jax.models.factory import CONV_FORMS
from pix2pix_jax.storage import atomic
from pix2pix_jax.train_state import TrainState

VERSION = 2  # of what is kept: another training gives another number
STEPS = 2000
BATCH = 4
WIDTH = 32
DEPTH = 5  # at most: what the label of a pixel depends on lies within a few hundred pixels
RATE = 1e-3
JITTER = 286 / 256
RESIZED = 'resize_and_crop'  # the dataset.preprocess of the paper
ABOUT = 'about'  # the entry of a user's file that says for what it is

Segment = Callable[[np.ndarray], np.ndarray]  # float32 photos (N,H,W,3) to classes int32 (N,H,W)


def load_or_train(
    source: Source,
    image_size: tuple[int, int],
    classes: Classes,
    steps: int = STEPS,
    file: str = '',
) -> Segment:
    """Returns the segmenter of a training split.

    Trains it where the cache folder does not hold it; of several processes one does, and the
    others wait. Writes it to `file`, if one is named, in the form that `load` reads.

    Args:
      source: the training split.
      image_size: (height, width) of the photos, in pixels.
      classes: those of the label maps, and their colours.
      steps: how long it is trained, if it is.
      file: where it is written; '': nowhere but the cache folder.

    Raises:
      DataError: for a bad pair.
      UserError: for labels of other colours.
    """
    module = _module(image_size, classes)
    path = _path(source, image_size, classes, steps)
    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f'{path}.lock'):
        variables = _load(path)
        if variables is None:
            label_maps.check(source, 'input', image_size, classes)
            # Where there is no progress bar, too: at 256x256 it takes half an hour of a core.
            print(f'training the segmenter of {source.folder}, once: {steps:,} steps', flush=True)
            variables = _train(module, source, image_size, classes, steps)
            _save(path, variables)
    if file:
        about = np.array(json.dumps(_about(image_size, classes, source.preprocess)))
        _save(pathlib.Path(file), variables, {ABOUT: about})
    return _segment(module, variables)


def is_file(path: str) -> bool:
    """Whether `path` names an existing file; raises UserError for a folder."""
    if path and os.path.isdir(path):
        raise UserError(f'--segmenter_weights={path} is a folder: allowed is a file')
    return bool(path) and os.path.exists(path)


def load(path: str, image_size: tuple[int, int], classes: Classes, preprocess: str) -> Segment:
    """Returns the segmenter in a file that `load_or_train` wrote.

    Args:
      path: the file.
      image_size: (height, width) of the photos, in pixels.
      classes: those of the label maps, and their colours.
      preprocess: dataset.preprocess: how photos come to that size.

    Raises:
      UserError: where it was trained for another size, another way to it, or other classes.
      DataError: where the file is none of a segmenter, or damaged.
    """
    variables = _load(pathlib.Path(path))
    about = variables and variables.pop(ABOUT, None)
    if not variables or about is None:
        raise DataError(f'--segmenter_weights={path}: it holds no segmenter, or is damaged')
    found = {'preprocess': RESIZED} | json.loads(str(about))  # of which older files say nothing
    wanted = _about(image_size, classes, preprocess)
    for name, value in wanted.items():
        if found.get(name) != value:
            raise UserError(
                f'--segmenter_weights={path} is of {name} {_words(found.get(name))}, these images '
                f'need {_words(value)}: give another file; one that is not there is written'
            )
    module = _module(image_size, classes)
    photos = jax.ShapeDtypeStruct((1, *image_size, 3), jnp.float32)
    init = functools.partial(module.init, train=False, noise=False)
    shapes = jax.tree.map(np.shape, dict(jax.eval_shape(init, jax.random.key(0), photos)))
    if jax.tree.map(np.shape, variables) != shapes:
        raise DataError(f'--segmenter_weights={path}: its arrays are not those of the segmenter')
    return _segment(module, variables)


def _about(image_size: tuple[int, int], classes: Classes, preprocess: str) -> dict[str, Any]:
    """Returns what a segmenter is good for, as JSON gives it back."""
    return {
        'version': VERSION,
        'size': '{}x{}'.format(*image_size),
        'preprocess': preprocess,
        'classes': {name: list(colour) for name, colour in classes.colours.items()},
    }


def _words(value: Any) -> str:
    return ', '.join(value) if isinstance(value, dict) else str(value)


def _segment(module: nn.Module, variables: dict[str, Any]) -> Segment:
    @jax.jit
    def logits(variables: dict[str, Any], photos: jax.Array) -> jax.Array:
        # The moving averages label real photos better than an image's own statistics: facades at
        # 128x128, pixel accuracy 0.562 against 0.524 after 1,000 steps of batch 4.
        switches: dict[str, Any] = dict(train=False, norm_statistics='running', noise=False)
        return cast(jax.Array, module.apply(variables, photos, **switches))

    def segment(photos: np.ndarray) -> np.ndarray:
        return np.asarray(logits(variables, photos).argmax(-1), np.int32)

    return segment


def _module(image_size: tuple[int, int], classes: Classes) -> nn.Module:
    form = CONV_FORMS.get(jax.default_backend(), 'native')
    kernel_init = layers.kernel_initializer('kaiming', 1.0)
    fields: dict[str, Any] = dict(conv_form=form, kernel_init=kernel_init)
    return unet.UNet(
        depth=min(DEPTH, unet.default_depth(*image_size)),
        width=WIDTH,
        output_channels=len(classes.colours),
        norm=functools.partial(norms.BatchNorm, scale_init=0.0),
        conv=functools.partial(layers.Conv, **fields),
        upsample=functools.partial(layers.ConvTranspose, **fields),
        activation=lambda logits: logits,
    )


def _train(
    module: nn.Module, source: Source, image_size: tuple[int, int], classes: Classes, steps: int
) -> dict[str, Any]:
    key = jax.random.key(0)
    photos = jnp.zeros((1, *image_size, 3))
    init = jax.jit(functools.partial(module.init, train=False, noise=False))
    variables = init(jax.random.fold_in(key, 0), photos)
    state = TrainState.create(
        apply_fn=module.apply,
        params=variables['params'],
        batch_stats=variables['batch_stats'],
        tx=optax.adam(optax.cosine_decay_schedule(RATE, steps)),
    )
    step = jax.jit(_step, donate_argnums=0)
    batches = _batches(source, image_size, classes)
    shown = sys.stderr.isatty()
    for _ in tqdm.trange(steps, desc='training the segmenter', disable=not shown):
        state, _ = step(state, *next(batches), jax.random.fold_in(key, 1))
    return jax.device_get(state.variables)


def _step(
    state: TrainState, photos: jax.Array, classes: jax.Array, key: jax.Array
) -> tuple[TrainState, jax.Array]:
    """One step on the cross-entropy of photos (N,H,W,3) and classes (N,H,W); VOID counts not."""
    key = jax.random.fold_in(key, state.step)
    known = classes != label_colors.VOID

    def objective(params: Any) -> tuple[jax.Array, Any]:
        variables = {'params': params, 'batch_stats': state.batch_stats}
        logits, mutated = state.apply_fn(
            variables, photos, train=True, rngs={'dropout': key}, mutable=['batch_stats']
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(classes, 0))
        return jnp.sum(losses * known) / jnp.maximum(known.sum(), 1), mutated['batch_stats']

    (loss, stats), grads = jax.value_and_grad(objective, has_aux=True)(state.params)
    return state.apply_gradients(grads=grads, batch_stats=stats), loss


def _batches(
    source: Source, image_size: tuple[int, int], classes: Classes
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields photos (BATCH,H,W,3) and classes (BATCH,H,W) without end, jittered and mirrored."""
    rng = np.random.default_rng(0)

    def example(i: int) -> tuple[np.ndarray, np.ndarray]:
        photo, labels = source[i]['target'], source[i]['input']
        size = photo.shape[:2]
        window = augment.random_window(rng, size, image_size, JITTER, True, source.preprocess)
        image = augment.to_float(augment.crop_and_resize(photo, window, image_size))
        colours = augment.cut_as_target(labels, window, size, image_size, 'nearest')
        return image, label_maps.of_image(colours, classes)

    indices = (int(i) for _ in itertools.count() for i in rng.permutation(len(source)))
    while True:
        images, maps = zip(*(example(next(indices)) for _ in range(BATCH)))
        yield np.stack(images), np.stack(maps)


def _path(
    source: Source, image_size: tuple[int, int], classes: Classes, steps: int
) -> pathlib.Path:
    settings = (VERSION, image_size, classes, steps, BATCH, WIDTH, DEPTH, RATE, source.direction)
    # Segmenters of the paper's preprocess, and of maps without void, keep the names that they have.
    more: tuple[str, ...] = () if source.preprocess == RESIZED else (source.preprocess,)
    maps = source.specs[0]
    if maps.classes and maps.coding is None and maps.has_void:
        more += (f'void {maps.void}',)
    digest = hashlib.sha256(repr((*settings, *more)).encode())

    @functools.cache  # the windows of a scene have one file
    def content(file: File) -> bytes:
        return hashlib.sha256(file.read_bytes()).digest()

    for name, pair in zip(source.names, source.files):
        digest.update(name.encode())
        for file in pair:
            digest.update(content(file))
    return atomic.cache_folder() / 'segmenters' / f'{digest.hexdigest()[:32]}.npz'


def _save(
    path: pathlib.Path, variables: dict[str, Any], more: dict[str, np.ndarray] | None = None
) -> None:
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {**flatten_dict(variables, sep='/'), **(more or {})}
    np.savez(buffer, **arrays)
    atomic.write_bytes(path, buffer.getvalue())


def _load(path: pathlib.Path) -> dict[str, Any] | None:
    """Returns what was kept, None where there is nothing, or nothing whole."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return unflatten_dict({name: arrays[name] for name in arrays.files}, sep='/')
    except (ValueError, OSError, EOFError, zipfile.BadZipFile):
        return None
