"""Charged from the first wrong step on: by hand, token by token, and as laws on any vote."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.credit.batch import Batch, Evidence, lay_out
from trainers.credit.critique import Critique
from trainers.credit.first_error import charge_from_first_error, first_error
from trainers.credit.terms import Terms
from trainers.credit.votes import VOTES, build_flags, combine, measure_charges, vote_metrics
from trainers.methods import METHODS, find_credit_function

shares = st.lists(st.floats(0, 1), min_size=1, max_size=8).map(np.array)


def says(*wrong: int) -> Critique:
    return Critique(frozenset(wrong))


@pytest.mark.parametrize(
    ("voted", "charged"),
    [
        ([0, 0, 0], [0, 0, 0]),
        ([1, 0, 0], [1, 1, 1]),
        ([0, 1, 0, 1, 0], [0, 1, 1, 1, 1]),
        ([0, 0, 1], [0, 0, 1]),
        ([0, 0.25, 0, 0.75, 0.5], [0, 0.25, 0.25, 0.75, 0.75]),  # shares, as `average` gives them
    ],
)
def test_what_steps_pay(voted: list[float], charged: list[float]) -> None:
    assert charge_from_first_error(np.array(voted, dtype=float), np.ones(len(voted))).tolist() == charged


def test_a_group_by_hand_from_votes_to_advantages() -> None:
    """The second step of the right answer and the first of the wrong one are voted wrong."""
    critiques = [[says(1), says(1, 2)], [says(0), Critique(None, "empty")]]
    layout = lay_out([(3, 3, 1), (3, 1)])
    flags = build_flags(critiques, layout.steps)
    voted = combine(VOTES.get("intersection"), flags)
    batch = Batch(layout, np.array([1.0, 0.0]), 2, Evidence(shares=voted))
    found = first_error(batch, Terms())
    # Right: 3 tokens before the error keep 2, the 3 of the error and the 1 after it are left with 1. Wrong: all -1.
    assert found.rewards is not None
    assert found.rewards.tolist() == [2, 1, 1, -1, -1]
    # Eleven tokens add up to 6, squares to 20: variance 20/11 - 36/121.
    deviation = np.sqrt(20 / 11 - 36 / 121)
    assert found.advantages[:3].tolist() == pytest.approx([(reward - 6 / 11) / deviation for reward in (2, 1, 1)])
    # The vote names 2 of 5 steps; 8 of 11 tokens pay for them.
    assert found.charges is not None
    assert vote_metrics(flags, voted)["flagged_step_rate"] == 2 / 5
    assert measure_charges(layout, found.charges)["penalised_tokens"] == 8 / 11


@given(shares)
def test_no_step_pays_less_than_it_is_voted_or_than_one_before_it(voted: np.ndarray) -> None:
    charged = charge_from_first_error(voted, np.ones_like(voted))
    assert (charged >= voted).all()
    assert (np.diff(charged) >= 0).all()
    assert charged[-1] == voted.max()


@given(shares, st.integers(0, 4))
def test_padding_after_a_rollout_changes_nothing_of_it(voted: np.ndarray, padding: int) -> None:
    padded = np.pad(voted, (0, padding))
    together = charge_from_first_error(np.array([padded, padded[::-1]]), np.ones((2, len(padded))))
    assert together[0, : len(voted)].tolist() == charge_from_first_error(voted, np.ones_like(voted)).tolist()


def test_the_method_says_which_steps_pay() -> None:
    assert find_credit_function("first_error") is first_error
    assert METHODS.get("first_error").uses == METHODS.get("capo").uses
