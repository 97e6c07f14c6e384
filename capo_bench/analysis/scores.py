"""One score a problem, so that their plain mean is the task's metric.

`wrong_step_rate` and `flawed_right` are ratios over all samples of a task: a long response, a problem that is often
solved, weighs more. Averaging ratios of single problems would give another number than the trial's own, and pairing
them would compare only problems that both variants happen to solve. So each ratio R = Σ part / Σ whole is linearised in
the usual way of ratio estimators,

    z_p = R + (part_p − R·whole_p) / mean(whole),

whose mean is R exactly and whose spread gives the spread of R. A problem that says nothing (whole = 0) is at R.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import cast

from evals.metrics import Count, Sample, compute_ratio, find_metric, split_at_k

_Answers = tuple[tuple[str, bool | None, object], ...]
"""What of a problem's samples decides some metrics: decoding, verdict and answer of each."""

_NOT_KEPT = object()


def linearise(samples: Sequence[Sample], metrics: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return, for each metric, a score of every problem of a trial's task; empty where the samples do not define it."""
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample["problem"]].append(sample)
    numbers: dict[_Answers, int] = {}
    number_of = [numbers.setdefault(_make_key(group), len(numbers)) for group in groups.values()]
    scores = {}
    for metric in metrics:
        if metric == "accuracy" or split_at_k(metric)[1]:
            counts = [_count(metric, answers) for answers in numbers]
            counted = [counts[number] for number in number_of]
        else:
            count = find_metric(metric)
            counted = [count(group) for group in groups.values()]
        scores[metric] = _linearise_counts(groups, counted)
    return scores


def _make_key(samples: Sequence[Sample]) -> _Answers:
    return tuple((sample["decoding"], sample["correct"], sample.get("answer", _NOT_KEPT)) for sample in samples)


@lru_cache(maxsize=2**16)  # seeds and variants answer a problem alike, and few answers are many problems' lot
def _count(metric: str, answers: _Answers) -> Count:
    samples = [
        {"decoding": decoding, "correct": correct, **({} if answer is _NOT_KEPT else {"answer": answer})}
        for decoding, correct, answer in answers
    ]
    return find_metric(metric)(cast("list[Sample]", samples))


def _linearise_counts(problems: Iterable[str], counted: Sequence[Count]) -> dict[str, float]:
    whole = compute_ratio(counted)
    if whole is None:
        return {}
    mean = sum(weight for _, weight in counted) / len(counted)
    pairs = zip(problems, counted, strict=True)
    return {problem: whole + (part - whole * weight) / mean for problem, (part, weight) in pairs}
