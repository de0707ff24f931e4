"""What the page of a translation shows of each image: thumbnails, captions, links."""

import os
from typing import TYPE_CHECKING

import numpy as np
from etils import epath

from pix2pix_jax.data import augment, class_maps, image_spec
from pix2pix_jax.data.formats.decode import palette_of
from pix2pix_jax.data.formats.pixels import File
from pix2pix_jax.inference.inputs import Input
from pix2pix_jax.reports import image_grid, translation_page
from pix2pix_jax.reports.translation_page import Item
from pix2pix_jax.storage import atomic

if TYPE_CHECKING:  # takes seconds
    from pix2pix_jax.inference.translator import Loaded, Translator


def of_input(translator: 'Translator', output: epath.Path, one: Input, loaded: 'Loaded') -> Item:
    """Writes the thumbnail of an input; returns what the page shows of it.

    Args:
      translator: the run.
      output: the folder of the page.
      one: the input.
      loaded: what was read of it; of a large one a small version will do.
    """
    size = translation_page.size_within(loaded.values)  # a large input is not scaled whole
    values = augment.resized(loaded.values, size, 'nearest')
    image = translator.floats(values)
    if translator.config.dataset.input_classes:
        spec, _ = image_spec.of_config(translator.config)
        palette = palette_of(one.files[0]) if spec.colours is None else spec.colours
        image = class_maps.coloured(image, palette)
    elif len(one.files) > 1:  # the first of them
        image = image[..., : loaded.shown]
    caption, image = f'input{image_grid.about_itself(image)}', image_grid.by_itself(image)
    if loaded.valid is not None:
        valid = augment.resized(loaded.valid.astype(np.uint8), size, 'nearest')
        image = image_grid.white_elsewhere(image, valid)
    thumbnail = translation_page.write_thumbnail(output, f'{one.name}_input', image)
    return Item(caption, _link(one.files[0], output), thumbnail)


def of_output(
    translator: 'Translator',
    output: epath.Path,
    item: Item,
    loaded: 'Loaded',
    image: np.ndarray,
) -> Item:
    """Writes the thumbnail of a translation; returns what the page shows of it.

    Args:
      translator: the run.
      output: the folder of the page.
      item: caption and file of the translation; its thumbnail's name without an ending.
      loaded: the input.
      image: the translation (H,W,Co) on [-1, 1]; of a large one a small version will do.
    """
    palette, caption = output_palette(translator), item.caption
    if palette is not None:
        picture = class_maps.coloured(image, palette)
    else:
        shown = image_grid.narrow(image, loaded.valid, translator.outputs.has_units)
        picture = image_grid.stretched(image, shown)
        caption += image_grid.in_units(shown, translator.outputs.range_of(loaded))
    picture = image_grid.white_elsewhere(picture, loaded.valid)
    thumbnail = translation_page.write_thumbnail(output, item.thumbnail, picture)
    return Item(caption, item.file, thumbnail)


def output_palette(translator: 'Translator') -> np.ndarray | None:
    """Returns the colours of the classes that a run translates to; None: to no classes."""
    _, target = image_spec.of_config(translator.config)
    return class_maps.colours(target.classes, target.colours) if target.classes else None


def _link(path: File, output: epath.Path) -> str:
    """The way from the page to an input file; on another drive or in a bucket its address."""
    if not isinstance(path, epath.Path):  # of an archive
        return str(path)
    if not (atomic.is_local(path) and atomic.is_local(output)):
        return os.fspath(path)
    return os.path.relpath(path, output)
