"""Trackers: services that get a run's scalars, image grids and config, beside the run's own files.

To add one, write a function that begins or resumes a run there and returns a `Service`, and name it
in `SERVICES`. Whatever a service does wrong never stops a run: it is called from a thread, which
nothing waits for but the run's end, and not for long.
"""

import functools
import importlib.util
import io
import itertools
import json
import os
import queue
import secrets
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath
from PIL import Image

from pix2pix_jax.config import Config, flatten
from pix2pix_jax.errors import UserError
from pix2pix_jax.storage import atomic

TRACKER = 'tracker.json'  # in the run's folder: the run's id at each service
PROJECT = 'pix2pix_jax'  # where the service's own variable names no other
MAX_WAITING = 10_000  # calls that a service may be behind
CLOSE_SECONDS = 30  # that a run waits at its end for a service
PARAMS_A_CALL = 100  # MLflow's limit
DRAWN = 'samples.step'  # MLflow's tag: the newest image grid that is there
Row = Mapping[str, Any]  # of metrics.jsonl: numbers, None for what is not finite
PARAM_LENGTH = 500  # characters; of MLflow's servers the oldest take no more


class Service(NamedTuple):
    """A run at a service; the functions may raise whatever they like, and wait."""

    write_scalars: Callable[[int, Mapping[str, float]], None]
    write_image: Callable[[int, np.ndarray], None]
    close: Callable[[], None]


class NullTracker:
    """Stands for the tracker where there is none."""

    def replay(self, rows: Sequence[Row], grids: Sequence[tuple[int, epath.Path]]) -> None:
        """Does nothing."""

    def write_scalars(self, step: int, scalars: Row) -> None:
        """Does nothing."""

    def write_image(self, step: int, image: np.ndarray) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


Call = Callable[[Service], None]


class Tracker:
    """Gives a service what a run writes, from a thread; its methods return at once, none raises."""

    def __init__(self, name: str, begin: Callable[[], Service]):
        """Starts the thread, in which `begin` begins or resumes the run at the service `name`."""
        self._name = name
        self._calls: queue.Queue[Sequence[Call]] = queue.Queue(MAX_WAITING)
        self._lost, self._has_failed = 0, False
        self._send(_begin)
        self._thread = threading.Thread(target=self._work, args=(begin,), daemon=True)
        self._thread.start()

    def replay(self, rows: Sequence[Row], grids: Sequence[tuple[int, epath.Path]]) -> None:
        """Sends the rows and image grids that a run has, in the order of their steps.

        `rows` are those of metrics.jsonl, `grids` steps and the files of their grids. However many
        they are, they wait as one.
        """
        calls = [(row['step'], functools.partial(_write_scalars, row['step'], row)) for row in rows]
        calls += [(step, functools.partial(_write_file, step, path)) for step, path in grids]
        self._send(*(call for _, call in sorted(calls, key=lambda item: item[0])))

    def write_scalars(self, step: int, scalars: Row) -> None:
        """Sends those of the `scalars` of a step (>= 1) that are numbers, and not the step."""
        self._send(functools.partial(_write_scalars, step, scalars))

    def write_image(self, step: int, image: np.ndarray) -> None:
        """Sends an image grid (uint8, H,W,3)."""
        self._send(lambda service: service.write_image(step, image))

    def close(self) -> None:
        """Ends the run at the service, and says what did not reach it."""
        self._send(_close)
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            self._warn(f'no answer in {CLOSE_SECONDS} s')
        if self._lost or self._thread.is_alive():
            self._warn("something did not reach it; the run's folder holds all of it")

    def _send(self, *calls: Call) -> None:
        try:
            self._calls.put_nowait(calls)
        except queue.Full:
            self._lost += 1

    def _work(self, begin: Callable[[], Service]) -> None:
        service: Service | None = None
        call: Call = _begin
        waiting = itertools.chain.from_iterable(iter(self._calls.get, None))
        while call is not _close:
            call = next(waiting)
            try:
                if service is None:  # tried again with each call
                    service = begin()
                call(service)
            except BaseException as error:  # wandb ends a thread by SystemExit, too
                if not self._has_failed:
                    self._warn(f'{type(error).__name__}: {" ".join(str(error).split())[:300]}')
                self._has_failed = True
                self._lost += call is not _begin

    def _warn(self, what: str) -> None:
        print(f'warning: --tracker={self._name}: {what}', file=sys.stderr, flush=True)


def _begin(service: Service) -> None:
    """Does nothing: the first call, with which the run begins at the service."""


def _close(service: Service) -> None:
    service.close()


def _write_scalars(step: int, scalars: Row, service: Service) -> None:
    found = {k: v for k, v in scalars.items() if k != 'step' and v is not None}
    service.write_scalars(step, found)


def _write_file(step: int, path: epath.Path, service: Service) -> None:
    picture = Image.open(io.BytesIO(path.read_bytes()))
    service.write_image(step, np.asarray(picture.convert('RGB')))


def check_tracker(name: str) -> None:
    """Raises UserError where the package of the tracker `name` is not installed."""
    if name != 'none' and importlib.util.find_spec(name) is None:
        raise UserError(f"--tracker={name} needs {name}: pip install -e '.[{name}]'")


def start_tracker(name: str, workdir: epath.PathLike, config: Config) -> Tracker | NullTracker:
    """Returns the tracker of a run.

    Args:
      name: 'none' or one of SERVICES.
      workdir: the run's folder, whose name is the run's at the service.
      config: the run's.
    """
    if name == 'none':
        return NullTracker()
    workdir = epath.Path(workdir)
    return Tracker(name, functools.partial(SERVICES[name], workdir, config))


def _wandb(workdir: epath.Path, config: Config) -> Service:
    """Begins or resumes a run of Weights & Biases.

    Its own steps never go back, and a row of them is whole once a later one begins: so each call
    makes a row, and our step is one of its values, over which the charts are drawn. The newest step
    that is there may lack what a signal prevented, and comes again.
    """
    import wandb

    ids = _ids(workdir)
    local = os.fspath(workdir) if atomic.is_local(workdir) else None
    run = wandb.init(
        project=os.environ.get('WANDB_PROJECT', PROJECT),
        dir=local,
        id=ids.get('wandb') or secrets.token_hex(8),
        name=workdir.name,
        resume='allow',
        config=config.to_dict(),
        allow_val_change=True,  # of fields that a run may change when it resumes
        settings=wandb.Settings(console='off', quiet=True),  # it says itself where the run is
    )
    _keep(workdir, ids | {'wandb': run.id})
    run.define_metric('step', hidden=True)
    run.define_metric('*', step_metric='step')
    newest = run.summary.get('step', 0)

    def write(step: int, values: Mapping[str, Any]) -> None:
        if step >= newest:
            run.log({**values, 'step': step})

    return Service(
        write,
        lambda step, image: write(step, {'samples': wandb.Image(image)}),
        run.finish,
    )


def _mlflow(workdir: epath.Path, config: Config) -> Service:
    """Begins or resumes a run of MLflow, which keeps all values that a key gets at a step."""
    import mlflow
    from mlflow.entities import Metric, Param

    client, ids = mlflow.MlflowClient(), _ids(workdir)
    try:
        run_id = client.get_run(ids.get('mlflow', '')).info.run_id
        client.update_run(run_id, 'RUNNING')
    except mlflow.exceptions.MlflowException:  # a new run, or its service is another now
        name = os.environ.get('MLFLOW_EXPERIMENT_NAME', PROJECT)
        experiment = client.get_experiment_by_name(name)
        place = experiment.experiment_id if experiment else client.create_experiment(name)
        run_id = client.create_run(place, run_name=workdir.name).info.run_id
        _keep(workdir, ids | {'mlflow': run_id})
        params = [Param(k, str(v)[:PARAM_LENGTH]) for k, v in flatten(config).items()]
        for i in range(0, len(params), PARAMS_A_CALL):
            client.log_batch(run_id, params=params[i : i + PARAMS_A_CALL])
    print(f'mlflow: run {workdir.name} ({run_id}) at {mlflow.get_tracking_uri()}', flush=True)
    last = {
        key: max(metric.step for metric in client.get_metric_history(run_id, key))
        for key in client.get_run(run_id).data.metrics
    }
    drawn = int(client.get_run(run_id).data.tags.get(DRAWN, 0))

    def write_scalars(step: int, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        new = [Metric(k, v, now, step) for k, v in values.items() if step > last.get(k, 0)]
        client.log_batch(run_id, metrics=new)

    def write_image(step: int, image: np.ndarray) -> None:
        if step > drawn:
            client.log_image(run_id, image, key='samples', step=step)
            client.set_tag(run_id, DRAWN, step)

    return Service(write_scalars, write_image, lambda: client.set_terminated(run_id))


SERVICES: dict[str, Callable[[epath.Path, Config], Service]] = {'wandb': _wandb, 'mlflow': _mlflow}


def _ids(workdir: epath.Path) -> dict[str, str]:
    path = workdir / TRACKER
    return json.loads(path.read_text()) if path.exists() else {}


def _keep(workdir: epath.Path, ids: Mapping[str, str]) -> None:
    atomic.write_text(workdir / TRACKER, json.dumps(ids, indent=2) + '\n')
