import csv
import functools
import json
import shutil
import types

import numpy as np
import pytest
from PIL import Image

from pix2pix_jax import config, evaluate
from pix2pix_jax.data import label_colors
from pix2pix_jax.data.formats import encode
from pix2pix_jax.errors import DataError, UserError, run_command
from pix2pix_jax.evaluation import (
    image_metrics,
    metrics,
    report,
    runs,
    segmenter,
    two_folders,
    weights,
)
from pix2pix_jax.inference import generator, loaded_run
from pix2pix_jax.storage import atomic
from pix2pix_jax.workdir import metrics_json

SIZE = 16


def write_image(path, value, size=SIZE):
    rng = np.random.default_rng(value)
    image = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    atomic.write_bytes(path, atomic.encode_png(image))
    return image


def write_labels(path, seed, classes=label_colors.FACADES):
    colours = np.array(list(classes.colours.values()), np.uint8)
    image = colours[np.random.default_rng(seed).integers(0, len(colours), (SIZE, SIZE))]
    atomic.write_bytes(path, atomic.encode_png(image))


def fake(translate):
    """What makes a generator that does what `translate` does."""
    return lambda *_: types.SimpleNamespace(on_device=translate)


def run(*args):
    """The exit status of the command with these flags, by default with the metrics of pairs."""
    args = args if any('--metrics' in arg for arg in args) else ('--metrics=', *args)
    with pytest.raises(SystemExit) as stopped:
        run_command(evaluate.main, evaluate.define_flags, ['evaluate', *args])
    return stopped.value.code


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """A run on five pairs, whose generator negates its input, between two 8-bit levels.

    A is noise, B a label map in the colours of facades.
    """
    c = config.default_config()
    c.image_size = (SIZE, SIZE)
    c.dataset.path = str(tmp_path / 'data')
    for i in range(5):
        write_image(tmp_path / 'data' / 'A' / 'test' / 'sub' / f'{i}.png', i)
        write_labels(tmp_path / 'data' / 'B' / 'test' / 'sub' / f'{i}.png', i)

    def load_run(workdir, checkpoint='last', ema=True):
        if 'run' not in str(workdir):
            raise UserError(f'--workdir={workdir}: no run there')
        return loaded_run.Run(c, 40, checkpoint, {})

    monkeypatch.setattr(loaded_run, 'load_run', load_run)
    monkeypatch.setattr(generator, 'Generator', fake(lambda images: 0.4 / 127.5 - images))
    return tmp_path / 'run'


def test_a_run_is_measured_as_its_images_are(workdir, capsys):
    assert run(f'--workdir={workdir}', '--checkpoint=best') == 0
    folder = workdir / 'evaluation' / 'test'
    result = json.loads((folder / 'metrics.json').read_text())
    facts = {key: result[key] for key in ('split', 'step', 'checkpoint', 'images')}
    assert facts == {'split': 'test', 'step': 40, 'checkpoint': 'best', 'images': 5}
    assert list(result['metrics']) == ['l1', 'psnr', 'ssim']
    assert '95% interval' in capsys.readouterr().out

    with (folder / 'per_image.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [row['name'] for row in rows] == [f'sub/{i}' for i in range(5)]
    again = two_folders.evaluate_folders(
        two_folders.FolderImages(*_folders(folder, workdir.parent)), None
    )
    for name, summary in again.items():  # measured from the images on disk
        values = [float(row[name]) for row in rows]
        assert summary['mean'] == pytest.approx(np.mean(values), abs=1e-6)
        assert result['metrics'][name]['mean'] == pytest.approx(np.mean(values))


def _folders(report_folder, folder):
    for kind in ('target', 'output'):
        for path in (report_folder / 'images').glob(f'**/*_{kind}.png'):
            name = path.name.removesuffix(f'_{kind}.png')
            atomic.write_bytes(folder / kind / f'{name}.png', path.read_bytes())
    return folder / 'target', folder / 'output'


def test_a_new_evaluation_replaces_the_old_one_and_nothing_else(workdir):
    folder = workdir / 'evaluation' / 'test'
    run(f'--workdir={workdir}')
    before = {p: p.read_bytes() for p in folder.rglob('*') if p.is_file()}
    mine = folder / 'images' / 'my_output.png'
    mine.write_bytes(b'mine')
    for side in 'AB':
        (workdir.parent / 'data' / side / 'test' / 'sub' / '4.png').unlink()
    assert run(f'--workdir={workdir}') == 0
    after = {p for p in folder.rglob('*') if p.is_file()}
    assert {p.name for p in set(before) - after} == {f'4_{kind}.png' for kind in report.KINDS}
    assert after - set(before) == {mine} and mine.read_bytes() == b'mine'
    assert json.loads((folder / 'metrics.json').read_text())['images'] == 4


def test_the_config_of_the_run_is_not_written_into(workdir):
    """A caller may go on with it; what is changed is the copy that the run is measured with."""
    config = loaded_run.load_run(workdir).config
    before, dataset = config.to_json(), f'{workdir.parent}/data'
    changed = runs.config_of(config, runs.RunImages(scale=2, dataset=dataset))
    assert changed.image_size == (2 * SIZE, 2 * SIZE) and changed.dataset.path == dataset
    assert changed.generator.depth == 4  # of the size that was trained on
    assert run(f'--workdir={workdir}', '--scale=2', f'--dataset={dataset}') == 0
    assert config.to_json() == before
    config.dataset.windows = 'on'  # whose held-out windows are named by the grid of the training
    with pytest.raises(UserError, match='--scale=2: allowed is 1 for a run of scenes'):
        runs.config_of(config, runs.RunImages(scale=2))


def test_pairs_of_another_folder(workdir, capsys):
    (workdir.parent / 'data').rename(workdir.parent / 'moved')
    assert run(f'--workdir={workdir}') == 1
    assert 'data: does not exist' in capsys.readouterr().err
    assert run(f'--workdir={workdir}', f'--dataset={workdir.parent}/moved') == 0
    report = json.loads((workdir / 'evaluation/test_of_moved/metrics.json').read_text())
    assert (report['images'], report['dataset']) == (5, f'{workdir.parent}/moved')
    again = workdir.parent / 'other' / 'moved'  # another folder of that name
    shutil.copytree(workdir.parent / 'moved', again)
    before = (workdir / 'evaluation/test_of_moved/metrics.json').read_bytes()
    capsys.readouterr()
    assert run(f'--workdir={workdir}', f'--dataset={again}') == 2
    assert f'has the report of {workdir.parent}/moved: give an --output' in capsys.readouterr().err
    assert (workdir / 'evaluation/test_of_moved/metrics.json').read_bytes() == before
    assert run(f'--workdir={workdir}', f'--dataset={again}', f'--output={again.parent}/o') == 0
    (workdir.parent / 'link').mkdir()
    (workdir.parent / 'link' / 'moved').symlink_to(workdir.parent / 'moved')  # the same pairs
    assert run(f'--workdir={workdir}', f'--dataset={workdir.parent}/link/moved') == 0
    assert run(f'--workdir={workdir}', f'--dataset={again}', '--overwrite') == 0


@pytest.mark.parametrize('count', [1, 5])
def test_of_other_pairs_the_other_splits_need_not_do(workdir, capsys, count):
    """Nothing is held out of their train: it may have one pair, or those that the run was of."""
    data = workdir.parent / 'data'
    for side in 'AB':
        shutil.copytree(data / side / 'test', data / side / 'train')
        for i in range(count, 5):
            (data / side / 'train' / 'sub' / f'{i}.png').unlink()
    assert run(f'--workdir={workdir}', f'--dataset={data}') == 0
    said = capsys.readouterr()
    assert not said.err and 'held' not in said.out and 'anew' not in said.out


def test_output_is_not_written_over_what_is_there(workdir, tmp_path, capsys):
    output = tmp_path / 'mine'
    atomic.write_text(output / 'notes.txt', 'mine')
    args = (f'--workdir={workdir}', f'--output={output}')
    assert run(*args) == 2
    assert 'holds other files' in capsys.readouterr().err
    assert [p.name for p in output.iterdir()] == ['notes.txt']
    assert run(*args, '--overwrite') == 0
    assert (output / 'notes.txt').read_text() == 'mine'

    args = (f'--workdir={workdir}', f'--output={tmp_path / "new"}')
    assert run(*args) == 0
    assert run(*args) == 0  # its own report


def test_folders_are_compared_by_name(tmp_path, capsys):
    for name, value in (('a', 1), ('s/b', 2)):
        image = write_image(tmp_path / 'real' / f'{name}.png', value)
        noisy = np.clip(image.astype(int) + 20, 0, 255).astype(np.uint8)
        atomic.write_bytes(tmp_path / 'fake' / f'{name}.png', atomic.encode_png(noisy))
    args = (f'--real={tmp_path}/real', f'--generated={tmp_path}/fake')
    assert run(*args) == 0
    assert not list(tmp_path.rglob('index.html'))
    assert run(*args, f'--output={tmp_path}/out') == 0
    result = json.loads((tmp_path / 'out' / 'metrics.json').read_text())
    assert result['images'] == 2 and result['step'] is None
    assert 0.1 < result['metrics']['l1']['mean'] < 20 / 127.5
    capsys.readouterr()

    write_image(tmp_path / 'fake' / 'c.png', 3)
    assert run(*args) == 1
    assert 'c' in capsys.readouterr().err
    write_image(tmp_path / 'real' / 'c.png', 3, size=SIZE + 1)
    assert run(*args) == 1
    error = capsys.readouterr().err
    assert '16x16' in error and '17x17' in error and len(error.splitlines()) == 1


def test_images_of_other_names_are_paired_by_a_list(tmp_path, capsys):
    for i in range(3):
        write_image(tmp_path / 'real' / f'target{i}.png', i)
        write_image(tmp_path / 'fake' / f'output{2 - i}.png', i)
    rows = [f'target{i}.png,output{2 - i}.png' for i in range(3)]
    (tmp_path / 'pairs.csv').write_text('\n'.join(['real,generated', *rows[:2]]))
    folders = (f'--real={tmp_path}/real', f'--generated={tmp_path}/fake')
    listed = f'--pairs={tmp_path}/pairs.csv'
    assert run(*folders, listed, f'--output={tmp_path}/out') == 0
    result = json.loads((tmp_path / 'out' / 'metrics.json').read_text())
    assert result['images'] == 2 and result['metrics']['l1']['mean'] == 0
    rows = [f'real/target{i}.png;fake\\output{i}.png' for i in range(3)]
    (tmp_path / 'pairs.csv').write_text('\n'.join(['real;generated', *rows]))
    assert run(listed, f'--output={tmp_path}/other') == 0
    result = json.loads((tmp_path / 'other' / 'metrics.json').read_text())
    assert result['images'] == 3 and result['metrics']['l1']['mean'] > 0.1
    capsys.readouterr()
    for text, message in (
        ('a,b\n', "the first line is ['a', 'b']: needed are the columns real and generated"),
        ('real,generated\na,b\nc,b\n', 'line 3: b is there already'),
        ('real,generated\nmissing.png,output1.png\n', 'missing.png cannot be read'),
        ('real,generated\n', 'lists no pairs'),
    ):
        (tmp_path / 'pairs.csv').write_text(text)
        assert run(*folders, listed) == 1
        error = capsys.readouterr().err
        assert message in error and len(error.splitlines()) == 1


def write_deep(path, values):
    atomic.write_bytes(path, encode.encode(np.asarray(values)[..., None], '.png'))


def test_errors_in_data_units_are_not_cut_off_at_the_range(tmp_path, capsys):
    deep = np.full((SIZE, SIZE), 6000, np.uint16)
    write_deep(tmp_path / 'real' / 'a.png', deep)
    write_deep(tmp_path / 'fake' / 'a.png', deep - 1500)
    args = (f'--real={tmp_path}/real', f'--generated={tmp_path}/fake', f'--output={tmp_path}/o')
    assert run(*args, '--range=0:4000') == 0
    assert (
        f'warning: {tmp_path}/real: values from 6000 to 6000 lie beyond 0:4000 (--range), and '
        'count as its ends in all but mae and rmse\n'
    ) in capsys.readouterr().out
    assert found(tmp_path / 'o')['mae']['mean'] == found(tmp_path / 'o')['rmse']['mean'] == 1500
    assert run(*args, '--range=0:8000') == 0
    assert 'warning' not in capsys.readouterr().out
    assert found(tmp_path / 'o')['mae']['mean'] == pytest.approx(1500)
    assert found(tmp_path / 'o')['l1']['mean'] == pytest.approx(2 * 1500 / 8000)


def test_errors_of_two_types_have_no_common_unit(tmp_path, capsys):
    for folder in ('real', 'fake'):
        write_deep(tmp_path / folder / 'a.png', np.full((SIZE, SIZE), 4000, np.uint16))
        write_image(tmp_path / folder / 'b.png', 1)
    args = (f'--real={tmp_path}/real', f'--generated={tmp_path}/fake')
    assert run(*args) == 1
    error = capsys.readouterr().err
    assert 'b.png is of uint8, and the first is of another type: errors have no common' in error
    assert run(*args, '--range=0:65535') == 0


def test_a_sliver_of_a_range_is_said(tmp_path, capsys):
    """Maps of class indices look alike as images, whatever they show."""
    for seed, folder in enumerate(('real', 'fake')):
        indices = np.random.default_rng(seed).integers(0, 3, (SIZE, SIZE)).astype(np.uint8)
        write_deep(tmp_path / folder / 'a.png', indices)
    args = (f'--real={tmp_path}/real', f'--generated={tmp_path}/fake')
    assert run(*args) == 0
    assert (
        f'warning: {tmp_path}/real: all of the values are 0 to 2, a sliver of 0:255 (uint8), and '
        'become -1.00 to -0.98 of -1 to 1: so all errors look small; --range=LOW:HIGH says what '
        'they fill\n'
    ) in capsys.readouterr().out
    assert run(*args, '--range=0:2') == 0
    assert 'warning' not in capsys.readouterr().out


def test_what_is_transparent_in_two_folders_lies_over_white(tmp_path):
    """Also where the outputs have no opacity, as a run of three channels writes them."""
    rng = np.random.default_rng(0)
    real, fake = rng.integers(0, 256, (2, SIZE, SIZE, 4), np.uint8)
    atomic.write_bytes(tmp_path / 'real' / 'a.png', atomic.encode_png(real))

    def l1(generated):
        atomic.write_bytes(tmp_path / 'fake' / 'a.png', atomic.encode_png(generated))
        folders = (f'--real={tmp_path}/real', f'--generated={tmp_path}/fake')
        assert run(*folders, f'--output={tmp_path}/o', '--overwrite', '--metrics=') == 0
        return found(tmp_path / 'o')['l1']['mean']

    def over_white(image):
        share = image[..., 3:] / 255 if image.shape[-1] == 4 else 1
        return np.rint(image[..., :3] * share + 255 * (1 - share))

    for generated in (fake, fake[..., :3].copy(), fake[..., :1].copy().repeat(3, -1)):
        expected = np.abs(over_white(generated) - over_white(real)).mean() / 127.5
        assert l1(generated) == pytest.approx(expected, abs=2e-3)


def test_a_map_that_is_all_void_is_a_map(tmp_path):
    """At the border of a city; it ended the evaluation."""
    table = tmp_path / 'table.txt'
    table.write_text('sky 0,0,255\ncar 255,0,0\nvoid 0,0,0\n')
    colours = np.array([(0, 0, 255), (255, 0, 0)], np.uint8)
    maps = colours[np.random.default_rng(0).integers(0, 2, (SIZE, SIZE))]
    for folder in ('real', 'fake'):
        for name, image in (('a', maps), ('b', np.zeros_like(maps))):
            atomic.write_bytes(tmp_path / folder / f'{name}.png', atomic.encode_png(image))
    args = (f'--real={tmp_path}/real', f'--generated={tmp_path}/fake', f'--output={tmp_path}/o')
    assert run(*args, '--metrics=', f'--classes={table}') == 0
    assert found(tmp_path / 'o')['pixel_accuracy']['mean'] == 1


def test_values_of_folders_beyond_their_type_name_the_flag(tmp_path, capsys):
    for folder in ('real', 'fake'):
        path = tmp_path / folder / 'a.npy'
        path.parent.mkdir()
        np.save(path, np.full((SIZE, SIZE), 7, np.float32))
    assert run(f'--real={tmp_path}/real', f'--generated={tmp_path}/fake') == 1
    error = capsys.readouterr().err
    assert 'of float32 allowed is 0 to 1; or say what they are with --range=LOW:HIGH\n' in error


def test_images_below_the_ssim_window_say_so(tmp_path):
    for folder in ('real', 'fake'):
        write_image(tmp_path / folder / 'a.png', 1, size=8)
    assert (
        run(f'--real={tmp_path}/real', f'--generated={tmp_path}/fake', f'--output={tmp_path}/o')
        == 0
    )
    result = json.loads((tmp_path / 'o' / 'metrics.json').read_text())['metrics']
    assert result['l1']['mean'] == 0 and result['psnr']['mean'] == image_metrics.PSNR_MAX
    assert result['ssim']['value'] is None and 'window' in result['ssim']['reason']


@pytest.mark.parametrize(
    'args, message',
    [
        ((), 'give either --workdir'),
        (('--workdir=run', '--real=a', '--generated=b'), 'give either --workdir'),
        (('--real=a',), 'go together'),
        (('--workdir=run', '--pairs=a.csv'), 'give either --workdir'),
        (('--pairs=a.csv', '--split=val'), '--split is of a run'),
        (('--workdir=run', '--split=dev'), "--split=dev: the run's data has test"),
        (('--workdir=elsewhere',), 'no run there'),
        (('--workdir=run', '--colour=1'), 'colour'),
        (
            ('--workdir=run', '--metrics=lab,is'),
            f"--metrics: 'is' is unknown, allowed are {', '.join(metrics.choices())}",
        ),
        (
            ('--workdir=run', '--classes=ade'),
            'allowed are facades | cityscapes | openmoji_classes, or a text file',
        ),
        (('--workdir=run', '--segmenter=nowhere:f'), '--segmenter=nowhere:f: ModuleNotFoundE'),
        (('--workdir=run', '--segmenter=.x:f'), '--segmenter=.x:f: TypeError'),
        (('--real=a', '--generated=b', '--scale=2'), '--scale is of a run'),
        (('--real=a', '--generated=b', '--segmenter=json:loads'), '--segmenter is of a run'),
        (
            ('--real=a', '--generated=b', '--segmenter_weights=c'),
            '--segmenter_weights is of a run',
        ),
        (('--workdir=r', '--segmenter=a:b', '--segmenter_weights=c'), 'exclude each other'),
        (('--real=a', '--generated=b', '--split=val'), '--split is of a run'),
        (('--real=a', '--generated=b', '--dataset=c'), '--dataset is of a run'),
        (('--workdir=run', '--segmenter=json:f'), '--segmenter=json:f: '),
        (('--workdir=run', '--segmenter=json'), 'allowed is MODULE:FUNCTION'),
        (('--workdir=run', '--scale=0'), 'scale'),
        (('--workdir=run', '--nodata=0'), "a run's nodata is config.dataset.nodata"),
        (('--real=a', '--generated=b', '--nodata=no'), "--nodata='no': allowed are a number"),
        (
            ('--real=a', '--generated=b', '--range=0:100,0:1000'),
            "--range='0:100,0:1000': allowed is one range",
        ),
    ],
)
def test_mistakes_are_one_line_and_status_2(workdir, capsys, args, message):
    assert run(*args) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


def found(folder):
    return json.loads((folder / 'metrics.json').read_text())['metrics']


def test_all_metrics_of_a_run_or_the_reason_of_each(workdir, monkeypatch):
    def no_weights(kind, path):
        raise weights.Unavailable('there is no network')

    monkeypatch.setattr(weights, 'load', no_weights)
    args = (f'--workdir={workdir}', f'--metrics={",".join(metrics.choices())}')
    assert run(*args) == 0
    result = found(workdir / 'evaluation/test')
    asked = (metrics.METRICS[name] for name in ('l1', 'psnr', 'ssim', *metrics.choices()))
    assert all(set(metric.values) <= set(result) for metric in asked)
    assert 'mae' not in result and 'class_iou' not in result  # 8-bit RGB of no known classes
    assert 0 < result['lab_l']['mean'] < 1
    for name in ('lpips', 'fid', 'kid'):
        assert result[name] == {'value': None, 'reason': 'there is no network'}
    assert (
        'colours of config.dataset.name=folder are not known' in result['fcn_class_iou']['reason']
    )
    page = (workdir / 'evaluation/test/index.html').read_text()
    assert 'there is no network' in page

    assert run(f'--workdir={workdir}', '--metrics=fcn', '--classes=facades') == 0
    # Photo to labels (the direction is AtoB): no segmenter, the label maps are compared.
    result = found(workdir / 'evaluation/test')
    assert 0 <= result['fcn_pixel_accuracy']['mean'] < 0.5 and 'lab_l' not in result
    assert 'real_fcn_pixel_accuracy' not in result


def oracle(photos):
    """A segmenter that finds in a photo what its red says."""
    return (photos[..., 0] > 0).astype(np.int32)


def test_a_segmenter_of_the_users(workdir, monkeypatch):
    run_of = loaded_run.load_run(workdir)
    run_of.config.dataset.direction = 'BtoA'
    args = ('--metrics=fcn', '--classes=facades', f'--segmenter={__name__}:oracle')
    assert run(f'--workdir={workdir}', *args) == 0
    result = found(workdir / 'evaluation/test')
    # The generator negates its input, here the label map: their reds are opposite.
    assert result['fcn_pixel_accuracy']['mean'] != result['real_fcn_pixel_accuracy']['mean']
    assert run(f'--workdir={workdir}', *args[:2]) == 0
    assert 'no train split' in found(workdir / 'evaluation/test')['fcn_class_iou']['reason']


def void_ids(photos):
    return np.where(photos[..., 0] > 0, 255, oracle(photos))


def floats(photos):
    return photos[..., 0]


def small(photos):
    return oracle(photos)[:, 1:]


def test_what_a_segmenter_gives_is_looked_at(workdir, capsys):
    run_of = loaded_run.load_run(workdir)
    run_of.config.dataset.direction = 'BtoA'
    words = [f'--workdir={workdir}', '--metrics=fcn', '--classes=facades']
    for name in ('floats', 'small'):
        assert run(*words, f'--segmenter={__name__}:{name}') == 2
        error = capsys.readouterr().err
        assert 'needed are whole numbers (1, 16, 16)' in error and len(error.splitlines()) == 1
    assert run(*words, f'--segmenter={__name__}:void_ids') == 0  # wrong, in no class's row
    scores = found(workdir / 'evaluation/test')
    assert run(*words, f'--segmenter={__name__}:oracle') == 0
    assert (
        scores['fcn_pixel_accuracy']['mean']
        < found(workdir / 'evaluation/test')['fcn_pixel_accuracy']['mean']
    )


def test_the_own_segmenter_labels_photos(workdir, tmp_path, monkeypatch, capsys):
    """Trained on the pairs of train; the generator gives the photos themselves."""
    palette = np.uint8([label_colors.FACADES.colours[name] for name in ('facade', 'window')])
    for split in ('train', 'test'):
        for i in range(3):
            classes = (np.random.default_rng(i).random((4, 4)) > 0.5).repeat(4, 0).repeat(4, 1)
            photo = np.where(classes[..., None], np.uint8(40), np.uint8(210)).repeat(3, -1)
            for side, image in (('A', photo), ('B', palette[classes.astype(int)])):
                path = tmp_path / 'data' / side / split / 'sub' / f'{i}.png'
                atomic.write_bytes(path, atomic.encode_png(image))
    for i in (3, 4):
        for side in 'AB':
            (tmp_path / 'data' / side / 'test/sub' / f'{i}.png').unlink()
    loaded_run.load_run(workdir).config.dataset.direction = 'BtoA'
    for name, value in (('WIDTH', 8), ('DEPTH', 2)):
        monkeypatch.setattr(segmenter, name, value)
    monkeypatch.setattr(segmenter.atomic, 'cache_folder', lambda: tmp_path / 'cache')
    train = segmenter.load_or_train
    monkeypatch.setattr(segmenter, 'load_or_train', functools.partial(train, steps=150))
    is_facade = palette[0] / 127.5 - 1

    def photos(x):
        return np.where((abs(x - is_facade) < 0.1).all(-1, keepdims=True), 0.65, -0.7).repeat(3, -1)

    monkeypatch.setattr(generator, 'Generator', fake(photos))
    file = tmp_path / 'segmenter.npz'
    words = f'--workdir={workdir}', '--metrics=fcn', '--classes=facades'
    assert run(*words, f'--segmenter_weights={file}') == 0
    result = found(workdir / 'evaluation/test')
    for name in ('fcn_pixel_accuracy', 'real_fcn_pixel_accuracy'):
        assert result[name]['mean'] > 0.9
    # With the file neither the cache folder nor the photos of train are needed.
    monkeypatch.setattr(segmenter, 'load_or_train', None)
    for side in 'AB':
        shutil.rmtree(tmp_path / 'data' / side / 'train')
    assert run(*words, f'--segmenter_weights={file}') == 0
    assert found(workdir / 'evaluation/test') == result
    file.write_bytes(b'mine')
    assert run(*words, f'--segmenter_weights={file}') == 1
    assert f'{file}: it holds no segmenter' in capsys.readouterr().err
    assert file.read_bytes() == b'mine'


def test_a_report_that_was_interrupted_is_written_anew(tmp_path):
    for folder in ('real', 'fake'):
        write_image(tmp_path / folder / 'sub' / 'a.png', 1)
    args = (f'--real={tmp_path}/real', f'--generated={tmp_path}/fake', f'--output={tmp_path}/o')
    assert run(*args) == 0
    for name in ('metrics.json', 'index.html', 'per_image.csv'):
        (tmp_path / 'o' / name).unlink()
        (tmp_path / 'o' / f'.{name}.1.tmp').write_text('')
        assert report.is_report(tmp_path / 'o')
    assert run(*args) == 0
    (tmp_path / 'o/metrics.json').unlink()
    (tmp_path / 'o/images/sub/mine.png').write_text('')
    assert not report.is_report(tmp_path / 'o') and run(*args) == 2


@pytest.mark.parametrize('text', [
    '',
    '[]',
    '{"images": 1, "metrics": {"l1": 1}}',
    '{"images": 1, "metrics": []}',
    '{"metrics": {}}',
    '{"images": "many", "metrics": {}}',
    '{"images": 1, "split": [], "metrics": {}}',
    '{"images": 1, "metrics": {"l1": {"mean": 0.1}}}',
    '{"images": 1, "metrics": {"l1": {"mean": "<b>", "ci95": [0, 1]}}}',
    '{"images": 1, "metrics": {"l1": {"mean": 1, "ci95": [0, 1%s]}}}' % ('0' * 400),
    '{"images": 1, "metrics": {"l1": {"value": null}}}',
    '{"images": 1, "metrics": {"l1": {"mean": 0.1, "ci95": [0, 1], "left_out": 1}}}',
    '{"images": 1, "metrics": {"<b>": {"mean": 0.1, "ci95": [0, 1]}}}',
])  # fmt: skip
def test_a_damaged_result_is_named(tmp_path, text):
    assert metrics_json.read_result(tmp_path) == {}
    (tmp_path / 'metrics.json').write_text(text)
    with pytest.raises(DataError, match='metrics.json is damaged: evaluate anew'):
        metrics_json.read_result(tmp_path)


def test_two_folders_of_label_maps(tmp_path):
    colours = np.array(list(label_colors.FACADES.colours.values()), np.uint8)
    classes = np.random.default_rng(0).integers(0, 12, (16, 16))
    for folder, values in (('real', classes), ('fake', np.where(classes > 5, 0, classes))):
        atomic.write_bytes(tmp_path / folder / 'a.png', atomic.encode_png(colours[values]))
    args = (f'--real={tmp_path}/real', f'--generated={tmp_path}/fake', f'--output={tmp_path}/o')
    assert run(*args, '--metrics=fcn,lab', '--classes=facades') == 0
    accuracy = found(tmp_path / 'o')['fcn_pixel_accuracy']['mean']
    assert accuracy == pytest.approx((classes <= 5).mean())
    assert run(*args, '--classes=facades') == 0  # these scores are always there
    scores = found(tmp_path / 'o')
    assert scores['pixel_accuracy']['mean'] == accuracy and 'class_iou' in scores
    assert run(*args, '--metrics=fcn') == 0
    assert '--classes must name' in found(tmp_path / 'o')['fcn_class_iou']['reason']


@pytest.mark.parametrize('named', ['flag', 'config'])
def test_classes_of_a_table_are_scored_as_those_of_a_name(workdir, tmp_path, named):
    """The table of a user's file: by --classes, or as the run's dataset.colors."""
    run_of, table = loaded_run.load_run(workdir), tmp_path / 'my.txt'
    colours = label_colors.FACADES.colours.items()
    table.write_text(''.join(f'{name} {r},{g},{b}\n' for name, (r, g, b) in colours))
    run_of.config.dataset.direction = 'BtoA'
    words = [f'--workdir={workdir}', '--metrics=fcn', f'--segmenter={__name__}:oracle']
    assert run(*words, '--classes=facades') == 0
    expected = scores_of(workdir)
    assert expected['fcn_class_iou']['mean'] > 0
    if named == 'config':
        run_of.config.dataset.colors = str(table)
    assert run(*words, *([f'--classes={table}'] if named == 'flag' else [])) == 0
    assert scores_of(workdir) == expected


def scores_of(workdir):
    values = found(workdir / 'evaluation/test')
    return {name: value for name, value in values.items() if 'fcn_' in name}


def test_a_larger_size_than_trained(workdir):
    assert run(f'--workdir={workdir}', '--scale=2') == 0
    picture = Image.open(workdir / 'evaluation/test_x2/images/sub/0_output.png')
    assert picture.size == (2 * SIZE, 2 * SIZE)
    assert not (workdir / 'evaluation/test').exists()  # whose page is the run's


@pytest.mark.parametrize('direction', ['AtoB', 'BtoA'])
@pytest.mark.parametrize('named', ['flag', 'config'])
def test_labels_of_other_colours_have_no_score(workdir, capsys, direction, named):
    """The colours of the fourth label map are those of Cityscapes, then of noise."""
    run_of, folder = loaded_run.load_run(workdir), workdir.parent / 'data/B/test/sub'
    run_of.config.dataset.direction = direction
    words = [f'--workdir={workdir}', '--metrics=fcn', f'--segmenter={__name__}:oracle']
    if named == 'flag':
        words.append('--classes=facades')
    else:
        run_of.config.dataset.name = 'facades'
    assert run(*words) == 0
    for write in (
        lambda path: write_labels(path, 0, label_colors.CITYSCAPES),
        lambda path: write_image(path, 0),
    ):
        write(folder / '3.png')
        capsys.readouterr()
        if named == 'config':  # nobody asked for these colours: a reason
            assert run(*words) == 0
            reason = found(workdir / 'evaluation/test')['fcn_class_iou']['reason']
            assert str(folder / '3.png') in reason and 'needed are 20%' in reason
            continue
        assert run(*words) == 2
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1 and str(folder / '3.png') in error
        assert 'needed are 20%' in error and 'background (0, 0, 223), facade (0, 48, 255)' in error
    assert run(f'--workdir={workdir}', '--metrics=lab') == 0


def test_own_pairs_under_a_known_name_have_a_reason_in_place_of_the_score(workdir):
    """configs/facades.py is a usual start for pairs of one's own; nobody asked for it."""
    loaded_run.load_run(workdir).config.dataset.name = 'facades'
    for file in (workdir.parent / 'data/B/test').rglob('*.png'):
        write_image(file, 100)
    assert run(f'--workdir={workdir}', '--metrics=fcn,lab') == 0
    metrics = found(workdir / 'evaluation/test')
    assert metrics['fcn_pixel_accuracy']['value'] is None
    assert 'is not such a label map' in metrics['fcn_pixel_accuracy']['reason']
    assert metrics['lab_l']['mean'] > 0


def test_folders_of_other_colours_have_no_score(tmp_path, capsys):
    for folder, classes in (('real', label_colors.CITYSCAPES), ('fake', label_colors.FACADES)):
        write_labels(tmp_path / folder / 'a.png', 0, classes)
    real, fake = (f'{tmp_path}/{folder}' for folder in ('real', 'fake'))
    words = (f'--output={tmp_path}/o', '--metrics=fcn')
    assert run(f'--real={real}', f'--generated={fake}', '--classes=facades', *words) == 2
    error = capsys.readouterr().err
    assert f'{real}/a.png is not such a label map' in error and len(error.splitlines()) == 1
    assert not (tmp_path / 'o').exists()
    # What is generated may be wrong.
    assert run(f'--real={fake}', f'--generated={real}', '--classes=facades', *words) == 0
    assert run(f'--real={real}', f'--generated={fake}', '--classes=cityscapes', *words) == 0
