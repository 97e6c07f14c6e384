"""Quality by rule and k: the first k critiques, through the voting code of training."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capo_bench.critic.quality import Vote, call_wrong, list_ballots, measure_quality, set_votes, share_charged
from capo_bench.critic.summary import lay_out_judged_steps
from evals.critics.labels import StepLabels
from trainers.credit.critique import Critique
from trainers.credit.votes import build_flags


def flagging(*steps: int) -> Critique:
    return Critique(frozenset(steps))


ABSTAINED = Critique(None, "truncated")
LABELS = [StepLabels(3, frozenset({1}), frozenset({0, 1, 2})), StepLabels(2, frozenset(), frozenset({0, 1}))]
# Solution 1: all flag step 1, one of four step 0. Solution 2: two of four flag step 0.
CRITIQUES = [
    [flagging(1), flagging(1, 0), flagging(1), flagging(1)],
    [flagging(0), flagging(0), flagging(), flagging()],
]


def rated(critiques, labels, votes, ks):
    """Return the rows of every vote at every k."""
    return [
        measure_quality(lay_out_judged_steps(critiques, labels), "noisy", ballot) for ballot in list_ballots(votes, ks)
    ]


@pytest.mark.parametrize(
    ("vote", "k", "precision", "recall"),
    [
        (Vote("intersection"), 4, 1, 1),  # {1}, {}
        (Vote("majority"), 4, 1 / 2, 1),  # {1}, {0}: two of four are enough
        (Vote("union"), 4, 1 / 3, 1),  # {0, 1}, {0}
        (Vote("at_least", 3), 4, 1, 1),
        (Vote("union"), 1, 1 / 2, 1),  # the first critiques alone: {1}, {0}
        (Vote("intersection"), 2, 1 / 2, 1),  # {1}, {0}
        (Vote("average"), 4, 1 / 2, 1),  # from a share of a half on: as majority
    ],
)
def test_by_hand(vote, k, precision, recall):
    (row,) = rated(CRITIQUES, LABELS, [vote], [k])
    assert (row["precision"], row["recall"]) == pytest.approx((precision, recall))
    assert Vote(row["rule"], row["at_least"]) == vote
    assert (row["critic"], row["k"], row["rollouts"], row["uncritiqued"]) == ("noisy", k, 2, 0)


def test_a_solution_that_no_critique_answered_is_counted_and_not_scored():
    rows = rated([[ABSTAINED, flagging(1)], [ABSTAINED, ABSTAINED]], LABELS, [Vote("union")], [1, 2])
    assert [(row["problems"], row["uncritiqued"]) for row in rows] == [(0, 1), (1, 1 / 2)]
    assert rows[0]["recall"] is None
    assert rows[1]["recall"] == 1


def test_a_critique_that_names_a_step_that_is_not_there_abstains():
    union, both = list_ballots([Vote("union"), Vote("intersection")], [2])
    assert np.isnan(share_charged(build_flags([[flagging(7)]], [3]), union)).all()
    assert share_charged(build_flags([[flagging(7), flagging(2)]], [3]), both).tolist() == [0, 0, 1]


def test_what_a_vote_calls_wrong_is_told_solution_by_solution():
    (union,) = list_ballots([Vote("union")], [2])
    called = call_wrong(build_flags([[flagging(1), ABSTAINED], [ABSTAINED, ABSTAINED], [flagging()]], [3, 2, 1]), union)
    assert [None if wrong is None else wrong.tolist() for wrong in called] == [[False, True, False], None, [False]]


def test_a_rule_that_needs_more_than_k_is_left_out_at_that_k():
    rows = rated(CRITIQUES, LABELS, [Vote("at_least", 2)], [1, 2, 4])
    assert [row["k"] for row in rows] == [2, 4]
    assert Vote("at_least", 2).label == "at_least 2"


def test_rules_that_make_a_set_by_themselves():
    assert [vote.label for vote in set_votes()] == ["intersection", "majority", "union"]


@st.composite
def voted(draw):
    """Draw solutions of four steps with labels and three critiques each, some of them abstentions."""
    steps = st.frozensets(st.integers(0, 3))
    critique = st.one_of(steps.map(Critique), st.just(ABSTAINED))
    count = draw(st.integers(1, 6))
    wrong = draw(st.lists(steps, min_size=count, max_size=count))
    labels = [StepLabels(4, part, part | draw(steps)) for part in wrong]
    return draw(st.lists(st.lists(critique, min_size=3, max_size=3), min_size=count, max_size=count)), labels


@given(voted())
@settings(deadline=None)
def test_rules_find_more_and_alarm_more_in_their_order(case):
    rows = rated(*case, set_votes(), [3])
    for part in ("recall", "false_alarm"):
        values = [row[part] for row in rows]
        assert None in values or values == sorted(values)


@given(voted(), st.permutations(range(3)))
@settings(deadline=None)
def test_the_order_of_critiques_does_not_matter_where_all_are_voted_over(case, order):
    critiques, labels = case
    shuffled = [[row[i] for i in order] for row in critiques]
    assert rated(critiques, labels, set_votes(), [3]) == rated(shuffled, labels, set_votes(), [3])


@given(voted())
@settings(deadline=None)
def test_at_least_meets_union_and_intersection_at_its_ends(case):
    answered = [[c if c.wrong is not None else flagging() for c in row] for row in case[0]]
    ends = rated(answered, case[1], [Vote("at_least", 1), Vote("at_least", 3)], [3])
    rules = rated(answered, case[1], [Vote("union"), Vote("intersection")], [3])
    named = ("rule", "at_least")
    plain = [[{key: value for key, value in row.items() if key not in named} for row in rows] for rows in (ends, rules)]
    assert plain[0] == plain[1]
