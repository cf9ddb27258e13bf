"""As `test_one_definition`, for the kinds of energies, curves and symmetries: the numbers of a report against the
functions that their specs name, on what the units archived (of physicality, which archives numbers, on new answers)."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ase.data import atomic_masses, atomic_numbers, chemical_symbols, covalent_radii
from ase.data.vdw_alvarez import vdw_radii

import ffbench_metrics as fm
from ffbench_data import ForceField, collate, load_frames
from ffbench_data.measured import measured
from ffbench_data.scans import scan_all
from ffbench_eval import evaluate
from ffbench_eval.engine.trajectory import Trajectory
from ffbench_eval.kinds import kind_of
from ffbench_eval.kinds.bsct.scans import find_scans
from ffbench_eval.kinds.diatomics.work import GRID
from ffbench_eval.kinds.experiment import work as experiment
from ffbench_eval.kinds.frequencies import work as frequencies
from ffbench_eval.run.data import load_task_data
from ffbench_eval.suite import load_suite
from ffbench_metrics.relative_energy import KCAL_PER_MOL
from tests.eval.test_one_definition import archived

SUITE = """
name: kinds
version: 1.0.0
tasks:
  parts: {kind: accuracy_in_parts, dataset: ethanol_gfn2, max_frames: 30}
  molecules: {kind: accuracy_in_parts, dataset: diatomics_pbe, max_frames: 400}
  dimers: {kind: diatomics, dataset: diatomics_pbe}
  bonds: {kind: bond_smoothness, dataset: ethanol_gfn2, molecules: 1, bonds: 3}
  symmetry: {kind: physicality, dataset: ethanol_gfn2, structures: 2, rotations: 2, pairs: 1, dimers: [H, C, O]}
"""


def pair_model():
    """A rough pair potential for every element, with a shallow well."""

    def energy(batch):
        z = batch.atomic_numbers.double()
        i, j = batch.edge_index
        d = batch.edge_vectors().norm(dim=-1)
        e = (
            0.02
            * (z[i] * z[j]).sqrt()
            * (20 * torch.exp(-3 * d) - 2 * torch.exp(-1.2 * d) + 0.05 * torch.sin(6 * d) / d)
        )
        return d.new_zeros(batch.n_systems).index_add(0, batch.system_index[i], e)

    return ForceField.from_energy(energy, cutoff=6.0, dtype=torch.float64, card={"name": "pairs", "version": "1"})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return archived(tmp_path_factory.mktemp("kinds"), SUITE, pair_model())


def mean(rows):
    """Mean of every number over the members that have it."""
    keys = {k for row in rows for k in row}
    return {k: float(np.nanmean([row[k] for row in rows if k in row])) for k in keys}


def of_parts(folders, dataset="ethanol_gfn2"):
    frames = load_frames(dataset, split="test")
    got = [np.load(f / "predictions.npz") for f in folders if (f / "predictions.npz").exists()]
    rows = np.concatenate([g["rows"] for g in got])
    forces = np.concatenate([g["forces"] for g in got])
    energy = np.concatenate([g["energy"] for g in got])
    chosen = frames[rows]
    numbers, truth = chosen.atomic_numbers, np.asarray(chosen.forces)
    out = {
        f"force_mae_by.element.{chemical_symbols[z]}": fm.force_mae(forces[numbers == z], truth[numbers == z])
        for z in np.unique(numbers)
    }
    # Energies are compared after the fit of the offsets that the first unit archived.
    for fit in [np.load(p / "offsets.npz") for p in folders if (p / "offsets.npz").exists()][:1]:
        counts = np.array([[(f.atomic_numbers == z).sum() for z in fit["elements"]] for f in chosen])
        energy = energy - counts @ fm.element_offsets(fit["compositions"], fit["energy"], fit["reference"])
    owner = np.repeat(np.arange(len(chosen)), chosen.n_atoms)
    for z in np.unique(numbers) if dataset == "diatomics_pbe" else ():
        mine = np.flatnonzero(numbers[::2] == z)  # two atoms of one element in every frame
        inside, name = np.isin(owner, mine), f"system.{chemical_symbols[z]}2"
        out[f"force_mae_by.{name}"] = fm.force_mae(forces[inside], truth[inside])
        out[f"energy_mae_per_atom_by.{name}"] = fm.energy_mae(
            energy[mine], chosen.energy[mine], n_atoms=chosen.n_atoms[mine]
        )
    return out


def of_dimers(folders):
    """The grid of the models from 0.9 covalent to 3.1 van der Waals radii, the reference's points there likewise."""
    scans, rows = find_scans(load_frames("diatomics_pbe", split="test")), []
    for folder in folders:
        kept = np.load(folder / "curves.npz")
        for name in {key.rsplit(" ", 1)[0] for key in kept.files}:
            s, (got, there) = scans[name], (kept[f"{name} {k}"] for k in (0, 1))
            if not (np.isfinite(got).all() and np.isfinite(there).all()):
                continue
            z = int(s.numbers[0])
            low, high = covalent_radii[z], 3.1 * vdw_radii[z]

            def window(r, first, low=low, high=high):
                return (r >= first * low - 1e-12) & ~(r > high)

            on, near = window(GRID, 0.9), window(s.bond_length, 0.9)
            e, f, truth = got[on, 0], got[:, 1:].reshape(-1, 2, 3)[on], s.energy[near]
            row = {n: getattr(fm, n)(e) for n in ("dimer_tortuosity", "dimer_energy_flips", "dimer_energy_jump")}
            row |= {n: getattr(fm, n)(f) for n in ("dimer_force_flips", "dimer_force_variation", "dimer_force_jump")}
            rows.append(row)
            if fm.dimer_energy_jump(truth) >= 1.5 and fm.dimer_energy_flips(truth) >= 3:
                continue  # a reference that jumps is none
            both = s.bond_length[near], truth, GRID[on], e
            row["dimer_force_mae"] = fm.dimer_force_mae(s.bond_length[near], s.forces[near], GRID[on], f)
            row["dimer_energy_mae"] = fm.dimer_energy_mae(*both)
            deep, wall = s.bond_length >= 0.8 * low - 1e-12, 0.8 * low - 1e-12 <= GRID
            deep &= ~(s.bond_length > 3.1 * vdw_radii[z])
            wall &= ~(3.1 * vdw_radii[z] < GRID)
            row["dimer_wall_error"] = fm.dimer_wall_error(
                s.bond_length[deep], s.energy[deep], GRID[wall], kept[f"{name} 0"][wall, 0]
            )
            row["dimer_well_error"] = fm.dimer_well_error(truth, e)
            row["dimer_bond_length_error"] = fm.dimer_bond_length_error(*both)
            row["dimer_frequency_error"] = fm.dimer_frequency_error(*both, float(atomic_masses[z]))
            there = there[:, 1:].reshape(-1, 2, 3)
            row["dimer_fsd"] = fm.force_smoothness_deviation(s.bond_length, there, s.forces, s.energy).full
    return mean(rows)


def of_bonds(folders):
    """Energies are archived, forces asked again of the model at the same scans."""
    frames, model = load_frames("ethanol_gfn2", split="test"), pair_model()
    frame = frames[int(np.argmin(frames.energy))]
    rows = []
    for folder in folders:
        kept = np.load(folder / "scans.npz")
        for k, name in enumerate(kept["names"].tolist()):
            scans = scan_all(frame.atomic_numbers, frame.positions)
            s = next(s for s in scans if name.endswith(f"{s.i}-{chemical_symbols[frame.atomic_numbers[s.j]]}{s.j}"))
            np.testing.assert_allclose(s.bond_length, kept["length"][k], rtol=1e-12)
            energy, forces = answers(model, frame.atomic_numbers, s.positions)
            np.testing.assert_allclose(energy, kept["energy"][k], rtol=1e-9, atol=1e-9)
            rows.append(fm.bsct_lite(kept["energy"][k], forces, s.positions, (s.i, s.j), s.fragment)._asdict())
    return mean(rows)


def answers(model, numbers, positions):
    from ffbench_eval.kinds.asking import Ask

    return Ask(model)(positions, numbers)


def of_symmetry(_folders):
    frames = load_frames("ethanol_gfn2", split="test")
    rows = np.sort(np.random.default_rng(0).permutation(len(frames))[:2])
    model = pair_model()
    forces = [model(collate(frames[[int(r)]])).forces.numpy() for r in rows]
    masses = [atomic_masses[frames[int(r)].atomic_numbers] for r in rows]
    out = {
        "net_force": np.mean([fm.net_force(f) for f in forces]),
        "net_torque": np.mean(
            [fm.net_torque(frames[int(r)].positions, f, masses=m) for r, f, m in zip(rows, forces, masses)]
        ),
    }
    repel = []
    for symbol in "HCO":
        z = atomic_numbers[symbol]
        x = np.zeros((30, 2, 3))
        x[:, 1, 0] = np.linspace(min(0.9, 1.8 * covalent_radii[z]), 0.3, 30)
        energy, f = answers(model, [z, z], x)
        repel.append(fm.repulsion(energy, 0.5 * (f[:, 1, 0] - f[:, 0, 0])))
    for k, share in enumerate(("energy_rises", "force_rises", "repulsive")):
        out[f"dimer_{share}"] = fm.clopper_pearson(int(sum(r[k] for r in repel)), 3).value
    return out


def test_g_of_r_against_experiment_is_that_of_positions_and_cell():
    """g(r) by numpy, in shells around the points where it was measured; the window is 2 to 6 Å."""
    frames, liquid = load_frames("water", "1k", "test")[np.arange(12)], measured("water")
    numbers, x = frames.stacked()
    spacing, side, zeros = float(liquid.r[1] - liquid.r[0]), np.diag(frames[0].cell), np.zeros(12)
    run = Trajectory(numbers=numbers, cell=np.array(frames[0].cell), pbc=np.ones(3, bool), time_ps=np.arange(12.0),
                     positions=x, potential_energy=zeros, total_energy=zeros, temperature=zeros)  # fmt: skip
    row = {"ensemble": "langevin", "temperature_K": 300, "time_step_fs": 1.0, "length_ps": 12, "replicas": 1,
           "save_every_fs": 1000}  # fmt: skip
    made, _ = experiment._structure([run], [True], experiment.Parameters(**row), liquid)
    for pair, (g0, error) in liquid.rdf.items():
        a, b = (np.flatnonzero(numbers == atomic_numbers[s]) for s in pair.split("-"))
        gap = x[:, a][:, :, None] - x[:, b][:, None]
        d = np.linalg.norm(gap - side * np.round(gap / side), axis=-1)
        same = pair in ("O-O", "H-H")
        d = d[:, ~np.eye(len(a), dtype=bool)] if same else d
        edges = np.append(liquid.r, liquid.r[-1] + spacing) - spacing / 2
        shells = len(x) * len(a) * (len(b) - same) * 4 / 3 * np.pi * np.diff(edges**3)
        g = np.histogram(d, edges)[0] * np.prod(side) / shells
        use = (liquid.r >= 2.0 - 1e-9) & (liquid.r <= 6.0 + 1e-9)
        assert made[f"rdf_chi_{pair}"].value == pytest.approx(fm.rdf_chi(g[use], g0[use], error[use]), rel=1e-6)
        integral = fm.rdf_error(g[use], g0[use], r_max=use.sum() * spacing)
        assert made[f"rdf_measured_error_{pair}"].value == pytest.approx(integral, rel=1e-6)


@pytest.mark.parametrize(
    ("task", "again", "least"),
    [
        ("parts", of_parts, 3),
        ("molecules", lambda folders: of_parts(folders, "diatomics_pbe"), 40),
        ("dimers", of_dimers, 12),
        ("bonds", of_bonds, 4),
        ("symmetry", of_symmetry, 5),
    ],
)
def test_every_number_of_a_report_is_the_function_its_spec_names(run, task, again, least):
    report, folders = run
    expected, kind = again(folders[task]), kind_of(report.tasks[task].kind)
    names, there = ({kind.spec(k)[0].name for k in keys} for keys in (expected, report.tasks[task].metrics))
    assert names <= there  # none is lost
    checked = 0
    for key, m in report.tasks[task].metrics.items():
        assert kind.spec(key) is not None, f"{key}: a metric without a spec"
        if key in expected and m.value is not None:
            assert m.value == pytest.approx(expected[key], rel=2e-5, abs=1e-7), key
            checked += 1
    assert checked >= least


def test_relative_energies_are_those_of_the_archived_ones(tmp_path):
    report = evaluate(pair_model(), "chemistry", tasks=["aconf"], out=tmp_path, quiet=True)
    task = load_suite("chemistry", tasks=["aconf"]).tasks[0]
    facts = load_task_data(task).reference.facts
    energy = {}
    for folder in tmp_path.glob("units/aconf-*"):
        got = np.load(folder / "energies.npz")
        energy |= dict(zip(got["rows"].tolist(), got["energy"].tolist()))
    mine = np.array([sum(c * energy[k] for c, k in r["terms"]) for r in facts["reactions"]]) / KCAL_PER_MOL
    truth = np.array([r["reference"] for r in facts["reactions"]])
    m = report.tasks["aconf"].metrics
    assert m["relative_energy_mae"].value == pytest.approx(fm.relative_energy_mae(mine, truth), rel=1e-9)
    assert m["relative_energy_bias"].value == pytest.approx(fm.relative_energy_bias(mine, truth), rel=1e-9)
    assert m["no_difference_mae"].value == pytest.approx(fm.no_difference_mae(truth), rel=1e-12)
    ladders = {}
    for k, r in enumerate(facts["reactions"]):
        ladders.setdefault(r["terms"][0][1], []).append(k)
    ranks = [fm.rank_correlation([0, *mine[k]], [0, *truth[k]]) for k in ladders.values() if len(k) >= 3]
    assert m["rank_correlation"].value == pytest.approx(np.mean(ranks), rel=1e-9)


def test_frequencies_are_compared_by_their_functions():
    rng = np.random.default_rng(3)
    values, gaps, maes = [], [], []
    for name in ("H2O", "CH4", "NH3"):
        truth = np.sort(rng.uniform(200, 4000, 21))
        mine = truth + rng.normal(0, 50, 21)
        values.append({"molecule": name, "frequencies": mine.tolist(), "reference": truth.tolist(), "rmsd": 0.1})
        maes.append(fm.frequency_mae(mine, truth))
        gaps.append(abs(fm.zero_point_energy(mine) - fm.zero_point_energy(truth)))
    task = SimpleNamespace(parameters=frequencies.Parameters(molecules=["H2O", "CH4", "NH3"]))
    data = SimpleNamespace(frames=load_frames("ethanol_gfn2", split="test"))
    results = [SimpleNamespace(values=v) for v in values]
    metrics, _ = frequencies.score(task, results, data)
    assert metrics["frequency_mae"].value == pytest.approx(np.mean(maes), rel=1e-12)
    assert metrics["zero_point_energy_error"].value == pytest.approx(np.mean(gaps), rel=1e-12)
