# %% [markdown]
# # A tour in half a minute
#
# Data, a model of your own, its errors, what it does in a simulation, and a model that was really trained. Everything
# here is shipped: no network, no GPU. The cells are `docs/tour/tour.py`; the outputs are from running it.

# %%
import tempfile

import numpy as np
import torch

from ffbench_data import collate, load_frames
from ffbench_eval import ForceField, evaluate
from ffbench_metrics import distance_histogram, force_mae, histogram_error

torch.set_num_threads(1)
runs = tempfile.mkdtemp()

# %% [markdown]
# ## The data
#
# The frames a model trains on and those it is tested on come through one door. Units are eV and Å.

# %%
train = load_frames("ethanol_gfn2", split="train")
test = load_frames("ethanol_gfn2", split="test")
print(f"{len(train)} frames to train on, {len(test)} to be tested on, of {test.n_atoms[0]} atoms")
print(f"mean size of a force: {np.abs(test.forces).mean():.3f} eV/Å")

# %% [markdown]
# ## A model in ten lines
#
# An energy, a cutoff; the forces come from automatic differentiation. This one pushes every pair of atoms apart.


# %%
def energy(batch):
    d = batch.edge_vectors().norm(dim=-1)
    pair = 0.5 * torch.exp(-2.0 * d) * (1 - d / 4.0) ** 2
    owner = batch.system_index[batch.edge_index[0]]
    return pair.new_zeros(batch.n_systems).index_add(0, owner, pair)


mine = ForceField.from_energy(energy, cutoff=4.0, card={"name": "my-model"})
answer = mine(collate(test[:4]))
print(answer.energy.shape, answer.forces.shape)

# %% [markdown]
# ## Its score
#
# `evaluate` runs a suite, or some of its tasks. The answer comes with the number that decided it, its 95 % interval and
# what no forces at all would score.

# %%
report = evaluate(mine, "mini", tasks=["ethanol_accuracy"], out=f"{runs}/mine", quiet=True)
report  # noqa: B018

# %% [markdown]
# ## A model that was trained
#
# PaiNN, a few minutes on one core, on the same frames. Small errors; now its bonds are stretched and compressed.

# %%
tasks = ["ethanol_accuracy", "ethanol_bond_scans"]
painn = evaluate("reference_models:painn", "mini", tasks=tasks, out=f"{runs}/painn", quiet=True)
painn  # noqa: B018

# %% [markdown]
# Every number is there as a table, with interval, baseline and score.

# %%
table = painn.to_pandas().query("task == 'ethanol_bond_scans'")
table[["metric", "value", "unit", "low", "high", "trivial"]].head(6).round(3)

# %% [markdown]
# ## The metrics alone
#
# They are functions of arrays and need no model. Even two halves of one trajectory of the truth do not agree exactly;
# independent runs differ more. That is the noise floor of a report: below it nothing can be told.

# %%
positions = np.stack([frame.positions for frame in test])
r, half = distance_histogram(positions[::2])
_, other = distance_histogram(positions[1::2])
print(f"h(r) of one half of the truth against the other: {histogram_error(half, other, width=r[1] - r[0]):.3f}")
frozen = np.repeat(positions[:1], len(positions), axis=0)
_, still = distance_histogram(frozen)
print(f"h(r) of a frozen molecule against the truth:     {histogram_error(still, other, width=r[1] - r[0]):.3f}")
print(f"force MAE of predicting nothing: {force_mae(np.zeros_like(test.forces), test.forces):.3f} eV/Å")

# %% [markdown]
# Next: [your own model](../tutorials/own_model.md), [your own data](../tutorials/own_data.md), or the whole suite:
# `ffbench evaluate reference_models:painn --suite mini`.
