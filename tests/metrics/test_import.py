"""The metric library keeps its promises about names and imports."""

import subprocess
import sys

import ffbench_metrics

NAMES = """
energy_mae force_mae force_rmse force_cosine distance_histogram rdf rdf_error wright_factor jensen_shannon
bond_stability rdf_stability survival_curve mean_squared_displacement diffusivity diffusivity_single_lag
velocity_autocorrelation nve_drift free_energy_surface free_energy_from_hills free_energy_error
force_smoothness_deviation count_spurious_extrema conservativeness energy_violation force_violation risk_coverage_curve
aurc augrc auroc_failure expected_calibration_error brier_score block_bootstrap autocorrelation_time rank_intervals
""".split()  # noqa: SIM905


def test_every_public_name_is_there():
    assert [name for name in NAMES if not callable(getattr(ffbench_metrics, name, None))] == []
    assert set(NAMES) <= set(ffbench_metrics.__all__)


def test_import_loads_numpy_alone():
    code = (
        "import sys, numpy; before = {m.split('.')[0] for m in sys.modules}; import ffbench_metrics; "
        "after = {m.split('.')[0] for m in sys.modules} - before - set(sys.stdlib_module_names); print(sorted(after))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "['ffbench_metrics']"
