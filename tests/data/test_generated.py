"""Generators and the builders of generated data, with tiny runs."""

import numpy as np
import pytest

from ffbench_data import build, load_frames
from ffbench_data.generate.molecules import MINIMA, minimum

SIZES = {"aspirin": 21, "benzene": 12, "malonaldehyde": 9, "naphthalene": 18, "salicylic_acid": 16, "toluene": 15}


@pytest.mark.parametrize("name", MINIMA)
def test_minima_are_minima(name):
    pytest.importorskip("tblite")
    from ffbench_data.generate.ethanol import GFN2

    numbers, mass, x = minimum(name)
    assert len(numbers) == len(mass) == len(x) == SIZES.get(name, 12)
    assert np.abs(GFN2(numbers)(x)[1]).max() < 0.02


def test_md17_gfn2_restarts_and_builds(tmp_path):
    pytest.importorskip("tblite")
    from ffbench_data.generate.md17 import simulate_all

    tiny = {"molecules": ["malonaldehyde"], "equilibrate_ps": 0.01, "save_fs": 1.0, "piece_ps": 0.02}
    simulate_all(tmp_path / "raw", runs=2, ps=0.02, **tiny)
    first = (tmp_path / "raw/malonaldehyde/run-00/piece-000.npz").read_bytes()
    simulate_all(tmp_path / "raw", runs=2, ps=0.04, **tiny)
    assert (tmp_path / "raw/malonaldehyde/run-00/piece-000.npz").read_bytes() == first
    assert len(list(tmp_path.glob("raw/malonaldehyde/run-*/piece-001.npz"))) == 2
    build("md17_gfn2", tmp_path / "raw", tmp_path)
    parts = load_frames("md17_gfn2", "malonaldehyde", root=tmp_path)
    assert {k: len(v) for k, v in parts.items()} == {"train": 38, "val": 2, "test": 40}
    with pytest.raises(ValueError, match="did you mean 'benzene'"):
        simulate_all(tmp_path, molecules=["benzen"])


def pieces(folder, positions):
    folder.mkdir(parents=True)
    np.savez(folder / "piece-000.npz", positions=positions.astype(np.float32), save_fs=10.0)


def test_water_from_raw_runs(tmp_path):
    pytest.importorskip("openmm")
    from ffbench_data import label, reference

    x = load_frames("water", "1k", "train").stacked()[1][:70]
    x = (x + 0.01 * np.random.default_rng(0).normal(size=x.shape)).astype(np.float32)
    unwrapped = x + np.float32(12.43) * np.repeat(np.arange(64) % 3 - 1, 3)[:, None]
    pieces(tmp_path / "raw/run-00", unwrapped[:60])
    pieces(tmp_path / "raw/350K/run-00", x[60:65])
    pieces(tmp_path / "raw/400K/run-00", x[65:])
    build("water", tmp_path / "raw", tmp_path)
    parts = load_frames("water", "90k", root=tmp_path)
    assert 57 <= sum(map(len, parts.values())) <= 60
    first = parts["test"]
    row = first.table["source_index"][0].as_py()
    energy, _ = label(reference("water"), first[0].atomic_numbers, x[row : row + 1].astype(float), first.cell[0])
    assert first.energy[0] == pytest.approx(energy[0], abs=2e-3), "molecules are put back into the cell whole"
    hot = load_frames("water", "hot", root=tmp_path)
    assert {m.split(", ")[-1] for m in hot["ood_test"].table["method"].to_pylist()} == {"350 K", "400 K"}
    assert len(hot["train"]) == 950
    (tmp_path / "raw/run-00/piece-000.npz").write_bytes(b"PK half")
    with pytest.raises(ValueError, match="not a readable piece"):
        build("water", tmp_path / "raw", tmp_path)


def test_alanine_unseen_basin(tmp_path):
    from ffbench_data.builders.generated import dihedral
    from ffbench_data.generate.alanine import PHI

    (tmp_path / "raw").mkdir()
    build("alanine_dipeptide_obc", tmp_path / "raw", tmp_path)
    parts = load_frames("alanine_dipeptide_obc", "unseen_basin", root=tmp_path)
    phi = {k: dihedral(v.stacked()[1], PHI) for k, v in parts.items()}
    assert (phi["ood_test"] > 0).all()
    assert all((phi[k] <= 0).all() for k in ("train", "val", "test"))
    shipped = load_frames("alanine_dipeptide_obc", split="test")
    assert len(parts["test"]) + len(parts["ood_test"]) == len(shipped)


@pytest.mark.parametrize("name", ["water", "alanine_dipeptide_obc", "ethanol_gfn2"])
def test_labels_are_reproduced(name):
    pytest.importorskip("openmm")
    pytest.importorskip("tblite")
    from ffbench_data.regenerate import relabel

    said = relabel(name, frames=10)
    assert said["accepted"], said


def test_observables_of_a_regeneration_are_held_against_the_floor(tmp_path):
    import json

    import pyarrow.parquet as pq

    from ffbench_data.generate.blocks import blocks_table
    from ffbench_data.load import dataset_folder
    from ffbench_data.regenerate import observables

    shipped = dataset_folder("ethanol_gfn2") / "reference"
    rows = [r for r in pq.read_table(shipped / "blocks.parquet").to_pylist() if r["run"] < 2]

    def regeneration(name, shift):
        home = tmp_path / name / "reference"
        home.mkdir(parents=True)
        (home / "reference.json").write_text(json.dumps({}))
        moved = [{**r, "counts": np.roll(r["counts"], shift)} for r in rows]
        pq.write_table(blocks_table(moved), home / "blocks.parquet")
        return tmp_path / name

    same = observables("ethanol_gfn2", regenerated=regeneration("same", 0))
    assert same["accepted"], same
    assert len(same["runs"]) == 2
    assert not observables("ethanol_gfn2", regenerated=regeneration("longer_bonds", 2))["accepted"]
    with pytest.raises(ValueError, match="no reference histograms"):
        observables("ethanol_gfn2", regenerated=tmp_path / "nowhere")


def test_md17_gfn2_ships_a_reference_per_molecule(tmp_path):
    pytest.importorskip("tblite")
    from ffbench_data.generate.md17 import simulate_all
    from ffbench_data.observables import read_reference

    raw = simulate_all(tmp_path / "raw", molecules=["ethanol"], runs=3, ps=0.2, equilibrate_ps=0.0, piece_ps=0.2)
    folder = build("md17_gfn2", raw, tmp_path)
    reference = read_reference(folder, "ethanol")
    assert reference is not None
    assert reference.facts["runs"] == 2
    assert len(reference.facts["bonds"]) == 8
    assert read_reference(folder, "aspirin") is None


def test_recorded_hashes_belong_to_the_cards_and_the_shipped_frames():
    import json

    from ffbench_data import card
    from ffbench_data.generate.record import RECORDED, record
    from ffbench_data.load import dataset_folder

    recorded = json.loads(RECORDED.read_text())
    for name, facts in recorded.items():
        about = card(name)
        assert facts["version"] == about.version
        assert {key.split("/")[0] for key in facts["splits"]} <= set(about.configs)
    shipped = record(dataset_folder("water"))["splits"]
    assert {k: recorded["water"]["splits"][k] for k in shipped} == shipped
    with pytest.raises(ValueError, match="no built data set"):
        record(dataset_folder("water") / "data")
