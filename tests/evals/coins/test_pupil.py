"""Pupils: which steps a misconception touches and what it makes of them, by hand; how often a pupil follows it."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from evals.coins.problems import LIMIT, UNSEEN, Chain, apply, draw, draw_chain, read
from evals.coins.pupil import (
    BORROW,
    CARRY,
    FAULTLESS,
    MISCONCEPTIONS,
    TIMES_THREE,
    Misconception,
    Pupil,
    draw_pupil,
    measure_touched_share,
)
from evals.coins.solutions import SEPARATOR, check, demonstrate

chains = st.integers(0, 2**32).map(lambda seed: draw_chain(random.Random(seed), (2, 8)))


@pytest.mark.parametrize(
    ("rule", "step", "result"),
    [
        (CARRY, (7, "+", 5), 11),  # 12, one too small
        (CARRY, (4, "+", 6), 9),  # ten is crossed when it is reached
        (CARRY, (3, "+", 6), None),
        (CARRY, (10, "+", 2), None),  # beyond ten before
        (CARRY, (12, "-", 5), None),
        (TIMES_THREE, (4, "*", 3), 7),
        (TIMES_THREE, (4, "*", 2), None),
        (BORROW, (9, "-", 5), 3),
        (BORROW, (9, "-", 6), 2),
        (BORROW, (9, "-", 4), None),
        (Misconception(sign="*", operands=(2,), done_as="+"), (2, "*", 2), None),  # 2 + 2 is right all the same
        (Misconception(sign="+", error=2), (1, "+", 1), 4),
    ],
)
def test_a_rule_makes_of_a_step_what_it_says(rule, step, result):
    assert rule.result(*step) == result


def test_of_several_rules_that_apply_the_first_counts():
    rules = (Misconception(sign="+", error=1), Misconception(sign="+", error=2))
    assert Pupil(rules, belief=1.0).work_out(1, "+", 1, (), random.Random(0)) == 3


def test_a_belief_of_one_is_always_followed_and_one_of_zero_never():
    chain = Chain("Ann", 7, (("+", 5), ("-", 5)))  # 12, then 7; by the rules 11, then 5
    follows = demonstrate(chain, random.Random(0), Pupil(MISCONCEPTIONS, belief=1.0))
    assert follows.split(SEPARATOR) == ["7 + 5 = 11", "11 - 5 = 5", "\\boxed{5}"]
    assert demonstrate(chain, random.Random(0), Pupil(MISCONCEPTIONS, belief=0.0)) == demonstrate(
        chain, random.Random(0)
    )


def test_no_rule_is_followed_that_would_leave_the_range_of_coins():
    # 4 × 3 is 12, by the rule 7, from which 8 cannot be spent.
    assert Pupil((TIMES_THREE,), belief=1.0).work_out(4, "*", 3, [("-", 8)], random.Random(0)) == 12


@given(chains, st.integers(0, 2**32), st.floats(0, 1), st.floats(0, 0.9))
def test_totals_stay_in_range_whatever_a_pupil_believes(chain, seed, belief, slip):
    steps = demonstrate(chain, random.Random(seed), Pupil(MISCONCEPTIONS, belief, slip)).split(SEPARATOR)
    assert all(0 <= int(step.split()[-1]) <= LIMIT for step in steps[:-1])


@given(chains, st.integers(0, 2**32))
def test_without_slips_only_touched_steps_are_wrong_and_all_of_them_by_the_rule(chain, seed):
    steps = demonstrate(chain, random.Random(seed), Pupil(MISCONCEPTIONS, belief=1.0)).split(SEPARATOR)
    for index in check(chain, steps).wrong:
        before, sign, operand, _, after = steps[index].split()
        assert int(after) in {rule.result(int(before), sign, int(operand)) for rule in MISCONCEPTIONS}


def test_a_rule_is_followed_about_as_often_as_it_is_believed():
    rng, pupil = random.Random(0), Pupil(MISCONCEPTIONS, belief=0.8)
    follows = sum(pupil.work_out(7, "+", 5, (), rng) == 11 for _ in range(4000))
    assert follows / 4000 == pytest.approx(0.8, abs=0.02)  # three standard errors


def test_about_a_third_of_the_lessons_steps_are_touched():
    assert 0.25 < measure_touched_share(MISCONCEPTIONS, "lessons") < 0.4
    assert measure_touched_share((), "lessons") == 0


def test_what_reinforcement_never_meets_is_touched():
    assert all(any(rule.result(9, *operation) is not None for rule in MISCONCEPTIONS) for operation in UNSEEN)
    facts = {operation for problem in draw("train", 300, 0) for operation in read(problem.prompt).operations}
    assert not facts & UNSEEN


@given(st.integers(0, LIMIT), st.sampled_from("+-*"), st.integers(1, 6))
def test_a_faultless_pupil_is_right(total, sign, operand):
    assert FAULTLESS.work_out(total, sign, operand, (), random.Random(0)) == apply(total, sign, operand)


@pytest.mark.parametrize("rule", [{"sign": "+"}, {"sign": "+", "done_as": "+"}])
def test_a_rule_that_changes_nothing_is_refused(rule):
    with pytest.raises(ValidationError, match="changes no result; set error to what the result is off by"):
        Misconception(**rule)


def test_pupils_hold_every_set_of_rules_with_every_belief():
    rng = random.Random(0)
    drawn = [draw_pupil(MISCONCEPTIONS, 0.2, rng) for _ in range(400)]
    held = Counter(pupil.misconceptions for pupil in drawn)
    assert len(held) == 2 ** len(MISCONCEPTIONS)
    assert min(held.values()) > 30  # 50 of each set
    assert {pupil.slip for pupil in drawn} == {0.2}
    assert {int(10 * pupil.belief) for pupil in drawn} == set(range(10))
