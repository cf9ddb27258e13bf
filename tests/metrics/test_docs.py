"""docs/metrics.md lists what the code states: every metric of a kind, and the functions that no task uses."""

from pathlib import Path

import pytest

import ffbench_metrics
from ffbench_eval.kinds import KINDS
from ffbench_eval.page.metric_docs import BEGIN, END, library_only, tables, written

ROOT = Path(__file__).parents[2]


DIFFERENCES = {"far_molecule_force_change", "far_atom_force_change", "minimum_rmsd"}  # else a timing, share or count


def test_the_document_is_up_to_date():
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    assert text == written(text), "run `ffbench metrics --write docs/metrics.md`"


@pytest.fixture(scope="module")
def made():
    return tables()


@pytest.mark.parametrize("kind", KINDS)
def test_every_metric_names_the_function_that_defines_it(kind, made):
    for spec in KINDS[kind].metrics:
        if spec.defined_by:
            assert callable(getattr(ffbench_metrics, spec.defined_by)), spec.name
            assert spec.defined_by in ffbench_metrics.__all__
        else:
            assert spec.timed or spec.high == 1 or not spec.continuous or spec.name in DIFFERENCES, spec.name
        assert f"| `{spec.name}" in made


def test_what_is_marked_library_only_is_used_by_no_kind():
    listed = set(library_only())
    assert {"heat_capacity", "stress_mae", "maxwell_boltzmann_test"} & listed  # there are some
    assert not listed & {"rdf_error", "wright_factor", "jensen_shannon", "force_mae", "histogram_error", "augrc"}
    assert listed <= set(ffbench_metrics.__all__)


def test_a_document_without_the_marks_is_refused():
    with pytest.raises(ValueError, match="needs one line"):
        written("# Metrics\n")
    assert written(f"a\n{BEGIN}\nold\n{END}\nb\n").startswith("a\n")
