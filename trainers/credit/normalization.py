"""Turn token rewards into advantages: define the normalised rewards and the token weights in a group's moments.

A normalisation returns the parts of a sum, given the weights of outcome and process. Each part has its own reward and
its own token weights in the moments of the group. The advantage of a part is z = (R − mean) / std, or 0 where std is 0:

    A = Σ_p share_p · z_p

`all_tokens` is the paper's normalisation. The others test a question of the paper's reviewers: does normalising over
all tokens of the group blur the signal of a step?

A rollout for which no critique answered is charged the mean charge of its group's critiqued rollouts, under the part's
own weights, so that its process adds nothing to its advantage. If no rollout of a group has a critique, this mean is 0
and only the outcome counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evals.registry import Registry
from trainers.credit.advantages import group_moments, normalise, summarize_completions
from trainers.credit.arrays import FloatArray, IntArray
from trainers.credit.rewards import compute_token_rewards

Weighing = Callable[[IntArray], FloatArray]
"""From the step of every token, shape (B, T), -1 for padding, to the token's weight, shape (B, T), 0 for padding."""


def weigh_tokens(index: IntArray) -> FloatArray:
    """Return a weight of 1 for every token."""
    return np.asarray(index >= 0, dtype=np.float64)


def weigh_responses(index: IntArray) -> FloatArray:
    """Return token weights with which every response counts once: its tokens share a weight of 1."""
    tokens = weigh_tokens(index)
    return np.asarray(tokens / np.maximum(tokens.sum(axis=1), 1)[:, None])


def weigh_steps(index: IntArray) -> FloatArray:
    """Return token weights with which every step that has tokens counts once: its tokens share a weight of 1."""
    places = int(index.max(initial=-1)) + 2  # The first cell of each rollout is for padding.
    cells = index + 1 + np.arange(len(index))[:, None] * places
    sizes = np.bincount(cells.ravel(), minlength=len(index) * places)
    return np.asarray(weigh_tokens(index) / np.maximum(sizes[cells], 1))


@dataclass(frozen=True)
class Part:
    """A reward that is normalised separately.

    Attributes:
        weighing: Function that returns the weight of each token in the moments.
        share: Factor of the normalised reward.
    """

    w_whole: float
    w_process: float
    weighing: Weighing = weigh_tokens
    share: float = 1.0


Normalization = Callable[[float, float], tuple[Part, ...]]
"""From W_whole and W_process to the parts of the advantage."""


def all_tokens(w_whole: float, w_process: float) -> tuple[Part, ...]:
    """Normalise over all tokens of the group, each counted once: long responses and long steps have more weight."""
    return (Part(w_whole, w_process),)


def per_response(w_whole: float, w_process: float) -> tuple[Part, ...]:
    """Normalise over the tokens of the group, with each response counted once.

    The update averages over the tokens of a response and then over responses, so these are the moments under the
    update's own weights.
    """
    return (Part(w_whole, w_process, weigh_responses),)


def per_step(w_whole: float, w_process: float) -> tuple[Part, ...]:
    """Normalise over the tokens of the group, with each step that has tokens counted once."""
    return (Part(w_whole, w_process, weigh_steps),)


def apart(w_whole: float, w_process: float) -> tuple[Part, ...]:
    """Normalise outcomes over responses and the process over all tokens, as parts of a weighted mean.

    A = (W_whole · z_outcome + W_process · z_process) / (W_whole + W_process). If both are normalised together, the
    process term shrinks where outcomes differ much, and makes up the whole advantage where they do not differ. With
    separate parts, one standard deviation of the process has the same effect in every group. A part with a standard
    deviation of 0 is 0, and the other part is not enlarged. The standard deviation of this weighted mean is at most
    about 1, which is that of the one-part normalisations.
    """
    total = (w_whole + w_process) or 1.0
    return (Part(1.0, 0.0, weigh_responses, w_whole / total), Part(0.0, 1.0, weigh_tokens, w_process / total))


@dataclass(frozen=True)
class Moments:
    """Moments of the rewards of each rollout's group, for each part; all of shape (B, parts).

    Attributes:
        mean: Mean of the rewards.
        std: Population standard deviation of the rewards.
        neutral: Mean charge of the group's critiqued rollouts, which the uncritiqued ones are charged; 0 if there are
            none.
    """

    mean: FloatArray
    std: FloatArray
    neutral: FloatArray


def compute_part_moments(
    parts: Sequence[Part], outcomes: FloatArray, charges: FloatArray, index: IntArray, group_size: int
) -> Moments:
    """Return the moments of each rollout's group; an uncritiqued rollout does not affect the mean charge.

    Args:
        parts: From a normalisation.
        outcomes: r_v of each rollout, shape (B,); NaN where the answer could not be verified. Such a rollout is left
            out.
        charges: Penalty share of each token's step, shape (B, T); NaN for a rollout for which no critique answered.
        index: Step of every token, shape (B, T); -1 for padding. The rollouts of a group are adjacent.
        group_size: G.

    Raises:
        ValueError: B is not a multiple of G.
    """
    verified = np.where(np.isnan(outcomes)[:, None], np.nan, charges)
    uncharged = np.nan_to_num(charges)
    weights = [part.weighing(index) for part in parts]
    critiqued = np.stack([summarize_completions(verified, weight) for weight in weights], axis=1)
    neutral, _ = group_moments(critiqued, group_size)
    rewards = np.stack(
        [
            summarize_completions(
                compute_token_rewards(outcomes[:, None], uncharged, part.w_whole, part.w_process), weight
            )
            for part, weight in zip(parts, weights, strict=True)
        ],
        axis=1,
    )
    rewards[..., 1] -= np.where(critiqued[..., 0] == 0, neutral, 0.0) * [part.w_process for part in parts]
    mean, std = group_moments(rewards, group_size)
    return Moments(mean, std, neutral)


def normalise_parts(
    parts: Sequence[Part], outcomes: FloatArray, charges: FloatArray, owner: IntArray, moments: Moments
) -> FloatArray:
    """Return the advantages of steps, shape (N,); 0 for rollouts whose answer could not be verified.

    Args:
        parts: From a normalisation.
        outcomes: r_v of each rollout, shape (B,).
        charges: Penalty share of each step, shape (N,); NaN for a rollout for which no critique answered.
        owner: Rollout of each step, shape (N,).
        moments: Moments of each rollout's group.
    """
    total = np.zeros_like(charges)
    for part, mean, std, neutral in zip(parts, moments.mean.T, moments.std.T, moments.neutral.T, strict=True):
        settled = np.where(np.isnan(charges), neutral[owner], charges)
        rewards = compute_token_rewards(outcomes[owner], settled, part.w_whole, part.w_process)
        total += part.share * normalise(rewards, mean[owner], std[owner])
    return total


def compute_neutral_charge(parts: Sequence[Part], moments: Moments) -> FloatArray:
    """Return the charge of a rollout without a critique, shape (B,): the mean over parts by their process weights."""
    weights = np.array([part.share * part.w_process for part in parts])
    return np.asarray(moments.neutral @ weights / (weights.sum() or 1.0))


NORMALIZATIONS: Registry[Normalization] = Registry(
    "normalization",
    "capo_bench.normalizations",
    {name: f"trainers.credit.normalization:{name}" for name in ("all_tokens", "per_response", "per_step", "apart")},
)
