"""The metric study on made-up reports: pairs told apart, the metric that repeats another, the length needed."""

import importlib.util
import math

import pytest

from ffbench_eval.report import DatasetUsed, Environment, Metric, ModelCard, Report, TaskReport
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def study():
    spec = importlib.util.spec_from_file_location("metric_study", ROOT / "benchmarks/metric_study.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def metric(value, half=None):
    return Metric(value=value, unit="1", better="lower", interval=half and (value - half, value + half))


def reports(n=6, half=0.1):
    environment = Environment(
        python="3.11", ffbench="0", packages={}, system="", processor="", cores=1, threads=1, device="cpu"
    )
    used = DatasetUsed(name="ethanol_gfn2", config="default", split="test", version="1.0.0", content_sha256="0")

    def task(kind, **metrics):
        length = {"length_ps": 10.0} if kind == "molecular_dynamics" else {}
        return TaskReport(kind=kind, version="1", title=kind, dataset=used, parameters=length, metrics=metrics)

    return {
        f"m{k}": Report(
            suite="desk", suite_version="1", created="", seed=0, model=ModelCard(name=f"m{k}"), environment=environment,
            wall_s=0.0,
            tasks={
                "errors": task("accuracy", force_mae=metric(float(k))),
                "md": task("molecular_dynamics", h=metric(float(k * k), half), other=metric(float((k * 2) % 5))),
            },
        )
        for k in range(n)
    }  # fmt: skip


def test_what_repeats_and_what_tells_apart(study):
    rows = {r["metric"]: r for r in study.study(reports())}
    assert rows["h"]["told_apart"] == 1.0
    assert rows["h"]["repeats"] == {"metric": "errors.force_mae", "spearman": pytest.approx(1.0), "models": 6}
    assert rows["force_mae"]["repeats"]["metric"] == "md.h"
    assert "told_apart" not in rows["force_mae"]
    assert abs(rows["other"]["repeats"]["spearman"]) < 1
    assert study.markdown(list(rows.values())).count("\n") == 4


def test_the_length_follows_the_root_law(study):
    short, wide = (study.study(reports(half=half)) for half in (1.0, 2.0))
    length = {id(rows): next(r for r in rows if r["metric"] == "h")["length_ps"] for rows in (short, wide)}
    assert length[id(wide)] == pytest.approx(4 * length[id(short)], rel=0.05)  # printed with two digits
    gaps = sorted(b * b - a * a for a in range(6) for b in range(a + 1, 6))
    assert length[id(short)] == pytest.approx(10 * (2 * math.sqrt(2) / gaps[7]) ** 2, rel=0.1)


def test_few_models_have_no_row(study):
    assert study.study(reports(n=2)) == []
