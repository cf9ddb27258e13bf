"""Bond Smoothness Characterization Test: energy and forces along rigid bond scans, against the reference."""

from collections.abc import Callable
from functools import partial
from typing import Any

from ..base import Kind, MetricSpec

PARTS = {
    "compress": "compressed side",
    "stretch": "stretched side",
    "median": "median",
    "p90": "90th percentile",
}  # else a bond type

_scan: Callable[..., MetricSpec] = partial(MetricSpec, zero=True)
_whole: dict[str, Any] = {"parts": PARTS, "shown": ("",)}  # the parts are many: the Parquet file has them

METRICS = (
    _scan(
        "spurious_extrema",
        "spurious extrema",
        "1",
        gloss=("{} false extrema a scan", 1),
        curve="scan_energy_",
        usual=(0, 1e4),
        continuous=False,
        columns={"": 2},
        ranked=True,
        worse_than_none="scan_force_mae",
        function="count_spurious_extrema",
    ),
    _scan(
        "sign_flips",
        "sign flips",
        "1",
        usual=(0, 1e4),
        continuous=False,
        ranked=True,
        worse_than_none="scan_force_mae",
        function="count_sign_flips",
    ),
    _scan(  # of a whole scan it is nearly always that of its compressed side
        "fsd",
        "FSD",
        "1/Å",
        usual=(1e-9, 1e5),
        parts=PARTS,
        shown=("", "stretch"),
        columns={"": 0},
        ranked=True,
        theory="another theory than the data's",  # it feels another bond length as much as a bump
        nothing="no forces",
        beaten="rougher than no forces",
        curve="scan_force_",
        function="force_smoothness_deviation",
    ),
    MetricSpec(
        "scan_force_mae",
        "force MAE along scans",
        "eV/Å",
        usual=(1e-9, 1e6),
        columns={"": 1},
        nothing="no forces",
        **_whole,
        function="force_mae",
    ),
    _scan(
        "scan_energy_mae_aligned",
        "energy MAE along scans, aligned",
        "eV",
        usual=(0, 1e7),
        **_whole,
        function="energy_mae",
    ),
    _scan(
        "scan_energy_mae",
        "energy MAE along scans, absolute",
        "eV",
        usual=(0, 1e7),
        parts=PARTS,
        shown=(),
        function="energy_mae",
    ),
    _scan("energy_jump", "energy jump", "1", usual=(0, 1e12)),
    _scan("conservativeness", "conservativeness", "eV", usual=(0, 1e7)),
    _scan(
        "conservativeness_on_frames",
        "conservativeness on the frames alone",
        "eV",
        usual=(0, 1e7),
        shown=(),
        function="conservativeness",
    ),
    _scan(
        "conservativeness_of_reference",
        "conservativeness of the reference, on the frames",
        "eV",
        "neither",
        usual=(0, 1e3),
        continuous=False,
        shown=(),
        function="conservativeness",
    ),
    _scan(
        "supported_share", "share of scans with known elements", "1", "neither", high=1, continuous=False, function=""
    ),
    _scan("masked_labels", "frames without labels", "1", "neither", usual=(0, 1e7), continuous=False, function=""),
)

KIND = Kind(
    name="bsct",
    about="Energy and forces along rigid bond scans. FSD mixes smoothness with accuracy near equilibrium and is "
    "never shown without the force error.",
    member="scan",
    members="scans",
    tolerance=2e-2,  # other hardware rounds float32 differently
    small_plots=True,
    subject="smoothness",
    work="ffbench_eval.kinds.bsct.work",
    sentence="ffbench_eval.kinds.bsct.sentence:numbers",
    metrics=METRICS,
)
