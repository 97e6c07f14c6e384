"""A study that is looked at several times: which seeds its looks call for, and what a difference is worth at a look.

At each look every variant that is not decided is compared with its baseline on the primary metric. A variant whose
Holm-adjusted sequential p value is below `NOISE` is decided and gets no further seeds; the others go on, and with them
their baseline and their start, as differences are paired by seed. What there is beyond the latest complete look, of
trials that a run has not come to the end of, is not looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from capo_bench.analysis.spending import compute_level_of_look, compute_sequential_p
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

if TYPE_CHECKING:
    from capo_bench.analysis.collect import Run
    from capo_bench.store.home import Home
    from capo_bench.study.plan import Plan

    Runs = Mapping[str, Mapping[int, Run]]

FEWEST_FREEDOM = 1.0
"""At a look the degrees of freedom are those of the smaller side, not more (`stats.MOST_FREEDOM`): a level far out in
the tail of t trusts them more than 0.05 does (measured: docs/measurements.md)."""


@dataclass(frozen=True)
class LooksTaken:
    """How far a study has come.

    Attributes:
        complete: Looks whose trials are all done.
        called: Seeds of each variant that the looks call for by now.
        seen: Seeds of each variant that the latest look at it saw; before the first look, what that one will see.
    """

    complete: int
    called: Mapping[str, int]
    seen: Mapping[str, int]


def take_looks(plan: Plan, runs: Runs) -> LooksTaken:
    """Go through the looks of a plan as far as its trials are done; `runs` are all that are, by variant and seed."""
    called = dict.fromkeys((variant.name for variant in plan.variants), plan.looks[0])
    seen, complete, sequential = dict(called), 0, dict[str, float]()
    undecided = against = find_opponents(plan, [name for name in called if runs.get(name)])
    for look, count in enumerate(plan.looks, 1):
        going_on = set(called) if look == 1 else _add_counterparts(plan, undecided)
        called |= dict.fromkeys(going_on, count)
        if any(t.seed not in runs[t.variant] for t in plan.with_seeds(called).trials):
            break
        seen, complete = dict(called), look
        sequential |= {name: _compute_p_at_look(plan, runs, name, base, count) for name, base in undecided.items()}
        adjusted = adjust_by_holm([sequential[name] for name in against])
        undecided = {name: base for (name, base), p in zip(against.items(), adjusted, strict=True) if not p < NOISE}
        if not undecided:
            break
    return LooksTaken(complete, called, seen)


def find_trials_due(plan: Plan, home: Home) -> Plan:
    """Return the plan with the trials that its looks call for by now; a plan without looks as it is.

    Raises:
        DamagedFileError: A finished trial's file cannot be read.
    """
    if not plan.looks:
        return plan
    from capo_bench.analysis.collect import collect

    return collect(plan, home, digests=home.digests).plan


def find_opponents(plan: Plan, scored: Collection[str]) -> dict[str, str]:
    """Return the baseline of each variant that is compared with one; baselines and starts are not."""
    bases = {name: plan.baseline_of(name) for name in scored}
    starts = {plan.start_of(name) for name in scored}
    return {
        name: base
        for name, base in bases.items()
        if base is not None and base in scored and name not in {base, *starts}
    }


def estimate_at_look(values: Matrix, looks: Sequence[int]) -> MeanEstimate:
    """Estimate a mean difference; of a study with looks so that interval and p value hold over all of them.

    The interval is that of the latest look, at one minus the level of that look; p is sequential, NaN before the first
    look.

    Args:
        values: Paired differences, shape (S, P), the seeds in the order in which they are added.
        looks: Seeds at each planned look; empty where the seeds were fixed.
    """
    if not looks or not values.size:
        return estimate_mean(values)
    taken = [count for count in looks if count <= len(values)]
    level = 1 - compute_level_of_look(looks, max(1, len(taken)), NOISE)
    earlier = [estimate_mean(values[:count], most_freedom=FEWEST_FREEDOM).p for count in taken]
    return replace(estimate_mean(values, level, FEWEST_FREEDOM), p=compute_sequential_p(earlier, looks))


def estimate_difference(ours: ScoreLayout, theirs: ScoreLayout, looks: Sequence[int] = ()) -> MeanEstimate:
    """Estimate the mean paired difference (variant − baseline) on the seeds and problems that both have."""
    return estimate_at_look(subtract_paired(ours, theirs), looks)


def _add_counterparts(plan: Plan, undecided: Mapping[str, str]) -> set[str]:
    """Return the variants that are not decided, with the baselines and starts that they are paired with."""
    starts = {start for name in undecided if (start := plan.start_of(name)) is not None}
    return {*undecided, *undecided.values(), *starts}


def _compute_p_at_look(plan: Plan, runs: Runs, name: str, base: str, count: int) -> float:
    """Return the sequential p value of a variant after the look at `count` seeds; NaN where nothing is measured."""
    metric = plan.metrics[0]
    ours, theirs = (
        lay_out(
            {seed: run.scores[metric] for seed, run in runs[variant].items() if seed < count and metric in run.scores}
        )
        for variant in (name, base)
    )
    return estimate_difference(ours, theirs, plan.looks).p
