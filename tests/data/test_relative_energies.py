"""The shipped relative energies and dimer curves against facts of their papers."""

import gzip
import json

import numpy as np
import pytest

from ffbench_data import build, load_frames
from ffbench_data.datacard import card
from ffbench_data.load import EMBEDDED, provenance
from ffbench_data.observables import read_reference

CARD = card("relative_energies")
ZERO = {  # mean absolute reference, kcal/mol: published with GMTKN55 (there also as the average |dE| of each set)
    "aconf": 1.83, "but14diol": 2.80, "pconf21": 1.62, "sconf": 4.60, "mconf": 4.97, "amino20x4": 2.44, "upu23": 5.72,
    "bhrot27": 6.27, "taut15": 3.05, "iso34": 14.57, "adim6": 3.36, "ahb21": 22.49, "chb6": 26.79, "il16": 109.04,
    "water27": 81.14, "bhperi": 20.87, "px13": 33.36, "inv24": 31.85, "pa26": 189.05, "fh51": 31.01, "darc": 32.47,
    "bsr36": 16.20, "cdie20": 4.06, "rse43": 7.60, "s66x8": 4.08,
}  # fmt: skip


def facts(name):
    return read_reference(EMBEDDED / "relative_energies", name).facts


@pytest.mark.parametrize("name", CARD.configs)
def test_every_set_is_whole(name):
    frames, reactions = load_frames("relative_energies", name, "test", root=EMBEDDED), facts(name)["reactions"]
    assert len(frames) == CARD.configs[name].splits["test"].frames
    assert np.mean([abs(r["reference"]) for r in reactions]) == pytest.approx(ZERO[name], abs=0.006)
    used = {k for r in reactions for _, k in r["terms"]}
    assert used == set(range(len(frames)))
    electrons = np.add.reduceat(frames.atomic_numbers, frames.offsets[:-1]).astype(int) - frames.charge
    assert ((electrons + frames.spin_multiplicity) % 2 == 1).all()


@pytest.mark.parametrize("name", CARD.configs)
def test_every_reaction_keeps_its_atoms_and_charge(name):
    frames = load_frames("relative_energies", name, "test", root=EMBEDDED)
    elements = np.unique(frames.atomic_numbers)
    count = np.array([[np.count_nonzero(f.atomic_numbers == z) for z in elements] + [f.charge] for f in frames])
    if name == "pa26":
        count = count[:, :-1] * (elements != 1)  # the proton itself has no energy and is no structure
    for reaction in facts(name)["reactions"]:
        assert np.abs(sum(c * count[k] for c, k in reaction["terms"])).max() == 0, reaction


def test_curves_have_eight_points_and_a_parent():
    lines = {}
    for r in facts("s66x8")["reactions"]:
        lines.setdefault(r["curve"], []).append(r)
    assert len(lines) == 66
    assert all([r["scale"] for r in rows] == [0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 1.5, 2.0] for rows in lines.values())
    assert lines["Water-Water"][0]["parent"] == "H4O2"
    parents = {name: {r["parent"] for r in facts(name)["reactions"]} for name in ("mconf", "aconf", "water27")}
    assert parents["mconf"] == {"C13H16N2O2"}
    assert parents["aconf"] == {"C4H10", "C5H12", "C6H14"}
    assert "H3O+" not in parents["water27"]
    assert "H5O2+" in parents["water27"]


def test_it_builds_from_files_and_from_itself(tmp_path):
    structures = {
        "aconf_a": {"numbers": [1, 1], "positions": [[0, 0, 0], [0, 0, 0.74]], "charge": 0, "multiplicity": 1},
        "aconf_b": {"numbers": [1, 1], "positions": [[0, 0, 0], [0, 0, 0.8]], "charge": 0, "multiplicity": 1},
    }
    reactions = [{"terms": [[-1.0, "aconf_a"], [1.0, "aconf_b"]], "reference": 1.5}]
    found = {"set": "s66x8", "structures": structures, "reactions": []}
    (tmp_path / "in").mkdir()
    (tmp_path / "in/s66x8.json.gz").write_bytes(gzip.compress(json.dumps(found | {"reactions": []}).encode()))
    (tmp_path / "in/aconf.json.gz").write_bytes(
        gzip.compress(json.dumps({"set": "aconf", "structures": structures, "reactions": reactions}).encode())
    )
    folder = build("relative_energies", tmp_path / "in", tmp_path / "out")
    told = read_reference(folder, "aconf").facts
    assert told["reactions"] == [{"terms": [[-1.0, 0], [1.0, 1]], "reference": 1.5, "parent": "H2"}]
    assert not provenance("relative_energies", "aconf", root=tmp_path / "out")["complete"]
    (tmp_path / "empty").mkdir()
    again = build("relative_energies", tmp_path / "empty", tmp_path / "again")
    one, two = (json.loads((f / "manifest.json").read_text())["content_sha256"] for f in (EMBEDDED / CARD.name, again))
    assert one == two


@pytest.mark.parametrize(("functional", "frames"), [("pbe", 4555), ("r2scan", 4558)])
def test_dimers(functional, frames):
    found = load_frames(f"diatomics_{functional}", split="test", root=EMBEDDED)
    table = found.table
    assert len(found) == frames
    assert len(set(table["scan"].to_pylist())) == 92
    x = found.positions.reshape(-1, 2, 3)
    assert x[:, 1, 0] == pytest.approx(table["bond_length"].to_numpy())
    rows = np.flatnonzero(np.array(table["scan"].to_pylist()) == "N-N")
    lowest = rows[found.energy[rows].argmin()]
    assert x[lowest, 1, 0] == pytest.approx(1.10, abs=0.05)  # the bond of N2 is 1.098 Å
    depth = found.energy[rows[-1]] - found.energy[lowest]
    assert 9 < depth < 12  # 9.9 eV measured, 10.5 at PBE
    assert table["magnetic_moments"].null_count == {"pbe": 4, "r2scan": 2}[functional]
