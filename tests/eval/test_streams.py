"""Units in turns in one process, as on one GPU: the numbers of one after the other; a stop, an error, the choice."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ffbench_eval.engine import turns
from ffbench_eval.engine.protocol import Protocol
from ffbench_eval.engine.run import simulate
from ffbench_eval.engine.trajectory import read_trajectories
from ffbench_eval.run import streams
from tests.eval.engine_systems import cluster, morse

CPU = torch.device("cpu")
BARS = SimpleNamespace(update=lambda *about: None)


class Named(str):
    """A unit that is its name."""

    @property
    def address(self):
        return str(self)


def units(names, work, monkeypatch):
    """(planned, unit) of each name, of which ``work(name, folder)`` is done."""
    monkeypatch.setattr(streams, "run_unit", lambda unit, data, model, run, move, compile: work(unit, run / unit))
    planned = SimpleNamespace(model=SimpleNamespace(device=CPU), data=None, longest=1.0, costs={})
    return [(planned, Named(name)) for name in names]


def test_simulations_in_turns_give_what_they_give_alone(tmp_path, monkeypatch):
    at_once, most = set(), []

    def work(name, folder):
        at_once.add(name)
        protocol = Protocol(name, 300.0, 1.0, length_ps=0.05, save_every_fs=5.0)
        out = simulate(
            morse(), cluster(), protocol, folder, seed=3, compile="off", progress=lambda d: most.append(len(at_once))
        )
        at_once.remove(name)
        return out

    names = ("nve", "langevin", "nose_hoover", "bussi", "nose_hoover_single")
    given, results = units(names, work, monkeypatch), {}
    streams.run_in_turns(given, tmp_path, "off", BARS, lambda p, u, r: results.update({u: r}), width=3)
    assert set(results) == set(names)
    assert max(most) == 3
    for name in names:
        alone = Protocol(name, 300.0, 1.0, length_ps=0.05, save_every_fs=5.0)
        simulate(morse(), cluster(), alone, tmp_path / "alone" / name, seed=3, compile="off")
        for a, b in zip(read_trajectories(tmp_path / "alone" / name), read_trajectories(tmp_path / name), strict=True):
            np.testing.assert_array_equal(a.positions, b.positions)


def test_only_one_at_a_time_has_the_host(tmp_path, monkeypatch):
    inside, worst = [], []

    def work(name, folder):
        for _ in range(20):
            inside.append(name)
            worst.append(len(inside))
            time.sleep(0.001)
            inside.remove(name)
            turns.wait_for(CPU)

    streams.run_in_turns(units("abcd", work, monkeypatch), tmp_path, "off", BARS, lambda *about: None)
    assert max(worst) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("disk full")], ids=["interrupt", "disk"])
def test_what_ends_the_run_in_one_ends_the_others_at_their_next_turn(error, tmp_path, monkeypatch):
    steps, before = [], set(threading.enumerate())

    def work(name, folder):
        if name == "bad":
            turns.wait_for(CPU)
            raise error
        for k in range(10_000):
            steps.append(k)
            turns.wait_for(CPU)
            time.sleep(0.001)

    with pytest.raises(type(error)):
        streams.run_in_turns(units(["bad", "long", "long2"], work, monkeypatch), tmp_path, "off", BARS, lambda *a: None)
    assert len(steps) < 10_000
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize(
    ("device", "compiled", "timed", "atoms", "beside"),
    [("cuda", True, False, 21, 2), ("cpu", True, False, 21, 0), ("cuda", False, False, 21, 0),
     ("cuda", True, True, 21, 0), ("cuda", True, False, 192, 0)],
    ids=["molecules", "on the CPU", "nothing simulated", "its time is asked", "a card is full"],
)  # fmt: skip
def test_small_simulations_on_a_gpu_run_side_by_side(device, compiled, timed, atoms, beside):
    kind = SimpleNamespace(compiled=compiled, timed=timed, count_members=lambda inputs: 5)
    frames = SimpleNamespace(n_atoms=np.array([atoms]))
    p = SimpleNamespace(
        task=SimpleNamespace(kind=kind),
        model=SimpleNamespace(device=torch.device(device), fn=None),
        data=SimpleNamespace(frames=frames),
    )
    given = [(p, SimpleNamespace(inputs={})) for _ in range(2)]
    first, rest = streams.parted(given)
    assert (len(first), len(rest)) == (beside, 2 - beside)
    assert streams.parted(given[:1]) == ([], given[:1])  # one alone needs no company
