"""Charged from the first wrong step on: by hand, token by token, and as laws on any vote."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.credit.align import step_index
from trainers.credit.assign import CreditRule, assign
from trainers.credit.critique import Critique
from trainers.credit.first_error import from_first_error
from trainers.credit.normalization import all_tokens, group_advantages
from trainers.credit.segment import blank_lines
from trainers.credit.votes import VOTES
from trainers.methods import METHODS, step_charge

shares = st.lists(st.floats(0, 1), min_size=1, max_size=8).map(np.array)


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
    assert from_first_error(np.array(voted, dtype=float)).tolist() == charged


class Letters:
    """Each id is one character; `pieces` are words."""

    def decode(self, token_ids: list[int], **kwargs: object) -> str:
        return "".join(map(chr, token_ids))


def test_a_group_by_hand_from_votes_to_advantages() -> None:
    """A letter and its blank line a step: the second of the right answer and the first of the wrong are voted wrong."""
    texts = ["a\n\nb\n\nc", "a\n\nb"]
    rollouts = step_index([[ord(letter) for letter in text] for text in texts], Letters(), blank_lines)
    first, second, both = Critique(frozenset({0})), Critique(frozenset({1})), Critique(frozenset({1, 2}))
    votes = [[second, both], [first, Critique(None, "empty")]]
    rule = CreditRule(VOTES.get("intersection"), charge=from_first_error)
    credit = assign(np.array([1.0, 0.0]), votes, rollouts, rule)
    # Right: 3 tokens before the error keep 2, the 3 of the error and the 1 after it are left with 1. Wrong: all -1.
    assert credit.rewards.tolist() == [[2, 2, 2, 1, 1, 1, 1], [-1, -1, -1, -1, 0, 0, 0]]
    # Eleven tokens add up to 6, squares to 20: variance 20/11 - 36/121.
    deviation = np.sqrt(20 / 11 - 36 / 121)
    by_hand = [(reward - 6 / 11) / deviation for reward in (2, 2, 2, 1, 1, 1, 1)]
    earned = group_advantages(all_tokens(2, 1), np.array([1.0, 0.0]), credit.charges, rollouts.index, 2)
    assert earned[0].tolist() == pytest.approx(by_hand)
    # The vote names 2 of 5 steps; 8 of 11 tokens pay for them.
    assert credit.metrics["flagged_step_rate"] == 2 / 5
    assert credit.metrics["penalised_tokens"] == 8 / 11


def test_without_a_verdict_nothing_is_charged() -> None:
    rollouts = step_index([[ord(letter) for letter in "a\n\nb"]], Letters(), blank_lines)
    rule = CreditRule(VOTES.get("union"), charge=from_first_error)
    credit = assign(np.array([1.0]), [[Critique(None, "error")]], rollouts, rule)
    assert credit.rewards.tolist() == [[2, 2, 2, 2]]


@given(shares)
def test_no_step_pays_less_than_it_is_voted_or_than_one_before_it(voted: np.ndarray) -> None:
    charged = from_first_error(voted)
    assert (charged >= voted).all()
    assert (np.diff(charged) >= 0).all()
    assert charged[-1] == voted.max()


@given(shares, st.integers(0, 4))
def test_padding_after_a_rollout_changes_nothing_of_it(voted: np.ndarray, padding: int) -> None:
    padded = np.pad(voted, (0, padding))
    together = from_first_error(np.array([padded, padded[::-1]]))
    assert together[0, : len(voted)].tolist() == from_first_error(voted).tolist()


def test_the_method_says_which_steps_pay() -> None:
    assert step_charge("first_error") is from_first_error
    assert METHODS.get("first_error").uses == METHODS.get("capo").uses
    assert step_charge("capo")(np.array([0.0, 1.0, 0.0])).tolist() == [0, 1, 0]
