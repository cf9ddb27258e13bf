"""Cost probe, speed and the TorchSim adapter."""

import sys
import types
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from ffbench_eval.engine.cost import measure_speed, probe, reference_kernel
from ffbench_eval.engine.run import Protocol, simulate
from ffbench_eval.engine.trajectory import read_trajectories
from ffbench_eval.models.torchsim import from_torchsim
from tests.eval.engine_systems import F64, cluster, crystal, morse


def test_probe_adds_up():
    cost = probe(morse(), cluster(), Protocol("langevin", 300.0, 0.5, 1.0, 50.0, equilibrate_ps=0.5), steps=4)
    assert cost.steps == 3000
    assert cost.total_s == pytest.approx(cost.setup_s + 3000 * cost.step_s)
    assert cost.step_s > 0


def test_speed_is_consistent():
    speed = measure_speed(morse(), cluster(), Protocol("nve", 300.0, 0.5, 1.0, 50.0), rounds=2, steps=2, compile="off")
    assert speed.mode == "eager"
    assert speed.steps_per_s == pytest.approx(3 / speed.step_s)
    assert speed.ns_per_day == pytest.approx(speed.steps_per_s * 0.5e-6 * 86400)
    assert speed.steps_per_kernel == pytest.approx(3 * speed.kernel_s / speed.step_s)


def test_the_reference_kernel_is_frozen():
    """Normalised speeds in old reports mean this very work."""
    h = reference_kernel()()
    assert h.shape == (256, 64)
    assert h.double().sum().item() == pytest.approx(reference_kernel()().double().sum().item())


@dataclass
class SimState:
    positions: torch.Tensor
    masses: torch.Tensor
    cell: torch.Tensor
    pbc: torch.Tensor
    atomic_numbers: torch.Tensor
    system_idx: torch.Tensor


class StandIn:
    """A TorchSim model that is the Morse potential; cells come as columns."""

    dtype, device, compute_forces = F64, torch.device("cpu"), True

    def __call__(self, state):
        from ffbench_data.contract import AtomsBatch

        systems = len(state.cell)
        batch = AtomsBatch(
            state.positions, state.atomic_numbers, state.system_idx, state.cell.mT, state.pbc.expand(systems, 3)
        )
        out = morse()(batch)
        return {"energy": out.energy, "forces": out.forces}


def test_torchsim_models_run_like_our_own(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_sim", types.SimpleNamespace(SimState=SimState))
    model = from_torchsim(StandIn(), cutoff=4.0)
    assert model.name == "StandIn"
    start = crystal()
    skewed = type(start)(
        start.positions,
        start.numbers,
        start.masses,
        start.cell + np.array([[0, 0, 0], [0.5, 0, 0], [0, 0, 0]]),
        start.pbc,
    )
    for name, one in (("theirs", model), ("ours", morse())):
        (tmp_path / name).mkdir()
        simulate(one, skewed, Protocol("nve", 300.0, 1.0, 0.02, 5.0), tmp_path / name, seed=0)
    theirs, ours = (read_trajectories(tmp_path / name)[1] for name in ("theirs", "ours"))
    np.testing.assert_allclose(theirs.positions, ours.positions, atol=1e-6)


def test_torchsim_absent_or_given_something_else(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_sim", None)
    with pytest.raises(ImportError, match="torch-sim-atomistic"):
        from_torchsim(StandIn())
    monkeypatch.setitem(sys.modules, "torch_sim", types.SimpleNamespace(SimState=SimState))
    with pytest.raises(ValueError, match="must be a TorchSim ModelInterface, got dict"):
        from_torchsim({})
