"""Several processes as one run: joining them, one that writes, the same end for all.

They agree through the key-value store of jax.distributed's coordinator, process 0; what has to
be agreed on at every step goes through the devices (`parallel.StopVote`). On one process nothing
here does anything.
"""

import atexit
import contextlib
import hashlib
import itertools
import json
import os
import re
import socket
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn

import jax
from jax.experimental import multihost_utils

from pix2pix_jax.config import Config
from pix2pix_jax.data.sources import Source
from pix2pix_jax.distributed.preemption import StopRequest
from pix2pix_jax.errors import Stopped, UserError
from pix2pix_jax.workdir.config_json import differences, from_json, to_json

JOIN_SECONDS = 300  # to wait for all to start
LEAVE_SECONDS = 10  # to wait for all to hear of an error
MEET_SECONDS = 24 * 3600  # to wait for what one process has to do alone
POLL_SECONDS = 0.2
AUTO = '--hosts=auto'
FAILED, DONE = 'pix2pix_jax/failed', 'pix2pix_jax/done'
_numbers = itertools.count()  # of meetings, the same on all processes


def check_flags(coordinator: str, num_processes: int, process_id: int, found: bool = False) -> None:
    """Raises UserError unless the flags of a process agree.

    Args:
      coordinator: 'HOST:PORT' of process 0; '' for a run of one process.
      num_processes: number of processes of the run, from 1.
      process_id: number of this process, from 0.
      found: --hosts=auto is given, which finds the three: none of them may be given then.
    """
    if found and (coordinator, num_processes, process_id) != ('', 1, 0):
        raise UserError(
            f'{AUTO} finds the processes itself: leave out --coordinator, --num_processes and '
            '--process_id, or --hosts'
        )
    if num_processes < 1:
        raise UserError(f'--num_processes={num_processes}: allowed is 1 or more')
    if coordinator and num_processes == 1:
        raise UserError(
            f'--coordinator={coordinator}: the run would be of this process alone; '
            'give --num_processes=N too, 2 or more, or leave it out'
        )
    if not 0 <= process_id < num_processes:
        raise UserError(
            f'--process_id={process_id}: allowed is 0 to {num_processes - 1}, '
            f'with --num_processes={num_processes}'
        )
    if not coordinator and num_processes > 1:
        raise UserError(
            f'--num_processes={num_processes} needs --coordinator=HOST:PORT: '
            'the host of process 0 and a free port there'
        )
    port = re.fullmatch(r'(?:[\w.-]+|\[[0-9a-fA-F:]+\]):(\d+)', coordinator)
    if coordinator and not (port and 0 < int(port[1]) < 65536):
        raise UserError(f'--coordinator={coordinator}: allowed is HOST:PORT, port 1 to 65535')


@contextlib.contextmanager
def join_processes(
    coordinator: str = '', num_processes: int = 1, process_id: int = 0, found: bool = False
) -> Iterator[None]:
    """Makes this process one of the run's, before the first use of a device, until it ends.

    All processes end together: when one ends with an error or a stop, the others raise the same or
    exit with its status. Only process 0 has standard output. Raises UserError for wrong flags.

    Args:
      coordinator: HOST:PORT of process 0.
      num_processes: of the run; 1 where it is alone.
      process_id: the number of this process, from 0.
      found: whether all three are found: in what SLURM, Open MPI or Kubernetes says, or a TPU pod.
    """
    check_flags(coordinator, num_processes, process_id, found)
    if found:
        _initialize_as_found()
    elif num_processes > 1:
        _initialize(coordinator, num_processes, process_id)
    else:
        yield
        return
    if not is_writer():
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    left = threading.Event()
    watcher = threading.Thread(target=_leave_on_failure, args=[left], daemon=True)
    watcher.start()
    try:
        try:
            yield
            _leave_together()
        except Stopped:
            _leave_together()
            raise
        finally:
            left.set()
            watcher.join()
    except Stopped:
        jax.distributed.shutdown()
        raise
    except BaseException as error:
        _announce(error)
        raise
    jax.distributed.shutdown()


def is_writer() -> bool:
    """Whether this is the one process of the run that writes files."""
    return jax.process_index() == 0


def processes_here() -> int:
    """Returns how many processes of the run are on this machine, by its name."""
    count = jax.process_count()
    if count == 1:
        return 1
    folder, mine = f'pix2pix_jax/machine/{next(_numbers)}', socket.gethostname()
    _client().key_value_set(f'{folder}/{jax.process_index()}', mine)
    limit = MEET_SECONDS * 1000
    names = [_client().blocking_key_value_get(f'{folder}/{i}', limit) for i in range(count)]
    return names.count(mine)


def check_same(config: Config, devices: list[jax.Device], train: Source, steps: int) -> None:
    """Raises UserError unless every process has process 0's config, devices, pairs and length.

    Returns when all processes agree; process 0 writes nothing before. Fields that may change when a
    run resumes (the folder of the data) may differ between processes.

    Args:
      config: the resolved config of this process.
      devices: those of this process.
      train: its training pairs.
      steps: the length of the run.
    """
    if jax.process_count() == 1:
        return
    names = hashlib.sha256('\n'.join(train.names).encode()).hexdigest()
    mine = {'config': to_json(config), 'devices': len(devices), 'pairs': len(train)}
    mine |= {'steps': steps, 'names': names}
    first = json.loads(broadcast_text(json.dumps(mine)))
    wrong = differences(from_json(first['config']), config)
    wrong += [
        f'{name}: {first[name]} -> {mine[name]}'
        for name in ('devices', 'pairs', 'steps')
        if first[name] != mine[name]
    ]
    if not wrong and first['names'] != names:
        wrong = ['the names of the training pairs']
    if wrong:
        raise UserError(
            f'process {jax.process_index()} differs from process 0: {"; ".join(wrong)}; '
            'all need the same command but for --process_id, and the same data'
        )
    meet()


def broadcast_text(text: str) -> str:
    """Returns process 0's `text` on all processes."""
    if jax.process_count() == 1:
        return text
    key = f'pix2pix_jax/process_0/{next(_numbers)}'
    if is_writer():
        _client().key_value_set(key, text)
        return text
    return _client().blocking_key_value_get(key, MEET_SECONDS * 1000)


def from_writer(state: Any) -> Any:
    """Returns process 0's `state` on all processes, on the first device of each.

    So all processes start equal, and process 0 alone needs the run's folder.
    """
    if jax.process_count() == 1:
        return state
    meet()
    # It comes as numpy arrays, which an evaluation would take to the device with every batch.
    return jax.device_put(multihost_utils.broadcast_one_to_all(state), jax.local_devices()[0])


def meet() -> None:
    """Waits until all processes are here.

    It comes before collectives that connect a new group of processes: gloo waits 30 s at most for a
    connection, and one process may read data, restore or compile longer than that.
    """
    if jax.process_count() > 1:
        _client().wait_at_barrier(f'pix2pix_jax/meet/{next(_numbers)}', MEET_SECONDS * 1000)


def _initialize(coordinator: str, num_processes: int, process_id: int) -> None:
    """Waits for all processes; if they do not come in time, says so and exits."""
    late = (
        f'--coordinator={coordinator}: process {process_id} waited {JOIN_SECONDS} s '
        f'for all of --num_processes={num_processes}; is each started, with its own '
        '--process_id, and can it reach process 0 there?'
    )
    try:
        with _waiting_for_all(late):
            jax.distributed.initialize(
                coordinator,
                num_processes,
                process_id,
                cluster_detection_method='deactivate',
                initialization_timeout=2 * JOIN_SECONDS,
            )
    except (RuntimeError, ValueError) as error:  # the port is in use
        raise UserError(f'--coordinator={coordinator}: {error}') from error


def _initialize_as_found() -> None:
    """Joins as the job's manager says; raises UserError where there is none that jax knows."""
    late = (
        f'{AUTO}: waited {JOIN_SECONDS} s for all processes of the job; is each started, and can '
        'it reach process 0?'
    )
    with warnings.catch_warnings(record=True) as remarks:  # of several lines
        warnings.simplefilter('always')
        try:
            with _waiting_for_all(late):
                jax.distributed.initialize(initialization_timeout=2 * JOIN_SECONDS)
        except Exception as error:  # of whatever kind a manager's environment raises
            reason = ' '.join(f'{type(error).__name__}: {error}'.split())
            if 'coordinator_address should be defined' in reason:
                reason = (
                    'this is no job of SLURM, Open MPI or Kubernetes, and no TPU pod: start it '
                    'with srun or mpirun, or give --coordinator, --num_processes and --process_id'
                )
            said = [' '.join(str(remark.message).split()) for remark in remarks]
            said = [text for text in said if 'Kubernetes' in text]  # its package is missing
            raise UserError(f'{AUTO}: {"; ".join([reason, *said])}') from error


@contextlib.contextmanager
def _waiting_for_all(late: str) -> Iterator[None]:
    """Sets up what joining needs; a process that waits too long in it says `late` and exits."""

    def give_up() -> NoReturn:
        print(f'error: {late}', file=sys.stderr, flush=True)
        os._exit(2)  # jax would abort, with C++ for a message

    jax.config.update('jax_cpu_collectives_implementation', 'gloo')
    with contextlib.suppress(AttributeError):  # not in older versions
        jax.config.update('jax_enable_preemption_service', False)  # it would take SIGTERM from us
    timer = threading.Timer(JOIN_SECONDS, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _leave_together() -> None:
    """Waits until process 0, which has files to write, is done too."""
    if is_writer():
        _client().key_value_set(DONE, 'done')
    with StopRequest():  # a signal now must not take the coordinator's peer from it
        while _get(DONE) is None:
            time.sleep(POLL_SECONDS)


def _announce(error: BaseException) -> None:
    """Tells the others what this process ends with, and waits until they have heard."""
    status = getattr(error, 'status', 130 if isinstance(error, KeyboardInterrupt) else 1)
    message = ' '.join((str(error) or type(error).__name__).split())
    with contextlib.suppress(jax.errors.JaxRuntimeError):  # another was first, or is gone
        _client().key_value_set(FAILED, f'{status} process {jax.process_index()}: {message}')
    atexit.register(_exit_at_once, status)
    _wait_for_all()


def _leave_on_failure(left: threading.Event) -> None:
    """Ends this process when another announces an error, even from within a collective."""
    while not left.wait(POLL_SECONDS):
        failed = _get(FAILED)
        if failed is not None:
            status, message = failed.split(' ', 1)
            print(f'error: {message}', file=sys.stderr, flush=True)
            _wait_for_all()
            _exit_at_once(int(status))


def _wait_for_all() -> None:
    with contextlib.suppress(jax.errors.JaxRuntimeError):
        _client().wait_at_barrier('pix2pix_jax/leave', LEAVE_SECONDS * 1000)
    if is_writer():
        time.sleep(1)  # a process that outlives the coordinator is aborted


def _exit_at_once(status: int) -> NoReturn:
    """Exits without jax's own wait for the others."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _get(key: str) -> str | None:
    try:
        return _client().key_value_try_get(key)
    except jax.errors.JaxRuntimeError:
        return None


def _client() -> Any:
    import orbax.checkpoint as ocp  # jax has no public name for the store

    return ocp.multihost.get_jax_distributed_client()
