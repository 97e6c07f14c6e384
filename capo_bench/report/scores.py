"""One score a problem, so that their plain mean is the split's metric.

`wrong_step_rate` and `flawed_right` are ratios over all samples of a split: a long response, a problem that is often
solved, weighs more. Averaging ratios of single problems would give another number than the trial's own, and pairing
them would compare only problems that both variants happen to solve. So each ratio R = Σw·y/Σw (y the problem's own
ratio, w its weight) is linearised in the usual way of ratio estimators,

    z_p = R + w_p·(y_p − R)/mean(w),

whose mean is R exactly and whose spread gives the spread of R. A problem that says nothing (w = 0) is at R.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from evals.metrics import Sample, problem_scores


def linearised(samples: Sequence[Sample], metric: str) -> dict[str, float]:
    """Return a score of every problem of a split; empty where the samples do not define the metric.

    Args:
        samples: The samples of one split of one trial.
        metric: A name of `evals.metrics.METRICS`.
    """
    values = problem_scores(samples, metric)
    weights = dict.fromkeys((sample["problem"] for sample in samples), 0.0)
    for sample in samples:
        weights[sample["problem"]] += WEIGHTS.get(metric, _one)(sample)
    if metric == "accuracy":  # a mean over problems, however many samples of each were scored
        weights = {problem: float(problem in values) for problem in weights}
    total = sum(weights.values())
    if not total:
        return {}
    mean = total / len(weights)
    ratio = sum(weights[problem] * value for problem, value in values.items()) / total
    return {p: ratio + weight * (values.get(p, ratio) - ratio) / mean for p, weight in weights.items()}


def _one(_: Sample) -> float:
    return 1.0


def _checked_steps(sample: Sample) -> float:
    return float(sample["steps"]) if sample.get("wrong_steps") is not None else 0.0


def _checked_right(sample: Sample) -> float:
    return float(bool(sample["correct"]) and sample.get("wrong_steps") is not None)


WEIGHTS: dict[str, Callable[[Sample], float]] = {
    "wrong_step_rate": _checked_steps,
    "flawed_right": _checked_right,
}
"""What a sample weighs in its split's ratio; 1 for the other metrics."""
