"""The force call: edge lists with a skin, breathing cells."""

import numpy as np
import pytest
import torch

from ffbench_data.contract import ForceField
from ffbench_eval.engine.forces import ModelForces
from ffbench_eval.engine.run import Protocol, simulate
from tests.eval.engine_systems import cluster, crystal, morse, system_of


def test_skin_list_gives_the_same_forces_as_a_fresh_list():
    start = crystal()
    system = system_of(start)
    kept = ModelForces(morse(), system, 2)
    x = torch.tensor(start.positions)
    torch.manual_seed(0)
    for step in range(8):
        x = x + 0.12 * torch.randn_like(x) + (5.0 if step == 4 else 0.0)
        fresh = ModelForces(morse(), system, 2)
        for a, b in zip(kept(x), fresh(x)):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_skin_list_holds_while_the_cell_breathes():
    start = crystal()
    system = system_of(start)
    model = ForceField.from_energy(morse().fn.energy_fn, cutoff=4.0, dtype=torch.float64, stress=True)
    kept = ModelForces(model, system, 2)
    x = torch.tensor(start.positions)
    torch.manual_seed(0)
    rebuilt = 0
    for length in np.linspace(1.0, 0.7, 12):
        scale = torch.tensor([length, 2 - length])[:, None, None]
        moved = (x + 0.02 * torch.randn_like(x)) * scale
        cell = system.cell * scale
        before = kept._reference
        for a, b in zip(kept(moved, cell), ModelForces(model, system, 2)(moved, cell)):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
        rebuilt += kept._reference is not before
    assert 1 < rebuilt < 12


def test_stress_is_the_derivative_of_the_energy():
    start = crystal(1)
    system = system_of(start)
    model = ForceField.from_energy(morse().fn.energy_fn, cutoff=4.0, dtype=torch.float64, stress=True)
    x = torch.tensor(start.positions) + 0.05 * torch.randn(1, 32, 3, dtype=torch.float64)
    stress = ModelForces(model, system, 1)(x, system.cell[None])[2][0]
    bend = torch.zeros(3, 3, dtype=torch.float64)
    bend[0, 1] = bend[1, 0] = 0.5e-5
    energy = [
        ModelForces(model, system, 1)(x + s * x @ bend, (system.cell + s * system.cell @ bend)[None])[0]
        for s in (1, -1)
    ]
    slope = (energy[0] - energy[1]).item() / (2 * 1e-5)
    assert slope / torch.linalg.det(system.cell).item() == pytest.approx(stress[0, 1].item(), rel=1e-5)


def test_npt_without_stress_or_cell_is_refused(tmp_path):
    protocol = Protocol("npt", 300.0, 1.0, 0.01, 1.0)
    with pytest.raises(ValueError, match="'npt' is unsupported: the model returns no stress"):
        simulate(morse(), crystal(), protocol, tmp_path, seed=0)
    with pytest.raises(ValueError, match="needs a cell"):
        simulate(morse(), cluster(), protocol, tmp_path, seed=0)
