from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.credit.advantages import group_moments
from trainers.credit.align import Alignment, step_index
from trainers.credit.assign import CreditRule, assign, checked, process_signal_only
from trainers.credit.critique import Critique, Usage
from trainers.credit.normalization import all_tokens, group_advantages, part_stats
from trainers.credit.segment import blank_lines
from trainers.credit.votes import VOTES

NAN = float("nan")


def says(*wrong):
    return Critique(frozenset(wrong))


def abstains(reason="timeout"):
    return Critique(None, reason)


def aligned(*rows):
    """Rollouts given by the step of each of their tokens."""
    width = max(map(len, rows))
    index = np.array([[*row, *[-1] * (width - len(row))] for row in rows], dtype=np.int64)
    return Alignment([""] * len(rows), [tuple("s" * (max(row, default=0) + 1)) for row in rows], index, [])


def normalised(credit, rollouts, outcomes, group_size, w_process=1.0):
    parts = all_tokens(2.0, w_process)
    return group_advantages(parts, np.asarray(outcomes), credit.charges, rollouts.index, group_size)


def rule(name="intersection", **changes):
    return CreditRule(VOTES.get(name), **changes)


def test_a_whole_group_by_hand():
    """Two right and two wrong answers, four critiques, majority: from votes to advantages."""
    rollouts = aligned([0, 0, 1], [0, 1], [0, 1, 2], [0, 0])
    critiques = [
        [says(1), says(1), says(), says(0)],  # step 1 by 2 of 4: wrong; step 0 by 1 of 4: not
        [says(), says(), says(), says()],
        [says(0, 2), says(0), says(2), says(2)],  # steps 0 (2 of 4) and 2 (3 of 4)
        [says(0), abstains(), abstains(), abstains()],  # 1 of the 1 that answered
    ]
    credit = assign(np.array([1.0, 1, 0, 0]), critiques, rollouts, rule("majority"))
    assert credit.rewards.tolist() == [[2, 2, 1], [2, 2, 0], [-1, 0, -1], [-1, -1, 0]]
    # Ten tokens: 2 2 1 2 2 -1 0 -1 -1 -1, mean 0.5, mean square 21/10, variance 1.85.
    advantages = normalised(credit, rollouts, [1.0, 1, 0, 0], 4)
    deviations = np.array([[1.5, 1.5, 0.5], [1.5, 1.5, 0], [-1.5, -0.5, -1.5], [-1.5, -1.5, 0]])
    np.testing.assert_allclose(advantages, deviations / np.sqrt(1.85), rtol=1e-14)
    # Pairs that agree, of 6: rollout 0: 3 and 2; rollout 1: 6 and 6; rollout 2: 2, 6 and 3; rollout 3 has no pair.
    agreement = (5 / 12 + 1 + 11 / 18) / 3
    assert credit.metrics == pytest.approx(
        {
            "flagged_step_rate": 4 / 8,
            "penalised_tokens": 5 / 10,
            "vote_agreement": agreement,
            "abstained": 3,
            "uncritiqued": 0,
        }
    )


@pytest.mark.parametrize(
    ("name", "changes", "rewards"),
    [
        ("intersection", {}, [1, 2, 2, 2]),
        ("majority", {}, [1, 1, 2, 2]),
        ("union", {}, [1, 1, 1, 2]),
        ("average", {}, [1, 2 - 2 / 3, 2 - 1 / 3, 2]),
        ("at_least", {"at_least": 2}, [1, 1, 2, 2]),
        ("union", {"w_process": 5.0}, [-3, -3, -3, 2]),
        ("union", {"w_whole": 1.0, "w_process": 0.0}, [1, 1, 1, 1]),
    ],
)
def test_rules_and_weights(name, changes, rewards):
    critiques = [[says(0, 1, 2), says(0, 1), says(0)]]
    credit = assign(np.array([1.0]), critiques, aligned([0, 1, 2, 3]), rule(name, **changes))
    np.testing.assert_allclose(credit.rewards, [rewards])


def test_all_answers_wrong_gives_capo_a_signal_and_grpo_none():
    rollouts = aligned([0, 1], [0, 1])
    critiques = [[says(1)], [says()]]
    wrong = np.zeros(2)
    capo = assign(wrong, critiques, rollouts, rule())
    grpo = assign(wrong, critiques, rollouts, rule(w_process=0.0))
    third = 1 / np.sqrt(3)
    by_hand = [[third, -3 * third], [third, third]]
    np.testing.assert_allclose(normalised(capo, rollouts, wrong, 2), by_hand)
    assert (normalised(grpo, rollouts, wrong, 2, w_process=0.0) == 0).all()
    for credit, w_process, share in ((capo, 1.0, 1), (grpo, 0.0, 0)):
        stats = part_stats(all_tokens(2.0, w_process), wrong, credit.charges, rollouts.index)
        _, spread = group_moments(stats, 2)
        assert process_signal_only(wrong, spread, 2) == share


def test_from_tokens_to_rewards(qwen):
    ids = [qwen("3\n\n4\n\n5").input_ids, [*qwen("3").input_ids, qwen.eos_token_id], []]
    rollouts = step_index(ids, qwen, blank_lines)
    credit = assign(np.array([1.0, 0.0, 0.0]), [[says(1)], [says(0)], [says()]], rollouts, rule())
    # 3 · ĊĊ · 4 · ĊĊ · 5, and 3 · end
    assert credit.rewards.tolist() == [[2, 2, 1, 1, 2], [-1, -1, 0, 0, 0], [0, 0, 0, 0, 0]]
    assert credit.mask.sum(axis=1).tolist() == [5, 2, 0]


def test_a_rollout_without_any_critique_keeps_its_outcome_alone():
    critiques = [[abstains(), abstains("refusal")], [says(0), abstains("empty")]]
    credit = assign(np.array([1.0, 1.0]), critiques, aligned([0, 1], [0, 1]), rule("union"))
    assert credit.rewards.tolist() == [[2, 2], [1, 2]]
    assert credit.penalties[0] is None
    assert credit.metrics["abstained"] == 3
    assert credit.metrics["uncritiqued"] == 1
    # Over the one rollout that a critique answered.
    assert credit.metrics["flagged_step_rate"] == credit.metrics["penalised_tokens"] == 0.5


def test_undefined_metrics_are_left_out():
    credit = assign(np.array([NAN]), [[abstains()]], aligned([0]), rule())
    assert credit.metrics == {"abstained": 1, "uncritiqued": 1}


def test_a_rollout_without_an_outcome_has_no_rewards_and_no_advantage():
    critiques = [[says(0)], [says()], [says(0)]]
    rollouts = aligned([0, 0], [0], [0])
    credit = assign(np.array([NAN, 1.0, 0.0]), critiques, rollouts, rule())
    assert np.isnan(credit.rewards[0]).all()
    assert normalised(credit, rollouts, [NAN, 1.0, 0.0], 3).tolist() == [[0, 0], [1, 0], [-1, 0]]


@pytest.mark.parametrize("step", [2, 17, -1])
def test_a_step_that_is_not_there_is_an_abstention(step):
    critiques = [[says(0, step), says(1)]]
    credit = assign(np.array([1.0]), critiques, aligned([0, 1]), rule("union"))
    assert credit.rewards.tolist() == [[2, 1]]
    assert credit.metrics["abstained"] == 1


def test_an_out_of_range_critique_keeps_its_text_and_cost():
    critique = Critique(frozenset({5}), text="Step 6 is wrong.", usage=Usage(10, 5, 0.1))
    assert checked(critique, 5) == Critique(None, "out_of_range", "Step 6 is wrong.", Usage(10, 5, 0.1))
    assert checked(critique, 6) is critique
    assert checked(abstains(), 0).abstained == "timeout"


def test_a_step_without_tokens_can_be_flagged():
    rollouts = Alignment([""], [("a", "b", "c")], np.array([[0, 2]]), [])
    assert assign(np.array([0.0]), [[says(1)]], rollouts, rule()).rewards.tolist() == [[0, 0]]


def test_arguments_of_different_batches_are_refused():
    with pytest.raises(ValueError, match=r"of \(2, 1, 1\) rollouts"):
        assign(np.zeros(2), [[says()]], aligned([0]), rule())


def test_process_signal_only_by_hand():
    outcomes = np.array([0.0, 0, 1, 1, 1, 0, NAN, 1, NAN, NAN])
    spread = np.repeat([[0.5, 0], [0, 0], [0, 0.5], [0.5, 0.5], [0, 0]], 2, axis=0)  # of two parts
    # All wrong with spread: yes; all right without: no; mixed: no; one known with spread: yes; none known: no.
    assert process_signal_only(outcomes, spread, 2) == pytest.approx(2 / 5)


judged = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0]),
        st.lists(st.integers(0, 2), min_size=1, max_size=6).map(sorted),
        st.lists(st.one_of(st.frozensets(st.integers(0, 3)).map(Critique), st.just(abstains())), max_size=4),
    ),
    min_size=1,
    max_size=5,
)


@given(rollouts=judged, name=st.sampled_from(["intersection", "majority", "union", "at_least"]))
def test_rewards_are_one_of_four_whatever_critics_say(rollouts, name):
    outcomes, rows, critiques = zip(*rollouts, strict=True)
    credit = assign(np.array(outcomes), critiques, aligned(*rows), rule(name, at_least=2))
    for outcome, rewards, mask in zip(outcomes, credit.rewards, credit.mask, strict=True):
        assert set(rewards[mask].tolist()) <= ({2, 1} if outcome else {0, -1})
        assert (rewards[~mask] == 0).all()
    assert all(np.isfinite(value) for value in credit.metrics.values())
