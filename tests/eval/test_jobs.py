"""Workers as jobs of a batch system, as dask-jobqueue makes them; of the system only its two commands are played."""

import os
import signal
import stat
import subprocess
import sys

import pytest

from ffbench_eval import evaluate
from ffbench_eval.run.cluster import jobs
from tests.eval.dask_processes import without_times
from tests.eval.test_cluster import MODEL, SUITE

dask = pytest.importorskip("dask")
before = signal.getsignal(signal.SIGINT)
pytest.importorskip("dask_jobqueue")  # takes Ctrl-C for itself
signal.signal(signal.SIGINT, before)
OWN = {
    "cores": 1,
    "memory": "2GB",
    "walltime": "01:00:00",
    "job-extra-directives": ["--gpus=1"],
    "python": sys.executable,
    "job-script-prologue": ["module load mine"],
}


@pytest.mark.parametrize(
    ("system", "asked"), [("slurm", ("#SBATCH -n 1", "#SBATCH --gpus=1")), ("pbs", ("#PBS -l walltime=01:00:00",))]
)
def test_the_job_is_that_of_the_configuration_file_with_one_thread(system, asked):
    with dask.config.set({f"jobqueue.{system}": {**dask.config.get(f"jobqueue.{system}"), **OWN}}):
        made = jobs(system)
        script = made.job_script()
        made.close()
    lines = script.splitlines()
    for line in (*asked, "module load mine", "export OMP_NUM_THREADS=1", "export MALLOC_TRIM_THRESHOLD_=1073741824"):
        assert line in lines
    assert "dask_worker" in lines[-1] or "dask worker" in lines[-1]
    assert "--nthreads 1" in lines[-1]


def test_a_system_that_is_not_described_is_one_line():
    with pytest.raises(ValueError, match=r"cluster slurm: could not be asked for workers .* jobqueue\.yaml") as told:
        jobs("slurm")
    assert len(str(told.value).splitlines()) == 1


def test_ctrl_c_stays_ours():
    """dask_jobqueue takes it for itself when it is imported."""
    code = "import signal; from ffbench_eval.run.cluster import jobs\ntry: jobs('slurm')\nexcept ValueError: pass\n"
    code += "import dask_jobqueue; assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    subprocess.run([sys.executable, "-c", code], check=True)


SBATCH = """#!/bin/sh
for last; do :; done
cp "$last" {folder}/job-$$.sh
setsid sh {folder}/job-$$.sh > {folder}/job-$$.out 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = "#!/bin/sh\nkill -TERM -$1\n"


def test_jobs_of_slurm_give_the_report_of_one_process(tmp_path, monkeypatch):
    for name, text in (("sbatch", SBATCH.format(folder=tmp_path)), ("scancel", SCANCEL)):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "dealt.yaml").write_text(SUITE)
    (tmp_path / "springs.py").write_text(MODEL)
    model, suite = f"{tmp_path}/springs.py:load", tmp_path / "dealt.yaml"
    own = {**dask.config.get("jobqueue.slurm"), **OWN, "job-script-prologue": []}
    with dask.config.set({"jobqueue.slurm": own}):
        report = evaluate(model, suite, out=tmp_path / "slurm", quiet=True, compile="off", cluster="slurm", workers=2)
    alone = evaluate(model, suite, out=tmp_path / "alone", quiet=True, compile="off")
    assert without_times(report) == without_times(alone)
    assert list(tmp_path.glob("job-*.sh"))
