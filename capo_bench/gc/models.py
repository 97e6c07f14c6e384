"""Which trained weights of finished trials are kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from capo_bench.analysis.measures import measure
from capo_bench.gc.studies import Mentioned
from capo_bench.store.errors import RunError
from capo_bench.store.home import Home, read_json


def best(home: Home, studies: Iterable[Mentioned], count: int, by: str = "") -> set[str]:
    """Return the finished trials whose weights are kept: the best `count` of each variant of each study by a metric.

    Without `by`, the metric is the primary one of each study. A trial that lacks it is kept.

    Raises:
        RunError: A study's ledger names no metric, or one of which neither way is better.
    """
    kept: set[str] = set()
    for study in studies:
        metric = by or study.metric
        sign = _sign(study.name, metric)
        variants: dict[str, list[tuple[float, str]]] = defaultdict(list)
        for trial in study.ever:
            folder = home.trial(trial)
            if not folder.done:
                continue
            value = read_json(folder.metrics)["metrics"].get(metric)
            if value is None:
                kept.add(trial)
            else:
                variants[read_json(folder.config)["variant"]].append((sign * value, trial))
        kept |= {trial for ranked in variants.values() for _, trial in sorted(ranked)[:count]}
    return kept


def _sign(study: str, metric: str) -> int:
    """Return what a metric's values are multiplied with so that the best comes first."""
    if not metric:
        raise RunError(
            f"study {study}: its ledger names no metric to rank by; give one, as in --by coins_test/accuracy"
        )
    better = measure(metric).better
    if better == "neither":
        raise RunError(f"study {study}: {metric} is neither better high nor low; give another with --by")
    return -1 if better == "higher" else 1


def training_seconds(home: Home, trials: Iterable[str]) -> float:
    """Return how long the trainings of finished trials took, by their own record."""
    costs = (read_json(home.trial(trial).metrics).get("cost", {}) for trial in trials)
    return sum(float(cost.get("train_seconds") or 0.0) for cost in costs)
