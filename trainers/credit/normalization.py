"""How token rewards become advantages: what is normalised, and what counts as one observation of a group's moments.

A normalisation makes of the weights of outcome and process a sum of parts. Each part is a reward of its own and says
what a token counts for in the moments of the group; its advantage is z = (R − mean) / std, 0 where it has no spread:

    A = Σ_p share_p · z_p

`all_tokens` is the paper's. The others answer its reviewers' question whether normalising over all tokens of the group
blurs the signal of a step:

``all_tokens``
    One part, every token counts once: a long response, and a long step, weighs more.
``per_response``
    One part, every response counts once: its tokens share a weight of 1. The update averages over a response's tokens
    and then over responses, so these are the moments under the update's own weights.
``per_step``
    One part, every step counts once: its tokens share a weight of 1. Steps without a token do not count.
``apart``
    Two parts: A = (W_whole · z_outcome + W_process · z_process) / (W_whole + W_process), the outcome over responses,
    the process over all tokens. Normalised together, the process shrinks where outcomes differ much and fills all of
    the advantage where they do not differ; apart, a standard deviation of the process is worth the same in every
    group. A part without spread is 0 and the other is not enlarged. The spread of a weighted mean is at most about 1,
    that of the normalisations in one part.

A rollout of which no critique answered is neither blamed nor spared: its charge is the mean charge of its group's
critiqued rollouts, under the part's own weights, so that its process adds nothing to its advantage. Where no rollout of
a group has a critique, that mean is 0 and the outcome alone counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evals.registry import Registry
from trainers.credit.advantages import completion_stats, group_moments, normalise
from trainers.credit.arrays import FloatArray, IntArray
from trainers.credit.rewards import token_rewards

Weighing = Callable[[IntArray], FloatArray]
"""From the step of every token, shape (B, T), -1 for padding, to what each counts for, shape (B, T), 0 for padding."""


def each_token(index: IntArray) -> FloatArray:
    """Let every token count once."""
    return np.asarray(index >= 0, dtype=np.float64)


def each_response(index: IntArray) -> FloatArray:
    """Let every response count once: its tokens share a weight of 1."""
    tokens = each_token(index)
    return np.asarray(tokens / np.maximum(tokens.sum(axis=1), 1)[:, None])


def each_step(index: IntArray) -> FloatArray:
    """Let every step that has tokens count once: they share a weight of 1."""
    places = int(index.max(initial=-1)) + 2  # The first of each rollout's is padding's.
    cells = index + 1 + np.arange(len(index))[:, None] * places
    sizes = np.bincount(cells.ravel(), minlength=len(index) * places)
    return np.asarray(each_token(index) / np.maximum(sizes[cells], 1))


@dataclass(frozen=True)
class Part:
    """A reward that is normalised for itself.

    Attributes:
        weighing: What a token counts for in the moments.
        share: What its normalised value is multiplied by.
    """

    w_whole: float
    w_process: float
    weighing: Weighing = each_token
    share: float = 1.0


Normalization = Callable[[float, float], tuple[Part, ...]]
"""From W_whole and W_process to the parts of the advantage."""


def all_tokens(w_whole: float, w_process: float) -> tuple[Part, ...]:
    """Normalise over all tokens of the group."""
    return (Part(w_whole, w_process),)


def per_response(w_whole: float, w_process: float) -> tuple[Part, ...]:
    """Normalise over the tokens of the group where every response counts once."""
    return (Part(w_whole, w_process, each_response),)


def per_step(w_whole: float, w_process: float) -> tuple[Part, ...]:
    """Normalise over the steps of the group."""
    return (Part(w_whole, w_process, each_step),)


def apart(w_whole: float, w_process: float) -> tuple[Part, ...]:
    """Normalise outcomes over responses and the process over all tokens, and take their weighted mean."""
    total = (w_whole + w_process) or 1.0
    return (Part(1.0, 0.0, each_response, w_whole / total), Part(0.0, 1.0, each_token, w_process / total))


@dataclass(frozen=True)
class Moments:
    """What the group of each rollout says of rewards, for each part; all of shape (B, parts).

    Attributes:
        mean: Of the rewards.
        std: Their population standard deviation.
        neutral: Mean charge of the group's critiqued rollouts, which the others are charged; 0 without any.
    """

    mean: FloatArray
    std: FloatArray
    neutral: FloatArray


def part_moments(
    parts: Sequence[Part], outcomes: FloatArray, charges: FloatArray, index: IntArray, group_size: int
) -> Moments:
    """Return the moments of each rollout's group; an uncritiqued rollout has no say in the mean charge.

    Args:
        parts: From a normalisation.
        outcomes: r_v of each rollout, shape (B,); NaN where the verifier could not say: it takes no part.
        charges: Penalty share of each token's step, shape (B, T); NaN for a rollout of which no critique answered.
        index: Step of every token, shape (B, T); -1 for padding. Groups are next to each other.
        group_size: G.

    Raises:
        ValueError: B is not a multiple of G.
    """
    verified = np.where(np.isnan(outcomes)[:, None], np.nan, charges)
    uncharged = np.nan_to_num(charges)
    weights = [part.weighing(index) for part in parts]
    critiqued = np.stack([completion_stats(verified, weight) for weight in weights], axis=1)
    neutral, _ = group_moments(critiqued, group_size)
    rewards = np.stack(
        [
            completion_stats(token_rewards(outcomes[:, None], uncharged, part.w_whole, part.w_process), weight)
            for part, weight in zip(parts, weights, strict=True)
        ],
        axis=1,
    )
    rewards[..., 1] -= np.where(critiqued[..., 0] == 0, neutral, 0.0) * [part.w_process for part in parts]
    mean, std = group_moments(rewards, group_size)
    return Moments(mean, std, neutral)


def normalised(
    parts: Sequence[Part], outcomes: FloatArray, charges: FloatArray, owner: IntArray, moments: Moments
) -> FloatArray:
    """Return the advantages of steps, shape (N,); 0 for rollouts whose answer could not be verified.

    Args:
        parts: From a normalisation.
        outcomes: r_v of each rollout, shape (B,).
        charges: Penalty share of each step, shape (N,); NaN for a rollout of which no critique answered.
        owner: Rollout of each step, shape (N,).
        moments: Of each rollout's group.
    """
    total = np.zeros_like(charges)
    for part, mean, std, neutral in zip(parts, moments.mean.T, moments.std.T, moments.neutral.T, strict=True):
        settled = np.where(np.isnan(charges), neutral[owner], charges)
        rewards = token_rewards(outcomes[owner], settled, part.w_whole, part.w_process)
        total += part.share * normalise(rewards, mean[owner], std[owner])
    return total


def neutral_charge(parts: Sequence[Part], moments: Moments) -> FloatArray:
    """Return what a rollout without a critique is charged, shape (B,): the mean over parts by the process's weight."""
    weights = np.array([part.share * part.w_process for part in parts])
    return np.asarray(moments.neutral @ weights / (weights.sum() or 1.0))


NORMALIZATIONS: Registry[Normalization] = Registry(
    "normalization",
    "capo_bench.normalizations",
    {name: f"trainers.credit.normalization:{name}" for name in ("all_tokens", "per_response", "per_step", "apart")},
)
