from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from trainers.credit.critique import Critique
from trainers.credit.votes import VOTES, Flags, VotingRule, build_flags, combine, vote_agreement

# Four critiques (rows) of four steps (columns): flagged by all, by three, by two, by one.
FOUR = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=bool)
# Three critiques of four steps: flagged by three, by two, by one, by none.
THREE = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=bool)

SET_RULES = ("intersection", "majority", "union")
flag_matrices = arrays.arrays(np.bool_, st.tuples(st.integers(1, 6), st.integers(1, 5)))


def of_one(flags):
    """Return what critiques that all answered say of one rollout."""
    return Flags(np.array([flags.shape[1]]), flags, np.ones((len(flags), 1), dtype=bool))


def vote(name, flags, number=None):
    return combine(VOTES.get(name), of_one(flags), number)


@pytest.mark.parametrize(
    ("name", "at_least", "of_four", "of_three"),
    [
        ("intersection", None, [1, 0, 0, 0], [1, 0, 0, 0]),
        ("majority", None, [1, 1, 1, 0], [1, 1, 0, 0]),
        ("union", None, [1, 1, 1, 1], [1, 1, 1, 0]),
        ("average", None, [1, 0.75, 0.5, 0.25], [1, 2 / 3, 1 / 3, 0]),
        ("at_least", 1, [1, 1, 1, 1], [1, 1, 1, 0]),
        ("at_least", 3, [1, 1, 0, 0], [1, 0, 0, 0]),
        ("at_least", 4, [1, 0, 0, 0], [0, 0, 0, 0]),
        ("first_index", None, [1, 0, 0, 0], [1, 0, 0, 0]),
    ],
)
def test_each_rule_by_hand(name, at_least, of_four, of_three):
    assert vote(name, FOUR, at_least).tolist() == of_four
    assert vote(name, THREE, at_least).tolist() == of_three


@pytest.mark.parametrize(
    ("firsts", "voted"),
    [
        ([2, 1, 2, -1], [0, 0, 1]),  # each critique's first wrong step, -1: none
        ([-1, 0, -1], [0, 0, 0]),
        ([1, 0], [0, 1, 0]),  # equally often: what was said first
        ([-1, 0, 1, 2], [0, 0, 0]),
    ],
)
def test_the_first_index_is_the_one_that_is_said_most_often(firsts, voted):
    flags = np.array([[step >= first >= 0 for step in range(3)] for first in firsts])
    assert vote("first_index", flags).tolist() == voted


def test_greedy_is_the_one_critique():
    assert vote("greedy", np.array([[1, 0, 1]], dtype=bool)).tolist() == [1, 0, 1]


def test_one_of_two_is_at_least_half():
    assert vote("majority", np.array([[1, 0], [0, 0]], dtype=bool)).tolist() == [1, 0]


@pytest.mark.parametrize("name", VOTES.names())
def test_without_an_answer_there_is_no_penalty_to_speak_of(name):
    assert np.isnan(vote(name, np.zeros((0, 3), dtype=bool), 2)).all()


@pytest.mark.parametrize("at_least", [None, 0])
def test_at_least_needs_its_number(at_least):
    with pytest.raises(ValueError, match=f"at_least {at_least}: set the number"):
        vote("at_least", FOUR, at_least)


@given(flags=flag_matrices)
def test_intersection_within_majority_within_union(flags):
    inner, middle, outer = (vote(name, flags) for name in SET_RULES)
    assert (inner <= middle).all()
    assert (middle <= outer).all()


@given(flags=flag_matrices, at_least=st.integers(1, 6))
def test_every_rule_charges_between_nothing_and_all(flags, at_least):
    for name in VOTES.names():
        shares = vote(name, flags, at_least)
        assert shares.shape == (flags.shape[1],)
        assert ((shares >= 0) & (shares <= 1)).all()


@given(flags=flag_matrices)
def test_one_critique_makes_all_rules_equal(flags):
    for name in {*VOTES.names()} - {"first_index"}:  # which names one step at most
        assert vote(name, flags[:1], 1).tolist() == flags[0].tolist()


@given(flags=flag_matrices, seed=st.integers(0, 99))
def test_the_order_of_critiques_does_not_matter(flags, seed):
    shuffled = np.random.default_rng(seed).permutation(flags)
    for name in (*SET_RULES, "average", "at_least"):
        assert vote(name, flags, 2).tolist() == vote(name, shuffled, 2).tolist()
    assert np.array_equal(vote_agreement(of_one(flags)), vote_agreement(of_one(shuffled)), equal_nan=True)


@given(flags=flag_matrices)
def test_at_least_spans_from_union_to_intersection(flags):
    assert vote("at_least", flags, 1).tolist() == vote("union", flags).tolist()
    assert vote("at_least", flags, len(flags)).tolist() == vote("intersection", flags).tolist()


def test_flags_say_who_abstained_and_which_steps_are_whose():
    first = [Critique(frozenset({0, 2})), Critique(None, "timeout"), Critique(frozenset())]
    flags = build_flags([first, [Critique(frozenset({1}))]], [3, 2])
    assert flags.flagged.astype(int).tolist() == [[1, 0, 1, 0, 1], [0] * 5, [0] * 5]
    assert flags.answered.tolist() == [[True, True], [False, False], [True, False]]
    assert flags.first(1).flagged.shape == (1, 5)
    assert build_flags([[], []], [3, 2]).flagged.shape == (0, 5)


@pytest.mark.parametrize("step", [3, -1])
def test_a_critique_that_names_a_step_that_is_not_there_abstains(step):
    assert not build_flags([[Critique(frozenset({step}))]], [3]).answered.any()


def test_agreement_is_the_share_of_agreeing_pairs():
    # Six pairs a step: all flag it 6/6; three of four 3/6; two of four 2/6; one of four 3/6.
    assert vote_agreement(of_one(FOUR)) == pytest.approx((6 + 3 + 2 + 3) / 24)
    assert vote_agreement(of_one(np.ones((3, 2), dtype=bool))) == 1
    assert vote_agreement(of_one(np.array([[1], [0]], dtype=bool))) == 0


def test_agreement_needs_a_pair_and_a_step():
    assert np.isnan(vote_agreement(of_one(FOUR[:1])))
    assert np.isnan(vote_agreement(of_one(np.zeros((2, 0), dtype=bool))))


critiques = st.lists(st.none() | st.frozensets(st.integers(0, 2), max_size=3), min_size=3, max_size=3)


@given(st.lists(critiques, min_size=1, max_size=5), st.integers(1, 3))
def test_votes_over_many_rollouts_are_those_of_each_for_itself(rollouts, k):
    """Abstentions are passed over, the first k asked count, and a rule for whole rollouts is given them one by one."""
    said = [[Critique(None, "error") if wrong is None else Critique(wrong) for wrong in row] for row in rollouts]
    flags = build_flags(said, [3] * len(said)).first(k)
    for name in VOTES.names():
        rule = VOTES.get(name)
        alone = [combine(rule, build_flags([row[:k]], [3]), 2) for row in said]
        whole = VotingRule(rule.shares, step_by_step=False)
        for found in (combine(rule, flags, 2), combine(whole, flags, 2)):
            assert np.array_equal(found, np.concatenate(alone), equal_nan=True)


def test_a_rule_says_what_it_is():
    """What the rest of the program asks of a rule, so that none of it asks for a name."""
    said = {name: VOTES.get(name) for name in VOTES.names()}
    assert [name for name, rule in said.items() if rule.takes_number] == ["at_least"]
    assert [name for name, rule in said.items() if rule.asks_one] == ["greedy"]
    assert [name for name, rule in said.items() if not rule.names_set] == ["average"]


@given(flags=flag_matrices)
def test_a_rule_names_a_set_or_shares_as_it_says(flags):
    for name in VOTES.names():
        assert not VOTES.get(name).names_set or set(vote(name, flags, 2)) <= {0, 1}
