"""What stored rollouts are worth under other votes: by hand, and equal to what training hands to the update."""

from __future__ import annotations

import math

import numpy as np
import pytest
from stored import HAND, config

from capo_bench.critic.quality import Ballot, Vote, share_charged
from capo_bench.revote.batch import Stored, compute_earned, reduce_to_answer, store_of
from trainers.credit.batch import Earned, Evidence, process_signal_only
from trainers.credit.critique import Critique
from trainers.credit.terms import Terms
from trainers.credit.votes import VOTES
from trainers.methods import find_credit_function
from trainers.rollouts import Rollout


def voted(stored: Stored, rule: str, k: int = 2) -> list[float]:
    return share_charged(stored.flags, Ballot(Vote(rule), k)).tolist()


def earned(stored: Stored, rule: str, method: str = "capo", **terms: float) -> Earned:
    evidence = Evidence(shares=share_charged(stored.flags, Ballot(Vote(rule), 2)))
    return find_credit_function(method)(stored.batch(2, evidence), Terms(**terms))


def test_penalties_by_hand():
    stored = store_of(HAND)
    shares = {rule: voted(stored, rule) for rule in VOTES.names() if rule != "at_least"}
    assert shares == {
        "greedy": [0, 1, 0, 1, 0, 0],
        "intersection": [0, 1, 0, 1, 0, 0],
        "majority": [1, 1, 1, 1, 0, 0],
        "union": [1, 1, 1, 1, 0, 0],
        "average": [0.5, 1, 0.5, 1, 0, 0],
        "first_index": [0, 1, 0, 1, 0, 0],
    }


def test_advantages_under_intersection_by_hand():
    """Group 0: tokens 2 2 1 | 0, mean 5/4, mean square 9/4. Group 1: tokens -1 0 | 0 0, mean -1/4, mean square 1/4."""
    stored = store_of(HAND)
    found = earned(stored, "intersection")
    first, second = math.sqrt(9 / 4 - 25 / 16), math.sqrt(1 / 4 - 1 / 16)
    by_hand = [0.75 / first, -0.25 / first, -1.25 / first, -0.75 / second, 0.25 / second, 0.25 / second]
    np.testing.assert_allclose(found.advantages, by_hand, rtol=1e-14)
    assert found.rewards.tolist() == [2, 1, 0, -1, 0, 0]
    assert (
        process_signal_only(stored.batch(2, Evidence()), found.advantages) == 1 / 2
    )  # group 1: both wrong, one of its steps worse


def test_advantages_under_union_by_hand():
    """Group 0: tokens 1 1 1 | -1, mean 1/2, mean square 1: a wrong answer stands three times as far from the mean."""
    found = earned(store_of(HAND), "union")
    assert found.rewards.tolist() == [1, 1, -1, -1, 0, 0]
    np.testing.assert_allclose(found.advantages[:3], [1 / math.sqrt(3), 1 / math.sqrt(3), -math.sqrt(3)], rtol=1e-14)


def test_from_the_first_error_on_by_hand():
    """The vote flags step 1 of the first rollout, and step 0 of the third, which its step 1 pays for as well."""
    found = earned(store_of(HAND), "intersection", "first_error")
    assert found.rewards.tolist() == [2, 1, 0, -1, -1, 0]
    # Group 1: tokens -1 -1 | 0 0, mean -1/2, standard deviation 1/2.
    assert found.advantages[3:].tolist() == [-1, -1, 1]


def test_without_a_weight_of_the_process_only_the_answer_counts():
    stored = store_of(HAND)
    found = earned(stored, "union", w_process=0.0)
    # Tokens 2 2 2 | 0, mean 3/2, deviations 1/2 and -3/2, variance 3/4; group 1 has no spread.
    assert found.rewards.tolist() == [2, 2, 0, 0, 0, 0]
    np.testing.assert_allclose(found.advantages, [3**-0.5, 3**-0.5, -(3**0.5), 0, 0, 0], rtol=1e-14)
    assert process_signal_only(stored.batch(2, Evidence()), found.advantages) == 0


def test_the_first_critique_alone():
    assert voted(store_of(HAND), "union", 1) == [0, 1, 0, 1, 0, 0]


def test_a_rollout_that_none_of_the_first_k_answered_has_no_vote():
    silent = Rollout(
        0, "p", "?", "7", ("s",), (3,), 1.0, None, "steps", (Critique(None, "error"), Critique(frozenset()))
    )
    stored = store_of([silent])
    assert np.isnan(voted(stored, "union", 1)).all()
    assert voted(stored, "union", 2) == [0]
    assert np.isnan(stored.truth).all()


def test_a_rollout_without_a_critique_is_charged_what_its_group_is_on_average():
    """Tokens charged 1 0 0, and two of an uncritiqued rollout: charged a third, right or wrong."""
    flagged = Rollout(0, "p", "?", "7", ("a", "b"), (1, 2), 0.0, None, "steps", (Critique(frozenset({0})),))
    silent = Rollout(0, "p", "?", "7", ("a",), (2,), 0.0, None, "steps", (Critique(None, "truncated"),))
    found = earned(store_of([flagged, silent]), "union")
    np.testing.assert_allclose(found.rewards, [-1, 0, -1 / 3], rtol=1e-15)
    # Rewards -1 0 0 -1/3 -1/3: mean -1/3, variance (4 + 1 + 1) / 9 / 5.
    std = math.sqrt(6 / 45)
    np.testing.assert_allclose(found.advantages, [-2 / 3 / std, 1 / 3 / std, 0], rtol=1e-14, atol=1e-15)


def test_groups_must_be_whole():
    with pytest.raises(ValueError, match="3 rollouts do not make groups of 2"):
        earned(store_of(HAND[:3]), "union")


def test_an_answer_stands_in_the_place_of_a_step():
    judged = Rollout(0, "p", "?", "7", ("a", "b"), (2, 3), 0.0, frozenset({1}), "answer", (Critique(frozenset({0})),))
    assert reduce_to_answer(judged).tokens == (5,)
    stored = store_of([judged])
    assert (stored.flags.flagged.tolist(), stored.truth.tolist(), stored.layout.steps.tolist()) == (
        [[True]],
        [1.0],
        [1],
    )


@pytest.mark.parametrize("vote", ["intersection", "majority", "union", "average"])
def test_the_settings_of_a_trial_say_what_it_earned(vote: str):
    assert np.array_equal(
        compute_earned(store_of(HAND), config(vote)).advantages, earned(store_of(HAND), vote).advantages
    )
