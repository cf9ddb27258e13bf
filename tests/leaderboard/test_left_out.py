"""What an entry leaves out never helps it: values of members that ended ok, checks, members, blocks, sources."""

import copy

import numpy as np
import pytest

from leaderboard.check.members import elements_of, left_out
from leaderboard.check.recompute import task_faults
from leaderboard.entry.schema import Entry
from leaderboard.site.front import checks
from leaderboard.site.pairs import places
from leaderboard.site.scoring import card_for, score_task
from tests.leaderboard.edited import edited, findings, lock_of, null, of_board, on_board, said
from tests.leaderboard.test_scoring import CARD, locked, metric, task

PHYSICS = "ffbench__transformer_direct/1/physicality"
DIMERS = "ffbench__chgnet/0.3.0/diatomics"
SCANS = "ffbench__so3lr/0.2.1/bsct"


def share(entry) -> float:
    board, rows = on_board(entry)
    found = checks(board, rows[Entry.model_validate(entry).key])
    return 0.0 if found is None else float(found.sort)


def metrics_of(entry, name):
    return entry["report"]["tasks"][name]["metrics"]


def keep_the_best_structure(entry):
    for m in metrics_of(entry, "ethanol_physicality").values():
        known_values = [v for v in m["values"] if v is not None]
        if len(m["values"]) == 8 and known_values:
            m["values"] = [v if v == min(known_values) else None for v in m["values"]]


def no_optional_checks(entry):
    for name in ("cutoff_energy_jump", "cutoff_force_jump", "far_atom_force_change", "precision_error"):
        null(metrics_of(entry, "ethanol_physicality")[name])


def one_structure_failed(entry):
    """So that the run was no clean one; what does not hold is taken out."""
    task = entry["report"]["tasks"]["ethanol_physicality"]
    task["units"][0]["status"] = ["model_error"]
    for m in task["metrics"].values():
        if len(m["values"]) == 8 and (m["value"] or 0) > 1e-3:
            null(m)


def only_dimers(entry):
    task = entry["report"]["tasks"]["ethanol_physicality"]
    for unit in task["units"][:8]:
        unit["status"] = ["unsupported"]
    for m in task["metrics"].values():
        if len(m["values"]) == 8:
            null(m)


def checks_of_another_task(entry):
    """Water is asked too, and says of itself what is easy; no run has fixed what that task gives."""
    lock = lock_of(entry).tasks["water_physicality"]
    easy = copy.deepcopy(entry["report"]["tasks"]["ethanol_physicality"])
    easy["metrics"] = {k: m for k, m in easy["metrics"].items() if k in ("net_force", "permutation_force_error")}
    easy |= {"title": lock.title, "parameters": lock.parameters, "dataset": lock.dataset.model_dump(exclude={"theory"})}
    easy["units"] = easy["units"][:8]
    entry["report"]["tasks"]["water_physicality"] = easy


@pytest.mark.parametrize(
    "change",
    [keep_the_best_structure, no_optional_checks, one_structure_failed, only_dimers, checks_of_another_task],
)
def test_no_more_checks_hold_when_some_are_left_out(change):
    assert share(edited(PHYSICS, change)) <= share(of_board(PHYSICS))


def test_values_of_structures_that_ended_ok_are_missed(tmp_path):
    found = said(edited(PHYSICS, keep_the_best_structure), tmp_path)
    assert any("jacobian_asymmetry.values 7 values are missing of members that ended ok" in f for f in found)


def test_a_model_without_a_cutoff_need_not_cross_it():
    """GFN2-xTB states none and runs in double precision: four checks of 23 cannot be asked, and do not count."""
    entry = of_board("ffbench__gfn2/gfn2-xtb-tblite-accuracy-0.01/physicality")
    asked = [m for m in metrics_of(entry, "ethanol_physicality").values() if m["value"] is not None]
    assert len(asked) == 19
    board, rows = on_board(entry)
    (row,) = rows.values()
    assert checks(board, row).text.endswith(" of 19")
    with_cutoff = edited(Entry.model_validate(entry).key, lambda e: e["report"]["model"].update(cutoff_angstrom=5.0))
    board, rows = on_board(with_cutoff)
    (row,) = rows.values()
    assert checks(board, row).text.endswith(" of 22")


def a_dimer_less(entry):
    for t in entry["report"]["tasks"].values():
        t["units"][0]["status"].pop(0)
        for m in t["metrics"].values():
            m["values"].pop(0)


def easy_dimers(entry):
    """The sixty with the largest jumps are said to be of elements that the model does not know."""
    for t in entry["report"]["tasks"].values():
        jumps = t["metrics"]["dimer_force_jump"]["values"]
        hard = set(sorted(range(len(jumps)), key=lambda k: -(jumps[k] or 0.0))[:60])
        states = [(u, i) for u in t["units"] for i in range(len(u["status"]))]
        for k in hard:
            unit, i = states[k]
            unit["status"][i] = "unsupported"
        for m in t["metrics"].values():
            m["values"] = [None if k in hard else v for k, v in enumerate(m["values"])]


def smooth_dimers(entry):
    for t in entry["report"]["tasks"].values():
        for name, m in t["metrics"].items():
            if name.startswith("dimer_force_jump"):
                best = sorted(v for v in m["values"] if v is not None)[:40]
                m["values"] = [v if v in best else None for v in m["values"]]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (a_dimer_less, "hold 86 members, the task has 87"),
        (easy_dimers, "is unsupported, the elements of the model's card hold its own"),
        (smooth_dimers, "values are missing of members that ended ok"),
    ],
)
def test_dimers_are_those_of_the_task(change, word, tmp_path):
    assert any(word in f for f in said(edited(DIMERS, change), tmp_path))


def test_models_with_other_numbers_of_dimers_can_stand_beside_each_other():
    """One too few once stopped the whole site."""
    lock = locked("diatomics", members=3, dimer_force_mae=2.0, dimer_force_jump={"n": 3})
    rows = {
        name: (
            task("diatomics", ("ok",) * n, dimer_force_jump=metric([0.1] * n), dimer_force_mae=metric([0.5] * n)),
            CARD,
        )
        for name, n in (("whole", 3), ("less", 2))
    }
    found = places("t", "dimer_force_jump", lock, rows)
    assert found["whole"].rank == 1
    assert (found["less"].rank, found["less"].why) == (None, "other members than the task's")


def test_a_flat_curve_has_no_tortuosity_and_is_honest(tmp_path):
    """A model of zero forces: what is not defined for it is worth a look, and gives it no place."""

    def flat(entry):
        for t in entry["report"]["tasks"].values():
            null(t["metrics"]["dimer_tortuosity"])
            t["metrics"]["dimer_wall_error"]["values"][3:9] = [None] * 6

    entry = edited(DIMERS, flat)
    assert said(entry, tmp_path) == []
    board, _ = on_board(entry)
    assert "dimer_tortuosity" not in {c.metric for c in board.columns if c.places}


def scans_with(name, change):
    """The bond scans of SO3LR, 26 of which hold elements it does not know, after ``change(values)``."""
    scans = Entry.model_validate(of_board(SCANS)).report.tasks["bsct_spice"]
    values = list(scans.metrics[name].values)
    change(values)
    kept = [v for v in values if v is not None]
    m = scans.metrics[name].model_copy(update={"values": values, "n": len(kept), "value": float(np.mean(kept))})
    return scans.model_copy(update={"metrics": scans.metrics | {name: m}})


def only_smooth(values):
    values[:] = [None if v else v for v in values]


def moved(values):
    """Pairs of models are compared scan by scan: values moved to other scans would meet easier rivals."""
    k = next(k for k, v in enumerate(values) if v is None)
    values[k], values[k - 1] = values[k - 1], None


@pytest.mark.parametrize("name", ["sign_flips", "spurious_extrema"])
@pytest.mark.parametrize("change", [only_smooth, moved])
def test_every_scan_that_ended_ok_has_its_value_at_its_own_place(name, change):
    faults = [where for where, _ in task_faults(scans_with(name, change))]
    assert faults == [f".metrics.{name}.values"]
    assert list(task_faults(scans_with(name, lambda values: None))) == []


def test_scans_left_out_cost_the_place():
    lock = lock_of(of_board(SCANS)).tasks["bsct_spice"]
    found = places("t", "sign_flips", lock, {"all": (scans_with("sign_flips", lambda values: None), CARD)})
    assert found["all"].rank == 1
    found = places("t", "sign_flips", lock, {"some": (scans_with("sign_flips", only_smooth), CARD)})
    assert (found["some"].rank, found["some"].why) == (None, "values left out")


def test_which_way_is_better_is_the_kinds():
    """An entry that calls many extrema better is ranked by few all the same."""
    rows = {
        name: (task("bsct", spurious_extrema=metric(values, better=better), scan_force_mae=metric([0.1] * 8)), CARD)
        for name, values, better in (("smooth", [0.0] * 8, "lower"), ("rough", [5.0, 6.0] * 4, "higher"))
    }
    lock = locked("bsct", members=8, molecules=["CH4"] * 8, scan_force_mae=1.0, spurious_extrema={"n": 8})
    for order in (list(rows), list(rows)[::-1]):
        found = places("t", "spurious_extrema", lock, {k: rows[k] for k in order})
        assert (found["smooth"].rank, found["rough"].rank) == (1, 2)


def test_no_forces_at_all_have_no_jumps_and_no_place():
    """Nor has a number of which neither less nor more is better."""
    lock = locked("diatomics", members=3, dimer_force_mae=2.0, dimer_force_jump={"n": 3}, dimer_energy_flips={"n": 3})
    rows = {
        name: (task("diatomics", dimer_force_jump=metric(jump), dimer_force_mae=metric(error),
                    dimer_energy_flips=metric([1.0, 1.0, 2.0], better="neither")), CARD)
        for name, jump, error in (("zero", [0.0] * 3, [2.0] * 3), ("model", [0.3, 0.2, 0.4], [0.4, 0.6, 0.5]))
    }  # fmt: skip
    found = places("t", "dimer_force_jump", lock, rows)
    assert (found["zero"].rank, found["zero"].why) == (None, "no better than no forces")
    assert found["model"].rank == 1
    assert [p.rank for p in places("t", "dimer_energy_flips", lock, rows).values()] == [None, None]


@pytest.mark.parametrize("frames", [40, 200, 1000])
def test_a_block_of_frames_left_out_does_not_raise_a_score(frames):
    """One frame is said to be lost, and with it the worst block: the mean of the others must not stand for all."""
    count = max(2, frames // 20)
    rng = np.random.default_rng(frames)
    lock = locked("accuracy", force_mae={"trivial": 1.0, "n": frames, "floor": None})
    for worst in (0.4, 0.9, 5.0):
        values = [*rng.uniform(0.1, 0.3, count - 1), worst]
        whole = task("accuracy", force_mae=metric(values) | {"n": frames})
        less = task("accuracy", ("ok", "model_error"), force_mae=metric(values[:-1]) | {"n": frames - 1})
        assert score_task("t", less, lock, CARD).value <= score_task("t", whole, lock, CARD).value + 1e-12


SELECTIVE = "ffbench__mace/1/mini"


@pytest.mark.parametrize("domains", [("calibration",), ("calibration", "test", "bond_scans")])
def test_the_source_that_was_best_on_the_calibration_part_cannot_be_dropped(domains, tmp_path):
    """Another one is better on the test part, and would stand for the model: 0.17 in place of 0.09."""
    from ffbench_eval.kinds.selective.headline import best

    lead = of_board(SELECTIVE)["report"]["tasks"]["ethanol_selective"]["headline"]

    def drop(entry):
        t = entry["report"]["tasks"]["ethanol_selective"]
        for name in [n for n in t["metrics"] if n.split(".")[2:3] == [lead] and n.split(".")[1] in domains]:
            del t["metrics"][name]
        kept = {n.split(".")[2]: m["value"] for n, m in t["metrics"].items() if n.startswith("augrc.calibration.")}
        t["headline"] = best(kept)

    assert any(f"augrc.calibration.{lead} is missing" in f for f in said(edited(SELECTIVE, drop), tmp_path))


def test_what_is_left_out_is_counted_beyond_what_a_clean_run_lacks():
    lock = locked("diatomics", members=6, dimer_force_jump={"n": 6}, dimer_wall_error={"n": 4})
    values = [1.0, None, 2.0, None, 3.0, None]
    for states, missing in ((("ok",) * 6, (3, 1)), (("ok",) * 4 + ("unsupported",) * 2, (1, 0))):
        t = task("diatomics", states, dimer_force_jump=metric(values), dimer_wall_error=metric(values))
        assert (left_out("dimer_force_jump", t, lock), left_out("dimer_wall_error", t, lock)) == missing


def test_elements_of_what_locks_name():
    assert elements_of("C-C") == {6}
    assert elements_of("Cl") == {17}
    assert elements_of("060608010101") == {1, 6, 8}  # the bytes of ethanol's atomic numbers
    assert elements_of("H4O2") == elements_of("benzene") == elements_of("Xx-Xx") == set()


def test_dimers_said_to_be_of_unknown_elements_are_looked_up_on_the_card(tmp_path):
    def drop(entry):
        t = entry["report"]["tasks"]["ethanol_physicality"]
        k = t["parameters"]["dimers"].index("O")
        t["units"][8]["status"][k] = "unsupported"
        for name, m in t["metrics"].items():
            if name.startswith("dimer_"):
                m["values"][k] = None

    found = said(edited(PHYSICS, drop), tmp_path)
    assert any("is unsupported, the elements of the model's card hold its own" in f for f in found)


def test_warnings_say_what_has_no_place(tmp_path):
    def flat(entry):
        for t in entry["report"]["tasks"].values():
            t["metrics"]["dimer_tortuosity"]["values"][0] = None

    found = findings(edited(DIMERS, flat), tmp_path)
    assert [f.level for f in found if "1 values are missing" in f.message] == ["warning"] * 2
    entry = Entry.model_validate(of_board(DIMERS))
    lock = lock_of(of_board(DIMERS)).tasks["dimers_pbe"]
    assert left_out("dimer_tortuosity", entry.report.tasks["dimers_pbe"], lock) == 0
    assert card_for(entry.report, lock.dataset.name, lock.dataset.config).elements
