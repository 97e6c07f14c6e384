"""The methods beside CAPO: each worked by hand on one small group, and laws that they keep."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from flatly import batch_of, rows_of
from hypothesis import given
from hypothesis import strategies as st

from trainers.credit.batch import Batch, Evidence, lay_out, process_signal_only
from trainers.credit.capo import capo
from trainers.credit.draco import draco
from trainers.credit.lambda_grpo import lambda_grpo
from trainers.credit.monte_carlo import list_step_values, monte_carlo
from trainers.credit.outcome_only import outcome_only
from trainers.credit.papo import papo
from trainers.credit.progrs import progrs
from trainers.credit.prpo import prpo
from trainers.credit.rtmc import rtmc
from trainers.credit.segments import segments
from trainers.credit.states import count_visits, number_states
from trainers.credit.terms import Terms
from trainers.credit.vppo import vppo

NAN = math.nan
VOTED = {"vppo": vppo, "papo": papo, "prpo": prpo, "progrs": progrs, "draco": draco}

# Two right answers, one with a wrong step of two tokens of four, and two wrong ones, one wrong from its second step on.
GROUP = batch_of([1, 1, 0, 0], [(2, 0.0), (2, 0.0)], [(2, 0.0), (2, 1.0)], [(2, 0.0), (1, 1.0), (1, 0.0)], [(4, 1.0)])


def by_rollout(batch: Batch, values) -> list[list[float]]:
    return rows_of(batch.layout, values)


def test_vppo_the_prefix_of_a_wrong_answer_earns_and_the_rest_pays() -> None:
    found = vppo(GROUP, Terms(w_whole=2.0, w_process=1.0))
    assert by_rollout(GROUP, found.rewards) == [[2, 2], [2, 2], [1, -1, -1], [-1]]
    # Sixteen tokens: eight of 2, two of 1, six of -1: mean 12/16, mean square 40/16.
    std = math.sqrt(40 / 16 - (12 / 16) ** 2)
    np.testing.assert_allclose(found.advantages, (found.rewards - 0.75) / std, rtol=1e-14)


def test_vppo_a_wrong_answer_without_a_located_error_has_no_reward() -> None:
    batch = batch_of([1, 0, 0], [(1, 0.0)], [(1, 0.0), (1, 0.2)], [(2, NAN)])
    assert vppo(batch, Terms()).rewards.tolist() == [2, 0, 0, 0]


def test_vppo_half_of_the_votes_locates_an_error_and_silence_none() -> None:
    batch = batch_of([0, 0, 0], [(1, 0.0), (1, 0.5)], [(1, NAN)], [(1, 0.49)])
    found = vppo(batch, Terms())
    assert by_rollout(batch, found.rewards) == [[1, -1], [0], [0]]
    assert found.charges is not None
    np.testing.assert_array_equal(found.charges, [0, 1, NAN, 0])


OTHER = [(3, 0.5), (1, 0.0)], [(2, NAN)], [(1, 1.0), (2, 0.5)], [(2, NAN), (1, NAN)]
"""Steps of four more rollouts, two of which no critique judged."""


@pytest.mark.parametrize("method", [capo, draco, outcome_only, papo, progrs, prpo, vppo])
@pytest.mark.parametrize("outcomes", [[1, 1, 0, 0], [0, 1, NAN, 1], [0, 0, 0, 0], [1, NAN, NAN, NAN]])
def test_a_group_earns_what_it_earns_alone(method, outcomes: list[float]) -> None:
    first = [(2, 0.0), (2, 0.0)], [(2, 0.0), (2, 1.0)], [(2, 0.0), (1, 1.0), (1, 0.0)], [(4, 1.0)]
    both = replace(batch_of([1, 1, 0, 0, *outcomes], *first, *OTHER), group_size=4)
    alone = [method(GROUP, Terms()), method(batch_of(outcomes, *OTHER), Terms())]
    together = method(both, Terms())
    np.testing.assert_allclose(together.advantages, np.concatenate([earned.advantages for earned in alone]), atol=1e-12)
    if together.rewards is not None:
        np.testing.assert_allclose(together.rewards, np.concatenate([earned.rewards for earned in alone]), atol=1e-12)


def test_progrs_weighs_an_unjudged_answer_as_the_others_of_its_kind() -> None:
    """Right answers without a critique have the mean quality of the judged right ones, wrong ones no bonus."""
    batch = batch_of([1, 1, 1, 0], [(1, 0.0), (1, 1.0)], [(1, 0.0)], [(2, NAN)], [(1, NAN)])
    found = by_rollout(batch, progrs(batch, Terms(w_whole=2.0, w_process=1.0)).rewards)
    assert [row[0] for row in found] == [2.5, 3, 2.75, 0]


def test_prpo_says_the_quality_of_steps() -> None:
    quality = prpo(GROUP, Terms()).rewards
    assert by_rollout(GROUP, quality) == [[1, 1], [1, 0], [1, 0, 1], [0]]


def test_draco_leaves_the_weight_of_a_step_that_nobody_judged() -> None:
    batch = batch_of([1, 0], [(1, NAN), (1, 1.0)], [(1, NAN)])
    assert by_rollout(batch, draco(batch, Terms()).advantages) == [[2, 0], [-1]]


def test_papo_a_wrong_answer_earns_nothing_by_its_process() -> None:
    found = by_rollout(GROUP, papo(GROUP, Terms(w_whole=1.0, w_process=1.0)).advantages)
    # Outcomes 1 1 0 0: +1 +1 -1 -1. Quality of the right ones 1 and 1/2: +1 and -1.
    assert found == [[2, 2], [0, 0], [-1, -1, -1], [-1]]
    quality = by_rollout(GROUP, papo(GROUP, Terms()).rewards)
    assert quality[:2] == [[1, 1], [0.5, 0.5]]


def test_papo_a_group_of_right_answers_still_teaches() -> None:
    batch = batch_of([1, 1], [(1, 0.0)], [(1, 1.0)])
    assert papo(batch, Terms()).advantages.tolist() == [1, -1]


def test_prpo_keeps_the_outcomes_advantage_of_a_response_and_moves_it() -> None:
    found = prpo(GROUP, Terms(w_whole=1.0, w_process=1.0))
    # Quality of sixteen tokens: nine right, seven wrong; in units of its spread a wrong step stands 1/std below.
    gap = 1 / math.sqrt(9 / 16 * 7 / 16)
    rows = by_rollout(GROUP, found.advantages)
    assert rows[0] == pytest.approx([1, 1])
    assert rows[1] == pytest.approx([1 + gap / 2, 1 - gap / 2])
    assert rows[2] == pytest.approx([-1 + gap / 4, -1 - 3 * gap / 4, -1 + gap / 4])
    assert rows[3] == pytest.approx([-1])


def test_progrs_ranks_wrong_answers_and_pays_none_of_them_on_the_whole() -> None:
    found = progrs(GROUP, Terms(w_whole=2.0, w_process=1.0))
    # Quality 1, 1/2, 3/4, 0; the wrong ones less their mean 3/8.
    rewards = np.array([3, 2.5, 0.375, -0.375])
    np.testing.assert_allclose(np.unique(found.rewards), np.sort(rewards))
    expected = (rewards - rewards.mean()) / rewards.std()
    assert [row[0] for row in by_rollout(GROUP, found.advantages)] == pytest.approx(expected.tolist())


def test_draco_moves_the_advantage_of_a_rollout_to_the_steps_that_earned_it() -> None:
    found = by_rollout(GROUP, draco(GROUP, Terms()).advantages)
    assert found == [[1, 1], [2, 0], [0, -4, 0], [-1]]
    half = by_rollout(GROUP, draco(GROUP, Terms(w_process=0.5)).advantages)
    assert half[1] == pytest.approx([1 / 0.75, 0.5 / 0.75])


def stated(*texts: tuple[str, ...], outcomes: list[float]) -> Batch:
    states = number_states(["p"] * len(texts), texts)
    return Batch(lay_out([[1] * len(text) for text in texts]), np.array(outcomes), len(texts), Evidence(states=states))


# A common first step; two of four go on alike.
TREE = stated(("a", "b", "c"), ("a", "b", "d"), ("a", "e"), ("f",), outcomes=[1, 0, 0, 1])


def test_states_are_what_is_said_so_far() -> None:
    place, shared = count_visits(TREE)
    assert shared.tolist() == [3, 2, 1, 3, 2, 1, 3, 1, 1]
    assert place[0] == place[3] == place[6]
    apart = stated(("a",), ("a",), outcomes=[1, 0])
    other = replace(apart, evidence=Evidence(states=number_states(["p", "q"], [("a",), ("a",)])))
    assert count_visits(apart)[1].tolist() == [2, 2]
    assert count_visits(other)[1].tolist() == [1, 1], "of two problems"


def test_lambda_grpo_divides_a_step_by_those_who_share_it() -> None:
    assert by_rollout(TREE, lambda_grpo(TREE, Terms()).advantages) == [
        [1 / 3, 1 / 2, 1], [-1 / 3, -1 / 2, -1], [-1 / 3, -1], [1]
    ]  # fmt: skip


def test_rtmc_by_hand() -> None:
    """The mean is 1/2; of three that begin with a, one is right, of two that go on with b, one."""
    found = by_rollout(TREE, rtmc(TREE, Terms()).advantages)
    assert found[0] == pytest.approx([1 / 3 - 1 / 2, 1 / 2 - 1 / 3, 1 - 1 / 2])
    assert found[1] == pytest.approx([1 / 3 - 1 / 2, 1 / 2 - 1 / 3, 0 - 1 / 2])
    assert found[2] == pytest.approx([1 / 3 - 1 / 2, 0 - 1 / 3])
    assert found[3] == pytest.approx([1 - 1 / 2])


def test_rtmc_leaves_out_a_rollout_that_the_verifier_could_not_judge() -> None:
    """Two groups of two. In the first the one that was judged is right, so every state is worth 1; nothing changes."""
    first = [("a", "b"), ("a", "c")]
    second = [("a",), ("d",)]
    states = number_states(["p", "p", "q", "q"], [*first, *second])
    batch = Batch(
        lay_out([[1] * len(text) for text in (*first, *second)]), np.array([1.0, NAN, 0.0, 1.0]), 2,
        Evidence(states=states),
    )  # fmt: skip
    found = rtmc(batch, Terms())
    assert by_rollout(batch, found.advantages) == [[0, 0], [0, 0], [-0.5], [0.5]]
    assert by_rollout(batch, found.rewards) == [[1, 1], [1, 0], [0], [1]], "the value of each state"


def test_a_solution_that_is_no_utf_8_has_a_state_of_its_own() -> None:
    numbers = number_states(["p", "p", "p"], [("\ud800",), ("\ud801",), ("\ud800 ",)])
    assert numbers[0] != numbers[1]
    assert numbers[0] == numbers[2]
    assert (numbers == np.floor(numbers)).all()
    assert numbers.max() < 2**52, "a float holds it exactly"
    with pytest.raises(ValueError, match="zip"):
        number_states(["p"], [])


def test_groups_that_only_the_process_teaches() -> None:
    """Of three groups the second has unequal outcomes, and the third no advantages."""
    batch = batch_of([0, 0, 1, 0, 1, NAN], *[[(1, 0.0)]] * 6)
    batch = replace(batch, group_size=2)
    assert process_signal_only(batch, np.array([1.0, -1, 1, -1, 0, 0])) == pytest.approx(1 / 3)
    assert process_signal_only(batch, np.zeros(6)) == 0
    none = replace(batch, layout=lay_out([]), outcomes=np.zeros(0))
    assert math.isnan(process_signal_only(none, np.zeros(0)))


def test_monte_carlo_by_hand() -> None:
    values, before = list_step_values([[0.5, 0.25, 0.75], [0.5]], np.array([1.0, 0.0]))
    assert (values.tolist(), before.tolist()) == ([0.25, 0.75, 1, 0], [0.5, 0.25, 0.75, 0.5])
    layout = lay_out([[1, 1, 1], [1]])
    batch = Batch(layout, np.array([1.0, 0.0]), 2, Evidence(values=values, before=before))
    assert monte_carlo(batch, Terms()).advantages.tolist() == [-0.25, 0.5, 0.25, -0.5]
    for found in (monte_carlo(batch, Terms()), segments(batch, Terms(segment=2))):
        assert found.rewards is not None
        assert found.rewards.tolist() == values.tolist()
    assert segments(batch, Terms(segment=2)).advantages.tolist() == [0.25, 0.25, 0.25, -0.5]
    assert segments(batch, Terms(segment=1)).advantages.tolist() == monte_carlo(batch, Terms()).advantages.tolist()
    assert segments(batch, Terms(segment=9)).advantages.tolist() == [0.5, 0.5, 0.5, -0.5]


def test_what_a_method_needs_and_lacks_is_named() -> None:
    with pytest.raises(ValueError, match="reads the values of steps, and none are given"):
        monte_carlo(GROUP, Terms())


outcome = st.sampled_from([0.0, 1.0, NAN])
steps = st.lists(st.tuples(st.integers(1, 4), st.sampled_from([0.0, 0.25, 1.0])), min_size=1, max_size=4)
silent = st.lists(st.tuples(st.integers(1, 4), st.just(NAN)), min_size=1, max_size=4)


@st.composite
def batches(draw) -> Batch:
    rows = draw(st.lists(steps | silent, min_size=4, max_size=8).filter(lambda rows: len(rows) % 4 == 0))
    return batch_of(draw(st.lists(outcome, min_size=len(rows), max_size=len(rows))), *rows, group_size=4)


@pytest.mark.parametrize("name", VOTED)
@given(batch=batches())
def test_what_could_not_be_verified_or_judged_never_becomes_nan(name: str, batch: Batch) -> None:
    advantages = VOTED[name](batch, Terms()).advantages
    assert np.isfinite(advantages).all()
    assert (advantages[np.isnan(batch.outcomes)[batch.layout.owner]] == 0).all()


@pytest.mark.parametrize("name", VOTED)
@given(batch=batches(), order=st.permutations(range(4)))
def test_groups_do_not_mix_and_their_order_does_not_matter(name: str, batch: Batch, order: list[int]) -> None:
    layout = batch.layout
    rows = np.split(np.arange(len(layout.tokens)), np.cumsum(layout.steps)[:-1])
    places = [*order, *range(4, len(layout.steps))]
    moved = np.concatenate([rows[place] for place in places])
    shares = batch.evidence.given("shares")
    shuffled = Batch(
        lay_out([layout.tokens[rows[place]].tolist() for place in places]),
        batch.outcomes[places],
        4,
        Evidence(shares=shares[moved]),
    )
    found, again = (VOTED[name](one, Terms()).advantages for one in (batch, shuffled))
    np.testing.assert_allclose(again, found[moved], atol=1e-9)


@pytest.mark.parametrize("name", ["prpo", "draco"])
@given(batch=batches())
def test_what_a_rollout_gets_in_all_stays_grpos(name: str, batch: Batch) -> None:
    layout = batch.layout
    found = VOTED[name](batch, Terms(w_whole=1.0, w_process=1.0)).advantages
    unmoved = VOTED[name](batch, Terms(w_whole=1.0, w_process=0.0)).advantages
    sums = [np.bincount(layout.owner, layout.tokens * values) for values in (found, unmoved)]
    np.testing.assert_allclose(*sums, atol=1e-9)


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=5), min_size=1, max_size=4), st.integers(1, 4), st.data()
)
def test_values_add_up_to_the_outcome(chances: list[list[float]], segment: int, data: st.DataObject) -> None:
    """Σ A = outcome − V: over steps, and over segments, each counted once."""
    outcomes = np.array(data.draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=len(chances), max_size=len(chances))))
    values, before = list_step_values(chances, outcomes)
    layout = lay_out([[1] * len(row) for row in chances])
    batch = Batch(layout, outcomes, len(chances), Evidence(values=values, before=before))
    total = np.bincount(layout.owner, monte_carlo(batch, Terms()).advantages)
    np.testing.assert_allclose(total, outcomes - [row[0] for row in chances], atol=1e-12)
    once = segments(batch, Terms(segment=segment)).advantages * (layout.place % segment == 0)
    np.testing.assert_allclose(np.bincount(layout.owner, once), total, atol=1e-12)
