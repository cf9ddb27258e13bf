"""How fast the model moves atoms on the machine at hand."""

from ..base import Kind, MetricSpec

METRICS = (
    MetricSpec("steps_per_second", "speed", "replica steps/s", "higher", usual=(1e-6, 1e9), timed=True, function=""),
    MetricSpec(
        "ns_per_day",
        "simulated time",
        "ns/day",
        "higher",
        usual=(1e-12, 1e9),
        timed=True,
        columns={"": 1},
        gloss=("{} ns a day here", 1),
        function="",
    ),
    MetricSpec("engine_over_call", "engine step over model call", "1", usual=(1e-3, 1e6), timed=True, function=""),
    MetricSpec(
        "steps_per_kernel",
        "steps per reference kernel",
        "1",
        "higher",
        usual=(1e-9, 1e6),
        timed=True,
        columns={"": 0},
        ranked=True,
        function="",
    ),
)

KIND = Kind(
    name="speed",
    about="Steps per second; between machines compare steps per reference kernel. Never part of a score.",
    member="replica",
    members="replicas",
    theory=False,
    weight=0,
    compiled=True,
    timed=True,
    work="ffbench_eval.kinds.speed.work",
    sentence="ffbench_eval.kinds.speed.sentence:numbers",
    metrics=METRICS,
)
