"""Do the tests see a wrong line? One-line faults planted in a copy of the checkout, and the tests of that file.

    python benchmarks/mutation.py sample --room metrics --per-file 15 faults.json
    python benchmarks/mutation.py run faults.json [--only survived]
    python benchmarks/mutation.py show faults.json

`sample` draws at random (seeded, the same number from every file) from the faults that cosmic-ray's operators can
make; a list by hand of {"file", "line", "before", "after"} with whole lines serves too. `run` runs the tests of each
file without a fault first (those that fail then are left out), then with one fault after the other until a test fails.
Only those that run its statement are tried, the shortest first. Each result is written at once: a killed run goes on
where it stopped. A mark "equivalent" (by hand, with why) takes a fault out of the count. Every trial is a fork of one
process that has the large libraries loaded: seconds, not tens.

Needs `pip install cosmic-ray coverage` besides the test extra, and POSIX. `results/mutation.json` holds the samples.
"""

import argparse
import ast
import contextlib
import fnmatch
import functools
import itertools
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results" / "mutation.json"
BOARD, EVALUATOR = "tests/leaderboard/test_{}.py", "tests/eval/test_{}.py"
# room: {the files that are mutated: the tests that should see it}
ROOMS = {
    "metrics": {"ffbench_metrics/*.py": ["tests/metrics"]},
    "board": {
        "leaderboard/check/recompute*.py": [BOARD.format(n) for n in ("recompute", "reactions")],
        "leaderboard/site/scoring.py": [BOARD.format("scoring")],
        "leaderboard/check/[acfos]*.py": [BOARD.format("check"), "-k", "not thousand and not every_selective"],
    },
    "kinds": {
        "ffbench_eval/kinds/*/__init__.py": [EVALUATOR.format(n) for n in ("intervals", "kinds")],
        "ffbench_eval/kinds/accuracy/*.py": [EVALUATOR.format(n) for n in ("accuracy_metrics", "alignment")],
        "ffbench_eval/kinds/bsct/*.py": [EVALUATOR.format("bsct")],
        "ffbench_eval/kinds/dynamics/*.py": [
            EVALUATOR.format(n)
            for n in ("observables", "more_observables", "on_trajectory", "criteria", "systems", "floors")
        ],
        "ffbench_eval/kinds/selective/*.py": [
            EVALUATOR.format(n) for n in ("selective", "selective_metrics", "selective_probe")
        ],
        "ffbench_eval/kinds/speed/*.py": [EVALUATOR.format("speed")],
        "ffbench_eval/kinds/*.py": [EVALUATOR.format(n) for n in ("intervals", "kinds", "accuracy_metrics")],
    },
    "evaluator": {"ffbench_eval/run/execute.py": [EVALUATOR.format("failures")]},
}
SWAPS = {
    "BinaryOperator": """Add_Sub Sub_Add Mul_Div Div_Mul Pow_Mul FloorDiv_Mul Mod_Mul BitAnd_BitOr BitOr_BitAnd""",
    "ComparisonOperator": """Eq_NotEq NotEq_Eq Lt_LtE LtE_Lt Gt_GtE GtE_Gt Lt_Gt Gt_Lt LtE_GtE GtE_LtE Is_IsNot
        IsNot_Is""",
}
CHANGES = """NumberReplacer AddNot ReplaceAndWithOr ReplaceOrWithAnd ReplaceTrueWithFalse ReplaceFalseWithTrue
    ReplaceUnaryOperator_Delete_Not ZeroIterationForLoop ReplaceUnaryOperator_Delete_USub ReplaceBreakWithContinue
    ExceptionReplacer ReplaceContinueWithBreak"""
OPERATORS = [f"core/Replace{what}_{swap}" for what, swaps in SWAPS.items() for swap in swaps.split()]
OPERATORS += [f"core/{name}" for name in CHANGES.split()]
LIBRARIES = """torch scipy.stats scipy.optimize scipy.spatial.transform sklearn.metrics sklearn.linear_model ase.io
    ase.md pytest hypothesis pydantic mdtraj freud.density freud.msd pyarrow datasets vesin jinja2 typer rich.console
    yaml joblib safetensors.torch contourpy filelock tqdm torch._dynamo ase.build ase.calculators.emt
    ase.units scipy.integrate scipy.signal"""
FEW = 80  # tests tried for a constant of a module, which every test runs
LIMIT_S = 90  # or three times what the tests take without a fault

BINARY = {"*": "term", "**": "power"}  # elsewhere they part or spread arguments


def behaves(node) -> bool:
    """False in annotations, in the text of messages and for stars in arguments: no change of what is worked out."""
    if getattr(node, "value", "") in BINARY and node.parent.type != BINARY[node.value]:
        return False
    while node.parent is not None:
        parent = node.parent
        if parent.type.startswith("fstring") or (parent.type in ("param", "funcdef") and parent.annotation is node):
            return False
        if parent.type == "tfpdef" and parent.children[0] is not node:
            return False
        if parent.type == "annassign" and parent.children[1] is node:
            return False
        node = parent
    return True


def possible_faults(path: Path) -> list[tuple[str, int]]:
    """(operator, occurrence) of every fault that the operators can make in a file."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator

    nodes = [(node, behaves(node)) for node in ast_nodes(get_ast(path.read_text()))]
    possible = []
    for name in OPERATORS:
        operator = get_operator(name)()
        places = (good for node, good in nodes for _ in operator.mutation_positions(node))
        possible += [(name, occurrence) for occurrence, good in enumerate(places) if good]
    return possible


def draw_faults(path: Path, number: int, draw: random.Random) -> tuple[list[dict], int]:
    """A random choice of the faults of one line that the operators can make in a file, and how many there are."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    code, possible = path.read_text(), possible_faults(path)
    lines = code.splitlines()
    draw.shuffle(possible)
    found: dict[tuple, dict] = {}
    for name, occurrence in possible:
        changed = mutate_code(code, get_operator(name)(), occurrence).splitlines()
        odd = [i for i, (a, b) in enumerate(zip(lines, changed)) if a != b]
        if len(changed) == len(lines) and len(odd) == 1:
            (i,) = odd
            found[i, changed[i]] = {"line": i + 1, "before": lines[i], "after": changed[i], "operator": name[5:]}
        if len(found) >= number:
            break
    return [{"file": str(path.relative_to(ROOT)), **found[key]} for key in sorted(found)], len(possible)


def line_of(fault: dict, text: str) -> int:
    """The number of its line, which is looked for near the one it had: edits elsewhere do no harm."""
    places = [i for i, line in enumerate(text.split("\n"), 1) if line == fault["before"]]
    if not places:
        raise SystemExit(f"{fault['file']}: no line {fault['before']!r}. Draw a new sample or edit the fault.")
    return min(places, key=lambda i: abs(i - fault["line"]))


def planted(fault: dict, text: str) -> str:
    """The text of its file with the fault."""
    lines = text.split("\n")
    lines[line_of(fault, text) - 1] = fault["after"]
    return "\n".join(lines)


class Watch:
    """pytest plugin: a choice of tests, the shortest first; notes those that fail; takes the luck out of hypothesis."""

    def __init__(self, only: list[str] | None = None):
        self.only, self.failed, self.took, self.coverage = only, [], {}, None

    def pytest_configure(self, config):
        from hypothesis import settings

        settings.register_profile("mutation", deadline=None, derandomize=True, database=None)
        settings.load_profile("mutation")

    def pytest_collection_modifyitems(self, items):
        if self.only is not None:
            at = {name: i for i, name in enumerate(self.only)}
            items[:] = sorted((item for item in items if item.nodeid in at), key=lambda item: at[item.nodeid])

    def pytest_runtest_logstart(self, nodeid):
        if self.coverage is not None:  # what a fixture does is of all tests of its file
            self.coverage.switch_context(nodeid.split("::")[0])

    def pytest_runtest_call(self, item):
        if self.coverage is not None:
            self.coverage.switch_context(item.nodeid)

    def pytest_runtest_logreport(self, report):
        self.took[report.nodeid] = self.took.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed.append(report.nodeid)


def load() -> None:
    """The large libraries, so that a fork need not; nothing of this project, and no test."""
    for name in LIBRARIES.split():
        with contextlib.suppress(ImportError):
            __import__(name)
    sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() not in (ROOT, Path(__file__).parent)]


def apart(work, limit_s: float | None):
    """What `work()` returns in a fork with a process group of its own, or None where it takes longer."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)

    def child():
        os.setsid()
        with open(os.devnull, "w") as sink:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
        theirs.send(work())

    process = context.Process(target=child)
    process.start()
    theirs.close()
    try:
        return ours.recv() if ours.poll(limit_s) else None
    except EOFError:
        return ["end of the process"]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.join()


def write(path: Path, text: str, second: int) -> None:
    path.write_text(text)
    os.utime(path, (second, second))


def begin_in(folder: Path) -> None:
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    os.environ["PYTHONPATH"] = str(folder)


def trial(folder: Path, tests: list[str], only: list[str]) -> list[str]:
    """The first of ``only`` that fails in a copy of the checkout, or what kept them from running."""
    import pytest

    begin_in(folder)
    watch = Watch(only)
    code = pytest.main(["-p", "no:cacheprovider", "-x", *tests], plugins=[watch])
    return watch.failed or ([] if code in (0, 5) else [f"exit code {int(code)}"])


def as_it_is(folder: Path, tests: list[str]) -> tuple[list[str], list[str], dict[str, dict[int, list[str]]]]:
    """Without a fault: the tests that fail, those that pass (shortest first), and which of them run a line."""
    import coverage
    import pytest

    begin_in(folder)
    watch = Watch()
    watch.coverage = coverage.Coverage(data_file=None, source=["ffbench_metrics", "ffbench_eval", "leaderboard"])
    watch.coverage.start()
    pytest.main(["-p", "no:cacheprovider", *tests], plugins=[watch])
    watch.coverage.stop()
    data, failed = watch.coverage.get_data(), set(watch.failed)
    passed = [name for name in sorted(watch.took, key=watch.took.get) if name not in failed]
    lines = {str(Path(f).relative_to(folder.resolve())): data.contexts_by_lineno(f) for f in data.measured_files()}
    return sorted(failed), passed, lines


def that_run(line: int, text: str, passed: list[str], lines: dict[int, list[str]]) -> list[str]:
    """The tests that run the statement of a line; for what runs at import the shortest `FEW` of all."""
    tree = ast.parse(text)
    inside = [n for n in ast.walk(tree) if isinstance(n, ast.stmt) and n.lineno <= line <= n.end_lineno]
    own = max(inside, key=lambda n: n.lineno)
    found = {name for at in range(own.lineno, own.end_lineno + 1) for name in lines.get(at, [])}
    if "" in found and not any(isinstance(n, ast.FunctionDef) and n is not own for n in inside):
        return passed[:FEW]
    return [name for name in passed if name in found or name.split("::")[0] in found]


def tests_of(file: str) -> list[str]:
    found = [t for room in ROOMS.values() for pattern, t in room.items() if fnmatch.fnmatch(file, pattern)]
    if not found:
        raise SystemExit(f"{file}: no tests are named for it in ROOMS; add them")
    return found[0]


def run(path: Path, only: str | None) -> None:
    faults = json.loads(path.read_text())
    todo = [f for f in faults if "equivalent" not in f and f.get("outcome") in (None, only)]
    load()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "checkout"
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".git", "__pycache__", ".*_cache", "runs"))
        if (ROOT.parent / "shared").exists():
            (Path(scratch) / "shared").symlink_to(ROOT.parent / "shared")
        clock = itertools.count(int(time.time()) - 10**6)  # compiled files are told apart by whole seconds

        known: dict[tuple, tuple] = {}
        for file in dict.fromkeys(f["file"] for f in todo):
            tests, begin = tests_of(file), time.monotonic()
            if tuple(tests) not in known:
                made = apart(functools.partial(as_it_is, folder, tests), None)
                known[tuple(tests)] = *made, max(LIMIT_S, 3 * (time.monotonic() - begin))
            failing, passed, lines, limit = known[tuple(tests)]
            print(f"{file}: {' '.join(tests)}; fail without a fault: {failing}")
            target = folder / file
            text = target.read_text()
            for fault in (f for f in todo if f["file"] == file):
                begin = time.monotonic()
                only = that_run(line_of(fault, text), text, passed, lines.get(file, {}))
                files = sorted({name.split("::")[0] for name in only})
                write(target, planted(fault, text), next(clock))
                failed = apart(functools.partial(trial, folder, files, only), limit) if only else []
                write(target, text, next(clock))
                if fault.get("outcome") == "survived":
                    fault["at_first"] = "survived"
                fault["outcome"] = "killed" if failed is None or failed else "survived"
                fault["by"] = "timeout" if failed is None else (failed or [""])[0]
                path.write_text(json.dumps(faults, indent=1))
                took = time.monotonic() - begin
                print(f"{fault['outcome']:9}{took:6.1f} s {file}:{fault['line']} {fault['after'].strip()}", flush=True)


def sample(rooms: list[str], per_file: int, total: int | None, seed: int, out: Path) -> None:
    draw = random.Random(seed)
    faults = []
    files = {p: room for room in rooms for pattern in ROOMS[room] for p in sorted(ROOT.glob(pattern))}
    number = dict.fromkeys(files, per_file)
    if total is not None:  # every fault as likely as every other: the share killed is that of all possible faults
        every = [p for p in files for _ in possible_faults(p)]
        number = Counter(draw.sample(every, total))
    for path, room in files.items():
        if number[path]:
            chosen, possible = draw_faults(path, number[path], draw)
            faults += [{"room": room, **f} for f in chosen]
            print(f"{path.relative_to(ROOT)}: {len(chosen)} of {possible}")
    out.write_text(json.dumps(faults, indent=1))


def show(path: Path) -> None:
    """The interval is of the faults killed at first: tests written for the survivors say nothing of other faults."""
    from scipy.stats import binomtest

    faults = json.loads(path.read_text())
    print("| room | tried | equivalent | killed at first | 95 % | killed in the end |\n|---|---|---|---|---|---|")
    for room in [*dict.fromkeys(f["room"] for f in faults), None]:
        here = [f for f in faults if room in (None, f["room"]) and "outcome" in f]
        real = [f for f in here if "equivalent" not in f]
        fresh = [f for f in real if f.get("at_first") != "not measured"]  # tests were not written after the draw
        first = sum(f["outcome"] == "killed" and "at_first" not in f for f in fresh)
        killed = sum(f["outcome"] == "killed" for f in real)
        if fresh:
            ci = binomtest(first, len(fresh)).proportion_ci(method="wilson")
            share = f"{first} of {len(fresh)} ({first / len(fresh):.0%}) | {ci.low:.0%} to {ci.high:.0%}"
            print(f"| {room or 'all'} | {len(here)} | {len(here) - len(real)} | {share} | {killed} of {len(real)} |")
    for f in faults:
        if f.get("outcome") == "survived" and "equivalent" not in f:
            print(f"{f['file']}:{f['line']}\n  - {f['before'].strip()}\n  + {f['after'].strip()}")


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("command", choices=("sample", "run", "show"))
    cli.add_argument("faults", nargs="?", type=Path, default=RESULTS)
    cli.add_argument("--room", choices=ROOMS, action="append")
    cli.add_argument("--per-file", type=int, default=15)
    cli.add_argument("--total", type=int, help="instead of --per-file: so many of all faults, each equally likely")
    cli.add_argument("--seed", type=int, default=20)
    cli.add_argument("--only", help="try again those with this outcome")
    args = cli.parse_intermixed_args()
    if args.command == "sample":
        sample(args.room or list(ROOMS), args.per_file, args.total, args.seed, args.faults)
    elif args.command == "show":
        show(args.faults)
    else:
        run(args.faults, args.only)


if __name__ == "__main__":
    main()
