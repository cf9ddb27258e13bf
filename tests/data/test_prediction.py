"""What people's models return is read as one thing or refused in one line: a tether, whose energies are x^2/2."""

from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ffbench_data import AtomsBatch, ForceField

F64 = torch.float64


def batch(sizes, positions=None):
    owner = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    x = torch.randn(len(owner), 3, dtype=F64, generator=torch.Generator().manual_seed(1))
    cells = torch.eye(3, dtype=F64).expand(len(sizes), 3, 3) * 9
    return AtomsBatch(x, torch.ones(len(owner)).long(), owner, cells, torch.ones(len(sizes), 3) > 0)


def per_atom(b):
    return 0.5 * (b.positions**2).sum(1)


def energy(b):
    return torch.zeros(b.n_systems, dtype=F64).index_add(0, b.system_index, per_atom(b))


Named = namedtuple("Named", "energy forces")

WAYS = {
    "mapping": lambda b: {"energy": energy(b), "forces": -b.positions},
    "energies [B, 1]": lambda b: {"energy": energy(b)[:, None], "forces": -b.positions},
    "energies of atoms": lambda b: {"energy": per_atom(b), "forces": -b.positions},
    "energies of atoms [A, 1]": lambda b: {"energy": per_atom(b)[:, None], "forces": -b.positions},
    "numpy": lambda b: {"energy": energy(b).numpy(), "forces": -b.positions.numpy()},
    "lists": lambda b: {"energy": energy(b).tolist(), "forces": (-b.positions).tolist()},
    "tensors of systems": lambda b: (list(energy(b)), list((-b.positions).split(b.n_atoms.tolist()))),
    "tuple": lambda b: (energy(b), -b.positions),
    "tuple of three": lambda b: (energy(b).numpy(), -b.positions.numpy(), None),
    "named tuple": lambda b: Named(energy(b), -b.positions),
    "object": lambda b: SimpleNamespace(energy=energy(b), forces=-b.positions),
    "total_energy": lambda b: {"total_energy": energy(b), "forces": -b.positions, "atomic_energy": per_atom(b)},
    "graph": lambda b: {"energy": energy(b) * torch.ones(1, requires_grad=True), "forces": -b.positions},
}


@pytest.mark.parametrize("sizes", [[4], [1, 1, 1], [4, 2, 3]])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_saying_it_is_the_same_answer(way, sizes):
    b = batch(sizes)
    out = ForceField(WAYS[way], None, dtype=F64)(b)
    torch.testing.assert_close(out.energy, energy(b), rtol=1e-14, atol=0)
    torch.testing.assert_close(out.forces, -b.positions, rtol=0, atol=0)
    assert not out.energy.requires_grad


def test_one_system_may_answer_with_one_number_and_equal_systems_as_a_block():
    b = batch([4])
    for one in (lambda e: e.sum(), lambda e: float(e.sum()), lambda e: e.reshape(1, 1).numpy()):
        out = ForceField(lambda b, one=one: (one(energy(b)), -b.positions[None]), None, dtype=F64)(b)
        torch.testing.assert_close(out.energy, energy(b))
    b = batch([3, 3])
    out = ForceField(lambda b: (energy(b), -b.positions.view(2, 3, 3)), None, dtype=F64)(b)
    torch.testing.assert_close(out.forces, -b.positions)


def test_stress_in_voigt_order_is_that_of_ase():
    from ase.stress import full_3x3_to_voigt_6_stress

    b = batch([2, 3])
    full = torch.randn(2, 3, 3, dtype=F64)
    full = full + full.mT
    voigt = np.stack([full_3x3_to_voigt_6_stress(s.numpy()) for s in full])
    out = ForceField(lambda b: (energy(b), -b.positions, voigt), None, dtype=F64)(b)
    torch.testing.assert_close(out.stress, full, rtol=1e-14, atol=0)
    for some in (full[:1], full[0], torch.tensor(voigt[0]), voigt[:1]):
        out = ForceField(lambda b, some=some: (energy(b), -b.positions, some), None, dtype=F64)(batch([3]))
        torch.testing.assert_close(out.stress, full[:1], rtol=1e-14, atol=0)


def test_names_of_packages_are_read_and_what_is_none_is_absent():
    b = batch([2, 3])
    features = torch.randn(5, 7)

    def fn(b):
        said = {"energy": energy(b), "forces": -b.positions, "stress": None, "node_feats": features}
        return said | {"energy_uncertainty": np.array([[0.1], [0.2]])}

    out = ForceField(fn, None, dtype=F64)(b)
    assert out.stress is None
    torch.testing.assert_close(out.embedding, features)
    assert out.uncertainty.tolist() == [0.1, 0.2]


def test_an_energy_for_each_atom_gives_forces_too():
    b = batch([4, 2])
    out = ForceField.from_energy(lambda b: {"energy": per_atom(b), "node_feats": b.positions, "note": "text"}, None,
                                 dtype=F64)(b)  # fmt: skip
    torch.testing.assert_close(out.energy, energy(b))
    torch.testing.assert_close(out.forces, -b.positions)
    torch.testing.assert_close(out.embedding, b.positions)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (lambda b: 3.0, "must return a Prediction or a mapping, got float"),
        (lambda b: (energy(b),), "a tuple holds energy, forces and perhaps stress, not 1 things"),
        (lambda b: {"energies": energy(b), "forces": b.positions}, "returned no energy"),
        (lambda b: {"energy": energy(b), "forces": b.positions[:-1]}, r"forces of shape \(4, 3\), expected \(5, 3\)"),
        (lambda b: (b.positions, energy(b)), r"energy of shape \(5, 3\), expected \(2,\)"),
        (lambda b: (np.array([1, 2]), b.positions), "energy as int64 array: it must be a floating-point tensor"),
        (lambda b: (["a", "b"], b.positions), "energy as list: it must be a floating-point"),
        (lambda b: ([[1.0], [1.0, 2.0]], b.positions), "energy as list"),
        (lambda b: (energy(b) * 1j, b.positions), "complex128 tensor"),
        (lambda b: (energy(b), b.positions, torch.zeros(6)), r"stress of shape \(6,\), expected \(2, 3, 3\)"),
        (lambda b: {"energy": energy(b), "forces": b.positions, "uncertainty": per_atom(b)}, "uncertainty of shape"),
        (lambda b: {"energy": energy(b), "forces": b.positions, "embedding": torch.zeros(2, 8)}, r"expected \(5, D\)"),
    ],
)
def test_what_could_mean_two_things_is_refused_in_one_line(said, told):
    with pytest.raises(ValueError, match=told) as error:
        ForceField(said, None, dtype=F64)(batch([2, 3]))
    assert "\n" not in str(error.value)
