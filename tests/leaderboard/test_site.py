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
UNIVERSAL = 8  # of them, one model for everything
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
        if seed >= MODELS - UNIVERSAL:
            raw["report"]["models"] = {}
            raw["report"]["model"] |= {"theory": "PBE0", "training_data": "Everything: a long list " * 9}
            seal(raw)
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
    assert sum(sizes.values()) < 1_900_000
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
    assert "<img src=x" not in text
    assert "&lt;img src=x" in text


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
    index = (tmp_path / "out" / "suites" / "mini-1.0.0.html").read_text()
    table = index.split('class="any"')[1]
    row = next(r for r in table.split("<tr>") if "model-01" in r)
    assert "wB97X" in row
    ranked = re.findall(r'class="p">(?:(?:joint )?\d+\w\w of|alone)', row)
    assert len(ranked) == 3  # stable times of two molecules, a drift
    assert row.count("no better than no forces") == 2  # extrema and flips of bond scans
    assert "another theory than the data&#39;s" in row  # FSD
    assert "stable means a g(r) like that of the data&#39;s theory" in row  # the liquid
    assert "3 of 7 tasks" in index
    page = (tmp_path / "out" / "models" / "institute__model-01__1.html").read_text()
    assert "Not scored: the model was trained on another level of theory" in page
    assert "Not ranked" in page
    plots = (tmp_path / "out" / "plots.html").read_text()
    assert 'class="d t"' in plots


def test_every_published_number_has_source_and_caveat_and_is_not_comparable():
    tables = load_literature()
    assert sum(len(t.values) for t in tables) > 20
    assert all(t.source and t.caveats and t.comparable is False for t in tables)


def test_papers_and_code_stand_beside_every_published_model():
    from leaderboard.site.data import load_entries
    from leaderboard.site.links import links
    from reference_models.providers import published

    ours = published()
    for entry in load_entries():
        if entry.org == "ffbench" and entry.model in ours:
            found = dict(links(entry))
            assert "code" in found, entry.key
            assert all(address.startswith("https://") for address in found.values())
    raw = real_entry()
    raw["about"]["paper"] = "https://example.org/mine"
    assert dict(links(Entry.model_validate(raw)))["paper"] == "https://example.org/mine"  # an entry's own comes first
    raw["org"] = "acme"
    raw["about"]["paper"] = ""
    assert links(Entry.model_validate(raw)) == []  # the name of somebody else's model says nothing


def test_every_shipped_data_set_of_a_lock_has_a_picture():
    from ffbench_data import load_frames
    from ffbench_data.load import NotBuilt
    from leaderboard.check.lock import all_locks
    from leaderboard.site.portraits import drawing, picture

    used = {(t.dataset.name, t.dataset.config, t.dataset.split) for lock in all_locks() for t in lock.tasks.values()}
    seen = 0
    for name, config, split in sorted(used):
        try:
            load_frames(name, config, split=split)
        except (NotBuilt, ValueError, OSError):
            continue
        assert picture(name, config).is_file(), f"{name}:{config}: python -m leaderboard.site.portraits"
        seen += 1
    assert seen > 20
    import numpy as np

    water = drawing(np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0.0]]), np.array([8, 1, 1]), None, "water")
    assert water.count("<circle") == 3
    assert re.search(r'<path d="M\d+ \d+L\d+ \d+M\d+ \d+L\d+ \d+" ', water)  # two bonds, none between hydrogens


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


SUITE = "suites/mini-1.0.0.html"
ROWS = "tbody tr:not(.g)"


def shown(page, selector=ROWS):
    return [r for r in page.locator(selector).all() if r.is_visible()]


def column(page, table, head):
    """What a column sorts by, as numbers; missing ones last."""
    heads = page.eval_on_selector_all(f"{table} thead .h", "cells => cells.map(c => c.textContent.trim())")
    index = heads.index(head)
    texts = page.eval_on_selector_all(f"{table} {ROWS}", f"rows => rows.map(r => r.cells[{index}].dataset.v)")
    return [float(t) for t in texts if t]


def test_the_overview_sorts_by_mouse_and_keyboard(open_page):
    page = open_page("index.html")
    assert page.locator(f".front {ROWS}").count() == MODELS
    table = "section.models:nth-of-type(2) .front"
    assert page.locator(f"{table} .g").first.is_visible()
    button = page.locator(table).get_by_role("button", name="sort by size")
    page.locator(f"{table} th", has=page.get_by_role("button", name="sort by size")).click(
        position={"x": 3, "y": 3}
    )  # anywhere in the head
    down = column(page, table, "size")
    assert len(down) == MODELS - UNIVERSAL
    assert down == sorted(down, reverse=True)
    assert not page.locator(f"{table} .g").first.is_visible()  # headings hold for the first order alone
    button.focus()
    page.keyboard.press("Enter")
    up = column(page, table, "size")
    assert up == sorted(up)
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("size")


def test_one_model_for_everything_stands_apart_from_families_trained_here(open_page):
    page = open_page("index.html")
    first, second = (page.locator("section.models").nth(k) for k in (0, 1))
    assert first.locator(ROWS).count() == UNIVERSAL
    assert second.locator(ROWS).count() == MODELS - UNIVERSAL
    heads = [h.inner_text() for h in first.locator("thead .h").all() if h.is_visible()]
    assert heads[0] == "Model"
    assert {"stability", "smoothness", "speed"} <= set(heads[1:4])  # what holds for every model
    assert "mini" not in heads  # which scores models of the data's theory alone


def test_columns_can_be_chosen_and_are_remembered(open_page):
    page = open_page("index.html")
    details = page.locator("details.columns").first
    details.locator("summary").click()
    box = details.get_by_label("energy drift")
    assert not box.is_checked()
    assert page.locator("section.models").first.locator("th[data-c*='energy drift']").is_hidden()
    box.check()
    page.reload()
    table = page.locator("section.models").first
    assert table.locator("th[data-c*='energy drift']").is_visible()
    cells = table.locator(f"{ROWS} td").all()
    assert sum(c.is_visible() for c in cells) == UNIVERSAL * (
        sum(h.is_visible() for h in table.locator("thead th").all()) - 1
    )


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
    assert len([g for g in page.locator(".front .g").all() if g.is_visible()]) == 1  # that of the one model
    page.fill("input[name=text]", "")
    page.select_option("select[name=size]", "100000")
    assert 0 < count() < MODELS
    page = open_page(SUITE)
    page.select_option("select[name=system]", "water")
    heads = [h.get_attribute("data-task") for h in page.locator("th[data-task]").all() if h.is_visible()]
    assert heads == ["water_accuracy", "water_md"]


def test_weights_change_scores_and_come_back(open_page):
    page = open_page(SUITE)
    first = page.locator(f".board {ROWS}").first.inner_text()
    before = column(page, ".board", "Score")
    page.locator("details.weights summary").click()
    others = ("ethanol_accuracy", "ethanol_md", "ethanol_selective", "water_md", "water_accuracy", "alanine_accuracy")
    for task in others:
        page.fill(f".weights input[data-task={task}]", "0")
    scans = page.eval_on_selector_all(
        f".board {ROWS}",
        "rows => rows.map(r => [1, 5].map(k => r.cells[k].dataset.v))",
    )
    assert len([a for a, _ in scans if a]) == MODELS - UNIVERSAL
    assert all(float(a) == pytest.approx(float(b), abs=1e-4) for a, b in scans if a)  # the bond scans alone are left
    assert not page.locator(".board .g").first.is_visible()
    page.click("button[type=reset]")
    page.wait_for_timeout(50)
    assert column(page, ".board", "Score") == before
    assert page.locator(f".board {ROWS}").first.inner_text() == first
    assert page.locator(".board .g").first.is_visible()


def test_partial_and_unranked_states_are_words_not_zeros(open_page):
    page = open_page(SUITE)
    row = page.locator(f".board {ROWS}", has=page.get_by_role("link", name="model-07", exact=True))
    assert row.inner_text().count("not run") == 5
    headings = [g.inner_text() for g in page.locator(".board .g").all()]
    assert "4 of 7 tasks" in headings
    other = page.locator(f".board {ROWS}", has=page.get_by_role("link", name="model-49", exact=True))
    assert "other theory" in other.inner_text()
    assert "no counted task has a score" in other.inner_text()


def test_no_place_is_a_superscript(site):
    """A raised digit beside a number reads as an exponent: `<sup>` is for powers of ten alone."""
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert text.count("<sup>") == len(re.findall(r"× 10<sup>−?\d+</sup>", text)), page.name


def test_task_pages_are_ordered_by_value_and_say_what_is_asked(open_page):
    page = open_page("tasks/mini-1.0.0__water_accuracy.html")
    scores = column(page, ".free", "Score")
    assert len(scores) == MODELS - UNIVERSAL
    assert scores == sorted(scores, reverse=True)
    errors = column(page, ".free", "force MAE (meV/Å)")[len(scores) :]
    assert errors == sorted(errors)  # of those without a score too
    text = page.locator("main").inner_text()
    assert "predicting no forces" in text or "no forces" in text  # the trivial baseline
    assert "doi" in text  # literature of the data
    assert page.locator(".data img").evaluate("e => e.naturalWidth") > 0
    cells = page.locator(".free tbody td[data-h='force MAE (meV/Å)']").all_inner_texts()
    assert all(5 < float(re.match(r"[0-9.]+", text)[0]) < 2000 for text in cells if text[0].isdigit())  # one unit
    page = open_page("tasks/mini-1.0.0__ethanol_md.html")
    assert page.locator("svg.k .r").count() == 1  # the truth alone
    assert "floor, median" in page.locator("main").inner_text()


OVERLAPS = """() => {
  const boxes = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n = walk.nextNode(); n; n = walk.nextNode()) {
    if (!n.textContent.trim() || !n.parentElement.checkVisibility()) continue;
    if (n.parentElement.closest("option,select,svg,.skip,.up")) continue;
    const range = document.createRange();
    range.selectNodeContents(n);
    for (const r of range.getClientRects())
      if (r.width > 1) boxes.push([r.top, r.bottom, r.left, r.right, n.textContent.trim()]);
  }
  boxes.sort((a, b) => a[0] - b[0]);
  const found = [];
  boxes.forEach((a, i) => {
    for (let j = i + 1; j < boxes.length && boxes[j][0] < a[1]; j += 1) {
      const b = boxes[j], down = Math.min(a[1], b[1]) - b[0], across = Math.min(a[3], b[3]) - Math.max(a[2], b[2]);
      if (down > 4 && across > 2) found.push(a[4] + " | " + b[4]);
    }
  });
  return found;
}"""
PAGES = ("index.html", SUITE, "tasks/mini-1.0.0__water_md.html", "compare.html", "plots.html", "about.html",
         "models/acme__model-03__1.html", "literature.html")  # fmt: skip


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_runs_over_the_page_and_no_texts_overlap(open_page, width):
    for path in PAGES:
        page = open_page(path, viewport={"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.evaluate(OVERLAPS) == [], path
        wide = page.evaluate(
            "[...document.querySelectorAll('.front, .board, .free')].filter(t => t.scrollWidth > "
            "t.closest('.scroll').clientWidth + 1).map(t => t.className)"
        )
        assert wide == [], path  # the tables of models fit, without a scroll bar of their own


def test_a_phone_sorts_without_heads(open_page):
    page = open_page("index.html", viewport={"width": 390, "height": 800})
    assert not page.locator(".front thead").first.is_visible()
    page.select_option("select[name=sort]", "size")
    down = column(page, "section.models:nth-of-type(2) .front", "size")
    assert down == sorted(down, reverse=True)


def test_long_names_do_not_widen_the_page_that_compares(open_page):
    page = open_page("compare.html", viewport={"width": 390, "height": 800})
    page.eval_on_selector_all(
        "#pick option", "all => all.forEach(o => { o.textContent += ', version of eight networks, accuracy 0.01'; })"
    )
    edges = page.eval_on_selector_all("#pick select", "all => all.map(s => s.getBoundingClientRect().right)")
    assert len(edges) == 4
    assert max(edges) <= 390


def test_models_are_told_apart_by_organisation_and_version(open_page):
    page = open_page("plots.html")
    assert page.locator("svg.s a[data-n='acme / model-03 1']").count() >= 5
    page.locator("#find input").fill("model-03")
    dim = page.eval_on_selector_all(
        "svg.s a", "all => all.filter(a => !a.classList.contains('dim')).map(a => a.dataset.n)"
    )
    assert set(dim) == {"acme / model-03 1"}


def test_small_errors_are_read_in_milli_electronvolts(open_page):
    page = open_page("models/acme__model-03__1.html")
    value = varied(3)["report"]["tasks"]["ethanol_accuracy"]["metrics"]["force_mae"]["value"]
    assert value < 0.1  # eV/Å
    row = page.locator("table.m tr", has_text="force MAE").first.inner_text()
    assert "meV/Å" in row
    number, low = (float(v) for v in re.findall(r"\d+\.?\d*", row)[:2])
    assert number == pytest.approx(1000 * value, rel=0.05)
    assert low == pytest.approx(number, rel=0.5)  # its interval too


def test_curves_have_axes_units_and_a_legend(open_page):
    page = open_page("models/acme__model-03__1.html")
    figures = page.locator(".ks figure").all()
    assert len(figures) > 4
    for figure in figures:
        text = figure.inner_text()
        assert re.search(r", −?[0-9.e−]+ to ", text), text  # the quantity and the ends of its axis
        assert figure.locator(".lg i").count() >= 1
    assert any("reference" in f.inner_text() and "(Å)" in f.inner_text() for f in figures)


def test_compare_shows_the_chosen_models_and_their_common_tasks(open_page):
    page = open_page("compare.html#institute__model-07__1,acme__model-03__1")
    heads = [h.inner_text() for h in page.locator("thead th").all() if h.is_visible()]
    assert sorted(heads[1:]) == ["acme / model-03 1", "institute / model-07 1"]
    assert "4 common tasks" in page.locator("#pick output").inner_text()
    page.locator("#pick select").nth(2).select_option(label="institute / model-10 1")
    assert len([h for h in page.locator("thead th").all() if h.is_visible()]) == 4
    assert "model-10" in page.url


def test_pages_read_without_javascript(open_page):
    page = open_page("index.html", java_script_enabled=False)
    assert len(shown(page, f".front {ROWS}")) == MODELS
    assert not page.locator("#filter").is_visible()
    assert len(shown(open_page("compare.html", java_script_enabled=False), "tbody tr")) > 40
    assert open_page("models/acme__model-03__1.html", java_script_enabled=False).locator("svg").count() > 4


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
    assert {"Models", "text", "forces", "size", "open", "Reset"} <= seen


def test_badges_plots_and_the_model_page(open_page):
    page = open_page("index.html")
    assert page.locator(".b.reproduced").count() == 1
    page.locator(".front").get_by_role("link", name="model-03", exact=True).click()
    assert page.locator("h1").inner_text().startswith("model-03")
    assert page.locator(".b.reproduced").count() == 1
    plots = open_page("plots.html")
    assert plots.locator("svg.s").count() >= 5
    assert plots.locator("svg.s a").count() >= 5 * 40
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
