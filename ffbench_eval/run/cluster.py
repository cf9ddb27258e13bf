"""Where workers come from: processes of this machine, a Dask scheduler that runs, or jobs of a batch system."""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any

# Dask's own default gives every freed tensor back to the system; taking the pages again costs more than the model call.
ALLOCATION = {"MALLOC_TRIM_THRESHOLD_": 2**30, "MALLOC_MMAP_THRESHOLD_": 2**30}
ONE_THREAD = {"OMP_NUM_THREADS": 1, "MKL_NUM_THREADS": 1, "OPENBLAS_NUM_THREADS": 1}
JOBS = {  # batch system -> (package, class); all but k8s are configured in Dask's jobqueue.yaml, k8s in kubernetes.yaml
    "slurm": ("dask_jobqueue", "SLURMCluster"),
    "pbs": ("dask_jobqueue", "PBSCluster"),
    "sge": ("dask_jobqueue", "SGECluster"),
    "lsf": ("dask_jobqueue", "LSFCluster"),
    "oar": ("dask_jobqueue", "OARCluster"),
    "htcondor": ("dask_jobqueue", "HTCondorCluster"),
    "k8s": ("dask_kubernetes.operator", "KubeCluster"),
}
CONNECT_S = "20s"
BEGIN = "forkserver" if sys.platform == "linux" else "spawn"  # worker processes of this machine
LOADED = [
    "torch", "distributed.nanny", "distributed.worker", "pyarrow.dataset", "ffbench_data.load",
    "ffbench_data.observables", "ffbench_eval.run.worker", "ffbench_eval.run.execute", "ffbench_eval.engine.run",
    "ffbench_eval.kinds.accuracy.work", "ffbench_eval.kinds.dynamics.work",
]  # fmt: skip
# Nothing but names goes through Dask: what it watches by itself 50 or 100 times a second costs more than a short unit.
QUIET = {
    "distributed.scheduler.worker-ttl": None,  # long force calls hold the GIL
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.target": False,  # no data of Dask's to write to disk, and a worker that pauses waits
    "distributed.worker.memory.spill": False,  # for ever; one that takes too much memory is ended as before
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.monitor-interval": "1s",
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.tick.cycle": "5s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.client.scheduler-info-interval": "10s",
    "distributed.nanny.pre-spawn-environ": ALLOCATION | ONE_THREAD,
}


@contextmanager
def workers_of(workers: int, scheduler: str = "", cluster: str = "") -> Iterator[Any]:
    """A Dask client whose workers take units: those of a ``scheduler`` that runs (address or its JSON file),
    ``workers`` jobs of a batch system, or so many processes here. ValueError, one line, for what cannot be had."""
    try:
        import dask
        from distributed import Client
    except ImportError as error:
        what = "scheduler" if scheduler else "cluster" if cluster else f"workers={workers}"
        raise ValueError(f"{what} needs the extra dask: pip install 'ffbench[dask]' ({error})") from None

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with dask.config.set({**QUIET, "distributed.worker.multiprocessing-method": BEGIN}):
        if scheduler:
            with _connected(Client, scheduler) as client:
                yield client
            return
        made = jobs(cluster, workers) if cluster else _processes(workers)
        client = Client(made, set_as_default=False)
        try:
            yield client
        finally:
            _ended(made, client)


def _connected(client: Any, scheduler: str) -> Any:
    file = Path(scheduler)
    try:
        if scheduler.endswith(".json") or file.is_file():
            return client(scheduler_file=str(file.resolve(strict=True)), timeout=CONNECT_S, set_as_default=False)
        return client(scheduler, timeout=CONNECT_S, set_as_default=False)
    except FileNotFoundError:
        raise ValueError(f"scheduler: no file {file}; it is what `dask scheduler --scheduler-file` writes") from None
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0][:200]
        raise ValueError(
            f"scheduler: nothing answers at {scheduler} ({type(error).__name__}: {first}); start one with `dask "
            "scheduler` and give its address, such as tcp://host:8786, or its JSON file"
        ) from None


def jobs(cluster: str, workers: int = 0) -> Any:
    """The cluster of a batch system as its own configuration file describes it, with ``workers`` asked for."""
    package, name = JOBS[cluster]
    before = signal.getsignal(signal.SIGINT)
    try:
        make = getattr(importlib.import_module(package), name)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)  # dask_jobqueue takes Ctrl-C for itself when it is imported
    except ImportError as error:
        raise ValueError(
            f"cluster {cluster} needs the extra cluster: pip install 'ffbench[cluster]' ({error})"
        ) from None
    import dask

    options: dict[str, Any] = {}
    if package == "dask_jobqueue":
        own = dask.config.get(f"jobqueue.{cluster}.job-script-prologue", None) or []
        calm = {f"DASK_{k.upper().replace('.', '__').replace('-', '_')}": v for k, v in QUIET.items()
                if k.startswith(("distributed.worker", "distributed.admin"))}  # fmt: skip
        options["job_script_prologue"] = [
            *own, *(f"export {k}={v}" for k, v in (ALLOCATION | ONE_THREAD | calm).items())]  # fmt: skip
    try:
        made = make(**options)
        if workers:
            made.scale(workers)
        return made
    except Exception as error:
        where = "kubernetes.yaml" if cluster == "k8s" else f"jobqueue.yaml (jobqueue.{cluster}: cores, memory, ...)"
        first = (str(error).strip().splitlines() or [""])[0][:300]
        raise ValueError(
            f"cluster {cluster}: could not be asked for workers ({type(error).__name__}: {first}); it is described in "
            f"Dask's {where}"
        ) from None


def _processes(workers: int) -> Any:
    """Processes of this machine. They load the script that was run; without a guard it would start a run of its own in
    each."""
    from distributed import LocalCluster

    settings = {name: str(value) for name, value in (ALLOCATION | ONE_THREAD).items()}
    try:
        with _deaf():
            if BEGIN == "forkserver":
                _loaded(settings)
            return LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                dashboard_address="127.0.0.1:0",  # any free port: two runs side by side
                silence_logs=logging.CRITICAL,
                env={**os.environ, **settings},
            )
    except (RuntimeError, OSError, EOFError) as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise ValueError(
            "workers: the worker processes did not start. They load your script: put what runs in it under "
            "if __name__ == '__main__': (from stdin there can be no workers), or use workers=0 "
            f"({type(error).__name__}: {first})"
        ) from None


def _loaded(settings: Mapping[str, str]) -> None:
    """A process that has loaded what every worker needs, of which workers are forks: three seconds of processor time
    once, not for each worker and each that takes the place of one that died. It ends with this process."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        multiprocessing.get_context("forkserver").set_forkserver_preload(LOADED)
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextmanager
def _deaf() -> Iterator[None]:
    """Threads and processes that begin in here, and theirs, do not hear Ctrl-C: a terminal sends it to all processes,
    and it is for the one that deals to end the others."""
    resource_tracker.ensure_running()  # it begins with the first process, and lets its thread hear again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ended(made: Any, client: Any) -> None:
    """End the workers; those in the middle of a unit are not waited for."""
    with suppress(Exception):
        client.close(timeout=2)
    with suppress(Exception):
        made.close(timeout=10)
