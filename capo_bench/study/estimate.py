"""What a plan will take: critic calls counted, time guessed from one small model or taken from finished trials.

The model of time is for the embedded backbone on two CPU cores: a constant number of seconds per demonstration, per
rollout, per critique of the embedded critic and per evaluation sample. Models from a hub, and those behind an endpoint,
run on whatever machine is there: no guess is made for them.

A budget ends training before `train.steps`: how many steps it allows, finished trials of the variant tell, and else a
constant number of tokens a rollout and a critique.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heapreplace
from typing import Any

from capo_bench.home import Home, read_json
from capo_bench.study.identity import SharedKind, SharedModel, shared_models
from capo_bench.study.plan import Plan, Trial
from trainers.backbones import BACKBONES
from trainers.config import TrialConfig
from trainers.methods import METHODS

# Measured on two x86-64 cores without a GPU, backbone tiny, two jobs of one thread at a time: the study voting at
# `quick` on a quiet machine (docs/measurements.md). A cold start of 400 steps × 64 demonstrations took 109 s beside the
# embedded critic of 520 steps × 64 reviews in 322 s; 24 steps × 96 rollouts 22.4 s, 768 samples 4.6 s; 9,216 critiques
# of three rules 33, 21 and 19 s, the later ones with critiques that were kept: their mean is taken. The embedded
# process reward model of 500 steps × 32 lessons took 119 s, and 600 solutions 2.5 s (`python -m benchmarks.prm`).
SECONDS_PER_DEMONSTRATION = 4.3e-3
SECONDS_PER_REVIEW = 9.7e-3
SECONDS_PER_CRITIQUE = 2.7e-3
SECONDS_PER_LESSON = 7.4e-3
SECONDS_PER_SCORED = 4.1e-3
SECONDS_PER_ROLLOUT = 9.7e-3
SECONDS_PER_SAMPLE = 6.0e-3
# Measured in the study voting: 153,000 tokens of 3,840 rollouts, and 9.8 of the embedded critic for each of these where
# it was asked four times. It is as large as the policy, so its tokens weigh as much.
TOKENS_PER_ROLLOUT = 40.0
TOKENS_PER_CRITIQUE = 98.0
PROBLEMS = 256
"""Of a task that is taken whole, and whose size a plan does not know."""


@dataclass(frozen=True)
class Preparation:
    """A model that trials share and that is made before them.

    Attributes:
        kind: A cold start, or an embedded critic or process reward model.
        key: Its content hash.
        trials: How many trials need it.
        done: Whether the results folder has it.
        seconds: Guessed time to train it; None without a guess.
    """

    kind: SharedKind
    key: str
    trials: int
    done: bool
    seconds: float | None


@dataclass(frozen=True)
class Bounded:
    """A variant whose training a budget ends.

    Attributes:
        variant: Its name.
        unit: What is limited: a name of `trainers.budget.LIMITS`.
        limit: How much of it.
        steps: Steps that it is taken to allow; None without a guess.
        most: `train.steps`.
    """

    variant: str
    unit: str
    limit: float
    steps: int | None
    most: int


@dataclass(frozen=True)
class Estimate:
    """What a plan will take.

    Attributes:
        trials: Trials of the plan.
        done: Those that are finished.
        trained: Unfinished ones whose training is there, by whichever trial: they are only evaluated.
        measured: Unfinished ones whose time is the mean of finished trials that differ in the seed alone.
        unknown: Unfinished ones without a guess.
        seconds: Work that is left, preparations included, of one worker; without the unknown ones.
        critic_calls: Critiques asked for by the whole plan, a scored rollout being one; the most, where a budget
            allows an unknown number of steps.
        bounded: Variants whose training a budget ends.
        preparations: The models that trials share.
        waits: Seconds of each unfinished trial, without the unknown ones, and which of the preparations it waits for.
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

    @property
    def calls_known(self) -> str:
        """How well `critic_calls` is known, of what budgets allow: ``exactly``, ``about`` or ``at most``."""
        if any(one.steps is None for one in self.bounded):
            return "at most"
        return "about" if self.bounded else "exactly"

    def wall_seconds(self, workers: int) -> float:
        """Return the time left when so many jobs run at a time: models first, then each trial once its own are made."""
        free = [0.0] * workers
        made = [0.0] * len(self.preparations)
        for at, model in enumerate(self.preparations):
            if self.waits and not model.done:
                made[at] = free[0] + (model.seconds or 0.0)
                heapreplace(free, made[at])
        ready = [(max((made[at] for at in models), default=0.0), took) for took, models in self.waits]
        for begin, took in sorted(ready, key=lambda one: one[0]):
            heapreplace(free, max(begin, free[0]) + took)
        return max(free)


def estimate(plan: Plan, home: Home | None = None) -> Estimate:
    """Estimate a plan.

    Args:
        plan: The plan.
        home: The results folder, if there is one: finished trials cost nothing more and tell what others will take.
    """
    costs = _costs(plan, home)
    left = [trial for trial in plan.trials if trial.id not in costs]
    means = _means(plan, costs, "wall_seconds")
    bounded = _bounded(plan, _means(plan, costs, "steps"))
    steps = {one.variant: one.steps for one in bounded}
    trained = {trial.id for trial in left if home is not None and training_done(home, trial)}
    guesses = [
        evaluation_seconds(trial.config)
        if trial.id in trained
        else means.get(trial.variant, trial_seconds(trial.config))
        for trial in left
    ]
    preparations = _preparations(plan, home)
    models = [SharedModel(made.kind, made.key) for made in preparations]
    needed = [made.seconds for made in preparations if not made.done] if left else []
    return Estimate(
        trials=len(plan.trials),
        done=len(plan.trials) - len(left),
        trained=len(trained),
        measured=sum(trial.variant in means for trial in left if trial.id not in trained),
        unknown=guesses.count(None),
        seconds=sum(guess for guess in [*guesses, *needed] if guess is not None),
        critic_calls=sum(critic_calls(trial.config, steps.get(trial.variant)) for trial in plan.trials),
        bounded=tuple(bounded),
        preparations=tuple(preparations),
        waits=tuple(
            (guess, tuple(models.index(model) for model in shared_models(trial.config)))
            for trial, guess in zip(left, guesses, strict=True)
            if guess is not None
        ),
    )


def critic_calls(config: TrialConfig, steps: int | None = None) -> int:
    """Return how many critiques a trial asks for: steps × prompts × group × critiques, one where steps are scored.

    Args:
        config: The trial's settings.
        steps: Steps that training takes; unless given, all of `train.steps`.
    """
    uses = METHODS.get(config.method).uses
    each = config.credit.critiques if "critic" in uses else 1 if "prm" in uses else 0
    return (steps or config.train.steps) * _rollouts(config) * each


def allowed_steps(config: TrialConfig) -> int | None:
    """Return the steps that training takes on coins: as many as the budget allows, at most `train.steps`.

    None where a budget limits what nothing is known of: the tokens of models that are not embedded.
    """
    train = config.train
    if train.budget is None:
        return train.steps
    spent = _spending(config, train.budget.unit)
    return None if spent is None else min(train.steps, math.ceil(train.budget.limit / spent))


def _spending(config: TrialConfig, unit: str) -> float | None:
    """Return what a step spends of what a budget limits; None without a guess."""
    if BACKBONES.load(config.backbone).source != "embedded":
        return None
    sampled, reading = _rollouts(config) * TOKENS_PER_ROLLOUT, _critic_seconds(config, 1)
    if unit == "policy_tokens":
        return sampled
    if reading is None or (unit == "total_tokens" and "prm" in METHODS.get(config.method).uses):
        return None
    if unit == "seconds":
        return _rollouts(config) * SECONDS_PER_ROLLOUT + reading
    embedded = config.critic.embedded_critic is not None
    return sampled + embedded * critic_calls(config, 1) * TOKENS_PER_CRITIQUE


def _rollouts(config: TrialConfig) -> int:
    """Return the rollouts of a step."""
    return config.train.prompts_per_step * config.train.group_size


def trial_seconds(config: TrialConfig) -> float | None:
    """Return the guessed time of a trial without its preparations; None for models that are not embedded."""
    if BACKBONES.load(config.backbone).source != "embedded":
        return None
    trains = "train" in METHODS.get(config.method).uses
    steps, asking = allowed_steps(config) if trains else 0, evaluation_seconds(config)
    if steps is None or asking is None:
        return None
    reading = _critic_seconds(config, steps)
    return None if reading is None else steps * _rollouts(config) * SECONDS_PER_ROLLOUT + asking + reading


def evaluation_seconds(config: TrialConfig) -> float | None:
    """Return the guessed time of the evaluation alone, every task asked; None for models that are not embedded."""
    if BACKBONES.load(config.backbone).source != "embedded":
        return None
    evaluation = config.evaluation
    samples = (evaluation.problems or PROBLEMS) * (evaluation.samples or 1) * len(evaluation.tasks)
    return samples * SECONDS_PER_SAMPLE


def training_done(home: Home, trial: Trial) -> bool:
    """Whether an unfinished trial needs no training: it, or another of the results folder, has trained so."""
    from capo_bench.run.reuse import training_donor

    if METHODS.get(trial.config.method).train is None:
        return False
    return home.trial(trial.id).model.is_dir() or training_donor(home, trial) is not None


def _critic_seconds(config: TrialConfig, steps: int) -> float | None:
    """Return the guessed time of the critiques; None for a model of which nothing is known."""
    if "prm" in METHODS.get(config.method).uses:
        return critic_calls(config, steps) * SECONDS_PER_SCORED if config.prm.taught else None
    if config.critic.embedded_critic is not None:
        return critic_calls(config, steps) * SECONDS_PER_CRITIQUE
    # Critics that are not kept are checkers: what they take is in the time of a rollout.
    return None if critic_calls(config) and config.critic.kept else 0.0


def _costs(plan: Plan, home: Home | None) -> dict[str, Mapping[str, Any]]:
    """Return what each finished trial cost, by its id; nothing where its record does not say."""
    if home is None:
        return {}
    return {trial.id: _cost(home, trial.id) for trial in plan.trials if home.trial(trial.id).done}


def _cost(home: Home, trial_id: str) -> Mapping[str, Any]:
    try:
        cost = read_json(home.trial(trial_id).metrics)["cost"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return cost if isinstance(cost, dict) else {}


def _means(plan: Plan, costs: Mapping[str, Mapping[str, Any]], name: str) -> dict[str, float]:
    """Return the mean of a cost over the finished trials of each variant that has some."""
    found = defaultdict[str, list[float]](list)
    for trial in plan.trials:
        value = costs.get(trial.id, {}).get(name)
        if isinstance(value, (int, float)):
            found[trial.variant].append(float(value))
    return {variant: sum(values) / len(values) for variant, values in found.items()}


def _bounded(plan: Plan, taken: Mapping[str, float]) -> list[Bounded]:
    """Return the variants whose training a budget ends; `taken` is how many steps finished trials took."""
    return [
        Bounded(
            variant=variant.name,
            unit=budget.unit,
            limit=budget.limit,
            steps=round(taken[variant.name]) if variant.name in taken else allowed_steps(variant.config),
            most=variant.config.train.steps,
        )
        for variant in plan.variants
        if (budget := variant.config.train.budget) is not None
        and "train" in METHODS.get(variant.config.method).uses
        and any(trial.variant == variant.name for trial in plan.trials)
    ]


def _preparations(plan: Plan, home: Home | None) -> list[Preparation]:
    counts, configs = defaultdict[SharedModel, int](int), dict[SharedModel, TrialConfig]()
    for trial in plan.trials:
        for model in shared_models(trial.config):
            counts[model] += 1
            configs[model] = trial.config
    return [
        Preparation(
            model.kind,
            model.key,
            count,
            done=home is not None and home.cache(model.kind, model.key).exists(),
            seconds=_preparation_seconds(model.kind, configs[model]),
        )
        for model, count in counts.items()
    ]


def _preparation_seconds(kind: SharedKind, config: TrialConfig) -> float | None:
    if kind == "critic":
        critic = config.critic.embedded_critic
        return critic.steps * critic.problems_per_step * SECONDS_PER_REVIEW if critic else None
    if kind == "prm":
        taught = config.prm.taught
        return taught.steps * taught.problems_per_step * SECONDS_PER_LESSON if taught else None
    start = config.cold_start
    if start is None or BACKBONES.load(config.backbone).source != "embedded":
        return None
    return start.steps * start.problems_per_step * SECONDS_PER_DEMONSTRATION
