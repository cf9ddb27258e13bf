"""Noise floors of stored blocks whose errors are known by hand, and anchors that the data alone give."""

from types import SimpleNamespace

import numpy as np
import pytest

from ffbench_data.observables import Blocks
from ffbench_eval.engine.units import KJ_PER_MOL
from ffbench_eval.kinds.dynamics import observables
from ffbench_eval.kinds.dynamics.anchors import _frames, anchors
from ffbench_eval.kinds.dynamics.criteria import GofR, _own_rdf, _published_rdf
from ffbench_eval.kinds.dynamics.floors import draws, floor
from ffbench_eval.kinds.dynamics.observables import OBSERVABLES
from ffbench_eval.kinds.dynamics.systems import System
from ffbench_eval.kinds.dynamics.work import Metadynamics, protocol
from ffbench_eval.run.data import TaskData
from ffbench_metrics import rdf
from tests.eval.dynamics_data import USED, data, task

FRAMES = 10  # of a block


def stored(*levels, r_max=6.0):
    """(block_ps, runs, blocks of each run, value): every block holds the counts ``value`` in one of two bins."""
    return [
        Blocks([np.tile([FRAMES * value, FRAMES], (blocks, 1)) for _ in range(runs)], ps, FRAMES, r_max)
        for ps, runs, blocks, value in levels
    ]


def first(a, b, r_max):
    """The first bin, per frame: which level the counts came from."""
    return float(a[0])


def test_the_longest_blocks_that_fit_are_taken():
    """6 ps are a whole number of blocks of 1, 2 and 3 ps, not of 4: of those with 20 windows the longest wins."""
    levels = stored((4.0, 4, 50, 4), (3.0, 4, 50, 3), (2.0, 4, 50, 2), (1.0, 4, 50, 1))
    assert floor(levels, 6.0, first).median == 3
    few = stored((3.0, 2, 4, 3), (2.0, 4, 50, 2), (1.0, 4, 50, 1))  # four windows of 6 ps are not enough
    assert floor(few, 6.0, first).median == 2


def test_where_no_blocks_fit_the_shortest_that_are_enough_are_interpolated():
    levels = stored((5.0, 4, 50, 5), (4.0, 4, 50, 4))
    found = floor(levels, 7.0, first)
    assert found.median == 4
    assert "interpolated between 4 and 8 ps" in found.note
    shorter = floor(levels, 2.0, first)
    assert shorter.note == "extrapolated from 4 and 8 ps by length^-1/2"
    whole = floor(levels, 8.0, first)
    assert (whole.median, whole.note) == (4, "")


def test_windows_are_counted_side_by_side():
    """Blocks of 1 ps: two runs of 45 hold 2 x 9 windows of 5 ps, 2 x 45 of one block, 2 of what is longer than both."""
    levels = stored((1.0, 2, 45, 1))
    for length, windows in ((1.0, 90), (2.0, 44), (5.0, 18), (45.0, 2), (60.0, 2)):
        found = floor(levels, length, first)
        assert found.windows == windows
        assert ("rests on" in found.note) == (windows < 20)


def test_of_one_trajectory_the_halves_are_held_against_each_other():
    """Forty blocks, a 1 in the first half and a 3 in the second: the error is 2 either way."""
    counts = np.tile([FRAMES, FRAMES], (40, 1))
    counts[20:, 0] *= 3
    errors, _, windows = draws([Blocks([counts], 1.0, FRAMES, 6.0)], 20.0, lambda a, b, r_max: abs(a[0] - b[0]))
    assert errors == pytest.approx(2.0)
    assert windows == 2
    assert floor([Blocks([counts], 1.0, FRAMES, 6.0)], 20.0, first).runs == 1


def test_two_runs_of_one_block_are_the_least():
    assert draws(stored((1.0, 1, 1, 1)), 1.0, first) is None
    assert draws(stored((1.0, 2, 1, 1)), 1.0, first) is not None
    assert draws([], 1.0, first) is None


BOX = 12.0 * np.eye(3)


def test_a_crystals_own_g_of_r_is_that_of_its_frames_and_its_spread_the_limit():
    """The same lattice in every frame, one atom displaced in the last fifth: twice the difference of the two g(r)."""
    grid = np.stack(np.meshgrid(*[np.arange(3) * 4.0] * 3, indexing="ij"), -1).reshape(-1, 3)
    x = np.tile(grid, (20, 1, 1))
    x[16:, 0] += 0.25
    made = data(([18] * 27, x, BOX))
    system = System("Ar27", np.full(27, 18), BOX, np.ones(3, bool), made.frames, None)
    found = _own_rdf(system)

    def g(rows):
        return rdf(x[rows], BOX, r_max=6.0, bins=60)[1]

    everything, last, others = g(slice(None)), g(slice(16, None)), g(slice(0, 16))
    np.testing.assert_allclose(found.reference["all"], everything, rtol=1e-9, atol=1e-9)
    spread = 2 * np.abs(last - others).sum() * 0.1
    assert found.limit == pytest.approx(max(spread, np.abs(1 - everything).sum() * 0.1 / 3), rel=1e-9)
    assert isinstance(found, GofR)


def test_pairs_of_a_published_criterion_are_of_one_kind_or_of_two(monkeypatch):
    """O-O is a group with itself (no second one), H-O two groups: their numbers of pairs differ by N(N-1) and N M."""
    made = data(([8, 1, 1], [[[0, 0, 0], [1, 0, 0], [0, 1, 0]]], BOX), facts={})
    system = System("H2O", np.array([8, 1, 1]), BOX, np.ones(3, bool), made.frames, None)
    monkeypatch.setattr(observables, "reference_rdf", lambda s, name: (None, np.ones(3)))
    oxygen, hydrogen = np.array([0]), np.array([1, 2])
    named = {"H-H": (hydrogen, hydrogen), "H-O": (hydrogen, oxygen)}
    monkeypatch.setattr(observables, "rdf_pairs", lambda s: named)
    pairs = _published_rdf(system, 3.0).pairs
    assert pairs["H-H"][1] is None
    assert pairs["H-O"][1] is oxygen


def metadynamics(**how):
    return Metadynamics(**({"height_kJ_per_mol": 1.2, "sigma_rad": 0.35, "bias_factor": 6.0, "every_ps": 0.5} | how))


@pytest.mark.parametrize("name", ["every_ps", "bias_factor"])
def test_hills_need_a_spacing_and_a_bias_factor(name):
    with pytest.raises(ValueError, match=name):
        metadynamics(**{name: 0.0})
    with pytest.raises(ValueError, match="bias_factor"):
        metadynamics(bias_factor=1.0)


def alanine(runs=20, length_ps=2.0):
    """A reference of ``runs`` runs with a hill every 0.5 ps, all of the same heights at places of their own."""
    rng = np.random.default_rng(0)
    hills = [np.column_stack([rng.uniform(-3, 3, (4, 2)), np.full(4, 1.2)]) for _ in range(runs)]
    surface = np.abs(np.add.outer(np.linspace(-3, 3, 60), np.linspace(-3, 3, 60)))
    made = data(
        ([6] * 4, np.zeros((3, 4, 3)) + np.arange(4)[:, None], None), facts={"dihedrals": {"phi": [0, 1, 2, 3]}}
    )
    made.reference.hills, made.reference.free_energy = hills, surface - surface.min()
    return made, task(
        ensemble="langevin", length_ps=length_ps, metadynamics=metadynamics(), observables=["free_energy"]
    )


def test_the_engine_drops_a_hill_as_often_as_the_task_says():
    made, wanted = alanine()
    assert protocol(wanted, made, 0).metadynamics.every == 500  # steps of 1 fs


def test_a_floor_of_free_energies_needs_twenty_runs():
    """PROTOCOLS 7.6: at least 20 independent runs. The floor is of the runs' own errors against the reference."""
    from ffbench_metrics import free_energy_error, free_energy_from_hills

    for runs, some in ((19, False), (20, True)):
        made, wanted = alanine(runs)
        found = anchors(wanted, made)["free_energy_error"]
        assert (found.floor is not None) == some
        if some:
            errors = []
            for h in made.reference.hills:
                rows = np.column_stack([h[:, :2], np.full((4, 2), 0.35), h[:, 2]])
                f = free_energy_from_hills(rows, temperature=300.0, bias_factor=6.0)
                errors.append(free_energy_error(f, made.reference.free_energy))
            assert found.floor.median == pytest.approx(np.median(errors))
            assert found.floor.p95 == pytest.approx(np.quantile(errors, 0.95))
            assert found.trivial == pytest.approx(free_energy_error(np.zeros((60, 60)), made.reference.free_energy))


def test_a_reference_without_hills_gives_no_floor_and_no_fault():
    made, wanted = alanine()

    class NoHills(SimpleNamespace):
        @property
        def hills(self):
            raise FileNotFoundError("hills.parquet")

    old = made.reference
    made = TaskData(made.frames, NoHills(facts=old.facts, levels=old.levels, free_energy=old.free_energy), USED)
    run = [np.column_stack([np.zeros((4, 2)), np.full(4, 1.2 * KJ_PER_MOL)])]
    metrics, _ = OBSERVABLES["free_energy"]([_frames(made, wanted.parameters)], made, wanted.parameters, run)
    assert metrics["free_energy_error"].floor is None
    assert metrics["free_energy_error"].value is not None


def test_anchors_are_the_metrics_that_have_some():
    made, wanted = alanine()
    found = anchors(wanted, made)
    assert found
    assert all(m.floor is not None or m.trivial is not None for m in found.values())
