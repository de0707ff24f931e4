"""Makes a run of weights that the paper's authors published for the PyTorch implementation.

python scripts/pretrained.py edges2shoes|sat2map|map2sat|facades_label2photo|day2night \\
    [--workdir=DIR --from=FILE]
python scripts/pretrained.py --list

The file is downloaded once, into ~/.cache/pix2pix_jax/pretrained, and resumed where it was
interrupted; --from takes one that is there already. Its authors publish neither a hash nor a
licence: the hash of the first download is kept, and a later one must have it; ask the authors
before you pass the weights on. Nothing in the file is executed. The run translates as the PyTorch
implementation does without --eval: dropout is on, and norms take each image's own statistics.
"""

import functools
import pathlib
import shlex
import sys
from typing import TYPE_CHECKING, NamedTuple

from absl import flags
from etils import epath

from pix2pix_jax.errors import DataError, UserError, run_command, take_words
from pix2pix_jax.storage import atomic, downloads, user_paths

if TYPE_CHECKING:
    from pix2pix_jax.interop.torch.convert import Network

URL = 'http://efrosgans.eecs.berkeley.edu/pix2pix/models-pytorch/{}.pth'


class Pretrained(NamedTuple):
    """Published weights of a 256x256 U-Net with batch norm and dropout."""

    dataset: str  # a key of PUBLISHED, whose pairs they were trained on
    direction: str
    about: str


WEIGHTS = {
    'edges2shoes': Pretrained('edges2shoes', 'AtoB', 'black edges on white to a photo of a shoe'),
    'sat2map': Pretrained('maps', 'AtoB', 'an aerial photo to a map'),
    'map2sat': Pretrained('maps', 'BtoA', 'a map to an aerial photo'),
    'facades_label2photo': Pretrained('facades', 'BtoA', 'a label map to a photo of a facade'),
    'day2night': Pretrained('night2day', 'BtoA', 'a photo by day to one by night'),
}


def define_flags() -> flags.FlagValues:
    """Returns the flags of this command."""
    values = flags.FlagValues()
    flags.DEFINE_string(
        'workdir', '', 'Folder of the run; by default runs/NAME.', flag_values=values
    )
    flags.DEFINE_string('from', '', 'A file that is there already.', flag_values=values)
    flags.DEFINE_bool('list', False, 'Say which weights there are.', flag_values=values)
    return values


def main(names: list[str], values: flags.FlagValues) -> None:
    """Writes the run of the weights that `names` has, which must be one."""
    if values.list:
        print('\n'.join(f'{name:<20}{known.about}' for name, known in WEIGHTS.items()))
        return
    if len(names) != 1 or names[0] not in WEIGHTS:
        given = ' '.join(names) or 'nothing'
        raise UserError(f'{given} has no published weights: allowed is one of {", ".join(WEIGHTS)}')
    import import_pytorch  # jax takes seconds, which --list need not wait for
    from pix2pix_jax.interop.torch import convert

    name, given = names[0], user_paths.of_flag(values, 'from')
    workdir = epath.Path(user_paths.given(values.workdir or f'runs/{name}', '--workdir'))
    import_pytorch.check_new(workdir)
    generator = convert.read_generator(given) if given else downloaded(name)
    known = WEIGHTS[name]
    dataset = {'name': known.dataset, 'direction': known.direction}
    config = convert.imported_config(generator, dataset=dataset)
    state = convert.imported_state(config, generator)
    words = ['scripts/pretrained.py', *names, *sys.argv[1:]]
    import_pytorch.write_run(workdir, config, state, words)
    for line in import_pytorch.describe(config, state, generator):
        print(line)
    print('no licence is published with these weights: ask their authors before you pass them on')
    print(f'{workdir}: a run from {known.about}:')
    quoted = shlex.quote(str(workdir))
    print(f'python -m pix2pix_jax.translate --workdir={quoted} --input=DIR --output=DIR')
    print(f'python -m pix2pix_jax.demo --workdir={quoted}')


def downloaded(name: str) -> 'Network':
    """Returns the generator of published weights, downloaded where they are not there yet.

    Raises UserError of status 1 where they cannot be downloaded, or are not those of the first
    download; DataError for another network.
    """
    from pix2pix_jax.interop.torch import convert

    folder = atomic.cache_folder() / 'pretrained'
    path, record = folder / f'{name}.pth', folder / f'{name}.sha256'
    first = record.read_text().strip() if record.exists() else ''
    if not path.exists() or (first and downloads.digest(path) != first):
        fetch(URL.format(name), path, first)
    try:
        generator = convert.read_generator(path)
    except DataError:
        path.unlink()  # a page of a proxy: the next call downloads anew
        raise
    digest = downloads.digest(path)
    if not first:
        atomic.write_text(record, f'{digest}\n')
    known = 'as at the first download' if first else 'kept to compare with later downloads'
    print(f'SHA-256 {digest}, {known}')
    return generator


def fetch(url: str, path: pathlib.Path, sha256: str) -> None:
    """Downloads `path`; raises UserError of status 1 where it cannot be had, or is another file."""
    try:
        downloads.download([url], path, sha256)
    except downloads.Unavailable as error:
        hint = 'the same command resumes it; --from=FILE takes a file that you have'
        raise UserError(f'{error}; {hint}', status=1) from error


if __name__ == '__main__':
    run_command(functools.partial(main, take_words(sys.argv)), define_flags)
