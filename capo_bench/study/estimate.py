"""Estimate the cost of a plan: count critic calls, and estimate time from a simple model or from finished trials.

The model of time is for the embedded backbone on two CPU cores: constant seconds per demonstration, per rollout, per
critique of the embedded critic and per evaluation sample. Models from a hub run on GPUs; see
`capo_bench.study.gpu_time`. There is no estimate if the size of a model is unknown.

A budget ends training before `train.steps`. The number of steps that it allows is taken from finished trials of the
variant; without those it is computed from constant numbers of tokens per rollout and per critique.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heapreplace
from typing import Any

from capo_bench.store.home import Home, read_json
from capo_bench.study.gpu_time import (
    MACHINE,
    PROBLEMS,
    GpuCosts,
    Machine,
    PendingTrial,
    count_step_tokens,
    estimate_gpu_costs,
    estimate_trial_time,
    judge_size,
)
from capo_bench.study.identity import SharedKind, SharedModel, hash_training, list_shared_models
from capo_bench.study.plan import Plan, Trial
from evals.tasks.identity import find_task_draws
from trainers.backbones import BACKBONES
from trainers.budget import WEIGHED, Meter
from trainers.config import TrialConfig
from trainers.methods import METHODS

# Measured on two x86-64 cores without a GPU, backbone tiny, one thread per job, with the study voting at `quick`
# (docs/measurements.md). A step of 64 demonstrations takes 0.26 s on one core and a step of 64 reviews 0.5 s. 24 steps
# × 96 rollouts take 21.5 s, 9,216 critiques 11 to 21 s (cached critiques are faster), and 3,840 answers 13.6 s. The
# embedded process reward model of 500 steps × 32 lessons took 119 s, scoring 600 solutions 2.5 s (`python -m
# benchmarks.prm`).
SECONDS_PER_DEMONSTRATION = 4.1e-3
SECONDS_PER_REVIEW = 7.8e-3
SECONDS_PER_CRITIQUE = 1.8e-3
SECONDS_PER_LESSON = 7.4e-3
SECONDS_PER_SCORED = 4.1e-3
SECONDS_PER_ROLLOUT = 9.3e-3  # sampled and updated on once; steps of 96 rollouts took 1.25 cpu_seconds, 1.9 with two
SECONDS_PER_UPDATE = 5.2e-3  # updates, 3.45 with four, on a machine where a rollout took 1.4 times as long
SECONDS_PER_SAMPLE = 3.6e-3
STATES_PER_ROLLOUT, SECONDS_PER_CONTINUATION = 2.25, 1e-3
"""Distinct states per rollout, measured on the cold start; a continuation takes 0.6 ms if 200 share a state."""
# Measured in the study voting: 153,000 tokens in 3,840 rollouts, and 9.8 tokens of the embedded critic for each of
# these tokens with four critiques. The critic is as large as the policy, so its tokens have the same weight. A prompt
# has 35 tokens.
TOKENS_PER_ROLLOUT = 40.0
TOKENS_PER_PROMPT = 35.0
PARAMETERS = 3.7e5
TOKENS_PER_CRITIQUE = 98.0
TOKENS_PER_CONTINUATION = 16.0
"""Read and written, in the first 8 steps of `vineppo` in the study credit: 253,000 tokens, 9 continuations a state."""


@dataclass(frozen=True)
class Preparation:
    """A shared model that is made before the trials that use it; `seconds` of training are None if unknown."""

    kind: SharedKind
    key: str
    trials: int
    done: bool
    seconds: float | None


@dataclass(frozen=True)
class Bounded:
    """A variant whose training ends by a budget.

    Attributes:
        unit: A name of `trainers.budget.LIMITS`.
        limit: The budget, in its unit.
        steps: Estimated number of steps that the budget allows; None if unknown.
        most: The setting `train.steps`.
    """

    variant: str
    unit: str
    limit: float
    steps: int | None
    most: int


@dataclass(frozen=True)
class PlanEstimate:
    """Estimated cost of a plan.

    Attributes:
        trials: Number of trials in the plan.
        done: Number of finished trials.
        trained: Number of unfinished trials whose trained model already exists, so they are only evaluated.
        measured: Number of unfinished trials whose time is the mean of finished trials of the same variant.
        unknown: Number of unfinished trials without an estimate.
        seconds: Remaining work of a single worker, including preparations, without the unknown trials.
        critic_calls: Critiques of the whole plan; a scored rollout counts as one. An upper bound if a budget allows an
            unknown number of steps.
        bounded: Variants whose training ends by a budget.
        preparations: The models that trials share.
        waits: For each unfinished trial with an estimate: its seconds, and the indices of the preparations that it
            needs.
        gpu: GPU costs of the remaining work; None if no trial needs a GPU.
    """

    trials: int
    done: int
    trained: int
    measured: int
    unknown: int
    seconds: float
    critic_calls: int
    bounded: tuple[Bounded, ...]
    preparations: tuple[Preparation, ...]
    waits: tuple[tuple[float, tuple[int, ...]], ...]
    gpu: GpuCosts | None = None

    @property
    def calls_known(self) -> str:
        """Accuracy of `count_critic_calls`, which depends on budgets: ``exactly``, ``about`` or ``at most``."""
        if any(bound.steps is None for bound in self.bounded):
            return "at most"
        return "about" if self.bounded else "exactly"

    def wall_seconds(self, workers: int) -> float:
        """Return the remaining seconds with `workers` parallel jobs; each trial waits for its preparations."""
        free = [0.0] * workers
        made = [0.0] * len(self.preparations)
        for at, model in enumerate(self.preparations):
            if self.waits and not model.done:
                made[at] = free[0] + (model.seconds or 0.0)
                heapreplace(free, made[at])
        ready = [(max((made[at] for at in models), default=0.0), took) for took, models in self.waits]
        for begin, took in sorted(ready, key=lambda times: times[0]):
            heapreplace(free, max(begin, free[0]) + took)
        return max(free)


def estimate(plan: Plan, home: Home | None = None) -> PlanEstimate:
    """Estimate a plan; finished trials in the results folder cost nothing and improve the estimates of the others."""
    costs = _read_costs(plan, home)
    left = [trial for trial in plan.trials if trial.id not in costs]
    means = _average(plan, costs, "wall_seconds")
    machine = plan.machine
    bounded = _find_bounded(plan, _average(plan, costs, "steps"))
    steps = {bound.variant: bound.steps for bound in bounded}
    trained = {trial.id for trial in left if home is not None and is_training_done(home, trial)}
    guesses = [
        estimate_evaluation_seconds(trial.config, machine)
        if trial.id in trained
        else means.get(trial.variant, estimate_trial_seconds(trial.config, machine))
        for trial in left
    ]
    known = [(trial, guess) for trial, guess in zip(left, guesses, strict=True) if guess is not None]
    preparations = _list_preparations(plan, home)
    models = [SharedModel(made.kind, made.key) for made in preparations]
    needed = [made.seconds for made in preparations if not made.done] if left else []
    return PlanEstimate(
        trials=len(plan.trials),
        done=len(plan.trials) - len(left),
        trained=len(trained),
        measured=sum(trial.variant in means for trial in left if trial.id not in trained),
        unknown=guesses.count(None),
        seconds=sum(guess for guess in [*guesses, *needed] if guess is not None),
        critic_calls=sum(count_critic_calls(trial.config, steps.get(trial.variant)) for trial in plan.trials),
        bounded=tuple(bounded),
        preparations=tuple(preparations),
        waits=tuple(
            (guess, tuple(models.index(model) for model in list_shared_models(trial.config))) for trial, guess in known
        ),
        gpu=estimate_gpu_costs(
            machine,
            [
                PendingTrial(trial.config, guess, _count_steps_left(trial, steps) if trial.id not in trained else 0)
                for trial, guess in known
            ],
        ),
    )


def _count_steps_left(trial: Trial, bounded: Mapping[str, int | None]) -> int:
    """Return the number of steps that a trial trains; `bounded` are the steps that budgets allow, by variant."""
    if "train" not in METHODS.get(trial.config.method).uses:
        return 0
    return bounded.get(trial.variant) or trial.config.train.steps


def count_critic_calls(config: TrialConfig, steps: int | None = None) -> int:
    """Return the number of critiques of a trial: steps × prompts × group × critiques, or one per rollout for a PRM.

    `steps` defaults to `train.steps`.
    """
    uses = METHODS.get(config.method).uses
    each = config.credit.critiques if "critic" in uses else 1 if "prm" in uses else 0
    return (steps or config.train.steps) * _count_rollouts(config) * each


def count_allowed_steps(config: TrialConfig, machine: Machine = MACHINE) -> int | None:
    """Return the number of training steps that the budget allows, at most `train.steps`.

    None if the budget limits an unknown quantity: the tokens of a critic of unknown size.
    """
    train = config.train
    if train.budget is None:
        return train.steps
    spent = _estimate_spending(config, train.budget.unit, machine)
    return None if spent is None else min(train.steps, math.ceil(train.budget.limit / spent))


def _estimate_spending(config: TrialConfig, unit: str, machine: Machine) -> float | None:
    """Return how much of a budget's unit one step spends; None if unknown."""
    if BACKBONES.load(config.backbone).source != "embedded":
        return _estimate_spending_on_gpus(config, unit, machine)
    sampled, reading = _count_rollouts(config) * TOKENS_PER_ROLLOUT, _estimate_critic(config, 1)
    if unit == "policy_tokens":
        return sampled
    if reading is None or (unit in WEIGHED and "prm" in METHODS.get(config.method).uses):
        return None
    if unit == "seconds":
        return _estimate_learning(config, 1) + reading
    embedded = config.critic.embedded_critic is not None
    tokens = {
        "policy_tokens": sampled,
        "policy_prompt_tokens": _count_rollouts(config) * TOKENS_PER_PROMPT,
        "policy_prefill_tokens": _count_rollouts(config) * TOKENS_PER_PROMPT,
        "value_tokens": _count_continuations(config) * TOKENS_PER_CONTINUATION,
        "critic_tokens": embedded * count_critic_calls(config, 1) * TOKENS_PER_CRITIQUE,
    }
    return Meter(round(PARAMETERS), round(PARAMETERS), updates=config.train.updates_per_batch).read(tokens)[unit]


def _estimate_spending_on_gpus(config: TrialConfig, unit: str, machine: Machine) -> float | None:
    tokens, planned, judge = (
        count_step_tokens(config, machine),
        BACKBONES.load(config.backbone).planned,
        judge_size(config),
    )
    if unit == "policy_tokens":
        return tokens.sampled
    if planned is None or judge is None:
        return None
    if unit == "seconds":
        once, twice = estimate_trial_time(config, machine, 1), estimate_trial_time(config, machine, 2)
        return twice.total - once.total if once and twice else None
    counted = {
        "policy_tokens": tokens.sampled,
        "policy_prompt_tokens": tokens.prompts,
        "policy_prefill_tokens": tokens.prefilled,
        "value_tokens": tokens.continued_read + tokens.continued_written,
        "critic_tokens": tokens.read + tokens.written,
    }
    meter = Meter(planned.parameters, round(judge), updates=config.train.updates_per_batch)
    return meter.read(counted)[unit]


def _estimate_learning(config: TrialConfig, steps: int) -> float:
    each = SECONDS_PER_ROLLOUT + (config.train.updates_per_batch - 1) * SECONDS_PER_UPDATE
    return steps * _count_rollouts(config) * each


def _count_rollouts(config: TrialConfig) -> int:
    return config.train.prompts_per_step * config.train.group_size


def estimate_trial_seconds(config: TrialConfig, machine: Machine = MACHINE) -> float | None:
    """Return the estimated seconds of a trial without its preparations; None if the size of a model is unknown."""
    steps = count_allowed_steps(config, machine) if "train" in METHODS.get(config.method).uses else 0
    if steps is None:
        return None
    return _estimate_seconds(config, machine, steps)


def estimate_evaluation_seconds(config: TrialConfig, machine: Machine = MACHINE) -> float | None:
    """Return the estimated seconds of a trial's full evaluation; None if the size of the model is unknown."""
    return _estimate_seconds(config, machine, 0)


def _estimate_seconds(config: TrialConfig, machine: Machine, steps: int) -> float | None:
    """Return the estimated seconds of so many training steps and of the full evaluation."""
    if BACKBONES.load(config.backbone).source != "embedded":
        time = estimate_trial_time(config, machine, steps)
        return None if time is None else time.total
    reading = _estimate_critic(config, steps) if steps else 0.0
    evaluation = config.evaluation
    own = evaluation.samples
    sampled = sum(find_task_draws(task).samples if own is None else own for task in evaluation.tasks)
    each = sampled + evaluation.greedy * len(evaluation.tasks)
    asking = (evaluation.problems or PROBLEMS) * each * SECONDS_PER_SAMPLE
    return None if reading is None else _estimate_learning(config, steps) + asking + reading


def is_training_done(home: Home, trial: Trial) -> bool:
    """Return whether the trained model of an unfinished trial already exists, from this or another trial."""
    if METHODS.get(trial.config.method).train is None:
        return False
    kept = home.stage("training", hash_training(trial.identity, trial.seed)) / "model"
    return kept.is_dir() or home.trial(trial.id).model.is_dir()


def _estimate_critic(config: TrialConfig, steps: int) -> float | None:
    """Return the estimated seconds of the critiques; None for a model of unknown size."""
    if "prm" in METHODS.get(config.method).uses:
        return count_critic_calls(config, steps) * SECONDS_PER_SCORED if config.prm.taught else None
    if "values" in METHODS.get(config.method).uses:
        return steps * _count_continuations(config) * SECONDS_PER_CONTINUATION
    if config.critic.embedded_critic is not None:
        return count_critic_calls(config, steps) * SECONDS_PER_CRITIQUE
    # Critics whose critiques are not stored are checkers; their time is included in the time of a rollout.
    return None if count_critic_calls(config) and config.critic.kept else 0.0


def _count_continuations(config: TrialConfig) -> float:
    """Return the estimated number of continuations that one step samples for Monte Carlo values."""
    return _count_rollouts(config) * STATES_PER_ROLLOUT * config.samples_per_state


def _read_costs(plan: Plan, home: Home | None) -> dict[str, Mapping[str, Any]]:
    """Return the cost of each finished trial, by its id; an empty cost if its record has none."""
    if home is None:
        return {}
    return {trial.id: _read_cost(home, trial.id) for trial in plan.trials if home.trial(trial.id).done}


def _read_cost(home: Home, trial_id: str) -> Mapping[str, Any]:
    try:
        cost = read_json(home.trial(trial_id).metrics)["cost"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return cost if isinstance(cost, dict) else {}


def _average(plan: Plan, costs: Mapping[str, Mapping[str, Any]], name: str) -> dict[str, float]:
    """Return the mean of a cost over the finished trials of each variant."""
    costs_of = defaultdict[str, list[float]](list)
    for trial in plan.trials:
        value = costs.get(trial.id, {}).get(name)
        if isinstance(value, (int, float)):
            costs_of[trial.variant].append(float(value))
    return {variant: sum(values) / len(values) for variant, values in costs_of.items()}


def _find_bounded(plan: Plan, taken: Mapping[str, float]) -> list[Bounded]:
    """Return the variants whose training ends by a budget; `taken` are mean steps of finished trials, by variant."""
    return [
        Bounded(
            variant=variant.name,
            unit=budget.unit,
            limit=budget.limit,
            steps=round(taken[variant.name])
            if variant.name in taken
            else count_allowed_steps(variant.config, plan.machine),
            most=variant.config.train.steps,
        )
        for variant in plan.variants
        if (budget := variant.config.train.budget) is not None
        and "train" in METHODS.get(variant.config.method).uses
        and any(trial.variant == variant.name for trial in plan.trials)
    ]


def _list_preparations(plan: Plan, home: Home | None) -> list[Preparation]:
    counts, configs = defaultdict[SharedModel, int](int), dict[SharedModel, TrialConfig]()
    for trial in plan.trials:
        for model in list_shared_models(trial.config):
            counts[model] += 1
            configs[model] = trial.config
    return [
        Preparation(
            model.kind,
            model.key,
            count,
            done=home is not None and home.stage(model.kind, model.key).exists(),
            seconds=_estimate_preparation(model.kind, configs[model]),
        )
        for model, count in counts.items()
    ]


def _estimate_preparation(kind: SharedKind, config: TrialConfig) -> float | None:
    if kind == "critic":
        critic = config.critic.embedded_critic
        return critic.steps * critic.problems_per_step * SECONDS_PER_REVIEW if critic else None
    if kind == "prm":
        taught = config.prm.taught
        return taught.steps * taught.problems_per_step * SECONDS_PER_LESSON if taught else None
    start = config.supervised
    if start is None or BACKBONES.load(config.backbone).source != "embedded":
        return None
    return start.steps * start.problems_per_step * SECONDS_PER_DEMONSTRATION
