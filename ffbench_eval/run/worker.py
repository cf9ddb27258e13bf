"""In a worker process: a few units are run, and signs of life given until they are done."""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from ..models.isolated import LIMIT
from ..suite import Task
from .data import TaskData, load_task_data
from .storage import Storage, url_of
from .units import OWNER, Unit

BEAT_S = 1.0  # between signs of life
MOST_DATA = 4  # data sets kept in memory
ORPHAN_S = 1.0  # how often a unit looks whether it was given to another worker


class Unfit(Exception):
    """This worker cannot take a unit of the run; others may."""


class Abandoned(Exception):
    """The unit was given to another worker, which has its folder now."""


@dataclass(frozen=True)
class Job:
    """What a worker needs for a few units: where the run is, who answers and how. Frames, weights and results are
    files; only names go through the scheduler."""

    run: str  # folder that the workers share, or an fsspec URL
    token: str  # of the run folder, to tell it from a folder of the same name on another machine
    version: str
    models: dict[str, str]  # task -> digest of the model's file in the run folder
    device: str
    compile: str
    deterministic: bool
    limit: float  # seconds of a call
    place: int  # among the workers of its machine: which GPU is its own


def work(job: Job, units: Sequence[tuple[Unit, str, str]]) -> None:
    """Run ``units`` [(unit, attempt, hash of its frames)]; what they give is in the run folder when this returns."""
    from ..engine.determinism import ask_for_determinism
    from .environment import version
    from .execute import run_unit

    if job.version != version():
        raise Unfit(f"ffbench {version()} is installed there, {job.version} here")
    run = _folder(job)
    os.environ[LIMIT] = f"{job.limit:g}"
    _pinned(job)
    torch.set_num_threads(1)
    ask_for_determinism(job.deterministic)
    storage = _storage(job.run)
    with _signs(job, units[0][1]) as said:
        for unit, attempt, content in units:
            data = _data(unit.task)
            if data.used.content_sha256 != content:
                raise Unfit(f"its data set {data.used.name} {data.used.version} is another one than here")
            model = _model(job, unit.task.name, run)
            said.begin(attempt, unit.part(run, attempt))
            run_unit(unit, data, model, run, said.moved, job.compile, attempt)
            if storage:
                storage.push(unit.folder(run))


class _Said:
    """Which unit is worked on and how far it is, for the signs of life."""

    def __init__(self, attempt: str):
        self.now = (attempt, 0.0)
        self.part, self.looked = Path(), 0.0

    def begin(self, attempt: str, part: Path) -> None:
        self.now, self.part, self.looked = (attempt, 0.0), part, time.monotonic()

    def moved(self, done: float) -> None:
        """`Abandoned` where the unit's folder is another worker's by now."""
        self.now = (self.now[0], done)
        if time.monotonic() - self.looked > ORPHAN_S:
            self.looked = time.monotonic()
            if not (self.part / OWNER).exists():
                raise Abandoned


@contextmanager
def _signs(job: Job, first: str) -> Iterator[_Said]:
    """Say every second which unit is how far, from one thread for all of a job. A call of the model that is over its
    limit ends this process: nothing else ends code that does not return to Python."""
    from distributed import get_worker

    from ..models import surroundings

    worker, over, said = get_worker(), threading.Event(), _Said(first)

    def tell(**more: Any) -> None:
        attempt, done = said.now
        with suppress(Exception):  # the scheduler may be gone: the unit is finished all the same
            worker.log_event(job.token, {"attempt": attempt, "done": done, **more})

    def beat() -> None:
        tell()
        while not over.wait(BEAT_S):
            if surroundings.overdue():
                tell(hangs=True)
                over.wait(2.0)  # for the message to leave
                os._exit(1)
            tell()

    threading.Thread(target=beat, daemon=True).start()
    try:
        yield said
    finally:
        over.set()


def _storage(place: str) -> Storage | None:
    """Of a run that is no folder of this machine."""
    return Storage(place) if url_of(place) else None


def _folder(job: Job) -> Path:
    """The run folder as this machine sees it."""
    if storage := _storage(job.run):
        return storage.mirror
    run = Path(job.run)
    try:
        if (run / "token").read_text() == job.token:
            return run
        why = "is another folder there"
    except OSError as error:
        why = error.strerror or str(error)
    raise Unfit(f"it does not see the run folder {run} ({why}): workers need a shared folder, or --out s3://...")


def _pinned(job: Job) -> None:
    """One GPU of the machine for this process, before torch has looked at them; a worker that was started with one
    keeps it."""
    if not job.device.startswith("cuda"):
        return
    given = [g for g in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if g]
    if len(given) != 1 and not torch.cuda.is_initialized():
        count = len(given) or _gpus()
        if count:
            mine = job.place % count
            os.environ["CUDA_VISIBLE_DEVICES"] = given[mine] if given else str(mine)
    if not torch.cuda.is_available():
        raise Unfit("it has no GPU that torch can use")


def _gpus() -> int:
    """GPUs of the machine, without a context on any of them."""
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*"))) or torch.cuda.device_count()


def _data(task: Task) -> TaskData:
    """Frames and reference, kept from unit to unit."""
    key = (task.dataset, task.config, task.parameters.split)
    try:
        data = _frames.pop(key, None) or load_task_data(task)
    except (ValueError, OSError) as error:
        raise Unfit(f"data set {task.data_name}: {error}") from None
    _frames[key] = data
    while len(_frames) > MOST_DATA:
        del _frames[next(iter(_frames))]
    return data


_frames: dict[Any, TaskData] = {}


def _model(job: Job, task: str, run: Path) -> Any:
    """The model, loaded once for all units: one in a process of its own takes seconds."""
    return _read(job.run, job.token, job.models[task], job.device, run)


@lru_cache(maxsize=8)
def _read(place: str, token: str, digest: str, device: str, run: Path) -> Any:
    storage = _storage(place)
    packed = storage.read(f"sent/{token}/{digest}") if storage else (run / "sent" / digest).read_bytes()
    if hashlib.sha256(packed).hexdigest() != digest:  # who runs the scheduler says what is loaded, not the folder
        raise Unfit("the model in the run folder is not the one that was sent")
    model = pickle.loads(packed)
    return model.to(device) if device != "cpu" else model
