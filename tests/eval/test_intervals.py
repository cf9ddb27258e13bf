"""Intervals in reports: inside the metric's domain, and never of width zero."""

import math

import numpy as np
import pytest
from scipy import stats

from ffbench_eval.kinds import KINDS
from ffbench_eval.kinds.bsct.scores import over_molecules
from ffbench_eval.kinds.domains import domain, known_interval, stated, with_known_intervals
from ffbench_eval.kinds.selective import resample
from ffbench_eval.kinds.selective.table import score_source
from ffbench_eval.kinds.statistics import (
    block_samples,
    over_frames,
    over_replicas,
    stable_fraction,
    stable_time,
    student,
)
from ffbench_eval.report import Floor, Metric
from ffbench_metrics import normalised_score

METRICS = {spec.name: spec for kind in KINDS.values() for spec in kind.metrics}


def test_every_kind_states_every_metric_once():
    """A name that two kinds share is one definition."""
    for kind in KINDS.values():
        names = [spec.name for spec in kind.metrics]
        assert len(names) == len(set(names))
        for spec in kind.metrics:
            one = METRICS[spec.name]
            assert (one.unit, one.better, one.domain, one.version) == (
                spec.unit,
                spec.better,
                spec.domain,
                spec.version,
            )
            low, high = spec.usual or spec.domain
            assert spec.low <= low < high <= spec.high, spec.name
            assert kind.spec(spec.name) == (spec, "")


def test_usual_ranges_are_magnitudes():
    """Their ends are 0, a power of ten or what the definition allows: a guess at a size claims no more digits.

    Wavenumbers of molecules end below 5,000 (H2: 4,401); free energies at the cap of 40 kJ/mol, to rounding."""
    known = {("vibrational_mean", 5000), ("free_energy_error", 40.0 + 1e-6)}
    for kind in KINDS.values():
        for spec in kind.metrics:
            for end, allowed in zip(spec.usual or (), spec.domain):
                if end not in (0, allowed) and (spec.name, end) not in known:
                    power = math.log10(abs(end))
                    assert power == pytest.approx(round(power), abs=1e-12), (spec.name, end)


def test_domains_of_names_with_parts():
    assert domain("fsd_C-H_median") == domain("fsd_compress") == METRICS["fsd"].domain
    assert domain("energy_mae_per_atom_aligned") == METRICS["energy_mae"].domain
    assert domain("excess_aurc.bond_scans.probe") == METRICS["excess_aurc"].domain
    assert domain("rdf_error_O-O") == (0.0, np.inf)
    assert domain("force") == domain("") == (-np.inf, np.inf)


SHARES = """stable_fraction force_violation supported_share supported_reactions
    aurc auroc auprc accuracy_at_coverage accuracy ece brier
    realised_risk realised_coverage prevalence majority_accuracy dimer_energy_rises dimer_force_rises dimer_repulsive
    pair_energy_rises pair_force_rises pair_repulsive"""
LIMITS = {
    (-1.0, 1.0): "force_cosine spearman excess_aurc rank_correlation",
    (0.0, 1.0): SHARES,
    (0.0, 0.5): "augrc excess_augrc",  # at most half the share that failed
    (1.0, np.inf): "dimer_tortuosity",  # a way is no shorter than the straight one
    (0.0, np.log(2)): "jensen_shannon",
    (0.0, 2.0): "distance_histogram_error angle_histogram_error jacobian_asymmetry",  # between two densities
}


def test_domains_are_those_of_the_definitions():
    named = {name: limits for limits, names in LIMITS.items() for name in names.split()}
    bounded = {name: (spec.low, spec.high) for name, spec in METRICS.items() if np.isfinite(spec.low)}
    assert bounded == {name: named.get(name, (0.0, np.inf)) for name in bounded}
    assert set(named) <= set(bounded)


@pytest.mark.parametrize("name", sorted(n for n, spec in METRICS.items() if np.isfinite(spec.low)))
def test_no_interval_leaves_its_domain(name):
    low, high = domain(name)
    near = high - 1e-3 if np.isfinite(high) else low + 1e-3
    kept = known_interval(name, near, (near - 1.5, near + 1.5))
    assert low <= kept[0] <= near <= kept[1] <= high
    assert known_interval(name, near, (near, near)) is None
    assert known_interval(name, near, None) is None


def test_a_lost_interval_says_why():
    metrics = {
        "force_cosine": Metric(value=0.9999, unit="1", interval=(0.9996, 1.0001), values=[0.9998, 1.0]),
        "sign_flips": Metric(value=0.0, unit="1", interval=(0.0, 0.0), interval_note="bootstrap", values=[0.0, 0.0]),
        "temperature_deviation": Metric(value=1.0, unit="K", interval=(-2.0, 4.0), values=[0.5, 1.5]),
        "fsd": Metric(value=None, unit="1/Å", not_scored="no scan"),
    }
    got = with_known_intervals(metrics)
    assert got["force_cosine"].interval == (0.9996, 1.0)
    assert got["sign_flips"].interval is None
    assert got["sign_flips"].interval_note == "bootstrap; no interval: all samples are equal"
    assert got["temperature_deviation"] is metrics["temperature_deviation"]  # positive samples, but it has a sign
    assert got["fsd"] is metrics["fsd"]


def test_equal_replicas_have_a_value_and_no_interval():
    two = over_replicas([0.31, 0.31], unit="1")
    assert (two.value, two.interval, two.interval_note) == (0.31, None, "replicas: all 2 samples are equal")
    assert over_replicas([0.31], unit="1").interval_note == "replicas: one sample"
    assert student([None, 1.0]) is None
    early = stable_time([True, True], [2.0, 2.0], 10.0)
    assert (early.value, early.interval, early.interval_note) == (2.0, None, "replicas: all 2 samples are equal")


def test_replicas_without_a_value_keep_their_place():
    lost = over_replicas([None, float("nan")], unit="K", better="neither")
    assert (lost.value, lost.values, lost.n, lost.not_scored) == (None, [None, None], 0, "no replica has a value")
    one = over_replicas([None, 2.0, 4.0], unit="K")
    assert (one.value, one.values, one.n) == (3.0, [None, 2.0, 4.0], 2)


def test_a_root_mean_square_has_the_roots_of_the_ends():
    squares = [3.0] * 20 + [5.0] * 20  # two blocks: 4 -+ 12.7062 * 1
    root = over_frames(squares, lambda: 2.0, unit="eV", root=True)
    assert (root.value, root.aggregate, root.values) == (2.0, "root_mean", [3.0, 5.0])
    assert root.interval == pytest.approx((0.0, np.sqrt(16.7062)), rel=1e-5)
    mean = over_frames(squares, lambda: 4.0, unit="eV")
    assert (mean.value, mean.aggregate, mean.values, mean.n) == (4.0, "mean", [3.0, 5.0], 40)
    assert mean.interval == pytest.approx((4 - 12.7062, 16.7062), rel=1e-5)
    assert over_frames([], lambda: 0.0, unit="eV").not_scored == "the data set has no such label"


def test_stable_time_and_fraction_by_hand():
    none = stable_time([False] * 5, [300.0] * 5, 300.0)
    assert (none.value, none.interval) == (300.0, None)
    assert "failure rate below 0.002 per ps" in none.interval_note
    ends = [100.0, 200.0, 300.0, 300.0]
    some = stable_time([True, True, False, False], ends, 300.0)
    half = stats.t.ppf(0.975, 3) * np.std(ends, ddof=1) / 2
    assert some.value == 225.0
    assert some.interval == pytest.approx((225 - half, 300.0))
    assert stable_fraction([False] * 5).interval == pytest.approx((0.025 ** (1 / 5), 1.0))


def test_scores_of_replicas_are_those_of_the_library():
    floor = Floor(median=0.1, p95=0.2, runs=5, length_ps=1.0)
    for values in ([0.1, 0.3], [0.0, 0.05], [5.0, 6.0]):
        got = over_replicas(values, unit="1", floor=floor, trivial=1.1)
        assert got.score == normalised_score(np.mean(values), 0.1, 1.1)
    assert over_replicas([0.1, 0.3], unit="1", floor=floor, trivial=0.1).score is None


@pytest.mark.parametrize("seed", range(5))
def test_block_samples_have_the_weighted_mean_and_its_spread(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 300))
    values, weights = rng.normal(5, 1, n), rng.integers(1, 60, n)
    samples = block_samples(values, weights)
    assert len(samples) == max(2, n // 20)
    assert samples.mean() == pytest.approx(np.average(values, weights=weights))
    equal = block_samples(np.full(n, 3.0), weights)
    assert equal == pytest.approx(np.full(len(equal), 3.0))


def test_block_samples_of_one_dominant_value_and_of_few():
    assert len(block_samples(np.arange(60.0), [1e6] + [1] * 59)) == 3
    assert len(block_samples(np.arange(60.0), [1] * 59 + [1e6])) == 3
    assert block_samples([4.0]).tolist() == [4.0]
    # neighbours stay together: blocks of 20 of a ramp are its thirds
    assert block_samples(np.arange(60.0)).tolist() == [9.5, 29.5, 49.5]


def test_the_interval_of_a_weighted_mean_covers_it():
    # 2,000 repetitions of 400 frames of molecules of 3 to 30 atoms: 95 % +- 5 standard errors of the share (6e-7)
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        weights = rng.integers(3, 31, 400)
        values = rng.normal(weights / 10, 1.0)
        low, high = student(block_samples(values, weights))
        # E[w v] / E[w] for w uniform on 3..30
        w = np.arange(3, 31)
        hits += low < (w * w / 10).sum() / w.sum() < high
    assert abs(hits / 2000 - 0.95) < 5 * np.sqrt(0.95 * 0.05 / 2000)


def scored(confidence, failed, groups=40):
    n = len(failed)
    settings = {"unit": "eV", "coverage": 0.25, "threshold": 0.5, "probability": np.where(confidence > 0.5, 0.9, 0.1)}
    w = resample.weights(np.arange(n) % groups, 100)
    return score_source(confidence, failed, failed + 0.5 * confidence, w, groups, **settings)


def test_selective_scores_of_equal_draws_have_no_interval_of_width_zero():
    failed = np.arange(200) % 2 == 0
    got = scored(np.where(failed, 0.1, 0.9) + 1e-3 * np.random.default_rng(0).random(200), failed)
    for name, score in got.items():
        assert score.interval is None or score.interval[0] < score.interval[1], name
    assert got["auroc"].value == 1.0
    assert got["auroc"].interval is None
    assert "all resamples are equal" in got["auroc"].note
    # no failure among the accepted half of 40 groups: what 20 groups can exclude
    assert got["realised_risk"].value == 0.0
    assert got["realised_risk"].interval == pytest.approx((0.0, 1 - 0.025 ** (1 / 20)))
    assert got["accuracy_at_coverage"].interval == pytest.approx((0.025 ** (1 / 10), 1.0))
    assert got["accuracy"].interval == pytest.approx((0.025 ** (1 / 40), 1.0))


def test_selective_intervals_stay_in_their_domains():
    rng = np.random.default_rng(1)
    for share in (0.02, 0.5, 0.98):
        failed = rng.random(200) < share
        failed[:2] = True, False
        for name, score in scored(rng.random(200), failed).items():
            if score.interval is not None:
                low, high = domain(name)
                assert low <= score.interval[0] <= score.interval[1] <= high, name


def test_bootstrap_intervals_hold_95_percent():
    # the ends of 1,001 even steps, the first value being that of the sample itself
    assert resample.interval(np.r_[9.0, np.arange(1001)]) == pytest.approx((25.0, 975.0))
    # means over 400 molecules of normal quantiles: width 1.96 standard errors, drawn ends scatter by a few percent
    x = stats.norm.ppf((np.arange(400) + 0.5) / 400)
    metric = over_molecules(x, [str(k) for k in range(400)], unit="1/Å")
    assert metric.interval == pytest.approx((-1.96 * x.std() / 20, 1.96 * x.std() / 20), rel=0.14)
    assert student([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(stats.t.interval(0.95, 4, loc=3, scale=np.sqrt(0.5)))


def test_a_report_names_the_version_of_every_definition():
    one = Metric(value=1.0, unit="1")
    found = stated({"force_cosine": one, "excess_aurc.test.probe": one, "force_mae": one})
    assert {name: m.version for name, m in found.items()} == {
        "force_cosine": "2",
        "excess_aurc.test.probe": "2",
        "force_mae": "1",
    }
