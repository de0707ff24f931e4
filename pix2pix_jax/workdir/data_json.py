"""data.json in a run's folder: which pairs each split has, and what was found in them.

It is written when the run starts. A run that resumes uses these pairs, in their order, or refuses
where names came or went; with `dataset.on_error=skip` only where some went.
"""

import contextlib
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from pix2pix_jax.config import Config
from pix2pix_jax.data import discover, hold_out, preflight, sources
from pix2pix_jax.data.formats import windows
from pix2pix_jax.data.formats.pixels import File
from pix2pix_jax.data.hold_out import Known, SplitPairs
from pix2pix_jax.data.sources import Source
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.storage import atomic
from pix2pix_jax.workdir import run_files
from pix2pix_jax.workdir.config_json import load_config
from pix2pix_jax.workdir.run_json import steps_before

FILE = 'data.json'
EMPTY = json.dumps({'steps': 0, 'found': {}, 'splits': {}}) + '\n'  # the pairs are not known
OLD = 'pairs.json'  # of versions before 0.2.0, with dataset.on_error=skip alone
FIRST = (0, 2)  # the version that wrote the first data.json


def load_known(workdir: epath.PathLike) -> Known:
    """Returns the record of the data of the run in `workdir`; an empty one where there is no run.

    Raises DataError where data.json is damaged, or missing though the run has checkpoints. Runs of
    versions before 0.2.0 have no data.json: their val split is drawn as these versions drew it, and
    `remark` says so.
    """
    workdir = epath.Path(workdir)
    if not run_files.exists(workdir, 'config.json'):
        return Known()
    old = steps_before(workdir, FIRST)  # steps taken by versions that wrote no data.json
    name = _file(workdir)
    known = _read(workdir, name) if name else Known()
    if not run_files.has_checkpoints(workdir):  # nothing was trained on it
        return Known(old=old > 0)
    config = load_config(workdir)
    if not name:
        known = known._replace(remark=_old_draw(workdir))
    if not name and (old < math.inf or config.dataset.on_error == 'skip'):
        missing = workdir / (FILE if old < math.inf else OLD)
        raise DataError(f'{missing} is missing: it says which pairs the run uses; put it back')
    size = () if config.image_size == (0, 0) else tuple(config.image_size)
    of_scenes = '' if config.dataset.windows == 'auto' else config.dataset.windows
    known = known._replace(image_size=size, windows=of_scenes)
    return known._replace(target_scale=config.dataset.target_scale, exists=True, old=old > 0)


def write_known(workdir: epath.PathLike, splits: Mapping[str, Source], steps: int) -> None:
    """Writes `workdir`/data.json: the pairs of `splits`, those left out, the length of the run."""
    recorded = {
        split: SplitPairs(source.names, source.skipped or {}, source.held_out)._asdict()
        for split, source in splits.items()
    }
    found = found_in(splits['train']) if splits else {}
    found['whole_paths'] = any(
        any(map(_is_whole_path, source.names, source.files)) for source in splits.values()
    )
    text = json.dumps({'steps': steps, 'found': found, 'splits': recorded}, indent=1)
    atomic.write_text(epath.Path(workdir) / FILE, text + '\n')


def found_in(train: Source) -> dict[str, Any]:
    """Returns what a run takes from its data: the most common size, and the images in an input.

    And whether pairs lie side by side, and the type of the first input file that can be read; of
    four channels whether it is RGBA, of several images in an input the channels of each.
    """
    found = {
        'size': list(preflight.common_size(train)),
        'inputs': train.inputs,
        'side_by_side': train.is_halves,
    }
    for i in range(min(len(train), sources.FIRST)):
        with contextlib.suppress(DataError):
            raster, *others = map(windows.open_raster, train.input_files(i))
            found['input_type'] = raster.dtype.name
            if raster.channels == 4:
                found['input_opacity'] = raster.opacity
            if others:
                each = [3 if one.opacity else one.channels for one in (raster, *others)]
                found['input_channels'] = each
            return found
    return found


def _is_whole_path(name: str, files: Sequence[File]) -> bool:
    """Whether a pair is named by its target's whole path, as where a list gives it."""
    path = pathlib.PurePath(str(files[-1]))
    folders = [part for part in path.parent.parts if part not in ('..', '.', '/')]
    return path.is_absolute() and name.startswith('/'.join([*folders, '']))


def recorded(workdir: epath.PathLike) -> dict[str, Any]:
    """Returns what `found_in` found when a run started; {} where nobody knows."""
    try:
        return load_known(workdir).found
    except UserError:
        return {}


def check_unchanged(
    found: dict[str, Source], config: Config, known: Known, workdir: epath.PathLike
) -> None:
    """Raises DataError, naming what came and went, where the data is not what data.json says.

    Args:
      found: the splits as they lie in their folders.
      config: of the run; where dataset.on_error is 'skip', names are not compared.
      known: what data.json says; without splits nothing is checked.
      workdir: the folder of the run, for the message.
    """
    if not known.splits:
        return
    names = {split: source.names for split, source in found.items()}
    changes, way = [], 'put it back as it was'
    if config.dataset.on_error != 'skip':
        changes = hold_out.changes(known.splits, names)
        came, went = hold_out.came(known.splits, names), hold_out.went(known.splits, names)
        parts = ['take away what came'] * bool(came) + ['put back what went'] * bool(went)
        way = ' and '.join(parts) or way
    if not changes and known.found:
        now = found_in(discover.divide(found, config, known)['train'])
        changes = [
            f'{name}: {known.found[name]} -> {now[name]}'
            for name in now
            if now[name] != known.found.get(name, now[name])
        ]
    if changes:
        raise DataError(
            f'the data is not what {epath.Path(workdir) / FILE} says: {"; ".join(changes)}; {way} '
            'to resume the run, or start a new one on it, from these weights: '
            f'--config.init_from={workdir} and another --workdir'
        )


def add_earlier_splits(known: Known, config: Config) -> Known:
    """Returns `known`, of a new run, with the splits that the run of `config.init_from` had.

    Only a run that held val or test out of train has drawn any. Windows of another size are others,
    whatever their names; where files are held out whole, these keep their split.
    """
    workdir, d = config.init_from, config.dataset
    if known.exists or not workdir or not (d.val_fraction or d.test_fraction):
        return known
    try:
        theirs, begun = load_known(workdir), load_config(workdir)
        splits = theirs.splits
        if theirs.old and not splits:
            opened = discover.open_splits(begun, theirs)
            splits = {s: SplitPairs(x.names, {}, x.held_out) for s, x in opened.items()}
    except UserError as error:
        remark = f'its pairs are not known ({error}): what is held out is drawn anew'
        return known._replace(remark=f'config.init_from={workdir}: {remark}')
    earlier, cells = _divided(splits), _cells(begun)
    why = ''
    if not earlier:
        why = 'it held no pairs out' if splits else 'its pairs are not known'
    elif begun.dataset.windows == 'on' and cells != _cells(config):
        why = f'it held out {cells}, which are not those of this run'
    if why:
        remark = f'{why}: those held out now may be ones it was trained on'
        return known._replace(remark=f'config.init_from={workdir}: {remark}')
    return known._replace(earlier=earlier)


def _cells(config: Config) -> str:
    """Returns what a run on windows holds out: whole scenes, whatever its windows, or windows."""
    if config.dataset.hold_out == 'file':
        return 'whole scenes'
    height, width = config.image_size
    return f'windows of {width}x{height}'


def elsewhere(known: Known) -> Known:
    """Returns `known` for data in another folder than that of the run.

    Names that the run divided keep their split. A run whose division is not known draws val again
    in the same way, from the names that there are.
    """
    earlier = _divided(known.splits)
    return Known(exists=True, old=known.old, earlier=earlier, remark=known.remark)


def _divided(splits: dict[str, SplitPairs]) -> dict[str, str]:
    """Returns the split of each name that a run divided into train and what it held out."""
    of_train = [s for s, pairs in splits.items() if hold_out.place(s, pairs, {}) == 'train']
    return {
        name: split
        for split in of_train
        if len(of_train) > 1
        for name in (*splits[split].used, *splits[split].skipped)
    }


def _old_draw(workdir: epath.Path) -> str:
    """Says how the pairs of a run without data.json are found."""
    text = f'{workdir} has no {FILE} yet: the pairs are taken to be those it began with'
    if not run_files.exists(workdir, 'run.json'):
        text += ', divided as versions before 0.2.0 did, as there is no run.json either'
    return text


def left_out(splits: dict[str, Source]) -> list[str]:
    """Returns lines for a person: how many pairs of each split are left out, and the first why."""
    return [
        f'{split}: {len(source.skipped):,} bad pairs left out, {len(source):,} used '
        f'(config.dataset.on_error=skip): {"; ".join(list(source.skipped.values())[:3])}'
        + ('; …' if len(source.skipped) > 3 else '')
        for split, source in splits.items()
        if source.skipped
    ]


def skipped_pairs(workdir: epath.PathLike) -> list[tuple[str, str, str]]:
    """Returns split, name and reason of each pair that the run in `workdir` leaves out."""
    name = _file(workdir)
    splits = _read(workdir, name).splits if name else {}
    return [(split, *pair) for split, pairs in splits.items() for pair in pairs.skipped.items()]


def to_json(known: Known) -> str:
    """Returns `known` as JSON."""
    splits = {split: pairs._asdict() for split, pairs in known.splits.items()}
    return json.dumps({**known._asdict(), 'splits': splits})


def from_json(text: str) -> Known:
    """Returns the `Known` that `to_json` wrote."""
    fields = json.loads(text)
    splits = {split: SplitPairs(**pairs) for split, pairs in fields['splits'].items()}
    return Known(**fields)._replace(splits=splits, image_size=tuple(fields['image_size']))


def portable(workdir: epath.PathLike) -> tuple[str, str]:
    """Returns name and text of the file that lists the pairs of a run, ('', '') where it has none.

    The text is without the reasons why pairs are left out, which name files of this machine.
    """
    name = _file(workdir)
    if not name:
        return '', ''
    known = _read(workdir, name)
    splits = {
        split: pairs._replace(skipped=dict.fromkeys(pairs.skipped, 'left out'))._asdict()
        for split, pairs in known.splits.items()
    }
    data = {'steps': known.steps, 'found': known.found, 'splits': splits}
    return name, json.dumps(splits if name == OLD else data, indent=1) + '\n'


def _file(workdir: epath.PathLike) -> str:
    """Returns the name of the file that lists the pairs of a run, '' where it has none."""
    return next((name for name in (FILE, OLD) if run_files.exists(workdir, name)), '')


def _read(workdir: epath.PathLike, name: str) -> Known:
    path = epath.Path(workdir) / name
    try:
        data = json.loads(run_files.read_text(workdir, name) or '')
        if name == OLD:
            data = {'splits': data}
        splits = {
            split: SplitPairs(
                _strings(pairs['used']), dict(pairs['skipped']), pairs.get('held_out')
            )
            for split, pairs in data['splits'].items()
        }
        if splits and 'train' not in splits:
            raise TypeError('there is no train')
        return Known(splits=splits, found=dict(data.get('found', {})), steps=data.get('steps', 0))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(f'{path} is damaged ({error!r}): no run wrote it so') from error


def _strings(names: list[str]) -> tuple[str, ...]:
    if not names or not all(isinstance(name, str) for name in names):
        raise TypeError('names must be strings')
    return tuple(names)
