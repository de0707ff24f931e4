"""The weights of a packed run: one checkpoint without optimizers, as safetensors.

`packed.json` says which checkpoint it is. Arrays have the names that they have in the run, as
params/down0/kernel, and are float32, or kernels float16 and all others float32.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from etils import epath
from flax.traverse_util import flatten_dict, unflatten_dict

from pix2pix_jax.config import Config
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.train_state import GanState, TrainState
from pix2pix_jax.workdir import run_files
from pix2pix_jax.workdir.checkpoints import KINDS, Checkpoints
from pix2pix_jax.workdir.config_json import load_config

FORMAT = 1  # of packed.json and the files beside it
GENERATOR, AVERAGED = 'generator.safetensors', 'generator_averaged.safetensors'
DISCRIMINATOR = 'discriminator.safetensors'
DTYPES = 'float32', 'float16'
NAME = re.compile(r'(\w+/)*\w+\.(json|jsonl|safetensors)')  # of a file beside packed.json


class About(NamedTuple):
    """What packed.json says."""

    checkpoint: str  # 'last' or 'best': what the weights were in the run
    step: int
    dtype: str  # of the kernels
    files: tuple[str, ...]  # that are there beside it, and read


def open_checkpoints(workdir: epath.PathLike) -> 'Checkpoints | PackedCheckpoint':
    """Returns the checkpoints of a run to read, those of its folder or that of a packed run."""
    return PackedCheckpoint(workdir) if run_files.is_packed(workdir) else Checkpoints(workdir)


class PackedCheckpoint:
    """The one checkpoint of a packed run; it reads as `Checkpoints`."""

    def __init__(self, workdir: epath.PathLike):
        """Reads packed.json; raises UserError where there is none, DataError for a damaged one."""
        self._workdir = epath.Path(workdir)
        self.about = load_about(workdir)

    def steps(self, kind: str) -> list[int]:
        """Returns the steps held as `kind`: one or none."""
        return [self.about.step] if kind == self.about.checkpoint else []

    def find(self, name: str) -> tuple[str, int]:
        """Returns (kind, step); raises UserError where `name`, unless it is '', is another."""
        kind, step = self.about.checkpoint, self.about.step
        if name not in ('', kind, str(step)):
            raise UserError(
                f'{self._workdir}: no checkpoint {name!r}, a packed run holds one: allowed are '
                f'{kind} | {step}'
            )
        return kind, step

    def config(self, kind: str, step: int) -> Config:
        """Returns the config of the run."""
        return load_config(self._workdir)

    def held(self, kind: str, state: GanState) -> GanState:
        """Returns the part of `state`, or of its shapes, that is held: no optimizers, maybe no D.

        Raises UserError where D is held and the config has none.
        """
        held, discriminator = state.translating(), state.discriminator
        if DISCRIMINATOR not in self.about.files:
            return held
        if discriminator is None:
            raise self._foreign(DISCRIMINATOR, "it is there, and config.loss.gan='none'")
        return held.replace(discriminator=discriminator.replace(opt_state=()))

    def restore(self, kind: str, step: int, target: GanState) -> GanState:
        """Returns the state, shaped and placed as `target`; raises DataError."""
        generator = self._network(target.generator, GENERATOR)
        discriminator, ema = target.discriminator, {}
        if discriminator is not None:
            discriminator = self._network(discriminator, DISCRIMINATOR)
        if target.ema is not None:
            shapes = {'params': target.ema, 'batch_stats': target.ema_batch_stats}
            averages = self._variables(shapes, AVERAGED)
            ema = {'ema': averages['params'], 'ema_batch_stats': averages['batch_stats']}
        return target.replace(generator=generator, discriminator=discriminator, **ema)

    def has_averaged_statistics(self, kind: str, step: int) -> bool:
        """Whether averaged weights have averaged statistics with them: always."""
        return True

    def close(self) -> None:
        """Releases nothing."""

    def _network(self, shapes: TrainState, file: str) -> TrainState:
        step = jax.device_put(jnp.int32(self.about.step), shapes.step.sharding)
        return shapes.replace(step=step, **self._variables(shapes.variables, file))

    def _variables(self, shapes: Mapping[str, Any], file: str) -> dict[str, Any]:
        """The variables in a file, which must be of these `shapes`, where their shardings say."""
        data = run_files.read(self._workdir, file)
        if data is None:
            raise self._foreign(file, 'it is missing')
        wanted = flatten_dict(shapes, sep='/')
        try:
            there = safetensors.numpy.load(data)
        except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
            raise self._foreign(file, f'damaged: {str(error)[:200]}') from error
        flat = {}
        for name in (*there, *wanted):
            if name not in there or name not in wanted or there[name].shape != wanted[name].shape:
                shape = wanted[name].shape if name in wanted else 'no such array'
                found = there[name].shape if name in there else 'missing'
                raise self._foreign(file, f'{name[:99]} is {found}, and of its config {shape}')
            if there[name].dtype.name not in DTYPES:
                allowed = f'allowed are {" | ".join(DTYPES)}'
                raise self._foreign(file, f'{name} is of {there[name].dtype}: {allowed}')
            value = there[name].astype(np.float32)
            if not np.isfinite(value).all():
                raise self._foreign(file, f'{name} has values that are not finite')
            flat[name] = jax.device_put(value, wanted[name].sharding)
        return {'params': {}, 'batch_stats': {}} | unflatten_dict(flat, sep='/')

    def _foreign(self, file: str, why: str) -> DataError:
        return DataError(f'{self._workdir / file}: {why}')


def load_about(workdir: epath.PathLike) -> About:
    """Returns what packed.json says.

    Raises UserError where there is none, or one of a newer version, DataError for a damaged one,
    and for a file that is missing.
    """
    path = epath.Path(workdir) / run_files.PACKED
    data = run_files.read(workdir, path.name)
    if data is None:
        raise UserError(f'--workdir={workdir}: no packed run there ({path.name} is missing)')
    try:
        fields = json.loads(data)
        kind, step, dtype, files, number = (fields[k] for k in (*About._fields, 'format'))
        if type(number) is int and number > FORMAT:
            raise UserError(f'{path}: of format {number}, and this version reads {FORMAT}')
        if kind not in KINDS or dtype not in DTYPES or number != FORMAT:
            raise ValueError(f'{kind!r}, {dtype!r}, {number!r}'[:200])
        if type(step) is not int or not 0 <= step < 2**31:
            raise ValueError(f'step {step!r}'[:200])
        if type(files) is not list or not all(map(NAME.fullmatch, files)):
            raise ValueError(f'files {files!r}'[:200])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(f'{path} is damaged ({error!r}): scripts/pack_run.py wrote none so') from (
            error
        )
    missing = next((name for name in files if not run_files.exists(workdir, name)), '')
    if missing:
        raise DataError(f'{path.parent / missing[:99]}: it is missing, and {path.name} names it')
    return About(kind, step, dtype, tuple(files))


def to_json(about: About) -> str:
    """Returns packed.json, which `load_about` reads."""
    return json.dumps({'format': FORMAT, **about._asdict()}, indent=2) + '\n'


def to_safetensors(variables: Mapping[str, Any], dtype: str) -> bytes:
    """Returns a network's params and batch_stats as a file, its kernels of `dtype`.

    Raises UserError for float16 and a kernel that it cannot hold.
    """
    arrays = {}
    for name, value in flatten_dict(variables, sep='/').items():
        array = np.array(value, np.float32, order='C')
        if dtype == 'float16' and name.endswith('/kernel'):
            with np.errstate(over='ignore'):  # it is said below
                array = array.astype(np.float16)
            if not np.isfinite(array).all():
                raise UserError(f'--dtype=float16: {name} has larger values; allowed is float32')
        arrays[name] = array
    return safetensors.numpy.save(arrays, metadata={'format': 'flax'})
