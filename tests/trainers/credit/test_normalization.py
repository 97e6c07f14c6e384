"""Each normalisation by hand on one group of two rollouts, and laws that all of them keep."""

from __future__ import annotations

import math

import numpy as np
import pytest
from flatly import group_advantages
from hypothesis import given
from hypothesis import strategies as st

from evals.registry import UnknownNameError
from trainers.credit.normalization import (
    NORMALIZATIONS,
    Part,
    all_tokens,
    apart,
    compute_part_moments,
    weigh_responses,
    weigh_steps,
    weigh_tokens,
)

NAN = float("nan")
NAMES = NORMALIZATIONS.names()


def batch(*rows):
    """Charges and steps of rollouts, each a list of (tokens, charge) a step; padding's charge must not matter."""
    width = max(sum(tokens for tokens, _ in row) for row in rows)
    charges, index = np.full((len(rows), width), 99.0), np.full((len(rows), width), -1)
    for place, row in enumerate(rows):
        end = 0
        for step, (tokens, charge) in enumerate(row):
            charges[place, end : end + tokens], index[place, end : end + tokens] = charge, step
            end += tokens
    return charges, index


# A right rollout of two steps, the second, of one token, wrong; a wrong rollout of one step of one token.
# Rewards 2 2 2 1 | 0.
HAND = batch([(3, 0.0), (1, 1.0)], [(1, 0.0)])
OUTCOMES = np.array([1.0, 0.0])


def by_hand(name, w_whole=2.0, w_process=1.0):
    charges, index = HAND
    return group_advantages(NORMALIZATIONS.get(name)(w_whole, w_process), OUTCOMES, charges, index, 2)


def test_all_tokens_by_hand():
    # Five tokens: mean 7/5, mean square 13/5, variance 13/5 - 49/25 = 16/25.
    np.testing.assert_allclose(by_hand("all_tokens"), [[0.75, 0.75, 0.75, -0.5], [-1.75, 0, 0, 0]], rtol=1e-14)


def test_per_response_by_hand():
    # Two responses: means 7/4 and 0, mean 7/8; mean squares 13/4 and 0, so 13/8; variance 13/8 - 49/64 = 55/64.
    std = math.sqrt(55) / 8
    expected = [[1.125 / std] * 3 + [0.125 / std], [-0.875 / std, 0, 0, 0]]
    np.testing.assert_allclose(by_hand("per_response"), expected, rtol=1e-14)


def test_per_step_by_hand():
    # Three steps 2 1 0, however long: mean 1, variance 2/3.
    up = math.sqrt(3 / 2)
    np.testing.assert_allclose(by_hand("per_step"), [[up, up, up, 0], [-up, 0, 0, 0]], rtol=1e-14, atol=1e-15)


def test_apart_by_hand():
    # Outcomes 1 and 0: +1 and -1. Charges 0 0 0 1 0, taken negative: mean -1/5, std 2/5, so 1/2 and -2.
    expected = [[(2 + 0.5) / 3] * 3 + [(2 - 2) / 3], [(-2 + 0.5) / 3, 0, 0, 0]]
    np.testing.assert_allclose(by_hand("apart"), expected, rtol=1e-14, atol=1e-15)


def test_the_weights_of_apart_weigh_normalised_parts():
    np.testing.assert_allclose(by_hand("apart", 1.0, 0.0), [[1, 1, 1, 1], [-1, 0, 0, 0]], rtol=1e-14)
    np.testing.assert_allclose(by_hand("apart", 0.0, 5.0), [[0.5, 0.5, 0.5, -2], [0.5, 0, 0, 0]], rtol=1e-14)
    assert (by_hand("apart", 0.0, 0.0) == 0).all()


def test_apart_a_part_without_spread_is_zero_and_the_other_keeps_its_size():
    charges, index = HAND
    both_wrong = group_advantages(apart(2.0, 1.0), np.zeros(2), charges, index, 2)
    np.testing.assert_allclose(both_wrong, [[0.5 / 3] * 3 + [-2 / 3], [0.5 / 3, 0, 0, 0]], rtol=1e-14)
    nothing_flagged = group_advantages(apart(2.0, 1.0), OUTCOMES, np.zeros_like(charges), index, 2)
    np.testing.assert_allclose(nothing_flagged, [[2 / 3] * 4, [-2 / 3, 0, 0, 0]], rtol=1e-14)


def test_what_a_wrong_step_costs_depends_on_the_outcomes_of_the_others_unless_apart():
    """The question behind it: the gap between a right and a wrong step of one rollout, in two groups of four."""
    charges, index = batch([(1, 0.0), (1, 1.0)], *[[(2, 0.0)]] * 3)
    gaps = {}
    for name in NAMES:
        parts = NORMALIZATIONS.get(name)(2.0, 1.0)
        groups = [np.array(outcomes) for outcomes in ([0.0, 0, 0, 0], [0.0, 1, 0, 1])]
        rows = [group_advantages(parts, outcomes, charges, index, 4)[0] for outcomes in groups]
        gaps[name] = [float(row[0] - row[1]) for row in rows]
    # Eight tokens, one at -1: std sqrt(7)/8. With two right rollouts: 0 -1 2 2 0 0 2 2, mean 7/8, mean square 17/8.
    assert gaps["all_tokens"] == pytest.approx([8 / math.sqrt(7), 1 / math.sqrt(17 / 8 - 49 / 64)])
    assert gaps["apart"] == pytest.approx([8 / math.sqrt(7) / 3] * 2)


# A right rollout, its second step wrong; a wrong one of one token, charged; and a wrong one of two tokens, of which no
# critique answered.
UNCRITIQUED = batch([(3, 0.0), (1, 1.0)], [(1, 1.0)], [(2, NAN)])
WITH_UNCRITIQUED = np.array([1.0, 0.0, 0.0])


@pytest.mark.parametrize(
    ("name", "neutral"),
    [
        ("all_tokens", 2 / 5),  # charges 0 0 0 1 | 1
        ("per_response", 5 / 8),  # responses 1/4 and 1
        ("per_step", 2 / 3),  # steps 0 1 | 1
        ("apart", 2 / 5),  # the process over all tokens
    ],
)
def test_a_rollout_without_a_critique_is_charged_the_mean_of_its_group_by_hand(name, neutral):
    charges, index = UNCRITIQUED
    parts = NORMALIZATIONS.get(name)(2.0, 1.0)
    moments = compute_part_moments(parts, WITH_UNCRITIQUED, np.where(index < 0, 0, charges), index, 3)
    assert moments.neutral[:, -1].tolist() == pytest.approx([neutral] * 3)
    filled = np.where(np.isnan(charges), neutral, charges)
    found = group_advantages(parts, WITH_UNCRITIQUED, charges, index, 3)
    np.testing.assert_allclose(found, group_advantages(parts, WITH_UNCRITIQUED, filled, index, 3), atol=1e-14)


def test_all_tokens_of_an_uncritiqued_rollout_by_hand():
    charges, index = UNCRITIQUED
    found = group_advantages(all_tokens(2.0, 1.0), WITH_UNCRITIQUED, charges, index, 3)
    # Rewards 2 2 2 1 | -1 | -0.4 -0.4: mean 5.2/7, mean square 14.32/7.
    mean, std = 5.2 / 7, math.sqrt(14.32 / 7 - (5.2 / 7) ** 2)
    np.testing.assert_allclose(found[2, :2], [(-0.4 - mean) / std] * 2, rtol=1e-14)
    np.testing.assert_allclose(found[1, 0], (-1 - mean) / std, rtol=1e-14)


def test_apart_the_process_of_an_uncritiqued_rollout_is_nothing():
    charges, index = UNCRITIQUED
    found = group_advantages(apart(2.0, 1.0), WITH_UNCRITIQUED, charges, index, 3)
    # Outcomes 1 0 0: mean 1/3, std sqrt(2)/3.
    np.testing.assert_allclose(found[2, :2], [-2 / 3 / math.sqrt(2)] * 2, rtol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_without_any_critique_in_a_group_the_outcome_alone_counts(name):
    charges, index = batch([(3, NAN), (1, NAN)], [(1, NAN)])
    parts = NORMALIZATIONS.get(name)(2.0, 1.0)
    uncharged = group_advantages(parts, OUTCOMES, np.zeros_like(charges), index, 2)
    assert group_advantages(parts, OUTCOMES, charges, index, 2).tolist() == uncharged.tolist()


def test_weights_of_tokens_by_hand():
    _, index = batch([(3, 0.0), (0, 0.0), (1, 0.0)], [(2, 0.0)], [])
    third = 1 / 3
    assert weigh_tokens(index).tolist() == [[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert weigh_responses(index).tolist() == [[0.25] * 4, [0.5, 0.5, 0, 0], [0, 0, 0, 0]]
    assert weigh_steps(index).tolist() == [[third, third, third, 1], [0.5, 0.5, 0, 0], [0, 0, 0, 0]]


def test_an_unknown_normalisation_is_named_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'per_step'"):
        NORMALIZATIONS.get("per_steps")


critiqued = st.lists(st.tuples(st.integers(1, 4), st.sampled_from([0.0, 0.25, 1 / 3, 1.0])), max_size=4)
steps = critiqued | st.lists(st.tuples(st.integers(1, 4), st.just(NAN)), max_size=4)
outcome = st.sampled_from([0.0, 1.0, NAN])


@st.composite
def groups(draw, size=4, outcomes=outcome, step=steps):
    count = size * draw(st.integers(1, 2))
    rows = draw(st.lists(step, min_size=count, max_size=count))
    return np.array(draw(st.lists(outcomes, min_size=count, max_size=count))), *batch(*rows)


weights = st.sampled_from([(2.0, 1.0), (1.0, 0.5), (0.0, 1.0), (1.0, 0.0)])


@pytest.mark.parametrize("name", NAMES)
@given(drawn=groups(), pair=weights, garbage=st.sampled_from([-5.0, 1e9]))
def test_unverified_rollouts_and_padding_take_no_part(name, drawn, pair, garbage):
    outcomes, charges, index = drawn
    parts = NORMALIZATIONS.get(name)(*pair)
    found = group_advantages(parts, outcomes, charges, index, 4)
    unknown = np.isnan(outcomes)
    assert (found[(index < 0) | unknown[:, None]] == 0).all()
    charges[(index < 0) | unknown[:, None]] = garbage
    assert group_advantages(parts, outcomes, charges, index, 4).tolist() == found.tolist()


@pytest.mark.parametrize("name", NAMES)
@given(drawn=groups(outcomes=st.just(1.0)), length=st.integers(1, 6))
def test_silence_and_its_length_neither_pay_nor_cost(name, drawn, length):
    """Of equal outcomes, an uncritiqued rollout has no advantage, however long it is."""
    outcomes, charges, index = drawn
    parts = NORMALIZATIONS.get(name)(2.0, 1.0)
    silent, steps = np.full((1, 40), NAN), np.full((1, 40), -1)
    steps[0, :length] = 0
    wide = ((0, 0), (0, 40 - charges.shape[1]))
    charges = np.concatenate([silent, np.pad(charges, wide)[1:4]])
    index = np.concatenate([steps, np.pad(index, wide, constant_values=-1)[1:4]])
    found = group_advantages(parts, outcomes[:4], charges, index, 4)
    np.testing.assert_allclose(found[0], 0, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
@given(drawn=groups(), pair=weights, scale=st.sampled_from([0.5, 3.0, 8.0]))
def test_the_scale_of_the_weights_does_not_matter(name, drawn, pair, scale):
    normalization = NORMALIZATIONS.get(name)
    found = group_advantages(normalization(*pair), *drawn, 4)
    scaled = group_advantages(normalization(*(scale * weight for weight in pair)), *drawn, 4)
    np.testing.assert_allclose(scaled, found, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
@given(drawn=groups(outcomes=st.sampled_from([0.0, 1.0])), pair=weights)
def test_the_level_of_outcomes_does_not_matter(name, drawn, pair):
    outcomes, charges, index = drawn
    parts = NORMALIZATIONS.get(name)(*pair)
    raised = group_advantages(parts, outcomes + 3, charges, index, 4)
    np.testing.assert_allclose(raised, group_advantages(parts, *drawn, 4), atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
@given(drawn=groups(), pair=weights)
def test_a_part_has_mean_zero_and_unit_spread_under_its_own_weights(name, drawn, pair):
    outcomes, _, index = drawn
    known = ~np.isnan(outcomes)
    for part in NORMALIZATIONS.get(name)(*pair):
        found = group_advantages([Part(part.w_whole, part.w_process, part.weighing)], *drawn, 4)
        counts = part.weighing(index) * known[:, None]
        for first in range(0, len(outcomes), 4):
            own, weight = found[first : first + 4], counts[first : first + 4]
            if not own.any():
                continue
            mean = (weight * own).sum() / weight.sum()
            spread = (weight * np.square(own - mean)).sum() / weight.sum()
            np.testing.assert_allclose((mean, spread), (0, 1), atol=1e-9)


@given(
    outcomes=st.lists(outcome, min_size=4, max_size=4),
    flags=st.lists(st.lists(st.sampled_from([0.0, 1.0]), min_size=3, max_size=3), min_size=4, max_size=4),
    tokens=st.integers(1, 3),
)
def test_with_equal_lengths_of_steps_and_responses_all_normalisations_of_one_part_agree(outcomes, flags, tokens):
    charges, index = batch(*([(tokens, flag) for flag in row] for row in flags))
    first, *others = (
        group_advantages(NORMALIZATIONS.get(name)(2.0, 1.0), np.array(outcomes), charges, index, 4)
        for name in ("all_tokens", "per_response", "per_step")
    )
    for other in others:
        np.testing.assert_allclose(other, first, atol=1e-9)


@given(groups())
def test_a_long_response_weighs_no_more_per_response_and_a_long_step_no_more_per_step(drawn):
    """Every token written twice: all three keep what they said of it, each token of the pair."""
    outcomes, charges, index = drawn
    for name in NAMES:
        parts = NORMALIZATIONS.get(name)(2.0, 1.0)
        once = group_advantages(parts, outcomes, charges, index, 4)
        twice = group_advantages(parts, outcomes, charges.repeat(2, axis=1), index.repeat(2, axis=1), 4)
        np.testing.assert_allclose(twice, once.repeat(2, axis=1), atol=1e-9)


@pytest.mark.parametrize(("name", "changes"), [("all_tokens", True), ("per_response", False), ("per_step", False)])
def test_what_one_longer_response_does_to_the_others(name, changes):
    parts, outcomes = NORMALIZATIONS.get(name)(2.0, 1.0), np.array([1.0, 0.0, 1.0])
    short = group_advantages(parts, outcomes, *batch([(2, 0.0)], [(2, 0.0)], [(2, 1.0)]), 3)
    long = group_advantages(parts, outcomes, *batch([(9, 0.0)], [(2, 0.0)], [(2, 1.0)]), 3)
    assert np.allclose(short[1:, :2], long[1:, :2]) != changes


@pytest.mark.parametrize("charge", [0.0, 1 / 3, 1.0])
@pytest.mark.parametrize("name", NAMES)
def test_equal_rewards_have_advantages_of_exactly_zero(name, charge):
    charges, index = batch([(7, charge)], [(1, charge), (2, charge)], [(5, charge)])
    for parts in (NORMALIZATIONS.get(name)(2.0, 1.0), all_tokens(2.0, 1.0)):
        assert (group_advantages(parts, np.ones(3), charges, index, 3) == 0).all()
