"""An entry beside those of the board: what others have cannot be one's own, and one model is said to be one thing."""

import random

import pytest

from leaderboard.check.others import copied
from leaderboard.entry.schema import Entry
from tests.leaderboard.board import FIXTURE, put, real_entry, seal, varied
from tests.leaderboard.edited import edited, findings, of_board, said
from tests.leaderboard.test_check import changed

WATER = "ffbench__chgnet/0.3.0/mini"
BESIDE = "ffbench__chgnet/0.3.0/ood"


def others(*keys):
    return {k: of_board(k) for k in keys}


def renamed(entry):
    entry["org"], entry["model"] = "mine", "great"
    entry["report"]["model"] |= {"name": "great", "fingerprint": "0123456789abcdef", "answers": {}}


@pytest.mark.parametrize(
    "turn",
    [
        lambda v, rng: rng.sample(v, len(v)),
        lambda v, rng: v[: max(2, 2 * len(v) // 3)],
        lambda v, rng: [x if k % 2 else x * (1 + rng.uniform(-0.3, 0.3)) for k, x in enumerate(v)],
    ],
    ids=["permuted", "some of them", "half of them changed"],
)
def test_numbers_of_another_model_are_found_however_they_are_arranged(turn, tmp_path):
    key, name = "ffbench__painn/1/desk", "ethanol_accuracy"
    rng = random.Random(1)

    def copy_of(entry):
        renamed(entry)
        entry["report"]["models"] = {}
        entry["report"]["tasks"] = {name: entry["report"]["tasks"][name]}
        for m in entry["report"]["tasks"][name]["metrics"].values():
            m["values"] = turn(m["values"], rng)

    found = said(edited(key, copy_of), tmp_path, others(key))
    assert any("has the very numbers of" in f for f in found)


def test_chance_makes_no_copies():
    """Twenty numbers each of two models; times on a grid and counts, which many models share; one number alone."""
    rng = random.Random(0)
    a, b = ([rng.uniform(0.01, 0.02) for _ in range(20)] for _ in range(2))
    assert copied(a, b) == ""
    assert copied([0.5, 1.0, 1.5, 2.0], [2.0, 1.5, 0.5, 9.0]) == ""
    assert copied([0.123456789, 0.3], [0.3, 0.123456789, 0.7]) == ""
    assert copied(a, [v * (1 + rng.uniform(-5e-5, 5e-5)) for v in a]) == "nearly"


@pytest.mark.parametrize("factor", [1.0, 0.97])
def test_nearly_the_numbers_of_another_model_are_worth_a_look(factor, tmp_path):
    """The same public model run by two groups, on two machines: honest, so no error. A factor is seen too."""
    key, rng = "ffbench__painn/1/desk", random.Random(2)

    def rerun(entry):
        renamed(entry)
        entry["report"]["models"] = {}
        entry["report"]["tasks"] = {"ethanol_accuracy": entry["report"]["tasks"]["ethanol_accuracy"]}
        for m in entry["report"]["tasks"]["ethanol_accuracy"]["metrics"].values():
            noise = 0.0 if factor != 1 else 1e-6
            m["values"] = [factor * v * (1 + rng.uniform(-noise, noise)) for v in m["values"]]

    found = [f for f in findings(edited(key, rerun), tmp_path, others(key)) if "the numbers of" in f.message]
    assert {f.level for f in found} == {"warning"}


def test_archives_of_another_model_are_no_proof(tmp_path):
    unit = real_entry()["report"]["tasks"]["ethanol_accuracy"]["units"][0]["address"]
    kept = {"task": "ethanol_accuracy", "unit": unit, "file": "predictions.npz", "url": "https://a.example/p.npz"}
    theirs = seal(real_entry() | {"archives": [kept | {"bytes": 10, "sha256": "a" * 64}]})

    def mine(sha256):
        entry = varied(1)
        entry["report"]["tasks"]["ethanol_accuracy"]["units"][0]["address"] = unit
        return seal(entry | {"archives": [kept | {"bytes": 10, "sha256": sha256}]})

    from leaderboard.check.check import check

    for sha256, taken in (("a" * 64, True), ("b" * 64, False)):
        entry = mine(sha256)
        path = put(entry, tmp_path, Entry.model_validate(entry).key)
        found = check(path, entries=tmp_path, suites=FIXTURE, others={"ffbench__painn/1/mini": theirs})
        assert any("is a file of ffbench__painn" in f.message for f in found) == taken


STATEMENTS = {
    "theory": lambda m: m.update(theory="GFN2-xTB"),
    "theory and fingerprint": lambda m: m.update(theory="GFN2-xTB", fingerprint="0123456789abcdef"),
    "theory, fingerprint, answers": lambda m: m.update(theory="GFN2-xTB", fingerprint="0123456789abcdef", answers={}),
    "no theory": lambda m: m.update(theory=""),
    "fewer elements": lambda m: m.update(elements=[1, 6, 8]),
    "no list of elements": lambda m: m.update(elements=None),
    "seen or not": lambda m: m.update(seen_test_data=True),
    "a cutoff": lambda m: m.update(cutoff_angstrom=3.0),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_one_name_is_of_one_model_that_is_said_to_be_one_thing(name, tmp_path):
    entry = edited(WATER, lambda e: STATEMENTS[name](e["report"]["model"]))
    found = said(entry, tmp_path, others(BESIDE))
    assert any(f"{BESIDE} has the same" in f for f in found), found


@pytest.mark.parametrize(("fingerprint", "level"), [("0123456789abcdef", "error"), (None, "warning")])
def test_one_name_answers_one_thing(fingerprint, level, tmp_path):
    """Other answers of the same weights may be those of a model that draws numbers."""

    def change(entry):
        m = entry["report"]["model"]
        m["answers"] = {k: [[2 * v for v in row] for row in rows] for k, rows in m["answers"].items()}
        m["fingerprint"] = fingerprint or m["fingerprint"][:8] + "0" * 8

    beside = {"ffbench__chgnet/0.3.0/desk": of_board(WATER)}
    found = [f for f in findings(edited(WATER, change), tmp_path, beside) if "answers otherwise" in f.message]
    assert [f.level for f in found] == [level]
    assert said(of_board(WATER), tmp_path, others(BESIDE) | beside) == []


def test_the_same_answers_are_the_same_weights_under_any_name(tmp_path):
    def relabelled(entry):
        entry["org"], entry["model"] = "mine", "great"
        entry["report"]["model"] |= {"name": "great", "theory": "GFN2-xTB", "fingerprint": "0123456789abcdef"}

    found = said(edited(WATER, relabelled), tmp_path, others(BESIDE))
    assert any("model.theory" in f and "has the same model and" in f for f in found)


def test_two_models_without_forces_are_not_one(tmp_path):
    """All their answers are zeros; one was made for GFN2, the other for PBE."""

    def zeros(theory, name):
        def change(entry):
            entry["org"], entry["model"] = name, name
            m = entry["report"]["model"]
            m |= {"name": name, "theory": theory, "fingerprint": f"{len(name):016x}"}
            m["answers"] = {k: [[0.0] * len(row) for row in rows] for k, rows in m["answers"].items()}

        return change

    one = edited(BESIDE, zeros("GFN2-xTB", "nothing"))
    two = edited(WATER, zeros("PBE", "zero"))
    assert said(two, tmp_path, {Entry.model_validate(one).key: one}) == []


def test_a_fingerprint_is_sixteen_hex_digits(tmp_path):
    """Another spelling of one would not be recognised."""
    for odd in ("", "849A091A8B48EF0E", "849a091a8b48ef0e ", "mine"):
        entry = edited(WATER, lambda e, odd=odd: e["report"]["model"].update(fingerprint=odd))
        assert any("model.fingerprint is none of 16 hex digits" in f for f in said(entry, tmp_path))


def test_a_theory_that_is_no_longer_stated_is_told_also_of_a_family(tmp_path):
    entry = edited("ffbench__nequip/1/mini", lambda e: e["report"]["model"].update(theory=""))
    assert any(f.path == "$.report.model.theory" and f.level == "warning" for f in findings(entry, tmp_path))


def test_the_theory_of_the_data_is_the_locks(tmp_path):
    def moved(entry):
        entry["report"]["tasks"]["ethanol_accuracy"]["dataset"]["theory"] = "PBE"

    assert any("ethanol_accuracy.dataset.theory is 'PBE'" in f for f in said(edited(WATER, moved), tmp_path))


def test_an_old_version_of_a_suite_is_told(tmp_path):
    from leaderboard.check.check import check
    from leaderboard.check.lock import latest_version, load_lock, write_lock

    lock = load_lock("mini", "1.0.0", FIXTURE)
    (tmp_path / "suites").mkdir()
    for version in ("1.0.0", "1.9.0", "1.10.0"):
        write_lock(lock.model_copy(update={"version": version}), tmp_path / "suites")
    assert latest_version("mini", tmp_path / "suites") == "1.10.0"
    path = put(real_entry(), tmp_path / "entries")
    found = check(path, entries=tmp_path / "entries", suites=tmp_path / "suites", others={})
    assert [f.level for f in found if "the suite's current version is 1.10.0" in f.message] == ["warning"]
    found = check(path, entries=tmp_path / "entries", suites=FIXTURE, others={})
    assert not any("current version" in f.message for f in found)


def test_a_flood_of_metrics_is_not_worked_out(tmp_path):
    """Each costs the check a bootstrap: a thousand of them would hold up the job."""

    def flood(entry):
        metrics = entry["report"]["tasks"]["ethanol_bond_scans"]["metrics"]
        metrics |= {f"fsd_x{k}": metrics["fsd"] for k in range(1000)}

        entry["report"]["tasks"] = {"ethanol_bond_scans": entry["report"]["tasks"]["ethanol_bond_scans"]}

    entry = changed(flood)
    from leaderboard.check.check import check, errors

    path = put(entry, tmp_path)
    found = [f"{f.path} {f.message}" for f in errors(check(path, entries=tmp_path, suites=FIXTURE, others={}))]
    assert any(f.startswith("$.report.tasks.ethanol_bond_scans.metrics 10") for f in found)
    assert not any("fsd_x1" in f for f in found)


def test_two_models_that_answer_nothing_have_the_same_errors_and_are_honest(tmp_path):
    """Frequencies of 0 are off by the reference's own; nothing in such a task is a trivial baseline."""
    key = "ffbench__gfn2/gfn2-xtb-tblite-accuracy-0.01/physicality"

    def still(entry):
        entry["report"]["tasks"] = {"molecules_frequencies": entry["report"]["tasks"]["molecules_frequencies"]}
        m = entry["report"]["model"]
        m["answers"] = {"d": [[0.0, 0.0, 0.0, 0.0], []]}

    def other(entry):
        renamed(entry)
        entry["report"]["model"]["answers"] = {"d": [[0.0, 0.0, 0.0, 0.0]]}

    one = edited(key, still)
    two = edited(key, lambda e: (still(e), other(e)))
    assert said(two, tmp_path, {key: one}) == []
    forged = edited(key, lambda e: (still(e), other(e)))
    assert any("has the very numbers" in f for f in said(forged, tmp_path, others(key)))  # theirs has forces


def test_two_simple_laws_may_break_a_symmetry_by_as_much(tmp_path):
    """Forces k x and -k x: sizes of some faults agree to the last digit, most numbers do not."""
    key, rng = "ffbench__transformer_direct/1/physicality", random.Random(3)

    def alike_in(count):
        def change(entry):
            renamed(entry)
            entry["report"]["models"] = {}
            kept = 0
            for m in entry["report"]["tasks"]["ethanol_physicality"]["metrics"].values():
                if len(m["values"]) == 8 and m["aggregate"] == "mean":
                    kept += 1
                    m["values"] = m["values"] if kept <= count else [v * rng.uniform(0.5, 0.9) for v in m["values"]]

        return edited(key, change)

    assert not any("very numbers" in f for f in said(alike_in(3), tmp_path, others(key)))
    assert any("very numbers" in f for f in said(alike_in(15), tmp_path, others(key)))
