"""The real BSCT-SPICE scans: the published table, the nine published numbers, the geometry, states and shares."""

import numpy as np
import pytest
import torch

from ffbench_data import load_frames
from ffbench_data.scans import find_bonds, fragments, scan_bond
from ffbench_eval import evaluate
from ffbench_eval.kinds.bsct.scans import LabelledScan, find_scans
from ffbench_eval.kinds.bsct.scores import score_scan, summarise
from tests.eval.bsct_data import SUITE, breaking, pair_model, small_dataset

PUBLISHED = {  # the nine keys of the public implementation
    "full_smoothness": "fsd",
    "full_energy_mae": "scan_energy_mae",
    "full_forces_mae": "scan_force_mae",
    "compress_smoothness": "fsd_compress",
    "compress_energy_mae": "scan_energy_mae_compress",
    "compress_forces_mae": "scan_force_mae_compress",
    "stretch_smoothness": "fsd_stretch",
    "stretch_energy_mae": "scan_energy_mae_stretch",
    "stretch_forces_mae": "scan_force_mae_stretch",
}


@pytest.fixture(scope="module")
def scans(shared_data):
    """All 485: (scan, unperturbed positions, published bond, published fragment)."""
    found = []
    for path in sorted((shared_data / "bsct_spice").glob("*.npz")):
        with np.load(path) as archive:
            d = dict(archive)
        ends = np.cumsum(d["n_atoms"])
        for s, (n, end) in enumerate(zip(d["n_atoms"], ends)):
            atoms, rows = slice(end - n, end), slice(100 * (end - n), 100 * end)
            x, f = (d[k][rows].reshape(100, n, 3) for k in ("positions", "forces"))
            name = f"{path.stem}/{d['system_id'][s]}"
            scan = LabelledScan(
                name, str(d["smiles"][s]), np.arange(100), d["atomic_numbers"][atoms], x, d["energy"][s], f,
                d["bond_length"][s],
            )  # fmt: skip
            found.append((scan, d["unperturbed_positions"][atoms], d["bond_index"][s], d["fragment"][atoms]))
    assert len(found) == 485
    return found


def test_generated_scans_equal_the_published_ones(scans):
    for scan, start, bond, fragment in scans:
        made = scan_bond(scan.numbers, start, tuple(bond), fragment)
        assert np.abs(made.bond_length - scan.bond_length).max() < 1e-8
        assert np.abs(made.positions - scan.positions).max() < 1e-8


def test_bonds_and_fragments_are_found_as_published(scans):
    for scan, start, bond, fragment in scans:
        pair = tuple(sorted(int(k) for k in bond))
        assert scan.bond == pair
        assert scan.bond_type == scan.name.split("/")[0]
        bonds = find_bonds(scan.numbers, start)
        assert pair in bonds
        for side in (scan.fragment, fragments(len(scan.numbers), bonds, pair)):
            assert (side == fragment).all() or (side != fragment).all()


def published(scan, energy, forces):
    """The nine numbers from their formulas (PROTOCOLS.md, section 3), written out for one scan."""
    known = np.isfinite(scan.energy)
    a, e, f = scan.bond_length[known], scan.energy[known], scan.forces[known]
    mine, pull = energy[known], forces[known]
    eq = e.argmin()
    ratio = []
    for k in range(len(a)):
        m, d = np.sum((pull[k] - f[eq]) ** 2), np.sum((f[k] - f[eq]) ** 2)
        ratio.append(np.log(max(m, 1.0) / max(d, 1.0)))
    out = {}
    for part, (first, last) in {"full": (0, len(a)), "compress": (0, eq + 1), "stretch": (eq, len(a))}.items():
        steps = range(first, last - 1)
        out[f"{part}_smoothness"] = max(abs(ratio[k + 1] - ratio[k]) / (a[k + 1] - a[k]) for k in steps)
        out[f"{part}_energy_mae"] = np.mean([abs(mine[k] - e[k]) for k in range(first, last)])
        out[f"{part}_forces_mae"] = np.mean([np.mean(np.abs(pull[k] - f[k])) for k in range(first, last)])
    return out


@pytest.mark.parametrize("noise", [0.001, 0.1])
def test_the_nine_published_numbers_on_all_scans(scans, noise):
    rng = np.random.default_rng(0)
    ours, theirs, kept = [], [], []
    for scan, *_ in scans:
        forces = np.nan_to_num(scan.forces) + noise * rng.normal(size=scan.forces.shape)
        energy = np.nan_to_num(scan.energy) + noise * rng.normal(size=100) + 2.0
        row = score_scan(scan, energy, forces)
        ours.append([row[PUBLISHED[key]] for key in PUBLISHED])
        expected = published(scan, energy, forces)
        theirs.append([expected[key] for key in PUBLISHED])
        kept.append(row)
    assert np.array(ours) == pytest.approx(np.array(theirs), rel=1e-6)
    metrics = summarise(kept, [scan for scan, *_ in scans])
    means = dict(zip(PUBLISHED, np.mean(theirs, axis=0)))
    for key, value in means.items():
        assert metrics[PUBLISHED[key]].value == pytest.approx(value, rel=1e-6)
    assert "425 distinct molecules" in metrics["fsd"].interval_note
    assert metrics["fsd_C-N"].n == 98


TABLE = [  # PROTOCOLS.md, section 3; noise is random, so its rows hold to the spread between seeds
    ("perfect", lambda f, rng: f, 0.0, 1e-12),
    ("F x 0.9", lambda f, rng: 0.9 * f, 14.3, 0.05),
    ("F x 0.5", lambda f, rng: 0.5 * f, 50.9, 0.05),
    ("F x 2", lambda f, rng: 2.0 * f, 42.3, 0.05),
    ("F = 0", lambda f, rng: 0.0 * f, 53.0, 0.06),  # 52.947
    ("step", lambda f, rng: f * np.where(np.arange(100) >= 66, 1.5, 1.0)[:, None, None], 45.0, 0.05),
    ("noise 0.01", lambda f, rng: f + 0.01 * rng.normal(size=f.shape), 1.1, 0.1),
    ("noise 0.03", lambda f, rng: f + 0.03 * rng.normal(size=f.shape), 3.7, 0.25),
    ("noise 0.1", lambda f, rng: f + 0.1 * rng.normal(size=f.shape), 19.8, 0.5),
    ("noise 0.3", lambda f, rng: f + 0.3 * rng.normal(size=f.shape), 41.2, 1.2),
    ("noise 1", lambda f, rng: f + rng.normal(size=f.shape), 55.0, 1.2),
]


@pytest.mark.parametrize(("change", "expected", "within"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_published_table_of_synthetic_models(scans, change, expected, within):
    from ffbench_metrics import force_smoothness_deviation

    rng = np.random.default_rng(0)
    values = [
        force_smoothness_deviation(s.bond_length, change(np.nan_to_num(s.forces), rng), s.forces, s.energy).full
        for s, *_ in scans
    ]
    assert np.mean(values) == pytest.approx(expected, abs=within)


@pytest.fixture(scope="module")
def small(shared_data, tmp_path_factory):
    return small_dataset(shared_data, tmp_path_factory.mktemp("bsct"))


@pytest.fixture
def suite(small, tmp_path, monkeypatch):
    monkeypatch.setenv("FFBENCH_DATA", str(small))
    path = tmp_path / "scans.yaml"
    path.write_text(SUITE)
    return path


def test_the_built_set_keeps_every_digit_and_its_molecules(small, scans):
    frames = load_frames("bsct_spice", "all", "test", root=small)
    found = find_scans(frames)
    whole = {s.name: s for s, *_ in scans}
    assert len(found) == 5
    for name, scan in found.items():
        assert np.array_equal(scan.forces, whole[name].forces, equal_nan=True)
        assert np.array_equal(scan.energy, whole[name].energy, equal_nan=True)
        assert np.array_equal(scan.bond_length, whole[name].bond_length)
        assert scan.molecule == whole[name].molecule
    assert len(load_frames("bsct_spice", "C-O", "test", root=small)) == 200


def test_a_run_gives_the_published_numbers_in_float64_and_masks_missing_labels(suite, tmp_path):
    model = pair_model()
    task = evaluate(model, suite, out=tmp_path / "run", quiet=True).tasks["scans"]
    assert task.statuses == {"ok": 5}
    assert task.metrics["masked_labels"].value == 2
    assert task.metrics["conservativeness"].n == 2  # fine_scans
    got = np.load(next((tmp_path / "run" / "units").glob("*/predictions.npz")))
    frames = load_frames("bsct_spice", "all", "test")
    frame = atom = 0
    for k, (name, scan) in enumerate(find_scans(frames).items()):
        n = len(scan.numbers)
        forces = got["forces"][atom : atom + 100 * n].reshape(100, n, 3)
        expected = published(scan, got["energy"][frame : frame + 100], forces)
        for key, ours in PUBLISHED.items():
            assert task.metrics[ours].values[k] == pytest.approx(expected[key], rel=1e-6), (name, key)
        frame, atom = frame + 100, atom + 100 * n


def test_scans_of_unknown_elements_are_unsupported_and_the_share_is_said(suite, tmp_path):
    organic = evaluate(pair_model(elements=(1, 6, 7, 8)), suite, out=tmp_path / "a", quiet=True).tasks["scans"]
    every = evaluate(pair_model(), suite, out=tmp_path / "b", quiet=True).tasks["scans"]
    count = organic.statuses["unsupported"]
    assert 2 <= count < 5  # N-P at least
    assert organic.metrics["supported_share"].value == pytest.approx(1 - count / 5)
    assert "supported_share" not in every.metrics
    known = [k for k, s in enumerate(organic.units[0].status) if s == "ok"]
    mine, all_of_them = organic.metrics["fsd"].values, every.metrics["fsd"].values
    assert [mine[k] for k in known] == pytest.approx([all_of_them[k] for k in known])
    assert all(v is None for k, v in enumerate(mine) if k not in known)
    assert "does not cover" in organic.units[0].detail[0]


def test_nan_on_compressed_geometries_costs_those_scans_only(suite, tmp_path):
    def squeezed(z, x):
        return torch.pdist(x).min() < 0.75

    task = evaluate(breaking(pair_model(), squeezed), suite, out=tmp_path / "a", quiet=True).tasks["scans"]
    assert set(task.statuses) == {"ok", "model_error"}
    assert task.metrics["fsd"].n == task.statuses["ok"]
    assert "are not finite on" in task.units[0].detail[0]
