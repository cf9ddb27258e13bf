"""GemNet and Equiformer of the young package give what the authors' own code gives, with the authors' weights.

Weights and answers lie in fixtures/, with the scripts that made them.
"""

import re

import pytest
import torch

from reference_models import build
from tests.models.test_agreement import F64, batch_of, fixture, structures
from tests.models.test_providers_agree import needed


@pytest.fixture(scope="module")
def molecule():
    return batch_of(structures()[:1])


GEMNET_NAMES = [
    (r"^rbf_basis\.frequencies$", "rbf.freqs"),
    (r"^mlp_(rbf3|cbf3|rbf_h|rbf_out)\.", r"lin_\1."),
    (r"^atom_emb\.embeddings\.", "atom_embedding."),
    (r"^edge_emb\.", "edge_embedding."),
    (r"^int_blocks\.", "interactions."),
    (r"\.trip_interaction\.mlp_cbf\.weight$", ".trip.bilinear"),
    (r"\.trip_interaction\.", ".trip."),
    (r"\.mlp_rbf\.", ".lin_rbf."),
    (r"\.down_projection\.", ".down."),
    (r"\.up_projection_", ".up_"),
    (r"\.layers_(before|after)_skip\.", r".\1_skip."),
    (r"\.concat_layer\.", ".concat."),
    (r"\.dense_rbf\.", ".lin_rbf."),
    (r"^out_blocks\.(\d+)\.out_energy\.", r"outputs.\1.final."),
    (r"^out_blocks\.(\d+)\.(scale_rbf|seq_forces|out_forces)\.", r"outputs.\1.forces.\2."),
    (r"^out_blocks\.(\d+)\.(?!forces)", r"outputs.\1.atom."),
    (r"\.out_forces\.", ".final."),
    (r"\.(layers|seq_forces)\.0\.", ".dense."),
    (r"\.(layers|seq_forces)\.1\.", ".residuals.0."),
    (r"\.(layers|seq_forces)\.2\.", ".residuals.1."),
    (r"\.dense_mlp\.0\.", ".lin1."),
    (r"\.dense_mlp\.1\.", ".lin2."),
]


def renamed(theirs, names):
    ours = {}
    for name, value in theirs.items():
        for pattern, replacement in names:
            name = re.sub(pattern, replacement, name)
        ours[name] = value.double()
    return ours


def padded(table, before):
    """A row per atomic number up to 99."""
    return torch.nn.functional.pad(table, (0, 0, before, 100 - before - len(table)))


def agree(family, size, weights, molecule, energy, forces):
    """Every trained number is named, and the answers are theirs."""
    model = build({"family": family, **size}, dtype=F64)
    network = model.fn.network.network
    missing, unexpected = network.load_state_dict(weights, strict=False)
    assert not unexpected
    assert not {name for name, p in network.named_parameters() if p.requires_grad} & set(missing)
    assert not [name for name in missing if name.endswith("scale_factor")]
    out = model(molecule)
    # The package keeps some constants in float32, so that the last digits of float64 differ.
    torch.testing.assert_close(out.energy, energy, atol=1e-6, rtol=0)
    torch.testing.assert_close(out.forces, forces, atol=1e-6, rtol=0)
    assert forces.abs().max() > 0.1


def test_gemnet_is_the_authors_gemnet(molecule):
    needed("gemnet_t")
    theirs, answers = fixture("gemnet")
    weights = renamed(theirs, GEMNET_NAMES)
    # Theirs: [degree, radial, out] and [in, basis, out]; atoms count from hydrogen.
    weights["lin_cbf3.weight"] = weights["lin_cbf3.weight"].flatten(0, 1).T
    for name in [name for name in weights if name.endswith(".bilinear")]:
        weights[name] = weights[name].transpose(0, 1)
    weights["atom_embedding.weight"] = padded(weights["atom_embedding.weight"], before=1)
    size = {"features": 10, "blocks": 2, "triplet": 4, "bilinear": 5, "basis": 6, "cutoff": 4.5, "radial": 5}
    size["spherical"] = 4
    agree("gemnet_dt", size, weights, molecule, answers["energy"], answers["direct_forces"])
    without = {name: value for name, value in weights.items() if ".forces." not in name}
    agree("gemnet_t", size, without, molecule, answers["energy"], answers["forces"])


EQUIFORMER_NAMES = [
    (r"^atom_embed\.atom_type_lin\.", "atom_embed."),
    (r"\.tp\.weight$", ".weight"),
    (r"\.bias\.0$", ".bias"),
    (r"\.dtp_rad\.", ".rad."),
    (r"\.rad\.offset$", ".rad.net.6.bias"),
    (r"\.ga\.(sep_\w+)\.", r".ga.core.\1."),
    (r"\.ga\.alpha_dot$", ".ga.core.scores.alpha_dot"),
    (r"\.ffn\.fctp_", ".ffn.lin_"),
]


def test_equiformer_is_the_authors_equiformer(molecule):
    needed("equiformer")
    theirs, answers = fixture("equiformer")
    weights = renamed(theirs, EQUIFORMER_NAMES)
    weights["atom_embed.weight"] = padded(weights["atom_embed.weight"], before=0)
    size = {"channels": 16, "blocks": 2, "heads": 2, "cutoff": 4.0, "radial": 6, "width": 16, "smooth": False}
    agree("equiformer", size, weights, molecule, answers["energy"], answers["forces"])
