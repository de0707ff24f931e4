"""What a file says beside its pixels: kept where it is true of a translation. The oracle: GDAL.

rasterio may be installed in this environment, or in that of the Python in PIX2PIX_RASTERIO.
"""

import importlib.util
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from etils import epath
from PIL import Image, ImageCms

from pix2pix_jax.data.formats import decode, encode, metadata, orientation

# Writes a GeoTIFF as argv[2] says; or prints what GDAL reads in the file argv[1].
RASTERIO = """
import json, sys
import numpy as np, rasterio
from rasterio.transform import Affine
path, *making = sys.argv[1:]
if making:
    m = json.loads(making[0])
    make = dict(driver='GTiff', height=m['size'][0], width=m['size'][1], count=m['count'],
                dtype=m['dtype'], crs=m['crs'], transform=Affine(*m['transform']))
    make |= {'nodata': m['nodata']} if 'nodata' in m else {}
    with rasterio.open(path, 'w', **make) as f:
        f.write(np.arange(m['count'] * m['size'][0] * m['size'][1]).astype(m['dtype']).reshape(
            m['count'], *m['size']))
        f.update_tags(AREA_OR_POINT=m['raster'], DATE='2026-01-02', TIFFTAG_XRESOLUTION='30',
                      TIFFTAG_YRESOLUTION='20', TIFFTAG_RESOLUTIONUNIT='3 (pixels/cm)')
        for band, name in enumerate(m['names'], 1):
            f.set_band_description(band, name)
            f.update_tags(band, STATISTICS_MEAN='3')
            f.set_band_unit(band, 'metre')
with rasterio.open(path) as f:
    corners = [f.transform * (x, y) for x in (0, f.width) for y in (0, f.height)]
    print(json.dumps(dict(crs=f.crs.to_wkt() if f.crs else '', corners=corners, nodata=f.nodata,
          names=f.descriptions, tags=f.tags(), units=f.units, band=f.tags(1), dtype=f.dtypes[0],
          res=f.res, count=f.count, shear=[f.transform.b, f.transform.d])))
"""
PYTHON = os.environ.get('PIX2PIX_RASTERIO', sys.executable)


@pytest.fixture
def gdal():
    """What GDAL reads in a file, which it first makes where it is told how."""
    if sys.executable == PYTHON and importlib.util.find_spec('rasterio') is None:
        pytest.skip('rasterio is missing: install it, or name a Python that has it in '
                    'PIX2PIX_RASTERIO')  # fmt: skip

    def call(path, making=None):
        args = [PYTHON, '-c', RASTERIO, str(path), *([json.dumps(making)] if making else [])]
        return json.loads(subprocess.run(args, check=True, capture_output=True, text=True).stdout)

    return call


NORTH_UP, TURNED = (0.5, 0, 500_000, 0, -0.25, 4_600_000), (0.5, 0.1, 500_000, 0.2, -0.25, 4e6)
SCENE = {'size': (12, 20), 'count': 3, 'dtype': 'uint16', 'crs': 'EPSG:32633', 'nodata': 7,
         'transform': NORTH_UP, 'raster': 'Area',
         'names': ['red', 'näher', 'infrared']}  # fmt: skip


def written(folder, about, image, extension='.tif'):
    file = epath.Path(folder) / f'out{extension}'
    file.write_bytes(encode.encode(image, extension, about))
    return file


@pytest.mark.parametrize('change', [
    {}, {'transform': TURNED}, {'raster': 'Point'}, {'transform': TURNED, 'raster': 'Point'},
    {'crs': 'EPSG:4326', 'dtype': 'float32', 'nodata': -9999}, {'count': 5, 'names': list('abcde')},
], ids=str)  # fmt: skip
@pytest.mark.parametrize('scale', [(1, 1), (2, 3)], ids=str)
def test_a_georeference_in_and_out(tmp_path, gdal, change, scale):
    scene = SCENE | change
    before = gdal(tmp_path / 'in.tif', scene)
    about = metadata.read(epath.Path(tmp_path) / 'in.tif')
    size = tuple(side * factor for side, factor in zip(scene['size'], scale))
    after = metadata.of_translation(about, size, scene['count'], str(scene['nodata']))
    assert after.size == size
    found = gdal(written(tmp_path, after, np.zeros((*size, scene['count']), scene['dtype'])))
    for name in ('crs', 'nodata', 'names', 'count', 'dtype'):
        assert found[name] == before[name], name
    np.testing.assert_allclose(found['corners'], before['corners'], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found['res'], np.divide(before['res'], scale[::-1]), rtol=1e-12)
    assert found['tags'].pop('TIFFTAG_SOFTWARE') == 'pix2pix_jax'
    resolutions = {'TIFFTAG_XRESOLUTION': 30 * scale[1], 'TIFFTAG_YRESOLUTION': 20 * scale[0]}
    assert {k: float(found['tags'][k]) for k in resolutions} == resolutions
    others = found['tags'].keys() - resolutions
    assert {k: found['tags'][k] for k in others} == {k: before['tags'][k] for k in others}
    assert before['tags'].keys() == found['tags'].keys()
    assert before['units'] == ['metre'] * scene['count'] and not any(found['units'])
    assert 'STATISTICS_MEAN' in before['band'] and 'STATISTICS_MEAN' not in found['band']


def place(geo, x, y):
    """Where the corner at column `x` and row `y` of an image lies, by each of its tie points."""
    if metadata.GEO_KEYS in geo:  # coordinates are of the centres
        x, y = x - 0.5, y - 0.5
    if metadata.TRANSFORMATION in geo:
        return np.reshape(geo[metadata.TRANSFORMATION], (4, 4)) @ (x, y, 0, 1)
    column, row, _, east, north, _ = np.reshape(geo[metadata.TIE_POINTS], (-1, 6)).T
    width, height, _ = geo[metadata.PIXEL_SCALE]
    return np.stack([east + (x - column) * width, north - (y - row) * height])


@pytest.mark.parametrize('keys', [{}, {metadata.GEO_KEYS: (1, 1, 0, 1, 1025, 0, 1, 2)}])
@pytest.mark.parametrize('geo', [
    {metadata.PIXEL_SCALE: (0.5, 0.25, 0), metadata.TIE_POINTS: (0, 0, 0, 5e5, 4e6, 0)},
    {metadata.PIXEL_SCALE: (3, 3, 0), metadata.TIE_POINTS: (5, 2, 0, 7, 8, 0, 9, 6, 0, 19, -4, 0)},
    {metadata.TRANSFORMATION: (0.5, 0.1, 0, 5e5, 0.2, -0.25, 0, 4e6, *np.eye(4)[2:].ravel())},
], ids=['one point', 'two points', 'turned'])  # fmt: skip
def test_corners_stay_where_they_are(geo, keys):
    before = metadata.Metadata((12, 20), 3, geo=geo | keys)
    after = metadata.of_translation(before, (36, 40), 3, '').geo
    for x, y in ((0, 0), (20, 0), (0, 12), (20, 12), (7, 3)):
        np.testing.assert_allclose(place(after, 2 * x, 3 * y), place(before.geo, x, y), rtol=1e-12)


def test_names_of_bands_go_where_bands_do(tmp_path, gdal):
    gdal(tmp_path / 'in.tif', SCENE)
    about = metadata.read(epath.Path(tmp_path) / 'in.tif')
    for channels, has_classes in ((1, False), (3, True)):
        after = metadata.of_translation(about, (12, 20), channels, '', has_classes)
        found = gdal(written(tmp_path, after, np.zeros((12, 20, channels), np.uint16)))
        assert not any(found['names']) and found['nodata'] is None
        assert found['tags']['DATE'] == '2026-01-02' and found['crs']


def profile(mode):
    """An ICC profile: of sRGB, or one that says it is of gray."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    return data if mode == 'RGB' else data[:16] + b'GRAY' + data[20:]


@pytest.mark.parametrize('extension', ['.png', '.jpg', '.webp', '.tif'])
@pytest.mark.parametrize('dtype', ['uint8', 'uint16'])
def test_profile_and_resolution_of_pictures(tmp_path, extension, dtype):
    if dtype == 'uint16' and extension in ('.jpg', '.webp'):
        pytest.skip('the format has 8 bits')
    about = metadata.Metadata((8, 6), 3, resolution=(300, 150), unit=metadata.INCH)
    about = about._replace(icc=profile('RGB'))
    file = written(tmp_path, about, np.full((8, 6, 3), 99, dtype), extension)
    found = metadata.read(file)
    assert found.icc == about.icc and decode.read_pixels(file).values.dtype == dtype
    if extension != '.webp':  # which has no resolution
        np.testing.assert_allclose(found.dpi, (300, 150), atol=0.02)
    twice = metadata.of_translation(found, (16, 12), 3, '')
    assert twice.icc and twice.size == (16, 12)
    if extension != '.webp':
        np.testing.assert_allclose(twice.dpi, (600, 300), atol=0.04)
    assert not metadata.of_translation(found, (8, 6), 1, '').icc
    assert not metadata.of_translation(found, (8, 6), 3, '', has_classes=True).icc


def test_a_profile_of_gray_is_of_one_channel(tmp_path):
    about = metadata.Metadata((8, 6), 1, icc=profile('L'))
    found = metadata.read(written(tmp_path, about, np.zeros((8, 6, 1), np.uint8), '.png'))
    assert metadata.of_translation(found, (8, 6), 1, '').icc == about.icc
    assert not metadata.of_translation(found, (8, 6), 3, '').icc


def test_resolution_of_a_photo_that_is_turned(tmp_path):
    image, exif = Image.new('RGB', (6, 8)), Image.Exif()
    exif[orientation.TAG] = 6
    image.save(tmp_path / '1.jpg', exif=exif, dpi=(300, 150))
    found = metadata.read(epath.Path(tmp_path) / '1.jpg')
    assert found.dpi == (150, 300) and found.size == (6, 8)


def test_centimetres_become_inches_and_no_unit_none(tmp_path):
    about = metadata.Metadata((4, 4), resolution=(100, 50), unit=metadata.CENTIMETRE)
    assert about.dpi == (254, 127) and about._replace(unit=1).dpi is None
    file = written(tmp_path, about._replace(unit=1), np.zeros((4, 4, 1), np.uint8))
    found = metadata.read(file)
    assert found.resolution == (100, 50) and found.unit == 1 and found.dpi is None


def test_a_file_of_nothing_but_pixels(tmp_path):
    np.save(tmp_path / '1.npy', np.zeros((5, 7)))
    found = metadata.read(epath.Path(tmp_path) / '1.npy')
    assert found == metadata.Metadata((5, 7))
    after = metadata.of_translation(found, (10, 14), 3, '')
    for extension in ('.png', '.tif'):
        plain = encode.encode(np.zeros((10, 14, 3), np.uint8), extension)
        assert encode.encode(np.zeros((10, 14, 3), np.uint8), extension, after) == plain
    with tifffile.TiffFile(io.BytesIO(plain)) as tiff:
        assert 'ImageDescription' not in tiff.pages[0].tags


@pytest.mark.parametrize('tag', [
    (33550, 'd', 1, 0.5, True), (33550, 'd', 2, (0.5, 0.5), True), (33550, 's', 0, 'text', True),
    (33922, 'd', 5, (0, 0, 0, 9, 8), True), (34264, 'd', 3, (1, 2, 3), True),
    (34735, 'H', 3, (1, 1, 0), True), (34737, 'd', 1, 3.0, True), (42112, 'B', 2, b'ab', True),
    (42113, 'd', 1, 7.0, True), (34675, 'H', 2, (3, 4), True),
], ids=str)  # fmt: skip
def test_what_is_not_as_it_must_be_says_nothing(tmp_path, tag):
    file = epath.Path(tmp_path) / '1.tif'
    tifffile.imwrite(str(file), np.zeros((8, 6), np.uint8), extratags=[tag])
    found = metadata.read(file)
    assert found == metadata.Metadata((8, 6), 1, resolution=(1, 1), unit=1)
    after = metadata.of_translation(found, (16, 12), 1, '')
    encode.encode(np.zeros((16, 12, 1), np.uint8), '.tif', after)
