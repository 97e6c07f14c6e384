"""The contract with TRL that CAPO rests on: `_compute_loss` takes an advantage for each token."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from onebatch import batch, loss_and_gradient, trainer_of

from evals.benchmarks import Problem
from evals.coins import COINS
from trainers.backbones import BACKBONES
from trainers.credit.align import Alignment
from trainers.policy import PolicyTrainer, build_settings


@pytest.fixture
def trainer(make_run: Any) -> PolicyTrainer:
    return trainer_of(PolicyTrainer, make_run()[0])


def test_token_advantages_constant_over_a_rollout_are_that_rollouts_advantage(trainer: PolicyTrainer) -> None:
    inputs = batch(trainer, (7, 3, 5, 1))
    scalar = torch.tensor([1.5, -0.5, 0.0, -1.0])
    loss, gradient = loss_and_gradient(trainer, {**inputs, "advantages": scalar})
    tokens = scalar[:, None].expand(4, 7)
    token_loss, token_gradient = loss_and_gradient(trainer, {**inputs, "advantages": tokens})
    assert torch.equal(loss, token_loss)
    assert torch.equal(gradient, token_gradient)
    assert gradient.abs().max() > 0


def test_the_loss_at_the_first_update_is_minus_the_mean_advantage_by_response(trainer: PolicyTrainer) -> None:
    # On policy the ratio is 1: −A per token, averaged within a response, then over the two responses.
    inputs = batch(trainer, (4, 2))
    advantages = torch.tensor([[1.0, 1.0, -1.0, 3.0], [-2.0, 4.0, 0.0, 0.0]])
    loss, _ = loss_and_gradient(trainer, {**inputs, "advantages": advantages})
    assert loss.item() == pytest.approx(-((4 / 4) + (2 / 2)) / 2)


def test_an_advantage_on_padding_changes_nothing(trainer: PolicyTrainer) -> None:
    inputs = batch(trainer, (4, 2))
    advantages = torch.tensor([[1.0, 1.0, -1.0, 3.0], [-2.0, 4.0, 0.0, 0.0]])
    spilled = advantages.clone()
    spilled[1, 2:] = 99.0
    loss, gradient = loss_and_gradient(trainer, {**inputs, "advantages": advantages})
    spilled_loss, spilled_gradient = loss_and_gradient(trainer, {**inputs, "advantages": spilled})
    assert torch.equal(loss, spilled_loss)
    assert torch.equal(gradient, spilled_gradient)


def test_what_is_reported_of_rollouts_by_hand(trainer: PolicyTrainer) -> None:
    problem = Problem("p", "Ann has 3 coins. Ann finds 4. How many?\n", "7")
    # All right; a slip that the answer follows; an answer before the sum, which the verifier could not read.
    steps = [("3 + 4 = 7", "\\boxed{7}"), ("3 + 4 = 8", "\\boxed{8}"), ("\\boxed{7}",)]
    trainer.problems = [problem] * 3
    trainer.prompt_tokens = [12, 12, 12]
    trainer.alignment = Alignment([""] * 3, steps, np.array([[0, 0, 1], [0, 1, -1], [0, -1, -1]]), [])
    trainer.outcomes = np.array([1.0, 0.0, np.nan])
    trainer.truth = [COINS.check_steps(problem, each).wrong for each in steps]
    assert trainer.rollout_metrics() == {
        "outcome": 0.5,
        "unverified": 1,
        "wrong_step_rate": 2 / 5,
        "steps_per_response": 5 / 3,
        "single_step_responses": 1 / 3,
        "tokens_per_response": 2,
        "policy_tokens": 6,
        "policy_prompt_tokens": 36,
        "policy_prefill_tokens": 36,
    }


def test_every_trl_default_that_differs_from_the_paper_is_set(make_run: Any) -> None:
    run, _ = make_run()
    chosen = build_settings(run, BACKBONES.load("tiny"))
    assert chosen.loss_type == "grpo"
    assert chosen.beta == 0.0
    assert chosen.num_iterations == 1
    assert chosen.epsilon == chosen.epsilon_high == 0.2
    assert chosen.scale_rewards == "group"
    assert chosen.importance_sampling_level == "token"
    assert (chosen.top_p, chosen.top_k, chosen.temperature) == (1.0, 0, 1.0)
    assert not chosen.use_vllm
    assert chosen.report_to == []
    assert chosen.weight_decay == 0.0
    assert chosen.lr_scheduler_type == "constant"
