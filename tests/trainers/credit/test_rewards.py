from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.credit.batch import lay_out
from trainers.credit.rewards import charge_own_step, compute_step_charges, compute_token_rewards

RIGHT, WRONG = 1.0, 0.0


@pytest.mark.parametrize(("outcome", "charge", "reward"), [(RIGHT, 0, 2), (RIGHT, 1, 1), (WRONG, 0, 0), (WRONG, 1, -1)])
def test_the_four_token_rewards(outcome, charge, reward):
    assert compute_token_rewards(np.array([outcome]), np.array([charge]), 2, 1).tolist() == [reward]


@pytest.mark.parametrize(("w_process", "rewards"), [(0.1, [2, 1.9]), (2, [2, 0]), (5, [2, -3]), (0, [2, 2])])
def test_the_weight_of_a_wrong_step(w_process, rewards):
    assert compute_token_rewards(np.array([RIGHT, RIGHT]), np.array([0.0, 1.0]), 2, w_process).tolist() == rewards


def test_an_averaged_vote_charges_its_share():
    assert compute_token_rewards(np.array([RIGHT, WRONG]), np.array([0.25, 0.75]), 2, 1).tolist() == [1.75, -0.75]


def test_an_unknown_outcome_has_no_rewards():
    assert np.isnan(compute_token_rewards(np.array([np.nan, np.nan]), np.array([0.0, 1.0]), 2, 1)).all()


def test_without_a_verdict_the_charge_is_not_known():
    layout = lay_out([(2, 1), (1, 1, 1)])
    charges = compute_step_charges(charge_own_step, np.array([np.nan, np.nan, 1, 0, 1]), layout)
    assert np.isnan(charges[:2]).all()
    assert charges[2:].tolist() == [1, 0, 1]


def test_in_capo_each_step_pays_for_itself():
    assert charge_own_step(np.array([0.0, 1.0, 0.5]), np.array([3, 1, 2])).tolist() == [0, 1, 0.5]


# -- the layout


def test_a_layout_by_hand():
    layout = lay_out([(2, 0, 1), (), (1,)])
    assert (layout.owner.tolist(), layout.place.tolist()) == ([0, 0, 0, 2], [0, 1, 2, 0])
    assert layout.index.tolist() == [[0, 0, 2], [-1, -1, -1], [0, -1, -1]]
    assert layout.by_token(np.array([5.0, 6, 7, 8])).tolist() == [[5, 5, 7], [0, 0, 0], [8, 0, 0]]
    assert layout.square(np.array([5.0, 6, 7, 8])).tolist() == [[5, 6, 7], [0, 0, 0], [8, 0, 0]]


counts = st.lists(st.lists(st.integers(0, 4), max_size=5), max_size=5)


@given(counts)
def test_what_is_laid_out_comes_back(rows):
    layout = lay_out(rows)
    values = np.arange(len(layout.tokens), dtype=float)
    assert layout.flat(layout.square(values)).tolist() == values.tolist()
    assert layout.mask.sum(axis=1).tolist() == [sum(row) for row in rows]
    for tokens, row in zip(layout.index, rows, strict=True):
        assert np.bincount(tokens[tokens >= 0], minlength=len(row)).tolist() == row
