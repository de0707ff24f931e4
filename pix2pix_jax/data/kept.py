"""pairs.json: which pairs a run with `dataset.on_error=skip` uses, and which it leaves out.

The list is made once, at the start. A run that goes on takes it as it is, so that its order of
pairs stays the same whatever became of the files since.
"""

import json

from etils import epath

from pix2pix_jax import files
from pix2pix_jax.data.sources import Kept, Source
from pix2pix_jax.errors import DataError
from pix2pix_jax.saved_config import load_config

FILE = 'pairs.json'


def load_kept(workdir: epath.PathLike) -> dict[str, Kept] | None:
    """Returns what the run in `workdir` keeps, by split; None without a run or with 'raise'.

    Raises DataError where the file is damaged, or missing though there are checkpoints.
    """
    workdir = epath.Path(workdir)
    path = workdir / FILE
    config = workdir / 'config.json'
    if not config.exists() or load_config(workdir).dataset.on_error != 'skip':
        return None
    if not path.exists():
        if any((workdir / 'checkpoints').glob('*/*')):
            raise DataError(f'{path} is missing: it says which pairs the run uses; put it back')
        return None
    try:
        return {
            split: Kept(tuple(_strings(kept['used'])), dict(kept['skipped']))
            for split, kept in json.loads(path.read_text()).items()
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f'{path} is damaged ({error!r}): no run wrote it so') from error


def write_kept(workdir: epath.PathLike, splits: dict[str, Source]) -> None:
    """Writes `workdir`/pairs.json: the pairs of `splits`, and those that are left out."""
    kept = {split: Kept(s.names, s.skipped or {})._asdict() for split, s in splits.items()}
    files.write_text(epath.Path(workdir) / FILE, json.dumps(kept, indent=1) + '\n')


def left_out(splits: dict[str, Source]) -> list[str]:
    """Returns lines for a person: how many pairs of each split are left out, and the first why."""
    return [
        f'{split}: {len(source.skipped):,} bad pairs left out, {len(source):,} used '
        f'(config.dataset.on_error=skip): {"; ".join(list(source.skipped.values())[:3])}'
        + ('; …' if len(source.skipped) > 3 else '')
        for split, source in splits.items()
        if source.skipped
    ]


def _strings(names: list[str]) -> list[str]:
    if not names or not all(isinstance(name, str) for name in names):
        raise TypeError('names must be strings')
    return names
