"""What the studies of a results folder refer to, by their ledgers, and which trained weights are kept of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from capo_bench.analysis.measures import measure
from capo_bench.run.state import holder_of, started_studies
from capo_bench.store.errors import RunError
from capo_bench.store.home import Home, read_json
from capo_bench.store.ledger import Ledger


@dataclass(frozen=True)
class Mentioned:
    """What one study refers to: trials of the newest plan of each profile, and those that its ledger ever names.

    `metric` is its primary one, ``task/quantity``; empty where the ledger does not say.
    """

    name: str
    running: bool
    wanted: frozenset[str]
    ever: frozenset[str]
    metric: str


def mentioned(home: Home, running: Collection[str] | None = None) -> list[Mentioned]:
    """Return what each study that has a ledger refers to; `running` are those that run, None asks their locks.

    Raises:
        RunError: A ledger cannot be read.
    """
    studies = []
    for name in started_studies(home):
        folder = home.study(name)
        # First, so that what a run that ends meanwhile wrote is read.
        runs = holder_of(folder) is not None if running is None else name in running
        records = Ledger(folder.ledger).read()
        starts = [record for record in records if record["event"] == "study_started"]
        newest = {record.get("profile"): record["plan"] for record in starts}
        ever = {trial for record in starts for trial in record["plan"]}
        ever |= {record["trial"] for record in records if "trial" in record}
        metric = next(iter(starts[-1].get("metrics") or ()), "") if starts else ""
        studies.append(Mentioned(name, runs, frozenset().union(*newest.values()), frozenset(ever), str(metric)))
    return studies


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
