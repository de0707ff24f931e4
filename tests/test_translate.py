import numpy as np
import pytest
from absl.testing import flagsaver
from PIL import Image

from pix2pix_jax import config, files, inference, translate
from pix2pix_jax.errors import run_command

SIZE = 16


def write_image(path, value, size=(SIZE, SIZE)):
    image = np.random.default_rng(value).integers(0, 256, (*size, 3), dtype=np.uint8)
    files.write_bytes(path, files.encode_png(image))
    return image


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def names(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob('*') if p.is_file())


def run(*args):
    """The exit status of the command with these flags."""
    with flagsaver.flagsaver(), pytest.raises(SystemExit) as stopped:
        run_command(translate.main, ['translate', '--workdir=run', *args])
    return stopped.value.code


@pytest.fixture(autouse=True)
def translators(monkeypatch):
    """A run whose generator negates; returns the switches of each translator made."""
    c = config.default_config()
    c.image_size = (SIZE, SIZE)
    made = []

    def create(config, variables, **switches):
        made.append(switches)

        def negate(images, sample=0):
            assert images.dtype == np.float32 and images.shape[1:] == (SIZE, SIZE, 3)
            assert len(images) <= switches['batch'] and np.abs(images).max() <= 1
            return -images * (1 if sample == 0 else 0)

        return negate

    monkeypatch.setattr(inference, 'load_run', lambda *args: inference.Run(c, 1, args[1], {}))
    monkeypatch.setattr(inference, 'Translator', create)
    return made


@pytest.mark.parametrize('batch', [1, 2, 7])
def test_a_folder_keeps_its_names(tmp_path, batch):
    images = {f'{n}.png': write_image(tmp_path / 'in' / f'{n}.png', i)
              for i, n in enumerate(('a', 'b.c', 'sub/d'))}  # fmt: skip
    (tmp_path / 'in' / 'readme.txt').write_text('not an image')
    assert run(f'--input={tmp_path}/in', f'--output={tmp_path}/out', f'--batch={batch}') == 0
    assert names(tmp_path / 'out') == sorted(images)
    for name, image in images.items():
        np.testing.assert_array_equal(read(tmp_path / 'out' / name), 255 - image)


def test_any_size_and_mode_is_resized_to_the_trained_one(tmp_path):
    for i, mode in enumerate(('L', 'RGBA', 'P', '1', 'I;16')):
        path = tmp_path / 'in' / f'{i}.png'
        path.parent.mkdir(exist_ok=True)
        Image.new(mode, (30 + i, 9)).save(path)
    assert run(f'--input={tmp_path}/in', f'--output={tmp_path}/out') == 0
    for name in names(tmp_path / 'out'):
        assert read(tmp_path / 'out' / name).shape == (SIZE, SIZE, 3)


def test_files_and_patterns(tmp_path):
    for name in ('x/a.png', 'x/b.png', 'y/a.png', 'y/[1].png'):
        write_image(tmp_path / name, 0)
    for given, expected in (
        ('x/a.png', ['a.png']),
        ('y/[1].png', ['[1].png']),
        ('x/*.png', ['a.png', 'b.png']),
        ('*/a.png', ['x/a.png', 'y/a.png']),
    ):
        output = tmp_path / 'out' / str(abs(hash(given)))
        assert run(f'--input={tmp_path}/{given}', f'--output={output}') == 0
        assert names(output) == expected


def test_samples(tmp_path):
    image = write_image(tmp_path / 'a.png', 0)
    assert run(f'--input={tmp_path}/a.png', f'--output={tmp_path}/out', '--samples=2') == 0
    assert names(tmp_path / 'out') == ['a_s0.png', 'a_s1.png']
    np.testing.assert_array_equal(read(tmp_path / 'out' / 'a_s0.png'), 255 - image)
    assert (read(tmp_path / 'out' / 'a_s1.png') == 128).all()


def test_switches_reach_the_translator(tmp_path, translators):
    write_image(tmp_path / 'a.png', 0)
    args = (f'--input={tmp_path}/a.png', '--overwrite', f'--output={tmp_path}/out')
    run(*args)
    run(*args, '--nodropout', '--seed=3', '--norm=running', '--batch=4')
    assert translators == [
        {'norm': '', 'dropout': None, 'seed': None, 'batch': 1},
        {'norm': 'running', 'dropout': False, 'seed': 3, 'batch': 4},
    ]


def test_a_bad_file_is_named_and_the_others_are_done(tmp_path, capsys):
    for name in ('a', 'c'):
        write_image(tmp_path / 'in' / f'{name}.png', 0)
    whole = (tmp_path / 'in' / 'a.png').read_bytes()
    (tmp_path / 'in' / 'b.jpg').write_bytes(b'nonsense')
    (tmp_path / 'in' / 'd.png').write_bytes(whole[: len(whole) // 2])
    assert run(f'--input={tmp_path}/in', f'--output={tmp_path}/out', '--batch=2') == 1
    assert names(tmp_path / 'out') == ['a.png', 'c.png']
    printed = capsys.readouterr()
    errors = printed.err.splitlines()
    assert len(errors) == 2 and 'b.jpg' in errors[0] and 'd.png' in errors[1]
    assert '2 of 4 images' in printed.out


def test_nothing_of_the_user_is_overwritten(tmp_path, capsys):
    write_image(tmp_path / 'in' / 'a.png', 0)
    files.write_text(tmp_path / 'out' / 'notes.txt', 'mine')
    files.write_text(tmp_path / 'file', 'mine')
    before = {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}
    for given, output in (
        ('in', 'out'),
        ('in', 'file'),
        ('in', 'in --overwrite'),
        ('in', 'in/out --overwrite'),
        ('in/a.png', 'in --overwrite'),
        ('in/*.png', 'in --overwrite'),
    ):
        assert run(f'--input={tmp_path}/{given}', *f'--output={tmp_path}/{output}'.split()) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert before == {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}
    assert run(f'--input={tmp_path}/in', f'--output={tmp_path}/out', '--overwrite') == 0
    assert names(tmp_path / 'out') == ['a.png', 'notes.txt']


@pytest.mark.parametrize(
    'args, status, message',
    [
        ((), 2, '--input is missing'),
        (('--input={0}/no.png', '--output={0}/o'), 2, 'does not exist'),
        (('--input={0}/*.no', '--output={0}/o'), 2, 'matches no file'),
        (('--input={0}/same', '--output={0}/o'), 1, 'same name'),
        (('--input={0}/same/*', '--output={0}/o'), 1, 'same name'),
        (('--input={0}/empty', '--output={0}/o'), 1, 'no images'),
        (('--input={0}/same/a.png', '--output={0}/o', '--samples=0'), 2, 'samples'),
        (('--input={0}/same/a.png', '--output={0}/o', '--norm=none'), 2, 'norm'),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, args, status, message):
    for name in ('a.png', 'a.jpg'):
        write_image(tmp_path / 'same' / name, 0)
    (tmp_path / 'empty').mkdir()
    assert run(*(arg.format(tmp_path) for arg in args)) == status
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
    assert not (tmp_path / 'o').exists()
