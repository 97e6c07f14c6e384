"""The controls that are methods, `spread` and `outcome_only`, train on real rollouts of a tiny model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from trainers import capo, critic_free
from trainers.credit.batch import Batch, Evidence, lay_out
from trainers.credit.capo import capo as capo_credit
from trainers.credit.normalization import NORMALIZATIONS
from trainers.credit.terms import Terms
from trainers.critic_free import CriticFreeTrainer
from trainers.policy import train_policy
from trainers.rollouts import read_rollouts

ONE_STEP = {"train": {"steps": 1, "prompts_per_step": 2, "group_size": 4, "max_completion_tokens": 40}}


def test_spread_charges_the_rollouts_of_capo_as_much_in_all(make_run: Any) -> None:
    spread, local = make_run(name="spread", method="spread", **ONE_STEP), make_run(name="capo", **ONE_STEP)
    assert capo.train(spread[0])
    assert capo.train(local[0])
    assert list(read_rollouts(spread[0].rollouts)) == list(read_rollouts(local[0].rollouts))
    ours, theirs = spread[1][0], local[1][0]
    assert ours["penalised_tokens"] == pytest.approx(theirs["penalised_tokens"])
    assert ours["flagged_step_rate"] == theirs["flagged_step_rate"] > 0
    assert (spread[0].model / "model.safetensors").read_bytes() != (local[0].model / "model.safetensors").read_bytes()


@pytest.mark.parametrize("normalization", NORMALIZATIONS.names())
def test_outcome_only_normalises_outcomes_as_capo_without_a_process(make_run: Any, normalization: str) -> None:
    seen: list[Any] = []

    class Seen(CriticFreeTrainer):
        def advantages(self, width: int) -> torch.Tensor:
            found = super().advantages(width)
            seen.append((self.outcomes.copy(), lay_out(self.alignment.tokens), found.numpy()))
            return found

    run, records = make_run(method="outcome_only", credit={"normalization": normalization}, **ONE_STEP)
    assert train_policy(run, Seen, "blank_lines")
    ((outcomes, layout, found),) = seen
    unflagged = Batch(layout, outcomes, 4, Evidence(shares=np.ones(len(layout.tokens))))
    terms = Terms(w_whole=2.0, w_process=0.0, normalization=NORMALIZATIONS.get(normalization))
    expected = layout.by_token(capo_credit(unflagged, terms).advantages)
    np.testing.assert_allclose(found[:, : expected.shape[1]], expected, atol=1e-12)
    assert not {"critiques", "penalised_tokens", "critic_tokens"} & records[0].keys()


def test_outcome_only_asks_no_critic(make_run: Any) -> None:
    run, records = make_run(method="outcome_only")
    assert critic_free.train(run)
    assert [record["step"] for record in records] == [1, 2]
    assert all(not rollout.critiques for step in read_rollouts(run.rollouts) for rollout in step.rollouts)
