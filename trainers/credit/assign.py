"""Credit assignment for a batch: outcomes and critiques in, token rewards and what to report of them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from trainers.credit.advantages import STD_FLOOR
from trainers.credit.align import Alignment
from trainers.credit.arrays import BoolArray, FloatArray, IntArray
from trainers.credit.critique import Critique
from trainers.credit.rewards import StepCharge, own_step, token_charges, token_rewards
from trainers.credit.votes import VotingRule, combine, flag_matrix, vote_agreement


@dataclass(frozen=True)
class CreditRule:
    """How critiques become token rewards.

    Attributes:
        vote: From `trainers.credit.votes.VOTES`.
        at_least: For the voting rule of that name.
        w_whole: Weight of the outcome.
        w_process: Weight of a wrong step.
        charge: Which steps pay for those that are voted wrong; CAPO: each for itself.
    """

    vote: VotingRule
    at_least: int | None = None
    w_whole: float = 2.0
    w_process: float = 1.0
    charge: StepCharge = own_step


@dataclass(frozen=True)
class Credit:
    """What a batch of rollouts has earned.

    Attributes:
        rewards: Token rewards, shape (B, T); 0 for padding, NaN for a rollout whose answer could not be verified.
        mask: Which tokens are the completion's, shape (B, T).
        charges: Penalty share that each token is charged, shape (B, T); 0 for padding.
        penalties: Penalty share of each rollout's steps as voted; None where no critique answered.
        metrics: What to report; see `assign`.
    """

    rewards: FloatArray
    mask: BoolArray
    charges: FloatArray
    penalties: list[FloatArray | None]
    metrics: dict[str, float]


def assign(
    outcomes: FloatArray,
    critiques: Sequence[Sequence[Critique]],
    alignment: Alignment,
    rule: CreditRule,
) -> Credit:
    """Turn outcomes and critiques into token rewards.

    A rollout that no critique answered keeps its outcome reward alone. A critique that names a step that is not there
    counts as an abstention.

    The metrics say what the critiques did, over the rows given; one that is undefined there is left out:
    ``flagged_step_rate`` and ``penalised_tokens`` (mean penalty share of steps as voted and of tokens as charged, over
    rollouts that a critique answered) · ``vote_agreement`` (see `votes`) · as counts, ``abstained`` (critiques without
    a verdict) and ``uncritiqued`` (rollouts without any).

    Args:
        outcomes: r_v of each rollout, shape (B,); NaN where the verifier could not say.
        critiques: The critiques of each rollout; abstentions among them.
        alignment: The rollouts' steps and the step of every token.
        rule: Voting rule and weights.

    Raises:
        ValueError: The arguments are not of one batch size.
    """
    sizes = (len(outcomes), len(critiques), len(alignment.steps))
    if len(set(sizes)) > 1:
        raise ValueError(f"outcomes, critiques and alignment are of {sizes} rollouts; give those of one batch")
    step_counts = [len(steps) for steps in alignment.steps]
    flags = [
        flag_matrix([checked(critique, count) for critique in row], count)
        for row, count in zip(critiques, step_counts, strict=True)
    ]
    penalties = [combine(rule.vote, matrix, rule.at_least) for matrix in flags]
    mask = alignment.index >= 0
    charged = [None if shares is None else rule.charge(shares) for shares in penalties]
    charges = token_charges(charged, alignment.index)
    rewards = np.where(mask, token_rewards(outcomes, charges, rule.w_whole, rule.w_process), 0.0)
    asked = sum(map(len, critiques))
    metrics = {
        "abstained": float(asked - sum(len(matrix) for matrix in flags)),
        **_process_metrics(flags, penalties, charges, mask),
    }
    return Credit(
        rewards, mask, charges, penalties, {key: value for key, value in metrics.items() if not np.isnan(value)}
    )


def checked(critique: Critique, steps: int) -> Critique:
    """Return the critique, as an abstention if it names a step that a solution of so many steps lacks."""
    if critique.wrong is None or all(0 <= step < steps for step in critique.wrong):
        return critique
    return replace(critique, wrong=None, abstained="out_of_range")


def process_signal_only(outcomes: FloatArray, std: FloatArray, group_size: int) -> float:
    """Return the share of groups whose outcomes are all equal but whose token rewards are not.

    Args:
        outcomes: r_v of each rollout, shape (B,), NaN where unknown; whole groups next to each other.
        std: Standard deviation of each part of each rollout's group (`advantages.group_moments`), shape (B, parts).
        group_size: G.
    """
    known = ~np.isnan(outcomes)
    lowest = np.where(known, outcomes, np.inf).reshape(-1, group_size).min(axis=1)
    highest = np.where(known, outcomes, -np.inf).reshape(-1, group_size).max(axis=1)
    return _mean((highest <= lowest) & (std[::group_size] > STD_FLOOR).any(axis=1))


def _process_metrics(
    flags: Sequence[BoolArray], penalties: Sequence[FloatArray | None], charges: FloatArray, mask: BoolArray
) -> dict[str, float]:
    answered = np.array([shares is not None for shares in penalties], dtype=np.bool_)
    known = [shares for shares in penalties if shares is not None]
    agreements = [agreement for matrix in flags if (agreement := vote_agreement(matrix)) is not None]
    return {
        "flagged_step_rate": _mean(np.concatenate(known)) if known else np.nan,
        "penalised_tokens": _mean(charges[answered][mask[answered]]),
        "vote_agreement": _mean(np.asarray(agreements)),
        "uncritiqued": float((~answered).sum()),
    }


def _mean(values: FloatArray | BoolArray | IntArray) -> float:
    return float(values.mean()) if values.size else float("nan")
