"""The page of a translation: what went in and what came out, side by side, opened from disk."""

import io
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
from etils import epath
from PIL import Image

from pix2pix_jax.data import augment
from pix2pix_jax.data.folders import GALLERY
from pix2pix_jax.reports import image_grid, run_page
from pix2pix_jax.storage import atomic

SIDE = 320  # pixels of a thumbnail, at most


class Item(NamedTuple):
    """An image on the page: its caption, the file it leads to, and its thumbnail's name."""

    caption: str
    file: str
    thumbnail: str


def write_thumbnail(output: epath.PathLike, name: str, image: np.ndarray) -> str:
    """Writes float `image` (H,W,C) on [-1, 1] as OUTPUT/gallery/NAME.jpg; returns that name."""
    step = max(1, max(image.shape[:2]) // (2 * SIDE))  # a large image is not converted whole
    image, columns = image[::step, ::step], image_grid.across(image)
    if columns > 1:  # small before it is said which channel is which
        image = augment.resized(image, size_within(image, SIDE // columns))
    picture = Image.fromarray(image_grid.to_rgb(image))
    picture.thumbnail((SIDE, SIDE) if columns == 1 else (2 * SIDE, 2 * SIDE))
    stream = io.BytesIO()
    picture.save(stream, 'JPEG', quality=90)
    atomic.write_bytes(epath.Path(output) / GALLERY / f'{name}.jpg', stream.getvalue())
    return f'{name}.jpg'


def size_within(image: np.ndarray, side: int = SIDE) -> tuple[int, int]:
    """Returns the (height, width) of an image (H,W,C) that is scaled down to sides of `side`."""
    height, width = image.shape[:2]
    factor = min(1, side / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def write_page(output: epath.PathLike, title: str, rows: Sequence[tuple[str, list[Item]]]) -> None:
    """Writes OUTPUT/index.html: a card for each of `rows`, (name, images)."""
    body = [
        f'<h1>{run_page.escape(title)}</h1>',
        f'<p class="muted">{len(rows)} translated</p>',
        run_page.grid((_card(name, items) for name, items in rows), minimum=480),
    ]
    atomic.write_text(epath.Path(output) / 'index.html', run_page.document(title, body))


def _card(name: str, items: Sequence[Item]) -> str:
    figures = ''.join(
        f'<a href="{_url(item.file)}"><img src="{GALLERY}/{_url(item.thumbnail)}" loading="lazy" '
        f'title="{run_page.escape(item.caption)}" '
        f'alt="{run_page.escape(f"{name}, {item.caption}")}"></a>'
        for item in items
    )
    captions = run_page.escape(' | '.join(item.caption for item in items))
    return (
        f'<figure class="card"><figcaption><b>{run_page.escape(name)}</b> {captions}</figcaption>'
        f'<div class="row" style="--columns:{len(items)}">{figures}</div></figure>'
    )


def _url(path: str) -> str:
    return run_page.escape(path if '://' in path else quote(path))
