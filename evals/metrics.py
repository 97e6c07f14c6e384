"""From the samples of one split to its metrics. Pure functions on the records of ``samples/<split>.jsonl``.

A metric that the records do not define (a rate over no steps, the accuracy of samples that were all abstained on) is
absent from the result, never 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import NotRequired, TypedDict

from evals.registry import did_you_mean


class Sample(TypedDict):
    """One completion of one problem, as evaluation wrote it.

    `tokens` and `steps` are counts. `wrong_steps` and `follow_steps` are step indices, absent or None where the
    benchmark cannot check steps. `correct` is None where the verifier abstained.
    """

    problem: str
    sample: int
    completion: str
    correct: bool | None
    status: str
    tokens: int
    truncated: bool
    steps: int
    wrong_steps: NotRequired[Sequence[int] | None]
    follow_steps: NotRequired[Sequence[int] | None]


def accuracy(samples: Sequence[Sample]) -> float | None:
    """Mean over problems of the share of right answers among the problem's scored samples (avg@k)."""
    shares = [
        fmean(scored)
        for group in _by_problem(samples).values()
        if (scored := [bool(sample["correct"]) for sample in group if sample["correct"] is not None])
    ]
    return fmean(shares) if shares else None


def wrong_step_rate(samples: Sequence[Sample]) -> float | None:
    """Wrong steps over all steps of all samples whose steps were checked, together: a long response weighs more."""
    checked = [sample for sample in samples if sample.get("wrong_steps") is not None]
    return _ratio(sum(_wrong(sample) for sample in checked), sum(sample["steps"] for sample in checked))


def flawed_right(samples: Sequence[Sample]) -> float | None:
    """Share of the right answers, among samples whose steps were checked, that hold at least one wrong step."""
    right = [sample for sample in samples if sample["correct"] and sample.get("wrong_steps") is not None]
    return _share(right, lambda sample: _wrong(sample) > 0)


def steps(samples: Sequence[Sample]) -> float | None:
    """Steps per response."""
    return _ratio(sum(sample["steps"] for sample in samples), len(samples))


def tokens(samples: Sequence[Sample]) -> float | None:
    """Tokens per response."""
    return _ratio(sum(sample["tokens"] for sample in samples), len(samples))


def no_answer(samples: Sequence[Sample]) -> float | None:
    """Share of responses without a final answer (they count as wrong)."""
    return _share(samples, lambda sample: sample["status"] == "no_answer")


def truncated(samples: Sequence[Sample]) -> float | None:
    """Share of responses cut at the token limit."""
    return _share(samples, lambda sample: sample["truncated"])


def unscored(samples: Sequence[Sample]) -> float | None:
    """Share of responses that the verifier abstained on (they are left out of the accuracy)."""
    return _share(samples, lambda sample: sample["correct"] is None)


METRICS: dict[str, Callable[[Sequence[Sample]], float | None]] = {
    metric.__name__: metric
    for metric in (accuracy, wrong_step_rate, flawed_right, steps, tokens, no_answer, truncated, unscored)
}


def summarize(samples: Iterable[Sample]) -> dict[str, float]:
    """Return every metric that the samples of a split define, by name, without the split's prefix."""
    samples = list(samples)
    return {name: value for name, metric in METRICS.items() if (value := metric(samples)) is not None}


def problem_scores(samples: Iterable[Sample], metric: str) -> dict[str, float]:
    """Return the metric of each problem's samples alone, by problem id; problems that do not define it are left out.

    The mean of these is the split's metric where each problem weighs the same (accuracy; the others with equally many
    samples a problem), but not for `wrong_step_rate` and `flawed_right`, which pool all samples of a split.

    Raises:
        ValueError: There is no such metric.
    """
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}{did_you_mean(metric, list(METRICS))}; known: {', '.join(METRICS)}")
    groups = _by_problem(samples).items()
    return {problem: value for problem, group in groups if (value := METRICS[metric](group)) is not None}


def _by_problem(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample["problem"]].append(sample)
    return groups


def _wrong(sample: Sample) -> int:
    return len(set(sample.get("wrong_steps") or ()))


def _share(samples: Sequence[Sample], holds: Callable[[Sample], bool]) -> float | None:
    return _ratio(sum(holds(sample) for sample in samples), len(samples))


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
