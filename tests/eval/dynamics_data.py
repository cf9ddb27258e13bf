"""Data sets and finished units made by hand for the molecular dynamics kind, so that what `score` says is known."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa

from ffbench_data.frames import Frames
from ffbench_data.schema import to_table
from ffbench_eval.engine.trajectory import Recorder
from ffbench_eval.kinds import KINDS
from ffbench_eval.kinds.dynamics.work import Parameters
from ffbench_eval.report import DatasetUsed
from ffbench_eval.run.data import TaskData
from ffbench_eval.run.units import Result
from ffbench_eval.suite import Task

USED = DatasetUsed(name="water", config="", split="test", version="1", content_sha256="")


def data(*parts, facts=None) -> TaskData:
    """``parts``: (numbers [N], positions [T, N, 3], cell or ``None``) each; labels are zero."""
    tables = []
    for numbers, x, cell in parts:
        x = np.asarray(x, float)
        tables.append(to_table(numbers, x, np.zeros(len(x)), np.zeros(x.shape), cell=cell, pbc=cell is not None))
    reference = None if facts is None else SimpleNamespace(facts=facts, levels=lambda name: [])
    return TaskData(Frames(pa.concat_tables(tables).combine_chunks()), reference, USED)


def task(**how) -> Task:
    usual = {
        "ensemble": "nve",
        "temperature_K": 300,
        "time_step_fs": 1,
        "length_ps": 2,
        "save_every_fs": 100,
        "replicas": 1,
        "observables": [],
    }
    return Task("made", KINDS["molecular_dynamics"], "1", "made", "water", None, Parameters(**(usual | how)))


def unit(
    folder,
    numbers,
    x,
    *,
    cell=None,
    every_ps=0.1,
    end_ps=None,
    status=None,
    hills=None,
    temperature=300.0,
    internal=None,
) -> Result:
    """A finished unit: ``x`` [B, T, N, 3], a frame every ``every_ps``; temperatures broadcast to [B, T]."""
    x = np.asarray(x, float)
    replicas, frames = x.shape[:2]
    folder.mkdir(parents=True)
    box = np.zeros((3, 3)) if cell is None else np.asarray(cell, float)
    recorder = Recorder(folder, np.asarray(numbers), box, np.array([cell is not None] * 3))
    hot = np.broadcast_to(temperature, (replicas, frames))
    inner = hot if internal is None else np.broadcast_to(internal, (replicas, frames))
    zero, alive = np.zeros(replicas), np.ones(replicas, bool)
    for k in range(frames):
        time = np.full(replicas, every_ps * (k + 1))
        recorder.add(k + 1, time, x[:, k], zero, zero, hot[:, k], alive, internal=inner[:, k])
    recorder.flush(0)
    if hills is not None:
        np.savez(folder / "hills.npz", *hills)
    end = [every_ps * frames] * replicas if end_ps is None else end_ps
    return Result(folder, status or ["ok"] * replicas, [], 0.0, 0, {"end_ps": end})
