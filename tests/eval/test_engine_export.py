"""Trajectories as other programs read them."""

import ase.io
import numpy as np
import pytest

from ffbench_data.contract import ForceField
from ffbench_eval.engine.export import export_trajectories
from ffbench_eval.engine.run import Protocol, simulate
from ffbench_eval.engine.trajectory import read_trajectories
from tests.eval.engine_systems import F64, cluster, crystal, morse


@pytest.fixture(scope="module")
def unit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unit")
    simulate(morse(), crystal(), Protocol("nve", 300.0, 1.0, 0.04, 5.0, save_velocities=True), folder, seed=0)
    return folder


@pytest.mark.parametrize("to", ["traj", "xyz", "extxyz"])
def test_ase_reads_every_frame(unit, tmp_path, to):
    paths = export_trajectories(unit, to, tmp_path)
    assert [p.name for p in paths] == [f"replica-0000.{to}", f"replica-0001.{to}"]
    for path, t in zip(paths, read_trajectories(unit)):
        frames = ase.io.read(path, ":", format="traj" if to == "traj" else "extxyz")
        assert len(frames) == len(t) == 8
        np.testing.assert_allclose([a.positions for a in frames], t.positions, atol=1e-6)
        np.testing.assert_allclose(frames[0].cell.array, t.cell)
        np.testing.assert_allclose([a.get_potential_energy() for a in frames], t.potential_energy)
        assert frames[3].info["time_ps"] == pytest.approx(0.02)
        if to == "traj":  # ASE counts all 3N degrees of freedom and has its own mass of argon
            found = frames[3].get_temperature() * 96 / 93 * 40.0 / frames[3].get_masses()[0]
            assert found == pytest.approx(t.temperature[3], rel=1e-4)


@pytest.mark.parametrize("to", ["dcd", "xtc"])
def test_mdtraj_reads_every_frame(unit, tmp_path, to):
    mdtraj = pytest.importorskip("mdtraj")
    paths = export_trajectories(unit, to, tmp_path)
    for path, t in zip(paths, read_trajectories(unit)):
        frames = mdtraj.load(str(path), top=str(path.with_suffix(".pdb")))
        np.testing.assert_allclose(frames.xyz * 10, t.positions, atol=6e-3)
        np.testing.assert_allclose(frames.unitcell_vectors[0] * 10, t.cell, atol=1e-4)


def test_the_last_steps_of_a_failure_and_bad_requests(tmp_path):
    calls = 0

    def fails(batch):
        nonlocal calls
        calls += 1
        out = morse()(batch)
        energy = out.energy.clone()
        energy[2] = float("nan") if calls > 20 else energy[2]
        return {"energy": energy, "forces": out.forces}

    protocol = Protocol("nve", 300.0, 1.0, 0.04, 5.0)
    simulate(ForceField(fails, 4.0, dtype=F64), cluster(), protocol, tmp_path, seed=0, compile="off")
    (path,) = export_trajectories(tmp_path, "xyz", failures=True)
    assert path.name == "failure-0002.xyz"
    assert len(ase.io.read(path, ":")) == 20
    with pytest.raises(ValueError, match=r"to must be one of traj.*'pdb'"):
        export_trajectories(tmp_path, "pdb")
    with pytest.raises(ValueError, match="holds no trajectory"):
        export_trajectories(tmp_path / "nothing", "xyz", tmp_path)


def test_datasets_loads_the_pieces(unit):
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_parquet(
        [str(p) for p in sorted(unit.glob("trajectory-*.parquet"))], cache_dir=str(unit)
    )
    assert len(table) == 16
    assert np.shape(table[0]["positions"]) == np.shape(table[0]["velocities"]) == (32, 3)
