"""The machinery of the smoothness study: known correlations from made-up reports, and the calibration table."""

import importlib.util
import json

import numpy as np
import pytest

from ffbench_eval.report import DatasetUsed, Environment, Metric, ModelCard, Report, TaskReport
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def study():
    spec = importlib.util.spec_from_file_location("smoothness_study", ROOT / "benchmarks/smoothness_study.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def task(kind, metrics, **parameters):
    used = DatasetUsed(name="ethanol_gfn2", config="default", split="test", version="1.0.0", content_sha256="0")
    made = {k: Metric(value=v, unit="1") for k, v in metrics.items()}
    return TaskReport(kind=kind, version="1", title=kind, dataset=used, parameters=parameters, metrics=made)


def report(k, fsd, mae, time, drift):
    environment = Environment(
        python="3.11", ffbench="0", packages={}, system="", processor="", cores=1, threads=1, device="cpu"
    )
    return Report(
        suite="desk", suite_version="1", created="", seed=0, model=ModelCard(name=f"m{k}", fingerprint=str(k)),
        environment=environment, wall_s=0.0,
        tasks={
            "scans": task("bsct", {"fsd": fsd, "scan_force_mae": 10 * mae}),
            "errors": task("accuracy", {"force_mae": mae}),
            "md": task("molecular_dynamics", {"stable_time": time}, ensemble="nose_hoover"),
            "nve": task("molecular_dynamics", {"energy_drift": drift, "stable_time": 1.0}, ensemble="nve"),
        },
    )  # fmt: skip


def test_known_relations_are_found_with_intervals(study, tmp_path, capsys):
    order = [5, 0, 8, 3, 11, 6, 1, 9, 4, 7, 2, 10]  # Spearman's correlation with the place: 0.2
    paths = []
    for k in range(12):
        path = tmp_path / f"{k}.json"
        report(k, 10.0 + k, 0.01 + 0.007 * order[k], 100.0 - k, 0.1 * k).to_json(path)
        paths.append(str(path))
    out = tmp_path / "study.json"
    record = study.main([*paths, "--results", str(out), "--calibrate", "ethanol_gfn2"])
    found = record["datasets"]["ethanol_gfn2"]["spearman"]
    assert found["stable_time"]["fsd"]["value"] == pytest.approx(1.0)  # rougher, shorter
    assert found["energy_drift"]["fsd"]["value"] == pytest.approx(1.0)
    rival = found["stable_time"]["force_mae"]
    assert rival["interval"][0] < rival["value"] < rival["interval"][1]
    assert abs(rival["value"]) < 0.7
    assert json.loads(out.read_text()) == json.loads(json.dumps(record))
    table = record["calibration"]["ethanol_gfn2"]
    assert table["perfect"] == {"fsd_per_A": 0.0, "force_mae_eV_per_A": 0.0}
    assert table["noise 0.01 eV/Å"]["fsd_per_A"] < table["noise 0.1 eV/Å"]["fsd_per_A"]
    assert "| stable_time | fsd | 1.00 |" in capsys.readouterr().out


def test_few_or_equal_models_have_no_interval_and_say_why(study):
    few = study.with_interval(study.spearman, [1, 2, 3], [1, 3, 2])
    assert few["interval"] is None
    assert "at least 8" in few["why"]
    same = study.with_interval(study.spearman, [1, 2, 3], [5, 5, 5])
    assert same["value"] is None
    assert "same for all" in same["why"]


def test_the_partial_correlation_takes_out_what_both_share(study):
    rng = np.random.default_rng(0)
    shared = rng.normal(size=4000)
    x, y = shared + 0.3 * rng.normal(size=4000), shared + 0.3 * rng.normal(size=4000)
    assert study.spearman(x, y) > 0.8  # 0.91
    assert abs(study.partial(x, y, shared)) < 0.15  # 1 / sqrt(4000) = 0.016, nine of them
