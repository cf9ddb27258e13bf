"""One entry never stops the site, nor speaks for another: what cannot be drawn beside the rest, and badges."""

import pytest

from leaderboard.entry.schema import Entry
from leaderboard.entry.trust import level, record
from leaderboard.site import build as site
from tests.leaderboard.board import FIXTURE, command, put, real_entry, seal, varied


def test_an_entry_beside_which_the_others_cannot_be_drawn_is_set_aside(tmp_path, monkeypatch):
    """Drawn alone it is fine; in company the figures fail. The newest of those that could be meant is left out."""
    entries = [varied(k, suite_tasks=["ethanol_accuracy"]) for k in range(2)]
    entries[1]["report"]["created"] = "2099-01-01T00:00:00+00:00"
    for entry in entries:
        put(seal(entry), tmp_path / "entries", Entry.model_validate(entry).key)
    drawn = site.key_figures

    def fails_in_company(boards):
        if sum(len(b.rows) for b in boards) > 1:
            raise OverflowError("too large to draw")
        return drawn(boards)

    monkeypatch.setattr(site, "key_figures", fails_in_company)
    made = site.build(tmp_path / "site", entries=tmp_path / "entries", suites=FIXTURE)
    newest = Entry.model_validate(entries[1]).key
    assert made.aside == {newest: "cannot be drawn beside the others: OverflowError: too large to draw"}
    assert newest.split("/")[0].split("__")[1] in (tmp_path / "site" / "aside.html").read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["entries", "site"]  # nothing half done lies about


def test_a_build_that_fails_leaves_the_site_that_was_there(tmp_path, monkeypatch):
    put(varied(0, suite_tasks=["ethanol_accuracy"]), tmp_path / "entries", "ffbench__model-00/1/mini")
    site.build(tmp_path / "site", entries=tmp_path / "entries", suites=FIXTURE)
    before = (tmp_path / "site" / "index.html").read_text()

    def never(*args, **more):
        raise OSError("disk full")

    monkeypatch.setattr(site, "write_tables", never)
    monkeypatch.setattr(site, "_drawable", lambda loaded, *more: loaded)
    with pytest.raises(OSError, match="disk full"):
        site.build(tmp_path / "site", entries=tmp_path / "entries", suites=FIXTURE)
    assert (tmp_path / "site" / "index.html").read_text() == before


def test_a_badge_is_of_what_an_entry_holds_not_of_the_hash_it_states(tmp_path):
    """`leaderboard build` does not check: an edited entry that keeps its old hash must not keep the badge."""
    honest = Entry.model_validate(real_entry(curves=False))
    record(honest, "reproduced", ["3 units"], "the board", tmp_path)
    assert level(honest, tmp_path) == "reproduced"
    edited = honest.model_copy(update={"about": honest.about.model_copy(update={"summary": "better"})})
    assert edited.content_sha256 == honest.content_sha256
    assert level(edited, tmp_path) == "self-reported"


def test_submit_outside_a_checkout_of_the_board_says_so_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    report = tmp_path / "report.json"
    report.write_text(Entry.model_validate(real_entry(curves=False)).report.model_dump_json())
    assert command("submit", report, "--org", "my group") == 2
    said = capsys.readouterr().err
    assert "--entries: no folder leaderboard/entries here; run this in a checkout of the board" in said
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]
    command("submit", report, "--org", "my group", "--entries", "mine")
    assert (tmp_path / "mine/my-group__painn/1/mini.json").is_file()
    assert "Entry: mine/my-group__painn/1/mini.json" in capsys.readouterr().out
