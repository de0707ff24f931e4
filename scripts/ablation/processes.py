"""Trains and evaluates the runs of scripts/ablations.py, each in processes of its own."""

import concurrent.futures
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from ablation.devices import environments
from ablation.jobs import TrainingJob, commands_of, log_of
from pix2pix_jax.errors import Stopped

LOCAL = threading.local()
STOPPING = threading.Event()
RUNNING: set[subprocess.Popen] = set()


def run_all(
    jobs: list[TrainingJob],
    logs: pathlib.Path,
    at_once: int,
    finish: Callable[[TrainingJob], None],
) -> list[TrainingJob]:
    """Does the jobs, as many `at_once` as there are devices; returns those that failed.

    Args:
      jobs: what is to be trained and measured.
      logs: the folder of what the runs print.
      at_once: the maximum number of runs that train at the same time.
      finish: called with each job that did well, one after the other.

    Raises UserError where jax finds no device, and Stopped after a signal, when the runs save.
    """
    logs.mkdir(parents=True, exist_ok=True)
    # Rows that share a run are done one after the other: the second only evaluates.
    groups: dict[pathlib.Path, list[TrainingJob]] = {}
    for job in jobs:
        groups.setdefault(job.workdir, []).append(job)

    def run(group: list[TrainingJob]) -> list[tuple[TrainingJob, bool]]:
        return [(job, run_job(job, log_of(job, logs))) for job in group]

    failed, begin = [], time.monotonic()
    places = environments(min(at_once, len(groups)))
    slots = iter(range(len(places)))
    with concurrent.futures.ThreadPoolExecutor(
        len(places), initializer=lambda: take_place(next(slots), places)
    ) as pool:
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
                    signal.signal(number, stop)
            futures = [pool.submit(run, group) for group in groups.values()]
            for future in concurrent.futures.as_completed(futures):
                for job, good in future.result():
                    if good:
                        finish(job)
                    else:
                        failed.append(job)
                    minutes = (time.monotonic() - begin) / 60
                    state = 'done' if good else 'FAILED'
                    print(f'{minutes:.0f} min: {job.row}, seed {job.seed}: {state}', flush=True)
        except Stopped:  # the runs save
            STOPPING.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(RUNNING):
                process.terminate()
            raise
    return failed


def stop(number: int, frame: object) -> None:
    """Takes a signal: raises Stopped."""
    words = shlex.join(['python', 'scripts/ablations.py', *sys.argv[1:]])
    raise Stopped(number, f'the runs are saved; resume with: {words}')


def take_place(slot: int, places: list[dict[str, str]]) -> None:
    """Gives what this thread starts the device of its place, and a share of the cores."""
    LOCAL.environment = places[slot]
    if len(places) > 1 and hasattr(os, 'sched_setaffinity'):  # of this thread and what it starts
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[slot :: len(places)] or cores)


def run_job(job: TrainingJob, log: pathlib.Path) -> bool:
    """Trains, where it is not, and evaluates one run, in processes of their own.

    Returns whether both did well.
    """
    environment = os.environ | getattr(LOCAL, 'environment', {})
    for arguments in commands_of(job):
        if STOPPING.is_set():
            return False
        words = [sys.executable, *arguments]
        with open(log, 'a') as file:
            # In a session of its own Ctrl-C does not reach it: it is told once to stop.
            process = subprocess.Popen(
                words, env=environment, stdout=file, stderr=file, start_new_session=True
            )
            RUNNING.add(process)
            if STOPPING.is_set():  # between the look above and here
                process.terminate()
            process.wait()
            RUNNING.discard(process)
        if process.returncode:
            return False
    return True
