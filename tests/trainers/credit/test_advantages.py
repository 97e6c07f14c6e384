from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.credit.advantages import group_moments, normalise, summarize_completions

NAN = float("nan")


def batch(*rows):
    """Rewards and mask of rollouts of different lengths, padded with a value that must not matter."""
    width = max(map(len, rows))
    rewards = np.array([[*row, *[99.0] * (width - len(row))] for row in rows], dtype=float)
    mask = np.arange(width) < np.array([len(row) for row in rows])[:, None]
    return rewards, mask


def group_advantages(rewards, mask, group_size):
    mean, std = group_moments(summarize_completions(rewards, mask), group_size)
    return np.where(mask, normalise(rewards, mean[:, None], std[:, None]), 0.0)


rewards_of_groups = st.integers(1, 3).flatmap(
    lambda groups: st.lists(
        st.lists(st.sampled_from([2.0, 1.0, 0.0, -1.0, 1.75]), max_size=5), min_size=4 * groups, max_size=4 * groups
    )
)


def test_advantages_of_a_group_by_hand():
    # Six tokens 2 2 1 0 0 1: mean 1, squared deviations 1 1 0 1 1 0, population std sqrt(4/6).
    rewards, mask = batch([2, 2, 1], [0, 0], [1])
    up = 1 / np.sqrt(4 / 6)
    expected = [[up, up, 0], [-up, -up, 0], [0, 0, 0]]
    np.testing.assert_allclose(group_advantages(rewards, mask, 3), expected, rtol=1e-15)


def test_a_group_with_one_wrong_step_by_hand():
    # A right rollout of four tokens, two of them in a wrong step, and a wrong rollout of four with all steps right:
    # 2 2 1 1 0 0 0 0, mean 3/4, mean square 10/8, variance 10/8 - 9/16 = 11/16.
    rewards, mask = batch([2, 2, 1, 1], [0, 0, 0, 0])
    std = np.sqrt(11) / 4
    expected = [[1.25 / std] * 2 + [0.25 / std] * 2, [-0.75 / std] * 4]
    np.testing.assert_allclose(group_advantages(rewards, mask, 2), expected, rtol=1e-15)


def test_all_answers_wrong_is_a_signal_only_where_steps_differ():
    process, mask = batch([0, -1, 0], [0, 0, 0])
    outcome_alone, _ = batch([0, 0, 0], [0, 0, 0])
    advantages = group_advantages(process, mask, 2)
    # One token of six at -1: mean -1/6, std sqrt(5)/6.
    np.testing.assert_allclose(advantages[0], [1 / np.sqrt(5), -np.sqrt(5), 1 / np.sqrt(5)], rtol=1e-14)
    assert (group_advantages(outcome_alone, mask, 2) == 0).all()


@pytest.mark.parametrize("reward", [0.0, 2.0, -1.0, 0.1, 2 - 1 / 3, 1e6 + 0.1])
def test_equal_rewards_have_advantages_of_exactly_zero(reward):
    rewards, mask = batch([reward] * 7, [reward] * 3, [reward] * 5)
    assert (group_advantages(rewards, mask, 3) == 0).all()


def test_an_unverified_rollout_takes_no_part_and_gets_zero():
    with_unknown, mask = batch([2, 2], [NAN, NAN, NAN], [0, 0])
    without, mask_without = batch([2, 2], [0, 0])
    advantages = group_advantages(with_unknown, mask, 3)
    assert (advantages[1] == 0).all()
    assert advantages[[0, 2], :2].tolist() == group_advantages(without, mask_without, 2).tolist()


def test_a_group_of_unverified_or_empty_rollouts_gets_zero():
    rewards, mask = batch([NAN], [])
    assert (group_advantages(rewards, mask, 2) == 0).all()
    assert summarize_completions(rewards, mask).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_groups_do_not_mix():
    rewards, mask = batch([2], [0], [102], [100])
    assert group_advantages(rewards, mask, 2).tolist() == [[1], [-1], [1], [-1]]


def test_a_small_spread_on_large_rewards_survives():
    rewards, mask = batch([1e8 + 1, 1e8 + 1], [1e8, 1e8])
    assert group_advantages(rewards, mask, 2).tolist() == [[1, 1], [-1, -1]]


def test_whole_groups_only():
    with pytest.raises(ValueError, match="3 rollouts do not make groups of 2"):
        group_moments(np.zeros((3, 3)), 2)


@given(rows=rewards_of_groups)
def test_moments_are_those_of_all_tokens_of_the_group(rows):
    rewards, mask = batch(*rows)
    mean, std = group_moments(summarize_completions(rewards, mask), 4)
    for group in range(len(rows) // 4):
        tokens = [reward for row in rows[4 * group : 4 * group + 4] for reward in row]
        expected = (np.mean(tokens), np.std(tokens)) if tokens else (0, 0)
        np.testing.assert_allclose((mean[4 * group], std[4 * group]), expected, atol=1e-12)


@given(rows=rewards_of_groups)
def test_advantages_of_a_group_have_mean_zero_and_unit_spread(rows):
    rewards, mask = batch(*rows)
    advantages = group_advantages(rewards, mask, 4)
    assert (advantages[~mask] == 0).all()
    for group in range(len(rows) // 4):
        part = slice(4 * group, 4 * group + 4)
        tokens, own = advantages[part][mask[part]], rewards[part][mask[part]]
        if len(set(own.tolist())) > 1:
            np.testing.assert_allclose((tokens.mean(), tokens.std()), (0, 1), atol=1e-12)
        else:
            assert (tokens == 0).all()


@given(outcomes=st.lists(st.sampled_from([0.0, 1.0]), min_size=4, max_size=4), length=st.integers(1, 6))
def test_with_equal_lengths_and_no_process_reward_it_is_grpo(outcomes, length):
    rewards, mask = batch(*([2 * outcome] * length for outcome in outcomes))
    spread = np.std(outcomes)
    grpo = (np.array(outcomes) - np.mean(outcomes)) / spread if spread else np.zeros(4)
    np.testing.assert_allclose(group_advantages(rewards, mask, 4), np.tile(grpo[:, None], length), atol=1e-12)


@given(rows=rewards_of_groups, scale=st.sampled_from([0.5, 2.0, 4.0]), shift=st.sampled_from([-3.0, 0.0, 8.0]))
def test_scale_and_level_of_rewards_do_not_matter(rows, scale, shift):
    rewards, mask = batch(*rows)
    moved = group_advantages(rewards * scale + shift, mask, 4)
    np.testing.assert_allclose(moved, group_advantages(rewards, mask, 4), atol=1e-9)
