"""Errors on frames as in accuracy, and what they are made of: by element, group, temperature and system."""

from ..accuracy import METRICS as WHOLE
from ..base import Kind, MetricSpec

PARTS = {"element": "element", "config_type": "group", "temperature": "temperature", "system": "system"}

METRICS = (
    *WHOLE,
    MetricSpec(
        "force_mae_by",
        "force MAE",
        "eV/Å",
        usual=(1e-9, 1e4),
        zero=True,
        parts=PARTS,
        separator=".",
        function="force_mae",
    ),
    MetricSpec(
        "energy_mae_per_atom_by",
        "energy MAE per atom",
        "eV/atom",
        usual=(0, 1e6),
        zero=True,
        parts=PARTS,
        separator=".",
        function="energy_mae",
    ),
)

KIND = Kind(
    name="accuracy_in_parts",
    about="Errors of energy and forces on labelled frames, also by element, by group of the data (config_type), by "
    "temperature and by system. Energies of parts are aligned where the whole is.",
    member="chunk of frames",
    members="rows",
    frames=True,
    tolerance=2e-3,  # other hardware rounds float32 differently
    work="ffbench_eval.kinds.parts.work",
    sentence="ffbench_eval.kinds.accuracy.sentence:numbers",
    metrics=METRICS,
)
