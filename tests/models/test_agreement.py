"""The same weights give the same energies and forces as in the packages where the families come from.

Weights and answers lie in fixtures/, with the scripts that made them; no such package is needed here.
"""

import importlib.util
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from ffbench_data.contract import AtomsBatch
from reference_models import build

FIXTURES = Path(__file__).with_name("fixtures")
F64 = torch.float64


def fixture(name):
    """(weights under the names of the other package, its answers)."""
    with safe_open(FIXTURES / f"{name}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    weights = {k.removeprefix("weights."): v for k, v in tensors.items() if k.startswith("weights.")}
    return weights, {k: v for k, v in tensors.items() if not k.startswith("weights.")}


def structures():
    """The structures that the other packages were asked about."""
    spec = importlib.util.spec_from_file_location("structures", FIXTURES / "structures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.structures()


def batch_of(atoms):
    return AtomsBatch(
        torch.cat([torch.tensor(a.positions) for a in atoms]),
        torch.cat([torch.tensor(a.numbers) for a in atoms]).long(),
        torch.repeat_interleave(torch.arange(len(atoms)), torch.tensor([len(a) for a in atoms])),
        torch.stack([torch.tensor(a.cell.array) for a in atoms]),
        torch.stack([torch.tensor(a.pbc) for a in atoms]),
    )


@pytest.fixture(scope="module")
def batch():
    return batch_of(structures())


def check(model, ours, batch, energy, forces, tolerance=1e-9):
    """Load ``ours`` into the network (every parameter must be named) and compare."""
    network = model.fn.network
    table = ours.get("embedding.weight")
    if isinstance(getattr(network, "embedding", None), torch.nn.Embedding):
        ours["embedding.weight"] = torch.cat([table, table.new_zeros(100 - len(table), table.shape[1])])
    missing, unexpected = network.load_state_dict(ours, strict=False)
    assert not unexpected
    assert not set(missing) & {name for name, _ in network.named_parameters()}
    out = model(batch)
    torch.testing.assert_close(out.energy, energy, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(out.forces, forces, rtol=tolerance, atol=tolerance)


def linear(theirs, ours, name, source):
    for part in ("weight", "bias"):
        if f"{source}.{part}" in theirs:
            ours[f"{name}.{part}"] = theirs[f"{source}.{part}"]


def test_schnet_agrees_with_schnetpack(batch):
    theirs, answers = fixture("schnet")
    layers = 2
    ours = {"embedding.weight": theirs["representation.embedding.weight"]}
    part = "representation.interactions.{}.filter_network.{}.{}"
    for kind in ("weight", "bias"):
        ours[f"filter_hidden.{kind}"] = torch.cat([theirs[part.format(k, 0, kind)] for k in range(layers)])
    ours["filter_weight"] = torch.stack([theirs[part.format(k, 1, "weight")].T for k in range(layers)])
    ours["filter_bias"] = torch.stack([theirs[part.format(k, 1, "bias")][None] for k in range(layers)])
    for k in range(layers):
        there = f"representation.interactions.{k}"
        linear(theirs, ours, f"inputs.{k}", f"{there}.in2f")
        linear(theirs, ours, f"hidden.{k}", f"{there}.f2out.0")
        linear(theirs, ours, f"outputs.{k}", f"{there}.f2out.1")
        linear(theirs, ours, f"readout.{k}", f"output_modules.0.outnet.{k}")
    model = build({"family": "schnet", "features": 12, "layers": layers, "radial": 10, "cutoff": 4.5}, dtype=F64)
    check(model, ours, batch, answers["energy"], answers["forces"])


def test_painn_agrees_with_schnetpack(batch):
    theirs, answers = fixture("painn")
    layers = 2
    ours = {"embedding.weight": theirs["representation.embedding.weight"]}
    linear(theirs, ours, "filters", "representation.filter_net")
    for k in range(layers):
        mixing = f"representation.mixing.{k}"
        norm, product = theirs[f"{mixing}.mu_channel_mix.weight"].chunk(2)
        ours[f"mixers.{k}.weight"] = torch.cat([product, norm])  # the halves are the other way round
        for here, there in ((0, 0), (2, 1)):
            linear(
                theirs, ours, f"messages.{k}.{here}", f"representation.interactions.{k}.interatomic_context_net.{there}"
            )
            linear(theirs, ours, f"updates.{k}.{here}", f"{mixing}.intraatomic_context_net.{there}")
    linear(theirs, ours, "readout.0", "output_modules.0.outnet.0")
    linear(theirs, ours, "readout.2", "output_modules.0.outnet.1")
    model = build({"family": "painn", "features": 12, "layers": layers, "radial": 10, "cutoff": 4.5}, dtype=F64)
    check(model, ours, batch, answers["energy"], answers["forces"])


def test_deeppot_se_agrees_with_deepmd_kit(batch):
    theirs, answers = fixture("deeppot_se")
    elements, types = (1, 6, 8), 3
    model = build(
        {
            "family": "deeppot_se",
            "elements": elements,
            "embedding": (4, 8, 16),
            "axis": 4,
            "fitting": (12, 12),
            "cutoff": 4.5,
            "switch": 0.5,
            "neighbours": 120,
            "one_side": False,
        },
        dtype=F64,
    )
    ours = {"spread": theirs["spread"]}
    # Theirs are numbered by centre + types * neighbour, ours by types * centre + neighbour.
    order = [centre + types * neighbour for centre in range(types) for neighbour in range(types)]
    for here, there, nets, layers in (
        ("embedding", "descriptor.sea", order, 3),
        ("fitting", "fitting_net", range(types), 2),
        ("out", "fitting_net", range(types), 0),
    ):
        for k in range(layers) if layers else [2]:
            part = f"{there}.filter_layers.networks.{{}}.layers.{k}."
            name = f"{here}.{k}" if layers else here
            ours[f"{name}.weight"] = torch.stack([theirs[part.format(n) + "matrix"] for n in nets])
            ours[f"{name}.bias"] = torch.stack([theirs[part.format(n) + "bias"][None] for n in nets])
    steps = [theirs[f"fitting_net.filter_layers.networks.{n}.layers.1.idt"][None] for n in range(types)]
    ours |= {"steps.0": torch.ones(types, 1, 12), "steps.1": torch.stack(steps)}  # theirs has none in the first layer
    energy, forces = (torch.cat([answers[f"{what}.{n}"] for n in range(2)]) for what in ("energy", "forces"))
    check(model, ours, batch, energy, forces)


# Ours and theirs of the nine harmonics x, y, z, ...: position in theirs, and theirs over ours but for 1 / sqrt(4 pi).
HARMONICS = {
    "1": (0, 1), "x": (3, -(0.5**0.5)), "y": (6, -(0.5**0.5)), "z": (1, 1), "xy": (8, 0.5**0.5),
    "yz": (7, -(0.5**0.5)), "zz": (2, 1), "xz": (4, -(0.5**0.5)), "xx-yy": (5, 0.5**0.5),
}  # fmt: skip


def test_forcenet_agrees_with_the_authors(batch):
    """But for what the fixture's script exchanges on purpose."""
    theirs, answers = fixture("forcenet")
    theirs = {name: value.double() for name, value in theirs.items()}
    frequencies, layers = 50, 2

    def columns_first(weight):  # theirs: every column at the first frequency, then at the second
        return weight.unflatten(1, (frequencies, -1)).transpose(1, 2)

    ours = {"embedding.weight": columns_first(theirs["embedding.1.weight"]).flatten(1)}
    # Theirs: distance, less the other's radius, less mine, less both.
    ours["distances.weight"] = columns_first(theirs["basis_fun.lin.weight"])[:, [0, 3, 2, 1]].flatten(1)
    ours |= {"embedding.bias": theirs["embedding.1.bias"], "distances.bias": theirs["basis_fun.lin.bias"]}
    order, scale = (torch.tensor(list(column)) for column in zip(*HARMONICS.values(), strict=True))
    for k in range(layers):
        here, there = f"layers.{k}", f"interactions.{k}"
        edge = theirs[f"{there}.lin_basis.weight"].unflatten(1, (9, 4))[:, order] * scale[:, None].double()
        ours[f"{here}.edge.weight"] = edge.transpose(1, 2).flatten(1) / (4 * torch.pi) ** 0.5
        ours[f"{here}.edge.bias"] = theirs[f"{there}.lin_basis.bias"]
        ours[f"{here}.centre"] = theirs[f"{there}.center_W"]
        linear(theirs, ours, f"{here}.lin", f"{there}.lin")
        for part in (0, 2, 4):
            linear(theirs, ours, f"{here}.filter.{part}", f"{there}.mlp_edge.{part}")
        for part in (0, 1, 3):
            linear(theirs, ours, f"{here}.transform.{part}", f"{there}.mlp_trans.{part}")
    linear(theirs, ours, "last", "lin")
    for part in (0, 1, 3):
        linear(theirs, ours, f"decoder.{part}", f"decoder.decoder.{part}")
    linear(theirs, ours, "energy", "energy_mlp")
    model = build({"family": "forcenet", "features": 10, "layers": layers, "cutoff": 4.5}, dtype=F64)
    once = (batch.n_atoms - 1) * ours["energy.bias"]  # theirs is added per structure, ours per atom
    # Theirs goes through angles, which lose digits near the poles.
    check(model, ours, batch, answers["energy"] + once, answers["forces"], tolerance=1e-8)
