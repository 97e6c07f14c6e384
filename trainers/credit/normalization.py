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

With several parts, the statistics of a completion that travel between processes are three numbers a part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evals.registry import Registry
from trainers.credit.advantages import completion_stats, group_moments, normalise
from trainers.credit.arrays import BoolArray, FloatArray, IntArray
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
        w_whole: Weight of the outcome in it.
        w_process: Weight of a wrong step in it.
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


def part_stats(parts: Sequence[Part], outcomes: FloatArray, charges: FloatArray, index: IntArray) -> FloatArray:
    """Condense each rollout to the statistics that its group needs of it, shape (B, parts, 3).

    Args:
        parts: From a normalisation.
        outcomes: r_v of each rollout, shape (B,); NaN where the verifier could not say: it takes no part.
        charges: Penalty share of each token's step, shape (B, T).
        index: Step of every token, shape (B, T); -1 for padding.
    """
    each = [completion_stats(_rewards(part, outcomes, charges), part.weighing(index)) for part in parts]
    return np.stack(each, axis=1)


def normalised(
    parts: Sequence[Part],
    outcomes: FloatArray,
    charges: FloatArray,
    mask: BoolArray,
    moments: tuple[FloatArray, FloatArray],
) -> FloatArray:
    """Return the advantages, shape (B, T); 0 for padding and rollouts whose answer could not be verified.

    Args:
        parts: From a normalisation.
        outcomes: r_v of each rollout, shape (B,).
        charges: Penalty share of each token's step, shape (B, T); or of each step, and then the advantages are too.
        mask: Which places of `charges` count, shape (B, T).
        moments: Mean and standard deviation of each rollout's group, from `advantages.group_moments`, shape (B, parts)
            each.
    """
    total = np.zeros_like(charges)
    for part, mean, std in zip(parts, *(moment.T for moment in moments), strict=True):
        total += part.share * normalise(_rewards(part, outcomes, charges), mask, mean, std)
    return total


def group_advantages(
    parts: Sequence[Part], outcomes: FloatArray, charges: FloatArray, index: IntArray, group_size: int
) -> FloatArray:
    """Return the advantages, shape (B, T), where all rollouts of each group are at hand."""
    moments = group_moments(part_stats(parts, outcomes, charges, index), group_size)
    return normalised(parts, outcomes, charges, index >= 0, moments)


def _rewards(part: Part, outcomes: FloatArray, charges: FloatArray) -> FloatArray:
    return token_rewards(outcomes, charges, part.w_whole, part.w_process)


NORMALIZATIONS: Registry[Normalization] = Registry(
    "normalization",
    "capo_bench.normalizations",
    {name: f"trainers.credit.normalization:{name}" for name in ("all_tokens", "per_response", "per_step", "apart")},
)
