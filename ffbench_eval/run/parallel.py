"""Units dealt to worker processes: who is free takes the longest one left. Workers may come, go, die and fall silent.

What a worker gives is a sealed folder in the run; Dask carries names, signs of life and who is there. So a unit is done
when its folder is, whoever made it and however often: the first that is whole is kept, and read once.
"""

from __future__ import annotations

import hashlib
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ffbench_data.atomic import replacing, write_text

from ..models.isolated import call_limit, seconds_of
from ..models.resolve import FROM_FILE
from ..report import Status
from ..stderr import tell
from . import environment
from .cluster import workers_of
from .execute import begun_in, taken_over
from .plan import Ready, unit_seconds
from .storage import Storage
from .units import Result, Unit, finished
from .worker import Job, Unfit, work

POLL_S = 0.5
AHEAD_S = 1.0  # of short units a worker takes so many seconds at once: what it takes to give out one is milliseconds
MOST_AHEAD = 100
DEATHS = 5  # workers that a unit may cost without having got further: machines are taken away, too
ARRIVE_S = 10.0  # until a finished unit must be seen in a shared folder
WAIT_S = 60.0  # between two lines that say that there are no workers
SILENT = "FFBENCH_SILENT_S"  # a worker without a sign of life for so long is cut off


@dataclass
class Given:
    """Units that a worker has: [(planned, unit, attempt)], and when it was last heard of."""

    worker: str
    units: list[tuple[Ready, Unit, str]]
    heard: float
    begun: bool = False
    hangs: bool = False


@dataclass
class Dealer:
    """Who has what. ``note(planned, unit, result)`` takes each result."""

    client: Any
    run: Path
    job: Job
    bars: Any
    note: Callable[[Ready, Unit, Result], None]
    left: deque[tuple[Ready, Unit]]
    storage: Storage | None = None
    given: dict[Any, Given] = field(default_factory=dict)  # by future
    deaths: dict[str, int] = field(default_factory=dict)  # workers lost, by the unit they were at
    reached: dict[str, float] = field(default_factory=dict)  # how far a unit has been seen
    reached_then: dict[str, float] = field(default_factory=dict)  # when it last cost a worker
    alone: set[str] = field(default_factory=set)  # units to give out one by one: their worker was lost
    unfit: dict[str, Exception] = field(default_factory=dict)
    silent: dict[str, float] = field(default_factory=dict)  # when the scheduler had last seen a worker that was cut off
    begun: set[str] = field(default_factory=set)  # units that somebody may have begun
    places: dict[str, int] = field(default_factory=dict)  # of a worker among those of its machine
    waited: float = 0.0
    ended: threading.Event = field(default_factory=threading.Event)  # a future is done

    def until_done(self) -> None:
        """Deal until every unit has a result. OSError or ValueError: every worker that there is refuses."""
        silent_s = seconds_of(SILENT, 120.0)
        self.client.subscribe_topic(self.job.token, self.hear)
        self.waited, self.begun = time.monotonic(), begun_in(self.run)
        try:
            while self.left or self.given:
                there = self.there()
                if self.silent:
                    now = self.seen()
                    self.silent = {w: then for w, then in self.silent.items() if now.get(w, 0.0) <= then}
                self.deal(there)
                for future, given in list(self.given.items()):
                    if future.done():
                        self.settle(future, given)
                    elif given.worker not in there or given.hangs:
                        self.lost(future, given, "the worker process died while it ran this unit")
                    elif time.monotonic() - given.heard > silent_s:
                        self.silent[given.worker] = self.seen().get(given.worker, 0.0)
                        tell(f"worker {given.worker} gives no sign of life; what it has is given to others")
                        self.lost(future, given, "its worker gave no sign of life", begun=given.begun)
                if self.given:
                    self.ended.wait(POLL_S)
                    self.ended.clear()
                elif self.left:
                    self.nobody(there)
        finally:
            for future in self.given:  # an interrupt: who still works on a unit finds its folder gone, and ends
                with suppress(Exception):
                    future.cancel()
            for given in self.given.values():
                for _, unit, _ in given.units:
                    taken_over(unit, self.run)

    def there(self) -> dict[str, int]:
        try:
            return dict(self.client.nthreads())
        except Exception as error:
            raise ValueError(
                f"the Dask scheduler is gone ({type(error).__name__}); what is finished is kept, and the same command "
                "goes on from there"
            ) from None

    def seen(self) -> dict[str, float]:
        """When the scheduler had the last sign of life of each worker's process, whatever that is doing."""
        return {w: about["last_seen"] for w, about in self.client.scheduler_info(n_workers=-1)["workers"].items()}

    def hear(self, event: tuple[float, dict[str, Any]]) -> None:
        """A sign of life, in the client's thread."""
        said = event[1]
        for given in list(self.given.values()):
            for p, unit, attempt in given.units:
                if attempt == said["attempt"]:
                    given.heard, given.begun = time.monotonic(), True
                    given.hangs = given.hangs or bool(said.get("hangs"))
                    self.reached[unit.address] = max(self.reached.get(unit.address, 0.0), said["done"])
                    self.bars.update(p, unit, min(0.999, said["done"]))

    def deal(self, there: dict[str, int]) -> None:
        """Something to everyone who is free, the longest unit first; who ended well gets more before that is read."""
        busy = {given.worker for future, given in self.given.items() if future.status != "finished"}
        for worker in there:
            if not self.left:
                return
            if worker not in busy and worker not in self.unfit and worker not in self.silent:
                self.give(worker, self.next(len(there)))

    def next(self, workers: int) -> list[tuple[Ready, Unit]]:
        """The next unit, or several short ones; fewer towards the end, so that nobody is left with many."""
        chunk = [self.left.popleft()]
        room = min(AHEAD_S, sum(map(unit_seconds, self.left)) / (2 * workers)) - unit_seconds(chunk[0])
        while (
            self.left
            and len(chunk) < MOST_AHEAD
            and 0 < unit_seconds(self.left[0]) <= room
            and not any(u.address in self.alone for _, u in (chunk[0], self.left[0]))
        ):
            room -= unit_seconds(self.left[0])
            chunk.append(self.left.popleft())
        return chunk

    def give(self, worker: str, chunk: Sequence[tuple[Ready, Unit]]) -> None:
        attempts = [(p, unit, uuid.uuid4().hex[:8]) for p, unit in chunk]
        for _, unit, attempt in attempts:
            name = unit.folder(self.run).name
            if name in self.begun:
                taken_over(unit, self.run, attempt)
            self.begun.add(name)
        machine = worker.rpartition(":")[0]
        if worker not in self.places:
            taken = {place for other, place in self.places.items() if other.rpartition(":")[0] == machine}
            self.places[worker] = next(k for k in range(len(taken) + 1) if k not in taken)
        units = [(unit, attempt, p.data.used.content_sha256) for p, unit, attempt in attempts]
        job = Job(**{**vars(self.job), "place": self.places[worker]})
        future = self.client.submit(
            work, job, units, key=f"ffbench-{attempts[0][2]}", workers=[worker], retries=0, pure=False
        )
        self.given[future] = Given(worker, attempts, time.monotonic())
        future.add_done_callback(lambda _: self.ended.set())

    def settle(self, future: Any, given: Given) -> None:
        """A worker has ended its units, well or not."""
        error = future.exception() if future.status == "error" else None
        if future.status != "finished" and type(error).__name__ in ("NoneType", "KilledWorker", "CancelledError"):
            self.lost(future, given, "the worker process died while it ran this unit")
            return
        del self.given[future]
        missing = self.arrived(given, ARRIVE_S if error is None else 0.0)
        if error is None and missing:
            error = Unfit(f"what it finished does not arrive in {self.job.run}: is the folder shared?")
        if error is not None:
            self.unfit[given.worker] = error
            first = (str(error).strip().splitlines() or [""])[0]
            tell(f"worker {given.worker} gets no more units: {first or type(error).__name__}")
            for k, (p, unit, _) in enumerate(missing):
                fault = "" if isinstance(error, OSError | Unfit) else f"worker: {type(error).__name__}: {first}"
                self.again(p, unit, fault if k == 0 else "")

    def lost(self, future: Any, given: Given, why: str, begun: bool = True) -> None:
        """The worker is gone, or cut off. What it finished counts; the unit it was at has cost one worker."""
        del self.given[future]
        self.places.pop(given.worker, None)
        with suppress(Exception):
            future.cancel()
        if given.hangs:
            why = f"a call did not come back within {self.job.limit:g} s (FFBENCH_CALL_LIMIT_S), its worker was ended"
        for k, (p, unit, _) in enumerate(self.arrived(given, 0.0)):
            self.again(p, unit, why if k == 0 and begun else "", enough=given.hangs and k == 0)

    def arrived(self, given: Given, wait_s: float) -> list[tuple[Ready, Unit, str]]:
        """Note every unit that is finished in the run folder; the others."""
        end = time.monotonic() + wait_s
        missing = []
        for p, unit, attempt in given.units:
            result = self.found(unit)
            while result is None and time.monotonic() < end:
                time.sleep(0.1)
                result = self.found(unit)
            if result is None:
                self.alone.add(unit.address)
                missing.append((p, unit, attempt))
            else:
                self.note(p, unit, result)
                self.bars.update(p, unit, 1.0)
        return missing

    def found(self, unit: Unit) -> Result | None:
        if self.storage is not None:
            self.storage.pull(unit.folder(self.run).name)
        return finished(unit.folder(self.run), unit.address)

    def again(self, p: Ready, unit: Unit, why: str, enough: bool = False) -> None:
        """Back to those left, ahead of them; given up as a harness error when it has cost enough workers (``why``)."""
        if why:
            reached = self.reached.get(unit.address, 0.0)
            further = reached > self.reached_then.get(unit.address, 0.0)
            self.reached_then[unit.address] = reached
            self.deaths[unit.address] = 1 if further else self.deaths.get(unit.address, 0) + 1
        if enough or self.deaths.get(unit.address, 0) >= DEATHS:
            detail = why if enough else (
                f"{why}, {DEATHS} times: the model crashed it, or memory ran out; try isolate=True (--isolate), which "
                "says in which call, or fewer workers"
            )  # fmt: skip
            status: Status = "model_error" if enough else "harness_error"
            members = p.task.kind.count_members(unit.inputs)
            self.note(p, unit, Result(unit.folder(self.run), [status] * members, [detail], 0.0, 0, {}))
            self.bars.update(p, unit, 1.0)
            return
        self.left.appendleft((p, unit))

    def nobody(self, there: dict[str, int]) -> None:
        """No worker can take a unit: an error if all that there are refuse, else wait for others."""
        if there and all(worker in self.unfit for worker in there):
            error = self.unfit[next(iter(there))]
            if isinstance(error, OSError):
                raise error
            raise ValueError(f"no worker can take a unit: {' '.join(str(error).split())}")
        if time.monotonic() - self.waited > WAIT_S:
            self.waited = time.monotonic()
            tell(f"{len(there)} workers, none that can take a unit; {len(self.left)} units wait")
        time.sleep(POLL_S)


def run_side_by_side(
    waiting: Sequence[tuple[Ready, Unit]],
    run: Path,
    workers: int,
    compile: str,
    bars: Any,
    note: Callable[[Ready, Unit, Result], None],
    *,
    scheduler: str = "",
    cluster: str = "",
    device: str = "cpu",
    storage: Storage | None = None,
) -> None:
    """Run ``waiting`` [(planned, unit)] on the workers of `cluster.workers_of`, longest first; ``note(planned, unit,
    result)`` takes each result."""
    waiting = sorted(waiting, key=unit_seconds, reverse=True)
    sent = run / "sent"
    token = uuid.uuid4().hex
    models = _sent(waiting, sent, storage, token)
    write_text(run / "token", token)
    job = Job(
        run=storage.url if storage else str(run.resolve()),
        token=token,
        version=environment.version(),
        models=models,
        device=device,
        compile=compile,
        deterministic=torch.are_deterministic_algorithms_enabled(),
        limit=call_limit(),
        place=0,
    )
    try:
        with workers_of(workers if scheduler or cluster else min(workers, len(waiting)), scheduler, cluster) as client:
            Dealer(client, run, job, bars, note, deque(waiting), storage).until_done()
    finally:
        for file in [*sent.glob("*"), run / "token"]:
            file.unlink(missing_ok=True)
        if storage:
            for digest in set(models.values()):
                with suppress(Exception):  # the storage may be why the run ends
                    storage.remove(f"sent/{token}/{digest}")
        with suppress(OSError):
            sent.rmdir()


def _by_value() -> None:
    """Workers cannot import a model's file by name: its code is sent along."""
    import cloudpickle

    for name, module in list(sys.modules.items()):
        if name.startswith(FROM_FILE):
            cloudpickle.register_pickle_by_value(module)


def _sent(waiting: Sequence[tuple[Ready, Unit]], folder: Path, storage: Storage | None, token: str) -> dict[str, str]:
    """Write every model as a file; the digest of each task's. A worker reads it once, and checks the digest. On object
    storage it lies under the ``token``, since several parts of a run may share the place."""
    try:
        import cloudpickle
    except ImportError as error:
        raise ValueError(f"workers need the extra dask: pip install 'ffbench[dask]' ({error})") from None
    _by_value()
    folder.mkdir(parents=True, exist_ok=True)
    packed: dict[int, str] = {}
    for p, _ in waiting:
        if id(p.model) not in packed:
            try:
                content = cloudpickle.dumps(p.model)
            except Exception as error:
                raise ValueError(
                    f"workers: model {p.model.name!r} cannot be sent to another process ({type(error).__name__}: "
                    f"{error}); use workers=0, or name it by a spec such as path/to/file.py:function"
                ) from None
            digest = hashlib.sha256(content).hexdigest()
            with replacing(folder / digest) as part:
                part.write_bytes(content)
            if storage:
                storage.write(f"sent/{token}/{digest}", content)
            packed[id(p.model)] = digest
    return {p.task.name: packed[id(p.model)] for p, _ in waiting}
