"""CAPO's training step, for real on a tiny model: advantages, abstentions, what is reported, stopping and resuming."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evals.coins import COINS
from trainers import capo, grpo_rule
from trainers.capo import CapoTrainer
from trainers.credit.critique import Critique
from trainers.criticised import CriticFailingError
from trainers.critics.base import Solution, Surroundings
from trainers.critics.critic_thread import CriticThread
from trainers.critics.exact import ExactCritic
from trainers.critics.noisy import NoisyParams
from trainers.policy import train_policy
from trainers.rollouts import read_rollouts
from trainers.run import TrainRun


class Probe(CapoTrainer):
    """Keeps what each step handed to the update."""

    seen: list[dict[str, Any]]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        kept = {name: output[name].clone() for name in ("advantages", "completion_mask")}
        self.seen.append({**kept, "outcomes": self.outcomes.copy()})
        return output


class Abstaining:
    """A critic that never has a verdict."""

    eager = False

    async def critique(
        self, solutions: Sequence[Solution], k: int, *, first: int = 0, greedy: bool = False
    ) -> list[list[Critique]]:
        return [[Critique(None, "timeout")] * k for _ in solutions]

    async def close(self) -> None:
        pass


def trained(run: TrainRun, critic: Any) -> list[dict[str, Any]]:
    class Seen(Probe):
        seen: list[dict[str, Any]] = []  # noqa: RUF012 - one list for this run

    critic_thread = CriticThread(critic)
    try:
        assert train_policy(run, Seen, "blank_lines", critic_thread=critic_thread)
    finally:
        critic_thread.close()
    return Seen.seen


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_advantages_are_normalised_over_the_tokens_of_each_group(make_run: Any) -> None:
    run, _ = make_run()
    for step in trained(run, NoisyParams(false_alarm=0.5, miss=0.5).build(Surroundings(COINS, 0))):
        advantages, mask = step["advantages"].double(), step["completion_mask"].bool()
        assert advantages.shape == mask.shape
        assert (advantages[~mask] == 0).all()
        for group in range(2):
            tokens = advantages[4 * group : 4 * group + 4][mask[4 * group : 4 * group + 4]]
            assert tokens.mean().item() == pytest.approx(0, abs=1e-6)
            assert tokens.std(correction=0).item() == pytest.approx(1, abs=1e-6)


def test_a_critic_that_abstains_leaves_the_outcome_reward_alone(make_run: Any) -> None:
    run, records = make_run(credit={"critiques": 3, "vote": "majority", "max_abstained": 1.0})
    for step in trained(run, Abstaining()):
        for group in range(2):
            rows = slice(4 * group, 4 * group + 4)
            if np.ptp(step["outcomes"][rows]) == 0:
                assert (step["advantages"][rows] == 0).all()
    assert [record["abstained"] for record in records] == [24, 24]
    assert [record["uncritiqued"] for record in records] == [8, 8]
    assert all("flagged_step_rate" not in record and "vote_agreement" not in record for record in records)


def test_training_ends_with_a_message_when_too_many_critiques_abstain(make_run: Any) -> None:
    run, records = make_run()
    with pytest.raises(CriticFailingError, match=r"8 of 8 critiques .* \(timeout 8\).*credit\.max_abstained 0\.5"):
        trained(run, Abstaining())
    assert records == []
    (step,) = read_rollouts(run.rollouts)
    assert {one.abstained for rollout in step.rollouts for one in rollout.critiques} == {"timeout"}, "to be looked at"


def test_the_message_says_what_went_wrong_and_how_texts_ended(make_run: Any) -> None:
    class Down(Abstaining):
        async def critique(self, solutions: Any, k: int, *, first: int = 0, greedy: bool = False) -> Any:
            failed, unread = Critique(None, "error", "http://host/v1: status 503"), Critique(None, "no_list", "x" * 900)
            return [[failed if index % 2 else unread for index in range(k)] for _ in solutions]

    run, _ = make_run(credit={"critiques": 2, "vote": "union"})
    with pytest.raises(CriticFailingError) as raised:
        trained(run, Down())
    assert "(no_list 8, error 8)" in str(raised.value)
    assert "\nerror: 'http://host/v1: status 503'" in str(raised.value)
    assert f"\nno_list: …'{'x' * 400}'" in str(raised.value)


def test_a_step_reports_what_every_method_owes(make_run: Any) -> None:
    run, records = make_run(critic={"name": "noisy"}, credit={"critiques": 4})
    assert capo.train(run)
    assert [record["step"] for record in records] == [1, 2]
    last = records[-1]
    shares = "outcome wrong_step_rate flagged_step_rate penalised_tokens vote_agreement groups_process_signal_only"
    assert all(0 <= last[name] <= 1 for name in shares.split())
    assert last["critiques"] == 8 * 4
    assert last["abstained"] == last["critic_tokens"] == last["unverified"] == 0
    assert last["policy_tokens"] == pytest.approx(8 * last["tokens_per_response"])
    parts = [last[f"seconds_{part}"] for part in ("generate", "verify", "critique", "update")]
    assert 0 < sum(parts) < last["seconds"] * 1.05
    assert last["steps_per_response"] >= 1


def test_grpo_rule_reports_the_same_but_no_critic(make_run: Any) -> None:
    run, records = make_run(method="grpo_rule")
    assert grpo_rule.train(run)
    assert {"outcome", "wrong_step_rate", "steps_per_response", "policy_tokens"} <= records[-1].keys()
    assert not {"critiques", "flagged_step_rate", "vote_agreement", "seconds_critique"} & records[-1].keys()


def test_two_runs_of_one_seed_are_equal_bit_for_bit_and_of_two_seeds_are_not(make_run: Any) -> None:
    torch.set_num_threads(1)
    results = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run, records = make_run(seed=seed, name=name, critic={"name": "noisy"}, credit={"critiques": 4})
        assert capo.train(run)
        clocks = ("seconds", "cpu_seconds", "critic_wait")
        timeless = [{k: v for k, v in record.items() if not k.startswith(clocks)} for record in records]
        results.append((timeless, weights(run.model)))
    assert results[0] == results[1]
    assert results[0] != results[2]


def test_a_run_stopped_and_resumed_ends_where_an_unbroken_one_ends(make_run: Any) -> None:
    torch.set_num_threads(1)
    steps = {"train": {"steps": 4, "prompts_per_step": 2, "group_size": 4, "max_completion_tokens": 40}}
    whole, whole_records = make_run(name="whole", **steps)
    assert capo.train(whole)
    asked: list[int] = []
    broken, first_records = make_run(name="broken", stop=lambda: bool(asked.append(1)) or len(asked) == 2, **steps)
    assert not capo.train(broken)
    assert not broken.model.exists()
    assert [record["step"] for record in first_records] == [1, 2]
    resumed = replace(broken, resume=str(broken.out / "checkpoint-2"), stop=lambda: False)
    assert capo.train(resumed)
    assert [record["outcome"] for record in first_records] == [record["outcome"] for record in whole_records]
    assert weights(resumed.model) == weights(whole.model)


def test_micro_batches_see_the_same_rollouts(make_run: Any) -> None:
    steps = {"steps": 1, "prompts_per_step": 2, "group_size": 4, "max_completion_tokens": 40}
    whole, whole_records = make_run(name="whole", train=steps)
    parts, parts_records = make_run(name="parts", train={**steps, "micro_batch": 2})
    assert capo.train(whole)
    assert capo.train(parts)
    for name in ("outcome", "wrong_step_rate", "policy_tokens"):
        assert whole_records[0][name] == parts_records[0][name]


class EagerExact(ExactCritic):
    """The exact critic as an endpoint would be: asked about one rollout after the other."""

    eager = True

    def __init__(self) -> None:
        super().__init__(COINS)
        self.batches: list[list[Solution]] = []

    async def critique(
        self, solutions: Sequence[Solution], k: int, *, first: int = 0, greedy: bool = False
    ) -> list[list[Critique]]:
        self.batches.append(list(solutions))
        return await super().critique(solutions, k, first=first, greedy=greedy)


def test_an_eager_critic_is_asked_rollout_by_rollout_and_the_training_is_the_same(make_run: Any) -> None:
    torch.set_num_threads(1)
    patient, patient_records = make_run(name="patient", critic={"name": "exact"})
    assert capo.train(patient)
    eager, eager_records = make_run(name="eager", critic={"name": "exact"})
    critic = EagerExact()
    trained(eager, critic)
    assert weights(eager.model) == weights(patient.model)
    assert [r["flagged_step_rate"] for r in eager_records] == [r["flagged_step_rate"] for r in patient_records]
    single = [batch for batch in critic.batches if len(batch) == 1]
    ended = [record["policy_tokens"] for record in eager_records]
    assert sum(map(len, critic.batches)) == 8 * len(ended)
    assert single, "some rollout ended before the others were sampled"
    assert all(critic.batches), "a critic is never asked about nothing"


def test_the_rollouts_that_were_trained_on_are_kept_with_their_critiques(make_run: Any) -> None:
    run, records = make_run(critic={"name": "noisy"}, credit={"critiques": 4})
    assert capo.train(run)
    kept = list(read_rollouts(run.rollouts))
    assert [step.step for step in kept] == [1, 2]
    for step, record in zip(kept, records, strict=True):
        assert [rollout.group for rollout in step.rollouts] == [0] * 4 + [1] * 4
        assert sum(sum(rollout.tokens) for rollout in step.rollouts) == record["policy_tokens"]
        assert np.mean([rollout.outcome for rollout in step.rollouts]) == record["outcome"]
        steps = sum(len(rollout.steps) for rollout in step.rollouts)
        assert sum(len(rollout.truth) for rollout in step.rollouts) / steps == record["wrong_step_rate"]
        assert all(len(rollout.critiques) == 4 for rollout in step.rollouts)
        for rollout in step.rollouts:
            ends = np.cumsum([0, *rollout.tokens])
            texts = ["".join(rollout.pieces[start:end]).strip() for start, end in pairwise(ends)]
            assert texts == list(rollout.steps), "each step's tokens are its text"
