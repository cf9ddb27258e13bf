"""Every known fault of the published data has a check that would have caught it."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ffbench_data import Frames
from ffbench_data.builders.read import read_npz
from ffbench_data.builders.splits import blocked_by_correlation, blocked_split, published_split
from ffbench_data.datacard import card
from ffbench_data.schema import to_table
from ffbench_data.validate import (
    check_against_card,
    check_frames,
    check_order,
    check_overlap,
    check_stiffness,
    newton,
    stiffness,
    work,
)

RNG = np.random.default_rng(2)


def oscillator(count=400, dt=0.5, k=30.0):
    """CO by velocity Verlet: exact forces, frames ``dt`` fs apart."""
    from ase import units
    from ase.data import atomic_masses

    mass = atomic_masses[[6, 8]][:, None]
    x = np.array([[0.0, 0, 0], [1.20, 0, 0]])
    v = np.zeros_like(x)
    out = []

    def force(x):
        d = x[1] - x[0]
        r = np.linalg.norm(d)
        pull = -k * (r - 1.13) * d / r
        return 0.5 * k * (r - 1.13) ** 2, np.stack([-pull, pull])

    e, f = force(x)
    for _ in range(count):
        out.append((x, e, f))
        v = v + 0.5 * dt * units.fs * f / mass
        x = x + dt * units.fs * v
        e, f = force(x)
        v = v + 0.5 * dt * units.fs * f / mass
    x, e, f = (np.array([o[i] for o in out]) for i in range(3))
    return x, e - 3000, f


def level(found, check):
    return {f.level for f in found if f.check == check}


def test_newton_gives_the_time_step_and_betrays_a_factor():
    x, e, f = oscillator()
    time = np.arange(len(x)) * 0.5
    (good,) = newton(Frames(to_table([6, 8], x, e, f, time_fs=time)), "")
    assert good.value == pytest.approx(0.5, rel=1e-3)
    assert good.level == "ok"
    (bad,) = newton(Frames(to_table([6, 8], x, e, 4.184 * f, time_fs=time)), "")
    assert bad.level == "error"
    assert "4.18" in bad.message


def test_work_betrays_mixed_units():
    x, e, f = oscillator()
    assert level(work(Frames(to_table([6, 8], x, e, f)), ""), "work") == {"ok"}
    for energy, forces in ((e * 23.06, f), (e, -f), (e / 23.06, f)):
        assert level(work(Frames(to_table([6, 8], x, energy, forces)), ""), "work") == {"error"}


def test_stiffness_recovers_the_force_constant():
    x, e, f = oscillator(k=42.5)
    assert stiffness(Frames(to_table([6, 8], x, e, f)), [0], [1]) == pytest.approx(42.5, rel=1e-4)
    (found,) = check_stiffness(to_table([6, 8], x, e, 4.184 * f), "C-O", [0], [1], 42.5)
    assert found.level == "warning"
    assert "off by 4.18" in found.message


def test_mdsim_water_is_not_spc_fw(shared_data):
    from ffbench_data.generate.water import EV, KCAL, SPC_FW

    table = read_npz(shared_data / "mdsim_examples/water-10k_gemnet-t/traj.npz", method="")
    hydrogen = np.flatnonzero(np.arange(192) % 3)
    expected = SPC_FW["bond_k"] * KCAL / EV
    (found,) = check_stiffness(table, "O-H", hydrogen // 3 * 3, hydrogen, expected)
    assert found.level == "warning"
    assert found.value / expected == pytest.approx(2047 / 1059, rel=0.05)


def test_md17_test_is_not_iid_and_leaks(shared_data):
    folder = shared_data / "md17"
    test, train = (read_npz(folder / f"aspirin_{s}.npz", method="") for s in ("test", "train"))
    assert level(check_order(Frames(test), ""), "order") == {"note"}
    assert level(check_order(Frames(train), ""), "order") == {"ok"}
    # EGraFFBench's copies differ in the last digits of a unit conversion, so compare what is equal in both: positions.
    found = check_overlap({"train": Frames(train), "test": Frames(test)}, "aspirin")
    assert [f.value for f in found if f.check == "overlap"] == [8]


def test_acac_val_is_test(shared_data):
    table = Frames(read_npz(shared_data / "acac/test_300K.npz", method=""))
    (found,) = check_overlap({"val": table, "test": table}, "acac")
    assert found.level == "error"
    assert "lies wholly" in found.message


def test_unit_factor_of_egraffbench(shared_data):
    """Values printed with few decimals betray the factor of a later conversion: over the right one they are round."""

    def round_over(values, factor, decimals=8):
        source = values.ravel()[:3000] / factor
        return np.abs(source - np.round(source, decimals)).max() < 1e-10 + 1e-15 * np.abs(source).max()

    shipped, exact = 0.04336, 0.043364104241800934
    with np.load(shared_data / "md17/ethanol_train.npz") as data:
        ours = data["forces"].astype(float)
    assert round_over(ours, exact)
    assert not round_over(ours, shipped)
    assert round_over(ours / exact * shipped, shipped)
    assert not round_over(ours * 1.01, exact)


def test_gete_labels(shared_data):
    table = Frames(read_npz(shared_data / "gete/val_300.npz", method=""))
    assert level(check_frames(table, ""), "net_force") == {"warning"}
    assert level(work(table, ""), "work") == {"warning"}


def test_missing_1200K_is_said():
    found = check_against_card({"300K_to_600K": {}}, card("three_bpa"))
    assert "300K_to_1200K/ood_test" in {f.where for f in found}


@pytest.mark.parametrize(
    ("change", "check", "expected"),
    [
        (lambda x, e, f: (x * 0.529, e, f), "distances", "error"),
        (lambda x, e, f: (x, np.where(np.arange(len(e)) == 3, np.inf, e), f), "finite", "error"),
        (lambda x, e, f: (x, np.where(np.arange(len(e)) == 3, np.nan, e), f), "finite", "note"),
        (lambda x, e, f: (np.repeat(x[::2], 2, 0), e, f), "duplicates", "error"),
        (lambda x, e, f: (x, e, f + 0.1), "net_force", "warning"),
        (lambda x, e, f: (x, np.where(np.arange(len(e)) == 3, e + 1000, e), f), "energy_outliers", "note"),
    ],
)
def test_faults(change, check, expected):
    x, e, f = oscillator(100)
    x = x + 0.02 * RNG.normal(size=x.shape)
    assert level(check_frames(Frames(to_table([6, 8], x, e, f)), ""), check) == {"ok"}
    assert level(check_frames(Frames(to_table([6, 8], *change(x, e, f))), ""), check) == {expected}


def test_a_molecule_that_turned_is_no_nearer_and_no_farther():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 5, 3))
    train, test = x[:40], x[40:]
    turned = Rotation.random(20, rng).as_matrix()

    def nearness(test):
        splits = {k: Frames(to_table([6] * 5, v, np.zeros(len(v)), 0 * v)) for k, v in
                  {"train": train, "test": test}.items()}  # fmt: skip
        return next(f.value for f in check_overlap(splits, "") if f.check == "nearness")

    still = nearness(test)
    assert 0.1 < still < 1
    np.testing.assert_allclose(nearness(np.einsum("tij,tnj->tni", turned, test) + [9, 0, 0]), still, rtol=1e-6)
    assert nearness(train[20:] + 1e-4) < 1e-3


def test_random_split_leaks_and_blocked_does_not():
    # A slow random walk on a ring: a random split puts each test frame beside a train frame.
    angle = np.cumsum(0.3 * RNG.normal(size=20000))
    x = np.zeros((20000, 2, 3))
    x[:, 1] = 1.13 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
    frames = Frames(to_table([6, 8], x + 1e-3 * RNG.normal(size=x.shape), np.cos(angle), 0 * x))
    rows, said = blocked_by_correlation(frames)
    assert said["block_frames"] >= 20 * said["autocorrelation_frames"] - 1
    distance = np.abs(rows["train"][:, None] - rows["test"][None, ::50]).min()
    assert distance > said["gap_frames"]
    random = published_split(20000, 900, 100, 1000)
    assert np.abs(random["train"][:, None] - random["test"][None]).min(0).mean() < 30
    assert not set(random["train"]) & set(random["test"])
    with pytest.raises(ValueError, match="needs 3"):
        blocked_split(10, block=5, gap=1)
