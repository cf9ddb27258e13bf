"""The answer to a task in a few words, on the page and at the end of a run."""

import io
import json

import pytest
from rich.console import Console

from ffbench_eval.cli import main
from ffbench_eval.page.answer import abstract, answer, key_metric
from ffbench_eval.page.page import render
from ffbench_eval.page.summary import answers, held_against, print_summary
from ffbench_eval.page.svg.lifetimes import lifetimes
from ffbench_eval.page.verdict import verdict
from ffbench_eval.report import DatasetUsed, Floor, Metric, Report, TaskReport, UnitReport
from ffbench_eval.words import interval_text, value_text
from tests.conftest import ROOT

DATA = DatasetUsed(name="ethanol", config="", split="test", version="1", content_sha256="0", theory="PBE")
FLOOR = Floor(median=0.1, p95=0.2, runs=6, length_ps=10)


def task(kind="molecular_dynamics", status=("ok",) * 4, **metrics):
    made = {
        name: m if isinstance(m, Metric) else Metric(value=sum(m) / len(m), unit="ps", values=list(m), better="higher")
        for name, m in metrics.items()
    }
    return TaskReport(
        kind=kind,
        version="1",
        title="Ethanol",
        dataset=DATA,
        parameters={"length_ps": 10.0, "temperature_K": 500.0},
        units=[UnitReport(address="a", status=list(status), wall_s=1.0)],
        metrics=made,
    )


def h_of_r(value, **more):
    return Metric(value=value, unit="1", floor=FLOOR, **{"trivial": 1.4, **more})


STABLE = {"stable_fraction": (1, 1, 1, 1), "stable_time": (10, 10, 10, 10)}


@pytest.mark.parametrize(
    ("asked", "words", "tone"),
    [
        (task(**STABLE, distance_histogram_error=h_of_r(0.15)), "like the truth", "good"),
        (task(**STABLE, distance_histogram_error=h_of_r(0.5)), "5 times the noise", "fair"),
        (task(**STABLE, distance_histogram_error=h_of_r(1.5)), "wrong: no better than nothing", "bad"),
        # the trivial baseline inside the noise: a run of this length tells nothing apart
        (task(**STABLE, distance_histogram_error=h_of_r(0.15, trivial=0.19)), "cannot tell: too short", "warn"),
        (
            task(
                stable_fraction=(1, 0, 1, 0),
                stable_time=(10, 3, 10, 7),
                distance_histogram_error=h_of_r(0.15),
                status=("ok", "unstable") * 2,
            ),
            "2 of 4 broke, first at 3 ps",
            "bad",
        ),
        (
            task(**STABLE, trusted_time=(10, 10, 2, 10), distance_histogram_error=h_of_r(0.15)),
            "1 of 4 astray after 2 ps",
            "bad",
        ),
        (task(**STABLE, energy_drift=Metric(value=0.2585, unit="meV/atom/ps")), "drifts by about 1 K/ps", "none"),
        (task("accuracy", force_mae=Metric(value=0.05, unit="eV/Å", trivial=1.0)), "force error 5.0 %", "good"),
        (task("accuracy", force_mae=Metric(value=2.0, unit="eV/Å", trivial=1.0)), "no better than no forces", "bad"),
        # a baseline inside the interval, and a number whose interval ends before it
        (
            task("accuracy", force_mae=Metric(value=0.95, unit="eV/Å", trivial=1.0, interval=(0.8, 1.1))),
            "cannot tell: force error 95 %",
            "warn",
        ),
        (
            task("accuracy", force_mae=Metric(value=0.9, unit="eV/Å", trivial=1.0, interval=(0.85, 0.95))),
            "force error 90 %",
            "fair",
        ),
        (
            task(
                "physicality", jacobian_asymmetry=Metric(value=0.03, unit="1"), net_force=Metric(value=0, unit="eV/Å")
            ),
            "1 of 2 checks fail",
            "bad",
        ),
        (task("physicality", net_force=Metric(value=1e-9, unit="eV/Å")), "the one check holds", "good"),
        (
            task("physicality", net_force=Metric(value=0, unit="eV/Å"), precision_error=Metric(value=None, unit="1")),
            "1 check holds, 1 not asked",
            "fair",
        ),
        (task("accuracy", status=("unsupported",)), "not covered", "none"),
        (task("accuracy", status=("not_run",)), "not run", "none"),
        (task("accuracy", status=("model_error",)), "no result", "warn"),
        (
            task("accuracy", status=("ok", "model_error"), force_mae=Metric(value=0.05, unit="eV/Å", trivial=1.0)),
            "incomplete: force error 5.0 %",
            "warn",
        ),
    ],
)
def test_an_answer_says_what_a_reader_looks_for(asked, words, tone):
    found = answer(asked, "PBE")
    assert (found.words, found.tone) == (words, tone)


def test_numbers_of_another_theory_answer_nothing():
    asked = task(**STABLE, distance_histogram_error=h_of_r(0.15))
    assert answer(asked, "CCSD(T)").words == "cannot tell: other theory"
    unsaid = asked.model_copy(update={"dataset": DATA.model_copy(update={"theory": "not stated"})})
    assert answer(unsaid, "PBE").words == "cannot tell: theory of the data not stated"
    assert "--theory NAME" in verdict(unsaid, "PBE").sentence
    broke = task(stable_fraction=(0, 1, 1, 1), stable_time=(1, 10, 10, 10), status=("unstable", "ok", "ok", "ok"))
    assert answer(broke, "CCSD(T)").tone == "bad"  # a broken molecule is broken whatever the theory


def test_a_kind_from_elsewhere_has_an_answer_too():
    asked = task("of_another_package", pair_energy=Metric(value=1.0, unit="eV"))
    assert key_metric(asked) == "pair_energy"
    assert answer(asked).words == "no yardstick"


@pytest.fixture(scope="module")
def report():
    raw = json.loads((ROOT / "leaderboard/entries/ffbench__painn/1/mini.json").read_text())
    return Report.model_validate(raw["report"] | {"content_sha256": ""})


def test_the_end_of_a_run_fits_a_small_terminal(report):
    out = io.StringIO()
    print_summary(report, Console(file=out, width=80, force_terminal=False))
    lines = out.getvalue().splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 80
    assert all(name in out.getvalue() for name in report.tasks)


@pytest.mark.parametrize("entry", ["ffbench__gfn2/gfn2-xtb-tblite-accuracy-0.01/chemistry", "ffbench__painn/1/ood"])
def test_a_long_suite_has_a_line_per_task(entry):
    """25 sets of reactions, and 18 tasks, of which most have no model."""
    raw = json.loads((ROOT / f"leaderboard/entries/{entry}.json").read_text())
    report = Report.model_validate(raw["report"] | {"content_sha256": ""})
    out = io.StringIO()
    print_summary(report, Console(file=out, width=80, force_terminal=False))
    lines = out.getvalue().splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 80
    assert all(any(line.startswith(f"{name} ") for line in lines) for name in report.tasks)


def test_many_tasks_of_the_same_words_are_one_clause(report):
    shares = (0.3, 0.12, 0.5, 0.2)
    tasks = {
        f"t{k}": task("accuracy", force_mae=Metric(value=v, unit="eV/Å", trivial=1.0)).model_copy(
            update={"title": f"Set {k}, of many"}
        )
        for k, v in enumerate(shares)
    }
    same = report.model.model_copy(update={"theory": DATA.theory})
    ((tone, head, sentence),) = abstract(report.model_copy(update={"tasks": tasks, "model": same, "models": {}}))
    assert (tone, head) == ("fair", "In part")
    assert sentence == "Set 0, Set 1, Set 2, Set 3: force error 12 to 50 %."


def test_a_model_of_another_theory_is_told_what_needs_none():
    """Bumps count for every theory; the force error along the scans does not."""
    scans = task(
        "bsct",
        fsd=Metric(value=40.0, unit="1/Å", trivial=62.0),
        scan_force_mae=Metric(value=0.5, unit="eV/Å", trivial=1.6),
        spurious_extrema=Metric(value=0.25, unit="1"),
    )
    found = answer(scans, "CCSD(T)")
    assert (found.words, found.metric) == ("0.25 false extrema a scan", "spurious_extrema")
    assert held_against(scans, found, "CCSD(T)") == ["other theory"]
    assert answer(scans, "PBE").metric == "fsd"


def test_an_error_below_what_the_reference_is_worth_is_good():
    """CCSD(T) energies are stated to 0.05: nothing tells an error of 0.08 from none."""
    stated = Floor(median=0.05, p95=0.1, runs=0, length_ps=0, note="stated uncertainty")
    good, fair = (
        task("relative_energy", relative_energy_mae=Metric(value=v, unit="kcal/mol", trivial=0.5, floor=stated))
        for v in (0.08, 0.2)
    )
    assert (answer(good).words, answer(good).tone) == ("within the reference's error", "good")
    assert (answer(fair).words, answer(fair).tone) == ("energy error 40 %", "fair")
    assert held_against(fair, answer(fair)) == ["reference good to 0.05", "equal energies 0.500"]


def test_a_source_of_confidence_is_placed_between_chance_and_perfect():
    asked = task("selective", **{"augrc.test.probe": Metric(value=0.2, unit="1", trivial=0.25, score=0.4)})
    assert answer(asked.model_copy(update={"headline": "probe"}), "PBE").words == "40 % from chance to perfect"


def test_what_rounding_leaves_is_no_number():
    tiny = Metric(value=3.3e-15, unit="eV/Å", interval=(2.9e-15, 3.7e-15))
    assert (value_text(tiny), interval_text(tiny)) == ("< 1e-6", "below 1e-6")
    half = Metric(value=1.5e-5, unit="meV/Å", interval=(1e-12, 4.4e-5))
    assert (value_text(half), interval_text(half)) == ("1.5e-5", "0 to 4.4e-5")
    assert value_text(Metric(value=0.0, unit="eV")) == "0"
    assert value_text(Metric(value=2.3e-9, unit="m^2/s")) == "2.30e-9"  # of diffusion it is a number


def test_a_page_names_the_checks_that_fail(report):
    asked = task(
        "physicality",
        net_force=Metric(value=0.5, unit="eV/Å"),
        dimer_repulsive=Metric(value=0.4, unit="1", better="higher"),
        rotation_force_error=Metric(value=1e-12, unit="eV/Å"),
    )
    page = render(report.model_copy(update={"tasks": {"checks": asked}}))
    first = page.split('aria-labelledby="tasks"')[0]
    assert "2 of 3 checks fail" in first
    assert "<li>net force of the forces</li><li>dimers pushed together that repel throughout</li>" in first
    assert '<span class="fails">at most 0.001</span>' in page  # eV/Å, as its value is shown
    assert '<span class="fails">at least 1</span>' in page
    assert '<span class="soft">at most 1</span>' in page  # 1e-3 eV/Å beside a value in meV/Å


def test_a_number_too_long_for_the_line_has_its_own(report):
    """The words of one task widen the column for all; no number is broken apart."""
    name = "gradient_boosting_on_embeddings"
    selective = report.tasks["ethanol_selective"]
    long = selective.model_copy(
        update={
            "headline": name,
            "metrics": {
                f"augrc.test.{name}": Metric(value=0.225, unit="1", trivial=0.237, interval=(0.189, 0.259)),
            },
        }
    )
    out = io.StringIO()
    print_summary(
        report.model_copy(update={"tasks": report.tasks | {"ethanol_selective": long}}),
        Console(file=out, width=80, force_terminal=False),
    )
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    (number,) = [line for line in lines if "AUGRC" in line]
    assert number.endswith(" 0.225")
    assert any("cannot tell: 95 % of chance" in line for line in lines)


def test_only_good_answers_hold():
    """Half way to no forces, or a baseline inside the interval, is not `Holds`."""
    half = task("accuracy", force_mae=Metric(value=0.5, unit="eV/Å", trivial=1.0, interval=(0.4, 0.6)))
    unknown = task("accuracy", force_mae=Metric(value=0.9, unit="eV/Å", trivial=1.0, interval=(0.7, 1.1)))
    raw = json.loads((ROOT / "leaderboard/entries/ffbench__painn/1/mini.json").read_text())
    report = Report.model_validate(raw["report"] | {"content_sha256": ""})
    same = report.model.model_copy(update={"theory": DATA.theory})
    tasks = {"half": half, "unknown": unknown}
    said = abstract(report.model_copy(update={"tasks": tasks, "model": same, "models": {}}))
    assert [head for _, head, _ in said] == ["In part", "Cannot tell"]


def test_every_task_stands_in_the_abstract_once(report):
    text = " ".join(sentence for _, _, sentence in abstract(report))
    assert all(text.count(t.title) == 1 for t in report.tasks.values())


def test_show_says_one_task_all_tasks_or_json(report, tmp_path, capsys):
    path = report.to_json(tmp_path / "report.json")
    for words, held in (
        ([], "95 % interval"),
        (["--task", "water_md"], "diffusivity"),
        (["--all"], "force RMSE"),
    ):
        with pytest.raises(SystemExit) as end:
            main(["show", str(path), *words])
        assert end.value.code == 0
        assert held in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["show", str(path), "--json"])
    shown = json.loads(capsys.readouterr().out)
    assert shown["ethanol_accuracy"]["value"] == report.tasks["ethanol_accuracy"].metrics["force_mae"].value
    assert shown["ethanol_accuracy"]["interval"] == list(report.tasks["ethanol_accuracy"].metrics["force_mae"].interval)
    assert json.loads(answers(report)) == shown
    with pytest.raises(SystemExit) as end:
        main(["show", str(path), "--task", "nowhere"])
    assert end.value.code == 2
    assert "nowhere" in capsys.readouterr().err


def test_bars_show_each_replica():
    svg = lifetimes([10, 4], [10, 2], 10.0)
    assert "10.0 of 10.0 ps, 2.00 of 10.0 ps" in svg
    assert svg.count('class="astray"') == svg.count('class="broke"') == 2  # a replica's, and the key's
    assert lifetimes([None], [], 10.0) == ""


@pytest.mark.parametrize(
    ("words", "held"),
    [
        (["--version"], "ffbench "),
        (["-h"], "evaluate"),
        (["kinds"], "accuracy"),
        (["kinds", "molecular_dynamics"], "temperature_K: float, required"),
        (["validate", "mini"], "9 tasks"),
    ],
)
def test_small_questions(words, held, capsys):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 0
    assert held in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "painn", "ethanol_gfn2", "--minutes", "-1"], "ffbench: recipe: minutes must be positive, got -1.0"),
        (["validate", "nowhere.yaml"], "ffbench: suite nowhere.yaml: no such file; shipped are "),
        (["metrics", "--write", "nowhere.md"], "ffbench: nowhere.md: no such file or directory"),
        (["evaluate", "painn@ethanol_gfn"], "did you mean 'painn@ethanol_gfn2'?"),
        (["evaluate", "my_model.py"], "which function of it? Write my_model.py:NAME"),
        (["kinds", "md"], "did you mean 'molecular_dynamics'?"),
    ],
)
def test_a_wrong_argument_is_one_line_with_the_fix(words, said, capsys):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    found = capsys.readouterr().err
    assert said in found
    assert found.count("\n") == 1


@pytest.mark.parametrize(
    "words", [["suites"], ["suite", "mini"], ["suite", "ood"], ["kinds"], ["kinds", "bsct"], ["models", "list"]]
)
def test_lists_fit_80_columns(words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(words)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 5
    assert [line for line in lines if len(line) > 80] == []


def test_a_data_set_with_a_typo_is_a_fault(tmp_path, capsys):
    text = (ROOT / "ffbench_eval/suites/mini.yaml").read_text().replace("ethanol_gfn2", "ethanol_gfn3", 1)
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(SystemExit) as end:
        main(["validate", str(tmp_path / "mine.yaml")])
    assert end.value.code == 2
    assert "unknown data set 'ethanol_gfn3'; did you mean 'ethanol_gfn2'?" in capsys.readouterr().err


def test_a_report_in_python_is_short(report):
    assert len(repr(report)) < 100
    assert "values" not in repr(report.tasks["ethanol_accuracy"].metrics["force_mae"])
    table = report.to_pandas()
    assert len(table) == sum(len(t.metrics) for t in report.tasks.values())
    assert (table.dropna(subset="low").eval("low <= high")).all()
    assert "like the truth" in report._repr_html_()
