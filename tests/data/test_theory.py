"""Levels of theory are identifiers of a closed list: what papers write for one level is equal, nothing else is."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from ffbench_data.datacard import card, list_datasets
from ffbench_data.theory import same_theory, theory, theory_note

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("ωB97X/6-31G(d)", "wB97X/6-31G(d)"),
        ("ωB97x / 6-31G*", "wB97X/6-31G(d)"),
        ("$\\omega$B97X/6-31G(d)", "wB97X/6-31G(d)"),
        ("omegaB97X/6-31G(d) (Gaussian)", "wB97X/6-31G(d)"),
        ("wB97M-D3BJ", "wB97M-D3(BJ)"),
        ("ωB97M-D3(BJ)/def2-TZVPPD", "wB97M-D3BJ / def2TZVPPD"),
        ("wB97M-D3BJ", "wB97M-D3(BJ)/def2-TZVPPD"),
        ("PBE+vdW^TS", "PBE+vdW-TS"),
        ("PBE-D3/def2-SVP", "PBE+D3/def2-SVP (UHF)"),
        ("GFN2", "GFN2-xTB (tblite)"),
        ("PBE", "PBE (VASP)"),
        ("SPC/Fw", "SPC/Fw (flexible, PME)"),
        ("AMBER03 + OBC", "AMBER-03 + OBC"),
        ("ff03/OBC2", "AMBER-03 + OBC"),
        ("PBE0+MBD", "PBE0 with many-body dispersion (FHI-aims)"),
    ],
)
def test_spellings_of_one_level(a, b):
    assert same_theory(a, b)
    assert same_theory(b, a)


DIFFERENT = ["PBE", "PBE+vdW-TS", "PBE+D3", "PBE+D3(BJ)", "PBE+D3(0)", "PBE+U", "PBE0", "PBEsol", "PBE/def2-SVP",
             "PBE+D3/def2-SVP", "PBE/def2-TZVP", "PBE and PBE+U as in the Materials Project", "wB97X", "wB97X-D",
             "wB97X-D3", "wB97X/6-31G(d)", "wB97X/6-31G(d,p)", "wB97M", "wB97M-V", "wB97M-D3(BJ)/def2-TZVPPD",
             "wB97M-D3(BJ)/def2-TZVPP", "AMBER-03", "AMBER-03 + OBC", "AMBER-03 + OBC1", "CCSD", "CCSDT", "CCSD(T)",
             "AMBER-03 (explicit water, instantaneous forces)", "AMBER-96 + OBC", "GFN1-xTB", "GFN2-xTB",
             "GFN2-xTB + ALPB(water)", "Car", "Car-Parrinello MD (inferred)", "SPC/E", "SPC/Fw",
             "AIMD (CP2K, GTH pseudopotentials, inferred)"]  # fmt: skip


def test_different_levels_are_different():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for a in DIFFERENT:
            assert [b for b in DIFFERENT if same_theory(a, b)] == [a]


@pytest.mark.parametrize("nothing", ["", " ", "none", "unknown", "Not stated"])
def test_no_statement_is_equal_to_nothing(nothing):
    assert not same_theory(nothing, nothing)
    assert not same_theory(nothing, "PBE")
    assert theory_note(nothing) == ""


def test_every_card_and_every_model_of_the_package_is_on_the_list():
    stated = {card(name).theory for name in list_datasets()}
    for path in (ROOT / "leaderboard/entries").rglob("*.json"):
        report = json.loads(path.read_text())["report"]
        stated |= {m["theory"] for m in (report["model"], *report["models"].values())} - {""}
    assert len(stated) > 10
    assert [s for s in stated if theory(s) is None] == []
    assert {str(theory(card(n).theory)) for n in ("ethanol_gfn2", "md17_gfn2")} == {"GFN2-xTB"}
    assert {str(theory(card(n).theory)) for n in ("lips", "diatomics_pbe")} == {"PBE"}
    assert len({theory(card(n).theory) for n in list_datasets()}) == len(list_datasets()) - 2


def test_an_unknown_level_is_said_once_with_the_nearest():
    assert same_theory("my own  Functional", "My own functional")
    with pytest.warns(UserWarning, match=r"'wB97X/6-31G\(dd\)' is not on the list.*did you mean 'wB97X/6-31G\(d\)'"):
        assert not same_theory("wB97X/6-31G(dd)", "wB97X/6-31G(d)")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same_theory("wB97X/6-31G(dd)", "wB97X/6-31G(dd)")


def test_it_loads_no_torch():
    code = "import sys, ffbench_data.theory as t; t.theory('PBE'); print({'torch', 'numpy'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_a_report_states_the_theory_of_its_data_and_older_ones_keep_their_hash():
    from ffbench_eval.report import DatasetUsed, Report
    from ffbench_eval.run.data import load_task_data
    from ffbench_eval.suite import load_suite

    (task,) = load_suite("mini", tasks=["ethanol_accuracy"]).tasks
    used = load_task_data(task).used
    assert used.theory == "GFN2-xTB (tblite)"
    older = DatasetUsed.model_validate({k: v for k, v in used.model_dump().items() if k != "theory"})
    assert older == used
    assert older != used.model_copy(update={"version": "9.9.9"})
    assert "theory" not in older.model_dump()
    path = next((ROOT / "leaderboard/entries").rglob("*.json"))
    report = json.loads(path.read_text())["report"]
    assert Report.model_validate(report).hash() == report["content_sha256"]
