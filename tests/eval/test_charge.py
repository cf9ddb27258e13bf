"""Charge and spin reach a model, and a model without them is never asked about ions and radicals."""

import numpy as np
import pytest
import torch
from ase import units
from ase.calculators.calculator import Calculator, all_changes

from ffbench_data import AtomsBatch, ForceField, collate
from ffbench_data.datacard import card
from ffbench_data.frames import Frames
from ffbench_data.load import EMBEDDED, load_frames
from ffbench_data.schema import to_table
from ffbench_data.store import write_dataset
from ffbench_eval import evaluate, from_ase

ONE = {
    "Na+": ([11], [[0.0, 0, 0]], 1, 1),
    "OH-": ([8, 1], [[0.0, 0, 0], [0, 0, 0.97]], -1, 1),
    "O2 triplet": ([8, 8], [[0.0, 0, 0], [0, 0, 1.21]], 0, 3),
}


def frames_of(names):
    z, x, charge, spin = zip(*(ONE[n] for n in names))
    zero = [np.zeros((len(k), 3)) for k in z]
    return Frames(to_table([np.array(k) for k in z], x, np.zeros(len(z)), zero, charge=charge, spin_multiplicity=spin))


def test_tblite_knows_the_charge_and_the_spin():
    """Energies of the adapter, all in one batch, against tblite's own interface; neutral singlets are another thing."""
    pytest.importorskip("tblite")
    from tblite.ase import TBLite
    from tblite.interface import Calculator as Interface

    frames = frames_of(ONE)
    model = from_ase(TBLite(method="GFN2-xTB", verbosity=0), uses_charge=True, uses_spin=True)
    got = model(collate(frames)).energy.numpy()
    for k, (z, x, charge, spin) in enumerate(ONE.values()):

        def energy(charge, uhf, z=z, x=x):
            one = Interface("GFN2-xTB", np.array(z), np.array(x) / units.Bohr, charge=charge, uhf=uhf)
            one.set("verbosity", 0)
            return one.singlepoint().get("energy") * units.Hartree

        assert got[k] == pytest.approx(energy(charge, spin - 1), abs=1e-5)
        if charge:  # neutral sodium and OH are no singlets
            assert abs(got[k] - energy(0, 1)) > 0.5
        else:  # GFN2 has no spin polarisation: the triplet differs by its occupation alone
            assert abs(got[k] - energy(0, 0)) > 0.05


def test_the_same_atoms_with_another_charge_are_computed_anew():
    """A calculator that reads ``info`` keeps its results by the atoms alone; AIMNet2's has methods."""

    class Reads(Calculator):
        implemented_properties = ["energy", "forces"]  # noqa: RUF012

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            names = ("charge", "total_charge"), ("spin", "total_spin", "mult", "spin_multiplicity")
            (charge,), (spin,) = ({atoms.info[n] for n in some} for some in names)
            self.results = {"energy": 10.0 * charge + spin, "forces": np.zeros((len(atoms), 3))}

    class Told(Reads):
        told = (0, 1)

        def set_charge(self, value):
            self.told = value, self.told[1]

        def set_mult(self, value):
            self.told = self.told[0], value

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            self.results["energy"] = 10.0 * self.told[0] + self.told[1]

    z, x = [1, 1], [[0.0, 0, 0], [0, 0, 0.8]]
    table = to_table(z, [x] * 4, np.zeros(4), [np.zeros((2, 3))] * 4, charge=[0, 1, 0, -1],
                     spin_multiplicity=[1, 2, 3, 2])  # fmt: skip
    for kind in (Reads, Told):
        model = from_ase(kind(), uses_charge=True, uses_spin=True)
        assert model(collate(Frames(table))).energy.tolist() == [1.0, 12.0, 3.0, -8.0]


@pytest.mark.parametrize(
    ("uses", "refused"), [({}, "Na+"), ({"uses_spin": True}, "OH-"), ({"uses_charge": True}, "O2 triplet")]
)
def test_a_model_is_asked_about_nothing_that_it_cannot_tell_apart(uses, refused):
    def fn(batch):
        return {"energy": batch.charge.double() + batch.spin_multiplicity, "forces": torch.zeros_like(batch.positions)}

    model = ForceField(fn, None, dtype=torch.float64, **uses)
    with pytest.raises(ValueError, match=r"unsupported: system 0 has charge .* spin multiplicity"):
        model(collate(frames_of([refused])))
    both = ForceField(fn, None, dtype=torch.float64, uses_charge=True, uses_spin=True)
    assert both(collate(frames_of(ONE))).energy.tolist() == [2.0, 0.0, 3.0]


def test_a_batch_is_neutral_unless_it_says_otherwise():
    args = torch.zeros(3, 3), torch.ones(3).long(), torch.tensor([0, 0, 1]), torch.zeros(2, 3, 3), torch.zeros(2, 3) > 0
    one = AtomsBatch(*args)
    assert one.charge.tolist() == [0, 0]
    assert one.spin_multiplicity.tolist() == [1, 1]
    with pytest.raises(ValueError, match=r"charge \[3\] for 2 systems"):
        AtomsBatch(*args, charge=torch.zeros(3))


SUITE = """
name: ions
version: 1.0.0
tasks:
  errors: {kind: accuracy, dataset: ethanol_gfn2, max_frames: 20}
  md: {kind: molecular_dynamics, dataset: ethanol_gfn2, ensemble: nve, temperature_K: 300, time_step_fs: 0.5,
       length_ps: 0.02, save_every_fs: 5, replicas: 2, observables: [energy_drift]}
  fast: {kind: speed, dataset: ethanol_gfn2, ensemble: nve, temperature_K: 300, time_step_fs: 0.5, length_ps: 0.02,
         save_every_fs: 5, replicas: 2, observables: []}
  scans: {kind: bsct, dataset: ethanol_gfn2:bond_scans, fine_scans: 1}
  doubt: {kind: selective, dataset: ethanol_gfn2, max_frames: 100, rules: [force_quantile]}
"""


@pytest.fixture
def ions(tmp_path, monkeypatch):
    """Ethanol with charge -1, a doublet, and a suite of every kind."""

    def of(config, split, rows):
        table = load_frames("ethanol_gfn2", config, split).table.slice(0, rows)
        for name, value in (("charge", -1), ("spin_multiplicity", 2)):
            at = table.column_names.index(name)
            column = np.full(len(table), value, np.int8)
            table = table.set_column(at, table.schema.field(at), [column])
        return table

    tables = {
        "default": {"train": of("default", "train", 100), "test": of("default", "test", 1000)},
        "bond_scans": {"test": of("bond_scans", "test", 200)},
    }
    kept = EMBEDDED / "ethanol_gfn2"
    files = {str(p.relative_to(kept)): p.read_bytes() for p in (kept / "reference").rglob("*.*")}
    write_dataset(tmp_path / "data" / "ethanol_gfn2", card("ethanol_gfn2"), tables, files)
    monkeypatch.setenv("FFBENCH_DATA", str(tmp_path / "data"))
    path = tmp_path / "ions.yaml"
    path.write_text(SUITE)
    return str(path)


def springs(**uses):
    x = torch.tensor(load_frames("ethanol_gfn2", split="test").stacked()[1][:50])
    rest = torch.cdist(x, x).mean(0)

    def energy(batch):
        if not (batch.charge == -1).all() or not (batch.spin_multiplicity == 2).all():
            raise RuntimeError(f"told of charges {batch.charge.tolist()}, spins {batch.spin_multiplicity.tolist()}")
        y = batch.positions.view(-1, 9, 3)
        return 10 * (torch.cdist(y, y) - rest).square().mul(rest < 1.7).sum((1, 2))

    return ForceField.from_energy(energy, None, dtype=torch.float64, card={"name": "springs"}, **uses)


def test_ions_are_unsupported_in_every_kind(ions, tmp_path):
    report = evaluate(springs(), ions, out=tmp_path / "run", quiet=True)
    for name, task in report.tasks.items():
        assert set(task.statuses) == {"unsupported"}, (name, task.statuses)
        assert "charge" in task.units[0].detail[0], name


def test_charge_and_spin_reach_the_model_in_every_kind(ions, tmp_path):
    """The model raises unless it is told of the anion: in the first answers, scans, dynamics, of one replica too."""
    report = evaluate(springs(uses_charge=True, uses_spin=True), ions, out=tmp_path / "run", quiet=True)
    for name, task in report.tasks.items():
        states = set(task.statuses)
        assert states, name
        assert states <= {"ok", "unstable"}, (name, task)


@pytest.mark.parametrize("atoms", [1, 3, 7, 27, 301])
@pytest.mark.parametrize(("charge", "multiplicity"), [(1, 2), (-2, 3), (3, 1)])
def test_charges_and_moments_of_atoms_have_whole_sums(atoms, charge, multiplicity):
    """A calculator that takes ``int(sum)`` of 27 equal parts of 1 is told 0."""
    from ase import Atoms

    from ffbench_eval.models.ase import handed_over

    one = Atoms("H" * atoms)
    handed_over(None, one, charge, multiplicity)
    for values, whole in ((one.get_initial_charges(), charge), (one.get_initial_magnetic_moments(), multiplicity - 1)):
        assert values.sum() == sum(values) == sum(sorted(values)) == whole
        assert np.ptp(values) <= 1e-3 * max(1, abs(whole))
