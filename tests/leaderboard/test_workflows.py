"""The workflows' own commands, run here on folders; and the whole script of the check on two checkouts of git."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from leaderboard.site.build import build
from tests.conftest import ROOT
from tests.leaderboard.board import FIXTURE, put, real_entry, seal, varied

PLACE = "leaderboard/entries"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.fixture
def checkouts(tmp_path):
    """A base with this repository's board code and one entry, and a head to change."""
    base, head = tmp_path / "base", tmp_path / "head"
    for part in ("ffbench_eval", "ffbench_data", "ffbench_metrics", "leaderboard"):
        shutil.copytree(
            ROOT / part, base / part, ignore=shutil.ignore_patterns("entries", "checks", "embedded", "__pycache__")
        )
    shutil.copyfile(FIXTURE / "mini-1.0.0.json", base / "leaderboard" / "suites" / "mini-1.0.0.json")
    put(real_entry(), base / PLACE)
    shutil.copytree(base / PLACE, head / PLACE)
    return base, head


def run_check(base, head, changed, lifted="false"):
    """The last line of the workflow's script, with the workflow's own arguments."""
    (base.parent / "changed.txt").write_text("\0".join(changed))
    command = [sys.executable, "-m", "leaderboard.ci_check", ".", "../head", "../changed.txt", lifted]
    return subprocess.run(command, cwd=base, capture_output=True, text=True)


def test_a_good_entry_passes_and_shows_in_the_ranking(checkouts):
    base, head = checkouts
    put(varied(1), head / PLACE, "institute__model-01/1/mini")
    done = run_check(base, head, [f"{PLACE}/institute__model-01/1/mini.json"])
    assert done.returncode == 0, done.stderr
    assert "0 errors" in done.stdout
    assert "**institute model-01 1**" in done.stdout
    assert "| new |" in done.stdout
    assert "ffbench painn 1" in done.stdout


def test_a_forged_removed_or_misplaced_entry_fails(checkouts):
    base, head = checkouts
    forged = varied(1)
    forged["report"]["tasks"]["ethanol_accuracy"]["metrics"]["force_mae"]["value"] = 1e-4
    put(seal(forged), head / PLACE, "institute__model-01/1/mini")
    put(real_entry(), head / PLACE, "wrong/mini")
    (head / PLACE / "ffbench__painn/1/mini.json").unlink()
    changed = ["institute__model-01/1/mini.json", "wrong/mini.json", "ffbench__painn/1/mini.json"]
    done = run_check(base, head, [f"{PLACE}/{name}" for name in changed] + ["leaderboard/checks/a__b/1/mini.json"])
    assert done.returncode == 1
    for said in ("its values give", "lies at no place of an entry", "was removed", "written by maintainers"):
        assert said in done.stdout


@pytest.mark.parametrize("change", ["the entry", "its card", "the card removed"])
def test_what_is_on_the_board_stays_as_it_is_unless_a_maintainer_says_so(checkouts, change):
    base, head = checkouts
    for side in (base, head):
        (side / PLACE / "ffbench__painn/1/card.md").write_text("# mine")
    path = f"{PLACE}/ffbench__painn/1/{'mini.json' if change == 'the entry' else 'card.md'}"
    if change == "the entry":
        newer = real_entry()
        newer["report"]["created"] = "2026-11-21T12:00:00+00:00"
        put(seal(newer), head / PLACE)
    elif change == "its card":
        (head / path).write_text("# yours")
    else:
        (head / path).unlink()
    done = run_check(base, head, [path])
    assert done.returncode == 1
    assert "an entry or card of the board was" in done.stdout
    lifted = run_check(base, head, [path], "true")
    assert lifted.returncode == 0, lifted.stdout


def test_two_equal_entries_in_one_pull_request_are_found(checkouts):
    base, head = checkouts
    names = []
    for name in ("model-a", "model-b"):
        entry = varied(3) | {"model": name, "org": "acme"}
        put(seal(entry), head / PLACE, f"acme__{name}/1/mini")
        names.append(f"{PLACE}/acme__{name}/1/mini.json")
    done = run_check(base, head, names)
    assert done.returncode == 1
    assert "is the same report as" in done.stdout


@pytest.mark.parametrize(
    "edit",
    [
        lambda e: e["report"]["environment"].update(kernel_s=1e300),
        lambda e: e["report"]["environment"].update(kernel_s=1e-300),
        lambda e: [u.update(wall_s=1e308) for u in e["report"]["tasks"]["ethanol_md"]["units"]],
        lambda e: [u.update(wall_s=1e-300) for u in e["report"]["tasks"]["ethanol_md"]["units"]],
        lambda e: curve(e).update(series={"model": [1e308 * (-1) ** k for k in range(len(curve(e)["x"]))]}),
        lambda e: curve(e).update(x=[1e308 * (-1) ** k for k in range(len(curve(e)["x"]))]),
        lambda e: e["report"]["tasks"]["ethanol_selective"]["metrics"]["ece.test.linear_probe"].update(
            interval=[-1.7e308, 1.7e308]
        ),
        lambda e: e["report"]["tasks"]["ethanol_selective"]["metrics"]["prevalence.test"].update(n=10**29),
    ],
)
def test_what_passes_the_job_cannot_stop_the_site(checkouts, tmp_path, edit):
    """Either the job refuses it, or the site is built with it: from the same files, as main will have them."""
    base, head = checkouts
    entry = varied(1)
    edit(entry)
    key = "institute__model-01/1/mini"
    put(seal(entry), head / PLACE, key)
    done = run_check(base, head, [f"{PLACE}/{key}.json"])
    site = build(tmp_path / "out", entries=head / PLACE, suites=base / "leaderboard" / "suites")
    assert "painn" in site.index.read_text()
    assert done.returncode == 1 or not site.aside
    if site.aside:
        assert key in (tmp_path / "out" / "aside.html").read_text()


def curve(entry):
    return entry["report"]["tasks"]["ethanol_md"]["curves"]["distance_histogram"]


def test_an_entry_that_cannot_be_read_is_set_aside_by_name(tmp_path):
    put(real_entry(), tmp_path / "entries")
    put("{", tmp_path / "entries", "acme__broken/1/mini")
    site = build(tmp_path / "out", entries=tmp_path / "entries", suites=FIXTURE)
    assert list(site.aside) == ["acme__broken/1/mini"]
    assert "acme__broken/1/mini" in (tmp_path / "out" / "aside.html").read_text()
    assert "set aside" in site.index.read_text()


def test_actions_are_pinned_by_hash():
    for path in WORKFLOWS:
        used = re.findall(r"uses:\s*(\S+)", path.read_text())
        assert used, path.name
        assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", u) for u in used), path.name


def test_the_whole_script_finds_every_changed_file_whatever_its_name(checkouts, tmp_path):
    _, head = checkouts

    def git(*arguments):
        command = ["git", "-C", head, "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit():
        git("add", "-A")
        git("commit", "-q", "-m", "entries")
        return git("rev-parse", "HEAD")

    git("init", "-q")
    before = commit()
    odd = ("institute__modèl", 'institute__"model"', "institute__model\n")
    for k, name in enumerate(("institute__model-01", *odd)):
        put(varied(k + 1), head / PLACE, f"{name}/1/mini")
    given = {"BASE": before, "HEAD": commit(), "LIFTED": "false", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
    given["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    script = yaml.safe_load((ROOT / ".github" / "workflows" / "entries.yml").read_text())["jobs"]["validate"]["steps"]
    done = subprocess.run(
        ["bash", "-e", "-c", script[-1]["run"]], cwd=tmp_path, capture_output=True, text=True, env=os.environ | given
    )
    assert done.returncode == 1, done.stderr
    summary = (tmp_path / "summary.md").read_text()
    assert summary.count("lies at no place of an entry") == len(odd)
    assert "**institute model-01 1**" in summary


def test_code_and_links_of_the_head_are_never_followed(checkouts, tmp_path):
    base, head = checkouts
    marker = tmp_path / "ran"
    evil = f"open({str(marker)!r}, 'w')\n"
    for place in ("leaderboard/__init__.py", "leaderboard/ci_check.py", "sitecustomize.py"):
        (head / place).parent.mkdir(parents=True, exist_ok=True)
        (head / place).write_text(evil)
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    link = head / PLACE / "a__b/1/mini.json"
    link.parent.mkdir(parents=True)
    link.symlink_to(secret)
    (head / PLACE / "c__d").symlink_to(base / PLACE / "ffbench__painn")
    paths = [f"{PLACE}/a__b/1/mini.json", f"{PLACE}/c__d/1/mini.json", "leaderboard/ci_check.py"]
    done = run_check(base, head, paths)
    assert done.returncode == 1
    assert done.stdout.count("is a link or lies behind one") == 2
    assert "1 changed files lie outside" in done.stdout
    assert not marker.exists()


def test_strings_of_a_stranger_stay_text_in_the_summary(checkouts):
    base, head = checkouts
    odd = varied(2)
    odd["about"]["summary"] = "x"
    odd["report"]["tasks"] = {"| <img src=x> [a](b) @all": odd["report"]["tasks"]["ethanol_md"]}
    put(seal(odd), head / PLACE, "ffbench__model-02/1/mini")
    done = run_check(base, head, [f"{PLACE}/ffbench__model-02/1/mini.json"])
    assert done.returncode == 1
    assert "<img" not in done.stdout
    assert "@all" not in done.stdout
    assert "](b)" not in done.stdout


def test_the_site_builds_from_the_committed_entries(tmp_path):
    command = [sys.executable, "-m", "leaderboard.ci_build", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "index.html").exists()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.name)
def test_workflows_hold_no_secrets_and_run_no_code_of_a_pull_request(path):
    text = path.read_text()
    flow = yaml.safe_load(text)
    assert "secrets." not in text
    assert "pull_request_target" not in text
    assert flow["permissions"] == {"contents": "read"}
    for job in flow["jobs"].values():
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), "values of a pull request go through the environment"
            assert "head" not in step.get("working-directory", "")
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False


def test_the_workflow_calls_what_these_tests_call():
    flow = yaml.safe_load((ROOT / ".github" / "workflows" / "entries.yml").read_text())
    script = flow["jobs"]["validate"]["steps"][-1]["run"]
    assert 'python -m leaderboard.ci_check . ../head ../changed.txt "$LIFTED"' in script
    assert "cd base" in script


def test_errors_stand_before_the_warnings_of_a_summary():
    """A hundred rows are shown; an error behind 150 warnings is the first of them."""
    from leaderboard.check.check import Finding
    from leaderboard.check.pull_request import summary

    found = [Finding("warning", "a.json", f"$.w{k}", "odd", "look") for k in range(150)]
    text = summary([*found, Finding("error", "a.json", "$.value", "is forged", "run again")], {}, {}, [])
    rows = [line for line in text.splitlines() if line.startswith("| error") or line.startswith("| warning")]
    assert rows[0].startswith("| error")
    assert len(rows) == 100
    assert "1 errors, 150 warnings" in text
