"""From scores of steps to advantages of tokens: both forms of credit worked by hand, and laws."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trainers.credit.batch import Batch, Evidence, Layout
from trainers.credit.prm_min import weigh_worst
from trainers.credit.prm_sum import take_scores
from trainers.credit.scored import StepRewards, compute_scored_advantages, reward_table, sum_following
from trainers.credit.terms import Terms

NAN = math.nan
FORMS: list[StepRewards] = [
    take_scores,
    partial(weigh_worst, temperature=0.1),
    partial(weigh_worst, temperature=None),
]


def advantages(
    scores: list[Any], outcomes: list[float], index: list[list[int]], form: StepRewards, w_whole: float = 1.0
) -> Any:
    """The advantages of one group, all of it at hand."""
    batch = scored_batch(scores, outcomes, index)
    return batch.layout.by_token(compute_scored_advantages(batch, Terms(w_whole=w_whole), form).advantages)


def scored_batch(scores: list[Any], outcomes: list[float], index: list[list[int]]) -> Batch:
    """One group; a rollout without scores has the steps of its tokens."""
    tokens = np.array(index)
    steps = [int(row.max()) + 1 if said is None else len(said) for row, said in zip(tokens, scores, strict=True)]
    pairs = zip(tokens, steps, strict=True)
    counts = np.concatenate([np.bincount(row[row >= 0], minlength=count) for row, count in pairs])
    known = [[NAN] * count if said is None else said for said, count in zip(scores, steps, strict=True)]
    evidence = Evidence(scores=np.array([score for row in known for score in row], dtype=float))
    return Batch(Layout(np.array(steps), counts), np.array(outcomes, dtype=float), len(scores), evidence)


# -- sum credit


def test_sum_credit_by_hand() -> None:
    # Scores 0.9, 0.1 | 0.5, 0.5: mean 0.5, variance (0.16 + 0.16) / 4 = 0.08. In units of its root 0.2828: 1.4142,
    # -1.4142 | 0, 0. Outcomes 1 | 0: mean 1/2, deviation 1/2, so 1 | -1.
    found = advantages([[0.9, 0.1], [0.5, 0.5]], [1, 0], [[0, 0, 1], [0, 1, -1]], take_scores)
    root = math.sqrt(2)
    assert found[0] == pytest.approx([1 + root - root, 1 + root - root, 1 - root])
    assert found[1] == pytest.approx([-1, -1, 0])


def test_a_token_answers_for_its_step_and_those_after() -> None:
    # 1, 0 | 1, 1: mean 3/4, deviation sqrt(3)/4. In its units 1/sqrt(3), -sqrt(3) | 1/sqrt(3), 1/sqrt(3).
    third, root = 1 / math.sqrt(3), math.sqrt(3)
    found = advantages([[1, 0], [1, 1]], [0, 0], [[0, 1], [0, 1]], take_scores)
    assert found[0] == pytest.approx([third - root, -root])
    assert found[1] == pytest.approx([2 * third, third])


def test_the_weight_of_the_outcome() -> None:
    scores, index = [[0.5], [0.5]], [[0, 0], [0, -1]]
    assert advantages(scores, [1, 0], index, take_scores, w_whole=3).tolist() == [[3, 3], [-3, 0]]
    assert advantages(scores, [1, 0], index, take_scores, w_whole=0).tolist() == [[0, 0], [0, 0]]


# -- min credit


def test_the_limit_of_min_credit_puts_the_worst_value_on_the_worst_step() -> None:
    # 2p - 1: 0.8, -0.6, 0.4.
    rewards = weigh_worst(np.array([0.9, 0.2, 0.7]), None)
    assert rewards == pytest.approx([0, -0.6, 0])
    assert sum_following(rewards) == pytest.approx([-0.6, -0.6, 0]), "the paper's return: the minimum up to it, 0 after"


def test_of_equal_minima_the_first_counts() -> None:
    assert weigh_worst(np.array([1.0, 0.0, 0.0]), None).tolist() == [0, -1, 0]


def test_min_credit_at_a_temperature_by_hand() -> None:
    # 2p - 1: 0.5, -0.5. Weights e^-1 and e^1 over their sum at T = 0.5, which are 0.1192 and 0.8808.
    low, high = math.exp(-1) / (math.exp(-1) + math.e), math.e / (math.exp(-1) + math.e)
    assert weigh_worst(np.array([0.75, 0.25]), 0.5) == pytest.approx([0.5 * low, -0.5 * high])


def test_min_credit_of_a_group_by_hand() -> None:
    # 2p - 1: 1, -1 | 1, 1. Rewards 0, -1 | 1, 0 at the limit: mean 0, deviation sqrt(1/2).
    found = advantages([[1, 0], [1, 1]], [0, 0], [[0, 1], [0, 1]], partial(weigh_worst, temperature=None))
    root = math.sqrt(2)
    assert found[0] == pytest.approx([-root, -root])
    assert found[1] == pytest.approx([root, 0])


def test_more_good_steps_raise_the_sum_and_not_the_minimum() -> None:
    short, long = np.array([0.9, 0.1]), np.array([0.9] * 8 + [0.1])
    assert sum_following(take_scores(long))[0] - sum_following(take_scores(short))[0] == pytest.approx(7 * 0.9)
    low, same = (sum_following(weigh_worst(scores, None))[0] for scores in (short, long))
    assert low == same == pytest.approx(-0.8)


# -- what is missing


@pytest.mark.parametrize("form", FORMS)
def test_a_rollout_without_scores_has_its_outcome_alone_and_moves_no_other(form: StepRewards) -> None:
    index = [[0, 1], [0, 1], [0, 0]]
    found = advantages([[1, 0], [1, 1], None], [0, 0, 1], index, form)
    others = advantages([[1, 0], [1, 1]], [0, 0], index[:2], form)
    # Outcomes 0, 0, 1: mean 1/3, deviation sqrt(2)/3.
    assert found[2] == pytest.approx([math.sqrt(2)] * 2)
    assert found[:2] == pytest.approx(others - math.sqrt(0.5))


def test_an_answer_that_was_not_verified_leaves_the_steps_their_part() -> None:
    index = [[0, 1], [0, 1]]
    unknown = advantages([[1, 0], [1, 1]], [NAN, 1], index, take_scores)
    assert unknown == pytest.approx(advantages([[1, 0], [1, 1]], [0, 0], index, take_scores))


def test_nothing_scored_is_grpo() -> None:
    found = advantages([None, None], [1, 0], [[0, 1], [0, -1]], take_scores)
    assert found.tolist() == [[1, 1], [-1, 0]]


# -- laws

PROBABILITY = st.floats(0, 1, width=32)
ROLLOUTS = st.lists(st.one_of(st.none(), st.lists(PROBABILITY, min_size=1, max_size=5)), min_size=2, max_size=5)


def tokens(scores: list[Any], padding: int = 0) -> list[list[int]]:
    """Two tokens a step, and padding to one width."""
    rows = [[step for step in range(len(row or [0])) for _ in range(2)] for row in scores]
    width = max(map(len, rows)) + padding
    return [row + [-1] * (width - len(row)) for row in rows]


@given(ROLLOUTS, st.sampled_from(FORMS), st.integers(1, 7), st.data())
def test_padding_is_worth_nothing_and_changes_nothing(
    scores: list[Any], form: StepRewards, padding: int, data: st.DataObject
) -> None:
    outcomes = data.draw(st.lists(st.sampled_from([0.0, 1.0, NAN]), min_size=len(scores), max_size=len(scores)))
    plain = advantages(scores, outcomes, tokens(scores), form)
    longer = [[0.5] * (5 + padding)]  # one rollout more, in a group of its own, that widens the table
    alone = scored_batch(scores, outcomes, tokens(scores))
    assert np.isfinite(plain).all()
    assert not plain[np.array(tokens(scores)) < 0].any()
    table = reward_table(alone.evidence.scores, alone.layout, form)
    wide = Layout(np.append(alone.layout.steps, len(longer[0])), np.append(alone.layout.tokens, [1] * len(longer[0])))
    more = reward_table(np.append(alone.evidence.scores, longer[0]), wide, form)
    assert np.array_equal(more[:-1, : table.shape[1]], table, equal_nan=True)
    assert np.isnan(more[:-1, table.shape[1] :]).all()


@given(ROLLOUTS, st.sampled_from(FORMS), st.data())
def test_the_order_of_rollouts_does_not_matter(scores: list[Any], form: StepRewards, data: st.DataObject) -> None:
    outcomes = data.draw(st.lists(st.sampled_from([0.0, 1.0, NAN]), min_size=len(scores), max_size=len(scores)))
    order = data.draw(st.permutations(range(len(scores))))
    index = tokens(scores)
    found = advantages(scores, outcomes, index, form)
    moved = advantages([scores[i] for i in order], [outcomes[i] for i in order], [index[i] for i in order], form)
    # Rewards that differ by rounding alone have a spread of rounding alone, and no order of sums is to be held to it.
    batch = scored_batch(scores, outcomes, index)
    table = reward_table(batch.evidence.scores, batch.layout, form)
    if np.isnan(table).all() or np.nanstd(table) > 1e-6 or np.nanstd(table) == 0:
        assert moved == pytest.approx(found[order], abs=1e-6)


@given(ROLLOUTS, st.sampled_from(FORMS))
def test_normalised_rewards_of_steps_sum_to_nothing(scores: list[Any], form: StepRewards) -> None:
    index = [[*range(len(row or [0]))] for row in scores]
    width = max(map(len, index))
    index = [row + [-1] * (width - len(row)) for row in index]
    found = advantages(scores, [0.0] * len(scores), index, form)
    # A step's own reward is the difference to the step after it; the first token of a rollout has all of them.
    assert sum(found[:, 0]) == pytest.approx(0, abs=1e-6)


@given(arrays(float, st.integers(1, 8), elements=PROBABILITY), st.floats(0.01, 10))
def test_min_credit_lies_between_the_minimum_and_the_mean(scores: Any, temperature: float) -> None:
    values = 2 * scores - 1
    total = weigh_worst(scores, temperature).sum()
    assert values.min() - 1e-9 <= total <= values.mean() + 1e-9
    assert weigh_worst(scores, None).sum() == values.min()


@given(arrays(float, st.integers(1, 8), elements=PROBABILITY, unique=True))
def test_a_small_temperature_comes_to_its_limit(scores: Any) -> None:
    gaps = np.diff(np.sort(scores))
    if not gaps.size or gaps.min() > 1e-3:
        assert weigh_worst(scores, 1e-5) == pytest.approx(weigh_worst(scores, None), abs=1e-6)


@given(arrays(float, st.integers(1, 8), elements=PROBABILITY))
def test_what_follows_by_its_definition(rewards: Any) -> None:
    assert sum_following(rewards) == pytest.approx([rewards[place:].sum() for place in range(len(rewards))])
