"""PROBE: its size, what it finds and does not find, symmetry, determinism, files."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ffbench_eval.selective import SOURCES, Cases, Probe, ProbeNetwork, available, deal, label
from ffbench_metrics import auroc_failure

FAST = {"max_epochs": 25, "patience": 6, "learning_rate": 1e-3}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def planted(structures=300, *, signal=True, seed=0, level="structure", d=16):
    """Structures of 3 to 6 atoms whose error follows one direction of the mean embedding, or is noise."""
    rng = np.random.default_rng(seed)
    n = rng.integers(3, 7, structures)
    offsets = np.concatenate([[0], np.cumsum(n)])
    x = rng.normal(size=(offsets[-1], d)).astype(np.float32)
    owner = np.repeat(np.arange(structures), n)
    hidden = x[:, 2] if level == "atom" else np.bincount(owner, x[:, 2]) / n
    error = np.exp(2 * hidden) if signal else rng.random(len(hidden))
    forces = rng.normal(size=(offsets[-1], 3))
    truth = forces.copy()
    if level == "atom":
        truth[:, 0] += error
    return label(
        Cases(
            atomic_numbers=rng.choice([1, 6], offsets[-1]),
            positions=rng.normal(size=(offsets[-1], 3)),
            offsets=offsets,
            energy=rng.normal(size=structures) - 500 * n,
            forces=forces,
            embedding=x,
            reference_energy=None,
            reference_forces=truth,
            group=np.arange(structures) // 5,
        )
        if level == "atom"
        else Cases(
            atomic_numbers=rng.choice([1, 6], offsets[-1]),
            positions=rng.normal(size=(offsets[-1], 3)),
            offsets=offsets,
            energy=error,
            forces=forces,
            embedding=x,
            reference_energy=np.zeros(structures),
            group=np.arange(structures) // 5,
        ),
        "atom_force_quantile" if level == "atom" else "energy_quantile",
    )


def halves(cases):
    return cases[: len(cases) * 2 // 3], cases[len(cases) * 2 // 3 :]


def test_the_network_has_the_published_number_of_parameters():
    for charges, wanted in ((False, 566_434), (True, 567_458)):
        assert sum(p.numel() for p in ProbeNetwork(256, charges=charges).parameters()) == wanted


@pytest.mark.parametrize("level", ["structure", "atom"])
def test_a_planted_signal_is_found(level):
    train, test = halves(planted(360 if level == "structure" else 150, level=level))
    # energies would give the answer away: the label is the energy
    train, test = (replace(c, energy=np.zeros(len(c))) for c in (train, test))
    probe = Probe(**FAST).fit(train)
    # a score that knows nothing has 0.5 +- 0.05 on these cases or more: 0.8 is six of these away (1e-8)
    assert auroc_failure(probe.score(test), test.failed) > 0.8
    linear = SOURCES["linear_probe"][0]().fit(train)
    assert auroc_failure(linear.score(test), test.failed) > 0.95


def test_noise_gives_one_half_within_its_interval():
    train, test = halves(planted(450, signal=False))
    train, test = (replace(c, energy=np.zeros(len(c))) for c in (train, test))
    got = auroc_failure(Probe(**FAST).fit(train).score(test), test.failed)
    assert abs(got - 0.5) < 6 * np.sqrt((len(test) + 1) / (12 * (len(test) / 2) ** 2))


@pytest.mark.parametrize("charges", [False, True])
def test_the_score_does_not_depend_on_the_order_of_atoms_or_on_the_batch(charges):
    cases = planted(40)
    if charges:
        cases = replace(cases, charges=np.random.default_rng(1).normal(size=len(cases.atomic_numbers)))
    probe = Probe(charges=charges, max_epochs=2).fit(cases)
    whole, importance = probe.score(cases), probe.importance(cases)
    one = cases[[7]]
    order = np.random.default_rng(0).permutation(int(one.n_atoms[0]))
    turned = replace(
        one,
        atomic_numbers=one.atomic_numbers[order],
        embedding=one.embedding[order],
        charges=None if one.charges is None else one.charges[order],
    )
    assert probe.score(turned)[0] == pytest.approx(whole[7], abs=1e-6)
    assert probe.score(one)[0] == pytest.approx(whole[7], abs=1e-6)
    mine = importance[cases.offsets[7] : cases.offsets[8]]
    assert probe.importance(turned) == pytest.approx(mine[order], abs=1e-6)
    assert np.add.reduceat(importance, cases.offsets[:-1]) == pytest.approx(np.ones(len(cases)), abs=1e-5)


def test_training_is_deterministic_and_a_file_brings_it_back(tmp_path):
    cases = planted(80)
    first, second = (Probe(max_epochs=3).fit(cases) for _ in range(2))
    assert (first.score(cases) == second.score(cases)).all()
    assert (Probe(max_epochs=3, seed=1).fit(cases).score(cases) != first.score(cases)).any()
    back = Probe.load(first.save(tmp_path / "probe.safetensors"))
    assert (back.score(cases) == first.score(cases)).all()
    assert back.settings == first.settings


def test_total_energies_do_not_drown_the_rest():
    cases = planted(60)
    probe = Probe(max_epochs=2).fit(replace(cases, energy=cases.energy - 4000.0 * cases.n_atoms))
    inputs = probe._inputs(replace(cases, energy=cases.energy - 4000.0 * cases.n_atoms))
    assert float(inputs.extra.abs().max()) <= 10


def test_wrong_input_is_named(tmp_path):
    cases = planted(30)
    with pytest.raises(ValueError, match="gives no embedding"):
        Probe().fit(replace(cases, embedding=None))
    with pytest.raises(ValueError, match="no labels"):
        Probe().fit(replace(cases, failed=None))
    with pytest.raises(ValueError, match="one class only"):
        Probe().fit(replace(cases, failed=np.ones(30, bool)))
    with pytest.raises(ValueError, match="not fitted"):
        Probe().score(cases)
    with pytest.raises(ValueError, match=r"unknown settings \['rate'\]"):
        Probe(rate=1)
    with pytest.raises(ValueError, match="carry none"):
        Probe(charges=True).fit(cases)
    probe = Probe(max_epochs=1).fit(cases)
    with pytest.raises(ValueError, match="fitted on 16"):
        probe.score(replace(cases, embedding=cases.embedding[:, :4]))
    (tmp_path / "x").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="cannot be read"):
        Probe.load(tmp_path / "x")


def test_every_source_scores_one_number_per_case_at_both_levels():
    rng = np.random.default_rng(0)
    for level in ("structure", "atom"):
        cases = planted(60, level=level)
        cases = replace(
            cases,
            energy_spread=rng.random(60),
            force_spread=rng.random(len(cases.atomic_numbers)),
            uncertainty=rng.random(60),
        )
        for name, (make, _) in SOURCES.items():
            source = make(max_epochs=1) if name == "probe" else make()
            score = source.fit(cases).score(cases[10:20])
            assert score.shape == (cases[10:20].number,), name
            assert np.isfinite(score).all(), name
            if source.probability:
                assert ((score >= 0) & (score <= 1)).all(), name


def test_a_model_without_embeddings_keeps_the_plain_baselines_and_says_so():
    names, missing = available(replace(planted(10), embedding=None))
    assert names == ["gradient_boosting", "size_only", "composition_only", "random", "oracle"]
    assert any("no per-atom embedding" in sentence and "size" in sentence for sentence in missing)


def test_the_inner_split_keeps_groups_together():
    from ffbench_eval.kinds.selective.probe import _inner

    cases = planted(100)
    fit, held = _inner(cases)
    assert not set(cases.group[fit]) & set(cases.group[held])
    assert len(fit) + len(held) == 100
    assert len(held) == 10


def test_dealt_parts_share_no_group():
    cases = planted(100)
    parts = deal(cases.group)
    owners = [set(cases.group[rows]) for rows in parts.values()]
    assert not owners[0] & owners[1]
    assert not owners[0] & owners[2]
    assert not owners[1] & owners[2]
