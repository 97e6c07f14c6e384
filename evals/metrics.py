"""Compute metrics from samples, by pure functions on the records of a task's samples.

A problem is answered greedily (temperature 0, one answer), by k sampled answers, or both. The name of a metric shows
which answers it measures: ``accuracy``, ``steps`` and similar names measure the greedy ones; ``avg_at_8`` (mean
accuracy), ``maj_at_8``, ``pass_at_8`` and names that begin with ``sampled_`` measure the sampled ones.

Every metric is a ratio of two sums over problems: its part and its whole. For a mean over problems (accuracy), the
whole of each problem is 1. For a rate, the whole is its base (steps, responses). If the records do not define a metric
(a rate over no steps, the accuracy of samples without verdicts), it is absent from the result, never 0.

A failed response (its endpoint gave up) counts in `failed` only.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import fsum
from statistics import fmean
from typing import Literal, NotRequired, TypedDict

from evals.at_k import maj_at_k, pass_at_k
from evals.registry import suggest_similar
from evals.verify.golds import count_equal

Decoding = Literal["greedy", "sampled"]
"""How an answer was decoded: greedily (the most likely token at each position), or sampled at a temperature above 0."""


class Sample(TypedDict):
    """One response to one problem, as the evaluation writes it.

    `sample` counts from 0 among the problem's samples of one `decoding`. `tokens` and `steps` are counts. `wrong_steps`
    and `follow_steps` are step indices, absent or None if the steps were not checked. `correct` is None if the verifier
    abstained or the response `failed` (its status). `answer` is the answer as it was compared: None if there is none,
    absent if it was not stored. A sample with `correct_norm` ranks options by log-likelihood: nothing was generated,
    and it counts as greedy.
    """

    problem: str
    decoding: Decoding
    sample: int
    completion: str
    correct: bool | None
    status: str
    tokens: int
    truncated: bool
    steps: int
    answer: NotRequired[str | None]
    correct_norm: NotRequired[bool | None]
    wrong_steps: NotRequired[Sequence[int] | None]
    follow_steps: NotRequired[Sequence[int] | None]


Count = tuple[float, float]
"""A problem's part and whole of a metric; the whole is 0 if the problem does not count."""

Metric = Callable[[Sequence[Sample]], Count]
"""Function from the samples of one problem to its part and whole."""

NOTHING: Count = (0.0, 0.0)


def accuracy(samples: Sequence[Sample]) -> Count:
    """Mean over problems of the share of right answers among the problem's scored samples."""
    scored = _select_scored(samples)
    return (fmean(bool(sample["correct"]) for sample in scored), 1.0) if scored else NOTHING


def known_right(samples: Sequence[Sample]) -> Count:
    """Accuracy that counts abstentions of the verifier and failed responses as wrong."""
    return (fmean(sample["correct"] is True for sample in samples), 1.0) if samples else NOTHING


def accuracy_norm(samples: Sequence[Sample]) -> Count:
    """Accuracy of options ranked by log-likelihood per character."""
    scored = [bool(right) for sample in samples if (right := sample.get("correct_norm")) is not None]
    return (fmean(scored), 1.0) if scored else NOTHING


def wrong_step_rate(samples: Sequence[Sample]) -> Count:
    """Number of wrong steps divided by the number of steps of all checked samples: long responses have more weight."""
    checked = _select_checked(samples)
    return sum(map(_count_wrong, checked)), sum(sample["steps"] for sample in checked)


def flawed_right(samples: Sequence[Sample]) -> Count:
    """Share of the right answers, among samples with checked steps, that contain at least one wrong step."""
    right = [sample for sample in _select_checked(samples) if sample["correct"]]
    return sum(_count_wrong(sample) > 0 for sample in right), len(right)


def steps(samples: Sequence[Sample]) -> Count:
    """Steps per response."""
    responses = _select_responses(samples)
    return sum(sample["steps"] for sample in responses), len(responses)


def tokens(samples: Sequence[Sample]) -> Count:
    """Tokens per response."""
    responses = _select_responses(samples)
    return sum(sample["tokens"] for sample in responses), len(responses)


def no_answer(samples: Sequence[Sample]) -> Count:
    """Share of responses without a final answer, which count as wrong."""
    responses = _select_responses(samples)
    return sum(sample["status"] == "no_answer" for sample in responses), len(responses)


def truncated(samples: Sequence[Sample]) -> Count:
    """Share of responses that the token limit truncated."""
    responses = _select_responses(samples)
    return sum(sample["truncated"] for sample in responses), len(responses)


def unscored(samples: Sequence[Sample]) -> Count:
    """Share of responses for which the verifier abstained; they are left out of the accuracy."""
    came = [sample for sample in samples if sample["status"] != "failed"]
    return sum(sample["correct"] is None for sample in came), len(came)


def failed(samples: Sequence[Sample]) -> Count:
    """Share of responses that failed; they are left out of every other metric."""
    return sum(sample["status"] == "failed" for sample in samples), len(samples)


def passed(k: int, samples: Sequence[Sample]) -> Count:
    """Mean over problems with at least k scored answers of the probability that at least one of k is right."""
    scored = _select_scored(samples)
    if len(scored) < k:
        return NOTHING
    return pass_at_k(sum(bool(sample["correct"]) for sample in scored), len(scored), k), 1.0


def averaged(k: int, samples: Sequence[Sample]) -> Count:
    """Mean over problems of the expected accuracy of k answers: the accuracy of all scored answers, for any k."""
    return accuracy(samples)


def voted(k: int, samples: Sequence[Sample]) -> Count:
    """Mean over problems with at least k scored answers of the probability that the right answer wins a vote of k.

    All right answers are one class, and equal wrong answers are one class. The expectation is over every choice of k of
    the samples. The metric is undefined if the answers were not stored.
    """
    scored = _select_scored(samples)
    if len(scored) < k or any("answer" not in sample for sample in scored):
        return NOTHING
    right = sum(bool(sample["correct"]) for sample in scored)
    wrong = [sample.get("answer") for sample in scored if not sample["correct"]]
    others = count_equal([answer for answer in wrong if answer is not None])
    return maj_at_k(right, others, wrong.count(None), k), 1.0


METRICS: dict[str, Metric] = {
    metric.__name__: metric
    for metric in (
        accuracy, known_right, accuracy_norm, wrong_step_rate, flawed_right, steps, tokens, no_answer, truncated,
        unscored, failed,
    )
}  # fmt: skip

AT_K: dict[str, Callable[[int, Sequence[Sample]], Count]] = {
    "avg_at_": averaged, "pass_at_": passed, "maj_at_": voted,
}  # fmt: skip
"""Metrics of k sampled answers, by the prefix of their names; k follows the prefix."""

SAMPLED = "sampled_"
"""Prefix for a metric of `METRICS` over the sampled answers."""

_OF_SAMPLED = {f"{SAMPLED}{name}": metric for name, metric in METRICS.items() if not name.startswith("accuracy")}


def is_length(name: str) -> bool:
    """Return whether a metric is a length without an upper bound, rather than a share."""
    return name.removeprefix(SAMPLED) in {"steps", "tokens"}


def find_metric(name: str) -> Metric:
    """Return the metric with this name, including names such as ``pass_at_8``; it takes all samples of one problem.

    Raises:
        ValueError: There is no such metric.
    """
    prefix, k = split_at_k(name)
    if k:
        return partial(_count_decoding, "sampled", partial(AT_K[prefix], k))
    if name in _OF_SAMPLED:
        return partial(_count_decoding, "sampled", _OF_SAMPLED[name])
    if name not in METRICS:
        names = [*METRICS, *_OF_SAMPLED, *(f"{prefix}{k}" for prefix in AT_K for k in (2, 4, 8))]
        raise ValueError(f"unknown metric {name!r}{suggest_similar(name, names)}; known: {', '.join(names)}, …")
    return partial(_count_decoding, "greedy", METRICS[name])


def _count_decoding(decoding: Decoding, metric: Metric, samples: Sequence[Sample]) -> Count:
    return metric([sample for sample in samples if sample["decoding"] == decoding])


def split_at_k(name: str) -> tuple[str, int]:
    """Return the prefix and the k of a metric of k answers, such as ``("pass_at_", 8)``; k is 0 for other names."""
    for prefix in AT_K:
        k = name.removeprefix(prefix)
        if k != name and k.isdecimal() and int(k) > 0:
            return prefix, int(k)
    return name, 0


def list_ks(most: int) -> list[int]:
    """Return every power of two up to a number, and that number."""
    return sorted({2**power for power in range(most.bit_length())} | {most}) if most else []


def list_metric_names(samples: Iterable[Sample]) -> list[str]:
    """Return the names of the metrics of samples: `METRICS`, and those of sampled answers if there are any.

    avg@k has the requested k; pass@k and maj@k have the values of `list_ks` for the largest number of scored answers.
    """
    sampled = [sample for sample in samples if sample["decoding"] == "sampled"]
    if not sampled:
        return [*METRICS]
    asked = max(Counter(sample["problem"] for sample in sampled).values())
    scored = max(Counter(sample["problem"] for sample in _select_scored(sampled)).values(), default=0)
    at_k = [f"{prefix}{k}" for prefix in ("pass_at_", "maj_at_") for k in list_ks(scored)]
    return [*METRICS, f"avg_at_{asked}", *at_k, *_OF_SAMPLED]


def count_by_problem(samples: Iterable[Sample], metric: str) -> dict[str, Count]:
    """Return each problem's count for a metric, by problem id, including problems for which it is undefined.

    Raises:
        ValueError: There is no such metric.
    """
    count = find_metric(metric)
    return {problem: count(group) for problem, group in _group_by_problem(samples).items()}


def summarize(samples: Iterable[Sample]) -> dict[str, float]:
    """Return every metric that the samples of a task define, by name, without the task's prefix."""
    samples = list(samples)
    values = {name: compute_ratio(count_by_problem(samples, name).values()) for name in list_metric_names(samples)}
    return {name: value for name, value in values.items() if value is not None}


def score_problems(samples: Iterable[Sample], metric: str) -> dict[str, float]:
    """Return the metric of each problem's samples alone, by problem id, without problems for which it is undefined.

    The mean of these values is the task's metric if each problem has the same weight. This holds for accuracy, and for
    other metrics with equally many samples per problem, but not for `wrong_step_rate` and `flawed_right`, which pool
    all samples of a task.

    Raises:
        ValueError: There is no such metric.
    """
    counted = count_by_problem(samples, metric)
    return {problem: value for problem, count in counted.items() if (value := compute_ratio([count])) is not None}


def compute_ratio(counted: Iterable[Count]) -> float | None:
    """Return the sum of the problems' parts divided by the sum of their wholes; None if the wholes are 0."""
    counted = list(counted)
    whole = fsum(whole for _, whole in counted)
    return fsum(part for part, _ in counted) / whole if whole else None


def _group_by_problem(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample["problem"]].append(sample)
    return groups


def _select_scored(samples: Iterable[Sample]) -> list[Sample]:
    return [sample for sample in samples if sample["correct"] is not None]


def _select_responses(samples: Iterable[Sample]) -> list[Sample]:
    """Return the samples with a generated text."""
    return [sample for sample in samples if sample["status"] != "failed" and "correct_norm" not in sample]


def _select_checked(samples: Iterable[Sample]) -> list[Sample]:
    return [sample for sample in samples if sample.get("wrong_steps") is not None]


def _count_wrong(sample: Sample) -> int:
    return len(set(sample.get("wrong_steps") or ()))
