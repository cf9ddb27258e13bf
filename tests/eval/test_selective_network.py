"""The network of PROBE against the published forward pass written down in plain arrays, from the paper's text."""

import numpy as np
import pytest
import torch
from scipy.special import erf

from ffbench_eval.selective import ProbeNetwork


def linear(w, name, x):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def layer_norm(w, name, x):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x * w[f"{name}.weight"] + w[f"{name}.bias"]


def gelu(x):
    return x * (1 + erf(x / np.sqrt(2))) / 2


def published(w, atoms, energy, *, heads=32, charges=None):
    """Logits [2] of one structure: atoms [N, d]; every sum over keys by hand, no padding at all."""
    x = gelu(layer_norm(w, "atoms.1", linear(w, "atoms.0", atoms)))
    x = gelu(layer_norm(w, "atoms.5", linear(w, "atoms.4", x)))
    x = layer_norm(w, "atoms.9", linear(w, "atoms.8", x))  # the encoder ends here
    if charges is not None:
        x = x + layer_norm(w, "charge.1", linear(w, "charge.0", charges[:, None]))
    qkv = x @ w["attention.in_proj_weight"].T + w["attention.in_proj_bias"]
    width = x.shape[1] // heads
    mixed = np.zeros_like(x)
    for h in range(heads):
        q, k, v = (qkv[:, s * x.shape[1] + h * width : s * x.shape[1] + (h + 1) * width] for s in range(3))
        logits = q @ k.T / np.sqrt(width)
        attention = np.exp(logits - logits.max(1, keepdims=True))
        mixed[:, h * width : (h + 1) * width] = attention / attention.sum(1, keepdims=True) @ v
    x = layer_norm(w, "norm", x + linear(w, "attention.out_proj", mixed))
    x = np.concatenate([x.mean(0), x.max(0), [energy, len(atoms)]])
    for k in (0, 4, 8):
        x = gelu(layer_norm(w, f"head.{k + 1}", linear(w, f"head.{k}", x)))
    return linear(w, "head.12", x)


@pytest.mark.parametrize("charges", [False, True])
@pytest.mark.parametrize("dimensions", [16, 256])
def test_logits_are_those_of_the_published_forward_pass(dimensions, charges):
    torch.manual_seed(dimensions)
    network = ProbeNetwork(dimensions, charges=charges).double().eval()
    with torch.no_grad():
        for p in network.parameters():  # biases and norms away from where they start
            p.add_(0.1 * torch.randn_like(p))
    w = {k: v.numpy() for k, v in network.state_dict().items()}
    rng = np.random.default_rng(0)
    sizes, energy = [3, 7, 1], rng.normal(size=3)
    atoms = [rng.normal(size=(n, dimensions)) for n in sizes]
    charge = [rng.normal(size=n) for n in sizes]
    padded, mask, q = np.full((3, 7, dimensions), 99.0), np.zeros((3, 7), bool), np.full((3, 7), 9.0)
    for k, n in enumerate(sizes):
        padded[k, :n], mask[k, :n], q[k, :n] = atoms[k], True, charge[k]
    with torch.no_grad():
        got, _ = network(
            torch.tensor(padded),
            torch.tensor(mask),
            torch.tensor(np.stack([energy, sizes], 1)),
            torch.tensor(q) if charges else None,
        )
    for k in range(3):
        expected = published(w, atoms[k], energy[k], charges=charge[k] if charges else None)
        np.testing.assert_allclose(got[k].numpy(), expected, rtol=1e-9, atol=1e-10)


def test_what_attention_sees_is_normalised_and_keeps_both_signs():
    network = ProbeNetwork(8).train()
    x = network.atoms(torch.randn(4, 5, 8))
    assert x.mean(-1).abs().max() < 1e-5
    assert (x == 0).sum() == 0  # no dropout
    assert x.min() < -1  # GELU ends at -0.17
