"""What went wrong in training, and which gains are only sharpening, as sentences of a report's cautions."""

from __future__ import annotations

from collections.abc import Iterator

from capo_bench.analysis.health import Health
from capo_bench.analysis.measures import find_task, format_number, name_unit
from capo_bench.analysis.stats import MeanEstimate
from capo_bench.analysis.summary import Summary

CUT = 0.1
"""From this share of rollouts cut at the token limit on, a report says so."""

MOST = 0.5
"""From this share of groups without signal, or of rollouts of a single step, on, a report says so."""


def list_training_cautions(summary: Summary) -> Iterator[str]:
    """Yield what went wrong in training: no learning at all first, then collapse."""
    for row in summary.rows:
        if row.health is not None and (flaws := list(_describe_trouble(row.health))):
            yield f"{row.variant}: {', '.join(flaws)}."
    for row in summary.rows:
        if row.collapsed:
            seeds = f"{len(row.collapsed)} of {len(row.seeds)} seeds ({', '.join(map(str, row.collapsed))})"
            yield (
                f"{row.variant} collapsed in {seeds}: it ended below half of the start on {summary.primary}, or below "
                "half of its best outcome in training; medians stand beside the means where seeds differ much."
            )


def _describe_trouble(health: Health) -> Iterator[str]:
    if health.still:
        yield f"no gradient in {health.still} of {health.steps} steps"
    if health.truncated is not None and health.truncated >= CUT:
        yield f"{100 * health.truncated:.0f} % of rollouts cut"
    silent, single = health.groups_without_signal, health.single_step_responses
    if silent is not None and silent >= MOST:
        yield f"{100 * silent:.0f} % of groups without signal"
    if single is not None and single >= MOST:
        yield f"{100 * single:.0f} % of rollouts have a single step, so a step's credit is the response's"


def list_sharpening_cautions(summary: Summary) -> Iterator[str]:
    """Yield a sentence with its numbers for each variant whose gain over the start is only sharpening."""
    for row in summary.rows:
        judged = summary.sharpening.get(row.variant)
        if judged is None or judged.verdict != "only sharpening":
            continue
        evidence, k = judged.evidence, max(judged.evidence.coverage, default=0)
        parts = {
            f"avg@{k}": evidence.average,
            "greedy": evidence.greedy,
            f"greedy minus the start's maj@{k}": evidence.majority,
            f"pass@{k}": evidence.coverage.get(k),
        }
        numbers = "; ".join(
            _describe_difference(summary, label, part) for label, part in parts.items() if part is not None
        )
        yield f"{row.variant}: only sharpening; {judged.reason}. Over {row.start}: {numbers}."


def _describe_difference(summary: Summary, label: str, change: MeanEstimate) -> str:
    metric = f"{find_task(summary.primary)}/accuracy"
    mean, low, high = (format_number(metric, value, sign=True) for value in (change.mean, change.low, change.high))
    n = f"n = {change.seeds} × {change.problems}"
    return f"{label} {mean} [{low}, {high}]{name_unit(metric, difference=True)} ({n})"
