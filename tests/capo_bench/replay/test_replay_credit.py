"""Replayed credit is the credit of training: by hand, and as a law on any rollouts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stored import HAND, config

from capo_bench.critic.quality import Vote
from capo_bench.replay import credit as replay_credit
from capo_bench.replay.batch import as_answer, batch_of, step_index
from capo_bench.replay.check import retrained
from capo_bench.replay.credit import advantages, penalties
from capo_bench.replay.setting import Ballot, Weights
from trainers.credit.align import Alignment
from trainers.credit.assign import CreditRule, assign
from trainers.credit.critique import Critique
from trainers.credit.first_error import from_first_error
from trainers.credit.normalization import NORMALIZATIONS, group_advantages
from trainers.credit.rewards import own_step
from trainers.credit.votes import VOTES
from trainers.rollouts import Rollout

DEFAULT = Weights(2, 1)


def test_penalties_by_hand():
    batch = batch_of(HAND, 2)
    shares = {rule: penalties(batch, Ballot(Vote(rule), 2)).tolist() for rule in VOTES.names() if rule != "at_least"}
    assert shares == {
        "greedy": [0, 1, 0, 1, 0, 0],
        "intersection": [0, 1, 0, 1, 0, 0],
        "majority": [1, 1, 1, 1, 0, 0],
        "union": [1, 1, 1, 1, 0, 0],
        "average": [0.5, 1, 0.5, 1, 0, 0],
    }


def test_advantages_under_intersection_by_hand():
    """Group 0: tokens 2 2 1 | 0, mean 5/4, mean square 9/4. Group 1: tokens -1 0 | 0 0, mean -1/4, mean square 1/4."""
    batch = batch_of(HAND, 2)
    earned = advantages(batch, penalties(batch, Ballot(Vote("intersection"), 2)), DEFAULT, "all_tokens", 2, own_step)
    first, second = math.sqrt(9 / 4 - 25 / 16), math.sqrt(1 / 4 - 1 / 16)
    by_hand = [0.75 / first, -0.25 / first, -1.25 / first, -0.75 / second, 0.25 / second, 0.25 / second]
    np.testing.assert_allclose(earned.advantages, by_hand, rtol=1e-14)
    assert earned.rewards.tolist() == [2, 1, 0, -1, 0, 0]
    assert (earned.groups, earned.process_only) == (2, 1)  # group 1: both wrong, one of its steps worse


def test_advantages_under_union_by_hand():
    """Group 0: tokens 1 1 1 | -1, mean 1/2, mean square 1: a wrong answer stands three times as far from the mean."""
    batch = batch_of(HAND, 2)
    earned = advantages(batch, penalties(batch, Ballot(Vote("union"), 2)), DEFAULT, "all_tokens", 2, own_step)
    assert earned.rewards.tolist() == [1, 1, -1, -1, 0, 0]
    np.testing.assert_allclose(earned.advantages[:3], [1 / math.sqrt(3), 1 / math.sqrt(3), -math.sqrt(3)], rtol=1e-14)


def test_from_the_first_error_on_by_hand():
    """The vote flags step 1 of the first rollout, and step 0 of the third, which its step 1 pays for as well."""
    batch = batch_of(HAND, 2)
    shares = penalties(batch, Ballot(Vote("intersection"), 2))
    earned = advantages(batch, shares, DEFAULT, "all_tokens", 2, from_first_error)
    assert earned.rewards.tolist() == [2, 1, 0, -1, -1, 0]
    # Group 1: tokens -1 -1 | 0 0, mean -1/2, standard deviation 1/2.
    assert earned.advantages[3:].tolist() == [-1, -1, 1]


def test_without_a_weight_of_the_process_only_the_answer_counts():
    batch = batch_of(HAND, 2)
    earned = advantages(batch, penalties(batch, Ballot(Vote("union"), 2)), Weights(2, 0), "all_tokens", 2, own_step)
    # Tokens 2 2 2 | 0, mean 3/2, deviations 1/2 and -3/2, variance 3/4; group 1 has no spread.
    assert earned.rewards.tolist() == [2, 2, 0, 0, 0, 0]
    np.testing.assert_allclose(earned.advantages, [3**-0.5, 3**-0.5, -(3**0.5), 0, 0, 0], rtol=1e-14)
    assert earned.process_only == 0


def test_the_first_critique_alone():
    batch = batch_of(HAND, 2)
    assert penalties(batch, Ballot(Vote("union"), 1)).tolist() == [0, 1, 0, 1, 0, 0]


def test_a_rollout_that_none_of_the_first_k_answered_has_no_vote():
    silent = Rollout(
        0, "p", "?", "7", ("s",), (3,), 1.0, None, "steps", (Critique(None, "error"), Critique(frozenset()))
    )
    batch = batch_of([silent], 2)
    assert np.isnan(penalties(batch, Ballot(Vote("union"), 1))).all()
    assert penalties(batch, Ballot(Vote("union"), 2)).tolist() == [0]
    assert np.isnan(batch.truth).all()


def test_groups_must_be_whole():
    batch = batch_of(HAND[:3], 2)
    with pytest.raises(ValueError, match="3 rollouts do not make groups of 2"):
        advantages(batch, penalties(batch, Ballot(Vote("union"), 2)), DEFAULT, "all_tokens", 2, own_step)


def test_an_answer_stands_in_the_place_of_a_step():
    judged = Rollout(0, "p", "?", "7", ("a", "b"), (2, 3), 0.0, frozenset({1}), "answer", (Critique(frozenset({0})),))
    assert as_answer(judged).tokens == (5,)
    batch = batch_of([judged], 1)
    assert (batch.flags.tolist(), batch.truth.tolist(), batch.steps.tolist()) == ([[True]], [1.0], [1])


rules = st.sampled_from([Vote(name) for name in VOTES.names() if name != "at_least"] + [Vote("at_least", 2)])
names = st.sampled_from(NORMALIZATIONS.names())
verdicts = st.none() | st.frozensets(st.integers(0, 5), max_size=4)


@st.composite
def trained(draw, group_size=2):
    """Rollouts as training had them: token by token, with what was said of them; steps that are not there too."""
    count = group_size * draw(st.integers(1, 3))
    asked = draw(st.integers(1, 4))
    rows = []
    for row in range(count):
        tokens = tuple(draw(st.lists(st.integers(0, 4), min_size=1, max_size=5)))
        said = [draw(verdicts) for _ in range(asked)]
        critiques = tuple(Critique(None, "error") if wrong is None else Critique(wrong) for wrong in said)
        outcome = draw(st.sampled_from([0.0, 1.0, None]))
        rows.append(
            Rollout(row // group_size, "p", "?", "7", ("s",) * len(tokens), tokens, outcome, None, "steps", critiques)
        )
    return rows


def original(rows):
    """Return the alignment of training, its index written token by token."""
    width = max(sum(row.tokens) for row in rows)
    index = np.full((len(rows), width), -1, dtype=np.int64)
    for place, row in enumerate(rows):
        steps = [step for step, count in enumerate(row.tokens) for _ in range(count)]
        index[place, : len(steps)] = steps
    return Alignment([""] * len(rows), [row.steps for row in rows], index, [])


def outcomes(rows):
    return np.array([np.nan if row.outcome is None else row.outcome for row in rows])


charges = st.sampled_from([own_step, from_first_error])


@given(trained(), rules, st.integers(1, 4), st.sampled_from([(2.0, 1.0), (1.0, 0.3), (0.0, 1.0)]), names, charges)
def test_a_replay_is_what_training_would_have_done(rows, vote, k, weights, name, charge):
    """Any rule, weights, normalisation and charge on the first k critiques: training's advantages, to the last bit."""
    alignment = original(rows)
    rule = CreditRule(VOTES.get(vote.rule), vote.at_least, *weights, charge)
    credit = assign(outcomes(rows), [row.critiques[:k] for row in rows], alignment, rule)
    parts = NORMALIZATIONS.get(name)(*weights)
    by_token = group_advantages(parts, outcomes(rows), credit.charges, alignment.index, 2)

    batch = batch_of(rows, len(rows[0].critiques))
    shares = penalties(batch, Ballot(vote, k))
    found = advantages(batch, shares, Weights(*weights), name, 2, charge)
    earned = batch.square(found.advantages)

    known = [share for share in credit.penalties if share is not None]
    assert shares[~np.isnan(shares)].tolist() == (np.concatenate(known).tolist() if known else [])
    replayed = np.where(credit.mask, np.take_along_axis(earned, np.maximum(alignment.index, 0), axis=1), 0)
    assert np.array_equal(replayed, by_token)
    rewards = batch.square(found.rewards)
    laid = np.take_along_axis(rewards, np.maximum(alignment.index, 0), axis=1)
    assert np.array_equal(laid[credit.mask], credit.rewards[credit.mask], equal_nan=True)


@given(trained(), st.sampled_from(["intersection", "majority", "union", "average"]))
def test_the_trials_own_rule_gives_training_again(rows, vote):
    settings = config(vote, len(rows[0].critiques))
    again = retrained(rows, settings)
    then = assign(outcomes(rows), [row.critiques for row in rows], original(rows), CreditRule(VOTES.get(vote)))
    assert np.array_equal(again.rewards, then.rewards, equal_nan=True)
    assert again.metrics == then.metrics


charges = st.sampled_from([own_step, from_first_error])


@given(trained(), rules, st.integers(1, 4))
def test_a_rule_that_looks_at_the_whole_rollout_is_given_it(rows, vote, k):
    """Rules of other packages get each rollout's own flags; for the built-in ones both ways are the same."""
    batch, ballot = batch_of(rows, len(rows[0].critiques)), Ballot(vote, k)
    together = penalties(batch, ballot)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay_credit, "STEP_BY_STEP", frozenset())
        assert np.array_equal(penalties(batch, ballot), together, equal_nan=True)


@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=4), min_size=1, max_size=4))
def test_counts_of_tokens_say_the_step_of_every_token(counts):
    index = step_index(counts)
    assert index.shape == (len(counts), max(map(sum, counts)))
    for row, expected in zip(index, counts, strict=True):
        assert np.bincount(row[row >= 0], minlength=len(expected)).tolist() == expected
        assert (np.diff(row[row >= 0]) >= 0).all()
