"""Scenes from file to file by windows: the same as whole, and after a kill the rest."""

import errno

import numpy as np
import pytest
import tifffile
from etils import epath

from pix2pix_jax import config, translate
from pix2pix_jax.data import augment
from pix2pix_jax.data.formats import decode, encode, metadata
from pix2pix_jax.errors import run_command
from pix2pix_jax.inference import generator, loaded_run, scene, scenes, tile_plan, translator
from pix2pix_jax.inference.inputs import Input
from pix2pix_jax.storage import atomic, user_paths

SIZE = 16


def run(*args):
    """The exit status of the command with these flags."""
    flags = ['translate', '--workdir=run', *args]
    with pytest.raises(SystemExit) as stopped:
        run_command(translate.main, translate.define_flags, flags)
    return stopped.value.code


@pytest.fixture
def trained():
    """The config of the run."""
    c = config.default_config()
    c.image_size, c.generator.norm, c.generator.depth = (SIZE, SIZE), 'none', 4
    return c


@pytest.fixture(autouse=True)
def network(monkeypatch, trained):
    """A run whose generator negates, and fades with the number of the sample."""
    monkeypatch.setattr(loaded_run, 'load_run', lambda *_: loaded_run.Run(trained, 7, 'last', {}))

    def create(config, variables, **switches):
        def negate(images, sample=0):
            channels = trained.generator.output_channels
            return -images[..., :channels] / (1 + sample)

        def each(windows, sample, scene):
            darker = scene['norm']['mean'][0] if scene else 0
            return (negate(x[None], sample)[0] - darker for x, _ in windows)

        def statistics(windows, sample):
            means = [x.mean() / (2 + sample) for x, _ in windows]
            return {'norm': {'mean': np.full(1, np.mean(means), np.float32)}}

        negate.each, negate.scene, negate.checksum = each, statistics, lambda: 7
        return negate

    monkeypatch.setattr(generator, 'Generator', create)


@pytest.fixture
def whole(monkeypatch):
    """Translates as images that are read whole, whatever they are."""

    def call(*args):
        with monkeypatch.context() as patch:
            patch.setattr(scenes, 'is_scene', lambda *_: False)
            return run(*args)

    return call


def image_of(shape=(75, 90, 3), dtype='uint16', seed=0):
    rng = np.random.default_rng(seed)
    if dtype[0] == 'f':
        return rng.random(shape, dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def write(path, image, **options):
    photometric = 'rgb' if image.shape[-1] == 3 else 'minisblack'
    tifffile.imwrite(path, image, photometric=photometric, **options)


def values(path):
    return decode.read_pixels(epath.Path(path)).values


def pages(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'float32'])
@pytest.mark.parametrize('extension', ['.TIF', '.npy'])
def test_a_scene_is_what_the_whole_image_is(tmp_path, whole, extension, dtype):
    image, place = image_of(dtype=dtype), tmp_path / f'scene{extension}'
    if extension == '.npy':
        np.save(place, image)
    else:
        write(place, image, tile=(16, 32), compression='zlib')
    for call, output in ((run, 'windows'), (whole, 'whole')):
        assert call(f'--input={place}', f'--output={tmp_path / output}', '--tile=32') == 0
    found, expected = (values(tmp_path / o / place.name) for o in ('windows', 'whole'))
    np.testing.assert_array_equal(found, expected, strict=True)
    assert pages(tmp_path / 'windows') == pages(tmp_path / 'whole')
    a, b = ((tmp_path / o / 'index.html').read_text() for o in ('windows', 'whole'))
    assert a == b


@pytest.mark.parametrize('big', [False, True])
def test_the_output_is_tiled(tmp_path, monkeypatch, big):
    write(tmp_path / '1.tif', image_of((600, 700, 3), 'uint8'))
    monkeypatch.setattr(encode, 'CLASSIC', 600 * 700 * 3 - big)
    assert run(f'--input={tmp_path / "1.tif"}', f'--output={tmp_path / "out"}', '--tile=256') == 0
    with tifffile.TiffFile(tmp_path / 'out/1.tif') as tiff:
        assert tiff.pages[0].tile == (256, 256) and tiff.is_bigtiff == big
    expected = 255 - values(tmp_path / '1.tif')
    np.testing.assert_array_equal(values(tmp_path / 'out/1.tif'), expected)


def test_a_kill_costs_one_row_of_tiles(tmp_path, trained, monkeypatch, capsys):
    write(tmp_path / '1.tif', image_of((128, 48, 3)))
    flags = f'--input={tmp_path / "1.tif"}', f'--output={tmp_path / "out"}', '--tile=32'
    rows, computed = translator.Translator.rows, []

    def some(self, *args):
        for top, part in rows(self, *args):
            if len(computed) == 2:
                raise KeyboardInterrupt
            computed.append(top)
            yield top, part

    with monkeypatch.context() as patch:
        patch.setattr(translator.Translator, 'rows', some)
        assert run(*flags) == 130
        assert computed == [0, 32]
        assert not (tmp_path / 'out/1.tif').exists()
        computed[:] = [-1]
        assert run(*flags) == 130  # one more row, then it is stopped again
        assert computed == [-1, 64]
    assert run(*flags) == 0
    assert 'out/1.tif: continues after 96 of 128 rows' in capsys.readouterr().out
    np.testing.assert_array_equal(values(tmp_path / 'out/1.tif'), 65535 - values(flags[0][8:]))
    assert pages(tmp_path / 'out') == ['1.tif', 'gallery', 'index.html']


def test_statistics_of_a_scene_outlive_a_kill(tmp_path, trained, monkeypatch, capsys):
    """They are found once for each sample, and where the scene has data is not read again."""
    trained.generator.norm, trained.dataset.nodata = 'instance', '0'
    write(tmp_path / '1.tif', image_of((128, 48, 3)))
    folder = f'--input={tmp_path / "1.tif"}'
    flags = '--tile=32', '--samples=2'
    assert run(folder, f'--output={tmp_path / "once"}', *flags) == 0
    rows, windows = translator.Translator.rows, translator.Translator.scene_windows
    find, computed, searched = tile_plan.scene_statistics, [], []
    kills = iter((1, 0, 2, None, None))  # rows of tiles before each; the last is of sample 1

    def some(self, *args):
        kill = next(kills)
        for count, part in enumerate(rows(self, *args)):
            if count == kill:
                raise KeyboardInterrupt
            yield part

    def counted(generator, plan, canvas, sample, corners):
        computed.append(sample)
        return find(generator, plan, canvas, sample, corners)

    monkeypatch.setattr(translator.Translator, 'rows', some)
    monkeypatch.setattr(tile_plan, 'scene_statistics', counted)
    monkeypatch.setattr(
        translator.Translator, 'scene_windows', lambda *a: searched.append(1) or windows(*a)
    )
    for _ in range(3):
        assert run(folder, f'--output={tmp_path / "out"}', *flags) == 130
    assert computed == [0] and len(searched) == 1
    assert run(folder, f'--output={tmp_path / "out"}', *flags) == 0
    assert computed == [0, 1]
    for name in ('1_s0.tif', '1_s1.tif'):
        np.testing.assert_array_equal(
            values(tmp_path / 'out' / name), values(tmp_path / 'once' / name)
        )
    assert capsys.readouterr().out.count('1_s0: statistics of the norms from') == 2  # once each


def test_a_command_leaves_the_rows_of_others(tmp_path, trained, monkeypatch, capsys):
    for name in '12':
        write(tmp_path / f'{name}.tif', image_of((128, 48, 3)))
    first, second = (f'--input={tmp_path / name}.tif' for name in '12')
    out = f'--output={tmp_path / "out"}', '--tile=32'
    rows = translator.Translator.rows

    def some(self, *args):
        yield next(rows(self, *args))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(translator.Translator, 'rows', some)
        assert run(first, *out) == 130
    assert run(second, *out) == 2  # as of any folder that holds files
    assert run(second, *out, '--overwrite') == 0
    assert run(first, *out) == 0
    assert 'out/1.tif: continues after 32 of 128 rows' in capsys.readouterr().out
    assert not list((tmp_path / 'out').glob('.*'))


def test_other_weights_of_the_same_step_start_anew(tmp_path, trained, monkeypatch, capsys):
    """As of a run that was trained again into the same folder."""
    write(tmp_path / '1.tif', image_of((128, 48, 3)))
    flags = f'--input={tmp_path / "1.tif"}', f'--output={tmp_path / "out"}', '--tile=32'
    rows, create = translator.Translator.rows, generator.Generator

    def some(self, *args):
        yield next(rows(self, *args))
        raise KeyboardInterrupt

    def retrained(*args, **switches):
        network = create(*args, **switches)
        network.checksum = lambda: 8
        return network

    with monkeypatch.context() as patch:
        patch.setattr(translator.Translator, 'rows', some)
        assert run(*flags) == 130
    monkeypatch.setattr(generator, 'Generator', retrained)
    assert run(*flags) == 0
    assert 'step 7, weights 00000007 -> step 7, weights 00000008' in capsys.readouterr().out


@pytest.mark.parametrize('place', ['small', 'write_page'])
def test_the_same_command_goes_on_wherever_it_was_killed(tmp_path, monkeypatch, place):
    """Also before the thumbnails and before the page; what it was writing is removed."""
    write(tmp_path / '1.tif', image_of((128, 48, 3)))
    flags = f'--input={tmp_path / "1.tif"}', f'--output={tmp_path / "out"}', '--tile=32'

    def killed(*_):
        (tmp_path / 'out/.1.tif.99999999.tmp').write_bytes(b'half')
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if place == 'small':
            patch.setattr(scenes, '_small', killed)
        else:
            patch.setattr('pix2pix_jax.reports.translation_page.write_page', killed)
        assert run(*flags) == 130
    assert run(*flags) == 0
    assert pages(tmp_path / 'out') == ['1.tif', 'gallery', 'index.html']
    assert not list((tmp_path / 'out').glob('.*'))


def test_scenes_that_are_done_are_not_done_again(tmp_path, monkeypatch):
    """Of three, the second is killed: the first stays as it is."""
    for name in 'abc':
        write(tmp_path / f'{name}.tif', image_of())
    places = f'--input={tmp_path}/*.tif', f'--output={tmp_path / "out"}', '--tile=32'
    rows, read = translator.Translator.rows, []

    def some(self, *args):
        read.append(args)
        if len(read) == 2:
            raise KeyboardInterrupt
        yield from rows(self, *args)

    monkeypatch.setattr(translator.Translator, 'rows', some)
    assert run(*places) == 130
    before = (tmp_path / 'out/a.tif').stat().st_mtime_ns
    assert run(*places) == 0 and len(read) == 4
    assert (tmp_path / 'out/a.tif').stat().st_mtime_ns == before
    assert pages(tmp_path / 'out') == ['a.tif', 'b.tif', 'c.tif', 'gallery', 'index.html']


@pytest.mark.parametrize('change, remark', [
    ('--tile=16', 'flags:'), ('--seed=3', 'flags:'),
    ('step', 'checkpoint: step 7, weights 00000007 -> step 8'),
    ('input', 'input:'), ('none', ''),
])  # fmt: skip
def test_what_differs_starts_anew_and_says_so(
    tmp_path, trained, monkeypatch, capsys, change, remark
):
    write(tmp_path / '1.tif', image_of((96, 48, 3)))
    flags = [f'--input={tmp_path / "1.tif"}', f'--output={tmp_path / "out"}', '--tile=32']
    rows, calls = translator.Translator.rows, []

    def some(self, *args):
        calls.append(args[-1])
        yield next(rows(self, *args))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(translator.Translator, 'rows', some)
        assert run(*flags) == 130
        capsys.readouterr()
        if change == 'step':
            run_at_8 = loaded_run.Run(trained, 8, 'last', {})
            patch.setattr(loaded_run, 'load_run', lambda *args: run_at_8)
        if change == 'input':
            write(tmp_path / '1.tif', image_of((96, 48, 3), seed=1))
        assert run(*flags, *([change] if change.startswith('--') else [])) == 130
    said = capsys.readouterr().out
    assert calls == [0, 0 if remark else 32]
    assert ('it starts anew' in said) == bool(remark)
    if remark:
        assert f'out/1.tif: begun with another {remark}' in said


def test_blended_tiles_of_another_side_start_anew(tmp_path, trained, monkeypatch, capsys):
    """The largest that fits differs from call to call: rows of both would be of no one network."""
    trained.generator.norm = 'batch'
    write(tmp_path / '1.tif', image_of((96, 48, 3)))
    places = f'--input={tmp_path / "1.tif"}', f'--output={tmp_path / "out"}'
    rows, fits, calls = translator.Translator.rows, [48, 32], []
    monkeypatch.setattr(
        translator.Translator, '_largest_window', lambda self, step: fits[len(calls)]
    )

    def some(self, *args):
        calls.append(args[-1])
        yield next(rows(self, *args))
        raise KeyboardInterrupt

    monkeypatch.setattr(translator.Translator, 'rows', some)
    for _ in fits:
        assert run(*places, '--tile=-1', '--norm=image') == 130
    assert calls == [0, 0]
    said = capsys.readouterr().out
    assert 'begun with another side of blended tiles: 48 -> 32: it starts anew' in said


def test_scenes_go_whole_where_no_rows_can_be_added_to_files(tmp_path, monkeypatch):
    """In a bucket; a path of it would be a folder gs: here."""
    write(tmp_path / '1.tif', image_of())
    is_local = atomic.is_local
    monkeypatch.setattr(atomic, 'is_local', lambda p: 'bucket' not in str(p) and is_local(p))
    monkeypatch.setattr(user_paths, 'is_allowed', lambda p: True)
    monkeypatch.setattr(scenes, 'translate', None)
    flags = f'--input={tmp_path / "1.tif"}', f'--output={tmp_path / "bucket"}', '--tile=32'
    assert run(*flags) == 0
    np.testing.assert_array_equal(values(tmp_path / 'bucket/1.tif'), 65535 - values(flags[0][8:]))


def test_a_folder_with_other_files_is_refused(tmp_path, capsys):
    write(tmp_path / '1.tif', image_of())
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/.mine.rows').write_text('of the user')
    flags = f'--input={tmp_path / "1.tif"}', f'--output={tmp_path / "out"}', '--tile=32'
    assert run(*flags) == 2
    assert 'holds files' in capsys.readouterr().err
    assert run(*flags, '--overwrite') == 0
    assert (tmp_path / 'out/.mine.rows').read_text() == 'of the user'


def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path, monkeypatch, capsys):
    write(tmp_path / '1.tif', image_of())
    flags = f'--input={tmp_path / "1.tif"}', f'--output={tmp_path / "out"}', '--tile=32'
    assert run(*flags) == 0
    before = (tmp_path / 'out/1.tif').read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr('pix2pix_jax.data.formats.encode.write_by_rows', full)
        assert run(*flags, '--overwrite', '--tile=16') == 1
    error = capsys.readouterr().err
    assert error == f'error: {tmp_path}/out/1.tif: No space left on device\n'
    assert (tmp_path / 'out/1.tif').read_bytes() == before
    assert run(*flags, '--tile=16') == 0  # of which nothing is left to compute
    assert pages(tmp_path / 'out') == ['1.tif', 'gallery', 'index.html']


def test_georeference_and_size(tmp_path, trained):
    trained.dataset.target_scale = 2.0
    tags = [(33550, 'd', 3, (0.5, 0.5, 0), True), (33922, 'd', 6, (0, 0, 0, 9, 8, 0), True),
            (34735, 'H', 8, (1, 1, 0, 1, 1024, 0, 1, 2), True),
            (42113, 's', 0, '7', True)]  # fmt: skip
    write(tmp_path / '1.tif', image_of((40, 50, 3)), extratags=tags)
    assert run(f'--input={tmp_path / "1.tif"}', f'--output={tmp_path / "out"}', '--tile=32') == 0
    found = metadata.read(epath.Path(tmp_path) / 'out/1.tif')
    assert found.size == (80, 100) and found.nodata == '7'
    assert found.geo[metadata.PIXEL_SCALE] == (0.25, 0.25, 0)
    assert found.geo[metadata.TIE_POINTS] == (0, 0, 0, 9, 8, 0)


@pytest.mark.parametrize('scale', [2.0, 0.5, 1.7])
def test_another_size_by_windows_is_that_of_the_whole(tmp_path, trained, whole, scale, monkeypatch):
    """But for rounding: a window is resampled from its own place."""
    trained.dataset.target_scale = scale
    write(tmp_path / '1.tif', image_of((90, 80, 3), 'uint8'))
    rows = translator.Translator.rows

    def by_windows(self, read, size, *args):
        def pieces(top, bottom, left, right):
            edges = range(left, right, 32)
            return np.concatenate([read(top, bottom, x, min(x + 32, right)) for x in edges], 1)

        return rows(self, pieces, size, *args)

    monkeypatch.setattr(translator.Translator, 'rows', by_windows)
    for call, output in ((run, 'windows'), (whole, 'whole')):
        assert (
            call(f'--input={tmp_path / "1.tif"}', f'--output={tmp_path / output}', '--tile=16') == 0
        )
    found, expected = (values(tmp_path / o / '1.tif').astype(int) for o in ('windows', 'whole'))
    assert found.shape == expected.shape and np.abs(found - expected).max() <= 2


def test_no_data_is_filled_across_windows(tmp_path, trained, whole):
    trained.dataset.nodata, trained.dataset.target_type = '-9999', 'float32'
    image = image_of((70, 60, 3), 'float32')
    image[10:50, 20:45] = -9999
    write(tmp_path / '1.tif', image, tile=(16, 16))
    for call, output in ((run, 'windows'), (whole, 'whole')):
        assert (
            call(f'--input={tmp_path / "1.tif"}', f'--output={tmp_path / output}', '--tile=16') == 0
        )
    found, expected = (values(tmp_path / o / '1.tif') for o in ('windows', 'whole'))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found == -9999, image == -9999)


BOXES = (0, 70, 0, 60), (12, 40, 30, 60), (30, 60, 0, 33), (22, 31, 25, 41)


@pytest.mark.parametrize('scale', [1.0, 8.0])
@pytest.mark.parametrize('box', BOXES, ids=str)
def test_a_part_is_that_of_the_whole(tmp_path, trained, scale, box):
    """As far into what has no data, or into the next pixels, as it takes."""
    trained.dataset.target_scale = scale
    image = image_of((70, 60, 3), 'uint8' if scale > 1 else 'uint16')
    if scale == 1:
        trained.dataset.nodata = '0'
        image[10:50, 20:45] = 0
    write(tmp_path / '1.tif', image)
    found = translator.Translator('run', tile=16)
    whole = found.load(tmp_path / '1.tif')
    expected = augment.resized(whole.values, whole.size).astype(int)
    part = scene.Scene.open(found, Input('1', (epath.Path(tmp_path / '1.tif'),)))
    top, bottom, left, right = box
    difference = np.abs(part.read(*box) - expected[top:bottom, left:right])
    assert difference.max() <= (0 if scale == 1 else 1)


def test_no_data_does_not_cost_what_lies_around_every_row(tmp_path, trained, monkeypatch):
    """Only windows that the network gets need what lies around them."""
    trained.dataset.nodata = '0'
    image, load, pixels = image_of((600, 40, 3)), translator.Translator.load_window, []
    image[::50] = 0  # in every tile
    write(tmp_path / '1.tif', image)

    def counted(self, files, box, about):
        pixels.append((box[1] - box[0]) * (box[3] - box[2]))
        return load(self, files, box, about)

    monkeypatch.setattr(translator.Translator, 'load_window', counted)
    monkeypatch.setattr(scene, 'REACH', 64)
    assert run(f'--input={tmp_path / "1.tif"}', f'--output={tmp_path / "out"}', '--tile=64') == 0
    assert sum(pixels) < 16 * 600 * 40


def test_where_a_scene_has_data_is_read_once_for_its_statistics(tmp_path, trained, monkeypatch):
    """It is as much to read as the scene, whatever number of samples follows."""
    trained.dataset.nodata, trained.generator.norm = '0', 'instance'
    find, found = tile_plan.scene_corners, []

    def counted(canvas, shape, valid=None):
        found.append(valid is not None)
        return find(canvas, shape, valid)

    monkeypatch.setattr(tile_plan, 'scene_corners', counted)
    write(tmp_path / '1.tif', image_of((150, 90, 3)))
    folders = f'--input={tmp_path / "1.tif"}', f'--output={tmp_path / "out"}'
    assert run(*folders, '--tile=64', '--samples=2') == 0
    assert sum(found) == 1


def test_what_only_the_file_notes_as_no_data_comes_back(tmp_path, whole):
    """The run does not know it: the network sees it as in training, and the tag stays true."""
    image = image_of((40, 40, 3))
    image[5:9, 5:30] = 12
    image[20, 20] = 65535 - 12  # negated it would be no-data by chance
    write(tmp_path / '1.tif', image, extratags=[(42113, 's', 0, '12', True)])
    for call, output in ((run, 'windows'), (whole, 'whole')):
        assert (
            call(f'--input={tmp_path / "1.tif"}', f'--output={tmp_path / output}', '--tile=16') == 0
        )
        found = values(tmp_path / output / '1.tif')
        np.testing.assert_array_equal((found == 12).all(-1), (image == 12).all(-1))
        assert metadata.read(epath.Path(tmp_path) / output / '1.tif').nodata == '12'


def test_samples_and_their_spread(tmp_path, whole):
    write(tmp_path / '1.tif', image_of((70, 60, 3), 'uint8'))
    for call, output in ((run, 'windows'), (whole, 'whole')):
        flags = f'--input={tmp_path / "1.tif"}', f'--output={tmp_path / output}', '--samples=3'
        assert call(*flags, '--tile=32') == 0
    for name in ('1_s0.tif', '1_s2.tif'):
        a, b = (values(tmp_path / o / name) for o in ('windows', 'whole'))
        np.testing.assert_array_equal(a, b)
    found, expected = (
        values(tmp_path / name).astype(int) for name in ('windows/1_std.tif', 'whole/1_std.png')
    )
    assert found.shape == expected.shape and np.abs(found - expected).max() <= 1


def test_samples_do_not_differ_where_there_is_no_data(tmp_path, trained, whole):
    trained.dataset.nodata, image = '0', image_of((70, 60, 3))
    image[10:30, 5:40] = 0
    write(tmp_path / '1.tif', image)
    spreads = []
    for call, output in ((run, 'windows/1_std.tif'), (whole, 'whole/1_std.png')):
        file = tmp_path / output
        flags = f'--input={tmp_path / "1.tif"}', f'--output={file.parent}', '--samples=3'
        assert call(*flags, '--tile=32') == 0
        spreads.append(values(file).astype(int))
        samples = [values(file.parent / f'1_s{i}.tif')[10:30, 5:40] for i in range(3)]
        assert not np.any(samples) and not spreads[-1][10:30, 5:40].any()
        assert spreads[-1].mean() > 10
    assert np.abs(spreads[0] - spreads[1]).max() <= 1


def test_classes_of_a_scene_that_no_png_holds(tmp_path, trained, whole, monkeypatch):
    trained.dataset.target_classes = trained.generator.output_channels = 3
    write(tmp_path / '1.tif', image_of((70, 60, 3), 'uint8'))
    assert run(f'--input={tmp_path / "1.tif"}', f'--output={tmp_path / "small"}', '--tile=32') == 0
    monkeypatch.setattr(decode, 'MAX_PIXELS', 70 * 60 - 1)
    assert run(f'--input={tmp_path / "1.tif"}', f'--output={tmp_path / "large"}', '--tile=32') == 0
    found = decode.read_pixels(epath.Path(tmp_path) / 'large/1.tif', indices=True).values
    monkeypatch.undo()
    expected = decode.read_pixels(epath.Path(tmp_path) / 'small/1.png', indices=True).values
    np.testing.assert_array_equal(found, expected, strict=True)


def test_a_damaged_scene_is_named_and_the_others_are_translated(tmp_path, capsys):
    for name in 'ab':
        write(tmp_path / f'{name}.tif', image_of(), tile=(16, 16), compression='zlib')
    data = bytearray((tmp_path / 'a.tif').read_bytes())
    with tifffile.TiffFile(tmp_path / 'a.tif') as tiff:
        start = tiff.pages[0].dataoffsets[9]
    data[start : start + 9] = b'damaged!!'
    atomic.write_bytes(tmp_path / 'a.tif', bytes(data))
    assert run(f'--input={tmp_path}/*.tif', f'--output={tmp_path / "out"}', '--tile=32') == 1
    error = capsys.readouterr().err
    assert error.startswith(f'error: {tmp_path}/a.tif cannot be read') and error.count('\n') == 1
    assert pages(tmp_path / 'out') == ['b.tif', 'gallery', 'index.html']
