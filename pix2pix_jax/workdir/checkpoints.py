"""Checkpoints: the state and its config, in `checkpoints/last` and `checkpoints/best` (Orbax).

`last` holds all that a run resumes from, `best` what translates (`GanState.translating`). The files
hold one copy of the state, without a device axis. Saves are synchronous: the step donates its
buffers, and a save that returns is on disk; only then the one before it goes.
"""

import contextlib
import errno
import json
import os
import pathlib
import re
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from pix2pix_jax.config import Config
from pix2pix_jax.errors import UserError
from pix2pix_jax.storage import atomic
from pix2pix_jax.train_state import GanState
from pix2pix_jax.workdir.config_json import from_json, to_json

LAST, BEST = KINDS = 'last', 'best'
BEST_LACKS = ': best translates, and has no discriminator and no optimizers to train on from'
ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}  # a part of the checkpoint is not there
STATUS = {  # of stores and devices, in messages
    'PERMISSION_DENIED': errno.EACCES,
    'DEADLINE_EXCEEDED': errno.ETIMEDOUT,
    'UNAVAILABLE': errno.EIO,
    'RESOURCE_EXHAUSTED': errno.ENOMEM,
}
# The prefix of arrays that older versions did not save -> of those that they started from.
STARTED_FROM = {'ema_batch_stats': 'generator/batch_stats'}


class Checkpoints:
    """The checkpoints of one run; `last` keeps the newest, `best` the best on val."""

    def __init__(self, workdir: epath.PathLike, keep: int = 1, writer: bool = False):
        """Opens `workdir`/checkpoints, which need not exist; `keep` newest stay in `last`.

        A `writer` removes what a kill in the middle of a save left; a reader must not, since the
        save may be under way.
        """
        root = atomic.resolved(workdir) / 'checkpoints'
        self._root, self._keep = root, {'last': keep, 'best': 1}
        # Not Orbax's option: it cleans up in a thread that may outlive the process's main one.
        if writer:
            self._remove_unfinished()
        # Nothing is deleted by Orbax: it does not wait until the new one is on the disk.
        self._managers = {
            kind: _Manager(
                root / kind,
                options=ocp.CheckpointManagerOptions(
                    create=False,
                    enable_async_checkpointing=False,
                    # The state is the same on all processes: one of them saves and restores it.
                    multiprocessing_options=ocp.options.MultiprocessingOptions(
                        primary_host=0, active_processes={0}
                    ),
                ),
                item_names=('state', 'config'),
            )
            for kind in KINDS
        }

    def steps(self, kind: str) -> list[int]:
        """Returns the steps saved as `kind`, in order."""
        return sorted(self._managers[kind].all_steps())

    def save(self, kind: str, step: int, state: Any, config: Config) -> None:
        """Saves a state, and removes later ones, from which the run could not resume.

        Args:
          kind: 'last' or 'best'.
          step: how many steps are done.
          state: after them, without a device axis.
          config: of the run, which is saved with it.

        Raises:
          OSError: where the disk refuses; the checkpoints that were there stay.
        """
        manager, folder = self._managers[kind], self._root / kind
        for later in manager.all_steps():
            if later >= step:
                manager.delete(later)
        arrays = _arrays(state)
        if jax.process_count() > 1:  # as numpy: Orbax takes a device's arrays for a part of all
            arrays = jax.device_get(arrays)
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(arrays),
            config=ocp.args.JsonSave(json.loads(to_json(config))),
        )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _without_logs_of_orbax():
                manager.save(step, args=items, force=True)
                manager.wait_until_finished()
        except Exception as error:
            with contextlib.suppress(OSError):  # `error` says more; the next start removes it, too
                self._remove_unfinished()  # it may fill the disk
            refused = _refusal(error, folder)
            if refused is None:
                raise
            raise refused from error
        atomic.sync_tree(folder / str(step))
        for parent in (folder, self._root, self._root.parent, self._root.parent.parent):
            atomic.sync_folder(parent)
        for old in self.steps(kind)[: -self._keep[kind]]:
            manager.delete(old)

    def _remove_unfinished(self) -> None:
        for left in self._root.glob('*/*.orbax-checkpoint-tmp*'):
            _remove(left)
        if not atomic.is_local(
            self._root
        ):  # object stores rename no folder: Orbax marks whole ones
            for path in self._root.glob('*/*'):
                if path.name.isdecimal() and not ocp.utils.is_checkpoint_finalized(path):
                    _remove(path)

    def restore_newest(self, target: Any) -> Any | None:
        """Returns the newest state in `last` that loads, shaped as `target`; None without one.

        Raises UserError where none of them loads, and where there is a `best` alone; OSError where
        the disk or the store does not let it be read, which says nothing of the checkpoint.
        """
        for step in reversed(self.steps('last')):
            try:
                return self.restore('last', step, target)
            except UserError as error:
                logging.warning('%s', error)
        if self.steps('last'):
            raise UserError(f'{self._root}/last: none of the checkpoints loads', status=1)
        if self.steps(BEST):
            raise UserError(f'{self._root}/last is missing{BEST_LACKS}', status=1)
        return None

    def restore(self, kind: str, step: int, target: Any) -> Any:
        """Returns the state saved at `step`, shaped and placed as `target`.

        An array that the checkpoint lacks, since an older version saved it, is a copy of the one
        that it started from (`STARTED_FROM`); arrays that `target` lacks are left out. Raises
        UserError where the checkpoint is damaged or has not what `target` needs, and OSError where
        the disk, the store or the memory does not let it be read.
        """
        wanted = jax.tree.map(ocp.utils.to_shape_dtype_struct, _arrays(target))
        held = self._held(kind, step)
        sources = {name: name if name in held else _started_from(name) for name in wanted}
        missing = [name for name, source in sources.items() if source not in held]
        if missing:
            raise UserError(
                f'{self._root}/{kind}/{step} holds no array {missing[0]}, which the networks of '
                'its config have: it is not a checkpoint of this run',
                status=1,
            )
        # Orbax restores whole trees alone: what is not wanted, too.
        place = next(iter(wanted.values())).sharding
        abstract = {
            name: jax.ShapeDtypeStruct(held[name].shape, held[name].dtype, sharding=place)
            for name in held
        } | {source: wanted[name] for name, source in sources.items()}
        args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
        try:
            restored = self._managers[kind].restore(step, args=args)['state']
        except Exception as error:  # Orbax raises many kinds
            raise self._damaged(kind, step, error) from error
        arrays = {
            name: restored[source] if source == name else jnp.copy(restored[source])
            for name, source in sources.items()
        }
        return jax.tree.map_with_path(lambda path, _: arrays[_name(path)], target)

    def held(self, kind: str, state: GanState) -> GanState:
        """Returns the part of `state`, or of its shapes, that a checkpoint of this kind holds."""
        return state.translating() if kind == BEST else state

    def has_averaged_statistics(self, kind: str, step: int) -> bool:
        """Whether averaged weights have averaged statistics with them; not before 0.2.0."""
        names = self._held(kind, step)
        averaged = any(name.startswith('ema/') for name in names)
        statistics = any(name.startswith('generator/batch_stats/') for name in names)
        return not (averaged and statistics) or any(n.startswith('ema_batch_stats/') for n in names)

    def _held(self, kind: str, step: int) -> dict[str, Any]:
        """Returns the shapes and types of the arrays that a checkpoint holds, by name."""
        folder = self._root / kind / str(step) / 'state'
        try:
            found = ocp.StandardCheckpointHandler().metadata(folder)
            return dict(getattr(found, 'tree', found))
        except Exception as error:  # Orbax raises many kinds
            raise self._damaged(kind, step, error) from error

    def config(self, kind: str, step: int) -> Config:
        """Returns the config that was saved with the state; raises as `restore` does."""
        args = ocp.args.Composite(config=ocp.args.JsonRestore())
        try:
            saved = self._managers[kind].restore(step, args=args)['config']
        except Exception as error:  # Orbax raises many kinds
            raise self._damaged(kind, step, error) from error
        return from_json(json.dumps(saved))

    def _damaged(self, kind: str, step: int, error: Exception) -> Exception:
        """Returns what to raise where Orbax cannot read a checkpoint."""
        folder = self._root / kind / str(step)
        refused = _refusal(error, folder)
        if refused is not None and refused.errno not in ABSENT:
            return refused
        return UserError(f'{folder} does not load, it is damaged: {error}', status=1)

    def find(self, name: str) -> tuple[str, int]:
        """Returns (kind, step) of a checkpoint called 'last', 'best' or by its step.

        '' is 'last'. Raises UserError, with what there is, if there is no such checkpoint.
        """
        name = name or LAST
        there = {kind: self.steps(kind) for kind in KINDS}
        if name in KINDS and there[name]:
            return name, there[name][-1]
        for kind in KINDS:
            if name.isdecimal() and int(name) in there[kind]:
                return kind, int(name)
        found = [kind for kind in KINDS if there[kind]]
        found += [str(s) for s in sorted(set(there['last'] + there['best']))]
        allowed = f'allowed are {" | ".join(found)}' if found else 'there is none yet'
        why = ''
        if name == 'best' and found:
            why = ' (best needs a val split, config.dataset.val_fraction, that has checkpoint.best)'
        if name == LAST and found:
            why = BEST_LACKS
        raise UserError(f'{self._root}: no checkpoint {name!r}, {allowed}{why}')

    def close(self) -> None:
        """Releases the managers."""
        for manager in self._managers.values():
            manager.close()


class _Manager(ocp.CheckpointManager):
    """Saves when it is told to, by one process: signals are the training loop's business."""

    def reached_preemption(self, step: int) -> bool:
        """Asks no other process, unlike Orbax."""
        return False


@contextlib.contextmanager
def _without_logs_of_orbax() -> Iterator[None]:
    """Keeps Orbax from logging the traceback of each thread whose error it raises, too."""

    def is_of_others(record: Any) -> bool:
        return 'orbax' not in pathlib.Path(record.pathname).parts

    logger = logging.get_absl_logger()
    logger.addFilter(is_of_others)
    try:
        yield
    finally:
        logger.removeFilter(is_of_others)


def _refusal(error: Exception, folder: epath.Path) -> OSError | None:
    """Returns what a disk, a store or a full memory refused, if that is why Orbax failed."""
    if isinstance(error, OSError) and error.errno:
        return OSError(error.errno, error.strerror, error.filename or str(folder))
    code = re.search(r"os_error_code='(\d+)'", str(error))  # in tensorstore's ValueErrors
    status = re.search('|'.join(STATUS), str(error))
    if code is None and status is None:
        return None
    number = int(code[1]) if code else STATUS[status[0]] if status else 0
    return OSError(number, os.strerror(number), str(folder))


def _remove(folder: epath.Path) -> None:
    """Removes a folder in which threads of a save that failed may still write and remove files."""
    for _ in range(2):
        with contextlib.suppress(OSError):
            return folder.rmtree()
        time.sleep(0.1)
    folder.rmtree()


def _arrays(state: Any) -> dict[str, Any]:
    """Returns the state as a dict of its arrays by path, the form of the files."""
    return {_name(path): leaf for path, leaf in jax.tree.leaves_with_path(state)}


def _started_from(name: str) -> str | None:
    for prefix, start in STARTED_FROM.items():
        if name.startswith(prefix):
            return start + name.removeprefix(prefix)
    return None


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator='/')
