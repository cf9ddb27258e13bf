"""A published trajectory as the reference: blocks of time from its only run, and a floor that says so."""

import json

import numpy as np
import pytest

from ffbench_data import build
from ffbench_data.builders.read import KCAL
from ffbench_data.observables import read_reference
from ffbench_eval import evaluate, from_ase, load_suite
from ffbench_eval.page.verdict import verdict
from ffbench_eval.suite import list_suites
from tests.data.test_builders import diatomic

TASK = """
name: crystal
version: 1.0.0
tasks:
  solid:
    kind: molecular_dynamics
    dataset: lips:20k
    ensemble: nose_hoover
    temperature_K: 150
    time_step_fs: 4
    length_ps: 2
    save_every_fs: 40
    replicas: 2
    observables: [rdf, diffusivity]
"""


def truth():
    """A crystal of sulphur-heavy spheres, soft enough for a time step of 4 fs."""
    from ase.calculators.lj import LennardJones

    return LennardJones(sigma=2.3, epsilon=0.05, rc=5.0, smooth=True)


@pytest.fixture(scope="module")
def crystal(tmp_path_factory):
    """`lips.xyz` in the layout of upstream: 5.2 ps of a Lennard-Jones crystal at constant energy, 4 fs apart."""
    from ase import units
    from ase.build import bulk
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write
    from ase.md.velocitydistribution import Stationary
    from ase.md.verlet import VelocityVerlet

    folder = tmp_path_factory.mktemp("lips")
    atoms = bulk("S", "fcc", a=3.6, cubic=True).repeat(2)
    atoms.symbols[::4] = "Li"
    atoms.calc = truth()
    atoms.set_momenta(
        np.random.default_rng(0).normal(size=(32, 3)) * (300 * units.kB * atoms.get_masses()[:, None]) ** 0.5
    )
    Stationary(atoms)
    run = VelocityVerlet(atoms, 4 * units.fs)
    images = []

    def keep():
        image = atoms.copy()
        image.wrap()
        image.calc = SinglePointCalculator(image, energy=atoms.get_potential_energy(), forces=atoms.get_forces())
        images.append(image)

    run.attach(keep)
    run.run(1300)
    write(folder / "lips.xyz", images, format="extxyz")
    return build("lips", folder, folder / "out").parent


def test_newton_gives_the_spacing_and_blocks_follow(crystal):
    reference = read_reference(crystal / "lips", "20k")
    facts = json.loads((crystal / "lips/reference/20k/reference.json").read_text())
    assert facts["frame_spacing_fs"] == pytest.approx(4.0, rel=0.03)
    assert facts["diffusivity"] == {"element": "Li", "fit_window_ps": [2, 15], "needs_ps": 40}
    assert reference.observables == ["rdf_total"]
    assert len(reference.blocks("rdf_total").counts[0]) == 5


def test_the_truth_lies_by_its_own_halves_and_nothing_passes(crystal, tmp_path, monkeypatch):
    monkeypatch.setenv("FFBENCH_DATA", str(crystal))
    monkeypatch.setattr("ffbench_eval.kinds.dynamics.work._other_temperature", lambda *_: "")  # not LiPS's 520 K
    (tmp_path / "crystal.yaml").write_text(TASK)
    report = evaluate(from_ase(truth()), tmp_path / "crystal.yaml", out=tmp_path / "run", quiet=True)
    metrics = report.tasks["solid"].metrics
    error = metrics["rdf_error_total"]
    assert error.floor.runs == 1
    assert error.value < 3 * error.floor.p95
    assert error.score > 0.8
    assert metrics["stable_fraction"].value == 1
    assert metrics["diffusivity"].not_scored == "needs 40 ps"
    said = verdict(report.tasks["solid"]).sentence
    assert "halves of one trajectory" in said
    assert "inside the noise floor" not in said


def test_a_molecule_has_its_bonds_and_blocks_of_time(tmp_path):
    z, x, e, f = diatomic(8000)
    np.savez(tmp_path / "md17_toluene.npz", z=z, R=x, E=e[:, None] / KCAL, F=f / KCAL)
    folder = build("md17", tmp_path, tmp_path / "out")
    for config in ("toluene", "toluene_1k", "toluene_blocked"):
        reference = read_reference(folder, config)
        assert [b[:2] for b in reference.facts["bonds"]] == [[0, 1]]
        assert len(set(reference.facts["starts"])) == 20
        assert len(reference.blocks("distance_histogram").counts[0]) == 4


def test_slices_have_bonds_but_no_blocks(shared_data, tmp_path):
    folder = build("md17", shared_data / "md17", tmp_path)
    facts = read_reference(folder, "salicylic_acid_1k").facts
    assert len(facts["bonds"]) == 16
    assert read_reference(folder, "salicylic_acid_1k").observables == []
    lithium = read_reference(build("lips", shared_data / "lips", tmp_path), "20k")
    assert lithium.facts["diffusivity"]["element"] == "Li"
    assert lithium.observables == []


@pytest.mark.parametrize("name", list_suites())
def test_every_shipped_suite_is_understood(name):
    from ffbench_data import card

    for task in load_suite(name).tasks:
        assert task.config is None or task.config in card(task.dataset).configs
        assert task.title != task.name


def test_the_diffusivity_of_a_random_walk_comes_back():
    from ffbench_data.builders.observed import _diffusivity

    # 400 walkers of 60 ps: one standard error is 2.5 %, so that the limits are ten of them for any seed.
    rng, numbers = np.random.default_rng(0), np.array([3] * 400 + [16] * 40)
    steps = rng.normal(scale=0.1, size=(3000, 440, 3)) * (numbers == 3)[:, None]  # D = 0.1^2 / (2 x 0.02 ps) A^2/ps
    x = (np.cumsum(steps, axis=0) + 5) % 10
    rule = {"element": "Li", "fit_window_ps": [2, 15], "needs_ps": 40}
    found = _diffusivity(numbers, x, 10 * np.eye(3), 0.02, rule)
    assert found["value"] == pytest.approx(0.25e-8, rel=0.25)
    assert len(found["values"]) == 2
    assert 0 < found["standard_error"] < 0.2 * found["value"]
