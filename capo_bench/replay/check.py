"""Whether a replay of a trial's own rule gives what training recorded: the ground that every other replay stands on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from capo_bench.replay.batch import batch_of, step_index
from capo_bench.replay.credit import advantages, penalties
from capo_bench.replay.scored import earned, trains_on_scores
from capo_bench.replay.setting import trained_setting
from trainers.config import TrialConfig
from trainers.credit.advantages import group_moments
from trainers.credit.align import Alignment
from trainers.credit.assign import Credit, CreditRule, assign, process_signal_only
from trainers.credit.normalization import NORMALIZATIONS, normalised, part_stats
from trainers.credit.votes import VOTES
from trainers.methods import step_charge
from trainers.prm.scored import scored_metrics
from trainers.rollouts import Rollout, StoredStep

RECORDED = ("flagged_step_rate", "penalised_tokens", "vote_agreement", "abstained", "uncritiqued")
ADDED = frozenset({"abstained", "uncritiqued", "critiques", "critic_tokens", "critic_prompt_tokens"})
"""Recorded numbers that are added over processes; the others are averaged."""

CLOSE = 1e-9


@dataclass
class Check:
    """What the trial's own rule gave when it was replayed.

    Attributes:
        steps: Optimizer steps compared with their record.
        numbers: Numbers compared.
        off: What differs, one line each.
    """

    steps: int = 0
    numbers: int = 0
    off: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether there was something to compare and all of it is equal."""
        return bool(self.numbers) and not self.off


def retrained(rollouts: Sequence[Rollout], config: TrialConfig) -> Credit:
    """Return what training's own code makes of stored rollouts."""
    alignment = Alignment(
        texts=[],
        steps=[rollout.steps for rollout in rollouts],
        index=step_index([rollout.tokens for rollout in rollouts]),
        pieces=[],
    )
    outcomes = np.array([math.nan if row.outcome is None else row.outcome for row in rollouts], dtype=np.float64)
    credit, charge = config.credit, step_charge(config.method)
    rule = CreditRule(VOTES.get(credit.vote), credit.at_least, credit.w_whole, credit.w_process, charge)
    return assign(outcomes, [rollout.critiques for rollout in rollouts], alignment, rule)


def check_step(check: Check, step: StoredStep, config: TrialConfig, record: Mapping[str, float] | None) -> None:
    """Compare one optimizer step with its record and, of votes, the replay's advantages with those of training's code.

    Of scores, both are worked out by the same functions.

    Args:
        check: Receives what was found.
        step: The stored rollouts.
        config: The trial's settings.
        record: What training recorded of the step; None where it is lost, and then nothing is compared with it.
    """
    if record is None:
        return
    again = _of_scores(step, config) if trains_on_scores(config) else _of_votes(check, step, config)
    check.steps += 1
    for name, value in again.items():
        then = record.get(name)
        if then is None or (math.isnan(then) and math.isnan(value)):
            continue
        check.numbers += 1
        if not math.isclose(then, value, rel_tol=CLOSE, abs_tol=CLOSE):
            check.off.append(f"step {step.step}: {name} was {then:.6g} and is {value:.6g}")


def _of_votes(check: Check, step: StoredStep, config: TrialConfig) -> dict[str, float]:
    whole = retrained(step.rollouts, config)
    alone = len(step.parts) == 1
    parts = [whole.metrics] if alone else [retrained(part, config).metrics for part in step.parts if part]
    again = {name: _joined(name, [part[name] for part in parts if name in part]) for name in RECORDED}
    return {**again, "groups_process_signal_only": _same_advantages(check, step, whole, config)}


def _of_scores(step: StoredStep, config: TrialConfig) -> dict[str, float]:
    parts = [scored_metrics([row.scored for row in part if row.scored]) for part in step.parts if part]
    again = {name: _joined(name, [part[name] for part in parts]) for name in parts[0]}
    return {**again, "groups_process_signal_only": earned(step.rollouts, config).process_only}


def _joined(name: str, found: list[float]) -> float:
    values = [value for value in found if not math.isnan(value)]
    if not values:
        return math.nan
    return sum(values) if name in ADDED else sum(values) / len(values)


def _same_advantages(check: Check, step: StoredStep, whole: Credit, config: TrialConfig) -> float:
    """Compare the replay's advantages with training's, and return the share of groups with process signal alone."""
    size, credit = config.train.group_size, config.credit
    batch = batch_of(step.rollouts, credit.critiques)
    setting = trained_setting(credit)
    parts = NORMALIZATIONS.get(credit.normalization)(credit.w_whole, credit.w_process)
    moments = group_moments(part_stats(parts, batch.outcomes, whole.charges, batch.index), size)
    trained = normalised(parts, batch.outcomes, whole.charges, whole.mask, moments)
    shares, charge = penalties(batch, setting.ballot), step_charge(config.method)
    earned = advantages(batch, shares, setting.weights, credit.normalization, size, charge)
    ours = batch.square(earned.advantages)
    replayed = np.where(whole.mask, np.take_along_axis(ours, np.maximum(batch.index, 0), axis=1), 0.0)
    check.numbers += 1
    if not np.array_equal(replayed, trained):
        check.off.append(f"step {step.step}: advantages differ by up to {np.abs(replayed - trained).max():.3g}")
    return process_signal_only(batch.outcomes, moments[1], size)
