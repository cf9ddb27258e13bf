"""The tutorials are true: in a fresh folder their files are written, their Python runs and their commands answer."""

import io
import json
import re
from contextlib import redirect_stdout

import pytest

from ffbench_eval.cli import main
from leaderboard.check.strict_json import read
from leaderboard.entry.schema import ENTRIES, LIMIT
from tests.conftest import ROOT

TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
BLOCK = re.compile(r"```(\w+)\n(.*?)```", flags=re.DOTALL)
NAMED = re.compile(r"# (\S+\.(?:py|yaml))\n")


def finished_run(folder):
    """A report of mini, as a run of four minutes leaves it: that of an entry."""
    entry = read(ENTRIES / "ffbench__painn" / "1" / "mini.json", LIMIT)
    (folder / "runs" / "mine").mkdir(parents=True)
    (folder / "runs" / "mine" / "report.json").write_text(json.dumps(entry["report"]))


BEFORE = {"submit": finished_run}


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_every_block_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("FFBENCH_DATA", str(tmp_path / "data"))
    BEFORE.get(path.stem, lambda folder: None)(tmp_path)
    names = {"__name__": "__main__"}
    ran = 0
    for language, text in BLOCK.findall(path.read_text(encoding="utf-8")):
        named = NAMED.match(text)
        if named:
            (tmp_path / named[1]).write_text(text)
        elif language == "python":
            exec(compile(text, str(path), "exec"), names)
            ran += 1
        elif language == "bash":
            for line in text.splitlines():
                said = io.StringIO()
                with redirect_stdout(said), pytest.raises(SystemExit) as stop:
                    main(line.split()[1:])
                assert stop.value.code in (0, None), f"{line}: {said.getvalue()[-500:]}"
                ran += 1
    assert ran >= 2


def test_there_is_a_tutorial_of_every_door():
    assert {p.stem for p in TUTORIALS} == {"own_model", "own_data", "train", "submit", "contribute"}
    text = (ROOT / "docs" / "tutorials" / "contribute.md").read_text()
    assert all(f"## A {what}" in text for what in ("task", "kind", "family", "data set"))
