"""Units side by side in worker processes, scheduled by Dask."""

from __future__ import annotations

import pickle
import sys
import time
from collections import deque
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from ..models.resolve import FROM_FILE
from .execute import run_unit
from .units import Result, Unit

POLL_S = 0.5
# Dask's own default gives every freed tensor back to the system; taking the pages again costs more than the model call.
ALLOCATION = {"MALLOC_TRIM_THRESHOLD_": 2**30, "MALLOC_MMAP_THRESHOLD_": 2**30}
ONE_THREAD = {"OMP_NUM_THREADS": 1, "MKL_NUM_THREADS": 1, "OPENBLAS_NUM_THREADS": 1}


def run_side_by_side(waiting, run: Path, workers: int, compile: str, bars, note) -> None:
    """Run ``waiting`` [(planned, unit)] on ``workers`` processes of one thread each, longest first; ``note(planned,
    unit, result)`` takes each result."""
    try:
        import cloudpickle
        import dask
        from distributed import Client, LocalCluster, wait
    except ImportError as error:
        raise ValueError(f"workers={workers} needs the extra dask: pip install 'ffbench[dask]' ({error})") from None

    for name, module in list(sys.modules.items()):
        if name.startswith(FROM_FILE):  # workers cannot import a model's file by name: send its code along
            cloudpickle.register_pickle_by_value(module)
    dask.config.set({"distributed.scheduler.worker-ttl": None})  # long force calls hold the GIL
    dask.config.set({"distributed.scheduler.allowed-failures": 1})  # a unit whose workers die twice is given up
    dask.config.set({"distributed.nanny.pre-spawn-environ": ALLOCATION | ONE_THREAD})
    waiting = sorted(waiting, key=lambda pair: -pair[0].longest)
    packed = {id(p.model): _packed(cloudpickle, p.model) for p, _ in waiting}
    left = deque(waiting)
    with (
        _started(LocalCluster, min(workers, len(waiting))) as cluster,
        Client(cluster) as client,
    ):
        running: dict[Any, tuple[Any, Any]] = {}
        while left or running:
            # One unit a worker: Dask would deal all out at once, and moves them too late when a worker has none left.
            while left and len(running) < workers:
                p, unit = left.popleft()
                sent = (unit, packed[id(p.model)], str(run), compile, torch.are_deterministic_algorithms_enabled())
                running[client.submit(_work, *sent, key=unit.address, retries=1, pure=False)] = (p, unit)
            with suppress(TimeoutError):
                wait(list(running), timeout=POLL_S, return_when="FIRST_COMPLETED")
            for future in [future for future in running if future.done()]:
                p, unit = running.pop(future)
                note(p, unit, _result(future, unit, run))
                bars.update(p, unit, 1.0)
            for p, unit in running.values():
                bars.update(p, unit, _fraction(unit.folder(run)))


def _started(make, workers: int):
    """The processes. They load the script that was run; without a guard it would start a run of its own in each."""
    import logging

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        return make(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",  # any free port: two runs side by side
            silence_logs=logging.CRITICAL,
        )
    except (RuntimeError, OSError, EOFError) as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise ValueError(
            "workers: the worker processes did not start. They load your script: put what runs in it under "
            "if __name__ == '__main__': (from stdin there can be no workers), or use workers=0 "
            f"({type(error).__name__}: {first})"
        ) from None


def _packed(cloudpickle, model) -> bytes:
    try:
        return cloudpickle.dumps(model)
    except Exception as error:
        raise ValueError(
            f"workers: model {model.name!r} cannot be sent to another process ({type(error).__name__}: {error}); "
            "use workers=0, or name it by a spec such as path/to/file.py:function"
        ) from None


def _result(future, unit, run: Path) -> Result:
    """What the worker returned; a worker that died or could not start the unit is a harness error, not a stop."""
    error = future.exception()
    if isinstance(error, OSError):
        raise error
    if error is not None:
        detail = f"worker: {type(error).__name__}: {error}"
        if type(error).__name__ == "KilledWorker":
            detail = (
                "the worker process died while it ran this unit, twice: the model crashed it, or memory ran out; "
                "try isolate=True (--isolate), which says in which call, or fewer workers"
            )
        return Result(unit.folder(run), ["harness_error"], [detail], 0.0, 0, {})
    return future.result()


@lru_cache(maxsize=8)
def _unpacked(model: bytes):
    """The model, kept from unit to unit: one in a process of its own takes seconds to load."""
    return pickle.loads(model)


def _work(unit: Unit, model: bytes, run: str, compile: str, deterministic: bool) -> Result:
    """In the worker: load the data again (cached by the operating system) and run the unit."""
    from ..engine.determinism import ask_for_determinism
    from .data import load_task_data

    torch.set_num_threads(1)
    ask_for_determinism(deterministic)
    folder = unit.folder(Path(run))
    mark = folder.with_name(folder.name + ".progress")
    last = 0.0

    def progress(done: float) -> None:
        nonlocal last
        if time.monotonic() - last > POLL_S:
            mark.write_text(f"{done:.4f}")
            last = time.monotonic()

    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        return run_unit(unit, load_task_data(unit.task), _unpacked(model), Path(run), progress, compile)
    finally:
        mark.unlink(missing_ok=True)


def _fraction(folder: Path) -> float:
    try:
        return float(folder.with_name(folder.name + ".progress").read_text())
    except (OSError, ValueError):
        return 0.0
