"""What a verdict says of a model's knowledge of its errors."""

from __future__ import annotations

from ...report import TaskReport
from ...words import known, number, quantity


def numbers(task: TaskReport) -> list[str]:
    """The headline source against chance and against the size alone, then what its threshold was worth."""
    m, lead = task.metrics, task.headline
    if not lead or not known(m.get(f"augrc.test.{lead}")):
        return []
    first = m[f"augrc.test.{lead}"]
    parts = [f"{'PROBE' if lead == 'probe' else lead.replace('_', ' ')} has an AUGRC of {quantity(first)}"]
    if first.trivial is not None:
        parts[0] += f" (chance {number(first.trivial)}"
        bound = m.get("augrc.test.oracle")
        parts[0] += f", perfect {number(bound.value)})" if bound and bound.value is not None else ")"
    size = m.get("augrc.test.size_only")
    if size and size.value is not None and lead != "size_only":
        parts[0] += f", the number of atoms alone {number(size.value)}"
    others = {n.split(".")[1] for n in m if n.startswith("auroc.")} - {"test", "calibration"}
    for domain in ["test", *sorted(others)]:
        risk, covered = m.get(f"realised_risk.{domain}.{lead}"), m.get(f"realised_coverage.{domain}.{lead}")
        if risk and covered and risk.value is not None and covered.value is not None:
            parts.append(f"on {domain} its threshold accepts {covered.value:.0%}, of which {risk.value:.0%} failed")
    return parts
