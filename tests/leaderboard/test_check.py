"""The validator takes an honest entry, refuses every dishonest one, and survives anything."""

import copy
import json
import random
import re
import subprocess
import sys

import pytest
from pydantic import ValidationError

from ffbench_eval.report import Metric, Report, TaskReport
from leaderboard.check.against_lock import _anchors, _physics, _typed, check_zero_of_energy
from leaderboard.check.bounds import bound
from leaderboard.check.check import CARD, GRAMMAR, check, compare_with_base, errors, known_entries
from leaderboard.check.lock import TaskLock, all_locks
from leaderboard.check.members import elements_of
from leaderboard.check.recompute import LOOSE, expected_score
from leaderboard.check.statements import check_machine, check_sizes
from leaderboard.entry.schema import SCHEMA, Entry, schema_text
from tests.conftest import ROOT
from tests.leaderboard.board import FIXTURE, command, put, real_entry, seal, varied, with_command
from tests.leaderboard.crafted import consistent

USED = {"name": "d", "config": "default", "split": "test", "version": "1", "content_sha256": "0"}


def findings(entry, tmp_path, key="ffbench__painn/1/mini", others=None):
    return check(put(entry, tmp_path, key), entries=tmp_path, suites=FIXTURE, others={} if others is None else others)


def changed(change, *, curves=False):
    """The real entry after ``change(entry)``, with hashes that fit."""
    entry = real_entry(curves=curves)
    change(entry)
    return reseal(entry)


def reseal(entry):
    try:
        made = Entry.model_validate(entry)
    except (ValidationError, RecursionError):
        return seal(entry)
    return json.loads(made.model_copy(update={"report": made.report.sealed()}).sealed().model_dump_json())


def selective(entry):
    return entry["report"]["tasks"]["ethanol_selective"]


def null(entry, task, name):
    """A number taken out, with a reason: what a submitter may write by hand."""
    gone = {"value": None, "interval": None, "score": None, "floor": None, "trivial": None, "values": [], "n": 0}
    metric(entry, task, name).update(gone, not_scored="it was not possible here")


def metric(entry, task, name):
    return entry["report"]["tasks"][task]["metrics"][name]


def test_the_schema_is_current():
    assert SCHEMA.read_text() == schema_text(), "run `ffbench leaderboard schema --write` and commit"


def test_the_schema_refuses_unknown_keys_everywhere():
    schema = json.loads(schema_text())
    objects = [schema, *schema["$defs"].values()]
    assert all(o.get("additionalProperties") is False for o in objects if o.get("type") == "object")


def test_an_honest_entry_passes(tmp_path):
    assert errors(findings(real_entry(), tmp_path)) == []


def test_energies_of_a_model_with_another_zero_are_known_to_the_board_once_aligned(tmp_path):
    def add(entry):
        task = entry["report"]["tasks"]["ethanol_accuracy"]
        for name in ("energy_mae", "energy_mae_per_atom"):
            task["metrics"][f"{name}_aligned"] = copy.deepcopy(task["metrics"][name])
            task["metrics"][f"{name}_aligned"]["interval_note"] += "; offsets fitted on 100 frames of val"
        task["units"].append(task["units"][-1] | {"address": "0" * 64, "detail": ["energies aligned: ..."]})

    aligned = [f for f in findings(changed(add), tmp_path) if "aligned" in f.path]
    assert aligned == []
    assert errors(findings(changed(add), tmp_path)) == []


@pytest.mark.parametrize("seed", range(6))
def test_entries_made_for_tests_pass(seed, tmp_path):
    entry = varied(seed)
    assert errors(findings(entry, tmp_path, Entry.model_validate(entry).key)) == []


def test_a_partial_entry_is_welcome(tmp_path):
    def drop(entry):
        del entry["report"]["tasks"]["water_md"]

    found = findings(seal(with_command(changed(drop))), tmp_path)
    assert errors(found) == []
    assert any("water_md is missing" in f.message for f in found)


FORGERIES = {
    "a better mean": lambda e: metric(e, "ethanol_accuracy", "force_mae").update(value=0.001),
    "a better sample": lambda e: metric(e, "ethanol_md", "distance_histogram_error")["values"].__setitem__(0, 0.01),
    "a narrower interval": lambda e: metric(e, "ethanol_accuracy", "force_mae").update(interval=[0.0068, 0.0069]),
    "a better score": lambda e: metric(e, "alanine_free_energy", "free_energy_error").update(score=1.0),
    "more samples": lambda e: metric(e, "ethanol_accuracy", "force_mae").update(n=100000),
    "an easier floor": lambda e: metric(e, "alanine_free_energy", "free_energy_error")["floor"].update(p95=9.0),
    "an easier baseline": lambda e: metric(e, "ethanol_accuracy", "force_mae").update(trivial=5.0),
    "a metric left out": lambda e: e["report"]["tasks"]["ethanol_bond_scans"]["metrics"].pop("fsd"),
    "an unstable replica counted as stable": lambda e: e["report"]["tasks"]["ethanol_md"]["units"][0][
        "status"
    ].__setitem__(0, "unstable"),
    "a replica left out": lambda e: e["report"]["tasks"]["ethanol_md"]["units"][0]["status"].pop(),
    "other parameters": lambda e: e["report"]["tasks"]["ethanol_md"]["parameters"].update(length_ps=1.0),
    "other data": lambda e: e["report"]["tasks"]["ethanol_md"]["dataset"].update(content_sha256="0" * 64),
    "another task version": lambda e: e["report"]["tasks"]["ethanol_md"].update(version="0"),
    "an unknown suite": lambda e: e["report"].update(suite_version="9.0.0"),
    "an unknown task": lambda e: e["report"]["tasks"].update(mine=e["report"]["tasks"]["ethanol_md"]),
    "a name that is not its path": lambda e: e.update(model="other"),
    "a date in the future": lambda e: e["report"].update(created="2999-01-01T00:00:00+00:00"),
    "a count with another type": lambda e: e["report"]["tasks"]["ethanol_md"]["parameters"].update(replicas=5.0),
    "an easier baseline of h(r)": lambda e: metric(e, "ethanol_md", "distance_histogram_error").update(trivial=1000.0),
    "a task under another title": lambda e: e["report"]["tasks"]["ethanol_md"].update(title="Ethanol, REPRODUCED"),
    "an observable nulled": lambda e: null(e, "ethanol_md", "distance_histogram_error"),
    "a stable time nulled": lambda e: null(e, "ethanol_md", "stable_time"),
    "FSD nulled": lambda e: null(e, "ethanol_bond_scans", "fsd"),
    "a headline that knows the answer": lambda e: selective(e).update(headline="oracle"),
    "an invented headline": lambda e: selective(e).update(headline="mine"),
    "no headline": lambda e: selective(e).pop("headline"),
    "the headline of another source": lambda e: selective(e).update(headline="probe"),
    "an invented source": lambda e: selective(e)["metrics"].update(
        {"augrc.test.mine": selective(e)["metrics"]["augrc.test.oracle"]}
    ),
    "another model's command": lambda e: e.update(command="ffbench evaluate other:model --suite mini --seed 0"),
    "a huge kernel": lambda e: e["report"]["environment"].update(kernel_s=1e300),
    "a tiny wall time": lambda e: e["report"].update(wall_s=-1e-300),
    "countless cases": lambda e: selective(e)["metrics"]["prevalence.test"].update(n=10**25),
    "a huge interval": lambda e: selective(e)["metrics"]["ece.test.linear_probe"].update(interval=[-1.7e308, 1.7e308]),
    "no cutoff": lambda e: e["report"]["model"].update(cutoff_angstrom=0.0),
    "no tasks": lambda e: e["report"].update(tasks={}),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_with_fitting_hashes_is_refused(name, tmp_path):
    found = errors(findings(changed(FORGERIES[name]), tmp_path))
    assert found
    assert all(f.path.startswith("$") and f.fix and f.file.endswith("mini.json") for f in found)


def rescaled(entry, round_to):
    """A consistent rewriting of one metric."""
    m = metric(entry, "water_accuracy", "force_mae")
    m["values"] = [round_to(v) for v in m["values"]]
    rescale(entry, "water_accuracy", "force_mae")


def rescale(entry, task_name, name):
    """Value, interval and score of a metric as its values give them."""
    from leaderboard.check.recompute import aggregate

    m = metric(entry, task_name, name)
    task = Entry.model_validate(entry).report.tasks[task_name]
    value, interval = aggregate(name, task.metrics[name], m["values"], task, None)
    m.update(value=value, interval=interval, score=expected_score(name, task.metrics[name], value, task))


@pytest.mark.parametrize("factor", [0.5, 1.001, 100.0])
@pytest.mark.parametrize(
    ("task_name", "name"), [("ethanol_accuracy", "force_mae"), ("ethanol_md", "distance_histogram_error")]
)
def test_a_baseline_of_another_value_is_refused_although_its_score_fits(task_name, name, factor, tmp_path):
    """A score that follows from value and baseline is no forgery by itself: only the lock knows the baseline."""

    def edit(entry):
        metric(entry, task_name, name)["trivial"] *= factor
        rescale(entry, task_name, name)

    found = errors(findings(changed(edit), tmp_path))
    assert [f.path for f in found] == [f"$.report.tasks.{task_name}.metrics.{name}.trivial"]


@pytest.mark.parametrize(
    ("round_to", "says"),
    [
        (lambda v: float(f"{v:.2g}"), "few digits"),
        (lambda v: 0.0123456, "agree to the last digit"),
        (lambda v: 0.0, "outside 1e-09"),
        (lambda v: 1e7 * v, "outside 1e-09"),
    ],
)
def test_consistent_numbers_that_few_runs_give_are_a_warning(round_to, says, tmp_path):
    """A bad model may have them: a proof they are not."""
    found = findings(changed(lambda e: rescaled(e, round_to)), tmp_path)
    assert any(says in f.message for f in found if f.level == "warning")
    assert not [f for f in errors(found) if says in f.message]


def test_what_the_definition_of_a_number_excludes_is_an_error(tmp_path):
    found = errors(findings(changed(lambda e: rescaled(e, lambda v: -v)), tmp_path))
    assert any("is not possible" in f.message for f in found)


def test_copied_numbers_and_reports_are_refused(tmp_path):
    original = real_entry()
    copied = copy.deepcopy(original)
    copied["model"] = "mine"
    others = {"ffbench__painn/1/mini": original}
    assert any("same report" in f.message for f in findings(seal(copied), tmp_path, "ffbench__mine/1/mini", others))
    copied["report"]["model"]["name"] = "mine"
    found = findings(reseal(copied), tmp_path, "ffbench__mine/1/mini", others)
    assert any("very numbers" in f.message for f in errors(found))


def test_one_fingerprint_has_one_theory(tmp_path):
    other = varied(1)
    marks = [c["fingerprint"] for c in real_entry()["report"]["models"].values()]
    other["report"]["models"]["ethanol_gfn2"] |= {"fingerprint": marks[0], "theory": "wB97X/6-31G(d)"}
    others = {"ffbench__painn/1/mini": real_entry()}
    found = errors(findings(seal(other), tmp_path, Entry.model_validate(other).key, others))
    assert any("has the same fingerprint and" in f.message for f in found)


def test_energies_off_by_a_constant_are_worth_a_look(tmp_path):
    """ANI-1x under the name of GFN2: its zero of energy is another, which the errors show."""

    def relabel(entry):
        m = metric(entry, "water_accuracy", "energy_mae_per_atom")
        m["values"] = [3.0 + 1e-3 * v for v in m["values"]]
        rescale(entry, "water_accuracy", "energy_mae_per_atom")

    found = [f for f in findings(changed(relabel), tmp_path) if "another zero of energy" in f.message]
    assert [f.level for f in found] == ["warning"]
    assert not any("another zero" in f.message for f in findings(real_entry(), tmp_path))


@pytest.mark.parametrize(
    ("values", "seen"),
    [([3.0, 3.001, 2.999], True), ([0.1, 3.0, 6.0], False), ([3.0, 3.0], False), ([0.03, 0.0301, 0.0299], False)],
)
def test_only_large_errors_that_are_nearly_one_constant_are_another_zero(values, seen):
    """Scattered errors are errors; of two nobody can say; below 50 meV per atom it may be the model."""
    mean = sum(values) / len(values)
    m = Metric(value=mean, unit="eV/atom", values=values, n=len(values))
    task = TaskReport(
        kind="accuracy", version="1", title="t", dataset=USED, parameters={}, metrics={"energy_mae_per_atom": m}
    )
    assert bool(list(check_zero_of_energy("$", task, True))) == seen
    assert not list(check_zero_of_energy("$", task, False))  # of another theory nothing else is expected


def test_text_that_is_no_smiles_has_no_elements():
    assert elements_of("[Q][7x]") == set()
    assert elements_of("[C:1]([H:2])[Cl:3].[se]") == {1, 6, 17, 34}


def test_limits_of_a_report_are_where_they_say():
    """One hundred tasks, any seed of 64 bits, at least one thread: what the findings call possible is possible."""

    def found(change):
        entry = Entry.model_validate(real_entry())
        return [f.path for f in (*check_machine(change(entry)), *check_sizes(change(entry)))]

    def seeded(seed):
        return lambda e: e.model_copy(update={"report": e.report.model_copy(update={"seed": seed})})

    def threads(n):
        def change(e):
            machine = e.report.environment.model_copy(update={"threads": n})
            return e.model_copy(update={"report": e.report.model_copy(update={"environment": machine})})

        return change

    def tasks(n):
        def change(e):
            one = next(iter(e.report.tasks.values()))
            return e.model_copy(
                update={"report": e.report.model_copy(update={"tasks": {f"t{k}": one for k in range(n)}})}
            )

        return change

    for seed in (-(2**63), 0, 7, 2**62, 2**63):
        assert found(seeded(seed)) == []
    assert found(seeded(-(2**64))) == found(seeded(2**64)) == ["$.report.seed"]
    assert found(threads(1)) == found(threads(10**6)) == []
    assert found(threads(0)) == found(threads(10**6 + 1)) == ["$.report.environment.threads"]
    assert found(tasks(100)) == []
    assert found(tasks(101)) == ["$.report.tasks"]


def test_the_order_of_keys_in_a_parameter_means_nothing():
    assert _typed({"p": {"a": 1, "b": 2}}, "p") == _typed({"p": {"b": 2, "a": 1}}, "p")
    assert _typed({"p": 5}, "p") != _typed({"p": 5.0}, "p")


@pytest.mark.parametrize(
    ("was", "there", "same", "said"),
    [
        (False, True, False, None), (False, False, False, None), (True, True, True, None),
        (True, True, False, "changed"), (True, False, False, "removed"),
    ],
)  # fmt: skip
def test_what_is_on_the_board_stays_as_it_is(was, there, same, said):
    found = compare_with_base("e", was, there, same)
    assert [f.message.split()[-1] for f in found] == ([said] if said else [])


def test_a_plausible_value_may_lie_on_its_limit():
    """A warning names values outside the usual range; its ends, and 0 where 0 is usual, are inside."""
    limits = bound("force_mae")
    for v, odd in ((limits.low, False), (limits.high, False), (limits.high * 1.01, True), (0.0, not limits.zero)):
        m = Metric(value=v, unit=limits.unit, values=[v], n=1)
        assert any("is outside" in f.message for f in _physics("$", "force_mae", m)) == odd


def test_known_entries_are_those_of_the_folder(tmp_path):
    put(real_entry(), tmp_path, "ffbench__painn/1/mini")
    (tmp_path / "ffbench__painn/1/broken.json").write_text("{")
    assert list(known_entries(tmp_path)) == ["ffbench__painn/1/mini"]


def test_baselines_of_frames_that_were_left_out(tmp_path):
    """A baseline over 100 frames is a mean: over 80 of them it is at most 100/80 of it, and never more."""
    locked = {"unit": "eV/Å", "better": "lower", "aggregate": "mean", "version": "1", "n": 100, "trivial": 1.0}
    lock = TaskLock(kind="accuracy", version="1", title="t", dataset=USED, theory="", molecules=[], parameters={},
                    metrics={"force_mae": locked}, no_forces={})  # fmt: skip

    def refused(trivial, clean):
        m = Metric(value=0.1, unit="eV/Å", n=80, trivial=trivial)
        return [f.path for f in _anchors("$", "force_mae", m, lock, clean)] == ["$.trivial"]

    assert [refused(t, False) for t in (0.3, 1.0, 1.25, 1.26)] == [False, False, False, True]
    assert [refused(t, True) for t in (1.0, 0.99, 1.01)] == [False, True, True]
    floor = {"median": 0.1, "p95": 0.2, "runs": 6, "length_ps": 9}
    m = Metric(value=0.1, unit="eV/Å", n=80, trivial=1.0, floor=floor)
    assert [f.path for f in _anchors("$", "force_mae", m, lock, True)] == ["$.floor"]


def test_scans_are_unsupported_for_their_elements_alone(tmp_path):
    """ANI-1x on BSCT-SPICE says the truth; a scan that was only bad cannot be called unsupported."""
    from ase.data import chemical_symbols

    from leaderboard.check.against_lock import _covered
    from leaderboard.check.elements import NUMBERS

    assert all(chemical_symbols[n] == s for s, n in NUMBERS.items())
    raw = json.loads((ROOT / "leaderboard/entries/ffbench__ani1x/ani-1x-eight-networks/bsct.json").read_text())
    report = Entry.model_construct(report=Report.model_validate(raw["report"])).report
    task = report.tasks["bsct_spice"]
    locked = next(lock.tasks["bsct_spice"] for lock in all_locks() if "bsct_spice" in lock.tasks)
    assert task.statuses["unsupported"] > 300
    assert list(_covered("$", task, locked, report.model)) == []
    first = next(k for k, s in enumerate(task.units[0].status) if s == "ok")
    status = ["unsupported" if k == first else s for k, s in enumerate(task.units[0].status)]
    changed_task = task.model_copy(
        update={"units": [task.units[0].model_copy(update={"status": status}), *task.units[1:]]}
    )
    (fault,) = _covered("$", changed_task, locked, report.model)
    assert "is unsupported, the elements of the model's card hold its own" in fault.message


def test_names_near_those_of_others_are_named(tmp_path):
    others = {"ffbench__painn/1/mini": real_entry()}
    for name, near in (("painn2", True), ("pa1nn", True), ("nequip", False)):
        entry = varied(1)
        entry["model"], entry["org"] = name, "acme"
        found = findings(seal(entry), tmp_path, f"acme__{name}/1/mini", others)
        assert any("easily taken for" in f.message for f in found) == near, name


@pytest.mark.parametrize("part", ["aux", "con", "nul.txt", "1."])
def test_names_that_windows_cannot_have_are_refused(part, tmp_path):
    entry = varied(1)
    entry["version"] = part
    found = errors(findings(seal(entry), tmp_path, Entry.model_validate(entry).key))
    assert any("no file name on Windows" in f.message for f in found)


def test_a_newline_after_a_path_is_no_entry():
    assert GRAMMAR.match("a__b/1/mini.json")
    assert not GRAMMAR.match("a__b/1/mini.json\n")
    assert not CARD.match("a__b/1/card.md\n")


def test_values_of_another_type_are_refused_like_the_schema_does(tmp_path):
    for field, odd in (("open_weights", "off"), ("summary", 1)):
        entry = real_entry(curves=False)
        entry["about"][field] = odd
        assert errors(findings(seal(entry), tmp_path))
    entry = real_entry(curves=False)
    values = metric(entry, "water_accuracy", "force_mae")["values"]
    metric(entry, "water_accuracy", "force_mae")["values"] = [str(v) for v in values]
    assert errors(findings(seal(entry), tmp_path))


def test_half_a_surrogate_is_named_with_its_place_and_ends_nothing(tmp_path, capsys):
    bad = real_entry(curves=False)
    bad["report"]["tasks"]["ethanol_md"]["note"] = "LONE"
    put(json.dumps(bad).replace("LONE", "\\ud83d"), tmp_path, "ffbench__bad/1/mini")
    other = varied(1)
    other["content_sha256"] = "0" * 64
    put(other, tmp_path, Entry.model_validate(other).key)
    assert command("leaderboard", "check", "--entries", tmp_path) == 1
    said = capsys.readouterr().err
    assert "ffbench__bad/1/mini.json: $.report.tasks.ethanol_md.note: holds half a surrogate pair" in said
    assert "institute__model-01/1/mini.json" in said


def test_findings_never_carry_control_characters(tmp_path):
    entry = real_entry(curves=False)
    entry["report"]["tasks"]["ethanol_md"]["metrics"]["a\r::error::b\x1b[2J"] = {}
    found = findings(seal(entry), tmp_path)
    assert errors(found)
    assert all(c.isprintable() for f in found for c in str(f))


def test_two_models_without_forces_may_have_the_same_numbers(tmp_path):
    from ffbench_eval.report import Metric

    def zero(entry):
        task = entry["report"]["tasks"]["water_accuracy"]
        trivial = task["metrics"]["force_mae"]["trivial"]
        task["metrics"] = {"force_mae": Metric.model_validate(task["metrics"]["force_mae"]).model_dump(mode="json")}
        blocks = [trivial * f for f in (0.9, 1.1) * 5]
        task["metrics"]["force_mae"]["values"] = blocks
        entry["report"]["tasks"] = {"water_accuracy": task}
        rescale(entry, "water_accuracy", "force_mae")

    one, two = changed(zero), changed(zero)
    two["model"] = "mine"
    others = {"ffbench__painn/1/mini": one}
    found = findings(reseal(two | {"report": two["report"] | {"seed": 1}}), tmp_path, "ffbench__mine/1/mini", others)
    assert not any("very numbers" in f.message for f in found)


def test_hashes_that_do_not_fit_are_refused(tmp_path):
    entry = real_entry()
    entry["report"]["model"]["name"] = "other"
    assert {f.path for f in errors(findings(entry, tmp_path))} == {"$.report.content_sha256", "$.content_sha256"}


HOSTILE = {
    "duplicate keys": '{"entry_version": "1", "entry_version": "1"}',
    "duplicate keys inside": '{"report": {"tasks": {"a": 1, "a": 2}}}',
    "NaN": '{"entry_version": NaN}',
    "infinity": '{"entry_version": 1e999}',
    "depth": "[" * 100_000 + "]" * 100_000,
    "a long integer": '{"entry_version": ' + "9" * 10_000 + "}",
    "not UTF-8": b"\xff\xfe{}",
    "empty": "",
    "a list": "[]",
    "null": "null",
    "half": json.dumps(real_entry(curves=False))[:20_000],
    "surrogates": '{"org": "\\ud800"}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_findings(name, tmp_path):
    raw = HOSTILE[name]
    path = put("", tmp_path)
    path.write_bytes(raw if isinstance(raw, bytes) else raw.encode())
    found = check(path, entries=tmp_path, suites=FIXTURE, others={})
    assert errors(found)
    if "duplicate" in name:
        assert "given twice" in found[0].message


def test_large_files_links_and_odd_places_are_findings(tmp_path):
    big = put(" " * 2_000_000, tmp_path)
    assert "at most" in check(big, entries=tmp_path, others={})[0].message
    link = tmp_path / "a__b" / "1" / "mini.json"
    link.parent.mkdir(parents=True)
    link.symlink_to("/etc/hostname")
    assert "regular file" in check(link, entries=tmp_path, others={})[0].message
    away = findings(real_entry(curves=False), tmp_path, "no-org/mini")
    assert any("no place of an entry" in f.message for f in away)
    known_entries(tmp_path)


def sites(value, path=()):
    """Every place of a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for k, v in items:
        yield from sites(v, (*path, k))


def get(value, path):
    for k in path:
        value = value[k]
    return value


ODD = (
    None,
    -1,
    0,
    1e308,
    -1e308,
    10**25,
    True,
    "",
    "ok",
    "x" * 30_000,
    [],
    {},
    [[]],
    {"a": 1},
    "\u202e",
    "../..",
)


def mutate(entry, path, rng):
    """One change at one site; returns what kind it was."""
    parent, key = get(entry, path[:-1]), path[-1]
    old = parent[key]
    number = isinstance(old, int | float) and not isinstance(old, bool)
    kind = rng.choice(["nudge", "nudge", "odd", "delete", "repeat"] if number else ["odd", "delete", "repeat", "add"])
    if kind == "nudge":
        parent[key] = rng.choice([old * 1.001, old * 0.5, -old, old + 1, old * 1e6, old * (1 - 1e-6)])
    elif kind == "odd":
        parent[key] = copy.deepcopy(rng.choice(ODD))
    elif kind == "delete":
        del parent[key]
    elif kind == "add" and isinstance(old, dict):
        old["surprise"] = 1
    elif isinstance(parent, list):
        parent.append(copy.deepcopy(old))
    else:
        parent[f"{key}_2"] = copy.deepcopy(old)
    return kind


def is_number_of_a_metric(path):
    """Sites whose change contradicts the rest. Selective classification has no samples in a report: there it is what
    its scores say about each other, and `not_recomputed` names the rest: the scores of `LOOSE`, and intervals."""
    if len(path) < 6 or path[3] != "metrics":
        return False
    if path[2] == "ethanol_selective":
        loose = path[4].split(".")[0] in LOOSE
        return path[5] in ("value", "score", "n", "trivial", "values") and not (loose and path[5] == "value")
    return path[5] in ("value", "interval", "values", "score", "n", "floor")


def inconsistent(before, after, path):
    """Whether the change at ``path`` leaves numbers that do not follow from each other."""
    if not is_number_of_a_metric(path):
        return False
    try:
        a, b = get(before, path[:6]), get(after, path[:6])
    except (KeyError, IndexError, TypeError):
        return False
    return a != b


def test_a_thousand_mutations(tmp_path):
    """No single-site change of a number passes with fitting hashes, and nothing crashes the validator."""
    rng = random.Random(20261121)
    base = real_entry(curves=False)
    for name in ("ethanol_accuracy", "alanine_accuracy", "ethanol_nve"):  # the others have every kind of metric
        del base["report"]["tasks"][name]
    base = seal(base)
    every = [p for p in sites(base) if p]
    numbers = [p for p in every if is_number_of_a_metric(p)]
    assert len(numbers) > 300
    refused, must, plain = 0, 0, json.dumps(base)
    for case in range(1000):
        path = rng.choice(numbers if case % 3 else every)
        entry = json.loads(plain)
        kind = mutate(entry, path, rng)
        sealed = reseal(entry)
        found = errors(findings(sealed, tmp_path))
        refused += bool(found)
        if inconsistent(base, sealed, path):
            must += 1
            assert found, (path, kind, get(base, path[:6]), kind)
    assert must > 500
    assert refused > must


def test_every_selective_value_is_fixed_by_others_or_named_as_loose(tmp_path):
    """Each value moved a little and a lot: found, but for those that `not_recomputed` names."""
    base = real_entry(curves=False)
    for name in [n for n in base["report"]["tasks"] if n != "ethanol_selective"]:
        del base["report"]["tasks"][name]
    plain = json.dumps(seal(base))
    missed = set()
    for name, metric in base["report"]["tasks"]["ethanol_selective"]["metrics"].items():
        for factor in (1.001, 0.999, 0.6, 1 + 1e-6):
            if metric["value"]:
                entry = json.loads(plain)
                entry["report"]["tasks"]["ethanol_selective"]["metrics"][name]["value"] *= factor
                if not errors(findings(seal(entry), tmp_path)):
                    missed.add(name)
    assert {n.split(".")[0] for n in missed} <= LOOSE
    assert {n.split(".")[0] for n in missed} <= {"auprc", "ece", "brier", "spearman", "residual_augrc"} | {
        "accuracy_at_coverage"  # 0.6 of it can be a share of other cases
    }
    said = [f.message for f in findings(json.loads(plain), tmp_path) if f.level == "warning"]
    assert any("values and" in m and "taken as reported" in m for m in said)


@pytest.mark.parametrize("name", ["ece.test.LEAD", "augrc.test.random", "prevalence.bond_scans", "aurc.test.LEAD"])
def test_a_selective_score_left_out_is_found(name, tmp_path):
    entry = real_entry(curves=False)
    name = name.replace("LEAD", entry["report"]["tasks"]["ethanol_selective"]["headline"])
    del entry["report"]["tasks"]["ethanol_selective"]["metrics"][name]
    assert errors(findings(seal(entry), tmp_path))


def test_random_bytes_never_crash(tmp_path):
    rng = random.Random(1)
    text = bytearray(json.dumps(real_entry(curves=False)).encode())
    for _ in range(100):
        raw = bytearray(text)
        for _ in range(rng.randint(1, 5)):
            at = rng.randrange(len(raw))
            raw[at : at + rng.randint(0, 3)] = bytes(rng.randrange(256) for _ in range(rng.randint(0, 3)))
        path = put("", tmp_path)
        path.write_bytes(bytes(raw))
        check(path, entries=tmp_path, suites=FIXTURE, others={})


def test_the_validator_imports_no_model_code():
    script = "import sys, leaderboard.check; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {m.split(".")[0] for m in done.stdout.split()}
    assert not loaded & {"torch", "datasets", "ase", "reference_models", "ffbench_data", "openmm"}


def test_a_model_may_have_the_same_errors_in_two_suites(tmp_path):
    """Suites share test frames; another model with these very numbers is a copy."""
    entry = real_entry(curves=False)
    suite = {"ffbench__painn/1/desk": entry}
    path = put(entry, tmp_path)
    assert errors(check(path, entries=tmp_path, suites=FIXTURE, others=suite)) == []
    copied = errors(check(path, entries=tmp_path, suites=FIXTURE, others={"ffbench__copy/1/desk": entry}))
    assert copied


def test_a_page_of_findings_and_no_more(tmp_path):
    """300 faults of one entry: as many are named as a person may read; the first are the first."""
    found = findings(changed(lambda e: [e["about"].update({f"x{k}": 1}) for k in range(300)]), tmp_path)
    assert len(found) == 200
    assert all(f.level == "error" for f in found)


def test_no_number_of_warnings_hides_an_error(tmp_path):
    """240 warnings about cards that nobody asked for come first; the forged number is found behind them."""

    def forged(entry):
        card = entry["report"]["model"] | {"training_data": "", "licence": "", "seen_test_data": None, "theory": ""}
        entry["report"]["models"] = {f"d{k}": card for k in range(60)}
        metric(entry, "ethanol_accuracy", "force_mae").update(value=1e-9, score=1.0)

    found = findings(changed(forged), tmp_path)
    assert "$.report.tasks.ethanol_accuracy.metrics.force_mae.value" in {f.path for f in errors(found)}
    assert sum(f.level == "warning" for f in found) == 200


def unit_of_its_own(task, status):
    task["units"].append(task["units"][0] | {"status": [status], "address": "0" * 64})


@pytest.mark.parametrize("lost", ["not_run", "model_error", "out_of_memory"])
@pytest.mark.parametrize("name", ["ethanol_md", "ethanol_bond_scans"])
def test_no_member_is_added_to_those_of_the_task(name, lost, tmp_path):
    """Three times as many as the task has, the new ones like the best, and one lost so that the run was no clean one:
    a mean over them is no mean over the task's."""

    def forged(entry):
        task = entry["report"]["tasks"][name]
        n = len(task["units"][0]["status"])
        task["units"][0]["status"] = ["ok"] * 3 * n
        unit_of_its_own(task, lost)
        for m in task["metrics"].values():
            if len(m["values"]) == n and None not in m["values"]:
                best = max(m["values"]) if m["better"] == "higher" else min(m["values"])
                m.update(values=m["values"] + [best] * 2 * n, n=3 * n)
        consistent(entry)

    found = [f"{f.path} {f.message}" for f in errors(findings(changed(forged), tmp_path))]
    assert any(re.search(rf"{name}\.units hold \d+ members, the task has", f) for f in found)
    assert any(re.search(rf"{name}\.metrics\.\w+\.values \d+ values, the task has", f) for f in found)


def test_no_more_cases_are_counted_than_the_task_has_also_where_some_failed(tmp_path):
    """An area from 320,000 cases would be known a hundred times better than the one from 320."""

    def forged(entry):
        selective(entry)["units"][0]["status"][1] = "model_error"
        for m in selective(entry)["metrics"].values():
            m["n"] *= 1000

    found = [f.path for f in errors(findings(changed(forged), tmp_path))]
    assert "$.report.tasks.ethanol_selective.metrics.prevalence.test.n" in found


@pytest.mark.parametrize(("values", "said"), [([0.0, 0.0], False), ([1.0, 1.0], True), ([0.0, 0.7312, 0.7312], True)])
def test_equal_samples_are_looked_at_but_for_those_of_nothing(values, said):
    m = Metric(value=values[-1], unit="eV/Å", values=values, n=len(values))
    assert any("all agree" in f.message for f in _physics("$", "force_mae", m)) == said


@pytest.mark.parametrize("state", ["unsupported", "harness_error"])
def test_a_task_that_nobody_answered_is_told(state, tmp_path):
    """Not an error: a model of other elements is honest; but a bad task can be withdrawn the same way."""

    def withdraw(entry):
        task = entry["report"]["tasks"]["water_md"]
        task["metrics"], task["curves"] = {}, {}
        for unit in task["units"]:
            unit["status"] = [state] * len(unit["status"])

    found = [f for f in findings(changed(withdraw), tmp_path) if f.path.endswith("water_md.units")]
    assert any(f.level == "warning" and f"no member has an answer ({state})" in f.message for f in found)
