import collections

import numpy as np
import pytest
from PIL import Image

from pix2pix_jax.data import augment

SIZES = [((16, 16), (20, 24)), ((16, 16), (16, 16)), ((12, 20), (40, 30))]


def random_image(height, width, channels=3, dtype=np.uint8, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, channels)).astype(dtype)


@pytest.mark.parametrize('size,source', SIZES)
def test_jitter_stays_inside_and_is_uniform(size, source):
    rng = np.random.default_rng(0)
    drawn = [augment.random_window(rng, source, size, 1.25, True) for _ in range(2000)]
    boxes = np.array([window.box for window in drawn])
    (height, width), load = source, [round(1.25 * s) for s in size]
    assert boxes.min() >= 0
    assert (boxes[:, 2] <= width).all() and (boxes[:, 3] <= height).all()
    np.testing.assert_allclose(boxes[:, 2] - boxes[:, 0], size[1] / load[1] * width)
    for axis, i, extent in ((0, 1, height), (1, 0, width)):
        offsets = np.rint(boxes[:, i] * load[axis] / extent).astype(int)
        counts = np.bincount(offsets, minlength=load[axis] - size[axis] + 1)
        assert len(counts) == load[axis] - size[axis] + 1  # 0 and load - size are both drawn
        assert counts.min() > 0.6 * counts.mean() and counts.max() < 1.4 * counts.mean()
    assert 0.45 < np.mean([window.flip for window in drawn]) < 0.55


def test_no_jitter_and_no_mirror_is_the_whole_image():
    rng = np.random.default_rng(0)
    for _ in range(20):
        window = augment.random_window(rng, (30, 40), (16, 16), 1.0, False)
        assert window == augment.whole_image(30, 40)


def test_mirror_leaves_the_crops_as_they_are():
    a, b = np.random.default_rng(3), np.random.default_rng(3)
    for _ in range(20):
        with_flip = augment.random_window(a, (30, 40), (16, 16), 1.5, True)
        assert with_flip.box == augment.random_window(b, (30, 40), (16, 16), 1.5, False).box


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('method', ['bicubic', 'nearest'])
@pytest.mark.parametrize('size,source', SIZES)
def test_equals_resize_then_crop_then_flip(size, source, method, channels):
    image = random_image(*source, channels)
    rng = np.random.default_rng(1)
    load = [round(s * 286 / 256) for s in size]
    for _ in range(30):
        window = augment.random_window(rng, source, size, 286 / 256, True)
        left, top = (
            round(window.box[i] * load[1 - i] / source[1 - i]) for i in (0, 1)
        )  # the crop's offset in the resized image
        if method == 'bicubic':
            full = Image.fromarray(image.squeeze()).resize(load[::-1], Image.Resampling.BICUBIC)
            full = np.asarray(full).reshape(*load, channels)
        else:  # floor((i + 1/2) * source / load), in integers
            rows, columns = ((2 * np.arange(n) + 1) * m // (2 * n) for n, m in zip(load, source))
            full = image[rows][:, columns]
        expected = full[top : top + size[0], left : left + size[1]]
        expected = expected[:, ::-1] if window.flip else expected
        result = augment.crop_and_resize(image, window, size, method)
        assert result.shape == (*size, channels) and result.dtype == np.uint8
        difference = np.abs(result.astype(int) - expected)
        assert difference.max() <= (1 if method == 'bicubic' else 0)


@pytest.mark.parametrize('size,source', SIZES)
def test_resized_then_cut_is_pillows_resize_then_crop(size, source):
    image, rng = random_image(*source), np.random.default_rng(1)
    load = augment.loaded_size(*source, size, 286 / 256, 'resize_and_crop')
    loaded = augment.resized(image, load)
    whole = Image.fromarray(image).resize(load[::-1], Image.Resampling.BICUBIC)
    for _ in range(10):
        crop = augment.random_crop(rng, load, size, True)
        box = (crop.left, crop.top, crop.left + size[1], crop.top + size[0])
        expected = whole.crop(box)
        if crop.flip:
            expected = expected.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        np.testing.assert_array_equal(augment.cut(loaded, crop, size), np.asarray(expected))


@pytest.mark.parametrize('channels', [1, 2, 3, 5])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
def test_a_flip_is_numpys(channels, dtype):
    image = random_image(9, 12, channels, dtype)
    for part in (image, image[2:7, 3:8], image[::-1], image.transpose(1, 0, 2), image[..., ::-1]):
        flipped = augment.cut(part, augment.Crop(0, 0, True), part.shape[:2])
        np.testing.assert_array_equal(flipped, part[:, ::-1])
        assert flipped.dtype == dtype


def test_unchanged_where_nothing_is_to_do():
    image = random_image(8, 10)
    result = augment.crop_and_resize(image, augment.whole_image(8, 10), (8, 10))
    np.testing.assert_array_equal(result, image)
    flipped = augment.crop_and_resize(
        image, augment.whole_image(8, 10)._replace(flip=True), (8, 10)
    )
    np.testing.assert_array_equal(flipped, image[:, ::-1])


@pytest.mark.parametrize('channels', [1, 2, 3, 4, 6])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
def test_planes_do_not_touch_each_other(channels, dtype):
    image = random_image(9, 11, channels, dtype)
    if channels == 4:
        image[:, :5, 3] = 0  # transparent: a resize weighted by alpha would lose the colours
    rng = np.random.default_rng(0)
    window = augment.random_window(rng, (9, 11), (16, 16), 1.1, True)
    result = augment.crop_and_resize(image, window, (16, 16))
    assert result.shape == (16, 16, channels) and result.dtype == dtype
    for i in range(channels):
        plane = augment.crop_and_resize(image[..., i : i + 1], window, (16, 16))
        np.testing.assert_array_equal(result[..., i : i + 1], plane)


def test_overshoot_is_clipped():
    image = np.zeros((8, 8, 1), np.uint16)
    image[:, 4:] = 65535
    result = augment.crop_and_resize(image, augment.whole_image(8, 8), (32, 32))
    assert result.min() == 0 and result.max() == 65535
    assert np.all(np.diff(result[0, 10:22, 0].astype(int)) >= 0)  # no wrap-around at the edge


def test_ranges():
    values = np.arange(256, dtype=np.uint8)
    scaled = augment.to_float(values)
    assert scaled.dtype == np.float32
    assert (scaled[0], scaled[255]) == (-1, 1)
    np.testing.assert_allclose(scaled, values / 127.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(augment.from_float(scaled), values)
    np.testing.assert_array_equal(augment.to_float(np.array([0, 65535], np.uint16)), [-1, 1])
    np.testing.assert_array_equal(augment.from_float([-7.0, 7.0]), [0, 255])
    np.testing.assert_array_equal(augment.from_float([0.4 / 127.5, 0.6 / 127.5]), [128, 128])


# ---------------------------------------------------------------- beside the paper's jitter


@pytest.mark.parametrize('size', [(8, 8), (8, 12)])
def test_poses_are_the_symmetries_of_the_image(size):
    image, rng = random_image(*size), np.random.default_rng(0)
    whole = augment.whole_image(*size)
    seen, poses = set(), []
    for _ in range(300):
        pose = augment.random_pose(rng, whole, size, vertical=True, turn=True)
        poses.append(pose)
        result = augment.crop_and_resize(image, pose._replace(flip=rng.random() < 0.5), size)
        assert result.shape == image.shape
        seen.add(result.tobytes())
    turned = (
        [np.rot90(image, k) for k in range(4)] if size == (8, 8) else [image, image[::-1, ::-1]]
    )
    assert seen == {view.tobytes() for t in turned for view in (t, t[:, ::-1])}
    flips, turns = ([getattr(pose, name) for pose in poses] for name in ('vertical', 'turns'))
    for counts in map(collections.Counter, (flips, turns)):  # each is as likely as the others
        assert min(counts.values()) > 0.7 * max(counts.values())


def test_poses_that_are_off_draw_all_the_same():
    a, b = np.random.default_rng(0), np.random.default_rng(0)
    whole = augment.whole_image(8, 8)
    for _ in range(20):
        assert augment.random_pose(a, whole, (8, 8), False, False) == whole
        augment.random_pose(b, whole, (8, 8), True, True)
    assert a.random() == b.random()


def test_tints():
    image = np.random.default_rng(0).uniform(-0.5, 0.5, (6, 6, 3)).astype(np.float32)
    tint = augment.Tint
    same = augment.apply_tint(image, tint(1, 1, 1))
    np.testing.assert_allclose(same, image, atol=1e-6)
    assert same.dtype == np.float32
    np.testing.assert_allclose(augment.apply_tint(image, tint(0, 1, 1)), -1)  # black
    flat = augment.apply_tint(image, tint(1, 0, 1))
    np.testing.assert_allclose(flat, image.mean(), atol=1e-6)
    gray = augment.apply_tint(image, tint(1, 1, 0))
    np.testing.assert_allclose(gray, np.repeat(gray[..., :1], 3, -1), atol=1e-6)
    np.testing.assert_allclose(gray[..., 0], image @ (0.299, 0.587, 0.114), atol=1e-6)
    for i, none in enumerate((np.float32(-1), flat, gray)):  # half of it lies halfway
        half = augment.apply_tint(image, tint(*(1 - np.eye(3)[i] / 2)))
        np.testing.assert_allclose(half, (image + none) / 2, atol=1e-6)
    strong = augment.apply_tint(image, tint(2, 2, 2))
    assert strong.min() >= -1 and strong.max() <= 1 and strong.std() > image.std()
    for channels in (1, 2):  # saturation is of RGB alone
        plane = image[..., :1].repeat(channels, -1)
        np.testing.assert_allclose(augment.apply_tint(plane, tint(1, 1, 0)), plane, atol=1e-6)
    rgba = np.concatenate([image, image[..., :1]], axis=-1)
    tinted = augment.apply_tint(rgba, tint(0.5, 1.2, 0.7))
    np.testing.assert_array_equal(tinted[..., 3], rgba[..., 3])
    np.testing.assert_array_equal(tinted[..., :3], augment.apply_tint(image, tint(0.5, 1.2, 0.7)))


def test_tints_are_uniform_about_one():
    rng = np.random.default_rng(0)
    drawn = np.array([augment.random_tint(rng, 0.3) for _ in range(500)])
    assert drawn.min() > 0.7 and drawn.max() < 1.3
    np.testing.assert_allclose(drawn.mean(0), 1, atol=0.03)
    np.testing.assert_allclose(drawn.std(0), 0.3 / np.sqrt(3), rtol=0.05)


# ---------------------------------------------------------------- other sizes than the network's

MODES = ('resize_and_crop', 'scale_width_and_crop', 'scale_width', 'crop')


def scales(window, size):
    """Pixels of the result for one of the image, down and across."""
    left, top, right, bottom = window.box
    return size[0] / (bottom - top), size[1] / (right - left)


@pytest.mark.parametrize('shape', [(100, 200), (200, 100), (64, 96), (10, 11), (300, 90)])
@pytest.mark.parametrize('preprocess', MODES)
def test_what_is_cut_lies_in_the_image_at_the_modes_scale(preprocess, shape):
    size, jitter = (64, 96), 1.25
    geometries = [
        augment.random_window(np.random.default_rng(i), shape, size, jitter, True, preprocess)
        for i in range(20)
    ]
    for window in geometries:
        left, top, right, bottom = window.box
        assert 0 <= left < right <= shape[1] + 1e-9 and 0 <= top < bottom <= shape[0] + 1e-9
        down, across = scales(window, size)
        if preprocess == 'resize_and_crop':
            assert down == pytest.approx(size[0] * jitter / shape[0])
            assert across == pytest.approx(size[1] * jitter / shape[1], abs=0.01)
            continue
        assert down == pytest.approx(across, rel=0.1)  # proportions stay, but for rounding
        fits = max(size[0] / shape[0], size[1] / shape[1])  # the smallest at which the crop fits
        wanted = {'crop': 1, 'scale_width': size[1] / shape[1]}
        wanted = wanted.get(preprocess, size[1] * jitter / shape[1])
        assert across == pytest.approx(max(wanted, fits), rel=0.1)
    room = preprocess == 'crop' and (shape[0] > size[0] or shape[1] > size[1])
    if room:
        assert len({window.box for window in geometries}) > 5


@pytest.mark.parametrize('shape', [(100, 200), (200, 100), (64, 96), (10, 11)])
@pytest.mark.parametrize('preprocess', MODES)
def test_testing_takes_the_middle(preprocess, shape):
    left, top, right, bottom = augment.centre_window(shape, (64, 96), preprocess).box
    assert abs(left - (shape[1] - right)) <= shape[1] / 64
    assert abs(top - (shape[0] - bottom)) <= shape[0] / 64
    if preprocess == 'resize_and_crop':
        assert (left, top, right, bottom) == (0, 0, shape[1], shape[0])


def test_a_crop_is_the_images_own_pixels():
    image = np.random.default_rng(0).integers(0, 256, (100, 130, 3), dtype=np.uint8)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        window = augment.random_window(rng, (100, 130), (64, 96), 1.25, False, 'crop')
        left, top, right, bottom = map(int, window.box)
        found = augment.crop_and_resize(image, window, (64, 96))
        np.testing.assert_array_equal(found, image[top:bottom, left:right])
