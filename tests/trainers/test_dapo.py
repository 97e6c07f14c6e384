"""DAPO: every token weighs the same, length is punished softly, a truncated rollout is not learned from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from onebatch import batch, loss_and_gradient, trainer_of

from trainers import dapo
from trainers.backbones import BACKBONES
from trainers.credit.align import Alignment
from trainers.dapo import DapoTrainer, punish_overlong
from trainers.policy import PolicyTrainer, build_settings


def test_three_settings_are_its_own_and_the_others_stay(make_run: Any) -> None:
    run, _ = make_run(method="dapo")
    ours, grpo = (build_settings(run, BACKBONES.load("tiny"), kind).to_dict() for kind in (DapoTrainer, PolicyTrainer))
    differing = {key: ours[key] for key in ours if ours[key] != grpo[key]}
    assert differing.pop("epsilon_high") == pytest.approx(0.28)
    assert differing == {"loss_type": "dapo", "mask_truncated_completions": True}
    assert ours["epsilon"] == 0.2


@pytest.mark.parametrize(("length", "punishment"), [(1, 0), (80, 0), (81, -0.05), (90, -0.5), (100, -1)])
def test_a_length_is_punished_from_four_fifths_of_the_limit(length: int, punishment: float) -> None:
    assert punish_overlong(np.array([length]), 100) == pytest.approx([punishment])


def test_the_reward_is_the_outcome_less_what_the_length_costs(make_run: Any) -> None:
    trainer = trainer_of(DapoTrainer, make_run(method="dapo")[0])  # 40 tokens at most: the line begins at 32
    lengths = [10, 36, 40, 40]
    index = np.array([[0] * length + [-1] * (40 - length) for length in lengths])
    trainer.alignment = Alignment([""] * 4, [("",)] * 4, index, [])
    trainer.outcomes = np.array([1.0, 1.0, 0.0, np.nan])
    assert trainer.reward().tolist() == pytest.approx([1, 0.5, -2, np.nan], nan_ok=True)


def test_the_loss_is_the_mean_over_all_tokens(make_run: Any) -> None:
    # On policy the ratio is 1: 4 tokens of −1.5 and 2 of 0.5. GRPO would average each response by itself.
    trainer = trainer_of(DapoTrainer, make_run(method="dapo")[0])
    inputs = {**batch(trainer, (4, 2)), "advantages": torch.tensor([1.5, -0.5])}
    assert loss_and_gradient(trainer, inputs)[0].item() == pytest.approx((4 * -1.5 + 2 * 0.5) / 6)


def test_a_truncated_rollout_counts_in_its_group_and_has_no_loss(make_run: Any) -> None:
    trainer = trainer_of(DapoTrainer, make_run(method="dapo")[0])
    rows = [trainer.train_dataset[index // 4] for index in range(8)]
    output = trainer._generate_and_score_completions(rows)
    ended = np.array([trainer.tokenizer.eos_token_id in ids for ids in output["completion_ids"].tolist()])
    assert 0 < ended.sum() < 8, "some end and some are cut at 40 tokens"
    assert (output["completion_mask"].sum(dim=1).numpy() > 0).tolist() == ended.tolist()
    rewards = trainer.reward().reshape(2, 4)
    scaled = (rewards - rewards.mean(axis=1, keepdims=True)) / (rewards.std(axis=1, ddof=1, keepdims=True) + 1e-4)
    assert output["advantages"].tolist() == pytest.approx(scaled.ravel().tolist(), abs=1e-5)


def test_it_trains(make_run: Any) -> None:
    run, records = make_run(method="dapo")
    assert dapo.train(run)
    assert [record["step"] for record in records] == [1, 2]
    assert all(record["tokens_per_response"] > 0 for record in records)
