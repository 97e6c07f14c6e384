"""What a plan will take: critic calls counted, time guessed from one small model or taken from finished trials.

The model of time is for the embedded backbone on two CPU cores: a constant number of seconds per demonstration, per
rollout, per critique of the embedded critic and per evaluation sample. Models from a hub, and those behind an endpoint,
run on whatever machine is there: no guess is made for them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from capo_bench.home import Home, read_json
from capo_bench.study.identity import SharedKind, SharedModel, shared_models
from capo_bench.study.plan import Plan, Trial
from trainers.backbones import BACKBONES
from trainers.config import TrialConfig
from trainers.methods import METHODS

# Measured on two x86-64 cores without a GPU, backbone tiny, two trials at a time: a cold start of 400 steps × 64
# demonstrations in 70 s, 40 steps × 96 rollouts in 32 s, 768 samples in 4 s; the embedded critic of 520 steps × 64
# reviews in 224 s, and 1,536 critiques by it in 5.7 s. What is kept costs nothing: the guess is the most. The embedded
# process reward model of 500 steps × 32 lessons took 119 s of one processor, of which two are taken to need half, and
# 600 solutions 2.5 s of one (`python -m benchmarks.prm`).
SECONDS_PER_DEMONSTRATION = 2.7e-3
SECONDS_PER_REVIEW = 6.7e-3
SECONDS_PER_CRITIQUE = 3.7e-3
SECONDS_PER_LESSON = 3.7e-3
SECONDS_PER_SCORED = 4.1e-3
SECONDS_PER_ROLLOUT = 8.3e-3
SECONDS_PER_SAMPLE = 5.2e-3
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
class Estimate:
    """What a plan will take.

    Attributes:
        trials: Trials of the plan.
        done: Those that are finished.
        trained: Unfinished ones whose training is there, by whichever trial: they are only evaluated.
        measured: Unfinished ones whose time is the mean of finished trials that differ in the seed alone.
        unknown: Unfinished ones without a guess.
        seconds: Work that is left, preparations included, of one worker; without the unknown ones.
        critic_calls: Critiques asked for by the whole plan; a rollout that is scored is one.
        preparations: The models that trials share.
    """

    trials: int
    done: int
    trained: int
    measured: int
    unknown: int
    seconds: float
    critic_calls: int
    preparations: tuple[Preparation, ...]

    def wall_seconds(self, workers: int) -> float:
        """Return the time left when so many trials run at a time; preparations come first, one after the other."""
        first = sum(made.seconds or 0.0 for made in self.preparations if not made.done) if self.seconds else 0.0
        return first + (self.seconds - first) / workers


def estimate(plan: Plan, home: Home | None = None) -> Estimate:
    """Estimate a plan.

    Args:
        plan: The plan.
        home: The results folder, if there is one: finished trials cost nothing more and tell what others will take.
    """
    measured = _measured(plan, home)
    left = [trial for trial in plan.trials if trial.id not in measured]
    by_variant = defaultdict[str, list[float]](list)
    for trial in plan.trials:
        seconds = measured.get(trial.id)
        if seconds is not None:
            by_variant[trial.variant].append(seconds)
    means = {name: sum(times) / len(times) for name, times in by_variant.items()}
    trained = {trial.id for trial in left if home is not None and training_done(home, trial)}
    guesses = [
        evaluation_seconds(trial.config)
        if trial.id in trained
        else means.get(trial.variant, trial_seconds(trial.config))
        for trial in left
    ]
    preparations = _preparations(plan, home)
    needed = [made.seconds for made in preparations if not made.done] if left else []
    return Estimate(
        trials=len(plan.trials),
        done=len(plan.trials) - len(left),
        trained=len(trained),
        measured=sum(trial.variant in means for trial in left if trial.id not in trained),
        unknown=guesses.count(None),
        seconds=sum(guess for guess in [*guesses, *needed] if guess is not None),
        critic_calls=sum(critic_calls(trial.config) for trial in plan.trials),
        preparations=tuple(preparations),
    )


def critic_calls(config: TrialConfig) -> int:
    """Return how many critiques a trial asks for: steps × prompts × group × critiques, one where steps are scored."""
    train, uses = config.train, METHODS.get(config.method).uses
    each = config.credit.critiques if "critic" in uses else 1 if "prm" in uses else 0
    return train.steps * train.prompts_per_step * train.group_size * each


def trial_seconds(config: TrialConfig) -> float | None:
    """Return the guessed time of a trial without its preparations; None for models that are not embedded."""
    if BACKBONES.load(config.backbone).source != "embedded":
        return None
    train = config.train
    trains = "train" in METHODS.get(config.method).uses
    rollouts = train.steps * train.prompts_per_step * train.group_size if trains else 0
    reading, asking = _critic_seconds(config), evaluation_seconds(config)
    return None if reading is None or asking is None else rollouts * SECONDS_PER_ROLLOUT + asking + reading


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


def _critic_seconds(config: TrialConfig) -> float | None:
    """Return the guessed time of the critiques; None for a model of which nothing is known."""
    if "prm" in METHODS.get(config.method).uses:
        return critic_calls(config) * SECONDS_PER_SCORED if config.prm.taught else None
    if config.critic.embedded_critic is not None:
        return critic_calls(config) * SECONDS_PER_CRITIQUE
    # Critics that are not kept are checkers: what they take is in the time of a rollout.
    return None if critic_calls(config) and config.critic.kept else 0.0


def _measured(plan: Plan, home: Home | None) -> dict[str, float | None]:
    """Return the wall time of each finished trial; None where its record does not say."""
    if home is None:
        return {}
    done = [trial.id for trial in plan.trials if home.trial(trial.id).done]
    return {name: _wall_seconds(home, name) for name in done}


def _wall_seconds(home: Home, trial_id: str) -> float | None:
    try:
        record: Mapping[str, Any] = read_json(home.trial(trial_id).metrics)
        return float(record["cost"]["wall_seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


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
