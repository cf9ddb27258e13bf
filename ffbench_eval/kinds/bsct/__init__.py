"""Bond Smoothness Characterization Test: energy and forces along rigid bond scans, against the reference."""

from ..base import Kind, MetricSpec

PARTS = {
    "compress": "compressed side",
    "stretch": "stretched side",
    "median": "median",
    "p90": "90th percentile",
}  # else a bond type

METRICS = (
    MetricSpec(
        "fsd", "FSD", "1/Å", usual=(1e-9, 1e5), zero=True, parts=PARTS, nothing="no forces", curve="scan_force_"
    ),
    MetricSpec("scan_force_mae", "force MAE along scans", "eV/Å", usual=(1e-9, 1e6), parts=PARTS, nothing="no forces"),
    MetricSpec(
        "scan_energy_mae_aligned",
        "energy MAE along scans, aligned",
        "eV",
        usual=(0, 1e7),
        zero=True,
        parts=PARTS,
    ),
    MetricSpec("scan_energy_mae", "energy MAE along scans, absolute", "eV", usual=(0, 1e7), zero=True, parts=PARTS),
    MetricSpec(
        "spurious_extrema",
        "spurious extrema",
        "1",
        usual=(0, 1e4),
        continuous=False,
        zero=True,
    ),
    MetricSpec("sign_flips", "sign flips", "1", usual=(0, 1e4), continuous=False, zero=True),
    MetricSpec("energy_jump", "energy jump", "1", usual=(0, 1e12), zero=True),
    MetricSpec("conservativeness", "conservativeness", "eV", usual=(0, 1e7), zero=True),
    MetricSpec(
        "conservativeness_on_frames",
        "conservativeness on the frames alone",
        "eV",
        usual=(0, 1e7),
        zero=True,
    ),
    MetricSpec(
        "conservativeness_of_reference",
        "conservativeness of the reference, on the frames",
        "eV",
        "neither",
        usual=(0, 1e3),
        continuous=False,
        zero=True,
    ),
    MetricSpec(
        "supported_share", "share of scans with known elements", "1", "neither", high=1, continuous=False, zero=True
    ),
    MetricSpec("masked_labels", "frames without labels", "1", "neither", usual=(0, 1e7), continuous=False, zero=True),
)

KIND = Kind(
    name="bsct",
    about="Energy and forces along rigid bond scans. FSD mixes smoothness with accuracy near equilibrium and is "
    "never shown without the force error.",
    member="scan",
    members="scans",
    tolerance=2e-2,  # other hardware rounds float32 differently
    small_plots=True,
    work="ffbench_eval.kinds.bsct.work",
    sentence="ffbench_eval.kinds.bsct.sentence:numbers",
    metrics=METRICS,
)
