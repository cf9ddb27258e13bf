"""Errors of energy and forces on labelled frames the model has not seen."""

from ..base import Kind, MetricSpec

METRICS = (
    MetricSpec(
        "force_mae",
        "force MAE",
        "eV/Å",
        usual=(1e-9, 1e4),
        columns={"": 0},
        nothing="no forces",
        share="force error {}",
        curve="force_parity",
    ),
    MetricSpec("energy_mae", "energy MAE", "eV", usual=(1e-12, 1e7)),
    MetricSpec(
        "energy_mae_per_atom",
        "energy MAE per atom",
        "eV/atom",
        usual=(1e-12, 1e6),
        columns={"": 2},
        function="energy_mae",
    ),
    MetricSpec("energy_mae_aligned", "energy MAE, aligned", "eV", usual=(0, 1e7), zero=True, function="energy_mae"),
    MetricSpec(
        "energy_mae_per_atom_aligned",
        "energy MAE per atom, aligned",
        "eV/atom",
        usual=(0, 1e6),
        zero=True,
        columns={"": 1},
        function="energy_mae",
    ),
    MetricSpec("force_cosine", "force cosine", "1", "higher", low=-1, high=1, zero=True, version="2", columns={"": 3}),
    MetricSpec("net_force", "net force of the forces", "eV/Å", usual=(0, 1e4), zero=True),
    MetricSpec("net_torque", "net torque of the forces", "eV", usual=(0, 1e7), zero=True, version="2"),
    MetricSpec("force_rmse", "force RMSE", "eV/Å", usual=(1e-18, 1e8)),
)

KIND = Kind(
    name="accuracy",
    about="Errors of energy and forces on labelled frames the model has not seen.",
    member="chunk of frames",
    members="rows",
    frames=True,
    tolerance=2e-3,  # other hardware rounds float32 differently
    subject="errors",
    work="ffbench_eval.kinds.accuracy.work",
    sentence="ffbench_eval.kinds.accuracy.sentence:numbers",
    metrics=METRICS,
)
