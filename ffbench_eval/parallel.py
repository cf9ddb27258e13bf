"""Units side by side in worker processes, scheduled by Dask."""

from __future__ import annotations

import time
from pathlib import Path

from .execute import Result, run_unit

POLL_S = 0.5


def run_side_by_side(waiting, run: Path, workers: int, compile: str, bars) -> dict[str, Result]:
    """Run ``waiting`` [(planned, unit)] on ``workers`` processes of one thread each; longest first."""
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ValueError(f"workers={workers} needs the extra dask: pip install 'ffbench[dask]' ({error})") from None

    dask.config.set({"distributed.scheduler.worker-ttl": None})  # long force calls hold the GIL
    waiting = sorted(waiting, key=lambda pair: -pair[0].seconds / max(1, len(pair[0].units)))
    results: dict[str, Result] = {}
    with (
        LocalCluster(
            n_workers=min(workers, max(1, len(waiting))),
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs=50,
        ) as cluster,
        Client(cluster) as client,
    ):
        futures = {}
        for p, unit in waiting:
            future = client.submit(_work, unit, p.model, str(run), compile, key=unit.address, retries=1, pure=False)
            futures[future] = (p, unit)
        pending = set(futures)
        while pending:
            finished = {future for future in pending if future.done()}
            pending -= finished
            for future in finished:
                p, unit = futures[future]
                results[unit.address] = future.result()
                bars.update(p, unit, 1.0)
            for future in pending:
                p, unit = futures[future]
                bars.update(p, unit, _fraction(unit.folder(run)))
            if pending:
                time.sleep(POLL_S)
    return results


def _work(unit, model, run: str, compile: str) -> Result:
    """In the worker: load the data again (cached by the operating system) and run the unit."""
    import torch

    from .evaluation import load_task_data

    torch.set_num_threads(1)
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
        return run_unit(unit, load_task_data(unit.task), model, Path(run), progress, compile)
    finally:
        mark.unlink(missing_ok=True)


def _fraction(folder: Path) -> float:
    try:
        return float(folder.with_name(folder.name + ".progress").read_text())
    except (OSError, ValueError):
        return 0.0
