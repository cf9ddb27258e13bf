"""The page and the table of a report: everything shown, nothing invented, nothing executed."""

from __future__ import annotations

import io
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from ffbench_eval import words as wording
from ffbench_eval.kinds.statistics import stable_time
from ffbench_eval.page.page import render
from ffbench_eval.page.svg import charts as plots
from ffbench_eval.page.table import print_table
from ffbench_eval.page.verdict import verdict
from ffbench_eval.report import (
    Curve,
    DatasetUsed,
    Environment,
    Floor,
    Metric,
    ModelCard,
    Report,
    TaskReport,
    UnitReport,
    rounded,
)

EVIL = "<script>alert('x')</script>\"'><img src=x onerror=1>&\u202e\x1b[31m\x00"
VOID = {"meta", "br", "img", "input", "hr", "link"}


def line(x, x_label, y_label, **series) -> Curve:
    return Curve(x_label=x_label, y_label=y_label, x=rounded(x), series={k: rounded(v) for k, v in series.items()})


def gauss(x, centre, width):
    return np.exp(-0.5 * ((x - centre) / width) ** 2)


def g_of_r(peaks, shift=0.0):
    r = np.linspace(0.015, 5.985, 200)
    g = 1 / (1 + np.exp(-(r - peaks[0][0] + 0.1) / 0.06)) * (r > peaks[0][0] - 0.6)
    return r, g + sum(h * gauss(r, c + shift, w) for c, w, h in peaks)


def surface(scale, noise=0.0) -> Curve:
    grid = np.linspace(-math.pi, math.pi, 30, endpoint=False)
    phi, psi = np.meshgrid(grid, grid, indexing="ij")
    f = 20 - 20 * np.exp(-((np.cos(phi + 1.4) - 1) ** 2) - (np.cos(psi - 2.6) - 1) ** 2)
    f = (
        f
        - 14 * np.exp(-2 * (np.cos(phi - 1.0) - 1) ** 2 - 2 * (np.cos(psi - 0.6) - 1) ** 2)
        + 12 * np.sin(phi / 2) ** 2
    )
    f = scale * (f - f.min()) + noise * np.random.default_rng(0).random(f.shape)
    return Curve(
        kind="surface",
        x_label="phi (rad)",
        y_label="psi (rad)",
        x=rounded(grid, 4),
        series={f"{v:.4g}": rounded(f[:, k], 4) for k, v in enumerate(grid)},
        note="F in kJ/mol",
    )


def dataset(name, config="default", split="test") -> DatasetUsed:
    return DatasetUsed(
        name=name, config=config, split=split, version="1.0.0", content_sha256=f"{len(name) % 16:x}" * 64
    )


def unit(*status, detail=(), wall_s=12.3) -> UnitReport:
    return UnitReport(address="ab" * 32, status=list(status), detail=list(detail), wall_s=wall_s, force_calls=20000)


def over(values, unit, interval=None, **more) -> Metric:
    return Metric(
        value=float(np.mean(values)),
        unit=unit,
        interval=interval,
        interval_note="Student's t over replicas" if interval else "one replica",
        n=len(values),
        values=list(values),
        **more,
    )


def stability(failed, ends, length) -> dict[str, Metric]:
    good = len(failed) - sum(failed)
    whole = not any(failed)
    return {
        "stable_fraction": Metric(
            value=good / len(failed),
            unit="1",
            interval=(0.478, 1.0) if whole else (0.147, 0.947),
            interval_note="Clopper-Pearson",
            n=len(failed),
            better="higher",
            values=[float(not f) for f in failed],
            score=good / len(failed),
        ),
        "stable_time": Metric(
            value=float(np.mean(ends)),
            unit="ps",
            interval=None if whole else (2.1, 10.0),
            interval_note=f">= {length:g} ps: no failure in {len(failed)} runs, failure rate below 0.06 per ps (95 %)"
            if whole
            else f"Student's t over replicas, stopped at {length:g} ps",
            n=len(failed),
            better="higher",
            aggregate="restricted_mean",
            values=list(ends),
        ),
    }


def md(title, data, metrics, curves, units, length, **more) -> TaskReport:
    parameters = {
        "ensemble": "nose_hoover",
        "temperature_K": 300.0,
        "time_step_fs": 0.5,
        "length_ps": length,
        "observables": ["rdf", "temperature"],
        "metadynamics": None,
    }
    return TaskReport(
        kind="molecular_dynamics",
        version="1",
        title=title,
        dataset=data,
        parameters=parameters,
        units=units,
        metrics=metrics,
        curves=curves,
        **more,
    )


def ethanol_md() -> TaskReport:
    r = np.linspace(0.025, 9.975, 200)
    peaks = [
        (1.09, 0.04, 1.6),
        (1.45, 0.05, 0.4),
        (1.8, 0.06, 0.5),
        (2.15, 0.07, 2.0),
        (2.6, 0.2, 0.6),
        (3.4, 0.3, 0.5),
    ]
    h = sum(a * gauss(r, c, w) for c, w, a in peaks)
    mine = sum(a * gauss(r, c + 0.015, 1.1 * w) for c, w, a in peaks)
    t = np.arange(0, 10, 0.1)
    wave = np.random.default_rng(1).normal(300, 70, (5, len(t)))
    wave[3, 40:] = wave[4, 62:] = np.nan
    return md(
        "Ethanol, 5 x 10 ps at 500 K",
        dataset("ethanol_gfn2"),
        {
            **stability([0, 0, 0, 1, 1], [10.0, 10, 10, 4.05, 6.2], 10.0),
            "distance_histogram_error": over(
                [0.071, 0.082, 0.065, 0.09, 0.12],
                "1",
                (0.059, 0.112),
                floor=Floor(median=0.021, p95=0.034, runs=10, length_ps=9.0),
                trivial=0.61,
                score=0.89,
            ),
            "temperature_deviation": over([2.1, -3.9, 1.2, 9.0, -0.5], "K", (-4.3, 7.5), better="neither"),
        },
        {
            "distance_histogram": line(r, "distance r (Å)", "h(r) (1/Å)", model=mine, reference=h),
            "temperature": line(t, "time (ps)", "temperature (K)", **{f"replica {k}": w for k, w in enumerate(wave)}),
        },
        [
            unit(
                *["ok"] * 3,
                *["unstable"] * 2,
                detail=[
                    "replica 3: bond 2-5 stretched by 0.62 Å at 4.050 ps",
                    "replica 4: temperature 2e5 K at 6.200 ps",
                ],
            )
        ],
        10.0,
    )


def water_md() -> TaskReport:
    curves = {}
    metrics = stability([0, 0], [2.0, 2.0], 2.0)
    shapes = {
        "O-O": [(2.75, 0.13, 1.9), (4.5, 0.4, 0.2)],
        "H-H": [(2.35, 0.18, 0.4), (3.8, 0.4, 0.15)],
        "H-O": [(1.78, 0.13, 0.6), (3.2, 0.3, 0.5)],
    }
    for k, (name, peaks) in enumerate(shapes.items()):
        r, g = g_of_r(peaks)
        curves[f"rdf_{name}"] = line(
            r, f"{name} distance r (Å)", "g(r)", model=g_of_r(peaks, 0.04)[1] * (1 + 0.01 * np.sin(9 * r)), reference=g
        )
        metrics[f"rdf_error_{name}"] = over(
            [0.21 + 0.02 * k, 0.24],
            "Å",
            (0.05, 0.44),
            floor=Floor(median=0.19, p95=0.26 - 0.03 * k, runs=9, length_ps=1.8),
            trivial=1.9,
            score=0.97,
        )
    metrics["diffusivity"] = Metric(value=None, unit="m^2/s", better="neither", not_scored="needs 100 ps")
    return md("Water, 2 x 2 ps at 300 K", dataset("water", "1k"), metrics, curves, [unit("ok", "ok")], 2.0)


def alanine() -> TaskReport:
    grid = np.linspace(-math.pi, math.pi, 60, endpoint=False)
    f = 8 - 8 * np.cos(grid + 1.3) + 3 * np.cos(2 * grid)
    curves = {
        "free_energy_surface": surface(0.55, 2.0),
        "free_energy_surface_reference": surface(1.2),
        "free_energy_phi": line(grid, "phi (rad)", "F(phi) (kJ/mol)", model=0.6 * f + 3, reference=f - f.min()),
        "free_energy_psi": line(grid, "psi (rad)", "F(psi) (kJ/mol)", model=0.5 * f + 2, reference=f - f.min()),
    }
    metrics = {
        **stability([0] * 6, [10.0] * 6, 10.0),
        "free_energy_error": over([4.1, 5.2, 6.0, 4.4, 5.1, 4.9], "kJ/mol", (4.3, 5.6), trivial=6.6),
    }
    note = "10 ps explores the basins but converges nothing."
    title = "Alanine dipeptide, 6 x 10 ps of metadynamics at 300 K"
    data = dataset("alanine_dipeptide_obc")
    return md(title, data, metrics, curves, [unit(*["ok"] * 6)], 10.0, indicative=True, note=note)


def nve() -> TaskReport:
    t = np.linspace(0, 2, 200)
    wave = {f"replica {k}": 0.3 * np.sin(60 * t + k) + (k - 1) * 0.2 * t for k in range(5)}
    return md(
        "Ethanol, energy drift in 5 x 2 ps at constant energy",
        dataset("ethanol_gfn2"),
        {
            **stability([0] * 5, [2.0] * 5, 2.0),
            "energy_drift": over([0.2, 0.01, 0.2, 0.4, 0.6], "meV/atom/ps", (0.01, 0.55)),
        },
        {"energy_drift": line(t, "time (ps)", "change of total energy (meV/atom)", **wave)},
        [unit(*["ok"] * 5)],
        2.0,
    )


def accuracy() -> TaskReport:
    rng = np.random.default_rng(3)
    x = rng.normal(0, 1.2, 200)
    parity = Curve(
        kind="points",
        x_label="reference force (eV/Å)",
        y_label="model force (eV/Å)",
        x=rounded(x),
        series={"model": rounded(x + rng.normal(0, 0.08, 200))},
        note="200 of 27000 force components",
    )
    force = Metric(
        value=0.0612,
        unit="eV/Å",
        interval=(0.0598, 0.0627),
        interval_note="Student's t over blocks of frames",
        n=1000,
        trivial=0.874,
        score=0.93,
    )
    return TaskReport(
        kind="accuracy",
        version="1",
        title="Ethanol, errors on unseen frames",
        dataset=dataset("ethanol_gfn2"),
        parameters={"split": "test", "max_frames": None},
        units=[unit("ok"), unit("ok"), unit("not_run", wall_s=0)],
        metrics={"force_mae": force, "force_cosine": Metric(value=0.9971, unit="1", better="higher", n=1000)},
        curves={"force_parity": parity},
    )


def scans() -> TaskReport:
    curves = {}
    for name in ("C0-C1", "C1-O2", "O2-H8"):
        a = np.linspace(0.75, 3.0, 100)
        e = 4.5 * (1 - np.exp(-2.1 * (a - 1.4))) ** 2
        f = 1e-3 + np.abs(np.gradient(e, a)) * 1.2
        mine = e + 0.25 * np.sin(7 * a) * (a > 2)
        curves[f"scan_energy_{name}"] = line(
            a, f"bond length {name} (Å)", "energy from equilibrium (eV)", model=mine, reference=e
        )
        curves[f"scan_force_{name}"] = line(
            a, f"bond length {name} (Å)", "|F - F(eq)| (eV/Å)", model=np.abs(np.gradient(mine, a)), reference=f
        )
    error = 'Traceback (most recent call last):\n  File "model.py", line 3, in load\nRuntimeError: ' + EVIL
    return TaskReport(
        kind="bsct",
        version="1",
        title="Ethanol, bond smoothness (8 scans)",
        dataset=dataset("ethanol_gfn2", "bond_scans"),
        parameters={"split": "test"},
        units=[
            unit("ok", "ok", "ok", "model_error", detail=["scan C1-H3: energy not finite on 2 of 100 frames", error])
        ],
        metrics={
            "fsd": over([12.1, 15.0, 22.3], "1/Å", (3.2, 29.7)),
            "scan_force_mae": over([0.11, 0.2, 0.4], "eV/Å", (0.0, 0.6)),
            "spurious_extrema": over([0, 0, 2], "1", (-2.2, 3.5)),
        },
        curves=curves,
    )


def empty(title, *status, detail=()) -> TaskReport:
    return md(title, dataset("water", "1k"), {}, {}, [unit(*status, detail=detail, wall_s=0.1)] if status else [], 2.0)


@pytest.fixture(scope="module")
def report() -> Report:
    card = ModelCard(
        name="schnet-small" + EVIL,
        version="1.0",
        spec="reference_models:schnet; rm -rf",
        family="schnet",
        parameters=31234,
        conservative=True,
        cutoff_angstrom=4.5,
        elements=[1, 6, 8],
        dtype="float32",
        training_data="ethanol_gfn2 train",
        theory="GFN2-xTB",
        licence="MIT",
        link="https://example.org/model",
        fingerprint="cd" * 32,
    )
    hostile = md(
        EVIL,
        DatasetUsed(name=EVIL, config=EVIL, split=EVIL, version=EVIL, content_sha256=EVIL),
        {EVIL: Metric(value=1e-300, unit=EVIL, interval_note=EVIL, not_scored=EVIL, n=1, values=[None])},
        {
            EVIL: Curve(
                x_label=EVIL, y_label=EVIL, x=[0, 1], series={EVIL: [1.0, 1.0], "gap": [None, None]}, note=EVIL
            ),
            "rdf_" + EVIL: Curve(x_label="", y_label="", x=[], series={}),
            "free_energy_surface": Curve(kind="surface", x_label="", y_label="", x=[0, 1], series={EVIL: [1, 2]}),
            "one_point": Curve(kind="points", x_label="", y_label="", x=[5.0], series={"model": [0.0]}),
        },
        [unit("ok", detail=[EVIL, "x" * 10_000])],
        1.0,
        note=EVIL,
    )
    tasks = {
        "ethanol_accuracy": accuracy(),
        "ethanol_md": ethanol_md(),
        "ethanol_nve": nve(),
        "ethanol_bond_scans": scans(),
        "water_md": water_md(),
        "alanine_free_energy": alanine(),
        "unsupported": empty("Unknown elements", "unsupported", detail=["unsupported elements: [17]"]),
        "memory": empty("Too large", "out_of_memory", "out_of_memory", detail=["out of memory: 3 GiB"]),
        "harness": empty("Our fault", "harness_error", detail=["Traceback\nKeyError: 'bonds'"]),
        "not_run": empty("Never started", "not_run"),
        "no_units": empty("No units"),
        EVIL: hostile,
    }
    return Report(
        suite="mini",
        suite_version="1.0.0",
        created="2025-01-31T12:00:00+00:00",
        seed=0,
        model=card,
        environment=Environment(
            python="3.11.9",
            ffbench="0.1.0",
            packages={"numpy": "2.1.0", "torch": "2.13.0", "ase": "3.25.0"},
            system="Linux",
            processor=EVIL,
            cores=2,
            threads=1,
            device="cpu",
        ),
        wall_s=231.4,
        tasks=tasks,
    ).sealed()


@pytest.fixture(scope="module")
def page(report) -> str:
    return render(report)


class Reader(HTMLParser):
    """Nesting, attributes and text; a tag that closes another's is an error."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.ids, self.text, self.headings = [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.ids += [v for k, v in attributes if k == "id"]
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open[-1:] == [tag], f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def read(page) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def test_well_formed(read):
    assert read.open == []
    assert len(read.ids) == len(set(read.ids))
    assert read.headings[0] == 1
    assert read.headings.count(1) == 1
    assert all(b <= a + 1 for a, b in zip(read.headings, read.headings[1:]))  # no level is skipped
    references = [a[k] for _, a in read.tags for k in a if k in ("aria-labelledby",)]
    assert set(references) <= set(read.ids)
    assert all(a["href"][1:] in read.ids for t, a in read.tags if t == "a" and a["href"].startswith("#"))


def test_self_contained(page, read):
    assert len(page.encode()) < 1_000_000
    assert not {"script", "link", "img", "iframe", "object", "image", "use"} & {t for t, _ in read.tags}
    assert not [a for _, a in read.tags for k in a if k.startswith("on") or k in ("src", "srcset")]
    links = {a["href"] for t, a in read.tags if t == "a" and not a["href"].startswith("#")}
    assert links == {"https://example.org/model"}  # a link to follow, nothing that is loaded
    style = page.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_hostile_strings_are_text(page, read):
    assert "<script" not in page
    assert "<img" not in page
    assert not any(bad in page for bad in "\u202e\x1b\x00")
    assert "alert('x')" in "".join(read.text)  # shown, as text


def test_only_web_links_are_links(report):
    card = report.model.model_copy(update={"link": "javascript:alert(1)"})
    assert 'href="javascript' not in render(report.model_copy(update={"model": card}))


def test_what_a_task_wrote_beside_the_page_is_linked(report, tmp_path):
    name = next(n for n, t in report.tasks.items() if t.kind == "bsct")
    plain = report.to_html(tmp_path / "report.html").read_text()
    assert f'href="{name}' not in plain
    (tmp_path / f"{name}.html").write_text("scans")
    linked = report.to_html(tmp_path / "report.html").read_text()
    assert re.findall(rf'href="({name}[^"]*)"', linked) == [f"{name}.html"]
    (tmp_path.parent / "outside.html").write_text("not of this run")
    task = report.tasks[name]
    odd = report.model_copy(update={"tasks": {"../outside": task, 'a" onclick="x': task}})
    (tmp_path / 'a" onclick="x.html').write_text("a task's name is a user's text")
    page = odd.to_html(tmp_path / "report.html").read_text()
    assert "outside.html" not in page
    assert 'onclick="x.html' not in page


def test_scans_page_and_report_share_their_colours():
    from ffbench_eval.page.page import TEMPLATES

    def colours(file):
        return re.findall(r"--(page|card):(#\w+)", (TEMPLATES / file).read_text())

    assert colours("scans.html.j2") == colours("report.html.j2")


def test_every_figure_has_an_alternative_text(read):
    drawings = [a for t, a in read.tags if t == "svg" and "viewbox" in a and "class" in a]
    assert len(drawings) > 15
    assert all(a.get("role") == "img" and a.get("aria-label") for a in drawings)


@pytest.fixture(scope="module")
def chromium():
    from pathlib import Path

    if not Path("/usr/bin/chromium").exists():
        pytest.skip("no /usr/bin/chromium: apt-get install chromium")
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as play:
        one = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield one
        one.close()


CUT = """width => [...document.querySelectorAll("table, pre, figure, dl, h1, h2, h3, p")]
  .filter(e => e.checkVisibility() && e.getBoundingClientRect().right > width + 1)
  .map(e => e.tagName + " " + e.textContent.trim().slice(0, 60))"""
WIDER = "all => all.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent.slice(0, 400))"
A4 = 703  # CSS pixels between margins of 12 mm


def test_nothing_is_cut_on_paper_and_every_number_is_printed(chromium, report, tmp_path):
    page = chromium.new_page(viewport={"width": A4, "height": 1000})
    page.goto(report.to_html(tmp_path / "report.html").as_uri())
    page.emulate_media(media="print")
    assert page.evaluate(CUT, A4) == []
    heads = [h.inner_text() for h in page.locator("table.all").first.locator("th").all() if h.is_visible()]
    assert {"metric", "value", "score", "better"} <= set(heads)
    shown = page.eval_on_selector_all("tr.row", "all => all.filter(e => e.getBoundingClientRect().height > 0).length")
    assert shown == sum(len(t.metrics) for t in report.tasks.values())  # what is folded on the screen too
    page.close()


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_nothing_runs_off_the_screen(chromium, report, tmp_path, width):
    page = chromium.new_page(viewport={"width": width, "height": 900})
    page.goto(report.to_html(tmp_path / "report.html").as_uri())
    page.eval_on_selector_all("details", "all => all.forEach(d => { d.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if width >= 1280:
        assert page.locator(".scroll").evaluate_all(WIDER) == []  # score and reason columns need no scroll bar
    assert page.locator(".lead .scroll").evaluate_all(WIDER) == []
    page.close()


def test_every_table_scrolls_in_its_own_box(page):
    assert page.count("<table") == len(re.findall(r'<div class="scroll[^>]*>\s*<table', page))


def test_missing_is_said_and_never_zero(page, read):
    text = " ".join(" ".join(read.text).split())
    assert "not scored: needs 100 ps" in text
    row = page.partition('title="diffusivity, ')[2].partition("</tr>")[0]
    assert "no value" in row
    assert ">0<" not in row
    assert "≥ 10 " in text.replace("10.0", "10")
    assert "no failure in 6 runs" in text
    for state in ("ok", "unstable", "unsupported", "out_of_memory", "model_error", "harness_error", "not_run"):
        assert f"{state}" in text
    assert text.count("indicative") >= 2


def test_numbers_and_floors_are_shown(read):
    text = " ".join(read.text)
    for shown in ("0.0612", "0.0598 to 0.0627", "0.021", "0.034", "0.89", "1000"):
        assert shown in text


@pytest.mark.parametrize(
    ("name", "label", "words"),
    [
        ("ethanol_accuracy", "incomplete", "1 chunk of frames not run"),
        ("ethanol_md", "unstable", "2 of 5 replicas broke before the end, stable for 8.1 of 10 ps"),
        ("ethanol_bond_scans", "incomplete", "1 scan ended in model_error"),
        ("water_md", "finished", "diffusivity not scored (needs 100 ps)"),
        ("alanine_free_energy", "finished", "Indicative only; all 6 replicas ran the full 10 ps"),
        ("unsupported", "unsupported", "unsupported elements: [17]"),
        ("memory", "no result", "says nothing about the model"),
        ("harness", "no result", "not of the model"),
        ("not_run", "not run", "no result, good or bad"),
        ("no_units", "not run", "no result, good or bad"),
    ],
)
def test_verdicts(report, name, label, words):
    said = verdict(report.tasks[name])
    assert said.label == label
    assert words in said.sentence
    assert said.sentence.count(".") == said.sentence.rstrip(".").count(".") + 1


def test_a_bsct_verdict_never_gives_fsd_alone(report):
    assert re.search(r"FSD .* with a force MAE of", verdict(report.tasks["ethanol_bond_scans"]).sentence)


@pytest.mark.parametrize(
    ("stable", "trusted", "said"),
    [
        ([10.0, 10.0, 4.0], [10.0, 7.5, 4.0], "1 of 3 replicas went where the truth disagrees"),
        ([10.0, 3.0], [10.0, 3.0], ""),
    ],
)
def test_a_replica_that_strays_is_named(report, stable, trusted, said):
    task = report.tasks["water_md"]
    times = {"stable_time": stable, "trusted_time": trusted}
    more = {k: stable_time([t < 10 for t in v], v, 10.0) for k, v in times.items()}
    task = task.model_copy(update={"metrics": {**task.metrics, **more}})
    assert said in verdict(task).sentence
    assert bool(said) == ("disagrees" in verdict(task).sentence)
    assert verdict(task).label == ("astray" if said else "finished")


def test_line_goes_through_its_points():
    curve = Curve(x_label="x", y_label="y", x=[0, 1, 2, 3], series={"model": [0, 1, None, 1]})
    svg = plots.line("any", curve)
    (path,) = re.findall(r'<path class="model" d="(M[^"]*)"/></svg>', svg)
    assert path.count("M") == 2  # the gap stays a gap
    x = [float(v) for v in re.findall(r"[ML]([\d.]+) ", path)]
    assert x[1] - x[0] == pytest.approx((x[2] - x[0]) / 3, abs=0.2)


@pytest.mark.parametrize(
    "values", [[1e308, -1e308], [1.0, 1.0 + 1e-15], [0.0, 0.0], [-7.5e6, -7.5e6], [5e-324, 1e-300], [None, None], [2.0]]
)
@pytest.mark.parametrize("name", ["any", "scan_force_C-C", "scan_energy_C-C", "temperature", "force_parity"])
def test_extreme_values_are_drawn(name, values):
    curve = Curve(x_label="x", y_label="y", x=values if None not in values else [0, 1], series={"reference": values})
    for kind in ("line", "points"):
        (drawn,) = plots.charts({name: curve.model_copy(update={"kind": kind})}, target=300.0)
        assert not re.search(r"\b(nan|inf)\b", drawn.svg)


def test_surface_is_dark_where_it_is_low():
    grid = np.linspace(-math.pi, math.pi, 24, endpoint=False)
    f = {f"{q:.4g}": rounded(20 - 10 * np.cos(grid) - 10 * np.cos(q)) for q in grid}
    curve = Curve(kind="surface", x_label="phi (rad)", y_label="psi (rad)", x=rounded(grid), series=f)
    svg = plots.surface("free_energy_surface", curve, top=40.0)
    corners = re.findall(r"[ML]([\d.]+) ([\d.]+)", re.search(r'class="band f0" d="([^"]*)"', svg)[1])
    middle = np.mean(np.array(corners, float), axis=0)
    size = np.array(re.search(r'viewBox="0 0 (\d+) (\d+)">', svg).groups(), float)
    assert middle == pytest.approx(size / 2, rel=0.02)  # phi = psi = 0
    assert len(re.findall(r'class="band f\d"', svg)) == 10


def test_too_many_drawings_are_left_out_and_named():
    x = np.linspace(0, 1, 200)
    curves = {f"curve {k}": line(x, "x", "y", model=np.sin(k * x)) for k in range(10)}
    drawn = plots.charts(curves, room=12_000)
    assert sum(len(c.svg) for c in drawn) <= 12_000
    left_out = [c for c in drawn if not c.svg]
    assert left_out
    assert all("not drawn" in c.note for c in left_out)


def test_page_of_a_full_size_report_stays_small(report):
    x = np.linspace(0, 1, 200)
    wave = {f"replica {k}": np.random.default_rng(k).normal(size=200) for k in range(20)}
    task = md("Large", dataset("water"), {}, {f"c{k}": line(x, "x", "y", **wave) for k in range(12)}, [unit("ok")], 1.0)
    page = render(report.model_copy(update={"tasks": {f"task {k}": task for k in range(5)}}))
    assert len(page.encode()) < 1_000_000


@pytest.mark.parametrize(
    ("value", "last", "text"),
    [(0.0, None, "0"), (-0.001, -1, "0.0"), (2.345e-9, None, "2.35e-9"), (1e7, None, "1.00e7"), (12.345, -1, "12.3")],
)
def test_numbers(value, last, text):
    assert wording.number(value, last) == text


def test_one_model_per_dataset(report):
    cards = {"ethanol_gfn2": report.model, "water": report.model.model_copy(update={"parameters": 999})}
    page = render(report.model_copy(update={"models": cards}))
    assert "Models, one per dataset" in page
    assert "999" in page


def test_table_in_the_terminal(report):
    from rich.console import Console

    out = io.StringIO()
    print_table(report, Console(file=out, width=120, force_terminal=False))
    text = out.getvalue()
    for shown in ("force MAE", "59.8 to 62.7", "needs 100 ps", ">= 10 ps", "2 of 5 broke", "[17]"):
        assert shown in text
    assert "finished" not in text  # a state, and no answer
    assert "\x1b" not in text
    assert "\u202e" not in text
