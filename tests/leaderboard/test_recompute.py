"""What a report's numbers say about each other, on small reports worked out by hand."""

import math

import numpy as np
import pytest

from ffbench_eval.report import Metric, TaskReport
from leaderboard.check.recompute import (
    Scans,
    aggregate,
    expected_score,
    metric_faults,
    not_recomputed,
    task_faults,
)
from leaderboard.check.recompute_selective import lowest_aurc, selective_score

USED = {"name": "d", "config": "default", "split": "test", "version": "1", "content_sha256": "0"}


def task(kind, status=("ok",), parameters=None, headline="", **metrics):
    return TaskReport(
        kind=kind,
        version="1",
        title="t",
        dataset=USED,
        parameters=parameters or {},
        units=[{"address": "a", "status": list(status), "wall_s": 1.0}],
        metrics={k.replace("__", "."): m for k, m in metrics.items()},
        headline=headline,
    )


def metric(value, values=(), **more):
    return Metric(value=value, unit="1", values=list(values), n=more.pop("n", len(values)), **more)


def places(found):
    return [where for where, _ in found]


MD = task("molecular_dynamics", parameters={"length_ps": 10.0, "replicas": 1})


def test_a_mean_square_has_the_root_of_its_interval():
    # 1, 4, 7: mean 4, Student's t_2 4.302653 times sqrt(3): 4 -+ 7.4524
    found = aggregate("force_rmse", metric(2.0, [1.0, 4.0, 7.0], aggregate="root_mean"), [1.0, 4.0, 7.0], MD, None)
    assert found == (2.0, pytest.approx((0.0, math.sqrt(4 + 4.302653 * math.sqrt(3)))))
    narrow = aggregate("force_rmse", metric(2.0, [3.9, 4.1], aggregate="root_mean"), [3.9, 4.1], MD, None)
    assert narrow[1] == pytest.approx((math.sqrt(4 - 1.2706), math.sqrt(4 + 1.2706)), rel=1e-4)
    with pytest.raises(ValueError, match="not negative"):
        aggregate("force_rmse", metric(1.0, [-3.0, 1.0], aggregate="root_mean"), [-3.0, 1.0], MD, None)


@pytest.mark.parametrize("length", [None, 0.0, -0.5, "10", True])
def test_a_restricted_mean_needs_a_length(length):
    one = task("molecular_dynamics", parameters={} if length is None else {"length_ps": length})
    with pytest.raises(ValueError, match="no length_ps"):
        aggregate("stable_time", metric(1.0, [1.0], aggregate="restricted_mean"), [1.0], one, None)


@pytest.mark.parametrize(("values", "fine"), [([0.0, 10.0], True), ([-0.1, 10.0], False), ([1.0, 10.1], False)])
def test_stable_times_lie_within_the_length(values, fine):
    m = metric(5.0, values, aggregate="restricted_mean")
    if fine:
        assert aggregate("trusted_time", m, values, MD, None)[0] == 5.0
    else:
        with pytest.raises(ValueError, match="between 0 and 10 ps"):
            aggregate("trusted_time", m, values, MD, None)


def test_a_supported_share_counts_states():
    scans = task("bsct", status=["ok", "unsupported", "ok", "unstable"])
    m = metric(0.75, aggregate="fraction", n=4)
    assert aggregate("supported_share", m, [], scans, None) == (0.75, None)
    with pytest.raises(ValueError, match="3 members, the units have 4"):
        aggregate("supported_share", metric(0.75, aggregate="fraction", n=3), [], scans, None)


@pytest.mark.parametrize(("value", "fine"), [(0.0, True), (3.0, True), (4.0, False), (-1.0, False), (1.5, False)])
def test_a_sum_is_a_count(value, fine):
    found = places(metric_faults("masked_labels", metric(value, aggregate="sum", n=3, interval_note="-"), MD))
    assert found == ([] if fine else [".values"])


def test_scans_without_their_data_have_a_mean_and_quantiles():
    base = metric(3.0, [1.0, 2.0, 6.0, None], aggregate="mean", interval_note="bootstrap over molecules", n=3)
    scans = task("bsct", status=["ok"] * 4, fsd=base)
    assert aggregate("fsd", base, [1.0, 2.0, 6.0], scans, None)[0] == 3.0
    assert aggregate("fsd_median", metric(2.0, aggregate="median"), [], scans, None)[0] == 2.0
    assert aggregate("fsd_p90", metric(5.2, aggregate="quantile_0.9"), [], scans, None)[0] == pytest.approx(5.2)


@pytest.mark.parametrize(
    ("interval", "fine"),
    [
        ((0.2, 0.4), True),
        ((0.2, 0.3 - 0.5e-9), True),
        ((0.3 + 0.5e-9, 0.4), True),
        ((0.2, 0.3 - 1e-8), False),
        ((0.3 + 1e-8, 0.4), False),
        ((0.4, 0.2), False),
        ((0.3 - 600.0, 0.3 + 399.9), True),
        ((0.3 - 600.0, 0.3 + 400.1), False),
    ],
)
def test_intervals_without_samples_hold_their_value_and_mean_something(interval, fine):
    m = Metric(value=0.3, unit="1", n=10, aggregate="bootstrap", interval=interval)
    found = places(metric_faults("brier.test.probe", m, task("selective")))
    assert found == ([] if fine else [".interval"])


def test_scores_run_from_the_baseline_to_the_floor():
    floor = {"median": 0.2, "p95": 0.3, "runs": 3, "length_ps": 1.0}
    m = Metric(value=0.6, unit="1", floor=floor, trivial=1.0)
    assert [expected_score("rdf_error", m, v) for v in (0.1, 0.2, 0.6, 1.0, 1.4)] == [1.0, 1.0, 0.5, 0.0, 0.0]
    assert expected_score("rdf_error", m.model_copy(update={"trivial": 0.2}), 0.1) is None
    force = Metric(value=0.6, unit="1", trivial=2.0)
    assert [expected_score("force_mae", force, v) for v in (0.0, 0.5, 3.0)] == [1.0, 0.75, 0.0]
    assert expected_score("energy_mae", force, 0.5) is None
    assert expected_score("stable_fraction", Metric(value=0.4, unit="1"), 0.4) == 0.4


def dynamics(status, stable, times, replicas=None, **more):
    return task(
        "molecular_dynamics",
        status,
        {"length_ps": 10.0, "replicas": len(status) if replicas is None else replicas},
        stable_fraction=metric(sum(stable) / max(1, len(stable)), stable),
        stable_time=metric(sum(times) / max(1, len(times)), times, aggregate="restricted_mean"),
        **more,
    )


FRACTION, TIME = ".metrics.stable_fraction.values", ".metrics.stable_time.values"


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (dynamics(["ok", "unstable"], [1.0, 0.0], [10.0, 4.0]), []),
        (dynamics(["ok", "ok"], [1.0, 0.0], [10.0, 4.0]), []),  # unstable by a criterion found later
        (dynamics(["ok", "unstable"], [1.0, 1.0], [10.0, 10.0]), [f"{FRACTION}[1]"]),
        (dynamics(["ok", "ok"], [1.0, 1.0], [10.0, 4.0]), [f"{TIME}[1]"]),
        (dynamics(["ok", "ok"], [1.0, 0.0], [10.0, 10.0]), [f"{TIME}[1]"]),
        (dynamics(["ok", "unstable"], [1.0, 0.0], [10.0, 10.0]), []),  # in the last step
        (dynamics(["ok", "ok"], [1.0], [10.0]), [FRACTION]),
        (dynamics(["ok"], [1.0, 1.0], [10.0, 10.0]), [FRACTION]),
        (dynamics(["ok"], [1.0], [10.0], replicas=2), [".units"]),
        (dynamics(["ok"], [1.0], [10.0], rdf_error=metric(1.0, [1.0, 1.0])), [".metrics.rdf_error.values"]),
        (dynamics(["ok"], [1.0], [10.0], trusted_time=metric(10.0, [10.0])), []),
        (dynamics(["unstable"], [0.0], [4.0], trusted_time=metric(5.0, [5.0])), [".metrics.trusted_time.values[0]"]),
        (task("molecular_dynamics", ["ok"], {"replicas": 1}, rdf_error=metric(1.0, [1.0])), [".metrics"]),
        (task("molecular_dynamics", ["not_run"], {"replicas": 5}), []),
        (task("molecular_dynamics", ["unsupported"], {"replicas": 5}), []),
        (task("molecular_dynamics", ["model_error"], {"replicas": 5}), [".units"]),
    ],
)
def test_states_of_replicas_and_their_times_agree(one, expected):
    assert places(task_faults(one)) == expected


@pytest.mark.parametrize(
    ("status", "values", "name", "fine"),
    [
        (["ok", "ok", "unsupported"], [1.0, 2.0, None], "fsd", True),
        (["ok", "ok", "unsupported"], [1.0, None, None], "fsd", False),  # every scan that ended ok has one
        (["ok", "ok", "unsupported"], [1.0, None, None], "energy_jump", True),
        (["ok", "ok", "unsupported"], [1.0, 2.0, 3.0], "energy_jump", False),
        (["ok", "ok"], [1.0, 2.0, None], "energy_jump", False),
    ],
)
def test_as_many_scans_have_values_as_ended_well(status, values, name, fine):
    known = [v for v in values if v is not None]
    one = task("bsct", status, **{name: metric(sum(known) / len(known), values, n=len(known))})
    assert places(task_faults(one)) == ([] if fine else [f".metrics.{name}.values"])


def test_a_root_mean_square_is_no_smaller_than_the_mean():
    for rmse, found in ((0.3, []), (0.2, []), (0.1, [".metrics.force_rmse.value"])):
        one = task("accuracy", force_mae=metric(0.2, [0.2]), force_rmse=metric(rmse, [rmse]))
        assert places(task_faults(one)) == found


def test_numbers_come_from_members_that_ended():
    assert places(task_faults(task("speed", ["out_of_memory"], ns_per_day=metric(1.0, [1.0])))) == [".metrics"]
    assert places(task_faults(task("speed", ["ok"]))) == [".metrics"]
    assert places(task_faults(task("accuracy", ["model_error"], force_mae=metric(1.0, [1.0])))) == []


E_SHARE, CASES = 0.4, 10  # 4 of 10 failed: AUGRC of the oracle 0.08, of chance 0.2


def cases(rows, parameters=None):
    """A domain without headline rules: names that begin with the calibration part need none."""
    made = {name: Metric(value=v, unit="1", n=n, interval_note="-", **more) for name, v, n, more in rows}
    return task(
        "selective", parameters=parameters, headline="probe", **{k.replace(".", "__"): m for k, m in made.items()}
    )


def said(first, v, n=CASES, parameters=None, **more):
    """Faults of one score of a source on the calibration part, with its prevalence."""
    rows = [("prevalence.calibration", E_SHARE, CASES, {}), (f"{first}.calibration.probe", v, n, more)]
    return places(task_faults(cases(rows, parameters)))


@pytest.mark.parametrize(
    ("first", "v", "fine"),
    [
        ("accuracy", 0.7, True),
        ("accuracy", 0.75, False),  # no share of 10 cases
        ("realised_coverage", 0.5, True),
        ("realised_coverage", 0.55, False),
        ("auroc", 0.75, True),
        ("auroc", 18.5 / 24, True),  # a tie counts half
        ("auroc", 0.76, False),  # no share of 24 pairs
        ("majority_accuracy", 0.6, True),
        ("majority_accuracy", 0.4, False),
        ("ece", 0.123, True),
        ("accuracy_at_coverage", 1.0, True),
        ("accuracy_at_coverage", 5 / 9, True),
        ("accuracy_at_coverage", 6 / 11, False),  # there are no 11 cases
        ("accuracy_at_coverage", 3 / 7, False),  # of 8 to 10
    ],
)
def test_shares_are_whole_numbers_of_cases(first, v, fine):
    name = f".metrics.{first}.calibration.probe.value"
    assert said(first, v, parameters={"coverage": 0.8}) == ([] if fine else [name])


def test_the_score_of_augrc_runs_from_chance_to_the_oracle():
    oracle = Metric(value=0.08, unit="1")
    mine = Metric(value=0.14, unit="1", trivial=0.2)
    one = task("selective", augrc__test__oracle=oracle, augrc__test__probe=mine)
    assert selective_score("augrc.test.probe", mine, 0.14, one) == pytest.approx(0.5)
    assert selective_score("augrc.test.oracle", mine, 0.08, one) == pytest.approx(1.0)
    assert selective_score("augrc.test.probe", mine, 0.3, one) == 0.0
    assert selective_score("aurc.test.probe", mine, 0.14, one) is None
    assert selective_score("augrc.test", mine, 0.14, one) is None
    assert selective_score("augrc.test.probe", mine.model_copy(update={"trivial": 0.08}), 0.05, one) is None


@pytest.mark.parametrize(
    ("augrc", "auroc", "trivial", "expected"),
    [
        (0.14, 0.75, 0.2, []),
        (0.14, 0.75, 0.3, ["augrc.trivial"]),
        (0.14, 0.75, None, ["augrc.trivial"]),
        (0.15, 0.75, 0.2, ["augrc.value"]),
        (0.14, None, 0.2, ["augrc.value"]),
    ],
)
def test_augrc_auroc_and_the_share_that_failed_fix_one_another(augrc, auroc, trivial, expected):
    """AUGRC = (1 - AUROC) e (1 - e) + e^2 / 2: 0.25 * 0.24 + 0.08 = 0.14."""
    rows = [
        ("prevalence.calibration", E_SHARE, CASES, {}),
        ("augrc.calibration.probe", augrc, CASES, {"trivial": trivial}),
    ]
    if auroc is not None:
        rows.append(("auroc.calibration.probe", auroc, CASES, {}))
    found = places(task_faults(cases(rows)))
    assert found == [f".metrics.{p.replace('augrc', 'augrc.calibration.probe')}" for p in expected]


def test_excesses_are_over_the_lowest_possible():
    assert lowest_aurc(0.4) == pytest.approx(0.4 + 0.6 * math.log(0.6))
    for first, whole, lowest in (("excess_augrc", "augrc", 0.08), ("excess_aurc", "aurc", 0.4 + 0.6 * math.log(0.6))):
        base = 0.14 if whole == "augrc" else 0.3
        rows = [("prevalence.calibration", E_SHARE, CASES, {}), ("auroc.calibration.probe", 0.75, CASES, {})]
        rows.append((f"{whole}.calibration.probe", base, CASES, {"trivial": 0.2} if whole == "augrc" else {}))
        right = [*rows, (f"{first}.calibration.probe", base - lowest, CASES, {})]
        assert places(task_faults(cases(right))) == []
        wrong = [*rows, (f"{first}.calibration.probe", base, CASES, {})]
        assert places(task_faults(cases(wrong))) == [f".metrics.{first}.calibration.probe.value"]
        alone = [rows[0], (f"{first}.calibration.probe", base - lowest, CASES, {})]
        assert places(task_faults(cases(alone))) == [f".metrics.{first}.calibration.probe.value"]


@pytest.mark.parametrize(
    ("accuracy", "brier", "ece", "expected"),
    [
        (0.6, 0.1, 0.3, []),  # all at the threshold: the wrong 40 % cost 1/4 each
        (0.6, 0.09, 0.3, ["brier"]),
        (0.6, 0.55, 0.3, []),
        (0.6, 0.56, 0.3, ["brier"]),
        (0.6, 0.16, 0.4, []),
        (0.6, 0.16, 0.41, ["ece"]),
        (None, 0.01, 0.1, []),
        (0.6, 0.16, None, []),
    ],
)
def test_probabilities_bound_one_another(accuracy, brier, ece, expected):
    """Brier: a wrong answer costs 1/4 to 1, a right one 0 to 1/4; ECE is at most its root (Jensen)."""
    rows = [("prevalence.calibration", E_SHARE, CASES, {})]
    for first, v in (("accuracy", accuracy), ("brier", brier), ("ece", ece)):
        if v is not None:
            rows.append((f"{first}.calibration.probe", v, CASES, {}))
    assert places(task_faults(cases(rows))) == [f".metrics.{first}.calibration.probe.value" for first in expected]


def test_counts_of_one_domain_agree_and_shares_are_shares():
    assert said("ece", 0.1, n=9) == [".metrics.ece.calibration.probe.n"]
    alone = cases([("ece.calibration.probe", 0.1, CASES, {})])
    assert places(task_faults(alone)) == [".metrics.ece.calibration.probe"]
    everything = cases([("prevalence.calibration", 1.0, CASES, {}), ("ece.calibration.probe", 0.1, CASES, {})])
    assert places(task_faults(everything)) == []
    more = cases([("prevalence.calibration", 1.1, CASES, {}), ("ece.calibration.probe", 0.1, CASES, {})])
    assert set(places(task_faults(more))) >= {".metrics.ece.calibration.probe", ".metrics.prevalence.calibration"}
    unknown = cases([("prevalence.calibration", E_SHARE, CASES, {}), ("ece.calibration.mine", 0.1, CASES, {})])
    assert places(task_faults(unknown)) == [".metrics.ece.calibration.mine"]


@pytest.mark.parametrize(
    ("augrc", "fine"),
    [
        (0.14, True),  # 18 of 24 pairs
        (0.08, True),
        (0.32, True),
        (0.081, False),
        (0.07, False),  # 25 of 24 pairs
        (0.33, False),  # -1 of 24 pairs
    ],
)
def test_under_another_rule_augrc_is_a_share_of_pairs(augrc, fine):
    """There the share that failed is twice the baseline, and AUROC follows."""
    one = cases([("augrc.calibration.probe.strict", augrc, CASES, {"trivial": 0.2})])
    assert places(task_faults(one)) == ([] if fine else [".metrics.augrc.calibration.probe.strict.value"])
    odd = cases([("augrc.calibration.probe.strict", 0.14, CASES, {"trivial": 0.21})])
    assert places(task_faults(odd)) == [".metrics.augrc.calibration.probe.strict.trivial"]


@pytest.mark.parametrize("seed", range(20))
def test_the_second_implementation_gives_the_evaluators_numbers(seed):
    """Written apart on purpose: they meet in the numbers, over means, shares and times with and without failures."""
    from ffbench_eval.kinds.domains import with_known_intervals
    from ffbench_eval.kinds.statistics import over_replicas, stable_fraction, stable_time

    rng = np.random.default_rng(seed)
    n, length = int(rng.integers(1, 9)), 10.0
    failed = rng.random(n) < rng.choice([0.0, 0.5, 1.0])
    ends = np.where(failed, length * rng.random(n), length)
    metrics = {
        "force_cosine": over_replicas(1 - 0.3 * rng.random(n) ** 2, unit="1", better="higher"),
        "rdf_error_O-O": over_replicas(rng.choice([0.1, rng.random()], n), unit="Å"),
        "stable_fraction": stable_fraction(failed),
        "stable_time": stable_time(failed, ends, length),
    }
    one = task("molecular_dynamics", parameters={"length_ps": length}, **metrics)
    for name, m in with_known_intervals(metrics).items():
        value, interval = aggregate(name, m, [v for v in m.values if v is not None], one, None)
        assert value == pytest.approx(m.value, rel=1e-12)
        assert (interval is None) == (m.interval is None)
        assert interval is None or interval == pytest.approx(m.interval, rel=1e-9, abs=1e-12)


def test_a_floor_may_be_zero_and_never_falls():
    def found(median, p95):
        floor = {"median": median, "p95": p95, "runs": 6, "length_ps": 9}
        return [w for w in places(metric_faults("rdf_error", metric(0.1, [0.1], floor=floor), MD)) if w == ".floor"]

    assert found(0.0, 0.0) == found(0.0, 0.2) == found(0.2, 0.2) == []
    assert found(0.2, 0.1) == found(-0.1, 0.1) == [".floor"]


def test_only_samples_that_a_report_does_not_hold_are_taken_on_trust():
    drawn = metric(1.0, [1.0, 1.0], interval=(0.5, 1.5), interval_note="bootstrap over 5 molecules")
    assert not_recomputed("bsct", "fsd", drawn) == "interval"
    assert not_recomputed("accuracy", "force_mae", drawn) == ""
    assert not_recomputed("bsct", "fsd", drawn.model_copy(update={"interval_note": "Student's t"})) == ""
    assert not_recomputed("selective", "auroc.test.probe", drawn) == "interval"


def test_scans_of_a_kind_of_bond_are_those_of_that_kind():
    """Of three scans two are C-H: the mean of these, and other values under that name are refused."""
    data = Scans(molecules=("a", "b", "c"), bond_types=("CH", "CC", "CH"))
    whole = metric(3.0, [1.0, 6.0, 2.0], aggregate="mean", interval_note="bootstrap over molecules")
    scans = task("bsct", status=["ok"] * 3, fsd=whole)
    right = metric(1.5, [1.0, 2.0], aggregate="mean", interval_note="bootstrap over molecules")
    assert aggregate("fsd_CH", right, [1.0, 2.0], scans, data)[0] == pytest.approx(1.5)
    wrong = metric(3.5, [1.0, 6.0], aggregate="mean", interval_note="bootstrap over molecules")
    with pytest.raises(ValueError, match="not those of the CH scans"):
        aggregate("fsd_CH", wrong, [1.0, 6.0], scans, data)
