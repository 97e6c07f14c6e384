"""The control `spread`: what the vote charges, paid evenly by all tokens of the rollout."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.credit.batch import lay_out
from trainers.credit.rewards import charge_own_step, compute_step_charges
from trainers.credit.spread import charge_evenly, spread
from trainers.methods import METHODS, find_credit_function


def test_a_wrong_step_of_three_tokens_in_a_rollout_of_twelve_costs_each_a_quarter() -> None:
    shares, tokens = np.array([0.0, 1.0, 0.0]), np.array([4, 3, 5])
    assert charge_evenly(shares, tokens).tolist() == [0.25, 0.25, 0.25]


def test_in_steps_it_would_be_a_third_and_the_rollout_would_pay_more() -> None:
    """Why tokens are counted and not steps: twelve tokens at a third pay four, where three at one pay three."""
    shares, tokens = np.array([0.0, 1.0, 0.0]), np.array([4, 3, 5])
    assert (charge_evenly(shares, tokens) * tokens).sum() == (shares * tokens).sum() == 3


def test_shares_are_spread_like_whole_charges() -> None:
    assert charge_evenly(np.array([0.5, 0.25]), np.array([2, 4])).tolist() == pytest.approx([1 / 3, 1 / 3])


def test_a_wrong_step_without_tokens_and_a_rollout_without_any_cost_nothing() -> None:
    assert charge_evenly(np.array([1.0, 0.0]), np.array([0, 5])).tolist() == [0, 0]
    assert charge_evenly(np.array([1.0, 0.0]), np.array([0, 0])).tolist() == [0, 0]
    assert charge_evenly(np.zeros((2, 0)), np.zeros((2, 0), dtype=np.int64)).shape == (2, 0)


rollouts = st.lists(
    st.tuples(st.sampled_from([0.0, 0.25, 1 / 3, 2 / 3, 1.0]), st.integers(0, 9)), min_size=1, max_size=20
)


@given(rollouts)
def test_what_a_rollout_is_charged_in_all_stays_what_it_was(rollout: list[tuple[float, int]]) -> None:
    shares, tokens = (np.array(column) for column in zip(*rollout, strict=True))
    layout = lay_out([tokens.tolist()])
    even, local = (
        layout.by_token(compute_step_charges(charge, shares, layout)) for charge in (charge_evenly, charge_own_step)
    )
    assert even.sum() == pytest.approx(local.sum())
    assert np.ptp(even) == 0 if even.size else True


@given(rollouts, st.integers(0, 30))
def test_padding_changes_no_bit(rollout: list[tuple[float, int]], padding: int) -> None:
    shares, tokens = (np.array(column) for column in zip(*rollout, strict=True))
    padded = charge_evenly(np.pad(shares, (0, padding))[None], np.pad(tokens, (0, padding))[None])
    assert padded[0, : len(shares)].tolist() == charge_evenly(shares, tokens).tolist()


def test_the_method_is_capo_with_another_charge() -> None:
    control, capo = METHODS.get("spread"), METHODS.get("capo")
    assert find_credit_function("spread") is spread
    assert (control.train, control.uses) == (capo.train, capo.uses)
