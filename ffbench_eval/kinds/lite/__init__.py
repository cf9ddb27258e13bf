"""Bond scans without a reference: is the model smooth, has it false minima, do its forces belong to its energy?"""

from ..base import Kind, MetricSpec

METRICS = (
    MetricSpec(
        "spurious_extrema",
        "spurious extrema",
        "1",
        gloss=("{} false extrema a scan", 1),
        usual=(0, 1e4),
        continuous=False,
        zero=True,
        function="count_spurious_extrema",
    ),
    MetricSpec("energy_roughness", "energy roughness", "eV", usual=(0, 1e7), zero=True),
    MetricSpec("conservativeness", "conservativeness", "eV", usual=(0, 1e7), zero=True),
    MetricSpec(
        "sign_flips", "sign flips", "1", usual=(0, 1e4), continuous=False, zero=True, function="count_sign_flips"
    ),
)

KIND = Kind(
    name="bond_smoothness",
    about="Rigid scans of the bonds of the data's own molecules, from half to twice the bond length, asked of the "
    "model alone: what needs no reference. A model can be smooth and wrong: read it beside the force error.",
    member="scan",
    members="scans",
    theory=False,
    tolerance=2e-2,
    small_plots=True,
    work="ffbench_eval.kinds.lite.work",
    sentence="ffbench_eval.kinds.lite.sentence:numbers",
    metrics=METRICS,
)
