"""CAPO's credit: from critiques to votes, token rewards and advantages, by hand and as laws."""

from __future__ import annotations

import numpy as np
import pytest
from flatly import batch_of, rows_of
from hypothesis import given
from hypothesis import strategies as st

from evals.models.base import Usage
from trainers.credit.batch import Batch, Evidence, lay_out, process_signal_only
from trainers.credit.capo import capo
from trainers.credit.critique import Critique, check_critique
from trainers.credit.outcome_only import outcome_only
from trainers.credit.terms import Terms
from trainers.credit.votes import VOTES, build_flags, combine, measure_charges, vote_metrics

NAN = float("nan")


def says(*wrong):
    return Critique(frozenset(wrong))


def abstains(reason="timeout"):
    return Critique(None, reason)


def earned(outcomes, tokens, critiques, vote="intersection", number=None, **terms):
    """Return layout, what one group has earned, and the metrics of its critiques."""
    layout = lay_out(tokens)
    flags = build_flags(critiques, layout.steps)
    shares = combine(VOTES.get(vote), flags, number)
    batch = Batch(layout, np.array(outcomes, dtype=float), len(tokens), Evidence(shares=shares))
    found = capo(batch, Terms(**terms))
    return layout, found, {**vote_metrics(flags, shares), **measure_charges(layout, found.charges)}


def test_a_whole_group_by_hand():
    """Two right and two wrong answers, four critiques, majority: from votes to advantages."""
    critiques = [
        [says(1), says(1), says(), says(0)],  # step 1 by 2 of 4: wrong; step 0 by 1 of 4: not
        [says(), says(), says(), says()],
        [says(0, 2), says(0), says(2), says(2)],  # steps 0 (2 of 4) and 2 (3 of 4)
        [says(0), abstains(), abstains(), abstains()],  # 1 of the 1 that answered
    ]
    layout, found, metrics = earned([1, 1, 0, 0], [(2, 1), (1, 1), (1, 1, 1), (2,)], critiques, "majority")
    assert rows_of(layout, found.rewards) == [[2, 1], [2, 2], [-1, 0, -1], [-1]]
    # Ten tokens: 2 2 1 2 2 -1 0 -1 -1 -1, mean 0.5, mean square 21/10, variance 1.85.
    deviations = np.array([1.5, 0.5, 1.5, 1.5, -1.5, -0.5, -1.5, -1.5])
    np.testing.assert_allclose(found.advantages, deviations / np.sqrt(1.85), rtol=1e-14)
    # Pairs that agree, of 6: rollout 0: 3 and 2; rollout 1: 6 and 6; rollout 2: 2, 6 and 3; rollout 3 has no pair.
    agreement = (5 / 12 + 1 + 11 / 18) / 3
    assert metrics == pytest.approx(
        {"flagged_step_rate": 4 / 8, "penalised_tokens": 5 / 10, "vote_agreement": agreement, "uncritiqued": 0}
    )


@pytest.mark.parametrize(
    ("name", "number", "weights", "rewards"),
    [
        ("intersection", None, {}, [1, 2, 2, 2]),
        ("majority", None, {}, [1, 1, 2, 2]),
        ("union", None, {}, [1, 1, 1, 2]),
        ("average", None, {}, [1, 2 - 2 / 3, 2 - 1 / 3, 2]),
        ("at_least", 2, {}, [1, 1, 2, 2]),
        ("union", None, {"w_process": 5.0}, [-3, -3, -3, 2]),
        ("union", None, {"w_whole": 1.0, "w_process": 0.0}, [1, 1, 1, 1]),
    ],
)
def test_rules_and_weights(name, number, weights, rewards):
    critiques = [[says(0, 1, 2), says(0, 1), says(0)]]
    _, found, _ = earned([1], [(1, 1, 1, 1)], critiques, name, number, **weights)
    np.testing.assert_allclose(found.rewards, rewards)


def test_all_answers_wrong_gives_capo_a_signal_and_grpo_none():
    batch = batch_of([0, 0], [(1, 0), (1, 1)], [(1, 0), (1, 0)])
    third = 1 / np.sqrt(3)
    found, grpo = capo(batch, Terms()), outcome_only(batch, Terms())
    np.testing.assert_allclose(found.advantages, [third, -3 * third, third, third])
    assert (grpo.advantages == 0).all()
    assert process_signal_only(batch, found.advantages) == 1
    assert process_signal_only(batch, grpo.advantages) == 0


def test_the_outcome_alone_is_charged_nothing_whatever_critiques_say():
    voted, silent = (batch_of([1, 0], [(1, share), (2, 0)], [(1, share)]) for share in (1.0, NAN))
    assert outcome_only(voted, Terms()).advantages.tolist() == outcome_only(silent, Terms()).advantages.tolist()


def test_what_a_rollout_without_any_critique_is_charged_is_its_groups_to_say():
    critiques = [[abstains(), abstains("refusal")], [says(0), abstains("empty")]]
    layout, found, metrics = earned([1, 1], [(1, 1), (1, 1)], critiques, "union")
    # The other's tokens are charged 1/2 on average. So is this one: rewards 1.5 1.5 1 2, mean 1.5.
    assert rows_of(layout, found.rewards) == [[1.5, 1.5], [1, 2]]
    assert found.advantages.round(9).tolist() == [0, 0, -1.414213562, 1.414213562]
    assert metrics["uncritiqued"] == 1
    # Over the one rollout that a critique answered.
    assert metrics["flagged_step_rate"] == metrics["penalised_tokens"] == 0.5


def test_undefined_metrics_are_none_at_all():
    _, _, metrics = earned([NAN], [(1,)], [[abstains()]])
    assert metrics.pop("uncritiqued") == 1
    assert np.isnan([*metrics.values()]).all()


def test_a_rollout_without_an_outcome_has_no_rewards_and_no_advantage():
    layout, found, _ = earned([NAN, 1, 0], [(2,), (1,), (1,)], [[says(0)], [says()], [says(0)]])
    assert np.isnan(found.rewards[0])
    assert rows_of(layout, found.advantages) == [[0], [1], [-1]]


@pytest.mark.parametrize("step", [2, 17, -1])
def test_a_step_that_is_not_there_is_an_abstention(step):
    _, found, _ = earned([1], [(1, 1)], [[says(0, step), says(1)]], "union")
    assert found.rewards.tolist() == [2, 1]


def test_an_out_of_range_critique_keeps_its_text_and_cost():
    critique = Critique(frozenset({5}), text="Step 6 is wrong.", usage=Usage(10, 5, 0.1))
    assert check_critique(critique, 5) == Critique(None, "out_of_range", "Step 6 is wrong.", Usage(10, 5, 0.1))
    assert check_critique(critique, 6) is critique
    assert check_critique(abstains(), 0).abstained == "timeout"


def test_a_step_without_tokens_can_be_flagged():
    layout, found, metrics = earned([0], [(1, 0, 1)], [[says(1)]])
    assert layout.by_token(found.rewards).tolist() == [[0, 0]]
    assert (metrics["flagged_step_rate"], metrics["penalised_tokens"]) == (1 / 3, 0)


def test_arguments_of_different_batches_are_refused():
    with pytest.raises(ValueError, match="critiques of 1 rollouts and steps of 2"):
        build_flags([[says()]], [1, 1])


def test_groups_must_be_whole():
    with pytest.raises(ValueError, match="3 rollouts do not make groups of 2"):
        batch_of([0, 0, 0], [(1, 0)], [(1, 0)], [(1, 0)], group_size=2)


def test_process_signal_only_by_hand():
    outcomes = [0.0, 0, 1, 1, 1, 0, NAN, 1, NAN, NAN]
    batch = batch_of(outcomes, *[[(1, 0.0)]] * 9, [(0, 0.0)], group_size=2)
    advantages = np.array([0.5, 0, 0, 0, 0.5, 0.5, 0, -1, 0, 7])
    # All wrong with signal: yes; all right without: no; mixed: no; one known with signal: yes; none on tokens: no.
    assert process_signal_only(batch, advantages) == pytest.approx(2 / 5)


judged = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0]),
        st.lists(st.integers(0, 3), min_size=1, max_size=4),
        st.lists(st.one_of(st.frozensets(st.integers(0, 3)).map(Critique), st.just(abstains())), max_size=4),
    ),
    min_size=1,
    max_size=5,
)


@given(rollouts=judged, name=st.sampled_from(["intersection", "majority", "union", "at_least"]))
def test_charges_are_all_or_nothing_whatever_critics_say(rollouts, name):
    outcomes, tokens, critiques = zip(*rollouts, strict=True)
    layout, found, metrics = earned(outcomes, tokens, critiques, name, 2)
    heard = ~np.isnan(found.charges)
    assert set(found.charges[heard].tolist()) <= {0, 1}
    for outcome, reward, charge in zip(np.array(outcomes)[layout.owner], found.rewards, found.charges, strict=True):
        assert np.isnan(charge) or reward == 2 * outcome - charge
    assert np.isfinite(found.advantages).all()
    assert metrics["uncritiqued"] == sum(not any((said.wrong is not None and not said.wrong) or (
        said.wrong and max(said.wrong) < len(row)) for said in row_said) for row, row_said in
        zip(tokens, critiques, strict=True))  # fmt: skip
