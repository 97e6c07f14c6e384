"""What is picked, and what a picked rollout earned: worked by hand, and equal to training's own code."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from viewing import SeenHome, ordinary, rollout, says

from capo_bench.replay.check import retrained
from capo_bench.view.credited import credited
from capo_bench.view.pick import KINDS, Wish, eras, pick
from capo_bench.view.show import MOST_CHARACTERS, MOST_STEPS, shown
from trainers.rollouts import StoredStep


@pytest.fixture(scope="module")
def config(seen: SeenHome):
    return seen.trial.config


@pytest.fixture
def read(config):
    return lambda number: credited(StoredStep(number, (tuple(ordinary(random.Random(number))),)), config)


def where(sections):
    return [[(one.step, one.place) for one in section.shown] for section in sections]


def test_rewards_by_hand(read):
    second, third, unverified = read(1)[1:4]
    assert second.votes == (3, 1, 0, 0)
    assert second.blamed == (True, False, False, False)
    assert second.doubts == (0.75, 0.25, 0, 0)
    assert second.rewards == (1, 2, 2, 2)
    assert (third.voters, third.rewards) == (3, (0, -1, 0))
    assert math.isnan(unverified.rewards[0])
    assert unverified.advantages == (0, 0)


def test_advantages_are_over_all_tokens_of_the_group(read, config):
    rewards = retrained(ordinary(random.Random(1)), config)
    group = rewards.rewards[4:][rewards.mask[4:]]
    for row, one in enumerate(read(1)[4:], start=4):
        by_token = np.repeat(one.advantages, one.rollout.tokens)
        expected = (rewards.rewards[row][rewards.mask[row]] - group.mean()) / group.std()
        assert by_token == pytest.approx(expected)


def test_one_of_each_kind_early_and_late(read):
    sections = pick(range(1, 13), read, Wish(), "x")
    assert [section.title for section in sections] == [kind.title for kind in KINDS]
    assert where(sections) == [[(1, place), (12, place)] for place in (1, 2, 3)] + [
        [(1, 5), (12, 5)],
        [(1, 6), (12, 6)],  # the third rollouts of these steps abstained as well, and are shown already
        [(1, 7), (12, 7)],
    ]
    assert not any(section.note for section in sections)


def test_no_more_than_asked_for_and_what_lacks_is_said(read):
    assert sum(map(len, where(pick(range(1, 13), read, Wish(most=5), "x")))) == 5
    only_right = lambda number: read(number)[:1]  # noqa: E731
    sections = pick([1, 2, 3, 4], only_right, Wish(), "x")
    assert where(sections)[0] == [(1, 1), (4, 1)]
    assert sections[1].note == "None in the early steps looked at (1 to 2). None in the late steps looked at (3 to 4)."


@pytest.mark.parametrize(
    ("count", "early", "late"), [(1, [1], []), (2, [1], [2]), (12, [1, 2, 3, 4, 5], [12, 11, 10, 9, 8])]
)
def test_the_beginning_and_the_end_of_training(count, early, late):
    assert eras(range(1, count + 1)) == {"early": early, "late": late}


def test_random_picks_are_the_same_again_and_differ_by_trial(read):
    picks = [where(pick(range(1, 13), read, Wish("random", 6), seed)) for seed in ("a", "a", "b")]
    assert picks[0] == picks[1] != picks[2]
    assert len(picks[0][0]) == 6


def test_the_worst_have_the_lowest_mean_advantage(read):
    (section,) = pick([1, 2], read, Wish("worst", 4), "x")
    everyone = sorted(one.mean_advantage for step in (1, 2) for one in read(step))
    assert [one.mean_advantage for one in section.shown] == everyone[:4]


def test_rollouts_and_problems_by_name(read):
    assert where(pick([1, 2], read, Wish(rollouts=((2, 8), (1, 1))), "x")) == [[(2, 8), (1, 1)]]
    (section,) = pick([1, 2], read, Wish(problem="coins/train/0/1", most=3), "x")
    assert where([section]) == [[(1, 5), (1, 6), (2, 8)]]
    assert section.note == "3 of 8 rollouts, the first and the last."


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (Wish(step=9), "no optimizer step 9 is stored; stored: 1 to 2"),
        (Wish(rollouts=((1, 9),)), "has no rollout 9; it has 1 to 8"),
        (Wish(problem="x"), "of 2 problems the first are coins/train/0/0"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(read, wish, message):
    with pytest.raises(LookupError, match=message):
        pick([1, 2], read, wish, "x")


def test_a_step_that_is_not_there_makes_an_abstention_of_a_critique(read):
    one = shown(read(1)[5])
    assert one.critiques[3].verdict == "abstained: out of range"
    assert one.steps[0].judged == "1/3"


def test_a_long_rollout_is_bounded_and_says_so(config):
    long = rollout(0, tuple("s" * 500 for _ in range(200)), 1.0, set(), *[says()] * 4)
    (first, *_) = credited(StoredStep(1, ((long, *ordinary(random.Random(1))[1:]),)), config)
    found = shown(first)
    assert len(found.steps) == MOST_STEPS
    assert sum(len("".join(step.tokens)) for step in found.steps) <= MOST_CHARACTERS + 10
    assert "120 more steps and" in found.left_out


def test_without_the_text_of_tokens_steps_are_shown_whole(config):
    from dataclasses import replace

    plain = [replace(each, pieces=()) for each in ordinary(random.Random(1))]
    one = shown(credited(StoredStep(1, (tuple(plain),)), config)[1])
    assert not one.whole
    assert one.steps[0].tokens == ("3 + 4 = 8",)
