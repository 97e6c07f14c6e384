"""GRPO-GenORM: the vote on the whole answer is the reward of every token; the verifier is only measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from trainers.credit.critique import Critique
from trainers.critics.base import Solution
from trainers.critics.critic_thread import CriticThread
from trainers.grpo_genorm import GenormTrainer
from trainers.policy import train_policy
from trainers.rollouts import read_rollouts
from trainers.run import TrainRun

RIGHT, WRONG, NONE = Critique(frozenset()), Critique(frozenset({0})), Critique(None, "no_list")
ELSEWHERE = Critique(frozenset({3}))


class Judge:
    """Judges the rollouts of a batch by a table of rows, one row a rollout, again and again."""

    eager = False

    def __init__(self, *rows: tuple[Critique, ...]) -> None:
        self.rows = rows
        self.asked: list[Solution] = []

    async def critique(
        self, solutions: Sequence[Solution], k: int, *, first: int = 0, greedy: bool = False
    ) -> list[list[Critique]]:
        self.asked += solutions
        return [list(self.rows[index % len(self.rows)]) for index in range(len(solutions))]

    async def close(self) -> None:
        pass


class Probe(GenormTrainer):
    """Keeps the rewards and the advantages of each step."""

    rewards: list[np.ndarray]
    kept: list[np.ndarray]

    def reward(self) -> Any:
        rewards = super().reward()
        self.rewards.append(rewards)
        return rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        self.kept.append(output["advantages"].numpy().copy())
        return output


def trained(run: TrainRun, judge: Judge) -> tuple[list[np.ndarray], list[np.ndarray]]:
    class Seen(Probe):
        rewards: list[np.ndarray] = []  # noqa: RUF012 - of this run alone
        kept: list[np.ndarray] = []  # noqa: RUF012

    critic_thread = CriticThread(judge)
    try:
        assert train_policy(run, Seen, "blank_lines", critic_thread=critic_thread)
    finally:
        critic_thread.close()
    return Seen.rewards, Seen.kept


@pytest.mark.parametrize(
    ("vote", "expected"),
    [
        ("intersection", [1, 1, 1, 0]),
        ("majority", [1, 1, 0, 0]),
        ("union", [1, 0, 0, 0]),
        ("average", [1, 2 / 3, 1 / 3, 0]),
    ],
)
def test_the_vote_over_judgments_is_the_reward(make_run: Any, vote: str, expected: list[float]) -> None:
    run, _ = make_run(method="grpo_genorm", credit={"critiques": 3, "vote": vote})
    rows = [(RIGHT, RIGHT, RIGHT), (RIGHT, WRONG, RIGHT), (WRONG, RIGHT, WRONG), (WRONG, WRONG, WRONG)]
    judge = Judge(*rows)
    rewards, advantages = trained(run, judge)
    assert rewards[0] == pytest.approx(expected * 2)
    group = np.array(expected)
    # GRPO's advantage, as TRL has it: the sample standard deviation, and 1e-4 under the fraction.
    assert advantages[0][:4] == pytest.approx((group - group.mean()) / (group.std(ddof=1) + 1e-4), rel=1e-4)
    assert {solution.aim for solution in judge.asked} == {"answer"}


def test_abstentions_are_left_out_and_a_rollout_without_a_judgment_has_no_reward(make_run: Any) -> None:
    run, records = make_run(method="grpo_genorm", credit={"critiques": 2, "vote": "union", "max_abstained": 0.9})
    rows = [(NONE, NONE), (NONE, RIGHT), (WRONG, NONE), (ELSEWHERE, RIGHT)]
    rewards, advantages = trained(run, Judge(*rows))
    assert np.array_equal(rewards[0][:4], [np.nan, 1, 0, 1], equal_nan=True)
    assert advantages[0][0] == 0
    # Of 8 rollouts with 2 judgments each: 4 + 1 of 8 abstain in either group, one rollout of 4 is left unjudged.
    assert records[0]["abstained"] == 10
    assert records[0]["uncritiqued"] == 2
    assert records[0]["judged"] == pytest.approx(2 / 3)


def test_the_verifier_is_measured_beside_the_judge(make_run: Any) -> None:
    run, records = make_run(method="grpo_genorm", credit={"critiques": 1, "vote": "union"})
    trained(run, Judge((WRONG,)))
    kept = list(read_rollouts(run.rollouts))
    for step, record in zip(kept, records, strict=True):
        outcomes = [rollout.outcome for rollout in step.rollouts]
        assert record["outcome"] == pytest.approx(np.mean(outcomes))
        assert record["judged"] == 0
        assert record["judged_as_verified"] == pytest.approx(1 - np.mean(outcomes))
        assert {rollout.aim for rollout in step.rollouts} == {"answer"}
