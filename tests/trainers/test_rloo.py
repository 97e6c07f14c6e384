"""RLOO: the others of the group are the baseline, a rollout is one action; TRL's own trainer says the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onebatch import batch, loss_and_gradient, trainer_of
from transformers import AutoModelForCausalLM
from trl.trainer.rloo_config import RLOOConfig
from trl.trainer.rloo_trainer import RLOOTrainer

from trainers import rloo
from trainers.rloo import RlooTrainer, leave_one_out

REWARDS = [1.0, 0.0, 0.0, None, 1.0, 1.0, 0.5, 0.0]


def values(rewards: list[float | None]) -> Any:
    return np.array([np.nan if reward is None else reward for reward in rewards])


def test_the_others_are_the_baseline() -> None:
    # 1 less (0 + 0) / 2, 0 less (1 + 0) / 2; 1 less 1.5 / 3, 0.5 less 2 / 3, 0 less 2.5 / 3.
    by_hand = [1, -0.5, -0.5, 0, 0.5, 0.5, -1 / 6, -5 / 6]
    assert leave_one_out(values(REWARDS), 4).tolist() == pytest.approx(by_hand)


def test_one_reward_alone_has_no_baseline_and_teaches_nothing() -> None:
    assert leave_one_out(values([1.0, None, None, None]), 2).tolist() == [0, 0, 0, 0]


@given(st.lists(st.floats(-2, 2), min_size=4, max_size=4), st.floats(-2, 2))
def test_it_sums_to_zero_and_a_constant_changes_nothing(rewards: list[float], constant: float) -> None:
    found = leave_one_out(np.array(rewards), 4)
    assert found.sum() == pytest.approx(0, abs=1e-9)
    assert leave_one_out(np.array(rewards) + constant, 4) == pytest.approx(found, abs=1e-9)


@pytest.fixture
def theirs(make_run: Any, tmp_path: Any) -> RLOOTrainer:
    """Return TRL's trainer on the same model and problems, with the rewards above."""
    run, _ = make_run(method="rloo")
    ours = trainer_of(RlooTrainer, run)
    args = RLOOConfig(
        output_dir=str(tmp_path),
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=40,
        beta=0.0,
        bf16=False,
        use_cpu=True,
        report_to=[],
    )
    return RLOOTrainer(
        model=AutoModelForCausalLM.from_pretrained(run.start),
        reward_funcs=[lambda **_: REWARDS],
        args=args,
        train_dataset=ours.train_dataset,
        processing_class=ours.tokenizer,
    )


def test_the_advantages_are_those_of_trls_trainer(theirs: RLOOTrainer) -> None:
    rows = [theirs.train_dataset[index // 4] for index in range(8)]
    trl = theirs._generate_and_score_completions(rows)["advantages"].tolist()
    assert leave_one_out(values(REWARDS), 4).tolist() == pytest.approx(trl)


def test_the_gradient_is_that_of_trls_trainer(make_run: Any, theirs: RLOOTrainer) -> None:
    ours = trainer_of(RlooTrainer, make_run(method="rloo")[0])
    inputs = {**batch(ours, (4, 2, 7)), "advantages": torch.tensor([1.0, -0.5, 0.25])}
    with torch.no_grad():
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        logps, *_ = theirs._get_per_token_logps_and_entropies(theirs.model, ids, mask, 7)
    old = (logps * inputs["completion_mask"]).sum(dim=1)
    _, gradient = loss_and_gradient(ours, inputs)
    _, expected = loss_and_gradient(theirs, {**inputs, "old_logps": old})
    assert expected.abs().max() > 0
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)


def test_it_trains(make_run: Any) -> None:
    run, records = make_run(method="rloo")
    assert rloo.train(run)
    assert [record["step"] for record in records] == [1, 2]
