"""What a file says of its image beside the pixels, and what of it is true of a translation.

That is where the image lies on the Earth (GeoTIFF), which value is no-data, the names of its bands,
its resolution and its ICC profile.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from pix2pix_jax.data.formats import decode, orientation, tiff_npy
from pix2pix_jax.data.formats.pixels import File

if TYPE_CHECKING:
    import tifffile

# Tags of GeoTIFF (OGC 19-008r4), and the types in which they are stored.
PIXEL_SCALE, TIE_POINTS, TRANSFORMATION, GEO_KEYS = 33550, 33922, 34264, 34735
GEO_TAGS = {PIXEL_SCALE: 'd', TIE_POINTS: 'd', TRANSFORMATION: 'd', GEO_KEYS: 'H'}
GEO_TAGS |= {34736: 'd', 34737: 's'}  # the doubles and the texts of keys
LENGTHS = {PIXEL_SCALE: 3, TRANSFORMATION: 16}  # of what has one
MULTIPLES = {TIE_POINTS: 6, GEO_KEYS: 4}
RASTER_TYPE, IS_POINT = 1025, 2  # a key, and its value where coordinates are of the pixels' centres
GDAL_METADATA, ICC = 42112, 34675
UNTRUE = ('scale', 'offset', 'unittype')  # roles of GDAL's items that are of the input's values
INCH, CENTIMETRE = 2, 3  # units of resolution
CM = 2.54  # of an inch


class Metadata(NamedTuple):
    """What a file says of its image beside the pixels."""

    size: tuple[int, int]  # (height, width), as it is read
    channels: int = 0  # 0: not known
    geo: dict[int, Sequence | str] = {}  # the values of the tags in GEO_TAGS
    items: str = ''  # GDAL's metadata, XML
    nodata: str = ''  # the value of pixels without data
    resolution: tuple[float, float] = (0.0, 0.0)  # pixels per unit, in x and y; 0: not said
    unit: int = 1  # INCH, CENTIMETRE, or 1: none
    icc: bytes = b''
    opacity: bool | None = None  # whether the last channel is it; None: not known

    @property
    def dpi(self) -> tuple[float, float] | None:
        """Pixels per inch in x and y; None: not said."""
        factor = {INCH: 1.0, CENTIMETRE: CM}.get(self.unit, 0.0)
        x, y = self.resolution
        return (x * factor, y * factor) if x * y * factor else None


def read(file: File) -> Metadata:
    """Returns what a file says of its image; raises DataError, naming it."""
    with decode.naming(file):
        with file.open('rb') as stream:
            magic = stream.read(4)
            stream.seek(0)
            if tiff_npy.is_npy(magic):
                return Metadata(tiff_npy.head_of_npy(stream).shape[:2])
            if tiff_npy.is_tiff(magic):
                import tifffile

                with tifffile.TiffFile(stream) as tiff:
                    return _of_tiff(tiff)
            with Image.open(stream, formats=decode.FORMATS) as image:
                dpi, icc = image.info.get('dpi', (0, 0)), image.info.get('icc_profile') or b''
                turned = orientation.noted(image) in orientation.ROTATED
                size = image.size if turned else image.size[::-1]
        x, y = map(float, dpi[::-1] if turned else dpi)
        return Metadata(size, resolution=(x, y), unit=INCH, icc=icc)


def _of_tiff(tiff: 'tifffile.TiffFile') -> Metadata:
    """Returns what the tags say; one that is not as it must be says nothing."""
    head, tags = tiff_npy.head_of_tiff(tiff), tiff.series[0].keyframe.tags
    x, y = (
        value[0] / value[1] if isinstance(value, tuple) and len(value) == 2 and value[1] else 0.0
        for value in (tags.valueof('XResolution'), tags.valueof('YResolution'))
    )
    unit, icc = tags.valueof('ResolutionUnit', default=INCH), tags.valueof(ICC)
    items = tags.valueof(GDAL_METADATA)
    return Metadata(
        head.shape[:2],
        head.channels,
        {tag: tags.valueof(tag) for tag in GEO_TAGS if _is_right(tag, tags.valueof(tag))},
        items if isinstance(items, str) else '',
        head.nodata,
        (x, y),
        int(unit) if unit in (INCH, CENTIMETRE) else 1,
        icc if isinstance(icc, bytes) else b'',
        head.opacity if head.channels == 4 else None,
    )


def _is_right(tag: int, value: Any) -> bool:
    """Whether a tag is there and has the type and the length of a georeference."""
    if GEO_TAGS[tag] == 's':
        return isinstance(value, str) and bool(value)
    if not isinstance(value, tuple) or not all(isinstance(one, int | float) for one in value):
        return False
    count = len(value)
    return count == LENGTHS.get(tag, count) and count % MULTIPLES.get(tag, 1) == 0


def of_translation(
    about: Metadata, size: tuple[int, int], channels: int, nodata: str, has_classes: bool = False
) -> Metadata:
    """Returns what of an input's metadata is true of its translation.

    Coordinates and resolution follow the size. Names of bands stay where there are as many, the
    profile where it is of as many colours. Statistics and units of the input's values go.

    Args:
      about: of the input.
      size: (height, width) of the translation.
      channels: of the translation.
      nodata: the value of its pixels without data; '': there is none.
      has_classes: whether its values are indices, of which no profile is true.
    """
    down, right = (new / old for new, old in zip(size, about.size))
    same_bands = channels == about.channels and not has_classes
    colours = {b'GRAY': (1,), b'RGB ': (3, 4)}.get(about.icc[16:20], ())
    x, y = about.resolution
    return about._replace(
        size=size,
        channels=channels,
        geo=_rescaled(about.geo, right, down),
        items=_true_items(about.items, same_bands),
        nodata=nodata,
        resolution=(x * right, y * down),
        icc=about.icc if channels in colours and not has_classes else b'',
        opacity=about.opacity if same_bands else None,
    )


def _rescaled(geo: dict[int, Sequence | str], x: float, y: float) -> dict[int, Sequence | str]:
    """Returns the georeference of an image that became `x` times as wide and `y` times as high."""
    if (x, y) == (1, 1):
        return geo
    half = _half_pixel(geo)  # where the corner of a pixel lies, of its coordinates
    found = dict(geo)
    if PIXEL_SCALE in geo:
        east, north, up = map(float, geo[PIXEL_SCALE])
        found[PIXEL_SCALE] = (east / x, north / y, up)
    if TIE_POINTS in geo:
        values = [*map(float, geo[TIE_POINTS])]
        for i in range(0, len(values), 6):
            values[i] = (values[i] + half) * x - half
            values[i + 1] = (values[i + 1] + half) * y - half
        found[TIE_POINTS] = tuple(values)
    if TRANSFORMATION in geo:
        values = [*map(float, geo[TRANSFORMATION])]
        for row in range(0, 12, 4):
            a, b = values[row], values[row + 1]
            values[row + 3] += half * (a / x - a + b / y - b)
            values[row], values[row + 1] = a / x, b / y
        found[TRANSFORMATION] = tuple(values)
    return found


def _half_pixel(geo: dict[int, Sequence | str]) -> float:
    keys = [*map(int, geo.get(GEO_KEYS, ()))]
    entries = zip(keys[4::4], keys[7::4])
    return 0.5 if (RASTER_TYPE, IS_POINT) in entries else 0.0


def _true_items(xml: str, same_bands: bool) -> str:
    """Returns GDAL's items without statistics and units, and without those of bands that went."""

    def stays(item: str) -> bool:
        start = item.partition('>')[0]
        role = re.search(r'role="([^"]*)"', start)
        if 'name="STATISTICS_' in start or (role and role[1] in UNTRUE):
            return False
        return same_bands or 'sample="' not in start

    items = re.findall(r'<Item\b.*?</Item>', xml, re.DOTALL)
    kept = [f'  {item}' for item in items if stays(item)]
    return '\n'.join(['<GDALMetadata>', *kept, '</GDALMetadata>', '']) if kept else ''


def tiff_options(about: Metadata) -> dict[str, Any]:
    """Returns the arguments with which tifffile writes it."""
    texts = {GDAL_METADATA: about.items, tiff_npy.GDAL_NODATA: about.nodata}
    values = about.geo | {tag: text for tag, text in texts.items() if text}
    tags: list[tuple] = []
    for tag, value in values.items():
        if isinstance(value, str):
            tags.append((tag, 's', 0, value.encode(), True))
        else:
            tags.append((tag, GEO_TAGS[tag], len(value), value, True))
    options: dict[str, Any] = {'extratags': tags}
    if all(about.resolution):
        options |= {'resolution': about.resolution, 'resolutionunit': about.unit}
    return options | ({'iccprofile': about.icc} if about.icc else {})


def pillow_options(about: Metadata) -> dict[str, Any]:
    """Returns the arguments with which Pillow writes it."""
    found = {'icc_profile': about.icc or None, 'dpi': about.dpi}
    return {name: value for name, value in found.items() if value}
