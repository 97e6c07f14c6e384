"""Every number of a report, worked out once: tables, figures and the answer only show what stands here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from capo_bench.analysis.collect import Results, Run
from capo_bench.analysis.health import COLLAPSE, Health, average_health, has_collapsed
from capo_bench.analysis.looks import estimate_at_look, estimate_difference, find_opponents
from capo_bench.analysis.measures import find_task, is_better, measure
from capo_bench.analysis.power import Power, power
from capo_bench.analysis.sharpening import Sharpening, SharpeningEvidence, judge
from capo_bench.analysis.spending import compute_level_of_look
from capo_bench.analysis.stats import (
    NOISE,
    Matrix,
    MeanEstimate,
    ScoreLayout,
    adjust_by_holm,
    estimate_mean,
    lay_out,
    subtract_paired,
)
from evals.metrics import split_at_k
from evals.tasks import list_task_files
from evals.tasks.identity import find_task_draws

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan

COSTS = (
    *("train_cpu_seconds", "policy_tokens", "critic_tokens", "critiques", "abstained", "wall_seconds"),
    "evaluate_cpu_seconds",
    *("policy_prompt_tokens", "policy_prefill_tokens", "value_tokens"),
    *("critic_prompt_tokens", "critic_cached_tokens", "critic_output_tokens", "critiques_reused"),
    *("critique_seconds", "critic_wait_seconds", "critic_money", "steps", "total_tokens", "train_flops"),
)
"""Costs of a trial that stand beside every result, in this order; 0 where a method has none."""


@dataclass(frozen=True)
class Cell:
    """One variant on one metric.

    Attributes:
        versus: Paired difference to the baseline; None for the baseline itself and where nothing can be paired.
        holm: Holm-adjusted p value of `versus` over the variants compared on this metric; NaN without one.
        gain: Paired difference to the start; None for the start itself and where there is none.
        power: What the comparison could see, at the level of Holm's first step; None with one seed, and of a metric
            that the study does not ask about.
        by_seed: Its mean of each seed, the lowest seed first.
    """

    value: MeanEstimate
    versus: MeanEstimate | None = None
    holm: float = math.nan
    gain: MeanEstimate | None = None
    power: Power | None = None
    by_seed: tuple[float, ...] = ()

    @property
    def beyond_noise(self) -> bool:
        """Whether the difference to the baseline is told from noise."""
        return self.versus is not None and self.holm < NOISE


@dataclass(frozen=True)
class VariantRow:
    """One variant.

    Attributes:
        cells: Metric to cell; a metric that no finished trial measured is absent.
        cost: Mean cost of a trial by name.
        relative: Cost over the baseline's; absent where the baseline's is 0 or unknown.
        failed_critiques: Share of critiques that abstained; NaN without critiques.
        unscored: Largest share of samples of a task left out because they could not be scored.
        unspent: Trials that took all of `train.steps` before their budget was spent.
        health: How its training went; None where nothing was trained.
        collapsed: Seeds whose training collapsed (`health.COLLAPSE`).
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
    health: Health | None = None
    collapsed: tuple[int, ...] = ()
    baseline: str | None = None
    start: str | None = None


@dataclass(frozen=True)
class Summary:
    """A study in numbers.

    Attributes:
        missing: Planned trials that are not done, as (variant, seed, trial id).
        sharpening: Variant to whether its gain over its start is only sharpening; empty without a start.
        temperature: That of the sampled answers of the primary metric's task.
    """

    plan: Plan
    rows: tuple[VariantRow, ...]
    missing: tuple[tuple[str, int, str], ...]
    sharpening: Mapping[str, Sharpening] = field(default_factory=dict)
    temperature: float = 1.0
    looks_complete: int = 0

    @property
    def reference(self) -> str:
        """What a variant is compared with, in words."""
        if not self.plan.within:
            return self.plan.baseline
        return f"the baseline of its {', '.join(key.rpartition('.')[2] for key in self.plan.within)}"

    @property
    def roles(self) -> dict[str, str]:
        """The variants that others are compared with, as ``baseline`` or ``start``."""
        starts = {row.start: "start" for row in self.rows if row.start}
        return {**starts, **{row.baseline: "baseline" for row in self.rows if row.baseline}}

    @property
    def look_levels(self) -> list[float]:
        """Return the level of each look of one variant alone."""
        return [compute_level_of_look(self.plan.looks, look, NOISE) for look, _ in enumerate(self.plan.looks, 1)]

    @property
    def primary(self) -> str:
        """The metric that the answer is about."""
        return self.plan.metrics[0]

    @property
    def finished(self) -> int:
        """How many trials are done."""
        return sum(len(row.seeds) for row in self.rows)

    @property
    def planned(self) -> int:
        """How many trials were planned."""
        return self.finished + len(self.missing)

    def ks(self, prefix: str) -> list[int]:
        """Return every k of a metric of k answers to the primary metric's task, as ``pass_at_``."""
        start = f"{find_task(self.primary)}/{prefix}"
        return sorted(
            {int(name.removeprefix(start)) for row in self.rows for name in row.cells if name.startswith(start)}
        )

    def row(self, variant: str | None) -> VariantRow | None:
        """Return a variant's row."""
        return next((row for row in self.rows if row.variant == variant), None)

    def cells(self, metric: str) -> list[tuple[VariantRow, Cell]]:
        """Return the rows that have the metric with an interval, and their cells."""
        return [
            (row, row.cells[metric])
            for row in self.rows
            if metric in row.cells and row.cells[metric].value.has_interval
        ]


def summarise(results: Results) -> Summary:
    """Work out every number of the report."""
    plan = results.plan
    cells: dict[str, dict[str, Cell]] = {variant: {} for variant in results.runs}
    laid: dict[str, dict[str, ScoreLayout]] = {}
    for metric in results.metrics:
        laid[metric] = {name: lay_out(own) for name in results.runs if (own := results.scores(name, metric))}
        for variant, cell in _compute_cells(plan, metric, laid[metric]).items():
            cells[variant][metric] = cell
    return Summary(
        plan=plan,
        rows=tuple(_build_variant_row(results, variant, cells[variant]) for variant in results.runs),
        missing=tuple((trial.variant, trial.seed, trial.id) for trial in results.missing),
        sharpening=_judge_sharpening(plan, laid),
        temperature=_find_temperature(plan),
        looks_complete=results.looks_complete,
    )


def _find_temperature(plan: Plan) -> float:
    task, evaluation = find_task(plan.metrics[0]), plan.variants[0].config.evaluation
    if evaluation.temperature is not None or task not in list_task_files():
        return evaluation.temperature or 1.0
    return find_task_draws(task).temperature


def _judge_sharpening(plan: Plan, laid: Mapping[str, Mapping[str, ScoreLayout]]) -> dict[str, Sharpening]:
    """Judge every variant that has a start with results, on the primary metric's task."""
    task = find_task(plan.metrics[0])
    of = {metric.removeprefix(f"{task}/"): own for metric, own in laid.items() if find_task(metric) == task}
    ks = {name: k for name in of if (k := split_at_k(name)[1])}
    averages = sorted((name for name in ks if name.startswith("avg_at_")), key=lambda name: ks[name])
    # A vote of one answer is no vote.
    votes = sorted((name for name in ks if name.startswith("maj_at_") and ks[name] > 1), key=lambda name: ks[name])

    def versus(variant: str, ours: str, start: str, theirs: str) -> MeanEstimate | None:
        left, right = of.get(ours, {}).get(variant), of.get(theirs, {}).get(start)
        return None if left is None or right is None else _drop_unknown(estimate_difference(left, right, plan.looks))

    judged = {}
    for variant in (each.name for each in plan.variants):
        start = plan.start_of(variant)
        if start is None or start == variant or not any(variant in own and start in own for own in of.values()):
            continue
        passed = {ks[name]: versus(variant, name, start, name) for name in ks if name.startswith("pass_at_")}
        judged[variant] = judge(
            SharpeningEvidence(
                average=versus(variant, averages[-1], start, averages[-1]) if averages else None,
                greedy=versus(variant, "accuracy", start, "accuracy"),
                majority=versus(variant, "accuracy", start, votes[-1]) if votes else None,
                coverage={k: change for k, change in sorted(passed.items()) if change is not None},
            )
        )
    return judged


def _compute_cells(plan: Plan, metric: str, laid: Mapping[str, ScoreLayout]) -> dict[str, Cell]:
    starts = {name: plan.start_of(name) for name in laid}
    pairs = {name: subtract_paired(laid[name], laid[base]) for name, base in find_opponents(plan, laid).items()}
    versus = _compare_pairs(pairs, plan.looks, asked=metric in plan.metrics)
    return {
        name: replace(
            versus.get(name, _NOT_COMPARED),
            value=estimate_mean(own.values),
            by_seed=tuple(np.sort(np.nanmean(own.values, axis=1)).tolist()),
            gain=_drop_unknown(estimate_difference(own, laid[start], plan.looks))
            if (start := starts[name]) is not None and start in laid and name != start
            else None,
        )
        for name, own in laid.items()
    }


def _compare_pairs(pairs: Mapping[str, Matrix], looks: Sequence[int], *, asked: bool) -> dict[str, Cell]:
    """Return what each variant's pair with the baseline says; its own mean is left open.

    Of a metric that the study does not ask about nobody is told what the comparison could have seen.
    """
    changes = {name: estimate_at_look(values, looks) for name, values in pairs.items()}
    adjusted = adjust_by_holm([change.p for change in changes.values()])
    level = NOISE / max(1, sum(not math.isnan(p) for p in adjusted))
    if looks:  # what the study can see by its end
        level = compute_level_of_look(looks, len(looks), level)
    return {
        name: replace(
            _NOT_COMPARED,
            versus=_drop_unknown(changes[name]),
            holm=p,
            power=power(values, level) if asked else None,
        )
        for (name, values), p in zip(pairs.items(), adjusted, strict=True)
    }


_NOT_COMPARED = Cell(estimate_mean(np.empty((0, 0))))


def _drop_unknown(change: MeanEstimate | None) -> MeanEstimate | None:
    return change if change is not None and change.has_interval else None


def _cost(runs: Mapping[int, Run]) -> dict[str, float]:
    if not runs:
        return {}
    names = dict.fromkeys([*COSTS, *(name for run in runs.values() for name in run.cost)])
    return {name: sum(run.cost.get(name, 0.0) for run in runs.values()) / len(runs) for name in names}


def _has_unspent_budget(run: Run) -> bool:
    """Say whether training ended for want of steps.

    Of processes that count seconds, each by its own clock, any may end it: the share on record is then just below 1,
    but steps are left.
    """
    steps = run.trial.config.train.steps
    return run.cost.get("budget_share", 1.0) < 1 and run.cost.get("steps", 0.0) >= steps


def _find_collapsed_seeds(results: Results, variant: str) -> tuple[int, ...]:
    """Return the seeds that end below half of the start on the primary metric, or below half of their best outcome."""
    start, metric = results.plan.start_of(variant), results.primary
    defined = variant != start and measure(metric).share and is_better(metric, 1.0)
    begun = results.scores(start, metric) if start is not None and defined else {}
    ended = results.scores(variant, metric)

    def lost(seed: int) -> bool:
        both = begun.get(seed) and ended.get(seed)
        return bool(both) and fmean(ended[seed].values()) < COLLAPSE * fmean(begun[seed].values())

    return tuple(seed for seed, run in sorted(results.runs[variant].items()) if has_collapsed(run.curve) or lost(seed))


def _build_variant_row(results: Results, variant: str, cells: Mapping[str, Cell]) -> VariantRow:
    runs, baseline = results.runs[variant], results.plan.baseline_of(variant)
    cost, base = _cost(runs), _cost(results.runs.get(baseline or "", {}))
    critiques = cost.get("critiques", 0.0)
    unscored = [v for run in runs.values() for name, v in run.shares.items() if name.endswith("/unscored")]
    return VariantRow(
        variant=variant,
        seeds=tuple(sorted(runs)),
        planned=sum(trial.variant == variant for trial in results.plan.trials),
        cells=cells,
        cost=cost,
        relative={name: value / base[name] for name, value in cost.items() if base.get(name)},
        failed_critiques=cost["abstained"] / critiques if critiques else math.nan,
        unscored=max((v for v in unscored if not math.isnan(v)), default=0.0),
        unspent=sum(map(_has_unspent_budget, runs.values())),
        health=average_health(run.health for run in runs.values()),
        collapsed=_find_collapsed_seeds(results, variant),
        baseline=baseline,
        start=results.plan.start_of(variant),
    )
