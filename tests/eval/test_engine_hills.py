"""HILLS files in degrees, doubled by a restart, of another kernel; the decay of hills; what a frame holds."""

import numpy as np
import pytest
import torch

from ffbench_eval.engine.bias import Hills, MetadynamicsRule
from ffbench_eval.engine.plumed import read_hills
from ffbench_eval.engine.run import Protocol, simulate
from ffbench_eval.engine.trajectory import read_trajectories
from tests.eval.engine_systems import F64, cluster, morse

ROWS = [[k + 1.0, *np.random.default_rng(k).uniform(-3, 3, 2), 0.35, 0.3, 1.4, 6.0] for k in range(20)]


def write(path, rows, low="-pi", high="pi", kernel="gaussian"):
    lines = ["#! FIELDS time phi psi sigma_phi sigma_psi height biasf", f"#! SET kerneltype {kernel}"]
    if low is not None:
        lines += [
            f"#! SET {end}_{name} {value}" for name in ("phi", "psi") for end, value in (("min", low), ("max", high))
        ]
    path.write_text("\n".join(lines + [" ".join(f"{v:.9g}" for v in row) for row in rows]) + "\n")
    return path


def degrees(rows):
    return [[r[0], *np.degrees(r[1:5]), *r[5:]] for r in rows]


def test_degrees_are_turned_into_radians_where_the_header_says_so(tmp_path):
    right = read_hills(write(tmp_path / "rad", ROWS))
    for low, high in (("-180", "180"), ("-180.0", "+180.0")):
        found = read_hills(write(tmp_path / "deg", degrees(ROWS), low, high))
        for name in right.dtype.names:
            np.testing.assert_allclose(found[name], right[name], rtol=1e-7)
    turned = [[r[0], r[1] % (2 * np.pi), r[2] % (2 * np.pi), *r[3:]] for r in ROWS]
    assert read_hills(write(tmp_path / "turn", turned, "0", "2pi"))["phi"].max() > np.pi


@pytest.mark.parametrize("low", ["-pi", None])
def test_degrees_that_nobody_declared_are_refused(low, tmp_path):
    with pytest.raises(ValueError, match=r"at phi = .* outside .* rad: angles in degrees need '#! SET min_phi -180'"):
        read_hills(write(tmp_path / "HILLS", degrees(ROWS), low))


def test_hills_deposited_twice_count_once_and_it_is_said(tmp_path):
    with pytest.warns(UserWarning, match="8 hills are there twice"):
        found = read_hills(write(tmp_path / "HILLS", ROWS[:15] + ROWS[7:]))
    np.testing.assert_array_equal(found["time"], np.arange(1, 21))


def test_other_kernels_are_named(tmp_path):
    with pytest.warns(UserWarning, match="stretched-gaussian is summed as gaussian"):
        assert len(read_hills(write(tmp_path / "HILLS", ROWS, kernel="stretched-gaussian"))) == 20
    with pytest.raises(ValueError, match="kerneltype triangular"):
        read_hills(write(tmp_path / "HILLS", ROWS, kernel="triangular"))


def test_hills_at_one_place_decay_with_gamma_minus_one():
    """h_k = h0 exp(-V / (kT (gamma - 1))) with V the sum of those before (Barducci et al. 2008)."""
    gamma, kt, h0 = 4.0, 0.025, 0.05
    hills = Hills(MetadynamicsRule((), h0, 0.3, gamma, 1, distances=((0, 1),)), 1, 8)
    x = torch.tensor([[[0.0, 0, 0], [1.5, 0, 0]]], dtype=F64)
    expected, bias = [], 0.0
    for _ in range(6):
        hills.deposit(x, torch.tensor([kt], dtype=F64), torch.tensor([True]))
        expected.append(h0 * np.exp(-bias / (kt * (gamma - 1))))
        bias += expected[-1]
    np.testing.assert_allclose(hills.heights[0, :6].numpy(), expected, rtol=1e-12)


def test_frames_hold_the_total_energy_and_between_leaves_out_its_start(tmp_path):
    simulate(morse(), cluster(), Protocol("nve", 300.0, 1.0, 0.04, 10.0, save_velocities=True), tmp_path, seed=0)
    (t, *_) = read_trajectories(tmp_path)
    kinetic = 0.5 * 12.0 * np.square(t.velocities.astype(float)).sum((1, 2)) / 0.09822694743391452**2
    np.testing.assert_allclose(t.total_energy - t.potential_energy, kinetic, rtol=1e-5)
    np.testing.assert_allclose(t.between(0.01, 0.03).time_ps, [0.02, 0.03])
