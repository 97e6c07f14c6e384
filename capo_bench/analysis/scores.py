"""One score a problem, so that their plain mean is the task's metric.

`wrong_step_rate` and `flawed_right` are ratios over all samples of a task: a long response, a problem that is often
solved, weighs more. Averaging ratios of single problems would give another number than the trial's own, and pairing
them would compare only problems that both variants happen to solve. So each ratio R = Σ part / Σ whole is linearised in
the usual way of ratio estimators,

    z_p = R + (part_p − R·whole_p) / mean(whole),

whose mean is R exactly and whose spread gives the spread of R. A problem that says nothing (whole = 0) is at R.
"""

from __future__ import annotations

from collections.abc import Sequence

from evals.metrics import Sample, counts, ratio


def linearised(samples: Sequence[Sample], metric: str) -> dict[str, float]:
    """Return a score of every problem of a task; empty where the samples do not define the metric.

    Args:
        samples: The samples of one task of one trial.
        metric: A name of `evals.metrics.metric_names`.
    """
    counted = counts(samples, metric)
    whole = ratio(counted.values())
    if whole is None:
        return {}
    mean = sum(weight for _, weight in counted.values()) / len(counted)
    return {problem: whole + (part - whole * weight) / mean for problem, (part, weight) in counted.items()}
