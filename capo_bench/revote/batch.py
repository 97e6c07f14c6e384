"""Stored rollouts as arrays: some optimizer steps of one trial, whole groups next to each other.

If the critic judged answers, the answer is the one step of a rollout, and the verifier's verdict replaces that of the
exact checker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from capo_bench.critic.quality import JudgedSteps, share_charged
from capo_bench.revote.setting import find_trained_setting
from trainers.config import TrialConfig
from trainers.credit.arrays import FloatArray
from trainers.credit.batch import Batch, Earned, Evidence, Layout, lay_out
from trainers.credit.states import number_states
from trainers.credit.votes import build_flags
from trainers.methods import METHODS, find_credit_function
from trainers.rollouts import Rollout


@dataclass(frozen=True)
class Stored(JudgedSteps):
    """B rollouts with N steps in all; the truth is that of the exact checker.

    Attributes:
        outcomes: r_v of each rollout, shape (B,); NaN where the verifier abstained.
        scores: Probability that each step is right by a process reward model, shape (N,); NaN without one.
        states: The text of a solution up to each step, as a number (`trainers.credit.states`), shape (N,).
    """

    layout: Layout
    outcomes: FloatArray
    scores: FloatArray
    states: FloatArray

    def batch(self, group_size: int, evidence: Evidence) -> Batch:
        """Return the rollouts in the form for methods.

        Raises:
            ValueError: They do not make whole groups.
        """
        return Batch(self.layout, self.outcomes, group_size, evidence)


def store_of(rollouts: Sequence[Rollout], critiques: int | None = None) -> Stored:
    """Turn whole groups of rollouts into arrays, with the first `critiques` or all of each; one missing abstained."""
    rollouts = [rollout if rollout.aim == "steps" else reduce_to_answer(rollout) for rollout in rollouts]
    layout = lay_out([rollout.tokens for rollout in rollouts])
    return Stored(
        problems=tuple(rollout.problem for rollout in rollouts),
        layout=layout,
        outcomes=np.array([np.nan if row.outcome is None else row.outcome for row in rollouts], dtype=np.float64),
        truth=_read_truth(rollouts, layout),
        flags=build_flags([rollout.critiques for rollout in rollouts], layout.steps, critiques),
        scores=_read_scores(rollouts),
        states=number_states([row.problem for row in rollouts], [row.steps for row in rollouts]),
    )


def compute_earned(stored: Stored, config: TrialConfig) -> Earned:
    """Return the rewards and advantages of stored rollouts under the settings of their training.

    Raises:
        ValueError: They do not make whole groups, or the method gives no credit to steps.
    """
    voted = share_charged(stored.flags, find_trained_setting(config.credit).ballot)
    asks_critic = "critic" in METHODS.get(config.method).uses
    evidence = Evidence(shares=voted if asks_critic else None, scores=stored.scores, states=stored.states)
    return find_credit_function(config.method)(stored.batch(config.train.group_size, evidence), config.terms)


def reduce_to_answer(rollout: Rollout) -> Rollout:
    """Return the rollout with its answer as its one step, which is wrong if the verifier says so."""
    truth = None if rollout.outcome is None else frozenset[int]() if rollout.outcome else frozenset({0})
    return replace(rollout, steps=(rollout.text,), tokens=(sum(rollout.tokens),), truth=truth)


def _read_truth(rollouts: Sequence[Rollout], layout: Layout) -> FloatArray:
    checked = np.array([rollout.truth is not None for rollout in rollouts], dtype=np.bool_)
    truth = np.where(checked[layout.owner], 0.0, np.nan)
    starts = layout.starts.tolist()
    truth[[start + step for row, start in zip(rollouts, starts, strict=True) for step in row.truth or ()]] = 1.0
    return truth


def _read_scores(rollouts: Sequence[Rollout]) -> FloatArray:
    rows = [(row.scored and row.scored.scores) or (np.nan,) * len(row.steps) for row in rollouts]
    return np.array([score for row in rows for score in row], dtype=np.float64)
