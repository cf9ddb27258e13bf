"""What a model is told about itself before any work: units, signs, gradients, what its answer must not depend on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import reference_models
from ffbench_data import ForceField, Prediction, load_frames
from ffbench_eval.models.coverage import covered
from ffbench_eval.models.identity import Known, close, same_model
from ffbench_eval.models.resolve import card, known_as
from ffbench_eval.run.first_answer import chosen_rows, look


@pytest.fixture(scope="module")
def frames():
    return load_frames("ethanol_gfn2", split="test")


@pytest.fixture(scope="module")
def network():
    """Shipped weights, in float64 so that nothing here hangs on rounding."""
    model = reference_models.load("schnet@ethanol_gfn2")
    return replace(model, fn=model.fn.double(), dtype=torch.float64)


def changed(model, energy=1.0, forces=1.0, **stated):
    def fn(batch):
        out = model.fn(batch)
        return Prediction(out.energy.detach() * energy, out.forces.detach() * forces)

    return replace(model, fn=fn, **stated)


def test_a_sound_model_hears_nothing(frames, network):
    found = look(network, frames, "")
    assert found.warnings == []
    assert found.identity.steady
    assert found.identity.spread == 0
    assert len(found.identity.answers) == 7  # five frames, and the first one compressed and stretched


KCAL, KJ, HARTREE, BOHR = 23.0605, 96.4853, 1 / 27.2114, 1 / 0.529177  # per eV, per Angstrom (CODATA)


@pytest.mark.parametrize(
    ("energy", "forces", "said"),
    [
        (KCAL, KCAL, "forces look like kcal/mol/Å "),
        (KJ, KJ, "forces look like kJ/mol/Å"),
        (KJ, KJ * 10, "forces look like kJ/mol/nm"),
        (HARTREE, HARTREE, "forces look like Hartree/Å"),
        (HARTREE, HARTREE / BOHR, "forces look like Hartree/Bohr"),
        (1.0, 1 / BOHR, "forces look like eV/Bohr"),
        (-1.0, -1.0, "forces point the wrong way"),
        (-KCAL, -KCAL, "forces look like kcal/mol/Å with the sign turned round"),
        (4.0, 4.0, "not of their size"),
        (KCAL, 1.0, "energies look like kcal/mol beside its forces"),
        (1.0, -1.0, "not the gradient of its energy, forces are minus the gradient"),
        (1 / 9, 1.0, "energies look like energies per atom"),
        (1.0, 1.3, "not the gradient of its energy"),
        (0.0, 1.0, "energy does not change along its forces"),
    ],
)
def test_a_wrong_unit_or_sign_is_named(frames, network, energy, forces, said):
    warnings = look(changed(network, energy, forces), frames, "").warnings
    assert any(said in line for line in warnings), warnings


def test_a_model_that_says_it_is_not_conservative_is_not_held_to_it(frames, network):
    assert not look(changed(network, 0.0, 1.0, conservative=False), frames, "").warnings


def test_what_an_answer_must_not_depend_on(frames, network):
    buffers = {}

    def static(batch):
        out = network.fn(batch)
        kept = buffers.setdefault(out.forces.shape, (torch.empty_like(out.energy), torch.empty_like(out.forces)))
        return Prediction(kept[0].copy_(out.energy.detach()), kept[1].copy_(out.forces.detach()))

    def crowd(batch):
        out = network.fn(batch)
        return Prediction(out.energy.detach(), out.forces.detach() * (1 + 0.1 * (batch.n_systems - 1)))

    def place(batch):
        out = network.fn(batch)
        return Prediction(out.energy.detach() + batch.positions.sum(), out.forces.detach())

    def order(batch):
        out = network.fn(batch)
        weights = torch.linspace(0.8, 1, len(batch.positions))[:, None]
        return Prediction(out.energy.detach(), out.forces.detach() * weights)

    def dice(batch):
        out = network.fn(batch)
        return Prediction(out.energy.detach(), out.forces.detach() * (1 + 1e-2 * torch.rand(())))

    for fn, said in (
        (static, "overwritten by the next call"),
        (crowd, "changes with what else is in the batch"),
        (place, "depends on where the structure lies"),
        (order, "depends on the order of the atoms"),
        (dice, "answers differently when asked the same twice"),
    ):
        found = look(replace(network, fn=fn, conservative=False), frames, "")
        assert [line for line in found.warnings if said in line], (said, found.warnings)
        assert found.identity.steady == (fn is not dice)
    marks = {look(replace(network, fn=dice), frames, "").identity.mark for _ in range(2)}
    assert len(marks) == 2


def test_identities_bear_rounding_and_see_changes(frames, network):
    """Float32 on one machine repeats to about 1e-6; a change of one part in ten thousand is another model."""
    who = look(changed(network), frames, "").identity
    for scale, same in ((1.0, True), (1 + 1e-7, True), (1 + 1e-4, False), (1 - 1e-3, False)):
        other = look(changed(network, scale, scale), frames, "").identity
        assert close(who.answers, other.answers, 1e-5) == same
    single = reference_models.load("schnet@ethanol_gfn2")
    rounded = look(changed(single), frames, "").identity
    assert close(who.answers, rounded.answers, 1e-3)


def test_a_folder_gives_a_known_model_its_old_address(frames, network):
    who = look(network, frames, "").identity
    first = Known()
    address = first.mark("data", who)
    later = Known([dict(row) for row in first.rows])
    almost = replace(who, answers=tuple(tuple(v * (1 + 1e-8) for v in row) for row in who.answers))
    assert almost.mark != who.mark
    assert later.mark("data", almost) == address
    assert later.recognised == {"data"}
    other = replace(who, answers=tuple(tuple(v * 1.01 for v in row) for row in who.answers))
    assert later.mark("data", other) != address
    assert Known().mark("data", almost) == almost.mark


def test_cards_are_of_one_model_if_common_answers_agree(network):
    def made(answers, stated="a" * 16):
        return known_as(card(network), stated, answers)

    here = made({"x": [[1.0, 2.0, 1.0, 1.0]], "y": [[5.0, 1.0, 0.0, 0.0]]})
    assert same_model(here, made({"x": [[1.0, 2.00001, 1.0, 1.0]]}))
    assert not same_model(here, made({"x": [[1.0, 2.1, 1.0, 1.0]]}))
    assert not same_model(here, made({"x": [[1.0, 2.0, 1.0, 1.0]]}, stated="b" * 16))
    assert not same_model(here, made({"x": [[]]}))


def test_frames_asked_about_show_every_element():
    """Fifty of ethanol, then one peptide with nitrogen and one box of water: both are asked about."""
    import pyarrow as pa

    from ffbench_data.frames import Frames

    parts = [("ethanol_gfn2", 50), ("alanine_dipeptide_obc", 1), ("water", 1)]
    tables = [load_frames(name, split="test").table.slice(0, n) for name, n in parts]
    shared = [c for c in tables[0].column_names if all(c in t.column_names for t in tables)]
    frames = Frames(pa.concat_tables([t.select(shared) for t in tables], promote_options="permissive"))
    rows = chosen_rows(frames)
    assert {50, 51} <= set(rows.tolist())
    assert {z for r in rows for z in frames[int(r)].atomic_numbers.tolist()} == {1, 6, 7, 8}
    assert 50 not in chosen_rows(frames, covered(ForceField(lambda batch: None, None, (1, 6, 8)), frames))


def test_a_change_that_only_close_atoms_feel_is_seen(frames, network):
    """No pair of ethanol's atoms is nearer than 0.9 Å in the data; a wall at 0.85 Å shows when it is compressed."""

    def walled(height):
        def energy(batch):
            d = batch.edge_vectors().norm(dim=-1)
            e = 0.01 * (d - 3) ** 2 + height * torch.relu(0.85 - d) ** 2
            return d.new_zeros(batch.n_systems).index_add(0, batch.system_index[batch.edge_index[0]], e)

        return ForceField.from_energy(energy, cutoff=6.0, dtype=torch.float64)

    a, b = (look(walled(h), frames, "").identity for h in (0.0, 1.0))
    same = [np.allclose(x, y, rtol=1e-9) for x, y in zip(a.answers, b.answers)]
    assert same[:5] == [True] * 5
    assert not same[5]


def test_parts_of_an_edited_model_are_not_merged(tmp_path):
    """Also where the two parts ran different tasks on different data: all parts ask about common frames."""
    from ffbench_eval import evaluate
    from ffbench_eval.run.folder import merge

    path = tmp_path / "s.yaml"
    rows = "\n".join(
        f"  {n}: {{kind: accuracy, dataset: {d}, max_frames: 2}}"
        for n, d in (("a", "ethanol_gfn2"), ("b", "alanine_dipeptide_obc"))
    )
    path.write_text(f"name: s\nversion: 1.0.0\ntasks:\n{rows}\n")

    def part(scale, task):
        def energy(batch):
            e = scale * (batch.edge_vectors().norm(dim=-1) - 2) ** 2
            return e.new_zeros(batch.n_systems).index_add(0, batch.system_index[batch.edge_index[0]], e)

        model = ForceField.from_energy(energy, cutoff=4.0, card={"name": "m"})
        return evaluate(model, path, tasks=task, out=tmp_path / f"{scale}{task}", quiet=True)

    one, other, edited = part(1.0, "a"), part(1.0, "b"), part(1.01, "b")
    assert one.model.fingerprint == other.model.fingerprint != edited.model.fingerprint
    whole = merge([one, other])
    assert set(whole.tasks) == {"a", "b"}
    assert len(whole.model.answers) == 2
    with pytest.raises(ValueError, match="different models"):
        merge([one, edited])
