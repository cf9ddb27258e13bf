"""The site in a real browser, with fifty models; and what it is on disk."""

import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from leaderboard.entry.schema import Entry
from leaderboard.entry.trust import record
from leaderboard.site.build import build
from leaderboard.site.literature import load_literature
from leaderboard.site.tables import COLUMNS
from tests.leaderboard.board import FIXTURE, put, real_entry, seal, varied

CHROMIUM = Path("/usr/bin/chromium")
MODELS = 50
HOSTILE = '<img src=x onerror="document.title=1">'


def partial(seed):
    """A model that ran four of the tasks."""
    return varied(seed, suite_tasks=["ethanol_accuracy", "ethanol_md", "ethanol_bond_scans", "water_accuracy"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    entries = folder / "entries"
    for seed in range(MODELS):
        raw = partial(seed) if seed == 7 else varied(seed)
        if seed == 5:
            raw["about"]["summary"] = HOSTILE
            raw["report"]["model"]["training_data"] = HOSTILE
            raw["report"]["tasks"]["ethanol_md"]["title"] = HOSTILE
            raw["report"]["tasks"]["ethanol_md"]["units"][0]["detail"] = [HOSTILE, "=1+1"]
            seal(raw)
        put(raw, entries, Entry.model_validate(raw).key)
    record(Entry.model_validate(varied(3)), "reproduced", ["3 units"], "the board", folder / "checks")
    build(folder / "out", entries=entries, suites=FIXTURE, checks=folder / "checks")
    return folder / "out"


def test_fifty_entries_stay_small(site):
    sizes = {p: p.stat().st_size for p in site.rglob("*") if p.is_file()}
    assert sum(sizes.values()) < 1_650_000
    assert len(list((site / "models").glob("*.html"))) == MODELS
    assert len(list((site / "tasks").glob("*.html"))) == 9


def test_nothing_is_loaded_from_elsewhere_and_every_link_leads_somewhere(site):
    class Links(HTMLParser):
        def handle_starttag(self, tag, attributes):
            for key, value in attributes:
                if key in ("href", "src") and value and not value.startswith("#"):
                    found.append((tag, value))

    for page in site.rglob("*.html"):
        found: list[tuple[str, str]] = []
        Links().feed(page.read_text())
        for tag, value in found:
            if value.startswith("https://"):
                assert tag == "a"
            else:
                assert (page.parent / value.split("#")[0]).exists(), (page.name, value)
    assert "http" not in (site / "site.js").read_text() + (site / "style.css").read_text()


def test_strings_of_strangers_are_escaped(site):
    text = "".join(p.read_text() for p in site.rglob("*.html"))
    assert "<img" not in text
    assert "&lt;img" in text


def test_tables_for_download_hold_every_metric(site):
    import csv

    import pyarrow.parquet as pq

    with (site / "leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    table = pq.read_table(site / "leaderboard.parquet")
    assert table.column_names == COLUMNS
    assert table.num_rows > 50 * 100
    assert len(rows) > 50 * 30
    mae = [r for r in rows if r["model"] == "model-01" and r["metric"] == "force_mae" and r["task"] == "water_accuracy"]
    assert float(mae[0]["value"]) == pytest.approx(
        varied(1)["report"]["tasks"]["water_accuracy"]["metrics"]["force_mae"]["value"], rel=1e-3
    )
    assert not [r for r in rows for v in r.values() if v.startswith(("=", "+", "@"))]


def test_an_empty_board_still_builds(tmp_path):
    site = build(tmp_path / "out", entries=tmp_path / "none", suites=FIXTURE)
    assert "No entries yet" in site.index.read_text()


def test_a_folder_that_is_no_site_is_not_replaced(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ValueError, match="not a site"):
        build(tmp_path, entries=tmp_path / "none", suites=FIXTURE)


def test_building_twice_gives_the_same_bytes(tmp_path):
    put(real_entry(), tmp_path / "entries")
    for name in "ab":
        build(tmp_path / name, entries=tmp_path / "entries", suites=FIXTURE)
    for one in (tmp_path / "a").rglob("*"):
        if one.is_file():
            assert one.read_bytes() == (tmp_path / "b" / one.relative_to(tmp_path / "a")).read_bytes()


def test_a_model_of_another_theory_is_ranked_where_none_is_needed(tmp_path):
    foreign = varied(1)
    foreign["report"]["models"] = {}
    foreign["report"]["model"] |= {"theory": "wB97X", "name": "foreign"}
    ethanol = varied(2, suite_tasks=["ethanol_accuracy", "ethanol_md", "ethanol_bond_scans"])
    for raw in (varied(0), seal(foreign), ethanol):
        put(raw, tmp_path / "entries", Entry.model_validate(raw).key)
    build(tmp_path / "out", entries=tmp_path / "entries", suites=FIXTURE)
    index = (tmp_path / "out" / "index.html").read_text()
    table = index.split('class="any"')[1]
    row = next(r for r in table.split("<tr>") if "model-01" in r)
    assert "wB97X" in row
    places = re.findall(r'q p"> ((?:joint )?\d+|[^<]*)', row)
    ranked = [p for p in places if re.match(r"(joint )?\d+", p)]
    assert len(ranked) == 3  # stable times of two molecules, a drift
    assert row.count("no better than no forces") == 2  # extrema and flips of bond scans
    assert "another theory than the data&#39;s" in row  # FSD
    assert "stable means a g(r) like that of the data&#39;s theory" in row  # the liquid
    assert "on 3 of 7" in index
    page = (tmp_path / "out" / "models" / "institute__model-01__1.html").read_text()
    assert "Not scored: the model was trained on another level of theory" in page
    assert "Not ranked" in page
    assert 'class="d t"' in (tmp_path / "out" / "plots.html").read_text()


def test_every_published_number_has_source_and_caveat_and_is_not_comparable():
    tables = load_literature()
    assert sum(len(t.values) for t in tables) > 20
    assert all(t.source and t.caveats and t.comparable is False for t in tables)


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM.exists() and not os.environ.get("CI"):
        pytest.skip("no /usr/bin/chromium: apt-get install chromium")
    if not os.environ.get("CI"):
        pytest.importorskip("playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        one = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield one
        one.close()


@pytest.fixture
def open_page(browser, site):
    """``open_page(path, **context)``; fails the test on any error or request outside the disk."""
    contexts, said = [], []

    def open_(path, **settings):
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda e: said.append(str(e)))
        page.on("console", lambda m: said.append(m.text) if m.type == "error" else None)
        page.on("request", lambda r: None if r.url.startswith("file:") else said.append(r.url))
        page.goto((site / path.split("#")[0]).as_uri() + ("#" + path.split("#")[1] if "#" in path else ""))
        return page

    yield open_
    for context in contexts:
        context.close()
    assert said == []


def shown(page, selector="tbody tr"):
    return [r for r in page.locator(f"{selector}").all() if r.is_visible()]


def column(page, index):
    return page.eval_on_selector_all(".board tbody tr", f"rows => rows.map(r => r.cells[{index}].dataset.v)")


def place(page, head):
    heads = page.eval_on_selector_all(".board thead th", "cells => cells.map(c => c.textContent.trim())")
    return next(k for k, text in enumerate(heads) if text.startswith(head))


def test_the_overview_sorts_by_mouse_and_keyboard(open_page):
    page = open_page("index.html")
    assert page.locator(".board tbody tr").count() == MODELS
    page.get_by_role("button", name="sort by Parameters").click()
    down = [float(v) for v in column(page, place(page, "Parameters"))]
    assert down == sorted(down, reverse=True)
    button = page.get_by_role("button", name="sort by Parameters")
    button.focus()
    page.keyboard.press("Enter")
    up = [float(v) for v in column(page, place(page, "Parameters"))]
    assert up == sorted(up)
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("Parameters")


def test_the_overview_filters(open_page):
    page = open_page("index.html")

    def count():
        return int(page.locator("#filter output").inner_text().split()[0])

    page.select_option("select[name=forces]", "d")
    direct = count()
    assert direct == sum(not seed % 4 for seed in range(MODELS))
    page.check("input[name=open]")
    assert count() < direct
    page.click("button[type=reset]")
    page.wait_for_function("document.querySelector('#filter output').textContent.startsWith('50')")
    page.fill("input[name=text]", "model-07")
    assert count() == 1
    page.fill("input[name=text]", "")
    page.select_option("select[name=size]", "100000")
    assert 0 < count() < MODELS
    page.select_option("select[name=suite]", "mini 1.0.0")
    page.select_option("select[name=system]", "water")
    heads = [h.get_attribute("data-task") for h in page.locator("th[data-task]").all() if h.is_visible()]
    assert heads == ["water_accuracy", "water_md"]


def test_weights_change_scores_and_come_back(open_page):
    page = open_page("index.html")
    first = page.locator(".board tbody tr").first.locator("td").nth(1).inner_text()
    before = column(page, 2)
    page.locator("details.weights summary").click()
    others = ("ethanol_accuracy", "ethanol_md", "ethanol_selective", "water_md", "water_accuracy", "alanine_accuracy")
    for task in others:
        page.fill(f".weights input[data-task={task}]", "0")
    score = [float(v) for v in column(page, 2)]
    assert score == pytest.approx(
        [float(v) for v in column(page, place(page, "ethanol bond scans"))], abs=1e-4
    )  # the bond scans alone are left
    page.click("button[type=reset]")
    page.wait_for_timeout(50)
    assert column(page, 2) == before
    assert page.locator(".board tbody tr").first.locator("td").nth(1).inner_text() == first


def test_partial_and_unranked_states_are_words_not_zeros(open_page):
    page = open_page("index.html")
    row = page.locator(".board tbody tr", has=page.get_by_role("link", name="model-07", exact=True))
    assert "on 4 of 7" in row.inner_text()
    assert row.inner_text().count("not run") == 5


def test_compare_shows_the_chosen_models_and_their_common_tasks(open_page):
    page = open_page("compare.html#institute__model-07__1,acme__model-03__1")
    heads = [h.inner_text() for h in page.locator("thead th").all() if h.is_visible()]
    assert sorted(heads[1:]) == ["model-03 1", "model-07 1"]
    assert "4 common tasks" in page.locator("#pick output").inner_text()
    page.locator("#pick select").nth(2).select_option(label="model-10 1")
    assert len([h for h in page.locator("thead th").all() if h.is_visible()]) == 4
    assert "model-10" in page.url


def test_pages_read_without_javascript(open_page):
    page = open_page("index.html", java_script_enabled=False)
    assert len(shown(page, ".board tbody tr")) == MODELS
    assert not page.locator("#filter").is_visible()
    assert len(shown(open_page("compare.html", java_script_enabled=False))) > 40
    assert open_page("models/acme__model-03__1.html", java_script_enabled=False).locator("svg").count() > 4


def test_a_phone_scrolls_tables_not_pages(open_page):
    for path in [
        "index.html",
        "compare.html",
        "literature.html",
        "models/acme__model-03__1.html",
        "tasks/mini-1.0.0__water_md.html",
    ]:
        page = open_page(path, viewport={"width": 360, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_and_the_button(open_page, scheme):
    page = open_page("index.html", color_scheme=scheme)

    def luminance(selector, prop):
        text = page.eval_on_selector(selector, f"e => getComputedStyle(e).{prop}")
        parts = [int(v) / 255 for v in re.findall(r"\d+", text)[:3]]
        lin = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * lin[0] + 0.7152 * lin[1] + 0.0722 * lin[2]

    def contrast(a, b):
        return (max(a, b) + 0.05) / (min(a, b) + 0.05)

    for expect in (scheme, "light" if scheme == "dark" else "dark"):
        back = luminance("body", "backgroundColor")
        assert (back > 0.5) == (expect == "light")
        for selector in ("body", ".q", "main a", ".b"):
            assert contrast(luminance(selector, "color"), back) >= 4.5, selector
        page.click("#theme")


def test_everything_is_reached_by_keyboard(open_page):
    page = open_page("index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    seen = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.name || document.activeElement.textContent.trim()"))
    assert {"Ranking", "text", "suite", "system", "forces", "open", "Reset"} <= seen


def test_badges_plots_and_the_model_page(open_page):
    page = open_page("index.html")
    assert page.locator(".b.reproduced").count() == 1
    page.locator(".board").get_by_role("link", name="model-03", exact=True).click()
    assert page.locator("h1").inner_text().startswith("model-03")
    assert page.locator(".b.reproduced").count() == 1
    plots = open_page("plots.html")
    assert plots.locator("svg.s").count() >= 5
    assert plots.locator("svg.s a").count() >= 5 * 49
    plots.locator("svg.s a").first.click()
    assert "/models/" in plots.url


def test_screenshots_for_people(open_page, tmp_path):
    """Written where FFBENCH_SCREENSHOTS says; looked at by whoever changes the pages."""
    folder = Path(os.environ.get("FFBENCH_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    shots = ("overview", "index.html", 1280), ("phone", "index.html", 390), ("plots", "plots.html", 1280)
    for name, path, width in shots:
        page = open_page(path, viewport={"width": width, "height": 900})
        page.screenshot(path=folder / f"{name}.png")
        assert (folder / f"{name}.png").stat().st_size > 5000
