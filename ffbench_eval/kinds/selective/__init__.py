"""Selective classification: does the model, or a probe on its embeddings, know which answers are wrong?"""

from collections.abc import Callable
from functools import partial

from ..base import Kind, MetricSpec

ELIGIBLE = (  # to stand for a model, in the order in which equals are taken
    *("probe", "force_spread", "energy_spread", "own_uncertainty", "linear_probe", "nearest_neighbours"),
    *("mahalanobis", "mixture", "gradient_boosting", "size_only", "composition_only"),
)
SHORT = {  # the legend has little room
    "linear_probe": "linear",
    "gradient_boosting": "boosting",
    "size_only": "size",
    "composition_only": "composition",
    "nearest_neighbours": "kNN",
    "own_uncertainty": "own",
}
NEVER = ("oracle", "random")  # bounds of what a source can be
OF_EVERY = ("*.size_only", "*.composition_only", "*.gradient_boosting", "*.random", "*.oracle")  # no embedding needed

# Keys are score.part of the data[.source[.rule]]; a rule is named where it is not the first.
_score: Callable[..., MetricSpec] = partial(
    MetricSpec,
    parts={},
    separator=".",
    zero=True,
    continuous=False,
    shown=(),
    of_every=OF_EVERY,
    nothing="chance",
    curve="risk_coverage_test",
)

METRICS = (
    _score(
        "augrc",
        "AUGRC",
        "1",
        high=0.5,
        gain="{} from chance to perfect",
        columns={"test.{headline}": 0, "test.size_only": 2},
        shown=("*.{headline}", "!*calibration.*", "test.size_only", "test.oracle"),
    ),
    _score(
        "auroc",
        "AUROC of failures",
        "1",
        "higher",
        high=1,
        columns={"test.{headline}": 1},
        shown=("test.{headline}",),
        function="auroc_failure",
    ),
    _score("excess_augrc", "E-AUGRC", "1", high=0.5),
    _score("aurc", "AURC", "1", high=1),
    _score("excess_aurc", "E-AURC", "1", usual=(-1, 1), low=-1, high=1, version="2"),
    _score("residual_augrc", "AUGRC of the error", "any", usual=(0, 1e7), function="augrc"),
    _score("auprc", "AUPRC of failures", "1", "higher", high=1, function="auprc_failure"),
    _score("accuracy_at_coverage", "accuracy at coverage", "1", "higher", high=1, shown=("test.{headline}",)),
    _score("accuracy", "accuracy", "1", "higher", high=1, function=""),
    _score("ece", "ECE, 15 equal-mass bins", "1", high=1, function="expected_calibration_error"),
    _score("brier", "Brier score", "1", high=1, function="brier_score"),
    _score("spearman", "Spearman with the error", "1", "higher", low=-1, high=1),
    _score("realised_risk", "realised risk", "1", high=1, function=""),
    _score("realised_coverage", "realised coverage", "1", "higher", high=1, function=""),
    _score(
        "prevalence",
        "share that failed",
        "1",
        "neither",
        high=1,
        columns={"test": 3},
        shown=("test",),
        of_every=("*",),
        function="",
    ),
    _score("majority_accuracy", "accuracy of the majority", "1", "neither", high=1, of_every=("*",), function=""),
    MetricSpec(
        "probe_cost",
        "PROBE over one model evaluation",
        "1",
        usual=(0, 1e6),
        timed=True,
        shown=(),
        of_every=(),
        function="",
    ),
)

KIND = Kind(
    name="selective",
    about="Does the model know when it is wrong? Confidence against error; AUGRC is the headline. A score of 0 is "
    "chance, half the share that failed; 1 is the oracle, which knows every failure. Each model is judged by the "
    "kind of confidence that was best on its calibration part; the test part has no say in the choice.",
    member="part",
    members="parts",
    tolerance=2e-2,
    leads=ELIGIBLE,
    bounds=NEVER,
    short=SHORT,
    sampled=False,
    own_baseline=True,  # half the share that failed
    learned=True,  # probes, from embeddings that other hardware rounds otherwise
    subject="confidence",
    work="ffbench_eval.kinds.selective.work",
    sentence="ffbench_eval.kinds.selective.sentence:numbers",
    metrics=METRICS,
)
