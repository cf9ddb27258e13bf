"""Workers killed at random times, over a real Dask scheduler: is the report that of one process, to the last byte?

python benchmarks/soak.py [schedules]   writes benchmarks/results/soak.json

Each schedule starts two worker processes, kills one of them with SIGKILL at a drawn time, up to four times, and starts
another in its place. `tests/eval/test_cluster.py` holds three of them, and the other faults.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from ffbench_eval import evaluate
from ffbench_eval.run import parallel
from ffbench_eval.run.environment import processor
from tests.eval.dask_processes import Killer, scheduler, without_times
from tests.eval.test_cluster import MODEL, SUITE, whole

RESULT = Path(__file__).parent / "results" / "soak.json"


def main(schedules: int) -> None:
    home = Path(tempfile.mkdtemp(prefix="soak-"))
    (home / "dealt.yaml").write_text(SUITE)
    (home / "springs.py").write_text(MODEL)
    model, suite = f"{home}/springs.py:load", home / "dealt.yaml"
    begun = time.monotonic()
    alone = without_times(evaluate(model, suite, out=home / "alone", quiet=True, compile="off"))
    seconds = time.monotonic() - begun
    dealt: list[int] = []
    give = parallel.Dealer.give
    parallel.Dealer.give = lambda self, w, chunk: dealt.append(len(chunk)) or give(self, w, chunk)  # type: ignore
    rows = []
    with scheduler(home) as address:
        for seed in range(schedules):
            out, begun = home / f"{seed}", time.monotonic()
            dealt.clear()
            with Killer(address, seed, seconds, most=4) as killer:
                report = evaluate(model, suite, out=out, scheduler=address, quiet=True, compile="off")
            rows.append(
                {
                    "schedule": seed,
                    "killed": killer.killed,
                    "units": sum(len(t.units) for t in report.tasks.values()),
                    "given_out": sum(dealt),
                    "same_report": without_times(report) == alone,
                    "same_units": whole(out) == whole(home / "alone"),
                    "seconds": round(time.monotonic() - begun, 1),
                }
            )
            same = sum(r["same_report"] and r["same_units"] for r in rows)
            print(f"{rows[-1]}", flush=True)
            found = {"schedules": len(rows), "same": same, "killed": sum(r["killed"] for r in rows)}
            RESULT.write_text(json.dumps({"processor": processor(), **found, "rows": rows}, indent=1) + "\n")
    sys.exit(0 if same == schedules else 1)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
