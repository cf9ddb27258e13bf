"""The task kind from end to end, splits without leakage, embeddings by hook, and what a model may lack."""

import importlib.util
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

import ffbench_metrics as fm
from ffbench_data import load_frames
from ffbench_data.contract import ForceField
from ffbench_data.frames import Frames
from ffbench_data.schema import to_table
from ffbench_eval import evaluate
from ffbench_eval.kinds.selective import work as selective
from ffbench_eval.kinds.selective.cases import Cases
from ffbench_eval.kinds.selective.groups import UNUSED, Groups, new_molecules
from ffbench_eval.kinds.selective.labels import Rule
from ffbench_eval.kinds.selective.silent import confidence_with, labels_with
from ffbench_eval.kinds.selective.work import Parameters
from ffbench_eval.page.verdict import verdict
from ffbench_eval.report import Report
from ffbench_eval.selective import ask, check_no_leak, deal, groups_of, label, score_table, with_embedding
from ffbench_metrics import augrc
from tests.conftest import ROOT

SUITE = """
name: tiny
version: 1.0.0
tasks:
  know:
    kind: selective
    dataset: ethanol_gfn2
    out_of_distribution: [{name: scans, dataset: 'ethanol_gfn2:bond_scans', split: test, max_frames: 80}]
    rules: [force_quantile, energy_quantile, atom_force_quantile]
    probe: {max_epochs: 1}
"""


class Springs(nn.Module):
    """Ethanol as springs on its bonds; ``per_atom`` holds four features of each atom."""

    def __init__(self):
        super().__init__()
        x = torch.tensor(load_frames("ethanol_gfn2", split="test").stacked()[1])
        self.register_buffer("rest", torch.cdist(x, x).mean(0))
        self.features = nn.Identity()

    def forward(self, batch):
        i, j = batch.edge_index
        d = batch.edge_vectors().norm(dim=-1)
        rest = self.rest[i % 9, j % 9]
        bonded = (rest < 1.7).to(d.dtype)
        e = 10 * bonded * (d - rest) ** 2
        rows = torch.stack([d, e, bonded * (d - rest), torch.exp(-d)], 1)
        self.features(d.new_zeros(len(batch.positions), 4).index_add(0, i, rows))
        return d.new_zeros(batch.n_systems).index_add(0, batch.system_index[i], e)


def springs(layer=""):
    card = {"name": "springs"} | ({"embedding": layer} if layer else {})
    return ForceField.from_energy(Springs(), cutoff=6.0, dtype=torch.float64, card=card)


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE)
    return path


@pytest.fixture(scope="module")
def with_features(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "suite.yaml").write_text(SUITE)
    return evaluate(springs("features"), folder / "suite.yaml", out=folder / "run", quiet=True), folder / "run"


def test_a_whole_task_reports_every_source_with_intervals_and_curves(with_features):
    report, run = with_features
    task = report.tasks["know"]
    assert task.statuses == {"ok": 2}
    m = task.metrics
    sources = {k.split(".")[2] for k in m if k.startswith("augrc.test.") and k.count(".") == 2}
    assert {"probe", "linear_probe", "gradient_boosting", "size_only", "mahalanobis", "random", "oracle"} <= sources
    assert m["augrc.test.oracle"].value == min(m[f"augrc.test.{s}"].value for s in sources)
    assert m["auroc.test.size_only"].value == 0.5  # one molecule: its size says nothing
    assert m["augrc.test.probe"].interval is not None
    assert m["augrc.scans.probe"].interval is None
    assert "8 groups" in m["augrc.scans.probe"].interval_note
    for name in ("ece", "brier", "spearman", "auprc", "accuracy_at_coverage", "realised_risk", "realised_coverage"):
        assert f"{name}.test.{task.headline}" in m  # all scores of the one that was best on the calibration part
    best = min(sources - {"random", "oracle"}, key=lambda s: m[f"augrc.calibration.{s}"].value)
    assert m[f"augrc.calibration.{task.headline}"].value == m[f"augrc.calibration.{best}"].value
    share = m["prevalence.test"].value
    assert m["majority_accuracy.test"].value == max(share, 1 - share)
    assert "augrc.test.probe.atom_force_quantile" in m
    assert m["probe_cost"].value > 0
    assert set(task.curves) == {
        "risk_coverage_test", "risk_coverage_scans", "reliability_parity", "error_confidence", "atom_importance",
    }  # fmt: skip
    assert "chance" in verdict(task).sentence
    page = (run / "report.html").read_text()
    assert "AUROC of failures, test, linear probe" in page
    assert 'class="bond"' in page
    assert Report.load(run) == report


def test_every_score_is_the_function_its_spec_names(with_features):
    """On the confidences and labels that the unit archived; the others are shares, counted here."""
    report, run = with_features
    m, lead = report.tasks["know"].metrics, report.tasks["know"].headline
    folder = next((run / "units").glob("know-*"))
    facts = json.loads((folder / "about.json").read_text())["rules"]["force_quantile"]
    with np.load(folder / "confidence.npz") as kept:
        for domain in ("test", "scans"):
            at = f"force_quantile|{domain}|"
            failed, residual = kept[f"{at}failed"].astype(float), kept[f"{at}residual"]
            for source in facts["sources"]:
                confidence = kept[at + source]
                assert m[f"augrc.{domain}.{source}"].value == pytest.approx(fm.augrc(confidence, failed), rel=1e-9)
                if f"auroc.{domain}.{source}" in m and m[f"auroc.{domain}.{source}"].value is not None:
                    value = fm.auroc_failure(confidence, failed)
                    assert m[f"auroc.{domain}.{source}"].value == pytest.approx(value, rel=1e-9)
            c = kept[at + lead]
            for name, value in {
                "aurc": fm.aurc(c, failed),
                "excess_aurc": fm.excess_aurc(c, failed),
                "excess_augrc": fm.excess_augrc(c, failed),
                "residual_augrc": fm.augrc(c, residual),
                "auprc": fm.auprc_failure(c, failed) if 0 < failed.mean() < 1 else None,
                "accuracy_at_coverage": fm.accuracy_at_coverage(c, failed, coverage=0.25),
                "spearman": fm.spearman(-c, residual),
            }.items():
                found = m[f"{name}.{domain}.{lead}"].value
                assert found == (value if value is None else pytest.approx(value, rel=1e-9, abs=1e-12)), (name, domain)
            assert m[f"prevalence.{domain}"].value == pytest.approx(failed.mean(), rel=1e-12)


def test_finished_work_is_kept_and_again_gives_the_same_numbers(with_features, tmp_path, suite):
    report, run = with_features
    kept = evaluate(springs("features"), suite, out=run, quiet=True)
    assert kept.tasks["know"].metrics == report.tasks["know"].metrics
    suite.write_text(SUITE.replace("[force_quantile, energy_quantile, atom_force_quantile]", "[force_quantile]"))
    again = evaluate(springs("features"), suite, out=tmp_path / "again", quiet=True).tasks["know"].metrics
    assert len(again) > 50
    for name, metric in again.items():
        assert metric == report.tasks["know"].metrics[name] or name == "probe_cost"  # a time


def test_the_full_table_has_every_score_of_every_source(with_features):
    _, run = with_features
    table = score_table(next((run / "units").glob("know-*")))
    assert set(table) == {"force_quantile", "energy_quantile", "atom_force_quantile"}
    assert table["energy_quantile"]["scans"]["mahalanobis"]["auprc"].n == 80
    atoms = table["atom_force_quantile"]["scans"]["probe"]["auroc"].n
    assert atoms == 80 * 9


def test_no_block_is_in_two_parts_of_a_finished_run(with_features):
    _, run = with_features
    about = json.loads(next((run / "units").glob("know-*/about.json")).read_text())
    assert sum(about["split"].values()) == 800  # of 1000; the rest are gaps
    assert min(about["split"].values()) > 0


def test_a_model_without_embeddings_gets_the_plain_sources_and_a_sentence(tmp_path, suite):
    task = evaluate(springs(), suite, out=tmp_path / "run", quiet=True).tasks["know"]
    assert "augrc.test.gradient_boosting" in task.metrics
    assert "augrc.test.probe" not in task.metrics
    assert any("no per-atom embedding" in line for line in task.units[0].detail)
    assert task.metrics["brier.test.gradient_boosting"].value > 0  # the headline is what there is


def test_the_headline_is_chosen_on_the_calibration_part(with_features):
    """By a count of pairs with scikit-learn over the saved confidences, and never by the test part or a bound."""
    from sklearn.metrics import roc_auc_score

    report, run = with_features
    task, folder = report.tasks["know"], next((run / "units").glob("know-*"))
    kept = np.load(folder / "confidence.npz")
    sources = json.loads((folder / "about.json").read_text())["rules"]["force_quantile"]["sources"]
    failed = kept["force_quantile|calibration|failed"]
    rank = {s: roc_auc_score(failed, -kept[f"force_quantile|calibration|{s}"]) for s in sources}
    del rank["oracle"], rank["random"]
    assert rank[task.headline] == max(rank.values())
    for source, value in rank.items():
        assert task.metrics[f"auroc.calibration.{source}"].value == pytest.approx(value)
    assert f"ece.test.{task.headline}" in task.metrics
    assert Report.load(run).tasks["know"].headline == task.headline


def test_the_order_of_sources_means_nothing_and_bounds_never_stand_for_a_model():
    from ffbench_eval.kinds.selective import ELIGIBLE, NEVER
    from ffbench_eval.kinds.selective.catalogue import SOURCES
    from ffbench_eval.kinds.selective.headline import best

    assert {*ELIGIBLE, *NEVER} == set(SOURCES)
    values = {"oracle": 0.0, "random": 0.01, "size_only": 0.2, "mahalanobis": 0.1, "probe": 0.1, "mixture": None}
    assert best(values) == best(dict(reversed(values.items()))) == "probe"
    assert best({"oracle": 0.0, "random": 0.0}) == ""


def test_an_ensemble_is_scored_by_the_spread_of_energies_and_forces(tmp_path, suite):
    from reference_models.scaled import ensemble

    members = []
    for k in range(3):
        member = springs()
        member.fn.energy_fn.rest += 0.02 * k
        members.append(member)
    suite.write_text(SUITE.replace("[force_quantile, energy_quantile, atom_force_quantile]", "[atom_force_quantile]"))
    task = evaluate(ensemble(members), suite, out=tmp_path / "run", quiet=True).tasks["know"]
    assert {"augrc.test.energy_spread", "augrc.test.force_spread"} <= set(task.metrics)
    frames = load_frames("ethanol_gfn2", split="test")
    one = ask(ensemble(members), frames, np.arange(4))
    alone = [ask(m, frames, np.arange(4)) for m in members]
    assert one.energy == pytest.approx(np.mean([a.energy for a in alone], axis=0))
    spread = np.linalg.norm(np.std([a.forces for a in alone], axis=0, ddof=1), axis=1)
    assert one.force_spread == pytest.approx(spread)


class Silent(nn.Module):
    """Springs that answer NaN on the structures of which ``refuses`` says so: positions [N, 3] -> bool."""

    def __init__(self, refuses):
        super().__init__()
        self.inner, self.refuses = Springs(), refuses

    def forward(self, batch):
        parts = batch.positions.detach().split(batch.n_atoms.tolist())
        lost = torch.tensor([bool(self.refuses(x)) for x in parts])
        return torch.where(lost, torch.nan, 0.0) + self.inner(batch)


def test_frames_without_an_answer_count_as_failed_and_trusted_most(tmp_path, suite):
    frames = load_frames("ethanol_gfn2", split="test")
    limit = float(np.quantile([np.abs(f.positions).max() for f in frames], 0.9))
    suite.write_text(SUITE.replace("[force_quantile, energy_quantile, atom_force_quantile]", "[force_quantile]"))
    cards = {"card": springs("features").card, "dtype": torch.float64}
    reports, kept = {}, {}
    for name, refuses in {"answers": lambda x: False, "silent": lambda x: x.abs().max() > limit}.items():
        model = ForceField.from_energy(Silent(refuses), 6.0, **cards)
        task = evaluate(model, suite, out=tmp_path / name, quiet=True).tasks["know"]
        reports[name], folder = task, next((tmp_path / name / "units").iterdir())
        with np.load(folder / "confidence.npz") as file:
            kept[name] = dict(file)
    task, honest, prefix = reports["silent"], reports["answers"], "force_quantile|test|"
    assert "model_error" in task.statuses
    assert any("not finite on" in line for line in task.units[0].detail)
    assert re.search(r"test: \d+ frames without an answer", " ".join(task.units[0].detail))
    columns = kept["silent"]
    n = len(columns[prefix + "failed"])
    assert n == len(kept["answers"][prefix + "failed"])  # the same frames are dealt to the parts and none is gone
    begin = (
        np.flatnonzero(np.diff(columns[prefix + "sample"]) < 0)[0] + 1
    )  # in order of time, then those without answer
    silent = np.arange(n) >= begin
    assert columns[prefix + "failed"][silent].all()
    assert columns[prefix + "residual"][silent].min() >= columns[prefix + "residual"][~silent].max()
    for source in ("probe", "size_only", "mahalanobis"):
        confidence = columns[prefix + source]
        assert (confidence[silent] == confidence[~silent].max()).all()
        failed = columns[prefix + "failed"]  # AUGRC by its identity with an independent AUROC
        e, auroc = failed.mean(), roc_auc_score(failed, -confidence)
        expected = (1 - auroc) * e * (1 - e) + e**2 / 2
        assert task.metrics[f"augrc.test.{source}"].value == pytest.approx(expected, abs=1e-12)
    assert task.metrics["prevalence.test"].value >= honest.metrics["prevalence.test"].value
    assert task.metrics["augrc.test.oracle"].value == pytest.approx(task.metrics["prevalence.test"].value ** 2 / 2)


@pytest.mark.parametrize("source", ["own_uncertainty", "probe", "size_only"])
@pytest.mark.parametrize("level", ["structure", "atom"])
def test_being_silent_where_it_fails_never_pays(source, level):
    """Of 200 answers the worst are withheld: no source ranks better for it, whatever its confidences were."""
    rng = np.random.default_rng(0)
    forces = np.zeros((200, 3))
    quantity = "atom_force" if level == "atom" else "force"
    rule, truth = Rule(quantity, threshold=0.5), rng.normal(size=(200, 3))
    every = Cases(
        np.ones(200, int), forces, np.arange(201), np.zeros(200), truth + rng.normal(size=(200, 3)) * 0.3,
        reference_energy=np.zeros(200), reference_forces=truth,
    )  # fmt: skip
    every = label(every, rule, 0.5)
    confidence = np.zeros(200) if source == "size_only" else rng.normal(size=200) - 2 * every.residual
    sample = np.arange(200)
    fails = np.flatnonzero(every.failed)
    for lost in (fails[:1], fails[np.argsort(every.residual[fails])[-20:]], fails):
        rest = np.setdiff1d(sample, lost)
        columns = labels_with(every[rest], sample[rest], every[lost], sample[lost], rule, 0.5)
        assert columns["failed"].sum() == len(fails)
        assert sorted(columns["sample"]) == sample.tolist()
        after = confidence_with(source, confidence[rest], columns["residual"])
        assert augrc(after, columns["failed"]) >= augrc(confidence, every.failed) - 1e-12
        best = confidence_with("oracle", confidence[rest], columns["residual"])
        assert augrc(best, columns["failed"]) == pytest.approx((len(fails) / 200) ** 2 / 2)


def test_a_domain_without_any_answer_is_there_and_says_all_failed(tmp_path, suite):
    scans = load_frames("ethanol_gfn2", "bond_scans", "test").stacked()[1]
    spans = torch.stack([torch.pdist(torch.tensor(x, dtype=torch.float64)).sum() for x in scans])
    refuses = lambda x: (torch.pdist(x).sum() - spans).abs().min() < 1e-4  # noqa: E731
    model = ForceField.from_energy(Silent(refuses), 6.0, dtype=torch.float64, card={"name": "s"})
    suite.write_text(SUITE.replace("[force_quantile, energy_quantile, atom_force_quantile]", "[force_quantile]"))
    task = evaluate(model, suite, out=tmp_path / "run", quiet=True).tasks["know"]
    assert task.metrics["prevalence.scans"].value == 1.0
    assert task.metrics["augrc.scans.size_only"].value == 0.5  # of chance and of the best where all fail
    assert task.metrics["augrc.scans.size_only"].n == 80


def test_a_dataset_that_is_not_built_is_not_run_and_the_report_says_what_builds_it(tmp_path, suite, monkeypatch):
    monkeypatch.setenv("FFBENCH_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    suite.write_text(
        SUITE.replace("    rules:", "    sources: [size_only, gradient_boosting]\n    rules:")
        + "  absent: {kind: selective, dataset: 'three_bpa:300K_to_600K', out_of_distribution: [{name: 600K}]}\n"
        + "  half: {kind: selective, dataset: ethanol_gfn2, out_of_distribution: [{name: hot, dataset: 'water:hot'}]}\n"
    )
    report = evaluate(springs(), suite, out=tmp_path / "run", quiet=True)
    assert report.tasks["absent"].statuses == report.tasks["half"].statuses == {"not_run": 1}
    assert "ffbench data build three_bpa" in report.tasks["absent"].units[0].detail[0]
    assert "ffbench data build three_bpa" in verdict(report.tasks["absent"]).sentence
    assert "ffbench data build water" in report.tasks["half"].units[0].detail[0]
    assert report.tasks["know"].metrics
    with pytest.raises(ValueError, match="no data set of it is on this machine"):
        evaluate(springs(), suite, out=tmp_path / "b", quiet=True, tasks=["absent"])


def test_too_few_groups_are_a_reason_and_not_a_fault(tmp_path, suite):
    suite.write_text(SUITE.replace("  dataset: ethanol_gfn2\n", "  dataset: ethanol_gfn2\n    groups: molecules\n", 1))
    task = evaluate(springs(), suite, out=tmp_path / "run", quiet=True).tasks["know"]
    assert task.statuses == {"ok": 2}
    assert "1 groups cannot be dealt to 3 parts" in task.metrics["augrc.test.force_quantile"].not_scored
    assert verdict(task).label == "no result"


def test_a_source_that_cannot_be_fitted_is_named_and_the_others_stay(tmp_path, suite):
    suite.write_text(SUITE.replace("probe: {max_epochs: 1}", "probe: {max_epochs: 1}\n    max_frames: 4"))
    task = evaluate(springs("features"), suite, out=tmp_path / "run", quiet=True).tasks["know"]
    assert set(task.statuses) == {"ok"}
    assert any("mahalanobis could not be fitted: train has 2 cases" in line for line in task.units[0].detail)


def test_the_picture_of_a_molecule_survives_any_numbers():
    from ffbench_eval.page.svg.selective import molecule
    from ffbench_eval.report import Curve

    def drawn(x, **series):
        return molecule(Curve(kind="points", x_label="x", y_label="y", x=x, series=series))

    flat = {"y": [0.0, 0.0], "z": [0.0, 0.0], "element": [6.0, 1.0], "importance": [0.5, 0.5]}
    good = drawn([0.0, 1.1], **flat)
    assert good.count("<circle") == 2
    assert good.count('class="bond"') == 1
    assert "nan" not in drawn([1e300, -1e300], **(flat | {"element": [1e300, -4.0], "importance": [-1.0, 0.0]}))
    assert drawn([0.0], **flat) == drawn([], **flat) == drawn([0.0, 1.0]) == ""
    assert drawn([0.0, 1.0], **(flat | {"y": [None, 0.0]})) == ""


def test_parameters_name_what_they_do_not_know():
    with pytest.raises(ValueError, match="did you mean 'energy_quantile'"):
        Parameters(rules=["energy_quantil"])
    with pytest.raises(ValueError, match="did you mean 'probe'"):
        Parameters(sources=["prob"])


def test_blocks_have_gaps_and_samples_lie_inside_them():
    frames = load_frames("ethanol_gfn2", split="test")
    groups = groups_of(frames)
    assert isinstance(groups, Groups)
    used = groups.block != UNUSED
    assert (~used).any()
    edges = np.flatnonzero(np.diff(groups.block) != 0)
    assert all(UNUSED in groups.block[[e, e + 1]] for e in edges)  # no block touches the next
    for sample in np.unique(groups.sample[used]):
        assert len(np.unique(groups.block[groups.sample == sample])) == 1
    parts = deal(groups.block)
    assert len(np.unique(groups.sample[parts["test"]])) >= 10


def test_scans_and_molecules_stay_whole():
    scans = load_frames("ethanol_gfn2", "bond_scans", "test")
    groups = groups_of(scans)
    assert len(np.unique(groups.block)) == 8
    parts = deal(groups.block)
    names = np.array(scans.table["scan"].to_pylist())
    owners = [set(names[rows]) for rows in parts.values()]
    assert sum(map(len, owners)) == len(set().union(*owners)) == 8
    assert (groups_of(scans, "molecules").block == 0).all()
    with pytest.raises(ValueError, match="1 groups cannot be dealt"):
        deal(groups_of(scans, "molecules").block)


def test_a_leak_is_found():
    block = np.array([0, 0, 1, 1, UNUSED])
    check_no_leak({"train": np.array([0, 1]), "test": np.array([2, 3])}, block)
    with pytest.raises(ValueError, match="group 0 is in 'train' and in 'test'"):
        check_no_leak({"train": np.array([0]), "test": np.array([1, 2])}, block)
    with pytest.raises(ValueError, match="frames of a gap"):
        check_no_leak({"train": np.array([0]), "test": np.array([4])}, block)


def test_molecules_of_the_training_part_are_not_out_of_distribution():
    ethanol = ask(springs(), load_frames("ethanol_gfn2", split="test"), np.arange(4))
    other = replace(ethanol, atomic_numbers=np.where(np.arange(36) < 9, 7, ethanol.atomic_numbers))
    assert new_molecules(other, ethanol[2:]).tolist() == [True, False, False, False]


def test_a_layer_named_in_the_card_becomes_the_embedding():
    frames = load_frames("ethanol_gfn2", split="test")
    for layer in ("features", "energy_fn.features"):
        assert ask(with_embedding(springs(layer)), frames, np.arange(3)).embedding.shape == (27, 4)
    assert with_embedding(springs()).fn is not None
    with pytest.raises(ValueError, match=r"unknown layer 'featuers'.*energy_fn.features"):
        with_embedding(springs("featuers"))
    wrong = replace(springs(), card={"name": "springs", "embedding": "energy_fn"})
    with pytest.raises(ValueError, match="no tensor with one row per atom"):
        ask(with_embedding(wrong), frames, np.arange(3))


def test_labels_use_the_threshold_of_the_training_part():
    frames = load_frames("ethanol_gfn2", split="test")
    cases = ask(springs(), frames, np.arange(30))
    train = label(cases[:20], "force_quantile")
    assert train.failed.mean() == 0.5
    other = label(cases[20:], "force_quantile", threshold=1e9)
    assert not other.failed.any()
    assert other.residual == pytest.approx(label(cases, "force_quantile").residual[20:])


def test_the_guard_of_the_example_stops_after_three_low_scores():
    spec = importlib.util.spec_from_file_location("guard_md", ROOT / "docs" / "examples" / "guard_md.py")
    guard = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(guard)

    class Falling:
        scores = iter([0.9, 0.2, 0.8, 0.3, 0.2, 0.1, 0.9])

        def score(self, cases):
            return np.array([next(self.scores)])

    kept, scores, temperatures, stopped = guard.guarded_run(springs(), Falling(), 0.5, length_ps=0.07, hottest_K=400)
    assert scores.tolist() == [0.9, 0.2, 0.8, 0.3, 0.2, 0.1]
    assert stopped == pytest.approx(0.06)
    assert len(kept) == len(temperatures) == 6


def test_frames_with_other_elements_are_left_out_and_counted():
    sizes = [[1, 8, 1], [6, 1], [17], [6, 1]]
    frames = Frames(
        to_table([np.array(z) for z in sizes], [np.zeros((len(z), 3)) for z in sizes], np.zeros(4),
                 [np.zeros((len(z), 3)) for z in sizes], charge=[0, 0, 0, -1], spin_multiplicity=[1, 1, 2, 1])
    )  # fmt: skip

    def rows(elements, **uses):
        model = ForceField(lambda batch: None, None, elements, **uses)
        return selective.sample_rows(SimpleNamespace(frames=frames), model, 5).tolist()

    assert rows((1, 6, 8), uses_charge=True) == [0, 1, 3]
    assert rows((1, 6, 8)) == rows(None) == [0, 1]
    assert rows(None, uses_spin=True) == [0, 1, 2]
    assert rows((9,), uses_charge=True, uses_spin=True) == rows(()) == []
