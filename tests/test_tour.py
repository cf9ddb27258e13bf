"""The tour's notebook is its script, executed; CI runs it again (`run_tour.py --check`). The gallery draws."""

import importlib.util
import json

from tests.conftest import ROOT


def module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


TOUR = module(ROOT / "docs" / "tour" / "run_tour.py")


def test_the_notebook_is_the_script():
    made = json.loads(TOUR.NOTEBOOK.read_text(encoding="utf-8"))
    found = [(cell["cell_type"], cell["source"]) for cell in made["cells"]]
    assert found == TOUR.cells(TOUR.SCRIPT.read_text(encoding="utf-8"))
    assert made["nbformat"] == 4
    said = TOUR.shown(made)
    assert len(said) >= 5
    assert "no better than no forces" in "".join(said)  # what the ten lines are
    assert not any("Traceback" in text for text in said)


def test_cells_print_show_and_share_their_names():
    script = "# %% [markdown]\n# Hello\n\n# %%\nx = 20\nprint(x)\n\n# %%\nx + 1\n"
    made = TOUR.notebook(script)
    assert TOUR.shown(made) == ["20\n", "21"]
    assert TOUR.as_markdown(made).startswith("Hello\n\n```python\nx = 20")


def test_other_numbers_or_words_are_found():
    assert TOUR.same("MAE 6.150 meV, n 1000", "MAE 6.149 meV, n 1000")
    assert not TOUR.same("MAE 6.15 meV", "MAE 8.15 meV")
    assert not TOUR.same("holds 1", "fails 1")
    assert not TOUR.same("1 2", "1")


def test_the_gallery_shows_answers_of_committed_entries():
    gallery = module(ROOT / "docs" / "gallery.py")
    assert all(gallery.report_of(key).tasks for key in gallery.CHOSEN)
    html = "".join(gallery.section("ffbench__transformer_narrow/1/desk", "reports/"))
    assert html.count("<svg") >= 4
    assert "5 of 5 broke" in html
    assert 'href="reports/ffbench__transformer_narrow-1-desk.html"' in html
