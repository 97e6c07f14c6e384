"""Every number of a report, worked out once: tables, figures and the answer only show what stands here."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from capo_bench.report.collect import Results, Run, measured
from capo_bench.report.measures import measure
from capo_bench.report.overall import Overall, overall
from capo_bench.report.power import Power, power
from capo_bench.report.resample import Share, bootstrap, improvement
from capo_bench.report.stats import (
    NOISE,
    Estimate,
    Layout,
    Pair,
    difference,
    holm,
    lay_out,
    mean_interval,
    pair,
)

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan

COSTS = (
    *("wall_seconds", "policy_tokens", "critic_tokens", "critiques", "abstained"),
    *("critic_prompt_tokens", "critic_cached_tokens", "critic_output_tokens", "critiques_reused"),
    *("critique_seconds", "critic_wait_seconds", "critic_money", "steps", "total_tokens", "train_flops"),
)
"""Costs of a trial that stand beside every result, in this order; 0 where a method has none."""


@dataclass(frozen=True)
class Cell:
    """One variant on one metric.

    Attributes:
        value: Its mean.
        versus: Paired difference to the baseline; None for the baseline itself and where nothing can be paired.
        holm: Holm-adjusted p value of `versus` over the variants compared on this metric; NaN without one.
        gain: Paired difference to the start; None for the start itself and where there is none.
        improvement: Chance that a new training comes out better than one of the baseline; None with one seed and for
            metrics of which neither way is better.
        power: What the comparison could see, at the level of Holm's first step; None with one seed, and of a metric
            that the study does not ask about.
        bootstrap: Percentile interval of `versus`, for whoever wants to see how it differs; it decides nothing. None
            likewise.
    """

    value: Estimate
    versus: Estimate | None = None
    holm: float = math.nan
    gain: Estimate | None = None
    improvement: Share | None = None
    power: Power | None = None
    bootstrap: tuple[float, float] | None = None

    @property
    def beyond_noise(self) -> bool:
        """Whether the difference to the baseline is told from noise."""
        return self.versus is not None and self.holm < NOISE


@dataclass(frozen=True)
class Row:
    """One variant.

    Attributes:
        variant: Its name.
        seeds: Seeds that finished.
        planned: How many seeds were planned.
        cells: Metric to cell; a metric that no finished trial measured is absent.
        cost: Mean cost of a trial by name.
        relative: Cost over the baseline's; absent where the baseline's is 0 or unknown.
        failed_critiques: Share of critiques that abstained; NaN without critiques.
        unscored: Largest share of samples of a task left out because they could not be scored.
        unspent: Trials that took all of `train.steps` before their budget was spent.
        baseline: The variant that it is compared with; itself for a baseline.
        start: The untrained one that its gain is counted from; itself for a start.
    """

    variant: str
    seeds: tuple[int, ...]
    planned: int
    cells: Mapping[str, Cell]
    cost: Mapping[str, float]
    relative: Mapping[str, float]
    failed_critiques: float
    unscored: float
    unspent: int = 0
    baseline: str | None = None
    start: str | None = None


@dataclass(frozen=True)
class Summary:
    """A study in numbers.

    Attributes:
        name: The study.
        question: What it asks.
        profile: Which of its profiles.
        baseline: Variant that the others are compared to.
        start: Untrained variant that gains are counted from, if the study names one.
        metrics: The study's metrics, the primary one first.
        rows: One a variant, in the plan's order.
        missing: Planned trials that are not done, as (variant, seed, trial id).
        within: Settings that are the same in all that is compared; then each variant has a baseline of its own.
        overall: Variant to its accuracy over all benchmarks of the study; empty where it has fewer than two.
    """

    name: str
    question: str
    profile: str
    baseline: str
    start: str | None
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    missing: tuple[tuple[str, int, str], ...]
    within: tuple[str, ...] = ()
    overall: Mapping[str, Overall] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        """What a variant is compared with, in words."""
        if not self.within:
            return self.baseline
        return f"the baseline of its {', '.join(key.rpartition('.')[2] for key in self.within)}"

    @property
    def roles(self) -> dict[str, str]:
        """The variants that others are compared with, as ``baseline`` or ``start``."""
        starts = {row.start: "start" for row in self.rows if row.start}
        return {**starts, **{row.baseline: "baseline" for row in self.rows if row.baseline}}

    @property
    def primary(self) -> str:
        """The metric that the answer is about."""
        return self.metrics[0]

    @property
    def accuracies(self) -> tuple[str, ...]:
        """The metrics that are the accuracy on a benchmark."""
        return accuracies(self.metrics)

    @property
    def finished(self) -> int:
        """How many trials are done."""
        return sum(len(row.seeds) for row in self.rows)

    @property
    def planned(self) -> int:
        """How many trials were planned."""
        return self.finished + len(self.missing)

    def row(self, variant: str | None) -> Row | None:
        """Return a variant's row."""
        return next((row for row in self.rows if row.variant == variant), None)

    def cells(self, metric: str) -> list[tuple[Row, Cell]]:
        """Return the rows that have the metric with an interval, and their cells."""
        return [(row, row.cells[metric]) for row in self.rows if metric in row.cells and row.cells[metric].value.known]


def accuracies(metrics: Sequence[str]) -> tuple[str, ...]:
    """Return those of the metrics that are the accuracy on a benchmark."""
    return tuple(metric for metric in metrics if metric.endswith("/accuracy"))


def summarise(results: Results) -> Summary:
    """Work out every number of the report."""
    plan = results.plan
    cells: dict[str, dict[str, Cell]] = {variant: {} for variant in results.runs}
    laid: dict[str, dict[str, Layout]] = {}
    for metric in measured(plan.metrics):
        laid[metric] = {name: lay_out(found) for name in results.runs if (found := results.scores(name, metric))}
        for variant, cell in _cells(plan, metric, laid[metric]).items():
            cells[variant][metric] = cell
    return Summary(
        name=plan.study,
        question=plan.question,
        profile=plan.profile,
        baseline=plan.baseline,
        start=plan.start,
        metrics=plan.metrics,
        rows=tuple(_row(results, variant, cells[variant]) for variant in results.runs),
        missing=tuple((trial.variant, trial.seed, trial.id) for trial in results.missing),
        within=plan.within,
        overall=_overall(plan, [laid[metric] for metric in accuracies(plan.metrics)]),
    )


def _overall(plan: Plan, tasks: Sequence[Mapping[str, Layout]]) -> dict[str, Overall]:
    if len(tasks) < 2:
        return {}
    scores = {name: [task[name] for task in tasks] for name in tasks[0] if all(name in task for task in tasks)}
    return overall(scores, _opponents(plan, scores))


def _opponents(plan: Plan, scored: Collection[str]) -> dict[str, str]:
    """Return the baseline of each variant that is compared with one; baselines and starts are not."""
    found = {name: (plan.baseline_of(name), plan.start_of(name)) for name in scored}
    starts = {start for _, start in found.values()}
    return {
        name: base
        for name, (base, _) in found.items()
        if base is not None and base in scored and name not in {base, *starts}
    }


def _cells(plan: Plan, metric: str, laid: Mapping[str, Layout]) -> dict[str, Cell]:
    starts = {name: plan.start_of(name) for name in laid}
    pairs = {name: pair(laid[name], laid[base]) for name, base in _opponents(plan, laid).items()}
    versus = _versus(metric, pairs, asked=metric in plan.metrics)
    return {
        name: replace(
            versus.get(name, _NOT_COMPARED),
            value=mean_interval(found.values),
            gain=_shown(difference(found, laid[start]))
            if (start := starts[name]) is not None and start in laid and name != start
            else None,
        )
        for name, found in laid.items()
    }


def _versus(metric: str, pairs: Mapping[str, Pair], *, asked: bool) -> dict[str, Cell]:
    """Return what each variant's pair with the baseline says; its own mean is left open.

    Of a metric that the study does not ask about nobody is told what the comparison could have seen.
    """
    changes = {name: mean_interval(found.difference) for name, found in pairs.items()}
    adjusted = holm([change.p for change in changes.values()])
    level = NOISE / max(1, sum(not math.isnan(p) for p in adjusted))
    better, ends = measure(metric).better, bootstrap(pairs) if asked else {}
    return {
        name: replace(
            _NOT_COMPARED,
            versus=_shown(changes[name]),
            holm=p,
            improvement=None if better == "neither" else improvement(found, lower=better == "lower"),
            power=power(found.difference, level) if asked else None,
            bootstrap=ends.get(name),
        )
        for (name, found), p in zip(pairs.items(), adjusted, strict=True)
    }


_NOT_COMPARED = Cell(mean_interval(np.empty((0, 0))))


def _shown(change: Estimate | None) -> Estimate | None:
    return change if change is not None and change.known else None


def _cost(runs: Mapping[int, Run]) -> dict[str, float]:
    if not runs:
        return {}
    names = dict.fromkeys([*COSTS, *(name for run in runs.values() for name in run.cost)])
    return {name: sum(run.cost.get(name, 0.0) for run in runs.values()) / len(runs) for name in names}


def _unspent(run: Run) -> bool:
    """Say whether training ended for want of steps.

    Of processes that count seconds, each by its own clock, any may end it: the share on record is then just below 1,
    but steps are left.
    """
    steps = run.trial.config.train.steps
    return run.cost.get("budget_share", 1.0) < 1 and run.cost.get("steps", 0.0) >= steps


def _row(results: Results, variant: str, cells: Mapping[str, Cell]) -> Row:
    runs, baseline = results.runs[variant], results.plan.baseline_of(variant)
    cost, base = _cost(runs), _cost(results.runs.get(baseline or "", {}))
    critiques = cost.get("critiques", 0.0)
    unscored = [v for run in runs.values() for name, v in run.shares.items() if name.endswith("/unscored")]
    return Row(
        variant=variant,
        seeds=tuple(sorted(runs)),
        planned=sum(trial.variant == variant for trial in results.plan.trials),
        cells=cells,
        cost=cost,
        relative={name: value / base[name] for name, value in cost.items() if base.get(name)},
        failed_critiques=cost["abstained"] / critiques if critiques else math.nan,
        unscored=max((v for v in unscored if not math.isnan(v)), default=0.0),
        unspent=sum(map(_unspent, runs.values())),
        baseline=baseline,
        start=results.plan.start_of(variant),
    )
