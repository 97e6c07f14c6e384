"""What a plan will take: critic calls counted, time guessed from one small model or taken from finished trials.

The model of time is for the embedded backbone on two CPU cores: a constant number of seconds per demonstration, per
rollout and per evaluation sample. Backbones from a hub run on whatever machine is there: no guess is made for them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from capo_bench.home import Home, read_json
from capo_bench.study.identity import cold_start_key
from capo_bench.study.plan import Plan
from trainers.backbones import BACKBONES
from trainers.config import TrialConfig
from trainers.methods import METHODS

COLD_STARTS = "cold_start"
"""Kind under which the results folder caches cold starts."""

# Measured on two x86-64 cores without a GPU, backbone tiny, two trials at a time: a cold start of 400 steps × 64
# demonstrations in 70 s, 40 steps × 96 rollouts in 32 s, 768 samples in 4 s.
SECONDS_PER_DEMONSTRATION = 2.7e-3
SECONDS_PER_ROLLOUT = 8.3e-3
SECONDS_PER_SAMPLE = 5.2e-3


@dataclass(frozen=True)
class ColdStart:
    """A supervised start that trials share.

    Attributes:
        key: Its content hash.
        trials: How many trials begin with it.
        done: Whether the results folder has it.
        seconds: Guessed time to train it; None without a guess.
    """

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
        measured: Unfinished ones whose time is the mean of finished trials that differ in the seed alone.
        unknown: Unfinished ones without a guess.
        seconds: Work that is left, cold starts included, of one worker; without the unknown ones.
        critic_calls: Critiques asked for by the whole plan.
        cold_starts: The supervised starts, each with how many trials share it.
    """

    trials: int
    done: int
    measured: int
    unknown: int
    seconds: float
    critic_calls: int
    cold_starts: tuple[ColdStart, ...]

    def wall_seconds(self, workers: int) -> float:
        """Return the time left when so many trials run at a time; cold starts come first, one after the other."""
        first = sum(start.seconds or 0.0 for start in self.cold_starts if not start.done) if self.seconds else 0.0
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
    guesses = [means.get(trial.variant, trial_seconds(trial.config)) for trial in left]
    cold_starts = _cold_starts(plan, home)
    needed = [start.seconds for start in cold_starts if not start.done] if left else []
    return Estimate(
        trials=len(plan.trials),
        done=len(plan.trials) - len(left),
        measured=sum(trial.variant in means for trial in left),
        unknown=guesses.count(None),
        seconds=sum(guess for guess in [*guesses, *needed] if guess is not None),
        critic_calls=sum(critic_calls(trial.config) for trial in plan.trials),
        cold_starts=tuple(cold_starts),
    )


def critic_calls(config: TrialConfig) -> int:
    """Return how many critiques a trial asks for: steps × prompts × group × critiques."""
    train = config.train
    if "critic" not in METHODS.get(config.method).uses:
        return 0
    return train.steps * train.prompts_per_step * train.group_size * config.credit.critiques


def trial_seconds(config: TrialConfig) -> float | None:
    """Return the guessed time of a trial without its cold start; None for a backbone that is not embedded."""
    if BACKBONES.load(config.backbone).source != "embedded":
        return None
    train, evaluation = config.train, config.evaluation
    trains = "train" in METHODS.get(config.method).uses
    rollouts = train.steps * train.prompts_per_step * train.group_size if trains else 0
    samples = evaluation.problems * evaluation.samples * len(evaluation.splits)
    return rollouts * SECONDS_PER_ROLLOUT + samples * SECONDS_PER_SAMPLE


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


def _cold_starts(plan: Plan, home: Home | None) -> list[ColdStart]:
    counts, configs = defaultdict[str, int](int), dict[str, TrialConfig]()
    for trial in plan.trials:
        key = cold_start_key(trial.config)
        if key is not None:
            counts[key] += 1
            configs[key] = trial.config
    return [
        ColdStart(key, count, home is not None and home.cache(COLD_STARTS, key).exists(), _cold_seconds(configs[key]))
        for key, count in counts.items()
    ]


def _cold_seconds(config: TrialConfig) -> float | None:
    start = config.cold_start
    if start is None or BACKBONES.load(config.backbone).source != "embedded":
        return None
    return start.steps * start.problems_per_step * SECONDS_PER_DEMONSTRATION
