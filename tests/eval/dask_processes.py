"""A Dask scheduler and workers as processes of their own, which can be stopped, killed and cut off."""

from __future__ import annotations

import asyncio
import ctypes
import json
import multiprocessing
import os
import random
import resource
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress

from ffbench_eval.report import Report
from tests.conftest import ROOT

apart = multiprocessing.get_context("forkserver")  # torch is loaded once, for all of them
apart.set_forkserver_preload(["torch", "distributed", "ffbench_eval.run.worker", "ffbench_eval.run.execute",
                              "ffbench_eval.engine.run", "ffbench_eval.kinds.dynamics.work"])  # fmt: skip


def _worker(address, environment, largest, network):
    from distributed import Worker

    os.environ.update(environment)
    if network:
        with open(f"/run/netns/{network}") as there:
            assert ctypes.CDLL(None).setns(there.fileno(), 0) == 0
    if largest:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    async def serve():
        async with Worker(address, nthreads=1, dashboard=False) as worker:
            await worker.finished()

    asyncio.run(serve())


def worker(address, largest=0, network="", **environment):
    """A worker process; it can write no file of more than ``largest`` bytes, and lives in a `network` of its own."""
    process = apart.Process(target=_worker, args=(address, environment, largest, network), daemon=True)
    process.start()
    return process


@contextmanager
def scheduler(folder, host="127.0.0.1"):
    """The address of a scheduler, whose JSON file is ``folder/scheduler.json``."""
    file = folder / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", host, "--port", "0",
               "--no-dashboard", "--no-show", "--scheduler-file", str(file)]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not _address(file):
            assert process.poll() is None
            time.sleep(0.05)
        yield _address(file)
    finally:
        process.kill()
        process.wait()
        file.unlink(missing_ok=True)


@contextmanager
def network():
    """(name, address of this machine as seen from there, cut): a network with one link to here, which ``cut(True)``
    cuts and ``cut(False)`` mends. PermissionError where the system does not let us make one."""
    name, net = f"ffb{os.getpid() % 100_000}", f"10.213.{os.getpid() % 250}"

    def ip(*words):
        if subprocess.run(["ip", *words], capture_output=True).returncode:
            raise PermissionError(f"ip {' '.join(words)}")

    try:
        ip("netns", "add", name)
        ip("link", "add", f"{name}a", "type", "veth", "peer", "name", "veth0", "netns", name)
        ip("addr", "add", f"{net}.1/30", "dev", f"{name}a")
        ip("link", "set", f"{name}a", "up")
        ip("-n", name, "addr", "add", f"{net}.2/30", "dev", "veth0")
        ip("-n", name, "link", "set", "veth0", "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield name, f"{net}.1", lambda off: ip("link", "set", f"{name}a", "down" if off else "up")
    except FileNotFoundError as error:
        raise PermissionError(str(error)) from None
    finally:
        with suppress(FileNotFoundError, PermissionError):
            ip("netns", "del", name)


class Killer:
    """Two workers of ``address``, of which one is killed at a random time, again and again; another comes in its
    place. ``killed`` counts them."""

    def __init__(self, address, seed, seconds, most=3):
        self.address, self.seconds, self.most = address, seconds, most
        self.rng, self.over, self.killed = random.Random(seed), threading.Event(), 0
        self.thread = threading.Thread(target=self.work)

    def __enter__(self):
        self.there = [worker(self.address) for _ in range(2)]
        self.thread.start()
        return self

    def work(self):
        while self.killed < self.most and not self.over.wait(self.rng.uniform(0.05, self.seconds)):
            victim = self.there.pop(self.rng.randrange(2))
            victim.kill()
            self.killed += 1
            self.there.append(worker(self.address))
            victim.join()

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        for process in self.there:
            process.kill()
            process.join()


def _address(file):
    with suppress(OSError, ValueError):
        return json.loads(file.read_text())["address"]
    return ""


def without_times(report: Report) -> str:
    """The report's JSON without what a clock says."""
    row = json.loads(report.sealed().model_dump_json())
    for key in ("created", "wall_s", "content_sha256"):
        del row[key]
    del row["environment"]["kernel_s"]
    for task in row["tasks"].values():
        for unit in task["units"]:
            del unit["wall_s"]
    return json.dumps(row, indent=1)
