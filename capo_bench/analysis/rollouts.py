"""The rollouts that training stored, trial by trial, with the credit of their steps; and the most telling of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from capo_bench.analysis.credited import CreditedRollout, credited
from capo_bench.revote.trial import is_whole
from capo_bench.store.home import TrialFolder
from capo_bench.study.plan import Trial
from trainers.config import TrialConfig
from trainers.methods import METHODS
from trainers.rollouts import DamagedRolloutsError, StoredStep, read_step, stored_steps


@dataclass(frozen=True)
class CreditedStep:
    """One stored optimizer step of a trial; one that cannot be read has no rollouts, and `damaged` says why."""

    trial: Trial
    number: int
    rollouts: list[CreditedRollout]
    damaged: str = ""


def read_credited(trial: Trial, folder: TrialFolder, numbers: Sequence[int] | None = None) -> Iterator[CreditedStep]:
    """Yield the stored optimizer steps of a trial, all or those of these numbers, each read once."""
    files = stored_steps(folder.rollouts)
    for number in files if numbers is None else numbers:
        try:
            step = read_step(number, files[number])
        except DamagedRolloutsError as error:
            yield CreditedStep(trial, number, [], str(error))
            continue
        if is_whole(step, trial.config.train.group_size):
            yield CreditedStep(trial, number, credit_of(step, trial.config))
        else:
            yield CreditedStep(trial, number, [], f"optimizer step {number} does not hold whole groups")


def thinned(trials: Sequence[tuple[Trial, TrialFolder]], most: int) -> dict[str, list[int]]:
    """Return trial id to the optimizer steps to read, so that there are about `most` rollouts in all.

    Every n-th step from the first, and the last.
    """
    stored = {trial.id: list(stored_steps(folder.rollouts)) for trial, folder in trials}
    size = {trial.id: trial.config.train.prompts_per_step * trial.config.train.group_size for trial, _ in trials}
    every = max(1, math.ceil(sum(size[name] * len(steps) for name, steps in stored.items()) / most))
    return {name: sorted({*steps[::every], *steps[-1:]}) for name, steps in stored.items()}


def credit_of(step: StoredStep, config: TrialConfig) -> list[CreditedRollout]:
    """Return the rollouts of a step with their credit; NaN where the method gives its steps none of their own."""
    if METHODS.get(config.method).rests_on_rollouts:
        return credited(step, config)
    return [_without_credit(step, place, config.train.group_size) for place in range(len(step.rollouts))]


def most_telling(steps: Sequence[CreditedRollout]) -> CreditedRollout | None:
    """Return the rollout on which critiques disagree most; None where there are no two verdicts on any.

    Among equals the one whose steps' exact labels are known and are missed by the most critiques, then the first.
    """
    voted = [rollout for rollout in steps if rollout.voters > 1]
    return max(voted, key=lambda rollout: (rollout.split, _missed(rollout), -rollout.place), default=None)


def _missed(credited: CreditedRollout) -> float:
    """Return the share of critiques' verdicts that the exact checker does not share, of the worst step."""
    truth, voters = credited.rollout.truth, credited.voters
    if truth is None:
        return 0.0
    wrong = ((voters - votes if place in truth else votes) for place, votes in enumerate(credited.votes))
    return max(wrong, default=0) / voters


def _without_credit(step: StoredStep, place: int, size: int) -> CreditedRollout:
    rollout, first = step.rollouts[place], place - place % size
    nothing = (math.nan,) * len(rollout.steps)
    group = tuple(math.nan if own.outcome is None else own.outcome for own in step.rollouts[first : first + size])
    return CreditedRollout(step.step, place + 1, rollout, rollout.critiques, nothing, nothing, group)
