from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.credit.rewards import own_step, token_charges, token_rewards

RIGHT, WRONG = 1.0, 0.0


@pytest.mark.parametrize(("outcome", "charge", "reward"), [(RIGHT, 0, 2), (RIGHT, 1, 1), (WRONG, 0, 0), (WRONG, 1, -1)])
def test_the_four_token_rewards(outcome, charge, reward):
    assert token_rewards(np.array([outcome]), np.array([[charge]]), 2, 1).tolist() == [[reward]]


@pytest.mark.parametrize(("w_process", "rewards"), [(0.1, [2, 1.9]), (2, [2, 0]), (5, [2, -3]), (0, [2, 2])])
def test_the_weight_of_a_wrong_step(w_process, rewards):
    assert token_rewards(np.array([RIGHT]), np.array([[0.0, 1.0]]), 2, w_process)[0].tolist() == rewards


def test_an_averaged_vote_charges_its_share():
    assert token_rewards(np.array([RIGHT, WRONG]), np.array([[0.25], [0.75]]), 2, 1).tolist() == [[1.75], [-0.75]]


def test_an_unknown_outcome_has_no_rewards():
    assert np.isnan(token_rewards(np.array([np.nan]), np.array([[0.0, 1.0]]), 2, 1)).all()


def test_each_token_is_charged_for_its_step_and_padding_for_none():
    index = np.array([[0, 0, 1, 2, -1], [0, 1, 1, -1, -1]])
    charges = token_charges([np.array([0.0, 1.0, 0.5]), np.array([1.0, 0.0])], index)
    assert charges.tolist() == [[0, 0, 1, 0.5, 0], [1, 0, 0, 0, 0]]


def test_without_a_verdict_nothing_is_charged():
    index = np.array([[0, 1, 2], [0, 1, -1]])
    assert token_charges([None, np.array([1.0, 1.0])], index).tolist() == [[0, 0, 0], [1, 1, 0]]
    assert token_charges([None, None], index).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_in_capo_each_step_pays_for_itself():
    assert own_step(np.array([0.0, 1.0, 0.5])).tolist() == [0, 1, 0.5]


@pytest.mark.parametrize("shape", [(0, 0), (2, 0), (0, 3)])
def test_empty_batches_charge_nothing(shape):
    assert token_charges([None] * shape[0], np.zeros(shape, dtype=np.int64)).shape == shape


@given(
    outcomes=st.lists(st.sampled_from([RIGHT, WRONG]), min_size=1, max_size=4),
    flags=st.lists(st.booleans(), min_size=1, max_size=6),
)
def test_a_set_of_wrong_steps_gives_only_the_four_values(outcomes, flags):
    index = np.tile(np.arange(len(flags)), (len(outcomes), 1))
    charges = token_charges([np.array(flags, dtype=float)] * len(outcomes), index)
    for outcome, row in zip(outcomes, token_rewards(np.array(outcomes), charges, 2, 1), strict=True):
        assert set(row.tolist()) <= ({2, 1} if outcome else {0, -1})
