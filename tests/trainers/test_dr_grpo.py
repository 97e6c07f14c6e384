"""Dr. GRPO: no division by the group's spread, and a constant in place of a response's length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from onebatch import batch, loss_and_gradient, trainer_of

from trainers import dr_grpo
from trainers.backbones import BACKBONES
from trainers.dr_grpo import DrGrpoTrainer
from trainers.policy import PolicyTrainer, build_settings


def test_two_settings_are_its_own_and_the_others_stay(make_run: Any) -> None:
    run, _ = make_run(method="dr_grpo")
    ours, grpo = (
        build_settings(run, BACKBONES.load("tiny"), kind).to_dict() for kind in (DrGrpoTrainer, PolicyTrainer)
    )
    differing = {key: ours[key] for key in ours if ours[key] != grpo[key]}
    assert differing == {"loss_type": "dr_grpo", "scale_rewards": "none"}


def test_the_loss_is_the_sum_over_tokens_by_a_constant(make_run: Any) -> None:
    # On policy the ratio is 1: 4 tokens of −1.5 and 2 of 0.5, over 2 rollouts of at most 40 tokens each. GRPO would
    # average each response by itself: (−1.5 + 0.5) / 2.
    trainer = trainer_of(DrGrpoTrainer, make_run(method="dr_grpo")[0])
    inputs = {**batch(trainer, (4, 2)), "advantages": torch.tensor([1.5, -0.5])}
    assert loss_and_gradient(trainer, inputs)[0].item() == pytest.approx((4 * -1.5 + 2 * 0.5) / (2 * 40))


def test_advantages_are_outcomes_less_their_mean(make_run: Any) -> None:
    class Fixed(DrGrpoTrainer):
        def reward(self) -> Any:
            return np.array([1, 0, 0, 0, 1, 1, np.nan, 0.0])

    trainer = trainer_of(Fixed, make_run(method="dr_grpo")[0])
    rows = [trainer.train_dataset[index // 4] for index in range(8)]
    advantages = trainer._generate_and_score_completions(rows)["advantages"].tolist()
    # Means 1/4, and 2/3 of the three that have a reward; the rollout without one gets 0.
    assert advantages == pytest.approx([0.75, -0.25, -0.25, -0.25, 1 / 3, 1 / 3, 0, -2 / 3])


def test_it_trains(make_run: Any) -> None:
    run, records = make_run(method="dr_grpo")
    assert dr_grpo.train(run)
    assert [record["step"] for record in records] == [1, 2]
    assert (run.model / "model.safetensors").exists()
