"""Maps of classes as targets, from the files of a run to its translations, scores and demo."""

import json

import numpy as np
import pytest
from helpers.runs import error_of, lines, make_pairs, tiny_config, untrained_run
from PIL import Image

from pix2pix_jax import Translator, evaluate, export, translate
from pix2pix_jax.data import class_maps, discover, image_spec, label_colors
from pix2pix_jax.errors import UserError
from pix2pix_jax.evaluation import class_scores, labels
from pix2pix_jax.evaluation.options import Options, Subject
from pix2pix_jax.evaluation.set_metrics import LabelScores, Unasked
from pix2pix_jax.inference import files, loaded_run, run_splits
from pix2pix_jax.train import train_and_evaluate
from pix2pix_jax.train_setup import resolve
from pix2pix_jax.web import class_brushes, drawing, page

SIZE = 32
COLOURS = np.uint8([[0, 0, 255], [255, 0, 0]])
TABLE = 'ground 0,0,255\nbox 255,0,0\n'
SCORES = ('pixel_accuracy', 'class_accuracy', 'class_iou')


def config_of(folder, **more):
    """Photo (the right half) to the classes of labels (the left half)."""
    fields = {
        'dataset__direction': 'BtoA',
        'dataset__colors': str(folder / 'colours.txt'),
        'dataset__target_classes': 2,
        'loss__class_weight': 1.0,
        'optimizer__learning_rate': 0.005,
        'num_steps': 30,
        'eval_every': 15,
        'sample_every': 30,
    }
    return tiny_config(folder / 'pairs', **(fields | more))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """The folder of a run, its pairs and their table."""
    folder = tmp_path_factory.mktemp('classes')
    make_pairs(folder / 'pairs', {'train': 8, 'val': 2, 'test': 3})
    (folder / 'colours.txt').write_text(TABLE)
    train_and_evaluate(config_of(folder), folder / 'run')
    (folder / 'photos').mkdir()
    for path in (folder / 'pairs' / 'test').iterdir():
        photo = np.asarray(Image.open(path))[:, SIZE:]
        Image.fromarray(photo).save(folder / 'photos' / f'{path.stem}.jpg', quality=95)
    return folder


def run_command(module, **flags):
    values = module.define_flags()
    values([module.__name__, *(f'--{name}={value}' for name, value in flags.items())])
    return module.main(values)


def truth(folder):
    """The classes of the test pairs' labels by name."""
    paths = sorted((folder / 'pairs' / 'test').iterdir())
    maps = {path.stem: np.asarray(Image.open(path))[:, :SIZE] for path in paths}
    return {name: (image[..., 0] > 0).astype(int) for name, image in maps.items()}


def test_training_writes_the_losses_and_scores(folder):
    rows = lines(folder / 'run')
    trained = [row for row in rows if 'train/g_class' in row]
    assert trained[-1]['train/g_class'] < trained[0]['train/g_class'] < 2
    measured = [row for row in rows if 'eval/l1' in row]
    assert len(measured) == 2
    assert {f'eval/{name}' for name in ('l1', *SCORES)} <= measured[-1].keys()
    assert not {'eval/psnr', 'eval/ssim'} & measured[-1].keys()
    assert {f'test/{name}' for name in ('l1', *SCORES)} <= rows[-1].keys()


def test_the_table_is_kept_with_the_run(folder, tmp_path):
    kept = json.loads((folder / 'run' / 'config.json').read_text())['dataset']
    assert kept['colors'] == 'ground 0,0,255;box 255,0,0;' and kept['palette'] == ''
    assert resolve(config_of(folder), folder / 'run').total_steps == 30
    (folder / 'other.txt').write_text(TABLE.replace('ground', 'sky'))
    other = config_of(folder, dataset__colors=str(folder / 'other.txt'))
    message = error_of(resolve, other, folder / 'run')
    assert 'config.dataset.colors:' in message


def test_sheets_are_in_the_colours_of_the_classes(folder):
    (sheet,) = (folder / 'run' / 'samples').iterdir()
    pixels = np.asarray(Image.open(sheet))
    width = pixels.shape[1] // 3
    for column in (1, 2):  # outputs, targets
        inside = pixels[30:-10, column * width + 8 : (column + 1) * width - 8].reshape(-1, 3)
        colours = {tuple(map(int, colour)) for colour in np.unique(inside, axis=0)}
        assert colours <= {(0, 0, 255), (255, 0, 0), (255, 255, 255)} and len(colours) > 1


def test_translate_writes_the_indices_with_their_palette(folder, tmp_path):
    places = dict(workdir=folder / 'run', input=folder / 'photos', output=tmp_path / 'out')
    assert run_command(translate, **places, dropout=False) == 0
    translator = Translator(folder / 'run', dropout=False)
    for path in sorted((folder / 'photos').iterdir()):
        image = Image.open(tmp_path / 'out' / f'{path.stem}.png')
        assert image.mode == 'P' and image.getpalette()[:6] == COLOURS.ravel().tolist()
        indices = np.asarray(image)
        assert indices.shape == (SIZE, SIZE) and indices.max() <= 1
        np.testing.assert_array_equal(translator(path), indices)
        (likely,) = translator.translate([translator.load(path)])
        np.testing.assert_array_equal(likely.argmax(-1), indices)
        np.testing.assert_allclose(((likely + 1) / 2).sum(-1), 1, atol=1e-5)


def test_the_scores_are_those_of_the_files(folder, tmp_path):
    """One confusion matrix of the split, of what `translate` writes, counted here by hand."""
    run_command(
        evaluate, workdir=folder / 'run', output=tmp_path / 'report', metrics='lab,fcn,checkerboard'
    )
    found = json.loads((tmp_path / 'report' / 'metrics.json').read_text())['metrics']
    translator, matrix, accuracies = Translator(folder / 'run'), np.zeros((2, 3)), []
    for name, true in truth(folder).items():
        photo = np.asarray(Image.open(folder / 'pairs' / 'test' / f'{name}.png'))[:, SIZE:]
        indices = translator(photo)
        matrix += labels.confusion(true, indices.astype(int), 2)
        accuracies.append((indices == true).mean())
    for name, value in labels.scores(matrix).items():
        assert found[name]['mean'] == pytest.approx(float(value), abs=1e-6)
        low, high = found[name]['ci95']
        assert low <= found[name]['mean'] <= high
    assert found['pixel_accuracy']['mean'] == pytest.approx(np.mean(accuracies))
    for name in ('psnr', 'ssim', 'lab_l', 'fcn_class_iou', 'checkerboard'):
        assert found[name]['value'] is None and 'maps of classes' in found[name]['reason']
    assert 0 < found['l1']['mean'] < 2
    (shown, *_) = (tmp_path / 'report' / 'images').glob('*_output.png')
    assert np.asarray(Image.open(shown)).shape == (SIZE, SIZE, 3)


def test_maps_whose_palette_says_another_order_are_warned_of(tmp_path, capsys):
    rows, _ = np.mgrid[:SIZE, :SIZE]
    config = tiny_config(
        tmp_path / 'ours',
        dataset__target_classes=3,
        generator__output_channels=3,
        dataset__palette='0 0,0,0;1 255,0,0;2 0,255,0',
    )
    for name, order in (('ours', (0, 1, 2)), ('theirs', (0, 2, 1))):
        colours = [(0, 0, 0), (255, 0, 0), (0, 255, 0)]
        for split in ('train', 'test'):
            for side in 'AB':
                (tmp_path / name / split / side).mkdir(parents=True)
            Image.new('RGB', (SIZE, SIZE)).save(tmp_path / name / split / 'A' / '0.png')
            picture = Image.fromarray(np.uint8(np.argsort(order))[rows * 3 // SIZE], 'P')
            picture.putpalette([value for i in order for value in colours[i]])
            picture.save(tmp_path / name / split / 'B' / '0.png')
    untrained_run(tmp_path / 'run', config)
    for name, warned in (('ours', False), ('theirs', True)):
        run_command(evaluate, workdir=tmp_path / 'run', dataset=tmp_path / name, metrics='')
        said = capsys.readouterr().out
        line = (
            f'warning: {tmp_path}/{name}/test/B/0.png: index 1 has in its palette the colour that'
        )
        assert (line in said) == warned
    with pytest.raises(UserError, match='--classes=facades: the targets of the run are classes al'):
        run_command(
            evaluate, workdir=tmp_path / 'run', dataset=tmp_path / 'ours', classes='facades'
        )


def test_colours_by_regression_are_scored_by_the_nearest(folder, tmp_path):
    colors = str(folder / 'colours.txt')
    config = config_of(
        folder,
        dataset__colors='',
        dataset__target_classes=0,
        loss__class_weight=0.0,
        num_steps=4,
        eval_every=0,
        sample_every=0,
    )
    train_and_evaluate(config, tmp_path / 'run')
    run_command(
        evaluate, workdir=tmp_path / 'run', output=tmp_path / 'a', metrics='', classes=colors
    )
    run_command(evaluate, workdir=tmp_path / 'run', output=tmp_path / 'b', metrics='')
    found, plain = (
        json.loads((tmp_path / name / 'metrics.json').read_text())['metrics'] for name in 'ab'
    )
    assert set(found) - set(plain) == set(SCORES) and found['psnr'] == plain['psnr']
    translator, matrix = Translator(tmp_path / 'run'), np.zeros((2, 3))
    for name, true in truth(folder).items():
        photo = np.asarray(Image.open(folder / 'pairs' / 'test' / f'{name}.png'))[:, SIZE:]
        distances = np.square(translator(photo)[..., None, :].astype(float) - COLOURS).sum(-1)
        matrix += labels.confusion(true, distances.argmin(-1), 2)
    assert found['class_iou']['mean'] == pytest.approx(float(labels.scores(matrix)['class_iou']))


@pytest.mark.parametrize('asked', [True, False])
def test_colours_by_regression_are_looked_at_once(folder, asked, monkeypatch):
    colors, read = str(folder / 'colours.txt'), []
    fields = {'dataset__target_classes': 0, 'loss__class_weight': 0.0}
    config = config_of(folder, **fields | ({'dataset__colors': ''} if asked else {}))
    splits = discover.open_splits(config)
    monkeypatch.setattr(label_colors, 'check', lambda *args: read.append(args))
    options = Options((), colors if asked else '')
    subject = Subject(options, config, splits, 'train')
    assert class_scores.applies(subject)
    scores = class_scores.create(SCORES, subject)
    assert isinstance(scores, LabelScores if asked else Unasked)
    assert len(read) == len(splits['train']) == 8


@pytest.mark.parametrize('format', ['onnx', 'stablehlo'])
def test_an_export_says_which_classes_it_gives(folder, format):
    from pix2pix_jax.interop import exportable

    if format == 'onnx':
        pytest.importorskip('jax2onnx')
        pytest.importorskip('onnxruntime')
        from pix2pix_jax.interop import onnx as interop
    else:
        from pix2pix_jax.interop import stablehlo as interop
    run = loaded_run.load_run(folder / 'run')
    model = exportable.create(run, size=(SIZE, SIZE))
    function, metadata = interop.load(interop.to_bytes(model))
    image = np.random.default_rng(0).uniform(-1, 1, (1, SIZE, SIZE, 3)).astype(np.float32)
    output = np.asarray(function(image))
    np.testing.assert_allclose(((output + 1) / 2).sum(-1), 1, atol=1e-5)
    assert '2p - 1' in metadata['output']
    classes = metadata['target_classes']
    classes = json.loads(classes) if isinstance(classes, str) else classes
    assert classes == {'names': ['ground', 'box'], 'colors': COLOURS.tolist()}


def test_pytorchs_networks_have_no_softmax(folder, tmp_path):
    flags = dict(workdir=folder / 'run', format='pytorch', output=tmp_path / 'a.safetensors')
    message = error_of(lambda: run_command(export, **flags))
    assert 'target_classes=2' in message and 'allowed are --format=onnx' in message


# ---------------------------------------------------------------- the demo


@pytest.mark.parametrize(
    'fields',
    [
        {'dataset__palette': 'a 9,9,9;b 0,200,0;c 0,0,200;'},
        {'dataset__palette': 'a 9,9,9;b 9,9,9;c 255,255,255;'},  # no brushes can have these
        {'dataset__colors': 'a 9,9,9;b 0,200,0;c 255,255,255;void 0,0,0;'},
        {'dataset__void': ''},
        {'dataset__void': '0'},
        {},
    ],
)
def test_brushes_are_the_classes_and_drawings_their_indices(fields):
    config = tiny_config('unused', dataset__input_classes=3, generator__input_channels=3, **fields)
    drawing.check(config, {}, 'none')
    spec = image_spec.of_config(config)[0]
    brushes = drawing.palette(config, [])
    assert [name for name, _ in brushes][:3] == (
        list('abc') if len(fields) == 1 and ('dataset__void' not in fields) else list('012')
    )
    assert len({colour for _, colour in brushes}) == len(brushes) == 3 + spec.has_void
    indices = np.random.default_rng(0).integers(0, 3 + spec.has_void, (8, 8, 1))
    indices = np.where(indices == 3, class_maps.VOID, indices).astype(np.uint8)
    picture = class_brushes.to_picture(class_maps.one_hot(indices, 3), spec)
    colours = dict(enumerate(colour for _, colour in brushes))
    for (i,), pixel in zip(indices.reshape(-1, 1), picture.reshape(-1, 3)):
        assert tuple(pixel) == colours[min(int(i), 3)]
    drawn = drawing.as_input(picture, config)
    back = np.where(drawn == (255 if spec.coding else spec.void), class_maps.VOID, drawn)
    expected = (
        np.where(indices == spec.void, class_maps.VOID, indices) if not spec.coding else indices
    )
    np.testing.assert_array_equal(back, expected)


@pytest.mark.parametrize('coding', [True, False])
def test_a_run_of_class_inputs_is_drawn_on(folder, tmp_path, coding):
    """Labels to photo: a drawing in the brushes' colours is what the run was trained on."""
    if coding:
        some = config_of(
            folder,
            dataset__direction='AtoB',
            dataset__input_classes=2,
            generator__input_channels=2,
            dataset__target_classes=0,
            generator__output_channels=3,
            loss__class_weight=0.0,
            num_steps=2,
        )
    else:
        for side in 'AB':
            (tmp_path / 'pairs' / 'train' / side).mkdir(parents=True)
        for path in sorted((folder / 'pairs' / 'train').iterdir()):
            pair = np.asarray(Image.open(path))
            image = Image.fromarray((pair[:, :SIZE, 0] > 0).astype(np.uint8))
            image.putpalette([1, 2, 3, 40, 50, 60])
            image.save(tmp_path / 'pairs' / 'train' / 'A' / path.name)
            Image.fromarray(pair[:, SIZE:]).save(tmp_path / 'pairs' / 'train' / 'B' / path.name)
        some = tiny_config(
            tmp_path / 'pairs', dataset__input_classes=2, generator__input_channels=2, num_steps=2
        )
    train_and_evaluate(some, tmp_path / 'run')
    translator = Translator(tmp_path / 'run')
    expected = COLOURS if coding else np.uint8([[1, 2, 3], [40, 50, 60]])
    brushes = drawing.palette(translator.config, [])
    np.testing.assert_array_equal([colour for _, colour in brushes[:2]], expected)
    splits, why = run_splits.whole_splits(tmp_path / 'run', translator.config)
    assert not why
    _, pictures = drawing.samples(translator.config, splits)
    assert {tuple(c) for c in pictures[0].reshape(-1, 3)} <= {tuple(c) for c in expected}
    split = splits['test' if coding else 'train']
    loaded = translator.load(drawing.as_input(pictures[0], translator.config))
    file = split.files[0][0]
    if coding:
        indices = np.asarray(Image.open(file))[:, :SIZE, :1] > 0
        Image.fromarray(np.asarray(Image.open(file))[:, :SIZE]).save(tmp_path / 'upload.png')
    else:
        indices = np.asarray(Image.open(file))[..., None]
        Image.open(file).save(tmp_path / 'upload.png')
    np.testing.assert_array_equal(loaded.values, indices)
    np.testing.assert_array_equal(
        drawing.uploaded(tmp_path / 'upload.png', translator.config), pictures[0]
    )
    assert page.translated(translator, pictures[0], 0).shape == (SIZE, SIZE, 3)


def test_the_demo_shows_classes_in_colours(folder):
    translator = Translator(folder / 'run')
    photo = np.asarray(Image.open(next((folder / 'photos').iterdir())))
    shown = page.translated(translator, photo, 0)
    assert {tuple(map(int, c)) for c in np.unique(shown.reshape(-1, 3), axis=0)} <= {
        (0, 0, 255),
        (255, 0, 0),
    }


def test_where_an_input_has_no_data_no_class_is_shown(folder, tmp_path):
    translator = Translator(folder / 'run')
    translator.config.dataset.nodata = 'nan'
    image = np.full((SIZE, SIZE, 3), 0.5, np.float32)
    image[8:24, 8:24] = np.nan
    loaded = translator.load(image)
    (output,) = translator.translate([loaded])
    files._write(translator, tmp_path, 'photo', 'output', loaded, output)
    indices = np.asarray(Image.open(tmp_path / 'photo.png'))
    np.testing.assert_array_equal(indices == class_maps.VOID, np.isnan(image[..., 0]))
    shown = np.asarray(Image.open(tmp_path / 'gallery' / 'photo_output.jpg'))
    assert (shown[10:22, 10:22] > 240).all() and (shown[:6].min(-1) < 100).all()
